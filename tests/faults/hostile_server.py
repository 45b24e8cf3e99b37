"""The server with one tool more, which answers what no tool should: `hostile_server.py`, over stdio."""

import random
from typing import Any

from mcp.server.mcpserver.exceptions import ToolError
from mcp.types import CallToolResult, TextContent
from pydantic import BaseModel

from call_logs import app, tools
from call_logs.__main__ import main
from call_logs.principals import Scope

PARTS = (
    *("\ud83d", "\udc00", "\ud83d\ude00", "\0", "\x1b[2J", "\u202e", "\u2028", "\ufeff", "\U000e0041", "\uffff"),
    *("\n", "\r\n", "\x85", '"', "\\", "\\ud83d", "</script>", "\u0130", "e\u0301", "\U0010ffff", "a" * 5_000, ""),
)


class Anything(BaseModel):
    """Any object."""


def text(rng: random.Random) -> str:
    """What a stranger may have left in a text."""
    return "".join(rng.choices(PARTS, k=rng.randrange(1, 9)))


def tree(rng: random.Random, levels: int) -> Any:
    """Anything that looks like JSON."""
    kind = rng.randrange(9 if levels else 6)
    if kind >= 6:
        inner = [tree(rng, levels - 1) for _ in range(rng.randrange(4))]
        return inner if kind == 6 else {f"{text(rng)}{n}": one for n, one in enumerate(inner)}
    values = (text(rng), float("nan"), float("-inf"), 10 ** rng.randrange(400), -(2**63), None)
    return values[kind]


async def hostile(seed: int) -> CallToolResult:
    """Answers otherwise with each seed."""
    rng = random.Random(seed)
    match rng.randrange(8):
        case 0:
            raise ToolError(text(rng))
        case 1:
            raise ValueError(text(rng))
        case 2:
            raise KeyError(text(rng), tree(rng, 2))
        case _:
            content = [TextContent(text=text(rng)) for _ in range(rng.randrange(3))]
            return CallToolResult(
                content=list(content), structured_content={text(rng): tree(rng, rng.choice((1, 4, 100)))}
            )


if __name__ == "__main__":
    ours = app.all_tools
    app.all_tools = lambda: [*ours(), tools.strict(hostile, "Hostile", Anything, Scope.CALLS)]
    main()
