"""Cleaning, masking and fencing of what strangers said; it does not know who said it, nor where it is kept.

Three steps, in this order: `clean` makes text harmless to encode and leaves nothing in it that a reader cannot see;
`mask` takes out payment cards before anything is stored; `fence` marks quotes in an answer.
"""

import base64
import binascii
import re
import secrets
import unicodedata
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from enum import StrEnum
from itertools import accumulate
from math import isfinite
from typing import Any, NamedTuple, cast

# --- cleaning --------------------------------------------------------------------------------------------------------

_DEEPEST = 200
_LARGEST = 2**63 - 1
_SMALLEST = -(2**63)

_ASCII_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")
_SURROGATES = re.compile("[\ud800-\udfff]")
_LINE_BREAKS = re.compile("\r\n?|[\u2028\u2029]")

# Written as code points, because nobody can review a character that has no picture.
_UNSEEN = (
    *((0x00, 0x08), (0x0B, 0x1F), (0x7F, 0x9F)),  # controls but \n and \t
    *((0x00AD, 0x00AD), (0x061C, 0x061C), (0x180E, 0x180E), (0x200B, 0x200F), (0x202A, 0x202E)),  # format, bidi
    *((0x2060, 0x206F), (0xFEFF, 0xFEFF), (0xFFF0, 0xFFFB)),
    *((0x13430, 0x1343F), (0x1BCA0, 0x1BCA3), (0x1D173, 0x1D17A)),
    (0xE0000, 0xE0FFF),  # tags, and variation selectors 17 to 256
    *((0xFE00, 0xFE0F), (0x180B, 0x180F)),  # variation selectors
    *((0x034F, 0x034F), (0x115F, 0x1160), (0x17B4, 0x17B5), (0x2800, 0x2800), (0x3164, 0x3164), (0xFFA0, 0xFFA0)),
    (0xFDD0, 0xFDEF),  # noncharacters
    *((plane << 16 | 0xFFFE, plane << 16 | 0xFFFF) for plane in range(17)),
)
_DROPPED = re.compile("[" + "".join(f"\\U{first:08x}-\\U{last:08x}" for first, last in _UNSEEN) + "]+")


def clean(value: str) -> str:
    r"""The text in NFC, with only what can be seen: no control, format, bidi, filler or noncharacters but \n and \t.

    Every kind of line break becomes \n. Surrogate pairs are joined, lone surrogates become U+FFFD. Cleaning twice
    changes nothing more.
    """
    if value.isascii():
        if not _ASCII_CONTROLS.search(value):
            return value
    elif _SURROGATES.search(value):
        value = value.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return unicodedata.normalize("NFC", _DROPPED.sub("", _LINE_BREAKS.sub("\n", value)))


def clean_tree(value: Any) -> Any:
    """Parsed JSON with every string and key clean; NaN and infinities become None, ints beyond 64 bits text.

    Of keys that are equal once cleaned the last one stays. Raises ValueError when nested deeper than 200.
    """
    return _clean_tree(value, _DEEPEST)


def _clean_tree(value: Any, levels: int) -> Any:
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, float):
        return value if isfinite(value) else None
    if isinstance(value, int):
        return value if _SMALLEST <= value <= _LARGEST else str(value)
    if not isinstance(value, dict | list | tuple):
        return value
    if not levels:
        raise ValueError(f"nested deeper than {_DEEPEST} levels")
    if isinstance(value, dict):
        tree: dict[Any, Any] = {}
        for key, inner in cast("dict[Any, Any]", value).items():
            tree[clean(key) if isinstance(key, str) else key] = _clean_tree(inner, levels - 1)
        return tree
    items: list[Any] = []
    for inner in cast("list[Any] | tuple[Any, ...]", value):
        items.append(_clean_tree(inner, levels - 1))  # noqa: PERF401 - a comprehension is one more frame a level
    return tuple(items) if isinstance(value, tuple) else items


# --- masking ---------------------------------------------------------------------------------------------------------


class Masking(StrEnum):
    """How much of the numbers in spoken text is hidden: payment cards, every run of four or more digits, nothing."""

    CARDS = "cards"
    DIGITS = "digits"
    OFF = "off"


