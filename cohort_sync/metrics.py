"""What cohort-sync counts. No label holds a person, a list or a segment."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge

if TYPE_CHECKING:
    from foundation.memory import Memory


class Metrics:
    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.pushes = Counter(
            "cohort_sync_pushes",
            "Pushes answered, by outcome: applied, repeated, drained, or the reason of a refusal",
            ["outcome"],
            registry=self.registry,
        )
        self.members = Counter(
            "cohort_sync_members",
            "Members of applied pages, by what became of them: added, removed, skipped",
            ["change"],
            registry=self.registry,
        )
        self.connections_refused = Counter(
            "cohort_sync_connections_refused",
            "What the two ports refused before it was a request: too_slow, head_too_large, bad_http, "
            "too_many_connections",
            ["reason"],
            registry=self.registry,
        )
        self._bodies = Gauge(
            "cohort_sync_body_bytes",
            "Memory booked for bodies in flight: received, and working (applying them)",
            ["what"],
            registry=self.registry,
        )

    def watch(self, memory: Memory) -> None:
        """Show how much of `memory` is booked."""
        self._bodies.labels("received").set_function(lambda: memory.received)
        self._bodies.labels("working").set_function(lambda: memory.working)
