"""What every provider promises, asked of each by existing: a module in `providers/` and its tape are all it takes."""

import base64
import copy
import json
import logging
import os
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any, cast
from urllib.parse import quote

import pytest
from pydantic import SecretStr, ValidationError

from call_logs import config, providers
from call_logs.errors import (
    AuthFailed,
    ConfigError,
    ProviderError,
    RateLimited,
    Rejected,
    Unavailable,
    UnexpectedPayload,
)
from call_logs.logs import scrubbed
from call_logs.model import ActionKind, Call, Direction, Status
from call_logs.providers import FEATURES, AnyProvider, Page, Provider, Webhook, WebhookSettings, discover
from call_logs.providers import _http as http
from call_logs.text import clean_tree
from tape import (
    Asked,
    Fault,
    Replay,
    Reply,
    Tape,
    as_expected,
    as_unreadable,
    calls_of,
    finished,
    load,
    pages,
    played,
    slugs,
    unhurried,
)

CANARY = "canary-that-nobody-may-quote"
PROVEN_BY_REQUESTS = "server-side dates"
ENOUGH_REQUESTS = 60

every_provider = pytest.mark.parametrize("slug", sorted(set(discover()) & slugs()))
refused = pytest.mark.parametrize("status", [401, 403])


@pytest.fixture(autouse=True)
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What the retries would have slept."""
    return unhurried(monkeypatch)


def read(tape: Tape) -> Callable[[AnyProvider], Any]:
    """Reads the whole tape."""
    return lambda provider: pages(provider, tape.since)


def whole(tape: Tape, fault: Fault = lambda _: None) -> list[Page]:
    return played(Replay(tape, fault), read(tape))


def checked(provider: AnyProvider) -> Any:
    return provider.check()


def failure(replay: Replay, work: Callable[[AnyProvider], Any], kind: type[ProviderError]) -> ProviderError:
    """The error that the work ends with; it must be of this kind."""
    with pytest.raises(ProviderError) as raised:
        played(replay, work)
    assert type(raised.value) is kind
    return raised.value


def always(reply: Reply) -> Fault:
    return lambda _: reply


def at_first(*replies: Reply) -> Fault:
    """Answers the first requests so, and leaves the rest to the tape."""
    left = list(replies)
    return lambda _: left.pop(0) if left else None


def every_word(error: BaseException) -> str:
    """All that an error could show anyone: its text, its parts, and what it came from."""
    chain: list[str] = []
    one: BaseException | None = error
    while one is not None:
        chain += [str(one), repr(one), repr(vars(one))]
        one = one.__cause__ or (None if one.__suppress_context__ else one.__context__)
    return "\n".join(chain)


def secret_forms(tape: Tape) -> set[str]:
    """The secrets, also as they look quoted and in base64."""
    return {
        form
        for secret in tape.secrets
        for form in (secret, quote(secret, safe=""), base64.b64encode(secret.encode()).decode().rstrip("="))
    }


def leaks(text: str, tape: Tape) -> list[str]:
    return [form for form in secret_forms(tape) if form in text]


# Providers and tapes


def test_every_provider_has_a_tape_and_every_tape_a_provider() -> None:
    assert slugs() == set(discover())


@every_provider
def test_slug_is_the_module_name(slug: str) -> None:
    """Of ours; another distribution's entry point names its own."""
    provider = discover()[slug]
    module = provider.__module__
    assert provider.slug == slug == (module.rpartition(".")[2] if module.startswith("call_logs.") else slug)


class Package:
    """Another distribution's entry point."""

    name = "acme"

    def __init__(self, brings: object) -> None:
        self._brings = brings

    def load(self) -> object:
        if isinstance(self._brings, Exception):
            raise self._brings
        return self._brings


def discovered(monkeypatch: pytest.MonkeyPatch, brings: object) -> Mapping[str, type[AnyProvider]]:
    """What is found when another distribution brings this."""

    def entry_points(*, group: str) -> list[Package]:
        assert group == "call_logs.providers"
        return [Package(brings)]

    monkeypatch.setattr(providers, "entry_points", entry_points)
    return discover.__wrapped__()


