"""Bimpe AI: calls are listed an agent at a time; what was said, and when it was answered, takes a second read of each.

The list has neither a date filter nor words; `sort=-created_on` puts the newest first. There is no cost, recording,
summary or action. Facts and their evidence: the vendor's console API v1 as published, and its SDK 0.4.1 (the source).
"""

import logging
import re
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from http import HTTPStatus
from typing import Annotated, Any, ClassVar, TypeVar

import anyio
from pydantic import AwareDatetime, Field, StringConstraints, ValidationError

from call_logs.errors import ProviderError, Rejected, UnexpectedPayload
from call_logs.model import TURNS, Call, Direction, Speaker, Status, Turn
from call_logs.phones import e164
from call_logs.providers import (
    FEATURES,
    OR_NONE,
    Connection,
    Identifier,
    Moment,
    Page,
    Provider,
    RecordId,
    Secret,
    Settings,
    Unreadable,
    Wire,
    read_each,
)
from call_logs.providers._kept import reason
from call_logs.providers._met import STALE_PAGES, Met
from call_logs.providers._names import AgentNames
from call_logs.providers._streams import interleaved, places

AGENTS = "/api/v1/console/agents"
CALLS = AGENTS + "/{agent_id}/calls"
CALL = CALLS + "/{call_id}"
PAGE_SIZE = 100
"""The documented maximum."""

NEWEST_FIRST = "-created_on"
"""The SDK's own example. The published reference names `created_at`, which calls do not have."""

RATE = (9, 1.0)
"""The limits are not published (a 429 says how long to wait): below 100 requests in any 10 s, as other vendors ask."""

AT_ONCE = 4
"""Detail reads under way at the same time."""

PORTION = 25
"""Calls whose details are read before they are handed on: a first answer need not wait for a page of 100."""

REMEMBERED = 50_000
"""Calls whose agents are remembered for `get`."""

NO_SUCH_CALL = (HTTPStatus.BAD_REQUEST, HTTPStatus.NOT_FOUND, HTTPStatus.UNPROCESSABLE_ENTITY)
"""404 is documented for an unknown id, 400 for one of another form; none of these is retried."""

STATUSES = {
    "queued": Status.QUEUED,
    "ringing": Status.RINGING,
    "answered": Status.IN_PROGRESS,
    "ended": Status.COMPLETED,
    "busy": Status.BUSY,
    "failed": Status.FAILED,
    "cancelled": Status.CANCELED,
}
"""All that the SDK's source has."""

UNFINISHED = ("queued", "ringing", "answered")
DIRECTIONS = {"inbound": Direction.INBOUND, "outbound": Direction.OUTBOUND}
SPEAKERS = {
    "assistant": Speaker.AGENT,
    "user": Speaker.CUSTOMER,
    "customer": Speaker.CUSTOMER,
    "restaurant_user": Speaker.CUSTOMER,
    "system": Speaker.SYSTEM,
}
"""`user` and `assistant` are documented for calls, the other two for the vendor's message stream, `system` nowhere."""

_TOLD_IN_DETAIL = ("conversation_logs",)
"""The field of which a call is told to be without, where its single read was refused."""

_CALL_ID = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}")
_log = logging.getLogger(__name__)

T = TypeVar("T")


class BimpeSettings(Settings):
    """A team's API key (Console, Settings, API keys), and the agents to read where not all are wanted: ids, commas."""

    api_key: Secret
    agent_ids: (
        Annotated[str, StringConstraints(pattern=r"^\s*[A-Za-z0-9_-]{1,64}(\s*,\s*[A-Za-z0-9_-]{1,64})*\s*$")] | None
    ) = None


_Word = Annotated[str | None, OR_NONE]
_Time = Annotated[Moment | None, OR_NONE]


class _Message(Wire):
    """`attachments` and their URLs are not read."""

    role: _Word = None
    text: _Word = Field(None, alias="message")
    created_at: _Time = None


