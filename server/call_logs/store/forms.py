"""Forms of a word: refund, refunds, refunded; devolución, devoluciones. English and Spanish, by Snowball's stemmers.

The index holds words as they were said, so that a phrase stays exact. A query's plain word is widened to those words of
the index that share its stem in a language in which they were said; each store keeps those words beside its index.
"""

import difflib
import functools
import re
from collections.abc import Collection, Iterable, Sequence
from typing import Protocol

LANGUAGES = ("en", "es")

MOST_FORMS = 24
"""Forms of one word that a query is widened to."""

LEAST_LETTERS = 3
MOST_CLOSE = 3
_CLOSE = 0.75
_LEAST_FAMILIAR = 3
_FUNCTION_WORDS = {
    "en": frozenset(
        [
            "the",
            "and",
            "is",
            "are",
            "was",
            "were",
            "you",
            "your",
            "yours",
            "i",
            "im",
            "it",
            "its",
            "this",
            "that",
            "to",
            "of",
            "for",
            "with",
            "have",
            "has",
            "had",
            "not",
            "dont",
            "what",
            "when",
            "how",
            "can",
            "could",
            "would",
            "will",
            "please",
            "thank",
            "my",
            "we",
            "our",
            "from",
            "at",
            "on",
            "be",
            "do",
            "did",
        ]
    ),
    "es": frozenset(
        [
            "el",
            "los",
            "las",
            "una",
            "unos",
            "unas",
            "es",
            "son",
            "esta",
            "estan",
            "fue",
            "usted",
            "tu",
            "su",
            "mi",
            "por",
            "para",
            "con",
            "como",
            "pero",
            "muy",
            "que",
            "cuando",
            "donde",
            "quiero",
            "puedo",
            "puede",
            "gracias",
            "favor",
            "hola",
            "buenos",
            "buenas",
            "dias",
            "tardes",
            "si",
            "del",
            "al",
            "lo",
            "le",
            "les",
            "se",
            "nos",
            "hay",
            "tengo",
        ]
    ),
}
# Tokens carry no accents; Snowball's Spanish endings do.
_ACCENTS = (
    (re.compile("([csx])ion$"), "\\1i\u00f3n"),
    (re.compile("ia(s|n|mos)?$"), "\u00eda\\1"),
    (re.compile("(?<=[a-z]{3})i$"), "\u00ed"),
)


def languages(said: Collection[str]) -> tuple[str, ...]:
    """The languages that these words (tokens) are of, told by the function words among them; often one, or none."""
    found = {language: len(_FUNCTION_WORDS[language].intersection(said)) for language in LANGUAGES}
    most = max(found.values())
    return tuple(name for name, count in found.items() if count >= _LEAST_FAMILIAR and count * 3 >= most)


def may_vary(token: str) -> bool:
    """Whether a token is a word that may have other forms: letters only, and of an alphabet that the stemmers know."""
    return len(token) >= LEAST_LETTERS and token.isalpha() and token.isascii()


@functools.lru_cache(maxsize=65536)
def stem(language: str, token: str) -> str:
    """The token's stem in this language."""
    if language == "es":
        for pattern, accented in _ACCENTS:
            token = pattern.sub(accented, token)
    return _stemmers()[language].stemWord(token)


class _Stemmer(Protocol):
    def stemWord(self, word: str, /) -> str: ...  # noqa: N802 - Snowball's name


@functools.cache
def _stemmers() -> dict[str, _Stemmer]:
    import snowballstemmer  # noqa: PLC0415 # pyright: ignore[reportMissingTypeStubs] - a start does not need it; untyped

    return {"en": snowballstemmer.stemmer("english"), "es": snowballstemmer.stemmer("spanish")}  # pyright: ignore[reportUnknownMemberType] - as above


def vocabulary(said: Collection[str]) -> Iterable[tuple[str, str, str]]:
    """(word, language, stem) of each of these tokens that may vary; the language is empty where none can be told."""
    for language in languages(said) or ("",):
        for token in said:
            if may_vary(token):
                yield token, language, stem(language, token) if language else token


def close(word: str, candidates: Sequence[str]) -> tuple[str, ...]:
    """Those of the candidates that the word may have been meant for, likeliest first."""
    return tuple(difflib.get_close_matches(word, candidates, n=MOST_CLOSE, cutoff=_CLOSE))
