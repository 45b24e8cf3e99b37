"""The team server under load: requests a second and waiting times at 1, 8 and 64 clients, beside a bare one-tool server.

    PYTHONPATH=server python benchmarks/load.py 100k --cache DIR [--seconds 5]

Both servers run at the same time with the same options of uvicorn and are asked in turns, so that a busy machine slows both.
The clients are raw sockets in this process, which shares the processors with the servers: figures are of both together.
"""

import argparse
import asyncio
import json
import socket
import subprocess
import sys
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from asking import WrongAnswer, ms, percentile
from run import Table, prepared, said

CLIENTS = (1, 8, 64)
MODERN = "2026-07-28"
START_SECONDS = 60.0
ANSWER_SECONDS = 120.0
BARE = """
import sys
import uvicorn
from mcp.server import MCPServer
mcp = MCPServer("bare", log_level="WARNING")
@mcp.tool()
def list_calls() -> str:
    return "nothing"
uvicorn.run(mcp.streamable_http_app(stateless_http=True), port=int(sys.argv[1]), log_config=None, access_log=False)
"""
QUESTIONS: dict[str, Sequence[Mapping[str, Any]]] = {
    "list_calls": [{}, {"status": "failed"}, {"limit": 50}, {"account": "bimpe"}],
    "search_transcripts": [
        {"query": word} for word in ("refund", '"money back"', "appointment", "invoice", "cancel my order")
    ],
}


@dataclass
class Load:
    """What the clients of one setting saw."""

    seconds: float
    waits: list[float] = field(default_factory=list[float])

    @property
    def rate(self) -> float:
        """Answers a second."""
        return len(self.waits) / self.seconds


@contextmanager
def server(command: Sequence[str], environment: Mapping[str, str]) -> Generator[int]:
    """A server on a free port, once it answers."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
    process = subprocess.Popen([*command, str(port)], env=dict(environment), stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                if process.poll() is not None or time.monotonic() > deadline:
                    raise WrongAnswer(f"{command[0]} does not start") from None
                time.sleep(0.05)
        yield port
    finally:
        process.terminate()
        process.wait(30)


def request(port: int, tool: str, arguments: Mapping[str, Any]) -> bytes:
    """A whole HTTP request for one call of a tool, which needs no session."""
    meta: dict[str, Any] = {
        "io.modelcontextprotocol/protocolVersion": MODERN,
        "io.modelcontextprotocol/clientCapabilities": {},
    }
    params = {"name": tool, "arguments": arguments, "_meta": meta}
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}).encode()
    head = (
        f"POST /mcp HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\ncontent-type: application/json\r\n"
        f"accept: application/json, text/event-stream\r\nmcp-protocol-version: {MODERN}\r\nmcp-method: tools/call\r\n"
        f"mcp-name: {tool}\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


async def answered(reader: asyncio.StreamReader) -> bytes:
    """The body of one response, whatever its length is told by."""
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    if not head.startswith(b"http/1.1 200"):
        raise WrongAnswer(head.decode("latin-1").splitlines()[0])
    length = next((int(line[15:]) for line in head.split(b"\r\n") if line.startswith(b"content-length:")), None)
    if length is not None:
        return await reader.readexactly(length)
    body = b""
    while size := int(await reader.readline(), 16):
        body += await reader.readexactly(size)
        await reader.readline()
    await reader.readline()
    return body


async def load(port: int, requests: Sequence[bytes], clients: int, seconds: float) -> Load:
    """So many clients, each asking one question after the other."""
    found = Load(seconds)
    begun = time.perf_counter()

    async def one(n: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            while (now := time.perf_counter()) - begun < seconds:
                writer.write(requests[n % len(requests)])
                body = await asyncio.wait_for(answered(reader), ANSWER_SECONDS)
                found.waits.append(time.perf_counter() - now)
                if b'"isError":true' in body or b'"error":{' in body:
                    raise WrongAnswer(body[:300].decode())
                n += 1
        finally:
            writer.close()

    await asyncio.gather(*(one(n) for n in range(clients)))
    found.seconds = time.perf_counter() - begun
    return found


def measure(given: argparse.Namespace) -> Table:
    """The table."""
    setup = prepared(given)
    header = ("what", "clients", "answers/s", "p50 / p99 ms", "bare: answers/s", "p50 / p99 ms", "ratio")
    table = Table(f"The team server with {setup.size:,} calls", header)
    ours = [sys.executable, "-m", "call_logs", "serve", "--http", "--port"]
    environment = setup.environment | {"CALL_LOGS_REQUESTS_PER_MINUTE": "0"}
    with ExitStack() as stack:
        port = stack.enter_context(server(ours, environment))
        bare = stack.enter_context(server([sys.executable, "-c", BARE], environment))
        nothing = [request(bare, "list_calls", {})]
        for tool, asked in QUESTIONS.items():
            requests = [request(port, tool, arguments) for arguments in asked]
            asyncio.run(load(port, requests, 1, 1.0))  # what is read for the first time
            for clients in CLIENTS:
                said(f"{tool}, {clients} clients")
                floor = asyncio.run(load(bare, nothing, clients, given.seconds))
                found = asyncio.run(load(port, requests, clients, given.seconds))
                table.rows.append(
                    (
                        f"`{tool}`",
                        str(clients),
                        f"{found.rate:.0f}",
                        waits(found),
                        f"{floor.rate:.0f}",
                        waits(floor),
                        f"{found.rate / floor.rate:.2f}",
                    )
                )
    return table


def waits(found: Load) -> str:
    """ "p50 / p99" in milliseconds."""
    return " / ".join(ms(percentile(found.waits, share)) for share in (0.5, 0.99))


def main() -> None:
    """Print the table, or write it."""
    arguments = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    arguments.add_argument("size", nargs="?", default="10k")
    arguments.add_argument("--cache", type=Path, required=True)
    arguments.add_argument("--seconds", type=float, default=5.0)
    arguments.add_argument("--out", type=Path)
    given = arguments.parse_args(namespace=argparse.Namespace(store="sqlite", rebuild=False, reuse=False, rounds=1))
    text = measure(given).markdown()
    if given.out:
        given.out.write_text(text + "\n", encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
