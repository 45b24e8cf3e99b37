"""Who asks, and what of the calls they may see.

Over stdio that is the person whose accounts these are. Over HTTP a token says it, and each request is answered as its own
principal: whatever reads the store takes the accounts from here (`App.names`), so that nothing can be asked without.
"""

from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from enum import StrEnum


class Scope(StrEnum):
    """What a principal may do: see calls, see also what was said in them, look after the server."""

    CALLS = "calls:read"
    TRANSCRIPTS = "transcripts:read"
    ADMIN = "admin"


@dataclass(frozen=True)
class Principal:
    """`accounts` are the names of those it may see; None means all, also those that are added later."""

    name: str
    accounts: frozenset[str] | None = None
    scopes: frozenset[Scope] = frozenset(Scope)

    def sees(self, account: str) -> bool:
        """Whether the account's calls may be shown to it."""
        return self.accounts is None or account in self.accounts


LOCAL = Principal("local")
"""Whoever started the server over stdio, and may read the database's file anyway."""

NOBODY = Principal("nobody", frozenset(), frozenset())
"""Who asks over HTTP until a token has said otherwise: sees nothing, may do nothing."""

PRINCIPAL = "call_logs.principal"
"""Where an HTTP request's scope holds who it proved to be."""

_asking: ContextVar[Principal] = ContextVar("asking", default=LOCAL)


def asking() -> Principal:
    """The principal whose request is being answered."""
    return _asking.get()


def lacking(principal: Principal, scope: Scope, what: str) -> str:
    """What is told to a principal without the scope that something needs."""
    return (
        f"{what} needs the scope {scope}, which {principal.name} does not have. "
        "Whoever runs this server can give a token that has it."
    )


@contextmanager
def answering(principal: Principal) -> Generator[None]:
    """Answer as this principal within."""
    before = _asking.set(principal)
    try:
        yield
    finally:
        _asking.reset(before)
