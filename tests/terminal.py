"""A command at a real terminal: a pseudo-terminal of so many columns, on which its questions can be answered."""

import os
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pytest

PATIENCE = 40.0
"""Seconds that a command may take; the machine may be busy."""

ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|[@-Z\\-_])")


@dataclass(frozen=True)
class Shown:
    """What stood on the terminal, byte for byte, and the exit code."""

    raw: str
    code: int

    @property
    def text(self) -> str:
        """Without escape codes and carriage returns."""
        return ESCAPES.sub("", self.raw).replace("\r", "")


def at_terminal(
    words: Sequence[str],
    environment: Mapping[str, str],
    *,
    columns: int = 80,
    answers: Sequence[tuple[str, str]] = (),
    interrupt_at: str | None = None,
) -> Shown:
    """Run `call-logs-mcp WORDS` at a terminal. `answers`: as soon as the first is shown, the second is typed.

    `interrupt_at`: what must be shown before Ctrl-C is pressed.
    """
    if sys.platform == "win32":
        pytest.skip("there are no pseudo-terminals")
    import fcntl  # noqa: PLC0415 - not on Windows
    import struct  # noqa: PLC0415
    import termios  # noqa: PLC0415

    ours, theirs = os.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
    env = {**environment, "TERM": "xterm-256color"}
    process = subprocess.Popen(
        [sys.executable, "-m", "call_logs", *words],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=env,
        start_new_session=True,
    )
    os.close(theirs)
    shown, seen, waiting, interrupts = "", 0, list(answers), interrupt_at
    deadline = time.monotonic() + PATIENCE
    try:
        while True:
            ready, _, _ = select.select([ours], [], [], max(0.0, deadline - time.monotonic()))
            assert ready, f"nothing more came: {shown}"
            try:
                some = os.read(ours, 65536)
            except OSError:  # Linux says so when the other side has closed
                some = b""
            if not some:
                break
            shown += some.decode("utf-8", "replace")
            if waiting and (found := shown.find(waiting[0][0], seen)) >= 0:
                seen = found + len(waiting[0][0])
                os.write(ours, waiting.pop(0)[1].encode() + b"\n")
            if interrupts and interrupts in ESCAPES.sub("", shown):
                interrupts = None
                process.send_signal(signal.SIGINT)
        process.wait(max(1.0, deadline - time.monotonic()))
    finally:
        process.kill()
        process.wait()
        os.close(ours)
    assert not waiting, f"never asked: {waiting[0][0]} in {shown}"
    return Shown(shown, process.returncode)
