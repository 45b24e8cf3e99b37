"""`search`: the tool `search_transcripts` for a person at a terminal, by the same code and in the same words."""

import contextlib
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

import anyio
import click
from rich.console import Console
from rich.text import Text

from call_logs.auditing import Audit
from call_logs.commands.terminal import console, drawing, indented, said
from call_logs.config import Config
from call_logs.errors import BadQuery, CallLogsError, ConfigError
from call_logs.model import ActionKind, Direction, Speaker, Status, Turn
from call_logs.providers import NO_ACCOUNT
from call_logs.store import open_store
from call_logs.store.query import Query, parse
from call_logs.sync import Sync
from call_logs.tools import App, context_of
from call_logs.tools.answer import CoveragePart, channels, coverage_words, unwell_words
from call_logs.tools.matching import Matching
from call_logs.tools.search_transcripts import search_transcripts

DEMO_WAIT = 20.0
"""Seconds: the made-up accounts are read from the first call on, each time."""

_SENTENCES = re.compile(r"(?<=\.) (?=[A-Z0-9])")
_ENUMS = {"speaker": Speaker, "direction": Direction, "status": Status, "action": ActionKind}


def search_calls(
    config: Config,
    words: Sequence[str],
    filters: Mapping[str, Any],
    *,
    offline: bool,
    as_json: bool,
    wait: float | None = None,
) -> int:
    """Ask the tool and print its answer. `filters` are its arguments by name. Returns the exit code.

    1 where an account could not be seen, or not entirely: the answer says which.
    """
    if not config.accounts:
        raise ConfigError(" ".join(NO_ACCOUNT))
    query = " ".join(words)
    try:
        head, body = anyio.run(_asked, config, query, filters, offline, config.wait if wait is None else wait)
    except BadQuery as error:
        raise click.UsageError(str(error)) from None
    if as_json:
        click.echo(json.dumps(body))
    else:
        _print_answer(head, body, parse(query), stopped=not offline)
    return 1 if body["coverage"].get("accounts") else 0


async def _asked(
    config: Config, query: str, filters: Mapping[str, Any], offline: bool, wait: float
) -> tuple[str, dict[str, Any]]:
    """The first line of the tool's text, and its structured answer. Raises what the tool raises."""
    text, body, refused = "", dict[str, Any](), None
    arguments: dict[str, Any] = {
        name: _ENUMS[name](value) if name in _ENUMS and value is not None else value for name, value in filters.items()
    }
    with contextlib.closing(open_store(config.database, config.database_read)) as store:
        sync = Sync.of(config, store, wait=wait, offline=offline)
        app = App(store, sync, config.zone)
        audit = Audit(store, app.now)
        screen = console(stderr=True)
        with contextlib.ExitStack() as shown:
            if screen.is_interactive and not offline:
                shown.enter_context(screen.status("asking the vendors for the newest calls"))
                shown.enter_context(drawing())
            async with audit.running(), sync.running():
                try:
                    text, body = channels(await search_transcripts(context_of(app), query, **arguments))
                    audit.told(search_transcripts.__name__, body)
                except CallLogsError as error:
                    refused = error  # a task group would wrap it
    if refused is not None:
        raise refused
    return text.partition("\n")[0], body


def _print_answer(head: str, body: Mapping[str, Any], query: Query, *, stopped: bool) -> None:
    """The answer as the tool gives it: what matches, the quotes, what to try, what could not be seen."""
    screen = console()
    screen.print(Text(said(head), style="bold"))
    for number, hit in enumerate(body["hits"], 1):
        screen.print()
        _print_hit(screen, number, hit, query)
    screen.print()
    if body.get("next_cursor"):
        screen.print(Text(f"There are more: --limit, or the same with --cursor {said(body['next_cursor'])}"))
    for term in body.get("terms", ()):
        if close := term.get("said"):
            screen.print(Text(f"Did you mean, for {said(term['term'])}: {', '.join(map(said, close))}?", style="cyan"))
    if note := body.get("note"):
        screen.print(Text(said(note)))
    coverage = CoveragePart.model_validate(body["coverage"])
    words = coverage_words(coverage.model_copy(update={"accounts": None}))
    for line in (*_SENTENCES.split(words), *map(unwell_words, coverage.accounts or ())):
        screen.print(Text(said(line), style="dim" if coverage.complete else "yellow"))
    if coverage.syncing and stopped:
        screen.print(Text("The reading ended with this command: call-logs-mcp sync reads the rest.", style="yellow"))


def _print_hit(screen: Console, number: int, hit: Mapping[str, Any], query: Query) -> None:
    known = [
        hit["citation"],
        hit.get("customer_number"),
        hit.get("agent"),
        ", ".join(hit.get("actions", ())),
    ]
    heading = Text(" · ".join(said(word) for word in known if word), style="bold")
    screen.print(indented(screen, heading, f"{number:>2}. ", 0))
    screen.print(indented(screen, Text(said(hit.get("before") or "(the call begins)"), style="dim"), "  "))
    screen.print(indented(screen, _highlighted(hit["speaker"], hit["snippet"], query), "> "))
    screen.print(indented(screen, Text(said(hit.get("after") or "(the call ends)"), style="dim"), "  "))
    for other in hit.get("also", ()):
        screen.print(
            indented(screen, _highlighted(f"turn {other['turn']}, {other['speaker']}", other["snippet"], query), "> ")
        )
    screen.print(indented(screen, Text(f"{said(hit['call_id'])} turn {hit['turn']}", style="dim"), "  "))


def _highlighted(speaker: str, quote: str, query: Query) -> Text:
    """What was said, with the words that were asked for standing out."""
    words = said(quote).split(" ")
    found = Matching(query, [Turn(n=1, speaker=Speaker.UNKNOWN, text=" ".join(words))]).places(words)
    shown = Text(f"{said(speaker)}: ")
    for place, word in enumerate(words):
        shown.append(word, style="bold reverse" if place in found else "")
        if place + 1 < len(words):
            shown.append(" ", style="bold reverse" if {place, place + 1} <= found else "")
    return shown
