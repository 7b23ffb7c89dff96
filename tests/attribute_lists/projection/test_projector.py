"""Lists come into the store, change, and leave it as the truth says."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from attribute_lists import keys
from tests.attribute_lists.projection.conftest import Projected, projecting
from tests.attribute_lists.projection.memory_truth import ACCOUNT, GOLD, MemoryTruth
from tests.support.waiting import eventually

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from attribute_lists.projection.truth import Version

SILVER = (ACCOUNT, "heap_silver")
MANY = [b"member-%d" % number for number in range(3000)]


async def caught_up(projected: Projected, version: Version) -> bool:
    projected.projector.wake(GOLD)
    return await projected.projector.caught_up(GOLD, version, seconds=20)


async def test_a_list_follows_its_changes(projected: Projected) -> None:
    truth = projected.truth
    for version in (truth.add(GOLD, "ada", "bob"), truth.change(GOLD, add=["eve"], remove=["bob"]), truth.add(GOLD)):
        assert await caught_up(projected, version)
    assert await projected.has()
    assert await projected.members() == {b"ada", b"eve"}
    await projected.settles()


async def test_what_gateways_are_shown_follows(projected: Projected) -> None:
    assert await caught_up(projected, projected.truth.add(GOLD, "ada"))
    assert await caught_up(projected, projected.truth.describe(GOLD, active=False))
    shown = await projected.shown()
    assert (shown[b"active"], shown[b"size"], shown[b"database"]) == (b"0", b"1", b"database-1")


async def test_a_page_of_many_members_goes_in_slices(projected: Projected) -> None:
    assert await caught_up(projected, projected.truth.add(GOLD, *MANY))
    assert await caught_up(projected, projected.truth.change(GOLD, add=[b"last"], remove=MANY[:2500]))
    assert await projected.members() == {*MANY[2500:], b"last"}
    assert await projected.has()


async def test_changes_that_come_together_are_one_step(projected: Projected) -> None:
    assert await caught_up(projected, projected.truth.add(GOLD, "ada"))
    for number in range(50):
        version = projected.truth.add(GOLD, f"member-{number}")
        projected.projector.wake(GOLD)
    assert await projected.projector.caught_up(GOLD, version, seconds=20)
    assert await projected.has()


@pytest.mark.parametrize("size", [0, 3, 3000])
async def test_a_list_that_is_void_is_replaced_in_one_step(projected: Projected, size: int) -> None:
    truth = projected.truth
    assert await caught_up(projected, truth.add(GOLD, *(f"old-{number}" for number in range(2000))))
    seen: set[int] = set()
    replaced = truth.replace(GOLD, [f"new-{number}" for number in range(size)])
    projected.projector.wake(GOLD)
    while not await projected.has():
        seen.add(await projected.store.scard(keys.members(*GOLD)))
    assert await projected.projector.caught_up(GOLD, replaced, seconds=20)
    assert seen <= {2000, size}
    assert not [key async for key in projected.store.scan_iter("*:staging:*")]
    assert not await projected.store.exists(keys.discarded(*GOLD))


async def test_what_is_committed_while_a_list_is_built_is_in_it(projected: Projected) -> None:
    truth, numbers = projected.truth, iter(range(1000))

    async def another_page() -> None:
        number = next(numbers)
        truth.change(GOLD, add=[f"late-{number}"], remove=[MANY[number], f"late-{number - 1}"])
        projected.projector.wake(GOLD)
        await asyncio.sleep(0)

    truth.before_slice = another_page
    truth.add(GOLD, "ada")
    truth.replace(GOLD, MANY)
    projected.projector.wake(GOLD)
    await projected.settles()
    assert next(numbers) > 5


async def test_a_drain_while_a_list_is_built_is_not_lost(projected: Projected) -> None:
    truth, drains = projected.truth, iter([None] * 3)

    async def drain() -> None:
        if next(drains, 0) is None:
            truth.replace(GOLD, MANY[:1000])
            projected.projector.wake(GOLD)

    truth.before_slice = drain
    truth.add(GOLD, *MANY)
    projected.projector.wake(GOLD)
    await projected.settles()
    assert await projected.members() == set(MANY[:1000])


async def test_lists_and_aliases_are_registered_and_announced(projected: Projected) -> None:
    subscription = projected.store.pubsub()
    await subscription.subscribe(keys.CHANGES)
    await subscription.get_message(timeout=5)
    projected.truth.add(SILVER)
    assert await caught_up(projected, projected.truth.add(GOLD, "ada"))
    number = projected.truth.alias("7", GOLD)
    projected.projector.wake_registry()
    assert await projected.projector.registry_caught_up(number, seconds=20)
    assert await projected.store.hgetall(keys.REGISTRY_ALIASES) == {b"123456:7": b"heap_gold"}
    assert await subscription.get_message(ignore_subscribe_messages=True, timeout=5) is not None
    number = projected.truth.alias("7", None)
    projected.projector.wake_registry()
    assert await projected.projector.registry_caught_up(number, seconds=20)
    assert await projected.store.hgetall(keys.REGISTRY_ALIASES) == {}
    await subscription.aclose()


@pytest.mark.parametrize("size", [1, 3000])
async def test_a_deleted_list_leaves_nothing(projected: Projected, size: int) -> None:
    assert await caught_up(projected, projected.truth.add(GOLD, *MANY[:size]))
    await projected.settles()
    deleted = projected.truth.delete(GOLD)
    assert await caught_up(projected, deleted)
    await projected.settles()
    assert not await projected.store.keys("cg:{123456:*")
    assert await caught_up(projected, projected.truth.add(GOLD, "again"))
    await projected.settles()


async def test_a_list_that_was_deleted_while_nobody_projected_goes(client: Redis, truth: MemoryTruth) -> None:
    async with projecting(client, truth) as projected:
        truth.add(GOLD, "ada")
        truth.add(SILVER, "bob")
        projected.projector.wake_all()
        await projected.settles()
    truth.delete(GOLD)
    async with projecting(client, truth) as projected:
        await projected.settles()
        assert not await client.keys("cg:{123456:heap_gold}*")


async def test_what_was_committed_while_nobody_projected_comes_in(client: Redis, truth: MemoryTruth) -> None:
    async with projecting(client, truth) as projected:
        assert await caught_up(projected, truth.add(GOLD, *MANY))
    truth.remove(GOLD, *MANY[:7])
    truth.add(SILVER, "bob")
    truth.asked = 0
    async with projecting(client, truth) as projected:
        await projected.settles()
        assert truth.asked < 100, "a list is not built anew for what can be told member by member"


async def test_an_erasure_takes_the_person_out_of_every_list(projected: Projected) -> None:
    for number in range(30):
        projected.truth.add((ACCOUNT, f"heap_{number}"), "ada", f"other-{number}")
    projected.projector.wake_all()
    await projected.settles()
    assert not projected.projector.not_cleansed(0)
    projected.truth.erase(b"ada")
    assert len(projected.projector.not_cleansed(1)) == 30
    projected.projector.wake_all()
    await projected.settles()
    assert not projected.projector.not_cleansed(1)
    assert (await projected.shown((ACCOUNT, "heap_7")))[b"erasure"] == b"1"


async def test_a_page_does_not_step_over_an_erasure(projected: Projected) -> None:
    assert await caught_up(projected, projected.truth.add(GOLD, "ada", "bob"))
    projected.truth.erase(b"ada")
    assert await caught_up(projected, projected.truth.add(GOLD, "eve"))
    assert await projected.members() == {b"bob", b"eve"}
    assert await projected.has()


async def test_a_database_that_is_away_is_waited_for(projected: Projected) -> None:
    assert await caught_up(projected, projected.truth.add(GOLD, "ada"))
    version = projected.truth.add(GOLD, "bob")
    projected.truth.is_away = True
    projected.projector.wake(GOLD)
    assert not await projected.projector.caught_up(GOLD, version, seconds=0.2)
    assert projected.projector.status().behind.keys() == {GOLD}
    projected.truth.is_away = False
    assert await projected.projector.caught_up(GOLD, version, seconds=20)
    await eventually(lambda: _is_empty(projected), what="nothing to be behind")


async def test_gateways_are_told_how_it_stands(projected: Projected) -> None:
    async def beats() -> bool:
        return bool(await projected.store.exists(keys.RECEIVER))

    await eventually(beats, what="a beat")
    assert b'"state":"ok"' in await projected.store.get(keys.RECEIVER)
    assert 0 < await projected.store.ttl(keys.RECEIVER) <= 30


async def _is_empty(projected: Projected) -> bool:
    return not projected.projector.status().behind
