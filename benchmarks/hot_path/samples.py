"""One contender's turn, and what its turns come to over all rounds."""

from __future__ import annotations

import statistics
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from benchmarks.hot_path import contenders, load, machine, questions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from benchmarks.hot_path.contenders import Contender
    from benchmarks.hot_path.open_loop import Outcome

RATES = (2_000, 10_000)
WARM_UP_SECONDS = 1

_ROOM = 1.1  # who saturates below this much of a fixed rate is not asked at it: its queue would only grow
_KEPT_UP = 0.99


@dataclass(frozen=True)
class Sample:
    """What one turn measured; None where it can't be.

    `commands`: membership commands of the store per answer. `foreign`: the share of the worker's core that others had.
    `alone`: what a single connection gets.
    """

    saturation: load.Saturation
    cpu_us: float | None = None
    busy: float | None = None
    memory_mb: float | None = None
    commands: float | None = None
    foreign: float | None = None
    paced: dict[int, Outcome] = field(default_factory=dict)
    alone: load.Saturation | None = None

    @property
    def bad_answers(self) -> int:
        return self.saturation.failed + sum(outcome.wrong for outcome in self.paced.values())

    def p99_at(self, rate: int) -> float | None:
        return self.paced[rate].p99_ms if rate in self.paced else None

    def p50_at(self, rate: int) -> float | None:
        return self.paced[rate].p50_ms if rate in self.paced else None


Round = dict[str, Sample]


def median(values: Iterable[float | None]) -> float | None:
    """Of those that there are."""
    found = [value for value in values if value is not None]
    return statistics.median(found) if found else None


def over_rounds(rounds: list[Round], name: str, read: Callable[[Sample], float | None]) -> float | None:
    return median(read(samples[name]) for samples in rounds if name in samples)


def take(contender: Contender, *, seconds: int) -> Sample:
    """Saturation first, then the fixed rates, on the same running server."""
    store, lists = contender.store, contender.lists
    with contender.start() as server:
        _check_answers(contender, server.address)
        load.wrk(server.address, lists, seconds=WARM_UP_SECONDS)
        asked = store.membership_commands() if store else 0
        found = saturate(server.pid, lambda: load.wrk(server.address, lists, seconds=seconds), seconds=seconds)
        saturation = found.saturation
        commands = (store.membership_commands() - asked) / saturation.requests if store else None
        paced: dict[int, Outcome] = {}
        for rate in RATES:
            if saturation.rate < _ROOM * rate:
                break
            outcome = load.open_loop(server.address, lists, rate=rate, seconds=seconds, always_true=store is None)
            if outcome.answered < _KEPT_UP:
                break
            paced[rate] = outcome
        memory_mb = max(found.memory_mb or 0.0, machine.usage(server.pid).memory_mb)
    return replace(found, memory_mb=memory_mb, commands=commands, paced=paced)


def take_turn(contender: Contender, server: contenders.Running, *, paced: bool) -> Sample:
    """A second of saturation of a server that runs already, and where `paced`, two at the highest fixed rate."""
    found = saturate(server.pid, lambda: load.wrk(server.address, contender.lists, seconds=1), seconds=1)
    if not paced:
        return found
    always_true = contender.store is None
    outcome = load.open_loop(server.address, contender.lists, rate=RATES[-1], seconds=2, always_true=always_true)
    return replace(found, paced={RATES[-1]: outcome})


def saturate(pid: int, run: Callable[[], load.Saturation], *, seconds: int) -> Sample:
    """What `run`, a load of `seconds`, found, and what the process `pid` used meanwhile."""
    before, core = machine.usage(pid), machine.worker_core_seconds()
    saturation = run()
    after, core = machine.usage(pid), machine.worker_core_seconds() - core
    cpu = after.cpu_seconds - before.cpu_seconds
    foreign = max(0.0, core - cpu) / seconds
    return Sample(saturation, cpu / saturation.requests * 1e6, cpu / seconds, after.memory_mb, foreign=foreign)


def take_redis_benchmark(port: int, key: str, members: int, *, seconds: int) -> Sample:
    warm_up = load.redis_benchmark(port, key, members, requests=20_000)
    return Sample(load.redis_benchmark(port, key, members, requests=int(warm_up.rate * seconds)))


def _check_answers(contender: Contender, address: str) -> None:
    """A member and another of each list, before anything is measured: a fast wrong answer is no result."""
    for name in contender.lists.names:
        for number, is_member in ((contender.lists.members - 1, True), (contender.lists.members, False)):
            expected = "true" if is_member or contender.store is None else "false"
            found = contenders.answer(address, questions.path(name, number))
            if found != expected:
                raise SystemExit(f"error: {contender.name} answers {found!r} instead of {expected!r} for {name}")
