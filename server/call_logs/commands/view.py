"""`view`: one call as a page of its own."""

import functools
import json
import os
import tempfile
import webbrowser
from pathlib import Path
from typing import Any

import anyio
import click

from call_logs.config import Config
from call_logs.errors import ConfigError
from call_logs.views import page_with
from call_logs.views.answers import answers, whole_call

OWNER_ONLY = 0o600


def view_call(config: Config, call_id: str, out: Path | None, *, opens: bool, sync_first: bool, as_json: bool) -> int:
    """Write the call's page and show it in the browser. Returns the exit code."""
    refuse_overwriting(out)
    asked = functools.partial(whole_call, call_id=call_id)
    answer, promises = anyio.run(functools.partial(answers, config, asked, sync_first=sync_first))
    file = written(out, page_with("call", answer, promises), "call-")
    shown = opens and webbrowser.open(file.resolve().as_uri())
    coverage = answer["coverage"]
    if as_json:
        click.echo(
            json.dumps({"file": str(file), "call_id": answer["call"]["id"], "opened": shown, "coverage": coverage})
        )
    else:
        turns = f"{len(answer['turns'])} of {answer['total_turns']} turns"
        click.echo(f"{file}: {turns}. {as_of(coverage)}")
        if opens and not shown:
            click.echo("No browser could be opened: open the file yourself.", err=True)
    return 0


def as_of(coverage: dict[str, Any]) -> str:
    """How fresh and whole a page is, in one line."""
    state = "complete" if coverage["complete"] else "INCOMPLETE, the page says why"
    stamp = coverage.get("as_of")
    return f"As of {stamp[:10]} {stamp[11:16]} {stamp[19:]}: {state}." if stamp else f"Nothing read yet: {state}."


def refuse_overwriting(out: Path | None) -> None:
    """Raise `ConfigError` where the file exists: before any work is done."""
    if out is not None and os.path.lexists(out):
        raise ConfigError(f"{out} exists. Give --out another name, or remove it first.")


def written(out: Path | None, page: str, prefix: str) -> Path:
    """The new file with the page, which only its owner may read; without `out` in the folder of temporary files."""
    try:
        if out is None:
            number, name = tempfile.mkstemp(prefix=prefix, suffix=".html")
            file = Path(name)
        else:
            file = out
            number = os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY, OWNER_ONLY)
        with os.fdopen(number, "w", encoding="utf-8", newline="\n") as stream:
            stream.write(page)
    except FileExistsError:
        raise ConfigError(f"{out} exists. Give --out another name, or remove it first.") from None
    except OSError as error:
        raise ConfigError(f"{out or 'A temporary file'} cannot be written ({type(error).__name__}).") from None
    return file
