"""Moving all calls to another database and back, through kills, with every letter compared."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random

import pytest
from click.testing import CliRunner, Result

pytest.importorskip("psycopg")
import psycopg

from call_logs.__main__ import cli, main
from call_logs.model import Call, Speaker, Turn
from call_logs.store import Filter, Marks, Store, Unreadable, open_store
from call_logs.store.query import parse
from call_logs.store.sqlite import SQLiteStore
from postgresql import fresh_database, new_database

pytestmark = pytest.mark.slow  # a server of its own
FULL = os.environ.get("CALL_LOGS_FAULTS") == "full"

NOW = datetime(2026, 9, 30, 12, 0, tzinfo=UTC)
MARKS = Marks(NOW, NOW - timedelta(days=90), "[3]")
BAD = [Unreadable("bad-1", ("createdAt", "turns")), Unreadable(None, ())]
NAMES = ("acme", "initech", "hooli")


def call(account: str, number: int) -> Call:
    random = Random(number)
    said = [
        " ".join(random.choices(["refund", "invoice", "café", "退款", "मुझे", "no"], k=9))
        for _ in range(1300 if number == 7 else random.randrange(6))
    ]
    return Call(
        account=account,
        provider="vyom",
        vendor_call_id=f"call-{number}",
        started_at=NOW - timedelta(seconds=number // 3, milliseconds=number % 3),
        agent_id=f"agent-{number % 4}",
        summary="A refund." if number % 5 == 0 else None,
        turns=tuple(
            Turn(n=n, speaker=list(Speaker)[n % 4], text=text, offset_seconds=n / 4) for n, text in enumerate(said, 1)
        ),
    )


def fill(store: Store, count: int) -> None:
    """Three accounts: one with this many calls, one with a tenth of them, one with none."""
    for name, calls in zip(NAMES, (count, count // 10, 0), strict=True):
        store.open_account(name, "vyom", f"tenant of {name}", "scope")
        for begin in range(0, calls, 100):
            store.save_page(name, [call(name, n) for n in range(begin, min(begin + 100, calls))])
        store.save_page(name, [], MARKS, BAD)
        store.note(name, "ok")


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[int], SQLiteStore]]:
    """Makes the configured database, with calls."""
    path = tmp_path / "calls.db"
    monkeypatch.setenv("CALL_LOGS_DATABASE", str(path))
    with closing(SQLiteStore(path)) as store:

        def filled(count: int) -> SQLiteStore:
            fill(store, count)
            return store

        yield filled


def migrate(target: str, *options: str) -> Result:
    return CliRunner().invoke(cli, ["migrate", "--to", target, *options])


def check_same(here: Store, there: Store) -> None:
    assert there.opened() == here.opened()
    for name in NAMES:
        assert there.fingerprint(name) == here.fingerprint(name)
        assert there.marks(name) == here.marks(name) == MARKS
        assert sorted(there.unreadable(name), key=repr) == sorted(here.unreadable(name), key=repr)
        which = Filter((name,))
        assert there.list_calls(which).total == here.list_calls(which).total
        for query in ("refund", '"refund invoice"', "退款 -no"):
            assert there.search(parse(query), which).total_calls == here.search(parse(query), which).total_calls
    [one] = there.accounts(["acme"])
    assert (one.state, one.last_synced_at) == ("", None), "a copy is no reading: the next pass says what is new"


def test_everything_goes_to_postgresql_and_back(
    source: Callable[[int], SQLiteStore], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, url, back = source(450), fresh_database(), tmp_path / "back.db"
    there = migrate(url)
    assert there.exit_code == 0, there.output
    assert "acme: 450 calls, fingerprint" in there.output
    with closing(open_store(url)) as copy:
        check_same(store, copy)
    again = migrate(url, "--json")
    assert (again.exit_code, [one["same"] for one in json.loads(again.stdout)]) == (0, [True] * 3)
    monkeypatch.setenv("CALL_LOGS_DATABASE", url)
    returned = migrate(str(back), "--json")
    assert returned.exit_code == 0, returned.output
    assert [(one["account"], one["calls"]) for one in json.loads(returned.stdout)] == [
        ("acme", 450),
        ("hooli", 0),
        ("initech", 45),
    ]
    with closing(SQLiteStore(back)) as copy:
        check_same(store, copy)


def test_what_changed_in_the_old_database_meanwhile_is_copied_by_the_next_run(
    source: Callable[[int], SQLiteStore],
) -> None:
    store, url = source(250), fresh_database()
    assert migrate(url).exit_code == 0
    changed = call("acme", 240).model_copy(update={"summary": "Another."})  # among the first ones copied
    store.save_page("acme", [changed, *(call("acme", n) for n in range(250, 260))])
    assert migrate(url).exit_code == 0
    with closing(open_store(url)) as copy:
        check_same(store, copy)


def test_a_target_with_other_calls_is_refused_and_left_alone(source: Callable[[int], SQLiteStore]) -> None:
    source(30)
    url = fresh_database()
    with closing(open_store(url)) as other:
        other.open_account("acme", "vyom")
        other.save_page("acme", [call("acme", 1)])
        before = other.fingerprint("acme")
        refused = migrate(url)
        assert "holds calls of acme" in str(refused.exception)
        assert other.fingerprint("acme") == before


def test_copies_that_differ_are_told_and_the_marks_stay_behind(source: Callable[[int], SQLiteStore]) -> None:
    """A target that got calls from elsewhere after the first run."""
    source(30)
    url = fresh_database()
    assert migrate(url).exit_code == 0
    with closing(open_store(url)) as other:
        other.save_page("acme", [call("acme", 31)], Marks())
    differs = migrate(url)
    assert differs.exit_code == 1
    assert "30 calls with fingerprint" in differs.output
    with closing(open_store(url)) as other:
        assert other.marks("acme") == Marks()


@pytest.mark.parametrize(
    ("to", "code", "said"),
    [
        ("{here}", 2, "names already"),
        ("postgresql://calls:canary@127.0.0.1:1/calls", 1, "--to: The database calls at 127.0.0.1 cannot be reached"),
        ("mysql://calls:canary@127.0.0.1/calls", 1, "not PostgreSQL"),
    ],
)
def test_a_target_that_cannot_be_used_is_told(
    source: Callable[[int], SQLiteStore],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    to: str,
    code: int,
    said: str,
) -> None:
    source(1)
    monkeypatch.setattr(sys, "argv", ["call-logs-mcp", "migrate", "--to", to.format(here=tmp_path / "calls.db")])
    with pytest.raises(SystemExit) as ended:
        main()
    shown = capsys.readouterr().err
    assert ended.value.code == code
    assert said in shown
    assert "canary" not in shown


def test_a_source_that_does_not_exist_is_told_and_not_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CALL_LOGS_DATABASE", str(tmp_path / "none.db"))
    monkeypatch.setattr(sys, "argv", ["call-logs-mcp", "migrate", "--to", str(tmp_path / "new.db")])
    with pytest.raises(SystemExit) as ended:
        main()
    assert (ended.value.code, "does not exist" in capsys.readouterr().err) == (2, True)
    assert list(tmp_path.iterdir()) == []


def test_a_copy_that_is_killed_three_times_goes_on_and_ends_equal(source: Callable[[int], SQLiteStore]) -> None:
    count, patience = (100_000, 900) if FULL else (1500, 30)
    store, url = source(count), new_database()
    open_store(url).close()
    command = [sys.executable, "-m", "call_logs", "migrate", "--to", url]

    def held() -> int:
        return looking.execute("SELECT coalesce(sum(calls), 0)::int FROM tally").fetchall()[0][0]

    with psycopg.connect(url, autocommit=True) as looking:
        for killed_at in (count // 10, count * 2 // 5, count * 2 // 3):
            with subprocess.Popen(command, env=dict(os.environ), stderr=subprocess.PIPE, text=True) as copying:
                deadline = time.monotonic() + patience
                while held() < killed_at:
                    assert copying.poll() is None, copying.stderr and copying.stderr.read()
                    assert time.monotonic() < deadline
                copying.send_signal(signal.SIGKILL)
                copying.wait(10)
            assert killed_at <= held() < count
            with closing(open_store(url)) as half:
                assert half.marks("acme") == Marks(), "what is not there yet is not promised"
        done = subprocess.run(
            command, env=dict(os.environ), capture_output=True, text=True, check=False, timeout=patience + 20
        )
        assert done.returncode == 0, done.stderr
    with closing(open_store(url)) as copy:
        check_same(store, copy)
