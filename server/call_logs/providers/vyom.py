"""Vyom (Indus Net Technologies): one list of all calls and, where that is missing, one list for each assistant.

List rows are whole calls; none can be asked for by itself. `to_number` is always the other party: on an inbound call
it is who called. Durations are minutes, the times in transcripts absolute. No actions, no summary, no cost. Facts and
their evidence: the vendor's documentation, and its server's source (api_livekit, August 2026).
"""

import json
import logging
import math
import time
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Annotated, Any, ClassVar, Literal, cast

from pydantic import AfterValidator, AliasChoices, BeforeValidator, Field, TypeAdapter, ValidationError

from call_logs.errors import AuthFailed, Rejected, Unavailable, UnexpectedPayload
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
    SipCode,
    Told,
    Webhook,
    WebhookSettings,
    Wire,
    fields_at_fault,
    read_each,
)
from call_logs.providers._kept import reason
from call_logs.providers._met import STALE_PAGES, Met, identity
from call_logs.providers._streams import interleaved, places

RECORDS = "/call/records"
"""All calls, also of deleted assistants and without any (passthrough). In the server's source since May 2026.

It lists what carries the account's e-mail address; calls from before April 2026 do so where the vendor amended them.
"""

LOGS = "/assistant/call-logs/{assistant_id}"
ASSISTANTS = "/assistant/list"
CHECK = "/auth/check-key"
PAGE_SIZE = 100
"""The documented maximum."""

RATE = (5, 1.0)
"""No limit is documented, nor is one in the server's source; the vendor's own client asks five times at once."""

CLOCK_SLACK = timedelta(minutes=5)
"""How far the bounds sent reach beyond our now, so that a clock that is slow here hides no call."""

ABSENT_SECONDS = 3600.0
"""For so long a deployment that has no list of all calls is not asked for it again."""

MAX_SECONDS = 1_000_000.0
"""Longer durations and later turns are taken for a wrong clock."""

STATUSES = {
    "initiated": Status.QUEUED,
    "answered": Status.IN_PROGRESS,
    "completed": Status.COMPLETED,
    "busy": Status.BUSY,
    "no_answer": Status.NO_ANSWER,
    "rejected": Status.REJECTED,
    "cancelled": Status.CANCELED,
    "failed": Status.FAILED,
    "unreachable": Status.FAILED,
    "timeout": Status.FAILED,
}
DIRECTIONS = {"inbound": Direction.INBOUND, "outbound": Direction.OUTBOUND, "web": Direction.WEB}
SPEAKERS = {"agent": Speaker.AGENT, "user": Speaker.CUSTOMER}
NO_NUMBER = "web call"
"""Stands where the number would be, for a call in a browser (seen in the vendor's source as `Web Call`)."""

_log = logging.getLogger(__name__)

_NO_LIST = "the deployment has no list of all calls for this key"
_NO_ASSISTANT = "the assistant is not there"


def _split(listed: str | None) -> list[str]:
    return list(dict.fromkeys(one.strip() for one in (listed or "").split(",") if one.strip()))


def _ids(listed: str) -> str:
    try:
        found = TypeAdapter(list[Identifier]).validate_python(_split(listed))
    except ValidationError:
        found = []
    if not found:
        raise ValueError("must be assistant ids (letters, digits, - and _) with commas between them")
    return listed


class VyomSettings(WebhookSettings):
    """An API key (`lvk_…`) and, optionally, the assistants to which the account is limited: ids, separated by commas.

    With assistants named, calls without an assistant and calls of deleted assistants cannot be read.
    """

    api_key: Secret
    assistant_ids: Annotated[str, AfterValidator(_ids)] | None = None


def _aware(value: object) -> object:
    """A time without a zone is UTC: so the vendor keeps times, and so one of its examples shows them."""
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        return value
    return value if moment is None or moment.tzinfo is not None else moment.replace(tzinfo=UTC)


_Moment = Annotated[Moment, BeforeValidator(_aware)]
_Text = Annotated[str | None, OR_NONE]
_Count = Annotated[Annotated[int, Field(ge=0)] | None, OR_NONE]


class _Turn(Wire):
    speaker: _Text = None
    text: str = ""
    timestamp: Annotated[_Moment | None, OR_NONE] = None


