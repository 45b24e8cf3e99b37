"""What strangers said is clean, masked and fenced before anybody reads it."""

import html
import json
import random
import re
import time
import unicodedata
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from call_logs.text import (
    Masking,
    clean,
    clean_tree,
    defang,
    fence,
    looks_secret,
    mask,
    new_mark,
    one_line,
    short,
    without_url_secrets,
)

CARDS = Masking.CARDS
VISIBLE_FORMAT = set(map(chr, (*range(0x600, 0x606), 0x6DD, 0x70F, 0x890, 0x891, 0x8E2, 0x110BD, 0x110CD)))
INVISIBLE = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2028\u2029\u2800\u3164\uffa0\ufe00-\ufe0f\ufdd0-\ufdef\U000e0000-\U000e0fff]"
)
NASTY = st.text(
    st.one_of(
        st.characters(),
        st.sampled_from("\ud83d\ude00\udfff\ud800\u200b\u202e\ufeff\r\n\t\0\u0301a<>![]()\U000e0041\ufe0f\u2028"),
    ),
    max_size=60,
)


def speak(digits: str) -> str:
    words = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
    return " ".join(words[int(digit)] for digit in digits)


# --- cleaning


@settings(max_examples=300, deadline=None)
@given(NASTY)
def test_nothing_that_clean_returns_is_invisible_or_encodes_badly(text: str) -> None:
    cleaned = clean(text)
    cleaned.encode()
    assert unicodedata.is_normalized("NFC", cleaned)
    assert not INVISIBLE.search(cleaned)
    for character in set(cleaned) - VISIBLE_FORMAT - {"\n", "\t"}:
        assert unicodedata.category(character) not in ("Cc", "Cf", "Cs")
        assert ord(character) & 0xFFFE != 0xFFFE
    assert clean(cleaned) == cleaned


def test_every_format_character_of_unicode_is_dropped_but_the_visible_number_signs() -> None:
    everything = "".join(map(chr, range(0x110000)))
    kept = {character for character in clean(everything) if unicodedata.category(character) == "Cf"}
    assert kept == VISIBLE_FORMAT


@settings(max_examples=100, deadline=None)
@given(st.text(st.characters(min_codepoint=32, max_codepoint=126) | st.sampled_from("\n\t")))
def test_plain_ascii_comes_back_as_it_was(text: str) -> None:
    assert clean(text) is text


def test_clean_joins_surrogate_pairs_and_replaces_lone_ones() -> None:
    assert clean("a\ud83d\ude00b") == "a\U0001f600b"
    assert clean("a\ud83db\ude00c") == "a\ufffdb\ufffdc"
    assert clean("\ud83d") == "\ufffd"


def test_clean_keeps_one_kind_of_line_break() -> None:
    assert clean("a\r\nb\rc\u2028d\u2029e\nf\tg") == "a\nb\nc\nd\ne\nf\tg"


def test_clean_composes_accents() -> None:
    assert clean("e\u0301\u200b") == "\u00e9"


def test_clean_is_fast() -> None:
    text = "Thanks for calling, how may I help you today?\n" * 20_000
    started = time.perf_counter()
    clean(text)
    assert time.perf_counter() - started < 0.2


def test_clean_tree_cleans_strings_and_keys_at_every_depth() -> None:
    dirty: Any = {"a\0": ["b\u200b", {"c": ("d\u202e", 1, True, None, 1.5)}]}
    assert clean_tree(dirty) == {"a": ["b", {"c": ("d", 1, True, None, 1.5)}]}


def test_clean_tree_makes_numbers_storable() -> None:
    read = json.loads(
        "[NaN, Infinity, -Infinity, 1e999, 9223372036854775807, 9223372036854775808, -9223372036854775809]"
    )
    assert clean_tree(read) == [None] * 4 + [2**63 - 1, "9223372036854775808", "-9223372036854775809"]


@pytest.mark.parametrize("depth", [201, 50_000])
def test_clean_tree_refuses_deep_nesting_without_crashing(depth: int) -> None:
    tree: Any = "leaf"
    for _ in range(depth):
        tree = [tree]
    with pytest.raises(ValueError, match="nested deeper"):
        clean_tree(tree)


