"""Random jobs: a settings document and users to decide for, as `tests/node/decisions.cjs` takes them."""

from __future__ import annotations

from typing import Any

from tests.decisions.segments import segment
from tests.decisions.values import (
    ADDRESSES,
    DEVICES,
    LISTS,
    NAMES,
    PLACES,
    USER_AGENTS,
    VERSIONS,
    Chance,
)

CASES = 25
ROLLOUT, TESTING, PERSONALIZE = "FLAG_ROLLOUT", "FLAG_TESTING", "FLAG_PERSONALIZE"


def job(seed: int | str) -> dict[str, Any]:
    chance = Chance(seed)
    settings = _Maker(chance).settings()
    cases = [_case(chance, settings) for _ in range(CASES)]
    if chance.odd() and chance.one_in(4):
        _spoil(chance, settings)
        for name in ("features", "campaigns"):
            # The Node SDK mends this in settings that it fetches, not in those that `init` is given.
            if not isinstance(settings.get(name), (list, str)):
                settings[name] = []
    return {"settings": settings, "lists": LISTS, "cases": cases}


class _Maker:
    def __init__(self, chance: Chance) -> None:
        self.chance = chance
        self.campaigns: list[dict[str, Any]] = []
        # What groups may name: campaign ids, and `<campaign>_<variation>` of personalise rules.
        self.groupable: list[str] = []

    def settings(self) -> dict[str, Any]:
        chance = self.chance
        features = [self._feature(number) for number in range(1, chance.randint(1, 4) + 1)]
        chance.shuffle(self.campaigns)
        settings: dict[str, Any] = {
            "version": chance.choice((1, 7, "3")),
            "accountId": chance.choice((123456, "123456", 1, 12345678901)),
            "sdkKey": "key",
            "features": features,
            "campaigns": self.campaigns,
        }
        if self.groupable and chance.one_in(2):
            self._groups(settings)
        elif chance.one_in(4):
            settings |= {"groups": chance.choice(({}, [])), "campaignGroups": chance.choice(({}, []))}
        return settings

    def _feature(self, number: int) -> dict[str, Any]:
        chance = self.chance
        key = f"flag{number}"
        kinds = [ROLLOUT] * chance.choice((0, 1, 1, 2)) + [
            chance.choice((TESTING, TESTING, PERSONALIZE)) for _ in range(chance.choice((0, 1, 1, 2, 3)))
        ]
        if chance.one_in(5):
            chance.shuffle(kinds)
        rules = [rule for position, kind in enumerate(kinds) for rule in self._rules(key, kind, position)]
        feature: dict[str, Any] = {
            "id": str(number) if chance.odd() else number,
            "key": "flag1" if chance.odd() else key,
            "name": f"Flag {number}",
            "type": "FEATURE_FLAG",
            "status": "ON",
            "metrics": [{"id": 1, "type": "CUSTOM_GOAL", "identifier": "bought"}],
            "rules": rules,
        }
        if chance.one_in(4):
            feature["impactCampaign"] = chance.choice(({"campaignId": 900 + number}, {}, {"campaignId": 0}, []))
        if not rules and chance.one_in(2):
            del feature["rules"]
        if chance.one_in(10):
            feature["isGatewayServiceRequired"] = True
        if chance.one_in(10):
            feature["isDebuggerEnabled"] = True
        return feature

    def _rules(self, key: str, kind: str, position: int) -> list[dict[str, Any]]:
        chance = self.chance
        campaign = self._campaign(key, kind, position)
        self.campaigns.append(campaign)
        number = campaign["id"]
        if isinstance(number, str):
            number = int(number)
        base = {"type": kind, "campaignId": number if not chance.odd() else number + 50}
        if kind == TESTING:
            self.groupable.append(str(number))
            rule = base | {"ruleKey": f"rule{position}"}
            return [rule | ({"variationId": chance.randint(1, 3)} if chance.odd() else {})]
        if kind == ROLLOUT:
            # Never in a group: the Node SDK then evaluates the group for ever.
            return [base | {"ruleKey": f"rule{position}"} | ({} if chance.one_in(5) else {"variationId": 1})]
        wanted = [one["id"] for one in campaign["variations"] if isinstance(one["id"], int)][: chance.randint(1, 3)]
        self.groupable += [f"{number}_{one}" for one in wanted]
        return [base | {"ruleKey": f"rule{position}v{one}", "variationId": one} for one in wanted]

    def _campaign(self, key: str, kind: str, position: int) -> dict[str, Any]:
        chance = self.chance
        number = len(self.campaigns) + 1
        count = 1 if kind == ROLLOUT else chance.randint(1, 4)
        weights = [chance.choice((100 / count, 100 / count, 50, 0, 33.3333, 10)) for _ in range(count)]
        campaign: dict[str, Any] = {
            "id": str(number) if chance.odd() else number,
            "type": "FLAG_OTHER" if chance.odd() and chance.one_in(5) else kind,
            "key": f"{key}_rule{position}",
            "name": f"{key} rule {position}",
            "status": "RUNNING",
            "segments": self._segments() if kind == TESTING else {},
            "variations": [self._variation(kind, one, weight) for one, weight in enumerate(weights, 1)],
        }
        if not chance.odd():
            campaign["percentTraffic"] = chance.choice((100, 100, 100, 50, 0, 33.3, 1))
        if chance.one_in(4):
            campaign["salt"] = chance.choice(("salt", "", "sel é", "group"))
        if chance.one_in(3):
            campaign["isForcedVariationEnabled"] = chance.one_in(2) or kind == TESTING
        if chance.one_in(4):
            campaign["isUserListEnabled"] = chance.choice((True, False, 1, ""))
        if chance.odd() and chance.one_in(6):
            campaign["variations"] = []
        return campaign

    def _variation(self, kind: str, number: int, weight: Any) -> dict[str, Any]:
        chance = self.chance
        if chance.odd():
            weight = chance.choice((-5, 200, "50", "33.3", "x", "", " 7 ", "0x10", 1e-9, "1e1", "Infinity", 0.005))
        elif kind != TESTING and chance.one_in(2):
            weight = 100
        variation: dict[str, Any] = {
            "id": chance.choice((0, str(number), number + 10)) if chance.odd() else number,
            "name": "" if chance.odd() else f"Variation-{number}",
            "weight": weight,
            "variables": [self._variable(one) for one in range(1, chance.choice((1, 2, 3)))],
        }
        if kind == TESTING:
            variation["segments"] = segment(chance, 1) if chance.one_in(4) else {}
        else:
            variation["segments"] = self._segments()
        if not isinstance(variation["segments"], (dict, list)):
            del variation["segments"]
        if chance.one_in(4):
            variation["salt"] = chance.choice(("salt", "", "rollout"))
        if chance.odd() and chance.one_in(4):
            variation |= chance.choice(({"variables": []}, {"i": 7}, {"n": "short"}, {"w": 20}, {"seg": {}}, {"i": 0}))
            if chance.one_in(2):
                variation.pop("variables", None)
        return variation

    def _variable(self, number: int) -> dict[str, Any]:
        chance = self.chance
        kind, value = chance.choice(
            (
                ("string", chance.choice(("red", "", "é"))),
                ("integer", chance.choice((0, 5, -1, 2**60))),
                ("double", chance.choice((0.1, 1e21, -0.0))),
                ("boolean", chance.choice((True, False))),
                ("json", chance.choice(({"a": [1, None]}, [], {}))),
            )
        )
        variable = {"id": number, "type": kind, "key": f"variable{number}", "value": value}
        if chance.odd():
            variable |= chance.choice(({"k": "short"}, {"val": 5}, {"i": 0}, {"val": None}, {"id": "x"}))
        return variable

    def _segments(self) -> Any:
        chance = self.chance
        if chance.one_in(3):
            return {}
        made = segment(chance)
        return made if isinstance(made, (dict, list)) or chance.odd() else {}

    def _groups(self, settings: dict[str, Any]) -> None:
        chance = self.chance
        chance.shuffle(self.groupable)
        groups, joined, at = dict[str, Any](), dict[str, Any](), 0
        for number in range(1, chance.randint(1, 2) + 1):
            names = self.groupable[at : at + chance.randint(1, 5)]
            at += len(names)
            shown = [f"{name}_9" if chance.odd() else name for name in names]
            group: dict[str, Any] = {"name": f"Group {number}", "campaigns": shown}
            if chance.one_in(2):
                group |= {
                    "et": chance.choice((2, 2, 1, None, "1")) if chance.odd() else 2,
                    "p": [chance.choice((one, int(one.split("_")[0]))) for one in names if chance.one_in(3)],
                    "wt": {one: chance.choice((50, 30, 20, 0, "40")) for one in names if not chance.one_in(3)},
                }
            elif chance.one_in(2):
                group["et"] = 1
            if chance.odd():
                group.pop(chance.choice(("p", "wt", "et", "campaigns", "name")), None)
            groups[str(number)] = group
            joined |= {name: chance.choice((number, number, str(number))) if chance.odd() else number for name in names}
        if chance.odd() and chance.one_in(4):
            groups.pop("1")
        settings |= {"groups": groups, "campaignGroups": joined}