class _Log(Wire):
    room_name: RecordId
    started_at: _Moment
    answered_at: Annotated[_Moment | None, OR_NONE] = None
    ended_at: Annotated[_Moment | None, OR_NONE] = None
    minutes: Annotated[float | None, OR_NONE] = Field(None, alias="call_duration_minutes")
    assistant_id: _Text = None
    assistant_name: _Text = None
    to_number: _Text = None
    platform_number: _Text = None  # this and the next one are not in the documented table
    call_type: _Text = None
    call_status: _Text = None
    call_status_reason: _Text = None
    call_end_reason: _Text = None  # documented for webhooks only
    sip_status_code: SipCode = None
    sip_status_text: _Text = None
    # The path is an unsigned address: whoever knows it may hear the call. Only whether there is one is read.
    has_recording: Annotated[bool | None, BeforeValidator(bool)] = Field(None, alias="recording_path")
    transcripts: Annotated[list[Annotated[_Turn | None, OR_NONE]] | None, OR_NONE] = None


class _Pagination(Wire):
    total: _Count = None
    total_pages: _Count = None


class _Rows(Wire):
    rows: list[Any] = Field(validation_alias=AliasChoices("records", "logs", "assistants"))
    pagination: Annotated[_Pagination | None, OR_NONE] = None


class _Listing(Wire):
    success: Literal[True] = True
    data: _Rows


class _Ended(Wire):
    success: Literal[True] = True
    data: _Log


class _Assistant(Wire):
    assistant_id: str = Field(min_length=1)


class _Owner(Wire):
    """Whom the key belongs to. The person's name and address are not read."""


class _Key(Wire):
    success: Literal[True] = True
    data: _Owner


