"""Voice vendors: the contract of an adapter, and how adapters are found.

A provider is an async iterator of pages of canonical calls, newest first. Paging styles, detail reads and id schemes
stay inside; mappings from a vendor's words to ours are pure functions beside it. A module in this folder is a
provider by existing; one from another distribution by the entry-point group `call_logs.providers`.
"""

import functools
import hashlib
import ipaddress
import pkgutil
import re
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http import HTTPStatus
from importlib import import_module
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Generic, TypeVar, cast

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    SecretStr,
    StringConstraints,
    ValidationError,
)
from pydantic_core import CoreSchema, core_schema

from call_logs.errors import ConfigError, ProviderError, UnexpectedPayload
from call_logs.model import Call
from call_logs.store import Unreadable

if TYPE_CHECKING:
    from call_logs.providers._http import Api

FEATURES = (
    "transcript",
    "offsets",
    "actions",
    "summary",
    "direction",
    "agent",
    "status",
    "cost",
    "recording",
    "server-side dates",
)
"""What a provider may give, in the order in which tables show it."""

NO_ACCOUNT = (
    "No account is configured.",
    (
        "Run call-logs-mcp setup in a terminal, or set a provider's variables (for HighLevel: HIGHLEVEL_TOKEN and "
        "HIGHLEVEL_LOCATION_ID) or CALL_LOGS_CONFIG, and restart; to try without any, run: call-logs-mcp serve --demo."
    ),
)
"""What to say, and what to do next, where there is no account at all."""


def _printable(secret: SecretStr) -> SecretStr:
    if not re.fullmatch(r"[\x21-\x7e]+", secret.get_secret_value()):
        raise ValueError(
            "must be printable ASCII without spaces or line breaks; copy it again from the vendor's console"
        )
    return secret


_ORIGIN = re.compile(
    r"(?P<scheme>(?i:https?))://(?P<host>[A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(?::(?P<port>[0-9]{1,5}))?"
    r"(?:/(?!\.{1,2}(?:/|$))[A-Za-z0-9._~-]+)*/?"
)
_LAST_PORT = 65_535


def _origin(url: str) -> str:
    parts = _ORIGIN.fullmatch(url)
    if parts is None or int(parts["port"] or 0) > _LAST_PORT:
        raise ValueError("must be a scheme, a host and an optional path, such as https://api.example.com")
    if parts["scheme"].lower() == "http" and not is_loopback(parts["host"].strip("[]")):
        raise ValueError("must be https, so that the credential does not travel in the clear")
    return url.rstrip("/")


def is_loopback(host: str) -> bool:
    """Whether the host is this machine."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


WEBHOOK = "webhook_"
"""How settings begin that concern what a vendor posts: a server for a team, and not which calls are read."""


def _guessless(secret: SecretStr | None) -> SecretStr | None:
    if secret is not None and not re.fullmatch(r"[A-Za-z0-9_-]{32,100}", secret.get_secret_value()):
        raise ValueError("must be 32 to 100 letters, digits, - and _, such as `openssl rand -hex 24` prints")
    return secret


Secret = Annotated[SecretStr, AfterValidator(_printable)]
WebhookSecret = Annotated[SecretStr | None, AfterValidator(_guessless)]
Identifier = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
Origin = Annotated[str, AfterValidator(_origin)]


class Settings(BaseModel):
    """What an account needs. A field is a key of its table in the file and, upper-case behind the provider's name, a
    variable; `Secret` fields are never shown."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True, defer_build=True)

    base_url: Origin | None = None


class WebhookSettings(Settings):
    """Of a vendor that posts calls by itself. `webhook_secret` is the last part of the account's address for that; without
    one there is no such address. Further settings for it are named `webhook_…` as well."""

    webhook_secret: WebhookSecret = None


class Wire(BaseModel):
    """What a vendor sends: tolerant. Unknown fields are ignored; what any source shows missing is optional.

    Numbers are finite: JSON may hold one too large for a float, and a text that says "Infinity".
    """

    model_config = ConfigDict(
        extra="ignore",
        frozen=True,
        hide_input_in_errors=True,
        defer_build=True,
        coerce_numbers_to_str=True,
        allow_inf_nan=False,
    )