def test_a_provider_of_another_distribution_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    acme = type("Acme", (Provider,), {"slug": "tried_out"})
    assert discovered(monkeypatch, acme) == {**discover(), "tried_out": acme}


def test_two_packages_that_claim_one_name_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="named highlevel"):
        discovered(monkeypatch, type("Acme", (Provider,), {"slug": "highlevel"}))


@pytest.mark.parametrize("brings", [ImportError(CANARY), AttributeError(CANARY), object()])
def test_a_package_that_cannot_be_loaded_is_named(monkeypatch: pytest.MonkeyPatch, brings: object) -> None:
    with pytest.raises(ConfigError, match="acme cannot be loaded") as raised:
        discovered(monkeypatch, brings)
    assert CANARY not in str(raised.value)


@every_provider
def test_a_tape_holds_two_pages_an_incomplete_call_and_an_unknown_word(slug: str) -> None:
    tape = load(slug)
    lists = Counter((one.method, one.path) for one in tape.exchanges if one.by == "calls")
    assert tape.source
    assert max(lists.values()) >= 2
    calls = calls_of(whole(tape))
    assert any(call.status is not Status.COMPLETED for call in calls)
    assert unknown_words(calls)


# What comes out


@every_provider
def test_recorded_payload_becomes_the_expected_calls(slug: str) -> None:
    tape = load(slug)
    found = whole(tape)
    unreadable = [one for page in found for one in page.unreadable]
    if os.environ.get("UPDATE_TAPES"):
        tape.update(calls_of(found), unreadable)
        tape = load(slug)
    assert [as_expected(call) for call in calls_of(found)] == tape.expected
    assert [as_unreadable(one) for one in unreadable] == tape.unreadable
    assert all((call.account, call.provider) == ("tape", slug) for call in calls_of(found))


@every_provider
def test_every_recorded_page_is_read_once(slug: str) -> None:
    replay = Replay(load(slug))
    played(replay, read(replay.tape))
    assert set(replay.plays().values()) == {1}
    assert all(asked.played is not None for asked in replay.asked)


@every_provider
def test_call_ids_are_unique(slug: str) -> None:
    ids = [call.id for call in calls_of(whole(load(slug)))]
    assert len(ids) == len(set(ids)) > 1


@every_provider
def test_one_call_read_by_its_id_is_the_call_listed(slug: str) -> None:
    tape = load(slug)
    listed = {call.vendor_call_id: call for call in calls_of(whole(tape))}
    single = [one for one in tape.exchanges if one.by == "get"]
    for one in single:
        vendor_call_id = next(found for found in listed if found in (*one.path.split("/"), *one.params.values()))
        call = cast("Call", played(Replay(tape), lambda provider, named=vendor_call_id: provider.get(named)))
        assert (call.id, call.started_at) == (f"tape/{vendor_call_id}", listed[vendor_call_id].started_at)
    assert played(Replay(tape), lambda provider: provider.get("nobodyknowsthisid")) is None


@every_provider
def test_fields_a_vendor_adds_later_are_ignored(slug: str) -> None:
    tape = load(slug)
    found = played(Replay(tape, changed=with_news), read(tape))
    assert [as_expected(call) for call in calls_of(found)] == tape.expected


def with_news(body: Any) -> Any:
    """The body with a field in every object that nobody has heard of."""
    if isinstance(body, dict):
        fields = cast("dict[str, Any]", body)
        return {name: with_news(value) for name, value in fields.items()} | {"addedLater": {"nested": ["new"]}}
    return [with_news(one) for one in cast("list[Any]", body)] if isinstance(body, list) else body


@every_provider
def test_words_that_nobody_documented_become_unknown_and_are_kept(slug: str) -> None:
    tape = load(slug)
    words = unknown_words(calls_of(whole(tape)))
    assert words
    assert all(word in json.dumps([one.body for one in tape.exchanges]) for word in words)


