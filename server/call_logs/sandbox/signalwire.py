"""A stand-in of SignalWire's voice API: logs, their events, recordings, and the LaML lists of transcriptions.

Follows the published specification and what clients reported. Links are whole and name the vendor's real host, so a
client that followed one would leave this machine. Which side of a date belongs to a window is not documented: here
neither does. Parameters that are not documented have no effect, as clients saw.
"""

import base64
import json
import math
import secrets
from bisect import bisect_left
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import date, datetime, timedelta
from hashlib import sha256
from http import HTTPStatus
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from call_logs.sandbox import Kept, StandIn
from call_logs.sandbox.business import ACTIONS, NAME, PhoneCall
from call_logs.sandbox.story import HANGS_UP, Executed, Spoken, seeded

PROJECT_ID = "d1c5a0de-1a4e-4000-8000-000000000001"
TOKEN = "demo-token-not-a-secret"
SPACE = "lakeside-dental"
LAML = "/api/laml/2010-04-01/Accounts/{project}"

KINDS = {"sw-dialogflow-hours": "dialogflow_call", "sw-video-consult": "video_room_pstn_leg"}
"""Calls that another engine took than the one for their direction."""

DELETED = frozenset({"sw-deleted-by-office"})
"""Calls that somebody deleted from the log."""

UNANSWERED_LEGS = frozenset({"sw-transfer-nobody-home"})
"""Calls whose transfer rang, and nobody picked up."""

RECORDED = ("Billing",)
"""The agents whose calls are recorded."""

RELAY_WORDS = {"completed": "ended", "unknown": "ended", "in_progress": "answered"}
LAML_WORDS = {"no_answer": "no-answer", "in_progress": "in-progress"}
INBOUND_MINUTE, OUTBOUND_MINUTE, AI_MINUTE = 0.0066, 0.008, 0.16
NO_TIMES: Mapping[str, int | None] = {"duration": None, "duration_ms": None, "billing_ms": None}
RECORDINGS_PAGE = 50

Row = Mapping[str, Any]


def stand_in(calls: Sequence[PhoneCall]) -> StandIn:
    """The API with the business's own project."""
    app = application(
        tuple(row for call in calls for row in (call_log(call), *legs(call))),
        project_id=PROJECT_ID,
        token=TOKEN,
        space=SPACE,
        events={log_id(call): events(call) for call in calls},
        recordings=tuple(recording(call) for call in calls if is_recorded(call)),
    )
    return StandIn(app, {"project_id": PROJECT_ID, "api_token": TOKEN, "space": SPACE})


# What the API shows of the business


def call_log(call: PhoneCall) -> dict[str, Any]:
    """A call as a row of the log. A deleted one is an id and two times."""
    told = call.story
    if call.key in DELETED:
        return {
            "id": log_id(call),
            "discarded_at": _iso(call.started_at + timedelta(days=1)),
            "created_at": _iso(call.started_at),
        }
    outbound = told.direction == "outbound"
    kind = KINDS.get(call.key, "laml_call" if outbound else "relay_pstn_call")
    customer = call.customer.number if call.customer else "anonymous"
    seconds, live = told.duration_seconds, told.status == "in_progress"
    row: dict[str, Any] = {
        "id": log_id(call),
        "from": call.agent.number if outbound else customer,
        "to": customer if outbound else call.agent.number,
        "source": {"laml_call": "laml", "dialogflow_call": "dialogflow"}.get(kind, "realtime_api"),
        **_charge(0 if live else seconds, "Outbound" if outbound else "Inbound", ai=kind == "relay_pstn_call"),
        "created_at": _iso(call.started_at),
        "type": kind,
        "url": None,
    }
    leg = seconds + told.ringing_seconds
    match kind:
        case "dialogflow_call":
            return row | {"status": "completed", "duration": seconds}
        case "video_room_pstn_leg":
            joined = {"duration": None, "duration_ms": None} if live else {"duration": seconds, "duration_ms": _ms(leg)}
            return row | {"direction": "inbound", "status": "joined" if live else "completed"} | joined
        case "laml_call":
            row["url"] = f"https://{SPACE}.signalwire.com{LAML.format(project=PROJECT_ID)}/Calls/{log_id(call)}"
            status = LAML_WORDS.get(told.status, told.status)
            times = _times(leg if seconds else None, seconds)
            return row | {"direction": "outbound-api", "status": status, **times, "parent_id": None}
        case _:
            status = RELAY_WORDS.get(told.status, told.status)
            times = NO_TIMES if live else _times(leg, seconds)
            return row | {"direction": "inbound", "status": status, **times, "parent_id": None}


