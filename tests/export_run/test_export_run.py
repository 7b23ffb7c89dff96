"""Small sizes of the long runs (`scripts/check_export`)."""

from __future__ import annotations

from tests.export_run import distinct
from tests.export_run.kills import Run
from tests.support.fake_heap_api import Limits


def test_what_many_processes_tell_again_and_again_reaches_heap_once_and_in_order() -> None:
    limits = Limits(of_app=60_000, of_person=6_000)
    found = distinct.run(4000, people=100, senders=3, seed=1, limits=limits)
    assert found.distinct > 500


def test_kills_of_intake_deliverers_and_redis_lose_nothing_that_was_answered_200() -> None:
    run = Run(3, seed=5, rate=10)
    run.play(lambda _: None)
    assert run.tally.taken > 30
