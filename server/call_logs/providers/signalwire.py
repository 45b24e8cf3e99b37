"""SignalWire voice logs: a row is a leg of a call and never holds what was said; kept reports do (`_signalwire_report`).

A page names the next one in `links.next`, of which only the query is used: the credential goes to the account's own
Space and nowhere else. Who was recorded, and the words of a LaML recording, stand in other lists; they are joined as far
as those answer. Rows hold links with the project's id: none is kept. Facts and their evidence: the vendor's published
specification ("documented"), the source of its SDKs, and what clients of the live API report ("reported live").
"""

import base64
import hmac
import re
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from functools import partial
from http import HTTPStatus
from typing import Annotated, Any, ClassVar, Generic, TypeVar
from urllib.parse import parse_qsl

from pydantic import AfterValidator, AliasChoices, BeforeValidator, Field

from call_logs.errors import ProviderError, Rejected, UnexpectedPayload
from call_logs.model import Call, Direction, Speaker, Status, Turn
from call_logs.phones import e164
from call_logs.providers import (
    FEATURES,
    OR_NONE,
    Connection,
    Delivery,
    Identifier,
    Moment,
    Page,
    Provider,
    RecordId,
    Secret,
    Settings,
    Told,
    Webhook,
    WebhookSettings,
    Wire,
    read_each,
)
from call_logs.providers._met import Met
from call_logs.providers._signalwire_report import read_posted, read_report

LOGS = "/api/voice/logs"
LOG = f"{LOGS}/{{id}}"
EVENTS = f"{LOG}/events"
RECORDINGS = "/api/relay/rest/recordings"
TRANSCRIPTIONS = "/api/laml/2010-04-01/Accounts/{project}/Transcriptions"
LAML_RECORDINGS = "/api/laml/2010-04-01/Accounts/{project}/Recordings"
PAGE_SIZE = 1000
"""The documented maximum, of voice logs and of LaML lists."""

RATE = (9, 1.0)
"""Documented: reading is "effectively unlimited". This many requests a second spare what else the project does."""

DAY = timedelta(days=1)
STALE_PAGES = 50
"""Pages without a new row, one after another, that end a reading. The vendor's SDKs go on after an empty page."""

PAGES_BESIDE = 200
"""Pages of a list beside the calls that one reading takes at most."""

REST_SECONDS = 900.0
"""For how long a list beside the calls is left alone that did not answer: each retry keeps calls waiting."""

NO_SUCH_CALL = (HTTPStatus.BAD_REQUEST, HTTPStatus.NOT_FOUND, HTTPStatus.UNPROCESSABLE_ENTITY)
"""Documented for an unknown id is 404; what one of another form is answered with is not."""

STATUSES = {
    "queued": Status.QUEUED,
    "initiated": Status.QUEUED,
    "created": Status.QUEUED,
    "ringing": Status.RINGING,
    "answered": Status.IN_PROGRESS,
    "in-progress": Status.IN_PROGRESS,
    "ending": Status.IN_PROGRESS,
    "joined": Status.IN_PROGRESS,
    "completed": Status.COMPLETED,
    "busy": Status.BUSY,
    "failed": Status.FAILED,
    "no-answer": Status.NO_ANSWER,
    "canceled": Status.CANCELED,
}
"""The words of several engines. Of `ended` see `_status`."""

DIRECTIONS = {
    "inbound": Direction.INBOUND,
    "outbound": Direction.OUTBOUND,
    "outbound-api": Direction.OUTBOUND,
    "outbound-dial": Direction.OUTBOUND,
}

_LAML_CALL = re.compile(r"/Calls/([A-Za-z0-9_-]{1,128})")

Query = Mapping[str, str | int]


def _space(written: str) -> str:
    name = written.removesuffix(".signalwire.com")
    if not re.fullmatch(r"[a-z0-9-]{1,63}", name):
        raise ValueError("it must be the Space's name: example, where the Space is example.signalwire.com")
    return name


