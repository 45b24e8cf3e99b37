"""One server for a team: the protocol over streamable HTTP, each request answered as the principal it is from.

There are no sessions: each request stands for itself, in the protocol's old and new revisions alike.
"""

import asyncio
import contextlib
import gc
import ipaddress
import os
import signal
import socket
from collections.abc import AsyncGenerator, Callable, Generator, Sequence
from types import FrameType

import anyio.to_thread
import click
import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.routing import BaseRoute, Route
from uvicorn.server import HANDLED_SIGNALS

from call_logs.app import build_server
from call_logs.config import Config
from call_logs.errors import CallLogsError, ConfigError
from call_logs.http import webhooks
from call_logs.http.authentication import Authentication
from call_logs.http.guard import MOST_BODY_BYTES, Guard, KnownPlaces, allowed
from call_logs.http.health import Metrics, routes
from call_logs.http.limits import Limits
from call_logs.http.stopping import Stopping
from call_logs.providers import is_loopback
from call_logs.tools import App, all_tools

PATH = "/mcp"

THREADS = 4 + (os.cpu_count() or 2)
"""Questions that are answered at the same time, and what else blocks; others wait. With more, threads take turns at
Python's one lock so often that twice as many clients get half the answers."""

MOST_CONNECTIONS = 1_000
"""More at a time are answered 503."""

KEEP_ALIVE_SECONDS = 75
"""Longer than a proxy keeps an idle connection, so that it never sends a request into one that is being closed."""

STOP_SECONDS = 1.0
"""What is still being answered when the server is stopped has this long."""

CUT_OFF_SECONDS = 3
"""After so long whatever did not let itself be ended is cut off."""


def team_server(
    config: Config,
    *,
    allow_hosts: Sequence[str] = (),
    more: Callable[[App], Sequence[BaseRoute]] = lambda _: (),
) -> Starlette:
    """The ASGI application. `allow_hosts`: names, beside this machine's own, under which it answers. `more`: further
    routes, which see to it themselves who may use them. Raises `StoreError`.
    """
    metrics = Metrics(tool.name for tool in all_tools())
    server = build_server(config, steps=[metrics.measured])
    authentication = Authentication(config)
    settings = allowed(tuple(allow_hosts))
    server.streamable_http_app(
        streamable_http_path=PATH,
        stateless_http=True,
        transport_security=settings,
        max_request_body_size=MOST_BODY_BYTES,
    )
    protocol = server.session_manager
    limits = Limits(config.requests_per_minute)

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncGenerator[None]:
        anyio.to_thread.current_default_thread_limiter().total_tokens = THREADS
        async with authentication.open(), protocol.run():
            yield

    return Starlette(
        routes=[
            *routes(server.app, metrics, authentication),
            *authentication.routes(),
            *more(server.app),
            Route(PATH, Guard(protocol.handle_request, authentication, limits, server.needs, metrics.refused)),
        ],
        middleware=[Middleware(KnownPlaces, settings=settings)],
        lifespan=lifespan,
    )


def serve_http(config: Config, *, host: str, port: int, allow_hosts: Sequence[str] = ()) -> None:
    """Serve until SIGINT or SIGTERM; what is being answered then has `STOP_SECONDS`.

    Raises `ConfigError` where anyone on the network could come in, `CallLogsError` where the port cannot be had.
    """
    _refuse_open_doors(config, host)
    names = (*allow_hosts, *_own_name(host))
    with _listening(host, port) as listening:
        app = Stopping(team_server(config, allow_hosts=names, more=webhooks.routes))
        server = _Server(
            uvicorn.Config(
                app,
                log_config=None,  # logs stay scrubbed
                access_log=False,
                server_header=False,
                proxy_headers=False,  # nothing here believes what a proxy says of its client
                ws="none",
                lifespan="on",
                limit_concurrency=MOST_CONNECTIONS,
                timeout_keep_alive=KEEP_ALIVE_SECONDS,
                timeout_graceful_shutdown=CUT_OFF_SECONDS,
            ),
            app,
        )
        _tell(config, host, listening.getsockname()[1], names)
        for number in HANDLED_SIGNALS:
            signal.signal(number, _nothing)  # uvicorn raises them again once it has stopped
        gc.freeze()
        gc.enable()
        server.run(sockets=[listening])


class _Server(uvicorn.Server):
    """uvicorn, which ends open streams before it waits for them."""

    def __init__(self, config: uvicorn.Config, stopping: Stopping) -> None:
        super().__init__(config)
        self._stopping = stopping

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        asyncio.get_running_loop().call_later(STOP_SECONDS, self._stopping.stop)
        await super().shutdown(sockets)


def _nothing(number: int, frame: FrameType | None) -> None:
    del number, frame


def _refuse_open_doors(config: Config, host: str) -> None:
    if is_loopback(host) or Authentication(config).possible:
        return
    raise ConfigError(
        f"--host {host} lets the network in, and anyone there could read all calls: there is neither a token nor an "
        "issuer. Make a token with `call-logs-mcp token new NAME`, or set CALL_LOGS_OAUTH_ISSUER and "
        "CALL_LOGS_OAUTH_AUDIENCE; or leave out --host to serve this machine only."
    )


def _own_name(host: str) -> tuple[str, ...]:
    """The address it listens on is a name of the server, unless that is every address."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return (host,)
    return () if address.is_unspecified else (f"[{address}]" if address.version == 6 else host,)  # noqa: PLR2004 - IPv6


@contextlib.contextmanager
def _listening(host: str, port: int) -> Generator[socket.socket]:
    try:
        listening = socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as error:
        raise CallLogsError(
            f"Port {port} of {host} cannot be had ({error.strerror}). Take another one with --port."
        ) from None
    with listening:
        # asyncio does this only for sockets that it makes itself; without it every small answer waits some 40 ms.
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        yield listening


def _tell(config: Config, host: str, port: int, names: Sequence[str]) -> None:
    """What whoever started the server should know, on stderr."""
    authentication = Authentication(config)
    who = "Requests need a token."
    if not authentication.required:
        who = (
            "Anyone on this machine may ask. `call-logs-mcp token new NAME` makes a token; from then on one is needed."
        )
    elif not authentication.possible:
        who += " There is none yet: `call-logs-mcp token new NAME` makes one."
    only = (
        "" if names or is_loopback(host) else " Only localhost is answered: add --allow-host NAME for each other name."
    )
    shown = f"[{host}]" if ":" in host else host
    click.echo(f"call-logs-mcp: serving http://{shown}:{port}{PATH}. {who}{only}", err=True)
