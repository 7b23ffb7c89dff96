"""How fast heap-export takes records and delivers them, Heap's limits lifted: beside a loop that posts ready bulks.

A ratio measured in one run: `python -m benchmarks.export`. Heap is a server that answers `{}` to whatever comes. The
deliverer reads the stream, asks for tokens, looks whether records are still there, sends events and user properties,
writes the delivery log and lets the stream go of them; the loop posts bodies that were made before.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import statistics
import time
from typing import TYPE_CHECKING

import httpx
import uvloop

from foundation.store import connect
from heap_export.delivering import Delivering
from heap_export.heap import Call
from heap_export.intake import Intake
from heap_export.integrations import Integrations, default_integration
from heap_export.metrics import Metrics
from heap_export.payloads import open_parcel
from heap_export.records import Exposure, Source
from heap_export.settings import HeapExportSettings
from heap_export.streams import stream_of
from tests.support.faulty_server import Answer, FaultyServer
from tests.support.processes import running_store

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

    from foundation.store import Store

APP = "1"
AT_ONCE, TAKEN_AT_ONCE = 1000, 100
UNLIMITED = 1_000_000_000


def serve_heap(pipe: Connection) -> None:
    """Answer until the other end of `pipe` says something."""
    server = FaultyServer(routes={call.value: lambda _: Answer() for call in Call})
    with server.serving():
        pipe.send(server.address)
        while not pipe.poll(0.1):
            server.requests.clear()


def exposures(count: int, *, round_: int) -> list[Exposure]:
    now = time.time()
    return [Exposure(Source.VWO, f"flag-{round_}", f"person-{number}", now, "blue") for number in range(count)]


async def intake_rate(intake: Intake, records: list[Exposure]) -> float:
    """Records a second, `TAKEN_AT_ONCE` at a time, as requests bring them."""
    begun = time.perf_counter()
    for start in range(0, len(records), TAKEN_AT_ONCE):
        await intake.take(records[start : start + TAKEN_AT_ONCE])
    return len(records) / (time.perf_counter() - begun)


async def ready_bulks(store: Store, settings: HeapExportSettings) -> list[tuple[Call, bytes]]:
    """What waits, as bodies of both calls."""
    stream, place, parcels = stream_of(APP, store, settings), b"", []
    while rows := await stream.read(place, AT_ONCE):
        place = rows[-1].id
        parcels += [open_parcel(row.body) for row in rows]
    bulks = []
    for start in range(0, len(parcels), AT_ONCE):
        some = parcels[start : start + AT_ONCE]
        events = [parcel.event for parcel in some if parcel.event is not None]
        users = [parcel.user for parcel in some if parcel.user is not None]
        bulks.append((Call.TRACK, b'{"app_id":"1","events":[%b]}' % b",".join(events)))
        bulks.append((Call.ADD_USER_PROPERTIES, b'{"app_id":"1","users":[%b]}' % b",".join(users)))
    return bulks


async def plain_rate(address: str, bulks: list[tuple[Call, bytes]], count: int) -> float:
    """Records a second that a loop posts."""
    async with httpx.AsyncClient() as client:
        begun = time.perf_counter()
        for call, body in bulks:
            answer = await client.post(address + call, content=body, headers={"Content-Type": "application/json"})
            answer.raise_for_status()
        return count / (time.perf_counter() - begun)


async def delivery_rate(delivering: Delivering, store: Store, settings: HeapExportSettings, count: int) -> float:
    """Records a second that leave the stream."""
    stream = stream_of(APP, store, settings)
    begun = time.perf_counter()
    async with delivering.running():
        while (await stream.status()).waiting:
            await asyncio.sleep(0.02)
        return count / (time.perf_counter() - begun)


async def measure(url: str, address: str, *, count: int, rounds: int) -> None:
    settings = HeapExportSettings(redis_url=url, heap_app_id=APP, heap_api_base=address)
    store = connect(settings)
    made = default_integration(settings)
    assert made is not None
    lifted = made.model_copy(update={"events_per_minute": UNLIMITED, "events_per_minute_of_person": UNLIMITED})
    integrations = Integrations(store, default=lifted)
    await integrations.load()
    metrics = Metrics()
    taken, plain, delivered = [], [], []
    for number in range(rounds):
        taken.append(await intake_rate(Intake(store, settings, integrations, metrics), exposures(count, round_=number)))
        plain.append(await plain_rate(address, await ready_bulks(store, settings), count))
        delivering = Delivering(store, settings, integrations, metrics)
        delivered.append(await delivery_rate(delivering, store, settings, count))
        print(f"round {number + 1}: taken {taken[-1]:.0f}, posted {plain[-1]:.0f}, delivered {delivered[-1]:.0f}")
    await store.aclose()
    ratio = statistics.median(ours / theirs for ours, theirs in zip(delivered, plain, strict=True))
    print("| exposures a second, each an event and a user property | median | beside the loop |")
    print("|---|---|---|")
    print(f"| a loop that posts ready bulks of {AT_ONCE} | {statistics.median(plain):.0f} | 1.00 |")
    print(f"| delivered | {statistics.median(delivered):.0f} | {ratio:.2f} |")
    print(f"| taken, {TAKEN_AT_ONCE} at a time | {statistics.median(taken):.0f} | |")
    print("Heap's own limit for an app id is 250 events a second.")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=20_000, help="exposures in a round")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    heap = context.Process(target=serve_heap, args=(theirs,), daemon=True)
    heap.start()
    try:
        with running_store("--appendfsync", "everysec") as store:
            uvloop.run(measure(store.url, ours.recv(), count=options.count, rounds=options.rounds))
    finally:
        ours.send("over")
        heap.join()


if __name__ == "__main__":
    main()
