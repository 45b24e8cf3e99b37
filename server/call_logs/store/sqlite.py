"""The store in one SQLite file: tables, a full-text index with one document a call, and the plans that stay flat.

A call's key is its start second times 256 plus the first free number: row id of the index, time order, date filter and
page cursor in one integer. Filters are words of their own column of the index, so that a search never joins before it
has its newest thousand matches. Writes are `BEGIN IMMEDIATE` and `synchronous=FULL`: what was acknowledged survives a
power cut.
"""

import contextlib
import hashlib
import logging
import math
import os
import sqlite3
import threading
import time
import zlib
from collections.abc import Callable, Generator, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any
from zoneinfo import ZoneInfo

from call_logs.errors import StoreError
from call_logs.model import ActionKind, Call, Direction, Speaker, Status, customer_number, merged
from call_logs.store import (
    RANKED,
    AccountRow,
    ActionGroup,
    AgentRow,
    Filter,
    Group,
    Hit,
    ListPage,
    Marks,
    Row,
    Saved,
    SearchPage,
    SearchPosition,
    Silent,
    Store,
    Unreadable,
    Unsettled,
)
from call_logs.store.query import Query, Term
from call_logs.store.ranking import Weighted, best_turn, needle, ranked, weight
from call_logs.store.words import TOKENISER_VERSION, TURN, fold, tokens

OVER, TOLD = 1, 2
"""How settled a call is: over, and over with transcript or summary."""

SLOTS = 256
"""Calls that can begin in the same second before keys spill into the next one."""

BUSY_SECONDS = 15.0
"""How long a connection waits for another process."""

_SPOKEN = ("customer", "agent", "system", "unknown")
"""The index has a column for each speaker, by the speaker's name."""

_ANYBODY = f"{{{' '.join(_SPOKEN)}}}"
_WALKED = 1000
"""More calls than this are not sorted for a page of them, but read in the list's order until the page is full."""

_COUNTED = 20_000
"""A word in more calls than this weighs as if in this many: counting on costs time and changes no order."""

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
    CREATE VIRTUAL TABLE words USING fts5(customer, agent, system, unknown, filters, tokenize='ascii');
    """,
)

_ACCOUNT = "id, name, provider, state, problem, next_step, last_synced_ms, high_ms, low_ms, resume"
_UNCONNECTED = "call.status IN ('busy', 'failed', 'no_answer', 'canceled', 'rejected')"
_ROW = """
    call.id, account.name, account.provider, call.vendor_id, call.started_ms, call.duration, call.direction,
    call.status, call.from_number, call.to_number, coalesce(agent.name, agent.vendor_id), call.turns, call.actions
