"""What is kept of a call: masked, with its actions tied to its turns. Nothing unmasked goes on from here to a store."""

import math
import re

from call_logs.model import Action, Call, Scalar, Speaker, Turn
from call_logs.text import Masking, mask

_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])")


def prepared(call: Call, masking: Masking) -> Call:
    """The call as it is kept: numbers masked in what was spoken, actions tied to the turn in which they happened.

    Ids and phone fields are never masked. Text is clean since it left the HTTP client.
    """
    turns = _masked_turns(call.turns, masking)
    return call.model_copy(
        update={
            "turns": turns,
            "summary": mask(call.summary, masking) if call.summary else None,
            "extracted": {
                mask(name, masking): _extracted(name, value, masking) for name, value in call.extracted.items()
            },
            "actions": tuple(_kept_action(call, turns, action, masking) for action in call.actions),
        }
    )


def _masked_turns(turns: tuple[Turn, ...], masking: Masking) -> tuple[Turn, ...]:
    if masking is Masking.OFF or not turns:
        return turns
    from call_logs.masking import Said, masked_turns  # noqa: PLC0415 - its patterns take a while to compile

    texts = masked_turns([Said(turn.speaker, turn.offset_seconds, turn.text) for turn in turns], masking)
    return tuple(
        turn if text == turn.text else turn.model_copy(update={"text": text})
        for turn, text in zip(turns, texts, strict=True)
    )


def _extracted(name: str, value: Scalar, masking: Masking) -> Scalar:
    """A value of the customer's own form: its name may be the cue, and a number may have been read as one."""
    if masking is Masking.OFF or isinstance(value, bool):
        return value
    written = f"{value:.0f}" if isinstance(value, float) and value.is_integer() else str(value)
    lead = f"{_CAMEL.sub(' ', name).replace('_', ' ')}: "
    shown = mask(lead + written, masking)[len(mask(lead, masking)) :]
    return value if shown == written else shown


def _masked(value: Scalar, masking: Masking) -> Scalar:
    return mask(value, masking) if isinstance(value, str) else value


def _kept_action(call: Call, turns: tuple[Turn, ...], action: Action, masking: Masking) -> Action:
    spoken = {name: _masked(value, masking) for name, value in action.details.items() if name in ("text", "said")}
    return action.model_copy(
        update={"details": action.details | spoken, "turn": action.turn or _turn_of(call, turns, action)}
    )


def _turn_of(call: Call, turns: tuple[Turn, ...], action: Action) -> int | None:
    """The turn in which the action happened: by the agent's sentence that announces it, else by time."""
    offset = (action.executed_at - call.spoken_from).total_seconds() if action.executed_at is not None else None
    said = " ".join(str(action.details.get("said") or "").casefold().split()).rstrip(".!")
    if said:
        announcing = [
            turn for turn in turns if turn.speaker is Speaker.AGENT and said in " ".join(turn.text.casefold().split())
        ]
        if announcing:
            return min(announcing, key=lambda turn: _apart(turn, offset)).n
    if offset is None or (call.duration_seconds is not None and offset > call.duration_seconds + 1):
        return None
    begun = [turn.n for turn in turns if turn.offset_seconds is not None and turn.offset_seconds <= offset]
    return begun[-1] if begun else None


def _apart(turn: Turn, offset: float | None) -> float:
    """Seconds between the turn and an action; the same for all turns where either has no time."""
    return abs(turn.offset_seconds - offset) if turn.offset_seconds is not None and offset is not None else math.inf