def test_clean_tree_reads_two_hundred_levels() -> None:
    tree: Any = "leaf\0"
    for _ in range(200):
        tree = {"a": tree}
    cleaned = clean_tree(tree)
    for _ in range(200):
        cleaned = cleaned["a"]
    assert cleaned == "leaf"


# --- masking


@pytest.mark.parametrize(
    "said",
    [
        "4111111111111111",
        "4111 1111 1111 1111",
        "4111-1111-1111-1111",
        "4111, 1111, 1111, 1111.",
        "411-111-1111 111111",
        "4 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1",
        speak("4111111111111111"),
        "Four one one one, one one one one. One one one one, uh, one one one one",
        "four triple one and then quadruple one quadruple one, um, quadruple one",
        "forty-one eleven eleven eleven eleven eleven eleven eleven",
        "four 111 eleven 11 double one 1111 11 double one",
        "cuatro uno uno uno, uno uno uno uno, uno uno uno uno y uno uno uno uno",
        "cuarenta y uno once once once once once once once",
        "\uff14\uff11\uff11\uff11 1111 1111 1111",
    ],
)
def test_a_card_is_masked_however_it_is_said(said: str) -> None:
    masked = mask(f"my card is: {said}", CARDS)
    assert masked.startswith("my card is: [card ending 1111]")
    assert not re.search(r"\d", masked.replace("[card ending 1111]", ""))


@pytest.mark.parametrize(
    "card",
    [
        *("378282246310005", "5555555555554444", "2223003122003222", "6011111111111117", "30569309025904"),
        *("3530111333300000", "6200000000000005", "4222222222222", "6304000000000000", "4000000000000000006"),
    ],
)
def test_cards_of_every_issuer_are_masked(card: str) -> None:
    assert mask(f"it's {card}, ok", CARDS) == f"it's [card ending {card[-4:]}], ok"
    assert mask(f"it's: {speak(card)}", CARDS) == f"it's: [card ending {card[-4:]}]"


def test_cards_are_found_with_other_numbers_around_them() -> None:
    card, last = "4111 1111 1111 1111", "[card ending 1111]"
    assert mask(f"{card} and 5555555555554444", CARDS) == f"{last} and [card ending 4444]"
    assert mask(f"{card} 12 27 123", CARDS).startswith(last)
    assert mask(f"call 415-555-0123 then {card}", CARDS) == f"call 415-555-0123 then {last}"
    spoken = speak("4111111111111111")
    assert mask(f"that one, {spoken}, and one more", CARDS) == f"that one, {last}, and one more"
    assert mask(f"{spoken} zero one two eight", CARDS).startswith(last)


@pytest.mark.parametrize(
    "said",
    [
        "call me at (415) 555-0123 or 415.555.0124, or +1 415 555 0125",
        "call 4155550123 4155550124",
        "four one five five five five zero one two three, again four one five five five five zero one two three",
        "+4915123456789 +4222222222222",
        "order 4111111111111112 and 1234567890123456",
        "at 1700000000000, 1700000000000000, 2026-11-19T14:50:01.123456Z, 20261119145001",
        "2026-11-19 2026-11-20 2026-11-21 2026-11-22",
        "41111111-1111-4111-8111-111111111111",
        "id a4111111111111111 and 4111111111111111b and x_4111111111111111",
        "one moment, the two of us will be there at one or two, once more",
        "security code 482913 was texted",
        "it expires on 12/27/2026 at 14:50, or 2026-11-19, or in 24 hours",
        "the lease expires in March 2027",
        "vence el 05/12",
        "I bought a validated ticket for 12 27 people",
    ],
)
def test_other_numbers_are_left_alone(said: str) -> None:
    assert mask(said, CARDS) == said


def test_phone_numbers_said_at_random_are_left_alone() -> None:
    dice = random.Random(7)
    for _ in range(500):
        phone = f"{dice.randint(200, 999)}{dice.randint(200, 999)}{dice.randint(0, 9999):04}"
        said = f"it is {phone}, that is {speak(phone)}. {phone[:3]}-{phone[3:6]}-{phone[6:]}"
        assert mask(said, CARDS) == said


