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

AGAIN_SECONDS = 5.0
"""How long after a connection could not be had another one is asked for."""

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
        self._again_at = 0.0
        self._listen()

    def wait(self, seconds: float) -> frozenset[str]:
        """See `Watch.wait`. A server that is gone raises nothing: it is asked for again, once in a while."""
        if self._db is None:
            return self._heard_again(seconds)
        try:
            told = {notice.payload for notice in self._db.notifies(timeout=seconds, stop_after=1)}
            if told:
                told |= {notice.payload for notice in self._db.notifies(timeout=0)}
            if not told <= self._names.keys():
                self._names = self._named()
        except psycopg.Error as error:
            _log.warning("changes are not heard of for now: %s", type(error).__name__)
            self.close()
            return frozenset()
        return frozenset(self._names[number] for number in told if number in self._names)

    def close(self) -> None:
        """See `Watch.close`."""
        if self._db is not None:
            with contextlib.suppress(psycopg.Error):
                self._db.close()
        self._db = None

    def _heard_again(self, seconds: float) -> frozenset[str]:
        """Every account, once there is a connection again."""
        left = self._again_at - time.monotonic()
        if left > 0:
            time.sleep(min(left, seconds))
            return frozenset()
        try:
            self._listen()
        except (psycopg.Error, StoreError):  # the connections' log says why
            self._again_at = time.monotonic() + AGAIN_SECONDS
            return frozenset()
        return frozenset(self._names.values())

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
