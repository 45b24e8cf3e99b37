"""Telzino's quirks, where the tape cannot show them: against the sandbox, over loopback."""

import json
import math
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import anyio
import httpx
import pytest
from pydantic import ValidationError

from call_logs.errors import AuthFailed, ProviderError, RateLimited, Rejected, Unavailable, UnexpectedPayload
from call_logs.model import Action, ActionKind, Call, Direction, Scalar, Speaker, Status, Turn
from call_logs.promises import unkept
from call_logs.providers import Account, AnyProvider, Page
from call_logs.providers import telzino as adapter
from call_logs.providers._http import ATTEMPTS
from call_logs.sandbox import App, Message, Receive, Send, business
from call_logs.sandbox import telzino as sandbox
from call_logs.sandbox.business import ACTIONS, PhoneCall
from call_logs.store.sqlite import SQLiteStore
from call_logs.sync import Sync
from tape import Asked, Fault, NamesClock, Reply, answered, calls_of, finished, pages, staged, unhurried, worked

T = TypeVar("T")
NOON = datetime(2026, 6, 15, 12, tzinfo=UTC)
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
CLIENT, SECRET = "client-opens-nothing", "secret-opens-nothing"
ONE, TWO = "11111111-aaaa-4aaa-8aaa-111111111111", "22222222-bbbb-4bbb-8bbb-222222222222"
CALLEE, CALLER = "+12065550123", "+12065550144"
NAMES = {name: f"TELZINO_{name.upper()}" for name in ("client_id", "client_secret", "agent_ids")}


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Neither for the vendor's rate, nor between retries; what the retries would have slept."""
    return unhurried(monkeypatch)


def began(n: int) -> datetime:
    """When the n-th call began; a higher one earlier, by a minute each."""
    return NOON - timedelta(minutes=n)


def iso(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def log(n: int, agent: str = ONE, **more: Any) -> dict[str, Any]:
    """The log of the n-th call, half a minute long."""
    return {
        "id": f"log{n}",
        "agent_id": agent,
        "room_name": f"sipRoom-_{agent}_{n}",
        "transcript_text": "[0.50s] agent: Hello.",
        "transcript_json": [entry("Hello.", "agent", 0.5)],
        "summary_text": None,
        "call_duration": 30,
        "call_started_at": iso(began(n)),
        "call_ended_at": iso(began(n) + timedelta(seconds=30)),
        "session_data": {"caller_id": CALLER},
        "recording_url": None,
        "created_at": iso(began(n) + timedelta(seconds=33)),
        **more,
    }


def entry(text: Any, speaker: Any, offset: Any, **more: Any) -> dict[str, Any]:
    return {"text": text, "speaker": speaker, "timestamp": offset, "is_partial": False, **more}


def record(n: int, agent: str = ONE, **more: Any) -> dict[str, Any]:
    """The record of the n-th outbound call, which was not answered."""
    return {
        "id": f"out{n}",
        "agent_id": agent,
        "to_number": CALLEE,
        "status": "no_answer",
        "transcript_id": None,
        "error": "No answer",
        "sip_status_code": 480,
        "created_at": began(n).isoformat(timespec="microseconds"),
        "answered_at": None,
        "ended_at": (began(n) + timedelta(seconds=45)).isoformat(timespec="microseconds"),
        "duration": None,
        **more,
    }


def answered_record(n: int, **more: Any) -> dict[str, Any]:
    """The record of the n-th outbound call, answered after half a minute: the log of call n - 0.5 would be its."""
    picked_up = (began(n) + timedelta(seconds=30)).isoformat()
    return record(n, status="completed", error=None, sip_status_code=None, duration=15, answered_at=picked_up) | more


class Vendor:
    """The sandbox over some rows. `before` may answer instead; `meanwhile` runs after each request."""

    def __init__(
        self,
        logs: list[dict[str, Any]] | None = None,
        outbound: list[dict[str, Any]] | None = None,
        agents: list[dict[str, Any]] | None = None,
        *,
        before: Fault = lambda _: None,
        meanwhile: Callable[[Asked], object] = lambda _: None,
    ) -> None:
        self.logs = logs if logs is not None else []
        self.outbound = outbound if outbound is not None else []
        self.agents = agents if agents is not None else [{"id": ONE, "name": "Front Desk"}]
        self.tokens: set[str] = set()
        self.asked: list[Asked] = []
        self.bodies: list[Any] = []
        self._app: App = sandbox.application(
            self.logs, self.outbound, self.agents, client_id=CLIENT, client_secret=SECRET, tokens=self.tokens
        )
        self._before, self._meanwhile = before, meanwhile

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        query = dict(part.split("=", 1) for part in scope["query_string"].decode().split("&") if part)
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        asked = Asked(scope["method"], scope["path"], "", query, "", headers, None)
        self.asked.append(asked)

        async def heard() -> Message:
            message = await receive()
            if asked.method == "POST" and message.get("body"):
                self.bodies.append(json.loads(message["body"]))
            return message

        reply = self._before(asked)
        if reply is None:
            await self._app(scope, heard, send)
        else:
            await answered(reply, send)
        self._meanwhile(asked)

    def paths(self, ending: str) -> list[Mapping[str, str]]:
        """The queries of the requests to paths that end so."""
        return [asked.query for asked in self.asked if asked.path.endswith(ending)]

    def work(self, work: Callable[[AnyProvider], Awaitable[T]], **settings: str) -> T:
        """What the work comes to with a provider that reads here."""
        with staged(self) as base_url:
            return finished(worked, account(base_url, **settings), work)

    def read(
        self,
        since: datetime = LONG_AGO,
        until: datetime | None = None,
        resume: str | None = None,
        **settings: str,
    ) -> list[Page]:
        """All pages."""
        return self.work(lambda provider: pages(provider, since, until, resume), **settings)


def account(base_url: str, **settings: str) -> Account:
    given = {"client_id": CLIENT, "client_secret": SECRET, "base_url": base_url, **settings}
    return Account("acme", adapter.Telzino, adapter.TelzinoSettings.model_validate(given), NAMES)


def ids(found: list[Page]) -> list[str]:
    return [call.vendor_call_id for call in calls_of(found)]


def numbered(first: int, last: int, word: str = "log") -> list[str]:
    return [f"{word}{n}" for n in range(first, last + 1)]


def only(found: list[Page]) -> Call:
    (call,) = calls_of(found)
    return call


def first_call(**more: Any) -> Call:
    return only(Vendor([log(1, **more)]).read())


async def checked(provider: AnyProvider) -> None:
    await provider.check()


def logs_listed(rows: list[dict[str, Any]], **pagination: Any) -> Fault:
    """Answers the list of call logs with pages of 100 of these rows, in this order."""

    def listed(asked: Asked) -> Reply | None:
        if not asked.path.endswith("/call-logs"):
            return None
        start = (int(asked.query["page"]) - 1) * 100
        told = {"hasNext": start + 100 < len(rows), "total": len(rows), **pagination}
        return Reply(200, {"data": rows[start : start + 100], "pagination": told})

    return listed


# The token


def test_one_token_serves_every_request_and_is_asked_for_as_documented() -> None:
    vendor = Vendor([log(n) for n in range(1, 251)])

    async def twice(provider: AnyProvider) -> None:
        await pages(provider, LONG_AGO)
        await pages(provider, LONG_AGO)

    with staged(vendor) as base_url:
        finished(worked, account(base_url), twice)
        assert account(base_url).open().connection().posts == {"/oauth/token"}
    posted = [asked for asked in vendor.asked if asked.method == "POST"]
    assert [asked.path for asked in posted] == ["/oauth/token"]
    assert vendor.bodies == [
        {
            "client_id": CLIENT,
            "client_secret": SECRET,
            "audience": "https://api.telzino.com/",
            "grant_type": "client_credentials",
        }
    ]
    assert posted[0].headers["content-type"] == "application/json"
    assert "authorization" not in posted[0].headers
    (token,) = vendor.tokens
    assert {asked.headers["authorization"] for asked in vendor.asked if asked.method == "GET"} == {f"Bearer {token}"}


def test_a_token_is_replaced_a_minute_before_it_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]

    class Clock:
        @staticmethod
        def monotonic() -> float:
            return now[0]

    monkeypatch.setattr(adapter, "time", Clock)
    vendor = Vendor()

    async def later(provider: AnyProvider) -> list[int]:
        counts: list[int] = []
        for seconds in (0.0, 86_339.0, 2.0, 86_339.0):
            now[0] += seconds
            await provider.check()
            counts.append(len(vendor.tokens))
        return counts

    assert vendor.work(later) == [1, 1, 2, 2]


