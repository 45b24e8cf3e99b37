"""What hosts and directories read: the one-click bundle, registry entries, config blocks. All of it must agree."""

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import zipfile
from collections.abc import Iterator
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import Any

import anyio
import jsonschema
import pytest
from mcp import Client, StdioServerParameters
from pydantic import SecretStr

import bundle
from call_logs import __version__
from call_logs.config import is_secret, load, variables
from call_logs.providers import WEBHOOK, discover
from call_logs.sandbox import running
from call_logs.tools import all_tools

ROOT = Path(__file__).parent.parent
MANIFEST: dict[str, Any] = json.loads((ROOT / "packaging/mcpb/manifest.json").read_text(encoding="utf-8"))
SERVER: dict[str, Any] = json.loads((ROOT / "server.json").read_text(encoding="utf-8"))
EXAMPLE: dict[str, Any] = json.loads((ROOT / "claude_desktop_config.example.json").read_text(encoding="utf-8"))
INSTALLING = (ROOT / "docs/installing.md").read_text(encoding="utf-8")

MCPB = "@anthropic-ai/mcpb@2.1.2"

DOCUMENTED_SERVER_JSON: dict[str, Any] = {
    "type": "object",
    "required": ["$schema", "name", "description", "version", "packages"],
    "additionalProperties": False,
    "properties": {
        "$schema": {"const": "https://static.modelcontextprotocol.io/schemas/2025-12-11/server.schema.json"},
        "name": {"type": "string", "pattern": r"^[a-zA-Z0-9.-]+/[a-zA-Z0-9._-]+$", "minLength": 3, "maxLength": 200},
        "title": {"type": "string", "minLength": 1, "maxLength": 100},
        "description": {"type": "string", "minLength": 1, "maxLength": 100},
        "version": {"type": "string", "pattern": r"^\d+\.\d+\.\d+$"},
        "repository": {
            "type": "object",
            "required": ["url", "source"],
            "properties": {"url": {"pattern": "^https://"}, "source": {"const": "github"}},
        },
        "packages": {
            "type": "array",
            "minItems": 1,
            "items": {
                "type": "object",
                "required": ["registryType", "identifier", "version", "transport"],
                "additionalProperties": False,
                "properties": {
                    "registryType": {"const": "pypi"},
                    "identifier": {"type": "string"},
                    "version": {"type": "string", "pattern": r"^\d+\.\d+\.\d+$"},
                    "runtimeHint": {"const": "uvx"},
                    "transport": {"const": {"type": "stdio"}},
                    "environmentVariables": {
                        "type": "array",
                        "items": {
                            "type": "object",
                            "required": ["name", "description", "isRequired", "isSecret"],
                            "additionalProperties": False,
                            "properties": {
                                "name": {"type": "string", "pattern": "^[A-Z][A-Z_]+$"},
                                "description": {"type": "string", "minLength": 10},
                                "format": {"enum": ["string", "number", "boolean", "filepath"]},
                                "isRequired": {"type": "boolean"},
                                "isSecret": {"type": "boolean"},
                            },
                        },
                    },
                },
            },
        },
    },
}
"""What the registry documents of server.json, as far as ours uses it."""


def settings() -> dict[str, bool]:
    """Every provider's variable that one person's server needs, and whether it is a credential."""
    return {
        f"{slug}_{name}".upper(): is_secret(field)
        for slug, provider in discover().items()
        for name, field in provider.settings_type.model_fields.items()
        if name != "base_url" and not name.startswith(WEBHOOK)
    }


def test_versions_agree() -> None:
    [package] = SERVER["packages"]
    assert {MANIFEST["version"], SERVER["version"], package["version"], bundle.version()} == {__version__}
    assert tomllib.loads(bundle.pyproject())["project"]["version"] == __version__


# -- the bundle


def test_the_bundle_asks_for_every_providers_settings_and_needs_none() -> None:
    asked = MANIFEST["user_config"]
    assert {name.upper() for name in asked if not name.startswith("call_logs_")} == set(settings())
    for name, question in asked.items():
        assert name.upper() in variables()
        assert question.get("sensitive", False) == settings().get(name.upper(), False), name
        assert question["required"] is False
        assert question["title"]
        assert question["description"]


def test_each_answer_reaches_its_variable() -> None:
    env = MANIFEST["server"]["mcp_config"]["env"]
    assert env == {name.upper(): f"${{user_config.{name}}}" for name in MANIFEST["user_config"]}


def test_what_is_left_empty_or_unfilled_counts_as_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in MANIFEST["server"]["mcp_config"]["env"].items():
        monkeypatch.setenv(name, "" if name.startswith("TELZINO") else value)
    assert load(database="unused.db").accounts == ()
    monkeypatch.setenv("VYOM_API_KEY", "lvk_x")
    assert [(one.name, one.problem) for one in load(database="unused.db").accounts] == [("vyom", None)]


