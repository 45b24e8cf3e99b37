"""The query language of `search_transcripts`, the same for every store.

    refund invoice        both words, in any of their forms (refunds, refunded), anywhere in the call
    "duplicate charge"    these words in this order, within one turn
    refund*               words that begin so (three letters or more)
    refund OR chargeback  either
    -test                 calls in which the word does not occur, in any of its forms (so that these and the calls with
                          it are all calls); -"test" leaves only that very word out
    555-0122              a number, code or e-mail address, however it was said: "five five five oh one double two"
    five five five oh …   or typed

Any text is a query: what is not syntax is a word. A quoted word is that very word. Only a query without anything to
look for is refused.
"""

import re
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate, islice
from typing import NamedTuple

from call_logs.errors import BadQuery
from call_logs.store.spoken import Span, spans
from call_logs.store.words import fold, words

MAX_TERMS = 32
MIN_PREFIX = 3

_QUOTES = dict.fromkeys(map(ord, "\u201c\u201d\u201e\xab\xbb\uff02\u301d\u301e"), '"')
_OPERATORS = ("OR", "|", "AND")
_TWO = 2
_MOST_PIECES = 4 * MAX_TERMS
_HYPHENATED = re.compile("[^\\W\\d_]+-[^\\W\\d_]{2,}")
_AMOUNT = re.compile(r"\D?(\d{1,3})(\d{3})[.,](\d\d)")  # said or written 1,299.00
_CODE = re.compile(r"([A-Za-z]{1,4})(\d{2,15})")
_PIECE = re.compile(r'(?P<not>(?<!\S)-)?(?:"(?P<phrase>[^"]*)(?:"|$)|(?P<word>[^\s"]+))')


@dataclass(frozen=True)
class Term:
    """A word or phrase: its tokens in order. `prefix`: the last token may go on.

    `inflected`: a plain word, of which other forms count as well; a store fills in `forms`, those that it holds. `part`
    tells, of `Query.terms`, which of them are alternatives to each other.
    """

    tokens: tuple[str, ...]
    prefix: bool = False
    inflected: bool = False
    forms: tuple[str, ...] = ()
    part: int = field(default=0, compare=False)

    @property
    def spellings(self) -> tuple[tuple[str, ...], ...]:
        """The term as written, and its other forms."""
        return (self.tokens, *((form,) for form in self.forms))