SIGNATURE = "x-signalwire-signature"
"""HMAC-SHA1 of the address and the body under the project's Signing Key, in hexadecimal (source of the vendor's SDK)."""


class SignalWireSettings(WebhookSettings):
    """A project, a token of it with the scope Voice, and the name of its Space.

    There is no read-only token: the same scope may place calls. Nothing but GET is ever sent. With a
    `webhook_signing_key` (the project's, of the dashboard's API page) what is posted must be signed.
    """

    project_id: Identifier
    api_token: Secret
    space: Annotated[str, AfterValidator(_space)]
    webhook_signing_key: Secret | None = None


_Word = Annotated[str | None, OR_NONE]
_Number = Annotated[Annotated[float, Field(ge=0, le=1e12)] | None, OR_NONE]


class _Log(Wire):
    """All five variants. Only a deleted one has `discarded_at`; it has no `type` and no numbers."""

    id: RecordId
    created_at: Moment
    discarded_at: Any = None
    type: _Word = None
    from_number: _Word = Field(None, alias="from")
    to_number: _Word = Field(None, alias="to")
    direction: _Word = None
    status: _Word = None
    duration: _Number = None
    duration_ms: _Number = None
    billing_ms: _Number = None
    charge: _Number = None
    parent_id: _Word = None
    url: _Word = None

    @property
    def laml_sid(self) -> str:
        """The call's id among LaML resources: documented is that `url` points at it, not that the two ids are one."""
        found = _LAML_CALL.search(self.url or "")
        return found[1] if found else self.id


class _Links(Wire):
    next: str | None = None


class _Logs(Wire):
    rows: list[Any] = Field(alias="data")
    links: _Links

    @property
    def following(self) -> dict[str, str] | None:
        """The query of the next page; None behind the last one."""
        return _query_of(self.links.next)


class _List(Wire):
    """A page of a list beside the calls. Events have no pages, LaML lists name the next one themselves."""

    rows: list[Any] = Field(validation_alias=AliasChoices("data", "transcriptions", "recordings"))
    links: _Links = Field(default_factory=_Links)
    next_page_uri: str | None = None

    @property
    def following(self) -> dict[str, str] | None:
        """As for `_Logs`."""
        return _query_of(self.links.next or self.next_page_uri)


def _query_of(link: str | None) -> dict[str, str] | None:
    """Links come with and without a host, which is never asked."""
    return dict(parse_qsl(link.partition("#")[0].partition("?")[2], keep_blank_values=True)) if link else None


def _rfc2822(written: Any) -> Any:
    """LaML's times. The vendor's own examples write "Sept"."""
    try:
        return parsedate_to_datetime(str(written).replace(" Sept ", " Sep "))
    except OverflowError:
        raise ValueError("no such time") from None


class _Listed(Wire):
    made_at: Moment = Field(alias="created_at")


class _Recording(_Listed):
    status: _Word = None
    pstn: _Word = Field(None, alias="relay_pstn_leg_id")
    sip: _Word = Field(None, alias="relay_sip_leg_id")
    webrtc: _Word = Field(None, alias="relay_webrtc_leg_id")


class _Laml(_Listed):
    made_at: Annotated[Moment, BeforeValidator(_rfc2822)] = Field(alias="date_created")


class _Transcription(_Laml):
    recording_sid: str
    text: str = Field(alias="transcription_text")


class _LamlRecording(_Laml):
    sid: str
    call_sid: str


class _Params(Wire):
    state: _Word = None
    call_state: _Word = None


class _Details(Wire):
    params: Annotated[_Params | None, OR_NONE] = None


class _Event(Wire):
    """Of the free-form `details` only the state is read: they hold recording links, numbers and SIP headers."""

    name: _Word = None
    at: Annotated[Moment | None, OR_NONE] = Field(None, alias="event_at")
    details: Annotated[_Details | None, OR_NONE] = None

    @property
    def state(self) -> str | None:
        """What the call came to. `calling_call_initiated` is documented; the other names follow from it and from
        the events of the vendor's SDKs."""
        named = (self.name or "").removeprefix("calling_call_")
        params = self.details.params if self.details else None
        return (params.call_state or params.state) if named == "state" and params else named

    @property
    def tells_recording(self) -> bool:
        """Whether a recording was made: reported live, with the link to it beside."""
        params = self.details.params if self.details else None
        return self.name == "calling_call_record" and params is not None and params.state == "finished"


