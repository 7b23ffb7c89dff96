"""scripts/test and what it stands on, with stand-ins for the interpreters: what is run, and by which Python."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tomllib
from typing import TYPE_CHECKING

import pytest

from tests.support.processes import ROOT

if TYPE_CHECKING:
    from pathlib import Path

# An interpreter of that version that notes what it is called with. `-m venv DIRECTORY` puts another one there.
_INTERPRETER = """#!/bin/sh
case "$1 $2" in
    "-c import sys; print"*) echo '{version}' ;;
    "-m venv") mkdir -p "$3/bin" && cp "$0" "$3/bin/python" ;;
    "-c "*) ;;
    *) printf '<%s>' {version} "$@" >>calls; echo >>calls ;;
esac
"""
_SHIM = "#!/bin/sh\necho 'pyenv: command not found' >&2\nexit 127\n"
_NOTHING = "#!/bin/sh\nexit 0\n"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A repository of scripts alone, and `bin`, where the machine's interpreters are."""
    for name in ("scripts/test", "scripts/environment.sh", "pyproject.toml", "requirements/dev.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    for name in ("ruff", "mypy"):
        program(tmp_path / ".venv" / "bin" / name, _NOTHING)
    return tmp_path


def program(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)


def install(tree: Path, *names: str) -> None:
    for name in names:
        program(tree / "bin" / name, _INTERPRETER.format(version=name.removeprefix("python")))


def run(tree: Path, *command: str, **variables: str) -> str:
    environment = {"PATH": f"{tree / 'bin'}:/usr/bin:/bin"} | variables
    done = subprocess.run(command, cwd=tree, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def last_call(tree: Path) -> list[str]:
    return re.findall("<(.*?)>", (tree / "calls").read_text().splitlines()[-1])


class TestWhatIsRun:
    @pytest.fixture(autouse=True)
    def _environment(self, tree: Path) -> None:
        program(tree / ".venv" / "bin" / "python", _INTERPRETER.format(version="3.11"))

    def test_everything_but_what_is_slow(self, tree: Path) -> None:
        run(tree, "scripts/test")
        count = str(min((os.cpu_count() or 2) + 1, 4))
        assert last_call(tree) == ["3.11", "-m", "pytest", "-m", "not slow", "-n", count, "--dist", "loadfile"]

    def test_everything(self, tree: Path) -> None:
        run(tree, "scripts/test", "--all")
        assert last_call(tree)[:6] == ["3.11", "-m", "pytest", "-m", "", "-n"]

    @pytest.mark.parametrize("arguments", [["tests/gateway", "-k", "one or two"], ["-m", "slow"]])
    def test_what_is_asked_for(self, tree: Path, arguments: list[str]) -> None:
        run(tree, "scripts/test", *arguments)
        assert last_call(tree) == ["3.11", "-m", "pytest", "-m", "not slow", *arguments]
        run(tree, "scripts/test", "--all", *arguments)
        assert last_call(tree) == ["3.11", "-m", "pytest", "-m", "", *arguments]


class TestWhichPython:
    @staticmethod
    def found(tree: Path, **variables: str) -> str:
        return run(tree, "sh", "-c", ". scripts/environment.sh; find_python", **variables)

    def test_the_newest_of_those_that_are_named_and_work(self, tree: Path) -> None:
        install(tree, "python3.11", "python3.12", "python3")
        program(tree / "bin" / "python3.13", _SHIM)
        assert self.found(tree) == "python3.12"

    def test_the_one_that_is_asked_for(self, tree: Path) -> None:
        install(tree, "python3.11", "python3.13")
        assert self.found(tree, PYTHON="python3.11") == "python3.11"

    def test_none_in_place_of_the_one_that_is_asked_for(self, tree: Path) -> None:
        install(tree, "python3.11")
        with pytest.raises(AssertionError):
            self.found(tree, PYTHON="python3.14")

    def test_an_environment_stays_until_another_one_is_asked_for(self, tree: Path) -> None:
        install(tree, "python3.11", "python3.12")
        for asked, used in (({}, "3.12"), ({}, "3.12"), ({"PYTHON": "python3.11"}, "3.11"), ({}, "3.11")):
            run(tree, "sh", "-c", ". scripts/environment.sh; set_up dev; $venv/bin/python a program", **asked)
            assert last_call(tree) == [used, "a", "program"]

    def test_one_environment_beside_another(self, tree: Path) -> None:
        install(tree, "python3.11", "python3.12")
        for asked, used, directory in (("python3.11", "3.11", ""), ("python3.12", "3.12", ".venv-3.12")):
            script = f". scripts/environment.sh; set_up dev {directory}; $venv/bin/python a program"
            run(tree, "sh", "-c", script, PYTHON=asked)
            assert last_call(tree) == [used, "a", "program"]
        assert (tree / ".venv" / "bin" / "python").read_text() == (tree / "bin" / "python3.11").read_text()


def test_the_versions_are_those_that_the_package_names() -> None:
    [preferred] = re.findall(r'^VERSIONS="([\d. ]+)"', (ROOT / "scripts" / "environment.sh").read_text(), re.MULTILINE)
    named = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["classifiers"]
    versions = [name.rpartition(" ")[2] for name in named if re.search(r":: 3\.\d+$", name)]
    assert preferred.split() == versions[::-1]


def test_the_paths_that_ci_names_are_there() -> None:
    named = re.findall(r"\btests/[\w./]+", (ROOT / ".ci" / "run").read_text())
    assert len(named) > 5
    assert [path for path in named if not (ROOT / path).exists()] == []
