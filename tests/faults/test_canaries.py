"""No credential comes out: of no tool, resource, prompt, error, command, log line or file.

A canary stands in every field of the vendors' payloads that may hold a credential, in many that no vendor documents, in
what vendors say when they refuse, and in every configured secret. All begin alike, so that few searches find any.
"""

import base64
import functools
import io
import itertools
import json
import logging
import re
import sqlite3
import subprocess
import sys
import zlib
from collections import Counter
from collections.abc import Callable, Generator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, cast
from urllib.parse import quote, urlsplit

import anyio
import pytest
from click.testing import CliRunner
from mcp import Client, StdioServerParameters
from planted import Given, Path_, everything, mapped, playing, served, written
from pydantic import SecretStr

import call_logs
import tape
from call_logs.__main__ import cli
from call_logs.logs import ScrubbingFormatter
from call_logs.providers import _http, discover
from call_logs.sandbox import business, signalwire

pytestmark = pytest.mark.anyio

BEGIN = "Canary=+Begin/"
"""Of such characters as are written in another way in a URL."""

IN_URL = "CanaryInUrl0"
SECRET = re.compile(
    r"auth|token|secret|passw|pwd|api.?key|credential|signature|header|cookie|webhook|api_?details|example|recording"
    r"|attachment|registration|prompt|callback|(?:url|uri)$|business_|_email|user_|metadata|context|toolArguments|gate",
    re.IGNORECASE,
)
KEEP = {"next", "next_page_uri", "uri", "first_page_uri", "recording_id", "token_type", "recording_sid"}
"""Where to read on, and ids: without them less would be read."""

QUERY = "hello OR the OR a OR de OR is OR plan* OR web*"
NUMBERS = itertools.count(1)


def canary() -> str:
    return f"{BEGIN}{next(NUMBERS):04}"


def canary_in_url(url: str) -> str:
    """In the place of user, password, query and fragment."""
    parts, mark = urlsplit(url), f"{IN_URL}{next(NUMBERS):04}"
    return f"{parts.scheme}://{mark}:{mark}@{parts.hostname}{parts.path}?X-Amz-Signature={mark}&key={mark}#{mark}"


def further() -> dict[str, Any]:
    """Fields that no vendor documents."""
    return {
        "authorization": f"Bearer {canary()}",
        "Proxy-Authorization": canary(),
        "apiDetails": {"authenticationValue": canary(), "headers": [{"key": "X-Api-Key", "value": canary()}]},
        "headers": {"Cookie": canary(), "X-Nested": [{"value": canary()}]},
        "webhook_secret": canary(),
        "client_secret": canary(),
        "recording_url": canary_in_url("https://records.example.com/a.ogg"),
        "link": f"https://records.example.com/a?t={IN_URL}{next(NUMBERS):04}",
        "remark": f"my password: {canary()}",
        "callback_url": canary_in_url("https://hooks.example.com/x"),
    }


def plant(slug: str, path: Path_, value: Any) -> Any:
    """A canary for what may be a credential, and further fields in each object."""
    names = [part for part in path if isinstance(part, str)]
    if isinstance(value, dict):
        fields = cast("dict[str, Any]", value)
        return fields | further() if path else fields
    if not isinstance(value, str) or not names or names[-1] in KEEP or (slug, names[-1]) == ("signalwire", "self"):
        return value
    if re.match("https?://", value):
        return canary_in_url(value)
    return canary() if any(map(SECRET.search, names)) else said(slug, names[-1], value)


def said(slug: str, name: str, value: str) -> str:
    """Words of a vendor's that may hold a credential."""
    if name in ("error", "error_reason", "end_reason", "call_status_reason", "sip_status_text"):
        return f"{value} see https://status.example.com/x?t={IN_URL}{next(NUMBERS):04}"
    if slug == "telzino" and name == "text" and "Webhook" in value:
        return f"{value} at {canary_in_url('https://hooks.example.com/x')} with Authorization: Bearer {canary()}"
    return value


def configured(slug: str, name: str, value: Any) -> Any:
    """A canary for each setting that is secret."""
    field = discover()[slug].settings_type.model_fields[name]
    return canary() if field.annotation is SecretStr else value


# --- what is looked for


