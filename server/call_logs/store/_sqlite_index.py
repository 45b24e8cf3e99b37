"""The full-text index in SQLite: one document a call, a column for each speaker and one for the filters.

A later tokeniser gets an index of its own (`words_next`), built beside the one that answers, from the newest call down
to `next_from`; calls from there on are written to both. When it holds all, it takes the other's name. Whoever writes with
an older tokeniser than the index leaves the call's key in `stale`, to be indexed again.
"""

import itertools
import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from call_logs.model import Turn
from call_logs.store.forms import languages, vocabulary
from call_logs.store.frequencies import frequencies_of
from call_logs.store.parts import parts_of, turns_of, unpacked
from call_logs.store.shared import DAY, FILTER, SPOKEN, STEP_CALLS, STEP_TURNS, Known
from call_logs.store.words import TOKENISER_VERSION, TURN, tokens_of

MUTE = f'"{FILTER}mute"'
"""The filter word of calls in which nothing was said, as it is asked for."""

COLUMNS = ("frequencies", *SPOKEN, "filters")
"""The frequencies are the first: they are read without the texts, which a long call's row keeps on pages of their own."""

_FREED = {"content": 2000, "data": 500, "docsize": 5000}
"""Rows of a replaced index's tables that one step frees."""

_MERGED_PAGES = 2000
"""Pages of the index that a step merges: some ten milliseconds."""

_PAGE_BYTES = 1000
"""Of an index that was put together once; before, FTS5's 4,050, which are quicker to write. Where few calls match a filter,
each is looked for among those of a frequent word, half a page at a time."""

_MOST_UNMERGED = 0.2
FEW_UNMERGED = 1000
"""More calls than this, and more than this share of all, are not left in the pieces in which they were written."""

_STRUCTURE = 10
"""The last of the index's records about itself, in its table of data."""


class Index:
    """Writes calls to the index, within a transaction; to the one that is being built as well."""

    def __init__(self, db: sqlite3.Connection, known: Known) -> None:
        self._db = db
        self._known = known
        setting = settings(db)
        known.begin(setting["vocabulary"])
        self._next_from = int(setting["next_from"]) if "next" in setting else None
        self._older = int(setting.get("next", setting["tokeniser"])) > TOKENISER_VERSION

    def add(self, key: int, turns: Sequence[Turn], filters: str) -> None:
        spoken = Spoken.of(parts_of(turns))
        for suffix in self._suffixes(key):
            insert(self._db, suffix, key, spoken, filters)
            self._learn(suffix, spoken.words)
        self._note(key)

    def replace(self, key: int, turns: Sequence[Turn], filters: str) -> None:
        spoken = Spoken.of(parts_of(turns))
        for suffix in self._suffixes(key):
            self._db.execute(
                f"UPDATE words{suffix} SET ({', '.join(COLUMNS)}) = (?, ?, ?, ?, ?, ?) WHERE rowid = ?",
                (spoken.frequencies, *spoken.columns, filters, key),
            )
            self._learn(suffix, spoken.words)
        self._note(key)

    def refilter(self, key: int, filters: str) -> None:
        """The call has other filter words, or the same; what was said stays."""
        for suffix in self._suffixes(key):
            held = self._db.execute(f"SELECT filters FROM words{suffix} WHERE rowid = ?", (key,)).fetchone()
            if held[0] != filters:
                self._db.execute(f"UPDATE words{suffix} SET filters = ? WHERE rowid = ?", (filters, key))

    def mark_leg(self, key: int) -> None:
        """The call is a leg from now on."""
        for suffix in self._suffixes(key):
            self._db.execute(
                f"UPDATE words{suffix} SET filters = filters || ' {FILTER}leg' WHERE rowid = ?",
                (key,),
            )

    def unmark_leg(self, key: int) -> None:
        """The call is no leg any more."""
        for suffix in self._suffixes(key):
            [filters] = self._db.execute(f"SELECT filters FROM words{suffix} WHERE rowid = ?", (key,)).fetchone()
            kept = " ".join(word for word in filters.split(" ") if word != f"{FILTER}leg")
            self._db.execute(f"UPDATE words{suffix} SET filters = ? WHERE rowid = ?", (kept, key))

    def erase(self, key: int) -> set[str]:
        """Take the call out. Returns the words that it said."""
        said: set[str] = set()
        for suffix in self._suffixes(key):
            columns = self._db.execute(
                f"SELECT {', '.join(SPOKEN)} FROM words{suffix} WHERE rowid = ?", (key,)
            ).fetchone()
            said.update(*(column.split() for column in columns or ()))
            self._db.execute(f"DELETE FROM words{suffix} WHERE rowid = ?", (key,))
        said.discard(TURN)
        return said

    def move(self, key: int, to: int) -> None:
        """The call has another key. Its parts have it already."""
        self._db.execute("UPDATE words SET rowid = ? WHERE rowid = ?", (to, key))
        self._db.execute("UPDATE stale SET call = ? WHERE call = ?", (to, key))
        if self._next_from is None:
            return
        self._db.execute("DELETE FROM words_next WHERE rowid = ?", (key,))
        if to >= self._next_from:
            (filters,) = self._db.execute("SELECT filters FROM words WHERE rowid = ?", (to,)).fetchone()
            insert(self._db, "_next", to, Spoken.of(held_turns(self._db, to)), filters)

    def _suffixes(self, key: int) -> tuple[str, ...]:
        return ("", "_next") if self._next_from is not None and key >= self._next_from else ("",)

    def _learn(self, suffix: str, said: set[str]) -> None:
        learn(self._db, suffix, said, Known() if suffix else self._known)

    def _note(self, key: int) -> None:
        if self._older:
            self._db.execute("INSERT OR IGNORE INTO stale VALUES(?)", (key,))