class _Number(NamedTuple):
    """A group of digits as written, or a number as spoken: where it stands and which digits it means."""

    start: int
    end: int
    digits: str
    tens: bool = False  # a spoken "forty", which a following "one" completes
    spoken: bool = False


class _Span(NamedTuple):
    start: int
    end: int
    instead: str


_UNITS = "zero one two three four five six seven eight nine", "cero uno dos tres cuatro cinco seis siete ocho nueve"
_TEENS = (
    "ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen",
    "diez once doce trece catorce quince dieciseis diecisiete dieciocho diecinueve",
)
_TENS = (
    "twenty thirty forty fifty sixty seventy eighty ninety",
    "veinte treinta cuarenta cincuenta sesenta setenta ochenta noventa",
)
_TWENTIES = "veintiuno veintidos veintitres veinticuatro veinticinco veintiseis veintisiete veintiocho veintinueve"

_SPOKEN_TENS = {word: f"{n}0" for words in _TENS for n, word in enumerate(words.split(), 2)}
_SPOKEN = {
    **{word: str(n) for words in _UNITS for n, word in enumerate(words.split())},
    **{word: str(n) for words in _TEENS for n, word in enumerate(words.split(), 10)},
    **{word: str(n) for n, word in enumerate(_TWENTIES.split(), 21)},
    **_SPOKEN_TENS,
    **dict.fromkeys(("oh", "o", "nought", "naught"), "0"),
    **dict.fromkeys(("un", "una"), "1"),
    "hundred": "00",
}
_TIMES = {"double": 2, "doble": 2, "triple": 3, "treble": 3, "quadruple": 4, "cuadruple": 4}
_NUMBER_WORDS = frozenset((*_SPOKEN, *_TIMES))
_FILLER_WORDS = (
    "uh um er erm ah eh hm hmm mm mhm and then so ok okay like right yeah yes dash hyphen space slash dot point comma "
    "y luego entonces este pues si vale guion espacio barra punto coma"
)
_FILLERS = frozenset(_FILLER_WORDS.split())
_MOST_FILLERS = 4
_FEWEST_CARD_DIGITS = 13
_MOST_CARD_DIGITS = 19

_WORD = re.compile(r"[^\W\d_]+")
_DIGIT = re.compile(r"\d")
_TOKEN = re.compile(r"\d+|[^\W\d_]+")
_GAP = re.compile(r"[\s,.;\u2026\u00b7\u2010-\u2015-]{0,8}")
_TENS_GAP = re.compile(r"[\s\u2010-\u2015-]+(?:y\s+)?", re.IGNORECASE)
_GLUE = re.compile(r"[A-Za-z_]")
_ACCENTS = str.maketrans("\u00e1\u00e9\u00ed\u00f3\u00fa\u00fc", "aeiouu")
_MASKED = re.compile(r"\[card ending \d{4}\]")
# What has many digits and is no number that anybody reads out.
_NO_NUMBER = re.compile(
    r"\[card ending \d{4}\]"
    r"|(?<![0-9A-Za-z])[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}(?![0-9A-Za-z])"
    r"|(?<![\d-])(?:19|20)\d\d-[01]\d-[0-3]\d(?!\d)"
)

