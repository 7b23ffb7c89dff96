"""Read the Dockerfile, and do by hand what its build stage does: no container engine is at hand where the tests run."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from tests.support.processes import ROOT

if TYPE_CHECKING:
    from pathlib import Path

STEP_SECONDS = 600.0


@dataclass
class Stage:
    """The instructions between two FROM lines, and what they say of the image."""

    base: str
    instructions: list[tuple[str, str]] = field(default_factory=list)

    @property
    def environment(self) -> dict[str, str]:
        """What ENV sets. Values may name earlier ones as `$NAME`."""
        variables: dict[str, str] = {}
        for name, text in self.instructions:
            if name == "ENV":
                variables |= dict(item.split("=", 1) for item in shlex.split(text))
        return variables

    def values(self, instruction: str) -> list[str]:
        return [text for name, text in self.instructions if name == instruction]

    @property
    def command(self) -> list[str]:
        return [str(word) for word in json.loads(self.values("CMD")[-1])]

    @property
    def health_check(self) -> list[str]:
        _, _, command = self.values("HEALTHCHECK")[-1].partition(" CMD ")
        return [str(word) for word in json.loads(command)]


def read_dockerfile(path: Path = ROOT / "Dockerfile") -> list[Stage]:
    arguments: dict[str, str] = {}
    stages: list[Stage] = []
    for line in _logical_lines(path.read_text()):
        name, _, text = line.partition(" ")
        text = text.strip()
        if name == "ARG":
            key, _, value = text.partition("=")
            arguments[key] = value
        elif name == "FROM":
            base = text.split(" ")[0]
            for key, value in arguments.items():
                base = base.replace(f"${{{key}}}", value)
            stages.append(Stage(base))
        else:
            stages[-1].instructions.append((name, text))
    return stages


def _logical_lines(text: str) -> list[str]:
    kept = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    return "\n".join(kept).replace("\\\n", " ").splitlines()


def in_build_context(path: str) -> bool:
    """Whether .dockerignore lets `path` through. It knows the forms that ours uses: `*`, `!path` and `**/name`."""
    allowed = True
    for line in (ROOT / ".dockerignore").read_text().splitlines():
        pattern = line.strip()
        if not pattern or pattern.startswith("#"):
            continue
        wanted = pattern.startswith("!")
        if _matches(pattern.removeprefix("!"), PurePosixPath(path)):
            allowed = wanted
    return allowed


def _matches(pattern: str, path: PurePosixPath) -> bool:
    if pattern == "*":
        return True
    if pattern.startswith("**/"):
        return pattern.removeprefix("**/") in path.parts
    return path.is_relative_to(pattern)


class Builder:
    """Runs the steps of a stage below `root`, which stands for `/` of the image.

    Every RUN line is run as it stands, but for the image's own absolute paths, and with the Python that runs the
    tests in place of the base image's. COPY takes only what .dockerignore lets through.
    """

    _OWN_PATHS = ("/opt/cohort-gateway", "/src")

    def __init__(self, root: Path) -> None:
        self.root = root
        self._directory = root
        base = root / "base"
        base.mkdir(parents=True)
        (base / "python").symlink_to(os.path.realpath(sys.executable))
        # Ours may hold where this machine's package index is, which a registry of the base image would not need.
        self._environment = dict(os.environ) | {"PATH": f"{base}:{os.environ['PATH']}"}
        for name in ("VIRTUAL_ENV", "PYTHONPATH", "PYTHONHOME"):
            self._environment.pop(name, None)

    def build(self, stage: Stage) -> None:
        """Raises `StepError`."""
        for name, text in stage.instructions:
            match name:
                case "ENV":
                    for item in shlex.split(text):
                        key, _, value = self._rebased(item).partition("=")
                        self._environment[key] = value.replace("$PATH", self._environment["PATH"])
                case "WORKDIR":
                    self._directory = self._below(text)
                    self._directory.mkdir(parents=True, exist_ok=True)
                case "COPY":
                    self._copy(text.split())
                case "RUN":
                    self._run(text)
                case _:
                    raise StepError(f"{name}: not known to these tests")

    def _run(self, command: str) -> None:
        done = subprocess.run(
            ["/bin/sh", "-c", self._rebased(command)],
            cwd=self._directory,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=STEP_SECONDS,
            check=False,
        )
        if done.returncode != 0:
            raise StepError(f"RUN {command}\nended with {done.returncode}:\n{done.stdout[-4000:]}")

    def _copy(self, words: list[str]) -> None:
        *sources, target = words
        for source in sources:
            for path in sorted(_files(source)):
                destination = self._directory / target
                if source.endswith("/"):
                    destination = destination / path.relative_to(ROOT / source)
                elif target.endswith("/"):
                    destination = destination / path.name
                destination.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(path, destination)

    def _below(self, path: str) -> Path:
        return self.root / path.lstrip("/")

    def _rebased(self, text: str) -> str:
        for path in self._OWN_PATHS:
            text = text.replace(path, str(self._below(path)))
        return text


class StepError(AssertionError):
    """A step of the Dockerfile did not do what it should."""


def _files(source: str) -> list[Path]:
    place = ROOT / source
    found = [place] if place.is_file() else [path for path in place.rglob("*") if path.is_file()]
    kept = [path for path in found if in_build_context(path.relative_to(ROOT).as_posix())]
    if not kept:
        raise StepError(f"COPY {source}: nothing of it is in the build context")
    return kept
