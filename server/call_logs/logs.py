"""What goes to stderr: no credential in any spelling, no query of a URL, and nothing that a stranger said.

Credentials are made known by `hide` as soon as they are read; every line that is written loses them. A line of another
library ends where it may quote a value; so does the message of an exception that is not ours, of which only the place
and the kind are told.
"""

import base64
import json
import logging
import re
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any, TextIO, cast
from urllib.parse import quote, quote_plus

from call_logs.errors import CallLogsError
from call_logs.text import clean, one_line

LEVEL = logging.WARNING
HIDDEN = "[hidden]"
FEWEST = 4
"""Shorter values are no credentials, and would be cut out of every other word."""

FEWEST_ENCODED = 8
"""Characters of an encoding that are no coincidence."""

_OURS = "call_logs"
_URL = re.compile(r"\b([a-z][a-z0-9+.-]{1,20}:[/\\]{2})([^\s\"'<>]*)", re.IGNORECASE)
_URL_USER = re.compile(r"^[^/\\]*@")
_URL_TAIL = re.compile(r"[?#].*", re.DOTALL)
_QUERY = re.compile(r"(?<=[\w/~%-])\?[^\s\"'<>]*=[^\s\"'<>]*")
_QUOTED = re.compile(r"[\"'`{\[(<=\u2018\u201c]|\n|\bb'")
_LONG_NUMBER = re.compile(r"\+?\d(?:[ ().\u2010-\u2015-]{0,3}\d){6,}")
_PLAIN_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,40}")
# Their messages name what stands in the source.
_TELLS_OF_CODE = (AttributeError, NameError, ImportError, NotImplementedError, RecursionError)

_secrets: set[str] = set()
_pattern: re.Pattern[str] | None = None


def hide(*secrets: str | None) -> None:
    """Let no line that is written from now on hold these, in whatever spelling."""
    global _pattern  # noqa: PLW0603 - one process has one stderr
    new = {secret for secret in secrets if secret and len(secret) >= FEWEST} - _secrets
    if new:
        _secrets.update(new)
        known = sorted({form for secret in _secrets for form in spellings(secret)}, key=len, reverse=True)
        _pattern = re.compile("|".join(map(re.escape, known)))


