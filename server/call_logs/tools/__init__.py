"""The tools: one file each, with its parameters, its answer and the text form of it.

A tool never calls a vendor: it freshens (bounded), asks the store, and answers in two equal channels. Here is what all
share: what a tool is given, and the boundary at which our errors, and only ours, become text for a model.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast
from zoneinfo import ZoneInfo

from mcp.server.mcpserver import Context
from mcp.server.mcpserver.exceptions import ToolError
from mcp.server.mcpserver.tools import Tool
from mcp.types import CallToolResult, TextContent, ToolAnnotations
from pydantic import BaseModel, Field, ValidationError

from call_logs.errors import CallLogsError
from call_logs.principals import Scope, asking
from call_logs.providers import NO_ACCOUNT
from call_logs.store import Store
from call_logs.sync import Sync
from call_logs.text import clean, clean_tree
from call_logs.views import VIEWS, address


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True)
class App:
    """What every tool works with. `now` is the clock of windows."""

    store: Store
    sync: Sync
    zone: ZoneInfo
    now: Callable[[], datetime] = field(default=_now)

    @property
    def names(self) -> tuple[str, ...]:
        """The accounts that whoever asks may see, in the order configured."""
        return tuple(name for name in self.sync.names if asking().sees(name))

    @property
    def readable(self) -> tuple[str, ...]:
        """Those of them under whose name the store may be read."""
        return self.sync.readable(self.names)

    @property
    def no_account(self) -> tuple[str, str]:
        """The problem, and the next step, of whoever asks and sees no account."""
        return NOT_YOURS if self.sync.names else NO_ACCOUNT


Ctx = Context[App]
NOT_YOURS = (
    "This token may see none of the accounts that there are.",
    "Whoever runs this server can give a token that sees some.",
)
_NOT_IN_ENUM = ("enum", "literal_error")
MOST_NAME = 40
"""Characters of an unknown argument's name that an error repeats."""


def app_of(ctx: Ctx) -> App:
    """The server's one `App`."""
    return ctx.request_context.lifespan_context


def context_of(app: App) -> Ctx:
    """A context in which this process itself calls a tool's function, as the command line does; errors come as they are."""
    # Of a request tools use nothing else.
    asked = SimpleNamespace(lifespan_context=app, session=SimpleNamespace(client_capabilities=None))
    return Ctx(request_context=cast("Any", asked))


class StrictTool(Tool):
    """A tool that refuses unknown arguments by name and shows a model no error but ours."""

    answers: type[BaseModel] | None = Field(default=None, exclude=True)
    scope: Scope = Field(default=Scope.TRANSCRIPTS, exclude=True)
    quoting: tuple[str, ...] = Field(default=(), exclude=True)

    @functools.cached_property
    def output_schema(self) -> dict[str, Any] | None:
        """What `structuredContent` looks like. Made when a client asks for the list, not when the server starts."""
        return compact(self.answers.model_json_schema(), described=True) if self.answers else None

    async def run(self, arguments: dict[str, Any], context: Context[Any, Any], convert_result: bool = False) -> Any:
        """Run the function. Raises `ToolError` with a text of ours; the SDK hides whatever else is raised."""
        known = list(self.parameters["properties"])
        unknown = [name for name in arguments if name not in known]
        if unknown:
            raise ToolError(f"{self.name} has no argument {_named(unknown[0])}. It takes: {', '.join(known)}.")
        try:
            return sendable(await super().run(arguments, context, convert_result))
        except ToolError as error:
            cause = error.__cause__
            if isinstance(cause, CallLogsError):
                raise ToolError(str(cause)) from None
            if isinstance(cause, ValidationError) and cause.title.endswith("Arguments"):
                raise ToolError(self._mismatch(cause)) from None
            raise ToolError(clean(str(error))) from cause

    def _mismatch(self, error: ValidationError) -> str:
        """Which argument does not fit and what would; never what was sent."""
        issue = error.errors(include_input=False, include_url=False)[0]
        name = str(issue["loc"][0]) if issue["loc"] else ""
        if issue["type"] == "missing":
            return f"{self.name} needs the argument {name}."
        form = self.parameters["properties"].get(name, {})
        words = ", ".join(str(word) for word in form.get("items", form).get("enum", ()))
        wanted = f"one of {words}" if words and issue["type"] in _NOT_IN_ENUM else issue["msg"]
        return f"The argument {name} of {self.name} does not fit: {wanted}."


class CleanResult(CallToolResult):
    """A result whose texts have been cleaned."""


