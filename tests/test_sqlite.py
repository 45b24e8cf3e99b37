"""What only the SQLite file promises: its modes and settings, its plans, and that nothing acknowledged is lost."""

import functools
import os
import re
import signal
import sqlite3
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

import pytest

from call_logs.errors import StoreError
from call_logs.model import Action, ActionKind, Call, Direction, Speaker, Status, Turn
from call_logs.store import Audited, Filter, Store, Unreadable, open_store, words
from call_logs.store import _sqlite_connections as connections
from call_logs.store import _sqlite_index as index
from call_logs.store._sqlite_schema import MIGRATIONS
from call_logs.store.query import parse
from call_logs.store.sqlite import SQLiteStore

NOW = datetime(2026, 9, 30, 12, 0, tzinfo=UTC)
DAY = timedelta(days=1)
ALL = Filter(("acme",))
WORDS = ["refund", "invoice", "chargeback", "cancel", "café", "退款", "मुझे"]

posix = pytest.mark.skipif(os.name != "posix", reason="modes and signals of POSIX")


def call(number: int, said: str = "a refund please", **given: Any) -> Call:
    defaults: dict[str, Any] = {
        "account": "acme",
        "provider": "highlevel",
        "vendor_call_id": f"call-{number}",
        "started_at": NOW - timedelta(minutes=number),
        "turns": (Turn(n=1, speaker=Speaker.CUSTOMER, text=said),) if said else (),
    }
    return Call(**(defaults | given))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "kept" / "calls.db"


@pytest.fixture
def store(path: Path) -> Iterator[SQLiteStore]:
    with closing(SQLiteStore(path)) as opened:
        opened.open_account("acme", "highlevel")
        yield opened


@contextmanager
def looking(path: Path) -> Generator[sqlite3.Connection]:
    """A connection of somebody else's."""
    with closing(sqlite3.connect(path)) as connection:
        yield connection


# The file


@posix
def test_only_its_owner_can_read_the_file_and_its_journals(store: SQLiteStore, path: Path) -> None:
    before = os.umask(0)
    try:
        store.save_page("acme", [call(1)])
        modes = {one.name: stat.S_IMODE(one.stat().st_mode) for one in path.parent.iterdir()}
        other = path.with_name("other.db")
        with closing(SQLiteStore(other)) as another:
            another.open_account("acme", "highlevel")
            modes |= {one.name: stat.S_IMODE(one.stat().st_mode) for one in path.parent.glob("other*")}
    finally:
        os.umask(before)
    assert {"calls.db", "calls.db-wal", "other.db", "other.db-wal"} <= set(modes)
    assert set(modes.values()) == {0o600}


@posix
def test_only_its_owner_can_look_into_a_folder_that_was_made_for_it(path: Path) -> None:
    SQLiteStore(path).close()
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_every_connection_writes_ahead_and_waits_for_the_disk(store: SQLiteStore) -> None:
    with store._reading() as one, store._reading() as other:  # pyright: ignore[reportPrivateUsage] - its settings
        assert one is not other
        for connection in (one, other):
            assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
            assert connection.execute("PRAGMA synchronous").fetchone() == (2,)
            assert connection.execute("PRAGMA foreign_keys").fetchone() == (1,)


def test_a_tilde_is_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    open_store("~/calls.db").close()
    assert (tmp_path / "calls.db").is_file()


def test_opening_again_keeps_the_calls_and_writes_nothing(store: SQLiteStore, path: Path) -> None:
    store.save_page("acme", [call(1)])
    store.close()
    before = path.read_bytes()
    with closing(SQLiteStore(path)) as again:
        assert again.list_calls(ALL).total == 1
    assert path.read_bytes() == before


def test_a_database_of_a_newer_version_is_refused_by_name_and_left_alone(store: SQLiteStore, path: Path) -> None:
    store.save_page("acme", [call(1)])
    store.close()
    with looking(path) as connection:
        connection.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    before = path.read_bytes()
    with pytest.raises(StoreError, match=rf"{re.escape(str(path))}.*newer.*Upgrade call-logs-mcp.*CALL_LOGS_DATABASE"):
        SQLiteStore(path)
    assert path.read_bytes() == before


@pytest.mark.parametrize("version", [0, 1, 99])
def test_another_programs_database_is_refused_and_left_alone(path: Path, version: int) -> None:
    path.parent.mkdir()
    with looking(path) as connection:
        connection.execute("CREATE TABLE call(id INTEGER PRIMARY KEY, note TEXT)")
        connection.execute(f"PRAGMA user_version = {version}")
        connection.execute("PRAGMA journal_mode=WAL")
    before = path.read_bytes()
    with pytest.raises(StoreError, match=r"another program.*CALL_LOGS_DATABASE"):
        SQLiteStore(path)
    assert path.read_bytes() == before


