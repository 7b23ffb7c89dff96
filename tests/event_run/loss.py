"""How much of what was answered 200 can be lost, measured: by a store that syncs once a second, and from memory."""

from __future__ import annotations

import random
import re
import statistics
import subprocess
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from event_stream import keys
from gateway.event_queue import NAME
from tests.event_run.sender import Sender
from tests.support import processes
from tests.support.fake_vwo import fake_vwo
from tests.support.processes import running_store
from tests.support.waiting import until

_SYNCED = re.compile(r"(\d+\.\d+) f(?:data)?sync\(")

_SOME = 5  # events


class Unsynced(NamedTuple):
    """Milliseconds from an event's 200 until the store wrote it to its disk: what a power cut in between would cost."""

    median: float
    p99: float
    longest: float


def unsynced(*, samples: int, seed: int) -> Unsynced:
    """With `appendfsync everysec`. It takes `strace` to see when the store syncs; raises `FileNotFoundError`."""
    chance = random.Random(seed)  # noqa: S311 - no secret
    stored = []
    with running_store("--appendfsync", "everysec") as server, server.client() as client:
        command = ["strace", "-f", "-ttt", "-e", "trace=fdatasync,fsync", "-p", str(server.pid)]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as watching:
            assert watching.stderr is not None
            watching.stderr.readline()  # it is attached
            for number in range(samples):
                time.sleep(chance.uniform(0, 0.05))
                client.xadd(keys.entries(NAME), {"to": "1/key", "body": f"event {number}" * 50})
                stored.append(time.time())
            time.sleep(3)  # the last of them
            watching.terminate()
            synced = [float(match[1]) for line in watching.stderr if (match := _SYNCED.search(line))]
    found = sorted(min(at for at in synced if at >= when) * 1000 - when * 1000 for when in stored)
    return Unsynced(statistics.median(found), found[int(len(found) * 0.99)], found[-1])


class InMemory(NamedTuple):
    """`buffered`: events answered 200 while the store was away; `lost`: those gone with the gateway."""

    seconds: float
    buffered: int
    lost: int


def from_memory(*, seconds: float, rate: float) -> InMemory:
    """The store dies, `seconds` later the gateway; both come back."""
    with (
        tempfile.TemporaryDirectory(prefix="events") as directory,
        fake_vwo() as vwo,
        running_store() as store,
    ):
        settings = {
            "REDIS_URL": store.url,
            "VWO_BASE_URL": vwo.address,
            "FORWARD_EVENTS": "true",
            "FLUSH_EVENTS_INTERVAL": "0.2",
        }
        with processes.gateway(Path(directory), settings) as gateway:
            with Sender(lambda: [gateway.address], rate=rate, threads=2, seed=1) as sender:
                until(lambda: len(vwo.taken) > 0)
                store.kill()
                time.sleep(seconds)
                # The first ones may have reached the store after all.
                until(lambda: sum(fate == "buffered" for fate in dict(sender.told).values()) >= _SOME)
            gateway.kill()
        store.start()
        with processes.gateway(Path(directory), settings), store.client() as client:
            until(lambda: client.xlen(keys.entries(NAME)) == 0, seconds=30)
    arrived = set(vwo.messages)
    buffered = {message for message, fate in sender.told.items() if fate == "buffered"}
    assert all(message in arrived for message, fate in sender.told.items() if fate == "stored")
    return InMemory(seconds, len(buffered), len(buffered - arrived))
