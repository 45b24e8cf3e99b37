"""`sync`: one pass over every account, with a progress bar each."""

import json
from datetime import datetime

import anyio
import click
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from call_logs.config import Config
from call_logs.errors import ConfigError
from call_logs.store import open_store
from call_logs.sync import Health, Sync
from call_logs.times import show


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
    sync = Sync(config.accounts, store, history=config.history, masking=config.masking, retention=config.retention)
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
            await sync.tend()
            return [sync.health(name) for name in names], {row.name: row.calls for row in store.accounts(names)}
    finally:
        store.close()


def _row(health: Health, held: dict[str, int]) -> dict[str, object]:
    return {
        "account": health.account,
        "provider": health.provider,
        "state": health.state,
        "calls": held.get(health.account, 0),
        "problem": health.problem,
        "next_step": health.next_step,
    }