def spellings(secret: str) -> Iterator[str]:
    """How a value may be written: as it is, quoted for a URL, escaped, and within base64 at each of three alignments."""
    raw = secret.encode("utf-8", "surrogatepass")
    yield secret
    for quoted in (quote(raw, safe=""), quote(raw), quote_plus(raw)):
        yield quoted
        yield re.sub("%..", lambda code: code[0].lower(), quoted)
    yield json.dumps(secret)[1:-1]
    yield repr(secret)[1:-1]
    yield repr(raw)[2:-1]
    if len(raw) * 2 >= FEWEST_ENCODED:
        yield raw.hex()
    for shift in range(3):
        # The characters that depend on these bytes alone, whatever stands before and behind.
        coded = base64.b64encode(bytes(shift) + raw)[-(-8 * shift // 6) : 8 * (shift + len(raw)) // 6].decode()
        if len(coded) >= FEWEST_ENCODED:
            yield coded
            yield coded.translate(str.maketrans("+/", "-_"))


def scrubbed(text: str) -> str:
    """The text without known credentials, and with every URL cut down to scheme, host and path."""
    if _pattern is not None:
        text = _pattern.sub(HIDDEN, text)
    return _QUERY.sub("?", _URL.sub(_path_only, text))


def _path_only(found: re.Match[str]) -> str:
    return found[1] + _URL_USER.sub("", _URL_TAIL.sub("", found[2]))


class ScrubbingFormatter(logging.Formatter):
    """One line a record, then the traceback without what exceptions quote."""

    def __init__(self) -> None:
        """The level and the logger stand before the message."""
        super().__init__("%(levelname)s %(name)s: %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        """The record as text. Never raises: a line that cannot be made says so."""
        try:
            message = record.getMessage()
        except Exception:  # noqa: BLE001 - a wrong log call must not end what it tells of
            message = f"cannot be formatted: line {record.lineno} of {record.filename}"
        if record.name.partition(".")[0] != _OURS:
            message = unquoted(message)
        lines = [f"{record.levelname} {record.name}: {one_line(clean(message))}"]
        if record.exc_info and record.exc_info[1] is not None:
            lines.append(self.formatException(record.exc_info))
        if record.stack_info:
            lines.append(record.stack_info)
        return scrubbed("\n".join(lines))

    def formatException(  # noqa: N802 - the name of the standard library
        self,
        ei: tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None],
    ) -> str:
        """The traceback: where, and what kind of exception."""
        return "\n".join(_told(ei[1], set())) if ei[1] is not None else ""


def _told(error: BaseException, seen: set[int]) -> Iterator[str]:
    """The exception, below what it came of and above what it holds."""
    seen.add(id(error))
    before = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if before is not None and id(before) not in seen:
        yield from _told(before, seen)
        yield "which led to:"
    yield from ("".join(traceback.format_tb(error.__traceback__)).rstrip().splitlines()) if error.__traceback__ else ()
    yield f"{type(error).__qualname__}: {said_safely(error)}".removesuffix(": ")
    if isinstance(error, BaseExceptionGroup):
        for inner in cast("BaseExceptionGroup[BaseException]", error).exceptions:
            if id(inner) not in seen:
                yield from (f"  | {line}" for line in _told(inner, seen))


def said_safely(error: BaseException) -> str:
    """The exception's message as far as it quotes nothing."""
    if isinstance(error, CallLogsError):
        return str(error)
    if type(error).__module__.partition(".")[0].startswith("pydantic"):
        return _fields_at_fault(error)
    try:
        message = str(error)
    except Exception:  # noqa: BLE001 - as in `format`
        return ""
    return one_line(clean(message if isinstance(error, _TELLS_OF_CODE) else unquoted(message)))


def _fields_at_fault(error: BaseException) -> str:
    """Which fields and why; a key that is no plain name may be a customer's words."""
    ask: Callable[..., list[Any]] | None = getattr(error, "errors", None)
    issues = ask(include_input=False, include_url=False, include_context=False) if ask else []
    told = (
        f"{'.'.join(str(part) if _plain(part) else '?' for part in issue['loc'])} ({issue['type']})" for issue in issues
    )
    return ", ".join(told)


def _plain(part: str | int) -> bool:
    return isinstance(part, int) or _PLAIN_NAME.fullmatch(part) is not None


def unquoted(message: str) -> str:
    """The message up to where it may quote a value, without long numbers."""
    found = _QUOTED.search(message)
    cut = f"{message[: found.start()].rstrip()} \u2026".lstrip() if found else message
    return _LONG_NUMBER.sub("\u2026", cut)


class ToStderr(logging.StreamHandler[TextIO]):
    """To what stderr is when a line is written: whoever draws on the terminal then puts the line above the drawing."""

    def emit(self, record: logging.LogRecord) -> None:
        self.stream = sys.stderr
        super().emit(record)


def install() -> None:
    """Write logs, and what ends the program, to stderr through the formatter. The caller's own logging stays as it is."""
    handler = ToStderr(sys.stderr)
    handler.setFormatter(ScrubbingFormatter())
    logging.basicConfig(level=LEVEL, handlers=[handler])
    logging.raiseExceptions = False  # what cannot be logged would be printed as it is
    logging.captureWarnings(capture=True)
    log = logging.getLogger(_OURS)

    def ended(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if issubclass(kind, KeyboardInterrupt):
            sys.exit(130)
        log.critical("ended by a bug", exc_info=(kind, error, trace))

    def thread_ended(args: threading.ExceptHookArgs) -> None:
        if args.exc_value is not None:
            log.error("a thread met a bug", exc_info=(args.exc_type, args.exc_value, args.exc_traceback))

    def unraisable(args: "sys.UnraisableHookArgs") -> None:
        if args.exc_value is not None:
            log.error("something could not be ended", exc_info=(args.exc_type, args.exc_value, args.exc_traceback))

    sys.excepthook = ended
    threading.excepthook = thread_ended
    sys.unraisablehook = unraisable
