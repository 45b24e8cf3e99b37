"""Vendor to store: the only path to the network.

A pass over an account first reads what is new (down to the last known call less a lookback), then goes on with the
backfill where an earlier one stopped, and once in a process reads all again where there are records that could not be
read; a question that finds the newest calls too old has them read between two pages of these. Each page is cleaned,
masked and saved in one transaction with the marks that say how far it got, so a killed process resumes; while one is
saved the next are asked for, and those that wait are saved together. A question waits a bounded time for the pass that
covers its window and is then answered from the store; the pass goes on. One account's failure touches no other account.

Of several processes on one store, one at a time reads an account; the others wait for it, answer from the store
meanwhile, and take what it read as their own. An account that rests after failures rests for all of them.

A call that the vendor says was deleted, or that two complete readings miss, is erased here too. Beside the passes, `tend`
erases what is older than the retention, and now and then reads the whole list once more for such calls.
"""

import contextlib
import functools
import logging
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import anyio
import anyio.abc
import anyio.to_thread
from anyio.streams.memory import MemoryObjectReceiveStream

from call_logs.config import Config
from call_logs.errors import (
    AuthFailed,
    CallLogsError,
    CallNotFound,
    ProviderError,
    RateLimited,
    StoreError,
    Unavailable,
)
from call_logs.model import Call, Speaker, Spoken, merged
from call_logs.prepared import prepared
from call_logs.providers import Account, AnyProvider, Page, Told
from call_logs.store import MISSED_SECONDS, AccountRow, Filter, Marks, Saved, Store, Unsettled
from call_logs.text import Masking

LOOKBACK = timedelta(hours=2)
"""How far behind the newest known call a pass reads again: summaries and transcripts arrive after a call."""

DEEP_LOOKBACK = timedelta(hours=72)
DEEP_EVERY_SECONDS = 3600.0
"""Once an hour, and first after a start, a pass looks this far back: late corrections and calls listed late.

Where there are records that could not be read, a process reads all of the history again once, at the end of its first
pass: they may be of any age, and in a list that had ended when a later process went on with the others.
"""

SETTLING = tuple(timedelta(minutes=minutes) for minutes in (1, 5, 15, 60, 6 * 60, 24 * 60, 72 * 60))
"""Ages at which a call is read again that is not over, or of which nothing is told yet."""

TROUBLED_WAIT = 1.0
"""Seconds that a question waits for a vendor that failed last or fails now: one that is back is heard, none delays."""

PARKED_SECONDS = 900.0
REST_SECONDS = 60.0
FAILURES_BEFORE_REST = 5

LONGEST_REST = 300.0
"""Seconds that another process's failure lets an account rest at most: its clock may be wrong."""

TEND_SECONDS = 3600.0
"""How often what is older than the retention is erased, and the next two are looked after …"""

FIRST_TEND_SECONDS = 30.0
"""… and how soon after a start."""

SWEEP_EVERY = timedelta(days=7)
"""How often an account's whole list is read again, to hear of deletions further back than passes look."""

SWEEP_UNREAD_EVERY = timedelta(hours=6)
"""The same where there are records that could not be read: the vendor may give them now."""

COMPACT_EVERY = timedelta(days=1)
"""How often what erased calls left in the database's files is overwritten."""

APART = timedelta(seconds=MISSED_SECONDS)
"""So long after one reading of the whole list another one begins that may count as a second."""

NEW_IN_LIST = timedelta(hours=1)
"""So much of a window's beginning is not compared: a vendor's list may go by another clock of the call."""

SLICE = 2_000
"""Calls that a reading of the whole list compares at a time, or a few more."""

PAGES_AHEAD = 4
"""Pages that a backfill asks for while an earlier one is being saved, at most."""

CALLS_TOGETHER = 250
"""Calls of several pages that are saved in one transaction, at most: a larger one would keep other writers waiting."""

_ERASED_AT_ONCE = 200

_SWEPT = "swept {}"
"""The name of the note that says when the last reading of an account's whole list began."""

FOLLOW_SECONDS = 0.5
"""How often a process looks whether the one that reads an account is done, or gone."""

HOW_IT_STANDS = "%s: %s"
"""What is logged of an account that fails, or does no more."""

_LOOK_SECONDS = 0.1
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Health:
    """How an account stands. `marks` say what is complete; `last_synced_at` is when its newest calls were asked for;
    `unreadable` is the number of records that could not be read.

    States: ok, syncing, never synced, down (the vendor's failure), parked (credential refused), failed (an answer we
    cannot read, or a bug), misconfigured.
    """

    account: str
    provider: str
    state: str
    problem: str | None
    next_step: str | None
    last_synced_at: datetime | None
    marks: Marks
    fresh: bool
    covered: bool
    unreadable: int = 0


