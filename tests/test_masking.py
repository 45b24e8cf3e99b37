"""Cards are masked however they are said, over one turn or several, and other numbers are left alone."""

import random
import re
import statistics
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from call_logs.masking import Said, masked_turns
from call_logs.model import Action, ActionKind, Call, Speaker, Turn
from call_logs.prepared import prepared
from call_logs.sync import prepared as synced_as
from call_logs.text import Masking

CARDS = Masking.CARDS
SIZE = 1_000
SMALL = SIZE // 20
ISSUERS = (
    *(("4", 16), ("51", 16), ("55", 16), ("2221", 16), ("2720", 16), ("34", 15), ("37", 15), ("6011", 16), ("65", 16)),
    *(("36", 14), ("305", 14), ("3530", 16), ("62", 16), ("4", 16), ("4", 19)),
)
ENGLISH = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
SPANISH = ["cero", "uno", "dos", "tres", "cuatro", "cinco", "seis", "siete", "ocho", "nueve"]
TEENS = ["ten", "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen"]
TENS = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
ONCE = ["diez", "once", "doce", "trece", "catorce", "quince", "dieciséis", "diecisiete", "dieciocho", "diecinueve"]
VEINTE = [
    "veinte",
    "veintiuno",
    "veintidós",
    "veintitrés",
    "veinticuatro",
    "veinticinco",
    "veintiséis",
    "veintisiete",
    "veintiocho",
    "veintinueve",
]
TREINTA = ["treinta", "cuarenta", "cincuenta", "sesenta", "setenta", "ochenta", "noventa"]

Dice = random.Random


# --- how numbers are said


def number(dice: Dice) -> str:
    """A card number with a known prefix that passes Luhn."""
    prefix, length = dice.choice(ISSUERS)
    body = prefix + "".join(str(dice.randrange(10)) for _ in range(length - len(prefix) - 1))
    return next(body + str(last) for last in range(10) if luhn(body + str(last)))


def luhn(digits: str) -> bool:
    doubled = [int(d) * (2 if n % 2 else 1) for n, d in enumerate(reversed(digits))]
    return sum(d - 9 if d > 9 else d for d in doubled) % 10 == 0


def groups(digits: str) -> list[str]:
    """As it is printed."""
    if len(digits) in (14, 15):
        return [digits[:4], digits[4:10], digits[10:]]
    return [digits[n : n + 4] for n in range(0, len(digits), 4)]


def words(digits: str, language: Sequence[str] = ENGLISH, zero: str | None = None) -> str:
    return " ".join(zero if zero and digit == "0" else language[int(digit)] for digit in digits)


def doubled(digits: str) -> str:
    """Runs of a digit as "double", "triple"; zero as "oh"."""
    said: list[str] = []
    for run in re.finditer(r"(\d)\1{0,2}", digits):
        times = {1: "", 2: "double ", 3: "triple "}[len(run[0])]
        said.append(times + ("oh" if run[1] == "0" else ENGLISH[int(run[1])]))
    return " ".join(said)


def pairs(digits: str, spoken: Callable[[int], str]) -> str:
    odd = [ENGLISH[int(digits[0])]] if len(digits) % 2 else []
    return " ".join([*odd, *(spoken(int(digits[n : n + 2])) for n in range(len(digits) % 2, len(digits), 2))])


def english_pair(pair: int) -> str:
    tens, unit = divmod(pair, 10)
    if tens == 0:
        return f"oh {ENGLISH[unit]}"
    if tens == 1:
        return TEENS[unit]
    return TENS[tens - 2] + (f"-{ENGLISH[unit]}" if unit else "")


def spanish_pair(pair: int) -> str:
    tens, unit = divmod(pair, 10)
    if tens == 0:
        return f"cero {SPANISH[unit]}"
    if tens < 3:
        return (ONCE, VEINTE)[tens - 1][unit]
    return TREINTA[tens - 3] + (f" y {SPANISH[unit]}" if unit else "")


