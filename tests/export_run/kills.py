"""Intake, deliverers and Redis killed in turn while Heap fails in every way; then a look at what became of all."""

from __future__ import annotations

import itertools
import json
import random
import tempfile
import time
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from event_stream import keys
from tests.export_run.distinct import APP, KEY, ExportRunError, wait_until_at_rest
from tests.export_run.sender import NUMBER, POISON, Sender
from tests.support import processes
from tests.support.fake_heap_api import FakeHeap, fake_heap, refuses
from tests.support.faulty_server import (
    Answer,
    Fault,
    Request,
    answers,
    every_other,
    hangs_up,
    slow,
    takes_and_hangs_up,
)
from tests.support.processes import Program, StoreServer, running_store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_THREADS = 4
_AT_REST_SECONDS = 150.0
_PATIENCE = 1.0  # seconds that Heap may take for an answer


@dataclass
class Tally:
    """Numbers of records, but for `kills`, `statuses` (of answers to senders) and `calls` (that Heap got)."""

    kills: Counter[str] = field(default_factory=Counter)
    statuses: Counter[int] = field(default_factory=Counter)
    taken: int = 0
    pending: int = 0
    delivered: int = 0
    dead: Counter[str] = field(default_factory=Counter)
    sent_again: int = 0
    calls: int = 0
    seconds: float = 0.0

    def table(self) -> str:
        killed = ", ".join(f"{who} {number}" for who, number in self.kills.items())
        told = ", ".join(f"{status or 'none'} {number}" for status, number in self.statuses.most_common())
        rows = [
            ("killed, in seconds", f"{killed}; {self.seconds:.0f}"),
            ("answers to senders, each sent again until 200", told),
            ("records answered 200", str(self.taken)),
            ("records in no answer at the end", str(self.pending)),
            ("events at Heap, in calls of both kinds", f"{self.delivered}, {self.calls}"),
            ("dead letters", ", ".join(f"{reason} {number}" for reason, number in self.dead.items())),
            ("events sent more than once, one event each at Heap", str(self.sent_again)),
            ("answered 200 and lost; beyond Heap's limits", "0; 0"),
        ]
        return "\n".join(["| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows)])


class Run:
    """`kills` kills from `seed`, `rate` requests a second, one to ten records each."""

    def __init__(self, kills: int, *, seed: int, rate: float) -> None:
        self.tally = Tally()
        self._kills = kills
        self._seed = seed
        self._rate = rate
        self._chance = random.Random(seed)  # noqa: S311 - to be repeated, not to be secret
        self._programs: dict[str, Program] = {}

    def play(self, tell: Callable[[str], object]) -> None:
        """Raises `ExportRunError`."""
        begun = time.monotonic()
        with ExitStack() as stack:
            heap = stack.enter_context(fake_heap())
            store = stack.enter_context(running_store("--appendfsync", "always"))
            directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="export")))
            settings = {
                "REDIS_URL": store.url,
                "HEAP_APP_ID": APP,
                "HEAP_API_BASE": heap.address,
                "HEAP_API_TIMEOUT": str(_PATIENCE),
                "EVENTS_API_KEY": KEY,
            }
            own = {"intake": {"DELIVER_HERE": "false"}, "deliverer": {}, "other deliverer": {}}

            def start(name: str) -> None:
                program = processes.heap_export(directory, settings | own[name])
                self._programs[name] = stack.enter_context(program)

            for name in own:
                start(name)
            tell(f"{time.monotonic() - begun:6.1f} s  all are there")
            faults = self._faults(heap)
            victims = itertools.cycle(("intake", "deliverer", "Redis", "intake", "other deliverer", "Redis"))
            with Sender(self._intake, KEY, rate=self._rate, threads=_THREADS, seed=self._seed) as sender:
                for number, victim in zip(range(self._kills), victims, strict=False):
                    name, fault = next(faults)
                    heap.fault = _with_refusals(fault)
                    time.sleep(self._chance.uniform(0.3, 3.0))
                    self._kill(victim, store, start)
                    passed = time.monotonic() - begun
                    tell(f"{passed:6.1f} s  kill {number + 1}: {victim}; Heap {name}, {len(heap.events)} arrived")
                heap.fault = _with_refusals(None)
                time.sleep(1)
            wait_until_at_rest(store, seconds=_AT_REST_SECONDS, tell=lambda left: tell(f"{left} wait"))
            self.tally.seconds = time.monotonic() - begun
            self._compare(sender, heap, _dead(store))

    def _intake(self) -> str:
        return self._programs["intake"].address

    def _kill(self, victim: str, store: StoreServer, start: Callable[[str], None]) -> None:
        self.tally.kills[victim] += 1
        if victim == "Redis":
            store.kill()
            time.sleep(self._chance.uniform(0, 0.5))
            store.start()
        else:
            self._programs[victim].kill()
            time.sleep(self._chance.uniform(0, 0.5))
            start(victim)

    def _faults(self, heap: FakeHeap) -> Iterator[tuple[str, Fault | None]]:
        """Half of the time Heap works, else it fails in one way after the other."""
        faults = _faults(heap)
        while True:
            self._chance.shuffle(faults)
            for fault in faults:
                yield fault
                yield "works", None

    def _compare(self, sender: Sender, heap: FakeHeap, dead: dict[int, str]) -> None:
        arrived = Counter(taken.entry["properties"][NUMBER] for taken in heap.events)
        tally = self.tally
        tally.statuses, tally.taken, tally.pending = sender.statuses, len(sender.taken), len(sender.pending)
        tally.delivered, tally.dead = len(heap.events), Counter(dead.values())
        tally.sent_again = sum(times > 1 for times in heap.came.values())
        tally.calls = len(heap.requests)
        told = sender.taken.keys() | sender.pending
        problems = {
            "answered 200, and neither delivered nor dead": [
                n for n in sender.taken if n not in arrived and n not in dead
            ],
            "delivered twice": [n for n, times in arrived.items() if times > 1],
            "delivered and dead": [n for n in arrived if n in dead],
            "delivered or dead, and sent by nobody": [n for n in (*arrived, *dead) if n not in told],
            "dead, though Heap would have taken them": [n for n in dead if n not in sender.poisoned],
            "beyond Heap's limits": heap.over_limit,
            "not as Heap wants them": heap.refused,
        }
        found = [f"{what}: {len(some)}, such as {list(some)[:5]}" for what, some in problems.items() if some]
        if set(sender.statuses) - {0, 200, 503}:
            found.append(f"answers other than 200 and 503: {dict(sender.statuses)}")
        if found:
            logs = (f"--- {name}\n{program.log()[-3000:]}" for name, program in self._programs.items())
            raise ExportRunError("\n".join([*found, *logs]))


def _faults(heap: FakeHeap) -> list[tuple[str, Fault | None]]:
    return [
        ("answers 500", answers(500)),
        ("answers 429", answers(429, {"Retry-After": "1"})),
        ("hangs up", hangs_up),
        ("takes and hangs up", takes_and_hangs_up(heap)),
        ("is silent for too long", slow(2 * _PATIENCE)),
        ("fails half the time", every_other(answers(503))),
    ]


def _with_refusals(fault: Fault | None) -> Fault:
    """Poisoned records are refused, whatever else Heap does."""
    refuse = refuses(lambda entry: POISON in entry.get("properties", {}))

    def both(request: Request) -> Answer | None:
        return refuse(request) or (fault(request) if fault is not None else None)

    return both


def _dead(store: StoreServer) -> dict[int, str]:
    """The reason of each dead letter, by its record's number."""
    with store.client() as client:
        rows: Any = client.xrange(keys.dead(f"heap-{APP}"))
    bodies = ((json.loads(fields[b"body"]), fields[b"reason"].decode()) for _, fields in rows)
    return {body["event"]["properties"][NUMBER]: reason for body, reason in bodies}
