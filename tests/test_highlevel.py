"""HighLevel's quirks, where the tape cannot show them: against the sandbox, over loopback."""

import json
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import pytest

from call_logs.errors import AuthFailed, ProviderError, Rejected, UnexpectedPayload
from call_logs.model import Spoken, merged
from call_logs.providers import Account, AnyProvider, Page
from call_logs.providers import highlevel as adapter
from call_logs.sandbox import App, Message, Receive, Send
from call_logs.sandbox import highlevel as sandbox
from tape import Asked, Fault, Held, NamesClock, Reply, answered, calls_of, finished, pages, staged, unhurried, worked

TOKEN = "sandbox-token-opens-nothing"
LOCATION = "LOC123456789ABCDEF"
T = TypeVar("T")
NOON = datetime(2026, 6, 15, 12, tzinfo=UTC)
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
AGENT = {"id": "agent1", "agentName": "Front desk"}
NO_AGENTS = Reply(200, headers={"content-type": "text/html"})
"""What a proxy or a login page answers for the list of agents."""

NAMES = {"token": "HIGHLEVEL_TOKEN", "location_id": "HIGHLEVEL_LOCATION_ID"}


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither for the vendor's rate, nor between retries."""
    unhurried(monkeypatch)


def row(n: int, began: datetime | None = None, **more: Any) -> dict[str, Any]:
    """The n-th call; a higher one began earlier, by a minute each."""
    moment = began or NOON - timedelta(minutes=n)
    return {
        "id": f"call{n}",
        "agentId": "agent1",
        "createdAt": moment.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "duration": 30,
        "trialCall": False,
        "summary": "",
        "transcript": "bot:Hello.\nhuman:Hello. \n",
        "executedCallActions": [],
        **more,
    }


class Vendor:
    """The sandbox over some rows. `before` may answer instead; `meanwhile` runs after each page of the list."""

    def __init__(
        self,
        rows: list[dict[str, Any]],
        *,
        ignore_dates: bool = False,
        before: Fault = lambda _: None,
        meanwhile: Callable[[int], object] = lambda _: None,
    ) -> None:
        self.rows = rows
        self.asked: list[Mapping[str, str]] = []
        self.paths: list[str] = []
        self._app: App = sandbox.application(
            rows, [AGENT], token=TOKEN, location_id=LOCATION, ignore_dates=ignore_dates
        )
        self._before, self._meanwhile = before, meanwhile

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        query = dict(part.split("=", 1) for part in scope["query_string"].decode().split("&"))
        asked = Asked(scope["method"], scope["path"], "", query, "", {}, None)
        self.paths.append(asked.path)
        reply = self._before(asked)
        held = Held(send)
        if reply is None:
            await self._app(scope, receive, held)
        else:
            await answered(reply, held)
        if asked.path == adapter.LOGS:
            self.asked.append(query)
            self._meanwhile(len(self.asked))
        await held.release()

    def work(self, work: Callable[[AnyProvider], Awaitable[T]]) -> T:
        """What the work comes to with a provider that reads here."""
        with staged(self) as base_url:
            return finished(worked, account(base_url), work)

    def read(self, since: datetime = LONG_AGO, until: datetime | None = None, resume: str | None = None) -> list[Page]:
        """All pages."""
        return self.work(lambda provider: pages(provider, since, until, resume))


def account(base_url: str, token: str = TOKEN, location_id: str = LOCATION) -> Account:
    settings = adapter.HighLevelSettings.model_validate(
        {"token": token, "location_id": location_id, "base_url": base_url}
    )
    return Account("acme", adapter.HighLevel, settings, NAMES)


def ids(found: list[Page]) -> list[str]:
    return [call.vendor_call_id for call in calls_of(found)]


def numbered(first: int, last: int) -> list[str]:
    return [f"call{n}" for n in range(first, last + 1)]


def listing(rows: list[dict[str, Any]], **envelope: Any) -> Reply:
    return Reply(200, {"callLogs": rows, **envelope})


# Dates, counts, envelopes


def test_dates_that_the_vendor_ignores_still_give_only_the_window() -> None:
    vendor = Vendor([row(n) for n in range(1, 131)], ignore_dates=True)
    found = vendor.read(NOON - timedelta(minutes=70), NOON - timedelta(minutes=60))
    assert ids(found) == numbered(61, 70)


def test_a_reading_ends_at_the_page_that_goes_past_the_window() -> None:
    vendor = Vendor([row(n) for n in range(1, 500)], ignore_dates=True)
    vendor.read(NOON - timedelta(minutes=70))
    assert [asked["page"] for asked in vendor.asked] == ["1", "2"]


