"""Lists carried by archives: whole, and in one step."""

from __future__ import annotations

import asyncio
import io
import tracemalloc
from typing import TYPE_CHECKING, Any, get_args

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis.asyncio import Redis

from attribute_lists import keys
from attribute_lists.archive import Existing, inspect_archive, read_archive
from attribute_lists.changes import Changes
from attribute_lists.definitions import Definitions
from foundation.errors import ConflictError, NotFoundError
from tests.attribute_lists.archives import (
    GOLD,
    NOW,
    ORDERING,
    SILVER,
    everything,
    fill,
    members_of,
    page,
    tag,
    written,
)

if TYPE_CHECKING:
    import redis

    from foundation.store import Store


async def test_an_emptied_store_is_as_it_was(client: Store, store: redis.Redis) -> None:
    await fill(client)
    before = everything(store)

    async def extra() -> list[bytes]:
        return [b"\x00connection", b""]

    archive = await written(client, extra=extra)
    lifetime = store.pttl(next(key for key in before if ":body:" in key))
    await client.flushall()
    summary = await read_archive(client, archive, ordering=ORDERING)
    assert everything(store) == before
    assert abs(store.pttl(next(key for key in before if ":body:" in key)) - lifetime) < 10_000
    assert summary.extra == [b"\x00connection", b""]
    assert summary.lists == {GOLD: 2999, SILVER: 20}
    assert summary.created > 0
    assert (await inspect_archive(io.BytesIO(archive.getvalue()))).lists == {GOLD: 2999, SILVER: 20}


async def test_lists_go_on_where_they_were(client: Store, store: redis.Redis) -> None:
    await fill(client)
    archive = await written(client)
    await client.flushall()
    await read_archive(client, archive, ordering=ORDERING)
    changes = Changes(client, ORDERING)
    repeated = await changes.apply_page(GOLD, page("t2", 2, 2, [b"\xf0\x9f\xa6\x8a"], [b"gold-7", b"gold-8"], at=10))
    assert repeated.repeated
    await changes.apply_page(SILVER, page("t3", 3, 3, [b"new-z"], at=20))
    held: Any = store.smembers(keys.members(*SILVER))
    assert held == {b"new-%d" % number for number in range(1500) if number not in (1, 2)} | {
        b"new-x",
        b"new-y",
        b"new-z",
    }


async def test_a_snapshot_whose_pages_are_lost_never_goes_live(client: Store, store: redis.Redis) -> None:
    await fill(client)
    for key in store.scan_iter("*heap_silver*:body:*"):
        store.delete(key)
    archive = await written(client)
    await client.flushall()
    await read_archive(client, archive, ordering=ORDERING)
    changes = Changes(client, ORDERING)
    await changes.apply_page(SILVER, page("t3", 3, 3, [b"new-z"], at=20))
    await changes.tend(SILVER)
    assert store.scard(keys.members(*SILVER)) == 20


async def test_without_bookkeeping_a_list_is_what_was_there_before_all_tasks(client: Store, store: redis.Redis) -> None:
    await fill(client)
    members = members_of(store, keys.members(*GOLD))
    archive = await written(client, with_bookkeeping=False)
    changes = Changes(client, ORDERING)
    await changes.apply_page(GOLD, page("t4", 1, 1, [b"late"], at=30))
    await read_archive(client, archive, existing="replace", only=[GOLD], ordering=ORDERING)
    assert store.smembers(keys.members(*GOLD)) == members
    assert set(store.hgetall(keys.ledger(*GOLD))) == {b"version", b"drained"}
    assert (await changes.apply_page(GOLD, page("t4", 1, 1, [b"late"], at=30))).repeated
    assert (await changes.drain(GOLD, at=NOW - 5, mark="again")).repeated
    await changes.apply_page(GOLD, page("t5", 1, 1, [b"later"], [b"gold-9"], at=40))
    assert store.smembers(keys.members(*GOLD)) == (members | {b"later"}) - {b"gold-9"}


async def test_lists_that_are_there_are_refused_before_anything_changes(client: Store, store: redis.Redis) -> None:
    await fill(client)
    archive = await written(client)
    store.delete(keys.members(*GOLD))
    store.srem(keys.REGISTRY_LISTS, "123456:heap_silver")
    before = everything(store)
    with pytest.raises(ConflictError, match="heap_gold"):
        await read_archive(client, archive, ordering=ORDERING)
    assert everything(store) == before


async def test_lists_are_replaced_one_by_one_on_demand(client: Store, store: redis.Redis) -> None:
    await fill(client)
    before = everything(store)
    archive = await written(client)
    changes = Changes(client, ORDERING)
    for name in (GOLD, SILVER):
        await changes.apply_page(name, page("t9", 1, 1, [b"new"], at=90))
    await Definitions(client).set_aliases(*GOLD, ["other"])
    silver = store.smembers(keys.members(*SILVER))
    await read_archive(client, archive, existing="replace", only=[GOLD], ordering=ORDERING)
    now = everything(store)
    of_gold = [key for key in before if "heap_gold" in key or "registry" in key]
    assert {key: now[key] for key in of_gold} == {key: before[key] for key in of_gold}
    assert store.smembers(keys.members(*SILVER)) == silver
    with pytest.raises(NotFoundError, match="heap_bronze"):
        await read_archive(client, io.BytesIO(archive.getvalue()), only=[("123456", "heap_bronze")])


