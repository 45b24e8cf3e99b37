"""`search_transcripts`: what was said, as exact quotes."""

from dataclasses import asdict
from typing import Annotated, Any, Literal

import anyio.to_thread
from mcp.types import CallToolResult
from pydantic import Field

from call_logs.errors import BadQuery
from call_logs.model import Speaker, Turn, customer_number
from call_logs.store import Hit, SearchPage, SearchPosition
from call_logs.store.query import Query, parse
from call_logs.store.words import fold, tokens
from call_logs.text import defang, short
from call_logs.times import show_seconds
from call_logs.tools import App, Ctx, app_of
from call_logs.tools.answer import (
    DEFAULT_CHARACTERS,
    MOST_CHARACTERS,
    CoveragePart,
    Part,
    WindowPart,
    answer,
    coverage_of,
    coverage_words,
    dumped,
    fact,
    fitting,
    stamp,
    transcript_uri,
    window_part,
    window_words,
)
from call_logs.tools.filters import (
    AccountArg,
    ActionArg,
    AgentArg,
    Asked,
    CursorArg,
    DirectionArg,
    LegsArg,
    PhoneArg,
    SecondsArg,
    SinceArg,
    StatusArg,
    TestsArg,
    UntilArg,
    asked,
    check_cursor,
    read_cursor,
    write_cursor,
)

DEFAULT_LIMIT = 10
SNIPPET_CHARACTERS = 240
CONTEXT_CHARACTERS = 100


class HitPart(Part):
    """A call that matches, with the turn to quote and its neighbours."""

    call_id: str
    turn: int
    speaker: str
    offset_seconds: float | None = None
    started_at: str
    customer_number: str | None = None
    agent: str | None = None
    actions: list[str] | None = None
    snippet: str
    before: str | None = None
    after: str | None = None
    uri: str


class SearchTranscripts(Part):
    """The structured answer. `note` says what of the query was not searched as written, or how it was ranked."""

    hits: list[HitPart]
    total_calls: int
    next_cursor: str | None = None
    note: str | None = None
    window: WindowPart
    coverage: CoveragePart
    notice: str | None = None


async def search_transcripts(
    ctx: Ctx,
    query: Annotated[
        str,
        Field(description='words (all in the call), "a phrase" in one turn, prefix*, a OR b, -not'),
    ],
    speaker: Annotated[Speaker | None, Field(description="who said it")] = None,
    account: AccountArg = None,
    agent: AgentArg = None,
    phone: PhoneArg = None,
    since: SinceArg = None,
    until: UntilArg = None,
    direction: DirectionArg = None,
    status: StatusArg = None,
    min_duration_seconds: SecondsArg = None,
    max_duration_seconds: SecondsArg = None,
    action: ActionArg = None,
    include_tests: TestsArg = False,
    include_legs: LegsArg = False,
    sort: Literal["relevance", "newest"] = "relevance",
    limit: Annotated[int, Field(ge=1, le=50)] = DEFAULT_LIMIT,
    cursor: CursorArg = None,
) -> CallToolResult:
    """Search what was said in calls of all accounts: one hit a call, with the exact quote, its neighbours, the customer
    and the executed actions.

    Read more around a hit with get_call(call_id, around=turn). Try synonyms with OR when little is found.
    `coverage` says which calls could not be heard.
    """
    app = app_of(ctx)
    parsed = parse(query)
    place = read_cursor(cursor)
    question = asked(
        app,
        account=account,
        agent=agent,
        phone=phone,
        since=since,
        until=until,
        direction=direction,
        status=status,
        min_duration_seconds=min_duration_seconds,
        max_duration_seconds=max_duration_seconds,
        action=action,
        include_tests=include_tests,
        include_legs=include_legs,
        cursor=place,
        own=(query, speaker, sort),
    )
    check_cursor(place, "search_transcripts", question, "known", "score", "key", "weights")
    after = _position(place, parsed)
    await app.sync.freshen(question.which.accounts, question.window.since, question.window.until)
    return await anyio.to_thread.run_sync(_answer, app, question, parsed, speaker, sort, limit, after)


def _position(place: dict[str, Any] | None, query: Query) -> SearchPosition | None:
    if place is None:
        return None
    weights = tuple(float(weight) for weight in place["weights"])
    if weights and len(weights) != len(query.terms):
        raise BadQuery("This cursor is not readable. Take next_cursor as it is from an answer, or leave it out.")
    return SearchPosition(int(place["known"]), float(place["score"]), int(place["key"]), weights)


