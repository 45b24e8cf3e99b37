"""`migrate`: all calls to another database, resumable, and compared at the end."""

import contextlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

from call_logs.config import Config
from call_logs.errors import ConfigError, StoreError
from call_logs.store import Opened, Store, open_store

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
                there.bury(account.name, source.tombstones(account.name))
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
