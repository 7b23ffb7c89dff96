"""What is changed is changed on the version that it was planned on, or not at all."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import pytest
from redis.exceptions import NoPermissionError, ResponseError

from attribute_lists import keys
from attribute_lists.projection.about import Shown
from attribute_lists.projection.guard import SLICE, Guard, UnguardedError, VersionConflictError
from foundation.shared_wire import SharedWire
from foundation.wire import pack
from tests.attribute_lists.projection.memory_truth import GOLD

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from redis.asyncio import Redis

ABOUT, MEMBERS = keys.about(*GOLD), keys.members(*GOLD)
SHOWN = Shown(b"database-1", b"3:aa", b"0")
MANY = [b"member-%d" % number for number in range(5 * SLICE + 7)]


@contextlib.asynccontextmanager
async def guarding(client: Redis) -> AsyncIterator[Guard]:
    wire = await SharedWire.opened(client, ABOUT, most=SLICE)
    yield Guard(wire, ABOUT, keys.refused(*GOLD))
    await wire.aclose()


@pytest.fixture
async def client(client: Redis) -> Redis:
    await client.hset(ABOUT, mapping={"database": "database-1", "version": "3:aa", "erasure": "0"})
    return client


async def test_members_are_added_and_removed_and_counted(client: Redis) -> None:
    await client.sadd(MEMBERS, "gone", MANY[0])
    async with guarding(client) as guard:
        filled = await guard.fill(SHOWN, MEMBERS, MANY, [b"gone", b"never there"], pack("SCARD", MEMBERS))
    assert (filled.added, filled.removed, filled.growth) == (len(MANY) - 1, 1, len(MANY) - 2)
    assert filled.replies == [len(MANY)]
    assert await client.smembers(MEMBERS) == set(MANY)


@pytest.mark.parametrize("field", ["database", "version", "erasure", "staging"])
async def test_another_version_database_erasure_or_staging_set_is_refused(client: Redis, field: str) -> None:
    await client.hset(ABOUT, field, "another")
    with pytest.raises(VersionConflictError):
        async with guarding(client) as guard:
            await guard.fill(SHOWN, MEMBERS, MANY, ())
    assert not await client.exists(MEMBERS)
    assert 0 < await client.ttl(keys.refused(*GOLD)) <= 60


@pytest.mark.parametrize("found", ["nothing", "another type"])
async def test_a_description_that_is_not_there_is_another_version(client: Redis, found: str) -> None:
    await client.delete(ABOUT)
    if found == "another type":
        await client.set(ABOUT, "no hash")
    with pytest.raises(VersionConflictError):
        async with guarding(client) as guard:
            await guard.change(SHOWN, pack("SADD", MEMBERS, "a"))
    assert not await client.exists(MEMBERS)


async def test_a_list_that_shows_nothing_may_be_begun(client: Redis) -> None:
    await client.delete(ABOUT)
    async with guarding(client) as guard:
        assert await guard.change(Shown(), pack("SADD", MEMBERS, "a")) == [1]


async def test_a_version_that_changes_on_the_way_stops_the_rest(client: Redis) -> None:
    async with guarding(client) as guard:
        await guard.fill(SHOWN, MEMBERS, MANY[:SLICE], ())
        await client.hset(ABOUT, "version", "4:bb")
        with pytest.raises(VersionConflictError):
            await guard.fill(SHOWN, MEMBERS, MANY, ())
        assert await client.scard(MEMBERS) == SLICE


async def test_scripts_that_the_store_forgets_let_nothing_through(client: Redis) -> None:
    async with guarding(client) as guard:
        await guard.change(SHOWN, pack("SADD", MEMBERS, "a"))
        await client.script_flush()
        await guard.change(SHOWN, pack("SADD", MEMBERS, "b"))
        await client.hset(ABOUT, "version", "4:bb")
        await client.script_flush()
        with pytest.raises(VersionConflictError):
            await guard.change(SHOWN, pack("SADD", MEMBERS, "c"))
    assert await client.smembers(MEMBERS) == {b"a", b"b"}


async def test_a_change_without_a_guard_is_told(client: Redis) -> None:
    """As where the store's user may run no scripts: the transaction goes through."""
    await client.acl_setuser("no_scripts", enabled=True, nopass=True, keys=["*"], commands=["+@all", "-eval"])
    async with guarding(client) as guard:
        await guard.ask(pack("AUTH", "no_scripts", "any"), 1)
        with pytest.raises(UnguardedError) as told:
            await guard.change(SHOWN, pack("SADD", MEMBERS, "a"))
        await guard.ask(pack("AUTH", "default", ""), 1)
    assert isinstance(told.value.__cause__, NoPermissionError)


async def test_what_the_store_refuses_is_raised(client: Redis) -> None:
    await client.set(MEMBERS, "not a set")
    with pytest.raises(ResponseError, match="WRONGTYPE"):
        async with guarding(client) as guard:
            await guard.fill(SHOWN, MEMBERS, MANY, ())


async def test_a_staging_set_does_not_stay_for_ever(client: Redis) -> None:
    async with guarding(client) as guard:
        filled = await guard.fill(SHOWN, MEMBERS, MANY, (), is_staging=True)
    assert filled.added == len(MANY)
    assert 0 < await client.ttl(MEMBERS) <= 3600
