"""The lower bound of the sender's clock."""

from __future__ import annotations

from tests.cohort_sync.truth.facts_in_tests import DAY, T0, Clocks


def test_before_any_push_it_is_the_newest_place() -> None:
    clocks = Clocks()
    clock = clocks.heap_clock(T0)
    clocks.pass_ms(5000)
    assert clock.lower_bound() == T0


def test_the_freshest_push_tells_the_time_from_then_on() -> None:
    clocks = Clocks(wall=0)
    clock = clocks.heap_clock(T0)
    clock.see(T0 + 1000)
    clocks.pass_ms(500)
    clock.see(T0 - DAY)
    clocks.pass_ms(500)
    assert clock.lower_bound() == T0 + 2000
    clock.see(T0 + 1500)  # it was long under way
    assert clock.lower_bound() == T0 + 2000
    clock.see(T0 + 3000)
    assert clock.lower_bound() == T0 + 3000


def test_an_old_push_after_a_start_does_not_take_the_bound_back() -> None:
    clocks = Clocks()
    clock = clocks.heap_clock(T0)
    clock.see(T0 - DAY)
    clocks.pass_ms(1000)
    assert clock.lower_bound() == T0
