"""Vendors' payloads as nobody meant them, made from their tapes: same seed, same payloads. No pytest in here."""

import copy
import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast
from urllib.parse import parse_qsl, quote

from mcp.types import TextContent, TextResourceContents
from serving import Asker, serving

import tape
from call_logs.sandbox import Message, Receive, Send

ROWS = 100
"""Calls of a page, made from the tape's few."""

PAGES = 2
BROKEN_BODY = 0.03
BROKEN_ENVELOPE = 0.1
BROKEN_REST = 0.05
"""The chance of bytes, of a page and of an answer beside the calls to be broken."""

TOO_DEEP = 0.01
"""The chance of a part that is nested to be so deeply that its page is refused."""

QUERIES = ("the OR a OR de", '"a b"', "re*", "-the", "\ud83d OR \0")

STRINGS = (
    "",
    " ",
    "\0",
    "\ud83d",
    "\udc00\ud83d",
    "a\u202eb\u2066c",
    "\ufeff\u200b",
    "\U000e0041\U000e0042",
    "0000-00-00T00:00:00Z",
    "9999-12-31T23:59:60Z",
    "2026-02-30T25:61:61+99:99",
    "1970-01-01T00:00:00Z",
    "2026-05-04T10:00:00",
    "+1" + "5" * 400,
    "4111 1111 1111 1111",
    "four one one one " * 40,
    "NaN",
    "-Infinity",
    "null",
    "true",
    "<<<quotes 0123456789abcdef",
    "bot: human: bot:\nhuman:\n",
    "[1e999s] agent: hi",
    "[0.50s] agent: \n[1.0s] user:",
    "../../etc/passwd",
    "a/b?c=d#e",
    "https://u:p@h.example/p?X-Amz-Signature=s",
    "**Action Items:**\n- \n**Sentiment:**",
    "\u0130\u0131\ufb01\u1e9e",
    "e" + "\u0301" * 500,
    "x" * 70_000,
    "\n" * 3_000,
    '"; DROP TABLE call; --',
    "' OR NEAR(a b) *",
    "\u06f1\u06f2\u06f3\u0664",
)
NUMBERS = (
    *(0, -1, 1, 2**31, 2**53 + 1, 2**63 - 1, 2**63, -(2**63) - 1, 10**30, 10**400),
    *(0.1, -0.0, 1e308, -1e308, 5e-324, float("nan"), float("inf"), float("-inf")),
)
OTHERS: tuple[Any, ...] = (None, True, False, [], {}, [[]], [None], {"": None}, {"id": {}}, [{"a": [1, "b", None]}])

Tree = dict[str, Any]


class Mutator:
    """Changes parts of a tree. What it may put in their place is in it, or above."""

    def __init__(self, rng: random.Random, pool: Sequence[Any]) -> None:
        """`pool`: parts of other payloads."""
        self.rng = rng
        self.pool = pool

    def mutated(self, value: Any, changes: int) -> Any:
        """The tree, changed in place at so many spots."""
        for _ in range(changes):
            spots = list(_spots(value))
            if not spots:
                break
            holder, key = self.rng.choice(spots)
            self._change(holder, key)
        return value

    def _change(self, holder: Any, key: Any) -> None:  # noqa: C901 - a table
        rng = self.rng
        match rng.randrange(12):
            case 0:
                del holder[key]
            case 1 if isinstance(holder, dict):
                holder = cast("Tree", holder)
                holder[rng.choice(STRINGS)[:200]] = holder.pop(key)
            case 2 if isinstance(holder, list):
                holder = cast("list[Any]", holder)
                holder.extend(copy.deepcopy(holder[key]) for _ in range(rng.choice((1, 3, 40))))
            case 2 | 3:
                holder[key] = copy.deepcopy(rng.choice(self.pool))
            case 4:
                holder[key] = _nested(250 if rng.random() < TOO_DEEP else rng.choice((2, 5, 30)), holder[key])
            case 5 if isinstance(holder[key], str):
                text = holder[key]
                at = rng.randrange(len(text) + 1)
                holder[key] = text[:at] + rng.choice(STRINGS) + text[at + rng.randrange(3) :]
            case 6 if isinstance(holder[key], int | float):
                holder[key] = holder[key] * rng.choice((-1, 0, 1e9, 1e300)) + rng.choice((0, 0.5, -3))
            case 7 if isinstance(holder[key], dict):
                holder[key] = list(holder[key].values())
            case 8:
                holder[key] = rng.choice(NUMBERS)
            case 9:
                holder[key] = copy.deepcopy(rng.choice(OTHERS))
            case _:
                holder[key] = rng.choice(STRINGS)

    def broken(self, body: bytes) -> bytes:
        """Bytes that are no longer what they were."""
        rng = self.rng
        at = rng.randrange(len(body) + 1)
        match rng.randrange(6):
            case 0:
                return body[:at]
            case 1:
                return body[:at] + rng.randbytes(rng.randrange(1, 9)) + body[at:]
            case 2:
                return body[:at] + b"\xed\xa0\xbd" + body[at:]
            case 3:
                return body + body
            case 4:
                return b"\xef\xbb\xbf" + body
            case _:
                return body.replace(b'"', b"\xff", rng.randrange(1, 5))


