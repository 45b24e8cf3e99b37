"""The views: pages that draw answers, in a host of MCP Apps and as files. The slow half runs in a real Chromium."""

import base64
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Generator
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest
from anyio.from_thread import start_blocking_portal
from hypothesis import given
from hypothesis import strategies as st
from mcp import Client, StdioServerParameters
from mcp.client.extension import advertise
from mcp.server.apps import APP_MIME_TYPE, EXTENSION_ID
from mcp.types import TextResourceContents

from call_logs.views import PROMISES, SCRIPTS, VIEWS, address, embeddable, page, page_with
from call_logs.views.answers import report
from conftest import Asking
from showing import (
    PATIENCE,
    Shown,
    browsing,
    chromium,
    host_page,
    lakeside,
    show,
    tool_input,
    tool_result,
    without_browser,
)
from showing import Asking as Lakeside

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Dialog, Page, ViewportSize

MOST_BYTES = 60_000
SVG = "http://www.w3.org/2000/svg"
PARKING = "demo-highlevel/e0fefa9038781e2be9aaf24c"
"""The agent says that it will text directions; nothing was sent."""

SHOWS_VIEWS = advertise(EXTENSION_ID, {"mimeTypes": [APP_MIME_TYPE]})


# -- the pages, without a browser ---------------------------------------------------------------------------------


@pytest.mark.parametrize("view", SCRIPTS)
def test_a_page_refers_to_nothing_outside_of_it(view: str) -> None:
    html = re.sub(r'content="default-src[^"]+"', "", page(view)).replace(SVG, "")
    assert not re.search(
        r"https?:|//[a-z]|\burl\(|@import|\bsrc\b|\bhref\b|<(?:link|img|iframe|object|embed|base|form)\b", html
    )


@pytest.mark.parametrize("view", SCRIPTS)
def test_a_page_makes_no_markup_of_text_and_runs_none(view: str) -> None:
    forbidden = (
        r"innerHTML|outerHTML|insertAdjacent|document\.write|\beval\b|new Function|setTimeout|setInterval|DOMParser|"
        r"srcdoc|createContextualFragment|setHTML|fetch\(|XMLHttpRequest|WebSocket|EventSource|sendBeacon|import\(|"
        r"localStorage|sessionStorage|indexedDB|document\.cookie|\bon[a-z]+="
    )
    assert not re.search(forbidden, page(view))


