"""Settings: the environment, the config file, and what an operator gets to read when they are wrong."""

from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from call_logs import config
from call_logs.config import Config, default_database, load, variables
from call_logs.errors import ConfigError
from call_logs.providers import Account, discover
from call_logs.text import Masking

CANARY = "canary-secret-0123456789"
LOCATION = "LOC123456789ABCDEF"
DURATIONS = {"45": 45, "30s": 30, "5m": 300, "2h": 7200, "90d": 7_776_000}

Written = Callable[[str], None]


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    """An environment in which nothing is configured."""
    for name in variables():
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(f"{name}_FILE", raising=False)


@pytest.fixture
def highlevel(monkeypatch: pytest.MonkeyPatch) -> None:
    """A HighLevel account in the environment."""
    monkeypatch.setenv("HIGHLEVEL_TOKEN", CANARY)
    monkeypatch.setenv("HIGHLEVEL_LOCATION_ID", LOCATION)


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Written:
    """Writes a config file that the environment names."""

    def write(text: str) -> None:
        file = tmp_path / "call-logs.toml"
        file.write_text(text, encoding="utf-8")
        monkeypatch.setenv("CALL_LOGS_CONFIG", str(file))

    return write


def refusal(**arguments: Any) -> str:
    """What is said where the configuration stops the program. It never shows a canary."""
    with pytest.raises(ConfigError) as raised:
        load(**arguments)
    said = f"{raised.value} {raised.value!r} {raised.value.__cause__!r}"
    assert CANARY not in said
    return str(raised.value)


def only(found: Config) -> Account:
    (account,) = found.accounts
    return account


def token_of(account: Account) -> str:
    settings: Any = account.settings
    return settings.token.get_secret_value()


def front_desk(**settings: Any) -> str:
    """A file with the account front-desk; None leaves a setting out."""
    lines = {"provider": '"highlevel"', "token": f'"{CANARY}"', "location_id": f'"{LOCATION}"'} | settings
    return "[accounts.front-desk]\n" + "".join(
        f"{name} = {value}\n" for name, value in lines.items() if value is not None
    )


# The environment


def test_no_configuration_at_all_is_no_error() -> None:
    found = load()
    assert found.accounts == ()
    assert found.database.endswith("calls.db")
    assert (found.history, found.max_age, found.wait) == (timedelta(days=90), 60.0, 3.0)
    assert found.masking is Masking.CARDS


@pytest.mark.usefixtures("highlevel")
def test_an_account_of_the_environment_is_named_like_its_provider() -> None:
    account = only(load())
    assert (account.name, account.provider.slug, account.problem) == ("highlevel", "highlevel", None)
    assert token_of(account) == CANARY
    assert account.names["token"] == "HIGHLEVEL_TOKEN"


def test_spaces_and_line_ends_around_a_value_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HIGHLEVEL_TOKEN", f"  {CANARY}\r\n")
    monkeypatch.setenv("HIGHLEVEL_LOCATION_ID", f"{LOCATION}\n")
    account = only(load())
    assert account.problem is None
    assert token_of(account) == CANARY


@pytest.mark.usefixtures("highlevel")
@pytest.mark.parametrize("text", [CANARY, f"{CANARY}\n", f"\ufeff{CANARY}\r\n"])
def test_a_secret_is_read_from_the_file_that_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str
) -> None:
    file = tmp_path / "token"
    file.write_text(text, encoding="utf-8", newline="")
    monkeypatch.delenv("HIGHLEVEL_TOKEN")
    monkeypatch.setenv("HIGHLEVEL_TOKEN_FILE", str(file))
    assert token_of(only(load())) == CANARY


