"""Which call, and which of its turns, answers a query best. Works on tokens only, the same for every store.

A call scores by BM25 over its words. Among the best calls, one that says the query's words in a single turn goes before
one that scatters them, and one that says them next to each other, in their order, before both. The word itself counts
more than another form of it.

Texts are tokens in UTF-8, parted by single spaces. How often calls say a word is told without them; see `frequencies`.
"""

import heapq
import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise, takewhile

from call_logs.store.query import Term
from call_logs.store.words import TURN

K1 = 1.2
B = 0.75
RERANKED = 100
"""How many of the best calls are compared by their best turn as well; and all that say the whole query as a phrase."""

FORM = 0.8
"""What another form of a word counts, beside the word itself."""

NEXT = K1 + 1
"""What words next to each other count: as much as they could ever count by being said often."""

NEAR = 0.5
"""What words in their order count at most that are not next to each other; less with each word between them."""

_DECIMALS = 6
_STEP = 10.0**-_DECIMALS


@dataclass(frozen=True, eq=False)
class Weighted:
    """A term as it is counted in a text of tokens, with its weight (inverse document frequency).

    `needle` is the term as written, `others` are its other forms. Terms of the same `part` are alternatives.
    """

    needle: bytes
    weight: float
    others: tuple[bytes, ...] = ()
    part: int = 0

    @property
    def beginning(self) -> bytes:
        """What all of its spellings begin with."""
        letters = zip(self.needle, *self.others, strict=False)
        return bytes(same[0] for same in takewhile(lambda same: len(set(same)) == 1, letters))

    def count(self, text: bytes) -> float:
        """How often a text says it."""
        return text.count(self.needle) + FORM * sum(map(text.count, self.others))


@dataclass(frozen=True)
class Counted:
    """Calls to be ranked, by their keys: the bytes of each one's text, and of each term how often each says it.

    `exact`: counting the texts would tell the same.
    """

    calls: Sequence[int]
    sizes: Sequence[int]
    counts: Sequence[Sequence[float]]
    exact: bool = True


def weighted(term: Term, weight: float) -> Weighted:
    """The term as it is counted in a text of tokens that are parted by single spaces."""
    end = "" if term.prefix else " "
    others = tuple(f" {form} ".encode() for form in term.forms)
    return Weighted(f" {' '.join(term.tokens)}{end}".encode(), weight, others, term.part)


def weight(calls_with: int, calls: int) -> float:
    """How telling a term is that occurs in `calls_with` of `calls`."""
    return math.log(1 + (calls - calls_with + 0.5) / (calls_with + 0.5))


def text_of(columns: Iterable[bytes]) -> bytes:
    """A call's text, of its speakers' columns."""
    return APART.join((b"", *columns, b""))


def counted_in(texts: Sequence[tuple[int, bytes]], terms: Sequence[Weighted]) -> Counted:
    """How often calls (key, `text_of`) say the terms."""
    return Counted(
        [call for call, _ in texts],
        [len(text) for _, text in texts],
        [[term.count(text) for _, text in texts] for term in terms],
    )


def scored(
    counted: Counted,
    terms: Sequence[Weighted],
    phrased: Collection[int],
    texts: Callable[[Sequence[int]], Mapping[int, bytes]],
) -> list[tuple[float, int]]:
    """(score, key) of each call; see `foremost` for their order.

    `phrased`: those of the calls that say `phrase_of`. `texts` reads those that are compared by their best turn, and counted again
    where their frequencies were not exact.
    """
    typical = sum(counted.sizes) / max(1, len(counted.sizes)) or 1.0
    found = list(zip(bm25(counted, terms, typical), counted.calls, strict=True))
    if len(terms) == 1 and counted.exact:
        return found
    best = {call for _, call in heapq.nlargest(RERANKED, found)}
    said = texts([*best.union(phrased)])
    scores = {call: score for score, call in found}
    if not counted.exact:
        again = counted_in(list(said.items()), terms)
        scores |= zip(again.calls, bm25(again, terms, typical), strict=True)
    for call, text in said.items():
        scores[call] += best_turn_score(text, terms)
    return [(score, call) for call, score in scores.items()]


def foremost(
    found: Sequence[tuple[float, int]], limit: int, after: tuple[float, int] | None = None
) -> tuple[list[tuple[float, int]], bool]:
    """The best of these calls (score, key), best first, at most `limit` of those behind a place; and whether there are more.

    Scores count as a cursor holds them, rounded; of equal ones that of the newest call is better.
    """
    if after is not None:
        found = [place for place in _rounded(found) if place < after]
    elif len(found) > limit:
        least = heapq.nlargest(limit, found)[-1][0] - _STEP
        return heapq.nlargest(limit, _rounded([place for place in found if place[0] >= least])), True
    else:
        found = _rounded(found)
    return heapq.nlargest(limit, found), len(found) > limit


