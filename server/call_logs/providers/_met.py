"""What one reading of a vendor's list has met: which rows, in what order, and how many the vendor counted.

Offset pages move while they are read: a row comes again when newer calls have pushed it back, and one is skipped when
others were deleted before it. Newest first is seldom documented, so only an order that was seen may end a reading early.
"""

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any, TypeVar

W = TypeVar("W")

STALE_PAGES = 5
"""Pages without a new row, one after another, that end a reading: so many may be due to rows that moved meanwhile."""


class Met:
    """`ids` are the rows met so far, `oldest` the earliest start among them.

    `fresh` counts the last page's new rows, `stale` the pages without any, one after another.
    """

    def __init__(self, id_field: str = "id") -> None:
        """`id_field`: where a row has its id."""
        self.ids: set[str] = set()
        self.oldest: datetime | None = None
        self.fresh = 0
        self.stale = 0
        self._id_field = id_field
        self._ordered = True
        self._moved = False
        self._fewest: int | None = None

    def rows(self, records: Iterable[Any], logs: Sequence[W], of: Callable[[W], tuple[str, datetime]]) -> list[W]:
        """Those of a page's rows that were not met before. `of` gives the id and the start of one that could be read."""
        fresh = self.new(records)
        new = list({name: log for log in logs if (name := of(log)[0]) in fresh}.values())
        self.began(of(log)[1] for log in new)
        return new

    def new(self, records: Iterable[Any]) -> set[str]:
        """The identities of a page's rows that were not met before."""
        fresh = {identity(record, self._id_field) for record in records} - self.ids
        self.ids |= fresh
        self.fresh = len(fresh)
        self.stale = 0 if fresh else self.stale + 1
        return fresh

    def began(self, moments: Iterable[datetime]) -> None:
        """Note when new rows' calls began, in the order listed."""
        for moment in moments:
            self._ordered = self._ordered and (self.oldest is None or moment <= self.oldest)
            self.oldest = moment if self.oldest is None else min(self.oldest, moment)

    def fewer(self, total: int | None) -> bool:
        """Whether the vendor counts fewer rows than ever: some were deleted, and later ones moved a page forward."""
        self._moved = total is not None and self._fewest is not None and total < self._fewest
        if total is not None:
            self._fewest = total if self._fewest is None else min(total, self._fewest)
        return self._moved

    def past(self, since: datetime) -> bool:
        """Whether all that follows began before `since`."""
        return self._ordered and self.oldest is not None and self.oldest < since

    def reached(self, until: datetime | None, began: datetime | None = None) -> datetime | None:
        """Down to where all calls before `until` have been listed, once those are that `began` then (or the oldest).

        None where the order does not tell.
        """
        lowest = began or self.oldest
        if not self._ordered or self._moved or lowest is None:
            return None
        # The next row may have begun at the very same moment.
        reached = lowest + timedelta(microseconds=1)
        return reached if until is None else min(reached, until)


def identity(record: Any, id_field: str = "id") -> str:
    """A row's id, or all of it where it has none."""
    row: Any = record
    found = row.get(id_field) if isinstance(record, dict) else None
    return str(found) if isinstance(found, str | int) and found else repr(row)
