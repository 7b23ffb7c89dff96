"""How long checks wait beside the worst requests, and beside none: `scripts/bench_stalls`.

Checks are asked at a steady rate, in an open loop, by a process of its own. For each request there are rounds of two
windows: one without it, and one in which it is sent again and again. A stall is the longest wait of a window; what is
told is the median over the rounds. heap-export answers no checks: there `/healthz` is asked. Beside it stands the
longest turn of the service's event loop in processor time, which does not depend on what else the machine does.

The service has a core of its own. On the other one whoever asks, and the store, go before whoever sends: otherwise a
check would wait for the sender's time slice, which is no fault of the service. That takes root.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import multiprocessing
import os
import statistics
import sys
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
from tests.support.probed_service import longest_turn, probed
from tests.support.processes import ROOT, running_store
from tests.support.waiting import until
from tests.support.worst_bodies import ACCOUNT, ONE, Worst, of_event, of_export, of_gateway

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from multiprocessing.connection import Connection

    from tests.support.processes import Program, StoreServer

SERVICE_CORE, OTHERS_CORE = 0, 1
WANTED = 4.0  # times an idle window's stall, at the most
RATE = 500.0  # checks a second
AFTER_SECONDS = 0.3  # what an answered request leaves to do still counts
CHECK = f"/check-attribute?attribute=alice&listId=heap_premium_users&accountId={ACCOUNT}"
HEAP_KEY = "events-key"


class Sent(NamedTuple):
    """The last answer to a request, and the seconds until it was there."""

    status: int
    fate: str
    seconds: float


class Asking(ClientProcess):
    """Asks `target` at a steady rate while the block runs."""

    def __init__(self, address: str, target: str) -> None:
        self._waits: list[tuple[float, float]] = []  # when a check was sent, and the seconds that it took
        job = {"address": address, "targets": [target], "rate": RATE}
        super().__init__("tests.support.load_client", job, self._note)

    def longest(self, begun: float) -> float:
        """Of the waits that began since then, those that are not over yet among them."""
        ended = time.monotonic()
        until(lambda: any(sent > ended for sent, _ in self._waits[-1:]), seconds=30, what="further checks")
        found = [took for sent, took in self._waits if begun <= sent <= ended]
        del self._waits[:-1]
        return max(found, default=0.0)

    def _note(self, told: tuple[int, float, float | None, int, str, str, float]) -> None:
        _, sent, answered, status, _, _, late = told
        if answered is not None and status == http.client.OK:
            self._waits.append((sent, answered - sent - late))


def go_first(pid: int) -> None:
    """Before all others on its core."""
    try:
        os.setpriority(os.PRIO_PROCESS, pid, -20)
    except PermissionError:
        sys.exit("error: run this as root: whoever asks must not wait for whoever sends")


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
    """The address of one in a process of its own."""
    ours, theirs = multiprocessing.Pipe()
    server = multiprocessing.get_context("spawn").Process(target=serve_vwo, args=(theirs,), daemon=True)
    server.start()
    try:
        yield ours.recv()
    finally:
        ours.send(None)
        server.join()


def measure(
    program: Program, target: str, requests: Iterable[Worst], store: StoreServer, options: argparse.Namespace
) -> None:
    """Print a line for each of `requests`."""
    os.sched_setaffinity(program.pid, {SERVICE_CORE})
    with Asking(program.address, target) as asking, store.client() as client:
        go_first(asking.pid)
        go_first(store.pid)
        asking.longest(0.0)  # once there are answers
        for worst in requests:
            if options.only not in worst.name:
                continue
            body = worst.make() if worst.make else None
            idle, beside, turns = [], [], []
            for _ in range(options.rounds):
                begun = time.monotonic()
                time.sleep(options.seconds)
                idle.append(asking.longest(begun))
                begun = time.monotonic()
                sent = send(program.address, worst, body, options.seconds)
                time.sleep(AFTER_SECONDS)
                beside.append(asking.longest(begun))
                turns.append(longest_turn(program.lines, begun))
                for stream in ("exposures", "events"):
                    client.xtrim(keys.entries(stream), maxlen=0)
            report(worst, sent, statistics.median(idle), statistics.median(beside), statistics.median(turns))


def send(address: str, worst: Worst, body: bytes | None, seconds: float = 0.0) -> Sent:
    """Again and again for so long, once at least."""
    begun = time.monotonic()
    while True:
        started = time.monotonic()
        with closing(http.client.HTTPConnection(address.removeprefix("http://"), timeout=60)) as connection:
            connection.request("GET" if body is None else "POST", worst.path, body, dict(worst.headers))
            answer = connection.getresponse()
            answer.read()
        now = time.monotonic()
        if now - begun > seconds:
            return Sent(answer.status, answer.headers.get("X-Events", ""), now - started)


def report(worst: Worst, sent: Sent, idle: float, beside: float, turn: float) -> None:
    mark = "" if beside / idle <= WANTED else ", **missed**"
    print(
        f"| {worst.name} | {sent.status} {sent.fate} | {sent.seconds * 1e3:.0f} | {beside * 1e3:.1f} | "
        f"{idle * 1e3:.1f} | {beside / idle:.1f}{mark} | {turn:.1f} |",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=0.5, help="of a window")
    parser.add_argument("--only", default="", help="requests whose name holds this")
    options: Any = parser.parse_args()
    os.sched_setaffinity(0, {OTHERS_CORE})
    print(f"| request | answer | after, ms | stall of checks, ms | idle, ms | times (at most {WANTED:g}) | turn, ms |")
    print("|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as place, vwo() as vwo_address:
        directory = Path(place)
        with running_store("--appendfsync", "everysec") as store:
            settings = {
                "REDIS_URL": store.url,
                "SETTINGS_FILE": str(ROOT / "examples" / "settings.json"),
                "VWO_BASE_URL": vwo_address,
                "FORWARD_EVENTS": "true",
                "EXPORT_EXPOSURES": "true",
                "FLUSH_EVENTS_INTERVAL": "0.05",
            }
            with probed("gateway", directory, settings) as program:
                send(program.address, Worst("the first event", ONE), of_event())  # what is loaded for it stays
                measure(program, CHECK, of_gateway(), store, options)
        with running_store("--appendfsync", "everysec") as store, fake_heap() as heap:
            settings = {
                "REDIS_URL": store.url,
                "HEAP_APP_ID": "1",
                "HEAP_API_BASE": heap.address,
                "EVENTS_API_KEY": HEAP_KEY,
                "STATSIG_WEBHOOK_SECRET": STATSIG_SECRET,
            }
            with probed("heap_export", directory, settings) as program:
                measure(program, "/healthz", of_export(HEAP_KEY, statsig_headers), store, options)


if __name__ == "__main__":
    main()
