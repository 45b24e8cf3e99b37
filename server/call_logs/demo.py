"""The demo: a made-up business, the real adapters, and questions asked through a real MCP client."""

import json
import time
from typing import Any

import anyio
import click
from mcp import Client
from mcp.types import CallToolResult, TextContent

from call_logs.app import build_server
from call_logs.config import Config

QUESTIONS: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("What is connected, and is it complete?", "list_accounts", {}),
    (
        "Which callers asked for their money back yesterday or today, and what exactly did they say?",
        "search_transcripts",
        {
            "query": 'refund* OR "money back" OR reimburs* OR reverse OR devuelv* OR reembols*',
            "speaker": "customer",
            "since": "yesterday",
        },
    ),
    (
        "Which calls were transferred to a person this week?",
        "list_calls",
        {"action": "transfer", "since": "last 7 days"},
    ),
    (
        "Who was charged twice?",
        "search_transcripts",
        {"query": '"charged twice" OR "duplicate charge" OR "two charges"', "limit": 3},
    ),
    ("What was done on calls in the last 28 days?", "summarize_call_actions", {"since": "last 28 days"}),
    ("How busy was each agent, and how long are calls?", "count_calls", {"group_by": ["agent"]}),
)
FOLLOW_UP = "A text was promised there: was it sent?"
CONTEXT = "Read around the first refund quote."


def run(config: Config, *, as_json: bool) -> int:
    """Sync, ask, print. Returns the exit code: 1 when an answer is an error or not complete."""
    exchanges = anyio.run(_exchanges, config)
    if as_json:
        click.echo(json.dumps(exchanges, ensure_ascii=False))
    else:
        for exchange in exchanges:
            _print(exchange)
    return 0 if all(exchange["ok"] for exchange in exchanges) else 1


async def _exchanges(config: Config) -> list[dict[str, Any]]:
    server = build_server(config)
    async with Client(server) as client:
        began = time.perf_counter()
        for name in server.app.sync.names:
            await server.app.sync.finish(name)
        calls = sum(row.calls for row in server.app.store.accounts(server.app.sync.names))
        exchanges = [_exchange("", "sync", {}, f"{calls} calls read from the sandbox over HTTP.", began, ok=calls > 0)]
        answers: dict[str, CallToolResult] = {}
        for question, tool, arguments in QUESTIONS:
            exchanges.append(await _ask(client, question, tool, arguments, answers))
        hit = _first_hit(answers.get(QUESTIONS[1][0]))
        if hit is not None:
            around = {"call_id": hit["call_id"], "around": hit["turn"]}
            exchanges.append(await _ask(client, CONTEXT, "get_call", around, answers))
        texted = await client.call_tool("search_transcripts", {"query": "text you", "speaker": "agent", "limit": 50})
        for found in _body(texted).get("hits", ()):
            done = await client.call_tool("summarize_call_actions", {"call_id": found["call_id"]})
            if _body(done).get("promised_not_executed"):
                arguments = {"call_id": found["call_id"]}
                exchanges.append(await _ask(client, FOLLOW_UP, "summarize_call_actions", arguments, answers))
                break
    return exchanges


async def _ask(
    client: Client, question: str, tool: str, arguments: dict[str, Any], answers: dict[str, CallToolResult]
) -> dict[str, Any]:
    began = time.perf_counter()
    result = await client.call_tool(tool, arguments)
    answers[question] = result
    text = "\n".join(block.text for block in result.content if isinstance(block, TextContent))
    complete = bool(_body(result).get("coverage", {}).get("complete"))
    return _exchange(question, tool, arguments, text, began, ok=not result.is_error and complete)


def _body(result: CallToolResult) -> dict[str, Any]:
    return result.structured_content or {}


def _exchange(
    question: str, tool: str, arguments: dict[str, Any], answer: str, began: float, *, ok: bool
) -> dict[str, Any]:
    took = round(1000 * (time.perf_counter() - began), 1)
    return {
        "question": question,
        "tool": tool,
        "arguments": arguments,
        "answer": answer,
        "milliseconds": took,
        "ok": ok,
    }


def _first_hit(result: CallToolResult | None) -> dict[str, Any] | None:
    return next(iter(_body(result).get("hits", ())), None) if result is not None else None


def _print(exchange: dict[str, Any]) -> None:
    if exchange["question"]:
        click.secho(f"\n? {exchange['question']}", bold=True)
    said = ", ".join(f"{name}={json.dumps(value, ensure_ascii=False)}" for name, value in exchange["arguments"].items())
    click.secho(f"  {exchange['tool']}({said})  {exchange['milliseconds']} ms", fg="cyan")
    for line in exchange["answer"].splitlines():
        click.echo(f"    {line}")