class Vyom(Provider[VyomSettings]):
    """One Vyom account."""

    slug: ClassVar = "vyom"
    title: ClassVar = "Vyom"
    origin: ClassVar = "https://api-livekit-vyom.indusnettechnologies.com"
    settings_type: ClassVar[type[Settings]] = VyomSettings
    gives: ClassVar = frozenset(FEATURES) & {
        "transcript",
        "offsets",
        "direction",
        "agent",
        "status",
        "recording",
        "server-side dates",
    }
    # Neither documented nor in the server's source is a signature. Delivered again after 429 and 5xx, at most five times.
    webhook: ClassVar = Webhook("end-of-call webhook")

    def __init__(self, account: str, settings: VyomSettings, names: Mapping[str, str] | None = None) -> None:
        """See `Provider`."""
        super().__init__(account, settings, names)
        self._chosen = _split(settings.assistant_ids)
        self._missed: set[str] = set()  # by the reading under way
        self._told: set[str] = set()
        self._ask_records_at = 0.0
        self._meant = ""

    def connection(self) -> Connection:
        """Bearer key. It could place calls, too: nothing but GET is ever sent."""
        return Connection(
            title=self.title,
            account=self.account,
            base_url=self.settings.base_url or self.origin,
            headers={"authorization": f"Bearer {self.settings.api_key.get_secret_value()}"},
            rate=RATE,
            explain=self._advice,
        )

    @classmethod
    def read_webhook(cls, payload: Any, account: str, settings: VyomSettings) -> Told | None:
        """A record as the list of all calls has it, when the call has ended."""
        try:
            log = _Ended.model_validate(payload).data
        except ValidationError as error:
            fields = fields_at_fault(error)
            raise UnexpectedPayload(
                f"{account} (Vyom) was posted something that is no end of a call: {', '.join(fields[:5])}.",
                "Use the address as an assistant's assistant_end_call_url only; report it if it stays.",
                fields=fields,
            ) from None
        chosen = _split(settings.assistant_ids)
        return None if chosen and log.assistant_id not in chosen else Told(to_call(log, account))

    async def check(self) -> None:
        """Asks whether the key is known."""
        await self.api.get(CHECK, _Key)

    async def calls(
        self, since: datetime, until: datetime | None = None, resume: str | None = None
    ) -> AsyncGenerator[Page]:
        """Pages of 100. Each list that is read is a stream, named in `resume` by its path or its assistant."""
        self._missed.clear()
        window = _Window(since, until, start=since, end=until or datetime.now(UTC) + CLOCK_SLACK)
        streams = await self._streams(window, _held(resume))
        if not streams:
            yield Page((), reached=since)
        async for page in interleaved(streams, since):
            yield page

    async def _streams(self, window: "_Window", held: Mapping[str, str | None]) -> dict[str, AsyncGenerator[Page]]:
        """The lists that are still to be read. What was begun an assistant at a time goes on like that."""
        if not self._chosen and not held.keys() - {RECORDS} and time.monotonic() >= self._ask_records_at:
            query, place = window.resumed(held.get(RECORDS))
            first = await self._unless(_NO_LIST, RECORDS, query.params(place))
            if first is not None:
                return {RECORDS: self._walk(query, place, first=first)}
            self._ask_records_at = time.monotonic() + ABSENT_SECONDS
        ended = {assistant_id: _nothing(window.since) for assistant_id, place in held.items() if place is None}
        return ended | {
            assistant_id: self._walk(*window.resumed(held.get(assistant_id)), assistant_id=assistant_id)
            for assistant_id in self._chosen or await self._assistants()
            if assistant_id not in ended
        }

    async def _walk(
        self, window: "_Window", place: "_Place", *, assistant_id: str | None = None, first: _Listing | None = None
    ) -> AsyncGenerator[Page]:
        """One list. The vendor filters and sorts; dates are compared again, and the order is watched."""
        met = _Met(place, "room_name")
        reached: datetime | None = None
        answer = first or await self._page(window.params(place), assistant_id)
        while answer is not None:
            asked = met.place
            logs, unreadable = read_each(_Log, self._new(met, answer), "room_name")
            met.began([log.started_at for log in logs])
            more = met.moved or (met.more and not met.past(window.since))
            if not met.moved:
                reached = met.reached(window.until)
            if met.moved:
                place = met.place
            elif met.fresh:
                # The last page that brought something: one that comes again and again may hide those behind it.
                place = asked
            yield Page(
                tuple(to_call(log, self.account, assistant_id) for log in logs if window.has(log.started_at)),
                reached=reached if more else window.since,
                resume=window.written(place) if more else None,
                unreadable=tuple(unreadable),
            )
            if not more:
                return
            answer = await self._page(window.params(met.place), assistant_id)
        yield Page((), reached=window.since)

    async def _page(self, params: Mapping[str, str | int], assistant_id: str | None) -> _Listing | None:
        """A page of a list; None where the assistant is not, or no longer, there: its calls are then hidden, too."""
        if assistant_id is None:
            return await self.api.get(RECORDS, _Listing, params)
        answer = await self._unless(_NO_ASSISTANT, LOGS, params, assistant_id=assistant_id)
        if answer is None and assistant_id in self._chosen:
            self._miss(assistant_id)
        return answer

    def _miss(self, assistant_id: str) -> None:
        """One of the chosen assistants is not there. Where none is, that is taken for a wrong setting."""
        if assistant_id not in self._told:
            _log.warning("%s: the vendor has no assistant %s (any more)", self.account, assistant_id)
        self._told.add(assistant_id)
        self._missed.add(assistant_id)
        if self._missed.issuperset(self._chosen):
            raise Rejected(
                f"{self.account} ({self.title}) knows none of the assistants that the account is limited to.",
                f"Check the ids in {self.name_of('assistant_ids')}, or unset it, then restart.",
                http_status=HTTPStatus.NOT_FOUND,
            )

    async def _assistants(self) -> list[str]:
        """The ids of the assistants that were not deleted."""
        met = _Met(_Place(), "assistant_id")
        found: list[str] = []
        while met.more or met.moved:
            answer = await self.api.get(ASSISTANTS, _Listing, {"page": met.place.page, "limit": PAGE_SIZE})
            assistants, unreadable = read_each(_Assistant, self._new(met, answer), "assistant_id")
            if unreadable:  # its calls would be missing, and nothing would say so
                raise UnexpectedPayload(
                    f"{self.account} ({self.title}) listed an assistant without an id.",
                    "Name the assistants to read in " + self.name_of("assistant_ids") + ", then restart.",
                    fields=unreadable[0].fields,
                )
            found += [one.assistant_id for one in assistants]
        return found

    async def _unless(self, meaning: str, path: str, params: Mapping[str, str | int], **ids: str) -> _Listing | None:
        """A page of a list; None where the vendor refused it, and meant this."""
        self._meant = ""
        try:
            return await self.api.get(path, _Listing, params, **ids)
        except (AuthFailed, Rejected, Unavailable):
            if self._meant != meaning:
                raise
            self.api.trouble = None
            return None

    def _new(self, met: "_Met", answer: _Listing) -> list[Any]:
        rows = met.page(answer.data)
        if met.stale >= STALE_PAGES:
            raise UnexpectedPayload(
                f"{self.account} ({self.title}) gave the same page again and again.",
                "The pass stopped there and is tried again later; report it if it stays.",
            )
        return rows

    def _advice(self, status: int, words: str) -> str | None:
        """What to fix. Also notes what a refusal meant, for `_unless`: errors tell it to people only."""
        self._meant = _meaning(status, words)
        if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
            return f"Put an active Vyom API key (lvk_…) into {self.name_of('api_key')}, then restart."
        if self._meant == _NO_LIST:
            return f"Vyom's API is not at this address; check {self.name_of('base_url')}."
        return None


