"""The process over stdio: no frame and no answer ends it, and what it writes is JSON-RPC in strict UTF-8."""

import json
import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from queue import Queue
from typing import Any

import pytest
from processes import SOURCES
from tables import FULL, Row

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

SEED = 20_261_120
FRAMES = 20_000 if FULL else 4_000
RESULTS = 2_000 if FULL else 500
ANSWER_SECONDS = 60.0
INITIALIZE = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}}
METHODS = (
    "tools/call",
    "tools/list",
    "resources/read",
    "prompts/get",
    "initialize",
    "ping",
    "completion/complete",
    "x/y",
)
TOOLS = ("list_calls", "get_call", "search_transcripts", "count_calls", "list_accounts", "nothing", "", "\ud83d")
IDS: tuple[Any, ...] = (*range(9), "a", None, -1, 1.5, 2**70, [], {}, "\ud83d")
VALUES: tuple[Any, ...] = (
    *(None, True, -1, 0, 2**63, 10**400, 1e308, float("nan"), "", "\0", "\ud83d", "x" * 9_000, "../..", [], {}),
    *([None] * 50, {"": ""}, {"name": "list_calls", "arguments": {}}, "calls://a/b/transcript", "2.0"),
)


class Talk:
    """The server's process, whose answers a thread collects."""

    def __init__(self, process: "subprocess.Popen[bytes]") -> None:
        self.process = process
        self.heard: Queue[bytes] = Queue()
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.heard.put(line)
        self.heard.put(b"")

    def write(self, frame: bytes) -> None:
        """A frame as it is."""
        assert self.process.stdin is not None
        self.process.stdin.write(frame.replace(b"\n", b" ") + b"\n")
        self.process.stdin.flush()

    def ask(self, number: str, method: str, params: dict[str, Any]) -> tuple[dict[str, Any], int]:
        """The answer to a request, and how many other lines came before it; each must be JSON-RPC in strict UTF-8."""
        self.write(json.dumps({"jsonrpc": "2.0", "id": number, "method": method, "params": params}).encode())
        others = 0
        until = time.monotonic() + ANSWER_SECONDS
        while True:
            line = self.heard.get(timeout=max(0.0, until - time.monotonic()))
            assert line, "the process has ended"
            message = json.loads(line.decode("utf-8"), parse_constant=_refuse)
            assert message["jsonrpc"] == "2.0"
            json.dumps(message, ensure_ascii=False).encode("utf-8")  # an escaped lone surrogate is none either
            if message.get("id") == number:
                return message, others
            others += 1


def _refuse(constant: str) -> None:
    pytest.fail(f"{constant} is not JSON")


@contextmanager
def talking(command: Sequence[str], folder: Path, log: str = "stderr", **settings: str) -> Generator[Talk]:
    """A server, initialised; with no account unless the settings name some."""
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": SOURCES,
        "CALL_LOGS_DATABASE": str(folder / "calls.db"),
        "CALL_LOGS_TIMEZONE": "UTC",
        **settings,
    }
    with (folder / log).open("wb") as errors:
        process = subprocess.Popen(
            [sys.executable, *command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, env=environment
        )
        try:
            talk = Talk(process)
            talk.ask("begin", "initialize", INITIALIZE)
            talk.write(b'{"jsonrpc": "2.0", "method": "notifications/initialized"}')
            yield talk
        finally:
            process.kill()
            process.communicate()


def frame(rng: random.Random) -> bytes:
    """A line that may be anything."""
    message: Any = {
        "jsonrpc": rng.choice(("2.0", "2.0", "2.0", "1.0", 2, None)),
        "id": rng.choice(IDS),
        "method": rng.choice((*METHODS, *METHODS, *VALUES)),
        "params": rng.choice(
            (
                {
                    "name": rng.choice(TOOLS),
                    "arguments": {rng.choice(("limit", "since", "x", "\0")): rng.choice(VALUES)},
                },
                {"uri": rng.choice(VALUES)},
                rng.choice(VALUES),
            )
        ),
    }
    for name in rng.sample(list(message), rng.choice((0, 0, 1, 2))):
        del message[name]
    message = [message] * rng.choice((0, 2)) if rng.random() < 0.05 else message
    line = json.dumps(message).encode()
    at = rng.randrange(len(line) + 1)
    match rng.randrange(9):
        case 0:
            return line[:at]
        case 1:
            return line[:at] + rng.randbytes(rng.randrange(1, 20)) + line[at:]
        case 2:
            return rng.randbytes(rng.randrange(200))
        case 3:
            depth = rng.choice((10, 1_000, 50_000))
            return (
                b'{"jsonrpc": "2.0", "id": 1, "method": "ping", "params": {"a": ' + b"[" * depth + b"]" * depth + b"}}"
            )
        case 4:
            return line.replace(b'"', rng.choice((b"'", b"\xff", b"\xed\xa0\x80", b"")), rng.randrange(1, 5))
        case _:
            return line


def test_no_frame_ends_the_server(tmp_path: Path, row: Row) -> None:
    rng = random.Random(SEED)
    begun = time.monotonic()
    answers = 0
    with talking(["-m", "call_logs"], tmp_path) as talk:
        for number in range(FRAMES):
            talk.write(frame(rng))
            if number % 500 == 499:
                message, others = talk.ask(f"after {number}", "tools/call", {"name": "list_accounts", "arguments": {}})
                answers += others
                assert "No account is configured" in json.dumps(message["result"])
        alive = talk.process.poll() is None
    row(
        "stdio",
        ("what", "seed", "sent", "answered", "deaths", "seconds"),
        ("malformed frames", SEED, FRAMES, answers, 0 if alive else 1, f"{time.monotonic() - begun:.0f}"),
    )
    assert alive


def test_no_answer_ends_the_server(tmp_path: Path, row: Row) -> None:
    begun = time.monotonic()
    errors = 0
    with talking([str(Path(__file__).with_name("hostile_server.py"))], tmp_path) as talk:
        for number in range(RESULTS):
            arguments = {"name": "hostile", "arguments": {"seed": SEED + number}}
            message, _ = talk.ask(f"n{number}", "tools/call", arguments)
            errors += "error" in message or message["result"].get("isError", False)
        message, _ = talk.ask("after", "tools/call", {"name": "list_accounts", "arguments": {}})
        alive = talk.process.poll() is None
    row(
        "stdio",
        ("what", "seed", "sent", "answered", "deaths", "seconds"),
        ("hostile results", SEED, RESULTS, RESULTS, 0 if alive else 1, f"{time.monotonic() - begun:.0f}"),
    )
    assert RESULTS / 5 < errors < RESULTS / 2
    assert alive