@pytest.mark.parametrize(("expires_in", "tokens"), [(None, 1), ("soon", 1), (3600, 1), (60, 3), (0, 3), (-5, 1)])
def test_a_token_lasts_as_long_as_told_or_else_as_documented(expires_in: Any, tokens: int) -> None:
    def token(asked: Asked) -> Reply | None:
        vendor.tokens.add("made-up")
        return Reply(200, {"access_token": "made-up", "expires_in": expires_in}) if asked.method == "POST" else None

    async def thrice(provider: AnyProvider) -> None:
        for _ in range(3):
            await provider.check()

    vendor = Vendor(before=token)
    vendor.work(thrice)
    assert len(vendor.paths("/token")) == tokens


def test_a_revoked_token_is_replaced_once_and_costs_no_call(no_waiting: list[float]) -> None:
    def revoke(asked: Asked) -> None:
        if asked.query.get("page") == "2" and len(vendor.tokens) == 1 and len(vendor.paths("/token")) == 1:
            vendor.tokens.clear()

    vendor = Vendor([log(n) for n in range(1, 351)], meanwhile=revoke)
    assert ids(vendor.read()) == numbered(1, 350)
    assert len(vendor.paths("/token")) == 2
    assert not no_waiting


@pytest.mark.parametrize("page", [1, 2])
def test_a_fresh_token_that_is_refused_too_parks_the_account(page: int, no_waiting: list[float]) -> None:
    def refuse(asked: Asked) -> Reply | None:
        return Reply(401, {"message": "no"}) if asked.query.get("page") == str(page) else None

    vendor = Vendor([log(n) for n in range(1, 201)], before=refuse)
    with pytest.raises(AuthFailed) as raised:
        vendor.read()
    assert len(vendor.paths("/token")) == 2
    assert len([asked for asked in vendor.asked if asked.query.get("page") == str(page)]) == 2
    assert "TELZINO_CLIENT_SECRET" in raised.value.next_step
    assert not no_waiting


def test_a_missing_right_is_no_reason_for_another_token() -> None:
    vendor = Vendor(before=lambda asked: Reply(403, {}) if asked.method == "GET" else None)
    with pytest.raises(AuthFailed) as raised:
        vendor.read()
    assert [asked.path for asked in vendor.asked] == ["/oauth/token", "/v1/agents"]
    assert "access" in raised.value.next_step


def test_requests_that_meet_one_revoked_token_at_once_ask_for_one_new_one() -> None:
    async def together(provider: AnyProvider) -> None:
        await provider.check()
        vendor.tokens.clear()
        async with anyio.create_task_group() as tasks:
            for _ in range(5):
                tasks.start_soon(provider.check)

    vendor = Vendor()
    vendor.work(together)
    assert len(vendor.paths("/token")) == 2


def test_an_outage_after_a_fresh_token_is_retried_like_any_other(no_waiting: list[float]) -> None:
    replies = [Reply(401), Reply(503), Reply(502)]

    def fail(asked: Asked) -> Reply | None:
        return replies.pop(0) if replies and asked.method == "GET" else None

    vendor = Vendor([log(1)], before=fail)
    assert ids(vendor.read()) == ["log1"]
    assert (len(vendor.paths("/token")), len(no_waiting)) == (2, 2)


@pytest.mark.parametrize("token", ["two words", "line\nbreak", "", None, {"secret": SECRET}, "\u00fc"])
def test_a_token_that_no_header_can_carry_is_not_sent(token: Any) -> None:
    vendor = Vendor(before=lambda asked: Reply(200, {"access_token": token}) if asked.method == "POST" else None)
    with pytest.raises(UnexpectedPayload) as raised:
        vendor.work(checked)
    assert raised.value.fields == ("access_token",)
    assert len(vendor.asked) == 1


def test_a_wrong_pair_is_refused_with_what_to_fix() -> None:
    vendor = Vendor()
    for wrong in ({"client_id": "another"}, {"client_secret": "another"}):
        with pytest.raises(AuthFailed) as raised:
            vendor.work(checked, **wrong)
        assert "Check TELZINO_CLIENT_ID and TELZINO_CLIENT_SECRET" in raised.value.next_step
    assert not vendor.paths("/agents")


@pytest.mark.parametrize(
    ("status", "body", "kind", "advice"),
    [
        (400, {"error": "invalid_client"}, Rejected, "Check TELZINO_CLIENT_ID and TELZINO_CLIENT_SECRET"),
        (400, {"error": "unsupported_grant_type"}, Rejected, "Check TELZINO_CLIENT_ID"),
        (400, {"message": "Invalid parameters"}, Rejected, "Check the account's settings"),
        (401, {"message": ["Invalid token"]}, AuthFailed, "Check TELZINO_CLIENT_ID and TELZINO_CLIENT_SECRET"),
        (403, {"detail": "no"}, AuthFailed, "Give the client of TELZINO_CLIENT_ID access"),
        (404, {"message": "Not Found"}, Rejected, "Check the account's settings"),
    ],
)
def test_a_refusal_is_answered_with_what_to_fix(status: int, body: Any, kind: type[ProviderError], advice: str) -> None:
    with pytest.raises(ProviderError) as raised:
        Vendor(before=lambda _: Reply(status, body)).work(checked)
    assert type(raised.value) is kind
    assert advice in raised.value.next_step


# Agents


