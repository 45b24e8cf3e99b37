"""What every store keeps and finds. One suite for all implementations, against a naive reference in plain Python."""

import sqlite3
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import combinations
from pathlib import Path
from random import Random
from statistics import median
from typing import Any, cast
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from call_logs.errors import StoreError
from call_logs.model import Action, ActionKind, Call, Direction, Speaker, Status, Turn, customer_number
from call_logs.store import (
    NO_NUMBER,
    RANKED,
    Audited,
    Compared,
    Filter,
    Hit,
    Marks,
    SearchPage,
    Store,
    Tombstone,
    Unreadable,
    sort_key,
    words,
)
from call_logs.store._sqlite_connections import BUSY_SECONDS, Connections
from call_logs.store.query import parse
from call_logs.store.ranking import Counted
from call_logs.store.sqlite import SQLiteStore
from call_logs.store.words import fold
from postgresql import postgres

Open = Callable[[], Store]

NOW = datetime(2026, 9, 30, 12, 0, tzinfo=UTC)
MADRID = "Europe/Madrid"


def sqlite(folder: Path) -> Open:
    """Opens the same store each time."""
    return lambda: SQLiteStore(folder / "calls.db")


def newest_sqlite(folder: Path) -> Open:
    """The same on the newest SQLite, whatever this Python brings."""
    pytest.importorskip("apsw", reason="the newest SQLite comes with apsw")
    import newest_sqlite as newest  # noqa: PLC0415 - needs apsw

    class Newest(Connections):
        def opened(self) -> sqlite3.Connection:
            return cast("sqlite3.Connection", newest.connect(self.path, BUSY_SECONDS))

    return lambda: SQLiteStore(folder / "calls.db", Newest)


STORES: list[Callable[[Path], Open]] = [sqlite, newest_sqlite, postgres]
"""Every implementation: from a fresh folder to what opens one and the same empty store. Add yours here."""


SLOWER = (newest_sqlite, postgres)
"""Those that are run with the slow suites: one is like the first, one needs a server."""


@pytest.fixture(
    params=[pytest.param(make, marks=pytest.mark.slow if make in SLOWER else ()) for make in STORES],
    ids=lambda make: make.__name__,
)
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Open]:
    """Opens a store, again and again the same one; all are closed at the end."""
    reopen: Open = request.param(tmp_path)
    with ExitStack() as at_end:

        def open_one() -> Store:
            store = reopen()
            at_end.callback(store.close)
            return store

        yield open_one


@pytest.fixture
def store(opened: Open) -> Store:
    """An empty store in which the account acme is open."""
    one = opened()
    one.open_account("acme", "highlevel")
    return one


def made(number: int | str = 1, *said: str, **given: Any) -> Call:
    """A call of acme. `said`: turns, by the customer first and then in turns with the agent; "agent: …" says who."""
    turns: list[Turn] = []
    for n, text in enumerate(said, 1):
        who, _, rest = text.partition(": ")
        speaker = Speaker(who) if who in list(Speaker) else (Speaker.CUSTOMER, Speaker.AGENT)[(n - 1) % 2]
        turns.append(Turn(n=n, speaker=speaker, text=rest if who in list(Speaker) else text, offset_seconds=4.0 * n))
    age = number if isinstance(number, int) else 0
    defaults: dict[str, Any] = {
        "account": "acme",
        "provider": "highlevel",
        "vendor_call_id": f"call-{number}",
        "started_at": NOW - timedelta(minutes=age),
        "turns": tuple(turns),
    }
    return Call(**(defaults | given))


ALL = Filter(("acme",))


def ids(store: Store, which: Filter = ALL, **given: Any) -> list[str]:
    return [row.vendor_call_id for row in store.list_calls(which, limit=1000, **given).rows]


def search(store: Store, query: str, which: Filter = ALL, **given: Any) -> SearchPage:
    return store.search(parse(query), which, **given)


def found(store: Store, query: str, which: Filter = ALL, **given: Any) -> set[str]:
    return {hit.row.vendor_call_id for hit in search(store, query, which, limit=1000, **given).hits}


# Keeping


def test_a_call_comes_back_as_it_was_saved(store: Store) -> None:
    call = made(
        7,
        "I want a refund",
        "agent: Ọ̀rẹ́, 退款, मुझे 🎉",
        direction=Direction.OUTBOUND,
        status=Status.IN_PROGRESS,
        vendor_status="answered",
        end_reason="hangup",
        sip_status_code=200,
        from_number="+15550100001",
        to_number="+15550100002",
        answered_at=NOW,
        ringing_at=NOW,
        ended_at=NOW + timedelta(seconds=61.5),
        duration_seconds=61.5,
        agent_id="agent-1",
        agent_name="Zoë",
        has_recording=True,
        summary="A refund.",
        cost=0.125,
        currency="USD",
        extracted={"age": 41, "vip": True, "name": "Ada", "rate": 1.5},
        actions=(
            Action(
                kind=ActionKind.MESSAGE, vendor_kind="SMS", name="Text", executed_at=NOW, turn=2, details={"text": "hi"}
            ),
        ),
    )
    saved = store.save_page("acme", [call])
    assert (saved.new, saved.changed, saved.same, saved.ids) == (1, 0, 0, ["acme/call-7"])
    assert store.call(["acme"], "acme/call-7") == call


def test_an_account_must_be_open_before_it_keeps_calls(store: Store) -> None:
    with pytest.raises(StoreError, match="initech"):
        store.save_page("initech", [made()])


def test_an_account_name_belongs_to_one_provider(store: Store) -> None:
    store.open_account("acme", "highlevel")
    with pytest.raises(StoreError, match="acme already holds calls of highlevel"):
        store.open_account("acme", "vyom")


def test_an_account_name_belongs_to_one_tenant(store: Store) -> None:
    """Else one customer's calls would answer for another's after a change of the location."""
    store.open_account("acme", "highlevel", "location-1")
    store.open_account("acme", "highlevel", "location-1")
    with pytest.raises(StoreError, match="another highlevel location or project"):
        store.open_account("acme", "highlevel", "location-2")
    store.open_account("acme", "highlevel")


def test_another_scope_has_the_whole_history_read_again(store: Store) -> None:
    store.open_account("initech", "vyom", "", "assistant-1")
    store.save_page("initech", [], Marks(high=NOW, low=NOW - timedelta(days=90)))
    store.open_account("initech", "vyom", "", "assistant-1")
    assert store.marks("initech").low is not None
    store.open_account("initech", "vyom", "", "assistant-1,assistant-2")
    assert store.marks("initech") == Marks()


def test_the_same_page_twice_is_the_same_and_nothing_is_written(store: Store, tmp_path: Path) -> None:
    page = [made(n, "one two", "three", status=Status.COMPLETED) for n in range(30)]
    assert store.save_page("acme", page).new == 30
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir() if not path.name.endswith("-shm")}
    again = store.save_page("acme", list(reversed(page)))
    assert (again.new, again.changed, again.same) == (0, 0, 30)
    assert len(ids(store)) == 30
    assert before == {path.name: path.read_bytes() for path in tmp_path.iterdir() if not path.name.endswith("-shm")}


def test_what_is_not_settled_is_told_with_when_it_was_last_read(store: Store) -> None:
    """Settled: over, and told where the vendor tells at all."""
    silent = made(2, status=Status.NO_ANSWER)
    store.save_page("acme", [made(1, "words", status=Status.COMPLETED), silent, made(3, "words")])
    since = NOW - timedelta(hours=1)
    assert store.settled("acme", ["call-1", "call-2", "call-3", "call-9"], told=True) == {"call-1"}
    assert store.settled("acme", ["call-1", "call-2", "call-3", "call-9"], told=False) == {"call-1", "call-2"}
    assert {one.started_at for one in store.unsettled("acme", since, told=True)} == {
        silent.started_at,
        NOW - timedelta(minutes=3),
    }
    assert [one.started_at for one in store.unsettled("acme", since, told=False)] == [NOW - timedelta(minutes=3)]
    assert store.unsettled("acme", NOW, told=True) == []
    [before] = store.unsettled("acme", since, told=False)
    store.save_page("acme", [made(3, "words")])
    [after] = store.unsettled("acme", since, told=False)
    assert after.read_at >= before.read_at


def test_one_call_twice_on_a_page_is_one_call(store: Store) -> None:
    saved = store.save_page("acme", [made(1), made(1, "now with words")])
    assert saved.new + saved.changed == 2
    assert ids(store) == ["call-1"]


def test_a_richer_read_replaces_and_a_poorer_one_does_not(store: Store) -> None:
    store.save_page("acme", [made(1, summary=None)])
    assert store.save_page("acme", [made(1, "I want a refund", summary="A refund.")]).changed == 1
    assert found(store, "refund") == {"call-1"}
    poorer = made(1, status=Status.COMPLETED, duration_seconds=9.0)
    assert store.save_page("acme", [poorer]).changed == 1
    kept = store.call(["acme"], "acme/call-1")
    assert kept is not None
    assert (kept.turns[0].text, kept.turns[0].offset_seconds, kept.summary) == ("I want a refund", 4.0, "A refund.")
    assert (kept.status, kept.duration_seconds) == (Status.COMPLETED, 9.0)
    assert found(store, "refund", replace(ALL, status=Status.COMPLETED)) == {"call-1"}
    untimed = made(1, turns=(Turn(n=1, speaker=Speaker.UNKNOWN, text="I want a refund"),), summary="A refund.")
    store.save_page("acme", [untimed])
    again = store.call(["acme"], "acme/call-1")
    assert again is not None
    assert again.turns == kept.turns


def test_what_was_said_before_a_correction_is_found_no_more(store: Store) -> None:
    store.save_page("acme", [made(1, "a refound please")])
    store.save_page("acme", [made(1, "a refund please")])
    assert found(store, "refound") == set()
    assert found(store, "refund") == {"call-1"}


def test_a_corrected_start_time_moves_the_call(store: Store) -> None:
    store.save_page("acme", [made(1, "refund"), made(2), made(3)])
    assert ids(store) == ["call-1", "call-2", "call-3"]
    assert store.save_page("acme", [made(1, "refund", started_at=NOW - timedelta(days=3))]).changed == 1
    assert ids(store) == ["call-2", "call-3", "call-1"]
    recent = replace(ALL, since=NOW - timedelta(days=1))
    assert ids(store, recent) == ["call-2", "call-3"]
    assert found(store, "refund", recent) == set()
    assert found(store, "refund") == {"call-1"}


