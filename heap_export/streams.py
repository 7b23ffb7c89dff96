"""The streams between intake and delivery: one for each app id, so that none waits for another one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from event_stream.stream import Stream

if TYPE_CHECKING:
    from foundation.store import Store
    from heap_export.settings import HeapExportSettings


def stream_of(app_id: str, store: Store, settings: HeapExportSettings) -> Stream:
    """What waits for an app id, `to` its identity, with what Heap refused. One deliverer reads it at a time."""
    return Stream(
        store,
        f"heap-{app_id}",
        group="heap",
        most=settings.heap_events_waiting,
        most_dead=settings.heap_dead_events,
    )
