"""What the fault suites have found, each as small as it can be."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import pytest
from kinds import KINDS, Cell, numbers_of_call_0
from mcp.types import CallToolResult, TextContent
from pydantic import BaseModel
from serving import serving
from vendors import SLUGS, Answer, Line, breaking, call_id, changed, told, worlds

import tape
from call_logs.principals import Scope
from call_logs.sync import SWEEP_UNREAD_EVERY
from call_logs.text import looks_secret
from call_logs.tools import strict

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

CALLS = 20
WEEK = timedelta(hours=8) * CALLS
FAULTS = {kind.name: kind for kind in KINDS}


@pytest.mark.parametrize("slug", SLUGS)
async def test_pages_behind_one_that_came_again_and_again_are_read_once_the_vendor_leads_on(
    slug: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The place to go on from moved with each repetition, and the pages between were never read."""
    tape.unhurried(monkeypatch)
    with breaking(worlds(CALLS, [slug], spacing=WEEK / CALLS)) as server:
        cell = Cell(server.worlds[slug], server, tmp_path, full=False, monkeypatch=monkeypatch)
        fault = FAULTS["in circles"].fault(cell)
        assert fault is not None
        server.faults[slug] = fault
        async with serving(server.accounts, tmp_path / "calls.db") as asker:
            for _ in range(3):
                assert (await asker.server.app.sync.finish(f"my-{slug}")).state == "failed"
            server.faults.clear()
            assert (await asker.server.app.sync.finish(f"my-{slug}")).state == "ok"
            assert asker.held(f"my-{slug}").keys() == server.worlds[slug].ids()


async def test_words_that_a_vendor_did_not_give_for_an_old_call_are_told_and_read_hours_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A call that was over counted as settled, whether or not its single read had answered."""
    tape.unhurried(monkeypatch)
    with breaking(worlds(CALLS, ["bimpe"], spacing=WEEK / CALLS)) as server:
        cell = Cell(server.worlds["bimpe"], server, tmp_path, full=False, monkeypatch=monkeypatch)
        fault = FAULTS["404 for each call"].fault(cell)
        assert fault is not None
        server.faults["bimpe"] = fault
        async with serving(server.accounts, tmp_path / "calls.db") as asker:
            assert (await asker.server.app.sync.finish("my-bimpe")).state == "ok"
            assert {len(call.turns) for call in asker.held("my-bimpe").values()} == {0}
            [part] = (await asker.body("list_accounts"))["accounts"]
            assert part["unreadable"] == CALLS
            await asker.server.app.sync.tend()
        server.faults.clear()
        later = datetime.now(UTC) + SWEEP_UNREAD_EVERY
        async with serving(server.accounts, tmp_path / "calls.db", now=lambda: later) as asker:
            assert (await asker.server.app.sync.finish("my-bimpe")).state == "ok"
            await asker.server.app.sync.tend()
            assert 0 not in {len(call.turns) for call in asker.held("my-bimpe").values()}
            [part] = (await asker.body("list_accounts"))["accounts"]
            assert "unreadable" not in part


async def test_words_that_were_not_given_of_a_list_that_ended_before_the_others_are_read_after_a_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reading that was gone on with skipped the list, and what was read again went no further than the other lists."""
    tape.unhurried(monkeypatch)
    with breaking(worlds(CALLS, ["bimpe"], spacing=WEEK / CALLS), 5) as server:
        chosen, lists = call_id("bimpe", 16), 0  # on the last of the first agent's two pages

        async def fault(line: Line) -> bool:
            nonlocal lists
            answer = await line.answer()
            if line.asked.path.endswith(chosen):
                answer = replace(answer, headers={"content-type": "text/html"}, body=b"<html>")
            lists += line.asked.is_list
            if line.asked.is_list and lists > 3:  # the second agent's last page
                answer = Answer(503, {"content-type": "application/json"}, b"{}")
            await line.send(answer)
            return True

        server.faults["bimpe"] = fault
        async with serving(server.accounts, tmp_path / "calls.db") as asker:
            assert (await asker.server.app.sync.finish("my-bimpe")).state == "down"
            places = json.loads(asker.server.app.store.marks("my-bimpe").resume or "")["agents"]
            assert None in places.values(), places
        server.faults.clear()
        async with serving(server.accounts, tmp_path / "calls.db") as asker:
            assert (await asker.server.app.sync.finish("my-bimpe")).state == "ok"
            assert not asker.server.app.store.unreadable("my-bimpe")
            assert all(call.turns for call in asker.held("my-bimpe").values())


