"""`check`: one cheap authenticated request an account."""

import json
from dataclasses import asdict, dataclass

import anyio
import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from call_logs.config import Config
from call_logs.errors import ConfigError, ProviderError, RateLimited, Unavailable
from call_logs.providers import FEATURES, NO_ACCOUNT, Account

CHECK_SECONDS = 20.0


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
