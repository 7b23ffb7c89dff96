"""A flag of the settings with its rules."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fme_client.evaluation import js
from fme_client.evaluation.rules import PERSONALIZE, ROLLOUT, TESTING, Campaign, Rule
from fme_client.evaluation.schema import SettingsError

if TYPE_CHECKING:
    from fme_client.evaluation.segments import SegmentCompiler

# The words that make the Node SDK ask for user details, wherever they stand in a segment.
_DETAILS = re.compile(
    r"\b(?:country|region|city|os|device_type|browser_string|ua|browser_version|os_version)\b"
    r'|"custom_variable"\s*:\s*\{[^}]*inlist\([^)]*\)',
    re.ASCII,
)


@dataclass(slots=True, eq=False)
class Feature:
    id: Any
    key: str
    name: str
    rules: tuple[Rule, ...]
    rollouts: tuple[Rule, ...]
    experiments: tuple[Rule, ...]
    rule_documents: Sequence[Mapping[str, Any]]
    campaign_ids: tuple[Any, ...]
    wants_details: bool
    # Campaign that measures the flag as a whole; None: there is none.
    impact_campaign: Any

    @classmethod
    def parse(
        cls, document: Mapping[str, Any], campaigns: Mapping[Any, Campaign], account_id: str, compiler: SegmentCompiler
    ) -> Feature:
        documents = document.get("rules", [])
        linked = [(rule, campaigns[rule["campaignId"]]) for rule in documents if rule["campaignId"] in campaigns]
        rules = tuple(Rule.parse(rule, campaign, account_id, compiler) for rule, campaign in linked)
        wanted = (_wants_details(rule, campaign) for rule, (_, campaign) in zip(rules, linked, strict=True))
        return cls(
            id=document["id"],
            key=document["key"],
            name=document["name"],
            rules=rules,
            rollouts=tuple(rule for rule in rules if rule.kind == ROLLOUT),
            experiments=tuple(rule for rule in rules if rule.kind in (TESTING, PERSONALIZE)),
            rule_documents=documents,
            campaign_ids=tuple(rule["campaignId"] for rule in documents),
            wants_details=any(wanted) or js.truthy(document.get("isGatewayServiceRequired")),
            impact_campaign=_impact_campaign(document.get("impactCampaign")),
        )


def _impact_campaign(impact: Any) -> Any:
    campaign = impact.get("campaignId") if isinstance(impact, Mapping) else None
    return campaign if js.truthy(campaign) else None


def _wants_details(rule: Rule, campaign: Campaign) -> bool:
    segments = campaign.document["segments"]
    if rule.kind in (ROLLOUT, PERSONALIZE):
        if not rule.variations:
            raise SettingsError(f"campaign {js.text(campaign.id)}.variations: empty, but a rule needs one")
        segments = rule.variations[0].segments
    text = json.dumps(segments, ensure_ascii=False, separators=(",", ":"))
    return _DETAILS.search(text) is not None
