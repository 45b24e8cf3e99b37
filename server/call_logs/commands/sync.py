"""`sync`: one pass over every account, told as it goes: bars at a terminal, now and then a line elsewhere."""

import gc
import json
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime

import anyio
import anyio.to_thread
import click
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn
from rich.table import Column
from rich.text import Text

from call_logs.commands.terminal import console, drawing, said, tell
from call_logs.config import Config
from call_logs.errors import ConfigError, StoreError
from call_logs.providers import NO_ACCOUNT
from call_logs.store import open_store
from call_logs.sync import Health, Sync

INTERRUPTED = 130
_LOOK_SECONDS = 0.25
"""How often what is shown is brought up to date."""

_OBJECTS_AT_ONCE = 50_000
"""How many new objects the collector waits for: a few pages' worth."""

LINE_SECONDS = 5.0
"""How often a line tells of an account where no terminal is."""

_LEAST_SHARE = 0.02
"""Of the history: less than this read tells nothing of how long the rest takes."""

_WIDE = 120
"""Columns of a terminal from which on the bars are long."""


def sync_accounts(config: Config, account: str | None, *, as_json: bool) -> int:
    """One pass over every account (or one). Returns the exit code; 130 where it was interrupted."""
    names = [one.name for one in config.accounts if account in (None, one.name)]
    if not names:
        known = ", ".join(one.name for one in config.accounts)
        raise ConfigError(f"There is no account {account}. Accounts: {known}." if known else " ".join(NO_ACCOUNT))
    run = _Run(config, names, as_json=as_json)
    # What a page is made of is let go of without the collector, which would look through all of the program for it.
    before = gc.get_threshold()
    gc.freeze()
    gc.set_threshold(_OBJECTS_AT_ONCE)
    try:
        anyio.run(run.passes)
    except KeyboardInterrupt:
        read = sum(course.read for course in run.courses.values())
        told = f"Stopped. What was read is kept ({read:,} calls in this run)."
        tell(f"{told} Run call-logs-mcp sync again: it goes on from there.")
        return INTERRUPTED
    finally:
        gc.set_threshold(*before)
    if as_json:
        click.echo(json.dumps(run.rows))
    return 0 if all(row["state"] == "ok" for row in run.rows) else 1


@dataclass
class Course:
    """How far the pass over one account has come. `begins`, `floor`: the stretch of history that it has to read."""

    name: str
    floor: datetime
    begins: datetime
    began: float = field(default_factory=time.monotonic)
    read: int = 0
    reached: datetime | None = None
    trouble: str | None = None
    over: bool = False

    @property
    def share(self) -> float | None:
        """How much of the stretch has been read, 0 to 1; None where that cannot be told."""
        whole = (self.begins - self.floor).total_seconds()
        if self.reached is None or whole <= 0 or self.reached > self.begins:
            return None
        return min(1.0, (self.begins - self.reached).total_seconds() / whole)

    def words(self, now: float) -> str:
        """Calls, rate, how far back, and how long it takes still, as far as that is known."""
        seconds = max(0.001, now - self.began)
        parts = [f"{self.read:,} calls"]
        if self.trouble is not None:
            parts.append(self.trouble)
        elif self.share is None or self.share < _LEAST_SHARE:
            parts.append("time left unknown")
        else:
            parts.append(f"about {_span(seconds * (1 - self.share) / self.share)} left")
        if self.reached is not None:
            parts.append(f"back to {self.reached:%Y-%m-%d}")
        if self.read and seconds > 1:
            parts.append(f"{self.read / seconds:.0f}/s")
        return " · ".join(parts)


def _span(seconds: float) -> str:
    if seconds < 100:  # noqa: PLR2004 - reads better than 1 min
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.0f} h"  # noqa: PLR2004 - as above


