"""Two servers on one PostgreSQL: one is killed or restarted under load, and nobody who asks again notices."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Generator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import anyio
import httpx
import pytest

pytest.importorskip("psycopg")

from mcp import Client

import call_logs
from call_logs.config import load
from call_logs.model import Call, Speaker, Turn
from call_logs.sandbox import App, Message, Receive, Send, serving
from call_logs.sandbox.highlevel import application
from call_logs.store import open_store
from postgresql import fresh_database

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

SOURCE = str(Path(call_logs.__file__).parents[1])
TOKEN = "replica-token-not-a-secret"
SECRET = "replica-webhook-secret-0123456789abcdef"
READ, FIXED = ("one", "two"), "fixed"
HELD = 25
"""Calls of the account that never changes: every right answer counts so many."""

ENOUGH_SECONDS = 30.0
REPLICAS = ("a", "b")


def started(port: int) -> list[str]:
    """The command of a replica."""
    return [sys.executable, "-m", "call_logs", "serve", "--http", "--port", str(port)]


class Vendor:
    """HighLevel for both replicas, each under a path of its own, so that it shows which of them reads an account."""

    def __init__(self) -> None:
        self.asked: list[tuple[float, str, str]] = []
        self.held = {"a"}
        began = datetime.now(UTC) - timedelta(days=1)
        self._apps: dict[str, App] = {
            name: application([row(name, n, began) for n in range(5)], [], token=TOKEN, location_id=name)
            for name in READ
        }

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        _, replica, account, rest = scope["path"].split("/", 3)
        self.asked.append((time.monotonic(), replica, account))
        while replica in self.held:  # noqa: ASYNC110 - another thread lets go
            await asyncio.sleep(0.02)
        path = f"/{rest}"
        await self._apps[account]({**scope, "path": path, "raw_path": path.encode()}, receive, send)

    def first(self, replica: str, account: str, after: float = 0.0) -> float | None:
        """When the replica first asked for the account's calls."""
        return next((at for at, *who in self.asked if at >= after and who == [replica, account]), None)


def row(name: str, number: int, began: datetime) -> dict[str, Any]:
    return {
        "id": f"{name}{number:020x}",
        "agentId": "66a0f4c2a1d2e3f405060a01",
        "createdAt": (began + timedelta(minutes=number)).isoformat(),
        "duration": 60,
        "transcript": f"human:this is {name} speaking\n",
        "summary": "",
        "executedCallActions": [],
    }


@dataclass
class Replica:
    """A server process."""

    name: str
    url: str
    start: Callable[[], "subprocess.Popen[bytes]"]
    process: "subprocess.Popen[bytes]" = field(init=False)

    def up(self) -> None:
        """Start it and wait until it answers."""
        self.process = self.start()
        until(lambda: self.process.poll() is not None or answered(self.url) is not None, "no answer")
        assert self.process.poll() is None, "it ended"

    def down(self, how: signal.Signals) -> None:
        """End it and wait until it is gone."""
        self.process.send_signal(how)
        self.process.wait(ENOUGH_SECONDS)


def until(holds: Callable[[], bool], what: str) -> None:
    """Wait, bounded, until it holds."""
    deadline = time.monotonic() + ENOUGH_SECONDS
    while not holds():
        assert time.monotonic() < deadline, what
        threading.Event().wait(0.01)


def answered(url: str) -> dict[str, Any] | None:
    """The answer to one question about the account that never changes; None where the server cannot be reached."""
    body = {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "tools/call",
        "params": {"name": "search_transcripts", "arguments": {"query": "steady", "account": FIXED, "limit": 1}},
    }
    headers = {"accept": "application/json, text/event-stream", "mcp-protocol-version": "2025-06-18"}
    try:
        answer = httpx.post(f"{url}/mcp", json=body, headers=headers, timeout=10, verify=False)
    except httpx.TransportError:
        return None
    if answer.status_code >= 500:
        return None
    text = answer.text
    message = json.loads(text.partition("data: ")[2].partition("\n")[0] if "data: " in text else text)
    return message["result"]["structuredContent"]


