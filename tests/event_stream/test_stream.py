"""A stream keeps what it took, in order, within its bounds; dead letters can be looked at, sent again, thrown away."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from event_stream.consumer import Consumer
from tests.event_stream.conftest import MOST_DEAD, a_stream, append, events

if TYPE_CHECKING:
    from event_stream.stream import Stream


async def bury(stream: Stream, reason: str, *bodies: str | int) -> None:
    """Let events come and die."""
    await append(stream, events(*bodies))
    taken = await Consumer(stream, claim_after=60).take(len(bodies))
    await stream.bury([record.id for record in taken], reason)


async def bodies_taken(stream: Stream) -> list[bytes]:
    return [record.body for record in await Consumer(stream, claim_after=60).take(100)]


async def test_what_was_appended_is_taken_in_order_and_gone_once_finished(stream: Stream) -> None:
    assert await append(stream, events("a", "b", to="x") + events("c", to="y")) == 3
    taken = await Consumer(stream, claim_after=60).take(10)
    assert [(record.to, record.body) for record in taken] == [("x", b"a"), ("x", b"b"), ("y", b"c")]
    status = await stream.status()
    assert (status.waiting, status.in_hand) == (3, 3)
    assert await stream.finish([record.id for record in taken]) == 3
    status = await stream.status()
    assert (status.waiting, status.in_hand, status.oldest_seconds) == (0, 0, 0)
    assert status.counts == {"appended": 3, "delivered": 3}


async def test_a_full_stream_refuses_what_is_new_and_counts_it(stream: Stream) -> None:
    small = a_stream(stream.store, most=3)
    assert await append(small, events(1, 2)) == 2
    assert await append(small, events(3, 4, 5)) == 1
    assert await append(small, events(6)) == 0
    assert await bodies_taken(small) == [b"1", b"2", b"3"]
    assert (await small.status()).counts == {"appended": 3, "dropped": 3}


async def test_an_append_whose_answer_was_lost_is_not_made_twice(stream: Stream) -> None:
    small = a_stream(stream.store, most=2)
    for _ in range(2):
        assert await small.append(events(1, 2, 3), writer="one", number=1, lost=4) == 2
    assert (await small.status()).counts == {"appended": 2, "dropped": 5}
    assert await small.append(events(1), writer="other", number=1) == 0


async def test_dead_letters_are_counted_by_reason_sent_again_or_thrown_away(stream: Stream) -> None:
    await bury(stream, "http_400", 1, 2)
    await bury(stream, "http_401", 3)
    assert await stream.count_dead() == {"http_400": 2, "http_401": 1}
    assert await stream.retry("http_400") == {"http_400": 2}
    assert await bodies_taken(stream) == [b"1", b"2"]
    assert await stream.purge_dead("other") == {}
    assert await stream.purge_dead() == {"http_401": 1}
    status = await stream.status()
    assert (status.dead, status.last_dead_seconds) == (0, None)


async def test_what_finds_no_room_on_its_way_back_stays_dead(stream: Stream) -> None:
    await bury(stream, "bad", 1, 2, 3)
    assert await a_stream(stream.store, most=2).retry() == {"bad": 2}
    assert await stream.count_dead() == {"bad": 1}


async def test_the_newest_dead_letters_are_kept_and_lost_ones_counted(stream: Stream) -> None:
    await bury(stream, "bad", *range(MOST_DEAD + 2))
    assert await stream.retry() == {"bad": MOST_DEAD}
    assert await bodies_taken(stream) == [b"%d" % number for number in range(2, MOST_DEAD + 2)]
    assert (await stream.status()).counts["dead_dropped"] == 2


async def test_what_waits_can_be_thrown_away_while_somebody_delivers_it(stream: Stream) -> None:
    await append(stream, events(*range(10)))
    consumer = Consumer(stream, claim_after=60)
    in_hand = await consumer.take(2)
    assert await stream.purge_waiting() == 10
    assert await consumer.take(10) == []
    await stream.finish([record.id for record in in_hand])
    assert (await stream.status()).waiting == 0
    await append(stream, events("new"))
    assert [record.body for record in await consumer.take(10)] == [b"new"]


async def test_an_erased_person_s_events_are_gone_wherever_they_are(stream: Stream) -> None:
    await bury(stream, "bad", "of alice", "of bob")
    await append(stream, events("of carol", *["of alice"] * 300, "of bob"))
    consumer = Consumer(stream, claim_after=60)
    await consumer.take(2)
    looked: list[int] = []
    assert await stream.erase(lambda record: record.body == b"of alice", looked.append) == 301
    assert sum(looked) == 304
    assert await stream.retry() == {"bad": 1}
    assert [record.body for record in await consumer.take(10)] == [b"of bob", b"of bob"]


@pytest.mark.parametrize("name", ["", "a b", "a}b", "Ä"])
def test_a_name_that_makes_no_key_is_refused(stream: Stream, name: str) -> None:
    with pytest.raises(ValueError, match="name of a stream"):
        type(stream)(stream.store, name, group="readers", most=1, most_dead=1)