def test_an_exception_within_a_page_leaves_neither_calls_nor_marks(store: Store) -> None:
    marks = Marks(NOW, NOW - timedelta(days=1), "[2]")
    store.save_page("acme", [made(1)], marks)
    # The oldest is written first, so this one fails when the other is already written.
    broken = made(2).model_copy(update={"started_at": "never"})
    fine = made(3, started_at=NOW - timedelta(days=9))

    class Page(list[Call]):
        def __iter__(self) -> Iterator[Call]:
            yield fine
            raise RuntimeError("torn")

    with pytest.raises(RuntimeError, match="torn"):
        store.save_page("acme", Page([fine]), Marks())
    with pytest.raises(Exception):  # noqa: B017, PT011 - whatever a broken call raises
        store.save_page("acme", [fine, made(4), broken], Marks())
    unwritable = made(5).model_copy(update={"summary": "\ud800"})
    with pytest.raises(Exception):  # noqa: B017, PT011 - whatever text that cannot be encoded raises
        store.save_page("acme", [fine, unwritable], Marks())
    assert ids(store) == ["call-1"]
    assert store.marks("acme") == marks
    assert store.save_page("acme", [fine]).new == 1


def test_marks_come_back_as_they_were_set(store: Store) -> None:
    assert store.marks("acme") == store.marks("nobody") == Marks()
    for marks in (
        Marks(NOW, NOW - timedelta(days=90), "[3, 1, 2]"),
        Marks(None, NOW - timedelta(milliseconds=1), None),
        Marks(NOW.replace(microsecond=123_000), None, "x"),
        Marks(),
    ):
        store.save_page("acme", [], marks)
        assert store.marks("acme") == marks
        assert store.accounts(["acme"])[0].marks == marks
        store.save_page("acme", [made()])
        assert store.marks("acme") == marks


def test_a_low_mark_never_promises_more_than_was_read(store: Store) -> None:
    low = NOW + timedelta(microseconds=1400)
    store.save_page("acme", [], Marks(NOW, low))
    kept = store.marks("acme").low
    assert kept is not None
    assert low <= kept < low + timedelta(milliseconds=1)


def test_more_calls_in_one_second_than_there_are_places_are_all_kept(store: Store) -> None:
    same = [made(f"{n}", "refund", started_at=NOW + timedelta(microseconds=n)) for n in range(600)]
    for begin in range(0, 600, 50):
        store.save_page("acme", same[begin : begin + 50])
    store.save_page("acme", [made("next", "refund", started_at=NOW + timedelta(seconds=1))])
    assert len(ids(store)) == len(set(ids(store))) == 601
    assert search(store, "refund").total_calls == 601
    assert store.save_page("acme", same).same == 600
    assert store.save_page("acme", [call.model_copy(update={"summary": "new"}) for call in same]).changed == 600
    assert len(ids(store)) == 601


def test_unreadable_records_are_counted_until_they_can_be_read(store: Store) -> None:
    bad = [Unreadable("call-1", ("createdAt",)), Unreadable("call-2", ("id",)), Unreadable(None, ("id",))]
    store.save_page("acme", [], None, bad)
    store.save_page("acme", [], None, bad[:1])
    assert store.accounts(["acme"])[0].unreadable == 3
    store.save_page("acme", [made(1)])
    assert store.accounts(["acme"])[0].unreadable == 2


def test_records_that_were_not_met_for_long_are_forgotten_but_for_those_of_held_calls(store: Store) -> None:
    """`Store.forget_unreadable`: what is listed again is met again; a held call's words only the note asks for."""
    store.open_account("initech", "vyom")
    bare, old, gone, again, nameless = (
        Unreadable(name, ("said",)) for name in ("call-1", "call-900", "gone", "again", None)
    )
    store.save_page("acme", [made(1), made(900)], None, [bare, old, gone, again, nameless], now=NOW)
    store.save_page("initech", [], None, [gone], now=NOW)
    second = timedelta(seconds=1)
    assert store.forget_unreadable("acme", NOW) == 0
    store.save_page("acme", [], None, [again], now=NOW + second)
    assert store.forget_unreadable("acme", NOW + second) == 2
    assert set(store.unreadable("acme")) == {bare, old, again}
    assert store.unreadable("initech") == [gone]
    assert set(store.unreadable("acme", NOW - timedelta(minutes=900))) == {bare, old, again}
    assert set(store.unreadable("acme", NOW - timedelta(minutes=899))) == {bare, again}
    store.erase("acme", ["call-1", "call-900"])
    assert store.unreadable("acme") == [again]
    assert store.forget_unreadable("acme", NOW + 2 * second) == 1
    store.save_page("acme", [], None, [gone])
    met = [store.forget_unreadable("acme", datetime.now(UTC) + ago) for ago in (-60 * second, 60 * second)]
    assert met == [0, 1], "just now, where it is not told when"


def test_how_a_pass_ended_is_kept_and_only_ok_sets_the_time(store: Store) -> None:
    assert store.accounts(["acme"])[0].state == ""
    store.note("acme", "down", "It is down.", "Wait.")
    row = store.accounts(["acme"])[0]
    assert (row.state, row.problem, row.next_step, row.last_synced_at) == ("down", "It is down.", "Wait.", None)
    before = datetime.now(UTC) - timedelta(seconds=1)
    store.note("acme", "ok")
    row = store.accounts(["acme"])[0]
    assert (row.state, row.problem, row.next_step) == ("ok", None, None)
    assert row.last_synced_at is not None
    assert before < row.last_synced_at
    store.note("acme", "down", "It is down.", "Wait.")
    assert store.accounts(["acme"])[0].last_synced_at == row.last_synced_at


def test_accounts_say_what_is_held_in_the_order_asked(store: Store) -> None:
    store.open_account("initech", "vyom")
    store.save_page("acme", [made(1, "hi"), made(2), made(3, "hello")])
    rows = store.accounts(["initech", "nobody", "acme"])
    assert [(row.name, row.provider, row.calls, row.with_transcript) for row in rows] == [
        ("initech", "vyom", 0, 0),
        ("acme", "highlevel", 3, 2),
    ]
    assert (rows[0].oldest, rows[0].newest) == (None, None)
    assert (rows[1].oldest, rows[1].newest) == (NOW - timedelta(minutes=3), NOW - timedelta(minutes=1))


def test_agents_come_busiest_first_and_only_of_the_asked_accounts(store: Store) -> None:
    store.open_account("initech", "vyom")
    store.save_page(
        "acme", [made(n, agent_id="a" if n % 3 else "b", agent_name=None if n == 1 else "Ana") for n in range(6)]
    )
    store.save_page("initech", [made(1, account="initech", agent_id="a", agent_name="Other")])
    assert [(row.account, row.agent_id, row.name, row.calls) for row in store.agents(["acme"])] == [
        ("acme", "a", "Ana", 4),
        ("acme", "b", "Ana", 2),
    ]
    assert store.agents([]) == []


def test_an_agents_name_that_was_not_known_when_a_call_was_read_is_told_once_it_is(store: Store) -> None:
    nameless = made(1, "Hello", agent_id="a")
    other = made(4, "Hello", agent_id="c", agent_name="Cleo")
    store.save_page("acme", [nameless, made(2, agent_id="b", agent_name="Bea"), other])
    before = store.after("acme", 0, 10), store.fingerprint("acme")
    assert store.call(["acme"], "acme/call-1") == nameless
    for n, name in ((5, "Anna"), (6, None), (7, "Ana")):
        store.save_page("acme", [made(n, agent_id="a", agent_name=name)])
    store.save_page("acme", [made(8, agent_id="c", agent_name="Cleopatra")])
    call, excerpt = store.call(["acme"], "acme/call-1"), store.excerpt(["acme"], "acme/call-1")
    assert call == (excerpt.call if excerpt else None) == nameless.model_copy(update={"agent_name": "Ana"})
    assert store.call(["acme"], "acme/call-4") == other, "the name that it was read with stays"
    store.erase("acme", ["call-5", "call-6", "call-7", "call-8"])
    assert (store.after("acme", 0, 10), store.fingerprint("acme")) == before, "what is kept is what was read"


def test_unreadable_records_are_told_as_they_were_given(store: Store) -> None:
    bad = [Unreadable("call-1", ("createdAt", "turns")), Unreadable(None, ("id",)), Unreadable("call-2", ())]
    store.save_page("acme", [], None, bad)
    assert sorted(store.unreadable("acme"), key=repr) == sorted(bad, key=repr)
    store.save_page("acme", [], None, [Unreadable("call-1", ("endedAt",))])
    assert Unreadable("call-1", ("endedAt",)) in store.unreadable("acme")
    store.save_page("acme", [made(1)])
    assert {record.vendor_call_id for record in store.unreadable("acme")} == {None, "call-2"}
    store.open_account("initech", "vyom")
    assert store.unreadable("initech") == store.unreadable("nobody") == []


def test_a_note_is_kept_until_it_is_forgotten(opened: Open) -> None:
    store, other = opened(), opened()
    assert store.remembered("a note") is None
    store.remember("a note", "one")
    store.remember("a note", "two 退款")
    store.remember("another", "")
    assert (other.remembered("a note"), other.remembered("another")) == ("two 退款", "")
    other.remember("a note", None)
    other.remember("a note", None)
    assert (store.remembered("a note"), store.remembered("another")) == (None, "")


def test_all_calls_of_an_account_can_be_gone_through_whole_and_in_order(store: Store) -> None:
    store.open_account("initech", "vyom")
    calls = [made(n, "one", "two") for n in range(7)] + [made("tie", "x", started_at=NOW - timedelta(minutes=3))]
    store.save_page("acme", calls)
    store.save_page("initech", [made(1, "else", account="initech", provider="vyom")])
    read: list[Call] = []
    key = 0
    while page := store.after("acme", key, 3):
        assert len(page) <= 3
        assert [key for key, _ in page] == sorted(key for key, _ in page)
        read += [call for _, call in page]
        key = page[-1][0]
    assert sorted(read, key=lambda call: call.id) == sorted(calls, key=lambda call: call.id)
    assert [call.started_at for call in read] == sorted(call.started_at for call in calls)
    assert store.after("nobody", 0, 3) == []


