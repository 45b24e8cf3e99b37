"""Claude Desktop's configuration: where it is, how this program is started from it, and adding a server to it."""

import json
import shutil
import sys
import sysconfig
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, cast

from call_logs.commands.files import replace_file
from call_logs.errors import ConfigError

SERVER = "call-logs"
"""Our server's name in a host's configuration: hosts put it before each tool's name, so it is short."""

FILE = "claude_desktop_config.json"
GUI_PATH = {"darwin": "/usr/bin:/bin:/usr/sbin:/sbin"}
"""Where a program that was not started from a shell looks for commands, where that is not what a shell says."""

_TEMPORARY = ("archive-v0", "builds-v0", "environments-v2")
"""Folders of uv's cache: what stands there is gone with the next cleaning."""

_MOST_BYTES = 4 * 1024 * 1024


def config_path() -> Path:
    """Claude Desktop's configuration of this user, on this system; it need not exist."""
    import platformdirs  # noqa: PLC0415 - only here

    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support" / "Claude" / FILE
    return Path(platformdirs.user_config_dir("Claude", appauthor=False, roaming=True)) / FILE


def command() -> tuple[str, list[str]]:
    """How a host starts this very program: an absolute command that stays, and its arguments."""
    script = Path(sysconfig.get_path("scripts")) / ("call-logs-mcp.exe" if sys.platform == "win32" else "call-logs-mcp")
    if not set(_TEMPORARY) & set(script.parts):
        return (str(script), []) if script.is_file() else (sys.executable, ["-m", "call_logs"])
    uvx = shutil.which("uvx")
    return (str(Path(uvx).absolute()), ["call-logs-mcp"]) if uvx else (sys.executable, ["-m", "call_logs"])


def entry(env: Mapping[str, str]) -> dict[str, Any]:
    """Our server's entry under `mcpServers`."""
    program, arguments = command()
    return {"command": program, "args": arguments, "env": dict(env)}


def block(env: Mapping[str, str]) -> str:
    """What to put into a host's configuration, as JSON."""
    return json.dumps({"mcpServers": {SERVER: entry(env)}}, indent=2, ensure_ascii=False)


def read(path: Path) -> dict[str, Any]:
    """What the configuration holds; empty where there is no file. Raises `ConfigError` for what cannot be read."""
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise ConfigError(f"{path} is too large for a configuration. Look at it, and move it away.")
        text = path.read_text(encoding="utf-8-sig")
        found: Any = json.loads(text) if text.strip() else {}
    except FileNotFoundError:
        return {}
    except json.JSONDecodeError as error:
        raise ConfigError(
            f"{path} is not valid JSON (line {error.lineno}, column {error.colno}). Claude Desktop ignores all of it: "
            "mend it there (often a comma is missing or left over)."
        ) from None
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} cannot be read ({type(error).__name__}).") from None
    if not isinstance(found, dict):
        raise ConfigError(f'{path} must hold an object: {{"mcpServers": {{…}}}}.')
    table = cast("dict[str, Any]", found)
    if not isinstance(table.get("mcpServers", {}), dict):
        raise ConfigError(f'In {path}, mcpServers must be an object: "mcpServers": {{"{SERVER}": {{…}}}}.')
    return table


def servers(config: Mapping[str, Any]) -> dict[str, Any]:
    """The entries that start this program, whatever they are called."""
    entries = cast("Mapping[str, Any]", config.get("mcpServers", {}))
    return {name: one for name, one in entries.items() if name == SERVER or _is_ours(one)}


def _is_ours(one: Any) -> bool:
    words = json.dumps(one)
    return "call-logs-mcp" in words or "call_logs" in words


def merged(old: Any, env: Mapping[str, str]) -> dict[str, Any]:
    """Our entry in the place of this one: another command, and these variables beside those that it has."""
    kept = cast("dict[str, Any]", old) if isinstance(old, dict) else {}
    held: Any = kept.get("env")
    variables = cast("dict[str, str]", held) if isinstance(held, dict) else {}
    return {**kept, **entry({**variables, **env})}


def add(path: Path, env: Mapping[str, str]) -> Path | None:
    """Put our entry into the configuration, and leave all else as it was; the backup, where there was a file.

    An entry of that name keeps its other variables. Raises `ConfigError`, and then nothing was changed.
    """
    config = read(path)
    entries: dict[str, Any] = config.setdefault("mcpServers", {})
    entries[SERVER] = merged(entries.get(SERVER), env)
    backup = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists():
            backup = path.with_name(f"{path.stem}.backup-{datetime.now().astimezone():%Y%m%d-%H%M%S-%f}.json")
            shutil.copy2(path, backup)
        replace_file(path, json.dumps(config, indent=2, ensure_ascii=False) + "\n")
    except OSError as error:
        raise ConfigError(f"{path} cannot be written ({type(error).__name__}). Nothing in it was changed.") from None
    return backup
