"""The team server as it runs: over real HTTP, in real processes."""

import contextlib
import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import anyio
import httpx
import httpx2
import pytest
from click.testing import CliRunner
from mcp import Client, MCPError
from mcp.client.streamable_http import streamable_http_client
from mcp.types import TextContent
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from prometheus_client.openmetrics import parser

from call_logs.__main__ import cli
from call_logs.errors import StoreError
from call_logs.http.guard import MOST_BODY_BYTES
from call_logs.http.stopping import Stopping
from call_logs.http.tokens import Tokens
from call_logs.principals import Scope
from call_logs.prompts import NAMES as PROMPTS
from call_logs.store.sqlite import SQLiteStore
from call_logs.sync import Sync
from team import DEAD, ERAS, LEGACY, MODERN, Team, account, call, configured, reply, request, serving_team, word


@pytest.fixture(scope="module")
def team(tmp_path_factory: pytest.TempPathFactory) -> Generator[Team]:
    """Two accounts, no tokens: this machine only."""
    with serving_team(configured(tmp_path_factory.mktemp("team"), 2), allow_hosts=["calls.example.com"]) as running:
        yield running


# -- where a request comes from -----------------------------------------------------------------------------------

HOSTS = {
    "localhost": 200,
    "localhost:8000": 200,
    "127.0.0.1": 200,
    "127.0.0.1:9999": 200,
    "[::1]": 200,
    "[::1]:8000": 200,
    "calls.example.com": 200,
    "calls.example.com:443": 200,
    "evil.example.com": 421,
    "localhost.evil.example.com": 421,
    "calls.example.com.evil.example": 421,
    "127.0.0.1.evil.example:8000": 421,
    "0.0.0.0:8000": 421,
    "null": 421,
    "": 421,
}

ORIGINS = {
    None: 200,
    "http://localhost": 200,
    "http://localhost:6274": 200,
    "https://localhost:6274": 200,
    "http://127.0.0.1:6274": 200,
    "http://[::1]:6274": 200,
    "https://calls.example.com": 200,
    "https://calls.example.com:8443": 200,
    "http://calls.example.com": 403,
    "https://evil.example.com": 403,
    "https://calls.example.com.evil.example": 403,
    "http://localhost.evil.example": 403,
    "null": 403,
    "file://": 403,
}


@pytest.mark.parametrize("era", ERAS)
@pytest.mark.parametrize("host", HOSTS)
def test_only_the_servers_own_names_are_answered(team: Team, host: str, era: str) -> None:
    assert team.ask("tools/list", era=era, headers={"host": host}).status == HOSTS[host]
    assert team.client.get("/metrics", headers={"host": host}).status_code == HOSTS[host]
    assert team.client.get("/healthz", headers={"host": host}).status_code == 200


@pytest.mark.parametrize("era", ERAS)
@pytest.mark.parametrize("origin", ORIGINS)
def test_only_pages_of_those_names_may_ask(team: Team, origin: str | None, era: str) -> None:
    headers = {"origin": origin} if origin is not None else {}
    assert team.ask("tools/list", era=era, headers=headers).status == ORIGINS[origin]
    assert team.client.get("/metrics", headers=headers).status_code == ORIGINS[origin]


def test_a_request_without_a_host_is_refused(team: Team) -> None:
    port = int(team.origin.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), timeout=10) as raw:
        raw.sendall(b"POST /mcp HTTP/1.0\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}")
        assert raw.recv(100).startswith((b"HTTP/1.1 421", b"HTTP/1.1 400"))


def test_a_host_with_a_port_is_allowed_with_that_port_only(tmp_path: Path) -> None:
    with serving_team(configured(tmp_path, 1), allow_hosts=["calls.example.com:8443"]) as team:
        statuses = [
            team.ask("tools/list", headers={"host": host}).status
            for host in ("calls.example.com:8443", "calls.example.com", "calls.example.com:1")
        ]
    assert statuses == [200, 421, 421]


# -- what a request may be ----------------------------------------------------------------------------------------


