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
    "[\u0300-\u036f\u0483-\u0487\u0591-\u05bd\u05bf\u05c1\u05c2\u064b-\u0652\u0670\u1ab0-\u1aff\u1dc0-\u1dff]+"
)
_APOSTROPHE = re.compile("(?<=\\w)['\u2019\u02bc\u2018\u00b4`\uff07](?=\\w)")
_BY_CHARACTER = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005-\u3007\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff66-\uff9f\U00020000-\U0003ffff"
_SIGNS = "\u0900-\u0963\u0966-\u0dff\u0f18-\u0fff\u06d6-\u06ed"
_TOKEN = re.compile(f"[{_BY_CHARACTER}]|(?:[^\\W_{_BY_CHARACTER}]|[{_SIGNS}])+")
_NUMBER = re.compile(r"\+?\d[\d().\- ]{5,22}\d")
_NUMBER_DIGITS = range(7, 16)


def fold(text: str) -> str:
    """The text as it is compared: without case, diacritics, width and apostrophes within words."""
    if text.isascii():
        return _APOSTROPHE.sub("", text.lower())
    folded = unicodedata.normalize("NFKD", text.casefold())
    folded = unicodedata.normalize("NFC", _MARKS_FOLDED.sub("", folded))
    return _APOSTROPHE.sub("", folded)


def words(text: str) -> list[str]:
    """The words of a text, in order."""
    return _TOKEN.findall(fold(text))


def numbers(text: str) -> list[str]:
    """Numbers of 7 to 15 digits written or spoken in groups ("555-010-4477"), each joined to one word."""
    joined = (re.sub(r"\D", "", group) for group in _NUMBER.findall(text))
    return [digits for digits in joined if len(digits) in _NUMBER_DIGITS]


def tokens(text: str) -> list[str]:
    """What a turn is indexed by: its words in order and, behind them, its grouped numbers as one word each."""
    found = words(text)
    return found + [number for number in numbers(text) if number not in found]
