"""Acceptance of pages and drains: whether one is known, which run it belongs to, and what it changes."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cohort_sync.truth.facts.erasures import erasures_so_far
from cohort_sync.truth.facts.lists import list_of_segment, make_list, set_deleted
from cohort_sync.truth.facts.log import Fact, append
from cohort_sync.truth.facts.tasks import (
    ADD,
    DRAIN,
    HOUR_MS,
    SYNC,
    Run,
    has_tasks_after,
    insert_task,
    kinds_of,
    newest_drain,
    remember_page,
    runs,
    runs_knowing,
    same_number,
    signed_times,
    update_task,
    write_back,
)
from cohort_sync.truth.order import SENDER

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sqlalchemy import Connection

    from attribute_lists.projection.truth import Version
    from cohort_sync.truth.facts.incoming import Drain, Page, Segment
    from cohort_sync.truth.facts.log import ListRow
    from cohort_sync.truth.facts.tasks import SameNumber
    from cohort_sync.truth.order import TaskState

_ENDED: tuple[TaskState, ...] = ("refused", "given_up")


@dataclass(frozen=True, slots=True)
class Accepted:
    """What became of something that was accepted: the list, and the version that holds it.

    `is_known`: it was accepted before, so nothing was written. `is_deleted`: the list stays deleted. `registry`:
    whether lists or aliases changed with it.
    """

    row: int
    account: str
    list_id: str
    version: Version
    is_known: bool = False
    is_deleted: bool = False
    registry: bool = False


@dataclass(frozen=True, slots=True)
class PackedPage:
    """A page ready to be stored: its members packed, without the persons erased by then.

    `erasures`: the number of the newest erasure that was looked at, None: of none. `erased_from`: the place (ms) from
    which on.
    """

    page: Page
    body: bytes
    body_digest: bytes
    erasures: int | None
    erased_from: int


class ErasedSinceError(Exception):
    """Persons were erased that the packed page may name: pack it again without those erased from `place` (ms) on."""

    def __init__(self, place: int) -> None:
        super().__init__(place)
        self.place = place


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the acceptance of one page depends on beside the database. Times are Unix milliseconds.

    `bound`: the lower bound of the sender's clock. `latest_erasure`: no erasure is placed later. `now` is only shown.
    """

    bound: int
    latest_erasure: int
    is_active: bool
    now: int


def accept_page(
    connection: Connection, packed: PackedPage, surroundings: Callable[[], Surroundings]
) -> tuple[Accepted, int | None]:
    """What became of the page, and the snapshot that has all its pages by it. Raises `ErasedSinceError`."""
    page, around = packed.page, surroundings()
    row, is_new_list = _list(connection, page.segment, around)
    signed = max(row.newest_place + 1, around.bound) if page.signed_at is None else page.signed_at
    name = _known_by(page)
    family = _family(connection, row, page, name)
    is_used_again = _is_used_again(family, page, signed)
    known = None if is_used_again else _known(connection, family, signed)
    was_deleted = row.is_deleted
    if known is not None:
        moved = page.signed_at is not None and _move_known(connection, row, known, signed, around)
        return _accepted(row, is_known=not moved, registry=was_deleted != row.is_deleted), None
    kinds = kinds_of(len(page.names.add), len(page.names.remove))
    place = max(signed, row.folded_to + 1)  # a page from before the base counts just above it
    run, others = (None, ()) if is_used_again else _fitting(connection, family, page, signed, place, kinds)
    if run is not None and run.at <= row.folded_to:
        run = None  # what it said is in the base
    moved_from: int | None = None
    if run is None:
        run = _begin(connection, row, page, place, family, kinds, around, packed)
        is_new_task = True
    else:
        at = min(run.at, place)
        _check_erasures(connection, packed, around, at)
        moved_from = run.at if at < run.at else None
        _join(connection, row, run, page, at, signed, others, around)
        is_new_task = False
    if name is not None:
        remember_page(connection, row, run, name, now=around.now)
    _follow_place(connection, row, run.at, moved=moved_from is not None)
    row.segment_name = page.segment.name or row.segment_name
    append(
        connection,
        row,
        Fact(
            kind="page",
            task=run.id,
            task_name=run.name,
            run=run.run,
            number=page.number,
            place=signed,
            adds=len(page.names.add),
            removes=len(page.names.remove),
            digest=page.digest,
            body=packed.body,
            body_digest=packed.body_digest,
            detail=None if moved_from is None else {"moved_from": moved_from},
            is_of_new_task=is_new_task,
            skipped=page.skipped,
        ),
        now=around.now,
    )
    is_ready = run.mode == "snapshot" and run.state == "open" and run.has_all_adding
    accepted = _accepted(row, registry=is_new_list or was_deleted != row.is_deleted)
    return accepted, run.id if is_ready else None


