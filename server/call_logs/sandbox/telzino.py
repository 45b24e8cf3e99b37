"""A stand-in of Telzino's API: its token, its agents, their call logs and outbound calls, its refusals.

Follows the published reference: JSON for the token, two lists an agent, `data` and `pagination`, signed recording
links, two ways to write a time. Made up are the bodies of refusals, the order of call logs and the wording of system
entries: the reference shows none of them.
"""

import json
import secrets
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Any, cast
from uuid import NAMESPACE_URL, uuid4, uuid5

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from call_logs.sandbox import Kept, StandIn
from call_logs.sandbox.business import ACTIONS, AGENTS, NAME, Agent, PhoneCall
from call_logs.sandbox.story import HANGS_UP, Executed

AUDIENCE = "https://api.telzino.com/"
TOKEN_SECONDS = 86_400
LARGEST_PAGE = 100
USUAL_PAGE = 50
CLIENT_ID = "demo-client-opens-nothing"
CLIENT_SECRET = "demo-client-secret-opens-nothing"
UNREPORTED = ("knowledge", "extraction", "in_call_extraction")
"""Kinds of actions for which the reference knows no system entry."""

Row = Mapping[str, Any]


def stand_in(calls: Sequence[PhoneCall]) -> StandIn:
    """The API with the business's own client."""
    app = application(
        tuple(log for call in calls if (log := call_log(call))),
        tuple(record for call in calls if (record := outbound_call(call))),
        [agent(one) for one in AGENTS.values() if not one.is_deleted],
        client_id=CLIENT_ID,
        client_secret=CLIENT_SECRET,
    )
    return StandIn(app, {"client_id": CLIENT_ID, "client_secret": CLIENT_SECRET})


# What the API shows of the business


def call_log(call: PhoneCall) -> dict[str, Any] | None:
    """A call that was answered and has ended as its log; its time begins with the first word."""
    told = call.story
    if told.status != "completed":
        return None
    began = answered_at(call)
    ended = began + timedelta(seconds=told.duration_seconds)
    agent_id, log_id = uid("agent", call.agent.name), uid("log", call.key)
    room = f"sipRoom-_{agent_id}_{int(began.timestamp())}"
    if told.direction == "outbound":
        room = f"agent-{agent_id}-out-{uid('outbound', call.key)}"
    entries = sorted(_entries(call), key=lambda entry: entry["timestamp"])
    final = [entry for entry in entries if not entry["is_partial"]]
    session = {
        "room_name": room,
        "agent_id": agent_id,
        "total_entries": len(entries),
        "final_entries": len(final),
    }
    if call.customer:
        session["caller_id"] = call.customer.number
    return {
        "id": log_id,
        "agent_id": agent_id,
        "room_name": room,
        "transcript_text": "\n".join(
            f"[{entry['timestamp']:.2f}s] {entry['speaker']}: {entry['text']}" for entry in final
        ),
        "transcript_json": entries,
        "entry_count": len(final),
        "summary_text": _summary(call) if told.settled else None,
        "call_duration": told.duration_seconds,
        "call_started_at": _milliseconds(began),
        "call_ended_at": _milliseconds(ended),
        "session_data": session,
        "recording_url": _recording(log_id) if is_recorded(call) else None,
        "created_at": _milliseconds(ended + timedelta(seconds=3)),
        "updated_at": _milliseconds(ended + timedelta(seconds=18 if told.settled else 3)),
    }


def outbound_call(call: PhoneCall) -> dict[str, Any] | None:
    """A call that was asked for through the API as its record; one that was not answered never connected."""
    told = call.story
    if told.direction != "outbound" or call.customer is None:
        return None
    answered, connected = answered_at(call), told.status == "completed"
    over = answered + timedelta(seconds=told.duration_seconds if connected else 0)
    return {
        "id": uid("outbound", call.key),
        "agent_id": uid("agent", call.agent.name),
        "to_number": call.customer.number,
        "status": told.status,
        "call_context": f"You are calling {call.customer.name or 'a customer'} for {NAME}.",
        "request_metadata": {"crm_id": "sandbox-secret-in-metadata"},
        "callback_url": "https://crm.example.com/telzino?key=sandbox-secret-in-callback",
        "callback_delivered": True,
        "transcript_id": uid("log", call.key) if connected else None,
        "summary_text": _summary(call) if connected and told.settled else None,
        "error": None if connected else told.end,
        "sip_status_code": told.sip,
        "created_at": _microseconds(call.started_at),
        "answered_at": _microseconds(answered) if connected else None,
        "ended_at": _microseconds(over),
        "duration": told.duration_seconds if connected else None,
    }