def test_random_uuids_are_left_alone() -> None:
    for _ in range(200):
        assert mask(said := f"call {uuid4()}", CARDS) == said


@pytest.mark.parametrize(
    ("said", "masked"),
    [
        ("the CVV is 123.", "the CVV is [security code]."),
        ("security code? one two three four", "security code? [security code]"),
        ("security code, the one on the back, is 123", "security code, the one on the back, is [security code]"),
        ("c\u00f3digo de seguridad: uno dos tres", "c\u00f3digo de seguridad: [security code]"),
        ("expires 12/27", "expires [expiry]"),
        ("expiration date is 04 / 2029", "expiration date is [expiry]"),
        ("it expires oh four twenty nine", "it expires [expiry]"),
        ("vence doce veintisiete", "vence [expiry]"),
        ("CVV and expiration? 12/27 and 123", "CVV and expiration? [expiry] and [security code]"),
        ("CVV 4111 1111 1111 1111 123", "CVV [card ending 1111] [security code]"),
        ("the card expires March 2027", "the card expires [expiry]"),
    ],
)
def test_security_codes_and_expiry_dates_are_masked_after_their_cue(said: str, masked: str) -> None:
    assert mask(said, CARDS) == masked


def test_digits_masking_hides_every_longer_number() -> None:
    said = "call (415) 555-0123, pin 4 5 6 7, order ORD-12345, room 12, card 4111 1111 1111 1111, one two three four"
    assert mask(said, Masking.DIGITS) == (
        "call [digits], pin [digits], order ORD-[digits], room 12, card [card ending 1111], [digits]"
    )


def test_masking_can_be_off() -> None:
    assert mask("4111111111111111", Masking.OFF) == "4111111111111111"


NUMBERISH = st.lists(
    st.sampled_from(
        [
            "4111",
            "1111",
            "4",
            "1",
            "one",
            "eleven",
            "double",
            "forty",
            "uno",
            "y",
            "cvv",
            "expires",
            "12/27",
            "123",
            "-",
            ",",
            ".",
            "card",
            "+",
            "/",
            "a",
            "2027",
        ]
    ),
    max_size=30,
).map(" ".join)


@settings(max_examples=200, deadline=None)
@given(NUMBERISH, st.sampled_from(Masking))
def test_masking_twice_changes_nothing_more(said: str, masking: Masking) -> None:
    once = mask(said, masking)
    assert mask(once, masking) == once


@settings(max_examples=100, deadline=None)
@given(st.text(st.characters(exclude_categories=["N"]), max_size=40), st.sampled_from(" -.,"))
def test_no_surroundings_keep_a_printed_card(around: str, separator: str) -> None:
    card = separator.join(("4111", "1111", "1111", "1111"))
    assert card not in mask(f"{around}: {card}; {around}", CARDS)


@pytest.mark.parametrize(
    "text", ["4 " * 20_000, "4" * 50_000, "cvv 1 a " * 5_000, "expires 1 a " * 5_000, "one " * 20_000]
)
def test_masking_has_no_slow_input(text: str) -> None:
    started = time.perf_counter()
    mask(text, Masking.DIGITS)
    assert time.perf_counter() - started < 3


# --- shortening and secrets


def test_short_cuts_between_words() -> None:
    assert short("hello  world\nagain", 40) == "hello world again"
    assert short("hello world again", 12) == "hello world\u2026"
    assert short("hello world again", 11) == "hello\u2026"
    assert short("abcdefghij", 5) == "abcd\u2026"


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=80), st.integers(0, 60))
def test_short_is_one_line_and_never_too_long(text: str, limit: int) -> None:
    shown = short(text, limit)
    assert len(shown) <= limit
    assert "\n" not in shown
    assert shown == " ".join(text.split()) or not limit or shown.endswith("\u2026")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("see https://user:pw@x.com/a/b?sig=1#f now", "see https://x.com/a/b now"),
        ("HTTPS://x.com#f and http://a@b/c?d", "HTTPS://x.com and http://b/c"),
        ("https://medium.com/@me and a?b#c", "https://medium.com/@me and a?b#c"),
        ('{"url":"https://x/y?z=1","n":2}', '{"url":"https://x/y","n":2}'),
        ("https://u:p@ss@x.com/", "https://x.com/"),
    ],
)
def test_urls_lose_user_query_and_fragment(text: str, shown: str) -> None:
    assert without_url_secrets(text) == shown