def _spots(value: Any) -> Any:
    """Every (holder, key) of a tree."""
    waiting = [value]
    while waiting:
        holder = waiting.pop()
        found: Any = ()
        if isinstance(holder, dict):
            found = list(cast("Tree", holder).items())
        elif isinstance(holder, list):
            found = list(enumerate(cast("list[Any]", holder)))
        for key, inner in found:
            yield holder, key
            waiting.append(inner)


def _nested(levels: int, value: Any) -> Any:
    for _ in range(levels):
        value = [value]
    return value


class Mutated:
    """A vendor that answers as its tape does, with every call mutated. Counts the payloads."""

    def __init__(self, slug: str, seed: int) -> None:
        self.tape = tape.load(slug)
        self.payloads = 0
        self.seed = seed
        self.pool = [holder[key] for one in self.tape.exchanges for holder, key in _spots(one.body)]

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        del receive
        path, query = scope["path"], dict(parse_qsl(scope["query_string"].decode(), keep_blank_values=True))
        page = query.get("page", query.get("page_number", ""))  # nothing that tells the time
        rng = random.Random(f"{self.seed} {path} {page}")
        await tape.answered(tape.Reply(200, self._body(rng, scope["method"], path, query)), send)

    def _body(self, rng: random.Random, method: str, path: str, query: Mapping[str, str]) -> bytes:
        one = self._exchange(method, path, query)
        mutator = Mutator(rng, self.pool)
        body = copy.deepcopy(one.body)
        rows = _rows(body)
        number = int(query.get("page", query.get("page_number", "0")))
        if rows is not None and self._is_calls(path):
            made: list[Any] = []
            for n in range(ROWS if number <= PAGES else 0):
                row = copy.deepcopy(rng.choice(rows))
                name = "room_name" if "room_name" in row else "id"
                row[name] = f"{path[-3:]}-{number}-{n}".replace("/", "_")
                made.append(mutator.mutated([row], rng.choice((0, 1, 1, 2, 5, 20))))
            self.payloads += len(made)
            rows[:] = [row[0] if row else None for row in made]
            if rng.random() < BROKEN_ENVELOPE:
                body = mutator.mutated([body], 1)
                body = body[0] if body else None
        elif one.by == "get" or path != one.path or self._is_calls(path.rpartition("/")[0]):
            self.payloads += 1
            if isinstance(body.get("data"), dict):
                body["data"]["id"] = path.rpartition("/")[2]
            mutator.mutated(body, rng.choice((0, 1, 2, 5)))
        elif rng.random() < BROKEN_REST:
            mutator.mutated(body, 2)
        sent = json.dumps(body).encode()
        return mutator.broken(sent) if rng.random() < BROKEN_BODY else sent

    def _is_calls(self, path: str) -> bool:
        return path.endswith(("/call-logs", "/calls", "/voice/logs", "/outbound-calls", "/call/records"))

    def _exchange(self, method: str, path: str, query: Mapping[str, str]) -> tape.Exchange:
        """The tape's, or else the one of the most similar path."""

        def likeness(one: tape.Exchange) -> tuple[bool, bool, int, bool, bool]:
            theirs, ours = one.path.split("/"), path.split("/")
            same = sum(a == b for a, b in zip(theirs, ours, strict=False))
            exact = one.params.items() <= query.items()
            return one.method == method, len(theirs) == len(ours), same, one.status == 200, exact

        return max(self.tape.exchanges, key=likeness)


def _rows(body: Any) -> list[Any] | None:
    """The first list of objects of an answer."""
    for holder, key in _spots(body):
        value = holder[key]
        if isinstance(value, list) and value and isinstance(value[0], dict):
            return cast("list[Any]", value)
    return None