def hesitating(digits: str, dice: Dice) -> str:
    """Groups in digits or words, with what people say between them."""
    parts = [dice.choice((part, words(part), words(part, zero="oh"), " ".join(part))) for part in groups(digits)]
    return "".join(part + dice.choice((", ", " uh, ", "... ", ", um, ", " then ", " and ")) for part in parts)


Turns = list[tuple[str, str]]


def alone(said: str, lead: str = "Sure, my card is: ", end: str = ", thanks.") -> Turns:
    return [("agent", "What is your card number?"), ("customer", f"{lead}{said}{end}"), ("agent", "Thank you.")]


def interrupted(parts: Sequence[str], dice: Dice, between: Sequence[str], leads: Sequence[str]) -> Turns:
    """Each part a turn of the customer's, the agent's "mm-hm" between them."""
    turns: Turns = [("agent", "Go ahead with the number, please.")]
    for n, part in enumerate(parts):
        lead = dice.choice(leads) if n else "It's "
        turns += [("customer", f"{lead}{part}{dice.choice(('.', ',', ''))}"), ("agent", dice.choice(between))]
    return turns


def halves(digits: str) -> list[str]:
    return [digits[:8], digits[8:]] if len(digits) == 16 else groups(digits)


LISTENING = ("Mm-hm.", "Okay.", "Got it.", "Yes, go on.", "Uh-huh, and then?", "I'm listening.")
LEADS = ("", "", "And then ", "Then it's ", "Okay, the next four are ", "And the rest is ")
ESCUCHO = ("Aj\u00e1.", "Vale.", "S\u00ed, d\u00edgame.", "Perfecto, siga.")
SIGUE = ("", "y luego ", "despu\u00e9s ", "y los \u00faltimos cuatro son ")

FORMS: dict[str, Callable[[str, Dice], Turns]] = {
    "one written number": lambda card, _: alone(card),
    "written in groups": lambda card, dice: alone(dice.choice(" -").join(groups(card))),
    "single digits": lambda card, dice: alone(dice.choice((" ", ", ", "-")).join(card)),
    "words": lambda card, dice: alone(words(card, zero=dice.choice(("oh", "zero", None)))),
    "words in groups": lambda card, _: alone(", ".join(words(part) for part in groups(card))),
    "double and triple": lambda card, _: alone(doubled(card)),
    "teens and tens": lambda card, _: alone(pairs(card, english_pair)),
    "palabras": lambda card, _: alone(words(card, SPANISH), "Claro, mi tarjeta es ", ", gracias."),
    "decenas": lambda card, _: (
        alone(" ".join(spanish_pair(int(card[n : n + 2])) for n in range(0, len(card), 2)))
        if len(card) % 2 == 0
        else alone(words(card, SPANISH))
    ),
    "hesitating, digits and words mixed": lambda card, dice: alone(hesitating(card, dice), end="that's it."),
    "over turns, in digits": lambda card, dice: interrupted(groups(card), dice, LISTENING, LEADS),
    "over turns, in words": lambda card, dice: interrupted(
        [words(part, zero="oh") for part in dice.choice((groups, halves))(card)], dice, LISTENING, LEADS
    ),
    "en varios turnos": lambda card, dice: interrupted(
        [words(part, SPANISH) for part in groups(card)], dice, ESCUCHO, SIGUE
    ),
}


# --- other numbers


def some(dice: Dice, length: int, first: str = "0123456789") -> str:
    return dice.choice(first) + "".join(str(dice.randrange(10)) for _ in range(length - 1))


def phone(dice: Dice) -> str:
    return f"{dice.choice('23456789')}{dice.randrange(100):02}{dice.choice('23456789')}{dice.randrange(1_000_000):06}"


def not_a_card(dice: Dice) -> str:
    """16 digits that fail Luhn or begin like no issuer's."""
    while True:
        digits = some(dice, 16)
        if not luhn(digits) or digits[0] in "017":
            return digits


