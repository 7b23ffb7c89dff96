"""Make a failing job small: take away whatever the failure does not need."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.decisions.comparison import Mismatch, compare

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.decisions.node import NodeSdk

_PLAIN: tuple[Any, ...] = ({}, [], "", "a", 0, 1, 100)


def shrink(value: Any, fails: Callable[[Any], bool], *, attempts: int = 3000) -> Any:
    """The smallest variant of the JSON value `value` found within so many attempts for which `fails` still holds."""
    left = attempts
    progress = True
    while progress and left > 0:
        progress = False
        for candidate in _smaller(value):
            left -= 1
            if fails(candidate):
                value, progress = candidate, True
                break
            if left <= 0:
                break
    return value


def _smaller(value: Any) -> Iterator[Any]:
    """Variants of `value`, the boldest first."""
    parts: list[tuple[Any, Any]] = []
    if isinstance(value, list):
        parts = list(enumerate(value))
        half = len(value) // 2
        yield from (value[:half], value[half:]) if half else ()
        yield from (value[:position] + value[position + 1 :] for position, _ in parts)
    elif isinstance(value, dict):
        parts = list(value.items())
        yield from ({name: inner for name, inner in parts if name != key} for key, _ in parts)
    plain = [one for one in _PLAIN if type(one) is type(value)]
    yield from plain[: plain.index(value)] if value in plain else plain
    for key, inner in parts:
        for smaller in _smaller(inner):
            changed = value.copy()
            changed[key] = smaller
            yield changed


def smallest(mismatch: Mismatch, node: NodeSdk) -> Mismatch:
    """The same kind of mismatch from a small job."""

    def fails(candidate: Any) -> bool:
        return _is_job(candidate) and any(
            found.what == mismatch.what for found in compare(candidate, node.decide(candidate))
        )

    small = shrink(mismatch.job, fails)
    return next(found for found in compare(small, node.decide(small)) if found.what == mismatch.what)


def _is_job(value: Any) -> bool:
    """Whether shrinking has left what a job needs to be asked at all."""
    try:
        settings, cases = value["settings"], value["cases"]
        return (
            isinstance(value["lists"], dict)
            and isinstance(settings.get("features", []), list)
            and isinstance(settings["campaigns"], list)
            and isinstance(cases, list)
            and all(
                case.keys() == {"flag", "context", "stored", "details"}
                and isinstance(case["context"]["id"], str)
                and isinstance(case["stored"], dict)
                and isinstance(case["context"].get("customVariables", {}), dict)
                and isinstance(case["context"].get("variationTargetingVariables", {}), dict)
                for case in cases
            )
        )
    except (KeyError, TypeError, AttributeError):
        return False
