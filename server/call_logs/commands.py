"""Commands that print: what `sync` and `check` show in a terminal, and as JSON."""

import json
from dataclasses import asdict, dataclass
from datetime import datetime

import anyio
import click
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from call_logs.config import Config
from call_logs.errors import ConfigError, ProviderError, RateLimited, Unavailable
from call_logs.providers import FEATURES, NO_ACCOUNT, Account
from call_logs.store import open_store
from call_logs.sync import Health, Sync
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
    store = open_store(config.database)
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


def _row(health: Health, held: dict[str, int]) -> dict[str, object]:
    return {
        "account": health.account,
        "provider": health.provider,
        "state": health.state,
        "calls": held.get(health.account, 0),
        "problem": health.problem,
        "next_step": health.next_step,
    }