async def test_a_plan_made_before_the_import_is_made_again(client: Store, store: redis.Redis) -> None:
    await fill(client)
    changes = Changes(client, ORDERING)
    await changes.apply_page(GOLD, page("t9", 1, 1, [b"now-9"], [b"gold-9"], at=90))
    archive = await written(client)
    await client.flushall()
    await read_archive(client, archive, ordering=ORDERING)
    store.zadd(keys.erased(*GOLD), {tag(b"gold-10"): NOW + 99})  # the ledger in memory doesn't know
    late = await changes.apply_page(GOLD, page("t8", 1, 1, [b"gold-9", b"gold-10", b"new-8"], at=80))
    assert (late.added, b"new-8" in members_of(store, keys.members(*GOLD))) == (1, True)


@pytest.mark.parametrize("table", [keys.REGISTRY_SEGMENTS, keys.REGISTRY_ALIASES])
async def test_names_of_other_lists_are_not_taken(client: Store, store: redis.Redis, table: str) -> None:
    await fill(client)
    archive = await written(client, lists=[GOLD])
    await client.flushall()
    store.sadd(keys.REGISTRY_LISTS, "123456:other")
    store.hset(table, "123456:1", "other")
    before = everything(store)
    for existing in get_args(Existing)[:2]:
        with pytest.raises(ConflictError, match="the name 1 means other"):
            await read_archive(client, io.BytesIO(archive.getvalue()), existing=existing, ordering=ORDERING)
    assert everything(store) == before
    await read_archive(client, archive, existing="restore", ordering=ORDERING)
    assert store.hget(table, "123456:1") == b"heap_gold"


async def test_names_move_between_lists_that_are_replaced_together(client: Store) -> None:
    await fill(client)
    archive = await written(client)
    definitions = Definitions(client)
    await definitions.set_aliases(*GOLD, [])
    await definitions.set_aliases(*SILVER, ["1", "2"])
    await read_archive(client, archive, existing="replace", ordering=ORDERING)
    assert await definitions.aliases() == {GOLD: ["1", "67c858b8b8556:1741183160"], SILVER: ["2"]}


async def test_a_store_is_restored_by_the_first_and_left_alone_by_the_next(client: Store, store: redis.Redis) -> None:
    await fill(client)
    archive = await written(client)
    await client.flushall()
    # A push that came before anybody saw that the store was emptied.
    await Definitions(client).list_of_segment("123456", "1", "Gold", source="heap")
    changes = Changes(client, ORDERING)
    await changes.apply_page(GOLD, page("t9", 1, 1, [b"early"], at=90))
    first = await read_archive(client, io.BytesIO(archive.getvalue()), existing="restore", ordering=ORDERING)
    assert first.lists == {GOLD: 2999, SILVER: 20}
    await Changes(client, ORDERING).apply_page(GOLD, page("t9", 1, 1, [b"early"], at=90))
    second = await read_archive(client, io.BytesIO(archive.getvalue()), existing="restore", ordering=ORDERING)
    assert (second.lists, second.skipped) == ({}, [GOLD, SILVER])
    assert store.scard(keys.members(*GOLD)) == 3000
    again = await written(client)
    await client.flushall()
    assert (await read_archive(client, again, existing="restore", ordering=ORDERING)).skipped == []


@settings(
    deadline=None,
    database=None,
    max_examples=60,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(members=st.sets(st.binary(max_size=300), min_size=1, max_size=300))
def test_any_bytes_are_members(store_url: str, store: redis.Redis, members: set[bytes]) -> None:
    async def once() -> None:
        client: Redis = Redis.from_url(store_url)
        await client.flushall()
        await Definitions(client).list_of_segment("123456", "1", "Gold", source="heap")
        await client.sadd(keys.members(*GOLD), *members)
        archive = await written(client)
        await client.flushall()
        await read_archive(client, archive)
        await client.aclose()

    asyncio.run(once())
    assert store.smembers(keys.members(*GOLD)) == members


async def test_memory_is_bounded(client: Store, store: redis.Redis) -> None:
    await Definitions(client).list_of_segment("123456", "1", "Gold", source="heap")
    for start in range(0, 100_000, 10_000):
        store.sadd(keys.members(*GOLD), *[b"member-%d@example.com" % number for number in range(start, start + 10_000)])
    tracemalloc.start()
    try:
        archive = await written(client)
        await client.flushall()
        summary = await read_archive(client, archive)
        held = tracemalloc.get_traced_memory()[1] - len(archive.getvalue())
    finally:
        tracemalloc.stop()
    assert summary.members == 100_000
    assert held < 3_000_000  # all members at once are more than twice as much