def encodings(text: str) -> dict[str, bytes]:
    """How the beginning of a canary may be written."""
    raw = text.encode()
    coded = {
        f"base64 at {shift}": base64.b64encode(b"\0" * shift + raw)[(0, 2, 3)[shift] : 8 * (shift + len(raw)) // 6]
        for shift in range(3)
    }
    return {
        "raw": raw,
        "URL": quote(text, safe="").encode(),
        "escaped": json.dumps(json.dumps(f"/{text}").replace("/", "\\/"))[4:-3].encode(),
        "hex": raw.hex().encode(),
        **coded,
    }


def found(outlets: Mapping[str, list[bytes]]) -> dict[str, Counter[str]]:
    """How often a canary stands in each outlet, by encoding."""
    counts: dict[str, Counter[str]] = {}
    for outlet, texts in outlets.items():
        counts[outlet] = Counter(
            {
                name: sum(text.count(form) for text in texts for form in forms)
                for name, forms in (
                    (name, {encodings(BEGIN)[name], encodings(IN_URL)[name]}) for name in encodings(BEGIN)
                )
            }
        )
    return counts


def report(counts: Mapping[str, Counter[str]], outlets: Mapping[str, list[bytes]]) -> None:
    names = list(encodings(BEGIN))
    lines = [f"{'outlet':24}{'bytes':>10}" + "".join(f"{name:>13}" for name in names)]
    lines += [
        f"{outlet:24}{sum(map(len, outlets[outlet])):>10}" + "".join(f"{count[name]:>13}" for name in names)
        for outlet, count in counts.items()
    ]
    print("\n" + "\n".join(lines))  # noqa: T201 - the table is what this test is for


def check(outlets: dict[str, list[bytes]]) -> None:
    """Each outlet brought something, and none a canary; each encoding would have been seen."""
    everywhere = [form for start in (BEGIN, IN_URL) for form in encodings(start).values()]
    control = found({"control": everywhere})["control"]
    assert all(control.values())
    counts = found(outlets)
    report(counts, outlets)
    assert {outlet for outlet, texts in outlets.items() if not any(texts)} == set()
    leaks = {outlet: +count for outlet, count in counts.items() if +count}
    where = [
        text[max(0, text.find(form) - 80) : text.find(form) + 60]
        for texts in outlets.values()
        for text in texts
        for form in everywhere
        if form in text
    ]
    assert leaks == {}, where[:10]


def files_of(database: Path) -> dict[str, list[bytes]]:
    """The database's files as they are, and every value in it, unpacked where it is packed."""
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as db:
        tables = [name for (name,) in db.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
        plain = [name for name in tables if not name.startswith("words")]
        values = [value for name in plain for row in db.execute(f"SELECT * FROM {name}") for value in row]
    return {
        "database": [database.read_bytes()],
        "database-wal": [database.with_name(f"{database.name}-wal").read_bytes()],
        "database, unpacked": [unpacked(value) for value in values],
    }


def unpacked(value: Any) -> bytes:
    if not isinstance(value, bytes):
        return str(value).encode()
    try:
        return zlib.decompress(value)
    except zlib.error:
        return value


def gathered(given: list[Given]) -> dict[str, list[bytes]]:
    outlets: dict[str, list[bytes]] = {}
    for one in given:
        outlets.setdefault(f"{one.outlet}, text", []).append(one.text.encode())
        outlets.setdefault(f"{one.outlet}, structured", []).append(json.dumps(one.body, ensure_ascii=False).encode())
    outlets.pop("listing, structured")
    outlets.pop("prompt, structured")
    return {outlet: texts for outlet, texts in outlets.items() if outlet != "error, structured"}


@pytest.fixture
def stderr() -> Generator[io.StringIO]:
    """All that is logged at DEBUG, also by the libraries that we keep quiet, as it goes to stderr."""
    log = io.StringIO()
    handler = logging.StreamHandler(log)
    handler.setFormatter(ScrubbingFormatter())
    names = ("", "httpx", "httpcore", "stamina", "mcp", "call_logs")
    before = {name: logging.getLogger(name).level for name in names}
    logging.getLogger().addHandler(handler)
    for name in names:
        logging.getLogger(name).setLevel(logging.DEBUG)
    yield log
    logging.getLogger().removeHandler(handler)
    for name, level in before.items():
        logging.getLogger(name).setLevel(level)


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., dict[str, list[bytes]]]:
    """Runs commands over accounts; gives what they wrote."""

    def run(accounts: Mapping[str, Mapping[str, Any]], *commands: tuple[str, ...]) -> dict[str, list[bytes]]:
        monkeypatch.setenv("CALL_LOGS_CONFIG", str(written(accounts, tmp_path)))
        monkeypatch.setenv("CALL_LOGS_DATABASE", str(tmp_path / "commands.db"))
        monkeypatch.setenv("CALL_LOGS_HISTORY", "5000d")
        outlets: dict[str, list[bytes]] = {}
        for words in commands:
            ran = CliRunner().invoke(cli, list(words))
            name = f"{words[0]}{' --json' if '--json' in words else ''}"
            told = f"{ran.stdout}{ran.exception or ''}".encode()
            outlets.setdefault(f"{name}, stdout", []).append(told)
            outlets.setdefault("commands, stderr", []).append(b"stderr: " + ran.stderr.encode())
        return outlets

    return run


# --- tests


async def test_no_credential_comes_out_of_what_works(
    stderr: io.StringIO, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tape.unhurried(monkeypatch)
    with playing(plant, configured) as accounts:
        async with served(accounts, tmp_path / "calls.db") as (client, server):
            assert {server.app.sync.health(name).state for name in accounts} == {"ok"}
            given = await everything(client, (QUERY,))
            outlets = gathered(given) | files_of(tmp_path / "calls.db")
    assert any(b"Lakeside Dental" in value for value in outlets["database, unpacked"])
    planted = next(NUMBERS)
    print(f"\n{planted} canaries")  # noqa: T201 - as above
    assert planted > 500
    check(outlets | {"log at DEBUG": [stderr.getvalue().encode()]})


def test_no_credential_comes_out_of_a_command(
    command: Callable[..., dict[str, list[bytes]]],
    stderr: io.StringIO,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from datetime import UTC, datetime  # noqa: PLC0415 - only here

    tape.unhurried(monkeypatch)
    told = [call for call in business.calls(datetime.now(UTC), "signalwire") if call.story.spoken]
    reports = [mapped(signalwire.post_prompt_report(call), functools.partial(plant, "report")) for call in told[:3]]
    kept, odd, broken = (tmp_path / name for name in ("kept.json", "odd.json", "broken.json"))
    kept.write_text(json.dumps(reports), encoding="utf-8")
    odd.write_text(json.dumps([{"call_id": canary()}, canary()]), encoding="utf-8")
    broken.write_text(f'{{"call_id": "{canary()}"', encoding="utf-8")
    with playing(plant, configured) as accounts:
        outlets = command(
            accounts,
            ("check",),
            ("check", "--json"),
            ("sync",),
            ("sync", "--json"),
            ("import", str(kept), str(odd), str(broken)),
            ("import", "--json", str(kept), str(odd)),
            ("search", QUERY),
            ("search", "--json", QUERY),
            ("doctor",),
            ("doctor", "--json"),
            ("audit",),
            ("audit", "--json"),
        )
    assert b'"state": "ok"' in outlets["sync --json, stdout"][0]
    check(outlets | {"log at DEBUG": [stderr.getvalue().encode()]})


def refused(status: int) -> tape.Fault:
    """A refusal that repeats the request's credential, and brings others."""

    def answer(asked: tape.Asked) -> tape.Reply:
        said = {"message": f"bad {asked.headers.get('authorization')}", **further()}
        headers = {"www-authenticate": f'Bearer realm="{canary()}"', "x-request-id": canary(), "set-cookie": canary()}
        given = quote(asked.headers.get("authorization", canary()).rpartition(" ")[2], safe="")
        return tape.Reply(status, said, {**headers, "location": f"https://evil.example.com/{given}?key={canary()}"})

    return answer


def odd(body: Callable[[], Any], **headers: str) -> tape.Fault:
    return lambda _: tape.Reply(200, body(), headers)


def odd_rows() -> dict[str, Any]:
    """Rows that cannot be read, in every vendor's list."""
    row = {"id": "odd-row", "created_at": canary(), canary(): canary(), "room_name": "odd-row"}
    lists: dict[str, Any] = {name: [row, canary()] for name in ("callLogs", "agents", "records")}
    return lists | {"links": {}, "data": [row], "pagination": canary()}


FAULTS: dict[str, tape.Fault] = {
    "401": refused(401),
    "403": refused(403),
    "404": refused(404),
    "422": refused(422),
    "redirect": refused(302),
    "429": refused(429),
    "500": refused(500),
    "malformed": odd(f'{{"callLogs": [{{"token": "{canary()}"'.encode),
    "not JSON": odd(f"<html>{canary()}</html>".encode, **{"content-type": "text/html"}),
    "an encoding": odd(lambda: canary().encode(), **{"content-encoding": BEGIN}),
    "other types": odd(lambda: {name: canary() for name in ("data", "callLogs", "links", "records", "access_token")}),
    "odd rows": odd(functools.cache(odd_rows)),
    "nothing": lambda _: tape.Reply(200, b""),
}

QUICK = ("401", "other types")
"""Faults of the default suite; the others are like them."""


@pytest.mark.parametrize(
    "fault", [pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in FAULTS]
)
def test_no_credential_comes_out_of_a_failure(
    fault: str,
    command: Callable[..., dict[str, list[bytes]]],
    stderr: io.StringIO,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tape.unhurried(monkeypatch)

    async def asked(accounts: Mapping[str, Mapping[str, Any]]) -> list[Given]:
        async with served(accounts, tmp_path / "calls.db") as (client, server):
            assert "ok" not in {server.app.sync.health(name).state for name in accounts} or fault == "odd rows"
            return await everything(client, (QUERY,))

    with playing(plant, configured, **dict.fromkeys(tape.slugs(), FAULTS[fault])) as accounts:
        words = [("check",), ("sync",), ("doctor",), ("search", QUERY)]
        outlets = command(accounts, *words, *((*one, "--json") for one in words))
        given = anyio.run(asked, accounts)
    told = {"tools, text": [one.text.encode() for one in given if one.outlet in ("tool", "error")]}
    told["tools, structured"] = [json.dumps(one.body, ensure_ascii=False).encode() for one in given]
    told["listings and prompts"] = [
        one.text.encode() for one in given if one.outlet in ("listing", "prompt", "resource")
    ]
    with closing(sqlite3.connect(tmp_path / "calls.db")) as db:
        told["database, unpacked"] = ["\n".join(db.iterdump()).encode()]
    told["database"] = [(tmp_path / "calls.db").read_bytes()]
    check(outlets | told | {"log at DEBUG": [b"log: " + stderr.getvalue().encode()]})


class Odd(Exception):
    """A bug's exception, which holds what it should not in all of its parts."""

    def __init__(self) -> None:
        super().__init__(canary(), {"token": canary()}, canary_in_url("https://hooks.example.com/x"))
        self.add_note(canary())
        self.secret = canary()


async def test_no_credential_comes_out_of_a_bug(
    stderr: io.StringIO, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Chained and grouped, in a vendor's adapter and in a tool: the log tells where, and nothing of what they say."""
    tape.unhurried(monkeypatch)
    bugs = itertools.count()

    def fails(*_: Any, **__: Any) -> Any:
        next(bugs)
        raise ExceptionGroup(canary(), [ValueError(canary()), Odd()]) from Odd()

    with playing(plant, configured) as accounts:
        async with served(accounts, tmp_path / "calls.db") as (client, server):
            monkeypatch.setattr(_http.Api, "get", fails)
            for name in accounts:
                await server.app.sync.finish(name)
            given = [str(await client.call_tool(tool, {})) for tool in ("list_accounts", "list_calls")]
            monkeypatch.setattr(server.app.store, "count", fails)
            monkeypatch.setattr(server.app.store, "call", fails)
            given += [str(await client.call_tool("count_calls", {})) for _ in range(2)]
            given.append(str(await client.call_tool("get_call", {"call_id": "my-vyom/x"})))
    assert next(bugs) > len(accounts)
    assert "internal error" in given[0]
    log = stderr.getvalue()
    assert "Odd" in log, "where and what kind is told"
    check({"log at DEBUG": [log.encode()], "tools": [one.encode() for one in given]})


ODD_SECRET = "Canary'\"\\quoted/Begin+="
"""As Python writes it, it is written otherwise than it is."""


async def test_a_secret_with_quotes_comes_out_in_no_spelling(
    stderr: io.StringIO, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tape.unhurried(monkeypatch)
    forms = {"raw": ODD_SECRET, "repr": repr(ODD_SECRET)[1:-1], "bytes": repr(ODD_SECRET.encode())[2:-1]}
    forms |= {"JSON": json.dumps(ODD_SECRET)[1:-1], "URL": quote(ODD_SECRET, safe="")}
    forms |= {"JSON in JSON": json.dumps(json.dumps(ODD_SECRET))[3:-3]}

    def chosen(slug: str, name: str, value: Any) -> Any:
        return ODD_SECRET if configured(slug, name, value) != value else value

    def echoed(asked: tape.Asked) -> tape.Reply:
        given = asked.headers.get("authorization", "")
        logging.getLogger("call_logs").error("echoed %s, %r, %s", given, given, json.dumps(given))
        logging.getLogger("elsewhere").error("echoed %r", [given.encode()])
        return tape.Reply(401, {"message": f"bad {given}"}, {"www-authenticate": given})

    with playing(lambda _slug, _path, value: value, chosen, **dict.fromkeys(tape.slugs(), echoed)) as accounts:
        async with served(accounts, tmp_path / "calls.db") as (client, _):
            given = [str(await client.call_tool("list_accounts", {}))]
    outlets = {"tools": given[0], "log at DEBUG": stderr.getvalue()}
    outlets["database"] = (tmp_path / "calls.db").read_bytes().decode("latin-1")
    assert "echoed" in outlets["log at DEBUG"]
    assert "HTTP 401" in outlets["tools"]
    found = {(outlet, name) for outlet, text in outlets.items() for name, form in forms.items() if form in text}
    assert found == set()


SOURCES = str(Path(call_logs.__file__).parents[1])
DEBUG = "import logging; from call_logs import logs; logs.LEVEL = logging.DEBUG; from call_logs.__main__ import main; main()"


async def test_no_credential_comes_out_of_the_process(tmp_path: Path) -> None:
    """As a client starts it, with everything logged."""
    log, database = tmp_path / "stderr", tmp_path / "calls.db"
    with playing(plant, configured, bimpe=refused(401)) as accounts:
        settings = {
            "CALL_LOGS_CONFIG": str(written(accounts, tmp_path)),
            "CALL_LOGS_DATABASE": str(database),
            "CALL_LOGS_HISTORY": "5000d",
            "HIGHLEVEL_TOKEN": f"{canary()} not-usable",
            "HIGHLEVEL_LOCATION_ID": "LOC1",
            "PYTHONPATH": SOURCES,
        }
        parameters = StdioServerParameters(
            command="sh", args=["-c", f"exec {sys.executable} -c '{DEBUG}' 2>'{log}'"], env=settings
        )
        with anyio.fail_after(50):
            async with Client(parameters) as client:
                for _ in range(20):
                    listed = await client.call_tool("list_calls", {"limit": 5, "include_tests": True})
                    if (listed.structured_content or {"total": 0})["total"] > 20:
                        break
                given = [str(await client.call_tool(tool, {})) for tool in ("list_accounts", "count_calls")]
    text = log.read_bytes()
    assert b"DEBUG" in text
    assert "cannot be used" in given[0]
    check({"stderr at DEBUG": [text], "tools": [one.encode() for one in given], "database": [database.read_bytes()]})


def test_a_wrong_setting_is_told_without_what_it_held(tmp_path: Path) -> None:
    file = tmp_path / "accounts.toml"
    outlets: dict[str, list[bytes]] = {"stdout": [], "stderr": []}
    for content in (
        f'[accounts.a]\nprovider = "highlevel"\ntoken = "{canary()}"\nlocation_id = "{canary()}"\n',
        f'[accounts.acme]\nprovider = "highlevel"\ntoken = "{canary()} x"\nlocation_id = "{canary()}"\nkey = "{canary()}"\n',
        f'[accounts.acme]\nprovider = "vyom"\napi_key = {{ env = "{canary()}" }}\n',
        f'[accounts.acme]\nprovider = "vyom"\napi_key = "{canary()}\n',
        f'database = "postgresql://u:{IN_URL}@127.0.0.1:1/x"\n[accounts.acme]\nprovider = "vyom"\napi_key = "{canary()}"\n',
    ):
        file.write_text(content, encoding="utf-8")
        for words in (("sync", "--json"),) if "database" in content else (("check",), ("sync", "--json")):
            ran = subprocess.run(
                [sys.executable, "-c", DEBUG, *words],
                env={
                    "CALL_LOGS_CONFIG": str(file),
                    "PYTHONPATH": SOURCES,
                    "HOME": str(tmp_path),
                    "VYOM_BASE_URL": "http://127.0.0.1:9",
                },
                capture_output=True,
                check=False,
                timeout=50,
            )
            assert ran.returncode in (1, 2), ran.stderr
            assert b"Traceback" not in ran.stderr
            outlets["stdout"].append(b"stdout: " + ran.stdout)
            outlets["stderr"].append(b"stderr: " + ran.stderr)
    check(outlets)
