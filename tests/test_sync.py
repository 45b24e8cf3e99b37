"""Vendor to store over real HTTP: nothing is lost, doubled or re-read in vain, whatever is cut off, late or down."""

import itertools
import json
import socket
import sqlite3
import threading
import time
import zlib
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Generator, Iterator, Sequence
from contextlib import asynccontextmanager, closing, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import anyio
import pytest
import stamina

from call_logs import sync as passes
from call_logs.errors import AuthFailed, CallNotFound, StoreError
from call_logs.model import Action, ActionKind, Call, Speaker, Status, Turn
from call_logs.providers import Account, Page, Provider, Settings
from call_logs.providers.highlevel import HighLevel, HighLevelSettings
from call_logs.sandbox import App, Message, Receive, Send, highlevel, serving
from call_logs.store import Filter, Marks, Tombstone, Unreadable
from call_logs.store.query import parse
from call_logs.store.sqlite import SQLiteStore
from call_logs.sync import (
    CALLS_TOGETHER,
    FAILURES_BEFORE_REST,
    PAGES_AHEAD,
    PARKED_SECONDS,
    REST_SECONDS,
    Sync,
    prepared,
)
from call_logs.text import Masking
from tape import Held

pytestmark = pytest.mark.anyio

NOW = datetime.now(UTC).replace(microsecond=0)
HISTORY = timedelta(days=90)
PAGE = 50
LIST = "/voice-ai/dashboard/call-logs"
TOKEN = "made-up-token"
LOCATION_ID = "MadeUpLocation000001"
Row = dict[str, Any]


# The vendor


def log(number: int, *, at: datetime | None = None, said: str = "I want a refund", **given: Any) -> Row:
    """A row of the vendor's list: the higher the number, the older the call."""
    row: Row = {
        "id": f"log{number:05}",
        "agentId": highlevel.object_id("agent", "Front Desk"),
        "createdAt": highlevel._iso(at or NOW - timedelta(minutes=1 + 150 * number)),  # pyright: ignore[reportPrivateUsage] - the vendor's form
        "duration": 60 + number % 50,
        "trialCall": False,
        "fromNumber": f"+1555010{number % 10_000:04}",
        "summary": f"Call {number}.",
        "transcript": f"bot:Hello, how can I help?\nhuman:{said} \n",
        "executedCallActions": [],
        "extractedData": {},
    }
    return row | given


def logs(*numbers: int) -> list[Row]:
    return [log(number) for number in numbers]


@dataclass
class Vendor:
    """The stand-in, with switches. `rows` is what it holds; `fails` answers instead of it; `after` runs behind it."""

    rows: list[Row]
    asked: list[dict[str, str]] = field(default_factory=list[dict[str, str]])
    origin: str = ""
    fails: Callable[[str, dict[str, str]], int | None] = lambda _path, _query: None
    after: Callable[[dict[str, str]], None] = lambda _query: None
    hangs: bool = False
    raw: bytes | None = None

    @property
    def pages(self) -> list[int]:
        """The pages of the list that were asked for."""
        return [int(query["page"]) for query in self.asked]

    def app(self, **given: Any) -> App:
        """The stand-in as it is served."""
        inner = highlevel.application(self.rows, [], token=TOKEN, location_id=LOCATION_ID, **given)

        async def switched(scope: Message, receive: Receive, send: Send) -> None:
            if scope["type"] != "http":
                await inner(scope, receive, send)
                return
            query = {name: values[0] for name, values in parse_qs(scope["query_string"].decode()).items()}
            if scope["path"] == LIST:
                self.asked.append(query)
            if self.hangs:
                await anyio.sleep_forever()
            status = self.fails(scope["path"], query)
            body = self.raw if scope["path"] == LIST else None
            if status is not None or body is not None:
                start = {"type": "http.response.start", "status": status or 200}
                await send(start | {"headers": [(b"content-type", b"application/json")]})
                await send({"type": "http.response.body", "body": body or b"{}"})
                return
            held = Held(send)
            await inner(scope, receive, held)
            if scope["path"] == LIST:
                self.after(query)
            await held.release()

        return switched

    @contextmanager
    def serving(self, **given: Any) -> Generator["Vendor"]:
        with serving(self.app(**given)) as self.origin:
            yield self

    def account(self, name: str = "acme", **settings: str) -> Account:
        defaults = {"token": TOKEN, "location_id": LOCATION_ID, "base_url": self.origin}
        return Account(name, HighLevel, HighLevelSettings.model_validate(defaults | settings), {"token": "ACME_TOKEN"})


@pytest.fixture
def vendor() -> Generator[Vendor]:
    """A vendor with 130 calls of two weeks, newest first by number."""
    with Vendor(logs(*range(130))).serving() as started:
        yield started


class Clock:
    """The monotonic clock of the passes, which a test moves."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def monotonic(self) -> float:
        return time.monotonic() + self.ahead


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    moved = Clock()
    monkeypatch.setattr(passes, "time", moved)
    return moved


@pytest.fixture(autouse=True)
def no_waiting_between_attempts() -> Generator[None]:
    """The HTTP client's five attempts stay, the seconds between them go."""
    with stamina.set_testing(True, attempts=5):
        yield


@pytest.fixture(autouse=True)
def unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """The vendor's documented rate is the adapter's test, not these."""
    monkeypatch.setattr("call_logs.providers.highlevel.RATE", (10_000, 1.0))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "calls.db"


@pytest.fixture
def store(path: Path) -> Generator[SQLiteStore]:
    with closing(SQLiteStore(path)) as opened:
        yield opened


def syncing(store: SQLiteStore, *accounts: Account, **given: Any) -> Sync:
    defaults: dict[str, Any] = {"history": HISTORY, "wait": 20.0}
    return Sync(accounts, store, **(defaults | given))


@asynccontextmanager
async def running(sync: Sync, within: float = 30.0) -> AsyncGenerator[Sync]:
    """The passes, bounded."""
    with anyio.fail_after(within):
        async with sync.running():
            yield sync


async def one_pass(store: SQLiteStore, *accounts: Account, **given: Any) -> list[passes.Health]:
    """A new start, one pass over each account, and the end."""
    async with running(syncing(store, *accounts, **given)) as sync:
        return [await sync.finish(account.name) for account in accounts]


async def until(true: Callable[[], bool]) -> None:
    """Lets others run until it is so."""
    with anyio.fail_after(20):
        while not true():  # noqa: ASYNC110 - what is waited for has no event
            await anyio.sleep(0.002)


def kept(store: SQLiteStore, account: str = "acme") -> list[str]:
    return [row.vendor_call_id for row in store.list_calls(Filter((account,), include_tests=True), limit=1000).rows]


def expected(rows: Sequence[Row]) -> Counter[str]:
    return Counter(row["id"] for row in rows)


def count_pages(vendor: Vendor) -> int:
    return len(vendor.asked)


# A pass


async def test_the_first_pass_brings_every_call_exactly_once_newest_first(vendor: Vendor, store: SQLiteStore) -> None:
    saved: list[list[str]] = []
    save = store.save_page

    def recorded(account: str, calls: Sequence[Call], *rest: Any, **more: Any) -> Any:
        saved.append([call.vendor_call_id for call in calls])
        return save(account, calls, *rest, **more)

    store.save_page = recorded  # type: ignore[method-assign] - looks on
    (health,) = await one_pass(store, vendor.account())
    assert (health.state, health.covered, health.fresh, health.problem) == ("ok", True, True, None)
    assert Counter(kept(store)) == expected(vendor.rows)
    assert [name for page in saved for name in page] == [row["id"] for row in vendor.rows]
    assert vendor.pages == [1, 2, 3]
    assert health.marks.high == datetime.fromisoformat(vendor.rows[0]["createdAt"])
    assert health.marks.low is not None
    assert health.marks.low < datetime.now(UTC) - HISTORY + timedelta(minutes=1)
    assert health.marks.resume is None


async def test_an_empty_account_is_read_and_its_first_call_is_found_later(store: SQLiteStore) -> None:
    with Vendor([]).serving() as vendor:
        (health,) = await one_pass(store, vendor.account())
        assert (health.state, health.marks.high) == ("ok", None)
        vendor.rows.append(log(3))
        (health,) = await one_pass(store, vendor.account())
        assert kept(store) == ["log00003"]
        assert health.marks.high == datetime.fromisoformat(vendor.rows[0]["createdAt"])


async def test_the_next_pass_reads_one_page_and_brings_what_is_new(vendor: Vendor, store: SQLiteStore) -> None:
    async with running(syncing(store, vendor.account())) as sync:
        await sync.finish("acme")
        vendor.rows.insert(0, log(900, at=NOW))
        vendor.asked.clear()
        health = await sync.finish("acme")
    assert vendor.pages == [1]
    assert Counter(kept(store)) == expected(vendor.rows)
    assert health.marks.high == NOW


async def test_a_restart_does_not_read_again_what_is_complete(vendor: Vendor, store: SQLiteStore) -> None:
    vendor.rows[:] = logs(*(number * 2 for number in range(300)))  # two months
    await one_pass(store, vendor.account())
    assert len(vendor.asked) >= 6
    vendor.asked.clear()
    (health,) = await one_pass(store, vendor.account())
    assert vendor.pages == [1]
    assert health.state == "ok"


async def test_the_pass_after_the_first_looks_two_hours_back_and_one_after_a_start_three_days(
    vendor: Vendor, store: SQLiteStore, clock: Clock
) -> None:
    vendor.rows[:] = [log(number, at=NOW - timedelta(minutes=10 * number)) for number in range(130)]  # 21 hours
    async with running(syncing(store, vendor.account())) as sync:
        await sync.finish("acme")
        vendor.asked.clear()
        await sync.finish("acme")
        assert vendor.pages == [1]
        clock.ahead = 3700.0
        await sync.finish("acme")
        assert {2, 3} <= set(vendor.pages)
        vendor.asked.clear()
        await sync.finish("acme")
        assert vendor.pages == [1]
    vendor.asked.clear()
    await one_pass(store, vendor.account())
    assert {2, 3} <= set(vendor.pages)


