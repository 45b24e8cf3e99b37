"""Time is read and shown as people mean it, also on days with 23 or 25 hours."""

from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from call_logs.errors import BadQuery
from call_logs.times import Window, local_zone, parse_duration, parse_window, show, show_seconds

NEW_YORK = ZoneInfo("America/New_York")
MADRID = ZoneInfo("Europe/Madrid")
KOLKATA = ZoneInfo("Asia/Kolkata")
LORD_HOWE = ZoneInfo("Australia/Lord_Howe")
ZONES = [NEW_YORK, MADRID, KOLKATA, LORD_HOWE, ZoneInfo("UTC"), ZoneInfo("America/Sao_Paulo")]
PERIODS = ["3 days ago", "today", "yesterday", "this week", "last week", "this month", "last month"]
NOW = datetime(2026, 11, 19, 14, 50, tzinfo=NEW_YORK)  # a Thursday


def window(
    since: str | None = None, until: str | None = None, *, zone: ZoneInfo = NEW_YORK, now: datetime = NOW
) -> Window:
    return parse_window(since, until, zone=zone, now=now)


def at(*parts: int, zone: ZoneInfo = NEW_YORK) -> datetime:
    year, month, day, *clock = parts
    return datetime(year, month, day, *clock, tzinfo=zone).astimezone(UTC)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("0", 0), ("60", 60), ("30s", 30), ("5m", 300), ("2h", 7200), ("90d", 7_776_000), (" 2 W ", 1_209_600)],
)
def test_durations_are_read(text: str, seconds: int) -> None:
    assert parse_duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    "text", ["", "-5", "-5m", "1.5h", "5y", "m", "1h30m", "five", "999999999999999w", "9" * 5000, "\u0665m"]
)
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="duration"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("phrase", "since", "until"),
    [
        ("today", at(2026, 11, 19), at(2026, 11, 20)),
        ("yesterday", at(2026, 11, 18), at(2026, 11, 19)),
        ("this week", at(2026, 11, 16), at(2026, 11, 23)),
        ("last week", at(2026, 11, 9), at(2026, 11, 16)),
        ("this month", at(2026, 11, 1), at(2026, 12, 1)),
        ("last month", at(2026, 10, 1), at(2026, 11, 1)),
        ("2026-11-19", at(2026, 11, 19), at(2026, 11, 20)),
        ("2 days ago", at(2026, 11, 17), at(2026, 11, 18)),
        ("last 30 minutes", at(2026, 11, 19, 14, 20), at(2026, 11, 19, 14, 50)),
        ("last 9 months", at(2026, 2, 19, 14, 50), at(2026, 11, 19, 14, 50)),
        ("last 3 days", at(2026, 11, 16, 14, 50), at(2026, 11, 19, 14, 50)),
        ("past 2 weeks", at(2026, 11, 5, 14, 50), at(2026, 11, 19, 14, 50)),
        ("last 36 hours", at(2026, 11, 18, 2, 50), at(2026, 11, 19, 14, 50)),
        ("Last  Hour", at(2026, 11, 19, 13, 50), at(2026, 11, 19, 14, 50)),
        ("last day", at(2026, 11, 18, 14, 50), at(2026, 11, 19, 14, 50)),
        (" LAST_WEEK ", at(2026, 11, 9), at(2026, 11, 16)),
    ],
)
def test_a_period_as_since_and_until_is_that_period(phrase: str, since: datetime, until: datetime) -> None:
    assert window(phrase, phrase) == Window(since, until)
    assert window(phrase) == Window(since, None)
    assert window(None, phrase) == Window(None, until)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-11-19T09:30", at(2026, 11, 19, 9, 30)),
        ("2026-11-19 09:30:15", at(2026, 11, 19, 9, 30, 15)),
        ("2026-11-19T09:30Z", datetime(2026, 11, 19, 9, 30, tzinfo=UTC)),
        ("2026-11-19t09:30z", datetime(2026, 11, 19, 9, 30, tzinfo=UTC)),
        ("2026-11-19T09:30+05:30", datetime(2026, 11, 19, 4, 0, tzinfo=UTC)),
        ("2026-11-19 14:50 -05:00", NOW.astimezone(UTC)),
        ("now", NOW.astimezone(UTC)),
    ],
)
def test_a_moment_is_read_in_the_zone_or_with_its_offset(text: str, moment: datetime) -> None:
    assert window(text) == Window(moment, None)
    assert window(None, text) == Window(None, moment)


