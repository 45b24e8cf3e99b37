"""Every kind of fault, by name: what it does to one vendor's answers."""

import asyncio
import contextlib
import gzip
import json
import socket
import ssl
import threading
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any, cast

import pytest
from vendors import (
    BEGAN_FIELDS,
    ID_FIELDS,
    Answer,
    Asked,
    Breaking,
    Fault,
    Line,
    Row,
    World,
    call_id,
    changed,
    dumped,
    from_nth,
    raw,
    rows_of,
    told,
    where,
)

FULL_TURNS = 1_000_000
FEW_TURNS = 20_000
UNRESOLVABLE = "https://vendor.invalid"


@dataclass(frozen=True)
class Cell:
    """What a kind of fault may look at: the vendor, the running server, a folder, and how much may be done."""

    world: World
    server: Breaking
    folder: Path
    full: bool
    monkeypatch: pytest.MonkeyPatch


@dataclass(frozen=True)
class Kind:
    """One kind. `fault` breaks the vendor's answers, `address` gives another base URL instead (while it is open).

    `spoils`: whether the one call 0 may come out otherwise than it is, or not at all, as long as that is told.
    `hangs`: only the deadline of an exchange ends it.
    """

    group: str
    name: str
    fault: Callable[[Cell], Fault | None] = lambda _: None
    address: Callable[[Cell], AbstractContextManager[str]] | None = None
    spoils: bool = False
    hangs: bool = False


# --- the connection


async def _reset(line: Line) -> bool:
    line.reset()
    return False


