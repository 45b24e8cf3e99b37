"""Settings: the only module that reads the environment and the config file.

An account comes from the environment (one a provider, in the vendor's own words, named like the provider) or from a
table `[accounts.NAME]` of a TOML file: the one that `CALL_LOGS_CONFIG` names, or the user's own where there is one. Errors name the variable or key, never what it held. An account that cannot be
used is kept with its problem, so that it spoils no other; only what concerns the whole program stops it.
"""

import os
import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, cast, get_args
from urllib.parse import parse_qsl, unquote, urlsplit
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from call_logs.errors import ConfigError
from call_logs.logs import hide
from call_logs.providers import Account, AnyProvider, Settings, discover, is_loopback
from call_logs.text import Masking
from call_logs.times import local_zone, parse_duration

PREFIX = "CALL_LOGS_"
LONGEST = timedelta(days=36_525)
_ACCOUNT_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{1,39}")


def _zone(value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        return ZoneInfo(value)
    except (KeyError, ValueError, OSError) as error:
        raise ValueError("must be an IANA time zone such as Europe/Madrid or America/New_York") from error


def _duration(value: object) -> object:
    return _span(str(value)) if isinstance(value, str | int | float) else value


def _span(text: str) -> timedelta:
    span = parse_duration(text)
    if span > LONGEST:
        raise ValueError("the duration is too long; a hundred years is the most")
    return span


Zone = Annotated[ZoneInfo, BeforeValidator(_zone)]
Duration = Annotated[timedelta, BeforeValidator(_duration)]


def _public_url(value: str) -> str:
    """An https:// address without a query; http:// on this machine only, where nobody listens in."""
    try:
        parts = urlsplit(value)
        port = parts.port
    except ValueError as error:
        raise ValueError("must be an https:// address") from error
    secure = parts.scheme == "https" or (parts.scheme == "http" and is_loopback(parts.hostname or ""))
    if not parts.hostname or not secure or port == 0:
        raise ValueError("must be an https:// address")
    if parts.query or parts.fragment or "@" in parts.netloc or any(character.isspace() for character in value):
        raise ValueError("must be an address without login, query and fragment")
    return value


IssuerUrl = Annotated[str, AfterValidator(_public_url)]
AudienceUrl = Annotated[str, AfterValidator(_public_url)]


class Options(BaseSettings):
    """What concerns the whole program: `CALL_LOGS_…` variables, then the file's top-level keys."""

    model_config = SettingsConfigDict(
        extra="forbid", frozen=True, hide_input_in_errors=True, arbitrary_types_allowed=True
    )

    database: str = Field(
        default="",
        repr=False,
        description="the store's file or postgresql:// address; default: in the user's data directory",
    )
    database_read: str = Field(default="", repr=False, description="a PostgreSQL replica that answers questions")
    config: Path | None = Field(default=None, description="the TOML file with accounts")
    timezone: Zone | None = Field(default=None, description="IANA zone of days and shown times; default: this system's")
    history: Duration = Field(default=timedelta(days=90), description="how far back calls are read")
    retention: Duration | None = Field(default=None, description="calls older than this are erased; default: none is")
    max_age: Duration = Field(default=timedelta(seconds=60), description="older answers are refreshed first")
    wait: Duration = Field(default=timedelta(seconds=3), description="how long an answer waits for that")
    mask: Masking = Field(default=Masking.CARDS, description="what is masked in speech: cards, digits or off")
    tokens: Path | None = Field(default=None, description="the file of the team server's tokens")
    oauth_issuer: IssuerUrl | None = Field(default=None, description="the issuer whose tokens the team server takes")
    oauth_audience: AudienceUrl | None = Field(default=None, description="the team server's address in those tokens")
    oauth_accounts: str = Field(default="", description="the claim of those tokens that names the accounts to be seen")
    requests_per_minute: int = Field(
        default=600, ge=0, description="what one principal may ask the team server; 0: all"
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The environment goes before the file; nothing is read from a .env."""
        del env_settings, dotenv_settings, file_secret_settings
        return _Environment(settings_cls), init_settings


class _Environment(PydanticBaseSettingsSource):
    """Variables as `_variable` reads them: with their `_FILE` variants, and without a host's unfilled placeholders."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        """One setting's value and name; never JSON."""
        del field
        return _variable(f"{PREFIX}{field_name.upper()}"), field_name, False

    def __call__(self) -> dict[str, Any]:
        """All settings that the environment has."""
        found = {name: self.get_field_value(field, name)[0] for name, field in self.settings_cls.model_fields.items()}
        return {name: value for name, value in found.items() if value is not None}


@dataclass(frozen=True)
class OAuth:
    """Whose access tokens the team server takes. `audience` is the server's own address, as tokens name it;
    `accounts_claim` is the claim that names the accounts, None where every token may see all."""

    issuer: str
    audience: str
    accounts_claim: str | None = None


@dataclass(frozen=True)
class Config:
    """Everything that is configured. `database` is a path or a URL, `max_age` and `wait` are seconds.

    `tokens`, `oauth` and `requests_per_minute` (0: no limit) concern the team server; `tokens_required` says that a token
    is needed even while there is none.
    """

    accounts: tuple[Account, ...]
    database: str = field(repr=False)
    zone: ZoneInfo
    history: timedelta
    max_age: float
    wait: float
    masking: Masking
    database_read: str | None = field(default=None, repr=False)
    retention: timedelta | None = None
    tokens: Path | None = None
    tokens_required: bool = False
    oauth: OAuth | None = None
    requests_per_minute: int = 600


def load(
    sandbox: Mapping[str, Mapping[str, str]] | None = None,
    *,
    own_accounts: bool = True,
    database: str | None = None,
    history: str | None = None,
) -> Config:
    """Read the environment and the file it names.

    `sandbox` adds accounts, given as the file's tables; without `own_accounts` there are no others. `database` and
    `history` go before what is configured. Raises `ConfigError`.
    """
    table = _file(config_file())
    options = _options({name: value for name, value in table.items() if name != "accounts"})
    accounts = _from_tables(sandbox or {}, "the sandbox")
    if own_accounts:
        accounts = [*from_environment(), *_from_tables(table.get("accounts", {}), "the config file"), *accounts]
    _refuse_doubles(accounts)
    hide_passwords(database or "", options.database, options.database_read)
    if options.database_read and not (is_address(options.database) and is_address(options.database_read)):
        raise ConfigError(
            f"{PREFIX}DATABASE_READ names a replica of a PostgreSQL database. Set it and {PREFIX}DATABASE to "
            "postgresql:// addresses, or leave it out."
        )
    return Config(
        accounts=tuple(accounts),
        database=database or options.database or str(default_database()),
        database_read=None if database else options.database_read or None,
        zone=options.timezone or local_zone(),
        history=_history(history) if history else options.history,
        max_age=options.max_age.total_seconds(),
        wait=options.wait.total_seconds(),
        masking=options.mask,
        retention=options.retention,
        tokens=options.tokens.expanduser() if options.tokens else _beside(options.database),
        tokens_required=options.tokens is not None,
        oauth=_oauth(options),
        requests_per_minute=options.requests_per_minute,
    )


def _beside(database: str) -> Path:
    """Where the tokens are kept if nothing else is said: beside the database, or where a file of it would be."""
    return (default_database() if is_address(database) or not database else Path(database)).with_name("tokens.json")


def _oauth(options: Options) -> OAuth | None:
    issuer, audience = options.oauth_issuer, options.oauth_audience
    if issuer is None and audience is None and not options.oauth_accounts:
        return None
    if issuer is None or audience is None:
        missing = "OAUTH_ISSUER" if issuer is None else "OAUTH_AUDIENCE"
        raise ConfigError(
            f"{PREFIX}{missing} is missing. The team server takes an issuer's tokens only if both {PREFIX}OAUTH_ISSUER "
            f"and {PREFIX}OAUTH_AUDIENCE (its own address, such as https://calls.example.com/mcp) are set."
        )
    return OAuth(issuer, audience, options.oauth_accounts or None)


def hide_passwords(*addresses: str) -> None:
    """Let no log hold the passwords of these database addresses, as they are written there and as they are meant.

    One with an @ or a / in it, which should have been quoted, is hidden as well.
    """
    for address in addresses:
        login, at, _ = address.partition("://")[2].rpartition("@")
        queried = [value for name, value in parse_qsl(address.partition("?")[2]) if name == "password"]
        written = [login.partition(":")[2]] if at else []
        hide(*(form for value in (*written, *queried) for form in (value, unquote(value))))


def _history(given: str) -> timedelta:
    try:
        return _span(given)
    except ValueError as error:
        raise ConfigError(f"--history cannot be used: {error}.") from None


def is_address(database: str) -> bool:
    """Whether this names a database server, not a file."""
    return "://" in database


def default_database() -> Path:
    """The file in the user's data directory of this system."""
    import platformdirs  # noqa: PLC0415 - only where no database is set

    return Path(platformdirs.user_data_dir("call-logs-mcp", appauthor=False)) / "calls.db"


def default_config() -> Path:
    """The TOML file in the user's configuration directory of this system; read where it exists."""
    import platformdirs  # noqa: PLC0415 - only where no file is named

    return Path(platformdirs.user_config_dir("call-logs-mcp", appauthor=False)) / "config.toml"


def config_file() -> Path | None:
    """The TOML file that is read: the one that is named, or the default one where there is one."""
    named = _variable(f"{PREFIX}CONFIG")
    if named is not None:
        return Path(named)
    found = default_config()
    return found if found.exists() else None


def account_of(name: str, table: Mapping[str, Any]) -> Account:
    """The account that a table `[accounts.NAME]` makes, perhaps with its problem. Raises `ConfigError`."""
    [account] = _from_tables({name: table}, "the accounts")
    return account


def misspelt(names: Iterable[str] | None = None) -> dict[str, str | None]:
    """Variables of ours that nothing reads, each with what may be meant; of this environment, or of these names."""
    import difflib  # noqa: PLC0415 - only for who looks for a mistake

    known = [form for name in variables() for form in (name, f"{name}_FILE")]
    ours = tuple(f"{prefix}_" for prefix in (PREFIX.rstrip("_"), *(slug.upper() for slug in discover())))
    read = _named_in_file() if names is None else frozenset[str]()
    found: dict[str, str | None] = {}
    for name in sorted(os.environ if names is None else names):
        begins = name.upper().startswith(ours) or bool(difflib.get_close_matches(name.upper(), known, 1, 0.9))
        if begins and name not in known and name not in read:
            found[name] = next(iter(difflib.get_close_matches(name.upper(), known, 1, 0.6)), None)
    return found


def _named_in_file() -> frozenset[str]:
    """The variables that the config file's accounts read: their names are the operator's."""
    try:
        accounts: dict[str, Any] = _file(config_file()).get("accounts", {})
    except ConfigError:
        return frozenset()
    tables = [cast("dict[str, Any]", table) for table in accounts.values() if isinstance(table, dict)]
    values = [cast("dict[str, Any]", value) for table in tables for value in table.values() if isinstance(value, dict)]
    return frozenset(str(value["env"]) for value in values if "env" in value)


def variables() -> dict[str, str]:
    """Every variable that is read, with what it is for. Documentation is checked against this."""
    found = {f"{PREFIX}{name.upper()}": option.description or "" for name, option in Options.model_fields.items()}
    for slug, provider in discover().items():
        for name, setting in provider.settings_type.model_fields.items():
            found[_variable_of(slug, name)] = f"{provider.title}, {'required' if setting.is_required() else 'optional'}"
    return found


def _variable_of(slug: str, setting: str) -> str:
    return f"{slug}_{setting}".upper()


def _variable(name: str) -> str | None:
    """A variable, or the content of the file that `<NAME>_FILE` names.

    Empty counts as absent, and so does a placeholder that a host left unfilled.
    """
    value = _filled(os.environ.get(name))
    path = _filled(os.environ.get(f"{name}_FILE"))
    if value is not None and path is not None:
        raise ConfigError(f"Both {name} and {name}_FILE are set. Keep one of them.")
    return value if path is None else _filled(_secret_file(path, f"{name}_FILE"))


def _filled(value: str | None) -> str | None:
    if value is None or not value.strip() or re.fullmatch(r"\$\{[^}]*\}", value.strip()):
        return None
    return value.strip()


def _secret_file(path: str, name: str) -> str:
    try:
        return Path(path).expanduser().read_text(encoding="utf-8-sig").strip()
    except (OSError, ValueError, RuntimeError) as error:
        raise ConfigError(f"The file that {name} names cannot be read ({type(error).__name__}).") from None


def _file(path: Path | None) -> dict[str, Any]:
    if path is None:
        return {}
    try:
        table = tomllib.loads(path.expanduser().read_text(encoding="utf-8-sig"))
    except tomllib.TOMLDecodeError as error:
        place = re.search(r" \(at (?:line \d+, column \d+|end of document)\)", str(error))
        raise ConfigError(f"{_called(path)} is not valid TOML{place[0] if place else ''}.") from None
    except (OSError, ValueError, RuntimeError) as error:
        raise ConfigError(f"{_called(path)} cannot be read ({type(error).__name__}).") from None
    if not isinstance(table.get("accounts", {}), dict):
        raise ConfigError("In the config file, accounts are tables: [accounts.NAME].")
    unknown = sorted(set(table) - {*Options.model_fields, "accounts"} | set(table) & {"config"})
    if unknown:
        raise ConfigError(
            f"The config file has no setting {unknown[0]}. It takes {', '.join(sorted(Options.model_fields))} "
            "and [accounts.NAME] tables."
        )
    return table


def _called(path: Path) -> str:
    return f"The config file {path}" if path == default_config() else f"The file that {PREFIX}CONFIG names"


def _options(table: Mapping[str, Any]) -> Options:
    try:
        return Options(**table)
    except ValidationError as error:
        setting, reason = _first_issue(error)
        raise ConfigError(
            f"{PREFIX}{setting.upper()} (or {setting} in the config file) cannot be used: {reason}."
        ) from None


def from_environment() -> list[Account]:
    """The accounts that this environment's variables make, one a provider at most."""
    accounts: list[Account] = []
    for slug, provider in discover().items():
        names = {name: _variable_of(slug, name) for name in provider.settings_type.model_fields}
        try:
            given = {name: value for name, variable in names.items() if (value := _variable(variable)) is not None}
        except ConfigError as error:
            accounts.append(Account(slug, provider, None, names, str(error), "Then restart."))
            continue
        if set(given) - {"base_url"}:
            accounts.append(_account(slug, provider, given, names))
    return accounts


def _from_tables(tables: Mapping[str, Any], source: str) -> list[Account]:
    accounts: list[Account] = []
    for name, table in tables.items():
        if not _ACCOUNT_NAME.fullmatch(name):
            raise ConfigError(
                "An account's name in the config file is 2 to 40 characters: small letters, digits, - and _. "
                f"One of {source} is not."
            )
        given: dict[str, Any] = dict(cast("Mapping[str, Any]", table)) if isinstance(table, Mapping) else {}
        slug = str(given.pop("provider", ""))
        provider = discover().get(slug)
        if provider is None:
            raise ConfigError(f"The account {name} needs provider = one of {', '.join(discover())}.")
        if name in discover() and name != slug:
            raise ConfigError(f"The account {name} is named like another provider. Give it another name.")
        names = {key: f"{key} of [accounts.{name}]" for key in provider.settings_type.model_fields}
        try:
            given = {key: _resolved(value, names.get(key, key)) for key, value in given.items()}
        except ConfigError as error:
            accounts.append(Account(name, provider, None, names, str(error), "Then restart."))
            continue
        accounts.append(_account(name, provider, given, names))
    return accounts


def _resolved(value: Any, name: str) -> Any:
    """A literal, `{ env = "NAME" }` or `{ file = "path" }`."""
    if not isinstance(value, dict):
        return value
    match cast("dict[str, Any]", value):
        case {"env": str(variable), **rest} if not rest:
            found = _filled(os.environ.get(variable))
            if found is None:
                # What is no variable's name may be the credential itself, written in its place.
                named = f" {variable}" if re.fullmatch(r"[A-Z][A-Z0-9_]{0,63}", variable) else ""
                raise ConfigError(f"{name} reads a variable{named} that is not set.")
            return found
        case {"file": str(path), **rest} if not rest:
            found = _filled(_secret_file(path, name))
            if found is None:
                raise ConfigError(f"The file that {name} names is empty.")
            return found
        case _:
            raise ConfigError(f'{name} must be a value, {{ env = "NAME" }} or {{ file = "path" }}.')


def _account(name: str, provider: type[AnyProvider], given: Mapping[str, Any], names: Mapping[str, str]) -> Account:
    """The account, or the account with its problem where its settings cannot be used. No log will hold its secrets."""
    fields = provider.settings_type.model_fields
    hide(*(str(value) for key, value in given.items() if key not in fields or is_secret(fields[key])))
    try:
        settings: Settings | None = provider.settings_type.model_validate(given)
        return Account(name, provider, settings, names)
    except ValidationError as error:
        setting, reason = _first_issue(error)
        known = names.get(setting)
        problem = f"{known} cannot be used: {reason}." if known else f"{provider.title} has no setting {setting[:40]}."
        if reason == "it is missing":
            problem = f"{known} is missing."
        return Account(
            name, provider, None, names, f"{name}: {problem}", f"Set {known or 'another name'}, then restart."
        )


def is_secret(field: FieldInfo) -> bool:
    """Whether a setting is a credential."""
    return _holds_secret(field.annotation)


def _holds_secret(annotation: Any) -> bool:
    """Also within `Secret | None`, however it is annotated."""
    return annotation is SecretStr or any(map(_holds_secret, get_args(annotation)))


def _first_issue(error: ValidationError) -> tuple[str, str]:
    """The setting at fault and why, in words that never hold its value."""
    issue = error.errors(include_input=False, include_url=False, include_context=False)[0]
    setting = str(issue["loc"][0]) if issue["loc"] else ""
    reason = {
        "missing": "it is missing",
        "string_pattern_mismatch": "it may hold letters, digits, - and _ only (1 to 64 of them)",
        "extra_forbidden": "there is no such setting",
    }.get(issue["type"], issue["msg"].removeprefix("Value error, "))
    return setting, reason


def _refuse_doubles(accounts: Sequence[Account]) -> None:
    names = [account.name for account in accounts]
    for name in names:
        if names.count(name) > 1:
            raise ConfigError(
                f"Two accounts are named {name}: one of the environment and one of the config file. Rename the latter."
            )
