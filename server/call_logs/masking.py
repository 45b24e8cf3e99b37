"""Masking of payment cards and codes that callers read aloud, before anything is stored or indexed.

A number is masked in one text (`masked`) and over a conversation (`masked_turns`), where it is said in pieces with the
other side's "mm-hm" between them, read back, or is the answer to a question for it. Apart from `text`, because its
patterns take a while to compile and only sync needs them.
"""

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import NamedTuple

from call_logs.numerals import DIGITS, ROUND
from call_logs.text import Masking


class _Number(NamedTuple):
    """A group of digits as written, or a number as spoken: where it stands and which digits it means."""

    start: int
    end: int
    digits: str
    tens: bool = False  # a spoken "forty", which a following "one" completes
    spoken: bool = False
    apart: bool = False  # more than a space or a dash stands before it


class _Span(NamedTuple):
    start: int
    end: int
    instead: str
    digits: str = ""


class Said(NamedTuple):
    """A turn, as far as masking cares: who spoke, when (seconds from the start of the call), and what."""

    speaker: str
    offset_seconds: float | None
    text: str


class _Piece(NamedTuple):
    """Numbers in a turn that may go on in the speaker's next one."""

    turn: int
    run: list[_Number]

    @property
    def digits(self) -> str:
        return _digits(self.run)


_SPOKEN = {
    **DIGITS,
    **dict.fromkeys(("o", "nought", "naught"), "0"),
    **dict.fromkeys(("un", "una"), "1"),
}
_TIMES = {"double": 2, "doble": 2, "triple": 3, "treble": 3, "quadruple": 4, "cuadruple": 4}
# How many digits a word adds at most: "double" repeats the one that follows.
_MEANT = {word: len(digits) for word, digits in _SPOKEN.items()} | {word: times - 1 for word, times in _TIMES.items()}
_MEANING = frozenset(_MEANT)
_OFTEN_SAID = frozenset(("one", "uno", "un", "una", "o", "oh"))
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
_NEAR_GAP = re.compile(r"[\s\u2010-\u2015-]{0,3}")
_GLUE = re.compile(r"[A-Za-z_]")
_PARTED = {code: " " for code in range(128) if not chr(code).isalpha()}
_PARTED_TEXTS = {code: " " for code in _PARTED if code}
_FIGURES_OF_TEXTS = {code: None for code in range(1, 128) if not chr(code).isdecimal()}
_PLAIN = dict(zip("\u00e1\u00e9\u00ed\u00f3\u00fa\u00fc", "aeiouu", strict=True))
_ACCENTS = str.maketrans(_PLAIN)
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
# Expiry, and behind it security code and postcode: what is said right after a card.
_CARD_TAIL = re.compile(r"(?:0[1-9]|1[0-2])(?:20)?[2-4]\d(?:\d{3,4}(?:\d{5})?)?|[1-9][2-4]\d")
_SLACK = 2
_STRAYS = re.compile("[01]{1,2}")  # words that mean a digit elsewhere: "that one, four one one one …", "oh, four …"
_PHONE = re.compile(r"1?(?!37)[2-9]\d\d[2-9]\d{6}|0\d{9,10}")  # no area code begins with 37, American Express does

_MOST_TURNS_BETWEEN = 6
_MOST_SECONDS_BETWEEN = 30.0
_MOST_WORDS_BETWEEN = 6  # at the end of the one turn, and as many at the start of the other
_NO_PIECE = re.compile(
    r"\(\d{3}\)[\s.-]{0,2}\d{3}[\s.-]\d{4}(?!\d)"
    r"|\b(?:(?:next|last|other|final) (?:two|three|four|five|six|eight)"
    r"|(?:dos|tres|cuatro|cinco|seis|ocho) (?:siguientes|[u\u00fa]ltimos)"
    r"|(?:siguientes|[u\u00fa]ltimos) (?:dos|tres|cuatro|cinco|seis|ocho))\b",
    re.IGNORECASE,
)
_FEWEST_ECHOED = 4
_ANSWER_TURNS = 4
_POSTCODE = 5
_ANSWER_REACH = 64
_CARD_TALK_TURNS = 16
_MONEY = re.compile(r"[$\u20ac\u00a3]\s?$")
_UNIT = re.compile(
    r"\s?(?:%|[ap]\.?m\b|dollars?|d[o\u00f3]lares|euros?|bucks|cents?|percent|minutes?|hours?|days?|o'clock|street|avenue)",
    re.IGNORECASE,
)

