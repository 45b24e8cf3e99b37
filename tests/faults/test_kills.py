"""A process that syncs is killed again and again while its vendors break and new calls arrive: nothing is lost or doubled.

Then the vendors calm down, one pass is made, and every call is compared with a mirror that met no fault.
"""

import json
import random
import sqlite3
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from processes import running
from tables import FULL, Row
from vendors import SILENT, SLUGS, call_id, word

from call_logs.store import Filter, Store, open_store
from call_logs.store.query import parse
from postgresql import new_database

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

CALLS = 300
"""Of each of five vendors; an hour apart, so that no pass but the first reads the old ones."""

PAGE = 5
KILLS = {"SQLite": 50, "PostgreSQL": 50}
ROUNDS = {"SQLite": 9 if FULL else 1, "PostgreSQL": 1}
SECONDS = (0.1, 1.3)
"""How long a process lives."""

COLUMNS = (
    "store",
    "seed",
    "kills",
    "requests",
    "calls",
    "lost",
    "doubled",
    "ghosts",
    "changed",
    "not found",
    "seconds",
)


def sqlite_file(folder: Path) -> str:
    return str(folder / "calls.db")


def sound(database: str) -> None:
    """The file is whole, and the index says what the calls say."""
    with closing(sqlite3.connect(database, isolation_level=None)) as db:
        assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert db.execute("PRAGMA foreign_key_check").fetchall() == []
        db.execute("INSERT INTO words(words) VALUES('integrity-check')")


def contents(store: Store, account: str) -> dict[str, str]:
    """All that is told of each call, by the vendor's id; what is held twice is told."""
    found = [call for _, call in store.after(account, 0, 100_000)]
    doubled = [name for name, count in Counter(call.vendor_call_id for call in found).items() if count > 1]
    assert not doubled, doubled
    # An agent's name may be known by other calls only: that is how a call is told, and not how it is kept.
    told = [call for one in found if (call := store.call([account], one.id)) is not None]
    return {call.vendor_call_id: call.model_dump_json() for call in told}


@pytest.mark.parametrize(
    ("engine", "make", "seed"),
    [("SQLite", sqlite_file, seed) for seed in range(1, ROUNDS["SQLite"] + 1)]
    + [("PostgreSQL", lambda _: new_database(), 100)],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_a_killed_sync_loses_and_doubles_nothing(
    engine: str, make: Callable[[Path], str], seed: int, tmp_path: Path, row: Row
) -> None:
    database, rng, begun = make(tmp_path), random.Random(seed), time.monotonic()
    kills = KILLS[engine] if FULL else KILLS[engine] * 2 // 5
    with running("vendor_process.py", (CALLS, 3600, PAGE, seed, *SLUGS), 800) as vendor:
        accounts = vendor.hear()
        with running("sync_process.py", (database, accounts), 800) as syncing:
            assert syncing.hear() == "ready"
            for _ in range(kills):
                assert syncing.ask(f"kill {rng.uniform(*SECONDS):.3f}") == "killed"
            requests = len(json.loads(vendor.ask("asked")))
            vendor.ask("calm")
            states = json.loads(syncing.ask("once"))
            assert {state for state, _ in states.values()} == {"ok"}, states
        listed: dict[str, list[int]] = json.loads(vendor.ask("calls"))
        with running("sync_process.py", (tmp_path / "clean.db", accounts), 400) as syncing:
            assert syncing.hear() == "ready"
            assert {state for state, _ in json.loads(syncing.ask("once")).values()} == {"ok"}
    lost, ghosts, changed, silent, total = 0, 0, 0, 0, 0
    wrong: list[str] = []
    with closing(open_store(database)) as store, closing(open_store(str(tmp_path / "clean.db"))) as clean:
        for slug in SLUGS:
            held, right = contents(store, f"my-{slug}"), contents(clean, f"my-{slug}")
            ids = {call_id(slug, number) for number in listed[slug]}
            assert right.keys() == ids
            total += len(held)
            lost += len(ids - held.keys())
            ghosts += len(held.keys() - ids)
            unread = {record.vendor_call_id for record in store.unreadable(f"my-{slug}")}
            for name in held.keys() & ids:
                if held[name] != right[name]:
                    changed += 1
                    wrong.append(f"{slug} {name}, told as unreadable: {name in unread}\n{held[name]}\n{right[name]}")
            which = Filter((f"my-{slug}",), include_tests=True, include_legs=True)
            if slug not in SILENT:
                for number in listed[slug]:
                    found = store.search(parse(word(slug, number)), which)
                    hit = {f"my-{slug}/{call_id(slug, number)}"}
                    if {one.row.id for one in found.hits} != hit or found.total_calls != 1:
                        silent += 1
                        wrong.append(f"{slug} {hit} is found as {found}")
    if engine == "SQLite":
        sound(database)
    values = (engine, seed, kills, requests, total, lost, 0, ghosts, changed, silent, f"{time.monotonic() - begun:.0f}")
    row("kills of a syncing process", COLUMNS, values)
    assert (lost, ghosts, changed, silent) == (0, 0, 0, 0), "\n".join(wrong)
    assert total > CALLS * len(SLUGS), "calls arrived"
