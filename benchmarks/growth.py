"""How much longer a search takes with ten times the calls: two servers, asked in turns, so that a busy machine slows both.

    python benchmarks/growth.py [SMALLER LARGER] [--cache DIR] [--reuse] [--out table.md]

Sizes are those of `run.py` (100k and 1M unless given), and the databases those that it fills and keeps.
"""

import argparse
import os
import platform
import statistics
from pathlib import Path
from typing import Any

import anyio
import platformdirs

import questions
from asking import EMPTY, SERVE, Measured, Server, halves, ms, percentile, running
from run import Setup, Table, prepared, said
from yardsticks import Question

SIZES = 2
ROUNDS = 9
"""How often each question is asked of both: two servers on one machine disturb each other's."""


async def _both(servers: list[Server], empty: Server, asked: list[Question], rounds: int) -> list[Measured]:
    """The same questions to each server, one after the other, the first one first every other time."""
    found = [Measured([[] for _ in asked]) for _ in servers]
    before = [server.processor_seconds() for server in servers]
    for n in range(rounds):
        for place, question in enumerate(asked):
            for one in (range(len(servers)), range(len(servers) - 1, -1, -1))[(n + place) % 2]:
                arguments: dict[str, Any] = {"query": question.query, **question.filters}
                taken, body = await servers[one].ask("search_transcripts", arguments)
                found[one].seconds[place].append(taken)
                if n == 0:
                    found[one].bodies.append(body)
                found[one].floors.append((await empty.ask("list_calls", {}))[0])
    for measured, server, used in zip(found, servers, before, strict=True):
        measured.processor = (server.processor_seconds() - used) / max(1, len(measured.floors))
    return found


def _row(name: str, first: Measured, second: Measured) -> tuple[str, ...]:
    floor = statistics.median(first.floors + second.floors)
    ratios = [
        (percentile(second.typical, share) - floor) / (percentile(first.typical, share) - floor)
        for share in (0.5, 0.95)
    ]
    matching = [statistics.median(body["total_calls"] for body in one.bodies) for one in (first, second)]
    quoted = [statistics.median(len(body["hits"]) for body in one.bodies) for one in (first, second)]
    return (
        name,
        " / ".join(f"{number:,.0f}" for number in matching),
        " / ".join(f"{number:.0f}" for number in quoted),
        halves(first.typical, floor),
        halves(second.typical, floor),
        " / ".join(f"{ratio:.2f}" for ratio in ratios),
        f"{second.processor / first.processor:.2f}",
    )


async def table(setups: list[Setup]) -> Table:
    """A row for each class of question."""
    sizes = [f"{setup.size:,} calls" for setup in setups]
    made = Table(
        "Growth",
        (
            "`search_transcripts`, 10 hits",
            "calls that match, median",
            "quotes, median",
            *(f"{size}: p50 / p95" for size in sizes),
            "ratio",
            "processor: ratio",
        ),
    )
    classes = questions.read(setups[0].facts["questions"])  # what is rare is told by the smaller one
    floors: list[float] = []
    async with (
        running(EMPTY, setups[0].environment) as empty,
        running(SERVE, setups[0].environment) as smaller,
        running(SERVE, setups[1].environment) as larger,
    ):
        servers = [smaller, larger]
        for server in (empty, *servers):
            await server.ask("list_calls", {})
        for name, asked in classes.items():
            said(name)
            found = await _both(servers, empty, asked, setups[0].rounds)
            made.rows.append(_row(name, *found))
            floors += [floor for one in found for floor in one.floors]
    made.notes.append(
        f"Less the floor, an empty tool's answer between the questions: {ms(statistics.median(floors))} ms. Both are asked the "
        f"same questions. Each is asked {setups[0].rounds} times and counts with its median; the processor's ratio is of all of them, the first times "
        "included."
    )
    return made


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("sizes", nargs="*", default=["100k", "1M"], help="two of run.py's sizes")
    parser.add_argument("--cache", type=Path, default=Path(platformdirs.user_cache_dir("call-logs-benchmark")))
    parser.add_argument("--reuse", action="store_true", help="take earlier databases, whatever has changed since")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="how often each question is asked")
    parser.add_argument("--out", type=Path, help="a file for the table, which is printed as well")
    given = parser.parse_args()
    fixed = {"store": "sqlite", "rebuild": False, "seconds": 0.0}
    if len(given.sizes) != SIZES:
        raise SystemExit("give two sizes, the smaller one first")
    setups = [prepared(argparse.Namespace(**vars(given), **fixed, size=size)) for size in given.sizes]
    told = anyio.run(table, setups)
    head = f"SQLite, Python {platform.python_version()}, {os.cpu_count()} cores, milliseconds."
    print(f"{head}\n\n{told.markdown()}")
    if given.out:
        given.out.write_text(f"{head}\n\n{told.markdown()}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
