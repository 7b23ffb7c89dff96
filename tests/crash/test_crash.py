"""A short run of the crash test; `scripts/crash_test` is the long one, and docs/reliability.md has its result."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.crash.run import Run
from tests.write_side.sides import either_side

if TYPE_CHECKING:
    from tests.write_side.sides import WriteSide


@either_side
def test_nothing_acknowledged_is_lost_when_receivers_and_stores_are_killed(side: WriteSide) -> None:
    run = Run(kills=7, seed=1, side=side)
    run.play(lambda _: None)
    assert run.tally.kills.total() == 7
    assert run.tally.pages > 50