def agent(one: Agent) -> dict[str, Any]:
    """An agent with all that nobody else should read."""
    return {
        "id": uid("agent", one.name),
        "organization_id": uid("organization", NAME),
        "name": one.name,
        "description": f"Answers and makes calls for {NAME}.",
        "greeting_message": one.greeting,
        "system_prompt": f"You answer the phone of {NAME}. Never give medical advice.",
        "agent_type": "advanced",
        "model": "gpt-4.1",
        "voice_model": "gpt-4o-realtime-preview",
        "stt_model": "deepgram",
        "tts_model": "cartesia",
        "voice_settings": {"voice_id": "sandbox", "speed": 1.0},
        "config": {"user_timezone": "America/Los_Angeles"},
        "extensions": {
            "tools": [],
            "mcp_servers": [
                {
                    "id": uid("mcp", one.name),
                    "connection_name": "Schedule",
                    "auth_headers": {"Authorization": "Bearer sandbox-secret-in-agent"},
                }
            ],
        },
        "integrations": {},
        "transfer_enabled": True,
        "language": "es" if one.language == "es" else "en-US",
        "timezone": "America/Los_Angeles",
        "sip_registration_data": {"username": one.number, "password": "sandbox-secret-in-registration"},
        "status": "active",
        "is_active": True,
        "created_at": "2026-01-15T10:30:00Z",
        "updated_at": "2026-01-15T10:30:00Z",
    }


def uid(*parts: str) -> str:
    """The same UUID for the same parts."""
    return str(uuid5(NAMESPACE_URL, "/".join(("telzino", *parts))))


def answered_at(call: PhoneCall) -> datetime:
    """When somebody picked up, or the ringing ended."""
    return call.started_at + timedelta(seconds=call.story.ringing_seconds)


def is_recorded(call: PhoneCall) -> bool:
    """Whether the call's agent has recording switched on: Billing has."""
    return call.agent.name == "Billing"


def webhook_name(action: str) -> str:
    """An action of the business as the webhook by which its Telzino agents do it ("Text_the_payment_link")."""
    return "_".join(ACTIONS[action].name.replace("-", " ").split())


def end_reason(call: PhoneCall) -> str:
    """Why the call ended, as its last entry says."""
    if call.story.end:
        return call.story.end
    last = call.story.executed[-1].action if call.story.executed else ""
    if last == HANGS_UP:
        return "agent ended the call"
    return "transferred" if last in ACTIONS and ACTIONS[last].kind == "transfer" else "user hung up"


