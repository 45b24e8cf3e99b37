"""The project as a stranger gets it: a clean clone, the README's commands as written, the wheel without its sources."""

import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Generator
from pathlib import Path

import pytest

from call_logs.sandbox import running

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def command_with(word: str) -> str:
    """The one-line command of the README that holds this word."""
    [line] = [line for line in re.findall(r"^```sh\n(.+)\n```$", README, re.MULTILINE) if word in line]
    return line


def environment(**more: str) -> dict[str, str]:
    """This environment, without any account or virtual environment."""
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(("CALL_LOGS", "VIRTUAL", "PYTEST"))
    }
    return kept | more


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Generator[Path]:
    """A clean clone of what is committed."""
    folder = tmp_path_factory.mktemp("clone") / "call-logs-mcp"
    subprocess.run(["git", "clone", "-q", str(ROOT), str(folder)], check=True, timeout=60)
    yield folder
    shutil.rmtree(folder)


def test_the_readmes_first_command_runs_the_main_job(clone: Path) -> None:
    command = command_with("call-logs-mcp demo")
    ran = subprocess.run(
        ["bash", "-c", command], cwd=clone, env=environment(), capture_output=True, text=True, timeout=500, check=False
    )
    assert ran.returncode == 0, ran.stderr
    assert "devuelvan mi dinero" in ran.stdout
    assert "money back" in ran.stdout
    assert len(re.findall(r"\d+\.\d ms", ran.stdout)) >= 8


