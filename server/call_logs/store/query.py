"""The query language of `search_transcripts`, the same for every store.

    refund invoice        both words, in any of their forms (refunds, refunded), anywhere in the call
    "duplicate charge"    these words in this order, within one turn
    refund*               words that begin so (three letters or more)
    refund OR chargeback  either
    -test                 calls in which the word does not occur

Any text is a query: what is not syntax is a word. Only a query without anything to look for is refused.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from call_logs.errors import BadQuery
from call_logs.store.words import numbers, words

MAX_TERMS = 32
MIN_PREFIX = 3

_QUOTES = dict.fromkeys(map(ord, "\u201c\u201d\u201e\xab\xbb\uff02\u301d\u301e"), '"')
_PIECE = re.compile(r'(?P<not>(?<!\S)-)?(?:"(?P<phrase>[^"]*)(?:"|$)|(?P<word>[^\s"]+))')


@dataclass(frozen=True)
class Term:
    """A word or phrase: its tokens in order. `prefix`: the last token may go on.

    `inflected`: a plain word, of which other forms count as well; a store fills in `forms`, those that it holds.
    """

    tokens: tuple[str, ...]
    prefix: bool = False
    inflected: bool = False
    forms: tuple[str, ...] = ()

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
        return tuple(term for alternatives in self.required for term in alternatives)

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
    joined_by_or = False
    terms = 0
    for piece in _PIECE.finditer(text.translate(_QUOTES)):
        word, phrase = piece["word"], piece["phrase"]
        if word in ("OR", "|", "AND"):
            joined_by_or = word != "AND" and bool(required)
            continue
        alternatives = _phrase(phrase) if word is None else _word(word, notes)
        if not alternatives:
            continue
        if terms == MAX_TERMS:
            notes.append(f"Only the first {MAX_TERMS} words of the query were searched.")
            break
        terms += 1
        if piece["not"]:
            excluded.extend(alternatives)
        elif joined_by_or:
            required[-1] = (*required[-1], *alternatives)
        else:
            required.append(alternatives)
        joined_by_or = False
    if not required:
        raise BadQuery(
            "The query has nothing to look for. Give at least one word that was said, for example refund, "
            '"duplicate charge" or cancel*; -word only leaves calls out.'
        )
    return Query(tuple(required), tuple(excluded), tuple(dict.fromkeys(notes)))


def _phrase(text: str) -> tuple[Term, ...]:
    found = tuple(words(text))
    return (Term(found),) if found else ()


def _word(text: str, notes: list[str]) -> tuple[Term, ...]:
    """A word, or a phrase where it falls into several; a number in groups is looked for joined as well."""
    found = tuple(words(text))
    if not found:
        return ()
    prefix = text.rstrip(".,;:!?").endswith("*")
    if prefix and len(found[-1]) < MIN_PREFIX and found[-1].isascii():
        notes.append(f"A prefix needs at least {MIN_PREFIX} letters: {found[-1]}* was searched as the word itself.")
        prefix = False
    joined = tuple(Term((number,)) for number in numbers(text) if (number,) != found)
    inflected = len(found) == 1 and not prefix and found[0].isalpha()
    return (Term(found, prefix, inflected), *joined)
