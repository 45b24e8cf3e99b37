"""What every command begins with: the configuration, and the sandbox where the demo is asked for."""

import contextlib
import tempfile
from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from call_logs.config import Config


@contextlib.contextmanager
def configured(*, demo: bool, own_accounts: bool = True, history: str | None = None) -> "Generator[Config]":
    """The configuration; with `demo` the sandbox runs and the store is a temporary one."""
    from call_logs.config import load  # noqa: PLC0415 - `--help` needs no configuration

    if not demo:
        yield load(history=history)
        return
    from call_logs.sandbox import running  # noqa: PLC0415 - only the demo needs it

    with running() as sandbox, tempfile.TemporaryDirectory(prefix="call-logs-demo-") as folder:
        database = str(Path(folder) / "demo.db")
        yield load(sandbox.accounts, own_accounts=own_accounts, database=database, history=history)