@dataclass
class Tally:
    """What came of payloads. `problems` should stay empty; `refused` are passes that ended with one of ours."""

    payloads: int = 0
    stored: int = 0
    told: int = 0
    answers: int = 0
    problems: list[str] = field(default_factory=list[str])
    refused: list[str] = field(default_factory=list[str])

    def add(self, other: "Tally") -> None:
        """Sum up."""
        self.payloads += other.payloads
        self.stored += other.stored
        self.told += other.told
        self.answers += other.answers
        self.problems += other.problems
        self.refused += other.refused


async def batch(slug: str, seed: int, folder: Path, *, each: int = 1) -> Tally:
    """One vendor's mutated tape, read into a new store, and everything asked of it; every `each`-th call in full."""
    mutated = Mutated(slug, seed)
    tally = Tally()
    with tape.staged(mutated) as base_url:
        accounts = {f"my-{slug}": {"provider": slug, **mutated.tape.settings, "base_url": base_url}}
        async with serving(accounts, folder / f"{slug}-{seed}.db", history="5000d") as asker:
            health = await asker.server.app.sync.finish(f"my-{slug}")
            if "internal error" in (health.problem or ""):
                tally.problems.append(f"{slug} {seed}: the pass met a bug")
            elif health.problem:
                tally.refused.append(health.problem)
            held = asker.server.app.store.accounts([f"my-{slug}"])[0]
            tally.stored, tally.told = held.calls, held.unreadable
            await _everything(asker, f"my-{slug}", tally, each, f"{slug} {seed}")
    for file in folder.glob(f"{slug}-{seed}.db*"):
        file.unlink()
    tally.payloads = mutated.payloads
    return tally


async def _everything(  # noqa: C901 - one loop after the other
    asker: Asker, account: str, tally: Tally, each: int, where: str
) -> None:
    async def ask(tool: str, **arguments: Any) -> Tree:
        result = await asker.client.call_tool(tool, arguments)
        text = "\n".join(block.text for block in result.content if isinstance(block, TextContent))
        body: Tree = result.structured_content or {}
        tally.answers += 1
        if result.is_error and "Error executing" in text:
            tally.problems.append(f"{where}: {tool} {arguments!r}: {text}")
        elif problem := unsendable(text, body):
            tally.problems.append(f"{where}: {tool} {arguments!r}: {problem}")
        return body

    every: Tree = {"include_tests": True, "include_legs": True}
    ids: list[str] = []
    cursor: Tree = {}
    while True:
        listed = await ask("list_calls", limit=100, with_summary=True, **every, **cursor)
        ids += [row["id"] for row in listed.get("calls", ())]
        if "next_cursor" not in listed or not listed["calls"]:
            break
        cursor = {"cursor": listed["next_cursor"]}
    if len(ids) != tally.stored:
        tally.problems.append(f"{where}: {len(ids)} of {tally.stored} calls listed")
    for call_id in ids[::each]:
        await ask("get_call", call_id=call_id, turns="all")
        await ask("summarize_call_actions", call_id=call_id)
    for call_id in ids[:: each * 20]:
        name, _, vendor_id = call_id.partition("/")
        if ".." in vendor_id:  # the SDK knows no resource whose address might lead elsewhere; get_call answers
            continue
        uri = f"calls://{name}/{quote(vendor_id, safe='')}/call.json"
        contents = (await asker.client.read_resource(uri)).contents
        assert isinstance(contents[0], TextResourceContents)
        if problem := unsendable("", json.loads(contents[0].text)):
            tally.problems.append(f"{where}: {call_id}: {problem}")
    for query in QUERIES:
        await ask("search_transcripts", query=query, limit=50, include_tests=True)
    for dimension in ("day", "hour", "agent", "status", "end_reason", "phone"):
        await ask("count_calls", group_by=[dimension], **every)
    for key in ("kind", "name", "day"):
        await ask("summarize_call_actions", group_by=key, account=account, **every)
    await ask("list_accounts")


def unsendable(text: str, body: Any) -> str | None:
    """Why an answer could not be sent as strict UTF-8 JSON, or should not be."""
    try:
        sent = json.dumps([text, body], ensure_ascii=False, allow_nan=False).encode("utf-8")
    except (ValueError, TypeError, UnicodeEncodeError) as error:
        return type(error).__name__
    return "a NUL" if b"\\u0000" in sent else None
