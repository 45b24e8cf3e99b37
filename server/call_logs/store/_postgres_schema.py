"""PostgreSQL's tables, made by numbered migrations; see `postgres`."""

from collections.abc import Callable

from call_logs.errors import StoreError
from call_logs.store._postgres_connections import Connection, Connections, ask

ADVISORY = 0x63616C6C
"""The space of our advisory locks ("call"). Within it an account's number leads it."""

_OURS = {"setting", "account", "call"}
"""Tables that every version has."""

MIGRATING, BUILDING = 0, -1
"""The others: who makes the tables, who builds an index."""

MIGRATIONS: tuple[str, ...] = (
    """
    CREATE TABLE setting(name text PRIMARY KEY, value text NOT NULL);
    CREATE TABLE account(
        id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text COLLATE "C" NOT NULL UNIQUE,
        provider text NOT NULL, state text NOT NULL DEFAULT '', problem text, next_step text, last_synced_ms bigint,
        high_ms bigint, low_ms bigint, resume text, tenant text NOT NULL DEFAULT '', scope text NOT NULL DEFAULT '',
        rests_until_ms bigint, vanished integer NOT NULL DEFAULT 0);
    CREATE TABLE agent(
        id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY, account integer NOT NULL REFERENCES account(id),
        vendor_id text COLLATE "C" NOT NULL, name text COLLATE "C", calls bigint NOT NULL DEFAULT 0,
        UNIQUE(account, vendor_id));
    CREATE TABLE call(
        id bigint PRIMARY KEY, seq bigint NOT NULL, account integer NOT NULL REFERENCES account(id),
        vendor_id text COLLATE "C" NOT NULL, parent text COLLATE "C", leg boolean NOT NULL, test boolean NOT NULL,
        agent integer REFERENCES agent(id), started_ms bigint NOT NULL, duration double precision,
        direction text NOT NULL, status text NOT NULL, answered boolean NOT NULL, from_number text, to_number text,
        from_tail text COLLATE "C", to_tail text COLLATE "C", end_reason text, turns integer NOT NULL,
        timed boolean NOT NULL, actions text NOT NULL, hash bytea NOT NULL, said bytea NOT NULL,
        settled smallint NOT NULL, read_ms bigint NOT NULL, listed boolean NOT NULL);
    CREATE INDEX call_unsettled ON call(account, id) WHERE settled < 2;
    CREATE UNIQUE INDEX call_source ON call(account, vendor_id);
    CREATE INDEX call_account ON call(account, id);
    CREATE INDEX call_shown ON call(account, id) WHERE NOT test AND NOT leg;
    CREATE INDEX call_agent_status ON call(agent, status, id);
    CREATE INDEX call_agent ON call(agent, id);
    CREATE INDEX call_status ON call(status, id);
    CREATE INDEX call_from ON call(from_tail, id);
    CREATE INDEX call_to ON call(to_tail, id);
    CREATE INDEX call_duration ON call((coalesce(duration, 0)), id);
    CREATE INDEX call_parent ON call(account, parent) WHERE parent IS NOT NULL;
    CREATE INDEX call_silent ON call(account, id) WHERE turns = 0;
    CREATE TABLE content(
        id bigint PRIMARY KEY REFERENCES call(id) ON DELETE CASCADE ON UPDATE CASCADE, head bytea NOT NULL);
    CREATE TABLE part(
        call bigint NOT NULL REFERENCES call(id) ON DELETE CASCADE ON UPDATE CASCADE, n integer NOT NULL,
        customer integer NOT NULL, agent integer NOT NULL, system integer NOT NULL, unknown integer NOT NULL,
        body bytea NOT NULL, PRIMARY KEY(call, n));
    ALTER TABLE content ALTER head SET STORAGE EXTERNAL;
    ALTER TABLE part ALTER body SET STORAGE EXTERNAL;
    CREATE TABLE action(
        call bigint NOT NULL REFERENCES call(id) ON DELETE CASCADE ON UPDATE CASCADE, n integer NOT NULL,
        kind text NOT NULL, name text NOT NULL, PRIMARY KEY(call, n));
    CREATE TABLE tally(
        account integer NOT NULL, day bigint NOT NULL, test boolean NOT NULL, leg boolean NOT NULL,
        silent boolean NOT NULL, unconnected boolean NOT NULL, calls bigint NOT NULL,
        PRIMARY KEY(account, day, test, leg, silent, unconnected));
    CREATE TABLE note(name text PRIMARY KEY, value text NOT NULL);
    CREATE TABLE stale(call bigint PRIMARY KEY);
    INSERT INTO setting VALUES('seq', '0'), ('writes', '0'), ('changes', '0'), ('vocabulary', '0'),
        ('erased', '0');
    CREATE TABLE unreadable(
        account integer NOT NULL REFERENCES account(id), vendor_id text COLLATE "C" NOT NULL, fields text NOT NULL,
        seen_ms bigint NOT NULL, PRIMARY KEY(account, vendor_id));
    CREATE TABLE missed(
        account integer NOT NULL REFERENCES account(id), vendor_id text COLLATE "C" NOT NULL,
        since_ms bigint NOT NULL, PRIMARY KEY(account, vendor_id));
    CREATE TABLE tombstone(
        account integer NOT NULL REFERENCES account(id), kind text NOT NULL, digest text NOT NULL,
        digits integer NOT NULL, before_ms bigint, PRIMARY KEY(account, kind, digest, digits));
    CREATE TABLE audit(
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, at_ms bigint NOT NULL, principal text NOT NULL,
        asked text NOT NULL, outcome text NOT NULL, call_ids text NOT NULL, found bigint);
    CREATE INDEX audit_at ON audit(at_ms);
    CREATE FUNCTION audit_stays() RETURNS trigger LANGUAGE plpgsql
        AS 'BEGIN RAISE EXCEPTION ''audit entries stay''; END';
    CREATE TRIGGER audit_stays BEFORE UPDATE OR DELETE ON audit EXECUTE FUNCTION audit_stays()
    """,
)
"""`part` and `tally` are SQLite's (see `sqlite`). What depends on the tokeniser is not here but in `_postgres_index`."""


