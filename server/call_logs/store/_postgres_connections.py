"""Connections to PostgreSQL: a small pool, transactions that survive a restart of the server, failures in our words.

The URL holds a password: it is never part of an error, a log line or a repr. libpq's own messages are not passed on,
since they may quote what was given.
"""

import contextlib
import logging
import threading
from collections.abc import Generator, Mapping, Sequence
from typing import Any

import psycopg
from psycopg import conninfo
from psycopg.pq import TransactionStatus

from call_logs.errors import StoreError

Connection = psycopg.Connection[tuple[Any, ...]]
Cursor = psycopg.Cursor[tuple[Any, ...]]

CONNECT_SECONDS = 10
MOST_CONNECTIONS = 10
"""Of one process. PostgreSQL allows 100 by default, for all of them."""

BUSY_SECONDS = 15
"""How long a question waits for a connection, and a writer for another one."""

ANSWER_SECONDS = 30
"""How long one statement may take."""

_log = logging.getLogger(__name__)


def ask(
    db: Connection,
    statement: str,
    values: Mapping[str, Any] | Sequence[Any] | None = None,
    *,
    binary: bool = False,
) -> Cursor:
    """Execute a statement that was put together from fixed parts; values are placeholders in it, never text.

    `binary`: bytes arrive as they are, and not twice as long.
    """
    return db.execute(statement.encode(), values, binary=binary)


_READ = (
    f"BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL statement_timeout = '{ANSWER_SECONDS}s';"
    " SET LOCAL plan_cache_mode = force_custom_plan"
)
_WRITE = f"BEGIN; SET LOCAL statement_timeout = '10min'; SET LOCAL lock_timeout = '{BUSY_SECONDS}s'"
_TO_SERVER = {"application_name": "call-logs-mcp", "connect_timeout": CONNECT_SECONDS, "client_encoding": "UTF8"}


class Connections:
    """At most `MOST_CONNECTIONS` to one database, kept for the next question. May be used from any thread."""

    def __init__(self, url: str, variable: str) -> None:
        """`variable` is the setting that the URL comes from. Nothing is connected yet. Raises `StoreError`."""
        self.variable = variable
        try:
            given = conninfo.conninfo_to_dict(url)
        except psycopg.Error:
            given = {"host": "@"}
        host, database = str(given.get("host") or ""), str(given.get("dbname") or "")
        if "@" in host + database:  # the rest of a password with an @ or a / in it
            raise StoreError(
                f"{variable} is not a PostgreSQL address. It looks like postgresql://user:password@host:5432/database; "
                "what is not a letter or a digit in the password is written as %XX."
            ) from None
        self._conninfo = conninfo.make_conninfo("", **{**_TO_SERVER, **given})
        self.name = f"{database or 'of the user'} at {host or 'this machine'}"
        self._idle: list[Connection] = []
        self._lending = threading.Lock()
        self._room = threading.BoundedSemaphore(MOST_CONNECTIONS)
        self._closed = False

    def __repr__(self) -> str:
        return f"Connections({self.variable})"

    def close(self) -> None:
        """Close what is idle; a connection that is still answering closes when it is done."""
        with self._lending:
            self._closed = True
        self._drop_idle()

    def reading(self) -> contextlib.AbstractContextManager[Connection]:
        """One snapshot for all statements of a question."""
        return self._transaction(_READ)

    def writing(self) -> contextlib.AbstractContextManager[Connection]:
        """All or nothing; what other transactions committed is seen by each statement."""
        return self._transaction(_WRITE)

    def connect(self) -> Connection:
        """A new connection, of the caller's own. Raises `StoreError`."""
        with self._told():
            connection = psycopg.connect(self._conninfo, autocommit=True, prepare_threshold=None)
            try:
                # Compiling a plan costs more than it saves here; where there is no compiler, there is no such setting.
                connection.execute("SELECT set_config(name, 'off', false) FROM pg_settings WHERE name = 'jit'")
            except BaseException:
                connection.close()
                raise
        return connection

    @contextlib.contextmanager
    def lone(self) -> Generator[Connection]:
        """A connection of its own, for statements that no transaction may hold."""
        with self._told(), contextlib.closing(self.connect()) as connection:
            yield connection

    @contextlib.contextmanager
    def _transaction(self, begin: str) -> Generator[Connection]:
        with self._told(), self._lent(begin) as connection:
            yield connection
            connection.execute("COMMIT")

    @contextlib.contextmanager
    def _lent(self, begin: str) -> Generator[Connection]:
        if not self._room.acquire(timeout=BUSY_SECONDS):
            raise StoreError(f"The database {self.name} is busy with other questions. Ask again.")
        try:
            connection = self._begun(begin)
            try:
                yield connection
            finally:
                self._take_back(connection)
        finally:
            self._room.release()

    def _begun(self, begin: str) -> Connection:
        """A connection in a transaction; a new one where the server was restarted since the last question."""
        with self._lending:
            if self._closed:
                raise StoreError("The database is closed: the server is stopping. Start it again.")
            connection = self._idle.pop() if self._idle else None
        if connection is not None:
            try:
                ask(connection, begin)
            except psycopg.OperationalError:
                connection.close()
                self._drop_idle()
            else:
                return connection
        connection = self.connect()
        ask(connection, begin)
        return connection

    def _take_back(self, connection: Connection) -> None:
        with contextlib.suppress(psycopg.Error):  # the first failure is the one to tell
            if connection.info.transaction_status is not TransactionStatus.IDLE:
                connection.execute("ROLLBACK")
        with self._lending:
            keep = not self._closed and connection.info.transaction_status is TransactionStatus.IDLE
            if keep:
                self._idle.append(connection)
        if not keep:
            connection.close()

    def _drop_idle(self) -> None:
        with self._lending:
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    @contextlib.contextmanager
    def _told(self) -> Generator[None]:
        """PostgreSQL's failures in our words; the log has their kind, never their text."""
        try:
            yield
        except psycopg.Error as error:
            _log.warning("PostgreSQL failed: %s %s", type(error).__name__, error.sqlstate or "without a code")
            raise StoreError(self._explained(error)) from None

    def _explained(self, error: psycopg.Error) -> str:
        by_code = _BY_CODE.get(error.sqlstate or "") or _BY_CODE.get((error.sqlstate or "")[:2])
        if by_code is None and error.sqlstate is None:
            said = str(error).lower()  # a failed connection has no code
            by_code = next((text for sign, text in _BY_SIGN if sign in said), _UNREACHABLE)
        return (by_code or _OTHER).format(name=self.name, variable=self.variable)


