"""A store with a version that this database never wrote is left as it is until an operator decides."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from attribute_lists import keys
from attribute_lists.projection.registry_projection import RegistryProjection
from attribute_lists.projection.store_state import StoreState
from tests.attribute_lists.projection.conftest import Projected, projecting
from tests.attribute_lists.projection.memory_truth import ACCOUNT, GOLD, MemoryTruth
from tests.support.waiting import eventually

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from attribute_lists.projection.truth import RegistryState
    from tests.attribute_lists.projection.memory_truth import Name

SILVER = (ACCOUNT, "heap_silver")
MEMBERS = keys.members(*GOLD)
LOOKS = 2.0  # seconds: several of them, and a round of the scrub


async def everything_of(client: Any) -> dict[bytes, bytes]:
    """All keys but the receiver's own."""
    return {key: await client.dump(key) for key in await client.keys() if key != keys.RECEIVER.encode()}


async def wait_for_ahead(projected: Projected, *names: Name) -> None:
    async def is_ahead() -> bool:
        return projected.projector.ahead.keys() == set(names)

    await eventually(is_ahead, seconds=20, what="the store to be ahead")


@pytest.fixture
async def _others(client: Redis) -> None:
    """What another database has put into the store."""
    others = MemoryTruth("database-2")
    others.add(GOLD, "ada", "bob")
    others.add(GOLD, "eve")
    others.add(SILVER, "old")
    async with projecting(client, others) as projected:
        await projected.settles()


@pytest.mark.usefixtures("_others")
async def test_nothing_of_another_database_is_touched(client: Redis, truth: MemoryTruth) -> None:
    truth.add(GOLD, *(f"mine-{number}" for number in range(1000)))
    truth.add((ACCOUNT, "heap_bronze"), "mine")
    before = await everything_of(client)
    told: list[tuple[Name, str]] = []
    async with projecting(
        client, truth, scrub_seconds=1, on_ahead=lambda name, version: told.append((name, version))
    ) as projected:
        await wait_for_ahead(projected, GOLD)
        await asyncio.sleep(LOOKS)
        status = projected.projector.status()
    after = await everything_of(client)
    about = keys.about(*GOLD).encode()
    assert {key: value for key, value in after.items() if key != about} == {
        key: value for key, value in before.items() if key != about
    }
    assert (await client.hgetall(about))[b"database"] == b"database-2"
    [(name, version)] = told
    assert name == GOLD
    assert "database-2" in version
    assert status.is_ahead
    assert status.registry_ahead is not None
    assert [reason.partition(":")[0] for reason in status.reasons()][:2] == ["store_ahead", "store_ahead"]


@pytest.mark.usefixtures("_others")
async def test_pages_go_to_the_set_and_the_version_stays(client: Redis, truth: MemoryTruth) -> None:
    shown = await client.hgetall(keys.about(*GOLD))
    async with projecting(client, truth) as projected:
        for version in (truth.add(GOLD, "new"), truth.change(GOLD, add=["newer"], remove=["ada", "new"])):
            projected.projector.wake(GOLD)
            assert await projected.projector.caught_up(GOLD, version, seconds=20)
        assert await client.smembers(MEMBERS) == {b"bob", b"eve", b"newer"}
        await wait_for_ahead(projected, GOLD)
    now: Any = await client.hgetall(keys.about(*GOLD))
    assert now.pop(b"beside").startswith(b"database-1 2:")
    assert now == shown
    truth.add(GOLD, "while nobody projected")
    await client.sadd(MEMBERS, "ada")  # it is not removed a second time
    async with projecting(client, truth) as projected:
        await wait_for_ahead(projected, GOLD)
        version = truth.add(GOLD, "last")
        projected.projector.wake(GOLD)
        assert await projected.projector.caught_up(GOLD, version, seconds=20)
    assert await client.smembers(MEMBERS) == {b"bob", b"eve", b"newer", b"while nobody projected", b"last", b"ada"}