def legs(call: PhoneCall) -> list[dict[str, Any]]:
    """What the call's transfers dialled: rows of their own."""
    return [
        _leg(call, n, done, ACTIONS[done.action].facts["number"])
        for n, done in enumerate(call.story.executed)
        if done.action != HANGS_UP and ACTIONS[done.action].kind == "transfer"
    ]


def _leg(call: PhoneCall, n: int, done: Executed, number: str) -> dict[str, Any]:
    rng = seeded(call.key, "leg", n)
    talked = 0 if call.key in UNANSWERED_LEGS else rng.randrange(40, 300)
    return {
        "id": _uuid("leg", call.key, str(n)),
        "from": call.customer.number if call.customer else "anonymous",
        "to": number,
        "source": "realtime_api",
        **_charge(talked, "Outbound"),
        "created_at": _iso(call.started_at + timedelta(seconds=done.offset_seconds)),
        "type": "relay_pstn_call",
        "url": None,
        "direction": "outbound",
        "status": "ended",
        **_times(talked + rng.uniform(4, 20), talked),
        "parent_id": log_id(call),
    }


def events(call: PhoneCall) -> list[dict[str, Any]]:
    """What the engine noted of a call; LaML and Dialogflow note nothing here."""
    told = call.story
    if call_log(call).get("type") != "relay_pstn_call":
        return []
    answered = call.started_at + timedelta(seconds=told.ringing_seconds)
    ended = answered + timedelta(seconds=told.duration_seconds)
    noted: list[tuple[datetime, str, dict[str, Any]]] = [(call.started_at, "initiated", {})]
    if told.duration_seconds or told.status == "in_progress":
        noted.append((answered, "state", {"call_state": "answered", "device": {"type": "phone"}}))
    if is_recorded(call):
        link = f"https://files.example.com/{_uuid('recording', call.key)}.mp3"
        noted.append((ended, "record", {"state": "finished", "duration": told.duration_seconds, "url": link}))
    if told.status != "in_progress":
        noted.append((ended, "state", {"call_state": "ended", "end_reason": "hangup"}))
    return [
        {
            "event_at": _iso(at),
            "level": "info",
            "name": f"calling_call_{name}",
            "details": {"params": params} if params else {},
            "project_id": PROJECT_ID,
            "log_id": log_id(call),
        }
        for at, name, params in noted
    ]


def is_recorded(call: PhoneCall) -> bool:
    """Whether there is a recording of it."""
    return call.agent.name in RECORDED and call.story.direction == "inbound" and call.story.status == "completed"


def recording(call: PhoneCall) -> dict[str, Any]:
    """A call's recording, with the link that anybody may open who has it."""
    began = call.started_at + timedelta(seconds=call.story.ringing_seconds)
    ended = began + timedelta(seconds=call.story.duration_seconds)
    return {
        "id": _uuid("recording", call.key),
        "project_id": PROJECT_ID,
        "created_at": _iso(began),
        "updated_at": _iso(ended),
        "duration_in_seconds": call.story.duration_seconds,
        "error_code": None,
        "price": 0.0025,
        "price_unit": "USD",
        "status": "finished",
        "url": f"https://files.example.com/{_uuid('recording', call.key)}.mp3",
        "stereo": True,
        "byte_size": call.story.duration_seconds * 16_000,
        "track": "both",
        "relay_pstn_leg_id": log_id(call),
    }


def log_id(call: PhoneCall) -> str:
    """The call's id, in the log and in its report."""
    return _uuid("call", call.key)


