"""What only the PostgreSQL store has to do: limits of its bags, other servers, failures. See also the contract's tests."""

import itertools
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any
from urllib.parse import quote

import pytest

pytest.importorskip("psycopg")
import psycopg

from call_logs.errors import StoreError
from call_logs.model import Action, ActionKind, Call, Direction, Speaker, Status, Turn
from call_logs.store import Filter, SearchPage, Store, open_store, words
from call_logs.store import _postgres_connections as connections
from call_logs.store import _postgres_index as index
from call_logs.store._postgres_queries import Index
from call_logs.store.postgres import PostgresStore
from call_logs.store.query import parse
from call_logs.store.sqlite import SQLiteStore
from postgresql import PASSWORD, fresh_database, new_database, running

pytestmark = pytest.mark.slow  # a server of its own

NOW = datetime(2026, 9, 30, 12, 0, tzinfo=UTC)
ALL = Filter(("acme",))


@pytest.fixture
def url() -> str:
    """An empty database with tables."""
    return fresh_database()


@pytest.fixture
def store(url: str) -> Iterator[PostgresStore]:
    """A store in which the account acme is open."""
    with closing(PostgresStore(url)) as one:
        one.open_account("acme", "highlevel")
        yield one


@pytest.fixture
def both(store: PostgresStore, tmp_path: Path) -> Iterator[tuple[PostgresStore, SQLiteStore]]:
    """Both engines, empty."""
    with closing(SQLiteStore(tmp_path / "calls.db")) as other:
        other.open_account("acme", "highlevel")
        yield store, other


def call(number: int, *said: str | Turn, **given: Any) -> Call:
    """A call of acme; its turns are the customer's and the agent's in turns, or as given."""
    turns = tuple(
        one if isinstance(one, Turn) else Turn(n=n, speaker=(Speaker.AGENT, Speaker.CUSTOMER)[n % 2], text=one)
        for n, one in enumerate(said, 1)
    )
    defaults: dict[str, Any] = {
        "account": "acme",
        "provider": "highlevel",
        "vendor_call_id": f"call-{number}",
        "started_at": NOW - timedelta(minutes=number),
        "turns": turns,
    }
    return Call(**(defaults | given))


def search(store: Store, query: str, which: Filter = ALL, **given: Any) -> SearchPage:
    return store.search(parse(query), which, **given)


def found(store: Store, query: str, **given: Any) -> list[tuple[str, int]]:
    """Each hit's call and turn, in order; all of them are counted."""
    page = search(store, query, limit=1000, **given)
    assert page.total_calls == len(page.hits)
    return [(hit.row.vendor_call_id, hit.turn.n) for hit in page.hits]


# The same answers as SQLite

LANGUAGES = {
    "en": "I want a refund please the invoice was charged twice can you cancel my order thank you for calling hold on",
    "es": "quiero una devolución por favor la factura se cobró dos veces gracias por llamar usted puede cancelar mañana",
    "hi": "मुझे पैसे वापस चाहिए कृपया मेरा ऑर्डर रद्द करें धन्यवाद नमस्ते बिल दो बार लगा",
    "yo": "mo fẹ́ gba owó mi padà jọ̀wọ́ ẹ ṣeun bá mi fagilé ọjà náà ọ̀la",
    "zh": "我 想要 退款 请 取消 订单 谢谢 账单 重复 收费 明天 再 打",
    "ja": "返金 してください 注文 を 解約 したい ありがとう 請求 が 二重 です 明日",
}
PHRASES = {
    "en": ["thank you for calling", "duplicate charge", "I don't know", "order 555-010-4477", "no no no no"],
    "es": ["gracias por llamar", "cobro duplicado"],
    "hi": ["पैसे वापस"],
    "yo": ["ẹ ṣeun"],
    "zh": ["重复收费"],
    "ja": ["二重請求"],
}
WORDS = f"words_{words.TOKENISER_VERSION}"
"""The index of now."""

