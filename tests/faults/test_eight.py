"""Eight servers on one database, as hosts start them: one reads an account at a time, and nobody finds it locked."""

import json
import os
import queue
import signal
import statistics
import time
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from processes import running
from tables import FULL, Row
from test_frames import Talk, talking

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

SERVERS = 8
CALLS = 1_000 if FULL else 300
PAGE = 3
"""At the vendors' rates a first pass takes longer than eight servers take to start."""

QUESTIONS = 400 if FULL else 120
SLUGS = ("highlevel", "vyom")
ACCOUNTS = tuple(f"my-{slug}" for slug in SLUGS)


def written(accounts: dict[str, dict[str, str]], folder: Path) -> Path:
    """The accounts as a config file."""
    lines: list[str] = []
    for name, table in accounts.items():
        lines += [f"[accounts.{name}]", *(f"{key} = {json.dumps(value)}" for key, value in table.items())]
    file = folder / "accounts.toml"
    file.write_text("\n".join(lines), encoding="utf-8")
    return file


@contextmanager
def servers(config: Path, count: int, folder: Path, **settings: str) -> Generator[list[Talk]]:
    """So many stdio servers on one database, each with a log of its own."""
    with ExitStack() as stack:
        yield [
            stack.enter_context(
                talking(
                    ["-m", "call_logs"],
                    folder,
                    log=f"stderr-{n}",
                    CALL_LOGS_CONFIG=str(config),
                    CALL_LOGS_HISTORY="90d",
                    CALL_LOGS_WAIT="0",
                    **settings,
                )
            )
            for n in range(count)
        ]


def ask(talk: Talk, tool: str, **arguments: Any) -> dict[str, Any]:
    """The structured channel of an answer."""
    message, _ = talk.ask(f"{time.monotonic_ns()}", "tools/call", {"name": tool, "arguments": arguments})
    assert not message["result"].get("isError"), message
    return message["result"]["structuredContent"]


def held(talk: Talk) -> dict[str, Any]:
    return {one["account"]: one for one in ask(talk, "list_accounts")["accounts"]}


def until_read(talk: Talk, total: int) -> float:
    """Seconds until one server says that all calls of all accounts are held."""
    begun = time.monotonic()
    while time.monotonic() - begun < 120:
        if all(one["state"] == "ok" and one["calls"] == total for one in held(talk).values()):
            return time.monotonic() - begun
    raise queue.Empty


def milliseconds(talk: Talk, questions: int | None) -> list[float]:
    """How long each of so many searches took; None asks until all accounts are read."""
    took: list[float] = []
    while questions is None or len(took) < questions:
        begun = time.monotonic()
        body = ask(talk, "search_transcripts", query="keyword OR appointment", limit=10)
        took.append((time.monotonic() - begun) * 1000)
        if questions is None and body["coverage"]["complete"]:
            break
    return took


def p99(values: list[float]) -> float:
    return statistics.quantiles(values, n=100)[98] if len(values) > 1 else values[0]


def at_once(asked: list[list[Any]]) -> int:
    """How often two processes asked one vendor in turns: each process has a connection of its own."""
    turns = 0
    for slug in SLUGS:
        order = [who for vendor, _, _, who in asked if vendor == slug]
        changes = [who for n, who in enumerate(order) if n == 0 or who != order[n - 1]]
        turns += len(changes) - len(set(changes))
    return turns


def test_of_eight_servers_one_reads_an_account_and_all_answer(tmp_path: Path, row: Row) -> None:
    with running("vendor_process.py", (CALLS, 3600, PAGE, 0, *SLUGS), 400) as vendor:
        config = written(json.loads(vendor.hear()), tmp_path)
        with servers(config, SERVERS, tmp_path, CALL_LOGS_MAX_AGE="1h") as talks:
            begun = time.monotonic()
            during = milliseconds(talks[-1], None)
            until_read(talks[0], CALLS)
            seconds = time.monotonic() - begun
            for talk in talks:
                assert {name: one["calls"] for name, one in held(talk).items()} == dict.fromkeys(ACCOUNTS, CALLS)
            asked = json.loads(vendor.ask("asked"))
            idle = milliseconds(talks[-1], QUESTIONS)
        logs = b"".join(file.read_bytes() for file in tmp_path.glob("stderr-*"))
    lists = [one for one in asked if one[1].endswith(("call-logs", "records"))]
    locked = logs.lower().count(b"locked")
    row(
        "eight servers on one database",
        (
            "servers",
            "calls",
            "pages asked",
            "readers in turns",
            "locked",
            "first pass, s",
            "searches",
            "p99 during, ms",
            "p99 idle, ms",
        ),
        (
            SERVERS,
            len(SLUGS) * CALLS,
            len(lists),
            at_once(lists),
            locked,
            f"{seconds:.1f}",
            len(during),
            f"{p99(during):.0f}",
            f"{p99(idle):.0f}",
        ),
    )
    assert locked == 0, logs
    assert b"Traceback" not in logs
    assert at_once(lists) == 0
    assert len(during) > 20, "the pass was over before anybody asked"
    assert len(lists) <= len(SLUGS) * (CALLS // PAGE + 3), "each page is asked for once, not by each server"


def test_another_server_takes_over_from_a_killed_one(tmp_path: Path, row: Row) -> None:
    """The one that reads is killed in the middle of its first pass."""
    with running("vendor_process.py", (CALLS, 3600, PAGE, 0, *SLUGS), 400) as vendor:
        config = written(json.loads(vendor.hear()), tmp_path)
        with servers(config, SERVERS, tmp_path, CALL_LOGS_MAX_AGE="1h") as talks:
            took: list[float] = []
            left = list(talks)
            for _ in range(2):
                reader = reading(vendor, left)
                left.remove(reader)
                os.kill(reader.process.pid, signal.SIGKILL)
                begun = time.monotonic()
                json.loads(vendor.ask("asked"))
                while not json.loads(vendor.ask("asked")):
                    assert time.monotonic() - begun < 60
                took.append(time.monotonic() - begun)
            until_read(left[0], CALLS)
            counts = [{name: one["calls"] for name, one in held(talk).items()} for talk in left]
        logs = b"".join(file.read_bytes() for file in tmp_path.glob("stderr-*"))
    row(
        "take-over from a killed server",
        ("servers", "killed", "seconds until the vendor was asked again", "locked"),
        (SERVERS, 2, ", ".join(f"{seconds:.2f}" for seconds in took), logs.lower().count(b"locked")),
    )
    assert counts == [dict.fromkeys(ACCOUNTS, CALLS)] * len(left)
    assert b"locked" not in logs.lower()


def reading(vendor: Any, talks: list[Talk]) -> Talk:
    """The server whose connection asked last, by the port that it comes from."""
    until = time.monotonic() + 60
    while time.monotonic() < until:
        asked = json.loads(vendor.ask("asked"))
        ports = {int(who) for _, _, _, who in asked[-3:]}
        for talk in talks:
            if ports & ports_of(talk.process.pid):
                return talk
    raise queue.Empty


def ports_of(pid: int) -> set[int]:
    """The local ports of a process's connections."""
    inodes = set[str]()
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        try:
            inodes.add(str(entry.readlink()).removeprefix("socket:[").removesuffix("]"))
        except OSError:
            continue  # closed meanwhile
    ports: set[int] = set()
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if fields[9] in inodes:
            ports.add(int(fields[1].rpartition(":")[2], 16))
    return ports
