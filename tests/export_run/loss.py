"""How much of what was answered 200 a power cut costs, where Redis syncs once a second only: measured."""

from __future__ import annotations

import random
import tempfile
import time
from contextlib import ExitStack
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from event_stream import keys
from tests.crash.stores import Stores
from tests.export_run.distinct import APP, KEY
from tests.export_run.sender import NUMBER, Sender
from tests.support import processes
from tests.support.fake_heap_api import fake_heap
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable


class Loss(NamedTuple):
    """Of `taken` records, answered 200, `lost` are gone; the oldest of each cut had been answered `ages` seconds."""

    cuts: int
    taken: int
    lost: int
    ages: list[float]

    def __str__(self) -> str:
        longest = max(self.ages, default=0.0)
        return (
            f"`appendfsync everysec`, {self.cuts} power cuts: {self.lost} of {self.taken} records that were answered "
            f"200 are lost; the oldest of them {longest * 1000:.0f} ms before its cut"
        )


def in_power_cuts(cuts: int, *, rate: float, seed: int, tell: Callable[[str], object] = lambda _: None) -> Loss:
    """Cut the power of the store `cuts` times while `rate` requests a second come, of one to ten records.

    Nothing is delivered before the last cut: then nothing is lost but what the cuts cost.
    """
    chance = random.Random(seed)  # noqa: S311 - to be repeated, not to be secret
    times: list[float] = []
    with ExitStack() as stack:
        heap = stack.enter_context(fake_heap())
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="loss")))
        stores = stack.enter_context(Stores.running(directory, replicated=False))
        settings = {"REDIS_URL": stores.url, "HEAP_APP_ID": APP, "HEAP_API_BASE": heap.address, "EVENTS_API_KEY": KEY}
        intake = stack.enter_context(processes.heap_export(directory, settings | {"DELIVER_HERE": "false"}))
        with Sender(lambda: intake.address, KEY, rate=rate, threads=4, seed=seed) as sender:
            for number in range(cuts):
                taken = len(sender.taken)
                until(partial(_has_taken, sender, taken + int(rate)), seconds=30, what="records to come")
                torn = stores.kill_and_tear(chance)
                times.append(time.time())
                stores.restart()
                tell(f"cut {number + 1}: {torn} bytes of the log are gone")
        stack.enter_context(processes.heap_export(directory, settings))
        with stores.client() as client:
            until(lambda: client.xlen(keys.entries(f"heap-{APP}")) == 0, seconds=300, what="the rest to be delivered")
        arrived = {event.entry["properties"][NUMBER] for event in heap.events}
    lost = {number: at for number, at in sender.taken.items() if number not in arrived}
    ages = [max((cut - at for at in lost.values() if at <= cut), default=0.0) for cut in times[:1]]
    ages += [
        max((cut - at for at in lost.values() if before < at <= cut), default=0.0) for before, cut in pairwise(times)
    ]
    return Loss(cuts, len(sender.taken), len(lost), ages)


def _has_taken(sender: Sender, number: int) -> bool:
    return len(sender.taken) > number
