"""Fills databases with the corpus, each in a process of its own, whose figures are this one's output (JSON).

python benchmarks/build.py store CALLS             into CALL_LOGS_DATABASE, for the accounts of CALL_LOGS_CONFIG
python benchmarks/build.py yardsticks CALLS FOLDER the engines to compare with, questions, truths
python benchmarks/build.py sync PROVIDER           a whole pass over the vendor of CALL_LOGS_CONFIG, at full speed
python benchmarks/build.py write CALLS [PAGES]     saves calls again, changed, until it is killed; so many pages a second
"""

import functools
import itertools
import json
import resource
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict
from importlib import import_module
from pathlib import Path
from typing import Any

import corpus
import questions
import yardsticks
from call_logs.config import load
from call_logs.model import Call
from call_logs.store import Marks, Store, open_store

PAGE_CALLS = 50
"""As many as a vendor's page has."""

PREPARED_CHUNKS = 12
SAMPLED = 4_000
UNLIMITED = (100_000, 1.0)


def store(size: int) -> dict[str, Any]:
    """Every call through the store's `save_page`, newest first, fifty calls of an account at a time."""
    config = load()
    held = open_store(config.database)
    for account in config.accounts:
        held.open_account(account.name, account.provider.slug, account.tenant, account.scope)
    if any(row.calls for row in held.accounts([account.name for account in config.accounts])):
        raise SystemExit("the database holds calls already: give the benchmark an empty one")
    pages: dict[str, list[Call]] = {account.name: [] for account in config.accounts}
    spent = [0.0, 0.0]
    for chunk in corpus.newest_first(size):
        for call in chunk.calls:
            pages[call.account].append(call)
            if len(pages[call.account]) == PAGE_CALLS:
                _save(held, call.account, pages, spent)
    for name in pages:
        _save(held, name, pages, spent)
    began = time.perf_counter(), time.process_time()
    held.build_index(lambda: True)
    for name in pages:
        held.save_page(name, [], Marks(high=corpus.END, low=corpus.END - corpus.YEARS))
        held.note(name, "ok")
    spent = [spent[0] + time.perf_counter() - began[0], spent[1] + time.process_time() - began[1]]
    held.close()
    return {"calls": size, "seconds": spent[0], "cpu": spent[1], "peak_mb": _peak_mb()}


def _save(held: Store, account: str, pages: dict[str, list[Call]], spent: list[float]) -> None:
    """Save the page of the account; `spent` grows by the seconds of the clock and of the processor."""
    calls, pages[account] = pages[account], []
    began = time.perf_counter(), time.process_time()
    held.save_page(account, calls)
    spent[0] += time.perf_counter() - began[0]
    spent[1] += time.process_time() - began[1]


def engines(size: int, folder: Path) -> dict[str, Any]:
    """Plain FTS5 and tantivy over the same texts; the questions, by FTS5's frequencies; the truths."""
    told: dict[str, Any] = {"calls": size, "planted": [], "seconds": {}}
    sample: list[Call] = []

    def calls(*, first: bool) -> Iterator[Call]:
        for chunk in corpus.newest_first(size):
            if first and chunk.planted:
                told["planted"].append(asdict(chunk.planted))
            if first and len(sample) < SAMPLED:
                sample.extend(call for call in chunk.calls if call.turns and not call.is_test)
            yield from chunk.calls

    for engine in yardsticks.installed(folder):
        began = time.perf_counter()
        engine.build(calls(first=isinstance(engine, yardsticks.PlainFTS5)))
        told["seconds"][engine.name] = time.perf_counter() - began
        if isinstance(engine, yardsticks.PlainFTS5):
            about = [
                questions.filters_of(call.agent_id or "", str(call.status), call.from_number or "", call.started_at)
                for call in sample[:: max(1, len(sample) // questions.EACH)]
                if call.from_number
            ]
            told["questions"] = questions.chosen(size, engine.words(), about)
            told["longest"] = max(sample, key=lambda call: len(call.turns)).id
            told["phones"] = [call.from_number for call in sample[: questions.EACH]]
            told["agents"] = list(dict.fromkeys(call.agent_id for call in sample))[: questions.EACH]
    return told


def sync(provider: str) -> dict[str, Any]:
    """`call-logs-mcp sync` as it is, but for the vendor's rate, which would be all that is measured."""
    from call_logs.__main__ import cli  # noqa: PLC0415 - only here

    vendor: Any = import_module(f"call_logs.providers.{provider}")
    vendor.RATE = UNLIMITED
    began, cpu = time.perf_counter(), time.process_time()
    try:
        cli.main(["sync"], standalone_mode=False)
    except SystemExit as ended:
        if ended.code:
            raise
    return {"seconds": time.perf_counter() - began, "cpu": time.process_time() - cpu, "peak_mb": _peak_mb()}


def write(size: int, pages_a_second: float | None = None) -> None:
    """Saves pages of calls with another cost, as a vendor's late corrections do; a line after each page."""
    config = load()
    held = open_store(config.database)
    pages: dict[str, list[Call]] = {account.name: [] for account in config.accounts}
    for number in range(min(PREPARED_CHUNKS, size // corpus.CHUNK_CALLS)):
        for call in corpus.chunk(number).calls:
            pages[call.account].append(call)
    due = time.perf_counter()
    for account, calls in itertools.cycle(pages.items()):
        if pages_a_second is not None:
            due += 1 / pages_a_second
            time.sleep(max(0.0, due - time.perf_counter()))
        changed = [call.model_copy(update={"cost": time.time()}) for call in calls[:PAGE_CALLS]]
        began = time.perf_counter()
        held.save_page(account, changed)
        print(json.dumps({"calls": len(changed), "seconds": time.perf_counter() - began}), flush=True)


def _peak_mb() -> float:
    """The most memory that this process held. Linux counts that of the process that started it into `ru_maxrss`."""
    status = Path("/proc/self/status")
    if status.exists():
        return next(int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith("VmHWM:")) / 1e3
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1e6 if sys.platform == "darwin" else 1e3)


def main(what: str, first: str, *rest: str) -> None:
    """Do one of them and print its figures."""
    if what == "write":
        write(int(first), *map(float, rest))
        return
    told = {
        "store": lambda: store(int(first)),
        "yardsticks": lambda: engines(int(first), Path(rest[0])),
        "sync": functools.partial(sync, first),
    }[what]()
    print(f"\n{json.dumps(told, ensure_ascii=False)}")


if __name__ == "__main__":
    main(*sys.argv[1:])
