"""What became of a snapshot: each answer is a fact of its own, and never given again.

A snapshot is complete when pages that do more than remove cover all its numbers, or when all pages do and nothing came
for a quiet time. One that would shrink its list too much is held for an operator.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from sqlalchemy import and_, or_, select

from cohort_sync.truth.facts.lists import list_of_id
from cohort_sync.truth.facts.log import Fact, append
from cohort_sync.truth.facts.tasks import IMPORT, SYNC, is_void, update_task
from cohort_sync.truth.tables import TASKS

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from attribute_lists.projection.truth import Version

QUIET_MS = 15 * 60 * 1000
HELD_MS = 30 * 86_400_000  # after which a held one is refused
WINDOW_MS = 4 * 86_400_000  # after which an unfinished one is given up

End = Literal["complete", "held", "accepted", "refused", "given_up"]

_MOST_DUE = 500  # a look


@dataclass(frozen=True, slots=True)
class Undecided:
    """A snapshot all of whose pages are here. `is_void`: nothing that it says counts, so it may be complete."""

    task: int
    row: int
    is_void: bool


@dataclass(frozen=True, slots=True)
class Due:
    """What time has brought about: snapshots to be decided, and those that end as they are."""

    undecided: list[int]
    refused: list[int]
    given_up: list[int]


def undecided(connection: Connection, task: int) -> Undecided | None:
    """None: it was decided meanwhile."""
    is_open = and_(TASKS.c.id == task, TASKS.c.state == "open")
    found = connection.execute(select(TASKS.c.list, is_void()).where(is_open)).first()
    return None if found is None else Undecided(task, found[0], bool(found[1]))


def due(connection: Connection, now: int) -> Due:
    """What is due at `now` (Unix milliseconds of this machine, as are the times of arrival)."""
    is_open = and_(TASKS.c.mode == "snapshot", TASKS.c.state == "open")
    is_sync = TASKS.c.kind == SYNC
    has_all = TASKS.c.adding >= TASKS.c.total  # the process ended before it was decided
    # One that is made of removes alone says whom there shall not be, and not that there shall be nobody.
    quiet = and_(TASKS.c.pages >= TASKS.c.total, TASKS.c.adding > 0, TASKS.c.last_page_at <= now - QUIET_MS)
    is_held = and_(TASKS.c.mode == "snapshot", TASKS.c.state == "held")
    ready = select(TASKS.c.id).where(is_open, is_sync, or_(has_all, quiet)).order_by(TASKS.c.at)
    held = select(TASKS.c.id).where(is_held, TASKS.c.state_at <= now - HELD_MS)
    # An import ends with its command, or never.
    is_short = or_(TASKS.c.kind == IMPORT, TASKS.c.pages < TASKS.c.total, TASKS.c.adding == 0)
    old = select(TASKS.c.id).where(is_open, is_short, TASKS.c.last_page_at <= now - WINDOW_MS)
    return Due(*(list(connection.execute(wanted.limit(_MOST_DUE)).scalars()) for wanted in (ready, held, old)))


def held(connection: Connection, row: int) -> list[int]:
    """The list's snapshots that wait for an operator and are not void, in the order of their places."""
    is_held = and_(TASKS.c.mode == "snapshot", TASKS.c.state == "held")
    waiting = select(TASKS.c.id).where(TASKS.c.list == row, is_held, ~is_void())
    return list(connection.execute(waiting.order_by(TASKS.c.at, TASKS.c.name, TASKS.c.run)).scalars())


def end(
    connection: Connection,
    task: int,
    state: End,
    *,
    of: tuple[str, ...],
    now: int,
    sizes: tuple[int, int] | None = None,
) -> tuple[int, Version] | None:
    """Note what became of a snapshot that is in one of the states `of`; the list, and its version. None: in none.

    `sizes`: members of the list, and of the snapshot, by which that was decided.
    """
    found = connection.execute(
        select(TASKS.c.list, TASKS.c.name, TASKS.c.run, TASKS.c.at).where(TASKS.c.id == task, TASKS.c.state.in_(of))
    ).first()
    if found is None:
        return None
    row = list_of_id(connection, found.list)
    update_task(connection, task, state=state, state_at=now)
    detail: dict[str, int | str] = {"state": state}
    if sizes is not None:
        detail |= {"live": sizes[0], "staged": sizes[1]}
    fact = Fact(kind="end", task=task, task_name=found.name, run=found.run, place=found.at, detail=detail)
    return row.id, append(connection, row, fact, now=now)