class _OrNone:
    """Makes None of what cannot be read. Within pydantic's core: a function of ours would take most of a page's time."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.with_default_schema(handler(source), default=None, on_error="default")


Moment = Annotated[
    AwareDatetime,
    Field(ge=datetime(1970, 1, 1, tzinfo=UTC), lt=datetime(2200, 1, 1, tzinfo=UTC)),
    AfterValidator(lambda moment: moment.astimezone(UTC)),
]
"""A vendor's time, in UTC. One that arithmetic could not bear (a zero date) counts as unreadable."""

OR_NONE = _OrNone()
"""Annotates a wire field that a call can do without: None where it cannot be read."""

RecordId = Annotated[str, StringConstraints(min_length=1, max_length=128, pattern=r"^\S(?:.*\S)?$")]
"""A call's id at its vendor: one line without spaces around it, as an answer repeats it and a question gives it back."""

SipCode = Annotated[Annotated[int, Field(ge=0, le=999)] | None, OR_NONE]
"""Three digits; a longer number would come out as text, which is not what answers promise."""


@dataclass(frozen=True)
class Connection:
    """How a vendor is reached.

    `rate` is (requests, seconds): so many may go at once, and as many again, spread evenly, in each such span; any
    one span sees fewer than twice as many. `posts` names the paths that may be POSTed to; all else is GET. `explain`
    turns a refusal (status, the vendor's words in lower case) into our next step. `authorize` gives the headers of a
    GET where the credential is a token that expires: it is asked before each with None, and once more after a 401
    with the headers that were refused. `request_id_headers` number the vendor's answers; a refusal's number goes to our
    log, for the vendor's support.
    """

    title: str
    account: str
    base_url: str
    headers: Mapping[str, str] = field(repr=False)
    rate: tuple[int, float] = (10, 1.0)
    posts: frozenset[str] = frozenset()
    explain: Callable[[int, str], str | None] = lambda _status, _words: None
    authorize: Callable[[Mapping[str, str] | None], Awaitable[Mapping[str, str]]] | None = field(
        default=None, repr=False
    )
    request_id_headers: tuple[str, ...] = ()


@dataclass(frozen=True)
class Page:
    """Calls in the order listed, newest first.

    `reached`: every call that began at or after it has been listed by now; None where the order does not tell.
    `resume`: where a later reading may go on instead of starting over (opaque). `unreadable`: records left out.
    `unchanged`: ids of calls that are listed too and left out of `calls`, since they are held and final. `deleted`: ids of
    which the vendor says that they were deleted.
    """

    calls: tuple[Call, ...]
    reached: datetime | None = None
    resume: str | None = None
    unreadable: tuple[Unreadable, ...] = ()
    unchanged: tuple[str, ...] = ()
    deleted: tuple[str, ...] = ()


@dataclass(frozen=True)
class Delivery:
    """What was posted to an account's address, before any of it is believed.

    `headers` are under lower-case names. `addresses`: how the vendor may have written the address that it posted to, for
    signatures over it.
    """

    body: bytes = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    addresses: tuple[str, ...] = field(default=(), repr=False)


@dataclass(frozen=True)
class Told:
    """A call that a vendor posted. Where it is not `whole`, only its turns and its id count: its vendor's log has the rest."""

    call: Call
    whole: bool = True


@dataclass(frozen=True)
class Webhook:
    """How a vendor posts calls: what it names them, the header that signs a delivery (None where it can sign none), and
    the HTTP status upon which it delivers again, where the store is down."""

    events: str
    signature: str | None = None
    again: HTTPStatus = HTTPStatus.SERVICE_UNAVAILABLE


S = TypeVar("S", bound=Settings)
W = TypeVar("W", bound=Wire)


