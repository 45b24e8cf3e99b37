"""The tokeniser and the query language: whatever is said or asked, in any script, becomes words and nothing else."""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from call_logs.errors import BadQuery
from call_logs.model import Call, Speaker, Turn
from call_logs.store import Filter
from call_logs.store.frequencies import Frequencies, counted_by, frequencies_of, is_counted
from call_logs.store.kept import LONGEST, Kept
from call_logs.store.parts import best_in
from call_logs.store.query import MAX_TERMS, Query, Term, parse
from call_logs.store.ranking import FORM, RERANKED, Weighted, counted_in, phrase_of, scored, text_of, weighted
from call_logs.store.sqlite import SQLiteStore
from call_logs.store.words import TURN, fold, tokens, tokens_of, words
from conftest import Asking

SCRIPTS = (
    "aZé ñẹ̀ọ́ß'’-\"*^{}:()|+¶_\x00\t\n0123456789०५४½²मुझेफ़ोन退款解約かなガ・ภาษา฿한국어عربيةآأעִבְרִית🎉👩‍👧\u202e\ufeff𝐑ﬁŉİı"
)
TEXTS = st.one_of(st.text(), st.text(alphabet=SCRIPTS, max_size=60))


def one(text: str) -> Term:
    """The only term of a query."""
    ((term,),) = parse(text).required
    return term


def found_by(text: str, query: str) -> bool:
    """Whether the words of a query stand in a text, in order."""
    return f" {' '.join(one(query).tokens)} " in f" {' '.join(tokens(text))} "


# Words


def test_case_does_not_matter() -> None:
    assert words("REFUND Refund refund") == ["refund"] * 3
    assert words("ÉCLAIR éclair") == ["eclair"] * 2
    assert words("ΛΌΓΟΣ λόγος λόγοσ") == ["λογοσ"] * 3


@pytest.mark.parametrize(
    ("said", "asked"),
    [
        ("Quiero la devolución mañana", "devolucion"),
        ("quiero la devolucion manana", "mañana"),
        ("Mo fẹ́ sanwó padà jọ̀wọ́", "jowo"),
        ("mo fe sanwo pada jowo", "jọ̀wọ́"),
        ("Ṣé ẹ lè ràn mí lọ́wọ́?", "lọwọ"),
        ("crème brûlée", "creme"),
        ("José", "Jose\u0301"),
        ("أهلا وسهلا", "اهلا"),
        ("שָׁלוֹם", "שלום"),
    ],
)
def test_diacritics_are_found_with_and_without(said: str, asked: str) -> None:
    assert found_by(said, asked)


@pytest.mark.parametrize("apostrophe", ["'", "\u2019", "\u02bc", "\u2018", "\u00b4", "`", "\uff07"])
def test_every_apostrophe_within_a_word_joins_it(apostrophe: str) -> None:
    assert words(f"I don{apostrophe}t") == ["i", "dont"]
    assert words(f"l{apostrophe}été") == ["lete"]
    assert words(f"don{apostrophe}{apostrophe}t") == ["dont"]


def test_a_quoted_word_is_the_word_itself() -> None:
    assert words("'refund' ‘refund’ “refund”") == ["refund"] * 3


def test_sharp_s_is_double_s() -> None:
    assert words("Straße STRASSE straẞe") == ["strasse"] * 3


def test_ligatures_and_wide_and_decorated_letters_are_the_letters() -> None:
    assert words("oﬃce ＡＢＣ 𝐑𝐞𝐟𝐮𝐧𝐝 ℡") == ["office", "abc", "refund", "tel"]


def test_hindi_words_keep_their_vowel_signs() -> None:
    assert words("मुझे पैसे वापस चाहिए।") == ["मुझे", "पैसे", "वापस", "चाहिए"]
    assert not found_by("मुझे पैसे", "म")


@pytest.mark.parametrize(
    ("said", "asked"),
    [
        ("我想要退款，谢谢", "退款"),
        ("契約を解約したいです", "解約"),
        ("キャンセルしてください", "キャンセル"),
        ("ต้องการคืนเงินค่ะ", "คืนเงิน"),
        ("ຂໍຄືນເງິນ", "ຄືນ"),
        ("ငွေပြန်အမ်း", "ပြန်"),
    ],
)
def test_scripts_without_spaces_are_found_by_any_run_of_characters(said: str, asked: str) -> None:
    assert found_by(said, asked)
    assert len(one(asked).tokens) == len(asked)


def test_characters_in_another_order_are_not_found() -> None:
    assert not found_by("我想要退款", "款退")


def test_korean_words_are_whole() -> None:
    assert words("환불을 원해요") == ["환불을", "원해요"]


