"""`sync` as it is seen: bars at a terminal, plain lines elsewhere, an end on Ctrl-C that loses nothing."""

import json
import logging
import os
import re
import sys
import threading
from collections.abc import Generator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest

from call_logs.commands import sync as command
from call_logs.commands.sync import Course
from call_logs.commands.terminal import drawing
from call_logs.logs import ToStderr
from call_logs.sandbox import Sandbox, serving
from call_logs.sandbox.highlevel import application
from call_logs.store.sqlite import SQLiteStore
from call_logs.sync import HOW_IT_STANDS
from command_line import config_file, run
from terminal import ESCAPES, at_terminal

TABLE = {"provider": "highlevel", "token": "terminal-token", "location_id": "TerminalLocation01"}
CALLS = 120


@contextmanager
def vendor() -> Generator[tuple[str, threading.Event]]:
    """HighLevel with 120 calls, 50 a page; the third page comes once the event is set."""
    now = datetime.now(UTC)
    rows = [
        {
            "id": f"{number:024x}",
            "agentId": "66a0f4c2a1d2e3f405060a01",
            "createdAt": (now - timedelta(hours=6 * number + 1))
            .isoformat(timespec="milliseconds")
            .replace("+00:00", "Z"),
            "duration": 60,
            "transcript": "human:hello there\nbot:good day",
            "fromNumber": "+12065550123",
        }
        for number in range(CALLS)
    ]
    app = application(rows, [], token=TABLE["token"], location_id=TABLE["location_id"])
    go_on = threading.Event()

    async def held(scope: Any, receive: Any, send: Any) -> None:
        if b"page=3" in scope["query_string"]:
            await anyio.to_thread.run_sync(go_on.wait, 30, abandon_on_cancel=True)
        await app(scope, receive, send)

    with serving(held) as origin:
        try:
            yield origin, go_on
        finally:
            go_on.set()


