"""`summarize_call_actions`: what was done in a call, what was promised and not done; or groups over many calls."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Literal

import anyio.to_thread
from mcp.types import CallToolResult
from pydantic import Field

from call_logs.errors import BadQuery, CallNotFound
from call_logs.model import ActionKind, Call, Speaker, customer_number
from call_logs.sip import in_words
from call_logs.store import Row, sort_key
from call_logs.text import defang
from call_logs.times import show_seconds
from call_logs.tools import App, Ctx, app_of
from call_logs.tools.answer import (
    DEFAULT_CHARACTERS,
    MOST_CHARACTERS,
    PARSED,
    CoveragePart,
    Part,
    WindowPart,
    answer,
    counted,
    coverage_of,
    coverage_of_call,
    coverage_words,
    dumped,
    fact,
    filters_part,
    fitting,
    stamp,
    when_said,
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
from call_logs.tools.get_call import ActionPart, action_line, action_parts, action_quotes, call_of, excerpt

if TYPE_CHECKING:
    from call_logs.promises import Promise

MOST_READ = 500
"""Calls whose promises are looked for in one answer."""


class PromisePart(Part):
    """What the agent promised, or claimed to have done (a call back is of the kind `other`). In an answer about many
    calls it names its call."""

    call_id: str | None = None
    citation: str | None = None
    customer_number: str | None = None
    agent: str | None = None
    turn: int
    offset_seconds: float | None = None
    kind: str
    text: str
    claimed: bool


class EndedPart(Part):
    """How the call ended, as far as the vendor tells."""

    status: str
    end_reason: str | None = None
    sip_status_code: int | None = None
    ended_at: str | None = None
    duration_seconds: float | None = None


class PromisesPart(Part):
    """A call's promises: those without an executed action, or all where the vendor reports no actions."""

    actions_reported: bool
    promised_not_executed: list[PromisePart] | None = None
    promised: list[PromisePart] | None = None
    promises_left_out: int | None = None


class ActionGroupPart(Part):
    """Executed actions that share a key."""

    key: str
    executions: int
    calls: int
    example_call_ids: list[str]


class SummarizeCallActions(Part):
    """The structured answer: of one call, or grouped over many.

    `promised_not_executed`: promises without an executed action that could be it. Where `actions_reported` is false the
    vendor reports no actions: `promised` then holds what was promised, and whether it was done cannot be told.
    `calls_judged`: of the calls considered, those whose promises were compared with their actions.
    `speakers_parsed`: as for `get_call`.
    """

    call_id: str | None = None
    actions: list[ActionPart] | None = None
    promised_not_executed: list[PromisePart] | None = None
    promised: list[PromisePart] | None = None
    actions_reported: bool | None = None
    speakers_parsed: bool | None = None
    ended: EndedPart | None = None
    groups: list[ActionGroupPart] | None = None
    groups_left_out: int | None = None
    calls_considered: int | None = None
    calls_judged: int | None = None
    promises_left_out: int | None = None
    filters: dict[str, str] | None = None
    window: WindowPart | None = None
    coverage: CoveragePart
    notice: str | None = None


