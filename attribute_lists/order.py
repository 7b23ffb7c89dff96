"""The order of tasks: which task's word counts for a member, however its pages arrived.

Pure bookkeeping, one `Ledger` a list. A task's place is the smallest signed timestamp among its pages seen so far (tie:
task id). The list is what comes of applying whole tasks in that order; a drain is a point in the order and empties the
list, a complete snapshot is a point too and replaces it. What lies before the latest such point (the base) is void.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

Mode = Literal["delta", "snapshot"]
Place = tuple[int, str]

QUIET_MS = 15 * 60 * 1000


@dataclass(slots=True)
class PageNote:
    """What is remembered of a page beside its members. `done`: wholly applied."""

    task: str
    number: int
    adds: int
    removes: int
    done: bool = False

    @property
    def only_removes(self) -> bool:
        return self.removes > 0 and self.adds == 0


@dataclass(slots=True)
class Task:
    """A sync task. `mode` is that of the list when its first page came; `swapped`: this snapshot went live.

    `resettle`: it moved earlier, past other tasks, so that all its members must be settled again.
    `accepted`: an operator agreed to its shrinking the list.
    """

    id: str
    at: int
    mode: Mode
    total: int
    last_page: int
    swapped: bool = False
    resettle: bool = False
    held: bool = False
    accepted: bool = False
    pages: dict[str, PageNote] = field(default_factory=dict)

    @property
    def place(self) -> Place:
        return (self.at, self.id)

    @property
    def names_members(self) -> bool:
        """Whether its members count now: a snapshot that isn't live says nothing yet."""
        return self.mode == "delta" or self.swapped

    def numbers(self, *, carrying_add: bool = False) -> set[int]:
        return {page.number for page in self.pages.values() if not (carrying_add and page.only_removes)}

    def is_complete(self, now: int) -> bool:
        """Whether every page is here. Pages that add and pages that remove may be numbered apart.

        So pages that carry `add` must cover all numbers; all pages together count only after a quiet time.
        """
        if any(not page.done for page in self.pages.values()):
            return False
        wanted = set(range(1, self.total + 1))
        if wanted <= self.numbers(carrying_add=True):
            return True
        return now - self.last_page >= QUIET_MS and wanted <= self.numbers()


@dataclass(slots=True)
class Ledger:
    """What is remembered of one list's tasks for as long as pages may come late.

    `version` changes with every change of the ledger; a step planned on another version must be planned again.
    `base_at`, `base_task`: the place of the latest drain (no task) or live snapshot. `dirty`: the list must be built
    again from its base.
    """

    version: str = ""
    mode: Mode = "delta"
    tasks: dict[str, Task] = field(default_factory=dict)
    base_at: int = -1
    base_task: str = ""
    drained_at: int = -1
    dirty: bool = False
    erased: dict[bytes, int] = field(default_factory=dict)

    @property
    def base(self) -> Place:
        return (self.base_at, self.base_task)

    def is_void(self, task: Task) -> bool:
        return task.place < self.base

    def note_of(self, digest: str) -> PageNote | None:
        for task in self.tasks.values():
            if digest in task.pages:
                return task.pages[digest]
        return None

    def counting(self) -> list[Task]:
        """The tasks whose members count, newest first; the base, where it is a snapshot, is the last."""
        found = [task for task in self.tasks.values() if task.names_members and not self.is_void(task)]
        return sorted(found, key=lambda task: task.place, reverse=True)

    def newest(self) -> Task | None:
        return max(self.tasks.values(), key=lambda task: task.place, default=None)

    def enter(
        self, digest: str, note: PageNote, *, total: int, signed_at: int, now: int, mode: Mode | None = None
    ) -> Task:
        """Take a page in, moving its task earlier if the page says so, and mark what that unsettles.

        `mode`: that of a task that begins with this page; None: that of the list.
        """
        task = self.tasks.get(note.task)
        if task is None:
            task = self.tasks[note.task] = Task(note.task, signed_at, mode or self.mode, total, now)
        elif signed_at < task.at:
            self._move(task, signed_at)
        task.total = max(task.total, total)
        task.last_page = now
        task.pages[digest] = note
        return task

    def _move(self, task: Task, signed_at: int) -> None:
        before = task.place
        was_void = self.is_void(task)
        task.at = signed_at
        if not task.names_members or was_void:
            return
        if task.swapped:
            # The list may rest on this snapshot, or on another point that now comes after it.
            self.find_base()
            self.dirty = True
        elif self.is_void(task):
            self.dirty = True
        elif any(task.place < other.place < before for other in self.counting()):
            task.resettle = True

    def drain(self, at: int) -> bool:
        """A drain at `at`; whether it is a new one (the same or an older one is a repeat)."""
        if at <= self.drained_at:
            return False
        self.drained_at = at
        if (at, "") > self.base:
            self.base_at, self.base_task = at, ""
            self.dirty = True
        return True

    def swap(self, task: Task) -> None:
        """`task`, a snapshot, goes live: the list rests on it from now on."""
        task.swapped, task.held = True, False
        if task.place > self.base:
            self.base_at, self.base_task = task.place

    def find_base(self) -> None:
        points = [(self.drained_at, "")] + [task.place for task in self.tasks.values() if task.swapped]
        if self.base_task and self.base_task not in self.tasks:
            points.append(self.base)  # a snapshot that was pruned still holds its place
        self.base_at, self.base_task = max(points)

    def prune(self, before: int) -> list[Task]:
        """Forget the tasks that can't be touched any more: those placed, and last heard of, before `before` (ms).

        A snapshot that waits for the operator stays until a later one is live.
        """
        old = [
            task
            for task in self.tasks.values()
            if max(task.at, task.last_page) < before and (not task.held or self.is_void(task))
        ]
        for task in old:
            del self.tasks[task.id]
        return old
