"""What the gateway counts of events on their way to VWO. Of the events of a crew, every worker counts its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import Counter, Gauge

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

    from event_stream.stream import Status

_COUNTED = {
    "stored": "Events that Redis has",
    "buffered": "Events whose sender was answered before Redis had them; in memory until it has",
    "delivered": "Events that VWO took",
    "repeated": "Events that may have reached VWO twice, since another gateway had delivered them too",
    "dead_dropped": "Dead letters that had to go for newer ones",
}
_COUNTED_BY_REASON = {
    "dropped": "Events lost, by reason: stream_full, buffer_full, stopped, too_large, unreadable, unknown_account, "
    "internal",
    "retried": "Events that VWO did not take and that are sent again, counted each time, by reason",
    "dead": "Events that became dead letters, by reason",
}


class EventMetrics:
    """Called with what happened to how many events; `show` takes over what the stream says of itself."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._counters = {
            what: Counter(f"cohort_gateway_events_{what}", text, registry=registry) for what, text in _COUNTED.items()
        }
        self._by_reason = {
            what: Counter(f"cohort_gateway_events_{what}", text, ["reason"], registry=registry)
            for what, text in _COUNTED_BY_REASON.items()
        }

        def stream_gauge(name: str, text: str) -> Gauge:
            return Gauge(f"cohort_gateway_events_{name}", text, registry=registry, multiprocess_mode="livemostrecent")

        self._waiting = stream_gauge("waiting", "Events in Redis that VWO has not got yet, of all gateways")
        self._in_hand = stream_gauge("in_hand", "Those of them that some gateway is delivering")
        self._lag = stream_gauge("lag_seconds", "For how long the oldest of them has waited")
        self._letters = stream_gauge("dead_letters", "Dead letters in Redis")
        self.in_memory = Gauge(
            "cohort_gateway_events_in_memory",
            "Events that are in memory alone, since Redis does not take them",
            registry=registry,
            multiprocess_mode="livesum",
        )

    def __call__(self, what: str, number: int, reason: str = "") -> None:
        counter = self._by_reason[what].labels(reason) if reason else self._counters[what]
        counter.inc(number)

    def show(self, status: Status) -> None:
        self._waiting.set(status.waiting)
        self._in_hand.set(status.in_hand)
        self._lag.set(status.oldest_seconds)
        self._letters.set(status.dead)