@dataclass(frozen=True)
class Query:
    """`required`: each entry holds alternatives, one of which must occur; `excluded`: none of these may.

    `notes` says, for the reader, what of the query was not searched as written.
    """

    required: tuple[tuple[Term, ...], ...]
    excluded: tuple[Term, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def terms(self) -> tuple[Term, ...]:
        """All terms that a hit may contain."""
        return tuple(
            replace(term, part=part) for part, alternatives in enumerate(self.required) for term in alternatives
        )

    def with_forms(self, forms_of: Callable[[Sequence[str]], dict[str, tuple[str, ...]]]) -> "Query":
        """The query with the other forms of its plain words filled in; `forms_of` knows those of the index."""
        plain = list(dict.fromkeys(term.tokens[0] for term in (*self.terms, *self.excluded) if term.inflected))
        known = forms_of(plain) if plain else {}

        def filled(terms: tuple[Term, ...]) -> tuple[Term, ...]:
            return tuple(
                replace(term, forms=known.get(term.tokens[0], ())) if term.inflected else term for term in terms
            )

        return replace(
            self, required=tuple(filled(alternatives) for alternatives in self.required), excluded=filled(self.excluded)
        )


def parse(text: str) -> Query:
    """Read a query. Raises `BadQuery` when it holds nothing to look for."""
    required: list[tuple[Term, ...]] = []
    excluded: list[Term] = []
    notes: list[str] = []
    for count, part in enumerate(_parts(text, notes)):
        if count == MAX_TERMS:
            notes.append(f"Only the first {MAX_TERMS} words of the query were searched.")
            break
        if part.excluded:
            excluded.extend(part.alternatives)
        elif part.joined_by_or and required:
            required[-1] = (*required[-1], *part.alternatives)
        else:
            required.append(part.alternatives)
    if not required:
        raise BadQuery(
            "The query has nothing to look for. Give at least one word that was said, for example refund, "
            '"duplicate charge" or cancel*; -word only leaves calls out.'
        )
    return Query(tuple(dict.fromkeys(required)), tuple(excluded), tuple(dict.fromkeys(notes)))


class _Part(NamedTuple):
    alternatives: tuple[Term, ...]
    excluded: bool
    joined_by_or: bool


def _parts(text: str, notes: list[str]) -> Iterator[_Part]:
    """What the query asks for, one after the other; plain words that stand together are read together."""
    plain: list[str] = []
    joined_by_or = False
    pieces = islice(_PIECE.finditer(text.translate(_QUOTES)), _MOST_PIECES)

    def together() -> Iterator[_Part]:
        for n, alternatives in enumerate(_plain(plain)):
            yield _Part(alternatives, excluded=False, joined_by_or=joined_by_or and not n)
        plain.clear()

    for piece in pieces:
        word, excluded = piece["word"], bool(piece["not"])
        if word in _OPERATORS:
            yield from together()
            joined_by_or = word != "AND"
            continue
        if word is not None and not words(word):
            continue
        if word is not None and not excluded and not _is_prefix(word):
            plain.append(word)
            continue
        if plain:
            yield from together()
            joined_by_or = False
        alternatives = _phrase(piece["phrase"]) if word is None else _prefix(word, notes) or next(_plain([word]))
        if alternatives:
            yield _Part(alternatives, excluded, joined_by_or)
            joined_by_or = False
    yield from together()


def _phrase(text: str) -> tuple[Term, ...]:
    """The words in order; where they are a number or an address and nothing else, however it was said."""
    found = tuple(words(text))
    if not found:
        return ()
    read = [span.whole[0] for span in _read(fold(text)) if _is_all(span, fold(text)) and span.whole]
    return (Term(found), *(Term((word,)) for word in dict.fromkeys(read) if (word,) != found))


def _is_prefix(text: str) -> bool:
    return text.rstrip(".,;:!?").endswith("*")


def _prefix(text: str, notes: list[str]) -> tuple[Term, ...]:
    """A word that goes on; a number in groups is looked for joined as well. Nothing where it is too short, or no prefix."""
    if not _is_prefix(text):
        return ()
    found = tuple(words(text))
    read = dict.fromkeys(word for span in _read(fold(text)) for word in span.whole[:1])
    if not read and len(found[-1]) < MIN_PREFIX and found[-1].isascii():
        notes.append(f"A prefix needs at least {MIN_PREFIX} letters: {found[-1]}* was searched as the word itself.")
        return ()
    return (Term(found, prefix=True), *(Term((word,), prefix=True) for word in read if (word,) != found))


def _plain(pieces: Sequence[str]) -> Iterator[tuple[Term, ...]]:
    """Plain words that stand together: one part each, or one for several that spell a number, a name or an address."""
    folded = [fold(piece) for piece in pieces]
    begins = list(accumulate((len(piece) + 1 for piece in folded), initial=0))
    spelled: dict[int, tuple[int, list[str]]] = {}  # by its first piece: behind its last one, and what it may be
    grouped: dict[int, list[str]] = {}
    for span in sorted(_read(" ".join(folded)), key=lambda span: span.start - span.end):
        first, last = bisect_right(begins, span.start) - 1, bisect_left(begins, span.end)
        if span.in_figures or (last - first == 1 and not span.whole[0].isalpha()):
            for n in range(first, last):
                grouped.setdefault(n, []).extend(span.whole)
        elif _is_all(span, " ".join(folded), begins[first], begins[last]) and not any(
            begin < last and first < end for begin, (end, _) in spelled.items() if begin != first
        ):
            spelled.setdefault(first, (last, []))[1].extend(span.whole)
    n = 0
    while n < len(pieces):
        end, read = spelled.get(n, (n + 1, grouped.get(n, [])))
        if end == n + 1:
            read = [*read, *(word for span in _read(folded[n]) if span.in_figures for word in span.whole)]
        yield _alternatives(" ".join(pieces[n:end]), read)
        n = end


def _read(folded: str) -> list[Span]:
    return [span for span in spans(folded) if span.whole]


def _is_all(span: Span, folded: str, start: int = 0, end: int | None = None) -> bool:
    """Whether there are no words beside the span, in this part of the text."""
    return not words(folded[start : span.start]) and not words(folded[span.end : end])


def _alternatives(text: str, read: Sequence[str]) -> tuple[Term, ...]:
    """A word in all its forms, or a phrase where it falls into several; and the other ways in which it may be said."""
    found = tuple(words(text))
    first = Term(found, inflected=len(found) == 1 and found[0].isalpha())
    others = [Term((word,)) for word in read]
    if len(found) == _TWO and _HYPHENATED.fullmatch(fold(text)):
        others.append(Term(("".join(found),), inflected=True))
    for pattern in (_AMOUNT, _CODE):
        written = pattern.fullmatch(text)
        if written is not None:
            others.append(Term(tuple(words(" ".join(written.groups())))))
    return tuple(dict.fromkeys((first, *others)))
