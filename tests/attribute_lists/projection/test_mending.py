"""What is missing in the store, or not as it was left, comes back by itself."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from redis.asyncio import Redis

from attribute_lists import keys
from tests.attribute_lists.projection.conftest import Projected, projecting
from tests.attribute_lists.projection.memory_truth import ACCOUNT, GOLD, MemoryTruth
from tests.support.proxy import Proxy
from tests.support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.support.processes import StoreServer

SILVER = (ACCOUNT, "heap_silver")
ABOUT, MEMBERS = keys.about(*GOLD), keys.members(*GOLD)
MANY = [b"member-%d" % number for number in range(3000)]


async def another_type(store: Any, key: str) -> None:
    await store.delete(key)
    await store.set(key, "another type")


async def another_list(store: Any, key: str) -> None:
    await store.delete(key)
    await store.rpush(key, "another type")


FAULTS: dict[str, Callable[[Any], Awaitable[object]]] = {
    "the members": lambda store: store.delete(MEMBERS),
    "the description": lambda store: store.delete(ABOUT),
    "the list": lambda store: store.delete(ABOUT, MEMBERS),
    "a part of the registry": lambda store: store.srem(keys.REGISTRY_LISTS, ":".join(GOLD)),
    "the aliases": lambda store: store.delete(keys.REGISTRY_ALIASES),
    "the registry": lambda store: store.delete(
        keys.REGISTRY_LISTS, keys.REGISTRY_ALIASES, keys.REGISTRY_ABOUT, keys.REGISTRY_IDENTITY
    ),
    "the identity": lambda store: store.delete(keys.REGISTRY_IDENTITY),
    "whose it is": lambda store: store.delete(keys.REGISTRY_ABOUT),
    "everything": lambda store: store.flushall(),
    "members of another type": lambda store: another_type(store, MEMBERS),
    "a description of another type": lambda store: another_type(store, ABOUT),
    "a registry of another type": lambda store: another_type(store, keys.REGISTRY_LISTS),
    "an identity of another type": lambda store: another_list(store, keys.REGISTRY_IDENTITY),
    "aliases of another type": lambda store: another_type(store, keys.REGISTRY_ALIASES),
    "an owner of another type": lambda store: another_type(store, keys.REGISTRY_ABOUT),
    "another identity": lambda store: store.set(keys.REGISTRY_IDENTITY, "another"),
    "some members": lambda store: store.srem(MEMBERS, MANY[0], MANY[1], MANY[2]),
    "strangers": lambda store: store.sadd(MEMBERS, "stranger-1", "stranger-2"),
    "the size": lambda store: store.hset(ABOUT, "size", 5),
    "a staging set of nobody": lambda store: store.hset(ABOUT, "staging", "token"),
}


@pytest.mark.parametrize("size", [5, 3000])
@pytest.mark.parametrize("fault", FAULTS)
async def test_a_loss_is_mended(client: Redis, truth: MemoryTruth, fault: str, size: int) -> None:
    truth.add(GOLD, *MANY[:size])
    truth.add(SILVER, "bob")
    truth.alias("7", GOLD)
    async with projecting(client, truth) as projected:
        await projected.settles()
        await FAULTS[fault](client)
        await projected.settles()
        assert not projected.projector.ahead
        assert projected.projector.status().registry_ahead is None


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_loss_while_nobody_projected_is_mended(client: Redis, truth: MemoryTruth, fault: str) -> None:
    truth.add(GOLD, *MANY)
    truth.add(SILVER, "bob")
    truth.alias("7", GOLD)
    async with projecting(client, truth) as projected:
        await projected.settles()
    await FAULTS[fault](client)
    truth.add(SILVER, "eve")
    async with projecting(client, truth) as projected:
        await projected.settles()
        assert not projected.projector.ahead


async def test_a_set_that_is_there_is_mended_in_place(projected: Projected) -> None:
    """Gateways go on answering from it."""
    projected.truth.add(GOLD, *MANY)
    projected.projector.wake_all()
    await projected.settles()
    await projected.store.delete(ABOUT)
    seen = []
    while not await projected.has():
        seen.append(await projected.store.scard(MEMBERS))
    assert set(seen) <= {len(MANY)}


async def test_a_set_that_came_back_in_part_answers_for_nobody_until_it_is_built(
    client: Redis, truth: MemoryTruth
) -> None:
    """As where it was evicted and a page comes before a look: most answers from it would be wrong."""
    truth.add(GOLD, *MANY)
    answers: list[bytes | None] = []

    async def look() -> None:
        answers.append(await projected.store.hget(ABOUT, "active"))

    async with projecting(client, truth, look_seconds=100) as projected:
        await projected.settles()
        await client.unlink(MEMBERS)
        truth.before_slice = look
        version = truth.add(GOLD, "new")
        projected.projector.wake(GOLD)
        assert await projected.projector.caught_up(GOLD, version, seconds=20)
        await projected.settles()
    assert answers[-1] is None


async def test_a_stranger_who_keeps_the_size_is_found_by_the_scrub(client: Redis, truth: MemoryTruth) -> None:
    truth.add(GOLD, *MANY)
    truth.add(SILVER, "bob")
    async with projecting(client, truth, scrub_seconds=1) as projected:
        await projected.settles()
        for number in range(3):
            await client.srem(MEMBERS, MANY[number])
            await client.sadd(MEMBERS, f"stranger-{number}")
            await client.srem(keys.members(*SILVER), "bob")
            await client.sadd(keys.members(*SILVER), "stranger")
            await projected.settles()
        assert projected.projector.status().mended


async def test_a_damaged_list_is_told_and_keeps_no_other_from_being_scrubbed(client: Redis, truth: MemoryTruth) -> None:
    truth.add(GOLD, "ada")  # the smaller comes first
    truth.add(SILVER, "bob", "eve")
    async with projecting(client, truth, scrub_seconds=1) as projected:
        await projected.settles()
        truth.damaged.add(GOLD)
        await client.srem(keys.members(*SILVER), "bob")
        await client.sadd(keys.members(*SILVER), "stranger")

        async def is_mended() -> bool:
            return await projected.members(SILVER) == {b"bob", b"eve"}

        async def is_told() -> bool:
            return "damaged: a page is damaged" in projected.projector.status().reasons()

        await eventually(is_mended, what="the other list to be mended")
        await eventually(is_told, what="the damage to be told")
        truth.damaged.clear()
        await eventually(lambda: _is_ready(projected), what="the list to be read again")


async def test_a_description_that_a_stranger_changed_is_found_by_the_scrub(client: Redis, truth: MemoryTruth) -> None:
    truth.add(GOLD, "ada")
    async with projecting(client, truth, scrub_seconds=1) as projected:
        await projected.settles()
        await client.hset(ABOUT, "active", "0")
        await projected.settles()


async def test_a_scrub_of_lists_that_change_all_the_time_spoils_nothing(client: Redis, truth: MemoryTruth) -> None:
    truth.slice = 50
    truth.add(GOLD, *MANY[:1000])
    async with projecting(client, truth, scrub_seconds=0.2) as projected:
        await projected.settles()
        for number in range(300):
            truth.change(GOLD, add=[MANY[1000 + number]], remove=[MANY[number], b"nobody"])
            projected.projector.wake(GOLD)
            await asyncio.sleep(0)
            if number % 50 == 0:
                await client.srem(MEMBERS, MANY[999])
        await projected.settles()


async def test_a_member_that_a_stranger_removed_is_back_though_pages_come(client: Redis, truth: MemoryTruth) -> None:
    """A page that is projected notes the size: what a stranger did before is noticed then."""
    truth.add(GOLD, *MANY)
    async with projecting(client, truth) as projected:
        await projected.settles()
        await client.srem(MEMBERS, MANY[7])
        version = truth.add(GOLD, "eve")
        projected.projector.wake(GOLD)
        assert await projected.projector.caught_up(GOLD, version)
        await projected.settles()


async def test_many_lists_are_whole_soon_after_a_loss(client: Redis, truth: MemoryTruth) -> None:
    for number in range(500):
        truth.add((ACCOUNT, f"heap_{number}"), *(f"member-{number}-{other}" for other in range(10)))
    truth.add(GOLD, *MANY)
    async with projecting(client, truth) as projected:
        await projected.settles(seconds=30)
        await client.flushall()
        await projected.settles(seconds=30)


async def test_a_store_that_dies_among_the_slices(own_store: StoreServer, truth: MemoryTruth) -> None:
    async with Redis.from_url(own_store.url) as client, projecting(client, truth) as projected:
        truth.add(GOLD, *MANY)
        projected.projector.wake(GOLD)
        await projected.settles()
        for number in range(3):
            more = [b"more-%d-%d" % (number, other) for other in range(20_000)]
            truth.change(GOLD, add=more, remove=MANY[number : number + 5])
            projected.projector.wake(GOLD)
            await eventually(partial(_is_under_way, client, 20_000 * number), what="a slice")
            await asyncio.to_thread(own_store.kill)
            await asyncio.to_thread(own_store.start)
            await projected.settles()


async def test_a_store_that_comes_back_empty(own_store: StoreServer, truth: MemoryTruth) -> None:
    async with Redis.from_url(own_store.url) as client, projecting(client, truth) as projected:
        truth.add(GOLD, *MANY)
        truth.add(SILVER, "bob")
        projected.projector.wake_all()
        await projected.settles()
        await asyncio.to_thread(own_store.kill)
        await eventually(lambda: _is_away(projected), what="the store to be away")
        truth.add(GOLD, "eve")
        projected.projector.wake(GOLD)
        assert projected.projector.status().reasons()[0].startswith("store_away")
        for path in own_store.directory.rglob("*.aof"):
            path.unlink()
        for path in own_store.directory.rglob("*.manifest"):
            path.unlink()
        await asyncio.to_thread(own_store.start)
        await projected.settles()
        assert projected.projector.status().away is None


async def test_a_connection_that_breaks_at_any_time(
    client: Redis, store_server: StoreServer, truth: MemoryTruth
) -> None:
    with Proxy(store_server.directory / "s") as proxy:
        async with (
            Redis.from_url(f"redis://127.0.0.1:{proxy.port}", socket_timeout=1) as through,
            projecting(through, truth) as projected,
        ):
            for number in range(20):
                truth.change(GOLD, add=[b"more-%d-%d" % (number, at) for at in range(3000)], remove=MANY[:number])
                if number % 7 == 6:
                    truth.replace(GOLD, MANY)
                projected.projector.wake(GOLD)
                await asyncio.sleep(0.002 * number)
                proxy.point_at(store_server.directory / "s")
            projected.store = client
            await projected.settles()


async def test_a_store_that_is_full_is_said_and_waited_for(own_store: StoreServer, truth: MemoryTruth) -> None:
    async with Redis.from_url(own_store.url) as client, projecting(client, truth) as projected:
        truth.add(GOLD, *MANY)
        projected.projector.wake(GOLD)
        await projected.settles()
        await client.config_set("maxmemory", 1)
        version = truth.change(GOLD, add=[b"eve"], remove=[MANY[0]])
        projected.projector.wake(GOLD)
        await eventually(partial(_refuses, projected), what="a refusal")
        assert not await projected.projector.caught_up(GOLD, version, seconds=0.1)
        assert MANY[0] in await projected.members()
        await client.config_set("maxmemory", 0)
        assert await projected.projector.caught_up(GOLD, version, seconds=20)
        await projected.settles()


async def test_scripts_that_the_store_forgets(projected: Projected) -> None:
    for number in range(20):
        projected.truth.add(GOLD, *MANY[number * 100 : number * 150])
        projected.projector.wake(GOLD)
        await projected.store.script_flush()
    await projected.settles()


async def _is_under_way(client: Redis, before: int) -> bool:
    return bool(await client.scard(MEMBERS) > before + len(MANY))


async def _refuses(projected: Projected) -> bool:
    return projected.projector.status().refusal is not None


async def _is_ready(projected: Projected) -> bool:
    return not projected.projector.status().reasons()


async def _is_away(projected: Projected) -> bool:
    return projected.projector.status().away is not None