_UNREACHABLE = "The database {name} cannot be reached. Check that it runs and that {variable} has its host and port."
_LOGIN = "The database {name} refused the login. Check user and password in {variable}."
_MISSING = "There is no database {name}. Create it (createdb), or correct {variable}."
_STOPPING = "The database {name} was stopped or restarted. Ask again in a moment."
_READ_ONLY = "The database {name} takes no writes: it is a replica. Point CALL_LOGS_DATABASE at the primary."
_OTHER = "The database {name} could not be used. The log has the kind of failure; see docs/scaling.md."
_BY_CODE = {
    "28": _LOGIN,
    "3D": _MISSING,
    "08": _UNREACHABLE,
    "57P": _STOPPING,
    "57P01": _STOPPING,
    "57P02": _STOPPING,
    "57P03": _STOPPING,
    "57014": f"The database {{name}} did not answer within {ANSWER_SECONDS} seconds. Narrow the question with since and "
    "until, or ask again later.",
    "55P03": f"Another process has been writing to the database {{name}} for {BUSY_SECONDS} seconds. Try again.",
    "53300": "The database {name} has no connection left. Raise its max_connections or run fewer servers.",
    "53": "The database {name} has run out of disk or memory. Free some, then ask again.",
    "25006": _READ_ONLY,
    "42501": "The user of {variable} may not do this in the database {name}. Make it the database's owner.",
    "42P01": "The database {name} was changed by another version of call-logs-mcp. Restart this server.",
    "40": "The database {name} could not finish this beside other questions. Ask again.",
}
_BY_SIGN = (
    ("password authentication failed", _LOGIN),
    ("no password supplied", _LOGIN),
    ("authentication failed", _LOGIN),
    ("no pg_hba.conf entry", _LOGIN),
    ("role", _LOGIN),
    ("too many", _BY_CODE["53300"]),
    ("remaining connection slots", _BY_CODE["53300"]),
    ("does not exist", _MISSING),
    ("starting up", _STOPPING),
    ("shutting down", _STOPPING),
    ("server closed the connection", _STOPPING),
    ("terminating connection", _STOPPING),
    ("connection is lost", _STOPPING),
    ("connection is closed", _STOPPING),
)