class _Listing:
    """The ids that a reading of the vendor's list has shown, of calls that began before what was compared already."""

    def __init__(self) -> None:
        self.complete = True
        self._began: dict[str, datetime | None] = {}

    @property
    def ids(self) -> set[str]:
        """The ids shown."""
        return set(self._began)

    def add(self, page: Page) -> None:
        """Note a page's calls. One without an id that can be read could be any: then nothing is known to be missing."""
        self._began |= {call.vendor_call_id: call.started_at for call in page.calls}
        for vendor_call_id in (*page.unchanged, *page.deleted):
            self._began.setdefault(vendor_call_id, None)
        for record in page.unreadable:
            self.complete = self.complete and record.vendor_call_id is not None
            self._began.setdefault(record.vendor_call_id or "", None)

    def forget(self, since: datetime) -> None:
        """Forget calls that began at or after the moment."""
        self._began = {name: moment for name, moment in self._began.items() if moment is None or moment < since}


class _Line:
    """One account's passes: at most one at a time."""

    def __init__(self, account: Account) -> None:
        self.account = account
        self.provider: AnyProvider | None = None
        self.marks = Marks()
        self.running = False
        self.reached: datetime | None = None
        self.asked_at: datetime | None = None
        self.seen_at: datetime | None = None
        self.asked = False
        self.adopts_since = datetime.max.replace(tzinfo=UTC)
        self.read = 0
        self.moved = anyio.Event()
        self.state = "misconfigured" if account.problem else "never synced"
        self.problem = account.problem
        self.next_step = account.next_step
        self.finished: float | None = None
        self.last_synced_at: datetime | None = None
        self.deep_at: float | None = None
        self.retried = False
        self.failures = 0
        self.idle_until = 0.0
        self.rests_until: datetime | None = None
        self.detailed: set[str] = set()
        self.foreign = False
        self.always = False
        self.leads = 0
        self.sweeping = False
        self.unreadable = 0

    def move(self) -> None:
        """Wake whoever waits for this account."""
        self.moved.set()
        self.moved = anyio.Event()


_Read = tuple[Page, Marks | None]
"""A page, and the marks that hold once it is saved; None where it does not tell how far it got."""


def _ready(waiting: MemoryObjectReceiveStream[_Read]) -> Iterator[_Read]:
    """What can be had without waiting."""
    with contextlib.suppress(anyio.WouldBlock, anyio.EndOfStream):
        while True:
            yield waiting.receive_nowait()


def _together(pages: Iterable[_Read]) -> Iterator[_Read]:
    """The pages, those as one that may be saved as one: all that counts of several is what each alone would leave."""
    whole: _Read | None = None
    for read in pages:
        if whole is None or not _may_join(whole[0], read[0]):
            if whole is not None:
                yield whole
            whole = read
            continue
        (before, known), (page, marks) = whole, read
        whole = replace(page, calls=(*before.calls, *page.calls)), marks or known
    if whole is not None:
        yield whole


def _may_join(one: Page, other: Page) -> bool:
    """Not where the order of what they say of a call may count, nor where a transaction would take long."""
    if one.unreadable or one.deleted or other.unreadable or other.deleted:
        return False
    ids = {call.vendor_call_id for call in one.calls}
    return len(ids) + len(other.calls) <= CALLS_TOGETHER and ids.isdisjoint(call.vendor_call_id for call in other.calls)