def said_somehow(digits: str, dice: Dice) -> str:
    fours = [digits[n : n + 4] for n in range(0, len(digits), 4)]
    return dice.choice((digits, " ".join(fours), "-".join(fours), words(digits), ", ".join(map(words, fours))))


def phones(dice: Dice) -> Turns:
    one, two = phone(dice), phone(dice)
    shown = f"({one[:3]}) {one[3:6]}-{one[6:]}"
    said = dice.choice((shown, f"+1{one}", one, words(one), f"{words(one[:3])}, {words(one[3:6])}, {words(one[6:])}"))
    again = dice.choice((said, words(one), f"{words(one)} or {words(two)}", f"{one[:3]} {one[3:6]} {one[6:]}"))
    extension = dice.choice(("", f" extension {some(dice, 4)}"))
    return [("customer", f"My number is {said}{extension}."), ("agent", f"So {again}?"), ("customer", f"Yes, {again}.")]


def orders(dice: Dice) -> Turns:
    said = said_somehow(not_a_card(dice), dice)
    return [("customer", f"The order number is {said}."), ("agent", f"Was that {said}?")]


def orders_in_pieces(dice: Dice) -> Turns:
    digits = not_a_card(dice)
    return interrupted([words(digits[:8]), words(digits[8:])], dice, LISTENING, LEADS)


def moments(dice: Dice) -> Turns:
    moment = datetime.fromtimestamp(dice.randrange(1_500_000_000, 1_900_000_000), UTC)
    shown = dice.choice(
        (
            f"{moment:%Y-%m-%d %H:%M:%S}, {moment:%d/%m/%Y} at {moment:%H:%M}",
            f"{moment:%Y%m%d%H%M%S}, {moment.timestamp():.0f}000",
            f"{moment:%B} {moment.day}, {moment.year} at {moment.hour} {moment.minute:02}, or {moment:%m %d %Y}",
            f"{english_pair(moment.month)} {english_pair(moment.day)} {english_pair(moment.year % 100)}",
        )
    )
    return [
        ("agent", f"It is on {shown}."),
        ("customer", f"Not {english_pair(moment.hour)}? It expires {moment:%Y-%m-%d}."),
    ]


def amounts(dice: Dice) -> Turns:
    prices = [f"${dice.randrange(1, 99_999):,}.{dice.randrange(100):02}" for _ in range(3)]
    spoken = f"{english_pair(dice.randrange(20, 99))} dollars and {english_pair(dice.randrange(10, 99))} cents"
    return [("agent", f"That's {prices[0]}, {prices[1]} and {prices[2]}."), ("customer", f"{spoken} a month?")]


def trackings(dice: Dice) -> Turns:
    kinds = (
        f"9{dice.choice('2345')}{some(dice, 20)}",  # USPS
        f"1Z{dice.choice('0123456789ABCDEF')}{some(dice, 15)}",  # UPS
        some(dice, 12),  # FedEx
        f"JD{some(dice, 18)}",  # DHL
        f"420{some(dice, 5)}9{dice.choice('2345')}{some(dice, 20)}",  # USPS with a postcode
        f"ES{some(dice, 22)}",  # IBAN
    )
    kind = dice.choice(kinds)
    return [("customer", f"Tracking says {said_somehow(kind, dice) if kind.isdecimal() else kind} is on its way.")]


def uuids(dice: Dice) -> Turns:
    one = UUID(int=dice.getrandbits(128), version=4)
    return [("agent", f"Reference {dice.choice((one, str(one).upper(), one.hex))}."), ("customer", "Okay.")]


OTHERS: dict[str, Callable[[Dice], Turns]] = {
    "phone numbers": phones,
    "16-digit order numbers": orders,
    "the same, over turns": orders_in_pieces,
    "times and dates": moments,
    "amounts": amounts,
    "UUIDs": uuids,
    "tracking numbers, IBANs": trackings,
}


# --- both at once


def conversation(turns: Turns, seconds: float | None = 3.0) -> list[Said]:
    return [Said(who, None if seconds is None else n * seconds, text) for n, (who, text) in enumerate(turns)]