class Provider(ABC, Generic[S]):
    """One account at one vendor.

    `slug` is the module's name, the prefix of its variables and the tape's name. `gives` is what the vendor's API
    shows, from `FEATURES`; the tapes prove it. `silent_because` says why calls have no transcript, where the vendor
    never gives one. `settled` tells which of these calls (by the vendor's ids) are held and final, so that their
    details need not be read again; sync sets it. `reports` names what `read_report` takes, where a vendor sends such.
    `tells_more_by_id`: `get` knows things that `calls` does not give. `webhook`: how the vendor posts calls by itself,
    where it does; `signed` and `read_webhook` then read a delivery, and the settings are `WebhookSettings`.
    """

    slug: ClassVar[str]
    title: ClassVar[str]
    origin: ClassVar[str]
    settings_type: ClassVar[type[Settings]]
    gives: ClassVar[frozenset[str]]
    silent_because: ClassVar[str | None] = None
    reports: ClassVar[str | None] = None
    tells_more_by_id: ClassVar[bool] = False
    webhook: ClassVar[Webhook | None] = None

    def __init__(self, account: str, settings: S, names: Mapping[str, str] | None = None) -> None:
        """`names` says how the operator wrote each setting ("HIGHLEVEL_TOKEN"), for next steps."""
        self.account = account
        self.settings = settings
        self.names = names or {}
        self.settled: Callable[[Sequence[str]], Awaitable[set[str]]] = nothing_settled

    def name_of(self, setting: str) -> str:
        """The setting as the operator wrote it."""
        return self.names.get(setting, f"{self.slug}_{setting}".upper())

    @functools.cached_property
    def api(self) -> "Api":
        """The vendor's HTTP API. Loaded when first used: serving answers from the store needs no HTTP."""
        from call_logs.providers._http import Api  # noqa: PLC0415 - see above

        return Api(self.connection())

    @abstractmethod
    def connection(self) -> Connection:
        """Where and with what credential the vendor is reached."""

    @abstractmethod
    async def check(self) -> None:
        """Make the cheapest authenticated request. Raises `ProviderError`."""

    @abstractmethod
    def calls(self, since: datetime, until: datetime | None = None, resume: str | None = None) -> AsyncGenerator[Page]:
        """Pages of calls that began in [since, until), newest first; `until` None is now.

        May be resumed by the last page's `resume`. Calls may come again; none may be missing. Raises `ProviderError`.
        """

    async def get(self, vendor_call_id: str) -> Call | None:
        """One call by the vendor's id; None where there is none, or the vendor cannot be asked for one."""
        del vendor_call_id
        return None

    @classmethod
    def read_report(cls, report: Any, account: str) -> Call:
        """A report of a call that the user kept (`import FILE`), as parsed from JSON.

        Raises `UnexpectedPayload` for what is none, as does every vendor that sends no reports.
        """
        del report
        raise UnexpectedPayload(
            f"{account}: {cls.title} sends no reports that could be imported.", "Name an account with --account."
        )

    @classmethod
    def signed(cls, delivery: Delivery, settings: S) -> bool:
        """Whether the vendor signed the delivery; also where it signs none, or the account does not ask for it."""
        del delivery, settings
        return True

    @classmethod
    def read_webhook(cls, payload: Any, account: str, settings: S) -> Told | None:
        """The call of a delivery (clean, as parsed from JSON); None for events of other kinds, or of other accounts.

        Raises `UnexpectedPayload`, which names the fields at fault.
        """
        del payload, settings
        raise UnexpectedPayload(f"{account}: {cls.title} posts no calls.", "Remove the address at the vendor.")

    @property
    def trouble(self) -> ProviderError | None:
        """What the request under way last met, while it is tried again."""
        return self.api.trouble if "api" in self.__dict__ else None

    @property
    def clock_skew(self) -> float | None:
        """Seconds by which the vendor's clock was ahead of this machine's in its last answer; None where untold."""
        return self.api.clock_skew if "api" in self.__dict__ else None

    async def aclose(self) -> None:
        """Let go of connections."""
        if "api" in self.__dict__:
            await self.api.aclose()


AnyProvider = Provider[Any]


