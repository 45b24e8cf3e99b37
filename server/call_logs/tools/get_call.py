"""`get_call`: one call, whole or around a turn."""

import re
from collections.abc import Sequence
from typing import Annotated

import anyio.to_thread
from mcp.types import CallToolResult
from pydantic import Field

from call_logs.errors import BadQuery, CallNotFound
from call_logs.model import Call, Scalar, Turn
from call_logs.providers import NO_ACCOUNT
from call_logs.store import Filter, Row
from call_logs.text import defang, short
from call_logs.times import show, show_seconds
from call_logs.tools import App, Ctx, app_of
from call_logs.tools.answer import (
    DEFAULT_CHARACTERS,
    MOST_CHARACTERS,
    RESERVED,
    CallPart,
    CoveragePart,
    Part,
    answer,
    coverage_of,
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

AROUND = 5
"""Turns shown on either side of `around`."""

EARLIER = 3
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
    """Everything about a call but its turns."""

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
    uri: str


class EarlierPart(Part):
    """Earlier calls with the same customer."""

    total: int
    latest: list[CallPart]


class GetCall(Part):
    """The structured answer. `next_turns` goes back into `turns`."""

    call: WholeCallPart
    turns: list[TurnPart]
    total_turns: int
    next_turns: str | None = None
    legs: list[CallPart] | None = None
    earlier_calls: EarlierPart | None = None
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
    return await anyio.to_thread.run_sync(_answer, app, await _held(app, call.id) or call, turns, around)


async def call_of(app: App, call_id: str) -> Call:
    """The call under this id: fresh, from the store, or else asked of the vendor once. Raises `CallNotFound`."""
    account, slash, vendor_call_id = call_id.strip().partition("/")
    if not slash or account not in app.sync.names:
        raise CallNotFound(
            "There is no such call id. An id is account/vendor_call_id, as list_calls and search_transcripts give it."
            + (f" Accounts: {', '.join(app.sync.names)}." if app.sync.names else f" {' '.join(NO_ACCOUNT)}")
        )
    held = await _held(app, f"{account}/{vendor_call_id}")
    began = held.started_at if held else None
    await app.sync.freshen([account], began, began)
    call = await _held(app, f"{account}/{vendor_call_id}")
    if call is None:
        await app.sync.fetch(account, vendor_call_id)
        call = await _held(app, f"{account}/{vendor_call_id}")
    if call is None:
        raise CallNotFound("This call is not kept. Use list_calls or search_transcripts to find another.")
    return call


async def _held(app: App, call_id: str) -> Call | None:
    return await anyio.to_thread.run_sync(app.store.call, app.sync.readable(app.sync.names), call_id)


def _answer(app: App, call: Call, turns: str | None, around: int | None) -> CallToolResult:
    first, last, budget = _range(call, turns, around)
    part = call_part(app, call)
    wanted = [turn_part(turn, budget) for turn in call.turns[first - 1 : last]]
    fit = fitting(wanted, budget - len(dumped(part)), turn_line, dumped) if wanted else 0
    shown = wanted[:fit]
    upto = last if turns not in (None, "all") or around is not None else len(call.turns)
    following = first + fit
    total, earlier = app.store.earlier(app.sync.readable(app.sync.names), call, EARLIER)
    legs = app.store.legs(call)
    coverage = coverage_of(app, Filter((call.account,), since=call.started_at, until=call.started_at))
    structured = GetCall(
        call=part,
        turns=shown,
        total_turns=len(call.turns),
        next_turns=f"{following}-{upto}" if following <= upto else None,
        legs=[row_part(row, app.zone) for row in legs] or None,
        earlier_calls=EarlierPart(total=total, latest=[row_part(row, app.zone) for row in earlier]) if total else None,
        coverage=coverage,
    )
    facts = [
        *_call_lines(part),
        *_related_lines(app, call, legs, total, earlier),
        _turns_line(call, shown, structured.next_turns),
        coverage_words(coverage),
    ]
    return answer(structured, facts, _quotes(part, shown))


def _range(call: Call, turns: str | None, around: int | None) -> tuple[int, int, int]:
    """First and last turn to show (from 1), and the characters there are for them. Raises `BadQuery`."""
    count = len(call.turns)
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
    known = ", ".join(f"{k}={v}" for k, v in (part.details or {}).items() if k not in ("text", "said"))
    return f"- {part.kind}: {part.name} ({part.vendor_kind}){at}{turn}{': ' + known if known else ''}"


def action_quotes(actions: Sequence[ActionPart]) -> list[str]:
    """What actions said or sent."""
    return [
        f"{part.name}, {key}: {value}"
        for part in actions
        for key, value in (part.details or {}).items()
        if key in ("text", "said")
    ]


def _call_lines(part: WholeCallPart) -> list[str]:
    known = [
        ("direction", part.direction if part.direction != "unknown" else None),
        ("status", part.status + (f" ({part.vendor_status})" if part.vendor_status else "")),
        ("end reason", part.end_reason),
        ("SIP status", part.sip_status_code),
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
    if part.actions:
        lines += ["Executed actions:", *(action_line(action) for action in part.actions)]
    return lines


def _related_lines(app: App, call: Call, legs: Sequence[Row], total: int, earlier: Sequence[Row]) -> list[str]:
    lines = ["Legs:", *(row_line(row, app.zone, app.now()) for row in legs)] if legs else []
    if total:
        times = "1 earlier call" if total == 1 else f"{total} earlier calls"
        lines.append(f"Same customer: {times}, the latest {show(earlier[0].started_at, app.zone)} ({earlier[0].id}).")
    elif not call.from_number and not call.to_number:
        lines.append("The customer's number is not known, so earlier calls cannot be told.")
    return lines


def _turns_line(call: Call, shown: Sequence[TurnPart], next_turns: str | None) -> str:
    if not call.turns:
        return "No transcript."
    what = f"Turns {shown[0].n}-{shown[-1].n} of {len(call.turns)}."
    return f'{what} Continue with turns="{next_turns}".' if next_turns else what


def _quotes(part: WholeCallPart, shown: Sequence[TurnPart]) -> list[str]:
    lines = [f"summary: {' '.join(part.summary.split())}"] if part.summary else []
    lines += [f"extracted {name}: {value}" for name, value in (part.extracted or {}).items()]
    lines += action_quotes(part.actions or [])
    return lines + [turn_line(turn) for turn in shown]