def test_symbols_between_letters_are_no_words() -> None:
    assert words("฿500 フォー・シーズンズ ¶ _ ॰ 🎉") == ["500", *"フォーシーズンズ"]


# Numbers, codes, names and addresses


def finds(query: str, said: str) -> bool:
    """Whether each part of the query stands in the turn in one of its ways."""
    text = f" {' '.join(tokens(said))} "
    return all(
        any(f" {' '.join(term.tokens)}{'' if term.prefix else ' '}" in text for term in part)
        for part in parse(query).required
    )


SAME = {
    "phone": [
        "555-0122",
        "555 0122",
        "five five five, oh one double two",
        "5 5 5 0 1 2 2",
        "five five five dash zero one two two",
        "triple five oh one twenty two",
        "cinco cinco cinco cero uno dos dos",
        "cinco cinco cinco guión cero uno veintidós",
        "５５５－０１２２",
        "٥٥٥ ٠١٢٢",
    ],
    "phone with area": [
        "(206) 555-0122",
        "206.555.0122",
        "2065550122",
        "two oh six, five five five, oh one two two",
        "206 five five five 0122",
        "dos cero seis cinco cinco cinco cero uno doble dos",
    ],
    "order": ["882417", "8 8 2 4 1 7", "882-417", "eight eight two, four one seven", "88 24 17", "ocho ocho dos cuatro uno siete"],
    "order with a letter": ["E-882417", "E882417", "E 882417", "e eight eight two four one seven", "E, 8 8 2 4 1 7", "#E-882-417"],
    "order with letters": ["LD-20418", "LD20418", "L D two oh four one eight", "L-D-2-0-4-1-8"],
    "postcode": ["K1A 0B6", "K1A0B6", "k one a zero b six"],
    "address": [
        "ana.lopez@example.com",
        "Ana.Lopez@Example.COM",
        "ana dot lopez at example dot com",
        "a n a dot l o p e z at example dot com",
        "A-N-A punto lopez arroba example punto com",
        "ana, period, L-O-P-E-Z, at example dot com",
        "ana.lópez arroba example.com",
    ],
    "address with digits": [
        "ana_lopez22@example.co.uk",
        "ana underscore lopez twenty two at example dot co dot uk",
        "ana guion bajo lopez dos dos arroba example punto co punto uk",
    ],
    "name": ["Lopez", "L-O-P-E-Z", "l o p e z", "L, O, P, E, Z", "L as in Lima O P E Z", "L de Lima, O, P, E, Z"],
    "name with a double letter": ["Wallace", "W-A-double L-A-C-E", "w a l l a c e"],
    "site": ["example.com", "www.example.com", "example dot com", "www punto example punto com"],
    "price": ["$1,299", "1299", "$1,299.00"],
    "hundreds": ["331", "three hundred thirty-one", "three hundred and thirty one"],
    "hyphen": ["e-mail", "email", "E-mail"],
}  # fmt: skip


@pytest.mark.parametrize("name", SAME)
def test_however_it_is_said_it_is_found_however_it_is_asked(name: str) -> None:
    for said in SAME[name]:
        for asked in SAME[name]:
            assert finds(asked, f"Well, it is {said}, please."), (asked, said)
            assert finds(f"refund {asked}", f"Refund, that is {said}. Thanks."), (asked, said)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("0122", "five five five oh one two two"),
        ("555-0122", "(206) 555-0122"),
        ("5550122", "206 555 0122"),
        ("8824*", "e eight eight two four one seven"),
        ("882417", "order E882417"),
        ("882417", "e eight eight two four one seven"),
        ("lopez", "ana dot l o p e z at example dot com"),
        ("lopez@example.com", "ana dot lopez at example dot com"),
        ("@example.com", "ana dot lopez at example dot com"),
        ("example.com", "A-N-A arroba example punto com"),
        ("ana.lopez@example.com", "my e-mail is ana lopez at example dot com"),
        ("analopez@example.com", "it's ana lopez at example dot com"),
        ("4417", "[card ending 4417]"),
        ("214", "extension two one four"),
    ],
)
def test_who_knows_a_part_finds_it(asked: str, said: str) -> None:
    assert finds(asked, said)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("4999", "It is $49.99"),
        ("330", "at 3:30"),
        ("330", "at 3:30 pm"),
        ("4999", "49,99 euros"),
        ("10122026", "on 10/12/2026"),
        ("203", "dos o tres"),
        ("203", "two or three"),
        ("10203", "uno o dos o tres"),
        ("5550123", "five five five oh one two two"),
        ("555-0123", "555-0122 and 555-0124"),
        ("ana@example.com", "hanna@example.com"),
        ("lopez", "l o p"),
        ("fortyone", "forty-one"),
        ("examplecom", "for example. Come in"),
        ("homeso", "look at home.So"),
        ("whatdotcom", "look at that dot"),
    ],
)
def test_what_only_looks_like_a_number_or_an_address_is_none(asked: str, said: str) -> None:
    assert not finds(asked, said)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("49.99", "$49.99"),
        ("$49.99", "it is 49.99."),
        ("3:30", "at 3:30 pm"),
        ("1299.00", "$1,299.00"),
        ("1,299.00", "1299.00"),
    ],
)
def test_amounts_and_times_are_found_as_written(asked: str, said: str) -> None:
    assert finds(asked, said)