def test_dates_are_sent_in_milliseconds_and_a_day_wider_than_asked() -> None:
    vendor = Vendor([row(1)])
    vendor.read(NOON - timedelta(hours=1), NOON)
    sent = [datetime.fromtimestamp(int(vendor.asked[0][name]) / 1000, UTC) for name in ("startDate", "endDate")]
    assert sent == [NOON - timedelta(days=1, hours=1), NOON + timedelta(days=1)]


def test_the_start_of_a_window_belongs_to_it_and_its_end_does_not() -> None:
    vendor = Vendor([row(1), row(2), row(3)])
    assert ids(vendor.read(NOON - timedelta(minutes=2), NOON - timedelta(minutes=1))) == ["call2"]


def test_a_count_that_ignores_the_filter_does_not_prolong_the_reading() -> None:
    vendor = Vendor([row(n) for n in range(1, 61)] + [row(n, LONG_AGO) for n in range(61, 361)], ignore_dates=True)
    found = vendor.read(NOON - timedelta(hours=3))
    assert ids(found) == numbered(1, 60)
    assert len(vendor.asked) == 2


def test_an_empty_location_gives_one_empty_page_that_reaches_the_start() -> None:
    vendor = Vendor([])
    assert vendor.read() == [Page((), reached=LONG_AGO)]
    assert len(vendor.asked) == 1


def test_a_vendor_that_caps_pages_below_what_was_asked_still_gives_all() -> None:
    rows = [row(n) for n in range(1, 48)]

    def capped(asked: Asked, **envelope: Any) -> Reply | None:
        if asked.path != adapter.LOGS:
            return None
        start = (int(asked.query["page"]) - 1) * 10
        return listing(rows[start : start + 10], **envelope)

    echoing = Vendor(rows, before=lambda asked: capped(asked, total=47, pageSize=10))
    silent = Vendor(rows, before=capped)
    claiming = Vendor(rows, before=lambda asked: capped(asked, pageSize=50))
    for vendor in (echoing, silent, claiming):
        assert ids(vendor.read()) == numbered(1, 47)
    assert len(echoing.asked) == 5


def test_an_envelope_whose_counts_are_words_is_read_by_its_rows() -> None:
    def odd(asked: Asked) -> Reply | None:
        pages_of = {"1": [row(1)], "2": [row(2)]}
        return (
            listing(pages_of.get(asked.query["page"], []), total="many", pageSize={})
            if asked.path == adapter.LOGS
            else None
        )

    assert ids(Vendor([], before=odd).read()) == ["call1", "call2"]


def test_a_count_that_is_too_low_does_not_end_a_reading_at_a_full_page() -> None:
    def miscounted(asked: Asked) -> Reply | None:
        rows = [row(n) for n in range(1, 48)]
        start = (int(asked.query["page"]) - 1) * 10
        return listing(rows[start : start + 10], total=1, pageSize=10) if asked.path == adapter.LOGS else None

    assert ids(Vendor([], before=miscounted).read()) == numbered(1, 47)


# Pages that move


def test_calls_that_arrive_between_pages_cost_none_of_the_older_ones() -> None:
    rows = [row(n) for n in range(1, 181)]
    vendor = Vendor(rows, meanwhile=lambda n: rows.extend(row(-10 * n - k) for k in range(7)))
    found = vendor.read()
    assert set(numbered(1, 180)) <= set(ids(found))
    assert len(ids(found)) == len(set(ids(found)))


def test_more_than_a_page_of_new_calls_between_two_pages_costs_none() -> None:
    rows = [row(n) for n in range(1, 121)]
    vendor = Vendor(rows, meanwhile=lambda n: rows.extend(row(-k) for k in range(1, 121)) if n == 1 else None)
    found = ids(vendor.read())
    assert [one for one in found if "-" not in one] == numbered(1, 120)
    assert len(found) == len(set(found))


def test_arrivals_do_not_keep_a_reading_from_ending_early() -> None:
    rows = [row(n) for n in range(1, 400)]
    vendor = Vendor(rows, ignore_dates=True, meanwhile=lambda n: rows.extend(row(-10 * n - k) for k in range(7)))
    found = vendor.read(NOON - timedelta(minutes=80))
    assert set(numbered(1, 80)) <= set(ids(found))
    assert len(vendor.asked) <= 3