def test_a_fingerprint_is_of_the_calls_and_of_nothing_else(opened: Open) -> None:
    store = opened()
    store.open_account("initech", "vyom")
    assert store.fingerprint("initech") == store.fingerprint("nobody") == (0, "0" * 32)
    store.open_account("acme", "highlevel")
    calls = [
        made(n, "a refund", "agent: sure", duration_seconds=n / 2, agent_id="a", extracted={"b": n, "a": True})
        for n in range(5)
    ] + [made("empty")]
    store.save_page("acme", [calls[0].model_copy(update={"started_at": NOW + timedelta(days=1)})])
    for call in reversed(calls):
        store.save_page("acme", [call])
    assert store.fingerprint("acme") == (6, "26454c18eafff4114ed536856d89da85")
    seen = {store.fingerprint("acme")}
    for change in (
        made(1, "a refund", "agent: sure!", agent_id="a", duration_seconds=0.5, extracted={"b": 1, "a": True}),
        made(1, "a refund", "agent: sure!", agent_id="a", duration_seconds=0.75, extracted={"b": 1, "a": True}),
        made("new"),
    ):
        store.save_page("acme", [change])
        assert store.fingerprint("acme") not in seen
        seen.add(store.fingerprint("acme"))


def test_one_store_leads_at_a_time_and_the_next_one_as_soon_as_it_is_gone(opened: Open) -> None:
    first, second = opened(), opened()
    first.open_account("acme", "highlevel")
    assert first.lead("acme")
    assert first.lead("acme")
    assert not second.lead("acme")
    assert not second.lead("acme")
    second.save_page("acme", [made(1)])
    first.close()
    assert second.lead("acme")
    assert not opened().lead("acme")


def test_who_resigns_lets_another_process_lead(opened: Open) -> None:
    first, second = opened(), opened()
    for store in (first, second):
        store.open_account("acme", "highlevel")
        store.open_account("initech", "highlevel")
    assert first.lead("acme")
    assert first.lead("initech")
    first.resign("acme")
    assert second.lead("acme"), "each account has a lock of its own"
    assert not second.lead("initech")
    first.resign("initech")
    first.resign("initech")
    assert second.lead("initech")
    assert not first.lead("acme")


def test_a_watch_tells_whose_calls_another_process_changed(opened: Open) -> None:
    ours, others = opened(), opened()
    for name in ("acme", "bravo"):
        ours.open_account(name, "highlevel")
    with closing(ours.watch()) as watch:
        assert watch.wait(0.01) == frozenset()
        others.save_page("acme", [made(1, "hello")])
        assert watch.wait(5) == {"acme"}
        assert watch.wait(0.01) == frozenset()
        ours.save_page("bravo", [made(2, "hello", account="bravo")])
        assert watch.wait(5) == {"bravo"}
        others.erase("acme", ["call-1"])
        assert watch.wait(5) == {"acme"}


def test_a_watch_tells_of_no_write_that_changes_no_call(opened: Open) -> None:
    ours, others = opened(), opened()
    ours.open_account("acme", "highlevel")
    others.save_page("acme", [made(1, "hello")])
    with closing(ours.watch()) as watch:
        others.save_page("acme", [made(1, "hello")], Marks(NOW, NOW - timedelta(days=1)))
        others.note("acme", "ok")
        others.remember("a note", "of ours")
        others.erase("acme", ["nobody"])
        assert watch.wait(0.3) == frozenset()


def test_a_watch_knows_an_account_that_came_after_it(opened: Open) -> None:
    ours, others = opened(), opened()
    with closing(ours.watch()) as watch:
        others.open_account("late", "highlevel")
        others.save_page("late", [made(1, "hello", account="late")])
        assert watch.wait(5) == {"late"}


def test_an_index_of_this_version_needs_no_building(store: Store) -> None:
    store.save_page("acme", [made(1, "refund")])
    assert store.index_progress() is None
    store.build_index(lambda: True)
    assert store.index_progress() is None
    assert found(store, "refund") == {"call-1"}


# Long calls

PARTS = 1300
"""Turns: enough for several parts."""


def long_call(**given: Any) -> Call:
    """Every hundredth turn says a word of its own; the speakers come in an odd order."""
    speakers = (Speaker.CUSTOMER, Speaker.AGENT, Speaker.AGENT, Speaker.SYSTEM, Speaker.CUSTOMER, Speaker.UNKNOWN)
    turns = tuple(
        Turn(
            n=n,
            speaker=speakers[n % 6],
            text=f"said {f'place{spelled(n)}' if n % 100 == 12 or n in (1, PARTS) else 'nothing'}",
            offset_seconds=float(n),
        )
        for n in range(1, PARTS + 1)
    )
    return made(1, **({"turns": turns} | given))


def spelled(number: int) -> str:
    return "".join("abcdefghij"[int(digit)] for digit in str(number))


def test_an_excerpt_has_the_turns_asked_for_and_everything_else_of_the_call(store: Store) -> None:
    call = long_call(summary="Long.", actions=(Action(kind=ActionKind.END, vendor_kind="x", name="x"),))
    store.save_page("acme", [call, made(2)])
    assert store.call(["acme"], call.id) == call
    bounds = [1, 2, 511, 512, 513, 514, 1024, 1025, PARTS - 1, PARTS]
    for first, last in [*combinations(bounds, 2), *((bound, bound) for bound in bounds)]:
        excerpt = store.excerpt(["acme"], call.id, first, last)
        assert excerpt is not None
        assert (excerpt.total_turns, excerpt.call.turns) == (PARTS, call.turns[first - 1 : last])
        assert excerpt.call.model_copy(update={"turns": call.turns}) == call
    for first, last, turns in (
        (1, None, call.turns),
        (PARTS, None, call.turns[-1:]),
        (PARTS + 1, None, ()),
        (PARTS - 1, PARTS + 600, call.turns[-2:]),
        (PARTS + 600, PARTS + 700, ()),
        (20, 10, ()),
    ):
        excerpt = store.excerpt(["acme"], call.id, first, last)
        assert excerpt is not None
        assert (excerpt.call.turns, excerpt.total_turns) == (turns, PARTS)
    silent = store.excerpt(["acme"], "acme/call-2", 1, 10)
    assert silent is not None
    assert (silent.call, silent.total_turns) == (made(2), 0)
    assert store.excerpt(["initech"], call.id) is None
    assert store.excerpt(["acme"], "acme/call-9") is None


@pytest.mark.parametrize("sort", ["relevance", "newest"])
def test_a_hit_in_a_long_call_is_the_turn_and_its_neighbours(store: Store, sort: str) -> None:
    call = long_call()
    store.save_page("acme", [call])
    for turn in call.turns:
        if "place" not in turn.text:
            continue
        for speaker in (None, turn.speaker):
            (hit,) = search(store, turn.text.split()[1], sort=sort, speaker=speaker).hits
            assert hit.turn == turn
            assert hit.before == (call.turns[turn.n - 2] if turn.n > 1 else None)
            assert hit.after == (call.turns[turn.n] if turn.n < PARTS else None)
    (hit,) = search(store, "nothing", sort=sort).hits
    assert hit.turn.n == 2, "the first of equally good turns, whoever says it"


def test_a_long_call_that_changes_is_kept_as_it_is_now(store: Store) -> None:
    call = long_call()
    store.save_page("acme", [call])
    assert store.save_page("acme", [call]).same == 1
    longer = call.model_copy(
        update={"turns": (*call.turns, Turn(n=PARTS + 1, speaker=Speaker.AGENT, text="goodbye", offset_seconds=9e3))}
    )
    assert store.save_page("acme", [longer]).changed == 1
    assert store.call(["acme"], call.id) == longer
    assert [hit.turn.n for hit in search(store, "goodbye").hits] == [PARTS + 1]
    moved = longer.model_copy(update={"started_at": NOW - timedelta(days=2), "status": Status.COMPLETED, "turns": ()})
    assert store.save_page("acme", [moved]).changed == 1
    kept = longer.model_copy(update={"started_at": NOW - timedelta(days=2), "status": Status.COMPLETED})
    assert store.call(["acme"], call.id) == kept
    assert [hit.turn.n for hit in search(store, "goodbye").hits] == [PARTS + 1]
    shorter = kept.model_copy(update={"turns": call.turns[:3]})
    assert store.save_page("acme", [shorter]).changed == 1
    assert store.call(["acme"], call.id) == shorter
    assert search(store, "goodbye").total_calls == 0


def test_a_closed_store_says_so(opened: Open) -> None:
    store = opened()
    store.close()
    store.close()
    with pytest.raises(StoreError, match="closed"):
        store.list_calls(ALL)


# Isolation


def test_another_accounts_call_is_nobodys(store: Store) -> None:
    store.open_account("initech", "vyom")
    store.save_page("initech", [made(1, "secret refund", account="initech", provider="vyom", parent_id="call-9")])
    store.save_page("acme", [made(9, "refund")])
    assert store.call(["acme"], "initech/call-1") is None
    assert store.call(["initech"], "acme/call-1") is None
    assert store.call([], "initech/call-1") is None
    assert store.call(["initech"], "initech/call-1") is not None
    assert found(store, "refund") == {"call-9"}
    assert store.legs(made(9)) == []
    assert ids(store, Filter(("initech",))) == ["call-1"]


@pytest.mark.parametrize(
    "call_id", ["", "acme", "acme/", "/call-1", "acme/call-1/", "acme/\ud800", "acme/\x00", "%/%", "acme/call-1'"]
)
def test_an_odd_call_id_is_no_call(store: Store, call_id: str) -> None:
    store.save_page("acme", [made(1)])
    assert store.call(["acme"], call_id) is None


def test_who_may_see_no_account_sees_nothing(store: Store) -> None:
    call = made(
        1, "refund", from_number="+15550100001", actions=(Action(kind=ActionKind.END, vendor_kind="x", name="x"),)
    )
    store.save_page("acme", [call])
    nobody = Filter(())
    assert store.list_calls(nobody).total == 0
    assert search(store, "refund", nobody).total_calls == 0
    assert store.count(nobody, ["status"], "UTC") == (0, [])
    assert store.count_actions(nobody, "kind", "UTC") == (0, [])
    assert store.silent(nobody, NOW) == []
    assert store.earlier([], made(0, from_number="+15550100001"), 5) == (0, [])
    assert store.accounts([]) == []


# Lists


def paged(store: Store, sort: str, size: int, between: Callable[[int], None] = lambda _page: None) -> list[str]:
    """All ids, page by page; `between` runs after each page."""
    after: tuple[float, int] | None = None
    read: list[str] = []
    for page in range(1000):
        got = store.list_calls(ALL, sort=sort, limit=size, after=after)
        assert len(got.rows) <= size
        read += [row.vendor_call_id for row in got.rows]
        if not got.more:
            return read
        after = sort_key(got.rows[-1], sort)
        between(page)
    raise AssertionError("the pages never end")


