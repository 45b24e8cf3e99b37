"""SignalWire's post-prompt reports: the only place where it tells what was said on a call of an AI agent.

SignalWire posts one to the agent's `post_prompt_url` when the AI session ends and can never be asked for it again: our
server receives it there, or it is imported by those who kept it. Times are microseconds, but a tool call's are seconds. Prompts, variables of
the call, what tools were asked and answered, and addresses are in it too: what is kept is picked, nothing is copied.
Facts and their evidence: the vendor's published specification ("documented"), its SDK's source, captured reports.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, cast

from pydantic import BeforeValidator, Field, ValidationError

from call_logs.errors import UnexpectedPayload
from call_logs.model import Action, ActionKind, Call, Scalar, Speaker, Status, Turn
from call_logs.phones import e164
from call_logs.providers import OR_NONE, Told, Wire, fields_at_fault
from call_logs.providers._kept import facts
from call_logs.text import clean_tree, without_url_secrets

PROVIDER = "signalwire"
TOOL = "swaig"
"""The vendor's word for whatever an agent can execute (SignalWire AI Gateway)."""

SPEAKERS = {"assistant": Speaker.AGENT, "user": Speaker.CUSTOMER}
"""Whose entries were spoken. Seen beside them: system, system-log, assistant-manual, assistant-thinking, tool."""

TRANSCRIBED = "calling.transcript.completed"
"""The event of the verb `transcribe`: one text, without speakers."""

_MICROSECOND = timedelta(microseconds=1)
_SECOND = timedelta(seconds=1)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_YEARS = (2015, 2200)  # what lies outside was written in another unit

_LOOKS = {"can", "check", "find", "get", "is", "list", "look", "lookup", "search", "verify"}
_ENDED = {"the", "this", "call", "conversation", "session"}
_PART = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
_FENCED = re.compile(r"```(?:json)?\s*(.*?)```", re.DOTALL)


def _moment(value: Any, unit: timedelta) -> datetime | None:
    """The time so many units after 1970; None for 0, which stands for "never", and for what is no time."""
    try:
        found = _EPOCH + float(value) * unit
    except (TypeError, ValueError, OverflowError):
        return None
    return found if _YEARS[0] <= found.year < _YEARS[1] else None


_Micros = Annotated[datetime | None, BeforeValidator(lambda value: _moment(value, _MICROSECOND))]
_Seconds = Annotated[datetime | None, BeforeValidator(lambda value: _moment(value, _SECOND))]
_Word = Annotated[str | None, OR_NONE]


class _Entry(Wire):
    role: _Word = None
    content: _Word = None
    tool_calls: Any = None
    timestamp: _Micros = None
    start_timestamp: _Micros = None

    @property
    def text(self) -> str:
        """What was said, "" where this is no speech. Contents have stray spaces at both ends."""
        return (self.content or "").strip() if self.role in SPEAKERS and not self.tool_calls else ""


class _Command(Wire):
    name: _Word = Field(None, alias="command_name")
    at: _Seconds = Field(None, alias="epoch_time")


_Entries = Annotated[list[Annotated[_Entry | None, OR_NONE]] | None, OR_NONE]


_CallId = Annotated[str, Field(pattern=r"^[A-Za-z0-9_~-][A-Za-z0-9._~-]{0,127}$")]


class _Posted(Wire):
    event_type: _Word = None
    project_id: _Word = None
    action: _Word = None
    conversation_type: _Word = None


class _Spoken(Wire):
    call_id: _CallId
    segment_id: Annotated[_CallId | None, OR_NONE] = None
    text: _Word = None


class _Callback(Wire):
    timestamp: _Seconds
    params: _Spoken


