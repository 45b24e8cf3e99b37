"""What the benchmark measures with: the same calls everywhere, and truths that are where they say."""

import itertools
import json
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

import corpus
from asking import percentile
from call_logs.model import Status
from call_logs.store.words import tokens
from run import sized

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"
SIZE = 2_000


@pytest.fixture(scope="module")
def chunks() -> list[corpus.Chunk]:
    """Two thousand calls."""
    return list(corpus.newest_first(SIZE))


@pytest.mark.slow
def test_the_corpus_is_the_same_in_another_process(chunks: list[corpus.Chunk]) -> None:
    code = "import corpus; print(*(repr(chunk) for chunk in corpus.newest_first(200)), sep='\\n')"
    ran = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        check=True,
        timeout=30,
        env={"PYTHONPATH": f"{BENCHMARKS}:{BENCHMARKS.parent / 'server'}", "PYTHONHASHSEED": "7"},
    )
    printed = ran.stdout.decode().splitlines()
    assert printed == [repr(chunk) for chunk in corpus.newest_first(200)]
    assert set(printed) < {repr(chunk) for chunk in chunks}, "a smaller corpus is a part of a larger one"


def test_another_seed_makes_other_calls() -> None:
    assert not {call.id for call in corpus.chunk(3).calls} & {call.id for call in corpus.chunk(3, seed=1).calls}


def test_calls_come_newest_first_over_two_years(chunks: list[corpus.Chunk]) -> None:
    firsts = [chunk.calls[0].started_at for chunk in chunks]
    assert all(newer > older - corpus.CHUNK_SPAN for newer, older in itertools.pairwise(firsts))
    assert (firsts[0] - firsts[-1]).days > 650
    for chunk in chunks:
        moments = [call.started_at for call in chunk.calls]
        assert moments == sorted(moments, reverse=True)
    assert len({call.id for chunk in chunks for call in chunk.calls}) == SIZE


def test_planted_phrases_are_said_once_and_where_they_say(chunks: list[corpus.Chunk]) -> None:
    calls = {call.id: call for chunk in chunks for call in chunk.calls}
    told = {call.id: [f" {' '.join(tokens(turn.text))} " for turn in call.turns] for call in calls.values()}
    whole = "\n".join(" ".join(turns) for turns in told.values())
    planted = [chunk.planted for chunk in chunks if chunk.planted]
    assert len(planted) == SIZE // corpus.CHUNK_CALLS // corpus.PLANTED_EVERY
    for truth in planted:
        assert f" {truth.phrase} " in told[truth.call_id][truth.turn - 1]
        assert whole.count(f" {truth.phrase} ") == 1
        for word in truth.phrase.split():
            assert whole.count(f" {word} ") == 2
            assert sum(f" {word} " in turn for turn in told[truth.decoy]) == 1


def test_calls_are_of_the_shapes_that_were_promised(chunks: list[corpus.Chunk]) -> None:
    calls = [call for chunk in chunks for call in chunk.calls]
    spoken = [call for call in calls if call.turns]
    assert {call.provider for call in calls} == set(corpus.PROVIDERS)
    assert {call.status for call in calls if call.provider == "highlevel"} == {Status.COMPLETED}
    assert len({call.status for call in calls}) == 6
    assert 30 <= len({call.agent_id for call in calls}) <= corpus.AGENT_COUNT
    assert 23 < sum(len(call.turns) for call in spoken) / len(spoken) < 29
    assert max(len(call.turns) for call in spoken) <= corpus.MOST_TURNS
    silent = Counter(call.provider for call in calls if not call.turns)
    assert silent["signalwire"] > len(calls) / 50 > silent["highlevel"] / 2 > 0
    assert all(re.fullmatch(r"\+1\d{3}55501\d\d", str(call.from_number)) for call in spoken if not call.answered_at)
    english = sum(call.turns[0].text.isascii() for call in spoken) / len(spoken)
    assert 0.8 < english < 0.95


# -- the whole run ----------------------------------------------------------------------------------------------

ROWS = {
    "Reading calls in": 7,
    "Searching": 15,
    "Lists, counts, calls": 20,
    "Start": 2,
    "Several at once": 2,
}
"""At least so many rows has each part."""


def run(cache: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The benchmark over a few hundred calls."""
    return subprocess.run(
        [sys.executable, BENCHMARKS / "run.py", "400", "--rounds", "1", "--seconds", "1", "--cache", cache, *arguments],
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )


@pytest.mark.slow
@pytest.mark.timeout(420)
def test_a_run_prints_every_row_and_a_wrong_answer_ends_it(tmp_path: Path) -> None:
    ran = run(tmp_path, "--out", str(tmp_path / "table.md"))
    assert ran.returncode == 0, ran.stderr[-2000:]
    table = (tmp_path / "table.md").read_text(encoding="utf-8")
    assert table in ran.stdout
    parts = dict(part.split("\n", 1) for part in table.split("### ")[1:])
    assert parts.keys() == ROWS.keys()
    for title, part in parts.items():
        header, _, *rows = [line.strip("|").split("|") for line in part.splitlines() if line.startswith("|")]
        assert len(rows) >= ROWS[title], title
        assert all(len(row) == len(header) for row in rows), title
        assert all(re.search(r"\d", "".join(row[1:])) for row in rows), title
    assert "All 4 planted phrases are the one hit" in table
    assert re.findall(r"^\| 8 readers, one writer .* \| 0 \| \d+ pages", table, re.MULTILINE), "no errors, and it wrote"

    [facts] = tmp_path.glob("engines-400-*/facts.json")
    told = json.loads(facts.read_text(encoding="utf-8"))
    told["planted"][0]["turn"] += 1
    facts.write_text(json.dumps(told), encoding="utf-8")
    again = run(tmp_path)
    assert again.returncode == 1
    assert "a wrong answer" in again.stderr
    assert told["planted"][0]["phrase"] in again.stderr
    assert "filling" not in again.stderr, "the databases of the first run were taken"
    assert not again.stdout


@pytest.mark.slow
@pytest.mark.timeout(200)
def test_two_sizes_are_asked_in_turns(tmp_path: Path) -> None:
    command = [sys.executable, BENCHMARKS / "growth.py", "200", "400", "--rounds", "1", "--cache", tmp_path]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=180, check=False)
    assert ran.returncode == 0, ran.stderr[-2000:]
    rows = [line.strip("|").split("|") for line in ran.stdout.splitlines() if line.startswith("| ")]
    assert [cell.strip() for cell in rows[0]][3:5] == ["200 calls: p50 / p95", "400 calls: p50 / p95"]
    classes = json.loads(next(tmp_path.glob("engines-200-*/facts.json")).read_text())["questions"]
    assert [row[0].strip() for row in rows[2:]] == list(classes)


@pytest.mark.parametrize(
    ("values", "share", "wanted"),
    [([1.0], 0.95, 1.0), ([3.0, 1.0, 2.0], 0.5, 2.0), ([float(n) for n in range(1, 21)], 0.95, 19.0)],
)
def test_a_percentile_is_one_of_the_values(values: list[float], share: float, wanted: float) -> None:
    assert percentile(values, share) == wanted


def test_sizes_are_read_and_others_refused() -> None:
    assert [sized(text) for text in ("1k", "10k", "1M", "400")] == [1_000, 10_000, 1_000_000, 400]
    for text in ("100", "420", "k", "10x"):
        with pytest.raises(SystemExit):
            sized(text)