def after(turns: Turns, masking: Masking = CARDS, seconds: float | None = 3.0) -> list[str]:
    """The texts as they are kept; whoever spoke them. Masking them again changes nothing more."""
    texts = masked_turns(conversation(turns, seconds), masking)
    again = [(who, text) for (who, _), text in zip(turns, texts, strict=True)]
    assert masked_turns(conversation(again, seconds), masking) == texts
    return texts


def is_masked(card: str, turns: Turns) -> bool:
    """Whether a mask with the last four digits stands there, and no digits beside it."""
    texts = " ".join(after(turns))
    rest = re.sub(rf"\[card ending {card[-4:]}\]|\[card\]|next four|cuatro son", "", texts)
    spoken = re.search(r"\d", rest) or {word.strip(",.") for word in rest.split()} & {*ENGLISH, *SPANISH}
    return f"[card ending {card[-4:]}]" in texts and not spoken


def shares(size: int) -> tuple[dict[str, float], dict[str, float]]:
    """The share of cards that are masked, by form; and of other numbers that are, by kind."""
    found: dict[str, float] = {}
    for form, said in FORMS.items():
        dice = random.Random(f"{form} {size}")
        drawn = (number(dice) for _ in range(size))
        found[form] = sum(is_masked(card, said(card, dice)) for card in drawn) / size
    wrong: dict[str, float] = {}
    for kind, said in OTHERS.items():
        dice = random.Random(f"{kind} {size}")
        drawn = (said(dice) for _ in range(size))
        wrong[kind] = sum(after(turns) != [text for _, text in turns] for turns in drawn) / size
    return found, wrong


def check(size: int) -> None:
    found, wrong = shares(size)
    lines = [f"{form:40} {share:7.1%} masked" for form, share in found.items()]
    lines += [f"{kind:40} {share:7.1%} masked by mistake" for kind, share in wrong.items()]
    print("\n" + "\n".join(lines))  # noqa: T201 - the figures are what this test is for
    assert {form: share for form, share in found.items() if share < 0.99} == {}
    assert {kind: share for kind, share in wrong.items() if share > 0.005} == {}


def test_cards_are_masked_in_every_form_and_other_numbers_are_not() -> None:
    check(SMALL)


@pytest.mark.slow
def test_cards_are_masked_in_every_form_and_other_numbers_are_not_in_thousands() -> None:
    check(SIZE)


@pytest.mark.parametrize("joint", [" ", "-", ""])
def test_a_number_that_passes_by_chance_is_masked_too(joint: str) -> None:
    """Nothing tells it from a card; its last four digits are shown."""
    order = joint.join(groups("4539578763621486"))
    assert after([("customer", f"order number {order}.")]) == ["order number [card ending 1486]."]


# --- over turns

A, C, S = "agent", "customer", "system"
FOUR_PIECES: Turns = [
    (A, "Go ahead."),
    (C, "Sure, it's four one one one"),
    (A, "mm-hm"),
    (C, "one one one one, are you there?"),
    (A, "Yes."),
    (C, "Okay then, one one one one"),
    (A, "mm-hm"),
    (C, "and one one one one. It's a Visa."),
]


def test_pieces_are_masked_and_the_other_words_stay() -> None:
    assert after(FOUR_PIECES) == [
        "Go ahead.",
        "Sure, it's [card ending 1111]",
        "mm-hm",
        "[card], are you there?",
        "Yes.",
        "Okay then, [card]",
        "mm-hm",
        "and [card]. It's a Visa.",
    ]


def test_pieces_are_joined_without_times_too() -> None:
    assert after(FOUR_PIECES, seconds=None) == after(FOUR_PIECES)


def test_pieces_that_are_half_a_minute_apart_are_not_one_number() -> None:
    assert after(FOUR_PIECES, seconds=14.0) == after(FOUR_PIECES)
    assert after(FOUR_PIECES, seconds=16.0) == [text for _, text in FOUR_PIECES]


