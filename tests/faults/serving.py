"""A server over accounts of ours, as the suites ask it."""

import dataclasses
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
from mcp import Client
from tables import FULL

from call_logs import app
from call_logs.app import Server
from call_logs.config import load
from call_logs.model import Call

WAIT_SECONDS = 0.3
PATIENCE_SECONDS = 120.0 if FULL else 40.0


@dataclasses.dataclass
class Asker:
    """A server over a few accounts, behind an in-memory client."""

    client: Client
    server: Server

    async def body(self, tool: str, **arguments: Any) -> dict[str, Any]:
        """The structured channel of an answer, which must not be an error."""
        result = await self.client.call_tool(tool, arguments)
        assert not result.is_error, result
        return result.structured_content or {}

    def held(self, name: str) -> dict[str, Call]:
        """Every call of the account, by the vendor's id. Fails where one is held twice."""
        calls = [call for _, call in self.server.app.store.after(name, 0, 10_000)]
        by_id = {call.vendor_call_id: call for call in calls}
        assert len(by_id) == len(calls)
        return by_id


@asynccontextmanager
async def serving(
    accounts: Mapping[str, Mapping[str, Any]],
    database: Path,
    *,
    max_age: float = 3600.0,
    history: str = "30d",
    **more: Any,
) -> AsyncGenerator[Asker]:
    """The server behind an in-memory client, for `PATIENCE_SECONDS` at most; `more` goes to `build_server`."""
    config = load(accounts, own_accounts=False, database=str(database), history=history)
    config = dataclasses.replace(config, wait=WAIT_SECONDS, max_age=max_age)
    server = app.build_server(config, **more)
    with anyio.fail_after(PATIENCE_SECONDS):
        async with Client(server) as client:
            yield Asker(client, server)
