"""Heavy work in slices: one slice a turn of the event loop, whoever it is for."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Generator

_SLICE_SECONDS = 0.001

_T = TypeVar("_T")


class Turns:
    """Shared by all that do heavy work in one event loop.

    Sleeping after a slice is not enough where many work at once: each of them would do a slice in every turn.
    """

    def __init__(self) -> None:
        self._lock = asyncio.Lock()

    @contextlib.asynccontextmanager
    async def slice(self) -> AsyncIterator[None]:
        """Wait for a turn that nobody else uses, and run the block in it."""
        async with self._lock:
            yield
            await asyncio.sleep(0)

    async def drive(self, steps: Generator[None, None, _T]) -> _T:
        """Run `steps`, each of them short, to their end; what they return.

        The first slice runs at once: most work is done with it.
        """
        try:
            _run(steps)
            while True:
                async with self.slice():
                    _run(steps)
        except StopIteration as end:
            result: _T = end.value
            return result


def _run(steps: Generator[None, None, _T]) -> None:
    """As many as a slice has time for. Raises `StopIteration` at the end."""
    until = time.perf_counter() + _SLICE_SECONDS
    while True:
        next(steps)
        if time.perf_counter() > until:
            return
