"""Vyom's quirks, where the tape cannot show them: against the sandbox, over loopback."""

import json
from collections.abc import Awaitable, Callable, Mapping
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import parse_qsl

import httpx
import pytest
from pydantic import ValidationError

from call_logs.errors import AuthFailed, ProviderError, Rejected, Unavailable, UnexpectedPayload
from call_logs.model import Call, Direction, Speaker, Status
from call_logs.providers import Account, AnyProvider, Page
from call_logs.providers import vyom as adapter
from call_logs.sandbox import App, Message, Receive, Send, business
from call_logs.sandbox import vyom as sandbox
from call_logs.sandbox.business import PhoneCall
from call_logs.store.sqlite import SQLiteStore
from call_logs.sync import Sync
from tape import Asked, Fault, Held, Reply, answered, calls_of, finished, pages, staged, unhurried, worked

KEY = "lvk_sandbox-key-opens-nothing"
T = TypeVar("T")
NOON = datetime(2026, 6, 15, 12, tzinfo=UTC)
NOW = datetime(2026, 9, 30, 17, 20, 5, tzinfo=UTC)
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
NAMES = {name: f"VYOM_{name}".upper() for name in ("api_key", "assistant_ids", "base_url")}
FRONT, BILLING, GONE = "assistant-front", "assistant-billing", "assistant-gone"
CHECK, ASSISTANTS, RECORDS = "/auth/check-key", "/assistant/list", "/call/records"
ABSENT: dict[int, dict[str, Any]] = {
    404: {"detail": "Not Found"},
    403: {"success": False, "message": "Super admin access required", "data": {}},
    405: {"detail": "Method Not Allowed"},
    501: {"detail": "Not Implemented"},
}


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither for the rate, nor between retries."""
    unhurried(monkeypatch)


def row(n: int, began: datetime | None = None, **more: Any) -> dict[str, Any]:
    """The n-th call; a higher one began earlier, by a minute each. Every third one is Billing's."""
    moment = began or NOON - timedelta(minutes=n)
    return {
        "room_name": f"room{n}",
        "assistant_id": BILLING if n % 3 == 0 else FRONT,
        "assistant_name": "Billing" if n % 3 == 0 else "Front Desk",
        "is_passthrough": False,
        "to_number": "+12065550123",
        "call_status": "completed",
        "started_at": moment.isoformat().replace("+00:00", "Z"),
        "answered_at": None,
        "ended_at": None,
        "call_duration_minutes": 0.5,
        "recording_path": None,
        "transcripts": [],
        "call_type": "inbound",
        "platform_number": "+12065550100",
        **more,
    }


def assistants(*ids: str) -> list[dict[str, Any]]:
    return [{"assistant_id": one, "assistant_name": one.title()} for one in ids]


class Vendor:
    """The sandbox over some rows. `before` may answer instead; `meanwhile` runs after each page of calls."""

    def __init__(
        self,
        rows: list[dict[str, Any]],
        *,
        has_records: bool = True,
        known: list[dict[str, Any]] | None = None,
        before: Fault = lambda _: None,
        meanwhile: Callable[[int], object] = lambda _: None,
    ) -> None:
        self.rows = rows
        self.known = assistants(FRONT, BILLING) if known is None else known
        self.asked: list[Asked] = []
        self._app: App = sandbox.application(rows, self.known, api_key=KEY, has_records=has_records)
        self._before, self._meanwhile = before, meanwhile

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        query = dict(parse_qsl(scope["query_string"].decode()))
        asked = Asked(scope["method"], scope["path"], "", query, scope["query_string"].decode(), {}, None)
        self.asked.append(asked)
        reply = self._before(asked)
        held = Held(send)
        if reply is None:
            await self._app(scope, receive, held)
        else:
            await answered(reply, held)
        if asked.path not in (CHECK, ASSISTANTS):
            self._meanwhile(len(self.lists))
        await held.release()

    @property
    def paths(self) -> list[str]:
        """What was asked for, in order."""
        return [asked.path for asked in self.asked]

    @property
    def lists(self) -> list[Asked]:
        """The pages of calls that were asked for, in order."""
        return [asked for asked in self.asked if asked.path not in (CHECK, ASSISTANTS)]

    def work(self, work: Callable[[AnyProvider], Awaitable[T]], **settings: str) -> T:
        """What the work comes to with a provider that reads here."""
        with staged(self) as base_url:
            return finished(worked, account(base_url, **settings), work)

    def read(
        self, since: datetime = LONG_AGO, until: datetime | None = None, resume: str | None = None, **settings: str
    ) -> list[Page]:
        """All pages."""
        return self.work(lambda provider: pages(provider, since, until, resume), **settings)


def account(base_url: str, **settings: str) -> Account:
    given = {"api_key": KEY, "base_url": base_url, **settings}
    return Account("acme", adapter.Vyom, adapter.VyomSettings.model_validate(given), NAMES)


def ids(found: list[Page]) -> list[str]:
    return [call.vendor_call_id for call in calls_of(found)]


def numbered(first: int, last: int) -> list[str]:
    return [f"room{n}" for n in range(first, last + 1)]


def logs_of(assistant_id: str) -> str:
    return f"/assistant/call-logs/{assistant_id}"


def listing(rows: Any, name: str = "records", **pagination: Any) -> Reply:
    return Reply(200, {"success": True, "message": "", "data": {name: rows, "pagination": pagination}})


