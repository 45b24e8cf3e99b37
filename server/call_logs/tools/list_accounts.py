"""`list_accounts`: what there is to ask about, and how it stands."""

from collections import Counter

import anyio.to_thread
from mcp.types import CallToolResult

from call_logs.providers import FEATURES
from call_logs.store import AccountRow, Filter, Marks
from call_logs.tools import App, Ctx, app_of
from call_logs.tools.answer import (
    DEFAULT_CHARACTERS,
    CoveragePart,
    Part,
    answer,
    counted,
    coverage_of,
    coverage_words,
    dumped,
    fact,
    fitting,
    stamp,
)


class AccountPart(Part):
    """One account. `gives` is what its vendor's API shows; `unreadable` are records that could not be read, for
    these fields; `vanished` are calls that the vendor lists no more."""

    account: str
    provider: str
    state: str
    last_synced_at: str | None = None
    calls: int
    oldest: str | None = None
    newest: str | None = None
    with_transcript: int
    gives: list[str]
    unreadable: int | None = None
    unreadable_fields: list[str] | None = None
    vanished: int | None = None
    problem: str | None = None
    next_step: str | None = None


class AgentPart(Part):
    """An agent that handled calls."""

    account: str
    agent_id: str
    name: str | None = None
    calls: int


MOST_FIELDS = 5
"""Fields at fault that are named."""

NOTE = "Calls of accounts and agents include tests and legs, which count_calls leaves out."


class ListAccounts(Part):
    """The structured answer. `note` says what the numbers of calls mean."""

    accounts: list[AccountPart]
    agents: list[AgentPart]
    agents_left_out: int | None = None
    note: str
    coverage: CoveragePart


async def list_accounts(ctx: Ctx) -> CallToolResult:
    """List the connected accounts and agents: what each vendor gives, how many calls are held since when, what is wrong
    and how to fix it. Use it first when names are unknown or an answer is incomplete.
    """
    app = app_of(ctx)
    await app.sync.freshen(app.names, app.now(), app.now())
    return await anyio.to_thread.run_sync(_answer, app)


def _answer(app: App) -> CallToolResult:
    names = app.names
    readable = app.sync.readable(names)
    held = {row.name: row for row in app.store.accounts(readable)}
    parts = [_part(app, name, held.get(name)) for name in names]
    agents = [
        AgentPart(account=row.account, agent_id=fact(row.agent_id) or "", name=fact(row.name), calls=row.calls)
        for row in app.store.agents(readable)
    ]
    room = DEFAULT_CHARACTERS - max(sum(len(dumped(part)) for part in parts), 0)
    fit = fitting(agents, room, _agent_line, dumped) if agents else 0
    coverage = coverage_of(app, Filter(readable), names)
    structured = ListAccounts(
        accounts=parts, agents=agents[:fit], agents_left_out=len(agents) - fit or None, note=NOTE, coverage=coverage
    )
    facts = [
        f"{counted(len(parts), 'account')}:",
        *(_line(part) for part in parts),
        "Agents:" if fit else "",
        *(_agent_line(agent) for agent in agents[:fit]),
        f"{len(agents) - fit} agents with fewer calls are left out." if fit < len(agents) else "",
        NOTE,
        coverage_words(coverage),
    ]
    return answer(structured, facts)


def _part(app: App, name: str, row: AccountRow | None) -> AccountPart:
    health = app.sync.health(name)
    provider = app.sync.account(name).provider
    row = row or AccountRow(name, provider.slug, "", None, None, None, Marks(), 0, 0, None, None, 0)
    return AccountPart(
        account=name,
        provider=provider.slug,
        state=health.state,
        last_synced_at=stamp(health.last_synced_at, app.zone),
        calls=row.calls,
        oldest=stamp(row.oldest, app.zone),
        newest=stamp(row.newest, app.zone),
        with_transcript=row.with_transcript,
        gives=[feature for feature in FEATURES if feature in provider.gives],
        unreadable=row.unreadable or None,
        unreadable_fields=_fields(app, name) if row.unreadable else None,
        vanished=row.vanished or None,
        problem=health.problem,
        next_step=health.next_step,
    )


def _fields(app: App, name: str) -> list[str]:
    """The fields for which records could not be read, the commonest first."""
    found = Counter(field for record in app.store.unreadable(name) for field in record.fields)
    return [field for field, _ in found.most_common(MOST_FIELDS)]


def _line(part: AccountPart) -> str:
    held = counted(part.calls, "call")
    if part.oldest and part.newest:
        held += f" from {part.oldest} to {part.newest}, {part.with_transcript} with transcript"
    problem = f" {part.problem} {part.next_step or ''}".rstrip() if part.problem else ""
    bad = ""
    if part.unreadable:
        bad = (
            f" {counted(part.unreadable, 'record')} could not be read (fields: {', '.join(part.unreadable_fields or ())}), "
            "and any of them may be a call that answers lack. The vendor is asked again every few hours; report it if it stays."
        )
    if part.vanished:
        bad += (
            f" The vendor lists {counted(part.vanished, 'call')} no more that it listed before; kept, since so many at once "
            "are more likely its fault. If they were deleted: call-logs-mcp purge."
        )
    read = f", last read {part.last_synced_at[:10]} {part.last_synced_at[11:16]}" if part.last_synced_at else ""
    return (
        f"- {part.account} ({part.provider}) {part.state}{read}: {held}; gives {', '.join(part.gives)}.{problem}{bad}"
    )


def _agent_line(part: AgentPart) -> str:
    name = f"{part.name} ({part.agent_id})" if part.name else part.agent_id
    return f"- {name} of {part.account}: {counted(part.calls, 'call')}"
