"""What is asked of PostgreSQL: filters as statements, and the search in bags of lexemes; see `postgres`."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from call_logs.model import Call, Speaker
from call_logs.store import RANKED, Filter, Hit, Occurrence, SearchPage, SearchPosition
from call_logs.store._postgres_connections import Connection, ask
from call_logs.store._postgres_rows import (
    EXACT,
    FILTER,
    HUGE,
    HUGE_LEXEME,
    LONG,
    LONGEST_LEXEME,
    WEIGHTS,
    calls_at,
    lexeme,
    text_of,
)
from call_logs.store._sqlite_queries import CLOSE_LENGTHS, COUNTED
from call_logs.store._sqlite_rows import FROM, ROW, SLOTS, SPOKEN, row_of
from call_logs.store.forms import LANGUAGES, MOST_FORMS, close, may_vary, stem
from call_logs.store.query import Query, Term
from call_logs.store.ranking import Weighted, best_turn, ranked, weight, weighted
from call_logs.store.words import TURN, fold, tokens

UNCONNECTED = "call.status IN ('busy', 'failed', 'no_answer', 'canceled', 'rejected')"

_DAY = 86_400 * SLOTS
_SLICES = (11 * _DAY, 90 * _DAY)
"""The newest matches are looked for in these last stretches of time first: a frequent word has enough of them there."""

_LOCAL = "to_timestamp(call.started_ms / 1000.0) AT TIME ZONE %(zone)s"
_CUSTOMER = (
    "CASE call.direction WHEN 'outbound' THEN call.to_number WHEN 'unknown' THEN coalesce(call.from_number, call.to_number)"
    " ELSE call.from_number END"
)
DIMENSIONS = {
    "day": f"to_char({_LOCAL}, 'YYYY-MM-DD')",
    "hour": f"to_char({_LOCAL}, 'HH24:00')",
    "weekday": f"to_char({_LOCAL}, 'FMDay')",
    "agent": "coalesce(agent.name, agent.vendor_id, 'unknown')",
    "account": "account.name",
    "provider": "account.provider",
    "status": "call.status",
    "direction": "call.direction",
    "end_reason": "coalesce(call.end_reason, 'unknown')",
    "phone": f"coalesce({_CUSTOMER}, 'unknown')",
}


# -- filters over calls -----------------------------------------------------------------------------------------------


def window_of(which: Filter, key: str) -> tuple[list[str], dict[str, Any]]:
    """What a bag does not hold: the time, as bounds of the key, and the length of the call."""
    parts: list[str] = []
    values: dict[str, Any] = {}
    if which.since is not None:
        parts.append(f"{key} >= %(low)s")
        values["low"] = int(which.since.timestamp() // 1) * SLOTS
    if which.until is not None:
        parts.append(f"{key} < %(high)s")
        values["high"] = -int(-which.until.timestamp() // 1) * SLOTS
    for name, sign, limit in (
        ("shortest", ">=", which.min_duration_seconds),
        ("longest", "<=", which.max_duration_seconds),
    ):
        if limit is not None:
            parts.append(f"call.duration {sign} %({name})s")
            values[name] = limit
    return parts, values


def where_of(db: Connection, which: Filter) -> tuple[str, dict[str, Any]]:
    """The filter over `call` for lists and counts."""
    parts, values = window_of(which, "call.id")
    accounts = account_numbers(db, which.accounts)
    parts.append(among("call.account", accounts))
    if which.agent is not None:
        parts.append(among("call.agent", agent_numbers(db, accounts, which.agent)))
    for name, value in (("direction", which.direction), ("status", which.status)):
        if value is not None:
            parts.append(f"call.{name} = %({name})s")
            values[name] = str(value)
    if which.action is not None:
        parts.append("strpos(' ' || call.actions || ' ', %(kind)s) > 0")
        values["kind"] = f" {which.action} "
    if which.phone is not None:
        parts.append(
            "(call.from_tail >= %(tail)s AND call.from_tail < %(tail_end)s"
            " OR call.to_tail >= %(tail)s AND call.to_tail < %(tail_end)s)"
        )
        values |= {"tail": which.phone[::-1], "tail_end": which.phone[::-1] + ":"}
    if not which.include_tests:
        parts.append("NOT call.test")
    if not which.include_legs:
        parts.append("NOT call.leg")
    return " AND ".join(parts), values


def account_numbers(db: Connection, names: Sequence[str]) -> list[int]:
    return [number for (number,) in ask(db, "SELECT id FROM account WHERE name = ANY(%s)", (storable_among(names),))]


def agent_numbers(db: Connection, accounts: Sequence[int], wanted: str) -> list[int]:
    """The accounts' agents of this id, or with this in their name, whatever its case and accents."""
    lowered, folded = wanted.casefold(), fold(wanted)
    found = ask(db, f"SELECT id, vendor_id, coalesce(name, '') FROM agent WHERE {among('account', accounts)}")
    return [
        number
        for number, vendor_id, name in found
        if vendor_id == wanted or lowered in name.casefold() or (folded and folded in fold(name))
    ]


