"""What heap-export counts. Labels are short words of ours, never a person or a flag."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge

if TYPE_CHECKING:
    from event_stream.stream import Status
    from foundation.memory import Memory


class Metrics:
    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.records = Counter(
            "heap_export_records",
            "Records that came, by source and what became of them: stored, known (deduped), unwanted, refused",
            ["source", "fate"],
            registry=self.registry,
        )
        self.refused = Counter(
            "heap_export_refused", "Records refused, by source and reason", ["source", "reason"], registry=self.registry
        )
        self.skipped = Counter(
            "heap_export_skipped",
            "What came and was passed over, by source and reason: anonymous (nobody is named), not_an_exposure "
            "(Statsig's own messages), FLAG_ROLLOUT and IMPACT (VWO's, of no experiment)",
            ["source", "reason"],
            registry=self.registry,
        )
        self.requests_refused = Counter(
            "heap_export_requests_refused",
            "Requests refused as a whole, by what was asked (events, exposures, statsig) and reason",
            ["what", "reason"],
            registry=self.registry,
        )
        self.connections_refused = Counter(
            "heap_export_connections_refused",
            "What the two ports refused before it was a request: too_slow, head_too_large, bad_http, "
            "too_many_connections",
            ["reason"],
            registry=self.registry,
        )
        self._bodies = Gauge(
            "heap_export_body_bytes",
            "Memory booked for bodies in flight: received, and working (storing what they hold)",
            ["what"],
            registry=self.registry,
        )
        self.sent = Counter(
            "heap_export_sent", "Records that Heap took, by integration", ["integration"], registry=self.registry
        )
        self.retried = Counter(
            "heap_export_retried",
            "Records that Heap did not take and that are sent again, counted each time, by reason",
            ["integration", "reason"],
            registry=self.registry,
        )
        self.dead = Counter(
            "heap_export_dead", "Records that became dead letters", ["integration", "reason"], registry=self.registry
        )
        self.waiting = Gauge(
            "heap_export_waiting", "Records in Redis that Heap has not got yet", ["integration"], registry=self.registry
        )
        self.lag = Gauge(
            "heap_export_lag_seconds",
            "For how long the oldest of them has waited",
            ["integration"],
            registry=self.registry,
        )
        self.letters = Gauge(
            "heap_export_dead_letters", "Dead letters in Redis", ["integration"], registry=self.registry
        )
        self.agent_connected = Gauge(
            "heap_export_agent_connected",
            "SDK keys whose decisions Optimizely Agent tells us now",
            registry=self.registry,
        )
        self.agent_received = Counter(
            "heap_export_agent_received",
            "Notifications of Optimizely Agent, by what they were: decision, other, malformed",
            ["kind"],
            registry=self.registry,
        )
        self.agent_dropped = Counter(
            "heap_export_agent_dropped",
            "Decisions of Optimizely Agent that were lost: too many waited for the store",
            registry=self.registry,
        )

    def watch(self, memory: Memory) -> None:
        """Show how much of `memory` is booked."""
        self._bodies.labels("received").set_function(lambda: memory.received)
        self._bodies.labels("working").set_function(lambda: memory.working)

    def show(self, integration: str, status: Status) -> None:
        """What the stream of an integration says of itself."""
        self.waiting.labels(integration).set(status.waiting)
        self.lag.labels(integration).set(status.oldest_seconds)
        self.letters.labels(integration).set(status.dead)

    def forget(self, integration: str) -> None:
        """It is gone, and nothing can be said of it any more."""
        for gauge in (self.waiting, self.lag, self.letters):
            gauge.remove(integration)

    def took(self, source: str, fate: str, reason: str) -> None:
        """A record came."""
        self.records.labels(source, fate).inc()
        if reason:
            self.refused.labels(source, reason).inc()