QUERIES = [
    *("refund", "invoice", "please", "zebra", "devolución", "factura", "मुझे", "धन्यवाद", "owó", "退款", "解約", "谢谢"),
    *("refunds", "charges", "cancelled", "devoluciones", "calling", "ordered", "5550104477", "555-010-4477", "don't"),
    *('"thank you"', '"thank you for calling"', '"duplicate charge"', '"charge duplicate"', '"no no"', '"no no no no"'),
    *('"gracias por llamar"', '"पैसे वापस"', '"ẹ ṣeun"', '"重复收费"', '"order 5550104477"', '"know order"', '"i dont"'),
    *("ref*", "invo*", "can*", "dev*", "cha*", "thank*", "फ*", "tha* you", "zzz*", "del* fact*", "grac*"),
    *("refund OR invoice", "zebra OR invoice", "refund OR 退款 OR devolución", "cancel OR 取消 please", "ref* OR inv*"),
    *("refund -invoice", "please -refund -cancel", "charge -twice", 'refund -"thank you"', "thank -ref*", "no -order"),
    *("refund invoice", "refund please order", "gracias factura", "退款 谢谢", "返金 明日", "मुझे बिल", "owó padà"),
    *("refund cancel", '"duplicate charge" refund', '"no no" please', '"thank you for calling" -invoice', "hold thank"),
    *("can you cancel my order", "I want a refund", "quiero una devolucion por favor", "two zebras", "ﬁrst OR refund"),
]  # fmt: skip
FILTERS: list[dict[str, Any]] = [
    {"direction": Direction.INBOUND},
    {"status": Status.COMPLETED},
    {"status": Status.IN_PROGRESS, "include_legs": True},
    {"agent": "desk"},
    {"agent": "a1", "include_tests": True},
    {"phone": "0101"},
    {"action": ActionKind.TRANSFER},
    {"min_duration_seconds": 30.0},
    {"max_duration_seconds": 100.0, "direction": Direction.OUTBOUND},
    {"since": NOW - timedelta(days=12), "until": NOW - timedelta(days=2)},
    {"until": NOW - timedelta(days=40), "status": Status.COMPLETED, "agent": "desk"},
]


def conversations(count: int) -> list[Call]:
    """Calls in six languages over half a year, with frequent phrases."""
    random = Random(20)
    calls: list[Call] = []
    for n in range(count):
        language = random.choices(list(LANGUAGES), [60, 15, 8, 5, 6, 6])[0]
        vocabulary = LANGUAGES[language].split()
        said: list[str] = []
        for _ in range(random.randrange(12)):
            text = random.choices(vocabulary, k=random.randrange(1, 15))
            if random.random() < 0.25:
                text.insert(random.randrange(len(text)), random.choice(PHRASES[language]))
            said.append(("" if language in ("zh", "ja") else " ").join(text))
        turns = [
            Turn(n=place, speaker=random.choices(list(Speaker), [45, 45, 5, 5])[0], text=text, offset_seconds=place)
            for place, text in enumerate(said, 1)
        ]
        agent = random.choice([(None, None), ("a1", "Ana Desk"), ("a2", "Front desk"), ("a3", "Zoë")])
        kinds = random.sample(list(ActionKind), random.choice([0, 0, 1, 2]))
        calls.append(
            call(
                n,
                *turns,
                started_at=NOW - timedelta(seconds=random.randrange(180 * 86400)),
                direction=random.choice(list(Direction)),
                status=random.choice(list(Status)),
                duration_seconds=random.choice([None, 5.0, 61.5, 300.0]),
                agent_id=agent[0],
                agent_name=agent[1],
                from_number=f"+1555010{random.randrange(100, 140):04d}"[:12],
                parent_id=f"call-{random.randrange(count)}" if random.random() < 0.1 else None,
                is_test=random.random() < 0.1,
                actions=tuple(Action(kind=kind, vendor_kind="x", name=kind.value) for kind in kinds),
            )
        )
    return calls


def asked() -> Iterator[tuple[str, dict[str, Any]]]:
    """Queries, each with a filter, a speaker or nothing."""
    extras: list[dict[str, Any]] = [
        {},
        *({"speaker": speaker.value} for speaker in (Speaker.CUSTOMER, Speaker.AGENT, Speaker.SYSTEM)),
        *({"which": Filter(("acme",), **chosen)} for chosen in FILTERS),
    ]
    cycle = itertools.cycle(extras)
    for query in QUERIES:
        yield query, {}
        yield query, next(cycle)


