"""One round of what else SDKs ask: each contender in its turn, started anew with a store of its own."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import TYPE_CHECKING

import httpx

from benchmarks.hot_path import calls, contenders, load, report, samples
from benchmarks.hot_path.stores import SingleStore, fill
from tests.support.geoip import place, write_database

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

_NOT_STORED = ("events_buffered_total", "events_dropped_total")


class Calls:
    """The contenders' files are there, and somebody who takes VWO's events; the servers start for their turns."""

    def __init__(self, directory: Path, vwo: str) -> None:
        self._directory = directory
        self._settings = {
            "SETTINGS_FILE": str(directory / "settings.json"),
            "GEOIP_DATABASE": str(directory / "places.mmdb"),
            "FORWARD_EVENTS": "true",
            "VWO_BASE_URL": vwo,
        }

    def round(self, names: Sequence[str], *, seconds: int) -> samples.Round:
        found: samples.Round = {}
        for name in names:
            found[name] = self._turn(name, seconds)
            print("  " + report.progress(calls.LABELS[name], found[name]), flush=True)
        return found

    def _turn(self, name: str, seconds: int) -> samples.Sample:
        """As many as it takes from many connections, then from one."""
        asked = calls.requests(name)
        file = self._directory / f"{name}.requests"
        file.write_bytes(b"\0".join(request.raw for request in asked))
        with self._serving(name) as server:
            for request in asked[:2]:
                request.check(server.address)
            load.wrk_requests(server.address, file, seconds=samples.WARM_UP_SECONDS)
            found = samples.saturate(
                server.pid, lambda: load.wrk_requests(server.address, file, seconds=seconds), seconds=seconds
            )
            alone = load.wrk_requests(server.address, file, seconds=max(1, seconds // 2), connections=1)
            lost = 0 if name in calls.OF_NGINX else _not_stored(server.address)
        saturation = found.saturation
        failed = saturation.failed + alone.failed + lost
        return replace(found, saturation=saturation._replace(failed=failed), alone=alone)

    @contextlib.contextmanager
    def _serving(self, name: str) -> Iterator[contenders.Running]:
        if name in calls.OF_NGINX:
            with contenders.nginx(self._directory) as server:
                yield server
            return
        store = SingleStore(self._directory / "store")
        with contextlib.ExitStack() as started:
            started.callback(store.stop)
            store.start()
            fill(store, calls.LIST)
            yield started.enter_context(contenders.ours(self._directory, store, self._settings))


@contextlib.contextmanager
def calls_line_up(directory: Path) -> Iterator[Calls]:
    """Whoever gets the events, an nginx that answers 200, is on the core of the load."""
    directory.mkdir()
    (directory / "settings.json").write_bytes(calls.settings())
    write_database(directory / "places.mmdb", {calls.NETWORK: place("United Kingdom", city=calls.CITY)})
    elsewhere = directory / "vwo"
    elsewhere.mkdir()
    with contenders.nginx(elsewhere, measured=False) as vwo:
        yield Calls(directory, vwo.address)


def _not_stored(address: str) -> int:
    """Events whose sender was not told `stored`."""
    lines = httpx.get(f"{address}/metrics").text.splitlines()
    counted = (line for line in lines if line.startswith(tuple(f"cohort_gateway_{piece}" for piece in _NOT_STORED)))
    return sum(int(float(line.rpartition(" ")[2])) for line in counted)
