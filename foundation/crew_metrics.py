"""Metrics of processes that serve together: whichever of them a scrape reaches, it shows them all."""

from __future__ import annotations

import os
import resource
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prometheus_client import multiprocess, values
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prometheus_client import CollectorRegistry

    from foundation.crew import Crew

_multiprocess: Any = multiprocess  # this part of the library has no types
_values: Any = values


def share_values(crew: Crew, scraped: CollectorRegistry) -> None:
    """Let the metrics that this process makes from now on count for the whole crew: `scraped` shows their sums.

    The registry that they are made with shows nothing then.
    """
    # Values live in a file a slot: who replaces a dead process goes on where it stopped, so no counter goes backwards.
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(crew.directory)
    _values.ValueClass = _values.MultiProcessValue(lambda: crew.slot)
    _multiprocess.MultiProcessCollector(scraped, path=str(crew.directory))


def drop_gauges(crew: Crew, slot: int) -> None:
    """Forget the gauges of the dead process in `slot`, where their `multiprocess_mode` says live."""
    _multiprocess.mark_process_dead(slot, str(crew.directory))


class CrewCollector(Collector):
    """How many processes serve, and how much memory each of them has."""

    def __init__(self, crew: Crew, prefix: str) -> None:
        self._crew = crew
        self._prefix = prefix

    def collect(self) -> Iterator[GaugeMetricFamily]:
        serving = self._crew.serving()
        yield GaugeMetricFamily(f"{self._prefix}_workers", "Worker processes that serve", value=len(serving))
        memory = GaugeMetricFamily(
            f"{self._prefix}_worker_memory_bytes",
            "Resident memory of a worker; what workers share is part of each",
            labels=["worker"],
        )
        for slot, pid in serving.items():
            try:
                pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
            except OSError:  # it ended this moment, or this is not Linux
                continue
            memory.add_metric([str(slot)], pages * resource.getpagesize())
        yield memory
