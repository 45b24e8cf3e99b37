"""The store in one SQLite file: tables, a full-text index with one document a call, and the plans that stay flat.

A call's key is its start second times 256 plus the first free number: row id of the index, time order, date filter and
page cursor in one integer. Filters are words of their own column of the index, so that a search never joins before it
has its newest thousand matches. Writes are `BEGIN IMMEDIATE` and `synchronous=FULL`: what was acknowledged survives a
power cut.
"""

import contextlib
import functools
import logging
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Generator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from call_logs.errors import StoreError
from call_logs.model import Call, Speaker, customer_number
from call_logs.store import (
    AccountRow,
    ActionGroup,
    AgentRow,
    Excerpt,
    Filter,
    Group,
    ListPage,
    Marks,
    Occurrence,
    Row,
    Saved,
    SearchPage,
    SearchPosition,
    Silent,
    Store,
    Unreadable,
    Unsettled,
)
from call_logs.store._sqlite_queries import (
    ANYBODY,
    DIMENSIONS,
    UNCONNECTED,
    account_numbers,
    among,
    encodable,
    forms_of,
    group_of,
    match_of,
    most_relevant,
    newest_hits,
    occurrences_of,
    shaper,
    where_of,
)
from call_logs.store._sqlite_rows import (
    FROM,
    OVER,
    ROW,
    SLOTS,
    TOLD,
    index_again,
    key_moment,
    marks_of,
    moment_of,
    places_for,
    row_of,
    save_call,
    tail_of,
    to_ms,
    to_ms_after,
    unpacked,
)
from call_logs.store.query import Query
from call_logs.store.words import TOKENISER_VERSION

BUSY_SECONDS = 15.0
"""How long a connection waits for another process."""

_WALKED = 1000
"""More calls than this are not sorted for a page of them, but read in the list's order until the page is full."""

MIGRATIONS: tuple[str, ...] = (
    """
    CREATE TABLE setting(name TEXT PRIMARY KEY, value TEXT NOT NULL);
    CREATE TABLE account(
        id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, provider TEXT NOT NULL,
        state TEXT NOT NULL DEFAULT '', problem TEXT, next_step TEXT, last_synced_ms INTEGER,
        high_ms INTEGER, low_ms INTEGER, resume TEXT, tenant TEXT NOT NULL DEFAULT '', scope TEXT NOT NULL DEFAULT '');
    CREATE TABLE agent(
        id INTEGER PRIMARY KEY, account INTEGER NOT NULL REFERENCES account(id), vendor_id TEXT NOT NULL, name TEXT,
        UNIQUE(account, vendor_id));
    CREATE TABLE call(
        id INTEGER PRIMARY KEY, seq INTEGER NOT NULL, account INTEGER NOT NULL REFERENCES account(id),
        vendor_id TEXT NOT NULL, parent TEXT, leg INTEGER NOT NULL DEFAULT 0, test INTEGER NOT NULL DEFAULT 0,
        agent INTEGER REFERENCES agent(id), started_ms INTEGER NOT NULL, duration REAL, direction TEXT NOT NULL,
        status TEXT NOT NULL, answered INTEGER NOT NULL, from_number TEXT, to_number TEXT, from_tail TEXT, to_tail TEXT,
        end_reason TEXT, turns INTEGER NOT NULL, actions TEXT NOT NULL, hash BLOB NOT NULL,
        settled INTEGER NOT NULL, read_ms INTEGER NOT NULL);
    CREATE INDEX call_unsettled ON call(account, id, settled, read_ms) WHERE settled < 2;
    CREATE UNIQUE INDEX call_source ON call(account, vendor_id);
    CREATE INDEX call_account ON call(account, id);
    CREATE INDEX call_shown ON call(account, id) WHERE test = 0 AND leg = 0;
    CREATE INDEX call_agent_status ON call(agent, status, id);
    CREATE INDEX call_agent ON call(agent, id);
    CREATE INDEX call_status ON call(status, id);
    CREATE INDEX call_from ON call(from_tail, id);
    CREATE INDEX call_to ON call(to_tail, id);
    CREATE INDEX call_duration ON call(coalesce(duration, 0), id);
    CREATE INDEX call_parent ON call(account, parent) WHERE parent IS NOT NULL;
    CREATE INDEX call_silent ON call(account, id) WHERE turns = 0;
    CREATE TABLE content(id INTEGER PRIMARY KEY REFERENCES call(id), body BLOB NOT NULL);
    CREATE TABLE action(
        call INTEGER NOT NULL REFERENCES call(id), n INTEGER NOT NULL, kind TEXT NOT NULL, name TEXT NOT NULL,
        PRIMARY KEY(call, n)) WITHOUT ROWID;
    CREATE TABLE unreadable(
        account INTEGER NOT NULL REFERENCES account(id), vendor_id TEXT NOT NULL, fields TEXT NOT NULL,
        seen_ms INTEGER NOT NULL, PRIMARY KEY(account, vendor_id)) WITHOUT ROWID;
    CREATE TABLE vocabulary(
        word TEXT NOT NULL, language TEXT NOT NULL, stem TEXT NOT NULL, PRIMARY KEY(word, language)) WITHOUT ROWID;
    CREATE INDEX vocabulary_stem ON vocabulary(language, stem);
    CREATE VIRTUAL TABLE words USING fts5(customer, agent, system, unknown, filters, tokenize='ascii');
    """,
)

