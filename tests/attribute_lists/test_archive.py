"""Lists carried by archives: whole, in one step, and nobody who was erased."""

from __future__ import annotations

import asyncio
import io
import itertools
import tracemalloc
from typing import TYPE_CHECKING, Any, get_args

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import ConstantBackoff

from attribute_lists import keys
from attribute_lists.archive import Existing, erase_from_archive, inspect_archive, read_archive
from attribute_lists.archive.format import ArchiveReader, Body, ListVoid
from attribute_lists.archive.parts import ListParts
from attribute_lists.bodies import unpack
from attribute_lists.changes import Changes
from attribute_lists.definitions import Definitions
from foundation.errors import ConflictError, NotFoundError, UnavailableError
from tests.attribute_lists.archives import GOLD, NOW, ORDERING, SILVER, TAG_KEY, everything, fill, page, tag, written

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import redis

    from attribute_lists.archive import Progress
    from foundation.store import Store
    from tests.support.processes import StoreServer


@pytest.fixture
async def client(store_url: str) -> AsyncIterator[Store]:
    # It waits for a server that is being started again.
    client: Redis = Redis.from_url(store_url, retry=Retry(ConstantBackoff(0.05), 100))
    yield client
    await client.aclose()


def members_of(store: redis.Redis, key: str) -> set[Any]:
    found: Any = store.smembers(key)
    return set(found)


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


async def test_the_erased_stay_out(client: Store, store: redis.Redis) -> None:
    await fill(client)
    await client.execute_command("ZADD", keys.erased(*GOLD), NOW + 1, tag(b"gold-4"))  # came back after it
    archive = await written(client)
    await client.flushall()
    for at, member in ((NOW + 1, b"gold-4"), (NOW + 1, b"gold-5"), (NOW + 1, b"new-5")):
        store.zadd(keys.REGISTRY_ERASED, {tag(member): at})
    summary = await read_archive(client, archive, ordering=ORDERING)
    assert summary.erased == 1
    assert b"gold-4" in members_of(store, keys.members(*GOLD))
    assert b"gold-5" not in members_of(store, keys.members(*GOLD))
    assert b"new-5" not in members_of(store, keys.staging(*SILVER, "t3"))
    assert store.zscore(keys.erased(*SILVER), tag(b"gold-5")) == NOW + 1
    for key in store.scan_iter("*:body:*"):
        body: Any = store.get(key)
        assert {b"gold-5", b"new-5"}.isdisjoint(itertools.chain(*unpack(body)))


async def test_who_is_erased_while_lists_are_written_stays_out(client: Store, store: redis.Redis) -> None:
    await fill(client)
    calls = 0

    def erase(_: Progress) -> None:
        nonlocal calls
        calls += 1
        store.zadd(keys.REGISTRY_ERASED, {tag(b"gold-5"): NOW + 1})
        store.srem(keys.members(*GOLD), b"gold-5")

    archive = await written(client, progress=erase)
    assert calls
    await client.flushall()
    await read_archive(client, archive, ordering=ORDERING)
    assert b"gold-5" not in members_of(store, keys.members(*GOLD))


async def test_who_is_erased_while_lists_are_read_stays_out(client: Store, store: redis.Redis) -> None:
    await fill(client)
    archive = await written(client)
    await client.flushall()

    def erase(progress: Progress) -> None:
        if progress.stage == "reading":
            store.zadd(keys.REGISTRY_ERASED, {tag(b"gold-5"): NOW + 1})

    with pytest.raises(UnavailableError, match="erased meanwhile"):
        await read_archive(client, archive, ordering=ORDERING, progress=erase)
    assert set(everything(store)) == {keys.REGISTRY_ERASED} | {key for key in everything(store) if ":body:" in key}


async def test_an_archive_is_rewritten_without_a_person(client: Store, store: redis.Redis) -> None:
    await fill(client)
    archive = await written(client)
    copy = io.BytesIO()
    erased = {tag(b"gold-5"): NOW + 50, tag(b"new-5"): NOW + 50}
    assert await erase_from_archive(archive, copy, erased, tag_key=TAG_KEY) == 1
    copy.seek(0)
    async for record in ArchiveReader(copy).records():
        if isinstance(record, Body):
            assert {b"gold-5", b"new-5"}.isdisjoint(itertools.chain(*unpack(record.packed)))
    await client.flushall()
    copy.seek(0)
    summary = await read_archive(client, copy, ordering=ORDERING)
    assert summary.lists[GOLD] == 2998
    assert b"gold-5" not in members_of(store, keys.members(*GOLD))
    assert store.zscore(keys.erased(*GOLD), tag(b"gold-5")) == NOW + 50
    assert store.zscore(keys.REGISTRY_ERASED, tag(b"gold-5")) == NOW + 50
    late = await Changes(client, ORDERING).apply_page(GOLD, page("t0", 1, 1, [b"gold-5"], at=5))
    assert late.added == 0


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