def test_the_bundle_lists_the_tools_that_there_are() -> None:
    assert [tool["name"] for tool in MANIFEST["tools"]] == [tool.name for tool in all_tools()]


def test_the_bundle_is_the_same_each_time_and_holds_what_runs(tmp_path: Path) -> None:
    for name in ("one", "two"):
        bundle.main(["--out", str(tmp_path / name)])
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    with zipfile.ZipFile(tmp_path / "one") as archive:
        names = set(archive.namelist())
    sources = {
        file.relative_to(ROOT).as_posix()
        for file in (ROOT / "server/call_logs").rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    }
    assert names == sources | {"manifest.json", "pyproject.toml", "README.md", "LICENSE"}
    assert MANIFEST["server"]["entry_point"] in names


def test_the_bundle_installs_the_tested_versions() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    ours = tomllib.loads(bundle.pyproject())
    names = {re.split(r"[\[<>=]", wanted)[0].lower() for wanted in project["dependencies"]}
    assert {wanted.partition("==")[0] for wanted in ours["project"]["dependencies"]} == names
    pins = [*ours["project"]["dependencies"], *ours["tool"]["uv"]["constraint-dependencies"]]
    assert all(re.fullmatch(r"[a-z0-9._-]+==[0-9][0-9a-z.]*", pin) for pin in pins)
    assert len(pins) == len(bundle.pinned())


# -- registry and directory


def test_the_registry_entry_is_as_documented_and_names_no_host_of_a_registry() -> None:
    jsonschema.validate(SERVER, DOCUMENTED_SERVER_JSON)
    assert "registryBaseUrl" not in SERVER["packages"][0]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert SERVER["packages"][0]["identifier"] == project["name"]


def test_the_readme_proves_whose_package_it_is() -> None:
    first = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()[0]
    assert first == f"<!-- mcp-name: {SERVER['name']} -->"


def test_the_registry_entry_names_the_variables_with_their_secrets() -> None:
    named = {one["name"]: one["isSecret"] for one in SERVER["packages"][0]["environmentVariables"]}
    assert {name: secret for name, secret in named.items() if not name.startswith("CALL_LOGS_")} == settings()
    assert set(named) <= set(variables())


def test_the_directory_entry_names_who_looks_after_it() -> None:
    entry = json.loads((ROOT / "glama.json").read_text(encoding="utf-8"))
    assert entry["$schema"] == "https://glama.ai/mcp/schemas/server.json"
    assert entry["maintainers"]


# -- config blocks