async def nothing_settled(vendor_call_ids: Sequence[str]) -> set[str]:
    """No call is held: what `Provider.settled` says until sync knows better."""
    del vendor_call_ids
    return set()


@dataclass(frozen=True)
class Account:
    """One set of credentials, named by the user. `problem` is set where its settings cannot be used."""

    name: str
    provider: type[AnyProvider]
    settings: Settings | None
    names: Mapping[str, str] = field(default_factory=dict[str, str])
    problem: str | None = None
    next_step: str | None = None

    @property
    def tenant(self) -> str:
        """Whose calls these are: the required settings that are no secrets, unreadable; empty where there are none."""
        return self._digest(required=True)

    @property
    def scope(self) -> str:
        """Which of them are read: the optional settings, unreadable."""
        return self._digest(required=False)

    def _digest(self, *, required: bool) -> str:
        fields = type(self.settings).model_fields if self.settings is not None else {}
        told = {
            name: value
            for name, field in fields.items()
            if name != "base_url" and not name.startswith(WEBHOOK) and field.is_required() is required
            if (value := getattr(self.settings, name)) is not None and not isinstance(value, SecretStr)
        }
        return hashlib.blake2b(repr(sorted(told.items())).encode(), digest_size=8).hexdigest() if told else ""

    def open(self) -> AnyProvider:
        """The provider of this account. Only for accounts without a problem."""
        return self.provider(self.name, self.settings, self.names)


def read_each(model: type[W], records: Iterable[Any], id_field: str = "id") -> tuple[list[W], list[Unreadable]]:
    """The records that can be read, and for each other one its id and the fields at fault: none spoils the rest."""
    read: list[W] = []
    unreadable: list[Unreadable] = []
    for record in records:
        try:
            read.append(model.model_validate(record))
        except ValidationError as error:
            identifier = cast("dict[str, Any]", record).get(id_field) if isinstance(record, dict) else None
            known = isinstance(identifier, str | int) and identifier
            unreadable.append(Unreadable(str(identifier)[:128] if known else None, fields_at_fault(error)))
    return read, unreadable


def fields_at_fault(error: ValidationError) -> tuple[str, ...]:
    """The names of the fields, never what they held; a key that is no plain name may be a customer's words: `?`."""
    found = (".".join(map(_plain, issue["loc"])) or "the whole" for issue in error.errors(include_input=False))
    return tuple(dict.fromkeys(found))


def _plain(part: str | int) -> str:
    return str(part) if isinstance(part, int) or re.fullmatch(r"[A-Za-z_][A-Za-z0-9_-]{0,40}", part) else "?"


@functools.cache
def discover() -> Mapping[str, type[AnyProvider]]:
    """Every provider by its slug: the modules of this folder, then other distributions' entry points.

    Raises `ConfigError` when two claim one slug.
    """
    found: dict[str, type[AnyProvider]] = {}
    for module in pkgutil.iter_modules(__path__):
        if not module.name.startswith("_"):
            _admit(found, _provider_of(module.name))
    for entry in entry_points(group="call_logs.providers"):
        try:
            _admit(found, entry.load())
        except (ImportError, AttributeError):
            raise ConfigError(f"The provider {entry.name} cannot be loaded; uninstall or repair its package.") from None
    return found


def _provider_of(module: str) -> type[AnyProvider]:
    things: list[object] = list(vars(import_module(f"{__name__}.{module}")).values())
    providers = [
        cast("type[AnyProvider]", one) for one in things if isinstance(one, type) and issubclass(one, Provider)
    ]
    return next(provider for provider in providers if getattr(provider, "slug", None) == module)


def _admit(found: dict[str, type[AnyProvider]], provider: type[AnyProvider]) -> None:
    if not re.fullmatch(r"[a-z][a-z0-9_]{1,30}", provider.slug):
        raise ConfigError(f"The provider {provider.__qualname__} has no usable name; uninstall its package.")
    if found.setdefault(provider.slug, provider) is not provider:
        raise ConfigError(f"Two installed packages bring a provider named {provider.slug}; uninstall one of them.")
