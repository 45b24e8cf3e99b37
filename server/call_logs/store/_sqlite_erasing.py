"""Erasing calls from SQLite's tables and files, and keeping out what may not come back.

Deleting is not enough: the index keeps a deleted call's words until its segments are merged, and a file its bytes until
they are overwritten. So freed bytes are overwritten at once (`secure_delete`), and `compact` merges the index into one
segment, writes the file anew and empties the journal.
"""

import sqlite3
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from datetime import datetime

from call_logs.model import UNCONNECTED
from call_logs.store import Compared, Tombstone
from call_logs.store._sqlite_index import Index, is_there
from call_logs.store._sqlite_rows import COUNTED
from call_logs.store.shared import DAY, SLOTS, SPOKEN, Comparable, Known, Refusals, moment_of, to_ms, verdict


def tombstones_of(db: sqlite3.Connection, account: int) -> list[Tombstone]:
    """The account's tombstones."""
    found = db.execute("SELECT kind, digest, digits, before_ms FROM tombstone WHERE account = ?", (account,))
    return [Tombstone(kind, digest, digits, moment_of(before)) for kind, digest, digits, before in found]


def refusals_of(db: sqlite3.Connection, account: int, name: str) -> Refusals:
    """What may not be kept of the account."""
    return Refusals(name, tombstones_of(db, account))


def bury(db: sqlite3.Connection, account: int, tombstones: Iterable[Tombstone]) -> None:
    """Keep tombstones; of two that differ in their moment only, the later one."""
    db.executemany(
        """INSERT INTO tombstone VALUES(?, ?, ?, ?, ?) ON CONFLICT(account, kind, digest, digits)
           DO UPDATE SET before_ms = max(before_ms, excluded.before_ms)""",
        [(account, one.kind, one.digest, one.digits, to_ms(one.before)) for one in tombstones],
    )


def compare(
    db: sqlite3.Connection, account: int, since: datetime, until: datetime, listed: Collection[str], now: datetime
) -> tuple[Compared, list[str]]:
    """See `Store.compare`. Also returns the ids of the calls to erase."""
    found = db.execute(
        """SELECT call.id, call.vendor_id, call.agent, missed.since_ms FROM call
           LEFT JOIN missed ON missed.account = call.account AND missed.vendor_id = call.vendor_id
           WHERE call.account = ? AND call.id >= ? AND call.id < ? AND call.listed = 1""",
        (account, int(since.timestamp() // 1) * SLOTS, int(until.timestamp() // 1) * SLOTS),
    )
    told = verdict([Comparable(*row) for row in found], listed, now)
    db.executemany("DELETE FROM missed WHERE account = ? AND vendor_id = ?", [(account, one) for one in told.back])
    db.executemany("INSERT INTO missed VALUES(?, ?, ?)", [(account, one, to_ms(now)) for one in told.missed])
    db.execute("UPDATE account SET vanished = ? WHERE id = ? AND vanished <> ?", (told.kept, account, told.kept))
    return Compared(len(told.missed), len(told.gone), told.kept), told.gone


def erase(db: sqlite3.Connection, account: int, vendor_ids: Collection[str]) -> int:
    """Erase calls within a transaction. Returns how many there were."""
    erased = 0
    said: set[str] = set()
    tally: Counter[tuple[int, ...]] = Counter()
    handled: Counter[int] = Counter()
    index = Index(db, Known())
    for vendor_id in vendor_ids:
        for table in ("unreadable", "missed"):
            db.execute(f"DELETE FROM {table} WHERE account = ? AND vendor_id = ?", (account, vendor_id))
        held = db.execute(
            "SELECT id, test, leg, status, turns, agent FROM call WHERE account = ? AND vendor_id = ?",
            (account, vendor_id),
        ).fetchone()
        if held is None:
            continue
        key, test, leg, status, turns, agent = held
        erased += 1
        said |= index.erase(key)
        for table, column in (
            ("part", "call"),
            ("action", "call"),
            ("content", "id"),
            ("stale", "call"),
            ("call", "id"),
        ):
            db.execute(f"DELETE FROM {table} WHERE {column} = ?", (key,))
        tally[account, key // DAY, test, leg, int(not turns), int(status in UNCONNECTED)] -= 1
        if agent is not None:
            handled[agent] += 1
        for leg_key, leg_test, leg_status, leg_turns in _legs(db, account, vendor_id):
            db.execute("UPDATE call SET leg = 0 WHERE id = ?", (leg_key,))
            index.unmark_leg(leg_key)
            place = int(not leg_turns), int(leg_status in UNCONNECTED)
            tally[account, leg_key // DAY, leg_test, 1, *place] -= 1
            tally[account, leg_key // DAY, leg_test, 0, *place] += 1
    if not erased:
        return 0
    db.executemany(COUNTED, [(*place, number) for place, number in tally.items() if number])
    db.execute("DELETE FROM tally WHERE account = ? AND calls = 0", (account,))
    db.executemany("UPDATE agent SET calls = calls - ? WHERE id = ?", [(n, agent) for agent, n in handled.items()])
    _forget_words(db, said)
    if db.execute("SELECT 1 FROM call WHERE account = ?", (account,)).fetchone() is None:
        db.execute("DELETE FROM agent WHERE account = ?", (account,))
    db.execute("UPDATE setting SET value = value + 1 WHERE name IN ('changes', 'vocabulary')")
    db.execute("UPDATE account SET changes = changes + 1 WHERE id = ?", (account,))
    db.execute("UPDATE setting SET value = value + ? WHERE name = 'erased'", (erased,))
    return erased


def _legs(db: sqlite3.Connection, account: int, vendor_id: str) -> Sequence[tuple[int, int, str, int]]:
    return db.execute(
        "SELECT id, test, status, turns FROM call WHERE account = ? AND parent = ? AND vendor_id <> parent AND leg = 1",
        (account, vendor_id),
    ).fetchall()


def _forget_words(db: sqlite3.Connection, said: Iterable[str]) -> None:
    """Take those words out of the vocabularies that no call says any more."""
    for suffix in ("", "_next"):
        if is_there(db, f"words{suffix}"):
            unsaid = [
                (word,)
                for word in said
                if db.execute(
                    f"SELECT 1 FROM words{suffix} WHERE words{suffix} MATCH ? LIMIT 1",
                    (f'{{{" ".join(SPOKEN)}}} : "{word}"',),
                ).fetchone()
                is None
            ]
            db.executemany(f"DELETE FROM vocabulary{suffix} WHERE word = ?", unsaid)
