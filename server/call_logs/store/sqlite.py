"""The store in one SQLite file: tables, a full-text index with one document a call, and the plans that stay flat.

A call's key is its start second times 256 plus the first free number: row id of the index, time order, date filter and
page cursor in one integer. Filters are words of their own column of the index, so that a search never joins before it
has its newest thousand matches. Writes are `BEGIN IMMEDIATE` and `synchronous=FULL`: what was acknowledged survives a
power cut.
"""

import contextlib
import functools
import sqlite3
import threading
import time
from collections.abc import Callable, Collection, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from call_logs.errors import StoreError
from call_logs.model import Call, Speaker, customer_number
from call_logs.store import (
    AccountRow,
    ActionGroup,
    AgentRow,
    Audited,
    Compared,
    Excerpt,
    Filter,
    Group,
    ListPage,
    Marks,
    Occurrence,
    Opened,
    Row,
    Saved,
    SearchPage,
    SearchPosition,
    Silent,
    Store,
    Tombstone,
    Unreadable,
    Unsettled,
)
from call_logs.store._sqlite_changes import SQLiteWatch
from call_logs.store._sqlite_connections import Alone, Connections, told
from call_logs.store._sqlite_counts import action_groups_of, groups_of, silent_calls, total_of
from call_logs.store._sqlite_erasing import bury, compare, erase, refusals_of, tombstones_of
from call_logs.store._sqlite_index import (
    build_step,
    is_behind,
    merge_step,
    merged,
    progress,
    settings,
    to_build,
    unmerged,
)
from call_logs.store._sqlite_queries import (
    Totals,
    account_numbers,
    among,
    encodable,
    forms_of,
    is_worded,
    match_of,
    most_relevant,
    newest_hits,
    occurrences_of,
    turns_between,
    where_of,
)
from call_logs.store._sqlite_rows import Page, places_for, whole_call
from call_logs.store._sqlite_schema import migrate
from call_logs.store.kept import Memory
from call_logs.store.parts import fingerprint_of, head_of, unpacked
from call_logs.store.query import Query
from call_logs.store.shared import (
    FROM,
    OVER,
    ROW,
    SLOTS,
    TOLD,
    Known,
    audited_of,
    key_moment,
    marks_of,
    moment_of,
    row_of,
    tail_of,
    to_ms,
    to_ms_after,
    with_agent,
)

MOST_PAUSE_SECONDS = 0.25
"""How long the building of an index stands back between two of its steps, at most."""

_WALKED = 1000
"""More calls than this are not sorted for a page of them, but read in the list's order until the page is full."""

_ACCOUNT = (
    "id, name, provider, state, problem, next_step, last_synced_ms, high_ms, low_ms, resume, rests_until_ms, vanished"
)


