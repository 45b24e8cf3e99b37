"""Bearer tokens in a file: who may ask what. The file holds their hashes, so that reading it lets nobody in.

It is read again whenever it changes: a token that is revoked is refused from the next request on. A file that cannot be
read lets nobody in.
"""

import contextlib
import hashlib
import hmac
import json
import logging
import os
import re
import secrets
import stat
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from call_logs.errors import CallLogsError, ConfigError
from call_logs.principals import LOCAL, NOBODY, Principal, Scope

PREFIX = "clmcp_"
"""What every token begins with: it tells ours from an issuer's, and lets scanners of secrets find one that got lost."""

RANDOM_BYTES = 32
DEFAULT_SCOPES = (Scope.CALLS, Scope.TRANSCRIPTS)
MOST_CHARACTERS = 256

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,39}")
_RESERVED = (LOCAL.name, NOBODY.name)
_log = logging.getLogger(__name__)


class InvalidToken(Exception):
    """The token is not to be accepted. The text, ours, says why in a few words."""


class Token(BaseModel):
    """What is kept of a token. `accounts` None means all, also those that are added later."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    sha256: str = Field(pattern=r"^[0-9a-f]{64}$", repr=False)
    accounts: tuple[str, ...] | None = None
    scopes: tuple[Scope, ...]
    created_at: AwareDatetime


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    tokens: dict[str, Token]


@dataclass(frozen=True)
class _Seen:
    """The file as it was read: what tells this version from the next, and who each hash is."""

    version: tuple[int, ...]
    principals: tuple[tuple[bytes, Principal], ...]


class Tokens:
    """The tokens of a file."""

    def __init__(self, path: Path) -> None:
        """The file need not be there yet."""
        self._path = path
        self._seen = _Seen((), ())

    @property
    def exists(self) -> bool:
        """Whether a token was ever made: from then on every request needs one."""
        return self._path.exists()

    def principal(self, token: str) -> Principal | None:
        """Who holds this token; None where nobody does, or the file cannot be read."""
        digest = hashlib.sha256(token[:MOST_CHARACTERS].encode("utf-8", "surrogateescape")).digest()
        found: Principal | None = None
        for known, principal in self._current():
            if hmac.compare_digest(known, digest):
                found = principal
        return found

    def _current(self) -> tuple[tuple[bytes, Principal], ...]:
        try:
            held = self._path.stat()
        except OSError:
            self._seen = _Seen((), ())
            return ()
        version = (held.st_mtime_ns, held.st_size, held.st_ino)
        if version != self._seen.version:
            try:
                principals = tuple(
                    (bytes.fromhex(token.sha256), _principal(name, token)) for name, token in self.read().items()
                )
            except CallLogsError as error:
                _log.error("nobody is let in: %s", error)
                principals = ()
            self._seen = _Seen(version, principals)
        return self._seen.principals

    def read(self) -> dict[str, Token]:
        """The tokens by their names. Raises `ConfigError` where the file cannot be trusted or read."""
        try:
            if sys.platform != "win32" and self._path.stat().st_mode & (stat.S_IWGRP | stat.S_IWOTH):
                raise ConfigError(f"Others may write the tokens' file {self._path}. Say: chmod 600 {self._path}")
            return _File.model_validate_json(self._path.read_bytes()).tokens
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise ConfigError(f"The tokens' file {self._path} cannot be read ({type(error).__name__}).") from None
        except ValidationError:
            raise ConfigError(
                f"The tokens' file {self._path} is not as `call-logs-mcp token` writes it. Restore it, or delete it "
                "and make new tokens."
            ) from None

    def add(self, name: str, accounts: Sequence[str] | None, scopes: Iterable[Scope]) -> str:
        """Make a token under this name, keep its hash, and return it: it can be had only now. Raises `ConfigError`."""
        if not _NAME.fullmatch(name) or name in _RESERVED:
            raise ConfigError(
                "A token's name is 1 to 40 characters: small letters, digits, - and _ (not local or nobody)."
            )
        token = PREFIX + secrets.token_urlsafe(RANDOM_BYTES)
        kept = Token(
            sha256=hashlib.sha256(token.encode()).hexdigest(),
            accounts=tuple(accounts) if accounts is not None else None,
            scopes=tuple(scopes),
            created_at=datetime.now(UTC).replace(microsecond=0),
        )

        def added(tokens: dict[str, Token]) -> dict[str, Token]:
            if name in tokens:
                raise ConfigError(f"There is a token {name} already. Revoke it first, or take another name.")
            return tokens | {name: kept}

        self._change(added)
        return token

    def revoke(self, name: str) -> None:
        """Let the token of this name in no more. Raises `ConfigError` where there is none."""

        def revoked(tokens: dict[str, Token]) -> dict[str, Token]:
            if name not in tokens:
                there = ", ".join(tokens)
                raise ConfigError(
                    f"There is no token of that name. Tokens: {there}." if there else "There are no tokens."
                )
            return {other: token for other, token in tokens.items() if other != name}

        self._change(revoked)

    def _change(self, change: Callable[[dict[str, Token]], dict[str, Token]]) -> None:
        """Write the file anew beside it and put it in its place. The new file is the lock: one command at a time."""
        new = self._path.with_name(f"{self._path.name}.new")
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            raise ConfigError(
                f"Another command is changing the tokens. If none is, delete {new} and try again."
            ) from None
        except OSError as error:
            raise ConfigError(f"The tokens' file {self._path} cannot be written ({type(error).__name__}).") from None
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                tokens = change(self.read())
                json.dump(_File(tokens=tokens).model_dump(mode="json"), file, indent=1)
                file.flush()
                os.fsync(file.fileno())
            new.replace(self._path)
        except OSError as error:
            raise ConfigError(f"The tokens' file {self._path} cannot be written ({type(error).__name__}).") from None
        finally:
            with contextlib.suppress(OSError):
                new.unlink(missing_ok=True)


def _principal(name: str, token: Token) -> Principal:
    accounts = frozenset(token.accounts) if token.accounts is not None else None
    return Principal(name, accounts, frozenset(token.scopes))
