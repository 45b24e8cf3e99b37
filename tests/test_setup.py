"""`setup`: what is asked, checked with the vendor, and written; and what is never written."""

import json
import os
import stat
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from call_logs.commands import claude
from call_logs.commands.files import replace_file
from call_logs.commands.setup import with_account
from call_logs.config import load
from call_logs.errors import ConfigError
from call_logs.sandbox import Sandbox
from command_line import Ran, run
from terminal import at_terminal

WRONG = "wrong-token-of-nobody"
posix = pytest.mark.skipif(os.name != "posix", reason="Windows keeps files by the folder of the profile")


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file to write; Claude Desktop's folder is beside it."""
    monkeypatch.setattr(claude, "config_path", lambda: tmp_path / "Claude" / claude.FILE)
    return tmp_path / "settings" / "accounts.toml"


@pytest.fixture
def table(sandbox: Sandbox) -> dict[str, str]:
    """HighLevel's settings at the sandbox."""
    return {key: value for key, value in sandbox.accounts["demo-highlevel"].items() if key != "provider"}


def setup(file: Path, table: dict[str, str], *words: str, provider: str = "highlevel") -> Ran:
    given = [word for key, value in table.items() for word in ("--set", f"{key}={value}")]
    return run("setup", "--provider", provider, "--config", str(file), *given, *words)


