"""`purge`: erase calls from the store for good, and keep them from coming back."""

import contextlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import click

from call_logs.config import Config
from call_logs.errors import BadQuery, ConfigError
from call_logs.phones import suffix
from call_logs.store import Audited, Filter, Store, Tombstone, open_store
from call_logs.times import parse_window, show

PORTION = 200
"""Calls that are erased in one transaction."""

FEWEST_DIGITS = 7
"""With fewer digits of a number, other people's calls would be erased too."""


@dataclass(frozen=True)
class Wanted:
    """What is to be erased: what all of the given conditions hold for."""

    call: str | None = None
    phone: str | None = None
    account: str | None = None
    before: str | None = None


def purge(config: Config, wanted: Wanted, *, yes: bool, as_json: bool) -> int:
    """Erase what is wanted, after asking. Returns the exit code."""
    if not any((wanted.call, wanted.phone, wanted.account, wanted.before)):
        raise ConfigError("Say what to erase: --call, --phone, --account or --before.")
    if wanted.call and (wanted.phone or wanted.account or wanted.before):
        raise ConfigError("--call names one call; leave out the other conditions.")
    now = datetime.now(UTC)
    before = _moment(config, wanted.before, now) if wanted.before else None
    digits = _digits(wanted.phone) if wanted.phone else None
    with contextlib.closing(open_store(config.database)) as store:
        names = _accounts(store, wanted)
        found = {name: _found(store, name, wanted, digits, before) for name in names}
        total = sum(len(ids) for ids in found.values())
        if not yes and not as_json:
            click.echo(_preview(config, wanted, found, before))
            if not click.confirm("Erase?"):
                click.echo("Nothing was erased.")
                return 1
        elif not yes:
            raise ConfigError("With --json nobody can be asked: add --yes to erase.")
        erased = sum(_erase(store, name, ids, wanted, digits, before or now) for name, ids in found.items())
        store.audit([Audited(now, "local", "purge", "ok", (), erased)])
        overwritten = store.compact(thorough=True)
    if as_json:
        click.echo(json.dumps({"found": total, "erased": erased, "overwritten": overwritten}))
    else:
        click.echo(f"Erased {_calls(erased)}; no sync brings {'it' if erased == 1 else 'them'} back.")
        if not overwritten:
            click.echo(
                "The database's files may still hold their words: another program is reading. Stop it and run this again.",
                err=True,
            )
    return 0 if overwritten else 1


def _calls(count: int) -> str:
    return f"{count} call{'' if count == 1 else 's'}"


def _moment(config: Config, before: str, now: datetime) -> datetime:
    try:
        since = parse_window(before, None, zone=config.zone, now=now).since
    except BadQuery as error:
        raise ConfigError(f"--before cannot be used: {error}") from None
    if since is None or since > now:
        raise ConfigError("--before cannot be used: it must be a time in the past, such as 2026-01-31 or last month.")
    return since


def _digits(phone: str) -> str:
    try:
        digits = suffix(phone)
    except BadQuery as error:
        raise ConfigError(f"--phone cannot be used: {error}") from None
    if len(digits) < FEWEST_DIGITS:
        raise ConfigError(f"--phone needs at least {FEWEST_DIGITS} digits; with fewer, others' calls would go too.")
    return digits


def _accounts(store: Store, wanted: Wanted) -> list[str]:
    """Those of the store that are meant; also accounts that are configured no more."""
    known = [account.name for account in store.opened()]
    if not known:
        raise ConfigError(
            "The database is empty: there is nothing to erase. Does CALL_LOGS_DATABASE name the right one?"
        )
    named = wanted.call.partition("/")[0] if wanted.call else wanted.account
    if named is None:
        return known
    if named not in known:
        raise ConfigError(f"The database holds no account {named}. Accounts: {', '.join(known)}.")
    return [named]


def _found(store: Store, name: str, wanted: Wanted, digits: str | None, before: datetime | None) -> list[str]:
    """The ids of the calls that are meant, the legs of a call with it."""
    if wanted.call:
        held = store.excerpt([name], wanted.call, last=1)
        if held is None:
            # It may have been deleted from here, or not been read yet: the tombstone is set all the same.
            return []
        return [held.call.vendor_call_id, *(leg.vendor_call_id for leg in store.legs(held.call))]
    which = Filter((name,), until=before, phone=digits, include_tests=True, include_legs=True)
    ids: list[str] = []
    after: tuple[float, int] | None = None
    while True:
        page = store.list_calls(which, sort="oldest", limit=PORTION, after=after)
        ids += [row.vendor_call_id for row in page.rows if before is None or row.started_at < before]
        if not page.more:
            return ids
        after = (0.0, page.rows[-1].key)


def _preview(config: Config, wanted: Wanted, found: dict[str, list[str]], before: datetime | None) -> str:
    total = sum(len(ids) for ids in found.values())
    what = f"call {wanted.call}" if wanted.call else "calls"
    what += f" of {wanted.phone}" if wanted.phone else ""
    what += f" of the account {wanted.account}" if wanted.account else ""
    what += f" from before {show(before, config.zone)}" if before else ""
    counts = ", ".join(f"{name} {len(ids)}" for name, ids in found.items() if ids)
    return (
        f"This erases {what}: {_calls(total)} held now{f' ({counts})' if counts else ''}, and keeps what else of "
        "this the vendors list from being read. It cannot be undone. At the vendors nothing is deleted."
    )


def _erase(store: Store, name: str, ids: Sequence[str], wanted: Wanted, digits: str | None, before: datetime) -> int:
    """Tombstones first, so that a sync that runs meanwhile brings nothing back."""
    if wanted.call:
        named = wanted.call.partition("/")[2]
        stones = [Tombstone.of_call(name, one) for one in dict.fromkeys([named, *ids])]
    elif digits:
        stones = [Tombstone.of_phone(name, digits, before), *(Tombstone.of_call(name, one) for one in ids)]
    else:
        stones = [Tombstone.of_all(before)]
    store.bury(name, stones)
    return sum(store.erase(name, ids[begin : begin + PORTION]) for begin in range(0, len(ids), PORTION))
