"""How fast pushes become lists, and what everybody else feels of it: ratios, measured side by side in one run.

The receiver runs with everything on (signature, journal or database, order of tasks) and has a core of its own; the
store and the sender share the other one. Both write sides take turns, each with a store of its own.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import os
import shutil
import statistics
import subprocess
import sys
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import redis

from attribute_lists import keys
from cohort_sync.signature import HEADER, sign
from local_stack.sample_push import build_push
from tests.support.processes import cohort_sync, running_store, wait_until_recovered

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.processes import Program, StoreServer

SECRET = "whsec_benchmark"  # noqa: S105 - of this run alone
RECEIVER_CORE, OTHER_CORE = 0, 1
VARIADIC = 500
TASKS = 5
CHECKS_PER_SECOND = 2000
SIDES = ("journal", "database")


@dataclass(frozen=True)
class Side:
    """A write side at work."""

    name: str
    program: Program
    server: StoreServer


def bodies(members: int, page_size: int, *, segment: str, task: str | None = None) -> list[bytes]:
    task = task or str(uuid.uuid4())
    pages = members // page_size
    return [
        build_push(
            segment_id=segment,
            segment_name=segment,
            task=task,
            add=[f"{segment}-{number:015d}" for number in range(page * page_size, (page + 1) * page_size)],
            remove=[],
            page=page + 1,
            pages=pages,
        )
        for page in range(pages)
    ]


def push(address: str, *tasks: list[bytes]) -> float:
    """The pages of each task one after the other over a connection of its own, as fast as they are taken; seconds."""
    started = time.perf_counter()
    with ThreadPoolExecutor(len(tasks)) as senders:
        for sent in [senders.submit(_send, address, pages) for pages in tasks]:
            sent.result()
    return time.perf_counter() - started


def _send(address: str, pages: list[bytes]) -> None:
    parts = urlsplit(address)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=120)
    for page in pages:
        signature = sign(SECRET, page, timestamp_ms=int(time.time() * 1000))
        connection.request("POST", "/webhooks/heap", page, {HEADER: signature, "Content-Type": "application/json"})
        answer = connection.getresponse()
        answer.read()
        if answer.status != http.client.OK:
            raise SystemExit(f"the receiver answered {answer.status}")
    connection.close()


def by_redis_benchmark(server: StoreServer, members: int) -> float:
    """redis-benchmark's variadic SADD of fresh members into the same server; members per second."""
    count = members // VARIADIC
    command = ["redis-benchmark", "-s", server.url.removeprefix("unix://"), "-n", str(count), "-c", "4", "-P", "4"]
    command += ["-r", "1000000000", "-q", "--csv", "SADD", "bench:variadic"]
    command += ["benchmark-x-__rand_int__"] * VARIADIC
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    rate = float(done.stdout.strip().splitlines()[-1].split(",")[1].strip('"'))
    return rate * VARIADIC


def by_json_and_redis_py(server: StoreServer, pages: list[bytes]) -> float:
    """What one writes first, without signature, journal or order: json, one variadic SADD a page; seconds."""
    with redis.Redis.from_url(server.url) as client:
        started = time.perf_counter()
        for page in pages:
            push = json.loads(page)
            client.sadd("bench:naive", *[member["id"] for member in push["data"]["add"]])
        return time.perf_counter() - started


