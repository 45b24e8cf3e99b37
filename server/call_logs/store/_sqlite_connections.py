"""Connections to one SQLite file: a pool, snapshots and transactions, failures in our words, locks beside the file."""

import contextlib
import logging
import os
import sqlite3
import threading
import time
from collections.abc import Generator
from pathlib import Path

from call_logs.errors import StoreError

BUSY_SECONDS = 15.0
"""How long a connection waits for another process."""

_log = logging.getLogger(__name__)


class Connections:
    """Each serves one question at a time, whatever its thread: worker threads come and go, and what they opened serves the
    next. One transaction writes at a time."""

    def __init__(self, path: Path) -> None:
        """Nothing is opened yet; the file is created where it is missing, for its owner alone. Raises `StoreError`."""
        self.path = path
        self._idle: list[sqlite3.Connection] = []
        self._lending = threading.Lock()
        self._writing = threading.RLock()
        self._closed = False
        with told(path):
            create_file(path)

    def close(self) -> None:
        """Close what is idle; a connection that is still answering closes when it is done."""
        with self._lending:
            self._closed = True
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    def check_open(self) -> None:
        """Raises `StoreError` once it is closed."""
        if self._closed:
            raise StoreError("The database is closed: the server is stopping. Start it again.")

    def opened(self) -> sqlite3.Connection:
        """A new connection, of the caller's own, as SQLite gives it."""
        return sqlite3.connect(self.path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)

    def connect(self) -> sqlite3.Connection:
        """A new connection with our settings."""
        connection = self.opened()
        try:
            _to_wal(connection)
            connection.execute("PRAGMA synchronous=FULL")
            connection.execute("PRAGMA secure_delete=ON")  # the default of some systems' SQLite, not of all
            connection.execute("PRAGMA foreign_keys=ON")
            connection.execute("PRAGMA cache_size=-16384")
            connection.execute("PRAGMA wal_autocheckpoint=4000")
        except BaseException:
            connection.close()
            raise
        return connection

    @contextlib.contextmanager
    def reading(self) -> Generator[sqlite3.Connection]:
        """One snapshot for all statements of a question."""
        with told(self.path), self._lent() as connection:
            connection.execute("BEGIN")
            yield connection

    @contextlib.contextmanager
    def writing(self) -> Generator[sqlite3.Connection]:
        """All or nothing; no other process writes meanwhile."""
        with self.alone() as connection:
            connection.execute("BEGIN IMMEDIATE")
            yield connection
            connection.execute("COMMIT")

    @contextlib.contextmanager
    def alone(self) -> Generator[sqlite3.Connection]:
        """For statements that no transaction may hold. Nobody else of this process writes meanwhile."""
        with told(self.path), self._writing, self._lent() as connection:
            yield connection

    @contextlib.contextmanager
    def _lent(self) -> Generator[sqlite3.Connection]:
        """A connection that nobody else uses."""
        with self._lending:
            self.check_open()
            connection = self._idle.pop() if self._idle else None
        connection = connection or self.connect()
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


class Alone:
    """What at most one process does at a time: a transaction held open in a small file. A killed process lets go."""

    def __init__(self, path: Path) -> None:
        """Holds nothing yet. The file is created when it is first asked for."""
        self._path = path
        self._connection: sqlite3.Connection | None = None
        self._asking = threading.Lock()

    def hold(self) -> bool:
        """Whether this one holds it, now or already. Never waits."""
        with self._asking:
            if self._connection is not None:
                return True
            with told(self._path):
                create_file(self._path)
                connection = sqlite3.connect(self._path, timeout=0, isolation_level=None, check_same_thread=False)
                try:
                    connection.execute("BEGIN EXCLUSIVE")
                except sqlite3.OperationalError as error:
                    connection.close()
                    if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY:
                        raise
                    return False
                self._connection = connection
                return True

    def close(self) -> None:
        """Let go."""
        with self._asking:
            if self._connection is not None:
                self._connection.close()
                self._connection = None


def create_file(path: Path) -> None:
    """Create the file for its owner alone, where it is not there yet."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with contextlib.suppress(FileExistsError):
        # Before SQLite does: the journals then inherit the mode. A file that is there is not even opened: to close it
        # would let go of all locks that this process has on it.
        os.close(os.open(path, os.O_CREAT | os.O_EXCL, 0o600))


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
def told(path: Path) -> Generator[None]:
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
