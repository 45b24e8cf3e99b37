"""Bimpe's quirks, where the tape cannot show them: against the sandbox, over loopback."""

import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import parse_qsl

import anyio
import anyio.lowlevel
import httpx
import pytest

from call_logs.errors import AuthFailed, ProviderError, RateLimited, Rejected, Unavailable, UnexpectedPayload
from call_logs.model import Call, Direction, Speaker, Status, Turn
from call_logs.providers import Account, AnyProvider, Page, Unreadable
from call_logs.providers import bimpe as adapter
from call_logs.providers._http import ATTEMPTS
from call_logs.sandbox import App, Message, Receive, Send, business
from call_logs.sandbox import bimpe as sandbox
from call_logs.sandbox.business import PhoneCall
from call_logs.store import Filter
from call_logs.store.sqlite import SQLiteStore
from call_logs.sync import Sync
from call_logs.text import short
from tape import Asked, Fault, Held, NamesClock, Reply, answered, calls_of, finished, pages, staged, unhurried, worked

KEY = "sk_sandbox_opens_nothing"
ONE, TWO = "agent-one", "agent-two"
NOON = datetime(2026, 6, 15, 12, tzinfo=UTC)
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
REQUEST, OTHER_REQUEST = "3fa85f64-5717-4562-b3fc-2c963f66afa6", "266ea41d-adf5-480b-af50-15b940c2b846"
NAMES = {"api_key": "BIMPE_API_KEY", "agent_ids": "BIMPE_AGENT_IDS"}

T = TypeVar("T")
Log = dict[str, Any]


@pytest.fixture(autouse=True)
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Nothing waits, neither for the vendor's rate nor between retries; gives what the retries would have slept."""
    return unhurried(monkeypatch)


