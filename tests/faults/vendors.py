"""The five vendors with made-up calls of any number, behind one raw-socket server that breaks on demand.

The answers are the sandbox's own; rows are copies of its calls under other ids, at other times, each with a sentence of
its own. A `Fault` takes an exchange over: it may change the answer, or treat the connection as no HTTP library would.
"""

import asyncio
import base64
import contextlib
import json
import re
import socket
import struct
import threading
from collections import Counter
from collections.abc import Awaitable, Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, cast
from urllib.parse import parse_qsl, urlencode
from uuid import UUID

from call_logs.sandbox import App, Message, bimpe, business, highlevel, signalwire, telzino, vyom

SLUGS = ("bimpe", "highlevel", "signalwire", "telzino", "vyom")
SILENT = {"signalwire"}
"""Vendors that tell nothing of what was said."""

PAGE = 4
"""Rows of a page at most, whatever is asked for: a few calls make many pages."""

TEMPLATES = 6
_MODULES = {"bimpe": bimpe, "highlevel": highlevel, "signalwire": signalwire, "telzino": telzino, "vyom": vyom}
_MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)?")
_SIZES = ("pageSize", "page_size", "limit", "PageSize")
_LISTS = {
    "bimpe": re.compile(r"/api/v1/console/agents/[^/]+/calls"),
    "highlevel": re.compile(r"/voice-ai/dashboard/call-logs"),
    "signalwire": re.compile(r"/api/voice/logs"),
    "telzino": re.compile(r"/v1/agents/[^/]+/call-logs"),
    "vyom": re.compile(r"/call/records"),
}
_ROWS: dict[str, tuple[str, ...]] = {
    "bimpe": ("data",),
    "highlevel": ("callLogs",),
    "signalwire": ("data",),
    "telzino": ("data",),
    "vyom": ("data", "records"),
}
ID_FIELDS = {slug: "room_name" if slug == "vyom" else "id" for slug in SLUGS}
BEGAN_FIELDS = {
    "bimpe": "created_on",
    "highlevel": "createdAt",
    "signalwire": "created_at",
    "telzino": "call_started_at",
    "vyom": "started_at",
}

Row = dict[str, Any]


# --- calls


def sentence(slug: str, number: int) -> str:
    """What is said in this call and in no other one. Words, for masking and numerals leave those alone."""
    letters = ("n" if number < 0 else "p") + "".join("bcfghjkmpq"[int(digit)] for digit in f"{abs(number):05}")
    return f"my keyword is {slug}x{letters} please"


def word(slug: str, number: int) -> str:
    """The one word of `sentence` that no other call has."""
    return sentence(slug, number).split()[3]


def call_id(slug: str, number: int) -> str:
    """The vendor's id of the call with this number."""
    return str(UUID(int=(SLUGS.index(slug) + 1) << 96 | (number < 0) << 64 | abs(number), version=4))


