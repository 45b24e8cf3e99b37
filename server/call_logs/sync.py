"""Vendor to store: the only path to the network.

A pass over an account first reads what is new (down to the last known call less a lookback), then goes on with the
backfill where an earlier one stopped; a question that finds the newest calls too old has them read between two pages
of it. Each page is cleaned, masked and saved in one transaction with the marks that say how far it got, so a killed
process resumes. A question waits a bounded time for the pass that covers its window and is then answered from the
store; the pass goes on. One account's failure touches no other account.

Of several processes on one store, one at a time reads an account; the others wait for it, answer from the store
meanwhile, and take what it read as their own.
"""

import contextlib
import functools
import logging
import time
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import anyio
import anyio.abc
import anyio.to_thread

from call_logs.errors import (
    AuthFailed,
    CallLogsError,
    CallNotFound,
    ProviderError,
    RateLimited,
    StoreError,
    Unavailable,
)
from call_logs.model import Call
from call_logs.prepared import prepared
from call_logs.providers import Account, AnyProvider, Page
from call_logs.store import Marks, Store, Unsettled
from call_logs.text import Masking

LOOKBACK = timedelta(hours=2)
"""How far behind the newest known call a pass reads again: summaries and transcripts arrive after a call."""

DEEP_LOOKBACK = timedelta(hours=72)
DEEP_EVERY_SECONDS = 3600.0
"""Once an hour, and first after a start, a pass looks this far back: late corrections and calls listed late."""

SETTLING = tuple(timedelta(minutes=minutes) for minutes in (1, 5, 15, 60, 6 * 60, 24 * 60, 72 * 60))
"""Ages at which a call is read again that is not over, or of which nothing is told yet."""

TROUBLED_WAIT = 1.0
"""Seconds that a question waits for a vendor that failed last or fails now: one that is back is heard, none delays."""

PARKED_SECONDS = 900.0
REST_SECONDS = 60.0
FAILURES_BEFORE_REST = 5

FOLLOW_SECONDS = 0.5
"""How often a process looks whether the one that reads an account is done, or gone."""

