"""Transcripts and calls as resources: what hosts attach, and what `calls://` links in answers point at.

They repeat what tools give, because some hosts never read resources on their own.
"""

from collections.abc import Callable
from urllib.parse import unquote

import anyio.to_thread
from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.exceptions import ResourceNotFoundError
from mcp.types import (
    Completion,
    CompletionArgument,
    CompletionContext,
    PromptReference,
    Resource,
    ResourceTemplateReference,
)

from call_logs.errors import CallLogsError
from call_logs.model import Call
from call_logs.store import Filter, Row
from call_logs.text import clean, fence, new_mark
from call_logs.times import show, show_seconds
from call_logs.tools import App, Ctx, app_of
from call_logs.tools.answer import MOST_CHARACTERS, NOTICE, coverage_of, dumped, fact, transcript_uri
from call_logs.tools.get_call import GetCall, call_of, call_part, turn_line, turn_part

LATEST = 50
COMPLETIONS = 100
ROOM = MOST_CHARACTERS - 4_000

TEMPLATE = "calls://{account}/{call}/transcript"


async def latest(app: App) -> list[Resource]:
    """The latest 50 transcripts, under names a person recognises. Reads the store only: a listing waits for no vendor."""
    return await anyio.to_thread.run_sync(_latest, app)


def _latest(app: App) -> list[Resource]:
    rows = [
        row
        for row in app.store.list_calls(Filter(app.sync.readable(app.sync.names)), limit=2 * LATEST).rows
        if row.turns
    ]
    return [_entry(app, row) for row in rows[:LATEST]]


def _entry(app: App, row: Row) -> Resource:
    number = fact(row.from_number or row.to_number)
    parts = [show(row.started_at, app.zone), number, fact(row.agent), show_seconds(row.duration_seconds)]
    name = " · ".join(part for part in parts if part and part != "-")
    return Resource(uri=transcript_uri(row.id), name=name, title=name, mime_type="text/plain")


def register(server: MCPServer[App], app: App) -> None:
    """The three templates and their completion."""
    templates: list[tuple[str, str, str, Callable[[App, Call], str]]] = [
        (TEMPLATE, "Transcript", "text/plain", transcript_text),
        (f"{TEMPLATE}.json", "Transcript as JSON", "application/json", transcript_json),
        ("calls://{account}/{call}/call.json", "Call as JSON", "application/json", call_json),
    ]
    for uri, title, mime_type, form in templates:
        server.resource(uri, name=title, title=title, mime_type=mime_type)(_reader(form))

    async def completed(
        ref: PromptReference | ResourceTemplateReference,
        argument: CompletionArgument,
        context: CompletionContext | None,
    ) -> Completion | None:
        return await complete(app, ref, argument, context)

    server.completion()(completed)


def _reader(form: Callable[[App, Call], str]) -> Callable[..., object]:
    async def read(account: str, call: str, ctx: Ctx) -> str:
        app = app_of(ctx)
        try:
            found = await call_of(app, f"{account}/{unquote(call)}")
        except CallLogsError as error:
            raise ResourceNotFoundError(str(error)) from None
        return clean(await anyio.to_thread.run_sync(form, app, found))

    return read


def transcript_text(app: App, call: Call) -> str:
    """The turns as text between boundary lines, to the hard cap; the head says how the rest is read."""
    lines: list[str] = []
    left = ROOM
    for turn in call.turns:
        line = turn_line(turn_part(turn, MOST_CHARACTERS))
        left -= len(line) + 1
        if left < 0:
            break
        lines.append(line)
    head = f"{call.id} · {show(call.started_at, app.zone)} · {show_seconds(call.duration_seconds)}"
    if not lines:
        return f"{head}\nNo transcript."
    rest = len(call.turns) - len(lines)
    more = f' {rest} more: get_call with turns="{len(lines) + 1}-{len(call.turns)}".' if rest else ""
    return f"{head}\nTurns 1-{len(lines)} of {len(call.turns)}.{more} {NOTICE}\n" + fence("\n".join(lines), new_mark())


def transcript_json(app: App, call: Call) -> str:
    """The turns as `get_call` gives them."""
    parts = [turn_part(turn, MOST_CHARACTERS) for turn in call.turns]
    left, fit = ROOM, 0
    for part in parts:
        left -= len(dumped(part)) + 1
        if left < 0:
            break
        fit += 1
    more = f"{fit + 1}-{len(parts)}" if fit < len(parts) else None
    return dumped(
        GetCall(
            call=call_part(app, call).model_copy(update={"summary": None, "extracted": None, "actions": None}),
            turns=parts[:fit],
            total_turns=len(parts),
            next_turns=more,
            coverage=coverage_of(app, Filter((call.account,), since=call.started_at, until=call.started_at)),
            notice=NOTICE,
        )
    )


def call_json(app: App, call: Call) -> str:
    """Everything about the call but its turns."""
    return dumped(
        GetCall(
            call=call_part(app, call),
            turns=[],
            total_turns=len(call.turns),
            coverage=coverage_of(app, Filter((call.account,), since=call.started_at, until=call.started_at)),
            notice=NOTICE,
        )
    )


async def complete(
    app: App,
    ref: PromptReference | ResourceTemplateReference,
    argument: CompletionArgument,
    context: CompletionContext | None,
) -> Completion | None:
    """Accounts, and the latest calls of the chosen account."""
    if argument.name == "account":
        return Completion(values=[name for name in app.sync.names if name.startswith(argument.value)])
    chosen = (context.arguments or {}).get("account") if context else None
    if argument.name != "call" or not isinstance(ref, ResourceTemplateReference):
        return None
    which = Filter(app.sync.readable(name for name in app.sync.names if chosen in (None, name)))
    page = await anyio.to_thread.run_sync(lambda: app.store.list_calls(which, limit=COMPLETIONS))
    values = [row.vendor_call_id for row in page.rows if row.vendor_call_id.startswith(argument.value)]
    return Completion(values=values, total=page.total, has_more=page.more)
