"""A stand-in of HighLevel's Voice AI API: its call logs, its agents, its refusals.

Follows the published specification and what clients captured: `transcriptWithToolCalls` is in list rows only, an
empty list comes in another envelope, test calls have neither a number nor a message id.
"""

import secrets
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from hashlib import sha256
from time import monotonic
from typing import Any
from uuid import uuid4

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from call_logs.sandbox import Kept, StandIn
from call_logs.sandbox.business import ACTIONS, AGENTS, NAME, Agent, Configured, PhoneCall
from call_logs.sandbox.story import HANGS_UP, Executed, Spoken

VERSIONS = ("2021-04-15", "2021-07-28", "v3")
LARGEST_PAGE = 50
PER_DAY = 200_000
PER_INTERVAL = 100
INTERVAL_SECONDS = 10.0
ACTION_TYPES = {
    "transfer": "CALL_TRANSFER",
    "extraction": "DATA_EXTRACTION",
    "in_call_extraction": "IN_CALL_DATA_EXTRACTION",
    "workflow": "WORKFLOW_TRIGGER",
    "message": "SMS",
    "appointment": "APPOINTMENT_BOOKING",
    "custom": "CUSTOM_ACTION",
    "knowledge": "KNOWLEDGE_BASE",
}
WORDS = {
    "callType": ("LIVE", "TRIAL"),
    "actionType": tuple(ACTION_TYPES.values()),
    "sortBy": ("duration", "createdAt"),
    "sort": ("ascend", "descend"),
}
LIST_PARAMETERS = ("locationId", "agentId", "contactId", "startDate", "endDate", "page", "pageSize", *WORDS)
AGENT_PARAMETERS = ("locationId", "page", "pageSize", "query")

Row = Mapping[str, Any]


TOKEN = "demo-token-not-a-secret"
LOCATION_ID = "DemoLakesideDental01"


def stand_in(calls: Iterable[PhoneCall]) -> StandIn:
    """The API with the business's own location."""
    agents = [agent(one, LOCATION_ID) for one in AGENTS.values() if not one.is_deleted]
    app = application(tuple(call_log(call) for call in calls), agents, token=TOKEN, location_id=LOCATION_ID)
    return StandIn(app, {"token": TOKEN, "location_id": LOCATION_ID})


# What the API shows of the business


def call_log(call: PhoneCall) -> dict[str, Any]:
    """A call as a row of the list."""
    told = call.story
    row: dict[str, Any] = {
        "id": object_id("call", call.key),
        "agentId": object_id("agent", call.agent.name),
        "isAgentDeleted": call.agent.is_deleted,
        "contactId": _short_id("contact", call.customer.number if call.customer else "browser"),
        "createdAt": _iso(call.started_at),
        "duration": told.duration_seconds,
        "trialCall": told.is_test,
        "summary": told.summary,
        "transcript": "".join(_transcript(told.spoken)),
        "transcriptWithToolCalls": list(_timed(call)),
        "translation": {"enabled": True, "language": "es"} if told.language == "es" else None,
        "extractedData": dict(told.extracted),
        "executedCallActions": [_action(call, done) for done in told.executed if done.action != HANGS_UP],
    }
    if call.customer:
        row |= {"fromNumber": call.customer.number, "messageId": _short_id("message", call.key)}
    return row


def agent(one: Agent, location_id: str) -> dict[str, Any]:
    """An agent as the list of agents has it, with the prompt and the actions that nobody else should read."""
    return {
        "id": object_id("agent", one.name),
        "locationId": location_id,
        "agentName": one.name,
        "businessName": NAME,
        "welcomeMessage": one.greeting,
        "agentPrompt": f"You answer the phone of {NAME}. Never give medical advice.",
        "language": "es" if one.language == "es" else "en-US",
        "patienceLevel": "high",
        "maxCallDuration": 900,
        "inboundNumber": one.number,
        "callEndWorkflowIds": [],
        "agentWorkingHours": [],
        "timezone": "America/Los_Angeles",
        "translation": {"enabled": one.language == "es", "language": "es" if one.language == "es" else None},
        "actions": [
            {
                "id": object_id("action", key),
                "actionType": ACTION_TYPES[configured.kind],
                "name": configured.name,
                "actionParameters": _parameters(configured),
            }
            for key, configured in ACTIONS.items()
        ],
    }


