"""What one process of heap-export consists of, shared by its two applications."""

from __future__ import annotations

import contextlib
import logging
from typing import TYPE_CHECKING

from foundation.errors import CohortGatewayError
from foundation.memory import Memory
from foundation.request_bodies import BodyLimits, BodyReader
from foundation.store import connect
from foundation.turns import Turns
from heap_export.delivering import Delivering
from heap_export.intake import Intake
from heap_export.integrations import Integrations, default_integration
from heap_export.metrics import Metrics
from heap_export.optimizely_agent import AgentFollower
from heap_export.vwo import VwoSource

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from foundation.store import Store
    from heap_export.settings import HeapExportSettings

log = logging.getLogger(__name__)


class Exporter:
    """Raises `ConfigurationError`."""

    def __init__(self, settings: HeapExportSettings, store: Store) -> None:
        self.settings = settings
        self.store = store
        self.metrics = Metrics()
        self.integrations = Integrations(store, default=default_integration(settings))
        self.intake = Intake(store, settings, self.integrations, self.metrics)
        self.delivering = Delivering(store, settings, self.integrations, self.metrics)
        self.agent = AgentFollower(settings, self.intake, self.metrics)
        self.vwo = VwoSource(store, settings, self.intake, self.metrics)
        memory = Memory(settings.events_memory)
        limits = BodyLimits(settings.max_events_bytes, "send smaller batches, or let MAX_EVENTS_BYTES allow more")
        self.bodies = BodyReader(memory, Turns(), limits)
        self.admin_token = settings.administration_token()
        self.metrics.watch(memory)

    @contextlib.contextmanager
    def answering(self, what: str) -> Iterator[None]:
        """Count and log the refusal of a request. Only its reason is told: the text may name what the sender sent."""
        try:
            yield
        except CohortGatewayError as error:
            self.metrics.requests_refused.labels(what, error.reason).inc()
            log.warning("%s: a request was answered %d (%s)", what, error.status, error.reason)
            raise

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Deliver, and follow the sources that don't come by themselves, while the block runs."""
        async with (
            self.integrations.running(),
            self.delivering.running(),
            self.agent.running(),
            self.vwo.running(),
        ):
            yield


@contextlib.asynccontextmanager
async def open_exporter(settings: HeapExportSettings) -> AsyncIterator[Exporter]:
    """An exporter that runs, with its store, closed at the end. Raises `ConfigurationError`."""
    store = connect(settings)
    try:
        exporter = Exporter(settings, store)
        async with exporter.running():
            yield exporter
    finally:
        await store.aclose()