@pytest.mark.parametrize("sort", ["newest", "oldest", "longest"])
def test_pages_cover_every_call_exactly_once_while_others_arrive(store: Store, sort: str) -> None:
    random = Random(3)
    calls = [made(n, duration_seconds=random.choice([None, 0.0, 1.5, 7.0, 7.0, 90.25])) for n in range(97)]
    calls += [made(f"tie-{n}", started_at=NOW - timedelta(minutes=5), duration_seconds=7.0) for n in range(11)]
    store.save_page("acme", calls)

    def arrive(page: int) -> None:
        late = [
            made(f"late-{page}-{n}", started_at=NOW - timedelta(minutes=n), duration_seconds=n / 4)
            for n in range(0, 90, 9)
        ]
        store.save_page("acme", late)

    read = paged(store, sort, 10, arrive)
    old = [name for name in read if not name.startswith("call-late")]
    assert Counter(old) == Counter(call.vendor_call_id for call in calls)
    assert len(set(read)) == len(read)


def test_each_order_is_what_it_says(store: Store) -> None:
    lengths = [5.0, None, 60.0, 0.0, 5.0]
    store.save_page("acme", [made(n, duration_seconds=length) for n, length in enumerate(lengths)])
    assert ids(store) == [f"call-{n}" for n in (0, 1, 2, 3, 4)]
    assert ids(store, sort="oldest") == [f"call-{n}" for n in (4, 3, 2, 1, 0)]
    assert ids(store, sort="longest") == [f"call-{n}" for n in (2, 0, 4, 1, 3)]


def test_a_row_shows_the_call(store: Store) -> None:
    kinds = (ActionKind.MESSAGE, ActionKind.END, ActionKind.MESSAGE)
    call = made(
        1,
        "hello",
        started_at=NOW.replace(microsecond=250_000),
        duration_seconds=3.5,
        agent_id="a",
        from_number="+15550100001",
        direction=Direction.INBOUND,
        actions=tuple(Action(kind=kind, vendor_kind="x", name="x") for kind in kinds),
    )
    store.save_page("acme", [call, made(2, agent_id="b", agent_name="Bea")])
    newest, older = store.list_calls(ALL).rows
    assert newest.id == "acme/call-1"
    assert newest.started_at == call.started_at
    assert (newest.agent, newest.turns, newest.from_number, newest.to_number) == ("a", 1, "+15550100001", None)
    assert (newest.duration_seconds, newest.direction, newest.status) == (3.5, "inbound", "unknown")
    assert newest.actions == (ActionKind.MESSAGE, ActionKind.END)
    assert older.agent == "Bea"


def test_totals_count_all_and_more_tells_of_the_rest(store: Store) -> None:
    store.save_page("acme", [made(n) for n in range(5)])
    page = store.list_calls(ALL, limit=4)
    assert (len(page.rows), page.total, page.more) == (4, 5, True)
    last = store.list_calls(ALL, limit=4, after=sort_key(page.rows[-1], "newest"))
    assert (len(last.rows), last.total, last.more) == (1, 5, False)
    assert not store.list_calls(ALL, limit=5).more


def test_summaries_come_by_key_where_there_are_some(store: Store) -> None:
    store.save_page("acme", [made(1, summary="One."), made(2)])
    one, two = store.list_calls(ALL).rows
    assert store.summaries([one.key, two.key]) == {one.key: "One."}
    assert store.summaries([]) == {}


def test_since_includes_and_until_excludes_to_the_second(store: Store) -> None:
    store.save_page("acme", [made(n, "refund", started_at=NOW + timedelta(seconds=n)) for n in range(5)])
    window = Filter(("acme",), since=NOW + timedelta(seconds=1), until=NOW + timedelta(seconds=3))
    assert ids(store, window) == ["call-2", "call-1"]
    assert found(store, "refund", window) == {"call-1", "call-2"}
    there = ZoneInfo("Asia/Tokyo")
    elsewhere = replace(
        window,
        since=(NOW + timedelta(seconds=1)).astimezone(there),
        until=(NOW + timedelta(seconds=3)).astimezone(there),
    )
    assert ids(store, elsewhere) == ["call-2", "call-1"]
    assert ids(store, replace(window, until=window.since)) == []


# Filters, against a reference

WORDS = ["refund", "invoice", "chargeback", "cancel", "café", "退款", "मुझे", "straße"]
AGENTS = [
    (None, None),
    ("a1", "Zoë Billing"),
    ("a2", "Front Desk"),
    ("a3", "张伟"),
    ("a4", None),
    ("A1", "ṢÉGUN O’Brien"),
    ("a6", "100%_*"),
]
NUMBERS = [
    None,
    "+15550100001",
    "+15550100002",
    "+345550100001",
    "sip:15550100001@pbx.example.com",
    "anonymous",
    "+15550109999",
    "101",
]
ASKED_AGENTS = [
    "a1",
    "A1",
    "zoe",
    "ZOË",
    "desk",
    "张",
    "segun",
    "o'brien",
    "o’b",
    "n O’",
    "%",
    "_",
    "*",
    "a4",
    "nobody",
    "e",
    "'; --",
]
ASKED_PHONES = ["0001", "15550100001", "9999", "5550100002", "0101", "345550100001", "0000", "10101"]


def generated(seed: int, count: int, accounts: Sequence[str]) -> list[Call]:
    """Calls of all sorts."""
    random = Random(seed)
    calls: list[Call] = []
    for n in range(count):
        account = random.choice(accounts)
        agent_id, agent_name = random.choice(AGENTS)
        parent = random.choice([None, None, None, f"g-{random.randrange(count)}"])
        kinds = random.sample(list(ActionKind), random.choice([0, 0, 1, 2]))
        said = [
            random.choice(list(Speaker)) + ": " + " ".join(random.choices(WORDS, k=3))
            for _ in range(random.randrange(4))
        ]
        calls.append(
            made(
                n,
                *said,
                account=account,
                provider="highlevel" if account == "acme" else "vyom",
                vendor_call_id=f"g-{n}",
                parent_id=parent,
                started_at=NOW
                - timedelta(seconds=random.randrange(400))
                + timedelta(milliseconds=random.randrange(1000)),
                duration_seconds=random.choice([None, 0.0, 0.5, 10.0, 61.0, 61.0, 3600.0]),
                direction=random.choice(list(Direction)),
                status=random.choice(list(Status)),
                answered_at=random.choice([None, None, NOW]),
                end_reason=random.choice([None, "hangup", "transfer"]),
                agent_id=agent_id,
                agent_name=agent_name,
                from_number=random.choice(NUMBERS),
                to_number=random.choice(NUMBERS),
                is_test=random.random() < 0.15,
                actions=tuple(Action(kind=kind, vendor_kind="x", name=f"{kind} it") for kind in kinds),
            )
        )
    return calls


def digits_of(number: str | None) -> str:
    return "".join(c for c in (number or "").partition("@")[0] if c.isdecimal())


def passes(call: Call, which: Filter, held: set[str]) -> bool:
    """The naive reference: whether the filter lets the call through."""
    second = call.started_at.replace(microsecond=0)
    name = call.agent_name or ""
    return (
        call.account in which.accounts
        and (which.since is None or which.since <= second)
        and (which.until is None or second < which.until)
        and (which.direction in (None, call.direction))
        and (which.status in (None, call.status))
        and (which.min_duration_seconds is None or (call.duration_seconds is not None and call.duration_seconds >= which.min_duration_seconds))
        and (which.max_duration_seconds is None or (call.duration_seconds is not None and call.duration_seconds <= which.max_duration_seconds))
        and (which.action is None or which.action in [action.kind for action in call.actions])
        and (which.include_tests or not call.is_test)
        and (which.include_legs or call.parent_id == call.vendor_call_id or f"{call.account}/{call.parent_id}" not in held)
        and (
            which.agent is None
            or (call.agent_id is not None and call.agent_id == which.agent)
            or which.agent.casefold() in name.casefold()
            or fold(which.agent) in fold(name)
        )
        and (which.phone is None or any(digits_of(number).endswith(which.phone) for number in (call.from_number, call.to_number) if digits_of(number)))
    )  # fmt: skip


FILTERS: dict[str, list[Any]] = {
    "accounts": [("acme",), ("initech",), ("acme", "initech"), ("nobody",), ()],
    "since": [NOW - timedelta(seconds=250), NOW - timedelta(seconds=399), NOW],
    "until": [NOW - timedelta(seconds=100), NOW - timedelta(seconds=380)],
    "agent": ASKED_AGENTS,
    "phone": ASKED_PHONES,
    "direction": list(Direction),
    "status": list(Status),
    "min_duration_seconds": [0.0, 0.5, 10.5, 61.0],
    "max_duration_seconds": [0.0, 60.0, 61.0],
    "action": list(ActionKind),
    "include_tests": [True],
    "include_legs": [True],
}


@pytest.fixture
def filled(store: Store) -> tuple[Store, list[Call]]:
    """A store with 300 calls of two accounts, saved in random order on pages of 17."""
    store.open_account("initech", "vyom")
    calls = generated(11, 300, ["acme", "initech"])
    for account in ("acme", "initech"):
        own = [call for call in calls if call.account == account]
        Random(5).shuffle(own)
        for begin in range(0, len(own), 17):
            store.save_page(account, own[begin : begin + 17])
    return store, calls


def check_filter(store: Store, calls: Sequence[Call], which: Filter) -> int:
    """The list, the counts, the silent ones and the search give the calls of the reference; returns how many."""
    held = {call.id for call in calls}
    expected = {call.id: call for call in calls if passes(call, which, held)}
    page = store.list_calls(which, limit=1000)
    assert {row.id for row in page.rows} == set(expected), which
    assert page.total == len(page.rows) == len(expected)
    assert store.count(which, ["account"], "UTC")[0] == len(expected)
    assert store.count_actions(which, "kind", "UTC")[0] == len(expected)
    assert sum(silent.calls for silent in store.silent(which, NOW)) == sum(not call.turns for call in expected.values())
    saying = {call.id for call in expected.values() if any("refund" in turn.text for turn in call.turns)}
    for sort in ("relevance", "newest"):
        hits = search(store, "refund", which, sort=sort, limit=1000)
        assert {hit.row.id for hit in hits.hits} == saying, which
        assert hits.total_calls == len(hits.hits) == len(saying)
    return len(expected)


