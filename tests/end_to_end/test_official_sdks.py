"""VWO's own SDKs for Python and Node run unchanged at our gateway.

The rest of the Node SDK: aliases, and places, devices and lists in one rule, in tests/gateway/test_user_details_sdk.py;
batches of events in tests/gateway/test_events_clients.py.
"""

from __future__ import annotations

import json
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import pytest

from fme_client.identity import get_uuid
from tests.decisions.builders import ROLLOUT, campaign, document, feature
from tests.end_to_end.conftest import running
from tests.end_to_end.installation import ACCOUNT, LIST
from tests.fme_client.node_calls import node_calls
from tests.gateway.test_user_details import IPHONE, MAC
from tests.support.geoip import LONDON, SAN_FRANCISCO, write_database
from tests.support.official_sdk import official_calls
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tests.end_to_end.installation import Installation
    from tests.support.fake_vwo import FakeVwo, Request

KEY = "the-sdk-key-of-the-tests"
HERE, THERE, NOWHERE = "203.0.113.9", "198.51.100.9", "192.0.2.1"

_MEMBER = {"or": [{"custom_variable": {"heap_user_id": f"inlist({LIST})"}}]}
SEGMENTS: dict[str, Any] = {
    "local": {"and": [{"country": "United States"}, {"region": "California"}, {"city": "San Francisco"}]},
    "mobile": {"or": [{"device_type": "mobile"}]},
    "members": _MEMBER,
    "others": {"not": _MEMBER},
    "only": {"or": [{"user": "the-user"}]},
}

# A person, where she is, and with what.
PEOPLE = [("alice", HERE, IPHONE), ("alice", THERE, MAC), ("bob", HERE, MAC), ("bob", NOWHERE, IPHONE)]
ON_FOR: dict[str, list[bool]] = {
    "local": [True, False, True, False],
    "mobile": [True, False, False, True],
    "members": [True, True, False, False],
    "others": [False, False, True, True],
}
BOUGHT = {"price": 9.5, "currency": "€"}
ATTRIBUTES = {"plan": "gold", "seats": 3}


