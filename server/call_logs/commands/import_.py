"""`import`: calls from the reports that a vendor sent to an agent's own address."""

import contextlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import click

from call_logs.config import Config
from call_logs.errors import ConfigError, UnexpectedPayload
from call_logs.model import Call
from call_logs.prepared import prepared
from call_logs.providers import Account
from call_logs.store import open_store


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
