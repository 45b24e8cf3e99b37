"""`search_transcripts`: what was said, as exact quotes."""

import functools
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Annotated, Any, Literal, NamedTuple

import anyio.to_thread
from mcp.types import CallToolResult
from pydantic import Field

from call_logs.errors import BadQuery
from call_logs.model import Speaker, Turn, customer_number
from call_logs.store import Hit, Occurrence, SearchPage, SearchPosition
from call_logs.store.query import MAX_TERMS, Query, parse
from call_logs.text import defang, short
from call_logs.times import show_seconds
from call_logs.tools import App, Ctx, app_of
from call_logs.tools.answer import (
    DEFAULT_CHARACTERS,
    MOST_CHARACTERS,
    PARSED,
    SAID_BY_ACTIONS,
    CoveragePart,
    Part,
    WindowPart,
    answer,
    coverage_of,
    coverage_words,
    dumped,
    estimated_tokens,
    fact,
    filters_part,
    fitting,
    stamp,
    transcript_uri,
    when_said,
    widen,
    window_part,
)
from call_logs.tools.cursors import Place, read_cursor, write_cursor
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
    asked_words,
)
from call_logs.tools.get_call import excerpt
from call_logs.tools.matching import Matching

DEFAULT_LIMIT = 10
MOST_TURNS = 5_000
"""Turns of a call that are looked at for further quotes."""

TOKENS_A_HIT = 80
"""An answer of ten hits is at most 800 tokens of text; with longer ids it shows fewer, and a cursor."""

TOKENS_RESERVED = 110
"""Of those, for cursor and boundary, and for what the estimate may miss."""


class _Form(NamedTuple):
    """Characters of a hit's quote and of its neighbours, and whether these stand in the text as well."""

    quote: int
    neighbour: int
    told: bool


_FORMS = (_Form(240, 100, told=True), _Form(160, 60, told=True), _Form(120, 60, told=False))
"""The longest first; an answer takes the first in which all its hits fit."""


class AlsoPart(Part):
    """Another turn of a call that says what was asked for."""

    turn: int
    speaker: str
    offset_seconds: float | None = None
    snippet: str


class HitPart(Part):
    """A call that matches, with the turn to quote and its neighbours; `also`: further turns, where they were asked for.

    `speakers_parsed`: as for `get_call`.
    """

    call_id: str
    turn: int
    speaker: str
    offset_seconds: float | None = None
    started_at: str
    citation: str
    customer_number: str | None = None
    agent: str | None = None
    actions: list[str] | None = None
    snippet: str
    before: str | None = None
    after: str | None = None
    also: list[AlsoPart] | None = None
    speakers_parsed: bool | None = None
    uri: str


class TermPart(Part):
    """One term of a query that found nothing: the calls of the filter that say it, and, where none does, what may have
    been meant among the words that were said."""

    term: str
    calls: int
    said: list[str] | None = None


class SearchTranscripts(Part):
    """The structured answer. `calls_searched`: the filter's calls that have a transcript. `note` says what of the query
    was not searched as written, how it was ranked, or what to try when nothing was found."""

    hits: list[HitPart]
    total_calls: int
    calls_searched: int
    next_cursor: str | None = None
    note: str | None = None
    terms: list[TermPart] | None = None
    filters: dict[str, str] | None = None
    window: WindowPart
    coverage: CoveragePart
    notice: str | None = None


async def search_transcripts(
    ctx: Ctx,
    query: Annotated[
        str,
        Field(description='words in any form (all in the call), "exact phrase" in one turn, prefix*, a OR b, -not'),
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
    per_call: Annotated[int, Field(ge=1, le=20, description="turns to quote of each call")] = 1,
    cursor: CursorArg = None,
) -> CallToolResult:
    """Search what was said in the calls of all accounts: one hit a call, best first, with the exact quote, a citation,
    the customer and the executed actions.

    Use list_calls to find calls by time, number or outcome instead. Read more around a hit with
    get_call(call_id, around=turn). People word things differently: join synonyms with OR.
    `coverage` says which calls could not be heard.
    """
    app = app_of(ctx)
    parsed = parse(query)
    place = read_cursor(cursor, "search_transcripts", 3, 3 + MAX_TERMS * 2)
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
        place=place,
        own=(query, speaker, sort),
    )
    if speaker is not None:
        question = replace(question, narrowing={**question.narrowing, "speaker": speaker})
    after = _after(place, parsed, sort)
    await app.sync.freshen(question.which.accounts, question.window.since, question.window.until)
    return await anyio.to_thread.run_sync(_answer, app, question, parsed, speaker, sort, limit, per_call, after)


def _after(place: Place | None, query: Query, sort: str) -> SearchPosition | None:
    if place is None:
        return None
    known, score, key, *weights = place.position
    if len(weights) != (len(query.terms) if sort == "relevance" else 0):
        raise BadQuery("This cursor is not readable. Take next_cursor as it is from an answer, or leave it out.")
    return SearchPosition(int(known), score, int(key), tuple(weights))


