"""A stand-in of Bimpe AI's console API: its agents, an agent's calls, one call with its words, its refusals.

Follows the published reference and the vendor's SDK: either header carries the key, list rows lack the times and the
messages of a single call, `meta` counts pages. Nobody documented what an unknown parameter or sort field is answered
with; both are refused here, so that nothing relies on one.
"""

import secrets
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime, timedelta
from hashlib import sha256
from time import monotonic, time
from typing import Any
from uuid import UUID, uuid4

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from call_logs.sandbox import Kept, StandIn
from call_logs.sandbox.business import ACTIONS, AGENTS, NAME, Agent, PhoneCall

API_KEY = "sk_demo_not_a_secret"
PREFIX = "/api/v1/console"
DEFAULT_PAGE = 20
LARGEST_PAGE = 100
PER_MINUTE = 600
MINUTE_SECONDS = 60.0
STATUSES = {
    "queued": "queued",
    "ringing": "ringing",
    "in_progress": "answered",
    "completed": "ended",
    "busy": "busy",
    "failed": "failed",
    "canceled": "cancelled",
}
"""Ours to the vendor's."""

ONLY_IN_A_SINGLE_CALL = ("started_at", "answered_at", "conversation_logs")
LONGEST = {"search": 255, "sort": 64}
AGENT_PARAMETERS = ("page", "limit", "search", "sort")
CALL_PARAMETERS = (*AGENT_PARAMETERS, "is_test_call", "status")
SORTS = {"agents": ("created_at", "name"), "calls": ("created_on",)}

Row = Mapping[str, Any]


def stand_in(calls: Sequence[PhoneCall]) -> StandIn:
    """The API with the business's own team."""
    agents = [agent(one) for one in AGENTS.values() if not one.is_deleted]
    logs = {row["id"]: tuple(call_log(call) for call in calls if agent_id(call.agent) == row["id"]) for row in agents}
    return StandIn(application(logs, agents, api_key=API_KEY), {"api_key": API_KEY})


# What the API shows of the business


def call_log(call: PhoneCall) -> dict[str, Any]:
    """A call as the single read has it; a list row is without `ONLY_IN_A_SINGLE_CALL`.

    A test is dialled from no number of the business. `duration_seconds` counts from the answer.
    """
    told = call.story
    is_answered = told.status in ("completed", "in_progress")
    is_over = told.status not in ("queued", "ringing", "in_progress")
    picked_up = call.started_at + timedelta(seconds=told.ringing_seconds)
    ended_at = picked_up + timedelta(seconds=told.duration_seconds if is_answered else 0)
    customer = call.customer.number if call.customer else None
    outbound = told.direction == "outbound"
    reason = told.end or ("completed" if told.status == "completed" else None)
    return {
        "id": _id("call", call.key),
        "source": customer if not outbound else None if told.is_test else call.agent.number,
        "destination": customer if outbound else call.agent.number,
        "status": STATUSES[told.status],
        "direction": told.direction,
        "created_on": _iso(call.started_at),
        "duration_seconds": told.duration_seconds if is_answered and is_over else None,
        "is_test_call": told.is_test,
        "error_reason": reason if told.status == "failed" else None,
        "end_reason": reason if told.status != "failed" else None,
        "ringing_at": _iso(call.started_at) if told.ringing_seconds or told.status == "ringing" else None,
        "ended_at": _iso(ended_at) if is_over else None,
        "started_at": _iso(call.started_at) if told.status != "queued" else None,
        "answered_at": _iso(picked_up) if is_answered else None,
        "conversation_logs": _messages(call, picked_up),
    }


def _messages(call: PhoneCall, picked_up: datetime) -> list[dict[str, Any]]:
    """What was said, and what was sent: a message of the agent without words, with a picture behind a signed link."""
    said = [
        (turn.offset_seconds, "assistant" if turn.speaker == "agent" else "user", turn.text)
        for turn in call.story.spoken
    ]
    sent = [
        (done.offset_seconds, "assistant", None)
        for done in call.story.executed
        if done.action in ACTIONS and ACTIONS[done.action].kind == "message"
    ]
    link = "https://cdn.example.com/sent.png?signature=sandbox-secret-in-attachment"
    return [
        {
            "id": _id("message", call.key, str(n)),
            "role": role,
            "message": text,
            "message_type": "text" if text else None,
            "created_at": _iso(picked_up + timedelta(seconds=offset)),
            "attachments": [] if text else [{"type": "image", "url": link}],
        }
        for n, (offset, role, text) in enumerate(sorted([*said, *sent], key=lambda one: one[0]))
    ]


