"""Where a client's messages go: Python's `logging`, or the transports of the Node SDK's `logger` option.

No message holds a user id, an attribute's value, an SDK key or a query string.
"""

from __future__ import annotations

import contextlib
import logging
import sys
import threading
import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

LEVELS: Final = {"trace": 5, "debug": logging.DEBUG, "info": logging.INFO, "warn": logging.WARNING, "error": 40}
_QUIET_SECONDS = 60.0
_KINDS = 1000  # of complaints that are remembered

Sink = tuple[int, "Callable[[str, str], object]"]  # the least level, and what takes (level, message)


class Log:
    """Messages to every sink whose level they reach. A sink that raises is not heard of again by the caller."""

    def __init__(self, sinks: Sequence[Sink]) -> None:
        self._sinks = tuple(sinks)
        self._complaints: dict[str, tuple[float, int]] = {}  # kind: when it was last said, how often since
        self._lock = threading.Lock()

    def debug(self, message: str) -> None:
        self._say("debug", message)

    def info(self, message: str) -> None:
        self._say("info", message)

    def warn(self, message: str) -> None:
        self._say("warn", message)

    def error(self, message: str) -> None:
        self._say("error", message)

    def complain(self, kind: str, message: str) -> None:
        """An error that may come with every call: said at once, then once a minute with how often it came."""
        now = time.monotonic()
        with self._lock:
            said, unsaid = self._complaints.get(kind, (-_QUIET_SECONDS, 0))
            if now - said < _QUIET_SECONDS:
                self._complaints[kind] = (said, unsaid + 1)
                return
            if len(self._complaints) >= _KINDS:
                self._complaints.clear()
            self._complaints[kind] = (now, 0)
        self.error(f"{message} ({unsaid} more like this since the last time)" if unsaid else message)

    def fork(self) -> Log:
        """The same sinks, and a lock that nobody of the parent process holds."""
        return Log(self._sinks)

    def _say(self, level: str, message: str) -> None:
        for least, sink in self._sinks:
            if LEVELS[level] >= least:
                with contextlib.suppress(Exception):
                    sink(level, message)


def to_logger(logger: logging.Logger) -> Sink:
    """Everything to `logger`, whose own configuration decides what is kept."""
    return LEVELS["trace"], lambda level, message: logger.log(LEVELS[level], "%s", message)


def to_console(level: str, prefix: str) -> Sink:
    """Lines on standard error, as the Node SDK writes them to its console."""

    def write(said: str, message: str) -> None:
        when = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        sys.stderr.write(f"[{said.upper()}]: {prefix} {when} {message}\n")

    return LEVELS[level], write
