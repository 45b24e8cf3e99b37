"""Cleaning and fencing of what strangers said; it does not know who said it, nor where it is kept.

`clean` makes text harmless to encode and leaves nothing in it that a reader cannot see; `mask` then takes out
payment cards before anything is stored; `fence` marks quotes in an answer.
"""

import base64
import binascii
import re
import secrets
import unicodedata
from enum import StrEnum
from math import isfinite
from typing import Any, cast

# --- cleaning --------------------------------------------------------------------------------------------------------

_DEEPEST = 200
_DIGIT = re.compile(r"\d")
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
        return _clean_dict(cast("dict[Any, Any]", value), levels - 1)
    items: list[Any] = []
    for inner in cast("list[Any] | tuple[Any, ...]", value):
        items.append(_clean_tree(inner, levels - 1))  # noqa: PERF401 - a comprehension is one more frame a level
    return tuple(items) if isinstance(value, tuple) else items


def _clean_dict(value: dict[Any, Any], levels: int) -> dict[Any, Any]:
    tree: dict[Any, Any] = {}
    for key, inner in value.items():
        name = key if type(key) is str and key.isascii() and key.isprintable() else _clean_name(key)
        kind = cast("type[Any]", type(inner))
        # As `_clean_tree`, but for most of what is met: a call a value would take twice as long.
        if kind is str:
            tree[name] = inner if inner.isascii() and inner.isprintable() else clean(inner)
        elif inner is None or (kind is float and isfinite(inner)):
            tree[name] = inner
        else:
            tree[name] = _clean_tree(inner, levels)
    return tree


def _clean_name(key: Any) -> Any:
    return clean(key) if isinstance(key, str) else key


# --- masking ---------------------------------------------------------------------------------------------------------


class Masking(StrEnum):
    """How much of the numbers in spoken text is hidden: payment cards, every run of four or more digits, nothing."""

    CARDS = "cards"
    DIGITS = "digits"
    OFF = "off"


def mask(text: str, masking: Masking) -> str:
    """The text without payment card numbers (only the last four digits stay), security codes and expiry dates.

    Written digits count, and numbers spoken in English or Spanish. A card has a known issuer's prefix and length and
    passes Luhn; phone numbers, order numbers, times and UUIDs stay. `Masking.DIGITS` also hides every run of four or
    more digits. Expects clean text; masking twice changes nothing more.
    """
    if masking is Masking.OFF:
        return text
    from call_logs.masking import masked  # noqa: PLC0415 - its patterns take a while to compile

    return masked(text, masking)


# --- shortening, and what must not be shown ---------------------------------------------------------------------------


def one_line(text: str) -> str:
    """The text with its line breaks and runs of spaces as single spaces: it cannot begin a line of its own."""
    return " ".join(text.split())


def short(text: str, limit: int) -> str:
    """The text on one line of at most `limit` characters, ending in "…" where it was cut.

    It is cut between words, unless that would give away more than half of the room.
    """
    line = one_line(text)
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
    r"|(?<![A-Za-z])key[\"']?\s*(?:=\s*[\"']?[^\s\"']{4,}|:\s*[\"']?(?=\S{0,200}\d)[^\s\"']{6,})",
    re.IGNORECASE,
)
_BEARER = re.compile(r"\bbearer\s+(?=\S{0,200}\d)[\w.~+/=-]{8,}", re.IGNORECASE)
_BASIC = re.compile(r"\bbasic\s+([A-Za-z0-9+/]{6,}={0,2})(?![\w+/=])", re.IGNORECASE)
_NO_SECRET = re.compile(
    r"(?<![0-9A-Za-z])(?:[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}|[0-9a-f]{24})(?![0-9A-Za-z])"
    r"|(?<![\w.+-])[\w.+-]+@[\w-]+(?:\.[\w-]+)+"  # tried once a run of letters, or a long one would take hours
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
_TAG = re.compile(r"[<\uff1c\ufe64](?=[A-Za-z/!?])")
# What decodes to "<", "[" and the like, once or twice; HTML knows some names without their semicolon.
_ENTITY = re.compile(r"&(?=#|(?:amp|lt|gt|quot)|[A-Za-z][A-Za-z0-9]{1,31};)", re.IGNORECASE)
_LEFT_RUN = re.compile(
    "[<\uff1c\ufe64\u2039\u226a\u300a\u00ab\u02c2\u1438\u276c\u276e\u2770\u27e8\u27ea\u2329\u3008]{3,}"
)
_RIGHT_RUN = re.compile(
    "[>\uff1e\ufe65\u203a\u226b\u300b\u00bb\u02c3\u1433\u276d\u276f\u2771\u27e9\u27eb\u232a\u3009]{3,}"
)


def new_mark() -> str:
    """A mark for the fences of one answer: 16 random hex characters, which nobody on a call can know."""
    return secrets.token_hex(8)


def defang(text: str) -> str:
    """The text with nothing in it that renders, links or looks like a fence.

    Markdown images and links lose what makes them so; HTML tags and entities, and runs of three or more angle brackets,
    are broken up by spaces. A bare address stays as it was said. Expects clean text; defanging twice changes nothing more.
    """
    if text.isascii() and not any(sign in text for sign in "&[]<>"):
        return text
    text = _ENTITY.sub("& ", _LINK.sub("] ", _IMAGE.sub("[", text)))
    text = text.replace("\u22d8", "<<<").replace("\u22d9", ">>>")
    text = _LEFT_RUN.sub(lambda run: " ".join("<" * len(run.group())), text)
    text = _RIGHT_RUN.sub(lambda run: " ".join(">" * len(run.group())), text)
    return _TAG.sub("< ", text)


def fence(body: str, mark: str) -> str:
    """The body, clean and defanged, between two boundary lines that carry the mark; the mark never stands within."""
    body = clean(body)
    while mark and mark in body:
        body = body.replace(mark, "")
    return f"<<<quotes {mark}\n{defang(body)}\n{mark} quotes>>>"
