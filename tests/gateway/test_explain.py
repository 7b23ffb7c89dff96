"""Explain: what operators see of a decision, and of the lists that the settings name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.decisions.builders import PERSONALIZE, ROLLOUT, TESTING, campaign, document, feature
from tests.gateway.deciding import TOKEN, Deciding, deciding

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.gateway.conftest import Lists
    from tests.support.processes import StoreServer

PREMIUM = {"custom_variable": {"plan": "inlist(heap_premium)"}}
ELSEWHERE = {"custom_variable": {"plan": "inlist(67c858b8b8556:1741183160)"}}
SEGMENT = {"and": [{"or": [PREMIUM, ELSEWHERE]}, {"not": {"or": [{"custom_variable": {"city": "lower(paris)"}}]}}]}


def settings() -> dict[str, Any]:
    rollout, again = campaign(ROLLOUT, 1, SEGMENT), campaign(ROLLOUT, 2, {"or": [PREMIUM]})
    split = campaign(TESTING, 3, {"or": [{"device_type": "mobile"}]}, (40, 60), isForcedVariationEnabled=True)
    split["variations"][1]["segments"] = {"or": [{"user": "bob, carol"}]}
    personal = campaign(PERSONALIZE, 4, {"or": [ELSEWHERE]})
    features = [feature(1, "flag", [rollout, again, split, personal]), feature(2, "listed", [again])]
    return document(features, [rollout, again, split, personal])


@pytest.fixture(scope="module")
def gateway(store_server: StoreServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deciding]:
    with deciding(tmp_path_factory.mktemp("explain"), store_server.url, settings()) as running:
        yield running


def explain(gateway: Deciding, key: str = "flag", user: str = "alice", **fields: Any) -> Any:
    answer = gateway.as_operator("POST", "/server-side/explain", {"featureKey": key, "userId": user, **fields})
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_a_rule_says_which_condition_failed(gateway: Deciding, lists: Lists) -> None:
    lists.put("heap_premium", "gold")
    found = explain(gateway, customVariables={"plan": "tin", "city": "Paris"})
    assert (found["isEnabled"], found["variation"], found["reason"]) == (False, "off", "DEFAULT")
    first = found["rules"][0]
    assert (first["campaign"], first["outcome"]) == ("rule1", "its conditions do not hold")
    assert first["segments"] == {
        "operator": "and",
        "passed": False,
        "of": [
            {
                "operator": "or",
                "passed": False,
                "of": [{"condition": PREMIUM, "passed": False}, {"condition": ELSEWHERE, "passed": False}],
            },
            {
                "operator": "not",
                "passed": False,
                "of": [
                    {
                        "operator": "or",
                        "passed": True,
                        "of": [{"condition": {"custom_variable": {"city": "lower(paris)"}}, "passed": True}],
                    }
                ],
            },
        ],
    }
    assert [rule["outcome"] for rule in found["rules"][2:]] == ["not tried: no rollout rule lets the user in"] * 2


def test_lists_say_what_is_known_of_them(gateway: Deciding, lists: Lists) -> None:
    lists.put("heap_premium", "gold")
    found = explain(gateway, customVariables={"plan": "gold"})
    assert found["isEnabled"]
    states = {one["list"]: (one["state"], one["isMember"], one["mattered"]) for one in found["lists"]}
    assert states == {
        "heap_premium": ("in", True, True),
        # The rollout never looked at it, the personalise rule did.
        "67c858b8b8556:1741183160": ("unknown_list", False, True),
    }
    assert explain(gateway, "listed")["lists"] == []  # there was no value to ask about


def test_rules_after_the_one_that_settles_it_are_not_tried(gateway: Deciding, lists: Lists) -> None:
    lists.put("heap_premium", "gold")
    lists.put("other", "gold")
    lists.alias("67c858b8b8556:1741183160", "other")
    found = explain(gateway, customVariables={"plan": "gold"})
    outcomes = {rule["campaign"]: rule["outcome"] for rule in found["rules"]}
    assert outcomes == {
        "rule1": "the user gets this variation",
        "rule2": "not tried: a rule before it settled the matter",
        "rule3": "its conditions do not hold",
        "rule4": "the user gets this variation",
    }


def test_the_bucket_lies_in_the_range_of_the_variation(gateway: Deciding, lists: Lists) -> None:
    lists.put("heap_premium", "gold")
    phone = "Mozilla/5.0 (iPhone; CPU iPhone OS 17_0 like Mac OS X) AppleWebKit/605.1.15 Mobile/15E148 Safari/604.1"
    for user in ("alice", "dave", "erin", "frank"):
        found = explain(gateway, user=user, customVariables={"plan": "gold"}, userAgent=phone)
        assert found["userDetails"]["userAgent"]["device_type"] == "mobile"
        rule = found["rules"][2]
        assert rule["segments"]["of"] == [{"condition": {"device_type": "mobile"}, "passed": True}]
        assert (rule["traffic"]["upTo"], 1 <= rule["traffic"]["bucket"] <= 100) == (100, True)
        bounds = [(one["variation"], one["from"], one["to"]) for one in rule["shares"]["ranges"]]
        assert bounds == [("Variation-1", 1, 4000), ("Variation-2", 4001, 10_000)]
        (given,) = [name for name, start, end in bounds if start <= rule["shares"]["bucket"] <= end]
        assert found["variation"] == rule["variation"] == given


def test_a_whitelisted_user_is_told(gateway: Deciding, lists: Lists) -> None:
    lists.put("heap_premium", "gold")
    found = explain(gateway, user="carol", customVariables={"plan": "gold"})
    assert found["rules"][2]["outcome"] == "the user is whitelisted"
    assert found["rules"][2]["whitelist"][0]["segments"]["passed"] is True
    assert found["variation"] == "Variation-2"


def test_an_explanation_sends_nothing_and_learns_nothing(gateway: Deciding, lists: Lists) -> None:
    lists.put("heap_premium", "gold")
    gateway.events()
    before = gateway.counted("cohort_gateway_decisions")
    explain(gateway, customVariables={"plan": "gold"})
    assert gateway.events() == []
    assert gateway.counted("cohort_gateway_decisions") == before


def test_an_unknown_flag_is_said_to_be_one(gateway: Deciding) -> None:
    answer = gateway.as_operator("POST", "/server-side/explain", {"featureKey": "unheard of", "userId": "alice"})
    assert (answer.status_code, answer.json()["reason"]) == (404, "unknown_flag")


@pytest.mark.parametrize("path", ["/server-side/explain", "/admin/api/v1/lists"])
def test_only_operators_may_ask(gateway: Deciding, path: str) -> None:
    method = "POST" if path.startswith("/server-side") else "GET"
    for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": f"Basic {TOKEN}"}):
        answer = gateway.client.request(method, path, headers=headers)
        assert (answer.status_code, answer.json()["reason"]) == (401, "unauthorized")


def test_lists_name_their_flags_and_what_is_missing_names_its_cure(gateway: Deciding, lists: Lists) -> None:
    lists.put("heap_premium", "gold")
    lists.put("heap_spare", "gold")
    lists.put("heap_premium", "gold", account="999")
    lists.alias("42", "heap_premium")
    found = gateway.as_operator("GET", "/admin/api/v1/lists").json()
    in_flag = {"flag": "flag", "rule": "rule1", "variable": "plan", "name": "heap_premium"}
    assert found["account"] == "123456"
    assert found["lists"] == [
        {
            "list": "heap_premium",
            "aliases": ["42"],
            "flags": [in_flag, in_flag | {"rule": "rule2"}, in_flag | {"flag": "listed", "rule": "rule2"}],
        },
        {"list": "heap_spare", "aliases": [], "flags": []},
    ]
    (missing,) = found["missing"]
    assert missing["name"] == "67c858b8b8556:1741183160"
    assert [(one["flag"], one["rule"]) for one in missing["flags"]] == [("flag", "rule1"), ("flag", "rule4")]
    assert missing["cure"] == "cohort-sync segments set heap_spare --alias 67c858b8b8556:1741183160"
    lists.alias("67c858b8b8556:1741183160", "heap_spare")
    assert gateway.as_operator("GET", "/admin/api/v1/lists").json()["missing"] == []


def test_without_a_token_in_the_settings_one_is_made(tmp_path: Any, store_server: StoreServer) -> None:
    with deciding(tmp_path, store_server.url, settings(), ADMIN_TOKEN="") as gateway:
        assert gateway.client.get("/healthz").is_success  # it is up
        token = (tmp_path / "data" / "admin_token").read_text().strip()
        answer = gateway.client.get("/admin/api/v1/lists", headers={"Authorization": f"Bearer {token}"})
        assert answer.status_code == 200