@dataclass
class Load:
    """Clients that ask one replica after the other, and the next one when one does not answer."""

    urls: list[str]
    right: int = 0
    wrong: list[Any] = field(default_factory=list[Any])
    retried: int = 0
    lost: int = 0
    longest: float = 0.0

    def run(self, stop: threading.Event, first: int) -> None:
        turn = first
        while not stop.is_set():
            begun = time.monotonic()
            for attempt in range(40):
                told = answered(self.urls[(turn + attempt) % len(self.urls)])
                if told is not None:
                    break
                self.retried += 1
                stop.wait(0.05)
            else:
                self.lost += 1
                continue
            self.longest = max(self.longest, time.monotonic() - begun)
            if told["total_calls"] == HELD and told["coverage"]["complete"] is True:
                self.right += 1
            else:
                self.wrong.append(told)
            turn += 1


@contextmanager
def under_load(urls: list[str], clients: int = 3) -> Generator[Load]:
    """Asks all the while; fails the test for a wrong or a lost answer."""
    load, stop = Load(urls), threading.Event()
    threads = [threading.Thread(target=load.run, args=(stop, n)) for n in range(clients)]
    for thread in threads:
        thread.start()
    try:
        until(lambda: load.right > 10, "nothing is answered")
        yield load
        seen = load.right
        until(lambda: load.right > seen + 10, "nothing is answered any more")
    finally:
        stop.set()
        for thread in threads:
            thread.join(ENOUGH_SECONDS)
    assert load.wrong == []
    assert load.lost == 0


@pytest.fixture
def vendor() -> Vendor:
    return Vendor()


@pytest.fixture
def replicas(vendor: Vendor, tmp_path: Path) -> Generator[list[Replica]]:
    """Two replicas that are not started yet, on one database with an account that is read already."""
    url = fresh_database()
    with ExitStack() as stack:
        origin = stack.enter_context(serving(vendor))
        made = [replica(name, origin, url, tmp_path, stack) for name in REPLICAS]
        accounts = {one.name: one for one in load(tables(origin, "a"), own_accounts=False, database=url).accounts}
        with closing(open_store(url)) as store:
            fixed = accounts[FIXED]
            store.open_account(FIXED, "highlevel", fixed.tenant, fixed.scope)
            store.save_page(FIXED, [call(n) for n in range(HELD)])
            store.note(FIXED, "ok")
        yield made
        vendor.held.clear()


def call(number: int) -> Call:
    turn = Turn(n=1, speaker=Speaker.CUSTOMER, text=f"steady as ever {number}")
    began = datetime.now(UTC) - timedelta(hours=number + 1)
    return Call(account=FIXED, provider="highlevel", vendor_call_id=f"fixed{number}", started_at=began, turns=(turn,))


def tables(origin: str, name: str) -> dict[str, dict[str, str]]:
    return {
        account: {
            "provider": "highlevel",
            "token": TOKEN,
            "location_id": account,
            "base_url": f"{origin}/{name}/{account}",
        }
        for account in (*READ, FIXED)
    } | {"desk": {"provider": "vyom", "api_key": TOKEN, "base_url": "http://127.0.0.1:1", "webhook_secret": SECRET}}


def replica(name: str, origin: str, database: str, folder: Path, stack: ExitStack) -> Replica:
    config = folder / f"{name}.toml"
    config.write_text(
        "\n".join(
            f"[accounts.{account}]\n" + "".join(f'{key} = "{value}"\n' for key, value in settings.items())
            for account, settings in tables(origin, name).items()
        )
    )
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": SOURCE,
        "CALL_LOGS_CONFIG": str(config),
        "CALL_LOGS_DATABASE": database,
        "CALL_LOGS_MAX_AGE": "1h",
        "CALL_LOGS_WAIT": "1s",
    }

    def start() -> "subprocess.Popen[bytes]":
        log = stack.enter_context((folder / f"{name}.log").open("ab"))
        process = subprocess.Popen(started(port), env=environment, stdout=log, stderr=log)
        stack.callback(process.wait, ENOUGH_SECONDS)
        stack.callback(process.kill)
        return process

    return Replica(name, f"http://127.0.0.1:{port}", start)


