"""Reads the scripts of made-up phone calls: what was said, what was done, and when.

A script is text. `== key` starts a call, `name: value` lines describe it, and then come its lines in order:

    A: the agent speaks          ~ 4               four seconds of silence
    C: the customer speaks       !action           an action is executed here
    !end  the agent hangs up     !after action     an action is executed after the call

Patterns (see `told`) add choices to that, so that one script makes many different calls.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from importlib.resources import files
from random import Random
from typing import Any, Literal

WORDS_A_SECOND = 2.9
HANGS_UP = "end"

_WHEN = re.compile(
    r"(?:(?P<minutes>\d+) minutes ago)|(?:(?:(?P<days>\d+) days ago|yesterday) (?P<hour>\d\d):(?P<minute>\d\d))"
)
_CHOICE = re.compile(r"\[([^\[\]]*\|[^\[\]]*)\]")
_WORD = re.compile(r"\{(\w+)\}")
_OPTIONAL = re.compile(r"([AC])\?(\w): (.*)")
_SENTENCE = re.compile(r"(^|[.?!] )([a-zà-ÿ])")


@dataclass(frozen=True, slots=True)
class Spoken:
    """One utterance, from `offset_seconds` for `seconds`."""

    speaker: Literal["agent", "customer"]
    text: str
    offset_seconds: float
    seconds: float


@dataclass(frozen=True, slots=True)
class Executed:
    """An action, named by its key in the business, or `HANGS_UP`."""

    action: str
    offset_seconds: float
    after_call: bool = False


@dataclass(frozen=True, slots=True)
class Story:
    """One phone call, without its date.

    `line` is the vendor on whose system it took place. `status` is in our words; `end` and `sip` say how it ended, where
    the vendor tells. `ringing_seconds` go before the first second that is counted. `settled` is false while transcript
    and summary are still being made.
    """

    key: str
    agent: str
    customer: str | None
    when: str
    language: str
    duration_seconds: int
    spoken: tuple[Spoken, ...]
    executed: tuple[Executed, ...]
    summary: str
    extracted: Mapping[str, Any]
    is_test: bool = False
    settled: bool = True
    line: str = "highlevel"
    direction: str = "inbound"
    status: str = "completed"
    end: str | None = None
    sip: int | None = None
    ringing_seconds: float = 0.0

    def started_at(self, now: datetime) -> datetime:
        """When it began, seen from `now`, in whose zone the business has its days."""
        found = _WHEN.fullmatch(self.when)
        if found is None:
            raise ValueError(f"story {self.key} has no time")
        if found["minutes"]:
            return now - timedelta(minutes=int(found["minutes"]))
        day = now.date() - timedelta(days=int(found["days"] or 1))
        rng = seeded(self.key, "clock")
        return datetime(
            day.year,
            day.month,
            day.day,
            int(found["hour"]),
            int(found["minute"]),
            rng.randrange(60),
            rng.randrange(1000) * 1000,
            tzinfo=now.tzinfo,
        )


@dataclass(frozen=True, slots=True)
class Script:
    """A call as it is written down."""

    key: str
    about: Mapping[str, str]
    picks: tuple[str, ...]
    lines: tuple[str, ...]


@dataclass(slots=True)
class _Clock:
    rng: Random
    seconds: float = 0.2
    spoken: list[Spoken] = field(default_factory=list[Spoken])
    executed: list[Executed] = field(default_factory=list[Executed])
    afterwards: list[str] = field(default_factory=list[str])

    def say(self, speaker: Literal["agent", "customer"], text: str) -> None:
        start = self.seconds + self.rng.uniform(0.2, 1.3)
        length = 0.6 + len(text.split()) / WORDS_A_SECOND
        self.spoken.append(Spoken(speaker, text, round(start, 3), round(length, 3)))
        self.seconds = start + length

    def execute(self, action: str) -> None:
        if action.startswith("after "):
            self.afterwards.append(action.removeprefix("after "))
        else:
            self.seconds += 0.6
            self.executed.append(Executed(action, round(self.seconds, 3)))


def seeded(*parts: object) -> Random:
    """Choices that fall the same way on every run and every machine."""
    return Random("/".join(map(str, parts)))  # noqa: S311 - a script, not a secret


def script_files() -> list[str]:
    """The names of the files in `scripts/`."""
    return sorted(
        file.name for file in (files("call_logs.sandbox") / "scripts").iterdir() if file.name.endswith(".txt")
    )


def scripts(name: str) -> Iterator[Script]:
    """The scripts of one file in `scripts/`, as written."""
    text = (files("call_logs.sandbox") / "scripts" / name).read_text(encoding="utf-8")
    for block in re.split(r"(?m)^== ", text)[1:]:
        key, *rest = [line for line in block.splitlines() if line and not line.startswith("#")]
        about: dict[str, str] = {}
        picks: list[str] = []
        while rest and (described := re.match(r"([a-z]+):\s*(.*)", rest[0])):
            rest.pop(0)
            if described[1] == "pick":
                picks.append(described[2])
            else:
                about[described[1]] = described[2]
        yield Script(key, about, tuple(picks), tuple(rest))


def story(script: Script) -> Story:
    """The call that a script tells."""
    clock = _Clock(seeded(script.key, "pace"))
    for line in script.lines:
        mark, rest = line[0], line[1:].removeprefix(":").strip()
        if mark == "A":
            clock.say("agent", rest)
        elif mark == "C":
            clock.say("customer", rest)
        elif mark == "~":
            clock.seconds += float(rest)
        elif mark == "!":
            clock.execute(rest)
        else:
            raise ValueError(f"script {script.key} has a line that is neither speech nor action: {line}")
    about = script.about
    duration = int(about.get("duration", clock.seconds + 1.5))
    afterwards = [Executed(action, duration + 4.0 + n, after_call=True) for n, action in enumerate(clock.afterwards)]
    return Story(
        key=script.key,
        agent=about["agent"],
        customer=about.get("customer"),
        when=about["when"],
        language=about.get("language", "en"),
        duration_seconds=duration,
        spoken=tuple(clock.spoken),
        executed=(*clock.executed, *afterwards),
        summary=about.get("summary", ""),
        extracted=json.loads(about.get("extracted", "{}")),
        is_test=about.get("test") == "yes",
        settled=about.get("settled") != "no",
        line=about.get("line", "highlevel"),
        direction=about.get("direction", "inbound" if "customer" in about else "web"),
        status=about.get("status", "completed"),
        end=about.get("end"),
        sip=int(about["sip"]) if "sip" in about else None,
        ringing_seconds=float(about.get("ringing", "0")),
    )


def told(pattern: Script, key: str, customer: str, when: str) -> Script:
    """One way to tell a pattern: its choices made, its `{words}` filled in, its optional lines kept or dropped."""
    rng = seeded("Lakeside Dental", key)
    first, _, last = customer.partition(" ")
    words = {"first": first, "last": last}
    for pick in pattern.picks:
        names, _, options = pick.partition(" = ")
        keys = names.split(", ")
        words.update(zip(keys, rng.choice(options.split("; ")).split(", ", len(keys) - 1), strict=True))

    def filled(text: str, side: int | None = None) -> str:
        def chosen(found: re.Match[str]) -> str:
            options = found[1].split("|")
            return rng.choice(options) if side is None else options[side % len(options)]

        text = _CHOICE.sub(chosen, text)
        return _sentences(_WORD.sub(lambda found: words[found[1]], text))

    kept: dict[str, int | None] = {}
    lines: list[str] = []
    for line in pattern.lines:
        if optional := _OPTIONAL.fullmatch(line):
            side = kept.setdefault(optional[2], rng.choice((None, rng.randrange(6))))
            if side is not None:
                lines.append(f"{optional[1]}: {filled(optional[3], side)}")
        elif line[0] in "AC":
            lines.append(line[:3] + filled(line[3:]))
        else:
            lines.append(line)
    about = {
        name: filled(value) if name in ("summary", "extracted") else value for name, value in pattern.about.items()
    }
    return Script(key, about | {"customer": customer, "when": when}, (), tuple(lines))


def _sentences(text: str) -> str:
    return _SENTENCE.sub(lambda found: found[1] + found[2].upper(), text)
