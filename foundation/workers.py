"""Worker processes: started together, replaced when they die, stopped together."""

from __future__ import annotations

import gc
import logging
import os
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from foundation.crew import Crew
from foundation.crew_metrics import drop_gauges
from foundation.errors import ConfigurationError
from foundation.orphans import ends_with_parent

if TYPE_CHECKING:
    from collections.abc import Callable

log = logging.getLogger(__name__)

_STOP_SECONDS = 1.3  # a little more than the grace that `serving.serve` gives to requests under way
_START_POLL_SECONDS = 0.02
_IDLE_SECONDS = 3600.0  # with nothing to do but to wait for a signal
_STEADY_SECONDS = 10.0  # who dies sooner than this is replaced later and later
_FIRST_PAUSE_SECONDS = 0.1
_LONGEST_PAUSE_SECONDS = 10.0

_STOP = frozenset((signal.SIGINT, signal.SIGTERM))
_AWAITED = _STOP | {signal.SIGCHLD}


def run_workers(size: int, work: Callable[[Crew], int], *, when_up: Callable[[], None]) -> int:
    """Run `work` in `size` processes until SIGINT or SIGTERM, with another one for each that ends. The exit status.

    `work` is to say through its `Crew` when it serves, to return on SIGTERM, and to return its exit status. `when_up`
    is called once all serve; a process that ends before that ends everything, and its exit status is ours.

    It forks, so it must be called before any thread or event loop exists. Raises `ConfigurationError` outside Linux.
    """
    if sys.platform != "linux":
        raise ConfigurationError("WORKERS: several processes on one port need Linux; leave it at 1")
    # Memory where there is some: values that are written again and again must not wait for a disk, or find it full.
    memory = Path("/dev/shm")  # noqa: S108 - its place on Linux
    place = memory if os.access(memory, os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="workers-", dir=place) as directory:
        return _Supervisor(Crew(size, Path(directory)), work, when_up).run()


class _Supervisor:
    def __init__(self, crew: Crew, work: Callable[[Crew], int], when_up: Callable[[], None]) -> None:
        self._crew = crew
        self._work = work
        self._when_up = when_up
        self._up = False
        self._slots: dict[int, int] = {}  # by pid
        self._started: dict[int, float] = {}  # by slot, like the two below
        self._pauses = dict.fromkeys(range(crew.size), 0.0)
        self._due = dict.fromkeys(range(crew.size), 0.0)

    def run(self) -> int:
        gc.collect()
        gc.freeze()  # no collector of a worker shall write to the pages that all share
        # They stay blocked to our end: a second SIGTERM must not cut a stop short.
        signal.pthread_sigmask(signal.SIG_BLOCK, _AWAITED)
        try:
            while True:
                self._start_those_due()
                received = signal.sigtimedwait(_AWAITED, self._patience())
                if received is not None and received.si_signo in _STOP:
                    return 0
                for slot, status in self._ended():
                    if not self._up:
                        return status if status > 0 else 1
                    self._replace(slot, _describe(status))
                if not self._up and len(self._crew.serving()) == self._crew.size:
                    self._up = True
                    self._when_up()
        finally:
            self._stop()

    def _patience(self) -> float:
        if not self._up:
            return _START_POLL_SECONDS
        next_start = min(self._due.values(), default=time.monotonic() + _IDLE_SECONDS)
        return max(0.0, next_start - time.monotonic())

    def _start_those_due(self) -> None:
        now = time.monotonic()
        for slot in [slot for slot, due in self._due.items() if due <= now]:
            del self._due[slot]
            self._started[slot] = now
            try:
                self._slots[self._fork(slot)] = slot
            except OSError as error:  # no memory, or too many processes: no reason to end those that there are
                if not self._up:
                    raise
                self._replace(slot, f"it could not be started: {error.strerror}")

    def _fork(self, slot: int) -> int:
        bind_to_parent = ends_with_parent()
        parent = os.getpid()
        pid = os.fork()
        if pid:
            return pid
        status = 1
        try:
            bind_to_parent()
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all of us; our parent passes it on
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _AWAITED)
            self._crew.slot = slot
            status = self._work(self._crew)
        except BaseException:
            log.exception("worker %d failed", slot)
        finally:
            if os.getppid() != parent and self._crew.directory:  # nobody else is left to clean up
                shutil.rmtree(self._crew.directory, ignore_errors=True)
            # Not one line of our parent's own may run here, whatever happened above.
            os._exit(status)

    def _ended(self) -> list[tuple[int, int]]:
        """Slot and exit status (negative: the signal) of those that have ended since."""
        ended = []
        for pid, slot in list(self._slots.items()):
            reaped, status = os.waitpid(pid, os.WNOHANG)
            if reaped:
                del self._slots[pid]
                self._crew.set_gone(slot)
                drop_gauges(self._crew, slot)
                ended.append((slot, os.waitstatus_to_exitcode(status)))
        return ended

    def _replace(self, slot: int, end: str) -> None:
        now = time.monotonic()
        if now - self._started[slot] >= _STEADY_SECONDS:
            self._pauses[slot] = 0.0
        else:
            self._pauses[slot] = min(max(_FIRST_PAUSE_SECONDS, 2 * self._pauses[slot]), _LONGEST_PAUSE_SECONDS)
        self._due[slot] = now + self._pauses[slot]
        log.warning("worker %d ended (%s); another takes its place in %.1f s", slot, end, self._pauses[slot])

    def _stop(self) -> None:
        deadline = time.monotonic() + _STOP_SECONDS
        for pid in self._slots:
            os.kill(pid, signal.SIGTERM)
        while self._slots and (left := deadline - time.monotonic()) > 0:
            signal.sigtimedwait({signal.SIGCHLD}, left)
            self._ended()
        for pid in self._slots:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


def _describe(status: int) -> str:
    return f"exit status {status}" if status >= 0 else signal.strsignal(-status) or f"signal {-status}"
