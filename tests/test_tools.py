"""The tools, asked through the real protocol in memory, over the made-up business."""

import json
import re
from pathlib import Path
from typing import Any, cast

import pytest

from call_logs.sandbox import Sandbox, business
from call_logs.sandbox.highlevel import object_id
from call_logs.tools.answer import DEFAULT_CHARACTERS, MOST_CHARACTERS, NOTICE
from conftest import ACCOUNT, Asker, Asking

pytestmark = pytest.mark.anyio

SPEECH_KEYS = {"text", "snippet", "before", "after", "summary", "said", "extracted", "title"}
FENCE = re.compile(r"<<<quotes ([0-9a-f]{16})\n(.*)\n\1 quotes>>>", re.DOTALL)
TOOLS = (
    "search_transcripts",
    "list_calls",
    "get_call",
    "summarize_call_actions",
    "count_calls",
    "list_accounts",
)


def call_id(story: str) -> str:
    """The id of a call of the business."""
    return f"{ACCOUNT}/{object_id('call', story)}"


def tokens_of(text: str) -> int:
    """Tokens of prose and rows, within a few percent of a published BPE vocabulary's count."""
    return len(re.findall(r"\d{1,3}|[^\W\d_]{1,7}|[^\s\w]|_", text))


def facts_of(text: str) -> str:
    """The text without what stands between the boundary lines."""
    return FENCE.sub("", text)


def quotes_of(text: str) -> str:
    """What stands between the boundary lines."""
    found = FENCE.search(text)
    assert found, text
    return found[2]


def strings(node: Any, *, speech: bool, under: bool = False) -> list[str]:
    """The strings of a structured answer that stand under a key for speech, or those that stand under none."""
    if isinstance(node, dict):
        items = cast("dict[str, Any]", node).items()
        return [
            text for key, value in items for text in strings(value, speech=speech, under=under or key in SPEECH_KEYS)
        ]
    if isinstance(node, list):
        return [text for value in cast("list[Any]", node) for text in strings(value, speech=speech, under=under)]
    return [node] if isinstance(node, str) and under is speech else []


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_both_protocol_eras_list_and_answer_the_same(asking: Asking, mode: str) -> None:
    async with asking(mode=mode) as ask:
        listed = await ask.client.list_tools()
        assert tuple(tool.name for tool in listed.tools) == TOOLS
        assert (await ask("list_calls", limit=3)).body["total"] == 116


async def test_every_tool_is_annotated_as_reading_only(asking: Asking) -> None:
    async with asking() as ask:
        for tool in (await ask.client.list_tools()).tools:
            assert tool.annotations is not None
            assert tool.annotations.read_only_hint is True
            assert tool.annotations.destructive_hint is False
            assert tool.title
            assert tool.title == tool.annotations.title
            assert len(tool.description or "") > 80
            assert tool.output_schema is not None


async def test_no_tool_takes_an_address(asking: Asking) -> None:
    async with asking() as ask:
        for tool in (await ask.client.list_tools()).tools:
            for name, schema in tool.input_schema["properties"].items():
                assert not re.search(r"url|uri|path|host|file", name)
                assert schema.get("format") != "uri"


async def test_the_tool_list_costs_at_most_2500_tokens(asking: Asking) -> None:
    """Measured with a published BPE vocabulary: 4.2 characters a token; 3.6 leaves room for others."""
    async with asking() as ask:
        seen = [
            {"name": tool.name, "description": tool.description, "input_schema": tool.input_schema}
            for tool in (await ask.client.list_tools()).tools
        ]
    assert len(json.dumps(seen, separators=(",", ":"))) / 3.6 <= 2_500


async def test_most_parameters_are_described(asking: Asking) -> None:
    async with asking() as ask:
        parameters = [
            schema
            for tool in (await ask.client.list_tools()).tools
            for schema in tool.input_schema["properties"].values()
        ]
    described = [schema for schema in parameters if schema.get("description") or schema.get("enum")]
    assert len(described) / len(parameters) > 0.8