def test_the_calls_of_all_agents_come_once_each_and_newest_first_where_they_can() -> None:
    vendor = Vendor(
        [log(n, ONE if n % 3 else TWO) for n in range(1, 401)],
        [record(n, TWO) for n in range(500, 520)],
        [{"id": ONE, "name": "Front Desk"}, {"id": TWO, "name": "Billing"}],
    )
    found = vendor.read()
    assert Counter(ids(found)) == Counter([*numbered(1, 400), *numbered(500, 519, "out")])
    assert Counter(call.agent_name for call in calls_of(found)) == {"Front Desk": 267, "Billing": 153}
    for n, page in enumerate(found):
        later = calls_of(found[n + 1 :])
        assert page.reached is None or all(call.started_at < page.reached for call in later)


def test_agents_on_several_pages_are_all_read() -> None:
    many = [{"id": f"agent{n}", "name": f"Agent {n}"} for n in range(1, 131)]
    vendor = Vendor([log(1, "agent130")], agents=many)
    assert only(vendor.read()).agent_name == "Agent 130"
    assert len(vendor.paths("/agents")) == 2
    assert len(vendor.paths("/call-logs")) == 130


def test_an_account_without_agents_or_calls_gives_one_empty_page_that_reaches_the_start() -> None:
    assert Vendor(agents=[]).read() == [Page((), reached=LONG_AGO)]
    assert Vendor().read() == [Page((), reached=LONG_AGO)]


def test_an_agent_that_cannot_be_read_is_named_and_spoils_no_other() -> None:
    def odd(asked: Asked) -> Reply | None:
        listed = {"data": [{"id": None, "name": "?"}, {"id": ONE, "name": {"odd": 1}}]}
        return Reply(200, listed | {"pagination": {"hasNext": False}}) if asked.path == adapter.AGENTS else None

    found = Vendor([log(n) for n in range(1, 151)], before=odd).read()
    assert ids(found) == numbered(1, 150)
    assert [one.fields for page in found for one in page.unreadable] == [("id",)]
    assert {call.agent_name for call in calls_of(found)} == {None}


def test_only_the_agents_that_are_named_are_read_once_each() -> None:
    vendor = Vendor(
        [log(1, ONE), log(2, TWO)], agents=[{"id": ONE, "name": "Front Desk"}, {"id": TWO, "name": "Billing"}]
    )
    call = only(vendor.read(agent_ids=f"{TWO} , {TWO}"))
    assert (call.vendor_call_id, call.agent_name) == ("log2", "Billing")
    assert len(vendor.paths("/call-logs")) == 1


@pytest.mark.parametrize("reply", [Reply(403), Reply(404), Reply(200, {"message": "odd"}), Reply(429), Reply(503)])
def test_agents_that_are_named_need_no_list_of_agents(reply: Reply) -> None:
    async def all_of_it(provider: AnyProvider) -> Any:
        await provider.check()
        found = [*await pages(provider, LONG_AGO), *await pages(provider, LONG_AGO)]
        return found, provider.trouble

    vendor = Vendor([log(1)], before=lambda asked: reply if asked.path == adapter.AGENTS else None)
    found, trouble = vendor.work(all_of_it, agent_ids=ONE)
    assert [(call.agent_id, call.agent_name) for call in calls_of(found)] == [(ONE, None)] * 2
    assert (len(vendor.paths("/agents")), trouble) == (ATTEMPTS if reply.status in (429, 503) else 1, None)


@pytest.mark.parametrize(("status", "raised"), [(403, AuthFailed), (429, RateLimited), (503, Unavailable)])
def test_where_no_agents_are_named_their_list_is_needed(status: int, raised: type[ProviderError]) -> None:
    """Calls are listed by agent: without the list nothing is known to be complete."""
    vendor = Vendor([log(1)], before=lambda asked: Reply(status) if asked.path == adapter.AGENTS else None)
    with pytest.raises(raised):
        vendor.read()


def test_what_named_agents_are_called_stays_while_the_list_of_agents_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, failing = NamesClock(monkeypatch), [False]
    vendor = Vendor([log(1)], before=lambda asked: Reply(403) if failing[0] and asked.path == adapter.AGENTS else None)
    seen: list[tuple[str | None, int]] = []

    async def again(provider: AnyProvider) -> None:
        for ahead, fails in ((0.0, False), (3700.0, True), (4700.0, False)):
            clock.ahead, failing[0] = ahead, fails
            (call,) = calls_of(await pages(provider, LONG_AGO))
            seen.append((call.agent_name, len(vendor.paths("/agents"))))

    vendor.work(again, agent_ids=ONE)
    assert seen == [("Front Desk", asked) for asked in (1, 2, 3)]


def test_an_agent_that_is_named_but_unknown_is_said_to_be() -> None:
    async def read(provider: AnyProvider) -> None:
        await pages(provider, LONG_AGO)

    for work in (checked, read):
        with pytest.raises(Rejected) as raised:
            Vendor().work(work, agent_ids=TWO)
        assert "TELZINO_AGENT_IDS" in raised.value.next_step


@pytest.mark.parametrize("odd", ["", " ", ",", f"{ONE},", f"{ONE} {TWO}", "../x", "a/b,c", "x" * 65, f"{ONE},\n{TWO}"])
def test_agents_are_named_by_ids_with_commas(odd: str) -> None:
    with pytest.raises(ValidationError):
        account("http://127.0.0.1:1", agent_ids=odd)
    assert adapter.TelzinoSettings.model_validate(
        {"client_id": "a", "client_secret": "b", "agent_ids": f"{ONE}, {TWO}"}
    ).agents == (ONE, TWO)


# Pages


def test_a_reading_ends_at_the_page_that_goes_past_the_window() -> None:
    vendor = Vendor([log(n) for n in range(1, 500)], [record(n) for n in range(1, 900)])
    found = vendor.read(NOON - timedelta(minutes=150), NOON - timedelta(minutes=120))
    assert ids(found)[::2] == numbered(121, 150)
    assert set(ids(found)[1::2]) == set(numbered(121, 150, "out"))
    assert [asked["page"] for asked in vendor.paths("/call-logs")] == ["1", "2"]
    assert [asked["page"] for asked in vendor.paths("/outbound-calls")] == ["1", "2", "3"]


def test_pages_are_as_large_as_documented() -> None:
    vendor = Vendor([log(1)])
    vendor.read()
    assert {asked.query.get("limit") for asked in vendor.asked if asked.method == "GET"} == {"100"}


def test_the_start_of_a_window_belongs_to_it_and_its_end_does_not() -> None:
    vendor = Vendor([log(1), log(2), log(3)], [record(1), record(2), record(3)])
    assert sorted(ids(vendor.read(began(2), began(1)))) == ["log2", "out2"]


def test_nothing_later_than_the_end_of_the_window_counts_as_reached() -> None:
    found = Vendor([log(n) for n in range(1, 251)]).read(until=began(150))
    assert [page.reached for page in found][:2] == [began(150), began(200) + timedelta(microseconds=1)]


