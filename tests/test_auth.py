"""Who is let in, as whom, and to what: tokens of the file, tokens of an issuer, scopes, accounts."""

import json
import os
import stat
import sys
import time
from collections.abc import Callable, Generator
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp import Client, MCPError

from call_logs.app import build_server
from call_logs.config import OAuth
from call_logs.errors import ConfigError, Unavailable
from call_logs.http.limits import LEAST_AT_ONCE, Limits
from call_logs.http.oauth import AGAIN_SECONDS, KEYS_SECONDS, STALE_SECONDS
from call_logs.http.oauth import Issuer as Checking
from call_logs.http.tokens import PREFIX, InvalidToken, Tokens
from call_logs.principals import LOCAL, NOBODY, Principal, Scope, answering, asking
from call_logs.prompts import NAMES as PROMPTS
from call_logs.store.sqlite import SQLiteStore
from call_logs.tools import all_tools
from call_logs.views import VIEWS, address
from issuer import AUDIENCE, EC, OTHER_RSA, Issuer, ec_key, issuing, rsa_key
from team import ERAS, LEGACY, MODERN, Team, account, call, configured, serving_team, word

CALLS_ONLY = (Scope.CALLS,)


@pytest.fixture(scope="module")
def team(tmp_path_factory: pytest.TempPathFactory) -> Generator[Team]:
    """Three accounts, and a tokens' file."""
    folder = tmp_path_factory.mktemp("team")
    with serving_team(configured(folder, 3)) as running:
        running.token("first")
        yield running


@pytest.fixture(scope="module")
def oauth(tmp_path_factory: pytest.TempPathFactory) -> Generator[tuple[Team, Issuer]]:
    """Three accounts, and an issuer."""
    with issuing() as issuer:
        settings = OAuth(issuer.origin, AUDIENCE)
        with serving_team(configured(tmp_path_factory.mktemp("oauth"), 3, oauth=settings)) as running:
            yield running, issuer


# -- the issuer's tokens ------------------------------------------------------------------------------------------

Made = Callable[[Issuer], str | None]

FORGED: dict[str, tuple[Made, int, str]] = {
    "none": (lambda _: None, 401, "needs a token"),
    "garbage": (lambda _: "garbage", 401, "neither a token of this server nor"),
    "alg=none": (lambda one: one.token(None, "none"), 401, "not signed with"),
    "HS256 with the public key": (lambda one: one.signed_with_the_public_key(), 401, "not signed with"),
    "wrong key": (lambda one: one.token(OTHER_RSA), 401, "signature"),
    "unknown kid": (lambda one: one.token(kid="rsa-9"), 401, "key is none of the issuer's"),
    "expired": (lambda one: one.token(exp=int(time.time()) - 31), 401, "expired"),
    "nbf ahead": (lambda one: one.token(nbf=int(time.time()) + 60), 401, "not valid yet"),
    "wrong iss": (lambda one: one.token(iss="https://evil.example"), 401, "another issuer"),
    "wrong aud": (lambda one: one.token(aud="https://other.example/mcp"), 401, "another server"),
    "missing sub": (lambda one: one.token(sub=None), 401, "lacks one of the claims"),
    "missing scope": (lambda one: one.token(scope="calls:read"), 403, "needs the scope transcripts:read"),
    # and some more
    "no kid": (lambda one: one.token(kid=None), 401, "names no key"),
    "no exp": (lambda one: one.token(exp=None), 401, "lacks one of the claims"),
    "no iat": (lambda one: one.token(iat=None), 401, "lacks one of the claims"),
    "no aud": (lambda one: one.token(aud=None), 401, "lacks one of the claims"),
    "no iss": (lambda one: one.token(iss=None), 401, "lacks one of the claims"),
    "empty sub": (lambda one: one.token(sub=""), 401, "names nobody"),
    "RS384": (lambda one: one.token(algorithm="RS384"), 401, "not signed with"),
    "a key of the other kind": (lambda one: one.token(kid="ec-1"), 401, "key is for something else"),
    "another kind of token": (lambda one: one.token(header={"typ": "logout+jwt"}), 401, "no access token"),
    "one bit changed": (lambda one: one.token()[:-8] + "AAAAAAAA", 401, "signature"),
    "iat ahead": (lambda one: one.token(iat=int(time.time()) + 90), 401, ""),
    "too long": (lambda one: one.token(padding="x" * 20_000), 401, "too long"),
    "no scope at all": (lambda one: one.token(scope=None), 403, "needs the scope"),
}


