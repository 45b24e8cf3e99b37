"""`token`: who may ask the team server."""

import json
from pathlib import Path
from typing import TypeVar

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from call_logs.config import Config
from call_logs.errors import ConfigError
from call_logs.http.tokens import DEFAULT_SCOPES, Token, Tokens
from call_logs.principals import Scope

_ALL = "all"
W = TypeVar("W", bound=str)


def new_token(config: Config, name: str, accounts: str | None, scopes: str | None, *, as_json: bool) -> None:
    """Make a token and print it: on stdout nothing else, so that it can be piped. Raises `ConfigError`."""
    path, tokens = _tokens(config)
    seen = _accounts(config, accounts)
    granted = _scopes(scopes)
    token = tokens.add(name, seen, granted)
    told = {"name": name, "accounts": seen, "scopes": [str(scope) for scope in granted], "file": str(path)}
    if as_json:
        click.echo(json.dumps(told | {"token": token}))
        return
    click.echo(token)
    which = ", ".join(seen) if seen is not None else "all accounts"
    click.echo(
        f"The token of {name} for {which}: {', '.join(granted)}. It is shown only now; {path} keeps a hash of it.\n"
        "A client sends it as the header Authorization: Bearer TOKEN.",
        err=True,
    )


def list_tokens(config: Config, *, as_json: bool) -> None:
    """Print the tokens, without what they are. Raises `ConfigError`."""
    path, tokens = _tokens(config)
    held = tokens.read()
    if as_json:
        shown = [{"name": name} | token.model_dump(mode="json", exclude={"sha256"}) for name, token in held.items()]
        click.echo(json.dumps(shown))
        return
    if not held:
        click.echo(f"There are no tokens in {path}. Make one: call-logs-mcp token new NAME", err=True)
        return
    known = {account.name for account in config.accounts}
    table = Table("name", "accounts", "scopes", "made", box=None, pad_edge=False)
    for name, token in held.items():
        table.add_row(
            Text(name), Text(_seen(token, known)), Text(" ".join(token.scopes)), f"{token.created_at:%Y-%m-%d}"
        )
    Console().print(table)


def revoke_token(config: Config, name: str, *, as_json: bool) -> None:
    """Let the token of this name in no more. Raises `ConfigError`."""
    _, tokens = _tokens(config)
    tokens.revoke(name)
    if as_json:
        click.echo(json.dumps({"name": name, "revoked": True}))
    else:
        click.echo(f"{name} is refused from now on; running servers need no restart.")


def _tokens(config: Config) -> tuple[Path, Tokens]:
    assert config.tokens is not None  # noqa: S101 - `load` always names a file
    return config.tokens, Tokens(config.tokens)


def _seen(token: Token, known: set[str]) -> str:
    if token.accounts is None:
        return _ALL
    return ", ".join(name if name in known else f"{name} (not configured)" for name in token.accounts)


def _accounts(config: Config, given: str | None) -> list[str] | None:
    if given is None:
        return None
    known = [account.name for account in config.accounts]
    wanted = _words(given)
    if unknown := [name for name in wanted if name not in known]:
        there = f"Accounts: {', '.join(known)}." if known else "No account is configured."
        raise ConfigError(f"There is no account {unknown[0]}. {there}")
    return _some(wanted, "--accounts")


def _scopes(given: str | None) -> list[Scope]:
    if given is None:
        return list(DEFAULT_SCOPES)
    wanted = _words(given)
    if unknown := [name for name in wanted if name not in list(Scope)]:
        raise ConfigError(f"There is no scope {unknown[0]}. Scopes: {', '.join(Scope)}.")
    return _some([scope for scope in Scope if scope in wanted], "--scopes")


def _words(given: str) -> list[str]:
    return list(dict.fromkeys(given.replace(",", " ").split()))


def _some(words: list[W], option: str) -> list[W]:
    if not words:
        raise ConfigError(f"{option} names nothing. Leave it out for all that is usual.")
    return words
