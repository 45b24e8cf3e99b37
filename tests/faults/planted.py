"""Five vendors at once, played from their tapes with something planted in each payload, and everything that is asked."""

import contextlib
import functools
import itertools
import json
from collections.abc import AsyncGenerator, Callable, Generator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast
from urllib.parse import quote

import anyio
from mcp import Client
from mcp.shared.exceptions import MCPError
from mcp.types import ResourceTemplateReference, TextContent, TextResourceContents

import tape
from call_logs.app import Server, build_server
from call_logs.config import load

HISTORY = "5000d"
PATIENCE_SECONDS = 60.0

TEMPLATES = ("calls://{}/transcript", "calls://{}/transcript.json", "calls://{}/call.json")
DIMENSIONS = ("day", "hour", "weekday", "agent", "account", "provider", "status", "direction", "end_reason", "phone")

GROUPS = ("kind", "name", "agent", "account", "day")
SPEAKERS = ("agent", "customer", "system", "unknown")

Path_ = tuple[str | int, ...]
Plant = Callable[[str, Path_, Any], Any]
"""Given the vendor, where in a payload, and what stands there: what shall stand there."""


def mapped(value: Any, work: Callable[[Path_, Any], Any], path: Path_ = ()) -> Any:
    """The tree with each of its parts, from the leaves up, as the work makes it."""
    if isinstance(value, dict):
        tree = cast("dict[str, Any]", value)
        return work(path, {name: mapped(inner, work, (*path, name)) for name, inner in tree.items()})
    if isinstance(value, list):
        return work(path, [mapped(inner, work, (*path, n)) for n, inner in enumerate(cast("list[Any]", value))])
    return work(path, value)


@contextmanager
def playing(
    plant: Plant, settings: Callable[[str, str, Any], Any] = lambda _slug, _name, value: value, **faults: tape.Fault
) -> Generator[dict[str, dict[str, Any]]]:
    """All tapes, with what is planted in their answers and settings; gives the accounts' tables."""
    with contextlib.ExitStack() as stack:
        accounts: dict[str, dict[str, Any]] = {}
        for slug in sorted(tape.slugs()):
            changed = functools.partial(mapped, work=functools.partial(plant, slug))
            replay = tape.Replay(tape.load(slug), faults.get(slug, lambda _: None), changed)
            chosen = {name: settings(slug, name, value) for name, value in replay.tape.settings.items()}
            accounts[f"my-{slug}"] = {"provider": slug, **chosen, "base_url": stack.enter_context(tape.staged(replay))}
        yield accounts


def written(accounts: Mapping[str, Mapping[str, Any]], folder: Path) -> Path:
    """The accounts as a config file."""
    lines: list[str] = []
    for name, table in accounts.items():
        lines += [f"[accounts.{name}]", *(f"{key} = {json.dumps(value)}" for key, value in table.items())]
    file = folder / "accounts.toml"
    file.write_text("\n".join(lines), encoding="utf-8")
    return file


@dataclass(frozen=True)
class Given:
    """What came out: of which outlet, when asked for what; the structured channel where there is one."""

    outlet: str
    asked: str
    text: str
    body: dict[str, Any] = field(default_factory=dict[str, Any])


@asynccontextmanager
async def served(accounts: Mapping[str, Mapping[str, Any]], database: Path) -> AsyncGenerator[tuple[Client, Server]]:
    """A server over these accounts, all of them read, behind an in-memory client."""
    config = load(accounts, own_accounts=False, database=str(database), history=HISTORY)
    server = build_server(config)
    with anyio.fail_after(PATIENCE_SECONDS):
        async with Client(server) as client:
            for name in server.app.sync.names:
                await server.app.sync.finish(name)
            yield client, server


async def everything(client: Client, queries: tuple[str, ...]) -> list[Given]:
    """Every tool, resource and prompt, with each variant of what can be asked, and what is wrong to ask."""
    given: list[Given] = []

    async def ask(tool: str, **arguments: Any) -> dict[str, Any]:
        result = await client.call_tool(tool, arguments)
        text = "\n".join(block.text for block in result.content if isinstance(block, TextContent))
        body: dict[str, Any] = result.structured_content or {}
        given.append(Given("error" if result.is_error else "tool", f"{tool} {json.dumps(arguments)}", text, body))
        return body

    listed = await ask("list_calls", include_tests=True, include_legs=True, limit=100, with_summary=True)
    for tool, arguments in _questions(queries):
        await ask(tool, **arguments)
    ids: list[str] = [row["id"] for row in listed["calls"]]
    for call_id in ids:
        for chosen in ({}, {"turns": "all"}, {"turns": "1-2"}, {"around": 1}):
            await ask("get_call", call_id=call_id, **chosen)
        await ask("summarize_call_actions", call_id=call_id)
        account, _, vendor_id = call_id.partition("/")
        for template in TEMPLATES:
            await _read(client, template.format(f"{account}/{quote(vendor_id, safe='')}"), given)
    await _protocol(client, ids[0] if ids else "my-bimpe/none", given)
    return given


def _questions(queries: tuple[str, ...]) -> Iterator[tuple[str, dict[str, Any]]]:
    """What can be asked without knowing a call, well and badly."""
    every = {"include_tests": True, "include_legs": True}
    yield "list_accounts", {}
    yield from (("list_calls", {"sort": sort}) for sort in ("newest", "oldest", "longest"))
    for dimension in DIMENSIONS:
        yield "count_calls", {"group_by": [dimension], **every}
        yield "count_calls", {"group_by": [dimension, "agent" if dimension != "agent" else "end_reason"], **every}
    yield from (("summarize_call_actions", {"group_by": key, **every}) for key in GROUPS)
    for query, speaker, limit in itertools.product(queries, (None, *SPEAKERS), (3, 50)):
        chosen = {"speaker": speaker} if speaker else {}
        yield "search_transcripts", {"query": query, "limit": limit, "include_tests": True, **chosen}
    yield "get_call", {"call_id": "my-bimpe/none"}
    yield "get_call", {"call_id": "../../x?y=z"}
    yield "list_calls", {"since": "never", "status": "odd"}
    yield "search_transcripts", {"query": '"'}


async def _read(client: Client, uri: str, given: list[Given]) -> None:
    try:
        contents = (await client.read_resource(uri)).contents
    except MCPError as error:
        given.append(Given("error", uri, str(error)))
        return
    for content in contents:
        assert isinstance(content, TextResourceContents)
        body: dict[str, Any] = json.loads(content.text) if uri.endswith(".json") else {}
        given.append(Given("resource", uri, "" if body else content.text, body))


async def _protocol(client: Client, call_id: str, given: list[Given]) -> None:
    """What the protocol lists: tools, resources, templates, prompts, completions."""
    lists = [
        await client.list_tools(),
        await client.list_resources(),
        await client.list_resource_templates(),
        prompts := await client.list_prompts(),
        await client.complete(
            ResourceTemplateReference(uri=TEMPLATES[0].format("{account}/{call}")), {"name": "account", "value": ""}
        ),
    ]
    given += (Given("listing", type(one).__name__, one.model_dump_json()) for one in lists)
    for prompt in prompts.prompts:
        arguments = {one.name: call_id if one.name == "call_id" else "" for one in prompt.arguments or ()}
        try:
            got = await client.get_prompt(prompt.name, arguments)
            given.append(Given("prompt", prompt.name, got.model_dump_json()))
        except MCPError as error:
            given.append(Given("error", prompt.name, str(error)))