def create(db: sqlite3.Connection, suffix: str, version: int) -> None:
    """The tables of an index."""
    db.execute(
        f"CREATE VIRTUAL TABLE words{suffix} USING fts5(frequencies UNINDEXED, {', '.join(COLUMNS[1:])}, tokenize='ascii')"
    )
    # Merged less often than by default: a page of calls is a segment, and merging costs more than a few more of them.
    db.execute(f"INSERT INTO words{suffix}(words{suffix}, rank) VALUES('automerge', 8)")
    db.execute(
        f"CREATE TABLE vocabulary{suffix}(word TEXT NOT NULL, language TEXT NOT NULL, stem TEXT NOT NULL,"
        " PRIMARY KEY(word, language)) WITHOUT ROWID"
    )
    db.execute(f"CREATE INDEX vocabulary_stem_{version} ON vocabulary{suffix}(language, stem)")


def settings(db: sqlite3.Connection) -> dict[str, str]:
    return dict(db.execute("SELECT name, value FROM setting").fetchall())


@dataclass(frozen=True)
class Spoken:
    """What the index holds of a call's turns: the tokens by speaker, parted by `TURN`; their frequencies; every word once."""

    columns: Sequence[str]
    frequencies: str
    words: set[str]

    @classmethod
    def of(cls, parts: Iterable[Sequence[Turn]]) -> "Spoken":
        """Of the turns, by parts."""
        turns: dict[str, list[str]] = {speaker: [] for speaker in SPOKEN}
        counts = Counter[str]()
        for part in parts:
            found = tokens_of([turn.text for turn in part])
            for turn, words in zip(part, found, strict=True):
                turns[turn.speaker].append(" ".join(words))
            counts.update(itertools.chain.from_iterable(found))
        columns = [f" {TURN} ".join(texts) for texts in turns.values()]
        return cls(columns, frequencies_of(columns, counts), set(counts))


def insert(db: sqlite3.Connection, suffix: str, key: int, spoken: Spoken, filters: str) -> None:
    db.execute(
        f"INSERT INTO words{suffix}(rowid, {', '.join(COLUMNS)}) VALUES(?, ?, ?, ?, ?, ?, ?)",
        (key, spoken.frequencies, *spoken.columns, filters),
    )


