"""Which call, and which of its turns, answers a query best. Works on tokens only, the same for every store.

A call scores by BM25 over its words. Among the best calls, one that says the query's words in a single turn goes before
one that scatters them, and one that says them next to each other, in their order, before both. The word itself counts
more than another form of it.
"""

import functools
import math
from collections.abc import Iterator, Mapping, Sequence
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


@dataclass(frozen=True, eq=False)
class Weighted:
    """A term as it is counted in a text of tokens, with its weight (inverse document frequency).

    `needle` is the term as written, `others` are its other forms. Terms of the same `part` are alternatives.
    """

    needle: str
    weight: float
    others: tuple[str, ...] = ()
    part: int = 0

    @functools.cached_property
    def beginning(self) -> str:
        """What all of its spellings begin with, where there are several."""
        letters = zip(self.needle, *self.others, strict=False)
        return "".join(same[0] for same in takewhile(lambda same: len(set(same)) == 1, letters)) if self.others else ""

    @functools.cached_property
    def counted_others(self) -> tuple[str, ...]:
        """The forms to be counted one by one: none where their beginning is all but a form of its own (refund, refunds)
        and can be counted for them."""
        shortest = min(map(len, (self.needle, *self.others))) - 1  # the space behind it
        return () if len(self.beginning) >= max(shortest - 1, _TELLING) else self.others


_TELLING = 5  # a space and four letters


def weighted(term: Term, weight: float) -> Weighted:
    """The term as it is counted in a text of tokens that are parted by single spaces."""
    end = "" if term.prefix else " "
    return Weighted(f" {' '.join(term.tokens)}{end}", weight, tuple(f" {form} " for form in term.forms), term.part)


def weight(calls_with: int, calls: int) -> float:
    """How telling a term is that occurs in `calls_with` of `calls`."""
    return math.log(1 + (calls - calls_with + 0.5) / (calls_with + 0.5))


def ranked(texts: Sequence[tuple[int, str]], terms: Sequence[Weighted]) -> list[tuple[float, int]]:
    """(score, id) of each (id, text of tokens), best first; equal scores newest (largest id) first.

    Tokens are parted by single spaces; a text begins and ends with one.
    """
    mean = sum(len(text) for _, text in texts) / max(1, len(texts)) or 1.0
    scored = sorted(_bm25(texts, terms, mean), reverse=True)
    if len(terms) > 1:
        phrase = _phrase(terms)
        scored = [
            (score + best_turn_score(text, terms) if n < RERANKED or (phrase and phrase in text) else score, call, text)
            for n, (score, call, text) in enumerate(scored)
        ]
    # Rounded before sorted: a cursor holds the rounded score.
    return sorted(((round(score, 6), call) for score, call, _ in scored), reverse=True)


def best_turn_score(text: str, terms: Sequence[Weighted]) -> float:
    """The score of the best single turn."""
    turns: dict[int, dict[Weighted, str]] = {}
    for term in terms:
        for spelling in (term.needle, *term.others):
            place = text.find(spelling)
            while place >= 0:
                begin = text.rfind(TURN, 0, place) + 1
                turns.setdefault(begin, {}).setdefault(term, spelling)
                end = text.find(TURN, place)
                place = text.find(spelling, end) if end >= 0 else -1
    best = 0.0
    for begin, spelled in turns.items():
        end = text.find(TURN, begin) if len(spelled) > 1 else begin
        best = max(best, _score(text[begin : end if end >= 0 else None], spelled, terms))
    return best


def turn_score(turn: str, terms: Sequence[Weighted]) -> float:
    """The summed weight of the terms in one turn's text of tokens, and more where they stand together."""
    spelled: dict[Weighted, str] = {}
    for term in terms:
        spelling = term.needle if term.needle in turn else next((other for other in term.others if other in turn), "")
        if spelling:
            spelled[term] = spelling
    return _score(turn, spelled, terms)


def _score(turn: str, spelled: Mapping[Weighted, str], terms: Sequence[Weighted]) -> float:
    score = 0.0
    for term, spelling in spelled.items():
        score += term.weight if spelling is term.needle else FORM * term.weight
    return score + _together(turn, spelled, terms) if len(spelled) > 1 else score


def _together(turn: str, spelled: Mapping[Weighted, str], terms: Sequence[Weighted]) -> float:
    """What the turn's words count for standing together: as if all of them were `NEXT` to each other, or a share."""
    parts: dict[int, str] = {}
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


def _nearness(turn: str, first: str, second: str) -> float:
    """1 where the second stands right behind the first, less with each word between them, 0 where it does not follow."""
    nearest = 0.0
    begin = turn.find(first)
    while begin >= 0:
        end = turn.find(" ", begin + len(first) - 1)
        begin_second = turn.find(second, end)
        if begin_second < 0:
            break
        between = turn.count(" ", end, begin_second)
        if not between:
            return 1.0
        nearest = max(nearest, NEAR / between)
        begin = turn.find(first, end)
    return nearest


def _phrase(terms: Sequence[Weighted]) -> str:
    """The query's words as one phrase; empty where it has but one part."""
    first: dict[int, str] = {}
    for term in terms:
        first.setdefault(term.part, term.needle)
    return f" {' '.join(needle.strip() for needle in first.values())} " if len(first) > 1 else ""


def _bm25(texts: Sequence[tuple[int, str]], terms: Sequence[Weighted], mean: float) -> Iterator[tuple[float, int, str]]:
    """(score, id, text) of each (id, text). A thousand texts are counted here for every answer: nothing is called twice."""
    asked = [(term.needle, term.counted_others, term.beginning, term.weight * (K1 + 1)) for term in terms]
    fixed, growing = K1 * (1 - B), K1 * B / mean
    for call, text in texts:
        norm = fixed + growing * len(text)
        score = 0.0
        for needle, others, beginning, weight in asked:
            count: float = text.count(needle)
            if beginning and (begun := text.count(beginning)) != count:
                count += FORM * (sum(map(text.count, others)) if others else begun - count)
            if count:
                score += weight * count / (count + norm)
        yield score, call, text
