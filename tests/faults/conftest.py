"""Rows of tables for whoever reads the run."""

from collections.abc import Callable, Sequence

import pytest
from tables import Row


@pytest.fixture
def row(record_property: Callable[[str, object], None]) -> Row:
    """See `tables`. Properties travel from xdist's workers to the summary in `tests/conftest.py`."""

    def give(title: str, columns: Sequence[str], values: Sequence[object]) -> None:
        record_property("table", [title, list(columns), [str(value) for value in values]])

    return give
