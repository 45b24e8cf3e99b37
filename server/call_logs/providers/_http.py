"""The one HTTP client: every request to a vendor passes here, and `httpx` is imported nowhere else.

A credential travels in headers to the configured origin only: ids are quoted and checked, redirects refused, and
nothing but GET is sent unless a provider declares the path. An exchange has one deadline from connect to last byte,
and a body a cap on what it may decode to (httpx 0.28.1 decodes without one). What comes back is cleaned before any
adapter sees it.
"""

import contextlib
import logging
import re
import zlib
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any, TypeVar
from urllib.parse import quote, urlsplit

import anyio
import httpx
import stamina
from aiolimiter import AsyncLimiter
from pydantic import ValidationError

from call_logs.errors import (
    AuthFailed,
    ConfigError,
    ProviderError,
    RateLimited,
    Rejected,
    Unavailable,
    UnexpectedPayload,
)
from call_logs.logs import hide
from call_logs.providers import Connection, Wire, fields_at_fault, is_loopback
from call_logs.providers._payload import parsed
from call_logs.text import clean_tree

W = TypeVar("W", bound=Wire)

DEADLINE_SECONDS = 30.0
MAX_BODY_BYTES = 32 * 1024 * 1024
MAX_RETRY_AFTER_SECONDS = 300.0
ATTEMPTS = 5
RETRY_BUDGET_SECONDS = 120.0

_ID = re.compile(r"[A-Za-z0-9_~-][A-Za-z0-9._~-]{0,127}")
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_REQUEST_ID = re.compile(r'"request_id"\s*:\s*"([^"]*)"')
_log = logging.getLogger(__name__)

for noisy in ("httpx", "httpcore", "httpx2", "httpcore2"):
    # Their INFO lines hold whole URLs.
    logging.getLogger(noisy).setLevel(logging.WARNING)
# Sync says once that a vendor went away and once that it is back; a line a retry says less and more often.
logging.getLogger("stamina").setLevel(logging.ERROR)