def _spoil(chance: Chance, settings: dict[str, Any]) -> None:
    """Put a wrong value somewhere."""
    place: Any = settings
    while True:
        key = chance.choice(list(place) if isinstance(place, dict) else list(range(len(place))))
        inner = place[key]
        if not isinstance(inner, (dict, list)) or not inner or chance.one_in(4):
            place[key] = chance.choice((None, 5, "x", [], {}, True, -1, 0.5))
            return
        place = inner


def _case(chance: Chance, settings: dict[str, Any]) -> dict[str, Any]:
    keys = [f"flag{number}" for number in range(1, len(settings["features"]) + 1)]
    context: dict[str, Any] = {"id": chance.user_id()}
    if not chance.one_in(8):
        context["customVariables"] = {chance.name(): chance.value() for _ in range(chance.randint(0, len(NAMES)))}
    if chance.one_in(3):
        context["variationTargetingVariables"] = {chance.name(): chance.value() for _ in range(2)}
    if chance.one_in(2):
        context["userAgent"] = chance.choice(USER_AGENTS if chance.odd() else USER_AGENTS[:2])
    if chance.one_in(2):
        context["ipAddress"] = chance.choice(ADDRESSES if chance.odd() else ADDRESSES[:2])
    if chance.one_in(20):
        context["_vwo"] = _details(chance)
    return {
        "flag": chance.choice(("unknown", "")) if chance.odd() else chance.choice(keys),
        "context": context,
        "stored": _stored(chance, settings, keys) if chance.one_in(3) else {},
        "details": None if chance.one_in(20) else _details(chance),
    }


