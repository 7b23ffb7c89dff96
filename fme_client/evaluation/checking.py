"""Whether a rule is for a user: forced variation, group, pre-segmentation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from fme_client.evaluation import js
from fme_client.evaluation.groups import NO_WINNER, STORED_WINNER
from fme_client.evaluation.js import Fault
from fme_client.evaluation.rules import PERSONALIZE, ROLLOUT, TESTING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fme_client.evaluation.features import Feature
    from fme_client.evaluation.groups import Group
    from fme_client.evaluation.rules import Rule, Variation
    from fme_client.evaluation.settings import Settings
    from fme_client.evaluation.view import View


class Trail:
    """What integrations.callback is told about an evaluation, put together only when it is wanted."""

    __slots__ = ("_context", "_feature", "custom_user", "is_forced", "rules", "targeting_user")

    def __init__(self, feature: Feature, view: View) -> None:
        self._feature = feature
        self._context = view.context
        # `_vwoUserId` as the latest rule set it among the variables; None: no rule did.
        self.custom_user: str | None = None
        self.targeting_user: str | None = None
        # Whether the variation was forced on the user. The callback is not told.
        self.is_forced = False
        # Ids and keys of what was decided.
        self.rules: dict[str, Any] = {}

    def integration(self) -> dict[str, Any]:
        context = self._context
        payload: dict[str, Any] = {
            "featureName": self._feature.name,
            "featureId": self._feature.id,
            "featureKey": self._feature.key,
            "userId": context.id,
            "api": "getFlag",
        }
        if self.targeting_user is not None:
            payload["variationTargetingVariables"] = _with_user(
                context.variation_targeting_variables, self.targeting_user
            )
        if self.custom_user is not None:
            payload["customVariables"] = _with_user(context.custom_variables, self.custom_user)
        payload.update(self.rules)
        return payload


def _with_user(variables: Mapping[str, Any], user: str) -> dict[str, Any]:
    result = {**variables, "_vwoUserId": user}
    # JavaScript loses a variable of this name when it copies the variables.
    result.pop("__proto__", None)
    return result


def check_rule(
    settings: Settings, feature: Feature, rule: Rule, view: View, trail: Trail | None = None
) -> Variation | Literal[True] | None:
    """None when the rule is not for the user; the variation that is forced on the user; else True."""
    view.list_user = settings.visitor_id(view.user_id) if rule.list_by_visitor_id else view.user_id
    if rule.kind == TESTING:
        if trail is not None:
            trail.targeting_user = view.list_user
        if rule.forced:
            variation = rule.forced_variation(view)
            if variation is not None:
                return variation
    if trail is not None:
        trail.custom_user = view.list_user
    if rule.fault is not None:
        raise Fault(rule.fault)
    if rule.group is None:
        return rule.lets_in(view) or None
    return _wins(settings, feature, rule, rule.group, view) or None


def _wins(settings: Settings, feature: Feature, rule: Rule, group: Group, view: View) -> bool:
    """Whether the rule is the one of its group that gets the user."""
    known = view.winners.get(group.id) if rule.kind != ROLLOUT else None
    if js.truthy(known):
        return js.equal(known, rule.name)
    kept = view.stored(f"{STORED_WINNER}{js.text(group.id)}")
    campaign, variation = kept.get("experimentId"), kept.get("experimentVariationId")
    if js.truthy(kept.get("experimentKey")) and js.truthy(campaign):
        if js.equal(campaign, rule.campaign_id) and (rule.kind != PERSONALIZE or js.equal(variation, rule.first_id)):
            return True
        alone = js.loosely_equal(NO_WINNER, variation) and not js.equal(campaign, rule.campaign_id)
        _remember(rule, group, campaign if alone else f"{js.text(campaign)}_{js.text(variation)}", view)
        return False
    if not rule.lets_in(view):
        return False
    winner = group.winner(settings, feature, view, lambda other: _rolled_out(settings, other, view))
    if (
        winner is not None
        and js.equal(winner.campaign_id, rule.campaign_id)
        and (winner.kind == TESTING or js.equal(winner.first_id, rule.first_id))
    ):
        return True
    _remember(rule, group, NO_WINNER if winner is None else winner.name, view)
    return False


def _remember(rule: Rule, group: Group, winner: Any, view: View) -> None:
    if rule.kind == ROLLOUT:
        # Only experiments have a place to remember winners.
        raise Fault("a rollout rule lost in a group")
    view.winners[group.id] = winner


def _rolled_out(settings: Settings, feature: Feature, view: View) -> bool:
    """Whether the rollout rules of a feature let the user in."""
    if feature.key in view.rollouts_passed or not feature.rollouts:
        return True
    for rule in feature.rollouts:
        if check_rule(settings, feature, rule, view) is not None:
            if rule.variation_for(view) is None:
                return False
            view.rollouts_passed.add(feature.key)
            return True
    return False
