"""What sources bring: exposures, events and user properties. Made valid here, by Heap's limits, or refused.

Heap's limits are those of its server-side API reference: names and texts below 1,024 characters, an identity of at most
255, texts and numbers as values.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from foundation.errors import BadRequestError

if TYPE_CHECKING:
    from collections.abc import Mapping

Value = str | int | float

MOST_TEXT = 1023  # characters of a name or a text
MOST_IDENTITY = 255
MOST_PROPERTIES = 1000
_YEAR_3000 = 32_503_680_000

_encoder = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))

# Heap takes these for one person each and merges everybody into it, for good.
_NOBODY = frozenset(("", "undefined", "null", "user"))


class Source(StrEnum):
    """Where a record came from. `label` stands in front of its user properties."""

    VWO = "vwo"
    OPTIMIZELY = "optimizely"
    STATSIG = "statsig"
    GENERIC = "generic"

    @property
    def label(self) -> str:
        return _LABELS[self]


_LABELS = {Source.VWO: "VWO", Source.OPTIMIZELY: "Optimizely", Source.STATSIG: "Statsig", Source.GENERIC: "Generic"}


class RefusedError(BadRequestError):
    """A record that Heap could not take. `reason` is the label that is counted; the message names the field."""


@dataclass(frozen=True, slots=True)
class Exposure:
    """A person was shown a variation of a flag, at `time` (seconds since 1970).

    `dedupe_key`: the source's own id of the message, where it has one.
    """

    source: Source
    flag_key: str
    identity: str
    time: float
    variation_key: str | None = None
    rule_key: str | None = None
    enabled: bool = True
    dedupe_key: str = ""
    properties: Mapping[str, Value] = field(default_factory=dict)

    @property
    def shown(self) -> str:
        """The variation. A flag without one is `on` or `off`; a variation of a flag that is off stays what it is."""
        return self.variation_key or ("on" if self.enabled else "off")


@dataclass(frozen=True, slots=True)
class PlainEvent:
    """A person did something. `dedupe_key`: the id of the message, where it has one."""

    source: Source
    name: str
    identity: str
    time: float
    dedupe_key: str = ""
    properties: Mapping[str, Value] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class UserProperties:
    """Something is known of a person."""

    source: Source
    identity: str
    time: float
    properties: Mapping[str, Value]
    dedupe_key: str = ""


Record = Exposure | PlainEvent | UserProperties


def checked_identity(value: Any, name: str) -> str:
    """An identity that Heap may be sent. `name` is the field's, for the message. Raises `RefusedError`."""
    if not isinstance(value, str):
        raise RefusedError(f"{name}: must be a text", reason="bad_identity")
    if value.strip().lower() in _NOBODY:
        raise RefusedError(
            f"{name}: Heap would merge everybody who is called that into one person", reason="nobody_identity"
        )
    if len(value) > MOST_IDENTITY:
        raise RefusedError(f"{name}: has more than {MOST_IDENTITY} characters", reason="long_identity")
    return _whole(value, name)


def checked_name(value: Any, name: str) -> str:
    """A name of an event, a flag or the like, not empty. Raises `RefusedError`."""
    if not isinstance(value, str) or not value:
        raise RefusedError(f"{name}: must be a text that is not empty", reason="bad_name")
    if len(value) > MOST_TEXT:
        raise RefusedError(f"{name}: has more than {MOST_TEXT} characters", reason="long_name")
    return _whole(value, name)


def checked_properties(values: Any, name: str, *, of_user: bool = False) -> dict[str, Value]:
    """Properties as Heap takes them. Raises `RefusedError`.

    `true` and `false` become texts, what is null is left out, lists and objects become JSON.
    """
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise RefusedError(f"{name}: must be an object", reason="bad_properties")
    if len(values) > MOST_PROPERTIES:
        raise RefusedError(f"{name}: has more than {MOST_PROPERTIES} of them", reason="many_properties")
    found = {}
    for key, value in values.items():
        if value is None:
            continue
        checked_name(key, f"a name in {name}")
        if of_user and key.lower() == "id":
            raise RefusedError(f"{name}: Heap keeps `id` for itself; rename it", reason="reserved_property")
        found[key] = _checked_value(value, f"{name}.{key[:100]}")
    return found


def _checked_value(value: Any, name: str) -> Value:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        try:
            finite = math.isfinite(value)
        except OverflowError:  # JSON knows integers of any length
            finite = False
        if not finite:
            raise RefusedError(f"{name}: must be a finite number", reason="bad_value")
        return value
    try:
        text = value if isinstance(value, str) else _beginning_of_json(value)
    except (TypeError, ValueError, RecursionError):
        raise RefusedError(f"{name}: must be a text, a number, true or false", reason="bad_value") from None
    if len(text) > MOST_TEXT:
        raise RefusedError(f"{name}: has more than {MOST_TEXT} characters", reason="long_value")
    return _whole(text, name)


def _beginning_of_json(value: Any) -> str:
    """All of it, where it is no longer than a text may be: the rest would be made in vain."""
    text = ""
    for piece in _encoder.iterencode(value):
        text += piece
        if len(text) > MOST_TEXT:
            break
    return text


def _whole(text: str, name: str) -> str:
    """Half a surrogate pair can't be written as UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise RefusedError(f"{name}: holds half a surrogate pair", reason="bad_text") from None
    return text


def checked(record: Record) -> Record:
    """`record` with values as Heap takes them. Raises `RefusedError`."""
    identity = checked_identity(record.identity, "identity")
    _check_time(record.time)
    match record:
        case Exposure():
            for name, value in (("variation_key", record.variation_key), ("rule_key", record.rule_key)):
                if value is not None:
                    checked_name(value, name)
            # It becomes a part of a property's name.
            flag = checked_name(record.flag_key, "flag_key")
            checked_name(f"[{record.source.label}] {flag}", "flag_key")
            return replace(record, identity=identity, properties=checked_properties(record.properties, "properties"))
        case PlainEvent():
            checked_name(record.name, "event")
            return replace(record, identity=identity, properties=checked_properties(record.properties, "properties"))
        case UserProperties():
            properties = checked_properties(record.properties, "traits", of_user=True)
            return replace(record, identity=identity, properties=properties)


def _check_time(seconds: float) -> None:
    if not 0 <= seconds < _YEAR_3000:
        raise RefusedError("time: must lie between 1970 and 3000", reason="bad_time")
