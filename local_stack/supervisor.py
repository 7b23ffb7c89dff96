"""Child processes that are started again when they end: an absent gateway costs every SDK 14 s in a user's request."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NoReturn

from foundation.errors import ConfigurationError
from foundation.pauses import Pauses

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Sequence

_LOOK_SECONDS = 0.2
_STEADY_SECONDS = 10.0  # who ends sooner than this is started again later and later
_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.5, 10.0


@dataclass
class Child:
    """A running `process` and the way to another one; `explain` says what an operator should read of its end."""

    name: str
    process: subprocess.Popen[bytes]
    start: Callable[[], subprocess.Popen[bytes]]
    explain: Callable[[], str]
    started_at: float = field(default_factory=time.monotonic)
    due_at: float | None = None  # when it is started again
    pauses: Pauses = field(default_factory=lambda: Pauses(_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS))


def supervise(children: Sequence[Child]) -> NoReturn:
    """Start again whoever ends, after a pause, and say why it ended; until an exception (of a signal) comes."""
    while True:
        _note_ends({child.process.pid: child for child in children if child.due_at is None})
        for child in children:
            if child.due_at is not None and time.monotonic() >= child.due_at:
                _start_again(child)
        time.sleep(_LOOK_SECONDS)


def _note_ends(running: dict[int, Child]) -> None:
    while True:
        try:
            # Waits without reaping, so that Popen still sees the exit status.
            ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOWAIT | os.WNOHANG)
        except ChildProcessError:  # there is none at all
            return
        if ended is None:
            return
        child = running.get(ended.si_pid)
        if child is None:
            os.waitpid(ended.si_pid, 0)
        else:
            _put_off(child, f"ended (exit status {child.process.wait()})")


def _start_again(child: Child) -> None:
    try:
        child.process = child.start()
    except OSError as error:  # no memory, or too many processes
        _put_off(child, f"could not be started: {error.strerror}")
        return
    except ConfigurationError as error:  # its program is gone, because a newer one is being installed
        _put_off(child, f"could not be started: {error}")
        return
    child.started_at, child.due_at = time.monotonic(), None


def _put_off(child: Child, problem: str) -> None:
    now = time.monotonic()
    if now - child.started_at >= _STEADY_SECONDS:
        child.pauses = Pauses(_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS)
    pause = child.pauses.next()
    child.due_at = now + pause
    with contextlib.suppress(OSError, ValueError):  # where a log is on the disk that is full, the rest goes on untold
        print(
            f"error: {child.name} {problem}; it is started again in {pause:.1f} s. {child.explain()}",
            file=sys.stderr,
            flush=True,
        )
