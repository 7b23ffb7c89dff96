"""The image, as far as it can be had without a container engine: its build stage run by hand, then its programs."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import tomllib
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.deploy.dockerfile import Builder, Stage, StepError, in_build_context, read_dockerfile
from tests.support.processes import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator

_USER = 10001
_NO_INDEX = ("Could not find a version", "No matching distribution", "NewConnectionError", "ConnectTimeoutError")
_STOP_SECONDS = 10


@dataclass
class Image:
    """The file system of the build stage, and what the last stage says of running it."""

    root: Path
    stage: Stage

    @property
    def programs(self) -> Path:
        return self.root / "opt" / "cohort-gateway" / "bin"

    @property
    def wheel(self) -> Path:
        [wheel] = (self.root / "src" / "dist").glob("*.whl")
        return wheel

    def start(self, command: list[str], **settings: str) -> subprocess.Popen[str]:
        """Run `command` as the image's user would find it: no privileges, no home, the image's environment."""
        environment = self.stage.environment | {"PATH": str(self.programs)} | settings
        return subprocess.Popen(
            [*_unprivileged(), str(self.programs / command[0]), *command[1:]],
            cwd=self.root / "opt" / "cohort-gateway",
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, command: list[str], **settings: str) -> tuple[int, str]:
        with self.start(command, **settings) as process:
            output, _ = process.communicate(timeout=60)
            return process.returncode, output


def _unprivileged() -> list[str]:
    """Words in front of a command that take root's rights away; none where the tests don't run as root."""
    if os.geteuid() != 0:
        return []
    setpriv = shutil.which("setpriv")
    assert setpriv is not None, "setpriv (util-linux) is needed to test as root"
    # Reading stays allowed, since the interpreter of the tests may lie in root's home; an image has it in /usr.
    reading = "-all,+dac_read_search"
    user = ["--reuid", str(_USER), "--regid", str(_USER), "--clear-groups", "--no-new-privs"]
    return [setpriv, *user, "--inh-caps", reading, "--ambient-caps", reading, "--"]


@pytest.fixture(scope="module")
def image() -> Iterator[Image]:
    """Built once. Where no package index can be reached the tests that need it are skipped, loudly."""
    build, final = read_dockerfile()
    # Not under pytest's directory, which other users can't enter.
    with tempfile.TemporaryDirectory(prefix="image") as directory:
        root = Path(directory)
        root.chmod(0o755)
        try:
            Builder(root).build(build)
        except StepError as error:
            if "--require-hashes" in str(error) and any(sign in str(error) for sign in _NO_INDEX):
                pytest.skip(f"NOT TESTED, no package index can be reached: {error}")
            raise
        yield Image(root, final)


@pytest.fixture
def data_dir(image: Image) -> Iterator[Path]:
    """An empty `/data` that belongs to the image's user."""
    with tempfile.TemporaryDirectory(prefix="data", dir=image.root) as directory:
        path = Path(directory)
        if os.geteuid() == 0:
            os.chown(path, _USER, _USER)
        yield path


@pytest.mark.slow
@pytest.mark.parametrize("program", ["cohort-gateway", "cohort-sync", "heap-export"])
def test_programs_of_the_built_wheel_run(image: Image, program: str) -> None:
    status, output = image.run([program, "--help"])
    assert (status, "serve" in output) == (0, True), output


@pytest.mark.slow
def test_health_check_tells_a_running_gateway_from_a_stopped_one(image: Image, data_dir: Path) -> None:
    assert image.stage.command == ["cohort-gateway", "serve"]
    # What differs from the image: loopback instead of every address, a free port, `/data` where this test may write.
    settings = {"HOST": "127.0.0.1", "DATA_DIR": str(data_dir), "REDIS_URL": f"unix://{data_dir}/nobody.sock"}
    gateway = image.start(image.stage.command, PORT="0", **settings)
    try:
        assert gateway.stdout is not None
        line = gateway.stdout.readline()
        while line and "listening on" not in line:
            line = gateway.stdout.readline()
        _, _, port = line.strip().rpartition(":")
        assert port.isdigit(), line
        assert image.run(image.stage.health_check, PORT=port)[0] == 0
    finally:
        gateway.terminate()
        output, _ = gateway.communicate(timeout=_STOP_SECONDS)
    assert gateway.returncode == 0, output
    assert image.run(image.stage.health_check, PORT=port)[0] != 0


