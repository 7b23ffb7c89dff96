"""The stream of pushes: tasks of several pages, in order or shuffled, late, twice; drains; snapshots."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from local_stack.sample_push import build_drain, build_push
from tests.crash.pushes import Clock, Push, Segment, Task

if TYPE_CHECKING:
    import random

PEOPLE = 2500  # that a segment knows of
_SEGMENTS = 5
_WAITING = 12  # pushes that are ready to be sent while the stream is open
_REACH = 6  # how far a shuffled stream reaches ahead


class Traffic:
    """Pushes to send. Thread-safe; what is taken must be given back by `done`."""

    def __init__(self, rng: random.Random, *, shuffled: bool) -> None:
        self.clock = Clock()
        self.segments = [Segment(1000 + number, f"Crash {number}") for number in range(1, _SEGMENTS + 1)]
        self._rng = rng
        self._shuffled = shuffled
        self._open = True
        self._tasks = 0
        self._waiting: list[Push] = []
        self._under_way = 0
        self._changed = threading.Condition()

    def take(self) -> Push | None:
        """The next push, signed; None while there is none to send."""
        with self._changed:
            while self._open and len(self._waiting) < _WAITING:
                self._make()
            if not self._waiting:
                return None
            reach = min(_REACH, len(self._waiting)) if self._shuffled else 1
            push = self._waiting.pop(self._rng.randrange(reach))
            push.sign(self.clock)
            self._under_way += 1
            return push

    def done(self, push: Push) -> None:
        """`push` was acknowledged; now and then it comes again."""
        with self._changed:
            push.acknowledged = True
            self._under_way -= 1
            if self._rng.random() < 0.08:
                self._waiting.insert(self._rng.randrange(len(self._waiting) + 1), push)
            self._changed.notify_all()

    def given_up(self) -> None:
        """A push will not be sent any more, since the run is over."""
        with self._changed:
            self._under_way -= 1

    def close(self, *, seconds: float) -> bool:
        """Begin nothing new, and wait until all that was begun is acknowledged; whether it was, in that time."""
        with self._changed:
            self._open = False
            return self._changed.wait_for(lambda: not self._waiting and not self._under_way, seconds)

    def open(self) -> None:
        with self._changed:
            self._open = True

    def pages(self) -> int:
        return sum(page.acknowledged for segment in self.segments for task in segment.tasks for page in task.pages)

    def _make(self) -> None:
        rng = self._rng
        segment = rng.choice(self.segments)
        # A list is there when its first task came; a drain of a segment that nobody knows is not what this is about.
        if segment.tasks and rng.random() < 0.02:
            drain = Push(segment, build_drain(segment_id=segment.id, segment_name=segment.name))
            segment.drains.append(drain)
            self._waiting.append(drain)
            return
        self._tasks += 1
        task = Task(f"task-{self._tasks}", segment.mode)
        segment.tasks.append(task)
        total = rng.choice((1, 1, 1, 2, 3, 4))
        for number in range(1, total + 1):
            task.pages.append(self._page(segment, task, number, total))
        for page in task.pages:
            if self._shuffled and rng.random() < 0.1:
                page.sign(self.clock)  # signed now, sent when its turn comes: it may move its task earlier
        self._waiting += rng.sample(task.pages, total) if self._shuffled else task.pages

    def _page(self, segment: Segment, task: Task, number: int, total: int) -> Push:
        rng = self._rng
        if task.mode == "snapshot":
            added, removed = rng.randint(1, 400), rng.choice((0, 0, 5))
        elif rng.random() < 0.06:
            added, removed = rng.randint(0, 1200), rng.randint(900, 1200)  # goes in slices
        else:
            added, removed = rng.choice(((rng.randint(1, 60), rng.randint(0, 40)), (0, rng.randint(1, 30))))
        add, remove = self._people(segment, added), self._people(segment, removed)
        body = build_push(
            segment_id=segment.id,
            segment_name=segment.name,
            task=task.id,
            add=add,
            remove=remove,
            page=number,
            pages=total,
        )
        return Push(segment, body, task, frozenset(add), frozenset(remove))

    def _people(self, segment: Segment, count: int) -> list[str]:
        return [f"user{number}é@{segment.id}.example" for number in self._rng.sample(range(PEOPLE), count)]
