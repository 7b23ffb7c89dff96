"""Heavy work in slices: one slice a turn of the event loop, whoever it is for."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


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