@pytest.mark.parametrize("count", [400, pytest.param(3000, marks=pytest.mark.slow)])
def test_both_engines_find_the_same_calls_and_put_the_same_ones_first(
    both: tuple[PostgresStore, SQLiteStore], count: int
) -> None:
    calls = conversations(count)
    for store in both:
        for begin in range(0, count, 250):
            store.save_page("acme", calls[begin : begin + 250])
    sizes: set[int] = set()
    assert len(QUERIES) >= 70
    for query, given in asked():
        here, there = (search(store, query, limit=count, **given) for store in both)
        assert here.total_calls == there.total_calls, (query, given)
        assert {hit.row.id for hit in here.hits} == {hit.row.id for hit in there.hits}, (query, given)
        for mine, others in list(zip(here.hits, there.hits, strict=True))[:10]:
            assert (mine.row, mine.turn, mine.before, mine.after) == (
                others.row,
                others.turn,
                others.before,
                others.after,
            ), (query, given)
            assert mine.score == pytest.approx(others.score, abs=1e-5)
        newest, others_newest = (
            [hit.row.id for hit in search(store, query, limit=10, sort="newest", **given).hits] for store in both
        )
        assert newest == others_newest
        sizes.add(here.total_calls)
    assert {0} < sizes
    assert max(sizes) > count / 4
    assert both[0].fingerprint("acme") == both[1].fingerprint("acme")
    for given in FILTERS:
        which = Filter(("acme",), **given)
        for dimension in ("day", "hour", "weekday", "agent", "status", "phone"):
            mine, others = (store.count(which, [dimension], "Europe/Madrid") for store in both)
            assert mine[0] == others[0]
            assert sorted(group[:3] for group in mine[1]) == sorted(group[:3] for group in others[1])
        mine, others = (store.count_actions(which, "kind", "Europe/Madrid") for store in both)
        assert (mine[0], sorted(mine[1])) == (others[0], sorted(others[1]))
        assert both[0].silent(which, NOW - timedelta(days=3)) == both[1].silent(which, NOW - timedelta(days=3))


# Calls that a bag of lexemes cannot hold


def many_words(count: int) -> str:
    return " ".join(f"word{'abcdefghij'[n % 10]}{n}" for n in range(count))


LONG_CALLS = {
    "repeats a word 600 times": [*["no no no yes"] * 200, "maybe no no", "finally yes no"],
    "repeats a word 600 times in one turn": ["no " * 600 + "duplicate charge no no maybe", "yes"],
    "has 40,000 words": [many_words(20_000), "duplicate charge", many_words(20_000) + " maybe no no"],
    "has a word of 3,000 letters": ["no no maybe", "x" * 3000 + " duplicate charge"],
    "has more than a megabyte of words": [f"{many_words(90_000)} no no maybe", "duplicate charge"],
}
LONG_QUERIES = [
    *("no", "maybe", "zebra", "duplicate charge", '"duplicate charge"', '"charge duplicate"', '"no no"', '"no no maybe"'),
    *('"yes maybe"', '"no yes maybe"', "maybe -yes", 'no -"no no no yes"', 'no -"duplicate charge"', "may*", "xxx*"),
    *('"yes no" OR zebra', "wordj19999", '"wordi19998 wordj19999"', '"wordj19999 duplicate"', "no -wordj19999"),
    *(f"{'x' * 3000}", f"{'x' * 2999}", f"{'x' * 600}*", f"no -{'x' * 3000}", f'"{"x" * 3000} duplicate"'),
    " ".join(["no"] * 20),
    f'"{" ".join(["no"] * 300)}"',
    f'"{" ".join(["no"] * 700)}"',
]  # fmt: skip


@pytest.mark.parametrize("what", LONG_CALLS)
def test_a_call_beyond_the_limits_of_a_bag_is_found_like_any_other(
    both: tuple[PostgresStore, SQLiteStore], what: str
) -> None:
    said = LONG_CALLS[what]
    by_agent = [Turn(n=n, speaker=Speaker.AGENT, text=text) for n, text in enumerate(said, 1)]
    page = [call(1, *said), call(2, *by_agent), call(3, "no no maybe"), call(4, "duplicate", "charge"), call(5, "yes")]
    for store in both:
        store.save_page("acme", page)
    for query in LONG_QUERIES:
        for speaker in (None, "customer", "agent"):
            here, there = (found(store, query, speaker=speaker) for store in both)
            assert here == there, (query[:50], speaker)
    changed = [one.model_copy(update={"status": Status.COMPLETED}) for one in page]
    leg = call(1, parent_id="call-9").model_copy(update={"turns": ()})
    for store in both:
        store.save_page("acme", [*changed, leg])
        store.save_page("acme", [call(9, "a parent")])
        completed = Filter(("acme",), status=Status.COMPLETED)
        assert {name for name, _ in found(store, "no OR duplicate", which=completed)} == {"call-2", "call-3", "call-4"}


