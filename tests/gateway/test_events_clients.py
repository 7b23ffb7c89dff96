"""Events of the real Node SDK on their way to VWO, and a person's request to be forgotten."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from fme_client.identity import get_uuid
from tests.gateway.conftest import ACCOUNT, Lists
from tests.gateway.event_posts import KEY, settings_for
from tests.node.node_sdk import STACKS, Stack, evaluate
from tests.support import processes
from tests.support.fake_vwo import FakeVwo, refuses
from tests.support.processes import run_program
from tests.support.waiting import until

if TYPE_CHECKING:
    from pathlib import Path

BATCHES: dict[str, Any] = {"batchEvents": {"eventsPerRequest": 2, "requestTimeInterval": 60}}


@pytest.fixture
def settings(store_url: str, vwo: FakeVwo) -> dict[str, str]:
    return settings_for(vwo, store_url)


@pytest.mark.parametrize("options", [{}, BATCHES], ids=["one by one", "batches"])
@pytest.mark.parametrize("stack", STACKS)
def test_what_the_node_sdk_tells_arrives_unchanged(
    tmp_path: Path, lists: Lists, vwo: FakeVwo, settings: dict[str, str], stack: Stack, options: dict[str, Any]
) -> None:
    lists.put("heap_premium_users", "alice", "bob")
    people = ["alice", "bob"]
    contexts = [{"id": name, "customVariables": {"heap_user_id": name}} for name in people]
    with processes.gateway(tmp_path, settings) as gateway:
        found = evaluate(stack, gateway.address, contexts, options=options)
        assert found.enabled == set(people)
        until(lambda: len(shown(vwo)) == 2, what="both exposures")
    assert [data["visId"] for data in shown(vwo)] == [get_uuid(name, ACCOUNT) for name in people]
    for request, event in vwo.taken:
        assert request.parameters["a"] == ACCOUNT
        assert request.headers["authorization"] == KEY
        assert event["d"]["event"]["props"]["vwo_sdkName"] == "vwo-fme-node-sdk"


def shown(vwo: FakeVwo) -> list[dict[str, Any]]:
    events = [event["d"] for _, event in list(vwo.taken)]
    return [data for data in events if data["event"]["name"] == "vwo_variationShown"]


def test_an_erased_person_leaves_nothing_behind(
    tmp_path: Path, store_url: str, vwo: FakeVwo, settings: dict[str, str]
) -> None:
    del store_url  # emptied the store

    def event(**data: Any) -> dict[str, Any]:
        return {"d": {"event": {"name": "bought", "props": {}}, **data}}

    def send(*events: dict[str, Any]) -> None:
        address = f"{gateway.address}/server-side/batch-events-v2?a={ACCOUNT}&env={KEY}"
        assert httpx.post(address, json={"ev": events}).headers["X-Events"] == "stored"

    vwo.fault = refuses(lambda _: True)
    with processes.gateway(tmp_path, settings) as gateway:
        send(event(visId=get_uuid("álice", ACCOUNT)), event(visId=get_uuid("bob", ACCOUNT)))
        until(lambda: len(vwo.requests) == 3, what="both to be refused")
        alias = {"userId": "álice", "aliasId": "visitor 1"}
        assert httpx.post(f"{gateway.address}/user-alias/setUserAlias?accountId={ACCOUNT}", json=alias).json() == {
            "isAliasSet": True
        }
    with processes.gateway(tmp_path, settings | {"FORWARD_HERE": "false"}) as gateway:
        send(event(visId="x", note="álice"), event(visId="x", note="álices"))
        done = run_program(["gateway", "erase", "álice", "--yes", "--json"], files(settings), directory=tmp_path)
        assert json.loads(done.stdout) == {"events": 2, "exposures": 0, "aliases": 1, "visitor_ids": 1}, done.stderr
        done = run_program(["gateway", "erase", "álice", "--yes"], files(settings), directory=tmp_path)
        assert done.stdout == "deleted: 0 events, 0 exposures, 0 aliases, 0 visitor ids\n"
        done = run_program(["gateway", "events", "status", "--json"], files(settings), directory=tmp_path)
        assert (json.loads(done.stdout)["waiting"], json.loads(done.stdout)["dead"]) == (1, 1)


def files(settings: dict[str, str]) -> dict[str, str]:
    """What `processes.gateway` adds."""
    return settings | {"SETTINGS_FILE": str(processes.ROOT / "examples" / "settings.json")}
