"""Power cuts: at any moment, with some or none of what was not yet synced on disk, nothing acknowledged is lost.

A layer of our own below SQLite (apsw's VFS) notes every write and sync of the store's real work. Each cut rebuilds the
files as a disk may hold them then: all that was synced, and of the later writes a random share, in any combination.
"""

import random
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import apsw
import pytest
from tables import FULL, Row

import newest_sqlite as newest
from call_logs.errors import StoreError
from call_logs.model import Call, Speaker, Turn
from call_logs.store import Filter, Marks
from call_logs.store import _sqlite_index as index
from call_logs.store._sqlite_connections import BUSY_SECONDS, Connections
from call_logs.store.query import parse
from call_logs.store.sqlite import SQLiteStore
from test_sqlite import sound

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

ROUNDS = 8 if FULL else 1
CUTS = 250
"""Of a round."""

SHARES = (0.0, 0.5, 0.9)
PAGES = 25
CALLS = 10
NOW = datetime(2026, 5, 4, 12, tzinfo=UTC)
ALL = Filter(("acme",))
WORDS = ("refund", "invoice", "delivery", "broken", "thanks", "reservation", "passport")
VFS = "power"


@dataclass(frozen=True)
class Step:
    """What reached the disk's queue: `kind` is write, truncate, sync or delete of a file."""

    kind: str
    file: str
    offset: int = 0
    data: bytes = b""


@dataclass
class Disk:
    """Every step, in order. `acknowledged` are pages: the number of steps when the store said that it is kept."""

    steps: list[Step] = field(default_factory=list[Step])
    acknowledged: list[int] = field(default_factory=list[int])


class Layer(apsw.VFS):
    """Passes everything on, and notes it."""

    def __init__(self, disk: Disk) -> None:
        self.disk = disk
        super().__init__(VFS, base="")

    def xOpen(self, name: Any, flags: list[int]) -> Any:  # noqa: N802 - apsw's name
        return File(self.disk, name, flags)

    def xDelete(self, filename: str, syncdir: bool) -> None:  # noqa: N802 - as above
        self.disk.steps.append(Step("delete", Path(filename).name))
        super().xDelete(filename, syncdir)


class File(apsw.VFSFile):
    """A file of the layer."""

    def __init__(self, disk: Disk, name: Any, flags: list[int]) -> None:
        self.disk = disk
        self.file = Path(name.filename() if isinstance(name, apsw.URIFilename) else str(name)).name
        super().__init__("", name, flags)

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802 - apsw's name
        self.disk.steps.append(Step("write", self.file, offset, bytes(data)))
        super().xWrite(data, offset)  # pyright: ignore[reportUnknownMemberType] - its stub says Buffer of nothing

    def xTruncate(self, newsize: int) -> None:  # noqa: N802 - as above
        self.disk.steps.append(Step("truncate", self.file, newsize))
        super().xTruncate(newsize)

    def xSync(self, flags: int) -> None:  # noqa: N802 - as above
        self.disk.steps.append(Step("sync", self.file))
        super().xSync(flags)


class Connection(newest.Connection):
    """A connection above the layer."""

    def __init__(self, path: Path) -> None:
        self._connection = apsw.Connection(str(path), vfs=VFS)
        self._connection.set_busy_timeout(round(BUSY_SECONDS * 1000))


class Powered(Connections):
    """The store's connections above the layer. They move its log into the file far more often than every 4,000 pages."""

    def opened(self) -> sqlite3.Connection:
        return cast("sqlite3.Connection", Connection(self.path))

    def connect(self) -> sqlite3.Connection:
        connection = super().connect()
        connection.execute("PRAGMA wal_autocheckpoint=60")
        return connection


def pages(rng: random.Random) -> Iterator[Sequence[Call]]:
    """New calls, and a few that were seen before and have changed."""
    for page in range(PAGES):
        numbers = [page * CALLS + n for n in range(CALLS)]
        again = rng.sample(range(page * CALLS), min(3, page * CALLS))
        yield [call(number, rng, page) for number in (*numbers, *again)]


