"""The full-text index in PostgreSQL: one bag of lexemes (`tsvector`) a call, and the tokens by speaker beside it.

A bag holds the words with their places (a gap between turns, so that no phrase crosses them; the speaker as weight) and
the filters, which begin with a character that no word has. A call beyond a bag's limits is kept as LONG or HUGE, and the
texts are compared where its bag cannot tell.

Every tokeniser has tables of its own. Those of a later one are built beside those that answer, from the newest call down
to `next_from`; meanwhile a call that is written is written to both. Who writes with an older tokeniser than an index
leaves the call's key in `stale`, to be indexed again.
"""

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from call_logs.model import Speaker, Turn
from call_logs.store._postgres_connections import Connection, ask
from call_logs.store._postgres_schema import keep_setting, run, settings
from call_logs.store.forms import languages, vocabulary
from call_logs.store.frequencies import frequencies_of
from call_logs.store.parts import turns_of, unpacked
from call_logs.store.shared import DAY, FILTER, SPOKEN, STEP_CALLS, STEP_TURNS, Known
from call_logs.store.words import TOKENISER_VERSION, TURN, tokens_of

EXACT, LONG, HUGE = 0, 1, 2
"""How a bag holds a call: with all places; with its words by speaker, but not where; with its filters only."""

HUGE_LEXEME = f"'{FILTER}huge'"
WEIGHTS = {Speaker.CUSTOMER: "A", Speaker.AGENT: "B", Speaker.SYSTEM: "C", Speaker.UNKNOWN: "D"}

# PostgreSQL's limits: 2,046 bytes a lexeme, 256 places of one, places up to 16,383, a megabyte in all.
LONGEST_WORD = 500
MOST_PLACES = 250
LAST_PLACE = 16_000
LARGEST_BAG = 900_000

Columns = tuple[Any, ...]

_TABLES = """
    CREATE TABLE words_{version}(
        id bigint PRIMARY KEY REFERENCES call(id) ON DELETE CASCADE ON UPDATE CASCADE, seq bigint NOT NULL,
        kept smallint NOT NULL, bag tsvector NOT NULL, customer text NOT NULL, agent text NOT NULL, system text NOT NULL,
        unknown text NOT NULL, frequencies text NOT NULL) WITH (toast_tuple_target = 128);
    ALTER TABLE words_{version} ALTER bag SET STORAGE EXTERNAL, ALTER bag SET STATISTICS 1000,
        ALTER customer SET STORAGE EXTERNAL, ALTER agent SET STORAGE EXTERNAL, ALTER system SET STORAGE EXTERNAL,
        ALTER unknown SET STORAGE EXTERNAL, ALTER frequencies SET STORAGE EXTERNAL;
    CREATE INDEX words_{version}_bag ON words_{version} USING gin(bag);
    CREATE INDEX words_{version}_kept ON words_{version}(kept) WHERE kept > 0;
    CREATE TABLE vocabulary_{version}(
        word text COLLATE "C" NOT NULL, language text COLLATE "C" NOT NULL, stem text COLLATE "C" NOT NULL,
        PRIMARY KEY(word, language));
    CREATE INDEX vocabulary_{version}_stem ON vocabulary_{version}(language, stem)
"""
# A row keeps its bag and its texts elsewhere, so that counting many rows reads few pages: ten times as fast, measured.


@dataclass(frozen=True)
class Entry:
    """A call to be indexed: its key, number, filter words and turns."""

    key: int
    seq: int
    filters: str
    turns: Sequence[Turn]


class Index:
    """Writes calls to the index, within a transaction; to the one that is being built as well."""

    def __init__(self, db: Connection, known: Known) -> None:
        self._db = db
        self._known = known
        setting = settings(db)
        self._answering = int(setting["tokeniser"])
        self._next = int(setting["next"]) if "next" in setting else None
        self._older = max(self._answering, self._next or 0) > TOKENISER_VERSION
        known.begin(f"{self._answering} {setting['vocabulary']}")

    def write(self, entries: Sequence[Entry], *, held: bool) -> None:
        """Index these calls. `held`: some of them are in the index, with other words."""
        rows, said = rows_of(entries)
        for version in (self._answering, self._next):
            if version is not None:
                if held or version == self._next:
                    _delete(self._db, version, [entry.key for entry in entries])
                copy(self._db, f"words_{version}", rows)
                learn(self._db, version, said, self._known if version == self._answering else Known())
        self._note([entry.key for entry in entries])

    def refilter(self, filters: dict[int, str]) -> None:
        """Calls of which nothing else was said may have other filter words."""
        table = f"words_{self._answering}"
        changed: list[Columns] = []
        for key, bag in ask(self._db, f"SELECT id, bag::text FROM {table} WHERE id = ANY(%s)", (list(filters),)):
            kept = [lexeme for lexeme in bag.split(" ") if not lexeme.startswith(f"'{FILTER}") or lexeme == HUGE_LEXEME]
            parts = [*kept, *_lexemes(filters[key])]
            if sorted(parts) != sorted(bag.split(" ")):
                changed.append((" ".join(parts), key))
        if changed:
            with self._db.cursor() as cursor:
                cursor.executemany(f"UPDATE {table} SET bag = %s::tsvector WHERE id = %s".encode(), changed)
        if self._next is not None:
            entries = [
                Entry(key, seq, filters[key], held_turns(self._db, key))
                for key, seq in ask(
                    self._db, "SELECT id, seq FROM call WHERE id = ANY(%s)", (list(filters),)
                ).fetchall()
            ]
            _delete(self._db, self._next, list(filters))
            copy(self._db, f"words_{self._next}", rows_of(entries)[0])
        self._note(filters)

    def mark_legs(self, keys: Sequence[int]) -> None:
        """These calls are legs from now on."""
        for version in (self._answering, self._next):
            if version is not None:
                ask(
                    self._db,
                    f"UPDATE words_{version} SET bag = (bag::text || %s)::tsvector WHERE id = ANY(%s)",
                    (f" '{FILTER}leg'", list(keys)),
                )

    def unmark_legs(self, keys: Sequence[int]) -> None:
        """These calls are no legs any more."""
        for version in (self._answering, self._next):
            if version is not None:
                ask(
                    self._db,
                    f"UPDATE words_{version} SET bag = ts_delete(bag, %s) WHERE id = ANY(%s)",
                    (f"{FILTER}leg", list(keys)),
                )

    def _note(self, keys: Iterable[int]) -> None:
        if self._older:
            ask(self._db, "INSERT INTO stale SELECT unnest(%s::bigint[]) ON CONFLICT (call) DO NOTHING", (list(keys),))