class SignalWire(Provider[SignalWireSettings]):
    """One SignalWire project."""

    slug: ClassVar = "signalwire"
    title: ClassVar = "SignalWire"
    origin: ClassVar = "https://{space}.signalwire.com"
    settings_type: ClassVar[type[Settings]] = SignalWireSettings
    gives: ClassVar = frozenset(FEATURES) & {"direction", "status", "cost", "recording", "server-side dates"}
    silent_because: ClassVar = "of SignalWire, whose call log carries none (import its post-prompt reports)"
    reports: ClassVar = "post-prompt reports"
    tells_more_by_id: ClassVar = True
    # Status callbacks "can be lost" (documented); whether a report is ever posted again is not documented.
    webhook: ClassVar = Webhook("post-prompt reports, transcription callbacks", SIGNATURE)

    def __init__(self, account: str, settings: SignalWireSettings, names: Mapping[str, str] | None = None) -> None:
        """See `Provider`."""
        super().__init__(account, settings, names)
        self._resting: dict[str, float] = {}

    @classmethod
    def read_report(cls, report: Any, account: str) -> Call:
        """A post-prompt report; see `_signalwire_report`."""
        return read_report(report, account)

    @classmethod
    def signed(cls, delivery: Delivery, settings: SignalWireSettings) -> bool:
        """Asked for only with a Signing Key: the address must then reach us as SignalWire wrote it."""
        if settings.webhook_signing_key is None:
            return True
        key = settings.webhook_signing_key.get_secret_value().encode()
        given = delivery.headers.get(SIGNATURE, "").encode()
        wanted = [hmac.new(key, one.encode() + delivery.body, "sha1").hexdigest() for one in delivery.addresses]
        return any([hmac.compare_digest(one.encode(), given) for one in wanted])  # noqa: C419 - each in the same time

    @classmethod
    def read_webhook(cls, payload: Any, account: str, settings: SignalWireSettings) -> Told | None:
        """What was said on a call; see `_signalwire_report`."""
        return read_posted(payload, account, settings.project_id)

    def connection(self) -> Connection:
        """HTTP Basic: the project's id and the token."""
        pair = f"{self.settings.project_id}:{self.settings.api_token.get_secret_value()}"
        return Connection(
            title=self.title,
            account=self.account,
            base_url=self.settings.base_url or self.origin.format(space=self.settings.space),
            headers={"authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"},
            rate=RATE,
            explain=self._advice,
        )

    async def check(self) -> None:
        """One page of one row."""
        await self.api.get(LOGS, _Logs, {"page_number": 0, "page_size": 1})

    async def calls(
        self, since: datetime, until: datetime | None = None, resume: str | None = None
    ) -> AsyncGenerator[Page]:
        """Pages of 1000 rows. Dates are sent a day wider than asked, and compared again here.

        Whether the bounds belong to the window is not documented. `resume` is the time that was reached: how long
        the vendor knows its page tokens is not documented either, so none outlives a reading.
        """
        ends = min((moment for moment in (until, _reached_before(resume)) if moment is not None), default=None)
        joins = _Joins(self._beside, self.settings.project_id)
        met = Met()
        answer = await self._first_page(since, ends)
        asked: list[Query] = []
        while True:
            logs, unreadable = read_each(_Log, answer.rows)
            new = met.rows(answer.rows, logs, lambda log: (log.id, log.created_at))
            following = answer.following
            more = following is not None and not met.past(since)
            if answer.rows or not more:
                within = [log for log in new if _within(log.created_at, since, until)]
                kept = [log for log in within if log.discarded_at is None]
                reached = since if not more else met.reached(ends)
                yield Page(
                    await joins.calls(kept, self.account),
                    reached=reached,
                    resume=reached.isoformat() if more and reached else None,
                    unreadable=tuple(unreadable),
                    deleted=tuple(log.id for log in within if log.discarded_at is not None),
                )
            if following is None or not more:
                return
            if not following or following in asked or met.stale >= STALE_PAGES:
                raise UnexpectedPayload(
                    f"{self.account} ({self.title}) leads from page to page and to nothing new.",
                    "The pass stopped there and is tried again later; report it if it stays.",
                )
            asked.append(following)
            answer = await self.api.get(LOGS, _Logs, following)

    async def get(self, vendor_call_id: str) -> Call | None:
        """One log, with what its events tell; None for a deleted one."""
        try:
            log = await self.api.get(LOG, _Log, id=vendor_call_id)
        except Rejected as error:
            if error.http_status in NO_SUCH_CALL:
                return None
            raise
        if log.discarded_at is not None:
            return None
        answer = await self._beside(EVENTS, {}, id=vendor_call_id)
        events, _ = read_each(_Event, answer.rows if answer else ())
        return with_events(to_call(log, self.account), events)

    async def _first_page(self, since: datetime, ends: datetime | None) -> _Logs:
        """Without dates where they are refused: the vendor has an error for dates beyond the history that it shows."""
        query: dict[str, str | int] = {"page_number": 0, "page_size": PAGE_SIZE}
        wanted = {"include_deleted": "true", "created_after": f"{(since - DAY).astimezone(UTC):%Y-%m-%d}"}
        if ends is not None:
            wanted["created_before"] = f"{(ends + DAY).astimezone(UTC):%Y-%m-%d}"
        try:
            return await self.api.get(LOGS, _Logs, query | wanted)
        except Rejected as error:
            if error.http_status != HTTPStatus.UNPROCESSABLE_ENTITY:
                raise
        return await self.api.get(LOGS, _Logs, query)

    async def _beside(self, path: str, query: Query, **ids: str) -> _List | None:
        """A page of what only adds to calls; None where it cannot be had."""
        if time.monotonic() < self._resting.get(path, 0.0):
            return None
        try:
            return await self.api.get(path, _List, query, **ids)
        except ProviderError as error:
            self.api.trouble = None
            if error.retryable:
                self._resting[path] = time.monotonic() + REST_SECONDS
            return None

    def _advice(self, status: int, words: str) -> str | None:
        """What to fix. A missing scope is 401 on one of the vendor's pages and 403 on another."""
        project, token, space = map(self.name_of, ("project_id", "api_token", "space"))
        if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
            return f"Check {project} and {token}: a token of that project in {space}, with scope Voice. Then restart."
        if status == HTTPStatus.NOT_FOUND:
            return f"Check {space}: the name before .signalwire.com. Then restart."
        if "exceeds_history_logs_limit" in words:
            return "SignalWire shows no logs as old as that: set CALL_LOGS_HISTORY to a shorter time, then restart."
        if "page_token" in words:
            return "SignalWire no longer knew its place in the list; the next pass goes on from there by time."
        return None


