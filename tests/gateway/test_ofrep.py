"""OpenFeature's remote evaluation: the protocol itself, and a real OpenFeature application."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from openfeature import api
from openfeature.contrib.provider.ofrep import OFREPProvider
from openfeature.evaluation_context import EvaluationContext
from openfeature.exception import ErrorCode
from openfeature.flag_evaluation import Reason

from gateway.ofrep_requests import ApiKeys
from tests.decisions.builders import PERSONALIZE, ROLLOUT, TESTING, campaign, document, feature
from tests.gateway.deciding import Deciding, deciding

if TYPE_CHECKING:
    from collections.abc import Iterator

    from openfeature.client import OpenFeatureClient

    from tests.gateway.conftest import Lists
    from tests.support.processes import StoreServer

FLAGS = "/ofrep/v1/evaluate/flags"
IN_LIST = {"or": [{"custom_variable": {"plan": "inlist(heap_premium)"}}]}
ON_PHONES = {"or": [{"device_type": "mobile"}]}
PHONE = "Mozilla/5.0 (iPhone; CPU iPhone OS 17_0 like Mac OS X) AppleWebKit/605.1.15 Mobile/15E148 Safari/604.1"


def settings() -> dict[str, Any]:
    static, listed, split = campaign(ROLLOUT, 1), campaign(ROLLOUT, 2, IN_LIST), campaign(TESTING, 3, None, (50, 50))
    personal, phones = campaign(PERSONALIZE, 4, IN_LIST), campaign(ROLLOUT, 5, ON_PHONES)
    nobody = campaign(ROLLOUT, 6, None, (0,))
    whitelisting = campaign(TESTING, 7, None, (100, 0), isForcedVariationEnabled=True)
    whitelisting["variations"][1]["segments"] = {"or": [{"user": "alice"}]}
    static["variations"][0]["variables"] = [
        {"id": 1, "key": "text", "type": "string", "value": "red"},
        {"id": 2, "key": "whole", "type": "integer", "value": 5},
        {"id": 3, "key": "ratio", "type": "double", "value": 1},
        {"id": 4, "key": "yes", "type": "boolean", "value": True},
        {"id": 5, "key": "object", "type": "json", "value": {"a": [1, None]}},
    ]
    features = [
        feature(1, "static", [static]),
        feature(2, "listed", [listed]),
        feature(3, "split", [split]),
        feature(4, "with:colon", [personal]),
        feature(5, "phones/here", [phones]),
        feature(6, "nobody", [nobody]),
        feature(7, "without-rules", []),
        feature(8, "switched-off", [campaign(ROLLOUT, 2, IN_LIST)], status="OFF"),
        feature(9, "whitelisting", [whitelisting]),
    ]
    return document(features, [static, listed, split, personal, phones, nobody, whitelisting])


@pytest.fixture(scope="module")
def gateway(store_server: StoreServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deciding]:
    with deciding(tmp_path_factory.mktemp("ofrep"), store_server.url, settings()) as running:
        yield running


@pytest.fixture(autouse=True)
def members(lists: Lists, gateway: Deciding) -> None:
    lists.put("heap_premium", "gold")
    gateway.events()


def context(user: str = "alice", **fields: Any) -> dict[str, Any]:
    return {"context": {"targetingKey": user, **fields}}


def evaluate(gateway: Deciding, key: str, **fields: Any) -> Any:
    answer = gateway.post(f"{FLAGS}/{key}", context(**fields))
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/json"
    return answer.json()


@pytest.mark.parametrize(
    ("key", "fields", "expected"),
    [
        ("static", {}, {"value": True, "reason": "STATIC", "variant": "Variation-1", "metadata": {"rule": "rule1"}}),
        ("static:text", {}, {"value": "red", "reason": "STATIC", "variant": "Variation-1"}),
        ("static:object", {}, {"value": {"a": [1, None]}, "reason": "STATIC", "variant": "Variation-1"}),
        ("listed", {"plan": "gold"}, {"value": True, "reason": "TARGETING_MATCH", "variant": "Variation-1"}),
        ("listed", {"plan": "tin"}, {"value": False, "reason": "DEFAULT", "variant": "off"}),
        ("listed:color", {"plan": "tin"}, {"reason": "DEFAULT", "variant": "off"}),
        ("split", {}, {"value": True, "reason": "SPLIT"}),
        ("with:colon", {"plan": "gold"}, {"value": True, "reason": "TARGETING_MATCH", "variant": "Variation-1"}),
        ("with:colon:color", {"plan": "gold"}, {"value": "color 4.1", "reason": "TARGETING_MATCH"}),
        ("phones/here", {"userAgent": PHONE}, {"value": True, "reason": "TARGETING_MATCH"}),
        ("phones%2Fhere", {"userAgent": "curl"}, {"value": False, "reason": "DEFAULT"}),
        ("nobody", {}, {"value": False, "reason": "DEFAULT"}),
        ("without-rules", {}, {"value": False, "reason": "DISABLED", "variant": "off"}),
        ("switched-off", {"plan": "tin"}, {"value": False, "reason": "DISABLED", "variant": "off"}),
    ],
)
def test_values_reasons_and_variants(gateway: Deciding, key: str, fields: Any, expected: dict[str, Any]) -> None:
    found = evaluate(gateway, key, **fields)
    assert {"key", "reason", "variant"} <= found.keys()
    assert found["key"] == key.replace("%2F", "/")
    assert {name: found[name] for name in expected} == expected
    assert ("value" in found) == ("value" in expected)


def test_who_is_whitelisted_is_targeted_and_others_get_their_variation_by_chance(gateway: Deciding) -> None:
    whitelisted = evaluate(gateway, "whitelisting")
    assert (whitelisted["variant"], whitelisted["reason"]) == ("Variation-2", "TARGETING_MATCH")
    other = gateway.post(f"{FLAGS}/whitelisting", context("bob")).json()
    assert (other["variant"], other["reason"]) == ("Variation-1", "SPLIT")


def test_a_float_is_written_as_one(gateway: Deciding) -> None:
    assert '"value":1.0' in gateway.post(f"{FLAGS}/static:ratio", context()).text
    assert '"value":5,' in gateway.post(f"{FLAGS}/static:whole", context()).text + ","


@pytest.mark.parametrize(
    ("key", "body", "status", "code"),
    [
        ("static", b"", 400, "PARSE_ERROR"),
        ("static", b"{", 400, "PARSE_ERROR"),
        ("static", b"[]", 400, "PARSE_ERROR"),
        ("static", b"[" * 100_000, 400, "PARSE_ERROR"),
        ("static", {}, 400, "TARGETING_KEY_MISSING"),
        ("static", {"context": {}}, 400, "TARGETING_KEY_MISSING"),
        ("static", context(""), 400, "TARGETING_KEY_MISSING"),
        ("static", {"context": {"targetingKey": 5}}, 400, "INVALID_CONTEXT"),
        ("static", {"context": [1]}, 400, "INVALID_CONTEXT"),
        ("static", context(userAgent=5), 400, "INVALID_CONTEXT"),
        ("unheard-of", context(), 404, "FLAG_NOT_FOUND"),
        ("static:unheard-of", context(), 404, "FLAG_NOT_FOUND"),
        ("static", b" " * (2 << 20), 400, "GENERAL"),
    ],
)
def test_errors_have_the_shape_of_the_protocol(gateway: Deciding, key: str, body: Any, status: int, code: str) -> None:
    answer = gateway.post(f"{FLAGS}/{key}", body)
    found = answer.json()
    assert (answer.status_code, found["key"], found["errorCode"]) == (status, key, code)
    assert found["errorDetails"]
    if code != "FLAG_NOT_FOUND":
        in_bulk = gateway.post(FLAGS, body)
        assert (in_bulk.status_code, in_bulk.json()["errorCode"]) == (status, code)
        assert "key" not in in_bulk.json()


def test_a_bulk_evaluation_has_every_flag_and_variable(gateway: Deciding) -> None:
    answer = gateway.post(FLAGS, context(plan="gold"))
    found = {one["key"]: one for one in answer.json()["flags"]}
    assert list(found)[:3] == ["static", "static:text", "static:whole"]
    assert found["static:ratio"]["value"] == 1.0
    assert found["listed"] == evaluate(gateway, "listed", plan="gold")
    assert found["nobody"]["value"] is False


def test_the_tag_follows_the_answer(gateway: Deciding, lists: Lists) -> None:
    first = gateway.post(FLAGS, context(plan="gold"))
    tag = first.headers["ETag"]
    for known in (tag, f'W/{tag}, "other"', f'"other",{tag}', "*"):
        again = gateway.post(FLAGS, context(plan="gold"), {"If-None-Match": known})
        assert (again.status_code, again.content, again.headers["ETag"]) == (304, b"", tag)
    other_user = gateway.post(FLAGS, context(plan="tin"), {"If-None-Match": tag})
    assert (other_user.status_code, other_user.headers["ETag"] != tag) == (200, True)
    lists.store.srem("cg:{123456:heap_premium}:members", "gold")
    assert gateway.post(FLAGS, context(plan="gold"), {"If-None-Match": tag}).status_code == 200


def test_a_single_evaluation_sends_an_exposure_and_a_bulk_one_does_not(gateway: Deciding) -> None:
    gateway.post(FLAGS, context(plan="gold"))
    assert gateway.events() == []
    evaluate(gateway, "listed:color", plan="gold", ipAddress="203.0.113.9")
    (event,) = gateway.events()
    assert event["d"]["event"]["name"] == "vwo_variationShown"
    assert (event["d"]["event"]["props"]["id"], event["d"]["visitor_ip"]) == (2, "203.0.113.9")


def test_keys_and_exposures_of_bulk_evaluations_by_setting(
    tmp_path: Any, store_server: StoreServer, lists: Lists
) -> None:
    lists.put("heap_premium", "gold")
    chosen = {"OFREP_API_KEYS": "first, second:key", "OFREP_BULK_EXPOSURES": "true"}
    with deciding(tmp_path, store_server.url, settings(), **chosen) as gateway:
        for headers in ({}, {"X-API-Key": "third"}, {"Authorization": "Basic first"}, {"Authorization": "Bearer"}):
            refused = gateway.post(f"{FLAGS}/static", context(), headers)
            assert refused.status_code == 401
            assert refused.json()["errorCode"] == "GENERAL"
            assert refused.json()["errorDetails"]
        for headers in ({"X-API-Key": "first"}, {"Authorization": "Bearer second"}):
            assert gateway.post(f"{FLAGS}/static", context(), headers).status_code == 200
        gateway.events()
        gateway.post(FLAGS, context(plan="gold"), {"X-API-Key": "first"})
        assert {event["d"]["event"]["props"]["id"] for event in gateway.events()} == {1, 2, 3, 4, 7}


def test_an_empty_api_key_is_refused_at_the_start() -> None:
    with pytest.raises(Exception, match="OFREP_API_KEYS"):
        ApiKeys("good,:key")


@pytest.fixture
def application(gateway: Deciding) -> Iterator[OpenFeatureClient]:
    """An application that knows OpenFeature, and neither VWO nor us."""
    provider = OFREPProvider(gateway.program.address)
    api.set_provider(provider)
    yield api.get_client()
    api.shutdown()
    provider.session.close()


def user(**attributes: Any) -> EvaluationContext:
    return EvaluationContext("alice", attributes)


def test_an_openfeature_application(application: OpenFeatureClient) -> None:
    found = application.get_boolean_details("listed", False, user(plan="gold"))
    assert (found.value, found.reason, found.variant) == (True, Reason.TARGETING_MATCH, "Variation-1")
    assert found.flag_metadata == {"rule": "rule2"}
    assert application.get_boolean_value("listed", True, user(plan="tin")) is False
    assert application.get_string_value("static:text", "none", user()) == "red"
    assert application.get_integer_value("static:whole", 0, user()) == 5
    assert application.get_float_value("static:ratio", 0.5, user()) == 1.0
    assert application.get_boolean_value("static:yes", False, user()) is True
    assert application.get_object_value("static:object", {}, user()) == {"a": [1, None]}
    assert application.get_boolean_value("phones/here", False, user(userAgent=PHONE)) is True


def test_an_openfeature_application_keeps_its_own_default_where_a_flag_is_off(application: OpenFeatureClient) -> None:
    found = application.get_string_details("listed:color", "mine", user(plan="tin"))
    assert (found.value, found.reason, found.error_code) == ("mine", Reason.DEFAULT, None)


@pytest.mark.parametrize(
    ("key", "who", "error"),
    [
        ("unheard-of", user(), ErrorCode.FLAG_NOT_FOUND),
        ("static", EvaluationContext(), ErrorCode.TARGETING_KEY_MISSING),
        ("static", EvaluationContext("alice", {"userAgent": 5}), ErrorCode.INVALID_CONTEXT),
        ("static:text", user(), ErrorCode.TYPE_MISMATCH),
    ],
)
def test_an_openfeature_application_understands_errors(
    application: OpenFeatureClient, key: str, who: EvaluationContext, error: ErrorCode
) -> None:
    found = application.get_boolean_details(key, True, who)
    assert (found.value, found.error_code) == (True, error)
    assert found.error_message