@pytest.mark.parametrize("content", [b"Dear diary, today I called Acme.\n" * 100, b"SQLite format 3\x00" + bytes(4096)])
def test_a_file_that_is_no_database_is_refused_and_left_alone(path: Path, content: bytes) -> None:
    path.parent.mkdir()
    path.write_bytes(content)
    with pytest.raises(StoreError, match="CALL_LOGS_DATABASE") as refused:
        SQLiteStore(path)
    assert str(path) in str(refused.value)
    assert path.read_bytes() == content


def test_a_folder_in_its_place_is_refused(path: Path) -> None:
    path.mkdir(parents=True)
    with pytest.raises(StoreError, match="CALL_LOGS_DATABASE"):
        SQLiteStore(path)


def test_a_file_in_place_of_its_folder_is_refused(path: Path) -> None:
    path.parent.write_text("not a folder")
    with pytest.raises(StoreError, match="CALL_LOGS_DATABASE"):
        SQLiteStore(path)


@pytest.fixture
def barred() -> Iterator[Path]:
    """A folder in which this process may not write, whoever runs the test."""
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        folder = Path(name)
        folder.chmod(0o555)
        nobody = os.geteuid() == 0
        if nobody:
            os.seteuid(65534)
        try:
            yield folder
        finally:
            if nobody:
                os.seteuid(0)
            folder.chmod(0o755)


@posix
def test_a_folder_without_the_right_to_write_is_refused(barred: Path) -> None:
    with pytest.raises(StoreError, match=r"PermissionError.*CALL_LOGS_DATABASE"):
        SQLiteStore(barred / "calls.db")
    with pytest.raises(StoreError, match="CALL_LOGS_DATABASE"):
        SQLiteStore(barred / "deeper" / "calls.db")


@posix
def test_a_database_without_the_right_to_write_is_refused(barred: Path) -> None:
    effective = os.geteuid()
    if os.getuid() == 0:
        os.seteuid(0)
    barred.chmod(0o755)
    with closing(sqlite3.connect(barred / "calls.db")) as connection:
        connection.execute("CREATE TABLE setting(name TEXT)")
    (barred / "calls.db").chmod(0o444)
    barred.chmod(0o555)
    if os.getuid() == 0:
        os.seteuid(effective)
    with pytest.raises(StoreError, match="CALL_LOGS_DATABASE"):
        SQLiteStore(barred / "calls.db")


def test_no_text_of_sqlite_reaches_the_reader(store: SQLiteStore, caplog: pytest.LogCaptureFixture) -> None:
    store.save_page("acme", [call(1)])
    with looking_at_broken(store), pytest.raises(StoreError) as told:
        store.list_calls(ALL)
    assert "no such table" not in str(told.value)
    assert "no such table: call" in caplog.text


@contextmanager
def looking_at_broken(store: SQLiteStore) -> Generator[None]:
    with store._transaction() as db:  # pyright: ignore[reportPrivateUsage] - breaks it
        db.execute("PRAGMA legacy_alter_table = ON")
        db.execute("ALTER TABLE call RENAME TO gone")
    yield


def test_after_a_failed_write_the_next_one_works(store: SQLiteStore) -> None:
    def fails(*statements: str) -> None:
        with store._transaction() as db:  # pyright: ignore[reportPrivateUsage] - breaks it
            for statement in statements:
                db.execute(statement)

    with pytest.raises(StoreError):
        fails("ROLLBACK", "INSERT INTO nowhere VALUES(1)")  # SQLite rolls back by itself when the disk is full
    with pytest.raises(StoreError):
        fails("PRAGMA defer_foreign_keys = ON", "INSERT INTO content VALUES(1, x'00')")  # found at COMMIT only
    assert store.save_page("acme", [call(1)]).new == 1
    assert store.list_calls(ALL).total == 1


