"""The real Node SDK at a gateway that has its settings from VWO: locations, devices, lists and aliases in one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.gateway.test_user_details import IPHONE, MAC, PIXEL
from tests.node.node_sdk import STACKS, Evaluation, Stack, evaluate
from tests.support import http, processes
from tests.support.fake_vwo import fake_vwo
from tests.support.geoip import LONDON, SAN_FRANCISCO, write_database
from tests.support.vwo_settings import ACCOUNT, KEY, VwoSettings, document

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.gateway.conftest import Lists
    from tests.support.processes import Program

HERE, THERE = "203.0.113.9", "198.51.100.9"


@pytest.fixture
def upstream() -> Iterator[VwoSettings]:
    with fake_vwo() as vwo:
        yield VwoSettings(vwo)


@pytest.fixture
def gateway_of_vwo(upstream: VwoSettings, tmp_path: Path, store_url: str) -> Iterator[Program]:
    write_database(tmp_path / "city.mmdb", {"203.0.113.0/24": SAN_FRANCISCO, "198.51.100.0/24": LONDON})
    upstream.put()
    settings = {
        "REDIS_URL": store_url,
        "SETTINGS_FILE": "",
        "ACCOUNT_ID": ACCOUNT,
        "SDK_KEY": KEY,
        "VWO_BASE_URL": upstream.vwo.address,
        "GEOIP_DATABASE": str(tmp_path / "city.mmdb"),
    }
    with processes.gateway(tmp_path, settings) as program:
        yield program


def publish(upstream: VwoSettings, segments: dict[str, Any]) -> None:
    settings = document()
    settings["campaigns"][0]["variations"][0]["segments"] = segments
    upstream.put(campaigns=settings["campaigns"])


def context(name: str, address: str = HERE, user_agent: str = MAC, **variables: str) -> dict[str, Any]:
    return {"id": name, "ipAddress": address, "userAgent": user_agent, "customVariables": variables}


@pytest.mark.parametrize("stack", STACKS)
def test_conditions_on_place_device_and_list_decide_together(
    upstream: VwoSettings, gateway_of_vwo: Program, lists: Lists, stack: Stack
) -> None:
    lists.put("heap_premium_users", "alice")
    place = {"and": [{"country": "United States"}, {"region": "California"}, {"city": "San Francisco"}]}
    device = {"or": [{"device_type": "mobile"}]}
    member = {"or": [{"custom_variable": {"heap_user_id": "inlist(heap_premium_users)"}}]}
    publish(upstream, {"and": [place, device, member]})
    contexts = [
        context("all", HERE, IPHONE, heap_user_id="alice"),
        context("all on another phone", HERE, PIXEL, heap_user_id="alice"),
        context("elsewhere", THERE, IPHONE, heap_user_id="alice"),
        context("nowhere", "192.0.2.1", IPHONE, heap_user_id="alice"),
        context("at a desk", HERE, MAC, heap_user_id="alice"),
        context("no member", HERE, IPHONE, heap_user_id="bob"),
    ]
    found = _evaluate(stack, gateway_of_vwo, contexts)
    assert found.enabled == {"all", "all on another phone"}
    assert found.complaints == []


@pytest.mark.parametrize("stack", STACKS)
def test_an_alias_is_decided_for_as_its_user(upstream: VwoSettings, gateway_of_vwo: Program, stack: Stack) -> None:
    publish(upstream, {"or": [{"user": "the-user"}]})
    contexts = [context("before-login"), context("somebody-else"), context("the-user")]
    aliases = [("the-user", "before-login")]
    found = _evaluate(stack, gateway_of_vwo, contexts, options={"isAliasingEnabled": True}, aliases=aliases)
    decided = [
        (decision.id, decision.enabled) for decision in found.decisions
    ]  # the SDK puts the user's id in its place
    assert decided == [("the-user", True), ("somebody-else", False), ("the-user", True)]
    assert found.complaints == []


def _evaluate(stack: Stack, program: Program, contexts: list[dict[str, Any]], **options: Any) -> Evaluation:
    # A poll is a minute away.
    http.get(f"{program.address}/server-side/v2-pull", params={"a": ACCOUNT, "i": KEY})
    return evaluate(stack, program.address, contexts, account=ACCOUNT, sdk_key=KEY, **options)
