"""Every kind of fault at every vendor: right data, or a problem that says what to do; and right data once it is over."""

import dataclasses
import time
from collections.abc import Iterable, Mapping
from contextlib import nullcontext
from datetime import timedelta
from pathlib import Path

import anyio
import pytest
from kinds import KINDS, Cell, Kind
from serving import WAIT_SECONDS, Asker, serving
from tables import FULL, Row
from vendors import SLUGS, Breaking, breaking, call_id, worlds

import tape
from call_logs.model import Call
from call_logs.providers import _http as http

pytestmark = [pytest.mark.anyio, pytest.mark.slow, pytest.mark.timeout(300)]

CALLS = 20
SPACING = timedelta(hours=8)
"""A week: no pass looks back so far again."""

READ_ONCE = {"bimpe"}
"""Vendors of whom a call that is over is not read again, as decided: what was told wrongly then stays. What is wrong in
all calls stays, too, where it was readable: nobody can tell U+FFFD for broken UTF-8 from one that was sent."""

DEADLINE_SECONDS = 0.4
"""Of one exchange; 30 s otherwise. Nothing else of the HTTP client is changed but that it sleeps nowhere."""

HARMLESS = {
    *("kept, then closed", "BOM", "UTF-16", "two lengths", "a key twice", "unknown words", "lone surrogate", "NUL"),
    *("a page comes again", "backwards pages", "calls arrive", "calls are deleted", "total 0", "total 10,000"),
    "last page full",
}
"""Kinds that must be got over: here even a problem that is told would be one."""

SHARE = 3
"""Of the cells, CI runs every third, so that each kind and each vendor is there."""


def unspoilt(calls: Mapping[str, Call], spoilt: set[str]) -> dict[str, Call]:
    return {name: call for name, call in calls.items() if name not in spoilt}


