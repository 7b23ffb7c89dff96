"""Tasks: runs of a name, their places, and what became of them.

A run is one task; a name that is used again begins another run. Times are Unix milliseconds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import and_, bindparam, delete, exists, func, insert, select, tuple_, update

from cohort_sync.truth.database.prepared import Prepared
from cohort_sync.truth.facts.log import REMEMBERED_MS
from cohort_sync.truth.order import OPERATOR, SENDER
from cohort_sync.truth.tables import BASES, FACTS, REPEATS, TASKS

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement, Connection

    from cohort_sync.truth.facts.log import ListRow
    from cohort_sync.truth.order import Mode, TaskState

SYNC, DRAIN, DELETE, IMPORT = "sync", "drain", "delete", "import"

HOUR_MS = 3_600_000
_FORGOTTEN_AT_ONCE = 2000  # rows
_ROUNDING = 1e-6
ADD, REMOVE = 1, 2  # kinds of a page; one may be both

_COLUMNS = (
    TASKS.c.id,
    TASKS.c.name,
    TASKS.c.run,
    TASKS.c.mode,
    TASKS.c.at,
    TASKS.c.newest,
    TASKS.c.total,
    TASKS.c.pages,
    TASKS.c.adding,
    TASKS.c.state,
    TASKS.c.state_at,
)
_RUNS = Prepared(
    select(*_COLUMNS, REPEATS.c.task.is_not(None))
    .outerjoin(
        REPEATS,
        and_(
            REPEATS.c.list == bindparam("row"),
            REPEATS.c.name == bindparam("page"),
            REPEATS.c.task == TASKS.c.id,
        ),
    )
    .where(TASKS.c.list == bindparam("row"), TASKS.c.name == bindparam("task"), TASKS.c.rank == SENDER)
    .order_by(TASKS.c.run)
)
_KNOWING = (
    select(*_COLUMNS, REPEATS.c.task.is_not(None))
    .join(REPEATS, REPEATS.c.task == TASKS.c.id)
    .where(REPEATS.c.list == bindparam("row"), REPEATS.c.name == bindparam("page"))
    .order_by(TASKS.c.at, TASKS.c.run)
)
_SAME_NUMBER = Prepared(
    select(FACTS.c.place, FACTS.c.adds, FACTS.c.removes).where(
        FACTS.c.task == bindparam("task"), FACTS.c.number == bindparam("number"), FACTS.c.kind == "page"
    )
)
_INSERT = Prepared(insert(TASKS).returning(TASKS.c.id), *(column.name for column in TASKS.c if column.name != "id"))
_UPDATE = update(TASKS).where(TASKS.c.id == bindparam("row"))
_WRITE_BACK = Prepared(_UPDATE, "at", "newest", "total", "pages", "adding", "state", "state_at", "last_page_at")
_REMEMBER = Prepared(insert(REPEATS), *REPEATS.c.keys())


@dataclass(slots=True)
class Run:
    """A task as its row stands; `knows`: the page that was asked for is known to belong to it."""

    id: int
    name: str
    run: int
    mode: Mode
    at: int
    newest: int
    total: int
    pages: int
    adding: int
    state: TaskState
    state_at: int
    knows: bool = False

    @property
    def has_all_pages(self) -> bool:
        return self.pages >= self.total

    @property
    def has_all_adding(self) -> bool:
        """Whether pages that do more than remove cover every number: those that remove may be numbered apart."""
        return self.adding >= self.total


@dataclass(frozen=True, slots=True)
class SameNumber:
    """A page of a run, by its number: when it was signed, and its kinds."""

    signed_at: int
    kinds: int


def kinds_of(adds: int, removes: int) -> int:
    """A page that names nobody counts as one that adds."""
    return (ADD if adds or not removes else 0) | (REMOVE if removes else 0)


def runs(connection: Connection, row: ListRow, task: str, page: bytes) -> list[Run]:
    """The runs of a sender's task in the order in which they began; which of them know `page`."""
    found = _RUNS.run(connection, {"row": row.id, "task": task, "page": page})
    return [Run(*fields) for fields in found]


def runs_knowing(connection: Connection, row: ListRow, page: bytes) -> list[Run]:
    """The tasks that know `page`, whatever they are called."""
    found = connection.execute(_KNOWING, {"row": row.id, "page": page})
    return [Run(*fields) for fields in found]


def same_number(connection: Connection, run: Run, number: int) -> list[SameNumber]:
    found = _SAME_NUMBER.run(connection, {"task": run.id, "number": number})
    return [SameNumber(place, kinds_of(adds, removes)) for place, adds, removes in found]


def signed_times(connection: Connection, run: Run) -> list[int]:
    """When pages of the run were signed, as far as its facts are there still."""
    places = select(FACTS.c.place).where(FACTS.c.task == run.id, FACTS.c.kind.in_(("page", "move")))
    return [run.at, run.newest, *connection.execute(places).scalars()]


