"""How fast the whole of it is, as a client sees it; one table in Markdown.

    python benchmarks/run.py [1k|10k|100k|1M] [--store sqlite|postgresql://…] [--out table.md]

Fills a database with the made-up calls of `corpus.py` (kept in a cache folder, so that a second run only asks), asks the
server over stdio through the SDK's client, and compares with an empty server of the same SDK, plain FTS5 and tantivy in
the same run. Planted truths are asserted first: a fast wrong answer ends the run.

A PostgreSQL database must be empty or hold an earlier run's calls of the same size.
"""

import argparse
import hashlib
import json
import os
import platform
import re
import resource
import sqlite3
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

import anyio
import platformdirs

import corpus
import questions
from asking import EMPTY, SERVE, Measured, Server, WrongAnswer, halves, measured, ms, percentile, running
from reading import SYNCED, accounts_of, child, environment_of, synced
from startup import first_answer
from yardsticks import PlainFTS5, Question, Tantivy, installed

HERE = Path(__file__).parent
STORE = HERE.parent / "server/call_logs/store"
CLOSED = "http://127.0.0.1:9"
"""Where the vendors would be, if a server asked them: nothing listens there."""

ROUNDS = 3
STARTS = 5
DEEP_PAGE = 200
READERS = 8
VENDOR_PAGES = 9
CONCURRENT_SECONDS = 6.0
MOST_TRUTHS = 60


@dataclass
class Table:
    """One part of the report."""

    title: str
    header: tuple[str, ...]
    rows: list[tuple[str, ...]] = field(default_factory=list[tuple[str, ...]])
    notes: list[str] = field(default_factory=list[str])

    def markdown(self) -> str:
        """With its title."""
        lines = [f"| {' | '.join(cells)} |" for cells in (self.header, ("---",) * len(self.header), *self.rows)]
        return "\n".join((f"### {self.title}", "", *lines, *(f"\n{note}" for note in self.notes)))


@dataclass(frozen=True)
class Setup:
    """What all parts of a run share."""

    size: int
    database: str
    environment: dict[str, str]
    engines: Path
    facts: dict[str, Any]
    ingest: dict[str, Any]
    rounds: int
    seconds: float

    @property
    def is_file(self) -> bool:
        """Whether the database is a file of ours."""
        return "://" not in self.database


BEGAN = time.perf_counter()


def said(text: str) -> None:
    """Progress, beside the table."""
    print(f"[{time.perf_counter() - BEGAN:6.1f} s] {text}", file=sys.stderr, flush=True)


# -- databases --------------------------------------------------------------------------------------------------


def prepared(given: argparse.Namespace) -> Setup:
    """The filled databases: those of an earlier run, where nothing has changed that shapes them."""
    size, where, cache = sized(given.size), str(given.store), given.cache.expanduser().absolute()
    made_by = _digest([HERE / "corpus.py", HERE / "questions.py", HERE / "yardsticks.py", *HERE.glob("languages/*")])
    engines = cache / f"engines-{size}-{made_by}{'' if _has_tantivy() else '-no-tantivy'}"
    is_file = where == "sqlite"
    name = "sqlite" if is_file else f"server-{hashlib.blake2b(where.encode(), digest_size=4).hexdigest()}"
    folder = cache / f"{name}-{size}-{_shape(made_by)}"
    if given.reuse and not (folder / "figures.json").exists():
        earlier = sorted(cache.glob(f"{name}-{size}-*/figures.json"), key=lambda file: file.stat().st_mtime)
        folder = earlier[-1].parent if earlier else folder
    folder.mkdir(parents=True, exist_ok=True)
    engines.mkdir(parents=True, exist_ok=True)
    accounts = folder / "accounts.toml"
    accounts.write_text(accounts_of(dict.fromkeys(corpus.PROVIDERS, CLOSED), "bench-"), encoding="utf-8")
    database = str(folder / "calls.db") if is_file else where
    environment = environment_of(accounts, database)
    if is_file and (given.rebuild or not (folder / "figures.json").exists()):
        for file in folder.glob("calls.db*"):
            file.unlink()
    facts = _once(engines / "facts.json", environment, "yardsticks", str(size), str(engines))
    ingest = _once(folder / "figures.json", environment, "store", str(size), again=given.rebuild)
    return Setup(size, database, environment, engines, facts, ingest, given.rounds, given.seconds)