def test_two_numbers_in_a_row_are_both_found_joined() -> None:
    assert {"5550104477", "5550104478"} <= set(tokens("555-010-4477 555-010-4478"))
    assert "5550104477" in tokens("555-010-4477 2 times")
    assert "5550104477" in tokens("555-010-4477, 7")


@pytest.mark.parametrize("said", ["Dot.com.", "dot.com bubble", "at.com", "@.com", ".com", "period.io"])
def test_an_ending_without_a_name_before_it_is_a_word_like_others(said: str) -> None:
    assert tokens(said) == words(said)


def test_endless_digits_are_not_joined_as_a_whole() -> None:
    assert "12345678901234567" not in tokens("1234 5678 9012 34567")
    assert tokens("1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6") == words("1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6")


@pytest.mark.parametrize(
    "endless", ["1 a ", "double ", "a@b.", "a dot ", "five ", "1-", "l as in ", "at ", "1.", "a b 5 "]
)
@pytest.mark.timeout(15)
def test_a_turn_without_end_is_read(endless: str) -> None:
    assert len(tokens(endless * 20_000)) <= 20_000 * 5 + 50


@given(TEXTS)
def test_tokens_hold_letters_digits_and_marks_only(text: str) -> None:
    for token in tokens(text):
        assert token
        # Cn: letters of a newer Unicode than this Python's, in the blocks that go by character.
        assert all(
            unicodedata.category(character)[0] in "LNM" or unicodedata.category(character) == "Cn"
            for character in token
        )
        assert TURN not in token


SAID = (
    *(
        "don't",
        "'tis",
        "rock'n'roll",
        "a''b",
        "x`y",
        "don\u2019t",
        "e-mail",
        "ana dot lopez at example dot com",
        "www.x.io",
    ),
    *(
        "five five oh double one",
        "L-O-P-E-Z",
        "e 882417",
        "LD-20418",
        "$49.99",
        "\u00e9",
        "\u5929",
        "\x00",
        "",
        "b",
        "c",
    ),
    *("one hundred and five", "dot.com", "well - known", "k as in kilo", "\n", "\u0665\u0666", "12", "@", "-"),
)


@given(st.lists(st.one_of(TEXTS, st.lists(st.sampled_from(SAID), max_size=8).map(" ".join)), max_size=8))
@settings(deadline=None)
def test_turns_have_the_same_tokens_together_as_alone(texts: list[str]) -> None:
    assert tokens_of(texts) == [tokens(text) for text in texts]


@given(TEXTS)
def test_folding_twice_changes_nothing_more(text: str) -> None:
    assert fold(fold(text)) == fold(text)


@given(TEXTS)
def test_the_words_of_the_words_are_the_words(text: str) -> None:
    assert words(" ".join(words(text))) == words(text)


# Queries


def test_words_are_all_required() -> None:
    assert parse("refund Invoice").required == ((word("refund"),), (word("invoice"),))


@pytest.mark.parametrize(
    "quoted", ['"duplicate charge"', "“duplicate charge”", "«duplicate charge»", '"duplicate charge']
)
def test_a_phrase_is_one_term_in_any_quotes_closed_or_not(quoted: str) -> None:
    assert one(quoted) == Term(("duplicate", "charge"))


def word(token: str) -> Term:
    """A plain word, whose other forms count as well."""
    return Term((token,), inflected=True)


def test_a_word_of_several_words_is_a_phrase_and_with_a_hyphen_a_word_too() -> None:
    assert parse("e-mail").required == ((Term(("e", "mail")), word("email")),)
    assert one("退款") == Term(("退", "款"))


def test_or_and_a_bar_join_alternatives_and_and_is_no_word() -> None:
    assert parse("refund OR chargeback AND card").required == (
        (word("refund"), word("chargeback")),
        (word("card"),),
    )
    assert parse("a|b").required == ((Term(("a", "b")),),)
    assert parse("aa | bb").required == ((word("aa"), word("bb")),)


