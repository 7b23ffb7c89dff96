"""The real VWO Node SDK: installed from the lock file, asked for decisions in a process of its own."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NoReturn

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

HERE = Path(__file__).resolve().parent
INSTALL_SECONDS = 300.0
EVALUATE_SECONDS = 120.0

Stack = Literal["cjs", "esm"]
STACKS: tuple[Stack, ...] = ("cjs", "esm")
_DRIVERS: dict[Stack, str] = {"cjs": "evaluate.cjs", "esm": "evaluate.mjs"}


def unavailable(what: str) -> NoReturn:
    """Skip the test, saying why; in CI, where everything must be there, fail it."""
    if os.environ.get("CI"):
        pytest.fail(what)
    pytest.skip(f"NOT TESTED: {what}")


def install_packages() -> Path:
    """`node_modules` as `package-lock.json` wants it; installed once, whoever else asks at the same time."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        unavailable("Node 20 with npm is not installed, so the real SDK can't be asked")
    modules = HERE / "node_modules"
    stamp = modules / ".installed-from"
    with (HERE / "package-lock.json").open("rb") as lock_file:
        fcntl.flock(lock_file, fcntl.LOCK_EX)
        wanted = hashlib.sha256(lock_file.read()).hexdigest()
        if stamp.exists() and stamp.read_text() == wanted:
            return modules
        # No package of ours needs a script to install.
        command = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
        done = subprocess.run(
            command, cwd=HERE, capture_output=True, text=True, timeout=INSTALL_SECONDS, check=False, env=_environment()
        )
        if done.returncode != 0:
            unavailable(f"npm ci failed in tests/node: {done.stderr[-2000:]}")
        stamp.write_text(wanted)
    return modules


@dataclass(frozen=True)
class Decision:
    """What the SDK decided for one context."""

    id: str
    enabled: bool
    variables: list[dict[str, Any]]
    ms: float


@dataclass(frozen=True)
class Request:
    """A call that the SDK made; `status` is None when no answer came."""

    method: str
    host: str
    path: str
    status: int | None


@dataclass(frozen=True)
class Evaluation:
    decisions: list[Decision]
    requests: list[Request]
    log: list[str] = field(repr=False)

    @property
    def enabled(self) -> set[str]:
        """Ids of the contexts for which the flag is on."""
        return {decision.id for decision in self.decisions if decision.enabled}

    @property
    def complaints(self) -> list[str]:
        """Log lines about errors, warnings and retries. A healthy gateway gives none."""
        return [line for line in self.log if line.startswith(("ERROR", "WARN")) or "retry" in line.lower()]

    def requests_to(self, path: str) -> list[Request]:
        return [request for request in self.requests if request.path == path]


def evaluate(
    stack: Stack,
    gateway: str,
    contexts: Iterable[Mapping[str, Any]],
    *,
    flag: str = "premium_dashboard",
    account: str = "123456",
    sdk_key: str = "sample_sdk_key",
    options: Mapping[str, Any] | None = None,
    aliases: Iterable[tuple[str, str]] = (),
) -> Evaluation:
    """Ask the SDK for `flag` in each context, one after the other, in a fresh process.

    `gateway` is an address such as `http://127.0.0.1:8000`; `options` are further ones of the SDK's `init`.
    `aliases`, pairs of user and alias, are set first.
    """
    install_packages()
    protocol, _, address = gateway.partition("://")
    host, _, port = address.rpartition(":")
    job = {
        "gateway": {"url": host, "port": int(port), "protocol": protocol},
        "accountId": account,
        "sdkKey": sdk_key,
        "flagKey": flag,
        "contexts": list(contexts),
        "options": dict(options or {}),
        "aliases": list(aliases),
    }
    done = subprocess.run(
        ["node", str(HERE / _DRIVERS[stack])],
        input=json.dumps(job),
        capture_output=True,
        encoding="utf-8",
        timeout=EVALUATE_SECONDS,
        check=False,
        env=_environment(),
    )
    assert done.returncode == 0, f"the {stack} driver ended with {done.returncode}:\n{done.stderr}"
    *decisions, report = [json.loads(line) for line in done.stdout.splitlines()]
    return Evaluation(
        decisions=[Decision(**decision) for decision in decisions],
        requests=[Request(**request) for request in report["requests"]],
        log=[f"{line['level'].upper()} {line['message']}" for line in report["log"]],
    )


def _environment() -> dict[str, str]:
    """Our environment without what changes Node's behaviour or sends its calls elsewhere."""
    foreign = ("NODE_OPTIONS", "NODE_ENV", "NODE_USE_ENV_PROXY")
    return {name: value for name, value in os.environ.items() if name not in foreign}
