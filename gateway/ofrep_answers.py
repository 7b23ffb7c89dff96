"""Decisions in OpenFeature's words: values, variants and reasons (OFREP 0.3). Pure.

The key `flag` stands for whether the flag is on, `flag:variable` for one of its variables.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, NamedTuple

from fme_client.evaluation.rules import TESTING
from fme_client.evaluation.segments import always

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from fme_client.evaluation import Decision, Settings
    from fme_client.evaluation.features import Feature
    from fme_client.evaluation.rules import Rule

OFF = "off"  # the variant of a flag that is off

STATIC = "STATIC"  # everybody gets the same
TARGETING_MATCH = "TARGETING_MATCH"  # conditions made the choice
SPLIT = "SPLIT"  # chance did
DISABLED = "DISABLED"  # off for everybody
DEFAULT = "DEFAULT"  # no rule was for the user

_FLOATS = frozenset(("double", "float"))
_INTEGERS = frozenset(("integer", "int"))
_NO_VALUE = object()
_EVERYBODY = 100  # per cent
_KEPT = 16  # environments


class Asked(NamedTuple):
    """What a key names: the flag alone, or one of its variables."""

    key: str
    flag: str
    variable: str | None


class Why(NamedTuple):
    """What is the same for a flag and all its variables. `rule`: key of the rule that gave the variation."""

    reason: str
    variant: str
    rule: str | None


class Catalogue:
    """What the settings say about each flag, whoever asks."""

    def __init__(self, settings: Settings) -> None:
        documents = {one["key"]: one for one in reversed(settings.document["features"])}
        features = {key: settings.features[key] for key in reversed(documents) if key in settings.features}
        self.flags = tuple(features)  # in their order
        self._settings = settings
        self._variables = {key: _variables_of(feature, documents[key]) for key, feature in features.items()}
        self._off = frozenset(key for key, one in documents.items() if str(one["status"]).upper() == "OFF")

    def find(self, key: str) -> Asked | None:
        """None where there is no such flag or variable. A flag whose own key holds a `:` is found by it."""
        if key in self._variables:
            return Asked(key, key, None)
        flag, _, variable = key.rpartition(":")
        return Asked(key, flag, variable) if variable in self._variables.get(flag, ()) else None

    def all(self) -> Iterator[Asked]:
        """Every flag, each followed by its variables."""
        for flag, variables in self._variables.items():
            yield Asked(flag, flag, None)
            for variable in variables:
                yield Asked(f"{flag}:{variable}", flag, variable)

    def why(self, decision: Decision) -> Why:
        feature = self._settings.features[decision.feature_key]
        if not decision.is_enabled:
            may_be_on = feature.rules and feature.key not in self._off
            return Why(DEFAULT if may_be_on else DISABLED, OFF, None)
        decided: Mapping[str, Any] = decision.integration or {}
        kind = "experiment" if "experimentKey" in decided else "rollout"
        campaign, variation_id = decided.get(f"{kind}Key"), decided.get(f"{kind}VariationId")
        variation = self._settings.stored_variation(campaign, variation_id)
        rule = _rule(feature, campaign, variation_id)
        variant = "on" if variation is None else str(variation.key)
        # "A rule or specific user-targeting", as OpenFeature's specification describes the reason.
        reason = TARGETING_MATCH if decision.is_forced else _reason(feature, rule)
        return Why(reason, variant, None if rule is None else rule.key)


@functools.lru_cache(_KEPT)
def catalogue(settings: Settings) -> Catalogue:
    """That of `settings`, made once."""
    return Catalogue(settings)


def answer(asked: Asked, decision: Decision, why: Why) -> dict[str, Any]:
    """One evaluation as OFREP answers it. Without `value`, the application's own default counts."""
    found: dict[str, Any] = {"key": asked.key, "reason": why.reason, "variant": why.variant}
    value = decision.is_enabled if asked.variable is None else _value(decision, asked.variable)
    if value is not _NO_VALUE:
        found["value"] = value
    if why.rule is not None:
        found["metadata"] = {"rule": why.rule}
    return found


def _value(decision: Decision, key: str) -> Any:
    """The variable's value in JSON's types: a float is written as one even where it is whole."""
    for variable in decision.variables:
        if variable.get("key") != key or "value" not in variable:
            continue
        value, kind = variable["value"], variable.get("type")
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            return value
        if kind in _FLOATS:
            return float(value)
        return int(value) if kind in _INTEGERS and value == int(value) else value
    return _NO_VALUE


def _variables_of(feature: Feature, document: Mapping[str, Any]) -> tuple[str, ...]:
    """Keys of the variables that the flag has, in one of its variations at least."""
    found = dict.fromkeys(variable["key"] for variable in document.get("variables", ()))
    for rule in feature.rules:
        for variation in rule.variations:
            found.update(dict.fromkeys(variable.get("key") for variable in variation.variables))
    return tuple(key for key in found if isinstance(key, str))


def _rule(feature: Feature, campaign: Any, variation_id: Any) -> Rule | None:
    """The rule of this campaign: where several share it (personalise), the one that begins with the variation."""
    of_campaign = [rule for rule in feature.rules if rule.key == campaign]
    exact = (rule for rule in of_campaign if rule.variations and rule.variations[0].id == variation_id)
    return next(exact, next(iter(of_campaign), None))


def _reason(feature: Feature, decided_by: Rule | None) -> str:
    if decided_by is not None and _leaves_to_chance(decided_by):
        return SPLIT
    if any(rule.pre_segment is not always or rule.forced for rule in feature.rules):
        return TARGETING_MATCH
    return SPLIT if any(map(_leaves_to_chance, feature.rules)) else STATIC


def _leaves_to_chance(rule: Rule) -> bool:
    shares = rule.kind == TESTING and len(rule.variations) > 1
    return shares or rule.group is not None or not rule.allocation >= _EVERYBODY  # it may be NaN
