"""What a receiver does beside taking pushes: recover, tend lists, write checkpoints, take part in erasures."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from typing import TYPE_CHECKING

from cohort_sync.store_checks import dangers
from foundation.errors import CohortGatewayError
from foundation.store import STORE_ERRORS
from foundation.store_trouble import explain
from foundation.tasks import end

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from cohort_sync.receiver import Receiver

log = logging.getLogger(__name__)

_LOOK_SECONDS = 2.0  # how often the store is asked whether it is still the same
_HURRY_SECONDS = 0.2  # the same, while something is missing
_TEND_SECONDS = 60.0
_CHECKPOINT_SECONDS = 600.0  # how often a checkpoint's being due is considered
DAY_MS = 86400 * 1000


class Upkeep:
    """The receiver's background work. A failure is logged and tried again: no task of it ends on its own."""

    def __init__(self, receiver: Receiver) -> None:
        self._receiver = receiver

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        jobs = [
            self._again(self._recover, _LOOK_SECONDS),
            self._again(self._tend, _TEND_SECONDS),
            self._again(self._checkpoint, _CHECKPOINT_SECONDS),
        ]
        tasks = [asyncio.create_task(job) for job in jobs]
        try:
            yield
        finally:
            await end(*tasks)

    async def _again(self, job: Callable[[], Awaitable[None]], seconds: float) -> None:
        while True:
            try:
                await job()
            except STORE_ERRORS as error:
                log.warning("%s waits for the store: %s", job.__name__.strip("_"), explain(error))
            except CohortGatewayError as error:
                log.warning("%s waits: %s", job.__name__.strip("_"), error)
            except Exception:
                log.exception("%s failed; trying again", job.__name__.strip("_"))
            await asyncio.sleep(seconds if self._receiver.recovery.complete else _HURRY_SECONDS)

    async def _recover(self) -> None:
        receiver = self._receiver
        was_complete = receiver.recovery.complete
        await receiver.recovery.look()
        if not was_complete:
            for danger in await dangers(receiver.store, journal=receiver.settings.journal):
                log.warning("%s", danger)

    async def _tend(self) -> None:
        receiver = self._receiver
        for name in await receiver.definitions.lists():
            await receiver.changes.tend(name)
        await receiver.erasures.catch_up()

    async def _checkpoint(self) -> None:
        """Once a day; what is both in it and older than `JOURNAL_DAYS` then leaves the journal."""
        receiver = self._receiver
        now = int(time.time() * 1000)
        if not receiver.settings.journal or not receiver.recovery.complete:
            return
        if receiver.checkpoints.newest() > now - DAY_MS or not receiver.journal.status().records:
            return
        await receiver.write_checkpoint()
