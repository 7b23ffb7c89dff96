"""What Heap sends in the crash test, and what the lists must hold once all of it was acknowledged.

The model knows nothing of journals, ledgers or marks: whole tasks, in the order of their smallest signed timestamps.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from typing import Literal

from cohort_sync.signature import sign
from tests.support.heap import SECRET

Mode = Literal["delta", "snapshot"]


class Clock:
    """Unix milliseconds that never come twice, so that no two pushes share a place."""

    def __init__(self) -> None:
        self._last = 0
        self._lock = threading.Lock()

    def now(self) -> int:
        with self._lock:
            self._last = max(self._last + 1, int(time.time() * 1000))
            return self._last


@dataclass(eq=False)
class Push:
    """A page of a task, or a drain (`task` is None). What counts is the first time it was signed.

    That signature is sent until it gets 200, so the model knows its place whatever became of single attempts. `header`
    is empty until it is signed.
    """

    segment: Segment
    body: bytes
    task: Task | None = None
    add: frozenset[str] = frozenset()
    remove: frozenset[str] = frozenset()
    signed_at: int = 0
    header: str = ""
    acknowledged: bool = False

    def sign(self, clock: Clock) -> None:
        if not self.header:
            self.signed_at = clock.now()
            self.header = sign(SECRET, self.body, timestamp_ms=self.signed_at)

    def signed_again(self, clock: Clock) -> str:
        """A later signature: it moves nothing, as long as the first one is delivered too, before it or after."""
        return sign(SECRET, self.body, timestamp_ms=clock.now())


@dataclass(eq=False)
class Task:
    """A sync task in the mode that its list has when it begins."""

    id: str
    mode: Mode
    pages: list[Push] = field(default_factory=list)

    @property
    def place(self) -> tuple[int, str]:
        return (min(page.signed_at for page in self.pages), self.id)


@dataclass(eq=False)
class Segment:
    """A segment, its list, and everything that was ever sent of it."""

    id: int
    name: str
    mode: Mode = "delta"
    aliases: set[str] = field(default_factory=set)
    tasks: list[Task] = field(default_factory=list)
    drains: list[Push] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.aliases.add(str(self.id))  # given with the list

    @property
    def list_id(self) -> str:
        return f"heap_{self.name.lower().replace(' ', '_')}"

    def members(self) -> set[str]:
        """What the list must hold; every push must have been acknowledged."""
        points: list[tuple[tuple[int, str], Task | None]] = [(task.place, task) for task in self.tasks]
        points += [((drain.signed_at, ""), None) for drain in self.drains]
        members: set[str] = set()
        for _, task in sorted(points, key=lambda point: point[0]):
            if task is None:
                members = set()
                continue
            removed: set[str] = set().union(*(page.remove for page in task.pages))
            added = set().union(*(page.add for page in task.pages)) - removed
            members = added if task.mode == "snapshot" else (members - removed) | added
        return members

    def told_of(self, member: str) -> str:
        """Who named `member`, for people who look into a failure."""
        found = [
            (page.signed_at, f"{'+' if member in page.add else '-'} {task.id} ({task.mode}) at {task.place[0]}")
            for task in self.tasks
            for page in task.pages
            if member in page.add | page.remove
        ]
        found += [(drain.signed_at, f"drain at {drain.signed_at}") for drain in self.drains]
        return "; ".join(text for _, text in sorted(found)[-6:])