def test_calls_deleted_between_pages_cost_none_of_the_others() -> None:
    rows = [row(n) for n in range(1, 131)]

    def delete(n: int) -> None:
        if n == 1:
            del rows[3:6]
        if n == 4:
            del rows[7:9]

    vendor = Vendor(rows, meanwhile=delete)
    found = vendor.read()
    assert {one["id"] for one in rows} <= set(ids(found))
    for n, page in enumerate(found):
        later = calls_of(found[n + 1 :])
        assert page.reached is None or all(call.started_at < page.reached for call in later)


def test_a_count_that_goes_up_and_down_costs_no_call_and_ends() -> None:
    rows = [row(n) for n in range(1, 521)]

    def counted(asked: Asked) -> Reply | None:
        page = int(asked.query["page"])
        wavering = 520 - len(vendor.asked) % 2
        return listing(rows[(page - 1) * 50 : page * 50], total=wavering) if asked.path == adapter.LOGS else None

    vendor = Vendor([], before=counted)
    assert ids(vendor.read()) == numbered(1, 520)
    assert len(vendor.asked) <= 14


def test_an_unordered_page_neither_ends_the_reading_nor_claims_how_far_it_got() -> None:
    rows = [row(n) for n in range(1, 121)]
    rows[4], rows[110] = rows[110], rows[4]

    def unordered(asked: Asked) -> Reply | None:
        start = (int(asked.query["page"]) - 1) * 50
        return listing(rows[start : start + 50], total=120) if asked.path == adapter.LOGS else None

    found = Vendor(rows, before=unordered).read(NOON - timedelta(minutes=60))
    assert sorted(ids(found)) == sorted(numbered(1, 60))
    assert [page.reached for page in found] == [None, None, NOON - timedelta(minutes=60)]


def test_calls_of_one_moment_on_two_pages_survive_a_resumption() -> None:
    rows = [row(n) for n in range(1, 50)] + [row(n, NOON - timedelta(hours=2)) for n in range(50, 53)]
    vendor = Vendor(rows)
    first = vendor.read()[0]
    rest = vendor.read(until=first.reached, resume=first.resume)
    assert set(ids([first, *rest])) == set(numbered(1, 52))


def test_the_same_unreadable_page_forever_still_ends() -> None:
    bad = [{"summary": "no id, no time"}, row(1)]
    vendor = Vendor([], before=lambda asked: listing(bad, pageSize=2) if asked.path == adapter.LOGS else None)
    with pytest.raises(UnexpectedPayload):
        vendor.read()
    assert len(vendor.asked) < 10


# Places


def test_a_resumed_reading_asks_for_the_same_window_one_page_before() -> None:
    vendor = Vendor([row(n) for n in range(1, 261)])
    resume = vendor.read()[2].resume
    asked = len(vendor.asked)
    found = vendor.read(resume=resume)
    assert vendor.asked[asked]["page"] == "3"
    assert {name: vendor.asked[asked][name] for name in ("startDate", "endDate")} == {
        name: vendor.asked[0][name] for name in ("startDate", "endDate")
    }
    assert ids(found) == numbered(101, 260)


def test_the_last_page_leaves_nothing_to_resume() -> None:
    found = Vendor([row(n) for n in range(1, 61)]).read()
    assert [page.resume is None for page in found] == [False, True]


@pytest.mark.parametrize(
    "resume", ["", "x", "{}", "[1]", '["a", 1, 2]', "null", "[null, 1, 2]", "[1, 2, 3, 4]", "[1e999, 1, 2]"]
)
def test_a_place_that_cannot_be_read_starts_over(resume: str) -> None:
    assert ids(Vendor([row(1)]).read(resume=resume)) == ["call1"]


def test_a_place_of_a_shorter_history_starts_over() -> None:
    vendor = Vendor([row(n) for n in range(1, 261)])
    resume = vendor.read(NOON - timedelta(minutes=200))[1].resume
    later = vendor.read(LONG_AGO, resume=resume)
    assert ids(later) == numbered(1, 260)


# One call, and names


def test_the_list_is_richer_than_a_single_read_and_stays_so() -> None:
    timed = [
        {"role": "agent", "content": "Hello.", "startTime": 0.5, "endTime": 1.0},
        {"role": "user", "content": "Hello. ", "startTime": 2.0, "endTime": 2.5},
        {"role": "action_executed", "toolName": "end_call", "toolType": "end_call", "startTime": 3.0},
    ]
    vendor = Vendor([row(1, transcriptWithToolCalls=timed)])

    async def both(provider: AnyProvider) -> Any:
        return calls_of(await pages(provider, LONG_AGO))[0], await provider.get("call1")

    listed, single = vendor.work(both)
    assert [turn.offset_seconds for turn in listed.turns] == [0.5, 2.0]
    assert [turn.offset_seconds for turn in single.turns] == [None, None]
    said = listed.turns
    assert merged(listed, Spoken.of(said), single) == (listed.model_copy(update={"turns": ()}), True)
    assert merged(single, Spoken.of(single.turns), listed) == (listed, False)


