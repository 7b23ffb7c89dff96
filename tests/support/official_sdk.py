"""VWO's own Python SDK, run in processes of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from tests.support.installed_apart import installed_apart

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

OFFICIAL = "vwo-fme-python-sdk==1.65.0"
Call = tuple[Any, ...]  # the method's name in the SDK, and its arguments

_CALLS_SECONDS = 60.0


class Calls(NamedTuple):
    """What each call answered, of a flag `{"enabled", "variables"}`; `log` is what the SDK said meanwhile."""

    answers: list[Any]
    log: str


def install_official() -> Path:
    """The directory that has the SDK."""
    return installed_apart(OFFICIAL)


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
