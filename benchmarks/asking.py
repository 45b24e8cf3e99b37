"""Servers over stdio, asked through the SDK's client, and what their answers cost."""

import math
import statistics
import sys
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import anyio
from mcp import Client, StdioServerParameters

from startup import BARE

SERVE = [sys.executable, "-m", "call_logs"]
EMPTY = [sys.executable, "-c", BARE]
ANSWER_SECONDS = 120.0
_PROCESSOR_CLOCK = 2
"""Linux's clock of what another process has used, in the low bits of its id; with threads that have ended."""


class WrongAnswer(Exception):
    """What is measured does not answer rightly, so that its speed means nothing."""


@dataclass
class Server:
    """A running server and its client."""

    client: Client
    process: int

    async def ask(self, tool: str, arguments: Mapping[str, Any]) -> tuple[float, dict[str, Any]]:
        """Seconds until the client has the answer, and its structured part. Raises `WrongAnswer` for an error."""
        with anyio.fail_after(ANSWER_SECONDS):
            began = time.perf_counter()
            result = await self.client.call_tool(tool, dict(arguments))
            took = time.perf_counter() - began
        if result.is_error:
            raise WrongAnswer(f"{tool} {arguments}: {result.content}")
        return took, result.structured_content or {}

    def processor_seconds(self) -> float:
        """What it has used of the processors so far; 0 where the system does not tell."""
        try:
            return time.clock_gettime((~self.process << 3) | _PROCESSOR_CLOCK)
        except (OSError, AttributeError):
            return 0.0

    def memory_mb(self) -> tuple[float, float] | None:
        """Resident memory now, and at its peak; None where the system does not tell."""
        try:
            status = Path(f"/proc/{self.process}/status").read_text(encoding="ascii")
        except OSError:
            return None
        kilobytes = dict(line.split(":", 1) for line in status.splitlines())
        now, peak = (int(kilobytes[name].split()[0]) / 1e3 for name in ("VmRSS", "VmHWM"))
        return now, peak


@asynccontextmanager
async def running(command: Sequence[str], environment: Mapping[str, str]) -> AsyncGenerator[Server]:
    """The server, initialised."""
    with TemporaryDirectory() as folder:
        own = Path(folder) / "pid"
        parameters = StdioServerParameters(
            command="sh",
            args=["-c", 'echo $$ > "$0"; exec "$@" 2>/dev/null', str(own), *command],
            env=dict(environment),
        )
        async with Client(parameters) as client:
            yield Server(client, int(own.read_text(encoding="ascii")))


@dataclass
class Measured:
    """Seconds of each question, in the order in which it was repeated, and of the empty tool between them."""

    seconds: list[list[float]]
    floors: list[float] = field(default_factory=list[float])
    bodies: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    processor: float = 0.0
    """Processor seconds of the server for one question, on average, less those of the empty tool's for its own."""

    @property
    def typical(self) -> list[float]:
        """Each question's median."""
        return [statistics.median(taken) for taken in self.seconds]

    @property
    def first(self) -> list[float]:
        """Each question's first time."""
        return [taken[0] for taken in self.seconds]

    @property
    def floor(self) -> float:
        """The empty tool's median."""
        return statistics.median(self.floors) if self.floors else 0.0


async def measured(
    server: Server, empty: Server, tool: str, asked: Sequence[Mapping[str, Any]], rounds: int
) -> Measured:
    """Ask all, and all again, with the empty tool after each, so that a busy machine slows both."""
    result = Measured([[] for _ in asked])
    before = server.processor_seconds() - empty.processor_seconds()
    for n in range(rounds):
        for taken, arguments in zip(result.seconds, asked, strict=True):
            seconds, body = await server.ask(tool, arguments)
            taken.append(seconds)
            if n == 0:
                result.bodies.append(body)
            result.floors.append((await empty.ask("list_calls", {}))[0])
    result.processor = (server.processor_seconds() - empty.processor_seconds() - before) / max(1, len(result.floors))
    return result


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that `share` of them do not exceed."""
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


def ms(seconds: float) -> str:
    """Milliseconds in three digits."""
    value = 1000 * seconds
    return f"{value:.0f}" if value >= 99.5 else f"{value:.1f}" if value >= 9.95 else f"{value:.2f}"


def halves(values: Sequence[float], less: float = 0.0) -> str:
    """ "p50 / p95" in milliseconds, less a floor."""
    return " / ".join(ms(max(0.0, percentile(values, share) - less)) for share in (0.5, 0.95))