@pytest.mark.parametrize("answer", [Reply(404), Reply(400), Reply(422), Reply(200, None)])
def test_an_unknown_id_is_no_call_however_the_vendor_says_so(answer: Reply) -> None:
    assert Vendor([], before=lambda _: answer).work(lambda provider: provider.get("call1")) is None


def test_agent_names_are_asked_for_once_in_a_while_and_shown() -> None:
    vendor = Vendor([row(n) for n in range(1, 101)])

    async def twice(provider: AnyProvider) -> list[Page]:
        return [*await pages(provider, LONG_AGO), *await pages(provider, LONG_AGO)]

    assert {call.agent_name for call in calls_of(vendor.work(twice))} == {"Front desk"}
    assert vendor.paths.count(adapter.AGENTS) == 1


@pytest.mark.parametrize("status", [401, 403, 404, 422, 429, 500, 503])
def test_without_the_list_of_agents_calls_come_without_names(status: int) -> None:
    def no_agents(asked: Asked) -> Reply | None:
        refusal = Reply(status, {"statusCode": status, "message": "The token is not authorized for this scope."})
        return refusal if asked.path == adapter.AGENTS else None

    async def all_of_it(provider: AnyProvider) -> Any:
        return await pages(provider, LONG_AGO), provider.trouble

    found, trouble = Vendor([row(1)], before=no_agents).work(all_of_it)
    (call,) = calls_of(found)
    assert (call.agent_id, call.agent_name) == ("agent1", None)
    assert trouble is None


def test_names_that_were_known_stay_while_the_list_of_agents_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    """And it is asked again after a rest, not after an hour."""
    clock, failing = NamesClock(monkeypatch), [False]
    vendor = Vendor([row(1)], before=lambda asked: NO_AGENTS if failing[0] and asked.path == adapter.AGENTS else None)
    seen: list[tuple[str | None, int]] = []

    async def again(provider: AnyProvider) -> None:
        for ahead, fails in ((0.0, False), (3700.0, True), (3800.0, True), (4700.0, False), (4800.0, True)):
            clock.ahead, failing[0] = ahead, fails
            (call,) = calls_of(await pages(provider, LONG_AGO))
            seen.append((call.agent_name, vendor.paths.count(adapter.AGENTS)))

    vendor.work(again)
    assert seen == [("Front desk", asked) for asked in (1, 2, 2, 3, 3)]


def test_agents_on_pages_before_one_that_fails_are_named() -> None:
    def second_page(asked: Asked) -> Reply | None:
        if asked.path != adapter.AGENTS:
            return None
        return NO_AGENTS if asked.query["page"] == "2" else Reply(200, {"agents": [AGENT], "total": 2})

    (call,) = calls_of(Vendor([row(1)], before=second_page).read())
    assert call.agent_name == "Front desk"


def test_agents_on_pages_smaller_than_asked_are_all_named() -> None:
    def agents(asked: Asked) -> Reply | None:
        if asked.path != adapter.AGENTS:
            return None
        found = [{"id": f"agent{n}", "agentName": f"Agent {n}"} for n in range(1, 26)]
        start = (int(asked.query["page"]) - 1) * 10
        return Reply(200, {"agents": found[start : start + 10], "total": 25, "pageSize": 10})

    found = Vendor([row(n, agentId=f"agent{n}") for n in range(1, 26)], before=agents).read()
    assert {call.agent_name for call in calls_of(found)} == {f"Agent {n}" for n in range(1, 26)}


# What a row may hold


def first_call(**more: Any) -> Any:
    return calls_of(Vendor([row(1, **more)]).read())[0]


def test_an_odd_timed_transcript_falls_back_to_the_documented_one() -> None:
    odd_ones: list[Any] = [{"turns": []}, "bot:Hi", [{"role": "agent", "content": {"text": "Hi"}}], [7], [], None]
    for odd in odd_ones:
        assert [turn.text for turn in first_call(transcriptWithToolCalls=odd).turns] == ["Hello.", "Hello."]


@pytest.mark.parametrize("odd", ["0001-01-01T00:00:00Z", "9999-12-31T23:59:59-14:00", "soon", None, {}, 1e300])
def test_an_action_whose_time_cannot_be_read_keeps_its_call(odd: Any) -> None:
    call = first_call(executedCallActions=[{"actionType": "SMS", "actionName": "Text", "executedAt": odd}])
    assert [(action.name, action.executed_at) for action in call.actions] == [("Text", None)]


