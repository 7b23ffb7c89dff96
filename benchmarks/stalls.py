"""How long checks wait beside the worst bodies, and beside none: `scripts/bench_stalls`.

Checks are asked at a steady rate, in an open loop, by a process of its own. For each body there are rounds of two
windows: one without it, and one in which it is posted again and again. A stall is the longest wait of a window; what is
told is the median over the rounds. heap-export answers no checks: there `/healthz` is asked.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import multiprocessing
import os
import statistics
import tempfile
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from event_stream import keys
from tests.heap_export.conftest import STATSIG_SECRET
from tests.heap_export.statsig_webhook import headers as statsig_headers
from tests.support.client_process import ClientProcess
from tests.support.fake_heap_api import fake_heap
from tests.support.http_server import Handler, serving
from tests.support.processes import Program, gateway, heap_export, running_store
from tests.support.worst_bodies import ACCOUNT, Worst, of_export, of_gateway

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from multiprocessing.connection import Connection

    from tests.support.processes import StoreServer

SERVICE_CORE, OTHERS_CORE = 0, 1
WANTED = 4.0  # times an idle window's stall, at the most
RATE = 500.0  # checks a second
AFTER_SECONDS = 0.3  # what an answered body leaves to do still counts
CHECK = f"/check-attribute?attribute=alice&listId=heap_premium_users&accountId={ACCOUNT}"
HEAP_KEY = "events-key"


class Stall(NamedTuple):
    """Seconds, of each round. `status`: what the body is answered, `fate`: what became of its events."""

    worst: Worst
    idle: list[float]
    beside: list[float]
    took: float
    status: int
    fate: str

    @property
    def ratio(self) -> float:
        return statistics.median(self.beside) / statistics.median(self.idle)


class Asking(ClientProcess):
    """Asks `target` at a steady rate while the block runs."""

    def __init__(self, address: str, target: str) -> None:
        self._waits: list[tuple[float, float]] = []
        super().__init__(
            "tests.support.load_client", {"address": address, "targets": [target], "rate": RATE}, self._note
        )

    def longest(self, begun: float, ended: float) -> float:
        """Of what was asked between these moments."""
        deadline = time.monotonic() + 30
        while not any(sent > ended for sent, _ in self._waits[-1:]):
            if time.monotonic() > deadline:
                raise SystemExit("error: the checks came to an end")
            time.sleep(0.01)
        found = max(took for sent, took in self._waits if begun <= sent <= ended)
        self._waits = self._waits[-1:]
        return found

    def _note(self, told: tuple[int, float, float | None, int, str, str, float]) -> None:
        _, sent, answered, status, _, _, late = told
        if answered is None or status != http.client.OK:
            raise SystemExit(f"error: a check was answered {status}")
        self._waits.append((sent, answered - sent - late))


class Taking(Handler):
    """VWO, as far as batches of events go."""

    def answer(self) -> None:
        self.body()
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")


def serve_vwo(told: Connection) -> None:
    with serving(Taking) as address:
        told.send(address)
        told.recv()


@contextlib.contextmanager
def vwo() -> Iterator[str]:
    ours, theirs = multiprocessing.Pipe()
    server = multiprocessing.get_context("spawn").Process(target=serve_vwo, args=(theirs,), daemon=True)
    server.start()
    try:
        yield ours.recv()
    finally:
        ours.send(None)
        server.join()


def measure(
    program: Program, target: str, bodies: Iterable[Worst], store: StoreServer, options: argparse.Namespace
) -> None:
    os.sched_setaffinity(program.pid, {SERVICE_CORE})
    with Asking(program.address, target) as asking, store.client() as client:
        time.sleep(1)
        for worst in bodies:
            if options.only not in worst.name:
                continue
            body = worst.make() if worst.make else None
            stall = Stall(worst, [], [], 0.0, 0, "")
            for _ in range(options.rounds):
                begun = time.monotonic()
                time.sleep(options.seconds)
                stall.idle.append(asking.longest(begun, time.monotonic()))
                begun = time.monotonic()
                status, fate, took = post(program.address, worst, body, options.seconds)
                time.sleep(AFTER_SECONDS)
                stall.beside.append(asking.longest(begun, time.monotonic()))
                stall = stall._replace(status=status, fate=fate, took=took)
                for stream in ("exposures", "events"):
                    client.xtrim(keys.entries(stream), maxlen=0)
            report(stall)


def post(address: str, worst: Worst, body: bytes | None, seconds: float) -> tuple[int, str, float]:
    """Send it for `seconds`, once at least; status and fate of the last answer, and how long that took."""
    begun = time.monotonic()
    while True:
        started = time.monotonic()
        with closing(http.client.HTTPConnection(address.removeprefix("http://"), timeout=60)) as connection:
            connection.request("GET" if body is None else "POST", worst.path, body, dict(worst.headers))
            answer = connection.getresponse()
            answer.read()
        now = time.monotonic()
        if now - begun > seconds:
            return answer.status, answer.headers.get("X-Events", ""), now - started


def report(stall: Stall) -> None:
    idle, beside = (statistics.median(found) * 1e3 for found in (stall.idle, stall.beside))
    mark = "" if stall.ratio <= WANTED else " **missed**"
    answer = f"{stall.status} {stall.fate}".strip()
    print(
        f"| {stall.worst.name} | {answer} | {stall.took * 1e3:.0f} | {beside:.1f} | {idle:.1f} | "
        f"{stall.ratio:.1f}{mark} |",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.0, help="of a window")
    parser.add_argument("--only", default="", help="bodies whose name holds this")
    options: Any = parser.parse_args()
    os.sched_setaffinity(0, {OTHERS_CORE})
    print("| body | answer | it took, ms | stall of checks, ms | idle, ms | times idle |")
    print("|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as place, vwo() as vwo_address:
        directory = Path(place)
        with running_store("--appendfsync", "everysec") as store:
            settings = {
                "REDIS_URL": store.url,
                "VWO_BASE_URL": vwo_address,
                "FORWARD_EVENTS": "true",
                "EXPORT_EXPOSURES": "true",
                "FLUSH_EVENTS_INTERVAL": "0.05",
            }
            with gateway(directory, settings) as program:
                measure(program, CHECK, of_gateway(), store, options)
        with running_store("--appendfsync", "everysec") as store, fake_heap() as heap:
            settings = {
                "REDIS_URL": store.url,
                "HEAP_APP_ID": "1",
                "HEAP_API_BASE": heap.address,
                "EVENTS_API_KEY": HEAP_KEY,
                "STATSIG_WEBHOOK_SECRET": STATSIG_SECRET,
            }
            with heap_export(directory, settings) as program:
                bodies = of_export(HEAP_KEY, statsig_headers)
                measure(program, "/healthz", bodies, store, options)


if __name__ == "__main__":
    main()
