"""Whether another connection has written to a SQLite file, asked of a counter that costs no reading."""

import contextlib
import sqlite3
import time
from collections.abc import Callable

from call_logs.store import Watch

LOOK_SECONDS = 0.2
"""How often the counter is looked at: some 10 microseconds each time."""


class SQLiteWatch(Watch):
    """A connection that never writes: SQLite's `data_version` moves for it with whatever any other one commits."""

    def __init__(
        self,
        connect: Callable[[], sqlite3.Connection],
        told: Callable[[], contextlib.AbstractContextManager[None]],
    ) -> None:
        """`told` puts SQLite's failures into our words."""
        self._told = told
        with told():
            self._db = connect()
            self._version = self._looked()
            self._changes = self._counted()

    def wait(self, seconds: float) -> frozenset[str]:
        """See `Watch.wait`."""
        until = time.monotonic() + seconds
        with self._told():
            while not (changed := self._changed()) and (left := until - time.monotonic()) > 0:
                time.sleep(min(LOOK_SECONDS, left))
        return changed

    def close(self) -> None:
        """See `Watch.close`."""
        self._db.close()

    def _changed(self) -> frozenset[str]:
        version = self._looked()
        if version == self._version:
            return frozenset()
        before, self._changes, self._version = self._changes, self._counted(), version
        return frozenset(name for name, count in self._changes.items() if before.get(name, 0) != count)

    def _looked(self) -> int:
        return self._db.execute("PRAGMA data_version").fetchone()[0]

    def _counted(self) -> dict[str, int]:
        return dict(self._db.execute("SELECT name, changes FROM account").fetchall())