def among(column: str, numbers: Sequence[int]) -> str:
    """Whether the column is one of these; with none, no row."""
    return f"{column} IN ({', '.join(map(str, numbers))})" if numbers else "false"


def storable(text: str) -> bool:
    """Whether PostgreSQL can hold it: there is no UTF-8 for a lone surrogate, and no NUL in its texts."""
    try:
        return b"\0" not in text.encode()
    except UnicodeEncodeError:
        return False


def storable_among(texts: Sequence[str]) -> list[str]:
    """Those that can be held at all."""
    return [text for text in texts if storable(text)]


# -- search -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Index:
    """The tables that answer, and whether some of their bags do not hold their call exactly."""

    words: str
    vocabulary: str
    long: bool
    huge: bool


@dataclass(frozen=True)
class Matching:
    """The calls that match: a condition over `words` (and `call` where `joined`), with its values."""

    condition: str
    values: dict[str, Any] = field(default_factory=dict[str, Any])
    joined: bool = False


def index_of(db: Connection, words: str, vocabulary: str) -> Index:
    """The index of this snapshot."""
    found = ask(
        db,
        f"""SELECT EXISTS(SELECT 1 FROM {words} WHERE kept = {LONG}), EXISTS(SELECT 1 FROM {words} WHERE kept = {HUGE})""",
    ).fetchall()
    return Index(words, vocabulary, *found[0])


def matching(db: Connection, index: Index, query: Query, which: Filter, speaker: str | None) -> Matching | None:
    """What the query and the filter match; None is nothing."""
    accounts = account_numbers(db, which.accounts)
    agents = agent_numbers(db, accounts, which.agent) if which.agent is not None else None
    if not accounts or agents == []:
        return None
    filters = _filter_lexemes(which, accounts, agents)
    condition, values = _said(index, query, speaker, filters)
    parts, bounds = window_of(which, "words.id")
    return Matching(
        " AND ".join([condition, *parts]), values | bounds, joined=any(part.startswith("call.") for part in parts)
    )


def _filter_lexemes(which: Filter, accounts: Sequence[int], agents: Sequence[int] | None) -> list[str]:
    wanted = [[f"ac{number}" for number in accounts]]
    if agents is not None:
        wanted.append([f"ag{number}" for number in agents])
    wanted += [[f"{prefix}{value}"] for prefix, value in (("di", which.direction), ("st", which.status)) if value]
    if which.action is not None:
        wanted.append([f"ak{which.action}"])
    parts = [_any(lexeme(f"{FILTER}{word}") for word in words) for words in wanted]
    if which.phone is not None:
        parts.append(lexeme(f"{FILTER}ph{which.phone[::-1]}") + ":*")
    left_out = (("test", which.include_tests), ("leg", which.include_legs))
    return parts + [f"!{lexeme(FILTER + word)}" for word, allowed in left_out if not allowed]


def _said(index: Index, query: Query, speaker: str | None, filters: Sequence[str]) -> tuple[str, dict[str, Any]]:
    """What was said, as a condition over bags; over the texts as well for calls that a bag does not hold exactly."""
    exact = [_any(_lexemes(term, speaker) for term in alternatives) for alternatives in query.required]
    exact += [f"!({_lexemes(term, None)})" for term in query.excluded]
    values: dict[str, Any] = {"bag": " & ".join([*exact, *filters])}
    condition = "words.bag @@ %(bag)s::tsquery"
    inexact = index.huge or (index.long and any(_is_phrase(term) for term in (*query.terms, *query.excluded)))
    if not inexact:
        return condition, values
    near = [
        _any([*(_lexemes(term, speaker, together=True) for term in alternatives), lexeme(HUGE_LEXEME)])
        for alternatives in query.required
    ]
    values["near"] = " & ".join([*near, *filters])
    said = _text(speaker)
    texts = [_any_text(said, alternatives, values) for alternatives in query.required]
    if query.excluded:
        texts.append(f"NOT {_any_text(_text(None), query.excluded, values)}")
    long = f"words.kept > {EXACT} AND words.bag @@ %(near)s::tsquery AND {' AND '.join(texts)}"
    return f"(words.kept = {EXACT} AND {condition} OR {long})", values