@pytest.mark.parametrize("query", ["OR refund", "refund OR", "AND refund", "refund AND OR", "| refund |"])
def test_dangling_operators_are_left_out(query: str) -> None:
    assert parse(query) == Query(((word("refund"),),))


def test_a_word_asked_twice_is_asked_once() -> None:
    assert parse("refund card refund") == parse("refund card")


def test_lower_case_or_is_a_word() -> None:
    assert len(parse("now or never").required) == 3


def test_minus_excludes_a_word_or_a_phrase_but_not_within_a_word() -> None:
    query = parse('refund -test -"wrong number" pre-paid')
    assert query.excluded == (word("test"), Term(("wrong", "number")))
    assert query.required == ((word("refund"),), (Term(("pre", "paid")), word("prepaid")))
    assert word("test") not in query.terms
    assert not parse('"duplicate charge"-back').excluded


def test_a_star_makes_a_prefix_of_three_letters_or_more() -> None:
    assert one("refund*") == Term(("refund",), prefix=True)
    assert one("refund*,") == Term(("refund",), prefix=True)
    short = parse("re*")
    assert short.required == ((word("re"),),)
    assert "re*" in short.notes[0]
    assert one("退*") == Term(("退",), prefix=True)


def test_a_number_in_groups_is_looked_for_joined_as_well() -> None:
    assert parse("555-010-4477").required == ((Term(("555", "010", "4477")), Term(("5550104477",))),)
    assert parse('"555-010-4477"').required == parse("555-010-4477").required
    assert parse("-555-010-4477 x").excluded == (Term(("555", "010", "4477")), Term(("5550104477",)))
    assert parse("555-01*").required == ((Term(("555", "01"), prefix=True), Term(("55501",), prefix=True)),)


def test_what_is_spelled_is_one_part_and_what_is_beside_it_others() -> None:
    query = parse("refund OR five five five oh one double two invoice")
    assert query.required == (
        (word("refund"), Term(tuple(words("five five five oh one double two"))), Term(("5550122",))),
        (word("invoice"),),
    )
    assert parse("5 5 5 0 1 2 2 -5 5 5").excluded == (Term(("5",)),)


def test_a_name_and_a_number_that_are_spelled_are_both_required() -> None:
    assert finds("l o p e z 5 5 5 0 1 2 2", "555-0122 is Lopez")
    assert not finds("l o p e z 5 5 5 0 1 2 2", "it is Lopez")
    assert not finds("l o p e z 5 5 5 0 1 2 2", "it is 555-0122")


def test_what_of_a_spelled_query_is_left_out_is_told() -> None:
    assert parse("5 " * 200).notes == parse("word " * 40).notes != ()


def test_figures_in_groups_may_be_apart() -> None:
    assert parse("2024 2025").required == (
        (Term(("2024",)), Term(("20242025",))),
        (Term(("2025",)), Term(("20242025",))),
    )


def test_an_address_within_a_longer_piece_is_not_looked_for_alone() -> None:
    assert one("http://example.com/?a=b").tokens == ("http", "example", "com", "a", "b")


def test_a_quoted_word_is_exact() -> None:
    assert parse('"refund"').required == ((Term(("refund",)),),)


def test_more_words_than_the_most_are_left_out_and_the_reader_is_told() -> None:
    query = parse(" ".join(f"word{n}" for n in range(MAX_TERMS + 1)))
    assert len(query.required) == MAX_TERMS
    assert str(MAX_TERMS) in query.notes[0]
    assert not parse(" ".join(f"word{n}" for n in range(MAX_TERMS))).notes


@pytest.mark.parametrize("query", ["", "   ", '""', "*", "-", "AND OR", "-refund", '-"wrong number"', "¶ 🎉 \x00 _"])
def test_a_query_with_nothing_to_look_for_is_refused_with_an_example(query: str) -> None:
    with pytest.raises(BadQuery, match="for example refund"):
        parse(query)


@given(TEXTS)
def test_any_text_is_a_query_or_a_bad_query(text: str) -> None:
    try:
        query = parse(text)
    except BadQuery:
        return
    assert query.required
    for term in (*query.terms, *query.excluded):
        assert term.tokens
        assert all(words(token) == [token] for token in term.tokens)


# Against a real index