def _answer(
    app: App,
    question: Asked,
    query: Query,
    speaker: Speaker | None,
    sort: str,
    limit: int,
    per_call: int,
    after: SearchPosition | None,
) -> CallToolResult:
    page = app.store.search(query, question.which, speaker=speaker, sort=sort, limit=limit, after=after)
    coverage = coverage_of(
        app, question.which, question.names, acting=[hit.row.account for hit in page.hits if not hit.row.actions]
    )
    silent = coverage.missing_transcripts.count if coverage.missing_transcripts else 0
    searched = app.store.total(question.which) - silent
    terms = [] if page.total_calls else app.store.occurrences(query, question.which, speaker=speaker)
    notes = [
        *query.notes,
        *_ranking_note(page, sort),
        *_index_note(app),
        *_nothing_note(page, terms, question),
    ]
    notes += [PARSED] if any(hit.turn.parsed for hit in page.hits) else []
    match = "1 call matches" if page.total_calls == 1 else f"{page.total_calls or 'No'} calls match"
    head = f"{match}, of {searched} with a transcript, {asked_words(question, app.zone)}"
    behind = [*notes, coverage_words(coverage)]
    also = {hit.row.id: _also(app, hit, query, speaker, per_call - 1) for hit in page.hits if per_call > 1}
    shown, form = _fitting(
        app, page.hits, query, also, max(limit, DEFAULT_LIMIT) * per_call, "\n".join([head, *behind])
    )
    cut = page.more or len(shown) < len(page.hits)
    position = page.position(page.hits[len(shown) - 1]) if cut else None
    cursor = write_cursor(question.place("search_transcripts", _numbers(position))) if position else None
    structured = SearchTranscripts(
        hits=shown,
        total_calls=page.total_calls,
        calls_searched=searched,
        next_cursor=cursor,
        note=" ".join(notes) or None,
        terms=[TermPart(term=fact(term.term) or "", calls=term.calls, said=list(term.close) or None) for term in terms]
        or None,
        filters=filters_part(question.narrowing),
        window=window_part(question.window, app.zone),
        coverage=coverage,
    )
    facts = [
        head + (f"; {len(shown)} shown by best turn:" if shown else "."),
        *(_line(part, number) for number, part in enumerate(shown, 1)),
        f"next_cursor: {cursor}" if cursor else "",
        *behind,
    ]
    quotes = [line for number, part in enumerate(shown, 1) for line in _quote(part, number, form).split("\n")]
    quotes += [f"did you mean, for {fact(term.term)}: {', '.join(term.close)}" for term in terms if term.close]
    return answer(structured, facts, quotes)


def _also(app: App, hit: Hit, query: Query, speaker: Speaker | None, most: int) -> list[Turn]:
    """Further turns of the call that say what was asked for, at most so many, in their order."""
    held = excerpt(app, hit.row.id, 1, MOST_TURNS)
    turns = held.call.turns if held else ()
    others = [turn for turn in turns if turn.n != hit.turn.n and speaker in (None, turn.speaker)]
    return Matching(query, turns).turns(others, most)


def _fitting(
    app: App, hits: Sequence[Hit], query: Query, also: dict[str, list[Turn]], quotes: int, around: str
) -> tuple[list[HitPart], _Form]:
    """As many of the hits as the budget of so many quotes has room for beside what stands around them; the more, the
    shorter."""
    budget = TOKENS_A_HIT * quotes - estimated_tokens(around) - TOKENS_RESERVED
    characters = DEFAULT_CHARACTERS if quotes <= DEFAULT_LIMIT else MOST_CHARACTERS
    quotable = [_Quotable(app, hit, query, also.get(hit.row.id, ())) for hit in hits]
    parts: list[HitPart] = []
    form = _FORMS[0]
    for form in _FORMS:
        left = budget
        parts = []
        for hit in quotable:
            part = hit.part(form)
            left -= hit.tokens_around(part) + estimated_tokens(_quote(part, 1, form))
            if left < 0 and parts:
                break
            parts.append(part)
        if len(parts) == len(hits):
            break
    return parts[: fitting(parts, characters, dumped)], form


def _numbers(position: SearchPosition) -> tuple[float, ...]:
    return (position.known, position.score, position.key, *position.weights)


def _ranking_note(page: SearchPage, sort: str) -> list[str]:
    if page.ranked_all or sort == "newest":
        return []
    return ["Ranked among the newest 1,000 matching calls; older ones are found with a shorter window or sort=newest."]


def _index_note(app: App) -> list[str]:
    done = app.store.index_progress()
    if done is None:
        return []
    return [
        f"The index is being built anew for this version ({done:.0%}); until then some forms of words are not found."
    ]