def only(rows: list[Any]) -> Vendor:
    """A vendor whose list of all calls is these rows, whatever they are."""
    return Vendor([], before=lambda _: listing(rows, total=len(rows), page=1, limit=100, total_pages=1))


def claims_hold(found: list[Page]) -> bool:
    """Whether no page says that calls were listed which come only later."""
    return all(
        page.reached is None or all(call.started_at < page.reached for call in calls_of(found[n + 1 :]))
        for n, page in enumerate(found)
    )


# One list of all calls


def test_the_list_of_all_calls_is_asked_for_by_date_in_whole_pages_newest_first() -> None:
    vendor = Vendor([row(n) for n in range(1, 131)])
    found = vendor.read(NOON - timedelta(hours=2), NOON)
    assert ids(found) == numbered(1, 120)
    assert vendor.paths == [RECORDS, RECORDS]
    query = {"limit": "100", "sort_by": "started_at", "sort_order": "desc"}
    window = {"start_date": "2026-06-15T10:00:00.000000Z", "end_date": "2026-06-15T12:00:00.000000Z"}
    assert [asked.query for asked in vendor.asked] == [query | window | {"page": page} for page in ("1", "2")]


def test_the_window_stays_the_same_for_a_walk_and_hides_nothing_from_a_slow_clock() -> None:
    began = datetime.now(UTC)
    vendor = Vendor([row(n) for n in range(1, 250)] + [row(0, began + timedelta(minutes=3))])
    assert ids(vendor.read()) == numbered(0, 249)
    (end,) = {asked.query["end_date"] for asked in vendor.asked}
    assert datetime.fromisoformat(end) > began + timedelta(minutes=3)


def test_the_start_of_a_window_belongs_to_it_and_its_end_does_not() -> None:
    vendor = Vendor([row(1), row(2), row(3)])
    assert ids(vendor.read(NOON - timedelta(minutes=2), NOON - timedelta(minutes=1))) == ["room2"]


def test_calls_of_deleted_assistants_and_without_an_assistant_are_among_all_calls() -> None:
    passed = row(2, assistant_id=None, assistant_name=None, is_passthrough=True)
    vendor = Vendor([row(1, assistant_id=GONE), passed])
    assert [call.agent_id for call in calls_of(vendor.read())] == [GONE, None]


def test_an_account_without_calls_gives_one_empty_page_that_reaches_the_start() -> None:
    vendor = Vendor([])
    assert vendor.read() == [Page((), reached=LONG_AGO)]
    assert vendor.paths == [RECORDS]


def test_one_call_cannot_be_asked_for_and_nothing_is() -> None:
    vendor = Vendor([row(1)])
    assert vendor.work(lambda provider: provider.get("room1")) is None
    assert vendor.asked == []


def sliced(rows: list[dict[str, Any]], size: int = 100, **counts: Any) -> Fault:
    """Answers with pages of the rows as they are, whatever dates and order are asked for."""

    def answer(asked: Asked) -> Reply:
        start = (int(asked.query["page"]) - 1) * size
        return listing(rows[start : start + size], **counts)

    return answer


def test_a_deployment_that_ignores_dates_still_gives_only_the_window_and_not_all_its_pages() -> None:
    vendor = Vendor([], before=sliced([row(n) for n in range(1, 900)], total=899, total_pages=9))
    found = vendor.read(NOON - timedelta(minutes=150), NOON - timedelta(minutes=120))
    assert ids(found) == numbered(121, 150)
    assert len(vendor.asked) == 2


@pytest.mark.parametrize(
    ("counts", "asked"),
    [
        ({"total": 230, "total_pages": 3}, 3),
        ({"total_pages": 3}, 3),
        ({"total": 230}, 3),
        ({}, 3),
        ({"total": "many", "total_pages": {}}, 3),
        ({"total": 230, "total_pages": 0}, 3),
        ({"total": 1, "total_pages": 3}, 3),
        ({"total": 900, "total_pages": 3}, 4),
    ],
)
def test_counts_that_are_missing_or_wrong_cost_no_call(counts: dict[str, Any], asked: int) -> None:
    vendor = Vendor([], before=sliced([row(n) for n in range(1, 231)], **counts))
    assert ids(vendor.read()) == numbered(1, 230)
    assert len(vendor.asked) == asked


def test_pages_smaller_than_asked_for_cost_no_call() -> None:
    vendor = Vendor([], before=sliced([row(n) for n in range(1, 48)], size=10, total=47, total_pages=5))
    assert ids(vendor.read()) == numbered(1, 47)


# Pages that move


def test_calls_that_arrive_between_pages_come_once_and_cost_none_of_the_older_ones() -> None:
    rows = [row(n) for n in range(1, 331)]
    vendor = Vendor(rows, meanwhile=lambda n: rows.extend(row(-10 * n - k) for k in range(7)))
    found = vendor.read()
    assert set(numbered(1, 330)) <= set(ids(found))
    assert len(ids(found)) == len(set(ids(found)))
    assert claims_hold(found)


@pytest.mark.parametrize("gone", [1, 7, 230])
def test_calls_that_are_taken_out_between_pages_cost_none_of_the_others(gone: int) -> None:
    rows = [row(n) for n in range(1, 631)]

    def take_out(n: int) -> None:
        if n == 3:
            del rows[5 : 5 + gone]

    found = Vendor(rows, meanwhile=take_out).read()
    assert {one["room_name"] for one in rows} <= set(ids(found))
    assert len(ids(found)) == len(set(ids(found)))
    assert claims_hold(found)


