"""A few kills of the long run (`scripts/check_events kills`)."""

from __future__ import annotations

from tests.event_run.loss import from_memory
from tests.event_run.run import Run


def test_gateways_killed_in_turn_lose_nothing_that_was_stored() -> None:
    run = Run(4, seed=5, rate=60)
    run.play(lambda _: None)
    assert run.tally.answered["stored"] > 100


def test_what_is_in_memory_alone_is_lost_with_the_gateway_and_nothing_else() -> None:
    found = from_memory(seconds=0.3, rate=50)
    assert 0 < found.lost <= found.buffered  # one may be in Redis by then
