"""Payloads as nobody meant them go through everything, from the HTTP client to both channels of each answer."""

import time
from collections import Counter
from pathlib import Path

import pytest
from mutations import Tally, batch
from tables import FULL, Row

import tape

pytestmark = [pytest.mark.anyio, pytest.mark.slow, pytest.mark.timeout(3_600)]

SEED = 20_261_120
PAYLOADS = 20_000 if FULL else 600
"""Of each vendor."""


@pytest.mark.parametrize("slug", sorted(tape.slugs()))
async def test_no_payload_breaks_what_reads_keeps_and_shows_it(
    slug: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, row: Row
) -> None:
    tape.unhurried(monkeypatch)
    begun = time.monotonic()
    total = Tally()
    batches = 0
    while total.payloads < PAYLOADS:
        total.add(await batch(slug, SEED + batches, tmp_path, each=1 if FULL else 5))
        batches += 1
    columns = ("vendor", "first seed", "passes", "refused", "payloads", "calls kept", "told unreadable", "answers")
    counts = (len(total.refused), total.payloads, total.stored, total.told, total.answers, len(total.problems))
    values = (slug, SEED, batches, *counts, f"{time.monotonic() - begun:.0f}")
    row("mutated payloads", (*columns, "problems", "seconds"), values)
    assert total.problems == []
    assert total.stored > total.payloads / 20, Counter(total.refused)
