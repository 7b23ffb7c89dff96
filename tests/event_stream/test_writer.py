"""A writer answers in time whatever the store does, and what it said to be stored is stored once."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from event_stream.consumer import Consumer
from event_stream.writer import Fate, Writer
from tests.event_stream.conftest import Counts, a_stream, events
from tests.support.processes import running_store
from tests.support.proxy import Proxy
from tests.support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    import pytest

    from event_stream.stream import Stream
    from tests.support.processes import StoreServer

PATIENCE = 0.1


@contextlib.asynccontextmanager
async def behind_a_proxy(server: StoreServer) -> AsyncIterator[tuple[Proxy, Stream]]:
    """A stream whose store may fall silent; an answer may take a second, as in the gateway."""
    with Proxy(server.directory / "s") as proxy:
        store = Redis(host="127.0.0.1", port=proxy.port, socket_timeout=1.0, retry=Retry(NoBackoff(), 0))
        try:
            yield proxy, a_stream(store)
        finally:
            await store.aclose()


async def bodies_in(stream: Stream) -> list[bytes]:
    return [record.body for record in await Consumer(stream, claim_after=60).take(1000)]


async def test_many_at_once_are_stored_in_the_order_of_writing(stream: Stream, counts: Counts) -> None:
    writer = Writer(stream, patience=10, count=counts)
    async with writer.running():
        fates = await asyncio.gather(*(writer.write(events(number)) for number in range(700)))
        assert await writer.write([]) is Fate.STORED
    assert set(fates) == {Fate.STORED}
    assert await bodies_in(stream) == [b"%d" % number for number in range(700)]
    assert counts.numbers == {"stored": 700}


async def test_while_the_store_is_away_events_wait_in_memory(store_url: str, counts: Counts) -> None:
    del store_url  # nobody asks this one
    with running_store() as server:
        stream = a_stream(Redis.from_url(server.url))
        writer = Writer(stream, patience=PATIENCE, count=counts)
        async with writer.running():
            server.kill()
            assert await writer.write(events(1)) is Fate.BUFFERED
            assert await writer.write(events(2, 3)) is Fate.BUFFERED
            assert (writer.waiting, writer.is_behind) == (3, True)
            server.start()
            await eventually(lambda: _is(not writer.waiting))
            assert await writer.write(events(4)) is Fate.STORED
        assert await bodies_in(stream) == [b"1", b"2", b"3", b"4"]
        await stream.store.aclose()
    assert counts.numbers == {"buffered": 3, "stored": 4}


async def test_an_append_that_the_store_made_without_a_word_is_not_made_again(
    store_url: str, store_server: StoreServer, counts: Counts
) -> None:
    del store_url  # emptied the store
    async with behind_a_proxy(store_server) as (proxy, stream):
        writer = Writer(stream, patience=PATIENCE, count=counts)
        async with writer.running():
            assert await writer.write(events(1)) is Fate.STORED
            proxy.hold()
            assert await writer.write(events(2, 3)) is Fate.BUFFERED
            assert await writer.write(events(4)) is Fate.BUFFERED
            proxy.point_at(store_server.directory / "s")
            await eventually(lambda: _is(not writer.waiting))
        assert await bodies_in(stream) == [b"1", b"2", b"3", b"4"]
    assert counts.numbers == {"stored": 4, "buffered": 3}


async def test_memory_is_bounded_and_what_is_dropped_is_counted_in_the_store_as_well(
    store_url: str, store_server: StoreServer, counts: Counts
) -> None:
    del store_url  # emptied the store
    async with behind_a_proxy(store_server) as (proxy, stream):
        writer = Writer(stream, patience=PATIENCE, count=counts, most_events=3, most_bytes=2000)
        async with writer.running():
            proxy.hold()
            assert await writer.write(events(1, 2)) is Fate.BUFFERED
            assert await writer.write(events(3, 4)) is Fate.DROPPED
            assert await writer.write(events("x" * 2000)) is Fate.DROPPED
            assert await writer.write(events(5)) is Fate.BUFFERED
            proxy.point_at(store_server.directory / "s")
            await eventually(lambda: _is(not writer.waiting))
            assert await writer.write(events(6)) is Fate.STORED
        assert await bodies_in(stream) == [b"1", b"2", b"5", b"6"]
        assert (await stream.status()).counts["dropped"] == 3
    assert counts.numbers == {"stored": 4, "buffered": 3, "dropped buffer_full": 3}


async def test_what_is_in_memory_at_the_end_is_counted_as_lost(tmp_path: Path, counts: Counts) -> None:
    store = Redis(unix_socket_path=str(tmp_path / "nobody"), retry=Retry(NoBackoff(), 0))
    writer = Writer(a_stream(store), patience=PATIENCE, count=counts)
    async with writer.running():
        assert await writer.write(events(1, 2)) is Fate.BUFFERED
    assert counts.numbers == {"buffered": 2, "dropped stopped": 2}
    await store.aclose()


async def test_a_full_stream_is_told_to_the_sender(stream: Stream, counts: Counts) -> None:
    writer = Writer(a_stream(stream.store, most=3), patience=10, count=counts)
    async with writer.running():
        assert await writer.write(events(1, 2)) is Fate.STORED
        assert await writer.write(events(3, 4)) is Fate.DROPPED
    assert counts.numbers == {"stored": 3, "dropped stream_full": 1}


async def test_a_stream_that_stays_full_is_two_lines_in_the_log_however_many_events_are_dropped(
    stream: Stream, counts: Counts, caplog: pytest.LogCaptureFixture
) -> None:
    writer = Writer(a_stream(stream.store, most=1), patience=10, count=counts)
    async with writer.running():
        for number in range(20):
            await writer.write(events(number))
        begin = "stream trial: events are dropped: stream_full; how many is said when it is over"
        assert caplog.messages == [begin]
    assert caplog.messages == [begin, "stream trial: events are dropped: that is over; there were 19 stream_full"]


async def test_a_store_that_stays_away_is_two_lines_as_well(
    tmp_path: Path, counts: Counts, caplog: pytest.LogCaptureFixture
) -> None:
    store = Redis(unix_socket_path=str(tmp_path / "nobody"), retry=Retry(NoBackoff(), 0))
    writer = Writer(a_stream(store), patience=PATIENCE, count=counts, most_events=2)
    async with writer.running():
        for number in range(20):
            await writer.write(events(number))
    await store.aclose()
    assert [record.levelname for record in caplog.records] == ["WARNING", "ERROR", "ERROR", "ERROR"]
    assert [line.split(";")[0] for line in caplog.messages[1:3]] == [
        "stream trial: events are dropped: buffer_full",
        "stream trial: events are dropped: stopped",
    ]
    assert caplog.messages[-1].endswith("there were 18 buffer_full, 2 stopped")


async def _is(what: bool) -> bool:
    return what
