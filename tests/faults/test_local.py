"""What goes wrong on this machine: the disk, the clock, other processes, other versions; and being told to stop."""

import json
import signal
import sqlite3
import time
from collections.abc import Callable
from contextlib import AsyncExitStack, closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from processes import running
from serving import Asker, serving
from tables import Row
from test_eight import written
from test_frames import talking
from vendors import SLUGS, Breaking, breaking, worlds

import tape
from call_logs.config import load
from call_logs.errors import StoreError
from call_logs.store._sqlite_connections import Connections
from call_logs.store.sqlite import SQLiteStore
from test_sqlite import sound

pytestmark = [pytest.mark.anyio, pytest.mark.slow, pytest.mark.timeout(300)]

CALLS = 20
DAY = timedelta(days=1)
COLUMNS = ("kind", "while it lasts", "afterwards")


class Full(Connections):
    """To a disk that has room for little more than the tables. SQLite itself says that it is full."""

    def connect(self) -> sqlite3.Connection:
        connection = super().connect()
        pages: int = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count = {max(pages, 60) + 5}")
        return connection


class ReadOnly(Connections):
    """To a file that may be read and, once the store has opened it, not written. SQLite itself refuses."""

    _opened = False

    def connect(self) -> sqlite3.Connection:
        connection = super().connect()
        if self._opened:
            connection.execute("PRAGMA query_only = ON")
        return connection

    def refuse(self) -> None:
        """From now on."""
        self._opened = True
        while self._idle:
            self._idle.pop().close()


def full(path: Path) -> SQLiteStore:
    return SQLiteStore(path, Full)


def read_only(path: Path) -> SQLiteStore:
    connections = ReadOnly(path)
    store = SQLiteStore(path, lambda _: connections)
    connections.refuse()
    return store


async def read(asker: Asker) -> dict[str, str]:
    """A pass over every account; how each ended."""
    return {name: (await asker.server.app.sync.finish(name)).state for name in asker.server.app.sync.names}


async def right(server: Breaking, database: Path) -> str:
    """With nothing in the way, all accounts hold what a mirror holds that met no fault."""
    async with AsyncExitStack() as stack:
        asker = await stack.enter_async_context(serving(server.accounts, database))
        clean = await stack.enter_async_context(serving(server.accounts, database.with_name("clean.db")))
        assert set((await read(clean)).values()) == {"ok"}
        assert set((await read(asker)).values()) == {"ok"}
        for slug in SLUGS:
            held = asker.held(f"my-{slug}")
            assert held == clean.held(f"my-{slug}")
            assert held.keys() == server.worlds[slug].ids()
    sound(database)
    return "right"


@pytest.mark.parametrize(
    ("kind", "store", "words"), [("disk full", full, "is full"), ("read-only", read_only, "writing")]
)
async def test_a_disk_that_takes_nothing_is_told_and_what_is_held_still_answers(
    kind: str,
    store: Callable[[Path], SQLiteStore],
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    row: Row,
) -> None:
    tape.unhurried(monkeypatch)
    database = tmp_path / "calls.db"
    with breaking(worlds(CALLS, spacing=timedelta(hours=8))) as server:
        async with serving({"my-vyom": server.accounts["my-vyom"]}, database) as asker:
            assert await read(asker) == {"my-vyom": "ok"}
            for account in load(server.accounts, own_accounts=False).accounts:
                slug = account.provider.slug
                asker.server.app.store.open_account(account.name, slug, account.tenant, account.scope)
        with closing(sqlite3.connect(database)) as db:
            db.execute("VACUUM")
        server.worlds["vyom"].add(-1, -2)
        async with serving(server.accounts, database, store=store(database)) as asker:
            states = await read(asker)
            accounts = (await asker.body("list_accounts"))["accounts"]
            body = await asker.body("list_calls", account="vyom", include_tests=True)
            assert body["total"] >= CALLS
        told = [one for one in accounts if words in (one.get("problem") or "")]
        assert told
        assert {state for state in states.values() if state != "ok"} <= {"failed", "misconfigured"}
        assert all(one["next_step"] for one in told)
        row("faults of this machine", COLUMNS, (kind, f"told by {len(told)} accounts", await right(server, database)))


