"""One process's part of heap-export as far as delivery goes, in the test's own event loop."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, Any

from foundation.store import connect
from heap_export.delivering import Delivering
from heap_export.delivery_log import DeliveryLog
from heap_export.intake import Intake
from heap_export.integrations import Integrations, default_integration
from heap_export.metrics import Metrics
from heap_export.records import Exposure, PlainEvent, Source, UserProperties
from heap_export.settings import HeapExportSettings
from heap_export.streams import stream_of
from tests.support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from event_stream.stream import Stream

APP = "123456"


class Process:
    """`delivering()` delivers while its block runs."""

    def __init__(self, url: str, heap: str, **settings: Any) -> None:
        options: dict[str, Any] = {"redis_url": url, "heap_app_id": APP, "heap_api_base": heap, "heap_api_timeout": 0.5}
        self.settings = HeapExportSettings(**options | settings)
        self.store = connect(self.settings)
        self.metrics = Metrics()
        self.integrations = Integrations(self.store, default=default_integration(self.settings))
        self.intake = Intake(self.store, self.settings, self.integrations, self.metrics)
        self.parts = Delivering(self.store, self.settings, self.integrations, self.metrics)
        self.stream: Stream = stream_of(APP, self.store, self.settings)
        self.log = DeliveryLog(self.store, APP, self.settings)

    @contextlib.asynccontextmanager
    async def delivering(self) -> AsyncIterator[None]:
        async with self.integrations.running(), self.parts.running():
            yield

    async def limit(self, **limits: int) -> None:
        """Exchange the limits of the one integration."""
        await self.integrations.change("default", limits)

    async def all_delivered(self, *, seconds: float = 20.0) -> None:
        """Wait until nothing waits any more."""

        async def is_empty() -> bool:
            return (await self.stream.status()).waiting == 0

        await eventually(is_empty, seconds=seconds, what="everything to be delivered")

    def counted(self, metric: str, **labels: str) -> float:
        return self.metrics.registry.get_sample_value(f"heap_export_{metric}", {"integration": "default"} | labels) or 0


def shown(identity: str, flag: str = "checkout", variation: str = "blue", **others: Any) -> Exposure:
    return Exposure(Source.VWO, flag, identity, time.time(), variation, **others)


def event(identity: str, name: str = "bought", **properties: Any) -> PlainEvent:
    return PlainEvent(Source.GENERIC, name, identity, time.time(), properties=properties)


def known(identity: str, **properties: Any) -> UserProperties:
    return UserProperties(Source.GENERIC, identity, time.time(), properties)
