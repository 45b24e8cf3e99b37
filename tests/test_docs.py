"""Documentation next to the code, and failing when it lies."""

import json
import re
import tomllib
from pathlib import Path
from typing import cast

import anyio
import pytest
from mcp.server.mcpserver import MCPServer

from call_logs import __version__, prompts
from call_logs.__main__ import cli
from call_logs.config import variables
from call_logs.providers import FEATURES, discover
from call_logs.tools import App, all_tools
from conftest import Asking

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_every_variable_is_in_the_readme() -> None:
    missing = [name for name in variables() if f"`{name}`" not in README]
    assert not missing


def test_every_variable_in_the_readme_exists() -> None:
    prefixes = "|".join(slug.upper() for slug in discover())
    named = set(re.findall(rf"\b(?:CALL_LOGS|{prefixes})_[A-Z_]+\b", README))
    assert {name.removesuffix("_FILE") for name in named} <= set(variables())


def test_the_example_config_names_only_variables_that_exist() -> None:
    example = json.loads((ROOT / "claude_desktop_config.example.json").read_text(encoding="utf-8"))
    for server in example["mcpServers"].values():
        assert server["command"] == "uvx"
        assert server["args"] == ["call-logs-mcp"]
        assert set(server["env"]) <= set(variables())


def test_the_example_config_is_enough_to_configure_an_account(monkeypatch: pytest.MonkeyPatch) -> None:
    from call_logs.config import load  # noqa: PLC0415 - reads the environment that is set here

    example = json.loads((ROOT / "claude_desktop_config.example.json").read_text(encoding="utf-8"))
    for name, value in next(iter(example["mcpServers"].values()))["env"].items():
        monkeypatch.setenv(name, value)
    accounts = load(database="unused.db").accounts
    assert accounts
    assert [account.problem for account in accounts] == [None] * len(accounts)


@pytest.mark.anyio
async def test_the_readme_lists_the_tools_that_there_are(asking: Asking) -> None:
    async with asking() as ask:
        tools = [tool.name for tool in (await ask.client.list_tools()).tools]
    section = README.partition("## Tools")[2].partition("\n## ")[0]
    assert re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE) == tools


def test_the_readme_shows_what_each_provider_gives() -> None:
    lines = [f"| provider | {' | '.join(FEATURES)} |"]
    for slug, provider in sorted(discover().items()):
        cells = ["yes" if feature in provider.gives else "–" for feature in FEATURES]
        lines.append(f"| {provider.title} (`{slug}`) | {' | '.join(cells)} |")
    for line in lines:
        assert line in README, f"the README's table of vendors wants: {line}"


def test_the_commands_in_the_readme_exist() -> None:
    named = set(re.findall(r"`call-logs-mcp (\w+)", README))
    assert named
    assert named <= set(cli.commands)


def test_the_readme_names_every_tool_and_prompt() -> None:
    server = MCPServer[App]("prompts only")
    prompts.register(server, cast("App", None))  # only asked for names
    listed = anyio.run(server.list_prompts)
    for name in [*(tool.name for tool in all_tools()), *(prompt.name for prompt in listed)]:
        assert f"`{name}`" in README, name


def test_links_lead_to_files_that_exist() -> None:
    for file in (ROOT / "README.md", *(ROOT / "docs").rglob("*.md")):
        for target in re.findall(r"\]\(([^)#]+)\)", file.read_text(encoding="utf-8")):
            assert target.startswith("https://") or (file.parent / target).exists(), f"{file.name}: {target}"


def test_every_decision_is_in_the_list() -> None:
    folder = ROOT / "docs/decisions"
    listed = set(re.findall(r"\]\((\d{4}-[\w-]+\.md)\)", (folder / "README.md").read_text(encoding="utf-8")))
    assert listed == {file.name for file in folder.glob("[0-9]*.md")}


def test_the_changelog_has_this_version() -> None:
    assert f"## {__version__}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_every_dependency_says_why_it_is_there() -> None:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    for dependency in tomllib.loads(text)["project"]["dependencies"]:
        assert re.search(rf'"{re.escape(dependency)}",\s+# \w', text), dependency


def test_the_tested_set_names_every_dependency_and_no_registry() -> None:
    constraints = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    pinned = {line.partition("==")[0].lower().replace("_", "-") for line in constraints.splitlines() if "==" in line}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = [
        *project["dependencies"],
        *(name for extra in project["optional-dependencies"].values() for name in extra),
    ]
    names = {re.split(r"[\[<>=]", name)[0].lower() for name in wanted} - {"call-logs-mcp"}
    assert names <= pinned
    assert "://" not in constraints