@pytest.mark.parametrize("name", EXAMPLE["mcpServers"]["call-logs"]["env"])
def test_a_variable_of_the_example_reaches_its_setting(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    env: dict[str, str] = EXAMPLE["mcpServers"]["call-logs"]["env"]
    for each, value in env.items():
        monkeypatch.setenv(each, value)
    config = load(database="unused.db")
    slug, _, setting = name.lower().partition("_")
    if name.startswith("CALL_LOGS_"):
        assert name == "CALL_LOGS_TIMEZONE"
        assert config.zone.key == env[name]
        return
    [account] = [one for one in config.accounts if one.name == slug]
    held = getattr(account.settings, setting)
    assert (held.get_secret_value() if isinstance(held, SecretStr) else held) == env[name]
    monkeypatch.delenv(name)
    without = [one for one in load(database="unused.db").accounts if one.name == slug]
    assert not without or name in str(without[0].problem), "it is required, and its absence is told by name"


def test_the_example_has_every_setting_that_is_required() -> None:
    required = {
        f"{slug}_{name}".upper()
        for slug, provider in discover().items()
        for name, field in provider.settings_type.model_fields.items()
        if field.is_required()
    }
    assert {name for name in EXAMPLE["mcpServers"]["call-logs"]["env"] if name in settings()} == required


def blocks() -> Iterator[dict[str, Any]]:
    """The servers of every config block in docs/installing.md."""
    for text in re.findall(r"^```json\n(.*?)^```$", INSTALLING, re.MULTILINE | re.DOTALL):
        block = json.loads(text)
        yield from block.get("mcpServers", block.get("servers", {})).values()


def test_every_config_block_is_valid_and_names_variables_that_exist() -> None:
    found = list(blocks())
    assert len(found) == 6
    for server in found:
        assert re.fullmatch(r"(?:/.*/|[A-Z]:\\.*\\)?uvx(?:\.exe)?", server["command"])
        assert server["args"] == ["call-logs-mcp"]
        assert set(server["env"]) <= set(variables())


def test_commands_in_the_guide_exist() -> None:
    from call_logs.__main__ import cli  # noqa: PLC0415 - only here

    named = set(re.findall(r"call-logs-mcp (\w+)", INSTALLING))
    assert named == {"setup", "doctor", "completion"}
    assert named <= set(cli.commands)


# -- the bundle as a host starts it


@pytest.fixture(scope="module")
def uv(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The program uv: of this environment, or installed into one of its own."""
    beside = shutil.which("uv", path=sysconfig.get_path("scripts"))
    if found := beside or shutil.which("uv"):
        return found
    folder = tmp_path_factory.mktemp("uv")
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True, timeout=120)
    scripts = folder / ("Scripts" if os.name == "nt" else "bin")
    constraints = ["-c", str(ROOT / "constraints.txt")]
    subprocess.run([scripts / "python", "-m", "pip", "install", "-q", *constraints, "uv"], check=True, timeout=300)
    return str(shutil.which("uv", path=str(scripts)))


@pytest.fixture(scope="module")
def mcpb(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The bundle's own tool, from npm."""
    node, npm = shutil.which("node"), shutil.which("npm")
    assert node is not None, "node is needed: .ci/run installs it"
    assert npm is not None, "npm is needed: .ci/run installs it"
    folder = tmp_path_factory.mktemp("mcpb")
    subprocess.run([npm, "install", "--no-audit", "--no-fund", MCPB], cwd=folder, check=True, timeout=300)
    return [node, str(folder / "node_modules/@anthropic-ai/mcpb/dist/cli/cli.js")]


def uv_environment(cache: Path) -> dict[str, str]:
    """Where pip finds packages on this machine, for uv; and this very Python."""
    listed = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=True, timeout=60
    ).stdout
    asked: dict[str, str] = dict(re.findall(r"^(?:global|:env:|install|user)\.([a-z-]+)='(.*)'$", listed, re.MULTILINE))
    names = {"index-url": "UV_DEFAULT_INDEX", "extra-index-url": "UV_INDEX", "find-links": "UV_FIND_LINKS"}
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(cache),
        "UV_CACHE_DIR": str(cache / "cache"),
        "UV_PYTHON": sys.executable,
        "UV_PYTHON_DOWNLOADS": "never",
        "UV_INDEX_STRATEGY": "unsafe-best-match",
        **({"SSL_CERT_FILE": asked["cert"]} if "cert" in asked else {}),
        **{names[name]: value for name, value in asked.items() if name in names},
    }


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_bundle_validates_packs_unpacks_and_answers(mcpb: list[str], uv: str, tmp_path: Path) -> None:
    folder, packed, unpacked = tmp_path / "folder", tmp_path / "packed.mcpb", tmp_path / "unpacked"
    bundle.main(["--folder", str(folder)])
    for words in (
        ["validate", str(folder / "manifest.json")],
        ["pack", str(folder), str(packed)],
        ["unpack", str(packed), str(unpacked)],
    ):
        subprocess.run([*mcpb, *words], check=True, timeout=100, capture_output=True)
    made = tmp_path / "made.mcpb"
    bundle.main(["--out", str(made)])
    subprocess.run([*mcpb, "info", str(made)], check=True, timeout=100, capture_output=True)
    manifest = json.loads((unpacked / "manifest.json").read_text(encoding="utf-8"))
    start = manifest["server"]["mcp_config"]
    assert start["command"] == "uv"
    with running() as sandbox:
        table = sandbox.accounts["demo-vyom"]
        filled = {"vyom_api_key": table["api_key"], "call_logs_timezone": "Europe/Madrid"}
        env: dict[str, str] = {
            **uv_environment(tmp_path),
            # As a host fills them in: what was left empty stays as it is.
            **{name: str(filled.get(name.lower(), value)) for name, value in start["env"].items()},
            "VYOM_BASE_URL": table["base_url"],
            "CALL_LOGS_DATABASE": str(tmp_path / "calls.db"),
        }
        arguments = [word.replace("${__dirname}", str(unpacked)) for word in start["args"]]
        parameters = StdioServerParameters(command=uv, args=arguments, env=env)

        async def asked() -> dict[str, Any]:
            with anyio.fail_after(300):
                async with Client(parameters) as client:
                    tools = [tool.name for tool in (await client.list_tools()).tools]
                    assert tools == [tool["name"] for tool in manifest["tools"]]
                    found = await client.call_tool("search_transcripts", {"query": "refund"})
                    return found.structured_content or {}

        answer = anyio.run(asked)
    assert answer["hits"][0]["call_id"].startswith("vyom/")
    assert answer["window"]["zone"] == "Europe/Madrid"
    pins = dict(
        pin.split("==") for pin in tomllib.loads((unpacked / "pyproject.toml").read_text())["project"]["dependencies"]
    )
    assert pins["mcp"] == installed_version("mcp")
