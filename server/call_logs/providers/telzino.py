"""Telzino: the log of a call has neither status, direction nor callee; for outbound calls a second list has them.

Both lists are an agent's, so an account is its agents times two lists. There is no date filter and no single call log.
A token is asked for with the client's credentials and lasts a day. The agents carry live credentials
(`extensions.mcp_servers[].auth_headers`): nothing but id and name is read of them. Facts and their evidence: the
vendor's API reference as published; what it leaves open is said where it matters.
"""

import re
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Annotated, Any, ClassVar, Generic, NamedTuple, TypeVar, cast

import anyio
from pydantic import BeforeValidator, Field, StringConstraints

from call_logs.errors import UnexpectedPayload
from call_logs.model import TURNS, Action, ActionKind, Call, Direction, Scalar, Seconds, Speaker, Status, Turn
from call_logs.phones import e164
from call_logs.providers import (
    FEATURES,
    OR_NONE,
    Connection,
    Moment,
    Page,
    Provider,
    RecordId,
    Secret,
    Settings,
    SipCode,
    Unreadable,
    Wire,
    read_each,
)
from call_logs.providers._kept import MAX_FACT, fact, reason
from call_logs.providers._met import STALE_PAGES, identity
from call_logs.providers._names import AgentNames
from call_logs.providers._streams import interleaved, places
from call_logs.text import looks_secret, without_url_secrets

OAUTH = "/oauth/token"
AGENTS = "/v1/agents"
LOGS = "/v1/agents/{agent}/call-logs"
OUTBOUND = "/v1/agents/{agent}/outbound-calls"
AUDIENCE = "https://api.telzino.com/"
"""Documented with its slash. It names the API, so it stays the same below another base URL."""

PAGE_SIZE = 100
"""The documented maximum."""

RATE = (5, 1.0)
"""That there is a limit is documented, its number is not."""

TOKEN_SECONDS = 86_400.0
"""What `expires_in` is in the documents, for an answer without one."""

EARLY_SECONDS = 60.0
"""So long before its end a token is replaced."""

AHEAD = timedelta(hours=2)
"""How much older than its call log an outbound record may be. A call is queued for seconds (documented) until it is
dialled, and its log begins when it is answered."""

LATE_LOG = timedelta(hours=1)
"""So long an answered outbound call that ended may go without its log, before it counts as a call without one."""

LONGEST_TITLE = 120

STATUSES = {
    "queued": Status.QUEUED,
    "dispatching": Status.QUEUED,
    "dispatched": Status.QUEUED,
    "dialing": Status.RINGING,
    "in_progress": Status.IN_PROGRESS,
    "completed": Status.COMPLETED,
    "no_answer": Status.NO_ANSWER,
    "busy": Status.BUSY,
    "failed": Status.FAILED,
}
ENDED = (Status.COMPLETED, Status.NO_ANSWER, Status.BUSY, Status.FAILED)
"""The four terminal statuses that are documented."""

SPEAKERS = {"agent": Speaker.AGENT, "user": Speaker.CUSTOMER, "system": Speaker.SYSTEM}
NAMES = {ActionKind.TRANSFER: "Transfer", ActionKind.WEBHOOK: "Webhook", ActionKind.END: "End of the call"}
FACTS = ("title", "action_items", "sentiment")
WITHHELD = "(withheld: this entry held a credential)"