@pytest.mark.parametrize("ahead", [DAY, -DAY], ids=["a day fast", "a day slow"])
async def test_a_wrong_clock_hides_nothing_for_good(
    ahead: timedelta, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, row: Row
) -> None:
    tape.unhurried(monkeypatch)
    with breaking(worlds(CALLS, spacing=timedelta(hours=8))) as server:
        async with serving(server.accounts, tmp_path / "calls.db", now=lambda: datetime.now(UTC) + ahead) as asker:
            states = set((await read(asker)).values())
            held = {slug: asker.held(f"my-{slug}").keys() for slug in SLUGS}
        for slug in SLUGS:
            assert held[slug] <= server.worlds[slug].ids()
            server.worlds[slug].add(-1)
        assert states == {"ok"}
        missing = sum(len(server.worlds[slug].ids() - {*held[slug]}) - 1 for slug in SLUGS)
        kind = f"clock {'+' if ahead > timedelta() else '-'}24 h"
        row("faults of this machine", COLUMNS, (kind, f"{missing} missing", await right(server, tmp_path / "calls.db")))


async def test_two_servers_on_one_file_double_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, row: Row
) -> None:
    tape.unhurried(monkeypatch)
    database = tmp_path / "calls.db"
    with breaking(worlds(CALLS, spacing=timedelta(hours=8))) as server:
        async with AsyncExitStack() as stack:
            twins = [await stack.enter_async_context(serving(server.accounts, database)) for _ in range(2)]
            states = [await read(twin) for twin in twins]
            assert {state for found in states for state in found.values()} == {"ok"}
            for slug in SLUGS:
                assert twins[0].held(f"my-{slug}") == twins[1].held(f"my-{slug}")
        row("faults of this machine", COLUMNS, ("twin processes", "right", await right(server, database)))


async def test_a_database_of_a_newer_version_is_refused_and_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, row: Row
) -> None:
    tape.unhurried(monkeypatch)
    database = tmp_path / "calls.db"
    with breaking(worlds(CALLS, spacing=timedelta(hours=8))) as server:
        assert await right(server, database) == "right"
        with closing(sqlite3.connect(database)) as db:
            (version,) = db.execute("PRAGMA user_version").fetchone()
            db.execute("PRAGMA user_version = 999")
        with pytest.raises(StoreError, match=r"newer call-logs-mcp.*Upgrade call-logs-mcp"):
            async with serving(server.accounts, database):
                pass
        with closing(sqlite3.connect(database)) as db:
            db.execute(f"PRAGMA user_version = {version}")
        row("faults of this machine", COLUMNS, ("newer database", "refused, told", await right(server, database)))


# --- being told to stop

ENDINGS = ("end of input", "SIGTERM", "SIGINT")


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("moment", ["in a pass", "vendor hangs, call open"])
def test_the_server_stops_within_two_seconds_whatever_is_under_way(
    moment: str, ending: str, tmp_path: Path, row: Row
) -> None:
    with running("vendor_process.py", (300, 3600, 3, 0, *SLUGS), 120) as vendor:
        config = written(json.loads(vendor.hear()), tmp_path)
        if moment != "in a pass":
            vendor.ask("hang")
        settings = {"CALL_LOGS_CONFIG": str(config), "CALL_LOGS_HISTORY": "90d", "CALL_LOGS_WAIT": "30s"}
        with talking(["-X", "dev", "-W", "error", "-m", "call_logs"], tmp_path, **settings) as talk:
            question: dict[str, Any] = {"name": "list_calls", "arguments": {}}
            talk.write(json.dumps({"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": question}).encode())
            until = time.monotonic() + 30
            while len(json.loads(vendor.ask("asked"))) == 0:
                assert time.monotonic() < until
            begun = time.monotonic()
            if ending == "end of input":
                assert talk.process.stdin is not None
                talk.process.stdin.close()
                talk.process.stdin = None
            else:
                talk.process.send_signal(signal.Signals[ending])
            code = talk.process.wait(2)
            took = time.monotonic() - begun
    assert code == 0
    assert b"Traceback" not in (tmp_path / "stderr").read_bytes()
    sound(tmp_path / "calls.db")
    row("stopping", ("while", "told by", "exit code", "seconds"), (moment, ending, code, f"{took:.2f}"))