@pytest.mark.parametrize(("between", "one_number"), [(2, True), (3, False)])
def test_pieces_with_seven_turns_between_are_not_one_number(between: int, one_number: bool) -> None:
    turns: Turns = [(C, "4539 5787"), *[(A, "Yes?"), (C, "Wait.")] * between, (A, "Yes."), (C, "6362 1486")]
    assert (after(turns, seconds=1.0)[-1] == "[card]") is one_number


def test_pieces_with_a_sentence_between_are_not_one_number() -> None:
    turns: Turns = [(C, "4539 5787"), (A, "Yes?"), (C, "and on the other one it says as well 6362 1486")]
    assert after(turns) == [text for _, text in turns]


@pytest.mark.parametrize(
    "said",
    [
        ("zip code 37203", "4539 5787 36"),
        ("four two zero six five five five zero one two", "482913"),
        ("415 555 0123", "482918"),
        ("482913", "two zero six five five five zero one two three"),
    ],
)
def test_a_phone_number_is_no_piece_of_a_card(said: tuple[str, str]) -> None:
    digits = random.Random(8)
    for _ in range(200):
        code = "".join(str(digits.randrange(10)) for _ in range(6))
        turns: Turns = [(C, said[0].replace("482913", code)), (A, "Okay."), (C, said[1].replace("482913", code))]
        assert after(turns) == [text for _, text in turns]


@pytest.mark.parametrize(
    "number",
    [
        "9400 4539 5787 6362 1486 55",
        "4539 5787 6362 1486 5551 2099",
        "9400 4539 5787 6362 1486",
        "nine four zero zero four five three nine five seven eight seven six three six two one four eight six",
        "four five three nine five seven eight seven six three six two one four eight six nine nine nine nine",
    ],
)
def test_part_of_a_longer_number_is_no_card(number: str) -> None:
    assert after([(C, f"tracking {number}")]) == [f"tracking {number}"]


def test_pieces_of_two_speakers_are_not_one_number() -> None:
    turns = [(A if n > 3 else who, text) for n, (who, text) in enumerate(FOUR_PIECES)]
    assert after(turns) == [text for _, text in turns]


@pytest.mark.parametrize(
    "cue",
    [
        *("security code", "security number", "CVV", "cvv2", "CVC", "cvc2", "CVN", "card verification value", "c.v.v."),
        *("three digit code", "three-digit code", "4 digit number", "3 digits on the back", "four digits at the front"),
        *("code on the front of the card", "numbers that are on the reverse of your Visa"),
        *(
            "c\u00f3digo de seguridad",
            "clave de verificaci\u00f3n",
            "numero de seguridad",
            "tres d\u00edgitos de atr\u00e1s",
        ),
        *("cuatro n\u00fameros que est\u00e1n por detr\u00e1s", "tres numeros del reverso", "3 n\u00daMEROS DEL DORSO"),
        *("tres n\u00fameros de atr\u00e1s", "cuatro numeros que estan atras", "4 numeros por detras"),
        *("c\u00f3digo del reverso de la tarjeta", "digits at the back of the debit card"),
    ],
)
@pytest.mark.parametrize("form", [str, str.upper])
def test_every_way_to_ask_for_a_code_is_heard_in_one_turn_and_over_two(cue: str, form: Callable[[str], str]) -> None:
    asked = form(cue)
    assert after([(A, f"And the {asked}?"), (C, "It is nine four two.")])[1] == "It is [security code]."
    assert after([(C, f"the {asked} is 942.")]) == [f"the {asked} is [security code]."]


@pytest.mark.parametrize(
    "cue",
    [
        *("expires", "EXPIRED", "expiry", "expiration", "exp", "valid thru", "valid until", "good through", "vence"),
        *("expiraci\u00f3n", "vencimiento", "caduca", "caducidad"),
    ],
)
@pytest.mark.parametrize(
    "talk",
    [
        *(
            "card",
            "Cards",
            "tarjeta",
            "VISA",
            "mastercard",
            "Amex",
            "american express",
            "credit",
            "DEBIT",
            "cr\u00e9dito",
        ),
        "credito",
    ],
)
def test_every_way_to_ask_for_an_expiry_date_is_heard_where_cards_are_spoken_of(cue: str, talk: str) -> None:
    turns: Turns = [(A, f"With {talk}?"), (C, "Yes."), (A, f"And it {cue}?"), (C, "zero three twenty nine")]
    assert after(turns)[-1] == "[expiry]"
    assert after(turns[2:])[-1] == "zero three twenty nine"


