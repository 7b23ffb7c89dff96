"""Fields of what sources send, read with care. All functions raise `RefusedError` naming the field."""

from __future__ import annotations

import datetime as dt
import time
from typing import Any

from heap_export.records import RefusedError


def an_object(value: Any, name: str) -> dict[str, Any]:
    """Missing and null count as empty."""
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise RefusedError(f"{name}: must be an object", reason="bad_shape")
    return value


def optional_text(value: Any, name: str) -> str | None:
    """None where it is missing, null or empty. Whole numbers count as their text."""
    if value is None or value == "":
        return None
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 1 << 64:
        return str(value)
    if not isinstance(value, str):
        raise RefusedError(f"{name}: must be a text", reason="bad_text")
    return value


def iso_time(value: Any, name: str) -> float:
    """Seconds since 1970 of an ISO 8601 text; UTC where it names no zone, now where it is missing."""
    if value is None:
        return time.time()
    try:
        moment = dt.datetime.fromisoformat(value)
    except (TypeError, ValueError):
        raise RefusedError(
            f"{name}: must be a time of ISO 8601, such as 2026-01-31T12:00:00Z", reason="bad_time"
        ) from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)).timestamp()


def number_of(value: Any, name: str) -> float:
    """A number, or a text that holds one."""
    try:
        return float(value) if isinstance(value, (int, float, str)) and not isinstance(value, bool) else _refuse(name)
    except (ValueError, OverflowError):
        return _refuse(name)


def _refuse(name: str) -> float:
    raise RefusedError(f"{name}: must be a number", reason="bad_time")
