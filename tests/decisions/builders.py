"""Settings documents, written short."""

from __future__ import annotations

from typing import Any

ROLLOUT, TESTING, PERSONALIZE = "FLAG_ROLLOUT", "FLAG_TESTING", "FLAG_PERSONALIZE"


def campaign(
    kind: str, number: int, segments: Any = None, weights: tuple[float, ...] = (100,), **more: Any
) -> dict[str, Any]:
    """A campaign whose variations 1, 2, ... have these weights and the variables `color` and `size`."""
    testing = kind == TESTING
    segments = {} if segments is None else segments
    return {
        "id": number,
        "type": kind,
        "key": f"rule{number}",
        "name": f"rule {number}",
        "status": "RUNNING",
        "percentTraffic": 100,
        "segments": segments if testing else {},
        "variations": [
            {
                "id": position,
                "name": f"Variation-{position}",
                "weight": weight,
                "segments": {} if testing else segments,
                "variables": [
                    {"id": 1, "key": "color", "type": "string", "value": f"color {number}.{position}"},
                    {"id": 2, "key": "size", "type": "integer", "value": position},
                ],
            }
            for position, weight in enumerate(weights, 1)
        ],
        **more,
    }


def feature(number: int, key: str, campaigns: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    """A flag with a rule for each campaign, and for each variation of a personalise campaign."""
    return {
        "id": number,
        "key": key,
        "name": key,
        "type": "FEATURE_FLAG",
        "status": "ON",
        "metrics": [{"id": 1, "type": "CUSTOM_GOAL", "identifier": "bought"}],
        "rules": [rule for one in campaigns for rule in _rules(one)],
        **more,
    }


def document(features: list[dict[str, Any]], campaigns: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    return {"version": 1, "accountId": 123456, "sdkKey": "key", "features": features, "campaigns": campaigns, **more}


def flag(*campaigns: dict[str, Any], **more: Any) -> dict[str, Any]:
    """Settings with one flag, `flag`."""
    return document([feature(1, "flag", list(campaigns), **more)], list(campaigns))


def _rules(one: dict[str, Any]) -> list[dict[str, Any]]:
    base = {"type": one["type"], "campaignId": one["id"]}
    if one["type"] == TESTING:
        return [base | {"ruleKey": f"rule{one['id']}"}]
    return [base | {"ruleKey": f"rule{one['id']}.{v['id']}", "variationId": v["id"]} for v in one["variations"]]
