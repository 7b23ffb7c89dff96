"""Events with marks are stored once each, whoever sends them how often."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from event_stream.marks import Mark
from event_stream.stream import Appended, Event
from tests.event_stream.conftest import a_stream

if TYPE_CHECKING:
    from event_stream.stream import Stream

STORED, KNOWN, NO_ROOM = Appended.STORED, Appended.KNOWN, Appended.NO_ROOM


def marked(*bodies: str, who: str = "alice", seconds: int = 0) -> list[tuple[Event, Mark]]:
    return [(Event(who, body.encode()), Mark(f"{who:6.6}{body:10.10}".encode(), seconds)) for body in bodies]


async def bodies_in(stream: Stream) -> list[bytes]:
    return [record.body for record in await stream.read(b"", 1000)]


async def test_each_is_stored_once_and_the_sender_hears_which_were_known(stream: Stream) -> None:
    assert await stream.append_new(marked("a", "b", "a")) == [STORED, STORED, KNOWN]
    assert await stream.append_new(marked("b", "c")) == [KNOWN, STORED]
    assert await bodies_in(stream) == [b"a", b"b", b"c"]
    assert (await stream.status()).counts == {"appended": 3, "known": 2}


async def test_what_was_delivered_or_died_stays_known(stream: Stream) -> None:
    await stream.append_new(marked("a", "b"))
    first, second = await stream.read(b"", 10)
    await stream.finish([first.id])
    await stream.bury([second.id], "bad")
    assert await stream.append_new(marked("a", "b")) == [KNOWN, KNOWN]


async def test_many_who_send_the_same_at_the_same_time_store_it_once(stream: Stream) -> None:
    some = marked(*(str(number) for number in range(500)))
    told = await asyncio.gather(*(stream.append_new(some) for _ in range(4)))
    assert sum(each.count(STORED) for each in told) == 500
    assert sorted(await bodies_in(stream)) == sorted(event.body for event, _ in some)


async def test_nothing_is_stored_behind_what_found_no_room_and_it_can_be_sent_again(stream: Stream) -> None:
    small = a_stream(stream.store, most=2)
    assert await small.append_new(marked("a", "b", "c", "a", "d")) == [STORED, STORED, NO_ROOM, KNOWN, NO_ROOM]
    await small.finish([(await small.read(b"", 1))[0].id])
    assert await small.append_new(marked("c", "a", "d")) == [STORED, KNOWN, NO_ROOM]
    assert await bodies_in(small) == [b"b", b"c"]


async def test_a_large_append_without_room_stops_at_the_first_that_finds_none(stream: Stream) -> None:
    small = a_stream(stream.store, most=250)
    told = await small.append_new(marked(*(str(number) for number in range(600))))
    assert told == [STORED] * 250 + [NO_ROOM] * 350


async def test_marks_for_a_time_are_known_through_the_next_period_and_then_forgotten(
    stream: Stream, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1_000_000.0
    monkeypatch.setattr("event_stream.marks.time.time", lambda: now)
    assert await stream.append_new(marked("a", seconds=100)) == [STORED]
    now += 100
    assert await stream.append_new(marked("a", seconds=100)) == [KNOWN]
    now += 100
    assert await stream.append_new(marked("a", seconds=100)) == [STORED]
    assert await stream.append_new(marked("a")) == [STORED]  # for good is another thing


async def test_marks_for_a_time_expire(stream: Stream) -> None:
    await stream.append_new(marked("a", seconds=100) + marked("a"))
    kept = [key async for key in stream.store.scan_iter("*marks*")]
    assert sorted([await stream.store.ttl(key) for key in kept]) == [-1, pytest.approx(200, abs=2)]


async def test_a_person_s_marks_can_be_forgotten_and_nobody_else_s(stream: Stream) -> None:
    await stream.append_new(marked("a", "b") + marked("c", seconds=100) + marked("a", who="bob"))
    assert await stream.forget_marks(b"alice ", {0, 100}) == 3
    assert await stream.append_new(marked("a", "b") + marked("c", seconds=100)) == [STORED, STORED, STORED]
    assert await stream.append_new(marked("a", who="bob")) == [KNOWN]


async def test_a_stream_can_be_read_on_and_finished_without_a_group(stream: Stream) -> None:
    await stream.append_new(marked("a", "b", "c"))
    first = await stream.read(b"", 2)
    assert [(record.to, record.body) for record in first] == [("alice", b"a"), ("alice", b"b")]
    (last,) = await stream.read(first[-1].id, 2)
    assert last.body == b"c"
    assert await stream.finish([first[0].id, last.id]) == 2
    assert await stream.finish([first[0].id]) == 0
    assert await bodies_in(stream) == [b"b"]
    assert (await stream.status()).counts["delivered"] == 2


async def test_which_are_still_there_can_be_asked(stream: Stream) -> None:
    await stream.append_new(marked(*(str(number) for number in range(450))))
    ids = [record.id for record in await stream.read(b"", 450)]
    await stream.finish(ids[:200])
    assert await stream.present(ids) == set(ids[200:])