@pytest.mark.parametrize("odd", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "soon", None, 1e300])
def test_a_call_whose_time_cannot_be_read_is_named_and_spoils_no_other(odd: Any) -> None:
    rows = [row(1), {**row(2), "createdAt": odd}, row(3)]
    vendor = Vendor([], before=lambda asked: listing(rows, total=3) if asked.path == adapter.LOGS else None)
    found = vendor.read()
    assert ids(found) == ["call1", "call3"]
    assert [(one.vendor_call_id, one.fields) for one in found[0].unreadable] == [("call2", ("createdAt",))]


@pytest.mark.parametrize("odd", [{"secret": TOKEN}, [TOKEN], "", None, "x" * 200])
def test_a_call_without_a_usable_id_is_named_by_its_fields_only(odd: Any) -> None:
    rows = [{**row(1), "id": odd}, row(2)]
    vendor = Vendor([], before=lambda asked: listing(rows, total=2) if asked.path == adapter.LOGS else None)
    (page,) = vendor.read()
    assert [call.vendor_call_id for call in page.calls] == ["call2"]
    assert [one.fields for one in page.unreadable] == [("id",)]
    assert page.unreadable[0].vendor_call_id in (None, "x" * 128)


def test_an_id_that_is_a_number_is_an_id() -> None:
    vendor = Vendor(
        [], before=lambda asked: listing([{**row(1), "id": 17}]) if asked.query["page"] == "1" else listing([])
    )
    assert ids(vendor.read()) == ["17"]


@pytest.mark.parametrize("odd", [-1, 1e300, "soon", None])
def test_an_offset_that_cannot_be_is_left_out(odd: Any) -> None:
    timed = [
        {"role": "agent", "content": "Hi.", "startTime": odd},
        {"role": "action_executed", "toolType": "end_call", "startTime": odd},
    ]
    call = first_call(transcriptWithToolCalls=timed)
    assert [turn.offset_seconds for turn in call.turns] == [None]
    assert not call.actions


def test_extracted_values_are_cut_and_keys_of_secrets_dropped() -> None:
    call = first_call(extractedData={"note": "x " * 400, "Portal Password": "hunter22", "name": "Jordan", "no": ""})
    assert call.extracted == {"note": ("x " * 400)[:500], "name": "Jordan"}


# Advice


@pytest.mark.parametrize(
    ("status", "message", "advice"),
    [
        (401, "The token is not authorized for this scope.", "the scope voice-ai-dashboard.readonly"),
        (401, "This authClass type is not allowed to access this scope.", "not an agency one"),
        (401, "Token's user type mismatch!", "not an agency one"),
        (401, "Invalid Private Integration token", "Check HIGHLEVEL_TOKEN and HIGHLEVEL_LOCATION_ID"),
        (401, "version header is invalid", "update call-logs-mcp"),
        (403, "The token does not have access to this location.", "set them as a pair"),
        (403, "Forbidden resource", "Check HIGHLEVEL_TOKEN and HIGHLEVEL_LOCATION_ID"),
        (400, "LocationId is missing in query", "set them as a pair"),
        (400, "Bad Request", "Check the account's settings"),
    ],
)
def test_a_refusal_is_answered_with_what_to_fix(status: int, message: str, advice: str) -> None:
    refusal = Reply(status, {"statusCode": status, "message": message})
    with pytest.raises(ProviderError) as raised:
        Vendor([], before=lambda _: refusal).work(lambda provider: provider.check())
    assert type(raised.value) is (Rejected if status == 400 else AuthFailed)
    assert advice in raised.value.next_step
    assert message not in str(raised.value)


def test_the_real_refusals_of_the_stand_in_park_the_account() -> None:
    async def checked(provider: AnyProvider) -> None:
        await provider.check()

    with staged(Vendor([])) as base_url:
        for wrong in ({"token": "another-token"}, {"location_id": "ANOTHERLOCATION"}):
            with pytest.raises(AuthFailed):
                finished(worked, account(base_url, **wrong), checked)


def test_a_message_that_is_a_list_is_understood() -> None:
    refusal = Reply(403, {"message": ["The token does not have access to this location."]})
    with pytest.raises(AuthFailed) as raised:
        Vendor([], before=lambda _: refusal).work(lambda provider: provider.check())
    assert "set them as a pair" in raised.value.next_step
    assert json.dumps(refusal.body) not in str(raised.value)
