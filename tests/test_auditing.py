"""The audit trail: who was told of which calls, and nothing of what was said."""

import shutil
import sqlite3
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp import Client, MCPError

from call_logs import sandbox
from call_logs.app import build_server
from call_logs.config import Config, load
from call_logs.errors import StoreError
from call_logs.principals import Principal, answering
from call_logs.store import Audited, open_store
from call_logs.store.sqlite import SQLiteStore

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def vendors() -> Any:
    with sandbox.running() as started:
        yield started


@pytest.fixture(scope="module")
def filled(vendors: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store that a moment ago has been filled."""
    folder = tmp_path_factory.mktemp("filled")

    async def fill() -> None:
        async with asking(load(vendors.accounts, own_accounts=False, database=str(folder / "calls.db"))) as client:
            await client.call_tool("list_accounts", {})

    anyio.run(fill)
    return folder


@pytest.fixture
def config(vendors: Any, filled: Path, tmp_path: Path) -> Config:
    """A copy of that store, without its trail."""
    shutil.copytree(filled, tmp_path / "kept")
    database = tmp_path / "kept" / "calls.db"
    with closing(sqlite3.connect(database)) as db, db:
        db.execute("DROP TRIGGER audit_keeps")
        db.execute("DELETE FROM audit")
    config = load(vendors.accounts, own_accounts=False, database=str(database))
    return replace(config, max_age=3600.0)


@asynccontextmanager
async def asking(config: Config) -> AsyncGenerator[Client]:
    with anyio.fail_after(60):
        async with Client(build_server(config)) as client:
            yield client


async def told_by(client: Client, tool: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """The structured answer."""
    answer: Any = (await client.call_tool(tool, arguments)).structured_content
    return answer


def trail(config: Config) -> list[Audited]:
    """Every entry, oldest first."""
    with closing(open_store(config.database)) as store:
        return store.audited(limit=10_000)[::-1]


async def test_each_answer_is_noted_with_the_calls_that_it_told_of(config: Config) -> None:
    async with asking(config) as client:
        listed = await told_by(client, "list_calls", {"limit": 5})
        ids = tuple(row["id"] for row in listed["calls"])
        found = await told_by(client, "search_transcripts", {"query": "refund"})
        await client.call_tool("get_call", {"call_id": ids[0]})
        await client.call_tool("count_calls", {"group_by": ["status"]})
    told = trail(config)
    assert [entry.asked for entry in told] == ["list_calls", "search_transcripts", "get_call", "count_calls"]
    assert {(entry.principal, entry.outcome) for entry in told} == {("local", "ok")}
    assert (told[0].call_ids, told[0].found) == (ids, listed["total"])
    assert told[1].call_ids == tuple(dict.fromkeys(hit["call_id"] for hit in found["hits"]))
    assert told[1].found == found["total_calls"]
    assert told[2].call_ids[0] == ids[0]
    assert told[3].call_ids == ()


async def test_resources_and_prompts_are_noted(config: Config) -> None:
    async with asking(config) as client:
        listed = await told_by(client, "list_calls", {"limit": 1})
        [resource, *_] = (await client.list_resources()).resources
        await client.read_resource(resource.uri)
        await client.get_prompt("review_call", {"call_id": listed["calls"][0]["id"]})
    [_, listing, read, prompt] = trail(config)
    assert (listing.asked, len(listing.call_ids)) == ("resources", 50)
    assert listing.call_ids[0] == read.call_ids[0]
    assert (read.asked, read.outcome, len(read.call_ids)) == ("resource", "ok", 1)
    assert read.call_ids[0].partition("/")[0] in str(resource.uri)
    assert (prompt.asked, prompt.outcome) == ("review_call", "ok")


async def test_what_was_refused_is_noted_as_refused_and_not_what_was_written(config: Config) -> None:
    async with asking(config) as client:
        await client.call_tool("get_call", {"call_id": "demo-bimpe/nothing-4111"})
        await client.call_tool("list_calls", {"secret": "4111"})
        for name in ("no_such_tool", "my card is 4111"):
            with pytest.raises(MCPError):
                await client.call_tool(name, {})
        with pytest.raises(MCPError):
            await client.read_resource("calls://demo-bimpe/no-such-call/transcript")
    told = trail(config)
    assert [entry.asked for entry in told] == ["get_call", "list_calls", "no_such_tool", "unknown", "resource"]
    assert {entry.outcome for entry in told} == {"refused"}
    assert not any(entry.call_ids for entry in told)
    assert "4111" not in repr(told)


async def test_nothing_that_was_said_stands_in_the_trail(config: Config) -> None:
    async with asking(config) as client:
        hits = (await told_by(client, "search_transcripts", {"query": "refund"}))["hits"]
    assert hits
    assert not any(hit["snippet"][:20] in repr(trail(config)) for hit in hits)


async def test_an_entry_names_the_principal(config: Config) -> None:
    with answering(Principal("night shift")):
        async with asking(config) as client:
            await client.call_tool("list_accounts", {})
    assert [entry.principal for entry in trail(config)] == ["night shift"]


async def test_a_store_that_cannot_write_fails_no_answer(
    config: Config, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*_: Any) -> None:
        raise StoreError("The disk is full.")

    monkeypatch.setattr(SQLiteStore, "audit", full)
    async with asking(config) as client:
        answer = await client.call_tool("list_calls", {})
    assert not answer.is_error
    assert "1 entries of the audit table could not be written" in caplog.text