class _Log(Wire):
    """A row of the list, or a single call: that one has `started_at`, `answered_at` and the messages as well."""

    id: RecordId
    created_on: Moment
    source: _Word = None
    destination: _Word = None
    status: _Word = None
    direction: _Word = None
    duration: Annotated[Annotated[float, Field(ge=0)] | None, OR_NONE] = Field(None, alias="duration_seconds")
    is_test: Annotated[bool | None, OR_NONE] = Field(None, alias="is_test_call")
    error_reason: _Word = None
    end_reason: _Word = None
    ringing_at: _Time = None
    ended_at: _Time = None
    started_at: _Time = None
    answered_at: _Time = None
    # Empty is the SDK's default, so none or an empty list is what a call has on which nothing was said; null is in neither
    # reference nor SDK, and taken for the same. Such a call counts as one without a transcript, and is read again for 72
    # hours: to tell each that nobody answered as one that could not be read would be wrong.
    messages: list[Any] | None = Field(None, alias="conversation_logs")

    @property
    def is_finished(self) -> bool:
        """Whether there is no more to come. A status that nobody documented counts by the end time."""
        return self.status not in UNFINISHED and (self.status in STATUSES or self.ended_at is not None)


class _One(Wire):
    log: _Log = Field(alias="data")


class _Meta(Wire):
    total: Annotated[int | None, OR_NONE] = Field(None, alias="total_count")
    has_next: Annotated[bool | None, OR_NONE] = Field(None, alias="has_next_page")


class _Listing(Wire):
    meta: Annotated[_Meta | None, OR_NONE] = None

    def goes_on(self, rows: int, new: int) -> bool:
        """Whether another page may follow. `meta` may be missing or null (documented); then a full page tells."""
        if self.meta is not None and self.meta.has_next is not None:
            return self.meta.has_next
        return new > 0 and rows >= PAGE_SIZE


class _Logs(_Listing):
    rows: list[Any] = Field(alias="data")


class _Agent(Wire):
    id: Identifier
    name: _Word = None


class _Agents(_Listing):
    agents: list[_Agent] = Field(alias="data")


class _Places(Wire):
    """Where a reading of calls since a moment goes on: the page of each agent's list, None where it has ended."""

    since: AwareDatetime
    agents: dict[str, Annotated[int, Field(ge=1)] | None]


@dataclass
class _Reading:
    """What the lists of all agents are read for, and which agents turned out to be gone."""

    since: datetime
    until: datetime | None
    agent_ids: Sequence[str]
    gone: set[str] = field(default_factory=set[str])

    def wants(self, log: _Log) -> bool:
        """Whether the call began in the window."""
        return log.created_on >= self.since and (self.until is None or log.created_on < self.until)