HOSTILE = [
    *('"', '""', '"""', '"a', 'a"', '"a" "', "'", "''", "\\", '\\"', "`", ";", "--", "/*", "*/", "a*b", "**", "*a", "^a", "a^2", '"a"b', '"a""b"', "a'b'c", "`a`", "´", "a\x1cb", "a\u00a0b", "ﷺ", "ŉ", "'a", "a'", "…"),
    *("NEAR(", "NEAR(a b)", "NEAR(a b, 5)", "NEAR/2", "a NEAR b", "near", "NEAR", "NEAR()", "NEAR(a", "NEAR a)", "NEAR(,5)", "NOT", "NOT a", "a NOT", "a NOT b", "AND", "OR"),
    *("a AND", "AND a", "a OR", "OR OR", "a AND AND b", "()", "(a", "a)", "((a))", "{}", "{}:", "{a b}:c", "{customer}:a", "customer:a"),
    *("customer : a", "filters:ac1", "filters : ac1", "-filters:ac1", "words MATCH a", "rank", "rowid", "words", "a + b", "a+b", "+a", "a:b"),
    *(":a", "a:", "-", "--a", "-a", "- a", "-- a", "---", "a -", "a - b", '-"', '-"a', "-*", "a*", "ab*", "abc*", '"abc*"', '"abc"*', "abc**"),
    *("%", "%a%", "_", "?", "?1", ":match", "@a", "$a", "#a", "a,b", "a;b", "a=b", "<a>", "a&b", "a|b", "|", "||", "~a", "!a", "[a]", "a\\b"),
    *("'; DROP TABLE call; --", '"; DROP TABLE call; --', "' OR '1'='1", "1=1", "UNION SELECT * FROM account", "a' UNION SELECT 1--"),
    *("\x00", "a\x00b", "\x00a", "\n", "\r\n", "\t", "a\nb", "\x1b[31m", "\x7f", "\u0085", "\u2028", "\u200b", "\ufeff", "\u202e", "\ud800", "a\udfffb"),
    *("🎉", "a🎉b", "👩‍👧", "🇪🇸", "é", "e\u0301", "\u0301", "ß", "İ", "ﬁ", "½", "²", "①", "٣", "०", "退款", "ภาษา", "한", "ा", "\u0e3f", "¶", "a ¶ b"),
    *("e-mail", "don't", "don’t", "l'été", "a.b.c", "a/b", "http://example.com/?a=b&c=d", "user@example.com", "C++", "C#", ".NET", "3.14", "1e999"),
    *("NaN", "null", "None", "true", "-0", "0x41", "&amp;", "<script>", "../../etc/passwd", "${a}", "{{a}}", "%s%s%n", "\\u0041", "a" * 10_000),
    *("退" * 10_000, "a-" * 5_000, '"' * 10_000, "(" * 10_000, "*" * 10_000, "- " * 5_000, "a " * 5_000, '"a ' * 3_333, "555-" * 2_500),
    *(r"^\d{3}-\d{4}$", r"(refund|charge).*?", r"\bfoo\b", "(?i)abc", "[^a-z]+", ".*", "a{2,}", r"(a+)+$", '{"query": "refund"}', '["a", "b"]', '{"$ne": null}', '{"a":', "[1,2", "<b>a</b>", "<!-- x -->", "<a href='x'>", "&lt;b&gt;", "]]>", "<?xml?>", "a;rm -rf /", "$(id)", "|ls", "`id`", "{{7*7}}", "%00", "%27%20OR", "\\x00", "\\0"),
    *("{customer agent} : a", "- {filters} : ac1", "filters:*", "^customer", "a NEAR/5 b", 'NEAR("a b" c, 3)', "rowid:1", "rank MATCH 'bm25(10)'", "'a' & !'b'", "a <-> b", "a:*", "a:B*", "!!a", "to_tsquery('a')", "a & | b", "'" * 4, "E'\\x41'", "$$a$$", "--\n"),
    *("Ｒｅｆｕｎｄ", "ｒｅｆｕｎｄ　ｃａｒｄ", "１２３４", "（ａ）", "－ａ", "＂ａ＂", "a\u200bb", "a\u200db", "\u200d", "\u2060", "a\u00adb", "\u202eabc\u202c", "\u2066a\u2069", "\u061c", "\ufe0f", "\x00\x01", "\x85", "e" + "\u0301" * 500, "\u0301" * 300, "Z\u0351\u036b\u0343A\u0334\u0335L\u0360\u0328G\u0334\u033b", "ก" + "\u0e47" * 20, "שָׁלוֹם עולם", "مرحبا بالعالم", "\u0640" * 50, "हिन्दी", "日本語テキスト", "한국어 문장", "ไทย ภาษา", "ქართული", "Ελληνικά", "ᚠᛇᚻ", "𝓡𝓮𝓯𝓾𝓷𝓭", "🏳️‍🌈", "🇪🇸🇪🇸", "👍🏽", "\U0010ffff", "\ue000", "\ud83d", "\udc00\ud83d", 'a\ud800b "\udfff"'),
    *("1" * 100, "-" + "1" * 100, "1 " * 100, "12-" * 100, "0.1" * 50, "1e400", "555-0122-" * 20, "five " * 200, "double " * 300, "a " * 300, "a@b.com " * 150, "@" * 300, "at dot com " * 100, ".com", "@.com", "a@", "@a", "a@b", "a@b.", "at dot", "dot com", "L as in", "triple", "oh oh oh oh", "o o o o o", "y y y y", "one hundred hundred", "E-", "E-8", "E--882417", "#", "#1", "no. 5", "½ ⅓", "Ⅷ", "①②③④", "٣٤٥٦", "०१२३४", "५५५ ०१२२"),
    *("OR " * 3_333, "a OR " * 2_000, "-a " * 3_333, "\x00" * 10_000, "🎉" * 10_000, "ab* " * 2_500, "é" * 10_000, "1 " * 5_000),
]  # fmt: skip