_FUTURE = datetime.max.replace(tzinfo=UTC)
_IDENTIFIERS = r"^[A-Za-z0-9_-]{1,64}(?: *, *[A-Za-z0-9_-]{1,64})*$"
_ROOM = re.compile(r"agent-.+-out-(.+)")
_LINE = re.compile(r"\[(\d+(?:\.\d+)?)s\]\s+([^:\n]+):\s?(.*)")
_EVENT = re.compile(
    r"(?<![A-Za-z])(?:(?P<transfer>transfer(?:red|ring|s)?)|(?P<webhook>webhooks?)"
    r"|(?P<end>call[ _-]?end(?:ed|ing)?|end(?:ed)?[ _-](?:the[ _-])?call|end[ _-]reason|hung[ _-]up|hang[ _-]?up"
    r"|disconnect(?:ed)?))",
    re.IGNORECASE,
)
_NOT_DONE = re.compile(
    r"\bfail|\bunsuccess|\bcould(?: not|n't)\b|\bdeclined|\bcancel|\btimed out|\bno answer|\bnot answered|\berror:",
    re.IGNORECASE,
)
_REASON = re.compile(r"(?:[ _-]reason)?\s*[:\u2013\u2014-]\s*(\S.*)", re.DOTALL)
_WEBHOOK_NAME = re.compile(r"\b(?!(?:before|during|after)_call\b)[^\W\d_][^\W_]*(?:_[^\W_]+)+\b")
_NUMBER = re.compile(r"\+\d[\d ().-]{6,18}\d")
_SECTION = re.compile(r"^[ \t]*\*\*([^*\n:]{1,40})(?::\*\*|\*\*:)", re.MULTILINE)
_BULLET = re.compile(r"^[ \t]*[-*\u2022][ \t]+", re.MULTILINE)
_NOTHING = re.compile(r"(?:none|n/a)(?: pending)?\.?", re.IGNORECASE)


class TelzinoSettings(Settings):
    """The client of the Telzino dashboard, and the agents to read (all that it may see, unless named)."""

    client_id: Secret
    client_secret: Secret
    agent_ids: Annotated[str, StringConstraints(pattern=_IDENTIFIERS)] | None = None

    @property
    def agents(self) -> tuple[str, ...]:
        """The agents that are named."""
        return tuple(one.strip() for one in (self.agent_ids or "").split(",") if one.strip())


_Text = Annotated[str | None, OR_NONE]
_Offset = Annotated[float, Field(ge=0, le=1_000_000)]


class _Token(Wire):
    access_token: Secret
    expires_in: Annotated[Seconds | None, OR_NONE] = None


class _Pagination(Wire):
    limit: Annotated[Annotated[int, Field(ge=1)] | None, OR_NONE] = None
    total: Annotated[int | None, OR_NONE] = None
    has_next: Annotated[bool | None, OR_NONE] = Field(None, alias="hasNext")


class _Listing(Wire):
    data: list[Any]
    pagination: Annotated[_Pagination | None, OR_NONE] = None

    def goes_on(self) -> bool:
        """Whether another page may follow. Where the vendor does not say, until one is empty: it may cap pages."""
        told = self.pagination.has_next if self.pagination else None
        return bool(self.data) and told is not False


class _Row(Wire):
    id: RecordId

    @property
    def clocks(self) -> tuple[datetime | None, datetime | None]:
        """The times by which the list may be newest first; where it is, no row that follows began after either."""
        return None, None


class _Agent(_Row):
    name: _Text = None


class _Entry(Wire):
    text: _Text = None
    speaker: _Text = None
    timestamp: Annotated[_Offset | None, OR_NONE] = None
    is_partial: Annotated[bool | None, OR_NONE] = None


class _Session(Wire):
    caller_id: _Text = None


class _Log(_Row):
    agent_id: _Text = None
    room_name: _Text = None
    transcript_text: _Text = None
    transcript_json: Annotated[list[Any] | None, OR_NONE] = None
    summary_text: _Text = None
    call_duration: Annotated[Seconds | None, OR_NONE] = None
    call_started_at: Moment
    call_ended_at: Annotated[Moment | None, OR_NONE] = None
    created_at: Annotated[Moment | None, OR_NONE] = None
    session_data: Annotated[_Session | None, OR_NONE] = None
    # The link itself is worth as much as the recording: only whether there is one is kept.
    has_recording: Annotated[bool | None, BeforeValidator(bool)] = Field(None, alias="recording_url")

    @property
    def clocks(self) -> tuple[datetime | None, datetime | None]:
        """When the call began and when it was logged, which is later or tells nothing."""
        logged = self.created_at
        return self.call_started_at, logged if logged is not None and logged >= self.call_started_at else None

    @property
    def outbound_id(self) -> str | None:
        """The outbound call of this room: such a room is named `agent-{agentId}-out-{callId}` (documented)."""
        found = _ROOM.fullmatch(self.room_name or "")
        return found[1] if found else None


