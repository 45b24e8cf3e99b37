"""The server as a client starts it: a subprocess over stdio, with HighLevel's API on loopback."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import AsyncGenerator, Generator, Mapping
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp import Client, StdioServerParameters
from mcp.types import TextContent

from call_logs.sandbox import serving
from call_logs.sandbox.highlevel import application

pytestmark = pytest.mark.anyio

TOKEN = "stdio-token-not-a-secret"
LOCATION = "StdioLocation01"
DOCUMENTED = json.loads((Path(__file__).parent / "documents/highlevel-get-call-log.json").read_text(encoding="utf-8"))
SERVE = [sys.executable, "-X", "dev", "-W", "error", "-m", "call_logs"]
INITIALIZE = {
    "protocolVersion": "2025-11-25",
    "capabilities": {},
    "clientInfo": {"name": "test", "version": "1"},
}


def log(number: int, began: datetime, transcript: str, **fields: Any) -> dict[str, Any]:
    """A row as HighLevel's list has it."""
    stamp = began.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    row: dict[str, Any] = {
        "id": f"{number:024x}",
        "agentId": "66a0f4c2a1d2e3f405060a01",
        "isAgentDeleted": False,
        "createdAt": stamp,
        "duration": 60,
        "trialCall": False,
        "executedCallActions": [],
        "summary": "",
        "transcript": transcript,
        "fromNumber": "+12065550123",
    }
    return row | fields


def environment(origin: str, database: Path, **more: str) -> dict[str, str]:
    """What a host gives the server."""
    return {
        "PATH": os.environ["PATH"],
        "HIGHLEVEL_TOKEN": TOKEN,
        "HIGHLEVEL_LOCATION_ID": LOCATION,
        "HIGHLEVEL_BASE_URL": origin,
        "CALL_LOGS_DATABASE": str(database),
        "CALL_LOGS_TIMEZONE": "UTC",
        "CALL_LOGS_HISTORY": "5000d",
        **more,
    }


@contextmanager
def vendor(logs: list[dict[str, Any]]) -> Generator[str]:
    """HighLevel's API with these calls."""
    with serving(application(logs, [], token=TOKEN, location_id=LOCATION)) as origin:
        yield origin


@asynccontextmanager
async def client_of(settings: Mapping[str, str], log_file: Path) -> AsyncGenerator[Client]:
    """The SDK's client over stdio; the server's stderr goes to the file."""
    parameters = StdioServerParameters(
        command="sh", args=["-c", f"exec {' '.join(SERVE)} 2>>'{log_file}'"], env=dict(settings)
    )
    with anyio.fail_after(30):
        async with Client(parameters) as client:
            yield client


async def ask(client: Client, tool: str, **arguments: Any) -> tuple[str, dict[str, Any], bool]:
    """Both channels of an answer, and whether it is an error."""
    result = await client.call_tool(tool, arguments)
    text = "\n".join(block.text for block in result.content if isinstance(block, TextContent))
    return text, result.structured_content or {}, result.is_error