def object_id(*parts: str) -> str:
    """24 hexadecimal digits, the same ones for the same parts."""
    return sha256("/".join(parts).encode()).hexdigest()[:24]


def _short_id(*parts: str) -> str:
    letters = "ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
    return "".join(letters[byte % len(letters)] for byte in sha256("/".join(parts).encode()).digest()[:20])


def _iso(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _transcript(spoken: Sequence[Spoken]) -> Iterable[str]:
    """One line a turn, a few of them broken in two after their first sentence, as captured."""
    for n, turn in enumerate(spoken):
        if turn.speaker == "agent":
            yield f"bot:{turn.text}\n"
        elif n % 4 == 3 and ". " in turn.text:
            first, rest = turn.text.split(". ", 1)
            yield f"human:{first}. \nhuman:{rest} \n"
        else:
            yield f"human:{turn.text} \n"


def _timed(call: PhoneCall) -> Iterable[dict[str, Any]]:
    for turn in call.story.spoken:
        yield {
            "role": "agent" if turn.speaker == "agent" else "user",
            "content": turn.text if turn.speaker == "agent" else f"{turn.text} ",
            "startTime": turn.offset_seconds,
            "endTime": round(turn.offset_seconds + turn.seconds, 3),
        }
    for done in call.story.executed:
        if done.action == HANGS_UP:
            yield {
                "role": "action_executed",
                "toolName": "end_call",
                "toolType": "end_call",
                "toolCallId": object_id("tool", call.key)[:16],
                "toolArguments": {"executionMessage": "¡Hasta luego!" if call.agent.language == "es" else "Goodbye!"},
                "startTime": done.offset_seconds,
            }


def _action(call: PhoneCall, done: Executed) -> dict[str, Any]:
    configured = ACTIONS[done.action]
    executed_at = call.started_at + timedelta(seconds=done.offset_seconds)
    row: dict[str, Any] = {
        "actionId": object_id("action", done.action),
        "actionType": ACTION_TYPES[configured.kind],
        "actionName": configured.name,
        "actionParameters": _parameters(configured),
        "executedAt": _iso(executed_at),
    }
    if not done.after_call:
        row["triggerReceivedAt"] = _iso(executed_at - timedelta(seconds=0.4))
    return row


def _parameters(configured: Configured) -> dict[str, Any]:
    facts = configured.facts
    trigger = {"triggerPrompt": facts.get("when", ""), "triggerMessage": facts.get("say", "One moment, please.")}
    own: dict[str, Any]
    match configured.kind:
        case "transfer":
            own = trigger | {
                "transferToType": "number",
                "transferToValue": facts["number"],
                "hearWhisperMessage": True,
            }
        case "extraction" | "in_call_extraction":
            own = {
                "contactFieldId": _short_id("field", configured.name),
                "description": facts["what"],
                "examples": ["as the customer says it"],
                "overwriteExistingValue": False,
            }
        case "workflow":
            own = trigger | {"workflowId": object_id("workflow", configured.name)}
        case "message":
            own = trigger | {"messageBody": facts["text"]}
        case "appointment":
            own = {
                "calendarId": _short_id("calendar", facts["calendar"]),
                "daysOfOfferingDates": 3,
                "slotsPerDay": 3,
                "hoursBetweenSlots": 1,
            }
        case "knowledge":
            own = trigger | {"knowledgeBaseId": _short_id("knowledge", configured.name)}
        case "custom":
            own = trigger | {
                "apiDetails": {
                    "url": facts["url"],
                    "method": "GET",
                    "authenticationRequired": True,
                    "authenticationValue": facts["authentication"],
                    "headers": [{"key": facts["header"], "value": facts["header_value"]}],
                    "parameters": [
                        {
                            "name": facts["parameter"],
                            "description": "What the customer reads out",
                            "type": "string",
                            "example": facts["example"],
                        }
                    ],
                },
                "selectedPaths": ["appointment.status", "appointment.startsAt"],
            }
    return own


# How the API answers


class Refused(Exception):
    """An answer other than 200, as the API words it."""

    def __init__(self, status: int, message: str | list[str], error: str | None = None) -> None:
        super().__init__(status)
        self.status = status
        self.content = {"statusCode": status, "message": message} | ({"error": error} if error else {})


def application(
    logs: Sequence[Row], agents: Sequence[Row], *, token: str, location_id: str, ignore_dates: bool = False
) -> Starlette:
    """The API for one location. Looks at `logs` anew for every request, so that a test may add to them (see `Kept`).

    `ignore_dates` does what some saw live: the date filter has no effect, and `total` counts every call of the
    location whatever the other filters are.
    """

    kept = Kept(logs)

    def chosen(asked: Mapping[str, str]) -> list[Row]:
        found = [row for row in logs if _matches(row, asked, ignore_dates=ignore_dates)]
        by = asked.get("sortBy", "createdAt")
        descending = "sortBy" not in asked or asked.get("sort") != "ascend"
        return sorted(found, key=lambda row: row[by], reverse=descending)

    async def call_logs(request: Request) -> Response:
        asked = _asked(request, token, location_id, LIST_PARAMETERS)
        page, size = _page(asked)
        wanted = frozenset((name, value) for name, value in asked.items() if name not in ("page", "pageSize"))
        found = kept.of(wanted, lambda: chosen(asked))
        total = len(logs) if ignore_dates else len(found)
        if not found:
            return JSONResponse({"callLogs": [], "totalRecords": 0, "traceId": str(uuid4())})
        rows = [dict(row) for row in found[(page - 1) * size : page * size]]
        return JSONResponse({"callLogs": rows, "total": total, "page": page, "pageSize": size, "traceId": str(uuid4())})

    async def one_call_log(request: Request) -> Response:
        _asked(request, token, location_id, ("locationId",))
        for row in logs:
            if row["id"] == request.path_params["call_id"]:
                shown = {name: value for name, value in row.items() if name != "transcriptWithToolCalls"}
                return JSONResponse(shown | {"traceId": str(uuid4())})
        raise Refused(404, "Call log not found", "Not Found")

    async def all_agents(request: Request) -> Response:
        asked = _asked(request, token, location_id, AGENT_PARAMETERS)
        page, size = _page(asked)
        named = [row for row in agents if asked.get("query", "").lower() in row["agentName"].lower()]
        rows = [dict(row) for row in named[(page - 1) * size : page * size]]
        return JSONResponse({"agents": rows, "total": len(named), "page": page, "pageSize": size})

    metered = _metered()
    return Starlette(
        routes=[
            Route("/voice-ai/dashboard/call-logs", metered(call_logs), methods=["GET"]),
            Route("/voice-ai/dashboard/call-logs/{call_id}", metered(one_call_log), methods=["GET"]),
            Route("/voice-ai/agents", metered(all_agents), methods=["GET"]),
        ]
    )


Answer = Callable[[Request], Awaitable[Response]]


def _metered() -> Callable[[Answer], Answer]:
    """Counts requests into the documented headers and words the refusals. It refuses nobody for asking often."""
    recent: deque[float] = deque()
    asked_today = 0

    def metered(answer: Answer) -> Answer:
        async def answered(request: Request) -> Response:
            nonlocal asked_today
            asked_today += 1
            now = monotonic()
            recent.append(now)
            while recent[0] < now - INTERVAL_SECONDS:
                recent.popleft()
            try:
                response = await answer(request)
            except Refused as refused:
                response = JSONResponse(refused.content, refused.status)
            response.headers["X-RateLimit-Limit-Daily"] = str(PER_DAY)
            response.headers["X-RateLimit-Daily-Remaining"] = str(max(PER_DAY - asked_today, 0))
            response.headers["X-RateLimit-Interval-Milliseconds"] = str(int(INTERVAL_SECONDS * 1000))
            response.headers["X-RateLimit-Max"] = str(PER_INTERVAL)
            response.headers["X-RateLimit-Remaining"] = str(max(PER_INTERVAL - len(recent), 0))
            return response

        return answered

    return metered


def _asked(request: Request, token: str, location_id: str, known: Sequence[str]) -> dict[str, str]:
    """The query of an authorized, well-formed request; refuses in the order in which the API does."""
    scheme, _, given = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not given:
        raise Refused(401, "Invalid token: access token is invalid", "Unauthorized")
    if not secrets.compare_digest(given.encode(), token.encode()):
        raise Refused(401, "Invalid Private Integration token", "Unauthorized")
    version = request.headers.get("version")
    if version is None:
        raise Refused(401, "version header was not found.", "Unauthorized")
    if version not in VERSIONS:
        raise Refused(401, "version header is invalid", "Unauthorized")
    asked = dict(request.query_params)
    if wrong := [f"property {name} should not exist" for name in asked if name not in known] + _wrong_values(asked):
        raise Refused(422, wrong, "Unprocessable Entity")
    if not asked.get("locationId"):
        raise Refused(400, "LocationId is missing in query", "Bad Request")
    if asked["locationId"] != location_id:
        raise Refused(403, "The token does not have access to this location.", "Forbidden")
    return asked


def _wrong_values(asked: Mapping[str, str]) -> list[str]:
    wrong: list[str] = []
    for name, largest in (("page", None), ("pageSize", LARGEST_PAGE)):
        number = _number(asked.get(name, "1"))
        if number is None:
            wrong.append(f"{name} must be an integer number")
        elif number < 1:
            wrong.append(f"{name} must not be less than 1")
        elif largest and number > largest:
            wrong.append(f"{name} must not be greater than {largest}")
    for name, words in WORDS.items():
        if name in asked and not all(word in words for word in asked[name].split(",")):
            wrong.append(f"{name} must be one of the following values: {', '.join(words)}")
    if ("startDate" in asked) != ("endDate" in asked):
        wrong.append("startDate and endDate must be given together")
    start, end = _number(asked.get("startDate", "")), _number(asked.get("endDate", ""))
    if start is not None and end is not None and start >= end:
        wrong.append("startDate must be less than endDate")
    return wrong


def _page(asked: Mapping[str, str]) -> tuple[int, int]:
    return int(asked.get("page", "1")), int(asked.get("pageSize", "10"))


def _number(text: str) -> int | None:
    digits = text.removeprefix("-")
    return int(text) if digits.isascii() and digits.isdigit() and len(digits) <= 15 else None


def _matches(row: Row, asked: Mapping[str, str], *, ignore_dates: bool) -> bool:
    return (
        asked.get("agentId") in (None, row["agentId"])
        and ("contactId" not in asked or row.get("contactId") in asked["contactId"].split(","))
        and ("callType" not in asked or (asked["callType"] == "TRIAL") == row["trialCall"])
        and (
            "actionType" not in asked
            or any(done["actionType"] in asked["actionType"].split(",") for done in row["executedCallActions"])
        )
        and (ignore_dates or _within(row, asked))
    )


def _within(row: Row, asked: Mapping[str, str]) -> bool:
    start, end = _number(asked.get("startDate", "")), _number(asked.get("endDate", ""))
    if start is None or end is None:
        return True  # a date in words filters nothing, as seen live
    return start <= datetime.fromisoformat(row["createdAt"]).timestamp() * 1000 <= end