async def test_an_older_backup_finds_its_store_ahead(client: Redis) -> None:
    newer, older = MemoryTruth(), MemoryTruth()
    for truth in (newer, older):
        truth.add(GOLD, "ada")
        truth.add(SILVER, "bob")
    newer.add(GOLD, "eve")
    newer.add((ACCOUNT, "heap_bronze"), "new list")
    async with projecting(client, newer) as projected:
        await projected.settles()
    async with projecting(client, older) as projected:
        await wait_for_ahead(projected, GOLD)
        assert projected.projector.status().registry_ahead is not None
        version = older.add(SILVER, "eve")
        projected.projector.wake(SILVER)
        assert await projected.projector.caught_up(SILVER, version, seconds=20), "a version that it wrote goes on"
        version = older.add(GOLD, "ida")
        projected.projector.wake(GOLD)
        assert await projected.projector.caught_up(GOLD, version, seconds=20)
    assert await client.smembers(MEMBERS) == {b"ada", b"eve", b"ida"}
    assert await client.smembers(keys.members(*SILVER)) == {b"bob", b"eve"}
    assert await client.smembers(keys.members(ACCOUNT, "heap_bronze")) == {b"new list"}


async def test_two_histories_of_the_same_length_do_not_look_alike(client: Redis) -> None:
    one, other = MemoryTruth(salt="one"), MemoryTruth(salt="other")
    one.add(GOLD, "ada")
    other.add(GOLD, "bob")
    async with projecting(client, one) as projected:
        await projected.settles()
    async with projecting(client, other) as projected:
        await wait_for_ahead(projected, GOLD)
    assert await client.smembers(MEMBERS) == {b"ada"}


@pytest.mark.usefixtures("_others")
async def test_what_an_operator_releases_is_replaced(client: Redis, truth: MemoryTruth) -> None:
    truth.add(GOLD, *(f"mine-{number}" for number in range(1000)))
    async with projecting(client, truth) as projected:
        await wait_for_ahead(projected, GOLD)
        projected.projector.release(GOLD)

        async def is_mine() -> bool:
            return await projected.has()

        await eventually(is_mine, seconds=20, what="the list to be replaced")
        assert await client.smembers(keys.members(*SILVER)) == {b"old"}
        projected.projector.release_registry()
        await wait_for_ahead(projected, SILVER)
        projected.projector.release(SILVER)
        await projected.settles()
        assert not projected.projector.status().is_ahead


async def test_a_list_that_is_ahead_stays_so_though_it_is_gone(client: Redis, truth: MemoryTruth) -> None:
    truth.add(SILVER, "bob")
    async with projecting(client, truth, ahead={GOLD: "a version"}) as projected:
        truth.add(GOLD, "ada")
        projected.projector.wake(GOLD)
        assert not await projected.projector.caught_up(GOLD, truth.lists[GOLD].version, seconds=1)
        await asyncio.sleep(LOOKS / 2)
        assert await projected.has(SILVER)
        assert not await client.exists(MEMBERS)
        assert projected.projector.ahead == {GOLD: "a version"}
        projected.projector.release(GOLD)
        await projected.settles()
        assert not projected.projector.ahead


async def test_a_store_of_the_old_kind_is_ahead(client: Redis, truth: MemoryTruth) -> None:
    await client.set(keys.REGISTRY_IDENTITY, "a store")
    await client.sadd(keys.REGISTRY_LISTS, ":".join(GOLD))
    await client.hset(keys.about(*GOLD), mapping={"active": "1", "mode": "delta"})
    await client.sadd(MEMBERS, "ada")
    truth.add(SILVER, "bob")
    async with projecting(client, truth) as projected:
        version = truth.add(GOLD, "bob")
        projected.projector.wake(GOLD)
        assert await projected.projector.caught_up(GOLD, version, seconds=20)
        assert projected.projector.ahead == {GOLD: "no version"}
        assert projected.projector.status().registry_ahead is not None
    assert await client.smembers(MEMBERS) == {b"ada", b"bob"}
    assert (await client.hgetall(keys.about(*GOLD))).keys() == {b"active", b"mode", b"beside"}
    assert await client.get(keys.REGISTRY_IDENTITY) == b"a store"
    assert not await client.exists(keys.members(*SILVER))


