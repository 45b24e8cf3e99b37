"""Stand-ins of the vendors' APIs on this machine, with the calls of a made-up business. For the demo and the tests."""

import socket
import threading
import time
from collections.abc import Awaitable, Callable, Generator, Mapping, MutableMapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

START_SECONDS = 10.0
STOP_SECONDS = 5.0
TOKEN = "demo-token-not-a-secret"  # noqa: S105 - opens nothing but this sandbox
LOCATION_ID = "DemoLakesideDental01"

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


@contextmanager
def running(now: datetime | None = None) -> Generator[Sandbox]:
    """Every stand-in, with the calls that the business had before `now`; its zone says when a day begins."""
    from starlette.applications import Starlette  # noqa: PLC0415 - importing the sandbox stays cheap
    from starlette.routing import Mount  # noqa: PLC0415

    from call_logs.sandbox import business, highlevel  # noqa: PLC0415

    calls = business.calls(now or datetime.now(UTC).astimezone())
    agents = [highlevel.agent(one, LOCATION_ID) for one in business.AGENTS.values() if not one.is_deleted]
    logs = [highlevel.call_log(call) for call in calls]
    app = Starlette(
        routes=[
            Mount("/highlevel", highlevel.application(logs, agents, token=TOKEN, location_id=LOCATION_ID)),
        ]
    )
    received: list[Received] = []
    with serving(_recording(app, received)) as origin:
        accounts = {
            "demo-highlevel": {
                "provider": "highlevel",
                "token": TOKEN,
                "location_id": LOCATION_ID,
                "base_url": f"{origin}/highlevel",
            }
        }
        yield Sandbox(accounts, received)


@contextmanager
def serving(app: App) -> Generator[str]:
    """Serves any ASGI app on a free port of 127.0.0.1, in a thread of its own, and yields its origin."""
    import uvicorn  # noqa: PLC0415 - importing the sandbox stays cheap

    with socket.create_server(("127.0.0.1", 0)) as listening:
        config = uvicorn.Config(
            app,
            log_config=None,
            log_level="critical",
            access_log=False,
            timeout_graceful_shutdown=0,  # a request that never ends does not keep us
        )
        server = uvicorn.Server(config)
        thread = threading.Thread(
            target=server.run, kwargs={"sockets": [listening]}, name="call-logs-sandbox", daemon=True
        )
        origin = f"http://127.0.0.1:{listening.getsockname()[1]}"
        thread.start()
        try:
            deadline = time.monotonic() + START_SECONDS
            while not server.started:
                if not thread.is_alive() or time.monotonic() > deadline:
                    raise RuntimeError("the sandbox did not start")
                time.sleep(0.002)
            yield origin
        finally:
            server.should_exit = True
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
