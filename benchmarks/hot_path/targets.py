"""The ratios that are wanted, and whether they are had."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks.hot_path.samples import Round, Sample, median

if TYPE_CHECKING:
    from collections.abc import Callable

    Read = Callable[[Sample], float | None]

NGINX, REDIS_BENCHMARK, FASTAPI, NODE = "nginx", "redis-benchmark", "fastapi", "node"
OURS, LARGE, CLUSTER, SPREAD = "ours", "ours-large", "ours-cluster", "ours-cluster-spread"

# Whose ratios are near enough to what is wanted that they are measured by turns.
PAIRS = ((OURS, NGINX), (OURS, REDIS_BENCHMARK), (LARGE, OURS), (CLUSTER, OURS))


@dataclass(frozen=True)
class Target:
    """`at_least` and `stretch` are lower limits, or upper ones with `at_most`. `of`: read of one round."""

    label: str
    at_least: float
    stretch: float
    of: Callable[[Round], float | None]
    at_most: bool = False
    digits: int = 2

    def measured(self, rounds: list[Round], turns: list[Round]) -> float | None:
        """The median of the ratios of turns, or where there are none, of rounds.

        What slows the machine down for a while slows both sides of a turn.
        """
        found = median(self.of(samples) for samples in turns)
        return median(self.of(samples) for samples in rounds) if found is None else found

    def verdict(self, measured: float | None) -> str:
        if measured is None:
            return "not measured"
        if self._meets(measured, self.stretch):
            return "met, stretch too"
        return "met" if self._meets(measured, self.at_least) else "**missed**"

    def _meets(self, measured: float, limit: float) -> bool:
        return measured <= limit if self.at_most else measured >= limit


def rate(sample: Sample) -> float:
    return sample.saturation.rate


def _cpu(sample: Sample) -> float | None:
    return sample.cpu_us


def _p99_at_10_000(sample: Sample) -> float | None:
    return sample.p99_at(10_000)


def ratio(name: str, other: str, read: Read) -> Callable[[Round], float | None]:
    def of(samples: Round) -> float | None:
        if name not in samples or other not in samples:
            return None
        one, two = read(samples[name]), read(samples[other])
        return one / two if one is not None and two else None

    return of


def _memory(samples: Round) -> float | None:
    return samples[OURS].memory_mb if OURS in samples else None


def targets(members_large: int) -> list[Target]:
    return [
        Target("req/s, share of nginx's static `true`", 0.65, 0.80, ratio(OURS, NGINX, rate)),
        Target("CPU per request, times nginx's (at most)", 1.6, 1.3, ratio(OURS, NGINX, _cpu), at_most=True),
        Target("req/s, times the plain FastAPI + redis-py route", 15, 20, ratio(OURS, FASTAPI, rate), digits=1),
        Target("req/s, times the Node http + ioredis service", 2, 4, ratio(OURS, NODE, rate)),
        Target(
            "req/s, times redis-benchmark SISMEMBER without pipelining, same connections",
            *(1.0, 1.2),
            ratio(OURS, REDIS_BENCHMARK, rate),
        ),
        Target(
            "p99 at 10,000 req/s (open loop), times nginx's (at most)",
            *(2, 1.3),
            ratio(OURS, NGINX, _p99_at_10_000),
            at_most=True,
        ),
        Target(
            f"req/s with a list of {members_large:,} members, share of that with 1,000",
            *(0.95, 1.0),
            ratio(LARGE, OURS, rate),
        ),
        Target("req/s on a 3-node cluster, share of a single node", 0.95, 1.0, ratio(CLUSTER, OURS, rate)),
        Target("memory of a worker under load, MB (at most)", 80, 60, _memory, at_most=True, digits=0),
    ]
