"""Who listens hears that there are new transcripts, whichever process wrote them.

The store tells which accounts changed; whoever may see one of them is told that the list of resources has changed, and
nothing else. Clients of revision 2026-07-28 ask by `subscriptions/listen`; older ones are told on their session's own
channel, where their transport has one (stdio has, HTTP without sessions has none). Nobody is told more than once a
second.
"""

import contextlib
import functools
import logging
import weakref
from collections.abc import AsyncGenerator, Callable, Iterable
from typing import Any

import anyio
import anyio.to_thread
from mcp.server import ServerRequestContext
from mcp.server.connection import Connection
from mcp.server.context import CallNext, HandlerResult
from mcp.server.subscriptions import ResourcesListChanged, ServerEvent

from call_logs.errors import StoreError
from call_logs.principals import Principal, asking
from call_logs.store import Store, Watch
from call_logs.sync import Sync

QUIET_SECONDS = 1.0
"""From one notice to the next."""

LOOK_SECONDS = 0.2
"""How often the store is looked at. No thread waits for it: the end of the process would wait for the thread."""

AGAIN_SECONDS = 5.0
"""After which a store that could not be watched is tried again."""

CHANGED = "notifications/resources/list_changed"
INITIALIZED = "notifications/initialized"

_log = logging.getLogger(__name__)


class Notices:
    """The SDK's bus of subscriptions, with whom each listener is; and a step before the SDK's own, which meets sessions."""

    def __init__(self, sync: Sync) -> None:
        """`sync` knows the accounts."""
        self._sync = sync
        self._listeners: dict[object, tuple[Principal, Callable[[ServerEvent], None]]] = {}
        self._sessions: weakref.WeakKeyDictionary[Connection, Principal] = weakref.WeakKeyDictionary()

    # -- who listens --------------------------------------------------------------------------------------------

    async def publish(self, event: ServerEvent) -> None:
        """Tell every listener (for the SDK; nothing of ours publishes)."""
        for _, listener in list(self._listeners.values()):
            listener(event)

    def subscribe(self, listener: Callable[[ServerEvent], None]) -> Callable[[], None]:
        """Tell this listener, as whoever asks now, until what is returned is called."""
        token = object()
        self._listeners[token] = asking(), listener
        return lambda: self._listeners.pop(token, None) and None

    async def __call__(self, ctx: ServerRequestContext[Any, Any], call_next: CallNext) -> HandlerResult:
        """Meet the sessions of clients that cannot ask to listen."""
        if ctx.method == INITIALIZED:
            connection = ctx.session._connection  # noqa: SLF001 # pyright: ignore[reportPrivateUsage] - a session lives for one message only
            if connection.has_standalone_channel:
                self._sessions[connection] = asking()
        return await call_next(ctx)

    # -- what they hear -----------------------------------------------------------------------------------------

    @contextlib.asynccontextmanager
    async def running(self, store: Store) -> AsyncGenerator[None]:
        """Tell of changes in the background until left: of all that are made from now on."""
        trouble: Exception | None = None
        first = await self._look(store)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._watch, store, first)
            try:
                yield
            except Exception as error:  # noqa: BLE001 - raised again below, out of the task group's wrapping
                trouble = error
            tasks.cancel_scope.cancel()
        if trouble is not None:
            raise trouble

    async def _look(self, store: Store) -> "_Look | None":
        try:
            return _Look(await anyio.to_thread.run_sync(store.watch))
        except StoreError as error:
            _log.warning("changes are not told of for now: %s", error)
            return None

    async def _watch(self, store: Store, look: "_Look | None") -> None:
        while True:
            try:
                if look is not None:
                    await self._told_by(look)
            except StoreError as error:
                _log.warning("changes are not told of for now: %s", error)
            await anyio.sleep(AGAIN_SECONDS)
            look = await self._look(store)

    async def _told_by(self, look: "_Look") -> None:
        limit = anyio.CapacityLimiter(1)  # of its own: answers have the others
        ask = functools.partial(anyio.to_thread.run_sync, look, abandon_on_cancel=True, limiter=limit)
        with contextlib.closing(look):
            while True:
                changed = await ask()
                readable = self._sync.readable(name for name in self._sync.names if name in changed)
                if readable and (self._listeners or self._sessions):
                    await self._tell(readable)
                    await anyio.sleep(QUIET_SECONDS)
                await anyio.sleep(LOOK_SECONDS)

    async def _tell(self, accounts: Iterable[str]) -> None:
        names = tuple(accounts)
        for principal, listener in list(self._listeners.values()):
            if any(map(principal.sees, names)):
                listener(ResourcesListChanged())
        for connection, principal in list(self._sessions.items()):
            if any(map(principal.sees, names)):
                with anyio.move_on_after(QUIET_SECONDS):  # a client that does not read holds up no other
                    await connection.notify(CHANGED, None)


class _Look:
    """A look at the store in a thread that may be left alone: then the watch is closed when the thread is done."""

    def __init__(self, watch: Watch) -> None:
        self._watch = watch
        self._busy = self._ended = False

    def __call__(self) -> frozenset[str]:
        self._busy = True
        try:
            return self._watch.wait(0.0) if not self._ended else frozenset()
        finally:
            self._busy = False
            if self._ended:
                self._watch.close()

    def close(self) -> None:
        self._ended = True
        if not self._busy:
            self._watch.close()
