"""A call in PostgreSQL's tables, in and out; see `_postgres_schema` for the tables and `_postgres_index` for the index."""

import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import NamedTuple

from call_logs.model import UNCONNECTED, Call, Spoken, Turn, merged
from call_logs.store import Saved
from call_logs.store._postgres_changes import tell_of_changes
from call_logs.store._postgres_connections import Connection, ask
from call_logs.store._postgres_index import Columns, Entry, Index, copy
from call_logs.store.parts import (
    PART,
    digest_of_call,
    digest_of_turns,
    head_json,
    head_of,
    packed,
    part_at,
    parts_of,
    turns_json,
    turns_of,
    unpacked,
)
from call_logs.store.shared import (
    DAY,
    OVER,
    SLOTS,
    SPOKEN,
    TOLD,
    Known,
    Refusals,
    filter_words,
    second_of,
    tail_of,
    to_ms,
)

_CALL = (
    "id, seq, account, vendor_id, parent, leg, test, agent, started_ms, duration, direction, status, answered,"
    " from_number, to_number, from_tail, to_tail, end_reason, turns, timed, actions, hash, said, settled, read_ms, listed"
)
_PLACES = ", ".join(["%s"] * (_CALL.count(",") + 1))


class _Row(NamedTuple):
    """What the tables say of a call that is held, but its turns."""

    key: int
    seq: int
    digest: bytes
    said: bytes
    turns: int
    timed: bool
    settled: int
    test: bool
    leg: bool
    status: str
    agent: int | None
    listed: bool
    head: bytes
    vendor_id: str


@dataclass
class _Kept:
    """A call as it will be. `turns` are None where they stay as they are in the tables, of which `row` tells."""

    call: Call
    spoken: Spoken
    said: bytes
    digest: bytes
    turns: Sequence[Turn] | None
    seq: int
    row: _Row | None
    written: bool = False
    key: int = 0
    leg: bool = False
    agent: int | None = None
    listed: bool = False

    @property
    def settled(self) -> int:
        told = self.spoken.turns or self.call.summary
        return TOLD if self.call.is_final and told else OVER if self.call.is_final else 0


def save_calls(
    db: Connection, account: int, calls: Iterable[Call], known: Known, refusals: Refusals, *, listed: bool
) -> Saved:
    """Merge a page's calls, oldest first, with those held, and write what is new or has changed.

    The caller is the only writer. `known`: the words that the vocabulary holds for sure. `listed`: the calls stand in
    the vendor's list.
    """
    saved = Saved()
    every = sorted(calls, key=lambda call: call.started_at)
    read = [call for call in every if not refusals.refuses(call)]
    saved.refused = len(every) - len(read)
    kept = _held(db, account, [call.vendor_call_id for call in read])
    [(held_seq,)] = ask(db, "SELECT value::bigint FROM setting WHERE name = 'seq'").fetchall()
    seq = held_seq
    again: list[int] = []
    for call in read:
        was = kept.get(call.vendor_call_id)
        saved.ids.append(call.id)
        said = digest_of_turns(map(turns_json, parts_of(call.turns)))
        now = _merged(was, call, said, seq + 1)
        if was is None:
            saved.new += 1
            seq += 1
        elif now.digest == was.digest:
            saved.same += 1
            if was.row is not None and not was.written and (was.settled < TOLD or was.row.listed < listed):
                again.append(was.row.key)
            continue
        else:
            saved.changed += 1
        now.listed = listed or (now.row is not None and now.row.listed)
        kept[call.vendor_call_id] = now
    if again:
        ask(
            db,
            "UPDATE call SET read_ms = %s, listed = listed OR %s WHERE id = ANY(%s)",
            (_now(), listed, again),
        )
    if seq != held_seq:
        ask(db, "UPDATE setting SET value = %s WHERE name = 'seq'", (str(seq),))
    if written := [one for one in kept.values() if one.written]:
        ask(db, "UPDATE setting SET value = (value::bigint + 1)::text WHERE name = 'changes'")
        tell_of_changes(db, account)
        _write(db, account, written, known)
    return saved


