"""The command line. Exit codes: 0 done, 1 something failed and said so, 2 wrong usage or configuration.

Nothing but JSON-RPC goes to stdout in `serve`; logs go to stderr.
"""

import gc
import sys
from pathlib import Path

import click

from call_logs import __version__, logs
from call_logs.commands.configured import configured as _configured
from call_logs.commands.options import COMMANDS, PROGRAM, account_option
from call_logs.commands.options import demo_option as _demo_option
from call_logs.commands.options import json_option as _json_option
from call_logs.errors import CallLogsError, ConfigError

FAILED = 1
WRONG_USAGE = 2


@click.group(invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name=PROGRAM)
@click.pass_context
def cli(context: click.Context) -> None:
    """Search and quote the phone calls of several voice vendors from an AI assistant.

    Without a command: serve over stdio, as an MCP client starts it.
    """
    if context.invoked_subcommand is None:
        context.invoke(serve)


@cli.command()
@click.option("--http", is_flag=True, help="Serve a team over HTTP, at /mcp.")
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on, with --http.")
@click.option("--port", default=8000, show_default=True, type=click.IntRange(0, 65_535), help="The port, with --http.")
@click.option(
    "--allow-host", "allow_hosts", multiple=True, help="A name under which the server is reached; repeatable."
)
@_demo_option
def serve(
    *,
    http: bool = False,
    host: str = "127.0.0.1",
    port: int = 8000,
    allow_hosts: tuple[str, ...] = (),
    demo: bool = False,
) -> None:
    """Serve MCP over stdio until the client leaves, or with --http until stopped."""
    # What is imported lives until the end: collecting garbage meanwhile costs a tenth of the start and frees nothing.
    gc.disable()
    if http:
        from call_logs.http.serve import serve_http  # noqa: PLC0415 - stdio needs none of it

        with _configured(demo=demo) as config:
            serve_http(config, host=host, port=port, allow_hosts=allow_hosts)
        return
    if allow_hosts or (host, port) != ("127.0.0.1", 8000):
        raise click.UsageError("--host, --port and --allow-host go with --http.")
    import anyio  # noqa: PLC0415 - `--help` needs no server

    from call_logs.app import build_server, serve_stdio  # noqa: PLC0415 - as above

    with _configured(demo=demo) as config:
        server = build_server(config)
        gc.freeze()
        gc.enable()
        anyio.run(serve_stdio, server)


@cli.command()
@_json_option
def demo(*, as_json: bool) -> None:
    """Show the whole job without credentials.

    Syncs a made-up business from stand-ins of the five vendors, and asks questions through a real MCP client.
    """
    from call_logs.demo import run  # noqa: PLC0415 - only this command needs it

    with _configured(demo=True, own_accounts=False) as config:
        sys.exit(run(config, as_json=as_json))


@cli.command()
@account_option("Only this account.")
@click.option("--history", help="How far back to read, such as 90d.")
@_demo_option
@_json_option
def sync(*, account: str | None, history: str | None, demo: bool, as_json: bool) -> None:
    """Read every account's calls into the store, once."""
    from call_logs.commands.sync import sync_accounts  # noqa: PLC0415 - only this command needs it

    with _configured(demo=demo, history=history) as config:
        sys.exit(sync_accounts(config, account, as_json=as_json))


@cli.command()
@_demo_option
@_json_option
def check(*, demo: bool, as_json: bool) -> None:
    """Tell what works, what to fix, what to try later.

    Makes one cheap authenticated request an account, and shows what each vendor gives.
    """
    from call_logs.commands.check import check_accounts  # noqa: PLC0415 - only this command needs it

    with _configured(demo=demo) as config:
        sys.exit(check_accounts(config, as_json=as_json))


