"""Large changes go in slices that happen only on the ledger that they were planned on."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as StoreConnectionError
from redis.exceptions import ResponseError

from attribute_lists import keys
from attribute_lists.bodies import Names
from attribute_lists.changes import Changes, Page
from attribute_lists.filling import SLICE, Changed, Filling
from attribute_lists.scripts import ConflictingChangeError
from foundation.wire import pack, pack_many, wire_to

NAME = ("123456", "heap_gold")
LEDGER, MEMBERS = keys.ledger(*NAME), keys.members(*NAME)
MANY = [b"member-%d" % number for number in range(10 * SLICE)]


@pytest.fixture
async def client(client: Redis) -> Redis:
    await client.hset(LEDGER, "version", "v1")
    return client


async def test_everything_is_added_and_removed_and_counted(client: Redis) -> None:
    await client.sadd(MEMBERS, "gone", MANY[0])
    changed = Changed()
    await Filling(client).fill(NAME, MEMBERS, Names(MANY, [b"gone", b"never there"]), changed, version="v1")
    assert (changed.added, changed.removed) == (len(MANY) - 1, 1)
    assert await client.smembers(MEMBERS) == set(MANY)


async def test_nothing_happens_on_another_ledger(client: Redis) -> None:
    changed = Changed()
    with pytest.raises(ConflictingChangeError):
        await Filling(client).fill(NAME, MEMBERS, Names(MANY, []), changed, version="v0")
    assert await client.exists(MEMBERS) == 0
    assert changed.added == 0


async def test_a_ledger_that_changes_on_the_way_stops_the_rest(client: Redis, store_url: str) -> None:
    more = [b"more-%d" % number for number in range(200 * SLICE)]

    async def change_it() -> None:
        async with Redis.from_url(store_url) as other:
            while not await other.exists(MEMBERS):  # noqa: ASYNC110 - the store tells nobody
                await asyncio.sleep(0)
            await other.hset(LEDGER, "version", "v2")

    changing = asyncio.create_task(change_it())
    with pytest.raises(ConflictingChangeError):
        await Filling(client).fill(NAME, MEMBERS, Names(more, []), Changed(), version="v1")
    await changing
    assert await client.scard(MEMBERS) < len(more)
    # The connections that were in the middle of it are not used again for anything else.
    async with client.pipeline() as pipeline:
        pipeline.hset(LEDGER, "version", "v3")
        pipeline.get("nothing")
        assert await pipeline.execute() == [0, None]


async def test_a_set_that_shall_not_last_doesn_t(client: Redis) -> None:
    await Filling(client).fill(NAME, MEMBERS, Names(MANY, []), Changed(), version="v1", lifetime=100)
    assert 0 < await client.ttl(MEMBERS) <= 100


async def test_what_the_store_refuses_is_raised(client: Redis) -> None:
    await client.set(MEMBERS, "not a set")
    with pytest.raises(ResponseError, match="WRONGTYPE"):
        await Filling(client).fill(NAME, MEMBERS, Names(MANY, []), Changed(), version="v1")


async def test_a_connection_that_the_store_closes(client: Redis) -> None:
    async with wire_to(client, LEDGER) as wire:
        assert await wire.ask(pack("PING"), 1) == [b"PONG"]
        me = (await wire.ask(pack("CLIENT", "ID"), 1))[0]
        waiting = asyncio.create_task(wire.ask(pack("BLPOP", "nothing", "0"), 1))
        await asyncio.sleep(0)  # it is sent
        await client.client_kill_filter(_id=str(me))
        with pytest.raises(StoreConnectionError):
            await waiting
        with pytest.raises(StoreConnectionError):
            await wire.ask(pack("PING"), 1)
    assert await client.ping()


@pytest.mark.parametrize("values", [[b"a", b"b"], [b"a", b"bb", b""], [b"\r\n", b"$1"], [b""]])
def test_many_values_are_packed_like_any(values: list[bytes]) -> None:
    assert pack_many("SADD", "key", values) == pack("SADD", "key", *values)


async def test_slices_that_the_store_loses_before_they_are_noted_are_made_again(
    client: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a failover: what the replica did not hear of is gone, and the ledger looks as if nothing were."""
    fill, fills = Filling.fill, 0

    async def fill_and_lose(self: Filling, name: tuple[str, str], target: str, *args: Any, **options: Any) -> list[str]:
        nonlocal fills
        fills += 1
        fences = await fill(self, name, target, *args, **options)
        if fills == 1:
            await client.delete(target, *fences)
        return fences

    monkeypatch.setattr(Filling, "fill", fill_and_lose)
    page = Page("task", 1, 1, Names(MANY, []), 0, "digest", 1_790_000_000_000)
    assert (await Changes(client).apply_page(NAME, page)).repeated is False
    assert await client.smembers(MEMBERS) == set(MANY)
    assert fills == 2
    assert not [key async for key in client.scan_iter("*:fence:*")]
