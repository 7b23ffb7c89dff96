"""Heavy work in slices: one slice a turn of the event loop, whoever it is for."""

from __future__ import annotations

import asyncio
import contextlib
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

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
        ended = _run(steps)
        while ended is None:
            async with self.slice():
                ended = _run(steps)
        return ended.value


@dataclass(frozen=True, slots=True)
class _End(Generic[_T]):
    value: _T


def _run(steps: Generator[None, None, _T]) -> _End[_T] | None:
    """As many steps as a slice has time for; None before the last one."""
    until = time.perf_counter() + _SLICE_SECONDS
    try:
        while time.perf_counter() < until:
            next(steps)
    except StopIteration as end:
        return _End(end.value)
    return None
