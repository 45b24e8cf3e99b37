"""Answers as pictures: a call, many calls, counts, and a report; each one page that asks nothing of the network.

A page is put together from the parts of this folder when somebody asks for it. It draws from an answer's structured form
alone: one that an MCP host sends it (`views.apps`), or one that stands in the page (`call-logs-mcp view`, `report`).
"""

import base64
import hashlib
import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

PROMISES = "call-logs/promises"
"""Under this key of a result's `_meta` stands what `get_call` does not answer but its view draws: see `apps`."""

VIEWS = {"get_call": "call", "list_calls": "calls", "count_calls": "counts"}
"""The view of each tool that has one."""

SCRIPTS = {
    "call": ("call.js", "showCall"),
    "calls": ("calls.js", "showCalls"),
    "counts": ("counts.js", "showCounts"),
    "report": ("calls.js counts.js report.js", "showReport"),
}
"""The pages: their scripts beside what all share, and the function that shows an answer."""

TITLES = {"call": "A call", "calls": "Calls", "counts": "Calls counted", "report": "Calls: a report"}

POLICY = (
    "default-src 'none'; script-src '{script}'; style-src '{style}'; base-uri 'none'; form-action 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'"
)
"""The second wall behind text nodes: nothing but these very texts runs or styles, nothing is loaded or sent, and no
markup can be made from text."""

_FOLDER = Path(__file__).parent


def address(view: str) -> str:
    """Where a host reads the view."""
    return f"ui://call-logs/{view}.html"


def page(view: str) -> str:
    """The view's page as a host shows it: it waits for the host's messages."""
    return _composed(view, "")


def page_with(view: str, answer: Mapping[str, Any], promises: Mapping[str, Any] | None = None) -> str:
    """The view's page with a structured answer within, for a file. `promises` as under `PROMISES`."""
    result: dict[str, Any] = {"structuredContent": answer}
    if promises is not None:
        result["_meta"] = {PROMISES: promises}
    held = embeddable({"arguments": {}, "result": result})
    return _composed(view, f'<script type="application/json" id="given">{held}</script>\n')


def embeddable(value: Any) -> str:
    """JSON that stands in HTML: no "<" can close its element or open a comment, and no line separator breaks a line."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def _composed(view: str, given: str) -> str:
    script, style = _script(view), _part("look.css")
    policy = POLICY.format(script=_hash(script), style=_hash(style))
    return _part("page.html").format(policy=policy, title=TITLES[view], style=style, given=given, script=script)


@cache
def _script(view: str) -> str:
    files, show = SCRIPTS[view]
    return "".join(map(_part, ["parts.js", *files.split(), "host.js"])) + f"start({show});\n"


@cache
def _part(name: str) -> str:
    return (_FOLDER / name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
