"""What other services need of flag settings: the names of campaigns and variations, and which flags use which list."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fme_client.evaluation import schema
from fme_client.evaluation.rules import short
from gateway import large_json
from gateway.explain_segments import lists_named
from published.campaigns import IMPACT, Campaign, Variation, id_text
from published.references import Reference

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    Document = Mapping[str, Any]


def document_of(body: bytes) -> dict[str, Any]:
    """Settings as they are served. Raises `SettingsError` for such as no SDK could use."""
    document = large_json.decode(body)
    lists = {name: document.get(name) or [] for name in ("features", "campaigns")}
    document = {**document, **lists}
    schema.check(document)
    return document


def campaigns(document: Document) -> dict[str, Campaign]:
    """Those that flags refer to, by their ids."""
    known = {campaign["id"]: campaign for campaign in document["campaigns"]}
    found: dict[str, Campaign] = {}
    for feature in _features(document):
        for rule in feature.get("rules", ()):
            campaign = known.get(rule["campaignId"])
            name = id_text(rule["campaignId"])
            if campaign is not None and name is not None:
                before = found.get(name, Campaign(feature["key"], campaign["type"]))
                if before.flag == feature["key"]:
                    found[name] = Campaign(before.flag, before.kind, _variations(campaign, rule) | before.variations)
        impact = feature.get("impactCampaign")
        name = id_text(impact.get("campaignId")) if isinstance(impact, dict) else None
        if name:
            found.setdefault(name, Campaign(feature["key"], IMPACT))
    return found


def _variations(campaign: Document, rule: Document) -> dict[str, Variation]:
    """Those that `rule` gives: one of them where it names one, else all."""
    only = id_text(rule.get("variationId")) if rule.get("variationId") else None
    found = {}
    for one in campaign["variations"]:
        name = id_text(short(one, "i", "id"))
        if name is not None and only in (None, name):
            found[name] = Variation(str(short(one, "n", "key", "name")), rule["ruleKey"])
    return found


def references(document: Document) -> Iterator[Reference]:
    """Every place that refers to a list, in the order of the flags, and of their campaigns in the settings."""
    known = {campaign["id"]: campaign for campaign in document["campaigns"]}
    place = {name: number for number, name in enumerate(known)}
    for feature in _features(document):
        ids = {rule["campaignId"] for rule in feature.get("rules", ())} & known.keys()
        for campaign in (known[name] for name in sorted(ids, key=place.__getitem__)):
            segments = [campaign["segments"], *(one.get("segments") for one in campaign["variations"])]
            for name, variable in dict.fromkeys(named for segment in segments for named in lists_named(segment)):
                yield Reference(name, feature["key"], campaign["key"], variable)


def _features(document: Document) -> Iterator[Document]:
    """The first of each key counts, as in a decision."""
    seen = set()
    for feature in document["features"]:
        if feature["key"] not in seen:
            seen.add(feature["key"])
            yield feature