def test_calls_that_were_taken_out_while_nobody_read_cost_none_of_the_others() -> None:
    rows = [row(n) for n in range(1, 331)]
    vendor = Vendor(rows)
    first = vendor.read()[:2]
    del rows[20:90]
    rest = vendor.read(resume=first[-1].resume)
    assert {one["room_name"] for one in rows} <= set(ids([*first, *rest]))


def test_a_count_that_goes_up_and_down_costs_no_call_and_ends() -> None:
    rows = [row(n) for n in range(1, 521)]

    def counted(asked: Asked) -> Reply | None:
        return sliced(rows, total=520 - len(vendor.asked) % 2, total_pages=6)(asked)

    vendor = Vendor([], before=counted)
    assert ids(vendor.read()) == numbered(1, 520)
    assert len(vendor.asked) < 12


def test_an_unordered_page_neither_ends_the_reading_nor_claims_how_far_it_got() -> None:
    rows = [row(n) for n in range(1, 231)]
    rows[4], rows[210] = rows[210], rows[4]
    found = Vendor([], before=sliced(rows, total=230, total_pages=3)).read(NOON - timedelta(minutes=120))
    assert sorted(ids(found)) == sorted(numbered(1, 120))
    assert [page.reached for page in found] == [None, None, NOON - timedelta(minutes=120)]


def test_calls_of_one_moment_on_two_pages_survive_a_resumption() -> None:
    rows = [row(n) for n in range(1, 99)] + [row(n, NOON - timedelta(hours=5)) for n in range(99, 104)]
    vendor = Vendor(rows)
    first = vendor.read()[0]
    rest = vendor.read(until=first.reached, resume=first.resume)
    assert set(ids([first, *rest])) == set(numbered(1, 103))


@pytest.mark.parametrize("bad", [[{"to_number": "nobody"}], [7, None, "call"], [row(1)]])
def test_the_same_page_forever_still_ends(bad: list[Any]) -> None:
    vendor = Vendor([], before=lambda _: listing(bad, total=9, total_pages=99))
    with pytest.raises(UnexpectedPayload, match="again and again"):
        vendor.read()
    assert len(vendor.asked) < 10


# Places


def test_a_resumed_reading_asks_for_the_same_window_and_the_last_page_again() -> None:
    vendor = Vendor([row(n) for n in range(1, 361)])
    resume = vendor.read()[1].resume
    asked = len(vendor.asked)
    assert ids(vendor.read(resume=resume)) == numbered(101, 360)
    assert vendor.asked[asked].query == {**vendor.asked[0].query, "page": "2"}


def test_the_last_page_leaves_nothing_to_resume() -> None:
    found = Vendor([row(n) for n in range(1, 161)]).read()
    assert [page.resume is None for page in found] == [False, True]


@pytest.mark.parametrize(
    "place", ["", "x", "{}", "[1]", '["a", "b", 1, 2, 3]', "null", '["2020-01-01", "2026-01-01", 1, 2, 3]', 7, None]
)
def test_a_place_that_cannot_be_read_starts_over(place: Any) -> None:
    for resume in (place, json.dumps({RECORDS: place}), json.dumps({"nobody": place})):
        if resume is None or isinstance(resume, str):
            assert ids(Vendor([row(1), row(2)]).read(resume=resume)) == ["room1", "room2"]


def test_a_place_of_a_shorter_history_starts_over() -> None:
    vendor = Vendor([row(n) for n in range(1, 361)])
    resume = vendor.read(NOON - timedelta(minutes=250))[1].resume
    assert ids(vendor.read(resume=resume)) == numbered(1, 360)


# One list an assistant


@pytest.mark.parametrize("status", ABSENT)
def test_where_the_list_of_all_calls_is_refused_every_assistants_is_read(status: int) -> None:
    reading: list[AnyProvider] = []
    troubled: dict[str, bool] = {}

    def refused(asked: Asked) -> Reply | None:
        troubled[asked.path] = reading[0].trouble is not None
        return Reply(status, ABSENT[status]) if asked.path == RECORDS else None

    async def read(provider: AnyProvider) -> list[Page]:
        reading.append(provider)
        return await pages(provider, LONG_AGO)

    vendor = Vendor([row(n) for n in range(1, 7)], before=refused)
    found = vendor.work(read)
    assert set(ids(found)) == set(numbered(1, 6))
    assert found[-1].reached == LONG_AGO
    assert not troubled[ASSISTANTS]
    assert [path for path in vendor.paths if path != RECORDS] == [ASSISTANTS, logs_of(FRONT), logs_of(BILLING)]


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (Reply(404, {"message": "no"}), Rejected),
        (Reply(404, b"<html>Not Found</html>", {"content-type": "text/html"}), Rejected),
        (Reply(403, {"detail": "Not authenticated"}), AuthFailed),
        (Reply(403, {"success": False, "message": "Invalid or inactive API key", "data": {}}), AuthFailed),
        (Reply(401, ABSENT[403]), AuthFailed),
        (Reply(422, ABSENT[404]), Rejected),
        (Reply(500, ABSENT[404]), Unavailable),
    ],
)
def test_another_refusal_is_one_and_no_other_list_is_tried(reply: Reply, kind: type[ProviderError]) -> None:
    vendor = Vendor([row(1)], before=lambda _: reply)
    with pytest.raises(kind):
        vendor.read()
    assert set(vendor.paths) == {RECORDS}


