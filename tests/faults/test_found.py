"""What the fault suites have found, each as small as it can be."""

from datetime import timedelta
from pathlib import Path

import pytest
from kinds import KINDS, Cell
from serving import serving
from vendors import SLUGS, breaking, worlds

import tape

pytestmark = pytest.mark.anyio

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


async def test_words_that_a_vendor_did_not_give_for_an_old_call_are_told_and_read_after_the_next_start(
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
        server.faults.clear()
        async with serving(server.accounts, tmp_path / "calls.db") as asker:
            assert (await asker.server.app.sync.finish("my-bimpe")).state == "ok"
            assert 0 not in {len(call.turns) for call in asker.held("my-bimpe").values()}
            [part] = (await asker.body("list_accounts"))["accounts"]
            assert "unreadable" not in part