class World:
    """One vendor and its calls. `numbers` are those that it lists now; tests add to them and take away."""

    def __init__(self, slug: str, numbers: Sequence[int], *, now: datetime, spacing: timedelta) -> None:
        """Call 0 began a spacing before `now`, each further one a spacing earlier; call -n did so n seconds after it."""
        self.slug = slug
        self.now = now
        self.spacing = spacing
        self.numbers: set[int] = set()
        self.logs: list[Row] = []
        self.outbound: list[Row] = []
        self._by_agent: dict[str, list[Row]] = {}
        self._templates, made = _templates(slug)
        self.settings: dict[str, str] = made
        self.app: App = self._application()
        self.add(*numbers)

    def began(self, number: int) -> datetime:
        """When this call began."""
        return self.now - ((number + 1) * self.spacing if number >= 0 else timedelta(seconds=number))

    def add(self, *numbers: int) -> None:
        """Let the vendor list these calls as well."""
        self.numbers.update(numbers)
        for number in numbers:
            row = self._row(number)
            if self.slug == "bimpe":
                agents = list(self._by_agent)
                rows = self._by_agent[agents[number % len(agents)]]
            else:
                rows = self.logs
            rows.append(row)
            rows.sort(key=lambda one: str(one[BEGAN_FIELDS[self.slug]]), reverse=True)

    def remove(self, *numbers: int) -> None:
        """Let the vendor forget these calls."""
        self.numbers.difference_update(numbers)
        gone = {call_id(self.slug, number) for number in numbers}
        for rows in (self.logs, *self._by_agent.values()):
            rows[:] = [row for row in rows if row[ID_FIELDS[self.slug]] not in gone]

    def ids(self) -> set[str]:
        """The vendor's ids of all that is listed."""
        return {row[ID_FIELDS[self.slug]] for rows in (self.logs, *self._by_agent.values()) for row in rows}

    def agent_ids(self) -> set[str]:
        """The vendor's ids of the agents that have calls; of vendors that list calls by agent."""
        logged = {str(row["agent_id"]) for row in self.logs if "agent_id" in row}
        return logged | {agent for agent, rows in self._by_agent.items() if rows}

    def _row(self, number: int) -> Row:
        template = self._templates[number % len(self._templates)]
        id_field, began_field = ID_FIELDS[self.slug], BEGAN_FIELDS[self.slug]
        shift = self.began(number) - _moment(template[began_field])
        text = json.dumps(template).replace(template[id_field], call_id(self.slug, number))
        row = json.loads(_MOMENT.sub(lambda found: _written(_moment(found[0]) + shift), text))
        self._plant(row, sentence(self.slug, number))
        return row

    def _plant(self, row: Row, said: str) -> None:
        match self.slug:
            case "highlevel":
                row["transcript"] += f"human:{said}\n"
                row["transcriptWithToolCalls"].append({"role": "user", "content": said, "startTime": 1.0})
            case "bimpe":
                row["conversation_logs"].append({"role": "user", "message": said, "created_at": row["created_on"]})
            case "telzino":
                entry = {"text": said, "speaker": "user", "timestamp": 1.0, "is_partial": False}
                row["transcript_json"].append(entry)
            case "vyom":
                row["transcripts"].append({"speaker": "user", "text": said, "timestamp": row["started_at"]})
            case _:
                pass

    def _application(self) -> App:
        people = [one for one in business.AGENTS.values() if not one.is_deleted]
        match self.slug:
            case "highlevel":
                agents = [highlevel.agent(one, highlevel.LOCATION_ID) for one in people]
                return highlevel.application(
                    self.logs, agents, token=highlevel.TOKEN, location_id=highlevel.LOCATION_ID
                )
            case "bimpe":
                rows = [bimpe.agent(one) for one in people[:2]]
                self._by_agent = {row["id"]: [] for row in rows}
                return bimpe.application(self._by_agent, rows, api_key=bimpe.API_KEY)
            case "telzino":
                agents = [telzino.agent(one) for one in people]
                return telzino.application(
                    self.logs,
                    self.outbound,
                    agents,
                    client_id=telzino.CLIENT_ID,
                    client_secret=telzino.CLIENT_SECRET,
                )
            case "vyom":
                return vyom.application(self.logs, [vyom.assistant(one) for one in people], api_key=vyom.API_KEY)
            case _:
                return signalwire.application(
                    self.logs, project_id=signalwire.PROJECT_ID, token=signalwire.TOKEN, space=signalwire.SPACE
                )


def worlds(
    count: int,
    slugs: Sequence[str] = SLUGS,
    *,
    spacing: timedelta = timedelta(minutes=30),
    now: datetime | None = None,
) -> dict[str, World]:
    """So many calls of each vendor, up to six hours ago."""
    moment = (now or datetime.now(UTC) - timedelta(hours=6)).replace(microsecond=0)
    return {slug: World(slug, range(count), now=moment, spacing=spacing) for slug in slugs}