@pytest.fixture(scope="module")
def installation(vwo: FakeVwo, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """Its gateway knows places and forwards events; alice is in the list, bob is not."""
    directory = tmp_path_factory.mktemp("installation")
    rules = {key: campaign(ROLLOUT, number, segments) for number, (key, segments) in enumerate(SEGMENTS.items(), 1)}
    features = [feature(number, key, [rule]) for number, (key, rule) in enumerate(rules.items(), 1)]
    settings_file = directory / "settings.json"
    settings_file.write_text(json.dumps(document(features, list(rules.values())) | {"sdkKey": KEY}))
    write_database(directory / "city.mmdb", {"203.0.113.0/24": SAN_FRANCISCO, "198.51.100.0/24": LONDON})
    settings = {
        "GEOIP_DATABASE": str(directory / "city.mmdb"),
        "VWO_BASE_URL": vwo.address,
        "FORWARD_EVENTS": "true",
        "FLUSH_EVENTS_INTERVAL": "0.05",
    }
    with running(directory, settings_file=settings_file, of_gateways=settings) as started:
        started.push(add=["alice", "carol"])
        yield started


def options(installation: Installation, **others: Any) -> dict[str, Any]:
    """Of the Python SDK."""
    return {"account_id": ACCOUNT, "sdk_key": KEY, "gateway_service": {"url": installation.gateway}, **others}


def options_of_node(installation: Installation, **others: Any) -> dict[str, Any]:
    return {"accountId": ACCOUNT, "sdkKey": KEY, "gatewayService": {"url": installation.gateway}, **others}


def decided(answers: Sequence[Any]) -> dict[str, list[bool]]:
    """By flag, in the order of `PEOPLE`."""
    enabled = [answer["enabled"] for answer in answers]
    return {key: enabled[at * len(PEOPLE) :][: len(PEOPLE)] for at, key in enumerate(ON_FOR)}


def expect_told(vwo: FakeVwo, user: str, sdk: str) -> None:
    """A user's exposure, purchase and attributes come to VWO, once each, as `sdk` tells them."""
    names = ["bought", "vwo_syncVisitorProp", "vwo_variationShown"]

    def came() -> list[tuple[str, dict[str, Any], Request]]:
        found = [(event["d"]["event"]["name"], event["d"], request) for request, event in list(vwo.taken)]
        visitor = get_uuid(user, ACCOUNT)
        return sorted((one for one in found if one[0] in names and one[1]["visId"] == visitor), key=itemgetter(0))

    until(lambda: len(came()) >= len(names), what="the events of a user")
    assert [name for name, _, _ in came()] == names
    for _, event, request in came():
        assert request.headers["authorization"] == KEY
        assert event["event"]["props"]["vwo_sdkName"] == sdk
    bought, synced, shown = (event for _, event, _ in came())
    assert bought["event"]["props"].items() >= BOUGHT.items()
    assert synced["visitor"]["props"].items() >= ATTRIBUTES.items()
    assert (shown["event"]["props"]["id"], shown["visitor_ip"], shown["visitor_ua"]) == (1, HERE, IPHONE)


def test_the_python_sdk_decides_by_place_and_device_and_takes_nobody_for_a_member(installation: Installation) -> None:
    contexts = [
        {"id": name, "ip_address": address, "user_agent": agent, "custom_variables": {"heap_user_id": name}}
        for name, address, agent in PEOPLE
    ]
    done = official_calls(options(installation), [("get_flag", key, one) for key in ON_FOR for one in contexts])
    # It never asks for a list (tried: 1.65.0), so its user needs our client: docs/python-client.md.
    assert decided(done.answers) == ON_FOR | {"members": [False] * 4, "others": [True] * 4}
    errors = [line for line in done.log.splitlines() if "ERROR" in line]
    assert errors
    assert all("Invalid inList" in line for line in errors)
    assert done.answers[0]["variables"][0]["value"] == "color 1.1"


@pytest.mark.parametrize("batches", [False, True], ids=["one by one", "batches"])
def test_events_and_attributes_of_the_python_sdk_arrive(
    installation: Installation, vwo: FakeVwo, batches: bool
) -> None:
    user = f"buyer of {batches=}"
    batching = {"batch_event_data": {"events_per_request": 100, "request_time_interval": 60}} if batches else {}
    calls = [
        ("get_flag", "local", {"id": user, "ip_address": HERE, "user_agent": IPHONE}),
        ("track_event", "bought", {"id": user}, BOUGHT),
        ("set_attribute", ATTRIBUTES, {"id": user}),
        ("flush_events",),
    ]
    done = official_calls(options(installation, **batching), calls)
    assert (done.answers[0]["enabled"], done.answers[1]) == (True, {"bought": True})
    assert "ERROR" not in done.log
    expect_told(vwo, user, "vwo-fme-python-sdk")


def test_aliases_of_the_python_sdk(installation: Installation) -> None:
    calls = [
        ("get_flag", "only", {"id": "before-login"}),
        ("set_alias", "the-user", "before-login"),
        ("get_flag", "only", {"id": "before-login"}),
        ("get_flag", "only", {"id": "somebody-else"}),
    ]
    done = official_calls(options(installation, is_aliasing_enabled=True), calls)
    before, is_set, after, other = done.answers
    assert (before["enabled"], is_set, after["enabled"], other["enabled"]) == (False, True, True, False)
    assert "ERROR" not in done.log


def test_the_node_sdk_decides_by_place_device_and_list(installation: Installation) -> None:
    contexts = [
        {"id": name, "ipAddress": address, "userAgent": agent, "customVariables": {"heap_user_id": name}}
        for name, address, agent in PEOPLE
    ]
    answers = node_calls(options_of_node(installation), [("getFlag", key, one) for key in ON_FOR for one in contexts])
    assert decided(answers) == ON_FOR


def test_events_and_attributes_of_the_node_sdk_arrive(installation: Installation, vwo: FakeVwo) -> None:
    user = "buyer with Node"
    calls = [
        ("getFlag", "local", {"id": user, "ipAddress": HERE, "userAgent": IPHONE}),
        ("trackEvent", "bought", {"id": user}, BOUGHT),
        ("setAttribute", ATTRIBUTES, {"id": user}),
    ]
    answers = node_calls(options_of_node(installation, shouldWaitForTrackingCalls=True), calls)
    assert (answers[0]["enabled"], answers[1]) == (True, {"bought": True})
    expect_told(vwo, user, "vwo-fme-node-sdk")
