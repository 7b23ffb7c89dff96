"""What is accepted: pages, drains, what operators do, erasures, what became of snapshots; each in one transaction."""

from cohort_sync.truth.facts.erasures import Erasure, tag_of
from cohort_sync.truth.facts.facts import Facts, Rules, open_facts
from cohort_sync.truth.facts.heap_clock import HeapClock
from cohort_sync.truth.facts.incoming import Drain, Page, Segment
from cohort_sync.truth.facts.pages import Accepted

__all__ = [
    "Accepted",
    "Drain",
    "Erasure",
    "Facts",
    "HeapClock",
    "Page",
    "Rules",
    "Segment",
    "open_facts",
    "tag_of",
]
