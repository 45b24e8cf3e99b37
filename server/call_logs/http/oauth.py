"""Access tokens of an OAuth issuer: JSON Web Tokens, checked against the issuer's own keys.

The server is a resource server: it checks tokens and issues none. Only RS256 and ES256 count, only keys that the issuer
publishes on its own host, and nothing that a token says of itself leads anywhere.
"""

import logging
import time
from collections.abc import Callable, Mapping
from typing import Any, cast
from urllib.parse import parse_qsl, urlsplit

import anyio
import jwt
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from call_logs.config import OAuth
from call_logs.errors import ProviderError, Rejected, Unavailable
from call_logs.http.tokens import InvalidToken
from call_logs.principals import Principal, Scope
from call_logs.providers import Connection, Wire
from call_logs.providers._http import Api

ALGORITHMS = ("RS256", "ES256")
REQUIRED = ["exp", "iat", "aud", "iss", "sub"]
LEEWAY_SECONDS = 30
LEAST_RSA_BITS = 2048
MOST_TOKEN_CHARACTERS = 16_384
MOST_KEYS = 100

KEYS_SECONDS = 3600.0
"""Keys older than this are read again: a key that the issuer withdrew is not trusted for longer."""

STALE_SECONDS = 24 * 3600.0
"""How long they are trusted while the issuer cannot be reached."""

AGAIN_SECONDS = 30.0
"""The issuer is not asked more often than this, whatever key ids tokens name."""

WAIT_SECONDS = 5.0

_log = logging.getLogger(__name__)
_TYPES = (None, "jwt", "at+jwt", "application/at+jwt")


class Metadata(Wire):
    """What the issuer says of itself."""

    issuer: str
    jwks_uri: str


class KeySet(Wire):
    """The issuer's keys, as JSON Web Keys."""

    keys: list[dict[str, Any]]


class Issuer:
    """The issuer's keys, and who its tokens say is asking."""

    def __init__(self, settings: OAuth, now: Callable[[], float] = time.monotonic) -> None:
        """Nothing is asked of the issuer yet. `now`: a clock in seconds, for how old the keys are."""
        self._settings = settings
        self._now = now
        parts = urlsplit(settings.issuer)
        self._origin = (parts.scheme, parts.netloc)
        self._path = parts.path.rstrip("/")
        self._api: Api | None = None
        self._keys: dict[str, dict[str, Any]] = {}
        self._read_at: float | None = None
        self._asked_at: float | None = None
        self._reading = anyio.Lock()

    async def aclose(self) -> None:
        """Close the connections to the issuer."""
        if self._api is not None:
            await self._api.aclose()

    async def principal(self, token: str) -> Principal:
        """Who holds the token. Raises `InvalidToken`; `Unavailable` where the issuer's keys cannot be had."""
        if len(token) > MOST_TOKEN_CHARACTERS:
            raise InvalidToken("the token is too long")
        try:
            header = jwt.get_unverified_header(token)
        except (jwt.PyJWTError, ValueError):
            raise InvalidToken("it is neither a token of this server nor a JSON Web Token") from None
        algorithm, number, kind = header.get("alg"), header.get("kid"), header.get("typ")
        if algorithm not in ALGORITHMS:
            raise InvalidToken(f"it is not signed with {' or '.join(ALGORITHMS)}")
        if kind is not None and (not isinstance(kind, str) or kind.lower() not in _TYPES):
            raise InvalidToken("it is no access token")
        if not isinstance(number, str):
            raise InvalidToken("it names no key")
        key = _public_key(await self._key(number), algorithm)
        try:
            claims = jwt.decode(
                token,
                key,
                algorithms=[algorithm],
                audience=self._settings.audience,
                issuer=self._settings.issuer,
                leeway=LEEWAY_SECONDS,
                options={"require": REQUIRED},
            )
        except jwt.PyJWTError as error:
            raise InvalidToken(_why(error)) from None
        return self._principal(claims)

    def _principal(self, claims: Mapping[str, Any]) -> Principal:
        subject = claims["sub"]
        if not isinstance(subject, str) or not subject:
            raise InvalidToken("it names nobody")
        accounts: frozenset[str] | None = None
        if claim := self._settings.accounts_claim:
            accounts = frozenset(_words(claims.get(claim)))
            if not accounts:
                raise InvalidToken(f"its claim {claim} names no account")
        given = {*_words(claims.get("scope")), *_words(claims.get("scp"))}
        return Principal(f"oauth:{subject}", accounts, frozenset(scope for scope in Scope if scope in given))

    async def _key(self, number: str) -> dict[str, Any]:
        if number not in self._keys or self._age() > KEYS_SECONDS:
            await self._refresh(needed=number not in self._keys or self._age() > STALE_SECONDS)
        if number not in self._keys:
            raise InvalidToken("its key is none of the issuer's")
        return self._keys[number]

    def _age(self) -> float:
        return float("inf") if self._read_at is None else self._now() - self._read_at

    async def _refresh(self, *, needed: bool) -> None:
        """Read the keys, unless that was tried a moment ago. Raises `Unavailable` where they are `needed` and too old."""
        async with self._reading:
            if self._asked_at is None or self._now() - self._asked_at >= AGAIN_SECONDS:
                self._asked_at = self._now()
                try:
                    with anyio.fail_after(WAIT_SECONDS):
                        self._keys = await self._published()
                    self._read_at = self._now()
                except ProviderError as error:
                    _log.warning("the issuer's keys cannot be read: %s", error)
                except TimeoutError:
                    _log.warning("the issuer's keys cannot be read: no answer within %.0f s", WAIT_SECONDS)
        if needed and self._age() > STALE_SECONDS:
            raise Unavailable(
                "The issuer's keys cannot be read, so no token of its can be checked.",
                "Try again in a moment; if it stays, check CALL_LOGS_OAUTH_ISSUER.",
                retry_after=AGAIN_SECONDS,
            )

    async def _published(self) -> dict[str, dict[str, Any]]:
        if self._api is None:
            scheme, host = self._origin
            self._api = Api(Connection("OAuth", "the issuer", f"{scheme}://{host}", {}))
        metadata = await self._metadata(self._api)
        where = urlsplit(metadata.jwks_uri)
        if metadata.issuer != self._settings.issuer or (where.scheme, where.netloc) != self._origin:
            raise _misfit()
        found = await self._api.get(where.path, KeySet, dict(parse_qsl(where.query)) or None)
        return {key["kid"]: key for key in found.keys[:MOST_KEYS] if isinstance(key.get("kid"), str)}

    async def _metadata(self, api: Api) -> Metadata:
        """OpenID Connect's place of it, or else RFC 8414's."""
        try:
            return await api.get(f"{self._path}/.well-known/openid-configuration", Metadata)
        except Rejected:
            return await api.get(f"/.well-known/oauth-authorization-server{self._path}", Metadata)