# Issuers' prefixes and lengths. Visa's 13 digits are gone from wallets; those that begin like an Austrian or German
# phone number are left alone.
_ISSUED = re.compile(
    r"4\d{15}(?:\d{3})?|4(?![39])\d{12}"  # Visa
    r"|5[1-5]\d{14}|2(?:22[1-9]|2[3-9]\d|[3-6]\d\d|7[01]\d|720)\d{12}"  # Mastercard
    r"|3[47]\d{13}"  # American Express
    r"|6(?:011|4[4-9]\d|5\d\d)\d{12,15}|62\d{14,17}"  # Discover, UnionPay
    r"|3(?:0[0-5]\d|095|[689]\d\d)\d{10}|3[689]\d{14,17}|35(?:2[89]|[3-8]\d)\d{12,15}"  # Diners, JCB
    r"|(?:5018|5020|5038|5893|6304|6759|676[1-3])\d{9,15}"  # Maestro
    r"|(?:60|81|82)\d{14}|50[4-9]\d{13}(?:\d{2,3})?|636\d{13}|220[0-4]\d{12,15}|9792\d{12}"  # RuPay, Verve, Elo, Mir, Troy
)
# How cards are printed. Digits grouped like this are a card even with other numbers around them.
_PRINTED = frozenset(
    {(4, 4, 4, 4), (4, 4, 4, 4, 1), (4, 4, 4, 4, 2), (4, 4, 4, 4, 3), (4, 6, 5), (4, 6, 4), (4, 4, 4, 1), (4, 3, 3, 3)}
    | {(8, 8), (6, 13)}
    | {(n,) for n in range(_FEWEST_CARD_DIGITS, _MOST_CARD_DIGITS + 1)}
)
_PHONE_GROUPS = ((3, 3, 4), (1, 3, 3, 4), (3, 7), (10,), (11,))
_NORTH_AMERICAN = re.compile(r"(?:1?[2-9]\d\d[2-9]\d{6}){2,}")
_LONGEST_PHONE = 12
_CARD_TAIL = re.compile(r"(?:0[1-9]|1[0-2])[2-4]\d(?:\d{3,4})?")  # expiry and security code, said right after
_SLACK = 2  # stray digits beside a spoken card: "that one, four one one one …"

_CUE_STEMS = "security", "seguridad", "cvv", "cvc", "cvn", "verif", "expir", "exp", "valid", "good th", "venc", "caduc"
_CODE_CUE = re.compile(
    r"(?<!\[)\b(?:security (?:code|number)|cvv2?|cvc2?|cvn|card verification (?:code|number|value)|c\.v\.[vc]\.?"
    r"|(?:c[o\u00f3]digo|clave|n[u\u00fa]mero) de (?:seguridad|verificaci[o\u00f3]n))(?!\w)",
    re.IGNORECASE,
)
_EXPIRY_CUE = re.compile(
    r"(?<!\[)\b(?:expires|expiry|expiring|expiration|expira|expiraci[o\u00f3]n|exp|valid (?:thru|through|until)"
    r"|good (?:thru|through)|vence|vencimiento|caduca|caducidad)\b",
    re.IGNORECASE,
)
_EXPIRY_WRITTEN = re.compile(
    r"(?<![\d/.-])(?:(?:0?[1-9]|1[0-2])(?:\s?[/.-]\s?|\s)(?:20)?[2-4]\d|(?:0[1-9]|1[0-2])[2-4]\d)(?![\d:]|[/.-]\d)"
)
_EXPIRY_DIGITS = re.compile(r"(?:0?[1-9]|1[0-2])(?:20)?[2-4]\d")
_EXPIRY_NAMED = re.compile(
    r"\b(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec|ene|abr|ago|dic)[a-z]*\.?,?\s+(?:(?:of|de|del)\s+)?"
    r"(?:(?:20)?[2-4]\d(?!\d)|twenty\W+(?:twenty|thirty|forty)(?:\W+(?:one|two|three|four|five|six|seven|eight|nine)\b)?)",
    re.IGNORECASE,
)
_CARD_TALK = re.compile(
    r"\b(?:card|cards|tarjeta|visa|master ?card|amex|american express|cvv|cvc|credit|debit|cr[e\u00e9]dito)\b",
    re.IGNORECASE,
)
_HIDDEN_CODE = "[security code]"
_HIDDEN_EXPIRY = "[expiry]"
_HIDDEN_DIGITS = "[digits]"
_PASSES = 3
_CODE_REACH = 32
_EXPIRY_REACH = 24
_LONGEST_EXPIRY = 32
_CODE_SIZES = (3, 4)
_MOST_EXPIRY_DIGITS = 6
_WRITTEN_DIGITS = re.compile(r"[+(]{0,2}\d(?:[\s.,:/()\u2010-\u2015-]{0,2}\d){3,}")
_FEWEST_HIDDEN_DIGITS = 4


