"""Where calls are kept and found: one contract, SQLite by default, PostgreSQL when several servers share one.

Every question names the accounts it may see; there is no way to ask without. All times are aware UTC, windows include
`since` and exclude `until`. Methods block and may be called from any thread.
"""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from call_logs.errors import StoreError
from call_logs.model import ActionKind, Call, Direction, Status, Turn
from call_logs.store.query import Query

RANKED = 1000
"""Relevance compares this many of the newest matching calls; `SearchPage.ranked_all` says when that was not all."""

NO_NUMBER = "none"
"""As `Filter.phone`: the customer's number has no digits."""

COUNT_DIMENSIONS = (
    "day",
    "hour",
    "weekday",
    "agent",
    "account",
    "provider",
    "status",
    "direction",
    "end_reason",
    "phone",
)
ACTION_DIMENSIONS = ("kind", "name", "agent", "account", "day")


@dataclass(frozen=True)
class Filter:
    """Which calls a question is about. `accounts` is what the asker may see; an empty one sees nothing.

    `phone` holds digits to be matched against the end of either number, or `NO_NUMBER` for calls whose customer's number
    is withheld or not told. `agent` is an id or part of a name.
    """

    accounts: tuple[str, ...]
    since: datetime | None = None
    until: datetime | None = None
    agent: str | None = None
    phone: str | None = None
    direction: Direction | None = None
    status: Status | None = None
    min_duration_seconds: float | None = None
    max_duration_seconds: float | None = None
    action: ActionKind | None = None
    include_tests: bool = False
    include_legs: bool = False


class Row(NamedTuple):
    """A call as lists show it. `key` orders calls by time and is stable; `turns` is how many there are."""

    key: int
    account: str
    provider: str
    vendor_call_id: str
    started_at: datetime
    duration_seconds: float | None
    direction: Direction
    status: Status
    from_number: str | None
    to_number: str | None
    agent: str | None
    turns: int
    actions: tuple[ActionKind, ...]
    end_reason: str | None = None
    is_test: bool = False

    @property
    def id(self) -> str:
        """`account/vendor_call_id`."""
        return f"{self.account}/{self.vendor_call_id}"


@dataclass(frozen=True)
class ListPage:
    """`total` counts all calls of the filter, not only those after the position."""

    rows: list[Row]
    total: int
    more: bool


@dataclass(frozen=True)
class Hit:
    """A call that matches, with the turn that answers best and its neighbours."""

    row: Row
    turn: Turn
    before: Turn | None
    after: Turn | None
    score: float


@dataclass(frozen=True)
class Excerpt:
    """A call with only those of its turns that were asked for; `total_turns` is how many there are."""

    call: Call
    total_turns: int


class Occurrence(NamedTuple):
    """How many calls of a filter say one term of a query (in one of its forms), and, where none does, the words of the
    index that may have been meant."""

    term: str
    calls: int
    close: tuple[str, ...] = ()


@dataclass(frozen=True)
class SearchPosition:
    """Where a search goes on: after this hit, among the calls that were held when it began."""

    known: int
    score: float
    key: int
    weights: tuple[float, ...] = ()


@dataclass(frozen=True)
class SearchPage:
    """`total_calls` counts every call that matches. `known` and `weights` make the position of a hit."""

    hits: list[Hit]
    total_calls: int
    ranked_all: bool
    more: bool
    known: int
    weights: tuple[float, ...] = ()

    def position(self, hit: Hit) -> SearchPosition:
        """Where the search goes on behind this hit."""
        return SearchPosition(self.known, hit.score, hit.row.key, self.weights)


class Group(NamedTuple):
    """Calls that share a key. Durations in seconds, over the answered calls that have one."""

    key: tuple[str, ...]
    calls: int
    answered: int
    total_seconds: float
    median_seconds: float | None


class ActionGroup(NamedTuple):
    """Executed actions that share a key; `example_call_ids` are the newest calls."""

    key: str
    executions: int
    calls: int
    example_call_ids: tuple[str, ...]


@dataclass(frozen=True)
class Marks:
    """How far an account has been read, in the vendor's own times.

    Every call that started between `low` and `high` and was listed by the vendor is in the store. Below `low` a
    backfill goes on at `resume` (opaque to all but the provider), until `low` is where the history begins.
    """

    high: datetime | None = None
    low: datetime | None = None
    resume: str | None = None


@dataclass(frozen=True)
class AccountRow:
    """What the store knows of an account. `state` is empty while nothing has been noted.

    `rests_until`: after failures no process asks the vendor before. `vanished`: calls that the vendor lists no more and
    that were kept, since so many at once are more likely its fault than deletions.
    """

    name: str
    provider: str
    state: str
    problem: str | None
    next_step: str | None
    last_synced_at: datetime | None
    marks: Marks
    calls: int
    with_transcript: int
    oldest: datetime | None
    newest: datetime | None
    unreadable: int
    rests_until: datetime | None = None
    vanished: int = 0


