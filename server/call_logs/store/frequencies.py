"""How often calls say their words, kept beside the index: to rank a thousand calls few of their texts are read.

A call's frequencies are one line, of the size of its text and the words that it says more than once: `1734 refund=3 the=21 `.
What matches a word that is not there says it once. Words are letters, digits and marks, so that nothing in them can be
taken for anything else.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from call_logs.store.ranking import APART, FORM, Counted, Weighted

_SPACE, _ZERO = b" 0"


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
    if not term.others:
        return [number or 1 for number in _numbers(term.needle, lines)]
    beginning = term.beginning
    places = [place for place, line in enumerate(lines) if beginning in line]
    some = [lines[place] for place in places]
    forms = map(sum, zip(*(_numbers(other, some) for other in term.others), strict=True))
    counts = [1.0] * len(lines)
    for place, number, others in zip(places, _numbers(term.needle, some), forms, strict=True):
        counts[place] = number + FORM * others or 1.0
    return counts


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


def _numbers(word: bytes, lines: Sequence[bytes]) -> list[int]:
    """How often each of the calls says a word that it says more than once, else 0."""
    sought, length = word[:-1] + b"=", len(word)
    return [
        0
        if (at := line.find(sought)) < 0
        else line[at + length] - _ZERO  # a digit alone, as it mostly is, is soon read
        if line[at + length + 1] == _SPACE
        else int(line[at + length : line.index(b" ", at + length)])
        for line in lines
    ]