def test_a_wrong_address_is_named_as_such() -> None:
    vendor = Vendor([], before=lambda _: Reply(404, ABSENT[404]))
    with pytest.raises(Rejected) as raised:
        vendor.read()
    assert "VYOM_BASE_URL" in raised.value.next_step


def test_a_list_that_is_missing_is_asked_for_again_only_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    async def thrice(provider: AnyProvider) -> list[str]:
        return [one for _ in range(3) for one in ids(await pages(provider, LONG_AGO))]

    for seconds, times in ((3600.0, 1), (0.0, 3)):
        monkeypatch.setattr(adapter, "ABSENT_SECONDS", seconds)
        vendor = Vendor([row(1)], has_records=False)
        assert vendor.work(thrice) == ["room1"] * 3
        assert vendor.paths.count(RECORDS) == times


def test_lists_are_read_side_by_side_and_claim_no_more_than_all_have_reached() -> None:
    vendor = Vendor([row(n) for n in range(1, 541)], has_records=False)
    found = vendor.read()
    assert sorted(ids(found)) == sorted(numbered(1, 540))
    assert claims_hold(found)
    assert any(page.reached not in (None, LONG_AGO) for page in found)
    assert len({asked.query["end_date"] for asked in vendor.lists}) == 1


def test_a_reading_of_many_lists_resumes_from_any_page_and_misses_no_call() -> None:
    rows = [row(n) for n in range(1, 541)] + [row(n, NOON - timedelta(hours=20, minutes=n)) for n in range(541, 545)]
    vendor = Vendor(rows, has_records=False)
    found = vendor.read()
    for n, page in enumerate(found[:-1]):
        rest = vendor.read(until=page.reached, resume=page.resume)
        assert set(ids([*found[: n + 1], *rest])) == set(numbered(1, 544))


def test_a_list_that_ended_is_not_read_again_by_a_reading_resumed_twice() -> None:
    vendor = Vendor([row(n) for n in range(1, 541) if n % 3 or n < 30], has_records=False)
    once = next(page for page in vendor.read() if json.loads(page.resume or "{}").get(BILLING, "") is None)
    twice = next(page for page in vendor.read(resume=once.resume) if page.calls)
    asked = len(vendor.asked)
    vendor.read(resume=twice.resume)
    assert set(vendor.paths[asked:]) == {ASSISTANTS, logs_of(FRONT)}


def test_what_was_begun_one_way_goes_on_that_way_or_begins_anew() -> None:
    rows = [row(n) for n in range(1, 541)]
    by_assistant, all_in_one = Vendor(rows, has_records=False), Vendor(rows)
    resume = by_assistant.read()[1].resume
    all_in_one.read(resume=resume)
    assert RECORDS not in all_in_one.paths
    asked = len(by_assistant.asked)
    assert set(ids(by_assistant.read(resume=all_in_one.read()[1].resume))) == set(numbered(1, 540))
    assert by_assistant.paths[asked : asked + 2] == [RECORDS, ASSISTANTS]


def test_assistants_on_several_pages_are_all_read() -> None:
    known = assistants("one", "two", "three", "four", "five")

    def two_at_a_time(asked: Asked) -> Reply | None:
        start = 2 * (int(asked.query["page"]) - 1)
        listed = listing(known[start : start + 2], "assistants", total=5, total_pages=3)
        return listed if asked.path == ASSISTANTS else None

    rows = [row(n, assistant_id=one["assistant_id"]) for n, one in enumerate(known, 1)]
    vendor = Vendor(rows, has_records=False, known=known, before=two_at_a_time)
    assert sorted(ids(vendor.read())) == sorted(numbered(1, 5))
    asked = [asked.query for asked in vendor.asked if asked.path == ASSISTANTS]
    assert asked == [{"page": page, "limit": "100"} for page in ("1", "2", "3")]


def test_the_same_page_of_assistants_forever_still_ends() -> None:
    same = listing(assistants(FRONT), "assistants", total=9, total_pages=9)
    vendor = Vendor([], has_records=False, before=lambda asked: same if asked.path == ASSISTANTS else None)
    with pytest.raises(UnexpectedPayload, match="again and again"):
        vendor.read()
    assert len(vendor.asked) < 10


def test_an_assistant_deleted_before_or_while_its_calls_are_read_costs_no_other_call() -> None:
    rows = [row(n) for n in range(1, 541)]
    known = assistants(FRONT, BILLING)

    def listed(asked: Asked) -> Reply | None:
        once = assistants(FRONT, BILLING, GONE)
        return listing(once, "assistants", total=3, total_pages=1) if asked.path == ASSISTANTS else None

    def delete(n: int) -> None:
        if n == 6:
            known.remove(assistants(BILLING)[0])

    vendor = Vendor(rows, has_records=False, known=known, before=listed, meanwhile=delete)
    found = vendor.read()
    assert set(ids(found)) >= {one["room_name"] for one in rows if one["assistant_id"] == FRONT}
    assert 0 < sum(call.agent_id == BILLING for call in calls_of(found)) < 180
    assert logs_of(GONE) in vendor.paths
    assert found[-1].reached == LONG_AGO


def test_an_account_without_assistants_gives_one_empty_page_that_reaches_the_start() -> None:
    assert Vendor([], has_records=False, known=[]).read() == [Page((), reached=LONG_AGO)]


def test_an_assistant_without_an_id_is_no_reason_to_leave_its_calls_out() -> None:
    vendor = Vendor([row(1)], has_records=False, known=[*assistants(FRONT), {"assistant_name": "Billing"}])
    with pytest.raises(UnexpectedPayload) as raised:
        vendor.read()
    assert raised.value.fields == ("assistant_id",)
    assert "VYOM_ASSISTANT_IDS" in raised.value.next_step


