"""What the commands print with: colours for a person at a terminal, plain lines for anything else."""

import logging
from collections.abc import Generator, Iterable
from contextlib import contextmanager

from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.table import Column, Table
from rich.text import Text

from call_logs.text import clean, one_line

_UNWRAPPED = 100_000
"""Columns where no terminal is: a program gets each line whole."""


def console(*, stderr: bool = False) -> Console:
    """A console that writes plain text, but for a terminal without NO_COLOR; there it may also redraw what it wrote."""
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
    """While something is redrawn at a terminal: what the sync would log of an account the command tells itself."""
    passes = logging.getLogger("call_logs.sync")
    level = passes.level
    passes.setLevel(logging.ERROR)
    try:
        yield
    finally:
        passes.setLevel(level)


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