def create(db: Connection, version: int) -> None:
    """The tables of a tokeniser's index."""
    run(db, _TABLES.format(version=version))


def copy(db: Connection, table: str, rows: Iterable[Columns]) -> None:
    """Many rows at once."""
    with db.cursor() as cursor, cursor.copy(f"COPY {table} FROM STDIN".encode()) as target:
        for row in rows:
            target.write_row(row)


def _delete(db: Connection, version: int, keys: Sequence[int]) -> None:
    ask(db, f"DELETE FROM words_{version} WHERE id = ANY(%s)", (list(keys),))


def rows_of(entries: Sequence[Entry]) -> tuple[list[Columns], list[set[str]]]:
    """Rows of the index, and each call's words."""
    rows: list[Columns] = []
    said: list[set[str]] = []
    for entry in entries:
        places: dict[str, list[tuple[int, Speaker]]] = {}
        texts: dict[str, list[str]] = {speaker: [] for speaker in SPOKEN}
        place = 0
        for turn, words in zip(entry.turns, tokens_of([turn.text for turn in entry.turns]), strict=True):
            texts[turn.speaker].append(" ".join(words))
            for place, word in enumerate(words, place + 1):  # noqa: B020 - places go on from turn to turn
                places.setdefault(word, []).append((place, turn.speaker))
            place += 1
        kept, bag = bag_of(places, place, entry.filters)
        columns = [f" {TURN} ".join(turns) for turns in texts.values()]
        frequencies = frequencies_of(columns, {word: len(held) for word, held in places.items()})
        rows.append((entry.key, entry.seq, kept, bag, *columns, frequencies))
        said.append(set(places))
    return rows, said


def bag_of(places: dict[str, list[tuple[int, Speaker]]], last: int, filters: str) -> tuple[int, str]:
    """How the bag holds a call, and the bag as a literal. Words and filters have nothing in them to be escaped."""
    extra = _lexemes(filters)
    huge = HUGE, " ".join([*extra, HUGE_LEXEME])
    if max(map(len, places), default=0) > LONGEST_WORD:
        return huge
    kept = EXACT
    if last > LAST_PLACE or max(map(len, places.values()), default=0) > MOST_PLACES:
        kept = LONG
        # One place a speaker, and none beside another: no phrase is found in it.
        apart = dict(zip(WEIGHTS, range(1, 9, 2), strict=True))
        places = {
            word: [(apart[speaker], speaker) for speaker in dict.fromkeys(speaker for _, speaker in held)]
            for word, held in places.items()
        }
    words = [f"'{word}':{','.join(f'{at}{WEIGHTS[who]}' for at, who in held)}" for word, held in places.items()]
    bag = " ".join([*words, *extra])
    return (kept, bag) if len(bag) < LARGEST_BAG and len(bag.encode()) < LARGEST_BAG else huge


def _lexemes(filters: str) -> list[str]:
    return [f"'{word}'" for word in filters.split()]


def learn(db: Connection, version: int, said: Iterable[set[str]], known: Known) -> None:
    """Keep those of the calls' words that are not known."""
    rows = [
        row
        for words in said
        for spoken_in in (languages(words),)
        for row in vocabulary(known.new(spoken_in, words), spoken_in)
    ]
    if rows:
        ask(
            db,
            f"""INSERT INTO vocabulary_{version} SELECT * FROM unnest(%s::text[], %s::text[], %s::text[])
                ON CONFLICT DO NOTHING""",
            [list(column) for column in zip(*rows, strict=True)],
        )


