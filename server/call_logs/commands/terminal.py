"""What the commands print with: colours for a person at a terminal, plain lines for anything else."""

import io
import logging
import sys
from collections.abc import Generator, Iterable
from contextlib import contextmanager

from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.table import Column, Table
from rich.text import Text

from call_logs.sync import HOW_IT_STANDS
from call_logs.text import clean, one_line

_UNWRAPPED = 100_000
"""Columns where no terminal is: a program gets each line whole."""


def console(*, stderr: bool = False) -> Console:
    """A console that writes plain text, but for a terminal without NO_COLOR; there it may also redraw what it wrote.

    What the stream's encoding lacks (Windows writes files in an old one) becomes a question mark and ends nothing.
    """
    stream = sys.stderr if stderr else sys.stdout
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(errors="replace")
    found = Console(stderr=stderr, highlight=False, markup=False, emoji=False)
    if found.is_terminal and not found.no_color:
        return found
    return Console(
        stderr=stderr,
        highlight=False,
        markup=False,
        emoji=False,
        color_system=None,
        force_interactive=False,
        width=found.width if found.is_terminal else _UNWRAPPED,
    )


@contextmanager
def drawing() -> Generator[None]:
    """While something is redrawn at a terminal: how an account stands is not logged, since the command tells it."""

    def new(record: logging.LogRecord) -> bool:
        return record.msg != HOW_IT_STANDS

    passes = logging.getLogger("call_logs.sync")
    passes.addFilter(new)
    try:
        yield
    finally:
        passes.removeFilter(new)


def said(text: str) -> str:
    """What somebody else said or named, on one line, with nothing in it that a terminal would obey."""
    return one_line(clean(text))


def print_rows(screen: Console, rows: Iterable[tuple[Text, ...]], columns: int = 3) -> None:
    """Rows whose columns stand below each other. The last one wraps within itself."""
    table = Table(*(Column(overflow="fold") for _ in range(columns)), box=None, pad_edge=False, show_header=False)
    for row in rows:
        table.add_row(*row)
    with screen.capture() as printed:
        screen.print(table)
    screen.out("\n".join(line.rstrip() for line in printed.get().splitlines()), highlight=False)


def indented(screen: Console, text: Text, mark: str = "", columns: int = 4) -> RenderableType:
    """The text so many columns in, behind a mark; where a terminal wraps it, its lines stay behind the mark."""
    if not screen.is_terminal:
        return Text(" " * columns + mark).append_text(text)
    lines = text.wrap(screen, max(20, screen.width - columns - len(mark) - 1))
    for line in lines:
        line.rstrip()
    shown = Text("\n").join([Text(" " * len(mark) if n else mark).append_text(line) for n, line in enumerate(lines)])
    return Padding(shown, (0, 0, 0, columns))


def tell(text: str) -> None:
    """A sentence of ours on stderr."""
    console(stderr=True).print(Text(said(text), overflow="fold"))