@pytest.mark.parametrize(
    "text",
    [
        "Bearer abc123def456",
        "Authorization: Basic dXNlcjpwYXNz",
        "Basic dXNlcjpwYXNz",
        "sk_live_abc123",
        "pit-550e8400-e29b-41d4-a716-446655440000",
        "eyJhbGciOi.eyJzdWIiOiI.sig",
        "key=abcd1",
        "token: zzzzz",
        '{"access_token": "abcd"}',
        "https://x/?sig=abcde",
        "https://user:pass@host/",
        "AKIAIOSFODNN7EXAMPLE",
        "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
        "-----BEGIN RSA PRIVATE KEY-----",
        "5f4dcc3b5aa765d61d8327deb882cf99",
        "it is xK9dP2mQ7rT4vW8yB3nF6hJ1 indeed",
    ],
)
def test_credentials_look_secret(text: str) -> None:
    assert looks_secret(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Mar\u00eda del Carmen Fern\u00e1ndez-Guti\u00e9rrez",
        "1600 Pennsylvania Avenue NW, Washington, DC 20500",
        "john.q.public.the.third2024@example.co.uk",
        "+1 (415) 555-0123",
        "ORD-12345",
        "order-confirmation-2026-11-19-final-12345",
        "2026-11-19T14:50:00.123456+00:00",
        "550e8400-e29b-41d4-a716-446655440000",
        "call_550e8400-e29b-41d4-a716-446655440000",
        "5f8d0d55b54764421b7156c9",
        "ve9EPM428h8vShlRW1KT",
        "Basic plan information",
        "bearer certificates",
        "Key: front door",
        "turkey: sandwich12",
        "https://example.com/Some-Long-Path/Article2024-About-Things",
    ],
)
def test_ordinary_values_do_not_look_secret(text: str) -> None:
    assert not looks_secret(text)


# --- fencing


def test_marks_are_random_hex() -> None:
    marks = {new_mark() for _ in range(50)}
    assert len(marks) == 50
    assert all(re.fullmatch(r"[0-9a-f]{16}", mark) for mark in marks)


HOSTILE = st.lists(
    st.sampled_from(
        ["<", ">", "<<<quotes ", " quotes>>>", "0123456789abcdef", "0123", "456789abcdef", "\n", "![", "](x)"]
    )
    | st.text(max_size=3),
    max_size=25,
).map("".join)


@settings(max_examples=300, deadline=None)
@given(HOSTILE)
def test_no_input_can_produce_the_boundary(body: str) -> None:
    mark = "0123456789abcdef"
    fenced = fence(body, mark)
    opening, closing = f"<<<quotes {mark}\n", f"\n{mark} quotes>>>"
    assert fenced.startswith(opening)
    assert fenced.endswith(closing)
    inside = fenced[len(opening) : -len(closing)]
    assert mark not in inside
    assert not re.search("<<<|>>>", inside)