def _within(moment: datetime, since: datetime, until: datetime | None) -> bool:
    return since <= moment and (until is None or moment < until)


def _reached_before(resume: str | None) -> datetime | None:
    try:
        found = datetime.fromisoformat(resume or "")
    except ValueError:
        return None
    return found if found.tzinfo else None


# What other lists tell of calls

Beside = Callable[..., Awaitable[_List | None]]
L = TypeVar("L", bound=_Listed)


class _Further(Generic[L]):
    """A list beside the calls, newest first, read no further back than asked. What fails is known less of."""

    def __init__(self, page: Callable[[Query], Awaitable[_List | None]], row: type[L], first: Query) -> None:
        self._page, self._row = page, row
        self._next: Query | None = first
        self._asked: list[Query] = []
        self._rows: list[L] = []

    async def down_to(self, moment: datetime) -> list[L]:
        """All that was made at or after the moment, and perhaps more."""
        while self._next is not None and not (self._rows and self._rows[-1].made_at < moment):
            self._asked.append(self._next)
            answer = await self._page(self._next)
            self._rows += read_each(self._row, answer.rows)[0] if answer else ()
            self._next = answer.following if answer else None
            if self._next in self._asked or len(self._asked) >= PAGES_BESIDE:
                self._next = None
        return self._rows