def test_a_row_that_does_not_name_its_assistant_belongs_to_the_one_whose_list_it_is_in() -> None:
    def answer(asked: Asked) -> Reply | None:
        if asked.path != logs_of(FRONT):
            return None
        return listing([row(1, assistant_id=None), row(2, assistant_id="other")], "logs", total=2, total_pages=1)

    found = Vendor([], known=assistants(FRONT), has_records=False, before=answer).read()
    assert [call.agent_id for call in calls_of(found)] == [FRONT, "other"]


def test_the_documents_own_example_is_read() -> None:
    log = {
        "room_name": "550e8400-e29b-41d4-a716-446655440000_abc123",
        "assistant_id": "550e8400-e29b-41d4-a716-446655440000",
        "assistant_name": "Support Bot",
        "to_number": "+1234567890",
        "call_status": "completed",
        "call_status_reason": None,
        "sip_status_code": None,
        "sip_status_text": None,
        "answered_at": "2024-01-20T14:30:02.000Z",
        "started_at": "2024-01-20T14:30:00.000Z",
        "ended_at": "2024-01-20T14:35:00.000Z",
        "call_duration_minutes": 5.0,
        "recording_path": "https://bucket.s3.amazonaws.com/recordings/550e8400...abc123.ogg",
        "transcripts": [
            {"speaker": "agent", "text": "Hello, how can I help you?", "timestamp": "2024-01-20T14:30:05.000Z"}
        ],
    }
    chosen = log["assistant_id"]

    def answer(asked: Asked) -> Reply | None:
        example = listing([log], "logs", total=25, page=1, limit=5, total_pages=5)
        rest = listing([], "logs", total=25, page=2, limit=5, total_pages=5)
        return (example if asked.query["page"] == "1" else rest) if asked.path == logs_of(str(chosen)) else None

    (call,) = calls_of(Vendor([], before=answer).read(assistant_ids=str(chosen)))
    assert (call.vendor_call_id, call.direction, call.status) == (log["room_name"], Direction.UNKNOWN, Status.COMPLETED)
    assert (call.from_number, call.to_number, call.duration_seconds) == (None, "+1234567890", 300.0)
    assert [(turn.speaker, turn.offset_seconds) for turn in call.turns] == [(Speaker.AGENT, 3.0)]


# Chosen assistants


def test_an_account_limited_to_assistants_reads_theirs_and_asks_for_nothing_else() -> None:
    vendor = Vendor([row(n) for n in range(1, 31)], known=assistants(FRONT, BILLING, GONE))
    found = vendor.read(assistant_ids=f" {BILLING} ,{GONE}, {BILLING},")
    assert set(ids(found)) == {f"room{n}" for n in range(3, 31, 3)}
    assert set(vendor.paths) == {logs_of(BILLING), logs_of(GONE)}


