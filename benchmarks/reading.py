"""How fast a vendor's calls are read in: HTTP over loopback, adapter, cleaning, masking, words, index, checkpoint.

    python benchmarks/reading.py [PROVIDER[=CALLS] …]     such as highlevel=100000; without any, those of `SYNCED`
    python benchmarks/reading.py --business highlevel     the demo's calls (9 turns) instead of the corpus's (26 turns)

The vendor is the sandbox's stand-in, served from this process; `call-logs-mcp sync` runs in one of its own, from its start
to its end, and its figures are of that process alone. Making the calls is not measured.
"""

import gc
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import timedelta
from importlib import import_module
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import corpus
from asking import WrongAnswer
from call_logs.sandbox import serving
from call_logs.sandbox.business import PhoneCall, calls
from call_logs.store import Filter, open_store

HERE = Path(__file__).parent
SYNCED = {"highlevel": 20_000, "vyom": 5_000, "telzino": 5_000, "signalwire": 5_000, "bimpe": 1_000}
"""Calls of each vendor; Bimpe's take a request each."""

WEEK = timedelta(days=7)


def synced(provider: str, number: int, *, business: bool = False) -> dict[str, Any]:
    """Figures of a first pass over so many calls. Raises `WrongAnswer` unless each one is there afterwards.

    `business`: calls of the made-up business, as the demo's users see them, week after week.
    """
    told = _placed(number) if business else _told(number)
    stand_in = import_module(f"call_logs.sandbox.{provider}").stand_in(told)
    gc.collect()
    gc.freeze()  # the vendor answers without a pause for all that it holds
    try:
        with TemporaryDirectory() as folder, serving(stand_in.app) as origin:
            accounts = Path(folder) / "accounts.toml"
            accounts.write_text(accounts_of({provider: origin}, "bench-"), encoding="utf-8")
            figures = child(environment_of(accounts, str(Path(folder) / "calls.db")), "sync", provider)
            store = open_store(str(Path(folder) / "calls.db"))
            which = Filter((f"bench-{provider}",), include_tests=True, include_legs=True)
            held = store.list_calls(which, limit=1).total
            store.close()
    finally:
        gc.unfreeze()
    if held != number:
        raise WrongAnswer(f"{provider}: {held} of {number} calls arrived")
    return figures


def _told(number: int) -> list[PhoneCall]:
    """So many calls of the corpus in which something was said, of whatever vendor, newest first."""
    found: list[PhoneCall] = []
    for call in _spoken():
        found.append(corpus.as_told(call))
        if len(found) == number:
            break
    return sorted(found, key=lambda call: call.started_at, reverse=True)


def _placed(number: int) -> list[PhoneCall]:
    """So many calls of the business's HighLevel line in which something was said, newest first."""
    once = [call for call in calls(corpus.END) if call.story.spoken and call.customer]
    found = (
        replace(call, key=f"{call.key}-{n}", started_at=call.started_at - n * WEEK)
        for n in range(-(-number // len(once)))
        for call in once
    )
    return sorted(islice(found, number), key=lambda call: call.started_at, reverse=True)


def _spoken() -> Iterator[Any]:
    index = 0
    while True:
        yield from (call for call in corpus.chunk(index).calls if call.turns and not call.is_test)
        index += 1


def child(environment: Mapping[str, str], *arguments: str) -> dict[str, Any]:
    """What a process of `build.py` tells."""
    command = [sys.executable, HERE / "build.py", *arguments]
    ran = subprocess.run(command, env=dict(environment), stdout=subprocess.PIPE, check=False)
    if ran.returncode:  # it has said why
        raise SystemExit(1)
    return json.loads(ran.stdout.splitlines()[-1])


def accounts_of(origins: Mapping[str, str], prefix: str) -> str:
    """The config file: an account a provider, with the sandbox's credentials."""
    lines: list[str] = []
    for provider, origin in origins.items():
        settings = import_module(f"call_logs.sandbox.{provider}").stand_in([]).settings
        lines.append(f"[accounts.{prefix}{provider}]")
        lines += [f"{key} = {json.dumps(value)}" for key, value in (settings | {"base_url": origin}).items()]
        lines.append(f'provider = "{provider}"')
    return "\n".join(lines) + "\n"


def environment_of(accounts: Path, database: str) -> dict[str, str]:
    """No pass is ever due: the servers answer from the store alone."""
    foreign = ("CALL_LOGS_", *(f"{provider.upper()}_" for provider in corpus.PROVIDERS))
    clean = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    return clean | {
        "CALL_LOGS_CONFIG": str(accounts),
        "CALL_LOGS_DATABASE": database,
        "CALL_LOGS_MAX_AGE": "36500d",
        "CALL_LOGS_HISTORY": "3650d",
        "CALL_LOGS_TIMEZONE": "UTC",
    }


def main(*asked: str) -> None:
    """Measure, and print a line a provider."""
    business = "--business" in asked
    asked = tuple(one for one in asked if one != "--business")
    wanted = {
        provider: int(number or SYNCED[provider]) for provider, _, number in (one.partition("=") for one in asked)
    }
    for provider, number in (wanted or SYNCED).items():
        told = synced(provider, number, business=business)
        print(
            f"{provider}: {number:,} calls, {number / told['seconds']:,.0f}/s, {number / told['cpu']:,.0f}/s of one core, "
            f"peak {told['peak_mb']:.0f} MB",
            flush=True,
        )


if __name__ == "__main__":
    main(*sys.argv[1:])