OPERATORS_ONLY = re.compile(r"(?:OR|AND|\||\s)*")


def plain_words(text: str) -> list[str]:
    """The words of a query, as they would be said."""
    return words(text.replace('"', " "))


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SQLiteStore]:
    opened = SQLiteStore(Path(tmp_path_factory.mktemp("hostile")) / "calls.db")
    opened.open_account("acme", "highlevel")
    said = ["I want a refund, don't you see? e-mail me at 555-010-4477", "我想要退款 मुझे ß", "a b c near and or not"]
    turns = tuple(Turn(n=n, speaker=Speaker.CUSTOMER, text=text) for n, text in enumerate(said, 1))
    moment = datetime(2026, 9, 1, tzinfo=UTC)
    opened.save_page(
        "acme", [Call(account="acme", provider="highlevel", vendor_call_id="one", started_at=moment, turns=turns)]
    )
    yield opened
    opened.close()


def searched(store: SQLiteStore, text: str) -> None:
    for speaker, sort in ((None, "relevance"), ("customer", "newest"), ("unknown", "relevance")):
        try:
            page = store.search(parse(text), Filter(("acme",)), speaker=speaker, sort=sort)
        except BadQuery:
            return
        assert page.total_calls == len(page.hits)


def test_there_are_three_hundred_hostile_queries() -> None:
    assert len(set(HOSTILE)) >= 300


@pytest.mark.parametrize("number", range(0, len(HOSTILE), 20))
def test_hostile_queries_are_searched_or_refused_and_nothing_else(store: SQLiteStore, number: int) -> None:
    for text in HOSTILE[number : number + 20]:
        searched(store, text)


@pytest.mark.anyio
async def test_hostile_queries_through_the_tool_are_answered_or_told_that_there_is_nothing_to_look_for(
    asking: Asking,
) -> None:
    refused: set[str] = set()
    async with asking() as ask:
        for text in HOSTILE:
            answer = await ask("search_transcripts", query=text, limit=1)
            if answer.is_error:
                assert answer.text.startswith("The query has nothing to look for."), (text[:80], answer.text)
                refused.add(text)
            else:
                assert answer.body["total_calls"] >= len(answer.body["hits"])
        again = await ask("search_transcripts", query="refund")
    assert again.body["total_calls"] > 0
    assert {text for text in HOSTILE if not plain_words(text)} <= refused
    assert not [
        text for text in refused if plain_words(text) and "-" not in text and not OPERATORS_ONLY.fullmatch(text)
    ]


@settings(max_examples=150, deadline=None)
@given(TEXTS)
def test_any_text_is_searched_or_refused_and_nothing_else(store: SQLiteStore, text: str) -> None:
    searched(store, text)


def test_a_thousand_random_mixtures_of_syntax_are_searched_or_refused(store: SQLiteStore) -> None:
    random = Random(20261120)
    pieces = [*HOSTILE[:120], " ", " ", '"', "-", "*", " OR ", "refund"]
    for _ in range(1000):
        searched(store, "".join(random.choices(pieces, k=random.randint(1, 6))))


@pytest.mark.parametrize(
    "query",
    [
        *("refund", "REFUND!", "(refund", 'refund "', "refund AND", "refund OR nonsense", "refund -nonsense", "ref*"),
        *("dont", "don’t", "5550104477", "555-010-4477", "退款", "मुझे", "SS", "e-mail", '"want a refund"'),
    ],
)
def test_what_was_said_is_found_whatever_stands_around_it(store: SQLiteStore, query: str) -> None:
    assert store.search(parse(query), Filter(("acme",))).total_calls == 1