async def test_the_public_surface_is_as_in_its_snapshots(asking: Asking, request: pytest.FixtureRequest) -> None:
    folder = Path(__file__).parent / "snapshots"
    async with asking() as ask:
        tools = (await ask.client.list_tools()).tools
    for tool in tools:
        found = {
            "name": tool.name,
            "title": tool.title,
            "description": tool.description,
            "parameters": tool.input_schema,
            "result": tool.output_schema,
        }
        written = json.dumps(found, indent=2, ensure_ascii=False) + "\n"
        file = folder / f"{tool.name}.json"
        if request.config.getoption("--update-snapshots"):
            file.write_text(written, encoding="utf-8")
        assert file.read_text(encoding="utf-8") == written, "changed: run pytest --update-snapshots and review the diff"
    assert {file.stem for file in folder.glob("*.json")} == set(TOOLS)


# -- without anything -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tool", "arguments"),
    [
        ("list_calls", {}),
        ("search_transcripts", {"query": "refund"}),
        ("summarize_call_actions", {}),
        ("count_calls", {"group_by": ["day"]}),
        ("list_accounts", {}),
    ],
)
async def test_without_credentials_every_answer_says_how_to_begin(
    asking: Asking, tmp_path: Path, tool: str, arguments: dict[str, Any]
) -> None:
    async with asking({}, database=tmp_path / "none.db") as ask:
        answer = await ask(tool, **arguments)
    assert not answer.is_error
    assert answer.body["coverage"]["complete"] is False
    for channel in (answer.text, json.dumps(answer.body)):
        assert "HIGHLEVEL_TOKEN" in channel
        assert "--demo" in channel


async def test_without_credentials_a_call_id_is_refused_with_the_way_to_begin(asking: Asking, tmp_path: Path) -> None:
    async with asking({}, database=tmp_path / "none.db") as ask:
        answer = await ask("get_call", call_id="acme/1")
    assert answer.is_error
    assert "--demo" in answer.text


async def test_another_locations_calls_are_shown_nowhere_under_the_same_name(asking: Asking, sandbox: Sandbox) -> None:
    """A database that was filled from one location, and a configuration that now names another."""
    table = sandbox.accounts[ACCOUNT] | {"location_id": "AnotherLocation0001"}
    async with asking({ACCOUNT: table}) as ask:
        listed = await ask("list_calls")
        found = await ask("search_transcripts", query="the OR a")
        counted = await ask("count_calls")
        accounts = await ask("list_accounts")
        one = await ask("get_call", call_id=call_id("wrong-number"))
        resources = (await ask.client.list_resources()).resources
    assert (listed.body["total"], found.body["total_calls"], counted.body["total"]) == (0, 0, 0)
    assert accounts.body["accounts"][0]["calls"] == 0
    assert accounts.body["agents"] == []
    assert one.is_error
    assert resources == []
    for answer in (listed, found, counted, accounts):
        assert answer.body["coverage"]["complete"] is False
        assert "another highlevel location or project" in answer.text