async def test_the_documented_call_comes_out_whole_and_without_its_secret(tmp_path: Path) -> None:
    database, log_file = tmp_path / "calls.db", tmp_path / "stderr"
    with vendor([DOCUMENTED]) as origin:
        async with client_of(environment(origin, database), log_file) as client:
            text, body, failed = await ask(client, "get_call", call_id=f"highlevel/{DOCUMENTED['id']}")
            listed = await client.list_resources()
            read = await client.read_resource(f"calls://highlevel/{DOCUMENTED['id']}/call.json")
    assert not failed, text
    call = body["call"]
    actions = call["actions"]
    assert [(action["kind"], action["name"], action["executed_at"]) for action in actions] == [
        ("extraction", "Extract Email During Call", "2024-01-15T10:31:45+00:00"),
        ("transfer", "Transfer to Manager", "2024-01-15T10:32:00+00:00"),
        ("message", "Send Confirmation SMS", "2024-01-15T10:33:30+00:00"),
        ("extraction", "Extract Phone Number", "2024-01-15T10:34:15+00:00"),
        ("workflow", "Start Follow-up Workflow", "2024-01-15T10:35:00+00:00"),
        ("appointment", "Book Consultation", "2024-01-15T10:36:45+00:00"),
        ("custom", "Check Order Status", "2024-01-15T10:37:20+00:00"),
        ("knowledge", "Query Product Info", "2024-01-15T10:38:10+00:00"),
    ]
    details = {action["vendor_kind"]: action["details"] for action in actions}
    assert details["CALL_TRANSFER"]["to"] == "+12345678901"
    assert details["SMS"]["text"] == "Your appointment is confirmed for tomorrow at 2 PM"
    assert details["WORKFLOW_TRIGGER"]["workflow_id"] == "507f1f77bcf86cd799439020"
    assert details["APPOINTMENT_BOOKING"] == {"calendar_id": "507f1f77bcf86cd799439022"}
    assert details["DATA_EXTRACTION"] == {"field_id": "507f1f77bcf86cd799439018", "overwrites": False}
    assert details["IN_CALL_DATA_EXTRACTION"] == {"field_id": "507f1f77bcf86cd799439025", "overwrites": True}
    assert details["KNOWLEDGE_BASE"]["knowledge_base_id"] == "507f1f77bcf86cd799439027"
    assert details["CUSTOM_ACTION"] == {"said": "Let me check that order status"}
    assert call["summary"] == DOCUMENTED["summary"]
    assert call["extracted"] == DOCUMENTED["extractedData"]
    assert call["agent_id"] == DOCUMENTED["agentId"]
    assert call["duration_seconds"] == 180
    assert call["from_number"] == "+1234567890"
    assert call["started_at"] == "2024-01-15T10:30:00+00:00"
    assert [(turn["speaker"], turn["text"]) for turn in body["turns"]] == [
        ("agent", "Hello, how can I help you today?"),
        ("customer", "I would like to know about your pricing..."),
    ]
    for name in ("Transfer to Manager", DOCUMENTED["summary"], "john.doe@example.com", "about your pricing"):
        assert name in text
    assert len(listed.resources) == 1
    everything = [text.encode(), json.dumps(body).encode(), repr(read).encode(), repr(listed).encode()]
    everything += [file.read_bytes() for file in (*tmp_path.glob("calls.db*"), log_file)]
    for place in everything:
        assert b"token123" not in place
        assert b"apiDetails" not in place
        assert TOKEN.encode() not in place


async def test_a_wrong_token_is_told_with_the_variable_to_fix(tmp_path: Path) -> None:
    with vendor([DOCUMENTED]) as origin:
        settings = environment(origin, tmp_path / "calls.db", HIGHLEVEL_TOKEN="wrong-token")
        async with client_of(settings, tmp_path / "stderr") as client:
            text, body, failed = await ask(client, "list_calls")
            accounts, _, _ = await ask(client, "list_accounts")
    assert not failed
    [account] = body["coverage"]["accounts"]
    assert body["coverage"]["complete"] is False
    assert account["state"] == "parked"
    assert "HTTP 401" in account["problem"]
    for channel in (account["next_step"], text, accounts):
        assert "HIGHLEVEL_TOKEN" in channel
    assert "wrong-token" not in text + json.dumps(body) + accounts + (tmp_path / "stderr").read_text()


async def test_a_vendor_that_is_down_delays_an_answer_by_no_more_than_the_wait(tmp_path: Path) -> None:
    """The calls that are held are still answered, and the answer says that they may not be all."""
    database = tmp_path / "calls.db"
    with vendor([DOCUMENTED]) as origin:
        async with client_of(environment(origin, database), tmp_path / "stderr") as client:
            assert (await ask(client, "list_calls"))[1]["total"] == 1
    settings = environment(origin, database, CALL_LOGS_WAIT="1s", CALL_LOGS_MAX_AGE="0")
    async with client_of(settings, tmp_path / "stderr") as client:
        with anyio.fail_after(5):
            text, body, failed = await ask(client, "list_calls")
    assert not failed
    assert body["total"] == 1
    assert body["coverage"]["complete"] is False
    assert body["coverage"]["accounts"][0]["state"] == "down"
    assert "could not be reached" in text


