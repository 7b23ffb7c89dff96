"""Two gateways under load, killed in turn while VWO fails in every way; then a look at what became of each event."""

from __future__ import annotations

import json
import random
import tempfile
import time
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx

from event_stream import keys
from gateway.event_queue import NAME
from tests.event_run.sender import BAD, Sender
from tests.support import processes
from tests.support.fake_vwo import (
    Answer,
    FakeVwo,
    Fault,
    Request,
    answers,
    fake_vwo,
    hangs_up,
    refuses,
    slow,
    takes_and_hangs_up,
)
from tests.support.faulty_server import every_other
from tests.support.http import get
from tests.support.processes import Program, StoreServer, running_store
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable

_THREADS = 4
_AT_REST_SECONDS = 150.0  # for a pause of 60 s and for what dead gateways had in hand


class EventRunError(AssertionError):
    """What was promised does not hold."""


@dataclass
class Tally:
    """Numbers of events, but for `kills`, `requests` (that VWO got) and `slowest` (seconds that a sender waited)."""

    kills: int = 0
    answered: Counter[str] = field(default_factory=Counter)
    unanswered: int = 0
    delivered: int = 0
    dead: Counter[str] = field(default_factory=Counter)
    duplicates: int = 0
    buffered_lost: int = 0
    requests: int = 0
    slowest: float = 0.0
    seconds: float = 0.0


class Run:
    """`kills` kills from `seed`, `rate` requests a second, one to ten events each."""

    def __init__(self, kills: int, *, seed: int, rate: float, fsync: str = "always") -> None:
        self.tally = Tally(kills=kills)
        self._seed = seed
        self._rate = rate
        self._fsync = fsync
        self._chance = random.Random(seed)  # noqa: S311 - to be repeated, not to be secret
        self._gateways: list[Program] = []

    def play(self, tell: Callable[[str], object]) -> None:
        """Raises `EventRunError`."""
        begun = time.monotonic()
        with ExitStack() as stack:
            vwo = stack.enter_context(fake_vwo())
            store = stack.enter_context(running_store("--appendfsync", self._fsync))
            directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="events")))
            settings = {
                "REDIS_URL": store.url,
                "VWO_BASE_URL": vwo.address,
                "FORWARD_EVENTS": "true",
                "FLUSH_EVENTS_INTERVAL": "0.2",
                "EVENTS_PER_REQUEST": "50",
            }
            for number in range(2):
                self._gateways.append(_started(stack, directory, settings))
                tell(f"gateway {number + 1} is at {self._gateways[-1].address}")
            with Sender(self._addresses, rate=self._rate, threads=_THREADS, seed=self._seed) as sender:
                for number in range(self.tally.kills):
                    name, fault = self._chance.choice(_faults(vwo))
                    vwo.fault = _with_refusals(fault)
                    time.sleep(self._chance.uniform(0.3, 1.5))
                    self._gateways[number % 2].kill()
                    time.sleep(self._chance.uniform(0, 0.5))
                    self._gateways[number % 2] = _started(stack, directory, settings)
                    tell(f"{time.monotonic() - begun:6.1f} s  kill {number + 1}, VWO {name}, {len(vwo.taken)} arrived")
            vwo.fault = _with_refusals(None)
            self._wait_until_at_rest(store)
            self.tally.seconds = time.monotonic() - begun
            self._compare(sender, vwo, _dead(store))

    def _addresses(self) -> list[str]:
        return [gateway.address for gateway in self._gateways if gateway.process.is_alive()]

    def _wait_until_at_rest(self, store: StoreServer) -> None:
        with store.client() as client:
            until(
                lambda: client.xlen(keys.entries(NAME)) == 0,
                seconds=_AT_REST_SECONDS,
                what="everything to be delivered",
            )

    def _compare(self, sender: Sender, vwo: FakeVwo, dead: dict[str, str]) -> None:
        arrived = Counter(vwo.messages)
        tally = self.tally
        tally.answered = Counter(sender.told.values())
        tally.unanswered = len(sender.unanswered)
        tally.delivered = len(arrived)
        tally.dead = Counter(dead.values())
        tally.duplicates = arrived.total() - len(arrived)
        tally.requests = len(vwo.requests)
        tally.slowest = sender.slowest
        gone = [message for message in sender.told if message not in arrived and message not in dead]
        lost = [message for message in gone if sender.told[message] == "stored"]
        tally.buffered_lost = len([message for message in gone if sender.told[message] == "buffered"])
        wrongly_dead = [message for message in dead if not message.startswith(BAD)]
        invented = [message for message in arrived if message not in sender.told and message not in sender.unanswered]
        problems = {
            "stored, and neither delivered nor dead": lost,
            "dead, though VWO would have taken them": wrongly_dead,
            "delivered, and sent by nobody": invented,
            "refused by VWO, and delivered": [message for message in arrived if message.startswith(BAD)],
        }
        found = [f"{what}: {len(some)}, such as {some[:5]}" for what, some in problems.items() if some]
        if set(sender.statuses) - {200}:
            found.append(f"answers other than 200: {dict(sender.statuses)}")
        if set(tally.answered) - {"stored", "buffered"}:
            found.append(f"other fates: {dict(tally.answered)}")
        if found:
            raise EventRunError("\n".join([*found, *(gateway.log() for gateway in self._gateways)]))