def test_a_right_credential_is_written_for_its_owner_alone_and_works(
    file: Path, table: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    ran = setup(file, table, "--account", "acme")
    assert ran.code == 0
    assert "acme: works." in ran.err
    assert tomllib.loads(file.read_text(encoding="utf-8"))["accounts"]["acme"] == {"provider": "highlevel", **table}
    if os.name == "posix":
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    monkeypatch.setenv("CALL_LOGS_CONFIG", str(file))
    assert [(one.name, one.problem) for one in load().accounts] == [("acme", None)]
    assert json.loads(ran.out)["mcpServers"]["call-logs"]["env"] == {"CALL_LOGS_CONFIG": str(file)}
    assert table["token"] not in ran.out + ran.err


def test_a_refused_credential_is_not_written(file: Path, table: dict[str, str]) -> None:
    ran = setup(file, {**table, "token": WRONG})
    assert ran.code == 1
    assert not file.exists()
    assert "fix this" in ran.err
    assert "token of [accounts.highlevel]" in ran.err
    assert "Nothing was written." in ran.err
    assert WRONG not in ran.out + ran.err


def test_a_vendor_that_cannot_be_asked_confirms_nothing(
    file: Path, table: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from call_logs.commands import check  # noqa: PLC0415 - its patience is shortened here

    monkeypatch.setattr(check, "CHECK_SECONDS", 0.5)
    ran = setup(file, {**table, "base_url": "http://127.0.0.1:9"})
    assert ran.code == 1
    assert "try later" in ran.err
    assert not file.exists()


def test_anyway_writes_what_was_refused(file: Path, table: dict[str, str]) -> None:
    assert setup(file, {**table, "token": WRONG}, "--anyway").code == 0
    assert WRONG in file.read_text(encoding="utf-8")


def test_settings_that_cannot_be_right_are_named_before_the_vendor_is_asked(file: Path, table: dict[str, str]) -> None:
    ran = setup(file, {**table, "location_id": "not an id"})
    assert ran.code == 1
    assert "location_id of [accounts.highlevel] cannot be used" in ran.err
    del table["location_id"]
    ran = setup(file, table)
    assert ran.code == 1
    assert "location_id of [accounts.highlevel] is missing" in ran.err
    assert not file.exists()


def test_a_credential_may_stay_in_a_file_or_a_variable(
    file: Path, table: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = tmp_path / "token.txt"
    secret.write_text(table.pop("token"), encoding="utf-8")
    assert setup(file, table, "--set", f"token_file={secret}", "--account", "one").code == 0
    monkeypatch.setenv("TOKEN_OF_TWO", secret.read_text(encoding="utf-8"))
    assert setup(file, table, "--set", "token_env=TOKEN_OF_TWO", "--account", "two").code == 0
    accounts = tomllib.loads(file.read_text(encoding="utf-8"))["accounts"]
    assert accounts["one"]["token"] == {"file": str(secret)}
    assert accounts["two"]["token"] == {"env": "TOKEN_OF_TWO"}
    assert secret.read_text(encoding="utf-8") not in file.read_text(encoding="utf-8")


def test_comments_and_other_accounts_stay(file: Path, table: dict[str, str]) -> None:
    before = """# ours
timezone = "Europe/Madrid"   # Ana's

[accounts.old]  # the first one
provider = "vyom"
api_key = { env = "VYOM_KEY" }
"""
    file.parent.mkdir()
    file.write_text(before, encoding="utf-8")
    assert setup(file, table, "--account", "new").code == 0
    after = file.read_text(encoding="utf-8")
    assert after.startswith(before)
    assert set(tomllib.loads(after)["accounts"]) == {"old", "new"}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n\n# only a comment",
        'accounts = { a = { provider = "vyom" } }\n',
        '[accounts]\na = { provider = "vyom" }\n',
        '[accounts.a]\nprovider = "vyom"',
        'accounts.a.provider = "vyom"\n',
    ],
)
def test_an_account_is_added_whatever_the_file_looks_like(text: str) -> None:
    added = with_account(text, "new-one", {"provider": "bimpe", "api_key": 'a"b\\c', "agent_ids": "1,2"})
    expected = tomllib.loads(text).get("accounts", {})
    expected["new-one"] = {"provider": "bimpe", "api_key": 'a"b\\c', "agent_ids": "1,2"}
    assert tomllib.loads(added)["accounts"] == expected
    assert "# only a comment" in added or "# only" not in text


def test_an_account_of_that_name_is_replaced_only_when_told(file: Path, table: dict[str, str]) -> None:
    assert setup(file, table).code == 0
    before = file.read_text(encoding="utf-8")
    ran = setup(file, {**table, "location_id": "OtherLocation1"}, "--anyway")
    assert ran.code == 2
    assert "--replace" in ran.err
    assert file.read_text(encoding="utf-8") == before
    assert setup(file, {**table, "location_id": "OtherLocation1"}, "--anyway", "--replace").code == 0
    accounts = tomllib.loads(file.read_text(encoding="utf-8"))["accounts"]
    assert accounts["highlevel"]["location_id"] == "OtherLocation1"


def test_an_account_of_the_environment_is_not_doubled(
    file: Path, table: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HIGHLEVEL_TOKEN", "x")
    ran = setup(file, table, "--replace")
    assert ran.code == 2
    assert "--account" in ran.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--provider", "nobody"], "--provider: one of"),
        ([], "--provider: one of"),
        (["--provider", "vyom", "--set", "api_key"], "KEY=VALUE"),
        (["--provider", "vyom", "--set", "colour=red"], "It takes"),
        (["--provider", "vyom", "--set", "api_key=x", "--account", "Not A Name"], "small letters"),
        (["--provider", "vyom", "--set", "api_key=x", "--account", "bimpe"], "named like another provider"),
    ],
)
def test_wrong_usage_is_told(file: Path, words: list[str], said: str) -> None:
    ran = run("setup", "--config", str(file), *words)
    assert ran.code == 2
    assert said in ran.err
    assert not file.exists()


def test_a_config_file_that_is_broken_stays_as_it_is(file: Path, table: dict[str, str]) -> None:
    file.parent.mkdir()
    file.write_text("[accounts.a\n", encoding="utf-8")
    assert setup(file, table).code == 2
    assert file.read_text(encoding="utf-8") == "[accounts.a\n"