async def test_words_for_which_another_calls_were_given_are_told_and_read_after_a_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The call's row was kept in their place, counted as settled, and its words were never asked for again."""
    tape.unhurried(monkeypatch)
    with breaking(worlds(CALLS, ["bimpe"], spacing=WEEK / CALLS)) as server:
        chosen, other = call_id("bimpe", 15), call_id("bimpe", 16)
        server.faults["bimpe"] = told(
            lambda _, body: body | {"data": body["data"] | {"id": other}}, lambda asked: asked.path.endswith(chosen)
        )
        async with serving(server.accounts, tmp_path / "calls.db") as asker:
            assert (await asker.server.app.sync.finish("my-bimpe")).unreadable == 1
            held = asker.held("my-bimpe")
            assert held.keys() == server.worlds["bimpe"].ids()
            assert [name for name, call in held.items() if not call.turns] == [chosen]
        server.faults.clear()
        async with serving(server.accounts, tmp_path / "calls.db") as asker:
            assert (await asker.server.app.sync.finish("my-bimpe")).unreadable == 0
            assert all(call.turns for call in asker.held("my-bimpe").values())


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize("slug", ["bimpe", "highlevel", "telzino"])
async def test_a_list_of_agents_that_calls_can_do_without_costs_no_call(
    slug: str, status: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A refusal was let pass; an outage of that list alone took the account down, and no call was kept."""
    tape.unhurried(monkeypatch)
    with breaking(worlds(CALLS, [slug], spacing=WEEK / CALLS)) as server:
        world = server.worlds[slug]
        accounts = server.accounts
        if slug != "highlevel":  # its calls are listed by agent: the list is not needed where agents are chosen
            accounts[f"my-{slug}"]["agent_ids"] = ",".join(world.agent_ids())
        answer = Answer(status, {"content-type": "application/json"}, b"{}")
        server.faults[slug] = changed(lambda _: answer, lambda asked: asked.path.endswith("/agents"))
        async with serving(accounts, tmp_path / "calls.db") as asker:
            health = await asker.server.app.sync.finish(f"my-{slug}")
            assert (health.state, health.problem) == ("ok", None)
            assert asker.held(f"my-{slug}").keys() == world.ids()


@pytest.mark.timeout(30)
@pytest.mark.parametrize("text", ["x", "a1", "a.", "-", "key:", "a_b "])
def test_a_long_text_is_looked_through_for_credentials_in_no_time(text: str) -> None:
    """A reason of 70,000 letters kept all accounts waiting for seconds, one of 10 MB would have for hours."""
    looks_secret(text * (300_000 // len(text)))


async def test_a_number_that_is_no_finite_one_costs_at_most_its_field(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An integer of 400 digits, or the text "Infinity", became an infinite duration, and the whole account a bug."""
    tape.unhurried(monkeypatch)
    with breaking(worlds(CALLS)) as server:
        for slug, world in server.worlds.items():
            cell = Cell(world, server, tmp_path, full=False, monkeypatch=monkeypatch)
            server.faults[slug] = numbers_of_call_0(cell, "1" + "0" * 400 if slug < "t" else '"Infinity"')
        async with serving(server.accounts, tmp_path / "calls.db") as asker:
            for slug in SLUGS:
                health = await asker.server.app.sync.finish(f"my-{slug}")
                assert (health.state, health.problem) == ("ok", None)
                unread = {one.vendor_call_id for one in asker.server.app.store.unreadable(f"my-{slug}")}
                assert asker.held(f"my-{slug}").keys() | unread == server.worlds[slug].ids()


async def test_a_lone_surrogate_in_an_answer_is_replaced_and_the_answer_given() -> None:
    """The SDK's dump failed before our last step could clean the result, and the client got its text as an error."""

    async def surrogate() -> CallToolResult:
        return CallToolResult(content=[TextContent(text="a\ud83d")], structured_content={"b\ud83d": ["c\udc00"]})

    found: CallToolResult = await strict(surrogate, "Surrogate", BaseModel, Scope.CALLS).run({}, cast("Any", None))
    assert found.model_dump(mode="json", include={"content", "structured_content"}, exclude_none=True) == {
        "content": [{"type": "text", "text": "a\ufffd"}],
        "structured_content": {"b\ufffd": ["c\ufffd"]},
    }
