"""SDKs of others from PyPI: installed apart, since they are no dependencies of ours, and run in their own processes."""

from __future__ import annotations

import fcntl
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.node.node_sdk import unavailable

if TYPE_CHECKING:
    from collections.abc import Mapping

_INSTALL_SECONDS = 300.0
_RUN_SECONDS = 60.0


def installed_apart(*requirements: str) -> Path:
    """The directory that has `requirements` and what these need, to be put in front of `sys.path`.

    It is made once for each Python environment, whoever else asks at the same time. Where it can't be had the test is
    skipped, loudly.
    """
    wanted = "\n".join(requirements)
    # In the environment, since parts are built for its Python, but not among the packages that ours can import.
    directory = Path(sys.prefix) / "apart" / re.sub(r"[^a-z0-9]+", "-", requirements[0].partition("==")[0].lower())
    directory.parent.mkdir(exist_ok=True)
    stamp = directory / ".installed-from"
    with directory.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if stamp.exists() and stamp.read_text() == wanted:
            return directory
        shutil.rmtree(directory, ignore_errors=True)
        options = ["--quiet", "--disable-pip-version-check", "--retries=2", "--target", str(directory)]
        done = subprocess.run(
            [sys.executable, "-m", "pip", "install", *options, *requirements],
            capture_output=True,
            text=True,
            timeout=_INSTALL_SECONDS,
            check=False,
        )
        if done.returncode != 0:
            unavailable(f"pip can't install {wanted}: {done.stderr[-2000:]}")
        stamp.write_text(wanted)
    return directory


def run_apart(
    program: str,
    requirement: str,
    job: Any,
    *,
    options: tuple[str, ...] = ("-I",),
    environment: Mapping[str, str] | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run `program`, a file of this directory, to its end, with the SDK of `requirement`.

    Its first argument says where that is, and it reads `job`, as JSON, from standard input.
    """
    done = subprocess.run(
        [sys.executable, *options, str(Path(__file__).with_name(program)), str(installed_apart(requirement))],
        input=json.dumps(job),
        capture_output=True,
        encoding="utf-8",
        env=environment,
        timeout=_RUN_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done