class Bimpe(Provider[BimpeSettings]):
    """One Bimpe team."""

    slug: ClassVar = "bimpe"
    title: ClassVar = "Bimpe AI"
    origin: ClassVar = "https://api.bimpe.ai"
    settings_type: ClassVar[type[Settings]] = BimpeSettings
    gives: ClassVar = frozenset(FEATURES) & {"transcript", "offsets", "agent", "direction", "status"}

    def __init__(self, account: str, settings: BimpeSettings, names: Mapping[str, str] | None = None) -> None:
        """See `Provider`."""
        super().__init__(account, settings, names)
        self._chosen = [one.strip() for one in settings.agent_ids.split(",")] if settings.agent_ids else []
        self._listed: Mapping[str, str | None] = {}
        self._names = AgentNames(self, self._agents)
        self._agent_of: dict[str, str] = {}

    def connection(self) -> Connection:
        """Bearer token. The documented `X-Api-Key` would do as well, but survives a redirect to another host."""
        return Connection(
            title=self.title,
            account=self.account,
            base_url=self.settings.base_url or self.origin,
            headers={"authorization": f"Bearer {self.settings.api_key.get_secret_value()}"},
            rate=RATE,
            explain=self._advice,
            request_id_headers=("x-request-id",),
        )

    async def check(self) -> None:
        """One agent, or one call of the first chosen agent."""
        if self._chosen:
            await self.api.get(CALLS, _Logs, {"page": 1, "limit": 1}, agent_id=self._chosen[0])
        else:
            await self.api.get(AGENTS, _Agents, {"page": 1, "limit": 1})

    async def calls(
        self, since: datetime, until: datetime | None = None, resume: str | None = None
    ) -> AsyncGenerator[Page]:
        """Pages of at most `PORTION` calls. A call began when it was created: that orders the list, and is in each row.

        The single call's `started_at` may be later, and would make a call move in time once it has ended.
        """
        begun = _begun(resume, since)
        reading = _Reading(since, until, await self._agent_ids())
        streams = {
            agent_id: self._calls_of(agent_id, page, reading)
            for agent_id in reading.agent_ids
            if (page := begun.get(agent_id, 1)) is not None
        }
        if not streams:
            yield Page((), reached=since)
        async for page in interleaved(streams, since):
            if page.resume is None:
                yield page
            else:
                # What was ended or waits its turn keeps its place.
                agents = begun | {name: int(place) if place else None for name, place in places(page.resume).items()}
                yield replace(page, resume=_Places(since=since, agents=agents).model_dump_json())

    async def get(self, vendor_call_id: str) -> Call | None:
        """The single call. It is below its agent: the one that had it when it was listed, else each is tried.

        An id is taken to mean one call in the whole team; the vendor neither says so nor otherwise.
        """
        if not _CALL_ID.fullmatch(vendor_call_id):
            return None
        known = self._agent_of.get(vendor_call_id)
        found: list[Call] = []

        async def look(agent_id: str) -> None:
            try:
                log = await self._detail(agent_id, vendor_call_id)
            except Rejected as error:
                if error.http_status not in NO_SUCH_CALL:
                    raise
                self.api.trouble = None
            else:
                found.append(to_call(log, self.account, agent_id, await self._name(agent_id)))

        await _each(look, [known] if known else await self._agent_ids())
        return found[0] if found else None

    async def _calls_of(self, agent_id: str, page: int, reading: _Reading) -> AsyncGenerator[Page]:
        """One agent's calls. A page is left early only in an order that was seen, and may have moved meanwhile."""
        since, until = reading.since, reading.until
        met = Met()
        place = page
        more = True
        while more:
            params = {"page": page, "limit": PAGE_SIZE, "sort": NEWEST_FIRST}
            try:
                answer = await self.api.get(CALLS, _Logs, params, agent_id=agent_id)
            except Rejected as error:
                if not self._is_gone(agent_id, error, reading):
                    raise
                yield Page((), reached=since)
                return
            logs, unreadable = read_each(_Log, answer.rows)
            new = met.rows(answer.rows, logs, lambda log: (log.id, log.created_on))
            if met.stale >= STALE_PAGES:
                raise self._in_circles()
            moved = met.fewer(answer.meta.total if answer.meta else None)
            more = moved or (not met.past(since) and answer.goes_on(len(answer.rows), met.fresh))
            *portions, last = _portions([log for log in new if reading.wants(log)])
            for portion in portions:
                calls, unchanged, untold = await self._completed(agent_id, portion)
                yield Page(calls, met.reached(until, portion[-1].created_on), str(page), untold, unchanged=unchanged)
            calls, unchanged, untold = await self._completed(agent_id, last)
            page = max(1, page - 1) if moved else page + 1
            # A page that comes again and again may hide those behind it: the next reading begins there.
            place = page if moved or met.fresh else place
            yield Page(
                calls,
                reached=met.reached(until) if more else since,
                resume=str(place) if more else None,
                unreadable=(*unreadable, *untold),
                unchanged=unchanged,
            )

    def _is_gone(self, agent_id: str, error: Rejected, reading: _Reading) -> bool:
        """Whether an agent was deleted since it was listed. One that the operator chose must be there, and any one."""
        if error.http_status != HTTPStatus.NOT_FOUND or self._chosen:
            return False
        reading.gone.add(agent_id)
        self.api.trouble = None
        return len(reading.gone) < len(reading.agent_ids)

    async def _completed(
        self, agent_id: str, logs: Sequence[_Log]
    ) -> tuple[tuple[Call, ...], tuple[str, ...], tuple[Unreadable, ...]]:
        """The calls with their details, where they are finished, and the ids of those left out.

        A settled one is left out: its row is the poorer.

        Where a detail cannot be read, or is another call's, the row is all there is, and the call is told as one that
        could not be read.
        """
        finished = [log for log in logs if log.is_finished]
        settled = await self.settled([log.id for log in finished]) if finished else set[str]()
        details: dict[str, _Log] = {}
        unread: list[Unreadable] = []

        async def complete(log: _Log) -> None:
            try:
                detail = await self._detail(agent_id, log.id)
                if detail.id == log.id:
                    details[log.id] = _joined(log, detail)
                else:
                    unread.append(Unreadable(log.id, ("id",)))
            except (Rejected, UnexpectedPayload) as error:
                self.api.trouble = None
                fields = error.fields if isinstance(error, UnexpectedPayload) else ()
                unread.append(Unreadable(log.id, fields or _TOLD_IN_DETAIL))

        await _each(complete, [log for log in finished if log.id not in settled])
        if unread:
            _log.info("%s: the details of %d calls could not be read", self.account, len(unread))
        self._remember(agent_id, logs)
        name = await self._name(agent_id)
        calls = tuple(
            to_call(details.get(log.id, log), self.account, agent_id, name) for log in logs if log.id not in settled
        )
        return calls, tuple(log.id for log in logs if log.id in settled), tuple(unread)

    async def _detail(self, agent_id: str, call_id: str) -> _Log:
        return (await self.api.get(CALL, _One, agent_id=agent_id, call_id=call_id)).log

    def _remember(self, agent_id: str, logs: Iterable[_Log]) -> None:
        if len(self._agent_of) > REMEMBERED:
            self._agent_of.clear()
        self._agent_of |= {log.id: agent_id for log in logs}

    async def _agent_ids(self) -> list[str]:
        """The chosen agents, else all that there are now."""
        if self._chosen:
            return self._chosen
        names: dict[str, str | None] = {}
        async for page in self._agents():
            names |= page
        self._listed = names
        return list(names)

    async def _name(self, agent_id: str) -> str | None:
        """An agent's name; that of a chosen one may be missing: the key need not be allowed to list agents."""
        return (await self._names.known() if self._chosen else self._listed).get(agent_id)

    async def _agents(self) -> AsyncGenerator[Mapping[str, str | None]]:
        """Agent ids to names, by page."""
        met: set[str] = set()
        page = 1
        while True:
            answer = await self.api.get(AGENTS, _Agents, {"page": page, "limit": PAGE_SIZE})
            new = {agent.id for agent in answer.agents} - met
            met |= new
            yield {agent.id: agent.name for agent in answer.agents}
            if not answer.goes_on(len(answer.agents), len(new)):
                return
            if not new:
                raise self._in_circles()
            page += 1

    def _in_circles(self) -> UnexpectedPayload:
        return UnexpectedPayload(
            f"{self.account} ({self.title}) gave the same page again and again.",
            "The pass stopped there and is tried again later; report it if it stays.",
        )

    def _advice(self, status: int, words: str) -> str | None:
        """What to fix, from the vendor's documented codes and scope names for 401, 403 and 404."""
        key, agents = self.name_of("api_key"), self.name_of("agent_ids")
        if "api_key_expired" in words:
            return f"The key in {key} has expired; make another one (Console, Settings, API keys), then restart."
        if "scope" in words:
            return (
                f"Give the key in {key} the rights to read agents, calls and conversations (conversations:read), or a "
                f"key without restrictions; without the right to read agents, name them in {agents}. Then restart."
            )
        if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
            return f"Check {key} (a team's key, sk_…: Console, Settings, API keys), then restart."
        if status == HTTPStatus.NOT_FOUND and self._chosen:
            return f"Check {agents}: each id there must be an agent of the key's team. Then restart."
        return None


