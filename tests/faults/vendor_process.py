"""The vendors as a process of their own: `vendor_process.py COUNT SPACING_SECONDS PAGE SEED SLUG…`.

Breaks a share of its answers and lists new calls all the time. Prints the accounts as JSON; then, for each line on
stdin: `calm` no more faults and no new calls, `calls` the numbers listed by vendor, `asked` the requests since the last
time (vendor, path, seconds, which process asked), `hang` no more answers at all.
"""

import asyncio
import json
import random
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from vendors import Answer, Breaking, Line, breaking, worlds

SHARE = 0.3
ARRIVING = 0.05
"""The chance of each page of calls to be followed by a new call."""


def broken(server: Breaking, seed: int, state: dict[str, bool]) -> Callable[[Line], Any]:
    """Treats some exchanges badly, and lists new calls."""
    rng = random.Random(seed)
    newest = dict.fromkeys(server.worlds, 0)

    async def fault(line: Line) -> bool:
        if state["hangs"]:
            await asyncio.Event().wait()
        if state["calm"]:
            await line.send(await line.answer())
            return True
        slug = line.asked.slug
        answer = await line.answer()
        if line.asked.is_list and rng.random() < ARRIVING:
            newest[slug] -= 1
            server.worlds[slug].add(newest[slug])
        if rng.random() >= SHARE:
            await line.send(answer)
            return True
        return await badly(line, answer, rng)

    return fault


async def badly(line: Line, answer: Answer, rng: random.Random) -> bool:
    """One of the ways in which an exchange goes wrong."""
    match rng.choice(("500", "429", "503", "reset", "body", "short", "close", "html")):
        case "reset":
            line.reset()
        case "body":
            await line.write(answer.head() + answer.body[: len(answer.body) // 2])
            line.reset()
        case "short":
            await line.write(answer.head() + answer.body[:-2])
        case "close":
            await line.send(answer)
        case "html" if rng.random() < 0.2:
            await line.send(replace(answer, headers={"content-type": "text/html"}, body=b"<html>"))
            return True
        case status:
            number = 500 if status == "html" else int(status)
            await line.send(Answer(number, {"content-type": "application/json", "retry-after": "0"}, b"{}"))
            return True
    return False


def main(count: int, spacing: int, page: int, seed: int, slugs: list[str]) -> None:
    """Until stdin ends."""
    state = {"calm": seed == 0, "hangs": False}
    with breaking(worlds(count, slugs, spacing=timedelta(seconds=spacing)), page) as server:
        server.faults.update(dict.fromkeys(slugs, broken(server, seed, state)))
        print(json.dumps(server.accounts), flush=True)
        for line in sys.stdin:
            match line.strip():
                case "calm":
                    state["calm"] = True
                    print("{}", flush=True)
                case "hang":
                    state["hangs"] = True
                    print("{}", flush=True)
                case "calls":
                    print(json.dumps({slug: sorted(one.numbers) for slug, one in server.worlds.items()}), flush=True)
                case _:
                    asked, server.asked[:] = list(server.asked), []
                    told = [(one.slug, one.path, one.at, one.port) for one in asked]
                    print(json.dumps(told), flush=True)


if __name__ == "__main__":
    count, spacing, page, seed = map(int, sys.argv[1:5])
    main(count, spacing, page, seed, sys.argv[5:])
