"""The options of the commands for a person at a terminal, apart from what these do: `--help` and a completion load nothing
else."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click
from click.shell_completion import CompletionItem, get_completion_class

from call_logs.commands.configured import configured
from call_logs.errors import CallLogsError

SPEAKERS = ("agent", "customer", "system", "unknown")
DIRECTIONS = ("inbound", "outbound", "web", "unknown")
STATUSES = (
    *("queued", "ringing", "in_progress", "completed", "busy", "failed", "no_answer", "canceled", "rejected"),
    "unknown",
)
ACTIONS = (
    *("transfer", "message", "extraction", "workflow", "appointment", "custom", "knowledge", "webhook", "end"),
    "other",
)
"""As `call_logs.model` has them; a test compares."""

PROGRAM = "call-logs-mcp"
_ASKED_BY = f"_{PROGRAM}_COMPLETE".replace("-", "_").upper()
F = TypeVar("F", bound=Callable[..., Any])

demo_option = click.option("--demo", is_flag=True, help="Add made-up accounts; nothing is written to your database.")
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def _accounts(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The accounts' names, and their providers; none where the configuration cannot be read."""
    del context, parameter
    try:
        with configured(demo=False) as config:
            names = {account.name: account.provider.title for account in config.accounts}
    except CallLogsError:
        return []
    return [CompletionItem(name, help=title) for name, title in names.items() if name.startswith(incomplete)]