def accept_drain(connection: Connection, drain: Drain, surroundings: Callable[[], Surroundings]) -> Accepted:
    """The same drain, or one before the newest, is known: what it would make void is void.

    So is one from before the base, which also holds what came after it.
    """
    around = surroundings()
    row, is_new_list = _list(connection, drain.segment, around)
    newest, run = newest_drain(connection, row)
    at = drain.signed_at
    if at <= max(newest, row.folded_to):
        return _accepted(row, is_known=True, registry=is_new_list)
    task = insert_task(
        connection,
        row,
        kind=DRAIN,
        name="",
        run=run,
        mode="snapshot",
        at=at,
        rank=SENDER,
        total=0,
        state="complete",
        now=around.now,
    )
    row.segment_name = drain.segment.name or row.segment_name
    append(connection, row, Fact(kind="task", task=task, run=run, place=at), now=around.now)
    return _accepted(row, registry=is_new_list)


def _accepted(row: ListRow, *, is_known: bool = False, registry: bool = False) -> Accepted:
    return Accepted(
        row=row.id,
        account=row.account,
        list_id=row.name,
        version=row.shown_version,
        is_known=is_known,
        is_deleted=row.is_deleted,
        registry=registry,
    )


def _list(connection: Connection, segment: Segment, around: Surroundings) -> tuple[ListRow, bool]:
    row = list_of_segment(connection, segment)
    if row is not None:
        return row, False
    return make_list(connection, segment, is_active=around.is_active, now=around.now), True


def _known_by(page: Page) -> bytes | None:
    """What a page is known by; nothing, where its sender names neither it nor its task."""
    if page.name is not None:
        return b"n" + hashlib.blake2b(page.name.encode(), digest_size=16).digest()
    return None if page.task is None else b"d" + page.digest


def _family(connection: Connection, row: ListRow, page: Page, name: bytes | None) -> list[Run]:
    """The tasks that the page may belong to: the runs of its task, the present one last."""
    family = [] if page.task is None else runs(connection, row, page.task, name or b"")
    if page.name is None or name is None:
        return family
    others = [run for run in runs_knowing(connection, row, name) if run.id not in {one.id for one in family}]
    return others + family


def _is_used_again(family: Sequence[Run], page: Page, signed: int) -> bool:
    """Whether a body of an earlier run begins another one: it is signed over an hour after the present one's pages."""
    if page.name is not None or not any(run.knows for run in family):
        return False
    present = family[-1]
    return not present.knows and signed > present.newest + HOUR_MS


def _known(connection: Connection, family: Sequence[Run], signed: int) -> Run | None:
    """The run that a page is known to belong to: of several the one with a page signed nearest to it."""
    knowing = [run for run in family if run.knows]
    if len(knowing) < 2:  # noqa: PLR2004 - it is clear
        return knowing[0] if knowing else None
    return min(knowing, key=lambda run: min(abs(signed - time) for time in signed_times(connection, run)))