def insert_task(
    connection: Connection,
    row: ListRow,
    *,
    kind: str,
    name: str,
    run: int,
    mode: Mode,
    at: int,
    rank: int,
    total: int,
    state: TaskState,
    now: int,
    newest: int | None = None,
    pages: int = 0,
    adding: int = 0,
) -> int:
    """A new task's row id; the list has then a newest place that is no earlier."""
    cursor = _INSERT.run(
        connection,
        {
            "list": row.id,
            "kind": kind,
            "name": name,
            "run": run,
            "mode": mode,
            "at": at,
            "rank": rank,
            "newest": at if newest is None else newest,
            "total": total,
            "pages": pages,
            "adding": adding,
            "state": state,
            "state_at": now,
            "last_page_at": now,
        },
    )
    row.newest_place = max(row.newest_place, at)
    return int(cursor.fetchall()[0][0])


def write_back(connection: Connection, run: Run, *, now: int) -> None:
    """Write what a page has changed of its run."""
    _WRITE_BACK.run(
        connection,
        {
            "row": run.id,
            "at": run.at,
            "newest": run.newest,
            "total": run.total,
            "pages": run.pages,
            "adding": run.adding,
            "state": run.state,
            "state_at": run.state_at,
            "last_page_at": now,
        },
    )


def remember_page(connection: Connection, row: ListRow, run: Run, page: bytes, *, now: int) -> None:
    """The run knows `page` from now on."""
    _REMEMBER.run(connection, {"list": row.id, "name": page, "task": run.id, "accepted_at": now})


def update_task(connection: Connection, task: int, **changed: int | str) -> None:
    connection.execute(_UPDATE, {"row": task, **changed})


def insert_operators_task(
    connection: Connection, row: ListRow, *, kind: str, mode: Mode, at: int, state: TaskState, now: int
) -> tuple[int, str]:
    """What an operator does, as a task: its row id and its name, which puts it behind those before it."""
    name = f"{row.version + 1:015d}"
    task = insert_task(
        connection, row, kind=kind, name=name, run=0, mode=mode, at=at, rank=OPERATOR, total=0, state=state, now=now
    )
    return task, name


def has_tasks_after(connection: Connection, row: ListRow, place: int) -> bool:
    """Whether a sync or an import of the list is placed later (ms)."""
    return (
        connection.execute(
            select(TASKS.c.id)
            .where(TASKS.c.list == row.id, TASKS.c.at > place, TASKS.c.kind.in_((SYNC, IMPORT)))
            .limit(1)
        ).first()
        is not None
    )


def newest_drain(connection: Connection, row: ListRow) -> tuple[int, int]:
    """Place of the newest drain that the sender asked for, and the next run's number; -1 where there is none."""
    at, run = connection.execute(
        select(func.max(TASKS.c.at), func.max(TASKS.c.run)).where(
            TASKS.c.list == row.id, TASKS.c.name == "", TASKS.c.rank == SENDER
        )
    ).one()
    return (-1, 0) if at is None else (at, run + 1)


def is_void() -> ColumnElement[bool]:
    """Of a row of `tasks`: a drain, a deletion or a snapshot that counts is placed later."""
    later = TASKS.alias("later")
    return exists().where(
        later.c.list == TASKS.c.list,
        later.c.mode == "snapshot",
        later.c.state.in_(("complete", "accepted")),
        tuple_(later.c.at, later.c.rank, later.c.name, later.c.run)
        > tuple_(TASKS.c.at, TASKS.c.rank, TASKS.c.name, TASKS.c.run),
    )


def _is_in_base() -> ColumnElement[bool]:
    """Of a row of `tasks`: all partitions have it. A page of it that comes now is placed above them."""
    parts = select(func.sum(1.0 / BASES.c.partitions)).where(BASES.c.list == TASKS.c.list).scalar_subquery()
    at = select(func.min(BASES.c.at)).where(BASES.c.list == TASKS.c.list).scalar_subquery()
    return and_(TASKS.c.at < at, parts > 1 - _ROUNDING)


def forget_tasks(connection: Connection, now: int) -> int:
    """Drop a bounded number of pages that were known for long enough as of `now`, then of tasks that are in a base.

    How many; 0: that was all.
    """
    before = now - REMEMBERED_MS
    keys = (REPEATS.c.list, REPEATS.c.name, REPEATS.c.task)
    old_pages = select(*keys).where(REPEATS.c.accepted_at < before).limit(_FORGOTTEN_AT_ONCE)
    pages = connection.execute(delete(REPEATS).where(tuple_(*keys).in_(old_pages))).rowcount
    if pages:
        return pages
    later = TASKS.alias("later")
    old_tasks = (
        select(TASKS.c.id)
        .where(
            TASKS.c.last_page_at < before,
            exists().where(later.c.list == TASKS.c.list, later.c.at > TASKS.c.at),  # the latest one is shown
            _is_in_base(),
            ~exists().where(FACTS.c.task == TASKS.c.id),
            ~exists().where(REPEATS.c.task == TASKS.c.id),
        )
        .limit(_FORGOTTEN_AT_ONCE)
    )
    return connection.execute(delete(TASKS).where(TASKS.c.id.in_(old_tasks))).rowcount