def test_a_body_that_is_too_long_is_refused_before_it_is_read(team: Team) -> None:
    headers = {"content-type": "application/json", "accept": "application/json, text/event-stream"}
    whole = team.client.post("/mcp", content=b" " * (MOST_BODY_BYTES + 1), headers=headers)
    assert whole.status_code == 413

    def chunks() -> Iterator[bytes]:
        for _ in range(2 * MOST_BODY_BYTES // 65_536):
            yield b" " * 65_536

    assert team.client.post("/mcp", content=chunks(), headers=headers).status_code == 413


@pytest.mark.parametrize("method", ["GET", "DELETE", "PUT", "OPTIONS", "HEAD"])
def test_there_is_nothing_to_get_from_a_server_without_sessions(team: Team, method: str) -> None:
    got = team.client.request(method, "/mcp", headers={"accept": "text/event-stream"})
    assert got.status_code == 405
    assert got.headers["allow"] == "POST"


def test_there_is_nothing_at_other_places(team: Team) -> None:
    for path in ("/", "/mcp/extra", "/sse", "/docs", "/.well-known/oauth-protected-resource/mcp"):
        assert team.client.get(path).status_code == 404


@pytest.mark.parametrize("body", [b"", b"{", b"null", b"[]", b'"text"', b'{"jsonrpc": "2.0"}', b"\xff", b"[" * 100_000])
@pytest.mark.parametrize("era", ERAS)
def test_a_body_that_is_no_question_is_the_clients_fault(team: Team, body: bytes, era: str) -> None:
    headers, _ = request("tools/list", None, era, 1)
    assert 400 <= team.client.post("/mcp", content=body, headers=headers).status_code < 500


# -- health and numbers -------------------------------------------------------------------------------------------


def test_a_server_that_lives_and_can_answer_says_so(team: Team) -> None:
    assert team.client.get("/healthz").json() == {"status": "alive"}
    ready = team.client.get("/readyz")
    assert ready.status_code == 200
    assert ready.json().items() >= {"status": "ready", "accounts": 2, "accounts_not_well": 0}.items()
    assert ready.json()["oldest_pass_seconds"] > 0


def test_a_server_without_its_store_is_not_ready_but_lives(team: Team, monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(_: SQLiteStore, __: str) -> str:
        raise StoreError("The database is away.")

    monkeypatch.setattr(SQLiteStore, "remembered", gone)
    assert team.client.get("/readyz").status_code == 503
    assert team.client.get("/healthz").status_code == 200


def test_numbers_are_openmetrics_and_tell_nothing_of_a_call(tmp_path: Path) -> None:
    with serving_team(configured(tmp_path, 2)) as team:
        team.call("search_transcripts", query=word(0))
        team.call("list_calls", limit=0)
        team.call(f"tool {word(1)} +12065550100")
        text = team.client.get("/metrics").text
    untyped: Any = parser
    families = {family.name: family for family in untyped.text_string_to_metric_families(text)}
    calls = {sample.labels["account"]: sample.value for sample in families["call_logs_calls"].samples}
    assert calls == {account(0): 5, account(1): 5}
    lags = [sample.value for sample in families["call_logs_sync_lag_seconds"].samples]
    assert len(lags) == 2
    assert all(0 < lag < 600 for lag in lags)
    counts = {
        (sample.labels["tool"], sample.labels["outcome"]): sample.value
        for sample in families["call_logs_tool_call_seconds"].samples
        if sample.name.endswith("_count")
    }
    assert counts == {("search_transcripts", "ok"): 1, ("list_calls", "error"): 1, ("unknown", "refused"): 1}
    assert text.endswith("# EOF\n")
    for told in ("zylo", "2065550", "Desk", "agent-0"):
        assert told not in text


def test_numbers_need_the_scope_admin_once_there_are_tokens(tmp_path: Path) -> None:
    with serving_team(configured(tmp_path, 2)) as team:
        assert team.client.get("/metrics").status_code == 200
        reader, admin = team.token("reader"), team.token("admin", [1], [Scope.ADMIN])
        statuses = [team.client.get("/metrics").status_code]
        got = {
            name: team.client.get("/metrics", headers={"authorization": f"Bearer {token}"})
            for name, token in (("reader", reader), ("admin", admin))
        }
        assert [*statuses, got["reader"].status_code, got["admin"].status_code] == [401, 403, 200]
        assert account(1) in got["admin"].text
        assert account(0) not in got["admin"].text
        assert 'status="403"' in got["admin"].text
        assert [team.client.get(path).status_code for path in ("/healthz", "/readyz")] == [200, 200]


# -- one process --------------------------------------------------------------------------------------------------


def test_the_accounts_are_opened_once_whatever_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The SDK runs the lifespan per process, not per request or session: two syncs would read every vendor twice."""
    events: list[str] = []
    running = Sync.running

    @contextlib.asynccontextmanager
    async def counted(self: Sync, first_pass_after: float | None = None) -> AsyncGenerator[None]:
        events.append("opened")
        async with running(self, first_pass_after):
            yield
        events.append("closed")

    monkeypatch.setattr(Sync, "running", counted)
    with serving_team(configured(tmp_path, 1)) as team:
        for era in ERAS * 5:
            assert team.ask("tools/list", era=era).status == 200
        assert team.ask("initialize", INITIALIZE, era=LEGACY).status == 200
        assert events == ["opened"]
    assert events == ["opened", "closed"]


INITIALIZE = {"protocolVersion": LEGACY, "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}}


@pytest.mark.anyio
@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_the_sdks_client_asks_with_a_token_and_is_told_without(tmp_path: Path, mode: str) -> None:
    with serving_team(configured(tmp_path, 2)) as team:
        token = team.token("support", [0], [Scope.CALLS])
        headers = {"authorization": f"Bearer {token}"}
        async with httpx2.AsyncClient(headers=headers) as http:
            transport = streamable_http_client(f"{team.origin}/mcp", http_client=http)
            async with Client(transport, mode=mode) as client:
                tools = (await client.list_tools()).tools
                assert [tool.name for tool in tools] == ["list_calls", "count_calls", "list_accounts"]
                found = await client.call_tool("list_accounts", {})
                assert isinstance(found.content[0], TextContent)
                assert account(0) in found.content[0].text
                assert account(1) not in found.content[0].text
                with pytest.raises(MCPError, match="search_transcripts needs the scope transcripts:read"):
                    await client.call_tool("search_transcripts", {"query": word(0)})
        with pytest.raises(BaseExceptionGroup) as refused:
            async with Client(f"{team.origin}/mcp", mode=mode):
                pass
        assert "This server needs a token" in repr(refused.value)


# -- spans --------------------------------------------------------------------------------------------------------


def test_spans_hold_nothing_that_was_asked_or_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr("mcp.shared._otel._tracer", provider.get_tracer("test"))

    def broken(self: SQLiteStore, *_: object, **__: object) -> object:
        raise RuntimeError(f"the bug quotes {word(0)}") from ValueError(f"and {self} {word(1)}")

    with serving_team(configured(tmp_path, 2)) as team:
        for era in ERAS:
            team.call("search_transcripts", era=era, query=f"{word(0)} secretword")
            team.call("list_calls", era=era, phone="+12065550177", nonsense="secretword")
            team.call("get_call", era=era, call_id="client-00/secretword")
            team.call("secretword", era=era)
            team.ask("prompts/get", {"name": "secretword", "arguments": {}}, era=era)
            team.ask("prompts/get", {"name": "missed_calls", "arguments": {"since": "secretword"}}, era=era)
            team.ask("resources/read", {"uri": "calls://client-00/secretword/transcript"}, era=era)
            team.ask("secretword/method", {"x": "secretword"}, era=era)
            team.ask("tools/call", {"name": ["secretword"]}, era=era)
            with monkeypatch.context() as patched:
                patched.setattr(SQLiteStore, "list_calls", broken)
                patched.setattr(SQLiteStore, "excerpt", broken)
                assert team.ask("resources/list", era=era).message["error"]
                team.call("get_call", era=era, call_id=call(0, 0).id)
    spans = exporter.get_finished_spans()
    names = {span.name for span in spans}
    assert {"tools/call search_transcripts", "tools/call unknown", "prompts/get unknown", "resources/list"} <= names
    assert {str((span.attributes or {}).get("error.type")) for span in spans} >= {"tool_error", "-32602", "-32603"}
    for span in spans:
        told = span.to_json()
        for secret in ("zylo", "secretword", "2065550", "the bug quotes"):
            assert secret not in told.replace("secretword/method", ""), told


# -- many at once -------------------------------------------------------------------------------------------------

PRINCIPALS = 17


def mixed(number: int, nth: int) -> tuple[str, dict[str, Any]]:
    """One of the questions whose answers tell whose they are."""
    own = call(number, nth % 5)
    questions: list[tuple[str, dict[str, Any]]] = [
        ("tools/call", {"name": "search_transcripts", "arguments": {"query": "zylo*", "limit": 3}}),
        ("tools/call", {"name": "list_calls", "arguments": {"limit": 3, "with_summary": True}}),
        ("tools/call", {"name": "get_call", "arguments": {"call_id": own.id}}),
        ("tools/call", {"name": "count_calls", "arguments": {"group_by": ["agent"]}}),
        ("tools/call", {"name": "list_accounts", "arguments": {}}),
        ("tools/call", {"name": "summarize_call_actions", "arguments": {"call_id": own.id}}),
        ("resources/read", {"uri": f"calls://{own.id}/transcript"}),
        ("resources/list", {}),
        (
            "completion/complete",
            {
                "ref": {"type": "ref/resource", "uri": "calls://{account}/{call}/transcript"},
                "argument": {"name": "account", "value": ""},
            },
        ),
    ]
    return questions[nth % len(questions)]


async def ask_all(team: Team, tokens: list[str], requests: int, at_once: int) -> Counter[str]:
    """Ask so many mixed questions of all principals, all with id 1, and tell what came of them."""
    came: Counter[str] = Counter()
    numbers = iter(range(requests))
    limits = httpx.Limits(max_connections=at_once, max_keepalive_connections=at_once)

    async def asker(client: httpx.AsyncClient) -> None:
        for n in numbers:
            who = n % PRINCIPALS
            era = ERAS[(n // PRINCIPALS) % 2]
            headers, body = request(*mixed(who, n // PRINCIPALS), era, 1)
            headers["authorization"] = f"Bearer {tokens[who]}"
            got = reply(await client.post("/mcp", content=body, headers=headers))
            text = json.dumps(got.message)
            others = [
                other for other in range(PRINCIPALS) if other != who and (account(other) in text or word(other) in text)
            ]
            answered = got.status == 200 and "result" in got.message and (account(who) in text or word(who) in text)
            came["crossed" if others else "right" if answered else f"failed: {got.status}"] += 1
            came[f"era {era}"] += 1

    async with (
        httpx.AsyncClient(base_url=team.origin, timeout=60, limits=limits, trust_env=False) as client,
        anyio.create_task_group() as group,
    ):
        for _ in range(at_once):
            group.start_soon(asker, client)
    return came


def crowd(folder: Path, requests: int, at_once: int) -> tuple[Counter[str], float]:
    """Seventeen principals with an account each, asking."""
    with serving_team(configured(folder, PRINCIPALS)) as team:
        tokens = [team.token(f"p{number}", [number]) for number in range(PRINCIPALS)]
        begun = time.monotonic()
        came = anyio.run(ask_all, team, tokens, requests, at_once)
        return came, time.monotonic() - begun


def test_answers_of_many_principals_at_once_do_not_cross(tmp_path: Path) -> None:
    came, _ = crowd(tmp_path, 340, 40)
    assert (came["right"], came["crossed"]) == (340, 0), came


MANY = 20_000 if os.environ.get("CALL_LOGS_FAULTS") == "full" else 3_000
"""Requests: as docs/testing.md reports them, or the share of it that every CI run has."""


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_answers_of_17_principals_200_at_once_do_not_cross(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    came, seconds = crowd(tmp_path, MANY, 200)
    table = [f"{MANY / seconds:.0f} requests/s, {seconds:.0f} s, {PRINCIPALS} principals, 200 at once, all with id 1"]
    table += [f"  {what:20} {number:6}" for what, number in sorted(came.items())]
    with capsys.disabled():
        sys.stdout.write("\n" + "\n".join(table) + "\n")
    assert (came["right"], came["crossed"]) == (MANY, 0), came


# -- as a process -------------------------------------------------------------------------------------------------


def environment(folder: Path, **more: str) -> dict[str, str]:
    """One account, whose vendor is not there."""
    settings = {
        "HIGHLEVEL_TOKEN": "unused-token",
        "HIGHLEVEL_LOCATION_ID": "Location00",
        "HIGHLEVEL_BASE_URL": DEAD,
        "CALL_LOGS_DATABASE": str(folder / "calls.db"),
    }
    kept = {name: os.environ[name] for name in ("PATH", "PYTHONPATH", "SYSTEMROOT") if name in os.environ}
    return kept | settings | more


SERVE = [sys.executable, "-X", "dev", "-W", "error", "-m", "call_logs", "serve", "--http", "--port", "0"]


@contextlib.contextmanager
def process(folder: Path, *options: str, **more: str) -> Generator[tuple[subprocess.Popen[str], str]]:
    """The server as a process, and its address."""
    with subprocess.Popen(
        [*SERVE, *options], env=environment(folder, **more), stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as running:
        try:
            assert running.stderr is not None
            line = running.stderr.readline()
            assert "serving http://" in line, line + running.stderr.read()
            yield running, line.partition("serving ")[2].partition("/mcp")[0]
        finally:
            if running.poll() is None:
                running.kill()


@pytest.mark.skipif(sys.platform == "win32", reason="no such signals there")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.slow
def test_a_signal_stops_the_server_in_seconds_also_with_a_stream_open(tmp_path: Path, number: int) -> None:
    with process(tmp_path) as (running, origin), httpx.Client(trust_env=False) as client:
        headers, body = request("subscriptions/listen", {"notifications": {"toolsListChanged": True}}, MODERN, 1)
        opened = threading.Event()
        ended: list[str] = []

        def listen() -> None:
            try:
                with client.stream("POST", f"{origin}/mcp", content=body, headers=headers, timeout=30) as stream:
                    assert stream.status_code == 200
                    for _ in stream.iter_raw():
                        opened.set()
                ended.append("closed")
            except httpx.HTTPError as error:
                ended.append(type(error).__name__)

        listening = threading.Thread(target=listen)
        listening.start()
        assert opened.wait(20)
        begun = time.monotonic()
        running.send_signal(number)
        assert running.wait(10) == 0
        assert time.monotonic() - begun < 8
        listening.join(10)
        out, err = running.communicate(timeout=10)
    assert ended == ["closed"], "the stream was cut off"
    assert (out, err) == ("", "")
    with contextlib.closing(sqlite3.connect(tmp_path / "calls.db", timeout=1)) as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert not list(tmp_path.glob("calls.db-wal")), "the store was not closed"


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "calls.example.com"])
def test_the_network_is_not_let_in_without_tokens_or_an_issuer(tmp_path: Path, host: str) -> None:
    ran = subprocess.run(
        [*SERVE, "--host", host], env=environment(tmp_path), capture_output=True, text=True, timeout=30, check=False
    )
    assert ran.returncode == 2
    assert ran.stdout == ""
    assert "call-logs-mcp token new NAME" in ran.stderr
    assert "CALL_LOGS_OAUTH_ISSUER" in ran.stderr
    assert "Traceback" not in ran.stderr


def test_the_network_is_let_in_with_a_token(tmp_path: Path) -> None:
    token = Tokens(tmp_path / "tokens.json").add("support", None, [Scope.CALLS])
    with process(tmp_path, "--host", "0.0.0.0", "--allow-host", "calls.example.com") as (_, origin):
        own = origin.replace("0.0.0.0", "127.0.0.1")
        headers, body = request("tools/list", None, MODERN, 1)
        with httpx.Client(trust_env=False) as client:
            statuses = [
                client.post(f"{own}/mcp", content=body, headers=headers | more).status_code
                for more in (
                    {},
                    {"authorization": f"Bearer {token}"},
                    {"authorization": f"Bearer {token}", "host": "calls.example.com"},
                    {"authorization": f"Bearer {token}", "host": "evil.example.com"},
                    {
                        "authorization": f"Bearer {token}",
                        "x-forwarded-host": "calls.example.com",
                        "host": "evil.example",
                    },
                )
            ]
            server = client.get(f"{own}/healthz").headers.get("server")
            unknown = client.post(f"{own}/webhooks/highlevel/highlevel/not-the-secret", json={})
    assert statuses == [401, 200, 200, 421, 421]
    assert server is None
    assert (unknown.status_code, unknown.headers["content-type"]) == (404, "application/problem+json")


def test_a_port_that_is_taken_is_told_in_one_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        ran = subprocess.run(
            [*SERVE[:-1], port], env=environment(tmp_path), capture_output=True, text=True, timeout=30, check=False
        )
    assert ran.returncode == 1
    assert ran.stderr.count("\n") == 1
    assert "--port" in ran.stderr


def test_options_of_http_need_http() -> None:
    ran = CliRunner().invoke(cli, ["serve", "--allow-host", "calls.example.com"])
    assert ran.exit_code == 2
    assert "go with --http" in ran.output


# -- the command token --------------------------------------------------------------------------------------------


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Runs `call-logs-mcp token …` with one account, named highlevel."""
    for name, value in environment(tmp_path).items():
        monkeypatch.setenv(name, value)

    def run(*words: str) -> Any:
        return CliRunner().invoke(cli, ["token", *words])

    return run


def test_a_token_is_printed_alone_and_once(command: Callable[..., Any], tmp_path: Path) -> None:
    made = command("new", "support", "--accounts", "highlevel", "--scopes", "calls:read")
    token = made.stdout.strip()
    assert made.exit_code == 0
    found = Tokens(tmp_path / "tokens.json").principal(token)
    assert found is not None
    assert (found.accounts, found.scopes) == ({"highlevel"}, {Scope.CALLS})
    assert token not in made.stderr
    for said in (command("list"), command("list", "--json"), command("revoke", "support")):
        assert said.exit_code == 0
        assert "support" in said.output
        assert token not in said.output
    assert Tokens(tmp_path / "tokens.json").principal(token) is None


def test_a_token_without_options_reads_all_accounts_and_looks_after_nothing(
    command: Callable[..., Any], tmp_path: Path
) -> None:
    told = json.loads(command("new", "support", "--json").stdout)
    assert told["accounts"] is None
    assert told["scopes"] == ["calls:read", "transcripts:read"]
    assert told["file"] == str(tmp_path / "tokens.json")
    assert Tokens(tmp_path / "tokens.json").principal(told["token"]) is not None
    [listed] = json.loads(command("list", "--json").stdout)
    assert listed.items() >= {"name": "support", "accounts": None}.items()
    assert "sha256" not in listed


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["new", "x", "--accounts", "acme"], "There is no account acme. Accounts: highlevel."),
        (["new", "x", "--scopes", "write"], "There is no scope write. Scopes: calls:read, transcripts:read, admin."),
        (["new", "x", "--accounts", " , "], "--accounts names nothing"),
        (["new", "x", "--scopes", ","], "--scopes names nothing"),
        (["revoke", "x"], "There are no tokens."),
    ],
)
def test_what_there_is_not_is_refused_with_what_there_is(
    command: Callable[..., Any], tmp_path: Path, words: list[str], told: str
) -> None:
    refused = command(*words)
    assert told in str(refused.exception)
    assert not (tmp_path / "tokens.json").exists()


def test_every_prompt_is_named(team: Team) -> None:
    assert [one["name"] for one in team.ask("prompts/list").result["prompts"]] == list(PROMPTS)


@pytest.mark.anyio
@pytest.mark.parametrize("begun", [True, False])
async def test_what_is_open_when_the_server_stops_is_ended_properly(*, begun: bool) -> None:
    sent: list[Any] = []
    waiting = anyio.Event()

    async def endless(scope: Any, receive: Any, send: Any) -> None:
        del scope, receive
        if begun:
            await send({"type": "http.response.start", "status": 200, "headers": []})
        waiting.set()
        await anyio.sleep_forever()

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        return {"type": "http.disconnect"}

    stopping = Stopping(endless)
    with anyio.fail_after(10):
        async with anyio.create_task_group() as group:
            group.start_soon(stopping, {"type": "http", "method": "POST"}, receive, send)
            await waiting.wait()
            stopping.stop()
    assert sent[0]["status"] == (200 if begun else 503)
    assert sent[-1].get("more_body", False) is False
