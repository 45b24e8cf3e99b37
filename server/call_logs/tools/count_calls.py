"""`count_calls`: numbers, without pulling calls."""

from typing import Annotated, Literal

import anyio.to_thread
from mcp.types import CallToolResult
from pydantic import BeforeValidator, Field

from call_logs.errors import BadQuery
from call_logs.store import Group
from call_logs.times import show_seconds
from call_logs.tools import App, Ctx, app_of
from call_logs.tools.answer import (
    DEFAULT_CHARACTERS,
    CoveragePart,
    Part,
    WindowPart,
    answer,
    counted,
    coverage_of,
    coverage_words,
    dumped,
    fact,
    filters_part,
    fitting,
    widen,
    window_part,
)
from call_logs.tools.filters import (
    AccountArg,
    ActionArg,
    AgentArg,
    Asked,
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

Dimension = Literal[
    "day", "hour", "weekday", "agent", "account", "provider", "status", "direction", "end_reason", "phone"
]
WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
MOST_DIMENSIONS = 2
BY_PHONE = "Calls from and to each number; list_calls(phone=…) tells which way each went."


def _listed(value: object) -> object:
    """A single dimension for a list of one: models write it so."""
    return [value] if isinstance(value, str) else value


class GroupPart(Part):
    """Calls that share a key; durations in seconds, of those that were answered."""

    key: dict[str, str]
    calls: int
    answered: int
    total_seconds: float
    median_seconds: float | None = None


class CountCalls(Part):
    """The structured answer. `note` says what a number means, or what to try when there is none; `filters` repeats the
    question's."""

    groups: list[GroupPart]
    groups_left_out: int | None = None
    total: int
    note: str | None = None
    filters: dict[str, str] | None = None
    window: WindowPart
    coverage: CoveragePart


async def count_calls(
    ctx: Ctx,
    group_by: Annotated[
        list[Dimension], BeforeValidator(_listed), Field(max_length=MOST_DIMENSIONS, description="up to two")
    ] = [],  # noqa: B006 - never changed; a published default
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
) -> CallToolResult:
    """Count calls of all accounts, in groups: how many, answered, total and median seconds.

    For "how many", "busiest", "per day"; days and hours are the configured zone's. Use list_calls for the calls
    themselves.
    """
    app = app_of(ctx)
    if len(set(group_by)) != len(group_by):
        raise BadQuery("group_by names the same dimension twice. Name one or two different ones.")
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
    )
    await app.sync.freshen(question.which.accounts, question.window.since, question.window.until)
    return await anyio.to_thread.run_sync(_answer, app, question, tuple(group_by))


def _answer(app: App, question: Asked, group_by: tuple[Dimension, ...]) -> CallToolResult:
    total, groups = app.store.count(question.which, group_by, app.zone.key)
    groups.sort(key=lambda group: _order(group, group_by))
    parts = [
        GroupPart(
            key={name: fact(part) or "unknown" for name, part in zip(group_by, group.key, strict=False)},
            calls=group.calls,
            answered=group.answered,
            total_seconds=round(group.total_seconds, 1),
            median_seconds=group.median_seconds,
        )
        for group in groups
    ]
    # A week by hours is 168 groups, of which none should be missing.
    room = 2 * DEFAULT_CHARACTERS if set(group_by) == {"weekday", "hour"} else DEFAULT_CHARACTERS
    fit = fitting(parts, room, _line, dumped) if parts else 0
    coverage = coverage_of(app, question.which, question.names, about_agents="agent" in group_by)
    note = widen(question.narrowing) if not total else BY_PHONE if "phone" in group_by else None
    structured = CountCalls(
        groups=parts[:fit],
        groups_left_out=len(parts) - fit or None,
        total=total,
        note=note or None,
        filters=filters_part(question.narrowing),
        window=window_part(question.window, app.zone),
        coverage=coverage,
    )
    by = f", by {' and '.join(group_by)}" if group_by else ""
    facts = [
        f"{counted(total, 'call')} {asked_words(question, app.zone)}{by}:" if total else "",
        f"No calls {asked_words(question, app.zone)}." if not total else "",
        note or "",
        *(_line(part) for part in parts[:fit]),
        f"{len(parts) - fit} groups are left out; narrow the window or filters." if fit < len(parts) else "",
        coverage_words(coverage, heard=False),
    ]
    return answer(structured, facts)


def _order(group: Group, group_by: tuple[Dimension, ...]) -> tuple[object, ...]:
    """Times in their order; everything else by the number of calls."""
    timed = [
        WEEKDAYS.index(part) if name == "weekday" else part
        for name, part in zip(group_by, group.key, strict=False)
        if name in ("day", "hour", "weekday")
    ]
    return (*timed, -group.calls, group.key)


def _line(part: GroupPart) -> str:
    key = ", ".join(part.key.values()) or "all"
    lasted = f" ({show_seconds(part.total_seconds)} in all, median {show_seconds(part.median_seconds)})"
    told = part.median_seconds is not None
    return f"{key}: {counted(part.calls, 'call')}, {part.answered} answered{lasted if told else ''}"