def test_a_chosen_assistant_that_is_gone_is_logged_once_and_costs_no_other_call(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def twice(provider: AnyProvider) -> list[Page]:
        return [*await pages(provider, LONG_AGO), *await pages(provider, LONG_AGO)]

    found = Vendor([row(n) for n in range(1, 7)]).work(twice, assistant_ids=f"{GONE},{BILLING}")
    assert ids(found) == ["room3", "room6"] * 2
    assert [one.getMessage() for one in caplog.records if one.levelname == "WARNING"] == [
        f"acme: the vendor has no assistant {GONE} (any more)"
    ]


def test_a_chosen_assistant_that_is_back_counts_again() -> None:
    known = assistants(BILLING)

    async def thrice(provider: AnyProvider) -> list[Page]:
        found: list[Page] = []
        for known[:] in (assistants(BILLING), assistants(FRONT), assistants(BILLING)):
            found += await pages(provider, LONG_AGO)
        return found

    vendor = Vendor([row(n) for n in range(1, 4)], known=known)
    assert ids(vendor.work(thrice, assistant_ids=f"{BILLING},{FRONT}")) == ["room3", "room1", "room2", "room3"]


def test_an_account_limited_to_nobody_who_exists_is_not_read_as_one_without_calls() -> None:
    with pytest.raises(Rejected) as raised:
        Vendor([row(1)]).read(assistant_ids=f"{GONE},another")
    assert raised.value.http_status == 404
    assert "VYOM_ASSISTANT_IDS" in raised.value.next_step


@pytest.mark.parametrize(
    "odd", ["", " ", ",", "../x", "x/y", "x y", "a,b c", "a;b", "a,../b", "x" * 65, "a," + "x" * 65]
)
def test_assistant_ids_are_checked_one_by_one(odd: str) -> None:
    with pytest.raises(ValidationError) as raised:
        adapter.VyomSettings.model_validate({"api_key": KEY, "assistant_ids": odd})
    assert "assistant ids" in str(raised.value)


# What a row may hold


def calls_with(*changes: Mapping[str, Any]) -> list[Call]:
    """One call for each change to a row."""
    return calls_of(only([row(n, **change) for n, change in enumerate(changes, 1)]).read())


def first_call(**more: Any) -> Call:
    return calls_with(more)[0]


def test_every_status_has_its_word() -> None:
    words: dict[Any, Status] = {
        "initiated": Status.QUEUED,
        "answered": Status.IN_PROGRESS,
        "completed": Status.COMPLETED,
        "failed": Status.FAILED,
        "busy": Status.BUSY,
        "no_answer": Status.NO_ANSWER,
        "rejected": Status.REJECTED,
        "cancelled": Status.CANCELED,
        "unreachable": Status.FAILED,
        "timeout": Status.FAILED,
        "parked": Status.UNKNOWN,
    }
    found = calls_with(*({"call_status": word} for word in words))
    assert {call.vendor_status: call.status for call in found} == words


def test_a_call_without_a_readable_status_is_unknown() -> None:
    found = calls_with(*({"call_status": odd} for odd in (None, "", {"is": "odd"}, ["busy"])))
    assert [(call.status, call.vendor_status) for call in found] == [(Status.UNKNOWN, None)] * 4


@pytest.mark.parametrize(
    ("call_type", "to_number", "platform_number", "expected"),
    [
        ("inbound", "+12065550123", "+12065550100", ("inbound", "+12065550123", "+12065550100")),
        ("outbound", "+12065550123", "+12065550100", ("outbound", "+12065550100", "+12065550123")),
        ("inbound", "", "08044319240", ("inbound", None, "08044319240")),
        ("web", "Web Call", None, ("web", None, None)),
        ("inbound", "anonymous", None, ("inbound", "anonymous", None)),
        (None, "Web Call", None, ("web", None, None)),
        (None, "+12065550123", None, ("unknown", None, "+12065550123")),
        ("conference", "+12065550123", "+12065550100", ("unknown", None, "+12065550123")),
    ],
)
def test_the_other_party_stands_on_the_side_that_the_direction_says(
    call_type: str | None, to_number: str, platform_number: str | None, expected: tuple[str, str | None, str | None]
) -> None:
    call = first_call(call_type=call_type, to_number=to_number, platform_number=platform_number)
    assert (call.direction, call.from_number, call.to_number) == expected


def said(*entries: Any, **more: Any) -> list[tuple[str, str, float | None]]:
    call = first_call(transcripts=list(entries), **more)
    assert [turn.n for turn in call.turns] == list(range(1, len(call.turns) + 1))
    return [(turn.speaker, turn.text, turn.offset_seconds) for turn in call.turns]


def entry(text: Any, timestamp: Any, speaker: Any = "agent") -> dict[str, Any]:
    return {"speaker": speaker, "text": text, "timestamp": timestamp}


def test_offsets_count_from_the_answer_or_else_from_the_start_and_are_never_negative() -> None:
    began = row(1)["started_at"]
    early, late = "2026-06-15T11:59:03Z", "2026-06-15T11:59:10.250000Z"
    assert began == "2026-06-15T11:59:00Z"
    assert said(entry("a", early), entry("b", late)) == [("agent", "a", 3.0), ("agent", "b", 10.25)]
    answered_at = "2026-06-15T11:59:08Z"
    assert said(entry("a", early), entry("b", late), answered_at=answered_at) == [
        ("agent", "a", 0.0),
        ("agent", "b", 2.25),
    ]


@pytest.mark.parametrize("same", ["2026-06-15T11:59:04", "2026-06-15T17:29:04+05:30", "2026-06-15T11:59:04.000Z"])
def test_a_time_without_a_zone_is_utc_and_any_zone_is_understood(same: str) -> None:
    assert said(entry("a", same)) == [("agent", "a", 4.0)]
    assert first_call(answered_at=same).answered_at == datetime(2026, 6, 15, 11, 59, 4, tzinfo=UTC)


def test_a_time_that_cannot_be_read_is_left_out() -> None:
    odd: list[Any] = ["soon", "", {}, [], True, "0001-01-01T00:00:00", "9999-12-31T23:59:59-14:00", 1e300, None]
    found = calls_with(*({"answered_at": one, "ended_at": one, "transcripts": [entry("a", one)]} for one in odd))
    assert [(call.answered_at, call.ended_at, call.turns[0].offset_seconds) for call in found] == [
        (None, None, None)
    ] * len(odd)


def test_a_turn_of_another_year_has_no_offset() -> None:
    assert said(entry("a", "2027-06-15T11:59:04Z")) == [("agent", "a", None)]


def test_odd_entries_of_a_transcript_cost_no_other() -> None:
    good = entry("Hello.", None, "user")
    odd: list[Any] = [7, "words", None, [], {}, entry({"t": 1}, None), entry(None, None), entry(" \n ", None)]
    assert said(*odd, good, entry("Who?", None, 5)) == [("customer", "Hello.", None), ("unknown", "Who?", None)]
    nothing: list[Any] = [None, {}, "Hello.", 7]
    assert [first_call(transcripts=one).turns for one in nothing] == [(), (), (), ()]


def test_the_first_reason_that_can_be_shown_is_why_a_call_ended() -> None:
    reasons: dict[str | None, dict[str, Any]] = {
        "natural": {"call_end_reason": "natural", "call_status_reason": "x", "sip_status_text": "y"},
        "no answer": {"call_end_reason": " ", "call_status_reason": "no answer", "sip_status_text": "y"},
        "Busy Here": {"call_end_reason": None, "call_status_reason": None, "sip_status_text": "Busy Here"},
        "Decline": {"call_end_reason": f"token={KEY}", "sip_status_text": "Decline"},
        "https://x.example.com/a": {"call_status_reason": "https://x.example.com/a?key=sixteen-chars-or"},
        None: {},
    }
    assert [call.end_reason for call in calls_with(*reasons.values())] == list(reasons)
    assert len(first_call(call_status_reason="why " * 500).end_reason or "") <= 200


def test_minutes_become_seconds() -> None:
    minutes: list[Any] = [1.2345666666666666, 0, 0.0, "2.5", None, -1, 1e300, "long"]
    found = calls_with(*({"call_duration_minutes": one} for one in minutes))
    assert [call.duration_seconds for call in found] == [74.074, 0.0, 0.0, 150.0, None, None, None, None]


def test_of_a_recording_only_whether_there_is_one_is_kept() -> None:
    link = "https://bucket.s3.amazonaws.com/recordings/secret-place.ogg"
    call = first_call(recording_path=link)
    assert call.has_recording is True
    assert "secret-place" not in call.model_dump_json()
    assert first_call(recording_path=None).has_recording is False
    without = row(1)
    del without["recording_path"]
    assert calls_of(only([without]).read())[0].has_recording is None


def test_a_sip_code_is_a_number_or_nothing() -> None:
    codes: list[Any] = [486, "486", None, "busy", {}]
    found = calls_with(*({"sip_status_code": code} for code in codes))
    assert [call.sip_status_code for call in found] == [486, 486, None, None, None]


def test_a_call_whose_start_cannot_be_read_is_named_and_spoils_no_other() -> None:
    odd: list[Any] = ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "soon", None, 1e300, {}]
    rows = [row(1), *({**row(n), "started_at": one} for n, one in enumerate(odd, 2)), row(8), row(9)]
    del rows[7]["started_at"]
    (page,) = only(rows).read()
    assert [call.vendor_call_id for call in page.calls] == ["room1", "room9"]
    assert [(one.vendor_call_id, one.fields) for one in page.unreadable] == [
        (f"room{n}", ("started_at",)) for n in range(2, 9)
    ]