async def _nothing(since: datetime) -> AsyncGenerator[Page]:
    """A list that an earlier reading came to the end of: were it not named again, a third one would begin it anew."""
    yield Page((), reached=since)


def _meaning(status: int, words: str) -> str:
    """A wrong path is answered without the envelope, an unknown assistant within it; a key may lack this one list."""
    ours = '"success"' in words or '"detail"' in words
    match status:
        case HTTPStatus.METHOD_NOT_ALLOWED | HTTPStatus.NOT_IMPLEMENTED:
            return _NO_LIST
        case HTTPStatus.FORBIDDEN if ours and "authenticat" not in words and "api key" not in words:
            return _NO_LIST
        case HTTPStatus.NOT_FOUND if '"detail"' in words and "not found" in words:
            return _NO_LIST
        case HTTPStatus.NOT_FOUND if ours and "assistant" in words:
            return _NO_ASSISTANT
        case _:
            return ""


def _held(resume: str | None) -> Mapping[str, str | None]:
    """Every stream's place; none where they cannot be read: then the reading begins anew."""
    try:
        held = cast("object", places(resume))
    except ValueError:
        return {}
    return cast("Mapping[str, str | None]", held) if isinstance(held, dict) else {}


@dataclass(frozen=True)
class _Place:
    """A page of a list: how many rows were met before it, and the fewest that the vendor ever counted in all."""

    page: int = 1
    seen: int = 0
    fewest: int | None = None


@dataclass(frozen=True)
class _Window:
    """Calls that began in [since, until), as one query: what is sent stays the same for a whole walk."""

    since: datetime
    until: datetime | None
    start: datetime
    end: datetime

    def params(self, place: _Place) -> dict[str, str | int]:
        """Both bounds are inclusive (seen in the vendor's source)."""
        return {
            "start_date": _iso(self.start),
            "end_date": _iso(self.end),
            "sort_by": "started_at",
            "sort_order": "desc",
            "page": place.page,
            "limit": PAGE_SIZE,
        }

    def has(self, moment: datetime) -> bool:
        return self.since <= moment and (self.until is None or moment < self.until)

    def written(self, place: _Place) -> str:
        return json.dumps([_iso(self.start), _iso(self.end), place.page, place.seen, place.fewest])

    def resumed(self, resume: str | None) -> tuple["_Window", _Place]:
        """The query and the page that were written, or the first page of this query.

        The latter where nothing was written, or in another form, or for a window that begins later.
        """
        try:
            start, end, page, seen, fewest = json.loads(resume or "[]")
            query = replace(self, start=datetime.fromisoformat(start), end=datetime.fromisoformat(end))
            place = _Place(max(1, int(page)), int(seen), None if fewest is None else int(fewest))
            return (query, place) if query.start <= self.since else (self, _Place())
        except (TypeError, ValueError, OverflowError):
            return self, _Place()