def test_logs_in_the_order_in_which_they_were_written_end_a_reading_too() -> None:
    """A long call is logged after shorter ones that began later."""
    rows = [log(n) for n in range(1, 300)]
    rows.insert(20, log(900, id="long", created_at=iso(began(20) + timedelta(seconds=20))))
    vendor = Vendor(rows, before=logs_listed(rows))
    found = vendor.read(NOON - timedelta(minutes=150))
    assert ids(found) == numbered(1, 150)
    assert len(vendor.paths("/call-logs")) == 2
    assert found[0].reached == began(99) + timedelta(seconds=33, microseconds=1)
    assert "long" in ids(vendor.read())


def test_an_order_that_tells_nothing_neither_ends_the_reading_nor_claims_how_far_it_got() -> None:
    oldest_first = [log(n) for n in range(250, 0, -1)]
    vendor = Vendor(before=logs_listed(oldest_first), outbound=[record(3)])
    found = vendor.read(NOON - timedelta(minutes=10))
    assert sorted(ids(found)) == sorted([*numbered(1, 10), "out3"])
    assert [page.reached for page in found] == [None, None, NOON - timedelta(minutes=10)]


def test_an_unordered_list_of_outbound_calls_is_read_to_its_end() -> None:
    rows = [answered_record(n, transcript_id=f"log{n}") for n in (1, 400, 2, *range(3, 250))]

    def unordered(asked: Asked) -> Reply | None:
        start = (int(asked.query.get("page", "1")) - 1) * 100
        listed = {"data": rows[start : start + 100], "pagination": {"hasNext": start + 100 < len(rows)}}
        return Reply(200, listed) if asked.path.endswith("/outbound-calls") else None

    vendor = Vendor([log(1)], before=unordered)
    assert only(vendor.read(NOON - timedelta(hours=1))).direction is Direction.OUTBOUND
    assert len(vendor.paths("/outbound-calls")) == 3


def test_calls_that_arrive_between_pages_cost_none_of_the_older_ones() -> None:
    logs, records = [log(n) for n in range(1, 351)], [record(n) for n in range(1, 351)]

    def arrive(asked: Asked) -> None:
        k = len(vendor.asked)
        if asked.path.endswith("/call-logs"):
            logs.extend(log(-10 * k - i) for i in range(7))
        if asked.path.endswith("/outbound-calls"):
            records.extend(record(-10 * k - i) for i in range(7))

    vendor = Vendor(logs, records, meanwhile=arrive)
    found = ids(vendor.read())
    assert {*numbered(1, 350), *numbered(1, 350, "out")} <= set(found)
    assert len(found) == len(set(found))


@pytest.mark.parametrize("gone", [1, 60, 130])
def test_calls_deleted_between_pages_cost_none_of_the_others(gone: int) -> None:
    logs, records = [log(n) for n in range(1, 451)], [record(n) for n in range(1, 451)]

    def delete(asked: Asked) -> None:
        if asked.query.get("page") == "2" and len(vendor.paths(asked.path)) == 2:
            del (logs if asked.path.endswith("/call-logs") else records)[:gone]

    vendor = Vendor(logs, records, meanwhile=delete)
    found = vendor.read()
    assert {one["id"] for one in (*logs, *records)} <= set(ids(found))
    assert len(ids(found)) == len(set(ids(found)))
    for n, page in enumerate(found):
        later = calls_of(found[n + 1 :])
        assert page.reached is None or all(call.started_at < page.reached for call in later)


def test_a_deletion_that_shows_on_the_page_past_the_window_costs_no_call() -> None:
    logs = [log(n) for n in range(1, 451)]

    def delete(asked: Asked) -> None:
        if asked.query.get("page") == "2" and len(vendor.paths(asked.path)) == 2:
            del logs[:60]

    vendor = Vendor(logs, meanwhile=delete)
    assert set(ids(vendor.read(began(250)))) == set(numbered(1, 250))


def test_many_old_calls_deleted_at_once_do_not_look_like_a_page_that_repeats() -> None:
    logs = [log(n) for n in range(1, 1601)]

    def delete(asked: Asked) -> None:
        if asked.query.get("page") == "8" and len(vendor.paths(asked.path)) == 8:
            del logs[-700:]

    vendor = Vendor(logs, meanwhile=delete)
    assert ids(vendor.read()) == numbered(1, 900)


def test_a_count_that_goes_up_and_down_costs_no_call_and_ends() -> None:
    rows = [log(n) for n in range(1, 521)]

    def wavering(asked: Asked) -> Reply | None:
        return logs_listed(rows, total=520 - len(vendor.asked) % 2)(asked)

    vendor = Vendor(before=wavering)
    assert ids(vendor.read()) == numbered(1, 520)
    assert len(vendor.paths("/call-logs")) <= 9


@pytest.mark.parametrize("pagination", [None, {}, "odd", {"hasNext": "perhaps", "total": "many", "limit": -5}])
def test_without_a_word_on_pages_a_reading_goes_on_until_one_is_empty(pagination: Any) -> None:
    rows = [log(n) for n in range(1, 36)]

    def capped(asked: Asked) -> Reply | None:
        start = (int(asked.query["page"]) - 1) * 10 if asked.query else 0
        listed = {"data": rows[start : start + 10], "pagination": pagination}
        return Reply(200, listed) if asked.path.endswith("/call-logs") else None

    vendor = Vendor(before=capped)
    assert ids(vendor.read()) == numbered(1, 35)
    assert len(vendor.paths("/call-logs")) == 5


@pytest.mark.parametrize("path", ["/v1/agents", "/call-logs", "/outbound-calls"])
@pytest.mark.parametrize("body", [{}, {"data": None}, {"data": {}}, {"message": "no"}, []])
def test_an_answer_without_a_list_is_never_read_as_an_empty_one(path: str, body: Any) -> None:
    vendor = Vendor([log(1)], before=lambda asked: Reply(200, body) if asked.path.endswith(path) else None)
    with pytest.raises(UnexpectedPayload):
        vendor.read()


@pytest.mark.parametrize("path", ["/v1/agents", "/call-logs", "/outbound-calls"])
def test_the_same_page_forever_still_ends(path: str) -> None:
    same = {"data": [log(1) | record(1)], "pagination": {"hasNext": True}}
    vendor = Vendor([log(1)], before=lambda asked: Reply(200, same) if asked.path.endswith(path) else None)
    with pytest.raises(UnexpectedPayload, match="again and again"):
        vendor.read()
    assert len(vendor.asked) < 12


@pytest.mark.parametrize("path", ["/call-logs", "/outbound-calls"])
@pytest.mark.parametrize("status", [403, 404, 500])
def test_a_list_that_is_refused_fails_the_pass_instead_of_looking_empty(path: str, status: int) -> None:
    vendor = Vendor([log(1)], before=lambda asked: Reply(status) if asked.path.endswith(path) else None)
    with pytest.raises(ProviderError):
        vendor.read()


# Places


