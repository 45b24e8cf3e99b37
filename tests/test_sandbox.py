"""The sandbox: a believable business, rendered as the vendors' documents say, on loopback."""

import asyncio
import json
import re
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import httpx
import pytest

from call_logs.sandbox import Message, Receive, Sandbox, Send, business, highlevel, running, serving
from call_logs.sandbox.story import Script, story

NOW = datetime(2026, 9, 30, 17, 20, 5, 123456, tzinfo=UTC)
LIST = "/voice-ai/dashboard/call-logs"
AGENTS = "/voice-ai/agents"
SECRETS = ("sandbox-secret-must-not-leak", "sandbox-secret-in-header", "sandbox-secret-in-address")
NEVER_SENT = {
    "text-promised-directions",
    "text-promised-estimate",
    "text-promised-forms",
    "text-promised-after-hours",
    "text-promised-rebooking",
    "es-mensaje-sin-enviar",
}


class HighLevel:
    """A client with the demo's credentials."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.account = sandbox.accounts["demo-highlevel"]
        self.headers = {"Authorization": f"Bearer {self.account['token']}", "Version": "2021-04-15"}
        self.location = {"locationId": self.account["location_id"]}
        self.client = httpx.Client(base_url=self.account["base_url"], trust_env=False)

    def get(self, path: str, headers: Mapping[str, str] | None = None, /, **query: str | int) -> httpx.Response:
        return self.client.get(path, params=self.location | query, headers=self.headers | dict(headers or {}))

    def every_call(self, **query: str | int) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = []
        page = 0
        while True:
            page += 1
            found = self.get(LIST, page=page, pageSize=50, **query).json()["callLogs"]
            rows += found
            if len(found) < 50:
                return rows


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with running(NOW) as started:
        yield started


@pytest.fixture(scope="module")
def api(sandbox: Sandbox) -> Iterator[HighLevel]:
    found = HighLevel(sandbox)
    with found.client:
        yield found


@pytest.fixture(scope="module")
def rows(api: HighLevel) -> dict[str, dict[str, Any]]:
    """What the list serves, by the key of the story."""
    keys = {highlevel.object_id("call", call.key): call.key for call in business.calls(NOW)}
    return {keys[row["id"]]: row for row in api.every_call()}


def said(row: Mapping[str, Any], role: str) -> list[str]:
    return [turn["content"] for turn in row["transcriptWithToolCalls"] if turn["role"] == role]


def action_types(row: Mapping[str, Any]) -> set[str]:
    return {done["actionType"] for done in row["executedCallActions"]}


def strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for key, held in value.items():  # pyright: ignore[reportUnknownVariableType]
            yield str(key)  # pyright: ignore[reportUnknownArgumentType]
            yield from strings(held)
    elif isinstance(value, list):
        for held in value:  # pyright: ignore[reportUnknownVariableType]
            yield from strings(held)


def epoch_ms(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)


# The business


def test_the_same_moment_gives_the_same_calls_and_another_moment_the_same_keys() -> None:
    assert business.calls(NOW) == business.calls(NOW)
    other = business.calls(NOW + timedelta(days=100, hours=7))
    assert {call.key for call in other} == {call.key for call in business.calls(NOW)}
    assert {call.key: call.story for call in other} == {call.key: call.story for call in business.calls(NOW)}


def test_another_process_tells_the_same_stories() -> None:
    program = "from call_logs.sandbox import business; print(business.stories())"
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True, env={"PYTHONUTF8": "1"})
    assert run.stdout.decode().strip() == str(business.stories())


@pytest.mark.parametrize("hour", [0, 3, 9, 13, 18, 23])
@pytest.mark.parametrize("zone", [UTC, timezone(timedelta(hours=-8)), timezone(timedelta(hours=9))])
def test_calls_are_newest_first_before_now_within_four_weeks_and_some_are_recent(hour: int, zone: timezone) -> None:
    now = datetime(2026, 3, 29, hour, 1, tzinfo=zone)
    calls = business.calls(now)
    times = [call.started_at for call in calls]
    assert len(calls) == 120
    assert times == sorted(times, reverse=True)
    assert times[0] == now - timedelta(minutes=4)
    assert all(call.started_at + timedelta(seconds=call.story.duration_seconds) < now for call in calls)
    assert times[-1] > now - timedelta(days=28)
    assert len({call.key for call in calls}) == 120
    days = Counter((now.date() - call.started_at.astimezone(zone).date()).days for call in calls)
    assert days[0] + days[1] >= 15
    yesterdays = {call.key for call in calls if (now.date() - call.started_at.astimezone(zone).date()).days == 1}
    assert {"refund-duplicate-charge", "refund-whitening-kit", "refund-missed-visit-fee"} <= yesterdays


def test_a_time_without_a_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="aware"):
        business.calls(datetime(2026, 1, 1))  # noqa: DTZ001


def test_a_script_with_a_misspelt_line_is_refused() -> None:
    with pytest.raises(ValueError, match="neither speech nor action"):
        story(Script("odd", {"agent": "Billing", "when": "1 days ago 10:00"}, (), ("B: who is that?",)))


def test_what_is_said_keeps_its_order_and_stays_inside_the_call() -> None:
    for told in business.stories():
        ends = 0.0
        for turn in told.spoken:
            assert turn.offset_seconds >= ends
            assert turn.text.strip() == turn.text != ""
            ends = turn.offset_seconds + turn.seconds
        assert ends <= told.duration_seconds
        assert all(done.after_call == (done.offset_seconds > told.duration_seconds) for done in told.executed)


def test_no_pattern_leaves_a_mark_and_no_two_conversations_are_alike() -> None:
    told = [story for story in business.stories() if story.spoken]
    texts = ["\n".join(turn.text for turn in story.spoken) for story in told]
    assert len(set(texts)) == len(texts)
    for story_, text in zip(told, texts, strict=True):
        assert story_.key == "injection-attempt" or not re.search(r"[\[\]{}|]", text + story_.summary)
    turns = {turn for text in texts for turn in text.split("\n")}
    assert len(turns) > 1000


# What every demo and test may count on


def test_some_customers_call_several_times(rows: dict[str, dict[str, Any]]) -> None:
    numbers = Counter(row["fromNumber"] for row in rows.values() if "fromNumber" in row)
    assert numbers["+12065550123"] >= 2
    assert sum(count > 1 for count in numbers.values()) >= 10
    assert len({number[:5] for number in numbers}) >= 8


def test_all_four_agents_and_a_deleted_one_took_calls(api: HighLevel, rows: dict[str, dict[str, Any]]) -> None:
    listed = api.get(AGENTS).json()
    assert [agent["agentName"] for agent in listed["agents"]] == ["Front Desk", "After Hours", "Billing", "Recepción"]
    assert listed["total"] == 4
    taken = Counter(row["agentId"] for row in rows.values() if not row["isAgentDeleted"])
    assert set(taken) == {agent["id"] for agent in listed["agents"]}
    deleted = {row["agentId"] for row in rows.values() if row["isAgentDeleted"]}
    assert len(deleted) == 1
    assert not deleted & set(taken)


def test_refunds_are_asked_for_in_many_words_and_only_some_are_transferred(rows: dict[str, dict[str, Any]]) -> None:
    refunds = {key: row for key, row in rows.items() if key.startswith("refund-")}
    transferred = {key for key, row in refunds.items() if "CALL_TRANSFER" in action_types(row)}
    assert len(refunds) == 7
    assert transferred == {"refund-duplicate-charge", "refund-retainer-deposit", "refund-aligners-angry"}
    words = ("refunded", "money back", "reimbursed", "send back what I overpaid", "returned to me", "reverse it")
    for word in words:
        assert any(word in text for row in refunds.values() for text in said(row, "user")), word


def test_texts_promised_but_never_sent_are_exactly_the_written_ones(rows: dict[str, dict[str, Any]]) -> None:
    promised = {
        key
        for key, row in rows.items()
        if any(re.search(r"\btext(ing|ed)?\b|mensaje de texto", text) for text in said(row, "agent"))
    }
    sent = {key for key, row in rows.items() if "SMS" in action_types(row)}
    assert promised - sent == NEVER_SENT
    assert len(promised & sent) >= 15


def test_a_transfer_and_a_callback_are_promised_and_not_made(rows: dict[str, dict[str, Any]]) -> None:
    assert any("transferring you" in text for text in said(rows["transfer-promised"], "agent"))
    assert any("call you back tomorrow" in text for text in said(rows["refund-duplicate-first-call"], "agent"))
    for key in ("transfer-promised", "refund-duplicate-first-call"):
        assert rows[key]["executedCallActions"] == []


def test_a_second_language_is_spoken_with_its_accents(rows: dict[str, dict[str, Any]]) -> None:
    spanish = {key: row for key, row in rows.items() if key.startswith("es-")}
    assert len(spanish) == 14
    assert "¿" in spanish["es-cita-limpieza"]["transcript"]
    assert "Villaseñor" in spanish["es-cambio-de-cita"]["transcript"]
    assert spanish["es-cita-limpieza"]["translation"] == {"enabled": True, "language": "es"}
    assert "SMS" in action_types(spanish["es-cita-limpieza"])
    assert "CALL_TRANSFER" in action_types(spanish["es-reembolso-doble"])


def test_test_calls_have_no_number_and_no_message(rows: dict[str, dict[str, Any]]) -> None:
    trials = {key: row for key, row in rows.items() if row["trialCall"]}
    assert set(trials) == {"test-greeting", "test-booking", "test-silence", "test-spanish"}
    for row in trials.values():
        assert not {"fromNumber", "messageId"} & set(row)
    assert all({"fromNumber", "messageId"} <= set(row) for key, row in rows.items() if key not in trials)


def test_one_customer_tries_to_instruct_whoever_reads_the_transcript(rows: dict[str, dict[str, Any]]) -> None:
    tried = [key for key, row in rows.items() if "ignore all previous instructions" in row["transcript"].lower()]
    assert tried == ["injection-attempt"]
    assert "</transcript>" in rows["injection-attempt"]["transcript"]
    assert "](https://example.com/" in rows["injection-attempt"]["transcript"]


def test_one_customer_reads_a_card_number_aloud(rows: dict[str, dict[str, Any]]) -> None:
    in_digits = [key for key, row in rows.items() if "4111 1111 1111 1111" in row["transcript"]]
    in_words = [key for key, row in rows.items() if "four one one one, one one one one" in row["transcript"].lower()]
    assert in_digits == in_words == ["card-number-read-aloud"]
    assert "security code" in rows["card-number-read-aloud"]["transcript"]


def test_one_call_carries_the_secrets_of_an_api_action(rows: dict[str, dict[str, Any]]) -> None:
    for secret in SECRETS:
        assert [key for key, row in rows.items() if secret in json.dumps(row)] == ["appointment-status"]
    (action,) = rows["appointment-status"]["executedCallActions"]
    assert action["actionType"] == "CUSTOM_ACTION"
    assert action["actionParameters"]["apiDetails"]["authenticationValue"] == SECRETS[0]


def test_silent_short_long_and_unsettled_calls_are_there(rows: dict[str, dict[str, Any]]) -> None:
    assert rows["just-now"]["transcript"] == rows["just-now"]["summary"] == ""
    assert rows["just-now"]["duration"] > 0
    assert rows["silent-line"]["transcriptWithToolCalls"] == []
    for key in ("hang-up-greeting", "hang-up-sigh", "hang-up-machine"):
        assert rows[key]["duration"] < 20
        assert len(rows[key]["transcriptWithToolCalls"]) <= 3
    assert len(rows["new-family-intake"]["transcriptWithToolCalls"]) >= 120
    assert "s, o, l, b, e, r, g" in rows["spelled-email"]["transcript"]
    assert "208-555-0153" in rows["spelled-email"]["transcript"]
    assert {"wrong-number", "angry-wait", "callback-anxious-patient", "cancel-sick-child"} <= set(rows)


def test_only_numbers_that_belong_to_nobody_appear(api: HighLevel, rows: dict[str, dict[str, Any]]) -> None:
    served = list(strings([*rows.values(), *api.get(AGENTS).json()["agents"]]))
    found = [match for text in served for match in re.findall(r"(?<![\w])\+?\d[\d(). -]{7,}\d(?!\w)", text)]
    numbers = [re.sub(r"\D", "", match) for match in found]
    numbers = [number for number in numbers if len(number) != 16]
    assert len(numbers) > 100
    assert all(re.fullmatch(r"1?\d{3}55501\d\d", number) for number in numbers)


# HighLevel's ways


def test_all_eight_kinds_of_action_occur(rows: dict[str, dict[str, Any]]) -> None:
    kinds = {kind for row in rows.values() for kind in action_types(row)}
    assert kinds == set(highlevel.ACTION_TYPES.values())
    for row in rows.values():
        for action in row["executedCallActions"]:
            assert re.fullmatch(r"[0-9a-f]{24}", action["actionId"])
            assert action["executedAt"].endswith("Z")


def test_a_transcript_has_its_prefixes_without_a_space_and_trailing_spaces(rows: dict[str, dict[str, Any]]) -> None:
    lines = rows["booking-cleaning"]["transcript"].split("\n")
    assert lines[0] == "bot:Lakeside Dental, this is the front desk. How can I help?"
    assert lines[-1] == ""
    assert all(line.startswith("bot:") or (line.startswith("human:") and line.endswith(" ")) for line in lines[:-1])
    last = rows["booking-cleaning"]["transcriptWithToolCalls"][-1]
    assert (last["role"], last["toolName"]) == ("action_executed", "end_call")
    assert "endTime" not in last
    assert any(None in row["extractedData"].values() for row in rows.values())
    assert any("Last Name" in row["extractedData"] for row in rows.values())


def test_a_single_call_lacks_the_timed_transcript(api: HighLevel, rows: dict[str, dict[str, Any]]) -> None:
    row = rows["booking-cleaning"]
    shown = api.get(f"{LIST}/{row['id']}").json()
    assert shown.pop("traceId")
    assert shown == {name: value for name, value in row.items() if name != "transcriptWithToolCalls"}


def test_an_unknown_call_is_not_found(api: HighLevel) -> None:
    answer = api.get(f"{LIST}/{'0' * 24}")
    assert answer.status_code == answer.json()["statusCode"] == 404


def test_pages_cover_every_call_once_newest_first(api: HighLevel) -> None:
    default = api.get(LIST).json()
    assert {name: default[name] for name in ("total", "page", "pageSize")} == {"total": 120, "page": 1, "pageSize": 10}
    assert len(default["callLogs"]) == 10
    found = api.every_call()
    assert len({row["id"] for row in found}) == len(found) == 120
    assert [row["createdAt"] for row in found] == sorted((row["createdAt"] for row in found), reverse=True)
    beyond = api.get(LIST, page=99).json()
    assert (beyond["callLogs"], beyond["total"]) == ([], 120)


def test_nothing_found_comes_in_another_envelope(api: HighLevel) -> None:
    empty = api.get(LIST, contactId="nobody").json()
    assert empty.pop("traceId")
    assert empty == {"callLogs": [], "totalRecords": 0}


def test_filters_and_sorting_work(api: HighLevel, rows: dict[str, dict[str, Any]]) -> None:
    assert len(api.every_call(callType="TRIAL")) == 4
    assert len(api.every_call(callType="LIVE")) == 116
    billing = rows["refund-duplicate-charge"]["agentId"]
    assert {row["agentId"] for row in api.every_call(agentId=billing)} == {billing}
    assert len(api.every_call(contactId=rows["refund-duplicate-charge"]["contactId"])) >= 2
    assert all(action_types(row) & {"SMS", "CUSTOM_ACTION"} for row in api.every_call(actionType="SMS,CUSTOM_ACTION"))
    longest = api.get(LIST, sortBy="duration", sort="descend").json()["callLogs"][0]
    shortest = api.get(LIST, sortBy="duration", sort="ascend").json()["callLogs"][0]
    assert (longest["id"], shortest["id"]) == (rows["new-family-intake"]["id"], rows["hang-up-greeting"]["id"])
    start, end = epoch_ms(NOW - timedelta(days=3)), epoch_ms(NOW - timedelta(days=1))
    within = api.every_call(startDate=start, endDate=end)
    assert 0 < len(within) < 120
    assert all(start <= epoch_ms(datetime.fromisoformat(row["createdAt"])) <= end for row in within)
    assert len(api.get(AGENTS, query="front").json()["agents"]) == 1


@pytest.mark.parametrize("kind", [list, tuple])
def test_rows_that_cannot_change_are_chosen_from_once(kind: Callable[[list[Any]], Sequence[Any]]) -> None:
    """And those of a test, which may, anew for every page."""
    looked = 0

    class Row(dict[str, Any]):
        def get(self, name: str, default: Any = None) -> Any:
            nonlocal looked
            looked += name == "contactId"
            return super().get(name, default)

    rows = [Row(highlevel.call_log(call)) for call in business.calls(NOW)]
    app = highlevel.application(kind(rows), [], token="t", location_id="l")
    headers = {"Authorization": "Bearer t", "Version": "v3"}
    asked = {"locationId": "l", "pageSize": 50, "contactId": rows[0]["contactId"]}
    with serving(app) as origin, httpx.Client(base_url=origin, headers=headers, trust_env=False) as client:
        answers = [client.get(LIST, params={**asked, "page": 1}).json()["callLogs"] for _ in range(3)]
        assert answers[0] == answers[1] == answers[2] != []
        assert looked == (120 if kind is tuple else 360)
        assert client.get(LIST, params={**asked, "contactId": "nobody"}).json()["callLogs"] == []


def test_dates_can_be_ignored_as_reported() -> None:
    logs = [highlevel.call_log(call) for call in business.calls(NOW)]
    app = highlevel.application(logs, [], token="t", location_id="l", ignore_dates=True)
    headers = {"Authorization": "Bearer t", "Version": "v3"}
    with serving(app) as origin, httpx.Client(base_url=origin, headers=headers, trust_env=False) as client:
        march = client.get(LIST, params={"locationId": "l", "startDate": 1, "endDate": 2, "pageSize": 50}).json()
        assert (len(march["callLogs"]), march["total"]) == (50, 120)
        trials = client.get(LIST, params={"locationId": "l", "callType": "TRIAL"}).json()
        assert (len(trials["callLogs"]), trials["total"]) == (4, 120)


@pytest.mark.parametrize(
    ("headers", "message"),
    [
        ({"Authorization": ""}, "Invalid token: access token is invalid"),
        ({"Authorization": "Bearer other"}, "Invalid Private Integration token"),
        ({"Version": "2020-01-01"}, "version header is invalid"),
    ],
)
@pytest.mark.parametrize("path", [LIST, f"{LIST}/{'0' * 24}", AGENTS])
def test_wrong_credentials_and_versions_are_refused(
    api: HighLevel, path: str, headers: dict[str, str], message: str
) -> None:
    answer = api.get(path, headers)
    assert answer.status_code == 401
    assert answer.json() == {"statusCode": 401, "message": message, "error": "Unauthorized"}


def test_a_version_must_be_named_and_all_three_published_ones_work(api: HighLevel) -> None:
    authorized = {"Authorization": api.headers["Authorization"]}
    answer = api.client.get(LIST, params=api.location, headers=authorized)
    assert (answer.status_code, answer.json()["message"]) == (401, "version header was not found.")
    assert {api.get(LIST, {"Version": version}).status_code for version in highlevel.VERSIONS} == {200}


@pytest.mark.parametrize("path", [LIST, f"{LIST}/{'0' * 24}", AGENTS])
def test_the_location_must_be_named_and_be_the_tokens(api: HighLevel, path: str) -> None:
    missing = api.client.get(path, headers=api.headers)
    assert (missing.status_code, missing.json()["message"]) == (400, "LocationId is missing in query")
    wrong = api.get(path, locationId="another")
    assert wrong.status_code == 403
    assert wrong.json()["message"] == "The token does not have access to this location."


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ({"limit": 10}, "property limit should not exist"),
        ({"timezone": "UTC"}, "property timezone should not exist"),
        ({"pageSize": 51}, "pageSize must not be greater than 50"),
        ({"page": 0}, "page must not be less than 1"),
        ({"page": "two"}, "page must be an integer number"),
        ({"startDate": 1}, "startDate and endDate must be given together"),
        ({"endDate": 1}, "startDate and endDate must be given together"),
        ({"startDate": 2, "endDate": 1}, "startDate must be less than endDate"),
        ({"callType": "live"}, "callType must be one of the following values: LIVE, TRIAL"),
    ],
)
def test_a_query_that_is_not_documented_is_refused(api: HighLevel, query: dict[str, str | int], message: str) -> None:
    answer = api.get(LIST, **query)
    assert answer.json() == {"statusCode": 422, "message": [message], "error": "Unprocessable Entity"}
    assert answer.status_code == 422


def test_every_answer_tells_the_rate_limits_and_nothing_can_be_written(api: HighLevel) -> None:
    first, second = api.get(LIST), api.get(LIST, locationId="another")
    assert first.headers["X-RateLimit-Max"] == "100"
    assert first.headers["X-RateLimit-Interval-Milliseconds"] == "10000"
    left = [int(answer.headers["X-RateLimit-Daily-Remaining"]) for answer in (first, second)]
    assert left[0] - left[1] == 1
    assert api.client.post(LIST, headers=api.headers, params=api.location).status_code == 405


# The server


def test_requests_are_recorded_with_lower_case_headers(sandbox: Sandbox, api: HighLevel) -> None:
    before = len(sandbox.received)
    api.get(LIST, {"Version": "nonsense"}, page=3)
    (seen,) = sandbox.received[before:]
    assert (seen.method, seen.path, seen.status) == ("GET", f"/highlevel{LIST}", 401)
    assert seen.query == {"locationId": api.account["location_id"], "page": "3"}
    assert seen.headers["version"] == "nonsense"


def test_the_demo_account_looks_like_one_of_the_config_file_and_fake(sandbox: Sandbox) -> None:
    account = sandbox.accounts["demo-highlevel"]
    assert set(account) == {"provider", "token", "location_id", "base_url"}
    assert account["provider"] == "highlevel"
    assert account["token"].startswith("demo-token-")
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/highlevel", account["base_url"])


def test_importing_the_sandbox_starts_no_web_framework() -> None:
    program = "import sys, call_logs.sandbox; print(sorted({'uvicorn', 'starlette'} & set(sys.modules)))"
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True, text=True)
    assert run.stdout.strip() == "[]"


def test_it_stops_at_once_with_an_open_connection_and_frees_its_port() -> None:
    before = set(threading.enumerate())
    with httpx.Client(trust_env=False) as client:
        with running(NOW) as started:
            origin = started.accounts["demo-highlevel"]["base_url"]
            assert client.get(origin + LIST).status_code == 401
            stopping = time.monotonic()
        assert time.monotonic() - stopping < 1
        assert set(threading.enumerate()) <= before
        with pytest.raises(httpx.ConnectError):
            client.get(origin + LIST)


def test_it_stops_while_an_answer_never_ends() -> None:
    async def endless(scope: Message, _receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"x", "more_body": True})
            await asyncio.sleep(3600)

    with httpx.Client(trust_env=False) as client:
        with serving(endless) as origin:
            request = client.build_request("GET", origin)
            answer = client.send(request, stream=True)
            stopping = time.monotonic()
        assert time.monotonic() - stopping < 1
        answer.close()
