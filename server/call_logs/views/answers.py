"""The answers that a page of its own holds: asked of the tools by this process itself, and put together.

They come from what the store holds; no vendor is asked, but by the demo, whose store is empty before.
"""

import contextlib
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar

from call_logs.auditing import Audit
from call_logs.config import Config
from call_logs.errors import CallLogsError
from call_logs.store import open_store
from call_logs.sync import Sync
from call_logs.tools import App, context_of
from call_logs.tools.answer import channels
from call_logs.tools.count_calls import count_calls
from call_logs.tools.get_call import get_call
from call_logs.tools.list_calls import list_calls
from call_logs.tools.summarize_call_actions import summarize_call_actions

MOST_CALLS = 1_000
"""Calls that a report lists; it says how many more there are."""

PAGE = 100

Body = dict[str, Any]
T = TypeVar("T")
Ask = Callable[[str, Body], Awaitable[Body]]

_TOOLS: Final = {tool.__name__: tool for tool in (get_call, list_calls, count_calls, summarize_call_actions)}
_BY: Final = {"by_day": "day", "by_status": "status", "by_agent": "agent"}


async def answers(config: Config, questions: Callable[[Ask], Awaitable[T]], *, sync_first: bool = False) -> T:
    """What the questions come to when they are asked of the tools. Raises what the tools raise."""
    with contextlib.closing(open_store(config.database, config.database_read)) as store:
        sync = Sync.of(config, store, offline=not sync_first)
        app = App(store, sync, config.zone)
        audit = Audit(store, app.now)

        async def ask(tool: str, arguments: Body) -> Body:
            given = {name: value for name, value in arguments.items() if value is not None}
            _, body = channels(await _TOOLS[tool](context_of(app), **given))
            audit.told(tool, body)
            return body

        async with audit.running(), sync.running():
            try:
                if sync_first:
                    for name in sync.names:
                        await sync.finish(name)
                return await questions(ask)
            except CallLogsError as error:
                refused = error
        raise refused  # here, since a task group would wrap it


async def whole_call(ask: Ask, call_id: str) -> tuple[Body, Body]:
    """`get_call` with every turn, however many answers that takes, and the call's promises."""
    answer = await ask("get_call", {"call_id": call_id, "turns": "all"})
    while rest := answer.pop("next_turns", None):
        more = await ask("get_call", {"call_id": call_id, "turns": rest})
        answer["turns"] += more["turns"]
        if "next_turns" in more and more["turns"]:
            answer["next_turns"] = more["next_turns"]
    done = await ask("summarize_call_actions", {"call_id": call_id})
    told = ("actions_reported", "promised_not_executed", "promised")
    return answer, {name: done[name] for name in told if name in done}


async def report(ask: Ask, since: str, until: str | None, account: str | None) -> Body:
    """A window's counts, promises and calls (the newest `MOST_CALLS`), each as its tool answers it."""
    asked: Body = {"since": since, "until": until, "account": account}
    calls = await ask("list_calls", asked | {"limit": PAGE, "with_summary": True})
    # The window is resolved once, so that "today" and "last 3 days" mean the same in every answer.
    window = calls["window"]
    told: Body = {"calls": calls, "filters": {"account": account} if account else {}}
    cursor_of = asked | {"limit": PAGE, "with_summary": True}
    while (cursor := calls.get("next_cursor")) and len(calls["calls"]) < MOST_CALLS:
        more = await ask("list_calls", cursor_of | {"cursor": cursor})
        calls["calls"] += more["calls"]
        calls["next_cursor"] = more.get("next_cursor")
        calls["coverage"] = more["coverage"]
    calls.pop("next_cursor", None)
    resolved: Body = {"since": window.get("since"), "until": window.get("until"), "account": account}
    for name, dimension in _BY.items():
        told[name] = await ask("count_calls", resolved | {"group_by": [dimension]})
    told["promises"] = await ask("summarize_call_actions", resolved | {"group_by": "promise"})
    return told