def _once(figures: Path, environment: Mapping[str, str], *arguments: str, again: bool = False) -> dict[str, Any]:
    """A process of `build.py`, whose figures are kept once it is done."""
    if again or not figures.exists():
        if arguments[0] == "yardsticks":
            for file in figures.parent.glob("fts5.db*"):
                file.unlink()
            for file in figures.parent.glob("tantivy/*"):
                file.unlink()
        said(f"filling: {arguments[0]}")
        told = child(environment, *arguments)
        figures.write_text(json.dumps(told, ensure_ascii=False), encoding="utf-8")
    return json.loads(figures.read_text(encoding="utf-8"))


def _shape(made_by: str) -> str:
    """What a filled database depends on: corpus, tokeniser, model, statements that create tables, what writes them."""
    reading = ("ranking.py", "query.py", "kept.py")
    files = [file for file in sorted(STORE.glob("*.py")) if file.name not in reading and "queries" not in file.name]
    return _digest([*files, STORE.parent / "model.py"], made_by)


def _digest(files: Sequence[Path], more: str = "") -> str:
    digest = hashlib.blake2b(more.encode(), digest_size=5)
    for file in sorted(files):
        digest.update(file.read_bytes())
    return digest.hexdigest()


def _has_tantivy() -> bool:
    try:
        import_module("tantivy")
    except ImportError:
        return False
    return True


# -- ingest -----------------------------------------------------------------------------------------------------


def ingest(setup: Setup) -> Table:
    """Calls a second, memory and disk."""
    table = Table("Reading calls in", ("what", "calls", "calls/s", "calls/s of one core", "peak RSS"))
    built = setup.ingest
    table.rows.append(
        (
            "store alone: `save_page`, 50 calls a transaction",
            f"{built['calls']:,}",
            f"{built['calls'] / built['seconds']:,.0f}",
            f"{built['calls'] / built['cpu']:,.0f}" if built.get("cpu") else "–",
            f"{built['peak_mb']:.0f} MB",
        )
    )
    passes = [(provider, most, False) for provider, most in SYNCED.items()]
    for provider, most, business in [("highlevel", SYNCED["highlevel"], True), *passes]:
        said(f"sync: {provider}")
        number = min(most, setup.size)
        told = synced(provider, number, business=business)
        calls = ", the demo's calls (9 turns)" if business else ""
        table.rows.append(
            (
                f"`sync` of {provider}{calls}: HTTP over loopback, adapter, masking, store",
                f"{number:,}",
                f"{number / told['seconds']:,.0f}",
                f"{number / told['cpu']:,.0f}",
                f"{told['peak_mb']:.0f} MB",
            )
        )
    held, plain = _bytes(setup), _folder_bytes([setup.engines / "fts5.db"])
    tantivy = _folder_bytes((setup.engines / "tantivy").glob("*"))
    for name, taken in (("ours", held), ("plain FTS5 with its text", plain), ("tantivy, index only", tantivy)):
        if taken:
            table.notes.append(
                f"On disk, {name}: {taken / 1e6:,.1f} MB, {taken / setup.size / 10:,.0f} MB per 100k calls."
            )
    seconds = setup.facts["seconds"]
    table.notes.append(
        "Building the others alone (with making the corpus): "
        + ", ".join(f"{name} {setup.size / taken:,.0f} calls/s" for name, taken in seconds.items())
        + "."
    )
    return table


def _bytes(setup: Setup) -> int:
    if setup.is_file:
        return _folder_bytes(Path(setup.database).parent.glob("calls.db*"))
    psycopg: Any = import_module("psycopg")  # only for a server
    with psycopg.connect(setup.database) as db:
        found = db.execute("SELECT pg_database_size(current_database())").fetchone()
    return int(found[0]) if found else 0


def _folder_bytes(files: Any) -> int:
    return sum(file.stat().st_size for file in files if file.exists())


# -- search -----------------------------------------------------------------------------------------------------