def _move_known(connection: Connection, row: ListRow, run: Run, signed: int, around: Surroundings) -> bool:
    """A known page that is signed earlier than its task's place moves the task; whether it did."""
    at = max(signed, row.folded_to + 1)
    if at >= run.at or run.at <= row.folded_to:
        return False
    update_task(connection, run.id, at=at)
    moved_from, run.at = run.at, at
    _follow_place(connection, row, at, moved=True)
    append(
        connection,
        row,
        Fact(
            kind="move",
            task=run.id,
            task_name=run.name,
            run=run.run,
            place=at,
            detail={"moved_from": moved_from},
        ),
        now=around.now,
    )
    return True


def _fitting(
    connection: Connection, family: Sequence[Run], page: Page, signed: int, place: int, kinds: int
) -> tuple[Run | None, Sequence[SameNumber]]:
    """The run that a page which is not known belongs to, and its pages of that number; None: it begins another one.

    `place`: the earliest that it may be placed at.
    """
    named = [run for run in family if run.name == page.task]
    if page.task is None or not named:
        return None, ()
    # A page that was long under way may be one of an earlier run.
    run = next((run for run in reversed(named) if run.at - HOUR_MS <= place), named[0])
    others = same_number(connection, run, page.number)
    if page.name is None and signed > run.newest + HOUR_MS:
        # It has such a page, or all its pages: add u1, remove u1, add u1 under one name on three days are three tasks.
        is_taken = any(other.kinds == kinds for other in others)
        if is_taken or run.has_all_pages or run.state in _ENDED:
            return None, ()
    return run, others


def _begin(
    connection: Connection,
    row: ListRow,
    page: Page,
    at: int,
    family: Sequence[Run],
    kinds: int,
    around: Surroundings,
    packed: PackedPage,
) -> Run:
    _check_erasures(connection, packed, around, at)
    name = page.task if page.task is not None else secrets.token_hex(16)
    number = 1 + max((run.run for run in family if run.name == name), default=-1)
    run = Run(
        id=0,
        name=name,
        run=number,
        mode=page.mode or row.mode,
        at=at,
        newest=at,
        total=max(page.total, page.number),
        pages=1,
        adding=int(bool(kinds & ADD)),
        state="open",
        state_at=around.now,
    )
    if run.mode == "delta" and run.has_all_pages:
        run.state = "complete"
    run.id = insert_task(
        connection,
        row,
        kind=SYNC,
        name=name,
        run=number,
        mode=run.mode,
        at=at,
        rank=SENDER,
        total=run.total,
        pages=run.pages,
        adding=run.adding,
        state=run.state,
        now=around.now,
    )
    return run


def _join(
    connection: Connection,
    row: ListRow,
    run: Run,
    page: Page,
    at: int,
    signed: int,
    others: Sequence[SameNumber],
    around: Surroundings,
) -> None:
    kinds = kinds_of(len(page.names.add), len(page.names.remove))
    run.at = at
    run.newest = max(run.newest, signed)
    run.total = max(run.total, page.total, page.number)
    run.pages += not others
    run.adding += bool(kinds & ADD) and not any(other.kinds & ADD for other in others)
    if run.mode == "delta" and run.state != "complete" and run.has_all_pages:
        run.state, run.state_at = "complete", around.now
    write_back(connection, run, now=around.now)
    row.newest_place = max(row.newest_place, at)


def _follow_place(connection: Connection, row: ListRow, at: int, *, moved: bool) -> None:
    """A task placed after the list's deletion makes the list again; one that moved before it takes that back."""
    if row.deleted_place < 0:
        return
    if at > row.deleted_place:
        set_deleted(connection, row, deleted=False)
    elif moved and not row.is_deleted and not has_tasks_after(connection, row, row.deleted_place):
        set_deleted(connection, row, deleted=True)


def _check_erasures(connection: Connection, packed: PackedPage, around: Surroundings, at: int) -> None:
    if around.latest_erasure < at:
        return
    if packed.erasures != erasures_so_far(connection) or packed.erased_from > at:
        raise ErasedSinceError(at)