@cli.command("import")
@click.argument("files", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--account", help="The account whose reports these are.")
@_json_option
def import_(*, files: tuple[Path, ...], account: str | None, as_json: bool) -> None:
    """Keep calls from SignalWire's post-prompt reports.

    A file holds JSON: one report, a list of them, or one a line.
    """
    from call_logs.commands.import_ import import_reports  # noqa: PLC0415 - only this command needs it

    with _configured(demo=False) as config:
        sys.exit(import_reports(config, files, account, as_json=as_json))


@cli.command("migrate")
@click.option("--to", required=True, help="A new file, or postgresql://user@host/database.")
@_json_option
def migrate_(*, to: str, as_json: bool) -> None:
    """Copy all calls to another database, and compare.

    From the one that CALL_LOGS_DATABASE names. An interrupted copy goes on where it was.
    """
    from call_logs.commands.migrate import migrate  # noqa: PLC0415 - only this command needs it
    from call_logs.config import hide_passwords  # noqa: PLC0415 - as above

    hide_passwords(to)
    with _configured(demo=False) as config:
        sys.exit(migrate(config, to, as_json=as_json))


@cli.command("purge")
@click.option("--call", help="This call, with its legs: account/id.")
@click.option("--phone", help="Calls from or to this number.")
@click.option("--account", help="Calls of this account.")
@click.option("--before", help="Calls that began before: 2026-01-31, last month, 90 days ago.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@_json_option
def purge_(
    *, call: str | None, phone: str | None, account: str | None, before: str | None, yes: bool, as_json: bool
) -> None:
    """Erase calls from the database for good.

    Those for which all the given conditions hold. No sync brings them back; at the vendor nothing is deleted.
    """
    from call_logs.commands.purge import Wanted, purge  # noqa: PLC0415 - only this command needs it

    with _configured(demo=False) as config:
        sys.exit(purge(config, Wanted(call, phone, account, before), yes=yes, as_json=as_json))


@cli.command()
@click.option("--since", help="Entries since: today, last week, 2026-01-31.")
@click.option("--limit", default=100, show_default=True, help="How many at most.")
@_json_option
def audit(*, since: str | None, limit: int, as_json: bool) -> None:
    """Show who was told of which calls, newest first. Nothing that was said is in it."""
    from call_logs.commands.audit import show_audit  # noqa: PLC0415 - only this command needs it

    with _configured(demo=False) as config:
        sys.exit(show_audit(config, since, limit, as_json=as_json))


@cli.group()
def token() -> None:
    """Say who may ask the team server."""


@token.command("new")
@click.argument("name")
@click.option("--accounts", help="Only these, with commas between; all, if left out.")
@click.option("--scopes", help="With commas between; calls:read,transcripts:read if left out.")
@_json_option
def token_new(*, name: str, accounts: str | None, scopes: str | None, as_json: bool) -> None:
    """Make a token and print it, this once."""
    from call_logs.commands.token import new_token  # noqa: PLC0415 - only this command needs it

    with _configured(demo=False) as config:
        new_token(config, name, accounts, scopes, as_json=as_json)


@token.command("list")
@_json_option
def token_list(*, as_json: bool) -> None:
    """List the tokens: names, accounts, scopes."""
    from call_logs.commands.token import list_tokens  # noqa: PLC0415 - only this command needs it

    with _configured(demo=False) as config:
        list_tokens(config, as_json=as_json)


@token.command("revoke")
@click.argument("name")
@_json_option
def token_revoke(*, name: str, as_json: bool) -> None:
    """Let a token in no more, from now on."""
    from call_logs.commands.token import revoke_token  # noqa: PLC0415 - only this command needs it

    with _configured(demo=False) as config:
        revoke_token(config, name, as_json=as_json)


for _command in COMMANDS:
    cli.add_command(_command)


def main() -> None:
    """Run the command line; our errors become one line on stderr and an exit code."""
    logs.install()
    try:
        cli(prog_name=PROGRAM, standalone_mode=False)
    except click.exceptions.Abort:
        sys.exit(130)
    except click.ClickException as error:
        error.show()
        sys.exit(WRONG_USAGE)
    except ConfigError as error:
        click.echo(f"call-logs-mcp: {error}", err=True)
        sys.exit(WRONG_USAGE)
    except CallLogsError as error:
        click.echo(f"call-logs-mcp: {error}", err=True)
        sys.exit(FAILED)


if __name__ == "__main__":
    main()
