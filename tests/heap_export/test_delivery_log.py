"""The delivery log keeps what became of each record, within its bounds, and forgets whom it must."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest

from foundation.store import connect
from heap_export.delivery_log import DeliveryLog, Entry
from heap_export.settings import HeapExportSettings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from foundation.store import Store

ALICE, BOB = b"alice!", b"bob\x00\xff!"


@pytest.fixture
async def redis(store_url: str) -> AsyncIterator[Store]:
    store = connect(HeapExportSettings(redis_url=store_url))
    yield store
    await store.aclose()


def a_log(store: Store, **settings: Any) -> DeliveryLog:
    return DeliveryLog(store, "1", HeapExportSettings(**settings))


def entry(name: str, *, who: bytes = ALICE, **others: Any) -> Entry:
    about: dict[str, Any] = {
        "source": "vwo",
        "received": time.time() - 1,
        "sent": time.time(),
        "status": 200,
        "answer": "{}",
        "attempts": 1,
        "outcome": "delivered",
    }
    return Entry(name=name, who=who, **about | others)


async def test_the_newest_come_first_and_can_be_paged_through(redis: Store) -> None:
    log = a_log(redis)
    await log.append([entry(str(number)) for number in range(450)])
    newest = await log.read(3)
    assert [found.name for found in newest] == ["449", "448", "447"]
    assert [found.name for found in await log.read(2, before=newest[-1].id)] == ["446", "445"]
    assert len(await log.read(1000)) == 450


async def test_it_can_be_asked_for_one_outcome_and_one_person(redis: Store) -> None:
    log = a_log(redis)
    await log.append([entry(str(number)) for number in range(300)])
    dead = entry("bad", who=BOB, status=400, outcome="dead", reason="http_400", attempts=3)
    await log.append([dead, entry("good", who=BOB)])
    await log.append([entry(str(number)) for number in range(300)])
    (found,) = await log.read(10, outcome="dead")
    assert (found.name, found.who, found.status, found.reason, found.attempts) == ("bad", BOB, 400, "http_400", 3)
    assert [one.name for one in await log.read(10, whose=BOB)] == ["good", "bad"]


async def test_an_erased_person_s_entries_are_gone_and_others_stay(redis: Store) -> None:
    log = a_log(redis)
    await log.append([entry(str(number), who=(ALICE, BOB)[number % 2]) for number in range(500)])
    looked: list[int] = []
    assert await log.erase(ALICE, looked.append) == 250
    assert sum(looked) == 500
    assert {found.who for found in await log.read(1000)} == {BOB}


async def test_the_oldest_go_when_there_are_too_many_or_when_they_are_too_old(redis: Store) -> None:
    log = a_log(redis, delivery_log_events=200)
    for _ in range(5):
        await log.append([entry(str(number)) for number in range(200)])
    assert 200 <= len(await log.read(1000)) < 400  # whole nodes of the stream go at once
    assert 0 < await redis.ttl("cg:heap:{1}:log") <= 14 * 86_400
    # An entry of an older day is not shown, even where it shares a node with newer ones.
    key = "cg:heap:{2}:log"
    old = DeliveryLog(redis, "2", HeapExportSettings())
    await redis.xadd(key, {"who": ALICE, "body": b"{}"}, id=f"{int((time.time() - 15 * 86_400) * 1000)}-0")
    await old.append([entry("new")])
    assert [found.name for found in await old.read(10)] == ["new"]


async def test_without_room_nothing_is_kept(redis: Store) -> None:
    log = a_log(redis, delivery_log_events=0)
    await log.append([entry("a")])
    assert await log.read(10) == []
