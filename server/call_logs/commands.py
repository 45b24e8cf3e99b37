"""Commands that print: what `sync`, `check` and `import` show in a terminal, and as JSON."""

import contextlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, cast

import anyio
import click
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from call_logs.config import Config
from call_logs.errors import ConfigError, ProviderError, RateLimited, StoreError, Unavailable, UnexpectedPayload
from call_logs.model import Call
from call_logs.providers import FEATURES, NO_ACCOUNT, Account
from call_logs.store import Opened, Store, open_store
from call_logs.sync import Health, Sync, prepared
from call_logs.times import show

CHECK_SECONDS = 20.0


def sync_accounts(config: Config, account: str | None, *, as_json: bool) -> int:
    """One pass over every account (or one), with a progress bar each. Returns the exit code."""
    names = [one.name for one in config.accounts if account in (None, one.name)]
    if not names:
        known = ", ".join(one.name for one in config.accounts)
        raise ConfigError(
            f"There is no account {account}. Accounts: {known}." if known else "No account is configured."
        )
    healths, held = anyio.run(_passes, config, names, as_json)
    if as_json:
        click.echo(json.dumps([_row(health, held) for health in healths]))
    else:
        for health in healths:
            row = _row(health, held)
            problem = f" {health.problem} {health.next_step}" if health.problem else ""
            click.echo(f"{health.account}: {row['state']}, {row['calls']} calls.{problem}")
    return 0 if all(health.state == "ok" for health in healths) else 1


async def _passes(config: Config, names: list[str], as_json: bool) -> tuple[list[Health], dict[str, int]]:
    store = open_store(config.database, config.database_read)
    sync = Sync(config.accounts, store, history=config.history, masking=config.masking)
    console = Console(stderr=True, quiet=as_json)
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[said]}"))
    try:
        async with sync.running():
            with Progress(*columns, TimeElapsedColumn(), console=console, disable=not console.is_terminal) as bars:
                tasks = {name: bars.add_task(name, total=None, said="") for name in names}

                async def one(name: str) -> None:
                    def progress(read: int, reached: datetime | None) -> None:
                        back = f" back to {show(reached, config.zone)}" if reached is not None else ""
                        bars.update(tasks[name], said=f"{read} calls{back}")

                    await sync.finish(name, progress)
                    bars.update(tasks[name], total=1, completed=1)

                async with anyio.create_task_group() as group:
                    for name in names:
                        group.start_soon(one, name)
            return [sync.health(name) for name in names], {row.name: row.calls for row in store.accounts(names)}
    finally:
        store.close()


@dataclass(frozen=True)
class Checked:
    """What one cheap request told of an account. `verdict`: works, fix (a setting), later (the vendor's trouble)."""

    account: str
    provider: str
    verdict: str
    problem: str | None
    next_step: str | None
    gives: list[str]


def check_accounts(config: Config, *, as_json: bool) -> int:
    """One authenticated request an account, all at once. Returns the exit code."""
    if not config.accounts:
        raise ConfigError(" ".join(NO_ACCOUNT))
    checked = anyio.run(_checks, config)
    if as_json:
        click.echo(json.dumps([asdict(one) for one in checked]))
    else:
        _print_checked(checked)
    return 0 if all(one.verdict == "works" for one in checked) else 1


async def _checks(config: Config) -> list[Checked]:
    found: dict[str, Checked] = {}

    async def one(account: Account) -> None:
        found[account.name] = await _checked(account)

    async with anyio.create_task_group() as group:
        for account in config.accounts:
            group.start_soon(one, account)
    return [found[account.name] for account in config.accounts]