class _Report(Wire):
    call_id: _CallId
    action: _Word = None
    conversation_type: _Word = None
    call_log: _Entries = None
    raw_call_log: _Entries = None
    raw_messages: _Entries = None
    swaig_log: Annotated[list[Annotated[_Command | None, OR_NONE]] | None, OR_NONE] = None
    post_prompt_data: Any = None
    call_start_date: _Micros = None
    call_answer_date: _Micros = None
    call_end_date: _Micros = None
    ai_start_date: _Micros = None
    caller_id_number: _Word = None
    call_ended_by: _Word = None

    @property
    def began_at(self) -> datetime | None:
        """When the call was created, or the earliest later time that is told."""
        return self.call_start_date or self.call_answer_date or self.ai_start_date

    @property
    def entries(self) -> list[_Entry]:
        """The conversation: consolidated, else as it came, else as the chat engine has it."""
        log = self.call_log or self.raw_call_log or self.raw_messages or []
        return [entry for entry in log if entry is not None]

    @property
    def wanting(self) -> tuple[str, ...]:
        """The fields that show this to be no report of a phone call."""
        logs = (self.call_log, self.raw_call_log, self.raw_messages)
        found = {
            "action": self.action == "fetch_conversation",
            "conversation_type": self.conversation_type == "chat",
            "call_start_date": self.began_at is None,
            "call_log": all(log is None for log in logs),
        }
        return tuple(name for name, wrong in found.items() if wrong)


def read_posted(payload: Any, account: str, project_id: str) -> Told | None:
    """A report, or what `transcribe` heard; None for all else that is posted, and for another project's.

    Raises `UnexpectedPayload` like `read_report`.
    """
    try:
        posted = _Posted.model_validate(payload)
        if posted.project_id not in (None, "", project_id) or (posted.event_type or TRANSCRIBED) != TRANSCRIBED:
            return None
        if posted.event_type is not None:
            return _transcribed(_Callback.model_validate(payload), account)
    except ValidationError as error:
        raise _no_report(account, fields_at_fault(error)) from None
    if posted.action == "fetch_conversation" or posted.conversation_type == "chat":
        return None
    return Told(read_report(payload, account))


def _transcribed(heard: _Callback, account: str) -> Told | None:
    """The text alone. Its time is the event's, after the call: it stands in for the start until the voice log is read.

    The voice log's id is the segment's (documented).
    """
    text = (heard.params.text or "").strip()
    if not text:
        return None
    if heard.timestamp is None:
        raise _no_report(account, ("timestamp",))
    call = Call(
        account=account,
        provider=PROVIDER,
        vendor_call_id=heard.params.segment_id or heard.params.call_id,
        started_at=heard.timestamp,
        turns=(Turn(n=1, speaker=Speaker.UNKNOWN, text=text),),
    )
    return Told(call, whole=False)


def read_report(report: Any, account: str) -> Call:
    """A report, as parsed from JSON, as a call of the account.

    Raises `UnexpectedPayload`, which names the fields at fault, for what is no report of a phone call.
    """
    try:
        found = _Report.model_validate(clean_tree(report))
    except ValidationError as error:
        raise _no_report(account, fields_at_fault(error)) from None
    except ValueError:
        raise _no_report(account, ("the whole",)) from None
    began = found.began_at
    if began is None or found.wanting:
        raise _no_report(account, found.wanting)
    return _call(found, began, account)


def _no_report(account: str, fields: tuple[str, ...]) -> UnexpectedPayload:
    return UnexpectedPayload(
        f"{account} (SignalWire) was given something that is no report of a phone call: {', '.join(fields[:5])}.",
        "Import what SignalWire posted to the agent's post_prompt_url, one report as one JSON object.",
        fields=fields,
    )


def _call(report: _Report, began: datetime, account: str) -> Call:
    """Whether the call was in- or outbound, what it cost and how it was billed is in the voice log only."""
    answered, ended = report.call_answer_date, report.call_end_date
    seconds = (ended - began).total_seconds() if ended else None
    turns = _turns(report.entries, answered or began)
    extracted, summary = _outcome(report.post_prompt_data)
    return Call(
        account=account,
        provider=PROVIDER,
        vendor_call_id=report.call_id,
        status=Status.COMPLETED if answered and ended else Status.UNKNOWN,
        end_reason=(report.call_ended_by or "").strip()[:64] or None,
        from_number=e164(report.caller_id_number),
        started_at=began,
        answered_at=answered,
        ended_at=ended,
        duration_seconds=seconds if seconds is not None and seconds >= 0 else None,
        summary=summary,
        extracted=extracted,
        turns=turns,
        actions=_actions(report.swaig_log or (), turns, answered or began),
    )


