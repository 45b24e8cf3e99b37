"""From spawning the server to its first answer, beside a bare one-tool `mcp` server in the same run.

    python benchmarks/startup.py [ROUNDS]

Three cases: no account and an empty store; an account whose 120 calls were read less than `CALL_LOGS_MAX_AGE` ago, so
that the store answers; and the same with a pass that is due, which the answer waits for over loopback HTTP.
Rounds alternate between the servers, so that a busy machine slows all of them. Medians are printed, and their ratio to
the bare server's.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from call_logs.sandbox import running

BARE = """
import anyio
from mcp.server import MCPServer
mcp = MCPServer("bare", log_level="WARNING")
@mcp.tool()
def list_calls() -> str:
    return "nothing"
mcp.run()
"""
INITIALIZE = {
    "protocolVersion": "2025-11-25",
    "capabilities": {},
    "clientInfo": {"name": "benchmark", "version": "1"},
}


def first_answer(command: Sequence[str], environment: Mapping[str, str]) -> tuple[float, float]:
    """Seconds from spawn to the answer of `initialize`, and to the result of the first tool call."""
    began = time.perf_counter()
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=dict(environment)
    ) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        messages: list[dict[str, Any]] = [
            {"id": 1, "method": "initialize", "params": INITIALIZE},
            {"method": "notifications/initialized"},
            {"id": 2, "method": "tools/call", "params": {"name": "list_calls", "arguments": {}}},
        ]
        for message in messages:
            server.stdin.write(json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n")
        server.stdin.flush()
        initialized = 0.0
        for line in server.stdout:
            answer = json.loads(line)
            if answer.get("id") == 1:
                initialized = time.perf_counter() - began
            if answer.get("id") == 2:
                assert not answer["result"].get("isError"), answer
                break
        took = time.perf_counter() - began
        server.stdin.close()
        server.wait(10)
    return initialized, took


def main(rounds: int) -> None:
    """Measure and print."""
    ours = [sys.executable, "-m", "call_logs"]
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("CALL_LOGS", "HIGHLEVEL"))}
    with running() as sandbox, tempfile.TemporaryDirectory() as folder:
        account = sandbox.accounts["demo-highlevel"]
        filled = clean | {f"HIGHLEVEL_{name.upper()}": value for name, value in account.items() if name != "provider"}
        filled["CALL_LOGS_DATABASE"] = str(Path(folder) / "filled.db")
        subprocess.run([*ours, "sync"], env=filled, check=True, capture_output=True)
        cases: dict[str, tuple[Sequence[str], Mapping[str, str]]] = {
            "bare mcp server": ([sys.executable, "-c", BARE], clean),
            "no account, empty store": (ours, clean | {"CALL_LOGS_DATABASE": str(Path(folder) / "empty.db")}),
            "120 calls, read lately": (ours, filled | {"CALL_LOGS_MAX_AGE": "1h"}),
            "120 calls, a pass is due": (ours, filled | {"CALL_LOGS_MAX_AGE": "0"}),
        }
        times: dict[str, list[float]] = {name: [] for name in cases}
        for _ in range(rounds):
            for name, (command, environment) in cases.items():
                times[name].append(first_answer(command, environment)[1])
    bare = statistics.median(times["bare mcp server"])
    print(f"{'spawn to first answer':32} {'median':>8} {'ratio':>6}   ({rounds} rounds)")
    for name, taken in times.items():
        middle = statistics.median(taken)
        print(f"{name:32} {1000 * middle:5.0f} ms {middle / bare:6.2f}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 15)
