"""A call in PostgreSQL's tables and index, in and out; see `postgres` for the plan and `_postgres_schema` for the tables.

The index of a call is one bag of lexemes: its words with their positions (a gap between turns, the speaker as weight),
and its filters, which begin with a character that no word has. What a bag cannot hold exactly is `kept` as LONG or HUGE
and compared by its texts.
"""

import hashlib
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby
from typing import Any

from pydantic import TypeAdapter

from call_logs.model import Call, Speaker, Turn, merged
from call_logs.store import Saved
from call_logs.store._postgres_connections import Connection, ask
from call_logs.store._sqlite_rows import SLOTS, SPOKEN, TOLD, filter_words, settled_stage, tail_of, to_ms
from call_logs.store.forms import vocabulary
from call_logs.store.words import TURN, tokens

EXACT, LONG, HUGE = 0, 1, 2
"""How a bag holds a call: with all positions; with its words by speaker, but not where; with its filters only."""

WEIGHTS = {Speaker.CUSTOMER: "A", Speaker.AGENT: "B", Speaker.SYSTEM: "C", Speaker.UNKNOWN: "D"}
FILTER = "#"
HUGE_LEXEME = f"{FILTER}huge"

# PostgreSQL's limits: 2,046 bytes a lexeme, 256 places of one, places up to 16,383, a megabyte in all.
LONGEST_LEXEME = 500
_MOST_PLACES = 250
_LAST_PLACE = 16_000
_LARGEST_BAG = 900_000

TURNS_A_PART = 200
CHARACTERS_A_PART = 60_000
"""A longer call is kept in parts, so that an excerpt reads no more than it shows."""

_TURNS = TypeAdapter(tuple[Turn, ...])
_KNOWN_WORDS = 500_000

Columns = tuple[Any, ...]
Said = tuple[Speaker, list[str]]
"""Who, and the words of one turn."""


# -- content ----------------------------------------------------------------------------------------------------------


def packed(call: Call) -> tuple[bytes, list[tuple[int, int, int, bytes]]]:
    """The call's digest and its parts: number, first and last turn, body. The first holds all but later turns."""
    whole = call.model_dump_json(exclude_defaults=True).encode()
    digest = hashlib.blake2b(whole, digest_size=16).digest()
    chunks = list(_chunks(call.turns))
    head = whole if len(chunks) == 1 else _json_of(call.model_copy(update={"turns": chunks[0]}))
    parts = [(0, 1, len(chunks[0]), zlib.compress(head, 6))]
    for chunk in chunks[1:]:
        first = parts[-1][2] + 1
        parts.append((len(parts), first, first + len(chunk) - 1, zlib.compress(_TURNS.dump_json(chunk), 6)))
    return digest, parts


def _json_of(call: Call) -> bytes:
    return call.model_dump_json(exclude_defaults=True).encode()


def _chunks(turns: tuple[Turn, ...]) -> Iterable[tuple[Turn, ...]]:
    begin, characters = 0, 0
    for place, turn in enumerate(turns):
        characters += len(turn.text)
        if place > begin and (place - begin == TURNS_A_PART or characters > CHARACTERS_A_PART):
            yield turns[begin:place]
            begin, characters = place, len(turn.text)
    yield turns[begin:]


def unpacked(bodies: Sequence[bytes]) -> Call:
    """The call of its parts, in order; without a part, without that part's turns."""
    call = Call.model_validate_json(zlib.decompress(bodies[0]))
    if len(bodies) == 1:
        return call
    later = (_TURNS.validate_json(zlib.decompress(body)) for body in bodies[1:])
    return call.model_copy(update={"turns": sum(later, call.turns)})


def calls_at(db: Connection, keys: Sequence[int]) -> dict[int, Call]:
    """The whole calls under these keys."""
    found = ask(db, "SELECT id, body FROM content WHERE id = ANY(%s) ORDER BY id, part", (list(keys),))
    return {key: unpacked([body for _, body in rows]) for key, rows in groupby(found, key=lambda row: int(row[0]))}


# -- index ------------------------------------------------------------------------------------------------------------


def lexeme(word: str) -> str:
    """Quoted for a literal. Words hold letters, digits and marks only, filters neither ' nor \\."""
    return f"'{word}'"