def test_a_locked_database_is_told_as_locked(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with closing(SQLiteStore(path)) as first:
        first.open_account("acme", "highlevel")
    monkeypatch.setattr(connections, "BUSY_SECONDS", 0.05)
    with looking(path) as other, closing(SQLiteStore(path)) as patient:
        other.execute("BEGIN IMMEDIATE")
        assert patient.list_calls(ALL).total == 0
        with pytest.raises(StoreError, match="locked by another program"):
            patient.save_page("acme", [call(1)])
        other.execute("ROLLBACK")
        assert patient.save_page("acme", [call(1)]).new == 1


def test_threads_that_come_and_go_leave_no_connections_behind(store: SQLiteStore) -> None:
    for _ in range(30):
        thread = threading.Thread(target=store.list_calls, args=(ALL,))
        thread.start()
        thread.join(10)
    assert len(store._connections._idle) == 1  # pyright: ignore[reportPrivateUsage] - the pool


def test_a_question_within_a_question_has_its_own_snapshot(store: SQLiteStore) -> None:
    store.save_page("acme", [call(1)])
    with store._reading() as outer:  # pyright: ignore[reportPrivateUsage] - a read that is still open
        assert outer.execute("SELECT count(*) FROM call").fetchone() == (1,)
        store.save_page("acme", [call(2)])
        assert store.list_calls(ALL).total == 2
        assert outer.execute("SELECT count(*) FROM call").fetchone() == (1,)


def test_closing_lets_a_running_question_end(store: SQLiteStore) -> None:
    store.save_page("acme", [call(1)])
    with store._reading() as running:  # pyright: ignore[reportPrivateUsage] - a read that is still open
        store.close()
        assert running.execute("SELECT count(*) FROM call").fetchone() == (1,)
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        running.execute("SELECT 1")


# What it holds together


TALLY = "SELECT account, day, test, leg, silent, unconnected, calls FROM tally WHERE calls <> 0"
COUNTED = """SELECT account, id / 22118400, test, leg, turns = 0,
    status IN ('busy', 'failed', 'no_answer', 'canceled', 'rejected'), count(*) FROM call GROUP BY 1, 2, 3, 4, 5, 6"""
HANDLED = "SELECT id FROM agent WHERE calls <> (SELECT count(*) FROM call WHERE call.agent = agent.id)"


def sound(path: Path) -> None:
    """The file passes SQLite's checks, its index FTS5's, and both hold the same calls."""
    with looking(path) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
        connection.execute("INSERT INTO words(words) VALUES('integrity-check')")  # raises where it is not
        assert connection.execute(f"{TALLY} EXCEPT {COUNTED}").fetchall() == []
        assert connection.execute(f"{COUNTED} EXCEPT {TALLY}").fetchall() == []
        assert connection.execute(HANDLED).fetchall() == []
        assert connection.execute("SELECT call FROM part EXCEPT SELECT id FROM call WHERE turns > 0").fetchall() == []
        assert connection.execute("SELECT id FROM call WHERE turns > 0 EXCEPT SELECT call FROM part").fetchall() == []
        for table in ("content", "words"):
            key = "rowid" if table == "words" else "id"
            assert connection.execute(f"SELECT {key} FROM {table} EXCEPT SELECT id FROM call").fetchall() == []
            assert connection.execute(f"SELECT id FROM call EXCEPT SELECT {key} FROM {table}").fetchall() == []


def test_after_hundreds_of_random_saves_the_file_and_its_index_are_sound(store: SQLiteStore, path: Path) -> None:
    random = Random(4)
    newest: dict[str, Call] = {}
    for _ in range(120):
        page: list[Call] = []
        for number in random.sample(range(80), random.randrange(1, 8)):
            said = " ".join(random.choices(WORDS, k=random.randrange(1, 12)))
            started = NOW - timedelta(seconds=random.randrange(300))
            parent = random.choice([None, None, f"call-{random.randrange(80)}"])
            one = call(
                number,
                said if number % 9 else "",
                started_at=started,
                parent_id=parent,
                status=random.choice(list(Status)),
                agent_id=random.choice([None, "a", "b"]),
                is_test=random.random() < 0.2,
            )
            page.append(one)
            held = newest.get(one.vendor_call_id)
            kept = {"parent_id": held.parent_id} if held is not None and parent is None else {}
            newest[one.vendor_call_id] = one.model_copy(update=kept)
        store.save_page("acme", page)
    sound(path)
    whole = Filter(("acme",), include_tests=True, include_legs=True)
    assert store.list_calls(whole).total == len(newest)
    for word in WORDS:
        saying = {name for name, one in newest.items() if any(word in turn.text for turn in one.turns)}
        hits = store.search(parse(word), whole, limit=100).hits
        assert {hit.row.vendor_call_id for hit in hits} == saying
    assert store.legs(newest["call-1"]) == [
        row
        for row in reversed(store.list_calls(whole, limit=100).rows)
        if newest[row.vendor_call_id].parent_id == "call-1" != row.vendor_call_id
    ]


def test_a_database_server_is_refused_by_name_and_makes_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(StoreError, match="CALL_LOGS_DATABASE"):
        open_store("mysql://user:secret@db.example.com/calls")
    assert list(tmp_path.iterdir()) == []


# An index of a later tokeniser


def other_tokens(texts: Sequence[str]) -> list[list[str]]:
    return [text.replace("refund", "reimbursement").split() for text in texts]


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Turns this program into one with a tokeniser that is so many versions later, or back (0)."""

    def become(by: int) -> None:
        monkeypatch.setattr(index, "TOKENISER_VERSION", words.TOKENISER_VERSION + by)
        monkeypatch.setattr(index, "tokens_of", other_tokens if by else words.tokens_of)

    return become


def total(store: Store, query: str, **given: Any) -> int:
    return store.search(parse(query), Filter(("acme",), **given)).total_calls


def test_an_index_of_an_older_tokeniser_answers_until_the_new_one_is_built(
    store: SQLiteStore, path: Path, later: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index, "STEP_CALLS", 3)
    parent, leg = call(1, "a refund", is_test=True), call(2, "a refund", parent_id="call-1", agent_id="a")
    store.save_page("acme", [parent, leg, *(call(n, "a refund") for n in range(3, 10))])
    store.close()
    later(1)
    with closing(SQLiteStore(path)) as newer:
        assert newer.index_progress() == 0.0
        steps = iter([True, True, True, False])
        newer.build_index(lambda: next(steps))
    with closing(SQLiteStore(path)) as newer:
        assert newer.index_progress() is not None
        assert (total(newer, "refund"), total(newer, "reimbursement")) == (7, 0)
        everything = {"include_tests": True, "include_legs": True}
        # In what is built and in what is not: a new call, changed ones, and one that moves from either to the other.
        newer.save_page("acme", [call(0, "a refund"), call(1, "no refund", is_test=True), call(9, "no refund")])
        newer.save_page("acme", [call(8, "a refund", started_at=NOW), call(2, "a refund", started_at=NOW - DAY)])
        newer.save_page("acme", [call(3, "a refund", status=Status.FAILED), call(7, "a refund", status=Status.FAILED)])
        assert (total(newer, "refund", **everything), total(newer, "reimbursement", **everything)) == (7, 3)
        newer.build_index(lambda: True)
        assert newer.index_progress() is None
        assert (total(newer, "refund"), total(newer, "reimbursement")) == (0, 8)
        assert total(newer, "reimbursement", **everything) == 10
        assert total(newer, "no reimbursement", **everything) == 2
        assert total(newer, "reimbursement", status=Status.FAILED) == 2
        assert total(newer, "reimbursement", agent="a", include_legs=True) == 1
        newer.save_page("acme", [call(0, "another refund")])
        assert total(newer, "another reimbursement") == 1
    sound(path)
    before = path.read_bytes()
    with closing(SQLiteStore(path)) as newer:
        newer.build_index(lambda: True)
    assert path.read_bytes() == before


def test_an_older_program_beside_a_newer_one_loses_no_call(
    store: SQLiteStore, path: Path, later: Callable[[int], None]
) -> None:
    store.save_page("acme", [call(1, "a refund")])
    later(1)
    with closing(SQLiteStore(path)) as newer:
        newer.build_index(lambda: True)
        assert total(newer, "reimbursement") == 1
        later(0)
        assert store.index_progress() is None, "a later version's index is left alone"
        store.save_page("acme", [call(2, "a refund")])
        assert total(store, "refund") == 1
        store.build_index(lambda: True)
        later(1)
        newer.build_index(lambda: True)
        assert total(newer, "reimbursement") == 2
    sound(path)


def test_only_one_builds_an_index(store: SQLiteStore, path: Path, later: Callable[[int], None]) -> None:
    store.save_page("acme", [call(1, "a refund")])
    later(1)
    asked: list[str] = []

    def meanwhile() -> bool:
        with closing(SQLiteStore(path)) as other:
            other.build_index(lambda: bool(asked.append("built by the other")))
        return False

    store.build_index(meanwhile)
    assert asked == []
    assert store.index_progress() == 0.0
    store.build_index(lambda: True)
    assert store.index_progress() is None


def pieces(path: Path) -> int:
    """In how many pieces a word of the index may stand."""
    with closing(sqlite3.connect(path)) as db:
        return db.execute("SELECT count(DISTINCT segid) FROM words_idx").fetchone()[0]


def test_what_was_written_in_many_pieces_is_put_together_when_it_is_a_fifth(
    store: SQLiteStore, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index, "FEW_UNMERGED", 4)

    def write(*numbers: int) -> None:
        for n in numbers:
            store.save_page("acme", [call(n, f"a refund of {n} dollars")])

    write(1, 2, 3)
    store.build_index(lambda: True)
    assert pieces(path) == 3, "too few to be worth it"
    write(*range(4, 21))
    before = pieces(path)
    store.build_index(lambda: False)
    assert pieces(path) == before > 1
    store.build_index(lambda: True)
    assert pieces(path) == 1
    write(21, 22, 23, 24)
    store.build_index(lambda: True)
    assert pieces(path) == 5, "less than a fifth of all"
    write(20, 25)
    store.save_page("acme", [call(1, "no refund")])
    store.build_index(lambda: True)
    assert pieces(path) == 1
    assert [total(store, f"{n} dollars") for n in (1, 2, 20, 25)] == [0, 1, 1, 1]
    assert total(store, "refund") == 25
    sound(path)


def test_putting_the_index_together_goes_on_where_it_stopped(
    store: SQLiteStore, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index, "FEW_UNMERGED", 4)
    monkeypatch.setattr(index, "_MERGED_PAGES", 1)
    for n in range(12):
        store.save_page("acme", [call(n, " ".join(f"word{n}x{other}" for other in range(900)))])
    store.close()
    openings = 0
    while pieces(path) > 1:
        openings += 1
        with closing(SQLiteStore(path)) as stopped:
            left = iter(range(6))
            stopped.build_index(lambda left=left: next(left, None) is not None)
            assert total(stopped, "word3x899") == 1
    assert 1 < openings < 100
    with closing(SQLiteStore(path)) as again:
        again.build_index(lambda: True)
        again.save_page("acme", [call(12, "refund")])
        again.build_index(lambda: True)
        assert pieces(path) == 2, "it is known to be done"
    sound(path)


def test_words_that_are_known_are_not_written_again_and_those_taken_out_are(store: SQLiteStore, path: Path) -> None:
    def known() -> set[str]:
        with looking(path) as connection:
            return {word for (word,) in connection.execute("SELECT word FROM vocabulary")}

    def fails() -> None:
        # The newest is written last, so the others are written when this one cannot be.
        store.save_page("acme", [call(3, "zebra"), call(0).model_copy(update={"summary": "\ud800"})])

    store.save_page("acme", [call(1, "please refund this order")])
    assert known() == {"please", "refund", "this", "order"}
    said: list[str] = []
    with store._reading() as db:  # pyright: ignore[reportPrivateUsage] - its statements
        db.set_trace_callback(said.append)
    store.save_page("acme", [call(2, "refund this order please now")])
    with store._reading() as db:  # pyright: ignore[reportPrivateUsage] - its statements
        db.set_trace_callback(None)
    (learned,) = (one for one in said if "INTO vocabulary" in one)
    assert "VALUES('now'" in learned
    with pytest.raises(Exception):  # noqa: B017, PT011 - whatever a broken call raises
        fails()
    assert "zebra" not in known()
    store.save_page("acme", [call(3, "zebra")])
    assert "zebra" in known()
    with looking(path) as other:
        other.execute("DELETE FROM vocabulary WHERE word = 'zebra'")
        other.execute("UPDATE setting SET value = value + 1 WHERE name = 'vocabulary'")
        other.commit()
    store.save_page("acme", [call(5, "zebra")])
    assert "zebra" in known()


# Plans


def plans(store: SQLiteStore, which: Filter, *, query: str | None = None, sort: str = "newest") -> str:
    """How SQLite would answer: the plan of every statement that a list or a search runs."""
    if query is None:
        return asked(store, lambda: store.list_calls(which, limit=20, sort=sort))
    return asked(store, lambda: store.search(parse(query), which))


def asked(store: SQLiteStore, question: Callable[[], object]) -> str:
    """The plan of every statement that a question runs."""
    said: list[str] = []
    with store._reading() as db:  # pyright: ignore[reportPrivateUsage] - its statements
        db.set_trace_callback(said.append)
    question()
    with store._reading() as db:  # pyright: ignore[reportPrivateUsage] - its statements
        db.set_trace_callback(None)
        statements = [
            one for one in said if one.lstrip().startswith("SELECT") and re.search(r"\b(call|words|agent)\b", one)
        ]
        assert statements
        return "\n".join(row[3] for one in statements for row in db.execute(f"EXPLAIN QUERY PLAN {one}"))


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SQLiteStore]:
    """4,000 calls of two accounts, as unevenly spread as real ones, and SQLite's own statistics of none. Only read."""
    random = Random(6)
    store = SQLiteStore(tmp_path_factory.mktemp("many") / "calls.db")
    store.open_account("acme", "highlevel")
    store.open_account("initech", "vyom")
    for account in ("acme", "initech"):
        calls = [
            call(
                n,
                random.choice(WORDS) + " call",
                account=account,
                agent_id=f"agent-{min(n % 7, n % 3)}",
                agent_name=f"Desk {min(n % 7, n % 3)}",
                status=random.choice([Status.COMPLETED] * 9 + [Status.FAILED]),
                direction=random.choice(list(Direction)),
                from_number=f"+1555010{n % 10_000:04}",
                actions=(Action(kind=ActionKind.MESSAGE, vendor_kind="sms", name="Text"),) if n % 9 == 0 else (),
            )
            for n in range(2000)
        ]
        store.save_page(account, calls)
    yield store
    store.close()


WORDS_INDEX = "SCAN words VIRTUAL TABLE INDEX"
FULL = re.compile(r"SCAN call(?! USING (?:COVERING )?INDEX)")
"""Reading every row of the table. A walk along an index in the list's own order is none: it stops at the limit."""


@pytest.mark.parametrize(
    ("given", "index"),
    [
        ({}, "call_shown"),
        ({"include_tests": True}, "call_account"),
        ({"agent": "desk 1"}, WORDS_INDEX),
        ({"status": Status.FAILED}, WORDS_INDEX),
        ({"direction": Direction.INBOUND}, WORDS_INDEX),
        ({"action": ActionKind.MESSAGE}, WORDS_INDEX),
        ({"phone": "0100042"}, WORDS_INDEX),
        ({"agent": "desk 1", "status": Status.FAILED, "min_duration_seconds": 3.0}, WORDS_INDEX),
        ({"since": NOW - timedelta(hours=3)}, "(account=? AND id>?)"),
        ({"min_duration_seconds": 3.0}, "SEARCH call USING COVERING INDEX call_duration"),
    ],
)
def test_a_filtered_list_walks_an_index_and_never_all_calls(
    many: SQLiteStore, given: dict[str, Any], index: str
) -> None:
    plan = plans(many, Filter(("acme",), **given))
    assert index in plan
    assert not FULL.search(plan), plan
    if index == WORDS_INDEX:
        walks = set(re.findall(r"(?:SCAN|SEARCH) call .*", plan))
        assert walks <= {"SEARCH call USING INTEGER PRIMARY KEY (rowid=?)"}


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"agent": "desk 1", "status": Status.FAILED},
        {"phone": "0100042", "direction": Direction.INBOUND},
        {"action": ActionKind.MESSAGE},
        {"since": NOW - timedelta(hours=3), "min_duration_seconds": 3.0},
    ],
)
def test_a_search_asks_the_index_first_and_finds_calls_by_their_key(many: SQLiteStore, given: dict[str, Any]) -> None:
    plan = plans(many, Filter(("acme", "initech"), **given), query='refund "refund call" ref* -cancel')
    assert "SCAN words VIRTUAL TABLE INDEX" in plan
    walks = set(re.findall(r"(?:SCAN|SEARCH) call .*", plan)) - {"SEARCH call USING INTEGER PRIMARY KEY (rowid=?)"}
    # How many calls there are (at most 20,000) is counted along the smallest index.
    assert all(walk.startswith("SCAN call USING COVERING INDEX") for walk in walks), plan