def _uuid(*parts: str) -> str:
    return str(UUID(bytes=sha256("/".join(parts).encode()).digest()[:16], version=4))


def _iso(moment: datetime) -> str:
    """Whole seconds, as in the documented examples of voice logs."""
    return moment.replace(microsecond=0).isoformat().replace("+00:00", "Z")


def _ms(seconds: float) -> int:
    return round(seconds * 1000)


def _times(leg: float | None, billed: int) -> dict[str, int | None]:
    """A leg's time counts from the first ring, in whole seconds too; what was never answered is not billed."""
    return {
        "duration": round(leg or 0),
        "duration_ms": None if leg is None else _ms(leg),
        "billing_ms": _ms(billed) if billed else None,
    }


def _charge(seconds: int, way: str, *, ai: bool = False) -> dict[str, Any]:
    minutes = math.ceil(seconds / 60)
    rates = {f"{way} Voice Minutes": INBOUND_MINUTE if way == "Inbound" else OUTBOUND_MINUTE}
    if ai:
        rates["AI Agent"] = AI_MINUTE
    charges = {name: round(rate * minutes, 4) for name, rate in rates.items() if minutes}
    details = [{"description": name, "charge": charge} for name, charge in charges.items()]
    return {"charge": round(sum(charges.values()), 4), "charge_details": details}


# What SignalWire posts when an AI agent's session has ended


def post_prompt_report(call: PhoneCall) -> dict[str, Any]:
    """The report of a call that an AI agent took, with all that nobody else should read."""
    told = call.story
    began = call.started_at
    answered = began + timedelta(seconds=told.ringing_seconds)
    ended = answered + timedelta(seconds=told.duration_seconds)
    prompt = f"You answer the phone of {NAME}. The staff door's code is sandbox-secret-in-prompt."
    log = [{"role": "system", "content": prompt, "timestamp": _micros(answered)}]
    log += [_entry(turn, answered) for turn in told.spoken]
    values = {name: value for name, value in told.extracted.items() if value is not None}
    number = call.customer.number if call.customer else "anonymous"
    state = {"caller_id_number": number, "portal_token": "sandbox-secret-in-state"}
    return {
        "project_id": PROJECT_ID,
        "space_id": _uuid("space", SPACE),
        "content_type": "text/json",
        "content_disposition": "agent.summary",
        "conversation_type": "voice",
        "call_id": log_id(call),
        "ai_session_id": _uuid("session", call.key),
        "app_name": "swml app",
        "action": "post_conversation",
        "call_ended_by": "assistant" if any(done.action == HANGS_UP for done in told.executed) else "user",
        "call_start_date": _micros(began),
        "call_answer_date": _micros(answered),
        "call_end_date": _micros(ended),
        "ai_start_date": _micros(answered + timedelta(seconds=0.14)),
        "ai_end_date": _micros(ended),
        "caller_id_number": number,
        "call_log": log,
        "raw_call_log": log,
        "swaig_log": [_tool_call(done, answered) for done in told.executed if not done.after_call],
        "post_prompt_data": {
            "parsed": [values] if values else [],
            "raw": f"{json.dumps(values)}\n{told.summary}" if values else told.summary,
            "substituted": told.summary,
        },
        "global_data": state,
        "SWMLVars": {"record_call_url": "https://files.example.com/sandbox-secret-recording.mp3", **state},
        "SWMLCall": {"call_id": log_id(call), "headers": [{"name": "X-Key", "value": "sandbox-secret-in-header"}]},
    }


def _entry(turn: Spoken, answered: datetime) -> dict[str, Any]:
    begun = answered + timedelta(seconds=turn.offset_seconds)
    ended = _micros(begun + timedelta(seconds=turn.seconds))
    timed = {"timestamp": ended, "start_timestamp": _micros(begun), "end_timestamp": ended}
    if turn.speaker == "agent":
        return {"role": "assistant", "content": f" {turn.text}", "latency": 412, **timed}
    return {"role": "user", "content": f"{turn.text} ", "confidence": 0.97, "barge_count": 0, **timed}