def _portions(logs: Sequence[_Log]) -> list[Sequence[_Log]]:
    return [logs[n : n + PORTION] for n in range(0, len(logs), PORTION)] or [()]


def _begun(resume: str | None, since: datetime) -> dict[str, int | None]:
    """The page of each agent's list to go on from: one before the one written, as calls deleted meanwhile have moved
    the rest forward. Empty where it was written in another form, or for a window that begins later."""
    try:
        written = _Places.model_validate_json(resume or "")
    except ValidationError:
        return {}
    return {name: page and max(1, page - 1) for name, page in written.agents.items()} if written.since <= since else {}


async def _each(work: Callable[[T], Awaitable[None]], items: Iterable[T]) -> None:
    """Work on all items, `AT_ONCE` at a time. The first `ProviderError` ends it and is raised."""
    slots = anyio.Semaphore(AT_ONCE)
    trouble: list[ProviderError] = []

    async def one(item: T) -> None:
        async with slots:
            try:
                await work(item)
            except ProviderError as error:
                trouble.append(error)
                group.cancel_scope.cancel()

    async with anyio.create_task_group() as group:
        for item in items:
            group.start_soon(one, item)
    if trouble:
        raise trouble[0]


def _joined(row: _Log, detail: _Log) -> _Log:
    """The detail, with what only the row tells."""
    missing = {name: getattr(row, name) for name in _Log.model_fields if getattr(detail, name) is None}
    return detail.model_copy(update=missing | {"created_on": row.created_on})


