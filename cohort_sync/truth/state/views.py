"""Views of lists: window and member index as they were read last, kept in memory within a bound.

A view is a cache and nothing else: it is brought up to date by the facts that are newer than it, and read anew where
folding changed what it rests on.
"""

from __future__ import annotations

import bisect
import threading
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cohort_sync.truth.bases import Partition
from cohort_sync.truth.fold import Resolved, Step, resolve
from cohort_sync.truth.state.member_index import BYTES_PER_MEMBER, MemberIndex
from cohort_sync.truth.state.partition_cache import PartitionCache
from cohort_sync.truth.window import Window, read_list_named

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence

    from sqlalchemy import Connection

    from attribute_lists.bodies import Names
    from cohort_sync.truth.fold import Erased
    from cohort_sync.truth.order import Place
    from cohort_sync.truth.window import Task

_STEPS_PER_LOOK_UP = 12  # a look-up by halves costs as much as comparing so many members
_BYTES_PER_TASK, _BYTES_PER_PAGE = 600, 150


@dataclass(slots=True)
class View:
    """One list. `lock`: held by whoever uses it, from before the first statement of a transaction on."""

    index_bytes: int
    partitions: PartitionCache
    lock: threading.Lock = field(default_factory=threading.Lock)
    window: Window | None = None
    index: MemberIndex | None = None

    @property
    def size(self) -> int:
        """Bytes, about."""
        size = 1000 + (self.index.size if self.index is not None else 0)
        if self.window is not None:
            size += _BYTES_PER_TASK * len(self.window.tasks)
            size += _BYTES_PER_PAGE * sum(len(task.pages) for task in self.window.ordered)
        return size

    def refresh(self, connection: Connection, account: str, name: str) -> Window | None:
        """The window as of the connection's transaction. None: there is no such list."""
        known, self.window = self.window, None  # where this fails, it is read anew
        record = read_list_named(connection, account, name)
        if record is None:
            return None
        if known is not None:
            covered = [] if self.index is None else [task for task in known.counting if task.place >= self.index.low]
            changed = known.refresh(connection, record)
            if changed is not None:
                self.window = known
                if changed and self.index is not None:
                    self._keep_index(self.index, known, covered, changed)
                return known
        self.index = None
        self.window = Window.read(connection, record)
        return self.window

    def resolve(
        self, connection: Connection, members: Collection[bytes], erased: Erased, read: Callable[[int], Names]
    ) -> Resolved:
        """What the newest fact says of each of `members`; the base is asked where no task names one."""
        window = self.known_window
        tasks = window.counting
        return self.resolve_from(connection, members, erased, read, low=tasks[0].place if tasks else None)

    def resolve_from(
        self,
        connection: Connection,
        members: Collection[bytes],
        erased: Erased,
        read: Callable[[int], Names],
        *,
        low: Place | None,
    ) -> Resolved:
        """As `resolve`, where most of `members` are named by a task at `low` or a later one."""
        window = self.known_window
        older = window.counting
        found = Resolved(set(), set(), set(members))
        if window.floor is not None and low is not None:
            low = max(low, window.floor.place)
        if low is not None and (index := self._index_from(low, read)) is not None:
            found = self._look_up(index, members, erased)
            older = [task for task in older if task.place < index.low]
            if window.floor is not None and window.floor.place >= index.low:
                found.removed.update(found.undecided)
                found.undecided.clear()
        if not found.undecided:
            return found
        return _merged(found, resolve_scanning(connection, self, older, found.undecided, erased, read))

    @property
    def known_window(self) -> Window:
        """The window as it was refreshed last."""
        if self.window is None:
            raise RuntimeError("the view was not refreshed")
        return self.window

    def _keep_index(self, index: MemberIndex, window: Window, covered: Sequence[Task], changed: Sequence[Task]) -> None:
        """Keep the index where no task passed another since, and none says something that it did not say before."""
        before = [task.id for task in covered]
        known = set(before)
        after = [task for task in window.counting if task.id in known]
        is_new_to_say = any(
            task.counts and task.id not in known and task.pages and task.pages[0].version <= index.version
            and task.place >= index.low
            for task in changed
        )  # fmt: skip
        if is_new_to_say or before != [task.id for task in after]:
            self.index = None
        elif after and after[0].place < index.low:
            # The lowest moved on without passing another that is covered; whom it passed of the others is not covered.
            between = (task for task in window.counting if after[0].place < task.place < index.low)
            if any(task.pages and task.pages[0].version <= index.version for task in between):
                self.index = None
            index.low = after[0].place

    def _index_from(self, low: Place, read: Callable[[int], Names]) -> MemberIndex | None:
        """An index of the tasks from `low` on, up to date; None where it would be too large, or while a round runs."""
        window, index = self.known_window, self.index
        bottom = low if index is None else min(low, index.low)
        tasks = [task for task in window.counting if task.place >= bottom]
        self.index = None  # where this fails, it is made anew
        if not window.is_between_rounds:
            return None
        if index is None:
            index = MemberIndex(low, window.version)
            missing = [(task, page) for task in tasks for page in task.pages]
        else:
            missing = []
            for task in tasks:
                if task.place < index.low:
                    missing += [(task, page) for page in task.pages]
                elif task.pages and task.pages[-1].version > index.version:
                    missing += [(task, page) for page in task.pages if page.version > index.version]
        named = sum(page.adds + page.removes for _, page in missing)
        if index.size + BYTES_PER_MEMBER * named > self.index_bytes:
            return None
        for task, page in missing:
            index.insert(task.id, read(page.version), _newer(tasks, task))
        index.low, index.version = bottom, window.version
        self.index = index
        return index

    def _look_up(self, index: MemberIndex, members: Collection[bytes], erased: Erased) -> Resolved:
        window = self.known_window
        added_by, removed_by, undecided = index.words(members)
        found = Resolved(set(), set(), set(undecided))
        for task_id, named in added_by.items():
            task = window.tasks[task_id]
            if _is_void(task, window.floor):
                found.undecided.update(named)
                continue
            gone = erased.among(named, task.place)
            found.removed.update(gone)
            found.added.update(set(named) - gone if gone else named)
        for task_id, named in removed_by.items():
            is_void = _is_void(window.tasks[task_id], window.floor)
            (found.undecided if is_void else found.removed).update(named)
        return found


