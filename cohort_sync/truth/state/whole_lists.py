"""Reading whole lists, some partitions at a time, in short transactions.

What is accepted or folded meanwhile may be in what is read or not. The base may be newer than the pages that were read
before it: it then has some of them, and these once more, all in their order, change nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cohort_sync.truth.bases import partitions_for
from cohort_sync.truth.fold import apply, fold
from cohort_sync.truth.page_partitions import PagePartitions
from cohort_sync.truth.window import ChangedError, Window, partitions_at_once, read_newest_partition, read_page

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from sqlalchemy import Connection

    from cohort_sync.truth.bases import Partition
    from cohort_sync.truth.erased import ErasedPersons
    from cohort_sync.truth.window import Task

_MOST_PER_READ = 100_000  # members that are read in one transaction


@dataclass(slots=True)
class Part:
    """Partitions that are read together, and what pages say of them.

    `unread`: pages, as task and version. `is_last`: no other partitions are left.
    """

    window: Window
    wanted: Sequence[int]
    pages: PagePartitions
    unread: list[tuple[int, int]]
    is_last: bool

    @property
    def is_small(self) -> bool:
        """Whether it is read whole in one short transaction."""
        rows = self.window.partitions.rows
        return not self.unread and sum(rows[index].members for index in self.wanted) <= _MOST_PER_READ

    def read_pages(self, connection: Connection) -> None:
        """Some of those that are unread. Raises `ChangedError`, `DamagedError`."""
        named = 0
        while self.unread and named < _MOST_PER_READ:
            task, version = self.unread.pop()
            names = read_page(connection, self.window.row, version)
            self.pages.add(task, version, names)
            named += len(names.add) + len(names.remove)


@dataclass(slots=True)
class WholeList:
    """One reading of a list. `most_at_once`: members of pages in memory."""

    erased: ErasedPersons
    most_at_once: int
    _least: int = 1  # in how many parts a list without a base is read, at least
    _done: set[tuple[int, int]] = field(default_factory=set)

    def begin(self, window: Window, tasks: Callable[[Window], Iterable[Task]]) -> Part:
        """The next partitions. `tasks`: those that say something, in the order of their places."""
        counting = list(tasks(window))
        named = sum(task.named for task in counting)
        self._least = max(self._least, partitions_for(named))
        window.cut(self._least)
        rows = window.partitions.rows
        left = [index for index, row in enumerate(rows) if not self._is_done(row)]
        wanted = left[: partitions_at_once(len(rows), named, self.most_at_once)]
        pages = PagePartitions(window, counting, wanted)
        return Part(window, wanted, pages, pages.wanted(), is_last=len(wanted) == len(left))

    def members(self, connection: Connection, part: Part, index: int) -> list[bytes]:
        """Whom one partition of `part` has, sorted. Raises `ChangedError`, `DamagedError`."""
        row, erased = part.window.partitions.rows[index], self.erased.get(connection)
        if erased.number != part.window.erasure:
            raise ChangedError
        partition, members = read_newest_partition(connection, part.window.row, row)
        return apply(members, partition.place, fold(part.pages.steps(index), erased), erased)

    def size(self, connection: Connection, part: Part, index: int) -> int:
        """How many these are."""
        row, erased = part.window.partitions.rows[index], self.erased.get(connection)
        is_plain = not erased.unfinished and not erased.unknown and next(part.pages.steps(index), None) is None
        return row.members if is_plain else len(self.members(connection, part, index))

    def size_of_tasks(self, connection: Connection, part: Part, index: int) -> int:
        """How many the tasks of `part` would make of nobody."""
        return len(fold(part.pages.steps(index), self.erased.get(connection)).added)

    def note_done(self, part: Part, index: int) -> None:
        row = part.window.partitions.rows[index]
        self._done.add((row.number, row.of))

    def _is_done(self, row: Partition) -> bool:
        """Also where it was split off one that was read."""
        of = row.of
        while of:
            if (row.number & (of - 1), of) in self._done:
                return True
            of //= 2
        return False
