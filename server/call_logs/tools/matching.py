"""Which turns of a call say what a query asks for, and where in a turn: told from the words themselves, for what is shown.

What a call is found by is the index's; here only the quotes of found calls are chosen and cut.
"""

from collections.abc import Iterator, Sequence

from call_logs.model import Turn
from call_logs.store.forms import LANGUAGES, languages, may_vary, stem
from call_logs.store.query import Query
from call_logs.store.words import tokens


class Matching:
    """A query, against the words of one call."""

    def __init__(self, query: Query, turns: Sequence[Turn]) -> None:
        """`turns` tell the languages in which forms of words are looked for."""
        said = {token for turn in turns for token in tokens(turn.text)}
        self._languages = languages(said) or LANGUAGES
        self._terms = query.terms
        self._stems = {
            (language, stem(language, term.tokens[0])): term.part
            for term in query.terms
            if term.inflected and may_vary(term.tokens[0])
            for language in self._languages
        }

    def parts(self, said: Sequence[str]) -> set[int]:
        """The parts of the query (alternatives are one part) that stand in these tokens."""
        text = f" {' '.join(said)} "
        found = {term.part for term in self._terms if f" {' '.join(term.tokens)}{'' if term.prefix else ' '}" in text}
        return found | set(self._forms(said))

    def begins(self, word: str) -> bool:
        """Whether one of the query's terms may begin with this word of a turn."""
        said = tokens(word)
        firsts = tuple({term.tokens[0] for term in self._terms})
        return any(token.startswith(firsts) for token in said) or next(self._forms(said), None) is not None

    def places(self, words: Sequence[str]) -> set[int]:
        """Which of these words, by their place, are what the query asks for: what a reader's eye should find."""
        said = [(token, place) for place, word in enumerate(words) for token in tokens(word)]
        found = {place for token, place in said if next(self._forms([token]), None) is not None}
        for term in self._terms:
            *firsts, last = term.tokens
            for start in range(len(said) - len(firsts)):
                stretch = said[start : start + len(term.tokens)]
                *begin, (end, _) = stretch
                ends = end.startswith(last) if term.prefix else end == last
                if ends and [token for token, _ in begin] == firsts:
                    found |= {place for _, place in stretch}
        return found

    def turns(self, turns: Sequence[Turn], most: int) -> list[Turn]:
        """Those of the turns that say most of the query, at most so many, in their order."""
        told = [(len(self.parts(tokens(turn.text))), turn) for turn in turns]
        best = sorted((entry for entry in told if entry[0]), key=lambda entry: (-entry[0], entry[1].n))[:most]
        return sorted((turn for _, turn in best), key=lambda turn: turn.n)

    def _forms(self, said: Sequence[str]) -> Iterator[int]:
        for token in said:
            if may_vary(token):
                for language in self._languages:
                    part = self._stems.get((language, stem(language, token)))
                    if part is not None:
                        yield part