def _now() -> int:
    return round(time.time() * 1000)


def _merged(was: _Kept | None, read: Call, said: bytes, seq: int) -> _Kept:
    digest = digest_of_call(head_json(read), said)
    if was is None:
        return _Kept(read, Spoken.of(read.turns), said, digest, read.turns, seq, None, written=True)
    if was.digest == digest:
        return was
    call, stays = merged(was.call, was.spoken, read)
    stays = stays or was.said == said
    said = was.said if stays else said
    spoken, turns = (was.spoken, was.turns) if stays else (Spoken.of(read.turns), read.turns)
    digest = digest_of_call(head_json(call), said)
    return _Kept(call, spoken, said, digest, turns, was.seq, was.row, written=True)


def _held(db: Connection, account: int, vendor_ids: Sequence[str]) -> dict[str, _Kept]:
    found = ask(
        db,
        """SELECT call.id, seq, hash, said, turns, timed, settled, test, leg, status, agent, listed, content.head, vendor_id
           FROM call JOIN content ON content.id = call.id WHERE account = %s AND vendor_id = ANY(%s)""",
        (account, list(vendor_ids)),
    )
    rows = (_Row(*row) for row in found)
    return {
        row.vendor_id: _Kept(
            head_of(unpacked(row.head)), Spoken(row.turns, row.timed), row.said, row.digest, None, row.seq, row
        )
        for row in rows
    }


def _write(db: Connection, account: int, written: Sequence[_Kept], known: Known) -> None:
    agents = _agents(db, account, [one.call for one in written])
    vendor_ids = [one.call.vendor_call_id for one in written]
    parents = _parents(db, account, written) | set(vendor_ids)
    keys = _Keys(db, {second_of(one.call) for one in written})
    for one in written:
        call = one.call
        one.key = keys.take(second_of(call), one.row.key if one.row else None)
        one.leg = call.parent_id is not None and call.parent_id != call.vendor_call_id and call.parent_id in parents
        one.agent = agents.get(call.agent_id) if call.agent_id is not None else None
    new = [one for one in written if one.row is None]
    changed = [one for one in written if one.row is not None]
    copy(db, f"call({_CALL})", (_columns(one, account) for one in new))
    copy(db, "content", ((one.key, packed(head_json(one.call))) for one in new))
    _change(db, account, changed)
    copy(db, "part", (row for one in written if one.turns is not None for row in _parts(one.key, one.turns)))
    copy(
        db,
        "action",
        ((one.key, n, action.kind.value, action.name) for one in written for n, action in enumerate(one.call.actions)),
    )
    index = Index(db, known)
    words = {
        one.key: filter_words(
            account,
            one.agent,
            one.call,
            (tail_of(one.call.from_number), tail_of(one.call.to_number)),
            leg=one.leg,
            turns=one.spoken.turns,
        )
        for one in written
    }
    spoken = [Entry(one.key, one.seq, words[one.key], one.turns) for one in written if one.turns is not None]
    if spoken:
        index.write(spoken, held=any(one.turns is not None for one in changed))
    if stays := {one.key: words[one.key] for one in changed if one.turns is None}:
        index.refilter(stays)
    _count(db, account, written, _mark_legs(db, account, vendor_ids, index))


def _change(db: Connection, account: int, changed: Sequence[_Kept]) -> None:
    if not changed:
        return
    rows = [one.row for one in changed if one.row is not None]
    with db.cursor() as cursor:
        # The other tables follow where the key changes. Away first, so that calls may take each other's places.
        moved = [(-row.key, row.key) for one, row in zip(changed, rows, strict=True) if one.key != row.key]
        if moved:
            cursor.executemany("UPDATE call SET id = %s WHERE id = %s", moved)
        cursor.executemany(
            f"UPDATE call SET ({_CALL}) = ({_PLACES}) WHERE id = %s".encode(),
            [
                (*_columns(one, account), row.key if one.key == row.key else -row.key)
                for one, row in zip(changed, rows, strict=True)
            ],
        )
        cursor.executemany(
            "UPDATE content SET head = %s WHERE id = %s", [(packed(head_json(one.call)), one.key) for one in changed]
        )
    ask(db, "DELETE FROM action WHERE call = ANY(%s)", ([one.key for one in changed],))
    ask(db, "DELETE FROM part WHERE call = ANY(%s)", ([one.key for one in changed if one.turns is not None],))


