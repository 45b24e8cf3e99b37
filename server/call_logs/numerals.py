"""Numbers in words, English and Spanish, as people say them digit by digit or in pairs; without accents."""

UNITS = "zero one two three four five six seven eight nine", "cero uno dos tres cuatro cinco seis siete ocho nueve"
TEENS = (
    "ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen",
    "diez once doce trece catorce quince dieciseis diecisiete dieciocho diecinueve",
)
TENS = (
    "twenty thirty forty fifty sixty seventy eighty ninety",
    "veinte treinta cuarenta cincuenta sesenta setenta ochenta noventa",
)
TWENTIES = "veintiuno veintidos veintitres veinticuatro veinticinco veintiseis veintisiete veintiocho veintinueve"

ROUND = {word: f"{n}0" for words in TENS for n, word in enumerate(words.split(), 2)}
"""Tens, which a unit may follow: twenty (one)."""

DIGITS = {
    **{word: str(n) for words in UNITS for n, word in enumerate(words.split())},
    **{word: str(n) for words in TEENS for n, word in enumerate(words.split(), 10)},
    **{word: str(n) for n, word in enumerate(TWENTIES.split(), 21)},
    **ROUND,
    "oh": "0",
    "hundred": "00",
}
"""The digits that a word stands for."""

SPANISH = frozenset(" ".join((UNITS[1], TEENS[1], TENS[1], TWENTIES)).split())
