"""SignalWire's quirks, where the tape cannot show them: against the sandbox, over loopback."""

import json
from collections.abc import Awaitable, Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import parse_qsl

import httpx
import pytest
from pydantic import ValidationError

from call_logs.errors import AuthFailed, ProviderError, Rejected, UnexpectedPayload
from call_logs.model import ActionKind, Call, Direction, Speaker, Status, Turn
from call_logs.providers import Account, AnyProvider, Page
from call_logs.providers import signalwire as adapter
from call_logs.providers._signalwire_report import read_report
from call_logs.sandbox import App, Message, Receive, Send, business
from call_logs.sandbox import signalwire as sandbox
from call_logs.store import Filter
from call_logs.store.sqlite import SQLiteStore
from call_logs.sync import Sync
from tape import Asked, Fault, Held, Reply, answered, calls_of, finished, pages, staged, unhurried, worked

PROJECT = "9d1f0c52-1111-4222-8333-444455556666"
TOKEN = "sandbox-token-opens-nothing"
SPACE = "sandbox-space"
T = TypeVar("T")
NOON = datetime(2026, 6, 15, 12, tzinfo=UTC)
NOW = datetime(2026, 9, 30, 17, 20, 5, 123456, tzinfo=UTC)
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
NAMES = {name: f"SIGNALWIRE_{name}".upper() for name in ("project_id", "api_token", "space")}
TRANSCRIPTIONS = adapter.TRANSCRIPTIONS.format(project=PROJECT)
LAML_RECORDINGS = adapter.LAML_RECORDINGS.format(project=PROJECT)


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither for the vendor's rate, nor between retries."""
    unhurried(monkeypatch)


def stamp(moment: datetime) -> str:
    return moment.isoformat(timespec="seconds").replace("+00:00", "Z")


def row(n: int, began: datetime | None = None, **more: Any) -> dict[str, Any]:
    """The n-th row; a higher one began earlier, by a minute each."""
    return {
        "id": f"log{n:05}",
        "from": "+12065550123",
        "to": "+12065550188",
        "source": "realtime_api",
        "charge": 0.01,
        "charge_details": [],
        "created_at": stamp(began or NOON - timedelta(minutes=n)),
        "type": "relay_pstn_call",
        "url": None,
        "direction": "inbound",
        "status": "ended",
        "duration": 30,
        "duration_ms": 30_250,
        "billing_ms": 60_000,
        "parent_id": None,
        **more,
    }


def laml(n: int, sid: str | None = None, **more: Any) -> dict[str, Any]:
    """A row of a LaML call, whose LaML id is told by its link only."""
    url = f"https://{SPACE}.signalwire.com/api/laml/2010-04-01/Accounts/{PROJECT}/Calls/{sid or f'sid{n}'}.json"
    return row(n) | {"type": "laml_call", "source": "laml", "status": "completed", "url": url} | more


def recording(n: int, of: int | None = None, **more: Any) -> dict[str, Any]:
    """The recording of the n-th row, made a second after it began."""
    made = stamp(NOON - timedelta(minutes=n) + timedelta(seconds=1))
    leg = f"log{n if of is None else of:05}"
    link = "https://files.example.com/secret.mp3"
    return {
        "id": f"rec{n:05}",
        "created_at": made,
        "status": "finished",
        "url": link,
        "relay_pstn_leg_id": leg,
        **more,
    }


class Vendor:
    """The sandbox over some rows. `before` may answer instead; `meanwhile` runs after each page of the list."""

    def __init__(
        self,
        rows: list[dict[str, Any]],
        *,
        before: Fault = lambda _: None,
        meanwhile: Callable[[int], object] = lambda _: None,
        **beside: Any,
    ) -> None:
        self.rows = rows
        self.asked: list[Asked] = []
        self._app: App = sandbox.application(rows, project_id=PROJECT, token=TOKEN, space=SPACE, **beside)
        self._before, self._meanwhile = before, meanwhile

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        query = dict(parse_qsl(scope["query_string"].decode(), keep_blank_values=True))
        asked = Asked(scope["method"], scope["path"], "", query, "", {}, None)
        self.asked.append(asked)
        reply = self._before(asked)
        held = Held(send)
        if reply is None:
            await self._app(scope, receive, held)
        else:
            await answered(reply, held)
        if asked.path == adapter.LOGS:
            self._meanwhile(len(self.queries()))
        await held.release()

    def queries(self, path: str = adapter.LOGS) -> list[Mapping[str, str]]:
        """What was asked of a path."""
        return [asked.query for asked in self.asked if asked.path == path]

    def work(self, work: Callable[[AnyProvider], Awaitable[T]]) -> T:
        """What the work comes to with a provider that reads here."""
        with staged(self) as base_url:
            return finished(worked, account(base_url), work)

    def read(self, since: datetime = LONG_AGO, until: datetime | None = None, resume: str | None = None) -> list[Page]:
        """All pages."""
        return self.work(lambda provider: pages(provider, since, until, resume))


def account(base_url: str | None, **settings: str) -> Account:
    given = {"project_id": PROJECT, "api_token": TOKEN, "space": SPACE, "base_url": base_url, **settings}
    return Account("acme", adapter.SignalWire, adapter.SignalWireSettings.model_validate(given), NAMES)


def everything(provider: AnyProvider) -> Awaitable[list[Page]]:
    return pages(provider, LONG_AGO)


def ids(found: Iterable[Page]) -> list[str]:
    return [call.vendor_call_id for call in calls_of(found)]


def numbered(first: int, last: int) -> list[str]:
    return [f"log{n:05}" for n in range(first, last + 1)]


def listing(rows: list[Any], following: str | None = None) -> Reply:
    links = {"self": "https://other.example.com/self", "first": "https://other.example.com/first"}
    return Reply(200, {"links": links | ({"next": following} if following else {}), "data": rows})