class Opened(NamedTuple):
    """What `Store.open_account` was told of an account."""

    name: str
    provider: str
    tenant: str
    scope: str


class AgentRow(NamedTuple):
    """An agent that handled calls of an account."""

    account: str
    agent_id: str
    name: str | None
    calls: int


class Silent(NamedTuple):
    """Calls of an account without a transcript. Of those `unconnected` never were a conversation (busy, no answer …);
    of the others `recent` began after the given moment."""

    account: str
    provider: str
    calls: int
    recent: int
    unconnected: int


class Unsettled(NamedTuple):
    """A call that may still change: not over, or nothing said of it yet. `read_at` is when it was last read."""

    vendor_call_id: str
    started_at: datetime
    read_at: datetime


@dataclass(frozen=True)
class Unreadable:
    """A vendor's record that could not be read: its id where it had one, and the names of the fields at fault."""

    vendor_call_id: str | None
    fields: tuple[str, ...]


@dataclass
class Saved:
    """What a page changed. `refused` calls may not be kept: a tombstone stands against them."""

    new: int = 0
    changed: int = 0
    same: int = 0
    refused: int = 0
    erased: int = 0
    ids: list[str] = field(default_factory=list[str])


MISSED_SECONDS = 600.0
"""A call must have been missing for as long before a second reading without it counts."""

MOST_VANISHING = 0.2
FEW_VANISHING = 5
"""More calls than this, and more than this share of those compared, do not vanish at once: nothing is erased then."""


class Compared(NamedTuple):
    """What a comparison with the vendor's list came to: calls missed for the first time, calls erased since it was the
    second, and calls kept although they are missing, since there were too many."""

    missed: int = 0
    erased: int = 0
    kept: int = 0


class Tombstone(NamedTuple):
    """What may not come back to an account: a call; calls of a number, or all calls, that began before a moment.

    `digest` stands for the call's id or for the number's last `digits` digits; neither can be read from it, though a
    number can be found by trying all.
    """

    kind: str
    digest: str = ""
    digits: int = 0
    before: datetime | None = None

    @classmethod
    def of_call(cls, account: str, vendor_call_id: str) -> "Tombstone":
        """Against one call."""
        return cls("call", digest_of(account, vendor_call_id))

    @classmethod
    def of_phone(cls, account: str, digits: str, before: datetime) -> "Tombstone":
        """Against calls from or to a number that ends with these digits."""
        return cls("phone", digest_of(account, digits), len(digits), before)

    @classmethod
    def of_all(cls, before: datetime) -> "Tombstone":
        """Against all calls."""
        return cls("all", before=before)


def digest_of(account: str, what: str) -> str:
    """32 hexadecimal digits that stand for something of an account, the same in every store."""
    return hashlib.blake2b(f"{account}\0{what}".encode(), digest_size=16, person=b"call-logs").hexdigest()


class Audited(NamedTuple):
    """Who was told of which calls. `asked` is a tool, prompt or resource; `found` is the total that the answer told."""

    at: datetime
    principal: str
    asked: str
    outcome: str
    call_ids: tuple[str, ...]
    found: int | None = None


class Watch(ABC):
    """A look-out for calls that are written or erased, by whatever process. For one thread at a time."""

    @abstractmethod
    def wait(self, seconds: float) -> frozenset[str]:
        """The accounts whose calls have changed since this was last asked, or the watch began; waits for the first one
        at most so long. Returns empty for none; names too many rather than too few. Raises `StoreError`."""

    @abstractmethod
    def close(self) -> None:
        """Let go of the database."""


