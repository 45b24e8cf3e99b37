"""Which call, and which of its turns, answers a query best. Works on tokens only, the same for every store.

A call scores by BM25 over its words. Among the best calls, one that says the query's words in a single turn goes before
one that scatters them, and one that says them next to each other, in their order, before both. The word itself counts
more than another form of it.

Texts are tokens in UTF-8, parted by single spaces: to decode a thousand of them takes longer than to read them.
"""

import functools
import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from heapq import heappush, heappushpop
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


@dataclass(frozen=True, eq=False)
class Weighted:
    """A term as it is counted in a text of tokens, with its weight (inverse document frequency).

    `needle` is the term as written, `others` are its other forms. Terms of the same `part` are alternatives.
    """

    needle: bytes
    weight: float
    others: tuple[bytes, ...] = ()
    part: int = 0

    @functools.cached_property
    def beginning(self) -> bytes:
        """What all of its spellings begin with, where there are several."""
        letters = zip(self.needle, *self.others, strict=False)
        return bytes(same[0] for same in takewhile(lambda same: len(set(same)) == 1, letters)) if self.others else b""

    @functools.cached_property
    def counted_others(self) -> tuple[bytes, ...]:
        """The forms to be counted one by one: none where their beginning is all but a form of its own (refund, refunds)
        and can be counted for them."""
        shortest = min(map(len, (self.needle, *self.others))) - 1  # the space behind it
        return () if len(self.beginning) >= max(shortest - 1, _TELLING) else self.others

    @functools.cached_property
    def at_most(self) -> bytes:
        """What a text does not say less often than the term, and is counted faster; empty where there is nothing such."""
        if not self.others:
            return self.needle.rstrip()  # few words end so: what ends in a space has to be looked at more often
        return self.beginning if len(self.counted_others) != 1 and len(self.beginning) >= _BOUNDING else b""

    def count(self, text: bytes) -> float:
        """How often a text says it."""
        count: float = text.count(self.needle)
        if not self.others:
            return count
        begun = text.count(self.at_most) if self.at_most else -1
        if begun == count:
            return count
        return count + FORM * (sum(map(text.count, self.counted_others)) if self.counted_others else begun - count)


_TELLING = 5  # a space and four letters
_BOUNDING = 4


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
    return _APART.join((b"", *columns, b""))


def ranked(
    texts: Sequence[tuple[int, bytes]],
    terms: Sequence[Weighted],
    phrased: Collection[int] | None = None,
    wanted: int | None = None,
) -> list[tuple[float, int]]:
    """(score, id) of each (id, text of tokens), best first; equal scores newest (largest id) first.

    A text is one of `text_of`. `phrased`: the ids of texts that say `phrase_of`, where those are known. Of more
    than `wanted` only the best are told, at least so many: with the scores that they would have among all.
    """
    phrase = phrase_of(terms)
    if phrased is None:
        phrased = {call for call, text in texts if phrase in text} if phrase else ()
    several = len(terms) > 1
    best = _best(texts, terms, None if wanted is None else max(wanted, RERANKED) if several else wanted, phrased)
    if several:
        best = [
            (score + best_turn_score(text, terms) if n < RERANKED or call in phrased else score, call, text)
            for n, (score, call, text) in enumerate(best)
        ]
    # Rounded before sorted: a cursor holds the rounded score.
    return sorted(((round(score, 6), call) for score, call, _ in best), reverse=True)


def best_turn_score(text: bytes, terms: Sequence[Weighted]) -> float:
    """The score of the best single turn."""
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


def _best(
    texts: Sequence[tuple[int, bytes]], terms: Sequence[Weighted], wanted: int | None, needed: Collection[int]
) -> list[tuple[float, int, bytes]]:
    """(BM25, id, text) of all texts, or at least of the best `wanted` and of those that are needed; best first.

    A thousand texts are looked at for every answer, and counting words in them is what takes long. So the most telling
    term is counted first, and the others only in texts that could still be among the best.
    """
    fixed = K1 * (1 - B)
    growing = K1 * B / (sum(len(text) for _, text in texts) / max(1, len(texts)) or 1.0)
    first, *rest = sorted(((term, term.weight * (K1 + 1)) for term in terms), key=lambda one: -one[1])
    unknown_of_all = sum(most for _, most in rest)
    count_first, most_first = first[0].count, first[1]
    at_most = first[0].at_most if wanted is not None and (first[0].others or not rest) else b""
    possible: list[tuple[float, int, bytes, float, float]] = []
    for call, text in texts:
        norm = fixed + growing * len(text)
        count: float = text.count(at_most) if at_most else count_first(text)
        score = most_first * count / (count + norm)
        possible.append((score + unknown_of_all, call, text, score, norm))
    if wanted is not None:
        possible.sort(reverse=True)
    is_exact = not at_most
    best: list[tuple[float, int, bytes]] = []
    scores: list[float] = []  # the best `wanted`, smallest first
    for at_best, call, text, first_score, norm in possible:
        full = wanted is not None and len(scores) >= wanted
        least = scores[0] - _ROUNDING if full and call not in needed else -1.0
        if at_best < least:
            continue
        score = first_score
        if not is_exact:
            count = count_first(text)
            score = most_first * count / (count + norm)
        unknown = unknown_of_all
        for term, most in rest:
            if score + unknown < least:
                break
            unknown -= most
            count = term.count(text)
            score += most * count / (count + norm)
        else:
            best.append((score, call, text))
            if wanted is not None:
                (heappushpop if full else heappush)(scores, score)
    best.sort(reverse=True)
    return best


_ROUNDING = 2e-6
"""Scores that differ by less may be the same ones when rounded."""

_APART = f" {TURN} ".encode()
_TURN = TURN.encode()
