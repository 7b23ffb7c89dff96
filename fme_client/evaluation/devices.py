"""Conditions on operating system, browser and device, which the gateway reads from the user agent."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from fme_client.evaluation import js
from fme_client.evaluation.js import Fault
from fme_client.evaluation.regex import Unsupported

if TYPE_CHECKING:
    from fme_client.evaluation.regex import Regex, Regexes
    from fme_client.evaluation.view import View


def device_check(wanted: Mapping[str, Sequence[str]], regexes: Regexes) -> Callable[[View, Mapping[str, Any]], bool]:
    """One known detail has one of the values wanted of it, whatever the case of its letters."""
    by_name = {name: _one_of([value.lower() for value in values], regexes) for name, values in wanted.items()}

    def check(view: View, _variables: Mapping[str, Any]) -> bool:
        if not view.user_agent:
            return False
        details = view.detail("userAgent")
        if not isinstance(details, Mapping):
            return False
        return any(by_name[name](view, value) for name, value in details.items() if name in by_name)

    return check


def _one_of(wanted: Sequence[str], regexes: Regexes) -> Callable[[View, Any], bool]:
    plain = frozenset(wanted)
    wildcards = [value for value in wanted if value.startswith("wildcard(") and value.endswith(")")]
    patterns = [_pattern(value, regexes) for value in wildcards]

    def matches(view: View, value: Any) -> bool:
        for pattern in patterns:
            if pattern is None:
                raise Fault("a wildcard of a device condition makes no pattern")
            if view.matches(pattern, js.text(value)):
                return True
        if value is None:
            return False
        if not isinstance(value, str):
            raise Fault("a detail of the device is no text")
        return value.lower() in plain

    return matches


def _pattern(value: str, regexes: Regexes) -> Regex | None:
    try:
        return regexes.get(value.removeprefix("wildcard(")[:-1].replace("*", ".*"), ignore_case=True)
    except Unsupported:
        return regexes.get("[]")  # it matches nothing
