"""`setup`: an account is asked for, checked with its vendor, and written where the next start finds it."""

import json
import sys
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import anyio
import click
import tomlkit
from rich.text import Text
from tomlkit.exceptions import TOMLKitError
from tomlkit.items import InlineTable

from call_logs.commands import claude
from call_logs.commands.check import VERDICTS, Checked, checked
from call_logs.commands.files import replace_file
from call_logs.commands.terminal import console, said, tell
from call_logs.config import PREFIX, account_of, config_file, default_config, from_environment, is_secret
from call_logs.errors import ConfigError
from call_logs.providers import WEBHOOK, AnyProvider, discover

_SUFFIXES = {"_file": "file", "_env": "env"}


@dataclass(frozen=True)
class Wanted:
    """What the command line said. `given` holds KEY=VALUE; what is not among it is asked, where there is somebody to ask.

    `config`: the file to write. `anyway`: also what the vendor refused. `replace`: also over what is there.
    """

    provider: str | None
    account: str | None
    given: tuple[str, ...]
    config: Path | None
    write_claude: bool
    only_print: bool
    anyway: bool
    replace: bool

    @property
    def asks(self) -> bool:
        """Whether there is somebody to ask."""
        return sys.stdin.isatty()


def set_up(wanted: Wanted, *, as_json: bool) -> int:
    """Ask for an account, check it, write it. Returns the exit code: 1 where the vendor refused it and nothing was
    written. Raises `ConfigError`."""
    file = (wanted.config or config_file() or default_config()).expanduser().absolute()
    held = {**_accounts_in(file), **{one.name: None for one in from_environment()}}
    if wanted.write_claude:
        _ask_for_claude(wanted, file)
    provider = _provider(wanted)
    given = _given(provider, wanted.given)
    name = _name(wanted, provider, held)
    table: dict[str, Any] = {}
    while True:
        table = {**given, **(_asked(provider, given, table) if wanted.asks else {})}
        account = account_of(name, {"provider": provider.slug, **table})
        found = anyio.run(checked, account)
        _tell(found, quiet=as_json)
        if found.verdict == "works" or wanted.anyway:
            break
        asked = wanted.asks and table != given
        if not (asked and found.verdict == "fix" and click.confirm("Enter them again?", default=True, err=True)):
            return _refused(found, as_json=as_json)
    if wanted.only_print:
        written, backup = None, None
        _print_table(provider, name, table)
    else:
        written, backup = _written(wanted, file, name, {"provider": provider.slug, **table})
    _conclude(found, file, written, backup, wanted, as_json=as_json)
    return 0


def _refused(found: Checked, *, as_json: bool) -> int:
    if as_json:
        click.echo(json.dumps(_told(found) | {"written": None}))
    else:
        tell("Nothing was written. Run this again, or add --anyway to write it nevertheless.")
    return 1


# -- asking -----------------------------------------------------------------------------------------------------------


def _provider(wanted: Wanted) -> type[AnyProvider]:
    known = discover()
    slug = wanted.provider
    if slug is None and wanted.asks:
        screen = console(stderr=True)
        for one in sorted(known):
            screen.print(Text(f"  {one:<12}").append(known[one].title, style="dim"))
        slug = click.prompt("Which provider", type=click.Choice(sorted(known)), show_choices=False, err=True)
    if slug not in known:
        raise ConfigError(f"Name a provider with --provider: one of {', '.join(sorted(known))}.")
    return known[str(slug)]