class SQLiteStore(Store):
    """One file, many readers, one writer at a time."""

    def __init__(self, path: str | Path, connections: Callable[[Path], Connections] = Connections) -> None:
        """Open or create the file (0600). Raises `StoreError` for a file from a newer version or none of ours."""
        self._path = Path(path).expanduser()
        self._connections = connections(self._path)
        self._reading = self._connections.reading
        self._transaction = self._connections.writing
        self._known = Known()
        self._totals = Totals()
        self._memory = Memory()
        self._starting = threading.Lock()
        self._leading: dict[str, Alone] = {}
        try:
            migrate(self._connections)
        except StoreError:
            self.close()
            raise

    def close(self) -> None:
        """Close the connections; one that is still answering closes when it is done."""
        self._connections.close()
        with self._starting:
            for alone in self._leading.values():
                alone.close()

    # -- accounts -----------------------------------------------------------------------------------------------

    def open_account(self, name: str, provider: str, tenant: str = "", scope: str = "") -> None:
        """See `Store.open_account`. Writes nothing where nothing changes: a full or read-only disk still answers."""
        with self._reading() as db:
            known = db.execute("SELECT provider, tenant, scope FROM account WHERE name = ?", (name,)).fetchone()
        if known is not None and known == (provider, tenant or known[1], scope):
            return
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

    def opened(self) -> list[Opened]:
        """See `Store.opened`."""
        with self._reading() as db:
            return [
                Opened(*row) for row in db.execute("SELECT name, provider, tenant, scope FROM account ORDER BY name")
            ]

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
        rests_until: datetime | None = None,
    ) -> None:
        """See `Store.note`."""
        synced = to_ms(synced_at or datetime.now(UTC)) if state == "ok" else None
        with self._transaction() as db:
            db.execute(
                "UPDATE account SET state = ?, problem = ?, next_step = ?, last_synced_ms = coalesce(?, last_synced_ms),"
                " rests_until_ms = ? WHERE name = ?",
                (state, problem, next_step, synced, to_ms(rests_until), account),
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
                number, _, provider, state, problem, next_step, synced, *marks, rests, vanished = found[name]
                calls, silent, oldest, newest, bad = db.execute(
                    """SELECT coalesce(sum(calls), 0), coalesce(sum(calls * silent), 0),
                       (SELECT min(id) FROM call WHERE account = :number),
                       (SELECT max(id) FROM call WHERE account = :number),
                       (SELECT count(*) FROM unreadable WHERE account = :number)
                       FROM tally WHERE account = :number""",
                    {"number": number},
                ).fetchone()
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
                        calls - silent,
                        key_moment(oldest),
                        key_moment(newest),
                        bad,
                        moment_of(rests),
                        vanished,
                    )
                )
        return rows

    def agents(self, names: Sequence[str]) -> list[AgentRow]:
        """See `Store.agents`."""
        with self._reading() as db:
            found = db.execute(
                f"""SELECT account.name, agent.vendor_id, agent.name, agent.calls
                    FROM agent JOIN account ON account.id = agent.account
                    WHERE account.name IN ({places_for(names)}) ORDER BY agent.calls DESC, agent.name""",
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
        *,
        deleted: Sequence[str] = (),
        listed: bool = False,
        now: datetime | None = None,
    ) -> Saved:
        """See `Store.save_page`."""
        with self._transaction() as db:
            number = self._number(db, account)
            page = Page(db, number, self._known, refusals_of(db, number, account), listed=listed)
            # Oldest first: the index flushes its buffer whenever a row id does not grow.
            for call in sorted(calls, key=lambda call: call.started_at):
                page.save(call)
            page.finish()
            if deleted:
                page.saved.erased = erase(db, number, [one for one in deleted if encodable(one)])
            db.executemany(
                "DELETE FROM unreadable WHERE account = ? AND vendor_id = ?",
                [(number, call.vendor_call_id) for call in calls],
            )
            for record in unreadable:
                db.execute(
                    "INSERT OR REPLACE INTO unreadable VALUES(?, ?, ?, ?)",
                    (number, record.vendor_call_id or "", ", ".join(record.fields), to_ms(now or datetime.now(UTC))),
                )
            if marks is not None:
                db.execute(
                    "UPDATE account SET high_ms = ?, low_ms = ?, resume = ? WHERE id = ?",
                    (to_ms(marks.high), to_ms_after(marks.low), marks.resume, number),
                )
        self._known.kept()
        return page.saved

    @staticmethod
    def _number(db: sqlite3.Connection, account: str) -> int:
        row = db.execute("SELECT id FROM account WHERE name = ?", (account,)).fetchone()
        if row is None:
            raise StoreError(f"The account {account} is not open in this database.")
        return row[0]

    # -- one call -----------------------------------------------------------------------------------------------

    def call(self, accounts: Sequence[str], call_id: str) -> Call | None:
        """See `Store.call`."""
        with self._reading() as db:
            held = self._head(db, accounts, call_id)
            return with_agent(whole_call(db, held[0], held[1]), held[3]) if held else None

    def excerpt(self, accounts: Sequence[str], call_id: str, first: int = 1, last: int | None = None) -> Excerpt | None:
        """See `Store.excerpt`."""
        with self._reading() as db:
            held = self._head(db, accounts, call_id)
            if held is None:
                return None
            key, head, number, agent = held
            turns = turns_between(db, key, max(1, first), last)
            return Excerpt(
                with_agent(head_of(unpacked(head)), agent).model_copy(update={"turns": tuple(turns)}), number
            )

    @staticmethod
    def _head(
        db: sqlite3.Connection, accounts: Sequence[str], call_id: str
    ) -> tuple[int, bytes, int, str | None] | None:
        """(key, head, number of turns, the agent's name) of the call, if it is one of these accounts'."""
        account, _, vendor_id = call_id.partition("/")
        if account not in accounts or not encodable(vendor_id):
            return None
        return db.execute(
            """SELECT call.id, content.head, call.turns, agent.name FROM call
               JOIN account ON account.id = call.account JOIN content ON content.id = call.id
               LEFT JOIN agent ON agent.id = call.agent WHERE account.name = ? AND call.vendor_id = ?""",
            (account, vendor_id),
        ).fetchone()

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
            # The plus keeps SQLite from the accounts' index: that of the number tells more.
            where = (
                f"{among('+call.account', account_numbers(db, accounts))} AND call.leg = 0 AND call.started_ms < :began"
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
            total = total_of(db, self._totals, which)
            if not total:
                return ListPage([], 0, more=False)
            where, values, order = self._page_of(db, which, sort, limit, after, total)
            found = db.execute(
                f"SELECT {ROW} FROM {FROM} WHERE {where} ORDER BY {order} LIMIT :limit",
                values | {"limit": limit + 1},
            ).fetchall()
        return ListPage([row_of(row) for row in found[:limit]], total, len(found) > limit)

    @staticmethod
    def _page_of(
        db: sqlite3.Connection, which: Filter, sort: str, limit: int, after: tuple[float, int] | None, total: int
    ) -> tuple[str, dict[str, Any], str]:
        """(where, values, order) of a page of a list."""
        order, beyond = {
            "newest": ("call.id DESC", "call.id < :key"),
            "oldest": ("call.id", "call.id > :key"),
            "longest": (
                "coalesce(call.duration, 0) DESC, call.id DESC",
                "(coalesce(call.duration, 0), call.id) < (:value, :key)",
            ),
        }[sort]
        key = after[1] if after else None
        if not is_worded(which):
            several = len(which.accounts) > 1 or sort == "longest"
            where, values = where_of(db, which, walked=total > _WALKED and several)
        else:
            matching = match_of(db, None, which, None)
            assert matching is not None  # noqa: S101 - else there would be no calls
            if sort != "longest":
                keys = matching.keys(db, limit + 1, key, newest=sort == "newest")
                return among("call.id", keys), {}, order
            few = "call.id" if total <= _WALKED else "+call.id"
            where = f"{few} IN (SELECT words.rowid FROM words WHERE words MATCH :match) AND {matching.on_calls}"
            values = matching.values | {"match": matching.shown}
        if after is not None:
            where, values = f"{where} AND {beyond}", values | {"value": after[0], "key": key}
        return where, values, order

    def total(self, which: Filter) -> int:
        """See `Store.total`."""
        with self._reading() as db:
            return total_of(db, self._totals, which)

    def summaries(self, keys: Sequence[int]) -> dict[int, str]:
        """See `Store.summaries`."""
        with self._reading() as db:
            found = db.execute(f"SELECT id, head FROM content WHERE id IN ({places_for(keys)})", tuple(keys)).fetchall()
        return {key: summary for key, head in found if (summary := head_of(unpacked(head)).summary)}

    def count(self, which: Filter, group_by: Sequence[str], zone: str) -> tuple[int, list[Group]]:
        """See `Store.count`."""
        with self._reading() as db:
            groups = groups_of(db, which, group_by, zone)
        total = sum(group.calls for group in groups)
        return total, groups

    def count_actions(self, which: Filter, group_by: str, zone: str) -> tuple[int, list[ActionGroup]]:
        """See `Store.count_actions`."""
        with self._reading() as db:
            return total_of(db, self._totals, which), action_groups_of(db, which, group_by, zone)

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
            return silent_calls(db, self._totals, which, recent_since)

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
            seq = int(db.execute("SELECT value FROM setting WHERE name = 'seq'").fetchone()[0])
            known = after.known if after else seq
            query = query.with_forms(functools.partial(forms_of, db))
            matching = match_of(db, query, which, speaker and Speaker(speaker))
            if matching is None:
                return SearchPage([], 0, ranked_all=True, more=False, known=known)
            total = matching.total(db, self._totals)
            if sort == "newest":
                return newest_hits(db, query, matching, total, limit, known, after)
            return most_relevant(db, self._totals, self._memory, query, matching, total, limit, known, after)

    def occurrences(self, query: Query, which: Filter, *, speaker: str | None = None) -> list[Occurrence]:
        """See `Store.occurrences`."""
        with self._reading() as db:
            query = query.with_forms(functools.partial(forms_of, db))
            return occurrences_of(db, self._totals, query, which, speaker and Speaker(speaker))

    # -- erasing ------------------------------------------------------------------------------------------------

    def compare(
        self, account: str, since: datetime, until: datetime, listed: Collection[str], now: datetime
    ) -> Compared:
        """See `Store.compare`."""
        with self._transaction() as db:
            number = self._number(db, account)
            compared, gone = compare(db, number, since, until, listed, now)
            erase(db, number, gone)
        return compared

    def erase(self, account: str, vendor_call_ids: Collection[str]) -> int:
        """See `Store.erase`."""
        with self._transaction() as db:
            return erase(db, self._number(db, account), [one for one in vendor_call_ids if encodable(one)])

    def bury(self, account: str, tombstones: Sequence[Tombstone]) -> None:
        """See `Store.bury`."""
        with self._transaction() as db:
            bury(db, self._number(db, account), tombstones)

    def tombstones(self, account: str) -> list[Tombstone]:
        """See `Store.tombstones`."""
        with self._reading() as db:
            return tombstones_of(db, self._number(db, account))

    def uncompacted(self) -> int:
        """See `Store.uncompacted`."""
        with self._reading() as db:
            return int(settings(db)["erased"])

    def compact(self, *, thorough: bool, going_on: Callable[[], bool] = lambda: True) -> bool:
        """See `Store.compact`. Overwriting what is freed is not enough: pages keep traces of rows that moved."""
        del thorough
        counted = self.uncompacted()
        for suffix in ("_old", "_next", ""):
            if not self._in_steps(functools.partial(merge_step, suffix=suffix), going_on):
                return False
        with self._connections.alone() as db:
            db.execute("VACUUM")
            [busy, *_] = db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        if busy:
            return False
        with self._transaction() as db:
            db.execute("UPDATE setting SET value = max(0, value - ?) WHERE name = 'erased'", (counted,))
        return True

    def _in_steps(
        self,
        step: Callable[[sqlite3.Connection, bool], bool],
        going_on: Callable[[], bool],
        kept: Callable[[], None] = lambda: None,
    ) -> bool:
        """Transactions, until the step (told whether it is the first) says that there is no more to do; `kept` hears of each.
        False where `going_on` says no before."""
        first = more = True
        while more:
            if not going_on():
                return False
            begun = time.monotonic()
            with self._transaction() as db:
                more = step(db, first)
            kept()
            first = False
            # As long again for others: who waits for the lock looks for it only now and then.
            time.sleep(min(MOST_PAUSE_SECONDS, time.monotonic() - begun))
        return True

    def audit(self, entries: Sequence[Audited]) -> None:
        """See `Store.audit`. Triggers keep the entries as they are."""
        with self._transaction() as db:
            db.executemany(
                "INSERT INTO audit(at_ms, principal, asked, outcome, call_ids, found) VALUES(?, ?, ?, ?, ?, ?)",
                [
                    (to_ms(one.at), one.principal, one.asked, one.outcome, "\n".join(one.call_ids), one.found)
                    for one in entries
                ],
            )

    def audited(self, since: datetime | None = None, limit: int = 100) -> list[Audited]:
        """See `Store.audited`."""
        with self._reading() as db:
            found = db.execute(
                """SELECT at_ms, principal, asked, outcome, call_ids, found FROM audit
                   WHERE at_ms >= ? ORDER BY id DESC LIMIT ?""",
                (to_ms(since) or 0, limit),
            )
            return [audited_of(row) for row in found]

    # -- several processes, other versions, other engines -------------------------------------------------------

    def lead(self, account: str) -> bool:
        """See `Store.lead`. The lock is a small file of the account's own beside the database."""
        with self._reading() as db:
            number = self._number(db, account)
        with self._starting:
            self._connections.check_open()
            lock = self._path.with_name(f"{self._path.name}-lead-{number}")
            return self._leading.setdefault(account, Alone(lock)).hold()

    def resign(self, account: str) -> None:
        """See `Store.resign`."""
        with self._starting:
            if account in self._leading:
                self._leading.pop(account).close()

    def watch(self) -> SQLiteWatch:
        """See `Store.watch`."""
        return SQLiteWatch(self._connections.opened, functools.partial(told, self._path))

    def index_progress(self) -> float | None:
        """See `Store.index_progress`."""
        with self._reading() as db:
            return progress(db) if is_behind(db) else None

    def build_index(self, going_on: Callable[[], bool]) -> None:
        """See `Store.build_index`."""
        with self._reading() as db:
            if not to_build(db) and not unmerged(db):
                return
        known = Known()
        with contextlib.closing(Alone(self._path.with_name(f"{self._path.name}-index"))) as building:
            if not building.hold() or not self._in_steps(
                lambda db, _first: build_step(db, known), going_on, known.kept
            ):
                return
            with self._reading() as db:
                written = unmerged(db)
            if written and self._in_steps(functools.partial(merge_step, suffix=""), going_on):
                with self._transaction() as db:
                    merged(db, written)

    def after(self, account: str, key: int, limit: int) -> list[tuple[int, Call]]:
        """See `Store.after`."""
        with self._reading() as db:
            found = db.execute(
                """SELECT call.id, content.head FROM call JOIN account ON account.id = call.account
                   JOIN content ON content.id = call.id WHERE account.name = ? AND call.id > ? ORDER BY call.id LIMIT ?""",
                (account, key, limit),
            )
            return [(key, whole_call(db, key, head)) for key, head in found.fetchall()]

    def unreadable(self, account: str, since: datetime | None = None) -> list[Unreadable]:
        """See `Store.unreadable`."""
        with self._reading() as db:
            found = db.execute(
                """SELECT vendor_id, fields FROM unreadable JOIN account ON account.id = unreadable.account
                   WHERE account.name = :account AND (:since IS NULL OR NOT EXISTS (SELECT 1 FROM call
                       WHERE call.account = unreadable.account AND call.vendor_id = unreadable.vendor_id
                       AND call.started_ms < :since)) ORDER BY vendor_id""",
                {"account": account, "since": to_ms(since)},
            )
            return [
                Unreadable(vendor_id or None, tuple(filter(None, fields.split(", ")))) for vendor_id, fields in found
            ]

    def forget_unreadable(self, account: str, before: datetime) -> int:
        """See `Store.forget_unreadable`."""
        with self._transaction() as db:
            forgotten = db.execute(
                """DELETE FROM unreadable WHERE account = ? AND seen_ms < ? AND NOT EXISTS (SELECT 1 FROM call
                       WHERE call.account = unreadable.account AND call.vendor_id = unreadable.vendor_id)
                   RETURNING vendor_id""",
                (self._number(db, account), to_ms(before)),
            )
            return len(forgotten.fetchall())

    def fingerprint(self, account: str) -> tuple[int, str]:
        """See `Store.fingerprint`."""
        with self._reading() as db:
            found = db.execute(
                "SELECT call.hash FROM call JOIN account ON account.id = call.account WHERE account.name = ?",
                (account,),
            )
            return fingerprint_of(digest for (digest,) in found)

    def remember(self, name: str, value: str | None) -> None:
        """See `Store.remember`."""
        with self._transaction() as db:
            if value is None:
                db.execute("DELETE FROM note WHERE name = ?", (name,))
            else:
                db.execute("INSERT OR REPLACE INTO note VALUES(?, ?)", (name, value))

    def remembered(self, name: str) -> str | None:
        """See `Store.remembered`."""
        with self._reading() as db:
            found = db.execute("SELECT value FROM note WHERE name = ?", (name,)).fetchone()
        return found[0] if found else None