def _rounded(found: Sequence[tuple[float, int]]) -> list[tuple[float, int]]:
    return [(round(score, _DECIMALS), call) for score, call in found]


def bm25(counted: Counted, terms: Sequence[Weighted], typical: float) -> list[float]:
    """The score of each call, of its words alone. `typical`: the bytes of a text of average size."""
    fixed = K1 * (1 - B)
    growing = K1 * B / typical
    norms = [fixed + growing * size for size in counted.sizes]
    scores = [0.0] * len(norms)
    for term, counts in zip(terms, counted.counts, strict=True):
        most = term.weight * (K1 + 1)
        scores = [
            score + most * count / (count + norm) for score, count, norm in zip(scores, counts, norms, strict=True)
        ]
    return scores


def best_turn_score(text: bytes, terms: Sequence[Weighted]) -> float:
    """The score of the best single turn."""
    if len(terms) == 1:
        [term] = terms
        return term.weight if term.needle in text else FORM * term.weight
    turns: dict[int, dict[Weighted, bytes]] = {}
    for term in terms:
        for spelling in (term.needle, *term.others):
            place = text.find(spelling)
            while place >= 0:
                before = text.rfind(_TURN, 0, place)
                begin = before + len(_TURN) if before >= 0 else 0
                turns.setdefault(begin, {}).setdefault(term, spelling)
                end = text.find(_TURN, place)
                place = text.find(spelling, end) if end >= 0 else -1
    best = 0.0
    for begin, spelled in turns.items():
        end = text.find(_TURN, begin) if len(spelled) > 1 else begin
        best = max(best, _score(text[begin : end if end >= 0 else None], spelled, terms))
    return best


def turn_score(turn: bytes, terms: Sequence[Weighted]) -> float:
    """The summed weight of the terms in one turn's text of tokens, and more where they stand together."""
    spelled: dict[Weighted, bytes] = {}
    for term in terms:
        spelling = term.needle if term.needle in turn else next((other for other in term.others if other in turn), b"")
        if spelling:
            spelled[term] = spelling
    return _score(turn, spelled, terms)


def _score(turn: bytes, spelled: Mapping[Weighted, bytes], terms: Sequence[Weighted]) -> float:
    score = 0.0
    for term, spelling in spelled.items():
        score += term.weight if spelling is term.needle else FORM * term.weight
    return score + _together(turn, spelled, terms) if len(spelled) > 1 else score


def _together(turn: bytes, spelled: Mapping[Weighted, bytes], terms: Sequence[Weighted]) -> float:
    """What the turn's words count for standing together: as if all of them were `NEXT` to each other, or a share."""
    parts: dict[int, bytes] = {}
    for term, spelling in spelled.items():
        parts.setdefault(term.part, spelling)
    weights: dict[int, float] = {}
    for term in terms:
        weights[term.part] = max(weights.get(term.part, 0.0), term.weight)
    pairs = [(one, other, weights[one] + weights[other]) for one, other in pairwise(weights)]
    near = sum(
        value * _nearness(turn, parts[one], parts[other])
        for one, other, value in pairs
        if one in parts and other in parts
    )
    return NEXT * sum(weights.values()) * near / (sum(value for *_, value in pairs) or 1.0)


def _nearness(turn: bytes, first: bytes, second: bytes) -> float:
    """1 where the second stands right behind the first, less with each word between them, 0 where it does not follow."""
    nearest = 0.0
    begin = turn.find(first)
    while begin >= 0:
        end = turn.find(b" ", begin + len(first) - 1)
        begin_second = turn.find(second, end)
        if begin_second < 0:
            break
        between = turn.count(b" ", end, begin_second)
        if not between:
            return 1.0
        nearest = max(nearest, NEAR / between)
        begin = turn.find(first, end)
    return nearest


def phrase_of(terms: Sequence[Weighted]) -> bytes:
    """The query's words as one phrase between spaces; empty where it has but one part."""
    first: dict[int, bytes] = {}
    for term in terms:
        first.setdefault(term.part, term.needle)
    return b" %b " % b" ".join(needle.strip() for needle in first.values()) if len(first) > 1 else b""


APART = f" {TURN} ".encode()
"""What parts a call's speakers in its text."""

_TURN = TURN.encode()