def test_what_the_agent_reads_back_is_masked() -> None:
    turns: Turns = [
        (C, "4539 5787 6362 1486"),
        (A, "Four five three nine, five seven eight seven?"),
        (C, "Yes."),
        (A, "six three six two, and it ends in 1486. Your order is 4539."),
    ]
    assert after(turns) == [
        "[card ending 1486]",
        "[card]?",
        "Yes.",
        "[card], and it ends in 1486. Your order is [card].",
    ]


def test_a_number_over_turns_ends_where_the_date_begins() -> None:
    turns: Turns = [(C, "4539 5787 6362"), (A, "mm-hm"), (C, "one four eight six, and then twelve twenty seven")]
    assert after(turns)[2].startswith("[card], and then twelve")
    turns = [(C, "that one, four five three nine five seven eight seven"), (A, "mm-hm"), (C, "6362 1486, one moment")]
    assert after(turns) == ["that one, [card ending 1486]", "mm-hm", "[card], one moment"]


@pytest.mark.parametrize(
    ("asked", "said", "kept"),
    [
        ("And the security code?", "one two three", "[security code]"),
        ("The CVV, please?", "Sure, it's 123.", "Sure, it's [security code]."),
        ("The three digits on the back?", "uh, one two three, I think", "uh, [security code], I think"),
        ("What is the three-digit code?", "123, 90210", "[security code], 90210"),
        ("And the number on the back of the card?", "Four five six", "[security code]"),
        ("\u00bfEl c\u00f3digo de seguridad?", "Es uno dos tres.", "Es [security code]."),
        ("\u00bfLos tres d\u00edgitos del reverso?", "uno dos tres", "[security code]"),
        ("\u00bfLos tres d\u00edgitos de atr\u00e1s?", "son uno dos tres", "son [security code]"),
        ("When does the card expire?", "Twelve twenty-seven.", "[expiry]."),
        ("Expiration date of the card?", "12/27", "[expiry]"),
        ("Expiration date of the card?", "August 2028", "[expiry]"),
        ("\u00bfCu\u00e1ndo vence la tarjeta?", "El doce veintisiete", "El [expiry]"),
        ("Card expiry and CVV?", "12/27, and 123", "[expiry], and [security code]"),
        ("Card expiry and CVV?", "twelve twenty seven one two three", "[expiry] [security code]"),
    ],
)
def test_what_answers_a_question_for_code_or_date_is_masked(asked: str, said: str, kept: str) -> None:
    for turns in (
        [(A, asked), (C, said)],
        [(A, asked), (C, "One second."), (A, "No hurry."), (C, said)],
        [(C, asked.replace("?", "")), (A, "Yes?"), (C, said)],
    ):
        assert after([(A, "Which card is it?"), *turns])[-1] == kept


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("What is the security code we just sent you?", "four eight two nine one three"),
        ("The security code?", "Call me at 206-555-0123."),
        ("The security code?", "I paid $250 for this."),
        ("The security code?", "It's 7:30 pm here."),
        ("The security code?", "I'll be back in 120 minutes."),
        ("When does the lease expire?", "March 2027"),
        ("What is the number on the back of the house?", "four one two"),
    ],
)
def test_other_answers_stay(asked: str, said: str) -> None:
    assert after([(A, asked), (C, said)]) == [asked, said]


def test_a_code_that_is_read_back_is_masked() -> None:
    turns: Turns = [(A, "Security code?"), (C, "four five six"), (A, "456, right?"), (C, "four five six, yes")]
    assert after(turns)[1:] == ["[security code]", "[security code], right?", "[security code], yes"]


