"""VWO's own Python SDK: installed apart, since it is none of our dependencies, and run in processes of its own."""

from __future__ import annotations

import fcntl
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from tests.node.node_sdk import unavailable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

OFFICIAL = "vwo-fme-python-sdk==1.65.0"
Call = tuple[Any, ...]  # the method's name in the SDK, and its arguments

_INSTALL_SECONDS = 300.0
_CALLS_SECONDS = 60.0


class Calls(NamedTuple):
    """What each call answered, of a flag `{"enabled", "variables"}`; `log` is what the SDK said meanwhile."""

    answers: list[Any]
    log: str


def install_official() -> Path:
    """The directory that has the SDK; made once for each Python environment, whoever else asks at the same time."""
    # In the environment, since parts of it are built for its Python, but not among the packages that ours can import.
    directory = Path(sys.prefix) / "official-python-sdk"
    stamp = directory / ".installed-from"
    with Path(sys.prefix, "official-python-sdk.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if stamp.exists() and stamp.read_text() == OFFICIAL:
            return directory
        shutil.rmtree(directory, ignore_errors=True)
        options = ["--quiet", "--disable-pip-version-check", "--retries=2", "--target", str(directory)]
        done = subprocess.run(
            [sys.executable, "-m", "pip", "install", *options, OFFICIAL],
            capture_output=True,
            text=True,
            timeout=_INSTALL_SECONDS,
            check=False,
        )
        if done.returncode != 0:
            unavailable(f"pip can't install {OFFICIAL}: {done.stderr[-2000:]}")
        stamp.write_text(OFFICIAL)
    return directory


def official_calls(options: Mapping[str, Any], calls: Sequence[Call]) -> Calls:
    """Make the calls one after the other in a fresh process, which ends once the SDK has sent its events."""
    job = {
        "options": dict(options),
        "calls": [{"method": method, "arguments": arguments} for method, *arguments in calls],
    }
    done = subprocess.run(
        [sys.executable, "-I", str(Path(__file__).with_name("official_calls.py")), str(install_official())],
        input=json.dumps(job),
        capture_output=True,
        encoding="utf-8",
        timeout=_CALLS_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return Calls(json.loads(done.stdout), done.stderr)
