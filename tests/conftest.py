"""What the tests of whole answers share: the made-up business, synced once, behind an in-memory client."""

import shutil
from collections.abc import AsyncGenerator, Callable, Generator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import anyio
import pytest
from mcp import Client
from mcp.types import CallToolResult, TextContent

from call_logs.app import Server, build_server
from call_logs.config import Config, load
from call_logs.sandbox import Sandbox, running
from call_logs.store.sqlite import SQLiteStore
from call_logs.sync import Sync
from call_logs.text import Masking

ZONE = ZoneInfo("America/New_York")
ACCOUNT = "demo-highlevel"
HOUR = 3600.0


@pytest.fixture
def anyio_backend() -> str:
    """The server runs on asyncio."""
    return "asyncio"


@pytest.fixture(scope="session")
def sandbox() -> Generator[Sandbox]:
    """The vendors' stand-ins, with the business up to now."""
    with running() as started:
        yield started


@pytest.fixture(autouse=True)
def no_settings_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test sees a developer's own accounts."""
    import os  # noqa: PLC0415 - only here

    for name in list(os.environ):
        if name.startswith(("CALL_LOGS_", "HIGHLEVEL_", "SIGNALWIRE_", "TELZINO_", "BIMPE_", "VYOM_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(Path(__file__).parent / "no-such-folder"))


@pytest.fixture(scope="session")
def synced(sandbox: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database into which the HighLevel line was synced once. Copy it, do not change it."""
    path = tmp_path_factory.mktemp("synced") / "calls.db"
    config = load({ACCOUNT: sandbox.accounts[ACCOUNT]}, own_accounts=False, database=str(path))
    store = SQLiteStore(path)
    sync = Sync(config.accounts, store, history=config.history)

    async def once() -> None:
        async with sync.running():
            assert (await sync.finish(ACCOUNT)).state == "ok"

    anyio.run(once)
    store.close()
    return path


@dataclass(frozen=True)
class Answer:
    """A tool's answer in both channels."""

    text: str
    body: dict[str, Any]
    is_error: bool


class Asker:
    """Asks the server as a client would."""

    def __init__(self, client: Client, server: Server) -> None:
        """Of one server."""
        self.client = client
        self.server = server

    async def __call__(self, tool: str, **arguments: Any) -> Answer:
        """One tool call. Fails the test unless both channels are there (or it is an error)."""
        with anyio.fail_after(10):
            result: CallToolResult = await self.client.call_tool(tool, arguments)
        text = "\n".join(block.text for block in result.content if isinstance(block, TextContent))
        assert result.is_error or result.structured_content is not None
        return Answer(text, result.structured_content or {}, result.is_error)


Asking = Callable[..., AbstractAsyncContextManager[Asker]]


@pytest.fixture
def asking(synced: Path, sandbox: Sandbox, tmp_path: Path) -> Asking:
    """Opens a server over a copy of the synced database (or another configuration), with an in-memory client."""

    @asynccontextmanager
    async def opened(
        accounts: Mapping[str, Mapping[str, str]] | None = None,
        *,
        database: Path | None = None,
        mode: str = "auto",
        max_age: float = HOUR,
        wait: float = 3.0,
    ) -> AsyncGenerator[Asker]:
        path = database
        if path is None:
            path = tmp_path / "calls.db"
            shutil.copy(synced, path)
        chosen = {ACCOUNT: sandbox.accounts[ACCOUNT]} if accounts is None else accounts
        loaded = load(chosen, own_accounts=False, database=str(path))
        config = Config(
            accounts=loaded.accounts,
            database=loaded.database,
            zone=ZONE,
            history=timedelta(days=90),
            max_age=max_age,
            wait=wait,
            masking=Masking.CARDS,
        )
        server = build_server(config)
        async with Client(server, mode=mode) as client:
            yield Asker(client, server)

    return opened


Rows = Callable[[str, Sequence[str], Sequence[object]], None]
"""Gives a row of a table: its title, the columns' names, the values."""


@pytest.fixture
def row(record_property: Callable[[str, object], None]) -> Rows:
    """What a suite measured, for whoever reads the run; see `pytest_terminal_summary`."""

    def give(title: str, columns: Sequence[str], values: Sequence[object]) -> None:
        record_property("table", [title, list(columns), [str(value) for value in values]])

    return give


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Show the tables whose rows tests gave as properties, also those of xdist's workers and without `-s`."""
    tables: dict[tuple[str, ...], list[list[str]]] = {}
    for report in (one for kind in ("passed", "failed") for one in terminalreporter.stats.get(kind, ())):
        for name, value in getattr(report, "user_properties", ()):
            if name == "table" and report.when == "call":
                title, columns, values = value
                tables.setdefault((title, *columns), []).append(values)
    for (title, *columns), rows in tables.items():
        terminalreporter.write_sep("-", title)
        widths = [max(map(len, column)) for column in zip(columns, *rows, strict=True)]
        for values in (columns, *rows):
            terminalreporter.write_line("  ".join(map(str.ljust, values, widths)).rstrip())


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--update-snapshots` writes the public surface anew, `--update-questions` docs/questions.md; review the diff."""
    parser.addoption("--update-snapshots", action="store_true", default=False)
    parser.addoption("--update-questions", action="store_true", default=False)
