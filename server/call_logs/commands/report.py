"""`report`: a window's calls as a page of its own."""

import functools
import json
from pathlib import Path

import anyio
import click

from call_logs.commands.view import as_of, refuse_overwriting, written
from call_logs.config import Config
from call_logs.views import page_with
from call_logs.views.answers import answers, report


def write_report(
    config: Config, since: str, until: str | None, account: str | None, out: Path, *, sync_first: bool, as_json: bool
) -> int:
    """Write the report's page. Returns the exit code."""
    refuse_overwriting(out)
    asked = functools.partial(report, since=since, until=until, account=account)
    answer = anyio.run(functools.partial(answers, config, asked, sync_first=sync_first))
    file = written(out, page_with("report", answer), "report-")
    calls = answer["calls"]
    promises = len(answer["promises"].get("promised_not_executed", ()))
    if as_json:
        told = {"file": str(file), "calls": calls["total"], "listed": len(calls["calls"]), "unkept_promises": promises}
        click.echo(json.dumps(told | {"window": calls["window"], "coverage": calls["coverage"]}))
    else:
        listed = f", the newest {len(calls['calls'])} listed" if len(calls["calls"]) < calls["total"] else ""
        click.echo(f"{file}: {calls['total']} calls{listed}, {promises} unkept promises. {as_of(calls['coverage'])}")
    return 0