def run(db: Connection, statements: str) -> None:
    """Statements without values, parted by semicolons at the ends of lines."""
    for statement in statements.split(";\n"):
        ask(db, statement)


def settings(db: Connection) -> dict[str, str]:
    """What the store keeps about itself."""
    return dict(db.execute("SELECT name, value FROM setting").fetchall())


def keep_setting(db: Connection, name: str, value: str) -> None:
    """Set it, whether there is one or not."""
    db.execute(
        "INSERT INTO setting VALUES(%s, %s) ON CONFLICT (name) DO UPDATE SET value = excluded.value", (name, value)
    )


def migrate(connections: Connections, create_index: Callable[[Connection], None]) -> None:
    """Make or renew the tables, one process at a time. Raises `StoreError` for a newer version's or another program's."""
    with connections.reading() as db:
        if _version(db, connections.name) == len(MIGRATIONS):
            return
    with connections.writing() as db:
        db.execute("SELECT pg_advisory_xact_lock(%s, %s)", (ADVISORY, MIGRATING))
        version = _version(db, connections.name)
        for migration in MIGRATIONS[version:]:
            run(db, migration)
        keep_setting(db, "schema", str(len(MIGRATIONS)))
        if version == 0:
            create_index(db)


def _version(db: Connection, name: str) -> int:
    """The number of migrations that were run."""
    [(encoding,)] = db.execute("SELECT current_setting('server_encoding')").fetchall()
    # Not to_regclass: it may answer from before another process's transaction that this one has waited for.
    found = db.execute("SELECT tablename FROM pg_tables WHERE schemaname = current_schema()").fetchall()
    tables = {name for (name,) in found}
    if encoding != "UTF8":
        raise StoreError(
            f"The database {name} cannot hold every language: it is encoded in {encoding}. Create one with "
            "createdb --encoding UTF8 --template template0."
        )
    if tables & _OURS and not tables >= _OURS:
        raise StoreError(
            f"The database {name} belongs to another program. Create one of its own and point CALL_LOGS_DATABASE at it."
        )
    version = int(settings(db)["schema"]) if tables >= _OURS else 0
    if version > len(MIGRATIONS):
        raise StoreError(
            f"The database {name} was written by a newer call-logs-mcp (its version {version}, this program's "
            f"{len(MIGRATIONS)}). Upgrade call-logs-mcp, or point CALL_LOGS_DATABASE at another database."
        )
    return version