async def summarize_call_actions(
    ctx: Ctx,
    call_id: Annotated[str | None, Field(description="one call; without it, groups over the filtered calls")] = None,
    group_by: Annotated[
        Literal["kind", "name", "agent", "account", "day", "promise"],
        Field(description="without call_id; promise lists promises not kept"),
    ] = "kind",
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
    """Say what was done: one call's executed actions (transfers, messages, bookings …) with the turn of each, and what
    the agent promised but did not execute; or, without call_id, actions grouped, or promises not kept, over many calls.

    promised_not_executed is precise rather than exhaustive: quote its text as evidence.
    """
    app = app_of(ctx)
    filters = (
        account,
        agent,
        phone,
        since,
        until,
        direction,
        status,
        min_duration_seconds,
        max_duration_seconds,
        action,
    )
    if call_id is not None:
        if any(value is not None for value in filters):
            raise BadQuery("Give either call_id or filters, not both.")
        call = await call_of(app, call_id)
        return await anyio.to_thread.run_sync(_one, app, call.id)
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
    if group_by == "promise":
        return await anyio.to_thread.run_sync(_promises, app, question)
    return await anyio.to_thread.run_sync(_many, app, question, group_by)


def _one(app: App, call_id: str) -> CallToolResult:
    held = excerpt(app, call_id, 1, None)
    if held is None:
        raise CallNotFound("This call is not kept. Use list_calls or search_transcripts to find another.")
    call = held.call
    of_call = promises_of(app, call)
    reported = of_call.actions_reported
    actions = action_parts(app, call)
    promises = of_call.promised_not_executed or of_call.promised or []
    fit = fitting([*promises, *actions], MOST_CHARACTERS // 2, dumped)
    promises = promises[:fit]
    coverage = coverage_of_call(app, call, held.total_turns)
    structured = SummarizeCallActions(
        call_id=call.id,
        actions=actions if reported else None,
        promised_not_executed=promises if reported and call.turns else None,
        promised=promises if not reported and call.turns else None,
        actions_reported=reported,
        speakers_parsed=any(turn.parsed for turn in call.turns) or None,
        ended=EndedPart(
            status=call.status,
            end_reason=fact(call.end_reason),
            sip_status_code=call.sip_status_code,
            ended_at=stamp(call.ended_at, app.zone),
            duration_seconds=call.duration_seconds,
        ),
        coverage=coverage,
    )
    facts = [
        f"{call.id}: {counted(len(actions), 'executed action') if reported else 'executed actions are not reported'}.",
        *(action_line(action) for action in actions),
        _promises_line(call, promises, reported=reported),
        _ended_line(call),
        PARSED if structured.speakers_parsed else "",
        coverage_words(coverage),
    ]
    quotes = [*action_quotes(actions), *(_promise_quote(promise) for promise in promises)]
    return answer(structured, facts, quotes)


def promises_of(app: App, call: Call) -> PromisesPart:
    """The promises of a call that is given with all its turns; neither kind where it has none."""
    from call_logs.promises import promised, unkept  # noqa: PLC0415 - its patterns take a while to compile

    reported = _reported(app, call)
    found = [_part(one) for one in (unkept(call.turns, call.actions) if reported else promised(call.turns))]
    shown = found[: fitting(found, MOST_CHARACTERS // 2, dumped)]
    return PromisesPart(
        actions_reported=reported,
        promised_not_executed=shown if reported and call.turns else None,
        promised=shown if not reported and call.turns else None,
        promises_left_out=len(found) - len(shown) or None,
    )


def _part(promise: "Promise") -> PromisePart:
    return PromisePart(
        turn=promise.turn,
        offset_seconds=promise.offset_seconds,
        kind=promise.kind,
        text=defang(promise.text),
        claimed=promise.claimed,
    )


def _promise_of(app: App, row: Row, promise: "Promise") -> PromisePart:
    known = {
        "call_id": row.id,
        "citation": f"{row.account} · {when_said(row, promise.offset_seconds, app.zone, app.now())}",
        "customer_number": fact(customer_number(row.direction, row.from_number, row.to_number)),
        "agent": fact(row.agent),
    }
    return _part(promise).model_copy(update=known)


def _what(promise: PromisePart) -> str:
    kind = "call back" if promise.kind == ActionKind.OTHER else promise.kind
    return f"{kind} {'claimed as done' if promise.claimed else 'promised'}"


def _promise_quote(promise: PromisePart) -> str:
    return f"turn {promise.turn}, {_what(promise)}: {promise.text}"


def _promise_line(promise: PromisePart, number: int) -> str:
    when = (promise.citation or "").partition(" · ")[2]
    known = [promise.call_id, when, f"turn {promise.turn}", promise.customer_number, promise.agent, _what(promise)]
    return f"{number}. {' · '.join(word for word in known if word)}"


def _reported(app: App, call: Call) -> bool:
    """Whether actions would be there if there had been some: the vendor tells them, or a report of this call does."""
    provider = app.sync.account(call.account).provider
    by_report = provider.reports is not None and any(turn.speaker is Speaker.AGENT for turn in call.turns)
    return "actions" in provider.gives or bool(call.actions) or by_report


def _promises_line(call: Call, promises: list[PromisePart], *, reported: bool) -> str:
    if not reported:
        made = f" Promised: {_kinds(promises)}." if promises else ""
        return f"This vendor reports no actions: whether what was promised was done cannot be told.{made}"
    if not call.turns:
        return "No transcript, so promises cannot be compared with what was done."
    if not promises:
        return (
            "No promise of a message, booking, transfer or call back was recognised that was not kept; other promises, and "
            "unusual wordings, are not looked for."
        )
    return f"Promised or claimed, but not executed: {_kinds(promises)}."


def _kinds(promises: Sequence[PromisePart]) -> str:
    return ", ".join(
        f"{_what(promise)} (turn {promise.turn}"
        + (f" at {show_seconds(promise.offset_seconds)}" if promise.offset_seconds is not None else "")
        + ")"
        for promise in promises
    )


def _ended_line(call: Call) -> str:
    reason = f", {fact(call.end_reason)}" if call.end_reason else ""
    sip = f", SIP {in_words(call.sip_status_code)}" if call.sip_status_code else ""
    return f"The call: {call.status}{reason}{sip}, {show_seconds(call.duration_seconds)}."


def _many(app: App, question: Asked, group_by: str) -> CallToolResult:
    considered, groups = app.store.count_actions(question.which, group_by, app.zone.key)
    groups.sort(key=lambda group: group.key if group_by == "day" else (-group.executions, group.key))
    parts = [
        ActionGroupPart(
            key=fact(group.key) or "unknown",
            executions=group.executions,
            calls=group.calls,
            example_call_ids=list(group.example_call_ids),
        )
        for group in groups
    ]
    fit = fitting(parts, DEFAULT_CHARACTERS, _group_line, dumped) if parts else 0
    coverage = coverage_of(app, question.which, question.names, acting=question.names, about_agents=group_by == "agent")
    structured = SummarizeCallActions(
        groups=parts[:fit],
        groups_left_out=len(parts) - fit or None,
        calls_considered=considered,
        filters=filters_part(question.narrowing),
        window=window_part(question.window, app.zone),
        coverage=coverage,
    )
    ends = sum(part.executions for part in parts if group_by == "kind" and part.key == ActionKind.END)
    executed = counted(sum(part.executions for part in parts) - ends, "executed action")
    besides = f" (and {ends} ends of calls)" if ends else ""
    facts = [
        f"{executed}{besides} in {counted(considered, 'call')} {asked_words(question, app.zone)}, by {group_by}:",
        *(_group_line(part) for part in parts[:fit]),
        f"{len(parts) - fit} smaller groups are left out; narrow the window or filters." if fit < len(parts) else "",
        coverage_words(coverage, heard=False),
    ]
    return answer(structured, facts)


def _group_line(part: ActionGroupPart) -> str:
    return f"{part.key}: {part.executions} in {counted(part.calls, 'call')}, e.g. {', '.join(part.example_call_ids)}"


def _promises(app: App, question: Asked) -> CallToolResult:
    """What was promised and not executed in the newest calls of the filter, newest first."""
    from call_logs.promises import unkept  # noqa: PLC0415 - its patterns take a while to compile

    which = question.which
    considered, read, judged = app.store.total(which), 0, 0
    found: list[PromisePart] = []
    after: tuple[float, int] | None = None
    more, parsed = True, False
    while more and read < MOST_READ:
        page = app.store.list_calls(which, limit=100, after=after)
        more = page.more
        for row in page.rows[: MOST_READ - read]:
            read, after = read + 1, sort_key(row, "newest")
            held = excerpt(app, row.id, 1, None) if row.turns else None
            if held is not None and _reported(app, held.call):
                judged += 1
                broken = unkept(held.call.turns, held.call.actions)
                parsed = parsed or any(held.call.turns[promise.turn - 1].parsed for promise in broken)
                found += [_promise_of(app, row, promise) for promise in broken]
    fit = fitting(found, DEFAULT_CHARACTERS, lambda promise: _promise_line(promise, 1) + promise.text, dumped)
    coverage = coverage_of(app, which, question.names, acting=question.names)
    coverage = coverage.model_copy(update={"complete": coverage.complete and read == considered})
    structured = SummarizeCallActions(
        promised_not_executed=found[:fit],
        promises_left_out=len(found) - fit or None,
        calls_considered=considered,
        calls_judged=judged,
        filters=filters_part(question.narrowing),
        window=window_part(question.window, app.zone),
        speakers_parsed=parsed or None,
        coverage=coverage,
    )
    promises = f"{counted(len(found), 'promise')} of a message, booking, transfer or call back"
    facts = [
        f"{promises} without an executed action, {asked_words(question, app.zone)}{':' if found else '.'}",
        *(_promise_line(promise, number) for number, promise in enumerate(found[:fit], 1)),
        f"Compared {judged} of {counted(considered, 'call')}; the others have no transcript or no reported actions.",
        f"Only the newest {read} calls were looked at: narrow the window." if read < considered else "",
        f"{len(found) - fit} older ones are left out: narrow the window." if fit < len(found) else "",
        PARSED if parsed else "",
        coverage_words(coverage),
    ]
    return answer(structured, facts, [f"{number}. {promise.text}" for number, promise in enumerate(found[:fit], 1)])