def mask(text: str, masking: Masking) -> str:
    """The text without payment card numbers (only the last four digits stay), security codes and expiry dates.

    Written digits count, and numbers spoken in English or Spanish. A card has a known issuer's prefix and length and
    passes Luhn; phone numbers, order numbers, times and UUIDs stay. `Masking.DIGITS` also hides every run of four or
    more digits. Expects clean text; masking twice changes nothing more.
    """
    if masking is Masking.OFF:
        return text
    text = _without_cards(text)
    if masking is Masking.CARDS:
        return text
    parts: list[str] = []
    end = 0
    for kept in _MASKED.finditer(text):
        parts += (_without_digits(text[end : kept.start()]), kept.group())
        end = kept.end()
    return "".join((*parts, _without_digits(text[end:])))


def _without_cards(text: str) -> str:
    # What was masked may have stood between a cue and its number: "expires, CVV 123, 12/27".
    for _ in range(_PASSES):
        masked = _cards_masked(text)
        if masked == text:
            break
        text = masked
    return text


def _cards_masked(text: str) -> str:
    lowered = text.lower()
    if _may_mean(text, lowered, _FEWEST_CARD_DIGITS):
        text = _replaced(text, [span for run in _runs_of_speech(text) for span in _cards(run)])
    if any(stem in lowered for stem in _CUE_STEMS) and _may_mean(text, lowered, _CODE_SIZES[0]):
        text = _replaced(text, _expiries(text, _runs_of_speech(text)))
        text = _replaced(text, _security_codes(text, _runs_of_speech(text)))
    return text


def _runs_of_speech(text: str) -> list[list[_Number]]:
    return list(_runs(_NO_NUMBER.sub(lambda found: "\0" * len(found.group()), text)))


def _without_digits(text: str) -> str:
    text = _WRITTEN_DIGITS.sub(_HIDDEN_DIGITS, text)
    if not _may_mean(text, text.lower(), _FEWEST_HIDDEN_DIGITS):
        return text
    long_runs = (run for run in _runs(text) if len(_digits(run)) >= _FEWEST_HIDDEN_DIGITS)
    return _replaced(text, [_Span(run[0].start, run[-1].end, _HIDDEN_DIGITS) for run in long_runs])


def _may_mean(text: str, lowered: str, digits: int) -> bool:
    """Whether the text could hold that many digits at all; a spoken word is at most two, "double eleven" four."""
    written = len(_DIGIT.findall(text))
    if written >= digits:
        return True
    words = _WORD.findall(lowered.translate(_ACCENTS) if not lowered.isascii() else lowered)
    return written + 2 * sum(map(_NUMBER_WORDS.__contains__, words)) >= digits


def _replaced(text: str, spans: list[_Span]) -> str:
    parts: list[str] = []
    end = 0
    for span in sorted(spans):
        if span.start >= end:
            parts += (text[end : span.start], span.instead)
            end = span.end
    return "".join((*parts, text[end:]))


def _runs(text: str) -> Iterator[list[_Number]]:
    """Numbers that follow each other with nothing but separators and filler words between them."""
    run: list[_Number] = []
    end = fillers = 0
    times: tuple[int, int] | None = None  # where "double" stands, and what it means
    for token in _TOKEN.finditer(text):
        said = token.group().lower().translate(_ACCENTS)
        joined = _GAP.fullmatch(text, end, token.start()) is not None
        number = _number(text, token, said)
        if run and (not joined or (number is None and said not in _FILLERS and said not in _TIMES)):
            yield run
            run = []
        if not joined:
            times = None
        end = token.end()
        if number is not None:
            if times and len(number.digits) == 1:
                number = number._replace(start=times[0], digits=number.digits * times[1])
            _append(run, number, text)
            fillers, times = 0, None
            continue
        times = (token.start(), _TIMES[said]) if said in _TIMES else None
        fillers += 1
        if run and fillers > _MOST_FILLERS:
            yield run
            run = []
    if run:
        yield run


