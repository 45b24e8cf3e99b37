"""Questions in plain words over the made-up business: what a good assistant asks, and what the answers must say.

The questions are in `questions/*.toml`, one table each: `id`, `who` asks, the `question`, `why` the expected facts are
true (told by the scripts of the sandbox, never by the tools), the `world` they are asked in, and up to three `call`s. A
call has a `tool`, its `arguments` and what is expected of its answer. In every string `{=expression}` is computed from
the stories: see `Told` for `calls`, `id("key")` is a call's id, `a[0]` the structured answer of the question's first call.

    says, never                     strings (`re:` begins a pattern) in both channels; with _text or _structured in one
    together, apart                 strings that one line of the text and one object of the list share, or must not
    outside                         strings that must not stand outside the quotes, in either channel
    at                              path in the structured answer -> value
    error = true                    the answer is an error

`known` tables hold expectations that are not met, each with the `defect` that is to be repaired or the `limit` that is
meant: they must fail, so that a repair turns the test red until they are moved to the others. docs/questions.md shows all answers; `--update-questions` writes it anew.
"""

import json
import re
import shutil
import socket
import tomllib
from collections import Counter
from collections.abc import AsyncGenerator, Generator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from statistics import median
from typing import Any, cast
from zoneinfo import ZoneInfo

import anyio
import pytest
from mcp import Client
from mcp.types import TextContent, TextResourceContents

from call_logs.app import Server, build_server
from call_logs.config import Config, load
from call_logs.sandbox import Sandbox, bimpe, business, highlevel, running, signalwire, telzino, vyom
from call_logs.sandbox.business import ACTIONS, PhoneCall
from call_logs.sandbox.story import HANGS_UP
from call_logs.store.sqlite import SQLiteStore
from call_logs.sync import Sync, prepared
from call_logs.text import Masking

FOLDER = Path(__file__).parent / "questions"
PAGE = Path(__file__).parent.parent / "docs" / "questions.md"
ZONE = ZoneInfo("America/Los_Angeles")
NOW = datetime(2025, 11, 11, 15, 20, tzinfo=ZONE)
"""A Tuesday, nine days after the clocks went back: the four weeks before it have a day of 25 hours."""

HISTORY = timedelta(days=90)
WRONG_KEY = "lvk_a-key-that-was-replaced"
MOST_CALLS = 3
SPEECH = {"text", "snippet", "before", "after", "summary", "said", "extracted", "title"}
FENCE = re.compile(r"<<<quotes ([0-9a-f]{16})\n(.*)\n\1 quotes>>>", re.DOTALL)
COMPUTED = re.compile(r"\{=(.+?)\}")
STEP = re.compile(r"\.?(\w+)|\[(-?\d+)\]")
WORLDS = ("lakeside", "refused", "down", "new", "none", "imported")


# -- the truth, from the stories ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Told:
    """A call as the sandbox's scripts tell it; where a vendor does not say something, that is None or "unknown".

    `days_ago` counts midnights in the zone. `kinds` and `names` are the actions that the vendor reports. `heard`: what
    was said can be searched; not on SignalWire without a report, nor on Bimpe before the call is over.
    """

    key: str
    line: str
    id: str
    name: str | None
    number: str | None
    agent: str | None
    at: datetime
    days_ago: int
    status: str
    direction: str
    seconds: int
    language: str
    test: bool
    end: str | None
    sip: int | None
    kinds: tuple[str, ...]
    names: tuple[str, ...]
    turns: tuple[tuple[str, str], ...]
    heard: bool

    @property
    def answered(self) -> bool:
        """Whether somebody picked up, as far as the vendor tells: some say that it was a voicemail."""
        return self.status in ("completed", "in_progress") and "voicemail" not in (self.end or "")

    def says(self, *words: str, speaker: str | None = None) -> bool:
        """Whether one of the words (patterns, any case) is in what was said, and can be heard by the product."""
        said = (text for who, text in self.turns if speaker in (None, who))
        return self.heard and any(re.search(word, text, re.IGNORECASE) for text in said for word in words)


