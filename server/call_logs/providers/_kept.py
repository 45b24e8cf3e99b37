"""What may be kept of vendors' open-ended values: short scalars that hold no secret. All else is left out."""

import re
from collections.abc import Mapping
from typing import Any

from call_logs.model import Scalar
from call_logs.text import looks_secret, short, without_url_secrets

MAX_FACT = 500
"""Characters of a value that are kept."""

MAX_REASON = 200
"""Characters of a reason that are kept."""

_SECRET_NAME = re.compile(r"passw|secret|token|api.?key|credential|authori[sz]ation", re.IGNORECASE)


def fact(value: Any) -> Scalar | None:
    """A scalar that holds no secret, a text cut to `MAX_FACT` characters and its addresses to their paths."""
    if isinstance(value, bool | int | float):
        return value
    if not isinstance(value, str) or not value.strip() or looks_secret(value):
        return None
    return without_url_secrets(value.strip())[:MAX_FACT]


def facts(found: Mapping[str, Any]) -> dict[str, Scalar]:
    """The customer's own keys, but for those named like a credential, with their values as `fact` keeps them."""
    return {
        name: value
        for name, raw in found.items()
        if not _SECRET_NAME.search(name) and not looks_secret(name) and (value := fact(raw)) is not None
    }


def reason(text: str | None) -> str | None:
    """A vendor's free words on one line, without addresses' secrets; None where a credential stands in them."""
    words = without_url_secrets(text or "")
    return None if looks_secret(words) else short(words, MAX_REASON) or None
