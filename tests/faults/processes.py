"""Processes that a test talks to in lines."""

import contextlib
import os
import subprocess
import sys
import threading
from collections.abc import Generator, Mapping, Sequence
from pathlib import Path

import call_logs

FOLDER = Path(__file__).parent
SOURCES = str(Path(call_logs.__file__).parents[1])


class Spoken:
    """A process that answers each line with one line."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self.process = process

    def say(self, line: str) -> None:
        """One line to its stdin."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()

    def hear(self) -> str:
        """One line of its stdout; fails where it has ended."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, "the process has ended"
        return line.strip()

    def ask(self, line: str) -> str:
        """The answer to a line."""
        self.say(line)
        return self.hear()


@contextlib.contextmanager
def running(
    script: str, arguments: Sequence[object], within: float, settings: Mapping[str, str] | None = None
) -> Generator[Spoken]:
    """A script of this folder, for so many seconds at most; stderr goes to ours."""
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": SOURCES, **(settings or {})}
    process = subprocess.Popen(
        [sys.executable, str(FOLDER / script), *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
        start_new_session=True,
    )
    deadline = threading.Timer(within, process.kill)
    deadline.start()
    try:
        yield Spoken(process)
    finally:
        deadline.cancel()
        process.kill()
        process.communicate()
