"""Circuit breaker: a server that does not answer is left alone, so that not every call waits for it."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, TypeVar

from fme_client.errors import NetworkError

if TYPE_CHECKING:
    from collections.abc import Callable

FAILURES = 3
FIRST_PAUSE = 0.25
LONGEST_PAUSE = 5.0  # seconds; also the longest time for which a server that is back is not noticed

# Kinds of `NetworkError` that say that the server does not answer at all. Anything that it does answer, however wrong,
# costs no time.
_SILENCE = frozenset(("deadline", "unreachable", "name", "cut_off", "tls", "failed"))
# Kinds that say nothing of the server: it was not asked, or something else ended the call.
_UNTOLD = frozenset(("bad_value", "no_time", "abandoned"))

_Result = TypeVar("_Result")


class Breaker:
    """After `FAILURES` in a row nobody asks for a pause; then one call at a time is a probe.

    Each probe that fails doubles the pause, an answer ends it. What was under way when a pause began does not lengthen
    it: calls that time out together tell of one failure of the server, however many they are.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._failures = 0  # in a row, since the last answer
        self._pauses = 0  # that were begun so far; a failure counts only where none began since its call did
        self._pause = 0.0  # seconds; 0: everybody may ask
        self._until = 0.0
        self._probing = False

    def call(self, ask: Callable[[], _Result]) -> _Result:
        """What `ask` returns. Raises its `NetworkError`, and during a pause one of the kind `paused`, at once."""
        pauses = self._begin()
        kind = "abandoned"  # by an exception of the application's, such as its own time-out
        try:
            result = ask()
            kind = ""
        except NetworkError as error:
            kind = error.kind
            raise
        finally:
            self._end(pauses, kind)
        return result

    def _begin(self) -> int:
        with self._lock:
            if self._pause:
                if self._probing or time.monotonic() < self._until:
                    raise NetworkError("paused", "the gateway did not answer lately and is not asked for a moment")
                self._probing = True
            return self._pauses

    def _end(self, pauses: int, kind: str) -> None:
        with self._lock:
            if kind not in _SILENCE | _UNTOLD:
                self._failures, self._pause, self._probing = 0, 0.0, False
            elif pauses == self._pauses:
                self._probing = False
                if kind in _SILENCE:
                    self._fail()

    def _fail(self) -> None:
        self._failures += 1
        if self._failures >= FAILURES:
            self._pause = min(2 * self._pause, LONGEST_PAUSE) or FIRST_PAUSE
            self._until = time.monotonic() + self._pause
            self._pauses += 1