class _Run:
    """One run of the command: its passes, and what is shown of them."""

    def __init__(self, config: Config, names: Sequence[str], *, as_json: bool) -> None:
        self._config = config
        self._names = names
        self._quiet = as_json
        self._progress = console(stderr=True)
        self._results = console()
        # Both on one screen: what is said of an account that is done goes above the bars, once.
        self._one_screen = self._progress.is_interactive and self._results.is_terminal
        self.courses: dict[str, Course] = {}
        self.rows: list[dict[str, object]] = []

    async def passes(self) -> None:
        """Every account's pass, all at once. Raises `StoreError`."""
        config = self._config
        store = open_store(config.database, config.database_read)
        sync = Sync.of(config, store)
        rows: dict[str, dict[str, object]] = {}
        failures: list[StoreError] = []

        async def one(name: str) -> None:
            course = self.courses[name]

            def progress(read: int, reached: datetime | None) -> None:
                course.read, course.reached = read, reached

            health = await sync.finish(name, progress)
            course.over = True
            try:
                held = await anyio.to_thread.run_sync(store.accounts, [name])
            except StoreError as error:
                failures.append(error)
                return
            rows[name] = _row(health, held[0].calls if held else 0)
            self._ended(rows[name])

        try:
            async with sync.running():
                self.courses = {name: self._course(sync.health(name)) for name in self._names}
                with self._shown() as show:
                    async with anyio.create_task_group() as looking:
                        looking.start_soon(self._look, sync, show)
                        async with anyio.create_task_group() as reading:
                            for name in self._names:
                                reading.start_soon(one, name)
                        looking.cancel_scope.cancel()
                await sync.tend()
        finally:
            store.close()
        if failures:
            raise failures[0]
        self.rows = [rows[name] for name in self._names]

    def _course(self, health: Health) -> Course:
        """What there is to read: from where an earlier pass stopped, or from now, to where the history begins."""
        now = datetime.now(UTC)
        return Course(health.account, floor=now - self._config.history, begins=health.marks.low or now)

    async def _look(self, sync: Sync, show: Callable[[], None]) -> None:
        while True:
            for course in self.courses.values():
                health = sync.health(course.name)
                course.trouble = health.problem if health.state == "down" and not course.over else None
            show()
            await anyio.sleep(_LOOK_SECONDS)

    @contextmanager
    def _shown(self) -> Generator[Callable[[], None]]:
        """What is to be called now and then, to show how far everything is."""
        if self._quiet:
            yield lambda: None
        elif self._progress.is_interactive:
            with self._bars() as show:
                yield show
        else:
            told = time.monotonic()

            def show() -> None:
                nonlocal told
                if time.monotonic() - told >= LINE_SECONDS:
                    told = time.monotonic()
                    for course in self.courses.values():
                        if not course.over:
                            self._progress.print(Text(f"{course.name}: {said(course.words(told))}"))

            yield show

    @contextmanager
    def _bars(self) -> Generator[Callable[[], None]]:
        columns = (
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(30 if self._progress.width >= _WIDE else 8),
            TextColumn("{task.fields[said]}", markup=False, table_column=Column(no_wrap=True, overflow="ellipsis")),
        )
        with Progress(*columns, console=self._progress, transient=True) as bars, drawing():
            tasks = {name: bars.add_task(name, total=None, said="") for name in self._names}

            def show() -> None:
                now = time.monotonic()
                for name, course in self.courses.items():
                    words = said(course.words(now))
                    share = None if course.trouble else course.share
                    bars.update(tasks[name], total=share and 1.0, completed=share, visible=not course.over, said=words)

            yield show

    def _ended(self, row: Mapping[str, object]) -> None:
        """How an account's pass ended, at once: a failure with its next step."""
        if self._quiet:
            return
        wrong = row["state"] != "ok"
        wide = max(map(len, self._names)) + 1 if self._one_screen else 0
        line = Text(f"{row['account']}:".ljust(wide) + " ").append(
            str(row["state"]), style="bold red" if wrong else "green"
        )
        line.append(f", {row['calls']} calls.")
        if row["problem"]:
            line.append(f" {said(str(row['problem']))}", style="red").append(f" {said(str(row['next_step'] or ''))}")
        (self._progress if self._one_screen else self._results).print(line, soft_wrap=not self._one_screen)


def _row(health: Health, calls: int) -> dict[str, object]:
    return {
        "account": health.account,
        "provider": health.provider,
        "state": health.state,
        "calls": calls,
        "problem": health.problem,
        "next_step": health.next_step,
    }
