"""Stop asking a server that does not answer, so that not every evaluation waits for it."""

from __future__ import annotations

import threading
import time

FAILURES = 3
FIRST_PAUSE = 0.25
LONGEST_PAUSE = 5.0  # seconds; also the longest time for which a server that is back is not noticed


class Breaker:
    """After `FAILURES` in a row nobody asks for a pause; then one question is a trial.

    Each trial that fails doubles the pause, an answer ends it.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._failures = 0
        self._pause = FIRST_PAUSE
        self._paused_until = 0.0

    def allows(self) -> bool:
        """Whether to ask now."""
        if self._failures < FAILURES:
            return True
        with self._lock:
            now = time.monotonic()
            if now < self._paused_until:
                return False
            self._paused_until = now + self._pause  # of the others, while this one tries
            return True

    def succeeded(self) -> None:
        self._failures = 0
        self._pause = FIRST_PAUSE

    def failed(self) -> None:
        with self._lock:
            self._failures += 1
            if self._failures < FAILURES:
                return
            if self._failures > FAILURES:
                self._pause = min(2 * self._pause, LONGEST_PAUSE)
            self._paused_until = time.monotonic() + self._pause