def _nothing_note(page: SearchPage, terms: Sequence[Occurrence], question: Asked) -> Iterator[str]:
    """Why nothing was found, and what to try."""
    if page.total_calls:
        return
    if len(terms) > 1:
        counts = ", ".join(f"{fact(term.term)} {term.calls}" for term in terms)
        yield f"Calls with each by itself: {counts}."
        if sum(term.calls > 0 for term in terms) > 1:
            yield "Join them with OR to see those."
    yield widen(question.narrowing) or "Try other words with OR, or a prefix*."
    yield "Only what was said is searched, not summaries or extracted values."


class _Quotable:
    """A hit, to be told in any form; what is the same in all of them is looked up once."""

    def __init__(self, app: App, hit: Hit, query: Query, also: Sequence[Turn]) -> None:
        row, turn = hit.row, hit.turn
        self._quote = Quote(turn, query)
        self._before, self._after = _Neighbour.of(hit.before), _Neighbour.of(hit.after)
        self._also = [(one, Quote(one, query)) for one in also]
        self._around: int | None = None
        self._facts: dict[str, Any] = {
            "call_id": row.id,
            "turn": turn.n,
            "speaker": turn.speaker,
            "offset_seconds": turn.offset_seconds,
            "started_at": stamp(row.started_at, app.zone) or "",
            "citation": f"{row.account} · {when_said(row, turn.offset_seconds, app.zone, app.now())}",
            "customer_number": fact(customer_number(row.direction, row.from_number, row.to_number)),
            "agent": fact(row.agent),
            "actions": [str(kind) for kind in row.actions] or None,
            "speakers_parsed": turn.parsed or None,
            "uri": transcript_uri(row.id),
        }

    def tokens_around(self, part: HitPart) -> int:
        """About how many tokens there are beside its quotes, which are the same in every form of it."""
        if self._around is None:
            self._around = estimated_tokens(_line(part, 1)) + 1
        return self._around

    def part(self, form: _Form) -> HitPart:
        """The hit as long as this form has it."""
        others = [
            AlsoPart(
                turn=one.n,
                speaker=one.speaker,
                offset_seconds=one.offset_seconds,
                snippet=defang(quote.cut(form.quote)),
            )
            for one, quote in self._also
        ]
        return HitPart(
            **self._facts,
            snippet=defang(self._quote.cut(form.quote)),
            before=self._before and self._before.cut(form.neighbour),
            after=self._after and self._after.cut(form.neighbour),
            also=others or None,
        )


class _Neighbour(NamedTuple):
    """The turn before or after the one that is quoted."""

    speaker: str
    text: str

    @classmethod
    def of(cls, turn: Turn | None) -> "_Neighbour | None":
        return cls(turn.speaker, defang(turn.text)) if turn is not None else None

    def cut(self, characters: int) -> str:
        return f"{self.speaker}: {short(self.text, characters)}"


class Quote:
    """A turn, to be quoted around the first match of a query."""

    def __init__(self, turn: Turn, query: Query) -> None:
        """Nothing is looked for yet."""
        self._turn = turn
        self._query = query
        self._flat = " ".join(turn.text.split())

    def cut(self, characters: int) -> str:
        """The turn, or as much of it as the characters allow: an exact quote, with … where it is cut."""
        if len(self._flat) <= characters:
            return self._flat
        start = max(0, self._first_match - characters // 3)
        start = self._flat.find(" ", start) + 1 if start else 0
        cut = short(self._flat[start:], characters - 1)
        return f"…{cut}" if start else cut

    @functools.cached_property
    def _first_match(self) -> int:
        """Where the first word begins that the query may have meant."""
        matching = Matching(self._query, [self._turn])
        words = self._flat.split(" ")
        begin = next((n for n, word in enumerate(words) if matching.begins(word)), 0)
        return len(" ".join(words[:begin]))


def _line(part: HitPart, number: int) -> str:
    # The id stands for the account, the first word of the citation.
    when = part.citation.partition(" · ")[2]
    done = " ".join(kind for kind in part.actions or () if kind not in SAID_BY_ACTIONS)
    known = [part.call_id, when, f"turn {part.turn}", part.customer_number, part.agent, done]
    return f"{number}. {' · '.join(word for word in known if word)}"


def _quote(part: HitPart, number: int, form: _Form) -> str:
    said = f"{part.speaker}: {part.snippet}"
    others = [f"also turn {one.turn}{_at(one.offset_seconds)}, {one.speaker}: {one.snippet}" for one in part.also or ()]
    if not form.told:
        return "\n".join([f"{number}. {said}", *others])
    lines = [part.before or "(the call begins)", f"> {said}", part.after or "(the call ends)", *others]
    return f"{number}. " + "\n".join(lines)


def _at(offset_seconds: float | None) -> str:
    return f" at {show_seconds(offset_seconds)}" if offset_seconds is not None else ""
