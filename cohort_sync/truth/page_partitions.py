"""What pages name, by partition of the base.

Each page is read once for many partitions. What is kept meanwhile is packed: a million members take some 25 MB, as
objects they would take five times as much.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from attribute_lists.bodies import Names
from cohort_sync.truth.fold import Step

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from cohort_sync.truth.window import Task, Window

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(tuple[list[bytes], list[bytes]]).decode


class PagePartitions:
    """The names in the pages of `tasks` (in the order of their places), for the partitions `wanted` (indices)."""

    def __init__(self, window: Window, tasks: Sequence[Task], wanted: Sequence[int]) -> None:
        self._window = window
        self._rows = {index: window.partitions.rows[index] for index in wanted}
        # What is void in all of these need not be read.
        first = 0
        for position, task in enumerate(tasks):
            if task.is_floor and not any(task.is_in(row) for row in self._rows.values()):
                first = position
        self._tasks = tasks[first:]
        self._pages: dict[int, dict[int, list[tuple[int, bytes]]]] = {index: {} for index in wanted}

    def wanted(self) -> list[tuple[int, int]]:
        """The pages that matter, as task and version."""
        return [
            (task.id, page.version)
            for task in self._tasks
            for page in task.pages
            if not all(task.is_in(row, page.version) for row in self._rows.values())
        ]

    def add(self, task: int, version: int, names: Names) -> None:
        """A page as it was read."""
        by_row = self._window.partitions.by_row
        add, remove = by_row(names.add), by_row(names.remove)
        for index in add.keys() | remove.keys():
            if index in self._pages:
                packed = _encode((add.get(index, []), remove.get(index, [])))
                self._pages[index].setdefault(task, []).append((version, packed))

    def steps(self, index: int) -> Iterator[Step]:
        """The tasks as partition `index` sees them, without what it has already."""
        row, pages = self._rows[index], self._pages[index]
        for task in self._tasks:
            is_floor = task.is_floor and not task.is_in(row)
            kept = [packed for version, packed in pages.get(task.id, ()) if not task.is_in(row, version)]
            if is_floor or kept:
                yield Step(task.place, is_floor, [Names(*_decode(packed)) for packed in kept])