@pytest.mark.parametrize("view", SCRIPTS)
def test_a_page_allows_its_own_script_and_style_and_nothing_else(view: str) -> None:
    html = page(view)
    [policy] = re.findall(r'http-equiv="Content-Security-Policy" content="([^"]+)"', html)
    parts = dict(part.strip().split(" ", 1) for part in policy.split(";"))
    for directive, element in (("script-src", "script"), ("style-src", "style")):
        [text] = re.findall(rf"<{element}>(.*?)</{element}>", html, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert parts[directive] == f"'sha256-{digest}'"
    assert parts["default-src"] == parts["base-uri"] == parts["form-action"] == parts["trusted-types"] == "'none'"
    assert parts["require-trusted-types-for"] == "'script'"
    assert html.index("Content-Security-Policy") < min(html.index("<style"), html.index("<script"))


@pytest.mark.parametrize("view", SCRIPTS)
def test_a_page_has_at_most_60_kb(view: str) -> None:
    assert len(page(view).encode()) < MOST_BYTES


@given(st.text())
def test_what_was_said_cannot_leave_the_element_it_is_embedded_in(text: str) -> None:
    embedded = embeddable({"text": text, text: ["</script><!--<script>", "\u2028\u2029", text]})
    assert not re.search("[<>&\u2028\u2029]", embedded)
    assert json.loads(embedded) == {"text": text, text: ["</script><!--<script>", "\u2028\u2029", text]}


# -- as MCP Apps --------------------------------------------------------------------------------------------------

anyio_only = pytest.mark.anyio


@anyio_only
async def test_three_tools_name_their_pages_and_each_can_be_read(asking: Asking) -> None:
    async with asking() as ask:
        tools = {tool.name: tool.meta for tool in (await ask.client.list_tools()).tools}
        assert {name for name, meta in tools.items() if meta} == {"get_call", "list_calls", "count_calls"} == set(VIEWS)
        for tool, view in VIEWS.items():
            assert tools[tool] == {"ui": {"resourceUri": address(view)}}
            [content] = (await ask.client.read_resource(address(view))).contents
            assert isinstance(content, TextResourceContents)
            assert content.mime_type == "text/html;profile=mcp-app"
            assert content.text == page(view)


@anyio_only
async def test_views_ask_for_no_domain_and_no_permission(asking: Asking) -> None:
    async with asking() as ask:
        for view in VIEWS.values():
            [content] = (await ask.client.read_resource(address(view))).contents
            asked: dict[str, Any] = (content.meta or {})["ui"]
            assert set(asked) == {"csp", "prefersBorder"}
            assert not any(asked["csp"].values())


@anyio_only
async def test_the_server_says_that_it_has_views(asking: Asking) -> None:
    async with asking() as ask:
        assert EXTENSION_ID in (ask.client.server_capabilities.extensions or {})


@anyio_only
@pytest.mark.parametrize(
    ("tool", "arguments"), [("get_call", {}), ("list_calls", {}), ("count_calls", {"group_by": ["day"]})]
)
async def test_a_host_without_views_gets_the_same_two_channels_and_nothing_more(
    asking: Asking, tool: str, arguments: dict[str, Any]
) -> None:
    async with asking() as ask:
        if tool == "get_call":
            arguments = {"call_id": (await ask("list_calls", limit=1)).body["calls"][0]["id"]}
        async with Client(ask.server, extensions=[SHOWS_VIEWS]) as drawing:
            plain = await ask.client.call_tool(tool, arguments)
            drawn = await drawing.call_tool(tool, arguments)
    assert plain.structured_content == drawn.structured_content
    assert _unmarked(plain.content[0].text) == _unmarked(drawn.content[0].text)  # type: ignore[union-attr] - text it is
    assert PROMISES not in (plain.meta or {})
    assert (PROMISES in (drawn.meta or {})) == (tool == "get_call")


def _unmarked(text: str) -> str:
    """Without the mark of this answer's quotes."""
    return re.sub(r"\b[0-9a-f]{16}\b", "", text)


@anyio_only
@pytest.mark.parametrize("mode", ["legacy", "auto"])
async def test_the_view_of_a_call_is_given_the_promises_that_its_actions_answer_has(asking: Asking, mode: str) -> None:
    async with asking() as ask:
        found = (await ask("summarize_call_actions", group_by="promise")).body["promised_not_executed"]
        call_id = found[0]["call_id"]
        done = (await ask("summarize_call_actions", call_id=call_id)).body
        async with Client(ask.server, mode=mode, extensions=[SHOWS_VIEWS]) as drawing:
            drawn = await drawing.call_tool("get_call", {"call_id": call_id, "around": found[0]["turn"]})
    told = (drawn.meta or {})[PROMISES]
    assert told == {name: done[name] for name in ("actions_reported", "promised_not_executed")}
    assert told["promised_not_executed"]


@anyio_only
async def test_views_are_not_among_the_transcripts_that_a_person_attaches(asking: Asking) -> None:
    async with asking() as ask:
        listed = [str(resource.uri) for resource in (await ask.client.list_resources()).resources]
    assert listed
    assert all(uri.startswith("calls://") for uri in listed)


# -- in Chromium --------------------------------------------------------------------------------------------------

in_browser = [pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def lakeside_calls(tmp_path_factory: pytest.TempPathFactory) -> Generator[Lakeside]:
    """The made-up business, asked as a host that shows views asks."""
    with lakeside(tmp_path_factory.mktemp("views")) as ask:
        yield ask


@pytest.fixture(scope="module")
def browser() -> "Generator[Browser]":
    """Chromium; its absence fails where it is required, as in CI."""
    missing = without_browser()
    if missing:
        pytest.skip(missing)
    with browsing() as started:
        yield started


Opening = Callable[..., Shown]


@pytest.fixture
def open_view(browser: "Browser") -> Generator[Opening]:
    """Opens a page in the host. At the end: nothing was loaded but the host page, and nothing went wrong unseen."""
    with host_page() as (host, asked):
        opened: list[Shown] = []

        def opening(
            html: str, *messages: dict[str, Any], wait_for: str | None = "main > :not(.waiting)", **how: Any
        ) -> Shown:
            size: ViewportSize = {"width": how.pop("width", 720), "height": 800}
            context = browser.new_context(viewport=size, color_scheme=how.pop("scheme", "light"))
            tab = context.new_page()
            trouble: list[str] = []
            requests: list[str] = []

            def refuse(dialog: "Dialog") -> None:
                trouble.append(dialog.message)
                dialog.dismiss()

            tab.on("console", lambda said: trouble.append(said.text))
            tab.on("pageerror", lambda error: trouble.append(str(error)))
            tab.on("dialog", refuse)
            context.on("request", lambda request: requests.append(request.url))
            tab.goto(host)
            shown = show(tab, html, messages, wait_for, **how)
            shown.trouble, shown.requests = trouble, requests
            opened.append(shown)
            return shown

        yield opening
        for shown in opened:
            assert [url for url in shown.requests if url.startswith(("http", "ws"))] == [host], shown.requests
            assert not shown.trouble
            shown.page.context.close()
        assert asked == ["/host"] * len(opened)


class TestInAHost:
    """What a host's person sees, hears and does."""

    pytestmark = in_browser

    def test_a_call_shows_its_turns_its_promise_and_its_end_on_one_axis(
        self, lakeside_calls: Lakeside, open_view: Opening
    ) -> None:
        result = lakeside_calls("get_call", call_id=PARKING)
        shown = open_view(lakeside_calls.page("get_call"), tool_input(call_id=PARKING), tool_result(result))
        text = shown.text()
        for words in (
            "+13605550148",
            "direction not told",
            "Promised, not executed: message",
            "Ended, completed",
            "complete",
        ):
            assert words in text
        drawn = re.sub("[\u2068\u2069]", "", shown.frame.get_by_role("img").get_attribute("aria-label") or "")
        assert "promised, not executed: message at 0:54" in drawn
        assert "end of the call at 1:20" in drawn
        assert shown.frame.locator("mark").inner_text().startswith("I'll text you the directions")
        assert shown.frame.locator(".turn").count() == 13
        at, end = (shown.frame.locator(f".mark.{kind}").bounding_box() for kind in ("warn", "end"))
        assert at
        assert end
        assert at["x"] < end["x"]

    def test_a_server_in_a_process_of_its_own_is_drawn(self, open_view: Opening) -> None:
        inherited = {name: os.environ[name] for name in ("PATH", "PYTHONPATH", "HOME") if name in os.environ}
        server = StdioServerParameters(
            command=sys.executable, args=["-m", "call_logs", "serve", "--demo"], env=inherited
        )
        with start_blocking_portal() as portal:
            connecting = portal.wrap_async_context_manager(Client(server, extensions=[SHOWS_VIEWS]))
            with connecting as client:
                ask = Lakeside(portal, client)
                found = ask("list_calls", limit=5)
                shown = open_view(ask.page("list_calls"), tool_input(limit=5), tool_result(found))
                assert shown.frame.locator(".list tbody tr:not(.dayrow, .more)").count() == 5
                assert found["structuredContent"]["calls"][0]["id"] in shown.text()

    def test_a_hit_is_marked_and_scrolled_to_and_a_promise_is_one_press_away(
        self, lakeside_calls: Lakeside, open_view: Opening
    ) -> None:
        result = lakeside_calls("get_call", call_id=PARKING, turns="all")
        shown = open_view(
            lakeside_calls.page("get_call"), tool_input(call_id=PARKING, around=12), tool_result(result), width=320
        )
        hit = shown.frame.locator("#turn-12")
        assert hit.get_attribute("aria-current") == "true"
        assert _within(shown, "#turn-12")
        assert not _within(shown, "#turn-1")
        button = shown.frame.get_by_role("button", name="Turn 9")
        button.focus()
        button.press("Enter")
        assert shown.frame.evaluate("document.activeElement.id") == "turn-9"
        assert _within(shown, "#turn-9")

    def test_a_list_is_filtered_and_ordered_by_hand_and_says_how_much_it_is(
        self, lakeside_calls: Lakeside, open_view: Opening
    ) -> None:
        result = lakeside_calls("list_calls", limit=20)
        shown = open_view(lakeside_calls.page("list_calls"), tool_input(), tool_result(result))
        status = shown.frame.get_by_role("status")
        assert status.inner_text() == "20 calls of 226"
        assert status.get_attribute("aria-live") == "polite"
        assert "206 calls of this question are not in this answer" in shown.text()
        shown.frame.get_by_label("Status").select_option(index=1)
        chosen = shown.frame.get_by_label("Status").evaluate("one => one.selectedOptions[0].textContent")
        count = int(re.findall(r"\((\d+)\)", chosen)[0])
        assert status.inner_text() == f"{count} of the 20 calls in this answer"
        assert shown.frame.locator("tbody tr:not(.dayrow)").count() == count
        shown.frame.get_by_label("Find").fill("no such number")
        assert status.inner_text() == "0 of the 20 calls in this answer"
        shown.frame.get_by_label("Find").fill("")
        shown.frame.get_by_label("Order").select_option(label="Longest first")
        lengths = [_seconds(text) for text in shown.frame.locator("td.length").all_inner_texts()]
        assert len(lengths) == count
        assert lengths == sorted(lengths, reverse=True)

    def test_counts_over_days_fill_the_calendar_and_all_numbers_are_in_a_table(
        self, lakeside_calls: Lakeside, open_view: Opening
    ) -> None:
        result = lakeside_calls("count_calls", group_by=["day"], since="last 28 days")
        groups = result["structuredContent"]["groups"]
        groups.pop(3)
        shown = open_view(lakeside_calls.page("count_calls"), tool_input(), tool_result(result))
        assert shown.frame.locator(".column").count() == len(groups) + 1
        shown.frame.get_by_text("All numbers").click()
        rows = shown.frame.locator(".bars tbody tr")
        assert rows.count() == len(groups)
        assert str(groups[-1]["calls"]) in rows.last.inner_text()

    def test_counts_over_two_dimensions_are_a_table_whose_sums_are_the_total(
        self, lakeside_calls: Lakeside, open_view: Opening
    ) -> None:
        result = lakeside_calls("count_calls", group_by=["agent", "status"])
        shown = open_view(lakeside_calls.page("count_calls"), tool_input(), tool_result(result))
        sums = [int(text) for text in shown.frame.locator("td.sum").all_inner_texts()]
        assert sum(sums) == result["structuredContent"]["total"] == 226
        for group in result["structuredContent"]["groups"]:
            assert str(group["calls"]) in shown.frame.locator(".matrix").inner_text()

    @pytest.mark.parametrize("early", [True, False], ids=["before initialize is answered", "after it"])
    def test_an_answer_is_shown_whenever_it_comes(
        self, lakeside_calls: Lakeside, open_view: Opening, early: bool
    ) -> None:
        result = lakeside_calls("count_calls")
        messages = [tool_result(result), tool_input()]
        shown = open_view(lakeside_calls.page("count_calls"), *messages, early=early, silent=early)
        assert "226" in shown.text()

    def test_an_error_shows_its_text_and_a_cancelled_question_says_so(
        self, lakeside_calls: Lakeside, open_view: Opening
    ) -> None:
        refused = lakeside_calls("get_call", call_id="nobody/1")
        assert refused["isError"]
        shown = open_view(lakeside_calls.page("get_call"), tool_input(call_id="nobody/1"), tool_result(refused))
        assert "This could not be answered" in shown.text()
        assert "There is no such call id" in shown.text()
        assert shown.frame.get_by_role("alert").is_visible()
        cancelled = {"method": "ui/notifications/tool-cancelled", "params": {"reason": "user"}}
        assert "cancelled" in open_view(lakeside_calls.page("get_call"), cancelled).text()

    @pytest.mark.parametrize(
        ("tool", "answer", "says"),
        [
            ("get_call", None, "nothing that this view can draw"),
            ("get_call", [], "nothing that this view can draw"),
            ("get_call", {}, "How complete this answer is was not told"),
            ("get_call", {"call": None, "turns": None, "total_turns": 0, "coverage": None}, "No transcript"),
            (
                "get_call",
                {"call": {"id": "a/1", "status": "ringing"}, "turns": [{"n": 1, "text": "Hi"}]},
                "Speaker not told",
            ),
            ("get_call", {"turns": [{"n": 1, "text": "Hi"}]}, "The times of the turns are not told"),
            ("get_call", {"call": {"id": "a/1"}}, "Promises were not compared with actions"),
            ("list_calls", {}, "No calls"),
            ("list_calls", {"calls": [], "total": 0, "note": "To widen, leave out: agent."}, "To widen"),
            ("list_calls", {"calls": [{}, {"id": 5}, None], "total": 9, "coverage": {"complete": False}}, "INCOMPLETE"),
            ("count_calls", {}, "Calls"),
            ("count_calls", {"groups": [], "total": 0, "coverage": {"complete": True}}, "No calls"),
            ("count_calls", {"groups": [{"key": {"day": "soon"}, "calls": 1, "answered": 0}], "total": 1}, "soon"),
        ],
    )
    def test_what_is_missing_from_an_answer_is_said_and_breaks_nothing(
        self, lakeside_calls: Lakeside, open_view: Opening, tool: str, answer: Any, says: str
    ) -> None:
        result: dict[str, Any] = {"content": [{"type": "text", "text": "as text"}], "structuredContent": answer}
        shown = open_view(
            lakeside_calls.page(tool), {"method": "ui/notifications/tool-input-partial"}, tool_result(result)
        )
        if tool == "count_calls" and answer.get("groups"):
            shown.frame.get_by_text("All numbers").click()
        assert says in shown.text()
        if not isinstance(answer, dict):
            assert "as text" in shown.text()

    def test_an_incomplete_answer_says_so_first_with_what_to_do_next(
        self, lakeside_calls: Lakeside, open_view: Opening
    ) -> None:
        for tool in VIEWS:
            arguments = {"call_id": PARKING} if tool == "get_call" else {}
            result = lakeside_calls(tool, **arguments)
            unwell = {
                "account": "acme",
                "state": "parked",
                "problem": "The token was refused.",
                "next_step": "Renew it.",
            }
            result["structuredContent"]["coverage"] |= {"complete": False, "accounts": [unwell]}
            shown = open_view(lakeside_calls.page(tool), tool_result(result))
            box = shown.frame.get_by_role("region", name="Coverage")
            assert "INCOMPLETE" in box.inner_text()
            assert "acme is parked: The token was refused. Renew it." in box.inner_text()
            last = shown.frame.locator("section, figure, dl, table").last
            place, other = box.bounding_box(), last.bounding_box()
            assert place
            assert other
            assert place["y"] < other["y"]

    def test_where_a_vendor_reports_no_actions_a_promise_is_neither_kept_nor_broken(
        self, lakeside_calls: Lakeside, open_view: Opening
    ) -> None:
        rows = lakeside_calls("list_calls", account="vyom", limit=100)["structuredContent"]["calls"]
        for row in rows:
            result = lakeside_calls("get_call", call_id=row["id"])
            if result["_meta"][PROMISES].get("promised"):
                break
        else:
            pytest.fail("no call of Vyom has a promise")
        shown = open_view(lakeside_calls.page("get_call"), tool_result(result))
        assert "This vendor reports no actions: whether what was promised was done cannot be told." in shown.text()
        assert "; whether it was done cannot be told" in shown.text()
        assert "not executed" not in shown.text()

    def test_the_hosts_theme_goes_before_the_systems(self, lakeside_calls: Lakeside, open_view: Opening) -> None:
        result = lakeside_calls("count_calls")
        back = "getComputedStyle(document.documentElement).backgroundColor"
        shown = open_view(lakeside_calls.page("count_calls"), tool_result(result), scheme="dark")
        dark = shown.frame.evaluate(back)
        shown.post({"method": "ui/notifications/host-context-changed", "params": {"theme": "light"}})
        shown.frame.wait_for_function(f"{back} === 'rgb(255, 255, 255)'", timeout=PATIENCE)
        assert dark != "rgb(255, 255, 255)"
        shown.post({"method": "ui/notifications/host-context-changed", "params": {"theme": "dark"}})
        shown.frame.wait_for_function(f"{back} === '{dark}'", timeout=PATIENCE)

    def test_a_view_answers_its_host_and_hears_nobody_else(self, lakeside_calls: Lakeside, open_view: Opening) -> None:
        result = lakeside_calls("count_calls")
        shown = open_view(lakeside_calls.page("count_calls"), tool_result(result))
        for number, method in enumerate(("ping", "ui/resource-teardown", "tools/call"), 50):
            shown.post({"id": number, "method": method, "params": {}})
        shown.page.wait_for_function("host.heard.some(one => one.id === 52)", timeout=PATIENCE)
        replies = {one["id"]: one for one in shown.heard() if one.get("id", 0) >= 50}
        assert replies[50]["result"] == replies[51]["result"] == {}
        assert replies[52]["error"]["code"] == -32601
        asked = [one["method"] for one in shown.heard() if "method" in one]
        assert set(asked) == {"ui/initialize", "ui/notifications/initialized", "ui/notifications/size-changed"}
        forged = tool_result({"structuredContent": {"groups": [], "total": 0}})
        shown.frame.evaluate(
            "async message => { window.postMessage({ jsonrpc: '2.0', ...message }, '*');"
            " await new Promise(done => { window.addEventListener('message', done, { once: true }); }); }",
            forged,
        )
        assert "226" in shown.text()

    @pytest.mark.parametrize("tool", VIEWS)
    def test_the_keyboard_reaches_everything(self, lakeside_calls: Lakeside, open_view: Opening, tool: str) -> None:
        arguments: dict[str, Any] = {"call_id": PARKING} if tool == "get_call" else {}
        if tool == "count_calls":
            arguments = {"group_by": ["day"]}
        shown = open_view(lakeside_calls.page(tool), tool_input(), tool_result(lakeside_calls(tool, **arguments)))
        mark = """() => { const all = [...document.querySelectorAll('button, select, input, summary, [tabindex="0"]')]
            .filter(one => one.checkVisibility()); all.forEach((one, n) => { one.dataset.n = n; }); return all.length; }"""
        there = shown.frame.evaluate(mark)
        reached: set[str] = set()
        for _ in range(there + 3):
            shown.page.keyboard.press("Tab")
            reached.add(shown.frame.evaluate("document.activeElement?.dataset.n ?? ''"))
        assert there >= 1
        assert {str(n) for n in range(there)} <= reached

    @pytest.mark.parametrize("width", [320, 720, 1100])
    @pytest.mark.parametrize("tool", VIEWS)
    def test_a_page_is_never_wider_than_its_panel(
        self, lakeside_calls: Lakeside, open_view: Opening, tool: str, width: int
    ) -> None:
        arguments: dict[str, Any] = {"call_id": PARKING} if tool == "get_call" else {}
        if tool == "count_calls":
            arguments = {"group_by": ["agent", "status"]}
        if tool == "list_calls":
            arguments = {"with_summary": True, "limit": 50}
        shown = open_view(lakeside_calls.page(tool), tool_result(lakeside_calls(tool, **arguments)), width=width)
        assert shown.frame.evaluate("document.documentElement.scrollWidth") <= width

    def test_a_call_of_2000_turns_opens(
        self, lakeside_calls: Lakeside, open_view: Opening, capsys: pytest.CaptureFixture[str]
    ) -> None:
        result = lakeside_calls("get_call", call_id=PARKING)
        body = result["structuredContent"]
        sentence = "I was charged twice for the same order, and nobody called me back about it since last Thursday."
        body["turns"] = [
            {"n": n, "speaker": ("agent", "customer")[n % 2], "offset_seconds": 4.0 * n, "text": f"{sentence} {n}"}
            for n in range(1, 2001)
        ]
        body["total_turns"] = 2000
        shown = open_view(
            lakeside_calls.page("get_call"), tool_input(around=1777), tool_result(result), wait_for="#turn-2000"
        )
        shown.page.wait_for_function("host.shownAt > 0", timeout=PATIENCE)
        with capsys.disabled():
            took = shown.page.evaluate("Math.round(host.shownAt - host.began)")
            print(f"\n2,000 turns: {took} ms from answer to picture")  # noqa: T201 - reported, not asserted
        assert shown.frame.locator(".turn").count() == 2000
        assert _within(shown, "#turn-1777")


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_report_is_a_page_of_counts_promises_and_calls(
    lakeside_calls: Lakeside, browser: "Browser", tmp_path: Path
) -> None:
    answer = _report(lakeside_calls)
    file = tmp_path / "report.html"
    file.write_text(page_with("report", answer), encoding="utf-8")
    tab, trouble, requests = _tab(browser)
    tab.goto(file.as_uri())
    assert tab.locator(".promise").count() == len(answer["promises"]["promised_not_executed"]) > 0
    assert tab.locator(".figures dd").first.inner_text() == str(answer["calls"]["total"])
    assert tab.locator(".list tbody tr:not(.dayrow, .more)").count() == len(answer["calls"]["calls"]) > 100
    assert tab.get_by_role("status").inner_text() == f"All {answer['calls']['total']} calls"
    titles = tab.get_by_role("heading", level=2).all_inner_texts()
    assert [title.lower() for title in titles] == [
        "promised, not executed",
        "by day",
        "by status",
        "by agent",
        "the calls",
    ]
    assert "complete" in tab.get_by_role("region", name="Coverage").inner_text()
    assert requests == [file.as_uri()]
    assert not trouble
    tab.context.close()


def _report(ask: Lakeside) -> dict[str, Any]:
    async def asked(tool: str, arguments: dict[str, Any]) -> dict[str, Any]:
        given = {name: value for name, value in arguments.items() if value is not None}
        result = await ask.client.call_tool(tool, given)
        return result.structured_content or {}

    return ask.portal.call(report, asked, "last 14 days", None, None)


def _seconds(text: str) -> int:
    if ":" not in text:
        return -1
    minutes, seconds = text.strip().splitlines()[0].split(":")
    return 60 * int(minutes) + int(seconds)


def _within(shown: Shown, selector: str) -> bool:
    """Whether the element is in sight of the box that scrolls."""
    script = """one => { const box = one.closest('.turns').getBoundingClientRect(), own = one.getBoundingClientRect();
        return own.bottom > box.top && own.top < box.bottom; }"""
    return cast("bool", shown.frame.locator(selector).evaluate(script))


# -- what strangers say -------------------------------------------------------------------------------------------

HOSTILE = (
    "</script><script>window.hit=1</script><img src=x onerror=window.hit=1><svg onload=window.hit=1>"
    '<a href="javascript:window.hit=1">x</a><iframe srcdoc="<script>parent.hit=1</script>"></iframe>'
    "\" onmouseover=window.hit=1 '><style>*{display:none}</style><meta http-equiv=refresh content=0;url=//example.com>"
    "{{constructor.constructor('window.hit=1')()}}<!-- \u202egnp.exe \u2067 \u2066 \x07 \u2028 "
)
KEPT = {"turns", "calls", "groups", "coverage", "call", "n", "key"}


def hostile(node: Any, *, everything: bool) -> Any:
    """The answer with the payload in every string that a stranger or a vendor could have written, or in every string."""
    safe = ("_at", "as_of", "status", "direction", "speaker", "kind", "since", "until", "zone")
    if isinstance(node, dict):
        return {
            (f"{name} {HOSTILE}" if name in ("name", "email") else name): value
            if not everything and isinstance(value, str) and name.endswith(safe)
            else hostile(value, everything=everything)
            for name, value in cast("dict[str, Any]", node).items()
        }
    if isinstance(node, list):
        return [hostile(one, everything=everything) for one in cast("list[Any]", node)]
    return f"{node} {HOSTILE}" if isinstance(node, str) else node


class TestStrangers:
    """Whatever an answer holds is text, here also where the server's own cleaning is left out."""

    pytestmark = in_browser

    @pytest.mark.parametrize("everything", [False, True], ids=["speech and facts", "every string"])
    @pytest.mark.parametrize("tool", VIEWS)
    def test_what_strangers_say_is_text_and_nothing_of_it_runs(
        self, lakeside_calls: Lakeside, open_view: Opening, tool: str, everything: bool
    ) -> None:
        arguments: dict[str, Any] = {"call_id": PARKING} if tool == "get_call" else {"with_summary": True}
        if tool == "count_calls":
            arguments = {"group_by": ["agent"]}
        result = hostile(lakeside_calls(tool, **arguments), everything=everything)
        shown = open_view(lakeside_calls.page(tool), tool_input(), tool_result(result))
        self._harmless(shown)
        assert "<img src=x onerror=window.hit=1>" in shown.text()

    def test_an_error_and_a_text_of_strangers_are_text(self, lakeside_calls: Lakeside, open_view: Opening) -> None:
        for result in ({"isError": True}, {}):
            content = [{"type": "text", "text": HOSTILE}]
            shown = open_view(lakeside_calls.page("get_call"), tool_result({**result, "content": content}))
            self._harmless(shown)
            assert "<script>window.hit=1</script>" in shown.text()

    def _harmless(self, shown: Shown) -> None:
        shown.frame.locator("main").hover()
        shown.page.mouse.move(300, 300)
        assert shown.frame.evaluate("window.hit") is None
        assert shown.page.evaluate("window.hit") is None
        made = "main :is(script, img, iframe, a, style, meta, object, link, form), main svg:not(.track > svg)"
        assert shown.frame.locator(made).count() == 0
        assert shown.frame.locator("script").count() == 1
        given = """() => [...document.querySelectorAll('main *')].flatMap(one => [...one.attributes])
            .filter(one => /^on|^(src|href|srcdoc|action|formaction)$/.test(one.name)).length"""
        assert shown.frame.evaluate(given) == 0
        # Every text that turns its direction round stands alone in an element that lets none of it out.
        loose = """() => { const walk = document.createTreeWalker(document.querySelector('main'), NodeFilter.SHOW_TEXT), out = [];
            for (let node = walk.nextNode(); node; node = walk.nextNode()) {
              if (!/[\\u202a-\\u202e\\u2066-\\u2069]/.test(node.data)) continue;
              if (/^\u2068[^\u202a-\u202e\u2066-\u2069]*\u2069 [(][0-9]+[)]$/.test(node.data)) continue;
              const kept = node.parentElement.closest('.said, pre');
              if (!kept || !/isolate|plaintext/.test(getComputedStyle(kept).unicodeBidi)) out.push(node.parentElement.outerHTML.slice(0, 200));
            } return out; }"""
        assert shown.frame.evaluate(loose) == []

    def test_behind_text_nodes_stands_a_second_wall(self, lakeside_calls: Lakeside, open_view: Opening) -> None:
        shown = open_view(lakeside_calls.page("count_calls"), tool_result(lakeside_calls("count_calls")))
        tries = {
            "markup": "document.body.innerHTML = '<b>x</b>'",
            "script": "{ const one = document.createElement('script'); one.textContent = 'window.hit = 1'; document.body.append(one); }",
            "eval": "window.eval('window.hit = 1')",
        }
        for name, attempt in tries.items():
            # In a task of its own: what the driver runs itself may evaluate text.
            tried = f"try {{ {attempt}; done(''); }} catch (error) {{ done(error.name); }}"
            blocked = shown.frame.evaluate(f"() => new Promise(done => setTimeout(() => {{ {tried} }}))")
            assert blocked in ("TypeError", "EvalError"), name
        loaded = """async (origin) => { const tries = [fetch(origin + '/x')]; const image = new Image();
            tries.push(new Promise((done, failed) => { image.onload = done; image.onerror = failed; }));
            image.src = origin + '/x.png'; document.body.append(image);
            return (await Promise.allSettled(tries)).map(one => one.status); }"""
        host = shown.page.url
        assert shown.frame.evaluate(loaded, host.removesuffix("/host")) == ["rejected", "rejected"]
        assert shown.frame.evaluate("window.hit") is None
        assert shown.trouble
        assert all(
            "Content Security Policy" in said or "TrustedHTML" in said or "TrustedScript" in said
            for said in shown.trouble
        )
        shown.trouble.clear()
        shown.requests[:] = [host]  # the driver tells of an image that was refused; what the host was asked is counted

    def test_a_file_with_hostile_speech_shows_it_as_text(
        self, lakeside_calls: Lakeside, browser: "Browser", tmp_path: Path
    ) -> None:
        result = hostile(lakeside_calls("get_call", call_id=PARKING), everything=False)
        file = tmp_path / "call.html"
        file.write_text(page_with("call", result["structuredContent"], result["_meta"][PROMISES]), encoding="utf-8")
        tab, trouble, requests = _tab(browser)
        tab.goto(file.as_uri())
        tab.wait_for_selector(".turn", timeout=PATIENCE)
        assert tab.evaluate("window.hit") is None
        assert tab.locator("script").count() == 2
        assert "<img src=x onerror=window.hit=1>" in tab.inner_text("main")
        assert requests == [file.as_uri()]
        assert not trouble
        tab.context.close()


def _tab(browser: "Browser") -> "tuple[Page, list[str], list[str]]":
    tab = browser.new_context().new_page()
    trouble: list[str] = []
    requests: list[str] = []
    tab.on("console", lambda said: trouble.append(said.text))
    tab.on("pageerror", lambda error: trouble.append(str(error)))
    tab.on("request", lambda request: requests.append(request.url))
    return tab, trouble, requests


# -- everybody can read it ----------------------------------------------------------------------------------------

AXE = "axe-core@4.14.1"


@pytest.fixture(scope="module")
def axe(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The accessibility checks of axe-core, from the npm registry."""
    npm = shutil.which("npm")
    assert npm is not None, "npm is needed: .ci/run installs it"
    folder = tmp_path_factory.mktemp("axe")
    subprocess.run([npm, "pack", "--silent", AXE], cwd=folder, check=True, capture_output=True, timeout=120)
    [packed] = folder.glob("*.tgz")
    shutil.unpack_archive(packed, folder, filter="data")
    return (folder / "package/axe.min.js").read_text(encoding="utf-8")


class TestForEverybody:
    """axe-core finds nothing serious in any view, light and dark, wide and narrow."""

    pytestmark = in_browser

    @pytest.mark.parametrize(("scheme", "width"), [("light", 720), ("dark", 720), ("light", 320)])
    def test_axe_finds_nothing(
        self, lakeside_calls: Lakeside, browser: "Browser", axe: str, tmp_path: Path, scheme: str, width: int
    ) -> None:
        for name, html in _every_page(lakeside_calls).items():
            file = tmp_path / f"{name}.html"
            file.write_text(html, encoding="utf-8")
            looks: dict[str, Any] = {"color_scheme": scheme, "viewport": {"width": width, "height": 800}}
            tab = browser.new_context(**looks, bypass_csp=True).new_page()
            tab.goto(file.as_uri())
            tab.evaluate(axe)
            found: dict[str, Any] = tab.evaluate("async () => await axe.run(document, { resultTypes: ['violations'] })")
            issues = [f"{one['id']} ({one['impact']}): {one['nodes'][0]['html'][:150]}" for one in found["violations"]]
            assert not issues, f"{name}: {issues}"
            tab.context.close()


def _every_page(ask: Lakeside) -> dict[str, str]:
    call = ask("get_call", call_id=PARKING)
    pages = {"call": page_with("call", call["structuredContent"], call["_meta"][PROMISES])}
    broken = json.loads(json.dumps(call["structuredContent"]))
    broken["coverage"] = {
        "complete": False,
        "accounts": [{"account": "acme", "state": "parked", "next_step": "Renew it."}],
    }
    pages["incomplete"] = page_with("call", broken)
    pages["calls"] = page_with("calls", ask("list_calls", with_summary=True)["structuredContent"])
    for by in (["day"], ["agent"], ["agent", "status"], []):
        name = "counts-" + "-".join(by)
        pages[name] = page_with("counts", ask("count_calls", group_by=by)["structuredContent"])
    pages["report"] = page_with("report", _report(ask))
    return pages


@pytest.mark.slow
@pytest.mark.timeout(100)
def test_a_browser_is_there_where_it_is_required(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CALL_LOGS_REQUIRE_CHROMIUM", "1")
    monkeypatch.setenv("PATH", "")
    with pytest.raises(RuntimeError, match=r"Chromium|playwright"):
        without_browser()
    assert chromium() is None
