"""Decisions over HTTP: what thin clients get, what goes out as events, and what is learnt."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from fme_client.identity import get_uuid
from tests.decisions.builders import ROLLOUT, TESTING, campaign, document, feature
from tests.gateway.deciding import Deciding, deciding

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.gateway.conftest import Lists
    from tests.support.processes import StoreServer

IN_LIST = {"or": [{"custom_variable": {"plan": "inlist(heap_premium)"}}]}
IN_TWO = {
    "and": [{"custom_variable": {"plan": "inlist(heap_premium)"}}, {"custom_variable": {"plan": "inlist(other)"}}]
}


def settings() -> dict[str, Any]:
    listed, again, split = (
        campaign(ROLLOUT, 1, IN_LIST),
        campaign(ROLLOUT, 2, IN_TWO),
        campaign(TESTING, 3, None, (50, 50)),
    )
    mobile = campaign(ROLLOUT, 4, {"or": [{"device_type": "mobile"}]})
    features = [
        feature(1, "listed", [listed]),
        feature(2, "again", [again]),
        feature(3, "split", [split], impactCampaign={"campaignId": 99}),
        feature(4, "mobile", [mobile]),
        feature(5, "empty", []),
    ]
    return document(features, [listed, again, split, mobile])


@pytest.fixture(scope="module")
def gateway(store_server: StoreServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deciding]:
    with deciding(tmp_path_factory.mktemp("deciding"), store_server.url, settings()) as running:
        yield running


@pytest.fixture(autouse=True)
def _fresh(gateway: Deciding) -> None:
    """What others sent is none of a test's events."""
    gateway.events()


def flag(gateway: Deciding, key: str, **fields: Any) -> Any:
    answer = gateway.post("/server-side/getFlag", {"featureKey": key, "userId": "alice", **fields})
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_a_member_gets_the_flag_and_its_variables(gateway: Deciding, lists: Lists) -> None:
    lists.put("heap_premium", "gold")
    assert flag(gateway, "listed", customVariables={"plan": "gold"}) == {
        "isEnabled": True,
        "variables": [
            {"id": 1, "key": "color", "type": "string", "value": "color 1.1"},
            {"id": 2, "key": "size", "type": "integer", "value": 1},
        ],
    }
    assert flag(gateway, "listed", customVariables={"plan": "silver"}) == {"isEnabled": False, "variables": []}


def test_an_unknown_flag_is_off(gateway: Deciding) -> None:
    assert flag(gateway, "nothing like it") == {"isEnabled": False, "variables": []}


def test_other_spellings_that_thin_clients_use(gateway: Deciding, lists: Lists) -> None:
    lists.put("heap_premium", "7")
    body = {"featureKey": "listed", "id": 7, "customVariables": {"plan": 7}}
    answer = gateway.post("/as01/server-side/getFlag?accountId=123456&sdkKey=key", body)
    assert answer.json()["isEnabled"]


def test_the_device_is_read_from_the_user_agent(gateway: Deciding) -> None:
    phone = "Mozilla/5.0 (iPhone; CPU iPhone OS 17_0 like Mac OS X) AppleWebKit/605.1.15 Mobile/15E148 Safari/604.1"
    assert flag(gateway, "mobile", userAgent=phone)["isEnabled"]
    assert not flag(gateway, "mobile", userAgent="curl/8.0")["isEnabled"]


def test_several_flags_ask_each_list_once(gateway: Deciding, lists: Lists) -> None:
    lists.put("heap_premium", "gold")
    lists.put("other", "gold")
    before = gateway.counted("cohort_gateway_checks")
    body = {"featureKeys": ["listed", "again", "listed", "no"], "userId": "alice", "customVariables": {"plan": "gold"}}
    flags = gateway.post("/server-side/getFlags", body).json()["flags"]
    assert {key: found["isEnabled"] for key, found in flags.items()} == {"listed": True, "again": True, "no": False}
    assert gateway.counted("cohort_gateway_checks")["in"] - before.get("in", 0) == 2


def test_without_keys_all_flags_are_decided(gateway: Deciding) -> None:
    flags = gateway.post("/server-side/getFlags", {"userId": "alice"}).json()["flags"]
    assert list(flags) == ["listed", "again", "split", "mobile", "empty"]


def test_a_list_that_nobody_knows_is_told_in_a_header(gateway: Deciding, lists: Lists) -> None:
    lists.put("heap_premium", "gold")
    body = {"featureKey": "again", "userId": "alice", "customVariables": {"plan": "gold"}}
    answer = gateway.post("/server-side/getFlag", body)
    assert (answer.json()["isEnabled"], answer.headers["X-Membership"]) == (False, "unknown_list")
    lists.put("other", "gold")
    assert "X-Membership" not in gateway.post("/server-side/getFlag", body).headers


