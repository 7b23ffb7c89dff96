"""Which user stands behind a visitor id, learnt as users are met."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from redis.asyncio import Redis

from fme_client.evaluation import Settings
from fme_client.identity import get_uuid
from gateway.visitors import Visitors, keys
from tests.decisions.builders import ROLLOUT, campaign, flag
from tests.gateway.deciding import deciding
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    import redis

    from tests.support.processes import StoreServer

ACCOUNT = "123456"
SETTINGS = Settings.parse(flag(campaign(ROLLOUT, 1)))


@pytest.fixture
async def client(store_url: str) -> AsyncIterator[Redis]:
    async with Redis.from_url(store_url) as connection:
        yield connection


def test_users_are_learnt_wherever_their_ids_arrive(
    tmp_path: Path, store_server: StoreServer, store: redis.Redis
) -> None:
    with deciding(tmp_path, store_server.url, flag(campaign(ROLLOUT, 1))) as gateway:
        gateway.post("/server-side/getFlag", {"featureKey": "flag", "userId": "alice"})
        gateway.post("/server-side/trackEvent", {"eventName": "bought", "userId": "bob"})
        gateway.post("/server-side/setAttribute", {"userId": "carol", "attributeKey": "a", "attributeValue": 1})
        gateway.post("/ofrep/v1/evaluate/flags", {"context": {"targetingKey": "José"}})
        new, _ = keys(ACCOUNT)
        until(lambda: store.hlen(new) == 4, what="the users to be written down")
        for user in ("alice", "bob", "carol", "José"):
            assert store.hget(new, bytes.fromhex(get_uuid(user, ACCOUNT))) == user.encode()


async def test_they_are_found_and_forgotten(client: Redis) -> None:
    visitors = Visitors(client)
    visitors.learn(SETTINGS, "alice")
    await visitors.flush()
    assert await visitors.user_of(ACCOUNT, get_uuid("alice", ACCOUNT)) == "alice"
    assert await visitors.user_of(ACCOUNT, get_uuid("bob", ACCOUNT)) is None
    assert await visitors.forget(ACCOUNT, "alice")
    assert not await visitors.forget(ACCOUNT, "alice")
    assert await visitors.user_of(ACCOUNT, get_uuid("alice", ACCOUNT)) is None


async def test_one_who_was_forgotten_may_be_met_again(client: Redis) -> None:
    visitors = Visitors(client)
    await visitors.flush()
    visitors.learn(SETTINGS, "alice")
    assert await visitors.forget(ACCOUNT, "alice")  # though nothing was written yet
    await visitors.flush()
    assert await visitors.user_of(ACCOUNT, get_uuid("alice", ACCOUNT)) is None
    visitors.learn(SETTINGS, "alice")
    await visitors.flush()
    assert await visitors.user_of(ACCOUNT, get_uuid("alice", ACCOUNT)) == "alice"


async def test_so_many_are_remembered_and_those_met_last_stay(client: Redis) -> None:
    visitors = Visitors(client, remember=10)
    for number in range(100):
        visitors.learn(SETTINGS, f"user-{number}")
        if number % 7 == 0:
            await visitors.flush()
    await visitors.flush()
    held = [await client.hlen(key) for key in keys(ACCOUNT)]
    assert 5 <= sum(held) <= 10
    for number in range(96, 100):
        assert await visitors.user_of(ACCOUNT, get_uuid(f"user-{number}", ACCOUNT)) == f"user-{number}"


async def test_none_are_learnt_where_none_shall_be(client: Redis) -> None:
    visitors = Visitors(client, remember=0)
    visitors.learn(SETTINGS, "alice")
    await visitors.flush()
    assert await client.keys("cg:visitors:*") == []


async def test_a_store_that_is_away_costs_nothing_but_what_is_learnt_meanwhile(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with Redis.from_url("unix:///nowhere/at/all") as nobody:
        visitors = Visitors(nobody)
        for user in ("alice", "bob"):
            visitors.learn(SETTINGS, user)
            await visitors.flush()
    assert len([line for line in caplog.messages if "visitor ids can't be stored" in line]) == 1
    assert "alice" not in caplog.text
