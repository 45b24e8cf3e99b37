"""The audit trail: who asked which tool, resource or prompt, and of which calls they were told. Never what was said.

Entries are written behind the answers, all that wait in one transaction: an answer waits for no disk, and a process that
is killed loses the entries of its last moments.
"""

import contextlib
import logging
import re
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, cast
from urllib.parse import unquote

import anyio
import anyio.to_thread

from call_logs.errors import CallLogsError
from call_logs.principals import asking
from call_logs.store import Audited, Store

_METHODS = {"tools/call": "name", "prompts/get": "name", "resources/read": "uri"}
"""What is audited, and which of its parameters says what was asked …"""

_LISTS = {"resources/list": "resources", "completion/complete": "completion"}
"""… and what names calls without being asked for one: by which word it is noted."""

_IDS = frozenset({"id", "call_id", "example_call_ids"})
_TOTALS = ("total_calls", "total", "calls_considered")
_MOST_WAITING = 10_000
_URI = re.compile(r"calls://(?P<account>[^/]+)/(?P<call>[^/]+)/")
_log = logging.getLogger(__name__)


class Audit:
    """A step of the server around each request."""

    def __init__(self, store: Store, now: Callable[[], datetime]) -> None:
        """`now` is aware."""
        self._store = store
        self._now = now
        self._waiting: list[Audited] = []
        self._come = anyio.Event()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        """Write entries in the background; those that still wait, when left."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._writing)
            try:
                yield
            finally:
                tasks.cancel_scope.cancel()
        with anyio.CancelScope(shield=True):
            await self._write()

    async def __call__(self, ctx: Any, call_next: Callable[[Any], Any]) -> Any:
        """Answer the request, and note of what it told."""
        parameter = _METHODS.get(ctx.method)
        if parameter is None and ctx.method not in _LISTS:
            return await call_next(ctx)
        given: dict[str, Any] = dict(ctx.params or {})
        asked = str(given.get(parameter) or "") if parameter is not None else _LISTS[ctx.method]
        try:
            result = await call_next(ctx)
        except Exception:
            self._note(asked, "refused", None)
            raise
        answer = _answer_of(result)
        self._note(asked, "refused" if answer.get("isError") else "ok", answer)
        return result

    def told(self, tool: str, answer: Mapping[str, Any]) -> None:
        """Note a structured answer that was given without the server: at a terminal."""
        self._note(tool, "ok", {"structuredContent": answer})

    def _note(self, asked: str, outcome: str, answer: Mapping[str, Any] | None) -> None:
        told: object = (answer or {}).get("structuredContent")
        ids = tuple(dict.fromkeys((*_ids(told), *_listed(answer or {}))))
        uri = _URI.match(asked)
        if uri and outcome == "ok":
            ids = (f"{uri['account']}/{unquote(uri['call'])}",)
        # What was asked may be anything, even what somebody said; only names of ours are kept.
        known = asked if re.fullmatch(r"[a-z_]{1,40}", asked) else "resource" if uri else "unknown"
        if len(self._waiting) < _MOST_WAITING:
            self._waiting.append(Audited(self._now(), asking().name, known, outcome, ids, _total(told)))
        self._come.set()

    async def _writing(self) -> None:
        while True:
            await self._come.wait()
            self._come = anyio.Event()
            await self._write()

    async def _write(self) -> None:
        entries, self._waiting = self._waiting, []
        if entries:
            try:
                with anyio.CancelScope(shield=True):  # what was taken is in no other hands
                    await anyio.to_thread.run_sync(self._store.audit, entries)
            except CallLogsError as error:
                _log.warning("%d entries of the audit table could not be written: %s", len(entries), error)


def _answer_of(result: Any) -> Mapping[str, Any]:
    if isinstance(result, Mapping):
        return cast("Mapping[str, Any]", result)
    dump = getattr(result, "model_dump", None)
    return dump(by_alias=True) if dump else {}


def _ids(node: object) -> Iterator[str]:
    """The ids of calls, in the order told. Agents' and accounts' ids stand under other names."""
    if isinstance(node, Mapping):
        for key, value in cast("Mapping[str, object]", node).items():
            if key in _IDS:
                yield from _strings(value)
            else:
                yield from _ids(value)
    elif isinstance(node, Sequence) and not isinstance(node, str | bytes):
        for part in cast("Sequence[object]", node):
            yield from _ids(part)


def _listed(answer: Mapping[str, Any]) -> Iterator[str]:
    """The ids of calls whose transcripts are listed as resources."""
    for resource in answer.get("resources") or ():
        if uri := _URI.match(str(resource.get("uri", ""))):
            yield f"{uri['account']}/{unquote(uri['call'])}"


def _strings(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        yield from (one for one in cast("list[object]", value) if isinstance(one, str))


def _total(told: object) -> int | None:
    if not isinstance(told, Mapping):
        return None
    answer = cast("Mapping[str, object]", told)
    found = next((answer[name] for name in _TOTALS if name in answer), None)
    return found if isinstance(found, int) else None