def to_call(log: _Log, account: str, agent_id: str, agent_name: str | None) -> Call:
    """A row or a single call as a call. `ended` is completed, whoever ended it and why."""
    return Call(
        account=account,
        provider=Bimpe.slug,
        vendor_call_id=log.id,
        direction=DIRECTIONS.get(log.direction or "", Direction.UNKNOWN),
        status=STATUSES.get(log.status or "", Status.UNKNOWN),
        vendor_status=log.status,
        end_reason=reason(log.end_reason) or reason(log.error_reason),
        from_number=e164(log.source),
        to_number=e164(log.destination),
        started_at=log.created_on,
        ringing_at=log.ringing_at,
        answered_at=log.answered_at,
        ended_at=log.ended_at,
        duration_seconds=log.duration,
        agent_id=agent_id,
        agent_name=agent_name,
        is_test=bool(log.is_test),
        turns=_turns(log),
    )


def _turns(log: _Log) -> tuple[Turn, ...]:
    """What was said, by time where every message has one. Offsets count from the answer, else from the start."""
    messages, _ = read_each(_Message, log.messages or ())
    said = [message for message in messages if (message.text or "").strip()]
    if all(message.created_at for message in said):
        said.sort(key=lambda message: message.created_at or log.created_on)
    began = log.answered_at or log.started_at or log.created_on
    return TURNS.validate_python(
        [
            {
                "n": n,
                "speaker": SPEAKERS.get(message.role or "", Speaker.UNKNOWN),
                "text": (message.text or "").strip(),
                "offset_seconds": _seconds(began, message.created_at),
            }
            for n, message in enumerate(said, 1)
        ]
    )


def _seconds(began: datetime, moment: datetime | None) -> float | None:
    """From the one to the other; None for what cannot be: before the call was answered nothing is said."""
    return (moment - began).total_seconds() if moment is not None and moment >= began else None
