"""Masking of payment cards and codes that callers read aloud, before anything is stored or indexed.

Apart from `text`, because its patterns take a while to compile and only sync needs them.
"""

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from itertools import accumulate
from typing import NamedTuple

from call_logs.text import Masking


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


def masked(text: str, masking: Masking) -> str:
    """See `text.mask`; `masking` is not off."""
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
