"""What a call is, in one shape for all vendors.

The domain is strict: frozen, no unknown fields, aware times. What a vendor leaves open stays open here: None, or the
word `unknown`, never a guess.
"""

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, NamedTuple

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, TypeAdapter


class Direction(StrEnum):
    """Who started the call: a customer (inbound), the agent (outbound), or a browser session (web)."""

    INBOUND = "inbound"
    OUTBOUND = "outbound"
    WEB = "web"
    UNKNOWN = "unknown"


class Status(StrEnum):
    """How far the call got. The vendor's own word is kept in `Call.vendor_status`."""

    QUEUED = "queued"
    RINGING = "ringing"
    IN_PROGRESS = "in_progress"
    COMPLETED = "completed"
    BUSY = "busy"
    FAILED = "failed"
    NO_ANSWER = "no_answer"
    CANCELED = "canceled"
    REJECTED = "rejected"
    UNKNOWN = "unknown"


FINAL = frozenset({Status.COMPLETED, Status.BUSY, Status.FAILED, Status.NO_ANSWER, Status.CANCELED, Status.REJECTED})
"""The call is over. `unknown` is not among them: nobody says that it is."""

UNCONNECTED = FINAL - {Status.COMPLETED}
"""It never was a conversation."""


class Speaker(StrEnum):
    """Who said a turn: the agent (AI or person), the customer, or the platform (system)."""

    AGENT = "agent"
    CUSTOMER = "customer"
    SYSTEM = "system"
    UNKNOWN = "unknown"


class ActionKind(StrEnum):
    """What sort of thing was executed. The vendor's own word is kept in `Action.vendor_kind`."""

    TRANSFER = "transfer"
    MESSAGE = "message"
    EXTRACTION = "extraction"
    WORKFLOW = "workflow"
    APPOINTMENT = "appointment"
    CUSTOM = "custom"
    KNOWLEDGE = "knowledge"
    WEBHOOK = "webhook"
    END = "end"
    OTHER = "other"


_MACHINES = (
    "voicemail",
    "voice mail",
    "answering machine",
    "answering_machine",
    "machine_detected",
    "machine detected",
)

STRICT = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="null", allow_inf_nan=False)

Scalar = str | int | float | bool
Seconds = Annotated[float, Field(ge=0)]


class Turn(BaseModel):
    """One utterance. `n` counts from 1 within its call; `offset_seconds` counts from the start of the call.

    `parsed`: the vendor gave the transcript as one text, and a word in it says who spoke; somebody could have said it.
    """

    model_config = STRICT

    n: Annotated[int, Field(ge=1)]
    speaker: Speaker
    text: str
    offset_seconds: Seconds | None = None
    parsed: bool = False


TURNS = TypeAdapter(tuple[Turn, ...])
"""Makes all turns of a call at once, of mappings: a quarter of the time."""


class Action(BaseModel):
    """Something executed during or after a call.

    `turn` is the number of the turn in which it happened, where that can be told. `details` holds allow-listed facts
    only; text that was spoken or sent stands under the keys `text` and `said`.
    """

    model_config = STRICT

    kind: ActionKind
    vendor_kind: str
    name: str
    executed_at: AwareDatetime | None = None
    turn: int | None = None
    details: dict[str, Scalar] = Field(default_factory=dict[str, Scalar])


class Call(BaseModel):
    """One phone call (or web call) as the vendor reported it. All times are UTC; durations are seconds."""

    model_config = STRICT

    account: str
    provider: str
    vendor_call_id: str
    parent_id: str | None = None
    direction: Direction = Direction.UNKNOWN
    status: Status = Status.UNKNOWN
    vendor_status: str | None = None
    end_reason: str | None = None
    sip_status_code: int | None = None
    from_number: str | None = None
    to_number: str | None = None
    started_at: AwareDatetime
    ringing_at: AwareDatetime | None = None
    answered_at: AwareDatetime | None = None
    ended_at: AwareDatetime | None = None
    duration_seconds: Seconds | None = None
    agent_id: str | None = None
    agent_name: str | None = None
    is_test: bool = False
    has_recording: bool | None = None
    summary: str | None = None
    cost: float | None = None
    currency: str | None = None
    extracted: dict[str, Scalar] = Field(default_factory=dict[str, Scalar])
    turns: tuple[Turn, ...] = ()
    actions: tuple[Action, ...] = ()

    @property
    def id(self) -> str:
        """`account/vendor_call_id`, the id that tools show and take."""
        return f"{self.account}/{self.vendor_call_id}"

    @property
    def spoken_from(self) -> datetime:
        """Where turns' offsets count from: the answer, or the start where nobody tells of one."""
        return self.answered_at or self.started_at

    @property
    def was_answered(self) -> bool:
        """Whether somebody (or an agent) picked up, as far as the vendor tells: no voicemail or other machine."""
        machine = any(word in (self.end_reason or "").casefold() for word in _MACHINES)
        return not machine and self._picked_up

    @property
    def _picked_up(self) -> bool:
        return self.answered_at is not None or self.status in (Status.COMPLETED, Status.IN_PROGRESS)

    @property
    def is_final(self) -> bool:
        """Whether the vendor says that the call is over."""
        return self.status in FINAL


class Spoken(NamedTuple):
    """What a merge asks of the turns that are held, so that a store need not load them: how many, and whether any has
    an offset."""

    turns: int
    timed: bool

    @classmethod
    def of(cls, turns: Sequence[Turn]) -> "Spoken":
        """Of turns that are at hand."""
        return cls(len(turns), any(turn.offset_seconds is not None for turn in turns))


def merged(held: Call, spoken: Spoken, read: Call) -> tuple[Call, bool]:
    """The call to keep when a vendor shows one again, and whether its turns are the held ones (it then has none).

    Of `held` all but the turns counts; `spoken` tells of those. The newer read wins where it says something. What it
    leaves out is kept from the one held: a vendor's single-call answer may lack the timed transcript of its list
    (HighLevel), a list the transcript of a report (SignalWire).
    """
    keep: dict[str, Any] = {
        name: getattr(held, name)
        for name in Call.model_fields
        if name != "turns" and getattr(read, name) in _NOTHING_SAID
    }
    poorer = spoken.timed and not Spoken.of(read.turns).timed  # offsets that are held would be lost
    if poorer and len(held.actions) >= len(read.actions):
        keep["actions"] = held.actions
    stays = poorer or not read.turns
    if stays:
        keep["turns"] = ()
    if read.agent_id not in (None, held.agent_id):
        keep.pop("agent_name", None)
    if read.vendor_status is not None:
        keep.pop("status", None)  # the vendor's word is told, and means what it means
    return read.model_copy(update=keep) if keep else read, stays


_NOTHING_SAID: tuple[object, ...] = (None, "", (), {}, "unknown")


def customer_number(direction: Direction, from_number: str | None, to_number: str | None) -> str | None:
    """The other party's number: who called, or on an outbound call who was called; the one told, where it is unknown."""
    if direction is Direction.UNKNOWN:
        return from_number or to_number
    return to_number if direction is Direction.OUTBOUND else from_number