def learn(db: sqlite3.Connection, suffix: str, said: set[str], known: Known) -> None:
    """Keep those of a call's words that are not known."""
    spoken_in = languages(said)
    if new := known.new(spoken_in, said):
        db.executemany(f"INSERT OR IGNORE INTO vocabulary{suffix} VALUES(?, ?, ?)", vocabulary(new, spoken_in))


def held_turns(db: sqlite3.Connection, key: int) -> Iterator[Sequence[Turn]]:
    """A call's turns as they are kept, by parts."""
    found = db.execute("SELECT body FROM part WHERE call = ? ORDER BY n", (key,))
    return (turns_of(unpacked(body)) for (body,) in found)


# -- an index of a later tokeniser ------------------------------------------------------------------------------


def is_behind(db: sqlite3.Connection) -> bool:
    """Whether the index that answers is of an earlier tokeniser than this program's."""
    return int(settings(db)["tokeniser"]) < TOKENISER_VERSION


def to_build(db: sqlite3.Connection) -> bool:
    """Whether building has anything to do."""
    return is_behind(db) or is_there(db, "words_old") or db.execute("SELECT 1 FROM stale").fetchone() is not None


def progress(db: sqlite3.Connection) -> float:
    """The share of calls that the index of this program's tokeniser holds; whole days are counted."""
    setting = settings(db)
    if int(setting.get("next", "0")) < TOKENISER_VERSION:
        return 0.0
    built, calls = db.execute(
        "SELECT coalesce(sum(calls) FILTER (WHERE day > ? / ?), 0), coalesce(sum(calls), 1) FROM tally",
        (int(setting["next_from"]), DAY),
    ).fetchone()
    return built / max(1, calls)


def build_step(db: sqlite3.Connection, known: Known) -> bool:
    """One step of building, within a transaction. Whether there is more to do."""
    setting = settings(db)
    if is_there(db, "words_old"):
        free(db)
        return True
    if int(setting["tokeniser"]) < TOKENISER_VERSION:
        started = int(setting.get("next", "0"))
        if started > TOKENISER_VERSION:
            return False  # a later version's program sees to it
        if started < TOKENISER_VERSION:
            _start(db)
        else:
            _go_on(db, int(setting["next_from"]), known)
        return True
    if int(setting["tokeniser"]) > TOKENISER_VERSION:
        return False
    return _refresh(db, known)


def is_there(db: sqlite3.Connection, table: str) -> bool:
    return db.execute("SELECT 1 FROM sqlite_master WHERE name = ?", (table,)).fetchone() is not None


def _start(db: sqlite3.Connection) -> None:
    if is_there(db, "words_next"):
        db.execute("DROP TABLE words_next")
        db.execute("DROP TABLE vocabulary_next")
    create(db, "_next", TOKENISER_VERSION)
    (newest,) = db.execute("SELECT coalesce(max(id), 0) FROM call").fetchone()
    db.executemany(
        "INSERT OR REPLACE INTO setting VALUES(?, ?)",
        [("next", str(TOKENISER_VERSION)), ("next_from", str(newest + 1))],
    )


def _go_on(db: sqlite3.Connection, begun: int, known: Known) -> None:
    chosen: list[int] = []
    turns = 0
    for key, said in db.execute(
        "SELECT id, turns FROM call WHERE id < ? ORDER BY id DESC LIMIT ?", (begun, STEP_CALLS)
    ):
        chosen.append(key)
        turns += said
        if turns >= STEP_TURNS:
            break
    if not chosen:
        _switch(db)
        return
    known.begin(settings(db)["next"])
    # Oldest first: the index flushes its buffer whenever a row id does not grow.
    for key in reversed(chosen):
        (filters,) = db.execute("SELECT filters FROM words WHERE rowid = ?", (key,)).fetchone()
        spoken = Spoken.of(held_turns(db, key))
        insert(db, "_next", key, spoken, filters)
        learn(db, "_next", spoken.words, known)
    db.execute("UPDATE setting SET value = ? WHERE name = 'next_from'", (str(chosen[-1]),))