def _name(wanted: Wanted, provider: type[AnyProvider], held: Mapping[str, Any]) -> str:
    """What the account is called: not like another one, unless that may be replaced."""
    name = wanted.account or provider.slug
    if wanted.asks and wanted.account is None:
        name = click.prompt("What to call the account", default=name, err=True)
    while True:
        account_of(name, {"provider": provider.slug})  # refuses what cannot be a name before more is asked
        if name not in held or wanted.only_print:
            return name
        if held[name] is None:
            raise ConfigError(
                f"This environment's variables make an account {name} already. Choose another name with --account."
            )
        if wanted.replace:
            return name
        if not wanted.asks:
            raise ConfigError(f"There is an account {name} already. Choose another name with --account, or --replace.")
        if click.confirm(f"There is an account {name} already. Replace it?", default=False, err=True):
            return name
        name = click.prompt("What to call the new one", err=True)


def _ask_for_claude(wanted: Wanted, file: Path) -> None:
    """Refuse early what could not be written later: a broken configuration, or an entry that may not be changed."""
    path = claude.config_path()
    old = claude.read(path).get("mcpServers", {}).get(claude.SERVER)
    if old in (None, claude.merged(old, _environment(file))) or wanted.replace:
        return
    if not wanted.asks:
        raise ConfigError(f"{path} has another server {claude.SERVER} already. Add --replace to change it.")
    if not click.confirm(f"{path} has another server {claude.SERVER} already. Change it?", default=False, err=True):
        raise ConfigError("Nothing was written. Run setup without --write-claude to see what belongs there.")


