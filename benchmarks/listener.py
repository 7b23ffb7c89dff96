"""What a listener adds to one `decide` of Optimizely's Python SDK: ours, and the copied example that posts inline.

Rounds alternate in one process, in an order that changes, so that all meet the same machine; what takes the posts has
the other core. Every decision is of another person, so ours has nothing to leave out. `CPU` counts all threads of the
process, until the last exposure has arrived. Events to Optimizely are off: their thread would blur the picture. The
example is the widely copied one, with the four arguments that the SDK really gives.
"""

from __future__ import annotations

import argparse
import importlib
import json
import multiprocessing
import os
import statistics
import sys
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import requests

from heap_export.optimizely import DecisionListener
from tests.support.http_server import Handler, serving
from tests.support.optimizely_calls import NoEvents
from tests.support.optimizely_sdk import datafile, install_optimizely

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.connection import Connection

SERVER_CORE, DECIDING_CORE = 0, 1
WARM_UP = 2000  # decisions in front of each round: a core that waited for answers is slow at first


class Taking(Handler):
    """Takes whatever is posted."""

    def answer(self) -> None:
        self.body()
        body = b'{"accepted":0,"repeated":0,"skipped":0,"refused":[]}'
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def serve(told: Connection) -> None:
    os.sched_setaffinity(0, {SERVER_CORE})
    with serving(Taking) as address:
        told.send(address)
        told.recv()


def inline(address: str) -> Callable[..., None]:
    """The copied example."""

    def listener(kind: str, user_id: str, _: Any, info: dict[str, Any]) -> None:
        if kind == "flag":
            properties = {name: info[name] for name in ("flag_key", "variation_key", "rule_key", "enabled")}
            event = {"app_id": "1", "identity": user_id, "event": "Experiment Viewed", "properties": properties}
            requests.post(f"{address}/api/track", json=event, timeout=10)

    return listener


@dataclass
class Way:
    """A client with a listener or without, and how long each `decide` took in each round, in microseconds.

    `end` returns when nothing is under way any more.
    """

    name: str
    client: Any
    decides: int
    end: Callable[[], object] = lambda: None
    rounds: list[list[float]] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)

    def round(self, number: int, idle: Any) -> None:
        took = []
        for at in range(WARM_UP):
            idle.create_user_context(f"user-{at}").decide("checkout", ["DISABLE_DECISION_EVENT"])
        cpu = time.process_time()
        for at in range(self.decides):
            user = self.client.create_user_context(f"user-{number}-{at}")
            started = time.perf_counter()
            user.decide("checkout", ["DISABLE_DECISION_EVENT"])
            took.append((time.perf_counter() - started) * 1e6)
        self.end()
        self.cpu.append((time.process_time() - cpu) * 1e6 / self.decides)
        self.rounds.append(took)

    def of(self, figure: Callable[[list[float]], float]) -> float:
        """The median over the rounds."""
        return statistics.median(figure(took) for took in self.rounds)


def p99(took: list[float]) -> float:
    return statistics.quantiles(took, n=100)[98]


def client_with(listener: Callable[..., object] | None) -> Any:
    optimizely, enums = (importlib.import_module(f"optimizely.{name}") for name in ("optimizely", "helpers.enums"))
    client = optimizely.Optimizely(json.dumps(datafile()), event_dispatcher=NoEvents())
    if listener is not None:
        client.notification_center.add_notification_listener(enums.NotificationTypes.DECISION, listener)
    return client


def measure(address: str, rounds: int, decides: int, posts: int) -> None:
    ours = DecisionListener(address, key="secret", most_waiting=2 * decides)
    bare = client_with(None)
    ways = [
        Way("no listener", bare, decides),
        Way("DecisionListener", client_with(ours), decides, lambda: ours.flush(60)),
        Way("posting inline", client_with(inline(address)), posts),
    ]
    for number in range(rounds + 1):
        for at in range(len(ways)):
            way = ways[(number + at) % len(ways)]
            way.round(number, bare)
            if not number:  # all are warm now
                way.rounds.clear()
                way.cpu.clear()
    assert ours.dropped == 0
    report(ways)


def report(ways: list[Way]) -> None:
    bare, ours, example = ways
    print(f"{'µs per decide':18} {'p50':>9} {'mean':>9} {'p99':>9} {'adds p50':>10} {'adds mean':>10} {'adds CPU':>10}")
    for way in ways:
        p50, mean = way.of(statistics.median), way.of(statistics.fmean)
        added = (
            p50 - bare.of(statistics.median),
            mean - bare.of(statistics.fmean),
            statistics.median(way.cpu) - statistics.median(bare.cpu),
        )
        print(f"{way.name:18} {p50:9.1f} {mean:9.1f} {way.of(p99):9.1f}", *(f"{more:10.1f}" for more in added))
    adds = [way.of(statistics.fmean) - bare.of(statistics.fmean) for way in (ours, example)]
    print(f"posting inline adds {adds[1] / adds[0]:.0f} times as much as DecisionListener (means)")
    print(f"{len(ours.rounds)} rounds of {ours.decides} and {example.decides} decisions")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--decides", type=int, default=5000, help="a round, with our listener and with none")
    parser.add_argument("--posts", type=int, default=500, help="a round, with the example")
    parser.add_argument("--rounds", type=int, default=7)
    chosen = parser.parse_args()
    sys.path.append(str(install_optimizely()))
    ours, theirs = multiprocessing.Pipe()
    server = multiprocessing.get_context("spawn").Process(target=serve, args=(theirs,), daemon=True)
    server.start()
    os.sched_setaffinity(0, {DECIDING_CORE})
    measure(ours.recv(), chosen.rounds, chosen.decides, chosen.posts)
    ours.send(None)
    server.join()


if __name__ == "__main__":
    main()
