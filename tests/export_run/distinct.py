"""Exposures with heavy repetition from several processes to two that deliver; then a look at what Heap got."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from event_stream import keys
from tests.export_run.exposer import FLAGS, LABEL, Plan, person, variation
from tests.support import processes
from tests.support.fake_heap_api import FakeHeap, Limits, fake_heap, in_order
from tests.support.processes import ROOT, environment, running_store
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.processes import StoreServer

APP, KEY = "123456", "key-of-the-run"
_DELIVERERS = 2


class ExportRunError(AssertionError):
    """What was promised does not hold."""


@dataclass
class Distinct:
    """`told`: exposures that were told in all; `distinct`: those that differ; `calls`: requests that Heap got."""

    told: int
    distinct: int
    senders: int
    calls: int = 0
    told_seconds: float = 0.0
    seconds: float = 0.0

    def table(self) -> str:
        rows = [
            ("exposures told, by so many processes", f"{self.told}, {self.senders}"),
            ("distinct ones (person, flag, variation)", str(self.distinct)),
            ("at Heap, each exactly once", str(self.distinct)),
            ("processes that deliver, calls to Heap", f"{_DELIVERERS}, {self.calls}"),
            ("all told after, all delivered after", f"{self.told_seconds:.0f} s, {self.seconds:.0f} s"),
            ("beyond Heap's limits, out of order", "0, 0"),
        ]
        return "\n".join(["| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows)])


def run(
    exposures: int,
    *,
    people: int,
    senders: int,
    seed: int,
    limits: Limits | None = None,
    tell: Callable[[str], object] = lambda _: None,
) -> Distinct:
    """`limits`: Heap's, None for the real ones. Raises `ExportRunError`."""
    limits = limits or Limits()
    with ExitStack() as stack:
        heap = stack.enter_context(fake_heap(limits=limits))
        store = stack.enter_context(running_store("--appendfsync", "everysec"))
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="export")))
        settings = {
            "REDIS_URL": store.url,
            "HEAP_APP_ID": APP,
            "HEAP_API_BASE": heap.address,
            "EVENTS_API_KEY": KEY,
        }
        set_limits(store, heap)
        programs = [stack.enter_context(processes.heap_export(directory, settings)) for _ in range(_DELIVERERS)]
        addresses = [program.address for program in programs]
        begun = time.monotonic()
        plans = [
            Plan(addresses[number % 2 :] + addresses[: number % 2], KEY, seed + number, exposures // senders, people)
            for number in range(senders)
        ]
        at_work = [_started(plan) for plan in plans]
        flags = [max(told) for told in zip(*(_told(process) for process in at_work), strict=True)]
        found = Distinct(exposures, sum(flags), senders, told_seconds=time.monotonic() - begun)
        tell(f"{found.told_seconds:.0f} s: all told, {len(heap.events)} of {found.distinct} delivered")
        wait_until_at_rest(store, seconds=600, tell=lambda left: tell(f"{left} wait"))
        found.seconds, found.calls = time.monotonic() - begun, len(heap.requests)
        _compare(heap, flags)
    return found


def set_limits(store: StoreServer, heap: FakeHeap) -> None:
    """Let the integration that the environment makes know of limits other than Heap's own ones."""
    if heap.limits == Limits():
        return
    made = {
        "name": "default",
        "app_id": APP,
        "base": heap.address,
        "events_per_minute": heap.limits.of_app,
        "events_per_minute_of_person": heap.limits.of_person,
    }
    with store.client() as client:
        client.hset("cg:heap:integrations", "default", json.dumps(made))


def wait_until_at_rest(store: StoreServer, *, seconds: float, tell: Callable[[int], object] = lambda _: None) -> None:
    """Wait until nothing waits for Heap any more."""
    due = time.monotonic()
    with store.client() as client:

        def is_at_rest() -> bool:
            nonlocal due
            left = client.xlen(keys.entries(f"heap-{APP}"))
            if left and time.monotonic() >= due:
                tell(int(left))
                due = time.monotonic() + 10
            return not left

        until(is_at_rest, seconds=seconds, what="everything to be delivered")


def _started(plan: Plan) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.export_run.exposer", json.dumps(plan)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=environment({}))


def _told(process: subprocess.Popen[str]) -> list[int]:
    out, _ = process.communicate()
    if process.returncode:
        raise ExportRunError(f"an application ended with {process.returncode}")
    found: list[int] = json.loads(out)
    return found


def _compare(heap: FakeHeap, flags: list[int]) -> None:
    """`flags`: how many of each person were told, in their order."""
    assert max(flags) <= FLAGS
    events, users = in_order(heap.events), in_order(heap.users)
    wrong = []
    for number, count in enumerate(flags):
        expected = [(f"flag-{flag}", variation(number, flag)) for flag in range(count)]
        about = [event["properties"] for event in events.get(person(number), [])]
        if [(one["flag_key"], one["variation_key"]) for one in about] != expected:
            wrong.append(f"events of {person(number)}: {about}")
        known = [pair for user in users.get(person(number), []) for pair in user["properties"].items()]
        if known != [(f"[{LABEL}] {flag}", shown) for flag, shown in expected]:
            wrong.append(f"user properties of {person(number)}: {known}")
    if more := {key: times for key, times in heap.came.items() if times > 1}:
        wrong.append(f"{len(more)} events came more than once")
    wrong += heap.over_limit[:5] + heap.refused[:5]
    if wrong:
        raise ExportRunError(f"{len(wrong)} differ:\n" + "\n".join(wrong[:10]))
