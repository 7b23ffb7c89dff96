"""A lower bound of the sender's clock: what an operator does is placed by it, since ours may be hours ahead."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_DAY_MS = 86_400_000


class HeapClock:
    """Times are Unix milliseconds. `newest`: the largest place that a task ever had, or signed time that was seen."""

    def __init__(
        self,
        newest: int,
        *,
        wall: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.newest = newest
        self._wall = wall
        self._monotonic = monotonic
        self._freshest: int | None = None  # a signed time less our monotonic one, where that is largest
        self._wanted = 0  # the wall clock of the newest erasure that could not be placed by it

    def see(self, signed_at: int) -> None:
        """A push was signed at that time, a moment ago or longer."""
        self.newest = max(self.newest, signed_at)
        lead = signed_at - self._elapsed()
        if self._freshest is None or lead > self._freshest:
            self._freshest = lead

    def lower_bound(self) -> int:
        """The sender's clock shows this time, or a later one."""
        if self._freshest is None:
            return self.newest
        return max(self.newest, self._freshest + self._elapsed())

    def place_of_erasure(self) -> int:
        """Now by the wall clock, but at most a day beyond the newest signed time, and never before the lower bound.

        Too early, and a page that is under way would bring the person back.
        """
        wall, latest = self.wall(), self._latest()
        if wall > latest:
            self._wanted = wall
        return max(self.lower_bound(), min(wall, latest))

    @property
    def is_doubtful(self) -> bool:
        """Whether an erasure is placed earlier than the wall clock says, which is far ahead of what senders sign."""
        return self._wanted > max(self.lower_bound(), self._latest())

    def wall(self) -> int:
        return int(self._wall() * 1000)

    def _latest(self) -> int:
        return self.newest + _DAY_MS if self.newest else self.wall()

    def _elapsed(self) -> int:
        return int(self._monotonic() * 1000)
