"""Wait for what comes about by itself."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


def until(holds: Callable[[], bool], *, seconds: float = 10.0, what: str = "it") -> None:
    """Return once `holds()` is true; an `AssertionError` where that takes longer than `seconds`."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"waited {seconds:g} s for {what}"
        time.sleep(0.02)


async def eventually(holds: Callable[[], Awaitable[bool]], *, seconds: float = 10.0, what: str = "it") -> None:
    """`until` for what must be awaited."""
    deadline = time.monotonic() + seconds
    while not await holds():
        assert time.monotonic() < deadline, f"waited {seconds:g} s for {what}"
        await asyncio.sleep(0.01)
