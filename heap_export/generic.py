"""Events of any kind, as Datafly Signal's custom webhook sends them, and exposures that an application tells itself."""

from __future__ import annotations

import time
from typing import Any

from heap_export.batches import Skip
from heap_export.fields import an_object, iso_time, number_of, optional_text
from heap_export.records import Exposure, PlainEvent, Record, RefusedError, Source, UserProperties

PAGE_VIEW = "pageview"  # what Heap calls it

_SOURCES = ", ".join(Source)


def event_of(item: Any) -> Record | Skip:
    """`item`: `{"type", "event", "properties", "traits", "userId", "anonymousId", "timestamp", "messageId"}`.

    Raises `RefusedError`.
    """
    item = _checked_object(item)
    kind = item.get("type")
    if kind not in ("track", "page", "identify"):
        raise RefusedError("type: must be track, page or identify", reason="bad_type")
    identity = optional_text(item.get("userId"), "userId")
    if identity is None:
        if optional_text(item.get("anonymousId"), "anonymousId") is None:
            raise RefusedError("userId: is missing", reason="no_identity")
        return Skip.ANONYMOUS
    moment = iso_time(item.get("timestamp"), "timestamp")
    message = optional_text(item.get("messageId"), "messageId") or ""
    if kind == "identify":
        traits = an_object(item.get("traits") or item.get("properties"), "traits")
        return UserProperties(Source.GENERIC, identity, moment, traits, message)
    properties = an_object(item.get("properties"), "properties")
    if kind == "track":
        return PlainEvent(Source.GENERIC, item.get("event") or "", identity, moment, message, properties)
    name = optional_text(item.get("name"), "name") or optional_text(item.get("event"), "event")
    return PlainEvent(Source.GENERIC, PAGE_VIEW, identity, moment, message, {"name": name} | properties)


def exposure_of(item: Any) -> Exposure:
    """`item` has the fields of an `Exposure`; `time` is in seconds since 1970 or ISO 8601. Raises `RefusedError`."""
    item = _checked_object(item)
    try:
        source = Source(item.get("source"))
    except ValueError:
        raise RefusedError(f"source: must be one of {_SOURCES}", reason="bad_source") from None
    enabled = item.get("enabled", True)
    if not isinstance(enabled, bool):
        raise RefusedError("enabled: must be true or false", reason="bad_enabled")
    return Exposure(
        source=source,
        flag_key=item.get("flag_key"),
        identity=item.get("identity"),
        time=_time(item.get("time")),
        variation_key=item.get("variation_key"),
        rule_key=item.get("rule_key"),
        enabled=enabled,
        dedupe_key=optional_text(item.get("dedupe_key"), "dedupe_key") or "",
        properties=item.get("properties"),
    )


def _checked_object(item: Any) -> dict[str, Any]:
    if not isinstance(item, dict):
        raise RefusedError("each one must be an object", reason="bad_shape")
    return item


def _time(value: Any) -> float:
    if value is None:
        return time.time()
    return iso_time(value, "time") if isinstance(value, str) else number_of(value, "time")