class Api:
    """One vendor's HTTP API, through one pooled client. `trouble` is what the running request last met."""

    def __init__(self, connection: Connection) -> None:
        """Nothing is sent yet."""
        self._connection = connection
        self._base = urlsplit(connection.base_url)
        _hide(connection.headers)
        self._who = f"{connection.account} ({connection.title})"
        self._limiter = AsyncLimiter(*connection.rate)
        try:
            self._client = httpx.AsyncClient(
                headers={**connection.headers, "accept": "application/json", "accept-encoding": "gzip, deflate"},
                timeout=DEADLINE_SECONDS,
                follow_redirects=False,
                # A proxy of the environment is for the vendor, not for a stand-in on this machine.
                trust_env=not is_loopback(self._base.hostname or ""),
            )
        except (ImportError, ValueError, OSError):
            raise ConfigError(
                "This machine's proxy or certificate variables (HTTPS_PROXY, ALL_PROXY, SSL_CERT_FILE) cannot be used. "
                "Set an http:// or https:// proxy and an existing file, or unset them."
            ) from None
        self.trouble: ProviderError | None = None
        self.clock_skew: float | None = None
        """Seconds by which the vendor's clock was ahead of this machine's in its last answer; None where untold."""

    async def get(self, path: str, into: type[W], params: Mapping[str, str | int] | None = None, **ids: str) -> W:
        """GET a path below the base URL, `{name}` in it filled by quoted ids; read the JSON into a wire model.

        Retries what may pass, as long as told or with growing jittered waits. Raises `ProviderError`.
        """
        authorize = self._connection.authorize
        if authorize is None:
            return await self._retried("GET", path, into, ids, params=params)
        headers = await authorize(None)
        _hide(headers)
        with contextlib.suppress(_Expired):
            return await self._retried("GET", path, into, ids, params=params, headers=headers, may_expire=True)
        headers = await authorize(headers)
        _hide(headers)
        return await self._retried("GET", path, into, ids, params=params, headers=headers)

    async def post(self, path: str, into: type[W], body: Mapping[str, str]) -> W:
        """POST JSON to a path that the provider declared. Otherwise as `get`."""
        if path not in self._connection.posts:
            raise ValueError(f"{path} is not among the paths that {self._connection.title} declares for POST")
        return await self._retried("POST", path, into, {}, json=body)

    async def aclose(self) -> None:
        """Close the pool."""
        await self._client.aclose()

    async def _retried(self, method: str, path: str, into: type[W], ids: Mapping[str, str], **request: Any) -> W:
        url = self._url(path, ids)
        found: W | None = None
        async for attempt in stamina.retry_context(
            on=self._wait, attempts=ATTEMPTS, timeout=RETRY_BUDGET_SECONDS, wait_initial=0.5, wait_max=30.0
        ):
            with attempt:
                found = await self._exchange(method, url, into, **request)
        self.trouble = None
        assert found is not None  # noqa: S101 - the last attempt either found it or raised
        return found

    def _wait(self, error: Exception) -> bool | float:
        """Whether to try again, or after how many seconds."""
        if not isinstance(error, ProviderError):
            return False
        self.trouble = error if error.retryable else None
        if isinstance(error, RateLimited | Unavailable) and error.retry_after is not None:
            return error.retry_after
        return error.retryable

    def _url(self, path: str, ids: Mapping[str, str]) -> str:
        for name, value in ids.items():
            if not _ID.fullmatch(value):
                raise Rejected(
                    f"{self._who} has no {name} of that form.", "Use an id as list_calls shows it.", http_status=404
                )
        url = self._connection.base_url + path.format(**{name: quote(value, safe="") for name, value in ids.items()})
        parts = httpx.URL(url)
        fixed = self._base.path + path.partition("{")[0]
        if parts.host != self._base.hostname or not parts.path.startswith(fixed):
            raise Rejected(
                f"{self._who} would have been asked for another address.", "Report this as a bug.", http_status=404
            )
        return url

    async def _exchange(self, method: str, url: str, into: type[W], *, may_expire: bool = False, **request: Any) -> W:
        async with self._limiter:
            try:
                with anyio.fail_after(DEADLINE_SECONDS):
                    async with self._client.stream(method, url, **request) as response:
                        self.clock_skew = _ahead(response.headers.get("date", ""))
                        if may_expire and response.status_code == HTTPStatus.UNAUTHORIZED:
                            raise _Expired
                        if not response.is_success:
                            raise self._refusal(response, await self._words(response))
                        return self._read(response, await self._body(response), into)
            except TimeoutError:
                raise Unavailable(
                    f"{self._who} did not answer within {DEADLINE_SECONDS:.0f} s.", "It is tried again by itself."
                ) from None
            except (httpx.TransportError, httpx.DecodingError) as error:
                # Their texts can hold URLs and header values; the class says enough.
                raise Unavailable(
                    f"{self._who} could not be reached ({type(error).__name__}).",
                    "Check this machine's network and the vendor's status page; it is tried again by itself.",
                ) from None

    async def _words(self, response: httpx.Response) -> str:
        """What the vendor says to a refusal, in lower case. The status counts even where this cannot be read."""
        try:
            body = await self._body(response)
        except (ProviderError, httpx.TransportError):
            return ""
        return body[:2000].decode("utf-8", "replace").lower()

    async def _body(self, response: httpx.Response) -> bytes:
        """The decoded body, at most `MAX_BODY_BYTES` of it."""
        encoding = response.headers.get("content-encoding", "").strip().lower()
        if encoding not in ("", "identity", "gzip", "deflate", "x-gzip"):
            raise self._unexpected("an encoding that was not asked for")
        inflate = zlib.decompressobj(47 if "gzip" in encoding else zlib.MAX_WBITS) if encoding in _INFLATED else None
        body = bytearray()
        begun = False
        async for chunk in response.aiter_raw():
            begun = True
            data = chunk
            while data:
                try:
                    body += inflate.decompress(data, 65_536) if inflate else data
                except zlib.error:
                    raise self._cut_short() from None
                data = inflate.unconsumed_tail if inflate else b""
                if len(body) > MAX_BODY_BYTES:
                    raise self._unexpected(f"more than {MAX_BODY_BYTES // 1024 // 1024} MiB in one answer")
            if inflate and inflate.unused_data:
                break  # what follows the end is not read: zlib would keep all of it
        if inflate and begun and not inflate.eof:
            raise self._cut_short()
        return bytes(body)

    def _read(self, response: httpx.Response, body: bytes, into: type[W]) -> W:
        kind = response.headers.get("content-type", "application/json").lower()
        if "json" not in kind:
            raise self._unexpected("something that is not JSON")
        try:
            found = clean_tree(parsed(body))
        except ValueError:
            raise self._unexpected("a body that is not JSON") from None
        try:
            return into.model_validate(found)
        except ValidationError as error:
            fields = fields_at_fault(error)
            raise self._unexpected(f"fields we cannot read: {', '.join(fields[:5])}", fields) from None

    def _refusal(self, response: httpx.Response, words: str) -> ProviderError:
        """The error that a status other than 2xx means. The vendor's words choose our next step, and are not shown."""
        status = response.status_code
        _log.info("%s answered %d%s", self._who, status, self._request_id(response, words))
        advice = self._connection.explain(status, words)
        if status in _CREDENTIAL:
            return AuthFailed(
                f"{self._who} refused the credential (HTTP {status}).",
                advice or "Check the account's credential and its rights, then restart.",
            )
        if status == HTTPStatus.TOO_MANY_REQUESTS:
            return RateLimited(
                f"{self._who} asks us to slow down (HTTP 429).",
                "It is tried again by itself.",
                retry_after=retry_after(response.headers.get("retry-after")),
            )
        if status in _PASSING or response.is_server_error:
            return Unavailable(
                f"{self._who} has a failure on its side (HTTP {status}).",
                "It is tried again by itself; see the vendor's status page if it stays.",
                retry_after=retry_after(response.headers.get("retry-after")),
            )
        if response.is_redirect:
            advice = "Redirects are refused, so that a credential goes nowhere else; check the account's base_url."
        return Rejected(
            f"{self._who} refused the request (HTTP {status}).",
            advice or "Check the account's settings; if they are right, report this as a bug.",
            http_status=status,
        )

    def _request_id(self, response: httpx.Response, words: str) -> str:
        """The vendor's number of a refusal, from a header or else its body. Only a UUID is taken for one."""
        named = [response.headers.get(header, "").lower() for header in self._connection.request_id_headers]
        found = next(filter(_UUID.fullmatch, [*named, *_REQUEST_ID.findall(words)]), None)
        return f" (request {found})" if found else ""

    def _unexpected(self, what: str, fields: tuple[str, ...] = ()) -> UnexpectedPayload:
        return UnexpectedPayload(
            f"{self._who} answered with {what}.",
            "Check the account's base_url; if it is right, the vendor has changed its API: report it.",
            fields=fields,
        )

    def _cut_short(self) -> Unavailable:
        return Unavailable(f"{self._who} broke off its answer.", "It is tried again by itself.")


