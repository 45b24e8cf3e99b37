"""The command line in this process, with the exit code and the words that a shell would see."""

import contextlib
import io
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

from call_logs import logs
from call_logs.__main__ import main


@dataclass(frozen=True)
class Ran:
    """What a command wrote, and its exit code."""

    out: str
    err: str
    code: int


def run(*words: str) -> Ran:
    """`call-logs-mcp WORDS`, with its output going nowhere that is a terminal. Logging is left as it was."""
    out, err = io.StringIO(), io.StringIO()
    code: object = 0
    with (
        patch.object(sys, "argv", ["call-logs-mcp", *words]),
        patch.object(sys, "stdin", io.StringIO()),
        patch.object(logs, "install"),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        try:
            main()
        except SystemExit as ended:
            code = ended.code
    assert isinstance(code, int)
    return Ran(out.getvalue(), err.getvalue(), code)


def config_file(folder: Path, accounts: Mapping[str, Mapping[str, str]], **options: str) -> Path:
    """A config file of its owner alone, with these accounts."""
    lines = [f'{key} = "{value}"' for key, value in options.items()]
    for name, table in accounts.items():
        lines += [f"[accounts.{name}]", *(f'{key} = "{value}"' for key, value in table.items())]
    file = folder / "accounts.toml"
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    file.chmod(0o600)
    return file
