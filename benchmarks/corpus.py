"""Made-up calls of five vendors, as many as wanted, the same on every machine.

    python benchmarks/corpus.py [CALLS]         generates them and prints how long that took and what they hold

A chunk of fifty calls depends on the seed and its number alone, so a smaller corpus is a part of every larger one. Chunk
after chunk falls into the two years before `END` so that any number of them covers the two years evenly.

Words follow Zipf's law: first the common words of `languages/`, then a vocabulary of syllables. Two of five turns are
lines of support calls, which makes those phrases frequent: the worst case for a phrase search. Words are in no other
order, so nothing can be said of meaning. Every other chunk has a planted phrase of words that occur nowhere else, and a
decoy: a call with the same words, each in a turn of its own.
"""

import functools
import itertools
import math
import random
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypeVar

from call_logs.model import Action, ActionKind, Call, Direction, Speaker, Status, Turn
from call_logs.sandbox.business import AGENTS as SANDBOX_AGENTS
from call_logs.sandbox.business import Customer, PhoneCall
from call_logs.sandbox.story import Spoken, Story

T = TypeVar("T")

SEED = 20261120
END = datetime(2026, 11, 1, tzinfo=UTC)
YEARS = timedelta(days=730)
CHUNK_CALLS = 50
CHUNK_SPAN = timedelta(hours=20)
PLANTED_EVERY = 2
"""Chunks from one with a planted phrase to the next."""

PROVIDERS = ("highlevel", "vyom", "telzino", "bimpe", "signalwire")
LANGUAGES = {"en": 84, "es": 7, "hi": 3, "yo": 2, "zh": 2, "ja": 2}
"""Per cent of the calls."""

UNSPACED = ("zh", "ja")
AGENT_COUNT = 40
MEAN_TURNS, MOST_TURNS = 26, 160
MEAN_WORDS, MOST_WORDS = 14, 90
LINE_SHARE = 0.4
SILENT_SHARE = 0.05
REPORTED_SHARE = 0.6
"""SignalWire calls whose post-prompt report was kept; the others have no transcript."""

WORDS_A_SECOND = 2.9
AREA_CODES = (
    *("201", "202", "203", "205", "206", "207", "208", "209", "210", "212", "213", "214", "215", "216", "217", "218"),
    *("219", "224", "225", "228", "229", "231", "234", "239", "240", "248", "251", "252", "253", "254", "256", "260"),
    *("262", "267", "269", "270", "281", "301", "302", "303", "304", "305", "307", "308", "309", "310", "312", "313"),
    *("314", "315", "316", "317", "318", "319", "320", "321", "323", "330", "334", "336", "337", "347", "351", "352"),
)
"""With 555-0100 to 555-0199 each, which belong to nobody."""

_VOWELS = "aeiou"
_CONSONANTS = "bcdfghjklmnprstvwz"
_SYLLABLES = {
    "en": ("b c d f g h j k l m n p r s t v w z bl br ch cl dr fl gr pl pr sh sl st th tr", "a e i o u ai ea ee oo ou"),
    "es": ("b c d f g j l m n p r s t v z ch ll br cr gr pr tr", "a e i o u ia ie ue ó á"),
    "hi": ("क ख ग घ च छ ज झ ट ड त थ द ध न प फ ब भ म य र ल व श स ह", "ा ि ी ु ू े ो ं"),
    "yo": ("b d f g gb h j k l m n r s ṣ t w y", "a à á e ẹ̀ é i í o ọ́ ò u ù"),
    "zh": ("天 地 人 山 水 火 木 金 土 风 云 雨 雪 花 草 树 鸟 鱼 马 牛 羊 门 车 船 路 桥 城 村 国 家 书 笔 纸 画", ""),
    "ja": (
        "ア イ ウ エ オ カ キ ク ケ コ サ シ ス セ ソ タ チ ツ テ ト ナ ニ ヌ ネ ノ ハ ヒ フ ヘ ホ マ ミ ム メ モ",
        "",
    ),
}
_RARE_WORDS = {"en": 24_000, "es": 8_000, "hi": 6_000, "yo": 3_000, "zh": 3_000, "ja": 3_000}
_ENDINGS = ("s", "ed", "ing")
_ENDED_EVERY = 3
"""Of so many rare English words, one has its other forms in the vocabulary too."""