async def test_members_that_stay_are_there_whatever_else_changes(client: Store, store: redis.Redis) -> None:
    await Definitions(client).list_of_segment("123456", "1", "Gold", source="heap")
    live, staging = keys.members(*GOLD), keys.staging(*GOLD, "t1")
    stable = [b"stays-%d" % number for number in range(5000)]
    store.sadd(live, *stable)
    calls = 0

    def disturb(_: Progress) -> None:
        nonlocal calls
        calls += 1
        others = [b"other-%d-%d" % (calls, number) for number in range(4000)]
        if calls % 3 == 0:  # as a swap does it
            store.sadd(staging, *stable, *others)
            store.rename(staging, live)
        elif calls % 3 == 1:
            store.sadd(live, *others)
        else:
            store.srem(live, *[b"other-%d-%d" % (calls - 1, number) for number in range(4000)])

    archive = await written(client, progress=disturb)
    assert calls > 5
    await client.flushall()
    await read_archive(client, archive)
    assert members_of(store, live) >= set(stable)


async def test_a_list_is_read_again_when_the_server_was_another(
    client: Store, store: redis.Redis, store_server: StoreServer
) -> None:
    await Definitions(client).list_of_segment("123456", "1", "Gold", source="heap")
    store.sadd(keys.members(*GOLD), *[b"member-%d" % number for number in range(5000)])
    calls = 0

    def restart(_: Progress) -> None:
        nonlocal calls
        calls += 1
        if calls == 2:
            store_server.kill()
            store_server.start()

    archive = await written(client, progress=restart)
    records = [record async for record in ArchiveReader(archive).records()]
    assert sum(isinstance(record, ListVoid) for record in records) == 1
    await client.flushall()
    archive.seek(0)
    assert (await read_archive(client, archive)).lists == {GOLD: 5000}


async def test_a_list_that_is_deleted_meanwhile_is_left_out(client: Store, store: redis.Redis) -> None:
    await fill(client)

    def delete(_: Progress) -> None:
        store.srem(keys.REGISTRY_LISTS, "123456:heap_gold")
        store.delete(keys.members(*GOLD))

    archive = await written(client, progress=delete)
    await client.flushall()
    assert (await read_archive(client, archive, ordering=ORDERING)).lists == {SILVER: 20}
    assert store.keys("*heap_gold*") == []
    with pytest.raises(NotFoundError, match="heap_bronze"):
        await written(client, lists=[("123456", "heap_bronze")])


async def test_an_interrupted_import_leaves_nothing(
    client: Store, store: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fill(client)
    archive = await written(client)
    await client.flushall()

    def interrupt(progress: Progress) -> None:
        if progress.stage == "reading" and progress.members > 2000:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        await read_archive(client, io.BytesIO(archive.getvalue()), ordering=ORDERING, progress=interrupt)
    assert everything(store) == {}

    async def killed(_: ListParts) -> None:
        return

    monkeypatch.setattr(ListParts, "discard", killed)
    with pytest.raises(KeyboardInterrupt):
        await read_archive(client, archive, ordering=ORDERING, progress=interrupt)
    left = everything(store)
    assert left
    assert all(":importing:" in key and expires for key, (_, _, expires) in left.items())


async def test_a_store_that_is_emptied_meanwhile_gets_no_half_list(client: Store, store: redis.Redis) -> None:
    await fill(client)
    archive = await written(client)
    await client.flushall()

    def empty(progress: Progress) -> None:
        if progress.stage == "reading" and 1000 < progress.members < 2900:
            store.flushall()

    with pytest.raises(UnavailableError, match="lost a part"):
        await read_archive(client, archive, ordering=ORDERING, progress=empty)
    assert store.scard(keys.members(*GOLD)) == 0


async def test_memory_is_bounded(client: Store, store: redis.Redis) -> None:
    await Definitions(client).list_of_segment("123456", "1", "Gold", source="heap")
    for start in range(0, 200_000, 10_000):
        store.sadd(keys.members(*GOLD), *[b"member-%d@example.com" % number for number in range(start, start + 10_000)])
    tracemalloc.start()
    try:
        archive = await written(client)
        await client.flushall()
        summary = await read_archive(client, archive)
        held = tracemalloc.get_traced_memory()[1] - len(archive.getvalue())
    finally:
        tracemalloc.stop()
    assert summary.members == 200_000
    assert held < 6_000_000  # all members at once are more than twice as much
