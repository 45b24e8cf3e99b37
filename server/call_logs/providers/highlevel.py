"""HighLevel (LeadConnector) Voice AI: offset pages whose date filter, total and empty shape cannot be relied upon.

A list row is richer than the single call: only it has `transcriptWithToolCalls`. There is no direction, status, end
time or cost. `executedCallActions` carries the actions' configuration, credentials included: details are picked, never
copied. Facts and their evidence: the vendor's API 2021-04-15 as published, and captures of live answers.
"""

import base64
import binascii
import json
import re
from collections.abc import AsyncGenerator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, Field, ValidationError

from call_logs.errors import Rejected, UnexpectedPayload
from call_logs.model import TURNS, Action, ActionKind, Call, Scalar, Speaker, Status, Turn
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
    fields_at_fault,
    read_each,
)
from call_logs.providers._kept import fact, facts
from call_logs.providers._met import STALE_PAGES, Met, identity
from call_logs.providers._names import AgentNames

LOGS = "/voice-ai/dashboard/call-logs"
AGENTS = "/voice-ai/agents"
PAGE_SIZE = 50
"""The documented maximum."""

VERSION = "2021-04-15"
RATE = (9, 1.0)
"""Documented: 100 requests in 10 s and app. A burst of 9 and 9 a second stay below it in any 10 s."""

NO_SUCH_CALL = (HTTPStatus.BAD_REQUEST, HTTPStatus.NOT_FOUND, HTTPStatus.UNPROCESSABLE_ENTITY)
"""What an unknown id is answered with is not documented; none of these is retried."""

ACTION_KINDS = {
    "CALL_TRANSFER": ActionKind.TRANSFER,
    "SMS": ActionKind.MESSAGE,
    "DATA_EXTRACTION": ActionKind.EXTRACTION,
    "IN_CALL_DATA_EXTRACTION": ActionKind.EXTRACTION,
    "WORKFLOW_TRIGGER": ActionKind.WORKFLOW,
    "APPOINTMENT_BOOKING": ActionKind.APPOINTMENT,
    "CUSTOM_ACTION": ActionKind.CUSTOM,
    "KNOWLEDGE_BASE": ActionKind.KNOWLEDGE,
}
DETAILS: Mapping[str, Mapping[str, str]] = {
    "CALL_TRANSFER": {"transferToType": "to_type", "transferToValue": "to", "triggerMessage": "said"},
    "SMS": {"messageBody": "text", "triggerMessage": "said"},
    "DATA_EXTRACTION": {"contactFieldId": "field_id", "overwriteExistingValue": "overwrites"},
    "IN_CALL_DATA_EXTRACTION": {"contactFieldId": "field_id", "overwriteExistingValue": "overwrites"},
    "WORKFLOW_TRIGGER": {"workflowId": "workflow_id", "triggerMessage": "said"},
    "APPOINTMENT_BOOKING": {"calendarId": "calendar_id"},
    "CUSTOM_ACTION": {"triggerMessage": "said"},
    "KNOWLEDGE_BASE": {"knowledgeBaseId": "knowledge_base_id", "triggerMessage": "said"},
}
"""What of an action's parameters is kept, and under which name. `apiDetails` is in none of them."""

SPEAKERS = {"bot": Speaker.AGENT, "agent": Speaker.AGENT, "human": Speaker.CUSTOMER, "user": Speaker.CUSTOMER}
TOOL_KINDS = {"end_call": ActionKind.END, "transfer_call": ActionKind.TRANSFER}

CALL_ENDED = "VoiceAiCallEnd"
SIGNATURE = "x-ghl-signature"
"""Of the body as sent: Ed25519, base64. The older `x-wh-signature` was to end on 2026-07-01 and is not read."""

PUBLIC_KEY = "MCowBQYDK2VwAyEAi2HR1srL4o18O8BRa7gVJY7G7bupbN3H9AwJrHCDiOg="
"""The vendor's, of its Webhook Integration Guide: one for all apps, and public."""

_ED25519 = bytes.fromhex("302a300506032b6570032100")
"""What stands before the 32 bytes of such a key."""

_LINE = re.compile(r"(bot|human)\s*:\s?(.*)", re.IGNORECASE)


