"""Time as people mean it: durations, windows such as "last week", and how a moment is shown; it never asks the clock.

Days, weeks and months begin at midnight on the wall clock of a zone, so they have 23 or 25 hours when that zone
changes its clock. A local time that does not exist is moved forward; of one that exists twice the first is meant.
"""

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from math import isfinite
from zoneinfo import ZoneInfo

from call_logs.errors import BadQuery

_SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_DURATION = re.compile(r"([0-9]{1,15})\s*([smhdw]?)")

_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")

_LAST = re.compile(r"(?:last|past) (?:([0-9]{1,9}) )?(minute|hour|day|week|month)s?")
_AGO = re.compile(r"([0-9]{1,9}) days? ago")
_SPACES = re.compile(r"[\s_]+|(?<=\w)-(?=\w)")
_SPACE_BEFORE_OFFSET = re.compile(r"\s+(?=(?:Z|[+-]\d\d:?\d\d)$)")
_ACCEPTED = (
    "Give ISO 8601 (2026-11-19, 2026-11-19T14:50, 2026-11-19T14:50-05:00), or today, yesterday, N days ago, "
    "this week, last week, this month, last month, now, or last N minutes, hours, days, weeks or months."
)


@dataclass(frozen=True)
class Window:
    """A span of time, aware UTC: `since` belongs to it, `until` does not; None is open."""

    since: datetime | None
    until: datetime | None

    def contains(self, moment: datetime) -> bool:
        """Whether the aware moment lies in the window."""
        return (self.since is None or self.since <= moment) and (self.until is None or moment < self.until)


def parse_duration(text: str) -> timedelta:
    """A duration written as plain seconds or with a unit: 30s, 5m, 2h, 90d, 2w. Raises ValueError for all else."""
    found = _DURATION.fullmatch(text.strip().lower())
    if found is None:
        raise ValueError("a duration is a whole number of seconds, or a number with a unit: 30s, 5m, 2h, 90d, 2w")
    try:
        return timedelta(seconds=int(found[1]) * _SECONDS[found[2]])
    except OverflowError:
        raise ValueError("the duration is too long") from None


def parse_window(since: str | None, until: str | None, *, zone: ZoneInfo, now: datetime) -> Window:
    """The window that two readings of time mean at `now` (aware) for somebody whose clock shows `zone`.

    Each is ISO 8601 (without offset: local time) or a phrase. `since` is the start of what it names; `until` includes
    the whole day, week or month that it names. Blank is the same as None. Raises BadQuery when one cannot be read or
    the window would be empty.
    """
    period = _read("since", since, zone, now)
    starts = period.since if period else None
    period = _read("until", until, zone, now)
    ends = period.until if period else None
    if starts is not None and ends is not None and starts >= ends:
        raise BadQuery("`since` must be earlier than `until`; as given, no moment lies between them.")
    return Window(starts, ends)


def show(moment: datetime, zone: ZoneInfo) -> str:
    """The aware moment on the clock of the zone, with its offset: `2026-11-19 14:50 -05:00`."""
    shown = moment.astimezone(zone).isoformat(sep=" ", timespec="minutes")
    return f"{shown[:16]} {shown[16:]}"


def day_of(moment: datetime) -> str:
    """The moment's day on its own clock, without the year: `Nov 19`."""
    return f"{_MONTHS[moment.month - 1]} {moment.day:02}"


def minute_of(moment: datetime) -> str:
    """The moment's time of day on its own clock, with its offset: `14:50 -05:00`."""
    shown = moment.isoformat(timespec="minutes")
    return f"{shown[11:16]} {shown[16:]}"


