"""The reader of bodies: what it holds of the memory, and what it leaves of the event loop to others."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import pytest
from starlette.requests import Request

from foundation.errors import BadRequestError, CohortGatewayError, TooLargeError, UnavailableError
from foundation.memory import WORKING_FACTOR, Booking, Memory
from foundation.request_bodies import BodyLimits, BodyReader
from foundation.settings import MEBIBYTE
from foundation.turns import Turns
from tests.support.encodings import BROKEN, READABLE, bomb

if TYPE_CHECKING:
    from collections.abc import Iterator

    from starlette.types import Message

LIMITS = BodyLimits(8 * MEBIBYTE, "send less")


def request(*pieces: bytes, encoding: str = "gzip", hangs_up: bool = False) -> Request:
    messages: list[Message] = [{"type": "http.request", "body": piece, "more_body": True} for piece in pieces]
    messages.append({"type": "http.disconnect"} if hangs_up else {"type": "http.request", "more_body": False})
    coming: Iterator[Message] = iter(messages)

    async def receive() -> Message:
        return next(coming)

    headers = [(b"content-encoding", encoding.encode("latin-1"))]
    return Request({"type": "http", "method": "POST", "headers": headers}, receive)


@pytest.fixture
def memory() -> Memory:
    return Memory(32 * MEBIBYTE)


def reader(memory: Memory, limits: BodyLimits = LIMITS) -> BodyReader:
    return BodyReader(memory, Turns(), limits)


async def test_others_have_their_turn_after_each_64_kib_of_a_bomb(memory: Memory) -> None:
    turns_of_others = 0

    async def others() -> None:
        nonlocal turns_of_others
        while True:
            await asyncio.sleep(0)
            turns_of_others += 1

    beside = asyncio.create_task(others())
    with reader(memory).body_of(request(bomb(8 * MEBIBYTE))) as body:
        assert len(await body.content()) == 8 * MEBIBYTE
    beside.cancel()
    assert turns_of_others >= 8 * MEBIBYTE / (64 * 1024)


async def test_no_more_is_unpacked_than_is_taken(memory: Memory) -> None:
    refused = pytest.raises(TooLargeError, match="8388608 bytes unpacked; send less")
    with reader(memory).body_of(request(bomb(9 * MEBIBYTE))) as body, refused:
        await body.content()
    assert memory.received == 0


async def test_what_is_unpacked_counts_and_what_it_came_in_no_longer(memory: Memory) -> None:
    content = b"0123456789abcdef" * 65536
    for encoding, pack in READABLE.values():
        packed = pack(content)
        with reader(memory).body_of(request(packed[:5], packed[5:], encoding=encoding)) as body:
            assert await body.receive() == packed
            assert memory.received == len(packed)
            assert await body.content() == content
            assert memory.received == len(content)
            assert memory.working == len(content) * (WORKING_FACTOR - 1)
        assert (memory.received, memory.working) == (0, 0)


async def test_what_is_unpacked_needs_room(memory: Memory) -> None:
    another = Booking(memory)
    another.grow(10 * MEBIBYTE)
    for size, fits in ((5, True), (7, False)):
        refused = contextlib.nullcontext() if fits else pytest.raises(UnavailableError)
        with reader(memory).body_of(request(bomb(size * MEBIBYTE))) as body, refused:
            await body.content()
            assert memory.received == (10 + size) * MEBIBYTE
        assert memory.received == 10 * MEBIBYTE


@pytest.mark.parametrize("drains", [True, False])
@pytest.mark.parametrize("encoding", ["gzip", "br", ""])
async def test_a_refused_body_holds_nothing_and_is_read_on_where_that_is_wanted(
    memory: Memory, encoding: str, *, drains: bool
) -> None:
    limits = BodyLimits(1000, "send less", drains=drains)
    pieces = [bytes(600)] * 3
    refused = request(*pieces, encoding=encoding)
    with reader(memory, limits).body_of(refused) as body, pytest.raises(CohortGatewayError) as refusal:
        await body.content()
    assert refusal.value.status == (415 if encoding == "br" else 413)
    assert memory.received == 0
    left = 0
    with contextlib.suppress(StopIteration, RuntimeError):
        while True:
            await refused.receive()
            left += 1
    assert (left == 0) == drains


@pytest.mark.parametrize("drains", [True, False])
async def test_who_hangs_up_is_not_read_on(memory: Memory, *, drains: bool) -> None:
    limits = BodyLimits(1000, "send less", drains=drains)
    for pieces in ([b"x"], [bytes(2000)]):
        left = request(*pieces, hangs_up=True)
        with reader(memory, limits).body_of(left) as body, pytest.raises(CohortGatewayError):
            await body.content()
        assert memory.received == 0


async def test_what_is_broken_gives_its_room_back(memory: Memory) -> None:
    for encoding, pack in BROKEN.values():
        broken = request(pack(b"0123456789" * 100_000), encoding=encoding)
        with reader(memory).body_of(broken) as body, pytest.raises(BadRequestError, match="Content-Encoding"):
            await body.content()
        assert (memory.received, memory.working) == (0, 0)