def _templates(slug: str) -> tuple[list[Row], dict[str, str]]:
    """A few calls of the sandbox that were answered and are over, as the vendor tells them."""
    told = [call for call in business.calls(datetime.now(UTC), slug) if call.story.status == "completed"]
    spoken = [call for call in told if call.story.spoken and not call.story.is_test and call.story.direction != "web"]
    module: Any = _MODULES[slug]
    made = [module.call_log(call) for call in spoken if call.story.direction != "outbound"]
    rows = [row for row in made if "discarded_at" not in row][:TEMPLATES]
    assert len(rows) > 1, slug
    if slug == "telzino":  # the list of one agent is enough
        first = rows[0]["agent_id"]
        rows = [row for row in rows if row["agent_id"] == first]
    return rows, module.stand_in([]).settings


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _written(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


# --- the server


@dataclass(frozen=True)
class Asked:
    """A request that came; `path` is the vendor's own, `at` the seconds of this process's clock, `port` the asker's."""

    slug: str
    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes
    at: float
    port: int

    @property
    def is_list(self) -> bool:
        """Whether a page of calls was asked for."""
        return _LISTS[self.slug].fullmatch(self.path) is not None

    @property
    def is_one(self) -> bool:
        """Whether a single call was asked for."""
        above, _, _ = self.path.removesuffix("/events").rpartition("/")
        return _LISTS[self.slug].fullmatch(above) is not None


@dataclass(frozen=True)
class Answer:
    """What the vendor answers, before anything breaks."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def head(self, *, length: int | None = None) -> bytes:
        """Status line and headers; with the body's length, unless another one is claimed or there is none (-1)."""
        claimed = len(self.body) if length is None else length
        shown = {name: value for name, value in self.headers.items() if name != "content-length"}
        if claimed >= 0:
            shown["content-length"] = str(claimed)
        lines = [f"HTTP/1.1 {self.status} Spoken", *(f"{name}: {value}" for name, value in shown.items())]
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


class Line:
    """One exchange on one connection, as a fault sees it."""

    def __init__(self, asked: Asked, writer: asyncio.StreamWriter, ask: Callable[[Asked], Awaitable[Answer]]) -> None:
        self.asked = asked
        self._writer = writer
        self._ask = ask

    async def answer(self) -> Answer:
        """What the vendor says."""
        return await self._ask(self.asked)

    async def send(self, answer: Answer) -> None:
        """All of it."""
        await self.write(answer.head() + answer.body)

    async def write(self, data: bytes) -> None:
        """Any bytes."""
        self._writer.write(data)
        await self._writer.drain()

    def reset(self) -> None:
        """RST: what was sent and not yet read is lost."""
        connection: socket.socket = self._writer.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._writer.transport.abort()


Fault = Callable[[Line], Awaitable[bool]]
"""Answers in the vendor's stead; whether the connection goes on."""


@dataclass
class Breaking:
    """The running server. `faults` are by vendor, `asked` what came, `worlds` what there is."""

    worlds: Mapping[str, World]
    page: int = PAGE
    faults: dict[str, Fault] = field(default_factory=dict[str, Fault])
    asked: list[Asked] = field(default_factory=list[Asked])
    origin: str = ""
    port: int = 0
    _ready: threading.Event = field(default_factory=threading.Event)
    _tasks: set["asyncio.Task[Any]"] = field(default_factory=set["asyncio.Task[Any]"])

    @property
    def accounts(self) -> dict[str, dict[str, str]]:
        """The accounts as tables of the config file, named `my-…`."""
        return {
            f"my-{slug}": {"provider": slug, **world.settings, "base_url": f"{self.origin}/{slug}"}
            for slug, world in self.worlds.items()
        }

    def counts(self) -> Counter[str]:
        """How often each vendor was asked."""
        return Counter(asked.slug for asked in self.asked)

    async def answer(self, asked: Asked) -> Answer:
        """What the sandbox answers, in pages of at most `page` rows."""
        query = {name: _capped(name, value, self.page) for name, value in asked.query.items()}
        scope: Message = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": asked.method,
            "scheme": "http",
            "path": asked.path,
            "raw_path": asked.path.encode(),
            "root_path": "",
            "query_string": urlencode(query).encode(),
            "headers": [(name.encode(), value.encode("latin-1")) for name, value in asked.headers.items()],
            "server": ("127.0.0.1", self.port),
            "client": ("127.0.0.1", 1),
        }
        sent: list[Message] = []

        async def receive() -> Message:
            return {"type": "http.request", "body": asked.body, "more_body": False}

        async def send(message: Message) -> None:
            sent.append(message)

        await self.worlds[asked.slug].app(scope, receive, send)
        start = next(message for message in sent if message["type"] == "http.response.start")
        body = b"".join(message.get("body", b"") for message in sent if message["type"] == "http.response.body")
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in start["headers"]}
        return Answer(start["status"], headers, body)

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)  # one that waits for ever is collected else
        try:
            goes_on = True
            while goes_on:
                asked = await _read(reader, writer.get_extra_info("peername")[1])
                self.asked.append(asked)
                line = Line(asked, writer, self.answer)
                fault = self.faults.get(asked.slug)
                if fault is None:
                    await line.send(await line.answer())
                else:
                    goes_on = await fault(line)
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass  # who is cancelled is stopped: there is nobody to tell
        finally:
            self._tasks.discard(task)
            writer.close()

    async def serve(self, listening: socket.socket) -> None:
        """Until `stop`."""
        self._loop, self._stopped = asyncio.get_running_loop(), asyncio.Event()
        server = await asyncio.start_server(self._connection, sock=listening)
        self._ready.set()
        await self._stopped.wait()
        server.close()
        while others := asyncio.all_tasks() - {asyncio.current_task()}:
            for task in others:
                task.cancel()
            await asyncio.wait(others)

    def begin(self, listening: socket.socket) -> None:
        """In a thread of its own."""
        self._thread = threading.Thread(target=asyncio.run, args=(self.serve(listening),), daemon=True)
        self._thread.start()
        assert self._ready.wait(10)

    def stop(self) -> None:
        """Whatever is under way is given up."""
        self._loop.call_soon_threadsafe(self._stopped.set)
        self._thread.join(10)


