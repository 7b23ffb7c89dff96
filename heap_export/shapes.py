"""What Heap is sent of a record, and what makes it the same as another one. It needs no package but Python's own.

So that an application that sends by itself (`optimizely_direct`) sends just what heap-export would.
"""

from __future__ import annotations

import datetime as dt
import hashlib
from typing import TYPE_CHECKING, Any, Protocol

from heap_export.records import Exposure, PlainEvent, UserProperties

if TYPE_CHECKING:
    from collections.abc import Mapping

    from heap_export.records import Record, Value

HEAP, HEAP_EU = "https://heapanalytics.com", "https://c.eu.heap-api.com"
VIEWED = "Experiment Viewed"


class Wanted(Protocol):
    """What a Heap environment wants of an exposure; an `Integration` tells it, and says what each means."""

    @property
    def app_id(self) -> str: ...

    @property
    def events(self) -> bool: ...

    @property
    def user_properties(self) -> bool: ...

    @property
    def dedupe_seconds(self) -> int: ...


def once_of(record: Record, wanted: Wanted) -> bytes | None:
    """32 bytes that are the same for the same of a person in a Heap environment; None where nothing is like it."""
    if isinstance(record, Exposure):
        period = wanted.dedupe_seconds
        parts = [record.flag_key, record.shown, str(int(record.time // period)) if period else ""]
    elif record.dedupe_key:
        parts = [record.dedupe_key]
    else:
        return None
    return digest(wanted.app_id, record.source, record.identity, type(record).__name__, *parts)


def event_of(record: Record, wanted: Wanted, once: bytes) -> dict[str, Any] | None:
    """An event for `track`; None where there is none to send. `once` makes its idempotency key."""
    match record:
        case Exposure() if wanted.events:
            name = VIEWED
            properties = {
                **record.properties,
                "source": record.source.value,
                "flag_key": record.flag_key,
                "variation_key": record.shown,
                "rule_key": record.rule_key,
                "enabled": "true" if record.enabled else "false",
            }
        case PlainEvent():
            name, properties = record.name, dict(record.properties)
        case _:
            return None
    return {
        "event": name,
        "identity": record.identity,
        "timestamp": _iso(record.time),
        "idempotency_key": once.hex(),
        "properties": {key: value for key, value in properties.items() if value is not None},
    }


def user_of(record: Record, wanted: Wanted) -> dict[str, Any] | None:
    """A user for `add_user_properties`; None where there is none to send."""
    properties: Mapping[str, Value]
    match record:
        case Exposure() if wanted.user_properties:
            properties = {f"[{record.source.label}] {record.flag_key}": record.shown}
        case UserProperties() if record.properties:
            properties = record.properties
        case _:
            return None
    return {"identity": record.identity, "properties": properties}


def digest(*parts: str) -> bytes:
    """SHA-256 of `parts`, none of which can run into the next one."""
    whole = "".join([f"{len(part)}:{part}" for part in parts])
    return hashlib.sha256(whole.encode("utf-8", "surrogatepass")).digest()


def _iso(seconds: float) -> str:
    moment = dt.datetime.fromtimestamp(seconds, dt.UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