class Store(ABC):
    """The contract. Every implementation passes the same suite by existing."""

    @abstractmethod
    def close(self) -> None:
        """Let go of the database; the store cannot be used afterwards."""

    @abstractmethod
    def open_account(self, name: str, provider: str, tenant: str = "", scope: str = "") -> None:
        """Make sure the account is known.

        `tenant` stands for whose calls these are, `scope` for which of them are read; both are opaque. With another
        scope the whole history is read again. Raises `StoreError` if the name holds calls of another provider or tenant.
        """

    @abstractmethod
    def opened(self) -> list[Opened]:
        """Every account that was ever opened, by name; for who moves them to another store."""

    @abstractmethod
    def marks(self, account: str) -> Marks:
        """How far the account has been read."""

    @abstractmethod
    def save_page(
        self,
        account: str,
        calls: Sequence[Call],
        marks: Marks | None = None,
        unreadable: Sequence[Unreadable] = (),
        *,
        deleted: Sequence[str] = (),
        listed: bool = False,
        now: datetime | None = None,
    ) -> Saved:
        """Keep calls and the new marks in one transaction: after a crash both are there, or neither.

        A call that is already held is merged (`model.merged`); an unchanged one is not written; one against which a
        tombstone stands is refused. `deleted` are ids of calls that the vendor says were deleted: they are erased.
        `listed`: the vendor's list has the calls, so that it may be missed there later (`compare`). `now`: when the
        `unreadable` records were met (`forget_unreadable`), where that is not this moment.
        """

    @abstractmethod
    def settled(self, account: str, vendor_call_ids: Sequence[str], *, told: bool) -> set[str]:
        """Those of the calls that are held and will not change: over and, with `told`, with transcript or summary."""

    @abstractmethod
    def unsettled(self, account: str, since: datetime, *, told: bool) -> list[Unsettled]:
        """The calls that began at or after `since` and are not settled."""

    @abstractmethod
    def note(
        self,
        account: str,
        state: str,
        problem: str | None = None,
        next_step: str | None = None,
        synced_at: datetime | None = None,
        rests_until: datetime | None = None,
    ) -> None:
        """Keep how the last pass over the account ended.

        State `ok` also sets `last_synced_at`: to when the newest calls were asked for, or to now.
        """

    @abstractmethod
    def accounts(self, names: Sequence[str]) -> list[AccountRow]:
        """The accounts of these names that are known, in that order."""

    @abstractmethod
    def agents(self, names: Sequence[str]) -> list[AgentRow]:
        """The agents of these accounts, busiest first."""

    @abstractmethod
    def call(self, accounts: Sequence[str], call_id: str) -> Call | None:
        """The call under `account/vendor_call_id`, if it is one of these accounts'.

        Where it was read without its agent's name, with the one that is known now; so for `excerpt`, and not for `after`.
        """

    @abstractmethod
    def excerpt(self, accounts: Sequence[str], call_id: str, first: int = 1, last: int | None = None) -> Excerpt | None:
        """The call, if it is one of these accounts', with its turns `first` to `last` (counted from 1, both included).

        Reads no more of a long call than that. Turns that there are not are left out.
        """

    @abstractmethod
    def legs(self, call: Call) -> list[Row]:
        """The calls whose parent this one is, oldest first."""

    @abstractmethod
    def earlier(self, accounts: Sequence[str], call: Call, limit: int) -> tuple[int, list[Row]]:
        """How many earlier calls of these accounts had the same customer number, and the newest of them."""

    @abstractmethod
    def list_calls(
        self, which: Filter, *, sort: str = "newest", limit: int = 20, after: tuple[float, int] | None = None
    ) -> ListPage:
        """Calls in order of `sort` (newest, oldest, longest), after the position (`sort_key` of a row)."""

    @abstractmethod
    def total(self, which: Filter) -> int:
        """How many calls `list_calls` would list in all."""

    @abstractmethod
    def summaries(self, keys: Sequence[int]) -> dict[int, str]:
        """The vendors' summaries of these rows, where there are some."""

    @abstractmethod
    def search(
        self,
        query: Query,
        which: Filter,
        *,
        speaker: str | None = None,
        sort: str = "relevance",
        limit: int = 10,
        after: SearchPosition | None = None,
    ) -> SearchPage:
        """Calls in which the query's words were said (by `speaker`), one hit a call.

        Plain words are found in every form that the index holds.
        """

    @abstractmethod
    def occurrences(self, query: Query, which: Filter, *, speaker: str | None = None) -> list[Occurrence]:
        """Why a search finds little: each of the query's terms by itself, in the order of the query."""

    @abstractmethod
    def count(self, which: Filter, group_by: Sequence[str], zone: str) -> tuple[int, list[Group]]:
        """The number of calls, and their groups by up to two of `COUNT_DIMENSIONS`; days and hours of the zone."""

    @abstractmethod
    def count_actions(self, which: Filter, group_by: str, zone: str) -> tuple[int, list[ActionGroup]]:
        """The number of calls considered, and their executed actions by one of `ACTION_DIMENSIONS`."""

    @abstractmethod
    def silent(self, which: Filter, recent_since: datetime) -> list[Silent]:
        """Calls without a transcript, by account."""

    # -- erasing -------------------------------------------------------------------------------------------------

    @abstractmethod
    def compare(
        self, account: str, since: datetime, until: datetime, listed: Collection[str], now: datetime
    ) -> Compared:
        """Compare the calls held that began in [since, until) with the ids that a complete reading listed.

        One that two readings miss, `MISSED_SECONDS` apart, is erased. Only calls are judged that were listed once,
        that began between the first and the last of those listed, and whose agent has another one listed: what is
        beyond may be the vendor's retention, or an agent that is gone.
        """

    @abstractmethod
    def erase(self, account: str, vendor_call_ids: Collection[str]) -> int:
        """Erase these calls: rows, words, counters. Returns how many were held. See `compact` for the files."""

    @abstractmethod
    def bury(self, account: str, tombstones: Sequence[Tombstone]) -> None:
        """Keep tombstones: what they stand against is refused from now on. Erases nothing."""

    @abstractmethod
    def tombstones(self, account: str) -> list[Tombstone]:
        """The account's tombstones, in any order."""

    @abstractmethod
    def uncompacted(self) -> int:
        """How many calls were erased since the last `compact`: their words may still stand in the database's files."""

    @abstractmethod
    def compact(self, *, thorough: bool, going_on: Callable[[], bool] = lambda: True) -> bool:
        """Overwrite what erased calls left in the database's files. False where that was not possible yet.

        Writers wait while a file is written anew, some seconds for 100,000 calls. A database server's tables are only with
        `thorough`, since there readers wait as well; else the server overwrites their bytes by and by.
        """

    @abstractmethod
    def audit(self, entries: Sequence[Audited]) -> None:
        """Add entries to the audit table, of which nothing is ever changed or taken away."""

    @abstractmethod
    def audited(self, since: datetime | None = None, limit: int = 100) -> list[Audited]:
        """The newest entries at or after `since`, newest first."""

    # -- several processes, other versions, other engines --------------------------------------------------------

    @abstractmethod
    def lead(self, account: str) -> bool:
        """Become, or stay, the one process that reads this account's vendor, until `resign`, `close` or the process's end.

        Never waits; False while another process leads. A store may lead all accounts with one of them. A second store of
        the same process counts as another process. A killed process lets go at once.
        """

    @abstractmethod
    def resign(self, account: str) -> None:
        """Let another process lead the account."""

    @abstractmethod
    def watch(self) -> Watch:
        """A look-out for changes from now on, with a connection of its own."""

    @abstractmethod
    def index_progress(self) -> float | None:
        """The share of calls that the index of this version's tokeniser holds while it is built; None once it answers.

        Until then searches are answered from the index of the earlier version.
        """

    @abstractmethod
    def build_index(self, going_on: Callable[[], bool]) -> None:
        """Build the index of this version's tokeniser where there is none yet, and put together what was written to it in
        many pieces, in steps that let others write.

        Returns when it is done, when another process does it, or when `going_on` says no; a later call goes on there.
        """

    @abstractmethod
    def after(self, account: str, key: int, limit: int) -> list[tuple[int, Call]]:
        """The account's next calls (whole) whose keys are larger than this one, oldest first, with their keys."""

    @abstractmethod
    def unreadable(self, account: str, since: datetime | None = None) -> list[Unreadable]:
        """The records of the account that could not be read, in any order; one at most without an id.

        `since`: without those of held calls that began before, which no reading from there on comes upon.
        """

    @abstractmethod
    def forget_unreadable(self, account: str, before: datetime) -> int:
        """Forget the records that were last met before the moment, but for those of held calls. Returns how many.

        What is not held is met again where it is listed again. Of a held call only the record tells that its words are to
        be asked for, however long its agent or its list has not been there.
        """

    @abstractmethod
    def fingerprint(self, account: str) -> tuple[int, str]:
        """The number of the account's calls, and a digest of all that is kept of them, the same in every store.

        The digest is `parts.fingerprint_of` the digests that were kept with the calls, 32 hexadecimal digits.
        """

    @abstractmethod
    def remember(self, name: str, value: str | None) -> None:
        """Keep a note of ours under this name; None forgets it."""

    @abstractmethod
    def remembered(self, name: str) -> str | None:
        """The note under this name."""


def sort_key(row: Row, sort: str) -> tuple[float, int]:
    """The position of a row in a list of this order."""
    return (row.duration_seconds or 0.0 if sort == "longest" else 0.0, row.key)


def open_store(database: str, read: str | None = None) -> Store:
    """The store at a file path or a `postgresql://` address; `read` is the address of a replica. Raises `StoreError`."""
    if "://" not in database:
        from call_logs.store.sqlite import SQLiteStore  # noqa: PLC0415 - the other engine may be asked for instead

        return SQLiteStore(database)
    if not database.startswith(("postgresql://", "postgres://")):
        raise StoreError(
            "CALL_LOGS_DATABASE names a database server that is not PostgreSQL. Set it to a file, or to "
            "postgresql://user:password@host:5432/database."
        )
    try:
        from call_logs.store.postgres import PostgresStore  # noqa: PLC0415 - its driver is an extra
    except ImportError as error:
        if (error.name or "").partition(".")[0] != "psycopg":
            raise
        raise StoreError(
            "CALL_LOGS_DATABASE names a PostgreSQL database, whose driver is not installed. Install "
            "call-logs-mcp[postgres], or set it to a file."
        ) from error
    return PostgresStore(database, read)