def test_a_resumed_reading_begins_one_page_before_and_leaves_out_agents_that_have_ended() -> None:
    vendor = Vendor(
        [log(n) for n in range(1, 351)] + [log(n, TWO) for n in range(1001, 1003)],
        agents=[{"id": ONE}, {"id": TWO}],
    )
    found = vendor.read()
    place = next(page.resume for page in found if page.resume and json.loads(page.resume) == {ONE: "3", TWO: None})
    vendor.asked.clear()
    rest = vendor.read(resume=place)
    assert ids(rest) == numbered(101, 350)
    assert [asked["page"] for asked in vendor.paths(f"{ONE}/call-logs")] == ["2", "3", "4"]
    assert not vendor.paths(f"{TWO}/call-logs")
    assert json.loads(rest[0].resume or "") == {ONE: "3", TWO: None}


def test_a_resumed_reading_finds_the_records_of_its_logs() -> None:
    logs = [log(n) for n in range(1, 301)]
    vendor = Vendor(logs, [answered_record(n, transcript_id=f"log{n}") for n in range(1, 301)])
    first = vendor.read()[0]
    rest = vendor.read(until=first.reached, resume=first.resume)
    assert set(ids([first, *rest])) == set(numbered(1, 300))
    assert {call.direction for call in calls_of(rest)} == {Direction.OUTBOUND}


def test_the_last_page_leaves_nothing_to_resume() -> None:
    assert [page.resume is None for page in Vendor([log(n) for n in range(1, 151)]).read()] == [False, True]


@pytest.mark.parametrize("resume", ["", "x", "{}", "[1]", "7", "null", f'{{"{ONE}": "x"}}', f'{{"{ONE}": [1]}}'])
def test_a_place_that_cannot_be_read_starts_over(resume: str) -> None:
    assert ids(Vendor([log(1)]).read(resume=resume)) == ["log1"]


# A log and its outbound record


def test_an_outbound_record_tells_what_the_log_of_its_call_does_not() -> None:
    vendor = Vendor([log(1, call_ended_at=None, call_duration=None)], [answered_record(2, transcript_id="log1")])
    call = only(vendor.read())
    assert (call.vendor_call_id, call.direction, call.status, call.vendor_status) == (
        "log1",
        Direction.OUTBOUND,
        Status.COMPLETED,
        "completed",
    )
    assert (call.from_number, call.to_number, call.duration_seconds) == (CALLER, CALLEE, 15.0)
    assert (call.answered_at, call.ended_at) == (began(2) + timedelta(seconds=30), began(2) + timedelta(seconds=45))


def test_a_record_without_the_id_of_its_log_is_found_by_the_name_of_the_room() -> None:
    vendor = Vendor([log(1, room_name=f"agent-{ONE}-out-out2")], [answered_record(2)])
    call = only(vendor.read())
    assert (call.vendor_call_id, call.to_number, call.vendor_status) == ("log1", CALLEE, "completed")


def test_the_room_alone_proves_that_a_call_was_outbound_and_no_more() -> None:
    call = only(Vendor([log(1, room_name=f"agent-{ONE}-out-gone")]).read())
    assert (call.direction, call.status, call.vendor_status) == (Direction.OUTBOUND, Status.COMPLETED, None)
    assert (call.from_number, call.to_number) == (CALLER, None)


@pytest.mark.parametrize("ended", [True, False])
def test_a_log_without_a_record_is_completed_once_it_ended_and_has_no_direction(*, ended: bool) -> None:
    call = first_call(**({} if ended else {"call_ended_at": None}))
    assert call.status is (Status.COMPLETED if ended else Status.UNKNOWN)
    assert (call.direction, call.vendor_status, call.from_number) == (Direction.UNKNOWN, None, CALLER)


def test_the_callee_is_not_taken_for_the_caller() -> None:
    vendor = Vendor([log(1, session_data={"caller_id": "+1 206 555 0123"})], [answered_record(2, transcript_id="log1")])
    call = only(vendor.read())
    assert (call.from_number, call.to_number) == (None, CALLEE)


@pytest.mark.parametrize("status", ["queued", "dispatching", "dispatched", "dialing", "in_progress", "new_word", None])
def test_an_outbound_call_that_goes_on_is_no_call_yet(status: Any) -> None:
    """Once it has ended it may have a log, and would be there twice."""
    assert not calls_of(Vendor(outbound=[record(1, status=status, ended_at=None)]).read())


@pytest.mark.parametrize(
    ("word", "status"),
    [
        ("no_answer", Status.NO_ANSWER),
        ("busy", Status.BUSY),
        ("failed", Status.FAILED),
        ("canceled_by_api", Status.UNKNOWN),
        (None, Status.UNKNOWN),
    ],
)
def test_an_outbound_call_that_never_connected_is_a_call_under_its_own_id(word: Any, status: Status) -> None:
    call = only(Vendor(outbound=[record(1, status=word)]).read())
    assert (call.vendor_call_id, call.status, call.vendor_status) == ("out1", status, word)
    assert (call.direction, call.from_number, call.to_number) == (Direction.OUTBOUND, None, CALLEE)
    assert (call.end_reason, call.sip_status_code, call.duration_seconds) == ("No answer", 480, None)
    assert (call.started_at, call.ended_at) == (began(1), began(1) + timedelta(seconds=45))
    assert (call.agent_id, call.agent_name, call.has_recording) == (ONE, "Front Desk", None)


@pytest.mark.parametrize(("minutes", "listed"), [(5, False), (59, False), (61, True)])
def test_an_answered_call_without_a_log_is_waited_for_an_hour(minutes: int, *, listed: bool) -> None:
    ended = (datetime.now(UTC) - timedelta(minutes=minutes)).isoformat()
    row = answered_record(1, created_at=ended, ended_at=ended)
    assert bool(calls_of(Vendor(outbound=[row]).read())) is listed


def test_a_record_from_before_the_window_still_tells_of_a_log_within_it() -> None:
    vendor = Vendor([log(1)], [answered_record(90, transcript_id="log1")])
    assert only(vendor.read(began(2))).to_number == CALLEE


def test_the_words_of_a_live_call_are_told_apart() -> None:
    words = {"queued": "queued", "dispatching": "queued", "dispatched": "queued", "dialing": "ringing"}
    for word, status in (words | {"in_progress": "in_progress", "seized": "unknown"}).items():
        vendor = Vendor([log(1)], [answered_record(2, transcript_id="log1", status=word)])
        call = only(vendor.read())
        assert (call.status, call.vendor_status) == (status, word)


def test_a_record_that_cannot_be_read_is_named_and_spoils_no_other() -> None:
    def odd(asked: Asked) -> Reply | None:
        rows = [record(1, created_at="soon"), record(2)]
        listed = {"data": rows, "pagination": {"hasNext": False}}
        return Reply(200, listed) if asked.path.endswith("/outbound-calls") else None

    found = Vendor([log(n) for n in range(3, 250)], before=odd).read()
    assert ids(found) == ["out2", *numbered(3, 249)]
    assert [(one.vendor_call_id, one.fields) for page in found for one in page.unreadable] == [
        ("out1", ("created_at",))
    ]


# What was said and done


def event(text: str, offset: Any = 4.0) -> Call:
    return first_call(transcript_json=[entry("Hello.", "agent", 0.5), entry(text, "system", offset)])