# -- bad arguments ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tool", "arguments", "said"),
    [
        ("list_calls", {"callid": "x"}, "list_calls has no argument callid. It takes: account, agent, phone"),
        ("list_calls", {"\ud83d nonsense": 1}, "list_calls has no argument of that name"),
        ("list_calls", {"limit": 101}, "less than or equal to 100"),
        ("list_calls", {"status": "done"}, "one of queued, ringing, in_progress"),
        ("list_calls", {"since": "soonish"}, "`since` cannot be read"),
        ("list_calls", {"since": "2026-11-02", "until": "2026-11-01"}, "since"),
        ("list_calls", {"phone": "12"}, "at least 4 digits"),
        ("list_calls", {"account": "acme"}, "Accounts: demo-highlevel"),
        ("list_calls", {"cursor": "!!"}, "cursor is not readable"),
        ("list_calls", {"min_duration_seconds": 9, "max_duration_seconds": 3}, "Swap"),
        ("count_calls", {"group_by": ["day", "hour", "agent"]}, "at most 2"),
        ("count_calls", {"group_by": ["colour"]}, "one of day, hour, weekday"),
        ("count_calls", {"group_by": ["day", "day"]}, "twice"),
        ("search_transcripts", {}, "needs the argument query"),
        ("search_transcripts", {"query": "-refund"}, "nothing to look for"),
        ("search_transcripts", {"query": "\U0001f600 !!"}, "nothing to look for"),
        ("get_call", {"call_id": "nobody/123"}, "There is no such call id"),
        ("get_call", {"call_id": "no-slash"}, "There is no such call id"),
        ("get_call", {"call_id": f"{ACCOUNT}/000000000000000000000000"}, "Use list_calls or search_transcripts"),
        ("get_call", {"call_id": f"{ACCOUNT}/../../contacts/abc"}, "is known. Use list_calls"),
        ("get_call", {"call_id": call_id("wrong-number"), "turns": "1-3", "around": 2}, "not both"),
        ("get_call", {"call_id": call_id("wrong-number"), "turns": "3-1"}, "counted from 1"),
        ("get_call", {"call_id": call_id("wrong-number"), "turns": "900-901"}, "turns; the range begins behind them"),
        ("get_call", {"call_id": call_id("wrong-number"), "around": 900}, "around must be one of them"),
        ("summarize_call_actions", {"call_id": call_id("wrong-number"), "agent": "x"}, "not both"),
    ],
)
async def test_bad_arguments_say_what_would_do(asking: Asking, tool: str, arguments: dict[str, Any], said: str) -> None:
    async with asking() as ask:
        answer = await ask(tool, **arguments)
    assert answer.is_error
    assert said in answer.text
    assert "Traceback" not in answer.text
    assert "pydantic" not in answer.text.lower()


