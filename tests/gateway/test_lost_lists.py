"""A list that is registered and has lost its description: what was known last is served until it is built again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from redis.asyncio import Redis

from attribute_lists import keys
from attribute_lists.membership import Membership
from attribute_lists.states import State
from tests.support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

ACCOUNT, LIST = "123456", "heap_premium_users"
ABOUT, MEMBERS = keys.about(ACCOUNT, LIST), keys.members(ACCOUNT, LIST)


@pytest.fixture
async def client(store_url: str) -> AsyncIterator[Redis]:
    async with Redis.from_url(store_url) as client:
        await client.set(keys.REGISTRY_IDENTITY, "one")
        await client.sadd(keys.REGISTRY_LISTS, f"{ACCOUNT}:{LIST}")
        await client.hset(ABOUT, "active", "1")
        await client.sadd(MEMBERS, "alice")
        yield client


@pytest.fixture
async def membership(store_url: str, client: Redis) -> AsyncIterator[Membership]:
    del client  # put the list there
    store = Redis.from_url(store_url)
    membership = Membership(store, deadline=5)
    async with membership.running():
        yield membership
    await store.aclose()


def says(membership: Membership, member: str, state: State) -> Callable[[], Awaitable[bool]]:
    async def does() -> bool:
        return await membership.check(ACCOUNT, LIST, [member.encode()]) is state

    return does


async def test_a_list_without_a_description_is_lost_and_answers_as_it_did(
    client: Redis, membership: Membership
) -> None:
    assert await says(membership, "alice", State.IN)()
    assert await says(membership, "bob", State.NOT_IN)()
    await client.delete(ABOUT)
    await eventually(says(membership, "carol", State.LOST_LIST))
    assert await says(membership, "alice", State.STALE_IN)()
    assert await says(membership, "bob", State.STALE_NOT_IN)()
    # It is built anew: the set beside it, then both at once.
    await client.hset(ABOUT, "staging", "token")
    await client.sadd(keys.staging(ACCOUNT, LIST, "token"), "alice", "carol")
    assert await says(membership, "carol", State.LOST_LIST)()
    assert await says(membership, "alice", State.STALE_IN)()
    async with client.pipeline() as swap:
        swap.rename(keys.staging(ACCOUNT, LIST, "token"), MEMBERS)
        swap.hset(ABOUT, "active", "1")
        await swap.execute()
    await eventually(says(membership, "carol", State.IN))
    assert await says(membership, "alice", State.IN)()


async def test_what_changed_before_a_list_was_lost_is_not_served_as_it_was(
    client: Redis, membership: Membership
) -> None:
    assert await says(membership, "alice", State.IN)()
    async with client.pipeline() as page:
        page.srem(MEMBERS, "alice")
        page.hset(ABOUT, "version", "2")
        await page.execute()
    await client.delete(ABOUT)
    await eventually(says(membership, "alice", State.LOST_LIST))


async def test_a_list_that_is_put_out_of_use_is_not_served_as_it_was(client: Redis, membership: Membership) -> None:
    assert await says(membership, "alice", State.IN)()
    await client.hset(ABOUT, "active", "0")
    await eventually(says(membership, "alice", State.INACTIVE_LIST))
    await client.delete(ABOUT)
    await eventually(says(membership, "alice", State.LOST_LIST))


async def test_what_the_receiver_says_of_itself_is_told_on(client: Redis, membership: Membership) -> None:
    def reasons_are(*wanted: str) -> Callable[[], Awaitable[bool]]:
        async def they_are() -> bool:
            await client.publish(keys.CHANGES, "lists")  # read it at once
            return [reason.partition(";")[0] for reason in membership.receiver_reasons] == list(wanted)

        return they_are

    assert not membership.receiver_reasons
    await client.set(keys.RECEIVER, b'{"state":"degraded","reasons":["behind: 2 lists, for 9 s"],"at":1}')
    await eventually(reasons_are("cohort-sync: behind: 2 lists, for 9 s"))
    await client.set(keys.RECEIVER, b"\xff")
    await eventually(reasons_are("cohort-sync: what it says of itself can't be read"))
    await client.set(keys.RECEIVER, b'{"state":"ok","reasons":[]}')
    await eventually(reasons_are())
    await client.delete(keys.RECEIVER)
    await eventually(reasons_are("cohort-sync: it says nothing any more"))
