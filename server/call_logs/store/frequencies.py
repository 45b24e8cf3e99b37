"""How often calls say their words, kept beside the index: to rank a thousand calls few of their texts are read.

A call's frequencies are one line, of the size of its text and the words that it says more than once: `1734 refund=3 the=21 `.
What matches a word that is not there says it once. Words are letters, digits and marks, so that nothing in them can be
taken for anything else.
"""

from collections.abc import Callable, Mapping, Sequence

from call_logs.store.ranking import APART, FORM, Counted, Weighted


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


def counted_by(calls: Sequence[tuple[int, bytes]], terms: Sequence[Weighted]) -> Counted:
    """How often calls (key, frequencies) say terms that they match."""
    lines = [said for _, said in calls]
    return Counted(
        [call for call, _ in calls],
        [int(said[: said.index(b" ")]) for said in lines],
        [list(map(_counter(term), lines)) for term in terms],
        exact=not any(term.others or _is_beginning(term) for term in terms),
    )


def _is_beginning(term: Weighted) -> bool:
    return not term.needle.endswith(b" ")


def _counter(term: Weighted) -> Callable[[bytes], float]:
    """What counts the term in a call's frequencies; of its forms those that are said more than once, or else one."""
    if _is_beginning(term):
        return lambda line: _begun(term.needle, line) or 1
    said = _said(term.needle)
    if not term.others:
        return lambda line: said(line) or 1
    others = [_said(other) for other in term.others]
    beginning = term.beginning

    def count(line: bytes) -> float:
        if beginning not in line:
            return 1
        return said(line) + FORM * sum([other(line) for other in others]) or 1

    return count


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


def _said(word: bytes) -> Callable[[bytes], int]:
    """How often a word is said that is said more than once, else 0."""
    sought = word[:-1] + b"="

    def said(line: bytes) -> int:
        at = line.find(sought)
        if at < 0:
            return 0
        at += len(sought)
        return int(line[at : line.index(b" ", at)])

    return said