def test_no_query_reaches_the_filter_words(store: SQLiteStore) -> None:
    for text in ("ac1", "filters:ac1", "diunknown", "stunknown"):
        assert store.search(parse(text), Filter(("acme",))).total_calls == 0
    assert store.search(parse("refund -ac1 -diunknown"), Filter(("acme",))).total_calls == 1


# Ranking


def order(terms: Sequence[Weighted], *texts: str, by_texts: bool = False) -> list[tuple[float, int]]:
    """(score, number) of these calls (turns parted by a bar), best first; the last one is the newest."""
    said = [" ".join(text.replace("|", TURN).split()) for text in texts]
    columns = [[text, "", "", ""] for text in said]
    counts = [Counter(word for word in text.split() if word != TURN) for text in said]
    lines = [(n, Frequencies.of(frequencies_of(columns[n], counts[n]).encode())) for n in range(len(said))]
    whole = {n: text_of([column.encode() for column in columns[n]]) for n in range(len(said))}
    phrase = phrase_of(terms)
    phrased = {n for n, text in whole.items() if phrase and phrase in text}
    told = counted_by(lines, terms) if is_counted(terms) and not by_texts else counted_in(list(whole.items()), terms)
    return sorted(scored(told, terms, phrased, lambda keys: {key: whole[key] for key in keys}), reverse=True)


def best(query: str, *texts: str, forms: tuple[str, ...] = ()) -> int:
    """Which of these calls (turns parted by a bar) comes first; the others are newer."""
    terms = [weighted(replace(term, forms=forms if n == 0 else ()), 1.0) for n, term in enumerate(parse(query).terms)]
    return order(terms, *texts)[0][1]


FILLER = "and then i said that we would see about it in the morning"


@pytest.mark.parametrize(
    ("query", "first", "other"),
    [
        ("cracked lid", f"{FILLER} cracked lid {FILLER}", f"lid cracked {FILLER} lid cracked"),
        ("cracked lid", f"{FILLER} | a cracked lid | {FILLER}", "cracked | lid | cracked | lid"),
        ("kettle cracked lid", f"kettle with a cracked lid {FILLER}", f"lid cracked kettle {FILLER}"),
        ("kettle lid", f"kettle with lid {FILLER}", f"kettle {FILLER} lid"),
        ("cracked lid", f"cracked {FILLER} cracked lid", f"cracked the lid cracked my lid {FILLER}"),
        ("crac* lid", f"{FILLER} cracked lid", f"cracked the lid {FILLER}"),
    ],
)
def test_words_next_to_each_other_and_in_order_go_first(query: str, first: str, other: str) -> None:
    assert best(query, first, other) == 0


def test_the_words_as_a_phrase_go_first_however_many_newer_calls_hold_them_otherwise() -> None:
    assert (
        best("cracked kettle lid", f"cracked kettle lid {FILLER}", *["lid kettle cracked lid"] * (RERANKED + 50)) == 0
    )


def test_the_word_itself_goes_before_another_form_of_it() -> None:
    forms = ("refunded", "refunds")
    assert best("refund please", f"refund please {FILLER} okay", f"refunded please {FILLER}", forms=forms) == 0
    assert best("refund", f"refund {FILLER} okay", f"refunded {FILLER}", forms=forms) == 0
    assert best("refund please", f"{FILLER} refunded please", f"refund {FILLER} please", forms=forms) == 0


def test_another_form_goes_before_none() -> None:
    assert best("refund", f"refunded {FILLER}", FILLER, forms=("refunded", "refunds")) == 0
    assert best("pay", f"paid {FILLER}", FILLER, forms=("paid",)) == 0
    assert best("refund", f"refunded refunds {FILLER}", f"refund {FILLER}", forms=("refunded", "refunds")) == 0


def test_alternatives_need_not_stand_together() -> None:
    terms = [weighted(term, 1.0) for term in parse("refund OR chargeback").terms]
    scores = order(terms, f"refund {FILLER} chargeback", f"refund chargeback {FILLER}")
    assert len({score for score, _ in scores}) == 1


# Frequencies


