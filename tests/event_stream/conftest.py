"""A stream in the store of the tests, and what happened to its events."""

from __future__ import annotations

import uuid
from collections import Counter
from typing import TYPE_CHECKING

import pytest
from redis.asyncio import Redis

from event_stream.stream import Event, Stream

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from foundation.store import Store

MOST, MOST_DEAD = 1000, 5


class Counts:
    """What was counted, by what happened and by its reason."""

    def __init__(self) -> None:
        self.numbers: Counter[str] = Counter()

    def __call__(self, what: str, number: int, reason: str = "") -> None:
        self.numbers[f"{what} {reason}".strip()] += number


def a_stream(store: Store, *, most: int = MOST) -> Stream:
    return Stream(store, "trial", group="readers", most=most, most_dead=MOST_DEAD)


def events(*bodies: str | int, to: str = "somewhere") -> list[Event]:
    return [Event(to, str(body).encode()) for body in bodies]


async def append(stream: Stream, some: Sequence[Event]) -> int:
    """By a writer that is new each time."""
    return await stream.append(some, writer=uuid.uuid4().hex, number=1)


@pytest.fixture
async def stream(store_url: str) -> AsyncIterator[Stream]:
    store = Redis.from_url(store_url)
    try:
        yield a_stream(store)
    finally:
        await store.aclose()


@pytest.fixture
def counts() -> Counts:
    return Counts()