@pytest.mark.parametrize(
    ("text", "kind", "word", "name"),
    [
        ("Call transferred to +12065550182", ActionKind.TRANSFER, "transferred", "Transfer"),
        ("transfer_call: completed", ActionKind.TRANSFER, "transfer", "Transfer"),
        ("call_transfer done", ActionKind.TRANSFER, "transfer", "Transfer"),
        ("Transferring call", ActionKind.TRANSFER, "transferring", "Transfer"),
        ("Webhook executed: Create_Zendesk_Ticket", ActionKind.WEBHOOK, "webhook", "Create_Zendesk_Ticket"),
        ("Executed during_call webhook", ActionKind.WEBHOOK, "webhook", "Webhook"),
        ("Webhook Enviar_confirmaci\u00f3n ok", ActionKind.WEBHOOK, "webhook", "Enviar_confirmaci\u00f3n"),
        ("Call ended: user hung up", ActionKind.END, "call ended", "End of the call"),
        ("call_end_reason: transfer", ActionKind.END, "call_end", "End of the call"),
        ("User hung up", ActionKind.END, "hung up", "End of the call"),
        ("Participant disconnected", ActionKind.END, "disconnected", "End of the call"),
    ],
)
def test_a_system_entry_is_a_turn_and_what_it_tells_an_action(
    text: str, kind: ActionKind, word: str, name: str
) -> None:
    call = event(text)
    assert call.turns[1] == Turn(n=2, speaker=Speaker.SYSTEM, text=text, offset_seconds=4.0)
    details: dict[str, Scalar] = {"text": text, **({"to": "+12065550182"} if "+1206" in text else {})}
    assert call.actions == (
        Action(
            kind=kind,
            vendor_kind=word,
            name=name,
            executed_at=began(1) + timedelta(seconds=4),
            turn=2,
            details=details,
        ),
    )


@pytest.mark.parametrize(
    "text",
    [
        "Transfer failed: busy",
        "Call transfer to +12065550182: no answer",
        "Webhook Create_Ticket timed out",
        "Could not transfer the call",
        "Caller put on hold",
        "Language switched to Spanish",
    ],
)
def test_what_was_not_done_or_is_something_else_is_a_turn_only(text: str) -> None:
    call = event(text)
    assert (call.turns[1].text, call.actions, call.end_reason) == (text, (), None)


def test_only_the_system_tells_of_actions() -> None:
    said = [entry("I transferred you by webhook, call ended.", who, 1.0) for who in ("agent", "user", "narrator")]
    call = first_call(transcript_json=said)
    assert not call.actions
    assert [turn.speaker for turn in call.turns] == [Speaker.AGENT, Speaker.CUSTOMER, Speaker.UNKNOWN]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("Call ended: user hung up", "user hung up"),
        ("Call ended - silence", "silence"),
        ("end_reason: max_duration", "max_duration"),
        ("call_end_reason: failed, no answer", "failed, no answer"),
        ("User hung up after 3 s", "User hung up after 3 s"),
        ("Call ended:", "Call ended:"),
        ("Call ended: " + "because " * 40, "because " * 24 + "because\u2026"),
    ],
)
def test_why_a_call_ended_is_what_its_system_entry_says(text: str, reason: str) -> None:
    assert event(text).end_reason == reason


def test_the_reason_of_the_log_goes_before_the_error_of_the_record() -> None:
    said = [entry("Call ended: voicemail", "system", 4.0)]
    vendor = Vendor([log(1, transcript_json=said)], [answered_record(2, transcript_id="log1", error="odd")])
    assert only(vendor.read()).end_reason == "voicemail"
    vendor.logs[0]["transcript_json"] = []
    assert only(vendor.read()).end_reason == "odd"


def test_a_system_entry_with_a_credential_keeps_what_happened_only() -> None:
    secret = "sk-0123456789abcdefABCDEF"
    for text, kinds in (
        (f"Webhook executed: Log_Call with key {secret}", [ActionKind.WEBHOOK]),
        (f"Webhook failed: Log_Call with key {secret}", []),
        (f"Call ended: {secret}", [ActionKind.END]),
        (f"Config {secret}", []),
    ):
        call = event(text)
        assert secret not in call.model_dump_json()
        assert [action.kind for action in call.actions] == kinds
        assert len(call.turns) == 2
    linked = event("Webhook executed: Log_Call https://user:pw@crm.example.com/x?key=abcd1234 ok")
    assert linked.turns[1].text == "Webhook executed: Log_Call https://crm.example.com/x ok"


def test_an_error_with_a_credential_is_left_out_and_its_links_are_cut() -> None:
    rows = [record(1, error="token=abcd1234efgh"), record(2, error="see https://sip.example.com/log?sig=abcd")]
    found = calls_of(Vendor(outbound=rows).read())
    assert [call.end_reason for call in found] == [None, "see https://sip.example.com/log"]


@pytest.mark.parametrize("missing", [None, [], "odd", [None, 7], [entry("half a", "user", 1.0, is_partial=True)]])
def test_the_text_is_read_where_the_entries_are_missing(missing: Any) -> None:
    text = (
        "loose\n[0.50s] agent: Hello: how can I help?\n  And who is this?\n\n[3s] user:\n[4.25s]  user: Priya\n"
        "[5.00s] system: Call transferred to +1 206-555-0182\n[6.00s] robot: beep"
    )
    call = first_call(transcript_json=missing, transcript_text=text)
    assert [(turn.speaker, turn.text, turn.offset_seconds) for turn in call.turns] == [
        (Speaker.UNKNOWN, "loose", None),
        (Speaker.AGENT, "Hello: how can I help?\nAnd who is this?", 0.5),
        (Speaker.CUSTOMER, "Priya", 4.25),
        (Speaker.SYSTEM, "Call transferred to +1 206-555-0182", 5.0),
        (Speaker.UNKNOWN, "beep", 6.0),
    ]
    assert call.actions[0].details["to"] == "+12065550182"


def test_partial_and_odd_entries_cost_none_of_the_others() -> None:
    call = first_call(
        transcript_json=[
            entry("Yes, that wor", "user", 3.9, is_partial=True),
            entry("Yes, that works.", " User ", 4.1, is_partial=None),
            entry("Odd offset", "agent", -1),
            entry("No offset", "agent", "soon"),
            entry({"odd": 1}, "agent", 5.0),
            entry("  ", "agent", 5.5),
            entry("No speaker", None, 6.0),
            "odd",
        ]
    )
    assert [(turn.n, turn.speaker, turn.text, turn.offset_seconds) for turn in call.turns] == [
        (1, Speaker.CUSTOMER, "Yes, that works.", 4.1),
        (2, Speaker.AGENT, "Odd offset", None),
        (3, Speaker.AGENT, "No offset", None),
        (4, Speaker.UNKNOWN, "No speaker", 6.0),
    ]