_STATUSES = (
    (Status.COMPLETED, 88),
    (Status.FAILED, 4),
    (Status.CANCELED, 3),
    (Status.NO_ANSWER, 3),
    (Status.BUSY, 1),
    (Status.REJECTED, 1),
)
_UNHEARD = (Status.NO_ANSWER, Status.BUSY, Status.REJECTED)
_ONLY_COMPLETED = ("highlevel", "telzino")
_DIRECTIONS = ((Direction.INBOUND, 70), (Direction.OUTBOUND, 25), (Direction.WEB, 5))
_ACTIONS = {
    "highlevel": ("transfer", "message", "appointment", "workflow", "extraction", "knowledge", "custom", "end"),
    "bimpe": ("message", "appointment", "end"),
    "telzino": ("transfer", "webhook", "end"),
    "signalwire": ("transfer", "webhook", "end"),
    "vyom": (),
}
_AGENT_NAMES = ("Reception", "Billing", "Support", "Sales", "Renewals", "Dispatch", "Claims", "After Hours")


@dataclass(frozen=True)
class Language:
    """A language as calls speak it. `cumulated` are the words' frequencies, summed up."""

    words: tuple[str, ...]
    cumulated: tuple[float, ...]
    lines: tuple[str, ...]
    names: tuple[str, ...]
    gap: str


@dataclass(frozen=True)
class Planted:
    """A phrase that is said once in the whole corpus: in this turn of this call. `decoy` has its words apart."""

    phrase: str
    call_id: str
    turn: int
    decoy: str


@dataclass(frozen=True)
class Chunk:
    """Fifty calls, newest first, and what is planted in them."""

    calls: tuple[Call, ...]
    planted: Planted | None


