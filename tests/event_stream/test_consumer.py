"""Several consumers share a stream, and none of them takes anything with it when it dies."""

from __future__ import annotations

from typing import TYPE_CHECKING

from event_stream.consumer import Consumer
from tests.event_stream.conftest import append, events
from tests.support.waiting import eventually

if TYPE_CHECKING:
    from event_stream.stream import Record, Stream

BRIEF = 0.05  # seconds after which a consumer counts as dead


def bodies(records: list[Record]) -> list[bytes]:
    return [record.body for record in records]


async def test_no_event_goes_to_two_consumers(stream: Stream) -> None:
    one, other = Consumer(stream, claim_after=60), Consumer(stream, claim_after=60)
    await append(stream, events(1, 2, 3))
    assert bodies(await one.take(2)) == [b"1", b"2"]
    assert bodies(await other.take(2)) == [b"3"]
    assert await one.take(2) == []


async def test_what_a_dead_consumer_had_in_hand_goes_to_another(stream: Stream) -> None:
    await append(stream, events(*range(20)))
    await Consumer(stream, claim_after=BRIEF).take(20)
    await append(stream, events("new"))
    other = Consumer(stream, claim_after=BRIEF)
    found: list[bytes] = []

    async def takes_over() -> bool:
        taken = await other.take(7)
        if taken:
            await stream.finish([record.id for record in taken])
        found.extend(bodies(taken))
        return len(found) >= 21

    await eventually(takes_over)
    assert sorted(found) == sorted([b"%d" % number for number in range(20)] + [b"new"])


async def test_who_says_that_it_lives_keeps_what_it_has(stream: Stream) -> None:
    one, other = Consumer(stream, claim_after=60), Consumer(stream, claim_after=BRIEF)
    await append(stream, events(1, 2))
    (record,) = await one.take(1)

    async def is_idle() -> bool:
        rows = await stream.store.xpending_range(stream.entries, stream.group, "-", "+", 1)
        return int(rows[0]["time_since_delivered"]) > BRIEF * 1000

    await eventually(is_idle)
    assert await one.touch([record.id]) == 1
    assert bodies(await other.take(5)) == [b"2"]


async def test_who_leaves_lets_go_at_once(stream: Stream) -> None:
    one, other = Consumer(stream, claim_after=60), Consumer(stream, claim_after=60)
    await append(stream, events(1, 2))
    await one.leave([record.id for record in await one.take(2)])
    assert bodies(await other.take(2)) == [b"1", b"2"]
    await one.leave([])
    consumers = await stream.store.execute_command("XINFO", "CONSUMERS", stream.entries, stream.group)
    assert len(consumers) == 1


async def test_a_store_that_was_emptied_is_no_obstacle(stream: Stream) -> None:
    consumer = Consumer(stream, claim_after=BRIEF)
    await append(stream, events("old"))
    taken = await consumer.take(1)
    await stream.store.flushall()
    assert await stream.finish([record.id for record in taken]) == 0
    assert await consumer.touch([taken[0].id]) == 0
    assert (await stream.status()).waiting == 0
    await append(stream, events("new"))
    assert bodies(await consumer.take(1)) == [b"new"]


async def test_what_was_given_in_an_answer_that_got_lost_is_taken_again(stream: Stream) -> None:
    one = Consumer(stream, claim_after=0.3)
    await append(stream, events(1, 2))
    (record,) = await one.take(1)
    await one.take(1)  # nobody reads this answer
    found: list[bytes] = []

    async def takes_it() -> bool:
        await one.touch([record.id])
        found.extend(bodies(await one.take(5)))
        return bool(found)

    await eventually(takes_it)
    assert found == [b"2"]
