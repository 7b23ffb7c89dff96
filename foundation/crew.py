"""What the processes that serve together know of each other."""

from __future__ import annotations

import mmap
import os
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


class Crew:
    """The processes that serve one address, each in its slot, over memory that forks of this process share.

    A process alone is a crew of one, in slot 0. In `directory` the others keep what outlives one of them; it is there
    where there are several.
    """

    def __init__(self, size: int = 1, directory: Path | None = None) -> None:
        self.size = size
        self.directory = directory
        self.slot = 0  # which of them we are; who replaces a process takes over its slot
        cells = memoryview(mmap.mmap(-1, (size + 1) * 8)).cast("q")
        self._pids = cells[:size]  # of those that serve; 0: nobody does in this slot
        self._news = cells[size:]

    def serving(self) -> dict[int, int]:
        """The slots in which a process serves, and its pid."""
        return {slot: pid for slot, pid in enumerate(self._pids) if pid}

    def set_serving(self, serves: bool) -> None:
        """Tell the others whether we serve."""
        self._pids[self.slot] = os.getpid() if serves else 0

    def set_gone(self, slot: int) -> None:
        """Note that the process in `slot` has died, and may not have said so."""
        self._pids[slot] = 0

    @property
    def news(self) -> int:
        """Another number whenever one of us has called `spread_news`."""
        return self._news[0]

    def spread_news(self) -> int:
        """Tell the others that something they hold, too, is to be read anew; the number that `news` is now."""
        # A clock, not a counter: two processes that spread news at once must not arrive at the same number.
        self._news[0] = told = time.monotonic_ns()
        return told