def unknown_words(calls: list[Call]) -> set[str]:
    statuses = {call.vendor_status or "" for call in calls if call.status is Status.UNKNOWN}
    kinds = {action.vendor_kind for call in calls for action in call.actions if action.kind is ActionKind.OTHER}
    return (statuses | kinds) - {"", "unknown"}


@every_provider
def test_gives_is_what_the_tape_proves(slug: str) -> None:
    tape = load(slug)
    calls = calls_of(whole(tape))
    proofs = {
        "transcript": any(call.turns for call in calls),
        "offsets": any(turn.offset_seconds is not None for call in calls for turn in call.turns),
        "actions": any(call.actions for call in calls),
        "summary": any(call.summary for call in calls),
        "direction": any(call.direction is not Direction.UNKNOWN for call in calls),
        "agent": any(call.agent_id for call in calls),
        "status": any(call.vendor_status for call in calls),
        "cost": any(call.cost is not None for call in calls),
        "recording": any(call.has_recording is not None for call in calls),
        PROVEN_BY_REQUESTS: PROVEN_BY_REQUESTS in tape.provider.gives,
    }
    assert set(proofs) == set(FEATURES)
    assert tape.provider.gives == tape.gives == {feature for feature, proven in proofs.items() if proven}
    assert bool(tape.provider.silent_because) != ("transcript" in tape.provider.gives)


@every_provider
def test_dates_are_sent_to_a_vendor_that_is_said_to_filter_by_them(slug: str) -> None:
    tape = load(slug)
    if PROVEN_BY_REQUESTS not in tape.provider.gives:
        return
    early, late = Replay(tape), Replay(tape)
    played(early, read(tape))
    latest = max(datetime.fromisoformat(call["started_at"]) for call in tape.expected)
    played(late, lambda provider: pages(provider, latest))
    assert {asked.raw_query for asked in early.asked} != {asked.raw_query for asked in late.asked}


# In which order, and from where


@every_provider
def test_pages_come_newest_first(slug: str) -> None:
    tape = load(slug)
    found = whole(tape)
    began = [call.started_at for call in calls_of(found)]
    assert began == sorted(began, reverse=True)
    reached = [page.reached for page in found if page.reached is not None]
    assert reached == sorted(reached, reverse=True)
    assert reached
    assert reached[-1] <= tape.since
    for n, page in enumerate(found):
        later = calls_of(found[n + 1 :])
        assert page.reached is None or all(call.started_at < page.reached for call in later)


@every_provider
@pytest.mark.parametrize("narrowed", [False, True])
def test_resuming_from_any_page_misses_no_call(slug: str, *, narrowed: bool) -> None:
    tape = load(slug)
    found = whole(tape)
    everything = {call.id for call in calls_of(found)}
    places = [n for n, page in enumerate(found) if page.resume is not None]
    assert places or len(found) == 1
    for n in places:
        until = found[n].reached if narrowed else None
        rest = played(
            Replay(tape), lambda provider, n=n, until=until: pages(provider, tape.since, until, found[n].resume)
        )
        assert {call.id for call in calls_of([*found[: n + 1], *rest])} == everything


@every_provider
def test_only_calls_of_the_window_come(slug: str) -> None:
    tape = load(slug)
    began = sorted(call.started_at for call in calls_of(whole(tape)))
    since, until = began[1], began[-1]
    found = played(Replay(tape), lambda provider: pages(provider, since, until))
    assert sorted(call.started_at for call in calls_of(found)) == [one for one in began if since <= one < until]


@every_provider
def test_the_same_page_forever_still_ends(slug: str) -> None:
    tape = load(slug)
    first = {one.path: one for one in reversed(tape.exchanges) if one.by == "calls"}

    def same(asked: Asked) -> Reply | None:
        assert len(replay.asked) < ENOUGH_REQUESTS
        one = first.get(asked.path)
        return Reply(one.status, one.body, one.headers) if one else None

    replay = Replay(tape, same)
    failure(replay, read(tape), UnexpectedPayload)
    assert len(replay.asked) < ENOUGH_REQUESTS


