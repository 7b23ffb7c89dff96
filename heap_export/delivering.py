"""Delivers for all integrations, as these come, change and go; and knows how each fares."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from functools import partial
from typing import TYPE_CHECKING

from foundation.background import keep_running
from foundation.store import STORE_ERRORS
from foundation.store_trouble import explain
from foundation.tasks import end
from heap_export.deliverer import Deliverer
from heap_export.heap import Heap
from heap_export.streams import stream_of
from heap_export.trouble import tell_trouble

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from event_stream.stream import Status
    from foundation.store import Store
    from heap_export.integrations import Integration, Integrations
    from heap_export.metrics import Metrics
    from heap_export.settings import HeapExportSettings

log = logging.getLogger(__name__)

_FOLLOW_SECONDS = 0.5
_WATCH_SECONDS = 2.0
_LATE_SECONDS = 300.0
_RECENT_SECONDS = 600.0  # for which a new dead letter shows in `trouble`


class Delivering:
    """`at_work`: a deliverer for each enabled integration, by app id."""

    def __init__(
        self, store: Store, settings: HeapExportSettings, integrations: Integrations, metrics: Metrics
    ) -> None:
        self._store = store
        self._settings = settings
        self._integrations = integrations
        self._metrics = metrics
        self.at_work: dict[str, _AtWork] = {}  # by app id
        self._status: dict[str, Status] = {}  # by the integration's name

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Deliver while the block runs, unless `DELIVER_HERE` says no; then only watch."""
        heap = Heap(patience=self._settings.heap_api_timeout)
        tasks = [keep_running("look at the deliveries", self._watch)]
        if self._settings.deliver_here:
            tasks.append(keep_running("deliveries", partial(self._follow, heap)))
        try:
            yield
        finally:
            await end(*tasks)
            await asyncio.gather(*(at_work.stop() for at_work in self.at_work.values()))
            self.at_work.clear()
            await heap.aclose()

    @property
    def trouble(self) -> list[str]:
        """What is wrong, each as `what: integration`, in the words of `/readyz`."""
        found = [
            f"heap_{at_work.deliverer.trouble}: {at_work.deliverer.integration.name}"
            for at_work in self.at_work.values()
            if at_work.deliverer.trouble
        ]
        for name, status in self._status.items():
            if status.oldest_seconds > _LATE_SECONDS:
                found.append(f"records_late: {name}")
            if status.last_dead_seconds is not None and status.last_dead_seconds < _RECENT_SECONDS:
                found.append(f"records_dead: {name}")
        return found

    async def _follow(self, heap: Heap) -> None:
        while True:
            wanted = {each.app_id: each for each in self._integrations.all if each.enabled}
            for app_id in self.at_work.keys() - wanted.keys():
                await self.at_work.pop(app_id).stop()
            for app_id, integration in wanted.items():
                at_work = self.at_work.get(app_id)
                if at_work is None:
                    self.at_work[app_id] = _AtWork(self._deliverer(integration, heap))
                else:
                    at_work.deliverer.integration = integration
            await asyncio.sleep(_FOLLOW_SECONDS)

    def _deliverer(self, integration: Integration, heap: Heap) -> Deliverer:
        return Deliverer(integration, store=self._store, settings=self._settings, heap=heap, metrics=self._metrics)

    async def _watch(self) -> None:
        while True:
            known = self._integrations.all
            for gone in self._status.keys() - {integration.name for integration in known}:
                del self._status[gone]
                self._metrics.forget(gone)
            for integration in known:
                try:
                    status = await stream_of(integration.app_id, self._store, self._settings).status()
                    await self._tell_trouble(integration.app_id)
                except STORE_ERRORS as error:
                    log.debug("the stream can't be looked at: %s", explain(error))
                else:
                    self._status[integration.name] = status
                    self._metrics.show(integration.name, status)
            await asyncio.sleep(_WATCH_SECONDS)

    async def _tell_trouble(self, app_id: str) -> None:
        """Whoever delivers says how it goes."""
        at_work = self.at_work.get(app_id)
        if at_work is not None and at_work.deliverer.delivers:
            await tell_trouble(self._store, app_id, at_work.deliverer.trouble)


class _AtWork:
    """A deliverer and the task it runs in."""

    def __init__(self, deliverer: Deliverer) -> None:
        self.deliverer = deliverer
        self._over = asyncio.Event()
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        self._over.set()
        await self._task

    async def _run(self) -> None:
        async with self.deliverer.running():
            await self._over.wait()