def _details(chance: Chance) -> Any:
    if chance.odd():
        return chance.choice(({}, {"location": 5}, {"location": []}, {"userAgent": "x"}, {"userAgent": {}}, [], 5))
    agent: dict[str, Any] = {name: chance.choice(values) for name, values in DEVICES.items() if not chance.one_in(4)}
    agent |= {"os_version": chance.choice(VERSIONS), "browser_version": chance.choice(VERSIONS)}
    if chance.odd():
        agent[chance.choice(list(agent))] = chance.choice((None, 5, [], {}))
    return {
        "location": {
            name: chance.choice((None, 5)) if chance.odd() else chance.choice(values)
            for name, values in PLACES.items()
            if not chance.one_in(4)
        },
        "userAgent": agent,
    }


def _stored(chance: Chance, settings: dict[str, Any], keys: list[str]) -> dict[str, Any]:
    stored: dict[str, Any] = {}
    campaigns = settings["campaigns"]
    for key in (*keys, "_vwo_meta_meg_1", "_vwo_meta_meg_2"):
        if not campaigns or chance.one_in(3):
            continue
        campaign = chance.choice(campaigns)
        variation: Any = -1 if key.startswith("_") and chance.one_in(2) else chance.randint(1, 3)
        if chance.odd():
            variation = chance.choice((None, 0, "1", "-1", -1, True, 99))
        names = (
            ("rolloutId", "rolloutKey", "rolloutVariationId")
            if campaign["type"] == ROLLOUT
            else ("experimentId", "experimentKey", "experimentVariationId")
        )
        kept = dict(zip(names, (campaign["id"], campaign["key"], variation), strict=True))
        if chance.odd():
            kept.pop(chance.choice(names))
        stored[key] = {"featureKey": key, "userId": "u", **kept}
    return stored