def _switch(db: sqlite3.Connection) -> None:
    for table in ("words", "vocabulary"):
        db.execute(f"ALTER TABLE {table} RENAME TO {table}_old")
        db.execute(f"ALTER TABLE {table}_next RENAME TO {table}")
    db.execute("UPDATE setting SET value = ? WHERE name = 'tokeniser'", (str(TOKENISER_VERSION),))
    db.execute("UPDATE setting SET value = value + 1 WHERE name IN ('vocabulary', 'changes')")
    db.execute("DELETE FROM setting WHERE name IN ('next', 'next_from', 'unmerged')")


def free(db: sqlite3.Connection) -> None:
    """A step towards dropping the index that was replaced; at once it would keep others waiting."""
    for table, rows in _FREED.items():
        # The index's first records (its structure) stay: it could not be opened, and so not dropped, without.
        kept = f"FROM words_old_{table} WHERE id > {_STRUCTURE if table == 'data' else 0}"
        db.execute(f"DELETE {kept} AND id IN (SELECT id {kept} LIMIT {rows})")
        if db.execute("SELECT changes()").fetchone()[0]:
            return
    db.execute("DROP TABLE words_old")
    db.execute("DROP TABLE vocabulary_old")


def wrote(db: sqlite3.Connection, calls: int) -> None:
    """So many calls were written to the index, in a piece of their own."""
    db.execute("UPDATE setting SET value = value + ? WHERE name = 'unmerged'", (calls,))


def unmerged(db: sqlite3.Connection) -> int:
    """How many calls were written since the index's pieces were put together, where that should be done again; else 0.

    Each word of a question is looked up in each piece.
    """
    setting = settings(db)
    (calls,) = db.execute("SELECT coalesce(sum(calls), 0) FROM tally").fetchone()
    written = int(setting["unmerged"]) if "unmerged" in setting else calls
    return written if written >= max(FEW_UNMERGED, _MOST_UNMERGED * calls) else 0


def merged(db: sqlite3.Connection, calls: int) -> None:
    """So many calls of those that were written are put together."""
    db.execute(
        "INSERT INTO setting VALUES('unmerged', 0) ON CONFLICT(name) DO UPDATE SET value = max(0, value - ?)", (calls,)
    )


def merge_step(db: sqlite3.Connection, first: bool, suffix: str) -> bool:
    """A step towards one piece, which holds no erased call's words either. Whether there is more to do."""
    if not is_there(db, f"words{suffix}"):
        return False
    if suffix == "_old":  # it answers no more
        free(db)
        return True
    if first:
        db.execute(f"INSERT INTO words{suffix}(words{suffix}, rank) VALUES('pgsz', ?)", (_PAGE_BYTES,))
    before = db.total_changes
    pages = -_MERGED_PAGES if first else _MERGED_PAGES
    db.execute(f"INSERT INTO words{suffix}(words{suffix}, rank) VALUES('merge', ?)", (pages,))
    return db.total_changes - before > 1


def _refresh(db: sqlite3.Connection, known: Known) -> bool:
    """Index again what a program with an older tokeniser wrote."""
    keys = [key for (key,) in db.execute("SELECT call FROM stale ORDER BY call LIMIT ?", (STEP_CALLS,))]
    known.begin(settings(db)["vocabulary"])
    for key in keys:
        held = db.execute("SELECT filters FROM words WHERE rowid = ?", (key,)).fetchone()
        if held is not None:
            spoken = Spoken.of(held_turns(db, key))
            db.execute("DELETE FROM words WHERE rowid = ?", (key,))
            insert(db, "", key, spoken, held[0])
            learn(db, "", spoken.words, known)
        db.execute("DELETE FROM stale WHERE call = ?", (key,))
    if keys:
        db.execute("UPDATE setting SET value = value + 1 WHERE name = 'changes'")
    return bool(keys)
