"""What the stores in SQLite and in PostgreSQL share: keys that are time, filters as words of the index, rows as they are read."""

import math
from collections.abc import Collection, Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

from call_logs.model import ActionKind, Call, Direction, Status, customer_number
from call_logs.store import (
    FEW_VANISHING,
    MISSED_SECONDS,
    MOST_VANISHING,
    NO_NUMBER,
    Audited,
    Filter,
    Marks,
    Row,
    Tombstone,
    digest_of,
)
from call_logs.store.forms import may_vary

SLOTS = 256
"""Calls that can begin in the same second before keys spill into the next one."""

DAY = SLOTS * 86400
"""Keys of one UTC day, the step of the tally."""

SPOKEN = ("customer", "agent", "system", "unknown")
"""The index has a column for each speaker, by the speaker's name."""

FILTER = "\u00a7"
"""What filter words begin with. No spoken word has it, so neither is taken for the other."""

STEP_CALLS = 200
STEP_TURNS = 10_000
"""A step of building takes no more calls, and ends with the call that brings it to this many turns."""

MOST_KNOWN = 200_000

OVER, TOLD = 1, 2
"""How settled a call is: over, and over with transcript or summary."""

ROW = """
    call.id, account.name, account.provider, call.vendor_id, call.started_ms, call.duration, call.direction,
    call.status, call.from_number, call.to_number, coalesce(agent.name, agent.vendor_id), call.turns, call.actions,
    call.end_reason, call.test
"""

FROM = "call JOIN account ON account.id = call.account LEFT JOIN agent ON agent.id = call.agent"

SAMPLED = 1_000
"""How telling a word is, is told by its share of so many of the newest calls …"""

FEW = 10
"""… or, where it is in fewer of those, by how many calls say it at all, up to `COUNTED`."""

COUNTED = 2_000

CLOSE_LENGTHS = 2
"""Letters more or fewer that a word may have that was meant by another."""

MOST_TOTALS = 500
"""Totals that are kept."""

CUSTOMER_TAIL = (
    "CASE call.direction WHEN 'outbound' THEN call.to_tail WHEN 'unknown' THEN"
    " CASE WHEN call.from_number IS NULL THEN call.to_tail ELSE call.from_tail END ELSE call.from_tail END"
)

_NO_KEY = DAY << 32


class Known:
    """Words that the vocabulary holds for sure, so that a call of known words writes none. One writer at a time."""

    def __init__(self) -> None:
        self._as_of = ""
        self._words: dict[tuple[str, ...], set[str]] = {}
        self._fresh: dict[tuple[str, ...], set[str]] = {}

    def begin(self, as_of: str) -> None:
        """A transaction begins. `as_of` changes whenever somebody took words out."""
        self._fresh = {}
        if as_of != self._as_of or sum(map(len, self._words.values())) > MOST_KNOWN:
            self._words = {}
        self._as_of = as_of

    def new(self, spoken_in: tuple[str, ...], said: set[str]) -> set[str]:
        """Those words that are not known of calls in these languages; they are, once the transaction is kept."""
        new = said.difference(self._words.get(spoken_in, ()), self._fresh.get(spoken_in, ()))
        new = {word for word in new if may_vary(word)}
        self._fresh.setdefault(spoken_in, set()).update(new)
        return new

    def kept(self) -> None:
        """The transaction was kept."""
        for spoken_in, words in self._fresh.items():
            self._words.setdefault(spoken_in, set()).update(words)
        self._fresh = {}


def has_number(call: Call) -> bool:
    """Whether the customer's number is known."""
    number = customer_number(call.direction, call.from_number, call.to_number) or ""
    return any(character.isdecimal() for character in number)


def filter_words(
    account: int, agent: int | None, call: Call, tails: Iterable[str | None], *, leg: int, turns: int
) -> str:
    """`tails`: the digits of the call's numbers, reversed."""
    status = _status_word(call.status)
    words = [f"ac{account}", f"di{call.direction}", status]
    words += [f"ag{agent}", f"ag{agent}{status}"] if agent is not None else []
    words += [f"ak{kind}" for kind in {action.kind: None for action in call.actions}]
    words += [f"ph{tail}" for tail in tails if tail]
    words += [f"ph{NO_NUMBER[::-1]}"] if not has_number(call) else []
    said = {"test": call.is_test, "leg": leg, "mute": not turns}
    words += [word for word, holds in said.items() if holds]
    return " ".join(FILTER + word for word in words)


def filters_of(which: Filter, accounts: Sequence[int], agents: Sequence[int] | None) -> list[list[str]]:
    """The filter as filter words, one of each list; but for the phone, which is the beginning of one.

    `accounts`: none where all may be seen. `agents`: those of the accounts, for which they stand. What is asked of an agent
    and a status has words of its own: a status is so frequent that to go through its calls takes longer than all else.
    """
    status = _status_word(which.status) if which.status is not None else ""
    if agents is not None:
        wanted = [[f"ag{number}{status}" for number in agents]]
    else:
        wanted = [[f"ac{number}" for number in accounts], [status] if status else []]
    wanted += [[f"di{which.direction}"]] if which.direction is not None else []
    wanted += [[f"ak{which.action}"]] if which.action is not None else []
    return [words for words in wanted if words]


def _status_word(status: Status) -> str:
    return f"st{status.replace('_', '')}"


