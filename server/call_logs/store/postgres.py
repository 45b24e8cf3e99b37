"""The store in PostgreSQL (13 or newer), for several servers that share one: core features only, no extension.

Keys, cursors, queries and ranking are SQLite's. A call's words are one bag of lexemes (`tsvector`) under a GIN index,
built by our tokeniser and written as literals, never by PostgreSQL's parser. Filters are lexemes as well, so that a
search never joins before it has its newest thousand matches. Writers take turns at one row, so that what a search was
told of when it began stays what its pages are about.
"""

import contextlib
import functools
import threading
from collections.abc import Callable, Collection, Generator, Sequence
from datetime import UTC, datetime
from typing import Any

import psycopg

from call_logs.errors import StoreError
from call_logs.model import Call, customer_number
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
from call_logs.store._postgres_changes import PostgresWatch
from call_logs.store._postgres_connections import Connection, Connections, ask
from call_logs.store._postgres_erasing import bury, compare, erase, refusals_of, rewrite, tombstones_of
from call_logs.store._postgres_index import build_step, create, progress, to_build
from call_logs.store._postgres_queries import (
    DIMENSIONS,
    Index,
    Totals,
    account_numbers,
    among,
    counted,
    forms_of,
    index_of,
    matching,
    most_relevant,
    newest_hits,
    occurrences_of,
    silent_calls,
    storable,
    storable_among,
    total_of,
    where_of,
)
from call_logs.store._postgres_rows import save_calls, turns_between, whole_calls
from call_logs.store._postgres_schema import ADVISORY, BUILDING, migrate, settings
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
from call_logs.store.words import TOKENISER_VERSION

_ACCOUNT = (
    "id, name, provider, state, problem, next_step, last_synced_ms, high_ms, low_ms, resume, rests_until_ms, vanished"
)