def test_an_answer_that_says_it_failed_is_no_list_of_calls() -> None:
    refused = Reply(200, {"success": False, "message": "x", "data": {"records": [], "pagination": {"total": 0}}})
    with pytest.raises(UnexpectedPayload) as raised:
        Vendor([], before=lambda _: refused).read()
    assert raised.value.fields == ("success",)


# The key


def test_a_check_asks_about_the_key_alone() -> None:
    vendor = Vendor([row(1)])
    vendor.work(lambda provider: provider.check(), assistant_ids=FRONT)
    assert [(asked.method, asked.path, asked.raw_query) for asked in vendor.asked] == [("GET", CHECK, "")]


@pytest.mark.parametrize("body", [{}, {"success": True}, {"success": False, "data": {}}, {"success": True, "data": 1}])
def test_a_check_without_the_keys_owner_has_not_passed(body: Mapping[str, Any]) -> None:
    with pytest.raises(UnexpectedPayload):
        Vendor([], before=lambda _: Reply(200, body)).work(lambda provider: provider.check())


def test_a_key_that_is_not_known_is_named() -> None:
    async def checked(provider: AnyProvider) -> None:
        await provider.check()

    async def read(provider: AnyProvider) -> None:
        await pages(provider, LONG_AGO)

    for work in (checked, read):
        vendor = Vendor([row(1)])
        with pytest.raises(AuthFailed) as raised:
            vendor.work(work, api_key="lvk_another")
        assert "VYOM_API_KEY" in raised.value.next_step
        assert len(vendor.asked) == 1


# The stand-in


@pytest.fixture
def client() -> Any:
    """Asks the stand-in of the business."""
    app = sandbox.stand_in(business.calls(NOW, "vyom")).app
    with staged(app) as base_url, httpx.Client(base_url=base_url, trust_env=False) as opened:
        opened.headers["authorization"] = f"Bearer {sandbox.API_KEY}"
        yield opened


def test_the_stand_in_refuses_in_the_vendors_words(client: httpx.Client) -> None:
    unknown = client.get(logs_of("9b2d7c1e-0000-4000-8000-000000000000"))
    assert (unknown.status_code, unknown.json()) == (
        404,
        {"success": False, "message": "Assistant not found", "data": {}},
    )
    for path in ("/nothing/here", "/call"):
        assert (client.get(path).status_code, client.get(path).json()) == (404, {"detail": "Not Found"})
    assert (client.post(RECORDS).status_code, client.post(RECORDS).json()) == (405, {"detail": "Method Not Allowed"})
    many = client.get(RECORDS, params={"limit": 101})
    assert many.status_code == 422
    assert many.json()["message"] == "Validation Error: query.limit: Input should be less than or equal to 100"
    assert many.json()["data"]["errors"][0]["loc"] == ["query", "limit"]
    for wrong in ({"page": 0}, {"limit": 0}, {"start_date": "yesterday"}, {"end_date": "2026-01-01T00:00:00 05:30"}):
        assert client.get(RECORDS, params=wrong).status_code == 422


@pytest.mark.parametrize(
    ("header", "message"),
    [("", "Not authenticated"), ("Basic abc", "Not authenticated"), ("Bearer lvk_x", "Invalid or inactive API key")],
)
def test_the_stand_in_wants_the_key_before_it_looks_at_the_query(
    client: httpx.Client, header: str, message: str
) -> None:
    for path in (CHECK, ASSISTANTS, RECORDS, logs_of("x")):
        answer = client.get(path, params={"limit": 101}, headers={"authorization": header})
        assert (answer.status_code, answer.json()) == (401, {"success": False, "message": message, "data": {}})