def call_id(call: PhoneCall) -> str:
    """The call's id as the product knows it, from the row that the stand-in of its vendor shows."""
    match call.story.line:
        case "highlevel":
            own = highlevel.object_id("call", call.key)
        case "signalwire":
            own = signalwire.log_id(call)
        case "telzino":
            row = telzino.call_log(call) or telzino.outbound_call(call)
            own = row["id"] if row else ""
        case "bimpe":
            own = bimpe.call_log(call)["id"]
        case line:
            assert line == "vyom"
            own = vyom.room_name(call)
    return f"demo-{call.story.line}/{own}"


def told(call: PhoneCall) -> Told:
    """The call as it should be known.

    Only HighLevel and Telzino report actions; Telzino transfers and webhooks, but neither lookups nor extractions.
    Neither tells the direction, but for the calls that Telzino placed; nor does SignalWire of a Dialogflow call.
    """
    story, at = call.story, call.started_at.astimezone(ZONE)
    done = [one.action for one in story.executed if one.action != HANGS_UP]
    kinds = [ACTIONS[action].kind.removeprefix("in_call_") for action in done]
    names = [ACTIONS[action].name for action in done]
    if story.line == "telzino":
        done = [action for action in done if ACTIONS[action].kind not in telzino.UNREPORTED]
        kinds = ["transfer" if ACTIONS[action].kind == "transfer" else "webhook" for action in done]
        names = [telzino.webhook_name(action) for action in done]
    elif story.line != "highlevel":
        kinds, names = [], []
    untold = story.line == "highlevel" or (story.line == "telzino" and story.direction == "inbound")
    untold |= signalwire.KINDS.get(call.key) == "dialogflow_call"
    live = story.status == "in_progress"
    return Told(
        key=call.key,
        line=story.line,
        id=call_id(call),
        name=call.customer.name if call.customer else None,
        number=call.customer.number if call.customer else None,
        agent=None if story.line == "signalwire" else call.agent.name,
        at=at,
        days_ago=(NOW.date() - at.date()).days,
        status=story.status,
        direction="unknown" if untold else story.direction,
        seconds=story.duration_seconds,
        language=story.language,
        test=story.is_test,
        end=story.end,
        sip=story.sip,
        kinds=tuple(kinds),
        names=tuple(names),
        turns=tuple((turn.speaker, turn.text) for turn in story.spoken),
        heard=bool(story.spoken) and story.line != "signalwire" and not (story.line == "bimpe" and live),
    )


@cache
def every_call() -> tuple[Told, ...]:
    """All calls that a vendor still shows, tests too, newest first."""
    lines = ("highlevel", "signalwire", "telzino", "bimpe", "vyom")
    found = [told(call) for line in lines for call in business.calls(NOW, line) if call.key not in signalwire.DELETED]
    return tuple(sorted(found, key=lambda one: one.at, reverse=True))


def id_of(key: str) -> str:
    """The id of the call that the script of this name tells."""
    return next(one.id for one in every_call() if one.key == key)


# -- the questions ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Answer:
    """One call's answer in both channels, and the call as it was made."""

    tool: str
    arguments: Mapping[str, Any]
    text: str
    body: dict[str, Any]
    is_error: bool


def questions() -> list[dict[str, Any]]:
    """All questions, in the order of the files and within them."""
    return [
        question
        for file in sorted(FOLDER.glob("*.toml"))
        for question in tomllib.loads(file.read_text(encoding="utf-8"))["question"]
    ]


QUESTIONS = questions()


def filled(node: Any, answers: Sequence[Answer]) -> Any:
    """The node with `{=expression}` computed; a string that is nothing else becomes the value itself."""
    if isinstance(node, dict):
        return {name: filled(value, answers) for name, value in cast("dict[str, Any]", node).items()}
    if isinstance(node, list):
        return [filled(value, answers) for value in cast("list[Any]", node)]
    if not isinstance(node, str) or "{=" not in node:
        return node
    known: dict[str, Any] = {
        "calls": [one for one in every_call() if not one.test],
        "tests": [one for one in every_call() if one.test],
        "id": id_of,
        "a": [answer.body for answer in answers],
        "Counter": Counter,
        "median": median,
        "days": _days,
        "NOW": NOW,
    }
    whole = COMPUTED.fullmatch(node)
    if whole:
        return eval(whole[1], known)  # our own files
    return COMPUTED.sub(lambda found: str(eval(found[1], known)), node)


def _days(number: float) -> timedelta:
    return timedelta(days=number)