class _Record(_Row):
    """An outbound call: "the source of truth" for it, as the vendor says."""

    agent_id: _Text = None
    to_number: _Text = None
    status: _Text = None
    transcript_id: _Text = None
    summary_text: _Text = None
    error: _Text = None
    sip_status_code: SipCode = None
    created_at: Moment
    answered_at: Annotated[Moment | None, OR_NONE] = None
    ended_at: Annotated[Moment | None, OR_NONE] = None
    duration: Annotated[Seconds | None, OR_NONE] = None

    @property
    def clocks(self) -> tuple[datetime | None, datetime | None]:
        """When the call was asked for; the list is "newest first" (documented)."""
        return self.created_at, self.created_at

    @property
    def stands_alone(self) -> bool:
        """Whether the call ended and no log of it is to come: it never connected, or the log is long overdue."""
        if self.transcript_id or (STATUSES.get(self.status or "") not in ENDED and self.ended_at is None):
            return False
        connected = self.answered_at is not None or self.status == "completed"
        return not connected or (self.ended_at or self.created_at) < datetime.now(UTC) - LATE_LOG


R = TypeVar("R", bound=_Row)


class Telzino(Provider[TelzinoSettings]):
    """The agents that one Telzino client may see."""

    slug: ClassVar = "telzino"
    title: ClassVar = "Telzino"
    origin: ClassVar = "https://api.telzino.com"
    settings_type: ClassVar[type[Settings]] = TelzinoSettings
    gives: ClassVar = frozenset(FEATURES) - {"cost", "server-side dates"}

    def __init__(self, account: str, settings: TelzinoSettings, names: Mapping[str, str] | None = None) -> None:
        """See `Provider`."""
        super().__init__(account, settings, names)
        self._bearer: Mapping[str, str] | None = None
        self._bearer_until = 0.0
        self._one_token = anyio.Lock()
        self._names = AgentNames(self, self._agent_names)

    def connection(self) -> Connection:
        """A bearer token, asked for with the client's credentials."""
        return Connection(
            title=self.title,
            account=self.account,
            base_url=self.settings.base_url or self.origin,
            headers={},
            rate=RATE,
            posts=frozenset({OAUTH}),
            explain=self._advice,
            authorize=self._authorization,
        )

    async def check(self) -> None:
        """One row: of the first agent that is named, else of the agents."""
        one = {"page": 1, "limit": 1}
        if self.settings.agents:
            await self.api.get(LOGS, _Listing, one, agent=self.settings.agents[0])
        else:
            await self.api.get(AGENTS, _Listing, one)

    async def calls(
        self, since: datetime, until: datetime | None = None, resume: str | None = None
    ) -> AsyncGenerator[Page]:
        """Pages of one agent's calls each, 100 logs and the outbound calls that have none."""
        agents, unreadable = await self._agents()
        earlier = _places(resume)
        streams = {
            # Calls deleted meanwhile have moved the rest forward: one page before the one written.
            agent.id: self._stream(agent, since, until, max(1, int(page) - 1))
            for agent in agents
            if (page := earlier.get(agent.id, "1")) is not None
        }
        if not streams:
            yield Page((), reached=since, unreadable=tuple(unreadable))
        async for page in interleaved(streams, since, earlier):
            yield replace(page, unreadable=(*unreadable, *page.unreadable))
            unreadable = ()

    async def _stream(self, agent: _Agent, since: datetime, until: datetime | None, page: int) -> AsyncGenerator[Page]:
        """One agent's calls. Records are read ahead of the logs, so that each log finds its own."""
        dropped: list[Unreadable] = []
        logs = self._list(_Log, dropped, LOGS, page, agent=agent.id)
        outbound = _Outbound(self._list(_Record, dropped, OUTBOUND, agent=agent.id))
        more = True
        while more:
            rows = [log for log in await logs.turn() if _within(log.call_started_at, since, until)]
            more = logs.goes_on(since)
            reached = since if not more else logs.reached(until)
            marks = [log.call_started_at for log in rows] + ([reached] if reached else [])
            if marks:
                await outbound.down_to(max(min(marks), since) - AHEAD)
            calls = [to_call(log, outbound.of(log), self.account, agent) for log in rows]
            calls += [
                outbound_call(record, self.account, agent)
                for record in outbound.alone(reached)
                if _within(record.created_at, since, until)
            ]
            yield Page(
                tuple(sorted(calls, key=lambda call: call.started_at, reverse=True)),
                reached=reached,
                resume=str(logs.place) if more else None,
                unreadable=tuple(dropped),
            )
            dropped.clear()

    def _list(self, model: type[R], dropped: list[Unreadable], path: str, page: int = 1, **ids: str) -> "_List[R]":
        async def ask(page: int) -> _Listing:
            return await self.api.get(path, _Listing, {"page": page, "limit": PAGE_SIZE}, **ids)

        return _List(f"{self.account} ({self.title})", ask, model, dropped, page)

    async def _agents(self) -> tuple[Sequence[_Agent], Sequence[Unreadable]]:
        """The agents to read, and those that the vendor lists unreadably."""
        if self.settings.agents:
            names = await self._names.known()
            return [_Agent(id=one, name=names.get(one)) for one in self.settings.agents], ()
        dropped: list[Unreadable] = []
        agents: list[_Agent] = []
        listed = self._list(_Agent, dropped, AGENTS)
        while listed.more:
            agents += await listed.turn()
        return agents, dropped

    async def _agent_names(self) -> AsyncGenerator[Mapping[str, str | None]]:
        """Agent ids to names, by page."""
        listed = self._list(_Agent, [], AGENTS)
        while listed.more:
            yield {agent.id: agent.name for agent in await listed.turn()}

    async def _authorization(self, refused: Mapping[str, str] | None) -> Mapping[str, str]:
        """The header with the token that is held, or with a new one where that ends soon or is the one refused."""
        async with self._one_token:
            if self._bearer is None or self._bearer == refused or time.monotonic() >= self._bearer_until:
                asked_at = time.monotonic()
                token = await self.api.post(
                    OAUTH,
                    _Token,
                    {
                        "client_id": self.settings.client_id.get_secret_value(),
                        "client_secret": self.settings.client_secret.get_secret_value(),
                        "audience": AUDIENCE,
                        "grant_type": "client_credentials",
                    },
                )
                lasts = TOKEN_SECONDS if token.expires_in is None else token.expires_in
                self._bearer = {"authorization": f"Bearer {token.access_token.get_secret_value()}"}
                self._bearer_until = asked_at + lasts - EARLY_SECONDS
            return self._bearer

    def _advice(self, status: int, words: str) -> str | None:
        """What to fix. The vendor documents the statuses, not the words; "client" and "grant" are those of OAuth."""
        client, secret, agents = (self.name_of(name) for name in ("client_id", "client_secret", "agent_ids"))
        if status == HTTPStatus.UNAUTHORIZED or (status == HTTPStatus.BAD_REQUEST and re.search("client|grant", words)):
            return f"Check {client} and {secret} (a pair from the Telzino dashboard), then restart."
        if status == HTTPStatus.FORBIDDEN:
            return f"Give the client of {client} access to its agents and their calls in Telzino, then restart."
        if status == HTTPStatus.NOT_FOUND and self.settings.agents:
            return f"Check {agents}: Telzino does not know one of these agents for this client. Then restart."
        return None