@pytest.mark.parametrize(
    ("sort", "walk"), [("newest", "SCAN call"), ("longest", "SCAN call USING INDEX call_duration")]
)
def test_a_list_of_several_accounts_is_read_in_its_order_and_not_sorted(
    many: SQLiteStore, sort: str, walk: str
) -> None:
    plan = plans(many, Filter(("acme", "initech")), sort=sort).splitlines()
    assert walk in plan
    assert not [step for step in plan if "TEMP B-TREE FOR ORDER BY" in step]


def test_what_every_answer_asks_walks_no_calls_but_silent_ones(many: SQLiteStore) -> None:
    both = Filter(("acme", "initech"))
    for which in (
        both,
        replace(both, agent="desk 1"),
        replace(both, status=Status.FAILED, phone="0100042"),
        replace(both, min_duration_seconds=3.0),
    ):
        plan = asked(many, functools.partial(many.silent, which, NOW))
        walks = re.findall(r"(?:SCAN|SEARCH) call .*", plan)
        assert walks
        assert all("call_silent" in walk and "COVERING" in walk for walk in walks), plan
    plan = asked(many, lambda: many.accounts(["acme", "initech"]))
    walks = re.findall(r"(?:SCAN|SEARCH) call .*", plan)
    assert set(walks) == {"SEARCH call USING COVERING INDEX call_account (account=?)"}, "its ends"
    assert "SEARCH call" not in asked(many, lambda: many.agents(["acme"]))


