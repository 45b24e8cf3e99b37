"""What is asked of PostgreSQL: filters as statements, and the search in bags of lexemes; see `postgres`."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise
from typing import Any

from call_logs.model import UNCONNECTED, Speaker
from call_logs.store import NO_NUMBER, RANKED, Filter, Hit, Occurrence, SearchPage, SearchPosition, Silent
from call_logs.store._postgres_connections import Connection, ask
from call_logs.store._postgres_index import EXACT, HUGE, HUGE_LEXEME, LONG, LONGEST_WORD, WEIGHTS
from call_logs.store._postgres_schema import settings
from call_logs.store.forms import LANGUAGES, MOST_FORMS, close, may_vary, stem
from call_logs.store.frequencies import Frequencies, counted_by, is_counted
from call_logs.store.kept import Memory
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
    DAY,
    FEW,
    FILTER,
    FROM,
    MOST_TOTALS,
    ROW,
    SAMPLED,
    SLOTS,
    SPOKEN,
    filters_of,
    is_tallied,
    row_of,
    to_ms,
    window_keys,
)
from call_logs.store.words import TURN, fold

_NO_CONVERSATION = f"status IN ({', '.join(repr(status.value) for status in sorted(UNCONNECTED))})"

_SLICES = (11 * DAY, 90 * DAY)
"""The newest matches are looked for in these last stretches of time first: a frequent word has enough of them there."""

_SORTED = 20_000
"""Up to so many matches are all looked up in the index and sorted; the planner likes to walk calls instead, and errs."""

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
    if which.phone == NO_NUMBER:
        parts.append(f"{CUSTOMER_TAIL} IS NULL")
    elif which.phone is not None:
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


# -- totals -----------------------------------------------------------------------------------------------------------


def tallied(db: Connection, which: Filter) -> Counter[tuple[int, bool, bool]]:
    """How many calls there are by (account, silent, unconnected); days from the tally, the window's ends from the calls."""
    low, high = window_keys(which)
    first = -(-low // DAY)
    last = max(first, high // DAY)
    accounts = among("account", account_numbers(db, which.accounts))
    shown = ("" if which.include_tests else " AND NOT test") + ("" if which.include_legs else " AND NOT leg")
    found = Counter[tuple[int, bool, bool]]()
    for account, silent, unconnected, calls in ask(
        db,
        f"""SELECT account, silent, unconnected, sum(calls)::bigint FROM tally
            WHERE {accounts} AND day >= %s AND day < %s {shown} GROUP BY 1, 2, 3""",
        (first, last),
    ):
        found[account, silent, unconnected] += calls
    low_end = min(first * DAY, high)
    ends = [(low, low_end)] if low < low_end else []
    if which.until is not None and max(last * DAY, low_end) < high:
        ends.append((max(last * DAY, low_end), high))
    for begin, end in ends:
        for account, silent, unconnected, calls in ask(
            db,
            f"""SELECT account, turns = 0, {_NO_CONVERSATION}, count(*) FROM call
                WHERE {accounts} AND id >= %s AND id < %s {shown} GROUP BY 1, 2, 3""",
            (begin, end),
        ):
            found[account, silent, unconnected] += calls
    return found


def total_of(db: Connection, totals: "Totals", which: Filter, where: str, values: Mapping[str, Any]) -> int:
    """How many calls the filter has."""
    if is_tallied(which):
        return sum(tallied(db, which).values())
    return totals.of(db, f"SELECT count(*) FROM call WHERE {where}", values)


def silent_calls(db: Connection, which: Filter, recent_since: datetime) -> list[Silent]:
    """Calls without a transcript, by account."""
    where, values = where_of(db, which)
    calls: Counter[int] = Counter()
    unconnected: Counter[int] = Counter()
    if is_tallied(which):
        for (account, silent, apart), number in tallied(db, which).items():
            calls[account] += number * silent
            unconnected[account] += number * silent * apart
    else:
        for account, number, apart in ask(
            db,
            f"""SELECT account, count(*), count(*) FILTER (WHERE {_NO_CONVERSATION}) FROM call
                WHERE {where} AND turns = 0 GROUP BY account""",
            values,
        ):
            calls[account], unconnected[account] = number, apart
    recent = dict(
        ask(
            db,
            f"""SELECT account, count(*) FROM call WHERE {where} AND turns = 0 AND id >= %(recent_key)s
                AND started_ms >= %(recent)s AND NOT {_NO_CONVERSATION} GROUP BY account""",
            values | {"recent": to_ms(recent_since), "recent_key": int(recent_since.timestamp()) * SLOTS},
        ).fetchall()
    )
    named = ask(db, f"SELECT id, name, provider FROM account WHERE {among('id', list(+calls))} ORDER BY id")
    return [Silent(name, provider, calls[id_], recent.get(id_, 0), unconnected[id_]) for id_, name, provider in named]


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
    [(all_accounts,)] = ask(db, "SELECT count(*) FROM account").fetchall()
    filters = _filter_lexemes(which, accounts if len(accounts) < all_accounts else [], agents)
    condition, values = _said(index, query, speaker, filters)
    parts, bounds = window_of(which, "words.id")
    return Matching(
        " AND ".join([condition, *parts]), values | bounds, joined=any(part.startswith("call.") for part in parts)
    )


def _filter_lexemes(which: Filter, accounts: Sequence[int], agents: Sequence[int] | None) -> list[str]:
    """The filter as lexemes that must all be there; see `filters_of`."""
    parts = [_any(f"'{FILTER}{word}'" for word in words) for words in filters_of(which, accounts, agents)]
    if which.phone is not None:
        parts.append(f"'{FILTER}ph{which.phone[::-1]}':*")
    left_out = (("test", which.include_tests), ("leg", which.include_legs))
    return parts + [f"!'{FILTER}{word}'" for word, allowed in left_out if not allowed]


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
        _any([*(_lexemes(term, speaker, together=True) for term in alternatives), HUGE_LEXEME])
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


def _any(parts: Iterable[str]) -> str:
    return f"({' | '.join(parts)})"


def _lexemes(term: Term, speaker: str | None, *, together: bool = False) -> str:
    """A term for a bag. `together`: a phrase only as all of its words.

    Words hold letters, digits and marks only: nothing here needs escaping.
    """
    by = WEIGHTS[Speaker(speaker)] if speaker else ""
    spellings: list[str] = []
    for words in term.spellings:
        if max(map(len, words)) > LONGEST_WORD:
            # No exact bag holds such a word.
            spellings.append(HUGE_LEXEME)
            continue
        ends = [*[by] * (len(words) - 1), ("*" if term.prefix else "") + by]
        parts = [f"'{word}'" + (f":{end}" if end else "") for word, end in zip(words, ends, strict=True)]
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


class Totals:
    """Totals that were counted, each good until a call changes: the pages of a list or search ask for the same one."""

    def __init__(self) -> None:
        self._known: dict[tuple[object, ...], tuple[str, int]] = {}

    def of(self, db: Connection, statement: str, values: Mapping[str, Any]) -> int:
        """The number that the statement gives."""
        changes = _changes(db)
        asked = (statement, *sorted(values.items()))
        known = self._known.get(asked)
        if known is None or known[0] != changes:
            if len(self._known) >= MOST_TOTALS:
                self._known = {}
            known = self._known[asked] = (changes, ask(db, statement, values).fetchall()[0][0])
        return known[1]


def counted(db: Connection, totals: Totals, index: Index, calls: Matching, most: int | None = None) -> int:
    """How many calls match, or `most` if they are more."""
    source = _source(index, calls)
    if most:
        source = f"(SELECT 1 FROM {source} LIMIT {most}) AS found"
    return totals.of(db, f"SELECT count(*) FROM {source}", calls.values)


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

    if total <= _SORTED:
        statement = f"SELECT words.id FROM {_source(index, calls, *conditions)}"
        statement = f"WITH found AS MATERIALIZED ({statement}) SELECT id FROM found ORDER BY id DESC LIMIT %(limit)s"
        return [key for (key,) in ask(db, statement, values)]
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
    hits = hits_at(
        db, index, [weighted(term, 1.0) for term in query.terms], [(0.0, key) for key in keys[:limit]], speaker
    )
    return SearchPage(hits, total, ranked_all=True, more=len(keys) > limit, known=known)


def most_relevant(
    db: Connection,
    totals: Totals,
    memory: Memory,
    index: Index,
    query: Query,
    speaker: str | None,
    accounts: Sequence[str],
    calls: Matching,
    total: int,
    limit: int,
    known: int,
    after: SearchPosition | None,
) -> SearchPage:
    keys = newest(db, index, calls, total, RANKED, known if after else None)
    weights = after.weights if after else tuple(weights_of(db, totals, index, query.terms, accounts))
    terms = [weighted(term, value) for term, value in zip(query.terms, weights, strict=True)]
    found = scored(
        counted_of(db, memory, index, keys, terms, speaker),
        terms,
        saying(db, index, phrase_of(terms), speaker, keys),
        lambda some: dict(joined_texts(db, memory, index, some, speaker)),
    )
    best, more = foremost(found, limit, (after.score, after.key) if after else None)
    hits = hits_at(db, index, terms, best, speaker)
    return SearchPage(hits, total, total <= RANKED, more, known, weights)


def counted_of(
    db: Connection, memory: Memory, index: Index, keys: Sequence[int], terms: Sequence[Weighted], speaker: str | None
) -> Counted:
    """How often the calls say the terms: by their frequencies, or where those do not tell by their texts."""
    if speaker or not is_counted(terms):
        return counted_in(joined_texts(db, memory, index, keys, speaker), terms)

    def read(missing: Sequence[int]) -> dict[int, Frequencies]:
        return {key: Frequencies.of(line) for key, [line] in texts_of(db, index, missing, ["frequencies"]).items()}

    return counted_by(memory.frequencies.of((index.words, _changes(db)), keys, read), terms)


def joined_texts(
    db: Connection, memory: Memory, index: Index, keys: Sequence[int], speaker: str | None
) -> list[tuple[int, bytes]]:
    """The calls' texts, as they are ranked."""

    def read(missing: Sequence[int]) -> dict[int, bytes]:
        found = texts_of(db, index, missing, [speaker] if speaker else SPOKEN)
        return {key: text_of(said) for key, said in found.items()}

    if speaker:
        return list(read(keys).items())
    return memory.texts.of((index.words, _changes(db)), keys, read)


def _changes(db: Connection) -> str:
    """What differs as soon as any call has changed."""
    [(changes,)] = ask(db, "SELECT value FROM setting WHERE name = 'changes'").fetchall()
    return changes


def texts_of(db: Connection, index: Index, keys: Sequence[int], columns: Sequence[str]) -> dict[int, list[bytes]]:
    """What these columns of the index hold of calls."""
    chosen = ", ".join(f"convert_to({column}, 'UTF8')" for column in columns)
    found = ask(db, f"SELECT id, {chosen} FROM {index.words} WHERE id = ANY(%s)", (list(keys),), binary=True)
    return {key: texts for key, *texts in found}


def saying(db: Connection, index: Index, phrase: bytes, speaker: str | None, keys: Sequence[int]) -> set[int]:
    """Those of the calls that say the phrase."""
    if not phrase or not keys:
        return set()
    condition, values = _said(index, Query(((Term(tuple(phrase.decode().split())),),)), speaker, [])
    found = ask(
        db,
        f"SELECT words.id FROM {index.words} AS words WHERE words.id = ANY(%(keys)s) AND {condition}",
        values | {"keys": list(keys)},
    )
    return {key for (key,) in found}


def weights_of(
    db: Connection, totals: Totals, index: Index, terms: Sequence[Term], accounts: Sequence[str]
) -> Iterator[float]:
    """How telling each term is in these accounts: what others say must not show in an order either."""
    if len(terms) == 1:
        yield 1.0
        return
    numbers = account_numbers(db, accounts)
    [(all_accounts,)] = ask(db, "SELECT count(*) FROM account").fetchall()
    if len(numbers) == all_accounts:
        own: list[str] = []
        calls = int(settings(db)["seq"])
        chosen = "true"
    else:
        own = [_any(f"'{FILTER}ac{number}'" for number in numbers)]
        chosen = "account = ANY(%(accounts)s)"
        [(calls,)] = ask(
            db, f"SELECT coalesce(sum(calls), 0)::bigint FROM tally WHERE {chosen}", {"accounts": numbers}
        ).fetchall()
    oldest = ask(
        db,
        f"SELECT id FROM call WHERE {chosen} ORDER BY id DESC LIMIT 1 OFFSET %(before)s",
        {"accounts": numbers, "before": SAMPLED - 1},
    ).fetchall()
    lowest, sampled = (oldest[0][0], SAMPLED) if oldest else (0, calls)
    for term in terms:
        condition, values = _said(index, Query(((term,),)), None, own)
        recent = Matching(f"{condition} AND words.id >= %(lowest)s", values | {"lowest": lowest})
        said, size = counted(db, totals, index, recent, COUNTED), sampled
        if said < FEW and calls > size:
            said, size = counted(db, totals, index, Matching(condition, values), COUNTED), calls
        yield round(weight(said, max(size, said)), 4)


def hits_at(
    db: Connection,
    index: Index,
    terms: Sequence[Weighted],
    places: Sequence[tuple[float, int]],
    speaker: str | None,
) -> list[Hit]:
    """The calls with the turns that answer best, told from the index's own text; no part is read that is not needed."""
    keys = [key for _, key in places]
    columns = [speaker] if speaker else SPOKEN
    rows = {row[0]: row_of(row) for row in ask(db, f"SELECT {ROW} FROM {FROM} WHERE call.id = ANY(%s)", (keys,))}
    texts = {key: dict(zip(columns, said, strict=True)) for key, said in texts_of(db, index, keys, columns).items()}

    def before(calls: list[int]) -> Iterable[tuple[int, ...]]:
        statement = f"SELECT call, {', '.join(SPOKEN)} FROM part WHERE call = ANY(%s) ORDER BY call, n"
        return ask(db, statement, (calls,))

    def bodies(wanted: list[tuple[int, int]]) -> Iterable[tuple[int, int, bytes]]:
        statement = (
            "SELECT call, n, body FROM part JOIN unnest(%s::bigint[], %s::int[]) AS wanted(call, n) USING (call, n)"
        )
        return ask(db, statement, [list(column) for column in zip(*wanted, strict=True)])

    return hits_of(places, rows, texts, terms, Parts(rows.values(), before, bodies))


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
    db: Connection, totals: Totals, index: Index, query: Query, which: Filter, speaker: str | None
) -> Iterator[Occurrence]:
    own = Filter(which.accounts, include_tests=True, include_legs=True)

    def said(word: str) -> bool:
        """Whether it was in these accounts: a word of others is theirs."""
        calls = matching(db, index, Query(((Term((word,)),),)), own, None)
        return bool(calls) and counted(db, totals, index, calls) > 0

    for term in query.terms:
        calls = matching(db, index, Query(((term,),)), which, speaker)
        number = counted(db, totals, index, calls) if calls else 0
        varies = len(term.tokens) == 1 and not number and may_vary(term.tokens[0])
        meant = _close(db, index.vocabulary, term.tokens[0]) if varies else ()
        yield Occurrence(" ".join(term.tokens), number, tuple(word for word in meant if said(word)))


def _close(db: Connection, vocabulary: str, word: str) -> tuple[str, ...]:
    """Words of the index that this one may have been meant for: of about its length, and the same first letter."""
    found = ask(
        db,
        f"""SELECT DISTINCT word FROM {vocabulary} WHERE word >= %s AND word < %s AND length(word) BETWEEN %s AND %s
            ORDER BY word""",
        (word[0], chr(ord(word[0]) + 1), len(word) - CLOSE_LENGTHS, len(word) + CLOSE_LENGTHS),
    )
    return close(word, [other for (other,) in found])
