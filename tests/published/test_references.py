"""Which flags use which list."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

from published.references import KEPT_SECONDS, Reference, References, key_of

if TYPE_CHECKING:
    from redis.asyncio import Redis

ACCOUNT = "123456"
ONE = Reference("heap_premium_users", "dashboard", "rule1", "heap_user_id")
OTHER = Reference("67c858b8b8556:1741183160", "dashboard", "rule2", "heap_user_id")


async def test_an_account_s_references_are_those_of_all_its_environments(client: Redis) -> None:
    published = References(client)
    await published.publish(ACCOUNT, "production", [ONE, OTHER])
    await published.publish(ACCOUNT, "staging", [ONE])
    await published.publish("7", "production", [])
    assert await published.of_account(ACCOUNT) == [ONE, OTHER]
    assert await published.of_account("7") == []
    assert await published.has("7", "production")
    assert not await published.has("7", "staging")
    await published.publish(ACCOUNT, "production", [])
    assert await published.of_account(ACCOUNT) == [ONE]


async def test_an_environment_that_nobody_serves_any_more_counts_no_longer(client: Redis) -> None:
    published = References(client)
    yesterday = time.time() - KEPT_SECONDS - 1
    await client.hset(key_of(ACCOUNT), "staging", json.dumps([yesterday, [OTHER]]))
    assert await published.of_account(ACCOUNT) == []
    await published.publish(ACCOUNT, "production", [ONE])
    assert await published.of_account(ACCOUNT) == [ONE]
    assert not await published.has(ACCOUNT, "staging")
