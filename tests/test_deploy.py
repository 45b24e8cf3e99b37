"""What deploy/ promises, as far as that can be told where no container engine runs."""

import ast
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any, cast

import anyio
import pytest
import yaml
from mcp import Client, StdioServerParameters

import call_logs
from call_logs.__main__ import cli
from call_logs.config import variables
from call_logs.http.webhooks import MOST_BYTES
from call_logs.sandbox import Message, Receive, Send, serving

ROOT = Path(__file__).parent.parent
DEPLOY = ROOT / "deploy"
FILES = sorted(file for file in DEPLOY.iterdir() if file.is_file())
COMPOSE: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text(encoding="utf-8"))
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
DOCKERFILE = (DEPLOY / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ")
UNIT = (DEPLOY / "call-logs-mcp.service").read_text(encoding="utf-8")
CADDYFILE = (DEPLOY / "Caddyfile").read_text(encoding="utf-8")
MOST_EXPOSED = 2.0
"""Of 10, by systemd's own measure."""

with_systemd = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd here")


def instructions(name: str) -> list[str]:
    """What stands behind each of the Dockerfile's instructions of this name."""
    return re.findall(rf"^{name}\s+(.+)$", DOCKERFILE, re.MULTILINE)


def image_environment() -> dict[str, str]:
    words = [word for line in instructions("ENV") for word in shlex.split(line)]
    return dict(word.split("=", 1) for word in words)


def environments() -> dict[str, set[str]]:
    """The names of the variables that each file sets for the server."""
    return {
        "compose.yaml": set(SERVICES["server"]["environment"]),
        "Dockerfile": set(image_environment()) - {"PATH", "PYTHONUNBUFFERED", "PYTHONDONTWRITEBYTECODE"},
        "call-logs-mcp.service": set(re.findall(r"^Environment=(\w+)=", UNIT, re.MULTILINE)),
    }


def commands() -> dict[str, list[str]]:
    """How each file starts the server, behind the program's name."""
    [start] = re.findall(r"^ExecStart=(\S+) (.+)$", UNIT, re.MULTILINE)
    return {
        "compose.yaml": list(SERVICES["server"]["command"]),
        "Dockerfile": cast("list[str]", ast.literal_eval(instructions("CMD")[-1])),
        "call-logs-mcp.service": start[1].split(),
    }


@pytest.mark.parametrize("file", ["compose.yaml", "Dockerfile", "call-logs-mcp.service"])
def test_every_variable_that_is_set_exists(file: str) -> None:
    names = environments()[file]
    assert names
    assert {name.removesuffix("_FILE") for name in names} <= set(variables())


@pytest.mark.parametrize("file", ["compose.yaml", "Dockerfile", "call-logs-mcp.service"])
def test_every_command_is_one_that_there_is(file: str) -> None:
    name, *arguments = commands()[file]
    cli.commands[name].make_context(name, arguments)


def test_the_programs_name_is_the_packages() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert ast.literal_eval(instructions("ENTRYPOINT")[0]) == ["call-logs-mcp"]
    assert "call-logs-mcp" in project["scripts"]
    assert re.search(r"^ExecStart=/\S+/bin/call-logs-mcp ", UNIT, re.MULTILINE)


def test_the_image_installs_extras_that_there_are() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    [extras] = re.findall(r"'\.\[([a-z,]+)\]'", DOCKERFILE)
    assert set(extras.split(",")) <= set(project["optional-dependencies"])


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_no_file_names_a_registry_an_outside_address_or_a_secret(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    assert all(found.startswith("http://127.0.0.1") for found in re.findall(r"\w+://\S+", text))
    assert not re.search(r"(?i)(password|token|secret|key)\s*[:=]\s*['\"]?[A-Za-z0-9]{12,}", text)
    images = re.findall(r"^(?:FROM|\s*image:)\s+(\S+)", text, re.MULTILINE)
    assert all(re.fullmatch(r"[a-z]+:[0-9][0-9a-z.-]*", image) for image in images)


def test_the_image_holds_no_more_than_it_needs() -> None:
    ignored = (DEPLOY / "Dockerfile.dockerignore").read_text(encoding="utf-8").splitlines()
    assert ignored[1] == "*"
    let_in = {line[1:] for line in ignored if line.startswith("!")}
    copied = {word for line in instructions("COPY") if "--from" not in line for word in line.split()[:-1]}
    assert copied == let_in
    assert all((ROOT / name).exists() for name in copied)
    assert instructions("USER") == ["10001"]
    assert instructions("VOLUME") == ["/data"]


def test_the_server_has_no_rights_in_its_container() -> None:
    server = SERVICES["server"]
    assert server["read_only"] is True
    assert server["cap_drop"] == ["ALL"]
    assert server["security_opt"] == ["no-new-privileges:true"]
    assert "user" not in server  # the image's own
    assert "privileged" not in str(COMPOSE).replace("no-new-privileges", "")
    assert server["deploy"]["replicas"] == 2


def test_only_the_proxy_is_reached_from_outside() -> None:
    assert [name for name, service in SERVICES.items() if "ports" in service] == ["proxy"]


def test_what_services_use_is_there() -> None:
    for service in SERVICES.values():
        assert set(service.get("secrets", ())) <= set(COMPOSE["secrets"])
        named = {volume.partition(":")[0] for volume in service.get("volumes", ())}
        assert {name for name in named if not name.startswith(".")} <= set(COMPOSE["volumes"])
        assert all((DEPLOY / name).exists() for name in named if name.startswith("."))
        for other in service.get("depends_on", {}):
            assert "healthcheck" in SERVICES[other]
    assert "secrets/" in (DEPLOY / ".gitignore").read_text(encoding="utf-8").splitlines()
    assert all(one["file"].startswith("./secrets/") for one in COMPOSE["secrets"].values())


def test_the_proxy_leads_to_the_server_and_lets_its_webhooks_through() -> None:
    assert CADDYFILE.count("{") == CADDYFILE.count("}")
    [name] = re.findall(r"^\t+name (\S+)$", CADDYFILE, re.MULTILINE)
    [port] = re.findall(r"^\t+port (\S+)$", CADDYFILE, re.MULTILINE)
    command = SERVICES[name]["command"]
    assert command[command.index("--port") + 1] == port
    assert f"EXPOSE {port}" in DOCKERFILE
    [size] = re.findall(r"max_size (\d+)MB", CADDYFILE)
    assert int(size) * 1_000_000 > MOST_BYTES
    assert not re.search(r"^\s*log\b", CADDYFILE, re.MULTILINE)  # addresses of webhooks hold secrets


def checks() -> dict[str, str]:
    """The Python of each health check of the server."""
    [of_image] = re.findall(r"HEALTHCHECK .*?CMD (\[.+\])", DOCKERFILE)
    return {"image": ast.literal_eval(of_image)[2], "compose": SERVICES["server"]["healthcheck"]["test"][3]}


@pytest.mark.parametrize(("status", "passes"), [(200, True), (503, False)])
@pytest.mark.parametrize("which", ["image", "compose"])
def test_a_health_check_says_what_the_server_says(tmp_path: Path, which: str, status: int, *, passes: bool) -> None:
    asked: list[str] = []

    async def server(scope: Message, receive: Receive, send: Send) -> None:
        del receive
        if scope["type"] == "http":
            asked.append(scope["path"])
            await send({"type": "http.response.start", "status": status, "headers": []})
            await send({"type": "http.response.body"})

    command_line = tmp_path / "cmdline"
    command_line.write_bytes(b"python\0call-logs-mcp\0serve\0--http\0")
    with serving(server) as origin:
        code = checks()[which].replace("http://127.0.0.1:8000", origin).replace("/proc/1/cmdline", str(command_line))
        ran = subprocess.run([sys.executable, "-c", code], check=False, timeout=20, capture_output=True)
        assert (ran.returncode == 0) == passes
    assert asked == [{"image": "/healthz", "compose": "/readyz"}[which]]


def test_over_stdio_the_images_health_check_asks_nothing(tmp_path: Path) -> None:
    (tmp_path / "cmdline").write_bytes(b"python\0call-logs-mcp\0serve\0")
    code = checks()["image"].replace("/proc/1/cmdline", str(tmp_path / "cmdline"))
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=20).returncode == 0


@pytest.mark.anyio
async def test_as_the_image_starts_it_the_server_lists_its_tools_without_a_credential(tmp_path: Path) -> None:
    given = {name: value.replace("/data", str(tmp_path)) for name, value in image_environment().items()}
    environment = given | {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(Path(call_logs.__file__).parents[1]),
    }
    command = [sys.executable, "-m", "call_logs", *commands()["Dockerfile"]]
    with anyio.fail_after(30):
        async with Client(StdioServerParameters(command=command[0], args=command[1:], env=environment)) as client:
            assert len((await client.list_tools()).tools) >= 6
    assert (tmp_path / "calls.db").exists()


@with_systemd
def test_the_unit_is_one_that_systemd_can_read(tmp_path: Path) -> None:
    """But for the program, which is not installed here."""
    unit = tmp_path / "call-logs-mcp.service"
    unit.write_text(re.sub(r"^ExecStart=\S+", f"ExecStart={sys.executable}", UNIT, flags=re.MULTILINE))
    ran = subprocess.run(
        ["systemd-analyze", "--no-pager", "verify", str(unit)], capture_output=True, text=True, check=False, timeout=30
    )
    assert "call-logs-mcp.service:" not in ran.stderr
    assert ran.returncode == 0, ran.stderr


@with_systemd
def test_the_unit_leaves_the_server_few_rights() -> None:
    ran = subprocess.run(
        ["systemd-analyze", "--no-pager", "security", "--offline=yes", str(DEPLOY / "call-logs-mcp.service")],
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    [exposed] = re.findall(r"Overall exposure level for \S+: ([\d.]+)", ran.stdout)
    assert float(exposed) <= MOST_EXPOSED
