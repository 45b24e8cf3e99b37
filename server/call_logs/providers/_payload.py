"""What vendors send as JSON, whoever began the conversation."""

import json
from typing import Any

import pydantic_core


def parsed(body: bytes) -> Any:
    """JSON as vendors send it: strictly, or else with broken characters replaced. Raises `ValueError`."""
    try:
        return pydantic_core.from_json(body, allow_inf_nan=True)
    except ValueError:
        text = body.decode("utf-16" if body[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig", "replace")
        try:
            return json.loads(text, strict=False)
        except RecursionError:
            raise ValueError("nested too deeply") from None