async def test_a_longer_history_reads_further_back_and_only_there(vendor: Vendor, store: SQLiteStore) -> None:
    vendor.rows[:] = logs(*(number * 2 for number in range(300)))
    (health,) = await one_pass(store, vendor.account(), history=timedelta(days=10))
    few = len(kept(store))
    assert 40 < few < 60
    assert health.marks.low is not None
    assert health.marks.low > NOW - timedelta(days=11)
    vendor.asked.clear()
    await one_pass(store, vendor.account(), history=HISTORY)
    assert Counter(kept(store)) == expected(vendor.rows)
    ends = [int(query["endDate"]) for query in vendor.asked[1:]]
    assert max(ends) <= (health.marks.low + timedelta(days=1)).timestamp() * 1000 + 1


async def test_a_transcript_that_comes_late_is_there_after_the_next_pass(vendor: Vendor, store: SQLiteStore) -> None:
    vendor.rows[0] |= {"transcript": "", "summary": None}
    async with running(syncing(store, vendor.account())) as sync:
        await sync.finish("acme")
        assert store.search(parse("reimbursed"), Filter(("acme",))).total_calls == 0
        vendor.rows[0] |= {"transcript": "human:Was I reimbursed?\n", "summary": "Asks for money."}
        await sync.finish("acme")
    call = store.call(["acme"], "acme/log00000")
    assert call is not None
    assert (call.turns[0].text, call.summary) == ("Was I reimbursed?", "Asks for money.")
    assert store.search(parse("reimbursed"), Filter(("acme",))).total_calls == 1


async def test_a_call_that_is_not_settled_is_read_again_on_a_widening_schedule(
    vendor: Vendor, store: SQLiteStore, path: Path
) -> None:
    """At 1, 5, 15 and 60 minutes, 6, 24 and 72 hours of its age, and not in between."""
    vendor.rows[:] = [log(number, at=NOW - timedelta(minutes=10 * number)) for number in range(130)]  # 21 hours
    vendor.rows[120] |= {"transcript": "", "summary": None}  # 20 hours old
    passed = timedelta()
    async with running(syncing(store, vendor.account(), now=lambda: NOW + passed)) as sync:
        await sync.finish("acme")
        for age, read in ((21, False), (25, True), (26, False)):
            passed = timedelta(hours=age - 20)
            vendor.asked.clear()
            await sync.finish("acme")
            assert (max(vendor.pages) == 3) is read, age
            with sqlite3.connect(path) as db:  # what is read now is read at this age
                db.execute("UPDATE call SET read_ms = ?", (round((NOW + passed).timestamp() * 1000),))
        vendor.rows[120] |= {"transcript": "human:Late words\n"}
        passed = timedelta(hours=51)
        await sync.finish("acme")
        assert store.search(parse("late words"), Filter(("acme",))).total_calls == 0  # not due before 72 hours
    assert store.settled("acme", ["log00000", "log00120", "unknown"], told=True) == {"log00000"}
    assert store.settled("acme", ["log00000", "log00120", "unknown"], told=False) == {"log00000", "log00120"}


async def test_an_account_that_was_read_a_moment_before_the_start_is_not_read_again(
    vendor: Vendor, store: SQLiteStore
) -> None:
    await one_pass(store, vendor.account())
    vendor.asked.clear()
    async with running(syncing(store, vendor.account(), max_age=60.0)) as sync:
        await sync.freshen(["acme"])
        assert vendor.asked == []
        assert sync.health("acme").covered
    async with running(syncing(store, vendor.account(), max_age=0.0)) as sync:
        await sync.freshen(["acme"])
        assert vendor.pages == [1]


async def test_another_location_under_the_same_name_is_refused_and_shows_no_calls_of_the_first(
    vendor: Vendor, store: SQLiteStore
) -> None:
    await one_pass(store, vendor.account())
    vendor.asked.clear()
    (health,) = await one_pass(store, vendor.account(location_id="AnotherLocation0001"))
    assert health.state == "misconfigured"
    assert "CALL_LOGS_DATABASE" in (health.problem or "")
    assert vendor.asked == []
    rotated = vendor.account(token="rotated-token")
    assert rotated.tenant == vendor.account().tenant
    assert TOKEN not in rotated.tenant + rotated.scope


async def test_calls_that_arrive_while_paging_are_not_lost(vendor: Vendor, store: SQLiteStore) -> None:
    arrived = iter(range(1000, 2000))

    def arrive(_query: dict[str, str]) -> None:
        if len(vendor.rows) < 200:
            for _ in range(7):
                number = next(arrived)
                vendor.rows.insert(0, log(number, at=NOW - timedelta(seconds=2000 - number)))

    vendor.after = arrive
    async with running(syncing(store, vendor.account())) as sync:
        await sync.finish("acme")
        assert {row["id"] for row in logs(*range(130))} <= set(kept(store))
        vendor.after = lambda _query: None
        await sync.finish("acme")
    assert Counter(kept(store)) == expected(vendor.rows)


async def test_a_vendor_that_ignores_dates_loses_nothing(store: SQLiteStore) -> None:
    rows = logs(*(number * 2 for number in range(200)))
    with Vendor(rows).serving(ignore_dates=True) as vendor:
        await one_pass(store, vendor.account(), history=timedelta(days=10))
        await one_pass(store, vendor.account(), history=HISTORY)
        assert Counter(kept(store)) == expected(rows)


async def test_a_vendor_that_ignores_dates_never_takes_the_low_mark_back(store: SQLiteStore) -> None:
    rows = logs(*(number * 2 for number in range(200)))
    lows: list[datetime | None] = []
    save = store.save_page

    def recorded(account: str, calls: Any, marks: Marks | None = None, *rest: Any, **more: Any) -> Any:
        if marks is not None:
            lows.append(marks.low)
        return save(account, calls, marks, *rest, **more)

    with Vendor(rows).serving(ignore_dates=True) as vendor:
        await one_pass(store, vendor.account(), history=timedelta(days=30))
        store.save_page = recorded  # type: ignore[method-assign] - looks on
        await one_pass(store, vendor.account(), history=HISTORY)
    assert len(lows) > 3
    assert lows == sorted(lows, key=lambda low: low or NOW, reverse=True)


async def test_one_call_dated_in_the_future_does_not_hide_the_calls_after_it(
    vendor: Vendor, store: SQLiteStore
) -> None:
    vendor.rows.insert(0, log(999, at=NOW + timedelta(days=400)))
    async with running(syncing(store, vendor.account())) as sync:
        # A day wider is how the vendor is asked; further ahead it would not list the call at all.
        vendor.rows[0]["createdAt"] = (NOW + timedelta(hours=20)).isoformat()
        await sync.finish("acme")
        assert "log00999" in kept(store)
        vendor.rows.insert(1, log(998, at=NOW - timedelta(seconds=5)))
        await sync.finish("acme")
        sync_high = sync.health("acme").marks.high
    assert "log00998" in kept(store)
    assert sync_high is not None
    assert sync_high <= datetime.now(UTC)


async def test_an_unreadable_record_does_not_spoil_its_page(vendor: Vendor, store: SQLiteStore) -> None:
    vendor.rows[4] = vendor.rows[4] | {"duration": {"seconds": "sixty"}}
    (health,) = await one_pass(store, vendor.account())
    assert health.state == "ok"
    assert len(kept(store)) == 129
    assert store.accounts(["acme"])[0].unreadable == 1


# Cut off


async def cut_off_after(vendor: Vendor, store: SQLiteStore, pages: int) -> None:
    """Leaves the scope in the middle of the first pass, when that many pages are in the store; no other was given."""
    vendor.fails = lambda path, query: 503 if path == LIST and int(query["page"]) > pages else None
    async with running(syncing(store, vendor.account())) as sync:
        sync.start("acme")
        await until(lambda: len(kept(store)) == PAGE * pages)
    vendor.fails = lambda _path, _query: None


@pytest.mark.parametrize("pages", [1, 2, 4])
async def test_a_pass_that_was_cut_off_goes_on_where_it_stopped(store: SQLiteStore, pages: int) -> None:
    with Vendor(logs(*range(330))).serving() as vendor:
        await cut_off_after(vendor, store, pages)
        assert len(kept(store)) == PAGE * pages
        resume = store.marks("acme").resume
        assert resume is not None
        vendor.asked.clear()
        (health,) = await one_pass(store, vendor.account())
        assert Counter(kept(store)) == expected(vendor.rows)
        assert (health.state, health.marks.resume) == ("ok", None)
        begun = json.loads(resume)[0]
        # What is new takes one page; then it goes on one page before the one that was to come.
        assert vendor.pages[:2] == [1, begun - 1]
        assert set(vendor.pages[2:]) <= set(range(begun, 9))


@pytest.mark.parametrize("page", [1, 2, 4, 7])
async def test_a_vendor_that_begins_to_fail_keeps_what_was_read_and_goes_on_later(
    store: SQLiteStore, page: int
) -> None:
    with Vendor(logs(*range(330))).serving() as vendor:
        vendor.fails = lambda path, query: 503 if path == LIST and int(query["page"]) >= page else None
        (health,) = await one_pass(store, vendor.account())
        assert health.state == "down"
        assert health.problem is not None
        assert "503" in health.problem
        assert not health.covered
        assert vendor.pages.count(page) == 5
        assert len(kept(store)) == PAGE * (page - 1)
        vendor.fails = lambda _path, _query: None
        vendor.asked.clear()
        (health,) = await one_pass(store, vendor.account())
        assert health.state == "ok"
        assert Counter(kept(store)) == expected(vendor.rows)


