"""What is asked of SQLite: filters as statements, and the search in its full-text index; see `sqlite`."""

import itertools
import json
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from call_logs.model import Turn
from call_logs.store import NO_NUMBER, RANKED, Filter, Hit, Occurrence, SearchPage, SearchPosition
from call_logs.store._sqlite_index import COLUMNS
from call_logs.store._sqlite_rows import part_bodies, places_for
from call_logs.store.forms import LANGUAGES, MOST_FORMS, close, may_vary, stem
from call_logs.store.frequencies import Frequencies, counted_by, is_counted
from call_logs.store.kept import Memory
from call_logs.store.parts import PART, part_at, turns_of
from call_logs.store.query import Query, Term
from call_logs.store.quoting import Parts, hits_of
from call_logs.store.ranking import (
    Counted,
    Weighted,
    counted_in,
    foremost,
    phrase_of,
    scored,
    text_of,
    weight,
    weighted,
)
from call_logs.store.shared import (
    CLOSE_LENGTHS,
    COUNTED,
    CUSTOMER_TAIL,
    FEW,
    FILTER,
    FROM,
    MOST_TOTALS,
    ROW,
    SAMPLED,
    SLOTS,
    SPOKEN,
    filters_of,
    row_of,
)
from call_logs.store.words import fold


class Totals:
    """Totals that were counted, each good until a call changes: the pages of a list ask for the same one."""

    def __init__(self) -> None:
        self._known: dict[tuple[object, ...], tuple[str, list[tuple[int, ...]]]] = {}

    def of(self, db: sqlite3.Connection, statement: str, values: dict[str, Any]) -> int:
        """The number that the statement gives."""
        return self.rows(db, statement, values)[0][0]

    def rows(self, db: sqlite3.Connection, statement: str, values: dict[str, Any]) -> list[tuple[int, ...]]:
        """The few rows of numbers that the statement gives."""
        changes = _changes(db)
        asked = (statement, *sorted(values.items()))
        known = self._known.get(asked)
        if known is None or known[0] != changes:
            if len(self._known) >= MOST_TOTALS:
                self._known = {}
            known = self._known[asked] = (changes, db.execute(statement, values).fetchall())
        return known[1]


