"""How long the receiver's event loop is held up, and how much memory it takes, while large pages arrive flat out.

    .venv/bin/python -m benchmarks.receiver_load --pages 1000 --members 50000 --connections 16

A probe in the receiver's own event loop notes how much processor time its thread used from one wake-up to the next, a
millisecond later: that is how long anything else had to wait, whatever else this machine does. The sender is a process
of its own.
"""

from __future__ import annotations

import argparse
import asyncio
import http.client
import multiprocessing
import random
import resource
import signal
import threading
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import uvloop

from cohort_sync.listeners import listeners
from cohort_sync.receiver import open_receiver
from cohort_sync.settings import CohortSyncSettings
from cohort_sync.signature import HEADER, sign
from foundation import serving
from local_stack.sample_push import build_push
from tests.support.processes import running_store

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

SECRET = "benchmark"  # noqa: S105 - of this run alone
UNIVERSE = 1_000_000
TEMPLATES = 20


def send_all(port: int, pages: int, members: int, connections: int, done: Connection) -> None:
    """Send `pages` different pages, each until it is answered 200; report the counts of answers."""
    chooser = random.Random(1)
    templates = []
    for _ in range(TEMPLATES):
        ids = [f"user{chooser.randrange(UNIVERSE):018}" for _ in range(members)]
        templates.append(
            build_push(
                segment_id=1, segment_name="Load", task="TASK", add=ids[: members // 2], remove=ids[members // 2 :]
            )
        )
    numbers = iter(range(pages))
    lock, answers = threading.Lock(), Counter[int]()
    times: list[float] = []
    started = time.perf_counter()

    def send() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
        while True:
            with lock:
                number = next(numbers, None)
            if number is None:
                return
            body = templates[number % TEMPLATES].replace(b"TASK", b"task-%d" % number)
            while True:
                header = sign(SECRET, body, timestamp_ms=int(time.time() * 1000))
                began = time.perf_counter()
                connection.request("POST", "/webhooks/heap", body, {HEADER: header})
                answer = connection.getresponse()
                answer.read()
                with lock:
                    answers[answer.status] += 1
                    times.append(time.perf_counter() - began)
                if answer.status == http.client.OK:
                    break
                time.sleep(0.2)

    threads = [threading.Thread(target=send) for _ in range(connections)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    times.sort()
    done.send((dict(answers), time.perf_counter() - started, times[len(times) // 2], times[-1]))


async def probe(gaps: list[tuple[float, float]]) -> None:
    """Processor time and time of the wall clock (ms) between wake-ups a millisecond apart."""
    cpu, wall = time.thread_time(), time.perf_counter()
    while True:
        await asyncio.sleep(0.001)
        now_cpu, now_wall = time.thread_time(), time.perf_counter()
        gaps.append(((now_cpu - cpu) * 1e3, (now_wall - wall) * 1e3))
        cpu, wall = now_cpu, now_wall


def resident() -> float:
    """MiB of this process's memory now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 2**20


async def run(options: argparse.Namespace, directory: Path, store_url: str) -> None:
    settings = CohortSyncSettings(
        _env_file=None,
        redis_url=store_url,
        data_dir=directory / "data",
        heap_webhook_secret=SECRET,
        admin_token="x",  # noqa: S106 - of this run alone
        account_id="1",
        cohort_sync_port=0,
    )
    gaps: list[tuple[float, float]] = []
    async with open_receiver(settings) as receiver:
        await receiver.recovery.first_look(seconds=30)
        listener, _ = listeners(receiver)
        bound = serving.bind(listener.host, 0, setting="PORT")
        port = int(bound.getsockname()[1])
        served = asyncio.create_task(serving.serve([(listener, bound)]))
        before = resident()
        context = multiprocessing.get_context("spawn")
        mine, theirs = context.Pipe()
        sender = context.Process(
            target=send_all, args=(port, options.pages, options.members, options.connections, theirs)
        )
        sender.start()
        probing = asyncio.create_task(probe(gaps))
        answers, took, median, slowest = await asyncio.to_thread(mine.recv)
        probing.cancel()
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        report(options, gaps, answers, took)
        print(f"a page is answered in {median * 1e3:.0f} ms (median), {slowest * 1e3:.0f} ms (slowest)")
        print(f"memory: {before:.0f} MiB before, {peak:.0f} MiB at its highest, {resident():.0f} MiB after")
        sender.join()
        signal.raise_signal(signal.SIGTERM)
        await served


def report(options: argparse.Namespace, gaps: list[tuple[float, float]], answers: dict[int, int], took: float) -> None:
    members = options.pages * options.members
    print(f"{options.pages} pages of {options.members} members on {options.connections} connections: {answers}")
    print(f"{took:.1f} s, {members / took / 1000:.0f} thousand members a second")
    for name, values in (("processor", sorted(gap[0] for gap in gaps)), ("wall", sorted(gap[1] for gap in gaps))):
        shown = ", ".join(f"{share:g} % {values[int(len(values) * share / 100)]:.2f}" for share in (50, 99, 99.9))
        longest = " ".join(f"{value:.1f}" for value in values[-5:])
        print(f"event loop held up, ms of {name} time over {len(values)} wake-ups: {shown}, the longest {longest}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pages", type=int, default=100)
    parser.add_argument("--members", type=int, default=50_000)
    parser.add_argument("--connections", type=int, default=16)
    options: Any = parser.parse_args()
    with running_store() as store:
        uvloop.run(run(options, store.directory, store.url))


if __name__ == "__main__":
    main()