@pytest.mark.parametrize(
    ("summary", "paragraph", "facts"),
    [
        (
            "Order Status\n\nCaller asked.\n\n**Action Items:**\n- \u2713 Told them\n- None pending\n\n**Sentiment:** Positive",
            "Caller asked.",
            {"title": "Order Status", "action_items": "\u2713 Told them", "sentiment": "Positive"},
        ),
        (
            "# Order *Status*\n\nFirst.\n\nSecond.\n\n**Action Items**:\n* One\n  more\n\u2022 Two\n\n**Sentiment**: Very mixed\n",
            "First.\n\nSecond.",
            {"title": "Order *Status", "action_items": "One more; Two", "sentiment": "Very mixed"},
        ),
        ("Caller asked.\n\n**Action Items:**\nNone", "Caller asked.", {}),
        ("Title\n\nCaller asked.\n\n**Action Items:** None\n\n**Sentiment:**", "Caller asked.", {"title": "Title"}),
        ("Only a paragraph.", "Only a paragraph.", {}),
        ("Short one.\n\nA second one, no sections.", "Short one.\n\nA second one, no sections.", {}),
        ("**Sentiment:** Neutral", None, {"sentiment": "Neutral"}),
        (
            "Title\n\nAsked.\n\n**Sentiment:** Bad\n\n**Next Steps:**\nCall back.",
            "Asked.\n\nNext Steps: Call back.",
            {"title": "Title", "sentiment": "Bad"},
        ),
        ("T " * 80 + "\n\nAsked.\n\n**Sentiment:** Bad", "T " * 80 + "\n\nAsked.", {"sentiment": "Bad"}),
        ("  ", None, {}),
        (None, None, {}),
        ({"odd": 1}, None, {}),
    ],
)
def test_the_parts_of_a_summary_are_told_apart(summary: Any, paragraph: str | None, facts: dict[str, str]) -> None:
    call = first_call(summary_text=summary)
    assert (call.summary, call.extracted) == (paragraph, facts)


def test_facts_of_a_summary_are_cut_and_hold_no_credentials() -> None:
    call = first_call(
        summary_text=f"Title\n\nText.\n\n**Action Items:**\n- {'x ' * 400}\n\n**Sentiment:** password: hunter22"
    )
    assert call.extracted == {"title": "Title", "action_items": ("x " * 400)[:500]}


def test_a_record_has_the_summary_that_its_log_lacks() -> None:
    rows = [answered_record(2, transcript_id="log1", summary_text="Of the record."), record(3, summary_text="Alone.")]

    def whole(asked: Asked) -> Reply | None:
        listed = {"data": rows, "pagination": {"hasNext": False}}
        return Reply(200, listed) if asked.path.endswith("/outbound-calls") else None

    found = calls_of(Vendor([log(1)], before=whole).read())
    assert [call.summary for call in found] == ["Of the record.", "Alone."]


@pytest.mark.parametrize(
    ("given", "recorded"),
    [({"recording_url": "https://x.example.com/a.ogg?sig=1"}, True), ({"recording_url": None}, False), ({}, None)],
)
def test_of_a_recording_only_its_being_there_is_kept(given: dict[str, Any], *, recorded: bool | None) -> None:
    row = {name: value for name, value in log(1).items() if name != "recording_url"} | given
    call = only(Vendor([row]).read())
    assert call.has_recording is recorded
    assert "x.example.com" not in call.model_dump_json()


@pytest.mark.parametrize("odd", [-1, "soon", None, {}])
def test_odd_numbers_and_times_cost_no_call(odd: Any) -> None:
    call = first_call(call_duration=odd, call_ended_at=odd, created_at=odd, session_data=odd)
    assert (call.duration_seconds, call.ended_at, call.from_number) == (None, None, None)


@pytest.mark.parametrize("odd", ["0001-01-01T00:00:00+14:00", "soon", None, {}, "2026-06-15T12:00:00"])
def test_a_log_whose_start_cannot_be_read_is_named_and_spoils_no_other(odd: Any) -> None:
    rows = [log(1), log(2, call_started_at=odd), log(3)]
    found = Vendor(before=logs_listed(rows)).read()
    assert ids(found) == ["log1", "log3"]
    assert [(one.vendor_call_id, one.fields) for one in found[0].unreadable] == [("log2", ("call_started_at",))]


def test_a_call_taken_by_another_agent_than_the_list_says_keeps_its_own() -> None:
    def strange(asked: Asked) -> Reply | None:
        listed = {"data": [log(1, agent_id="other"), log(2, agent_id=None)], "pagination": {"hasNext": False}}
        return Reply(200, listed) if asked.path.endswith("/call-logs") else None

    found = calls_of(Vendor(before=strange).read())
    assert [(call.agent_id, call.agent_name) for call in found] == [("other", None), (ONE, "Front Desk")]


# The stand-in


@pytest.fixture
def api() -> Any:
    """A client of the stand-in that has a token."""
    calls = business.calls(datetime.now(UTC).astimezone(), "telzino")
    made = sandbox.stand_in(calls)
    with staged(made.app) as base_url, httpx.Client(base_url=base_url, trust_env=False) as client:
        asked = made.settings | {"audience": sandbox.AUDIENCE, "grant_type": "client_credentials"}
        found = client.post("/oauth/token", json=asked).json()
        assert (found["token_type"], found["expires_in"]) == ("Bearer", 86400)
        client.headers["authorization"] = f"Bearer {found['access_token']}"
        yield client


def test_the_stand_in_hands_out_tokens_for_the_right_pair_only(api: httpx.Client) -> None:
    right = {
        "client_id": sandbox.CLIENT_ID,
        "client_secret": sandbox.CLIENT_SECRET,
        "audience": sandbox.AUDIENCE,
        "grant_type": "client_credentials",
    }
    for wrong, status in (
        ({"client_secret": "another"}, 401),
        ({"client_id": None}, 401),
        ({"audience": "https://api.telzino.com"}, 403),
        ({"grant_type": "password"}, 400),
    ):
        assert api.post("/oauth/token", json=right | wrong).status_code == status
    assert api.post("/oauth/token", data=right).status_code == 400
    assert api.post("/oauth/token", json=[]).status_code == 400


def test_the_stand_in_refuses_what_is_not_documented(api: httpx.Client) -> None:
    agent = api.get("/v1/agents").json()["data"][0]["id"]
    for path in ("/v1/agents", f"/v1/agents/{agent}/call-logs", f"/v1/agents/{agent}/outbound-calls"):
        assert api.get(path, headers={"authorization": "Bearer another"}).status_code == 401
        for wrong in ({"limit": 101}, {"limit": 0}, {"page": 0}, {"page": "two"}, {"start_date": "2026-01-01"}):
            assert api.get(path, params=wrong).status_code == 400
    assert api.get(f"/v1/agents/{ONE}/call-logs").status_code == 404
    assert api.post(f"/v1/agents/{agent}/outbound-calls", json={"to_number": CALLEE}).status_code == 405


