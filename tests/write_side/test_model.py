"""The naive model, where it decides something, and the random histories, which must have a known end."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest

from tests.write_side.composer import Composer
from tests.write_side.events import (
    BEGINS_EPOCH,
    Accept,
    Delete,
    Deliver,
    Drain,
    Erase,
    SenderDrains,
    SetMode,
    Together,
    end_of_epoch,
)
from tests.write_side.model import HOUR_MS, Model, Page, UnknowableError
from tests.write_side.sides import DATABASE, FILES

if TYPE_CHECKING:
    from tests.write_side.events import Event, Moment
    from tests.write_side.model import Mode
    from tests.write_side.sides import WriteSide

_EPOCH_MS = 100 * HOUR_MS


def page(add: str = "", remove: str = "", *, task: str = "t", number: int = 1, total: int = 1) -> Page:
    """One letter, one person."""
    return Page(task, number, total, frozenset(add), frozenset(remove))


def model(*pages: tuple[Page, int], mode: Mode = "delta", most_shrink: float = 1.0) -> Model:
    made = Model(most_shrink, mode)
    for body, signed in pages:
        made.deliver(body, signed)
    return made


def held_by(model: Model) -> str:
    return "".join(sorted(model.members()))


def test_tasks_are_applied_in_the_order_of_their_smallest_times() -> None:
    late = [(page("a", task="one"), 30), (page(remove="a", task="two"), 20)]
    assert held_by(model(*late)) == "a"
    assert held_by(model(*late, (page("a", task="one"), 10))) == ""


def test_within_a_task_remove_wins_whatever_the_pages() -> None:
    assert held_by(model((page(remove="a", number=2, total=2), 1), (page("ab", total=2), 2))) == "b"


def test_a_repeat_does_nothing() -> None:
    assert (
        held_by(model((page("a", task="one"), 1), (page(remove="a", task="two"), 2), (page("a", task="one"), 3))) == ""
    )


class TestRuns:
    def test_one_task_id_on_three_days(self) -> None:
        days = [(page("a"), 0), (page(remove="a"), 10 * HOUR_MS), (page("a"), 20 * HOUR_MS)]
        assert [held_by(model(*days[: count + 1])) for count in range(3)] == ["a", "", "a"]

    def test_a_replay_of_the_first_day_belongs_to_it(self) -> None:
        days = [(page("a"), 0), (page(remove="a"), 10 * HOUR_MS), (page("a"), 20 * HOUR_MS)]
        after = model(*days, (page("a"), 0), (page(remove="b", task="u"), 15 * HOUR_MS), (page("ab"), 30 * HOUR_MS))
        assert held_by(after) == "ab"
        assert held_by(model(*days, (page(remove="a", task="u"), 15 * HOUR_MS), (page("a"), 0))) == "a"

    def test_a_body_of_the_present_run_is_a_retry_however_late(self) -> None:
        assert held_by(model((page("a"), 0), (page(remove="a", task="u"), 10), (page("a"), 9 * HOUR_MS))) == ""

    def test_pages_of_one_run_may_be_hours_apart(self) -> None:
        apart = [(page("a", total=2), 0), (page("b", number=2, total=2), 5 * HOUR_MS)]
        assert held_by(model(*apart, (page(remove="ab", task="u"), HOUR_MS))) == ""

    def test_a_new_body_from_before_the_present_run_is_unknowable(self) -> None:
        with pytest.raises(UnknowableError):
            model((page("a"), 0), (page("b"), 3 * HOUR_MS), (page("c"), HOUR_MS))


class TestSnapshots:
    def test_it_counts_when_pages_that_add_cover_all_numbers(self) -> None:
        waiting = model((page("z", task="before"), 0), mode="delta")
        waiting.mode = "snapshot"
        waiting.deliver(page("a", total=2), 1)
        waiting.deliver(page(remove="b", number=2, total=2), 1)
        assert held_by(waiting) == "z"
        waiting.deliver(page("bc", number=2, total=2), 1)
        assert held_by(waiting) == "ac"

    def test_a_task_keeps_the_mode_that_it_began_with(self) -> None:
        begun = model((page("a", task="one", total=2), 1))
        begun.mode = "snapshot"
        begun.deliver(page("b", task="one", number=2, total=2), 2)
        assert held_by(begun) == "ab"

    def test_one_that_shrinks_the_list_too_much_waits_and_keeps_its_place(self) -> None:
        held = model((page("abcd", task="one"), 1), most_shrink=0.5)
        held.mode = "snapshot"
        held.deliver(page("e", task="two"), 2)
        held.mode = "delta"
        held.deliver(page("f", task="three"), 3)
        assert held.held
        assert held_by(held) == "abcdf"
        held.accept()
        assert held_by(held) == "ef"
        assert not held.held


class TestCommands:
    def test_a_drain_voids_what_was_seen_before_it(self) -> None:
        drained = model((page("a", total=2), 1))
        drained.drain()
        drained.deliver(page("b", number=2, total=2), 2)
        drained.deliver(page("c", task="u"), 2)
        assert held_by(drained) == "c"

    def test_a_deleted_list_comes_again_with_a_page_placed_later(self) -> None:
        deleted = model((page("a"), 1))
        deleted.delete()
        deleted.deliver(page("a"), 1)
        assert not deleted.exists
        deleted.deliver(page("b", task="u"), 2)
        assert deleted.exists
        assert held_by(deleted) == "b"

    def test_an_erased_person_stays_out_until_a_later_task(self) -> None:
        erased = model((page("ab", total=2), 1))
        erased.erase("a")
        erased.deliver(page("ac", number=2, total=2), 2)
        assert held_by(erased) == "bc"
        erased.deliver(page("a", task="u"), 3)
        assert held_by(erased) == "abc"

    def test_an_import_adds_or_replaces(self) -> None:
        brought = model((page("a"), 1))
        brought.bring(frozenset("b"))
        assert held_by(brought) == "ab"
        brought.bring(frozenset("c"), replace=True)
        assert held_by(brought) == "c"
        brought.deliver(page("d", task="u"), 2)
        assert held_by(brought) == "cd"


@pytest.mark.parametrize("side", [FILES, DATABASE], ids=lambda side: str(side.name))
@pytest.mark.parametrize("holds", [False, True])
def test_random_histories_have_a_known_end_whatever_comes_first_of_what_comes_together(
    side: WriteSide, *, holds: bool
) -> None:
    composer = Composer(side, holds=holds, damages=0.1)
    for seed in range(250):
        events = composer.history(seed).events
        assert _members(events, random.Random(seed)) == _members(events, None), f"history {seed}"  # noqa: S311


def _members(events: tuple[Event, ...], shuffled: random.Random | None) -> frozenset[str]:
    played, epoch = Model(0.5), 0
    for event in events:
        if isinstance(event, BEGINS_EPOCH):
            tick = Page(f"tick-{epoch}", 1, 2, frozenset(), frozenset())
            played.deliver(tick, epoch * _EPOCH_MS + end_of_epoch(epoch))
            epoch += 1
        if isinstance(event, Together):
            for each in _in_some_order(event.deliveries, shuffled):
                _apply(each, played)
        else:
            _apply(event, played)
    return played.members()


def _apply(event: Event, played: Model) -> None:
    match event:
        case Deliver():
            played.deliver(event.page, _time(event.signed))
        case SenderDrains():
            played.drain_of_sender(_time(event.signed))
        case SetMode():
            played.mode = event.mode
        case Accept() if len(played.held) == 1:
            played.accept()
        case Drain():
            played.drain()
        case Delete():
            played.delete()
        case Erase():
            played.erase(event.person)


def _in_some_order(deliveries: tuple[Deliver, ...], shuffled: random.Random | None) -> list[Deliver]:
    return list(deliveries) if shuffled is None else shuffled.sample(deliveries, len(deliveries))


def _time(moment: Moment) -> int:
    return moment.epoch * _EPOCH_MS + moment.offset