def _providers(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    del context, parameter
    from call_logs.providers import discover  # noqa: PLC0415 - only a completion needs it

    return [
        CompletionItem(slug, help=one.title) for slug, one in sorted(discover().items()) if slug.startswith(incomplete)
    ]


def account_option(text: str) -> Callable[[F], F]:
    """`--account`, with the configured names for a shell that completes."""
    return click.option("--account", metavar="NAME", shell_complete=_accounts, help=text)


def _all(*options: Callable[[F], F]) -> Callable[[F], F]:
    def decorated(function: F) -> F:
        for option in reversed(options):
            function = option(function)
        return function

    return decorated


_filters = _all(
    account_option("Only this account, or all of a provider."),
    click.option("--agent", metavar="TEXT", help="An agent's id, or part of its name."),
    click.option("--phone", metavar="NUMBER", help="Either side's number, any format; its last 4 digits; anonymous."),
    click.option("--since", metavar="WHEN", help="ISO 8601, today, yesterday, last week, 3 days ago, last 12 hours …"),
    click.option("--until", metavar="WHEN", help="As --since; a bare date or past period counts whole."),
    click.option("--direction", type=click.Choice(DIRECTIONS)),
    click.option("--status", type=click.Choice(STATUSES)),
    click.option("--min-duration-seconds", metavar="N", type=click.FloatRange(min=0)),
    click.option("--max-duration-seconds", metavar="N", type=click.FloatRange(min=0)),
    click.option("--action", type=click.Choice(ACTIONS), help="Calls in which this was executed."),
    click.option("--include-tests", is_flag=True, help="Test calls too."),
    click.option("--include-legs", is_flag=True, help="Legs of calls too."),
)


@click.command()
@click.argument("query", nargs=-1, required=True)
@click.option("--speaker", type=click.Choice(SPEAKERS), help="Who said it.")
@_filters
@click.option("--sort", type=click.Choice(("relevance", "newest")), default="relevance", show_default=True)
@click.option("--limit", metavar="N", type=click.IntRange(1, 50), default=10, show_default=True, help="Calls to show.")
@click.option(
    "--per-call", metavar="N", type=click.IntRange(1, 20), default=1, show_default=True, help="Quotes a call."
)
@click.option("--cursor", metavar="TEXT", help="Where an answer said that it goes on; the other options unchanged.")
@click.option("--offline", is_flag=True, help="Ask no vendor: answer from the calls that are held.")
@demo_option
@json_option
def search(
    *, query: tuple[str, ...], offline: bool, demo: bool, as_json: bool, **filters: str | float | bool | None
) -> None:
    """Search what was said, as the assistant does.

    QUERY: words in any form (all in the call), "an exact phrase" in one turn, prefix*, a OR b, -not. Quote it for your
    shell: 'refund* OR "money back" -invoice'.
    """
    from call_logs.commands.search import DEMO_WAIT, search_calls  # noqa: PLC0415 - only this command needs it

    with configured(demo=demo) as config:
        wait = DEMO_WAIT if demo else None
        sys.exit(search_calls(config, query, filters, offline=offline, as_json=as_json, wait=wait))


@click.command()
@demo_option
@json_option
def doctor(*, demo: bool, as_json: bool) -> None:
    """Tell what is wrong with this installation.

    Looks at Python and SQLite, at where Claude Desktop finds the server, at the settings, the accounts' credentials, the
    clock and the database. A line for each: ok, note, or fix with what to do.
    """
    from call_logs.commands.doctor import examine  # noqa: PLC0415 - only this command needs it

    sys.exit(examine(lambda: configured(demo=demo), as_json=as_json))


@click.command()
@click.option("--provider", metavar="NAME", shell_complete=_providers, help="The vendor; asked for if not given.")
@click.option("--account", metavar="NAME", help="What to call the account; default: like the provider.")
@click.option(
    "--set",
    "given",
    multiple=True,
    metavar="KEY=VALUE",
    help="A setting; KEY_file=PATH or KEY_env=VARIABLE for where it stands. Repeatable; the rest is asked.",
)
@click.option("--config", type=click.Path(dir_okay=False, path_type=Path), help="The TOML file to write.")
@click.option("--write-claude", is_flag=True, help="Add the server to Claude Desktop's config, keeping a backup.")
@click.option("--print", "only_print", is_flag=True, help="Write nothing; print what would be written.")
@click.option("--anyway", is_flag=True, help="Write what the vendor refused or could not confirm, too.")
@click.option("--replace", is_flag=True, help="Replace an account or server entry of that name without asking.")
@json_option
def setup(
    *,
    provider: str | None,
    account: str | None,
    given: tuple[str, ...],
    config: Path | None,
    write_claude: bool,
    only_print: bool,
    anyway: bool,
    replace: bool,
    as_json: bool,
) -> None:
    """Connect an account: ask, check, write.

    Checks the credential with the vendor before anything is written, to a file that only you can read, and shows what to
    put into your assistant's configuration.
    """
    from call_logs.commands.setup import Wanted, set_up  # noqa: PLC0415 - only this command needs it

    wanted = Wanted(
        provider=provider,
        account=account,
        given=given,
        config=config,
        write_claude=write_claude,
        only_print=only_print,
        anyway=anyway,
        replace=replace,
    )
    sys.exit(set_up(wanted, as_json=as_json))


@click.command()
@click.argument("shell", type=click.Choice(("bash", "zsh", "fish")))
@click.pass_context
def completion(context: click.Context, *, shell: str) -> None:
    """Print what makes your shell complete commands.

    bash: eval "$(call-logs-mcp completion bash)" in .bashrc; zsh: the same with zsh in .zshrc; fish: call-logs-mcp
    completion fish > ~/.config/fish/completions/call-logs-mcp.fish
    """
    found = get_completion_class(shell)
    assert found is not None  # noqa: S101 - click has these three
    click.echo(found(context.find_root().command, {}, PROGRAM, _ASKED_BY).source())


@click.command()
@click.argument("call")
@click.option(
    "--out", type=click.Path(dir_okay=False, path_type=Path), help="The file to write; it must not exist yet."
)
@click.option("--no-open", is_flag=True, help="Do not open it in the browser.")
@demo_option
@json_option
def view(*, call: str, out: Path | None, no_open: bool, demo: bool, as_json: bool) -> None:
    """Show one call in the browser: timeline and transcript.

    From what was read already: no vendor is asked. Writes a page of its own that loads nothing; CALL is an id as the
    tools show it.
    """
    from call_logs.commands.view import view_call  # noqa: PLC0415 - only this command needs it

    with configured(demo=demo) as config:
        sys.exit(view_call(config, call, out, opens=not no_open, sync_first=demo, as_json=as_json))


@click.command()
@click.option("--since", required=True, metavar="WHEN", help="ISO 8601, today, last week, last 30 days …")
@click.option("--until", metavar="WHEN", help="As --since; a bare date or past period counts whole.")
@account_option("Only this account, or all of a provider.")
@click.option(
    "--out",
    required=True,
    type=click.Path(dir_okay=False, path_type=Path),
    help="The file to write; it must not exist yet.",
)
@demo_option
@json_option
def report(*, since: str, until: str | None, account: str | None, out: Path, demo: bool, as_json: bool) -> None:
    """Write a window's calls as a page: counts, promises not kept, the list.

    From what was read already: no vendor is asked.
    """
    from call_logs.commands.report import write_report  # noqa: PLC0415 - only this command needs it

    with configured(demo=demo) as config:
        sys.exit(write_report(config, since, until, account, out, sync_first=demo, as_json=as_json))


COMMANDS = (search, view, report, doctor, setup, completion)
