"""Erasing calls from PostgreSQL's tables, and keeping out what may not come back; see `_sqlite_erasing`.

Deleted rows' bytes go with `VACUUM FULL`, which writes a table anew. PostgreSQL's own write-ahead log, its archive and
backups are beyond this program's reach.
"""

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime

from call_logs.model import UNCONNECTED
from call_logs.store import Compared, Tombstone
from call_logs.store._postgres_changes import tell_of_changes
from call_logs.store._postgres_connections import Connection, ask
from call_logs.store._postgres_index import Columns, Index, index_versions
from call_logs.store._postgres_rows import keep_tally
from call_logs.store.shared import DAY, SLOTS, Comparable, Known, Refusals, moment_of, to_ms, verdict
from call_logs.store.words import TURN

TABLES = ("call", "content", "part", "action", "tally", "unreadable", "missed", "agent")
"""The tables that hold something of calls, beside those of the index."""


def tombstones_of(db: Connection, account: int) -> list[Tombstone]:
    """The account's tombstones."""
    found = ask(db, "SELECT kind, digest, digits, before_ms FROM tombstone WHERE account = %s", (account,))
    return [Tombstone(kind, digest, digits, moment_of(before)) for kind, digest, digits, before in found]


def refusals_of(db: Connection, account: int, name: str) -> Refusals:
    """What may not be kept of the account."""
    return Refusals(name, tombstones_of(db, account))


def bury(db: Connection, account: int, tombstones: Iterable[Tombstone]) -> None:
    """Keep tombstones; of two that differ in their moment only, the later one."""
    with db.cursor() as cursor:
        cursor.executemany(
            """INSERT INTO tombstone VALUES(%s, %s, %s, %s, %s) ON CONFLICT(account, kind, digest, digits)
               DO UPDATE SET before_ms = greatest(tombstone.before_ms, excluded.before_ms)""",
            [(account, one.kind, one.digest, one.digits, to_ms(one.before)) for one in tombstones],
        )


def compare(
    db: Connection, account: int, since: datetime, until: datetime, listed: Collection[str], now: datetime
) -> tuple[Compared, list[str]]:
    """See `Store.compare`. Also returns the ids of the calls to erase."""
    found = ask(
        db,
        """SELECT call.id, call.vendor_id, call.agent, missed.since_ms FROM call
           LEFT JOIN missed ON missed.account = call.account AND missed.vendor_id = call.vendor_id
           WHERE call.account = %s AND call.id >= %s AND call.id < %s AND call.listed""",
        (account, int(since.timestamp() // 1) * SLOTS, int(until.timestamp() // 1) * SLOTS),
    )
    told = verdict([Comparable(*row) for row in found], listed, now)
    ask(db, "DELETE FROM missed WHERE account = %s AND vendor_id = ANY(%s)", (account, told.back))
    ask(
        db,
        "INSERT INTO missed SELECT %s, unnest(%s::text[]), %s",
        (account, told.missed, to_ms(now)),
    )
    ask(db, "UPDATE account SET vanished = %s WHERE id = %s AND vanished <> %s", (told.kept, account, told.kept))
    return Compared(len(told.missed), len(told.gone), told.kept), told.gone


def erase(db: Connection, account: int, vendor_ids: Collection[str]) -> int:
    """Erase calls within a transaction. Returns how many there were."""
    ids = list(vendor_ids)
    for table in ("unreadable", "missed"):
        ask(db, f"DELETE FROM {table} WHERE account = %s AND vendor_id = ANY(%s)", (account, ids))
    held = ask(
        db,
        "SELECT id, test, leg, status, turns, agent FROM call WHERE account = %s AND vendor_id = ANY(%s)",
        (account, ids),
    ).fetchall()
    if not held:
        return 0
    keys = [row[0] for row in held]
    said = {version: _said(db, version, keys) for version in index_versions(db)}
    ask(db, "DELETE FROM stale WHERE call = ANY(%s)", (keys,))
    ask(db, "DELETE FROM call WHERE id = ANY(%s)", (keys,))  # what refers to it goes with it
    changes: list[Columns] = [
        (account, key // DAY, test, leg, not turns, status in UNCONNECTED, -1)
        for key, test, leg, status, turns, _ in held
    ]
    legs = _unmark_legs(db, account, ids)
    for key, test, status, turns in legs:
        place = account, key // DAY, test
        changes += [(*place, leg, not turns, status in UNCONNECTED, by) for leg, by in ((True, -1), (False, 1))]
    keep_tally(db, changes, [(row[5], -1) for row in held if row[5] is not None])
    ask(db, "DELETE FROM tally WHERE account = %s AND calls = 0", (account,))
    for version, words in said.items():
        _forget_words(db, version, words)
    if not ask(db, "SELECT 1 FROM call WHERE account = %s LIMIT 1", (account,)).fetchall():
        ask(db, "DELETE FROM agent WHERE account = %s", (account,))
    ask(db, "UPDATE setting SET value = (value::bigint + 1)::text WHERE name IN ('changes', 'vocabulary')")
    tell_of_changes(db, account)
    ask(db, "UPDATE setting SET value = (value::bigint + %s)::text WHERE name = 'erased'", (len(held),))
    return len(held)


def _unmark_legs(db: Connection, account: int, parents: Sequence[str]) -> list[Columns]:
    """Calls whose parent is gone are no legs any more; returns (key, test, status, turns) of each."""
    found = ask(
        db,
        """SELECT id, test, status, turns FROM call
           WHERE account = %s AND parent = ANY(%s) AND vendor_id <> parent AND leg""",
        (account, list(parents)),
    ).fetchall()
    if found:
        keys = [row[0] for row in found]
        ask(db, "UPDATE call SET leg = false WHERE id = ANY(%s)", (keys,))
        Index(db, Known()).unmark_legs(keys)
    return found


def _said(db: Connection, version: int, keys: Sequence[int]) -> set[str]:
    rows = ask(
        db, f"SELECT customer, agent, system, unknown FROM words_{version} WHERE id = ANY(%s)", (list(keys),)
    ).fetchall()
    words = {word for row in rows for column in row for word in column.split()}
    words.discard(TURN)
    return words


def _forget_words(db: Connection, version: int, said: set[str]) -> None:
    """Take those words out of the vocabulary that no call says any more."""
    known = ask(db, f"SELECT DISTINCT word FROM vocabulary_{version} WHERE word = ANY(%s)", (list(said),)).fetchall()
    # A call that is kept as HUGE has no words in its bag.
    huge = " OR ".join(
        f"strpos(' ' || {column} || ' ', ' ' || word || ' ') > 0"
        for column in ("customer", "agent", "system", "unknown")
    )
    ask(
        db,
        f"""DELETE FROM vocabulary_{version} WHERE word IN (
            SELECT word FROM unnest(%s::text[]) AS word
            WHERE NOT EXISTS (SELECT 1 FROM words_{version} WHERE bag @@ (quote_literal(word))::tsquery)
            AND NOT EXISTS (SELECT 1 FROM words_{version} WHERE kept = 2 AND ({huge})))""",
        ([word for (word,) in known],),
    )


def rewrite(db: Connection, *, thorough: bool) -> None:
    """Give back what erased rows left; on a connection of its own, outside a transaction."""
    tables = [*TABLES, *(f"{name}_{version}" for version in index_versions(db) for name in ("words", "vocabulary"))]
    ask(db, f"VACUUM ({'FULL, ' if thorough else ''}ANALYZE) {', '.join(tables)}")