def call(number: int, rng: random.Random, page: int) -> Call:
    said = [" ".join(rng.choices(WORDS, k=rng.randrange(3, 30))) for _ in range(rng.randrange(2, 12))]
    return Call(
        account="acme",
        provider="highlevel",
        vendor_call_id=f"call-{number}",
        started_at=NOW - timedelta(minutes=number),
        duration_seconds=float(page),
        turns=tuple(
            Turn(n=n, speaker=Speaker.CUSTOMER, text=f"{text} keyword{number}") for n, text in enumerate(said, 1)
        ),
    )


def worked(folder: Path, seed: int) -> Disk:
    """The disk's steps while a new store is made, filled and closed; now and then its index is put together."""
    disk = Disk()
    layer = Layer(disk)
    try:
        with closing(SQLiteStore(folder / "calls.db", Powered)) as store:
            store.open_account("acme", "highlevel")
            for number, page in enumerate(pages(random.Random(seed))):
                store.save_page("acme", page, Marks(NOW, NOW - timedelta(minutes=number), str(number)))
                disk.acknowledged.append(len(disk.steps))
                store.build_index(lambda: True)
    finally:
        layer.unregister()
    return disk


def after_cut(disk: Disk, at: int, share: float, rng: random.Random) -> dict[str, bytes]:
    """The files when the power went before step `at`: of each, what was synced, and a share of the later writes."""
    synced: dict[str, int] = {}
    for n, step in enumerate(disk.steps[:at]):
        if step.kind == "sync":
            synced[step.file] = n
    files: dict[str, bytearray] = {}
    for n, step in enumerate(disk.steps[:at]):
        if step.kind == "delete":
            files.pop(step.file, None)
        elif step.kind != "sync" and (n < synced.get(step.file, -1) or rng.random() < share):
            held = files.setdefault(step.file, bytearray())
            if step.kind == "truncate":
                del held[step.offset :]
                continue
            held.extend(b"\0" * (step.offset - len(held)))
            held[step.offset : step.offset + len(step.data)] = step.data
    return {name: bytes(data) for name, data in files.items()}


def opened_after(files: dict[str, bytes], folder: Path) -> Path:
    """A database with these files."""
    folder.mkdir()
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return folder / "calls.db"


@pytest.mark.parametrize("seed", range(ROUNDS))
def test_a_power_cut_loses_no_acknowledged_page_and_breaks_nothing(
    seed: int, tmp_path: Path, row: Row, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index, "FEW_UNMERGED", CALLS)
    begun = time.monotonic()
    disk = worked(tmp_path, seed)
    rng = random.Random(seed)
    assert len(disk.acknowledged) == PAGES
    checkpoints = sum(step.kind == "sync" and step.file == "calls.db" for step in disk.steps)
    assert checkpoints > 5, "none is cut in the middle of one"
    outcomes: dict[str, int] = {"corrupt": 0, "lost": 0, "torn": 0}
    for number in range(CUTS):
        share = SHARES[number % len(SHARES)]
        at = rng.randrange(1, len(disk.steps) + 1)
        path = opened_after(after_cut(disk, at, share, rng), tmp_path / str(number))
        acknowledged = sum(kept <= at for kept in disk.acknowledged)
        for what in judged(path, acknowledged):
            outcomes[what] += 1
    columns = ("round", "steps", "checkpoints", "cuts", "kept of the unsynced", *outcomes, "seconds")
    shares = "/".join(f"{share:.0%}" for share in SHARES)
    row(
        "power cuts",
        columns,
        (seed, len(disk.steps), checkpoints, CUTS, shares, *outcomes.values(), f"{time.monotonic() - begun:.0f}"),
    )
    assert not any(outcomes.values()), outcomes


def judged(path: Path, acknowledged: int) -> Iterator[str]:
    """What is wrong with the database, of which so many pages were acknowledged."""
    try:
        with closing(SQLiteStore(path)) as store:
            store.open_account("acme", "highlevel")
            resume = store.marks("acme").resume
            kept = 0 if resume is None else int(resume) + 1
            total = store.list_calls(ALL).total
            said = sum(store.search(parse(f"keyword{n * CALLS}"), ALL).total_calls for n in range(kept))
            store.save_page("acme", [call(9_999, random.Random(0), 0)])
        sound(path)
    except (sqlite3.Error, AssertionError, StoreError):
        yield "corrupt"
        return
    if kept < acknowledged:
        yield "lost"
    if total != kept * CALLS or said != kept:
        yield "torn"
