"""The filters that tools share: their parameters, and what they mean in the configured zone."""

import base64
import binascii
import hashlib
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, cast

from pydantic import Field

from call_logs.errors import BadQuery
from call_logs.model import ActionKind, Direction, Status
from call_logs.phones import suffix
from call_logs.store import Filter
from call_logs.times import Window, parse_window
from call_logs.tools import App

AccountArg = Annotated[str | None, Field(description="account name or provider")]
AgentArg = Annotated[str | None, Field(description="agent id or part of its name")]
PhoneArg = Annotated[str | None, Field(description="either side's number, any format, or its last 4+ digits")]
SinceArg = Annotated[
    str | None,
    Field(description="ISO 8601, today, yesterday, this|last week|month or last N hours|days|weeks"),
]
UntilArg = Annotated[str | None, Field(description="end, exclusive; a bare date or past period counts whole")]
DirectionArg = Annotated[Direction | None, Field(description="not every vendor tells")]
StatusArg = Annotated[Status | None, Field(description="how far it got")]
SecondsArg = Annotated[float | None, Field(ge=0)]
ActionArg = Annotated[ActionKind | None, Field(description="calls in which this was executed")]
TestsArg = Annotated[bool, Field(description="test calls too")]
LegsArg = Annotated[bool, Field(description="legs of calls too")]
CursorArg = Annotated[str | None, Field(description="next_cursor of the previous answer, same arguments")]


@dataclass(frozen=True)
class Asked:
    """What a question is about: the accounts meant, the filter over those that can be read, its window, and its
    arguments for a cursor."""

    names: tuple[str, ...]
    which: Filter
    window: Window
    digest: str


def account_names(app: App, account: str | None) -> tuple[str, ...]:
    """The accounts meant by a name or a provider. Raises `BadQuery` for neither."""
    names = app.sync.names
    if account is None:
        return names
    chosen = tuple(name for name in names if account in (name, app.sync.account(name).provider.slug)) or tuple(
        name for name in names if account.casefold() == name.casefold()
    )
    if not chosen and names:
        raise BadQuery(f"There is no account or provider of that name. Accounts: {', '.join(names)}.")
    return chosen


def asked(
    app: App,
    *,
    account: str | None,
    agent: str | None,
    phone: str | None,
    since: str | None,
    until: str | None,
    direction: Direction | None,
    status: Status | None,
    min_duration_seconds: float | None,
    max_duration_seconds: float | None,
    action: ActionKind | None,
    include_tests: bool,
    include_legs: bool,
    cursor: dict[str, Any] | None = None,
    own: tuple[Any, ...] = (),
) -> Asked:
    """The question that the shared arguments ask. `own` are the tool's own arguments, for the cursor's digest.

    A cursor brings the window that was resolved when its query began. Raises `BadQuery`.
    """
    window = parse_window(since, until, zone=app.zone, now=app.now())
    if cursor is not None:
        window = Window(_moment(cursor.get("since")), _moment(cursor.get("until")))
    if None not in (min_duration_seconds, max_duration_seconds) and min_duration_seconds > max_duration_seconds:  # type: ignore[operator] - neither is None
        raise BadQuery("min_duration_seconds is larger than max_duration_seconds. Swap them.")
    names = account_names(app, account)
    which = Filter(
        accounts=app.sync.readable(names),
        since=window.since,
        until=window.until,
        agent=agent,
        phone=suffix(phone) if phone is not None else None,
        direction=direction,
        status=status,
        min_duration_seconds=min_duration_seconds,
        max_duration_seconds=max_duration_seconds,
        action=action,
        include_tests=include_tests,
        include_legs=include_legs,
    )
    arguments = (account, agent, phone, since, until, direction, status, min_duration_seconds, max_duration_seconds)
    said = json.dumps([*arguments, action, include_tests, include_legs, *own])
    return Asked(names, which, window, hashlib.blake2b(said.encode(), digest_size=6).hexdigest())


def write_cursor(tool: str, question: Asked, place: dict[str, Any]) -> str:
    """An opaque place in this question's answer."""
    window = {"since": _stamp(question.window.since), "until": _stamp(question.window.until)}
    packed = json.dumps({"tool": tool, "of": question.digest, **window, **place}, separators=(",", ":"))
    return base64.urlsafe_b64encode(packed.encode()).decode().rstrip("=")


def read_cursor(cursor: str | None) -> dict[str, Any] | None:
    """The place that a cursor names. Raises `BadQuery` for one that is none of ours."""
    if cursor is None:
        return None
    try:
        place = json.loads(base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True))
    except (ValueError, binascii.Error):
        place = None
    if not isinstance(place, dict) or not {"tool", "of", "since", "until"} <= place.keys():
        raise BadQuery("This cursor is not readable. Take next_cursor as it is from an answer, or leave it out.")
    return cast("dict[str, Any]", place)


def check_cursor(place: dict[str, Any] | None, tool: str, question: Asked, *needed: str) -> None:
    """Refuse a cursor of another tool or of other arguments. Raises `BadQuery`."""
    if place is None:
        return
    if place["tool"] != tool:
        raise BadQuery(f"This cursor belongs to {place['tool']!s:.40}, not to {tool}. Leave it out to begin anew.")
    if place["of"] != question.digest:
        raise BadQuery("This cursor belongs to a query with other arguments. Repeat those, or leave the cursor out.")
    if not set(needed) <= place.keys():
        raise BadQuery("This cursor is not readable. Take next_cursor as it is from an answer, or leave it out.")


def _stamp(moment: datetime | None) -> float | None:
    return moment.timestamp() if moment is not None else None


def _moment(stamp: Any) -> datetime | None:
    return datetime.fromtimestamp(stamp, UTC) if isinstance(stamp, int | float) else None