async def _checked(account: Account) -> Checked:
    verdict, problem, next_step = "works", account.problem, account.next_step
    if problem:
        verdict = "fix"
    else:
        provider = account.open()
        try:
            with anyio.fail_after(CHECK_SECONDS):
                await provider.check()
        except ProviderError as error:
            passing = isinstance(error, Unavailable | RateLimited)
            verdict, problem, next_step = "later" if passing else "fix", error.problem, error.next_step
        except TimeoutError:
            trouble = provider.trouble
            verdict = "later"
            problem = trouble.problem if trouble else f"{account.name} ({provider.title}) did not answer in time."
            next_step = trouble.next_step if trouble else "Try again; see the vendor's status page if it stays."
        finally:
            with anyio.CancelScope(shield=True):
                await provider.aclose()
    gives = [feature for feature in FEATURES if feature in account.provider.gives]
    return Checked(account.name, account.provider.slug, verdict, problem, next_step, gives)


def _print_checked(checked: list[Checked]) -> None:
    table = Table("account", "provider", "state", "what to do, or what it gives", box=None, pad_edge=False)
    colours = {"works": "green", "fix": "red", "later": "yellow"}
    for one in checked:
        said = f"{one.problem} {one.next_step or ''}".strip() if one.problem else ", ".join(one.gives)
        state = Text(
            {"fix": "fix this", "later": "try later"}.get(one.verdict, one.verdict), style=colours[one.verdict]
        )
        table.add_row(Text(one.account), Text(one.provider), state, Text(said))
    Console().print(table)


def import_reports(config: Config, files: Sequence[Path], account: str | None, *, as_json: bool) -> int:
    """Keep the calls of report files: JSON with one report, a list of them, or one a line. Returns the exit code."""
    chosen = _importing(config, account)
    counts = {"new": 0, "changed": 0, "same": 0, "refused": 0}
    problems: list[str] = []
    with contextlib.closing(open_store(config.database, config.database_read)) as store:
        store.open_account(chosen.name, chosen.provider.slug, chosen.tenant, chosen.scope)
        for file in files:
            calls: list[Call] = []
            for place, report in _reports(file, problems):
                try:
                    call = chosen.provider.read_report(report, chosen.name)
                except UnexpectedPayload as error:
                    problems.append(f"{place}: {error}")
                    continue
                calls.append(prepared(call, config.masking))
            saved = store.save_page(chosen.name, calls)
            for name in ("new", "changed", "same"):
                counts[name] += getattr(saved, name)
    counts["refused"] = len(problems)
    if as_json:
        click.echo(json.dumps({"account": chosen.name, **counts, "problems": problems}))
    else:
        said = ", ".join(f"{count} {name}" for name, count in counts.items())
        click.echo("\n".join([f"{chosen.name}: {said}.", *problems]))
    return 1 if problems else 0


def _importing(config: Config, name: str | None) -> Account:
    """The account whose reports these are: the one named, or the only one whose provider has reports."""
    able = [one for one in config.accounts if one.provider.reports]
    chosen = [one for one in (able if name is None else config.accounts) if name in (None, one.name)]
    if len(chosen) == 1:
        return chosen[0]
    if name is not None or not able:
        known = ", ".join(one.name for one in able) or "none; configure a SignalWire account first"
        raise ConfigError(f"There is no such account to import into. Accounts that take reports: {known}.")
    raise ConfigError(f"Several accounts take reports: {', '.join(one.name for one in able)}. Choose with --account.")