def test_print_writes_nothing_and_shows_no_credential(file: Path, table: dict[str, str]) -> None:
    ran = setup(file, table, "--print", "--write-claude")
    assert ran.code == 0
    assert not file.exists()
    assert not claude.config_path().exists()
    assert 'token = "…"' in ran.err
    assert table["token"] not in ran.out + ran.err


def test_the_default_file_is_found_by_the_next_command(
    table: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from call_logs import config  # noqa: PLC0415 - the folder of the user is another one here

    monkeypatch.setattr(config, "default_config", lambda: tmp_path / "home" / "config.toml")
    monkeypatch.setattr("call_logs.commands.setup.default_config", lambda: tmp_path / "home" / "config.toml")
    given = [word for key, value in table.items() for word in ("--set", f"{key}={value}")]
    assert run("setup", "--provider", "highlevel", *given).code == 0
    assert run("check").out.startswith("highlevel  works")


def test_a_broken_default_file_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from call_logs import config  # noqa: PLC0415 - as above

    (tmp_path / "config.toml").write_text("=", encoding="utf-8")
    monkeypatch.setattr(config, "default_config", lambda: tmp_path / "config.toml")
    with pytest.raises(ConfigError, match=r"config\.toml is not valid TOML"):
        load()


# -- Claude Desktop


def test_claude_desktop_gets_our_server_beside_the_others_with_a_backup(file: Path, table: dict[str, str]) -> None:
    path = claude.config_path()
    path.parent.mkdir()
    old = '{"theme": "dark", "mcpServers": {"other": {"command": "other", "env": {"A": "é"}}}}'
    path.write_text(old, encoding="utf-8")
    ran = setup(file, table, "--write-claude", "--json")
    told = json.loads(ran.out)
    assert (ran.code, told["claude"], told["written"]) == (0, str(path), str(file))
    assert Path(told["backup"]).read_text(encoding="utf-8") == old
    written = json.loads(path.read_text(encoding="utf-8"))
    assert written["theme"] == "dark"
    assert written["mcpServers"]["other"] == {"command": "other", "env": {"A": "é"}}
    ours = written["mcpServers"]["call-logs"]
    assert Path(ours["command"]).is_absolute()
    assert Path(ours["command"]).exists()
    assert ours["env"] == {"CALL_LOGS_CONFIG": str(file)}
    assert table["token"] not in path.read_text(encoding="utf-8")


def test_claude_desktop_without_a_config_gets_one(file: Path, table: dict[str, str]) -> None:
    assert setup(file, table, "--write-claude").code == 0
    assert json.loads(claude.config_path().read_text(encoding="utf-8"))["mcpServers"].keys() == {"call-logs"}
    assert [one.name for one in claude.config_path().parent.iterdir()] == [claude.FILE]


def test_a_server_of_that_name_is_changed_only_when_told_and_keeps_its_variables(
    file: Path, table: dict[str, str]
) -> None:
    path = claude.config_path()
    path.parent.mkdir()
    old: dict[str, Any] = {"mcpServers": {"call-logs": {"command": "uvx", "env": {"CALL_LOGS_WAIT": "5s"}, "x": 1}}}
    path.write_text(json.dumps(old), encoding="utf-8")
    ran = setup(file, table, "--write-claude")
    assert ran.code == 2
    assert json.loads(path.read_text(encoding="utf-8")) == old
    assert not file.exists(), "half of it was done"
    assert setup(file, table, "--write-claude", "--replace").code == 0
    ours = json.loads(path.read_text(encoding="utf-8"))["mcpServers"]["call-logs"]
    assert ours["env"] == {"CALL_LOGS_WAIT": "5s", "CALL_LOGS_CONFIG": str(file)}
    assert ours["x"] == 1
    assert setup(file, table, "--write-claude", "--account", "again").code == 0, "what is as it should be is not asked"


@pytest.mark.parametrize("text", ["{,}", "[]", '{"mcpServers": 1}'])
def test_a_broken_config_of_claude_desktop_stays_as_it_is(file: Path, table: dict[str, str], text: str) -> None:
    path = claude.config_path()
    path.parent.mkdir()
    path.write_text(text, encoding="utf-8")
    assert setup(file, table, "--write-claude").code == 2
    assert path.read_text(encoding="utf-8") == text
    assert not file.exists(), "half of it was done"


@pytest.mark.parametrize(
    ("system", "place"),
    [("darwin", ("Library", "Application Support", "Claude")), ("linux", (".config", "Claude"))],
)
@posix
def test_claude_desktops_config_is_where_that_system_has_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, system: str, place: tuple[str, ...]
) -> None:
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(sys, "platform", system)
    assert claude.config_path() == tmp_path.joinpath(*place, "claude_desktop_config.json")


