"""Who listens hears of new transcripts: in both eras, over stdio and HTTP, of their own accounts only, once a second."""

import os
import sys
import threading
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager, closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import anyio
import httpx2
import pytest
from mcp import Client, StdioServerParameters
from mcp.client.streamable_http import streamable_http_client
from mcp.client.subscriptions import ResourcesListChanged

import call_logs
from as_who import AsWho
from call_logs import notices
from call_logs.app import build_server
from call_logs.config import Config, load
from call_logs.errors import StoreError
from call_logs.model import Call, Speaker, Turn
from call_logs.notices import Notices
from call_logs.principals import Principal, answering
from call_logs.sandbox import serving
from call_logs.store import Store, Watch
from call_logs.store.sqlite import SQLiteStore
from call_logs.sync import Sync

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

SOURCE = str(Path(call_logs.__file__).parents[1])
ACCOUNTS = {
    name: {"provider": "highlevel", "token": "not-a-secret", "location_id": name, "base_url": "http://127.0.0.1:1"}
    for name in ("acme", "bravo")
}
ENOUGH_SECONDS = 10.0


def configured(database: Path, accounts: Mapping[str, Mapping[str, str]] = ACCOUNTS) -> Config:
    return load(accounts, own_accounts=False, database=str(database))


def another(database: Path) -> Store:
    """A store as another process has it."""
    return SQLiteStore(database)


def say(store: Store, account: str, number: int) -> None:
    """Keep a new call with words in it."""
    turns = (Turn(n=1, speaker=Speaker.CUSTOMER, text=f"word{number}"),)
    call = Call(account=account, provider="highlevel", vendor_call_id=str(number), started_at=_NOW, turns=turns)
    assert store.save_page(account, [call]).new == 1


_NOW = datetime.now(UTC)


class Heard:
    """What a client of an older revision was told."""

    def __init__(self) -> None:
        self.methods: list[str] = []
        self._more = anyio.Event()

    async def __call__(self, message: Any) -> None:
        self.methods.append(str(getattr(message, "method", "")))
        self._more.set()
        self._more = anyio.Event()

    async def until(self, count: int) -> None:
        """Wait, bounded, until so many changes were told."""
        with anyio.fail_after(ENOUGH_SECONDS):
            while self.methods.count(notices.CHANGED) < count:
                await self._more.wait()


async def next_of(subscription: Any) -> Any:
    with anyio.fail_after(ENOUGH_SECONDS):
        return await anext(aiter(subscription))


@asynccontextmanager
async def over_stdio(database: Path, log_file: Path, **options: Any) -> AsyncGenerator[Client]:
    """The server as a host starts it; a second process on the database is this one."""
    config = database.with_suffix(".toml")
    tables = (
        f"[accounts.{name}]\n{''.join(f'{key} = {value!r}' + chr(10) for key, value in settings.items())}"
        for name, settings in ACCOUNTS.items()
    )
    config.write_text("\n".join(tables))
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": SOURCE,
        "CALL_LOGS_CONFIG": str(config),
        "CALL_LOGS_DATABASE": str(database),
    }
    command = f"exec {sys.executable} -m call_logs 2>>'{log_file}'"
    parameters = StdioServerParameters(command="sh", args=["-c", command], env=environment)
    with anyio.fail_after(30):
        async with Client(parameters, **options) as client:
            yield client


