"""A stand-in of Vyom's API: its key check, its assistants, its two lists of calls, its refusals.

Follows the documentation and the server's source: parameters that are not known are ignored, a wrong path is answered
without the envelope, and deleted assistants' calls are in the list of all calls only.
"""

import math
import re
import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any, TypeVar
from uuid import NAMESPACE_DNS, uuid5

from pydantic import BaseModel, Field, ValidationError
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from call_logs.sandbox import Kept, StandIn
from call_logs.sandbox.business import AGENTS, NAME, Agent, PhoneCall

API_KEY = "lvk_demo-key-opens-nothing"
OWNER = "owner@lakeside-dental.example"
LARGEST_PAGE = 100
WORDS = {"queued": "initiated", "ringing": "initiated", "in_progress": "answered", "canceled": "cancelled"}
"""The vendor's words for our states, where they differ; for a failed call see `_status`."""

SIP_WORDS = {
    404: "Not Found",
    480: "Temporarily Unavailable",
    486: "Busy Here",
    487: "Request Terminated",
    500: "Internal Server Error",
    603: "Decline",
}
TIMED_OUT = "SIP call setup timed out"
HIDDEN = re.compile(r"[A-Za-z0-9_-]{32,}")

Row = Mapping[str, Any]


def stand_in(calls: Sequence[PhoneCall]) -> StandIn:
    """The API with the business's own assistants."""
    assistants = [assistant(one) for one in AGENTS.values() if not one.is_deleted]
    app = application(tuple(call_log(call) for call in calls), assistants, api_key=API_KEY)
    return StandIn(app, {"api_key": API_KEY})


# What the API shows of the business


def assistant_id(one: Agent) -> str:
    """A UUID, the same one for the same agent."""
    return str(uuid5(NAMESPACE_DNS, f"{one.name}.lakeside-dental.example"))


def room_name(call: PhoneCall) -> str:
    """The id of a call."""
    return f"{assistant_id(call.agent)}_{_hex('room', call.key)[:8]}"


def call_log(call: PhoneCall) -> dict[str, Any]:
    """A call as a row of either list."""
    told = call.story
    on_phone = call.customer is not None and told.direction != "web"
    connected = told.status in ("completed", "in_progress")
    is_open = told.status in ("queued", "ringing", "in_progress")
    picked_up = call.started_at + timedelta(seconds=told.ringing_seconds)
    talked = told.duration_seconds if connected else 0
    return {
        "room_name": room_name(call),
        "queue_id": _hex("queue", call.key)[:32] if told.direction == "outbound" else None,
        "assistant_id": assistant_id(call.agent),
        "assistant_name": call.agent.name,
        "is_passthrough": False,
        "to_number": call.customer.number if on_phone and call.customer else "Web Call",
        "call_status": _status(call),
        "call_status_reason": None if connected else told.end,
        "sip_status_code": told.sip,
        "sip_status_text": "SIP timeout" if told.end == TIMED_OUT else SIP_WORDS.get(told.sip or 0),
        "answered_at": _iso(picked_up) if connected and on_phone else None,
        "agent_ready_at": _iso(picked_up + timedelta(seconds=0.4)) if connected else None,
        "call_end_reason": told.end if connected else None,
        "recording_path": _recording(call, picked_up) if connected and on_phone else None,
        "recording_egress_id": f"EG_{_hex('egress', call.key)[:12]}" if connected and on_phone else None,
        "transcripts": [
            {
                "speaker": "agent" if turn.speaker == "agent" else "user",
                "text": turn.text,
                "timestamp": _iso(picked_up + timedelta(seconds=turn.offset_seconds)),
            }
            for turn in told.spoken
        ],
        "started_at": _iso(call.started_at),
        "ended_at": None if is_open else _iso(picked_up + timedelta(seconds=talked)),
        "call_duration_minutes": None if is_open else talked / 60,
        "billable_duration_minutes": None if is_open else math.ceil(talked / 60),
        "created_by_email": OWNER,
        "call_type": told.direction,
        "call_service": "twilio" if on_phone else "web",
        "platform_number": call.agent.number if on_phone else None,
    }


