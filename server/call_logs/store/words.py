"""Words of the index: one tokeniser for every store, for what was said and for what is asked.

It folds case and diacritics of alphabetic scripts, joins apostrophes (don't = dont), keeps Indic vowel signs inside
their words, and gives Chinese, Japanese, Thai, Lao, Khmer and Burmese one word a character, so that a phrase of
characters is a substring. Tokens hold letters, digits and marks only, so they cannot be read as query syntax.
"""

import re
import unicodedata

TOKENISER_VERSION = 1
"""Stored beside the index; a store whose number differs rebuilds its index."""

TURN = "¶"
"""The token between turns; a phrase never crosses it."""

_MARKS_FOLDED = re.compile(
    "[\u0300-\u036f\u0483-\u0487\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7\u0610-\u061a\u064b-\u065f\u0670"
    "\u07eb-\u07f3\u08ca-\u08e1\u08e3-\u08ff\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20f0\ufe20-\ufe2f\U0001e944-\U0001e94a]+"
)
_APOSTROPHE = re.compile("(?<=\\w)['\u2019\u02bc\u2018\u00b4`\uff07]+(?=\\w)")
_BY_CHARACTER = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005-\u3007\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff66-\uff9f\U00020000-\U0003ffff"
_SIGNS = "\u0900-\u0963\u0966-\u0dff\u0f18-\u0fff\u06d6-\u06ed"
_SYMBOLS = (  # punctuation and symbols within those two
    "\u06dd\u06de\u06e9\u0970\u09f2\u09f3\u09fa\u09fb\u09fd\u0a76\u0af0\u0af1\u0b70\u0bf3-\u0bfa\u0c77\u0c7f\u0c84\u0d4f"
    "\u0d79\u0df4\u0e3f\u0e4f\u0e5a\u0e5b\u0f1a-\u0f1f\u0f34\u0f36\u0f38\u0f3a-\u0f3d\u0f85\u0fbe-\u0fc5\u0fc7-\u0fda"
    "\u104a-\u104f\u109e\u109f\u17d4-\u17d6\u17d8-\u17db\u309b\u309c\u30a0\u30fb"
)
_TOKEN = re.compile(f"(?![{_SYMBOLS}])[{_BY_CHARACTER}]|(?:[^\\W_{_BY_CHARACTER}]|(?![{_SYMBOLS}])[{_SIGNS}])+")
_NUMBER = re.compile(r"\+?\d[\d().\- ]{5,60}\d")
_NUMBER_DIGITS = range(7, 16)


def fold(text: str) -> str:
    """The text as it is compared: without case, diacritics, width and apostrophes within words."""
    if text.isascii():
        return _APOSTROPHE.sub("", text.lower())
    # Apostrophes go first (NFKD makes a space of the acute accent) and case folds last (it makes capitals of symbols).
    text = _APOSTROPHE.sub("", unicodedata.normalize("NFC", text))
    folded = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", text).casefold())
    return _APOSTROPHE.sub("", unicodedata.normalize("NFC", _MARKS_FOLDED.sub("", folded)))


def words(text: str) -> list[str]:
    """The words of a text, in order."""
    return _TOKEN.findall(fold(text))


def numbers(text: str) -> list[str]:
    """Numbers of 7 to 15 digits written or spoken in groups ("555-010-4477"), each joined to one word.

    Where several stand in a row, each part between spaces counts as well.
    """
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text)
    parts = (part for group in _NUMBER.findall(text) for part in (group, *group.split()))
    joined = (re.sub(r"\D", "", part) for part in parts)
    return list(dict.fromkeys(digits for digits in joined if len(digits) in _NUMBER_DIGITS))


def tokens(text: str) -> list[str]:
    """What a turn is indexed by: its words in order and, behind them, its grouped numbers as one word each."""
    found = words(text)
    return found + [number for number in numbers(text) if number not in found]