def show_seconds(seconds: float | None) -> str:
    """Whole seconds as on a player: `3:04`, `1:02:03`; `-` where they are not known."""
    if seconds is None or not isfinite(seconds):
        return "-"
    minutes, rest = divmod(max(0, int(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def local_zone() -> ZoneInfo:
    """The time zone of this system; UTC where it cannot be told."""
    from tzlocal import get_localzone  # noqa: PLC0415 - looks at the system's files; few commands need it

    try:
        return get_localzone()
    except (LookupError, ValueError, OSError):
        return ZoneInfo("UTC")


def _read(parameter: str, text: str | None, zone: ZoneInfo, now: datetime) -> Window | None:
    """The period that the text names, None for none; of a moment both ends are that moment."""
    if text is None or not text.strip():
        return None
    try:
        period = _iso(text.strip(), zone) or _phrase(text, zone, now)
    except OverflowError:
        raise BadQuery(f"`{parameter}` is too far from now. {_ACCEPTED}") from None
    if period is None:
        raise BadQuery(f"`{parameter}` cannot be read as a time. {_ACCEPTED}")
    return period


def _iso(text: str, zone: ZoneInfo) -> Window | None:
    text = _SPACE_BEFORE_OFFSET.sub("", text.upper())
    try:
        day = date.fromisoformat(text)
    except ValueError:
        pass
    else:
        return _days(day, day + timedelta(days=1), zone)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    moment = _utc(moment if moment.tzinfo else moment.replace(tzinfo=zone))
    return Window(moment, moment)


def _phrase(text: str, zone: ZoneInfo, now: datetime) -> Window | None:
    phrase = _SPACES.sub(" ", text.strip().lower())
    if phrase == "now":
        return Window(_utc(now), _utc(now))
    days = _calendar(phrase, now.astimezone(zone).date())
    if days is not None:
        return _days(*days, zone)
    found = _LAST.fullmatch(phrase)
    count = int(found[1] or 1) if found else 0
    if found is None or count < 1:
        return None
    if found[2] in ("minute", "hour"):
        return Window(_utc(now) - timedelta(**{f"{found[2]}s": count}), _utc(now))
    wall = now.astimezone(zone).replace(tzinfo=None, fold=0)
    earlier = _months_before(wall, count) if found[2] == "month" else wall - timedelta(**{f"{found[2]}s": count})
    return Window(_utc(earlier.replace(tzinfo=zone)), _utc(now))


def _months_before(wall: datetime, count: int) -> datetime:
    """The same day and time of an earlier month; the month's last day where it has no such day."""
    months = wall.year * 12 + wall.month - 1 - count
    if months < 12:  # noqa: PLR2004 - the year 1 is the first that a date can have
        raise OverflowError
    first = date(months // 12, months % 12 + 1, 1)
    last = ((first + timedelta(days=31)).replace(day=1) - timedelta(days=1)).day
    return wall.replace(year=first.year, month=first.month, day=min(wall.day, last))


def _calendar(phrase: str, today: date) -> tuple[date, date] | None:
    """The first day of the period and the first day after it."""
    monday = today - timedelta(days=today.weekday())
    first = today.replace(day=1)
    periods = {
        "today": (today, today + timedelta(days=1)),
        "yesterday": (today - timedelta(days=1), today),
        "this week": (monday, monday + timedelta(weeks=1)),
        "last week": (monday - timedelta(weeks=1), monday),
        "this month": (first, (first + timedelta(days=31)).replace(day=1)),
        "last month": ((first - timedelta(days=1)).replace(day=1), first),
    }
    if found := _AGO.fullmatch(phrase):
        day = today - timedelta(days=int(found[1]))
        return day, day + timedelta(days=1)
    return periods.get(phrase)


def _days(first: date, after: date, zone: ZoneInfo) -> Window:
    return Window(_midnight(first, zone), _midnight(after, zone))


def _midnight(day: date, zone: ZoneInfo) -> datetime:
    return _utc(datetime(day.year, day.month, day.day, tzinfo=zone))


def _utc(moment: datetime) -> datetime:
    # A local time in a gap has the offset from before it here, which moves it forward on the clock.
    return moment.astimezone(UTC)