async def test_passing_failures_are_tried_again_within_the_pass(vendor: Vendor, store: SQLiteStore) -> None:
    seen: Counter[str] = Counter()

    def every_other(path: str, query: dict[str, str]) -> int | None:
        seen[query.get("page", "")] += 1
        return 503 if path == LIST and seen[query["page"]] < 3 else None

    vendor.fails = every_other
    (health,) = await one_pass(store, vendor.account())
    assert health.state == "ok"
    assert Counter(kept(store)) == expected(vendor.rows)


@pytest.mark.parametrize("deleted", [1, 20, 50])
async def test_rows_deleted_while_a_pass_was_cut_off_hide_no_other(store: SQLiteStore, deleted: int) -> None:
    with Vendor(logs(*range(330))).serving() as vendor:
        vendor.fails = lambda path, query: 503 if path == LIST and int(query["page"]) > 3 else None
        await one_pass(store, vendor.account())
        gone = {row["id"] for row in vendor.rows[:deleted]}
        del vendor.rows[:deleted]
        vendor.fails = lambda _path, _query: None
        await one_pass(store, vendor.account())
        assert Counter(kept(store)) == expected(vendor.rows) + Counter(gone)


async def test_calls_that_arrived_while_a_pass_was_cut_off_never_take_its_low_mark_back(store: SQLiteStore) -> None:
    with Vendor(logs(*range(330))).serving() as vendor:
        vendor.fails = lambda path, query: 503 if path == LIST and int(query["page"]) > 3 else None
        await one_pass(store, vendor.account())
        vendor.rows[:0] = [log(1000 + n, at=NOW - timedelta(seconds=n)) for n in range(49)]
        vendor.fails = lambda _path, _query: None
        lows: list[datetime] = []
        save = store.save_page

        def recorded(account: str, calls: Any, marks: Marks | None = None, *rest: Any, **more: Any) -> Any:
            if marks is not None and marks.low is not None:
                lows.append(marks.low)
            return save(account, calls, marks, *rest, **more)

        store.save_page = recorded  # type: ignore[method-assign] - looks on
        await one_pass(store, vendor.account())
        assert len(lows) > 4
        assert lows == sorted(lows, reverse=True)
        assert Counter(kept(store)) == expected(vendor.rows)


async def test_calls_of_the_same_moment_on_both_sides_of_a_cut_are_not_lost(store: SQLiteStore) -> None:
    rows = logs(*range(200))
    for number in range(90, 110):  # over the end of page 2
        rows[number]["createdAt"] = rows[90]["createdAt"]
    with Vendor(rows).serving() as vendor:
        vendor.fails = lambda path, query: 503 if path == LIST and int(query["page"]) > 2 else None
        await one_pass(store, vendor.account())
        assert len(kept(store)) == 100
        vendor.fails = lambda _path, _query: None
        await one_pass(store, vendor.account())
        assert Counter(kept(store)) == expected(rows)


# A vendor without order


class Unordered(Provider[Settings]):
    """Gives its pages as they are set, cut off where told; remembers what it was asked."""

    slug = "unordered"
    title = "Unordered"
    origin = "https://unordered.example"
    settings_type = Settings
    gives = frozenset[str]()

    def __init__(self, *_: Any) -> None:
        super().__init__("acme", Settings())
        self.pages: list[Page] = []
        self.fails_after: int | None = None
        self.given = 0
        self.asked: list[tuple[datetime, datetime | None, str | None]] = []

    def connection(self) -> Any:
        raise NotImplementedError

    async def check(self) -> None:
        raise NotImplementedError

    async def calls(
        self, since: datetime, until: datetime | None = None, resume: str | None = None
    ) -> AsyncGenerator[Page]:
        self.asked.append((since, until, resume))
        self.given = 0
        begin = int(resume) if resume else 0
        for number, page in enumerate(self.pages[begin:], begin):
            if number == self.fails_after:
                raise RuntimeError("cut")
            fitting = tuple(
                call for call in page.calls if since <= call.started_at and (until is None or call.started_at < until)
            )
            self.given += 1
            yield replace(page, calls=fitting)
            if page.reached is not None and page.reached <= since:
                return


def plain(number: int, age: timedelta, **given: Any) -> Call:
    return Call(account="acme", provider="unordered", vendor_call_id=f"call-{number}", started_at=NOW - age, **given)


@pytest.fixture
def unordered(monkeypatch: pytest.MonkeyPatch) -> tuple[Unordered, Account]:
    provider = Unordered()
    account = Account("acme", Unordered, Settings())

    def opened(_account: Account) -> Unordered:
        return provider

    monkeypatch.setattr(Account, "open", opened)
    return provider, account


async def test_pages_without_order_are_all_kept_and_nothing_is_promised_before_the_end(
    unordered: tuple[Unordered, Account], store: SQLiteStore
) -> None:
    provider, account = unordered
    provider.pages = [Page((plain(n, timedelta(days=(n * 37) % 80)),), None, str(n + 1)) for n in range(5)]
    provider.fails_after = 3
    (health,) = await one_pass(store, account)
    assert (health.state, health.marks) == ("failed", Marks())
    provider.fails_after = None
    (health,) = await one_pass(store, account)
    assert health.state == "ok"
    assert len(kept(store)) == 5
    assert health.marks.high == max(page.calls[0].started_at for page in provider.pages)
    assert health.marks.low is not None


async def test_what_a_broken_order_puts_late_is_read_by_a_resumed_pass_too(
    unordered: tuple[Unordered, Account], store: SQLiteStore
) -> None:
    provider, account = unordered
    young = plain(99, timedelta(days=1))  # stands at the end of the list, behind calls of a month
    provider.pages = [
        Page((plain(1, timedelta(days=10)),), NOW - timedelta(days=10), "1"),
        Page((plain(2, timedelta(days=20)),), NOW - timedelta(days=20), "2"),
        Page((plain(3, timedelta(days=30)),), NOW - timedelta(days=30), "3"),
        Page((young, plain(4, timedelta(days=40))), None, "4"),
        Page((plain(5, timedelta(days=50)),), None, None),
    ]
    for cut, low in ((2, NOW - timedelta(days=20)), (4, NOW - timedelta(days=30))):
        provider.fails_after = cut
        (health,) = await one_pass(store, account)
        assert health.marks == Marks(NOW - timedelta(days=10), low, str(min(cut, 3)))
    provider.fails_after = None
    (health,) = await one_pass(store, account)
    assert (health.state, health.marks.resume) == ("ok", None)
    assert sorted(kept(store)) == ["call-1", "call-2", "call-3", "call-4", "call-5", "call-99"]


async def test_a_page_that_does_not_tell_how_far_keeps_the_place_of_the_one_before(
    unordered: tuple[Unordered, Account], store: SQLiteStore
) -> None:
    provider, account = unordered
    provider.pages = [
        Page((plain(1, timedelta(days=10)),), NOW - timedelta(days=10), "1"),
        Page((plain(2, timedelta(days=20)),), None, "2"),
        Page((plain(3, timedelta(days=30)),), NOW - timedelta(days=30), "3"),
        Page((plain(4, timedelta(days=40)),), None, None),
    ]
    for cut, resume in ((2, "1"), (3, "3")):
        provider.fails_after = cut
        (health,) = await one_pass(store, account)
        assert (health.state, health.marks.resume) == ("failed", resume)
    provider.fails_after = None
    assert (await one_pass(store, account))[0].state == "ok"
    assert sorted(kept(store)) == ["call-1", "call-2", "call-3", "call-4"]


async def test_a_bug_in_an_adapter_fails_its_account_and_not_the_server(
    unordered: tuple[Unordered, Account], store: SQLiteStore, caplog: pytest.LogCaptureFixture
) -> None:
    provider, account = unordered
    provider.pages = [Page(())]
    provider.fails_after = 0
    async with running(syncing(store, account)) as sync:
        health = await sync.finish("acme")
        assert health.state == "failed"
        assert health.problem is not None
        assert "cut" not in health.problem
        assert "RuntimeError: cut" in caplog.text
        provider.fails_after = None
        assert (await sync.finish("acme")).state == "ok"