# Credentials


@every_provider
def test_credentials_never_leave_the_headers(slug: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    tape = load(slug)
    replay = Replay(tape)
    shown: list[str] = []

    async def all_of_it(provider: AnyProvider) -> None:
        await provider.check()
        found = await pages(provider, tape.since)
        calls = calls_of(found)
        await provider.get(calls[-1].vendor_call_id)
        shown.extend([call.model_dump_json() for call in calls] + [repr(found)])
        shown.extend(
            [f"{part!r} {part}" for part in (provider, provider.settings, provider.connection(), provider.api)]
        )
        shown.append(provider.settings.model_dump_json())

    played(replay, all_of_it)
    shown.append(repr(tape.account("http://127.0.0.1:1")))
    shown.extend(f"{asked.raw_path}?{asked.raw_query} {asked.query}" for asked in replay.asked)
    assert not leaks("\n".join([*shown, caplog.text, repr([vars(record) for record in caplog.records])]), tape)
    assert all(leaks(repr(asked.headers), tape) for asked in replay.asked if asked.method == "GET")


@every_provider
@pytest.mark.parametrize("status", [400, 401, 403, 404, 422, 429, 500, 200])
def test_no_error_quotes_a_credential_or_the_vendor(slug: str, status: int, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    tape = load(slug)
    echo = Reply(status, {"message": [CANARY, *tape.secrets], "error": CANARY}, {"x-echo": tape.secrets[0]})
    with pytest.raises(ProviderError) as raised:
        played(Replay(tape, always(echo)), read(tape))
    said = every_word(raised.value) + caplog.text + repr([vars(record) for record in caplog.records])
    assert not leaks(said, tape)
    assert CANARY not in said
    assert raised.value.problem.startswith("tape ")
    assert raised.value.next_step


@every_provider
def test_the_tape_knows_every_credential_of_its_settings(slug: str) -> None:
    tape = load(slug)
    settings = tape.account("http://127.0.0.1:1").settings
    held = [value.get_secret_value() for _, value in settings or () if isinstance(value, SecretStr)]
    assert held
    assert set(held) <= set(tape.secrets)


@every_provider
def test_check_passes_on_tape(slug: str) -> None:
    replay = Replay(load(slug))
    played(replay, checked)
    assert replay.asked


@every_provider
@refused
def test_refused_credentials_are_reported_at_once(slug: str, status: int, slept: list[float]) -> None:
    tape = load(slug)
    for work in (checked, read(tape)):
        replay = Replay(tape, always(Reply(status, {"message": "no"})))
        error = failure(replay, work, AuthFailed)
        assert len(replay.asked) == 1
        assert f"{slug}_".upper() in error.next_step
    assert not slept


@every_provider
def test_what_is_only_get_is_only_get(slug: str) -> None:
    tape = load(slug)
    replay = Replay(tape)

    async def all_of_it(provider: AnyProvider) -> frozenset[str]:
        await provider.check()
        for call in calls_of(await pages(provider, tape.since)):
            await provider.get(call.vendor_call_id)
        return provider.connection().posts

    posts = played(replay, all_of_it)
    assert {asked.method for asked in replay.asked} <= {"GET", "POST"}
    assert {asked.path for asked in replay.asked if asked.method != "GET"} <= posts


@every_provider
def test_an_id_cannot_change_host_path_or_tenant(slug: str) -> None:
    tape = load(slug)
    plain = "anordinaryid0123"
    usual = Replay(tape)
    played(usual, lambda provider: provider.get(plain))
    allowed = {(asked.method, asked.raw_path, asked.raw_query) for asked in usual.asked}

    def filled(text: str, odd: str) -> str:
        return text.replace(plain, quote(odd, safe=""))

    for odd in (
        *("../../contacts/abc", "x?locationId=OTHER", "x&locationId=OTHER", "a/b", "%2e%2e", "..", ".", ""),
        *("x" * 300, "x#y", "x%00", "x\n", "a\\b", "@127.0.0.2", "//127.0.0.2/x", "{id}", "ü", "x\ud800"),
    ):
        replay = Replay(tape)
        try:
            assert played(replay, lambda provider, odd=odd: provider.get(odd)) is None
        except ProviderError as error:
            assert type(error) in (Rejected, UnexpectedPayload)  # noqa: PT017 - either answer will do
        for asked in replay.asked:
            right = {(method, filled(path, odd), filled(query, odd)) for method, path, query in allowed}
            assert (asked.method, asked.raw_path, asked.raw_query) in right


@every_provider
def test_identifiers_among_the_settings_are_checked_like_ids(slug: str) -> None:
    tape = load(slug)
    settings = tape.account("http://127.0.0.1:1").settings
    assert settings is not None
    for name, value in settings:
        if name == "base_url" or not isinstance(value, str):
            continue
        for odd in ("../x", "x?y=z", "x/y", "x y", "", "x" * 300):
            with pytest.raises(ValidationError):
                tape.provider.settings_type.model_validate({**tape.settings, name: odd})


# Failures


@every_provider
def test_not_found_is_reported_at_once(slug: str, slept: list[float]) -> None:
    tape = load(slug)
    for work in (checked, read(tape)):
        replay = Replay(tape, always(Reply(404, {"message": "no"})))
        error = cast("Rejected", failure(replay, work, Rejected))
        assert (error.http_status, len(replay.asked)) == (404, 1)
    assert not slept


@every_provider
def test_outage_is_retried_then_reported(slug: str, slept: list[float]) -> None:
    tape = load(slug)
    replay = Replay(tape, always(Reply(503, {"message": "no"})))
    failure(replay, read(tape), Unavailable)
    assert len(replay.asked) == http.ATTEMPTS
    assert len(slept) == http.ATTEMPTS - 1
    assert all(0.5 * 2**n <= wait <= 30 for n, wait in enumerate(slept))


@every_provider
def test_a_passing_outage_costs_no_call(slug: str, slept: list[float]) -> None:
    tape = load(slug)
    found = whole(tape, at_first(Reply(500), Reply(502)))
    assert [as_expected(call) for call in calls_of(found)] == tape.expected
    assert len(slept) == 2


@every_provider
def test_rate_limit_waits_as_long_as_told(slug: str, slept: list[float]) -> None:
    tape = load(slug)
    found = whole(tape, at_first(Reply(429, headers={"retry-after": "7"}), Reply(503, headers={"retry-after": "11"})))
    assert slept == [7.0, 11.0]
    assert [as_expected(call) for call in calls_of(found)] == tape.expected


@every_provider
def test_a_rate_limit_that_stays_is_reported_with_its_wait(slug: str, slept: list[float]) -> None:
    tape = load(slug)
    limited = Reply(429, headers={"retry-after": "7"})
    error = cast("RateLimited", failure(Replay(tape, always(limited)), read(tape), RateLimited))
    assert error.retry_after == 7.0
    assert set(slept) == {7.0}


@every_provider
@pytest.mark.parametrize(
    "body", [f"<html>{CANARY}</html>".encode(), b"", [CANARY], CANARY, None, 7, {CANARY: CANARY}, {"message": CANARY}]
)
def test_a_body_without_calls_is_never_read_as_no_calls(slug: str, body: Any) -> None:
    tape = load(slug)
    error = failure(Replay(tape, always(Reply(200, body))), read(tape), UnexpectedPayload)
    assert CANARY not in every_word(error)


@every_provider
def test_unreadable_body_names_fields_and_quotes_nothing(slug: str) -> None:
    tape = load(slug)
    replay = Replay(tape, changed=with_lists_replaced)
    error = cast("UnexpectedPayload", failure(replay, read(tape), UnexpectedPayload))
    assert error.fields
    assert all(field in str(error) for field in error.fields[:5])
    assert all(re.fullmatch(r"[\w.-]+|the whole", field) for field in error.fields)
    assert CANARY not in every_word(error)


def with_lists_replaced(body: Any) -> Any:
    """The body with words where there were lists."""
    if isinstance(body, list):
        return CANARY
    fields = cast("dict[str, Any]", body)
    return {
        name: with_lists_replaced(value) if isinstance(value, dict | list) else value for name, value in fields.items()
    }


# What vendors post by themselves


def posting() -> list[str]:
    return sorted(slug for slug, provider in discover().items() if provider.webhook is not None and slug in slugs())


every_posting_provider = pytest.mark.parametrize("slug", posting())


def told(tape: Tape, payload: Any) -> Call | None:
    """The call that comes of a payload."""
    settings = tape.account("http://127.0.0.1:1").settings
    found = tape.provider.read_webhook(clean_tree(copy.deepcopy(payload)), "tape", settings)
    return found.call if found is not None else None


@every_provider
def test_who_declares_a_webhook_has_a_secret_for_it_and_a_documented_payload(slug: str) -> None:
    tape = load(slug)
    declared = tape.provider.webhook is not None
    assert declared == issubclass(tape.provider.settings_type, WebhookSettings)
    assert declared == bool(tape.webhooks)
    assert declared == any(posted.expected is not None for posted in tape.webhooks)


@every_posting_provider
@pytest.mark.parametrize(
    "secret", ["short", "x" * 31, "x" * 101, "a/secret?with=more#than-letters-and-digits", "ü" * 40]
)
def test_a_webhook_secret_that_could_be_guessed_or_would_break_the_address_is_refused(
    slug: str, secret: str, bare: pytest.MonkeyPatch
) -> None:
    tape = load(slug)
    for name, value in tape.settings.items():
        bare.setenv(f"{slug}_{name}".upper(), str(value))
    bare.setenv(f"{slug}_WEBHOOK_SECRET".upper(), secret)
    (account,) = config.load().accounts
    assert account.settings is None
    assert f"{slug}_WEBHOOK_SECRET".upper() in (account.problem or "")
    assert secret not in f"{account.problem} {account.next_step}"


@every_provider
def test_no_log_can_hold_a_secret_of_the_settings(slug: str, bare: pytest.MonkeyPatch) -> None:
    tape = load(slug)
    fields = tape.provider.settings_type.model_fields
    for name, value in tape.settings.items():
        bare.setenv(f"{slug}_{name}".upper(), str(value))
    (account,) = config.load().accounts
    held = [value.get_secret_value() for _, value in account.settings or () if isinstance(value, SecretStr)]
    assert len(held) == sum("SecretStr" in str(field.annotation) for field in fields.values())
    for secret in held:
        assert secret not in scrubbed(f"it is {secret} in a line")


@every_posting_provider
def test_settings_of_a_webhook_do_not_have_the_history_read_again(slug: str) -> None:
    tape = load(slug)
    plain = {name: value for name, value in tape.settings.items() if not name.startswith("webhook_")}
    without = replace(tape, settings=plain).account("http://127.0.0.1:1")
    with_them = tape.account("http://127.0.0.1:1")
    assert (without.tenant, without.scope) == (with_them.tenant, with_them.scope)


@every_posting_provider
def test_a_posted_payload_becomes_the_expected_call(slug: str) -> None:
    tape = load(slug)
    calls = [told(tape, posted.body) for posted in tape.webhooks]
    if os.environ.get("UPDATE_TAPES"):
        tape.update_webhooks(calls)
        tape = load(slug)
    assert [call and as_expected(call) for call in calls] == [posted.expected for posted in tape.webhooks]
    assert {(call.account, call.provider) for call in calls if call} == {("tape", slug)}
    assert not leaks("".join(call.model_dump_json() for call in calls if call), tape)


@every_posting_provider
def test_fields_a_vendor_adds_to_what_it_posts_are_ignored(slug: str) -> None:
    tape = load(slug)
    for posted in tape.webhooks:
        call = told(tape, with_news(posted.body))
        assert (call and as_expected(call)) == posted.expected


@every_posting_provider
def test_what_was_changed_on_its_way_is_not_the_vendors(slug: str) -> None:
    tape = load(slug)
    settings = tape.account("http://127.0.0.1:1").settings
    header = (tape.provider.webhook or Webhook("")).signature or ""
    for posted in tape.webhooks if header else ():
        assert tape.provider.signed(posted.delivery, settings)
        held = posted.headers[header]
        other = ("B" if held[0] == "A" else "A") + held[1:]
        for wrong in ("", "N/A", "A" * len(held), held[:-4], f"{held}AAAA", other, "é", "\x00"):
            changed = replace(posted.delivery, headers={**posted.headers, header: wrong})
            assert not tape.provider.signed(changed, settings)
        assert not tape.provider.signed(replace(posted.delivery, headers={}), settings)
        assert not tape.provider.signed(replace(posted.delivery, body=posted.text + b" "), settings)


@every_posting_provider
@pytest.mark.parametrize("odd", [None, 7, CANARY, [CANARY], {}, {CANARY: CANARY}, {"data": CANARY}, {"type": [CANARY]}])
def test_what_is_no_event_is_ignored_or_refused_and_quoted_nowhere(slug: str, odd: Any) -> None:
    tape = load(slug)
    try:
        assert told(tape, odd) is None
    except UnexpectedPayload as error:
        assert error.fields  # noqa: PT017 - either will do
        assert CANARY not in every_word(error)  # noqa: PT017


@every_posting_provider
@pytest.mark.parametrize("wrong", [None, 7, CANARY, [], [CANARY], {}, {CANARY: CANARY}, 1e308, -1, True, "x" * 5000])
def test_any_field_of_another_form_is_survived_or_named(slug: str, wrong: Any) -> None:
    tape = load(slug)
    for posted in tape.webhooks:
        for changed in with_each_replaced(posted.body, wrong):
            try:
                told(tape, changed)
            except UnexpectedPayload as error:
                assert error.fields  # noqa: PT017 - either will do
                assert CANARY not in every_word(error)  # noqa: PT017


def with_each_replaced(body: Any, by: Any) -> Iterator[Any]:
    """The body with one value after the other replaced, at every depth."""
    if isinstance(body, dict):
        fields = cast("dict[str, Any]", body)
        for name, value in fields.items():
            yield from ({**fields, name: inner} for inner in (by, *with_each_replaced(value, by)))
    elif isinstance(body, list):
        items = cast("list[Any]", body)
        for n, value in enumerate(items):
            yield from ([*items[:n], inner, *items[n + 1 :]] for inner in (by, *with_each_replaced(value, by)))


# Configuration


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """An environment in which nothing is configured."""
    for name in config.variables():
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(f"{name}_FILE", raising=False)
    return monkeypatch


@every_provider
def test_missing_settings_are_named_as_the_operator_sets_them(slug: str, bare: pytest.MonkeyPatch) -> None:
    tape = load(slug)
    fields = tape.provider.settings_type.model_fields
    required = [name for name, setting in fields.items() if setting.is_required()]
    assert required
    for missing in required if len(required) > 1 else ():
        for name in required:
            bare.setenv(f"{slug}_{name}".upper(), str(tape.settings[name]))
        bare.delenv(f"{slug}_{missing}".upper())
        (account,) = config.load().accounts
        variable = f"{slug}_{missing}".upper()
        assert account.name == slug
        assert variable in (account.problem or "")
        assert variable in (account.next_step or "")
        assert account.settings is None


@every_provider
def test_the_environment_is_enough_to_read_a_tape(slug: str, bare: pytest.MonkeyPatch) -> None:
    tape = load(slug)
    for name, value in tape.settings.items():
        bare.setenv(f"{slug}_{name}".upper(), str(value))
    bare.setenv(f"{slug}_BASE_URL".upper(), "http://127.0.0.1:1")
    (account,) = config.load().accounts
    assert account.problem is None
    provider = account.open()
    assert provider.connection().base_url == "http://127.0.0.1:1"
    finished(provider.aclose)
