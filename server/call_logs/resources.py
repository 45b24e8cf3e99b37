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
from call_logs.store import Excerpt, Filter, Row
from call_logs.text import clean, fence, new_mark
from call_logs.times import show, show_seconds
from call_logs.tools import App, Ctx, app_of
from call_logs.tools.answer import MOST_CHARACTERS, NOTICE, PARSED, coverage_of_call, dumped, fact, transcript_uri
from call_logs.tools.get_call import LEAST_CHARACTERS, GetCall, call_of, call_part, excerpt, turn_line, turn_part

LATEST = 50
COMPLETIONS = 100
ROOM = MOST_CHARACTERS - 4_000

TEMPLATE = "calls://{account}/{call}/transcript"


async def latest(app: App) -> list[Resource]:
    """The latest 50 transcripts, under names a person recognises. Reads the store only: a listing waits for no vendor."""
    return await anyio.to_thread.run_sync(_latest, app)


def _latest(app: App) -> list[Resource]:
    rows = [row for row in app.store.list_calls(Filter(app.readable), limit=2 * LATEST).rows if row.turns]
    return [_entry(app, row) for row in rows[:LATEST]]


def _entry(app: App, row: Row) -> Resource:
    number = fact(row.from_number or row.to_number)
    parts = [show(row.started_at, app.zone), number, fact(row.agent), show_seconds(row.duration_seconds)]
    name = " · ".join(part for part in parts if part and part != "-")
    return Resource(uri=transcript_uri(row.id), name=name, title=name, mime_type="text/plain")


def register(server: MCPServer[App], app: App) -> None:
    """The three templates and their completion."""
    templates: list[tuple[str, str, str, Callable[[App, Excerpt], str]]] = [
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


def _reader(form: Callable[[App, Excerpt], str]) -> Callable[..., object]:
    async def read(account: str, call: str, ctx: Ctx) -> str:
        app = app_of(ctx)
        try:
            found = await call_of(app, f"{account}/{unquote(call)}")
        except CallLogsError as error:
            raise ResourceNotFoundError(str(error)) from None
        held = await anyio.to_thread.run_sync(excerpt, app, found.id, 1, MOST_CHARACTERS // LEAST_CHARACTERS)
        if held is None:
            raise ResourceNotFoundError("This call is not kept.")
        return clean(await anyio.to_thread.run_sync(form, app, held))

    return read


def transcript_text(app: App, held: Excerpt) -> str:
    """The turns as text between boundary lines, to the hard cap; the head says how the rest is read."""
    call = held.call
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
    rest = held.total_turns - len(lines)
    parsed = f" {PARSED}" if any(turn.parsed for turn in call.turns) else ""
    more = f' {rest} more: get_call with turns="{len(lines) + 1}-{held.total_turns}".' if rest else ""
    return f"{head}\nTurns 1-{len(lines)} of {held.total_turns}.{more}{parsed} {NOTICE}\n" + fence(
        "\n".join(lines), new_mark()
    )


def transcript_json(app: App, held: Excerpt) -> str:
    """The turns as `get_call` gives them."""
    call = held.call
    parts = [turn_part(turn, MOST_CHARACTERS) for turn in call.turns]
    left, fit = ROOM, 0
    for part in parts:
        left -= len(dumped(part)) + 1
        if left < 0:
            break
        fit += 1
    more = f"{fit + 1}-{held.total_turns}" if fit < held.total_turns else None
    return dumped(
        GetCall(
            call=call_part(app, call).model_copy(update={"summary": None, "extracted": None, "actions": None}),
            turns=parts[:fit],
            total_turns=held.total_turns,
            next_turns=more,
            coverage=coverage_of_call(app, call, held.total_turns),
            notice=NOTICE,
        )
    )


def call_json(app: App, held: Excerpt) -> str:
    """Everything about the call but its turns."""
    call = held.call
    return dumped(
        GetCall(
            call=call_part(app, call),
            turns=[],
            total_turns=held.total_turns,
            coverage=coverage_of_call(app, call, held.total_turns),
            notice=NOTICE,
        )
    )


async def complete(
    app: App,
    ref: PromptReference | ResourceTemplateReference,
    argument: CompletionArgument,
    context: CompletionContext | None,
) -> Completion | None:
    """Accounts, agents, and the latest calls: of the chosen account for a template, as whole ids for a prompt."""
    typed = argument.value
    chosen = (context.arguments or {}).get("account") if context else None
    names = [name for name in app.names if chosen in (None, "", name, app.sync.account(name).provider.slug)]
    if argument.name == "account":
        return Completion(values=[name for name in app.names if name.startswith(typed)])
    if argument.name == "agent":
        rows = await anyio.to_thread.run_sync(app.store.agents, app.sync.readable(names))
        known = dict.fromkeys(fact(row.name or row.agent_id) or "" for row in rows)
        values = [name for name in known if typed.casefold() in name.casefold()]
        return Completion(values=values[:COMPLETIONS], total=len(values), has_more=len(values) > COMPLETIONS)
    if argument.name not in ("call", "call_id"):
        return None
    which = Filter(app.sync.readable(names))
    page = await anyio.to_thread.run_sync(lambda: app.store.list_calls(which, limit=COMPLETIONS))
    ids = [row.vendor_call_id if isinstance(ref, ResourceTemplateReference) else row.id for row in page.rows]
    return Completion(values=[one for one in ids if one.startswith(typed)], total=page.total, has_more=page.more)