async def test_a_store_that_fails_within_a_pass_fails_the_pass_and_not_the_server(
    vendor: Vendor, store: SQLiteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    save, note = store.save_page, store.note

    def full(*_: Any, **__: Any) -> Any:
        raise StoreError("The disk is full. Free some space.")

    def broken(*_: Any) -> Any:
        raise RuntimeError("a bug")

    monkeypatch.setattr(store, "save_page", full)
    monkeypatch.setattr(store, "note", broken)
    async with running(syncing(store, vendor.account())) as sync:
        health = await sync.finish("acme")
        assert (health.state, health.problem, health.covered) == ("failed", "The disk is full. Free some space.", False)
        monkeypatch.setattr(store, "save_page", save)
        monkeypatch.setattr(store, "note", note)
        assert (await sync.finish("acme")).state == "ok"
    assert Counter(kept(store)) == expected(vendor.rows)


# Pages read ahead


class Saves:
    """Looks on: the calls and the marks of every page that is saved; fails from the given one on."""

    def __init__(self, store: SQLiteStore, monkeypatch: pytest.MonkeyPatch, fails_after: int = 1_000) -> None:
        self.saved: list[tuple[list[str], Marks | None]] = []
        self.hold = threading.Event()
        save = store.save_page

        def looked_at(account: str, calls: Sequence[Call], marks: Marks | None = None, *rest: Any, **more: Any) -> Any:
            assert self.hold.wait(20)
            if len(self.saved) >= fails_after:
                raise StoreError("The disk is full.")
            self.saved.append(([call.vendor_call_id for call in calls], marks))
            return save(account, calls, marks, *rest, **more)

        monkeypatch.setattr(store, "save_page", looked_at)


async def test_pages_that_wait_are_saved_together_with_the_marks_of_the_last(
    store: SQLiteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    saves = Saves(store, monkeypatch)
    with Vendor(logs(*range(800))).serving() as vendor:
        async with running(syncing(store, vendor.account())) as sync:
            sync.start("acme")
            await until(lambda: len(vendor.pages) >= PAGES_AHEAD + 2)  # those before it wait to be saved
            saves.hold.set()
            await until(lambda: sync.health("acme").state == "ok")
        assert Counter(kept(store)) == expected(vendor.rows)
        sizes = [len(calls) for calls, _ in saves.saved]
        assert sizes[0] == PAGE
        assert PAGE * PAGES_AHEAD <= sizes[1] <= CALLS_TOGETHER
        began = {row["id"]: datetime.fromisoformat(row["createdAt"]) for row in vendor.rows}
        for calls, marks in saves.saved[:2]:
            assert marks is not None
            assert marks.low is not None
            last = min(began[one] for one in calls)
            assert timedelta(0) <= marks.low - last < timedelta(seconds=1), (
                "nothing is promised that is not saved with it"
            )


async def test_what_was_read_before_a_failure_is_saved_before_it_is_told(
    unordered: tuple[Unordered, Account], store: SQLiteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    provider, account = unordered
    provider.pages = [Page((plain(n, timedelta(days=n)),), NOW - timedelta(days=n), str(n + 1)) for n in range(9)]
    provider.fails_after = 4
    saves = Saves(store, monkeypatch)
    async with running(syncing(store, account)) as sync:
        sync.start("acme")
        await until(lambda: provider.given == 4)
        saves.hold.set()
        await until(lambda: sync.health("acme").state == "failed")
        assert sorted(kept(store)) == [f"call-{n}" for n in range(4)]
        assert sync.health("acme").marks == Marks(NOW, NOW - timedelta(days=3), "4")


async def test_a_page_that_cannot_be_saved_ends_the_reading_and_those_behind_it_are_not_promised(
    store: SQLiteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    saves = Saves(store, monkeypatch, fails_after=1)
    saves.hold.set()
    with Vendor(logs(*range(800))).serving() as vendor:
        (health,) = await one_pass(store, vendor.account())
        assert (health.state, health.problem) == ("failed", "The disk is full.")
        assert len(kept(store)) == PAGE
        first = saves.saved[0][1]
        assert first is not None
        assert (store.marks("acme").high, store.marks("acme").resume) == (first.high, first.resume)
        assert len(vendor.pages) <= 2 * PAGES_AHEAD + 3


async def test_a_vendor_that_is_tried_again_meanwhile_does_not_delay_a_failure_to_save(
    store: SQLiteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    saves = Saves(store, monkeypatch, fails_after=0)
    with Vendor(logs(*range(200))).serving() as vendor:

        def once(path: str, query: dict[str, str]) -> int | None:
            vendor.hangs = path == LIST and query["page"] == "2"
            return 503 if vendor.hangs else None

        vendor.fails = once
        async with running(syncing(store, vendor.account())) as sync:
            sync.start("acme")
            await until(lambda: vendor.pages.count(2) == 2)
            saves.hold.set()
            await until(lambda: sync.health("acme").state == "failed")


DAY = timedelta(days=1)
OF_ONE_CALL = {
    "unreadable, then read": ((Page((), unreadable=(Unreadable("call-1", ("x",)),)), Page((plain(1, DAY),))), 0, None),
    "read, then unreadable": ((Page((plain(1, DAY),)), Page((), unreadable=(Unreadable("call-1", ("x",)),))), 1, None),
    "deleted, then listed": ((Page((), deleted=("call-0", "call-1")), Page((plain(1, DAY),))), 0, None),
    "listed twice": ((Page((plain(1, DAY, summary="1"),)), Page((plain(1, 2 * DAY, summary="2"),))), 0, "2"),
}


async def test_no_more_is_saved_together_than_a_short_transaction_holds(
    unordered: tuple[Unordered, Account], store: SQLiteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    provider, account = unordered
    monkeypatch.setattr(passes, "CALLS_TOGETHER", 2)
    provider.pages = [Page((plain(n, DAY * n),)) for n in range(6)]
    saves = Saves(store, monkeypatch)
    async with running(syncing(store, account)) as sync:
        sync.start("acme")
        await until(lambda: provider.given == 6)
        saves.hold.set()
        await until(lambda: sync.health("acme").state == "ok")
    assert [len(calls) for calls, _ in saves.saved if calls] == [1, 2, 2, 1]


@pytest.mark.parametrize("case", OF_ONE_CALL)
async def test_what_pages_say_of_the_same_call_counts_in_their_order(
    unordered: tuple[Unordered, Account], store: SQLiteStore, monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    provider, account = unordered
    said, unreadable, summary = OF_ONE_CALL[case]
    provider.pages = [Page((plain(0, DAY),)), *said, Page((plain(2, DAY),))]
    saves = Saves(store, monkeypatch)
    async with running(syncing(store, account)) as sync:
        sync.start("acme")
        await until(lambda: provider.given == 4)
        saves.hold.set()
        await until(lambda: sync.health("acme").state == "ok")
    held = store.call(["acme"], "acme/call-1")
    assert held is not None
    assert held.summary == summary
    assert store.accounts(["acme"])[0].unreadable == unreadable
    assert ("call-0" in kept(store)) is not case.startswith("deleted")


# Refused, down


async def test_a_refused_credential_parks_the_account_for_fifteen_minutes(
    vendor: Vendor, store: SQLiteStore, clock: Clock
) -> None:
    account = vendor.account(token="wrong-token")
    async with running(syncing(store, account)) as sync:
        await sync.freshen(["acme"])
        health = sync.health("acme")
        assert (health.state, health.covered, health.fresh) == ("parked", False, False)
        assert "ACME_TOKEN" in (health.next_step or "")
        assert "401" in (health.problem or "")
        assert "wrong-token" not in f"{health}"
        assert len(vendor.asked) == 1
        for ahead in (61.0, 600.0, PARKED_SECONDS - 5):
            clock.ahead = ahead
            await sync.freshen(["acme"])
            with pytest.raises(CallNotFound, match=r"cannot be asked now.*401.*ACME_TOKEN"):
                await sync.fetch("acme", "log00001")
        assert len(vendor.asked) == 1
        clock.ahead = PARKED_SECONDS + 5
        await sync.freshen(["acme"])
        assert len(vendor.asked) == 2
        assert store.accounts(["acme"])[0].state == "parked"


async def test_a_pass_that_is_ordered_asks_a_parked_account_and_frees_it_when_it_answers(
    vendor: Vendor, store: SQLiteStore, clock: Clock
) -> None:
    vendor.fails = lambda path, _query: 401 if path == LIST else None
    async with running(syncing(store, vendor.account())) as sync:
        assert (await sync.finish("acme")).state == "parked"
        vendor.fails = lambda _path, _query: None
        assert (await sync.finish("acme")).state == "ok"
        vendor.asked.clear()
        clock.ahead = 61.0
        await sync.freshen(["acme"])
        assert vendor.pages == [1]


async def test_a_credential_refused_for_one_call_parks_the_account_too(vendor: Vendor, store: SQLiteStore) -> None:
    async with running(syncing(store, vendor.account())) as sync:
        await sync.finish("acme")
        asked: list[str] = []

        def refuse(path: str, _query: dict[str, str]) -> int | None:
            asked.append(path)
            return 401

        vendor.fails = refuse
        with pytest.raises(AuthFailed):
            await sync.fetch("acme", "unknown1")
        assert sync.health("acme").state == "parked"
        for _ in range(3):
            with pytest.raises(CallNotFound, match="cannot be asked now"):
                await sync.fetch("acme", "unknown1")
        assert len(asked) == 1


async def test_five_outages_in_a_row_rest_the_account_for_a_minute(
    vendor: Vendor, store: SQLiteStore, clock: Clock
) -> None:
    vendor.fails = lambda path, _query: 503 if path == LIST else None
    async with running(syncing(store, vendor.account(), max_age=0.0)) as sync:
        for outage in range(1, FAILURES_BEFORE_REST + 1):
            await sync.freshen(["acme"])
            await until(lambda: sync.health("acme").state == "down")
            assert len(vendor.asked) == 5 * outage
        clock.ahead = REST_SECONDS - 5
        await sync.freshen(["acme"])
        assert len(vendor.asked) == 5 * FAILURES_BEFORE_REST
        assert sync.health("acme").state == "down"
        vendor.fails = lambda _path, _query: None
        clock.ahead = REST_SECONDS + 5
        await sync.freshen(["acme"])
        assert sync.health("acme").state == "ok"
        vendor.fails = lambda path, _query: 503 if path == LIST else None
        vendor.asked.clear()
        for _ in range(2):  # counted anew
            await sync.freshen(["acme"])
            await until(lambda: sync.health("acme").state == "down")
        assert len(vendor.asked) == 10


@pytest.fixture
def dead() -> Generator[str]:
    """A port on which nobody listens."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{held.getsockname()[1]}"


async def test_one_dead_account_leaves_the_others_answer_untouched_and_fast(
    vendor: Vendor, store: SQLiteStore, dead: str
) -> None:
    sync = syncing(store, vendor.account("dead", base_url=dead), vendor.account())
    async with running(sync):
        began = time.monotonic()
        await sync.freshen(["acme"])
        assert sync.health("acme").covered
        assert Counter(kept(store)) == expected(vendor.rows)
        assert kept(store, "dead") == []
        with anyio.fail_after(5):
            await sync.freshen(["dead", "acme"])
        assert time.monotonic() - began < 10
        await until(lambda: sync.health("dead").state == "down")
        health = sync.health("dead")
        assert "ConnectError" in (health.problem or "")
        assert not health.covered
        assert sync.health("acme").state == "ok"


async def test_a_vendor_in_trouble_delays_a_question_by_a_second_at_most(
    vendor: Vendor, store: SQLiteStore, clock: Clock
) -> None:
    vendor.fails = lambda path, _query: 503 if path == LIST else None
    async with running(syncing(store, vendor.account(), wait=20.0)) as sync:
        await sync.finish("acme")
        vendor.fails = lambda _path, _query: None
        vendor.hangs = True
        clock.ahead = 61.0
        with anyio.fail_after(passes.TROUBLED_WAIT + 2):
            await sync.freshen(["acme"])
        assert sync.health("acme").state in ("syncing", "down")


async def test_a_vendor_that_is_back_is_heard_at_once(vendor: Vendor, store: SQLiteStore, clock: Clock) -> None:
    vendor.fails = lambda path, _query: 503 if path == LIST else None
    async with running(syncing(store, vendor.account())) as sync:
        await sync.finish("acme")
        vendor.fails = lambda _path, _query: None
        clock.ahead = 61.0
        await sync.freshen(["acme"])
        assert sync.health("acme").state == "ok"
        assert Counter(kept(store)) == expected(vendor.rows)


async def test_a_misconfigured_account_is_told_and_never_asked(vendor: Vendor, store: SQLiteStore) -> None:
    wrong = Account("wrong", HighLevel, None, problem="WRONG_TOKEN is empty.", next_step="Set it.")
    async with running(syncing(store, wrong, vendor.account())) as sync:
        await sync.freshen(["wrong", "acme"])
        health = sync.health("wrong")
        assert (health.state, health.problem, health.next_step) == ("misconfigured", "WRONG_TOKEN is empty.", "Set it.")
        assert not health.covered
        assert sync.health("acme").state == "ok"
        with pytest.raises(CallNotFound, match="WRONG_TOKEN is empty"):
            await sync.fetch("wrong", "log00001")


async def test_a_name_that_holds_another_providers_calls_is_told_and_never_asked(
    vendor: Vendor, store: SQLiteStore
) -> None:
    store.open_account("acme", "vyom")
    async with running(syncing(store, vendor.account())) as sync:
        health = await sync.finish("acme")
    assert health.state == "misconfigured"
    assert "already holds calls of vyom" in (health.problem or "")
    assert vendor.asked == []


# Freshness


async def test_a_question_waits_no_longer_than_told_and_the_pass_goes_on(vendor: Vendor, store: SQLiteStore) -> None:
    vendor.hangs = True
    async with running(syncing(store, vendor.account(), wait=0.2)) as sync:
        began = time.monotonic()
        await sync.freshen(["acme"])
        assert 0.15 < time.monotonic() - began < 2
        health = sync.health("acme")
        assert (health.state, health.covered, health.fresh) == ("syncing", False, False)
        assert len(vendor.asked) == 1


async def test_a_question_that_did_not_wait_long_enough_is_answered_by_the_same_pass_later(
    vendor: Vendor, store: SQLiteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate(store, monkeypatch, holds_after=0)
    async with running(syncing(store, vendor.account(), wait=0.1)) as sync:
        await sync.freshen(["acme"])
        assert sync.health("acme").state == "syncing"
        gate.open()
        await until(lambda: sync.health("acme").state == "ok")
    assert vendor.pages == [1, 2, 3]
    assert Counter(kept(store)) == expected(vendor.rows)


class Gate:
    """Holds the store's pages back, from the given one on, until opened."""

    def __init__(self, store: SQLiteStore, monkeypatch: pytest.MonkeyPatch, holds_after: int) -> None:
        self.opened = threading.Event()
        self.saved = 0
        save = store.save_page

        def held(*given: Any, **more: Any) -> Any:
            if self.saved >= holds_after:
                assert self.opened.wait(20)
            self.saved += 1
            return save(*given, **more)

        monkeypatch.setattr(store, "save_page", held)

    def open(self) -> None:
        self.opened.set()


async def test_a_question_is_answered_as_soon_as_its_window_is_read(
    vendor: Vendor, store: SQLiteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate(store, monkeypatch, holds_after=2)
    async with running(syncing(store, vendor.account())) as sync:
        recent, older = NOW - timedelta(minutes=150 * 30), NOW - timedelta(minutes=150 * 120)
        with anyio.fail_after(10):
            await sync.freshen(["acme"], recent)
        health = sync.health("acme", recent)
        assert (health.state, health.covered) == ("syncing", True)
        assert not sync.health("acme", older).covered
        assert not sync.health("acme").covered
        assert not sync.health("acme", older, recent).covered
        gate.open()
        await sync.freshen(["acme"])
        assert sync.health("acme", older).covered
        assert sync.health("acme").covered


async def test_an_old_window_that_is_complete_needs_no_waiting(
    vendor: Vendor, store: SQLiteStore, clock: Clock
) -> None:
    async with running(syncing(store, vendor.account())) as sync:
        await sync.finish("acme")
        vendor.hangs = True
        clock.ahead = 61.0
        with anyio.fail_after(5):
            await sync.freshen(["acme"], NOW - timedelta(hours=12), NOW - timedelta(hours=6))
        health = sync.health("acme", NOW - timedelta(hours=12), NOW - timedelta(hours=6))
        assert (health.state, health.covered) == ("syncing", True)
        assert not sync.health("acme", NOW - timedelta(hours=12), NOW).covered
        assert not sync.health("acme", NOW - timedelta(hours=12)).covered


async def test_an_account_read_a_moment_ago_is_not_asked_again(
    vendor: Vendor, store: SQLiteStore, clock: Clock
) -> None:
    async with running(syncing(store, vendor.account(), max_age=60.0)) as sync:
        await sync.freshen(["acme"])
        vendor.asked.clear()
        clock.ahead = 50.0
        await sync.freshen(["acme"])
        assert vendor.asked == []
        clock.ahead = 70.0
        await sync.freshen(["acme"])
        assert vendor.pages == [1]


async def test_many_questions_at_once_share_one_pass(vendor: Vendor, store: SQLiteStore) -> None:
    async with running(syncing(store, vendor.account())) as sync, anyio.create_task_group() as asking:
        for _ in range(20):
            asking.start_soon(sync.freshen, ["acme"])
    assert vendor.pages == [1, 2, 3]


async def test_health_tells_each_stage(vendor: Vendor, store: SQLiteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = Gate(store, monkeypatch, holds_after=1)
    sync = syncing(store, vendor.account())
    async with running(sync):
        health = sync.health("acme")
        assert (health.state, health.covered, health.fresh, health.last_synced_at) == (
            "never synced",
            False,
            False,
            None,
        )
        sync.start("acme")
        await until(lambda: count_pages(vendor) >= 2 and sync.health("acme").marks.low is not None)
        health = sync.health("acme")
        assert (health.state, health.covered, health.fresh, health.problem) == ("syncing", False, False, None)
        assert health.marks.low is not None
        assert (
            0 <= (health.marks.low - datetime.fromisoformat(vendor.rows[PAGE - 1]["createdAt"])).total_seconds() < 0.1
        )
        gate.open()
        health = await sync.finish("acme")
        assert (health.state, health.covered, health.fresh) == ("ok", True, True)
        assert health.last_synced_at is not None
    async with running(syncing(store, vendor.account(), max_age=0.0)) as again:
        health = again.health("acme")
        assert (health.state, health.covered) == ("never synced", False)
        assert health.last_synced_at is not None


async def test_a_running_pass_that_is_tried_again_shows_its_trouble(vendor: Vendor, store: SQLiteStore) -> None:
    refused = 0

    def refuse(path: str, query: dict[str, str]) -> int | None:
        nonlocal refused
        if path != LIST or query["page"] != "2":
            return None
        refused += 1
        vendor.hangs = refused == 2
        return 503

    vendor.fails = refuse
    async with running(syncing(store, vendor.account())) as sync:
        sync.start("acme")
        await until(lambda: refused == 2 and len(vendor.asked) == 4)
        health = sync.health("acme")
        assert health.state == "down"
        assert "503" in (health.problem or "")


async def test_progress_tells_how_much_and_how_far_back(vendor: Vendor, store: SQLiteStore) -> None:
    told: list[tuple[int, datetime | None]] = []
    async with running(syncing(store, vendor.account())) as sync:
        await sync.finish("acme", lambda read, reached: told.append((read, reached)))
    assert told[-1][0] == 130
    assert [read for read, _ in told] == sorted(read for read, _ in told)


# The end


async def test_the_passes_stop_at_once_while_a_vendor_hangs(vendor: Vendor, store: SQLiteStore) -> None:
    vendor.hangs = True
    async with running(syncing(store, vendor.account())) as sync:
        sync.start("acme")
        await until(lambda: count_pages(vendor) == 1)
        left = time.monotonic()
    assert time.monotonic() - left < 2


async def test_a_failure_beside_the_passes_comes_out_as_it_is(vendor: Vendor, store: SQLiteStore) -> None:
    vendor.hangs = True

    async def meanwhile() -> None:
        async with running(syncing(store, vendor.account())) as sync:
            sync.start("acme")
            raise StoreError("mine")

    with pytest.raises(StoreError, match="mine"):
        await meanwhile()


async def test_whoever_waits_for_a_pass_is_let_go_when_the_passes_end(vendor: Vendor, store: SQLiteStore) -> None:
    vendor.hangs = True
    sync = syncing(store, vendor.account())
    with anyio.fail_after(10):
        async with anyio.create_task_group() as waiting, running(sync):
            waiting.start_soon(sync.finish, "acme")
            await until(lambda: count_pages(vendor) == 1)


async def test_the_first_pass_begins_unasked_when_told_to(vendor: Vendor, store: SQLiteStore) -> None:
    sync = syncing(store, vendor.account())
    with anyio.fail_after(20):
        async with sync.running(first_pass_after=0.0):
            await until(lambda: sync.health("acme").state == "ok")
    assert vendor.pages == [1, 2, 3]


# One call


async def test_a_call_the_vendor_knows_is_fetched_and_kept(vendor: Vendor, store: SQLiteStore) -> None:
    async with running(syncing(store, vendor.account())) as sync:
        await sync.fetch("acme", "log00077")
        assert kept(store) == ["log00077"]
        assert store.marks("acme") == Marks()


@pytest.mark.parametrize("call_id", ["unknown1", "", "../agents", "log 1", "a" * 300, "\x00", "log00001?x=1"])
async def test_a_call_the_vendor_does_not_know_is_not_found(vendor: Vendor, store: SQLiteStore, call_id: str) -> None:
    async with running(syncing(store, vendor.account())) as sync:
        with pytest.raises(CallNotFound, match="list_calls"):
            await sync.fetch("acme", call_id)
    assert kept(store) == []


async def test_a_vendor_that_does_not_answer_for_one_call_is_not_waited_for(vendor: Vendor, store: SQLiteStore) -> None:
    vendor.hangs = True
    async with running(syncing(store, vendor.account(), wait=0.1)) as sync:
        with anyio.fail_after(3), pytest.raises(CallNotFound, match="did not answer in time"):
            await sync.fetch("acme", "log00001")


# What is kept


async def test_card_numbers_never_reach_the_files(vendor: Vendor, store: SQLiteStore, path: Path) -> None:
    card = "4111 1111 1111 1111"
    vendor.rows[3] |= {
        "transcript": f"bot:Your card?\nhuman:It is {card} thank you\n",
        "summary": f"Paid by {card}.",
        "extractedData": {"card": card.replace(" ", ""), f"note {card}": "x"},
        "transcriptWithToolCalls": [{"role": "user", "content": f"It is {card} thank you", "startTime": 1.0}],
    }
    await one_pass(store, vendor.account())
    call = store.call(["acme"], "acme/log00003")
    assert call is not None
    assert call.turns[0].text == "It is [card ending 1111] thank you"
    held = everything(store, path)
    assert b"[card ending 1111]" in held
    for form in (card, card.replace(" ", ""), "1111 1111", "41111111"):
        assert form.encode() not in held


def everything(store: SQLiteStore, path: Path) -> bytes:
    """All bytes of the database's files, and the packed calls unpacked."""
    with store._reading() as db:  # pyright: ignore[reportPrivateUsage] - whatever stands in any table
        bodies = [
            zlib.decompress(row[0]) for row in db.execute("SELECT head FROM content UNION ALL SELECT body FROM part")
        ]
    files = [file.read_bytes() for file in path.parent.iterdir()]
    assert len(files) > 1, "the journal belongs to it"
    return b"".join(files + bodies)


async def test_what_nobody_can_see_or_encode_never_reaches_the_store(vendor: Vendor, store: SQLiteStore) -> None:
    nasty = '"a\\u0000b\\ud800c\\u202ed\\u200be\\u001b[31mf"'
    row = json.dumps(log(1) | {"agentId": None}).encode()
    row = row.replace(b'"Call 1."', nasty.encode()).replace(b"I want a refund", nasty.strip('"').encode())
    row = row.replace(b'"extractedData": {}', b'"extractedData": {' + nasty.encode() + b": " + nasty.encode() + b"}")
    vendor.raw = b'{"callLogs": [' + row + b'], "total": 1, "page": 1, "pageSize": 50}'
    (health,) = await one_pass(store, vendor.account())
    assert health.state == "ok"
    call = store.call(["acme"], "acme/log00001")
    assert call is not None
    texts = [
        call.summary or "",
        *(turn.text for turn in call.turns),
        *map(str, (*call.extracted, *call.extracted.values())),
    ]
    assert len(texts) == 5
    for text in texts:
        text.encode()
        assert not set(text) & set("\x00\u202e\u200b\x1b\ud800")
    assert call.summary == "ab\ufffdcde[31mf"
    assert store.search(parse("cde"), Filter(("acme",))).total_calls == 1


def spoken(*said: str, offsets: bool = True) -> tuple[Turn, ...]:
    return tuple(
        Turn(
            n=n,
            speaker=(Speaker.AGENT, Speaker.CUSTOMER)[(n - 1) % 2],
            text=text,
            offset_seconds=10.0 * n if offsets else None,
        )
        for n, text in enumerate(said, 1)
    )


def turn_of(
    turns: tuple[Turn, ...], seconds: float | None, said: str | None = None, duration: float | None = 60.0, **given: Any
) -> int | None:
    """The turn to which an action is tied that was executed so many seconds into the call."""
    at = NOW + timedelta(seconds=seconds) if seconds is not None else None
    details: dict[str, Any] = {"said": said} if said else {}
    action = Action(kind=ActionKind.MESSAGE, vendor_kind="SMS", name="Text", executed_at=at, details=details, **given)
    call = Call(
        account="acme",
        provider="highlevel",
        vendor_call_id="one",
        status=Status.COMPLETED,
        started_at=NOW,
        duration_seconds=duration,
        turns=turns,
        actions=(action,),
    )
    return prepared(call, Masking.CARDS).actions[0].turn


TURNS = spoken(
    "Hello.",
    "I want it.",
    "One moment,  PLEASE. I look.",
    "One moment, please",
    "There. One moment, please!",
    "Thanks.",
)


def test_an_action_is_tied_to_the_sentence_that_announces_it() -> None:
    assert turn_of(TURNS, None, "One moment, please.") == 3
    assert turn_of(TURNS, 29.0, "One moment, please.") == 3
    assert turn_of(TURNS, 49.0, "One moment, please.") == 5
    assert turn_of(spoken(*(turn.text for turn in TURNS), offsets=False), 49.0, "One moment, please.") == 3
    assert turn_of(TURNS, 500.0, "One moment, please.") == 5


def test_only_the_agent_announces_an_action() -> None:
    assert turn_of(TURNS, None, "I want it.") is None


def test_an_action_without_a_sentence_is_tied_by_its_time() -> None:
    assert turn_of(TURNS, 35.0) == turn_of(TURNS, 35.0, "Never said.") == 3
    assert turn_of(TURNS, 10.0) == 1
    assert turn_of(TURNS, 60.0) == 6


def test_an_action_outside_the_call_is_tied_to_no_turn() -> None:
    assert turn_of(TURNS, 61.5) is None
    assert turn_of(TURNS, 9.0) is None
    assert turn_of(TURNS, -5.0) is None
    assert turn_of(TURNS, None) is None
    assert turn_of(TURNS, 90.0, duration=None) == 6
    assert turn_of(spoken("Hello.", offsets=False), 35.0) is None
    assert turn_of((), 35.0) is None


def test_a_turn_that_the_vendor_tells_stays() -> None:
    assert turn_of(TURNS, 49.0, "One moment, please.", turn=2) == 2


def test_spoken_details_are_masked_and_facts_are_not() -> None:
    card = "4111 1111 1111 1111"
    details: dict[str, Any] = {"said": card, "text": card, "to": "+15550100001", "overwrites": True}
    action = Action(kind=ActionKind.MESSAGE, vendor_kind="SMS", name="Text", details=details)
    call = plain(1, timedelta(), from_number="+15550100001", actions=(action,), extracted={"age": 41, "card": card})
    out = prepared(call, Masking.CARDS)
    assert out.actions[0].details == {
        "said": "[card ending 1111]",
        "text": "[card ending 1111]",
        "to": "+15550100001",
        "overwrites": True,
    }
    assert out.extracted == {"age": 41, "card": "[card ending 1111]"}
    assert (out.from_number, out.vendor_call_id) == ("+15550100001", "call-1")
    assert prepared(call, Masking.OFF) == call


# -- several processes on one store -----------------------------------------------------------------------------


class Shared(SQLiteStore):
    """A store of one of several processes: another one leads until it is told not to."""

    led_elsewhere = False
    resigned = 0

    def lead(self, account: str) -> bool:
        """Whether nobody else does."""
        return not self.led_elsewhere and super().lead(account)

    def resign(self, account: str) -> None:
        """Counted."""
        self.resigned += 1
        super().resign(account)


@pytest.fixture
def shared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shared]:
    """Looks often whether the other process is done."""
    monkeypatch.setattr("call_logs.sync.FOLLOW_SECONDS", 0.01)
    store = Shared(tmp_path / "shared.db")
    yield store
    store.close()


async def test_while_another_process_reads_an_account_this_one_asks_nothing_and_takes_over_what_it_read(
    vendor: Vendor, shared: Shared
) -> None:
    """The other process writes its page and its marks; then it says that it is done."""
    began = datetime.now(UTC)
    async with running(syncing(shared, vendor.account(), wait=0.05)) as sync:
        shared.led_elsewhere = True
        await sync.freshen(["acme"])
        assert vendor.asked == []
        assert sync.health("acme").state == "syncing"
        shared.save_page("acme", [], Marks(high=began, low=began - 2 * HISTORY))
        shared.note("acme", "ok", synced_at=began)
        await until(lambda: sync.health("acme").state == "ok")
        health = sync.health("acme")
        assert vendor.asked == []
        assert health.marks.low is not None
        assert health.last_synced_at is not None
        assert abs(health.last_synced_at - began) < timedelta(seconds=1)
    assert shared.resigned == 1


async def test_an_account_whose_reader_is_gone_is_read_on_by_the_next_process(vendor: Vendor, shared: Shared) -> None:
    async with running(syncing(shared, vendor.account(), wait=0.05)) as sync:
        shared.led_elsewhere = True
        await sync.freshen(["acme"])
        assert vendor.asked == []
        shared.led_elsewhere = False
        await until(lambda: sync.health("acme").state == "ok")
    assert Counter(kept(shared)) == expected(vendor.rows)


async def test_what_another_process_failed_at_is_tried_by_this_one(vendor: Vendor, shared: Shared) -> None:
    async with running(syncing(shared, vendor.account(), wait=0.05)) as sync:
        shared.led_elsewhere = True
        await sync.freshen(["acme"])
        shared.note("acme", "down", "acme could not be reached.", "Ask again.")
        shared.led_elsewhere = False
        await until(lambda: sync.health("acme").state == "ok")
    assert Counter(kept(shared)) == expected(vendor.rows)


async def test_a_question_during_a_long_backfill_has_the_newest_calls_read_first(
    store: SQLiteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between two pages, and the backfill goes on where it was; what is outdated does not count as covered."""
    with Vendor(logs(*range(800))).serving() as vendor:
        await asked_during_a_backfill(vendor, store, monkeypatch)


async def asked_during_a_backfill(vendor: Vendor, store: SQLiteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = Gate(store, monkeypatch, holds_after=1)
    ahead = timedelta(0)
    sync = syncing(store, vendor.account(), wait=0.05, now=lambda: datetime.now(UTC) + ahead)
    async with running(sync):
        await until(lambda: sync.start("acme") or gate.saved == 1)  # type: ignore[func-returns-value] - starts once
        newest = NOW - timedelta(minutes=1)
        await until(lambda: sync.health("acme", newest).covered)
        ahead = timedelta(minutes=5)
        assert not sync.health("acme", newest).covered
        vendor.rows.insert(0, log(9_999, at=NOW + timedelta(minutes=4)))
        await sync.freshen(["acme"], newest)
        gate.open()
        await until(lambda: sync.health("acme").state == "ok")
    ahead_of_it = vendor.pages[1:].index(1)
    assert ahead_of_it <= PAGES_AHEAD + 3, (
        "the one that was saved, the one being saved, those that wait, and one to put"
    )
    assert set(vendor.pages) >= set(range(1, 17))
    assert Counter(kept(store)) == expected(vendor.rows)


# What could not be read


def unread(number: int) -> Row:
    """A row that cannot be read, at its place in the list."""
    return log(number, duration={"seconds": "sixty"})


async def test_what_can_never_be_read_costs_one_reading_of_the_list_a_start(store: SQLiteStore) -> None:
    with Vendor(logs(*range(330))).serving() as vendor:
        vendor.rows[300] = unread(300)
        await one_pass(store, vendor.account())
        for _ in range(2):
            async with running(syncing(store, vendor.account())) as sync:
                vendor.asked.clear()
                assert (await sync.finish("acme")).unreadable == 1
                assert vendor.pages == [1, *range(1, 8)]
                vendor.asked.clear()
                assert (await sync.finish("acme")).state == "ok"
                assert vendor.pages == [1]


async def test_a_history_is_read_on_before_what_could_not_be_read_is_read_again(store: SQLiteStore) -> None:
    """Each start read again what was read, and one that was killed early never got further."""
    with Vendor(logs(*range(330))).serving() as vendor:
        vendor.rows[10] = unread(10)
        vendor.fails = lambda path, query: 503 if path == LIST and int(query["page"]) > 4 else None
        await one_pass(store, vendor.account())
        vendor.fails = lambda _path, _query: None
        vendor.asked.clear()
        vendor.rows[10] = log(10)
        (health,) = await one_pass(store, vendor.account())
        assert (health.state, health.unreadable) == ("ok", 0)
        assert vendor.pages == [1, 4, 5, 6, 7, 8], "the record is among what is new: all can be read"
        assert Counter(kept(store)) == expected(vendor.rows)


async def test_a_list_that_is_read_again_is_begun_anew_by_the_next_pass_where_it_was_cut_off(
    store: SQLiteStore,
) -> None:
    with Vendor(logs(*range(330))).serving() as vendor:
        vendor.rows[300] = unread(300)
        await one_pass(store, vendor.account())
        vendor.rows[300] = log(300)
        vendor.fails = lambda path, query: 503 if path == LIST and int(query["page"]) > 4 else None
        async with running(syncing(store, vendor.account())) as sync:
            assert (await sync.finish("acme")).state == "down"
            vendor.fails = lambda _path, _query: None
            health = await sync.finish("acme")
        assert (health.state, health.unreadable) == ("ok", 0)
        assert Counter(kept(store)) == expected(vendor.rows)


async def test_a_question_while_the_list_is_read_again_has_the_newest_calls_read_first(
    store: SQLiteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Vendor(logs(*range(800))).serving() as vendor:
        vendor.rows[700] = unread(700)
        await one_pass(store, vendor.account())
        vendor.asked.clear()
        gate = Gate(store, monkeypatch, holds_after=3)
        ahead = timedelta(minutes=2)
        newest = NOW - timedelta(minutes=1)
        sync = syncing(store, vendor.account(), wait=0.05, now=lambda: datetime.now(UTC) + ahead)
        async with running(sync):
            await until(lambda: sync.start("acme") or len(vendor.asked) == 3)  # type: ignore[func-returns-value] - starts once
            assert vendor.pages == [1, 1, 2], "what is new, then the list"
            assert sync.health("acme", newest).covered
            ahead = timedelta(minutes=7)
            vendor.rows.insert(0, log(9_999, at=NOW + timedelta(minutes=4)))
            await sync.freshen(["acme"], newest)
            gate.open()
            await until(lambda: sync.health("acme").state == "ok")
        assert vendor.pages == [1, 1, 2, 1, *range(3, 19)]
        assert Counter(kept(store)) == expected([row for row in vendor.rows if row["id"] != "log00700"])


async def starts(store: SQLiteStore, vendor: Vendor, *ahead: timedelta) -> list[tuple[int, int]]:
    """A start and a pass at each of these times from now: how many records count as unreadable at its end, and the pages
    asked for."""
    today = Today()
    seen: list[tuple[int, int]] = []
    for today.ahead in ahead:
        vendor.asked.clear()
        (health,) = await one_pass(store, vendor.account(), now=today)
        seen.append((health.unreadable, count_pages(vendor)))
    return seen


@pytest.mark.parametrize("odd", [{"id": None}, {"duration": {"seconds": "sixty"}}], ids=["without an id", "with one"])
async def test_a_record_that_the_vendor_lists_no_more_is_forgotten_by_the_second_reading_without_it(
    odd: Row, store: SQLiteStore
) -> None:
    """It was told for ever, and the whole list read at each start."""
    with Vendor(logs(*range(330))).serving() as vendor:
        vendor.rows.insert(300, log(999, at=datetime.fromisoformat(vendor.rows[300]["createdAt"]), **odd))
        assert await starts(store, vendor, timedelta()) == [(1, 7)]
        assert await starts(store, vendor, timedelta(minutes=20), timedelta(minutes=40)) == [(1, 8)] * 2, "still listed"
        del vendor.rows[300]
        minutes = [timedelta(minutes=minutes) for minutes in (60, 65, 80, 100)]
        assert await starts(store, vendor, *minutes) == [(1, 8), (1, 8), (0, 8), (0, 1)]
        assert Counter(kept(store)) == expected(vendor.rows)


async def test_a_reading_that_was_cut_off_forgets_no_record(store: SQLiteStore) -> None:
    with Vendor(logs(*range(330))).serving() as vendor:
        vendor.rows[300] = unread(300)
        await one_pass(store, vendor.account())
        vendor.fails = lambda path, query: 503 if path == LIST and int(query["page"]) > 4 else None
        await deep_passes(store, vendor.account(), *(timedelta(hours=hours) for hours in range(1, 9)))
        assert store.unreadable("acme") == [Unreadable("log00300", ("duration",))]


async def test_a_list_that_was_cut_short_once_forgets_no_record(store: SQLiteStore) -> None:
    with Vendor(logs(*range(330))).serving() as vendor:
        vendor.rows[300] = unread(300)
        every = list(vendor.rows)
        await one_pass(store, vendor.account())
        for hours in range(1, 7):
            vendor.rows[:] = every[:100] if hours % 2 else every
            await deep_passes(store, vendor.account(), timedelta(hours=hours))
        assert store.unreadable("acme") == [Unreadable("log00300", ("duration",))]


async def test_a_held_call_whose_words_could_not_be_read_stays_told_and_is_asked_for_while_a_reading_can_come_upon_it(
    unordered: tuple[Unordered, Account], store: SQLiteStore
) -> None:
    """Its list may be gone for a while; beyond the history nothing is read for it."""
    provider, account = unordered
    bare = Unreadable("call-1", ("said",))
    provider.pages = [Page((plain(1, timedelta(days=80)), plain(2, timedelta(days=1))), unreadable=(bare,))]
    await one_pass(store, account)
    provider.pages = [Page((plain(2, timedelta(days=1)),))]
    today = Today()
    for days, readings in ((1, 2), (5, 2), (11, 1)):
        today.ahead = timedelta(days=days)
        provider.asked.clear()
        (health,) = await one_pass(store, account, now=today)
        assert (health.unreadable, len(provider.asked)) == (1, readings), days
    assert store.unreadable("acme") == [bare]


# What goes

WEEK = timedelta(days=7)


class Today:
    """The wall clock of the passes, which a test moves."""

    def __init__(self) -> None:
        self.ahead = timedelta()

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self.ahead


async def deep_passes(store: SQLiteStore, account: Account, *ahead: timedelta, **given: Any) -> list[str]:
    """A start and a pass at each of these times from now; returns what is held then. The first pass of a start looks far
    back."""
    today = Today()
    for moved in ahead:
        today.ahead = moved
        await one_pass(store, account, now=today, **given)
    return kept(store)


async def test_a_call_deleted_at_the_vendor_is_erased_by_the_second_pass_that_misses_it(store: SQLiteStore) -> None:
    with Vendor(logs(*range(60))).serving() as vendor:
        await one_pass(store, vendor.account())
        gone = vendor.rows.pop(10)["id"]
        assert gone in await deep_passes(store, vendor.account(), timedelta())
        assert gone not in await deep_passes(store, vendor.account(), timedelta(hours=1))
        assert Counter(kept(store)) == expected(vendor.rows)
        vendor.rows.insert(10, log(10))
        await deep_passes(store, vendor.account(), timedelta(hours=2))
        assert Counter(kept(store)) == expected(vendor.rows), "a call that is listed again is kept again"


async def test_calls_that_the_vendor_hides_for_one_pass_stay(store: SQLiteStore) -> None:
    with Vendor(logs(*range(60))).serving() as vendor:
        await one_pass(store, vendor.account())
        every = list(vendor.rows)
        for hours in range(1, 6):
            vendor.rows[:] = every if hours % 2 else [row for row in every if row["id"] != "log00010"]
            await deep_passes(store, vendor.account(), timedelta(hours=hours))
        assert Counter(kept(store)) == expected(every)


async def test_a_vendor_that_suddenly_lists_little_costs_nothing(store: SQLiteStore) -> None:
    with Vendor(logs(*range(60))).serving() as vendor:
        await one_pass(store, vendor.account())
        every = list(vendor.rows)
        for listed in (every[::2], every[:5], [], every[40:]):
            vendor.rows[:] = listed
            await deep_passes(store, vendor.account(), *(timedelta(hours=hours) for hours in (1, 2, 3)))
        assert Counter(kept(store)) == expected(every)


async def test_a_pass_that_is_cut_off_says_nothing_of_what_it_did_not_reach(store: SQLiteStore) -> None:
    with Vendor([log(n, at=NOW - timedelta(minutes=10 * n + 1)) for n in range(160)]).serving() as vendor:
        await one_pass(store, vendor.account())
        every = list(vendor.rows)
        vendor.fails = lambda path, query: 503 if path == LIST and int(query["page"]) > 1 else None
        await deep_passes(store, vendor.account(), *(timedelta(hours=hours) for hours in range(4)))
        assert Counter(kept(store)) == expected(every)


async def test_a_record_without_an_id_could_be_any_call(store: SQLiteStore) -> None:
    with Vendor(logs(*range(60))).serving() as vendor:
        await one_pass(store, vendor.account())
        vendor.rows[10] = log(10, id=None)
        held = await deep_passes(store, vendor.account(), *(timedelta(hours=hours) for hours in range(3)))
        assert store.accounts(["acme"])[0].unreadable == 1
        assert "log00010" in held


async def test_a_call_that_cannot_be_read_any_more_is_not_missing(store: SQLiteStore) -> None:
    with Vendor(logs(*range(60))).serving(ignore_dates=True) as vendor:
        await one_pass(store, vendor.account())
        vendor.rows[10] = log(10, createdAt="no time at all")
        held = await deep_passes(store, vendor.account(), *(timedelta(hours=hours) for hours in range(3)))
        assert store.accounts(["acme"])[0].unreadable == 1
        assert "log00010" in held


async def test_once_a_week_the_whole_list_is_compared(store: SQLiteStore) -> None:
    with Vendor(logs(*range(300))).serving() as vendor:
        account = vendor.account()
        await one_pass(store, account)
        today = Today()
        old = vendor.rows.pop(250)["id"]

        async def tended(*, ahead: timedelta) -> int:
            """How many pages were asked for."""
            today.ahead = ahead
            await one_pass(store, account, now=today)
            vendor.asked.clear()
            async with running(syncing(store, account, now=today)) as sync:
                await sync.tend()
                await sync.tend()
            return count_pages(vendor)

        assert await tended(ahead=timedelta()) == 0, "what was just read for the first time"
        assert await tended(ahead=timedelta(days=6)) == 0
        assert await tended(ahead=WEEK + timedelta(hours=1)) >= 6
        assert old in kept(store)
        assert await tended(ahead=2 * WEEK) == 0
        assert await tended(ahead=2 * WEEK + timedelta(hours=2)) >= 6
        assert Counter(kept(store)) == expected(vendor.rows)


async def test_the_whole_list_is_compared_slice_by_slice(store: SQLiteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passes, "SLICE", 60)
    monkeypatch.setattr(passes, "SWEEP_EVERY", timedelta(hours=1))
    windows: list[tuple[datetime, datetime]] = []
    compare = store.compare

    def seen(account: str, since: datetime, until: datetime, *rest: Any) -> Any:
        windows.append((since, until))
        return compare(account, since, until, *rest)

    with Vendor(logs(*range(400))).serving() as vendor:
        account = vendor.account()
        await one_pass(store, account)
        today = Today()
        async with running(syncing(store, account, now=today)) as sync:
            await sync.tend()
            gone = {vendor.rows.pop(n)["id"] for n in (330, 220, 110)}
            monkeypatch.setattr(store, "compare", seen)
            for hours in (2, 4):
                today.ahead = timedelta(hours=hours)
                await sync.finish("acme")
                windows.clear()
                await sync.tend()
                assert len(windows) >= 4
                assert all(newer[0] == older[1] for newer, older in itertools.pairwise(windows)), "no gap, no overlap"
        assert gone.isdisjoint(kept(store))
        assert Counter(kept(store)) == expected(vendor.rows)


async def test_what_was_read_in_many_pages_is_put_together_in_the_index(
    store: SQLiteStore, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("call_logs.store._sqlite_index.FEW_UNMERGED", 100)

    def pieces() -> int:
        with closing(sqlite3.connect(path)) as db:
            return db.execute("SELECT count(DISTINCT segid) FROM words_idx").fetchone()[0]

    with Vendor(logs(*range(500))).serving() as vendor:
        async with running(syncing(store, vendor.account())) as sync:
            await sync.finish("acme")
            assert pieces() > 1
            await sync.tend()
            assert pieces() == 1
        assert Counter(kept(store)) == expected(vendor.rows)


async def test_calls_older_than_the_retention_are_neither_kept_nor_read(store: SQLiteStore) -> None:
    with Vendor(logs(*range(130))).serving() as vendor:
        await one_pass(store, vendor.account())
        month = timedelta(days=5)
        async with running(syncing(store, vendor.account(), retention=month)) as sync:
            await sync.tend()
            young = {row["id"] for row in vendor.rows if datetime.fromisoformat(row["createdAt"]) > NOW - month}
            assert set(kept(store)) == young
            assert store.uncompacted() == 0, "nor are their words left in the file"
            await sync.finish("acme")
            assert set(kept(store)) == young
            await sync.tend()
            assert set(kept(store)) == young


async def test_retention_holds_for_accounts_that_are_configured_no_more(store: SQLiteStore) -> None:
    with Vendor(logs(*range(130))).serving() as vendor:
        await one_pass(store, vendor.account("left"))
        async with running(syncing(store, vendor.account(), retention=timedelta(days=1))) as sync:
            await sync.tend()
        assert set(kept(store, "left")) == {row["id"] for row in vendor.rows[:10]}


async def test_a_call_that_was_purged_is_not_read_again_by_its_id(vendor: Vendor, store: SQLiteStore) -> None:
    account = vendor.account()
    await one_pass(store, account)
    store.bury("acme", [Tombstone.of_call("acme", "log00003")])
    store.erase("acme", ["log00003"])
    async with running(syncing(store, account)) as sync:
        with pytest.raises(CallNotFound, match="erased here"):
            await sync.fetch("acme", "log00003")
        await sync.finish("acme")
    assert "log00003" not in kept(store)


async def test_an_account_that_rests_for_one_process_rests_for_its_twin(
    vendor: Vendor, path: Path, store: SQLiteStore
) -> None:
    vendor.fails = lambda path, _query: 503 if path == LIST else None
    account = vendor.account()
    async with running(syncing(store, account, max_age=0.0)) as sync:
        for _ in range(FAILURES_BEFORE_REST):
            await sync.freshen(["acme"])
            await until(lambda: sync.health("acme").state == "down")
        asked = count_pages(vendor)
        with closing(SQLiteStore(path)) as theirs:
            async with running(syncing(theirs, account, max_age=0.0)) as twin:
                assert twin.health("acme").state == "down"
                assert twin.health("acme").problem == sync.health("acme").problem
                await twin.freshen(["acme"])
                assert count_pages(vendor) == asked
                vendor.fails = lambda _path, _query: None
                assert (await twin.finish("acme")).state == "ok", "who asks for a pass gets one"
                await until(lambda: store.accounts(["acme"])[0].rests_until is None)


async def test_a_clock_that_is_wrong_rests_no_account_for_long(
    vendor: Vendor, store: SQLiteStore, clock: Clock
) -> None:
    account = vendor.account()
    await one_pass(store, account)
    store.note("acme", "down", "It is down.", "Wait.", rests_until=NOW + timedelta(days=1))
    async with running(syncing(store, account, max_age=0.0)) as sync:
        await sync.freshen(["acme"])
        assert sync.health("acme").state == "down"
        clock.ahead = passes.LONGEST_REST + 5
        store.note("acme", "ok")
        await sync.freshen(["acme"])
        assert sync.health("acme").state == "ok"


async def test_an_answer_is_as_of_no_moment_while_nothing_has_been_read(vendor: Vendor, store: SQLiteStore) -> None:
    vendor.hangs = True
    async with running(syncing(store, vendor.account(), wait=0.3)) as sync:
        await sync.freshen(["acme"])
        assert sync.health("acme").state == "syncing"
        assert sync.health("acme").last_synced_at is None
        vendor.hangs = False


async def test_a_record_that_cannot_be_read_is_told_by_health_until_it_can(store: SQLiteStore) -> None:
    with Vendor(logs(*range(60))).serving(ignore_dates=True) as vendor:
        vendor.rows[0] = log(0, createdAt="no time at all")
        async with running(syncing(store, vendor.account())) as sync:
            assert (await sync.finish("acme")).unreadable == 1
            vendor.rows[0] = log(0)
            assert (await sync.finish("acme")).unreadable == 0