@pytest.mark.parametrize("era", ERAS)
@pytest.mark.parametrize("case", FORGED)
def test_a_forged_or_wrong_token_is_refused(oauth: tuple[Team, Issuer], case: str, era: str) -> None:
    team, issuer = oauth
    make, status, words = FORGED[case]
    refused = team.ask("tools/call", {"name": "search_transcripts", "arguments": {"query": word(0)}}, make(issuer), era)
    assert refused.status == status
    assert words in refused.error
    challenge = refused.headers["www-authenticate"]
    assert challenge.startswith("Bearer ")
    assert 'resource_metadata="https://calls.example.com/.well-known/oauth-protected-resource/mcp"' in challenge
    expected = {401: 'error="invalid_token"', 403: 'error="insufficient_scope"'}[status]
    assert (expected in challenge) == (case != "none")
    assert 'scope="' in challenge
    assert word(0) not in json.dumps(refused.message)


GOOD: dict[str, Made] = {
    "RS256": lambda one: one.token(),
    "ES256": lambda one: one.token(EC, "ES256", "ec-1"),
    "one of several audiences": lambda one: one.token(aud=["https://other.example", AUDIENCE]),
    "scp as a list": lambda one: one.token(scope=None, scp=["calls:read", "transcripts:read"]),
    "expired within the leeway": lambda one: one.token(exp=int(time.time()) - 20),
    "at+jwt": lambda one: one.token(header={"typ": "at+jwt"}),
}


@pytest.mark.parametrize("case", GOOD)
def test_a_good_token_is_let_in(oauth: tuple[Team, Issuer], case: str) -> None:
    team, issuer = oauth
    found = team.call("search_transcripts", GOOD[case](issuer), query=word(1))
    assert found.status == 200
    assert [hit["call_id"].partition("/")[0] for hit in found.result["structuredContent"]["hits"]] == [account(1)] * 5


def test_nothing_in_a_token_says_where_its_key_is(oauth: tuple[Team, Issuer]) -> None:
    team, issuer = oauth
    before = len(issuer.asked)
    header = {"jku": f"{issuer.origin}/evil", "x5u": f"{issuer.origin}/evil", "jwk": rsa_key("x", OTHER_RSA)}
    assert team.call("list_calls", issuer.token(OTHER_RSA, header=header)).status == 401
    assert "/evil" not in issuer.asked[before:]


def test_a_client_learns_where_the_issuer_is(oauth: tuple[Team, Issuer]) -> None:
    team, issuer = oauth
    found = team.client.get("/.well-known/oauth-protected-resource/mcp")
    assert found.status_code == 200
    assert found.json()["resource"] == AUDIENCE
    assert found.json()["authorization_servers"] == [issuer.origin]
    assert found.json()["scopes_supported"] == ["calls:read", "transcripts:read", "admin"]


def checked(issuer: Issuer, work: Callable[[Checking, list[float]], Any], **settings: Any) -> Any:
    """Run something with a checker whose clock is a list's only number."""
    clock = [1000.0]
    checking = Checking(OAuth(issuer.origin, AUDIENCE, **settings), lambda: clock[0])

    async def run() -> Any:
        try:
            return await work(checking, clock)
        finally:
            await checking.aclose()

    return anyio.run(run)


def test_unknown_keys_make_the_issuer_be_asked_once_in_a_while_only() -> None:
    async def work(checking: Checking, clock: list[float]) -> None:
        for _ in range(20):
            with pytest.raises(InvalidToken, match="none of the issuer"):
                await checking.principal(issuer.token(kid="unknown"))
        assert issuer.asked.count("/keys") == 1
        issuer.keys.append(rsa_key("rsa-2", OTHER_RSA))  # the issuer rotates its keys
        clock[0] += AGAIN_SECONDS
        assert (await checking.principal(issuer.token(OTHER_RSA, kid="rsa-2"))).name == "oauth:dana"
        assert issuer.asked.count("/keys") == 2

    with issuing() as issuer:
        checked(issuer, work)