def _tool_call(done: Executed, answered: datetime) -> dict[str, Any]:
    return {
        "command_name": "hangup" if done.action == HANGS_UP else done.action.replace("-", "_"),
        "command_arg": '{"key":"sandbox-secret-in-argument"}',
        "epoch_time": int((answered + timedelta(seconds=done.offset_seconds)).timestamp()),
        "url": "https://agent:sandbox-secret-in-address@tools.example.com/swaig",
        "post_data": {"meta_data_token": "sandbox-secret-in-request"},
        "post_response": {"response": "sandbox-secret-in-response"},
    }


def _micros(moment: datetime) -> int:
    return round(moment.timestamp() * 1_000_000)


# How the API answers


class Refused(Exception):
    """An answer other than 200, as the API words it."""

    def __init__(self, status: int, content: dict[str, Any] | None = None) -> None:
        super().__init__(status)
        self.status = status
        self.content = content or {"error": HTTPStatus(status).phrase}


def application(
    logs: Sequence[Row],
    *,
    project_id: str,
    token: str,
    space: str = SPACE,
    events: Mapping[str, Sequence[Row]] | None = None,
    recordings: Sequence[Row] = (),
    transcriptions: Sequence[Row] = (),
    laml_recordings: Sequence[Row] = (),
) -> Starlette:
    """The API of one project. Looks at the rows anew for every request, so that a test may add to them (see `Kept`)."""
    voice = _Voice(logs, events or {}, recordings, space)
    admitted = _admitted(project_id, token)
    routes: list[tuple[str, Answer]] = [
        ("/api/voice/logs", voice.listed),
        ("/api/voice/logs/{log}", voice.one),
        ("/api/voice/logs/{log}/events", voice.events),
        ("/api/relay/rest/recordings", voice.recordings),
        (f"{LAML}/Transcriptions", _laml(project_id, "transcriptions", transcriptions)),
        (f"{LAML}/Recordings", _laml(project_id, "recordings", laml_recordings)),
    ]
    return Starlette(routes=[Route(path, admitted(answer), methods=["GET"]) for path, answer in routes])


class _Voice:
    """Voice logs and what hangs on them."""

    def __init__(
        self, logs: Sequence[Row], events: Mapping[str, Sequence[Row]], recordings: Sequence[Row], space: str
    ) -> None:
        self._logs, self._events, self._recordings = logs, events, recordings
        self._origin = f"https://{space}.signalwire.com"
        self._places: dict[str, tuple[str, str]] = {}
        self._kept = Kept(logs, recordings)

    async def listed(self, request: Request) -> Response:
        asked = dict(request.query_params)
        size = _number(asked.get("page_size", "50"))
        if not 1 <= size <= 1000:
            raise Refused(422, _invalid("page_size", "number_out_of_range", "Value must be between 1 and 1000."))
        shown = asked.get("include_deleted") == "true"
        within = _dates(asked)

        def chosen() -> list[Row]:
            return [row for row in self._logs if within(row) and (shown or not _is_deleted(row))]

        return self._page(request, chosen, size)

    async def one(self, request: Request) -> Response:
        return JSONResponse(dict(self._known(request)))

    async def events(self, request: Request) -> Response:
        return JSONResponse({"data": [dict(one) for one in self._events.get(self._known(request)["id"], ())]})

    async def recordings(self, request: Request) -> Response:
        return self._page(request, lambda: self._recordings, RECORDINGS_PAGE)

    def _known(self, request: Request) -> Row:
        rows = self._kept.of("ids", lambda: {row["id"]: row for row in reversed(self._logs)})
        if request.path_params["log"] not in rows:
            raise Refused(404)
        return rows[request.path_params["log"]]

    def _page(self, request: Request, rows: Callable[[], Sequence[Row]], size: int) -> Response:
        """A page of rows, newest first, behind the place that the token stands for: what is new changes no page."""
        asked = dict(request.query_params)
        number, given = _number(asked.get("page_number", "0")), asked.get("page_token")
        after = self._place(number, given)
        query = {name: value for name, value in asked.items() if not name.startswith("page_")}
        wanted = (request.url.path, frozenset(query.items()))
        found = self._kept.of(wanted, lambda: sorted(rows(), key=_newest))
        end = len(found) if after is None else bisect_left(found, after, key=_newest)
        shown = found[max(0, end - size) : end][::-1]

        def link(page: int, place: str | None) -> str:
            paged = {"page_number": page, "page_size": size, **query} | ({"page_token": place} if place else {})
            return f"{self._origin}{request.url.path}?{urlencode(paged)}"

        links = {"self": link(number, given), "first": link(0, None)}
        if end > size:
            place = f"PA{_uuid('place', str(len(self._places)))}"
            self._places[place] = _newest(shown[-1])
            links["next"] = link(number + 1, place)
        return JSONResponse({"links": links, "data": [dict(row) for row in shown]})

    def _place(self, number: int, given: str | None) -> tuple[str, str] | None:
        if number < 0:
            raise Refused(422, _invalid("page_number", "number_out_of_range", "Value must be at least 0."))
        if given is None and number > 0:
            message = "A page token is required if the page_number value is greater than 0."
            raise Refused(422, _invalid("page_token", "page_token_required", message))
        if given is not None and given not in self._places:
            raise Refused(422, _invalid("page_token", "page_token_is_invalid", "The page token is invalid."))
        return self._places[given] if given else None


