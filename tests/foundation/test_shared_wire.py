"""Many speak over one connection: each gets its own replies, and all hear of its end."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as StoreConnectionError
from redis.exceptions import ReadOnlyError

from foundation.shared_wire import SharedWire
from foundation.wire import pack
from tests.support.processes import running_store

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@pytest.fixture
async def client(store_url: str) -> AsyncIterator[Redis]:
    async with Redis.from_url(store_url) as client:
        yield client


@pytest.fixture
async def wire(client: Redis) -> AsyncIterator[SharedWire]:
    wire = await SharedWire.opened(client, "any", most=100)
    yield wire
    await wire.aclose()


async def echo(wire: SharedWire, number: int, *, weight: int = 1) -> int:
    replies = await wire.ask(pack("ECHO", str(number)) + pack("ECHO", "x" * number), 2, weight=weight)
    assert len(replies[1]) == number
    return int(replies[0])


@pytest.mark.parametrize("weight", [1, 40, 1000])
async def test_each_gets_its_own_replies(wire: SharedWire, weight: int) -> None:
    found = await asyncio.gather(*(echo(wire, number, weight=weight) for number in range(300)))
    assert found == list(range(300))


async def test_what_comes_while_the_store_is_at_something_leaves_together(client: Redis, wire: SharedWire) -> None:
    before = (await client.info("stats"))["total_reads_processed"]
    await asyncio.gather(*(echo(wire, number) for number in range(100)))
    after = (await client.info("stats"))["total_reads_processed"]
    assert after - before < 10


async def test_one_who_gives_up_leaves_the_others_their_replies(wire: SharedWire) -> None:
    asking = [asyncio.create_task(echo(wire, number, weight=30)) for number in range(30)]
    await asyncio.sleep(0)
    for number in (0, 1, 15, 29):
        asking[number].cancel()
    found = await asyncio.gather(*asking, return_exceptions=True)
    assert [number for number in found if isinstance(number, int)] == [n for n in range(30) if n not in (0, 1, 15, 29)]
    assert await echo(wire, 7) == 7


async def test_all_hear_of_its_end(client: Redis, wire: SharedWire) -> None:
    [me] = await wire.ask(pack("CLIENT", "ID"), 1, weight=1)
    blocked = asyncio.create_task(wire.ask(pack("BLPOP", "nothing", "0"), 1, weight=1))
    waiting = asyncio.create_task(echo(wire, 1))
    await asyncio.sleep(0)
    assert wire.is_usable
    await client.client_kill_filter(_id=str(me))
    for asked in (blocked, waiting):
        with pytest.raises(StoreConnectionError):
            await asked
    assert not wire.is_usable
    with pytest.raises(StoreConnectionError):
        await echo(wire, 2)


async def test_all_hear_that_it_was_given_up(wire: SharedWire) -> None:
    blocked = asyncio.create_task(wire.ask(pack("BLPOP", "nothing", "0"), 1, weight=1))
    waiting = asyncio.create_task(echo(wire, 1))
    await asyncio.sleep(0)
    await wire.aclose()
    for asked in (blocked, waiting):
        with pytest.raises(StoreConnectionError):
            await asked


async def test_a_server_that_takes_no_changes_any_more_is_the_wrong_one() -> None:
    with running_store() as server:
        async with Redis.from_url(server.url) as client:
            wire = await SharedWire.opened(client, "any", most=100)
            await client.replicaof("127.0.0.1", 1)
            [refusal] = await wire.ask(pack("SADD", "any", "a"), 1, weight=1)
            assert isinstance(refusal, ReadOnlyError)
            assert not wire.is_usable
            await wire.aclose()
