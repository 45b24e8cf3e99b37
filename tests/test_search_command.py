"""`search`: the tool for a person at a terminal."""

import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import anyio
import click
import pytest

from call_logs.commands import options
from call_logs.model import ActionKind, Call, Direction, Speaker, Status, Turn
from call_logs.sandbox import Sandbox
from call_logs.store.sqlite import SQLiteStore
from call_logs.tools import all_tools
from command_line import config_file, run
from conftest import ACCOUNT, Asking
from terminal import ESCAPES, at_terminal

QUOTE = "how do I get it refunded"


@pytest.fixture
def held(synced: Path, sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A configured account whose calls are held and fresh."""
    path = tmp_path / "calls.db"
    shutil.copy(synced, path)
    file = config_file(tmp_path, {ACCOUNT: sandbox.accounts[ACCOUNT]}, timezone="America/New_York", max_age="1h")
    monkeypatch.setenv("CALL_LOGS_CONFIG", str(file))
    monkeypatch.setenv("CALL_LOGS_DATABASE", str(path))
    return path


def make_old(path: Path) -> None:
    """Nothing was read for three hours."""
    with sqlite3.connect(path) as db:
        db.execute("UPDATE account SET last_synced_ms = last_synced_ms - 10800000")
    db.close()


def test_it_answers_as_the_tool_does(held: Path, asking: Asking) -> None:
    given = {
        "query": 'refund* OR "money back"',
        "speaker": "customer",
        "limit": 3,
        "per_call": 2,
        "since": "last 20 days",
    }

    async def by_tool() -> dict[str, Any]:
        async with asking(database=held) as ask:
            return (await ask("search_transcripts", **given)).body

    told = anyio.run(by_tool)
    words = [word for name, value in given.items() if name != "query" for word in (f"--{name}", str(value))]
    body = json.loads(run("search", str(given["query"]), *(word.replace("_", "-") for word in words), "--json").out)
    assert body["hits"]
    told["window"].pop("since")  # it is counted from now
    body["window"].pop("since")
    assert body == told


def test_it_takes_what_the_tool_takes() -> None:
    [tool] = [tool for tool in all_tools() if tool.name == "search_transcripts"]
    ours = {param.name for param in options.search.params} - {"offline", "demo", "as_json"}
    assert ours == set(tool.parameters["properties"])
    for name, words in {"speaker": Speaker, "direction": Direction, "status": Status, "action": ActionKind}.items():
        [option] = [param for param in options.search.params if param.name == name]
        assert isinstance(option.type, click.Choice)
        assert set(option.type.choices) == {str(word) for word in words}


def test_a_program_gets_plain_lines_with_quote_citation_and_coverage(held: Path) -> None:
    assert held.exists()
    ran = run("search", "refunded")
    assert (ran.code, ran.err) == (0, "")
    assert "\x1b" not in ran.out
    [line] = [line for line in ran.out.splitlines() if QUOTE in line]
    assert line.lstrip().startswith("> customer: ")
    assert f"{ACCOUNT} · " in ran.out
    assert " · Billing" in ran.out
    assert re.search(r"^As of .*: complete\.$", ran.out, re.MULTILINE)


def test_at_a_terminal_the_words_stand_out_and_lines_fit(held: Path) -> None:
    shown = at_terminal(["search", "refunded", "--offline"], os.environ)
    assert shown.code == 0
    assert "\x1b[1;7mrefunded" in shown.raw
    assert max(map(len, shown.text.splitlines())) <= 80
    assert QUOTE in " ".join(shown.text.split())
    assert held.exists()


def test_no_color_leaves_no_escape_code(held: Path) -> None:
    assert held.exists()
    shown = at_terminal(["search", "refunded"], {**os.environ, "NO_COLOR": "1"})
    assert QUOTE in " ".join(shown.text.split())
    assert not ESCAPES.search(shown.raw)


def test_nothing_that_was_said_or_named_reaches_the_terminal_as_a_command(held: Path) -> None:
    store = SQLiteStore(held)
    evil = "\x1b]0;owned\x07\x1b[2J\x9b31m\u202eback\r\nrefunded"
    call = Call(
        account=ACCOUNT,
        provider="highlevel",
        vendor_call_id="e" * 24,
        started_at=datetime.now(UTC) - timedelta(minutes=5),
        agent_id="evil",
        agent_name=f"Desk {evil}",
        turns=(Turn(n=1, speaker=Speaker.CUSTOMER, text=f"zanzibar {evil}"),),
    )
    store.save_page(ACCOUNT, [call])
    store.close()
    ran = run("search", "zanzibar")
    assert "zanzibar" in ran.out
    assert not set("\x1b\x07\x9b\r\u202e") & set(ran.out)
    shown = at_terminal(["search", "zanzibar", "--offline"], os.environ)
    assert "zanzibar" in shown.text
    for code in ("\x1b]", "\x1b[2J", "\x07", "\x9b", "\u202e"):
        assert code not in shown.raw


def test_it_asks_the_vendor_first_and_does_not_with_offline(held: Path, sandbox: Sandbox) -> None:
    make_old(held)
    before = len(sandbox.received)
    ran = run("search", "refunded", "--offline", "--json")
    assert len(sandbox.received) == before
    assert ran.code == 0
    as_of = datetime.fromisoformat(json.loads(ran.out)["coverage"]["as_of"])
    assert datetime.now(UTC) - as_of > timedelta(hours=2)
    assert run("search", "refunded").code == 0
    assert len(sandbox.received) > before


def test_offline_says_what_the_last_pass_left(held: Path) -> None:
    store = SQLiteStore(held)
    store.note(ACCOUNT, "parked", "The credential was refused.", "Renew it.")
    store.close()
    ran = run("search", "refunded", "--offline")
    assert ran.code == 1
    assert "INCOMPLETE" in ran.out
    assert "The credential was refused." in ran.out
    assert "Renew it." in ran.out


def test_offline_with_nothing_read_says_so(held: Path) -> None:
    for file in held.parent.glob("calls.db*"):
        file.unlink()
    ran = run("search", "refunded", "--offline")
    assert ran.code == 1
    assert "never read to the end. Run call-logs-mcp sync." in ran.out.replace("\n", " ")


def test_an_account_that_cannot_be_read_is_told_and_is_exit_code_1(
    held: Path, sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert held.exists()
    good = sandbox.accounts[ACCOUNT]
    file = config_file(tmp_path, {ACCOUNT: good, "second": {**good, "token": "wrong-token"}})
    monkeypatch.setenv("CALL_LOGS_CONFIG", str(file))
    ran = run("search", "refunded")
    assert ran.code == 1
    assert QUOTE in ran.out
    assert "second (HighLevel) refused the credential" in ran.out
    assert "token of [accounts.second]" in ran.out
    assert "wrong-token" not in ran.out + ran.err


def test_nothing_found_says_what_may_be_meant(held: Path) -> None:
    assert held.exists()
    ran = run("search", "refnud")
    assert ran.code == 0
    assert "No calls match" in ran.out
    assert "Did you mean, for refnud: refund" in ran.out
    assert "Only what was said is searched" in ran.out


def test_it_goes_on_by_cursor(held: Path) -> None:
    assert held.exists()
    first = run("search", "the", "--limit", "2")
    cursor = first.out.partition("--cursor ")[2].split()[0]
    second = run("search", "the", "--limit", "2", "--cursor", cursor)
    ids = [{line for line in ran.out.splitlines() if f"{ACCOUNT}/" in line} for ran in (first, second)]
    assert len(ids[0]) == len(ids[1]) == 2
    assert not ids[0] & ids[1]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["x", "--since", "someday"], "since"),
        (['""'], "query"),
        (["x", "--limit", "0"], "--limit"),
        (["x", "--status", "odd"], "no_answer"),
        (["x", "--account", "nobody"], ACCOUNT),
        (["x", "--cursor", "garbage"], "cursor"),
        ([], "QUERY"),
    ],
)
def test_what_cannot_be_asked_is_wrong_usage(held: Path, words: list[str], said: str) -> None:
    assert held.exists()
    ran = run("search", *words)
    assert ran.code == 2
    assert said in ran.err
    assert not ran.out


def test_what_was_told_at_a_terminal_is_audited(held: Path) -> None:
    ids = [hit["call_id"] for hit in json.loads(run("search", "refunded", "--json").out)["hits"]]
    store = SQLiteStore(held)
    [entry] = store.audited()
    store.close()
    assert (entry.principal, entry.asked, list(entry.call_ids)) == ("local", "search_transcripts", ids)


def test_an_old_encoding_ends_nothing(held: Path) -> None:
    assert held.exists()
    ran = subprocess.run(
        [sys.executable, "-m", "call_logs", "search", "refunded", "--offline"],
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
        capture_output=True,
        timeout=60,
        check=True,
    )
    assert QUOTE.encode() in ran.stdout


def test_without_an_account_it_says_how_to_add_one() -> None:
    ran = run("search", "refund")
    assert ran.code == 2
    assert "No account is configured." in ran.err


def test_a_broken_database_is_exit_code_1(held: Path) -> None:
    for file in held.parent.glob("calls.db*"):
        file.unlink()
    held.write_bytes(b"no database at all" * 100)
    ran = run("search", "refund")
    assert ran.code == 1
    assert str(held) in ran.err