def test_a_bag_says_when_it_does_not_hold_all(store: PostgresStore, url: str) -> None:
    for number, said in enumerate(LONG_CALLS.values()):
        store.save_page("acme", [call(number, *said)])
    store.save_page("acme", [call(9, "no " * 250), call(10, many_words(15_900))])
    with psycopg.connect(url) as db:
        kept = dict(connections.ask(db, f"SELECT vendor_id, kept FROM {WORDS} JOIN call USING (id)").fetchall())
    assert [kept[f"call-{number}"] for number in (0, 1, 2, 3, 4, 9, 10)] == [1, 1, 1, 2, 2, 0, 0]


# An index of a later tokeniser


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Turns this program into one with a later tokeniser, or back (1)."""

    def other_tokens(texts: Sequence[str]) -> list[list[str]]:
        return [text.replace("refund", "reimbursement").split() for text in texts]

    def become(version: int) -> None:
        monkeypatch.setattr(index, "TOKENISER_VERSION", words.TOKENISER_VERSION - 1 + version)
        monkeypatch.setattr(index, "tokens_of", other_tokens if version > 1 else words.tokens_of)

    return become


def total(store: Store, query: str, **given: Any) -> int:
    return search(store, query, Filter(("acme",), **given)).total_calls


@pytest.fixture
def changing() -> str:
    """A database that the test may change as it likes."""
    return new_database()


def test_an_index_of_an_older_tokeniser_answers_until_the_new_one_is_built(
    changing: str, later: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index, "STEP_CALLS", 3)
    with closing(PostgresStore(changing)) as store:
        store.open_account("acme", "highlevel")
        parent, leg = call(1, "a refund", is_test=True), call(2, "a refund", parent_id="call-1", agent_id="a")
        store.save_page("acme", [parent, leg, *(call(n, "a refund") for n in range(3, 10))])
    later(2)
    with closing(PostgresStore(changing)) as newer:
        assert newer.index_progress() == 0.0
        steps = iter([True, True, True, False])
        newer.build_index(lambda: next(steps))
    with closing(PostgresStore(changing)) as newer:
        assert newer.index_progress() is not None
        assert (total(newer, "refund"), total(newer, "reimbursement")) == (7, 0)
        everything = {"include_tests": True, "include_legs": True}
        # In what is built and in what is not: a new call, changed ones, and one that moves from either to the other.
        newer.save_page("acme", [call(0, "a refund"), call(1, "no refund", is_test=True), call(9, "no refund")])
        moved = [call(8, "a refund", started_at=NOW), call(2, "a refund", started_at=NOW - timedelta(days=1))]
        newer.save_page(
            "acme", [one.model_copy(update={"parent_id": "call-1"}) if one is moved[1] else one for one in moved]
        )
        newer.save_page("acme", [call(n, "a refund", status=Status.FAILED) for n in (3, 7)])
        assert (total(newer, "refund", **everything), total(newer, "reimbursement", **everything)) == (7, 3)
        newer.build_index(lambda: True)
        assert newer.index_progress() is None
        assert (total(newer, "refund"), total(newer, "reimbursement")) == (0, 8)
        assert total(newer, "reimbursement", **everything) == 10
        assert total(newer, "no reimbursement", **everything) == 2
        assert total(newer, "reimbursement", status=Status.FAILED) == 2
        assert total(newer, "reimbursement", agent="a", include_legs=True) == 1
        newer.save_page("acme", [call(0, "another refund")])
        assert total(newer, "another reimbursement") == 1
    with psycopg.connect(changing) as db:
        tables = {name for (name,) in db.execute("SELECT tablename FROM pg_tables WHERE tablename ~ '_[0-9]+$'")}
    later_version = words.TOKENISER_VERSION + 1
    assert tables == {f"words_{later_version}", f"vocabulary_{later_version}"}


def test_an_older_program_beside_a_newer_one_loses_no_call(changing: str, later: Callable[[int], None]) -> None:
    with closing(PostgresStore(changing)) as store:
        store.open_account("acme", "highlevel")
        store.save_page("acme", [call(1, "a refund")])
        later(2)
        with closing(PostgresStore(changing)) as newer:
            newer.build_index(lambda: True)
            assert total(newer, "reimbursement") == 1
            later(1)
            assert store.index_progress() is None, "a later version's index is left alone"
            store.save_page("acme", [call(2, "a refund")])
            assert total(store, "refund") == 1
            store.build_index(lambda: True)
            later(2)
            newer.build_index(lambda: True)
            assert total(newer, "reimbursement") == 2


def test_only_one_builds_an_index(changing: str, later: Callable[[int], None]) -> None:
    with closing(PostgresStore(changing)) as store:
        store.open_account("acme", "highlevel")
        store.save_page("acme", [call(1, "a refund")])
        later(2)
        asked_of_the_other: list[str] = []

        def meanwhile() -> bool:
            with closing(PostgresStore(changing)) as other:
                other.build_index(lambda: bool(asked_of_the_other.append("built by the other")))
            return False

        store.build_index(meanwhile)
        assert asked_of_the_other == []
        assert store.index_progress() == 0.0
        store.build_index(lambda: True)
        assert store.index_progress() is None


# The server


def name_of(url: str) -> str:
    """The database's name."""
    return url.partition("?")[0].rpartition("/")[2]