def _number(text: str, token: re.Match[str], said: str) -> _Number | None:
    start, end = token.span()
    if said in _SPOKEN:
        return _Number(start, end, _SPOKEN[said], tens=said in _SPOKEN_TENS, spoken=True)
    if not said.isdecimal():
        return None
    before, after = text[start - 1 : start], text[end : end + 1]
    if before == "+" or _GLUE.match(before) or _GLUE.match(after):  # a phone number; part of an id
        return None
    return _Number(start, end, "".join(str(int(digit)) for digit in said))


def _append(run: list[_Number], number: _Number, text: str) -> None:
    last = run[-1] if run else None
    if (
        last is not None
        and last.tens
        and number.spoken
        and len(number.digits) == 1
        and number.digits != "0"
        and _TENS_GAP.fullmatch(text, last.end, number.start)
    ):
        run[-1] = last._replace(end=number.end, digits=last.digits[:-1] + number.digits, tens=False)
    else:
        run.append(number)


def _digits(run: list[_Number]) -> str:
    return "".join(number.digits for number in run)


def _cards(run: list[_Number]) -> Iterator[_Span]:
    digits = _digits(run)
    if len(digits) < _FEWEST_CARD_DIGITS:
        return
    groups = tuple(len(number.digits) for number in run)
    if _is_card(digits) and (len(digits) > _FEWEST_CARD_DIGITS or groups in _PRINTED or set(groups) == {1}):
        yield _card_span(run)
        return
    before = list(accumulate(groups, initial=0))  # how many digits stand before each number
    phones = _like_phones(digits, groups)
    begin = done = 0
    while begin < len(run):
        end = begin
        for last in range(begin + 1, bisect_right(before, before[begin] + _MOST_CARD_DIGITS)):
            card, rest = digits[before[begin] : before[last]], digits[before[last] :]
            if len(card) < _FEWEST_CARD_DIGITS or not _is_card(card):
                continue
            beside = min(before[begin] - before[done], len(rest)) <= _SLACK and len(card) > _FEWEST_CARD_DIGITS
            if groups[begin:last] in _PRINTED or (beside and (not phones or _CARD_TAIL.fullmatch(rest))):
                end = last
        if end > begin:
            yield _card_span(run[begin:end])
            done = end
        begin = max(begin + 1, end)


def _like_phones(digits: str, groups: tuple[int, ...]) -> bool:
    if any(groups[: len(phone)] == phone for phone in _PHONE_GROUPS) or _NORTH_AMERICAN.fullmatch(digits):
        return True
    half = len(digits) // 2
    return half <= _LONGEST_PHONE and digits[:half] == digits[half:]  # a phone number, said again


def _card_span(card: list[_Number]) -> _Span:
    return _Span(card[0].start, card[-1].end, f"[card ending {_digits(card)[-4:]}]")


def _is_card(digits: str) -> bool:
    if not _ISSUED.fullmatch(digits):
        return False
    odd = sum(map(int, digits[-1::-2]))
    even = sum(sum(divmod(2 * int(digit), 10)) for digit in digits[-2::-2])
    return (odd + even) % 10 == 0


def _near(runs: list[list[_Number]], start: int, end: int) -> list[list[_Number]]:
    first = bisect_left(runs, start, key=_start)
    return runs[first : bisect_left(runs, end, lo=first, key=_start)]


def _reach(text: str, cue: re.Match[str], reach: int, instead: str) -> int:
    """How far to look for what the cue announces: nowhere when it was masked before."""
    end = cue.end() + reach
    masked = any(text.find(sign, cue.end(), end + len(sign)) >= 0 for sign in (instead, _HIDDEN_DIGITS))
    return cue.end() if masked else end


def _start(run: list[_Number]) -> int:
    return run[0].start


def _security_codes(text: str, runs: list[list[_Number]]) -> list[_Span]:
    spans: list[_Span] = []
    for cue in _CODE_CUE.finditer(text):
        near = _near(runs, cue.end(), _reach(text, cue, _CODE_REACH, _HIDDEN_CODE))
        code = next((code for code in map(_code, near) if code), None)
        if code is not None:
            spans.append(_Span(code[0].start, code[-1].end, _HIDDEN_CODE))
    return spans


