"""An OAuth issuer on loopback: its metadata, its keys, and tokens as it or somebody else would make them."""

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from call_logs.sandbox import serving

AUDIENCE = "https://calls.example.com/mcp"
RSA = rsa.generate_private_key(65537, 2048)
OTHER_RSA = rsa.generate_private_key(65537, 2048)
EC = ec.generate_private_key(ec.SECP256R1())
PUBLIC_PEM = RSA.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def rsa_key(number: str, key: rsa.RSAPrivateKey = RSA, **more: str) -> dict[str, Any]:
    """The public half as a JSON Web Key."""
    return {**RSAAlgorithm.to_jwk(key.public_key(), as_dict=True), "kid": number, "use": "sig"} | more


def ec_key(number: str) -> dict[str, Any]:
    """As `rsa_key`, of the other kind."""
    return {**ECAlgorithm.to_jwk(EC.public_key(), as_dict=True), "kid": number}


@dataclass
class Issuer:
    """A running issuer. `asked` are the paths that were asked for; `metadata` replaces what it says of itself."""

    origin: str = ""
    keys: list[dict[str, Any]] = field(default_factory=lambda: [rsa_key("rsa-1"), ec_key("ec-1")])
    metadata: dict[str, Any] = field(default_factory=dict[str, Any])
    down: bool = False
    asked: list[str] = field(default_factory=list[str])

    def claims(self, **given: Any) -> dict[str, Any]:
        """Claims of a good token; None leaves one out."""
        now = int(time.time())
        usual: dict[str, Any] = {
            "iss": self.origin,
            "aud": AUDIENCE,
            "sub": "dana",
            "iat": now,
            "exp": now + 300,
            "scope": "calls:read transcripts:read",
        }
        return {name: value for name, value in (usual | given).items() if value is not None}

    def token(
        self,
        key: Any = RSA,
        algorithm: str = "RS256",
        kid: str | None = "rsa-1",
        header: dict[str, Any] | None = None,
        **given: Any,
    ) -> str:
        """A signed token."""
        headers: dict[str, Any] = ({"kid": kid} if kid else {}) | (header or {})
        return jwt.encode(self.claims(**given), key, algorithm, headers=headers)

    def signed_with_the_public_key(self) -> str:
        """HS256 with what everybody knows as its secret: libraries refuse to make it, so it is put together here."""
        parts = [{"alg": "HS256", "typ": "JWT", "kid": "rsa-1"}, self.claims()]
        text = b".".join(base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=") for part in parts)
        signature = hmac.new(PUBLIC_PEM, text, hashlib.sha256).digest()
        return (text + b"." + base64.urlsafe_b64encode(signature).rstrip(b"=")).decode()


@contextmanager
def issuing() -> Generator[Issuer]:
    """An issuer that answers at OpenID Connect's place."""
    issuer = Issuer()

    async def metadata(request: Request) -> Response:
        issuer.asked.append(request.url.path)
        if issuer.down:
            return JSONResponse({}, 404)
        return JSONResponse({"issuer": issuer.origin, "jwks_uri": f"{issuer.origin}/keys"} | issuer.metadata)

    async def keys(request: Request) -> Response:
        issuer.asked.append(request.url.path)
        return JSONResponse({"keys": issuer.keys})

    paths = ("/.well-known/openid-configuration", "/.well-known/oauth-authorization-server")
    app = Starlette(routes=[*(Route(path, metadata) for path in paths), Route("/keys", keys), Route("/evil", keys)])
    with serving(app) as origin:
        issuer.origin = origin
        yield issuer
