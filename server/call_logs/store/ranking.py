"""Which call, and which of its turns, answers a query best. Works on tokens only, the same for every store.

A call scores by BM25 over its words; among the best calls, one that says the query's words together in a single turn
goes before one that scatters them.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from call_logs.store.query import Term
from call_logs.store.words import TURN

K1 = 1.2
B = 0.75
RERANKED = 200
"""How many of the best calls are compared by their best turn as well."""


FORM = 0.8
"""What another form of a word counts, beside the word itself."""


@dataclass(frozen=True)
class Weighted:
    """A term as it is counted in a text of tokens, with its weight (inverse document frequency).

    `needle` is the term as written, `others` are its other forms.
    """

    needle: str
    weight: float
    others: tuple[str, ...] = ()


def weighted(term: Term, weight: float) -> Weighted:
    """The term as it is counted in a text of tokens that are parted by single spaces."""
    end = "" if term.prefix else " "
    return Weighted(f" {' '.join(term.tokens)}{end}", weight, tuple(f" {form} " for form in term.forms))


def weight(calls_with: int, calls: int) -> float:
    """How telling a term is that occurs in `calls_with` of `calls`."""
    return math.log(1 + (calls - calls_with + 0.5) / (calls_with + 0.5))


def ranked(texts: Sequence[tuple[int, str]], terms: Sequence[Weighted]) -> list[tuple[float, int]]:
    """(score, id) of each (id, text of tokens), best first; equal scores newest (largest id) first."""
    mean = sum(len(text) for _, text in texts) / max(1, len(texts)) or 1.0
    scored = sorted(((_bm25(text, terms, mean), call, text) for call, text in texts), reverse=True)
    if len(terms) > 1:
        best = [(score + best_turn_score(text, terms), call, text) for score, call, text in scored[:RERANKED]]
        scored = best + scored[RERANKED:]
    # Rounded before sorted: a cursor holds the rounded score.
    return sorted(((round(score, 6), call) for score, call, _ in scored), reverse=True)


def best_turn_score(text: str, terms: Sequence[Weighted]) -> float:
    """The summed weight of the terms that the best single turn contains."""
    return max(turn_score(f" {turn.strip()} ", terms) for turn in text.split(TURN))


def turn_score(turn: str, terms: Sequence[Weighted]) -> float:
    """The summed weight of the terms in one turn's text of tokens."""
    return sum(term.weight * _presence(turn, term) for term in terms)


def _presence(turn: str, term: Weighted) -> float:
    return 1.0 if term.needle in turn else FORM if any(other in turn for other in term.others) else 0.0


def best_turn(turns: Sequence[str], terms: Sequence[Weighted]) -> int:
    """The index of the turn (as text of tokens) to quote: most weight, then shortest, then first."""
    return min(range(len(turns)), key=lambda index: (-turn_score(turns[index], terms), len(turns[index]), index))


def _bm25(text: str, terms: Sequence[Weighted], mean: float) -> float:
    norm = K1 * (1 - B + B * len(text) / mean)
    total = 0.0
    for term in terms:
        count = text.count(term.needle) + FORM * sum(text.count(other) for other in term.others)
        total += term.weight * count * (K1 + 1) / (count + norm)
    return total
