"""Real SDKs decide through our gateway, and Heap learns who saw what: each variation once, and nothing else."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from unittest.mock import ANY

import httpx
import pytest
import redis

from event_stream import keys as stream_keys
from fme_client import init
from fme_client.identity import get_uuid
from published.campaigns import IMPACT
from published.exposures import NAME
from published.visitors import keys
from tests.decisions.builders import PERSONALIZE, ROLLOUT, TESTING, campaign, document, feature
from tests.fme_client.node_calls import node_calls
from tests.gateway.conftest import Lists
from tests.support import processes
from tests.support.fake_heap_api import FakeHeap, fake_heap
from tests.support.official_sdk import official_calls
from tests.support.processes import run_program
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from tests.support.processes import StoreServer

ACCOUNT, KEY, APP_ID = "123456", "the-sdk-key-of-the-tests", "11"
MEMBERS = {"or": [{"custom_variable": {"heap_user_id": "inlist(heap_premium_users)"}}]}
EXPERIMENTS = ("dashboard", "checkout")
FLAGS = (*EXPERIMENTS, "plain")


def settings() -> dict[str, Any]:
    """Two flags with an experiment behind a rollout, and one with a rollout alone."""
    rollouts = {key: campaign(ROLLOUT, number) for number, key in enumerate(FLAGS, 1)}
    test, personal = campaign(TESTING, 11, weights=(50, 50)), campaign(PERSONALIZE, 12, MEMBERS)
    experiments = {"dashboard": [test], "checkout": [personal], "plain": []}
    features = [
        feature(number, key, [rollouts[key], *experiments[key]], impactCampaign={"campaignId": 20 + number})
        for number, key in enumerate(FLAGS, 1)
    ]
    return document(features, [*rollouts.values(), test, personal]) | {"sdkKey": KEY}


@dataclass
class Installation:
    gateway: str
    heap_export: processes.Program
    heap: FakeHeap
    settings: Mapping[str, str]
    directory: Path

    def told(self, user: str) -> dict[str, str]:
        """The variations that Heap knows a person saw, by the flag. Each was told once."""
        events = [taken.entry for taken in list(self.heap.events) if taken.identity == user]
        found = {event["properties"]["flag_key"]: event["properties"]["variation_key"] for event in events}
        assert len(found) == len(events)
        assert self.heap.properties_of(user) == {f"[VWO] {flag}": shown for flag, shown in found.items()}
        return found

    def expect(self, user: str, shown: Mapping[str, str]) -> None:
        def is_told() -> bool:
            known = self.heap.properties_of(user)
            return len(known) == len(shown) and sum(one.identity == user for one in list(self.heap.events)) == len(
                shown
            )

        until(is_told, seconds=20, what=f"what {user} was shown")
        assert self.told(user) == shown

    def post(self, path: str, body: Mapping[str, Any]) -> Any:
        answer = httpx.post(self.gateway + path, json=body, params={"accountId": ACCOUNT, "sdkKey": KEY}, timeout=30)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def run(self, *words: str) -> Any:
        """What `heap-export WORDS --json` says."""
        done = run_program(["heap_export", *words, "--json"], self.settings, directory=self.directory)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)


@pytest.fixture(scope="module")
def installation(store_server: StoreServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    directory = tmp_path_factory.mktemp("installation")
    file = directory / "settings.json"
    file.write_text(json.dumps(settings()))
    with store_server.client() as store, fake_heap() as heap:
        store.flushall()
        Lists(store).put("heap_premium_users", "alice", "bob", "carol", "dave", "erin", "frank")
        shared = {"REDIS_URL": store_server.url, "HEAP_APP_ID": APP_ID, "DATA_DIR": str(directory / "data")}
        of_gateway = shared | {"SETTINGS_FILE": str(file)}
        of_export = shared | {"HEAP_API_BASE": heap.address}
        with (
            processes.gateway(directory, of_gateway) as gateway,
            processes.heap_export(directory, of_export) as export,
        ):
            port = export.addresses[1].rpartition(":")[2]
            called = of_export | {"HEAP_EXPORT_ADMIN_PORT": port}
            yield Installation(gateway.address, export, heap, called, directory)
    assert heap.over_limit == []
    assert set(heap.refused) <= {"no JSON"}  # of the one that is killed


def decided(answers: list[dict[str, Any]]) -> dict[str, str]:
    """What the SDK says of `FLAGS`, of which only experiments count. Its variables tell the variation."""
    found = {}
    for flag, answer in zip(FLAGS, answers, strict=True):
        color = next(one["value"] for one in answer["variables"] if one["key"] == "color")
        rule, _, position = color.removeprefix("color ").partition(".")
        if int(rule) > 10:
            found[flag] = f"Variation-{position}"
    assert set(found) == set(EXPERIMENTS)
    return found


def context(user: str, variables: str = "customVariables") -> dict[str, Any]:
    return {"id": user, variables: {"heap_user_id": user}}


def node_options(installation: Installation, **others: Any) -> dict[str, Any]:
    reaching = {"accountId": ACCOUNT, "sdkKey": KEY, "gatewayService": {"url": installation.gateway}}
    return {**reaching, "shouldWaitForTrackingCalls": True, **others}


def test_the_node_sdk_tells_heap_of_users_that_it_asks_the_aliases_of(installation: Installation) -> None:
    asked = [("getFlag", flag, context("alice")) for flag in FLAGS]
    answers = node_calls(node_options(installation, isAliasingEnabled=True), asked * 2)
    shown = decided(answers[: len(FLAGS)])
    installation.expect("alice", shown)
    [event] = [one.entry for one in installation.heap.events if one.entry["properties"]["flag_key"] == "checkout"]
    assert event["event"] == "Experiment Viewed"
    assert event["properties"] == {
        "source": "vwo",
        "flag_key": "checkout",
        "variation_key": "Variation-1",
        "rule_key": "rule12.1",
        "enabled": "true",
        "account_id": ACCOUNT,
        "campaign_id": "12",
    }


def test_an_attribute_of_the_node_sdk_tells_the_user(installation: Installation) -> None:
    bob = {**context("bob"), "postSegmentationVariables": ["heap_user_id"]}
    answers = node_calls(node_options(installation), [("getFlag", flag, bob) for flag in FLAGS])
    installation.expect("bob", decided(answers))


def test_the_python_sdk_tells_heap_of_users_that_it_asks_the_aliases_of(installation: Installation) -> None:
    options = {"account_id": ACCOUNT, "sdk_key": KEY, "gateway_service": {"url": installation.gateway}}
    calls = [("get_flag", flag, context("gina", "custom_variables")) for flag in FLAGS]
    done = official_calls({**options, "is_aliasing_enabled": True}, calls)
    color = next(one["value"] for one in done.answers[0]["variables"] if one["key"] == "color")
    # It takes nobody for a member of a list, so `checkout` stays with its rollout.
    installation.expect("gina", {"dashboard": f"Variation-{color[-1]}"})


@pytest.mark.parametrize(
    ("user", "batching"),
    [("carol", {}), ("dave", {"batch_event_data": {"events_per_request": 100}})],
    ids=["one by one", "a batch"],
)
def test_our_client_tells_its_users(installation: Installation, user: str, batching: dict[str, Any]) -> None:
    options: dict[str, Any] = {"account_id": ACCOUNT, "sdk_key": KEY, "gateway_service": installation.gateway}
    with init({**options, **batching}) as client:
        flags = client.get_flags(FLAGS, context(user, "custom_variables"))
        answers = [{"variables": flags[key].get_variables()} for key in FLAGS]
        assert client.flush()
    installation.expect(user, decided(answers))


def test_decisions_of_the_gateway_tell_their_users(installation: Installation) -> None:
    found = installation.post("/server-side/getFlags", {"userId": "erin", "customVariables": {"heap_user_id": "erin"}})
    installation.expect("erin", decided([found["flags"][key] for key in FLAGS]))


def test_a_stranger_is_a_dead_letter_until_the_gateway_learns_the_user(installation: Installation) -> None:
    answers = node_calls(node_options(installation), [("getFlag", flag, context("frank")) for flag in FLAGS])

    def dead() -> dict[str, int]:
        found: dict[str, int] = installation.run("status")["sources"]["vwo"]["dead_by_reason"]
        return found

    until(lambda: dead() == {"unknown_visitor": len(EXPERIMENTS)}, what="the dead letters")
    assert installation.told("frank") == {}
    assert all(get_uuid("frank", ACCOUNT) not in taken.identity for taken in installation.heap.events)

    installation.post("/server-side/getFlag", {"featureKey": "plain", "userId": "frank"})
    until(lambda: _is_learnt(installation, "frank"), what="the gateway to learn of frank")
    installation.run("retry", "--reason", "unknown_visitor")
    installation.expect("frank", decided(answers))
    assert dead() == {}


def _is_learnt(installation: Installation, user: str) -> bool:
    with redis.Redis.from_url(installation.settings["REDIS_URL"]) as store:
        return bool(store.hget(keys(ACCOUNT)[0], bytes.fromhex(get_uuid(user, ACCOUNT))))


def test_rollouts_are_counted_and_told_nobody(installation: Installation) -> None:
    installation.post("/server-side/getFlags", {"userId": "henry"})
    installation.expect("henry", {"dashboard": ANY})

    def are_counted() -> bool:
        text = httpx.get(f"{installation.heap_export.addresses[1]}/metrics").text
        return all(f'heap_export_skipped_total{{reason="{kind}",source="vwo"}}' in text for kind in (ROLLOUT, IMPACT))

    until(are_counted, what="rollouts to be counted")
    assert {taken.entry["properties"]["flag_key"] for taken in installation.heap.events} <= set(EXPERIMENTS)


def test_a_heap_export_that_is_killed_loses_nothing_and_takes_nothing_twice(
    installation: Installation, store_server: StoreServer, tmp_path: Path
) -> None:
    """As far as the stream of the Heap environment: the death of its deliverer is tried out elsewhere."""
    people = 200
    with (
        httpx.Client(base_url=installation.gateway, params={"accountId": ACCOUNT, "sdkKey": KEY}) as client,
        store_server.client() as store,
    ):

        def taken() -> int:
            return int(store.hget(stream_keys.counts(f"heap-{APP_ID}"), "appended") or 0)

        def waiting() -> int:
            return int(store.xlen(stream_keys.entries(NAME)))

        until(lambda: waiting() == 0, what="the exposures of before")
        before = taken()
        for number in range(people):
            body = {"featureKey": "dashboard", "userId": f"person {number}"}
            assert client.post("/server-side/getFlag", json=body).status_code == 200
            if number == people // 2:
                installation.heap_export.kill()
        assert waiting() > 0
        with processes.heap_export(tmp_path, {**installation.settings, "HEAP_EXPORT_ADMIN_PORT": "0"}):
            until(lambda: waiting() == 0, seconds=20, what="the exposures to be taken")
        assert taken() - before == people
        assert store.xlen(stream_keys.dead(NAME)) == 0