def _laml(project_id: str, name: str, rows: Sequence[Row]) -> "Answer":
    """A list of the compatibility API: pages have numbers, and links without a host."""

    async def answer(request: Request) -> Response:
        if request.path_params["project"] != project_id:
            raise Refused(404, {"code": 20404, "message": "Not found", "more_info": "", "status": 404})
        asked = request.query_params
        page, size = _number(asked.get("Page", "0")), _number(asked.get("PageSize", "50"))

        def uri(number: int) -> str:
            return f"{request.url.path}?Page={number}&PageSize={size}"

        return JSONResponse(
            {
                "uri": uri(page),
                "first_page_uri": uri(0),
                "next_page_uri": uri(page + 1) if len(rows) > (page + 1) * size else None,
                "previous_page_uri": uri(page - 1) if page else None,
                "page": page,
                "page_size": size,
                name: [dict(row) for row in rows[page * size : (page + 1) * size]],
            }
        )

    return answer


Answer = Callable[[Request], Awaitable[Response]]


def _admitted(project_id: str, token: str) -> Callable[[Answer], Answer]:
    """Lets in who has the project's token, and words the refusals."""
    pair = base64.b64encode(f"{project_id}:{token}".encode()).decode()

    def admitted(answer: Answer) -> Answer:
        async def answered(request: Request) -> Response:
            scheme, _, given = request.headers.get("authorization", "").partition(" ")
            if scheme.lower() != "basic" or not secrets.compare_digest(given.encode(), pair.encode()):
                return JSONResponse({"error": "Unauthorized"}, 401)
            try:
                return await answer(request)
            except Refused as refused:
                return JSONResponse(refused.content, refused.status)

        return answered

    return admitted


def _invalid(attribute: str, code: str, message: str) -> dict[str, Any]:
    url = "https://signalwire.com/docs/apis/error-codes"
    return {
        "errors": [
            {"type": "validation_error", "code": code, "message": message, "attribute": attribute, "url": url},
        ]
    }


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 9 else -1


def _newest(row: Row) -> tuple[str, str]:
    return row["created_at"], row["id"]


def _is_deleted(row: Row) -> bool:
    return "type" not in row and "discarded_at" in row


def _dates(asked: Mapping[str, str]) -> Callable[[Row], bool]:
    bounds: dict[str, date] = {}
    for name in ("created_before", "created_on", "created_after"):
        if name in asked:
            try:
                bounds[name] = date.fromisoformat(asked[name])
            except ValueError:
                raise Refused(422, _invalid(name, "not_a_datetime", "Value must be a datetime")) from None

    def within(row: Row) -> bool:
        day = datetime.fromisoformat(row["created_at"]).date()
        return (
            ("created_before" not in bounds or day < bounds["created_before"])
            and ("created_after" not in bounds or day > bounds["created_after"])
            and bounds.get("created_on", day) == day
        )

    return within