def newest_first(size: int, seed: int = SEED) -> Iterator[Chunk]:
    """The corpus of `size` calls (a multiple of fifty), its chunks in order of time, newest first, as backfills read."""
    for number in sorted(range(size // CHUNK_CALLS), key=_place, reverse=True):
        yield chunk(number, seed)


def chunk(number: int, seed: int = SEED) -> Chunk:
    """The chunk of this number."""
    rng = random.Random(f"{seed}/{number}")
    begins = END - YEARS + (YEARS - CHUNK_SPAN) * _place(number)
    moments = sorted((begins + CHUNK_SPAN * rng.random() for _ in range(CHUNK_CALLS)), reverse=True)
    calls = [_call(rng, moment.replace(microsecond=moment.microsecond // 1000 * 1000)) for moment in moments]
    return _plant(rng, number, calls) if number % PLANTED_EVERY == 0 else Chunk(tuple(calls), None)


def account_of(provider: str) -> str:
    """The name of the one account that there is at a provider."""
    return f"bench-{provider}"


def as_told(call: Call) -> PhoneCall:
    """The call for a stand-in of a vendor, handled by one of the agents that the sandbox has; it keeps no actions."""
    agents = [agent for agent in SANDBOX_AGENTS.values() if not agent.is_deleted]
    ends = [turn.offset_seconds or 0.0 for turn in call.turns[1:]] + [call.duration_seconds or 0.0]
    spoken = tuple(
        Spoken(
            "agent" if turn.speaker is Speaker.AGENT else "customer",
            turn.text,
            turn.offset_seconds or 0.0,
            round(end - (turn.offset_seconds or 0.0), 3),
        )
        for turn, end in zip(call.turns, ends, strict=True)
    )
    agent = agents[int(call.vendor_call_id[-2:], 16) % len(agents)]
    story = Story(
        key=call.vendor_call_id,
        agent=agent.name,
        customer=None,
        when="",
        language="en",
        duration_seconds=math.ceil(call.duration_seconds or 0),
        spoken=spoken,
        executed=(),
        summary=call.summary or "",
        extracted={"title": "A call"},
        line=call.provider,
    )
    return PhoneCall(call.vendor_call_id, call.started_at, agent, Customer(None, call.from_number or ""), story)


def _place(number: int) -> float:
    """Where in the two years a chunk falls: the bits of its number, mirrored at the point."""
    return int(f"{number:b}"[::-1], 2) / 2 ** number.bit_length() if number else 0.0


# -- one call ---------------------------------------------------------------------------------------------------


def _call(rng: random.Random, started: datetime) -> Call:
    agent = _pick(rng, *_agents())
    provider = PROVIDERS[agent % len(PROVIDERS)]
    spoken = _pick(rng, tuple(LANGUAGES), tuple(itertools.accumulate(LANGUAGES.values())))
    status = Status.COMPLETED if provider in _ONLY_COMPLETED else _weighed(rng, _STATUSES)
    direction = Direction.UNKNOWN if provider in _ONLY_COMPLETED else _weighed(rng, _DIRECTIONS)
    customer = f"+1{rng.choice(AREA_CODES)}55501{rng.randrange(100):02}"
    ours = f"+1888555{100 + agent:04}"
    silent = rng.random() < SILENT_SHARE or (provider == "signalwire" and rng.random() >= REPORTED_SHARE)
    turns: list[Turn] = []
    seconds = rng.uniform(0, 40)
    if status not in _UNHEARD and not silent:
        turns, seconds = _turns(rng, language(spoken), 0.3 if status is Status.FAILED else 1.0)
    answered = started + timedelta(seconds=4) if turns and provider not in _ONLY_COMPLETED else None
    return Call(
        account=account_of(provider),
        provider=provider,
        vendor_call_id=f"{rng.getrandbits(96):024x}",
        direction=direction,
        status=status,
        vendor_status=None if provider in _ONLY_COMPLETED else str(status),
        end_reason=rng.choice(("customer hung up", "agent hung up", "transferred", "silence")) if turns else None,
        from_number=ours if direction is Direction.OUTBOUND else customer,
        to_number=customer if direction is Direction.OUTBOUND else ours,
        started_at=started,
        answered_at=answered,
        ended_at=started + timedelta(seconds=round(seconds) + 4) if provider not in _ONLY_COMPLETED else None,
        duration_seconds=round(seconds, 1),
        agent_id=f"agent-{agent:02}",
        agent_name=f"{_AGENT_NAMES[agent % len(_AGENT_NAMES)]} {agent // len(_AGENT_NAMES) + 1}",
        is_test=rng.random() < 0.01,
        summary=" ".join(turn.text for turn in turns[1:3])[:300] or None if provider != "vyom" else None,
        turns=tuple(turns),
        actions=_actions(rng, provider, started, turns),
    )


def _turns(rng: random.Random, speech: Language, share: float) -> tuple[list[Turn], float]:
    """What was said, and the seconds that it took."""
    count = min(MOST_TURNS, max(1, round(_lognormal(rng, MEAN_TURNS, 0.75) * share)))
    lengths = [
        0 if rng.random() < LINE_SHARE else min(MOST_WORDS, max(1, round(_lognormal(rng, MEAN_WORDS, 0.8))))
        for _ in range(count)
    ]
    words = iter(rng.choices(speech.words, cum_weights=speech.cumulated, k=sum(lengths)))
    turns: list[Turn] = []
    seconds = 0.5
    for n, length in enumerate(lengths, 1):
        text = speech.gap.join(itertools.islice(words, length)) if length else _line(rng, speech)
        speaker = Speaker.AGENT if n % 2 else Speaker.CUSTOMER
        turns.append(Turn(n=n, speaker=speaker, text=text, offset_seconds=round(seconds, 2)))
        seconds += 0.8 + (length or 9) / WORDS_A_SECOND
    return turns, seconds


def _line(rng: random.Random, speech: Language) -> str:
    line = rng.choice(speech.lines)
    if "{" not in line:
        return line
    return line.format(
        agent=rng.choice(speech.names),
        name=rng.choice(speech.names),
        order=f"E-{rng.randrange(100_000, 1_000_000)}",
        amount=f"${rng.randrange(5, 400)}.{rng.randrange(100):02}",
        phone=f"{rng.choice(AREA_CODES)}-555-01{rng.randrange(100):02}",
        day=rng.choice(("Monday", "Tuesday", "Wednesday", "Thursday", "Friday")),
        time=f"{rng.randrange(8, 18)}:{rng.choice(('00', '15', '30', '45'))}",
    )


def _actions(rng: random.Random, provider: str, started: datetime, turns: list[Turn]) -> tuple[Action, ...]:
    kinds = _ACTIONS[provider]
    if not turns or not kinds or rng.random() < 0.5:
        return ()
    done = sorted(rng.sample(turns, min(len(turns), rng.randint(1, 3))), key=lambda turn: turn.n)
    actions: list[Action] = []
    for turn in done:
        kind = ActionKind(rng.choice(kinds))
        at = started + timedelta(seconds=turn.offset_seconds or 0.0)
        actions.append(Action(kind=kind, vendor_kind=kind.upper(), name=f"The {kind}", executed_at=at, turn=turn.n))
    return tuple(actions)


def _plant(rng: random.Random, number: int, calls: list[Call]) -> Chunk:
    long = [index for index, call in enumerate(calls) if len(call.turns) >= 4 and not call.is_test]
    target, decoy = rng.sample(long, 2)
    words = [_planted_word(3 * number + n) for n in range(3)]
    phrase = " ".join(words)
    turn = rng.randrange(len(calls[target].turns))
    calls[target] = _said(calls[target], {turn: f"I wrote down {phrase} and nothing else."})
    apart = rng.sample(range(len(calls[decoy].turns)), 3)
    said = {n: f"{calls[decoy].turns[n].text} {word}" for n, word in zip(apart, words, strict=True)}
    calls[decoy] = _said(calls[decoy], said)
    return Chunk(tuple(calls), Planted(phrase, calls[target].id, turn + 1, calls[decoy].id))


def _said(call: Call, texts: dict[int, str]) -> Call:
    turns = [
        turn.model_copy(update={"text": texts[index]}) if index in texts else turn
        for index, turn in enumerate(call.turns)
    ]
    return call.model_copy(update={"turns": tuple(turns)})


def _planted_word(number: int) -> str:
    """A word of its own: no word of a vocabulary here begins with qu and ends with x."""
    syllables = [consonant + vowel for consonant in _CONSONANTS for vowel in _VOWELS]
    word = ""
    for _ in range(3):
        number, rest = divmod(number, len(syllables))
        word += syllables[rest]
    return f"qu{word}x"


# -- frequencies ------------------------------------------------------------------------------------------------


@functools.cache
def language(name: str) -> Language:
    """A language with its common words, and rare ones made of syllables."""
    parts = _parts(name)
    words = list(dict.fromkeys([*" ".join(parts["words"]).split(), *_rare(name)]))
    frequencies = [1 / (rank + 2.7) ** 1.05 for rank in range(1, len(words) + 1)]
    return Language(
        tuple(words),
        tuple(itertools.accumulate(frequencies)),
        tuple(parts["lines"]),
        tuple(parts["names"]),
        "" if name in UNSPACED else " ",
    )


def _parts(name: str) -> dict[str, list[str]]:
    parts: dict[str, list[str]] = {}
    current: list[str] = []
    for line in (Path(__file__).parent / f"languages/{name}.txt").read_text(encoding="utf-8").splitlines():
        if line.startswith("= "):
            current = parts.setdefault(line.removeprefix("= "), [])
        elif not line.startswith("#"):
            current.append(line)
    return parts


def _rare(name: str) -> Iterator[str]:
    rng = random.Random(f"{SEED}/{name}")
    first, second = (part.split() for part in _SYLLABLES[name])
    for n in range(_RARE_WORDS[name]):
        syllables = rng.choice((2, 2, 3, 3, 4))
        word = "".join(rng.choice(first) + (rng.choice(second) if second else "") for _ in range(syllables))
        word += rng.choice(("", "n", "r", "l", "m")) if name in ("en", "es") else ""
        yield word
        if name == "en" and n % _ENDED_EVERY == 0:
            yield word + rng.choice(_ENDINGS)


@functools.cache
def _agents() -> tuple[tuple[int, ...], tuple[float, ...]]:
    return tuple(range(AGENT_COUNT)), tuple(itertools.accumulate(1 / (n + 1) for n in range(AGENT_COUNT)))


def _pick(rng: random.Random, values: tuple[T, ...], cumulated: tuple[float, ...]) -> T:
    return rng.choices(values, cum_weights=cumulated)[0]


def _weighed(rng: random.Random, choices: tuple[tuple[T, int], ...]) -> T:
    return rng.choices([value for value, _ in choices], [weight for _, weight in choices])[0]


def _lognormal(rng: random.Random, mean: float, sigma: float) -> float:
    return rng.lognormvariate(math.log(mean) - sigma * sigma / 2, sigma)


def main(size: int) -> None:
    """Generate and print."""
    began = time.perf_counter()
    calls = turns = silent = characters = planted = 0
    for part in newest_first(size):
        calls += len(part.calls)
        planted += part.planted is not None
        for call in part.calls:
            turns += len(call.turns)
            silent += not call.turns
            characters += sum(len(turn.text) for turn in call.turns)
    took = time.perf_counter() - began
    print(
        f"{calls} calls, {turns} turns, {silent} without, {characters / 1e6:.1f} million characters, {planted} planted"
    )
    print(f"{took:.1f} s, {calls / took:.0f} calls a second")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 10_000)
