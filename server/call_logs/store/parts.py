"""A call in parts, the same in every store: its head (all but what was said), and its turns by 512.

Nobody has to hold or read the whole of a long call a second time. The digests are of the canonical JSON, so two stores
that keep the same call keep the same digest, whatever their own keys and formats are.
"""

import hashlib
import zlib
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from call_logs.model import TURNS, Call, Turn
from call_logs.store.ranking import Weighted, turn_score
from call_logs.store.words import TURN

PART = 512
"""Turns in a part; all but the last are full. Digests depend on it."""

_TURN = TURN.encode()
_DIGEST_BYTES = 16


def head_json(call: Call) -> bytes:
    """The call without its turns, as canonical JSON."""
    return call.model_dump_json(exclude_defaults=True, exclude={"turns"}).encode()


def head_of(json: bytes) -> Call:
    """The call without its turns, from its JSON."""
    return Call.model_validate_json(json)


def parts_of(turns: Sequence[Turn]) -> Iterator[Sequence[Turn]]:
    """The turns by parts."""
    return (turns[begin : begin + PART] for begin in range(0, len(turns), PART))


def turns_json(part: Sequence[Turn]) -> bytes:
    """A part's turns as canonical JSON."""
    return TURNS.dump_json(tuple(part), exclude_defaults=True)


def turns_of(json: bytes) -> tuple[Turn, ...]:
    """A part's turns from their JSON."""
    return TURNS.validate_json(json)


def packed(json: bytes) -> bytes:
    """JSON as it is kept. Level 3: a third of the time of level 6 for a twentieth more space."""
    return zlib.compress(json, 3)


def unpacked(body: bytes) -> bytes:
    """The JSON of what is kept."""
    return zlib.decompress(body)


def part_at(position: int) -> int:
    """The number (from 0) of the part that holds the turn at this position (from 1)."""
    return (position - 1) // PART


def digest_of_turns(jsons: Iterable[bytes]) -> bytes:
    """16 bytes over the JSON of all parts, in order."""
    digest = hashlib.blake2b(digest_size=_DIGEST_BYTES)
    for json in jsons:
        digest.update(json)
    return digest.digest()


def digest_of_call(head: bytes, turns: bytes) -> bytes:
    """16 bytes over a call: its head's JSON, and the digest of its turns."""
    return hashlib.blake2b(head + turns, digest_size=_DIGEST_BYTES).digest()


def fingerprint_of(digests: Iterable[bytes]) -> tuple[int, str]:
    """How many calls these digests are of, and one digest (hexadecimal) of them all, whatever their order."""
    count, total = 0, 0
    for digest in digests:
        count += 1
        total += int.from_bytes(digest, "big")
    return count, f"{total % (1 << 8 * _DIGEST_BYTES):0{2 * _DIGEST_BYTES}x}"


class Candidate(NamedTuple):
    """A turn that may answer best: how good (smaller is better), and which of the text's turns it is, from 0."""

    rank: tuple[float, int]
    turn: int


def best_in(text: bytes, terms: Sequence[Weighted]) -> Candidate | None:
    """The turn that says most of the terms, then the shortest, then the first, of a text of tokens parted by `TURN`.

    Turns that say none are not looked at. None where all say none.
    """
    text = b" %b " % text
    best: Candidate | None = None
    seen: dict[int, int] = {}
    for needle in dict.fromkeys(needle for term in terms for needle in (term.needle, *term.others)):
        at, counted, index = text.find(needle), 0, 0
        while at >= 0:
            before = text.rfind(_TURN, 0, at + 1)
            begin = before + len(_TURN) if before >= 0 else 0
            end = text.find(_TURN, at + 1)
            end = len(text) if end < 0 else end
            if begin not in seen:
                index += text.count(_TURN, counted, begin)
                counted = begin
                seen[begin] = index
                turn = text[begin:end]
                rank = (-turn_score(turn, terms), len(turn))
                if best is None or (rank, index) < best:
                    best = Candidate(rank, index)
            at = text.find(needle, end)
    return best
