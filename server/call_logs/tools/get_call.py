"""`get_call`: one call, whole or around a turn."""

import re
from collections.abc import Sequence
from datetime import timedelta
from math import ceil
from typing import Annotated, Any

import anyio.to_thread
from mcp.server.apps import client_supports_apps
from mcp.types import CallToolResult
from pydantic import Field

from call_logs.errors import BadQuery, CallNotFound
from call_logs.model import Call, Direction, Scalar, Turn, customer_number
from call_logs.phones import digits
from call_logs.sip import in_words
from call_logs.store import Excerpt, Filter
from call_logs.text import clean_tree, defang, short
from call_logs.times import show_seconds
from call_logs.tools import App, Ctx, app_of
from call_logs.tools.answer import (
    DEFAULT_CHARACTERS,
    MOST_CHARACTERS,
    PARSED,
    RESERVED,
    CallPart,
    CoveragePart,
    Part,
    answer,
    counted,
    coverage_of_call,
    coverage_words,
    details_of,
    dumped,
    fact,
    fitting,
    row_line,
    row_part,
    stamp,
    transcript_uri,
)
from call_logs.views import PROMISES

AROUND = 5
"""Turns shown on either side of `around`."""

EARLIER = 3
RECENT_DAYS = 7
MOST_RECENT = 50
"""Earlier calls that are looked at for "4th call in 6 days"."""

LEAST_CHARACTERS = 12
"""A turn's line is at least as long."""

TURN_CHARACTERS = 8_000
"""One turn longer than this is cut, and says so."""

_RANGE = re.compile(r"\s*(\d{1,7})\s*(?:(-|\u2013|\.\.)\s*(\d{1,7})?)?\s*")


class ActionPart(Part):
    """An executed action, in the order of execution."""

    kind: str
    vendor_kind: str | None = None
    name: str
    executed_at: str | None = None
    turn: int | None = None
    offset_seconds: float | None = None
    details: dict[str, Scalar] | None = None


class TurnPart(Part):
    """One utterance. `cut`: the rest of its text is left out."""

    n: int
    speaker: str
    offset_seconds: float | None = None
    text: str
    cut: bool | None = None


class WholeCallPart(Part):
    """Everything about a call but its turns. `speakers_parsed`: words in one text say who spoke, so a caller could have
    imitated the agent."""

    id: str
    account: str
    provider: str
    parent_id: str | None = None
    direction: str
    from_number: str | None = None
    to_number: str | None = None
    status: str
    vendor_status: str | None = None
    end_reason: str | None = None
    sip_status_code: int | None = None
    started_at: str
    ringing_at: str | None = None
    answered_at: str | None = None
    ended_at: str | None = None
    duration_seconds: float | None = None
    agent_id: str | None = None
    agent_name: str | None = None
    is_test: bool
    has_recording: bool | None = None
    summary: str | None = None
    cost: float | None = None
    currency: str | None = None
    extracted: dict[str, Scalar] | None = None
    actions: list[ActionPart] | None = None
    speakers_parsed: bool | None = None
    uri: str


class EarlierPart(Part):
    """Earlier calls with the same customer's number. This one is the `nth` in `days` days, where there were others in
    the week before it; `placed` of those were calls to the customer."""

    total: int
    nth: int | None = None
    placed: int | None = None
    days: int | None = None
    latest: list[CallPart]


class LaterPart(Part):
    """Later calls from or to the same customer's number, the next ones first."""

    total: int
    next: list[CallPart]


class GetCall(Part):
    """The structured answer. `next_turns` goes back into `turns`."""

    call: WholeCallPart
    turns: list[TurnPart]
    total_turns: int
    next_turns: str | None = None
    legs: list[CallPart] | None = None
    earlier_calls: EarlierPart | None = None
    later_calls: LaterPart | None = None
    coverage: CoveragePart
    notice: str | None = None


async def get_call(
    ctx: Ctx,
    call_id: Annotated[str, Field(description="id from list_calls or search_transcripts")],
    turns: Annotated[str | None, Field(description='"all", or a range such as 31-40 (next_turns)')] = None,
    around: Annotated[int | None, Field(ge=1, description="a turn, as search_transcripts gives it")] = None,
) -> CallToolResult:
    """Get one call: parties, outcome, summary, extracted values, executed actions and its transcript by turns.

    Without turns or around, as much of the transcript as fits a short answer; next_turns continues. Also says how often
    this customer called before.
    """
    app = app_of(ctx)
    if turns is not None and around is not None:
        raise BadQuery("Give either turns or around, not both.")
    call = await call_of(app, call_id)
    await app.sync.detail(call)
    result = await anyio.to_thread.run_sync(_answer, app, call.id, turns, around)
    if client_supports_apps(ctx):
        result.meta = {PROMISES: await anyio.to_thread.run_sync(_promises, app, call.id)}
    return result