async def _read(reader: asyncio.StreamReader, port: int) -> Asked:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *lines = head.rstrip("\r\n").split("\r\n")
    method, target, _ = first.split(" ")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    path, _, query = target.partition("?")
    _, slug, rest = path.split("/", 2)
    asked_at = asyncio.get_running_loop().time()
    return Asked(
        slug, method, f"/{rest}", dict(parse_qsl(query, keep_blank_values=True)), headers, body, asked_at, port
    )


def _capped(name: str, value: str, most: int) -> str:
    return str(min(int(value), most)) if name in _SIZES and value.isdigit() else value


@contextlib.contextmanager
def breaking(made: Mapping[str, World], page: int = PAGE) -> Generator[Breaking]:
    """The server on a free port of this machine, in a thread of its own."""
    listening = socket.create_server(("127.0.0.1", 0))
    port = listening.getsockname()[1]
    server = Breaking(made, page=page, origin=f"http://127.0.0.1:{port}", port=port)
    server.begin(listening)
    try:
        yield server
    finally:
        server.stop()


# --- faults that change the answer


def rows_of(slug: str, body: Any) -> list[Row]:
    """The calls of a page; none in an answer of another kind."""
    found = body
    for name in _ROWS[slug]:
        found = cast("dict[str, Any]", found).get(name) if isinstance(found, dict) else None
    return cast("list[Row]", found) if isinstance(found, list) else []


def changed(work: Callable[[Answer], Answer], hits: Callable[[Asked], bool] = lambda _: True) -> Fault:
    """The vendor's answer, as the work makes it."""

    async def fault(line: Line) -> bool:
        answer = await line.answer()
        await line.send(work(answer) if hits(line.asked) else answer)
        return True

    return fault


def told(work: Callable[[Asked, Any], Any], hits: Callable[[Asked], bool] = lambda asked: asked.is_list) -> Fault:
    """The vendor's JSON, as the work makes it; `Raw` strings in it are written as they are."""

    async def fault(line: Line) -> bool:
        answer = await line.answer()
        if hits(line.asked) and answer.status == 200:
            answer = replace(answer, body=dumped(work(line.asked, json.loads(answer.body))))
        await line.send(answer)
        return True

    return fault


def raw(text: str) -> str:
    """Stands for JSON that no library writes: it comes out as it is."""
    return f"\x01{base64.b64encode(text.encode()).decode()}\x01"


def dumped(value: Any) -> bytes:
    """JSON, with what `raw` stands for in it."""
    text = json.dumps(value)
    return re.sub(
        r'"\\u0001([A-Za-z0-9+/=]*)\\u0001"', lambda found: base64.b64decode(found[1]).decode(), text
    ).encode()


def from_nth(first: int, fault: Fault, hits: Callable[[Asked], bool] = lambda asked: asked.is_list) -> Fault:
    """The fault from the n-th such request on (counted from 1), on all that follows."""
    seen = 0

    async def counting(line: Line) -> bool:
        nonlocal seen
        seen += hits(line.asked)
        if seen >= first:
            return await fault(line)
        await line.send(await line.answer())
        return True

    return counting


def where(hits: Callable[[Asked], bool], fault: Fault) -> Fault:
    """The fault on such requests only."""

    async def chosen(line: Line) -> bool:
        if hits(line.asked):
            return await fault(line)
        await line.send(await line.answer())
        return True

    return chosen