def _reports(file: Path, problems: list[str]) -> Iterator[tuple[str, Any]]:
    """The reports in a file, each with its place in it; what cannot be read is added to the problems."""
    try:
        text = file.read_text(encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        problems.append(f"{file.name}: cannot be read ({type(error).__name__}).")
        return
    try:
        found: Any = json.loads(text)
        entries = enumerate(cast("list[Any]", found) if isinstance(found, list) else [found], 1)
    except ValueError:
        entries = _lines(file.name, text, problems)
    for number, report in entries:
        yield f"{file.name}, report {number}", report


def _lines(name: str, text: str, problems: list[str]) -> Iterator[tuple[int, Any]]:
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip():
            try:
                yield number, json.loads(line)
            except ValueError:
                problems.append(f"{name}, line {number}: is not JSON.")


PAGE = 200
"""Calls that a migration copies at a time."""


def migrate(config: Config, target: str, *, as_json: bool) -> int:
    """Copy all that the configured database holds to another one, and compare. Returns the exit code.

    What was copied before is not copied again: the target keeps how far each account has come.
    """
    _refuse_migrating(config.database, target)
    copied: list[Copied] = []
    with contextlib.closing(open_store(config.database)) as source, contextlib.closing(_opened_target(target)) as there:
        accounts = source.opened()
        console = Console(stderr=True, quiet=as_json)
        columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[said]}"))
        with Progress(*columns, TimeElapsedColumn(), console=console, disable=not console.is_terminal) as bars:
            for account in accounts:
                _begin_copying(there, account)
            for account in accounts:
                [row] = source.accounts([account.name])
                task = bars.add_task(account.name, total=max(1, row.calls), said="")

                def progress(done: int, task: TaskID = task) -> None:
                    bars.update(task, completed=done, said=f"{done} calls")

                copied.append(_copied(source, there, account.name, progress))
                bars.update(task, completed=max(1, row.calls))
    if as_json:
        click.echo(json.dumps([asdict(one) for one in copied]))
    else:
        for one in copied:
            click.echo(f"{one.account}: {one.calls} calls, fingerprint {one.fingerprint}: {one.said}")
        click.echo("Set CALL_LOGS_DATABASE to the new database and restart." if copied else "There is nothing to copy.")
    return 0 if all(one.same for one in copied) else 1


@dataclass(frozen=True)
class Copied:
    """An account in the new database. `same`: the calls there are those here, to the last letter."""

    account: str
    calls: int
    fingerprint: str
    same: bool
    said: str


def _refuse_migrating(database: str, target: str) -> None:
    if database == target or ("://" not in database + target and Path(database).resolve() == Path(target).resolve()):
        raise ConfigError("--to is the database that CALL_LOGS_DATABASE names already. Give another one.")
    if "://" not in database and not Path(database).expanduser().is_file():
        raise ConfigError("The file that CALL_LOGS_DATABASE names (or the default one) does not exist.")


def _opened_target(target: str) -> Store:
    try:
        return open_store(target)
    except StoreError as error:
        raise StoreError(f"--to: {str(error).replace('CALL_LOGS_DATABASE', '--to')}") from error


def _place(account: str) -> str:
    """The name of the note that says how far an account was copied."""
    return f"migrated {account}"


def _begin_copying(there: Store, account: Opened) -> None:
    [*held] = there.accounts([account.name])
    if held and held[0].calls and there.remembered(_place(account.name)) is None:
        raise StoreError(
            f"--to holds calls of {account.name} that were not copied from here. Give a new database, or a file that "
            "does not exist."
        )
    there.open_account(*account)
    if not there.lead(account.name):
        raise StoreError(f"Another process writes calls of {account.name} to --to. Stop it, then run this again.")
    if there.remembered(_place(account.name)) is None:
        there.remember(_place(account.name), "0")


def _copied(source: Store, there: Store, account: str, progress: Callable[[int], None]) -> Copied:
    """Copy the account from where an earlier run came to. Its marks go last: they promise calls."""
    marks = source.marks(account)
    for begun in (int(there.remembered(_place(account)) or 0), 0):
        done = sum(row.calls for row in there.accounts([account])) if begun else 0
        key = begun
        while page := source.after(account, key, PAGE):
            there.save_page(account, [call for _, call in page])
            key = page[-1][0]
            there.remember(_place(account), str(key))
            done += len(page)
            progress(done)
        here, copy = source.fingerprint(account), there.fingerprint(account)
        if here == copy:
            there.save_page(account, [], marks, source.unreadable(account))
            return Copied(account, *copy, same=True, said="the same in both.")
        # Calls that were read again meanwhile stand before the place: once more from the first one.
    said = f"{here[0]} calls with fingerprint {here[1]} are in the old one. Stop what writes there and run this again."
    return Copied(account, *copy, same=False, said=said)


def _row(health: Health, held: dict[str, int]) -> dict[str, object]:
    return {
        "account": health.account,
        "provider": health.provider,
        "state": health.state,
        "calls": held.get(health.account, 0),
        "problem": health.problem,
        "next_step": health.next_step,
    }
