"""`audit`: who was told of which calls."""

import contextlib
import json
from datetime import UTC, datetime

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from call_logs.config import Config
from call_logs.errors import BadQuery, ConfigError
from call_logs.store import open_store
from call_logs.times import parse_window, show

_SHOWN_IDS = 3
"""Calls that a line of the table names; JSON has all."""


def show_audit(config: Config, since: str | None, limit: int, *, as_json: bool) -> int:
    """Print the newest entries of the audit table. Returns the exit code."""
    try:
        window = parse_window(since, None, zone=config.zone, now=datetime.now(UTC))
    except BadQuery as error:
        raise ConfigError(f"--since cannot be used: {error}") from None
    with contextlib.closing(open_store(config.database)) as store:
        entries = store.audited(window.since, limit)
    if as_json:
        click.echo(json.dumps([one._asdict() | {"at": one.at.isoformat()} for one in entries]))
        return 0
    if not entries:
        click.echo("No entries.")
        return 0
    table = Table("when", "who", "asked", "outcome", "found", "calls", box=None, pad_edge=False)
    for one in entries:
        more = len(one.call_ids) - _SHOWN_IDS
        ids = ", ".join(one.call_ids[:_SHOWN_IDS]) + (f" and {more} more" if more > 0 else "")
        found = "" if one.found is None else str(one.found)
        table.add_row(*map(Text, (show(one.at, config.zone), one.principal, one.asked, one.outcome, found, ids)))
    Console().print(table)
    return 0