def test_the_stand_in_filters_and_sorts_as_documented(client: httpx.Client) -> None:
    def asked(path: str = RECORDS, /, **query: Any) -> list[dict[str, Any]]:
        return list(client.get(path, params={"limit": 100, **query}).json()["data"].values())[0]  # noqa: RUF015 - a dict

    everything = asked()
    starts = [datetime.fromisoformat(one["started_at"]) for one in everything]
    assert starts == sorted(starts, reverse=True)
    assert len(everything) == len(business.calls(NOW, "vyom"))
    first = client.get(RECORDS).json()["data"]
    assert first["pagination"] == {"total": 28, "page": 1, "limit": 10, "total_pages": 3}
    assert first["records"] == everything[:10]
    assert asked(page=2) == []
    bound = everything[4]["started_at"]
    assert asked(start_date=bound) + asked(end_date=bound)[1:] == everything
    assert asked(sort_order="ascending") == everything[::-1]
    assert {one["call_status"] for one in asked(call_status="busy")} == {"busy"}
    assert asked(passthrough_only="true") == []
    assert asked(nobody_knows="this") == everything
    longest = asked(sort_by="call_duration_minutes")
    assert longest[0]["call_duration_minutes"] == 30.0
    assert [one["assistant_name"] for one in asked(ASSISTANTS, assistant_name="^front")] == ["Front Desk"]


def test_the_business_uses_every_way_a_call_may_end(client: httpx.Client) -> None:
    rows = client.get(RECORDS, params={"limit": 100}).json()["data"]["records"]
    words = {word: [one for one in rows if one["call_status"] == word] for word in adapter.STATUSES}
    assert all(words.values())
    assert {one["call_type"] for one in rows} == {"inbound", "outbound", "web"}
    for one in rows:
        connected = one["call_status"] in ("completed", "answered")
        assert (one["answered_at"] is not None) == (connected and one["call_type"] != "web")
        assert (one["ended_at"] is None) == (one["call_duration_minutes"] is None)
        assert (one["to_number"] == "Web Call") == (one["call_type"] == "web") == (one["platform_number"] is None)
        assert one["transcripts"] == sorted(
            one["transcripts"], key=lambda entry: datetime.fromisoformat(entry["timestamp"])
        )


# The whole line


def as_told(told: PhoneCall) -> Call:
    """What must be known of a call of the business, once it came through the vendor."""
    story = told.story
    customer = None if told.customer is None else told.customer.number
    ours = None if customer is None else told.agent.number
    outbound = story.direction == "outbound"
    connected = story.status in ("completed", "in_progress")
    open_ = story.status in ("queued", "in_progress")
    picked_up = told.started_at + timedelta(seconds=story.ringing_seconds)
    talked = float(story.duration_seconds) if connected else 0.0
    words = {"queued": "initiated", "in_progress": "answered", "canceled": "cancelled"}
    failed = {"recall-number-gone": "unreachable", "reminder-leonard-times-out": "timeout"}
    return Call.model_validate(
        {
            "account": "acme",
            "provider": "vyom",
            "vendor_call_id": sandbox.room_name(told),
            "direction": story.direction,
            "status": story.status,
            "vendor_status": failed.get(told.key, words.get(story.status, story.status)),
            "end_reason": story.end,
            "sip_status_code": story.sip,
            "from_number": ours if outbound else customer,
            "to_number": customer if outbound else ours,
            "started_at": told.started_at,
            "answered_at": picked_up if connected and customer else None,
            "ended_at": None if open_ else picked_up + timedelta(seconds=talked),
            "duration_seconds": None if open_ else talked,
            "agent_id": sandbox.assistant_id(told.agent),
            "agent_name": told.agent.name,
            "has_recording": connected and customer is not None,
            "turns": tuple(
                {"n": n, "speaker": turn.speaker, "text": turn.text, "offset_seconds": turn.offset_seconds}
                for n, turn in enumerate(story.spoken, 1)
            ),
        }
    )


def stored(app: App, path: Path, told: list[PhoneCall], **settings: str) -> list[Call]:
    """What the store holds of these calls after one pass. Fails where it holds any other."""
    with staged(app) as base_url, closing(SQLiteStore(path)) as store:
        one = account(base_url, api_key=sandbox.API_KEY, **settings)
        sync = Sync([one], store, history=timedelta(days=90), now=lambda: NOW)

        async def once() -> None:
            async with sync.running():
                health = await sync.finish("acme")
                assert (health.state, health.problem) == ("ok", None)

        finished(once)
        assert store.accounts(["acme"])[0].calls == len(told)
        held = [store.call(["acme"], f"acme/{sandbox.room_name(call)}") for call in told]
        return [call for call in held if call is not None]


def test_every_call_of_the_sandbox_arrives_once_with_every_canonical_field_right(tmp_path: Path) -> None:
    told = business.calls(NOW, "vyom")
    held = stored(sandbox.stand_in(told).app, tmp_path / "calls.db", told)
    assert len(told) >= 25
    assert held == [as_told(call) for call in told]


def test_an_older_deployment_gives_the_same_calls_but_those_of_deleted_assistants(tmp_path: Path) -> None:
    told = business.calls(NOW, "vyom")
    rows = [sandbox.call_log(call) for call in told]
    known = [sandbox.assistant(one) for one in business.AGENTS.values() if not one.is_deleted]
    app = sandbox.application(rows, known, api_key=sandbox.API_KEY, has_records=False)
    left = [call for call in told if not call.agent.is_deleted]
    assert len(left) < len(told)
    assert stored(app, tmp_path / "calls.db", left) == [as_told(call) for call in left]