@pytest.mark.parametrize("query", ["refund", "refund kettle", "12", "1", "owó", "send", "refu*", "the ref*"])
@pytest.mark.parametrize("seed", range(20))
def test_frequencies_tell_how_often_a_call_says_what_it_matches(query: str, seed: int) -> None:
    """As often as counting its words does, whatever else is said in it; forms that are said once only count for one."""
    rng = Random(f"{query} {seed}")
    forms = {"refund": ("refunded", "refunds"), "12": ("12th",), "send": ("sent", "sends")}
    likely = ["refund", "refunds", "refunded", "refuse", "kettle", "12", "1", "owó", "2", "the", "send", "sent"]
    terms = [weighted(replace(term, forms=forms.get(term.tokens[0], ())), 1.0) for term in parse(query).terms]
    said = [rng.choice(likely) for _ in range(rng.choice([0, 3, 30, 3000]))]
    said += [rng.choice([term.needle, *term.others]).decode().strip() for term in terms]  # what is ranked matches
    text = " ".join(said)
    line = frequencies_of([text, "", "", ""], Counter(said)).encode()
    found = counted_by([(7, Frequencies.of(line))], terms)
    assert list(found.calls) == [7]
    assert list(found.sizes) == [len(text_of([text.encode(), b"", b"", b""]))]
    for term, [count] in zip(terms, found.counts, strict=True):
        needle = term.needle.decode().strip()
        shares = {needle: 1.0} | {other.decode().strip(): FORM for other in term.others}
        if not term.needle.endswith(b" "):
            shares = {word: 1.0 for word in said if word.startswith(needle)}
        counted = sum(said.count(word) * share for word, share in shares.items() if said.count(word) > 1)
        assert count == pytest.approx(counted or 1)


def test_frequencies_tell_of_words_that_must_all_be_said() -> None:
    def told(query: str) -> bool:
        return is_counted([weighted(term, 1.0) for term in parse(query).terms])

    assert told("refund kettle par*")
    assert not told("refund OR kettle")
    assert not told('"refund kettle"')
    assert not told("refund 退款"), "a word a character"


@pytest.mark.parametrize("query", ["refund", "kettle lid", "lid refund"])
def test_by_frequencies_and_by_texts_calls_are_ranked_alike(query: str) -> None:
    """A question about what one speaker said is answered by the texts."""
    rng = Random(query)
    likely = [*FILLER.split(), "refund", "kettle", "lid", "parcel", "|"]
    texts = [
        f"refund {' '.join(rng.choices(likely, k=rng.randint(1, 90)))} kettle and lid of parcel" for _ in range(50)
    ]
    texts = [re.sub(r"\b(\w+)(?: \1\b)+", r"\1", text) for text in texts]  # a repeated word is one in a text
    terms = [weighted(term, n + 1.0) for n, term in enumerate(parse(query).terms)]
    assert order(terms, *texts) == order(terms, *texts, by_texts=True)


# What is kept


def test_what_the_index_holds_is_read_once_as_long_as_nothing_changes() -> None:
    asked: list[list[int]] = []

    def read(keys: list[int]) -> dict[int, bytes]:
        asked.append(keys)
        return {key: b"%d of %d" % (key, len(asked)) for key in keys}

    kept = Kept[bytes](1000, len)
    assert kept.of("1", [3, 2], read) == [(3, b"3 of 1"), (2, b"2 of 1")]
    assert kept.of("1", [4, 3, 2], read) == [(4, b"4 of 2"), (3, b"3 of 1"), (2, b"2 of 1")]
    assert kept.of("1", [2, 4], read) == [(2, b"2 of 1"), (4, b"4 of 2")]
    assert kept.of("2", [2, 4], read) == [(2, b"2 of 3"), (4, b"4 of 3")]
    assert asked == [[3, 2], [4], [2, 4]]


def test_of_too_much_what_was_used_last_is_kept_and_nothing_that_is_very_long() -> None:
    asked: list[int] = []

    def read(keys: list[int]) -> dict[int, bytes]:
        asked.extend(keys)
        return {key: b"a" * (LONGEST + 1 if key == 999 else LONGEST) for key in keys}

    kept = Kept[bytes](8 * LONGEST, len)
    for key in range(4):
        kept.of("1", [999, key], read)
    assert asked == [999, 0, 999, 1, 999, 2, 999, 3]
    for key in (4, 1, 5, 6, 7):
        kept.of("1", [key], read)
    asked.clear()
    kept.of("1", [1], read)
    assert asked == [], "it was used again when there was room for half of it only"
    kept.of("1", [0, 2], read)
    assert asked == [0, 2]
    asked.clear()
    many = list(range(100, 120))
    for _ in range(2):
        assert [key for key, _ in kept.of("1", many, read)] == many, "more at once than there is room for"
    assert asked == many * 2


def test_the_turn_that_says_the_words_together_is_the_one_to_quote() -> None:
    terms = [weighted(term, 1.0) for term in parse("cracked lid").terms]
    for turns, best in (
        (("lid cracked", f"{FILLER} cracked lid", "lid"), 1),
        (("the lid", "a cracked thing", "lid"), 2),
    ):
        found = best_in(f" {TURN} ".join(turns).encode(), terms)
        assert found is not None
        assert found.turn == best