def _turns(entries: Iterable[_Entry], began: datetime) -> tuple[Turn, ...]:
    """What was said, from the moment at which the call was answered. An entry's `timestamp` is its end."""
    return tuple(
        Turn(
            n=n,
            speaker=SPEAKERS[entry.role or ""],
            text=entry.text,
            offset_seconds=_offset(entry.start_timestamp or entry.timestamp, began),
        )
        for n, entry in enumerate((entry for entry in entries if entry.text), 1)
    )


def _offset(moment: datetime | None, began: datetime) -> float | None:
    seconds = (moment - began).total_seconds() if moment else -1.0
    return seconds if seconds >= 0 else None


def _actions(commands: Iterable[_Command | None], turns: Sequence[Turn], began: datetime) -> tuple[Action, ...]:
    return tuple(
        Action(
            kind=_kind(command.name),
            vendor_kind=TOOL,
            name=command.name,
            executed_at=command.at,
            turn=_turn_before(turns, _offset(command.at, began)),
        )
        for command in commands
        if command is not None and command.name
    )


def _turn_before(turns: Sequence[Turn], offset: float | None) -> int | None:
    if offset is None:
        return None
    begun = [turn.n for turn in turns if turn.offset_seconds is not None and turn.offset_seconds <= offset]
    return begun[-1] if begun else None


def _kind(name: str) -> ActionKind:
    """What a tool does, by the name that the customer gave it: whole words only, and none that merely looks."""
    words = [part.lower() for part in _PART.findall(name)]
    verb = words[0] if words else ""
    if verb in _LOOKS:
        return ActionKind.CUSTOM
    if {"transfer", "connect"} & set(words):
        return ActionKind.TRANSFER
    if "sms" in words or verb in ("text", "message") or ("send" in words and {"text", "message"} & set(words)):
        return ActionKind.MESSAGE
    if verb in ("hangup", "disconnect") or words[:2] == ["hang", "up"] or (verb == "end" and set(words[1:]) <= _ENDED):
        return ActionKind.END
    return ActionKind.CUSTOM


# The agent's answer to the customer's post-prompt, in three shapes


def _outcome(answer: Any) -> tuple[dict[str, Scalar], str | None]:
    """The values that the agent gave, and its prose.

    Documented is `{parsed, raw, substituted}`: the objects found in the answer, the answer, and what of it is not JSON.
    Older reports have the answer in `raw` alone, JSON within a code fence, or are one flat object of values.
    """
    if isinstance(answer, str):
        return _read_answer(answer)
    if not isinstance(answer, dict):
        return {}, None
    fields = cast("dict[str, Any]", answer)
    raw, prose = fields.get("raw"), fields.get("substituted")
    if "parsed" not in fields and "raw" not in fields:
        return _told([fields], "")
    if objects := _objects(fields.get("parsed")):
        return _told(objects, prose if isinstance(prose, str) else "")
    return _read_answer(raw) if isinstance(raw, str) else ({}, None)


def _read_answer(raw: str) -> tuple[dict[str, Scalar], str | None]:
    """An answer that nobody has parsed: fenced JSON and the prose around it, JSON alone, or prose alone."""
    fenced = [one for block in _FENCED.findall(raw) for one in _objects(_json(block))]
    if fenced:
        return _told(fenced, _FENCED.sub("", raw))
    alone = _objects(_json(raw))
    broken = raw.lstrip().startswith(("{", "[", "```"))
    return _told(alone, "" if alone or broken else raw)


def _told(objects: Iterable[Mapping[str, Any]], prose: str) -> tuple[dict[str, Scalar], str | None]:
    """Values of all objects; prose, or else the value that the customer asked for by the name of summary."""
    values = {name: value for one in objects for name, value in facts(one).items()}
    written = prose.strip() or next((one["summary"] for one in objects if isinstance(one.get("summary"), str)), "")
    return values, without_url_secrets(written.strip()) or None


def _objects(value: Any) -> list[dict[str, Any]]:
    found = cast("list[Any]", value) if isinstance(value, list) else [value]
    return [cast("dict[str, Any]", one) for one in found if isinstance(one, dict)]


def _json(text: str) -> Any:
    """What the text holds as JSON, cleaned once more: escapes may hide what was cleaned away; None for all else."""
    try:
        return clean_tree(json.loads(text))
    except (ValueError, RecursionError):
        return None
