"""The budget of memory that all bodies in flight share, unsigned ones included."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from foundation.errors import UnavailableError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

# What a body takes while it is applied, in multiples of its length: itself, its members as objects (2.2 times for ids
# of 22 characters, 4.7 for the shortest), these packed for the journal and the store, and copies on the way there.
WORKING_FACTOR = 8


class Memory:
    """Half of the budget (bytes) is for bodies as they arrive, half for work on them.

    A body that is alone always has room. What has arrived counts, not what was announced: otherwise an announcement,
    which costs its sender nothing, could keep everybody else out.
    """

    def __init__(self, budget: int) -> None:
        self.received = 0
        self.working = 0
        self._half = budget // 2
        self._turnstile = asyncio.Lock()
        self._freed = asyncio.Event()

    @contextlib.contextmanager
    def booking(self, announced: int) -> Iterator[Booking]:
        """Room for a body of `announced` bytes (0: unknown). Raises `UnavailableError` when there is none now."""
        if self.received and self.received + announced > self._half:
            raise _busy()
        booking = Booking(self)
        try:
            yield booking
        finally:
            self.received -= booking.held

    def take(self, size: int, *, held: int) -> None:
        """Room for `size` bytes more of a body that holds `held`. Raises `UnavailableError`."""
        if self.received > held and self.received + size > self._half:
            raise _busy()
        self.received += size

    @contextlib.asynccontextmanager
    async def work_on(self, size: int) -> AsyncIterator[None]:
        """Wait for what a body of `size` bytes takes to be applied, and hold it while the block runs.

        First come, first served; one body is always worked on, however large.
        """
        extra = size * (WORKING_FACTOR - 1)
        async with self._turnstile:
            while self.working and self.working + extra > self._half:
                self._freed.clear()
                await self._freed.wait()
            self.working += extra
        try:
            yield
        finally:
            self.working -= extra
            self._freed.set()


class Booking:
    """What one request holds of the memory."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self.held = 0

    def grow(self, size: int) -> None:
        """Raises `UnavailableError` when there is no room for `size` bytes more."""
        self._memory.take(size, held=self.held)
        self.held += size


def _busy() -> UnavailableError:
    return UnavailableError("too much arrives at once; send this again later", reason="busy")