# A very long call

TURNS = 200_000
LONG = """
import resource, sys, time, tracemalloc
from datetime import UTC, datetime
from call_logs.model import Call, Speaker, Turn
from call_logs.store import Filter
from call_logs.store.query import parse
from call_logs.store.sqlite import SQLiteStore
path, turns = sys.argv[1], int(sys.argv[2])
store = SQLiteStore(path)
store.open_account("acme", "highlevel")
tracemalloc.start()
call = Call(
    account="acme", provider="highlevel", vendor_call_id="long", started_at=datetime(2026, 9, 30, tzinfo=UTC),
    turns=tuple(
        Turn(n=n, speaker=Speaker.AGENT if n % 2 else Speaker.CUSTOMER, offset_seconds=n / 2,
             text="zebra crossing" if n == turns // 2 else f"please look at the invoice number {n} of this month again")
        for n in range(1, turns + 1)
    ),
)
whole, _ = tracemalloc.get_traced_memory()
def measured(question):
    tracemalloc.reset_peak()
    held, _ = tracemalloc.get_traced_memory()
    begun = time.perf_counter()
    answer = question()
    seconds = time.perf_counter() - begun
    print(question.__name__, round(seconds, 3), round((tracemalloc.get_traced_memory()[1] - held) / whole, 4), flush=True)
    return answer
def save(): return store.save_page("acme", [call])
def again(): return store.save_page("acme", [call])
def head(): return store.save_page("acme", [call.model_copy(update={"summary": "Long."})])
def excerpt(): return store.excerpt(["acme"], "acme/long", turns // 2 - 5, turns // 2 + 5)
def search(): return store.search(parse("zebra"), Filter(("acme",)))
print("whole", round(whole / 1e6), 1, flush=True)
assert measured(save).new == 1
assert measured(again).same == 1
assert measured(head).changed == 1
del call.__dict__["turns"]
found = measured(excerpt)
assert (found.total_turns, len(found.call.turns)) == (turns, 11)
(hit,) = measured(search).hits
assert (hit.turn.n, hit.before.n, hit.after.n) == (turns // 2, turns // 2 - 1, turns // 2 + 1)
print("resident", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024, 1, flush=True)
"""


