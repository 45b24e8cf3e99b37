"""Whether the server lives, whether it can answer, and its numbers. None of it tells what a call is about."""

import time
from collections.abc import Iterable
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any

import anyio
import anyio.to_thread
from mcp import MCPError
from mcp.server import ServerRequestContext
from mcp.server.context import CallNext, HandlerResult
from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.openmetrics import exposition
from prometheus_client.registry import Collector
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from call_logs.errors import CallLogsError
from call_logs.http.authentication import Authentication
from call_logs.http.refusal import Refusal
from call_logs.principals import Scope, answering
from call_logs.tools import App

STORE_SECONDS = 2.0
"""A store that takes longer to find a single note cannot answer questions."""

BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_WELL = ("ok", "syncing")


class Metrics:
    """The numbers of this process."""

    def __init__(self, tools: Iterable[str]) -> None:
        """`tools`: the names that there are; a name that a client made up is counted as unknown."""
        self._tools = frozenset(tools)
        self.registry = CollectorRegistry()
        self._took = Histogram(
            "call_logs_tool_call_seconds",
            "How long a tool took to answer.",
            ("tool", "outcome"),
            buckets=BUCKETS,
            registry=self.registry,
        )
        self._refused = Counter(
            "call_logs_refused_requests", "Requests that were not let in.", ("status",), registry=self.registry
        )

    def refused(self, status: int) -> None:
        """Count a refusal."""
        self._refused.labels(str(int(status))).inc()

    def text(self) -> bytes:
        """All of them as OpenMetrics. Blocks: asks the store."""
        untyped: Any = exposition
        written: bytes = untyped.generate_latest(self.registry)
        return written

    async def measured(self, ctx: ServerRequestContext[Any, Any], call_next: CallNext) -> HandlerResult:
        """A step that times tool calls. Outcomes: ok, error (a tool's, in words), refused, crashed."""
        if ctx.method != "tools/call":
            return await call_next(ctx)
        name = (ctx.params or {}).get("name")
        tool = name if isinstance(name, str) and name in self._tools else "unknown"
        outcome, begun = "crashed", time.perf_counter()
        try:
            result = await call_next(ctx)
            outcome = "error" if isinstance(result, dict) and result.get("isError") else "ok"
        except MCPError:
            outcome = "refused"
            raise
        else:
            return result
        finally:
            self._took.labels(tool, outcome).observe(time.perf_counter() - begun)


class _Held(Collector):
    """What the store holds, and how old it is, of the accounts that whoever asks may see."""

    def __init__(self, app: App) -> None:
        self._app = app

    def describe(self) -> Iterable[GaugeMetricFamily]:
        return ()

    def collect(self) -> Iterable[GaugeMetricFamily]:
        app, now = self._app, datetime.now(UTC)
        calls = GaugeMetricFamily("call_logs_calls", "Calls that are held.", labels=["account"])
        lag = GaugeMetricFamily(
            "call_logs_sync_lag_seconds", "Since the newest calls were last asked for.", labels=["account"]
        )
        well = GaugeMetricFamily(
            "call_logs_account_well", "1 where the account's last pass ended well.", labels=["account"]
        )
        for row in app.store.accounts(app.readable):
            calls.add_metric([row.name], row.calls)
        for name in app.names:
            health = app.sync.health(name)
            well.add_metric([name], health.state in _WELL)
            if health.last_synced_at is not None:
                lag.add_metric([name], (now - health.last_synced_at).total_seconds())
        return calls, lag, well


def routes(app: App, metrics: Metrics, authentication: Authentication) -> list[Route]:
    """`/healthz` and `/readyz` for anyone, `/metrics` for who has the scope admin."""
    metrics.registry.register(_Held(app))

    async def healthz(_: Request) -> Response:
        return JSONResponse({"status": "alive"})

    async def readyz(_: Request) -> Response:
        """Ready is who can answer from the store. An old pass is no reason not to be: a question starts the next one."""
        try:
            with anyio.fail_after(STORE_SECONDS):
                await anyio.to_thread.run_sync(app.store.remembered, "ready", abandon_on_cancel=True)
        except (CallLogsError, TimeoutError):
            problem = "The store cannot be reached."
            return JSONResponse({"status": "not ready", "problem": problem}, HTTPStatus.SERVICE_UNAVAILABLE)
        healths = [app.sync.health(name) for name in app.sync.names]
        passes = [health.last_synced_at for health in healths if health.last_synced_at is not None]
        age = (datetime.now(UTC) - min(passes)).total_seconds() if passes else None
        told = {
            "status": "ready",
            "accounts": len(healths),
            "accounts_not_well": sum(health.state not in _WELL for health in healths),
            "oldest_pass_seconds": round(age, 1) if age is not None else None,
        }
        return JSONResponse(told)

    async def numbers(request: Request) -> Response:
        try:
            principal = await authentication.principal(request.headers)
            if Scope.ADMIN not in principal.scopes:
                raise authentication.forbidden(principal, Scope.ADMIN, "/metrics")
        except Refusal as refusal:
            metrics.refused(refusal.status)
            return refusal.response()
        with answering(principal):
            try:
                text = await anyio.to_thread.run_sync(metrics.text)
            except CallLogsError as error:
                return Response(str(error), HTTPStatus.SERVICE_UNAVAILABLE)
        return Response(text, media_type=exposition.CONTENT_TYPE_LATEST)

    return [Route("/healthz", healthz), Route("/readyz", readyz), Route("/metrics", numbers)]