# -- asking them --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Generator[dict[str, list[Answer]]]:
    """Every question's answers: one sandbox, one server a world, asked through a real MCP client."""
    with running(NOW) as sandbox:
        yield anyio.run(_ask_all, sandbox, tmp_path_factory.mktemp("questions"))


async def _ask_all(sandbox: Sandbox, folder: Path) -> dict[str, list[Answer]]:
    answers: dict[str, list[Answer]] = {}
    await _read(sandbox, folder / "held.db")
    for world in WORLDS:
        async with _world(world, sandbox, folder) as client:
            for question in QUESTIONS:
                if question.get("world", WORLDS[0]) == world:
                    answers[question["id"]] = await _ask(client, question)
    return answers


async def _read(sandbox: Sandbox, database: Path) -> None:
    """Read all vendors, one after the other: calls that began in the same moment are then always in the same order."""
    store = SQLiteStore(database)
    sync = Sync(load(sandbox.accounts, own_accounts=False).accounts, store, history=HISTORY, now=lambda: NOW)
    async with sync.running():
        for name in sync.names:
            with anyio.fail_after(20):
                assert (await sync.finish(name)).state == "ok"
    store.close()


@asynccontextmanager
async def _world(world: str, sandbox: Sandbox, folder: Path) -> AsyncGenerator[Client]:
    accounts = {name: dict(table) for name, table in sandbox.accounts.items()}
    database = folder / f"{world}.db"
    shutil.copy(folder / "held.db", database)
    match world:
        case "refused":
            accounts["demo-vyom"]["api_key"] = WRONG_KEY
        case "down":
            accounts["demo-bimpe"]["base_url"] = f"http://127.0.0.1:{_free_port()}/bimpe"
        case "new":
            accounts["new-vyom"] = {**accounts.pop("demo-vyom"), "api_key": WRONG_KEY}
        case "none":
            accounts = {}
        case _:
            pass
    loaded = load(accounts, own_accounts=False, database=str(database))
    config = Config(
        accounts=loaded.accounts,
        database=loaded.database,
        zone=ZONE,
        history=HISTORY,
        max_age=3600.0,
        wait=8.0,
        masking=Masking.CARDS,
    )
    with closing(SQLiteStore(database)) as store:
        server = build_server(config, store, now=lambda: NOW)
        if world == "imported":
            _import_reports(server)
        async with Client(server) as client:
            if world == "down":
                server.app.sync.start("demo-bimpe", always=True)  # and goes on trying while it is asked
            for name in {"refused": ["demo-vyom"], "new": ["new-vyom"]}.get(world, []):
                with anyio.fail_after(20):
                    await server.app.sync.finish(name)
            yield client


def _import_reports(server: Server) -> None:
    account = server.app.sync.account("demo-signalwire")
    calls = business.calls(NOW, "signalwire")
    reports = [signalwire.post_prompt_report(call) for call in calls if call.story.spoken]
    kept = [prepared(account.provider.read_report(report, account.name), Masking.CARDS) for report in reports]
    server.app.store.save_page(account.name, kept)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return listening.getsockname()[1]


async def _ask(client: Client, question: Mapping[str, Any]) -> list[Answer]:
    answers: list[Answer] = []
    for call in question["call"]:
        try:
            arguments = filled(call.get("arguments", {}), answers)
        except (LookupError, TypeError):
            break  # an earlier answer lacks what this call is about; the test says so
        with anyio.fail_after(20):
            answers.append(await _called(client, call["tool"], arguments))
    return answers


async def _called(client: Client, tool: str, arguments: dict[str, Any]) -> Answer:
    if tool == "resources/read":
        read = await client.read_resource(arguments["uri"])
        text = "\n".join(part.text for part in read.contents if isinstance(part, TextResourceContents))
        return Answer(tool, arguments, text, {}, is_error=False)
    if tool == "prompts/get":
        prompt = await client.get_prompt(arguments["name"], arguments["arguments"])
        text = "\n".join(part.content.text for part in prompt.messages if isinstance(part.content, TextContent))
        return Answer(tool, arguments, text, {}, is_error=False)
    result = await client.call_tool(tool, arguments)
    text = "\n".join(block.text for block in result.content if isinstance(block, TextContent))
    return Answer(tool, arguments, text, result.structured_content or {}, bool(result.is_error))