def _answer(
    app: App,
    question: Asked,
    query: Query,
    speaker: Speaker | None,
    sort: str,
    limit: int,
    after: SearchPosition | None,
) -> CallToolResult:
    page = app.store.search(query, question.which, speaker=speaker, sort=sort, limit=limit, after=after)
    shown = [_part(app, hit, query) for hit in page.hits]
    budget = DEFAULT_CHARACTERS if limit <= DEFAULT_LIMIT else MOST_CHARACTERS
    fit = fitting(shown, budget, lambda part: _line(part, 1) + _quote(part, 1), dumped)
    cursor = _cursor(question, page.position(page.hits[fit - 1])) if page.more or fit < len(page.hits) else None
    coverage = coverage_of(app, question.which, question.names)
    notes = [*query.notes, *_ranking_note(page, sort)]
    structured = SearchTranscripts(
        hits=shown[:fit],
        total_calls=page.total_calls,
        next_cursor=cursor,
        note=" ".join(notes) or None,
        window=window_part(question.window, app.zone),
        coverage=coverage,
    )
    calls = "1 call matches" if page.total_calls == 1 else f"{page.total_calls or 'No'} calls match"
    facts = [
        f"{calls} {window_words(question.window, app.zone)}" + (f"; {fit} shown, best turn each:" if fit else "."),
        *(_line(part, number) for number, part in enumerate(shown[:fit], 1)),
        *notes,
        f"next_cursor: {cursor}" if cursor else "",
        coverage_words(coverage),
    ]
    return answer(structured, facts, [_quote(part, number) for number, part in enumerate(shown[:fit], 1)])


def _cursor(question: Asked, position: SearchPosition) -> str:
    return write_cursor("search_transcripts", question, asdict(position))


def _ranking_note(page: SearchPage, sort: str) -> list[str]:
    if page.ranked_all or sort == "newest":
        return []
    return ["Ranked among the newest 1,000 matching calls; older ones are found with a shorter window or sort=newest."]


def _part(app: App, hit: Hit, query: Query) -> HitPart:
    turn = hit.turn
    return HitPart(
        call_id=hit.row.id,
        turn=turn.n,
        speaker=turn.speaker,
        offset_seconds=turn.offset_seconds,
        started_at=stamp(hit.row.started_at, app.zone) or "",
        customer_number=fact(customer_number(hit.row.direction, hit.row.from_number, hit.row.to_number)),
        agent=fact(hit.row.agent),
        actions=[str(kind) for kind in hit.row.actions] or None,
        snippet=defang(snippet(turn.text, query)),
        before=_neighbour(hit.before) if hit.before else None,
        after=_neighbour(hit.after) if hit.after else None,
        uri=transcript_uri(hit.row.id),
    )


def _neighbour(turn: Turn) -> str:
    return f"{turn.speaker}: {short(defang(turn.text), CONTEXT_CHARACTERS)}"


def snippet(text: str, query: Query) -> str:
    """The turn, or around its first match where it is long: an exact quote, with … where it is cut."""
    flat = " ".join(text.split())
    if len(flat) <= SNIPPET_CHARACTERS:
        return flat
    wanted = {term.tokens[0] for term in query.terms}
    words = flat.split(" ")
    begin = next(
        (n for n, word in enumerate(words) if any(fold(token).startswith(tuple(wanted)) for token in tokens(word))), 0
    )
    start = max(0, len(" ".join(words[:begin])) - SNIPPET_CHARACTERS // 3)
    start = flat.find(" ", start) + 1 if start else 0
    cut = short(flat[start:], SNIPPET_CHARACTERS - 1)
    return f"…{cut}" if start else cut


def _line(part: HitPart, number: int) -> str:
    at = f" {show_seconds(part.offset_seconds)}" if part.offset_seconds is not None else ""
    when = f"{part.started_at[:10]} {part.started_at[11:16]} {part.started_at[19:]}"
    done = " ".join(part.actions or ())
    known = [part.call_id, when, part.customer_number, part.agent, f"turn {part.turn}{at}", done]
    return f"{number}. {', '.join(word for word in known if word)}"


def _quote(part: HitPart, number: int) -> str:
    lines = [f"{number}. {part.before}"] if part.before else []
    lines.append(f"{number}. > {part.speaker}: {part.snippet}")
    lines += [f"{number}. {part.after}"] if part.after else []
    return "\n".join(lines)
