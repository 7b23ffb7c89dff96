"""The window of a list: what the database holds of it beyond its base, as of one moment, without the bodies.

Pages are read one at a time afterwards, in transactions of their own: they never change, and are dropped only once all
partitions of the base have them. Who meets one that was dropped since, or a partition that is another now, reads the
window again.
"""

from __future__ import annotations

import bisect
import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import text

from attribute_lists.bodies import Names, unpack
from cohort_sync.truth import bases
from cohort_sync.truth.bases import DamagedError, Partition, Partitions
from cohort_sync.truth.database.prepared import Prepared
from cohort_sync.truth.order import Place

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sqlalchemy import Connection

_LIST = Prepared(text(
    "SELECT id, version, chain, base_changes, is_deleted, source, (SELECT erasure FROM installation) FROM lists "
    "WHERE id = :list"
))  # fmt: skip
_NAMED = Prepared(text(
    "SELECT id, version, chain, base_changes, is_deleted, source, (SELECT erasure FROM installation) FROM lists "
    "WHERE account = :account AND name = :name"
))  # fmt: skip
_PARTITIONS = Prepared(text(
    "SELECT partition, partitions, at, rank, task, run, round, version, members, digest FROM bases "
    "WHERE list = :list ORDER BY partition"
))  # fmt: skip
_PARTITION = Prepared(text(
    "SELECT partition, partitions, at, rank, task, run, round, version, members, digest, body FROM bases "
    "WHERE list = :list AND partition = :partition"
))  # fmt: skip
_TASKS = Prepared(text(
    "SELECT id, at, rank, name, run, kind, mode, state, last_page_at, round FROM tasks WHERE list = :list "
    "AND (round = 0 OR round > :settled OR id IN (SELECT task FROM facts WHERE list = :list AND body IS NOT NULL))"
))  # fmt: skip
_ONE_TASK = Prepared(
    text("SELECT id, at, rank, name, run, kind, mode, state, last_page_at, round FROM tasks WHERE id = :task")
)
_PAGES = Prepared(text(
    "SELECT task, version, adds, removes, body IS NOT NULL FROM facts "
    "WHERE list = :list AND version > :version AND task IS NOT NULL ORDER BY version"
))  # fmt: skip
_BODY = Prepared(text("SELECT body, body_digest FROM facts WHERE list = :list AND version = :version"))


class ListRecord(NamedTuple):
    """The row of a list, and the number of the newest erasure of all."""

    row: int
    version: int
    chain: bytes
    base_changes: int
    is_deleted: int
    source: str
    erasure: int


class ChangedError(Exception):
    """What was to be read has been folded or rewritten since: read the window again."""


class Page(NamedTuple):
    """A page whose body is there; `version` names it, `adds` and `removes` are how many it named as it came."""

    version: int
    adds: int
    removes: int


@dataclass(slots=True)
class Task:
    """A task whose place may still matter.

    `round`: the first round of folding that took it; 0: none yet. `named`: how many members its pages name.
    """

    id: int
    place: Place
    kind: str
    mode: str
    state: str
    last_page_at: int
    round: int
    pages: list[Page] = field(default_factory=list)
    named: int = 0

    @property
    def is_floor(self) -> bool:
        return self.mode == "snapshot" and self.state in ("complete", "accepted")

    @property
    def counts(self) -> bool:
        """Whether its pages say anything: a snapshot that is open, held, refused or given up does not."""
        return self.mode == "delta" or self.is_floor

    def is_in(self, partition: Partition, version: int | None = None) -> bool:
        """Whether a partition has it: its page `version`, or, without one, what it makes void."""
        return 0 < self.round <= partition.round and (version is None or version <= partition.version)