def test_every_filter_alone_gives_exactly_the_calls_it_means(filled: tuple[Store, list[Call]]) -> None:
    store, calls = filled
    both = Filter(("acme", "initech"))
    everything = check_filter(store, calls, both)
    assert 100 < everything < 300
    for name, values in FILTERS.items():
        sizes = [check_filter(store, calls, replace(both, **{name: value})) for value in values]
        assert any(size != everything for size in sizes), f"{name} never filters"
        assert any(sizes), f"{name} leaves nothing"


def test_every_two_filters_together_give_exactly_the_calls_they_mean(filled: tuple[Store, list[Call]]) -> None:
    store, calls = filled
    random = Random(8)
    for one, other in combinations(FILTERS, 2):
        chosen: dict[str, Any] = {"accounts": ("acme", "initech")}
        chosen |= {name: random.choice(FILTERS[name]) for name in (one, other)}
        check_filter(store, calls, Filter(**chosen))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(chosen=st.fixed_dictionaries({}, optional={name: st.sampled_from(values) for name, values in FILTERS.items()}))
def test_any_filters_together_give_exactly_the_calls_they_mean(
    filled: tuple[Store, list[Call]], chosen: dict[str, Any]
) -> None:
    accounts: dict[str, Any] = {"accounts": ("acme", "initech")}
    check_filter(*filled, Filter(**(accounts | chosen)))


def test_more_agents_and_accounts_than_a_statement_is_deep_are_all_asked_for(store: Store) -> None:
    names = [f"account-{n}" for n in range(400)]
    for name in names:
        store.open_account(name, "vyom")
    store.save_page("acme", [made(n, "refund", agent_id=f"agent-{n}", agent_name=f"Desk {n}") for n in range(700)])
    which = Filter((*names, "acme"), agent="desk")
    assert store.list_calls(which).total == 700
    assert search(store, "refund", which).total_calls == 700


# Legs


@pytest.mark.parametrize("parent_first", [True, False])
def test_legs_are_hidden_once_their_parent_is_there_in_either_order(store: Store, parent_first: bool) -> None:
    parent, leg = made("parent", "refund parent"), made("leg", "refund leg", parent_id="call-parent")
    store.save_page("acme", [parent if parent_first else leg])
    assert len(ids(store)) == 1
    store.save_page("acme", [leg if parent_first else parent])
    assert ids(store) == ["call-parent"]
    assert found(store, "refund") == {"call-parent"}
    assert store.count(ALL, [], "UTC")[0] == 1
    with_legs = replace(ALL, include_legs=True)
    assert set(ids(store, with_legs)) == found(store, "refund", with_legs) == {"call-parent", "call-leg"}
    assert [row.vendor_call_id for row in store.legs(parent)] == ["call-leg"]


def test_a_leg_whose_parent_is_not_there_is_a_call(store: Store) -> None:
    store.save_page("acme", [made("leg", "refund", parent_id="call-elsewhere")])
    assert ids(store) == ["call-leg"]
    assert found(store, "refund") == {"call-leg"}


def test_a_leg_stays_one_when_it_or_its_parent_changes(store: Store) -> None:
    parent, leg = made("parent", "refund"), made("leg", "refund", parent_id="call-parent")
    store.save_page("acme", [parent, leg])
    store.save_page("acme", [leg.model_copy(update={"summary": "new", "started_at": NOW + timedelta(hours=1)})])
    store.save_page("acme", [parent.model_copy(update={"summary": "new", "started_at": NOW - timedelta(hours=1)})])
    assert ids(store) == ["call-parent"]
    assert found(store, "refund") == {"call-parent"}


def test_a_call_that_names_itself_as_parent_is_a_call(store: Store) -> None:
    own = made("own", "refund", parent_id="call-own")
    store.save_page("acme", [own])
    store.save_page("acme", [own.model_copy(update={"summary": "new"})])
    assert ids(store) == ["call-own"]
    assert found(store, "refund") == {"call-own"}
    assert store.legs(own) == []


def test_legs_come_oldest_first(store: Store) -> None:
    legs = [made(n, parent_id="call-parent") for n in (1, 3, 2)]
    store.save_page("acme", [made("parent", started_at=NOW - timedelta(hours=1)), *legs])
    assert [row.vendor_call_id for row in store.legs(made("parent"))] == ["call-3", "call-2", "call-1"]


# Search


def only(page: SearchPage) -> Hit:
    (hit,) = page.hits
    return hit


def test_words_are_required_over_the_whole_call_whoever_says_them(store: Store) -> None:
    store.save_page(
        "acme",
        [
            made(1, "customer: I want a refund", "agent: it was cancelled"),
            made(2, "customer: I want a refund"),
            made(3, "agent: it was cancelled"),
            made(4, "system: refund", "unknown: cancelled"),
        ],
    )
    assert found(store, "refund cancelled") == {"call-1", "call-4"}
    assert found(store, "cancelled AND refund") == {"call-1", "call-4"}


def test_a_phrase_is_found_within_one_turn_only(store: Store) -> None:
    store.save_page(
        "acme",
        [
            made(1, "customer: a duplicate charge here"),
            made(2, "customer: it is a duplicate", "customer: charge it"),
            made(3, "customer: it is a duplicate", "agent: charge it"),
            made(4, "customer: charge duplicate"),
            made(5, "agent: duplicate", "unknown: charge", "system: duplicate", "customer: charge"),
        ],
    )
    assert found(store, '"duplicate charge"') == {"call-1"}
    assert found(store, "duplicate charge") == {f"call-{n}" for n in (1, 2, 3, 4, 5)}
    assert found(store, 'duplicate -"duplicate charge"') == {f"call-{n}" for n in (2, 3, 4, 5)}


def test_prefixes_alternatives_and_exclusions_mean_what_they_say(store: Store) -> None:
    store.save_page(
        "acme",
        [
            made(1, "a refund"),
            made(2, "two refunds"),
            made(3, "a chargeback"),
            made(4, "a prefund"),
            made(5, "refund test"),
        ],
    )
    assert found(store, '"refund"') == {"call-1", "call-5"}
    assert found(store, "refund") == found(store, "refun*") == {"call-1", "call-2", "call-5"}
    assert found(store, '"refund" OR chargeback') == {"call-1", "call-3", "call-5"}
    assert found(store, "refund -test") == {"call-1", "call-2"}
    assert found(store, "refun* OR chargeback -test -two") == {"call-1", "call-3"}
    assert found(store, 'nonsense OR "refund"') == {"call-1", "call-5"}


@pytest.mark.parametrize("sort", ["relevance", "newest"])
@pytest.mark.parametrize("speaker", list(Speaker))
def test_a_speaker_is_exact(store: Store, speaker: Speaker, sort: str) -> None:
    others = [other for other in Speaker if other is not speaker]
    store.save_page(
        "acme",
        [
            made(1, f"{speaker}: refund"),
            *(made(str(other), f"{other}: refund", f"{speaker}: hello") for other in others),
        ],
    )
    assert found(store, "refund", speaker=speaker, sort=sort) == {"call-1"}
    assert search(store, "refund", speaker=speaker, sort=sort).total_calls == 1
    assert len(found(store, "refund", sort=sort)) == 4
    assert found(store, "refund hello", speaker=speaker) == set()


@pytest.mark.parametrize("sort", ["relevance", "newest"])
def test_the_quoted_turn_was_said_by_the_asked_speaker(store: Store, sort: str) -> None:
    store.save_page("acme", [made(1, "agent: refund", "customer: well a refund then if you please", "agent: refund")])
    assert only(search(store, "refund", speaker="customer", sort=sort)).turn.n == 2
    assert only(search(store, "refund", speaker="agent", sort=sort)).turn.n == 1
    assert only(search(store, "refund", sort=sort)).turn.n == 1


@pytest.mark.parametrize("sort", ["relevance", "newest"])
def test_the_quoted_turn_is_the_one_with_the_words(store: Store, sort: str) -> None:
    store.save_page(
        "acme",
        [
            made(
                1,
                "the refund",
                "an invoice",
                "hello",
                "agent: about the duplicate invoice, I promise a refund to you",
                "bye",
            )
        ],
    )
    assert only(search(store, "refund invoice", sort=sort)).turn.n == 4
    assert only(search(store, "bye", sort=sort)).turn.n == 5
    assert only(search(store, '"duplicate invoice"', sort=sort)).turn.n == 4
    assert only(search(store, "nonsense OR hell*", sort=sort)).turn.n == 3


def test_a_call_that_says_all_words_in_one_turn_goes_first(store: Store) -> None:
    filler = "well so then maybe we could see about this and that"
    scattered = made(
        1,
        f"refund {filler}",
        f"{filler}",
        f"invoice {filler}",
        f"refund invoice {filler}".replace("refund invoice", "hm"),
    )
    together = made(2, f"{filler} {filler}", f"the refund for the invoice {filler}", f"{filler}")
    store.save_page("acme", [scattered, together, *(made(n, filler) for n in range(10, 30))])
    assert [hit.row.vendor_call_id for hit in search(store, "refund invoice").hits] == ["call-2", "call-1"]


@pytest.mark.parametrize("reranked", [0, 200])
def test_a_rare_word_counts_more_than_a_frequent_one(
    store: Store, monkeypatch: pytest.MonkeyPatch, reranked: int
) -> None:
    monkeypatch.setattr("call_logs.store.ranking.RERANKED", reranked)
    frequent = [made(n, "please hello there") for n in range(10, 60)]
    store.save_page("acme", [made(1, "please please hello there"), made(90, "chargeback hello there"), *frequent])
    assert search(store, "please OR chargeback").hits[0].row.vendor_call_id == "call-90"


def test_a_call_whose_words_changed_is_ranked_by_the_new_ones(store: Store) -> None:
    filler = "well so then maybe we could see about this and that"
    store.save_page("acme", [made(1, f"refund {filler}"), made(2, f"refund refund refund {filler}")])
    assert [hit.row.vendor_call_id for hit in search(store, "refund").hits] == ["call-2", "call-1"]
    store.save_page("acme", [made(1, f"refund refund refund refund refund {filler}")])
    assert [hit.row.vendor_call_id for hit in search(store, "refund").hits] == ["call-1", "call-2"]
    store.save_page("acme", [made(3, *["refund"] * 9)])
    assert [hit.row.vendor_call_id for hit in search(store, "refund").hits] == ["call-3", "call-1", "call-2"]
    store.save_page("acme", [made(1, f"refund {filler}")])
    assert [hit.row.vendor_call_id for hit in search(store, "refund").hits] == ["call-3", "call-2", "call-1"]


