"""Random histories of one list: few people, tasks and moments, so that they meet."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tests.write_side.events import (
    MOMENTS,
    MOST_RUNS,
    RUN_MS,
    Accept,
    Break,
    Delete,
    Deliver,
    Drain,
    Erase,
    Moment,
    SenderDrains,
    SetActive,
    SetAliases,
    SetMode,
    Together,
    person,
)
from tests.write_side.model import Page

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.write_side.events import Damage, Event
    from tests.write_side.model import Mode
    from tests.write_side.sides import WriteSide

_PEOPLE = 6
_TASKS = 4
_OF_KEYS: tuple[Damage, ...] = ("members", "about", "registry")
_OF_PROCESSES: tuple[Damage, ...] = ("flushall", "receiver", "store")


@dataclass(frozen=True)
class History:
    """`seed` makes it again, with the same `holds` and `damages`."""

    seed: int
    events: tuple[Event, ...]


@dataclass
class _Task:
    """A task id whose pages are made up as they are first needed. `run`: which of its lives is the present one."""

    id: str
    epoch: int
    total: int
    offset: int
    run: int = 0
    bodies: dict[tuple[int, int, int], Page] = field(default_factory=dict)
    sent: list[Deliver] = field(default_factory=list)


class Composer:
    """Makes histories.

    `holds`: some snapshots shrink the list too much; then what would make a receiver decide a second time is left out
    (pages of a snapshot at once, or moved earlier). `damages`: the share of histories in which something breaks.
    """

    def __init__(self, side: WriteSide, *, holds: bool, damages: float) -> None:
        self._side = side
        self._holds = holds
        self._damages = damages

    def history(self, seed: int) -> History:
        rng = random.Random(seed)  # noqa: S311 - to be repeated, not to be secret
        return History(seed, tuple(_Draft(rng, self._side, holds=self._holds, damages=self._damages).events()))


class _Draft:
    def __init__(self, rng: random.Random, side: WriteSide, *, holds: bool, damages: float) -> None:
        self._rng = rng
        self._side = side
        self._holds = holds
        self._tasks: list[_Task] = []
        self._epoch = 0
        self._mode: Mode = "delta"
        self._left = rng.randint(3, 20)
        self._breaks_at = rng.randrange(self._left) if rng.random() < damages else -1
        self._commands = rng.random() < 0.5  # half of the histories have no drain, deletion or erasure of an operator

    def events(self) -> Iterator[Event]:
        yield self._delivery()  # a list is there once a page came
        while self._left:
            self._left -= 1
            if self._left == self._breaks_at:
                yield Break(self._rng.choice(_OF_PROCESSES + _OF_KEYS * self._side.mends_keys))
            yield from self._some()

    def _some(self) -> Iterator[Event]:
        # What may be carried out again later can come once.
        may_repeat = not self._side.replays_commands
        kinds: dict[Callable[[], Iterator[Event]], int] = {
            self._arrival: 60,
            self._arrivals: 12 * (not self._holds),
            self._drain_of_sender: 4,
            self._mode_change: 8 * (may_repeat or self._mode == "delta"),
            self._activity: 3 * may_repeat,
            self._alias_change: 4 * may_repeat,
            self._acceptance: 6 * self._holds,
            self._drain: 3 * self._commands,
            self._deletion: 3 * self._commands * may_repeat,
            # Whether those erased count for the size of a snapshot is nobody's promise.
            self._erasure: 4 * self._commands * (not self._holds),
        }
        yield from self._rng.choices(list(kinds), list(kinds.values()))[0]()

    def _arrival(self) -> Iterator[Event]:
        yield self._delivery()

    def _arrivals(self) -> Iterator[Event]:
        # No task id begins anew in it: which of two runs a page belongs to would depend on who is faster.
        yield Together(tuple(self._delivery(steady=True) for _ in range(self._rng.randint(2, 4))))

    def _drain_of_sender(self) -> Iterator[Event]:
        run = self._rng.randrange(MOST_RUNS) if self._epoch == 0 and self._side.knows_runs else 0
        yield SenderDrains(Moment(self._epoch, run * RUN_MS + 2 * self._rng.randrange(MOMENTS // 2) + 1))

    def _mode_change(self) -> Iterator[Event]:
        self._mode = "snapshot" if self._side.replays_commands else self._rng.choice(("delta", "snapshot"))
        yield SetMode(self._mode)

    def _activity(self) -> Iterator[Event]:
        yield SetActive(self._rng.random() < 0.7)

    def _alias_change(self) -> Iterator[Event]:
        names = self._rng.sample(range(3), self._rng.randint(0, 2))
        yield SetAliases(frozenset(names), own=self._rng.random() < 0.7)

    def _acceptance(self) -> Iterator[Event]:
        yield Accept()

    def _drain(self) -> Iterator[Event]:
        yield Drain()
        self._epoch += 1

    def _deletion(self) -> Iterator[Event]:
        """Of a list in the first mode and active: whether a deletion forgets the two is nobody's promise."""
        if self._mode != "delta":
            self._mode = "delta"
            yield SetMode("delta")
        yield SetActive(is_active=True)
        yield Delete()
        self._epoch += 1
        yield self._delivery(fresh=True)

    def _erasure(self) -> Iterator[Event]:
        yield Erase(person(self._rng.randrange(_PEOPLE)))
        self._epoch += 1

    def _delivery(self, *, fresh: bool = False, steady: bool = False) -> Deliver:
        """A page: new, of a task under way, known and again, known and signed anew, or of a run that is over."""
        rng = self._rng
        known = [delivery for task in self._tasks for delivery in task.sent]
        chance = rng.random()
        if known and not fresh and chance < 0.2:
            return rng.choice(known)  # the very same
        task = self._task(fresh=fresh)
        if task.sent and chance < 0.35:
            return self._signed_anew(task)
        return self._page(task, steady=steady)

    def _signed_anew(self, task: _Task) -> Deliver:
        """A body of the present run, signed at another moment of its own, or in the present epoch."""
        rng = self._rng
        page = rng.choice([page for (run, _, _), page in task.bodies.items() if run == task.run])
        if self._epoch != task.epoch and rng.random() < 0.5:
            return Deliver(page, Moment(self._epoch, 2 * rng.randrange(MOMENTS // 2)))
        task.sent.append(Deliver(page, Moment(task.epoch, self._offset(task))))
        return task.sent[-1]

    def _task(self, *, fresh: bool) -> _Task:
        rng = self._rng
        if not fresh and self._tasks and (len(self._tasks) >= _TASKS or rng.random() < 0.6):
            return rng.choice(self._tasks)
        # Ids that sort in another order than tasks begin: ties of time are parted by id.
        name = f"task-{rng.randrange(1000):03}-{len(self._tasks)}"
        self._tasks.append(_Task(name, self._epoch, rng.choice((1, 1, 2, 2, 3)), 2 * rng.randrange(MOMENTS // 2)))
        return self._tasks[-1]

    def _page(self, task: _Task, *, steady: bool) -> Deliver:
        """A page of the present run; now and then the task id begins anew first."""
        rng = self._rng
        if not steady and self._may_begin_anew(task) and rng.random() < 0.3:
            task.run += 1
        variant = 0 if self._holds else rng.randrange(2)
        key = (task.run, rng.randint(1, task.total), variant)
        if key not in task.bodies:
            task.bodies[key] = self._body(task, *key)
        task.sent.append(Deliver(task.bodies[key], Moment(task.epoch, self._offset(task))))
        return task.sent[-1]

    def _may_begin_anew(self, task: _Task) -> bool:
        """Where the present run has all its pages: only then is it known that another body begins anew."""
        numbers = {number for run, number, _ in task.bodies if run == task.run}
        is_whole = numbers == set(range(1, task.total + 1))
        return self._side.knows_runs and self._epoch == 0 and is_whole and task.run + 1 < MOST_RUNS

    def _body(self, task: _Task, run: int, number: int, variant: int) -> Page:
        """None of those of the run before: such a body, coming again, would be a retry. Those of earlier ones may be.

        Variants are two bodies of one number, told apart by their kind, as where add and remove are numbered apart.
        """
        rng = self._rng
        before = {page for (other, _, _), page in task.bodies.items() if other == run - 1}
        older = task.bodies.get((run - 2, number, variant))
        if older is not None and older not in before and rng.random() < 0.5:
            return older
        while True:
            add = frozenset() if variant else self._people(1, 4)
            remove = self._people(variant, 3)
            page = Page(task.id, number, task.total, add, remove - add if rng.random() < 0.7 else remove)
            if page not in before:
                return page

    def _people(self, least: int, most: int) -> frozenset[str]:
        numbers = self._rng.sample(range(_PEOPLE), self._rng.randint(least, most))
        return frozenset(person(number) for number in numbers)

    def _offset(self, task: _Task) -> int:
        # With holds a task stays where its first page is: what moves it would have the receiver decide again.
        within = task.offset if self._holds else 2 * self._rng.randrange(MOMENTS // 2)
        return task.run * RUN_MS + within
