"""Dead letters are looked at, and a stream is given up."""

from __future__ import annotations

from typing import TYPE_CHECKING

from event_stream import keys
from event_stream.letters import read_letters
from event_stream.marks import Mark
from event_stream.removal import remove_stream
from tests.event_stream.conftest import events

if TYPE_CHECKING:
    import redis

    from event_stream.letters import Letter
    from event_stream.stream import Stream

PERIOD = 3600


async def bury(stream: Stream, *bodies: int, reason: str) -> None:
    marked = [(event, Mark(f"{event.body.decode():>16}".encode(), PERIOD)) for event in events(*bodies)]
    await stream.append_new(marked)
    await stream.bury([record.id for record in await stream.read(b"", len(bodies))], reason)


def numbers(letters: list[Letter]) -> list[int]:
    return [int(letter.body) for letter in letters]


async def test_the_newest_come_first_and_the_rest_in_pages(stream: Stream) -> None:
    stream.most_dead = 1000
    await bury(stream, 1, 2, 3, reason="http_400")
    newest = await read_letters(stream, 2)
    assert (numbers(newest), newest[0].reason, newest[0].to) == ([3, 2], "http_400", "somewhere")
    assert numbers(await read_letters(stream, 2, before=newest[-1].id)) == [1]
    assert await read_letters(stream, 2, before=(await read_letters(stream, 3))[-1].id) == []


async def test_those_of_one_reason_are_found_behind_many_others(stream: Stream) -> None:
    stream.most_dead = 1000
    await bury(stream, 1, 2, reason="rare")
    await bury(stream, *range(10, 510), reason="frequent")
    assert numbers(await read_letters(stream, 5, reason="rare")) == [2, 1]
    assert len(await read_letters(stream, 450, reason="frequent")) == 450


async def test_nothing_of_a_stream_that_is_given_up_is_left(stream: Stream, store: redis.Redis) -> None:
    other = type(stream)(stream.store, "other", group="readers", most=10, most_dead=10)
    await other.append_new([(event, Mark(b"x" * 16, PERIOD)) for event in events("kept")])
    await stream.append_new([(event, Mark(b"x" * 16, PERIOD)) for event in events("waits")])
    await bury(stream, 1, 2, reason="http_400")
    await remove_stream(stream, [PERIOD])
    assert list(store.scan_iter(f"*{{{stream.name}}}*")) == []
    assert store.exists(keys.entries("other"))
    assert (await other.status()).waiting == 1
