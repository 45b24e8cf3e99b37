"""Stand-ins of the vendors' APIs on this machine, with the calls of a made-up business. For the demo and the tests."""

import asyncio
import contextlib
import pkgutil
import socket
import threading
import time
from collections.abc import Awaitable, Callable, Generator, Hashable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib import import_module
from typing import Any, TypeVar

T = TypeVar("T")

START_SECONDS = 10.0
STOP_SECONDS = 5.0

KEEP_ALIVE_SECONDS = 75
"""Longer than httpx keeps an idle connection (5 s, which is uvicorn's default too): on a busy machine a client would else
send a request into a connection that is just being closed."""

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]


@dataclass(frozen=True)
class Received:
    """A request that the sandbox answered. Header names are lower case."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    status: int


@dataclass(frozen=True)
class Sandbox:
    """The running stand-ins: the accounts to configure, as tables of the config file, and what was asked of them."""

    accounts: dict[str, dict[str, str]]
    received: list[Received] = field(default_factory=list[Received])


@dataclass(frozen=True)
class StandIn:
    """One vendor's API over made-up calls, and the settings with which an account reaches it (but for `base_url`)."""

    app: App
    settings: dict[str, str]


class Kept:
    """What was chosen and sorted of rows for an answer; of rows that cannot change (tuples), each choice is made once.

    A test that adds to its rows gives lists, which are looked at anew each time.
    """

    _MOST = 16

    def __init__(self, *rows: Sequence[Any]) -> None:
        """For choices among these."""
        self._fixed = all(isinstance(one, tuple) for one in rows)
        self._held: dict[Hashable, Any] = {}

    def of(self, asked: Hashable, choose: Callable[[], T]) -> T:
        """The choice for what was asked (but for the page of it)."""
        if not self._fixed:
            return choose()
        if asked not in self._held:
            if len(self._held) == self._MOST:
                self._held.clear()
            self._held[asked] = choose()
        return self._held[asked]


@contextlib.contextmanager
def running(now: datetime | None = None) -> Generator[Sandbox]:
    """Every stand-in, with the calls that the business had before `now`; its zone says when a day begins.

    A module of this folder with a function `stand_in` is one, for the provider of its name.
    """
    from starlette.applications import Starlette  # noqa: PLC0415 - importing the sandbox stays cheap
    from starlette.routing import Mount  # noqa: PLC0415

    from call_logs.sandbox import business  # noqa: PLC0415

    moment = now or datetime.now(UTC).astimezone()
    stand_ins: dict[str, StandIn] = {}
    for module in pkgutil.iter_modules(__path__):
        make = getattr(import_module(f"{__name__}.{module.name}"), "stand_in", None)
        if make is not None:
            stand_ins[module.name] = make(business.calls(moment, module.name))
    received: list[Received] = []
    app = Starlette(routes=[Mount(f"/{name}", one.app) for name, one in stand_ins.items()])
    with serving(_recording(app, received)) as origin:
        accounts = {
            f"demo-{name}": {"provider": name, **one.settings, "base_url": f"{origin}/{name}"}
            for name, one in stand_ins.items()
        }
        yield Sandbox(accounts, received)


@contextlib.contextmanager
def serving(app: App) -> Generator[str]:
    """Serves any ASGI app on a free port of 127.0.0.1, in a thread of its own, and yields its origin."""
    import uvicorn  # noqa: PLC0415 - importing the sandbox stays cheap

    with socket.create_server(("127.0.0.1", 0)) as listening:
        # asyncio does this only for sockets it makes itself; without it every small answer waits some 40 ms.
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        config = uvicorn.Config(
            app,
            log_config=None,
            log_level="critical",
            access_log=False,
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=0,  # a request that never ends does not keep us
        )
        leave = asyncio.Event()
        loops: list[asyncio.AbstractEventLoop] = []

        class Server(uvicorn.Server):
            """uvicorn, which looks ten times a second whether it should stop; this one is told."""

            async def main_loop(self) -> None:
                loops.append(asyncio.get_running_loop())
                while not leave.is_set():
                    await self.on_tick(0)  # the date of answers
                    self.told = True
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(leave.wait(), 1.0)

            told = False

        server = Server(config)
        thread = threading.Thread(
            target=server.run, kwargs={"sockets": [listening]}, name="call-logs-sandbox", daemon=True
        )
        origin = f"http://127.0.0.1:{listening.getsockname()[1]}"
        thread.start()
        try:
            deadline = time.monotonic() + START_SECONDS
            while not server.told:
                if not thread.is_alive() or time.monotonic() > deadline:
                    raise RuntimeError("the sandbox did not start")
                time.sleep(0.002)
            yield origin
        finally:
            for loop in loops:
                loop.call_soon_threadsafe(leave.set)
            thread.join(STOP_SECONDS)


def _recording(app: App, received: list[Received]) -> App:
    async def recorded(scope: Message, receive: Receive, send: Send) -> None:
        async def sent(message: Message) -> None:
            if message["type"] == "http.response.start":
                received.append(_received(scope, message["status"]))
            await send(message)

        await app(scope, receive, sent)

    return recorded


def _received(scope: Message, status: int) -> Received:
    from starlette.requests import Request  # noqa: PLC0415 - importing the sandbox stays cheap

    request = Request(scope)
    return Received(request.method, request.url.path, dict(request.query_params), dict(request.headers), status)