def held_turns(db: Connection, key: int) -> list[Turn]:
    """A call's turns as they are kept."""
    found = ask(db, "SELECT body FROM part WHERE call = %s ORDER BY n", (key,)).fetchall()
    return [turn for (body,) in found for turn in turns_of(unpacked(body))]


# -- an index of a later tokeniser ------------------------------------------------------------------------------------


def to_build(db: Connection) -> bool:
    """Whether building has anything to do."""
    answering = int(settings(db)["tokeniser"])
    return answering < TOKENISER_VERSION or bool(_left_over(db, answering)) or bool(_stale(db))


def progress(db: Connection) -> float | None:
    """The share of calls that the index of this program's tokeniser holds, whole days counted; None once it answers."""
    setting = settings(db)
    if int(setting["tokeniser"]) >= TOKENISER_VERSION:
        return None
    if int(setting.get("next", "0")) < TOKENISER_VERSION:
        return 0.0
    found = ask(
        db,
        "SELECT coalesce(sum(calls) FILTER (WHERE day > %s), 0), coalesce(sum(calls), 0) FROM tally",
        (int(setting["next_from"]) // DAY,),
    )
    [(built, calls)] = found.fetchall()
    return float(built) / max(1.0, float(calls))


def build_step(db: Connection, known: Known) -> bool:
    """One step of building, within a transaction. Whether there is more to do."""
    setting = settings(db)
    answering, started = int(setting["tokeniser"]), int(setting.get("next", "0"))
    if answering > TOKENISER_VERSION or started > TOKENISER_VERSION:
        return False  # a later version's program sees to it
    if answering < TOKENISER_VERSION:
        if started < TOKENISER_VERSION:
            _start(db, started)
        else:
            _go_on(db, int(setting["next_from"]), known)
        return True
    if left := _left_over(db, answering):
        ask(db, f"DROP TABLE words_{left[0]}, vocabulary_{left[0]}")
        return True
    stale = _stale(db)
    known.begin(f"{answering} {setting['vocabulary']}")
    _index_again(db, answering, stale, known)
    ask(db, "DELETE FROM stale WHERE call = ANY(%s)", (stale,))
    if stale:
        ask(db, "UPDATE setting SET value = (value::bigint + 1)::text WHERE name = 'changes'")
    return bool(stale)


def _start(db: Connection, started: int) -> None:
    if started:
        ask(db, f"DROP TABLE IF EXISTS words_{started}, vocabulary_{started}")
    create(db, TOKENISER_VERSION)
    [(newest,)] = ask(db, "SELECT coalesce(max(id), 0) FROM call").fetchall()
    keep_setting(db, "next", str(TOKENISER_VERSION))
    keep_setting(db, "next_from", str(newest + 1))


def _go_on(db: Connection, begun: int, known: Known) -> None:
    found = ask(
        db, "SELECT id, turns FROM call WHERE id < %s ORDER BY id DESC LIMIT %s", (begun, STEP_CALLS)
    ).fetchall()
    until = itertools.accumulate(turns for _, turns in found)
    chosen = [key for (key, turns), total in zip(found, until, strict=True) if total - turns < STEP_TURNS]
    if not chosen:
        keep_setting(db, "tokeniser", str(TOKENISER_VERSION))
        ask(db, "DELETE FROM setting WHERE name IN ('next', 'next_from')")
        return
    known.begin(f"next {TOKENISER_VERSION}")
    # What was written meanwhile is there already, and newer.
    held = ask(db, f"SELECT id FROM words_{TOKENISER_VERSION} WHERE id = ANY(%s)", (chosen,))
    missing = sorted(set(chosen).difference(key for (key,) in held))
    _index_again(db, int(settings(db)["tokeniser"]), missing, known, TOKENISER_VERSION)
    keep_setting(db, "next_from", str(chosen[-1]))


def _index_again(db: Connection, version: int, keys: Sequence[int], known: Known, target: int | None = None) -> None:
    """Calls of one index by the tokeniser of now, in place or to another; the filters stay."""
    found = ask(db, f"SELECT id, seq, bag::text FROM words_{version} WHERE id = ANY(%s) ORDER BY id", (list(keys),))
    entries = [
        Entry(
            key,
            seq,
            " ".join(one[1:-1] for one in bag.split(" ") if one.startswith(f"'{FILTER}") and one != HUGE_LEXEME),
            held_turns(db, key),
        )
        for key, seq, bag in found.fetchall()
    ]
    if target is None:
        _delete(db, version, keys)
    rows, said = rows_of(entries)
    copy(db, f"words_{target or version}", rows)
    learn(db, target or version, said, known)


def _left_over(db: Connection, answering: int) -> list[int]:
    """Versions of which there are tables that answer no more."""
    return [version for version in index_versions(db) if version < answering]


def index_versions(db: Connection) -> list[int]:
    """Versions of which there are tables."""
    found = ask(
        db, "SELECT tablename FROM pg_tables WHERE schemaname = current_schema() AND tablename LIKE 'words\\_%%'", ()
    )
    return [int(name.removeprefix("words_")) for (name,) in found]


def _stale(db: Connection) -> list[int]:
    return [key for (key,) in ask(db, "SELECT call FROM stale ORDER BY call LIMIT %s", (STEP_CALLS,))]
