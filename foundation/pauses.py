"""How long to wait before something is tried again."""

from __future__ import annotations

import random
from dataclasses import dataclass


@dataclass(slots=True)
class Pauses:
    """Pauses that double from `first` to `longest` seconds, each cut by up to a half by chance.

    So that many who were thrown out together don't all come back together.
    """

    first: float
    longest: float
    _last: float = 0.0

    def next(self) -> float:
        self._last = min(self.longest, self._last * 2 or self.first)
        return self._last * random.uniform(0.5, 1)  # noqa: S311 - jitter
