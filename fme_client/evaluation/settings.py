"""Settings, compiled once for many decisions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from fme_client.evaluation import js, schema
from fme_client.evaluation.features import Feature
from fme_client.evaluation.groups import Group, parse_group
from fme_client.evaluation.hashing import account_namespace, visitor_id
from fme_client.evaluation.rules import NO_VARIATION, PERSONALIZE, Campaign, Rule, Variation
from fme_client.evaluation.schema import SettingsError
from fme_client.evaluation.segments import SegmentCompiler

if TYPE_CHECKING:
    from uuid import UUID

    from fme_client.evaluation.regex import Regexes

__all__ = ["Settings", "SettingsError"]

# By whether the id is a text, and its text: JavaScript tells the group 1 from the group "1".
_Groups = dict[tuple[bool, str], Group]


@dataclass(frozen=True, slots=True, eq=False)
class Settings:
    """Immutable, and safe to share between threads."""

    account_id: str  # as text, whether the settings have a number or a string
    sdk_key: str | None
    version: int | float | str
    features: Mapping[str, Feature]  # by key
    event_names: frozenset[str]  # identifiers of all features' metrics: what track_event accepts
    collection_prefix: str | None
    poll_interval: int | float | None  # milliseconds
    usage_stats_account_id: int | float | None
    was_initialized_earlier: bool  # sdkMetaInfo: no vwo_fmeSdkInit event is due
    unsupported: tuple[str, ...]  # conditions whose regular expression can't be evaluated here; they match nothing
    document: Mapping[str, Any] = field(repr=False)  # as it came
    regexes: Regexes = field(repr=False)  # of its conditions
    _campaigns: Mapping[str, Campaign] = field(repr=False)  # the first of each key
    _namespace: UUID = field(repr=False)

    @classmethod
    def parse(cls, document: Mapping[str, Any]) -> Settings:
        """Compile `document`, the JSON of `/server-side/v2-settings`. Raises SettingsError, which names the field.

        `features` and `campaigns` may be missing or `{}`, as the service sends them when there are none.
        """
        if isinstance(document, Mapping):
            document = {**document, **{name: [] for name in ("features", "campaigns") if _is_empty(document.get(name))}}
        schema.check(document)
        try:
            return cls._compile(document)
        except RecursionError:
            raise SettingsError("settings: segments are nested too deeply") from None

    @classmethod
    def _compile(cls, document: Mapping[str, Any]) -> Settings:
        account_id = js.text(document["accountId"])
        campaigns = [Campaign.parse(campaign) for campaign in document["campaigns"]]
        by_id = {campaign.id: campaign for campaign in campaigns}
        documents = document["features"]
        numbered = {one["id"]: one["key"] for one in reversed(documents) if not isinstance(one["id"], str)}
        compiler = SegmentCompiler(numbered)
        features = [Feature.parse(one, by_id, account_id, compiler) for one in documents]
        _join_groups(document, features)
        return cls(
            account_id=account_id,
            sdk_key=document.get("sdkKey"),
            version=document["version"],
            features={feature.key: feature for feature in reversed(features)},
            event_names=frozenset(m["identifier"] for one in documents for m in one["metrics"]),
            collection_prefix=document.get("collectionPrefix"),
            poll_interval=document.get("pollInterval") or None,
            usage_stats_account_id=document.get("usageStatsAccountId") or None,
            was_initialized_earlier=document.get("sdkMetaInfo", {}).get("wasInitializedEarlier", False),
            unsupported=tuple(compiler.unsupported),
            document=document,
            regexes=compiler.regexes,
            _campaigns={campaign.key: campaign for campaign in reversed(campaigns)},
            _namespace=account_namespace(account_id),
        )

    def visitor_id(self, user_id: str) -> str:
        """VWO's id of the user: 32 upper case hexadecimal digits."""
        return visitor_id(self._namespace, user_id)

    def stored_variation(self, campaign_key: Any, variation_id: Any) -> Variation | None:
        """The variation that a stored decision names, None when the settings no longer have it."""
        campaign = self._campaigns.get(campaign_key) if isinstance(campaign_key, str) else None
        return None if campaign is None else campaign.variation(variation_id)


def _is_empty(value: Any) -> bool:
    """What has no keys in JavaScript."""
    return not value or not isinstance(value, (list, str, Mapping))


def _join_groups(document: Mapping[str, Any], features: list[Feature]) -> None:
    """Tell each rule which group it belongs to."""
    joined = _object(document.get("campaignGroups"))
    documents = _object(document.get("groups"))
    groups: _Groups = {}
    for feature in features:
        for rule in feature.rules:
            name = js.text(rule.campaign_id)
            if rule.kind == PERSONALIZE:
                if not rule.variations:
                    rule.fault = NO_VARIATION
                    continue
                name = f"{name}_{js.text(rule.first_id)}"
            if name in joined:
                _join(rule, joined[name], documents, features, groups)


def _join(rule: Rule, group_id: Any, documents: Mapping[str, Any], features: list[Feature], groups: _Groups) -> None:
    name = js.text(group_id)
    group_id = group_id if isinstance(group_id, (str, int, float)) else name
    if documents.get(name) is None:
        rule.fault = f"campaign {js.text(rule.campaign_id)} belongs to a group that is not in the settings"
    elif js.truthy(group_id):
        key = (isinstance(group_id, str), name)
        if key not in groups:
            groups[key] = parse_group(group_id, documents[name], features)
        rule.group = groups[key]


def _object(value: Any) -> Mapping[str, Any]:
    if isinstance(value, list):
        return {str(position): item for position, item in enumerate(value)}
    return value if isinstance(value, Mapping) else {}
