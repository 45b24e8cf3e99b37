"""The one HTTP client, against servers that misbehave: ASGI apps and raw sockets, all on loopback."""

import asyncio
import contextlib
import gzip
import json
import logging
import threading
import time
import tracemalloc
import zlib
from collections.abc import Awaitable, Callable, Generator, Mapping
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import anyio
import pytest
from aiolimiter import AsyncLimiter
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field

from call_logs.errors import (
    AuthFailed,
    ConfigError,
    ProviderError,
    RateLimited,
    Rejected,
    Unavailable,
    UnexpectedPayload,
)
from call_logs.providers import Connection, Wire
from call_logs.providers import _http as http
from call_logs.providers._payload import parsed
from call_logs.sandbox import Message, Receive, Send
from tape import Reply, answered, finished, staged

CREDENTIAL = "credential-that-stays-in-headers"
QUERY = "query-value-nobody-logs"
CANARY = "canary-that-nobody-may-quote"


class Anything(Wire):
    """What the servers here send: a number, and whatever else."""

    n: int
    text: str | None = None
    rest: Any = None


class Strict(Wire):
    """A body whose fields can be wrong."""

    rows: list[int]
    named: dict[str, int] = Field(default_factory=dict[str, int])


@pytest.fixture(autouse=True)
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What the retries would have slept."""
    waits: list[float] = []

    async def noted(seconds: float) -> None:
        waits.append(seconds)

    monkeypatch.setattr("stamina._core._smart_sleep", noted)
    return waits


def connection(base_url: str, **more: Any) -> Connection:
    return Connection("Vendor", "acme", base_url, {"authorization": f"Bearer {CREDENTIAL}"}, (10_000, 1.0), **more)


def asked(base_url: str, into: type[Wire] = Anything, path: str = "/calls", **ids: str) -> Any:
    """What one GET comes to."""
    return finished(_asked, connection(base_url), into, path, ids)


async def _asked(to: Connection, into: type[Wire], path: str, ids: Mapping[str, str]) -> Any:
    api = http.Api(to)
    try:
        return await api.get(path, into, {"q": QUERY}, **ids)
    finally:
        await api.aclose()


class Answers:
    """An app that gives these replies in turn, the last one forever, and counts."""

    def __init__(self, *replies: Reply) -> None:
        self.replies = replies
        self.scopes: list[Message] = []
        self.bodies: list[bytes] = []

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        self.scopes.append(scope)
        self.bodies.append((await receive()).get("body", b""))
        await answered(self.replies[min(len(self.scopes), len(self.replies)) - 1], send)


def answer_to(*replies: Reply, into: type[Wire] = Anything) -> Any:
    with staged(Answers(*replies)) as base_url:
        return asked(base_url, into)


def failure(*replies: Reply, into: type[Wire] = Anything) -> ProviderError:
    with pytest.raises(ProviderError) as raised:
        answer_to(*replies, into=into)
    return raised.value


Peer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@contextlib.contextmanager
def raw(peer: Peer) -> Generator[tuple[str, list[int]]]:
    """A server that speaks bytes, and a list with an entry for every connection. Its loop has a thread of its own."""
    connections: list[int] = []
    started = threading.Event()
    stop: list[Callable[[], object]] = []
    origin: list[str] = []

    async def met(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(len(connections))
        try:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                await reader.readuntil(b"\r\n\r\n")
                await peer(reader, writer)
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def serve() -> None:
        stopped = asyncio.Event()
        loop = asyncio.get_running_loop()
        server = await asyncio.start_server(met, "127.0.0.1", 0)
        origin.append(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        stop.append(lambda: loop.call_soon_threadsafe(stopped.set))
        started.set()
        await stopped.wait()
        server.close()
        open_still = asyncio.all_tasks() - {asyncio.current_task()}
        for task in open_still:
            task.cancel()
        await asyncio.gather(*open_still, return_exceptions=True)

    thread = threading.Thread(target=lambda: asyncio.run(serve()), daemon=True)
    thread.start()
    assert started.wait(10)
    try:
        yield origin[0], connections
    finally:
        stop[0]()
        thread.join(10)


def says(*parts: bytes, abort: bool = False) -> Peer:
    """Sends the parts, then ends the connection: orderly, or with a reset."""

    async def peer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        del reader
        for part in parts:
            writer.write(part)
            await writer.drain()
        if abort:
            writer.transport.abort()

    return peer


def head(length: int | None = None, **headers: str) -> bytes:
    lines = ["HTTP/1.1 200 OK", "content-type: application/json"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    lines += [f"content-length: {length}"] if length is not None else []
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


# Connections that break


def test_a_server_that_drips_is_left_at_the_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "DEADLINE_SECONDS", 0.3)
    monkeypatch.setattr(http, "ATTEMPTS", 1)

    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        del reader
        writer.write(head(100_000))
        while not writer.is_closing():
            writer.write(b" ")
            await writer.drain()
            await asyncio.sleep(0.05)

    with raw(drip) as (base_url, _):
        began = time.monotonic()
        with pytest.raises(Unavailable, match="did not answer within"):
            asked(base_url)
        assert time.monotonic() - began < 3


@pytest.mark.parametrize(
    "peer",
    [
        says(),
        says(abort=True),
        says(head(100), b'{"n": 1'),
        says(head(100), b'{"n": 1', abort=True),
        says(head(transfer_encoding="chunked"), b'7\r\n{"n": 1\r\n'),
        says(head(transfer_encoding="chunked"), b"zz\r\n"),
        says(b"no http at all\r\n\r\n"),
        says(b"HTTP/1.1 200 OK\r\nbroken header\r\n\r\n"),
    ],
    ids=["closed", "reset", "short", "reset in the body", "short chunk", "odd chunk", "no http", "odd header"],
)
def test_a_connection_that_breaks_is_tried_again_and_then_unavailable(peer: Peer) -> None:
    with raw(peer) as (base_url, connections):
        with pytest.raises(Unavailable):
            asked(base_url)
        assert len(connections) == http.ATTEMPTS


def test_a_port_where_nobody_listens_is_unavailable() -> None:
    with raw(says()) as (base_url, _):
        pass
    with pytest.raises(Unavailable, match="ConnectError"):
        asked(base_url)


# Compression


def test_a_compressed_answer_is_read() -> None:
    body = json.dumps({"n": 1, "text": "x" * 200_000}).encode()
    for encoding, packed in (
        ("gzip", gzip.compress(body)),
        ("deflate", zlib.compress(body)),
        ("x-gzip", gzip.compress(body)),
    ):
        assert len(answer_to(Reply(200, packed, {"content-encoding": encoding})).text) == 200_000


def test_a_gzip_bomb_is_refused_in_bounded_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "MAX_BODY_BYTES", 1024 * 1024)
    bomb = gzip.compress(b" " * (64 * 1024 * 1024))
    with staged(Answers(Reply(200, bomb, {"content-encoding": "gzip"}))) as base_url:
        tracemalloc.start()
        try:
            with pytest.raises(UnexpectedPayload, match="more than 1 MiB"):
                asked(base_url)
            assert tracemalloc.get_traced_memory()[1] < 8 * 1024 * 1024
        finally:
            tracemalloc.stop()


def test_an_answer_larger_than_the_cap_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "MAX_BODY_BYTES", 1024 * 1024)
    assert isinstance(failure(Reply(200, b" " * 1024 * 1024 + b" ")), UnexpectedPayload)


def test_what_follows_the_end_of_a_compressed_answer_is_not_kept() -> None:
    more = (b"\0" * 65_536,) * 512
    whole = says(head(content_encoding="gzip"), gzip.compress(b'{"n": 1}'), *more)
    with raw(whole) as (base_url, _):
        tracemalloc.start()
        try:
            assert asked(base_url).n == 1
            assert tracemalloc.get_traced_memory()[1] < 8 * 1024 * 1024
        finally:
            tracemalloc.stop()


@pytest.mark.parametrize("kept", [1, 5, 12, -9, -4])
def test_a_truncated_compressed_answer_is_unavailable(kept: int) -> None:
    packed = gzip.compress(json.dumps({"n": 1, "text": CANARY}).encode())[:kept]
    assert isinstance(failure(Reply(200, packed, {"content-encoding": "gzip"})), Unavailable)


def test_an_answer_that_is_not_what_its_encoding_says_is_unavailable() -> None:
    assert isinstance(failure(Reply(200, b'{"n": 1}', {"content-encoding": "gzip"})), Unavailable)


def test_an_encoding_that_was_not_asked_for_is_refused() -> None:
    for encoding in ("br", "zstd", "gzip, gzip", CANARY):
        error = failure(Reply(200, b'{"n": 1}', {"content-encoding": encoding}))
        assert isinstance(error, UnexpectedPayload)
        assert CANARY not in str(error)


@pytest.mark.parametrize("status", [401, 503, 429])
def test_a_refusal_counts_even_where_its_body_cannot_be_read(status: int) -> None:
    kinds = {401: AuthFailed, 503: Unavailable, 429: RateLimited}
    for encoding in ("br", "gzip"):
        assert type(failure(Reply(status, b"junk", {"content-encoding": encoding}))) is kinds[status]


def test_a_refusal_that_breaks_off_is_still_not_tried_again() -> None:
    refusal = b"HTTP/1.1 401 Unauthorized\r\ncontent-length: 100\r\n\r\n{"
    with raw(says(refusal)) as (base_url, connections):
        with pytest.raises(AuthFailed):
            asked(base_url)
        assert len(connections) == 1


# Where a credential goes


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_refused_and_the_credential_reaches_no_second_origin(status: int) -> None:
    elsewhere = Answers(Reply(200, {"n": 1}))
    with staged(elsewhere) as other:
        redirecting = Answers(Reply(status, {}, {"location": f"{other}/calls?key={CANARY}"}))
        with staged(redirecting) as base_url, pytest.raises(Rejected, match="Redirects are refused") as raised:
            asked(base_url)
    assert raised.value.http_status == status
    assert len(redirecting.scopes) == 1
    assert not elsewhere.scopes
    assert CANARY not in str(raised.value)


@pytest.mark.parametrize("odd", ["../x", "a/b", "a?b", "a#b", "%2e%2e", "..", "", "x" * 129, "a\n", "@host", "ü"])
def test_an_odd_id_is_refused_before_anything_is_sent(odd: str) -> None:
    app = Answers(Reply(200, {"n": 1}))
    with staged(app) as base_url, pytest.raises(Rejected):
        asked(base_url, Anything, "/calls/{id}", id=odd)
    assert not app.scopes


def test_an_id_stands_where_the_path_says() -> None:
    app = Answers(Reply(200, {"n": 1}))
    with staged(app) as base_url:
        asked(base_url, Anything, "/calls/{id}/log", id="a.b~c_1-2")
    assert app.scopes[0]["path"] == "/calls/a.b~c_1-2/log"


def test_a_post_to_an_undeclared_path_is_refused_before_anything_is_sent() -> None:
    app = Answers(Reply(200, {"n": 1}))

    async def post(base_url: str) -> None:
        api = http.Api(connection(base_url, posts=frozenset({"/token"})))
        try:
            await api.post("/tokens", Anything, {"id": "x"})
        finally:
            await api.aclose()

    with staged(app) as base_url, pytest.raises(ValueError, match="declares for POST"):
        finished(post, base_url)
    assert not app.scopes


def test_a_declared_post_sends_json() -> None:
    app = Answers(Reply(200, {"n": 1}))

    async def post(base_url: str) -> Anything:
        api = http.Api(connection(base_url, posts=frozenset({"/token"})))
        try:
            return await api.post("/token", Anything, {"id": "x", "secret": "y"})
        finally:
            await api.aclose()

    with staged(app) as base_url:
        assert finished(post, base_url).n == 1
    assert (app.scopes[0]["method"], app.scopes[0]["path"]) == ("POST", "/token")
    assert json.loads(app.bodies[0]) == {"id": "x", "secret": "y"}
    assert (b"content-type", b"application/json") in app.scopes[0]["headers"]


def test_errors_and_logs_hold_no_credential_query_or_header(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    said: list[str] = []
    for status in (400, 401, 403, 404, 408, 422, 425, 429, 500, 503, 302, 200):
        error = failure(
            Reply(status, {"message": CANARY, "echo": CREDENTIAL}, {"x-echo": CANARY, "location": f"/{CANARY}"})
        )
        said += [str(error), repr(error), repr(vars(error))]
    for peer in (says(), says(head(50), CANARY.encode()), says(CANARY.encode() + b"\r\n\r\n")):
        with raw(peer) as (base_url, _), pytest.raises(Unavailable) as raised:
            asked(base_url)
        said += [str(raised.value), repr(raised.value), repr(vars(raised.value))]
    logged = caplog.text + repr([vars(record) for record in caplog.records])
    assert "acme (Vendor) answered 401" in logged
    for secret in (CREDENTIAL, QUERY, CANARY):
        assert secret not in "\n".join(said)
        assert secret not in logged


def test_a_connection_shows_no_header() -> None:
    assert CREDENTIAL not in repr(connection("https://api.example.com"))


def test_an_unusable_proxy_is_named_by_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", f"gopher://user:{CANARY}@127.0.0.1:1")
    with pytest.raises(ConfigError, match="ALL_PROXY") as raised:
        http.Api(connection("https://api.example.com"))
    assert CANARY not in str(raised.value)


def test_a_proxy_is_not_asked_for_a_stand_in_on_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ALL_PROXY", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    assert answer_to(Reply(200, {"n": 1})).n == 1


# Bodies


@pytest.mark.parametrize(
    ("body", "read"),
    [
        (b'\xef\xbb\xbf{"n": 1}', {"n": 1}),
        ('{"n": 1, "text": "é"}'.encode("utf-16"), {"n": 1, "text": "é"}),
        (b'{"n": 1, "text": "\xff\xfe!"}', {"n": 1, "text": "\ufffd\ufffd!"}),
        (b'{"n": 1, "text": "\\ud800!"}', {"n": 1, "text": "\ufffd!"}),
        (b'{"n": 1, "text": "\\ud83d\\ude00"}', {"n": 1, "text": "\U0001f600"}),
        (b'{"n": 1, "rest": NaN}', {"n": 1}),
        (b'{"n": 1, "rest": [-Infinity, 1e999]}', {"n": 1, "rest": [None, None]}),
        (b'{"n": 7, "n": 1}', {"n": 1}),
        (b'{"n": 1, "text": "a\nb\x00"}', {"n": 1, "text": "a\nb"}),
        (b' {"n": 1}\n', {"n": 1}),
    ],
    ids=["BOM", "UTF-16", "bad UTF-8", "lone surrogate", "pair", "NaN", "infinite", "double", "controls", "spaces"],
)
def test_an_odd_body_becomes_clean(body: bytes, read: dict[str, Any]) -> None:
    assert answer_to(Reply(200, body)).model_dump(exclude_none=True) == read


@pytest.mark.parametrize(
    "body",
    [
        *(
            b"",
            b"null",
            b"[]",
            b'"text"',
            b"7",
            b"{",
            b"<html>canary</html>",
            b"NaN",
            b'{"n": 1} trailing',
            b"\xff\xfe",
        ),
        *(b"\x00" * 10, b"[" * 10_000, b"[" * 10_000 + b"]" * 10_000, b'{"n":' * 10_000 + b"1" + b"}" * 10_000),
        *(b'{"n": ' + b"9" * 5_000 + b"}", b'{"n": "many"}', b'{"n": NaN}', b'{"n": null}'),
        *('{"n": 1}'.encode("utf-16-be"), '{"n": 1}'.encode("utf-32")),
    ],
)
def test_a_body_that_cannot_be_read_is_an_unexpected_payload(body: bytes) -> None:
    assert isinstance(failure(Reply(200, body)), UnexpectedPayload)


@given(
    st.binary(max_size=200)
    | st.text(max_size=100).map(str.encode)
    | st.text(max_size=60).map(lambda one: json.dumps([one]).encode())
)
def test_parsing_gives_data_or_a_value_error(body: bytes) -> None:
    with contextlib.suppress(ValueError):
        parsed(body)


def test_html_with_a_200_is_an_unexpected_payload() -> None:
    for body in (f"<html>{CANARY}</html>".encode(), b'{"n": 1}'):
        error = failure(Reply(200, body, {"content-type": "text/html"}))
        assert isinstance(error, UnexpectedPayload)
        assert "not JSON" in error.problem


def test_an_answer_without_a_content_is_an_unexpected_payload() -> None:
    assert isinstance(failure(Reply(204, b"")), UnexpectedPayload)


def test_fields_at_fault_are_named_and_neither_values_nor_a_customers_keys_are() -> None:
    body = {"rows": [1, CANARY, {CANARY: 1}], "named": {f"said {CANARY}": "x"}}
    error = failure(Reply(200, body), into=Strict)
    assert isinstance(error, UnexpectedPayload)
    assert error.fields == ("rows.1", "rows.2", "named.?")
    assert "rows.1" in str(error)
    assert CANARY not in str(error)


# Waiting


@given(st.none() | st.text(max_size=40) | st.integers().map(str) | st.floats().map(str))
def test_a_wait_is_nothing_or_at_most_five_minutes(value: str | None) -> None:
    wait = http.retry_after(value)
    assert wait is None or 0 <= wait <= http.MAX_RETRY_AFTER_SECONDS


@pytest.mark.parametrize(
    ("value", "wait"),
    [
        ("7", 7.0),
        ("0", 0.0),
        (" 1.5 ", 1.5),
        ("-5", 0.0),
        ("1e9", 300.0),
        ("99999999999999999999", 300.0),
        ("inf", 300.0),
        ("nan", None),
        ("soon", None),
        ("", None),
        (None, None),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0.0),
        ("Wed, 21 Oct 2185 07:28:00 GMT", 300.0),
        ("Wed, 21 Oct 99999999999999999999 07:28:00 GMT", None),
    ],
)
def test_a_wait_is_read_in_seconds_or_as_a_date(value: str | None, wait: float | None) -> None:
    assert http.retry_after(value) == wait


def test_a_date_is_waited_for() -> None:
    wait = http.retry_after(format_datetime(datetime.now(UTC) + timedelta(seconds=90), usegmt=True))
    assert wait is not None
    assert 80 < wait <= 90


def test_trouble_is_shown_while_a_request_is_tried_again_and_gone_afterwards(monkeypatch: pytest.MonkeyPatch) -> None:
    async def work(base_url: str) -> tuple[Any, Any]:
        api = http.Api(connection(base_url))
        during: list[ProviderError | None] = []

        async def look(_: float) -> None:
            during.append(api.trouble)

        monkeypatch.setattr("stamina._core._smart_sleep", look)
        try:
            await api.get("/calls", Anything)
            return during, api.trouble
        finally:
            await api.aclose()

    with staged(Answers(Reply(503), Reply(200, {"n": 1}))) as base_url:
        during, after = finished(work, base_url)
    assert [type(one) for one in during] == [Unavailable]
    assert after is None


def test_no_attempt_goes_out_before_the_rate_allows_it(monkeypatch: pytest.MonkeyPatch) -> None:
    events: list[str] = []

    class Counting(AsyncLimiter):
        async def acquire(self, amount: float = 1) -> None:
            events.append(f"{self.max_rate:.0f} in {self.time_period:.0f}")
            await super().acquire(amount)

    class Noting(Answers):
        async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
            events.append("asked")
            await super().__call__(scope, receive, send)

    monkeypatch.setattr(http, "AsyncLimiter", Counting)
    with staged(Noting(Reply(503), Reply(429), Reply(200, {"n": 1}))) as base_url:
        asked(base_url)
    assert events == ["10000 in 1", "asked"] * 3


def test_a_burst_is_as_large_as_the_rate_and_no_larger() -> None:
    app = Answers(Reply(200, {"n": 1}))

    async def burst(base_url: str) -> None:
        api = http.Api(Connection("Vendor", "acme", base_url, {}, (3, 3600.0)))
        try:
            for _ in range(3):
                await api.get("/calls", Anything)
            with anyio.move_on_after(0.2) as more:
                await api.get("/calls", Anything)
            assert more.cancelled_caught
        finally:
            await api.aclose()

    with staged(app) as base_url:
        finished(burst, base_url)
    assert len(app.scopes) == 3
