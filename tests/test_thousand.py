"""A thousand calls a vendor, through the real adapters: each arrives once, with every canonical field right.

And what that asks of the vendors, against a limit of 100 requests in 10 seconds.
"""

from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from importlib import import_module
from pathlib import Path
from time import monotonic
from typing import Any

import anyio
import pytest

import test_bimpe
import test_signalwire
import test_telzino
import test_vyom
from call_logs.model import Action, ActionKind, Call, Speaker, Status, Turn
from call_logs.providers import Account, discover
from call_logs.sandbox import App, Message, Receive, Send, StandIn, business, highlevel, serving, signalwire, telzino
from call_logs.sandbox.business import PhoneCall
from call_logs.store import Filter
from call_logs.store.sqlite import SQLiteStore
from call_logs.sync import Health, Sync

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

NOW = datetime.now(UTC).replace(microsecond=0)
HISTORY = timedelta(days=4_000)
FOUR_WEEKS = timedelta(days=28)


def thousand(slug: str, wanted: int = 1_000) -> list[PhoneCall]:
    """The line's calls again and again, four weeks apart, newest first."""
    line = business.calls(NOW, slug)
    told: list[PhoneCall] = []
    n = -1
    while len(told) < wanted:
        n += 1
        for call in line:
            if n and not call.story.settled:
                continue  # what is not settled is recent
            story = replace(call.story, key=f"{call.story.key}/{n}") if n else call.story
            key = f"{call.key}/{n}" if n else call.key
            told.append(replace(call, key=key, story=story, started_at=call.started_at - n * FOUR_WEEKS))
    return sorted(told[:wanted], key=lambda call: call.started_at, reverse=True)


def stand_in_of(slug: str, calls: Sequence[PhoneCall]) -> StandIn:
    """The vendor's stand-in over these calls."""
    return import_module(f"call_logs.sandbox.{slug}").stand_in(calls)


def synced(
    slug: str, calls: Sequence[PhoneCall], path: Path, wrapped: Callable[[App], App] = lambda app: app
) -> Health:
    """One pass over the vendor into a store at the path."""
    stand_in = stand_in_of(slug, calls)
    provider = discover()[slug]
    store = SQLiteStore(path)

    async def once(origin: str) -> Health:
        settings = provider.settings_type.model_validate({**stand_in.settings, "base_url": origin})
        sync = Sync([Account("acme", provider, settings)], store, history=HISTORY, now=lambda: NOW)
        with anyio.fail_after(390):
            async with sync.running():
                return await sync.finish("acme")

    with serving(wrapped(stand_in.app)) as origin:
        health = anyio.run(once, origin)
    store.close()
    return health


def held(path: Path) -> dict[str, Call]:
    """Every call of the store, legs and tests included."""
    store = SQLiteStore(path)
    page = store.list_calls(Filter(("acme",), include_tests=True, include_legs=True), limit=5_000)
    found = [store.call(["acme"], row.id) for row in page.rows]
    store.close()
    assert Counter(row.id for row in page.rows).most_common(1)[0][1] == 1
    return {call.vendor_call_id: call for call in found if call is not None}


@pytest.fixture
def unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """The rates are another test's matter."""
    for slug in discover():
        monkeypatch.setattr(f"call_logs.providers.{slug}.RATE", (10_000, 1.0))


def as_highlevel(call: PhoneCall) -> Call:
    """What the made-up call must arrive as from HighLevel."""
    row = highlevel.call_log(call)
    told = call.story
    turns = tuple(
        Turn(n=n, speaker=Speaker(spoken.speaker), text=spoken.text, offset_seconds=spoken.offset_seconds)
        for n, spoken in enumerate(told.spoken, 1)
    )
    return Call(
        account="acme",
        provider="highlevel",
        vendor_call_id=row["id"],
        status=Status.COMPLETED,
        from_number=row.get("fromNumber"),
        started_at=call.started_at,
        duration_seconds=told.duration_seconds,
        agent_id=row["agentId"],
        agent_name=None if call.agent.is_deleted else call.agent.name,
        is_test=told.is_test,
        summary=told.summary or None,
        turns=turns,
    )


def kinds(actions: Sequence[Action]) -> Counter[ActionKind]:
    """How many actions of each kind."""
    return Counter(action.kind for action in actions)