# What the cues below cannot be without, in lower case, and talk of cards neither: a quick look that spares most turns the
# closer one.
_CODE_STEMS = ("securit", "segurid", "cv", "c.v", "verif", "digit", "back", "front", "revers", "dorso", "atr", "detr")
_EXPIRY_STEMS = ("exp", "valid", "good th", "venc", "caduc")
_CUE_STEMS = _CODE_STEMS + _EXPIRY_STEMS
_TALK_STEMS = ("card", "tarjeta", "visa", "amex", "american", "cv", "credit", "debit", "cr\u00e9dito")
_CODE_CUE = re.compile(
    r"(?<!\[)\b(?:security (?:code|number)|cvv2?|cvc2?|cvn|card verification (?:code|number|value)|c\.v\.[vc]\.?"
    r"|(?:three|four|[34])[ -]digits? (?:code|number|(?:that (?:is|are) )?(?:on|at) the (?:back|front|reverse))"
    r"|(?:tres|cuatro|[34]) (?:d[i\u00ed]gitos|n[u\u00fa]meros) (?:que est[a\u00e1]n )?(?:del? |por |en |al )?"
    r"(?:la parte de )?(?:el )?(?:atr[a\u00e1]s|detr[a\u00e1]s|reverso|dorso)"
    r"|(?:c[o\u00f3]digo|clave|n[u\u00fa]mero) de (?:seguridad|verificaci[o\u00f3]n)"
    # These are asked for of much else, and count where cards are spoken of.
    r"|(?P<weak>(?:code|digits|numbers?) (?:that (?:is|are) )?(?:on|at) the (?:back|front|reverse)"
    r"|(?:c[o\u00f3]digo|d[i\u00ed]gitos|n[u\u00fa]meros?) (?:que est[a\u00e1]n? )?(?:del? |por |en |al )?(?:la parte de )?"
    r"(?:el )?(?:atr[a\u00e1]s|detr[a\u00e1]s|reverso|dorso)))(?!\w)",
    re.IGNORECASE,
)
_EXPIRY_CUE = re.compile(
    r"(?<!\[)\b(?:expires?|expired|expiry|expiring|expiration|expira|expiraci[o\u00f3]n|exp|valid (?:thru|through|until)"
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
_HIDDEN_PIECE = "[card]"
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
    text = _without_cards(text, [])
    return text if masking is Masking.CARDS else _without_long_numbers(text)


def masked_turns(said: Sequence[Said], masking: Masking) -> list[str]:
    """The turns' texts as `masked` gives them, and without cards and codes that one turn does not show.

    A card in pieces: of one speaker, whose turns are at most 6 turns and 30 s apart; its first piece becomes the mask,
    the others "[card]", as does what is read back of it. A security code or expiry date: what is answered within the
    next turns to a turn that asked for it. All other words stay as they are. `masking` is not off.
    """
    texts = [one.text for one in said]
    lowered = "\0".join(texts).lower()
    cued = any(stem in lowered for stem in _CUE_STEMS)
    fewest = _FEWEST_HIDDEN_DIGITS if masking is Masking.DIGITS else _FEWEST_CARD_DIGITS
    figures, words = _counted(texts, lowered)
    if not _is_much(sum(figures), [word for meaning in words for word in meaning], _CODE_SIZES[0] if cued else fewest):
        return texts
    numbers = [written + _meant(meaning) for written, meaning in zip(figures, words, strict=True)]
    hidden: list[tuple[int, str]] = []
    for n, text in enumerate(texts):
        if numbers[n] >= _CODE_SIZES[0]:
            found: list[str] = []
            texts[n] = _without_cards(text, found)
            hidden += ((n, digits) for digits in found)
    if sum(numbers) >= _FEWEST_CARD_DIGITS:
        hidden += _pieced_together(said, texts, numbers)
    if cued:
        hidden += _without_answers(said, texts, numbers)
    for n, digits in hidden:
        _without_echoes(texts, numbers, n, digits)
    return texts if masking is Masking.CARDS else [_without_long_numbers(text) for text in texts]


def _without_long_numbers(text: str) -> str:
    parts: list[str] = []
    end = 0
    for kept in _MASKED.finditer(text):
        parts += (_without_digits(text[end : kept.start()]), kept.group())
        end = kept.end()
    return "".join((*parts, _without_digits(text[end:])))


def _without_cards(text: str, found: list[str]) -> str:
    """The text without cards, codes and dates; the digits of cards and codes are added to those found."""
    # What was masked may have stood between a cue and its number: "expires, CVV 123, 12/27".
    for _ in range(_PASSES):
        masked = _cards_masked(text, found)
        if masked == text:
            break
        text = masked
    return text


def _cards_masked(text: str, found: list[str]) -> str:
    lowered = text.lower()
    if _may_mean(text, lowered, _FEWEST_CARD_DIGITS):
        spans = [span for run in _runs_of_speech(text) for span in _cards(run)]
        found += (span.digits for span in spans)
        text = _replaced(text, spans)
    if any(stem in lowered for stem in _CUE_STEMS) and _may_mean(text, lowered, _CODE_SIZES[0]):
        text = _replaced(text, _expiries(text, _runs_of_speech(text)))
        spans = _security_codes(text, _runs_of_speech(text))
        found += (span.digits for span in spans)
        text = _replaced(text, spans)
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
    """Whether the text could hold that many digits at all, and not just the "one" and "oh" that people say anyway."""
    written = len(_DIGIT.findall(text))
    return written >= digits or _is_much(written, _meaning(lowered), digits)


def _is_much(written: int, words: Sequence[str], digits: int) -> bool:
    """As `_may_mean`, of so many written digits and of words that mean some."""
    enough = written + _meant(words) >= digits
    return enough and (written > 0 or not _OFTEN_SAID.issuperset(words))


def _meant(words: Sequence[str]) -> int:
    return sum([_MEANT[word] for word in words])


def _counted(texts: Sequence[str], lowered: str) -> tuple[list[int], list[list[str]]]:
    """How many digits stand in each text, and the words in it that mean some. `lowered` are the texts with \\0 between."""
    if lowered.isascii() and lowered.count("\0") == len(texts) - 1:  # as below, in a third of the time
        figures = [len(digits) for digits in lowered.translate(_FIGURES_OF_TEXTS).split("\0")]
        return figures, [_those_meaning(words.split()) for words in lowered.translate(_PARTED_TEXTS).split("\0")]
    return [len(_DIGIT.findall(text)) for text in texts], [_meaning(text.lower()) for text in texts]


def _meaning(lowered: str) -> list[str]:
    """The words that mean digits."""
    if lowered.isascii():
        return _those_meaning(lowered.translate(_PARTED).split())  # as below, in half the time
    for accented, plain in _PLAIN.items():
        lowered = lowered.replace(accented, plain)  # six of these take less than `translate`
    return _those_meaning(_WORD.findall(lowered))


def _those_meaning(words: list[str]) -> list[str]:
    return [] if _MEANING.isdisjoint(words) else [word for word in words if word in _MEANING]


def _with(stems: Sequence[str], whole: str, texts: Sequence[str]) -> set[int]:
    """Which of the texts hold one of the stems; `whole` are all of them, both in lower case."""
    held = [stem for stem in stems if stem in whole]
    return {n for stem in held for n, text in enumerate(texts) if stem in text}


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
        if number is not None and not (run and _NEAR_GAP.fullmatch(text, run[-1].end, token.start())):
            number = number._replace(apart=True)
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
        return _Number(start, end, _SPOKEN[said], tens=said in ROUND, spoken=True)
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
            card = digits[before[begin] : before[last]]
            if len(card) < _FEWEST_CARD_DIGITS or not _is_card(card):
                continue
            printed = groups[begin:last] in _PRINTED
            rest = digits[before[last] :]
            if not (printed or (len(card) > _FEWEST_CARD_DIGITS and (not phones or _CARD_TAIL.fullmatch(rest)))):
                continue
            if _may_precede(run[done:begin], printed=printed) and _may_follow(run[last:], card, printed=printed):
                end = last
        if end > begin:
            yield _card_span(run[begin:end])
            done = end
        begin = max(begin + 1, end)


def _may_precede(lead: list[_Number], *, printed: bool) -> bool:
    """Whether what stands right before a card is not just the beginning of a longer number."""
    digits = _digits(lead)
    if not lead or _is_stray(lead):
        return True
    groups = tuple(len(number.digits) for number in lead)
    return groups in _PHONE_GROUPS or (printed and _PHONE.fullmatch(digits) is not None)


def _may_follow(rest: list[_Number], card: str, *, printed: bool) -> bool:
    """Whether what stands right after a card is not just the end of a longer number: a date, a code, another card."""
    digits = _digits(rest)
    if not rest or _is_stray(rest) or _CARD_TAIL.fullmatch(digits):
        return True
    code = len(digits) == (4 if card[:2] in ("34", "37") else 3)
    if code and (printed or rest[0].apart):
        return True
    groups = tuple(len(number.digits) for number in rest)
    return _is_card(digits) or any(groups[: len(phone)] == phone for phone in _PHONE_GROUPS)


def _is_stray(numbers: list[_Number]) -> bool:
    return all(number.spoken for number in numbers) and _STRAYS.fullmatch(_digits(numbers)) is not None


def _like_phones(digits: str, groups: tuple[int, ...]) -> bool:
    if any(groups[: len(phone)] == phone for phone in _PHONE_GROUPS) or _NORTH_AMERICAN.fullmatch(digits):
        return True
    half = len(digits) // 2
    return half <= _LONGEST_PHONE and digits[:half] == digits[half:]  # a phone number, said again


def _card_span(card: list[_Number]) -> _Span:
    digits = _digits(card)
    return _Span(card[0].start, card[-1].end, _hidden_card(digits), digits)


def _hidden_card(digits: str) -> str:
    return f"[card ending {digits[-4:]}]"


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
    for cue in _code_cues(text, carded=_CARD_TALK.search(text) is not None):
        near = _near(runs, cue.end(), _reach(text, cue, _CODE_REACH, _HIDDEN_CODE))
        code = next((code for code in map(_code, near) if code), None)
        if code is not None:
            spans.append(_Span(code[0].start, code[-1].end, _HIDDEN_CODE, _digits(code)))
    return spans


def _code_cues(text: str, *, carded: bool) -> Iterator[re.Match[str]]:
    return (cue for cue in _CODE_CUE.finditer(text) if carded or not cue["weak"])


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


# -- over a conversation ------------------------------------------------------------------------------------------


def _pieced_together(said: Sequence[Said], texts: list[str], numbers: Sequence[int]) -> list[tuple[int, str]]:
    """Mask cards that one speaker says in several turns; gives the turn in which each begins, and its digits."""
    cards: list[tuple[int, str]] = []
    for speaker in dict.fromkeys(one.speaker for one in said):
        turns: list[int] = []
        for n, one in enumerate(said):
            if one.speaker != speaker or not numbers[n]:
                continue
            if turns and not _soon_after(said, turns[-1], n):
                cards += _joined(said, texts, numbers, turns)
                turns = []
            turns.append(n)
        cards += _joined(said, texts, numbers, turns)
    return cards


def _joined(
    said: Sequence[Said], texts: list[str], numbers: Sequence[int], turns: Sequence[int]
) -> Iterator[tuple[int, str]]:
    if sum(numbers[n] for n in turns) > _FEWEST_CARD_DIGITS:
        for chain in _chains(said, texts, turns):
            yield from _masked_pieces(texts, chain)


def _chains(said: Sequence[Said], texts: Sequence[str], turns: Sequence[int]) -> list[list[_Piece]]:
    """Numbers that follow each other over turns of one speaker, with few words between them."""
    chains: list[list[_Piece]] = [[]]
    words_after = 0
    for n in turns:
        runs = _pieces(texts[n])
        if not runs:
            continue
        words_before = len(_WORD.findall(texts[n], 0, runs[0][0].start))
        chain = chains[-1]
        joined = (
            chain and _soon_after(said, chain[-1].turn, n) and max(words_after, words_before) <= _MOST_WORDS_BETWEEN
        )
        if not joined:
            chains.append([])
        chains[-1].append(_Piece(n, runs[0]))
        if len(runs) > 1:
            chains.append([_Piece(n, runs[-1])])
        words_after = len(_WORD.findall(texts[n], runs[-1][-1].end))
    return [chain for chain in chains if len(chain) > 1]


def _soon_after(said: Sequence[Said], first: int, second: int) -> bool:
    begun, then = said[first].offset_seconds, said[second].offset_seconds
    in_time = begun is None or then is None or then - begun <= _MOST_SECONDS_BETWEEN
    return in_time and second - first <= _MOST_TURNS_BETWEEN


def _pieces(text: str) -> list[list[_Number]]:
    """The runs of a turn, but for phone numbers in the usual form, "that one is …" and "the last four …"."""
    runs = _runs_of_speech(_NO_PIECE.sub(lambda found: "\0" * len(found.group()), text))
    longest = max((len(_digits(run)) for run in runs), default=0)
    return [run for run in runs if longest == 1 or len(_digits(run)) > 1]


def _masked_pieces(texts: list[str], chain: Sequence[_Piece]) -> list[tuple[int, str]]:
    cards: list[tuple[int, str]] = []
    first = 0
    while first < len(chain) - 1:
        found = _card_of_pieces(chain[first : first + _MOST_CARD_DIGITS])
        if found is None:
            first += 1
            continue
        digits = "".join(piece.digits for piece in found)
        cards.append((found[0].turn, digits))
        for piece in found:
            instead = _hidden_card(digits) if piece is found[0] else _HIDDEN_PIECE
            texts[piece.turn] = _replaced(texts[piece.turn], [_Span(piece.run[0].start, piece.run[-1].end, instead)])
        first += len(found)
    return cards


def _card_of_pieces(chain: Sequence[_Piece]) -> list[_Piece] | None:
    """The pieces at the start of a chain that are a card, cut where other digits stand before or after it.

    The longest: a card of 19 digits may pass for one of 16 and a code. A phone number is no piece of a card.
    """
    if _is_phone(chain[0]):
        return None
    for begin in range(min(_SLACK + 1, len(chain[0].run))):
        if begin and not (_is_stray(chain[0].run[:begin]) and chain[0].run[begin].apart):
            continue
        head = chain[0]._replace(run=chain[0].run[begin:])
        ends = [found for count in range(1, len(chain)) if (found := _ending_with(head, chain[1 : count + 1]))]
        if ends:
            return ends[-1]
    return None


def _ending_with(head: _Piece, more: Sequence[_Piece]) -> list[_Piece] | None:
    """The pieces as a card that ends in the last one."""
    *whole, tail = more
    if sum(len(piece.run) for piece in (head, *whole)) >= _MOST_CARD_DIGITS:
        return None
    digits = head.digits + "".join(piece.digits for piece in whole)
    if len(digits) >= _MOST_CARD_DIGITS or any(map(_is_phone, more)):
        return None
    for last in range(min(len(tail.run), _MOST_CARD_DIGITS), 0, -1):
        card = digits + _digits(tail.run[:last])
        rest = tail.run[last:]
        dated = _CARD_TAIL.fullmatch(_digits(rest)) is not None
        beside = not rest or dated or (rest[0].apart and _may_follow(rest, card, printed=True))
        if len(card) > _FEWEST_CARD_DIGITS and beside and _is_card(card):
            return [head, *whole, tail._replace(run=tail.run[:last])]
    return None


def _is_phone(piece: _Piece) -> bool:
    groups = tuple(len(number.digits) for number in piece.run)
    return groups in _PHONE_GROUPS or _PHONE.fullmatch(piece.digits) is not None


def _without_echoes(texts: list[str], numbers: Sequence[int], turn: int, digits: str) -> None:
    """Mask what is read back of a card or a code: enough echoes are the whole of it."""
    card = len(digits) >= _FEWEST_CARD_DIGITS
    first = max(0, turn - _MOST_TURNS_BETWEEN) if card else turn + 1
    behind = 2 * _MOST_TURNS_BETWEEN if card else _ANSWER_TURNS
    for n in range(first, min(len(texts), turn + behind + 1)):
        if numbers[n] >= _CODE_SIZES[0]:
            heard = (run for run in _runs_of_speech(texts[n]) if _is_echo(_digits(run), digits))
            instead = _HIDDEN_PIECE if card else _HIDDEN_CODE
            texts[n] = _replaced(texts[n], [_Span(run[0].start, run[-1].end, instead) for run in heard])


def _is_echo(heard: str, hidden: str) -> bool:
    """Whether the digits are the hidden code or part of the hidden card, whose last four may be shown."""
    if len(hidden) < _FEWEST_CARD_DIGITS:
        return heard == hidden
    return len(heard) >= _FEWEST_ECHOED and heard != hidden[-4:] and heard in hidden


def _without_answers(said: Sequence[Said], texts: list[str], numbers: Sequence[int]) -> list[tuple[int, str]]:
    """Mask expiry dates and security codes that are said in a turn after the one that asked for them.

    Gives the turns of the codes, and their digits.
    """
    codes: list[tuple[int, str]] = []
    lowered = [text.lower() for text in texts]
    whole = "\0".join(lowered)
    talk = [n for n in _with(_TALK_STEMS, whole, lowered) if _CARD_TALK.search(texts[n])]
    expiring, coded = _with(_EXPIRY_STEMS, whole, lowered), _with(_CODE_STEMS, whole, lowered)
    before = tuple(texts)
    for n in sorted(expiring | coded):
        text = before[n]
        carded = any(n - _CARD_TALK_TURNS <= m <= n + 1 for m in talk)
        if carded and n in expiring and _unanswered(text, list(_EXPIRY_CUE.finditer(text)), _HIDDEN_EXPIRY):
            for m in _answers(said, numbers, n):
                if span := _expiry_said(texts[m]):
                    texts[m] = _replaced(texts[m], [span])
                    break
        if n in coded and _unanswered(text, list(_code_cues(text, carded=carded)), _HIDDEN_CODE):
            for m in _answers(said, numbers, n):
                if span := _code_said(texts[m]):
                    texts[m] = _replaced(texts[m], [span])
                    codes.append((m, span.digits))
                    break
    return codes


def _unanswered(text: str, cues: Sequence[re.Match[str]], sign: str) -> bool:
    """Whether the turn asks and does not say."""
    return bool(cues) and sign not in text[cues[-1].end() :]


def _answers(said: Sequence[Said], numbers: Sequence[int], asked: int) -> Iterator[int]:
    """The turns that may answer: the next ones with numbers."""
    following = range(asked + 1, min(len(said), asked + _ANSWER_TURNS + 1))
    return (n for n in following if numbers[n] and _soon_after(said, asked, n))


def _code_said(text: str) -> _Span | None:
    """The first number that is a security code by its length, alone, said twice, or with expiry or postcode behind."""
    for run in _answering(text):
        digits = _digits(run)
        for size in _CODE_SIZES:
            count = next((n for n in range(1, len(run) + 1) if len(_digits(run[:n])) == size), 0)
            rest = digits[size:]
            if count and rest == digits[:size]:
                return _Span(run[0].start, run[-1].end, _HIDDEN_CODE, rest)
            if count and (not rest or _EXPIRY_DIGITS.fullmatch(rest) or len(rest) == _POSTCODE):
                return _Span(run[0].start, run[count - 1].end, _HIDDEN_CODE, digits[:size])
    return None


def _expiry_said(text: str) -> _Span | None:
    found = _EXPIRY_WRITTEN.search(text, 0, _ANSWER_REACH) or _EXPIRY_NAMED.search(text, 0, _ANSWER_REACH)
    if found is not None:
        return _Span(*found.span(), _HIDDEN_EXPIRY)
    for run in _answering(text):
        for count in range(min(len(run), _MOST_EXPIRY_DIGITS), 1, -1):
            if _EXPIRY_DIGITS.fullmatch(_digits(run[:count])) and len(_digits(run[count:])) in (0, *_CODE_SIZES):
                return _Span(run[0].start, run[count - 1].end, _HIDDEN_EXPIRY)
    return None


def _answering(text: str) -> Iterator[list[_Number]]:
    """The runs at the start of a turn that are neither an amount nor a time."""
    for run in _runs_of_speech(text):
        if run[0].start > _ANSWER_REACH:
            return
        if not _MONEY.search(text, 0, run[0].start) and not _UNIT.match(text, run[-1].end):
            yield run