def test_a_program_in_uvs_cache_is_started_by_uvx(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    uvx = tmp_path / ("uvx.exe" if os.name == "nt" else "uvx")
    uvx.write_text("", encoding="utf-8")
    uvx.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    scripts = tmp_path / "uv" / "archive-v0" / "abc" / "bin"

    def get_path(_: str) -> str:
        return str(scripts)

    monkeypatch.setattr(claude.sysconfig, "get_path", get_path)
    assert claude.command() == (str(uvx), ["call-logs-mcp"])
    scripts = tmp_path / "bin"
    assert claude.command() == (sys.executable, ["-m", "call_logs"])


# -- writing


@posix
def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "config.toml"
    file.write_text("old", encoding="utf-8")

    def full(_: int) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="no space"):
        replace_file(file, "new")
    assert file.read_text(encoding="utf-8") == "old"
    assert [one.name for one in tmp_path.iterdir()] == ["config.toml"]


@posix
def test_a_link_keeps_leading_to_the_file(tmp_path: Path) -> None:
    (tmp_path / "dotfiles").mkdir()
    target, link = tmp_path / "dotfiles/real.toml", tmp_path / "config.toml"
    target.write_text("old", encoding="utf-8")
    link.symlink_to(target)
    replace_file(link, "new")
    assert link.is_symlink()
    assert target.read_text(encoding="utf-8") == "new"
    assert stat.S_IMODE(target.stat().st_mode) == 0o600


# -- at a terminal


def test_questions_are_asked_a_wrong_credential_again_and_nothing_secret_is_shown(
    table: dict[str, str], tmp_path: Path
) -> None:
    environment = {**os.environ, "XDG_CONFIG_HOME": str(tmp_path / "config"), "HOME": str(tmp_path)}
    shown = at_terminal(
        ["setup", "--set", f"base_url={table['base_url']}", "--write-claude"],
        environment,
        answers=[
            ("Which provider", "highlevel"),
            ("What to call the account", "acme"),
            ("token (not shown)", WRONG),
            ("location id", table["location_id"]),
            ("Enter them again", "y"),
            ("token (not shown)", table["token"]),
            ("location id", ""),
            ("works", ""),
        ],
    )
    assert shown.code == 0, shown.text
    assert "refused the credential" in shown.text
    assert WRONG not in shown.raw
    assert table["token"] not in shown.raw
    if sys.platform == "linux":
        [file] = (tmp_path / "config" / "call-logs-mcp").iterdir()
        assert tomllib.loads(file.read_text(encoding="utf-8"))["accounts"]["acme"]["token"] == table["token"]
        [host] = (tmp_path / "config" / "Claude").iterdir()
        assert table["token"] not in host.read_text(encoding="utf-8")


def test_ctrl_c_at_a_question_writes_nothing(tmp_path: Path) -> None:
    environment = {**os.environ, "XDG_CONFIG_HOME": str(tmp_path / "config"), "HOME": str(tmp_path)}
    shown = at_terminal(["setup", "--provider", "vyom", "--account", "acme"], environment, interrupt_at="api key")
    assert shown.code == 130
    assert not (tmp_path / "config").exists()