async def test_hostile_characters_reach_no_output_and_the_server_lives(tmp_path: Path) -> None:
    hostile = "bot:Hi \ud83d there\x00 \u202eevil\u202c \u200b\ufeffend\nhuman:I am \udc00 fine\n"
    began = datetime.now(UTC) - timedelta(hours=1)
    logs = [log(1, began, hostile, summary="S \ud83d\x00\u202e", extractedData={"k\ud83d": "v\x00\u2066"})]
    body_bytes = json.dumps({"callLogs": logs, "total": 1, "page": 1, "pageSize": 50}).encode()

    async def app(scope: Mapping[str, Any], receive: Any, send: Any) -> None:
        del receive
        body = body_bytes if scope["path"].endswith("/call-logs") else b'{"agents": []}'
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]})
        await send({"type": "http.response.body", "body": body})

    with serving(app) as origin:
        async with client_of(environment(origin, tmp_path / "calls.db"), tmp_path / "stderr") as client:
            text, body, failed = await ask(client, "get_call", call_id=f"highlevel/{1:024x}")
            found, _, _ = await ask(client, "search_transcripts", query="evil\u202e fine")
            resource = repr(await client.read_resource(f"calls://highlevel/{1:024x}/transcript"))
            again, _, _ = await ask(client, "list_calls", with_summary=True)
    assert not failed
    assert "Hi \ufffd there evil end" in text
    assert "1 call matches" in found
    for place in (text, json.dumps(body, ensure_ascii=False), found, resource, again):
        assert not set(place) & set("\x00\u202e\u202c\u200b\ufeff\u2066\ud83d\udc00")


@pytest.mark.slow
async def test_the_newest_of_5000_calls_are_answered_at_once_and_the_rest_arrives(tmp_path: Path) -> None:
    now = datetime.now(UTC)
    logs = [
        log(n, now - timedelta(minutes=10 * n + 5), f"bot:Hello\nhuman:My order number is {n} please\n")
        for n in range(5_000)
    ]
    database = tmp_path / "calls.db"
    settings = {"CALL_LOGS_WAIT": "1s", "CALL_LOGS_MAX_AGE": "1h"}
    with vendor(logs) as origin:
        async with client_of(environment(origin, database, **settings), tmp_path / "stderr") as client:
            text, body, _ = await ask(client, "list_calls", limit=5)
            assert [row["id"][-24:] for row in body["calls"]] == [f"{n:024x}" for n in range(5)]
            assert body["coverage"]["complete"] is False
            assert body["coverage"]["syncing"] is True
            assert "INCOMPLETE" in text
            recent = (await ask(client, "list_calls", since="last 12 hours"))[1]
            assert recent["coverage"]["complete"] is True
            assert recent["total"] == 72
        held = calls_in(database)
        assert 5 <= held < 5_000
        async with client_of(environment(origin, database, **settings), tmp_path / "stderr") as client:
            with anyio.fail_after(25):
                while (await ask(client, "list_calls", limit=1))[1]["coverage"].get("syncing"):
                    pass
            _, body, _ = await ask(client, "search_transcripts", query='"order number is 4999"')
            assert body["coverage"]["complete"] is True
            assert body["total_calls"] == 1
    assert calls_in(database) == 5_000


def calls_in(database: Path) -> int:
    """How many calls the file holds."""
    with sqlite3.connect(database) as db:
        return db.execute("SELECT count(*) FROM call").fetchone()[0]


# -- the process ------------------------------------------------------------------------------------------------


