"""Erasing for good, as a person does it: what goes, what stays, what is left in the files, and that nothing comes back."""

import json
import shutil
from collections.abc import Generator
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import anyio
import pytest
from click.testing import CliRunner, Result

from call_logs import sandbox
from call_logs.__main__ import cli
from call_logs.config import Config, load
from call_logs.errors import ConfigError
from call_logs.model import Call
from call_logs.store import Filter, Store, open_store
from call_logs.store.query import parse
from call_logs.sync import Sync

RETURNING = "+1 (206) 555-0123"
"""A customer of the sandbox's business who called often, at several vendors."""

LONG_WORD = 8
"""Letters of a word that stands in a file for no other reason than that somebody said it."""

pytestmark = pytest.mark.anyio


@dataclass
class Kept:
    """A store that a sync of the five vendors has filled."""

    config: Config
    sync_config: Config
    folder: Path

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(account.name for account in self.sync_config.accounts)

    def opened(self) -> closing[Store]:
        return closing(open_store(self.config.database))

    def calls(self, **given: Any) -> set[str]:
        which = Filter(self.names, include_tests=True, include_legs=True, **given)
        with self.opened() as store:
            return {row.id for row in store.list_calls(which, limit=1000).rows}

    def whole(self, call_id: str) -> Call:
        with self.opened() as store:
            call = store.call(self.names, call_id)
        assert call is not None
        return call

    async def synced(self, *, now: datetime | None = None) -> None:
        """One pass over every account by a new process, which looks far back."""
        with self.opened() as store:
            moment = now or datetime.now(UTC)
            sync = Sync(self.sync_config.accounts, store, history=timedelta(days=90), now=lambda: moment)
            with anyio.fail_after(60):
                async with sync.running():
                    for name in self.names:
                        assert (await sync.finish(name)).state == "ok"

    def purged(self, *options: str, confirm: str | None = None) -> Result:
        given = [*options] if confirm is not None else [*options, "--yes"]
        return CliRunner().invoke(cli, ["purge", *given], input=confirm)

    def left(self, *words: str) -> dict[str, list[str]]:
        """Which of the words each file still holds."""
        return {
            file.name: held
            for file in self.folder.iterdir()
            if (held := [word for word in words if word.encode() in file.read_bytes()])
        }


@pytest.fixture(scope="module")
def vendors(tmp_path_factory: pytest.TempPathFactory) -> Generator[Kept]:
    """The five stand-ins, and a store that one pass over each has filled."""
    folder = tmp_path_factory.mktemp("filled")
    with sandbox.running() as started:
        config = load(started.accounts, own_accounts=False, database=str(folder / "calls.db"))
        filled = Kept(config, config, folder)
        anyio.run(filled.synced)
        yield filled