class Checks(threading.Thread):
    """Asks membership `CHECKS_PER_SECOND` times a second, in a process of its own; the latencies in ms."""

    CODE = """
import sys, time, redis
url, key, rate = sys.argv[1], sys.argv[2], float(sys.argv[3])
client = redis.Redis.from_url(url); client.ping(); found = []
print("ready", flush=True)
import select
next_at = time.perf_counter()
while not select.select([sys.stdin], [], [], 0)[0]:
    time.sleep(max(0, next_at - time.perf_counter()))
    started = time.perf_counter(); client.smismember(key, ["nobody"]); found.append(time.perf_counter() - started)
    next_at = max(next_at + 1 / rate, started)
found.sort()
print(found[int(len(found) * 0.5)] * 1e3, found[int(len(found) * 0.99)] * 1e3, found[-1] * 1e3, len(found))
"""

    def __init__(self, server: StoreServer, key: str, *, rate: float = CHECKS_PER_SECOND) -> None:
        super().__init__()
        arguments = [sys.executable, "-c", self.CODE, server.url, key, str(rate)]
        self._process = subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        os.sched_setaffinity(self._process.pid, {OTHER_CORE})
        assert self._process.stdout is not None
        self._process.stdout.readline()

    def finish(self) -> tuple[float, float, float, int]:
        """p50, p99 and longest (ms), and how many."""
        out, _ = self._process.communicate("stop\n")
        p50, p99, longest, count = out.split()
        return float(p50), float(p99), float(longest), int(count)


def _pin(pid: int, cores: set[int]) -> None:
    for task in Path(f"/proc/{pid}/task").iterdir():
        os.sched_setaffinity(int(task.name), cores)


