"""Events between the SDKs and VWO: into a durable stream, out of it in batches, and how both fare."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING

from event_stream.consumer import Consumer
from event_stream.delivery import Delivery
from event_stream.stream import Stream
from event_stream.writer import Writer
from foundation.background import keep_running
from foundation.store import STORE_ERRORS
from foundation.tasks import end
from gateway.event_forwarding import Vwo

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from event_stream.stream import Event, Status
    from event_stream.writer import Fate
    from foundation.store import Store
    from gateway.event_metrics import EventMetrics
    from gateway.settings import GatewaySettings

NAME, GROUP = "events", "vwo"
CLAIM_AFTER = 10.0  # seconds without a word after which what a gateway has in hand goes to another one

# What a sender waits for a slow store, once: when that is known to be away, nobody waits. More than a check's deadline,
# since no flag waits for events, and those in memory are lost with the process.
PATIENCE = 0.5
_WATCH_SECONDS = 2.0
_LATE_SECONDS = 60.0  # beyond what events may wait for company
RECENT_SECONDS = 600.0  # for which a loss, or a new dead letter, shows in `/readyz`


def event_stream(store: Store, settings: GatewaySettings) -> Stream:
    """The stream that all gateways share. The only module that knows its name."""
    return Stream(store, NAME, group=GROUP, most=settings.events_waiting, most_dead=settings.dead_events)


class EventQueue:
    """The stream's writer and forwarder in this process."""

    def __init__(self, settings: GatewaySettings, store: Store, metrics: EventMetrics) -> None:
        self._stream = event_stream(store, settings)
        self._metrics = metrics
        self._writer = Writer(self._stream, patience=PATIENCE, count=self._count)
        self._vwo = Vwo(settings.vwo_base_url, patience=settings.socket_timeout)
        self._delivery = Delivery(
            Consumer(self._stream, claim_after=CLAIM_AFTER),
            self._vwo.send,
            most_at_once=min(settings.events_per_request, settings.max_events_per_request),
            linger=settings.flush_events_interval,
            count=metrics,
        )
        self._delivers = settings.forward_here
        self._late = _LATE_SECONDS + settings.flush_events_interval
        self._status: Status | None = None
        self._lost_at: float | None = None

    async def put(self, events: Sequence[Event]) -> Fate:
        """Take events. It never raises for a sick store."""
        fate = await self._writer.write(events)
        self._metrics.in_memory.set(self._writer.waiting)
        return fate

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Store and deliver while the block runs."""
        watching = keep_running("look at the events", self._watch)
        try:
            async with self._writer.running(), contextlib.AsyncExitStack() as stack:
                if self._delivers:
                    await stack.enter_async_context(self._delivery.running())
                yield
        finally:
            await end(watching)
            await self._vwo.aclose()

    @property
    def trouble(self) -> list[str]:
        """What is wrong with events, in the words of `/readyz`."""
        found = []
        if self._writer.is_behind:
            found.append("events_in_memory")
        if self._delivery.is_at_fault:
            found.append("events_internal")
        if self._lost_at is not None and time.monotonic() - self._lost_at < RECENT_SECONDS:
            found.append("events_dropped")
        status = self._status
        if status is not None:
            if status.oldest_seconds > self._late:
                found.append("events_late")
            if status.last_dead_seconds is not None and status.last_dead_seconds < RECENT_SECONDS:
                found.append("events_dead")
        return found

    def _count(self, what: str, number: int, reason: str = "") -> None:
        if what == "dropped":
            self._lost_at = time.monotonic()
        self._metrics(what, number, reason)

    async def _watch(self) -> None:
        while True:
            with contextlib.suppress(*STORE_ERRORS):
                status = await self._stream.status()
                if self._status is not None and _lost(status) > _lost(self._status):
                    self._lost_at = time.monotonic()  # by us or by another gateway
                self._status = status
                self._metrics.show(status)
            self._metrics.in_memory.set(self._writer.waiting)
            await asyncio.sleep(_WATCH_SECONDS)


def _lost(status: Status) -> int:
    return status.counts.get("dropped", 0) + status.counts.get("dead_dropped", 0)
