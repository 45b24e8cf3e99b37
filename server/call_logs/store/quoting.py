"""The turns to quote of the calls that a search found, with their neighbours, the same for every store.

Which turn answers best is told from the index's own text. Of a long call no part is read that is not needed.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import islice

from call_logs.model import Turn
from call_logs.store import Hit, Row
from call_logs.store.parts import PART, Candidate, best_in, part_at, turns_of, unpacked
from call_logs.store.ranking import Weighted
from call_logs.store.shared import SPOKEN


class Parts:
    """Turns of several calls, of which few parts are read. Positions count from 1, parts and a speaker's turns from 0."""

    def __init__(
        self,
        rows: Iterable[Row],
        before: Callable[[list[int]], Iterable[tuple[int, ...]]],
        bodies: Callable[[list[tuple[int, int]]], Iterable[tuple[int, int, bytes]]],
    ) -> None:
        """`before` reads (call, number of each speaker's turns before a part) of these calls' parts, in order; `bodies`
        reads (call, number, body) of parts by call and number."""
        self._bodies = bodies
        self._before: dict[int, list[Mapping[str, int]]] = {}
        self._turns: dict[tuple[int, int], tuple[Turn, ...]] = {}
        several: list[int] = []
        for row in rows:
            if row.turns > PART:
                several.append(row.key)
            else:
                self._before[row.key] = [dict.fromkeys(SPOKEN, 0)]
        if several:
            for key, *counts in before(several):
                self._before.setdefault(key, []).append(dict(zip(SPOKEN, counts, strict=True)))

    def load(self, wanted: Iterable[tuple[int, int]]) -> None:
        """Read these parts of calls, where they are and were not read yet."""
        missing = [(key, n) for key, n in wanted if n < len(self._before[key]) and (key, n) not in self._turns]
        if missing:
            self._turns |= {(key, n): turns_of(unpacked(body)) for key, n, body in self._bodies(missing)}

    def holding(self, key: int, speaker: str, index: int) -> int:
        """The part with this turn of the speaker's."""
        return sum(before[speaker] <= index for before in self._before[key]) - 1

    def position(self, key: int, speaker: str, index: int) -> int:
        """Which turn of the call this one of the speaker's is. Its part was read."""
        n = self.holding(key, speaker, index)
        own = (place for place, turn in enumerate(self._turns[key, n], 1) if turn.speaker == speaker)
        return n * PART + next(islice(own, index - self._before[key][n][speaker], None))

    def turn(self, key: int, position: int) -> Turn | None:
        """The turn at this position, if there is one. Its part was read."""
        part = self._turns.get((key, part_at(position)), ())
        at = (position - 1) % PART
        return part[at] if position > 0 and at < len(part) else None


def hits_of(
    places: Sequence[tuple[float, int]],
    rows: Mapping[int, Row],
    texts: Mapping[int, Mapping[str, bytes]],
    terms: Sequence[Weighted],
    parts: Parts,
) -> list[Hit]:
    """The calls at these places (score, key) with the turns that answer best. `texts`: what the index holds, by speaker."""
    candidates = {key: _best(said, terms) for key, said in texts.items()}
    parts.load({(key, parts.holding(key, who, one.turn)) for key, best in candidates.items() for who, one in best})
    positions = {
        key: min((parts.position(key, who, one.turn) for who, one in best), default=1)
        for key, best in candidates.items()
    }
    parts.load({(key, part_at(at)) for key, n in positions.items() for at in (max(1, n - 1), n, n + 1)})
    return [_hit(rows[key], parts, positions[key], score) for score, key in places]


def _best(said: Mapping[str, bytes], terms: Sequence[Weighted]) -> list[tuple[str, Candidate]]:
    """The best turn of each speaker who has one that is as good as the best of all."""
    found = [(speaker, best) for speaker, text in said.items() if (best := best_in(text, terms)) is not None]
    first = min((best.rank for _, best in found), default=None)
    return [(speaker, best) for speaker, best in found if best.rank == first]


def _hit(row: Row, parts: Parts, position: int, score: float) -> Hit:
    turn = parts.turn(row.key, position)
    assert turn is not None  # noqa: S101 - a call that matches has turns
    return Hit(row, turn, parts.turn(row.key, position - 1), parts.turn(row.key, position + 1), score)
