"""Decisions of Optimizely Feature Experimentation: as its SDKs and its Agent tell them, and the exposures they are.

The shapes were seen by running the SDKs for Python (5.7.0) and JavaScript; that of the Agent is documented.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import NoneType
from typing import Any, NamedTuple

from heap_export.records import Exposure, RefusedError, Source, checked

FLAG = "flag"  # the type of what `decide` tells; other types come from the calls before `decide`, and are not exported


class Decision(NamedTuple):
    """What one `decide` told, at `time` (seconds since 1970). `attributes` are those that may be sent."""

    time: float
    user_id: str
    flag_key: str
    variation_key: str | None
    rule_key: str | None
    enabled: bool
    attributes: tuple[tuple[str, Any], ...] = ()


def exposure_of(decision: Decision) -> Exposure:
    """As Heap takes it. Raises `RefusedError`."""
    exposure = Exposure(
        Source.OPTIMIZELY,
        decision.flag_key,
        decision.user_id,
        decision.time,
        # A flag without a rule has null for both, and the Agent, whose language has no null text, an empty one.
        decision.variation_key or None,
        decision.rule_key or None,
        enabled=bool(decision.enabled),
        properties=dict(decision.attributes),
    )
    checked(exposure)
    return exposure


def decision_of(notification: Any, *, received: float) -> Decision | None:
    """What a notification of the JavaScript SDK or the Agent tells; None where that is no decision of a flag.

    `notification` is its parsed JSON. Raises `RefusedError` where it has another shape.
    """
    if not isinstance(notification, Mapping):
        raise _malformed("it")
    kind = _first(notification, "type", "Type")
    if kind != FLAG:
        if not isinstance(kind, str):
            raise _malformed("type")
        return None
    info = _first(notification, "decisionInfo", "DecisionInfo")
    if not isinstance(info, Mapping):
        raise _malformed("decisionInfo")
    variation, rule = info.get("variationKey"), info.get("ruleKey")
    if not isinstance(variation, (str, NoneType)) or not isinstance(rule, (str, NoneType)):
        raise _malformed("variationKey or ruleKey")
    return Decision(
        received, _user_of(notification), info.get("flagKey", ""), variation, rule, info.get("enabled") is True
    )


def _user_of(notification: Mapping[str, Any]) -> str:
    context = notification.get("UserContext")
    found = context.get("ID") if isinstance(context, Mapping) else notification.get("userId")
    if not isinstance(found, str):
        raise _malformed("userId")
    return found


def _first(values: Mapping[str, Any], *names: str) -> Any:
    return next((values[name] for name in names if name in values), None)


def _malformed(what: str) -> RefusedError:
    return RefusedError(f"a notification of Optimizely: {what} has another shape than known", reason="malformed")