@pytest.fixture
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages of 50 rows, so that few rows make many pages."""
    monkeypatch.setattr(adapter, "PAGE_SIZE", 50)


def on(path: str, reply: Callable[[Asked], Reply | None]) -> Fault:
    return lambda asked: reply(asked) if asked.path == path else None


def refused(path: str, status: int = 403) -> Fault:
    return on(path, lambda _: Reply(status, {"error": "Forbidden"}))


# Pages


@pytest.mark.usefixtures("small_pages")
def test_links_to_another_host_are_followed_on_ours() -> None:
    vendor = Vendor([row(n) for n in range(1, 131)])
    assert ids(vendor.read()) == numbered(1, 130)
    first, second, third = vendor.queries()
    assert "page_token" not in first
    assert {name: second[name] for name in ("page_number", "page_size", "created_after")} == {
        "page_number": "1",
        "page_size": "50",
        "created_after": first["created_after"],
    }
    assert second["page_token"] != third["page_token"]


@pytest.mark.parametrize(
    "link", ["/api/voice/logs?page_token=PA1", "?page_token=PA1#top", "//evil.example.com/?page_token=PA1"]
)
def test_links_of_any_form_give_their_query_only(link: str) -> None:
    def two(asked: Asked) -> Reply:
        return listing([row(2)]) if asked.query.get("page_token") == "PA1" else listing([row(1)], link)

    vendor = Vendor([], before=on(adapter.LOGS, two))
    assert ids(vendor.read()) == numbered(1, 2)
    assert vendor.queries()[1] == {"page_token": "PA1"}
    assert {asked.path for asked in vendor.asked} == {adapter.LOGS, adapter.RECORDINGS}


def test_an_empty_page_that_names_another_goes_on() -> None:
    found: dict[str | None, Reply] = {
        None: listing([], "?page_token=PA1"),
        "PA1": listing([row(1)], "?page_token=PA2"),
        "PA2": listing([], "?page_token=PA3"),
        "PA3": listing([row(2)]),
    }
    pages_ = Vendor([], before=on(adapter.LOGS, lambda asked: found[asked.query.get("page_token")])).read()
    assert ids(pages_) == numbered(1, 2)
    assert [page.reached is None for page in pages_] == [False, False]


def test_an_empty_project_gives_one_empty_page_that_reaches_the_start() -> None:
    vendor = Vendor([])
    assert vendor.read() == [Page((), reached=LONG_AGO)]
    assert len(vendor.asked) == 1


def test_a_link_that_comes_again_ends_the_reading_after_what_it_gave() -> None:
    def circle(asked: Asked) -> Reply:
        return listing([row(2 if "page_token" in asked.query else 1)], "?page_token=PA1")

    vendor = Vendor([], before=on(adapter.LOGS, circle))
    got: list[Page] = []

    async def gathered(provider: AnyProvider) -> None:
        async for page in provider.calls(LONG_AGO):
            got.append(page)  # noqa: PERF401 - what came before the error counts

    with pytest.raises(UnexpectedPayload):
        vendor.work(gathered)
    assert ids(got) == numbered(1, 2)
    assert len(vendor.queries()) == 2


@pytest.mark.parametrize("rows", [[], [row(1)]])
def test_new_links_without_new_rows_do_not_go_on_for_ever(
    monkeypatch: pytest.MonkeyPatch, rows: list[dict[str, Any]]
) -> None:
    monkeypatch.setattr(adapter, "STALE_PAGES", 5)
    vendor = Vendor([], before=on(adapter.LOGS, lambda _: listing(rows, f"?page_token=PA{len(vendor.asked)}")))
    with pytest.raises(UnexpectedPayload):
        vendor.read()
    assert len(vendor.queries()) == 5 + len(rows)


@pytest.mark.parametrize("odd", [{}, {"links": None}, {"links": {"next": {}}}, {"links": {"next": "/api/voice/logs"}}])
def test_a_page_that_does_not_say_where_to_go_on_is_not_taken_for_the_last(odd: dict[str, Any]) -> None:
    vendor = Vendor([], before=on(adapter.LOGS, lambda _: Reply(200, {"data": [row(1)], **odd})))
    with pytest.raises(UnexpectedPayload):
        vendor.read()
    assert len(vendor.queries()) == 1


@pytest.mark.usefixtures("small_pages")
def test_calls_that_come_and_go_while_paging_cost_no_other() -> None:
    rows = [row(n) for n in range(1, 161)]

    def moved(asked: int) -> None:
        rows.insert(0, row(0, NOON + timedelta(minutes=asked), id=f"new{asked}"))
        del rows[60]

    found = Vendor(rows, meanwhile=moved).read()
    gone = {f"log{n:05}" for n in range(1, 161)} - {one["id"] for one in rows}
    assert set(numbered(1, 160)) - set(ids(found)) <= gone
    assert len(ids(found)) == len(set(ids(found)))


@pytest.mark.usefixtures("small_pages")
def test_a_place_that_the_vendor_forgot_ends_the_reading_and_a_later_one_goes_on_by_time() -> None:
    forgets = [True]

    def forgetful(asked: Asked) -> Reply | None:
        if not forgets[0] or asked.query.get("page_number") != "2":
            return None
        return Reply(422, {"errors": [{"type": "validation_error", "code": "page_token_is_invalid", "message": "no"}]})

    vendor = Vendor([row(n) for n in range(1, 161)], before=on(adapter.LOGS, forgetful))
    got: list[Page] = []

    async def gathered(provider: AnyProvider) -> None:
        async for page in provider.calls(LONG_AGO):
            got.append(page)  # noqa: PERF401 - what came before the error counts

    with pytest.raises(Rejected) as raised:
        vendor.work(gathered)
    assert "goes on from there by time" in raised.value.next_step
    forgets[0] = False
    later = vendor.read(resume=got[-1].resume)
    assert set(ids([*got, *later])) == set(numbered(1, 160))


# Order


@pytest.mark.usefixtures("small_pages")
def test_a_reading_ends_at_the_page_that_goes_past_the_window() -> None:
    vendor = Vendor([row(n) for n in range(1, 500)])
    assert ids(vendor.read(NOON - timedelta(minutes=70))) == numbered(1, 70)
    assert len(vendor.queries()) == 2


def test_an_unordered_page_neither_ends_the_reading_nor_claims_how_far_it_got() -> None:
    rows = [row(n) for n in range(1, 121)]
    rows[4], rows[110] = rows[110], rows[4]

    def unordered(asked: Asked) -> Reply:
        start = int(asked.query.get("at", "0"))
        return listing(rows[start : start + 50], f"?at={start + 50}" if start < 100 else None)

    found = Vendor([], before=on(adapter.LOGS, unordered)).read(NOON - timedelta(minutes=60))
    assert sorted(ids(found)) == sorted(numbered(1, 60))
    assert [page.reached for page in found] == [None, None, NOON - timedelta(minutes=60)]
    assert [page.resume for page in found] == [None, None, None]


def test_calls_of_one_second_on_two_pages_survive_a_resumption(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adapter, "PAGE_SIZE", 3)
    vendor = Vendor([row(n, NOON if n < 6 else None) for n in range(1, 8)])
    first = vendor.read()[0]
    for until in (None, first.reached):
        rest = vendor.read(until=until, resume=first.resume)
        assert set(ids([first, *rest])) == set(numbered(1, 7))


# Dates and places


@pytest.mark.parametrize(("until", "before"), [(None, None), (datetime(2026, 6, 15, 1, tzinfo=UTC), "2026-06-16")])
def test_dates_are_sent_a_day_wider_than_asked_in_utc(until: datetime | None, before: str | None) -> None:
    vendor = Vendor([])
    west = datetime.fromisoformat("2026-06-10T20:00:00-08:00")
    vendor.read(west, until)
    (sent,) = vendor.queries()
    assert sent["created_after"] == "2026-06-10"
    assert sent.get("created_before") == before


def test_the_start_of_a_window_belongs_to_it_and_its_end_does_not() -> None:
    vendor = Vendor([row(1), row(2), row(3)])
    assert ids(vendor.read(NOON - timedelta(minutes=2), NOON - timedelta(minutes=1))) == ["log00002"]


def test_dates_that_the_vendor_refuses_are_left_out_and_compared_here() -> None:
    refusal = Reply(422, {"errors": [{"code": "exceeds_history_logs_limit", "attribute": "created_after"}]})
    vendor = Vendor(
        [row(n) for n in range(1, 61)],
        before=on(adapter.LOGS, lambda asked: refusal if "created_after" in asked.query else None),
    )
    assert ids(vendor.read(NOON - timedelta(minutes=10), NOON)) == numbered(1, 10)
    assert "created_before" not in vendor.queries()[1]


@pytest.mark.usefixtures("small_pages")
def test_a_resumed_reading_goes_on_by_time_and_knows_no_token() -> None:
    vendor = Vendor([row(n) for n in range(1, 261)])
    begun = vendor.read()[1]
    asked = len(vendor.queries())
    found = vendor.read(resume=begun.resume)
    assert begun.resume == begun.reached.isoformat() if begun.reached else False
    assert "page_token" not in vendor.queries()[asked]
    assert vendor.queries()[asked]["created_before"] == "2026-06-16"
    assert set(numbered(100, 260)) <= set(ids(found))
    assert found[-1].resume is None


@pytest.mark.parametrize("resume", ["", "x", "{}", "[1]", "null", "2026-06-15", "2026-06-15T12:00:00", "PA1"])
def test_a_place_that_cannot_be_read_starts_over(resume: str) -> None:
    vendor = Vendor([row(1)])
    assert ids(vendor.read(resume=resume)) == ["log00001"]
    assert "created_before" not in vendor.queries()[0]


# Rows


def only_call(**more: Any) -> Call:
    (call,) = calls_of(Vendor([row(1, **more)]).read())
    return call


@pytest.mark.parametrize(
    ("billing", "status"), [(60_000, Status.COMPLETED), (0, Status.COMPLETED), (None, Status.UNKNOWN)]
)
def test_ended_is_completed_only_where_it_was_billed(billing: int | None, status: Status) -> None:
    call = only_call(status="ended", billing_ms=billing)
    assert (call.status, call.vendor_status) == (status, "ended")


@pytest.mark.parametrize(
    ("word", "status"),
    [
        *((word, Status.QUEUED) for word in ("queued", "initiated", "created")),
        *((word, Status.IN_PROGRESS) for word in ("answered", "in-progress", "ending", "joined")),
        ("ringing", Status.RINGING),
        ("completed", Status.COMPLETED),
        ("busy", Status.BUSY),
        ("failed", Status.FAILED),
        ("no-answer", Status.NO_ANSWER),
        ("canceled", Status.CANCELED),
        ("parked", Status.UNKNOWN),
    ],
)
def test_the_words_of_all_engines_are_understood_and_kept(word: str, status: Status) -> None:
    call = only_call(status=word)
    assert (call.status, call.vendor_status) == (status, word)


@pytest.mark.parametrize(
    ("word", "direction"),
    [
        ("inbound", Direction.INBOUND),
        ("outbound", Direction.OUTBOUND),
        ("outbound-api", Direction.OUTBOUND),
        ("outbound-dial", Direction.OUTBOUND),
        ("sideways", Direction.UNKNOWN),
        (None, Direction.UNKNOWN),
    ],
)
def test_directions(word: str | None, direction: Direction) -> None:
    assert only_call(direction=word).direction is direction


def test_deleted_rows_are_no_calls_in_either_answer() -> None:
    deleted = {"id": "log00002", "discarded_at": stamp(NOON), "created_at": stamp(NOON - timedelta(minutes=2))}
    vendor = Vendor([row(1), row(3)], before=on(adapter.LOGS, lambda _: listing([row(1), deleted, row(3)])))
    found = vendor.read()
    assert ids(found) == ["log00001", "log00003"]
    assert found[0].unreadable == ()
    single = Vendor([], before=lambda _: Reply(200, deleted)).work(lambda provider: provider.get("log00002"))
    assert single is None


@pytest.mark.parametrize(
    "odd",
    [
        {"duration": {}, "duration_ms": "soon", "billing_ms": []},
        {"duration": -5, "duration_ms": None},
        {"charge": "free", "charge_details": "none"},
        {"direction": 7, "status": {"word": "ended"}, "type": ["relay"]},
        {"from": {"number": "+12065550123"}, "to": []},
        {"parent_id": "", "url": 5},
        {"source": None, "audio_in_mos": "4.5"},
    ],
)
def test_a_value_that_cannot_be_read_costs_no_call(odd: dict[str, Any]) -> None:
    call = only_call(**odd)
    assert call.vendor_call_id == "log00001"
    assert call.parent_id is None


def test_numbers_as_text_and_seconds_without_milliseconds_are_read() -> None:
    call = only_call(charge="0.02", duration="12", duration_ms=None)
    assert (call.cost, call.currency, call.duration_seconds) == (0.02, "USD", 12.0)


@pytest.mark.parametrize("odd", ["0001-01-01T00:00:00+14:00", "soon", None, 1e300])
def test_a_row_whose_time_cannot_be_read_is_named_and_spoils_no_other(odd: Any) -> None:
    rows = [row(1), {**row(2), "created_at": odd}, row(3)]
    (page,) = Vendor([], before=on(adapter.LOGS, lambda _: listing(rows))).read()
    assert ids([page]) == ["log00001", "log00003"]
    assert [(one.vendor_call_id, one.fields) for one in page.unreadable] == [("log00002", ("created_at",))]


def test_nothing_of_a_link_is_kept() -> None:
    vendor = Vendor([laml(1), row(2)], recordings=[recording(2)])
    shown = repr(vendor.read())
    assert "://" not in shown
    assert PROJECT not in shown


# Recordings


def test_a_recording_is_known_by_its_leg_and_otherwise_nothing_is_claimed() -> None:
    beside = [
        recording(1),
        recording(2, status="no_input"),
        recording(3, relay_pstn_leg_id=None, relay_sip_leg_id="log00003"),
        recording(4, relay_pstn_leg_id=None, relay_webrtc_leg_id="log00004"),
        recording(5, of=900),
    ]
    found = calls_of(Vendor([row(n) for n in range(1, 6)], recordings=beside).read())
    assert [call.has_recording for call in found] == [True, None, True, True, None]


def test_recordings_are_read_no_further_back_than_the_calls() -> None:
    rows = [row(n) for n in range(1, 301)]
    vendor = Vendor(rows, recordings=[recording(n) for n in range(1, 301)])
    found = calls_of(vendor.read(NOON - timedelta(minutes=70)))
    assert [call.has_recording for call in found] == [True] * 70
    assert len(vendor.queries(adapter.RECORDINGS)) == 2


@pytest.mark.usefixtures("small_pages")
def test_recordings_are_read_once_a_reading_in_step_with_the_calls() -> None:
    vendor = Vendor([row(n) for n in range(1, 131)], recordings=[recording(n) for n in range(1, 131)])
    found = calls_of(vendor.read())
    assert all(call.has_recording for call in found)
    assert len(vendor.queries(adapter.RECORDINGS)) == 3
    paths = [asked.path for asked in vendor.asked]
    assert paths[:3] == [adapter.LOGS, adapter.RECORDINGS, adapter.RECORDINGS]


def test_recordings_are_not_asked_for_where_nobody_could_have_been_recorded() -> None:
    vendor = Vendor([row(1, type="video_room_pstn_leg"), row(2, type="dialogflow_call")])
    vendor.read()
    assert not vendor.queries(adapter.RECORDINGS)


@pytest.mark.parametrize(
    "reply", [Reply(401), Reply(403), Reply(404), Reply(200, {"data": "none"}), Reply(200, b"<p>")]
)
def test_without_recordings_calls_come_all_the_same(reply: Reply) -> None:
    async def both(provider: AnyProvider) -> Any:
        return await pages(provider, LONG_AGO), provider.trouble

    found, trouble = Vendor([row(1)], before=on(adapter.RECORDINGS, lambda _: reply)).work(both)
    assert [call.has_recording for call in calls_of(found)] == [None]
    assert trouble is None


def test_a_list_of_recordings_that_is_down_keeps_no_later_reading_waiting() -> None:
    vendor = Vendor([row(1)], before=refused(adapter.RECORDINGS, 503))

    async def twice(provider: AnyProvider) -> list[Page]:
        await pages(provider, LONG_AGO)
        vendor.asked.clear()
        return await pages(provider, LONG_AGO)

    assert ids(vendor.work(twice)) == ["log00001"]
    assert not vendor.queries(adapter.RECORDINGS)


def test_recordings_in_a_circle_end() -> None:
    body = {"links": {"next": "?page_token=PA1"}, "data": [recording(1)]}
    vendor = Vendor([row(1)], before=on(adapter.RECORDINGS, lambda _: Reply(200, body)))
    assert [call.has_recording for call in calls_of(vendor.read())] == [True]
    assert len(vendor.queries(adapter.RECORDINGS)) == 2


# The words of LaML recordings


def spoken(n: int, text: str | None, seconds: int = 40) -> dict[str, Any]:
    made = format_datetime(NOON - timedelta(minutes=n) + timedelta(seconds=seconds))
    return {
        "sid": f"tr{n}",
        "recording_sid": f"re{n}-{seconds}",
        "date_created": made,
        "status": "completed",
        "transcription_text": text,
    }


def laml_recording(n: int, seconds: int = 40, sid: str | None = None) -> dict[str, Any]:
    made = format_datetime(NOON - timedelta(minutes=n) + timedelta(seconds=seconds - 30))
    return {"sid": f"re{n}-{seconds}", "call_sid": sid or f"sid{n}", "date_created": made}


def test_what_laml_transcribed_is_one_turn_of_nobody_known() -> None:
    vendor = Vendor(
        [laml(1), laml(2), row(3)],
        transcriptions=[spoken(1, "Call me back, please. "), spoken(2, None)],
        laml_recordings=[laml_recording(1), laml_recording(2)],
    )
    found = calls_of(vendor.read())
    said = Turn(n=1, speaker=Speaker.UNKNOWN, text="Call me back, please.")
    assert [call.turns for call in found] == [(said,), (), ()]


def test_two_recordings_of_a_call_are_one_turn_in_their_order() -> None:
    vendor = Vendor(
        [laml(1)],
        transcriptions=[spoken(1, "Second.", 90), spoken(1, "First.", 40)],
        laml_recordings=[laml_recording(1, 90), laml_recording(1, 40)],
    )
    assert [turn.text for turn in calls_of(vendor.read())[0].turns] == ["First.\nSecond."]


def test_a_row_without_a_link_is_joined_by_its_id() -> None:
    vendor = Vendor(
        [laml(1, url=None)], transcriptions=[spoken(1, "Hello.")], laml_recordings=[laml_recording(1, sid="log00001")]
    )
    assert [turn.text for turn in calls_of(vendor.read())[0].turns] == ["Hello."]


def test_the_month_as_the_vendor_writes_it_is_read() -> None:
    began = datetime(2018, 9, 25, 23, tzinfo=UTC)
    day = "Tue, 25 Sept 2018 23:00:00 +0000"
    vendor = Vendor(
        [laml(1, created_at=stamp(began))],
        transcriptions=[{**spoken(1, "Hello."), "date_created": "Thur, 27 Sept 2018 02:00:00 +0000"}],
        laml_recordings=[{**laml_recording(1), "date_created": day}],
    )
    found = vendor.read(datetime(2018, 1, 1, tzinfo=UTC))
    assert [turn.text for turn in calls_of(found)[0].turns] == ["Hello."]


@pytest.mark.parametrize(
    "odd", ["", " ", "soon", "Tue, 99 Sep 2018 23:00:00 +0000", f"Tue, 25 Sep {'9' * 20} 23:00:00 +0000", None, 7, {}]
)
def test_a_transcription_whose_time_cannot_be_read_is_left_out(odd: Any) -> None:
    vendor = Vendor([laml(1)], transcriptions=[{**spoken(1, "Hello."), "date_created": odd}])
    assert calls_of(vendor.read())[0].turns == ()


def test_laml_lists_are_asked_for_only_where_they_could_tell_something() -> None:
    vendor = Vendor([row(1)])
    vendor.read()
    assert not vendor.queries(TRANSCRIPTIONS)
    vendor = Vendor([laml(1)])
    vendor.read()
    assert vendor.queries(TRANSCRIPTIONS) == [{"Page": "0", "PageSize": "1000"}]
    assert not vendor.queries(LAML_RECORDINGS)
    assert not vendor.queries(adapter.RECORDINGS)


@pytest.mark.usefixtures("small_pages")
def test_pages_of_laml_lists_are_followed_no_further_back_than_the_calls() -> None:
    numbers = range(1, 301)
    vendor = Vendor(
        [laml(n) for n in numbers],
        transcriptions=[spoken(n, f"Words {n}.") for n in numbers],
        laml_recordings=[laml_recording(n) for n in numbers],
    )
    found = calls_of(vendor.read(NOON - timedelta(minutes=70)))
    assert [call.turns[0].text for call in found] == [f"Words {n}." for n in range(1, 71)]
    assert len(vendor.queries(TRANSCRIPTIONS)) == len(vendor.queries(LAML_RECORDINGS)) == 2


@pytest.mark.parametrize("path", [TRANSCRIPTIONS, LAML_RECORDINGS])
def test_refused_laml_lists_cost_no_call(path: str) -> None:
    vendor = Vendor(
        [laml(1)],
        before=refused(path),
        transcriptions=[spoken(1, "Hello.")],
        laml_recordings=[laml_recording(1)],
    )
    assert [call.turns for call in calls_of(vendor.read())] == [()]


# One call


def event(name: str, seconds: float, **params: Any) -> dict[str, Any]:
    at = (NOON + timedelta(seconds=seconds)).isoformat().replace("+00:00", "Z")
    return {"event_at": at, "level": "info", "name": name, "details": {"params": params} if params else {}}


def single(events: Any, **more: Any) -> Call:
    vendor = Vendor([row(1, **more)], events={"log00001": events})
    found = vendor.work(lambda provider: provider.get("log00001"))
    assert found is not None
    return found


def test_a_calls_events_tell_when_it_was_answered_and_ended_and_nothing_else_is_kept() -> None:
    link = "https://files.example.com/secret.mp3"
    call = single(
        [
            event("calling_call_state", 1, call_state="ended") | {"event_at": None},
            event("calling_call_initiated", 0),
            event("calling_call_state", 4, call_state="answered", secret="x"),
            event("calling_call_record", 60, state="finished", url=link),
            event("calling_call_state", 61, call_state="ended"),
            event("calling_call_state", 62, call_state="answered"),
        ]
    )
    assert call.answered_at == NOON + timedelta(seconds=4)
    assert call.ended_at == NOON + timedelta(seconds=61)
    assert call.has_recording is True
    assert "secret" not in call.model_dump_json()


@pytest.mark.parametrize(
    "odd",
    [
        [],
        [7, None, "answered", {}],
        [{"name": "calling_call_answered", "event_at": "soon", "details": "none"}],
        [event("calling_call_record", 3, state="no_input"), event("something_else", 3, state="answered")],
        [{"name": "calling_call_state", "event_at": stamp(NOON), "details": {"params": {"call_state": {}}}}],
    ],
)
def test_events_that_tell_nothing_leave_the_log_as_it_is(odd: list[Any]) -> None:
    def events(asked: Asked) -> Reply | None:
        return Reply(200, {"data": odd}) if asked.path.endswith("/events") else None

    call = Vendor([row(1)], before=events).work(lambda provider: provider.get("log00001"))
    assert call == only_call()


@pytest.mark.parametrize("reply", [Reply(404), Reply(403), Reply(500), Reply(200, b"Not Found"), Reply(200, {})])
def test_without_events_the_log_is_enough(reply: Reply) -> None:
    def events(asked: Asked) -> Reply | None:
        return reply if asked.path.endswith("/events") else None

    call = Vendor([row(1)], before=events).work(lambda provider: provider.get("log00001"))
    assert call == only_call()


@pytest.mark.parametrize("reply", [Reply(404, b'"Not Found"'), Reply(404, b"Not Found"), Reply(400), Reply(422)])
def test_an_unknown_id_is_no_call_however_the_vendor_says_so(reply: Reply) -> None:
    assert Vendor([], before=lambda _: reply).work(lambda provider: provider.get("log00001")) is None


# Settings and advice


@pytest.mark.parametrize("space", ["example", "example.signalwire.com", "my-space-2"])
def test_a_space_is_a_name_or_the_vendors_host_of_that_name(space: str) -> None:
    base_url = account(None, space=space).open().connection().base_url
    assert base_url == f"https://{space.removesuffix('.signalwire.com')}.signalwire.com"


@pytest.mark.parametrize(
    "space",
    ["", "Example", "a.b", "evil.com/", "x.signalwire.com.evil.com", "user@evil", "a" * 64, "x\n", "https://x", "é"],
)
def test_a_space_that_could_be_another_host_is_refused(space: str) -> None:
    with pytest.raises(ValidationError):
        account(None, space=space)


@pytest.mark.parametrize(
    ("status", "body", "advice"),
    [
        (401, {"error": "Unauthorized"}, "Check SIGNALWIRE_PROJECT_ID and SIGNALWIRE_API_TOKEN"),
        (403, {"error": "Forbidden"}, "with scope Voice"),
        (404, {"error": "Not Found"}, "Check SIGNALWIRE_SPACE"),
        (422, {"errors": [{"code": "exceeds_history_logs_limit"}]}, "CALL_LOGS_HISTORY"),
        (422, {"errors": [{"detail": "odd", "status": "422", "title": "odd", "code": "123"}]}, "Check the account's"),
        (400, {"error": "Bad Request"}, "Check the account's settings"),
    ],
)
def test_a_refusal_is_answered_with_what_to_fix(status: int, body: Any, advice: str) -> None:
    with pytest.raises(ProviderError) as raised:
        Vendor([], before=lambda _: Reply(status, body)).read()
    assert type(raised.value) is (AuthFailed if status in (401, 403) else Rejected)
    assert advice in raised.value.next_step
    assert json.dumps(body) not in str(raised.value)


# The sandbox


def test_the_stand_in_refuses_what_the_documents_refuse() -> None:
    vendor = Vendor([row(n) for n in range(1, 61)])
    pair = (PROJECT, TOKEN)
    with staged(vendor) as origin, httpx.Client(base_url=origin, trust_env=False, auth=pair) as client:

        def asked(**query: Any) -> tuple[int, str | None]:
            answer = client.get(adapter.LOGS, params=query)
            errors = answer.json().get("errors")
            return answer.status_code, errors[0]["code"] if errors else None

        assert asked() == (200, None)
        assert asked(pageSize=7, nonsense=1) == (200, None)
        assert asked(page_size=1001)[0] == asked(page_size=0)[0] == asked(page_size="x")[0] == 422
        assert asked(page_number=1) == (422, "page_token_required")
        assert asked(page_number=1, page_token="PA0") == (422, "page_token_is_invalid")
        assert asked(created_after="soon") == (422, "not_a_datetime")
        assert client.get(f"{adapter.LOGS}/nobody").json() == {"error": "Not Found"}
        assert client.post(adapter.LOGS).status_code == 405
        wrong = client.get(adapter.LOGS, auth=(PROJECT, "another"))
        assert (wrong.status_code, wrong.json()) == (401, {"error": "Unauthorized"})
        page = client.get(adapter.LOGS).json()
        assert len(page["data"]) == 50
        assert page["links"]["next"].startswith(f"https://{SPACE}.signalwire.com{adapter.LOGS}?page_number=1&")
        assert "prev" not in page["links"]


def test_the_stand_in_shows_deleted_rows_only_where_they_are_asked_for() -> None:
    deleted = {"id": "log00002", "discarded_at": stamp(NOON), "created_at": stamp(NOON - timedelta(minutes=2))}
    vendor = Vendor([row(1), deleted])
    pair = (PROJECT, TOKEN)
    with staged(vendor) as origin, httpx.Client(base_url=origin, trust_env=False, auth=pair) as client:
        assert [one["id"] for one in client.get(adapter.LOGS).json()["data"]] == ["log00001"]
        shown = client.get(adapter.LOGS, params={"include_deleted": "true"}).json()["data"]
        assert [one["id"] for one in shown] == ["log00001", "log00002"]


def test_the_real_refusals_of_the_stand_in_park_the_account() -> None:
    with staged(Vendor([])) as base_url:
        for wrong in ({"api_token": "another-token"}, {"project_id": "another"}):
            with pytest.raises(AuthFailed):
                finished(worked, account(base_url, **wrong), everything)


def expected(call: business.PhoneCall) -> dict[str, Any]:
    """What of a call of the business the log tells, in our words."""
    told = call.story
    customer = call.customer.number if call.customer else None
    outbound = told.direction == "outbound"
    dialogflow, live = call.key in sandbox.KINDS and told.status != "in_progress", told.status == "in_progress"
    answered = told.duration_seconds > 0
    seconds = told.duration_seconds + (0.0 if dialogflow or (outbound and not answered) else told.ringing_seconds)
    return {
        "parent_id": None,
        "direction": Direction.UNKNOWN if dialogflow else Direction(told.direction),
        "status": Status(told.status),
        "from_number": call.agent.number if outbound else customer,
        "to_number": customer if outbound else call.agent.number,
        "started_at": call.started_at.replace(microsecond=0),
        "duration_seconds": None if live else seconds,
        "has_recording": True if call.agent.name == "Billing" else None,
        "currency": "USD",
        "turns": (),
        "actions": (),
        "summary": None,
        "agent_id": None,
        "is_test": False,
        "extracted": {},
    }


def test_every_call_of_the_sandbox_arrives_once_with_every_canonical_field_right(tmp_path: Path) -> None:
    calls = business.calls(NOW, "signalwire")
    held = synced(calls, tmp_path)
    legs = {leg["id"]: leg for call in calls for leg in sandbox.legs(call)}
    shown = {sandbox.log_id(call): call for call in calls if call.key not in sandbox.DELETED}
    assert len(held) == len({call.id for call in held}) == len(shown) + len(legs)
    for call in held:
        if call.vendor_call_id in shown:
            wanted = expected(shown[call.vendor_call_id])
            assert {name: getattr(call, name) for name in wanted} == wanted, shown[call.vendor_call_id].key
            assert (call.cost or 0) > 0 or not (call.duration_seconds and call.status is Status.COMPLETED)
            continue
        leg = legs[call.vendor_call_id]
        assert call.parent_id in shown
        assert (call.direction, call.from_number, call.to_number) == (Direction.OUTBOUND, leg["from"], leg["to"])
        assert call.status is (Status.COMPLETED if leg["billing_ms"] else Status.UNKNOWN)
        assert call.started_at >= shown[call.parent_id].started_at.replace(microsecond=0)
    assert {call.status for call in held} >= {Status.COMPLETED, Status.BUSY, Status.NO_ANSWER, Status.IN_PROGRESS}


def synced(calls: list[business.PhoneCall], folder: Path) -> list[Call]:
    """What a store holds of the business once its account was synced."""
    stand_in = sandbox.stand_in(calls)
    store = SQLiteStore(folder / "calls.db")
    with staged(stand_in.app) as base_url:
        sync = Sync([account(base_url, **stand_in.settings)], store, history=timedelta(days=90), now=lambda: NOW)

        async def once() -> None:
            async with sync.running():
                assert (await sync.finish("acme")).state == "ok"

        finished(once)
    listed = store.list_calls(Filter(("acme",), include_legs=True, include_tests=True), limit=1000)
    held = [store.call(("acme",), listed_row.id) for listed_row in listed.rows]
    store.close()
    return [call for call in held if call is not None]


def test_a_single_read_of_a_recorded_call_adds_its_times() -> None:
    calls = business.calls(NOW, "signalwire")
    recorded = next(call for call in calls if sandbox.is_recorded(call))
    stand_in = sandbox.stand_in(calls)

    async def single_read(provider: AnyProvider) -> Call | None:
        return await provider.get(sandbox.log_id(recorded))

    with staged(stand_in.app) as base_url:
        call = finished(worked, account(base_url, **stand_in.settings), single_read)
    assert call is not None
    answered = recorded.started_at + timedelta(seconds=recorded.story.ringing_seconds)
    assert call.answered_at == answered.replace(microsecond=0)
    assert call.ended_at is not None
    assert call.ended_at > call.answered_at
    assert call.has_recording is True


# Reports

MICRO = 1_000_000
BEGAN = datetime(2026, 8, 20, 14, 3, 22, tzinfo=UTC)


def micros(seconds: float) -> int:
    return round((BEGAN.timestamp() + seconds) * MICRO)


def report(answer: Any = None, **more: Any) -> dict[str, Any]:
    """A report of a short call, begun at `BEGAN` and answered 0.4 s later."""
    return {
        "action": "post_conversation",
        "conversation_type": "voice",
        "call_id": "0b6f3a52-6d2e-4d0a-9f1e-2c9a4b6a0f11",
        "call_start_date": micros(0),
        "call_answer_date": micros(0.4),
        "call_end_date": micros(136.9),
        "ai_start_date": micros(0.5),
        "caller_id_number": "+12065550123",
        "call_log": [
            {"role": "system", "content": "secret-prompt", "timestamp": micros(0.5)},
            {"role": "assistant-thinking", "content": "secret-thought", "timestamp": micros(0.6)},
            {
                "role": "assistant",
                "content": " Thanks for calling.",
                "timestamp": micros(3),
                "start_timestamp": micros(1.4),
            },
            {"role": "user", "content": "I want to move it. ", "timestamp": micros(9)},
            {
                "role": "assistant",
                "content": "secret-call",
                "tool_calls": [{"function": {"name": "find", "arguments": "secret-argument"}}],
                "timestamp": micros(10),
            },
            {"role": "tool", "content": "secret-result", "timestamp": micros(11)},
            {"role": "assistant", "content": "  ", "timestamp": micros(12)},
            {"role": "assistant", "content": "Done.", "timestamp": micros(18)},
        ],
        "swaig_log": [
            {
                "command_name": "find_booking",
                "command_arg": "secret-argument",
                "epoch_time": round(BEGAN.timestamp()) + 10,
                "url": "https://agent:secret-password@tools.example.com/swaig",
                "post_data": {"meta_data_token": "secret-token"},
                "post_response": {"response": "secret-response"},
                "mcp_url": "https://secret-mcp.example.com",
            }
        ],
        "post_prompt_data": answer,
        "global_data": {"note": "secret-state"},
        "SWMLVars": {"record_call_url": "https://files.example.com/secret-recording.mp3"},
        "SWMLCall": {"headers": [{"name": "X-Key", "value": "secret-header"}], "direction": "inbound"},
        "project_id": "secret-project",
        **more,
    }


def test_a_report_becomes_a_call_with_what_was_said_and_done() -> None:
    call = read_report(report(call_ended_by="assistant"), "acme")
    assert (call.id, call.provider) == ("acme/0b6f3a52-6d2e-4d0a-9f1e-2c9a4b6a0f11", "signalwire")
    assert (call.started_at, call.answered_at) == (BEGAN, BEGAN + timedelta(seconds=0.4))
    assert (call.ended_at, call.duration_seconds) == (BEGAN + timedelta(seconds=136.9), 136.9)
    assert (call.status, call.end_reason, call.from_number) == (Status.COMPLETED, "assistant", "+12065550123")
    assert call.direction is Direction.UNKNOWN
    assert [(turn.n, turn.speaker, turn.text, turn.offset_seconds) for turn in call.turns] == [
        (1, Speaker.AGENT, "Thanks for calling.", 1.0),
        (2, Speaker.CUSTOMER, "I want to move it.", 8.6),
        (3, Speaker.AGENT, "Done.", 17.6),
    ]
    (action,) = call.actions
    assert (action.kind, action.vendor_kind, action.name) == (ActionKind.CUSTOM, "swaig", "find_booking")
    assert (action.executed_at, action.turn, action.details) == (BEGAN + timedelta(seconds=10), 2, {})


@pytest.mark.parametrize(
    ("answer", "extracted", "summary"),
    [
        # flat
        ({"intent": "reschedule", "resolved": True}, {"intent": "reschedule", "resolved": True}, None),
        ({"summary": "Moved it.", "visits": 2}, {"summary": "Moved it.", "visits": 2}, "Moved it."),
        # raw alone
        ({"raw": '```json\n{"intent": "reschedule"}\n```'}, {"intent": "reschedule"}, None),
        ({"raw": 'As asked:\n```json\n{"intent": "move"}\n```\nBye.'}, {"intent": "move"}, "As asked:\n\nBye."),
        ({"raw": '{"intent": "reschedule", "visits": 2}'}, {"intent": "reschedule", "visits": 2}, None),
        ({"raw": " Moved the visit. "}, {}, "Moved the visit."),
        ({"raw": '{"intent": "resch'}, {}, None),
        ({"raw": "[" * 100_000}, {}, None),
        # as documented now
        ({"parsed": [{"intent": "a"}, {"visits": 1.5}], "raw": "…"}, {"intent": "a", "visits": 1.5}, None),
        ({"parsed": [{"a": "b"}], "raw": '{"a":"b"} Moved.', "substituted": " Moved."}, {"a": "b"}, "Moved."),
        ({"parsed": [], "raw": "Moved the visit."}, {}, "Moved the visit."),
        ({"parsed": {"intent": "a"}, "raw": ""}, {"intent": "a"}, None),
        # none
        ("Moved the visit.", {}, "Moved the visit."),
        ({"parsed": [], "raw": ""}, {}, None),
        ({"parsed": "odd", "raw": None}, {}, None),
        ({}, {}, None),
        (None, {}, None),
        (7, {}, None),
    ],
)
def test_the_answer_to_the_post_prompt_is_read_in_all_its_shapes(
    answer: Any, extracted: dict[str, Any], summary: str | None
) -> None:
    call = read_report(report(answer), "acme")
    assert (call.extracted, call.summary) == (extracted, summary)


def test_extracted_values_are_scalars_cut_and_without_secrets() -> None:
    values = {
        "note": "x " * 400,
        "Portal Password": "hunter22",
        "key": "eyJhbGciOiJI.eyJzdWIiOiIx",
        "nested": {"a": 1},
        "tags": ["new"],
        "empty": " ",
        "none": None,
        "password in a link": "https://user:pw@example.com/a",
        "account": "https://user:pw@example.com/a",
        "link": "https://example.com/a?from=sms#top",
        "hidden": "a\u202eb",
    }
    call = read_report(report({"parsed": [values], "raw": ""}), "acme")
    assert call.extracted == {"note": ("x " * 400)[:500], "link": "https://example.com/a", "hidden": "ab"}
    escaped = read_report(report({"raw": '{"hidden": "a\\u202eb\\ud800"}'}), "acme")
    assert escaped.extracted == {"hidden": "ab\ufffd"}


def test_nothing_of_a_reports_secrets_is_kept() -> None:
    assert "secret" not in read_report(report({"parsed": [{"intent": "a"}], "raw": ""}), "acme").model_dump_json()


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("transfer_call", ActionKind.TRANSFER),
        ("connectToBilling", ActionKind.TRANSFER),
        ("send_sms", ActionKind.MESSAGE),
        ("sendSMS", ActionKind.MESSAGE),
        ("send-text", ActionKind.MESSAGE),
        ("text_directions", ActionKind.MESSAGE),
        ("send_message", ActionKind.MESSAGE),
        ("hangup", ActionKind.END),
        ("hang_up_call", ActionKind.END),
        ("end_call", ActionKind.END),
        ("end", ActionKind.END),
        ("get_calendar", ActionKind.CUSTOM),
        ("check_transfer_rules", ActionKind.CUSTOM),
        ("take_message", ActionKind.CUSTOM),
        ("end_of_day_hours", ActionKind.CUSTOM),
        ("send_email", ActionKind.CUSTOM),
        ("extract_context", ActionKind.CUSTOM),
        ("预约", ActionKind.CUSTOM),
    ],
)
def test_a_tool_is_what_its_name_says_in_whole_words(name: str, kind: ActionKind) -> None:
    (action,) = read_report(report(swaig_log=[{"command_name": name}]), "acme").actions
    assert (action.kind, action.name, action.executed_at, action.turn) == (kind, name, None, None)


def test_a_call_that_nobody_answered_counts_from_its_start_and_is_not_called_completed() -> None:
    call = read_report(report(call_answer_date=0), "acme")
    assert (call.answered_at, call.status) == (None, Status.UNKNOWN)
    assert call.turns[0].offset_seconds == 1.4


def test_a_call_that_was_still_up_has_no_end() -> None:
    call = read_report(report(call_end_date=0), "acme")
    assert (call.ended_at, call.duration_seconds, call.status) == (None, None, Status.UNKNOWN)


def test_the_unfiltered_conversation_stands_in_for_one_that_is_missing() -> None:
    whole = report()
    assert read_report({**whole, "call_log": None, "raw_call_log": whole["call_log"]}, "acme").turns
    assert read_report({**whole, "call_log": [], "raw_messages": whole["call_log"]}, "acme").turns
    assert read_report({**whole, "call_log": []}, "acme").turns == ()


@pytest.mark.parametrize("odd", [-1, 0, "soon", None, {}, 1e300, 12, True])
def test_a_time_that_cannot_be_is_left_out(odd: Any) -> None:
    log = [{"role": "user", "content": "Hello.", "timestamp": odd, "start_timestamp": odd}]
    call = read_report(report(call_log=log, swaig_log=[{"command_name": "end", "epoch_time": odd}]), "acme")
    assert [turn.offset_seconds for turn in call.turns] == [None]
    assert [action.executed_at for action in call.actions] == [None]


def test_entries_that_cannot_be_read_cost_no_other() -> None:
    said = {"role": "user", "content": "Hello."}
    call = read_report(
        report(call_log=[7, None, {"role": {}}, said], swaig_log=[None, {}, {"command_name": "end"}]), "a"
    )
    assert [turn.text for turn in call.turns] == ["Hello."]
    assert [action.name for action in call.actions] == ["end"]


def nested(levels: int) -> Any:
    value: Any = "secret"
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("odd", "fields"),
    [
        ({}, ("call_id",)),
        ([report()], ("the whole",)),
        ("secret", ("the whole",)),
        (None, ("the whole",)),
        (nested(5000), ("the whole",)),
        (report(call_id="../secret"), ("call_id",)),
        (report(call_id=""), ("call_id",)),
        (report(action="fetch_conversation"), ("action",)),
        (report(conversation_type="chat"), ("conversation_type",)),
        (report(call_start_date=0, call_answer_date=None, ai_start_date="x"), ("call_start_date",)),
        (report(call_log="secret"), ("call_log",)),
        ({"call_id": "a", "secret": "secret"}, ("call_start_date", "call_log")),
    ],
)
def test_what_is_no_report_is_refused_by_its_fields_and_quoted_nowhere(odd: Any, fields: tuple[str, ...]) -> None:
    with pytest.raises(UnexpectedPayload) as raised:
        read_report(odd, "acme")
    assert raised.value.fields == fields
    assert "secret" not in str(raised.value)
    assert "post_prompt_url" in raised.value.next_step


def test_the_reports_of_the_sandbox_say_what_was_said_and_belong_to_its_logs() -> None:
    told = [call for call in business.calls(NOW, "signalwire") if call.story.spoken]
    assert len(told) >= 15
    for call in told:
        read = read_report(sandbox.post_prompt_report(call), "acme")
        assert read.vendor_call_id == sandbox.call_log(call)["id"]
        assert [(turn.speaker.value, turn.text) for turn in read.turns] == [
            (turn.speaker, turn.text) for turn in call.story.spoken
        ]
        offsets = [turn.offset_seconds or 0 for turn in read.turns]
        assert offsets == pytest.approx([turn.offset_seconds for turn in call.story.spoken], abs=0.001)
        assert read.summary == call.story.summary
        assert read.from_number == (call.customer.number if call.customer else None)
        assert len(read.actions) == len(call.story.executed)
        assert "sandbox-secret" not in read.model_dump_json()
    kinds = {action.kind for call in told for action in read_report(sandbox.post_prompt_report(call), "a").actions}
    assert kinds == {ActionKind.TRANSFER, ActionKind.MESSAGE, ActionKind.END, ActionKind.CUSTOM}
