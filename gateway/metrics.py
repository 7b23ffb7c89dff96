"""What the gateway counts. No label holds a person or a list, and each has few values."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter as Counts
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge
from prometheus_client.registry import Collector

from foundation.background import keep_running
from foundation.crew import Crew
from foundation.crew_metrics import CrewCollector, share_values
from gateway.event_metrics import EventMetrics

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Mapping

    from prometheus_client.metrics_core import Metric

    from foundation.memory import Memory

_FLUSH_SECONDS = 1.0


class Metrics:
    """The counters of this process. `scraped` is the registry to show: there they are summed over the whole crew."""

    def __init__(self, crew: Crew | None = None) -> None:
        crew = crew or Crew()
        self.registry = CollectorRegistry()
        self.scraped = self.registry if crew.size == 1 else CollectorRegistry()
        self._checks_counted: Mapping[str, int] = {}
        self._checks_told: Counts[str] = Counts()
        self._memory: Memory | None = None
        self.scraped.register(_BeforeAll(self))
        self.scraped.register(CrewCollector(crew, "cohort_gateway"))
        if self.scraped is not self.registry:
            share_values(crew, self.scraped)
        self.checks = Counter(
            "cohort_gateway_checks",
            "Membership checks answered, by what was known: in, not_in, unknown_list, inactive_list, lost_list, "
            "store_emptied, store_down, stale_in and stale_not_in (what was known before the store went away), "
            "incomplete (a parameter is missing), overloaded, error",
            ["state"],
            registry=self.registry,
        )
        self.events = Counter(
            "cohort_gateway_events",
            "Events received, by name; custom stands for all that are not VWO's own",
            ["name"],
            registry=self.registry,
        )
        self.event_requests = Counter(
            "cohort_gateway_event_requests",
            "Requests that carried events, by outcome: counted, bad_json, bad_encoding, unsupported_encoding, "
            "too_large, too_many, cut_short, too_slow, busy (BODY_MEMORY)",
            ["outcome"],
            registry=self.registry,
        )
        self.event_fates = EventMetrics(self.registry)
        self.settings_reloads = Counter(
            "cohort_gateway_settings_reloads",
            "Reloads of the served settings, by outcome: changed, unchanged, refused, failed (VWO can't be reached); "
            "with these two the last good copy stays",
            ["outcome"],
            registry=self.registry,
        )
        self.aliases_forgotten = Counter(
            "cohort_gateway_aliases_forgotten",
            "Aliases that made room for others (ALIASES_REMEMBERED)",
            registry=self.registry,
        )
        self.lookups_failed = Counter(
            "cohort_gateway_lookups_failed",
            "Names that the store told nothing of in time, by kind (list_name, user_alias, set_user_alias) and reason: "
            "store_down, overloaded (too many at once), error",
            ["kind", "reason"],
            registry=self.registry,
        )
        self.connections_refused = Counter(
            "cohort_gateway_connections_refused",
            "Connections ended by us, by reason: too_many_connections, too_slow, head_too_large, bad_http",
            ["reason"],
            registry=self.registry,
        )

        self._body_bytes = Gauge(
            "cohort_gateway_body_bytes",
            "Memory booked for bodies in flight: received, and working (on what they hold)",
            ["what"],
            registry=self.registry,
            multiprocess_mode="livesum",
        )

    def watch(self, memory: Memory) -> None:
        """Show how much of `memory` is booked, whenever somebody reads the metrics or `flush`es."""
        self._memory = memory

    def count_checks(self, counts: Mapping[str, int]) -> None:
        """`counts` of checks by state, which grow, are taken over whenever somebody reads the metrics or `flush`es.

        A counter of this library takes a microsecond, a fifth of what a whole check may.
        """
        self._checks_counted = counts

    def flush(self) -> None:
        """Take over what was counted since."""
        if self._memory is not None:
            self._body_bytes.labels("received").set(self._memory.received)
            self._body_bytes.labels("working").set(self._memory.working)
        for state, count in list(self._checks_counted.items()):
            if count > self._checks_told[state]:
                self.checks.labels(state).inc(count - self._checks_told[state])
                self._checks_told[state] = count

    @contextlib.asynccontextmanager
    async def flushing(self) -> AsyncIterator[None]:
        """Flush once a second, for scrapes that reach another process of the crew, and at the end."""

        async def flush_every_second() -> None:
            while True:
                await asyncio.sleep(_FLUSH_SECONDS)
                self.flush()

        flushes = keep_running("metrics", flush_every_second)
        try:
            yield
        finally:
            flushes.cancel()
            self.flush()


class _BeforeAll(Collector):
    """A collector that has nothing of its own, and is asked first."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def collect(self) -> Iterable[Metric]:
        self._metrics.flush()
        return []

    def describe(self) -> Iterable[Metric]:
        return []