async def truths(setup: Setup, server: Server, empty: Server) -> tuple[Measured, str]:
    """Every planted phrase is found once, in its turn; its words in its call and the decoy. And which of both is first."""
    planted = setup.facts["planted"]
    planted = planted[:: max(1, len(planted) // MOST_TRUTHS)][:MOST_TRUTHS]
    asked = [{"query": f'"{truth["phrase"]}"'} for truth in planted]
    found = await measured(server, empty, "search_transcripts", asked, setup.rounds)
    before = 0
    for truth, body in zip(planted, found.bodies, strict=True):
        phrase, place = truth["phrase"], (truth["call_id"], truth["turn"])
        hits = [(hit["call_id"], hit["turn"]) for hit in body["hits"]]
        if hits != [place] or body["total_calls"] != 1:
            raise WrongAnswer(f'"{phrase}" is said in {place}, found: {hits}')
        _, scattered = await server.ask("search_transcripts", {"query": phrase})
        hits = [(hit["call_id"], hit["turn"]) for hit in scattered["hits"]]
        if place not in hits or {call_id for call_id, _ in hits} != {truth["call_id"], truth["decoy"]}:
            raise WrongAnswer(f"{phrase} is said in {place} and {truth['decoy']}, found: {hits}")
        before += hits[0] == place
    return found, (
        f"All {len(planted)} planted phrases are the one hit, with their turn. Their words without quotes find the call "
        f"that says them in one turn before the one that scatters them in {before} of {len(planted)}."
    )


async def exact(server: Server, plain: PlainFTS5, asked: Sequence[Question]) -> None:
    """Rare words are found as often as FTS5 finds them."""
    for question in asked:
        wanted = plain.count(question)
        _, body = await server.ask(
            "search_transcripts", {"query": f'"{question.words[0]}"', "include_tests": True, "limit": 1}
        )
        if body["total_calls"] != wanted:
            raise WrongAnswer(f"{question.words[0]} was said in {wanted} calls, found: {body['total_calls']}")


async def searches(setup: Setup, server: Server, empty: Server) -> Table:
    """A row for each class of question."""
    engines = installed(setup.engines)
    table = Table(
        "Searching",
        (
            "`search_transcripts`, 10 hits",
            "calls that match",
            "p50 / p95",
            "p95 the first time",
            "less the floor",
            "processor",
            *(f"{engine.name}, its 10 ids" for engine in engines),
            *(f"less the floor : {engine.name}" for engine in engines),
            f"processor : {' / '.join(engine.name for engine in engines)}",
        ),
    )
    asked = questions.read(setup.facts["questions"])
    plain = engines[0]
    assert isinstance(plain, PlainFTS5)
    await exact(server, plain, asked["rare word"])
    said(f"{min(len(setup.facts['planted']), MOST_TRUTHS)} planted truths")
    planted, told = await truths(setup, server, empty)
    rare = [Question("phrase", tuple(one["phrase"].split())) for one in setup.facts["planted"][:MOST_TRUTHS]]
    rows: list[tuple[str, Measured, list[Question]]] = [("planted phrase", planted, rare)]
    table.notes.append(told)
    for name, wanted in asked.items():
        said(f"search: {name}")
        arguments = [{"query": question.query, **question.filters} for question in wanted]
        rows.append((name, await measured(server, empty, "search_transcripts", arguments, setup.rounds), wanted))
    floors: list[float] = []
    for name, found, wanted in rows:
        floors += found.floors
        matches = [int(body.get("total_calls") or 0) for body in found.bodies]
        others = [Own(engine, wanted, setup.rounds) for engine in engines] if name != "other languages" else []
        table.rows.append(
            (
                f"{name} ({len(found.seconds)})",
                f"{statistics.median(matches):,.0f} ({min(matches):,}–{max(matches):,})",
                halves(found.typical),
                ms(percentile(found.first, 0.95)),
                halves(found.typical, found.floor),
                ms(max(0.0, found.processor)),
                *(halves(other.typical) for other in others),
                *(_ratio(found, other.typical) for other in others),
                *([" / ".join(_times(found.processor / other.processor) for other in others)] if others else []),
                *(["–"] * (2 * len(engines) + 1) if not others else []),
            )
        )
    table.notes.append(
        f"Floor, the empty tool of a bare server between the questions: {halves(floors)} ms. In brackets the distinct "
        f"questions; each is asked {setup.rounds} times and counts with its median. Processor: what the server used for "
        "a question on average, more than the empty tool; it does not grow when others use the machine."
    )
    if not setup.is_file:
        table.notes.append("Processor leaves out the database server's own processes.")
    if not any(isinstance(engine, Tantivy) for engine in engines):
        table.notes.append("tantivy is not installed: not measured.")
    return table


class Own:
    """The same questions to an engine that runs in this process: each one's median, and the processor's on average."""

    def __init__(self, engine: PlainFTS5 | Tantivy, asked: Sequence[Question], rounds: int) -> None:
        """Ask."""
        taken: list[list[float]] = [[] for _ in asked]
        before = time.thread_time()
        for _ in range(rounds):
            for times, question in zip(taken, asked, strict=True):
                began = time.perf_counter()
                engine.search(question)
                times.append(time.perf_counter() - began)
        self.processor = (time.thread_time() - before) / (rounds * len(asked))
        self.typical = [statistics.median(times) for times in taken]


def _ratio(found: Measured, other: Sequence[float]) -> str:
    return " / ".join(
        _times(max(0.0, percentile(found.typical, share) - found.floor) / percentile(other, share))
        for share in (0.5, 0.95)
    )


def _times(ratio: float) -> str:
    return f"{ratio:.2g}" if ratio < 10 else f"{ratio:,.0f}"


# -- lists, counts, one call ------------------------------------------------------------------------------------


async def other_tools(setup: Setup, server: Server, empty: Server) -> Table:
    """A row for each way to ask them."""
    table = Table(
        "Lists, counts, calls", ("question", "p50 / p95", "p95 the first time", "less the floor", "processor")
    )
    agents: list[str] = setup.facts["agents"]
    wanted = questions.read(setup.facts["questions"])
    month = [question.filters for question in wanted["common, agent, status, 30 days"]]
    planted = [one for one in setup.facts["planted"] if "signalwire" not in one["call_id"]][: questions.EACH]
    one_by_one: list[tuple[str, str, list[dict[str, Any]]]] = [
        ("`list_calls`, page 1", "list_calls", [{}] * 5),
        ("… longest first", "list_calls", [{"sort": "longest"}] * 5),
        ("… of an agent", "list_calls", [{"agent": agent} for agent in agents]),
        ("… of a status", "list_calls", [{"status": status} for status in ("completed", "failed", "busy")]),
        ("… agent, status", "list_calls", [{"agent": agent, "status": "completed"} for agent in agents]),
        ("… agent, status, 30 days", "list_calls", [dict(filters) for filters in month]),
        ("… of a phone", "list_calls", [{"phone": phone} for phone in setup.facts["phones"]]),
        ("… with an action", "list_calls", [{"action": kind} for kind in ("transfer", "message", "webhook")]),
        ("`count_calls`", "count_calls", [{}] * 5),
        ("… by agent", "count_calls", [{"group_by": ["agent"]}] * 3),
        ("… by day", "count_calls", [{"group_by": ["day"]}] * 3),
        ("… by agent and status", "count_calls", [{"group_by": ["agent", "status"]}] * 3),
        ("… by weekday and hour", "count_calls", [{"group_by": ["weekday", "hour"]}] * 3),
        (
            "… by agent and status, 30 days",
            "count_calls",
            [{"group_by": ["agent", "status"], "since": one["since"], "until": one["until"]} for one in month],
        ),
        ("`summarize_call_actions` by kind", "summarize_call_actions", [{"group_by": "kind"}] * 3),
        (
            "`get_call`, around a turn",
            "get_call",
            [{"call_id": one["call_id"], "around": one["turn"]} for one in planted],
        ),
        ("`get_call`, the longest, all turns", "get_call", [{"call_id": setup.facts["longest"], "turns": "all"}]),
        ("`list_accounts`", "list_accounts", [{}] * 3),
    ]
    for name, tool, asked in one_by_one:
        said(name)
        _add(table, f"{name} ({len(asked)})", await measured(server, empty, tool, asked, setup.rounds))
        if name.endswith("page 1"):
            for what, filters in (("", {}), (" of an agent", {"agent": "agent-00"})):
                page, deep = await _deep(server, empty, filters)
                _add(table, f"`list_calls`{what}, page {page}", deep)
    return table


async def _deep(server: Server, empty: Server, filters: Mapping[str, str]) -> tuple[int, Measured]:
    """Page after page by its cursor, up to the two hundredth or the last; the last ten of them are measured."""
    seconds: list[float] = []
    cursor: dict[str, str] = {}
    before = server.processor_seconds()
    while len(seconds) < DEEP_PAGE:
        taken, body = await server.ask("list_calls", {**filters, **cursor})
        seconds.append(taken)
        if "next_cursor" not in body:
            break
        cursor = {"cursor": body["next_cursor"]}
    last = Measured([[taken] for taken in seconds[-10:]])
    last.processor = (server.processor_seconds() - before) / len(seconds)
    last.floors = [(await empty.ask("list_calls", {}))[0] for _ in range(10)]
    return len(seconds), last


def _add(table: Table, name: str, found: Measured) -> None:
    table.rows.append(
        (
            name,
            halves(found.typical),
            ms(percentile(found.first, 0.95)),
            halves(found.typical, found.floor),
            ms(found.processor) if found.processor > 0 else "–",
        )
    )


# -- start, memory, several at once -----------------------------------------------------------------------------


def start(setup: Setup) -> Table:
    """From spawning to `initialize` and to the first answer."""
    table = Table("Start", ("spawn to …", "initialize", "first answer", ": bare server"))
    cases: list[tuple[str, Sequence[str], Callable[[], None]]] = [
        ("bare server of the SDK", EMPTY, lambda: None),
        ("ours", SERVE, lambda: None),
    ]
    if setup.is_file and hasattr(os, "posix_fadvise"):
        cases.append(("ours, its database not in the system's cache", SERVE, lambda: _evict(Path(setup.database))))
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name, *_ in cases}
    for _ in range(STARTS):
        for name, command, before in cases:
            before()
            taken[name].append(first_answer(command, setup.environment))
    bare = statistics.median(answered for _, answered in taken[cases[0][0]])
    for name, times in taken.items():
        initialized, answered = (statistics.median(column) for column in zip(*times, strict=True))
        table.rows.append((name, f"{ms(initialized)} ms", f"{ms(answered)} ms", f"{answered / bare:.2f}"))
    table.notes.append(f"Medians of {STARTS} starts, in turns; the first answer is that of `list_calls`.")
    return table


def _evict(database: Path) -> None:
    """Let the system forget the file's pages."""
    for file in database.parent.glob(f"{database.name}*"):
        descriptor = os.open(file, os.O_RDONLY)
        try:
            os.fsync(descriptor)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(descriptor)


async def concurrency(setup: Setup) -> Table:
    """Eight servers, each asked by one reader, while another process writes; beside one reader alone."""
    table = Table(
        "Several at once", ("", "answers", "answers/s", "p50 / p95", "p95 : one reader's", "errors", "written")
    )
    asked = questions.read(setup.facts["questions"])
    names = ("rare word", "mid word", "common word", "mid AND common", "phrase", "common, agent, status, 30 days")
    mix: list[tuple[str, dict[str, Any]]] = [
        ("search_transcripts", {"query": asked[name][n].query, **asked[name][n].filters})
        for n in range(8)
        for name in names
        if n < len(asked[name])
    ]
    mix += [("list_calls", {}), ("list_calls", {"agent": setup.facts["agents"][0]}), ("count_calls", {})] * 4
    alone = 0.0
    for name, readers, writer in (
        ("one reader", 1, None),
        (f"{READERS} readers", READERS, None),
        (f"{READERS} readers, one writer at a vendor's pace", READERS, [str(VENDOR_PAGES)]),
        (f"{READERS} readers, one writer without a pause", READERS, []),
    ):
        said(name)
        seconds, errors, written = await _together(setup, mix, readers, writer)
        p95 = percentile(seconds, 0.95)
        alone = alone or p95
        table.rows.append(
            (
                name,
                f"{len(seconds):,}",
                f"{len(seconds) / setup.seconds:.0f}",
                halves(seconds),
                f"{p95 / alone:.1f}",
                str(errors),
                written,
            )
        )
    table.notes.append(
        f"Searches of all classes, lists and counts for {setup.seconds:.0f} s on {os.cpu_count()} cores; a server "
        "process for each reader, and a process that saves pages of changed calls: as many a second as the "
        f"quickest vendor allows requests ({VENDOR_PAGES}), or without a pause."
    )
    return table


async def _together(
    setup: Setup, mix: Sequence[tuple[str, dict[str, Any]]], readers: int, writes: Sequence[str] | None
) -> tuple[list[float], int, str]:
    """Seconds of each answer, errors, what was written. `writes`: a writer with these arguments."""
    seconds: list[float] = []
    errors = 0
    ready = anyio.Event()
    waiting = readers

    async def read(number: int) -> None:
        nonlocal errors, waiting
        async with running(SERVE, setup.environment) as server:
            await server.ask(*mix[number % len(mix)])
            waiting -= 1
            if not waiting:
                ready.set()
            await ready.wait()
            until = anyio.current_time() + setup.seconds
            place = number * 7
            while anyio.current_time() < until:
                try:
                    seconds.append((await server.ask(*mix[place % len(mix)]))[0])
                except (WrongAnswer, TimeoutError) as error:
                    said(str(error))
                    errors += 1
                place += 1

    writer = None
    if writes is not None:
        writer = subprocess.Popen(  # noqa: ASYNC220 - spawning takes a millisecond, before anything is measured
            [sys.executable, HERE / "build.py", "write", str(setup.size), *writes],
            env=setup.environment,
            stdout=subprocess.PIPE,
        )
    try:
        async with anyio.create_task_group() as tasks:
            for number in range(readers):
                tasks.start_soon(read, number)
    finally:
        if writer is not None:
            writer.kill()
            lines, _ = writer.communicate()
        else:
            lines = b""
    pages = [json.loads(line) for line in lines.splitlines() if line.endswith(b"}")]
    if writes is not None and not pages:
        raise WrongAnswer("the writer wrote nothing")
    took = [page["seconds"] for page in pages]
    return seconds, errors, f"{len(pages)} pages, {halves(took)} ms" if pages else "–"


# -- the whole --------------------------------------------------------------------------------------------------


async def asked_of_one(setup: Setup) -> list[Table]:
    """The tables of one server, and its memory."""
    async with running(EMPTY, setup.environment) as empty, running(SERVE, setup.environment) as server:
        for _ in range(20):  # both are warm before anything counts
            await empty.ask("list_calls", {})
        await server.ask("list_calls", {"limit": 1})
        fresh = server.memory_mb()
        tables = [await searches(setup, server, empty), await other_tools(setup, server, empty)]
        after, bare = server.memory_mb(), empty.memory_mb()
    if fresh and after and bare:
        tables[-1].notes.append(
            f"Resident memory of the server: {fresh[0]:.0f} MB after its first answer, {after[0]:.0f} MB after all of "
            f"these ({after[1]:.0f} MB at its peak); the bare server's: {bare[0]:.0f} MB."
        )
    return tables


def report(setup: Setup, where: str) -> str:
    """Everything, in Markdown."""
    answered = anyio.run(asked_of_one, setup)  # first: nothing else is worth its time after a wrong answer
    tables = [ingest(setup), *answered]
    said("start")
    tables.append(start(setup))
    tables.append(anyio.run(concurrency, setup))
    kind = "SQLite " + sqlite3.sqlite_version if where == "sqlite" else "PostgreSQL"
    head = (
        f"{setup.size:,} calls, {kind}, Python {platform.python_version()}, {os.cpu_count()} cores. Times in ms, as p50 / "
        "p95 over a row's questions, from the client's call to its answer over stdio."
    )
    return "\n\n".join((head, *(table.markdown() for table in tables))) + "\n"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("size", nargs="?", default="10k", help="1k, 10k, 100k, 1M, or a number")
    parser.add_argument("--store", default="sqlite", help="sqlite, or the URL of a PostgreSQL database for this alone")
    parser.add_argument("--out", type=Path, help="a file for the table, which is printed as well")
    parser.add_argument("--cache", type=Path, default=Path(platformdirs.user_cache_dir("call-logs-benchmark")))
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="how often each question is asked")
    parser.add_argument(
        "--seconds", type=float, default=CONCURRENT_SECONDS, help="how long several readers ask at once"
    )
    parser.add_argument("--reuse", action="store_true", help="take an earlier database, whatever has changed since")
    parser.add_argument("--rebuild", action="store_true", help="fill the database again")
    given = parser.parse_args()
    setup = prepared(given)
    try:
        table = report(setup, given.store)
    except* WrongAnswer as wrong:
        raise SystemExit(f"a wrong answer: {wrong.exceptions}") from None
    print(table)
    if given.out:
        given.out.write_text(table, encoding="utf-8")
    said(f"done; {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3:.0f} MB here")


def sized(text: str) -> int:
    """10k as 10000. Raises `SystemExit` for what is no multiple of fifty."""
    found = re.fullmatch(r"(\d+)([kM]?)", text)
    size = int(found[1]) * {"": 1, "k": 1_000, "M": 1_000_000}[found[2]] if found else 0
    if size < 200 or size % corpus.CHUNK_CALLS:
        raise SystemExit(f"a size is a multiple of {corpus.CHUNK_CALLS}, at least 200: 1k, 10k, 100k, 1M")
    return size


if __name__ == "__main__":
    main()
