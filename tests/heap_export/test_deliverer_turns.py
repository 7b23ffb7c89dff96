"""One process delivers for an app id at a time: another one goes on when it ends, dies or stands still."""

from __future__ import annotations

import asyncio
import os
import signal
from typing import TYPE_CHECKING

from tests.heap_export.deliveries import APP, Process, event, known
from tests.support import processes
from tests.support.fake_heap_api import FakeHeap, in_order
from tests.support.faulty_server import slow
from tests.support.waiting import eventually

if TYPE_CHECKING:
    from pathlib import Path


async def test_the_next_one_goes_on_at_once_when_one_ends(process: Process, heap: FakeHeap, store_url: str) -> None:
    other = Process(store_url, heap.address)
    async with other.delivering():
        async with process.delivering():
            for number in range(20):
                await process.intake.take([event("alice", number=number)])
                await asyncio.sleep(0.01)
        for number in range(20, 40):
            await process.intake.take([event("alice", number=number)])
        await process.all_delivered()
    await other.store.aclose()
    assert [one["properties"]["number"] for one in in_order(heap.events)["alice"]] == list(range(40))


async def test_what_is_under_way_at_the_end_is_sent_again_and_nothing_is_lost(
    process: Process, heap: FakeHeap, store_url: str
) -> None:
    heap.fault = slow(30)
    await process.intake.take([event("alice", number=number) for number in range(10)])
    async with process.delivering():
        await eventually(lambda: _is(len(heap.requests) > 0))
    heap.fault = None
    other = Process(store_url, heap.address)
    async with other.delivering():
        await other.all_delivered()
    await other.store.aclose()
    assert [one["properties"]["number"] for one in in_order(heap.events)["alice"]] == list(range(10))


async def test_who_stood_still_sends_nothing_that_another_one_has_delivered_meanwhile(
    process: Process, heap: FakeHeap, store_url: str, tmp_path: Path
) -> None:
    settings = {
        "REDIS_URL": store_url,
        "HEAP_APP_ID": APP,
        "HEAP_API_BASE": heap.address,
        "HEAP_API_TIMEOUT": "0.5",
        "EVENTS_API_KEY": "key",
    }
    with processes.heap_export(tmp_path, settings) as holder:
        await process.intake.take([known("alice", n=0)])
        await process.all_delivered()
        os.kill(holder.pid, signal.SIGSTOP)
        try:
            await process.intake.take([known("alice", n=number) for number in range(1, 10)])
            async with process.delivering():
                await process.all_delivered()
                sent = len(heap.requests)
                os.kill(holder.pid, signal.SIGCONT)
                await process.intake.take([known("alice", n=10)])
                await process.all_delivered()
        finally:
            os.kill(holder.pid, signal.SIGCONT)
    values = [user["properties"]["n"] for user in in_order(heap.users)["alice"]]
    assert values == sorted(values)
    assert values[-1] == 10
    assert len(heap.requests) == sent + 1


async def _is(what: bool) -> bool:
    return what
