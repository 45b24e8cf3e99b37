"""`doctor`: what is wrong with an installation is found and told with what to do; what is right is not called wrong."""

import json
import os
import shutil
import sqlite3
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from call_logs.commands import claude, doctor
from call_logs.commands.check import Checked
from call_logs.commands.doctor import Finding, Verdict
from call_logs.sandbox import Sandbox
from call_logs.store.sqlite import SQLiteStore
from command_line import config_file, run
from conftest import ACCOUNT

MAC_PATH = claude.GUI_PATH["darwin"]
posix = pytest.mark.skipif(os.name != "posix", reason="Windows keeps files by the folder of the profile")


@pytest.fixture
def home(synced: Path, sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a config file and a database that are as they should be, and no Claude Desktop."""
    path = tmp_path / "calls.db"
    shutil.copy(synced, path)
    path.chmod(0o600)
    file = config_file(tmp_path, {ACCOUNT: sandbox.accounts[ACCOUNT]}, timezone="America/New_York")
    monkeypatch.setenv("CALL_LOGS_CONFIG", str(file))
    monkeypatch.setenv("CALL_LOGS_DATABASE", str(path))
    monkeypatch.setattr(claude, "config_path", lambda: tmp_path / "Claude" / claude.FILE)
    return tmp_path


def findings() -> tuple[dict[str, list[dict[str, Any]]], int]:
    """What doctor found, by what it is about, and the exit code."""
    ran = run("doctor", "--json")
    found: dict[str, list[dict[str, Any]]] = {}
    for one in json.loads(ran.out):
        found.setdefault(one["about"], []).append(one)
    return found, ran.code


def wrong(found: Iterable[Finding]) -> list[Finding]:
    return [one for one in found if one.verdict is Verdict.FIX]


def test_a_good_installation_has_nothing_to_fix(home: Path) -> None:
    found, code = findings()
    assert code == 0
    assert not [one for lines in found.values() for one in lines if one["verdict"] == "fix"]
    assert {one["verdict"] for about in (ACCOUNT, "time zone", "disk", "clock") for one in found[about]} == {"ok"}
    assert found["settings"][0]["found"] == str(home / "accounts.toml")
    assert "120 calls since" in found["database"][0]["found"]
    text = run("doctor").out
    assert text.splitlines()[-1] == "Nothing to fix."
    assert "\x1b" not in text


def test_no_secret_is_printed(home: Path, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VYOM_BASE_URL", sandbox.accounts["demo-vyom"]["base_url"])
    monkeypatch.setenv("VYOM_API_KEY", "lvk_planted_secret_1")
    monkeypatch.setenv("HIGHLEVEL_TOKEN", "planted-secret-2")
    monkeypatch.setenv("CALL_LOGS_SECRET_OF_MINE", "planted-secret-3")
    config = {
        "mcpServers": {"call-logs": {"command": "uvx", "env": {"BIMPE_API_KEY": "planted-secret-4", "X Y": "planted"}}}
    }
    (home / "Claude").mkdir()
    (home / "Claude" / claude.FILE).write_text(json.dumps(config), encoding="utf-8")
    ran = run("doctor")
    assert "CALL_LOGS_SECRET_OF_MINE is set and nothing reads it" in ran.out
    assert "planted" not in ran.out + ran.err
    assert "demo-token" not in ran.out + ran.err


# -- Python and SQLite


@pytest.mark.parametrize(
    ("version", "verdict"),
    [((3, 6, 23), "ok"), ((3, 7, 0), "note"), ((3, 40, 1), "note"), ((3, 51, 2), "note"), ((3, 51, 3), "ok")],
)
def test_an_old_sqlite_is_told_once_and_calmly(version: tuple[int, int, int], verdict: str) -> None:
    [python, sqlite] = doctor.python(version)
    assert python.verdict is Verdict.OK
    assert sqlite.verdict == verdict


def test_a_sqlite_without_full_text_search_must_be_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_has_full_text_search", lambda: False)
    [_, sqlite] = doctor.python()
    assert sqlite.verdict is Verdict.FIX


# -- uv and Claude Desktop


def executable(folder: Path, name: str) -> Path:
    """A program of this name."""
    folder.mkdir(exist_ok=True, parents=True)
    file = folder / (f"{name}.exe" if os.name == "nt" else name)
    file.write_text("#!/bin/sh\n", encoding="utf-8")
    file.chmod(0o755)
    return file


def test_uvx_that_a_gui_program_does_not_find_is_told_with_its_whole_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uvx = executable(tmp_path / "bin", "uvx")
    monkeypatch.setenv("PATH", str(uvx.parent))
    [shell] = doctor.commands("linux")
    [gui] = doctor.commands("darwin")
    assert (shell.verdict, gui.verdict) == (Verdict.OK, Verdict.NOTE)
    assert str(uvx) in gui.found
    monkeypatch.setenv("PATH", str(tmp_path))
    [missing] = doctor.commands("linux")
    assert missing.verdict is Verdict.NOTE
    assert claude.command()[0] in str(missing.next_step)


def claude_config(folder: Path, text: str | dict[str, Any]) -> Path:
    path = folder / claude.FILE
    path.write_text(text if isinstance(text, str) else json.dumps({"mcpServers": text}), encoding="utf-8")
    return path


def test_a_config_of_claude_desktop_that_is_no_json_is_told_with_its_place(tmp_path: Path) -> None:
    [found] = doctor.claude_desktop(claude_config(tmp_path, '{\n  "mcpServers": {},,\n}'))
    assert found.verdict is Verdict.FIX
    assert "line 2" in found.found
    [found] = doctor.claude_desktop(claude_config(tmp_path, "[1]"))
    assert found.verdict is Verdict.FIX
    [found] = doctor.claude_desktop(claude_config(tmp_path, '{"mcpServers": []}'))
    assert found.verdict is Verdict.FIX


def test_a_config_without_our_server_is_no_mistake(tmp_path: Path) -> None:
    for path in (tmp_path / "absent.json", claude_config(tmp_path, {"other": {"command": "other-server"}})):
        [found] = doctor.claude_desktop(path)
        assert found.verdict is Verdict.NOTE
        assert "setup --write-claude" in str(found.next_step)


def test_the_command_in_claude_desktop_must_be_there(tmp_path: Path) -> None:
    there = executable(tmp_path, "call-logs-mcp")
    gone = tmp_path / "gone" / "call-logs-mcp"
    [good] = doctor.claude_desktop(claude_config(tmp_path, {"phone calls": {"command": str(there)}}))
    [bad] = doctor.claude_desktop(claude_config(tmp_path, {"calls": {"command": str(gone)}}))
    [none] = doctor.claude_desktop(claude_config(tmp_path, {"call-logs": {"args": ["call-logs-mcp"]}}))
    assert (good.verdict, bad.verdict, none.verdict) == (Verdict.OK, Verdict.FIX, Verdict.FIX)
    assert good.about == "Claude Desktop: phone calls"
    assert claude.command()[0] in str(bad.next_step)


def test_a_short_command_is_looked_for_where_claude_desktop_looks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uvx = executable(tmp_path / "bin", "uvx")
    monkeypatch.setenv("PATH", str(uvx.parent))
    path = claude_config(tmp_path, {"calls": {"command": "uvx", "args": ["call-logs-mcp"]}})
    [mac] = doctor.claude_desktop(path, "darwin")
    [linux] = doctor.claude_desktop(path, "linux")
    assert mac.verdict is Verdict.FIX
    assert str(uvx) in str(mac.next_step)
    assert linux.verdict is Verdict.NOTE
    assert str(uvx) in linux.found


def test_a_misspelt_variable_in_claude_desktop_is_told(tmp_path: Path) -> None:
    command = str(executable(tmp_path, "call-logs-mcp"))
    env = {"HIGHLEVEL_TOKEN": "x", "HIGHLEVEL_TOKEN_FILE": "x", "HIGHLEVEL_LOCATIONID": "x", "PATH": "x"}
    [good, bad] = doctor.claude_desktop(claude_config(tmp_path, {"calls": {"command": command, "env": env}}))
    assert good.verdict is Verdict.OK
    assert bad.found.startswith("HIGHLEVEL_LOCATIONID ")
    assert bad.next_step == "Perhaps HIGHLEVEL_LOCATION_ID is meant."


# -- settings


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("CALL_LOGS_HISTROY", "CALL_LOGS_HISTORY"),
        ("CALLLOGS_TIMEZONE", "CALL_LOGS_TIMEZONE"),
        ("call_logs_mask", "CALL_LOGS_MASK"),
        ("SIGNALWIRE_TOKEN", "SIGNALWIRE_API_TOKEN"),
        ("VYOM_APIKEY", "VYOM_API_KEY"),
        ("BIMPE_API_KEY_FIEL", "BIMPE_API_KEY_FILE"),
    ],
)
@posix
def test_a_misspelt_variable_is_told_with_what_is_meant(
    home: Path, monkeypatch: pytest.MonkeyPatch, name: str, meant: str
) -> None:
    assert home.exists()
    monkeypatch.setenv(name, "x")
    found, code = findings()
    assert code == 1
    [told] = [one for one in found["settings"] if one["verdict"] == "fix"]
    assert told["found"].startswith(f"{name} is set")
    assert told["next_step"] == f"Perhaps {meant} is meant."


def test_a_variable_that_the_config_file_names_is_none_of_our_business(
    home: Path, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (home / "accounts.toml").open("a", encoding="utf-8") as file:
        file.write('[accounts.acme]\nprovider = "vyom"\napi_key = { env = "VYOM_KEY_OF_ACME" }\n')
        file.write(f'base_url = "{sandbox.accounts["demo-vyom"]["base_url"]}"\n')
    monkeypatch.setenv("VYOM_KEY_OF_ACME", "lvk_x")
    assert not [one for one in findings()[0]["settings"] if one["verdict"] == "fix"]


def test_broken_settings_are_told_and_all_else_is_still_looked_at(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert home.exists()
    monkeypatch.setenv("CALL_LOGS_TIMEZONE", "Moon/Sea")
    found, code = findings()
    assert code == 1
    assert "CALL_LOGS_TIMEZONE" in found["settings"][-1]["found"]
    assert {"Python", "SQLite", "uvx", "Claude Desktop"} <= set(found)


def test_no_account_must_be_fixed_by_setup(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CALL_LOGS_DATABASE", str(tmp_path / "calls.db"))
    found, code = findings()
    assert code == 1
    assert found["accounts"][0]["next_step"] == "Run: call-logs-mcp setup"
    assert not (tmp_path / "calls.db").exists(), "doctor makes nothing"


@posix
def test_files_that_others_may_read_are_told(home: Path) -> None:
    (home / "accounts.toml").chmod(0o644)
    (home / "calls.db").chmod(0o640)
    found, code = findings()
    assert code == 1
    assert found["settings"][0]["next_step"] == f"Run: chmod 600 '{home / 'accounts.toml'}'"
    assert "0640" in found["database"][0]["found"]


def test_utc_is_told_since_days_begin_there(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert home.exists()
    monkeypatch.setenv("CALL_LOGS_TIMEZONE", "UTC")
    [told] = findings()[0]["time zone"]
    assert told["verdict"] == "note"
    assert "CALL_LOGS_TIMEZONE" in told["next_step"]


# -- the database


def test_a_database_that_is_not_ours_is_told(home: Path) -> None:
    (home / "calls.db").write_bytes(b"SQLite format 3\x00 but no more")
    found, code = findings()
    assert code == 1
    assert found["database"][-1]["verdict"] == "fix"


def test_an_account_that_was_never_or_long_ago_read_is_told(home: Path) -> None:
    with closing(sqlite3.connect(home / "calls.db")) as db, db:
        db.execute("UPDATE account SET last_synced_ms = last_synced_ms - 3 * 86400000")
    told = [one for one in findings()[0]["database"] if one["verdict"] == "note"]
    assert told[0]["found"].startswith(f"{ACCOUNT} was last read ")
    with closing(sqlite3.connect(home / "calls.db")) as db, db:
        db.execute("UPDATE account SET last_synced_ms = NULL")
    told = [one for one in findings()[0]["database"] if one["verdict"] == "note"]
    assert told[0]["found"] == f"{ACCOUNT} was never read to the end."


def test_another_process_that_reads_an_account_is_told_and_not_disturbed(home: Path) -> None:
    other = SQLiteStore(home / "calls.db")
    try:
        assert other.lead(ACCOUNT)
        told = [one for one in findings()[0]["database"] if one["verdict"] == "note"]
        assert told[0]["found"].startswith(f"another process reads {ACCOUNT} right now")
        other.resign(ACCOUNT)
        assert not [one for one in findings()[0]["database"] if one["verdict"] == "note"]
        assert other.lead(ACCOUNT), "doctor let go of it"
    finally:
        other.close()


@pytest.mark.parametrize(("free", "verdict"), [(10**8, "fix"), (5 * 10**8, "note"), (10**10, "ok")])
def test_little_room_on_the_disk_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: int, verdict: str
) -> None:
    def usage(_: Path) -> SimpleNamespace:
        return SimpleNamespace(free=free)

    monkeypatch.setattr(doctor.shutil, "disk_usage", usage)
    [found] = doctor.space(tmp_path / "not" / "yet" / "calls.db")
    assert found.verdict == verdict


# -- accounts


def test_a_refused_credential_is_told_with_the_setting(
    home: Path, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = config_file(home, {"acme": {**sandbox.accounts[ACCOUNT], "token": "wrong-token"}})
    monkeypatch.setenv("CALL_LOGS_CONFIG", str(file))
    found, code = findings()
    assert code == 1
    assert found["acme"][0]["verdict"] == "fix"
    assert "token of [accounts.acme]" in found["acme"][0]["next_step"]


def checked(skew: float | None) -> Checked:
    return Checked("acme", "vyom", "works", None, None, [], skew)


@pytest.mark.parametrize(
    ("skews", "words"),
    [
        ([None], None),
        ([1.0, None, -2.0], "agrees"),
        ([450.0, 420.0, 0.0], "7 minutes behind the vendors' clocks"),
        ([-400.0], "7 minutes ahead of the vendors' clocks"),
        ([0.0, 0.0, 99_999.0], "agrees"),  # one vendor's clock is wrong, not this machine's
    ],
)
def test_a_wrong_clock_is_told_by_the_vendors_in_the_middle(skews: list[float | None], words: str | None) -> None:
    found = list(doctor.clock([checked(skew) for skew in skews]))
    assert len(found) == (words is not None)
    if words:
        assert words in found[0].found
        assert (found[0].verdict is Verdict.OK) == (words == "agrees")


def test_the_vendors_clock_is_heard(home: Path) -> None:
    assert home.exists()
    [row] = json.loads(run("check", "--json").out)
    assert abs(row["clock_skew"]) < 5