@pytest.fixture
def kept(vendors: Kept, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Kept:
    """A copy of that store, for which the command line is configured, without any account."""
    folder = tmp_path / "kept"
    shutil.copytree(vendors.folder, folder)
    monkeypatch.setenv("CALL_LOGS_DATABASE", str(folder / "calls.db"))
    monkeypatch.setenv("CALL_LOGS_TIMEZONE", "UTC")
    monkeypatch.delenv("CALL_LOGS_CONFIG", raising=False)
    return Kept(load(), vendors.sync_config, folder)


async def test_a_number_is_erased_at_all_vendors_and_no_sync_brings_anything_back(kept: Kept) -> None:
    every = kept.calls()
    theirs = kept.calls(phone="2065550123")
    assert len({one.partition("/")[0] for one in theirs}) >= 3
    said = [turn.text for one in theirs for turn in kept.whole(one).turns]
    ids = [one.partition("/")[2] for one in theirs]
    words = only_theirs(kept, theirs)
    assert kept.left(*ids)
    assert kept.left(*words)
    result = kept.purged("--phone", RETURNING)
    assert (result.exit_code, result.output) == (
        0,
        f"Erased {len(theirs)} calls; no sync brings them back.\n",
    )
    assert kept.left(*ids, *words, *said) == {}
    for n in range(3):
        await kept.synced(now=datetime.now(UTC) + timedelta(hours=n))
    assert kept.calls() == every - theirs
    assert kept.left(*ids, *words, *said) == {}
    with kept.opened() as store:
        for name in kept.names:
            assert sum(row.calls for row in store.accounts([name])) == len(
                [one for one in every - theirs if one.startswith(f"{name}/")]
            )


def only_theirs(kept: Kept, theirs: set[str]) -> list[str]:
    """Words of at least six letters that only these calls said, as the index holds them."""
    said = {one: " ".join(turn.text.lower() for turn in kept.whole(one).turns) for one in kept.calls()}
    others = " ".join(text for one, text in said.items() if one not in theirs)
    words = {word for one in theirs for word in said[one].split() if word.isalpha() and word.isascii()}
    return sorted(word for word in words if len(word) >= LONG_WORD and word not in others)


@pytest.mark.slow
async def test_one_call_of_each_vendor_is_erased_and_stays_away(kept: Kept) -> None:
    every = kept.calls()
    chosen = {min(one for one in every if one.startswith(f"{name}/")) for name in kept.names}
    for one in chosen:
        assert kept.purged("--call", one).exit_code == 0
    await kept.synced()
    assert chosen.isdisjoint(kept.calls())
    with kept.opened() as store:
        assert store.search(parse("refund OR appointment"), Filter(kept.names)).total_calls > 0


@pytest.mark.slow
async def test_a_call_that_was_never_read_is_kept_out(kept: Kept) -> None:
    one = min(kept.calls())
    with kept.opened() as store:
        store.erase(one.partition("/")[0], [one.partition("/")[2]])
    result = kept.purged("--call", one)
    assert (result.exit_code, result.output) == (0, "Erased 0 calls; no sync brings them back.\n")
    await kept.synced()
    assert one not in kept.calls()


async def test_an_account_is_erased_up_to_now(kept: Kept) -> None:
    every = kept.calls()
    name = kept.names[0]
    result = kept.purged("--account", name, "--json")
    assert result.exit_code == 0
    mine = {one for one in every if one.startswith(f"{name}/")}
    assert json.loads(result.output) == {"found": len(mine), "erased": len(mine), "overwritten": True}
    await kept.synced()
    assert kept.calls() == every - mine
    with kept.opened() as store:
        assert store.agents([name]) == []


@pytest.mark.slow
async def test_what_began_before_a_day_is_erased_everywhere(kept: Kept) -> None:
    every = kept.calls()
    day = (datetime.now(UTC) - timedelta(days=7)).replace(hour=0, minute=0, second=0, microsecond=0)
    young = kept.calls(since=day)
    assert young < every
    assert kept.purged("--before", f"{day:%Y-%m-%d}").exit_code == 0
    await kept.synced()
    assert kept.calls() == young


async def test_nothing_goes_before_somebody_says_yes(kept: Kept) -> None:
    every = kept.calls()
    result = kept.purged("--phone", RETURNING, confirm="n\n")
    assert result.exit_code == 1
    assert f"{len(kept.calls(phone='2065550123'))} calls held now" in result.output
    assert "Nothing was erased." in result.output
    assert kept.calls() == every
    assert kept.purged("--phone", RETURNING, confirm="y\n").exit_code == 0
    assert kept.calls() < every


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ([], "Say what to erase"),
        (["--phone", "0123"], "at least 7 digits"),
        (["--phone", "who"], "--phone cannot be used"),
        (["--account", "nobody"], "holds no account nobody"),
        (["--call", "nobody/1"], "holds no account nobody"),
        (["--call", "demo-bimpe/1", "--phone", RETURNING], "leave out the other conditions"),
        (["--before", "2999-01-01"], "a time in the past"),
        (["--before", "whenever"], "--before cannot be used"),
    ],
)
async def test_what_cannot_be_meant_erases_nothing(kept: Kept, options: list[str], problem: str) -> None:
    every = kept.calls()
    result = kept.purged(*options)
    assert isinstance(result.exception, ConfigError)
    assert problem in str(result.exception)
    assert kept.calls() == every


@pytest.mark.usefixtures("kept")
def test_with_json_nobody_is_asked() -> None:
    result = CliRunner().invoke(cli, ["purge", "--before", "yesterday", "--json"])
    assert isinstance(result.exception, ConfigError)
    assert "--yes" in str(result.exception)


async def test_a_purge_is_in_the_audit_table_without_what_it_erased(kept: Kept) -> None:
    kept.purged("--phone", RETURNING)
    result = CliRunner().invoke(cli, ["audit", "--json"])
    [entry] = json.loads(result.output)
    assert entry["found"] > 0
    assert (entry["asked"], entry["outcome"], entry["call_ids"]) == ("purge", "ok", [])
    assert "0123" not in result.output
    table = CliRunner().invoke(cli, ["audit", "--since", "today"])
    assert "purge" in table.output
    assert CliRunner().invoke(cli, ["audit", "--since", "whenever"]).exit_code != 0


async def test_a_sync_that_runs_meanwhile_brings_nothing_back(kept: Kept) -> None:
    every = kept.calls()
    theirs = kept.calls(phone="2065550123")
    with kept.opened() as store:
        sync = Sync(kept.sync_config.accounts, store, history=timedelta(days=90), max_age=0.0)
        with anyio.fail_after(60):
            async with sync.running(), anyio.create_task_group() as tasks:
                for name in kept.names:
                    tasks.start_soon(sync.finish, name)
                # Whether the files could be cleaned depends on who reads just then.
                await anyio.to_thread.run_sync(lambda: kept.purged("--phone", RETURNING))
    assert kept.calls() == every - theirs


@pytest.mark.slow
async def test_what_was_erased_stays_away_in_a_copy_of_the_database(kept: Kept) -> None:
    assert kept.purged("--phone", RETURNING).exit_code == 0
    copy = kept.folder.parent / "copy" / "calls.db"
    assert CliRunner().invoke(cli, ["migrate", "--to", str(copy)]).exit_code == 0
    moved = replace(kept, config=replace(kept.config, database=str(copy)), folder=copy.parent)
    await moved.synced()
    assert moved.calls() == kept.calls()