class Sync:
    """All accounts' passes. `running()` owns the background tasks."""

    def __init__(
        self,
        accounts: Sequence[Account],
        store: Store,
        *,
        history: timedelta,
        max_age: float = 60.0,
        wait: float = 3.0,
        masking: Masking = Masking.CARDS,
        retention: timedelta | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        offline: bool = False,
    ) -> None:
        """`history`: how far back to read. `max_age`, `wait`: seconds, as in the settings of these names.

        `retention`: older calls are neither kept nor read; None keeps them. `offline`: no pass is ever started; the
        accounts stand as the last pass of any process left them.
        """
        self._lines = {account.name: _Line(account) for account in accounts}
        self._store = store
        self._retention = retention
        self._history = min(history, retention or history)
        self._max_age = max_age
        self._wait = wait
        self._masking = masking
        self._now = now
        self._offline = offline
        self._tasks: anyio.abc.TaskGroup | None = None

    @classmethod
    def of(
        cls,
        config: Config,
        store: Store,
        *,
        wait: float | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        offline: bool = False,
    ) -> "Sync":
        """As configured, with another `wait` where that is given."""
        return cls(
            config.accounts,
            store,
            history=config.history,
            max_age=config.max_age,
            wait=config.wait if wait is None else wait,
            masking=config.masking,
            retention=config.retention,
            now=now,
            offline=offline,
        )

    @property
    def names(self) -> tuple[str, ...]:
        """The accounts' names, in the order configured."""
        return tuple(self._lines)

    def readable(self, names: Iterable[str]) -> tuple[str, ...]:
        """Those of the names under which the store may be read: not where they hold another customer's calls."""
        return tuple(name for name in names if not self._lines[name].foreign)

    def account(self, name: str) -> Account:
        """The account of this name."""
        return self._lines[name].account

    @contextlib.asynccontextmanager
    async def running(self, first_pass_after: float | None = None) -> AsyncGenerator[None]:
        """Open the accounts, and run passes in the background until left; then stop them where they are.

        `first_pass_after`: seconds until every account's first pass begins unasked; None waits for a question.
        """
        for line in self._lines.values():
            await self._open(line)
        trouble: Exception | None = None
        try:
            async with anyio.create_task_group() as tasks:
                self._tasks = tasks
                if first_pass_after is not None:
                    tasks.start_soon(self._begin, first_pass_after)
                    tasks.start_soon(self._index)
                    tasks.start_soon(self._tending)
                try:
                    yield
                except Exception as error:  # noqa: BLE001 - raised again below, out of the task group's wrapping
                    trouble = error
                tasks.cancel_scope.cancel()
            if trouble is not None:
                raise trouble
        finally:
            self._tasks = None
            for line in self._lines.values():
                line.running = False
                line.move()
                if line.provider is not None:
                    with anyio.CancelScope(shield=True):
                        await line.provider.aclose()

    async def _begin(self, after: float) -> None:
        await anyio.sleep(after)
        for name in self.names:
            self.start(name)

    async def _tending(self) -> None:
        await anyio.sleep(FIRST_TEND_SECONDS)
        while True:
            await self.tend()
            await anyio.sleep(TEND_SECONDS)

    async def _index(self) -> None:
        """Build the index of this version's words, where the one held is another version's (that one answers meanwhile), and
        put it together, where much was read in since."""
        going_on = True
        try:
            await anyio.to_thread.run_sync(self._store.build_index, lambda: going_on, abandon_on_cancel=True)
        except CallLogsError as error:
            _log.warning("the index could not be built: %s", error)
        finally:
            going_on = False

    async def _open(self, line: _Line) -> None:
        account = line.account
        if account.problem:
            return
        try:
            await anyio.to_thread.run_sync(
                self._store.open_account, account.name, account.provider.slug, account.tenant, account.scope
            )
            held = (await anyio.to_thread.run_sync(self._store.accounts, [account.name]))[0]
        except CallLogsError as error:
            line.state, line.problem, line.next_step, line.foreign = "misconfigured", str(error), "Then restart.", True
            return
        line.provider = account.open()
        line.provider.settled = functools.partial(self._settled, line)
        line.marks, line.last_synced_at, line.unreadable = held.marks, held.last_synced_at, held.unreadable
        if self._offline and held.state:
            line.state, line.problem, line.next_step = held.state, held.problem, held.next_step
        elif self._offline:
            line.problem, line.next_step = "Its calls were never read to the end.", "Run call-logs-mcp sync."
        age = (self._now() - held.last_synced_at).total_seconds() if held.last_synced_at else -1.0
        self._rest(line, held)
        if held.state == "ok" and 0 <= age < self._max_age:
            # Another process (hosts often start two), or this one a moment ago, has just read it.
            line.state, line.finished = "ok", time.monotonic() - age

    def _rest(self, line: _Line, held: AccountRow) -> bool:
        """Let the account rest as long as another process wants that has last read it. Whether it does."""
        if held.state != "down" or held.rests_until is None or _same(held.rests_until, line.rests_until):
            return False
        left = (held.rests_until - self._now()).total_seconds()
        if left <= 0:
            return False
        line.idle_until = max(line.idle_until, time.monotonic() + min(left, LONGEST_REST))
        line.state, line.problem, line.next_step = held.state, held.problem, held.next_step
        return True

    async def _settled(self, line: _Line, vendor_call_ids: Sequence[str]) -> set[str]:
        """`Provider.settled` for this account: calls that are over, but for those due to be read again.

        What could not be read is not settled.
        """

        def ask() -> set[str]:
            now = self._now()
            over = self._store.settled(line.account.name, list(vendor_call_ids), told=False)
            unsettled = self._store.unsettled(line.account.name, now - DEEP_LOOKBACK, told=_told(line))
            unread = {record.vendor_call_id for record in self._store.unreadable(line.account.name)}
            return over - unread - {call.vendor_call_id for call in unsettled if _due(call, now)}

        return await anyio.to_thread.run_sync(ask)

    # -- freshness ----------------------------------------------------------------------------------------------

    async def freshen(self, names: Iterable[str], since: datetime | None = None, until: datetime | None = None) -> None:
        """Start passes where the last one is too old, and wait (bounded) until they cover the window."""
        asked = [self._lines[name] for name in names]
        for line in asked:
            self.start(line.account.name)
        troubled_until = anyio.current_time() + TROUBLED_WAIT
        with anyio.move_on_after(self._wait):
            for line in asked:
                while line.running and not self._covers(line, since, until):
                    if _troubled(line) and anyio.current_time() >= troubled_until:
                        break
                    with anyio.move_on_after(_LOOK_SECONDS):  # trouble wakes nobody
                        await line.moved.wait()

    def start(self, name: str, *, always: bool = False) -> None:
        """Start a pass in the background, if one is due (or `always`) and none runs."""
        line = self._lines[name]
        line.asked = True
        if line.running or line.provider is None or self._tasks is None or self._offline:
            return
        due = line.finished is None or time.monotonic() - line.finished >= self._max_age
        if always or (due and time.monotonic() >= line.idle_until):
            line.always = always
            line.running, line.reached, line.seen_at, line.read = True, None, None, 0
            line.adopts_since = self._now() - timedelta(seconds=0.0 if always else self._max_age)
            if line.last_synced_at is not None:  # this process's own; the store keeps milliseconds
                line.adopts_since = max(line.adopts_since, line.last_synced_at + timedelta(milliseconds=1))
            self._tasks.start_soon(self._run, line)

    async def finish(
        self, name: str, progress: Callable[[int, datetime | None], None] = lambda _read, _reached: None
    ) -> Health:
        """Run one pass now, whatever the last one said, and wait for its end.

        `progress` hears how many calls were read and how far back.
        """
        line = self._lines[name]
        self.start(name, always=True)
        while line.running:
            await line.moved.wait()
            progress(line.read, line.reached)
        return self.health(name)

    def health(self, name: str, since: datetime | None = None, until: datetime | None = None) -> Health:
        """How the account stands for a question about this window."""
        line = self._lines[name]
        state, problem, next_step = line.state, line.problem, line.next_step
        if line.running:
            state = "syncing"
            trouble = line.provider.trouble if line.provider is not None else None
            if trouble is not None:
                state, problem, next_step = "down", trouble.problem, trouble.next_step
        return Health(
            account=name,
            provider=line.account.provider.slug,
            state=state,
            problem=problem,
            next_step=next_step,
            last_synced_at=(line.seen_at if line.running else None) or line.last_synced_at,
            marks=line.marks,
            fresh=line.state == "ok" and not line.running,
            covered=self._covers(line, since, until),
            unreadable=line.unreadable,
        )

    def _covers(self, line: _Line, since: datetime | None, until: datetime | None) -> bool:
        """Whether the store holds all that the vendor lists for the window, as of the last or the running pass."""
        if not line.running:
            return line.state == "ok"
        if since is None:
            return False
        if line.reached is not None and line.reached <= since and not self._outdated(line):
            return True
        high, low = line.marks.high, line.marks.low
        if line.state not in ("ok", "never synced") or high is None or low is None or until is None:
            return False
        return low <= since and until <= high - LOOKBACK

    def _outdated(self, line: _Line) -> bool:
        """Whether the newest calls were last asked for longer ago than an answer may be old."""
        return line.seen_at is not None and (self._now() - line.seen_at).total_seconds() >= self._max_age

    # -- one pass -----------------------------------------------------------------------------------------------

    async def _run(self, line: _Line) -> None:
        try:
            if await self._lead(line):
                await self._pass(line)
                await self._ended(line, "ok")
        except AuthFailed as error:
            line.idle_until = time.monotonic() + PARKED_SECONDS
            await self._ended(line, "parked", error.problem, error.next_step)
        except (Unavailable, RateLimited) as error:
            line.failures += 1
            rest = REST_SECONDS if line.failures >= FAILURES_BEFORE_REST else 0.0
            line.idle_until = time.monotonic() + max(rest, error.retry_after or 0.0)
            await self._ended(line, "down", error.problem, error.next_step)
        except ProviderError as error:
            await self._ended(line, "failed", error.problem, error.next_step)
        except CallLogsError as error:
            await self._ended(line, "failed", str(error), "The log has more.")
        except Exception:  # noqa: BLE001 - a bug in one account's pass must not end the server
            _log.exception("the pass over %s met a bug", line.account.name)
            await self._ended(
                line, "failed", f"{line.account.name} could not be read: an internal error.", "Report it with the log."
            )
        finally:
            await self._resign(line)

    async def _lead(self, line: _Line) -> bool:
        """Wait until this process may read the account. False where another one has done so meanwhile: that counts."""
        line.leads += 1
        while not await anyio.to_thread.run_sync(self._store.lead, line.account.name):
            if await self._follow(line):
                return False
            await anyio.sleep(FOLLOW_SECONDS)
        return not await self._follow(line)

    async def _resign(self, line: _Line) -> None:
        line.leads -= 1
        if not line.leads:
            with anyio.CancelScope(shield=True), contextlib.suppress(StoreError):
                await anyio.to_thread.run_sync(self._store.resign, line.account.name)

    async def _follow(self, line: _Line) -> bool:
        """Take over how far the account has been read. True where another process has done what this pass is for."""
        held = (await anyio.to_thread.run_sync(self._store.accounts, [line.account.name]))[0]
        line.marks, line.unreadable = held.marks, held.unreadable
        if held.state == "ok" and held.last_synced_at is not None and held.last_synced_at > line.adopts_since:
            line.last_synced_at, line.state, line.problem, line.next_step = held.last_synced_at, "ok", None, None
            line.failures, line.idle_until = 0, 0.0
            line.running, line.finished = False, time.monotonic()
        elif not line.always and self._rest(line, held):
            line.running, line.finished = False, time.monotonic()
        line.move()
        return not line.running

    async def _ended(self, line: _Line, state: str, problem: str | None = None, next_step: str | None = None) -> None:
        if state == "ok":
            line.failures, line.idle_until = 0, 0.0
            line.last_synced_at = line.seen_at
        if state != line.state and (problem or line.state in ("down", "parked", "failed")):
            _log.warning(HOW_IT_STANDS, line.account.name, f"{problem} {next_step}" if problem else "answers again")
        line.state, line.problem, line.next_step = state, problem, next_step
        try:
            rest = line.idle_until - time.monotonic()
            line.rests_until = self._now() + timedelta(seconds=rest) if state == "down" and rest > 0 else None
            note = functools.partial(
                self._store.note, line.account.name, state, problem, next_step, line.seen_at, line.rests_until
            )
            await anyio.to_thread.run_sync(note)
            line.unreadable = (await anyio.to_thread.run_sync(self._store.accounts, [line.account.name]))[0].unreadable
        except Exception:  # noqa: BLE001 - nor may this end the server; what is noted is for the next start only
            _log.warning("how the pass over %s ended could not be kept", line.account.name, exc_info=True)
        # Not before: who waits for the pass may end the process.
        line.running, line.finished = False, time.monotonic()
        line.move()

    async def _pass(self, line: _Line) -> None:
        """What is new, then the rest of the history, then what could not be read. The history comes first: else a process
        that is killed early, again and again, would never get on with it."""
        while True:
            line.asked_at, line.asked = self._now(), False
            if line.marks.low is not None:
                await self._read_new(line)
            floor = self._now() - self._history
            if (line.marks.low is not None and line.marks.low <= floor) or await self._backfill(line, floor):
                break
        if not line.retried and not line.sweeping:
            if await anyio.to_thread.run_sync(self._store.unreadable, line.account.name, floor):
                line.reached = line.marks.low
                await self._sweep(line, floor, hears=True)
            line.retried = True

    async def _read_new(self, line: _Line) -> None:
        """From now down to the newest known call less the lookback. The mark moves only at the end."""
        assert line.provider is not None  # noqa: S101 - `start` needs it
        deep = line.deep_at is None or time.monotonic() - line.deep_at >= DEEP_EVERY_SECONDS
        behind = DEEP_LOOKBACK if deep else LOOKBACK
        low = line.marks.low
        assert low is not None  # noqa: S101 - `_pass` asked
        since = min(line.marks.high - behind, await self._oldest_due(line)) if line.marks.high else low
        since = max(since, low)
        high = line.marks.high
        listing, until = _Listing(), self._now()
        async for page in line.provider.calls(since):
            high = self._latest(high, page)
            listing.add(page)
            await self._keep(line, page, None)
            _saw(line)
            line.reached = page.reached
            line.move()
        if deep:
            line.deep_at = time.monotonic()
            await self._compare(line, since + NEW_IN_LIST, until, listing)
        await self._keep(line, Page(()), replace(line.marks, high=high))
        _saw(line)
        line.reached = line.marks.low
        line.move()

    async def _oldest_due(self, line: _Line) -> datetime:
        """The start of the oldest call that is not settled and due to be read again; now, where there is none."""
        now = self._now()
        ask = functools.partial(self._store.unsettled, line.account.name, now - DEEP_LOOKBACK, told=_told(line))
        unsettled = await anyio.to_thread.run_sync(ask)
        return min((call.started_at for call in unsettled if _due(call, now)), default=now)

    async def _backfill(self, line: _Line, floor: datetime) -> bool:
        """From the lowest mark (or from now) down to the history's floor; a page that tells how far moves the mark.

        False where it stopped on the way, since somebody asked and the newest calls should be read first.
        """
        assert line.provider is not None  # noqa: S101 - `start` needs it
        begun_at, begun = self._now(), line.marks
        marks = begun
        # A resumed reading knows its own end; another one would drop what the vendor lists out of order.
        until = None if begun.resume is not None else begun.low
        async with (
            self._keeping(line) as keep,
            contextlib.aclosing(line.provider.calls(floor, until, begun.resume)) as pages,
        ):
            async for page in pages:
                marks = replace(marks, high=begun.high or self._latest(marks.high, page))
                if page.reached is not None:
                    marks = replace(marks, low=min(page.reached, marks.low or page.reached), resume=page.resume)
                await keep((page, marks if page.reached is not None else None))
                if line.asked and self._outdated(line) and page.reached is not None and page.resume is not None:
                    return False
        await self._keep(line, Page(()), replace(marks, low=floor, resume=None))
        _saw(line)
        if begun.low is None:
            line.deep_at = time.monotonic()
            await self._read_whole(line, begun_at)
        return True

    async def _read_whole(self, line: _Line, begun_at: datetime) -> None:
        """All of the history has been read in one go. Forget the records that neither this reading has met nor the one
        before, as for calls that are gone: one list may have been cut short."""
        line.retried = True
        name, note = line.account.name, _SWEPT.format(line.account.name)

        def forgotten() -> int:
            swept = self._store.remembered(note)
            before = datetime.fromisoformat(swept) if swept else None
            if before is not None and timedelta() <= begun_at - before < APART:
                return 0
            self._store.remember(note, begun_at.isoformat())
            return self._store.forget_unreadable(name, before) if before is not None and before < begun_at else 0

        if gone := await anyio.to_thread.run_sync(forgotten):
            _log.info("%s: %d records that could not be read are listed no more", name, gone)

    @contextlib.asynccontextmanager
    async def _keeping(self, line: _Line) -> AsyncGenerator[Callable[[_Read], Awaitable[None]]]:
        """Takes pages and saves them beside what it is used around, in their order; at its end, a failure included, all
        are saved."""
        put, waiting = anyio.create_memory_object_stream[_Read](PAGES_AHEAD)
        unsaved: Exception | None = None
        unread: Exception | None = None

        async def keep() -> None:
            nonlocal unsaved
            try:
                async with waiting:
                    async for read in waiting:
                        for page, marks in _together([read, *_ready(waiting)]):
                            await self._keep(line, page, marks)
                            line.reached = marks.low if marks is not None and page.reached is not None else None
                            _saw(line)
                            line.move()
            except Exception as error:  # noqa: BLE001 - raised again below, out of the task group's wrapping
                unsaved = error
                tasks.cancel_scope.cancel()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(keep)
            async with put:
                try:
                    yield put.send
                except Exception as error:  # noqa: BLE001 - as above, once all is saved that was read before
                    unread = error
        if trouble := unsaved or unread:
            raise trouble

    async def _keep(self, line: _Line, page: Page, marks: Marks | None, *, listed: bool = True) -> Saved:
        oldest = self._now() - self._retention if self._retention is not None else None

        def kept() -> Saved:
            calls = [
                prepared(call, self._masking) for call in page.calls if oldest is None or call.started_at >= oldest
            ]
            name = line.account.name
            return self._store.save_page(
                name, calls, marks, page.unreadable, deleted=page.deleted, listed=listed, now=self._now()
            )

        saved = await anyio.to_thread.run_sync(kept)
        line.read += len(page.calls)
        if marks is not None:
            line.marks = marks
        if saved.erased:
            _log.warning("%s: erased %d calls that the vendor deleted", line.account.name, saved.erased)
        return saved

    async def _compare(self, line: _Line, since: datetime, until: datetime, listing: _Listing) -> None:
        """Compare the calls held of a window with what a complete reading has listed of it."""
        if not listing.complete or since >= until:
            return
        name, ids = line.account.name, listing.ids
        compared = await anyio.to_thread.run_sync(self._store.compare, name, since, until, ids, self._now())
        if compared.erased:
            _log.warning("%s: erased %d calls that the vendor lists no more", name, compared.erased)
        if compared.kept:
            _log.warning("%s: kept %d calls although the vendor lists them no more", name, compared.kept)

    def _latest(self, high: datetime | None, page: Page) -> datetime | None:
        """The newest call's start; never in the future, or one wrong date would hide all calls until then."""
        known = [call.started_at for call in page.calls] + ([high] if high else [])
        return min(max(known), self._now()) if known else None

    # -- one call -----------------------------------------------------------------------------------------------

    async def detail(self, call: Call) -> None:
        """Read what only the vendor's single call tells, once in a process and as far as that can be had in the wait."""
        line = self._lines[call.account]
        if line.account.provider.tells_more_by_id and call.is_final and call.vendor_call_id not in line.detailed:
            with contextlib.suppress(CallLogsError):
                await self.fetch(call.account, call.vendor_call_id)
                line.detailed.add(call.vendor_call_id)

    async def fetch(self, name: str, vendor_call_id: str) -> None:
        """Ask the vendor for one call that the store does not hold, within the freshness wait.

        Raises `CallNotFound`, or `ProviderError` where the vendor could not be asked.
        """
        line = self._lines[name]
        found: Call | None = None
        if line.provider is None or self._offline or time.monotonic() < line.idle_until:
            raise CallNotFound(
                f"No call {name}/{vendor_call_id} is held here, and {line.account.provider.title} cannot be asked "
                f"now. {line.problem or ''} {line.next_step or ''}".rstrip()
            )
        try:
            with anyio.move_on_after(self._wait) as patience:
                found = await line.provider.get(vendor_call_id)
        except AuthFailed as error:
            line.idle_until = time.monotonic() + PARKED_SECONDS
            if not line.running:
                await self._ended(line, "parked", error.problem, error.next_step)
            raise
        if patience.cancelled_caught:
            raise CallNotFound(
                f"No call {name}/{vendor_call_id} is held here, and {line.provider.title} did not answer in time. "
                "Ask again in a moment."
            )
        if found is None or found.vendor_call_id != vendor_call_id:
            raise CallNotFound(
                f"No call {name}/{vendor_call_id} is known. Use list_calls or search_transcripts to find its id."
            )
        saved = await self._keep(line, Page((found,)), None, listed=False)
        if saved.refused:
            raise CallNotFound(f"The call {name}/{vendor_call_id} was erased here (purge) and is not read again.")

    # -- what goes -----------------------------------------------------------------------------------------------

    async def tend(self) -> None:
        """Erase what is older than the retention, read whole lists again where that is due, compact the store, and see to
        its index.

        What fails is told in the log, and done the next time.
        """
        try:
            await self._expire()
            for line in self._lines.values():
                if line.state == "ok" and not line.running:
                    await self._sweep_when_due(line)
            await self._compact()
            await self._index()
        except CallLogsError as error:
            _log.warning("old calls were not seen to: %s", error)

    async def _expire(self) -> None:
        """Of every account that the store holds, also of those that are configured no more."""
        if self._retention is None:
            return
        oldest = self._now() - self._retention

        def erase(name: str) -> int:
            which = Filter((name,), until=oldest, include_tests=True, include_legs=True)
            rows = self._store.list_calls(which, sort="oldest", limit=_ERASED_AT_ONCE).rows
            # The store's windows go by the second.
            old = [row.vendor_call_id for row in rows if row.started_at < oldest]
            return self._store.erase(name, old) if old else 0

        for account in await anyio.to_thread.run_sync(self._store.opened):
            while await anyio.to_thread.run_sync(erase, account.name):
                pass

    async def _sweep_when_due(self, line: _Line) -> None:
        """Read the account's whole list again, where that was not done for `SWEEP_EVERY`, or `SWEEP_UNREAD_EVERY`."""
        note, now = _SWEPT.format(line.account.name), self._now()
        floor = now - self._history
        if line.provider is None or line.sweeping or line.state != "ok" or line.marks.low is None:
            return
        if line.marks.low > floor + NEW_IN_LIST:
            return  # it has not been read for the first time
        swept = await anyio.to_thread.run_sync(self._store.remembered, note)
        if swept is None:
            await anyio.to_thread.run_sync(self._store.remember, note, now.isoformat())
            return
        unread = await anyio.to_thread.run_sync(self._store.unreadable, line.account.name, floor)
        if datetime.fromisoformat(swept) + (SWEEP_UNREAD_EVERY if unread else SWEEP_EVERY) <= now:
            line.sweeping = True
            try:
                if await self._lead_a_sweep(line):
                    await self._sweep(line, floor)
            except ProviderError as error:
                _log.warning("%s: the list was not read to its end: %s", line.account.name, error)
            finally:
                line.sweeping = False
                await self._resign(line)

    async def _lead_a_sweep(self, line: _Line) -> bool:
        line.leads += 1
        return await anyio.to_thread.run_sync(self._store.lead, line.account.name)

    async def _sweep(self, line: _Line, floor: datetime, *, hears: bool = False) -> None:
        """Read all of the history again, and compare slice by slice: what has been listed for good is compared, and forgotten.

        `hears`: it is part of a pass, so a question that finds the newest calls too old has them read between two pages.
        """
        assert line.provider is not None  # noqa: S101 - `start` and `_sweep_when_due` asked
        begun_at = until = self._now()
        listing = _Listing()
        behind = 0
        async with contextlib.aclosing(line.provider.calls(floor)) as pages:
            async for page in pages:
                listing.add(page)
                await self._keep(line, page, None)
                behind += len(page.calls) + len(page.unchanged)
                if page.reached is not None and behind >= SLICE:
                    since = page.reached + NEW_IN_LIST
                    await self._compare(line, since, until, listing)
                    # A call may be held with another start than it is listed with.
                    listing.forget(since + timedelta(days=1))
                    until, behind = min(since, until), 0
                if hears and line.asked and self._outdated(line):
                    line.asked_at, line.asked = self._now(), False
                    await self._read_new(line)
        await self._compare(line, floor + NEW_IN_LIST, until, listing)
        await self._read_whole(line, begun_at)

    async def _compact(self) -> None:
        """Overwrite what erased calls left, once a day."""
        note, now = "compacted", self._now()
        last = await anyio.to_thread.run_sync(self._store.remembered, note)
        if last is not None and datetime.fromisoformat(last) + COMPACT_EVERY > now:
            return
        if await anyio.to_thread.run_sync(self._store.uncompacted):
            going_on = True
            try:
                compact = functools.partial(self._store.compact, thorough=False, going_on=lambda: going_on)
                done = await anyio.to_thread.run_sync(compact, abandon_on_cancel=True)
            finally:
                going_on = False
            if done:
                await anyio.to_thread.run_sync(self._store.remember, note, now.isoformat())

    # -- what vendors post ------------------------------------------------------------------------------------------

    async def receive(self, name: str, told: Told) -> Saved:
        """Keep a call that its vendor posted, or of one that is held what it lacks; refuse one that was erased or is too old.

        How far the account has been read does not change. Raises `StoreError`, also where the account is not open.
        """
        line = self._lines[name]
        if line.provider is None:
            raise StoreError(line.problem or f"The account {name} is not open yet: the server is starting. Try again.")
        call = told.call if told.whole else await self._around(line, told.call)
        if self._retention is not None and call.started_at < self._now() - self._retention:
            return Saved(refused=1)

        def kept() -> Saved:
            read = prepared(call, self._masking)
            held = self._store.call([name], read.id)
            if held is not None and _tells_more(held, read):
                # An old delivery, or one that says less than a list: it only fills what is not known yet.
                read, _ = merged(read, Spoken.of(read.turns), held)
            return self._store.save_page(name, [read])

        return await anyio.to_thread.run_sync(kept)

    async def _around(self, line: _Line, said: Call) -> Call:
        """The call that this was said on: the one held, else as the vendor tells within the wait, else what was posted."""
        assert line.provider is not None  # noqa: S101 - `receive` asked
        known = await anyio.to_thread.run_sync(self._store.call, [line.account.name], said.id)
        if known is None and time.monotonic() >= line.idle_until:
            with contextlib.suppress(ProviderError), anyio.move_on_after(self._wait):
                known = await line.provider.get(said.vendor_call_id)
        return said if known is None else known.model_copy(update={"turns": said.turns})


