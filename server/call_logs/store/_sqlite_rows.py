"""A call in SQLite's tables and index, in and out; see `sqlite` for the tables."""

import hashlib
import math
import sqlite3
import zlib
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from call_logs.model import ActionKind, Call, Direction, Status, merged
from call_logs.store import (
    Marks,
    Row,
    Saved,
)
from call_logs.store.forms import vocabulary
from call_logs.store.words import TOKENISER_VERSION, TURN, tokens

OVER, TOLD = 1, 2
"""How settled a call is: over, and over with transcript or summary."""

SLOTS = 256
"""Calls that can begin in the same second before keys spill into the next one."""

SPOKEN = ("customer", "agent", "system", "unknown")
"""The index has a column for each speaker, by the speaker's name."""

ROW = """
    call.id, account.name, account.provider, call.vendor_id, call.started_ms, call.duration, call.direction,
    call.status, call.from_number, call.to_number, coalesce(agent.name, agent.vendor_id), call.turns, call.actions
"""

FROM = "call JOIN account ON account.id = call.account LEFT JOIN agent ON agent.id = call.agent"


def save_call(db: sqlite3.Connection, account: int, read: Call, saved: Saved) -> None:
    held = db.execute(
        """SELECT call.id, call.seq, call.hash, content.body FROM call JOIN content ON content.id = call.id
           WHERE account = ? AND vendor_id = ?""",
        (account, read.vendor_call_id),
    ).fetchone()
    call = merged(unpacked(held[3]), read) if held else read
    packed = call.model_dump_json(exclude_defaults=True).encode()
    digest = hashlib.blake2b(packed, digest_size=16).digest()
    saved.ids.append(call.id)
    if held and held[2] == digest:
        saved.same += 1
        if settled_stage(call) < TOLD:
            db.execute("UPDATE call SET read_ms = ? WHERE id = ?", (to_ms(datetime.now(UTC)), held[0]))
        return
    if held:
        saved.changed += 1
        seq = held[1]
        delete_call(db, held[0])
    else:
        saved.new += 1
        db.execute("UPDATE setting SET value = value + 1 WHERE name = 'seq'")
        seq = int(db.execute("SELECT value FROM setting WHERE name = 'seq'").fetchone()[0])
    second = int(call.started_at.timestamp() // 1)
    key = held[0] if held and held[0] // SLOTS == second else free_key(db, second)
    insert_call(db, key, seq, account, call, packed, digest)


def insert_call(
    db: sqlite3.Connection, key: int, seq: int, account: int, call: Call, packed: bytes, digest: bytes
) -> None:
    leg = int(
        call.parent_id is not None
        and db.execute("SELECT 1 FROM call WHERE account = ? AND vendor_id = ?", (account, call.parent_id)).fetchone()
        is not None
    )
    kinds = list(dict.fromkeys(action.kind for action in call.actions))
    agent = agent_number(db, account, call)
    db.execute(
        f"INSERT INTO call VALUES({places_for(range(23))})",
        (
            key,
            seq,
            account,
            call.vendor_call_id,
            call.parent_id,
            leg,
            int(call.is_test),
            agent,
            to_ms(call.started_at),
            call.duration_seconds,
            call.direction,
            call.status,
            int(call.was_answered),
            call.from_number,
            call.to_number,
            tail_of(call.from_number),
            tail_of(call.to_number),
            call.end_reason,
            len(call.turns),
            " ".join(kinds),
            digest,
            settled_stage(call),
            to_ms(datetime.now(UTC)),
        ),
    )
    db.execute("INSERT INTO content VALUES(?, ?)", (key, zlib.compress(packed, 6)))
    db.executemany(
        "INSERT INTO action VALUES(?, ?, ?, ?)",
        [(key, n, action.kind, action.name) for n, action in enumerate(call.actions)],
    )
    index_call(db, key, account, agent, call, leg=bool(leg))
    mark_legs(db, account, call.vendor_call_id)


def settled_stage(call: Call) -> int:
    return TOLD if call.is_final and call.is_told else OVER if call.is_final else 0


def mark_legs(db: sqlite3.Connection, account: int, vendor_id: str) -> None:
    """Calls that were here before their parent become its legs."""
    found = db.execute(
        "SELECT id FROM call WHERE account = :account AND parent = :id AND vendor_id <> :id AND leg = 0",
        {"account": account, "id": vendor_id},
    )
    for (key,) in found.fetchall():
        db.execute("UPDATE call SET leg = 1 WHERE id = ?", (key,))
        db.execute("UPDATE words SET filters = filters || ' leg' WHERE rowid = ?", (key,))


def delete_call(db: sqlite3.Connection, key: int) -> None:
    db.execute("DELETE FROM words WHERE rowid = ?", (key,))
    db.execute("DELETE FROM action WHERE call = ?", (key,))
    db.execute("DELETE FROM content WHERE id = ?", (key,))
    db.execute("DELETE FROM call WHERE id = ?", (key,))


def free_key(db: sqlite3.Connection, second: int) -> int:
    key = second * SLOTS
    if db.execute("SELECT 1 FROM call WHERE id = ?", (key,)).fetchone() is None:
        return key
    return db.execute(
        """SELECT id + 1 FROM call WHERE id >= ? AND NOT EXISTS (SELECT 1 FROM call AS next WHERE next.id = call.id + 1)
           ORDER BY id LIMIT 1""",
        (key,),
    ).fetchone()[0]


def agent_number(db: sqlite3.Connection, account: int, call: Call) -> int | None:
    if call.agent_id is None:
        return None
    db.execute(
        """INSERT INTO agent(account, vendor_id, name) VALUES(?, ?, ?)
           ON CONFLICT(account, vendor_id) DO UPDATE SET name = coalesce(excluded.name, name)""",
        (account, call.agent_id, call.agent_name),
    )
    return db.execute("SELECT id FROM agent WHERE account = ? AND vendor_id = ?", (account, call.agent_id)).fetchone()[
        0
    ]


def index_call(db: sqlite3.Connection, key: int, account: int, agent: int | None, call: Call, *, leg: bool) -> None:
    said = said_by_speaker(call)
    db.execute(
        f"INSERT INTO words(rowid, {', '.join(SPOKEN)}, filters) VALUES(?, {places_for(SPOKEN)}, ?)",
        (key, *said, filter_words(account, agent, call, leg=leg)),
    )
    db.executemany("INSERT OR IGNORE INTO vocabulary VALUES(?, ?, ?)", vocabulary(set(" ".join(said).split())))


def index_again(db: sqlite3.Connection) -> None:
    """Build the index anew from what is kept, by the tokeniser of now."""
    db.execute("DELETE FROM words")
    found = db.execute(
        "SELECT call.id, account, agent, leg, body FROM call JOIN content ON content.id = call.id ORDER BY call.id"
    )
    for key, account, agent, leg, body in found:
        index_call(db, key, account, agent, unpacked(body), leg=bool(leg))
    db.execute("UPDATE setting SET value = ? WHERE name = 'tokeniser'", (str(TOKENISER_VERSION),))


def said_by_speaker(call: Call) -> list[str]:
    """The turns' words by speaker, parted by the turn token."""
    columns: dict[str, list[str]] = {speaker: [] for speaker in SPOKEN}
    for turn in call.turns:
        columns[turn.speaker].append(" ".join(tokens(turn.text)))
    return [f" {TURN} ".join(said) for said in columns.values()]


def filter_words(account: int, agent: int | None, call: Call, *, leg: bool) -> str:
    words = [f"ac{account}", f"di{call.direction}", f"st{call.status}"]
    words += [f"ag{agent}"] if agent is not None else []
    words += [f"ak{kind}" for kind in {action.kind for action in call.actions}]
    words += [f"ph{tail}" for tail in (tail_of(call.from_number), tail_of(call.to_number)) if tail]
    words += [word for word, holds in (("test", call.is_test), ("leg", leg)) if holds]
    return " ".join(words)


def tail_of(number: str | None) -> str | None:
    """The number's digits reversed, so that "ends with" is a range of an index; None where it has none."""
    from call_logs.phones import digits  # noqa: PLC0415 - only writes and callers' histories need it

    return digits(number)[::-1] or None if number else None


def unpacked(body: bytes) -> Call:
    return Call.model_validate_json(zlib.decompress(body))


def row_of(row: tuple[Any, ...]) -> Row:
    key, account, provider, vendor_id, started, duration, direction, status, source, target, agent, turns, actions = row
    return Row(
        key,
        account,
        provider,
        vendor_id,
        datetime.fromtimestamp(started / 1000, UTC),
        duration,
        Direction(direction),
        Status(status),
        source,
        target,
        agent,
        turns,
        tuple(ActionKind(kind) for kind in actions.split()),
    )


def marks_of(row: tuple[Any, ...]) -> Marks:
    high, low, resume = row
    return Marks(moment_of(high), moment_of(low), resume)


def to_ms(moment: datetime | None) -> int | None:
    return round(moment.timestamp() * 1000) if moment is not None else None


def to_ms_after(moment: datetime | None) -> int | None:
    """Never before the moment: a low mark must not promise calls that were not read."""
    return math.ceil(moment.timestamp() * 1000) if moment is not None else None


def moment_of(ms: int | None) -> datetime | None:
    return datetime.fromtimestamp(ms / 1000, UTC) if ms is not None else None


def key_moment(key: int | None) -> datetime | None:
    return datetime.fromtimestamp(key // SLOTS, UTC) if key is not None else None


def places_for(values: Sequence[object]) -> str:
    return ", ".join("?" * len(values))
