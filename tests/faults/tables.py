"""Tables of what a suite measured: each test gives its rows, the end of the run shows them together."""

import os
from collections.abc import Callable, Sequence

FULL = os.environ.get("CALL_LOGS_FAULTS") == "full"
"""Whether the suites run in the size that docs/testing.md reports, or in the share of it that every CI run has."""

Row = Callable[[str, Sequence[str], Sequence[object]], None]
"""Gives a row: the table's title, the columns' names, the values."""