def _public_key(written: str) -> str:
    body = re.sub(r"-----(?:BEGIN|END) PUBLIC KEY-----|\\n|\s", "", written)
    try:
        key = base64.b64decode(body, validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not key.startswith(_ED25519) or len(key) != len(_ED25519) + 32:
        raise ValueError("must be an Ed25519 public key as the vendor's Webhook Integration Guide shows it")
    return body


class HighLevelSettings(WebhookSettings):
    """A sub-account (location) and its Private Integration Token with scope `voice-ai-dashboard.readonly`.

    `webhook_public_key` is for the day on which the vendor changes its own: base64, with or without the PEM lines.
    """

    token: Secret
    location_id: Identifier
    webhook_public_key: Annotated[str, AfterValidator(_public_key)] = PUBLIC_KEY


class _Action(Wire):
    action_id: str | None = Field(None, alias="actionId")
    kind: str | None = Field(None, alias="actionType")
    name: str | None = Field(None, alias="actionName")
    parameters: dict[str, Any] | None = Field(None, alias="actionParameters")
    executed_at: Annotated[Moment | None, OR_NONE] = Field(None, alias="executedAt")


_Offset = Annotated[float, Field(ge=0, le=1_000_000)]


class _Turn(Wire):
    role: str | None = None
    content: str | None = None
    start: Annotated[_Offset | None, OR_NONE] = Field(None, alias="startTime")
    tool_name: str | None = Field(None, alias="toolName")
    tool_type: str | None = Field(None, alias="toolType")


class _Log(Wire):
    id: RecordId
    created_at: Moment = Field(alias="createdAt")
    agent_id: str | None = Field(None, alias="agentId")
    duration: float | None = None
    trial: bool | None = Field(None, alias="trialCall")
    actions: list[_Action] | None = Field(None, alias="executedCallActions")
    summary: str | None = None
    transcript: str | None = None
    timed: Annotated[list[_Turn] | None, OR_NONE] = Field(None, alias="transcriptWithToolCalls")  # not documented
    from_number: str | None = Field(None, alias="fromNumber")
    extracted: dict[str, Any] | None = Field(None, alias="extractedData")


class _Event(Wire):
    kind: Annotated[str | None, OR_NONE] = Field(None, alias="type")
    location_id: Annotated[str | None, OR_NONE] = Field(None, alias="locationId")


class _Listing(Wire):
    total: Annotated[int | None, OR_NONE] = None
    page_size: Annotated[int | None, OR_NONE] = Field(None, alias="pageSize")

    def goes_on(self, rows: int, seen: int) -> bool:
        """Whether another page may follow: after a short one too, until the vendor's count says that all were seen.

        The count may be too high (it ignores filters), and pages smaller than was asked for.
        """
        full = rows >= min(PAGE_SIZE, self.page_size or PAGE_SIZE)
        return rows > 0 and (full or self.total is None or self.total > seen)


class _Logs(_Listing):
    logs: list[Any] = Field(alias="callLogs")


class _Agent(Wire):
    id: str
    name: str | None = Field(None, alias="agentName")


class _Agents(_Listing):
    agents: list[Any] = Field(default_factory=list[Any])


class HighLevel(Provider[HighLevelSettings]):
    """One HighLevel location."""

    slug: ClassVar = "highlevel"
    title: ClassVar = "HighLevel"
    origin: ClassVar = "https://services.leadconnectorhq.com"
    settings_type: ClassVar[type[Settings]] = HighLevelSettings
    gives: ClassVar = frozenset(FEATURES) & {"transcript", "offsets", "agent", "actions", "summary"}
    # Documented: nothing but a 429 is delivered again.
    webhook: ClassVar = Webhook(CALL_ENDED, SIGNATURE, HTTPStatus.TOO_MANY_REQUESTS)

    def __init__(self, account: str, settings: HighLevelSettings, names: Mapping[str, str] | None = None) -> None:
        """See `Provider`."""
        super().__init__(account, settings, names)
        self._names = AgentNames(self, self._agents)

    def connection(self) -> Connection:
        """Bearer token and the mandatory `Version` header."""
        return Connection(
            title=self.title,
            account=self.account,
            base_url=self.settings.base_url or self.origin,
            headers={"authorization": f"Bearer {self.settings.token.get_secret_value()}", "version": VERSION},
            rate=RATE,
            explain=self._advice,
        )

    async def check(self) -> None:
        """One page of one call."""
        await self.api.get(LOGS, _Logs, self._params(page=1, page_size=1))

    async def calls(
        self, since: datetime, until: datetime | None = None, resume: str | None = None
    ) -> AsyncGenerator[Page]:
        """Pages of 50. Date filters are sent but not believed: reported live as ignored, so rows are compared again."""
        place = _Place.read(resume, since) or _Place.first(since, until)
        known = place
        met = Met()
        more = True
        while more:
            answer = await self.api.get(LOGS, _Logs, self._params(place.page, PAGE_SIZE, place))
            names = await self._names.known()
            logs, unreadable = read_each(_Log, answer.logs)
            new = met.rows(answer.logs, logs, lambda log: (log.id, log.created_at))
            if answer.logs and met.stale >= STALE_PAGES:
                raise UnexpectedPayload(
                    f"{self.account} ({self.title}) gave the same page again and again.",
                    "The pass stopped there and is tried again later; report it if it stays.",
                )
            moved = met.fewer(answer.total)
            more = moved or (not met.past(since) and answer.goes_on(len(answer.logs), len(met.ids)))
            place = place.before() if moved else place.after()
            # A page that comes again and again may hide those behind it: the next reading begins there.
            known = place if moved or met.fresh else known
            yield Page(
                tuple(self._call(log, names) for log in new if log.created_at >= since and _before(log, until)),
                reached=met.reached(until) if more else since,
                resume=known.written() if more else None,
                unreadable=tuple(unreadable),
            )

    async def get(self, vendor_call_id: str) -> Call | None:
        """The single call. Poorer than its list row, so it never replaces one (`model.merged`)."""
        try:
            log = await self.api.get(
                f"{LOGS}/{{id}}", _Log, {"locationId": self.settings.location_id}, id=vendor_call_id
            )
        except Rejected as error:
            if error.http_status in NO_SUCH_CALL:
                return None
            raise
        except UnexpectedPayload as error:
            if error.fields == ("the whole",):  # `null`: one of the answers reported for an unknown id
                return None
            raise
        return self._call(log, await self._names.known())

    @classmethod
    def signed(cls, delivery: Delivery, settings: HighLevelSettings) -> bool:
        """Every delivery is signed with the vendor's one key."""
        from cryptography.exceptions import InvalidSignature  # noqa: PLC0415 - a start over stdio needs none of it
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey  # noqa: PLC0415 - as above

        key = base64.b64decode(settings.webhook_public_key)[len(_ED25519) :]
        try:
            signature = base64.b64decode(delivery.headers.get(SIGNATURE, ""), validate=True)
            Ed25519PublicKey.from_public_bytes(key).verify(signature, delivery.body)
        except (ValueError, InvalidSignature):
            return False
        return True

    @classmethod
    def read_webhook(cls, payload: Any, account: str, settings: HighLevelSettings) -> Told | None:
        """A call that has ended: a row without its timed transcript. An app posts the events of all its locations."""
        try:
            event = _Event.model_validate(payload)
            if event.kind != CALL_ENDED or event.location_id != settings.location_id:
                return None
            return Told(to_call(_Log.model_validate(payload), account, None))
        except ValidationError as error:
            fields = fields_at_fault(error)
        raise UnexpectedPayload(
            f"{account} (HighLevel) was posted something that is no {CALL_ENDED}: {', '.join(fields[:5])}.",
            "Subscribe the address to that event only; report it if it stays.",
            fields=fields,
        )

    def _params(self, page: int, page_size: int, place: "_Place | None" = None) -> dict[str, str | int]:
        params: dict[str, str | int] = {
            "locationId": self.settings.location_id,
            "page": page,
            "pageSize": page_size,
        }
        if place is not None:
            params |= {"startDate": place.start_ms, "endDate": place.end_ms}
        return params

    async def _agents(self) -> AsyncGenerator[Mapping[str, str | None]]:
        """Agent ids to names, by page. Needs the scope `voice-ai-agents.readonly`; without it calls show agent ids."""
        seen: set[str] = set()
        page = 1
        while True:
            answer = await self.api.get(AGENTS, _Agents, self._params(page, PAGE_SIZE))
            agents, _ = read_each(_Agent, answer.agents)
            new = {identity(agent) for agent in answer.agents} - seen
            seen |= new
            yield {agent.id: agent.name for agent in agents if agent.name}
            if not new or not answer.goes_on(len(answer.agents), len(seen)):
                return
            page += 1

    def _call(self, log: _Log, names: Mapping[str, str | None]) -> Call:
        return to_call(log, self.account, names.get(log.agent_id or ""))

    def _advice(self, status: int, words: str) -> str | None:
        """What to fix, from the vendor's words (reported live) for 400, 401 and 403."""
        token, location = self.name_of("token"), self.name_of("location_id")
        if "user type" in words or "authclass" in words:
            return f"{token} must hold a sub-account (location) token, not an agency one; replace it, then restart."
        if "version" in words:
            return "The vendor no longer knows the API version that this program asks for; update call-logs-mcp."
        if "scope" in words:
            return f"Give the token in {token} the scope voice-ai-dashboard.readonly, then restart."
        if "access to this location" in words or (status == HTTPStatus.BAD_REQUEST and "location" in words):
            return (
                f"The token in {token} belongs to another location than {location}; set them as a pair, then restart."
            )
        if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
            return f"Check {token} and {location} (a Private Integration Token of that location), then restart."
        return None


class _Place:
    """A page of one fixed query, so that a resumed reading means the same page."""

    def __init__(self, page: int, start_ms: int, end_ms: int) -> None:
        self.page, self.start_ms, self.end_ms = page, start_ms, end_ms

    @classmethod
    def first(cls, since: datetime, until: datetime | None) -> "_Place":
        """A day wider on both sides: the zone in which the vendor reads dates is not documented."""
        day = timedelta(days=1)
        return cls(1, _ms(since - day), _ms((until or datetime.now(UTC)) + day))

    @classmethod
    def read(cls, resume: str | None, since: datetime) -> "_Place | None":
        """One page before the one written: calls deleted meanwhile have moved the rest forward.

        None where it cannot be gone on from: it was written in another form, or for a window that begins later.
        """
        try:
            page, start_ms, end_ms = map(int, json.loads(resume or "[]"))
        except (TypeError, ValueError, OverflowError):
            return None
        return cls(page, start_ms, end_ms).before() if start_ms <= _ms(since) else None

    def before(self) -> "_Place":
        return _Place(max(1, self.page - 1), self.start_ms, self.end_ms)

    def after(self) -> "_Place":
        return _Place(self.page + 1, self.start_ms, self.end_ms)

    def written(self) -> str:
        return json.dumps([self.page, self.start_ms, self.end_ms])


def _ms(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)


def _before(log: _Log, until: datetime | None) -> bool:
    return until is None or log.created_at < until


def to_call(log: _Log, account: str, agent_name: str | None) -> Call:
    """A row as a call. `createdAt` is taken as its start; the vendor does not say which of the two it is."""
    timed = [turn for turn in log.timed or () if turn.role in SPEAKERS and (turn.content or "").strip()]
    turns = _timed_turns(timed) if timed else _packed_turns(log.transcript or "")
    duration = log.duration if log.duration is not None and log.duration >= 0 else None
    return Call(
        account=account,
        provider=HighLevel.slug,
        vendor_call_id=log.id,
        status=Status.COMPLETED if duration or turns else Status.UNKNOWN,
        from_number=e164(log.from_number),
        started_at=log.created_at,
        duration_seconds=duration,
        agent_id=log.agent_id,
        agent_name=agent_name,
        is_test=bool(log.trial),
        summary=(log.summary or "").strip() or None,
        extracted=facts(log.extracted or {}),
        turns=turns,
        actions=_actions(log, turns),
    )


def _timed_turns(timed: Sequence[_Turn]) -> tuple[Turn, ...]:
    return TURNS.validate_python(
        [
            {
                "n": n,
                "speaker": SPEAKERS[turn.role or ""],
                "text": (turn.content or "").strip(),
                "offset_seconds": turn.start,
            }
            for n, turn in enumerate(timed, 1)
        ]
    )


def _packed_turns(transcript: str) -> tuple[Turn, ...]:
    """The turns of `bot:… human:…` lines; a line without a speaker goes on with the turn before."""
    spoken: list[tuple[Speaker, str]] = []
    for line in transcript.split("\n"):
        if begun := _LINE.fullmatch(line.strip()):
            spoken.append((SPEAKERS[begun[1].lower()], begun[2].strip()))
        elif line.strip():
            speaker, text = spoken.pop() if spoken else (Speaker.UNKNOWN, "")
            spoken.append((speaker, f"{text}\n{line.strip()}".strip()))
    return tuple(
        Turn(n=n, speaker=speaker, text=text, parsed=True) for n, (speaker, text) in enumerate(filter(_said, spoken), 1)
    )


def _said(turn: tuple[Speaker, str]) -> bool:
    return bool(turn[1])


def _actions(log: _Log, turns: tuple[Turn, ...]) -> tuple[Action, ...]:
    """The executed actions, then what only the timed transcript shows (the agent hanging up)."""
    executed = [_action(action) for action in log.actions or ()]
    kinds = {action.kind for action in executed}
    for event in log.timed or ():
        kind = TOOL_KINDS.get(event.tool_type or "")
        if kind is None or kind in kinds or event.start is None:
            continue
        spoken = [turn.n for turn in turns if turn.offset_seconds is not None and turn.offset_seconds <= event.start]
        executed.append(
            Action(
                kind=kind,
                vendor_kind=event.tool_type or "",
                name=event.tool_name or event.tool_type or "",
                executed_at=log.created_at + timedelta(seconds=event.start),
                turn=spoken[-1] if spoken else None,
            )
        )
    return tuple(
        sorted(executed, key=lambda action: (action.executed_at is None, action.executed_at or log.created_at))
    )


def _action(action: _Action) -> Action:
    kind = action.kind or "unknown"
    return Action(
        kind=ACTION_KINDS.get(kind, ActionKind.OTHER),
        vendor_kind=kind,
        name=action.name or kind,
        executed_at=action.executed_at,
        details=_details(action.parameters or {}, DETAILS.get(kind, {})),
    )


def _details(parameters: Mapping[str, Any], allowed: Mapping[str, str]) -> dict[str, Scalar]:
    return {
        name: value for vendor_name, name in allowed.items() if (value := fact(parameters.get(vendor_name))) is not None
    }