@pytest.mark.parametrize(
    ("path", "body", "named"),
    [
        ("getFlag", {}, ["featureKey", "userId"]),
        ("getFlag", {"featureKey": "", "userId": ""}, ["featureKey", "userId"]),
        ("getFlag", {"featureKey": "listed"}, ["userId"]),
        ("getFlags", {"featureKeys": []}, ["userId"]),
        ("trackEvent", {"eventProperties": {}}, ["eventName", "userId"]),
        ("setAttribute", {"userId": "alice"}, ["attributeKey", "attributeValue"]),
        ("getFlag", {"featureKey": 5, "userId": "alice"}, ["featureKey"]),
        ("getFlag", {"featureKey": "x", "userId": "alice", "customVariables": [1]}, ["customVariables"]),
        ("setAttribute", {"userId": "alice", "attributeKey": "a", "attributeValue": {}}, ["attributeValue"]),
    ],
)
def test_what_is_missing_or_wrong_is_named(gateway: Deciding, path: str, body: Any, named: list[str]) -> None:
    answer = gateway.post(f"/server-side/{path}", body)
    assert answer.status_code == 400
    assert set(answer.json()) == {"error", "reason"}
    for name in named:
        assert name in answer.json()["error"]
    assert "alice" not in answer.text


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"\xff",
        b'{"featureKey":"a","userId":"\\ud800"}',
        b'{"a":NaN,"b":"\\ud800"}',
        b"[" * 100_000,
    ],
)
def test_rubbish_is_refused_as_such(gateway: Deciding, body: bytes) -> None:
    answer = gateway.post("/server-side/getFlag", body)
    assert answer.status_code == 400
    assert set(answer.json()) == {"error", "reason"}


def test_half_a_surrogate_pair_does_no_harm(gateway: Deciding, lists: Lists) -> None:
    """JavaScript writes one as an escape; it is no text, and yet JSON."""
    lists.put("heap_premium", "gold")
    half, fields = "\ud83d", {"userAgent": "\ud83d", "ipAddress": "\ud83d", "customVariables": {"plan": "\ud83d"}}
    assert flag(gateway, "split", **fields)["isEnabled"]
    assert gateway.events()[0]["d"]["visitor_ua"] == "?"
    assert not flag(gateway, "listed", **fields)["isEnabled"]
    assert not flag(gateway, "mobile", **fields)["isEnabled"]
    bodies: dict[str, dict[str, Any]] = {
        "getFlags": {"featureKeys": [half]},
        "trackEvent": {"eventName": half},
        "setAttribute": {"attributeKey": half, "attributeValue": half},
    }
    for path, body in bodies.items():
        assert gateway.post(f"/server-side/{path}", {"userId": "alice", **body}).status_code == 200
    question = {"featureKey": "listed", "userId": "alice", **fields}
    assert gateway.as_operator("POST", "/server-side/explain", question).json()["lists"][0]["value"] == "?"


def test_a_body_that_is_too_large_is_refused(gateway: Deciding) -> None:
    answer = gateway.post("/server-side/getFlag", b" " * (2 << 20))
    assert (answer.status_code, answer.json()["reason"]) == (400, "too_large")


def test_another_account_is_refused(gateway: Deciding) -> None:
    answer = gateway.post("/server-side/getFlag?accountId=999", {"featureKey": "listed", "userId": "alice"})
    assert answer.status_code == 400


def test_exposures_go_out_as_the_node_sdk_sends_them(gateway: Deciding) -> None:
    flag(
        gateway,
        "split",
        userAgent="agent",
        ipAddress="203.0.113.9",
        postSegmentationVariables=["plan", "none"],
        customVariables={"plan": "gold"},
    )
    events = gateway.events()
    shown = [event["d"] for event in events]
    assert [one["event"]["name"] for one in shown] == ["vwo_variationShown", "vwo_variationShown"]
    first = shown[0]
    assert first["event"]["props"] | {"variation": None} == {
        "vwo_sdkName": "cohort-gateway",
        "vwo_sdkVersion": "0.1.0",
        "vwo_envKey": "key",
        "id": 3,
        "variation": None,
        "isFirst": 1,
    }
    assert (shown[1]["event"]["props"]["id"], shown[1]["event"]["props"]["variation"]) == (99, 2)
    assert first["visId"] == get_uuid("alice", "123456")
    assert first["msgId"] == f"{first['visId']}-{first['event']['time']}"
    assert (first["visitor_ua"], first["visitor_ip"]) == ("agent", "203.0.113.9")
    assert first["visitor"]["props"] == {"vwo_fs_environment": "key", "plan": "gold", "ip": "203.0.113.9"}


def test_what_is_off_sends_no_exposure(gateway: Deciding) -> None:
    flag(gateway, "empty")
    assert gateway.events() == []


def test_events_and_attributes(gateway: Deciding) -> None:
    body = {"eventName": "bought", "userId": "alice", "eventProperties": {"price": 9.5}}
    assert gateway.post("/server-side/trackEvent", body).json() == {"bought": True}
    assert gateway.post("/server-side/trackEvent", body | {"eventName": "unheard of"}).json() == {"unheard of": False}
    attribute = {"userId": "alice", "attributeKey": "plan", "attributeValue": "gold"}
    answer = gateway.post("/server-side/setAttribute", attribute)
    assert (answer.status_code, answer.content) == (200, b"")
    tracked, set_ = [event["d"] for event in gateway.events()]
    assert tracked["event"]["name"] == "bought"
    assert tracked["event"]["props"]["price"] == 9.5
    assert tracked["event"]["props"]["isCustomEvent"] is True
    assert set_["event"]["name"] == "vwo_syncVisitorProp"
    assert set_["visitor"]["props"] == {"vwo_fs_environment": "key", "plan": "gold"}


def test_no_user_is_named_in_the_log(gateway: Deciding) -> None:
    flag(gateway, "listed", userId="somebody-in-particular", customVariables={"plan": "somebody-in-particular"})
    gateway.post("/server-side/getFlag", {"featureKey": 5, "userId": "somebody-in-particular"})
    assert "somebody-in-particular" not in gateway.program.log()
