"""`doctor`: what is wrong with this installation, a line for each thing that was looked at, with what to do."""

import contextlib
import json
import os
import platform
import re
import shutil
import sqlite3
import stat
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any, cast

import anyio
import click
from rich.text import Text

from call_logs.commands import claude
from call_logs.commands.check import Checked, checks
from call_logs.commands.terminal import console, print_rows, said
from call_logs.config import PREFIX, Config, config_file, is_address, misspelt
from call_logs.errors import CallLogsError, ConfigError
from call_logs.providers import NO_ACCOUNT
from call_logs.store import AccountRow, Store, open_store
from call_logs.times import show

WAL_RESET_FIRST, WAL_RESET_FIXED = (3, 7, 0), (3, 51, 3)
"""Versions of SQLite from and before which two connections that write at once can, rarely, damage a WAL database."""

LITTLE_SPACE = 200 * 1024**2
SOME_SPACE = 1024**3
"""Bytes free where the database is: less than these should be told, as wrong and as worth knowing."""

MOST_SKEW = 120.0
"""Seconds that this machine's clock may differ from the vendors'."""

STALE = timedelta(days=2)
"""An account that was read longer ago is told: what reads it is perhaps not running."""


class Verdict(StrEnum):
    """What is in order, what is worth knowing, what must be mended."""

    OK = "ok"
    NOTE = "note"
    FIX = "fix"


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    about: str
    verdict: Verdict
    found: str
    next_step: str | None = None


_COLOURS = {Verdict.OK: "green", Verdict.NOTE: "yellow", Verdict.FIX: "bold red"}


def examine(configured: Callable[[], AbstractContextManager[Config]], *, as_json: bool) -> int:
    """Look at everything and print it. Returns the exit code: 1 where something must be mended."""
    findings = [*python(), *commands(), *claude_desktop(claude.config_path()), *variables()]
    try:
        with configured() as config:
            findings += [*zone(config), *database(config), *accounts(config)]
    except ConfigError as error:
        findings.append(Finding("settings", Verdict.FIX, str(error)))
    if as_json:
        click.echo(json.dumps([asdict(one) for one in findings]))
    else:
        _print_findings(findings)
    return 1 if any(one.verdict is Verdict.FIX for one in findings) else 0


def _print_findings(findings: Sequence[Finding]) -> None:
    screen = console()
    rows: list[tuple[Text, ...]] = []
    for one in findings:
        text = Text(said(one.found))
        if one.next_step:
            text.append(f" {said(one.next_step)}", style="bold" if one.verdict is Verdict.FIX else "")
        rows.append((Text(one.verdict, style=_COLOURS[one.verdict]), Text(one.about, style="bold"), text))
    print_rows(screen, rows)
    wrong = sum(one.verdict is Verdict.FIX for one in findings)
    screen.print()
    screen.print(Text(f"{wrong} to fix." if wrong else "Nothing to fix.", style="bold"))


# -- the machine ------------------------------------------------------------------------------------------------------


def python(sqlite: tuple[int, int, int] = sqlite3.sqlite_version_info) -> Iterator[Finding]:
    """This Python, and its SQLite."""
    yield Finding("Python", Verdict.OK, f"{platform.python_version()}, {sys.executable}")
    version = ".".join(map(str, sqlite))
    if not _has_full_text_search():
        yield Finding(
            "SQLite",
            Verdict.FIX,
            f"{version} has no FTS5 full-text search.",
            "Use a Python from python.org or your system's packages, or PostgreSQL.",
        )
    elif WAL_RESET_FIRST <= sqlite < WAL_RESET_FIXED:
        yield Finding(
            "SQLite",
            Verdict.NOTE,
            f"{version}, older than 3.51.3, which mended a rare damage where several processes write at the same instant.",
            "Nothing needs to be done; a Python with a newer SQLite is safer still.",
        )
    else:
        yield Finding("SQLite", Verdict.OK, version)


def _has_full_text_search() -> bool:
    with contextlib.closing(sqlite3.connect(":memory:")) as db:
        try:
            db.execute("CREATE VIRTUAL TABLE probe USING fts5(x)")
        except sqlite3.OperationalError:
            return False
    return True


