"""The views as MCP Apps: which tool has which, and the pages as resources. A host without Apps sees no difference.

They ask for no domain and no permission, and work from the tool's result alone.
"""

from typing import Any

from mcp.server.apps import APP_MIME_TYPE, Apps
from mcp.server.mcpserver.resources import Resource

from call_logs.views import TITLES, VIEWS, address, page

WALLS: dict[str, Any] = {"csp": {"connectDomains": [], "resourceDomains": []}, "prefersBorder": True}
"""What a host is asked for: no address to connect to or load from, and a border."""


class ViewResource(Resource):
    """A view's page, put together when it is read."""

    view: str

    async def read(self) -> str:
        """The page."""
        return page(self.view)


def apps() -> Apps:
    """The extension with the pages. The tools name theirs themselves."""
    extension = Apps()
    for view in VIEWS.values():
        extension.add_resource(
            ViewResource(
                uri=address(view), name=view, title=TITLES[view], mime_type=APP_MIME_TYPE, meta={"ui": WALLS}, view=view
            )
        )
    return extension