def test_the_readmes_second_command_passes_the_tests(clone: Path) -> None:
    """A small part of them: this very run is the whole."""
    command = command_with("pytest") + " tests/test_docs.py"
    ran = subprocess.run(
        ["bash", "-c", command], cwd=clone, env=environment(), capture_output=True, text=True, timeout=500, check=False
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert " passed" in ran.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel in an environment of its own, without test or development packages."""
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", str(folder), str(ROOT)], check=True, timeout=200
    )
    [wheel] = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        tops = {name.partition("/")[0] for name in archive.namelist()}
        assert {top for top in tops if not top.endswith(".dist-info")} == {"call_logs"}
        assert "call_logs/py.typed" in archive.namelist()
    subprocess.run([sys.executable, "-m", "venv", str(folder / "venv")], check=True, timeout=100)
    pip = [
        str(folder / "venv/bin/python"),
        "-m",
        "pip",
        "install",
        "-q",
        "-c",
        str(ROOT / "constraints.txt"),
        str(wheel),
    ]
    subprocess.run(pip, check=True, timeout=300)
    return folder / "venv/bin"


def test_the_wheel_runs_from_anywhere_and_installs_nothing_named_server(installed: Path) -> None:
    helped = subprocess.run(
        [installed / "call-logs-mcp", "--help"], cwd="/", capture_output=True, text=True, check=True, timeout=60
    )
    assert "demo" in helped.stdout
    imported = subprocess.run(
        [installed / "python", "-c", "import server"], cwd="/", capture_output=True, check=False, timeout=60
    )
    assert b"ModuleNotFoundError" in imported.stderr


def test_the_wheel_shows_the_demo(installed: Path) -> None:
    ran = subprocess.run(
        [installed / "call-logs-mcp", "demo", "--json"],
        cwd="/",
        env=environment(),
        capture_output=True,
        text=True,
        check=True,
        timeout=100,
    )
    assert all(exchange["ok"] for exchange in json.loads(ran.stdout))


def test_a_sixth_vendor_of_another_wheel_works_and_passes_the_contract_suite(installed: Path, tmp_path: Path) -> None:
    """With no edit here: an entry point, a tape beside the others', and nothing else."""
    python = str(installed / "python")
    wanted = [line for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines() if "==" in line]
    test_only = [line for line in wanted if line.startswith(("pytest", "hypothesis", "execnet", "iniconfig", "pluggy"))]
    outside = tmp_path / "outside"
    shutil.copytree(ROOT / "tests/outside", outside)
    for command in (
        [python, "-m", "pip", "install", "-q", "hatchling", "packaging", "sortedcontainers", *test_only],
        [python, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", str(tmp_path), str(outside)],
        [python, "-m", "pip", "install", "-q", "--no-deps", str(tmp_path / "call_logs_acme-0.1-py3-none-any.whl")],
    ):
        subprocess.run(command, check=True, timeout=200)
    try:
        shutil.copytree(ROOT / "tests", tmp_path / "tests")
        shutil.copy(ROOT / "pyproject.toml", tmp_path)
        shutil.copy(outside / "acme.json", tmp_path / "tests/tapes")
        suite = [python, "-m", "pytest", "-q", "-n0", "tests/test_provider_contract.py", "-k", "acme or tape"]
        ran = subprocess.run(
            suite, cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=200, check=False
        )
        assert ran.returncode == 0, ran.stdout
        assert re.search(r"[3-9]\d passed", ran.stdout)
        settings = environment(ACME_API_KEY="acme-key", ACME_BASE_URL="http://127.0.0.1:9")
        checked = subprocess.run(
            [installed / "call-logs-mcp", "check", "--json"],
            env=settings,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert json.loads(checked.stdout)[0]["account"] == "acme"
    finally:
        subprocess.run([python, "-m", "pip", "uninstall", "-q", "-y", "call-logs-acme"], check=True, timeout=60)


# -- the MCP Inspector ------------------------------------------------------------------------------------------

INSPECTOR = "@modelcontextprotocol/inspector@2.12.0"


@pytest.fixture(scope="module")
def inspector(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The Inspector's command line, from the npm registry."""
    node, npm = shutil.which("node"), shutil.which("npm")
    assert node is not None, "node is needed: .ci/run installs it"
    assert npm is not None, "npm is needed: .ci/run installs it"
    folder = tmp_path_factory.mktemp("inspector")
    subprocess.run([npm, "install", "--no-audit", "--no-fund", INSPECTOR], cwd=folder, check=True, timeout=300)
    entry = folder / "node_modules/@modelcontextprotocol/inspector/clients/launcher/build/index.js"
    return [node, str(entry), "--cli", sys.executable, "-m", "call_logs", "serve", "--demo"]


@pytest.mark.parametrize("era", ["legacy", "modern"])
def test_the_inspector_lists_and_calls_everything(inspector: list[str], tmp_path: Path, era: str) -> None:
    def ask(*words: str, code: int = 0) -> str:
        settings = environment(MCP_CATALOG_PATH=str(tmp_path / "catalog.json"))
        ran = subprocess.run(
            [*inspector, *words, "--protocol-era", era, "-q"],
            env=settings,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert ran.returncode == code, ran.stdout + ran.stderr
        return ran.stdout + ran.stderr

    tools = json.loads(ask("--method", "tools/list", "--format", "json"))["result"]["tools"]
    assert len(tools) == 6
    ask("--method", "tools/list", "--strict")
    assert "calls://{account}/{call}/transcript" in ask("--method", "resources/templates/list")
    assert "Lakeside" not in ask("--method", "resources/list")
    found = ask("--method", "tools/call", "--tool-name", "search_transcripts", "--tool-arg", "query=refunded")
    assert "how do I get it refunded" in found
    for tool in ("list_calls", "count_calls", "list_accounts", "summarize_call_actions"):
        assert "coverage" in ask("--method", "tools/call", "--tool-name", tool)
    refused = ask("--method", "tools/call", "--tool-name", "list_calls", "--tool-arg", "callid=1", code=5)
    assert "list_calls has no argument callid" in refused


# -- the command line -------------------------------------------------------------------------------------------


def test_sync_reads_once_and_says_what_failed(tmp_path: Path) -> None:
    with running() as sandbox:
        table = sandbox.accounts["demo-highlevel"]
        file = tmp_path / "accounts.toml"
        good = "\n".join(f'{key} = "{value}"' for key, value in table.items())
        bad = good.replace(table["token"], "wrong-token")
        file.write_text(f"[accounts.good]\n{good}\n[accounts.bad]\n{bad}\n", encoding="utf-8")
        settings = environment(CALL_LOGS_CONFIG=str(file), CALL_LOGS_DATABASE=str(tmp_path / "calls.db"))
        command = [sys.executable, "-m", "call_logs", "sync"]
        ran = subprocess.run(command, env=settings, capture_output=True, text=True, timeout=60, check=False)
        one = subprocess.run(
            [*command, "--account", "good", "--json"],
            env=settings,
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
    assert ran.returncode == 1
    assert "good: ok, 120 calls." in ran.stdout
    assert "bad: parked" in ran.stdout
    assert "token of [accounts.bad]" in ran.stdout
    assert "wrong-token" not in ran.stdout + ran.stderr
    assert json.loads(one.stdout)[0]["calls"] == 120


def test_wrong_usage_ends_with_code_2(tmp_path: Path) -> None:
    for words in (["nonsense"], ["sync", "--account", "nobody"], ["sync", "--history", "soon"], ["serve", "--nope"]):
        settings = environment(CALL_LOGS_DATABASE=str(tmp_path / "calls.db"))
        ran = subprocess.run(
            [sys.executable, "-m", "call_logs", *words],
            env=settings,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert ran.returncode == 2, words
        assert ran.stderr
        assert "Traceback" not in ran.stderr