def _promises(app: App, call_id: str) -> dict[str, Any]:
    """What the view draws and the answer does not hold: the promises, as `summarize_call_actions` gives them."""
    from call_logs.tools.summarize_call_actions import promises_of  # noqa: PLC0415 - it imports this module

    held = excerpt(app, call_id, 1, None)
    return clean_tree(promises_of(app, held.call).model_dump(mode="json", exclude_none=True)) if held else {}


async def call_of(app: App, call_id: str) -> Call:
    """The call under this id without its turns: fresh, from the store, or else asked of the vendor once.

    Raises `CallNotFound`.
    """
    account, slash, vendor_call_id = call_id.strip().partition("/")
    if not slash or account not in app.names:
        raise CallNotFound(
            "There is no such call id. An id is account/vendor_call_id, as list_calls and search_transcripts give it."
            + (f" Accounts: {', '.join(app.names)}." if app.names else f" {' '.join(app.no_account)}")
        )
    call_id = f"{account}/{vendor_call_id}"
    held = await anyio.to_thread.run_sync(excerpt, app, call_id, 1, 0)
    began = held.call.started_at if held else None
    await app.sync.freshen([account], began, began)
    held = await anyio.to_thread.run_sync(excerpt, app, call_id, 1, 0)
    if held is None:
        await app.sync.fetch(account, vendor_call_id)
        held = await anyio.to_thread.run_sync(excerpt, app, call_id, 1, 0)
    if held is None:
        raise CallNotFound("This call is not kept. Use list_calls or search_transcripts to find another.")
    return held.call


def excerpt(app: App, call_id: str, first: int, last: int | None) -> Excerpt | None:
    """The call with these of its turns, if it may be read."""
    return app.store.excerpt(app.readable, call_id, first, last)


