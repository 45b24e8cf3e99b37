"""Make the one-click bundle for Claude Desktop: `python packaging/bundle.py [--folder DIR] [--out FILE]`.

The bundle holds this package's sources, the manifest with the questions that the host asks, and a pyproject.toml that
names the tested versions of everything; the host's uv installs them at the first start.
"""

import argparse
import re
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
SOURCES = "server/call_logs"
NOT_SHIPPED = ("__pycache__",)
BEGINNING_OF_TIME = (1980, 1, 1, 0, 0, 0)
"""Every file's time in the archive: the same sources make the same bundle."""


def version() -> str:
    """The package's version."""
    text = (ROOT / SOURCES / "__init__.py").read_text(encoding="utf-8")
    [found] = re.findall(r'^__version__ = "([^"]+)"', text, re.MULTILINE)
    return found


def pinned() -> dict[str, str]:
    """The tested version of each package."""
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    return {
        name.lower().replace("_", "-"): number for name, _, number in (line.partition("==") for line in lines) if number
    }


def pyproject() -> str:
    """The bundle's own project: no package to build, exact dependencies, and of what these need the tested versions."""
    project: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    versions = pinned()
    names = [re.split(r"[\[<>=!~ ]", wanted)[0].lower() for wanted in project["dependencies"]]
    lines = [
        "[project]",
        f'name = "{project["name"]}"',
        f'version = "{version()}"',
        f'requires-python = "{project["requires-python"]}"',
        "dependencies = [",
        *(f'  "{name}=={versions[name]}",' for name in names),
        "]",
        "",
        "[tool.uv]",
        "package = false",
        "constraint-dependencies = [",
        *(f'  "{name}=={number}",' for name, number in sorted(versions.items()) if name not in names),
        "]",
    ]
    return "\n".join(lines) + "\n"


def files() -> Iterator[tuple[str, bytes]]:
    """What the bundle holds: the path in it, and the content."""
    yield "manifest.json", (ROOT / "packaging/mcpb/manifest.json").read_bytes()
    yield "pyproject.toml", pyproject().encode()
    for name in ("README.md", "LICENSE"):
        yield name, (ROOT / name).read_bytes()
    for file in sorted((ROOT / SOURCES).rglob("*")):
        if file.is_file() and not set(NOT_SHIPPED) & set(file.parts):
            yield file.relative_to(ROOT).as_posix(), file.read_bytes()


def write_folder(folder: Path) -> None:
    """The bundle, unpacked."""
    for name, content in files():
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)


def write_bundle(path: Path) -> None:
    """The bundle: a zip archive."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, content in files():
            entry = zipfile.ZipInfo(name, BEGINNING_OF_TIME)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, content)


def main(arguments: list[str]) -> None:
    """Write what was asked for, and say where it is."""
    parser = argparse.ArgumentParser(description="Make the one-click bundle (.mcpb).")
    parser.add_argument("--folder", type=Path, help="write it unpacked, for `mcpb validate` and `mcpb pack`")
    parser.add_argument("--out", type=Path, default=ROOT / f"dist/call-logs-mcp-{version()}.mcpb")
    asked = parser.parse_args(arguments)
    if asked.folder:
        write_folder(asked.folder)
    else:
        write_bundle(asked.out)
    print(asked.folder or asked.out)


if __name__ == "__main__":
    main(sys.argv[1:])
