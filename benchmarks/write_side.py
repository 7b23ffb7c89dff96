"""What the database of the write side costs: many small lists, large ones, a lost store, replays, folding.

    python -m benchmarks.write_side [--lists 5000] [--members 1000000 --members 10000000] [--only lists|large]

Each part has a receiver and a store of its own. Numbers are of one run; a neighbour is a client that asks the store
2,000 times a second meanwhile.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import http.client
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attribute_lists import keys
from benchmarks.ingest import SECRET, Checks, bodies, push
from cohort_sync.signature import HEADER, sign
from cohort_sync.truth.database import FILE_NAME, open_database
from cohort_sync.truth.folding import Folder
from cohort_sync.truth.folding.rounds import FoldRules
from tests.support import http as plain_http
from tests.support.processes import ROOT, cohort_sync, environment, running_store
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator

    import redis

    from tests.support.processes import Program, StoreServer

ACCOUNT = "123456"
TEN = 10
IDLE_SECONDS = 20.0
MEBIBYTE = 1024 * 1024


def say(line: str) -> None:
    print(line, flush=True)


def settings_for(server: StoreServer) -> dict[str, str]:
    return {"REDIS_URL": server.url, "HEAP_WEBHOOK_SECRET": SECRET, "ADMIN_TOKEN": "t", "WRITE_SIDE": "database"}


def processor_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def memory(pid: int) -> float:
    """The most that was resident, in MiB."""
    [line] = [line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) / 1024


def send(address: str, body: bytes, connection: http.client.HTTPConnection | None = None) -> None:
    own = connection or http.client.HTTPConnection(address.removeprefix("http://"), timeout=120)
    signature = sign(SECRET, body, timestamp_ms=int(time.time() * 1000))
    own.request("POST", "/webhooks/heap", body, {HEADER: signature})
    answer = own.getresponse()
    answer.read()
    assert answer.status == http.client.OK


def size(client: redis.Redis, segment: str) -> int:
    found: Any = client.scard(keys.members(ACCOUNT, f"heap_{segment}"))
    return int(found)


def many_lists(count: int) -> None:
    with tempfile.TemporaryDirectory() as place, running_store("--appendfsync", "everysec") as server:
        directory = Path(place)
        with cohort_sync(directory, settings_for(server)) as program, server.client() as client:
            begun = time.perf_counter()
            connection = http.client.HTTPConnection(program.address.removeprefix("http://"), timeout=120)
            for number in range(count):
                [body] = bodies(TEN, TEN, segment=f"s{number}")
                send(program.address, body, connection)
            say(f"{count:,} lists of ten pushed one after the other: {time.perf_counter() - begun:.1f} s")
            time.sleep(5)
            pids = (program.pid, server.pid)
            before = [processor_seconds(pid) for pid in pids]
            time.sleep(IDLE_SECONDS)
            of_receiver, of_store = (
                (processor_seconds(pid) - used) / IDLE_SECONDS for pid, used in zip(pids, before, strict=True)
            )
            say(f"idle: {of_receiver:.1%} of a core, the store {of_store:.1%}")
            show_lists(directory, server)
            replays(program, directory)
            lose(client, count)
            say(f"memory of the receiver: at most {memory(program.pid):.0f} MiB")
        restart(directory, server)


def show_lists(directory: Path, server: StoreServer) -> None:
    begun = time.perf_counter()
    command = [sys.executable, "-m", "cohort_sync", "segments", "list", "--json"]
    given = settings_for(server) | {"DATA_DIR": str(directory / "data"), "ACCOUNT_ID": ACCOUNT}
    subprocess.run(command, cwd=ROOT, env=environment(given), check=True, capture_output=True)
    say(f"segments list --json: {time.perf_counter() - begun:.2f} s, the start of Python among it")


def replays(program: Program, directory: Path) -> None:
    [page] = bodies(10_000, 10_000, segment="replayed")
    send(program.address, page)
    time.sleep(3)  # for the checkpoint that moves it from the log
    files = [directory / "data" / f"{FILE_NAME}{suffix}" for suffix in ("", "-wal")]
    before = [path.stat().st_size for path in files]
    for _ in range(20):
        send(program.address, page)
    grown = sum(path.stat().st_size for path in files) - sum(before)
    say(f"20 replays of a known page of 10,000 members: {grown:,} bytes more on the disk")


def lose(client: redis.Redis, count: int) -> None:
    client.flushall()
    begun = time.perf_counter()

    def whole() -> bool:
        pipeline = client.pipeline(transaction=False)
        for number in range(count):
            pipeline.scard(keys.members(ACCOUNT, f"heap_s{number}"))
        return all(found == TEN for found in pipeline.execute())

    until(whole, seconds=300, what="every list")
    say(f"{count:,} lists whole after FLUSHALL: {time.perf_counter() - begun:.1f} s")


def restart(directory: Path, server: StoreServer) -> None:
    begun = time.perf_counter()
    with cohort_sync(directory, settings_for(server)) as program:
        listening = time.perf_counter() - begun
        address = program.addresses[1]
        until(lambda: plain_http.get(f"{address}/readyz").json() == {"status": "ok"}, seconds=60, what="readiness")
        say(f"start: listening after {listening:.2f} s, ready after {time.perf_counter() - begun:.2f} s")


@contextlib.contextmanager
def beside(server: StoreServer, what: str) -> Iterator[None]:
    """Says how long it took and how a neighbour at the store felt meanwhile."""
    checks = Checks(server, "nothing-here")
    begun = time.perf_counter()
    yield
    took = time.perf_counter() - begun
    p50, p99, longest, _ = checks.finish()
    say(f"{what}: {took:.1f} s; a neighbour waits {p50:.2f} ms, p99 {p99:.2f}, longest {longest:.1f}")


def large_list(members: int) -> None:
    with tempfile.TemporaryDirectory() as place, running_store("--appendfsync", "everysec") as server:
        directory = Path(place)
        with cohort_sync(directory, settings_for(server)) as program, server.client() as client:
            with beside(server, f"{members:,} members pushed in 50,000-member pages"):
                for start in range(0, members, 1_000_000):
                    part = bodies(1_000_000, 50_000, segment="large", task=f"t{start}")
                    push(program.address, [page.replace(b'"large-', b'"%d-' % start) for page in part])
                until(lambda: size(client, "large") == members, seconds=300, what="the pages")
            say(f"memory of the receiver: at most {memory(program.pid):.0f} MiB")
            rebuild(client, server, members, "rebuilt from pages")
            say(f"memory of the receiver: at most {memory(program.pid):.0f} MiB")
        with beside(server, f"{members:,} members folded"):
            asyncio.run(fold(directory / "data"))
        most = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
        say(f"memory of the process that folds: at most {most:.0f} MiB")
        held = (directory / "data" / FILE_NAME).stat().st_size
        say(f"the database: {held / MEBIBYTE:.0f} MiB, {held / members:.1f} bytes a member")
        with cohort_sync(directory, settings_for(server)) as program, server.client() as client:
            rebuild(client, server, members, "rebuilt from the base")
            say(f"memory of the receiver: at most {memory(program.pid):.0f} MiB")


def rebuild(client: redis.Redis, server: StoreServer, members: int, what: str) -> None:
    with beside(server, f"{members:,} members {what}"):
        client.unlink(keys.members(ACCOUNT, "heap_large"))
        until(lambda: size(client, "large") == members, seconds=600, what="the list")


async def fold(data_dir: Path) -> None:
    async with open_database(data_dir) as database:
        await Folder(database, FoldRules(window=0)).fold()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lists", type=int, default=5000)
    parser.add_argument("--members", type=int, action="append", help="of a large list; a multiple of a million")
    parser.add_argument("--only", choices=("lists", "large"))
    options: Any = parser.parse_args()
    if options.only != "large":
        many_lists(options.lists)
    if options.only != "lists":
        for members in options.members or (1_000_000, 10_000_000):
            large_list(members)


if __name__ == "__main__":
    main()