def _is_phrase(term: Term) -> bool:
    return len(term.tokens) > 1


def _any(parts: Iterator[str] | Sequence[str] | Any) -> str:
    return f"({' | '.join(parts)})"


def _lexemes(term: Term, speaker: str | None, *, together: bool = False) -> str:
    """A term for a bag. `together`: a phrase only as all of its words.

    Words hold letters, digits and marks only: nothing here needs escaping.
    """
    by = WEIGHTS[Speaker(speaker)] if speaker else ""
    spellings: list[str] = []
    for words in term.spellings:
        if max(map(len, words)) > LONGEST_LEXEME:
            # No exact bag holds such a word.
            spellings.append(lexeme(HUGE_LEXEME))
            continue
        ends = [*[by] * (len(words) - 1), ("*" if term.prefix else "") + by]
        parts = [lexeme(word) + (f":{end}" if end else "") for word, end in zip(words, ends, strict=True)]
        spellings.append(f"({(' & ' if together else ' <-> ').join(parts)})")
    return _any(spellings)


def _text(speaker: str | None) -> str:
    """The tokens that a speaker (or anybody) said, with a space at both ends."""
    columns = [speaker] if speaker else SPOKEN
    said = f" || ' {TURN} ' || ".join(f"words.{column}" for column in columns)
    return f"(' ' || {said} || ' ')"


def _any_text(said: str, terms: Sequence[Term], values: dict[str, Any]) -> str:
    found: list[str] = []
    for term in terms:
        for words in term.spellings:
            name = f"said{len(values)}"
            values[name] = f" {' '.join(words)}{'' if term.prefix else ' '}"
            found.append(f"strpos({said}, %({name})s) > 0")
    return f"({' OR '.join(found)})"


def counted(db: Connection, index: Index, calls: Matching, most: int | None = None) -> int:
    """How many calls match, or `most` if they are more."""
    source = _source(index, calls)
    statement = f"SELECT count(*) FROM (SELECT 1 FROM {source} LIMIT {most}) AS found" if most else None
    return ask(db, statement or f"SELECT count(*) FROM {source}", calls.values).fetchall()[0][0]


def _source(index: Index, calls: Matching, *conditions: str) -> str:
    joined = " JOIN call ON call.id = words.id" if calls.joined else ""
    return f"{index.words} AS words{joined} WHERE {' AND '.join([calls.condition, *conditions])}"


def newest(
    db: Connection, index: Index, calls: Matching, total: int, limit: int, known: int | None, below: int | None = None
) -> list[int]:
    """The keys of the newest matches, at most `limit`, newest first; of the calls held when `known` were."""
    conditions = ["words.seq <= %(known)s"] if known is not None else []
    if below is not None:
        conditions.append("words.id < %(below)s")
    values = calls.values | {"known": known, "below": below, "limit": limit}

    def found(*bounds: str) -> list[int]:
        statement = f"SELECT words.id FROM {_source(index, calls, *conditions, *bounds)}"
        return [key for (key,) in ask(db, f"{statement} ORDER BY words.id DESC LIMIT %(limit)s", values)]

    if total <= limit:
        return found()
    top = below or values.get("high") or 1 + (ask(db, "SELECT coalesce(max(id), 0) FROM call").fetchall()[0][0])
    keys: list[int] = []
    for near, far in pairwise((0, *_SLICES, None)):
        bounds = [f"words.id < {top - near}"] if near else []
        bounds += [f"words.id >= {top - far}"] if far is not None else []
        values["limit"] = limit - len(keys)
        keys += found(*bounds)
        if len(keys) == limit:
            break
    return keys


def newest_hits(
    db: Connection,
    index: Index,
    query: Query,
    speaker: str | None,
    calls: Matching,
    total: int,
    limit: int,
    known: int,
    after: SearchPosition | None,
) -> SearchPage:
    keys = newest(db, index, calls, total, limit + 1, known if after else None, after.key if after else None)
    hits = hits_at(db, [weighted(term, 1.0) for term in query.terms], [(0.0, key) for key in keys[:limit]], speaker)
    return SearchPage(hits, total, ranked_all=True, more=len(keys) > limit, known=known)