def _entries(call: PhoneCall) -> Iterator[dict[str, Any]]:
    """What was said, with a partial entry before each longer turn of the customer, and what was done."""
    for turn in call.story.spoken:
        speaker = "agent" if turn.speaker == "agent" else "user"
        words = turn.text.split()
        if speaker == "user" and len(words) > 6:
            yield _entry(speaker, " ".join(words[: len(words) // 2]), turn.offset_seconds - 0.05, is_partial=True)
        yield _entry(speaker, turn.text, turn.offset_seconds)
    for done in call.story.executed:
        if text := _happened(done):
            yield _entry("system", text, done.offset_seconds)
    yield _entry("system", f"Call ended: {end_reason(call)}", float(call.story.duration_seconds))


def _entry(speaker: str, text: str, offset: float, *, is_partial: bool = False) -> dict[str, Any]:
    seconds = round(offset, 2)
    return {"text": text, "speaker": speaker, "timestamp": seconds, "is_partial": is_partial, "created_at": seconds}


def _happened(done: Executed) -> str | None:
    if done.action == HANGS_UP or ACTIONS[done.action].kind in UNREPORTED:
        return None
    if ACTIONS[done.action].kind == "transfer":
        return f"Call transferred to {ACTIONS[done.action].facts['number']}"
    return f"Webhook executed: {webhook_name(done.action)}"


def _summary(call: PhoneCall) -> str:
    """The documented template, filled with the story's `extracted` title, action items and sentiment."""
    facts = call.story.extracted
    items = "\n".join(f"- {item}" for item in facts.get("action_items", ["None"]))
    return (
        f"{facts['title']}\n\n{call.story.summary}\n\n"
        f"**Action Items:**\n{items}\n\n**Sentiment:** {facts.get('sentiment', 'Neutral')}"
    )


def _recording(log_id: str) -> str:
    return (
        f"https://recordings.example.com/{log_id}.ogg"
        "?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Expires=3600&X-Amz-Signature=sandbox-secret-in-signature"
    )


def _milliseconds(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _microseconds(moment: datetime) -> str:
    return moment.isoformat(timespec="microseconds")


# How the API answers


class Refused(Exception):
    """An answer other than 200."""

    def __init__(self, status: int, message: str, error: str | None = None) -> None:
        super().__init__(status)
        self.status = status
        self.content = {"error": error or HTTPStatus(status).phrase, "message": message}


Answer = Callable[[Request], Awaitable[Response]]


def application(
    logs: Sequence[Row],
    outbound: Sequence[Row],
    agents: Sequence[Row],
    *,
    client_id: str,
    client_secret: str,
    tokens: set[str] | None = None,
) -> Starlette:
    """The API for one client. Looks at all rows anew for every request, so that a test may change them (see `Kept`).

    `tokens` holds the tokens that are valid: whoever empties it revokes them.
    """
    valid: set[str] = set() if tokens is None else tokens
    kept = Kept(logs, outbound)

    async def token(request: Request) -> Response:
        _check_client(await request.body(), client_id, client_secret)
        new = f"demo-token-{uuid4()}"
        valid.add(new)
        return JSONResponse({"access_token": new, "token_type": "Bearer", "expires_in": TOKEN_SECONDS})

    async def all_agents(request: Request) -> Response:
        asked = _asked(request, valid, ("page", "limit", "organization_id"))
        wanted = asked.get("organization_id")
        return _listed([row for row in agents if wanted in (None, row.get("organization_id"))], asked)

    async def call_logs(request: Request) -> Response:
        asked = _asked(request, valid, ("page", "limit"))

        def chosen() -> list[Row]:
            rows = _of_agent(request, agents, logs)
            return sorted(rows, key=lambda row: row.get("created_at") or "", reverse=True)

        return _listed(kept.of(("logs", request.path_params["agent"]), chosen), asked)

    async def outbound_calls(request: Request) -> Response:
        asked = _asked(request, valid, ("page", "limit", "status"))

        def chosen() -> list[Row]:
            shown = [
                {name: value for name, value in row.items() if name not in LEFT_OUT}
                for row in _of_agent(request, agents, outbound)
                if asked.get("status") in (None, row["status"])
            ]
            return sorted(shown, key=lambda row: row["created_at"], reverse=True)

        return _listed(kept.of(("outbound", request.path_params["agent"], asked.get("status")), chosen), asked)

    async def one_outbound_call(request: Request) -> Response:
        _asked(request, valid, ())

        def chosen() -> dict[str, Row]:
            return {row["id"]: row for row in reversed(_of_agent(request, agents, outbound))}

        rows = kept.of(("one", request.path_params["agent"]), chosen)
        if request.path_params["call"] not in rows:
            raise Refused(404, "Outbound call not found")
        return JSONResponse(dict(rows[request.path_params["call"]]))

    return Starlette(
        routes=[
            Route("/oauth/token", worded(token), methods=["POST"]),
            Route("/v1/agents", worded(all_agents), methods=["GET"]),
            Route("/v1/agents/{agent}/call-logs", worded(call_logs), methods=["GET"]),
            Route("/v1/agents/{agent}/outbound-calls", worded(outbound_calls), methods=["GET"]),
            Route("/v1/agents/{agent}/outbound-calls/{call}", worded(one_outbound_call), methods=["GET"]),
        ]
    )


LEFT_OUT = ("call_context", "callback_url", "callback_delivered", "summary_text")
"""What the list's example lacks, though it is said to have the same shape as a single outbound call."""


def worded(answer: Answer) -> Answer:
    """Turns a refusal into its answer."""

    async def answered(request: Request) -> Response:
        try:
            return await answer(request)
        except Refused as refused:
            return JSONResponse(refused.content, refused.status)

    return answered


def _check_client(body: bytes, client_id: str, client_secret: str) -> None:
    try:
        asked = json.loads(body)
    except ValueError:
        asked = None
    if not isinstance(asked, dict):
        raise Refused(400, "The body must be a JSON object", "invalid_request")
    found = cast("dict[str, Any]", asked)
    if found.get("grant_type") != "client_credentials":
        raise Refused(400, "grant_type must be client_credentials", "unsupported_grant_type")
    if found.get("audience") != AUDIENCE:
        raise Refused(403, "Unknown audience", "access_denied")
    if not (_same(found.get("client_id"), client_id) and _same(found.get("client_secret"), client_secret)):
        raise Refused(401, "Unauthorized", "invalid_client")


def _same(given: object, right: str) -> bool:
    return isinstance(given, str) and secrets.compare_digest(given.encode(), right.encode())


def _asked(request: Request, valid: set[str], known: Sequence[str]) -> dict[str, str]:
    """The query of an authorized, well-formed request."""
    scheme, _, given = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or given not in valid:
        raise Refused(401, "Invalid or missing token")
    asked = dict(request.query_params)
    if unknown := [name for name in asked if name not in known]:
        raise Refused(400, f"Invalid parameters: {', '.join(unknown)}")
    for name, largest in (("page", 1_000_000), ("limit", LARGEST_PAGE)):
        value = asked.get(name, "1")
        if not (value.isascii() and value.isdigit() and 1 <= int(value[:9]) <= largest):
            raise Refused(400, f"Invalid parameters: {name}")
    return asked


def _of_agent(request: Request, agents: Sequence[Row], rows: Sequence[Row]) -> list[Row]:
    agent_id = request.path_params["agent"]
    if agent_id not in [row["id"] for row in agents]:
        raise Refused(404, "Agent not found")
    return [row for row in rows if row["agent_id"] == agent_id]


def _listed(rows: Sequence[Row], asked: Mapping[str, str]) -> Response:
    page, limit = int(asked.get("page", "1")), int(asked.get("limit", str(USUAL_PAGE)))
    pages = -(-len(rows) // limit)
    return JSONResponse(
        {
            "data": [dict(row) for row in rows[(page - 1) * limit : page * limit]],
            "pagination": {
                "page": page,
                "limit": limit,
                "total": len(rows),
                "totalPages": pages,
                "hasNext": page < pages,
                "hasPrev": page > 1,
            },
        }
    )
