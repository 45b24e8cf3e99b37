"""An end for what would go on for ever: when the server stops, and after a while anyway."""

from http import HTTPStatus

import anyio
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from call_logs.http.refusal import Refusal

LONGEST_SECONDS = 900.0
"""A stream is ended after so long, and its client asks for it anew: with a token that was revoked it gets none."""


class Stopping:
    """Ends the requests that are open when `stop` is called: a stream with its last chunk, the rest with 503.

    Left to itself uvicorn would cut them off and log each as a failure.
    """

    def __init__(self, app: ASGIApp) -> None:
        """`app` is the whole server's."""
        self._app = app
        self._open: set[anyio.CancelScope] = set()

    def stop(self) -> None:
        """End all open requests. Call it in the event loop's thread."""
        for scope in tuple(self._open):
            scope.cancel()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun = False

        async def sent(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        with anyio.move_on_after(LONGEST_SECONDS) as until_stopped:
            self._open.add(until_stopped)
            try:
                await self._app(scope, receive, sent)
            finally:
                self._open.discard(until_stopped)
        if until_stopped.cancelled_caught:
            if begun:
                await send({"type": "http.response.body", "body": b"", "more_body": False})
            else:
                refusal = Refusal(
                    HTTPStatus.SERVICE_UNAVAILABLE,
                    "The server is stopping. Ask again in a moment.",
                    {"Retry-After": "5"},
                )
                await refusal.response()(scope, receive, send)
