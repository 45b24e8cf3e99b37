"""The tools: one file each, with its parameters, its answer and the text form of it.

A tool never calls a vendor: it freshens (bounded), asks the store, and answers in two equal channels. Here is what all
share: what a tool is given, and the boundary at which our errors, and only ours, become text for a model.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from mcp.server.mcpserver import Context
from mcp.server.mcpserver.exceptions import ToolError
from mcp.server.mcpserver.tools import Tool
from mcp.types import ToolAnnotations
from pydantic import ValidationError

from call_logs.errors import CallLogsError
from call_logs.store import Store
from call_logs.sync import Sync


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True)
class App:
    """What every tool works with. `now` is the clock of windows."""

    store: Store
    sync: Sync
    zone: ZoneInfo
    now: Callable[[], datetime] = field(default=_now)


Ctx = Context[App]
MOST_NAME = 40
"""Characters of an unknown argument's name that an error repeats."""


def app_of(ctx: Ctx) -> App:
    """The server's one `App`."""
    return ctx.request_context.lifespan_context


class StrictTool(Tool):
    """A tool that refuses unknown arguments by name and shows a model no error but ours."""

    async def run(self, arguments: dict[str, Any], context: Context[Any, Any], convert_result: bool = False) -> Any:
        """Run the function. Raises `ToolError` with a text of ours; the SDK hides whatever else is raised."""
        known = list(self.parameters["properties"])
        unknown = [name for name in arguments if name not in known]
        if unknown:
            raise ToolError(f"{self.name} has no argument {_named(unknown[0])}. It takes: {', '.join(known)}.")
        try:
            return await super().run(arguments, context, convert_result)
        except ToolError as error:
            cause = error.__cause__
            if isinstance(cause, CallLogsError):
                raise ToolError(str(cause)) from None
            if isinstance(cause, ValidationError) and cause.title.endswith("Arguments"):
                raise ToolError(self._mismatch(cause)) from None
            raise

    def _mismatch(self, error: ValidationError) -> str:
        """Which argument does not fit and what would; never what was sent."""
        issue = error.errors(include_input=False, include_url=False)[0]
        name = str(issue["loc"][0]) if issue["loc"] else ""
        if issue["type"] == "missing":
            return f"{self.name} needs the argument {name}."
        form = self.parameters["properties"].get(name, {})
        allowed = ", ".join(str(word) for word in form.get("enum", ())) or issue["msg"].removeprefix("Input should be ")
        return f"The argument {name} of {self.name} does not fit: it should be {allowed}."


def strict(function: Callable[..., Any], title: str) -> Tool:
    """The function as a read-only tool with a compact schema: no titles, no nulls, enums in place."""
    annotations = ToolAnnotations(
        title=title, read_only_hint=True, destructive_hint=False, idempotent_hint=True, open_world_hint=True
    )
    tool = StrictTool.from_function(function, title=title, annotations=annotations)
    tool.description = " ".join((function.__doc__ or "").split())
    tool.parameters = compact(tool.parameters) | {"additionalProperties": False}
    return tool


def compact(schema: dict[str, Any]) -> dict[str, Any]:
    """A JSON Schema without what a model does not need: titles, null branches, null defaults, references."""
    return _compact(schema, schema.get("$defs", {}))


def _compact(node: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    if reference := node.get("$ref"):
        definition = definitions[reference.rpartition("/")[2]]
        node = {key: value for key, value in definition.items() if key != "description"} | node
    branches: list[dict[str, Any]] = [part for part in node.get("anyOf", ()) if part != {"type": "null"}]
    if len(branches) == 1:
        node = _compact(branches[0], definitions) | node
    kept: dict[str, Any] = {}
    for key, value in node.items():
        if key in ("title", "$defs", "$ref", "anyOf") or (key == "default" and value is None):
            continue
        if key == "properties":
            kept[key] = {name: _compact(part, definitions) for name, part in value.items()}
        else:
            kept[key] = _compact(value, definitions) if key == "items" else value
    return kept


def _named(argument: str) -> str:
    return argument if argument.isidentifier() and argument.isascii() and len(argument) <= MOST_NAME else "of that name"


def all_tools() -> list[Tool]:
    """The tools in the order in which they are listed."""
    from call_logs.tools.count_calls import count_calls  # noqa: PLC0415 - they import this module
    from call_logs.tools.get_call import get_call  # noqa: PLC0415
    from call_logs.tools.list_accounts import list_accounts  # noqa: PLC0415
    from call_logs.tools.list_calls import list_calls  # noqa: PLC0415
    from call_logs.tools.search_transcripts import search_transcripts  # noqa: PLC0415
    from call_logs.tools.summarize_call_actions import summarize_call_actions  # noqa: PLC0415

    return [
        strict(search_transcripts, "Search transcripts"),
        strict(list_calls, "List calls"),
        strict(get_call, "Get a call"),
        strict(summarize_call_actions, "Summarize call actions"),
        strict(count_calls, "Count calls"),
        strict(list_accounts, "List accounts"),
    ]