@dataclass(slots=True)
class Window:
    """One list. `tasks` by row, `ordered` by place; `droppable`: pages are there that all partitions have.

    `floor`: the newest task that makes void what is placed before it, in some partition at least.
    """

    record: ListRecord
    partitions: Partitions
    tasks: dict[int, Task] = field(default_factory=dict)
    ordered: list[Task] = field(default_factory=list)
    droppable: bool = False
    floor: Task | None = None
    settled: Partition = field(init=False)  # what all partitions have, as the numbers of one

    @classmethod
    def read(cls, connection: Connection, record: ListRecord) -> Window:
        """As of the connection's transaction, like `record`."""
        row = record.row
        window = cls(record, Partitions.of(read_partitions(connection, row)))
        found = _TASKS.run(connection, {"list": row, "settled": window.settled.round})
        window.tasks = {task.id: task for task in map(_task, found)}
        for task, version, adds, removes, has_body in _PAGES.run(connection, {"list": row, "version": -1}):
            if has_body:
                window._add_page(task, Page(version, adds, removes))
        window.ordered = sorted(filter(window._matters, window.tasks.values()), key=_place_of)
        window._find_floor()
        return window

    def refresh(self, connection: Connection, record: ListRecord) -> list[Task] | None:
        """Bring it up to date, where nothing was folded since: the tasks that facts are new of.

        None: read it anew.
        """
        if record.row != self.row or record.base_changes != self.record.base_changes:
            return None
        known, self.record = self.version, record
        if record.version == known:
            return []
        facts = _PAGES.run(connection, {"list": self.row, "version": known}).fetchall()
        changed = {fact[0] for fact in facts}
        for task_id in changed:
            self._reload(connection, task_id)
        for task_id, version, adds, removes, has_body in facts:
            if has_body:
                self._add_page(task_id, Page(version, adds, removes))
        tasks = [self.tasks[task_id] for task_id in changed]
        for task in filter(self._matters, tasks):
            bisect.insort(self.ordered, task, key=_place_of)
        if any(task.mode == "snapshot" for task in tasks):
            self._find_floor()
        return tasks

    @property
    def row(self) -> int:
        return self.record.row

    @property
    def version(self) -> int:
        return self.record.version

    @property
    def erasure(self) -> int:
        return self.record.erasure

    def __post_init__(self) -> None:
        rows = self.partitions.rows
        self.settled = Partition(0, 1, round=min(row.round for row in rows), version=min(row.version for row in rows))

    def cut(self, least: int) -> None:
        """See a list without a base as so many empty partitions."""
        if not any(row.digest for row in self.partitions.rows):
            self.partitions = Partitions.of((), least=least)

    @property
    def members_in_base(self) -> int:
        return sum(row.members for row in self.partitions.rows)

    @property
    def is_between_rounds(self) -> bool:
        """Whether what some partitions have of a task all have."""
        rows = self.partitions.rows
        if len({(row.round, row.version) for row in rows}) == 1:
            return True
        settled = self.settled
        return not any(
            (task.is_in(row) and not task.is_in(settled)) or any(task.is_in(row, page.version) for page in task.pages)
            for task in self.ordered
            if task.round
            for row in rows
        )

    @property
    def counting(self) -> list[Task]:
        """The tasks that say something, in the order of their places."""
        return [task for task in self.ordered if task.counts]

    def _add_page(self, task_id: int, page: Page) -> None:
        task = self.tasks.get(task_id)
        if task is None:
            raise DamagedError(self.row, f"the task of fact {page.version} of list {self.row}")
        if task.is_in(self.settled, page.version):
            self.droppable = True
        else:
            task.pages.append(page)
            task.named += page.adds + page.removes

    def _reload(self, connection: Connection, task_id: int) -> None:
        found = _ONE_TASK.run(connection, {"task": task_id}).fetchone()
        if found is None:
            raise DamagedError(self.row, f"task {task_id} of list {self.row}")
        task, known = _task(found), self.tasks.get(task_id)
        self.tasks[task_id] = task
        if known is None:
            return
        task.pages, task.named = known.pages, known.named
        position = bisect.bisect_left(self.ordered, known.place, key=_place_of)
        if position < len(self.ordered) and self.ordered[position] is known:
            del self.ordered[position]

    def _matters(self, task: Task) -> bool:
        return bool(task.pages) or not task.is_in(self.settled)

    def _find_floor(self) -> None:
        settled = self.settled
        self.floor = next((task for task in reversed(self.ordered) if task.is_floor and not task.is_in(settled)), None)


def read_list(connection: Connection, row: int) -> ListRecord | None:
    found = _LIST.run(connection, {"list": row}).fetchone()
    return None if found is None else ListRecord(*found)


def read_list_named(connection: Connection, account: str, name: str) -> ListRecord | None:
    found = _NAMED.run(connection, {"account": account, "name": name}).fetchone()
    return None if found is None else ListRecord(*found)


def read_partitions(connection: Connection, row: int) -> Iterator[Partition]:
    return map(partition_of, _PARTITIONS.run(connection, {"list": row}))


def read_partition(connection: Connection, row: int, partition: Partition) -> list[bytes]:
    """Its members, sorted. Raises `DamagedError`, and `ChangedError` where it is another by now."""
    return bases.unseal(row, partition, read_partition_body(connection, row, partition))


def read_partition_body(connection: Connection, row: int, partition: Partition) -> bytes:
    """Its body, unchecked. Raises `ChangedError`."""
    found = _PARTITION.run(connection, {"list": row, "partition": partition.number}).fetchone()
    if found is None or found[-2] != partition.digest:
        raise ChangedError
    body: bytes = found[-1]
    return body


def read_newest_partition(connection: Connection, row: int, partition: Partition) -> tuple[Partition, list[bytes]]:
    """`partition` as it is by now, and its members, sorted. Raises as `read_partition`; splits count."""
    found = _PARTITION.run(connection, {"list": row, "partition": partition.number}).fetchone()
    if found is None and not partition.digest:
        return partition, []
    if found is None:
        raise ChangedError
    newest = partition_of(found[:-1])
    if newest.of != partition.of:
        raise ChangedError
    return newest, bases.unseal(row, newest, found[-1])


def read_page(connection: Connection, row: int, version: int) -> Names:
    """Whom a page names. Raises `DamagedError`, and `ChangedError` where it was dropped."""
    found = _BODY.run(connection, {"list": row, "version": version}).fetchone()
    if found is None or found[0] is None:
        raise ChangedError
    return open_page(row, version, *found)


def open_page(row: int, version: int, body: bytes, digest: bytes) -> Names:
    """The names in a body of which `digest` is kept. Raises `DamagedError`."""
    what = f"page {version} of list {row}"
    if page_digest(body) != digest:
        raise DamagedError(row, what)
    try:
        return unpack(body)
    except ValueError:
        raise DamagedError(row, what) from None


def page_digest(body: bytes) -> bytes:
    return hashlib.blake2b(body, digest_size=16).digest()


def partitions_at_once(partitions: int, named: int, most: int) -> int:
    """Of how many partitions `most` members of pages are in memory at once, where pages name `named` over all."""
    return max(1, partitions if named <= most else partitions * most // named)


def _place_of(task: Task) -> Place:
    return task.place


def partition_of(found: Sequence[Any]) -> Partition:
    """From partition, partitions, at, rank, task, run, round, version, members and digest."""
    number, of, at, rank, task, run, round_number, version, members, digest = found
    return Partition(number, of, Place(at, rank, task, run), round_number, version, members, digest)


def _task(found: Sequence[Any]) -> Task:
    row, at, rank, name, run, kind, mode, state, last_page_at, round_number = found
    return Task(row, Place(at, rank, name, run), kind, mode, state, last_page_at, round_number)
