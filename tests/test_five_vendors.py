"""All five vendors at once: one answer over all of them, whatever befalls one, and nothing asked that should not be."""

import base64
import json
import socket
from collections import Counter
from collections.abc import Generator
from pathlib import Path
from typing import Any

import anyio
import pytest
from click.testing import CliRunner

from call_logs.__main__ import cli
from call_logs.config import load
from call_logs.providers import discover
from call_logs.sandbox import Received, Sandbox, running, signalwire
from call_logs.store import Filter
from call_logs.store.sqlite import SQLiteStore
from call_logs.sync import Sync
from conftest import Asking

pytestmark = pytest.mark.anyio

ALL_FIVE = {"bimpe", "highlevel", "signalwire", "telzino", "vyom"}
LARGEST_PAGES = {
    ("highlevel", "pageSize"): 50,
    ("signalwire", "page_size"): 1000,
    ("telzino", "limit"): 100,
    ("bimpe", "limit"): 100,
    ("vyom", "limit"): 100,
}


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory) -> Generator[tuple[Sandbox, Path]]:
    """A sandbox of its own, synced once, and the database."""
    path = tmp_path_factory.mktemp("five") / "calls.db"
    with running() as sandbox:
        config = load(sandbox.accounts, own_accounts=False, database=str(path))
        store = SQLiteStore(path)
        sync = Sync(config.accounts, store, history=config.history)

        async def once() -> None:
            async with sync.running(), anyio.create_task_group() as group:
                for name in sync.names:
                    group.start_soon(sync.finish, name)

        anyio.run(once)
        assert {name: sync.health(name).problem for name in sync.names} == dict.fromkeys(sync.names)
        store.close()
        yield sandbox, path


def test_the_five_vendors_of_the_excerpts_are_there() -> None:
    assert set(discover()) == ALL_FIVE


def test_every_stand_in_has_an_account_with_every_required_setting(everything: tuple[Sandbox, Path]) -> None:
    sandbox, _ = everything
    assert {table["provider"] for table in sandbox.accounts.values()} == ALL_FIVE


def test_every_account_brought_its_calls_once(everything: tuple[Sandbox, Path]) -> None:
    sandbox, path = everything
    store = SQLiteStore(path)
    which = Filter(tuple(sandbox.accounts), include_tests=True, include_legs=True)
    rows = store.list_calls(which, limit=1_000).rows
    store.close()
    assert len(rows) == len({row.id for row in rows})
    counts = Counter(row.provider for row in rows)
    assert set(counts) == ALL_FIVE
    assert min(counts.values()) >= 25


# -- one question, five vendors ---------------------------------------------------------------------------------


