"""Rounds until the wanted number of kills is reached, and the table of what they showed."""

from __future__ import annotations

import random
import statistics
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tests.crash.faults import FAULTS
from tests.crash.rounds import CrashTestError, Round, Tally
from tests.write_side.sides import FILES, WriteSide

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_ROUND = 25  # kills; a recovery reads the whole journal, so a round that went on for ever would slow down
_SEEDS = 10_000  # seeds of rounds from one seed of a run to the next


@dataclass
class Run:
    """`kills` kills of `kinds`, from `seed`. The same seed gives the same plan, not the same interleaving."""

    kills: int
    seed: int
    kinds: list[str] = field(default_factory=lambda: list(FAULTS))
    side: WriteSide = FILES
    tally: Tally = field(default_factory=Tally)
    _started: float = 0.0

    def play(self, tell: Callable[[str], None]) -> None:
        """Raises `CrashTestError` whose text holds all that is known."""
        self._started = time.monotonic()
        plan = random.Random(self.seed)  # noqa: S311 - to be repeated, not to be secret
        for number, kinds in enumerate(self._rounds(plan), start=1):
            seed = self.seed * _SEEDS + number
            replicated = "failover" in kinds
            receivers = min(plan.choice((1, 2, 2)), self.side.receivers)
            tell(f"round {number}: {receivers} receiver(s), {'a replicated pair' if replicated else 'one store'}")
            with Round.begun(seed, self.tally, self.side, receivers=receivers, replicated=replicated) as begun:
                try:
                    self._round(
                        begun, kinds, plan, lambda text: tell(f"{time.monotonic() - self._started:6.0f} s  {text}")
                    )
                except CrashTestError as error:
                    raise CrashTestError(
                        f"--seed {self.seed}, round {number}, {receivers} receiver(s)\n{begun.log()}\n\n{error}"
                    ) from None

    def _rounds(self, plan: random.Random) -> Iterator[list[str]]:
        """The kinds of each round's kills, all of them equally often; failovers together, since they need a pair."""
        cycle = [self.kinds[number % len(self.kinds)] for number in range(self.kills)]
        paired = self.kills >= 2 * _ROUND and "failover" in self.kinds and len(self.kinds) > 1
        failovers = [kind for kind in cycle if kind == "failover"]
        others = [kind for kind in cycle if kind != "failover"]
        plan.shuffle(others)
        if not paired:
            plan.shuffle(cycle)
            yield from _parts(cycle)
            return
        # Half of the kills of a round with a pair are of the other kinds.
        mixed = failovers + others[: len(failovers)]
        plan.shuffle(mixed)
        yield from _parts(mixed)
        yield from _parts(others[len(failovers) :])

    def _round(self, begun: Round, kinds: list[str], plan: random.Random, tell: Callable[[str], None]) -> None:
        left = list(kinds)
        while left:
            burst, left = left[: (size := plan.choice((1, 1, 2, 3)))], left[size:]
            for kind in burst:
                begun.kill(kind)
            begun.compare()
            done, seconds = self.tally.kills.total(), self.tally.recoveries[-1]
            self.tally.seconds = time.monotonic() - self._started
            tell(f"{done:4} of {self.kills} kills: {', '.join(burst)}: all right after {seconds:.1f} s")


def table(tally: Tally) -> str:
    """For people, and for the documentation."""
    refused = tally.answers[503]
    rows = [
        ("kills", f"{tally.kills.total()}: " + ", ".join(f"{kind} {n}" for kind, n in sorted(tally.kills.items()))),
        ("duration", f"{tally.seconds / 60:.0f} min"),
        ("pages acknowledged", f"{tally.pages}, and {tally.drains} drains"),
        ("sent again after their acknowledgement", str(tally.again)),
        ("answers 503, connections refused or cut", f"{refused}, {tally.answers[0]}"),
        ("operators' changes, checkpoints among them", f"{tally.operations}, {tally.checkpoints}"),
        ("comparisons, members compared", f"{tally.comparisons}, {tally.members}"),
        ("looks that found a receiver ready too soon", str(tally.too_soon)),
        (
            "seconds from a kill until all was right",
            f"median {statistics.median(tally.recoveries):.1f}, longest {max(tally.recoveries):.1f}",
        ),
    ]
    return "\n".join(["| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows)])


def _parts(kinds: list[str]) -> Iterator[list[str]]:
    for start in range(0, len(kinds), _ROUND):
        yield kinds[start : start + _ROUND]