def speeds(sides: dict[str, Side], *, members: int, rounds: int) -> Iterator[str]:
    """Of both sides by turns; the rivals once a round, on the store of the first."""
    found: dict[str, list[tuple[float, ...]]] = {name: [] for name in sides}
    for number in range(rounds):
        server = next(iter(sides.values())).server
        theirs = by_redis_benchmark(server, members)
        tasks = [bodies(members // TASKS, 10_000, segment=f"speed{number}-{task}") for task in range(TASKS)]
        naive = members / by_json_and_redis_py(server, [page for pages in tasks for page in pages])
        with server.client() as client:
            client.unlink("bench:naive", "bench:variadic")
        for name, side in sides.items():
            alone = members / push(side.program.address, bodies(members, 10_000, segment=f"alone{number}"))
            ours = members / push(side.program.address, *tasks)
            found[name].append((ours / theirs, alone / theirs, ours / naive, alone / naive))
            yield (
                f"round {number + 1}, {name}: ours {ours:,.0f} ({alone:,.0f} of one task), redis-benchmark "
                f"{theirs:,.0f}, json + redis-py {naive:,.0f} members/s"
            )
    for name, ratios in found.items():
        share, share_alone, times, times_alone = (statistics.median(values) for values in zip(*ratios, strict=True))
        yield f"{name}, share of redis-benchmark: {share:.2f} of {TASKS} tasks at once, {share_alone:.2f} of one"
        yield f"{name}, times json + redis-py: {times:.2f} of {TASKS} tasks at once, {times_alone:.2f} of one"


def latencies(side: Side) -> Iterator[str]:
    """From the body to the answer, of pages that come alone."""
    for size, count in ((1, 200), (100, 200), (1000, 100), (10_000, 30), (50_000, 10)):
        pages = bodies(size * count, size, segment=f"latency{size}")
        took = sorted(push(side.program.address, [page]) for page in pages)
        yield f"{side.name}, {size:,} members: p50 {took[len(took) // 2] * 1e3:.1f} ms, longest {took[-1] * 1e3:.1f} ms"


def fairness(side: Side, *, members: int) -> Iterator[str]:
    program, server = side.program, side.server
    key = keys.members("123456", "heap_fairness")
    pages = bodies(members, 50_000, segment="fairness")
    idle = Checks(server, key)
    time.sleep(5)
    before = idle.finish()
    busy = Checks(server, key)
    seconds = push(program.address, pages)
    during = busy.finish()
    yield f"{side.name}: {members:,} members in 50,000-member pages in {seconds:.1f} s ({members / seconds:,.0f}/s)"
    yield f"checks, idle: p50 {before[0]:.2f} ms, p99 {before[1]:.2f} ms ({before[3]} checks)"
    yield (
        f"checks, during: p50 {during[0]:.2f} ms, p99 {during[1]:.2f} ms, "
        f"longest {during[2]:.1f} ms ({during[3]} checks)"
    )
    yield f"p99 during, times idle: {during[1] / before[1]:.1f}"


def swap_gap(server: StoreServer) -> Iterator[str]:
    """The swap step alone, on two sets of a million members: how long it holds the store up.

    The store may use the receiver's core meanwhile, as on any machine: it frees the old set in a thread of its own.
    """
    _pin(server.pid, {RECEIVER_CORE, OTHER_CORE})
    script = (
        "redis.call('RENAME', KEYS[1], KEYS[3]); redis.call('RENAME', KEYS[2], KEYS[1]); "
        "redis.call('PERSIST', KEYS[1]); redis.call('UNLINK', KEYS[3])"
    )
    with server.client() as client:
        for name in ("{b}live", "{b}staging"):
            for start in range(0, 1_000_000, VARIADIC):
                client.sadd(name, *[f"{name}-{number:015d}" for number in range(start, start + VARIADIC)])
        floor = Checks(server, "{b}live", rate=1e9)
        time.sleep(3)
        quiet = floor.finish()
        others = Checks(server, "{b}live", rate=1e9)
        time.sleep(1)
        client.eval(script, 3, "{b}live", "{b}staging", "{b}old")
        time.sleep(1)
        gap = others.finish()
        client.unlink("{b}live")
    yield f"longest gap of another client: quiet {quiet[2]:.2f} ms, with a swap of 1,000,000 members {gap[2]:.2f} ms"


def bytes_per_member(side: Side) -> Iterator[str]:
    with side.server.client() as client:
        push(side.program.address, bodies(100_000, 10_000, segment="bytes"))
        prefix = "cg:{123456:heap_bytes}:"
        members = client.memory_usage(prefix + "members", samples=0)
        lasting = sum(client.memory_usage(prefix + part, samples=0) or 0 for part in ("about", "applied"))
        window = sum(
            client.memory_usage(key, samples=0) or 0
            for key in client.scan_iter(prefix + "*", count=1000)
            if b":body:" in key or key.endswith(b"ledger")
        )
    yield (
        f"{side.name}, store bytes per member: the set {members / 100_000:.1f}, bookkeeping that stays "
        f"{lasting / 100_000:.2f}, within the ordering window {window / 100_000:.1f} more"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--members", type=int, default=500_000, help="members a round of the speed test")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--fairness-members", type=int, default=5_000_000)
    parser.add_argument("--write-side", action="append", choices=SIDES, help="this alone; both where left out")
    options = parser.parse_args()
    if shutil.which("redis-benchmark") is None:
        raise SystemExit("error: redis-benchmark is missing; on Debian: apt-get install redis-tools")
    if (os.cpu_count() or 1) < 2:
        raise SystemExit("error: the receiver needs a core of its own; this machine has one")
    os.sched_setaffinity(0, {OTHER_CORE})
    with contextlib.ExitStack() as stack:
        sides = {name: stack.enter_context(running_side(name)) for name in options.write_side or SIDES}
        parts = [speeds(sides, members=options.members, rounds=options.rounds)]
        for side in sides.values():
            parts += [latencies(side), fairness(side, members=options.fairness_members), bytes_per_member(side)]
        parts.append(swap_gap(next(iter(sides.values())).server))
        for part in parts:
            for line in part:
                print(line, flush=True)


@contextlib.contextmanager
def running_side(name: str) -> Iterator[Side]:
    with running_store("--appendfsync", "everysec", "--auto-aof-rewrite-percentage", "0") as server:
        settings = {"REDIS_URL": server.url, "HEAP_WEBHOOK_SECRET": SECRET, "ADMIN_TOKEN": "t", "WRITE_SIDE": name}
        with cohort_sync(server.directory, settings) as program:
            if name == "journal":
                wait_until_recovered(program)
            _pin(program.pid, {RECEIVER_CORE})
            yield Side(name, program, server)


if __name__ == "__main__":
    main()