"""
_FROM = "call JOIN account ON account.id = call.account LEFT JOIN agent ON agent.id = call.agent"
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
                _index_again(db)

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
        return _marks(row) if row else Marks()

    def note(self, account: str, state: str, problem: str | None = None, next_step: str | None = None) -> None:
        """See `Store.note`."""
        synced = _ms(datetime.now(UTC)) if state == "ok" else None
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
                    f"SELECT {_ACCOUNT} FROM account WHERE name IN ({_marks_for(names)})", tuple(names)
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
                        _moment(synced),
                        _marks(tuple(marks)),
                        calls,
                        calls - silent[0],
                        _key_moment(oldest),
                        _key_moment(newest),
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
                    WHERE account.name IN ({_marks_for(names)}) GROUP BY agent.id ORDER BY calls DESC, agent.name""",
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
                _save_call(db, number[0], call, saved)
            db.executemany(
                "DELETE FROM unreadable WHERE account = ? AND vendor_id = ?",
                [(number[0], call.vendor_call_id) for call in calls],
            )
            for record in unreadable:
                db.execute(
                    "INSERT OR REPLACE INTO unreadable VALUES(?, ?, ?, ?)",
                    (number[0], record.vendor_call_id or "", ", ".join(record.fields), _ms(datetime.now(UTC))),
                )
            if marks is not None:
                db.execute(
                    "UPDATE account SET high_ms = ?, low_ms = ?, resume = ? WHERE id = ?",
                    (_ms(marks.high), _ms_after(marks.low), marks.resume, number[0]),
                )
        return saved

    # -- one call -----------------------------------------------------------------------------------------------

    def call(self, accounts: Sequence[str], call_id: str) -> Call | None:
        """See `Store.call`."""
        account, _, vendor_id = call_id.partition("/")
        if account not in accounts or not _encodable(vendor_id):
            return None
        with self._reading() as db:
            row = db.execute(
                """SELECT content.body FROM call JOIN account ON account.id = call.account
                   JOIN content ON content.id = call.id WHERE account.name = ? AND call.vendor_id = ?""",
                (account, vendor_id),
            ).fetchone()
        return _unpacked(row[0]) if row else None

    def legs(self, call: Call) -> list[Row]:
        """See `Store.legs`."""
        with self._reading() as db:
            found = db.execute(
                f"SELECT {_ROW} FROM {_FROM} WHERE account.name = :account AND call.parent = :id AND call.vendor_id <> :id"
                " ORDER BY call.id",
                {"account": call.account, "id": call.vendor_call_id},
            )
            return [_row(row) for row in found]

    def earlier(self, accounts: Sequence[str], call: Call, limit: int) -> tuple[int, list[Row]]:
        """See `Store.earlier`."""
        tail = _tail(customer_number(call.direction, call.from_number, call.to_number))
        if tail is None:
            return 0, []
        with self._reading() as db:
            where = (
                f"{_among('call.account', _account_numbers(db, accounts))} AND call.leg = 0 AND call.started_ms < :began"
                " AND ((call.from_tail = :tail AND call.direction <> 'outbound')"
                " OR (call.to_tail = :tail AND (call.direction = 'outbound'"
                " OR (call.direction = 'unknown' AND call.from_number IS NULL))))"
            )
            values: dict[str, Any] = {"began": _ms(call.started_at), "tail": tail}
            total = db.execute(f"SELECT count(*) FROM call WHERE {where}", values).fetchone()[0]
            found = db.execute(
                f"SELECT {_ROW} FROM {_FROM} WHERE {where} ORDER BY call.id DESC LIMIT :limit",
                values | {"limit": limit},
            )
            return total, [_row(row) for row in found]

    # -- lists and counts ---------------------------------------------------------------------------------------

    def list_calls(
        self, which: Filter, *, sort: str = "newest", limit: int = 20, after: tuple[float, int] | None = None
    ) -> ListPage:
        """See `Store.list_calls`."""
        with self._reading() as db:
            where, values = _where(db, which)
            total = db.execute(f"SELECT count(*) FROM call WHERE {where}", values).fetchone()[0]
            if total > _WALKED and (len(which.accounts) > 1 or sort == "longest"):
                where, values = _where(db, which, walked=True)
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
                f"SELECT {_ROW} FROM {_FROM} WHERE {where} ORDER BY {order} LIMIT :limit",
                values | {"limit": limit + 1},
            ).fetchall()
        return ListPage([_row(row) for row in found[:limit]], total, len(found) > limit)

    def summaries(self, keys: Sequence[int]) -> dict[int, str]:
        """See `Store.summaries`."""
        with self._reading() as db:
            found = db.execute(f"SELECT id, body FROM content WHERE id IN ({_marks_for(keys)})", tuple(keys)).fetchall()
        return {key: summary for key, body in found if (summary := _unpacked(body).summary)}

    def count(self, which: Filter, group_by: Sequence[str], zone: str) -> tuple[int, list[Group]]:
        """See `Store.count`."""
        groups: dict[tuple[str, ...], list[float | None]] = {}
        answered: dict[tuple[str, ...], int] = {}
        total = 0
        with self._reading() as db:
            where, values = _where(db, which)
            chosen = ", ".join(_DIMENSIONS[name] for name in group_by) or "''"
            shape = [_shaper(name, zone) for name in group_by]
            found = db.execute(
                f"SELECT call.duration, call.answered, {chosen} FROM {_FROM} WHERE {where}",
                values,
            )
            for duration, was_answered, *parts in found:
                key = tuple(form(part) for form, part in zip(shape, parts, strict=False))
                groups.setdefault(key, []).append(duration)
                answered[key] = answered.get(key, 0) + was_answered
                total += 1
        return total, [_group(key, durations, answered[key]) for key, durations in groups.items()]

    def count_actions(self, which: Filter, group_by: str, zone: str) -> tuple[int, list[ActionGroup]]:
        """See `Store.count_actions`."""
        column = {"kind": "action.kind", "name": "action.name"}.get(group_by) or _DIMENSIONS[group_by]
        form = _shaper(group_by, zone)
        executions: dict[str, int] = {}
        calls: dict[str, dict[int, str]] = {}
        with self._reading() as db:
            where, values = _where(db, which)
            considered = db.execute(f"SELECT count(*) FROM call WHERE {where}", values).fetchone()[0]
            one_kind = "AND action.kind = :action" if which.action else ""
            found = db.execute(
                f"""SELECT {column}, call.id, account.name || '/' || call.vendor_id
                    FROM {_FROM} JOIN action ON action.call = call.id
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
                    WHERE account.name = ? AND call.settled >= ? AND call.vendor_id IN ({_marks_for(vendor_call_ids)})""",
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
            where, values = _where(db, which)
            found = db.execute(
                f"""SELECT account.name, account.provider, count(*), sum(call.started_ms >= :recent AND NOT {_UNCONNECTED}),
                    sum({_UNCONNECTED}) FROM {_FROM} WHERE {where} AND call.turns = 0 GROUP BY account.id""",
                values | {"recent": _ms(recent_since)},
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
            column = _ANYBODY if speaker is None else Speaker(speaker)
            match, where, values = _match(db, query, which, column)
            if match is None:
                return SearchPage([], 0, ranked_all=True, more=False, known=known)
            values |= {"match": match, "known": known}
            source = f"words JOIN call ON call.id = words.rowid WHERE words MATCH :match AND {where}"
            counted = source if "call." in where else f"words WHERE words MATCH :match AND {where}"
            total = db.execute(f"SELECT count(*) FROM {counted}", values).fetchone()[0]
            if sort == "newest":
                return _newest(db, query, speaker, source, values, total, limit, after)
            return _most_relevant(db, query, speaker, source, values, total, limit, after)


def _newest(
    db: sqlite3.Connection,
    query: Query,
    speaker: str | None,
    source: str,
    values: dict[str, Any],
    total: int,
    limit: int,
    after: SearchPosition | None,
) -> SearchPage:
    beyond = "AND words.rowid < :key" if after else ""
    found = db.execute(
        f"SELECT words.rowid FROM {source} AND call.seq <= :known {beyond} ORDER BY words.rowid DESC LIMIT :limit",
        values | {"key": after.key if after else 0, "limit": limit + 1},
    ).fetchall()
    weights = [Weighted(needle(term), 1.0) for term in query.terms]
    hits = _hits(db, weights, [(0.0, key) for (key,) in found[:limit]], speaker)
    return SearchPage(hits, total, ranked_all=True, more=len(found) > limit, known=values["known"])


def _most_relevant(
    db: sqlite3.Connection,
    query: Query,
    speaker: str | None,
    source: str,
    values: dict[str, Any],
    total: int,
    limit: int,
    after: SearchPosition | None,
) -> SearchPage:
    said = f" || ' {TURN} ' || ".join(f"words.{column}" for column in ([speaker] if speaker else _SPOKEN))
    texts = [
        (key, f" {text} ")
        for key, text in db.execute(
            f"SELECT words.rowid, {said} FROM {source} AND call.seq <= :known ORDER BY words.rowid DESC LIMIT {RANKED}",
            values,
        )
    ]
    weights = after.weights if after else tuple(_weights(db, query.terms))
    terms = [Weighted(needle(term), value) for term, value in zip(query.terms, weights, strict=True)]
    order = ranked(texts, terms)
    if after is not None:
        order = [place for place in order if place < (after.score, after.key)]
    hits = _hits(db, terms, order[:limit], speaker)
    return SearchPage(hits, total, total <= RANKED, len(order) > limit, values["known"], weights)


def _weights(db: sqlite3.Connection, terms: Sequence[Term]) -> Iterator[float]:
    calls = min(_COUNTED, db.execute("SELECT count(*) FROM (SELECT 1 FROM call LIMIT ?)", (_COUNTED,)).fetchone()[0])
    for term in terms:
        found = db.execute(
            "SELECT count(*) FROM (SELECT 1 FROM words WHERE words MATCH ? LIMIT ?)",
            (f"{_ANYBODY} : {_fts(term)}", _COUNTED),
        ).fetchone()[0]
        yield round(weight(found, max(calls, found)), 4)


def _hits(
    db: sqlite3.Connection,
    terms: Sequence[Weighted],
    places: Sequence[tuple[float, int]],
    speaker: str | None,
) -> list[Hit]:
    hits: list[Hit] = []
    for score, key in places:
        row = db.execute(f"SELECT {_ROW} FROM {_FROM} WHERE call.id = ?", (key,)).fetchone()
        call = _unpacked(db.execute("SELECT body FROM content WHERE id = ?", (key,)).fetchone()[0])
        spoken = [turn for turn in call.turns if speaker is None or turn.speaker == speaker]
        index = best_turn([f" {' '.join(tokens(turn.text))} " for turn in spoken], terms)
        hits.append(Hit(_row(row), call, spoken[index].n, score))
    return hits


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


# -- statements -------------------------------------------------------------------------------------------------

_DIMENSIONS = {
    "day": "call.started_ms",
    "hour": "call.started_ms",
    "weekday": "call.started_ms",
    "agent": "coalesce(agent.name, agent.vendor_id, 'unknown')",
    "account": "account.name",
    "provider": "account.provider",
    "status": "call.status",
    "direction": "call.direction",
    "end_reason": "coalesce(call.end_reason, 'unknown')",
    "phone": "coalesce(CASE call.direction WHEN 'outbound' THEN call.to_number ELSE call.from_number END,"
    " CASE call.direction WHEN 'unknown' THEN call.to_number END, 'unknown')",
}
_TIME_FORMS = {"day": "%Y-%m-%d", "hour": "%H:00", "weekday": "%A"}


def _shaper(dimension: str, zone: str) -> Callable[[Any], str]:
    """What turns a dimension's column into its key. Days, hours and weekdays are the zone's."""
    form = _TIME_FORMS.get(dimension)
    if form is None:
        return str
    there = ZoneInfo(zone)

    def shaped(ms: Any) -> str:
        return datetime.fromtimestamp(ms / 1000, there).strftime(form)

    return shaped


def _group(key: tuple[str, ...], durations: Sequence[float | None], answered: int) -> Group:
    known = [duration for duration in durations if duration is not None]
    return Group(key, len(durations), answered, sum(known), median(known) if known else None)


def _window(which: Filter) -> tuple[list[str], dict[str, Any]]:
    parts: list[str] = []
    values: dict[str, Any] = {}
    if which.since is not None:
        parts.append("call.id >= :low")
        values["low"] = int(which.since.timestamp() // 1) * SLOTS
    if which.until is not None:
        parts.append("call.id < :high")
        values["high"] = -int(-which.until.timestamp() // 1) * SLOTS
    for name, sign, limit in (
        ("shortest", ">=", which.min_duration_seconds),
        ("longest", "<=", which.max_duration_seconds),
    ):
        if limit is not None:
            parts.append(f"call.duration {sign} :{name}")
            values[name] = limit
    return parts, values


def _where(db: sqlite3.Connection, which: Filter, *, walked: bool = False) -> tuple[str, dict[str, Any]]:
    """The filter over `call` for lists and counts. `walked`: not by the accounts' index, whose order is another."""
    parts, values = _window(which)
    # The plus keeps SQLite from using the index of the accounts; that of an agent or a status tells more.
    accounts = _account_numbers(db, which.accounts)
    other = walked or which.agent is not None or which.status is not None
    parts.append(_among("+call.account" if other else "call.account", accounts))
    if which.agent is not None:
        parts.append(_among("call.agent", _agent_numbers(db, accounts, which.agent)))
    for name, value in (("direction", which.direction), ("status", which.status)):
        if value is not None:
            parts.append(f"call.{name} = :{name}")
            values[name] = str(value)
    if which.action is not None:
        parts.append("instr(' ' || call.actions || ' ', :kind) > 0")
        values["kind"] = f" {which.action} "
    if which.phone is not None:
        parts.append(
            "call.id IN (SELECT id FROM call WHERE from_tail >= :tail AND from_tail < :tail_end"
            " UNION ALL SELECT id FROM call WHERE to_tail >= :tail AND to_tail < :tail_end)"
        )
        values |= {"tail": which.phone[::-1], "tail_end": which.phone[::-1] + ":"}
    if not which.include_tests:
        parts.append("call.test = 0")
    if not which.include_legs:
        parts.append("call.leg = 0")
    return " AND ".join(parts), values


def _match(db: sqlite3.Connection, query: Query, which: Filter, column: str) -> tuple[str | None, str, dict[str, Any]]:
    """The full-text expression with the filters as words, and what is left to compare. None matches nothing."""
    accounts = _account_numbers(db, which.accounts)
    agents = _agent_numbers(db, accounts, which.agent) if which.agent is not None else None
    if not accounts or agents == []:
        return None, "", {}
    required = [" OR ".join(_fts(term) for term in alternatives) for alternatives in query.required]
    match = f"{column} : ({' AND '.join(f'({part})' for part in required)})"
    wanted = [[f"ac{number}" for number in accounts]]
    if agents is not None:
        wanted.append([f"ag{number}" for number in agents])
    wanted += [[f"{prefix}{value}"] for prefix, value in (("di", which.direction), ("st", which.status)) if value]
    if which.action is not None:
        wanted.append([f"ak{which.action}"])
    # The index's tokeniser parts words at "_", so these are phrases of two words (st in progress).
    for words in wanted:
        match += " AND filters : (" + " OR ".join(f'"{word}"' for word in words) + ")"
    if which.phone is not None:
        match += f' AND filters : "ph{which.phone[::-1]}" *'
    unwanted = [word for word, allowed in (("test", which.include_tests), ("leg", which.include_legs)) if not allowed]
    if unwanted:
        match = f"({match}) NOT filters : ({' OR '.join(unwanted)})"
    if query.excluded:
        match = f"({match}) NOT {_ANYBODY} : ({' OR '.join(_fts(term) for term in query.excluded)})"
    parts, values = _window(which)
    return match, " AND ".join(part.replace("call.id", "words.rowid") for part in parts) or "1", values


def _fts(term: Term) -> str:
    """A term for FTS5. Tokens hold letters, digits and marks only: nothing here needs escaping."""
    return f'"{" ".join(term.tokens)}"' + (" *" if term.prefix else "")


def _account_numbers(db: sqlite3.Connection, names: Sequence[str]) -> list[int]:
    found = db.execute(f"SELECT id FROM account WHERE name IN ({_marks_for(names)})", tuple(names))
    return [number for (number,) in found]


def _agent_numbers(db: sqlite3.Connection, accounts: Sequence[int], wanted: str) -> list[int]:
    """The accounts' agents of this id, or with this in their name, whatever its case and accents."""
    lowered, folded = wanted.casefold(), fold(wanted)
    found = db.execute(f"SELECT id, vendor_id, coalesce(name, '') FROM agent WHERE {_among('account', accounts)}")
    return [
        number
        for number, vendor_id, name in found
        if vendor_id == wanted or lowered in name.casefold() or (folded and folded in fold(name))
    ]


def _among(column: str, numbers: Sequence[int]) -> str:
    return f"{column} IN ({', '.join(str(number) for number in numbers)})"


def _encodable(text: str) -> bool:
    """Whether SQLite can take it: there is no UTF-8 for a lone surrogate."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _marks_for(values: Sequence[object]) -> str:
    return ", ".join("?" * len(values))


# -- one call in and out ----------------------------------------------------------------------------------------


def _save_call(db: sqlite3.Connection, account: int, read: Call, saved: Saved) -> None:
    held = db.execute(
        """SELECT call.id, call.seq, call.hash, content.body FROM call JOIN content ON content.id = call.id
           WHERE account = ? AND vendor_id = ?""",
        (account, read.vendor_call_id),
    ).fetchone()
    call = merged(_unpacked(held[3]), read) if held else read
    packed = call.model_dump_json(exclude_defaults=True).encode()
    digest = hashlib.blake2b(packed, digest_size=16).digest()
    saved.ids.append(call.id)
    if held and held[2] == digest:
        saved.same += 1
        if _settled(call) < TOLD:
            db.execute("UPDATE call SET read_ms = ? WHERE id = ?", (_ms(datetime.now(UTC)), held[0]))
        return
    if held:
        saved.changed += 1
        seq = held[1]
        _delete(db, held[0])
    else:
        saved.new += 1
        db.execute("UPDATE setting SET value = value + 1 WHERE name = 'seq'")
        seq = int(db.execute("SELECT value FROM setting WHERE name = 'seq'").fetchone()[0])
    second = int(call.started_at.timestamp() // 1)
    key = held[0] if held and held[0] // SLOTS == second else _free_key(db, second)
    _insert(db, key, seq, account, call, packed, digest)


def _insert(db: sqlite3.Connection, key: int, seq: int, account: int, call: Call, packed: bytes, digest: bytes) -> None:
    leg = int(
        call.parent_id is not None
        and db.execute("SELECT 1 FROM call WHERE account = ? AND vendor_id = ?", (account, call.parent_id)).fetchone()
        is not None
    )
    kinds = list(dict.fromkeys(action.kind for action in call.actions))
    agent = _agent(db, account, call)
    db.execute(
        f"INSERT INTO call VALUES({_marks_for(range(23))})",
        (
            key,
            seq,
            account,
            call.vendor_call_id,
            call.parent_id,
            leg,
            int(call.is_test),
            agent,
            _ms(call.started_at),
            call.duration_seconds,
            call.direction,
            call.status,
            int(call.was_answered),
            call.from_number,
            call.to_number,
            _tail(call.from_number),
            _tail(call.to_number),
            call.end_reason,
            len(call.turns),
            " ".join(kinds),
            digest,
            _settled(call),
            _ms(datetime.now(UTC)),
        ),
    )
    db.execute("INSERT INTO content VALUES(?, ?)", (key, zlib.compress(packed, 6)))
    db.executemany(
        "INSERT INTO action VALUES(?, ?, ?, ?)",
        [(key, n, action.kind, action.name) for n, action in enumerate(call.actions)],
    )
    _index(db, key, account, agent, call, leg=bool(leg))
    _mark_legs(db, account, call.vendor_call_id)


def _settled(call: Call) -> int:
    return TOLD if call.is_final and call.is_told else OVER if call.is_final else 0


def _mark_legs(db: sqlite3.Connection, account: int, vendor_id: str) -> None:
    """Calls that were here before their parent become its legs."""
    found = db.execute(
        "SELECT id FROM call WHERE account = :account AND parent = :id AND vendor_id <> :id AND leg = 0",
        {"account": account, "id": vendor_id},
    )
    for (key,) in found.fetchall():
        db.execute("UPDATE call SET leg = 1 WHERE id = ?", (key,))
        db.execute("UPDATE words SET filters = filters || ' leg' WHERE rowid = ?", (key,))


def _delete(db: sqlite3.Connection, key: int) -> None:
    db.execute("DELETE FROM words WHERE rowid = ?", (key,))
    db.execute("DELETE FROM action WHERE call = ?", (key,))
    db.execute("DELETE FROM content WHERE id = ?", (key,))
    db.execute("DELETE FROM call WHERE id = ?", (key,))


def _free_key(db: sqlite3.Connection, second: int) -> int:
    key = second * SLOTS
    if db.execute("SELECT 1 FROM call WHERE id = ?", (key,)).fetchone() is None:
        return key
    return db.execute(
        """SELECT id + 1 FROM call WHERE id >= ? AND NOT EXISTS (SELECT 1 FROM call AS next WHERE next.id = call.id + 1)
           ORDER BY id LIMIT 1""",
        (key,),
    ).fetchone()[0]


def _agent(db: sqlite3.Connection, account: int, call: Call) -> int | None:
    if call.agent_id is None:
        return None
    db.execute(
        """INSERT INTO agent(account, vendor_id, name) VALUES(?, ?, ?)
           ON CONFLICT(account, vendor_id) DO UPDATE SET name = coalesce(excluded.name, name)""",
        (account, call.agent_id, call.agent_name),
    )
    return db.execute("SELECT id FROM agent WHERE account = ? AND vendor_id = ?", (account, call.agent_id)).fetchone()[
        0
    ]


def _index(db: sqlite3.Connection, key: int, account: int, agent: int | None, call: Call, *, leg: bool) -> None:
    db.execute(
        f"INSERT INTO words(rowid, {', '.join(_SPOKEN)}, filters) VALUES(?, {_marks_for(_SPOKEN)}, ?)",
        (key, *_said(call), _filter_words(account, agent, call, leg=leg)),
    )


def _index_again(db: sqlite3.Connection) -> None:
    """Build the index anew from what is kept, by the tokeniser of now."""
    db.execute("DELETE FROM words")
    found = db.execute(
        "SELECT call.id, account, agent, leg, body FROM call JOIN content ON content.id = call.id ORDER BY call.id"
    )
    for key, account, agent, leg, body in found:
        _index(db, key, account, agent, _unpacked(body), leg=bool(leg))
    db.execute("UPDATE setting SET value = ? WHERE name = 'tokeniser'", (str(TOKENISER_VERSION),))


def _said(call: Call) -> list[str]:
    """The turns' words by speaker, parted by the turn token."""
    columns: dict[str, list[str]] = {speaker: [] for speaker in _SPOKEN}
    for turn in call.turns:
        columns[turn.speaker].append(" ".join(tokens(turn.text)))
    return [f" {TURN} ".join(said) for said in columns.values()]


def _filter_words(account: int, agent: int | None, call: Call, *, leg: bool) -> str:
    words = [f"ac{account}", f"di{call.direction}", f"st{call.status}"]
    words += [f"ag{agent}"] if agent is not None else []
    words += [f"ak{kind}" for kind in {action.kind for action in call.actions}]
    words += [f"ph{tail}" for tail in (_tail(call.from_number), _tail(call.to_number)) if tail]
    words += [word for word, holds in (("test", call.is_test), ("leg", leg)) if holds]
    return " ".join(words)


def _tail(number: str | None) -> str | None:
    """The number's digits reversed, so that "ends with" is a range of an index; None where it has none."""
    from call_logs.phones import digits  # noqa: PLC0415 - only writes and callers' histories need it

    return digits(number)[::-1] or None if number else None


def _unpacked(body: bytes) -> Call:
    return Call.model_validate_json(zlib.decompress(body))


def _row(row: tuple[Any, ...]) -> Row:
    key, account, provider, vendor_id, started, duration, direction, status, source, target, agent, turns, actions = row
    return Row(
        key,
        account,
        provider,
        vendor_id,
        datetime.fromtimestamp(started / 1000, UTC),
        duration,
        Direction(direction),
        Status(status),
        source,
        target,
        agent,
        turns,
        tuple(ActionKind(kind) for kind in actions.split()),
    )


def _marks(row: tuple[Any, ...]) -> Marks:
    high, low, resume = row
    return Marks(_moment(high), _moment(low), resume)


def _ms(moment: datetime | None) -> int | None:
    return round(moment.timestamp() * 1000) if moment is not None else None


def _ms_after(moment: datetime | None) -> int | None:
    """Never before the moment: a low mark must not promise calls that were not read."""
    return math.ceil(moment.timestamp() * 1000) if moment is not None else None


def _moment(ms: int | None) -> datetime | None:
    return datetime.fromtimestamp(ms / 1000, UTC) if ms is not None else None


def _key_moment(key: int | None) -> datetime | None:
    return datetime.fromtimestamp(key // SLOTS, UTC) if key is not None else None


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