def _columns(one: _Kept, account: int) -> Columns:
    call = one.call
    return (
        one.key,
        one.seq,
        account,
        call.vendor_call_id,
        call.parent_id,
        one.leg,
        call.is_test,
        one.agent,
        to_ms(call.started_at),
        call.duration_seconds,
        call.direction.value,
        call.status.value,
        call.was_answered,
        call.from_number,
        call.to_number,
        tail_of(call.from_number),
        tail_of(call.to_number),
        call.end_reason,
        one.spoken.turns,
        one.spoken.timed,
        " ".join(dict.fromkeys(action.kind.value for action in call.actions)),
        one.digest,
        one.said,
        one.settled,
        _now(),
        one.listed,
    )


def _parts(key: int, turns: Sequence[Turn]) -> Iterable[Columns]:
    before: Counter[str] = Counter()
    for n, part in enumerate(parts_of(turns)):
        yield (key, n, *(before[speaker] for speaker in SPOKEN), packed(turns_json(part)))
        before.update(turn.speaker.value for turn in part)


def _agents(db: Connection, account: int, calls: Sequence[Call]) -> dict[str, int]:
    """The numbers of the calls' agents by the vendor's id; the newest name that is told is kept."""
    names: dict[str, str | None] = {}
    for call in calls:
        if call.agent_id is not None:
            names[call.agent_id] = call.agent_name or names.get(call.agent_id)
    if not names:
        return {}
    ask(
        db,
        """INSERT INTO agent(account, vendor_id, name) SELECT %s, * FROM unnest(%s::text[], %s::text[])
           ON CONFLICT (account, vendor_id) DO UPDATE SET name = excluded.name
           WHERE excluded.name IS NOT NULL AND excluded.name IS DISTINCT FROM agent.name""",
        (account, list(names), list(names.values())),
    )
    found = ask(
        db, "SELECT vendor_id, id FROM agent WHERE account = %s AND vendor_id = ANY(%s)", (account, list(names))
    )
    return dict(found.fetchall())


def _parents(db: Connection, account: int, written: Sequence[_Kept]) -> set[str]:
    named = {one.call.parent_id for one in written if one.call.parent_id is not None}
    if not named:
        return set()
    found = ask(db, "SELECT vendor_id FROM call WHERE account = %s AND vendor_id = ANY(%s)", (account, list(named)))
    return {vendor_id for (vendor_id,) in found}


def _mark_legs(db: Connection, account: int, vendor_ids: Sequence[str], index: Index) -> list[Columns]:
    """Calls that were here before their parent become its legs; returns (key, test, status, turns) of each."""
    found = ask(
        db,
        """SELECT id, test, status, turns FROM call
           WHERE account = %s AND parent = ANY(%s) AND vendor_id <> parent AND NOT leg""",
        (account, list(vendor_ids)),
    ).fetchall()
    if found:
        keys = [row[0] for row in found]
        ask(db, "UPDATE call SET leg = true WHERE id = ANY(%s)", (keys,))
        index.mark_legs(keys)
    return found