@pytest.fixture
def own_server() -> None:
    """Skips the test where the server is somebody else's."""
    if running().folder is None:
        pytest.skip("The server is not this run's own.")


@pytest.mark.usefixtures("own_server")
@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ("postgresql://secret:canary-wrong@/{name}?host={folder}", "refused the login"),
        ("postgresql://secret@/{name}?host={folder}", "refused the login"),
        ("postgresql://somebody@/{name}?host={folder}", "refused the login"),
        (f"postgresql://secret:{PASSWORD}@/no_such?host={{folder}}", "There is no database no_such"),
        (f"postgresql://calls:{PASSWORD}@127.0.0.1:1/calls", "cannot be reached"),
        (f"postgresql://calls:{PASSWORD}@/calls?host=%2Fnowhere", "cannot be reached"),
        (f"postgresql://calls:canary%zz@127.0.0.1/{PASSWORD}", "is not a PostgreSQL address"),
        (f"postgresql://127.0.0.1/calls?canary={PASSWORD}", "is not a PostgreSQL address"),
        ("postgresql://calls:p/canary@127.0.0.1:1/calls", "is not a PostgreSQL address"),
        ("postgresql://calls:p@canary@127.0.0.1:1/calls", "is not a PostgreSQL address"),
    ],
)
def test_what_keeps_a_server_from_being_used_is_told_without_the_password(
    url: str, wrong: str, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    address = wrong.format(name=name_of(url), folder=quote(str(running().folder), safe=""))
    with pytest.raises(StoreError, match=said) as refused:
        open_store(address)
    told = f"{refused.value} {refused.value.__cause__} {caplog.text}"
    assert "canary" not in told
    assert "p@ss" not in told
    assert refused.value.__suppress_context__, "a traceback shows nothing of libpq's either"


@pytest.mark.usefixtures("own_server")
def test_a_password_with_signs_in_it_is_taken(url: str) -> None:
    running().sql("GRANT ALL ON SCHEMA public TO secret", name_of(url))
    running().sql("GRANT ALL ON ALL TABLES IN SCHEMA public TO secret", name_of(url))
    with closing(open_store(url.replace("postgres@", f"secret:{PASSWORD}@", 1))) as store:
        store.open_account("acme", "highlevel")
        assert "canary" not in repr(vars(store))


def test_another_kind_of_server_is_refused_by_name() -> None:
    with pytest.raises(StoreError, match="not PostgreSQL"):
        open_store("mysql://user:canary@127.0.0.1/calls")


@pytest.mark.usefixtures("own_server")
def test_after_a_restart_of_the_server_the_next_question_is_answered(store: PostgresStore) -> None:
    store.save_page("acme", [call(1, "refund")])
    assert store.lead("acme")
    running().restart()
    assert total(store, "refund") == 1
    assert store.save_page("acme", [call(2, "refund")]).new == 1
    running().restart()
    assert store.save_page("acme", [call(3, "refund")]).new == 1
    assert store.lead("acme")


@pytest.mark.usefixtures("own_server")
def test_a_question_that_a_restart_interrupts_says_so_and_writes_nothing(store: PostgresStore) -> None:
    class Page(list[Call]):
        def __iter__(self) -> Iterator[Call]:
            running().restart()
            return super().__iter__()

    with pytest.raises(StoreError, match="was stopped or restarted"):
        store.save_page("acme", Page([call(1, "refund")]))
    assert total(store, "refund") == 0
    assert store.save_page("acme", [call(1, "refund")]).new == 1


def test_a_question_that_takes_too_long_is_ended(store: PostgresStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        connections, "_READ", "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL statement_timeout = '20ms'"
    )
    with pytest.raises(StoreError, match="did not answer within 30 seconds"), store._answering() as db:  # pyright: ignore[reportPrivateUsage] - its connections
        connections.ask(db, "SELECT pg_sleep(5)")
    assert store.list_calls(ALL).total == 0


def test_a_writer_does_not_wait_forever_for_another(
    store: PostgresStore, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "_WRITE", "BEGIN; SET LOCAL lock_timeout = '20ms'")
    with psycopg.connect(url) as other:
        other.execute("SELECT 1 FROM setting WHERE name = 'writes' FOR UPDATE")
        with pytest.raises(StoreError, match="Another process"):
            store.save_page("acme", [call(1)])
    assert store.save_page("acme", [call(1)]).new == 1


def test_no_text_of_postgresql_reaches_the_reader_or_the_log(
    store: PostgresStore, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(StoreError) as told, store._answering() as db:  # pyright: ignore[reportPrivateUsage] - its connections
        connections.ask(db, "SELECT %s::int", ("canary",))
    assert "canary" not in f"{told.value} {told.value.__cause__} {caplog.text}"
    assert "DataError" in caplog.text or "InvalidTextRepresentation" in caplog.text


def test_a_nul_in_what_a_vendor_sends_is_an_error_and_not_a_broken_store(store: PostgresStore) -> None:
    assert store.call(["acme"], "acme/\x00") is None
    assert store.settled("acme", ["\x00", "\ud800"], told=True) == set()
    assert store.list_calls(Filter(("acme\x00", "\ud800"))).total == 0


# Several servers


def test_a_database_of_a_newer_version_is_refused_by_name_and_left_alone(changing: str) -> None:
    PostgresStore(changing).close()
    with psycopg.connect(changing) as db:
        db.execute("UPDATE setting SET value = '99' WHERE name = 'schema'")
    with pytest.raises(StoreError, match="newer call-logs-mcp \\(its version 99"):
        PostgresStore(changing)
    with psycopg.connect(changing) as db:
        assert db.execute("SELECT value FROM setting WHERE name = 'schema'").fetchone() == ("99",)


def test_another_programs_database_is_refused_and_left_alone(changing: str) -> None:
    with psycopg.connect(changing) as db:
        db.execute("CREATE TABLE account(number int)")
    with pytest.raises(StoreError, match="belongs to another program"):
        PostgresStore(changing)
    with psycopg.connect(changing) as db:
        assert db.execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'").fetchone() == (1,)


def test_a_database_that_cannot_hold_every_language_is_refused() -> None:
    server = running()
    name = f"call_logs_latin_{os.getpid()}"
    server.sql(f"CREATE DATABASE {name} TEMPLATE template0 ENCODING 'LATIN1' LOCALE 'C'")
    with pytest.raises(StoreError, match="LATIN1"):
        PostgresStore(server.database(name))


BEGINNING = """
import sys
from datetime import UTC, datetime, timedelta
from call_logs.model import Call, Speaker, Turn
from call_logs.store.postgres import PostgresStore
url, number = sys.argv[1:]
sys.stdin.readline()
store = PostgresStore(url)
store.open_account("acme", "highlevel")
for page in range(10):
    store.save_page("acme", [
        Call(account="acme", provider="highlevel", vendor_call_id=f"{number}-{page}-{n}", agent_id=f"a{n}",
             started_at=datetime(2026, 9, 30, tzinfo=UTC) + timedelta(seconds=n),
             turns=(Turn(n=1, speaker=Speaker.CUSTOMER, text=f"a refund w{page}ord"),))
        for n in range(20)])
print("done")
"""


def test_processes_that_begin_on_the_same_empty_database_and_write_at_once_lose_nothing(changing: str) -> None:
    running_ones = [
        subprocess.Popen(
            [sys.executable, "-c", BEGINNING, changing, str(number)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(3)
    ]
    for one in running_ones:
        assert one.stdin is not None
        one.stdin.write("go\n")
        one.stdin.flush()
    for one in running_ones:
        out, err = one.communicate(timeout=50)
        assert out.strip() == "done", err
    with closing(PostgresStore(changing)) as store:
        assert store.list_calls(ALL).total == total(store, "refund") == 600
        assert [row.calls for row in store.agents(["acme"])] == [30] * 20


LEADING = """
import sys
from call_logs.store.postgres import PostgresStore
store = PostgresStore(sys.argv[1])
print(store.lead("acme"), flush=True)
sys.stdin.readline()
"""


def test_a_killed_leader_is_followed_and_accounts_are_led_one_by_one(store: PostgresStore, url: str) -> None:
    store.open_account("initech", "vyom")
    with subprocess.Popen(
        [sys.executable, "-c", LEADING, url], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline().strip() == "True"
        assert not store.lead("acme")
        assert store.lead("initech")
        other.send_signal(signal.SIGKILL)
        other.wait(10)
    deadline = datetime.now(UTC) + timedelta(seconds=10)
    while not store.lead("acme"):  # the server notices when it reads from the socket next
        assert datetime.now(UTC) < deadline
    with closing(PostgresStore(url)) as late:
        assert not late.lead("acme")


def test_only_an_account_that_is_open_is_led(store: PostgresStore) -> None:
    with pytest.raises(StoreError, match="nobody"):
        store.lead("nobody")


# A replica


def test_a_replica_answers_once_it_has_what_this_process_wrote(store: PostgresStore, url: str) -> None:
    """The replica stands still here: a copy of the database as it was."""
    store.save_page("acme", [call(1, "refund")])
    store.close()
    behind = f"{url.partition('?')[0].rpartition('/')[2]}_behind"
    running().sql(f"DROP DATABASE IF EXISTS {behind}")
    running().sql(f"CREATE DATABASE {behind} TEMPLATE {url.partition('?')[0].rpartition('/')[2]}")
    replica = running().database(behind)
    with closing(open_store(url, replica)) as reading, closing(PostgresStore(url)) as other:
        other.save_page("acme", [call(2, "refund")])
        assert total(reading, "refund") == 1, "the replica answers, as far as it has come"
        assert reading.list_calls(ALL).total == 1
        reading.save_page("acme", [call(3, "refund")])
        assert total(reading, "refund") == 3, "it has not what this process wrote, so the primary answers"
        assert reading.list_calls(ALL).total == 3
    with psycopg.connect(replica) as db:
        assert db.execute("SELECT count(*) FROM call").fetchone() == (1,)


def test_many_threads_share_few_connections(store: PostgresStore, url: str) -> None:
    with ExitStack() as held:
        for _ in range(3):
            held.enter_context(store._answering())  # pyright: ignore[reportPrivateUsage] - its connections
        [(open_now,)] = running().sql(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()",
            name_of(url),
        )
    for _ in range(5):
        store.list_calls(ALL)
    [(later_on,)] = running().sql(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()",
        name_of(url),
    )
    assert later_on == open_now


# Plans


def test_a_search_looks_the_bag_up_and_finds_calls_by_their_key(store: PostgresStore) -> None:
    store.save_page(
        "acme",
        [call(n, "refund" if n == 7 else "hello there", started_at=NOW - timedelta(hours=n)) for n in range(900)],
    )
    with store._primary.writing() as db:  # pyright: ignore[reportPrivateUsage] - its connections
        connections.ask(db, f"ANALYZE {WORDS}")
        assert isinstance(store._index(db), Index)  # pyright: ignore[reportPrivateUsage] - its connections
        connections.ask(db, "SET LOCAL enable_seqscan = off")  # the table is small
        [*lines] = connections.ask(
            db, f"EXPLAIN SELECT id FROM {WORDS} WHERE bag @@ '''refund'' & !''§test'''::tsquery"
        )
    assert any(f"{WORDS}_bag" in line for (line,) in lines), lines


def test_a_watch_whose_connection_broke_tells_of_every_account(store: PostgresStore, url: str) -> None:
    """What was changed meanwhile was told to nobody."""
    store.open_account("bravo", "highlevel")
    with closing(store.watch()) as watch, closing(PostgresStore(url)) as other:
        running().sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'LISTEN%'")
        other.save_page("acme", [call(1, "hello")])
        waits = itertools.count()
        while not (told := watch.wait(0.1)):
            assert next(waits) < 50
        assert told == {"acme", "bravo"}
        other.save_page("acme", [call(2, "hello")])
        assert watch.wait(5) == {"acme"}