MARKUP = MarkdownIt("commonmark", {"html": True})
ACTIVE = {"link_open", "image", "html_inline", "html_block"}
MARK = "0123456789abcdef"
FRAGMENTS = (
    *(
        "<",
        ">",
        "</",
        "<!--",
        "-->",
        "<![CDATA[",
        "<?",
        "<img src=x onerror=alert(1)>",
        "<script>",
        "<svg/onload=",
        "</a>",
    ),
    *(
        "&lt;",
        "&lt",
        "&LT;",
        "&#60;",
        "&#x3c;",
        "&amp;lt;",
        "&amp;amp;lt;",
        "&gt;",
        "&lbrack;",
        "&#91;",
        "&excl;",
        "&",
        ";",
    ),
    *(
        "![",
        "!",
        "[",
        "]",
        "](",
        "]:",
        "] (",
        ")",
        "!!![",
        "\\",
        "`",
        "```",
        "[a]: https://evil.example",
        "[a]",
        "[a][b]",
    ),
    *("](https://evil.example/?q=)", "![x](https://evil.example/p.png)", "<https://evil.example>", "<a@evil.example>"),
    *(
        "<<<",
        ">>>",
        "<<<quotes ",
        " quotes>>>",
        "\uff1c",
        "\uff1e",
        "\u2039",
        "\u203a",
        "\u226a",
        "\u300b",
        "\u22d9",
        "\u276f",
    ),
    *(
        MARK,
        MARK[:5],
        MARK[5:],
        "quotes",
        "\n",
        "\r\n",
        "\u2028",
        "\x85",
        "\t",
        " ",
        "agent: ",
        "7 [0:12] agent: ",
        "bot:",
    ),
    *(
        "\u200b",
        "\u202e",
        "\u2066",
        "\ufeff",
        "\u00ad",
        "\U000e0041",
        "\ufe0f",
        "\ud83d",
        "\udc00",
        "\0",
        "\x1b[31m",
        "img",
    ),
    *("a", "\u00e9", "e\u0301", "\U0001f600", "script", "javascript:alert(1)", "| a |", "# ", "- ", "    ", "\u2800"),
)


def harmless(text: str) -> None:
    """Whatever was said, the fence holds, and nothing within it is unseen or renders as more than text."""
    fenced = fence(text, MARK)
    opening, closing = f"<<<quotes {MARK}\n", f"\n{MARK} quotes>>>"
    assert fenced.startswith(opening)
    assert fenced.endswith(closing)
    inside = fenced[len(opening) : -len(closing)]
    assert MARK not in clean(inside)
    assert not re.search("[<\uff1c\u2039\u226a\u276e]{3}|[>\uff1e\u203a\u226b\u276f]{3}", inside)
    assert clean(inside) == inside == defang(inside)
    for read in (inside, once := html.unescape(inside), html.unescape(once)):
        kinds = {part.type for token in MARKUP.parse(read) for part in (token, *(token.children or ()))}
        assert not kinds & ACTIVE, (text, read)
        assert not re.search(r"<[A-Za-z/!?]|!\[|\][(:]", read)
    assert not re.search(r"[\n\r\v\f\x1c-\x1e\x85\u2028\u2029]", one_line(clean(text)))


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from(FRAGMENTS) | st.text(max_size=4), max_size=20).map("".join))
def test_nothing_in_a_fence_closes_it_hides_or_renders(text: str) -> None:
    harmless(text)


@pytest.mark.slow
def test_nothing_in_a_fence_closes_it_hides_or_renders_in_50_000_texts() -> None:
    dice = random.Random(50_000)
    for _ in range(50_000):
        harmless("".join(dice.choices(FRAGMENTS, k=dice.randint(1, 14))))


def test_defanging_keeps_the_words() -> None:
    assert defang("![a](https://x/y)") == "[a] (https://x/y)"
    assert defang("see [a](b) and [c]: d") == "see [a] (b) and [c] : d"
    assert defang("<img src=x> 1 < 2 << 3 <<<< 4 \uff1c\uff1c\uff1c") == "< img src=x> 1 < 2 << 3 < < < < 4 < < <"
    assert defang("&lt;b&gt; &#60;i &amp;lt;") == "& lt;b& gt; & #60;i & amp;lt;"
    for plain in (
        "Nothing to see, 5 > 4!",
        "AT&T, R&D & Q&A; https://example.com/a?b=1&c=2",
        "<3 [sic] (see) wow! [x]",
    ):
        assert defang(plain) == plain


@settings(max_examples=100, deadline=None)
@given(st.text())
def test_one_line_is_one_line_for_every_reader(text: str) -> None:
    assert len(one_line(text).splitlines()) <= 1