def _misfit() -> Unavailable:
    return Unavailable("The issuer's metadata are another's.", "Check CALL_LOGS_OAUTH_ISSUER, to the last slash.")


def _public_key(key: Mapping[str, Any], algorithm: str) -> RSAPublicKey | EllipticCurvePublicKey:
    """The key, if it is a public one for signatures of this algorithm."""
    wrong = InvalidToken("its key is for something else")
    if key.get("use", "sig") != "sig" or key.get("alg", algorithm) != algorithm:
        raise wrong
    try:
        found = jwt.PyJWK(dict(key), algorithm=algorithm).key
    except (jwt.PyJWTError, ValueError, TypeError):
        raise wrong from None
    fits = (
        isinstance(found, RSAPublicKey) and found.key_size >= LEAST_RSA_BITS
        if algorithm == "RS256"
        else isinstance(found, EllipticCurvePublicKey) and isinstance(found.curve, SECP256R1)
    )
    if not fits:
        raise wrong
    return found


def _words(claim: object) -> list[str]:
    """A claim's words: a list of them, or one string with spaces between."""
    if isinstance(claim, str):
        return claim.split()
    return [word for word in cast("list[object]", claim) if isinstance(word, str)] if isinstance(claim, list) else []


def _why(error: jwt.PyJWTError) -> str:
    told: dict[type[jwt.PyJWTError], str] = {
        jwt.ExpiredSignatureError: "it has expired",
        jwt.ImmatureSignatureError: "it is not valid yet",
        jwt.InvalidIssuedAtError: "it was issued in the future",
        jwt.InvalidAudienceError: "it was issued for another server",
        jwt.InvalidIssuerError: "another issuer issued it",
        jwt.MissingRequiredClaimError: "it lacks one of the claims exp, iat, aud, iss, sub",
    }
    return next((words for kind, words in told.items() if isinstance(error, kind)), "its signature is not the issuer's")