def test_a_withdrawn_key_is_not_trusted_for_longer_than_an_hour() -> None:
    async def work(checking: Checking, clock: list[float]) -> None:
        await checking.principal(issuer.token())
        issuer.keys[:] = [ec_key("ec-1")]
        await checking.principal(issuer.token())
        clock[0] += KEYS_SECONDS + 1
        with pytest.raises(InvalidToken, match="none of the issuer"):
            await checking.principal(issuer.token())

    with issuing() as issuer:
        checked(issuer, work)


def test_an_issuer_that_is_down_locks_nobody_out_for_a_day() -> None:
    async def work(checking: Checking, clock: list[float]) -> None:
        await checking.principal(issuer.token())
        issuer.down = True
        clock[0] += STALE_SECONDS - 1
        await checking.principal(issuer.token())
        clock[0] += AGAIN_SECONDS
        with pytest.raises(Unavailable, match="issuer's keys cannot be read"):
            await checking.principal(issuer.token())

    with issuing() as issuer:
        checked(issuer, work)


@pytest.mark.parametrize(
    "metadata", [{"issuer": "https://evil.example"}, {"jwks_uri": "https://evil.example/keys"}, {"jwks_uri": "/keys"}]
)
def test_keys_are_read_only_from_the_issuers_own_host(metadata: dict[str, str]) -> None:
    async def work(checking: Checking, _: list[float]) -> None:
        with pytest.raises(Unavailable):
            await checking.principal(issuer.token())
        assert "/keys" not in issuer.asked

    with issuing() as issuer:
        issuer.metadata = metadata
        checked(issuer, work)


def test_an_issuer_that_cannot_be_asked_is_not_the_tokens_fault(tmp_path: Path) -> None:
    with issuing() as issuer:
        issuer.down = True
        with serving_team(configured(tmp_path, 1, oauth=OAuth(issuer.origin, AUDIENCE))) as team:
            refused = team.call("list_calls", issuer.token())
    assert refused.status == 503
    assert refused.headers["retry-after"]
    assert "CALL_LOGS_OAUTH_ISSUER" in refused.error


@pytest.mark.parametrize("weak", [{"use": "enc"}, {"alg": "RS512"}, {"kty": "oct", "k": "AAAA"}])
def test_a_key_for_something_else_checks_no_token(weak: dict[str, str]) -> None:
    async def work(checking: Checking, _: list[float]) -> None:
        with pytest.raises(InvalidToken, match="something else"):
            await checking.principal(issuer.token())

    with issuing() as issuer:
        issuer.keys[:] = [rsa_key("rsa-1") | weak]
        checked(issuer, work)


def test_a_claim_names_the_accounts_where_one_is_configured() -> None:
    async def work(checking: Checking, _: list[float]) -> None:
        some = await checking.principal(issuer.token(teams=["client-01", "client-02", 7]))
        assert some.accounts == {"client-01", "client-02"}
        assert (await checking.principal(issuer.token(teams="client-01"))).accounts == {"client-01"}
        useless: list[Any] = [None, [], 3, {"client-01": True}]
        for nothing in useless:
            with pytest.raises(InvalidToken, match="names no account"):
                await checking.principal(issuer.token(teams=nothing))

    with issuing() as issuer:
        checked(issuer, work, accounts_claim="teams")


def test_without_such_a_claim_configured_a_token_sees_every_account() -> None:
    async def work(checking: Checking, _: list[float]) -> None:
        assert (await checking.principal(issuer.token(teams=["client-01"]))).accounts is None

    with issuing() as issuer:
        checked(issuer, work)


# -- tokens of the file -------------------------------------------------------------------------------------------


def test_a_token_is_kept_as_a_hash_in_a_file_that_only_its_owner_reads(tmp_path: Path) -> None:
    path = tmp_path / "folder/tokens.json"
    token = Tokens(path).add("support", ["a"], [Scope.CALLS])
    assert token.startswith(PREFIX)
    assert len(token) - len(PREFIX) >= 43  # 32 bytes
    text = path.read_text(encoding="utf-8")
    assert token not in text
    assert token[len(PREFIX) :] not in text
    if sys.platform != "win32":
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [file.name for file in path.parent.iterdir()] == ["tokens.json"]
    found = Tokens(path).principal(token)
    assert found is not None
    assert (found.name, found.accounts, found.scopes) == ("support", {"a"}, {Scope.CALLS})


