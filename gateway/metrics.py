"""What the gateway counts. No label holds a person or a list, and each has few values."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter


class Metrics:
    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.checks = Counter(
            "cohort_gateway_checks",
            "Membership checks answered, by what was known: in, not_in, unknown_list, inactive_list, store_down, "
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
            "Requests that carried events, by outcome: counted, bad_json, too_large, cut_short",
            ["outcome"],
            registry=self.registry,
        )
        self.settings_reloads = Counter(
            "cohort_gateway_settings_reloads",
            "Reloads of the served settings, by outcome: changed, unchanged, refused (the last good copy stays)",
            ["outcome"],
            registry=self.registry,
        )
