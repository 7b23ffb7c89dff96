"""Child processes that never outlive us."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

_PR_SET_PDEATHSIG = 1


def start(
    command: Sequence[str],
    *,
    environment: Mapping[str, str] | None = None,
    keep_open: Sequence[int] = (),
    stdout: int | None = None,
) -> subprocess.Popen[bytes]:
    """Start `command` in a session of its own, so that a Ctrl-C reaches us alone and we choose the order.

    On Linux the child gets SIGTERM when we die, however we die. It must be started from the main thread, since Linux
    ties that signal to the thread that forked.
    """
    return subprocess.Popen(
        command,
        env=environment,
        pass_fds=keep_open,
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        start_new_session=True,
        preexec_fn=_dies_with_parent(),  # noqa: PLW1509 - we hold one thread when we start children
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


def _dies_with_parent() -> Callable[[], None] | None:
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    parent = os.getpid()

    def ask_for_signal() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:  # it died before the request was in place
            os._exit(1)

    return ask_for_signal