def test_a_revoked_token_is_refused_from_the_next_request_on(team: Team) -> None:
    token = team.token("leaver")
    assert team.call("list_accounts", token).status == 200
    team.tokens.revoke("leaver")
    refused = team.call("list_accounts", token)
    assert refused.status == 401
    assert "unknown or was revoked" in refused.error


def test_a_new_token_is_let_in_without_a_restart(team: Team) -> None:
    assert team.call("list_accounts", team.token("joiner")).status == 200


def test_a_tokens_file_that_cannot_be_read_lets_nobody_in(tmp_path: Path) -> None:
    tokens = Tokens(tmp_path / "tokens.json")
    token = tokens.add("support", None, [Scope.CALLS])
    assert tokens.principal(token) is not None
    (tmp_path / "tokens.json").write_text('{"tokens": {"support": ')
    assert tokens.principal(token) is None
    with pytest.raises(ConfigError, match="Restore it"):
        tokens.add("another", None, [Scope.CALLS])
    (tmp_path / "tokens.json").unlink()
    assert tokens.principal(token) is None


@pytest.mark.skipif(sys.platform == "win32", reason="rights of files are the profile's there")
def test_a_tokens_file_that_others_may_write_lets_nobody_in(tmp_path: Path) -> None:
    path = tmp_path / "tokens.json"
    tokens = Tokens(path)
    token = tokens.add("support", None, [Scope.CALLS])
    path.chmod(0o666)
    os.utime(path, ns=(1, 1))
    assert tokens.principal(token) is None
    with pytest.raises(ConfigError, match="chmod 600"):
        tokens.read()


def test_two_commands_do_not_lose_each_others_tokens(tmp_path: Path) -> None:
    path = tmp_path / "tokens.json"
    Tokens(path).add("one", None, [Scope.CALLS])
    (tmp_path / "tokens.json.new").write_text("")  # the other command is at it
    with pytest.raises(ConfigError, match="Another command"):
        Tokens(path).add("two", None, [Scope.CALLS])
    assert list(Tokens(path).read()) == ["one"]


@pytest.mark.parametrize("name", ["", "Support", "a b", "../x", "local", "nobody", "oauth:dana", "x" * 41])
def test_a_name_that_could_be_taken_for_another_principal_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="name"):
        Tokens(tmp_path / "tokens.json").add(name, None, [Scope.CALLS])


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"authorization": "Basic c3VwcG9ydDp4"},
        {"authorization": "Bearer"},
        {"x-api-key": "TOKEN"},
        {"authorization": "TOKEN"},
        {"cookie": "authorization=TOKEN"},
    ],
)
def test_a_token_counts_in_the_authorization_header_only(team: Team, headers: dict[str, str]) -> None:
    token = team.token(f"header-{time.monotonic_ns()}")
    sent = {name: value.replace("TOKEN", token) for name, value in headers.items()}
    assert team.ask("tools/list", headers=sent).status == 401


def test_a_token_in_the_address_is_not_read(team: Team) -> None:
    token = team.token("address")
    for name in ("token", "access_token", "authorization"):
        assert team.client.post(f"/mcp?{name}={token}", json={}).status_code == 401


def test_two_authorization_headers_are_none(team: Team) -> None:
    token = team.token("twice")
    pair = [("authorization", f"Bearer {token}"), ("authorization", "Bearer other")]
    assert team.client.post("/mcp", json={}, headers=pair).status_code == 401


def test_the_first_token_ends_that_anyone_on_this_machine_may_ask(tmp_path: Path) -> None:
    """And the last one's revocation does not begin it again."""
    with serving_team(configured(tmp_path, 1)) as team:
        assert team.call("list_accounts").status == 200
        token = team.token("support")
        assert team.call("list_accounts").status == 401
        assert team.call("list_accounts", token).status == 200
        team.tokens.revoke("support")
        assert team.call("list_accounts").status == 401
        (tmp_path / "tokens.json").unlink()
        assert team.call("list_accounts").status == 401


def test_a_tokens_file_that_is_named_and_missing_lets_nobody_in(tmp_path: Path) -> None:
    """A mount that failed must not open the door."""
    with serving_team(configured(tmp_path, 1, tokens_required=True)) as team:
        assert team.call("list_accounts").status == 401
        assert team.call("list_accounts", team.token("support")).status == 200


# -- scopes -------------------------------------------------------------------------------------------------------

