"""What the gateway publishes of its settings for the other services."""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING, Any

import pytest
from redis.asyncio import Redis

from foundation.crew import Crew
from gateway import publishing
from gateway.file_settings import FileSettings
from gateway.metrics import Metrics
from gateway.published_settings import campaigns, document_of, references
from gateway.publishing import Publishing
from published.campaigns import IMPACT, PERSONALIZE, ROLLOUT, TESTING, Campaign, Campaigns, Variation
from published.references import Reference, References
from tests.decisions.builders import campaign, document, feature
from tests.gateway.deciding import deciding
from tests.support import http, processes
from tests.support.fake_vwo import fake_vwo
from tests.support.vwo_settings import VwoSettings
from tests.support.waiting import eventually, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    import redis

    from tests.support.processes import StoreServer

ACCOUNT = "123456"
MEMBERS = {"or": [{"custom_variable": {"heap_user_id": "inlist(heap_premium_users)"}}]}


def settings(*, testing: int = 2) -> dict[str, Any]:
    rules = [campaign(ROLLOUT, 1, MEMBERS), campaign(TESTING, testing, MEMBERS, (50, 50))]
    personal = campaign(PERSONALIZE, 3, weights=(100, 100))
    checkout = feature(2, "checkout", [personal], impactCampaign={"campaignId": 9, "type": "IMPACT"})
    return document([feature(1, "dashboard", rules), checkout], [*rules, personal])


@pytest.fixture
async def client(store_url: str) -> AsyncIterator[Redis]:
    async with Redis.from_url(store_url) as connection:
        yield connection


def test_campaigns_are_named_with_the_rules_that_give_their_variations() -> None:
    found = campaigns(document_of(json.dumps(settings()).encode()))
    assert found == {
        "1": Campaign("dashboard", ROLLOUT, {"1": Variation("Variation-1", "rule1.1")}),
        "2": Campaign(
            "dashboard", TESTING, {"1": Variation("Variation-1", "rule2"), "2": Variation("Variation-2", "rule2")}
        ),
        "3": Campaign(
            "checkout",
            PERSONALIZE,
            {"1": Variation("Variation-1", "rule3.1"), "2": Variation("Variation-2", "rule3.2")},
        ),
        "9": Campaign("checkout", IMPACT),
    }


def test_ids_may_be_texts_and_lists_of_flags_empty_objects() -> None:
    whole = settings()
    for variation in whole["campaigns"][1]["variations"]:
        variation["id"] = str(variation["id"])
    assert set(campaigns(document_of(json.dumps(whole).encode()))["2"].variations) == {"1", "2"}
    empty = document_of(json.dumps({**whole, "features": {}, "campaigns": {}}).encode())
    assert (campaigns(empty), list(references(empty))) == ({}, [])


def test_references_name_flag_rule_and_variable() -> None:
    assert list(references(document_of(json.dumps(settings()).encode()))) == [
        Reference("heap_premium_users", "dashboard", "rule1", "heap_user_id"),
        Reference("heap_premium_users", "dashboard", "rule2", "heap_user_id"),
    ]


def test_a_gateway_publishes_at_its_start_and_whenever_its_settings_change(
    tmp_path: Path, store_server: StoreServer, store: redis.Redis
) -> None:
    def known() -> set[str]:
        found: Any = store.keys("cg:campaigns:*")
        return {key.decode().rpartition(":")[2] for key in found}

    with deciding(tmp_path, store_server.url, settings(), WORKERS="2") as gateway:
        until(lambda: known() == {"1", "2", "3", "9"}, what="the first names")
        gateway.use(settings(testing=20))
        # The worker that publishes may not be the one that was asked to read again.
        until(lambda: known() == {"1", "2", "3", "9", "20"}, seconds=20, what="the new names beside the old ones")

        def rules() -> list[str]:
            [said] = store.hvals(f"cg:references:{{{ACCOUNT}}}")
            return [one[2] for one in json.loads(said)[1]]

        until(lambda: rules() == ["rule1", "rule20"], what="the new references")


def test_every_environment_that_is_polled_is_published_the_open_ones_once_they_are_met(
    tmp_path: Path, store_server: StoreServer, store: redis.Redis
) -> None:
    accounts = [{"accountId": "111", "sdkKeys": ["a", "b"]}, {"accountId": "222", "sdkKeys": [], "open": True}]
    (tmp_path / "accounts.json").write_text(json.dumps({"accounts": accounts}))
    with fake_vwo() as vwo:
        upstream = VwoSettings(vwo)
        for number, (account, key) in enumerate((("111", "a"), ("111", "b"), ("222", "c")), 1):
            one = campaign(TESTING, number, MEMBERS)
            upstream.put(account, key, features=[feature(1, f"flag-{key}", [one])], campaigns=[one])
        chosen = {
            "REDIS_URL": store_server.url,
            "SETTINGS_FILE": "",
            "ACCOUNTS_FILE": "accounts.json",
            "VWO_BASE_URL": vwo.address,
        }

        def known() -> set[str]:
            found: Any = store.keys("cg:campaigns:*")
            return {key.decode().removeprefix("cg:campaigns:") for key in found}

        with processes.gateway(tmp_path, chosen) as gateway:
            until(lambda: known() == {"{111}:1", "{111}:2"}, what="the names of those that are configured")
            http.get(f"{gateway.address}/server-side/v2-settings", params={"a": "222", "i": "c"})
            until(lambda: known() == {"{111}:1", "{111}:2", "{222}:3"}, what="the names of an open one")
            until(lambda: store.hlen("cg:references:{222}") == 1, what="its references")
            assert store.hlen("cg:references:{111}") == 2


@contextlib.contextmanager
def written(path: Path, document: dict[str, Any]) -> Iterator[FileSettings]:
    path.write_text(json.dumps(document))
    yield FileSettings(path, Metrics())


async def test_a_store_that_was_emptied_is_told_again(
    client: Redis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publishing, "_LOOK_SECONDS", 0.05)

    async def is_told() -> bool:
        return bool(await References(client).of_account(ACCOUNT) and await Campaigns(client).find(ACCOUNT, ["2"]))

    with written(tmp_path / "settings.json", settings()) as served:
        async with Publishing(served, client, Crew()).running():
            await eventually(is_told, what="the first names")
            await client.flushall()
            await eventually(is_told, what="the names again")


async def test_a_store_that_is_away_is_told_once_it_is_there(
    tmp_path: Path, store_server: StoreServer, store: redis.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    del store  # emptied
    async with Redis.from_url(store_server.url, socket_timeout=0.1) as patient:

        async def is_told() -> bool:
            return bool(await References(patient).of_account(ACCOUNT))

        with written(tmp_path / "settings.json", settings()) as served:
            with store_server.held_still():
                publication = Publishing(served, patient, Crew()).running()
                await publication.__aenter__()
                await eventually(_said("can't be published", caplog), what="a word about the store")
            try:
                await eventually(is_told, what="the names")
            finally:
                await publication.__aexit__(None, None, None)
    assert len([line for line in caplog.messages if "can't be published" in line]) == 1


async def test_settings_that_no_sdk_can_use_are_not_published(
    client: Redis, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    broken = settings()
    del broken["campaigns"][0]["type"]
    with written(tmp_path / "settings.json", broken) as served:
        async with Publishing(served, client, Crew()).running():
            await eventually(_said("no SDK can use them: settings.campaigns[0].type", caplog), what="a warning")
    assert await client.keys("cg:*") == []


def _said(words: str, caplog: pytest.LogCaptureFixture) -> Any:
    async def said() -> bool:
        return words in caplog.text

    return said