def assistant(one: Agent) -> dict[str, Any]:
    """An agent as the list of assistants has it."""
    return {
        "assistant_id": assistant_id(one),
        "assistant_name": one.name,
        "assistant_mode": "pipeline",
        "assistant_tts_model": "cartesia",
        "assistant_tts_config": {"voice_id": _hex("voice", one.name)[:12], "api_key": "sk-t...5678"},
        "assistant_stt_model": "deepgram",
        "assistant_stt_config": {"language": one.language, "api_key": "Using System provided API Key"},
        "assistant_interaction_config": {"speaks_first": True, "filler_words": False, "silence_reprompts": False},
        "assistant_created_by_email": OWNER,
    }


def _status(call: PhoneCall) -> str:
    """The vendor has three words for a call that failed."""
    told = call.story
    if told.status == "failed":
        return "timeout" if told.end == TIMED_OUT else "unreachable" if told.sip == 404 else "failed"
    return WORDS.get(told.status, told.status)


def _recording(call: PhoneCall, began: datetime) -> str:
    folder = f"lvk_call_recordings/{began:%Y/%m/%d}/{assistant_id(call.agent)}"
    return f"https://demo-bucket.s3.us-west-2.amazonaws.com/{folder}/{began:%Y%m%d_%H%M%S}.ogg"


def _hex(*parts: str) -> str:
    return sha256("/".join((NAME, *parts)).encode()).hexdigest()


def _iso(moment: datetime) -> str:
    """Whole seconds without a fraction, all others with six digits."""
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


# How the API answers


class Refused(Exception):
    """An answer other than 200, in the envelope."""

    def __init__(self, status: int, message: str, data: Mapping[str, Any] | None = None) -> None:
        super().__init__(status)
        self.status = status
        self.content = {"success": False, "message": HIDDEN.sub("****", message), "data": dict(data or {})}


class Query(BaseModel):
    """The parameters of a list. Those of another list are ignored, like all that are not known."""

    page: int = Field(1, ge=1)
    limit: int = Field(10, ge=1, le=LARGEST_PAGE)
    start_date: datetime | None = None
    end_date: datetime | None = None
    sort_by: str = "started_at"
    sort_order: str = "desc"


class RecordsQuery(Query):
    """The parameters of the list of all calls."""

    passthrough_only: bool = False
    to_number: str | None = None
    call_status: str | None = None


class AssistantsQuery(Query):
    """The parameters of the list of assistants. The name is a regular expression, whatever is asked."""

    sort_by: str = "assistant_created_at"
    assistant_name: str | None = None


Q = TypeVar("Q", bound=Query)
Answer = Callable[[Request], Awaitable[Response]]


def application(
    records: Sequence[Row], assistants: Sequence[Row], *, api_key: str, has_records: bool = True
) -> Starlette:
    """The API for one key. Looks at its rows anew for every request, so that a test may change them (see `Kept`).

    Without `has_records` it is an older deployment, which knows each assistant's list only.
    """

    kept = Kept(records)

    async def check_key(_: Request) -> Response:
        owner = {
            "user_name": "Lakeside Owner",
            "org_name": NAME,
            "user_email": OWNER,
            "created_at": "2026-03-30T10:00:00Z",
        }
        return _enveloped("API key is valid", owner)

    async def all_assistants(request: Request) -> Response:
        asked = _asked(AssistantsQuery, request)
        pattern = re.compile(asked.assistant_name or "", re.IGNORECASE)
        found = [row for row in assistants if pattern.search(row["assistant_name"])]
        return _enveloped("Assistants retrieved successfully", _paged(found, asked, "assistants"))

    async def call_logs(request: Request) -> Response:
        asked = _asked(Query, request)
        wanted = request.path_params["assistant_id"]
        if wanted not in {row["assistant_id"] for row in assistants}:
            raise Refused(404, "Assistant not found")

        def chosen() -> list[Row]:
            return _sorted([row for row in records if row.get("assistant_id") == wanted and _within(row, asked)], asked)

        found = kept.of((wanted, _but_its_page(asked)), chosen)
        return _enveloped("Call logs retrieved successfully", _paged(found, asked, "logs"))

    async def call_records(request: Request) -> Response:
        asked = _asked(RecordsQuery, request)

        def chosen() -> list[Row]:
            found = [
                row
                for row in records
                if _within(row, asked)
                and (row.get("is_passthrough") or not asked.passthrough_only)
                and asked.to_number in (None, "", row.get("to_number"))
                and asked.call_status in (None, "", row.get("call_status"))
            ]
            return _sorted(found, asked)

        found = kept.of(("records", _but_its_page(asked)), chosen)
        return _enveloped("Call records fetched successfully", _paged(found, asked, "records"))

    answers: dict[str, Answer] = {
        "/auth/check-key": check_key,
        "/assistant/list": all_assistants,
        "/assistant/call-logs/{assistant_id}": call_logs,
    }
    if has_records:
        answers["/call/records"] = call_records
    return Starlette(
        routes=[Route(path, _guarded(answer, api_key), methods=["GET"]) for path, answer in answers.items()],
        exception_handlers={HTTPException: _unknown_route},
    )


