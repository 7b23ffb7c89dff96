"""Which settings documents are usable: the same ones that the Node SDK takes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

Kind: TypeAlias = "tuple[str, ...] | Shape | ListOf"


class SettingsError(ValueError):
    """The settings can't be used; the text names the field."""


@dataclass(frozen=True, slots=True)
class Shape:
    """An object with these fields; a name that ends in `?` may be missing (but not null)."""

    fields: Mapping[str, Kind]
    closed: bool = False  # no other fields


@dataclass(frozen=True, slots=True)
class ListOf:
    kind: Kind


_ID = ("number", "string")
_METRIC = Shape(
    {
        "id": _ID,
        "type": ("string",),
        "identifier": ("string",),
        "mca?": _ID,
        "hasProps?": ("boolean",),
        "revenueProp?": ("string",),
    }
)
_VARIABLES = ListOf(
    Shape({"id": _ID, "type": ("string",), "key": ("string",), "value": ("number", "string", "boolean", "object")})
)
_VARIATION = Shape(
    {
        "id": _ID,
        "name": ("string",),
        "weight": ("number", "string"),
        "segments?": ("object",),
        "variables?": _VARIABLES,
        "startRangeVariation?": ("number",),
        "endRangeVariation?": ("number",),
        "salt?": ("string",),
    }
)
_CAMPAIGN = Shape(
    {
        "id": _ID,
        "type": ("string",),
        "key": ("string",),
        "percentTraffic?": ("number",),
        "status": ("string",),
        "variations": ListOf(_VARIATION),
        "segments": ("object",),
        "isForcedVariationEnabled?": ("boolean",),
        "isAlwaysCheckSegment?": ("boolean",),
        "name": ("string",),
        "salt?": ("string",),
    }
)
_RULE = Shape({"type": ("string",), "ruleKey": ("string",), "campaignId": ("number",), "variationId?": ("number",)})
_FEATURE = Shape(
    {
        "id": _ID,
        "key": ("string",),
        "status": ("string",),
        "name": ("string",),
        "type": ("string",),
        "metrics": ListOf(_METRIC),
        "impactCampaign?": ("object",),
        "rules?": ListOf(_RULE),
        "variables?": _VARIABLES,
    }
)
_SETTINGS = Shape(
    {
        "sdkKey?": ("string",),
        "version": _ID,
        "accountId": _ID,
        "usageStatsAccountId?": ("number",),
        "features?": ListOf(_FEATURE),
        "campaigns": ListOf(_CAMPAIGN),
        "groups?": ("object",),
        "campaignGroups?": ("object",),
        "collectionPrefix?": ("string",),
        "sdkMetaInfo?": Shape({"wasInitializedEarlier?": ("boolean",)}, closed=True),
        "pollInterval?": ("number",),
    }
)


def check(document: Any) -> None:
    """Raise a SettingsError that names the first wrong field."""
    _check(document, _SETTINGS, "settings")


def _check(value: Any, kind: Kind, path: str) -> None:
    if isinstance(kind, Shape):
        _check_shape(value, kind, path)
    elif isinstance(kind, ListOf):
        if not isinstance(value, list):
            raise SettingsError(f"{path}: expected a list, got {_name(value)}")
        for position, item in enumerate(value):
            _check(item, kind.kind, f"{path}[{position}]")
    elif _name(value) not in kind and not (isinstance(value, list) and "object" in kind):
        raise SettingsError(f"{path}: expected {' or '.join(kind)}, got {_name(value)}")


def _check_shape(value: Any, shape: Shape, path: str) -> None:
    if not isinstance(value, Mapping):
        raise SettingsError(f"{path}: expected an object, got {_name(value)}")
    for field, kind in shape.fields.items():
        name = field.removesuffix("?")
        if name in value:
            _check(value[name], kind, f"{path}.{name}")
        elif name == field:
            raise SettingsError(f"{path}.{name}: missing")
    if shape.closed:
        known = {field.removesuffix("?") for field in shape.fields}
        for name in value:
            if name not in known:
                raise SettingsError(f"{path}.{name}: unknown field")


def _name(value: Any) -> str:  # noqa: PLR0911 - one return a type
    match value:
        case None:
            return "null"
        case bool():
            return "boolean"
        case float() if math.isnan(value):
            return "NaN"
        case int() | float():
            return "number"
        case str():
            return "string"
        case Mapping():
            return "object"
        case list():
            return "list"
        case _:
            return type(value).__name__