@pytest.mark.slow
def test_health_check_fails_on_another_answer_than_200(image: Image) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        check = image.start(image.stage.health_check, PORT=str(server.getsockname()[1]))
        connection, _ = server.accept()
        with connection:
            connection.recv(1024)
            connection.sendall(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n")
            assert check.wait(60) != 0
        if check.stdout is not None:
            check.stdout.close()


@pytest.mark.slow
def test_image_generates_its_secrets_as_an_ordinary_user(image: Image, data_dir: Path) -> None:
    code = "from foundation.secrets import read_or_create_secret as make; from pathlib import Path; import os; "
    status, output = image.run(
        ["python", "-c", code + "make(Path(os.environ['DATA_DIR'], 's'))"], DATA_DIR=str(data_dir)
    )
    assert status == 0, output
    assert (data_dir / "s").stat().st_mode & 0o777 == 0o600
    status, _ = image.run(
        ["python", "-c", code + "make(Path(os.environ['DATA_DIR'], 's'))"], DATA_DIR="/usr/share/data"
    )
    assert status != 0, "the user of the image can write where it should not"


@pytest.mark.slow
def test_no_tool_that_builds_or_installs_stays(image: Image) -> None:
    for module in ("pip", "setuptools", "hatchling", "editables"):
        assert image.run(["python", "-c", f"import {module}"])[0] != 0, module
    assert not list(image.programs.glob("pip*"))


@pytest.mark.slow
def test_wheel_holds_our_packages_with_their_types_and_nothing_else(image: Image) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    packages = set(project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"])
    names = zipfile.ZipFile(image.wheel).namelist()
    info = {name.split("/")[0] for name in names if ".dist-info/" in name}
    assert {name.split("/")[0] for name in names} == packages | info
    assert {f"{package}/py.typed" for package in packages} <= set(names)
    [entry_points] = [name for name in names if name.endswith(".dist-info/entry_points.txt")]
    text = zipfile.ZipFile(image.wheel).read(entry_points).decode()
    assert all(f"{name} = {target}" in text for name, target in project["project"]["scripts"].items())


def test_image_is_built_on_glibc_with_a_python_that_we_support() -> None:
    build, final = read_dockerfile()
    assert build.base == final.base
    name, _, tag = final.base.partition(":")
    version, variant = tag.split("-", 1)
    required = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"]
    assert (name, variant) == ("python", "slim")
    assert tuple(map(int, version.split("."))) >= tuple(map(int, required.removeprefix(">=").split(".")))


def test_image_runs_as_an_ordinary_user_and_keeps_its_data_on_a_volume() -> None:
    _, final = read_dockerfile()
    [user] = final.values("USER")
    assert any(
        f"useradd --uid {_USER}" in run and run.split("&&")[1].split()[-1] == user for run in final.values("RUN")
    )
    assert final.values("VOLUME") == [final.environment["DATA_DIR"]] == ["/data"]
    assert final.values("EXPOSE") == ["8000 8001 8002 8003 8004"]
    assert final.environment["HOST"] == "0.0.0.0"  # noqa: S104 - inside a container


def test_build_context_holds_no_more_than_is_copied() -> None:
    build, _ = read_dockerfile()
    copied = {source for text in build.values("COPY") for source in text.split()[:-1]}
    for source in copied:
        assert (ROOT / source).exists(), source
        assert in_build_context(source), source
    for private in (".env", "secrets/heap_webhook_secret", "data/webhook_secret", ".git/config", "tests/conftest.py"):
        assert not in_build_context(private), private
    assert not in_build_context("gateway/__pycache__/app.pyc")