class Views:
    """Those used last, within `most_bytes`; and partitions, for all of them, within `partition_bytes`."""

    def __init__(self, most_bytes: int, partition_bytes: int) -> None:
        self._most_bytes = most_bytes
        self.partitions = PartitionCache(partition_bytes)
        self._kept: OrderedDict[tuple[str, str], View] = OrderedDict()
        self._sizes: dict[tuple[str, str], int] = {}
        self._total = 0
        self._lock = threading.Lock()

    def get(self, account: str, name: str) -> View:
        with self._lock:
            view = self._kept.get((account, name))
            if view is None:
                view = self._kept[account, name] = View(self._most_bytes, self.partitions)
            self._kept.move_to_end((account, name))
            return view

    def note_size(self, account: str, name: str, view: View) -> None:
        """Tell how large a view is by now; those that were not used for longest make room."""
        key, size = (account, name), view.size
        with self._lock:
            if self._kept.get(key) is not view:
                return
            self._total += size - self._sizes.get(key, 0)
            self._sizes[key] = size
            while self._total > self._most_bytes and len(self._kept) > 1:
                oldest, _ = self._kept.popitem(last=False)
                self._total -= self._sizes.pop(oldest, 0)


def resolve_scanning(
    connection: Connection,
    view: View,
    tasks: Sequence[Task],
    members: Collection[bytes],
    erased: Erased,
    read: Callable[[int], Names],
) -> Resolved:
    """What `tasks`, in the order of their places, say of `members`, from their pages; of others what the base says."""
    window = view.known_window
    found = _resolve_from_pages(window, tasks, members, erased, read)
    if found.undecided:
        found = _merged(found, _resolve_from_base(connection, view, found.undecided, erased))
    return found


def _resolve_from_pages(
    window: Window, tasks: Sequence[Task], members: Collection[bytes], erased: Erased, read: Callable[[int], Names]
) -> Resolved:
    """From the pages themselves; partitions that have as many of these are asked about together."""
    found = Resolved(set(), set(), set())
    if window.is_between_rounds:
        return _merged(found, resolve(members, _steps(tasks, window.settled, read), erased))
    by_state: dict[tuple[int, int], list[bytes]] = {}
    for index, wanted in window.partitions.by_row(members).items():
        row = window.partitions.rows[index]
        by_state.setdefault((row.round, row.version), []).extend(wanted)
    for (round_number, version), wanted in by_state.items():
        state = Partition(0, 1, round=round_number, version=version)
        more = resolve(wanted, _steps(tasks, state, read), erased)
        found.added.update(more.added)
        found.removed.update(more.removed)
        found.undecided.update(more.undecided)
    return found


def _resolve_from_base(connection: Connection, view: View, members: Collection[bytes], erased: Erased) -> Resolved:
    window = view.known_window
    found = Resolved(set(), set(), set())
    for index, wanted in window.partitions.by_row(members).items():
        partition = window.partitions.rows[index]
        there: set[bytes] = set()
        if partition.digest:
            there = set(wanted)
            there -= erased.in_base(there, partition.place)
            if there:
                kept = view.partitions.read(connection, window.row, partition, window.erasure)
                there = _among(there, kept)
        found.added.update(there)
        found.removed.update(set(wanted) - there)
    return found


def _among(wanted: set[bytes], members: Sequence[bytes]) -> set[bytes]:
    """Those of `wanted` who are among `members`, which are sorted."""
    if len(wanted) * _STEPS_PER_LOOK_UP > len(members):
        return wanted.intersection(members)
    positions = ((member, bisect.bisect_left(members, member)) for member in wanted)
    return {member for member, at in positions if at < len(members) and members[at] == member}


def _steps(tasks: Sequence[Task], partition: Partition, read: Callable[[int], Names]) -> Iterator[Step]:
    """The newest first, without what `partition` has already."""
    for task in reversed(tasks):
        is_floor = task.is_floor and not task.is_in(partition)
        pages = [page.version for page in task.pages if not task.is_in(partition, page.version)]
        if is_floor or pages:
            yield Step(task.place, is_floor, map(read, pages))


def _merged(found: Resolved, more: Resolved) -> Resolved:
    """`more` is about those that were undecided."""
    return Resolved(found.added | more.added, found.removed | more.removed, more.undecided)


def _is_void(task: Task, floor: Task | None) -> bool:
    return floor is not None and task.place < floor.place


def _newer(tasks: Sequence[Task], task: Task) -> Iterator[int]:
    for other in reversed(tasks):
        if other.place <= task.place:
            return
        yield other.id
