"""Archives written and read while the store changes, is emptied, restarted, or the import broken off."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import pytest
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import ConstantBackoff

from attribute_lists import keys
from attribute_lists.archive import read_archive
from attribute_lists.archive.format import ArchiveReader, ListVoid
from attribute_lists.archive.parts import ListParts
from attribute_lists.definitions import Definitions
from foundation.errors import NotFoundError, UnavailableError
from tests.attribute_lists.archives import (
    GOLD,
    ORDERING,
    SILVER,
    everything,
    fill,
    members_of,
    written,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import redis

    from attribute_lists.archive import Progress
    from foundation.store import Store
    from tests.support.processes import StoreServer


@pytest.fixture
async def client(store_url: str) -> AsyncIterator[Store]:
    # It waits for a server that is being started again.
    async with Redis.from_url(store_url, retry=Retry(ConstantBackoff(0.05), 100)) as client:
        yield client


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
