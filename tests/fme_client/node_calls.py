"""The real Node SDK makes calls, written as those of our client."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING, Any

from tests.node.node_sdk import HERE, Stack, install_packages

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Call = tuple[Any, ...]  # the method's name in the Node SDK, and its arguments

_SECONDS = 60.0
_PROGRAMS: dict[Stack, str] = {"cjs": "client_calls.cjs", "esm": "client_calls.mjs"}


def node_calls(
    options: Mapping[str, Any], calls: Sequence[Call], *, vwo: int | None = None, stack: Stack = "cjs"
) -> list[Any]:
    """What each call answered. `vwo`: the port of loopback that stands for VWO's own host (`cjs` only)."""
    install_packages()
    job = {
        "options": dict(options),
        "calls": [{"method": method, "arguments": arguments} for method, *arguments in calls],
        "vwo": vwo,
    }
    done = subprocess.run(
        ["node", str(HERE / _PROGRAMS[stack])],
        input=json.dumps(job),
        capture_output=True,
        encoding="utf-8",
        timeout=_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    answers: list[Any] = json.loads(done.stdout)
    return answers