@contextmanager
def spoken_to(settings: Mapping[str, str]) -> Generator[subprocess.Popen[bytes]]:
    """The server, initialised and asked once, with stdin still open."""
    process = subprocess.Popen(
        SERVE, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=dict(settings)
    )
    deadline = threading.Timer(30, process.kill)
    deadline.start()
    try:
        say(process, id=1, method="initialize", params=INITIALIZE)
        assert heard(process)["result"]["serverInfo"]["name"] == "call-logs-mcp"
        say(process, method="notifications/initialized")
        say(process, id=2, method="tools/call", params={"name": "list_calls", "arguments": {}})
        assert heard(process)["id"] == 2
        yield process
    finally:
        deadline.cancel()
        process.kill()
        process.communicate()


def say(process: subprocess.Popen[bytes], **message: Any) -> None:
    """One JSON-RPC message."""
    assert process.stdin is not None
    process.stdin.write(json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n")
    process.stdin.flush()


def heard(process: subprocess.Popen[bytes]) -> dict[str, Any]:
    """The next line, which must be JSON-RPC."""
    assert process.stdout is not None
    answer = json.loads(process.stdout.readline())
    assert answer["jsonrpc"] == "2.0"
    return answer


@pytest.mark.parametrize("ending", ["end of input", "SIGTERM", "SIGINT"])
def test_the_server_leaves_cleanly_within_two_seconds(tmp_path: Path, ending: str) -> None:
    settings = environment("http://127.0.0.1:9", tmp_path / "calls.db", CALL_LOGS_WAIT="0")
    with spoken_to(settings) as process:
        if ending == "end of input":
            assert process.stdin is not None
            process.stdin.close()
            process.stdin = None
        else:
            process.send_signal(signal.Signals[ending])
        assert process.wait(2) == 0
        assert process.stderr is not None
        assert b"Traceback" not in process.stderr.read()
    with sqlite3.connect(tmp_path / "calls.db") as db:
        assert db.execute("PRAGMA integrity_check").fetchone()[0] == "ok"


def test_malformed_frames_do_not_end_the_server(tmp_path: Path) -> None:
    settings = environment("http://127.0.0.1:9", tmp_path / "calls.db", CALL_LOGS_WAIT="0")
    with spoken_to(settings) as process:
        assert process.stdin is not None
        for frame in (b"not json\n", b'{"jsonrpc": "2.0"}\n', b'"\\ud83d"\n', b"\xff\xfe\n", b"[]\n", b"\n"):
            process.stdin.write(frame)
        say(process, id="after", method="tools/call", params={"name": "list_accounts", "arguments": {}})
        while (answer := heard(process)).get("id") != "after":
            pass
        assert answer["result"]["structuredContent"]["accounts"][0]["account"] == "highlevel"


def test_a_wrong_setting_ends_with_code_2_and_names_the_variable(tmp_path: Path) -> None:
    settings = environment("http://127.0.0.1:9", tmp_path / "calls.db", CALL_LOGS_TIMEZONE="Mars/Olympus")
    ended = subprocess.run(SERVE, input=b"", capture_output=True, env=settings, timeout=20, check=False)
    assert ended.returncode == 2
    assert b"CALL_LOGS_TIMEZONE" in ended.stderr
    assert b"Olympus" not in ended.stderr
    assert ended.stdout == b""


def test_an_account_with_a_wrong_setting_is_told_in_answers(tmp_path: Path) -> None:
    settings = environment("http://127.0.0.1:9", tmp_path / "calls.db", HIGHLEVEL_LOCATION_ID="no/slashes")
    with spoken_to(settings) as process:
        say(process, id=3, method="tools/call", params={"name": "list_accounts", "arguments": {}})
        body = heard(process)["result"]["structuredContent"]
    assert body["accounts"][0]["state"] == "misconfigured"
    assert "HIGHLEVEL_LOCATION_ID" in body["accounts"][0]["problem"]
    assert "no/slashes" not in json.dumps(body)
