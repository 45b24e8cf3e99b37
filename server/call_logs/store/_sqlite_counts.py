"""How many: totals of lists and searches, calls without a transcript, and groups; see `sqlite` for the tables."""

import sqlite3
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from statistics import median
from typing import Any
from zoneinfo import ZoneInfo

from call_logs.model import UNCONNECTED
from call_logs.store import ActionGroup, Filter, Group, Silent
from call_logs.store._sqlite_index import MUTE
from call_logs.store._sqlite_queries import (
    Totals,
    account_numbers,
    among,
    columns_of,
    is_worded,
    match_of,
    source_of,
    where_of,
)
from call_logs.store._sqlite_rows import places_for
from call_logs.store.shared import DAY, SLOTS, is_tallied, window_keys

_NO_CONVERSATION = "status IN (" + ", ".join(f"'{status.value}'" for status in sorted(UNCONNECTED)) + ")"
_EXAMPLES = 3
_EPOCH = date(1970, 1, 1)
_EPOCH_WEEKDAY = 3
_WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_COLUMNS = {
    "status": "call.status",
    "direction": "call.direction",
    "end_reason": "call.end_reason",
    "phone": "coalesce(CASE call.direction WHEN 'outbound' THEN call.to_number ELSE call.from_number END,"
    " CASE call.direction WHEN 'unknown' THEN call.to_number END)",
    "agent": "call.agent",
    "account": "call.account",
    "provider": "call.account",
    "kind": "action.kind",
    "name": "action.name",
}


