"""Child processes that never outlive us."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

from foundation.orphans import ends_with_parent

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def start(
    command: Sequence[str],
    *,
    environment: Mapping[str, str] | None = None,
    keep_open: Sequence[int] = (),
    stdout: int | None = None,
) -> subprocess.Popen[bytes]:
    """Start `command` in a session of its own, so that a Ctrl-C reaches us alone and we choose the order.

    On Linux the child gets SIGTERM when we die, however we die. It must be started from the main thread.
    """
    return subprocess.Popen(
        command,
        env=environment,
        pass_fds=keep_open,
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        start_new_session=True,
        preexec_fn=ends_with_parent(),  # noqa: PLW1509 - we hold one thread when we start children
    )


def stop(child: subprocess.Popen[bytes], *, seconds: float) -> None:
    """SIGTERM, and SIGKILL where that is not enough."""
    if child.poll() is not None:
        return
    child.terminate()
    try:
        child.wait(seconds)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
