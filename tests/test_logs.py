"""Nothing that is written to stderr holds a credential, a URL's query, or what a stranger said."""

import base64
import functools
import io
import json
import logging
import subprocess
import sys
import time
from collections.abc import Callable, Generator
from urllib.parse import quote, quote_plus

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, Field

from call_logs.config import hide_passwords, load
from call_logs.errors import BadQuery
from call_logs.logs import HIDDEN, ScrubbingFormatter, hide, scrubbed, spellings
from call_logs.model import Call

SECRET = "s3cr+t/k\u00e9y=&'\"\\pass%word"
SAID = "I want my money back, call 206-555-0123"

Logger = Callable[..., None]


@pytest.fixture
def lines() -> Generator[tuple[logging.Logger, io.StringIO]]:
    """A logger of ours and what it wrote."""
    written = io.StringIO()
    handler = logging.StreamHandler(written)
    handler.setFormatter(ScrubbingFormatter())
    log = logging.getLogger("call_logs.test_logs")
    log.addHandler(handler)
    log.propagate = False
    yield log, written
    log.removeHandler(handler)
    log.propagate = True


def forms(secret: str) -> dict[str, str]:
    """How it may be written, found independently of the code under test."""
    raw = secret.encode()
    return {
        "raw": secret,
        "quoted": quote(secret, safe=""),
        "plus": quote_plus(secret),
        "JSON": json.dumps(secret)[1:-1],
        "repr": repr(secret)[1:-1],
        "bytes": repr(raw)[2:-1],
        "hex": raw.hex(),
        **{f"base64 behind {n} bytes": base64.b64encode(b"user:"[:n] + raw + b"::").decode() for n in range(3)},
        "base64url": base64.urlsafe_b64encode(raw).decode(),
    }


@pytest.mark.parametrize("form", forms(SECRET))
def test_a_known_credential_is_hidden_in_every_spelling(form: str) -> None:
    hide(SECRET)
    written = forms(SECRET)[form]
    for text in (written, f"x{written}y", f"Basic {written}", f"{written}{written}"):
        assert written not in scrubbed(text), text
        assert HIDDEN in scrubbed(text)


@settings(max_examples=100, deadline=None)
@given(st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=12, max_size=40), st.binary(max_size=6))
def test_any_credential_is_hidden_wherever_base64_puts_it(secret: str, before: bytes) -> None:
    known = sorted(spellings(secret), key=len, reverse=True)
    coded = base64.b64encode(before + secret.encode() + b"\0\0\0").decode()
    assert any(form in coded for form in known)


def test_the_longest_credential_is_hidden_first() -> None:
    hide("opens-one", "opens-one-and-two")
    assert scrubbed("opens-one-and-two") == HIDDEN


def test_short_values_and_none_hide_nothing() -> None:
    hide(None, "", "a", "abc")
    assert scrubbed("abc a") == "abc a"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("GET https://u:p@x.example/a?sig=1#f 200", "GET https://x.example/a 200"),
        ("postgresql://u:p@h:5432/db?sslmode=x", "postgresql://h:5432/db"),
        ("GET /voice-ai/call-logs?locationId=a&key=b HTTP/1.1", "GET /voice-ai/call-logs? HTTP/1.1"),
        ("is it done? yes=no", "is it done? yes=no"),
    ],
)
def test_urls_end_at_their_path(text: str, shown: str) -> None:
    assert scrubbed(text) == shown


def raised(fail: Callable[[], object]) -> BaseException:
    try:
        fail()
    except Exception as error:  # noqa: BLE001 - whatever it is
        return error
    raise AssertionError


class Strict(BaseModel):
    """Shows its input in errors, as pydantic does."""

    seconds: float
    number: str = Field(max_length=3)


def with_cause() -> None:
    try:
        float(SAID)
    except ValueError as error:
        raise RuntimeError("while reading " + repr(SAID)) from error


def in_group() -> None:
    raise ExceptionGroup("two", [raised(with_cause), KeyError(SAID)])  # pyright: ignore[reportArgumentType] - Exceptions


FAILURES: dict[str, Callable[[], object]] = {
    "pydantic": functools.partial(Strict.model_validate, {"seconds": SAID, "number": SAID, SAID: 1}),
    "a call": functools.partial(Call.model_validate, {"account": SAID, "turns": [{"n": 0, "text": SAID}], SAID: SAID}),
    "httpx": lambda: httpx.get(f"https://u:{SECRET.replace('%', '')}@[{SAID}]/?q={SAID}"),
    "float": functools.partial(float, SAID),
    "key": lambda: dict[str, str]()[SAID],
    "a cause": with_cause,
    "a group": in_group,
    "unicode": (SAID + "\ud800").encode,
    "attribute": lambda: getattr(None, "turns"),  # noqa: B009 - the failure is what is meant
}


