"""Tapes: what a vendor answers, as documented, recorded or made up, and the calls that must come of it.

A tape is replayed over loopback. What its requests name must be in a request (a subset of the query is enough); a
request that is on no exchange is answered 404. `UPDATE_TAPES=1` writes what comes out as what is expected.
"""

import atexit
import contextlib
import copy
import functools
import itertools
import json
import time
from collections.abc import Awaitable, Callable, Generator, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import parse_qsl

import anyio
import pytest
from aiolimiter import AsyncLimiter

from call_logs.model import Call
from call_logs.providers import Account, AnyProvider, Delivery, Page, discover
from call_logs.providers import _http as http
from call_logs.sandbox import App, Message, Receive, Send, serving
from call_logs.store import Unreadable

FOLDER = Path(__file__).parent / "tapes"
PATIENCE_SECONDS = 30.0

T = TypeVar("T")


class Held:
    """An answer that is kept back until what happens meanwhile is over: its reader is in another thread."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._messages: list[Message] = []

    async def __call__(self, message: Message) -> None:
        self._messages.append(message)

    async def release(self) -> None:
        """Send it."""
        for message in self._messages:
            await self._send(message)


@dataclass(frozen=True)
class Exchange:
    """A request as far as it matters, and its answer. `by` is the provider's method that makes it: calls or get."""

    by: str
    method: str
    path: str
    params: Mapping[str, str]
    status: int
    headers: Mapping[str, str]
    body: Any


@dataclass(frozen=True)
class Posted:
    """What the vendor posts by itself; `expected` is the call that must come of it, None where it tells of no call."""

    headers: Mapping[str, str]
    address: str
    body: Any
    expected: dict[str, Any] | None

    @property
    def text(self) -> bytes:
        """The body as it is sent: signatures are over exactly this."""
        return json.dumps(self.body, ensure_ascii=False, separators=(",", ":")).encode()

    @property
    def delivery(self) -> Delivery:
        """As it arrives."""
        return Delivery(self.text, self.headers, (self.address,))