class PostgresStore(Store):
    """One database, shared by as many processes as it has connections for."""

    def __init__(self, url: str, read: str | None = None) -> None:
        """Connect, and make the tables where there are none. `read` is a replica that answers questions.

        Raises `StoreError`.
        """
        self._primary = Connections(url, "CALL_LOGS_DATABASE")
        self._replica = Connections(read, "CALL_LOGS_DATABASE_READ") if read else None
        self._writing = threading.Lock()
        self._leading = threading.Lock()
        self._leader: Connection | None = None
        self._led: set[str] = set()
        self._known = Known()
        self._totals = Totals()
        self._memory = Memory()
        self._written = 0
        self._closed = False
        try:
            migrate(self._primary, first_index)
        except StoreError:
            self.close()
            raise

    def close(self) -> None:
        """Close the connections; what this process led is free for others."""
        self._primary.close()
        if self._replica is not None:
            self._replica.close()
        with self._leading:
            self._closed = True
            self._forget_leading()

    # -- transactions -------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _answering(self) -> Generator[Connection]:
        """A snapshot for a question: of the replica, once it has what this process wrote."""
        if self._replica is not None:
            with self._replica.reading() as db:
                if int(settings(db)["writes"]) >= self._written:
                    yield db
                    return
        with self._primary.reading() as db:
            yield db

    @contextlib.contextmanager
    def _transaction(self) -> Generator[Connection]:
        """A transaction of the one writer."""
        with self._writing:
            with self._primary.writing() as db:
                found = ask(
                    db, "UPDATE setting SET value = (value::bigint + 1)::text WHERE name = 'writes' RETURNING value"
                )
                written = int(found.fetchall()[0][0])
                yield db
            self._written = written
            self._known.kept()

    def _index(self, db: Connection) -> Index:
        version = settings(db)["tokeniser"]
        # The planner does not count what it costs to fetch a bag that is kept beside its row, as reading all of them does.
        ask(db, "SET LOCAL enable_seqscan = off")
        return index_of(db, f"words_{version}", f"vocabulary_{version}")

    # -- accounts -----------------------------------------------------------------------------------------------

    def open_account(self, name: str, provider: str, tenant: str = "", scope: str = "") -> None:
        """See `Store.open_account`. Writes nothing where nothing changes: a database that takes no writes still answers."""
        with self._primary.reading() as db:
            known = ask(db, "SELECT provider, tenant, scope FROM account WHERE name = %s", (name,)).fetchone()
        if known is not None and known == (provider, tenant or known[1], scope):
            return
        with self._transaction() as db:
            held = ask(db, "SELECT provider, tenant, scope FROM account WHERE name = %s", (name,)).fetchone()
            if held is None:
                ask(
                    db,
                    "INSERT INTO account(name, provider, tenant, scope) VALUES(%s, %s, %s, %s)",
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
                    "this one another name in the config file, or set CALL_LOGS_DATABASE to another database."
                )
            if held[2] != scope:
                ask(db, "UPDATE account SET high_ms = NULL, low_ms = NULL, resume = NULL WHERE name = %s", (name,))
            ask(db, "UPDATE account SET tenant = %s, scope = %s WHERE name = %s", (tenant or held[1], scope, name))

    def opened(self) -> list[Opened]:
        """See `Store.opened`."""
        with self._primary.reading() as db:
            return [Opened(*row) for row in ask(db, "SELECT name, provider, tenant, scope FROM account ORDER BY name")]

    def marks(self, account: str) -> Marks:
        """See `Store.marks`."""
        with self._primary.reading() as db:
            row = ask(db, "SELECT high_ms, low_ms, resume FROM account WHERE name = %s", (account,)).fetchone()
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
            ask(
                db,
                "UPDATE account SET state = %s, problem = %s, next_step = %s,"
                " last_synced_ms = coalesce(%s, last_synced_ms), rests_until_ms = %s WHERE name = %s",
                (state, problem, next_step, synced, to_ms(rests_until), account),
            )

    def accounts(self, names: Sequence[str]) -> list[AccountRow]:
        """See `Store.accounts`. Of the primary: a sync goes by what it tells."""
        with self._primary.reading() as db:
            found = {
                row[1]: row
                for row in ask(db, f"SELECT {_ACCOUNT} FROM account WHERE name = ANY(%s)", (storable_among(names),))
            }
            numbers = among("account", [row[0] for row in found.values()])
            held = {
                number: (calls, silent)
                for number, calls, silent in ask(
                    db,
                    f"""SELECT account, sum(calls)::bigint, coalesce(sum(calls) FILTER (WHERE silent), 0)::bigint
                        FROM tally WHERE {numbers} GROUP BY account""",
                )
            }
            ends = {
                number: ask(
                    db,
                    """SELECT (SELECT id FROM call WHERE account = %(account)s ORDER BY id LIMIT 1),
                       (SELECT id FROM call WHERE account = %(account)s ORDER BY id DESC LIMIT 1)""",
                    {"account": number},
                ).fetchall()[0]
                for number in held
            }
            bad = dict(ask(db, f"SELECT account, count(*) FROM unreadable WHERE {numbers} GROUP BY 1").fetchall())
        rows: list[AccountRow] = []
        for name in names:
            if name not in found:
                continue
            number, _, provider, state, problem, next_step, synced, *marks, rests, vanished = found[name]
            calls, silent = held.get(number, (0, 0))
            oldest, newest = ends.get(number, (None, None))
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
                    bad.get(number, 0),
                    moment_of(rests),
                    vanished,
                )
            )
        return rows

    def agents(self, names: Sequence[str]) -> list[AgentRow]:
        """See `Store.agents`."""
        with self._answering() as db:
            found = ask(
                db,
                """SELECT account.name, agent.vendor_id, agent.name, agent.calls
                   FROM agent JOIN account ON account.id = agent.account WHERE account.name = ANY(%s)
                   ORDER BY agent.calls DESC, agent.name NULLS FIRST, agent.id""",
                (storable_among(names),),
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
            saved = save_calls(db, number, calls, self._known, refusals_of(db, number, account), listed=listed)
            if deleted:
                saved.erased = erase(db, number, storable_among(deleted))
            ask(
                db,
                "DELETE FROM unreadable WHERE account = %s AND vendor_id = ANY(%s)",
                (number, [call.vendor_call_id for call in calls]),
            )
            for record in unreadable:
                ask(
                    db,
                    """INSERT INTO unreadable VALUES(%s, %s, %s, %s) ON CONFLICT (account, vendor_id)
                       DO UPDATE SET fields = excluded.fields, seen_ms = excluded.seen_ms""",
                    (number, record.vendor_call_id or "", ", ".join(record.fields), to_ms(now or datetime.now(UTC))),
                )
            if marks is not None:
                ask(
                    db,
                    "UPDATE account SET high_ms = %s, low_ms = %s, resume = %s WHERE id = %s",
                    (to_ms(marks.high), to_ms_after(marks.low), marks.resume, number),
                )
        return saved

    @staticmethod
    def _number(db: Connection, account: str) -> int:
        row = ask(db, "SELECT id FROM account WHERE name = %s", (account,)).fetchone()
        if row is None:
            raise StoreError(f"The account {account} is not open in this database.")
        return row[0]

    # -- one call -----------------------------------------------------------------------------------------------

    def call(self, accounts: Sequence[str], call_id: str) -> Call | None:
        """See `Store.call`."""
        with self._answering() as db:
            held = self._head(db, accounts, call_id)
            return with_agent(whole_calls(db, [held[:2]])[0][1], held[3]) if held else None

    def excerpt(self, accounts: Sequence[str], call_id: str, first: int = 1, last: int | None = None) -> Excerpt | None:
        """See `Store.excerpt`."""
        with self._answering() as db:
            held = self._head(db, accounts, call_id)
            if held is None:
                return None
            key, head, turns, agent = held
            between = turns_between(db, key, max(1, first), last)
            return Excerpt(with_agent(head_of(unpacked(head)), agent).model_copy(update={"turns": between}), turns)

    @staticmethod
    def _head(db: Connection, accounts: Sequence[str], call_id: str) -> tuple[int, bytes, int, str | None] | None:
        """(key, head, number of turns, the agent's name) of the call, if it is one of these accounts'."""
        account, _, vendor_id = call_id.partition("/")
        if account not in accounts or not storable(call_id):
            return None
        row = ask(
            db,
            """SELECT call.id, content.head, call.turns, agent.name FROM call
               JOIN account ON account.id = call.account JOIN content ON content.id = call.id
               LEFT JOIN agent ON agent.id = call.agent WHERE account.name = %s AND call.vendor_id = %s""",
            (account, vendor_id),
        ).fetchone()
        return (row[0], row[1], row[2], row[3]) if row else None

    def legs(self, call: Call) -> list[Row]:
        """See `Store.legs`."""
        with self._answering() as db:
            found = ask(
                db,
                f"""SELECT {ROW} FROM {FROM} WHERE account.name = %(account)s AND call.parent = %(id)s
                    AND call.vendor_id <> %(id)s ORDER BY call.id""",
                {"account": call.account, "id": call.vendor_call_id},
            )
            return [row_of(row) for row in found]

    def earlier(self, accounts: Sequence[str], call: Call, limit: int) -> tuple[int, list[Row]]:
        """See `Store.earlier`."""
        tail = tail_of(customer_number(call.direction, call.from_number, call.to_number))
        if tail is None:
            return 0, []
        with self._answering() as db:
            where = (
                f"{among('call.account', account_numbers(db, accounts))} AND NOT call.leg AND call.started_ms < %(began)s"
                " AND ((call.from_tail = %(tail)s AND call.direction <> 'outbound')"
                " OR (call.to_tail = %(tail)s AND (call.direction = 'outbound'"
                " OR (call.direction = 'unknown' AND call.from_number IS NULL))))"
            )
            values: dict[str, Any] = {"began": to_ms(call.started_at), "tail": tail, "limit": limit}
            total = ask(db, f"SELECT count(*) FROM call WHERE {where}", values).fetchall()[0][0]
            found = ask(db, f"SELECT {ROW} FROM {FROM} WHERE {where} ORDER BY call.id DESC LIMIT %(limit)s", values)
            return total, [row_of(row) for row in found]

    # -- lists and counts ---------------------------------------------------------------------------------------

    def list_calls(
        self, which: Filter, *, sort: str = "newest", limit: int = 20, after: tuple[float, int] | None = None
    ) -> ListPage:
        """See `Store.list_calls`."""
        with self._answering() as db:
            where, values = where_of(db, which)
            total = total_of(db, self._totals, which, where, values)
            order, beyond = {
                "newest": ("call.id DESC", "call.id < %(key)s"),
                "oldest": ("call.id", "call.id > %(key)s"),
                "longest": (
                    "coalesce(call.duration, 0) DESC, call.id DESC",
                    "(coalesce(call.duration, 0), call.id) < (%(value)s, %(key)s)",
                ),
            }[sort]
            if after is not None:
                where, values = f"{where} AND {beyond}", values | {"value": after[0], "key": after[1]}
            found = ask(
                db,
                f"SELECT {ROW} FROM {FROM} WHERE {where} ORDER BY {order} LIMIT %(limit)s",
                values | {"limit": limit + 1},
            ).fetchall()
        return ListPage([row_of(row) for row in found[:limit]], total, len(found) > limit)

    def total(self, which: Filter) -> int:
        """See `Store.total`."""
        with self._answering() as db:
            return total_of(db, self._totals, which, *where_of(db, which))

    def summaries(self, keys: Sequence[int]) -> dict[int, str]:
        """See `Store.summaries`."""
        with self._answering() as db:
            found = ask(db, "SELECT id, head FROM content WHERE id = ANY(%s)", (list(keys),)).fetchall()
        return {key: summary for key, head in found if (summary := head_of(unpacked(head)).summary)}

    def count(self, which: Filter, group_by: Sequence[str], zone: str) -> tuple[int, list[Group]]:
        """See `Store.count`."""
        with self._answering() as db:
            where, values = where_of(db, which)
            chosen = "".join(f"{DIMENSIONS[name]}, " for name in group_by)
            grouped = f"GROUP BY {', '.join(str(n) for n in range(1, len(group_by) + 1))}" if group_by else ""
            found = ask(
                db,
                f"""SELECT {chosen} count(*), count(*) FILTER (WHERE call.answered),
                    coalesce(sum(call.duration) FILTER (WHERE call.answered), 0),
                    percentile_cont(0.5) WITHIN GROUP (ORDER BY call.duration) FILTER (WHERE call.answered)
                    FROM {FROM} WHERE {where} {grouped} HAVING count(*) > 0""",
                values | {"zone": zone},
            )
            width = len(group_by)
            groups = [Group(tuple(row[:width]) or ("",), *row[width:]) for row in found]
        return sum(group.calls for group in groups), groups

    def count_actions(self, which: Filter, group_by: str, zone: str) -> tuple[int, list[ActionGroup]]:
        """See `Store.count_actions`."""
        column = {"kind": "action.kind", "name": "action.name"}.get(group_by) or DIMENSIONS[group_by]
        with self._answering() as db:
            where, values = where_of(db, which)
            considered = total_of(db, self._totals, which, where, values)
            one_kind = "AND action.kind = %(action)s" if which.action else ""
            found = ask(
                db,
                f"""SELECT key, sum(executions)::bigint, count(*), (array_agg(call_id ORDER BY id DESC))[1:3] FROM (
                    SELECT {column} AS key, call.id, account.name || '/' || call.vendor_id AS call_id,
                    count(*) AS executions FROM {FROM} JOIN action ON action.call = call.id
                    WHERE {where} {one_kind} GROUP BY 1, 2, 3) AS executed GROUP BY key""",
                values | {"action": str(which.action), "zone": zone},
            )
            groups = [ActionGroup(key, executions, calls, tuple(ids)) for key, executions, calls, ids in found]
        return considered, groups

    def settled(self, account: str, vendor_call_ids: Sequence[str], *, told: bool) -> set[str]:
        """See `Store.settled`."""
        with self._primary.reading() as db:
            found = ask(
                db,
                """SELECT call.vendor_id FROM call JOIN account ON account.id = call.account
                   WHERE account.name = %s AND call.settled >= %s AND call.vendor_id = ANY(%s)""",
                (account, TOLD if told else OVER, storable_among(vendor_call_ids)),
            )
            return {vendor_id for (vendor_id,) in found}

    def unsettled(self, account: str, since: datetime, *, told: bool) -> list[Unsettled]:
        """See `Store.unsettled`."""
        with self._primary.reading() as db:
            found = ask(
                db,
                """SELECT call.vendor_id, call.started_ms, call.read_ms FROM call JOIN account ON account.id = call.account
                   WHERE account.name = %s AND call.id >= %s AND call.settled < 2 AND call.settled < %s""",
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
        with self._answering() as db:
            return silent_calls(db, which, recent_since)

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
        with self._answering() as db:
            known = after.known if after else int(settings(db)["seq"])
            index = self._index(db)
            query = query.with_forms(functools.partial(forms_of, db, index.vocabulary))
            calls = matching(db, index, query, which, speaker)
            total = counted(db, self._totals, index, calls) if calls else 0
            if calls is None or not total:
                return SearchPage([], 0, ranked_all=True, more=False, known=known)
            if sort == "newest":
                return newest_hits(db, index, query, speaker, calls, total, limit, known, after)
            return most_relevant(
                db,
                self._totals,
                self._memory,
                index,
                query,
                speaker,
                which.accounts,
                calls,
                total,
                limit,
                known,
                after,
            )

    def occurrences(self, query: Query, which: Filter, *, speaker: str | None = None) -> list[Occurrence]:
        """See `Store.occurrences`."""
        with self._answering() as db:
            index = self._index(db)
            formed = query.with_forms(functools.partial(forms_of, db, index.vocabulary))
            return list(occurrences_of(db, self._totals, index, formed, which, speaker))

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
            return erase(db, self._number(db, account), storable_among(list(vendor_call_ids)))

    def bury(self, account: str, tombstones: Sequence[Tombstone]) -> None:
        """See `Store.bury`."""
        with self._transaction() as db:
            bury(db, self._number(db, account), tombstones)

    def tombstones(self, account: str) -> list[Tombstone]:
        """See `Store.tombstones`."""
        with self._primary.reading() as db:
            return tombstones_of(db, self._number(db, account))

    def uncompacted(self) -> int:
        """See `Store.uncompacted`."""
        with self._primary.reading() as db:
            return int(settings(db)["erased"])

    def compact(self, *, thorough: bool, going_on: Callable[[], bool] = lambda: True) -> bool:
        """See `Store.compact`. What PostgreSQL's write-ahead log and its archive hold is the database's keeper's."""
        counted = self.uncompacted()
        if not going_on():
            return False
        with self._primary.lone() as db:
            rewrite(db, thorough=thorough)
        with self._transaction() as db:
            ask(
                db,
                "UPDATE setting SET value = greatest(0, value::bigint - %s)::text WHERE name = 'erased'",
                (counted,),
            )
        return True

    def audit(self, entries: Sequence[Audited]) -> None:
        """See `Store.audit`. A trigger keeps the entries as they are."""
        with self._primary.writing() as db, db.cursor() as cursor:
            cursor.executemany(
                "INSERT INTO audit(at_ms, principal, asked, outcome, call_ids, found) VALUES(%s, %s, %s, %s, %s, %s)",
                [
                    (to_ms(one.at), one.principal, one.asked, one.outcome, "\n".join(one.call_ids), one.found)
                    for one in entries
                ],
            )

    def audited(self, since: datetime | None = None, limit: int = 100) -> list[Audited]:
        """See `Store.audited`."""
        with self._primary.reading() as db:
            found = ask(
                db,
                """SELECT at_ms, principal, asked, outcome, call_ids, found FROM audit
                   WHERE at_ms >= %s ORDER BY id DESC LIMIT %s""",
                (to_ms(since) or 0, limit),
            )
            return [audited_of(row) for row in found]

    # -- several processes, other versions, other engines -------------------------------------------------------

    def lead(self, account: str) -> bool:
        """See `Store.lead`. An advisory lock of a connection of its own, which the process's end gives back."""
        with self._leading:
            if self._closed:
                raise StoreError("The database is closed: the server is stopping. Start it again.")
            try:
                if self._leader is not None:
                    ask(self._leader, "SELECT 1")
            except psycopg.Error:
                self._forget_leading()
            if account in self._led:
                return True
            with self._primary.reading() as db:
                number = self._number(db, account)
            if self._leader is None:
                self._leader = self._primary.connect()
            # A machine that vanished is noticed within a minute and a half.
            ask(
                self._leader,
                "SET tcp_keepalives_idle = 30; SET tcp_keepalives_interval = 15; SET tcp_keepalives_count = 4",
            )
            [(leads,)] = ask(self._leader, "SELECT pg_try_advisory_lock(%s, %s)", (ADVISORY, number)).fetchall()
            if leads:
                self._led.add(account)
            return leads

    def resign(self, account: str) -> None:
        """See `Store.resign`."""
        with self._leading:
            if account not in self._led or self._leader is None:
                return
            self._led.discard(account)
            try:
                with self._primary.reading() as db:
                    number = self._number(db, account)
                ask(self._leader, "SELECT pg_advisory_unlock(%s, %s)", (ADVISORY, number))
            except psycopg.Error:
                self._forget_leading()

    def _forget_leading(self) -> None:
        if self._leader is not None:
            with contextlib.suppress(psycopg.Error):  # a server that is gone holds no locks
                ask(self._leader, "SELECT pg_advisory_unlock_all()")
            self._leader.close()
        self._leader = None
        self._led.clear()

    def watch(self) -> PostgresWatch:
        """See `Store.watch`. Of the primary: a replica may have the change a moment later."""
        return PostgresWatch(self._primary.connect)

    def index_progress(self) -> float | None:
        """See `Store.index_progress`."""
        with self._primary.reading() as db:
            return progress(db)

    def build_index(self, going_on: Callable[[], bool]) -> None:
        """See `Store.build_index`. PostgreSQL's own indexes see to their pieces themselves."""
        with self._primary.reading() as db:
            if not to_build(db):
                return
        known = Known()
        with contextlib.closing(self._primary.connect()) as building:
            [(more,)] = ask(building, "SELECT pg_try_advisory_lock(%s, %s)", (ADVISORY, BUILDING)).fetchall()
            while more and going_on():
                with self._transaction() as db:
                    more = build_step(db, known)
                known.kept()

    def after(self, account: str, key: int, limit: int) -> list[tuple[int, Call]]:
        """See `Store.after`."""
        with self._primary.reading() as db:
            found = ask(
                db,
                """SELECT call.id, content.head FROM call JOIN account ON account.id = call.account
                   JOIN content ON content.id = call.id WHERE account.name = %s AND call.id > %s
                   ORDER BY call.id LIMIT %s""",
                (account, key, limit),
            ).fetchall()
            return whole_calls(db, [(key, head) for key, head in found])

    def unreadable(self, account: str, since: datetime | None = None) -> list[Unreadable]:
        """See `Store.unreadable`."""
        with self._primary.reading() as db:
            found = ask(
                db,
                """SELECT vendor_id, fields FROM unreadable JOIN account ON account.id = unreadable.account
                   WHERE account.name = %(account)s AND (%(since)s::bigint IS NULL OR NOT EXISTS (SELECT 1 FROM call
                       WHERE call.account = unreadable.account AND call.vendor_id = unreadable.vendor_id
                       AND call.started_ms < %(since)s)) ORDER BY vendor_id""",
                {"account": account, "since": to_ms(since)},
            )
            return [
                Unreadable(vendor_id or None, tuple(filter(None, fields.split(", ")))) for vendor_id, fields in found
            ]

    def forget_unreadable(self, account: str, before: datetime) -> int:
        """See `Store.forget_unreadable`."""
        with self._transaction() as db:
            forgotten = ask(
                db,
                """DELETE FROM unreadable WHERE account = %s AND seen_ms < %s AND NOT EXISTS (SELECT 1 FROM call
                       WHERE call.account = unreadable.account AND call.vendor_id = unreadable.vendor_id)
                   RETURNING vendor_id""",
                (self._number(db, account), to_ms(before)),
            )
            return len(forgotten.fetchall())

    def fingerprint(self, account: str) -> tuple[int, str]:
        """See `Store.fingerprint`."""
        with self._primary.reading() as db:
            found = ask(
                db,
                "SELECT call.hash FROM call JOIN account ON account.id = call.account WHERE account.name = %s",
                (account,),
            )
            return fingerprint_of(digest for (digest,) in found)

    def remember(self, name: str, value: str | None) -> None:
        """See `Store.remember`."""
        with self._transaction() as db:
            if value is None:
                ask(db, "DELETE FROM note WHERE name = %s", (name,))
            else:
                ask(
                    db,
                    "INSERT INTO note VALUES(%s, %s) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
                    (name, value),
                )

    def remembered(self, name: str) -> str | None:
        """See `Store.remembered`."""
        with self._primary.reading() as db:
            found = ask(db, "SELECT value FROM note WHERE name = %s", (name,)).fetchone()
        return found[0] if found else None


def first_index(db: Connection) -> None:
    """The index of a new database: this program's."""
    create(db, TOKENISER_VERSION)
    ask(db, "INSERT INTO setting VALUES('tokeniser', %s)", (str(TOKENISER_VERSION),))