def commands(system: str = sys.platform) -> Iterator[Finding]:
    """Whether a host that is no shell finds uv, which `uvx call-logs-mcp` needs."""
    found = shutil.which("uvx")
    if found is None:
        yield Finding(
            "uvx",
            Verdict.NOTE,
            "is not installed or not on PATH. Only the command `uvx call-logs-mcp` needs it;",
            f"a host can start {claude.command()[0]} instead.",
        )
    elif system in claude.GUI_PATH and shutil.which("uvx", path=claude.GUI_PATH[system]) is None:
        yield Finding(
            "uvx",
            Verdict.NOTE,
            f"is {found}, where programs that were not started from a shell do not look.",
            "In a host's configuration write this whole path as the command.",
        )
    else:
        yield Finding("uvx", Verdict.OK, found)


# -- Claude Desktop ---------------------------------------------------------------------------------------------------


def claude_desktop(path: Path, system: str = sys.platform) -> Iterator[Finding]:
    """Claude Desktop's configuration: whether it can be read, and starts something that there is."""
    about = "Claude Desktop"
    try:
        config = claude.read(path)
    except ConfigError as error:
        yield Finding(about, Verdict.FIX, str(error))
        return
    servers = claude.servers(config)
    if not servers:
        what = "does not name this server" if path.exists() else "is not there"
        yield Finding(about, Verdict.NOTE, f"{path} {what}.", "call-logs-mcp setup --write-claude adds it.")
    for name, one in servers.items():
        yield from _entry(f"{about}: {name}", one, system)


def _entry(about: str, one: Any, system: str) -> Iterator[Finding]:
    """One server's entry: its command, and its variables."""
    entry = cast("Mapping[str, Any]", one if isinstance(one, dict) else {})
    command = entry.get("command")
    if not isinstance(command, str) or not command:
        yield Finding(about, Verdict.FIX, "has no command.", "call-logs-mcp setup --write-claude --replace writes one.")
        return
    found = shutil.which(command, path=claude.GUI_PATH.get(system))
    if Path(command).is_absolute():
        if found is None:
            yield Finding(
                about, Verdict.FIX, f"{command} is not there or cannot be run.", f"Write {claude.command()[0]} instead."
            )
        else:
            yield Finding(about, Verdict.OK, command)
    elif found is None:
        whole = shutil.which(command)
        yield Finding(
            about,
            Verdict.FIX,
            f"the command {command} is not where Claude Desktop looks for it.",
            f"Write the whole path: {whole or claude.command()[0]}.",
        )
    else:
        yield Finding(
            about,
            Verdict.NOTE,
            f"the command {command} is no whole path; from a terminal it is {found}.",
            "Write that, if Claude Desktop says ENOENT.",
        )
    env: Any = entry.get("env")
    if isinstance(env, dict):
        names = [str(name) for name in cast("dict[str, Any]", env)]
        yield from _misspelt(misspelt(names), about)


# -- settings ---------------------------------------------------------------------------------------------------------


def variables() -> Iterator[Finding]:
    """The configuration file, and variables that look like ours and are read by nothing."""
    unknown = misspelt()
    yield from _misspelt(unknown, "settings")
    try:
        file = config_file()
    except ConfigError:
        return  # told by whoever loads the configuration
    if file is None:
        if not unknown:
            yield Finding("settings", Verdict.OK, "from variables alone; there is no config file.")
        return
    with contextlib.suppress(OSError, RuntimeError):
        mode = file.expanduser().stat().st_mode
        if os.name == "posix" and mode & (stat.S_IRWXG | stat.S_IRWXO):
            yield Finding("settings", Verdict.FIX, f"others may read {file}.", f"Run: chmod 600 '{file}'")
        else:
            yield Finding("settings", Verdict.OK, str(file))


def _misspelt(unknown: Mapping[str, str | None], about: str) -> Iterator[Finding]:
    for name, meant in unknown.items():
        shown = name if re.fullmatch(r"[A-Za-z0-9_]{1,80}", name) else "a variable"
        step = f"Perhaps {meant} is meant." if meant else "Remove it."
        yield Finding(about, Verdict.FIX, f"{shown} is set and nothing reads it.", step)


def zone(config: Config) -> Iterator[Finding]:
    """The zone of days and shown times."""
    now = show(datetime.now(UTC), config.zone)
    if config.zone.key in ("UTC", "Etc/UTC"):
        step = f"If that is not yours, set {PREFIX}TIMEZONE, for example to Europe/Madrid."
        yield Finding("time zone", Verdict.NOTE, f"{config.zone.key}: a day begins at midnight UTC.", step)
    else:
        yield Finding("time zone", Verdict.OK, f"{config.zone.key}, now {now}")


# -- the database -----------------------------------------------------------------------------------------------------


