"""One process at a time has a lease, and knows by its own clock when it may not have it any more."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from redis.asyncio import Redis

from heap_export import lease
from heap_export.lease import Lease
from tests.support.waiting import eventually

if TYPE_CHECKING:
    from tests.support.processes import StoreServer

_KEY = "cg:heap:{trial}:lease"


@pytest.fixture(autouse=True)
def _renewed_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "_RENEW_SECONDS", 0.05)


async def test_it_goes_to_the_next_one_at_once_when_it_is_let_go(store_url: str) -> None:
    store = Redis.from_url(store_url)
    first, second = (Lease(store, _KEY, seconds=60) for _ in range(2))
    async with second.wanted():
        await eventually(lambda: _is(second.seconds_left > 0))
        async with first.wanted():
            await asyncio.sleep(0.2)
            assert (first.seconds_left, first.term) == (0, 0)
    async with first.wanted():
        await eventually(lambda: _is(first.seconds_left > 50))
    assert (first.seconds_left, first.term) == (0, 1)
    assert not await store.exists(_KEY)
    await store.aclose()


async def test_who_cannot_renew_it_gives_it_up_before_another_one_gets_it(
    store_url: str, store_server: StoreServer
) -> None:
    cut_off = Redis.from_url(store_url, socket_timeout=0.1)
    mine = Lease(cut_off, _KEY, seconds=0.5)
    async with mine.wanted():
        await eventually(lambda: _is(mine.seconds_left > 0))
        with store_server.held_still():
            await eventually(lambda: _is(mine.seconds_left == 0))
        await eventually(lambda: _is(mine.seconds_left > 0))
        assert mine.term == 2  # somebody else may have had it in between
    await cut_off.aclose()


async def test_a_lease_that_the_store_lost_is_taken_anew(store_url: str) -> None:
    store = Redis.from_url(store_url)
    mine = Lease(store, _KEY, seconds=60)
    async with mine.wanted():
        await eventually(lambda: _is(mine.seconds_left > 0))
        await store.flushall()

        async def is_there() -> bool:
            return bool(await store.exists(_KEY))

        await eventually(is_there)
        assert mine.term == 1
    await store.aclose()


async def _is(what: bool) -> bool:
    return what
