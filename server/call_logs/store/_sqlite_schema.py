"""SQLite's tables, made by numbered migrations; see `sqlite`."""

import sqlite3
from pathlib import Path

from call_logs.errors import StoreError
from call_logs.store._sqlite_connections import Connections
from call_logs.store._sqlite_index import create
from call_logs.store.words import TOKENISER_VERSION

MIGRATIONS: tuple[str, ...] = (
    """
    CREATE TABLE setting(name TEXT PRIMARY KEY, value TEXT NOT NULL);
    INSERT INTO setting VALUES('seq', '0'), ('changes', '0'), ('vocabulary', '0'), ('erased', '0');
    CREATE TABLE account(
        id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, provider TEXT NOT NULL,
        state TEXT NOT NULL DEFAULT '', problem TEXT, next_step TEXT, last_synced_ms INTEGER,
        high_ms INTEGER, low_ms INTEGER, resume TEXT, tenant TEXT NOT NULL DEFAULT '', scope TEXT NOT NULL DEFAULT '',
        rests_until_ms INTEGER, vanished INTEGER NOT NULL DEFAULT 0, changes INTEGER NOT NULL DEFAULT 0);
    CREATE TABLE agent(
        id INTEGER PRIMARY KEY, account INTEGER NOT NULL REFERENCES account(id), vendor_id TEXT NOT NULL, name TEXT,
        calls INTEGER NOT NULL DEFAULT 0, UNIQUE(account, vendor_id));
    CREATE TABLE call(
        id INTEGER PRIMARY KEY, seq INTEGER NOT NULL, account INTEGER NOT NULL REFERENCES account(id),
        vendor_id TEXT NOT NULL, parent TEXT, leg INTEGER NOT NULL DEFAULT 0, test INTEGER NOT NULL DEFAULT 0,
        agent INTEGER REFERENCES agent(id), started_ms INTEGER NOT NULL, duration REAL, direction TEXT NOT NULL,
        status TEXT NOT NULL, answered INTEGER NOT NULL, from_number TEXT, to_number TEXT, from_tail TEXT, to_tail TEXT,
        end_reason TEXT, turns INTEGER NOT NULL, timed INTEGER NOT NULL, actions TEXT NOT NULL, hash BLOB NOT NULL,
        said BLOB NOT NULL, settled INTEGER NOT NULL, read_ms INTEGER NOT NULL, listed INTEGER NOT NULL);
    CREATE INDEX call_unsettled ON call(account, id, settled, read_ms) WHERE settled < 2;
    CREATE UNIQUE INDEX call_source ON call(account, vendor_id);
    CREATE INDEX call_account ON call(account, id);
    CREATE INDEX call_shown ON call(account, id) WHERE test = 0 AND leg = 0;
    CREATE INDEX call_from ON call(from_tail, id);
    CREATE INDEX call_to ON call(to_tail, id);
    CREATE INDEX call_duration ON call(coalesce(duration, 0), id, duration, account, test, leg);
    CREATE INDEX call_parent ON call(account, parent) WHERE parent IS NOT NULL;
    CREATE INDEX call_silent ON call(
        account, id, test, leg, status, direction, agent, duration, from_tail, to_tail, started_ms, turns)
        WHERE turns = 0;
    CREATE TABLE content(id INTEGER PRIMARY KEY REFERENCES call(id), head BLOB NOT NULL);
    CREATE TABLE part(
        call INTEGER NOT NULL REFERENCES call(id), n INTEGER NOT NULL, customer INTEGER NOT NULL,
        agent INTEGER NOT NULL, system INTEGER NOT NULL, unknown INTEGER NOT NULL, body BLOB NOT NULL,
        PRIMARY KEY(call, n));
    CREATE TABLE action(
        call INTEGER NOT NULL REFERENCES call(id), n INTEGER NOT NULL, kind TEXT NOT NULL, name TEXT NOT NULL,
        PRIMARY KEY(call, n)) WITHOUT ROWID;
    CREATE TABLE tally(
        account INTEGER NOT NULL, day INTEGER NOT NULL, test INTEGER NOT NULL, leg INTEGER NOT NULL,
        silent INTEGER NOT NULL, unconnected INTEGER NOT NULL, calls INTEGER NOT NULL,
        PRIMARY KEY(account, day, test, leg, silent, unconnected)) WITHOUT ROWID;
    CREATE TABLE unreadable(
        account INTEGER NOT NULL REFERENCES account(id), vendor_id TEXT NOT NULL, fields TEXT NOT NULL,
        seen_ms INTEGER NOT NULL, PRIMARY KEY(account, vendor_id)) WITHOUT ROWID;
    CREATE TABLE note(name TEXT PRIMARY KEY, value TEXT NOT NULL);
    CREATE TABLE stale(call INTEGER PRIMARY KEY);
    CREATE TABLE missed(
        account INTEGER NOT NULL REFERENCES account(id), vendor_id TEXT NOT NULL, since_ms INTEGER NOT NULL,
        PRIMARY KEY(account, vendor_id)) WITHOUT ROWID;
    CREATE TABLE tombstone(
        account INTEGER NOT NULL REFERENCES account(id), kind TEXT NOT NULL, digest TEXT NOT NULL,
        digits INTEGER NOT NULL, before_ms INTEGER, PRIMARY KEY(account, kind, digest, digits)) WITHOUT ROWID;
    CREATE TABLE audit(
        id INTEGER PRIMARY KEY, at_ms INTEGER NOT NULL, principal TEXT NOT NULL, asked TEXT NOT NULL,
        outcome TEXT NOT NULL, call_ids TEXT NOT NULL, found INTEGER);
    CREATE INDEX audit_at ON audit(at_ms);
    CREATE TRIGGER audit_stays BEFORE UPDATE ON audit BEGIN SELECT RAISE(ABORT, 'audit entries stay'); END;
    CREATE TRIGGER audit_keeps BEFORE DELETE ON audit BEGIN SELECT RAISE(ABORT, 'audit entries stay'); END
    """,
)
"""`part`: 512 turns, with how many of each speaker's stand before them. `tally`: calls by UTC day (their key by `DAY`),
so that what every answer asks costs no walk over all calls. `stale`: see `_sqlite_index`, which has the other tables."""

