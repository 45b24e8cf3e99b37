"""`list_calls`: which calls there were."""

from typing import Annotated, Literal

import anyio.to_thread
from mcp.types import CallToolResult
from pydantic import Field

from call_logs.store import ListPage, sort_key
from call_logs.text import short
from call_logs.tools import App, Ctx, app_of
from call_logs.tools.answer import (
    DEFAULT_CHARACTERS,
    MOST_CHARACTERS,
    CallPart,
    CoveragePart,
    Part,
    WindowPart,
    answer,
    counted,
    coverage_of,
    coverage_words,
    dumped,
    filters_part,
    fitting,
    row_line,
    row_part,
    widen,
    window_part,
)
from call_logs.tools.cursors import read_cursor, write_cursor
from call_logs.tools.filters import (
    AccountArg,
    ActionArg,
    AgentArg,
    Asked,
    CursorArg,
    DirectionArg,
    LegsArg,
    PhoneArg,
    SecondsArg,
    SinceArg,
    StatusArg,
    TestsArg,
    UntilArg,
    asked,
    asked_words,
)

DEFAULT_LIMIT = 20


class ListCalls(Part):
    """The structured answer. `note` says what to try when there is none; `filters` repeats the question's."""

    calls: list[CallPart]
    total: int
    next_cursor: str | None = None
    note: str | None = None
    filters: dict[str, str] | None = None
    window: WindowPart
    coverage: CoveragePart
    notice: str | None = None


async def list_calls(
    ctx: Ctx,
    account: AccountArg = None,
    agent: AgentArg = None,
    phone: PhoneArg = None,
    since: SinceArg = None,
    until: UntilArg = None,
    direction: DirectionArg = None,
    status: StatusArg = None,
    min_duration_seconds: SecondsArg = None,
    max_duration_seconds: SecondsArg = None,
    action: ActionArg = None,
    include_tests: TestsArg = False,
    include_legs: LegsArg = False,
    sort: Literal["newest", "oldest", "longest"] = "newest",
    limit: Annotated[int, Field(ge=1, le=100)] = DEFAULT_LIMIT,
    cursor: CursorArg = None,
    with_summary: Annotated[bool, Field(description="160 characters of the vendor's summary")] = False,
) -> CallToolResult:
    """List phone calls of all accounts with time, parties, agent, outcome and executed actions, one row a call.

    Use search_transcripts to find what was said, count_calls for numbers, get_call for one call's transcript.
    `coverage` says what could not be seen; follow `next_cursor` for more.
    """
    app = app_of(ctx)
    place = read_cursor(cursor, "list_calls", 2)
    question = asked(
        app,
        account=account,
        agent=agent,
        phone=phone,
        since=since,
        until=until,
        direction=direction,
        status=status,
        min_duration_seconds=min_duration_seconds,
        max_duration_seconds=max_duration_seconds,
        action=action,
        include_tests=include_tests,
        include_legs=include_legs,
        place=place,
        own=(sort, with_summary),
    )
    after = (float(place.position[0]), int(place.position[1])) if place else None
    await app.sync.freshen(question.which.accounts, question.window.since, question.window.until)
    return await anyio.to_thread.run_sync(_answer, app, question, sort, limit, after, with_summary)


def _answer(
    app: App, question: Asked, sort: str, limit: int, after: tuple[float, int] | None, with_summary: bool
) -> CallToolResult:
    page = app.store.list_calls(question.which, sort=sort, limit=limit, after=after)
    summaries = app.store.summaries([row.key for row in page.rows]) if with_summary else {}
    now = app.now()
    shown = [(row_line(row, app.zone, now), row_part(row, app.zone, summaries.get(row.key))) for row in page.rows]
    budget = DEFAULT_CHARACTERS if limit <= DEFAULT_LIMIT else MOST_CHARACTERS
    fit = fitting(shown, budget, lambda one: one[0] + (one[1].summary or ""), lambda one: dumped(one[1]))
    cursor = None
    if page.more or fit < len(page.rows):
        cursor = write_cursor(question.place("list_calls", sort_key(page.rows[fit - 1], sort)))
    coverage = coverage_of(
        app, question.which, question.names, acting=[row.account for row in page.rows[:fit] if not row.actions]
    )
    structured = ListCalls(
        calls=[part for _, part in shown[:fit]],
        total=page.total,
        next_cursor=cursor,
        note=(widen(question.narrowing) or None) if not page.total else None,
        filters=filters_part(question.narrowing),
        window=window_part(question.window, app.zone),
        coverage=coverage,
    )
    facts = [
        _headline(app, question, page, sort, fit, first=after is None),
        *(line for line, _ in shown[:fit]),
        f"next_cursor: {cursor}" if cursor else "",
        coverage_words(coverage, heard=False),
    ]
    quotes = [f"{part.id}: {short(part.summary, 160)}" for _, part in shown[:fit] if part.summary]
    return answer(structured, facts, quotes)


def _headline(app: App, question: Asked, page: ListPage, sort: str, shown: int, *, first: bool) -> str:
    calls = counted(page.total, "call")
    where = asked_words(question, app.zone)
    if not page.total:
        return f"No calls {where}. {widen(question.narrowing)}".rstrip()
    some = f", {sort} first" + ("" if first and shown == page.total else f", {shown} shown here")
    return f"{calls} {where}{some}:"