def window_of(which: Filter) -> tuple[list[str], dict[str, Any]]:
    parts: list[str] = []
    values: dict[str, Any] = {}
    if which.since is not None:
        parts.append("call.id >= :low")
        values["low"] = int(which.since.timestamp() // 1) * SLOTS
    if which.until is not None:
        parts.append("call.id < :high")
        values["high"] = -int(-which.until.timestamp() // 1) * SLOTS
    for name, sign, limit in (
        ("shortest", ">=", which.min_duration_seconds),
        ("longest", "<=", which.max_duration_seconds),
    ):
        if limit is not None:
            parts.append(f"call.duration {sign} :{name}")
            values[name] = limit
    return parts, values


def is_worded(which: Filter) -> bool:
    """Whether the filter asks for something of which the index has words. It answers any of them together, at once."""
    return any(value is not None for value in (which.agent, which.phone, which.direction, which.status, which.action))


def where_of(db: sqlite3.Connection, which: Filter, *, walked: bool = False) -> tuple[str, dict[str, Any]]:
    """A filter that asks for nothing worded, over `call`. `walked`: not by the accounts' index, whose order is another."""
    parts, values = window_of(which)
    accounts = account_numbers(db, which.accounts)
    if not walked or not is_all(db, accounts):
        # The plus keeps SQLite from using the index of the accounts.
        parts.append(among("+call.account" if walked else "call.account", accounts))
    if not which.include_tests:
        parts.append("call.test = 0")
    if not which.include_legs:
        parts.append("call.leg = 0")
    return " AND ".join(parts) or "1", values


def columns_of(db: sqlite3.Connection, which: Filter) -> tuple[str, dict[str, Any]]:
    """Any filter but that of an action, over `call`."""
    where, values = where_of(db, which)
    if which.agent is not None:
        where += f" AND {among('call.agent', agent_numbers(db, account_numbers(db, which.accounts), which.agent))}"
    for name, value in (("direction", which.direction), ("status", which.status)):
        if value is not None:
            where += f" AND call.{name} = :{name}"
            values[name] = value.value
    if which.phone == NO_NUMBER:
        where += f" AND {CUSTOMER_TAIL} IS NULL"
    elif which.phone is not None:
        ends = " OR ".join(f"(call.{end}_tail >= :tail AND call.{end}_tail < :tail_end)" for end in ("from", "to"))
        where += f" AND ({ends})"
        values |= {"tail": which.phone[::-1], "tail_end": which.phone[::-1] + ":"}
    return where, values


def source_of(db: sqlite3.Connection, which: Filter) -> tuple[str, dict[str, Any]]:
    """The calls of a filter: what stands behind FROM."""
    if not is_worded(which):
        where, values = where_of(db, which)
        return f"call WHERE {where}", values
    matching = match_of(db, None, which, None)
    if matching is None:
        return "call WHERE 0", {}
    return matching.source


def is_all(db: sqlite3.Connection, accounts: Sequence[int]) -> bool:
    """Whether these are all accounts that there are."""
    return len(accounts) == db.execute("SELECT count(*) FROM account").fetchone()[0]


@dataclass(frozen=True)
class Matching:
    """The calls that a search matches: a full-text expression, that of the hidden ones among them, and what is left.

    `columns` are the speakers who count.
    """

    match: str
    hidden: str | None
    where: str
    values: dict[str, Any]
    columns: tuple[str, ...]
    accounts: tuple[str, ...]

    def total(self, db: sqlite3.Connection, totals: Totals) -> int:
        """How many there are."""
        statement = f"SELECT count(*) FROM {self._source} WHERE words MATCH :match AND {self.where}"
        return totals.of(db, statement, self.values | {"match": self.shown})

    @property
    def shown(self) -> str:
        """The expression without the hidden ones."""
        return f"({self.match}) NOT {self.hidden}" if self.hidden else self.match

    @property
    def on_calls(self) -> str:
        """What is left to compare, of the calls' table."""
        return self.where.replace("words.rowid", "call.id")

    @property
    def source(self) -> tuple[str, dict[str, Any]]:
        """The calls themselves: what stands behind FROM."""
        source = f"words CROSS JOIN call ON call.id = words.rowid WHERE words MATCH :match AND {self.where}"
        return source, self.values | {"match": self.shown}

    def also(self, words: str) -> "Matching":
        """Those among them that match these words as well."""
        return replace(self, match=f"({self.match}) AND {words}")

    def newest(self, db: sqlite3.Connection, known: int, limit: int, before: int | None = None) -> list[int]:
        """The keys of the newest of them, newest first, among the calls that were held when `known` was the last number
        given."""
        source, where = self._source, self.where
        if before is not None:
            where += " AND words.rowid < :before"
        if known < int(db.execute("SELECT value FROM setting WHERE name = 'seq'").fetchone()[0]):
            source, where = _JOINED, f"{where} AND call.seq <= :known"
        found = db.execute(
            f"SELECT words.rowid FROM {source} WHERE words MATCH :match AND {where}"
            " ORDER BY words.rowid DESC LIMIT :limit",
            self.values | {"match": self.shown, "known": known, "limit": limit, "before": before},
        )
        return [key for (key,) in found]

    def keys(self, db: sqlite3.Connection, limit: int, after: int | None, *, newest: bool) -> list[int]:
        """The keys of those behind this one, in order of time."""
        behind, order = ("<", " DESC") if newest else (">", "")
        where = self.where if after is None else f"{self.where} AND words.rowid {behind} :after"
        found = db.execute(
            f"SELECT words.rowid FROM {self._source} WHERE words MATCH :match AND {where}"
            f" ORDER BY words.rowid{order} LIMIT :limit",
            self.values | {"match": self.shown, "limit": limit, "after": after},
        )
        return [key for (key,) in found]

    @property
    def _source(self) -> str:
        return _JOINED if "call." in self.where else "words"


_JOINED = "words JOIN call ON call.id = words.rowid"


def match_of(db: sqlite3.Connection, query: Query | None, which: Filter, speaker: str | None) -> Matching | None:
    """What the query and the filter match, with the filters as words of the index. None matches nothing.

    Without a query the filter must be worded.
    """
    accounts = account_numbers(db, which.accounts)
    agents = agent_numbers(db, accounts, which.agent) if which.agent is not None else None
    if not accounts or agents == []:
        return None
    parts = [" OR ".join(fts(term) for term in alternatives) for alternatives in query.required] if query else []
    match = " AND ".join(f"({part})" for part in parts)
    chosen = chosen_by(which, [] if is_all(db, accounts) else accounts, agents)
    match = " AND ".join(
        [
            *([f"{speaker} : ({match})" if speaker is not None else match] if match else []),
            *(f"({one})" for one in chosen),
        ]
    )
    if query is not None and query.excluded:
        match = f"({match}) NOT ({' OR '.join(fts(term) for term in query.excluded)})"
    hidden = [word for word, allowed in (("test", which.include_tests), ("leg", which.include_legs)) if not allowed]
    left, values = window_of(which)
    return Matching(
        match,
        "(" + " OR ".join(f'"{FILTER}{word}"' for word in hidden) + ")" if hidden else None,
        " AND ".join(part.replace("call.id", "words.rowid") for part in left) or "1",
        values,
        (speaker,) if speaker is not None else SPOKEN,
        which.accounts,
    )


def chosen_by(which: Filter, accounts: Sequence[int], agents: Sequence[int] | None) -> list[str]:
    """The filter as expressions that must all match; see `filters_of`."""
    wanted = filters_of(which, accounts, agents)
    parts = [" OR ".join(f'"{FILTER}{word}"' for word in words) for words in wanted]
    return parts + ([f'"{FILTER}ph{which.phone[::-1]}" *'] if which.phone is not None else [])


def fts(term: Term) -> str:
    """A term for FTS5. Tokens hold letters, digits and marks only: nothing here needs escaping."""
    end = " *" if term.prefix else ""
    return " OR ".join(f'"{" ".join(spelling)}"{end}' for spelling in term.spellings)


def forms_of(db: sqlite3.Connection, words: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """The other words of the index that share a stem with these, in the languages in which they were said."""
    found: dict[str, tuple[str, ...]] = {}
    for word in words:
        said_in = [
            language for (language,) in db.execute("SELECT language FROM vocabulary WHERE word = ?", (word,)).fetchall()
        ]
        others: dict[str, None] = {}
        for language in said_in or LANGUAGES:
            same = db.execute(
                "SELECT word FROM vocabulary WHERE language = ? AND stem = ? AND word <> ? ORDER BY length(word), word",
                (language, stem(language, word), word),
            )
            others |= dict.fromkeys(other for (other,) in same)
        found[word] = tuple(others)[:MOST_FORMS]
    return found


def close_words(db: sqlite3.Connection, word: str) -> tuple[str, ...]:
    """Words of the index that this one may have been meant for: of about its length, and the same first letter."""
    found = db.execute(
        "SELECT DISTINCT word FROM vocabulary WHERE word >= ? AND word < ? AND length(word) BETWEEN ? AND ?",
        (word[0], chr(ord(word[0]) + 1), len(word) - CLOSE_LENGTHS, len(word) + CLOSE_LENGTHS),
    )
    return close(word, [other for (other,) in found])


def occurrences_of(
    db: sqlite3.Connection, totals: Totals, query: Query, which: Filter, speaker: str | None
) -> list[Occurrence]:
    own = Filter(which.accounts, include_tests=True, include_legs=True)

    def said(word: str) -> bool:
        """Whether it was in these accounts: a word of others is theirs."""
        matching = match_of(db, Query(((Term((word,)),),)), own, None)
        return matching is not None and matching.total(db, totals) > 0

    counted: list[Occurrence] = []
    for term in query.terms:
        matching = match_of(db, Query(((term,),)), which, speaker)
        number = matching.total(db, totals) if matching else 0
        varies = len(term.tokens) == 1 and not number and may_vary(term.tokens[0])
        meant = close_words(db, term.tokens[0]) if varies else ()
        counted.append(Occurrence(" ".join(term.tokens), number, tuple(word for word in meant if said(word))))
    return counted


def account_numbers(db: sqlite3.Connection, names: Sequence[str]) -> list[int]:
    found = db.execute(f"SELECT id FROM account WHERE name IN ({places_for(names)})", tuple(names))
    return [number for (number,) in found]


def agent_numbers(db: sqlite3.Connection, accounts: Sequence[int], wanted: str) -> list[int]:
    """The accounts' agents of this id, or with this in their name, whatever its case and accents."""
    lowered, folded = wanted.casefold(), fold(wanted)
    found = db.execute(f"SELECT id, vendor_id, coalesce(name, '') FROM agent WHERE {among('account', accounts)}")
    return [
        number
        for number, vendor_id, name in found
        if vendor_id == wanted or lowered in name.casefold() or (folded and folded in fold(name))
    ]


def among(column: str, numbers: Sequence[int]) -> str:
    return f"{column} IN ({', '.join(str(number) for number in numbers)})"


def encodable(text: str) -> bool:
    """Whether SQLite can take it: there is no UTF-8 for a lone surrogate."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def newest_hits(
    db: sqlite3.Connection,
    query: Query,
    matching: Matching,
    total: int,
    limit: int,
    known: int,
    after: SearchPosition | None,
) -> SearchPage:
    keys = matching.newest(db, known, limit + 1, before=after.key if after else None)
    weights = [weighted(term, 1.0) for term in query.terms]
    hits = hits_at(db, weights, [(0.0, key) for key in keys[:limit]], matching.columns)
    return SearchPage(hits, total, ranked_all=True, more=len(keys) > limit, known=known)


def most_relevant(
    db: sqlite3.Connection,
    totals: Totals,
    memory: Memory,
    query: Query,
    matching: Matching,
    total: int,
    limit: int,
    known: int,
    after: SearchPosition | None,
) -> SearchPage:
    keys = matching.newest(db, known, RANKED)
    weights = after.weights if after else tuple(weights_of(db, totals, query.terms, matching.accounts))
    terms = [weighted(term, value) for term, value in zip(query.terms, weights, strict=True)]
    found = scored(
        counted_of(db, memory, keys, terms, matching.columns),
        terms,
        saying(db, phrase_of(terms), matching.columns, keys),
        lambda some: dict(joined_texts(db, memory, some, matching.columns)),
    )
    best, more = foremost(found, limit, (after.score, after.key) if after else None)
    hits = hits_at(db, terms, best, matching.columns)
    return SearchPage(hits, total, total <= RANKED, more, known, weights)


def counted_of(
    db: sqlite3.Connection, memory: Memory, keys: Sequence[int], terms: Sequence[Weighted], columns: Sequence[str]
) -> Counted:
    """How often the calls say the terms: by their frequencies, or where those do not tell by their texts."""
    if len(columns) < len(SPOKEN) or not is_counted(terms):
        return counted_in(joined_texts(db, memory, keys, columns), terms)

    def read(missing: Sequence[int]) -> dict[int, Frequencies]:
        return {key: Frequencies.of(line) for key, line in _index_of(db, missing, ["frequencies"])}

    return counted_by(memory.frequencies.of(_changes(db), keys, read), terms)


def joined_texts(
    db: sqlite3.Connection, memory: Memory, keys: Sequence[int], columns: Sequence[str]
) -> list[tuple[int, bytes]]:
    """The calls' texts, as they are ranked."""

    def read(missing: Sequence[int]) -> dict[int, bytes]:
        return {key: text_of(said) for key, said in texts_of(db, missing, columns).items()}

    if len(columns) < len(SPOKEN):
        return list(read(keys).items())
    return memory.texts.of(_changes(db), keys, read)


def _changes(db: sqlite3.Connection) -> str:
    """What differs as soon as any call has changed."""
    (changes,) = db.execute("SELECT value FROM setting WHERE name = 'changes'").fetchone()
    return changes


def texts_of(db: sqlite3.Connection, keys: Sequence[int], columns: Sequence[str]) -> dict[int, tuple[bytes, ...]]:
    """What the index holds of calls, by speaker."""
    return {key: tuple(texts) for key, *texts in _index_of(db, keys, columns)}


def _index_of(db: sqlite3.Connection, keys: Sequence[int], columns: Sequence[str]) -> list[tuple[Any, ...]]:
    """A call's key and these columns: read from the index's own table, past the index, and not decoded."""
    chosen = ", ".join(f"CAST(words_content.c{COLUMNS.index(column)} AS BLOB)" for column in columns)
    return db.execute(  # the keys as one value: a statement of a thousand takes as long to prepare as to run
        f"SELECT words_content.id, {chosen} FROM json_each(?) AS wanted JOIN words_content ON words_content.id = wanted.value",
        (json.dumps(keys),),
    ).fetchall()


def saying(db: sqlite3.Connection, phrase: bytes, columns: Sequence[str], keys: Sequence[int]) -> set[int]:
    """Those of the calls that say the phrase."""
    if not phrase or not keys:
        return set()
    match = f'"{phrase.decode().strip()}"'
    if len(columns) < len(SPOKEN):
        match = f"{{{' '.join(columns)}}} : {match}"
    found = db.execute(
        "SELECT rowid FROM words WHERE words MATCH ? AND rowid BETWEEN ? AND ?", (match, keys[-1], keys[0])
    )
    return {key for (key,) in found}.intersection(keys)


def weights_of(
    db: sqlite3.Connection, totals: Totals, terms: Sequence[Term], accounts: Sequence[str]
) -> Iterator[float]:
    """How telling each term is in these accounts: what others say must not show in an order either."""
    if len(terms) == 1:
        yield 1.0
        return
    numbers = account_numbers(db, accounts)
    if is_all(db, numbers):
        own = ""
        calls = int(db.execute("SELECT value FROM setting WHERE name = 'seq'").fetchone()[0])
        walk, values = "SELECT id FROM call ORDER BY id DESC LIMIT 1 OFFSET ?", [SAMPLED - 1]
    else:
        own = f" AND ({' OR '.join(chosen_by(Filter(()), numbers, None))})"
        calls = db.execute(f"SELECT coalesce(sum(calls), 0) FROM tally WHERE {among('account', numbers)}").fetchone()[0]
        walk = "SELECT rowid FROM words WHERE words MATCH ? ORDER BY rowid DESC LIMIT 1 OFFSET ?"
        values = [own.removeprefix(" AND "), SAMPLED - 1]
    oldest = db.execute(walk, values).fetchone()
    lowest, sampled = (oldest[0], SAMPLED) if oldest else (0, calls)
    for term in terms:
        said, size = _said_by(db, totals, f"({fts(term)}){own}", lowest), sampled
        if said < FEW and calls > size:
            said, size = _said_by(db, totals, f"({fts(term)}){own}", 0), calls
        yield round(weight(said, max(size, said)), 4)


def _said_by(db: sqlite3.Connection, totals: Totals, match: str, lowest: int) -> int:
    return totals.of(
        db,
        "SELECT count(*) FROM (SELECT 1 FROM words WHERE words MATCH :match AND rowid >= :lowest LIMIT :most)",
        {"match": match, "lowest": lowest, "most": COUNTED},
    )


def hits_at(
    db: sqlite3.Connection,
    terms: Sequence[Weighted],
    places: Sequence[tuple[float, int]],
    columns: Sequence[str],
) -> list[Hit]:
    keys = [key for _, key in places]
    texts = {key: dict(zip(columns, said, strict=True)) for key, said in texts_of(db, keys, columns).items()}
    found = db.execute(f"SELECT {ROW} FROM {FROM} WHERE call.id IN ({places_for(keys)})", keys)
    rows = {row[0]: row_of(row) for row in found}

    def before(calls: list[int]) -> Iterable[tuple[int, ...]]:
        statement = f"SELECT call, {', '.join(SPOKEN)} FROM part WHERE call IN ({places_for(calls)}) ORDER BY call, n"
        return db.execute(statement, calls)

    def bodies(wanted: list[tuple[int, int]]) -> Iterable[tuple[int, int, bytes]]:
        pairs = ", ".join(["(?, ?)"] * len(wanted))
        return db.execute(
            f"WITH wanted(call, n) AS (VALUES {pairs})"
            " SELECT part.call, part.n, part.body FROM wanted CROSS JOIN part USING (call, n)",
            list(itertools.chain.from_iterable(wanted)),
        )

    return hits_of(places, rows, texts, terms, Parts(rows.values(), before, bodies))


def turns_between(db: sqlite3.Connection, key: int, first: int, last: int | None) -> list[Turn]:
    """The turns from `first` to `last`, or to the end."""
    turns = [turn for part in part_bodies(db, key, first, last) for turn in turns_of(part)]
    skipped = part_at(first) * PART
    return turns[first - 1 - skipped : None if last is None else last - skipped]