@pytest.mark.parametrize("query", ["refund", "refund OR chargeback", "refund*", '"a refund"', "refund please"])
def test_what_one_speaker_said_is_ranked_by_that_alone(store: Store, query: str) -> None:
    filler = "well so then maybe we could see about this and that please"
    store.save_page(
        "acme",
        [
            made(1, f"customer: a refund {filler}", *["agent: a refund please a refund"] * 5),
            made(2, f"customer: a refund of a refund and a refund {filler}", *["agent: please we could see"] * 5),
        ],
    )
    for _ in range(2):
        for speaker, first in ((None, "call-1"), ("customer", "call-2"), ("agent", "call-1")):
            hits = search(store, query, speaker=speaker).hits
            assert [hit.row.vendor_call_id for hit in hits][:1] == [first], (speaker, query)


def test_what_other_accounts_say_does_not_show_in_the_order(store: Store) -> None:
    def told() -> list[tuple[str, float]]:
        page = search(store, "refund OR kettle", Filter(("acme",)))
        return [(hit.row.vendor_call_id, hit.score) for hit in page.hits]

    store.save_page("acme", [made(1, "a refund"), made(2, "my kettle"), made(3, "a refund"), *map(made, range(4, 30))])
    before = told()
    store.open_account("globex", "highlevel", "", "")
    store.save_page("globex", [made(n, "my kettle", account="globex") for n in range(60)])
    assert told() == before
    everybody = [hit.row.id for hit in search(store, "refund OR kettle", Filter(("acme", "globex"))).hits]
    assert everybody[0] == "acme/call-1", "of both accounts together the kettle is what tells little"


def test_equally_good_calls_come_newest_first(store: Store) -> None:
    store.save_page("acme", [made(n, "a refund") for n in range(20)])
    assert [hit.row.vendor_call_id for hit in search(store, "refund", limit=50).hits] == [
        f"call-{n}" for n in range(20)
    ]


def test_a_call_is_one_hit_however_often_it_matches(store: Store) -> None:
    store.save_page("acme", [made(1, *["refund refund"] * 50)])
    assert search(store, "refund").total_calls == len(search(store, "refund").hits) == 1


def test_a_hit_carries_the_call_and_its_row(store: Store) -> None:
    call = made(1, "hello", "a refund")
    store.save_page("acme", [call])
    hit = only(search(store, "refund"))
    assert (hit.before, hit.turn, hit.after, hit.row.id) == (*call.turns, None, "acme/call-1")


@pytest.mark.parametrize(
    ("said", "asked"),
    [
        ("la devolución de mañana", "devolucion manana"),
        ("la devolucion", "DEVOLUCIÓN"),
        ("mo fẹ́ sanwó padà", "sanwo pada"),
        ("I don’t", "don't"),
        ("I don't", "dont"),
        ("Straße", "strasse"),
        ("我想要退款", "退款"),
        ("解約したい", "解約"),
        ("ต้องการคืนเงิน", "คืนเงิน"),
        ("मुझे पैसे वापस चाहिए", "मुझे"),
        ("it is 555-010-4477", "5550104477"),
        ("it is 5550104477", "555-010-4477"),
        ("𝐑𝐞𝐟𝐮𝐧𝐝", "refund"),
    ],
)
def test_words_of_any_script_are_found_and_quoted(store: Store, said: str, asked: str) -> None:
    store.save_page("acme", [made(1, "hello", f"agent: {said}"), made(2, "hello")])
    for sort in ("relevance", "newest"):
        hit = only(search(store, asked, sort=sort))
        assert (hit.row.vendor_call_id, hit.turn.n) == ("call-1", 2)


def test_characters_in_another_order_are_another_word(store: Store) -> None:
    store.save_page("acme", [made(1, "我想要退款")])
    assert found(store, "款退") == set()


@pytest.mark.parametrize("sort", ["relevance", "newest"])
@pytest.mark.parametrize("query", ["refund", "refund invoice", "refund OR cancel", "refu*", '"refund invoice"'])
def test_pages_cover_every_hit_exactly_once_while_calls_are_added(store: Store, sort: str, query: str) -> None:
    random = Random(2)
    calls = [
        made(n, *(" ".join(random.choices(WORDS, k=random.randrange(1, 9))) for _ in range(random.randrange(1, 5))))
        for n in range(150)
    ]
    store.save_page("acme", calls)
    expected = found(store, query, sort=sort)
    assert len(expected) > 5
    after, read = None, list[str]()
    for page in range(200):
        got = search(store, query, sort=sort, limit=3, after=after)
        read += [hit.row.vendor_call_id for hit in got.hits]
        if not got.more:
            break
        after = got.position(got.hits[-1])
        store.save_page(
            "acme",
            [
                made(f"late-{page}-{n}", "refund invoice refund invoice", started_at=NOW - timedelta(minutes=n))
                for n in (0, 70, 200)
            ],
        )
    assert Counter(read) == Counter(expected)


