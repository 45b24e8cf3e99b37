"""Who may import whom."""

import ast
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "server/call_logs"
MODULES = {
    file.relative_to(PACKAGE).with_suffix("").as_posix().removesuffix("/__init__"): file
    for file in PACKAGE.rglob("*.py")
}
READS_MCP = ("app", "tools", "resources", "prompts", "notices", "http", "demo", "views")


def imports(module: str) -> set[str]:
    """Everything that a module imports, also inside functions, by full name."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(MODULES[module].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {f"{node.module}.{name.name}" for name in node.names} | {str(node.module)}
    return found


def uses(module: str, name: str) -> bool:
    """Whether a module imports the library or package of this name."""
    return any(one == name or one.startswith(f"{name}.") for one in imports(module))


@pytest.mark.parametrize("module", ["model", "errors"])
def test_the_domain_imports_nothing_of_ours(module: str) -> None:
    assert not uses(module, "call_logs")


@pytest.mark.parametrize("module", sorted(MODULES))
def test_only_the_http_module_imports_httpx(module: str) -> None:
    assert uses(module, "httpx") == (module == "providers/_http")
    assert not uses(module, "httpx2")


@pytest.mark.parametrize("module", sorted(name for name in MODULES if name.startswith("providers/")))
def test_vendor_modules_know_neither_the_protocol_nor_the_store(module: str) -> None:
    assert not uses(module, "mcp")
    assert not uses(module, "call_logs.store")
    assert not uses(module, "call_logs.sync")
    assert not uses(module, "os")


@pytest.mark.parametrize("module", sorted(name for name in MODULES if name.startswith("store")))
def test_stores_know_no_vendor_and_no_network(module: str) -> None:
    assert not uses(module, "call_logs.providers")
    assert not uses(module, "call_logs.sync")
    assert not uses(module, "mcp")


@pytest.mark.parametrize("module", sorted(MODULES))
def test_only_the_outer_modules_speak_the_protocol(module: str) -> None:
    assert not uses(module, "mcp") or module.partition("/")[0] in READS_MCP


@pytest.mark.parametrize("module", sorted(MODULES))
def test_only_config_reads_the_environment(module: str) -> None:
    text = MODULES[module].read_text(encoding="utf-8")
    assert ("os.environ" in text or "getenv" in text) == (module == "config")


def test_tools_never_reach_a_vendor() -> None:
    for module, file in MODULES.items():
        if module.startswith("tools"):
            assert not uses(module, "call_logs.providers._http")
            assert "provider.calls(" not in file.read_text(encoding="utf-8")


def test_a_start_does_not_load_what_only_a_sync_or_the_demo_needs(tmp_path: Path) -> None:
    import subprocess  # noqa: PLC0415 - only here

    lazy = [
        "httpx",
        "stamina",
        "aiolimiter",
        "phonenumbers",
        "rich",
        "uvicorn",
        "call_logs.sandbox",
        "call_logs.promises",
        "call_logs.views.answers",
    ]
    code = (
        "import sys, call_logs.app, call_logs.config as c\n"
        f"call_logs.app.build_server(c.load(database={str(tmp_path / 'x.db')!r}))\n"
        f"print([name for name in {lazy!r} if name in sys.modules])"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30)
    loaded = ast.literal_eval(ran.stdout)
    # rich and uvicorn come with the SDK's own imports, where they are installed.
    assert not set(loaded) - {"rich", "uvicorn"}
