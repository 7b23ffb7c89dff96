"""Who is measured, on which store, with which lists: one round gives each a turn."""

from __future__ import annotations

import contextlib
from functools import partial
from typing import TYPE_CHECKING

from attribute_lists import keys
from benchmarks.hot_path import contenders, load, report, samples, targets
from benchmarks.hot_path.contenders import Contender
from benchmarks.hot_path.questions import ACCOUNT, Lists
from benchmarks.hot_path.stores import ClusterStore, SingleStore, fill

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SMALL = Lists(("heap_bench",), 1000)


def labels(members_large: int) -> dict[str, str]:
    """The contenders by name, in the order of their turns."""
    return {
        targets.NGINX: "nginx, static true",
        targets.OURS: "ours",
        targets.LARGE: f"ours, list of {members_large:,}",
        targets.CLUSTER: "ours, cluster of 3",
        targets.SPREAD: "ours, cluster of 3, spread",
        targets.REDIS_BENCHMARK: "redis-benchmark SISMEMBER",
        targets.NODE: "Node http + ioredis",
        targets.FASTAPI: "FastAPI + redis-py",
    }


class LineUp:
    """The stores are up; the servers start for their turns."""

    def __init__(self, store: SingleStore, servers: dict[str, Contender], named: dict[str, str]) -> None:
        self.store = store
        self._servers = servers
        self._labels = named

    def round(self, names: list[str], *, seconds: int) -> samples.Round:
        found: samples.Round = {}
        for name in names:
            if name == targets.REDIS_BENCHMARK:
                key = keys.members(ACCOUNT, SMALL.names[0])
                found[name] = samples.take_redis_benchmark(self.store.port, key, SMALL.members, seconds=seconds)
            else:
                found[name] = samples.take(self._servers[name], seconds=seconds)
            print("  " + report.progress(self._labels[name], found[name]), flush=True)
        return found

    def by_turns(self, one: str, other: str, *, turns: int) -> list[samples.Round]:
        """Both run all the time, and each is measured for a moment, again and again, so long as the other is idle."""
        found: list[samples.Round] = []
        with contextlib.ExitStack() as started:
            running = {
                name: started.enter_context(self._servers[name].start())
                for name in (one, other)
                if name != targets.REDIS_BENCHMARK
            }
            for name, server in running.items():
                load.wrk(server.address, self._servers[name].lists, seconds=samples.WARM_UP_SECONDS)
            for turn in range(turns):
                names = (one, other) if turn % 2 else (other, one)
                found.append({name: self._turn(name, running, paced=targets.NGINX in names) for name in names})
        return found

    def _turn(self, name: str, running: dict[str, contenders.Running], *, paced: bool) -> samples.Sample:
        if name == targets.REDIS_BENCHMARK:
            key = keys.members(ACCOUNT, SMALL.names[0])
            return samples.take_redis_benchmark(self.store.port, key, SMALL.members, seconds=1)
        return samples.take_turn(self._servers[name], running[name], paced=paced)


@contextlib.contextmanager
def line_up(directory: Path, names: list[str], members_large: int) -> Iterator[LineUp]:
    """Start the stores that `names` need, and fill them."""
    single, cluster = SingleStore(directory / "single"), ClusterStore(directory / "cluster")
    large, spread = Lists(("heap_bench_large",), members_large), SMALL
    with contextlib.ExitStack() as started:
        started.callback(single.stop)
        single.start()
        fill(single, SMALL)
        if targets.LARGE in names:
            print(f"filling a list of {members_large:,} members", flush=True)
            fill(single, large)
        if {targets.CLUSTER, targets.SPREAD} & set(names):
            started.callback(cluster.stop)
            cluster.start()
            spread = Lists(cluster.names_on_every_node(), SMALL.members)
            fill(cluster, SMALL)
            fill(cluster, spread)
        ours_single = partial(contenders.ours, directory, single)
        ours_cluster = partial(contenders.ours, directory, cluster)
        servers = (
            Contender(targets.NGINX, SMALL, partial(contenders.nginx, directory), None),
            Contender(targets.OURS, SMALL, ours_single, single),
            Contender(targets.LARGE, large, ours_single, single),
            Contender(targets.CLUSTER, SMALL, ours_cluster, cluster),
            Contender(targets.SPREAD, spread, ours_cluster, cluster),
            Contender(targets.NODE, SMALL, partial(contenders.node, directory, single), single),
            Contender(targets.FASTAPI, SMALL, partial(contenders.plain_fastapi, directory, single), single),
        )
        yield LineUp(single, {server.name: server for server in servers}, labels(members_large))