@pytest.mark.usefixtures("unhurried")
def test_a_thousand_calls_of_highlevel(tmp_path: Path) -> None:
    calls = thousand("highlevel")
    assert synced("highlevel", calls, tmp_path / "calls.db").state == "ok"
    found = held(tmp_path / "calls.db")
    assert len(found) == len(calls) == 1_000
    for call in calls:
        wanted = as_highlevel(call)
        got = found[wanted.vendor_call_id]
        if "card" not in call.key:  # its numbers are masked on the way
            bare: dict[str, Any] = {"actions": (), "extracted": {}}
            assert got.model_copy(update=bare) == wanted, call.key
        executed = kinds(got.actions)
        executed.pop(ActionKind.END, None)
        assert executed.total() == len(highlevel.call_log(call)["executedCallActions"])


@pytest.mark.usefixtures("unhurried")
def test_a_thousand_calls_of_bimpe(tmp_path: Path) -> None:
    calls = thousand("bimpe")
    assert synced("bimpe", calls, tmp_path / "calls.db").state == "ok"
    found = held(tmp_path / "calls.db")
    wanted = [test_bimpe.canonical(call) for call in calls]
    assert found == {call.vendor_call_id: call for call in wanted}
    assert len(found) == 1_000


@pytest.mark.usefixtures("unhurried")
def test_a_thousand_calls_of_vyom(tmp_path: Path) -> None:
    calls = thousand("vyom")
    assert synced("vyom", calls, tmp_path / "calls.db").state == "ok"
    found = held(tmp_path / "calls.db")
    for call in calls:
        wanted = test_vyom.as_told(call)
        got = found[wanted.vendor_call_id]
        if "/" in call.key:  # the stand-in's own words for failures go by the story's name
            got, wanted = (one.model_copy(update={"vendor_status": None}) for one in (got, wanted))
        assert got == wanted, call.key
    assert len(found) == 1_000


def telzino_id(call: PhoneCall) -> str:
    """A call log's id, or the outbound record's where there is no log."""
    return telzino.uid("log" if call.story.status == "completed" else "outbound", call.key)


@pytest.mark.usefixtures("unhurried")
def test_a_thousand_calls_of_telzino(tmp_path: Path) -> None:
    calls = thousand("telzino")
    assert synced("telzino", calls, tmp_path / "calls.db").state == "ok"
    found = held(tmp_path / "calls.db")
    wanted = [test_telzino.as_told(telzino_id(call), call) for call in calls]
    assert found == {call.vendor_call_id: call for call in wanted}
    assert len(found) == 1_000


@pytest.mark.usefixtures("unhurried")
def test_a_thousand_calls_of_signalwire(tmp_path: Path) -> None:
    calls = thousand("signalwire")
    assert synced("signalwire", calls, tmp_path / "calls.db").state == "ok"
    found = held(tmp_path / "calls.db")
    shown = {signalwire.log_id(call): call for call in calls if call.key not in signalwire.DELETED}
    legs = {leg["id"]: leg for call in calls for leg in signalwire.legs(call)}
    assert set(found) == set(shown) | set(legs)
    assert len(shown) > 900
    for vendor_call_id, call in shown.items():
        wanted = test_signalwire.expected(call)
        got = found[vendor_call_id]
        assert {name: getattr(got, name) for name in wanted} == wanted, call.key


# -- politeness -------------------------------------------------------------------------------------------------


def limited(answered: list[int], most: int = 100, seconds: float = 10.0) -> Callable[[App], App]:
    """Refuses what exceeds the limit in any such span, and counts."""

    def around(app: App) -> App:
        recent: deque[float] = deque()

        async def counted(scope: Message, receive: Receive, send: Send) -> None:
            if scope["type"] != "http":
                await app(scope, receive, send)
                return
            now = monotonic()
            while recent and now - recent[0] >= seconds:
                recent.popleft()
            recent.append(now)
            answered.append(len(recent))
            if len(recent) > most:
                headers = [(b"retry-after", b"10"), (b"content-type", b"application/json")]
                await send({"type": "http.response.start", "status": 429, "headers": headers})
                await send({"type": "http.response.body", "body": b"{}"})
                return
            await app(scope, receive, send)

        return counted

    return around


@pytest.mark.parametrize("slug", sorted(discover()))
def test_no_pass_exceeds_a_hundred_requests_in_ten_seconds(slug: str, tmp_path: Path) -> None:
    answered: list[int] = []
    assert synced(slug, thousand(slug, 250), tmp_path / "calls.db", limited(answered)).state == "ok"
    assert 0 < max(answered) <= 100