async def test_a_store_that_takes_the_place_of_another(client: Redis, truth: MemoryTruth) -> None:
    """A second receiver with another database, on a store that this one projects into."""
    others = MemoryTruth("database-2")
    async with projecting(client, truth) as projected:
        version = truth.add(GOLD, "ada")
        projected.projector.wake(GOLD)
        assert await projected.projector.caught_up(GOLD, version, seconds=20)
        async with projecting(client, others) as intruder:
            others.add(GOLD, "bob")
            intruder.projector.wake(GOLD)
            await wait_for_ahead(intruder, GOLD)
            version = truth.add(GOLD, "eve")
            projected.projector.wake(GOLD)
            assert await projected.projector.caught_up(GOLD, version, seconds=20)
    assert (await client.hgetall(keys.about(*GOLD)))[b"database"] == b"database-1"
    assert {b"ada", b"eve"} <= await client.smembers(MEMBERS)


async def test_a_set_that_is_cleansed_of_persons_whose_erasure_is_not_known_is_ahead(client: Redis) -> None:
    """As where an older backup is put back: nothing else of the list has changed since, and it would bring them in."""
    newer, older = MemoryTruth(), MemoryTruth()
    for truth in (newer, older):
        truth.add(GOLD, "ada", "erased")
    newer.erase(b"erased")
    async with projecting(client, newer) as projected:
        await projected.settles()
    async with projecting(client, older, scrub_seconds=1) as projected:
        await wait_for_ahead(projected, GOLD)
        version = older.add(GOLD, "eve")
        projected.projector.wake(GOLD)
        assert await projected.projector.caught_up(GOLD, version, seconds=20)
        await asyncio.sleep(LOOKS)
        assert await client.smembers(MEMBERS) == {b"ada", b"eve"}


@pytest.mark.usefixtures("_others")
async def test_lists_that_waited_for_the_registry_are_built_once_it_is_ours(client: Redis, truth: MemoryTruth) -> None:
    bronze = (ACCOUNT, "heap_bronze")
    version = truth.add(bronze, "ada")
    async with projecting(client, truth) as projected:
        projected.projector.wake(bronze)
        assert not await projected.projector.caught_up(bronze, version, seconds=1)
        assert projected.projector.status().registry_ahead is not None
        await client.flushall()
        await projected.settles()


async def test_a_registry_of_another_history_stays_ahead_however_many_changes_follow(client: Redis) -> None:
    newer, older = MemoryTruth(), MemoryTruth()
    for truth in (newer, older):
        truth.add(GOLD, "ada")
    newer.alias("vwo:1", GOLD)
    async with projecting(client, newer) as projected:
        await projected.settles()
    async with projecting(client, older) as projected:
        older.add(SILVER, "bob")
        projected.projector.wake(SILVER)
        assert not await projected.projector.registry_caught_up(older.number, seconds=2)
        older.alias("vwo:2", GOLD)
        projected.projector.wake_registry()
        assert not await projected.projector.registry_caught_up(older.number, seconds=2)
        assert projected.projector.status().registry_ahead is not None
    assert await client.hgetall(keys.REGISTRY_ALIASES) == {f"{ACCOUNT}:vwo:1".encode(): GOLD[1].encode()}


@pytest.mark.usefixtures("_others")
async def test_nobody_takes_the_registry_for_ours_while_it_is_looked_at(client: Redis, truth: MemoryTruth) -> None:
    begun, told = asyncio.Event(), asyncio.Event()
    read = truth.registry

    async def slow() -> RegistryState:
        begun.set()
        await told.wait()
        return await read()

    truth.registry = slow  # type: ignore[method-assign] # as a database that takes its time
    state = StoreState(client)
    registry = RegistryProjection(state, truth, on_stray=lambda _: None)
    looking = asyncio.create_task(registry.look())
    await begun.wait()
    asking = asyncio.create_task(registry.is_ours())
    await asyncio.sleep(0)
    told.set()
    assert not await asking
    await looking
    await state.aclose()
