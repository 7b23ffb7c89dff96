"""Waiting: for a store that is away, and for whichever of several things comes first."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, TypeVar

from foundation.pauses import Pauses
from foundation.store import STORE_ERRORS
from foundation.store_trouble import explain
from foundation.tasks import end

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

log = logging.getLogger(__name__)

Found = TypeVar("Found")

_NEWS = 5  # failures in a row, some three seconds


async def until_told(ask: Callable[[], Awaitable[Found]]) -> Found:
    """What the store says, however long it takes to say it."""
    pauses = Pauses(0.1, 2.0)
    failures = 0
    while True:
        try:
            return await ask()
        except STORE_ERRORS as error:
            failures += 1
            # What passes by itself is no news; a missing permission does not.
            level = logging.WARNING if failures == _NEWS else logging.DEBUG
            log.log(level, "the stream can't be reached: %s; asking again", explain(error))
        except Exception:
            log.exception("the stream's answer can't be used; asking again")
        await asyncio.sleep(pauses.next())


async def any_of(seconds: float, *events: asyncio.Event) -> None:
    """Wait for any of `events`, so long at the most."""
    waits = [asyncio.create_task(event.wait()) for event in events]
    try:
        await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        await end(*waits)