_ACCOUNT = "id, name, provider, state, problem, next_step, last_synced_ms, high_ms, low_ms, resume"
_OURS = {"setting", "account", "call"}
"""Tables that every version has."""

_log = logging.getLogger(__name__)


class SQLiteStore(Store):
    """One file, many readers, one writer at a time. A connection serves one question at a time, whatever its thread."""

    def __init__(self, path: str | Path) -> None:
        """Open or create the file (0600). Raises `StoreError` for a file from a newer version or none of ours."""
        self._path = Path(path).expanduser()
        self._idle: list[sqlite3.Connection] = []
        self._lending = threading.Lock()
        self._writing = threading.RLock()
        self._closed = False
        try:
            with _told(self._path):
                self._create_file()
            self._migrate()
        except StoreError:
            self.close()
            raise

    def close(self) -> None:
        """Close the connections; one that is still answering closes when it is done."""
        with self._lending:
            self._closed = True
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    # -- the file -----------------------------------------------------------------------------------------------

    def _create_file(self) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with contextlib.suppress(FileExistsError):
            # Before SQLite does: the journals then inherit the mode.
            os.close(os.open(self._path, os.O_CREAT | os.O_EXCL, 0o600))

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self._path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
        try:
            _to_wal(connection)
            connection.execute("PRAGMA synchronous=FULL")
            connection.execute("PRAGMA foreign_keys=ON")
            connection.execute("PRAGMA cache_size=-16384")
        except BaseException:
            connection.close()
            raise
        return connection

    @contextlib.contextmanager
    def _connection(self) -> Generator[sqlite3.Connection]:
        """A connection that nobody else uses. Worker threads come and go; what they opened serves the next."""
        with self._lending:
            if self._closed:
                raise StoreError("The database is closed: the server is stopping. Start it again.")
            connection = self._idle.pop() if self._idle else None
        connection = connection or self._connect()
        try:
            yield connection
        finally:
            if connection.in_transaction:
                with contextlib.suppress(sqlite3.Error):  # the first failure is the one to tell
                    connection.execute("ROLLBACK")
            with self._lending:
                keep = not self._closed and not connection.in_transaction
                if keep:
                    self._idle.append(connection)
            if not keep:
                connection.close()

    @contextlib.contextmanager
    def _reading(self) -> Generator[sqlite3.Connection]:
        """One snapshot for all statements of a question."""
        with _told(self._path), self._connection() as connection:
            connection.execute("BEGIN")
            yield connection

    @contextlib.contextmanager
    def _transaction(self) -> Generator[sqlite3.Connection]:
        with _told(self._path), self._writing, self._connection() as connection:
            connection.execute("BEGIN IMMEDIATE")
            yield connection
            connection.execute("COMMIT")

    def _migrate(self) -> None:
        with _told(self._path), self._connection() as connection:
            try:
                connection.execute("CREATE VIRTUAL TABLE temp.probe USING fts5(x)")
                connection.execute("DROP TABLE temp.probe")
            except sqlite3.OperationalError as error:
                raise StoreError(
                    f"This Python's SQLite ({sqlite3.sqlite_version}) has no FTS5 full-text search. "
                    "Use a Python from python.org or your system's packages."
                ) from error
            current = self._version(connection) == len(MIGRATIONS) and self._tokeniser(connection) == TOKENISER_VERSION
        if current:
            return
        with self._transaction() as db:
            version = self._version(db)
            if version > len(MIGRATIONS):
                raise StoreError(
                    f"The database {self._path} was written by a newer call-logs-mcp (its version {version}, this "
                    f"program's {len(MIGRATIONS)}). Upgrade call-logs-mcp, or point CALL_LOGS_DATABASE at another file."
                )
            for migration in MIGRATIONS[version:]:
                for statement in migration.split(";"):
                    db.execute(statement)
            db.execute("INSERT OR IGNORE INTO setting VALUES('tokeniser', ?)", (str(TOKENISER_VERSION),))
            db.execute("INSERT OR IGNORE INTO setting VALUES('seq', '0')")
            db.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")
            if self._tokeniser(db) != TOKENISER_VERSION:
                index_again(db)

    def _version(self, connection: sqlite3.Connection) -> int:
        """The number of migrations that were run. Raises `StoreError` for another program's database."""
        tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
        if tables and not tables >= _OURS:
            raise StoreError(
                f"The database {self._path} belongs to another program. Point CALL_LOGS_DATABASE at another file."
            )
        return connection.execute("PRAGMA user_version").fetchone()[0]

    @staticmethod
    def _tokeniser(connection: sqlite3.Connection) -> int:
        return int(connection.execute("SELECT value FROM setting WHERE name = 'tokeniser'").fetchone()[0])

    # -- accounts -----------------------------------------------------------------------------------------------

    def open_account(self, name: str, provider: str, tenant: str = "", scope: str = "") -> None:
        """See `Store.open_account`."""
        with self._transaction() as db:
            held = db.execute("SELECT provider, tenant, scope FROM account WHERE name = ?", (name,)).fetchone()
            if held is None:
                db.execute(
                    "INSERT INTO account(name, provider, tenant, scope) VALUES(?, ?, ?, ?)",
                    (name, provider, tenant, scope),
                )
                return
            if held[0] != provider:
                raise StoreError(
                    f"The account name {name} already holds calls of {held[0]} in this database. "
                    f"Give the {provider} account another name."
                )
            if tenant and held[1] not in ("", tenant):
                raise StoreError(
                    f"The account {name} holds calls of another {provider} location or project in this database. Give "
                    "this one another name in the config file, or set CALL_LOGS_DATABASE to another file."
                )
            if held[2] != scope:
                db.execute("UPDATE account SET high_ms = NULL, low_ms = NULL, resume = NULL WHERE name = ?", (name,))
            db.execute("UPDATE account SET tenant = ?, scope = ? WHERE name = ?", (tenant or held[1], scope, name))

    def marks(self, account: str) -> Marks:
        """See `Store.marks`."""
        with self._reading() as db:
            row = db.execute("SELECT high_ms, low_ms, resume FROM account WHERE name = ?", (account,)).fetchone()
        return marks_of(row) if row else Marks()

    def note(
        self,
        account: str,
        state: str,
        problem: str | None = None,
        next_step: str | None = None,
        synced_at: datetime | None = None,
    ) -> None:
        """See `Store.note`."""
        synced = to_ms(synced_at or datetime.now(UTC)) if state == "ok" else None
        with self._transaction() as db:
            db.execute(
                "UPDATE account SET state = ?, problem = ?, next_step = ?, last_synced_ms = coalesce(?, last_synced_ms)"
                " WHERE name = ?",
                (state, problem, next_step, synced, account),
            )

    def accounts(self, names: Sequence[str]) -> list[AccountRow]:
        """See `Store.accounts`."""
        with self._reading() as db:
            found = {
                row[1]: row
                for row in db.execute(
                    f"SELECT {_ACCOUNT} FROM account WHERE name IN ({places_for(names)})", tuple(names)
                )
            }
            rows: list[AccountRow] = []
            for name in names:
                if name not in found:
                    continue
                number, _, provider, state, problem, next_step, synced, *marks = found[name]
                calls, oldest, newest = db.execute(
                    "SELECT count(*), min(id), max(id) FROM call WHERE account = ?", (number,)
                ).fetchone()
                silent = db.execute("SELECT count(*) FROM call WHERE account = ? AND turns = 0", (number,)).fetchone()
                bad = db.execute("SELECT count(*) FROM unreadable WHERE account = ?", (number,)).fetchone()
                rows.append(
                    AccountRow(
                        name,
                        provider,
                        state,
                        problem,
                        next_step,
                        moment_of(synced),
                        marks_of(tuple(marks)),
                        calls,
                        calls - silent[0],
                        key_moment(oldest),
                        key_moment(newest),
                        bad[0],
                    )
                )
        return rows

    def agents(self, names: Sequence[str]) -> list[AgentRow]:
        """See `Store.agents`."""
        with self._reading() as db:
            found = db.execute(
                f"""SELECT account.name, agent.vendor_id, agent.name, count(call.id) AS calls
                    FROM agent JOIN account ON account.id = agent.account LEFT JOIN call ON call.agent = agent.id
                    WHERE account.name IN ({places_for(names)}) GROUP BY agent.id ORDER BY calls DESC, agent.name""",
                tuple(names),
            )
            return [AgentRow(*row) for row in found]

    # -- writing ------------------------------------------------------------------------------------------------

    def save_page(
        self,
        account: str,
        calls: Sequence[Call],
        marks: Marks | None = None,
        unreadable: Sequence[Unreadable] = (),
    ) -> Saved:
        """See `Store.save_page`."""
        saved = Saved()
        with self._transaction() as db:
            number = db.execute("SELECT id FROM account WHERE name = ?", (account,)).fetchone()
            if number is None:
                raise StoreError(f"The account {account} is not open in this database.")
            # Oldest first: the index flushes its buffer whenever a row id does not grow.
            for call in sorted(calls, key=lambda call: call.started_at):
                save_call(db, number[0], call, saved)
            db.executemany(
                "DELETE FROM unreadable WHERE account = ? AND vendor_id = ?",
                [(number[0], call.vendor_call_id) for call in calls],
            )
            for record in unreadable:
                db.execute(
                    "INSERT OR REPLACE INTO unreadable VALUES(?, ?, ?, ?)",
                    (number[0], record.vendor_call_id or "", ", ".join(record.fields), to_ms(datetime.now(UTC))),
                )
            if marks is not None:
                db.execute(
                    "UPDATE account SET high_ms = ?, low_ms = ?, resume = ? WHERE id = ?",
                    (to_ms(marks.high), to_ms_after(marks.low), marks.resume, number[0]),
                )
        return saved

    # -- one call -----------------------------------------------------------------------------------------------

    def call(self, accounts: Sequence[str], call_id: str) -> Call | None:
        """See `Store.call`."""
        account, _, vendor_id = call_id.partition("/")
        if account not in accounts or not encodable(vendor_id):
            return None
        with self._reading() as db:
            row = db.execute(
                """SELECT content.body FROM call JOIN account ON account.id = call.account
                   JOIN content ON content.id = call.id WHERE account.name = ? AND call.vendor_id = ?""",
                (account, vendor_id),
            ).fetchone()
        return unpacked(row[0]) if row else None

    def excerpt(self, accounts: Sequence[str], call_id: str, first: int = 1, last: int | None = None) -> Excerpt | None:
        """See `Store.excerpt`."""
        call = self.call(accounts, call_id)
        return (
            Excerpt(call.model_copy(update={"turns": call.turns[first - 1 : last]}), len(call.turns)) if call else None
        )

    def legs(self, call: Call) -> list[Row]:
        """See `Store.legs`."""
        with self._reading() as db:
            found = db.execute(
                f"SELECT {ROW} FROM {FROM} WHERE account.name = :account AND call.parent = :id AND call.vendor_id <> :id"
                " ORDER BY call.id",
                {"account": call.account, "id": call.vendor_call_id},
            )
            return [row_of(row) for row in found]

    def earlier(self, accounts: Sequence[str], call: Call, limit: int) -> tuple[int, list[Row]]:
        """See `Store.earlier`."""
        tail = tail_of(customer_number(call.direction, call.from_number, call.to_number))
        if tail is None:
            return 0, []
        with self._reading() as db:
            where = (
                f"{among('call.account', account_numbers(db, accounts))} AND call.leg = 0 AND call.started_ms < :began"
                " AND ((call.from_tail = :tail AND call.direction <> 'outbound')"
                " OR (call.to_tail = :tail AND (call.direction = 'outbound'"
                " OR (call.direction = 'unknown' AND call.from_number IS NULL))))"
            )
            values: dict[str, Any] = {"began": to_ms(call.started_at), "tail": tail}
            total = db.execute(f"SELECT count(*) FROM call WHERE {where}", values).fetchone()[0]
            found = db.execute(
                f"SELECT {ROW} FROM {FROM} WHERE {where} ORDER BY call.id DESC LIMIT :limit",
                values | {"limit": limit},
            )
            return total, [row_of(row) for row in found]

    # -- lists and counts ---------------------------------------------------------------------------------------

    def list_calls(
        self, which: Filter, *, sort: str = "newest", limit: int = 20, after: tuple[float, int] | None = None
    ) -> ListPage:
        """See `Store.list_calls`."""
        with self._reading() as db:
            where, values = where_of(db, which)
            total = db.execute(f"SELECT count(*) FROM call WHERE {where}", values).fetchone()[0]
            if total > _WALKED and (len(which.accounts) > 1 or sort == "longest"):
                where, values = where_of(db, which, walked=True)
            order, beyond = {
                "newest": ("call.id DESC", "call.id < :key"),
                "oldest": ("call.id", "call.id > :key"),
                "longest": (
                    "coalesce(call.duration, 0) DESC, call.id DESC",
                    "(coalesce(call.duration, 0), call.id) < (:value, :key)",
                ),
            }[sort]
            if after is not None:
                where, values = f"{where} AND {beyond}", values | {"value": after[0], "key": after[1]}
            found = db.execute(
                f"SELECT {ROW} FROM {FROM} WHERE {where} ORDER BY {order} LIMIT :limit",
                values | {"limit": limit + 1},
            ).fetchall()
        return ListPage([row_of(row) for row in found[:limit]], total, len(found) > limit)

    def summaries(self, keys: Sequence[int]) -> dict[int, str]:
        """See `Store.summaries`."""
        with self._reading() as db:
            found = db.execute(f"SELECT id, body FROM content WHERE id IN ({places_for(keys)})", tuple(keys)).fetchall()
        return {key: summary for key, body in found if (summary := unpacked(body).summary)}

    def count(self, which: Filter, group_by: Sequence[str], zone: str) -> tuple[int, list[Group]]:
        """See `Store.count`."""
        groups: dict[tuple[str, ...], list[float | None]] = {}
        answered: dict[tuple[str, ...], int] = {}
        total = 0
        with self._reading() as db:
            where, values = where_of(db, which)
            chosen = ", ".join(DIMENSIONS[name] for name in group_by) or "''"
            shape = [shaper(name, zone) for name in group_by]
            found = db.execute(
                f"SELECT call.duration, call.answered, {chosen} FROM {FROM} WHERE {where}",
                values,
            )
            for duration, was_answered, *parts in found:
                key = tuple(form(part) for form, part in zip(shape, parts, strict=False))
                groups.setdefault(key, []).append(duration)
                answered[key] = answered.get(key, 0) + was_answered
                total += 1
        return total, [group_of(key, durations, answered[key]) for key, durations in groups.items()]

    def count_actions(self, which: Filter, group_by: str, zone: str) -> tuple[int, list[ActionGroup]]:
        """See `Store.count_actions`."""
        column = {"kind": "action.kind", "name": "action.name"}.get(group_by) or DIMENSIONS[group_by]
        form = shaper(group_by, zone)
        executions: dict[str, int] = {}
        calls: dict[str, dict[int, str]] = {}
        with self._reading() as db:
            where, values = where_of(db, which)
            considered = db.execute(f"SELECT count(*) FROM call WHERE {where}", values).fetchone()[0]
            one_kind = "AND action.kind = :action" if which.action else ""
            found = db.execute(
                f"""SELECT {column}, call.id, account.name || '/' || call.vendor_id
                    FROM {FROM} JOIN action ON action.call = call.id
                    WHERE {where} {one_kind} ORDER BY call.id DESC""",
                values | {"action": str(which.action)},
            )
            for part, call, call_id in found:
                key = form(part)
                executions[key] = executions.get(key, 0) + 1
                calls.setdefault(key, {}).setdefault(call, call_id)
        groups = [
            ActionGroup(key, number, len(calls[key]), tuple(list(calls[key].values())[:3]))
            for key, number in executions.items()
        ]
        return considered, groups

    def settled(self, account: str, vendor_call_ids: Sequence[str], *, told: bool) -> set[str]:
        """See `Store.settled`."""
        with self._reading() as db:
            found = db.execute(
                f"""SELECT call.vendor_id FROM call JOIN account ON account.id = call.account
                    WHERE account.name = ? AND call.settled >= ? AND call.vendor_id IN ({places_for(vendor_call_ids)})""",
                (account, TOLD if told else OVER, *vendor_call_ids),
            )
            return {vendor_id for (vendor_id,) in found}

    def unsettled(self, account: str, since: datetime, *, told: bool) -> list[Unsettled]:
        """See `Store.unsettled`."""
        with self._reading() as db:
            found = db.execute(
                """SELECT call.vendor_id, call.started_ms, call.read_ms FROM call JOIN account ON account.id = call.account
                   WHERE account.name = ? AND call.id >= ? AND call.settled < 2 AND call.settled < ?""",
                (account, int(since.timestamp() // 1) * SLOTS, TOLD if told else OVER),
            )
            return [
                Unsettled(
                    vendor_id, datetime.fromtimestamp(started / 1000, UTC), datetime.fromtimestamp(read / 1000, UTC)
                )
                for vendor_id, started, read in found
            ]

    def silent(self, which: Filter, recent_since: datetime) -> list[Silent]:
        """See `Store.silent`."""
        with self._reading() as db:
            where, values = where_of(db, which)
            found = db.execute(
                f"""SELECT account.name, account.provider, count(*), sum(call.started_ms >= :recent AND NOT {UNCONNECTED}),
                    sum({UNCONNECTED}) FROM {FROM} WHERE {where} AND call.turns = 0 GROUP BY account.id""",
                values | {"recent": to_ms(recent_since)},
            )
            return [Silent(*row) for row in found]

    # -- search -------------------------------------------------------------------------------------------------

    def search(
        self,
        query: Query,
        which: Filter,
        *,
        speaker: str | None = None,
        sort: str = "relevance",
        limit: int = 10,
        after: SearchPosition | None = None,
    ) -> SearchPage:
        """See `Store.search`."""
        with self._reading() as db:
            known = (
                after.known if after else int(db.execute("SELECT value FROM setting WHERE name='seq'").fetchone()[0])
            )
            column = ANYBODY if speaker is None else Speaker(speaker)
            query = query.with_forms(functools.partial(forms_of, db))
            match, where, values = match_of(db, query, which, column)
            if match is None:
                return SearchPage([], 0, ranked_all=True, more=False, known=known)
            values |= {"match": match, "known": known}
            source = f"words JOIN call ON call.id = words.rowid WHERE words MATCH :match AND {where}"
            counted = source if "call." in where else f"words WHERE words MATCH :match AND {where}"
            total = db.execute(f"SELECT count(*) FROM {counted}", values).fetchone()[0]
            if sort == "newest":
                return newest_hits(db, query, speaker, source, values, total, limit, after)
            return most_relevant(db, query, speaker, source, values, total, limit, after)

    def occurrences(self, query: Query, which: Filter, *, speaker: str | None = None) -> list[Occurrence]:
        """See `Store.occurrences`."""
        with self._reading() as db:
            column = ANYBODY if speaker is None else Speaker(speaker)
            return occurrences_of(db, query.with_forms(functools.partial(forms_of, db)), which, column)

    # -- several processes, other versions, other engines -------------------------------------------------------

    def lead(self, account: str) -> bool:
        """See `Store.lead`."""
        return bool(account)

    def resign(self, account: str) -> None:
        """See `Store.resign`."""

    def index_progress(self) -> float | None:
        """See `Store.index_progress`."""
        return None

    def build_index(self, going_on: Callable[[], bool]) -> None:
        """See `Store.build_index`."""

    def after(self, account: str, key: int, limit: int) -> list[tuple[int, Call]]:
        """See `Store.after`."""
        with self._reading() as db:
            found = db.execute(
                """SELECT call.id, content.body FROM call JOIN account ON account.id = call.account
                   JOIN content ON content.id = call.id WHERE account.name = ? AND call.id > ? ORDER BY call.id LIMIT ?""",
                (account, key, limit),
            )
            return [(key, unpacked(body)) for key, body in found]

    def unreadable(self, account: str) -> list[Unreadable]:
        """See `Store.unreadable`."""
        with self._reading() as db:
            found = db.execute(
                """SELECT vendor_id, fields FROM unreadable JOIN account ON account.id = unreadable.account
                   WHERE account.name = ? ORDER BY vendor_id""",
                (account,),
            )
            return [Unreadable(vendor_id or None, tuple(fields.split(", "))) for vendor_id, fields in found]

    def fingerprint(self, account: str) -> tuple[int, str]:
        """See `Store.fingerprint`."""
        raise NotImplementedError

    def remember(self, name: str, value: str | None) -> None:
        """See `Store.remember`."""
        raise NotImplementedError

    def remembered(self, name: str) -> str | None:
        """See `Store.remembered`."""
        raise NotImplementedError


def _to_wal(connection: sqlite3.Connection) -> None:
    """SQLite does not wait when several processes turn the same new file to WAL at once, so this does."""
    deadline = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.01)
        else:
            return


@contextlib.contextmanager
def _told(path: Path) -> Generator[None]:
    """SQLite's and the file system's failures in our words; the log has SQLite's own."""
    try:
        yield
    except sqlite3.Error as error:
        name = getattr(error, "sqlite_errorname", type(error).__name__)
        _log.warning("SQLite failed: %s: %s", name, error)
        raise StoreError(_explained(path, f"{name} {error}".lower())) from error
    except OSError as error:
        raise StoreError(
            f"The database {path} cannot be created or opened ({type(error).__name__}). "
            "Check the folder's permissions or set CALL_LOGS_DATABASE."
        ) from error


def _explained(path: Path, said: str) -> str:
    if "not a database" in said or "corrupt" in said or "malformed" in said:
        return (
            f"{path} is not a readable call-logs-mcp database. Move it away (the calls are read again from the "
            "vendors) or point CALL_LOGS_DATABASE at another file."
        )
    if "locked" in said or "busy" in said:
        return f"The database {path} is locked by another program. Close that program, then ask again."
    if "full" in said:
        return f"The disk of the database {path} is full. Free some space, then ask again."
    if "readonly" in said or "unable to open" in said:
        return f"The database {path} cannot be opened for writing. Check its permissions or set CALL_LOGS_DATABASE."
    return f"The database {path} could not be used. The log has the reason; set CALL_LOGS_DATABASE to use another."