def iso(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def log(n: int, began: datetime | None = None, **more: Any) -> Log:
    """The n-th call, as a single read has it; a higher one began earlier, by a minute each."""
    moment = began or NOON - timedelta(minutes=n)
    return {
        "id": f"call{n}",
        "source": "+12065550123",
        "destination": "+12065550100",
        "status": "ended",
        "direction": "inbound",
        "created_on": iso(moment),
        "duration_seconds": 20,
        "is_test_call": False,
        "error_reason": None,
        "end_reason": "completed",
        "ringing_at": None,
        "ended_at": iso(moment + timedelta(seconds=30)),
        "started_at": iso(moment),
        "answered_at": iso(moment + timedelta(seconds=10)),
        "conversation_logs": [message("assistant", "Hello.", moment + timedelta(seconds=11))],
        **more,
    }


def live(n: int, began: datetime | None = None) -> Log:
    """The n-th call while it goes on: its row is all that is read of it."""
    return log(n, began, status="answered", ended_at=None, duration_seconds=None)


def message(role: str | None, text: str | None, at: datetime | None, **more: Any) -> dict[str, Any]:
    return {
        "id": "m",
        "role": role,
        "message": text,
        "message_type": "text",
        "created_at": iso(at) if at else None,
        **more,
    }


def agent(agent_id: str, name: str | None = None) -> Log:
    return {"id": agent_id, "name": name or agent_id.title(), "created_at": iso(LONG_AGO)}


class Vendor:
    """The sandbox over the calls of some agents. `before` may answer instead; `meanwhile` runs after each list page."""

    def __init__(
        self,
        logs: list[Log] | dict[str, list[Log]],
        *,
        agents: Sequence[Log] | None = None,
        before: Fault = lambda _: None,
        meanwhile: Callable[[int], object] = lambda _: None,
    ) -> None:
        self.logs = {ONE: logs} if isinstance(logs, list) else logs
        self.asked: list[Asked] = []
        self.agents = list(agents) if agents is not None else [agent(one) for one in self.logs]
        self._app: App = sandbox.application(self.logs, self.agents, api_key=KEY)
        self._before, self._meanwhile = before, meanwhile

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        query = dict(parse_qsl(scope["query_string"].decode()))
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        asked = Asked(scope["method"], scope["path"], "", query, "", headers, None)
        self.asked.append(asked)
        reply = self._before(asked)
        held = Held(send)
        if reply is None:
            await self._app(scope, receive, held)
        else:
            await answered(reply, held)
        if is_list(asked):
            self._meanwhile(len(self.listed))
        await held.release()

    @property
    def listed(self) -> list[tuple[str, str]]:
        """The pages of calls that were asked for: agent and page."""
        return [(asked.path.split("/")[-2], asked.query.get("page", "1")) for asked in self.asked if is_list(asked)]

    @property
    def pages(self) -> list[str]:
        """The numbers of those pages."""
        return [page for _, page in self.listed]

    @property
    def read_singly(self) -> list[str]:
        """The calls whose details were asked for."""
        return [asked.path.rsplit("/", 1)[1] for asked in self.asked if is_detail(asked)]

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
    return Account("acme", adapter.Bimpe, adapter.BimpeSettings.model_validate(given), NAMES)


def is_agents(asked: Asked) -> bool:
    return asked.path == adapter.AGENTS


def is_list(asked: Asked) -> bool:
    return asked.path.endswith("/calls")


def is_detail(asked: Asked) -> bool:
    return "/calls/" in asked.path


def ids(found: list[Page]) -> list[str]:
    return [call.vendor_call_id for call in calls_of(found)]


def numbered(first: int, last: int) -> list[str]:
    return [f"call{n}" for n in range(first, last + 1)]


def only(found: list[Page]) -> Call:
    (call,) = calls_of(found)
    return call


def listing(rows: list[Log], meta: Any = None, **envelope: Any) -> Reply:
    return Reply(200, {"message": "Success", "data": rows, "meta": meta, **envelope})


def refusal(status: int, code: str, text: str = "no") -> Reply:
    body = {"message": text, "error": "Refused", "code": code, "statusCode": status, "request_id": REQUEST}
    return Reply(status, body)


def replying(which: Callable[[Asked], bool], *replies: Reply) -> Fault:
    """Answers the requests of that sort so, the last reply forever."""
    left = list(replies)

    def fault(asked: Asked) -> Reply | None:
        if not which(asked):
            return None
        return left.pop(0) if len(left) > 1 else left[0]

    return fault


# The whole business


def test_every_call_of_the_sandbox_arrives_once_with_every_canonical_field_right(tmp_path: Path) -> None:
    now = datetime.now(UTC).replace(microsecond=0)
    calls = business.calls(now, "bimpe")
    stand_in = sandbox.stand_in(calls)
    store = SQLiteStore(tmp_path / "calls.db")
    listed: list[str] = []

    async def synced(base_url: str) -> None:
        sync = Sync([account(base_url, **stand_in.settings)], store, history=timedelta(days=90))
        async with sync.running():
            for _ in range(2):
                assert (await sync.finish("acme")).state == "ok"
                page = store.list_calls(Filter(("acme",), include_tests=True), limit=100)
                listed[:] = [row.vendor_call_id for row in page.rows]

    with staged(stand_in.app) as base_url:
        finished(synced, base_url)
    assert Counter(listed) == Counter(sandbox.call_log(call)["id"] for call in calls)
    for call in calls:
        expected = canonical(call)
        assert store.call(["acme"], expected.id) == expected
    store.close()


def canonical(call: PhoneCall) -> Call:
    """What the made-up call is in our words."""
    told = call.story
    assert call.customer is not None
    is_finished = told.status not in ("ringing", "in_progress")
    is_spoken = told.status == "completed"
    outbound = told.direction == "outbound"
    picked_up = call.started_at + timedelta(seconds=told.ringing_seconds)
    words = {"completed": "ended", "in_progress": "answered", "canceled": "cancelled"}
    return Call(
        account="acme",
        provider="bimpe",
        vendor_call_id=sandbox.call_log(call)["id"],
        direction=Direction(told.direction),
        status=Status(told.status),
        vendor_status=words.get(told.status, told.status),
        end_reason=told.end or ("completed" if is_spoken else None),
        from_number=None if told.is_test else call.agent.number if outbound else call.customer.number,
        to_number=call.customer.number if outbound else call.agent.number,
        started_at=call.started_at,
        ringing_at=call.started_at if told.ringing_seconds or told.status == "ringing" else None,
        answered_at=picked_up if is_spoken else None,
        ended_at=picked_up + timedelta(seconds=told.duration_seconds * is_spoken) if is_finished else None,
        duration_seconds=told.duration_seconds if is_spoken else None,
        agent_id=sandbox.agent_id(call.agent),
        agent_name=call.agent.name,
        is_test=told.is_test,
        turns=tuple(
            Turn(n=n, speaker=Speaker(turn.speaker), text=turn.text, offset_seconds=turn.offset_seconds)
            for n, turn in enumerate(told.spoken, 1)
        )
        if is_spoken
        else (),
    )


def test_the_business_has_every_sort_of_call_that_the_vendor_tells_apart() -> None:
    calls = business.calls(NOON, "bimpe")
    assert {call.story.status for call in calls} >= {
        *("completed", "in_progress", "ringing", "busy", "failed", "canceled"),
    }
    assert {call.story.direction for call in calls} == {"inbound", "outbound"}
    assert [call.key for call in calls if call.story.is_test] == ["bimpe-test-reminder-wording"]
    highlevel = {call.customer.number for call in business.calls(NOON) if call.customer}
    assert len({call.customer.number for call in calls if call.customer} & highlevel) >= 10


# Two reads a call


def test_a_finished_call_is_read_twice_and_one_that_goes_on_is_not() -> None:
    words = ("queued", "ringing", "answered", "ended", "busy", "failed", "cancelled")
    vendor = Vendor([log(n, status=word) for n, word in enumerate(words, 1)])
    found = calls_of(vendor.read())
    assert sorted(vendor.read_singly) == ["call4", "call5", "call6", "call7"]
    assert [bool(call.turns) for call in found] == [False] * 3 + [True] * 4
    assert [call.status for call in found] == [
        *(Status.QUEUED, Status.RINGING, Status.IN_PROGRESS, Status.COMPLETED),
        *(Status.BUSY, Status.FAILED, Status.CANCELED),
    ]


def test_an_unknown_status_is_finished_when_it_has_an_end() -> None:
    vendor = Vendor([log(1, status="parked", ended_at=None), log(2, status="left_message"), log(3, status=None)])
    found = calls_of(vendor.read())
    assert sorted(vendor.read_singly) == ["call2", "call3"]
    assert [(call.status, call.vendor_status) for call in found] == [
        (Status.UNKNOWN, "parked"),
        (Status.UNKNOWN, "left_message"),
        (Status.UNKNOWN, None),
    ]


def test_a_live_call_has_its_words_once_it_has_ended() -> None:
    vendor = Vendor([log(1, status="answered", ended_at=None, duration_seconds=None)])

    async def twice(provider: AnyProvider) -> list[Call]:
        before = only(await pages(provider, LONG_AGO))
        vendor.logs[ONE][0] |= {"status": "ended", "ended_at": iso(NOON), "duration_seconds": 50}
        return [before, only(await pages(provider, LONG_AGO))]

    before, after = vendor.work(twice)
    assert (before.status, before.answered_at, before.duration_seconds, before.turns) == (
        Status.IN_PROGRESS,
        None,
        None,
        (),
    )
    assert (after.status, after.answered_at is None, after.duration_seconds, len(after.turns)) == (
        Status.COMPLETED,
        False,
        50.0,
        1,
    )
    assert before.started_at == after.started_at


def test_settled_calls_are_neither_read_again_nor_given_poorer() -> None:
    vendor = Vendor([log(1, status="answered"), log(2), log(3), log(4)])
    questions: list[list[str]] = []

    async def settled(vendor_call_ids: Sequence[str]) -> set[str]:
        questions.append(list(vendor_call_ids))
        return {"call3"}

    async def read(provider: AnyProvider) -> list[Page]:
        provider.settled = settled
        return await pages(provider, LONG_AGO)

    found = vendor.work(read)
    assert questions == [["call2", "call3", "call4"]]
    assert sorted(vendor.read_singly) == ["call2", "call4"]
    assert ids(found) == ["call1", "call2", "call4"]
    assert found[-1].reached == LONG_AGO


def test_details_are_not_read_of_calls_outside_the_window() -> None:
    vendor = Vendor([log(n) for n in range(1, 61)])
    found = vendor.read(NOON - timedelta(minutes=20), NOON - timedelta(minutes=9))
    assert ids(found) == sorted(vendor.read_singly, key=lambda one: int(one[4:])) == numbered(10, 20)


def test_four_are_worked_on_at_once() -> None:
    under_way: list[int] = []
    most: list[int] = []

    async def work(n: int) -> None:
        under_way.append(n)
        most.append(len(under_way))
        for _ in range(5):
            await anyio.lowlevel.checkpoint()
        under_way.remove(n)

    finished(adapter._each, work, range(20))  # pyright: ignore[reportPrivateUsage] - counting needs no network
    assert (max(most), len(most)) == (4, 20)


@pytest.mark.parametrize(
    "odd",
    [
        refusal(404, "not_found", "Call not found"),
        refusal(400, "bad_request"),
        Reply(200, {"message": "Success"}),
        Reply(200, {"message": "Success", "data": {"id": "call2"}}),
        Reply(200, {"message": "Success", "data": log(2, conversation_logs="words")}),
        Reply(200, {"message": "Success", "data": log(3, source="+12065550199")}),
        Reply(200, b"<html>"),
    ],
)
def test_a_detail_that_cannot_be_read_costs_its_words_and_spoils_no_other(odd: Reply) -> None:
    def second(asked: Asked) -> bool:
        return asked.path.endswith("/call2")

    found = Vendor([log(1), log(2), log(3)], before=replying(second, odd)).read()
    assert [(call.vendor_call_id, len(call.turns)) for call in calls_of(found)] == [
        ("call1", 1),
        ("call2", 0),
        ("call3", 1),
    ]
    second_call = calls_of(found)[1]
    assert (second_call.status, second_call.from_number, second_call.duration_seconds) == (
        Status.COMPLETED,
        "+12065550123",
        20.0,
    )


@pytest.mark.parametrize(
    ("odd", "fields"),
    [
        (refusal(404, "not_found", "Call not found"), ("conversation_logs",)),
        (Reply(200, {"message": "Success", "data": log(1, conversation_logs="words")}), ("data.conversation_logs",)),
        (Reply(200, {"message": "Success", "data": log(3)}), ("id",)),
    ],
)
def test_a_detail_that_cannot_be_read_is_told(odd: Reply, fields: tuple[str, ...]) -> None:
    found = Vendor([log(1)], before=replying(is_detail, odd)).read()
    assert [one for page in found for one in page.unreadable] == [Unreadable("call1", fields)]


@pytest.mark.parametrize("odd", [{}, {"conversation_logs": []}, {"conversation_logs": None}])
def test_a_call_on_which_nothing_was_said_is_not_told_as_unreadable(odd: Log) -> None:
    silent = {name: value for name, value in log(1).items() if name != "conversation_logs"} | odd
    found = Vendor([log(1)], before=replying(is_detail, Reply(200, {"message": "Success", "data": silent}))).read()
    assert [page.unreadable for page in found] == [()]
    assert only(found).turns == ()


def test_a_detail_that_cannot_be_read_is_no_trouble_of_the_account() -> None:
    async def read(provider: AnyProvider) -> ProviderError | None:
        await pages(provider, LONG_AGO)
        return provider.trouble

    assert Vendor([log(1)], before=replying(is_detail, Reply(404))).work(read) is None


def test_a_call_whose_id_fits_into_no_path_keeps_its_row() -> None:
    vendor = Vendor([log(1, id="a/b c"), log(2)])
    assert [(call.vendor_call_id, len(call.turns)) for call in calls_of(vendor.read())] == [("a/b c", 0), ("call2", 1)]
    assert vendor.read_singly == ["call2"]


def test_a_detail_that_leaves_out_what_its_row_tells_does_not_take_it_away() -> None:
    poor = log(1, source=None, end_reason=None, status=None, duration_seconds=None, created_on=iso(NOON))
    vendor = Vendor([log(1)], before=replying(is_detail, Reply(200, {"data": poor})))
    call = only(vendor.read())
    assert (call.status, call.end_reason, call.from_number, call.duration_seconds) == (
        Status.COMPLETED,
        "completed",
        "+12065550123",
        20.0,
    )
    assert call.started_at == NOON - timedelta(minutes=1)
    assert len(call.turns) == 1


@pytest.mark.parametrize(
    ("reply", "kind"),
    [(refusal(403, "insufficient_scope", "missing the required scope: conversations:read"), AuthFailed)]
    + [(Reply(status), Unavailable) for status in (500, 503)],
)
def test_a_failure_that_concerns_all_details_ends_the_reading(reply: Reply, kind: type[ProviderError]) -> None:
    vendor = Vendor([log(n) for n in range(1, 9)], before=replying(is_detail, reply))
    with pytest.raises(ProviderError) as raised:
        vendor.read()
    assert type(raised.value) is kind


def test_a_detail_waits_as_long_as_told_and_comes(slept: list[float]) -> None:
    limited = Reply(429, {"code": "rate_limited"}, {"retry-after": "5", "x-ratelimit-remaining": "0"})
    left = [limited]
    vendor = Vendor([log(1)], before=lambda asked: left.pop() if left and is_detail(asked) else None)
    assert len(only(vendor.read()).turns) == 1
    assert slept == [5.0]


# Pages


def test_what_is_documented_is_asked_for_and_the_key_is_a_bearer() -> None:
    vendor = Vendor([log(1)])
    vendor.read()
    listed = next(asked for asked in vendor.asked if is_list(asked))
    assert listed.query == {"page": "1", "limit": "100", "sort": "-created_on"}
    for asked in vendor.asked:
        assert asked.headers["authorization"] == f"Bearer {KEY}"
        assert "x-api-key" not in asked.headers


def test_a_list_of_any_length_comes_whole_and_in_order() -> None:
    for count in (0, 1, 24, 25, 26, 100, 101, 250):
        vendor = Vendor([live(n) for n in range(1, count + 1)])
        assert ids(vendor.read()) == numbered(1, count)
        assert len(vendor.pages) == max(1, -(-count // 100))


def test_a_long_page_is_given_on_in_portions_that_say_how_far_they_reach() -> None:
    vendor = Vendor([live(n) for n in range(1, 61)])
    found = vendor.read()
    assert [len(page.calls) for page in found] == [25, 25, 10]
    just_after = timedelta(microseconds=1)
    assert [page.reached for page in found] == [
        NOON - timedelta(minutes=25) + just_after,
        NOON - timedelta(minutes=50) + just_after,
        LONG_AGO,
    ]


def test_a_reading_goes_on_from_the_middle_of_a_page() -> None:
    vendor = Vendor([live(n) for n in range(1, 251)])
    found = vendor.read()
    for n, page in enumerate(found[:-1]):
        rest = vendor.read(until=page.reached, resume=page.resume)
        assert set(ids([*found[: n + 1], *rest])) == set(numbered(1, 250))


def test_a_reading_ends_at_the_page_that_goes_past_the_window() -> None:
    vendor = Vendor([live(n) for n in range(1, 500)])
    assert ids(vendor.read(NOON - timedelta(minutes=120))) == numbered(1, 120)
    assert vendor.pages == ["1", "2"]


def test_the_start_of_a_window_belongs_to_it_and_its_end_does_not() -> None:
    vendor = Vendor([log(1), log(2), log(3)])
    assert ids(vendor.read(NOON - timedelta(minutes=2), NOON - timedelta(minutes=1))) == ["call2"]


@pytest.mark.parametrize("meta", [None, {}, [], "none", {"has_next_page": None, "total_count": None}])
def test_a_page_without_a_usable_meta_is_followed_as_long_as_pages_are_full(meta: Any) -> None:
    rows = [live(n) for n in range(1, 251)]

    def bare(asked: Asked) -> Reply | None:
        start = (int(asked.query.get("page", "1")) - 1) * 100
        return listing(rows[start : start + 100], meta) if is_list(asked) else None

    vendor = Vendor(rows, before=bare)
    assert ids(vendor.read()) == numbered(1, 250)
    assert vendor.pages == ["1", "2", "3"]


def test_a_missing_meta_is_one_page() -> None:
    body = {"message": "Success", "data": [log(1)]}
    vendor = Vendor([log(1)], before=replying(is_list, Reply(200, body)))
    assert ids(vendor.read()) == ["call1"]
    assert vendor.pages == ["1"]


def test_a_full_page_without_meta_that_comes_again_is_the_last() -> None:
    rows = [live(n) for n in range(1, 101)]
    vendor = Vendor(rows, before=lambda asked: listing(rows) if is_list(asked) else None)
    assert ids(vendor.read()) == numbered(1, 100)
    assert vendor.pages == ["1", "2"]


def test_pages_that_promise_more_and_hold_nothing_are_not_taken_for_the_end() -> None:
    empty = listing([], {"has_next_page": True, "total_count": 7})
    vendor = Vendor([], before=replying(is_list, empty))
    with pytest.raises(UnexpectedPayload):
        vendor.read()
    assert len(vendor.pages) < 10


def test_calls_that_arrive_between_pages_cost_none_of_the_older_ones() -> None:
    logs = [live(n) for n in range(1, 321)]
    vendor = Vendor(logs, meanwhile=lambda n: logs.extend(live(-10 * n - k) for k in range(7)))
    found = ids(vendor.read())
    assert [one for one in found if "-" not in one] == numbered(1, 320)
    assert len(found) == len(set(found))


def test_calls_deleted_between_pages_cost_none_of_the_others() -> None:
    logs = [live(n) for n in range(1, 331)]

    def delete(n: int) -> None:
        if n == 1:
            del logs[3:6]
        if n == 4:
            del logs[7:9]

    found = Vendor(logs, meanwhile=delete).read()
    assert {one["id"] for one in logs} <= set(ids(found))
    for n, page in enumerate(found):
        later = calls_of(found[n + 1 :])
        assert page.reached is None or all(call.started_at < page.reached for call in later)


def test_calls_deleted_before_the_last_page_cost_none_of_the_others() -> None:
    logs = [live(n) for n in range(1, 201)]

    def delete(n: int) -> None:
        if n == 1:
            del logs[3:6]

    assert {one["id"] for one in logs} <= set(ids(Vendor(logs, meanwhile=delete).read()))


def test_a_page_beyond_the_window_claims_no_more_than_the_window() -> None:
    until = NOON - timedelta(minutes=150)
    found = Vendor([live(n) for n in range(1, 251)]).read(until=until)
    assert ids(found) == numbered(151, 250)
    assert found[0] == Page((), reached=until, resume=found[0].resume)


def test_an_unordered_page_neither_ends_the_reading_nor_claims_how_far_it_got() -> None:
    rows = [live(n) for n in range(1, 241)]
    rows[4], rows[210] = rows[210], rows[4]

    def unordered(asked: Asked) -> Reply | None:
        page = int(asked.query.get("page", "1"))
        more = {"has_next_page": page < 3, "total_count": 240}
        return listing(rows[(page - 1) * 100 : page * 100], more) if is_list(asked) else None

    found = Vendor(rows, before=unordered).read(NOON - timedelta(minutes=60))
    assert sorted(ids(found)) == sorted(numbered(1, 60))
    assert [page.reached for page in found[:-1]] == [None] * (len(found) - 1)
    assert found[-1].reached == NOON - timedelta(minutes=60)


def test_an_order_is_asked_for_because_the_vendor_has_none_of_its_own() -> None:
    vendor = Vendor([live(n) for n in range(120, 0, -1)])
    assert ids(vendor.read(NOON - timedelta(minutes=30))) == numbered(1, 30)
    assert vendor.pages == ["1"]


def test_a_row_that_cannot_be_read_is_named_and_spoils_no_other() -> None:
    rows = [log(1), log(2, created_on="soon"), log(3, id=""), log(4)]
    vendor = Vendor(rows, before=replying(is_list, listing(rows)))
    (page,) = vendor.read()
    assert ids([page]) == ["call1", "call4"]
    assert [(one.vendor_call_id, one.fields) for one in page.unreadable] == [
        ("call2", ("created_on",)),
        (None, ("id",)),
    ]


# Agents


def test_the_calls_of_all_agents_come_with_their_names() -> None:
    vendor = Vendor({ONE: [log(1), log(3)], TWO: [log(2), log(4)]}, agents=[agent(ONE, "Front"), agent(TWO, "Night")])
    found = calls_of(vendor.read())
    assert {call.vendor_call_id: (call.agent_id, call.agent_name) for call in found} == {
        "call1": (ONE, "Front"),
        "call2": (TWO, "Night"),
        "call3": (ONE, "Front"),
        "call4": (TWO, "Night"),
    }


def test_agents_are_listed_to_the_last_page() -> None:
    many = [f"agent{n}" for n in range(1, 6)]

    def two_a_page(asked: Asked) -> Reply | None:
        page = int(asked.query.get("page", "1"))
        shown = [agent(one) for one in many[2 * page - 2 : 2 * page]]
        return listing(shown, {"has_next_page": page < 3}) if is_agents(asked) else None

    vendor = Vendor({one: [live(n)] for n, one in enumerate(many, 1)}, before=two_a_page)
    assert set(ids(vendor.read())) == set(numbered(1, 5))
    assert [asked.query for asked in vendor.asked if is_agents(asked)] == [
        {"page": page, "limit": "100"} for page in "123"
    ]


def test_a_list_of_agents_that_goes_in_circles_is_not_taken_for_all_of_them() -> None:
    same = listing([agent(ONE)], {"has_next_page": True})
    vendor = Vendor([log(1)], before=replying(is_agents, same))
    with pytest.raises(UnexpectedPayload):
        vendor.read()
    assert len(vendor.asked) < 5


@pytest.mark.parametrize("odd", [{"name": "nobody"}, {"id": "../x"}, {"id": ""}, "agent"])
def test_an_agent_that_cannot_be_read_is_not_left_out_in_silence(odd: Any) -> None:
    vendor = Vendor([log(1)], before=replying(is_agents, listing([agent(ONE), odd])))
    with pytest.raises(UnexpectedPayload) as raised:
        vendor.read()
    assert any(field.startswith("data.1") for field in raised.value.fields)


def test_a_team_without_agents_has_no_calls() -> None:
    assert Vendor({}).read() == [Page((), reached=LONG_AGO)]


def test_an_agent_that_comes_later_is_read_with_the_next_pass() -> None:
    vendor = Vendor([log(1)])

    async def twice(provider: AnyProvider) -> list[Page]:
        await pages(provider, LONG_AGO)
        vendor.logs[TWO] = [log(2)]
        vendor.agents.append(agent(TWO))
        return await pages(provider, LONG_AGO)

    assert set(ids(vendor.work(twice))) == {"call1", "call2"}


def test_chosen_agents_are_the_only_ones_read() -> None:
    vendor = Vendor({ONE: [log(1)], TWO: [log(2)], "agent-three": [log(3)]})
    assert set(ids(vendor.read(agent_ids=f" {TWO} ,{ONE}"))) == {"call1", "call2"}
    assert is_list(vendor.asked[0])


@pytest.mark.parametrize("status", [401, 403, 404, 422, 429, 500, 503])
def test_chosen_agents_are_read_without_the_list_of_agents(status: int) -> None:
    async def read(provider: AnyProvider) -> tuple[list[Page], list[Page], ProviderError | None]:
        return await pages(provider, LONG_AGO), await pages(provider, LONG_AGO), provider.trouble

    vendor = Vendor([log(1)], before=replying(is_agents, refusal(status, "insufficient_scope")))
    first, second, trouble = vendor.work(read, agent_ids=ONE)
    assert [(call.agent_id, call.agent_name) for call in calls_of([*first, *second])] == [(ONE, None)] * 2
    assert trouble is None
    assert sum(map(is_agents, vendor.asked)) == (1 if status in (401, 403, 404, 422) else ATTEMPTS)


@pytest.mark.parametrize(("status", "raised"), [(403, AuthFailed), (429, RateLimited), (503, Unavailable)])
def test_where_no_agents_are_chosen_their_list_is_needed(status: int, raised: type[ProviderError]) -> None:
    """Calls are listed by agent: without the list nothing is known to be complete."""
    with pytest.raises(raised):
        Vendor([log(1)], before=replying(is_agents, refusal(status, "no"))).read()


def test_names_of_chosen_agents_that_were_known_stay_while_the_list_of_agents_fails(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock, failing = NamesClock(monkeypatch), [False]
    refused = refusal(403, "insufficient_scope")
    vendor = Vendor([log(1)], before=lambda asked: refused if failing[0] and is_agents(asked) else None)
    seen: list[tuple[str | None, int]] = []

    async def again(provider: AnyProvider) -> None:
        for ahead, fails in ((0.0, False), (3700.0, True), (4700.0, False)):
            clock.ahead, failing[0] = ahead, fails
            (call,) = calls_of(await pages(provider, LONG_AGO))
            seen.append((call.agent_name, sum(map(is_agents, vendor.asked))))

    vendor.work(again, agent_ids=ONE)
    assert seen == [(ONE.title(), asked) for asked in (1, 2, 3)]


def test_without_the_right_to_list_agents_the_setting_that_helps_is_named() -> None:
    vendor = Vendor([log(1)], before=replying(is_agents, refusal(403, "insufficient_scope", "missing scope: x")))
    with pytest.raises(AuthFailed, match="name them in BIMPE_AGENT_IDS"):
        vendor.read()


def test_a_chosen_agent_that_does_not_exist_is_told() -> None:
    vendor = Vendor([log(1)])
    with pytest.raises(Rejected, match="Check BIMPE_AGENT_IDS"):
        vendor.read(agent_ids=f"{ONE},nobody")
    with pytest.raises(Rejected, match="Check BIMPE_AGENT_IDS"):
        vendor.work(lambda provider: provider.check(), agent_ids=f"nobody,{ONE}")


def test_an_agent_deleted_since_it_was_listed_spoils_no_other() -> None:
    gone = agent("agent-gone")
    vendor = Vendor({ONE: [log(1)], TWO: [log(2)]}, agents=[gone, agent(ONE), agent(TWO)])

    async def read(provider: AnyProvider) -> tuple[list[Page], ProviderError | None]:
        return await pages(provider, LONG_AGO), provider.trouble

    found, trouble = vendor.work(read)
    assert set(ids(found)) == {"call1", "call2"}
    assert found[-1].reached == LONG_AGO
    assert trouble is None


def test_agents_that_are_all_gone_are_not_taken_for_agents_without_calls() -> None:
    vendor = Vendor({}, agents=[agent(ONE), agent(TWO)])
    with pytest.raises(Rejected):
        vendor.read()


@pytest.mark.parametrize("odd", [",", "a,,b", "a b", "a;b", "a,../b", " "])
def test_ids_of_agents_are_checked_each(odd: str) -> None:
    with pytest.raises(ValueError, match="agent_ids"):
        account("http://127.0.0.1:1", agent_ids=odd)


# Places


def test_an_agent_that_was_read_to_its_end_is_not_read_again() -> None:
    vendor = Vendor({ONE: [live(n) for n in range(1, 301)], TWO: [live(n) for n in range(301, 311)]})
    place = next(page.resume for page in vendor.read() if page.resume and '"agent-two":null' in page.resume)
    for _ in range(2):  # the second one from a place that a resumed reading gave
        vendor.asked.clear()
        found = vendor.read(resume=place)
        assert {name for name, _ in vendor.listed} == {ONE}
        assert set(ids(found)) >= set(numbered(1, 300))
        place = found[0].resume


def test_a_resumed_reading_begins_one_page_before() -> None:
    vendor = Vendor([live(n) for n in range(1, 401)])
    resume = vendor.read()[7].resume
    asked = len(vendor.pages)
    assert ids(vendor.read(resume=resume)) == numbered(101, 400)
    assert vendor.pages[asked:] == ["2", "3", "4"]


@pytest.mark.parametrize("resume", ["", "x", "{}", "[1]", "null", '{"since": 1}', '{"agents": {"agent-one": 0}}'])
def test_a_place_that_cannot_be_read_starts_over(resume: str) -> None:
    assert ids(Vendor([log(1)]).read(resume=resume)) == ["call1"]


def test_a_place_of_a_shorter_history_starts_over() -> None:
    vendor = Vendor([live(n) for n in range(1, 401)])
    resume = vendor.read(NOON - timedelta(minutes=350))[9].resume
    assert ids(vendor.read(NOON - timedelta(minutes=350), resume=resume)) == numbered(101, 350)
    assert ids(vendor.read(LONG_AGO, resume=resume)) == numbered(1, 400)


def test_an_agent_that_a_place_does_not_name_begins_anew() -> None:
    vendor = Vendor([live(n) for n in range(1, 131)])
    place = vendor.read()[0].resume
    vendor.logs[TWO] = [live(n) for n in range(201, 211)]
    vendor.agents.append(agent(TWO))
    assert set(ids(vendor.read(resume=place))) >= set(numbered(201, 210))


# One call


def test_a_call_that_was_listed_is_asked_of_its_agent_only() -> None:
    vendor = Vendor({ONE: [log(1)], TWO: [log(2, status="answered")]})

    async def listed_then_read(provider: AnyProvider) -> Call | None:
        await pages(provider, LONG_AGO)
        vendor.asked.clear()
        return await provider.get("call2")

    call = vendor.work(listed_then_read)
    assert call is not None
    assert (call.agent_id, call.agent_name, len(call.turns)) == (TWO, TWO.title(), 1)
    assert [asked.path.split("/")[-3:] for asked in vendor.asked] == [[TWO, "calls", "call2"]]


def test_a_call_that_was_not_listed_is_tried_with_every_agent() -> None:
    vendor = Vendor({f"agent{n}": [log(n)] for n in range(1, 8)})
    call = vendor.work(lambda provider: provider.get("call6"))
    assert call is not None
    assert (call.vendor_call_id, call.agent_id, call.agent_name) == ("call6", "agent6", "Agent6")


@pytest.mark.parametrize("reply", [refusal(404, "not_found"), refusal(400, "validation_error"), Reply(422)])
def test_an_unknown_id_is_no_call_however_the_vendor_says_so(reply: Reply) -> None:
    async def read(provider: AnyProvider) -> tuple[Call | None, ProviderError | None]:
        return await provider.get("call9"), provider.trouble

    assert Vendor([log(1)], before=replying(is_detail, reply)).work(read) == (None, None)


def test_an_id_of_another_form_is_asked_of_nobody() -> None:
    vendor = Vendor([log(1)])
    assert vendor.work(lambda provider: provider.get("../agents")) is None
    assert not vendor.asked


# What a call may hold


def test_every_role_has_its_speaker_and_an_unknown_one_none() -> None:
    roles = ("assistant", "user", "customer", "restaurant_user", "system", "tool", "", None, 7)
    said: list[Any] = [message("assistant", "x", NOON) | {"role": role} for role in roles]
    call = only(Vendor([log(1, conversation_logs=said)]).read())
    assert [turn.speaker for turn in call.turns] == [
        Speaker.AGENT,
        *[Speaker.CUSTOMER] * 3,
        Speaker.SYSTEM,
        *[Speaker.UNKNOWN] * 4,
    ]


@pytest.mark.parametrize(
    ("answered_after", "started_after", "offset"), [(10, 5, 10.0), (None, 5, 15.0), (None, None, 20.0), (25, 5, None)]
)
def test_offsets_count_from_the_answer_else_from_the_start(
    answered_after: int | None, started_after: int | None, offset: float | None
) -> None:
    times = {
        name: None if seconds is None else iso(NOON + timedelta(seconds=seconds))
        for name, seconds in (("answered_at", answered_after), ("started_at", started_after))
    }
    said = [message("user", "Hello?", NOON + timedelta(seconds=20))]
    call = only(Vendor([log(1, NOON, conversation_logs=said, **times)]).read())
    assert [turn.offset_seconds for turn in call.turns] == [offset]
    assert call.started_at == NOON


def test_messages_come_in_the_order_of_their_times_where_all_have_one() -> None:
    said = [message("user", text, NOON + timedelta(seconds=second)) for text, second in (("c", 3), ("a", 1), ("b", 2))]
    untimed = [*said, message("user", "d", None)]
    for messages, words in ((said, "abc"), (untimed, "cabd")):
        call = only(Vendor([log(1, conversation_logs=messages)]).read())
        assert "".join(turn.text for turn in call.turns) == words
        assert [turn.n for turn in call.turns] == list(range(1, len(words) + 1))


@pytest.mark.parametrize("odd", [None, [], [None, 7, "words", {}], [{"message": {"text": "x"}}], [{"message": "  "}]])
def test_messages_without_words_are_no_turns(odd: Any) -> None:
    assert only(Vendor([log(1, conversation_logs=odd)]).read()).turns == ()


def test_attachments_and_their_addresses_are_not_kept() -> None:
    link = [{"type": "image", "url": "https://cdn.example.com/a.png?sig=secret-in-link"}]
    said = [message("assistant", None, NOON, attachments=link), message("user", "Nice.", NOON, attachments=link)]
    call = only(Vendor([log(1, conversation_logs=said)]).read())
    assert [turn.text for turn in call.turns] == ["Nice."]
    assert "cdn.example.com" not in call.model_dump_json()


@pytest.mark.parametrize(
    ("end", "error", "kept"),
    [
        ("completed", None, "completed"),
        (None, "no  capacity\n", "no capacity"),
        ("hung up", "no capacity", "hung up"),
        (" ", "", None),
        ("password=hunter22", "busy", "busy"),
        ("see https://x.example.com/a?b=c", None, "see https://x.example.com/a"),
        ("x " * 300, None, short("x " * 300, 200)),
        ({"code": 1}, None, None),
    ],
)
def test_a_reason_is_short_and_holds_no_credential(end: Any, error: Any, kept: str | None) -> None:
    call = only(Vendor([log(1, end_reason=end, error_reason=error)]).read())
    assert call.end_reason == kept


@pytest.mark.parametrize("odd", [{"x": 1}, [], "soon", -1, "", "0001-01-01T00:00:00Z"])
def test_a_fact_that_cannot_be_read_is_left_out_and_the_call_kept(odd: Any) -> None:
    names = ("duration_seconds", "ringing_at", "ended_at", "started_at", "answered_at")
    call = only(Vendor([log(1, **dict.fromkeys(names, odd))]).read())
    assert call.status is Status.COMPLETED
    assert (call.duration_seconds, call.ringing_at, call.ended_at, call.answered_at) == (None,) * 4


@pytest.mark.parametrize(("flag", "is_test"), [(True, True), (False, False), (None, False), ("perhaps", False)])
def test_a_test_call_is_marked(flag: Any, is_test: bool) -> None:
    assert only(Vendor([log(1, is_test_call=flag)]).read()).is_test is is_test


# Refusals


@pytest.mark.parametrize(
    ("status", "code", "text", "advice"),
    [
        (401, "api_key_expired", "The key has expired.", "make another one"),
        (401, "api_key_invalid", "Invalid API key.", "Check BIMPE_API_KEY"),
        (401, "api_key_missing", "API key is missing.", "Check BIMPE_API_KEY"),
        (403, "insufficient_scope", "missing the required scope: conversations:read.", "conversations:read"),
        (403, "forbidden", "Forbidden", "Check BIMPE_API_KEY"),
        (400, "validation_error", "Request validation failed.", "Check the account's settings"),
    ],
)
def test_a_refusal_in_either_documented_shape_is_answered_with_what_to_fix(
    status: int, code: str, text: str, advice: str
) -> None:
    bodies: list[Any] = [
        refusal(status, code, text).body,
        {"code": code, "message": text, "errors": [{"path": "limit", "message": "must not be greater than 100"}]},
        {"code": code, "message": ["limit: must not be greater than 100", text]},
    ]
    for body in bodies:
        with pytest.raises(ProviderError) as raised:
            Vendor([], before=lambda _, body=body: Reply(status, body)).work(lambda provider: provider.check())
        assert type(raised.value) is (Rejected if status == 400 else AuthFailed)
        assert advice in raised.value.next_step
        assert text not in str(raised.value)


@pytest.mark.parametrize("agent_ids", [{}, {"agent_ids": ONE}])
def test_a_check_is_one_request_and_finds_a_wrong_key(agent_ids: dict[str, str]) -> None:
    vendor = Vendor([log(n) for n in range(1, 9)])
    vendor.work(lambda provider: provider.check(), **agent_ids)
    assert len(vendor.asked) == 1
    with pytest.raises(AuthFailed):
        vendor.work(lambda provider: provider.check(), api_key="sk_another", **agent_ids)


@pytest.mark.parametrize(
    ("header", "logged"), [(OTHER_REQUEST.upper(), OTHER_REQUEST), (None, REQUEST), ("of another form", REQUEST)]
)
def test_the_vendors_number_of_a_refusal_is_logged_and_not_told(
    header: str | None, logged: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    body = refusal(401, "api_key_invalid").body
    reply = Reply(401, body, {"x-request-id": header} if header else {})
    with pytest.raises(AuthFailed) as raised:
        Vendor([], before=replying(is_agents, reply)).work(lambda provider: provider.check())
    assert f"acme (Bimpe AI) answered 401 (request {logged})\n" in caplog.text
    assert logged not in str(raised.value)


@pytest.mark.parametrize("odd", [KEY, f"{REQUEST} {KEY}", "", "said by somebody"])
def test_what_is_no_number_is_not_logged_as_one(odd: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    body = {"code": "api_key_invalid", "message": "no", "request_id": odd}
    with pytest.raises(AuthFailed):
        Vendor([], before=lambda _: Reply(401, body, {"x-request-id": odd})).work(lambda provider: provider.check())
    assert "acme (Bimpe AI) answered 401\n" in caplog.text


# The stand-in


class Console:
    """A client of the stand-in."""

    def __init__(self, base_url: str) -> None:
        self.client = httpx.Client(base_url=base_url, trust_env=False)

    def get(self, path: str, headers: Mapping[str, str] | None = None, /, **query: str | int) -> httpx.Response:
        given = {"authorization": f"Bearer {KEY}"} if headers is None else headers
        return self.client.get(f"{sandbox.PREFIX}{path}", headers=given, params=query)


@pytest.fixture
def console() -> Any:
    """The stand-in with 30 calls of one agent."""
    with staged(Vendor([log(n) for n in range(1, 31)])) as base_url:
        opened = Console(base_url)
        with opened.client:
            yield opened


PATHS = ("/agents", f"/agents/{ONE}/calls", f"/agents/{ONE}/calls/call1")


@pytest.mark.parametrize("path", PATHS)
def test_the_stand_in_takes_the_key_in_either_header_and_says_what_is_wrong_with_it(
    console: Console, path: str
) -> None:
    assert console.get(path).status_code == console.get(path, {"x-api-key": KEY}).status_code == 200
    for headers, code in (({}, "api_key_missing"), ({"authorization": "Bearer other"}, "api_key_invalid")):
        answer = console.get(path, headers)
        assert answer.status_code == answer.json()["statusCode"] == 401
        assert answer.json()["code"] == code
        assert answer.json()["request_id"] == answer.headers["x-request-id"]


def test_the_stand_in_pages_as_documented_and_keeps_times_and_words_for_the_single_call(console: Console) -> None:
    body = console.get(PATHS[1]).json()
    assert body["meta"] == {
        "total_count": 30,
        "page_count": 2,
        "current_page": 1,
        "limit": 20,
        "has_next_page": True,
        "has_previous_page": False,
    }
    single = console.get(PATHS[2]).json()["data"]
    assert set(single) - set(body["data"][0]) == {"started_at", "answered_at", "conversation_logs"}
    assert int(console.get(PATHS[0]).headers["x-ratelimit-limit"]) > 0


@pytest.mark.parametrize(
    ("query", "path", "message"),
    [
        ({"limit": 101}, "limit", "must not be greater than 100"),
        ({"page": 0}, "page", "must not be less than 1"),
        ({"page": "two"}, "page", "must be an integer number"),
        ({"sort": "-created_at"}, "sort", "must be one of created_on"),
        ({"is_test_call": "True"}, "is_test_call", "must be a boolean value"),
        ({"since": "2026-01-01"}, "since", "should not exist"),
    ],
)
def test_the_stand_in_refuses_a_query_that_is_not_documented(
    console: Console, query: dict[str, str | int], path: str, message: str
) -> None:
    answer = console.get(PATHS[1], **query)
    assert (answer.status_code, answer.json()["code"]) == (400, "validation_error")
    assert answer.json()["errors"] == [{"path": path, "message": message}]


def test_the_stand_in_filters_by_status_and_tests_and_knows_no_other_agent_or_call(console: Console) -> None:
    assert console.get(PATHS[1], status="busy").json()["data"] == []
    assert len(console.get(PATHS[1], status="ended", is_test_call="false", limit=100).json()["data"]) == 30
    for path, text in (("/agents/x/calls", "Agent not found"), (f"{PATHS[1]}/x", "Call not found")):
        answer = console.get(path)
        assert (answer.status_code, answer.json()["message"], answer.json()["code"]) == (404, text, "not_found")


def test_the_stand_in_hides_a_secret_in_every_agent_and_in_what_was_sent() -> None:
    (call,) = [call for call in business.calls(NOON, "bimpe") if call.key == "bimpe-recall-books-cleaning"]
    assert "sandbox-secret-in-attachment" in str(sandbox.call_log(call))
    assert "sandbox-secret-channel-code" in str(sandbox.agent(call.agent))
