"""What is asked: questions of each class, chosen by how many calls really say the words."""

import itertools
import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from datetime import timedelta
from importlib import import_module
from typing import Any

import corpus
from yardsticks import Question

EACH = 20
"""Distinct questions of a class."""

_OTHERS = (
    "devolución",
    "reembolsos",
    "contraseña",
    "रिफंड",
    "भुगतान",
    "शिकायत",
    "owó",
    "ìṣòro",
    "退款",
    "发票",
    "解約",
    "返金",
)


def chosen(size: int, frequencies: Iterable[tuple[str, int]], calls: Sequence[dict[str, str]]) -> dict[str, Any]:
    """Questions by class, ready for JSON. `calls` are some calls' agent, status, moment and phone."""
    rng = random.Random(corpus.SEED)
    found = {word: count for word, count in frequencies if len(word) >= 3 and word.isascii() and word.isalpha()}
    found = {word: count for word, count in found.items() if not (word.startswith("qu") and word.endswith("x"))}
    snowball: Any = import_module("snowballstemmer")  # untyped
    stem: Callable[[str], str] = snowball.stemmer("english").stemWord
    families: dict[str, list[str]] = {}
    for word in found:
        families.setdefault(stem(word), []).append(word)
    single = sorted(word for word in found if len(families[stem(word)]) == 1)
    common = _within(found, single, 0.20 * size, 0.50 * size, rng)
    mid = _within(found, single, 0.005 * size, 0.02 * size, rng)
    rare = _within(found, single, 5, 50, rng)
    inflected = [max(words, key=len) for words in families.values() if len(words) >= 3 and _spoken(words, found)]
    pairs = list(itertools.combinations(common, 2))
    rng.shuffle(pairs)
    classes = {
        "rare word": _words(rare),
        "mid word": _words(mid),
        "common word": _words(common),
        "very common word": _words(sorted(found, key=lambda word: -found[word])),
        "word with forms": _words(rng.sample(sorted(inflected), min(EACH, len(inflected)))),
        "mid AND common": [Question("words", pair) for pair in zip(mid, common, strict=False)],
        "common AND common": [Question("words", pair) for pair in pairs],
        "phrase": _phrases(rng),
        "prefix, 4 letters or more": [Question("prefix", (word[:length],)) for word, length in _cut(mid, rng)],
        "prefix, 3 letters": [Question("prefix", (word[:3],)) for word in {word[:3]: word for word in mid}.values()],
        "common, agent, status, 30 days": _filtered(common, calls, "agent", "status", "since", "until"),
        "common, agent, status": _filtered(common, calls, "agent", "status"),
        "common, phone": _filtered(common, calls, "phone"),
        "other languages": [Question("words", (word,)) for word in _OTHERS],
    }
    return {name: [asdict(question) for question in questions[:EACH]] for name, questions in classes.items()}


def read(kept: dict[str, list[dict[str, Any]]]) -> dict[str, list[Question]]:
    """The questions again."""
    return {
        name: [Question(one["kind"], tuple(one["words"]), one["filters"]) for one in questions]
        for name, questions in kept.items()
    }


def _within(found: dict[str, int], words: Sequence[str], low: float, high: float, rng: random.Random) -> list[str]:
    """Words in `low` to `high` calls; where those are too few, the nearest to that."""
    inside = [word for word in words if low <= found[word] <= high]
    if len(inside) >= EACH:
        return rng.sample(inside, EACH)
    return sorted(words, key=lambda word: max(low - found[word], found[word] - high, 0))[:EACH]


def _spoken(words: Sequence[str], found: dict[str, int]) -> bool:
    return sum(found[word] for word in words) >= 10 * len(words)


def _words(words: Iterable[str]) -> list[Question]:
    return [Question("words", (word,)) for word in words]


def _phrases(rng: random.Random) -> list[Question]:
    """Two to four words in a row out of the lines of support calls."""
    lines = [line for line in corpus.language("en").lines if "{" not in line and "'" not in line]
    phrases: set[tuple[str, ...]] = set()
    while len(phrases) < EACH:
        said = rng.choice(lines).lower().replace(",", "").rstrip(".?").split()
        length = rng.randint(2, 4)
        if len(said) > length:
            begin = rng.randrange(len(said) - length)
            phrases.add(tuple(said[begin : begin + length]))
    return [Question("phrase", phrase) for phrase in sorted(phrases)]


def _cut(words: Iterable[str], rng: random.Random) -> list[tuple[str, int]]:
    cuts = {word[: (length := rng.choice((4, 5)))]: (word, length) for word in words if len(word) > 4}
    return list(cuts.values())


def _filtered(words: Sequence[str], calls: Sequence[dict[str, str]], *names: str) -> list[Question]:
    """Each word with a call's own agent, status, month or phone, so that there may be something to find."""
    return [
        Question("words", (word,), {name: call[name] for name in names})
        for word, call in zip(words, calls, strict=False)
    ]


def filters_of(agent: str, status: str, phone: str, moment: Any) -> dict[str, str]:
    """What `_filtered` needs of a call."""
    return {
        "agent": agent,
        "status": status,
        "phone": phone,
        "since": (moment - timedelta(days=15)).isoformat(),
        "until": (moment + timedelta(days=15)).isoformat(),
    }