ASKED: dict[str, tuple[Scope, str, dict[str, Any]]] = {
    "search_transcripts": (
        Scope.TRANSCRIPTS,
        "tools/call",
        {"name": "search_transcripts", "arguments": {"query": word(0)}},
    ),
    "list_calls": (Scope.CALLS, "tools/call", {"name": "list_calls", "arguments": {"limit": 1}}),
    "list_calls with_summary": (
        Scope.TRANSCRIPTS,
        "tools/call",
        {"name": "list_calls", "arguments": {"with_summary": True}},
    ),
    "list_calls with_summary, as a word": (
        Scope.TRANSCRIPTS,
        "tools/call",
        {"name": "list_calls", "arguments": {"with_summary": "true"}},
    ),
    "list_calls without summary": (
        Scope.CALLS,
        "tools/call",
        {"name": "list_calls", "arguments": {"with_summary": False}},
    ),
    "get_call": (Scope.TRANSCRIPTS, "tools/call", {"name": "get_call", "arguments": {"call_id": call(0, 0).id}}),
    "summarize_call_actions": (
        Scope.TRANSCRIPTS,
        "tools/call",
        {"name": "summarize_call_actions", "arguments": {"group_by": "kind"}},
    ),
    "count_calls": (Scope.CALLS, "tools/call", {"name": "count_calls", "arguments": {"group_by": ["agent"]}}),
    "list_accounts": (Scope.CALLS, "tools/call", {"name": "list_accounts", "arguments": {}}),
    "transcript": (Scope.TRANSCRIPTS, "resources/read", {"uri": f"calls://{call(0, 0).id}/transcript"}),
    "transcript.json": (Scope.TRANSCRIPTS, "resources/read", {"uri": f"calls://{call(0, 0).id}/transcript.json"}),
    "call.json": (Scope.TRANSCRIPTS, "resources/read", {"uri": f"calls://{call(0, 0).id}/call.json"}),
    **{
        name: (
            Scope.TRANSCRIPTS,
            "prompts/get",
            {"name": name, "arguments": {"call_id": "a/b"} if name == "review_call" else {}},
        )
        for name in PROMPTS
    },
    "completion": (
        Scope.CALLS,
        "completion/complete",
        {
            "ref": {"type": "ref/resource", "uri": "calls://{account}/{call}/transcript"},
            "argument": {"name": "account", "value": ""},
        },
    ),
}

HELD = {
    "none": (),
    "calls": CALLS_ONLY,
    "transcripts": (Scope.TRANSCRIPTS,),
    "admin": (Scope.ADMIN,),
    "all": tuple(Scope),
}


def test_the_table_of_scopes_names_every_tool_and_prompt() -> None:
    assert {tool.name for tool in all_tools()} | set(PROMPTS) <= set(ASKED)


@pytest.mark.parametrize("era", ERAS)
@pytest.mark.parametrize("holds", HELD)
def test_each_question_needs_its_scope(team: Team, holds: str, era: str) -> None:
    """Missing: 403 and the scope's name, whatever the revision; held: an answer."""
    token = team.token(f"{holds}-{era}".replace(".", ""), scopes=HELD[holds])
    for what, (scope, method, params) in ASKED.items():
        got = team.ask(method, params, token, era)
        if scope in HELD[holds]:
            assert got.status == 200, what
            assert "result" in got.message, (what, got.message)
            assert not got.result.get("isError"), (what, got.message)
        else:
            assert got.status == 403, what
            assert f"needs the scope {scope}" in got.error
            assert got.message["id"] == 1
            assert 'error="insufficient_scope"' in got.headers["www-authenticate"]
            assert str(scope) in got.headers["www-authenticate"]
            assert word(0) not in json.dumps(got.message)


@pytest.mark.parametrize("era", ERAS)
def test_lists_show_what_the_principal_may_use(team: Team, era: str) -> None:
    def names(token: str, method: str, key: str) -> list[str]:
        return [one["name"] for one in team.ask(method, None, token, era).result[key]]

    calls = team.token(f"lists-calls-{era}", scopes=CALLS_ONLY)
    both = team.token(f"lists-both-{era}")
    assert names(calls, "tools/list", "tools") == ["list_calls", "count_calls", "list_accounts"]
    assert names(both, "tools/list", "tools") == [tool.name for tool in all_tools()]
    assert names(calls, "prompts/list", "prompts") == []
    assert names(both, "prompts/list", "prompts") == list(PROMPTS)
    assert names(calls, "resources/list", "resources") == []
    assert names(calls, "resources/templates/list", "resourceTemplates") == []
    assert len(names(both, "resources/list", "resources")) == 15


