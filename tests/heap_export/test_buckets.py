"""Token buckets never let more through than Heap takes in any minute, whoever asks."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import pytest
from redis.asyncio import Redis

from heap_export import buckets
from heap_export.buckets import Buckets, most_at_once
from heap_export.integrations import Integration

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from foundation.store import Store

_MINUTE = 0.3


def limited(*, of_app: int = 1000, of_person: int = 100, app_id: str = "1") -> Integration:
    return Integration(name="trial", app_id=app_id, events_per_minute=of_app, events_per_minute_of_person=of_person)


@pytest.fixture
async def redis(store_url: str) -> AsyncIterator[Store]:
    store = Redis.from_url(store_url)
    yield store
    await store.aclose()


async def test_a_tenth_of_a_minute_s_limit_goes_at_once_and_then_it_says_how_long_to_wait(redis: Store) -> None:
    reserved = await Buckets(redis).reserve(limited(), {"alice": 30, "bob": 4})
    assert reserved.granted == {"alice": 10, "bob": 4}
    assert set(reserved.waits) == {"alice"}
    assert 0 < reserved.waits["alice"] < 60
    assert reserved.wait == 0


async def test_an_app_id_s_bucket_is_short_for_all_of_its_persons_and_for_no_other_app_id(redis: Store) -> None:
    people = {f"person {number}": 1 for number in range(150)}
    reserved = await Buckets(redis).reserve(limited(), people)
    assert sum(reserved.granted.values()) == 100
    assert reserved.wait > 0
    assert not reserved.waits
    other = await Buckets(redis).reserve(limited(app_id="2"), people)
    assert sum(other.granted.values()) == 100


async def test_processes_that_ask_at_the_same_time_share_what_there_is(redis: Store) -> None:
    asked = (Buckets(redis).reserve(limited(), {"alice": 3}) for _ in range(10))
    granted = [reserved.granted["alice"] for reserved in await asyncio.gather(*asked)]
    assert sum(granted) == 10


@pytest.mark.parametrize(("of_app", "of_person"), [(100, 1000), (1000, 30)])
async def test_no_window_holds_more_than_the_limit(
    redis: Store, monkeypatch: pytest.MonkeyPatch, of_app: int, of_person: int
) -> None:
    monkeypatch.setattr(buckets, "MINUTE", _MINUTE)
    limit, came = min(of_app, of_person), []
    counted, last = 0.0, time.monotonic()
    while counted < 4 * _MINUTE:
        before = time.monotonic()
        reserved = await Buckets(redis).reserve(limited(of_app=of_app, of_person=of_person), {"alice": 5})
        now = time.monotonic()
        # The store's clock read something between these two, so what is counted lies within a minute for certain.
        came += [before] * reserved.granted["alice"]
        # As much as leaves at once may arrive in the same moment as what left a little before.
        window = [at for at in came if at > now - _MINUTE]
        assert len(window) <= limit - most_at_once(limit)
        # While a busy machine held us up, the bucket may have been full and taken no more in.
        counted += min(now - last, _MINUTE / 20)
        last = now
        await asyncio.sleep(0.001)
    assert len(came) > 2 * limit  # and most of it is used


async def test_its_keys_expire_and_hold_no_identity(redis: Store) -> None:
    await Buckets(redis).reserve(limited(), {"alice": 100})
    keys = await redis.keys("cg:heap:*")
    assert len(keys) == 2
    assert not [key for key in keys if b"alice" in key]
    assert all([0 < await redis.ttl(key) <= 60 for key in keys])