async def test_over_stdio_who_listens_hears_of_another_processes_calls(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    database = tmp_path / "calls.db"
    async with (
        over_stdio(database, tmp_path / "stderr") as client,
        client.listen(resources_list_changed=True) as subscription,
    ):
        with closing(another(database)) as store:
            begun = time.perf_counter()
            say(store, "acme", 1)
            assert await next_of(subscription) == ResourcesListChanged()
            record_property("heard_ms", round(1000 * (time.perf_counter() - begun)))
        assert len((await client.list_resources()).resources) == 1
    assert not (tmp_path / "stderr").read_text().count("Traceback")


@pytest.mark.slow
async def test_over_stdio_an_older_client_is_told_on_its_session(tmp_path: Path) -> None:
    database, heard = tmp_path / "calls.db", Heard()
    async with over_stdio(database, tmp_path / "stderr", mode="legacy", message_handler=heard) as client:
        assert client.server_capabilities.resources is not None
        assert client.server_capabilities.resources.list_changed
        with closing(another(database)) as store:
            say(store, "acme", 1)
            await heard.until(1)
            say(store, "bravo", 2)
            await heard.until(2)
    assert set(heard.methods) == {notices.CHANGED}


@contextmanager
def over_http(database: Path) -> Any:
    server = build_server(configured(database))
    with serving(AsWho(server.streamable_http_app(stateless_http=True))) as origin:
        yield f"{origin}/mcp"


@asynccontextmanager
async def client_of(url: str, accounts: str = "") -> AsyncGenerator[Client]:
    async with (
        httpx2.AsyncClient(headers={"x-accounts": accounts}, timeout=30) as http,
        Client(streamable_http_client(url, http_client=http)) as client,
    ):
        yield client


async def test_over_http_a_principal_hears_of_its_own_accounts_only(tmp_path: Path) -> None:
    database = tmp_path / "calls.db"
    with over_http(database) as url:
        async with client_of(url, "acme") as hers, client_of(url, "bravo") as his:
            listen_hers = hers.listen(resources_list_changed=True)
            listen_his = his.listen(resources_list_changed=True)
            async with listen_hers as of_acme, listen_his as of_bravo:
                with closing(another(database)) as store:
                    say(store, "acme", 1)
                    assert await next_of(of_acme) == ResourcesListChanged()
                    say(store, "bravo", 2)
                    assert await next_of(of_bravo) == ResourcesListChanged()
                    # What he heard came of the second change: the first notice went out before and not to him.
                    with anyio.move_on_after(0.05) as patience:
                        await next_of(of_acme)
                    assert patience.cancelled_caught


async def test_what_changes_no_call_is_told_to_nobody(tmp_path: Path) -> None:
    database, heard = tmp_path / "calls.db", Heard()
    async with Client(build_server(configured(database)), mode="legacy", message_handler=heard):
        with closing(another(database)) as store:
            say(store, "acme", 1)
            await heard.until(1)
            for account in ACCOUNTS:
                store.note(account, "ok")
            store.save_page("acme", [], store.marks("acme"))
            say(store, "bravo", 2)
            await heard.until(2)
    assert heard.methods == [notices.CHANGED] * 2


async def test_a_client_that_went_away_is_forgotten(tmp_path: Path) -> None:
    database = tmp_path / "calls.db"
    with over_http(database) as url, closing(another(database)) as store:
        async with client_of(url) as client, client.listen(resources_list_changed=True):
            pass
        async with client_of(url) as client, client.listen(resources_list_changed=True) as subscription:
            say(store, "acme", 1)
            assert await next_of(subscription) == ResourcesListChanged()


# In which order, to the letter: over a store that tells what the test says


class Told(Watch):
    """Tells of these changes, one after the other, and sets `over` when it is asked for more."""

    def __init__(self, *changes: set[str], again: bool = False) -> None:
        self._changes = list(changes)
        self._again = again
        self.over = threading.Event()
        self.closed = threading.Event()

    def wait(self, seconds: float) -> frozenset[str]:
        if not self._changes:
            self.over.set()
            assert seconds == 0.0
            return frozenset()
        return frozenset(self._changes[0] if self._again else self._changes.pop(0))

    def close(self) -> None:
        self.closed.set()


class Watched(SQLiteStore):
    """A store with a watch of the test's own."""

    look: Watch

    def watch(self) -> Any:
        return self.look


@asynccontextmanager
async def telling(folder: Path, watch: Watch, tenant: str = "") -> AsyncGenerator[tuple[Notices, Callable[[], None]]]:
    """Notices over this watch, which begin when the second of what is given is called."""
    config = configured(folder / "calls.db")
    with closing(Watched(config.database)) as store:
        store.look = watch
        if tenant:
            store.open_account("bravo", "highlevel", tenant)
        sync = Sync(config.accounts, store, history=timedelta(days=1))
        told = Notices(sync)
        begin = anyio.Event()

        async def begun() -> None:
            await begin.wait()
            async with told.running(store):
                await anyio.sleep_forever()

        async with sync.running(), anyio.create_task_group() as tasks:
            tasks.start_soon(begun)
            yield told, begin.set
            tasks.cancel_scope.cancel()


def listener_of(told: Notices, heard: list[str], name: str, *accounts: str) -> Callable[[], None]:
    with answering(Principal(name, frozenset(accounts) if accounts else None)):
        return told.subscribe(lambda event: heard.append(f"{name} {type(event).__name__}"))


async def over(watch: Told) -> None:
    with anyio.fail_after(ENOUGH_SECONDS):
        assert await anyio.to_thread.run_sync(watch.over.wait, ENOUGH_SECONDS)


async def test_each_listener_is_told_of_its_own_accounts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notices, "QUIET_SECONDS", 0.0)
    watch, heard = Told({"acme"}, {"bravo"}, {"nobody"}), list[str]()
    async with telling(tmp_path, watch) as (told, begin):
        listener_of(told, heard, "hers", "acme")
        listener_of(told, heard, "his", "bravo")
        listener_of(told, heard, "all")
        listener_of(told, heard, "gone", "acme")()
        begin()
        await over(watch)
    changed = ResourcesListChanged.__name__
    assert heard == [f"{name} {changed}" for name in ("hers", "all", "his", "all")]
    assert await anyio.to_thread.run_sync(watch.closed.wait, ENOUGH_SECONDS)


async def test_another_tenants_calls_under_our_accounts_name_are_told_to_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notices, "QUIET_SECONDS", 0.0)
    watch, heard = Told({"bravo"}, {"acme", "bravo"}, {"bravo"}), list[str]()
    async with telling(tmp_path, watch, tenant="of-somebody-else") as (told, begin):
        listener_of(told, heard, "all")
        begin()
        await over(watch)
    assert len(heard) == 1


async def test_nobody_is_told_twice_within_the_quiet_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notices, "QUIET_SECONDS", 0.2)
    heard = list[str]()
    async with telling(tmp_path, Told({"acme"}, again=True)) as (told, begin):
        listener_of(told, heard, "all")
        begin()
        begun = time.monotonic()
        with anyio.fail_after(ENOUGH_SECONDS):
            while len(heard) < 3:  # noqa: ASYNC110 - what is waited for is called by the bus
                await anyio.sleep(0.01)
        assert time.monotonic() - begun >= 2 * 0.2


async def test_a_store_that_cannot_be_watched_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notices, "QUIET_SECONDS", 0.0)
    monkeypatch.setattr(notices, "AGAIN_SECONDS", 0.0)
    watch, heard = Told({"acme"}), list[str]()
    failures = iter([StoreError("The database is away."), StoreError("It still is.")])

    def watched(_: Watched) -> Watch:
        for failure in failures:
            raise failure
        return watch

    monkeypatch.setattr(Watched, "watch", watched)
    async with telling(tmp_path, watch) as (told, begin):
        listener_of(told, heard, "all")
        begin()
        await over(watch)
    assert len(heard) == 1