def _count(db: Connection, account: int, written: Sequence[_Kept], legs: Sequence[Columns]) -> None:
    """Keep the counters up to date."""
    changes: list[Columns] = []
    handled: list[tuple[int, int]] = []

    def count(key: int, test: bool, leg: bool, status: str, turns: int, by: int) -> None:
        changes.append((account, key // DAY, test, leg, not turns, status in UNCONNECTED, by))

    for one in written:
        if (row := one.row) is not None:
            count(row.key, row.test, row.leg, row.status, row.turns, -1)
            handled.append((row.agent or 0, -1))
        count(one.key, one.call.is_test, one.leg, one.call.status, one.spoken.turns, 1)
        handled.append((one.agent or 0, 1))
    for key, test, status, turns in legs:
        count(key, test, False, status, turns, -1)
        count(key, test, True, status, turns, 1)
    keep_tally(db, changes, handled)


def keep_tally(db: Connection, changes: Iterable[Columns], handled: Iterable[tuple[int, int]]) -> None:
    """Add to the tally (its columns, and by how much) and to the agents' calls."""
    tally: Counter[Columns] = Counter()
    for *place, by in changes:
        tally[tuple(place)] += by
    if changed := [(*place, number) for place, number in tally.items() if number]:
        ask(
            db,
            """INSERT INTO tally SELECT * FROM unnest(%s::int[], %s::bigint[], %s::bool[], %s::bool[], %s::bool[],
               %s::bool[], %s::bigint[]) ON CONFLICT (account, day, test, leg, silent, unconnected)
               DO UPDATE SET calls = tally.calls + excluded.calls""",
            [list(column) for column in zip(*changed, strict=True)],
        )
    calls: Counter[int] = Counter()
    for agent, by in handled:
        calls[agent] += by
    if more := [(agent, number) for agent, number in calls.items() if agent and number]:
        ask(
            db,
            """UPDATE agent SET calls = agent.calls + more.calls FROM unnest(%s::int[], %s::bigint[]) AS more(id, calls)
               WHERE agent.id = more.id""",
            [list(column) for column in zip(*more, strict=True)],
        )


class _Keys:
    """Keys that nobody has: the start second times `SLOTS`, or the first free number behind it."""

    def __init__(self, db: Connection, seconds: set[int]) -> None:
        self._db = db
        self._taken: dict[int, set[int]] = {}
        self._read(seconds)

    def take(self, second: int, own: int | None) -> int:
        """A call that was held keeps its key while its second stays."""
        if own is not None and own // SLOTS == second:
            return own
        key = second * SLOTS
        while key in self._of(key // SLOTS):
            key += 1
        self._of(key // SLOTS).add(key)
        return key

    def _of(self, second: int) -> set[int]:
        if second not in self._taken:
            self._read({second})
        return self._taken[second]

    def _read(self, seconds: set[int]) -> None:
        self._taken |= {second: set() for second in seconds}
        found = ask(
            self._db,
            "SELECT call.id FROM unnest(%s::bigint[]) AS begin JOIN call ON call.id >= begin AND call.id < begin + %s",
            ([second * SLOTS for second in seconds], SLOTS),
        )
        for (key,) in found:
            self._taken[key // SLOTS].add(key)


# -- out --------------------------------------------------------------------------------------------------------------


def whole_calls(db: Connection, heads: Sequence[tuple[int, bytes]]) -> list[tuple[int, Call]]:
    """The calls of these keys and heads with all their turns."""
    keys = [key for key, _ in heads]
    bodies = ask(db, "SELECT call, body FROM part WHERE call = ANY(%s) ORDER BY call, n", (keys,))
    turns = {
        key: tuple(turn for _, body in rows for turn in turns_of(unpacked(body)))
        for key, rows in groupby(bodies, key=lambda row: row[0])
    }
    calls = ((key, head_of(unpacked(head))) for key, head in heads)
    return [(key, call.model_copy(update={"turns": turns[key]}) if key in turns else call) for key, call in calls]


def turns_between(db: Connection, key: int, first: int, last: int | None) -> tuple[Turn, ...]:
    """The turns from `first` to `last`, or to the end; no part is read that has none of them."""
    found = ask(
        db,
        "SELECT body FROM part WHERE call = %s AND n >= %s AND n <= %s ORDER BY n",
        (key, part_at(first), part_at(last) if last is not None else 1 << 30),
    )
    turns = tuple(turn for (body,) in found for turn in turns_of(unpacked(body)))
    skipped = part_at(first) * PART
    return turns[first - 1 - skipped : None if last is None else last - skipped]
