"""Which user stands behind a visitor id, learnt as users are met."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest
from redis.asyncio import Redis

from fme_client.identity import get_uuid
from gateway.visitors import Visitors
from published.visitors import VisitorMap, keys
from tests.decisions.builders import ROLLOUT, campaign, flag
from tests.gateway.deciding import deciding
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    import redis

    from tests.support.processes import StoreServer

ACCOUNT = "123456"


async def user_of(client: Redis, user: str) -> str | None:
    """Who is found behind the visitor id of `user`."""
    [found] = await VisitorMap(client).users_of(ACCOUNT, [get_uuid(user, ACCOUNT)])
    return found


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
        gateway.post(f"/user-alias/setUserAlias?accountId={ACCOUNT}", {"userId": "dave", "aliasId": "dave-before"})
        for asked in ("dave-before", "erin"):  # an SDK with aliases asks before each of its decisions
            gateway.client.get("/user-alias/getAliasUserId", params={"accountId": ACCOUNT, "userId": f'["{asked}"]'})
        event = {"d": {"event": {"name": "bought"}}}
        gateway.post(f"/events/t?a={ACCOUNT}", event, {"X-User-Id": quote("Zoë 1")})
        gateway.post(f"/server-side/batch-events-v2?a={ACCOUNT}", {"ev": [event], "users": ["frank", 7, "grace"]})
        users = ("alice", "bob", "carol", "José", "dave", "erin", "Zoë 1", "frank", "grace")
        new, _ = keys(ACCOUNT)
        until(lambda: store.hlen(new) == len(users), what="the users to be written down")
        for user in users:
            assert store.hget(new, bytes.fromhex(get_uuid(user, ACCOUNT))) == user.encode()


async def test_they_are_found_and_forgotten(client: Redis) -> None:
    visitors = Visitors(client)
    visitors.learn(ACCOUNT, "alice")
    await visitors.flush()
    assert await user_of(client, "alice") == "alice"
    assert await user_of(client, "bob") is None
    assert await visitors.forget(ACCOUNT, "alice")
    assert not await visitors.forget(ACCOUNT, "alice")
    assert await user_of(client, "alice") is None


async def test_one_who_was_forgotten_may_be_met_again(client: Redis) -> None:
    visitors = Visitors(client)
    await visitors.flush()
    visitors.learn(ACCOUNT, "alice")
    assert await visitors.forget(ACCOUNT, "alice")  # though nothing was written yet
    await visitors.flush()
    assert await user_of(client, "alice") is None
    visitors.learn(ACCOUNT, "alice")
    await visitors.flush()
    assert await user_of(client, "alice") == "alice"


async def test_so_many_are_remembered_and_those_met_last_stay(client: Redis) -> None:
    visitors = Visitors(client, remember=10)
    for number in range(100):
        visitors.learn(ACCOUNT, f"user-{number}")
        if number % 7 == 0:
            await visitors.flush()
    await visitors.flush()
    held = [await client.hlen(key) for key in keys(ACCOUNT)]
    assert 5 <= sum(held) <= 10
    for number in range(96, 100):
        assert await user_of(client, f"user-{number}") == f"user-{number}"


async def test_none_are_learnt_where_none_shall_be(client: Redis) -> None:
    visitors = Visitors(client, remember=0)
    visitors.learn(ACCOUNT, "alice")
    await visitors.flush()
    assert await client.keys("cg:visitors:*") == []


async def test_what_is_nobody_s_id_is_not_learnt(client: Redis) -> None:
    visitors = Visitors(client)
    for user in ("", "x" * 1025, "\ud800"):
        visitors.learn(ACCOUNT, user)
    visitors.learn("", "alice")
    await visitors.flush()
    assert await client.keys("cg:visitors:*") == []


async def test_a_store_that_is_away_costs_nothing_but_what_is_learnt_meanwhile(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with Redis.from_url("unix:///nowhere/at/all") as nobody:
        visitors = Visitors(nobody)
        for user in ("alice", "bob"):
            visitors.learn(ACCOUNT, user)
            await visitors.flush()
    assert len([line for line in caplog.messages if "visitor ids can't be stored" in line]) == 1
    assert "alice" not in caplog.text
