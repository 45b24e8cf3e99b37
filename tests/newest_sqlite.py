"""The newest SQLite (apsw brings its own) behind the few names of `sqlite3` that the store uses."""

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import apsw


class Cursor:
    """The rows of a statement that has run."""

    def __init__(self, rows: Sequence[tuple[Any, ...]]) -> None:
        self._rows = iter(rows)

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        return self._rows

    def fetchone(self) -> tuple[Any, ...] | None:
        return next(self._rows, None)

    def fetchall(self) -> list[tuple[Any, ...]]:
        return list(self._rows)


class Connection:
    """A connection that says and fails like one of `sqlite3`."""

    def __init__(self, path: Path, timeout: float) -> None:
        self._connection = apsw.Connection(str(path))
        self._connection.set_busy_timeout(round(timeout * 1000))

    @property
    def in_transaction(self) -> bool:
        return self._connection.in_transaction

    @property
    def total_changes(self) -> int:
        return self._connection.total_changes()

    def execute(self, statement: str, values: Sequence[Any] | Mapping[str, Any] = ()) -> Cursor:
        try:
            rows = self._connection.execute(statement, values)  # pyright: ignore[reportUnknownMemberType] - its stub
            return Cursor(list(rows))
        except apsw.Error as error:
            raise _translated(error) from error

    def executemany(self, statement: str, values: Sequence[Sequence[Any]]) -> Cursor:
        try:
            rows = self._connection.executemany(statement, values)  # pyright: ignore[reportUnknownMemberType] - its stub
            return Cursor(list(rows))
        except apsw.Error as error:
            raise _translated(error) from error

    def close(self) -> None:
        self._connection.close()


def connect(path: Path, timeout: float) -> Connection:
    """`timeout`: seconds to wait for another process."""
    try:
        return Connection(path, timeout)
    except apsw.Error as error:
        raise _translated(error) from error


def _translated(error: apsw.Error) -> sqlite3.OperationalError:
    translated = sqlite3.OperationalError(str(error))
    translated.sqlite_errorcode = getattr(error, "extendedresult", 1)
    translated.sqlite_errorname = f"SQLITE_{type(error).__name__.removesuffix('Error').upper()}"
    return translated
