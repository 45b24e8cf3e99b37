"""What the tests of the team server share: accounts that each have a word of their own, a server over them on loopback,
and questions as they travel."""

import json
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx

from call_logs.config import Config, load
from call_logs.http.serve import team_server
from call_logs.http.tokens import Tokens
from call_logs.model import Call, Direction, Speaker, Status, Turn
from call_logs.principals import Scope
from call_logs.sandbox import serving
from call_logs.store import Marks
from call_logs.store.sqlite import SQLiteStore

NOW = datetime.now(UTC).replace(microsecond=0)
MODERN = "2026-07-28"
LEGACY = "2025-11-25"
ERAS = (MODERN, LEGACY)
READ = (Scope.CALLS, Scope.TRANSCRIPTS)

DEAD = "http://127.0.0.1:9"
"""No vendor answers here; nothing in these tests should ask one."""

_BASICS = {"content-type": "application/json", "accept": "application/json, text/event-stream"}


def account(number: int) -> str:
    """An account's name."""
    return f"client-{number:02}"


def word(number: int) -> str:
    """A word that is said in the calls of one account only."""
    return "zylo" + "".join("abcdefghij"[int(digit)] for digit in f"{number:02}") + "quent"


def call(number: int, nth: int) -> Call:
    """One of an account's calls: its word is said, stands in its summary, and names its agent."""
    return Call(
        account=account(number),
        provider="highlevel",
        vendor_call_id=f"{number:02}{nth:022x}",
        direction=Direction.INBOUND,
        status=Status.COMPLETED,
        from_number=f"+1206555{100 + nth % 90:04}",
        started_at=NOW - timedelta(minutes=10 + nth),
        duration_seconds=60.0,
        agent_id=f"agent-{number:02}",
        agent_name=f"Desk {word(number)}",
        summary=f"Asked about {word(number)}.",
        turns=(
            Turn(n=1, speaker=Speaker.AGENT, text="How can I help? I will text you the address.", offset_seconds=1.0),
            Turn(n=2, speaker=Speaker.CUSTOMER, text=f"It is about {word(number)} again.", offset_seconds=4.0),
        ),
    )


def configured(folder: Path, accounts: int, calls: int = 5, **settings: Any) -> Config:
    """A configuration of so many accounts whose calls are in the store and as fresh as can be."""
    tables = {
        account(n): {
            "provider": "highlevel",
            "location_id": f"Location{n:02}",
            "token": "unused-token",
            "base_url": DEAD,
        }
        for n in range(accounts)
    }
    path = folder / "calls.db"
    config = load(tables, own_accounts=False, database=str(path))
    store = SQLiteStore(path)
    for n, one in enumerate(config.accounts):
        store.open_account(one.name, one.provider.slug, one.tenant, one.scope)
        marks = Marks(high=NOW, low=NOW - timedelta(days=100))
        store.save_page(one.name, [call(n, nth) for nth in range(calls)], marks)
        store.note(one.name, "ok", synced_at=NOW)
    store.close()
    usual: dict[str, Any] = {
        "max_age": 36_000.0,
        "wait": 0.0,
        "requests_per_minute": 0,
        "tokens": folder / "tokens.json",
    }
    return replace(config, **(usual | settings))


@dataclass(frozen=True)
class Reply:
    """An HTTP response and the JSON-RPC message in it, be it a body or an event."""

    status: int
    headers: httpx.Headers
    message: dict[str, Any]

    @property
    def result(self) -> dict[str, Any]:
        """The result, where there is one."""
        assert "result" in self.message, self.message
        return self.message["result"]

    @property
    def error(self) -> str:
        """The error's text: of the protocol, or of a tool."""
        if "error" in self.message:
            return self.message["error"]["message"]
        assert self.result.get("isError"), self.message
        return self.result["content"][0]["text"]


def request(method: str, params: Mapping[str, Any] | None, era: str, number: int) -> tuple[dict[str, str], bytes]:
    """Headers and body of one request."""
    given = dict(params or {})
    headers = _BASICS | {"mcp-protocol-version": era}
    if era == MODERN:
        headers["mcp-method"] = method
        named = given.get("name", given.get("uri"))
        if named is not None:
            headers["mcp-name"] = str(named)
        given["_meta"] = {
            "io.modelcontextprotocol/protocolVersion": era,
            "io.modelcontextprotocol/clientCapabilities": {},
        }
    return headers, json.dumps({"jsonrpc": "2.0", "id": number, "method": method, "params": given}).encode()


def reply(response: httpx.Response) -> Reply:
    """What the response holds."""
    text = response.text
    if response.headers.get("content-type", "").startswith("text/event-stream"):
        text = next((line[6:] for line in text.splitlines() if line.startswith("data: {")), "{}")
    held = json.loads(text) if text.startswith("{") else {}
    return Reply(response.status_code, response.headers, held)


@dataclass(frozen=True)
class Team:
    """A running server. `tokens` are its file's."""

    origin: str
    config: Config
    tokens: Tokens
    client: httpx.Client

    def token(self, name: str, accounts: Sequence[int] | None = None, scopes: Sequence[Scope] = READ) -> str:
        """A new token."""
        return self.tokens.add(name, [account(n) for n in accounts] if accounts is not None else None, scopes)

    def ask(
        self,
        method: str,
        params: Mapping[str, Any] | None = None,
        token: str | None = None,
        era: str = MODERN,
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        """One request, with JSON-RPC id 1."""
        own, body = request(method, params, era, 1)
        if token is not None:
            own["authorization"] = f"Bearer {token}"
        return reply(self.client.post("/mcp", content=body, headers=own | dict(headers or {})))

    def call(self, tool: str, token: str | None = None, era: str = MODERN, **arguments: Any) -> Reply:
        """One tool call."""
        return self.ask("tools/call", {"name": tool, "arguments": arguments}, token, era)


@contextmanager
def serving_team(config: Config, **given: Any) -> Generator[Team]:
    """The server over this configuration."""
    tokens = Tokens(config.tokens or Path("unused"))
    with (
        serving(team_server(config, **given)) as origin,
        httpx.Client(base_url=origin, timeout=20, trust_env=False) as client,
    ):
        yield Team(origin, config, tokens, client)
