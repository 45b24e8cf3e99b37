"""Which scope a message of the protocol needs. What quotes speech, or tells what to quote, needs `transcripts:read`."""

from collections.abc import Iterable, Mapping
from typing import Any, cast

from call_logs.principals import Principal, Scope
from call_logs.tools import StrictTool

_FREE = (
    "initialize",
    "ping",
    "server/discover",
    "logging/setLevel",
    "tools/list",
    "prompts/list",
    "resources/list",
    "resources/templates/list",
)
"""Asked by every client when it connects. The lists show each principal only what it may use."""

_QUOTING = ("prompts/", "resources/")

_VIEW = "ui://"
"""Pages that show a tool's answer: they hold no call."""

_LISTED = {"prompts/list": "prompts", "resources/list": "resources", "resources/templates/list": "resourceTemplates"}

_OFF = (None, False, "false", "False", "0")


class Needs:
    """The scopes that tools, prompts and resources need."""

    def __init__(self, tools: Iterable[StrictTool]) -> None:
        """`tools`: those that there are."""
        self._tools = {tool.name: tool for tool in tools}

    @property
    def tools(self) -> tuple[str, ...]:
        """The tools' names, in the order in which they are listed."""
        return tuple(self._tools)

    def missing(self, principal: Principal, method: str, params: Mapping[str, Any] | None) -> tuple[Scope, str] | None:
        """The scope that the principal lacks for this message, and what needs it; None where it lacks none."""
        needed, what = self._needed(method, params or {})
        return (needed, what) if needed is not None and needed not in principal.scopes else None

    def visible(self, principal: Principal, method: str, result: dict[str, Any]) -> dict[str, Any]:
        """The result of a list with only what the principal may use; any other result as it is."""
        if method == "tools/list":
            shown = [tool for tool in result["tools"] if self._of_tool(tool)[0] in principal.scopes]
            return result | {"tools": shown}
        if method in _LISTED and Scope.TRANSCRIPTS not in principal.scopes:
            key = _LISTED[method]
            return result | {key: [one for one in result[key] if str(one.get("uri", "")).startswith(_VIEW)]}
        return result

    def _needed(self, method: str, params: Mapping[str, Any]) -> tuple[Scope | None, str]:
        if method in _FREE or method.startswith("notifications/"):
            return None, method
        if method == "tools/call":
            return self._of_tool(params)
        if method == "resources/read" and str(params.get("uri", "")).startswith(_VIEW):
            return Scope.CALLS, "this view"
        return (Scope.TRANSCRIPTS if method.startswith(_QUOTING) else Scope.CALLS), method

    def _of_tool(self, params: Mapping[str, Any]) -> tuple[Scope, str]:
        name = params.get("name")
        tool = self._tools.get(name) if isinstance(name, str) else None
        if tool is None:
            return Scope.CALLS, "tools/call"
        arguments = params.get("arguments")
        given: Mapping[str, Any] = cast("Mapping[str, Any]", arguments) if isinstance(arguments, Mapping) else {}
        for argument in tool.quoting:
            if given.get(argument) not in _OFF:
                return Scope.TRANSCRIPTS, f"{argument} of {tool.name}"
        return tool.scope, tool.name