class _Joins:
    """The lists beside the calls of one reading, each read only when a call might be on it."""

    def __init__(self, beside: Beside, project: str) -> None:
        laml = {"Page": 0, "PageSize": PAGE_SIZE}
        self._recordings = _Further(partial(beside, RECORDINGS), _Recording, {})
        self._spoken = _Further(partial(beside, TRANSCRIPTIONS, project=project), _Transcription, laml)
        self._laml = _Further(partial(beside, LAML_RECORDINGS, project=project), _LamlRecording, laml)

    async def calls(self, logs: Sequence[_Log], account: str) -> tuple[Call, ...]:
        """The rows as calls."""
        recorded = await self._recorded(logs)
        words = await self._words(logs)
        return tuple(
            to_call(log, account, recorded=log.id in recorded, words=words.get(log.laml_sid, "")) for log in logs
        )

    async def _recorded(self, logs: Iterable[_Log]) -> set[str | None]:
        """The legs that a recording names. That their ids are those of voice logs is not documented: a name proves a
        recording, none proves nothing."""
        began = [log.created_at for log in logs if (log.type or "").startswith("relay_")]
        made = await self._recordings.down_to(min(began)) if began else ()
        return {leg for one in made if one.status != "no_input" for leg in (one.pstn, one.sip, one.webrtc)}

    async def _words(self, logs: Iterable[_Log]) -> dict[str, str]:
        """What recordings of LaML calls were transcribed to, by the call's LaML id."""
        began = [log.created_at for log in logs if log.type == "laml_call"]
        spoken = await self._spoken.down_to(min(began)) if began else []
        if not spoken:
            return {}
        calls = {one.sid: one.call_sid for one in await self._laml.down_to(min(began))}
        words: dict[str, str] = {}
        for one in sorted(spoken, key=lambda found: found.made_at):
            call = calls.get(one.recording_sid, "")
            words[call] = f"{words.get(call, '')}\n{one.text.strip()}".strip()
        return words


# What a row comes to


def to_call(log: _Log, account: str, *, recorded: bool = False, words: str = "") -> Call:
    """A row as a call. Its duration counts from the first ring; `created_at` is the only time that it tells."""
    seconds = log.duration if log.duration_ms is None else log.duration_ms / 1000
    return Call(
        account=account,
        provider=SignalWire.slug,
        vendor_call_id=log.id,
        parent_id=log.parent_id or None,
        direction=DIRECTIONS.get(log.direction or "", Direction.UNKNOWN),
        status=_status(log),
        vendor_status=log.status or None,
        from_number=e164(log.from_number),
        to_number=e164(log.to_number),
        started_at=log.created_at,
        duration_seconds=seconds,
        has_recording=True if recorded else None,
        cost=log.charge,
        currency=None if log.charge is None else "USD",
        turns=(Turn(n=1, speaker=Speaker.UNKNOWN, text=words),) if words else (),
    )


def _status(log: _Log) -> Status:
    """Reported live: `ended` alone does not say whether anybody answered; then it was billed."""
    if log.status == "ended":
        return Status.UNKNOWN if log.billing_ms is None else Status.COMPLETED
    return STATUSES.get(log.status or "", Status.UNKNOWN)


def with_events(call: Call, events: Sequence[_Event]) -> Call:
    """The call with the times that its events tell, and whether it was recorded."""
    times = {event.state: event.at for event in reversed(events) if event.at is not None}
    return call.model_copy(
        update={
            "answered_at": times.get("answered"),
            "ended_at": times.get("ended"),
            "has_recording": True if any(event.tells_recording for event in events) else None,
        }
    )