@dataclasses.dataclass
class Cellular:
    """One cell of the table."""

    kind: Kind
    slug: str
    server: Breaking
    folder: Path
    monkeypatch: pytest.MonkeyPatch

    @property
    def name(self) -> str:
        return f"my-{self.slug}"

    @property
    def other(self) -> str:
        """A vendor that is well all the time."""
        return f"my-{SLUGS[(SLUGS.index(self.slug) + 1) % len(SLUGS)]}"

    def accounts(self, address: str | None = None) -> dict[str, dict[str, str]]:
        found = {name: self.server.accounts[name] for name in (self.name, self.other)}
        if address is not None:
            found[self.name] = found[self.name] | {"base_url": address}
        return found

    async def filled(self) -> dict[str, Call]:
        """What a mirror holds that met no fault."""
        self.server.faults.clear()
        file = self.folder / f"{self.slug}-{len(list(self.folder.iterdir()))}.db"
        async with serving(self.accounts(), file) as asker:
            health = await asker.server.app.sync.finish(self.name)
            assert health.state == "ok", health
            return asker.held(self.name)

    async def run(self) -> tuple[str, float]:
        """What came of it: "right" or "told"; and how many seconds the other account's answer took."""
        cell = Cell(self.server.worlds[self.slug], self.server, self.folder, FULL, self.monkeypatch)
        before = await self.filled()
        database = self.folder / f"{self.slug}.db"
        fault = self.kind.fault(cell)
        if fault is not None:
            self.server.faults[self.slug] = fault
        with self.kind.address(cell) if self.kind.address else nullcontext(None) as address:
            async with serving(self.accounts(address), database) as asker:
                with anyio.fail_after(WAIT_SECONDS + 20):
                    await asker.body("list_calls", account=self.name)
                took = await self.other_is_well(asker)
                await asker.server.app.sync.finish(self.name)
                after = await self.listed()
                outcome = await self.judged(asker, before, after)
                assert outcome.startswith("right") or self.kind.name not in HARMLESS, outcome
        self.server.faults.clear()
        expected = await self.filled()
        async with serving(self.accounts(), database) as asker:
            health = await asker.server.app.sync.finish(self.name)
            assert health.state == "ok", health
            held = asker.held(self.name)
            forgotten = before.keys() - expected.keys()  # the vendor deleted them; told elsewhere
            assert held.keys() - forgotten == expected.keys()
            stays = self.kind.group == "body" or self.slug in READ_ONCE
            spoilt = self.spoilt(expected) if stays and outcome == "right" else set[str]()
            assert unspoilt({name: held[name] for name in expected}, spoilt) == unspoilt(expected, spoilt)
            body = await asker.body("list_calls", account=self.name, limit=1)
            assert body["coverage"]["complete"] is True
            # A call that went away between its row and its words is told until two readings have not shown it.
            told = {one.vendor_call_id for one in asker.server.app.store.unreadable(self.name)}
            assert told <= forgotten
        return outcome, took

    def spoilt(self, calls: Iterable[str]) -> set[str]:
        """The calls that may come out otherwise than they are."""
        if self.kind.spoils:
            return set(calls) if self.kind.group == "body" else {call_id(self.slug, 0)}
        return set()

    async def listed(self) -> set[str]:
        return self.server.worlds[self.slug].ids()

    async def other_is_well(self, asker: Asker) -> float:
        """The other account's answer: complete and in time, whatever this one's vendor does."""
        begun = time.monotonic()
        with anyio.fail_after(10):
            while True:
                body = await asker.body("count_calls", account=self.other)
                if body["coverage"]["complete"]:
                    break
        assert body["total"] == CALLS, body
        return time.monotonic() - begun

    async def judged(self, asker: Asker, before: Mapping[str, Call], after: set[str]) -> str:
        """Whether the data is right, or the problem is told with its account, its cause and the next step."""
        held = asker.held(self.name)
        spoilt = self.spoilt(before)
        assert held.keys() <= set(before) | after, "calls that nobody listed"
        kept = {name: call for name, call in unspoilt(held, spoilt).items() if name in set(before) & after}
        wrong = {name for name, call in kept.items() if call != before[name]}
        accounts = (await asker.body("list_accounts"))["accounts"]
        [part] = [one for one in accounts if one["account"] == self.name]
        body = await asker.body("list_calls", account=self.name, limit=1)
        if part["state"] == "ok":
            missing = (set(before) & after) - held.keys()
            assert missing <= spoilt, (missing, part)
            told = {one.vendor_call_id for one in asker.server.app.store.unreadable(self.name)}
            assert missing | wrong <= told, (missing, wrong, told)
            assert part.get("unreadable", 0) == len(told)
            return f"right, {len(told)} told" if told else "right"
        assert part["state"] in ("down", "parked", "failed"), part
        assert self.name in part["problem"]
        assert "internal error" not in part["problem"], part
        assert part["next_step"]
        assert not wrong, wrong
        assert body["coverage"]["complete"] is False
        [unwell] = body["coverage"]["accounts"]
        assert unwell["account"] == self.name
        assert unwell["problem"] == part["problem"]
        assert unwell["next_step"] == part["next_step"]
        return f"told: {part['state']}"


@pytest.mark.parametrize("kind", KINDS, ids=[f"{kind.group}, {kind.name}" for kind in KINDS])
async def test_a_fault_falsifies_nothing_and_is_over_when_it_ends(
    kind: Kind, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, row: Row
) -> None:
    tape.unhurried(monkeypatch)
    if kind.hangs:
        monkeypatch.setattr(http, "DEADLINE_SECONDS", DEADLINE_SECONDS)
    outcomes: list[str] = []
    failures: list[Exception] = []
    slowest = 0.0
    for slug in SLUGS:
        if not FULL and (KINDS.index(kind) + SLUGS.index(slug)) % SHARE:
            outcomes.append("-")
            continue
        with breaking(worlds(CALLS, spacing=SPACING)) as server:
            cell = Cellular(kind, slug, server, tmp_path, monkeypatch)
            try:
                outcome, took = await cell.run()
            except Exception as error:  # noqa: BLE001 - the row is shown whole, then all failures are raised
                error.add_note(slug)
                failures.append(error)
                outcomes.append("WRONG")
            else:
                outcomes.append(outcome)
                slowest = max(slowest, took)
    row("fault matrix", ("group", "kind", *SLUGS, "other, s"), (kind.group, kind.name, *outcomes, f"{slowest:.2f}"))
    if failures:
        raise ExceptionGroup(kind.name, failures)
