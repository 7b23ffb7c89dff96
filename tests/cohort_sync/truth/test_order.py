"""Any order of arrival, any retry and any sharing of commits ends in what whole tasks, one after the other, leave."""

from __future__ import annotations

import asyncio
import itertools
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cohort_sync.truth.facts import Rules, Segment
from tests.cohort_sync.truth.facts_in_tests import opened

if TYPE_CHECKING:
    from cohort_sync.truth.order import Mode
    from tests.cohort_sync.truth.facts_in_tests import Written


@dataclass(frozen=True)
class Delivery:
    """A page of a task with one body for each number, and when it was signed: minutes, so that no name is used again.

    `mode`: the sender's word.
    """

    task: int
    number: int
    at: int
    mode: Mode


@dataclass(frozen=True)
class Drained:
    at: int


Event = Delivery | Drained

_TOTAL = 2
_MODES: tuple[Mode, ...] = ("delta", "delta", "delta", "snapshot")
_BODIES = st.tuples(st.frozensets(st.integers(0, 4), max_size=3), st.frozensets(st.integers(0, 4), max_size=3))
_DELIVERIES = st.builds(
    lambda task, number, at: Delivery(task, number, at, _MODES[task]),
    st.integers(0, 3),
    st.integers(1, _TOTAL),
    st.integers(0, 5),
)
_EVENTS = st.lists(st.one_of(_DELIVERIES, _DELIVERIES, _DELIVERIES, st.builds(Drained, st.integers(0, 5))), max_size=14)
_EACH_BODY = st.lists(_BODIES, min_size=4 * _TOTAL, max_size=4 * _TOTAL)

Bodies = list[tuple[frozenset[int], frozenset[int]]]

_segments = itertools.count()


def expected(events: list[Event], bodies: Bodies) -> set[str]:
    places: dict[int, int] = {}
    numbers: dict[int, set[int]] = {}
    modes: dict[int, Mode] = {}
    for event in events:
        if isinstance(event, Delivery):
            places[event.task] = min(event.at, places.get(event.task, event.at))
            numbers.setdefault(event.task, set()).add(event.number)
            modes[event.task] = event.mode
    points: list[tuple[int, str, int | None]] = [(event.at, "", None) for event in events if isinstance(event, Drained)]
    points += [(at, f"task {task}", task) for task, at in places.items()]
    members: set[int] = set()
    for _, _, task in sorted(points, key=lambda point: point[:2]):
        if task is None:
            members = set()
            continue
        pages = [bodies[task * _TOTAL + number - 1] for number in numbers[task]]
        removed = set().union(*(remove for _, remove in pages))
        added = set().union(*(add for add, _ in pages)) - removed
        if modes[task] == "delta":
            members = (members - removed) | added
        elif len(numbers[task]) == _TOTAL and all(add or not remove for add, remove in pages):
            members = added
    return {f"u{member}" for member in members}


async def deliver(written: Written, event: Event, bodies: Bodies, segment: Segment) -> None:
    if isinstance(event, Drained):
        await written.drained(event.at * 60_000, segment)
        return
    add, remove = bodies[event.task * _TOTAL + event.number - 1]
    await written.page(
        f"task {event.task}",
        add=[f"u{member}" for member in add],
        remove=[f"u{member}" for member in remove],
        at=event.at * 60_000,
        number=event.number,
        total=_TOTAL,
        mode=event.mode,
        segment=segment,
        body=f"{event.task} {event.number}",
    )


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(histories=st.lists(st.tuples(_EVENTS, _EACH_BODY, st.integers(1, 4)), min_size=4, max_size=8))
def test_any_history_ends_as_its_tasks_in_order(histories: list[tuple[list[Event], Bodies, int]]) -> None:
    """Several lists in one database; of each, so many events arrive at a time."""

    async def run() -> None:
        with tempfile.TemporaryDirectory() as directory:
            async with opened(Path(directory), rules=Rules(max_shrink=1.0)) as written:
                for events, bodies, together in histories:
                    segment = Segment("123456", "heap", str(next(_segments)), "History")
                    for start in range(0, len(events), together):
                        part = events[start : start + together]
                        await asyncio.gather(*(deliver(written, event, bodies, segment) for event in part))
                    if events:
                        assert await written.members(segment) == expected(events, bodies)
                    await written.facts.finish_quiet_snapshots()

    asyncio.run(run())