@pytest.mark.parametrize("era", ERAS)
def test_views_hold_no_call_and_need_no_transcripts(team: Team, era: str) -> None:
    token = team.token(f"views-{era}", scopes=CALLS_ONLY)
    for view in VIEWS.values():
        got = team.ask("resources/read", {"uri": address(view)}, token, era)
        assert got.status == 200
        assert "text/html" in got.result["contents"][0]["mimeType"]
    assert team.ask("resources/read", {"uri": address("call")}, team.token(f"views-no-{era}", scopes=())).status == 403


@pytest.mark.anyio
async def test_a_scope_is_needed_whatever_way_a_question_comes(tmp_path: Path) -> None:
    """Not only where HTTP says its status: the protocol itself asks."""
    server = build_server(configured(tmp_path, 1))
    with answering(Principal("calls", None, frozenset(CALLS_ONLY))):
        async with Client(server) as client:
            assert len((await client.list_tools()).tools) == 3
            assert not (await client.call_tool("list_calls", {})).is_error
            for asked in (
                client.call_tool("search_transcripts", {"query": word(0)}),
                client.call_tool("list_calls", {"with_summary": True}),
                client.read_resource(f"calls://{call(0, 0).id}/transcript"),
                client.get_prompt("missed_calls", {}),
            ):
                with pytest.raises(MCPError, match="needs the scope transcripts:read"):
                    await asked


def test_a_batch_hides_no_question(team: Team) -> None:
    token = team.token("batch", scopes=CALLS_ONLY)
    params = ASKED["search_transcripts"][2]
    batch = [
        {"jsonrpc": "2.0", "id": 1, "method": "ping"},
        {"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": params},
    ]
    headers = {"authorization": f"Bearer {token}", "accept": "application/json, text/event-stream"}
    got = team.client.post("/mcp", json=batch, headers=headers)
    assert got.status_code == 403
    assert word(0) not in got.text


def test_over_stdio_whoever_started_the_server_may_do_everything() -> None:
    assert asking() is LOCAL
    assert set(Scope) == LOCAL.scopes
    with answering(NOBODY):
        assert asking() is NOBODY
    assert asking() is LOCAL


# -- accounts -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("era", ERAS)
def test_a_principal_reaches_nothing_of_another_account(team: Team, era: str) -> None:
    """Ids, addresses, filters, completions, lists, prompts: each is answered as if the other account were not there."""
    mine = team.token(f"mine-{era}", [1])
    theirs = call(2, 0).id

    def tool(name: str, **arguments: Any) -> str:
        got = team.call(name, mine, era, **arguments)
        assert got.status == 200
        return json.dumps(got.message)

    answers = {
        "id": tool("get_call", call_id=theirs),
        "summary of id": tool("summarize_call_actions", call_id=theirs),
        "account": tool("list_calls", account=account(2)),
        "provider": tool("list_calls", account="highlevel", limit=100, with_summary=True),
        "search": tool("search_transcripts", query=word(2)),
        "search of what was mistyped": tool("search_transcripts", query=word(2)[:-1] + "x"),
        "agent": tool("list_calls", agent="agent-02"),
        "agents": tool("count_calls", group_by=["agent"]),
        "accounts": tool("list_accounts"),
        "promises": tool("summarize_call_actions", group_by="promise"),
        "phone": tool("get_call", call_id=call(1, 0).id),
        "resources": json.dumps(team.ask("resources/list", None, mine, era).message),
        "prompt": json.dumps(
            team.ask("prompts/get", {"name": "missed_calls", "arguments": {"account": account(2)}}, mine, era).message
        ),
    }
    for what in ("transcript", "transcript.json", "call.json"):
        got = team.ask("resources/read", {"uri": f"calls://{theirs}/{what}"}, mine, era)
        assert "error" in got.message
        assert got.status == (400 if era == MODERN else 200)
        answers[what] = json.dumps(got.message)
    for argument in ("account", "agent", "call_id"):
        for chosen in ({}, {"context": {"arguments": {"account": account(2)}}}):
            ref = {"type": "ref/prompt", "name": "review_call"}
            params = {"ref": ref, "argument": {"name": argument, "value": ""}, **chosen}
            answers[f"{argument}, {chosen}"] = json.dumps(team.ask("completion/complete", params, mine, era).message)
    for what, text in answers.items():
        asked_for = what in ("search", "account", "prompt", "agent", "id", "summary of id") or what.startswith(
            "transcript"
        )
        hidden = [word(0), "agent-00", account(0), f"Desk {word(2)}"]
        hidden += [] if asked_for or what == "call.json" else [word(2), account(2), "agent-02"]
        for one in hidden:
            assert one not in text, (what, one)
    assert "There is no such call id" in answers["id"]
    assert f"Accounts: {account(1)}." in answers["id"]
    assert '"total": 5' in answers["provider"]
    assert word(1) in answers["provider"]


