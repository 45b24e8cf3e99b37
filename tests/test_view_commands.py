"""`view` and `report`: answers as files, from what the store holds."""

import json
import re
import shutil
import stat
import subprocess
import sys
import webbrowser
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from call_logs.__main__ import cli
from call_logs.errors import CallLogsError, ConfigError
from call_logs.model import Call, Speaker, Status, Turn
from call_logs.sandbox import Sandbox
from call_logs.store import Filter
from call_logs.store.sqlite import SQLiteStore
from conftest import ACCOUNT

Command = Callable[..., Result]


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The addresses that a browser was asked to open."""
    addresses: list[str] = []

    def browse(address: str) -> bool:
        addresses.append(address)
        return True

    monkeypatch.setattr(webbrowser, "open", browse)
    return addresses


@pytest.fixture
def database(synced: Path, tmp_path: Path) -> Path:
    """A store that an earlier pass filled."""
    path = tmp_path / "calls.db"
    shutil.copy(synced, path)
    return path


@pytest.fixture
def command(
    sandbox: Sandbox, database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, opened: list[str]
) -> Command:
    """Runs the command line over that store. Fails the test if the vendor was asked for anything."""
    del opened  # no browser of this machine
    config = tmp_path / "accounts.toml"
    lines = [f'{name} = "{value}"' for name, value in sandbox.accounts[ACCOUNT].items()]
    config.write_text(f"[accounts.{ACCOUNT}]\n" + "\n".join(lines), encoding="utf-8")
    monkeypatch.setenv("CALL_LOGS_CONFIG", str(config))
    monkeypatch.setenv("CALL_LOGS_DATABASE", str(database))
    monkeypatch.setenv("CALL_LOGS_TIMEZONE", "America/New_York")
    monkeypatch.chdir(tmp_path)

    def run(*words: str) -> Result:
        before = len(sandbox.received)
        result = CliRunner().invoke(cli, words)
        assert len(sandbox.received) == before
        return result

    return run


def embedded(page: Path) -> dict[str, Any]:
    """What the page holds, as its script reads it."""
    html = page.read_text(encoding="utf-8")
    [held] = re.findall(r'<script type="application/json" id="given">(.*?)</script>', html, re.DOTALL)
    return json.loads(held)["result"]


def some_call(database: Path) -> str:
    """The id of a call that was spoken and that the store holds."""
    store = SQLiteStore(database)
    rows = store.list_calls(Filter((ACCOUNT,)), limit=50).rows
    store.close()
    return next(row.id for row in rows if row.turns)


def test_view_writes_the_call_and_its_promises_for_its_owner_only_and_opens_it(
    command: Command, database: Path, tmp_path: Path, opened: list[str]
) -> None:
    call_id = some_call(database)
    ran = command("view", call_id, "--out", "call.html")
    assert ran.exit_code == 0, ran.output
    page = tmp_path / "call.html"
    assert stat.S_IMODE(page.stat().st_mode) == 0o600
    assert opened == [page.resolve().as_uri()]
    held = embedded(page)
    assert held["structuredContent"]["call"]["id"] == call_id
    assert len(held["structuredContent"]["turns"]) == held["structuredContent"]["total_turns"] > 0
    assert held["_meta"]["call-logs/promises"]["actions_reported"] is True
    assert re.search(r"call\.html: (\d+) of \1 turns\. As of \d{4}-\d\d-\d\d \d\d:\d\d -0\d:00: complete\.", ran.output)


def test_view_without_a_file_writes_a_temporary_one_and_no_open_opens_none(
    command: Command, database: Path, opened: list[str]
) -> None:
    ran = command("view", some_call(database), "--no-open", "--json")
    told = json.loads(ran.output)
    page = Path(told["file"])
    try:
        assert stat.S_IMODE(page.stat().st_mode) == 0o600
        assert told["opened"] is False
        assert told["coverage"]["complete"] is True
        assert embedded(page)["structuredContent"]["call"]["id"] == told["call_id"]
    finally:
        page.unlink()
    assert not opened


def test_a_file_that_exists_is_not_overwritten(command: Command, database: Path, tmp_path: Path) -> None:
    page = tmp_path / "mine.html"
    page.write_text("mine", encoding="utf-8")
    link = tmp_path / "link.html"
    link.symlink_to(tmp_path / "nowhere.html")
    for out in (page, link):
        for words in (["view", some_call(database)], ["report", "--since", "today"]):
            ran = command(*words, "--out", str(out))
            assert isinstance(ran.exception, ConfigError)
            assert "exists. Give --out another name" in str(ran.exception)
    assert page.read_text(encoding="utf-8") == "mine"
    assert not (tmp_path / "nowhere.html").exists()


def test_a_file_that_cannot_be_written_is_told_without_a_traceback(command: Command, database: Path) -> None:
    ran = command("view", some_call(database), "--out", "no/such/folder/call.html")
    assert isinstance(ran.exception, ConfigError)
    assert "cannot be written" in str(ran.exception)


@pytest.mark.parametrize("call_id", ["nobody/1", "not-an-id", f"{ACCOUNT}/{'0' * 24}"])
def test_an_unknown_call_is_told_as_the_tool_tells_it(command: Command, tmp_path: Path, call_id: str) -> None:
    ran = command("view", call_id, "--out", "call.html")
    assert isinstance(ran.exception, CallLogsError)
    assert re.search("There is no such call id|is held here", str(ran.exception))
    assert not (tmp_path / "call.html").exists()


def test_a_call_too_long_for_one_answer_is_written_whole(command: Command, database: Path, tmp_path: Path) -> None:
    store = SQLiteStore(database)
    held = store.excerpt((ACCOUNT,), some_call(database), 1, 0)
    assert held is not None
    speakers = (Speaker.CUSTOMER, Speaker.AGENT)
    turns = tuple(
        Turn(
            n=n, speaker=speakers[n % 2], text=f"And then we talked about the weather once more, {n}.", offset_seconds=n
        )
        for n in range(1, 2001)
    )
    long = Call(
        account=ACCOUNT,
        provider="highlevel",
        vendor_call_id="f" * 24,
        status=Status.COMPLETED,
        started_at=held.call.started_at,
        turns=turns,
    )
    store.save_page(ACCOUNT, [long])
    store.close()
    ran = command("view", long.id, "--out", "long.html")
    assert ran.exit_code == 0, ran.output
    assert "2000 of 2000 turns" in ran.output
    answer = embedded(tmp_path / "long.html")["structuredContent"]
    assert [turn["n"] for turn in answer["turns"]] == list(range(1, 2001))
    assert "next_turns" not in answer


def test_what_was_said_cannot_close_the_pages_script(command: Command, database: Path, tmp_path: Path) -> None:
    store = SQLiteStore(database)
    said = "</script><script>alert(1)</script> <!-- \u2028 & done"
    held = store.excerpt((ACCOUNT,), some_call(database), 1, 0)
    assert held is not None
    turn = Turn(n=1, speaker=Speaker.CUSTOMER, text=said)
    store.save_page(ACCOUNT, [held.call.model_copy(update={"vendor_call_id": "e" * 24, "turns": (turn,)})])
    store.close()
    assert command("view", f"{ACCOUNT}/{'e' * 24}", "--out", "call.html").exit_code == 0
    html = (tmp_path / "call.html").read_text(encoding="utf-8")
    assert html.count("</script>") == html.count("<script") == 2
    assert "alert(1)" in embedded(tmp_path / "call.html")["structuredContent"]["turns"][0]["text"]


def test_a_report_holds_the_same_window_in_counts_list_and_promises(command: Command, tmp_path: Path) -> None:
    ran = command("report", "--since", "last 30 days", "--out", "report.html", "--json")
    assert ran.exit_code == 0, ran.output
    told = json.loads(ran.output)
    page = tmp_path / "report.html"
    assert stat.S_IMODE(page.stat().st_mode) == 0o600
    answer = embedded(page)["structuredContent"]
    totals = {answer[name]["total"] for name in ("calls", "by_day", "by_status", "by_agent")}
    assert totals == {told["calls"]}
    assert told["calls"] > 100 == len(answer["calls"]["calls"][:100])
    assert len({row["id"] for row in answer["calls"]["calls"]}) == told["calls"] == told["listed"]
    assert answer["promises"]["calls_considered"] == told["calls"]
    assert told["unkept_promises"] == len(answer["promises"]["promised_not_executed"]) > 0
    windows = [answer[name]["window"] for name in ("calls", "by_day", "by_status", "by_agent", "promises")]
    assert all(window == windows[0] for window in windows)


def test_a_report_of_an_account_and_a_past_period_says_its_numbers(command: Command, tmp_path: Path) -> None:
    ran = command(
        "report", "--since", "last week", "--until", "last week", "--account", "highlevel", "--out", "week.html"
    )
    assert ran.exit_code == 0, ran.output
    assert re.search(r"week\.html: \d+ calls, \d+ unkept promises\. As of .*: complete\.", ran.output)
    answer = embedded(tmp_path / "week.html")["structuredContent"]
    assert answer["filters"] == {"account": "highlevel"}
    assert answer["by_day"]["window"]["until"] is not None


def test_a_window_that_cannot_be_read_is_told(command: Command, tmp_path: Path) -> None:
    ran = command("report", "--since", "whenever", "--out", "report.html")
    assert isinstance(ran.exception, CallLogsError)
    assert "`since` cannot be read" in str(ran.exception)
    assert not (tmp_path / "report.html").exists()


def test_what_was_never_read_makes_the_report_incomplete_with_a_next_step(
    command: Command, database: Path, tmp_path: Path
) -> None:
    database.unlink()
    ran = command("report", "--since", "today", "--out", "report.html")
    assert ran.exit_code == 0, ran.output
    assert "Nothing read yet: INCOMPLETE" in ran.output
    [unwell] = embedded(tmp_path / "report.html")["structuredContent"]["calls"]["coverage"]["accounts"]
    assert unwell["state"] == "never synced"
    assert "call-logs-mcp sync" in unwell["next_step"]


def test_an_account_whose_last_pass_failed_is_told_as_it_was_left(
    command: Command, database: Path, tmp_path: Path
) -> None:
    store = SQLiteStore(database)
    store.note(ACCOUNT, "parked", "The token was refused.", "Renew it.")
    store.close()
    assert "INCOMPLETE" in command("report", "--since", "today", "--out", "report.html").output
    coverage = embedded(tmp_path / "report.html")["structuredContent"]["calls"]["coverage"]
    assert coverage["accounts"][0] | {"last_synced_at": None} == {
        "account": ACCOUNT,
        "state": "parked",
        "problem": "The token was refused.",
        "next_step": "Renew it.",
        "last_synced_at": None,
    }


@pytest.mark.slow
@pytest.mark.parametrize("words", [["view", "demo-nobody/1"], ["report", "--since", "last 7 days"]])
def test_the_demo_needs_no_account_and_errors_are_one_line(words: list[str], tmp_path: Path) -> None:
    page = tmp_path / "demo.html"
    command = [sys.executable, "-m", "call_logs", *words, "--demo", "--out", str(page)]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=50, check=False, cwd=tmp_path)
    if words[0] == "view":
        assert ran.returncode == 1
        assert len(ran.stderr.splitlines()) == 1
        assert "There is no such call id" in ran.stderr
    else:
        assert ran.returncode == 0, ran.stderr
        assert embedded(page)["structuredContent"]["calls"]["total"] > 50
