"""Which principal a request is from: by a token of our file, or by one of the configured issuer."""

import contextlib
from collections.abc import AsyncGenerator
from http import HTTPStatus
from typing import TYPE_CHECKING

from mcp.server.auth.routes import build_resource_metadata_url, create_protected_resource_routes
from pydantic import AnyHttpUrl, ConfigDict, TypeAdapter
from starlette.datastructures import Headers
from starlette.routing import Route

from call_logs.config import Config, OAuth
from call_logs.errors import Unavailable
from call_logs.http.refusal import Refusal
from call_logs.http.tokens import DEFAULT_SCOPES, PREFIX, InvalidToken, Tokens
from call_logs.principals import LOCAL, Principal, Scope, lacking

if TYPE_CHECKING:
    from call_logs.http.oauth import Issuer

_SCHEME = "bearer "
_url = TypeAdapter(AnyHttpUrl, config=ConfigDict(url_preserve_empty_path=True)).validate_python
"""An address as it was given: issuers are compared letter by letter."""


def _issuer(oauth: OAuth) -> "Issuer":
    from call_logs.http.oauth import Issuer  # noqa: PLC0415 - cryptography and httpx take long to load

    return Issuer(oauth)


class Authentication:
    """Who is asking. Once a tokens' file is there or is named, or an issuer is, whoever brings no token is refused."""

    def __init__(self, config: Config) -> None:
        """As configured. The issuer is asked for nothing yet."""
        self._tokens = Tokens(config.tokens) if config.tokens else None
        self._oauth = config.oauth
        self._issuer = _issuer(config.oauth) if config.oauth is not None else None
        self._required = config.oauth is not None or config.tokens_required

    @property
    def required(self) -> bool:
        """Whether a request needs a token. What was once required is so until the end of the process."""
        self._required = self._required or (self._tokens is not None and self._tokens.exists)
        return self._required

    @property
    def possible(self) -> bool:
        """Whether anybody could come in with a token. Raises `ConfigError` where the tokens' file cannot be read."""
        return self._issuer is not None or (self._tokens is not None and bool(self._tokens.read()))

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncGenerator[None]:
        """Within, tokens can be checked."""
        try:
            yield
        finally:
            if self._issuer is not None:
                await self._issuer.aclose()

    async def principal(self, headers: Headers) -> Principal:
        """Who sent a request with these headers. Raises `Refusal`."""
        if not self.required:
            return LOCAL
        given = headers.getlist("authorization")
        token = given[0][len(_SCHEME) :].strip() if len(given) == 1 and given[0].lower().startswith(_SCHEME) else ""
        if not token:
            raise self._unauthorized("This server needs a token: send the header Authorization: Bearer TOKEN.")
        try:
            return await self._holder(token)
        except InvalidToken as error:
            raise self._unauthorized(f"The token is not accepted: {error}.", "invalid_token") from None
        except Unavailable as error:
            after = {"Retry-After": f"{error.retry_after or 1:.0f}"}
            raise Refusal(HTTPStatus.SERVICE_UNAVAILABLE, str(error), after) from None

    async def _holder(self, token: str) -> Principal:
        if self._issuer is not None and not token.startswith(PREFIX):
            return await self._issuer.principal(token)
        found = self._tokens.principal(token) if self._tokens is not None else None
        if found is None:
            raise InvalidToken("it is unknown or was revoked")
        return found

    def forbidden(self, principal: Principal, scope: Scope, what: str) -> Refusal:
        """The refusal of what needs a scope that the principal lacks."""
        wanted = " ".join(one for one in Scope if one in principal.scopes or one is scope)
        words = lacking(principal, scope, what)
        return Refusal(HTTPStatus.FORBIDDEN, words, self._challenge("insufficient_scope", wanted))

    def _unauthorized(self, words: str, error: str | None = None) -> Refusal:
        return Refusal(HTTPStatus.UNAUTHORIZED, words, self._challenge(error, " ".join(DEFAULT_SCOPES)))

    def _challenge(self, error: str | None, scope: str) -> dict[str, str]:
        parts = {"realm": "call-logs-mcp"} | ({"error": error} if error else {}) | {"scope": scope}
        if self._oauth is not None:
            parts["resource_metadata"] = str(build_resource_metadata_url(_url(self._oauth.audience)))
        return {"WWW-Authenticate": "Bearer " + ", ".join(f'{name}="{value}"' for name, value in parts.items())}

    def routes(self) -> list[Route]:
        """Where clients find the issuer (RFC 9728)."""
        if self._oauth is None:
            return []
        return create_protected_resource_routes(
            resource_url=_url(self._oauth.audience),
            authorization_servers=[_url(self._oauth.issuer)],
            scopes_supported=[str(scope) for scope in Scope],
            resource_name="Call logs",
        )