def _code(run: list[_Number]) -> list[_Number]:
    """The numbers at the start of the run that are a security code; none when it begins with something longer."""
    shortest, longest = _CODE_SIZES
    for count in range(1, len(run) + 1):
        length = len(_digits(run[:count]))
        if length > longest:
            break
        if length >= shortest:
            more = length < longest and count < len(run) and len(run[count].digits) == 1
            return run[: count + 1] if more else run[:count]
    return []


def _expiries(text: str, runs: list[list[_Number]]) -> list[_Span]:
    spans: list[_Span] = []
    # "The lease expires in March 2027" stays, unless cards are spoken of.
    carded = _CARD_TALK.search(text) is not None
    for cue in _EXPIRY_CUE.finditer(text):
        end = _reach(text, cue, _EXPIRY_REACH, _HIDDEN_EXPIRY)
        first = _DIGIT.search(text, cue.end(), end)
        found = _EXPIRY_WRITTEN.match(text, first.start()) if first else None
        if found is None and carded and end > cue.end():
            found = _EXPIRY_NAMED.search(text, cue.end(), end + _LONGEST_EXPIRY)
        if found is not None:
            spans.append(_Span(*found.span(), _HIDDEN_EXPIRY))
            continue
        near = _near(runs, cue.end(), end)
        count = _expiry_length(near[0]) if near else 0
        if count:
            spans.append(_Span(near[0][0].start, near[0][count - 1].end, _HIDDEN_EXPIRY))
    return spans


def _expiry_length(run: list[_Number]) -> int:
    """How many numbers at the start of a run with spoken ones are a month and a year; 0 for none."""
    if not any(number.spoken for number in run):
        return 0
    fits = (n for n in range(min(len(run), _MOST_EXPIRY_DIGITS), 1, -1) if _EXPIRY_DIGITS.fullmatch(_digits(run[:n])))
    return next(fits, 0)


# --- shortening, and what must not be shown ---------------------------------------------------------------------------