class _Met(Met):
    """What one walk over numbered pages has met, and which page is next.

    A row comes again when newer ones have moved it. When the vendor counts fewer rows than before, some were taken
    out and later ones moved forward (`moved`): the walk goes back by as many pages.
    """

    def __init__(self, place: _Place, id_field: str) -> None:
        super().__init__(id_field)
        self.place = place
        self.more = True
        self.moved = False

    def page(self, listed: _Rows) -> list[Any]:
        """Those of a page's rows that were not met before, each once; then on to the next page."""
        found = {identity(row, self._id_field): row for row in listed.rows}
        fresh = self.new(listed.rows)
        new = [row for name, row in found.items() if name in fresh]
        self.stale = self.stale if listed.rows else 0
        self._turn(len(listed.rows), self.place.seen + len(new), listed.pagination or _Pagination())
        return new

    def _turn(self, rows: int, seen: int, counts: _Pagination) -> None:
        """To the next page. The vendor's counts say whether there is one; where it gives none, a full page does."""
        page, total, pages = self.place.page, counts.total, counts.total_pages
        fewest = min((count for count in (self.place.fewest, total) if count is not None), default=None)
        gone = (self.place.fewest or 0) - (fewest or 0)
        full = rows >= PAGE_SIZE if pages is None else page < pages
        self.moved = gone > 0
        self.more = rows > 0 and (full or (total is not None and total > seen))
        self.place = _Place(max(1, page - math.ceil(gone / PAGE_SIZE)) if self.moved else page + 1, seen, fewest)


def _iso(moment: datetime) -> str:
    """UTC with `Z`: a `+` would have to be quoted, and a time without a zone is not documented."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def to_call(log: _Log, account: str, assistant_id: str | None = None) -> Call:
    """A row as a call; `assistant_id` is whose list it stood in. `started_at` is when the call was set up."""
    direction = _direction(log)
    from_number, to_number = _numbers(direction, log)
    return Call(
        account=account,
        provider=Vyom.slug,
        vendor_call_id=log.room_name,
        direction=direction,
        status=STATUSES.get(_word(log.call_status), Status.UNKNOWN),
        vendor_status=log.call_status or None,
        end_reason=_reason(log.call_end_reason, log.call_status_reason, log.sip_status_text),
        sip_status_code=log.sip_status_code,
        from_number=from_number,
        to_number=to_number,
        started_at=log.started_at,
        answered_at=log.answered_at,
        ended_at=log.ended_at,
        duration_seconds=_seconds(log.minutes * 60) if log.minutes is not None else None,
        agent_id=log.assistant_id or assistant_id,
        agent_name=log.assistant_name or None,
        has_recording=log.has_recording,
        turns=_turns(log),
    )


def _word(text: str | None) -> str:
    return (text or "").strip().lower()


def _direction(log: _Log) -> Direction:
    """As the vendor says; where it does not (older deployments), a call in a browser still shows."""
    unsaid = Direction.WEB if _word(log.to_number) == NO_NUMBER else Direction.UNKNOWN
    return DIRECTIONS.get(_word(log.call_type), unsaid)


def _numbers(direction: Direction, log: _Log) -> tuple[str | None, str | None]:
    """From and to. Where nobody says who called whom, the other party stands where the documents put it."""
    theirs = None if _word(log.to_number) == NO_NUMBER else e164(log.to_number)
    ours = e164(log.platform_number)
    match direction:
        case Direction.INBOUND | Direction.WEB:
            return theirs, ours
        case Direction.OUTBOUND:
            return ours, theirs
        case _:
            return None, theirs


def _reason(*told: str | None) -> str | None:
    """The first of the vendor's reasons that can be shown."""
    return next((shown for text in told if (shown := reason(text))), None)


def _seconds(seconds: float) -> float | None:
    """To the millisecond, as the vendor keeps time."""
    return round(seconds, 3) if 0 <= seconds <= MAX_SECONDS else None


def _turns(log: _Log) -> tuple[Turn, ...]:
    """What was said. Offsets count from the answer; what began before it (a tone, a greeting cut short) began at 0."""
    answered = log.answered_at or log.started_at
    spoken = [turn for turn in log.transcripts or () if turn is not None and turn.text.strip()]
    return TURNS.validate_python(
        [
            {
                "n": n,
                "speaker": SPEAKERS.get(_word(turn.speaker), Speaker.UNKNOWN),
                "text": turn.text.strip(),
                "offset_seconds": None
                if turn.timestamp is None
                else _seconds(max(0.0, (turn.timestamp - answered).total_seconds())),
            }
            for n, turn in enumerate(spoken, 1)
        ]
    )
