"""The decision on one flag for one user."""

from __future__ import annotations

from copy import deepcopy
from typing import TYPE_CHECKING, Any, NamedTuple

from fme_client.evaluation import js
from fme_client.evaluation.checking import Trail, check_rule
from fme_client.evaluation.js import Fault
from fme_client.evaluation.rules import Rule, Variation
from fme_client.evaluation.view import Unanswered, View

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping

    from fme_client.evaluation.context import Context
    from fme_client.evaluation.features import Feature
    from fme_client.evaluation.questions import Answer, Question
    from fme_client.evaluation.settings import Settings

_FLAG_ON, _FLAG_OFF = 2, 1  # variations of an impact campaign


class Exposure(NamedTuple):
    """One `vwo_variationShown`: the ids that the event carries, numbers or strings as the settings have them."""

    campaign_id: Any
    variation_id: Any


class Decision:
    """What was decided, and what the client has to do about it. Treat it as read-only."""

    __slots__ = ("_trail", "_variation", "exposures", "failure", "feature_key", "is_enabled", "to_store")

    feature_key: str
    is_enabled: bool
    # In the order in which the Node SDK sends them, that of an impact campaign last.
    exposures: tuple[Exposure, ...]
    # Mappings for the storage's `set`, in order: featureKey, userId, rolloutId, rolloutKey, rolloutVariationId,
    # experimentId, experimentKey, experimentVariationId (None: not decided).
    to_store: tuple[dict[str, Any], ...]
    # Why the flag is off although no rule said so: unknown flag, or what the Node SDK would have thrown. For the log:
    # names no user and no value.
    failure: str | None

    def __init__(
        self,
        feature_key: str,
        view: View | None,
        variation: Variation | None,
        trail: Trail | None = None,
        failure: str | None = None,
    ) -> None:
        self.feature_key = feature_key
        self.is_enabled = variation is not None
        self.exposures = tuple(Exposure(*pair) for pair in view.exposures) if view else ()
        self.to_store = tuple(view.to_store) if view else ()
        self.failure = failure
        self._variation = variation
        self._trail = trail

    @property
    def variables(self) -> list[dict[str, Any]]:
        """Each a new dict with id, key, type and value; empty when the flag is off."""
        variation = self._variation
        return [deepcopy(variable) for variable in variation.variables] if variation else []

    @property
    def is_forced(self) -> bool:
        """Whether the user got the variation by being whitelisted for it: neither segments nor chance were asked."""
        return self._trail is not None and self._trail.is_forced

    @property
    def integration(self) -> dict[str, Any] | None:
        """What integrations.callback is called with; None: it isn't called (stored decision, unknown flag, failure)."""
        return None if self._trail is None else self._trail.integration()


def decide(
    settings: Settings, feature_key: str, context: Context, *, storage: bool = False
) -> Generator[Question, Answer, Decision]:
    """Decide one flag. Yields questions, is sent their answers, returns the `Decision`; raises nothing.

    `storage`: whether the application has a storage. Without one no `Stored` is asked.
    """
    answers: list[Answer] = []
    try:
        user_key = context.id.encode()
    except UnicodeEncodeError:
        return Decision(feature_key, None, None, failure="the user's id is no valid text")
    if not user_key:
        return Decision(feature_key, None, None, failure="the user's id is empty")
    while True:
        view = View(context, user_key, answers, storage=storage)
        try:
            return _evaluate(settings, feature_key, view)
        except Fault as fault:
            return Decision(feature_key, view, None, failure=str(fault))
        except Unanswered as unanswered:
            question = unanswered.question
        except Exception as error:  # noqa: BLE001 - a value of the application's may raise anything when it is looked at
            return Decision(feature_key, view, None, failure=f"a value can't be evaluated ({type(error).__name__})")
        answers.append((yield question))


def _evaluate(settings: Settings, feature_key: str, view: View) -> Decision:
    kept = view.stored(feature_key)
    decided: dict[str, Any] = {}
    rollout: Variation | None = None
    if kept:
        if js.truthy(kept.get("experimentVariationId")):
            variation = settings.stored_variation(kept.get("experimentKey"), kept["experimentVariationId"])
            if variation is not None:
                return Decision(feature_key, view, variation)
        elif js.truthy(kept.get("rolloutId")):
            rollout = _stored_rollout(settings, kept, decided)
    feature = settings.features.get(feature_key)
    if feature is None:
        raise Fault("no such flag in the settings")
    if feature.wants_details and view.context.user_details is None:
        view.ask_details()
    trail = Trail(feature, view)
    variation = _apply_rules(settings, feature, view, trail, decided, rollout)
    if variation is not None:
        view.store(feature_key, decided)
    if feature.impact_campaign is not None:
        view.exposures.append((feature.impact_campaign, _FLAG_OFF if variation is None else _FLAG_ON))
    return Decision(feature_key, view, variation, trail)


def _apply_rules(
    settings: Settings, feature: Feature, view: View, trail: Trail, decided: dict[str, Any], rollout: Variation | None
) -> Variation | None:
    """The variation that the rules give, where `rollout` is that of a rollout rule that was stored."""
    if rollout is not None:
        view.rollouts_passed.add(feature.key)
    elif feature.rollouts:
        rollout = _roll_out(settings, feature, view, trail, decided)
        if rollout is None:
            return None
    return _experiment(settings, feature, view, trail, decided) or rollout


def _stored_rollout(settings: Settings, kept: Mapping[str, Any], decided: dict[str, Any]) -> Variation | None:
    variation = settings.stored_variation(kept.get("rolloutKey"), kept.get("rolloutVariationId"))
    if variation is not None:
        decided.update({name: kept.get(name) for name in ("rolloutId", "rolloutKey", "rolloutVariationId")})
    return variation


def _roll_out(
    settings: Settings, feature: Feature, view: View, trail: Trail, decided: dict[str, Any]
) -> Variation | None:
    """The variation of the first rollout rule that is for the user, if its traffic lets the user in."""
    for rule in feature.rollouts:
        if check_rule(settings, feature, rule, view, trail) is not None:
            view.rollouts_passed.add(feature.key)
            variation = rule.variation_for(view)
            if variation is not None:
                decided["rolloutId"] = rule.campaign_id
                decided["rolloutKey"] = rule.key
                decided["rolloutVariationId"] = variation.id
                trail.rules.update(decided)
                view.exposures.append((rule.campaign_id, variation.id))
            return variation
    return None


def _experiment(
    settings: Settings, feature: Feature, view: View, trail: Trail, decided: dict[str, Any]
) -> Variation | None:
    """The variation of the first testing or personalise rule that is for the user, if the user gets one."""
    for rule in feature.experiments:
        checked = check_rule(settings, feature, rule, view, trail)
        if checked is None:
            continue
        forced = isinstance(checked, Variation)
        variation = checked if isinstance(checked, Variation) else rule.variation_for(view)
        if variation is not None:
            experiment = _experiment_fields(rule, variation)
            decided.update(experiment)
            # A forced variation says nothing about a rollout that was stored.
            trail.rules.update(experiment if forced else decided)
            trail.is_forced = forced
            view.exposures.append((rule.campaign_id, variation.id))
        return variation
    return None


def _experiment_fields(rule: Rule, variation: Variation) -> dict[str, Any]:
    return {"experimentId": rule.campaign_id, "experimentKey": rule.key, "experimentVariationId": variation.id}
