"""The budget of memory that all bodies in flight share, unsigned ones included."""

from __future__ import annotations

import asyncio

from foundation.errors import UnavailableError

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

    def check(self, size: int, *, held: int) -> None:
        """Raises `UnavailableError` when there is no room for `size` bytes more of a body that holds `held`."""
        if self.received > held and self.received + size > self._half:
            raise UnavailableError("too much arrives at once; send this again later", reason="busy")

    async def take_for_work(self, size: int) -> None:
        """Wait for room for `size` bytes. First come, first served; one body is always worked on, however large."""
        if self.working + size <= self._half and not self._turnstile.locked():
            self.working += size
            return
        async with self._turnstile:
            while self.working and self.working + size > self._half:
                self._freed.clear()
                await self._freed.wait()
            self.working += size

    def give_back(self, received: int, working: int) -> None:
        self.received -= received
        self.working -= working
        self._freed.set()


class Booking:
    """What one request holds of the memory."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self.held = 0
        self._working = 0

    def announce(self, size: int) -> None:
        """Raises `UnavailableError` when there is no room now for a body of `size` bytes (0: unknown)."""
        self._memory.check(size, held=0)

    def grow(self, size: int) -> None:
        """Hold `size` bytes more. Raises `UnavailableError` when there is no room for them."""
        self._memory.check(size, held=self.held)
        self._memory.received += size
        self.held += size

    def shrink(self, size: int) -> None:
        """`size` bytes are gone."""
        self._memory.give_back(size, 0)
        self.held -= size

    async def work_on(self, size: int) -> None:
        """Wait for what a body of `size` bytes takes to be applied, and hold that as well."""
        extra = size * (WORKING_FACTOR - 1)
        await self._memory.take_for_work(extra)
        self._working += extra

    def release(self) -> None:
        """Give all of it back."""
        self._memory.give_back(self.held, self._working)
        self.held = self._working = 0