def _hide(headers: Mapping[str, str]) -> None:
    """No log may hold a credential: the one of a header, without its scheme."""
    hide(*(value.rpartition(" ")[2] for name, value in headers.items() if name.lower() not in _NO_SECRET))


class _Expired(Exception):
    """A 401 to a credential that may have expired before its time: a fresh one is asked for, once."""


_NO_SECRET = ("version", "accept", "content-type", "user-agent")
_INFLATED = ("gzip", "x-gzip", "deflate")
_CREDENTIAL = (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)
_PASSING = (HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY)


def _ahead(date: str) -> float | None:
    """By how many seconds an HTTP date is later than now; None for what is none."""
    try:
        told = parsedate_to_datetime(date)
        return round((told.replace(tzinfo=told.tzinfo or UTC) - datetime.now(UTC)).total_seconds(), 1)
    except (ValueError, TypeError, OverflowError):
        return None


def retry_after(value: str | None) -> float | None:
    """Seconds to wait, from delta-seconds or an HTTP date; clamped to 0..300, None for none or garbage."""
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds()
        except (TypeError, ValueError, OverflowError):
            return None
    return min(max(seconds, 0.0), MAX_RETRY_AFTER_SECONDS) if seconds == seconds else None  # noqa: PLR0124 - NaN
