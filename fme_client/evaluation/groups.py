"""Mutually exclusive groups: of the rules that would take a user, of several flags perhaps, one wins."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fme_client.evaluation import js
from fme_client.evaluation.hashing import BASIS_POINTS, bucket, prefix
from fme_client.evaluation.js import Fault
from fme_client.evaluation.rules import NO_VARIATION, PERSONALIZE, Ranges, Rule

if TYPE_CHECKING:
    from fme_client.evaluation.features import Feature
    from fme_client.evaluation.settings import Settings
    from fme_client.evaluation.view import View

STORED_WINNER = "_vwo_meta_meg_"
NO_WINNER = -1
_RANDOM = 1


@dataclass(slots=True, eq=False)
class Group:
    """One group of the settings. `fault`: why the Node SDK throws once the group has to be evaluated."""

    id: Any
    algorithm: Any
    priorities: Any
    weights: Any
    # Features of the group's rules, in the order in which they are looked at, and which of their rules are in it;
    # None: the Node SDK throws once it looks for them.
    members: tuple[tuple[Feature, tuple[Rule, ...] | None], ...]
    bucket_prefix: bytes
    fault: str | None = None

    def winner(
        self, settings: Settings, feature: Feature, view: View, rolled_out: Callable[[Feature], bool]
    ) -> Rule | None:
        """The rule that wins the user; None when there is none, or when it was drawn and is no rule of `feature`.

        `rolled_out`: whether the rollout rules of a feature let the user in.
        """
        if self.fault is not None:
            raise Fault(self.fault)
        if self.id in view.groups_open:
            raise Fault("a group has a rollout rule, and so waits for itself")
        view.groups_open.append(self.id)
        found: dict[str, tuple[Rule, ...]] = {}
        for member, rules in self.members:
            if rolled_out(member):
                if rules is None:
                    raise Fault(NO_VARIATION)
                found[member.key] = rules
        view.groups_open.pop()
        stored, eligible = _eligible(settings, found, view)
        candidates = stored or eligible
        if len(candidates) <= 1:
            return candidates[0] if candidates else None
        won = self._by_chance(candidates, view) if self._is_random else self._by_priority(candidates, view)
        if won is None:
            return None
        view.store(
            f"{STORED_WINNER}{js.text(self.id)}",
            {
                "experimentId": won.campaign_id,
                "experimentKey": won.key,
                "experimentVariationId": won.first_id if won.kind == PERSONALIZE else NO_WINNER,
            },
        )
        return won if any(js.equal(campaign, won.campaign_id) for campaign in feature.campaign_ids) else None

    @property
    def _is_random(self) -> bool:
        return js.equal(self.algorithm, _RANDOM)

    def _bucket(self, view: View) -> int:
        return bucket(self.bucket_prefix + view.user_key, BASIS_POINTS)

    def _by_chance(self, candidates: Sequence[Rule], view: View) -> Rule:
        # JavaScript's Math.round: halves go up.
        weight = math.floor(100 / len(candidates) * 10_000 + 0.5) / 10_000
        index = Ranges.of([weight] * len(candidates)).find(self._bucket(view))
        if index is None:
            raise Fault("no rule of a group got the user")
        return candidates[index]

    def _by_priority(self, candidates: Sequence[Rule], view: View) -> Rule | None:
        for wanted in self.priorities:
            for rule in candidates:
                if js.loosely_equal(rule.campaign_id, wanted) or js.equal(_full_name(rule), wanted):
                    return rule
        weighed = []
        for rule in candidates:
            name = js.text(rule.campaign_id)
            if name not in self.weights:
                name = _full_name(rule)
            if name in self.weights:
                weighed.append((rule, self.weights[name]))
        index = Ranges.of([weight for _, weight in weighed]).find(self._bucket(view))
        return None if index is None else weighed[index][0]


def _full_name(rule: Rule) -> str:
    return f"{js.text(rule.campaign_id)}_{js.text(rule.first_id)}"


def _eligible(settings: Settings, found: Mapping[str, Sequence[Rule]], view: View) -> tuple[list[Rule], list[Rule]]:
    """Rules that the storage names for the user, and others that would take the user."""
    stored: list[Rule] = []
    eligible: list[Rule] = []
    for key, rules in found.items():
        for rule in rules:
            kept = view.stored(key)
            if (
                js.truthy(kept.get("experimentVariationId"))
                and js.truthy(kept.get("experimentKey"))
                and kept["experimentKey"] == rule.key
                and settings.stored_variation(rule.key, kept["experimentVariationId"]) is not None
            ):
                if all(other.key != rule.key for other in stored):
                    stored.append(rule)
            elif rule.lets_in(view) and rule.takes_part(view):
                eligible.append(rule)
    return stored, eligible


def parse_group(group_id: Any, document: Any, features: Sequence[Feature]) -> Group:
    """Compile one group. `features` are all of the settings, in their order."""

    def failing(reason: str) -> Group:
        return Group(group_id, None, (), {}, (), b"", fault=reason)

    if not isinstance(document, Mapping):
        return failing("a group is no object")
    campaigns = document.get("campaigns")
    names = list(campaigns) if isinstance(campaigns, (list, str)) else []
    if campaigns is None or not all(isinstance(name, str) for name in names):
        return failing("a group's campaigns are no list of texts")
    priorities = document.get("p", ())
    weights = document.get("wt", {})
    if not isinstance(priorities, (list, tuple)) or not isinstance(weights, Mapping):
        return failing("a group's priorities are no list, or its weights no object")
    members = tuple((feature, _members(feature.key, names, features)) for feature in _features_of(names, features))
    return Group(
        id=group_id,
        algorithm=document.get("et", _RANDOM),
        priorities=tuple(priorities),
        weights=weights,
        members=members,
        bucket_prefix=prefix(None, group_id),
    )


def _features_of(names: Sequence[str], features: Sequence[Feature]) -> list[Feature]:
    """The first feature of each key that has one of these campaigns, in the order of the campaigns."""
    found: dict[str, Feature] = {}
    for name in names:
        campaign, *variation = (js.number(part) for part in name.split("_")[:2])
        for feature in features:
            if feature.key not in found and any(
                campaign == js.number(rule["campaignId"])
                and (not variation or (rule.get("variationId") is not None and variation[0] == rule["variationId"]))
                for rule in feature.rule_documents
            ):
                found[feature.key] = next(first for first in features if first.key == feature.key)
    return list(found.values())


def _members(key: str, names: Sequence[str], features: Sequence[Feature]) -> tuple[Rule, ...] | None:
    """Rules of the features with this key that the group names, one of each rule key."""
    found: dict[str, Rule] = {}
    for feature in features:
        for rule in feature.rules if feature.key == key else ():
            if js.text(rule.campaign_id) not in names:
                if not rule.variations:
                    return None
                if _full_name(rule) not in names:
                    continue
            found.setdefault(rule.rule_key, rule)
    return tuple(found.values())