# -- looking at the answers ---------------------------------------------------------------------------------------


def leaves(node: Any, name: str = "") -> list[str]:
    """`name: value` of every leaf."""
    if isinstance(node, dict):
        return [line for key, value in cast("dict[str, Any]", node).items() for line in leaves(value, key)]
    if isinstance(node, list):
        return [line for value in cast("list[Any]", node) for line in leaves(value, name)]
    return [f"{name}: {node}"]


def rows(node: Any) -> list[str]:
    """The leaves of every object in a list or under a key, each as one text; not those of the whole answer."""
    found: list[str] = []
    inner = cast("dict[str, Any]", node).values() if isinstance(node, dict) else cast("list[Any]", node)
    for value in inner:
        if isinstance(value, dict):
            found.append("\n".join(leaves(value)))
        if isinstance(value, dict | list):
            found += rows(value)
    return found


def facts(node: Any) -> Any:
    """The structured answer without what strangers said."""
    if isinstance(node, dict):
        return {key: facts(value) for key, value in cast("dict[str, Any]", node).items() if key not in SPEECH}
    return [facts(value) for value in cast("list[Any]", node)] if isinstance(node, list) else node


def has(text: str, wanted: Any) -> bool:
    """Whether the string, or the pattern behind `re:`, is in the text."""
    wanted = str(wanted)
    if wanted.startswith("re:"):
        return re.search(wanted[3:], text) is not None
    return wanted in text


def valued(body: Any, path: str) -> Any:
    """What stands at a path such as `hits[0].call_id`; None where there is nothing."""
    for name, number in STEP.findall(path):
        try:
            body = body[int(number)] if number else body[name]
        except (LookupError, TypeError):
            return None
    return body


def unmet(expected: Mapping[str, Any], answer: Answer) -> list[str]:
    """The expectations that the answer does not meet, in words."""
    found = [*_unsaid(expected, answer), *_apart(expected, answer)]
    unquoted = FENCE.sub("", answer.text) + "\n".join(leaves(facts(answer.body)))
    found += [f"{one!r} stands outside the quotes" for one in expected.get("outside", ()) if has(unquoted, one)]
    for path, value in expected.get("at", {}).items():
        there = valued(answer.body, path)
        if there != value:
            found.append(f"{path} is {there!r}, not {value!r}")
    if "error" in expected and answer.is_error is not expected["error"]:
        found.append("is an error" if answer.is_error else "is no error")
    return found


def _unsaid(expected: Mapping[str, Any], answer: Answer) -> Iterator[str]:
    one_channel = answer.is_error or not answer.body  # so have an error, a resource and a prompt
    channels = {"text": answer.text, "structured": answer.text if one_channel else "\n".join(leaves(answer.body))}
    for channel, said in channels.items():
        for name in ("says", f"says_{channel}"):
            yield from (f"{channel} lacks {one!r}" for one in expected.get(name, ()) if not has(said, one))
        for name in ("never", f"never_{channel}"):
            yield from (f"{channel} has {one!r}" for one in expected.get(name, ()) if has(said, one))


def _apart(expected: Mapping[str, Any], answer: Answer) -> Iterator[str]:
    for channel, parts in {"text": answer.text.splitlines(), "structured": rows(answer.body)}.items():
        for wanted in expected.get("together", ()):
            if not any(all(has(part, one) for one in wanted) for part in parts):
                yield f"{channel} has no row with {wanted!r}"
        for wanted in expected.get("apart", ()):
            if any(all(has(part, one) for one in wanted) for part in parts):
                yield f"{channel} has a row with {wanted!r}"


EXPECTATIONS = {
    *("says", "says_text", "says_structured", "never", "never_text", "never_structured"),
    *("together", "apart", "outside", "at", "error"),
}


@pytest.mark.parametrize("question", QUESTIONS, ids=lambda question: question["id"])
def test_the_answer_has_the_facts(question: dict[str, Any], asked: dict[str, list[Answer]]) -> None:
    answers = asked[question["id"]]
    for call, answer in zip(question["call"], answers, strict=False):
        expected = {"error": False} | {name: value for name, value in call.items() if name in EXPECTATIONS}
        missed = unmet(filled(expected, answers), answer)
        assert not missed, "\n".join([*missed, answer.text, json.dumps(answer.body, ensure_ascii=False)])
        for known in call.get("known", ()):
            assert unmet(filled(known, answers), answer), f"repaired, so take it out of `known`: {lack(known)}"
    assert len(answers) == len(question["call"]), "an earlier answer lacks what a later call needs"