async def _reset_in_body(line: Line) -> bool:
    answer = await line.answer()
    await line.write(answer.head() + answer.body[: len(answer.body) // 2])
    line.reset()
    return False


async def _hang(line: Line) -> bool:
    del line
    await asyncio.Event().wait()
    return False


async def _drip(line: Line) -> bool:
    answer = await line.answer()
    await line.write(answer.head())
    for at in range(len(answer.body)):
        await line.write(answer.body[at : at + 1])
        await asyncio.sleep(0.1)
    return False


def _closed_when_used_again(_: Cell) -> Fault:
    """Each connection is kept after its first answer, and closed in the face of the second request."""
    kept: set[int] = set()

    async def fault(line: Line) -> bool:
        if line.asked.port in kept:
            return False
        kept.add(line.asked.port)
        await line.send(await line.answer())
        return True

    return fault


@contextmanager
def _refused(cell: Cell) -> Generator[str]:

    with socket.socket() as bound:  # not listening
        bound.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{bound.getsockname()[1]}/{cell.world.slug}"


@contextmanager
def _full_queue(cell: Cell) -> Generator[str]:
    """A port whose queue of connections is full: the next one hangs in its handshake."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(0)
        waiting = [socket.socket() for _ in range(4)]
        for one in waiting:
            one.setblocking(False)
            one.connect_ex(listening.getsockname())
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/{cell.world.slug}"
        for one in waiting:
            one.close()


@contextmanager
def _self_signed(cell: Cell) -> Generator[str]:
    """TLS with an expired certificate that nobody signed."""

    from cryptography import x509  # noqa: PLC0415 - comes with mcp
    from cryptography.hazmat.primitives import hashes, serialization  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415
    from cryptography.x509.oid import NameOID  # noqa: PLC0415

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    ended = datetime.now(UTC) - timedelta(days=1)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(ended - timedelta(days=30))
        .not_valid_after(ended)
        .sign(key, hashes.SHA256())
    )
    file = cell.folder / "certificate.pem"
    plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    file.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, *plain) + certificate.public_bytes(serialization.Encoding.PEM)
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    with _answering(b"", context) as port:
        yield f"https://127.0.0.1:{port}/{cell.world.slug}"


@contextmanager
def _proxy(cell: Cell) -> Generator[str]:
    """A proxy that wants a password."""

    refusal = b"HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 0\r\n\r\n"
    with _answering(refusal) as port, cell.monkeypatch.context() as patch:
        patch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{port}")
        yield UNRESOLVABLE


@contextmanager
def _answering(answer: bytes, context: ssl.SSLContext | None = None) -> Generator[int]:
    """A port where every connection gets this answer, and is closed."""
    listening = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                connection, _ = listening.accept()
            except OSError:
                return
            with contextlib.suppress(OSError), connection:  # an SSLError is one
                wrapped = context.wrap_socket(connection, server_side=True) if context else connection
                with wrapped:
                    wrapped.recv(65_536)
                    wrapped.sendall(answer)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield listening.getsockname()[1]
    finally:
        listening.shutdown(socket.SHUT_RDWR)
        listening.close()
        thread.join(5)


# --- statuses


def _status(status: int, body: bytes = b'{"message": "no"}', **headers: str) -> Fault:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return changed(lambda _: Answer(status, {"content-type": "application/json", **named}, body))


def _in_two_minutes() -> str:
    return format_datetime(datetime.now(UTC) + timedelta(minutes=2), usegmt=True)


# --- the body


def _body(work: Callable[[bytes], bytes], **headers: str) -> Fault:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return changed(lambda answer: replace(answer, headers={**answer.headers, **named}, body=work(answer.body)))


async def _short(line: Line) -> bool:
    answer = await line.answer()
    await line.write(answer.head() + answer.body[:-3])
    return False


async def _chunked_short(line: Line) -> bool:
    answer = await line.answer()
    head = replace(answer, headers={**answer.headers, "transfer-encoding": "chunked"}).head(length=-1)
    await line.write(head + f"{len(answer.body):x}\r\n".encode() + answer.body + b"\r\n")
    return False  # without the last chunk


async def _both_lengths(line: Line) -> bool:
    answer = await line.answer()
    both = replace(answer, headers={**answer.headers, "transfer-encoding": "chunked"})
    chunk = f"{len(answer.body):x}\r\n".encode() + answer.body + b"\r\n0\r\n\r\n"
    await line.write(both.head(length=5) + chunk)
    return False


def _bomb(_: bytes) -> bytes:
    return gzip.compress(b"[" + b" " * (64 * 1024 * 1024) + b"]", 9)


def _spoilt(body: bytes) -> bytes:
    """Broken UTF-8 in what was said, and a byte order mark of another encoding nowhere."""
    return body.replace(b"keyword", b"key\xff\xc3word")


# --- one call's data


def _call(cell: Cell, work: Callable[[Row], Row]) -> Fault:
    """Call 0, wherever the vendor tells of it, as the work makes it."""
    slug = cell.world.slug
    chosen = call_id(slug, 0)

    def changes(asked: Asked, body: Any) -> Any:
        if asked.is_list:
            rows = rows_of(slug, body)
            rows[:] = [work(row) if row.get(ID_FIELDS[slug]) == chosen else row for row in rows]
        elif slug == "bimpe" and chosen in asked.path:
            body["data"] = work(body["data"])
        elif chosen in asked.path:
            return work(body)
        return body

    return told(changes, lambda asked: asked.is_list or asked.is_one)


def _leaves(row: Row, work: Callable[[str, Any], Any]) -> Row:
    """The row with every leaf but its id as the work makes it."""

    def walk(name: str, value: Any) -> Any:
        if isinstance(value, dict):
            fields = cast("dict[str, Any]", value)
            return {key: walk(key, inner) for key, inner in fields.items()}
        if isinstance(value, list):
            return [walk(name, inner) for inner in cast("list[Any]", value)]
        return value if name in ("id", "room_name") else work(name, value)

    return {key: walk(key, value) for key, value in row.items()}


def _nulls(slug: str) -> Callable[[Row], Row]:
    return lambda row: row | {BEGAN_FIELDS[slug]: None}


def _other_type(name: str, value: Any) -> Any:
    del name
    if isinstance(value, str):
        return [value]
    return {"value": value}


ENUMS = ("status", "direction", "call_status", "call_type", "role", "speaker", "type", "actionType", "call_state")


def _telepathy(name: str, value: Any) -> Any:
    return "telepathy" if name in ENUMS and isinstance(value, str) else value


def _ends_in(text: str) -> Callable[[str, Any], Any]:
    def work(name: str, value: Any) -> Any:
        written = isinstance(value, str) and " " in value
        return f"{value}{text}" if written and not name.endswith("_at") else value

    return work


def _numbers(text: str) -> Callable[[str, Any], Any]:
    """Every number becomes this one."""

    def work(name: str, value: Any) -> Any:
        del name
        return raw(text) if isinstance(value, int | float) and not isinstance(value, bool) else value

    return work


def numbers_of_call_0(cell: Cell, text: str) -> Fault:
    """All numbers of call 0 written like this."""
    return _call(cell, lambda row: _leaves(row, _numbers(text)))


def _twice(slug: str) -> Callable[[Row], Row]:
    """The id under two values: the last one is the row's."""
    name = ID_FIELDS[slug]

    def work(row: Row) -> Row:
        body = dumped({key: value for key, value in row.items() if key != name}).decode()[1:]
        # The row itself is written by hand, and stands where a row stands.
        return cast("Row", raw(f'{{"{name}": "0000", "{name}": {json.dumps(row[name])}, {body}'))

    return work


def _many_turns(cell: Cell) -> Callable[[Row], Row]:
    count = FULL_TURNS if cell.full else FEW_TURNS

    def work(row: Row) -> Row:
        match cell.world.slug:
            case "highlevel":
                turns = [{"role": "user", "content": f"well {n}", "startTime": n / 10} for n in range(count)]
                return row | {"transcriptWithToolCalls": turns}
            case "bimpe":
                turns = [{"role": "user", "message": f"well {n}"} for n in range(count)]
                return row | {"conversation_logs": turns} if "conversation_logs" in row else row
            case "telzino":
                turns = [{"speaker": "user", "text": f"well {n}", "timestamp": n / 10} for n in range(count)]
                return row | {"transcript_json": turns}
            case "vyom":
                return row | {"transcripts": [{"speaker": "user", "text": f"well {n}"} for n in range(count)]}
            case _:
                return row | {"source": ["well"] * count}

    return work


def _deep(row: Row) -> Row:
    return row | {"further": raw("[" * 100_000 + "]" * 100_000)}


def _huge(row: Row) -> Row:
    words = iter(["well I said so " * (10_000_000 // 15)])
    spoken = ("message", "text", "content", "source")
    return _leaves(row, lambda name, value: next(words, value) if name in spoken else value)


def _odd_times(slug: str, text: str) -> Callable[[Row], Row]:
    return lambda row: row | {BEGAN_FIELDS[slug]: text}


def _naive(slug: str) -> Callable[[Row], Row]:
    return lambda row: row | {BEGAN_FIELDS[slug]: row[BEGAN_FIELDS[slug]].removesuffix("Z")}


# --- pages


def _arriving(count: int) -> Callable[[Cell], Fault]:
    """So many new calls are listed after each of the first three pages."""

    def made(cell: Cell) -> Fault:
        pages = 0

        async def fault(line: Line) -> bool:
            nonlocal pages
            answer = await line.answer()
            if line.asked.is_list:
                pages += 1
                if pages <= 3:
                    first = -count * pages
                    cell.world.add(*range(first, first + count))
            await line.send(answer)
            return True

        return fault

    return made


def _deleting(cell: Cell) -> Fault:
    """Of the calls that were listed, two go away after the second page."""
    pages = 0

    async def fault(line: Line) -> bool:
        nonlocal pages
        answer = await line.answer()
        if line.asked.is_list:
            pages += 1
            if pages == 2:
                cell.world.remove(1, 2)
        await line.send(answer)
        return True

    return fault


def _shuffled(cell: Cell) -> Fault:
    def backwards(_: Asked, body: Any) -> Any:
        rows_of(cell.world.slug, body).reverse()
        return body

    return told(backwards)


def _total(count: int) -> Callable[[Cell], Fault]:
    def wrong(_: Asked, body: Any) -> Any:
        def walk(value: Any) -> Any:
            if isinstance(value, dict):
                fields = cast("dict[str, Any]", value)
                return {
                    name: count if name in ("total", "total_count", "totalRecords") else walk(inner)
                    for name, inner in fields.items()
                }
            return value

        return {
            name: walk(inner) if name != "data" or isinstance(inner, dict) else inner
            for name, inner in walk(body).items()
        }

    return lambda _: told(wrong)


def _circles(cell: Cell) -> Fault:
    """Every page is the first one, and leads on."""
    first: dict[str, bytes] = {}

    async def fault(line: Line) -> bool:
        answer = await line.answer()
        if line.asked.is_list and answer.status == 200:
            answer = replace(answer, body=first.setdefault(line.asked.path, answer.body))
        await line.send(answer)
        return True

    del cell
    return fault


def _beyond(cell: Cell) -> Fault:
    """Behind the last page there is said to be another, which is empty."""
    slug = cell.world.slug

    def another(asked: Asked, body: Any) -> Any:
        match slug:
            case "bimpe":
                body["meta"]["has_next_page"] = True
            case "highlevel":
                body["total"] = 10_000
            case "telzino":
                body["pagination"]["hasNext"] = True
            case "vyom":
                body["data"]["pagination"] |= {"total": 10_000, "total_pages": 2_000}
            case _:
                if "next" not in body["links"]:
                    past = f"{asked.path}?page_number=999&page_size=4&page_token=PAbeyond"
                    body["links"]["next"] = f"https://example.signalwire.com{past}"
        return body

    return told(another)


def _exactly_full(cell: Cell) -> None:
    """No fault at all: the last page is as full as all others."""
    assert len(cell.world.ids()) % cell.server.page == 0


KINDS: tuple[Kind, ...] = (
    Kind("connection", "refused", address=_refused),
    Kind("connection", "no such host", address=lambda _: nullcontext(UNRESOLVABLE)),
    Kind("connection", "bad certificate", address=_self_signed),
    Kind("connection", "connecting hangs", address=_full_queue, hangs=True),
    Kind("connection", "proxy 407", address=_proxy),
    Kind("connection", "reset before headers", lambda _: _reset),
    Kind("connection", "reset in the body", lambda _: _reset_in_body),
    Kind("connection", "headers hang", lambda _: _hang, hangs=True),
    Kind("connection", "body drips", lambda _: _drip, hangs=True),
    Kind("connection", "kept, then closed", _closed_when_used_again),
    Kind("HTTP", "429, seconds", lambda _: _status(429, retry_after="7")),
    Kind("HTTP", "429, date", lambda _: _status(429, retry_after=_in_two_minutes())),
    Kind("HTTP", "429, no time", lambda _: _status(429)),
    Kind("HTTP", "429, garbage", lambda _: _status(429, retry_after="soon, \xff maybe")),
    Kind("HTTP", "429, huge", lambda _: _status(429, retry_after="9" * 400)),
    Kind("HTTP", "429 from page 2", lambda _: from_nth(2, _status(429, retry_after="1"))),
    Kind("HTTP", "500", lambda _: _status(500)),
    Kind("HTTP", "502", lambda _: _status(502, b"<html>Bad Gateway</html>", content_type="text/html")),
    Kind("HTTP", "503", lambda _: _status(503, b"", retry_after="3")),
    Kind("HTTP", "504 from page 3", lambda _: from_nth(3, _status(504, b""))),
    Kind("HTTP", "401 from page 2", lambda _: from_nth(2, _status(401))),
    Kind("HTTP", "403", lambda _: _status(403)),
    Kind("HTTP", "404 for each call", lambda _: where(lambda asked: asked.is_one, _status(404))),
    Kind("HTTP", "redirect elsewhere", lambda _: _status(302, b"", location="https://elsewhere.example/x?token=y")),
    Kind("body", "short", lambda _: _short),
    Kind("body", "chunks break off", lambda _: _chunked_short),
    Kind("body", "gzip breaks off", lambda _: _body(lambda body: gzip.compress(body)[:-9], content_encoding="gzip")),
    Kind("body", "bad gzip", lambda _: _body(lambda body: b"\x1f\x8b" + body, content_encoding="gzip")),
    Kind("body", "gzip bomb", lambda _: _body(_bomb, content_encoding="gzip")),
    Kind("body", "HTML with 200", lambda _: _body(lambda _: b"<html>Log in</html>", content_type="text/html")),
    Kind("body", "empty with 200", lambda _: _body(lambda _: b"")),
    Kind("body", "null", lambda _: _body(lambda _: b"null")),
    Kind("body", "BOM", lambda _: _body(lambda body: b"\xef\xbb\xbf" + body)),
    Kind("body", "UTF-16", lambda _: _body(lambda body: body.decode().encode("utf-16"))),
    Kind("body", "bad UTF-8", lambda _: _body(_spoilt), spoils=True),
    Kind("body", "two lengths", lambda _: _both_lengths),
    Kind("data", "null start", lambda cell: _call(cell, _nulls(cell.world.slug)), spoils=True),
    Kind("data", "other types", lambda cell: _call(cell, lambda row: _leaves(row, _other_type)), spoils=True),
    Kind("data", "unknown words", lambda cell: _call(cell, lambda row: _leaves(row, _telepathy)), spoils=True),
    Kind("data", "lone surrogate", lambda cell: _call(cell, lambda row: _leaves(row, _ends_in("\ud83d"))), spoils=True),
    Kind("data", "NUL", lambda cell: _call(cell, lambda row: _leaves(row, _ends_in("\0"))), spoils=True),
    Kind("data", "2^63", lambda cell: numbers_of_call_0(cell, str(2**63)), spoils=True),
    Kind("data", "NaN", lambda cell: numbers_of_call_0(cell, "NaN"), spoils=True),
    Kind("data", "1e999", lambda cell: numbers_of_call_0(cell, "1e999"), spoils=True),
    Kind("data", "400 digits", lambda cell: numbers_of_call_0(cell, "1" + "0" * 400), spoils=True),
    Kind("data", "as a text", lambda cell: numbers_of_call_0(cell, '"Infinity"'), spoils=True),
    Kind("data", "a key twice", lambda cell: _call(cell, _twice(cell.world.slug))),
    Kind("data", "very many turns", lambda cell: _call(cell, _many_turns(cell)), spoils=True),
    Kind("data", "deep nesting", lambda cell: _call(cell, _deep), spoils=True),
    Kind("data", "10 MB of words", lambda cell: _call(cell, _huge), spoils=True),
    Kind("data", "naive time", lambda cell: _call(cell, _naive(cell.world.slug)), spoils=True),
    Kind("data", "no time", lambda cell: _call(cell, _odd_times(cell.world.slug, "yesterday")), spoils=True),
    Kind(
        "data", "year 9999", lambda cell: _call(cell, _odd_times(cell.world.slug, "9999-12-31T23:59:59Z")), spoils=True
    ),
    Kind("paging", "a page comes again", _arriving(4)),
    Kind("paging", "backwards pages", _shuffled),
    Kind("paging", "calls arrive", _arriving(1)),
    Kind("paging", "calls are deleted", _deleting),
    Kind("paging", "total 0", _total(0)),
    Kind("paging", "total 10,000", _total(10_000)),
    Kind("paging", "in circles", _circles),
    Kind("paging", "a page beyond", _beyond),
    Kind("paging", "last page full", _exactly_full),
)