def short(text: str, limit: int) -> str:
    """The text on one line of at most `limit` characters, ending in "…" where it was cut.

    It is cut between words, unless that would give away more than half of the room.
    """
    line = " ".join(text.split())
    if len(line) <= limit:
        return line
    if limit < 1:
        return ""
    head = line[:limit]
    space = head.rfind(" ")
    return (head[:space] if space >= limit // 2 and space > 0 else head[:-1]).rstrip() + "\u2026"


_URL = re.compile(r"(https?:[/\\]{2})([^\s\"<>]*)", re.IGNORECASE)
_URL_TAIL = re.compile(r"[?#].*", re.DOTALL)
_URL_USER = re.compile(r"^[^/\\]*@")


def without_url_secrets(text: str) -> str:
    """The text with every http(s) URL cut down to scheme, host and path: no user, password, query or fragment."""
    if "://" not in text and ":\\" not in text:
        return text
    return _URL.sub(lambda found: found[1] + _URL_USER.sub("", _URL_TAIL.sub("", found[2])), text)


_SECRET = re.compile(
    r"-----BEGIN [A-Z ]*PRIVATE KEY"
    r"|\beyJ[\w-]{5,}\.[\w-]{5,}"  # JWT
    r"|\b(?:AKIA|ASIA)[0-9A-Z]{12,}"
    r"|\b[srpw]k_(?:live|test)_\w+|\bwhsec_\w+|\bsk-[\w-]{16,}"
    r"|\bpit-[0-9A-Fa-f]{8}-[0-9A-Fa-f-]{20,}"  # HighLevel
    r"|\bPT[0-9a-f]{40,}"  # SignalWire
    r"|\bgh[pousr]_\w{16,}|\bgithub_pat_\w+|\bglpat-[\w-]{12,}|\bxox[abeoprs]-[\w-]{8,}|\bAIza[\w-]{30,}|\bya29\.[\w-]{8,}"
    r"|://[^/\s:@]*:[^/\s@]+@"  # a password in a URL
)
_NAMED_SECRET = re.compile(
    r"(?<![A-Za-z])(?:(?:api|access|private|secret|auth|client|subscription)[ _-]?(?:key|secret)|token|secret|password"
    r"|passwd|pwd|passphrase|authorization|(?:x-amz-)?signature|sig|contrase\u00f1a|clave)[\"']?\s*[=:]\s*[\"']?[^\s\"']{4,}"
    r"|(?<![A-Za-z])key[\"']?\s*(?:=\s*[\"']?[^\s\"']{4,}|:\s*[\"']?(?=\S*\d)[^\s\"']{6,})",
    re.IGNORECASE,
)
_BEARER = re.compile(r"\bbearer\s+(?=\S*\d)[\w.~+/=-]{8,}", re.IGNORECASE)
_BASIC = re.compile(r"\bbasic\s+([A-Za-z0-9+/]{6,}={0,2})(?![\w+/=])", re.IGNORECASE)
_NO_SECRET = re.compile(
    r"(?<![0-9A-Za-z])(?:[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}|[0-9a-f]{24})(?![0-9A-Za-z])"
    r"|[\w.+-]+@[\w-]+(?:\.[\w-]+)+"
)
_LONG_TOKEN = re.compile(r"[A-Za-z0-9_+/=-]{24,}")
_LONG_HEX = re.compile(r"(?:[0-9a-f]{32,}|[0-9A-F]{32,})")
_TURN_OF_CLASS = re.compile(r"(?<=[0-9])[A-Za-z]|(?<=[A-Za-z])[0-9]|(?<=[a-z])[A-Z]")


def looks_secret(text: str) -> bool:
    """Whether a credential stands in the text: one of a known form, one that is named, or a long random token.

    Names, addresses, e-mail addresses, phone and order numbers, dates, UUIDs and 24-hex ids are not secrets.
    """
    if _SECRET.search(text) or _NAMED_SECRET.search(text) or _BEARER.search(text):
        return True
    if any(map(_is_user_and_password, _BASIC.findall(text))):
        return True
    return any(map(_looks_random, _LONG_TOKEN.findall(_NO_SECRET.sub(" ", text))))


def _is_user_and_password(encoded: str) -> bool:
    try:
        return b":" in base64.b64decode(encoded + "=" * (-len(encoded) % 4))
    except binascii.Error:
        return False


def _looks_random(token: str) -> bool:
    # In words, even joined ones, letters and digits rarely alternate; in random text they do at every second place.
    turns = len(_TURN_OF_CLASS.findall(token))
    if _DIGIT.search(token) is None:
        return False
    return turns * 5 >= len(token) or (_LONG_HEX.fullmatch(token) is not None and turns > 0)


# --- fencing ---------------------------------------------------------------------------------------------------------

_IMAGE = re.compile(r"!+\[")
_LINK = re.compile(r"\](?=[(:])")
_TAG = re.compile(r"<(?=[A-Za-z/!?])")
_LEFT_RUN = re.compile("[<\uff1c\ufe64\u2039\u226a\u300a\u00ab]{3,}|\u22d8")
_RIGHT_RUN = re.compile("[>\uff1e\ufe65\u203a\u226b\u300b\u00bb]{3,}|\u22d9")


def new_mark() -> str:
    """A mark for the fences of one answer: 16 random hex characters, which nobody on a call can know."""
    return secrets.token_hex(8)


def defang(text: str) -> str:
    """The text with nothing in it that renders, links or looks like a fence.

    Markdown images and links lose what makes them so, HTML tags and runs of three or more angle brackets are broken
    up by spaces. Expects clean text; defanging twice changes nothing more.
    """
    text = _LINK.sub("] ", _IMAGE.sub("[", text))
    text = _LEFT_RUN.sub(lambda run: " ".join("<" * max(3, len(run.group()))), text)
    text = _RIGHT_RUN.sub(lambda run: " ".join(">" * max(3, len(run.group()))), text)
    return _TAG.sub("< ", text)


def fence(body: str, mark: str) -> str:
    """The body, defanged, between two boundary lines that carry the mark; the mark never stands within."""
    while mark and mark in body:
        body = body.replace(mark, "")
    return f"<<<quotes {mark}\n{defang(body)}\n{mark} quotes>>>"