def sendable(result: Any) -> Any:
    """The result, clean. A lone surrogate in it would else fail in the SDK's dump, and the call would have no answer."""
    if not isinstance(result, CallToolResult) or isinstance(result, CleanResult):
        return result
    content = [
        block.model_copy(update={"text": clean(block.text)}) if isinstance(block, TextContent) else block
        for block in result.content
    ]
    return result.model_copy(update={"content": content, "structured_content": clean_tree(result.structured_content)})


def strict(
    function: Callable[..., Any], title: str, answers: type[BaseModel], scope: Scope, quoting: tuple[str, ...] = ()
) -> StrictTool:
    """The function as a read-only tool with a compact schema: no titles, no nulls, enums in place.

    `answers` is the form of its structured answers, `scope` what a principal needs for it; with an argument among
    `quoting` it also shows what was said, which needs `transcripts:read`. A tool with a view names its page, for hosts that
    draw answers.
    """
    annotations = ToolAnnotations(
        title=title, read_only_hint=True, destructive_hint=False, idempotent_hint=True, open_world_hint=True
    )
    view = VIEWS.get(function.__name__)
    meta = {"ui": {"resourceUri": address(view)}} if view else None
    tool = StrictTool.from_function(function, title=title, annotations=annotations, meta=meta)
    assert isinstance(tool, StrictTool)  # noqa: S101 - made by its own class
    tool.answers, tool.scope, tool.quoting = answers, scope, quoting
    tool.description = " ".join((function.__doc__ or "").split())
    tool.parameters = compact(tool.parameters) | {"additionalProperties": False}
    return tool


def compact(schema: dict[str, Any], *, described: bool = False) -> dict[str, Any]:
    """A JSON Schema without what a model does not need: titles, null branches, null defaults, references.

    `described`: with the descriptions of what is referred to.
    """
    left_out = () if described else ("description",)
    definitions = {
        name: {key: value for key, value in definition.items() if key not in left_out}
        for name, definition in schema.get("$defs", {}).items()
    }
    return _compact(schema, definitions)


def _compact(node: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    if reference := node.get("$ref"):
        node = definitions[reference.rpartition("/")[2]] | node
    branches: list[dict[str, Any]] = node.get("anyOf", [])
    if node.get("default", branches) is None:  # never told as null: it is left out
        branches = [branch for branch in branches if branch != {"type": "null"}]
    if len(branches) == 1:
        node = _compact(branches[0], definitions) | node
    kept: dict[str, Any] = {}
    for key, value in node.items():
        if key in ("title", "$defs", "$ref", "anyOf") or (key == "default" and value is None):
            continue
        if key == "properties":
            kept[key] = {name: _compact(part, definitions) for name, part in value.items()}
        elif key in ("items", "additionalProperties") and isinstance(value, dict):
            kept[key] = _compact(cast("dict[str, Any]", value), definitions)
        else:
            kept[key] = value
    if len(branches) > 1:
        kept["anyOf"] = [_compact(branch, definitions) for branch in branches]
    return kept


def _named(argument: str) -> str:
    return argument if argument.isidentifier() and argument.isascii() and len(argument) <= MOST_NAME else "of that name"


def all_tools() -> list[StrictTool]:
    """The tools in the order in which they are listed."""
    from call_logs.tools.count_calls import CountCalls, count_calls  # noqa: PLC0415 - they import this module
    from call_logs.tools.get_call import GetCall, get_call  # noqa: PLC0415
    from call_logs.tools.list_accounts import ListAccounts, list_accounts  # noqa: PLC0415
    from call_logs.tools.list_calls import ListCalls, list_calls  # noqa: PLC0415
    from call_logs.tools.search_transcripts import SearchTranscripts, search_transcripts  # noqa: PLC0415
    from call_logs.tools.summarize_call_actions import SummarizeCallActions, summarize_call_actions  # noqa: PLC0415

    return [
        strict(search_transcripts, "Search transcripts", SearchTranscripts, Scope.TRANSCRIPTS),
        strict(list_calls, "List calls", ListCalls, Scope.CALLS, quoting=("with_summary",)),
        strict(get_call, "Get a call", GetCall, Scope.TRANSCRIPTS),
        strict(summarize_call_actions, "Summarize call actions", SummarizeCallActions, Scope.TRANSCRIPTS),
        strict(count_calls, "Count calls", CountCalls, Scope.CALLS),
        strict(list_accounts, "List accounts", ListAccounts, Scope.CALLS),
    ]
