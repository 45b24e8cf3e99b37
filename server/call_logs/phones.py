"""Phone numbers as vendors write them and as people type them; it does not know whose number it is."""

import re
from functools import lru_cache

from call_logs.errors import BadQuery
from call_logs.text import clean

_NUMBER = re.compile(r"(?=\D*\d)[+\d\s()./\u00b7\u2010-\u2015\u2212-]+")
_EXTENSION = re.compile(r"[\s,;]*(?:ext(?:ension|n)?\b\.?|;ext=|x|#)\s*:?=?\s*\d{1,7}\s*$", re.IGNORECASE)
_SCHEME = re.compile(r"(sips?|tel|phone):(?://)?", re.IGNORECASE)
_FEWEST_DIGITS = 4
_LONGEST_TAIL = 6
_SHORTEST_DIALLED_ABROAD = 13  # 011, a country code and a number
_MOST_WORDS = 3
_LONGEST_ADDRESS = 128


@lru_cache(maxsize=8192)
def e164(raw: str | None, region: str | None = None) -> str | None:
    """The number in E.164 where it is a possible one, else the text as it came, clean and stripped; None when empty.

    Without `region` (ISO 3166, such as "US") only numbers with a country code are understood. Possible is enough:
    numbers for fiction and examples stay numbers. SIP URIs and words ("anonymous") are kept, sentences are not: a caller
    may write what is called a number. Never raises.
    """
    text = " ".join(clean(raw or "").split())
    bare = _EXTENSION.sub("", _SCHEME.sub("", text, count=1))
    if not text or "@" in text or not _NUMBER.fullmatch(bare):
        return text if text and len(text) <= _LONGEST_ADDRESS and len(text.split()) <= _MOST_WORDS else None
    import phonenumbers  # noqa: PLC0415 - its tables cost more to load than the rest of this package

    try:
        number = phonenumbers.parse(bare, region)
    except phonenumbers.NumberParseException:
        return text
    # Stricter than is_possible_number, which takes "555-0123" for a whole number.
    if phonenumbers.is_possible_number_with_reason(number) != phonenumbers.ValidationResult.IS_POSSIBLE:
        return text
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)


@lru_cache(maxsize=8192)
def digits(raw: str) -> str:
    """The digits of a number as stored, without plus; of a SIP URI those of its user, if that is a number; else ""."""
    return _ascii_digits(_dialled(raw))


def suffix(query: str) -> str:
    """The digits of a typed number that a stored one must end with.

    Formatting, an extension, an international prefix (+, 00, 011) and a trunk zero are left out; the last few digits
    alone will do. Raises BadQuery for fewer than four digits.
    """
    number = _dialled(query).replace("(0)", "").strip()
    found = _ascii_digits(number)
    if not number.startswith("+"):
        if found.startswith("00"):
            found = found[2:]
        elif found.startswith("011") and len(found) >= _SHORTEST_DIALLED_ABROAD:
            found = found[3:]
        elif found.startswith("0") and len(found) > _LONGEST_TAIL:
            found = found[1:]
    if len(found) < _FEWEST_DIGITS:
        raise BadQuery(
            f"Give at least {_FEWEST_DIGITS} digits of the phone number, for example its last four; or anonymous, for calls "
            "without a number."
        )
    return found


def _dialled(raw: str) -> str:
    """What one would dial: the number without scheme, host and extension; "" where there is none."""
    text = _SCHEME.sub("", " ".join(clean(raw).split()), count=1)
    user, at, _ = text.partition("@")
    if at:
        text = re.split("[:;]", user, maxsplit=1)[0].replace("%2B", "+").replace("%2b", "+")
    text = _EXTENSION.sub("", text)
    return text if _NUMBER.fullmatch(text) else ""


def _ascii_digits(text: str) -> str:
    return "".join(str(int(character)) for character in text if character.isdecimal())