async def test_a_bug_is_hidden_from_the_model(asking: Asking, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("plain secret")

    async with asking() as ask:
        monkeypatch.setattr(ask.server.app.store, "list_calls", broken)
        answer = await ask("list_calls")
    assert answer.is_error
    assert "secret" not in answer.text


# -- lists ------------------------------------------------------------------------------------------------------


async def every_page(ask: Asker, tool: str, **arguments: Any) -> list[dict[str, Any]]:
    """All rows by following the cursors."""
    rows: list[dict[str, Any]] = []
    cursor: dict[str, str] = {}
    while True:
        answer = await ask(tool, **arguments, **cursor)
        assert not answer.is_error, answer.text
        rows += answer.body.get("calls") or answer.body.get("hits") or []
        if "next_cursor" not in answer.body:
            return rows
        assert answer.body["next_cursor"] in answer.text
        cursor = {"cursor": answer.body["next_cursor"]}


@pytest.mark.parametrize("sort", ["newest", "oldest", "longest"])
async def test_pages_show_every_call_once_in_order(asking: Asking, sort: str) -> None:
    async with asking() as ask:
        rows = await every_page(ask, "list_calls", sort=sort, limit=13)
    assert len(rows) == len({row["id"] for row in rows}) == 116
    keys = [row["duration_seconds"] if sort == "longest" else row["started_at"] for row in rows]
    assert keys == sorted(keys, reverse=sort != "oldest")


async def test_test_calls_are_left_out_unless_asked_for(asking: Asking) -> None:
    async with asking() as ask:
        assert (await ask("list_calls")).body["total"] == 116
        assert (await ask("list_calls", include_tests=True)).body["total"] == 120


async def test_a_cursor_of_another_query_or_tool_is_refused_by_name(asking: Asking) -> None:
    async with asking() as ask:
        cursor = (await ask("list_calls", limit=2)).body["next_cursor"]
        other = await ask("list_calls", limit=2, agent="Billing", cursor=cursor)
        tool = await ask("search_transcripts", query="the", cursor=cursor)
    assert other.is_error
    assert "other arguments" in other.text
    assert tool.is_error
    assert "belongs to list_calls" in tool.text


async def test_a_phone_number_is_found_in_any_format(asking: Asking) -> None:
    number = "+12065550123"
    async with asking() as ask:
        found = [
            (await ask("list_calls", phone=typed)).body["total"]
            for typed in (number, "(206) 555-0123", "206.555.0123", "1-206-555-0123", "555 0123", "0123")
        ]
    assert found[0] > 1
    assert found[:4] == [found[0]] * 4
    assert found[4] >= found[0]


async def test_a_row_in_the_text_costs_at_most_35_tokens_beside_its_id(asking: Asking) -> None:
    async with asking() as ask:
        answer = await ask("list_calls", limit=100)
    rows = [line for line in answer.text.splitlines() if line.startswith(f"{ACCOUNT}/")]
    assert len(rows) == 100
    assert max(tokens_of(row.partition(" ")[2]) for row in rows) <= 35


async def test_a_summary_is_short_and_marked_as_a_quote(asking: Asking) -> None:
    async with asking() as ask:
        answer = await ask("list_calls", with_summary=True)
    summaries = [row["summary"] for row in answer.body["calls"] if "summary" in row]
    assert summaries
    assert max(map(len, summaries)) <= 160
    assert answer.body["notice"] == NOTICE
    for summary in summaries:
        assert summary in quotes_of(answer.text)
        assert summary not in facts_of(answer.text)


# -- search -----------------------------------------------------------------------------------------------------


async def test_a_snippet_is_an_exact_quote_and_leads_to_its_turn(asking: Asking) -> None:
    async with asking() as ask:
        hits = (await ask("search_transcripts", query='refund* OR "money back" OR charge*', limit=50)).body["hits"]
        assert len(hits) >= 5
        for hit in hits:
            around = await ask("get_call", call_id=hit["call_id"], around=hit["turn"])
            [turn] = [turn for turn in around.body["turns"] if turn["n"] == hit["turn"]]
            assert hit["snippet"].strip("…") in " ".join(turn["text"].split())
            assert hit["speaker"] == turn["speaker"]
            assert hit["uri"] == f"calls://{hit['call_id']}/transcript"


async def test_hit_pages_show_every_call_once(asking: Asking) -> None:
    async with asking() as ask:
        for sort in ("relevance", "newest"):
            hits = await every_page(ask, "search_transcripts", query="appointment OR cita", sort=sort, limit=7)
            total = (await ask("search_transcripts", query="appointment OR cita")).body["total_calls"]
            assert len(hits) == len({hit["call_id"] for hit in hits}) == total > 14


async def test_who_said_it_is_respected(asking: Asking) -> None:
    async with asking() as ask:
        hits = (await ask("search_transcripts", query="money", speaker="customer", limit=50)).body["hits"]
    assert hits
    assert {hit["speaker"] for hit in hits} == {"customer"}


async def test_a_search_says_how_many_calls_it_could_not_hear(asking: Asking) -> None:
    async with asking() as ask:
        answer = await ask("search_transcripts", query="refund")
    missing = answer.body["coverage"]["missing_transcripts"]
    assert missing["count"] == 2
    assert sum(missing["reasons"].values()) == 2
    assert "2 calls without a transcript: " in answer.text
    assert answer.body["calls_searched"] == 114
    assert answer.body["coverage"]["complete"] is True


async def test_promises_over_more_calls_than_are_looked_at_are_said_to_be_incomplete(
    asking: Asking, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with asking() as ask:
        whole = await ask("summarize_call_actions", group_by="promise")
        monkeypatch.setattr("call_logs.tools.summarize_call_actions.MOST_READ", 30)
        part = await ask("summarize_call_actions", group_by="promise")
    assert whole.body["coverage"]["complete"] is True
    assert "INCOMPLETE" not in whole.text
    assert part.body["coverage"]["complete"] is False
    assert "INCOMPLETE" in part.text
    assert "Only the newest 30 calls were looked at" in part.text
    assert part.body["calls_considered"] == whole.body["calls_considered"] == 116
    assert part.body["calls_judged"] <= 30 < whole.body["calls_judged"]
    newest = [promise["call_id"] for promise in part.body["promised_not_executed"]]
    assert newest == [promise["call_id"] for promise in whole.body["promised_not_executed"]][: len(newest)]


async def test_several_turns_of_each_call_are_quoted_where_asked_for(asking: Asking) -> None:
    async with asking() as ask:
        plain = await ask("search_transcripts", query="insurance OR cancel", limit=3)
        more = await ask("search_transcripts", query="insurance OR cancel", limit=3, per_call=4)
        agents = await ask("search_transcripts", query="insurance OR cancel", limit=3, per_call=4, speaker="agent")
    assert not any("also" in hit for hit in plain.body["hits"])
    assert [hit["call_id"] for hit in more.body["hits"]] == [hit["call_id"] for hit in plain.body["hits"]]
    told = [hit for hit in more.body["hits"] if "also" in hit]
    assert told
    for hit in told:
        turns = [one["turn"] for one in hit["also"]]
        assert turns == sorted(set(turns))
        assert hit["turn"] not in turns
        assert len(turns) <= 3
        for one in hit["also"]:
            assert re.search("insur|cancel", one["snippet"], re.IGNORECASE), one
            assert f"also turn {one['turn']}" in quotes_of(more.text)
            assert one["snippet"] in quotes_of(more.text)
            assert one["snippet"] not in facts_of(more.text)
    said_by = {one["speaker"] for hit in agents.body["hits"] for one in hit.get("also", [hit])}
    assert said_by == {"agent"}


# -- one call ---------------------------------------------------------------------------------------------------


async def test_a_long_call_is_read_to_its_end_by_next_turns(asking: Asking) -> None:
    async with asking() as ask:
        answer = await ask("get_call", call_id=call_id("new-family-intake"))
        turns = list(answer.body["turns"])
        assert len(answer.text) <= DEFAULT_CHARACTERS
        while "next_turns" in answer.body:
            assert answer.body["next_turns"] in answer.text
            answer = await ask("get_call", call_id=call_id("new-family-intake"), turns=answer.body["next_turns"])
            turns += answer.body["turns"]
    assert [turn["n"] for turn in turns] == list(range(1, answer.body["total_turns"] + 1))
    assert len(turns) > 100


async def test_all_turns_come_at_once_up_to_the_hard_cap(asking: Asking) -> None:
    async with asking() as ask:
        answer = await ask("get_call", call_id=call_id("new-family-intake"), turns="all")
    assert len(answer.body["turns"]) == answer.body["total_turns"]
    assert max(len(answer.text), len(json.dumps(answer.body, ensure_ascii=False))) <= MOST_CHARACTERS


async def test_earlier_calls_of_the_same_customer_are_told(asking: Asking) -> None:
    async with asking() as ask:
        answer = await ask("get_call", call_id=call_id("refund-duplicate-charge"))
    earlier = answer.body["earlier_calls"]
    assert earlier["total"] >= 1
    assert call_id("refund-duplicate-first-call") in [row["id"] for row in earlier["latest"]]
    assert "Same customer:" in answer.text


async def test_a_call_only_the_vendor_has_is_fetched_once(asking: Asking, tmp_path: Path) -> None:
    """An id from the vendor's console, of a call that the store does not hold."""
    async with asking() as ask:
        known = call_id("wrong-number")
    async with asking(database=tmp_path / "fresh.db", wait=0.5) as ask:
        answer = await ask("get_call", call_id=known)
    assert not answer.is_error, answer.text
    assert answer.body["call"]["id"] == known


# -- what was done ----------------------------------------------------------------------------------------------

UNSENT = (
    "text-promised-directions",
    "text-promised-estimate",
    "text-promised-forms",
    "text-promised-after-hours",
    "text-promised-rebooking",
    "es-mensaje-sin-enviar",
)


@pytest.mark.parametrize("story", UNSENT)
async def test_a_text_promised_and_not_sent_is_told_with_its_sentence(asking: Asking, story: str) -> None:
    async with asking() as ask:
        answer = await ask("summarize_call_actions", call_id=call_id(story))
        [promise] = [one for one in answer.body["promised_not_executed"] if one["kind"] == "message"]
        turn = (await ask("get_call", call_id=call_id(story), around=promise["turn"])).body["turns"]
    said = next(one["text"] for one in turn if one["n"] == promise["turn"])
    assert promise["text"] in said
    assert promise["text"] in quotes_of(answer.text)
    assert "message" in facts_of(answer.text)


async def test_a_text_that_was_sent_is_no_broken_promise(asking: Asking) -> None:
    async with asking() as ask:
        for story in ("booking-cleaning", "es-cita-limpieza", "reschedule-crown", "forms-link-sent"):
            answer = await ask("summarize_call_actions", call_id=call_id(story))
            assert "message" in [action["kind"] for action in answer.body["actions"]]
            assert not [one for one in answer.body["promised_not_executed"] if one["kind"] == "message"]


async def test_actions_come_in_order_with_the_turn_in_which_they_happened(asking: Asking) -> None:
    async with asking() as ask:
        answer = await ask("summarize_call_actions", call_id=call_id("refund-duplicate-charge"))
    actions = answer.body["actions"]
    assert "transfer" in [action["kind"] for action in actions]
    times = [action["executed_at"] for action in actions]
    assert times == sorted(times)
    assert all(action["turn"] >= 1 for action in actions)
    [transfer] = [action for action in actions if action["kind"] == "transfer"]
    assert transfer["details"]["to"].startswith("+1")


async def test_actions_are_grouped_over_many_calls(asking: Asking) -> None:
    async with asking() as ask:
        answer = await ask("summarize_call_actions", since="last 28 days", group_by="kind")
        listed = await ask("list_calls", action="transfer", since="last 28 days", limit=100)
    groups = {group["key"]: group for group in answer.body["groups"]}
    assert groups["transfer"]["calls"] == listed.body["total"]
    assert answer.body["calls_considered"] == 116
    for example in groups["transfer"]["example_call_ids"]:
        assert example in {row["id"] for row in listed.body["calls"]}


# -- numbers ----------------------------------------------------------------------------------------------------


async def test_counts_add_up_to_the_list(asking: Asking) -> None:
    async with asking() as ask:
        for by in ("agent", "day", "weekday", "hour", "status", "phone", "account", "provider", "direction"):
            answer = await ask("count_calls", group_by=[by], since="last 28 days")
            groups = answer.body["groups"]
            left_out = answer.body.get("groups_left_out", 0)
            assert left_out or sum(group["calls"] for group in groups) == answer.body["total"] == 116
            assert all(set(group["key"]) == {by} for group in groups)


async def test_accounts_and_agents_are_listed_with_their_state(asking: Asking) -> None:
    async with asking() as ask:
        answer = await ask("list_accounts")
    [account] = answer.body["accounts"]
    assert account["state"] == "ok"
    assert account["calls"] == 120
    assert account["gives"] == ["transcript", "offsets", "actions", "summary", "agent"]
    assert {agent["name"] for agent in answer.body["agents"] if "name" in agent} >= {
        "Front Desk",
        "Billing",
        "Recepción",
    }


# -- strangers' words -------------------------------------------------------------------------------------------


async def every_answer(ask: Asker) -> list[tuple[str, dict[str, Any]]]:
    """An answer of every tool over every call, both channels."""
    calls = await every_page(ask, "list_calls", limit=50, include_tests=True, with_summary=True)
    answers = [await ask("list_accounts"), await ask("count_calls", group_by=["agent"])]
    answers += [await ask("search_transcripts", query=word, limit=50) for word in ("ignore", "card", "email", "the")]
    for row in calls:
        answers.append(await ask("get_call", call_id=row["id"], turns="all"))
        answers.append(await ask("summarize_call_actions", call_id=row["id"]))
    return [(answer.text, answer.body) for answer in answers]


async def test_everything_a_stranger_said_is_marked_in_both_channels(asking: Asking) -> None:
    async with asking() as ask:
        answers = await every_answer(ask)
        said = {
            " ".join(spoken.text.split())
            for story in business.stories()
            for spoken in story.spoken
            if len(spoken.text) > 25
        }
    assert len(said) > 300
    for text, body in answers:
        facts = facts_of(text)
        assert not [one for one in said if one in facts]
        outside = "\n".join(strings(body, speech=False))
        assert not [one for one in said if one in outside]
        if strings(body, speech=True):
            assert body["notice"] == NOTICE
            assert len(FENCE.findall(text)) == 1


async def test_the_injection_neither_closes_its_fence_nor_loads_an_image(asking: Asking) -> None:
    async with asking() as ask:
        answer = await ask("get_call", call_id=call_id("injection-attempt"), turns="all")
    assert len(re.findall(r"^[0-9a-f]{16} quotes>>>$", answer.text, re.MULTILINE)) == 1
    assert answer.text.splitlines()[-1].endswith("quotes>>>")
    for channel in (answer.text, json.dumps(answer.body)):
        assert "gnore all previous instructions" in channel
        assert "![" not in channel
        assert "](http" not in channel


async def test_no_card_number_code_or_vendor_secret_reaches_an_answer(asking: Asking) -> None:
    async with asking() as ask:
        answers = await every_answer(ask)
    everything = "\n".join(text + json.dumps(body) for text, body in answers)
    digits = re.sub(r"[^0-9a-z]", "", everything.lower())
    assert "4111111111111111" not in digits
    assert "fouroneoneone" not in digits
    assert "card ending 1111" in everything
    assert "sandbox-secret" not in everything
    assert "apiDetails" not in everything


async def test_a_week_by_hours_is_whole(asking: Asking) -> None:
    async with asking() as ask:
        answer = await ask("count_calls", group_by=["weekday", "hour"])
        assert "groups_left_out" not in answer.body
        assert len({group["key"]["weekday"] for group in answer.body["groups"]}) == 7
        assert sum(group["calls"] for group in answer.body["groups"]) == answer.body["total"]


async def test_every_answer_keeps_its_budget(asking: Asking) -> None:
    async with asking() as ask:
        for tool, arguments in (
            ("list_calls", {"with_summary": True}),
            ("search_transcripts", {"query": "the OR a OR de"}),
            ("count_calls", {"group_by": ["phone", "day"]}),
            ("summarize_call_actions", {"group_by": "name"}),
            ("get_call", {"call_id": call_id("new-family-intake")}),
        ):
            answer = await ask(tool, **arguments)
            assert len(answer.text) <= DEFAULT_CHARACTERS, tool
            assert len(json.dumps(answer.body, ensure_ascii=False)) <= DEFAULT_CHARACTERS, tool
        for tool, arguments in (
            ("list_calls", {"with_summary": True, "limit": 100}),
            ("search_transcripts", {"query": "the OR a OR de", "limit": 50}),
        ):
            answer = await ask(tool, **arguments)
            assert not answer.is_error
            assert max(len(answer.text), len(json.dumps(answer.body, ensure_ascii=False))) <= MOST_CHARACTERS
