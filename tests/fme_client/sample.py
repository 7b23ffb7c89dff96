"""Settings with a rule of every kind that asks something, and the contexts that the tests use."""

from __future__ import annotations

from typing import Any

ACCOUNT = "123456"
SDK_KEY = "sample_sdk_key"
LIST = "heap_premium_users"
BROWSER = (
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/120.0.0.0 Safari/537.36"
)
DETAILS = {"location": {"country": "France"}, "userAgent": {"os": "macOS", "os_version": "", "browser_version": ""}}


def member_of(list_id: str, variable: str = "heap_user_id") -> dict[str, Any]:
    return {"or": [{"custom_variable": {variable: f"inlist({list_id})"}}]}


def _variable(value: str) -> dict[str, Any]:
    return {"id": 1, "type": "string", "key": "layout", "value": value}


def rollout(number: int, flag: str, segments: dict[str, Any], layout: str = "premium") -> dict[str, Any]:
    variation = {"id": 1, "name": "on", "weight": 100, "segments": segments, "variables": [_variable(layout)]}
    return _campaign(number, flag, "FLAG_ROLLOUT", [variation], {})


def _experiment(number: int, flag: str, segments: dict[str, Any]) -> dict[str, Any]:
    variations = [
        {"id": at, "name": name, "weight": 50, "segments": {}, "variables": [_variable(name)]}
        for at, name in ((1, "control"), (2, "bold"))
    ]
    return _campaign(number, flag, "FLAG_TESTING", variations, segments)


def _campaign(
    number: int, flag: str, kind: str, variations: list[dict[str, Any]], segments: dict[str, Any]
) -> dict[str, Any]:
    return {
        "id": number,
        "type": kind,
        "key": f"{flag}_rule{number}",
        "name": f"{flag}: rule {number}",
        "status": "RUNNING",
        "percentTraffic": 100,
        "isAlwaysCheckSegment": False,
        "isForcedVariationEnabled": False,
        "segments": segments,
        "variations": variations,
    }


def feature(number: int, key: str, *campaigns: dict[str, Any], **more: Any) -> dict[str, Any]:
    rules = [
        {"type": campaign["type"], "ruleKey": f"rule{campaign['id']}", "campaignId": campaign["id"]}
        | ({"variationId": 1} if campaign["type"] == "FLAG_ROLLOUT" else {})
        for campaign in campaigns
    ]
    return {
        "id": number,
        "key": key,
        "name": key,
        "type": "FEATURE_FLAG",
        "status": "ON",
        "metrics": [{"id": number, "type": "CUSTOM_GOAL", "identifier": f"{key}_used"}],
        "variables": [_variable("classic")],
        "rules": rules,
        **more,
    }


def settings(features: list[dict[str, Any]], campaigns: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    head = {"version": 1, "accountId": int(ACCOUNT), "sdkKey": SDK_KEY}
    return {**head, "features": features, "campaigns": campaigns, **more}


def sample_settings(**more: Any) -> dict[str, Any]:
    """Five flags.

    `premium` for members of a list, with an impact campaign; `tested` for all, with an experiment; `french` for a
    country; `both` for members of two lists; `open` for everybody.
    """
    premium = rollout(1, "premium", member_of(LIST))
    shown, tested = rollout(2, "tested", {}), _experiment(3, "tested", {})
    french = rollout(4, "french", {"and": [{"country": "France"}]})
    both = rollout(5, "both", {"and": [member_of(LIST), member_of("beta", "beta_id")]})
    opened = rollout(6, "open", {})
    return settings(
        [
            feature(1, "premium", premium, impactCampaign={"campaignId": 11, "type": "FLAG_TESTING"}),
            feature(2, "tested", shown, tested),
            feature(3, "french", french),
            feature(4, "both", both),
            feature(5, "open", opened),
        ],
        [premium, shown, tested, french, both, opened],
        **more,
    )


def member(value: str, user: str = "user-1") -> dict[str, Any]:
    """A context whose custom variable names `value`."""
    return {"id": user, "custom_variables": {"heap_user_id": value}}
