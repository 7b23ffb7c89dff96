"""A segment taken apart: which of its conditions hold for a user, each by itself, in the words of VWO's settings."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from fme_client.evaluation.js import Fault

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from fme_client.evaluation.segments import Check

# Conditions that the evaluation looks at together, as a part of what holds them.
_WITHIN = {
    **dict.fromkeys(("country", "region", "city"), "and"),
    **dict.fromkeys(("os", "browser_string", "device_type", "device", "featureId"), "or"),
}
_GROUPS = ("and", "or")
_LIST = re.compile(r"inlist\(([^)]+)\)")


def explain_segment(segment: Any, compiled: Callable[[Any], Check], holds: Callable[[Check], bool]) -> dict[str, Any]:
    """The segment as a tree: `operator`, `passed` and `of`, or `condition` and `passed`.

    `passed` is None, with a `failure`, where the Node SDK would fail. What `holds` raises goes through, but for faults.
    """
    key = next(iter(segment), None) if isinstance(segment, dict) else None
    inner = segment[key] if key is not None else None
    node: dict[str, Any] = {}
    wrapped = {_WITHIN[key]: [segment]} if key in _WITHIN else segment
    try:
        node["passed"] = holds(compiled(wrapped))
    except Fault as fault:
        node |= {"passed": None, "failure": str(fault)}
    if key == "not":
        return {"operator": key, **node, "of": [explain_segment(inner, compiled, holds)]}
    if key in _GROUPS and isinstance(inner, list):
        return {"operator": key, **node, "of": [explain_segment(one, compiled, holds) for one in inner]}
    return {"condition": segment, **node}


def lists_named(segment: Any) -> Iterator[tuple[str, str]]:
    """The lists that a segment refers to, as it calls them, each with the custom variable that is looked for in it."""
    if isinstance(segment, list):
        for one in segment:
            yield from lists_named(one)
    elif isinstance(segment, dict):
        for key, inner in segment.items():
            if key == "custom_variable" and isinstance(inner, dict):
                yield from _named_by(inner)
            else:
                yield from lists_named(inner)


def _named_by(variables: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for variable, operand in variables.items():
        found = _LIST.search(operand) if isinstance(operand, str) else None
        if found is not None:
            yield found[1], variable
