"""Any order of pages, retries, drains, modes and restarts ends in the list that the model says."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

from hypothesis import HealthCheck, given, settings
from redis.asyncio import Redis

from tests.attribute_lists.histories import histories, play

if TYPE_CHECKING:
    from foundation.store import Store
    from tests.attribute_lists.histories import Event

HISTORIES = int(os.environ.get("ORDER_HISTORIES", "300"))  # scripts/check_order runs many more

SETTINGS = settings(
    deadline=None,
    database=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def run(url: str, events: list[Event], *, scale: int = 1) -> None:
    async def once() -> tuple[set[int], set[int]]:
        store: Store = Redis.from_url(url)
        try:
            return await play(store, events, scale=scale)
        finally:
            await store.aclose()

    held, wanted = asyncio.run(once())
    assert held == wanted


@settings(SETTINGS, max_examples=HISTORIES)
@given(events=histories())
def test_small_pages(store_url: str, events: list[Event]) -> None:
    run(store_url, events)


@settings(SETTINGS, max_examples=max(50, HISTORIES // 8))
@given(events=histories())
def test_pages_that_go_in_slices(store_url: str, events: list[Event]) -> None:
    run(store_url, events, scale=700)
