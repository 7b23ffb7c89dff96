"""Trouble that comes in thousands, told to the log when it begins and when it is over."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter

log = logging.getLogger(__name__)


class Spell:
    """One kind of trouble, which `what` names. It is over once nothing was added for `quiet` seconds, or at `close`.

    `level`: less than an error for what strangers may bring about.
    """

    def __init__(self, what: str, *, quiet: float = 30.0, level: int = logging.ERROR) -> None:
        self._level = level
        self._what = what
        self._quiet = quiet
        self._numbers: Counter[str] = Counter()
        self._last = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def add(self, number: int, reason: str) -> None:
        """It befell `number` more. The first of each reason is a line."""
        loop = asyncio.get_running_loop()
        if reason not in self._numbers:
            log.log(self._level, "%s: %s; how many is said when it is over", self._what, reason)
        self._numbers[reason] += number
        self._last = loop.time()
        if self._timer is None:
            self._timer = loop.call_later(self._quiet, self._look)

    def close(self) -> None:
        """It is over: say how many there were."""
        if self._timer is None:
            return
        self._timer.cancel()
        self._timer = None
        numbers = ", ".join(f"{number} {reason}" for reason, number in self._numbers.items())
        log.log(self._level, "%s: that is over; there were %s", self._what, numbers)
        self._numbers.clear()

    def _look(self) -> None:
        loop = asyncio.get_running_loop()
        left = self._last + self._quiet - loop.time()
        if left > 0:
            self._timer = loop.call_later(left, self._look)
        else:
            self.close()
