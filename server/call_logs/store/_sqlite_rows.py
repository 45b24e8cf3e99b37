"""A call in SQLite's tables, in and out; see `sqlite` for the tables and `_sqlite_index` for the full-text index."""

import sqlite3
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from call_logs.model import UNCONNECTED, Call, merged
from call_logs.model import Spoken as SpokenTurns
from call_logs.store import Saved
from call_logs.store._sqlite_index import Index, wrote
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
_PLACES = ", ".join("?" * (_CALL.count(",") + 1))
COUNTED = """INSERT INTO tally VALUES(?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT(account, day, test, leg, silent, unconnected) DO UPDATE SET calls = calls + excluded.calls"""


class _Held(NamedTuple):
    """What the tables say of a call that is held, but its turns and its head."""

    key: int
    seq: int
    digest: bytes
    said: bytes
    turns: int
    timed: int
    settled: int
    test: int
    leg: int
    status: str
    agent: int | None
    listed: int
    head: bytes


class Page:
    """What one transaction writes of an account's calls. Counters are read once and written once, by `finish`."""

    def __init__(
        self, db: sqlite3.Connection, account: int, known: Known, refusals: Refusals, *, listed: bool = False
    ) -> None:
        """Within a transaction that has begun. `known`: the words that the vocabulary holds for sure.

        `listed`: the calls stand in the vendor's list.
        """
        self.saved = Saved()
        self._db = db
        self._account = account
        self._refusals = refusals
        self._listed = int(listed)
        self._index = Index(db, known)
        self._seq = self._first = _number(db, "seq")
        self._now = round(time.time() * 1000)
        self._agents: dict[str, tuple[int, str | None]] = {}
        self._tally: Counter[tuple[int, ...]] = Counter()
        self._handled: Counter[int] = Counter()

    def save(self, read: Call) -> None:
        """Keep a call: new, merged with the one held, or left alone; or refuse it."""
        if self._refusals.refuses(read):
            self.saved.refused += 1
            return
        held = self._held(read.vendor_call_id)
        head = head_json(read)
        # One part's JSON is kept until it is written; that of a longer call is made twice instead.
        jsons = [turns_json(read.turns)] if 0 < len(read.turns) <= PART else None
        said = digest_of_turns(jsons if jsons is not None else map(turns_json, parts_of(read.turns)))
        digest = digest_of_call(head, said)
        self.saved.ids.append(read.id)
        call, stays = read, False
        if held is not None and held.digest != digest:
            spoken = SpokenTurns(held.turns, bool(held.timed))
            call, stays = merged(head_of(unpacked(held.head)), spoken, read)
            head, said = head_json(call), held.said if stays else said
            digest = digest_of_call(head, said)
        if held is None:
            self._insert(call, head, jsons, said, digest)
        elif held.digest == digest:
            self.saved.same += 1
            if held.settled < TOLD or held.listed < self._listed:
                listed = max(held.listed, self._listed)
                self._db.execute("UPDATE call SET read_ms = ?, listed = ? WHERE id = ?", (self._now, listed, held.key))
        else:
            self._change(held, call, head, None if stays or held.said == said else (jsons, said), digest)

    def finish(self) -> None:
        """Write the counters."""
        if self._seq != self._first:
            self._db.execute("UPDATE setting SET value = ? WHERE name = 'seq'", (self._seq,))
        if self.saved.new or self.saved.changed:
            self._db.execute("UPDATE setting SET value = value + 1 WHERE name = 'changes'")
            self._db.execute("UPDATE account SET changes = changes + 1 WHERE id = ?", (self._account,))
            wrote(self._db, self.saved.new + self.saved.changed)
        self._db.executemany(COUNTED, [(*place, number) for place, number in self._tally.items() if number])
        self._db.executemany(
            "UPDATE agent SET calls = calls + ? WHERE id = ?",
            [(number, agent) for agent, number in self._handled.items() if number],
        )

    def _held(self, vendor_id: str) -> _Held | None:
        row = self._db.execute(
            """SELECT call.id, seq, hash, said, turns, timed, settled, test, leg, status, agent, listed, content.head
               FROM call JOIN content ON content.id = call.id WHERE account = ? AND vendor_id = ?""",
            (self._account, vendor_id),
        ).fetchone()
        return _Held(*row) if row else None

    def _insert(self, call: Call, head: bytes, jsons: list[bytes] | None, said: bytes, digest: bytes) -> None:
        self.saved.new += 1
        self._seq += 1
        key = free_key(self._db, second_of(call))
        row = self._row(key, self._seq, call, digest, said, SpokenTurns.of(call.turns), self._listed)
        self._db.execute(f"INSERT INTO call({_CALL}) VALUES({_PLACES})", row)
        self._db.execute("INSERT INTO content VALUES(?, ?)", (key, packed(head)))
        self._keep_turns(key, call, jsons)
        self._keep_actions(key, call)
        leg, agent, tails = row[5], row[7], row[15:17]
        self._index.add(key, call.turns, filter_words(self._account, agent, call, tails, leg=leg, turns=row[18]))
        self._count(key, call.is_test, leg, call.status, not call.turns, agent, 1)
        self._mark_legs(call.vendor_call_id)

    def _change(
        self, held: _Held, call: Call, head: bytes, turns: tuple[list[bytes] | None, bytes] | None, digest: bytes
    ) -> None:
        self.saved.changed += 1
        self._count(held.key, held.test, held.leg, held.status, not held.turns, held.agent, -1)
        key, second = held.key, second_of(call)
        if key // SLOTS != second:
            key = free_key(self._db, second)
            self._move(held.key, key)
        spoken = SpokenTurns.of(call.turns) if turns else SpokenTurns(held.turns, bool(held.timed))
        listed = max(held.listed, self._listed)
        row = self._row(key, held.seq, call, digest, turns[1] if turns else held.said, spoken, listed)
        self._db.execute(f"UPDATE call SET ({_CALL}) = ({_PLACES}) WHERE id = ?", (*row, key))
        self._db.execute("UPDATE content SET head = ? WHERE id = ?", (packed(head), key))
        self._db.execute("DELETE FROM action WHERE call = ?", (key,))
        self._keep_actions(key, call)
        leg, agent, tails = row[5], row[7], row[15:17]
        words = filter_words(self._account, agent, call, tails, leg=leg, turns=row[18])
        if turns:
            self._db.execute("DELETE FROM part WHERE call = ?", (key,))
            self._keep_turns(key, call, turns[0])
            self._index.replace(key, call.turns, words)
        else:
            self._index.refilter(key, words)
        self._count(key, call.is_test, leg, call.status, not spoken.turns, agent, 1)
        self._mark_legs(call.vendor_call_id)

    def _row(
        self, key: int, seq: int, call: Call, digest: bytes, said: bytes, spoken: SpokenTurns, listed: int
    ) -> tuple[Any, ...]:
        return (
            key,
            seq,
            self._account,
            call.vendor_call_id,
            call.parent_id,
            self._is_leg(call),
            int(call.is_test),
            self._agent(call),
            to_ms(call.started_at),
            call.duration_seconds,
            call.direction.value,
            call.status.value,
            int(call.was_answered),
            call.from_number,
            call.to_number,
            tail_of(call.from_number),
            tail_of(call.to_number),
            call.end_reason,
            spoken.turns,
            int(spoken.timed),
            " ".join(dict.fromkeys(action.kind.value for action in call.actions)),
            digest,
            said,
            TOLD if call.is_final and (spoken.turns or call.summary) else OVER if call.is_final else 0,
            self._now,
            listed,
        )

    def _keep_turns(self, key: int, call: Call, jsons: list[bytes] | None) -> None:
        before: Counter[str] = Counter()
        for n, part in enumerate(parts_of(call.turns)):
            json = jsons[n] if jsons else turns_json(part)
            self._db.execute(
                "INSERT INTO part VALUES(?, ?, ?, ?, ?, ?, ?)",
                (key, n, *(before[speaker] for speaker in SPOKEN), packed(json)),
            )
            if len(call.turns) > PART:
                before.update(turn.speaker.value for turn in part)

    def _keep_actions(self, key: int, call: Call) -> None:
        if call.actions:
            self._db.executemany(
                "INSERT INTO action VALUES(?, ?, ?, ?)",
                [(key, n, action.kind.value, action.name) for n, action in enumerate(call.actions)],
            )

    def _move(self, key: int, to: int) -> None:
        """The start was corrected: the same call under another key."""
        self._db.execute("PRAGMA defer_foreign_keys = ON")
        for table, column in (("call", "id"), ("content", "id"), ("part", "call"), ("action", "call")):
            self._db.execute(f"UPDATE {table} SET {column} = ? WHERE {column} = ?", (to, key))
        self._index.move(key, to)

    def _is_leg(self, call: Call) -> int:
        if call.parent_id is None:
            return 0
        parent = self._db.execute(
            "SELECT 1 FROM call WHERE account = ? AND vendor_id = ? AND vendor_id <> ?",
            (self._account, call.parent_id, call.vendor_call_id),
        )
        return int(parent.fetchone() is not None)

    def _mark_legs(self, vendor_id: str) -> None:
        """Calls that were here before their parent become its legs."""
        found = self._db.execute(
            "SELECT id, test, status, turns FROM call"
            " WHERE account = :account AND parent = :id AND vendor_id <> :id AND leg = 0",
            {"account": self._account, "id": vendor_id},
        )
        for key, test, status, turns in found.fetchall():
            self._db.execute("UPDATE call SET leg = 1 WHERE id = ?", (key,))
            self._index.mark_leg(key)
            self._count(key, test, 0, status, not turns, None, -1)
            self._count(key, test, 1, status, not turns, None, 1)

    def _agent(self, call: Call) -> int | None:
        if call.agent_id is None:
            return None
        if call.agent_id not in self._agents:
            found = self._db.execute(
                "SELECT id, name FROM agent WHERE account = ? AND vendor_id = ?", (self._account, call.agent_id)
            ).fetchone()
            if found is None:
                found = self._db.execute(
                    "INSERT INTO agent(account, vendor_id, name) VALUES(?, ?, ?) RETURNING id, name",
                    (self._account, call.agent_id, call.agent_name),
                ).fetchone()
            self._agents[call.agent_id] = found
        number, name = self._agents[call.agent_id]
        if call.agent_name not in (None, name):
            self._db.execute("UPDATE agent SET name = ? WHERE id = ?", (call.agent_name, number))
            self._agents[call.agent_id] = (number, call.agent_name)
        return number

    def _count(self, key: int, test: int, leg: int, status: str, silent: bool, agent: int | None, by: int) -> None:
        unconnected = int(status in UNCONNECTED)
        self._tally[self._account, key // DAY, int(test), leg, int(silent), unconnected] += by
        if agent is not None:
            self._handled[agent] += by


def _number(db: sqlite3.Connection, name: str) -> int:
    return int(db.execute("SELECT value FROM setting WHERE name = ?", (name,)).fetchone()[0])


def free_key(db: sqlite3.Connection, second: int) -> int:
    key = second * SLOTS
    if db.execute("SELECT 1 FROM call WHERE id = ?", (key,)).fetchone() is None:
        return key
    return db.execute(
        """SELECT id + 1 FROM call WHERE id >= ? AND NOT EXISTS (SELECT 1 FROM call AS next WHERE next.id = call.id + 1)
           ORDER BY id LIMIT 1""",
        (key,),
    ).fetchone()[0]


def whole_call(db: sqlite3.Connection, key: int, head: bytes) -> Call:
    """The call with all its turns."""
    call = head_of(unpacked(head))
    turns = tuple(turn for part in part_bodies(db, key) for turn in turns_of(part))
    return call.model_copy(update={"turns": turns}) if turns else call


def part_bodies(db: sqlite3.Connection, key: int, first: int = 1, last: int | None = None) -> Iterator[bytes]:
    """The JSON of the parts that hold the turns from `first` to `last`."""
    found = db.execute(
        "SELECT body FROM part WHERE call = ? AND n BETWEEN ? AND ? ORDER BY n",
        (key, part_at(first), part_at(last) if last is not None else 1 << 40),
    )
    return (unpacked(body) for (body,) in found)


def places_for(values: Sequence[object]) -> str:
    return ", ".join("?" * len(values))
