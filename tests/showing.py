"""What the tests of the views and their pictures share: the made-up business behind a client that shows views, Chromium,
and a host page."""

import os
import shutil
from collections.abc import AsyncGenerator, Generator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from anyio.from_thread import BlockingPortal, start_blocking_portal
from mcp import Client
from mcp.client.extension import advertise
from mcp.server.apps import APP_MIME_TYPE, EXTENSION_ID
from mcp.types import CallToolResult, TextResourceContents
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from call_logs.app import build_server
from call_logs.config import Config, load
from call_logs.sandbox import running, serving
from call_logs.text import Masking
from call_logs.views import VIEWS, address

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Frame, Page

HOST_PAGE = Path(__file__).parent / "apps_host.html"
ZONE = ZoneInfo("America/Los_Angeles")
NOW = datetime(2025, 11, 11, 15, 20, tzinfo=ZONE)
PATIENCE = 10_000
"""Milliseconds after which a page that does not come to be fails a test."""

NAMES = ("chromium", "chromium-browser", "google-chrome")
REQUIRE = "CALL_LOGS_REQUIRE_CHROMIUM"


def chromium() -> str | None:
    """The browser of this machine."""
    return next((found for name in NAMES if (found := shutil.which(name))), None)


def without_browser() -> str | None:
    """Why the browser's tests cannot run here; None where they can, or must (`CALL_LOGS_REQUIRE_CHROMIUM`)."""
    if find_spec("playwright") is None:
        missing = "playwright is not installed: pip install -e '.[browser]'"
    else:
        missing = None if chromium() else "no Chromium here: apt-get install chromium"
    if missing and os.environ.get(REQUIRE):
        raise RuntimeError(missing)
    return missing


@dataclass
class Asking:
    """Asks a server in another thread, as a client that shows views: a browser's driver keeps this one."""

    portal: BlockingPortal
    client: Client

    def __call__(self, tool: str, **arguments: Any) -> dict[str, Any]:
        """The tool's result as it goes over the wire."""
        result: CallToolResult = self.portal.call(self.client.call_tool, tool, arguments)
        return result.model_dump(mode="json", by_alias=True, exclude_none=True)

    def page(self, tool: str) -> str:
        """The page of the tool's view, as a host reads it."""
        [content] = self.portal.call(self.client.read_resource, address(VIEWS[tool])).contents
        assert isinstance(content, TextResourceContents)
        assert content.mime_type == APP_MIME_TYPE
        return content.text


@contextmanager
def lakeside(folder: Path) -> Generator[Asking]:
    """The made-up business, read from all vendors on a Tuesday afternoon; the same at every run."""
    with running(NOW) as sandbox, start_blocking_portal() as portal:
        loaded = load(sandbox.accounts, own_accounts=False, database=str(folder / "calls.db"))
        config = Config(
            accounts=loaded.accounts,
            database=loaded.database,
            zone=ZONE,
            history=timedelta(days=90),
            max_age=1e9,
            wait=3.0,
            masking=Masking.CARDS,
        )
        with portal.wrap_async_context_manager(_connected(config)) as client:
            yield Asking(portal, client)


@asynccontextmanager
async def _connected(config: Config) -> AsyncGenerator[Client]:
    server = build_server(config, now=lambda: NOW)
    async with Client(server, extensions=[advertise(EXTENSION_ID, {"mimeTypes": [APP_MIME_TYPE]})]) as client:
        for name in server.app.sync.names:
            assert (await server.app.sync.finish(name)).state == "ok"
        yield client


@contextmanager
def browsing() -> "Generator[Browser]":
    """Chromium without a window."""
    from playwright.sync_api import sync_playwright  # noqa: PLC0415 - the extra `browser`

    as_root = ["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=[*as_root, "--disable-gpu"])
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def host_page() -> Generator[tuple[str, list[str]]]:
    """The host page's address on this machine, and the paths that were asked for there."""
    asked: list[str] = []

    async def answer(request: Request) -> Response:
        asked.append(request.url.path)
        return HTMLResponse(HOST_PAGE.read_text(encoding="utf-8"))

    with serving(Starlette(routes=[Route("/{path:path}", answer)])) as origin:
        yield f"{origin}/host", asked


def tool_input(**arguments: Any) -> dict[str, Any]:
    """What a host tells of the question."""
    return {"method": "ui/notifications/tool-input", "params": {"arguments": arguments}}


def tool_result(result: dict[str, Any]) -> dict[str, Any]:
    """What a host tells of the answer."""
    return {"method": "ui/notifications/tool-result", "params": result}


@dataclass
class Shown:
    """A view in the host page, and what went wrong on the way."""

    page: "Page"
    frame: "Frame"
    trouble: list[str] = field(default_factory=list[str])
    requests: list[str] = field(default_factory=list[str])

    def text(self) -> str:
        """What is to be read in the view."""
        return self.frame.inner_text("main")

    def heard(self) -> list[dict[str, Any]]:
        """What the view said to its host."""
        return self.page.evaluate("host.heard")

    def post(self, message: dict[str, Any]) -> None:
        """Say something to the view."""
        self.page.evaluate("message => host.post(message)", message)


def show(page: "Page", html: str, messages: Sequence[dict[str, Any]], wait_for: str | None, **how: Any) -> Shown:
    """The view in the page's frame, once the selector is there. `how`: see apps_host.html."""
    page.evaluate("([html, how]) => host.open(html, how)", [html, {"messages": list(messages), **how}])
    handle = page.wait_for_selector("iframe", timeout=PATIENCE)
    frame = handle.content_frame() if handle else None
    assert frame is not None
    if wait_for:
        frame.wait_for_selector(wait_for, timeout=PATIENCE)
    return Shown(page, frame)