def bag_of(said: Sequence[Said], filters: str) -> tuple[int, str]:
    """How the bag holds the call, and the bag as a literal."""
    places: dict[str, list[tuple[int, Speaker]]] = {}
    place = 0
    for speaker, words in said:
        for word in words:
            place += 1
            places.setdefault(word, []).append((place, speaker))
        place += 1
    extra = [lexeme(f"{FILTER}{word}") for word in filters.split()]
    if max(map(len, places), default=0) > LONGEST_LEXEME:
        return HUGE, " ".join([*extra, lexeme(HUGE_LEXEME)])
    kept = EXACT
    if place > _LAST_PLACE or max(map(len, places.values()), default=0) > _MOST_PLACES:
        kept = LONG
        # One place a speaker, and none beside another: a phrase finds nothing in it.
        spread = dict(zip(WEIGHTS, range(1, 9, 2), strict=True))
        places = {
            word: [(spread[speaker], speaker) for speaker in {speaker: None for _, speaker in held}]
            for word, held in places.items()
        }
    bag = " ".join(
        [f"{lexeme(word)}:{','.join(f'{at}{WEIGHTS[who]}' for at, who in held)}" for word, held in places.items()]
        + extra
    )
    if len(bag.encode()) > _LARGEST_BAG:
        return HUGE, " ".join([*extra, lexeme(HUGE_LEXEME)])
    return kept, bag


def texts_of(said: Sequence[Said]) -> list[str]:
    """The words by speaker, turns parted by the turn token, in the order of the index's columns."""
    by_speaker: dict[str, list[str]] = {speaker: [] for speaker in SPOKEN}
    for speaker, words in said:
        by_speaker[speaker].append(" ".join(words))
    return [f" {TURN} ".join(turns) for turns in by_speaker.values()]


def text_of(said: Sequence[str]) -> str:
    """What speakers said, as one text of tokens to be ranked."""
    return f" {f' {TURN} '.join(said)} "


# -- saving -----------------------------------------------------------------------------------------------------------


@dataclass
class _Held:
    """A call as it is in the tables (with key), or will be (written)."""

    call: Call
    seq: int
    digest: bytes
    parts: list[tuple[int, int, int, bytes]]
    key: int | None
    written: bool = False


def save_calls(
    db: Connection,
    account: int,
    calls: Iterable[Call],
    words: str,
    vocabularies: str,
    known: set[tuple[str, str]],
) -> Saved:
    """Merge the calls of a page, oldest first, with those held, and write what changed.

    `words` and `vocabularies` are the index's tables; `known` is what of the vocabulary is there, and is added to. The
    caller holds the lock of writers.
    """
    saved = Saved()
    read = sorted(calls, key=lambda call: call.started_at)
    current = _held(db, account, [call.vendor_call_id for call in read])
    seq = int(ask(db, "SELECT value FROM setting WHERE name = 'seq'").fetchall()[0][0])
    first = seq
    again: list[int] = []
    for call in read:
        was = current.get(call.vendor_call_id)
        kept = merged(was.call, call) if was else call
        saved.ids.append(kept.id)
        digest, parts = packed(kept)
        if was and was.digest == digest:
            saved.same += 1
            if was.key is not None and not was.written and settled_stage(kept) < TOLD:
                again.append(was.key)
            continue
        if was:
            saved.changed += 1
            current[call.vendor_call_id] = _Held(kept, was.seq, digest, parts, was.key, written=True)
        else:
            saved.new += 1
            seq += 1
            current[call.vendor_call_id] = _Held(kept, seq, digest, parts, None, written=True)
    if again:
        ask(db, "UPDATE call SET read_ms = %s WHERE id = ANY(%s)", (to_ms(datetime.now(UTC)), again))
    if seq != first:
        ask(db, "UPDATE setting SET value = %s WHERE name = 'seq'", (str(seq),))
    written = [one for one in current.values() if one.written]
    if written:
        ask(db, "DELETE FROM call WHERE id = ANY(%s)", ([one.key for one in written if one.key is not None],))
        _insert(db, account, written, words, vocabularies, known)
    return saved


def _held(db: Connection, account: int, vendor_ids: Sequence[str]) -> dict[str, _Held]:
    found = ask(
        db,
        "SELECT id, seq, hash, vendor_id FROM call WHERE account = %s AND vendor_id = ANY(%s)",
        (account, list(vendor_ids)),
    ).fetchall()
    calls = calls_at(db, [row[0] for row in found]) if found else {}
    return {vendor_id: _Held(calls[key], seq, digest, [], key) for key, seq, digest, vendor_id in found}