@pytest.mark.parametrize("kind", FAILURES)
def test_a_traceback_tells_where_and_what_but_quotes_nothing(
    kind: str, lines: tuple[logging.Logger, io.StringIO]
) -> None:
    log, written = lines
    error = raised(FAILURES[kind])
    log.error("it failed", exc_info=error)
    text = written.getvalue()
    assert "money" not in text
    assert "0123" not in text
    assert type(error).__qualname__ in text
    assert f'{__name__}.py", line ' in text


def test_what_is_said_of_causes_groups_and_fields() -> None:
    formatter = ScrubbingFormatter()
    error = raised(in_group)
    text = formatter.formatException((type(error), error, error.__traceback__))
    assert "  | ValueError: could not convert string to float:" in text
    assert "  | which led to:" in text
    assert "  | RuntimeError: while reading \u2026" in text
    error = raised(FAILURES["pydantic"])
    assert "seconds (float_parsing), number (string_too_long)" in formatter.formatException((type(error), error, None))
    error = raised(FAILURES["attribute"])
    assert "has no attribute 'turns'" in formatter.formatException((type(error), error, None))
    ours = BadQuery('turns is "all" or a range.')
    assert formatter.formatException((BadQuery, ours, None)) == 'BadQuery: turns is "all" or a range.'


def test_lines_of_other_libraries_end_where_they_quote() -> None:
    def shown(message: str, *args: object) -> str:
        return ScrubbingFormatter().format(logging.LogRecord("mcp.server", 30, "f", 1, message, args, None))

    assert (
        shown("Failed to validate: 1 error for %r", SAID)
        == "WARNING mcp.server: Failed to validate: 1 error for \u2026"
    )
    assert shown("dialling +1 206 555 0123 now") == "WARNING mcp.server: dialling \u2026 now"
    assert shown("a\nmoney") == "WARNING mcp.server: a \u2026"
    assert shown("%d", "no number") == "WARNING mcp.server: cannot be formatted: line 1 of f"


def test_a_message_stays_on_its_line(lines: tuple[logging.Logger, io.StringIO]) -> None:
    log, written = lines
    log.warning("%s: gone", "acme\nERROR call_logs: forged\u202e\x1b[31m")
    assert written.getvalue() == "WARNING call_logs.test_logs: acme ERROR call_logs: forged[31m: gone\n"


def test_configuration_makes_its_credentials_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HIGHLEVEL_TOKEN", "configured-token-1")
    monkeypatch.setenv("HIGHLEVEL_LOCATION_ID", "loc1")
    monkeypatch.setenv("BIMPE_API_KEY", "refused token 2")
    monkeypatch.setenv("CALL_LOGS_DATABASE", "postgresql://me:pass%2Fword3@localhost/x")
    load()
    line = "configured-token-1 'refused token 2' pass%2Fword3 pass/word3 loc1"
    assert scrubbed(line) == f"{HIDDEN} '{HIDDEN}' {HIDDEN} {HIDDEN} loc1"


@pytest.mark.parametrize(
    "address",
    [
        "postgresql://me:odd-p@ss/word@localhost:5432/calls",
        "postgresql://me@localhost/calls?sslmode=require&password=odd-p%40ss%2Fword",
    ],
)
def test_a_databases_password_is_known_wherever_it_stands(address: str) -> None:
    hide_passwords(address, "", "/data/calls.db")
    assert scrubbed("no login with odd-p@ss/word at /data/calls.db") == f"no login with {HIDDEN} at /data/calls.db"


UNCAUGHT = """
import threading, warnings
from call_logs import logs
logs.install()
logs.hide("canary-one")
thread = threading.Thread(target=lambda: float("money canary-one"))
thread.start(); thread.join()
class Bad:
    def __del__(self): raise ValueError("'money' canary-one")
Bad()
warnings.warn("canary-one 'money'")
import logging
logging.getLogger("x").error("%d", "money")
raise KeyError("money canary-one")
"""


def test_what_ends_a_program_or_a_thread_is_scrubbed_too() -> None:
    ended = subprocess.run([sys.executable, "-c", UNCAUGHT], capture_output=True, text=True, check=False, timeout=30)
    assert ended.returncode == 1
    assert ended.stdout == ""
    assert "money" not in ended.stderr
    assert "canary" not in ended.stderr
    for told in (
        "a thread met a bug",
        "could not be ended",
        "py.warnings",
        "cannot be formatted",
        "ended by a bug",
        "KeyError",
    ):
        assert told in ended.stderr


def test_what_a_line_costs_is_reported() -> None:
    hide(*(f"credential-number-{n}" for n in range(50)))
    formatter = ScrubbingFormatter()
    record = logging.LogRecord("call_logs", 30, "f", 1, "%s: answers again", ("acme",), None)
    began = time.perf_counter()
    for _ in range(1_000):
        assert formatter.format(record).endswith("acme: answers again")
    microseconds = (time.perf_counter() - began) * 1_000
    print(f"\na line with 50 credentials known: {microseconds:.0f} \u00b5s")  # noqa: T201 - a figure to report