class _List(Generic[R]):
    """One reading of a list of the vendor's: which rows were met, in what order, and where it goes on.

    Pages count from 1 and move while they are read: rows that come again are left out, and where the vendor counts
    fewer rows than ever (some were deleted), the pages onto which the rest has moved are read again. The order is
    documented for outbound calls only, so none ends a reading early but one that was seen.
    """

    def __init__(
        self,
        who: str,
        ask: Callable[[int], Awaitable[_Listing]],
        model: type[R],
        dropped: list[Unreadable],
        page: int,
    ) -> None:
        self.page, self.place, self.more = page, page, True
        self._who, self._ask, self._model, self._dropped = who, ask, model, dropped
        self._ids: set[str] = set()
        self._stale = 0
        self._moved = False
        self._fewest: int | None = None
        self._oldest: tuple[datetime | None, ...] = (_FUTURE, _FUTURE)

    async def turn(self) -> list[R]:
        """The next page's rows that were not met before."""
        listing = await self._ask(self.page)
        fresh = {name: record for record in listing.data if (name := identity(record)) not in self._ids}
        self._ids |= fresh.keys()
        self._stale = 0 if fresh else self._stale + 1
        if listing.data and self._stale >= STALE_PAGES:
            raise UnexpectedPayload(
                f"{self._who} gave the same page again and again.",
                "The pass stopped there and is tried again later; report it if it stays.",
            )
        rows, unreadable = read_each(self._model, fresh.values())
        self._dropped += unreadable
        for row in rows:
            self._oldest = tuple(
                moment if moment and last and moment <= last else None
                for last, moment in zip(self._oldest, row.clocks, strict=True)
            )
        back = self._back(listing)
        self._stale -= back  # pages read again may hold nothing new
        self._moved, self.more = back > 0, back > 0 or listing.goes_on()
        self.page = max(1, self.page - back) if back else self.page + 1
        # A page that comes again and again may hide those behind it: the next reading begins there.
        self.place = self.page if back or fresh else self.place
        return rows

    def _back(self, listing: _Listing) -> int:
        """How many pages back those rows are now that no page has shown, because rows before them were deleted."""
        told = listing.pagination
        if told is None or told.total is None:
            return 0
        gone = max(0, self._fewest - told.total) if self._fewest is not None else 0
        self._fewest = told.total if self._fewest is None else min(told.total, self._fewest)
        return -(-gone // min(PAGE_SIZE, told.limit or PAGE_SIZE))

    def goes_on(self, since: datetime) -> bool:
        """Whether rows of `since` or later may follow."""
        return self.more and (self._moved or not any(last and last < since for last in self._oldest))

    def reached(self, until: datetime | None) -> datetime | None:
        """Down to where all calls before `until` have been listed; None where the order does not tell."""
        known = [last for last in self._oldest if last and last is not _FUTURE]
        if self._moved or not known:
            return None
        # The next page may begin with a call of the very same moment.
        reached = min(known) + timedelta(microseconds=1)
        return reached if until is None else min(reached, until)


class _Outbound:
    """One reading of an agent's outbound records, by what their call logs can be found with."""

    def __init__(self, records: _List[_Record]) -> None:
        self._list = records
        self._by_id: dict[str, _Record] = {}
        self._by_log: dict[str, _Record] = {}
        self._left: dict[str, _Record] = {}

    async def down_to(self, moment: datetime) -> None:
        """Read on until every record of that moment or later is held."""
        while self._list.goes_on(moment):
            for record in await self._list.turn():
                self._by_id[record.id] = self._left[record.id] = record
                if record.transcript_id:
                    self._by_log[record.transcript_id] = record

    def of(self, log: _Log) -> _Record | None:
        """The record of a log: by the log's id, or by the name of its room."""
        record = self._by_log.get(log.id) or self._by_id.get(log.outbound_id or "")
        if record is not None:
            self._left.pop(record.id, None)
        return record

    def alone(self, reached: datetime | None) -> list[_Record]:
        """The calls without a log, down to that moment; each is given once."""
        found = [one for one in self._left.values() if reached and one.created_at >= reached and one.stands_alone]
        for one in found:
            del self._left[one.id]
        return found


def _places(resume: str | None) -> dict[str, str | None]:
    """At which page each agent's logs go on, None for one whose logs have ended; nothing where it cannot be read."""
    try:
        found: Any = places(resume)
        return {str(name): None if page is None else str(int(page)) for name, page in found.items()}
    except (AttributeError, TypeError, ValueError):
        return {}


def _within(moment: datetime, since: datetime, until: datetime | None) -> bool:
    return since <= moment and (until is None or moment < until)


def to_call(log: _Log, record: _Record | None, account: str, agent: _Agent) -> Call:
    """A log as a call, with what the outbound record of it adds.

    Without one the direction is unknown, unless the room is named as those of outbound calls are: the vendor says
    nowhere how inbound calls can be told.
    """
    turns, actions, end_reason = _said_and_done(log)
    summary, facts = summary_parts((log.summary_text or (record.summary_text if record else None)) or "")
    caller = e164(log.session_data.caller_id if log.session_data else None)
    outbound = record is not None or log.outbound_id is not None
    call = Call(
        account=account,
        provider=Telzino.slug,
        vendor_call_id=log.id,
        direction=Direction.OUTBOUND if outbound else Direction.UNKNOWN,
        status=Status.COMPLETED if log.call_ended_at else Status.UNKNOWN,
        end_reason=end_reason,
        from_number=caller,
        started_at=log.call_started_at,
        ended_at=log.call_ended_at,
        duration_seconds=log.call_duration,
        agent_id=log.agent_id or agent.id,
        agent_name=agent.name if log.agent_id in (None, agent.id) else None,
        has_recording=log.has_recording,
        summary=summary,
        extracted=facts,
        turns=turns,
        actions=actions,
    )
    return call if record is None else call.model_copy(update=_added(call, record))


def _added(call: Call, record: _Record) -> dict[str, Any]:
    """What the record knows of a call that has a log. It decides on the status; the log on times and duration."""
    to_number = e164(record.to_number)
    return {
        "status": STATUSES.get(record.status or "", Status.UNKNOWN),
        "vendor_status": record.status,
        "end_reason": call.end_reason or reason(record.error),
        "sip_status_code": record.sip_status_code,
        # Whose number `caller_id` is on an outbound call is not documented: the callee's is no `from`.
        "from_number": None if call.from_number == to_number else call.from_number,
        "to_number": to_number,
        "answered_at": record.answered_at,
        "ended_at": call.ended_at or record.ended_at,
        "duration_seconds": record.duration if call.duration_seconds is None else call.duration_seconds,
    }


def outbound_call(record: _Record, account: str, agent: _Agent) -> Call:
    """An outbound record without a log as a call. It began when it was asked for: when it was dialled is not told."""
    summary, facts = summary_parts(record.summary_text or "")
    return Call(
        account=account,
        provider=Telzino.slug,
        vendor_call_id=record.id,
        direction=Direction.OUTBOUND,
        status=STATUSES.get(record.status or "", Status.UNKNOWN),
        vendor_status=record.status,
        end_reason=reason(record.error),
        sip_status_code=record.sip_status_code,
        to_number=e164(record.to_number),
        started_at=record.created_at,
        answered_at=record.answered_at,
        ended_at=record.ended_at,
        duration_seconds=record.duration,
        agent_id=record.agent_id or agent.id,
        agent_name=agent.name if record.agent_id in (None, agent.id) else None,
        summary=summary,
        extracted=facts,
    )


class _Said(NamedTuple):
    speaker: Speaker
    text: str
    offset_seconds: float | None


def _said_and_done(log: _Log) -> tuple[tuple[Turn, ...], tuple[Action, ...], str | None]:
    """The turns, what the system entries among them say was executed, and why the call ended."""
    entries = _entries(log.transcript_json or ())
    said = entries or _lines(log.transcript_text or "")
    turns = TURNS.validate_python(
        [{"n": n, **one._asdict(), "parsed": not entries} for n, one in enumerate(said, 1)],
    )
    actions: list[Action] = []
    end_reason: str | None = None
    for turn in turns:
        event = _EVENT.search(turn.text) if turn.speaker is Speaker.SYSTEM else None
        kind = ActionKind(cast("str", event.lastgroup)) if event else None
        if event is None or kind is None or (kind is not ActionKind.END and _NOT_DONE.search(turn.text)):
            continue
        actions.append(_action(log, turn, kind, event[0].lower()))
        if kind is ActionKind.END and not turn.parsed:  # else a caller could have said it
            told = _REASON.match(turn.text, event.end())
            end_reason = reason(told[1] if told else turn.text)
    return turns, tuple(actions), end_reason


def _entries(entries: Sequence[Any]) -> list[_Said]:
    """The final entries of `transcript_json`. Partial ones are earlier guesses at what a final one says."""
    read, _ = read_each(_Entry, entries)
    return [
        _said(entry.speaker or "", text, entry.timestamp)
        for entry in read
        if not entry.is_partial and (text := (entry.text or "").strip())
    ]


def _lines(transcript: str) -> list[_Said]:
    """The turns of `[0.50s] agent: ...` lines; a line of another form goes on with the turn before."""
    spoken: list[tuple[str, str, float | None]] = []
    for line in transcript.split("\n"):
        if begun := _LINE.fullmatch(line.strip()):
            spoken.append((begun[2], begun[3], min(float(begun[1]), 1_000_000.0)))
        elif line.strip():
            speaker, text, offset = spoken.pop() if spoken else ("", "", None)
            spoken.append((speaker, f"{text}\n{line.strip()}", offset))
    return [_said(speaker, text.strip(), offset) for speaker, text, offset in spoken if text.strip()]


def _said(speaker: str, text: str, offset: float | None) -> _Said:
    who = SPEAKERS.get(speaker.strip().lower(), Speaker.UNKNOWN)
    return _Said(who, _harmless(text) if who is Speaker.SYSTEM else text, offset)


def _harmless(text: str) -> str:
    """A system entry without credentials: a webhook's may show its address or headers. What happened is kept."""
    text = without_url_secrets(text)
    if not looks_secret(text):
        return text
    happened = [found[0] for found in (_EVENT.search(text), _NOT_DONE.search(text)) if found]
    return " ".join([*happened, WITHHELD])


def _action(log: _Log, turn: Turn, kind: ActionKind, word: str) -> Action:
    """What a system entry says was executed. That there are such entries is documented, their wording is not: a kind
    is told by the first word that names one, and only a number and a webhook's name are picked out."""
    name = _WEBHOOK_NAME.search(turn.text) if kind is ActionKind.WEBHOOK else None
    number = _NUMBER.search(turn.text) if kind is ActionKind.TRANSFER else None
    details: dict[str, Scalar] = {"text": turn.text[:MAX_FACT]}
    if number and (to := e164(number[0])):
        details["to"] = to
    offset = turn.offset_seconds
    return Action(
        kind=kind,
        vendor_kind=word,
        name=name[0][:64] if name else NAMES[kind],
        executed_at=None if offset is None else log.call_started_at + timedelta(seconds=offset),
        turn=turn.n,
        details=details,
    )


def summary_parts(summary: str) -> tuple[str | None, dict[str, Scalar]]:
    """The paragraph of a summary, and its title, action items and sentiment as facts.

    Documented by example: a title, a blank line, a paragraph, `**Action Items:**` with bullets, `**Sentiment:**` with a
    word. It is a model's Markdown, so each part may be missing; another section stays in the paragraph.
    """
    head, *rest = (part.strip() for part in _SECTION.split(summary))
    facts: dict[str, str] = {}
    for name, body in zip(rest[::2], rest[1::2], strict=True):
        key = "_".join(name.lower().split())
        if key == "action_items":
            items = (" ".join(item.split()) for item in _BULLET.split(f"\n{body}"))
            facts[key] = "; ".join(item for item in items if item and not _NOTHING.fullmatch(item))
        elif key == "sentiment":
            facts[key] = body.partition("\n")[0].strip()
        else:
            head = f"{head}\n\n{name}: {body}"
    title, _, paragraph = head.partition("\n\n")
    if facts and paragraph and "\n" not in title and len(title) <= LONGEST_TITLE:
        facts["title"], head = title.strip("#* "), paragraph
    return head.strip() or None, {name: kept for name in FACTS if (kept := fact(facts.get(name))) is not None}