def test_a_month_earlier_than_a_31st_is_the_last_day_of_that_month() -> None:
    assert window("last 1 month", now=at(2026, 3, 31, 8)).since == at(2026, 2, 28, 8)
    assert window("last 13 months", now=at(2026, 3, 31, 8)).since == at(2025, 2, 28, 8)


def test_nothing_given_is_open_on_both_sides() -> None:
    assert window() == window("", " ") == Window(None, None)


def test_on_a_monday_this_week_began_today_and_in_january_last_month_is_december() -> None:
    assert window("this week", now=datetime(2026, 11, 16, tzinfo=NEW_YORK)).since == at(2026, 11, 16)
    january = datetime(2027, 1, 31, 12, tzinfo=NEW_YORK)
    assert window("last month", "last month", now=january) == Window(at(2026, 12, 1), at(2027, 1, 1))


def test_today_is_the_day_of_the_zone_not_of_utc() -> None:
    late = datetime(2026, 11, 19, 20, 0, tzinfo=UTC)
    assert window("today", zone=KOLKATA, now=late).since == datetime(2026, 11, 19, 18, 30, tzinfo=UTC)
    assert window("today", zone=NEW_YORK, now=late).since == datetime(2026, 11, 19, 5, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("zone", "day", "hours"),
    [
        (NEW_YORK, "2026-03-08", 23),
        (NEW_YORK, "2026-11-01", 25),
        (MADRID, "2026-03-29", 23),
        (MADRID, "2026-10-25", 25),
        (KOLKATA, "2026-03-29", 24),
        (LORD_HOWE, "2026-04-05", 24.5),
        (LORD_HOWE, "2026-10-04", 23.5),
    ],
)
def test_a_day_on_which_the_clock_changes_is_whole(zone: ZoneInfo, day: str, hours: float) -> None:
    read = window(day, day, zone=zone)
    assert read.since is not None
    assert read.until is not None
    assert read.until - read.since == timedelta(hours=hours)
    noon = datetime.fromisoformat(f"{day}T12:00").replace(tzinfo=zone)
    assert window("today", "today", zone=zone, now=noon) == read
    assert window("yesterday", "yesterday", zone=zone, now=noon + timedelta(days=1)) == read


def test_a_local_time_that_does_not_exist_is_moved_forward() -> None:
    assert window("2026-03-08T02:30").since == datetime(2026, 3, 8, 7, 30, tzinfo=UTC)  # 03:30 -04:00
    midnight = window("2018-11-04", zone=ZoneInfo("America/Sao_Paulo")).since  # that day began at one
    assert midnight == datetime(2018, 11, 4, 3, 0, tzinfo=UTC)


def test_of_a_local_time_that_exists_twice_the_first_is_meant() -> None:
    assert window("2026-11-01T01:30").since == datetime(2026, 11, 1, 5, 30, tzinfo=UTC)


def test_last_hours_are_hours_and_last_days_are_days_of_the_wall_clock() -> None:
    after = datetime(2026, 3, 8, 12, 0, tzinfo=NEW_YORK)
    assert window("last 24 hours", now=after).since == after.astimezone(UTC) - timedelta(hours=24)
    assert window("last 1 days", now=after).since == at(2026, 3, 7, 12, 0)


@pytest.mark.parametrize(
    "text",
    [
        *("tuesday", "last tuesday", "tomorrow", "next week", "last 0 months", "last 0 days", "last -1 days", "soon"),
        *("2026-13-01", "2026-02-30", "19/11/2026", "2026", "25:00", "2026-11-19T25:00", "\0", "last", "3 days"),
        *(
            "0000-01-01",
            "10000-01-01",
            "last 999999999 weeks",
            "last 999999999 months",
            "last 999999999 hours",
            "9" * 5000,
        ),
    ],
)
def test_what_cannot_be_read_is_refused_with_what_can(text: str) -> None:
    for since, until, name in ((text, None, "`since`"), (None, text, "`until`")):
        with pytest.raises(BadQuery, match="ISO 8601") as refused:
            window(since, until)
        assert name in str(refused.value)
        assert "last N minutes, hours" in str(refused.value)


