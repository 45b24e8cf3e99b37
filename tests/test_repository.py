"""What no file of the repository may hold, and versions that close known holes."""

import re
import subprocess
from importlib.metadata import version
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FORBIDDEN = {
    "a path of one machine": r"(?<![\w.])/(?:wor" + r"k|roo" + r"t|home/[a-z]+)/[a-z.]",
    "a package registry's host": "|".join((r"pypi\." + "org", "files.python" + "hosted", r"registry\.npm" + "js")),
    "a private key": "-----BEGIN " + "[A-Z ]*PRIVATE KEY-----",
    "a live-looking token": r"\b(?:sk_" + r"live_|pit-" + "[0-9a-f]{8}-|gh[pousr]_[A-Za-z0-9]{30})",
    "an unfinished mark": r"\b(?:" + "|".join(("TO" + "DO", "FIX" + "ME", "XX" + "X")) + r")\b",
}
MADE_UP = ("tests/test_text.py", "tests/test_config.py", "tests/test_highlevel.py", "tests/tapes/")
"""Cleaning, dropping and refusing credentials is tested with made-up ones of their form."""

FLOORS = {
    "mcp": (2, 3),
    "starlette": (1, 3, 1),
    "PyJWT": (2, 13),
    "python-multipart": (0, 0, 32),
    "cryptography": (50, 0, 0),
    "httpx2": (2, 12),
}


def tracked() -> list[Path]:
    """The files under version control, or all of them where there is none."""
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False, timeout=20
    ).stdout.split("\0")
    return [ROOT / name for name in listed if name and (ROOT / name).is_file()]


@pytest.mark.parametrize("what", FORBIDDEN)
def test_no_file_holds(what: str) -> None:
    found: list[str] = []
    for file in tracked():
        name = file.relative_to(ROOT).as_posix()
        made_up = name.startswith(MADE_UP) and what in ("a private key", "a live-looking token")
        if (
            file.suffix != ".png"
            and not made_up
            and re.search(FORBIDDEN[what], file.read_text(encoding="utf-8", errors="ignore"))
        ):
            found.append(name)
    assert not found


def test_phone_numbers_in_tests_are_reserved_ones() -> None:
    """555-01xx, or the area code 555 that nobody has, but for what the vendors' documentation prints."""
    printed = {"+1234567890", "+12345678901", "+9876543210"}
    for file in tracked():
        if file.parts[-2:] == ("documents", "highlevel-get-call-log.json") or "tests" not in file.parts:
            continue
        for number in re.findall(r"\+1\d{10}\b", file.read_text(encoding="utf-8", errors="ignore")):
            assert number in printed or re.fullmatch(r"\+1(?:\d{3}55501\d\d|555\d{7})", number), (
                f"{file.name}: {number}"
            )


@pytest.mark.parametrize("name", FLOORS)
def test_installed_versions_close_known_holes(name: str) -> None:
    """Advisories of 2026 for what mcp brings along; see docs/decisions/0001 for httpx."""
    installed = tuple(int(part) for part in re.findall(r"\d+", version(name))[:3])
    assert installed >= FLOORS[name]