def most_relevant(
    db: Connection,
    index: Index,
    query: Query,
    speaker: str | None,
    calls: Matching,
    total: int,
    limit: int,
    known: int,
    after: SearchPosition | None,
) -> SearchPage:
    keys = newest(db, index, calls, total, RANKED, known if after else None)
    weights = after.weights if after else tuple(weights_of(db, index, query.terms))
    terms = [weighted(term, value) for term, value in zip(query.terms, weights, strict=True)]
    columns = ", ".join([speaker] if speaker else SPOKEN)
    texts = [
        (key, text_of(said))
        for key, *said in ask(db, f"SELECT id, {columns} FROM {index.words} WHERE id = ANY(%s)", (keys,))
    ]
    order = ranked(texts, terms)
    if after is not None:
        order = [place for place in order if place < (after.score, after.key)]
    hits = hits_at(db, terms, order[:limit], speaker)
    return SearchPage(hits, total, total <= RANKED, len(order) > limit, known, weights)


def weights_of(db: Connection, index: Index, terms: Sequence[Term]) -> Iterator[float]:
    calls = ask(db, f"SELECT count(*) FROM (SELECT 1 FROM call LIMIT {COUNTED}) AS held").fetchall()[0][0]
    for term in terms:
        condition, values = _said(index, Query(((term,),)), None, [])
        found = counted(db, index, Matching(condition, values), COUNTED)
        yield round(weight(found, max(calls, found)), 4)


def hits_at(
    db: Connection, terms: Sequence[Weighted], places: Sequence[tuple[float, int]], speaker: str | None
) -> list[Hit]:
    keys = [key for _, key in places]
    rows = {row[0]: row for row in ask(db, f"SELECT {ROW} FROM {FROM} WHERE call.id = ANY(%s)", (keys,))}
    calls = calls_at(db, keys)
    return [_hit(row_of(rows[key]), calls[key], terms, score, speaker) for score, key in places]


def _hit(row: Any, call: Call, terms: Sequence[Weighted], score: float, speaker: str | None) -> Hit:
    spoken = [turn for turn in call.turns if speaker is None or turn.speaker == speaker]
    n = spoken[best_turn([f" {' '.join(tokens(turn.text))} " for turn in spoken], terms)].n
    before, after = call.turns[n - 2] if n > 1 else None, call.turns[n] if n < len(call.turns) else None
    return Hit(row, call.turns[n - 1], before, after, score)


def forms_of(db: Connection, vocabulary: str, words: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """The other words of the index that share a stem with these, in the languages in which they were said."""
    said_in: dict[str, list[str]] = {}
    for word, language in ask(
        db, f"SELECT word, language FROM {vocabulary} WHERE word = ANY(%s) ORDER BY word, language", (list(words),)
    ):
        said_in.setdefault(word, []).append(language)
    stems = [
        (word, language, stem(language, word))
        for word in words
        for language in ([name for name in said_in.get(word, []) if name] or LANGUAGES)
    ]
    others: dict[str, dict[str, None]] = {word: {} for word in words}
    found = ask(
        db,
        f"""SELECT asked.word, other.word FROM unnest(%s::text[], %s::text[], %s::text[]) WITH ORDINALITY
            AS asked(word, language, stem, n) JOIN {vocabulary} AS other ON other.language = asked.language
            AND other.stem = asked.stem WHERE other.word <> asked.word ORDER BY asked.n, length(other.word), other.word""",
        tuple([list(column) for column in zip(*stems, strict=True)]),
    )
    for word, other in found:
        others[word][other] = None
    return {word: tuple(found)[:MOST_FORMS] for word, found in others.items()}


def occurrences_of(
    db: Connection, index: Index, query: Query, which: Filter, speaker: str | None
) -> Iterator[Occurrence]:
    for term in query.terms:
        calls = matching(db, index, Query(((term,),)), which, speaker)
        number = counted(db, index, calls) if calls else 0
        varies = len(term.tokens) == 1 and not number and may_vary(term.tokens[0])
        meant = _close(db, index.vocabulary, term.tokens[0]) if varies else ()
        yield Occurrence(" ".join(term.tokens), number, meant)


def _close(db: Connection, vocabulary: str, word: str) -> tuple[str, ...]:
    """Words of the index that this one may have been meant for: of about its length, and the same first letter."""
    found = ask(
        db,
        f"""SELECT DISTINCT word FROM {vocabulary} WHERE word >= %s AND word < %s AND length(word) BETWEEN %s AND %s
            ORDER BY word""",
        (word[0], chr(ord(word[0]) + 1), len(word) - CLOSE_LENGTHS, len(word) + CLOSE_LENGTHS),
    )
    return close(word, [other for (other,) in found])