@dataclass(frozen=True)
class Tape:
    """One vendor's tape. `since` is where a reading of all of it begins; `secrets` must never come out of it."""

    slug: str
    source: str
    since: datetime
    settings: Mapping[str, Any] = field(repr=False)
    secrets: tuple[str, ...] = field(repr=False)
    gives: frozenset[str]
    exchanges: tuple[Exchange, ...]
    webhooks: tuple[Posted, ...]
    expected: list[dict[str, Any]]
    unreadable: list[dict[str, Any]]

    @property
    def provider(self) -> type[AnyProvider]:
        """The adapter that plays it."""
        return discover()[self.slug]

    def account(self, base_url: str, name: str = "tape") -> Account:
        """An account at the replaying server, its settings called as in the environment."""
        kind = self.provider.settings_type
        names = {setting: f"{self.slug}_{setting}".upper() for setting in kind.model_fields}
        return Account(name, self.provider, kind.model_validate({**self.settings, "base_url": base_url}), names)

    def update_webhooks(self, calls: Iterable[Call | None]) -> None:
        """Write what came of the webhooks as what is expected."""
        file = FOLDER / f"{self.slug}.json"
        written = json.loads(file.read_text(encoding="utf-8"))
        for posted, call in zip(written["webhooks"], calls, strict=True):
            posted["expected"] = None if call is None else as_expected(call)
        file.write_text(json.dumps(written, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")

    def update(self, calls: Iterable[Call], unreadable: Iterable[Unreadable]) -> None:
        """Write what came out as what is expected. Read the difference before you keep it."""
        file = FOLDER / f"{self.slug}.json"
        written = json.loads(file.read_text(encoding="utf-8"))
        written["expected"] = [as_expected(call) for call in calls]
        written["unreadable"] = [as_unreadable(one) for one in unreadable]
        file.write_text(json.dumps(written, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def load(slug: str) -> Tape:
    """The tape of a provider."""
    read = json.loads((FOLDER / f"{slug}.json").read_text(encoding="utf-8"))
    return Tape(
        slug=slug,
        source=read["source"],
        since=datetime.fromisoformat(read["since"]),
        settings=read["settings"],
        secrets=tuple(read["secrets"]),
        gives=frozenset(read["gives"]),
        exchanges=tuple(_exchange(one) for one in read["exchanges"]),
        webhooks=tuple(
            Posted(one["headers"], one.get("address", ""), one["body"], one["expected"])
            for one in read.get("webhooks", [])
        ),
        expected=read["expected"],
        unreadable=read.get("unreadable", []),
    )


def slugs() -> set[str]:
    """The providers that have a tape."""
    return {file.stem for file in FOLDER.glob("*.json")}


def _exchange(one: Mapping[str, Any]) -> Exchange:
    request, response = one["request"], one["response"]
    return Exchange(
        by=one.get("by", "calls"),
        method=request.get("method", "GET"),
        path=request["path"],
        params=request.get("params", {}),
        status=response.get("status_code", 200),
        headers=response.get("headers", {}),
        body=response["json"],
    )


def as_expected(call: Call) -> dict[str, Any]:
    """A call as a tape writes it: what differs from nothing, and not what the account adds."""
    return call.model_dump(mode="json", exclude_defaults=True, exclude={"account", "provider"})


def as_unreadable(one: Unreadable) -> dict[str, Any]:
    """A record left out, as a tape writes it."""
    return {"vendor_call_id": one.vendor_call_id, "fields": list(one.fields)}


# Playing


@dataclass(frozen=True)
class Asked:
    """A request that came. `raw_path` is as it was sent, `played` the number of the exchange that answered."""

    method: str
    path: str
    raw_path: str
    query: Mapping[str, str]
    raw_query: str
    headers: Mapping[str, str]
    played: int | None


@dataclass(frozen=True)
class Reply:
    """An answer; a body that is not bytes is sent as JSON."""

    status: int = 200
    body: Any = field(default_factory=dict[str, Any])
    headers: Mapping[str, str] = field(default_factory=dict[str, str])


Fault = Callable[[Asked], Reply | None]
"""May answer in place of the tape."""


class Replay:
    """An ASGI app that answers as the tape does. `changed` may turn each body into another."""

    def __init__(
        self, tape: Tape, fault: Fault = lambda _: None, changed: Callable[[Any], Any] = lambda body: body
    ) -> None:
        self.tape = tape
        self.asked: list[Asked] = []
        self._fault = fault
        self._changed = changed

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        del receive
        if scope["type"] != "http":
            return
        asked = self._read(scope)
        reply = self._fault(asked)
        if reply is None and asked.played is not None:
            one = self.tape.exchanges[asked.played]
            reply = Reply(one.status, self._changed(copy.deepcopy(one.body)), one.headers)
        self.asked.append(asked)
        await answered(reply or Reply(404, {"message": "not on this tape"}), send)

    def plays(self, by: str = "calls") -> dict[int, int]:
        """How often each exchange of that method was asked for."""
        played = [asked.played for asked in self.asked]
        return {n: played.count(n) for n, one in enumerate(self.tape.exchanges) if one.by == by}

    def _read(self, scope: Message) -> Asked:
        query = scope["query_string"].decode()
        params = dict(parse_qsl(query, keep_blank_values=True))
        match = (
            n
            for n, one in enumerate(self.tape.exchanges)
            if (one.method, one.path) == (scope["method"], scope["path"]) and one.params.items() <= params.items()
        )
        return Asked(
            method=scope["method"],
            path=scope["path"],
            raw_path=scope["raw_path"].decode(),
            query=params,
            raw_query=query,
            headers={name.decode(): value.decode("latin-1") for name, value in scope["headers"]},
            played=next(match, None),
        )


async def answered(reply: Reply, send: Send) -> None:
    """Send a reply."""
    body = reply.body if isinstance(reply.body, bytes) else json.dumps(reply.body).encode()
    headers = {"content-type": "application/json", "content-length": str(len(body)), **reply.headers}
    sent = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": reply.status, "headers": sent})
    await send({"type": "http.response.body", "body": body})


def unhurried(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Nothing waits for a vendor's rate or between retries; gives what the retries would have slept."""
    waits: list[float] = []

    async def noted(seconds: float) -> None:
        waits.append(seconds)

    def fast(*_: float) -> AsyncLimiter:
        return AsyncLimiter(10_000, 1.0)

    monkeypatch.setattr("stamina._core._smart_sleep", noted)
    monkeypatch.setattr(http, "AsyncLimiter", fast)
    return waits


class NamesClock:
    """The clock by which the names of agents are asked for again; `ahead` in seconds."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.ahead = 0.0
        monkeypatch.setattr("call_logs.providers._names.time", self)

    def monotonic(self) -> float:
        """A little later than it is."""
        return time.monotonic() + self.ahead


_STAGE: dict[str, App] = {}


async def _staged(scope: Message, receive: Receive, send: Send) -> None:
    if scope["type"] != "http":
        return
    _, number, path = scope["path"].split("/", 2)
    raw_path = scope["raw_path"].split(b"/", 2)[2]
    await _STAGE[number](dict(scope) | {"path": f"/{path}", "raw_path": b"/" + raw_path}, receive, send)


@functools.cache
def _origin() -> str:
    """One server for all apps of a test run: to start and stop one takes a fifth of a second."""
    stack = contextlib.ExitStack()
    atexit.register(stack.close)
    return stack.enter_context(serving(_staged))


@contextlib.contextmanager
def staged(app: App) -> Generator[str]:
    """Serves the app on loopback, and yields the base URL below which it answers."""
    number = str(next(_NUMBERS))
    _STAGE[number] = app
    try:
        yield f"{_origin()}/{number}"
    finally:
        del _STAGE[number]


_NUMBERS = itertools.count()


def played(replay: Replay, work: Callable[[AnyProvider], Awaitable[T]]) -> T:
    """What the work comes to with a provider that reads the tape. Ends after `PATIENCE_SECONDS` at the latest."""
    with staged(replay) as base_url:
        return finished(worked, replay.tape.account(base_url), work)


async def worked(account: Account, work: Callable[[AnyProvider], Awaitable[T]]) -> T:
    """What the work comes to with the account's provider, which is closed again."""
    provider = account.open()
    try:
        return await work(provider)
    finally:
        await provider.aclose()


def finished(work: Callable[..., Awaitable[T]], *args: Any) -> T:
    """What async work comes to, within `PATIENCE_SECONDS`."""

    async def bounded() -> T:
        with anyio.fail_after(PATIENCE_SECONDS):
            return await work(*args)

    return anyio.run(bounded)


async def pages(
    provider: AnyProvider, since: datetime, until: datetime | None = None, resume: str | None = None
) -> list[Page]:
    """All pages of a reading."""
    return [page async for page in provider.calls(since, until, resume)]


def calls_of(found: Iterable[Page]) -> list[Call]:
    """The calls of all pages, in the order in which they came."""
    return [call for page in found for call in page.calls]
