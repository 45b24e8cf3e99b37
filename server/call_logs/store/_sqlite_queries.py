"""What is asked of SQLite: filters as statements, and the search in its full-text index; see `sqlite`."""

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from statistics import median
from typing import Any
from zoneinfo import ZoneInfo

from call_logs.store import RANKED, Filter, Group, Hit, Occurrence, SearchPage, SearchPosition
from call_logs.store._sqlite_rows import FROM, ROW, SLOTS, SPOKEN, places_for, row_of, unpacked
from call_logs.store.forms import LANGUAGES, MOST_FORMS, close, may_vary, stem
from call_logs.store.query import Query, Term
from call_logs.store.ranking import Weighted, best_turn, ranked, weight, weighted
from call_logs.store.words import TURN, fold, tokens

ANYBODY = f"{{{' '.join(SPOKEN)}}}"

COUNTED = 20_000
"""A word in more calls than this weighs as if in this many: counting on costs time and changes no order."""

CLOSE_LENGTHS = 2
"""Letters more or fewer that a word may have that was meant by another."""

UNCONNECTED = "call.status IN ('busy', 'failed', 'no_answer', 'canceled', 'rejected')"


DIMENSIONS = {
    "day": "call.started_ms",
    "hour": "call.started_ms",
    "weekday": "call.started_ms",
    "agent": "coalesce(agent.name, agent.vendor_id, 'unknown')",
    "account": "account.name",
    "provider": "account.provider",
    "status": "call.status",
    "direction": "call.direction",
    "end_reason": "coalesce(call.end_reason, 'unknown')",
    "phone": "coalesce(CASE call.direction WHEN 'outbound' THEN call.to_number ELSE call.from_number END,"
    " CASE call.direction WHEN 'unknown' THEN call.to_number END, 'unknown')",
}
TIME_FORMS = {"day": "%Y-%m-%d", "hour": "%H:00", "weekday": "%A"}


def shaper(dimension: str, zone: str) -> Callable[[Any], str]:
    """What turns a dimension's column into its key. Days, hours and weekdays are the zone's."""
    form = TIME_FORMS.get(dimension)
    if form is None:
        return str
    there = ZoneInfo(zone)

    def shaped(ms: Any) -> str:
        return datetime.fromtimestamp(ms / 1000, there).strftime(form)

    return shaped


def group_of(key: tuple[str, ...], durations: Sequence[float | None], answered: int) -> Group:
    known = [duration for duration in durations if duration is not None]
    return Group(key, len(durations), answered, sum(known), median(known) if known else None)


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


def where_of(db: sqlite3.Connection, which: Filter, *, walked: bool = False) -> tuple[str, dict[str, Any]]:
    """The filter over `call` for lists and counts. `walked`: not by the accounts' index, whose order is another."""
    parts, values = window_of(which)
    # The plus keeps SQLite from using the index of the accounts; that of an agent or a status tells more.
    accounts = account_numbers(db, which.accounts)
    other = walked or which.agent is not None or which.status is not None
    parts.append(among("+call.account" if other else "call.account", accounts))
    if which.agent is not None:
        parts.append(among("call.agent", agent_numbers(db, accounts, which.agent)))
    for name, value in (("direction", which.direction), ("status", which.status)):
        if value is not None:
            parts.append(f"call.{name} = :{name}")
            values[name] = str(value)
    if which.action is not None:
        parts.append("instr(' ' || call.actions || ' ', :kind) > 0")
        values["kind"] = f" {which.action} "
    if which.phone is not None:
        parts.append(
            "call.id IN (SELECT id FROM call WHERE from_tail >= :tail AND from_tail < :tail_end"
            " UNION ALL SELECT id FROM call WHERE to_tail >= :tail AND to_tail < :tail_end)"
        )
        values |= {"tail": which.phone[::-1], "tail_end": which.phone[::-1] + ":"}
    if not which.include_tests:
        parts.append("call.test = 0")
    if not which.include_legs:
        parts.append("call.leg = 0")
    return " AND ".join(parts), values


def match_of(
    db: sqlite3.Connection, query: Query, which: Filter, column: str
) -> tuple[str | None, str, dict[str, Any]]:
    """The full-text expression with the filters as words, and what is left to compare. None matches nothing."""
    accounts = account_numbers(db, which.accounts)
    agents = agent_numbers(db, accounts, which.agent) if which.agent is not None else None
    if not accounts or agents == []:
        return None, "", {}
    required = [" OR ".join(fts(term) for term in alternatives) for alternatives in query.required]
    match = f"{column} : ({' AND '.join(f'({part})' for part in required)})"
    wanted = [[f"ac{number}" for number in accounts]]
    if agents is not None:
        wanted.append([f"ag{number}" for number in agents])
    wanted += [[f"{prefix}{value}"] for prefix, value in (("di", which.direction), ("st", which.status)) if value]
    if which.action is not None:
        wanted.append([f"ak{which.action}"])
    # The index's tokeniser parts words at "_", so these are phrases of two words (st in progress).
    for words in wanted:
        match += " AND filters : (" + " OR ".join(f'"{word}"' for word in words) + ")"
    if which.phone is not None:
        match += f' AND filters : "ph{which.phone[::-1]}" *'
    unwanted = [word for word, allowed in (("test", which.include_tests), ("leg", which.include_legs)) if not allowed]
    if unwanted:
        match = f"({match}) NOT filters : ({' OR '.join(unwanted)})"
    if query.excluded:
        match = f"({match}) NOT {ANYBODY} : ({' OR '.join(fts(term) for term in query.excluded)})"
    parts, values = window_of(which)
    return match, " AND ".join(part.replace("call.id", "words.rowid") for part in parts) or "1", values


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
        for language in [name for name in said_in if name] or LANGUAGES:
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