def _tells_more(held: Call, read: Call) -> bool:
    """Whether what is held tells as much of the conversation as what was posted, and of the end of the call."""
    return (held.is_final or not read.is_final) and _told_of(held) >= _told_of(read)


def _told_of(call: Call) -> tuple[bool, bool, int]:
    """How well the conversation is known: with times, with speakers, how many letters."""
    return (
        Spoken.of(call.turns).timed,
        any(turn.speaker is not Speaker.UNKNOWN for turn in call.turns),
        sum(len(turn.text) for turn in call.turns),
    )


def _troubled(line: _Line) -> bool:
    """Whether what the vendor was last asked failed: right now, or at the end of the pass before."""
    return line.provider is not None and line.provider.trouble is not None


def _saw(line: _Line) -> None:
    """The newest calls are here, as of when they were asked for; before, nothing is."""
    if line.asked_at is not None:
        line.seen_at, line.asked_at = line.asked_at, None


def _same(one: datetime, other: datetime | None) -> bool:
    """Whether these are one moment; the store keeps milliseconds."""
    return other is not None and abs(one - other) < timedelta(milliseconds=1)


def _told(line: _Line) -> bool:
    """Whether a settled call of this account has a transcript or summary: not where its vendor never gives one."""
    return line.account.provider.silent_because is None


def _due(call: Unsettled, now: datetime) -> bool:
    """Whether a time at which the call should be read again has passed since it was read."""
    return any(call.read_at < call.started_at + age <= now for age in SETTLING)