@pytest.mark.parametrize(
    ("since", "until"), [(None, "9999-12-31"), ("0001-01-01", None), ("0001-01-01T00:00+14:00", None)]
)
def test_the_ends_of_the_calendar_are_refused(since: str | None, until: str | None) -> None:
    with pytest.raises(BadQuery):
        window(since, until, zone=KOLKATA)


@pytest.mark.parametrize(
    ("since", "until"),
    [("today", "yesterday"), ("2026-11-19T10:00", "2026-11-19T10:00"), ("now", "last 3 days"), ("2027-01-01", "today")],
)
def test_an_empty_window_is_refused(since: str, until: str) -> None:
    with pytest.raises(BadQuery, match="earlier"):
        window(since, until)


DATES = st.dates(date(1990, 1, 1), date(2035, 12, 31)).map(str)
READABLE = st.one_of(
    st.none(),
    st.sampled_from([*PERIODS, "now"]),
    DATES,
    st.builds("last {} {}".format, st.integers(1, 400), st.sampled_from(["hours", "days", "weeks"])),
)


@settings(max_examples=300, deadline=None)
@given(READABLE, READABLE, st.sampled_from(ZONES), st.datetimes(datetime(2000, 1, 1), datetime(2035, 1, 1)))  # noqa: DTZ001
def test_windows_are_ordered_and_in_utc(since: str | None, until: str | None, zone: ZoneInfo, now: datetime) -> None:
    try:
        read = parse_window(since, until, zone=zone, now=now.replace(tzinfo=UTC))
    except BadQuery:
        return
    assert (read.since is None) == (since is None)
    assert (read.until is None) == (until is None)
    assert all(end is None or end.tzinfo is UTC for end in (read.since, read.until))
    if read.since and read.until:
        assert read.since < read.until
        assert read.contains(read.since)
        assert not read.contains(read.until)


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(ZONES), st.datetimes(datetime(2000, 1, 1), datetime(2035, 1, 1)))  # noqa: DTZ001
def test_each_period_is_neighbour_to_the_next(zone: ZoneInfo, now: datetime) -> None:
    moment = now.replace(tzinfo=UTC)
    for this, last in (("today", "yesterday"), ("this week", "last week"), ("this month", "last month")):
        assert window(this, zone=zone, now=moment).since == window(None, last, zone=zone, now=moment).until
        assert window(this, this, zone=zone, now=moment).contains(moment)


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=30))
def test_any_text_is_read_or_refused(text: str) -> None:
    with suppress(BadQuery):
        window(text, None)


@settings(max_examples=100, deadline=None)
@given(st.datetimes(datetime(1971, 1, 1), datetime(2035, 1, 1)), st.sampled_from(ZONES))  # noqa: DTZ001
def test_what_is_shown_can_be_asked_for(now: datetime, zone: ZoneInfo) -> None:
    moment = now.replace(second=0, microsecond=0, tzinfo=UTC)
    assert window(show(moment, zone)).since == moment


def test_an_open_window_contains_everything() -> None:
    assert Window(None, None).contains(NOW)
    assert not Window(NOW, None).contains(NOW - timedelta(seconds=1))


def test_moments_are_shown_with_their_offset() -> None:
    assert show(NOW.astimezone(UTC), NEW_YORK) == "2026-11-19 14:50 -05:00"
    assert show(NOW, KOLKATA) == "2026-11-20 01:20 +05:30"
    assert show(NOW, ZoneInfo("UTC")) == "2026-11-19 19:50 +00:00"


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (None, "-"),
        (0, "0:00"),
        (9.9, "0:09"),
        (184.2, "3:04"),
        (3600, "1:00:00"),
        (3723, "1:02:03"),
        (float("nan"), "-"),
    ],
)
def test_seconds_are_shown_as_on_a_player(seconds: float | None, shown: str) -> None:
    assert show_seconds(seconds) == shown


def test_the_zone_of_the_system_is_found_or_utc_stands_in(monkeypatch: pytest.MonkeyPatch) -> None:
    def nowhere() -> ZoneInfo:
        raise LookupError("no such zone")

    monkeypatch.setattr("tzlocal.get_localzone", lambda: MADRID)
    assert local_zone() == MADRID
    monkeypatch.setattr("tzlocal.get_localzone", nowhere)
    assert local_zone() == ZoneInfo("UTC")