def test_there_are_sixty_questions_at_least_each_with_what_it_needs() -> None:
    assert len(QUESTIONS) >= 60
    assert len({question["id"] for question in QUESTIONS}) == len(QUESTIONS)
    for question in QUESTIONS:
        assert question.keys() <= {"id", "who", "question", "why", "world", "call"}
        assert question["who"] in ("support lead", "engineer", "agency owner", "compliance", "sales")
        assert question["question"].endswith(("?", ".", ".)"))
        assert question["why"]
        assert 1 <= len(question["call"]) <= MOST_CALLS
        for call in question["call"]:
            assert call.keys() <= {"tool", "arguments", "known"} | EXPECTATIONS
            assert call.keys() & EXPECTATIONS, f"{question['id']} expects nothing of {call['tool']}"
            for known in call.get("known", ()):
                assert len(known.keys() & LACKS.keys()) == 1
                assert known.keys() <= LACKS.keys() | EXPECTATIONS
    assert {question.get("world", WORLDS[0]) for question in QUESTIONS} == set(WORLDS)


# -- the page -----------------------------------------------------------------------------------------------------

LINES = 24
CHARACTERS = 240


def trimmed(text: str) -> str:
    """The text with a plain mark, and cut where it is long."""
    text = FENCE.sub(lambda found: f"<<<quotes MARK\n{found[2]}\nMARK quotes>>>", text)
    lines = [line if len(line) <= CHARACTERS else f"{line[:CHARACTERS]} […]" for line in text.splitlines()]
    if len(lines) > LINES:
        lines = [*lines[: LINES - 4], f"[… {len(lines) - LINES + 1} lines …]", *lines[-3:]]
    return "\n".join(lines)


INTRODUCTION = f"""Written by `pytest tests/test_questions.py --update-questions`; a test fails when it is not what the server answers.
The made-up business is Lakeside Dental, its clock stands at {NOW:%A, %B %d %Y, %H:%M} in Seattle, and its calls come
from the stand-ins of all five vendors through the real adapters. What is shown is the text channel as an assistant gets
it, long answers shortened; the structured channel is tested for the same facts. “Not yet” names what an answer still
lacks, “By design” what it leaves out on purpose."""


LACKS = {"defect": "Not yet", "limit": "By design"}


def lack(known: Mapping[str, Any]) -> str:
    """What an answer does not say, in words."""
    return next(f"{title}: {known[name]}" for name, title in LACKS.items() if name in known)


def page(asked: Mapping[str, Sequence[Answer]]) -> str:
    """docs/questions.md."""
    parts = [
        "# Questions and answers",
        INTRODUCTION,
    ]
    for number, question in enumerate(QUESTIONS, 1):
        parts += [f"## {number}. {question['question']}", f"*{question['who']}* · `{question['id']}`"]
        if question.get("world", WORLDS[0]) != WORLDS[0]:
            parts[-1] += f" · {WHERE[question['world']]}"
        for call, answer in zip(question["call"], asked[question["id"]], strict=False):
            said = ", ".join(f"{name}={json.dumps(one, ensure_ascii=False)}" for name, one in answer.arguments.items())
            parts += [f"`{answer.tool}({said})`", f"~~~text\n{trimmed(answer.text)}\n~~~"]
            parts += [lack(known) for known in call.get("known", ())]
        parts.append(f"Proof: {question['why']}")
    return "\n\n".join(parts) + "\n"


WHERE = {
    "refused": "Vyom's key has been replaced since it was read",
    "down": "Bimpe cannot be reached since it was read",
    "new": "an account of Vyom was added with a wrong key",
    "none": "no account is configured",
    "imported": "SignalWire's post-prompt reports were imported",
}


def test_the_page_shows_these_answers(asked: dict[str, list[Answer]], request: pytest.FixtureRequest) -> None:
    written = page(asked)
    if request.config.getoption("--update-questions"):
        PAGE.write_text(written, encoding="utf-8")
    assert PAGE.read_text(encoding="utf-8") == written, "changed: run pytest --update-questions and review the diff"
