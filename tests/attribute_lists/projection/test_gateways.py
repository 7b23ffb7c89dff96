"""What gateways read of a projected store, while it is built, changes, and is lost."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from redis.asyncio import Redis

from attribute_lists import keys
from attribute_lists.membership import Membership
from attribute_lists.states import State
from tests.attribute_lists.projection.conftest import projecting
from tests.attribute_lists.projection.memory_truth import ACCOUNT, GOLD, MemoryTruth
from tests.support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

MANY = [b"member-%d" % number for number in range(3000)]


@contextlib.asynccontextmanager
async def asking(url: str) -> AsyncIterator[Membership]:
    async with Redis.from_url(url) as store:
        membership = Membership(store, deadline=5)
        async with membership.running():
            yield membership


async def is_said(membership: Membership, member: bytes, *states: State, name: str = GOLD[1]) -> bool:
    return await membership.check(ACCOUNT, name, [member]) in states


async def test_a_change_that_was_projected_is_seen_at_once(client: Redis, store_url: str, truth: MemoryTruth) -> None:
    async with projecting(client, truth) as projected, asking(store_url) as membership:
        for number in range(20):
            member = b"member-%d" % number
            version = truth.change(GOLD, add=[member], remove=[b"member-%d" % (number - 1)])
            projected.projector.wake(GOLD)
            assert await projected.projector.caught_up(GOLD, version, seconds=20)
            assert await is_said(membership, member, State.IN)
            assert await is_said(membership, b"member-%d" % (number - 1), State.NOT_IN)
        version = truth.describe(GOLD, active=False)
        projected.projector.wake(GOLD)
        assert await projected.projector.caught_up(GOLD, version, seconds=20)
        assert await is_said(membership, member, State.INACTIVE_LIST)


async def test_an_alias_and_a_deletion_are_heard_of(client: Redis, store_url: str, truth: MemoryTruth) -> None:
    async with projecting(client, truth) as projected, asking(store_url) as membership:
        truth.add(GOLD, "ada")
        truth.alias("vwo:7", GOLD)
        projected.projector.wake(GOLD)

        async def says_in() -> bool:
            return await is_said(membership, b"ada", State.IN, name="vwo:7")

        async def says_unknown() -> bool:
            return await is_said(membership, b"ada", State.UNKNOWN_LIST, name=GOLD[1])

        await eventually(says_in, what="the alias to be known")
        truth.delete(GOLD)
        projected.projector.wake(GOLD)
        await eventually(says_unknown, what="the list to be unknown")


async def test_while_a_store_is_built_again_nobody_is_told_what_is_not_so(
    client: Redis, store_url: str, truth: MemoryTruth
) -> None:
    """What was known is served, and then what is in the set: at no time that a member is not in it."""
    truth.add(GOLD, *MANY)
    async with projecting(client, truth) as projected, asking(store_url) as membership:
        await projected.settles()
        assert await is_said(membership, MANY[7], State.IN)
        for key in ("", keys.about(*GOLD)):
            await (client.delete(key) if key else client.flushall())
            while not await projected.is_whole():
                assert await is_said(membership, MANY[7], State.IN, State.STALE_IN)

            async def says_in() -> bool:
                return await is_said(membership, MANY[7], State.IN)

            await eventually(says_in, what="an answer of the store")