def occurrences_of(db: sqlite3.Connection, query: Query, which: Filter, column: str) -> list[Occurrence]:
    counted: list[Occurrence] = []
    for term in query.terms:
        match, where, values = match_of(db, Query(((term,),)), which, column)
        source = "words JOIN call ON call.id = words.rowid" if "call." in where else "words"
        calls = (
            db.execute(f"SELECT count(*) FROM {source} WHERE words MATCH :match AND {where}", values | {"match": match})
            if match
            else None
        )
        number = calls.fetchone()[0] if calls else 0
        varies = len(term.tokens) == 1 and not number and may_vary(term.tokens[0])
        counted.append(Occurrence(" ".join(term.tokens), number, close_words(db, term.tokens[0]) if varies else ()))
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
    speaker: str | None,
    source: str,
    values: dict[str, Any],
    total: int,
    limit: int,
    after: SearchPosition | None,
) -> SearchPage:
    beyond = "AND words.rowid < :key" if after else ""
    found = db.execute(
        f"SELECT words.rowid FROM {source} AND call.seq <= :known {beyond} ORDER BY words.rowid DESC LIMIT :limit",
        values | {"key": after.key if after else 0, "limit": limit + 1},
    ).fetchall()
    weights = [weighted(term, 1.0) for term in query.terms]
    hits = hits_at(db, weights, [(0.0, key) for (key,) in found[:limit]], speaker)
    return SearchPage(hits, total, ranked_all=True, more=len(found) > limit, known=values["known"])


def most_relevant(
    db: sqlite3.Connection,
    query: Query,
    speaker: str | None,
    source: str,
    values: dict[str, Any],
    total: int,
    limit: int,
    after: SearchPosition | None,
) -> SearchPage:
    said = f" || ' {TURN} ' || ".join(f"words.{column}" for column in ([speaker] if speaker else SPOKEN))
    texts = [
        (key, f" {text} ")
        for key, text in db.execute(
            f"SELECT words.rowid, {said} FROM {source} AND call.seq <= :known ORDER BY words.rowid DESC LIMIT {RANKED}",
            values,
        )
    ]
    weights = after.weights if after else tuple(weights_of(db, query.terms))
    terms = [weighted(term, value) for term, value in zip(query.terms, weights, strict=True)]
    order = ranked(texts, terms)
    if after is not None:
        order = [place for place in order if place < (after.score, after.key)]
    hits = hits_at(db, terms, order[:limit], speaker)
    return SearchPage(hits, total, total <= RANKED, len(order) > limit, values["known"], weights)


def weights_of(db: sqlite3.Connection, terms: Sequence[Term]) -> Iterator[float]:
    calls = min(COUNTED, db.execute("SELECT count(*) FROM (SELECT 1 FROM call LIMIT ?)", (COUNTED,)).fetchone()[0])
    for term in terms:
        found = db.execute(
            "SELECT count(*) FROM (SELECT 1 FROM words WHERE words MATCH ? LIMIT ?)",
            (f"{ANYBODY} : ({fts(term)})", COUNTED),
        ).fetchone()[0]
        yield round(weight(found, max(calls, found)), 4)


def hits_at(
    db: sqlite3.Connection,
    terms: Sequence[Weighted],
    places: Sequence[tuple[float, int]],
    speaker: str | None,
) -> list[Hit]:
    hits: list[Hit] = []
    for score, key in places:
        row = db.execute(f"SELECT {ROW} FROM {FROM} WHERE call.id = ?", (key,)).fetchone()
        call = unpacked(db.execute("SELECT body FROM content WHERE id = ?", (key,)).fetchone()[0])
        spoken = [turn for turn in call.turns if speaker is None or turn.speaker == speaker]
        index = best_turn([f" {' '.join(tokens(turn.text))} " for turn in spoken], terms)
        n = spoken[index].n
        before, after = call.turns[n - 2] if n > 1 else None, call.turns[n] if n < len(call.turns) else None
        hits.append(Hit(row_of(row), call.turns[n - 1], before, after, score))
    return hits
