"""Which turns are quoted and where a long one is cut: by the words as they were said."""

import pytest

from call_logs.model import Speaker, Turn
from call_logs.store.query import parse
from call_logs.tools.matching import Matching
from call_logs.tools.search_transcripts import Quote

FILLER = "and then we talked about the weather for quite a while because nobody was in a hurry that day "


def turns(*said: str) -> list[Turn]:
    return [Turn(n=n, speaker=Speaker.CUSTOMER, text=text) for n, text in enumerate(said, 1)]


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("refund", "I was refunded twice already"),
        ("pay", "I paid for it in March"),
        ("devolver", "quiero que me devuelvan el dinero por favor"),
        ('"my order"', "it is about my order number"),
        ("refund*", "is it refundable"),
        ("555-0122", "my number is five five five oh one two two"),
        ("退款", "我想要退款"),
    ],
)
def test_a_turn_is_chosen_by_any_spelling_that_the_index_finds(query: str, said: str) -> None:
    spoken = turns("hello, this is about something else, thank you", said, "okay, and goodbye then")
    assert [turn.n for turn in Matching(parse(query), spoken).turns(spoken, 5)] == [2]


def test_turns_that_say_more_of_the_query_go_first_and_stand_in_their_order() -> None:
    spoken = turns("a refund", "the refund of my invoice", "the invoice", "nothing", "an invoice and a refund")
    matching = Matching(parse("refund invoice"), spoken)
    assert [turn.n for turn in matching.turns(spoken, 2)] == [2, 5]
    assert [turn.n for turn in matching.turns(spoken, 9)] == [1, 2, 3, 5]


def test_a_quoted_word_is_exact() -> None:
    spoken = turns("she refunded it", "a refund")
    assert [turn.n for turn in Matching(parse('"refund"'), spoken).turns(spoken, 5)] == [2]


@pytest.mark.parametrize(("query", "said"), [("pay", "paid"), ("refund", "refunded"), ('"my order"', "my order")])
def test_a_long_turn_is_cut_around_what_was_found(query: str, said: str) -> None:
    (turn,) = turns(f"{FILLER * 4}{said} {FILLER * 4}")
    cut = Quote(turn, parse(query)).cut(120)
    assert said in cut
    assert len(cut) <= 120
    assert cut.startswith("…")
    assert cut.endswith("…")
    assert cut.strip("…").strip() in turn.text
