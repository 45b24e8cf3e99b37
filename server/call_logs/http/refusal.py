"""A request that is not answered, and why."""

from collections.abc import Mapping
from http import HTTPStatus

from mcp.types import INVALID_REQUEST
from starlette.responses import JSONResponse


class Refusal(Exception):
    """The status, our words, and the headers that the status's standard wants.

    The words go out as a JSON-RPC error, because that is what clients show.
    """

    def __init__(self, status: HTTPStatus, words: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(words)
        self.status = status
        self.headers = dict(headers or {})

    def response(self, request_id: object = None) -> JSONResponse:
        """The HTTP response. `request_id`: the refused message's, where it is known."""
        number = request_id if isinstance(request_id, str | int) else None
        error = {"code": INVALID_REQUEST, "message": str(self)}
        return JSONResponse({"jsonrpc": "2.0", "id": number, "error": error}, self.status, self.headers)