def _started(stack: ExitStack, directory: Path, settings: dict[str, str]) -> Program:
    """A gateway that serves: its port is there a little earlier, and who connects then waits."""
    gateway = stack.enter_context(processes.gateway(directory, settings))
    until(lambda: get(f"{gateway.address}/readyz").status_code == httpx.codes.OK, what="the gateway to serve")
    return gateway


def _faults(vwo: FakeVwo) -> list[tuple[str, Fault | None]]:
    return [
        ("works", None),
        ("answers 500", answers(500)),
        ("answers 429", answers(429, {"Retry-After": "1"})),
        ("hangs up", hangs_up),
        ("takes and hangs up", takes_and_hangs_up(vwo)),
        ("is slow", slow(0.5)),
        ("fails half the time", every_other(answers(503))),
    ]


def _with_refusals(fault: Fault | None) -> Fault:
    """Bad events are refused, whatever else VWO does."""
    refuse = refuses(lambda event: str(event["d"]["msgId"]).startswith(BAD))

    def both(request: Request) -> Answer | None:
        return refuse(request) or (fault(request) if fault is not None else None)

    return both


def _dead(store: StoreServer) -> dict[str, str]:
    """The reason of each dead letter, by its event's id."""
    with store.client() as client:
        rows: Any = client.xrange(keys.dead(NAME))
    return {json.loads(fields[b"body"])["d"]["msgId"]: fields[b"reason"].decode() for _, fields in rows}


def table(tally: Tally) -> str:
    """For people, and for the documentation."""
    answered = ", ".join(f"{fate} {number}" for fate, number in tally.answered.most_common())
    rows = [
        ("gateways killed", f"{tally.kills}, two in turn, in {tally.seconds:.0f} s"),
        ("events answered 200, by what the answer said", answered),
        ("events without an answer (the gateway died)", str(tally.unanswered)),
        ("delivered, in so many requests", f"{tally.delivered}, {tally.requests}"),
        ("dead letters", ", ".join(f"{reason} {number}" for reason, number in tally.dead.items())),
        ("delivered more than once", f"{tally.duplicates} ({tally.duplicates / max(1, tally.delivered):.1%})"),
        ("stored and lost", "0"),
        ("buffered and lost", str(tally.buffered_lost)),
        ("longest that a sender waited", f"{tally.slowest * 1000:.0f} ms"),
    ]
    return "\n".join(["| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows)])
