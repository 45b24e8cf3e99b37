"""Cursors: a place in one question's answer, opaque and short, because a model has to carry it.

A cursor holds the tool, a digest of its arguments, the window that was resolved when the question was first asked, and
the position behind the last row. Nothing in it is trusted: what it could change is only where a list goes on.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from math import isfinite

from call_logs.errors import BadQuery
from call_logs.times import Window

_SEPARATOR = "~"
_LONGEST = 1_000
_UNREADABLE = "This cursor is not readable. Take next_cursor as it is from an answer, or leave it out."


@dataclass(frozen=True)
class Place:
    """What a cursor says: its tool, the digest of its arguments, the window, and the position's numbers."""

    tool: str
    of: str
    window: Window
    position: tuple[float, ...]


def digest(arguments: Sequence[object]) -> str:
    """What tells a question from another one."""
    return hashlib.blake2b(json.dumps(arguments).encode(), digest_size=5).hexdigest()


def write_cursor(place: Place) -> str:
    """The place as text without spaces."""
    ends = (_ms(place.window.since), _ms(place.window.until))
    numbers = [repr(number) for number in place.position]
    return _SEPARATOR.join([place.tool, place.of, *ends, *numbers])


def read_cursor(cursor: str | None, tool: str, *lengths: int) -> Place | None:
    """The place that a cursor of this tool names. Its position has at least the first and at most the last of `lengths`.

    Raises `BadQuery` for one of another tool, or none of ours.
    """
    if cursor is None:
        return None
    owner, *parts = cursor.strip()[:_LONGEST].split(_SEPARATOR)
    if parts and owner != tool and owner.replace("_", "").isalpha():
        raise BadQuery(f"This cursor belongs to {owner[:40]}, not to {tool}. Leave it out to begin anew.")
    try:
        of, since, until, *numbers = parts
        place = Place(owner, of, Window(_moment(since), _moment(until)), tuple(_number(text) for text in numbers))
    except (ValueError, OverflowError, OSError):  # the last for a moment that no clock has
        raise BadQuery(_UNREADABLE) from None
    if owner != tool or not lengths[0] <= len(numbers) <= lengths[-1]:
        raise BadQuery(_UNREADABLE)
    return place


def check_cursor(place: Place | None, of: str) -> None:
    """Refuse a cursor of other arguments. Raises `BadQuery`."""
    if place is not None and place.of != of:
        raise BadQuery("This cursor belongs to a query with other arguments. Repeat those, or leave the cursor out.")


def _ms(moment: datetime | None) -> str:
    return str(round(moment.timestamp() * 1000)) if moment is not None else ""


def _moment(text: str) -> datetime | None:
    return datetime.fromtimestamp(int(text) / 1000, UTC) if text else None


def _number(text: str) -> float:
    number = float(text) if "." in text or "e" in text else int(text)
    if not isfinite(number) or abs(number) > 2**62:
        raise ValueError
    return number
