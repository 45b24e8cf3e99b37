"""Shells complete commands, options and account names."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from command_line import config_file, run
from terminal import PATIENCE


@pytest.fixture
def path(tmp_path: Path) -> str:
    """A PATH on which the program is."""
    if os.name != "posix":
        pytest.skip("these shells are of POSIX")
    program = tmp_path / "bin" / "call-logs-mcp"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m call_logs "$@"\n', encoding="utf-8")
    program.chmod(0o755)
    return f"{program.parent}:{os.environ['PATH']}"


def completed(path: str, *words: str, **more: str) -> set[str]:
    """What bash offers for the last of the words, after what the README says was put into .bashrc."""
    line = " ".join(f"'{word}'" for word in ("call-logs-mcp", *words))
    script = f"""
        eval "$(call-logs-mcp completion bash)"
        COMP_WORDS=({line}) COMP_CWORD={len(words)}
        _call_logs_mcp_completion call-logs-mcp
        printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    ran = subprocess.run(
        ["bash", "-c", script],
        env={**os.environ, "PATH": path, **more},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=True,
    )
    return set(ran.stdout.split())


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_bash_completes_commands_options_and_accounts(path: str, tmp_path: Path) -> None:
    accounts = {"acme-north": {"provider": "vyom", "api_key": "x"}, "other": {"provider": "vyom", "api_key": "x"}}
    file = str(config_file(tmp_path, accounts))
    assert {"search", "serve", "setup", "sync"} >= completed(path, "s") >= {"search", "setup", "sync"}
    assert completed(path, "search", "x", "--sin") == {"--since"}
    assert completed(path, "search", "x", "--account", "ac", CALL_LOGS_CONFIG=file) == {"acme-north"}
    assert completed(path, "setup", "--provider", "v") == {"vyom"}


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_get_a_script_of_their_own(shell: str) -> None:
    ran = run("completion", shell)
    assert ran.code == 0
    assert "_CALL_LOGS_MCP_COMPLETE" in ran.out
    if found := shutil.which(shell):
        subprocess.run([found, "-n", "-c", ran.out], check=True, timeout=PATIENCE)


def test_another_shell_is_refused() -> None:
    assert run("completion", "tcsh").code == 2
