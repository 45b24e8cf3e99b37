"""`POST /webhooks/{provider}/{account}/{secret}`: calls that vendors post when they end, so that nobody need ask.

A delivery takes the way of a sync: read by its provider, cleaned, masked, merged and saved. Who does not know an account's
secret cannot tell an account that exists from one that does not; the secret stands in the address and therefore in no
log of ours. Nothing of a body is repeated in an answer or a line of the log, but for the names of fields.
"""

import functools
import hmac
import logging
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import anyio
import anyio.to_thread
from pydantic import ValidationError
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from call_logs.errors import StoreError, UnexpectedPayload
from call_logs.providers import Account, Delivery, Told, WebhookSettings, fields_at_fault
from call_logs.providers._payload import parsed
from call_logs.text import clean_tree
from call_logs.tools import App

PATH = "/webhooks/{provider}/{account}/{secret}"

MOST_BYTES = 8 * 1024 * 1024
"""Of a body. A report of an hour's call takes less than one."""

BODY_SECONDS = 20.0
"""How long a body may take to arrive."""

AT_ONCE = 4
"""Bodies that are read and kept at the same time; others wait."""

AGAIN_SECONDS = 30
"""When a vendor should try again, where the store is down."""

_JSON = re.compile(r"(?:application/json|text/json|application/[a-z0-9.-]+\+json)\s*(?:;.*)?", re.IGNORECASE)
_nobodys = secrets.token_urlsafe(32)
_log = logging.getLogger(__name__)


class _Refused(Exception):
    """What the vendor is answered in place of `kept`."""

    def __init__(self, status: int, kind: str, detail: str, **headers: str) -> None:
        super().__init__(kind)
        self.status, self.kind, self.detail, self.headers = status, kind, detail, headers

    def answer(self) -> JSONResponse:
        """As "problem details" (RFC 9457)."""
        problem = {"type": f"urn:call-logs:webhook:{self.kind}", "status": self.status, "detail": self.detail}
        return JSONResponse(problem, self.status, self.headers, "application/problem+json")


@dataclass(frozen=True)
class _Kept:
    """A call to be kept, and whose it is."""

    account: Account
    told: Told


def routes(app: App) -> list[Route]:
    """The address of every account that has a webhook secret, for the server to mount."""
    room = anyio.Semaphore(AT_ONCE)

    async def receive(request: Request) -> JSONResponse:
        try:
            accounts = _addressed(app, request)
            _check_form(request)
            async with room:
                return await _received(app, accounts, request)
        except _Refused as refused:
            return refused.answer()

    return [Route(PATH, receive, methods=["POST"])]


def _addressed(app: App, request: Request) -> list[Account]:
    """The account that the address names, and those of its provider that share its secret: a vendor may post the events
    of all to one address. Nothing but the secret's length can be told from how long this takes."""
    slug, name, given = (request.path_params[part] for part in ("provider", "account", "secret"))
    accounts = [app.sync.account(one) for one in app.sync.names]
    able = [one for one in accounts if one.provider.slug == slug and one.provider.webhook is not None]
    named = next((one for one in able if one.name == name), None)
    if not _opens(named, given) or named is None:
        raise _Refused(
            HTTPStatus.NOT_FOUND, "unknown", "There is nothing here. Check provider, account and secret of the address."
        )
    return [named, *(one for one in able if one is not named and _opens(one, given))]


def _opens(account: Account | None, given: str) -> bool:
    settings = account.settings if account is not None else None
    held = settings.webhook_secret if isinstance(settings, WebhookSettings) else None
    wanted = held.get_secret_value() if held is not None else _nobodys
    return hmac.compare_digest(given.encode("utf-8", "replace"), wanted.encode())


def _check_form(request: Request) -> None:
    if not _JSON.fullmatch(request.headers.get("content-type", "")):
        raise _Refused(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "form", "Post application/json.")
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise _Refused(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "form", "Post the body without a content-encoding.")
    length = request.headers.get("content-length", "0")
    if not length.isdecimal() or len(length) > len(str(MOST_BYTES)) or int(length) > MOST_BYTES:
        raise _too_long()


def _too_long() -> _Refused:
    return _Refused(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "size", f"A body has at most {MOST_BYTES} bytes.", connection="close"
    )


async def _body(request: Request) -> bytes:
    """The body, counted while it comes: what it says of its own length is not believed."""
    parts = bytearray()
    try:
        with anyio.fail_after(BODY_SECONDS):
            async for part in request.stream():
                parts += part
                if len(parts) > MOST_BYTES:
                    raise _too_long()
    except TimeoutError:
        raise _Refused(
            HTTPStatus.REQUEST_TIMEOUT, "slow", f"A body takes at most {BODY_SECONDS:.0f} seconds.", connection="close"
        ) from None
    except ClientDisconnect:
        raise _Refused(HTTPStatus.BAD_REQUEST, "partial", "The body ended too early.") from None
    return bytes(parts)


async def _received(app: App, accounts: Sequence[Account], request: Request) -> JSONResponse:
    host, path = request.headers.get("host", ""), request.scope.get("raw_path", b"").decode("latin-1")
    query = f"?{request.url.query}" if request.url.query else ""
    delivery = Delivery(
        await _body(request),
        {name.lower(): value for name, value in request.headers.items()},
        tuple(f"{scheme}://{host}{path.partition('?')[0]}{query}" for scheme in ("https", "http")),
    )
    found = await anyio.to_thread.run_sync(functools.partial(_read, accounts, delivery))
    if found is None:
        return JSONResponse({"received": True, "kept": False})
    name, webhook = found.account.name, found.account.provider.webhook
    assert webhook is not None  # noqa: S101 - `_addressed` asked
    if name not in app.sync.readable([name]):
        raise _Refused(
            HTTPStatus.CONFLICT, "account", f"The account {name} cannot be used; list_accounts says what to do."
        )
    try:
        saved = await app.sync.receive(name, found.told)
    except StoreError as error:
        _log.warning("%s: a call that was posted could not be kept: %s", name, error)
        raise _Refused(
            webhook.again, "store", "It cannot be kept now. Post it again.", **{"retry-after": str(AGAIN_SECONDS)}
        ) from None
    return JSONResponse({"received": True, "kept": not saved.refused})


def _read(accounts: Sequence[Account], delivery: Delivery) -> _Kept | None:
    """The call, of the first account whose it is; None where it is none's, or no call."""
    name = accounts[0].name
    signed = [one for one in accounts if one.provider.signed(delivery, one.settings)]
    if not signed:
        _log.warning("%s: a delivery without a valid signature was refused", name)
        raise _Refused(HTTPStatus.UNAUTHORIZED, "signature", "The signature is missing or does not fit.")
    try:
        payload: Any = clean_tree(parsed(delivery.body))
    except ValueError:
        raise _Refused(HTTPStatus.BAD_REQUEST, "json", "The body is not JSON that can be read.") from None
    for account in signed:
        try:
            told = account.provider.read_webhook(payload, account.name, account.settings)
        except UnexpectedPayload as error:
            raise _unreadable(name, error.fields) from None
        except ValidationError as error:
            raise _unreadable(name, fields_at_fault(error)) from None
        if told is not None:
            return _Kept(account, told)
    return None


def _unreadable(name: str, fields: Sequence[str]) -> _Refused:
    at_fault = ", ".join(fields[:5]) or "the whole"
    _log.warning("%s: a delivery could not be read: %s", name, at_fault)
    return _Refused(HTTPStatus.UNPROCESSABLE_ENTITY, "unreadable", f"These fields cannot be read: {at_fault}.")
