"""What cohort-sync counts. No label holds a person, a list or a segment."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter


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