def free_port() -> int:
    """A port of this machine on which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return listening.getsockname()[1]


async def test_a_number_is_found_on_any_line_while_one_vendor_refuses_and_one_is_down(
    asking: Asking, everything: tuple[Sandbox, Path], tmp_path: Path
) -> None:
    sandbox, _ = everything
    accounts = {name: dict(table) for name, table in sandbox.accounts.items()}
    accounts["demo-vyom"]["api_key"] = "wrong-key"
    accounts["demo-bimpe"]["base_url"] = f"http://127.0.0.1:{free_port()}/bimpe"
    async with asking(accounts, database=tmp_path / "new.db", wait=8.0) as ask:
        with anyio.fail_after(10):
            answer = await ask("list_calls", phone="(206) 555-0123", since="last 28 days", limit=50)
    assert not answer.is_error
    found = {row["provider"] for row in answer.body["calls"]}
    assert {"highlevel", "telzino"} <= found
    coverage = answer.body["coverage"]
    assert coverage["complete"] is False
    unwell = {account["account"]: account for account in coverage["accounts"]}
    assert unwell["demo-vyom"]["state"] == "parked"
    assert "demo-vyom" in unwell["demo-vyom"]["next_step"]
    assert unwell["demo-bimpe"]["state"] == "down"
    assert set(unwell) == {"demo-vyom", "demo-bimpe"}
    for name in ("parked: demo-vyom", "down: demo-bimpe"):
        assert name in answer.text


async def test_accounts_are_chosen_by_name_or_provider(asking: Asking, everything: tuple[Sandbox, Path]) -> None:
    sandbox, path = everything
    twice = {**sandbox.accounts, "second-location": sandbox.accounts["demo-highlevel"]}
    async with asking(twice, database=path) as ask:
        one = await ask("list_calls", account="second-location", limit=1)
        both = await ask("list_calls", account="highlevel", limit=1)
        vyom = await ask("list_calls", account="vyom", limit=1, include_tests=True)
        counted = await ask("count_calls", group_by=["provider"])
    assert one.body["total"] == 116
    assert both.body["total"] == 2 * 116
    assert vyom.body["calls"][0]["provider"] == "vyom"
    assert {group["key"]["provider"] for group in counted.body["groups"]} == ALL_FIVE


async def test_a_signalwire_call_is_asked_for_its_events_when_it_is_looked_at(
    asking: Asking, everything: tuple[Sandbox, Path]
) -> None:
    sandbox, path = everything
    async with asking(sandbox.accounts, database=path) as ask:
        listed = await ask("list_calls", account="signalwire", status="completed", limit=8)
        before = len(sandbox.received)
        calls = [(await ask("get_call", call_id=row["id"])).body["call"] for row in listed.body["calls"]]
        once = len(sandbox.received)
        await ask("get_call", call_id=calls[0]["id"])
        assert len(sandbox.received) == once
    asked = {request.path.rpartition("/")[2] for request in sandbox.received[before:]}
    assert "events" in asked
    assert [call for call in calls if "answered_at" in call and "ended_at" in call]


async def test_one_search_quotes_several_vendors(asking: Asking, everything: tuple[Sandbox, Path]) -> None:
    sandbox, path = everything
    async with asking(sandbox.accounts, database=path) as ask:
        answer = await ask("search_transcripts", query="appointment OR cleaning OR cita", limit=50)
    assert {hit["call_id"].partition("/")[0] for hit in answer.body["hits"]} >= {
        "demo-bimpe",
        "demo-highlevel",
        "demo-telzino",
        "demo-vyom",
    }
    reasons = answer.body["coverage"]["missing_transcripts"]["reasons"]
    assert any("post-prompt reports" in reason for reason in reasons)
    assert reasons["never connected"] > 0


async def test_a_vendor_that_reports_no_actions_is_not_blamed_for_promises(
    asking: Asking, everything: tuple[Sandbox, Path]
) -> None:
    sandbox, path = everything
    async with asking(sandbox.accounts, database=path) as ask:
        hits = (await ask("search_transcripts", query="the OR a", account="bimpe", limit=50)).body["hits"]
        assert hits
        for hit in hits:
            answer = await ask("summarize_call_actions", call_id=hit["call_id"])
            assert answer.body["actions_reported"] is False
            assert "actions" not in answer.body
            assert "executed actions are not reported" in answer.text
            assert "promised_not_executed" not in answer.body
            assert "cannot be told" in answer.text


async def test_a_filter_says_which_calls_it_cannot_judge(asking: Asking, everything: tuple[Sandbox, Path]) -> None:
    """In both channels: a transfer at a vendor that reports none is no transfer that did not happen."""
    sandbox, path = everything
    async with asking(sandbox.accounts, database=path) as ask:
        transferred = await ask("list_calls", action="transfer")
        grouped = await ask("summarize_call_actions")
        inbound = await ask("count_calls", direction="inbound")
        unknown = await ask("count_calls", direction="unknown")
        whose = (await ask("count_calls", direction="unknown", group_by=["account"])).body["groups"]
        plain = await ask("list_calls")
        agents = await ask("list_calls", agent="Billing")
    mute: list[str] = []
    for answer in (transferred, grouped):
        mute = answer.body["coverage"]["actions_not_reported_by"]
        assert mute == ["demo-bimpe", "demo-signalwire", "demo-vyom"]
        assert f"not reported by the vendors of {', '.join(mute)}: none shown means unknown there" in answer.text
    assert inbound.body["coverage"]["unknown_direction"] == unknown.body["total"] > 100
    assert f"{unknown.body['total']} calls of unknown direction left out" in inbound.text
    assert set(inbound.body["coverage"]["direction_not_told_by"]) == {group["key"]["account"] for group in whose}
    assert transferred.body["coverage"]["may_have_done_so"] > 0
    assert agents.body["coverage"]["agent_not_told_by"] == ["demo-signalwire"]
    assert "demo-signalwire name no agent" in agents.text
    shown = {call["id"].partition("/")[0] for call in plain.body["calls"]}
    assert plain.body["coverage"]["actions_not_reported_by"] == sorted(set(mute) & shown)
    others = {"unknown_direction", "direction_not_told_by", "agent_not_told_by", "may_have_done_so"}
    assert not others & plain.body["coverage"].keys()


# -- what was asked of the vendors ------------------------------------------------------------------------------


def provider_of(request: Received) -> str:
    """Whose stand-in was asked."""
    return request.path.split("/")[1]


def test_nothing_but_get_is_sent_but_for_telzinos_token(everything: tuple[Sandbox, Path]) -> None:
    sandbox, _ = everything
    others = {(request.method, request.path) for request in sandbox.received if request.method != "GET"}
    assert others == {("POST", "/telzino/oauth/token")}


def test_credentials_travel_in_the_documented_header_only(everything: tuple[Sandbox, Path]) -> None:
    sandbox, _ = everything
    for table in sandbox.accounts.values():
        settings = discover()[table["provider"]].settings_type.model_validate(
            {name: value for name, value in table.items() if name != "provider"}
        )
        secrets = [
            table[name]
            for name in type(settings).model_fields
            if name in table and "Secret" in type(getattr(settings, name)).__name__
        ]
        assert secrets
        for request in sandbox.received:
            elsewhere = {name: value for name, value in request.headers.items() if name != "authorization"}
            sent = json.dumps([request.path, dict(request.query), elsewhere])
            for secret in secrets:
                assert secret not in sent
                assert base64.b64encode(secret.encode()).decode() not in sent


def test_lists_are_read_in_the_largest_documented_pages(everything: tuple[Sandbox, Path]) -> None:
    sandbox, _ = everything
    for (provider, parameter), largest in LARGEST_PAGES.items():
        sizes = {
            int(request.query[parameter])
            for request in sandbox.received
            if provider_of(request) == provider and parameter in request.query
        }
        assert sizes == {largest}, provider


def test_no_request_was_refused_for_its_form_or_rate(everything: tuple[Sandbox, Path]) -> None:
    sandbox, _ = everything
    refused = Counter(
        (provider_of(request), request.status) for request in sandbox.received if request.status in (400, 422, 429)
    )
    assert not refused


# -- reports that were kept -------------------------------------------------------------------------------------


async def test_imported_reports_give_signalwire_its_transcripts(
    asking: Asking, everything: tuple[Sandbox, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from call_logs.sandbox import business  # noqa: PLC0415 - only here

    sandbox, path = everything
    database = tmp_path / "imported.db"
    database.write_bytes(path.read_bytes())
    config = tmp_path / "accounts.toml"
    table = sandbox.accounts["demo-signalwire"]
    lines = "\n".join(f'{name} = "{value}"' for name, value in table.items())
    config.write_text(f"[accounts.demo-signalwire]\n{lines}\n", encoding="utf-8")
    monkeypatch.setenv("CALL_LOGS_CONFIG", str(config))
    monkeypatch.setenv("CALL_LOGS_DATABASE", str(database))
    from datetime import UTC, datetime  # noqa: PLC0415 - only here

    told = [call for call in business.calls(datetime.now(UTC), "signalwire") if call.story.spoken]
    reports = [signalwire.post_prompt_report(call) for call in told]
    (tmp_path / "one.json").write_text(json.dumps(reports[0]), encoding="utf-8")
    (tmp_path / "many.json").write_text(json.dumps(reports[1:4]), encoding="utf-8")
    (tmp_path / "lines.jsonl").write_text("\n".join(map(json.dumps, reports[4:])), encoding="utf-8")
    (tmp_path / "none.json").write_text('{"hello": 1}', encoding="utf-8")
    (tmp_path / "broken.json").write_text("{", encoding="utf-8")
    good = [str(tmp_path / name) for name in ("one.json", "many.json", "lines.jsonl")]
    first = CliRunner().invoke(cli, ["import", *good])
    again = CliRunner().invoke(cli, ["import", *good, "--json"])
    bad = CliRunner().invoke(cli, ["import", str(tmp_path / "none.json"), str(tmp_path / "broken.json")])
    assert first.exit_code == 0, first.output
    assert json.loads(again.output)["same"] == len(reports)
    assert bad.exit_code == 1
    assert "none.json, report 1" in bad.output
    assert "broken.json, line 1: is not JSON." in bad.output
    async with asking({"demo-signalwire": table}, database=database) as ask:
        spoken = next(turn.text for call in told for turn in call.story.spoken if turn.speaker == "customer")
        phrase = " ".join(spoken.split()[:5])
        found = await ask("search_transcripts", query=f'"{phrase}"')
        listed = await ask("list_accounts")
        [hit] = [one for one in found.body["hits"] if phrase.split()[0] in one["snippet"]][:1]
        whole: dict[str, Any] = (await ask("get_call", call_id=hit["call_id"])).body
    assert listed.body["accounts"][0]["with_transcript"] == len(reports)
    assert whole["call"]["cost"] is not None
    assert whole["total_turns"] > 1
