"""Settings and users that the contenders decide for. No condition needs the network."""

from __future__ import annotations

from typing import Any

from tests.decisions.builders import ROLLOUT, TESTING, campaign, document, feature, flag

USERS = 200

_CONDITIONS = {
    "and": [
        {"or": [{"custom_variable": {"plan": "premium"}}, {"custom_variable": {"plan": "lower(TEAM)"}}]},
        {"or": [{"custom_variable": {"age": "gte(18)"}}]},
        {"not": {"or": [{"custom_variable": {"email": "wildcard(*@competitor.com)"}}]}},
        {"or": [{"custom_variable": {"email": "regex(^[a-z0-9]+@example\\.com$)"}}]},
    ]
}


def workloads() -> dict[str, dict[str, Any]]:
    """Jobs by name, as `tests/node/decisions.cjs` takes them."""
    settings = {
        "rollout": flag(campaign(ROLLOUT, 1, weights=(50,))),
        "segments": flag(*_with_segments()),
        "group": _group(),
        "one of 50 flags": _large(),
    }
    return {name: {"settings": one, "lists": {}, "cases": _cases()} for name, one in settings.items()}


def _cases() -> list[dict[str, Any]]:
    return [
        {
            "flag": "flag",
            "context": {
                "id": f"user-{number}",
                "customVariables": {
                    "plan": ("free", "premium", "team")[number % 3],
                    "age": number % 70,
                    "email": f"user{number}@example.com",
                },
            },
            "stored": {},
            "details": {},
        }
        for number in range(USERS)
    ]


def _with_segments() -> list[dict[str, Any]]:
    return [
        campaign(ROLLOUT, 1, {"or": [{"user": "qa-1,qa-2"}]}),
        campaign(ROLLOUT, 2, _CONDITIONS),
        campaign(TESTING, 3, {"or": [{"custom_variable": {"age": "lt(21)"}}]}, (50, 50)),
        campaign(TESTING, 4, _CONDITIONS, (25, 25, 25, 25)),
    ]


def _group() -> dict[str, Any]:
    flag_rules = [campaign(ROLLOUT, 1), campaign(TESTING, 2, weights=(50, 50))]
    other_rules = [campaign(ROLLOUT, 3), campaign(TESTING, 4, _CONDITIONS, (50, 50))]
    return document(
        [feature(1, "flag", flag_rules), feature(2, "other", other_rules)],
        flag_rules + other_rules,
        groups={"1": {"name": "one", "campaigns": ["2", "4"], "et": 1}},
        campaignGroups={"2": 1, "4": 1},
    )


def _large() -> dict[str, Any]:
    """The flag of `segments` as the last of fifty."""
    rules = _with_segments()
    others = [campaign(ROLLOUT, number * 10, _CONDITIONS) for number in range(2, 51)]
    features = [feature(number, f"flag{number}", [one]) for number, one in enumerate(others, 2)]
    return document([*features, feature(1, "flag", rules)], [*others, *rules])