def _insert(
    db: Connection,
    account: int,
    written: Sequence[_Held],
    words: str,
    vocabularies: str,
    known: set[tuple[str, str]],
) -> None:
    agents = _agents(db, account, [one.call for one in written])
    vendor_ids = [one.call.vendor_call_id for one in written]
    parents = _parents(db, account, written) | set(vendor_ids)
    keys = _Keys(db, {_second(one.call) for one in written})
    now = to_ms(datetime.now(UTC))
    rows: list[Columns] = []
    contents: list[Columns] = []
    indexed: list[Columns] = []
    actions: list[Columns] = []
    said: set[tuple[str, str, str]] = set()
    for one in written:
        call = one.call
        key = keys.take(_second(call), one.key)
        leg = call.parent_id is not None and call.parent_id != call.vendor_call_id and call.parent_id in parents
        agent = agents.get(call.agent_id or "")
        rows.append(_row(key, one, account, agent, leg, now))
        contents += [(key, *part) for part in one.parts]
        actions += [(key, n, action.kind, action.name) for n, action in enumerate(call.actions)]
        turns = [(turn.speaker, tokens(turn.text)) for turn in call.turns]
        filters = filter_words(account, agent, call, leg=leg)
        indexed.append((key, one.seq, *bag_of(turns, filters), *texts_of(turns)))
        said.update(vocabulary({word for _, found in turns for word in found}))
    for table, table_rows in (("call", rows), ("content", contents), ("action", actions), (words, indexed)):
        _copy(db, table, table_rows)
    _add_words(db, vocabularies, said, known)
    found = ask(
        db,
        "SELECT id FROM call WHERE account = %s AND parent = ANY(%s) AND vendor_id <> parent AND NOT leg",
        (account, vendor_ids),
    )
    if legs := [key for (key,) in found]:
        ask(db, "UPDATE call SET leg = true WHERE id = ANY(%s)", (legs,))
        ask(
            db,
            f"UPDATE {words} SET bag = (bag::text || ' ' || %s)::tsvector WHERE id = ANY(%s)",
            (lexeme(f"{FILTER}leg"), legs),
        )


def _second(call: Call) -> int:
    return int(call.started_at.timestamp() // 1)


def _row(key: int, one: _Held, account: int, agent: int | None, leg: bool, now: int | None) -> Columns:
    call = one.call
    return (
        key,
        one.seq,
        account,
        call.vendor_call_id,
        call.parent_id,
        leg,
        call.is_test,
        agent,
        to_ms(call.started_at),
        call.duration_seconds,
        call.direction,
        call.status,
        call.was_answered,
        call.from_number,
        call.to_number,
        tail_of(call.from_number),
        tail_of(call.to_number),
        call.end_reason,
        len(call.turns),
        " ".join(dict.fromkeys(action.kind for action in call.actions)),
        one.digest,
        settled_stage(call),
        now,
    )


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
        """INSERT INTO agent(account, vendor_id, name) SELECT %s, told.* FROM unnest(%s::text[], %s::text[]) AS told
           ON CONFLICT (account, vendor_id) DO UPDATE SET name = excluded.name
           WHERE excluded.name IS NOT NULL AND excluded.name IS DISTINCT FROM agent.name""",
        (account, list(names), list(names.values())),
    )
    found = ask(
        db, "SELECT vendor_id, id FROM agent WHERE account = %s AND vendor_id = ANY(%s)", (account, list(names))
    )
    return dict(found.fetchall())


def _parents(db: Connection, account: int, written: Sequence[_Held]) -> set[str]:
    named = {one.call.parent_id for one in written if one.call.parent_id is not None}
    if not named:
        return set()
    found = ask(db, "SELECT vendor_id FROM call WHERE account = %s AND vendor_id = ANY(%s)", (account, list(named)))
    return {vendor_id for (vendor_id,) in found}


class _Keys:
    """Keys that nobody has: the start second times `SLOTS`, or the first free number behind it."""

    def __init__(self, db: Connection, seconds: set[int]) -> None:
        self._db = db
        self._taken: dict[int, set[int]] = {}
        self._read(seconds)

    def take(self, second: int, own: int | None) -> int:
        """A call that was held keeps its key while its second stays."""
        key = own if own is not None and own // SLOTS == second else second * SLOTS
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


def _copy(db: Connection, table: str, rows: Sequence[Columns]) -> None:
    with db.cursor() as cursor, cursor.copy(f"COPY {table} FROM STDIN".encode()) as copy:
        for row in rows:
            copy.write_row(row)


def _add_words(db: Connection, table: str, said: set[tuple[str, str, str]], known: set[tuple[str, str]]) -> None:
    if len(known) > _KNOWN_WORDS:
        known.clear()
    fresh = sorted(row for row in said if row[:2] not in known)
    if fresh:
        ask(
            db,
            f"INSERT INTO {table} SELECT * FROM unnest(%s::text[], %s::text[], %s::text[]) ON CONFLICT DO NOTHING",
            tuple(list(column) for column in zip(*fresh, strict=True)),
        )
    known.update(row[:2] for row in fresh)
