"""The pictures of docs/images, from the made-up business: the same bytes at every run on one machine.

python tests/pictures.py
"""

import tempfile
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser

from showing import browsing, host_page, lakeside, show, tool_input, tool_result

FOLDER = Path(__file__).parent.parent / "docs/images"
WIDTHS = {"light": 760, "dark": 760, "narrow": 320}
TALLEST = 900
PARKING = "demo-highlevel/e0fefa9038781e2be9aaf24c"
QUESTIONS: dict[str, tuple[str, dict[str, Any], str]] = {
    "call": ("get_call", {"call_id": PARKING, "turns": "all"}, ".turn"),
    "calls": ("list_calls", {"since": "today", "limit": 40, "with_summary": True}, ".list"),
    "counts": ("count_calls", {"group_by": ["day"], "since": "last 28 days"}, ".columns"),
    "matrix": ("count_calls", {"group_by": ["agent", "status"], "since": "last 28 days"}, ".matrix"),
}


def main() -> None:
    """Take them all."""
    FOLDER.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, lakeside(Path(folder)) as ask, browsing() as browser:
        answers = {name: (ask.page(tool), ask(tool, **arguments)) for name, (tool, arguments, _) in QUESTIONS.items()}
        with host_page() as (address, _):
            for look, width in WIDTHS.items():
                for name, (html, result) in answers.items():
                    _, arguments, wait_for = QUESTIONS[name]
                    shot = FOLDER / f"{name}-{look}.png"
                    _take(browser, address, shot, width, html, [tool_input(**arguments), tool_result(result)], wait_for)
                    print(f"{shot.name}: {shot.stat().st_size / 1000:.0f} kB")  # noqa: T201 - a script that prints


def _take(
    browser: Browser, address: str, shot: Path, width: int, html: str, messages: list[dict[str, Any]], wait_for: str
) -> None:
    theme = "dark" if shot.stem.endswith("-dark") else "light"
    context = browser.new_context(viewport={"width": width, "height": TALLEST}, color_scheme=theme)
    page = context.new_page()
    page.goto(address)
    shown = show(page, html, messages, wait_for, context={"theme": theme})
    shown.frame.wait_for_function("document.fonts.status === 'loaded'")
    page.wait_for_function("host.shownAt > 0")
    tall = min(TALLEST, int(page.evaluate("Math.ceil(host.frame.getBoundingClientRect().height)")))
    page.screenshot(path=str(shot), clip={"x": 0, "y": 0, "width": width, "height": tall}, animations="disabled")
    context.close()


if __name__ == "__main__":
    main()
