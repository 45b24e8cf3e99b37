"""Mutated payloads and frames for as long as wanted: `python tests/faults/fuzz.py --seconds N [--seed S]`.

Every batch has a seed of its own, from S on (default: the time); a problem is printed with it and ends the run with exit
code 1. `--only SEED --vendor NAME` repeats one batch.
"""

import argparse
import itertools
import logging
import sys
import tempfile
import time
import traceback
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parents[1] / "server"), str(HERE.parent), str(HERE)]

import anyio  # noqa: E402 - the folders above come first
import pytest  # noqa: E402
from mutations import Tally, batch  # noqa: E402

import tape  # noqa: E402


def main() -> int:
    """The exit code: 0 nothing found, 1 something."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--only", type=int)
    parser.add_argument("--vendor", choices=sorted(tape.slugs()))
    asked = parser.parse_args()
    logging.basicConfig(level=logging.ERROR)
    patch = pytest.MonkeyPatch()
    tape.unhurried(patch)
    total = Tally()
    slugs = [asked.vendor] if asked.vendor else sorted(tape.slugs())
    seeds = [asked.only] if asked.only is not None else itertools.count(asked.seed)
    until = time.monotonic() + asked.seconds
    with tempfile.TemporaryDirectory() as folder:
        for seed, slug in ((seed, slug) for seed in seeds for slug in slugs):
            try:
                tally = anyio.run(lambda seed=seed, slug=slug: batch(slug, seed, Path(folder), each=3))
            except Exception as error:  # noqa: BLE001 - what was not foreseen is what is looked for
                tally = Tally(problems=["".join(traceback.format_exception(error))])
            total.add(tally)
            if tally.problems:
                print(f"seed {seed}, {slug}:", *tally.problems, sep="\n  ", flush=True)
            if time.monotonic() > until:
                break
    print(
        f"from seed {asked.seed}: {total.payloads} payloads, {total.stored} calls kept, {total.told} told as unreadable, "
        f"{total.answers} answers, {len(total.refused)} passes refused, {len(total.problems)} problems"
    )
    patch.undo()
    return 1 if total.problems else 0


if __name__ == "__main__":
    raise SystemExit(main())