@posix
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_very_long_call_is_never_held_a_second_time(path: Path) -> None:
    """Shares are of the memory that the call itself takes; SQLite's own is not in them."""
    run = subprocess.run(
        [sys.executable, "-c", LONG, str(path), str(TURNS)], capture_output=True, text=True, timeout=560, check=False
    )
    assert run.returncode == 0, run.stderr
    share = {line.split()[0]: float(line.split()[2]) for line in run.stdout.splitlines()}
    assert share["save"] < 0.6, "the words of the index, joined; no second call"
    assert max(share["again"], share["excerpt"]) < 0.01
    assert share["head"] < 0.01, "what was said is not loaded to merge, nor indexed again"
    assert share["search"] < 0.6


# Other processes

SAVES = """
import sys
from datetime import UTC, datetime, timedelta
from call_logs.model import Call, Speaker, Turn
from call_logs.store import Marks
from call_logs.store.sqlite import SQLiteStore
path, who, pages = sys.argv[1], sys.argv[2], int(sys.argv[3])
now = datetime(2026, 9, 30, tzinfo=UTC)
print("ready", flush=True)
sys.stdin.readline()
store = SQLiteStore(path)
store.open_account("acme", "highlevel")
for page in range(pages):
    turns = (Turn(n=1, speaker=Speaker.CUSTOMER, text=f"a refund {page} " * 30),)
    calls = [
        Call(account="acme", provider="highlevel", vendor_call_id=f"{who}-{page}-{n}", turns=turns,
             started_at=now - timedelta(minutes=page, seconds=n))
        for n in range(10)
    ]
    store.save_page("acme", calls, Marks(now, now - timedelta(minutes=page), str(page)))
    print(page, flush=True)
store.close()
"""


