"""In a team server's place: each request is answered as the principal that a header names, or as whoever may see all."""

from starlette.types import ASGIApp, Receive, Scope, Send

from call_logs.principals import PRINCIPAL, Principal, answering


class AsWho:
    """`x-accounts` has the names of the accounts, with commas between."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        names = dict(scope.get("headers", ())).get(b"x-accounts", b"").decode()
        principal = Principal("test", frozenset(names.split(",")) if names else None)
        with answering(principal):
            await self._app({**scope, PRINCIPAL: principal}, receive, send)