def tallied(db: sqlite3.Connection, totals: Totals, which: Filter) -> Counter[tuple[int, int, int]]:
    """How many calls there are by (account, silent, unconnected): days from the tally, the window's ends one by one."""
    low, high = window_keys(which)
    whole = range(-(-low // DAY), max(-(-low // DAY), high // DAY))
    accounts = among("account", account_numbers(db, which.accounts))
    shown = ("" if which.include_tests else " AND test = 0") + ("" if which.include_legs else " AND leg = 0")
    found = Counter[tuple[int, int, int]]()
    for account, silent, unconnected, calls in totals.rows(
        db,
        f"SELECT account, silent, unconnected, sum(calls) FROM tally WHERE {accounts} AND day >= :first AND day < :after"
        f" {shown} GROUP BY 1, 2, 3",
        {"first": whole.start, "after": whole.stop},
    ):
        found[account, silent, unconnected] += calls
    ends = [(low, min(whole.start * DAY, high)), (max(whole.stop * DAY, low), high)] if whole else [(low, high)]
    for begin, end in ends:
        if begin < end:
            for *key, calls in db.execute(
                f"SELECT account, turns = 0, {_NO_CONVERSATION}, count(*) FROM call"
                f" WHERE {accounts} AND id >= ? AND id < ? {shown} GROUP BY 1, 2, 3",
                (begin, end),
            ):
                found[tuple(key)] += calls
    return found


def total_of(db: sqlite3.Connection, totals: Totals, which: Filter) -> int:
    """How many calls the filter has."""
    if is_tallied(which):
        return tallied(db, totals, which).total()
    if is_worded(which):
        matching = match_of(db, None, which, None)
        return matching.total(db, totals) if matching else 0
    where, values = where_of(db, which, walked=True)
    # Said twice: the index of durations has those that are unknown as 0.
    bounds = "".join(
        f" AND coalesce(call.duration, 0) {sign} :{name}"
        for name, sign in (("shortest", ">="), ("longest", "<="))
        if name in values
    )
    return totals.of(db, f"SELECT count(*) FROM call WHERE {where}{bounds}", values)


def silent_calls(db: sqlite3.Connection, totals: Totals, which: Filter, recent_since: datetime) -> list[Silent]:
    """Calls without a transcript, by account."""
    calls, unconnected = Counter[int](), Counter[int]()
    if is_tallied(which):
        for (account, mute, apart), number in tallied(db, totals, which).items():
            calls[account] += number * mute
            unconnected[account] += number * mute * apart
    else:
        source, values = _silent_source(db, which)
        for account, number, apart in totals.rows(
            db, f"SELECT account, count(*), sum({_NO_CONVERSATION}) FROM {source} GROUP BY account", values
        ):
            calls[account], unconnected[account] = number, apart
    begun = datetime.fromtimestamp(recent_since.timestamp() // 1, UTC)
    source, values = _silent_source(db, replace(which, since=max(which.since or begun, begun)))
    recent = dict(
        db.execute(
            f"SELECT account, count(*) FROM {source} AND started_ms >= :recent AND NOT {_NO_CONVERSATION} GROUP BY account",
            values | {"recent": round(recent_since.timestamp() * 1000)},
        ).fetchall()
    )
    named = db.execute(f"SELECT id, name, provider FROM account WHERE {among('id', list(+calls))} ORDER BY id")
    return [Silent(name, provider, calls[key], recent.get(key, 0), unconnected[key]) for key, name, provider in named]


def _silent_source(db: sqlite3.Connection, which: Filter) -> tuple[str, dict[str, Any]]:
    """The calls of a filter without a transcript. They have an index of their own, with all that a filter compares but
    actions; few calls have those and no transcript."""
    if which.action is None:
        where, values = columns_of(db, which)
        # An index cannot be named where SQLite sees that nothing can match.
        named = "" if " IN ()" in where else "INDEXED BY call_silent"
        return f"call {named} WHERE turns = 0 AND {where}", values
    matching = match_of(db, None, which, None)
    if matching is None:
        return "call WHERE 0", {}
    return matching.also(MUTE).source


def groups_of(db: sqlite3.Connection, which: Filter, group_by: Sequence[str], zone: str) -> list[Group]:
    """The calls by these dimensions."""
    source, values = source_of(db, which)
    asked = [_Dimension(db, name, zone) for name in group_by]
    chosen = ", ".join(dimension.column for dimension in asked)
    durations: dict[tuple[Any, ...], list[float | None]] = defaultdict(list)
    # Rows as they come, one list an entry: SQL would sort them all, and has no median.
    for row in db.execute(
        f"SELECT call.answered, {chosen + ', ' if chosen else ''}call.duration FROM {source}", values
    ):
        durations[row[:-1]].append(row[-1])
    calls = Counter[tuple[str, ...]]()
    answered: dict[tuple[str, ...], list[float | None]] = {}
    for (was_answered, *parts), some in durations.items():
        key = tuple(dimension.shaped(part) for dimension, part in zip(asked, parts, strict=True))
        calls[key] += len(some)
        answered.setdefault(key, []).extend(some if was_answered else ())
    return [_group(key, number, answered[key]) for key, number in calls.items()]


def action_groups_of(db: sqlite3.Connection, which: Filter, group_by: str, zone: str) -> list[ActionGroup]:
    """The calls' actions by one dimension."""
    source, values = source_of(db, which)
    dimension = _Dimension(db, group_by, zone)
    one_kind = "AND action.kind = :action" if which.action else ""
    executions, calls = Counter[str](), Counter[str]()
    latest: dict[str, int] = {}
    examples: dict[str, list[int]] = defaultdict(list)
    for part, key in db.execute(
        f"SELECT {dimension.column}, action.call FROM action CROSS JOIN call ON call.id = action.call"
        f" WHERE action.call IN (SELECT call.id FROM {source}) {one_kind} ORDER BY action.call DESC",
        values | {"action": str(which.action)},
    ):
        shaped = dimension.shaped(part)
        executions[shaped] += 1
        if latest.get(shaped) != key:  # a call's actions come one after the other
            latest[shaped] = key
            calls[shaped] += 1
            if len(examples[shaped]) < _EXAMPLES:
                examples[shaped].append(key)
    chosen = [key for keys in examples.values() for key in keys]
    ids = dict(
        db.execute(
            "SELECT call.id, account.name || '/' || vendor_id FROM call JOIN account ON account.id = call.account"
            f" WHERE call.id IN ({places_for(chosen)})",
            chosen,
        ).fetchall()
    )
    return [
        ActionGroup(shaped, number, calls[shaped], tuple(ids[key] for key in examples[shaped]))
        for shaped, number in executions.items()
    ]


class _Dimension:
    """A column to group by (numbers where they will do), and what turns its values into keys."""

    def __init__(self, db: sqlite3.Connection, name: str, zone: str) -> None:
        self._shaped: dict[Any, str] = {}
        if name in ("day", "hour", "weekday"):
            local = _local_seconds(db, zone)
            self.column = f"{local} / 3600 % 24" if name == "hour" else f"{local} / 86400"
            self._shape = _TIMES[name]
        else:
            self.column = _COLUMNS[name]
            self._shape = _names(db, name)

    def shaped(self, value: Any) -> str:
        """The key of a value of the column."""
        if value not in self._shaped:
            self._shaped[value] = self._shape(value)
        return self._shaped[value]


_TIMES: dict[str, Callable[[int], str]] = {
    "day": lambda number: (_EPOCH + timedelta(days=number)).isoformat(),
    "hour": lambda number: f"{number:02}:00",
    "weekday": lambda number: _WEEKDAYS[(number + _EPOCH_WEEKDAY) % 7],
}


def _names(db: sqlite3.Connection, dimension: str) -> Callable[[Any], str]:
    statement = {
        "agent": "SELECT id, coalesce(name, vendor_id) FROM agent",
        "account": "SELECT id, name FROM account",
        "provider": "SELECT id, provider FROM account",
    }.get(dimension)
    names: dict[Any, str] = dict(db.execute(statement).fetchall()) if statement else {}
    return lambda value: "unknown" if value is None else names.get(value, str(value))


def _local_seconds(db: sqlite3.Connection, zone: str) -> str:
    """A call's start in seconds of the zone's own clock, as an expression: a case for each change of the clock."""
    (oldest,), (newest,) = (
        db.execute(f"SELECT coalesce({most}(id), 0) / {SLOTS} FROM call").fetchone() for most in ("min", "max")
    )
    there = ZoneInfo(zone)
    seconds = "call.started_ms / 1000"
    changes = _changes(there, oldest - 86400, newest + 86400)
    whens = "".join(f" WHEN {seconds} < {until} THEN {offset}" for until, offset in changes)
    last = _offset(there, newest + 86400)
    return f"({seconds} + CASE{whens} ELSE {last} END)" if whens else f"({seconds} + {last})"


def _changes(zone: ZoneInfo, low: int, high: int) -> list[tuple[int, int]]:
    """(until when, offset) of each stretch of time between these seconds but the last."""
    found: list[tuple[int, int]] = []
    for begin, end in pairwise([*range(low, high, 86400), high]):
        before, after = begin, end
        while _offset(zone, begin) != _offset(zone, end) and after - before > 1:
            middle = (before + after) // 2
            if _offset(zone, middle) == _offset(zone, begin):
                before = middle
            else:
                after = middle
        if _offset(zone, begin) != _offset(zone, end):
            found.append((after, _offset(zone, begin)))
    return found


def _offset(zone: ZoneInfo, second: int) -> int:
    offset = datetime.fromtimestamp(second, UTC).astimezone(zone).utcoffset()
    return round(offset.total_seconds()) if offset is not None else 0


def _group(key: tuple[str, ...], calls: int, answered: Sequence[float | None]) -> Group:
    """`answered`: the durations of the answered calls."""
    known = [duration for duration in answered if duration is not None]
    return Group(key, calls, len(answered), sum(known), median(known) if known else None)
