"""The context of a call: whom a flag is evaluated for, in Python's spelling or the Node SDK's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

from fme_client.errors import ContextError
from fme_client.evaluation import Context
from fme_client.reading import kind_of


def read_context(given: object) -> Context:
    """Raises `ContextError`, which names the field and shows no value."""
    if isinstance(given, Context):
        given = {field.name: getattr(given, field.name) for field in fields(Context)}
    if not isinstance(given, Mapping):
        raise ContextError(f"context must be a mapping with an id, not {kind_of(given)}")
    return Context(
        id=read_id(given.get("id")),
        custom_variables=_mapping(given, "custom_variables", "customVariables"),
        variation_targeting_variables=_mapping(given, "variation_targeting_variables", "variationTargetingVariables"),
        user_agent=_text(given, "user_agent", "userAgent"),
        ip_address=_text(given, "ip_address", "ipAddress"),
        user_details=_mapping(given, "user_details", "_vwo") or None,
        post_segmentation_variables=_names(given, "post_segmentation_variables", "postSegmentationVariables"),
    )


def read_id(given: object, name: str = "context.id") -> str:
    """A user's id; numbers are taken as their digits. Raises `ContextError`."""
    if isinstance(given, int) and not isinstance(given, bool) and given:
        return str(given)
    if not isinstance(given, str) or not given:
        raise ContextError(f"{name} must be a string with something in it, not {kind_of(given)}")
    try:
        given.encode()
    except UnicodeEncodeError:
        raise ContextError(f"{name} is no Unicode text: it holds half a surrogate pair") from None
    return given


def _either(given: Mapping[str, Any], *names: str) -> Any:
    return next((given[name] for name in names if given.get(name) is not None), None)


def _mapping(given: Mapping[str, Any], *names: str) -> Mapping[str, Any]:
    value = _either(given, *names)
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise ContextError(f"context.{names[0]} must be a mapping, not {kind_of(value)}")
    return value


def _text(given: Mapping[str, Any], *names: str) -> str | None:
    value = _either(given, *names)
    if value is not None and not isinstance(value, str):
        raise ContextError(f"context.{names[0]} must be a string, not {kind_of(value)}")
    return value


def _names(given: Mapping[str, Any], *names: str) -> tuple[str, ...]:
    value = _either(given, *names) or ()
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise ContextError(f"context.{names[0]} must be a list of names, not {kind_of(value)}")
    return tuple(map(str, value))
