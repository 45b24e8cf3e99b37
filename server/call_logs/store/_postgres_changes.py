"""Who changed what, as PostgreSQL tells it: a notice within the transaction, heard by one connection of each process."""

import contextlib
import logging
import time
from collections.abc import Callable

import psycopg

from call_logs.errors import StoreError
from call_logs.store import Watch
from call_logs.store._postgres_connections import Connection, ask

CHANNEL = "call_logs_changes"
"""Of the database. What is told is an account's number."""

AGAIN_SECONDS = 1.0
"""How long after a failure a connection is asked for anew."""

_log = logging.getLogger(__name__)


def tell_of_changes(db: Connection, account: int) -> None:
    """Tell every process, once this transaction is committed, that calls of the account have changed."""
    ask(db, "SELECT pg_notify(%s, %s)", (CHANNEL, str(account)))


class PostgresWatch(Watch):
    """A connection that listens. When it breaks, what was missed is told as a change of every account."""

    def __init__(self, connect: Callable[[], Connection]) -> None:
        self._connect = connect
        self._names: dict[str, str] = {}
        self._db: Connection | None = None
        self._listen()

    def wait(self, seconds: float) -> frozenset[str]:
        """See `Watch.wait`. A server that is gone raises nothing: it is asked for again, once in a while."""
        begun = time.monotonic()
        try:
            if self._db is None:
                self._listen()
                return frozenset(self._names.values())
            told = {notice.payload for notice in self._db.notifies(timeout=seconds, stop_after=1)}
            if told:
                told |= {notice.payload for notice in self._db.notifies(timeout=0)}
            if not told <= self._names.keys():
                self._names = self._named()
        except (psycopg.Error, StoreError) as error:
            if self._db is not None:
                _log.warning("changes are not heard of for now: %s", type(error).__name__)
            self.close()
            time.sleep(max(0.0, min(AGAIN_SECONDS, seconds - (time.monotonic() - begun))))
            return frozenset()
        return frozenset(self._names[number] for number in told if number in self._names)

    def close(self) -> None:
        """See `Watch.close`."""
        if self._db is not None:
            with contextlib.suppress(psycopg.Error):
                self._db.close()
        self._db = None

    def _listen(self) -> None:
        db = self._connect()
        try:
            self._db = db
            self._names = self._named()
            ask(db, f"LISTEN {CHANNEL}")
        except BaseException:
            self.close()
            db.close()
            raise

    def _named(self) -> dict[str, str]:
        assert self._db is not None  # noqa: S101 - who asks has a connection
        return {str(number): name for number, name in ask(self._db, "SELECT id, name FROM account")}
