"""Words of the index: one tokeniser for every store, for what was said and for what is asked.

It folds case and diacritics of alphabetic scripts, joins apostrophes (don't = dont), keeps Indic vowel signs inside
their words, and gives Chinese, Japanese, Thai, Lao, Khmer and Burmese one word a character, so that a phrase of
characters is a substring. Tokens hold letters, digits and marks only, so they cannot be read as query syntax.
"""

import re
import unicodedata
from collections.abc import Sequence

from call_logs.store.spoken import joined, may_join

TOKENISER_VERSION = 2
"""Stored beside the index; a store whose number differs rebuilds its index."""

TURN = "¶"
"""The token between turns; a phrase never crosses it."""

_MARKS_FOLDED = re.compile(
    "[\u0300-\u036f\u0483-\u0487\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7\u0610-\u061a\u064b-\u065f\u0670"
    "\u07eb-\u07f3\u08ca-\u08e1\u08e3-\u08ff\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20f0\ufe20-\ufe2f\U0001e944-\U0001e94a]+"
)
_APOSTROPHE = re.compile("(?<=\\w)['\u2019\u02bc\u2018\u00b4`\uff07]+(?=\\w)")
_ONE_APOSTROPHE = re.compile("'(?<=[0-9a-z_]')(?=[0-9a-z_])")  # the same in plain ASCII, and soon found
_BY_CHARACTER = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005-\u3007\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff66-\uff9f\U00020000-\U0003ffff"
_SIGNS = "\u0900-\u0963\u0966-\u0dff\u0f18-\u0fff\u06d6-\u06ed"
_SYMBOLS = (  # punctuation and symbols within those two
    "\u06dd\u06de\u06e9\u0970\u09f2\u09f3\u09fa\u09fb\u09fd\u0a76\u0af0\u0af1\u0b70\u0bf3-\u0bfa\u0c77\u0c7f\u0c84\u0d4f"
    "\u0d79\u0df4\u0e3f\u0e4f\u0e5a\u0e5b\u0f1a-\u0f1f\u0f34\u0f36\u0f38\u0f3a-\u0f3d\u0f85\u0fbe-\u0fc5\u0fc7-\u0fda"
    "\u104a-\u104f\u109e\u109f\u17d4-\u17d6\u17d8-\u17db\u309b\u309c\u30a0\u30fb"
)
_TOKEN = re.compile(f"(?![{_SYMBOLS}])[{_BY_CHARACTER}]|(?:[^\\W_{_BY_CHARACTER}]|(?![{_SYMBOLS}])[{_SIGNS}])+")
_OTHER_DIGIT = re.compile(r"(?![0-9])\d")
_SPACED = {code: " " for code in range(128) if not chr(code).isalnum()}
_SPACED_TEXTS = {code: " " for code in _SPACED if code}


def fold(text: str) -> str:
    """The text as it is compared: without case, diacritics, width, apostrophes within words, and other scripts' digits."""
    if text.isascii():
        text = text.lower()
        if "`" in text or "''" in text:
            return _APOSTROPHE.sub("", text)
        return _ONE_APOSTROPHE.sub("", text) if "'" in text else text
    # Apostrophes go first (NFKD makes a space of the acute accent) and case folds last (it makes capitals of symbols).
    text = _APOSTROPHE.sub("", unicodedata.normalize("NFC", text))
    folded = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", text).casefold())
    folded = _APOSTROPHE.sub("", unicodedata.normalize("NFC", _MARKS_FOLDED.sub("", folded)))
    return _OTHER_DIGIT.sub(lambda digit: str(unicodedata.decimal(digit.group())), folded)


def words(text: str) -> list[str]:
    """The words of a text, in order."""
    return _words(fold(text))


def _words(folded: str) -> list[str]:
    # The same words, four times as fast: most of what is said is plain ASCII.
    return folded.translate(_SPACED).split() if folded.isascii() else _TOKEN.findall(folded)


def tokens(text: str) -> list[str]:
    """What a turn is indexed by: its words in order and, behind them, what `spoken` joins of them."""
    folded = fold(text)
    found = _words(folded)
    return found + joined(folded, found)


def tokens_of(texts: Sequence[str]) -> list[list[str]]:
    """The `tokens` of each text. Those in plain ASCII are folded and parted all at once: half the time."""
    plain = [text if text.isascii() and "\0" not in text else "" for text in texts]
    whole = fold("\0".join(plain))
    folded = whole.split("\0")
    found = [words.split() for words in whole.translate(_SPACED_TEXTS).split("\0")]
    for n in may_join(whole, found):
        found[n] += joined(folded[n], found[n])
    return [words if one or not text else tokens(text) for text, one, words in zip(texts, plain, found, strict=False)]