def second_of(call: Call) -> int:
    return int(call.started_at.timestamp() // 1)


def tail_of(number: str | None) -> str | None:
    """The number's digits reversed, so that "ends with" is a range of an index; None where it has none."""
    from call_logs.phones import digits  # noqa: PLC0415 - only writes and callers' histories need it

    return digits(number)[::-1] or None if number else None


def row_of(row: tuple[Any, ...]) -> Row:
    *known, turns, actions, end_reason, test = row
    key, account, provider, vendor_id, started, duration, direction, status, source, target, agent = known
    return Row(
        key,
        account,
        provider,
        vendor_id,
        datetime.fromtimestamp(started / 1000, UTC),
        duration,
        Direction(direction),
        Status(status),
        source,
        target,
        agent,
        turns,
        tuple(ActionKind(kind) for kind in actions.split()),
        end_reason,
        bool(test),
    )


def with_agent(call: Call, name: str | None) -> Call:
    """The call with its agent's name as the account's other calls tell it, where it was read without one: a vendor's list
    of agents may fail while its calls are read, and calls that are over are not read again for that."""
    return call.model_copy(update={"agent_name": name}) if call.agent_name is None and name is not None else call


def marks_of(row: tuple[Any, ...]) -> Marks:
    high, low, resume = row
    return Marks(moment_of(high), moment_of(low), resume)


def to_ms(moment: datetime | None) -> int | None:
    return round(moment.timestamp() * 1000) if moment is not None else None


def to_ms_after(moment: datetime | None) -> int | None:
    """Never before the moment: a low mark must not promise calls that were not read."""
    return math.ceil(moment.timestamp() * 1000) if moment is not None else None


def moment_of(ms: int | None) -> datetime | None:
    return datetime.fromtimestamp(ms / 1000, UTC) if ms is not None else None


def audited_of(row: tuple[Any, ...]) -> Audited:
    at, principal, asked, outcome, call_ids, found = row
    moment = datetime.fromtimestamp(at / 1000, UTC)
    return Audited(moment, principal, asked, outcome, tuple(call_ids.split("\n")) if call_ids else (), found)


def key_moment(key: int | None) -> datetime | None:
    return datetime.fromtimestamp(key // SLOTS, UTC) if key is not None else None


def window_keys(which: Filter) -> tuple[int, int]:
    """The keys of the window: from the first, before the second."""
    low = int(which.since.timestamp() // 1) * SLOTS if which.since is not None else 0
    high = -int(-which.until.timestamp() // 1) * SLOTS if which.until is not None else _NO_KEY
    return low, high


def is_tallied(which: Filter) -> bool:
    """Whether the filter asks for nothing but accounts, a window, tests and legs."""
    return which == Filter(
        which.accounts, which.since, which.until, include_tests=which.include_tests, include_legs=which.include_legs
    )


class Refusals:
    """What an account's tombstones stand against."""

    def __init__(self, account: str, tombstones: Iterable[Tombstone]) -> None:
        self._account = account
        self._calls: set[str] = set()
        self._phones: dict[int, dict[str, datetime]] = {}
        self._before: datetime | None = None
        for kind, digest, digits, before in tombstones:
            if kind == "call":
                self._calls.add(digest)
            elif kind == "phone" and before is not None:
                self._phones.setdefault(digits, {})[digest] = before
            elif before is not None:
                self._before = before

    def refuses(self, call: Call) -> bool:
        """Whether the call may not be kept."""
        if self._before is not None and call.started_at < self._before:
            return True
        if self._calls and digest_of(self._account, call.vendor_call_id) in self._calls:
            return True
        tails = [tail for number in (call.from_number, call.to_number) if (tail := tail_of(number))]
        return any(
            (before := known.get(digest_of(self._account, tail[:digits][::-1]))) is not None
            and call.started_at < before
            for digits, known in self._phones.items()
            for tail in tails
        )


class Comparable(NamedTuple):
    """A call that a vendor's list should have. `missed_ms`: when it was first missed there."""

    key: int
    vendor_id: str
    agent: int | None
    missed_ms: int | None


class Verdict(NamedTuple):
    """Ids of calls: back in the list, missed now, missed twice; and how many were kept since they are too many."""

    back: list[str]
    missed: list[str]
    gone: list[str]
    kept: int


def verdict(held: Collection[Comparable], listed: Collection[str], now: datetime) -> Verdict:
    """What a complete reading says of the calls held in its window; see `Store.compare`."""
    present = [one for one in held if one.vendor_id in listed]
    back = [one.vendor_id for one in present if one.missed_ms is not None]
    if not present:
        return Verdict(back, [], [], 0)
    first, last = min(one.key for one in present), max(one.key for one in present)
    agents = {one.agent for one in present}
    absent = [one for one in held if one.vendor_id not in listed and first < one.key < last and one.agent in agents]
    if len(absent) > max(FEW_VANISHING, MOST_VANISHING * len(held)):
        return Verdict(back, [], [], len(absent))
    long_ago = now.timestamp() * 1000 - MISSED_SECONDS * 1000
    gone = [one.vendor_id for one in absent if one.missed_ms is not None and one.missed_ms <= long_ago]
    return Verdict(back, [one.vendor_id for one in absent if one.missed_ms is None], gone, 0)