def test_a_cursor_of_another_principal_gives_nothing_but_ones_own(team: Team) -> None:
    mine, theirs = team.token("cursor-mine", [1]), team.token("cursor-theirs", [2])
    asked: list[tuple[str, dict[str, Any]]] = [
        ("list_calls", {"limit": 2}),
        ("search_transcripts", {"query": "about OR zylo*", "limit": 2}),
    ]
    for tool, arguments in asked:
        cursor = team.call(tool, theirs, **arguments).result["structuredContent"]["next_cursor"]
        got = team.call(tool, mine, cursor=cursor, **arguments)
        text = json.dumps(got.message)
        assert account(1) in text
        assert account(2) not in text
        assert word(2) not in text


def test_a_principal_whose_accounts_are_gone_is_told_so(team: Team) -> None:
    token = team.tokens.add("gone", ["was-renamed"], [Scope.CALLS])
    text = json.dumps(team.call("list_calls", token).message)
    assert "This token may see none of the accounts that there are" in text
    assert account(0) not in text
    assert "--demo" not in text


def test_the_audit_trail_names_the_principal(tmp_path: Path) -> None:
    config = configured(tmp_path, 1)
    with serving_team(config) as team:
        token = team.token("dana")
        for era in ERAS:
            assert team.call("get_call", token, era, call_id=call(0, 0).id).status == 200
    store = SQLiteStore(config.database)
    entries = store.audited()
    store.close()
    assert [(entry.principal, entry.asked) for entry in entries] == [("dana", "get_call")] * 2


# -- limits -------------------------------------------------------------------------------------------------------


def test_a_principal_that_asks_too_much_waits_and_no_other_does(tmp_path: Path) -> None:
    config = replace(configured(tmp_path, 1), requests_per_minute=30)
    with serving_team(config) as team:
        greedy, other = team.token("greedy"), team.token("other")
        replies = [team.ask("ping", None, greedy, LEGACY) for _ in range(LEAST_AT_ONCE + 5)]
        statuses = [one.status for one in replies]
        assert statuses[:LEAST_AT_ONCE] == [200] * LEAST_AT_ONCE
        assert 429 in statuses[LEAST_AT_ONCE:]
        refused = replies[statuses.index(429)]
        assert 1 <= int(refused.headers["retry-after"]) <= 2
        assert "greedy asks too much at once" in refused.error
        assert team.ask("ping", None, other, LEGACY).status == 200


def test_a_bucket_fills_evenly_and_never_beyond_its_size() -> None:
    clock = [0.0]
    limits = Limits(600, lambda: clock[0])
    assert [limits.wait("a") for _ in range(100)] == [0.0] * 100
    assert limits.wait("a") == pytest.approx(0.1)
    clock[0] += 0.1
    assert limits.wait("a") == 0.0
    assert limits.wait("a") > 0
    clock[0] += 3600
    assert [limits.wait("a") > 0 for _ in range(101)] == [False] * 100 + [True]
    assert all(Limits(0, lambda: 0.0).wait("a") == 0 for _ in range(10_000))


def test_many_principals_do_not_fill_the_memory() -> None:
    clock = [0.0]
    limits = Limits(600, lambda: clock[0])
    for number in range(25_000):
        clock[0] += 0.01
        limits.wait(f"oauth:{number}")
    assert len(limits._buckets) <= 10_001  # pyright: ignore[reportPrivateUsage] - its size is what this is about
