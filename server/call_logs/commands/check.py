"""`check`: one cheap authenticated request an account."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import anyio
import click
from rich.text import Text

from call_logs.commands.terminal import console, print_rows, said
from call_logs.config import Config
from call_logs.errors import ConfigError, ProviderError, RateLimited, Unavailable
from call_logs.providers import FEATURES, NO_ACCOUNT, Account

CHECK_SECONDS = 20.0
VERDICTS = {"works": ("works", "green"), "fix": ("fix this", "bold red"), "later": ("try later", "yellow")}
"""What a person reads for a verdict, and its colour."""


@dataclass(frozen=True)
class Checked:
    """What one cheap request told of an account. `verdict`: works, fix (a setting), later (the vendor's trouble).

    `clock_skew`: seconds by which the vendor's clock is ahead of this machine's, where its answer told.
    """

    account: str
    provider: str
    verdict: str
    problem: str | None
    next_step: str | None
    gives: list[str]
    clock_skew: float | None = None


def check_accounts(config: Config, *, as_json: bool) -> int:
    """One authenticated request an account, all at once. Returns the exit code."""
    if not config.accounts:
        raise ConfigError(" ".join(NO_ACCOUNT))
    found = anyio.run(checks, config)
    if as_json:
        click.echo(json.dumps([asdict(one) for one in found]))
    else:
        print_checked(found)
    return 0 if all(one.verdict == "works" for one in found) else 1


async def checks(config: Config) -> list[Checked]:
    """What one request an account told, all at once, in the order configured."""
    found: dict[str, Checked] = {}

    async def one(account: Account) -> None:
        found[account.name] = await checked(account)

    async with anyio.create_task_group() as group:
        for account in config.accounts:
            group.start_soon(one, account)
    return [found[account.name] for account in config.accounts]


async def checked(account: Account) -> Checked:
    """One cheap authenticated request, and what it told."""
    verdict, problem, next_step, skew = "works", account.problem, account.next_step, None
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
            skew = provider.clock_skew
            with anyio.CancelScope(shield=True):
                await provider.aclose()
    gives = [feature for feature in FEATURES if feature in account.provider.gives]
    return Checked(account.name, account.provider.slug, verdict, problem, next_step, gives, skew)


def print_checked(found: Sequence[Checked]) -> None:
    """A row an account: what works and what it gives, or what is wrong and what to do."""
    rows: list[tuple[Text, ...]] = []
    for one in found:
        word, colour = VERDICTS[one.verdict]
        told = f"{one.problem} {one.next_step or ''}" if one.problem else f"gives {', '.join(one.gives)}"
        shown = Text(said(told), style="" if one.problem else "dim")
        rows.append((Text(one.account, style="bold"), Text(word, style=colour), shown))
    print_rows(console(), rows)
