"""Who may come in: the host and the origin, then the token, then how much it may ask, then whether it may ask that."""

import json
import math
from collections.abc import Callable, Iterator
from http import HTTPStatus
from typing import Any, cast

from mcp.server.transport_security import (
    RequestBodyLimitMiddleware,
    TransportSecurityMiddleware,
    TransportSecuritySettings,
)
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Send
from starlette.types import Scope as Connection

from call_logs.http.authentication import Authentication
from call_logs.http.limits import Limits
from call_logs.http.refusal import Refusal
from call_logs.principals import NOBODY, PRINCIPAL, Principal, Scope, answering
from call_logs.scopes import Needs

MOST_BODY_BYTES = 1024 * 1024
"""A question is far shorter; what is longer is refused before it is read."""

PROBES = ("/healthz", "/readyz")
"""What asks them may know no name of this server, and they tell nothing that checking a name protects."""

_READER = frozenset({Scope.CALLS, Scope.TRANSCRIPTS})


def allowed(hosts: tuple[str, ...]) -> TransportSecuritySettings:
    """This machine's names and these hosts, each with any port (or its own, where it has one), and pages from them."""
    own = ("localhost", "127.0.0.1", "[::1]")
    ported = [form for host in own for form in (host, f"{host}:*")]
    others = [form for host in hosts for form in ((host,) if _has_port(host) else (host, f"{host}:*"))]
    return TransportSecuritySettings(
        enable_dns_rebinding_protection=True,
        allowed_hosts=ported + others,
        allowed_origins=[f"{scheme}://{host}" for host in ported for scheme in ("http", "https")]
        + [f"https://{host}" for host in others],
    )


def _has_port(host: str) -> bool:
    return host.rpartition("]")[2].count(":") == 1


class KnownPlaces:
    """The outermost step: answers only under the server's own names, and only pages of theirs.

    Without it any web page could ask a server on the visitor's machine, through a name that leads there. Nothing within
    is answered as anybody until a request has proved who it is from.
    """

    def __init__(self, app: ASGIApp, settings: TransportSecuritySettings) -> None:
        """`settings`: from `allowed`."""
        self._app = app
        self._check = TransportSecurityMiddleware(settings)

    async def __call__(self, scope: Connection, receive: Receive, send: Send) -> None:
        """ASGI."""
        with answering(NOBODY):
            if scope["type"] == "http" and scope["path"] not in PROBES:
                refused = await self._check.validate_request(Request(scope))
                if refused is not None:
                    await refused(scope, receive, send)
                    return
            await self._app(scope, receive, send)


class Guard:
    """Lets a request through to the protocol, with the principal that it is from in its scope."""

    def __init__(
        self,
        app: ASGIApp,
        authentication: Authentication,
        limits: Limits,
        needs: Needs,
        refused: Callable[[int], None],
    ) -> None:
        """`app` is the protocol's; `refused` hears the status of each refusal."""
        self._app = app
        self._authentication = authentication
        self._limits = limits
        self._needs = needs
        self._refused = refused
        self._limited = RequestBodyLimitMiddleware(self._permitted, MOST_BODY_BYTES)

    async def __call__(self, scope: Connection, receive: Receive, send: Send) -> None:
        """ASGI."""
        try:
            principal = await self._admitted(scope)
        except Refusal as refusal:
            self._refused(refusal.status)
            await refusal.response()(scope, receive, send)
            return
        await self._limited({**scope, PRINCIPAL: principal}, receive, send)

    async def _admitted(self, scope: Connection) -> Principal:
        """Who may ask something now. Raises `Refusal`."""
        if scope["method"] != "POST":
            # There are no sessions: nothing would ever come on a stream that a GET opens.
            words = "Send a POST with one JSON-RPC message."
            raise Refusal(HTTPStatus.METHOD_NOT_ALLOWED, words, {"Allow": "POST"})
        principal = await self._authentication.principal(Headers(scope=scope))
        if wait := self._limits.wait(principal.name):
            seconds = str(math.ceil(wait))
            words = f"{principal.name} asks too much at once. Try again in {seconds} s."
            raise Refusal(HTTPStatus.TOO_MANY_REQUESTS, words, {"Retry-After": seconds})
        return principal

    async def _permitted(self, scope: Connection, receive: Receive, send: Send) -> None:
        """The status of what may not be asked has to be said here; that it is not answered is decided in `app`."""
        principal: Principal = scope[PRINCIPAL]
        if not principal.scopes.issuperset(_READER):
            message = await receive()  # whole, because its size was checked
            for asked in _messages(message.get("body", b"")):
                missing = self._needs.missing(principal, asked["method"], asked.get("params"))
                if missing is not None:
                    refusal = self._authentication.forbidden(principal, *missing)
                    self._refused(refusal.status)
                    await refusal.response(asked.get("id"))(scope, receive, send)
                    return
            receive = _again(message, receive)
        await self._app(scope, receive, send)


def _messages(body: bytes) -> Iterator[dict[str, Any]]:
    """The requests of a body. One that is not JSON has none: the protocol refuses it."""
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return
    for one in cast("list[Any]", found if isinstance(found, list) else [found]):
        if isinstance(one, dict):
            request = cast("dict[str, Any]", one)
            if isinstance(request.get("method"), str) and isinstance(request.get("params", {}), dict):
                yield request


def _again(message: Message, receive: Receive) -> Receive:
    """The message once more, then what follows it."""
    first: list[Message] = [message]

    async def received() -> Message:
        return first.pop() if first else await receive()

    return received
