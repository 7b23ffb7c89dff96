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
from cohort_sync.truth.order import Place

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Connection, Row

_LIST = text(
    "SELECT id, account, name, source, is_deleted, version, chain, base_changes, "
    "(SELECT erasure FROM installation) AS erasure FROM lists WHERE id = :list"
)
_HEADER = "SELECT partition, partitions, at, rank, task, run, round, version, members, digest FROM bases "
_PARTITIONS = text(_HEADER + "WHERE list = :list ORDER BY partition")
_ONE_HEADER = text(_HEADER + "WHERE list = :list AND partition = :partition")
_TASKS = text(
    "SELECT id, name, run, rank, at, kind, mode, state, last_page_at, round FROM tasks WHERE list = :list "
    "AND (round = 0 OR round > :settled OR id IN (SELECT task FROM facts WHERE list = :list AND body IS NOT NULL))"
)
_ONE_TASK = text("SELECT id, name, run, rank, at, kind, mode, state, last_page_at, round FROM tasks WHERE id = :task")
_PAGES = text(
    "SELECT task, version, adds, removes FROM facts WHERE list = :list AND task IS NOT NULL AND body IS NOT NULL "
    "ORDER BY version"
)
_NEWER_FACTS = text(
    "SELECT task, version, adds, removes, body IS NOT NULL AS has_body FROM facts "
    "WHERE list = :list AND version > :version ORDER BY version"
)
_BODY = text("SELECT body, body_digest FROM facts WHERE list = :list AND version = :version")
_PARTITION = text("SELECT body, digest FROM bases WHERE list = :list AND partition = :partition")


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

    `erasure`: number of the newest erasure; `base_changes` counts changes of base and rounds. `floor`: the newest task
    that makes void what is placed before it, in some partition at least.
    """

    row: int
    account: str
    name: str
    source: str
    is_deleted: bool
    version: int
    chain: bytes
    base_changes: int
    erasure: int
    partitions: Partitions
    tasks: dict[int, Task] = field(default_factory=dict)
    ordered: list[Task] = field(default_factory=list)
    droppable: bool = False
    floor: Task | None = None
    settled: Partition = field(init=False)  # what all partitions have, as the numbers of one

    @classmethod
    def read(cls, connection: Connection, row: int) -> Window | None:
        """As of the connection's transaction. None: there is no such list."""
        found = connection.execute(_LIST, {"list": row}).one_or_none()
        if found is None:
            return None
        window = cls(
            row=found.id,
            account=found.account,
            name=found.name,
            source=found.source,
            is_deleted=bool(found.is_deleted),
            version=found.version,
            chain=bytes(found.chain),
            base_changes=found.base_changes,
            erasure=found.erasure,
            partitions=Partitions.of(read_partitions(connection, row)),
        )
        parameters = {"list": row, "settled": window.settled.round}
        window.tasks = {task.id: task for task in map(_task, connection.execute(_TASKS, parameters))}
        for page in connection.execute(_PAGES, {"list": row}):
            window._add_page(page.task, Page(page.version, page.adds, page.removes))
        window.ordered = sorted(filter(window._matters, window.tasks.values()), key=_place_of)
        window._find_floor()
        return window

    def refresh(self, connection: Connection) -> list[Task] | None:
        """Bring it up to date, where nothing was folded since: the tasks that facts are new of.

        None: read it anew.
        """
        found = connection.execute(_LIST, {"list": self.row}).one_or_none()
        if found is None or found.base_changes != self.base_changes:
            return None
        self.erasure, self.is_deleted = found.erasure, bool(found.is_deleted)
        if found.version == self.version:
            return []
        facts = connection.execute(_NEWER_FACTS, {"list": self.row, "version": self.version}).all()
        changed = {fact.task for fact in facts if fact.task is not None}
        for task_id in changed:
            self._reload(connection, task_id)
        for fact in facts:
            if fact.has_body and fact.task is not None:
                self._add_page(fact.task, Page(fact.version, fact.adds, fact.removes))
        tasks = [self.tasks[task_id] for task_id in changed]
        for task in filter(self._matters, tasks):
            bisect.insort(self.ordered, task, key=_place_of)
        if any(task.mode == "snapshot" for task in tasks):
            self._find_floor()
        self.version, self.chain = found.version, bytes(found.chain)
        return tasks

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
        found = connection.execute(_ONE_TASK, {"task": task_id}).one_or_none()
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


def read_partitions(connection: Connection, row: int) -> Iterator[Partition]:
    return map(partition_of, connection.execute(_PARTITIONS, {"list": row}))


def read_partition(connection: Connection, row: int, partition: Partition) -> list[bytes]:
    """Its members, sorted. Raises `DamagedError`, and `ChangedError` where it is another by now."""
    return bases.unseal(row, partition, read_partition_body(connection, row, partition))


def read_newest_partition(connection: Connection, row: int, partition: Partition) -> tuple[Partition, list[bytes]]:
    """`partition` as it is by now, and its members, sorted. Raises as `read_partition`; splits count."""
    found = connection.execute(_ONE_HEADER, {"list": row, "partition": partition.number}).one_or_none()
    if found is None and not partition.digest:
        return partition, []
    if found is None or found.partitions != partition.of:
        raise ChangedError
    newest = partition_of(found)
    return newest, read_partition(connection, row, newest)


def read_partition_body(connection: Connection, row: int, partition: Partition) -> bytes:
    """Its body, unchecked. Raises `ChangedError`."""
    found = connection.execute(_PARTITION, {"list": row, "partition": partition.number}).one_or_none()
    if found is None or bytes(found.digest) != partition.digest:
        raise ChangedError
    return bytes(found.body)


def read_page(connection: Connection, row: int, version: int) -> Names:
    """Whom a page names. Raises `DamagedError`, and `ChangedError` where it was dropped."""
    found = connection.execute(_BODY, {"list": row, "version": version}).one_or_none()
    if found is None or found.body is None:
        raise ChangedError
    return open_page(row, version, found)


def open_page(row: int, version: int, found: Row[Any]) -> Names:
    """The names in a row of `body` and `body_digest`. Raises `DamagedError`."""
    what = f"page {version} of list {row}"
    if page_digest(found.body) != found.body_digest:
        raise DamagedError(row, what)
    try:
        return unpack(found.body)
    except ValueError:
        raise DamagedError(row, what) from None


def page_digest(body: bytes) -> bytes:
    return hashlib.blake2b(body, digest_size=16).digest()


def partitions_at_once(partitions: int, named: int, most: int) -> int:
    """Of how many partitions `most` members of pages are in memory at once, where pages name `named` over all."""
    return max(1, partitions if named <= most else partitions * most // named)


def _place_of(task: Task) -> Place:
    return task.place


def partition_of(found: Row[Any]) -> Partition:
    return Partition(
        number=found.partition,
        of=found.partitions,
        place=Place(found.at, found.rank, found.task, found.run),
        round=found.round,
        version=found.version,
        members=found.members,
        digest=bytes(found.digest),
    )


def _task(found: Row[Any]) -> Task:
    return Task(
        id=found.id,
        place=Place(found.at, found.rank, found.name, found.run),
        kind=found.kind,
        mode=found.mode,
        state=found.state,
        last_page_at=found.last_page_at,
        round=found.round,
    )