def saving(path: Path, who: str, pages: int) -> "subprocess.Popen[str]":
    """Another process that waits for a line, then saves pages of ten calls and prints the number of each."""
    return subprocess.Popen(
        [sys.executable, "-c", SAVES, str(path), who, str(pages)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def go(process: "subprocess.Popen[str]") -> None:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


@posix
@pytest.mark.parametrize("acknowledged", [1, 9, 40])
def test_a_killed_process_loses_no_acknowledged_page(path: Path, acknowledged: int) -> None:
    with saving(path, "one", 100_000) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            go(process)
            for page in range(acknowledged):
                assert process.stdout.readline() == f"{page}\n"
            os.kill(process.pid, signal.SIGKILL)
            rest = process.stdout.read().splitlines()
            assert process.wait(20) == -signal.SIGKILL
        finally:
            process.kill()
    told = acknowledged + len(rest)
    with closing(SQLiteStore(path)) as store:
        total = store.list_calls(ALL).total
        assert told * 10 <= total <= told * 10 + 10
        assert total % 10 == 0, "a torn page"
        assert store.marks("acme").resume == str(total // 10 - 1)
        assert store.search(parse("refund"), ALL).total_calls == total
        store.save_page("acme", [call(1)])
    sound(path)


LEADS = """
import sys
from call_logs.store.sqlite import SQLiteStore
store = SQLiteStore(sys.argv[1])
print(store.lead("acme"), flush=True)
sys.stdin.readline()
"""


@posix
def test_a_killed_leader_is_followed_at_once(store: SQLiteStore, path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", LEADS, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "True\n"
            begun = time.monotonic()
            assert not store.lead("acme")
            assert time.monotonic() - begun < 1.0, "it waits for nobody"
            assert store.save_page("acme", [call(1)]).new == 1, "who does not lead may write"
            os.kill(process.pid, signal.SIGKILL)
            process.wait(20)
        finally:
            process.kill()
    assert store.lead("acme")
    assert stat.S_IMODE(path.with_name("calls.db-lead-1").stat().st_mode) == 0o600
    # Another store of this process that asks in vain must not take the lock along when it closes its file.
    with closing(SQLiteStore(path)) as other:
        assert not other.lead("acme")
    asked = subprocess.run(
        [sys.executable, "-c", LEADS, str(path)], input="\n", capture_output=True, text=True, timeout=20, check=True
    )
    assert asked.stdout == "False\n"


def test_processes_that_begin_on_the_same_new_file_and_write_at_once_lose_nothing(path: Path) -> None:
    processes = [saving(path, f"process-{n}", 8) for n in range(4)]
    try:
        for process in processes:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        for process in processes:
            go(process)
        for process in processes:
            _, failures = process.communicate(timeout=40)
            assert (process.returncode, failures) == (0, "")
    finally:
        for process in processes:
            process.kill()
            process.wait(10)
    with closing[Store](SQLiteStore(path)) as store:
        assert store.list_calls(ALL).total == 4 * 8 * 10
    sound(path)


# What erasing leaves


def whispered(n: int, *, version: int = 0) -> Call:
    """A call whose words are its own, in what was said, its summary, its numbers and its names."""
    said = f"zq{n}secret whispered v{version}zq{n} and it was about money and an appointment"
    turns = tuple(Turn(n=at, speaker=Speaker.CUSTOMER, text=f"{said} number {at}") for at in range(1, 12))
    return call(n).model_copy(
        update={
            "vendor_call_id": f"zq{n}secret-id",
            "turns": turns,
            "summary": f"zq{n}secret summed up",
            "from_number": f"+1206555{n:04}",
            "end_reason": f"zq{n}secret reason",
            "actions": (Action(kind=ActionKind.CUSTOM, vendor_kind="custom", name=f"zq{n}secret action"),),
        }
    )


def left_in(folder: Path, *words: str) -> dict[str, list[str]]:
    """Which of the words each file still holds, in any place."""
    return {
        file.name: held
        for file in folder.iterdir()
        if (held := [word for word in words if word.encode() in file.read_bytes()])
    }


def test_nothing_of_an_erased_call_is_left_in_any_file(store: SQLiteStore, path: Path) -> None:
    for first in range(0, 160, 40):
        store.save_page("acme", [whispered(n) for n in range(first, first + 40)])
    store.save_page(
        "acme", [whispered(n, version=1) for n in range(100, 120)], unreadable=[Unreadable("zq100secret-id", ())]
    )
    gone = range(90, 150)
    secrets = [f"zq{n}secret" for n in gone] + [f"v1zq{n}" for n in gone] + [f"206555{n:04}" for n in gone]
    assert left_in(path.parent, *secrets)
    store.erase("acme", [f"zq{n}secret-id" for n in gone])
    assert store.compact(thorough=False)
    assert left_in(path.parent, *secrets) == {}
    assert left_in(path.parent, "zq89secret"), "what was not erased can be found this way"
    sound(path)


def test_a_reader_that_does_not_end_keeps_the_journal_and_the_promise_is_not_made(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "BUSY_SECONDS", 0.1)
    with closing(SQLiteStore(path)) as store, closing(sqlite3.connect(path)) as reader:
        store.open_account("acme", "highlevel")
        store.save_page("acme", [whispered(1)])
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM call").fetchall()
        store.erase("acme", ["zq1secret-id"])
        assert not store.compact(thorough=True)
        assert store.uncompacted() == 1
    with closing(SQLiteStore(path)) as again:
        assert again.compact(thorough=False)
        assert again.uncompacted() == 0
    assert left_in(path.parent, "zq1secret") == {}


def test_audit_entries_cannot_be_changed_or_taken_away(store: SQLiteStore, path: Path) -> None:
    store.audit([Audited(NOW, "local", "get_call", "ok", ("acme/1",), None)])
    with closing(sqlite3.connect(path)) as db:
        for statement in ("DELETE FROM audit", "UPDATE audit SET principal = 'nobody'"):
            with pytest.raises(sqlite3.IntegrityError, match="stay"):
                db.execute(statement)
