"""The filters that tools share: their parameters, and what they mean in the configured zone."""

from dataclasses import dataclass
from typing import Annotated, Any
from zoneinfo import ZoneInfo

from pydantic import Field

from call_logs.errors import BadQuery
from call_logs.model import ActionKind, Direction, Status
from call_logs.phones import suffix
from call_logs.store import NO_NUMBER, Filter
from call_logs.times import Window, parse_window
from call_logs.tools import App
from call_logs.tools.answer import narrowing_words, window_words
from call_logs.tools.cursors import Place, check_cursor, digest

AccountArg = Annotated[str | None, Field(description="account name or provider")]
AgentArg = Annotated[str | None, Field(description="agent id or part of its name")]
PhoneArg = Annotated[
    str | None, Field(description="either side's number, any format, its last 4+ digits, or anonymous")
]
SinceArg = Annotated[
    str | None,
    Field(description="ISO 8601, today, yesterday, this|last week|month, N days ago, last N hours|days|weeks"),
]
UntilArg = Annotated[str | None, Field(description="end, exclusive; a bare date or past period counts whole")]
DirectionArg = Annotated[Direction | None, Field(description="not every vendor tells")]
StatusArg = Annotated[Status | None, Field(description="how far it got")]
SecondsArg = Annotated[float | None, Field(ge=0)]
ActionArg = Annotated[ActionKind | None, Field(description="calls in which this was executed")]
TestsArg = Annotated[bool, Field(description="test calls too")]
LegsArg = Annotated[bool, Field(description="legs of calls too")]
CursorArg = Annotated[str | None, Field(description="next_cursor; same arguments")]


_WITHHELD = ("anonymous", "withheld", "private", "restricted", "blocked", "unknown", "unavailable", NO_NUMBER)


@dataclass(frozen=True)
class Asked:
    """What a question is about: the accounts meant, the filter over those that can be read, its window, the digest of
    its arguments for a cursor, and the filters that narrow or widen it, as they were given."""

    names: tuple[str, ...]
    which: Filter
    window: Window
    digest: str
    narrowing: dict[str, object]

    def place(self, tool: str, position: tuple[float, ...]) -> Place:
        """Where this question's answer goes on."""
        return Place(tool, self.digest, self.window, position)


def _digits(phone: str | None) -> str | None:
    """What of a number the store compares; those who say "anonymous" ask for calls without a number."""
    if phone is None:
        return None
    return NO_NUMBER if phone.strip().casefold() in _WITHHELD else suffix(phone)


def asked_words(question: Asked, zone: ZoneInfo) -> str:
    """The window and the filters of a question, for the text channel."""
    return window_words(question.window, zone) + narrowing_words(question.narrowing)


def account_names(app: App, account: str | None) -> tuple[str, ...]:
    """The accounts meant by a name or a provider. Raises `BadQuery` for neither."""
    names = app.names
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
    place: Place | None = None,
    own: tuple[Any, ...] = (),
) -> Asked:
    """The question that the shared arguments ask. `own` are the tool's own arguments, for the cursor's digest.

    A cursor's place brings the window that was resolved when its query began. Raises `BadQuery`.
    """
    window = place.window if place is not None else parse_window(since, until, zone=app.zone, now=app.now())
    if None not in (min_duration_seconds, max_duration_seconds) and min_duration_seconds > max_duration_seconds:  # type: ignore[operator] - neither is None
        raise BadQuery("min_duration_seconds is larger than max_duration_seconds. Swap them.")
    names = account_names(app, account)
    which = Filter(
        accounts=app.sync.readable(names),
        since=window.since,
        until=window.until,
        agent=agent,
        phone=_digits(phone),
        direction=direction,
        status=status,
        min_duration_seconds=min_duration_seconds,
        max_duration_seconds=max_duration_seconds,
        action=action,
        include_tests=include_tests,
        include_legs=include_legs,
    )
    narrowing: dict[str, object] = {
        "account": account,
        "agent": agent,
        "phone": phone,
        "since": since,
        "until": until,
        "direction": direction,
        "status": status,
        "min_duration_seconds": min_duration_seconds,
        "max_duration_seconds": max_duration_seconds,
        "action": action,
    }
    of = digest([*narrowing.values(), include_tests, include_legs, *own])
    check_cursor(place, of)
    narrowing |= {"include_tests": "true" if include_tests else None, "include_legs": "true" if include_legs else None}
    return Asked(names, which, window, of, {name: value for name, value in narrowing.items() if value is not None})
