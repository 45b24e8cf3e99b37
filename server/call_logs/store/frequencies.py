"""How often calls say their words, kept beside the index: to rank a thousand calls few of their texts are read.

A call's frequencies are one line, of the size of its text and the words that it says more than once: `1734 refund=3 the=21 `.
What matches a word that is not there says it once. Words are letters, digits and marks, so that nothing in them can be
taken for anything else.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from call_logs.store.ranking import APART, FORM, Counted, Weighted


class Frequencies(NamedTuple):
    """A call's frequencies, read: the bytes of its text, and the words that it says more than once (` refund=3 the=21 `)."""

    size: int
    said: bytes

    @classmethod
    def of(cls, line: bytes) -> "Frequencies":
        """As `frequencies_of` wrote them."""
        end = line.index(b" ")
        return cls(int(line[:end]), line[end:])


def frequencies_of(columns: Sequence[str], counts: Mapping[str, int]) -> str:
    """The frequencies of a call. `columns`: its tokens by speaker; `counts`: how often it says each of its words."""
    size = sum(len(column) if column.isascii() else len(column.encode()) for column in columns)
    said = "".join([f"{word}={count} " for word, count in counts.items() if count > 1])
    return f"{size + len(APART) * (len(columns) + 1)} {said}"


def is_counted(terms: Sequence[Weighted]) -> bool:
    """Whether frequencies tell how often matching calls say the terms: words of which each must be said, in some form.

    Not the parts of a phrase, nor which of several alternatives is said.
    """
    words = all(b" " not in term.needle.strip() for term in terms)
    return words and len({term.part for term in terms}) == len(terms)


def counted_by(calls: Sequence[tuple[int, Frequencies]], terms: Sequence[Weighted]) -> Counted:
    """How often calls, by their keys, say terms that they match."""
    lines = [frequencies.said for _, frequencies in calls]
    return Counted(
        [call for call, _ in calls],
        [frequencies.size for _, frequencies in calls],
        [_counts(term, lines) for term in terms],
        exact=not any(term.others or _is_beginning(term) for term in terms),
    )


def _is_beginning(term: Weighted) -> bool:
    return not term.needle.endswith(b" ")


def _counts(term: Weighted, lines: Sequence[bytes]) -> list[float]:
    """How often each of the calls says the term; of its forms those that are said more than once, or else one."""
    if _is_beginning(term):
        return [_begun(term.needle, line) or 1 for line in lines]
    word, length = _sought(term.needle)
    if not term.others:  # as below, for the most frequent question
        return [
            1 if (at := line.find(word)) < 0 else int(line[at + length : line.index(b" ", at + length)])
            for line in lines
        ]
    others = [_sought(other) for other in term.others]
    beginning = term.beginning
    return [
        (_said(word, length, line) + FORM * sum([_said(*other, line) for other in others]) or 1)
        if beginning in line
        else 1
        for line in lines
    ]


def _begun(needle: bytes, line: bytes) -> int:
    """How often words are said that begin so, of those that are said more than once."""
    count = 0
    at = line.find(needle)
    while at >= 0:
        at = line.index(b"=", at) + 1
        end = line.index(b" ", at)
        count += int(line[at:end])
        at = line.find(needle, end)
    return count


def _sought(word: bytes) -> tuple[bytes, int]:
    """What a word's number stands behind, and how long that is."""
    return word[:-1] + b"=", len(word)


def _said(word: bytes, length: int, line: bytes) -> int:
    """How often a word is said that is said more than once, else 0."""
    at = line.find(word)
    if at < 0:
        return 0
    at += length
    return int(line[at : line.index(b" ", at)])