def database(config: Config) -> Iterator[Finding]:
    """Where the calls are, whether they can be read, and when that was last done."""
    if is_address(config.database):
        yield from _contents(config, "in PostgreSQL")
        return
    path = Path(config.database).expanduser()
    yield from space(path)
    if not path.exists():
        yield Finding("database", Verdict.NOTE, f"{path} is not there yet.", "call-logs-mcp sync makes and fills it.")
        return
    mode = stat.S_IMODE(path.stat().st_mode)
    if os.name == "posix" and mode & (stat.S_IRWXG | stat.S_IRWXO):
        yield Finding("database", Verdict.FIX, f"others may read {path} ({mode:04o}).", f"Run: chmod 600 '{path}'*")
    size = sum(file.stat().st_size for file in path.parent.glob(f"{path.name}*") if file.is_file())
    yield from _contents(config, f"{path}, {_bytes(size)}")


def space(path: Path) -> Iterator[Finding]:
    """How much room is left where the database is, or will be."""
    folder = next((one for one in path.absolute().parents if one.exists()), None)
    if folder is None:
        return
    free = shutil.disk_usage(folder).free
    if free < SOME_SPACE:
        verdict = Verdict.FIX if free < LITTLE_SPACE else Verdict.NOTE
        step = f"Free some space, or set {PREFIX}DATABASE to a file on another disk."
        yield Finding("disk", verdict, f"{_bytes(free)} are left in {folder}.", step)
    else:
        yield Finding("disk", Verdict.OK, f"{_bytes(free)} free")


def _contents(config: Config, where: str) -> Iterator[Finding]:
    names = [account.name for account in config.accounts]
    try:
        with contextlib.closing(open_store(config.database, config.database_read)) as store:
            rows = store.accounts(names)
            calls = sum(row.calls for row in rows)
            oldest = min((row.oldest for row in rows if row.oldest), default=None)
            since = f" since {show(oldest, config.zone)}" if oldest else ""
            yield Finding("database", Verdict.OK, f"{where}: {calls} calls{since}")
            yield from _last_passes(config, rows)
            yield from _readers(store, [row.name for row in rows])
    except CallLogsError as error:
        yield Finding("database", Verdict.FIX, str(error))


def _last_passes(config: Config, rows: Sequence[AccountRow]) -> Iterator[Finding]:
    for row in rows:
        if row.last_synced_at is None:
            yield Finding("database", Verdict.NOTE, f"{row.name} was never read to the end.", "Run: call-logs-mcp sync")
        elif datetime.now(UTC) - row.last_synced_at > STALE:
            when = show(row.last_synced_at, config.zone)
            yield Finding("database", Verdict.NOTE, f"{row.name} was last read {when}.", "Run: call-logs-mcp sync")


def _readers(store: Store, names: Sequence[str]) -> Iterator[Finding]:
    """Whether another process reads the accounts at this moment. What is taken goes when the store is closed."""
    busy = [name for name in names if not store.lead(name)]
    if busy:
        found = f"another process reads {', '.join(busy)} right now; this one would wait for it."
        yield Finding("database", Verdict.NOTE, found)


def _bytes(count: int) -> str:
    for unit in ("bytes", "kB", "MB"):
        if count < 1000:  # noqa: PLR2004 - of the metric system
            return f"{count} {unit}"
        count = round(count / 1000)
    return f"{count} GB"


# -- accounts ---------------------------------------------------------------------------------------------------------


def accounts(config: Config) -> Iterator[Finding]:
    """What each vendor says to the credential, and what its clock says of ours."""
    if not config.accounts:
        yield Finding("accounts", Verdict.FIX, NO_ACCOUNT[0], "Run: call-logs-mcp setup")
        return
    found = anyio.run(checks, config)
    for one in found:
        yield Finding(
            one.account, _VERDICTS[one.verdict], one.problem or "the vendor accepts the credential.", one.next_step
        )
    yield from clock(found)


_VERDICTS = {"works": Verdict.OK, "fix": Verdict.FIX, "later": Verdict.NOTE}


def clock(found: Sequence[Checked]) -> Iterator[Finding]:
    """This machine's clock against the vendors' that told theirs: the one in the middle."""
    told = sorted(one.clock_skew for one in found if one.clock_skew is not None)
    if not told:
        return
    skew = told[len(told) // 2]
    if abs(skew) > MOST_SKEW:
        how = f"{abs(skew) / 60:.0f} minutes {'behind' if skew > 0 else 'ahead of'} the vendors' clocks."
        yield Finding("clock", Verdict.FIX, f"This machine is {how}", "Let the system set its time by itself.")
    else:
        yield Finding("clock", Verdict.OK, "agrees with the vendors'")
