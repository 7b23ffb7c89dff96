"""Records of a source that can't be asked for them again: held in memory while the store is away."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from itertools import islice
from typing import TYPE_CHECKING

from foundation.background import keep_running
from foundation.errors import UnavailableError
from foundation.pauses import Pauses
from foundation.tasks import end

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from prometheus_client import Counter

    from heap_export.intake import Intake
    from heap_export.records import Record

log = logging.getLogger(__name__)

_AT_A_TIME = 500
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 5.0
_LAST_SECONDS = 1.0  # for what still waits at the end


class Backlog:
    """At most `most` records wait, further ones are dropped and counted in `dropped`. `whose` is for the log."""

    def __init__(self, intake: Intake, *, most: int, dropped: Counter, whose: str) -> None:
        self._intake = intake
        self._most = most
        self._dropped = dropped
        self._whose = whose
        self._waiting: deque[Record] = deque()
        self._arrived = asyncio.Event()
        self._drops = False  # the log was told

    def put(self, record: Record) -> None:
        """It never waits."""
        if len(self._waiting) < self._most:
            self._waiting.append(record)
            self._arrived.set()
        else:
            self._drop(1)

    @property
    def is_behind(self) -> bool:
        """More waits than what goes to the store in one go."""
        return len(self._waiting) > _AT_A_TIME

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Store while the block runs, and for a moment longer what is left then."""
        storing = keep_running(f"storing of {self._whose}", self._store)
        try:
            yield
        finally:
            await end(storing)
            with contextlib.suppress(UnavailableError, TimeoutError):
                async with asyncio.timeout(_LAST_SECONDS):
                    await self._store_all()
            if self._waiting:
                self._drop(len(self._waiting))

    async def _store(self) -> None:
        pauses = Pauses(_FIRST_PAUSE, _LONGEST_PAUSE)
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            try:
                await self._store_all()
                pauses, self._drops = Pauses(_FIRST_PAUSE, _LONGEST_PAUSE), False
            except UnavailableError:  # the intake's log says why
                self._arrived.set()
                await asyncio.sleep(pauses.next())

    async def _store_all(self) -> None:
        while self._waiting:
            some = list(islice(self._waiting, _AT_A_TIME))
            await self._intake.take(some)  # after a failure again all of them, which is harmless
            for _ in some:
                self._waiting.popleft()

    def _drop(self, number: int) -> None:
        self._dropped.inc(number)
        if not self._drops:
            self._drops = True
            log.error("%s is lost: the store is away, and %d records wait already", self._whose, len(self._waiting))
