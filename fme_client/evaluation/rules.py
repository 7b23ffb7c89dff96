"""Rules of a flag, compiled: whom they are for, how much traffic they take, and which variation a user gets."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from fme_client.evaluation import js
from fme_client.evaluation.hashing import BASIS_POINTS, PERCENT, bucket, prefix
from fme_client.evaluation.js import Fault
from fme_client.evaluation.segments import Check, SegmentCompiler, always

if TYPE_CHECKING:
    from fme_client.evaluation.groups import Group
    from fme_client.evaluation.view import View

ROLLOUT = "FLAG_ROLLOUT"
TESTING = "FLAG_TESTING"
PERSONALIZE = "FLAG_PERSONALIZE"

NO_VARIATION = "a rule without a variation"


def short(document: Mapping[str, Any], *names: str) -> Any:
    """The first of these fields that JavaScript takes for true, else the last."""
    for name in names[:-1]:
        if js.truthy(document.get(name)):
            return document[name]
    return document.get(names[-1])


@dataclass(slots=True, eq=False)
class Variation:
    id: Any
    key: Any
    weight: Any
    salt: Any
    segments: Any
    # id, key, type and value, those that there are.
    variables: tuple[dict[str, Any], ...]

    @classmethod
    def parse(cls, document: Mapping[str, Any]) -> Variation:
        return cls(
            id=short(document, "i", "id"),
            key=short(document, "n", "key", "name"),
            weight=short(document, "w", "weight"),
            salt=document.get("salt"),
            segments=short(document, "seg", "segments"),
            variables=tuple(_variable(variable) for variable in document.get("variables", ())),
        )


def _variable(document: Mapping[str, Any]) -> dict[str, Any]:
    fields = {"id": ("i", "id"), "key": ("k", "key"), "type": ("type",), "value": ("val", "value")}
    found = {
        name: next((document[n] for n in names if document.get(n) is not None), None) for name, names in fields.items()
    }
    return {name: value for name, value in found.items() if value is not None}


@dataclass(frozen=True, slots=True)
class Ranges:
    """Shares of 10,000 buckets, one after the other."""

    bounds: tuple[tuple[float, float], ...]

    @classmethod
    def of(cls, weights: Sequence[Any]) -> Ranges:
        bounds, allocated = [], 0.0
        for weight in weights:
            step = _step(weight)
            taken = step == step and step != 0  # noqa: PLR0124 - neither NaN nor zero
            bounds.append((allocated + 1, allocated + step) if taken else (-1.0, -1.0))
            # NaN, of a weight that is no number, leaves nothing to those behind it.
            allocated += step
        return cls(tuple(bounds))

    def find(self, value: int) -> int | None:
        """Index of the share that `value` falls into."""
        for index, (start, end) in enumerate(self.bounds):
            if start <= value <= end:
                return index
        return None


def _step(weight: Any) -> float:
    if not js.truthy(weight):
        return 0
    size = js.number(weight) * 100
    return min(math.ceil(size), BASIS_POINTS) if math.isfinite(size) else min(size, float(BASIS_POINTS))


@dataclass(slots=True, eq=False)
class Campaign:
    """A campaign of the settings. Rules and stored decisions refer to it."""

    id: Any
    key: str
    document: Mapping[str, Any]
    variations: tuple[Variation, ...]

    @classmethod
    def parse(cls, document: Mapping[str, Any]) -> Campaign:
        variations = tuple(Variation.parse(variation) for variation in document["variations"])
        return cls(document["id"], document["key"], document, variations)

    def variation(self, variation_id: Any) -> Variation | None:
        return next((one for one in self.variations if js.equal(one.id, variation_id)), None)


@dataclass(slots=True, eq=False)
class Rule:
    """A campaign as one rule of a flag uses it; only `group` and `fault` are set later, when groups are known."""

    campaign_id: Any
    key: str
    rule_key: str
    kind: str
    variations: tuple[Variation, ...]
    pre_segment: Check
    forced: tuple[tuple[Check, Variation], ...]
    list_by_visitor_id: bool
    # The user takes part when the bucket (1 to 100) is not above this; NaN lets nobody in.
    allocation: float
    part_prefix: bytes
    share_prefix: bytes
    ranges: Ranges
    group: Group | None = field(default=None, repr=False)
    # Why the Node SDK throws when it looks for the rule's group.
    fault: str | None = None

    @classmethod
    def parse(cls, rule: Mapping[str, Any], campaign: Campaign, account_id: str, compiler: SegmentCompiler) -> Rule:
        document, variations = campaign.document, campaign.variations
        ranges = Ranges.of([variation.weight for variation in variations])
        one = campaign.variation(rule["variationId"]) if js.truthy(rule.get("variationId")) else None
        if one is not None:
            # It keeps the share that it has of the whole campaign.
            ranges = Ranges((ranges.bounds[variations.index(one)],))
            variations = (one,)
        kind, salt = document["type"], document.get("salt")
        whole = kind in (ROLLOUT, PERSONALIZE)
        forced = kind == TESTING and document.get("isForcedVariationEnabled", False)
        first = variations[0] if variations else None
        segments: Any = {}
        if whole:
            segments = first.segments if first else None
        elif kind == TESTING:
            segments = document["segments"]
        return cls(
            campaign_id=campaign.id,
            key=campaign.key,
            rule_key=rule["ruleKey"],
            kind=kind,
            variations=variations,
            pre_segment=always if segments == {} else compiler.compile(segments),
            forced=_forced(variations, compiler) if forced else (),
            list_by_visitor_id=js.truthy(document.get("isUserListEnabled")),
            allocation=js.number((first and first.weight) if whole else document.get("percentTraffic")),
            part_prefix=prefix((first and first.salt) if whole else salt, campaign.id),
            share_prefix=prefix(salt, campaign.id, account_id),
            ranges=ranges,
        )

    @property
    def first_id(self) -> Any:
        """Id of the first variation, which stands for a personalise rule."""
        if not self.variations:
            raise Fault(NO_VARIATION)
        return self.variations[0].id

    @property
    def name(self) -> Any:
        """How groups call the rule when it has won: its campaign, and for a personalise rule the variation too."""
        return self.campaign_id if self.kind == TESTING else f"{js.text(self.campaign_id)}_{js.text(self.first_id)}"

    def takes_part(self, view: View) -> bool:
        return bucket(self.part_prefix + view.user_key, PERCENT) <= self.allocation

    def variation_for(self, view: View) -> Variation | None:
        """What traffic and shares give the user."""
        if not self.takes_part(view):
            return None
        if self.kind in (ROLLOUT, PERSONALIZE):
            return self.variations[0]
        index = self.ranges.find(bucket(self.share_prefix + view.user_key, BASIS_POINTS))
        return None if index is None else self.variations[index]

    def forced_variation(self, view: View) -> Variation | None:
        """The variation that the user is whitelisted for."""
        targeting = view.context.variation_targeting_variables
        found = [variation for check, variation in self.forced if check(view, targeting)]
        if len(found) > 1:
            raise Fault("more than one forced variation")
        return found[0] if found else None

    def lets_in(self, view: View) -> bool:
        """Pre-segmentation."""
        return self.pre_segment(view, view.context.custom_variables)


def _forced(variations: Sequence[Variation], compiler: SegmentCompiler) -> tuple[tuple[Check, Variation], ...]:
    return tuple(
        (compiler.compile(variation.segments), variation)
        for variation in variations
        if isinstance(variation.segments, Mapping) and variation.segments
    )