def test_the_stand_in_pages_and_lists_as_documented(api: httpx.Client) -> None:
    agent = next(one["id"] for one in api.get("/v1/agents").json()["data"] if one["name"] == "Front Desk")
    first = api.get(f"/v1/agents/{agent}/outbound-calls", params={"page": 1, "limit": 2}).json()
    assert first["pagination"] == {
        "page": 1,
        "limit": 2,
        "total": first["pagination"]["total"],
        "totalPages": math.ceil(first["pagination"]["total"] / 2),
        "hasNext": True,
        "hasPrev": False,
    }
    busy = api.get(f"/v1/agents/{agent}/outbound-calls", params={"status": "busy"}).json()["data"]
    assert [row["status"] for row in busy] == ["busy"]
    whole = api.get(f"/v1/agents/{agent}/outbound-calls/{busy[0]['id']}").json()
    assert whole["call_context"].startswith("You are calling")
    assert "call_context" not in busy[0]
    assert api.get(f"/v1/agents/{agent}/outbound-calls/{agent}").status_code == 404
    logs = api.get(f"/v1/agents/{agent}/call-logs").json()
    assert logs["pagination"]["limit"] == 50
    assert any(entry["is_partial"] for row in logs["data"] for entry in row["transcript_json"])


# The business, through the adapter and a sync into a store


NOW = datetime.now(UTC).astimezone()
BUSINESS = {sandbox.uid("log" if one.story.status == "completed" else "outbound", one.key): one for one in business.calls(NOW, "telzino")}  # fmt: skip


@pytest.fixture(scope="module")
def synced(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Call]:
    """Every call of the stand-in as the store has it after one pass, by the vendor's id."""
    made = sandbox.stand_in(list(BUSINESS.values()))
    store = SQLiteStore(tmp_path_factory.mktemp("telzino") / "calls.db")

    async def once(to: Account) -> None:
        sync = Sync([to], store, history=timedelta(days=90))
        async with sync.running():
            assert (await sync.finish("acme")).state == "ok"

    with staged(made.app) as base_url:
        finished(once, account(base_url, **made.settings))
    from call_logs.store import Filter  # noqa: PLC0415

    rows = store.list_calls(Filter(("acme",)), limit=100).rows
    found = {row.vendor_call_id: store.call(["acme"], row.id) for row in rows}
    store.close()
    assert len(rows) == len(found)
    return {name: call for name, call in found.items() if call is not None}


def test_every_call_of_the_sandbox_arrives_once_with_every_canonical_field_right(synced: dict[str, Call]) -> None:
    assert len(synced) == len(BUSINESS) > 24
    for name, told in BUSINESS.items():
        assert synced[name] == as_told(name, told), told.key


def as_told(vendor_call_id: str, told: PhoneCall) -> Call:
    """The canonical call that the made-up one must arrive as."""
    story = told.story
    outbound, connected = story.direction == "outbound", story.status == "completed"
    picked_up = told.started_at + timedelta(seconds=story.ringing_seconds)
    number = told.customer.number if told.customer else None
    facts = {name: story.extracted.get(name) for name in ("title", "action_items", "sentiment")}
    items = "; ".join(item for item in facts["action_items"] or () if item != "None")
    kept = facts | {"action_items": items}
    turns, actions = turns_and_actions(told, picked_up) if connected else ((), ())
    return Call(
        account="acme",
        provider="telzino",
        vendor_call_id=vendor_call_id,
        direction=Direction.OUTBOUND if outbound else Direction.UNKNOWN,
        status=Status(story.status),
        vendor_status=story.status if outbound else None,
        end_reason=sandbox.end_reason(told),
        sip_status_code=story.sip,
        from_number=None if outbound else number,
        to_number=number if outbound else None,
        started_at=picked_up if connected else told.started_at,
        answered_at=picked_up if outbound and connected else None,
        ended_at=picked_up + timedelta(seconds=story.duration_seconds),
        duration_seconds=story.duration_seconds if connected else None,
        agent_id=sandbox.uid("agent", told.agent.name),
        agent_name=told.agent.name,
        has_recording=told.agent.name == "Billing" if connected else None,
        summary=story.summary or None,
        extracted={name: value for name, value in kept.items() if value} if connected and story.settled else {},
        turns=turns,
        actions=actions,
    )


def turns_and_actions(told: PhoneCall, began: datetime) -> tuple[tuple[Turn, ...], tuple[Action, ...]]:
    """What was said and done, in its order, with the end at the end."""
    happened: list[tuple[float, Speaker, str, tuple[ActionKind, str, str] | None]] = [
        (spoken.offset_seconds, Speaker(spoken.speaker), spoken.text, None) for spoken in told.story.spoken
    ]
    for done in told.story.executed:
        if done.action == "end":
            continue
        if ACTIONS[done.action].kind == "transfer":
            text = f"Call transferred to {ACTIONS[done.action].facts['number']}"
            what = (ActionKind.TRANSFER, "transferred", "Transfer")
        else:
            name = sandbox.webhook_name(done.action)
            text, what = f"Webhook executed: {name}", (ActionKind.WEBHOOK, "webhook", name)
        happened.append((done.offset_seconds, Speaker.SYSTEM, text, what))
    over = (ActionKind.END, "call ended", "End of the call")
    text = f"Call ended: {sandbox.end_reason(told)}"
    happened.append((float(told.story.duration_seconds), Speaker.SYSTEM, text, over))
    turns: list[Turn] = []
    actions: list[Action] = []
    for n, (offset, speaker, text, what) in enumerate(sorted(happened, key=lambda one: round(one[0], 2)), 1):
        turns.append(Turn(n=n, speaker=speaker, text=text, offset_seconds=round(offset, 2)))
        if what:
            details: dict[str, Scalar] = {"text": text}
            if what[0] is ActionKind.TRANSFER:
                details["to"] = text.rpartition(" ")[2]
            executed_at = began + timedelta(seconds=round(offset, 2))
            actions.append(
                Action(
                    kind=what[0], vendor_kind=what[1], name=what[2], executed_at=executed_at, turn=n, details=details
                )
            )
    return tuple(turns), tuple(actions)


def test_the_sandbox_tells_of_a_text_that_was_promised_and_never_sent(synced: dict[str, Call]) -> None:
    broken = {
        BUSINESS[name].key: [promise.text for promise in found]
        for name, call in synced.items()
        if (found := unkept(call.turns, call.actions))
    }
    assert broken == {"tz-text-promised-retainer": ["I'll text you the instructions right after this call."]}


def test_the_sandbox_has_refunds_reminders_and_customers_of_other_lines(synced: dict[str, Call]) -> None:
    elsewhere = {one.customer.number for one in business.calls(NOW) if one.customer}
    here = {call.to_number or call.from_number for call in synced.values()}
    assert len(elsewhere & here) >= 5
    assert {call.status for call in synced.values()} == {
        Status.COMPLETED,
        Status.NO_ANSWER,
        Status.BUSY,
        Status.FAILED,
    }
    days = {(NOW.date() - one.started_at.astimezone(NOW.tzinfo).date()).days for one in BUSINESS.values()}
    assert {1, 27} <= days


def test_nothing_that_the_stand_in_hides_comes_out(synced: dict[str, Call]) -> None:
    assert "sandbox-secret" not in "".join(call.model_dump_json() for call in synced.values())
