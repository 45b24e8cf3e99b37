"""Cursors: short, exact, and never more than a place."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from call_logs.errors import BadQuery
from call_logs.times import Window
from call_logs.tools.cursors import Place, check_cursor, digest, read_cursor, write_cursor

MOMENTS = st.none() | st.integers(0, 4_102_444_800_000).map(lambda ms: datetime.fromtimestamp(ms / 1000, UTC))
NUMBERS = st.integers(-(2**62), 2**62) | st.floats(-(2.0**60), 2.0**60, allow_nan=False)


@given(MOMENTS, MOMENTS, st.lists(NUMBERS, min_size=2, max_size=8))
def test_a_place_comes_back_exactly(since: datetime | None, until: datetime | None, numbers: list[float]) -> None:
    place = Place("list_calls", digest(["a"]), Window(since, until), tuple(numbers))
    written = write_cursor(place)
    assert read_cursor(written, "list_calls", 2, 8) == place
    assert " " not in written


def test_a_searchs_cursor_is_short() -> None:
    window = Window(datetime(2026, 11, 1, tzinfo=UTC), None)
    assert (
        len(write_cursor(Place("search_transcripts", digest([]), window, (235, 5.044343, 459544885760, 3.7591)))) < 100
    )


def test_arguments_of_another_question_are_another_digest() -> None:
    place = Place("list_calls", digest(["refund", None, 1]), Window(None, None), (0, 1))
    check_cursor(place, digest(["refund", None, 1]))
    check_cursor(None, digest([]))
    for other in (["refund", None, 2], ["refund", 1], ["refunds", None, 1]):
        with pytest.raises(BadQuery, match="other arguments"):
            check_cursor(place, digest(other))


@pytest.mark.parametrize(
    "cursor",
    [
        "",
        "~",
        "!!",
        "list_calls",
        "list_calls~abc",
        "list_calls~abc~~",
        "list_calls~abc~~~1",
        "list_calls~abc~~~1~2~3",
        "list_calls~abc~x~~1~2",
        "list_calls~abc~~~nan~2",
        "list_calls~abc~~~1e999~2",
        "list_calls~abc~~~1.0e400~2",
        "list_calls~abc~99999999999999999999~~1~2",
        f"list_calls~abc~~~{10**30}~2",
        "list_calls~abc~~~\ud83d~2",
        "list_calls~abc~~~1~2" * 500,
    ],
)
def test_what_is_no_cursor_is_refused_with_what_to_do(cursor: str) -> None:
    with pytest.raises(BadQuery, match="Take next_cursor as it is from an answer"):
        read_cursor(cursor, "list_calls", 2)


@given(st.text(max_size=80))
def test_any_text_is_a_place_or_refused(text: str) -> None:
    for cursor in (text, f"list_calls~{text}", f"list_calls~{text}~~~1~2"):
        try:
            place = read_cursor(cursor, "list_calls", 2)
        except BadQuery:
            continue
        assert place is not None
        assert len(place.position) == 2


def test_another_tools_cursor_is_refused_by_its_name() -> None:
    cursor = write_cursor(Place("list_calls", digest([]), Window(None, None), (0, 1)))
    with pytest.raises(BadQuery, match="belongs to list_calls, not to search_transcripts"):
        read_cursor(cursor, "search_transcripts", 3, 9)