def test_an_answer_that_comes_late_is_none() -> None:
    turns: Turns = [(A, "Security code?"), *[(C, "Wait."), (A, "Sure.")] * 2, (C, "one two three")]
    assert after(turns)[-1] == "one two three"
    assert after([turns[0], turns[-1]], seconds=31.0)[-1] == "one two three"


def test_hiding_digits_hides_pieces_of_cards_too() -> None:
    turns: Turns = [(C, word) for word in words("4539578763621486").split()]
    assert set(after(turns, Masking.DIGITS)) == {"[card ending 1486]", "[card]"}
    assert after([(C, "pin 4567"), (A, "room 12")], Masking.DIGITS) == ["pin [digits]", "room 12"]


# --- what is kept of a call


def call_of(turns: Turns, **fields: Any) -> Call:
    spoken = tuple(
        Turn(n=n, speaker=Speaker(who), text=text, offset_seconds=3.0 * n) for n, (who, text) in enumerate(turns, 1)
    )
    began = datetime(2026, 11, 19, tzinfo=UTC)
    return Call(
        account="a", provider="acme", vendor_call_id="4539578763621486", started_at=began, turns=spoken, **fields
    )


def test_a_call_is_masked_but_for_its_ids_and_numbers() -> None:
    call = call_of(
        FOUR_PIECES,
        parent_id="4539578763621486",
        from_number="4539578763621486",
        agent_id="4539578763621486",
        summary="Paid with 4539 5787 6362 1486.",
        extracted={
            "card": 4539578763621486,
            "cardNumber": 4539578763621486.0,
            "CVV": 123,
            "securityCode": "456",
            "note": "5787 is the room",
            "rooms": 2,
            "paid": True,
        },
        actions=(
            Action(
                kind=ActionKind.MESSAGE,
                vendor_kind="SMS",
                name="Receipt",
                details={"text": "4539578763621486 was charged", "workflow_id": "4539578763621486"},
            ),
        ),
    )
    kept = prepared(call, CARDS)
    assert [turn.text for turn in kept.turns] == after(FOUR_PIECES)
    assert kept.summary == "Paid with [card ending 1486]."
    assert kept.extracted == {
        "card": "[card ending 1486]",
        "cardNumber": "[card ending 1486]",
        "CVV": "[security code]",
        "securityCode": "[security code]",
        "note": "5787 is the room",
        "rooms": 2,
        "paid": True,
    }
    assert kept.actions[0].details == {
        "text": "[card ending 1486] was charged",
        "workflow_id": "4539578763621486",
    }
    assert (kept.vendor_call_id, kept.parent_id, kept.from_number, kept.agent_id) == ("4539578763621486",) * 4
    assert prepared(call, Masking.OFF) == call
    assert prepared is synced_as


# --- speed

CHAT: Turns = [
    (A, "Thank you for calling Lakeside Dental, this is Ava. How may I help you today?"),
    (C, "Hi, I would like to move my appointment, the one that my husband made for this week."),
] * 13


def test_a_call_without_digits_is_left_alone_and_its_cost_reported() -> None:
    said = conversation(CHAT)
    took = [elapsed(masked_turns, said, CARDS) for _ in range(20)]
    microseconds = statistics.median(took) * 1e6
    print(f"\n26 turns without digits: {microseconds:.0f} \u00b5s")  # noqa: T201 - as above
    assert masked_turns(said, CARDS) == [text for _, text in CHAT]


def elapsed(work: Callable[..., object], *args: object) -> float:
    began = time.perf_counter()
    work(*args)
    return time.perf_counter() - began


@pytest.mark.timeout(15)
@pytest.mark.parametrize("text", ["four one one one", "1 " * 500, "cvv", "expires, card", "1234 what one"])
def test_a_long_call_has_no_slow_input(text: str) -> None:
    said = conversation([((A, C)[n % 2], text) for n in range(1_000 if len(text) < 99 else 40)])
    assert len(masked_turns(said, CARDS)) == len(said)