def test_scores_that_differ_by_less_than_a_cursor_holds_lose_no_hit(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.save_page("acme", [made(n, f"{n} refund") for n in (1, 2, 3, 4)])
    keys = [hit.row.key for hit in search(store, "refund").hits]
    apart = dict(zip(sorted(keys), (0.0, 2e-8, 1e-8, 3e-8), strict=True))

    def scored(counted: Counted, *_: object) -> list[float]:
        return [1.0 + apart[call] for call in counted.calls]

    monkeypatch.setattr("call_logs.store.ranking.bm25", scored)
    after, read = None, list[str]()
    for _ in range(4):
        got = search(store, "refund", limit=1, after=after)
        read += [hit.row.vendor_call_id for hit in got.hits]
        after = got.position(got.hits[-1])
    assert sorted(read) == ["call-1", "call-2", "call-3", "call-4"]


def test_newest_first_is_newest_first(store: Store) -> None:
    store.save_page("acme", [made(n, "refund " * (n % 4 + 1)) for n in range(9)])
    assert [hit.row.vendor_call_id for hit in search(store, "refund", sort="newest", limit=20).hits] == [
        f"call-{n}" for n in range(9)
    ]


def test_totals_are_exact_and_more_matches_than_are_ranked_are_admitted(store: Store) -> None:
    store.save_page("acme", [made(n, "refund") for n in range(RANKED)])
    page = search(store, "refund")
    assert (page.total_calls, page.ranked_all, page.more) == (RANKED, True, True)
    store.save_page("acme", [made(f"older-{n}", "refund refund", started_at=NOW - timedelta(days=9)) for n in range(5)])
    page = search(store, "refund")
    assert (page.total_calls, page.ranked_all) == (RANKED + 5, False)
    assert all(not name.startswith("call-older") for name in found(store, "refund"))
    assert search(store, "refund", sort="newest").ranked_all
    old = replace(ALL, until=NOW - timedelta(days=8))
    assert len(found(store, "refund", old)) == 5


def test_an_empty_store_finds_nothing(store: Store) -> None:
    page = search(store, "refund")
    assert (page.hits, page.total_calls, page.ranked_all, page.more) == ([], 0, True, False)


# Counts


def test_groups_count_answered_calls_and_durations(store: Store) -> None:
    lengths = [10.0, 20.0, 60.0, None]
    store.save_page(
        "acme", [made(n, duration_seconds=length, status=Status.COMPLETED) for n, length in enumerate(lengths)]
    )
    store.save_page("acme", [made(8, status=Status.NO_ANSWER), made(9, status=Status.NO_ANSWER, answered_at=NOW)])
    total, groups = store.count(ALL, ["status"], "UTC")
    assert total == 6
    assert {group.key: group[1:] for group in groups} == {
        ("completed",): (4, 4, 90.0, 20.0),
        ("no_answer",): (2, 1, 0, None),
    }
    assert store.count(ALL, [], "UTC")[1][0][1:] == (6, 5, 90.0, 20.0)


@pytest.mark.parametrize(
    ("dimension", "keys"),
    [
        ("agent", {"Ana": 2, "b": 1, "unknown": 1}),
        ("account", {"acme": 4}),
        ("provider", {"highlevel": 4}),
        ("status", {"unknown": 3, "busy": 1}),
        ("direction", {"inbound": 2, "outbound": 1, "unknown": 1}),
        ("end_reason", {"hangup": 1, "unknown": 3}),
        ("phone", {"+15550100001": 2, "+15550100002": 1, "+15550100009": 1}),
    ],
)
def test_every_dimension_groups_by_its_words(store: Store, dimension: str, keys: dict[str, int]) -> None:
    us = "+15550100009"
    store.save_page(
        "acme",
        [
            made(
                1, agent_id="a", agent_name="Ana", direction=Direction.INBOUND, from_number="+15550100001", to_number=us
            ),
            made(
                2,
                agent_id="a",
                direction=Direction.OUTBOUND,
                from_number=us,
                to_number="+15550100001",
                status=Status.BUSY,
            ),
            made(
                3,
                agent_id="b",
                direction=Direction.INBOUND,
                from_number="+15550100002",
                to_number=us,
                end_reason="hangup",
            ),
            made(4, to_number=us),
        ],
    )
    total, groups = store.count(ALL, [dimension], "UTC")
    assert total == 4
    assert {group.key[0]: group.calls for group in groups} == keys


def test_days_hours_and_weekdays_are_those_of_the_zone_over_a_clock_change(store: Store) -> None:
    # On 2026-10-25 at 03:00 Madrid's clocks go back to 02:00: the day has 25 hours, and 02:30 happens twice.
    madrid = ZoneInfo(MADRID)
    starts = [
        datetime(2026, 10, 24, 23, 59, 59, tzinfo=madrid),
        datetime(2026, 10, 25, 0, 0, 0, tzinfo=madrid),
        datetime(2026, 10, 25, 2, 30, tzinfo=madrid, fold=0),
        datetime(2026, 10, 25, 2, 30, tzinfo=madrid, fold=1),
        datetime(2026, 10, 25, 23, 59, 59, tzinfo=madrid),
        datetime(2026, 10, 26, 0, 0, 0, tzinfo=madrid),
    ]
    store.save_page("acme", [made(n, started_at=start.astimezone(UTC)) for n, start in enumerate(starts)])

    def counted(dimension: str, zone: str = MADRID) -> dict[str, int]:
        return {group.key[0]: group.calls for group in store.count(ALL, [dimension], zone)[1]}

    assert counted("day") == {"2026-10-24": 1, "2026-10-25": 4, "2026-10-26": 1}
    assert counted("weekday") == {"Saturday": 1, "Sunday": 4, "Monday": 1}
    assert counted("hour") == {"23:00": 2, "00:00": 2, "02:00": 2}
    assert counted("day", "UTC") == {"2026-10-24": 2, "2026-10-25": 4}
    assert counted("hour", "UTC") == {"21:00": 1, "22:00": 2, "00:00": 1, "01:00": 1, "23:00": 1}
    day = Filter(("acme",), since=starts[1].astimezone(UTC), until=starts[5].astimezone(UTC))
    assert store.list_calls(day).total == 4


def test_calls_without_a_number_of_the_customer_are_found_as_such(store: Store) -> None:
    number, ours = "+12065550123", "+12065550100"
    inbound, outbound = Direction.INBOUND, Direction.OUTBOUND
    told = [
        made(1, "a refund", direction=inbound, from_number=number, to_number=ours),
        made(2, "a refund", direction=inbound, from_number="anonymous", to_number=ours),
        made(3, "a refund", direction=inbound, to_number=ours),
        made(4, "a refund", direction=outbound, from_number=ours, to_number=number),
        made(5, "a refund", direction=outbound, from_number=ours),
        made(6, "a refund", from_number=number),
        made(7, "a refund", to_number=number),
        made(8, "a refund"),
        made(9, direction=inbound, from_number="Restricted"),
    ]
    store.save_page("acme", told)
    which = Filter(("acme",), phone=NO_NUMBER)
    assert {row.vendor_call_id for row in store.list_calls(which).rows} == {
        "call-2",
        "call-3",
        "call-5",
        "call-8",
        "call-9",
    }
    assert store.list_calls(which).total == store.count(which, [], "UTC")[0] == 5
    assert found(store, "refund", which) == {"call-2", "call-3", "call-5", "call-8"}
    assert [silent.calls for silent in store.silent(which, NOW)] == [1]


def test_a_row_says_how_the_call_ended_and_whether_it_is_a_test(store: Store) -> None:
    store.save_page("acme", [made(1, end_reason="busy tone", is_test=True), made(2)])
    rows = store.list_calls(Filter(("acme",), include_tests=True)).rows
    assert [(row.end_reason, row.is_test) for row in rows] == [("busy tone", True), (None, False)]


def test_two_dimensions_group_by_both(filled: tuple[Store, list[Call]]) -> None:
    store, calls = filled
    which = Filter(("acme", "initech"), include_tests=True, include_legs=True)
    total, groups = store.count(which, ["account", "status"], "UTC")
    assert total == len(calls)
    expected: dict[tuple[str, ...], list[Call]] = {}
    for call in calls:
        expected.setdefault((call.account, str(call.status)), []).append(call)
    assert {group.key for group in groups} == set(expected)
    for group in groups:
        own = expected[group.key]
        lengths = [call.duration_seconds for call in own if call.was_answered and call.duration_seconds is not None]
        assert group.calls == len(own)
        assert group.answered == sum(call.was_answered for call in own)
        assert group.total_seconds == pytest.approx(sum(lengths))
        assert group.median_seconds == (median(lengths) if lengths else None)


def act(kind: ActionKind, name: str = "it") -> Action:
    return Action(kind=kind, vendor_kind="x", name=name)


def test_actions_are_counted_with_their_newest_calls(store: Store) -> None:
    message, end = act(ActionKind.MESSAGE, "Text the form"), act(ActionKind.END, "Hang up")
    store.save_page(
        "acme",
        [
            made(1, actions=(message, message, end)),
            made(2, actions=(message,), agent_id="a", agent_name="Ana"),
            made(3, actions=(end,)),
            made(4, actions=(end,)),
            made(5, actions=(end,)),
            made(6),
        ],
    )

    def counted(dimension: str, which: Filter = ALL) -> dict[str, tuple[int, int, tuple[str, ...]]]:
        considered, groups = store.count_actions(which, dimension, MADRID)
        assert considered == (6 if which.action is None else 2)
        return {
            group.key: (
                group.executions,
                group.calls,
                tuple(one.removeprefix("acme/call-") for one in group.example_call_ids),
            )
            for group in groups
        }

    assert counted("kind") == {"message": (3, 2, ("1", "2")), "end": (4, 4, ("1", "3", "4"))}
    assert counted("name") == {"Text the form": (3, 2, ("1", "2")), "Hang up": (4, 4, ("1", "3", "4"))}
    assert counted("agent") == {"unknown": (6, 4, ("1", "3", "4")), "Ana": (1, 1, ("2",))}
    assert counted("account")["acme"][:2] == (7, 5)
    assert counted("day") == {"2026-09-30": (7, 5, ("1", "2", "3"))}
    assert counted("kind", replace(ALL, action=ActionKind.MESSAGE)) == {"message": (3, 2, ("1", "2"))}


def test_silent_calls_are_counted_by_account_and_age(store: Store) -> None:
    store.open_account("initech", "vyom")
    missed = made(4, status=Status.NO_ANSWER)
    store.save_page("acme", [made(1), made(2, "hi"), made(3), missed, made(120), made(121, is_test=True)])
    store.save_page("initech", [made(200, account="initech")])
    assert sorted(store.silent(Filter(("acme", "initech")), NOW - timedelta(hours=1))) == [
        ("acme", "highlevel", 4, 2, 1),
        ("initech", "vyom", 1, 0, 0),
    ]
    assert store.silent(replace(ALL, since=NOW - timedelta(minutes=2)), NOW) == [("acme", "highlevel", 1, 0, 0)]


# Earlier calls


def test_earlier_calls_are_those_of_the_same_customer(store: Store) -> None:
    store.open_account("initech", "vyom")
    customer, us = "+15550100001", "+15550100009"
    calls = [
        made(5, from_number=customer, to_number=us),
        made(4, direction=Direction.OUTBOUND, from_number=us, to_number=customer),
        made(6, from_number="+345550100001"),
        made(7, direction=Direction.OUTBOUND, from_number=customer, to_number="+15550100002"),
        made(8, from_number="anonymous"),
        made(9, from_number=customer, is_test=True),
        made(1, from_number=customer),
    ]
    store.save_page("acme", calls)
    store.save_page("initech", [made(10, account="initech", from_number="+1 555 010 0001")])
    asking = made(2, from_number=customer)
    store.save_page("acme", [asking])

    def names(accounts: Sequence[str], limit: int = 10) -> tuple[int, list[str]]:
        total, rows = store.earlier(accounts, asking, limit)
        return total, [row.vendor_call_id for row in rows]

    assert names(["acme", "initech"]) == (4, ["call-4", "call-5", "call-9", "call-10"])
    assert names(["acme"], 2) == (3, ["call-4", "call-5"])
    assert store.earlier(["acme"], made(0, from_number="anonymous"), 5) == (0, [])
    assert store.earlier(["acme"], made(0), 5) == (0, [])


def test_a_short_number_is_not_the_end_of_a_longer_one(store: Store) -> None:
    store.save_page("acme", [made(5, from_number="+15550100101"), made(6, from_number="101")])
    total, rows = store.earlier(["acme"], made(1, from_number="101"), 5)
    assert (total, [row.vendor_call_id for row in rows]) == (1, ["call-6"])


# Several at once


def test_another_connection_sees_what_was_committed(opened: Open) -> None:
    writer, reader = opened(), opened()
    writer.open_account("acme", "highlevel")
    seen: list[int] = []
    for n in range(5):
        writer.save_page("acme", [made(n, "refund")])
        thread = threading.Thread(target=lambda: seen.append(search(reader, "refund").total_calls))
        thread.start()
        thread.join(10)
    assert seen == [1, 2, 3, 4, 5]
    assert reader.list_calls(ALL).total == 5


def test_many_threads_and_stores_write_and_read_without_getting_in_each_others_way(opened: Open) -> None:
    stores = [opened(), opened()]
    stores[0].open_account("acme", "highlevel")
    failures: list[BaseException] = []

    def work(number: int) -> None:
        store = stores[number % 2]
        try:
            for n in range(12):
                store.save_page(
                    "acme", [made(f"{number}-{n}-{k}", "refund") for k in range(3)], Marks(NOW, NOW, f"{number}")
                )
                page = store.list_calls(ALL, limit=5)
                assert page.total >= 3 * (n + 1)
                search(store, "refund", limit=3)
        except BaseException as error:  # noqa: BLE001 - told by the test's own thread
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(40)
    assert not failures
    assert stores[1].list_calls(ALL).total == search(stores[0], "refund").total_calls == 6 * 12 * 3


def test_a_call_of_the_customer_is_told_apart_by_direction() -> None:
    assert customer_number(Direction.OUTBOUND, "+15550100001", "+15550100002") == "+15550100002"
    assert customer_number(Direction.UNKNOWN, "+15550100001", "+15550100002") == "+15550100001"


# Erasing


def counted_anew(store: Store) -> None:
    """The counters that are kept agree with the calls that there are."""
    held = store.list_calls(replace(ALL, include_tests=True, include_legs=True), limit=1000).rows
    [row] = store.accounts(["acme"])
    assert row.calls == len(held)
    assert row.with_transcript == sum(1 for one in held if one.turns)
    assert store.list_calls(ALL).total == len(ids(store))
    handled = Counter(one.agent for one in held if one.agent)
    assert {one.name or one.agent_id: one.calls for one in store.agents(["acme"]) if one.calls} == handled


def erasable(store: Store, number: int = 20) -> list[Call]:
    calls = [
        made(n, f"word{n} and more", agent_id=f"agent-{n % 2}", from_number=f"+1206555{100 + n:04}")
        for n in range(number)
    ]
    store.save_page("acme", calls, listed=True)
    return calls


def test_an_erased_call_is_found_by_nothing(store: Store) -> None:
    erasable(store)
    assert store.erase("acme", ["call-3", "call-4", "no-such-call", "\ud83d", "nul\0"]) == 2
    assert store.call(["acme"], "acme/call-3") is None
    assert store.excerpt(["acme"], "acme/call-3") is None
    assert not found(store, "word3") | found(store, "word3*") | found(store, '"word3 and"')
    assert store.occurrences(parse("word3"), ALL)[0].calls == 0
    assert "word3" not in {word for one in store.occurrences(parse("wordd3"), ALL) for word in one.close}
    assert found(store, "more") == {f"call-{n}" for n in range(20)} - {"call-3", "call-4"}
    assert not store.list_calls(replace(ALL, phone="2065550103")).rows
    assert "call-3" not in ids(store)
    assert store.settled("acme", ["call-3"], told=False) == set()
    counted_anew(store)
    assert store.uncompacted() == 2


def test_a_word_that_another_call_says_is_still_found_in_its_forms(store: Store) -> None:
    store.save_page("acme", [made(1, "I was refunded"), made(2, "you refunded it"), made(3, "nothing at all")])
    store.erase("acme", ["call-1"])
    assert found(store, "refund") == {"call-2"}
    store.erase("acme", ["call-2"])
    assert found(store, "refund") == set()
    store.save_page("acme", [made(4, "they refunded me")])
    assert found(store, "refund") == {"call-4"}


def test_an_erased_call_may_come_again(store: Store) -> None:
    [first, *_] = erasable(store)
    store.erase("acme", [first.vendor_call_id])
    assert store.save_page("acme", [first]).new == 1
    assert store.call(["acme"], first.id) == first
    counted_anew(store)


def test_legs_of_an_erased_call_are_calls_again(store: Store) -> None:
    store.save_page("acme", [made(1, "hello"), made(2, "transferred", parent_id="call-1")])
    assert ids(store) == ["call-1"]
    store.erase("acme", ["call-1"])
    assert ids(store) == ["call-2"]
    assert found(store, "transferred") == {"call-2"}
    counted_anew(store)
    store.save_page("acme", [made(1, "hello")])
    assert ids(store) == ["call-1"]
    assert found(store, "transferred") == set()
    assert found(store, "transferred", replace(ALL, include_legs=True)) == {"call-2"}
    counted_anew(store)


def test_what_the_vendor_says_was_deleted_is_erased_with_the_page(store: Store) -> None:
    erasable(store, 3)
    saved = store.save_page("acme", [made(9, "new")], Marks(NOW, NOW), deleted=["call-1", "never-held"])
    assert (saved.new, saved.erased) == (1, 1)
    assert ids(store) == ["call-0", "call-2", "call-9"]
    counted_anew(store)


def test_an_account_without_calls_keeps_no_agents(store: Store) -> None:
    store.erase("acme", [call.vendor_call_id for call in erasable(store)])
    assert store.agents(["acme"]) == []
    assert store.accounts(["acme"])[0].oldest is None
    erasable(store)
    counted_anew(store)


def test_a_call_is_erased_while_another_index_is_built(
    opened: Open, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    erasable(store)
    for name in ("_sqlite_index", "_postgres_index"):
        monkeypatch.setattr(f"call_logs.store.{name}.TOKENISER_VERSION", words.TOKENISER_VERSION + 1)
    later = opened()
    steps = iter([True, True, False])
    later.build_index(lambda: next(steps))
    later.erase("acme", ["call-3"])
    later.build_index(lambda: True)
    assert later.index_progress() is None
    assert found(later, "word3") == set()
    assert found(later, "more") == {f"call-{n}" for n in range(20)} - {"call-3"}
    counted_anew(later)


@pytest.mark.parametrize("thorough", [False, True])
def test_compacting_changes_no_answer(store: Store, *, thorough: bool) -> None:
    erasable(store)
    store.erase("acme", [f"call-{n}" for n in range(0, 20, 2)])
    before = ids(store), found(store, "more"), store.fingerprint("acme")
    assert store.compact(thorough=thorough)
    assert (ids(store), found(store, "more"), store.fingerprint("acme")) == before
    assert store.uncompacted() == 0
    assert not store.compact(thorough=thorough, going_on=lambda: False)
    counted_anew(store)


# Tombstones


def test_a_call_with_a_tombstone_does_not_come_back(opened: Open, store: Store) -> None:
    [first, second, *_] = erasable(store)
    store.bury("acme", [Tombstone.of_call("acme", first.vendor_call_id)])
    store.erase("acme", [first.vendor_call_id])
    saved = opened().save_page("acme", [first, second])
    assert (saved.refused, saved.same, saved.ids) == (1, 1, [second.id])
    assert store.call(["acme"], first.id) is None
    assert store.tombstones("acme") == [Tombstone.of_call("acme", first.vendor_call_id)]


def test_a_number_with_a_tombstone_brings_only_later_calls(store: Store) -> None:
    store.bury("acme", [Tombstone.of_phone("acme", "2065550123", NOW)])
    both = [
        made(2, "before", from_number="+12065550123"),
        made(3, "before", to_number="+12065550123"),
        made(4, "another", from_number="+12065550124"),
        made(5, "none"),
        made("later", "after", from_number="+12065550123"),
    ]
    assert store.save_page("acme", both).refused == 2
    assert set(ids(store)) == {"call-4", "call-5", "call-later"}


def test_nothing_from_before_a_moment_comes_where_a_tombstone_says_so(store: Store) -> None:
    store.bury("acme", [Tombstone.of_all(NOW - timedelta(minutes=5))])
    store.bury("acme", [Tombstone.of_all(NOW - timedelta(minutes=9))])
    assert store.save_page("acme", [made(n, "said") for n in range(10)]).refused == 4
    assert len(ids(store)) == 6
    assert store.tombstones("acme") == [Tombstone.of_all(NOW - timedelta(minutes=5))]


def test_a_tombstone_of_one_account_stands_against_no_other(store: Store) -> None:
    store.open_account("other", "highlevel")
    store.bury("acme", [Tombstone.of_call("acme", "call-1"), Tombstone.of_all(NOW)])
    assert store.save_page("other", [made(1, "kept", account="other")]).new == 1
    assert store.tombstones("other") == []


def test_no_tombstone_holds_what_it_stands_for() -> None:
    stones = [Tombstone.of_call("acme", "call-77123"), Tombstone.of_phone("acme", "2065550123", NOW)]
    assert not any(secret in repr(stones) for secret in ("77123", "5550123"))


# Comparing with the vendor's list

LATER = NOW + timedelta(hours=1)


def compare(store: Store, listed: Sequence[str], now: datetime = NOW, since: timedelta = timedelta(days=1)) -> Compared:
    return store.compare("acme", NOW - since, NOW + timedelta(days=1), set(listed), now)


def test_a_call_that_two_readings_miss_is_erased(store: Store) -> None:
    listed = [call.vendor_call_id for call in erasable(store) if call.vendor_call_id != "call-7"]
    assert compare(store, listed) == (1, 0, 0)
    assert "call-7" in ids(store)
    assert compare(store, listed, NOW + timedelta(minutes=1)) == (0, 0, 0)
    assert compare(store, listed, LATER) == (0, 1, 0)
    assert "call-7" not in ids(store)
    assert compare(store, listed, LATER) == (0, 0, 0)
    counted_anew(store)


def test_a_call_that_is_back_has_not_been_missed(store: Store) -> None:
    every = [call.vendor_call_id for call in erasable(store)]
    listed = [one for one in every if one != "call-7"]
    compare(store, listed)
    compare(store, every, LATER)
    assert compare(store, listed, LATER + timedelta(hours=1)) == (1, 0, 0)
    assert "call-7" in ids(store)


def test_many_calls_do_not_vanish_at_once(store: Store) -> None:
    every = [call.vendor_call_id for call in erasable(store, 40)]
    listed = [one for one in every if not 5 <= int(one[5:]) < 14]
    for hours in range(4):
        assert compare(store, listed, NOW + timedelta(hours=hours)) == (0, 0, 9)
    assert len(ids(store)) == 40
    assert store.accounts(["acme"])[0].vanished == 9
    compare(store, every, LATER)
    assert store.accounts(["acme"])[0].vanished == 0


def test_calls_beyond_the_vendors_list_are_not_missed(store: Store) -> None:
    """Its retention ends somewhere, and its newest calls may not be listed yet."""
    erasable(store)
    for hours in range(3):
        assert compare(store, [f"call-{n}" for n in range(2, 18)], NOW + timedelta(hours=hours)) == (0, 0, 0)
        assert compare(store, [], NOW + timedelta(hours=hours)) == (0, 0, 0)
    assert len(ids(store)) == 20


def test_calls_of_an_agent_of_whom_none_is_listed_are_not_missed(store: Store) -> None:
    erasable(store)
    store.save_page("acme", [made(7, "its only one", agent_id="gone")], listed=True)
    listed = [f"call-{n}" for n in range(20) if n != 7]
    for hours in range(3):
        assert compare(store, listed, NOW + timedelta(hours=hours)) == (0, 0, 0)


def test_calls_that_no_list_has_shown_are_not_missed(store: Store) -> None:
    erasable(store)
    store.save_page(
        "acme",
        [made("imported", "from a report", started_at=NOW - timedelta(minutes=7, seconds=1), agent_id="agent-1")],
    )
    listed = [f"call-{n}" for n in range(20)]
    for hours in range(3):
        assert compare(store, listed, NOW + timedelta(hours=hours)) == (0, 0, 0)
    store.save_page(
        "acme", [made("imported", started_at=NOW - timedelta(minutes=7, seconds=1), agent_id="agent-1")], listed=True
    )
    assert compare(store, listed, LATER) == (1, 0, 0)


def test_only_the_window_read_is_compared(store: Store) -> None:
    erasable(store)
    listed = [f"call-{n}" for n in range(20) if n not in (3, 15)]
    assert compare(store, listed, since=timedelta(minutes=10)) == (1, 0, 0)


# The audit table


def test_audit_entries_come_back_newest_first(opened: Open, store: Store) -> None:
    entries = [
        Audited(NOW + timedelta(seconds=n), "local", "get_call", "ok", tuple(f"acme/{m}" for m in range(n)), n)
        for n in range(5)
    ]
    store.audit(entries[:3])
    store.audit([entries[3], replace_found(entries[4])])
    assert opened().audited() == [replace_found(entries[4]), *entries[3::-1]]
    assert opened().audited(NOW + timedelta(seconds=2), limit=2) == [replace_found(entries[4]), entries[3]]


def replace_found(entry: Audited) -> Audited:
    return entry._replace(found=None)


def test_how_long_an_account_rests_is_known_to_all(opened: Open, store: Store) -> None:
    store.note("acme", "down", "It is down.", "Wait.", rests_until=LATER)
    assert opened().accounts(["acme"])[0].rests_until == LATER
    store.note("acme", "ok")
    assert opened().accounts(["acme"])[0].rests_until is None


def test_what_may_have_been_meant_was_said_in_the_accounts_that_are_searched(store: Store) -> None:
    """A word of others would tell what their callers said."""
    store.open_account("other", "highlevel")
    store.save_page("acme", [made(1, "my dentist moved")])
    store.save_page("other", [made(2, "Montgomery called", account="other")])

    def meant(word: str, *accounts: str) -> tuple[str, ...]:
        return store.occurrences(parse(word), Filter(accounts))[0].close

    assert meant("montgomary", "acme", "other") == ("montgomery",)
    assert meant("montgomary", "other") == ("montgomery",)
    assert meant("montgomary", "acme") == ()
    assert meant("dentits", "acme") == ("dentist",)
