"""VWO's own Python SDK, run in processes of its own."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

from tests.support.installed_apart import installed_apart, run_apart

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

OFFICIAL = "vwo-fme-python-sdk==1.65.0"
OF_WINGIFY = "wingify-fme-python-sdk==1.65.0"
Call = tuple[Any, ...]  # the name of a method of the client, or of a function of the package, and its arguments


class Calls(NamedTuple):
    """What each call answered, of a flag `{"enabled", "variables"}`; `log` is what the SDK said meanwhile."""

    answers: list[Any]
    log: str


def install_official() -> Path:
    """The directory that has the SDK."""
    return installed_apart(OFFICIAL)


def official_calls(options: Mapping[str, Any], calls: Sequence[Call], *, requirement: str = OFFICIAL) -> Calls:
    """Make the calls one after the other in a fresh process, which ends once the SDK has sent its events."""
    job = {
        "package": requirement.partition("-")[0],
        "options": dict(options),
        "calls": [{"method": method, "arguments": arguments} for method, *arguments in calls],
    }
    done = run_apart("official_calls.py", requirement, job)
    return Calls(json.loads(done.stdout), done.stderr)