def _answer(app: App, call_id: str, turns: str | None, around: int | None) -> CallToolResult:
    held = excerpt(app, call_id, 1, 0)
    if held is None:
        raise CallNotFound("This call is not kept. Use list_calls or search_transcripts to find another.")
    first, last, budget = _range(held.total_turns, turns, around)
    # A line of a turn has a dozen characters or more: no more turns than that can be shown.
    held = excerpt(app, call_id, first, min(last, first + budget // LEAST_CHARACTERS)) or held
    call, count = held.call, held.total_turns
    part = call_part(app, call)
    rows = app.store.legs(call)
    legs = [row_part(row, app.zone) for row in rows]
    before, later = _earlier(app, call), _later(app, call)
    wanted = [turn_part(turn, budget) for turn in call.turns]
    around_turns = sum(len(dumped(one)) for one in (part, before, later, *legs) if one is not None)
    fit = fitting(wanted, budget - around_turns, turn_line, dumped)
    shown = wanted[:fit]
    upto = last if turns not in (None, "all") or around is not None else count
    following = first + fit
    coverage = coverage_of_call(app, call, count)
    structured = GetCall(
        call=part,
        turns=shown,
        total_turns=count,
        next_turns=f"{following}-{upto}" if following <= upto else None,
        legs=legs or None,
        earlier_calls=before,
        later_calls=later,
        coverage=coverage,
    )
    facts = [
        *_call_lines(part, whole=first == 1),
        *(["Legs:", *(row_line(row, app.zone, app.now()) for row in rows)] if legs else []),
        _earlier_line(call, before),
        _later_line(later),
        _turns_line(count, shown, structured.next_turns),
        PARSED if part.speakers_parsed else "",
        coverage_words(coverage),
    ]
    return answer(structured, facts, _quotes(part, shown, whole=first == 1))


def _earlier(app: App, call: Call) -> EarlierPart | None:
    total, rows = app.store.earlier(app.readable, call, MOST_RECENT)
    if not total:
        return None
    recent = [row for row in rows if call.started_at - row.started_at <= timedelta(days=RECENT_DAYS)]
    # Where as many as were looked at are recent, how many there were is not known.
    told = recent and len(recent) < MOST_RECENT
    return EarlierPart(
        total=total,
        nth=len(recent) + 1 if told else None,
        placed=sum(one.direction is Direction.OUTBOUND for one in (call, *recent)) or None if told else None,
        days=max(1, ceil((call.started_at - recent[-1].started_at) / timedelta(days=1))) if told else None,
        latest=[row_part(row, app.zone) for row in rows[:EARLIER]],
    )


def _later(app: App, call: Call) -> LaterPart | None:
    number = digits(customer_number(call.direction, call.from_number, call.to_number) or "")
    if not number:
        return None
    which = Filter(app.readable, since=call.started_at, phone=number)
    page = app.store.list_calls(which, sort="oldest", limit=EARLIER + 1)
    following = [row for row in page.rows if row.id != call.id]
    total = page.total - (len(page.rows) - len(following))
    return LaterPart(total=total, next=[row_part(row, app.zone) for row in following[:EARLIER]]) if total else None


def _range(count: int, turns: str | None, around: int | None) -> tuple[int, int, int]:
    """First and last turn to show of so many (from 1), and the characters there are for them. Raises `BadQuery`."""
    if around is not None:
        if around > count:
            raise BadQuery(f"This call has {count} turns; around must be one of them.")
        return max(1, around - AROUND), min(count, around + AROUND), DEFAULT_CHARACTERS
    if turns is None:
        return 1, count, DEFAULT_CHARACTERS
    if turns.strip().lower() == "all":
        return 1, count, MOST_CHARACTERS
    found = _RANGE.fullmatch(turns)
    first = int(found[1]) if found else 0
    last = int(found[3]) if found and found[3] else count if found and found[2] else first
    if not found or not 1 <= first <= last:
        raise BadQuery('turns is "all" or a range such as 31-40, counted from 1.')
    if first > count:
        raise BadQuery(f"This call has {count} turns; the range begins behind them.")
    return first, min(last, count), MOST_CHARACTERS


def call_part(app: App, call: Call) -> WholeCallPart:
    """The call but for its turns, for the structured channel."""
    zone = app.zone
    return WholeCallPart(
        id=call.id,
        account=call.account,
        provider=call.provider,
        parent_id=f"{call.account}/{call.parent_id}" if call.parent_id else None,
        direction=call.direction,
        from_number=fact(call.from_number),
        to_number=fact(call.to_number),
        status=call.status,
        vendor_status=fact(call.vendor_status),
        end_reason=fact(call.end_reason),
        sip_status_code=call.sip_status_code,
        started_at=call.started_at.astimezone(zone).isoformat(timespec="seconds"),
        ringing_at=stamp(call.ringing_at, zone),
        answered_at=stamp(call.answered_at, zone),
        ended_at=stamp(call.ended_at, zone),
        duration_seconds=call.duration_seconds,
        agent_id=fact(call.agent_id),
        agent_name=fact(call.agent_name),
        is_test=call.is_test,
        has_recording=call.has_recording,
        summary=short(defang(call.summary), TURN_CHARACTERS // 2) if call.summary else None,
        cost=call.cost,
        currency=call.currency,
        extracted={short(defang(k), 60): defang(v) if isinstance(v, str) else v for k, v in call.extracted.items()}
        or None,
        actions=action_parts(app, call) or None,
        speakers_parsed=any(turn.parsed for turn in call.turns) or None,
        uri=transcript_uri(call.id),
    )


def action_parts(app: App, call: Call) -> list[ActionPart]:
    """The call's actions with the turn and the offset at which they happened."""
    return [
        ActionPart(
            kind=action.kind,
            vendor_kind=fact(action.vendor_kind),
            name=fact(action.name) or action.kind,
            executed_at=stamp(action.executed_at, app.zone),
            turn=action.turn,
            offset_seconds=(action.executed_at - call.spoken_from).total_seconds() if action.executed_at else None,
            details=details_of(action.details),
        )
        for action in call.actions
    ]


def turn_part(turn: Turn, budget: int) -> TurnPart:
    """A turn for the structured channel, cut where it alone would fill the answer."""
    text = defang(turn.text)
    most = min(TURN_CHARACTERS, (budget - RESERVED) // 2)
    return TurnPart(
        n=turn.n,
        speaker=turn.speaker,
        offset_seconds=turn.offset_seconds,
        text=text if len(text) <= most else short(text, most),
        cut=True if len(text) > most else None,
    )


def turn_line(part: TurnPart) -> str:
    """A turn for the text channel: number, offset, speaker, words, on one line."""
    at = f" [{show_seconds(part.offset_seconds)}]" if part.offset_seconds is not None else ""
    return f"{part.n}{at} {part.speaker}: {' '.join(part.text.split())}{' (cut)' if part.cut else ''}"


def action_line(part: ActionPart) -> str:
    """An action for the text channel, without what was said or sent."""
    at = f" at {show_seconds(part.offset_seconds)}" if (part.offset_seconds or -1) >= 0 else ""
    turn = f", turn {part.turn}" if part.turn else ""
    known = ", ".join(f"{name}={value}" for name, value in (part.details or {}).items() if _is_told(name, value))
    return f"- {part.kind}: {part.name} ({part.vendor_kind}){at}{turn}{': ' + known if known else ''}"


def _is_told(name: str, value: Scalar) -> bool:
    """Whether a detail says something to a person: not what was said (a quote), an internal id, or a switch."""
    return name not in ("text", "said") and not name.endswith("_id") and not isinstance(value, bool)


def action_quotes(actions: Sequence[ActionPart]) -> list[str]:
    """What actions said or sent."""
    return [
        f"{part.name}, {key}: {value}"
        for part in actions
        for key, value in (part.details or {}).items()
        if key in ("text", "said")
    ]


def _call_lines(part: WholeCallPart, *, whole: bool) -> list[str]:
    """What is known of the call; its actions only where the answer begins with the first turn, else what is left out."""
    known = [
        ("direction", part.direction if part.direction != "unknown" else None),
        ("status", part.status + (f" ({part.vendor_status})" if part.vendor_status not in (None, part.status) else "")),
        ("end reason", part.end_reason),
        ("SIP status", in_words(part.sip_status_code)),
        ("from", part.from_number),
        ("to", part.to_number),
        ("ringing", part.ringing_at),
        ("answered", part.answered_at),
        ("ended", part.ended_at),
        ("agent", part.agent_name or part.agent_id),
        ("parent", part.parent_id),
        ("recording", {True: "yes", False: "no"}.get(part.has_recording) if part.has_recording is not None else None),
        ("cost", f"{part.cost} {part.currency or ''}".strip() if part.cost is not None else None),
        ("test call", "yes" if part.is_test else None),
    ]
    when = f"{part.started_at[:10]} {part.started_at[11:19]} {part.started_at[19:]}"
    lines = [f"{part.id} · {when} · {show_seconds(part.duration_seconds)}"]
    lines.append(" · ".join(f"{name}: {value}" for name, value in known if value is not None))
    if part.actions and whole:
        lines += ["Executed actions:", *(action_line(action) for action in part.actions)]
    if not whole and (left := _left_out(part)):
        lines.append(f"Left out here: {', '.join(left)}; get_call with the id alone tells them.")
    return lines


def _left_out(part: WholeCallPart) -> list[str]:
    actions = counted(len(part.actions), "executed action") if part.actions else ""
    held = ["summary" if part.summary else "", "extracted values" if part.extracted else "", actions]
    return [word for word in held if word]


def _earlier_line(call: Call, before: EarlierPart | None) -> str:
    number = customer_number(call.direction, call.from_number, call.to_number)
    if before is not None:
        times = counted(before.total, "earlier call")
        placed = f" ({before.placed} of them to the customer)" if before.placed else ""
        nth = f"{_ordinal(before.nth)} call in {counted(before.days or 1, 'day')}{placed}; " if before.nth else ""
        latest = before.latest[0]
        when = f"{latest.started_at[:10]} {latest.started_at[11:16]} {latest.started_at[19:]}"
        return f"Same customer: {nth}{times} in all, the latest {when} ({latest.id})."
    if number is None:
        return "The customer's number is not told, so earlier calls cannot be either."
    if not any(character.isdecimal() for character in number):
        return "The customer's number is withheld, so earlier calls cannot be told."
    return "No earlier call with this customer's number is held."


def _later_line(later: LaterPart | None) -> str:
    if later is None:
        return ""
    following = later.next[0]
    when = f"{following.started_at[:10]} {following.started_at[11:16]} {following.started_at[19:]}"
    return f"After this one: {counted(later.total, 'call')} with the same number, the next {when} ({following.id})."


def _ordinal(number: int) -> str:
    ending = {1: "st", 2: "nd", 3: "rd"}.get(number % 10 if number % 100 // 10 != 1 else 0, "th")
    return f"{number}{ending}"


def _turns_line(count: int, shown: Sequence[TurnPart], next_turns: str | None) -> str:
    if not count:
        return "No transcript."
    what = f"Turns {shown[0].n}-{shown[-1].n} of {count}."
    return f'{what} Continue with turns="{next_turns}".' if next_turns else what


def _quotes(part: WholeCallPart, shown: Sequence[TurnPart], *, whole: bool) -> list[str]:
    if not whole:
        return [turn_line(turn) for turn in shown]
    lines = [f"summary: {' '.join(part.summary.split())}"] if part.summary else []
    lines += [f"extracted {name}: {value}" for name, value in (part.extracted or {}).items()]
    lines += action_quotes(part.actions or [])
    return lines + [turn_line(turn) for turn in shown]
