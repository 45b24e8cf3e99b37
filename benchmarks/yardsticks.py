"""What our search is compared with in the same run: plain FTS5 and, where it is installed, tantivy.

Both hold one document a call, the same words, and answer the ids of the ten best. They quote nothing, count nothing,
know no forms of a word, and run in the benchmark's own process.
"""

import sqlite3
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from importlib import import_module
from pathlib import Path
from typing import Any, Literal, Protocol

from call_logs.model import Call

LIMIT = 10


@dataclass(frozen=True)
class Question:
    """A search, in words that every engine can be given. `filters` are arguments of `search_transcripts`."""

    kind: Literal["words", "phrase", "prefix"]
    words: tuple[str, ...]
    filters: dict[str, str] = field(default_factory=dict[str, str])

    @property
    def query(self) -> str:
        """As `search_transcripts` takes it."""
        match self.kind:
            case "phrase":
                return f'"{" ".join(self.words)}"'
            case "prefix":
                return f"{self.words[0]}*"
            case "words":
                return " ".join(self.words)


class Yardstick(Protocol):
    """An engine to compare with."""

    name: str

    def search(self, question: Question) -> list[int]:
        """The ids of the ten best calls."""
        ...


def _text(call: Call) -> str:
    return "\n".join(turn.text for turn in call.turns)


class PlainFTS5:
    """SQLite's own full-text search, its own tokeniser and ranking, and a table of what filters need."""

    name = "FTS5"

    def __init__(self, folder: Path) -> None:
        """Open what was built in the folder, or nothing yet."""
        self._db = sqlite3.connect(folder / "fts5.db")
        self._db.execute("PRAGMA cache_size=-65536")

    def build(self, calls: Iterable[Call]) -> None:
        """Index the calls; their places are their ids."""
        self._db.executescript(
            """PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF;
               CREATE VIRTUAL TABLE doc USING fts5(text, tokenize='unicode61');
               CREATE TABLE meta(id INTEGER PRIMARY KEY, agent TEXT, status TEXT, started REAL, source TEXT, target TEXT);
               CREATE VIRTUAL TABLE vocabulary USING fts5vocab(doc, 'row');"""
        )
        for number, call in enumerate(calls, 1):
            self._db.execute("INSERT INTO doc(rowid, text) VALUES(?, ?)", (number, _text(call)))
            self._db.execute(
                "INSERT INTO meta VALUES(?, ?, ?, ?, ?, ?)",
                (
                    number,
                    call.agent_id,
                    call.status,
                    call.started_at.timestamp(),
                    call.from_number,
                    call.to_number,
                ),
            )
        self._db.execute("INSERT INTO doc(doc) VALUES('optimize')")
        self._db.commit()

    def words(self) -> Iterator[tuple[str, int]]:
        """Each word, and in how many calls it was said."""
        yield from self._db.execute("SELECT term, doc FROM vocabulary")

    def count(self, question: Question) -> int:
        """In how many calls the question's words were said."""
        statement, values = self._statement(question)
        return self._db.execute(f"SELECT count(*) FROM {statement}", values).fetchone()[0]

    def search(self, question: Question) -> list[int]:
        """The best ten by bm25."""
        statement, values = self._statement(question)
        found = self._db.execute(f"SELECT doc.rowid FROM {statement} ORDER BY bm25(doc) LIMIT {LIMIT}", values)
        return [number for (number,) in found]

    def _statement(self, question: Question) -> tuple[str, dict[str, Any]]:
        match question.kind:
            case "phrase":
                asked = f'"{" ".join(question.words)}"'
            case "prefix":
                asked = f'"{question.words[0]}" *'
            case "words":
                asked = " ".join(f'"{word}"' for word in question.words)
        values: dict[str, Any] = {"asked": asked}
        parts = ["doc MATCH :asked"]
        for name, value in question.filters.items():
            values[name] = _seconds(value) if name in ("since", "until") else value
            parts.append(
                {
                    "agent": "meta.agent = :agent",
                    "status": "meta.status = :status",
                    "since": "meta.started >= :since",
                    "until": "meta.started < :until",
                    "phone": ":phone IN (meta.source, meta.target)",
                }[name]
            )
        source = "doc CROSS JOIN meta ON meta.id = doc.rowid" if question.filters else "doc"
        return f"{source} WHERE {' AND '.join(parts)}", values


class Tantivy:
    """The fastest engine that a package index has. Optional: `pip install 'call-logs-mcp[bench]'`."""

    name = "tantivy"

    def __init__(self, folder: Path) -> None:
        """Open what was built in the folder, or nothing yet. Raises `ImportError` where tantivy is not installed."""
        tantivy: Any = import_module("tantivy")  # what is optional has no types where it is not installed
        self._tantivy = tantivy
        builder = tantivy.SchemaBuilder()
        builder.add_integer_field("id", stored=True)
        builder.add_text_field("text")
        for name in ("agent", "status", "phone"):
            builder.add_text_field(name, tokenizer_name="raw", index_option="basic")
        builder.add_integer_field("started", indexed=True, fast=True)
        self._schema = builder.build()
        path = folder / "tantivy"
        path.mkdir(exist_ok=True, parents=True)
        self._index = tantivy.Index(self._schema, str(path))
        self._searcher = self._index.searcher()

    def build(self, calls: Iterable[Call]) -> None:
        """Index the calls; their places are their ids."""
        writer = self._index.writer()
        for number, call in enumerate(calls, 1):
            writer.add_document(
                self._tantivy.Document(
                    id=number,
                    text=_text(call),
                    agent=call.agent_id or "",
                    status=str(call.status),
                    phone=[call.from_number or "", call.to_number or ""],
                    started=int(call.started_at.timestamp()),
                )
            )
        writer.commit()
        writer.wait_merging_threads()
        self._index.reload()
        self._searcher = self._index.searcher()

    def search(self, question: Question) -> list[int]:
        """The best ten by BM25, without counting the others, which lets it skip most of them."""
        query, occur = self._tantivy.Query, self._tantivy.Occur
        words = question.words
        match question.kind:
            case "phrase":
                asked = [query.phrase_query(self._schema, "text", list(words))]
            case "prefix":
                asked = [query.regex_query(self._schema, "text", f"{words[0]}.*")]
            case "words":
                asked = [query.term_query(self._schema, "text", word) for word in words]
        for name in ("agent", "status", "phone"):
            if name in question.filters:
                asked.append(query.term_query(self._schema, name, question.filters[name], "basic"))
        if "since" in question.filters:
            low, high = (int(_seconds(question.filters[name])) for name in ("since", "until"))
            kind = self._tantivy.FieldType.Integer
            asked.append(query.range_query(self._schema, "started", kind, low, high, include_upper=False))
        whole = asked[0] if len(asked) == 1 else query.boolean_query([(occur.Must, part) for part in asked])
        found = self._searcher.search(whole, LIMIT, count=False)
        return [self._searcher.doc(place)["id"][0] for _, place in found.hits]


def _seconds(moment: str) -> float:
    return datetime.fromisoformat(moment).timestamp()


def installed(folder: Path) -> list[PlainFTS5 | Tantivy]:
    """The engines that can be had here."""
    try:
        return [PlainFTS5(folder), Tantivy(folder)]
    except ImportError:
        return [PlainFTS5(folder)]