@pytest.mark.usefixtures("highlevel")
def test_a_secret_and_its_file_together_are_a_problem_of_that_account(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HIGHLEVEL_TOKEN_FILE", str(tmp_path / "token"))
    account = only(load())
    assert account.settings is None
    assert "HIGHLEVEL_TOKEN and HIGHLEVEL_TOKEN_FILE" in (account.problem or "")


@pytest.mark.usefixtures("highlevel")
@pytest.mark.parametrize("content", [None, b"", b" \n", b"\xff\xfe\xff", "folder"])
def test_a_secret_file_that_cannot_be_used_is_named_by_its_variable(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: bytes | str | None
) -> None:
    file = tmp_path / CANARY
    if isinstance(content, bytes):
        file.write_bytes(content)
    elif content:
        file.mkdir()
    monkeypatch.delenv("HIGHLEVEL_TOKEN")
    monkeypatch.setenv("HIGHLEVEL_TOKEN_FILE", str(file))
    account = only(load())
    assert account.settings is None
    assert "HIGHLEVEL_TOKEN" in (account.problem or "")
    assert CANARY not in repr(account)


@pytest.mark.usefixtures("highlevel")
@pytest.mark.parametrize("content", ["", " \n", "\ufeff", "${user_config.token}"])
def test_an_empty_secret_file_counts_as_absent(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: str) -> None:
    (tmp_path / "token").write_text(content, encoding="utf-8")
    monkeypatch.delenv("HIGHLEVEL_TOKEN")
    monkeypatch.setenv("HIGHLEVEL_TOKEN_FILE", str(tmp_path / "token"))
    assert only(load()).problem == "highlevel: HIGHLEVEL_TOKEN is missing."


@pytest.mark.parametrize("content", ["", " \n", "\ufeff"])
def test_an_empty_secret_file_of_an_account_is_named(written: Written, tmp_path: Path, content: str) -> None:
    (tmp_path / "token").write_text(content, encoding="utf-8")
    written(front_desk(token=f'{{ file = "{tmp_path / "token"}" }}'))
    assert only(load()).problem == "The file that token of [accounts.front-desk] names is empty."


@pytest.mark.parametrize("absent", ["", "  ", "${user_config.highlevel_token}", " ${HIGHLEVEL_TOKEN} "])
def test_empty_variables_and_unfilled_placeholders_count_as_absent(
    monkeypatch: pytest.MonkeyPatch, absent: str
) -> None:
    for name in variables():
        monkeypatch.setenv(name, absent)
        monkeypatch.setenv(f"{name}_FILE", absent)
    assert load().accounts == ()
    assert load().wait == 3.0


def test_an_origin_alone_makes_no_account(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HIGHLEVEL_BASE_URL", "https://api.example.com")
    assert load().accounts == ()


@pytest.mark.usefixtures("highlevel")
def test_a_setting_that_is_missing_is_named_and_parks_only_its_account(
    monkeypatch: pytest.MonkeyPatch, written: Written
) -> None:
    written(front_desk())
    monkeypatch.delenv("HIGHLEVEL_LOCATION_ID")
    broken, sound = load().accounts
    assert broken.problem == "highlevel: HIGHLEVEL_LOCATION_ID is missing."
    assert broken.next_step == "Set HIGHLEVEL_LOCATION_ID, then restart."
    assert (sound.name, sound.problem) == ("front-desk", None)


@pytest.mark.usefixtures("highlevel")
@pytest.mark.parametrize("odd", ["two words", "two\nlines", "with-é", "\u201cquoted\u201d", "tab\there"])
def test_a_secret_that_no_header_could_carry_is_a_problem_that_does_not_show_it(
    monkeypatch: pytest.MonkeyPatch, odd: str
) -> None:
    monkeypatch.setenv("HIGHLEVEL_TOKEN", f"{CANARY}{odd}{CANARY}")
    account = only(load())
    assert "HIGHLEVEL_TOKEN" in (account.problem or "")
    assert "printable ASCII" in (account.problem or "")
    assert CANARY not in repr(account)


@pytest.mark.usefixtures("highlevel")
@pytest.mark.parametrize("odd", ["../x", "a/b", "a?b=c", "a b", "é", "x" * 65])
def test_an_identifier_is_checked_like_an_id_from_outside(monkeypatch: pytest.MonkeyPatch, odd: str) -> None:
    monkeypatch.setenv("HIGHLEVEL_LOCATION_ID", odd)
    account = only(load())
    assert account.settings is None
    assert "HIGHLEVEL_LOCATION_ID" in (account.problem or "")
    assert odd not in (account.problem or "").replace("letters, digits, - and _", "")


# Options


@pytest.mark.parametrize(("text", "seconds"), DURATIONS.items())
def test_durations_are_plain_seconds_or_have_a_unit(monkeypatch: pytest.MonkeyPatch, text: str, seconds: int) -> None:
    for name in ("HISTORY", "MAX_AGE", "WAIT"):
        monkeypatch.setenv(f"CALL_LOGS_{name}", text)
    found = load()
    assert (found.history.total_seconds(), found.max_age, found.wait) == (seconds, seconds, seconds)
    assert load(history="3d").history == timedelta(days=3)


@pytest.mark.parametrize(
    "odd", [CANARY, "-5", "5 fortnights", "1.5h", "PT5M", "nan", "1e3", "99999999d", "9" * 15, "90d 2h"]
)
def test_a_duration_that_cannot_be_used_names_the_variable(monkeypatch: pytest.MonkeyPatch, odd: str) -> None:
    for name in ("HISTORY", "MAX_AGE", "WAIT"):
        with monkeypatch.context() as patch:
            patch.setenv(f"CALL_LOGS_{name}", odd)
            said = refusal()
            assert f"CALL_LOGS_{name}" in said
            assert odd not in said
    assert "--history" in refusal(history=odd)


@pytest.mark.parametrize("odd", [f"Mars/{CANARY}", "../../etc/passwd", "/etc/localtime", "Europe", "Madrid\x00"])
def test_a_bad_zone_names_the_variable_and_not_the_value(written: Written, odd: str) -> None:
    written(f"timezone = '{odd}'" if "\x00" not in odd else 'timezone = "Madrid\\u0000"')
    said = refusal()
    assert "CALL_LOGS_TIMEZONE" in said
    assert "Europe/Madrid" in said
    assert odd not in said.replace("Europe/Madrid", "")


@pytest.mark.parametrize("odd", [CANARY, "Nowhere/City"])
def test_a_bad_zone_of_the_environment_names_its_variable(monkeypatch: pytest.MonkeyPatch, odd: str) -> None:
    monkeypatch.setenv("CALL_LOGS_TIMEZONE", odd)
    assert "CALL_LOGS_TIMEZONE" in refusal()


def test_the_environment_goes_before_the_file_and_the_command_before_both(
    monkeypatch: pytest.MonkeyPatch, written: Written
) -> None:
    written('timezone = "Europe/Madrid"\nwait = 9\nmask = "off"\nhistory = "7d"\ndatabase = "of-the-file.db"\n')
    monkeypatch.setenv("CALL_LOGS_WAIT", "1")
    monkeypatch.setenv("CALL_LOGS_DATABASE", "of-the-environment.db")
    found = load()
    assert (found.wait, found.database) == (1.0, "of-the-environment.db")
    assert (found.zone.key, found.masking, found.history) == ("Europe/Madrid", Masking.OFF, timedelta(days=7))
    assert load(database="given.db").database == "given.db"


def test_a_mask_that_does_not_exist_is_named_with_those_that_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CALL_LOGS_MASK", CANARY)
    said = refusal()
    assert "CALL_LOGS_MASK" in said
    assert "digits" in said


def test_a_database_password_is_in_no_repr(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CALL_LOGS_DATABASE", f"postgresql://calls:{CANARY}@127.0.0.1/calls")
    found = load()
    assert CANARY in found.database
    assert CANARY not in f"{found!r} {found} {config.Options()!r} {config.Options()}"


# The file


def test_accounts_of_the_file_take_secrets_literally_from_variables_and_from_files(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, written: Written
) -> None:
    (tmp_path / "token").write_text("of-the-file\n", encoding="utf-8")
    monkeypatch.setenv("FRONT_DESK_TOKEN", "of-the-variable")
    for token, meant in (
        ('"literal"', "literal"),
        ('{ env = "FRONT_DESK_TOKEN" }', "of-the-variable"),
        (f'{{ file = "{tmp_path / "token"}" }}', "of-the-file"),
    ):
        written(front_desk(token=token))
        account = only(load())
        assert (account.name, account.problem) == ("front-desk", None)
        assert token_of(account) == meant
        assert account.names["token"] == "token of [accounts.front-desk]"


@pytest.mark.parametrize(
    ("token", "said"),
    [
        (None, "token of [accounts.front-desk] is missing"),
        ('{ env = "FRONT_DESK_TOKEN" }', "FRONT_DESK_TOKEN"),
        (f'{{ env = "{CANARY}" }}', "token of [accounts.front-desk]"),
        (f'{{ file = "{CANARY}" }}', "token of [accounts.front-desk]"),
        (f'{{ env = "FRONT_DESK_TOKEN", file = "{CANARY}" }}', "token of [accounts.front-desk]"),
        (f'{{ vault = "{CANARY}" }}', "token of [accounts.front-desk]"),
        (f'["{CANARY}"]', "token of [accounts.front-desk]"),
        ("7", "token of [accounts.front-desk]"),
        ('""', "token of [accounts.front-desk]"),
    ],
)
def test_a_setting_that_cannot_be_used_is_kept_as_its_accounts_problem_and_spoils_no_other(
    written: Written, token: str | None, said: str
) -> None:
    written(front_desk(token=token) + front_desk().replace("front-desk", "sound"))
    broken, sound = load().accounts
    assert broken.settings is None
    assert said in (broken.problem or "")
    assert broken.next_step
    assert CANARY not in repr(broken)
    assert (sound.name, sound.problem) == ("sound", None)


def test_a_setting_that_the_provider_does_not_have_is_named(written: Written) -> None:
    written(front_desk(api_key=f'"{CANARY}"'))
    account = only(load())
    assert "has no setting api_key" in (account.problem or "")
    assert CANARY not in repr(account)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (f'colour = "{CANARY}"', "no setting colour"),
        (f'config = "{CANARY}"', "no setting config"),
        (f'accounts = "{CANARY}"', "[accounts.NAME]"),
        (f'accounts = ["{CANARY}"]', "[accounts.NAME]"),
        (f'[accounts]\nfront-desk = "{CANARY}"', "front-desk needs provider"),
        (front_desk(provider=None), "front-desk needs provider"),
        (front_desk(provider=f'"{CANARY}"'), "front-desk needs provider = one of"),
        (front_desk(provider=f'["{CANARY}"]'), "front-desk needs provider = one of"),
        (f"timezone = 5\n{front_desk()}", "CALL_LOGS_TIMEZONE"),
        (f'wait = ["{CANARY}"]', "CALL_LOGS_WAIT"),
        ("wait = true", "CALL_LOGS_WAIT"),
        (f'database = ["{CANARY}"]', "CALL_LOGS_DATABASE"),
        (f'token = "{CANARY}', "not valid TOML"),
        (f"{CANARY}", "not valid TOML"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_in_words_without_its_content(
    written: Written, text: str, said: str
) -> None:
    written(text)
    assert said in refusal()


@pytest.mark.parametrize("name", ["A", "a", "Acme", "a b", "-acme", "a/b", "x" * 41, "acmé", "a.b"])
def test_an_account_name_that_no_id_could_carry_is_refused(written: Written, name: str) -> None:
    written(front_desk().replace("[accounts.front-desk]", f'[accounts."{name}"]'))
    assert "2 to 40 characters" in refusal()


def test_an_account_named_like_another_provider_is_refused(written: Written, monkeypatch: pytest.MonkeyPatch) -> None:
    known = dict(discover())
    monkeypatch.setattr(config, "discover", lambda: {**known, "neighbour": known["highlevel"]})
    written(front_desk().replace("accounts.front-desk", "accounts.neighbour"))
    assert "named like another provider" in refusal()
    written(front_desk().replace("accounts.front-desk", "accounts.highlevel"))
    assert only(load()).name == "highlevel"


@pytest.mark.usefixtures("highlevel")
def test_two_accounts_of_one_name_are_refused(written: Written) -> None:
    written(front_desk().replace("accounts.front-desk", "accounts.highlevel"))
    assert "Two accounts are named highlevel" in refusal()


def test_a_file_that_cannot_be_read_is_named_by_its_variable(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "latin").write_bytes(f'timezone = "caf\xe9 {CANARY}"'.encode("latin-1"))
    (tmp_path / CANARY).mkdir()
    for path in (tmp_path / "latin", tmp_path / CANARY, tmp_path / f"{CANARY}.toml", "~nobody-of-that-name/x.toml"):
        monkeypatch.setenv("CALL_LOGS_CONFIG", str(path))
        assert "CALL_LOGS_CONFIG" in refusal()


def test_a_file_with_a_byte_order_mark_is_read(written: Written) -> None:
    written("\ufeff" + front_desk())
    assert only(load()).name == "front-desk"


def test_the_sandboxes_accounts_are_added_or_stand_alone(written: Written) -> None:
    written(front_desk())
    tables: Mapping[str, Mapping[str, str]] = {
        "demo": {"provider": "highlevel", "token": "t", "location_id": "L", "base_url": "http://127.0.0.1:1/highlevel"}
    }
    assert [account.name for account in load(tables).accounts] == ["front-desk", "demo"]
    assert [account.name for account in load(tables, own_accounts=False).accounts] == ["demo"]


# Origins


@pytest.mark.usefixtures("highlevel")
@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("https://api.example.com", "https://api.example.com"),
        ("https://api.example.com/", "https://api.example.com"),
        ("https://api.example.com:8443/v1/", "https://api.example.com:8443/v1"),
        ("HTTPS://api.example.com/a.b~c", "HTTPS://api.example.com/a.b~c"),
        ("http://127.0.0.1:8000/highlevel", "http://127.0.0.1:8000/highlevel"),
        ("http://localhost:8000", "http://localhost:8000"),
        ("http://[::1]:8000", "http://[::1]:8000"),
    ],
)
def test_an_origin_may_have_a_port_and_a_path(monkeypatch: pytest.MonkeyPatch, given: str, kept: str) -> None:
    monkeypatch.setenv("HIGHLEVEL_BASE_URL", given)
    account = only(load())
    assert account.problem is None
    assert account.open().connection().base_url == kept


@pytest.mark.usefixtures("highlevel")
@pytest.mark.parametrize(
    "odd",
    [
        *("http://api.example.com", "http://127.0.0.1.example.com", "http://[2001:db8::1]", "HTTP://api.example.com"),
        *(f"https://{CANARY}@api.example.com", f"https://user:{CANARY}@api.example.com"),
        *(f"https://:{CANARY}@api.example.com", f"https://api.example.com?key={CANARY}", "https://api.example.com?"),
        *(
            f"https://api.example.com/#{CANARY}",
            "https://api.example.com#",
            "https://",
            "https:///v1",
            "api.example.com",
        ),
        *("ftp://api.example.com", "file:///etc/passwd", "https://api.example.com:99999", "https://api.example.com:x"),
        *("https://api.example.com/a/../b", "https://api.example.com/a//b", "https://api.example.com/%2e%2e"),
        *("https://api.exa\nmple.com", "https://api.example.com\\@other.example", "https://[::1", "https://[x]/"),
        *("https://api.example.com/a b", "https://\u2100.example.com", f"javascript:{CANARY}"),
    ],
)
def test_an_origin_that_could_lead_a_credential_astray_is_a_problem(monkeypatch: pytest.MonkeyPatch, odd: str) -> None:
    monkeypatch.setenv("HIGHLEVEL_BASE_URL", odd)
    account = only(load())
    assert account.settings is None
    assert "HIGHLEVEL_BASE_URL cannot be used: must be" in (account.problem or "")
    assert CANARY not in (account.problem or "")
    assert odd not in (account.problem or "").replace("https://api.example.com", "")


# All of it


def test_every_variable_that_is_read_is_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: set[str] = set()

    class Watched(dict[str, str]):
        def get(self, key: str, default: Any = None) -> Any:
            asked.add(key.removesuffix("_FILE"))
            return super().get(key, default)

    monkeypatch.setattr(config, "os", SimpleNamespace(environ=Watched()))
    load()
    assert asked == set(variables())
    assert all(variables().values())


def test_every_providers_settings_are_among_the_variables() -> None:
    for slug, provider in discover().items():
        for setting in provider.settings_type.model_fields:
            assert f"{slug}_{setting}".upper() in variables()
    assert "required" in variables()["HIGHLEVEL_TOKEN"]
    assert "optional" in variables()["HIGHLEVEL_BASE_URL"]


@pytest.mark.usefixtures("highlevel")
def test_secrets_are_in_no_repr_of_what_was_read(written: Written) -> None:
    written(front_desk())
    found = load()
    assert [token_of(account) for account in found.accounts] == [CANARY, CANARY]
    shown = [repr(found), str(found)]
    for account in found.accounts:
        provider = account.open()
        shown += [f"{part!r} {part}" for part in (account, account.settings, provider, provider.connection())]
    assert CANARY not in "\n".join(shown)


# The team server


def test_tokens_are_kept_beside_the_database(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CALL_LOGS_DATABASE", str(tmp_path / "calls.db"))
    assert load().tokens == tmp_path / "tokens.json"
    assert load().tokens_required is False
    assert load(database="of-the-demo.db").tokens == tmp_path / "tokens.json"
    monkeypatch.setenv("CALL_LOGS_TOKENS", str(tmp_path / "other.json"))
    assert load().tokens == tmp_path / "other.json"
    assert load().tokens_required is True


def test_tokens_of_a_server_on_postgresql_are_in_the_users_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CALL_LOGS_DATABASE", "postgresql://user@db.example/calls")
    assert load().tokens == default_database().with_name("tokens.json")


@pytest.mark.parametrize(
    "address",
    [
        "http://issuer.example",
        "issuer.example",
        "ftp://issuer.example",
        "https://",
        "https://user:pw@issuer.example",
        "https://issuer.example/?x=1",
        "https://issuer.example/#x",
        "https://issuer.example:99999",
        "https://issuer .example",
    ],
)
def test_an_issuer_that_tokens_could_not_be_trusted_from_is_refused(
    monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    monkeypatch.setenv("CALL_LOGS_OAUTH_ISSUER", address)
    monkeypatch.setenv("CALL_LOGS_OAUTH_AUDIENCE", "https://calls.example.com/mcp")
    with pytest.raises(ConfigError, match="CALL_LOGS_OAUTH_ISSUER") as refused:
        load()
    assert "pw" not in str(refused.value)


@pytest.mark.parametrize("given", ["ISSUER", "AUDIENCE", "ACCOUNTS"])
def test_half_of_oauth_is_told(monkeypatch: pytest.MonkeyPatch, given: str) -> None:
    value = "teams" if given == "ACCOUNTS" else "https://issuer.example"
    monkeypatch.setenv(f"CALL_LOGS_OAUTH_{given}", value)
    with pytest.raises(ConfigError, match="is missing"):
        load()


def test_an_issuer_is_kept_letter_by_letter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CALL_LOGS_OAUTH_ISSUER", "https://Issuer.example/")
    monkeypatch.setenv("CALL_LOGS_OAUTH_AUDIENCE", "https://calls.example.com/mcp")
    oauth = load().oauth
    assert oauth is not None
    assert (oauth.issuer, oauth.accounts_claim) == ("https://Issuer.example/", None)