def agent(one: Agent) -> dict[str, Any]:
    """An agent as the list of agents has it, with the addresses and the code that nobody else should read."""
    return {
        "id": agent_id(one),
        "name": one.name,
        "description": one.greeting,
        "language": one.language,
        "persona": "friendly",
        "workflow_id": _id("workflow", one.name),
        "timezone": "America/Los_Angeles",
        "logo": None,
        "business_name": NAME,
        "business_address": None,
        "business_email": "sandbox-secret-owner@example.com",
        "business_description": f"{NAME}, a clinic group",
        "test_channel_code": "sandbox-secret-channel-code",
        "status": "live",
        "status_reason": None,
        "escalation_email": "sandbox-secret-escalation@example.com",
        "created_at": "2026-01-05T09:00:00.000Z",
        "updated_at": "2026-01-05T09:00:00.000Z",
    }


def agent_id(one: Agent) -> str:
    """The id under which the API knows an agent."""
    return _id("agent", one.name)


def _id(*parts: str) -> str:
    """A UUID, the same one for the same parts."""
    return str(UUID(bytes=sha256("/".join(("bimpe", *parts)).encode()).digest()[:16], version=4))


def _iso(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


# How the API answers


class Refused(Exception):
    """An answer other than 200: in the shape of the reference, or of the guide where `errors` say what is wrong."""

    def __init__(self, status: int, code: str, message: str, errors: Sequence[Mapping[str, str]] = ()) -> None:
        super().__init__(status)
        self.status, self.code, self.message, self.errors = status, code, message, errors

    def body(self, request_id: str) -> dict[str, Any]:
        """What is sent."""
        if self.errors:
            return {"code": self.code, "message": self.message, "errors": list(self.errors)}
        phrases = {401: "Unauthorized", 403: "Forbidden", 404: "Not Found"}
        return {
            "message": self.message,
            "error": phrases[self.status],
            "code": self.code,
            "statusCode": self.status,
            "request_id": request_id,
        }


def application(logs: Mapping[str, Sequence[Row]], agents: Sequence[Row], *, api_key: str) -> Starlette:
    """The API for one team. `logs` are the calls of each agent, as single reads have them.

    Looks at both anew for every request, so that a test may add to them (see `Kept`).
    """
    kept = Kept(*logs.values())

    async def all_agents(request: Request) -> Response:
        asked = _asked(request, api_key, AGENT_PARAMETERS, SORTS["agents"])
        named = [row for row in agents if asked.get("search", "").lower() in row["name"].lower()]
        return _listing(_sorted(named, asked), asked)

    async def calls(request: Request) -> Response:
        asked = _asked(request, api_key, CALL_PARAMETERS, SORTS["calls"])
        mine = _of(logs, request)
        wanted = frozenset((name, value) for name, value in asked.items() if name not in ("page", "limit"))
        found = kept.of(
            (request.path_params["agent_id"], wanted),
            lambda: _sorted([row for row in mine if _matches(row, asked)], asked),
        )
        return _listing(found, asked, ONLY_IN_A_SINGLE_CALL)

    async def one_call(request: Request) -> Response:
        _asked(request, api_key, (), ())
        mine = _of(logs, request)
        rows = kept.of(request.path_params["agent_id"], lambda: {row["id"]: row for row in reversed(mine)})
        if request.path_params["call_id"] not in rows:
            raise Refused(404, "not_found", "Call not found")
        return JSONResponse({"message": "Success", "data": dict(rows[request.path_params["call_id"]])})

    metered = _metered()
    return Starlette(
        routes=[
            Route(f"{PREFIX}/agents", metered(all_agents), methods=["GET"]),
            Route(f"{PREFIX}/agents/{{agent_id}}/calls", metered(calls), methods=["GET"]),
            Route(f"{PREFIX}/agents/{{agent_id}}/calls/{{call_id}}", metered(one_call), methods=["GET"]),
        ]
    )


Answer = Callable[[Request], Awaitable[Response]]


def _metered() -> Callable[[Answer], Answer]:
    """Counts requests into the documented headers and words the refusals. It refuses nobody for asking often: the
    vendor's limit is not published, the one told here is made up."""
    recent: deque[float] = deque()

    def metered(answer: Answer) -> Answer:
        async def answered(request: Request) -> Response:
            now = monotonic()
            recent.append(now)
            while recent[0] < now - MINUTE_SECONDS:
                recent.popleft()
            request_id = request.headers.get("x-request-id") or str(uuid4())
            try:
                response = await answer(request)
            except Refused as refused:
                response = JSONResponse(refused.body(request_id), refused.status)
            response.headers["X-Request-Id"] = request_id
            response.headers["X-RateLimit-Limit"] = str(PER_MINUTE)
            response.headers["X-RateLimit-Remaining"] = str(max(PER_MINUTE - len(recent), 0))
            response.headers["X-RateLimit-Reset"] = str(int(time() + recent[0] + MINUTE_SECONDS - now))
            return response

        return answered

    return metered


def _asked(request: Request, api_key: str, known: Sequence[str], sorts: Sequence[str]) -> dict[str, str]:
    """The query of an authorized, well-formed request."""
    scheme, _, bearer = request.headers.get("authorization", "").partition(" ")
    given = bearer if scheme.lower() == "bearer" and bearer else request.headers.get("x-api-key", "")
    if not given:
        raise Refused(401, "api_key_missing", "API key is missing.")
    if not secrets.compare_digest(given.encode(), api_key.encode()):
        raise Refused(401, "api_key_invalid", "Invalid API key.")
    asked = dict(request.query_params)
    if wrong := list(_wrong(asked, known, sorts)):
        raise Refused(400, "validation_error", "Request validation failed.", wrong)
    return asked


def _wrong(asked: Mapping[str, str], known: Sequence[str], sorts: Sequence[str]) -> list[dict[str, str]]:
    found = {name: "should not exist" for name in asked if name not in known}
    for name, largest in (("page", None), ("limit", LARGEST_PAGE)):
        text = asked.get(name, "1")
        if not (text.isascii() and text.isdigit() and len(text) <= 9):
            found[name] = "must be an integer number"
        elif int(text) < 1:
            found[name] = "must not be less than 1"
        elif largest and int(text) > largest:
            found[name] = f"must not be greater than {largest}"
    for name, longest in LONGEST.items():
        if len(asked.get(name, "")) > longest:
            found[name] = f"must be shorter than or equal to {longest} characters"
    if "sort" in asked and asked["sort"].removeprefix("-") not in sorts:
        found["sort"] = f"must be one of {', '.join(sorts)}"
    if asked.get("is_test_call", "true") not in ("true", "false"):
        found["is_test_call"] = "must be a boolean value"
    if asked.get("status", "ended") not in STATUSES.values():
        found["status"] = f"must be one of the following values: {', '.join(STATUSES.values())}"
    return [{"path": name, "message": message} for name, message in found.items()]


def _of(logs: Mapping[str, Sequence[Row]], request: Request) -> Sequence[Row]:
    found = logs.get(request.path_params["agent_id"])
    if found is None:
        raise Refused(404, "not_found", "Agent not found")
    return found


def _matches(row: Row, asked: Mapping[str, str]) -> bool:
    return (
        asked.get("status") in (None, row["status"])
        and ("is_test_call" not in asked or (asked["is_test_call"] == "true") == row["is_test_call"])
        and any(asked.get("search", "") in str(row[name] or "") for name in ("source", "destination"))
    )


def _sorted(rows: Sequence[Row], asked: Mapping[str, str]) -> Sequence[Row]:
    """In the order asked for; else in that of the rows, as no default is documented."""
    by = asked.get("sort", "")
    name = by.removeprefix("-")
    return sorted(rows, key=lambda row: row[name], reverse=by.startswith("-")) if by else rows


def _listing(rows: Sequence[Row], asked: Mapping[str, str], without: Sequence[str] = ()) -> Response:
    """A page of them."""
    page, limit = int(asked.get("page", "1")), int(asked.get("limit", DEFAULT_PAGE))
    pages = -(-len(rows) // limit)
    meta = {
        "total_count": len(rows),
        "page_count": pages,
        "current_page": page,
        "limit": limit,
        "has_next_page": page < pages,
        "has_previous_page": page > 1,
    }
    shown = [
        {name: value for name, value in row.items() if name not in without}
        for row in rows[(page - 1) * limit : page * limit]
    ]
    return JSONResponse({"message": "Success", "data": shown, "meta": meta})