_OURS = {"setting", "account", "call"}
"""Tables that every version has."""


def migrate(connections: Connections) -> None:
    """Bring the file to this program's version. Raises `StoreError` for one from a newer version or none of ours."""
    path = connections.path
    with connections.alone() as connection:
        try:
            connection.execute("CREATE VIRTUAL TABLE temp.probe USING fts5(x)")
            connection.execute("DROP TABLE temp.probe")
        except sqlite3.OperationalError as error:
            raise StoreError(
                f"This Python's SQLite ({sqlite3.sqlite_version}) has no FTS5 full-text search. "
                "Use a Python from python.org or your system's packages."
            ) from error
        current = _version(connection, path) == len(MIGRATIONS)
    if current:
        return
    with connections.writing() as db:
        version = _version(db, path)
        if version > len(MIGRATIONS):
            raise StoreError(
                f"The database {path} was written by a newer call-logs-mcp (its version {version}, this "
                f"program's {len(MIGRATIONS)}). Upgrade call-logs-mcp, or point CALL_LOGS_DATABASE at another file."
            )
        for migration in MIGRATIONS[version:]:
            for statement in migration.split(";\n"):
                db.execute(statement)
        if version == 0:
            create(db, "", TOKENISER_VERSION)
            db.execute("INSERT INTO setting VALUES('tokeniser', ?)", (str(TOKENISER_VERSION),))
        db.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")


def _version(connection: sqlite3.Connection, path: Path) -> int:
    """The number of migrations that were run. Raises `StoreError` for another program's database."""
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
    if tables and not tables >= _OURS:
        raise StoreError(f"The database {path} belongs to another program. Point CALL_LOGS_DATABASE at another file.")
    return connection.execute("PRAGMA user_version").fetchone()[0]