def test_when_one_is_killed_the_other_reads_on_and_every_answer_is_right(
    replicas: list[Replica], vendor: Vendor, record_property: Callable[[str, object], None]
) -> None:
    a, b = replicas
    a.up()
    until(lambda: all(vendor.first("a", name) for name in READ), "the first replica reads nothing")
    b.up()
    with under_load([a.url, b.url]) as load:
        assert not any(vendor.first("b", name) for name in READ)  # one reader at a time
        killed = time.monotonic()
        a.down(signal.SIGKILL)
        until(lambda: all(vendor.first("b", name, killed) for name in READ), "the other replica reads nothing")
    moved = {name: (vendor.first("b", name, killed) or 0.0) - killed for name in READ}
    record_property("moved_ms", {name: round(1000 * seconds) for name, seconds in moved.items()})
    record_property("answers", load.right)
    record_property("retried", load.retried)
    record_property("longest_ms", round(1000 * load.longest))
    assert load.retried > 0
    until(lambda: total_of(b.url, READ) == 10, "the calls that the dead replica was reading are not there")


def test_a_rolling_restart_loses_no_request_of_a_client_that_asks_again(
    replicas: list[Replica], vendor: Vendor, record_property: Callable[[str, object], None]
) -> None:
    vendor.held.clear()
    for one in replicas:
        one.up()
    with under_load([one.url for one in replicas]) as load:
        for one in replicas:
            one.down(signal.SIGTERM)
            assert one.process.returncode in (0, -signal.SIGTERM)
            one.up()
    record_property("answers", load.right)
    record_property("retried", load.retried)
    record_property("longest_ms", round(1000 * load.longest))


def total_of(url: str, accounts: tuple[str, ...]) -> int:
    """How many calls of these accounts a replica counts."""

    async def asked() -> int:
        async with Client(f"{url}/mcp") as client:
            answers = [await client.call_tool("list_calls", {"account": name, "limit": 1}) for name in accounts]
        return sum(cast("dict[str, int]", answer.structured_content)["total"] for answer in answers)

    return anyio.run(asked)


def test_who_listens_at_one_hears_of_a_call_that_was_posted_to_the_other(
    replicas: list[Replica], vendor: Vendor, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    vendor.held.clear()
    for one in replicas:
        one.up()
    a, b = replicas
    until(lambda: total_of(b.url, READ) == 10, "the accounts are not read")
    now = datetime.now(UTC).isoformat()
    record = {
        "room_name": "posted_call",
        "started_at": now,
        "call_status": "completed",
        "transcripts": [{"speaker": "user", "text": "posted elsewhere", "timestamp": now}],
    }

    async def heard() -> float:
        with anyio.fail_after(ENOUGH_SECONDS):
            async with Client(f"{b.url}/mcp") as client, client.listen(resources_list_changed=True) as subscription:
                begun = time.monotonic()
                address = f"{a.url}/webhooks/vyom/desk/{SECRET}"
                posted = await anyio.to_thread.run_sync(lambda: httpx.post(address, json={"data": record}))
                assert posted.json() == {"received": True, "kept": True}
                await anext(aiter(subscription))
                seconds = time.monotonic() - begun
                found = await client.call_tool("search_transcripts", {"query": '"posted elsewhere"'})
                assert (found.structured_content or {})["total_calls"] == 1
        return seconds

    record_property("heard_ms", round(1000 * anyio.run(heard)))
    for one in replicas:
        one.down(signal.SIGTERM)
    told = "".join((tmp_path / f"{name}.log").read_text() for name in REPLICAS)
    assert SECRET not in told
    assert "posted elsewhere" not in told