_LOOK_SECONDS = 0.1
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Health:
    """How an account stands. `marks` say what is complete; `last_synced_at` is when its newest calls were asked for.

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


class _Line:
    """One account's passes: at most one at a time."""

    def __init__(self, account: Account) -> None:
        self.account = account
        self.provider: AnyProvider | None = None
        self.marks = Marks()
        self.running = False
        self.reached: datetime | None = None
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
        self.failures = 0
        self.idle_until = 0.0
        self.detailed: set[str] = set()
        self.foreign = False

    def move(self) -> None:
        """Wake whoever waits for this account."""
        self.moved.set()
        self.moved = anyio.Event()


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
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """`history`: how far back to read. `max_age`, `wait`: seconds, as in the settings of these names."""
        self._lines = {account.name: _Line(account) for account in accounts}
        self._store = store
        self._history = history
        self._max_age = max_age
        self._wait = wait
        self._masking = masking
        self._now = now
        self._tasks: anyio.abc.TaskGroup | None = None

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

    async def _index(self) -> None:
        """Build the index of this version's words, where the one held is another version's; that one answers meanwhile."""
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
        line.marks, line.last_synced_at = held.marks, held.last_synced_at
        age = (self._now() - held.last_synced_at).total_seconds() if held.last_synced_at else -1.0
        if held.state == "ok" and 0 <= age < self._max_age:
            # Another process (hosts often start two), or this one a moment ago, has just read it.
            line.state, line.finished = "ok", time.monotonic() - age

    async def _settled(self, line: _Line, vendor_call_ids: Sequence[str]) -> set[str]:
        """`Provider.settled` for this account: calls that are over, but for those due to be read again."""

        def ask() -> set[str]:
            now = self._now()
            over = self._store.settled(line.account.name, list(vendor_call_ids), told=False)
            unsettled = self._store.unsettled(line.account.name, now - DEEP_LOOKBACK, told=_told(line))
            return over - {call.vendor_call_id for call in unsettled if _due(call, now)}

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
        if line.running or line.provider is None or self._tasks is None:
            return
        due = line.finished is None or time.monotonic() - line.finished >= self._max_age
        if always or (due and time.monotonic() >= line.idle_until):
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
            with anyio.CancelScope(shield=True), contextlib.suppress(StoreError):
                await anyio.to_thread.run_sync(self._store.resign, line.account.name)

    async def _lead(self, line: _Line) -> bool:
        """Wait until this process may read the account. False where another one has done so meanwhile: that counts."""
        while not await anyio.to_thread.run_sync(self._store.lead, line.account.name):
            if await self._follow(line):
                return False
            await anyio.sleep(FOLLOW_SECONDS)
        return not await self._follow(line)

    async def _follow(self, line: _Line) -> bool:
        """Take over how far the account has been read. True where another process has done what this pass is for."""
        held = (await anyio.to_thread.run_sync(self._store.accounts, [line.account.name]))[0]
        line.marks = held.marks
        if held.state == "ok" and held.last_synced_at is not None and held.last_synced_at > line.adopts_since:
            line.last_synced_at, line.state, line.problem, line.next_step = held.last_synced_at, "ok", None, None
            line.failures, line.idle_until = 0, 0.0
            line.running, line.finished = False, time.monotonic()
        line.move()
        return not line.running

    async def _ended(self, line: _Line, state: str, problem: str | None = None, next_step: str | None = None) -> None:
        if state == "ok":
            line.failures, line.idle_until = 0, 0.0
            line.last_synced_at = line.seen_at
        if state != line.state and (problem or line.state in ("down", "parked", "failed")):
            _log.warning("%s: %s", line.account.name, f"{problem} {next_step}" if problem else "answers again")
        line.state, line.problem, line.next_step = state, problem, next_step
        line.running, line.finished = False, time.monotonic()
        try:
            note = functools.partial(self._store.note, line.account.name, state, problem, next_step, line.seen_at)
            await anyio.to_thread.run_sync(note)
        except Exception:  # noqa: BLE001 - nor may this end the server; what is noted is for the next start only
            _log.warning("how the pass over %s ended could not be kept", line.account.name, exc_info=True)
        line.move()

    async def _pass(self, line: _Line) -> None:
        done = False
        while not done:
            line.seen_at, line.asked = self._now(), False
            if line.marks.low is not None:
                await self._read_new(line)
            floor = self._now() - self._history
            done = (line.marks.low is not None and line.marks.low <= floor) or await self._backfill(line, floor)

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
        async for page in line.provider.calls(since):
            high = self._latest(high, page)
            await self._keep(line, page, None)
            line.reached = page.reached
            line.move()
        if deep:
            line.deep_at = time.monotonic()
        await self._keep(line, Page(()), replace(line.marks, high=high))
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
        begun = marks = line.marks
        # A resumed reading knows its own end; another one would drop what the vendor lists out of order.
        until = None if begun.resume is not None else begun.low
        async with contextlib.aclosing(line.provider.calls(floor, until, begun.resume)) as pages:
            async for page in pages:
                marks = replace(marks, high=begun.high or self._latest(marks.high, page))
                if page.reached is None:
                    await self._keep(line, page, None)
                    line.reached = None
                else:
                    marks = replace(marks, low=min(page.reached, marks.low or page.reached), resume=page.resume)
                    await self._keep(line, page, marks)
                    line.reached = marks.low
                line.move()
                if line.asked and self._outdated(line) and page.reached is not None and page.resume is not None:
                    return False
        await self._keep(line, Page(()), replace(marks, low=floor, resume=None))
        if begun.low is None:
            line.deep_at = time.monotonic()
        return True

    async def _keep(self, line: _Line, page: Page, marks: Marks | None) -> None:
        def kept() -> None:
            calls = [prepared(call, self._masking) for call in page.calls]
            self._store.save_page(line.account.name, calls, marks, page.unreadable)

        await anyio.to_thread.run_sync(kept)
        line.read += len(page.calls)
        if marks is not None:
            line.marks = marks

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
        if line.provider is None or time.monotonic() < line.idle_until:
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
        await self._keep(line, Page((found,)), None)


def _troubled(line: _Line) -> bool:
    """Whether what the vendor was last asked failed: right now, or at the end of the pass before."""
    return line.provider is not None and line.provider.trouble is not None


def _told(line: _Line) -> bool:
    """Whether a settled call of this account has a transcript or summary: not where its vendor never gives one."""
    return line.account.provider.silent_because is None


def _due(call: Unsettled, now: datetime) -> bool:
    """Whether a time at which the call should be read again has passed since it was read."""
    return any(call.read_at < call.started_at + age <= now for age in SETTLING)