@pytest.fixture
def database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the command keeps calls."""
    path = tmp_path / "calls.db"
    monkeypatch.setenv("CALL_LOGS_DATABASE", str(path))
    return path


def configure(folder: Path, monkeypatch: pytest.MonkeyPatch, **accounts: dict[str, str]) -> None:
    monkeypatch.setenv("CALL_LOGS_CONFIG", str(config_file(folder, accounts)))


def held(path: Path, account: str) -> int:
    store = SQLiteStore(path)
    [row] = store.accounts([account])
    store.close()
    return row.calls


def test_log_lines_go_to_what_stderr_is_when_they_are_written(capsys: pytest.CaptureFixture[str]) -> None:
    handler = ToStderr(sys.__stderr__)
    handler.handle(logging.LogRecord("call_logs", logging.ERROR, __file__, 1, "a line", (), None))
    assert capsys.readouterr().err == "a line\n"


def test_what_an_earlier_run_read_is_no_part_of_the_way(
    database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with vendor() as (origin, go_on):
        configure(tmp_path, monkeypatch, slow={**TABLE, "base_url": origin})
        at_terminal(["sync"], os.environ, interrupt_at="100 calls")
        go_on.set()
        store = SQLiteStore(database)
        low = store.marks("slow").low
        store.close()
        courses: list[Course] = []

        def noted(name: str, **given: Any) -> Course:
            courses.append(Course(name, **given))
            return courses[-1]

        monkeypatch.setattr(command, "Course", noted)
        assert run("sync").code == 0
    assert low is not None
    assert courses[0].begins == low


def test_ctrl_c_keeps_what_was_read_and_the_next_run_goes_on_there(
    database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with vendor() as (origin, go_on):
        configure(tmp_path, monkeypatch, slow={**TABLE, "base_url": origin})
        shown = at_terminal(["sync"], os.environ, interrupt_at="100 calls")
        assert shown.code == 130
        last = " ".join(shown.text.split())
        assert "Stopped. What was read is kept (100 calls in this run). Run call-logs-mcp sync again" in last
        assert "Traceback" not in shown.text
        assert held(database, "slow") == 100
        go_on.set()
        again = run("sync", "--json")
    assert again.code == 0
    assert json.loads(again.out)[0]["calls"] == CALLS


def test_bars_tell_calls_and_how_far_back_and_fit_the_terminal(
    database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with vendor() as (origin, _):
        configure(tmp_path, monkeypatch, slow={**TABLE, "base_url": origin})
        shown = at_terminal(["sync"], os.environ, interrupt_at="100 calls")
    assert not held(database, "slow") % 50
    reached = datetime.now(UTC) - timedelta(hours=6 * 99)
    assert "100 calls · about" in shown.text
    assert f"back to {reached:%Y-%m}" in shown.text
    assert max(len(ESCAPES.sub("", line)) for line in re.split(r"[\r\n]", shown.raw)) <= 80


def test_a_refused_account_is_red_at_once_with_its_next_step_and_spoils_no_other(
    database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with vendor() as (origin, go_on):
        table = {**TABLE, "base_url": origin}
        configure(tmp_path, monkeypatch, good=table, bad={**table, "token": "another-token"})
        early = at_terminal(["sync"], os.environ, interrupt_at="token of [accounts.bad]")
        assert early.code == 130, "it was told before the other account was done"
        assert "\x1b[1;31mparked" in early.raw
        assert early.text.count("refused the credential") == 1, "the log tells it too"
        go_on.set()
        shown = at_terminal(["sync"], os.environ)
    assert shown.code == 1
    assert "good: ok, 120 calls." in shown.text
    assert "another-token" not in shown.raw + early.raw
    assert held(database, "good") == CALLS


def test_without_a_terminal_there_are_lines_now_and_then_and_no_escape_codes(
    database: Path, sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "LINE_SECONDS", 0.0)
    configure(tmp_path, monkeypatch, one=sandbox.accounts["demo-highlevel"], two=sandbox.accounts["demo-vyom"])
    ran = run("sync")
    assert ran.code == 0
    assert sorted(ran.out.splitlines()) == [f"{name}: ok, {held(database, name)} calls." for name in ("one", "two")]
    assert "one: 0 calls · time left unknown" in ran.err.splitlines()
    assert "\x1b" not in ran.out + ran.err


def test_without_a_terminal_a_short_run_writes_one_line_an_account(
    database: Path, sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    configure(tmp_path, monkeypatch, one=sandbox.accounts["demo-highlevel"])
    ran = run("sync")
    assert (ran.out, ran.err) == (f"one: ok, {held(database, 'one')} calls.\n", "")


def test_json_comes_alone(database: Path, sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    configure(tmp_path, monkeypatch, one=sandbox.accounts["demo-highlevel"])
    ran = run("sync", "--json")
    assert ran.err == ""
    assert json.loads(ran.out) == [
        {
            "account": "one",
            "provider": "highlevel",
            "state": "ok",
            "calls": held(database, "one"),
            "problem": None,
            "next_step": None,
        }
    ]


@pytest.mark.parametrize(
    ("reached_days", "begins_days", "words"),
    [
        (None, 0, "500 calls · time left unknown · 50/s"),
        (0.5, 0, "500 calls · time left unknown · back to 2026-09-30 · 50/s"),  # too little to tell
        (25, 0, "500 calls · about 30 s left · back to 2026-09-05 · 50/s"),
        (75, 50, "500 calls · about 10 s left · back to 2026-07-17 · 50/s"),  # an earlier run read the first half
        (1, 50, "500 calls · time left unknown · back to 2026-09-29 · 50/s"),  # what is new goes first
        (100, 0, "500 calls · about 0 s left · back to 2026-06-22 · 50/s"),
    ],
)
def test_time_left_is_told_only_where_it_can_be(reached_days: float | None, begins_days: float, words: str) -> None:
    now = datetime(2026, 9, 30, 23, tzinfo=UTC)
    course = Course(
        "acme", floor=now - timedelta(days=100), begins=now - timedelta(days=begins_days), began=0.0, read=500
    )
    course.reached = None if reached_days is None else now - timedelta(days=reached_days)
    assert course.words(10.0) == words


def test_a_vendor_that_is_tried_again_is_told_instead_of_the_time_left() -> None:
    now = datetime.now(UTC)
    course = Course("acme", floor=now - timedelta(days=90), begins=now, reached=now - timedelta(days=45))
    course.trouble = "acme (Vyom) asks us to slow down (HTTP 429)."
    assert "slow down" in course.words(course.began + 5)
    assert "left" not in course.words(course.began + 5)


def test_while_bars_are_drawn_only_what_they_tell_is_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    log = logging.getLogger("call_logs.sync")
    with drawing():
        log.warning(HOW_IT_STANDS, "acme", "The credential was refused.")
        log.warning("%s: erased %d calls that the vendor deleted", "acme", 3)
    log.warning(HOW_IT_STANDS, "acme", "answers again")
    assert [record.getMessage() for record in caplog.records] == [
        "acme: erased 3 calls that the vendor deleted",
        "acme: answers again",
    ]


def test_old_calls_are_seen_to_after_the_passes(
    database: Path, sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    configure(tmp_path, monkeypatch, one=sandbox.accounts["demo-highlevel"])
    assert run("sync").code == 0
    before = held(database, "one")
    monkeypatch.setenv("CALL_LOGS_RETENTION", "3d")
    assert run("sync").code == 0
    assert 0 < held(database, "one") < before