def _guarded(answer: Answer, api_key: str) -> Answer:
    """The answer, for those who have the key. Who has not is refused before the query is looked at."""

    async def guarded(request: Request) -> Response:
        try:
            _authorize(request, api_key)
            return await answer(request)
        except Refused as refused:
            return JSONResponse(refused.content, refused.status)

    return guarded


def _authorize(request: Request, api_key: str) -> None:
    scheme, _, given = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not given:
        raise Refused(401, "Not authenticated")
    if not secrets.compare_digest(given.encode(), api_key.encode()):
        raise Refused(401, "Invalid or inactive API key")


async def _unknown_route(_: Request, error: Exception) -> Response:
    """Without the envelope: the framework answers, not the application."""
    status = error.status_code if isinstance(error, HTTPException) else 500
    return JSONResponse({"detail": {404: "Not Found", 405: "Method Not Allowed"}.get(status, "Error")}, status)


def _enveloped(message: str, data: Mapping[str, Any]) -> Response:
    return JSONResponse({"success": True, "message": message, "data": dict(data)})


def _asked(model: type[Q], request: Request) -> Q:
    try:
        return model.model_validate(dict(request.query_params))
    except ValidationError as invalid:
        issues = invalid.errors(include_url=False)
        told = "; ".join(f"{'.'.join(map(str, ('query', *issue['loc'])))}: {issue['msg']}" for issue in issues)
        errors = [{**issue, "loc": ["query", *issue["loc"]]} for issue in issues]
        raise Refused(422, f"Validation Error: {told}", {"errors": errors}) from None


def _but_its_page(asked: Query) -> str:
    return asked.model_dump_json(exclude={"page", "limit"})


def _within(row: Row, asked: Query) -> bool:
    """Both bounds are inclusive; a date without a zone is UTC."""
    began = _moment(row["started_at"])
    return (asked.start_date is None or began >= _utc(asked.start_date)) and (
        asked.end_date is None or began <= _utc(asked.end_date)
    )


def _sorted(rows: Sequence[Row], asked: Query) -> list[Row]:
    """By any field: one that nobody has leaves the order as it was. What is not `desc` is ascending."""

    def key(row: Row) -> tuple[bool, Any]:
        value = row.get(asked.sort_by)
        if value is None or isinstance(value, list | dict):
            return (False, 0)
        return (True, _moment(value) if asked.sort_by.endswith("_at") else value)

    return sorted(rows, key=key, reverse=asked.sort_order == "desc")


def _paged(rows: Sequence[Row], asked: Query, name: str) -> dict[str, Any]:
    start = (asked.page - 1) * asked.limit
    return {
        name: [dict(row) for row in rows[start : start + asked.limit]],
        "pagination": {
            "total": len(rows),
            "page": asked.page,
            "limit": asked.limit,
            "total_pages": math.ceil(len(rows) / asked.limit),
        },
    }


def _moment(text: str) -> datetime:
    return _utc(datetime.fromisoformat(text))


def _utc(moment: datetime) -> datetime:
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