def _asked(provider: type[AnyProvider], given: Mapping[str, Any], before: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that were not given, asked one by one; a credential is not shown while it is typed.

    `before` is what was answered the last time, which Enter takes again where it is no credential. Where some were given, and all that are required, nothing is asked.
    """
    table: dict[str, Any] = {}
    fields = provider.settings_type.model_fields
    if given and all(key in given for key, field in fields.items() if field.is_required()):
        return table
    for key, field in fields.items():
        if key == "base_url" or key.startswith(WEBHOOK) or key in given:
            continue
        required, secret = field.is_required(), is_secret(field)
        words = f"{provider.title}: {key.replace('_', ' ')}"
        words += "" if required else " (optional, Enter for none)"
        words += " (not shown)" if secret else ""
        while True:
            old = "" if secret else str(before.get(key, ""))
            value = str(click.prompt(words, default=old, show_default=bool(old), hide_input=secret, err=True)).strip()
            if value or not required:
                break
            tell("It is needed.")
        if value:
            table[key] = value
    return table


def _given(provider: type[AnyProvider], given: tuple[str, ...]) -> dict[str, Any]:
    """The settings that were named on the command line."""
    table: dict[str, Any] = {}
    fields = provider.settings_type.model_fields
    for one in given:
        key, equals, value = one.partition("=")
        if not equals:
            raise ConfigError("--set takes KEY=VALUE, such as --set api_key_file=key.txt.")
        setting, how = next(
            ((key.removesuffix(suffix), how) for suffix, how in _SUFFIXES.items() if key.endswith(suffix)), (key, None)
        )
        if (setting if how else key) not in fields:
            raise ConfigError(f"{provider.title} has no setting of that name. It takes {', '.join(sorted(fields))}.")
        if how == "file":
            table[setting] = {"file": str(Path(value).expanduser().absolute())}
        elif how == "env":
            table[setting] = {"env": value}
        else:
            table[key] = value
            if is_secret(fields[key]):
                tell(f"Note: your shell's history may keep this {key}; --set {key}_file=PATH does not.")
    return table


# -- writing ----------------------------------------------------------------------------------------------------------


def _accounts_in(file: Path) -> Mapping[str, Any]:
    try:
        accounts = tomllib.loads(file.read_text(encoding="utf-8-sig")).get("accounts", {})
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"{file} cannot be read ({type(error).__name__}). Mend it, or name another file with --config."
        ) from None
    if not isinstance(accounts, dict):  # as valid TOML may have it
        raise ConfigError(f"In {file}, accounts are tables: [accounts.NAME]. Mend it, or name another file.")
    return cast("dict[str, Any]", accounts)


def _written(wanted: Wanted, file: Path, name: str, table: Mapping[str, Any]) -> tuple[Path, Path | None]:
    """The file with the account, and the backup of Claude Desktop's where that was written too."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        replace_file(file, with_account(file.read_text(encoding="utf-8-sig") if file.exists() else "", name, table))
    except OSError as error:
        raise ConfigError(f"{file} cannot be written ({type(error).__name__}). Name another with --config.") from None
    return file, claude.add(claude.config_path(), _environment(file)) if wanted.write_claude else None


def with_account(text: str, name: str, table: Mapping[str, Any]) -> str:
    """The TOML file's text with this account in it; comments, order and all else as they were. Raises `ConfigError`."""
    try:
        document = tomlkit.parse(text)
        accounts: Any = document.setdefault("accounts", tomlkit.table(is_super_table=True))
        new = tomlkit.inline_table() if isinstance(accounts, InlineTable) else tomlkit.table()
        for key, value in table.items():
            if isinstance(value, dict):
                inline = tomlkit.inline_table()
                for name_of, named in cast("dict[str, str]", value).items():
                    inline.add(name_of, named)
                new.add(key, inline)
            else:
                new.add(key, value)
        accounts[name] = new
        written = tomlkit.dumps(document)
        before, after = tomllib.loads(text), tomllib.loads(written)
    except (TOMLKitError, ValueError) as error:
        raise ConfigError(f"The config file could not be written anew ({type(error).__name__}).") from None
    expected = {**before, "accounts": {**before.get("accounts", {}), name: dict(table)}}
    if after != expected:
        raise ConfigError(f"The config file could not be written anew. Add [accounts.{name}] to it by hand.")
    return written


def _environment(file: Path) -> dict[str, str]:
    """What a host must set so that the server reads this file."""
    return {f"{PREFIX}CONFIG": str(file)}


# -- telling ----------------------------------------------------------------------------------------------------------


def _tell(found: Checked, *, quiet: bool) -> None:
    if quiet:
        return
    word, colour = VERDICTS[found.verdict]
    line = Text(f"{found.account}: ").append(word, style=colour)
    line.append(said(f". {found.problem} {found.next_step or ''}") if found.problem else ".")
    console(stderr=True).print(line)


def _print_table(provider: type[AnyProvider], name: str, table: Mapping[str, Any]) -> None:
    """The account's table on stderr, with its credentials left out."""
    fields = provider.settings_type.model_fields
    shown = {key: "…" if is_secret(fields[key]) and isinstance(one, str) else one for key, one in table.items()}
    click.echo(with_account("", name, {"provider": provider.slug, **shown}), err=True)


def _told(found: Checked) -> dict[str, Any]:
    return {
        "account": found.account,
        "provider": found.provider,
        "verdict": found.verdict,
        "problem": found.problem,
        "next_step": found.next_step,
    }


def _conclude(
    found: Checked, file: Path, written: Path | None, backup: Path | None, wanted: Wanted, *, as_json: bool
) -> None:
    env = _environment(file)
    path = claude.config_path() if wanted.write_claude and written else None
    if as_json:
        paths = {"written": written, "claude": path, "backup": backup}
        entry = {"mcpServers": {claude.SERVER: claude.entry(env)}}
        told = {key: str(value) if value else None for key, value in paths.items()}
        click.echo(json.dumps(_told(found) | told | entry))
        return
    if written:
        tell(f"Written to {written}, which only you can read.")
    if path:
        kept = f" The old one is {backup}." if backup else ""
        tell(f"Claude Desktop's {path} has the server {claude.SERVER} now.{kept} Quit and start it again.")
    else:
        tell(f"For Claude Desktop, in {claude.config_path()} (setup --write-claude does it):")
        click.echo(claude.block(env))
    if file != default_config() and config_file() != file:
        tell(f"In a terminal, set {PREFIX}CONFIG to {file}.")
    tell("Next: call-logs-mcp sync, then call-logs-mcp search WORDS.")
