"""Acceptance of what operators do to a list, each with its line of the audit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cohort_sync.truth.facts.lists import list_named, list_of_id, set_aliases, set_deleted
from cohort_sync.truth.facts.log import Fact, append, audit, digest_of_body
from cohort_sync.truth.facts.pages import Accepted
from cohort_sync.truth.facts.snapshots import end, held
from cohort_sync.truth.facts.tasks import DELETE, DRAIN, IMPORT, insert_operators_task, update_task
from foundation.errors import BadRequestError, NotFoundError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection

    from cohort_sync.truth.facts.log import ListRow
    from cohort_sync.truth.order import Mode


@dataclass(frozen=True, slots=True)
class Command:
    """Which list (`name` may be an alias) is changed, and by whom. `now`: Unix milliseconds, only shown."""

    account: str
    name: str
    actor: str
    now: int


@dataclass(frozen=True, slots=True)
class ImportedPage:
    """A part of an import, packed; `adds`: how many members it has."""

    number: int
    body: bytes
    adds: int


def set_mode(connection: Connection, command: Command, mode: Mode) -> Accepted:
    """Tasks that begin from now on have this mode; those under way keep theirs."""
    if mode not in ("delta", "snapshot"):
        raise BadRequestError("mode: delta or snapshot", reason="bad_shape")
    row = list_named(connection, command.account, command.name)
    row.mode = mode
    return _described(connection, row, command, "mode", {"mode": mode})


def set_active(connection: Connection, command: Command, active: bool) -> Accepted:
    row = list_named(connection, command.account, command.name)
    row.is_active = active
    return _described(connection, row, command, "activate", {"active": active})


def replace_aliases(connection: Connection, command: Command, aliases: Sequence[str]) -> Accepted:
    """Raises `ConflictError` for one that names another list, `BadRequestError` for one of a bad form."""
    row = list_named(connection, command.account, command.name)
    set_aliases(connection, row, aliases)
    return _described(connection, row, command, "aliases", {"aliases": list(aliases)}, registry=True)


def drain(connection: Connection, command: Command, bound: int) -> Accepted:
    """Empty the list as of `bound`, a lower bound of the sender's clock (ms)."""
    row = list_named(connection, command.account, command.name)
    at = _empty(connection, row, DRAIN, bound, command.now)
    audit(connection, actor=command.actor, action="drain", now=command.now, row=row, at=at)
    return _accepted(row)


def delete(connection: Connection, command: Command, bound: int) -> Accepted:
    """As `drain`, and the list is none any more until a task is placed later."""
    row = list_named(connection, command.account, command.name)
    set_deleted(connection, row, deleted=True)
    row.deleted_place = max(bound, row.newest_place)
    at = _empty(connection, row, DELETE, bound, command.now)
    audit(connection, actor=command.actor, action="delete", now=command.now, row=row, at=at)
    return _accepted(row, registry=True)


def decide_held(connection: Connection, command: Command, *, accept: bool) -> Accepted:
    """Let the snapshots that wait go live, or refuse them. Raises `NotFoundError` where none waits."""
    row = list_named(connection, command.account, command.name)
    waiting = held(connection, row.id)
    if not waiting:
        raise NotFoundError(f"no snapshot of {row.name} waits for an operator", reason="nothing_held")
    for task in waiting:
        end(connection, task, "accepted" if accept else "refused", of=("held",), now=command.now)
    action = "accept" if accept else "refuse"
    audit(connection, actor=command.actor, action=action, now=command.now, row=row)
    return _accepted(list_of_id(connection, row.id))


def begin_import(
    connection: Connection, command: Command, *, replace: bool, bound: int, place: int | None
) -> tuple[int, int, int]:
    """The row ids of the list and of the task, and the task's place (ms): `place`, or now by `bound`."""
    row = list_named(connection, command.account, command.name)
    mode: Mode = "snapshot" if replace else "delta"
    place = max(bound, row.newest_place) if place is None else max(place, row.folded_to)
    task, name = insert_operators_task(connection, row, kind=IMPORT, mode=mode, at=place, state="open", now=command.now)
    fact = Fact(kind="task", task=task, task_name=name, place=place)
    append(connection, row, fact, now=command.now)
    audit(connection, actor=command.actor, action="import", now=command.now, row=row, at=place, replace=replace)
    return row.id, task, place


def import_page(connection: Connection, *, row_id: int, task: int, page: ImportedPage, at: int, now: int) -> None:
    row = list_of_id(connection, row_id)
    digest = digest_of_body(page.body)
    update_task(connection, task, total=page.number, pages=page.number, adding=page.number, last_page_at=now)
    fact = Fact(
        kind="page",
        task=task,
        number=page.number,
        place=at,
        adds=page.adds,
        digest=digest,
        body=page.body,
        body_digest=digest,
    )
    append(connection, row, fact, now=now)


def end_import(connection: Connection, row_id: int, task: int, *, now: int) -> Accepted:
    """All pages of an import are here: one that replaces takes effect now."""
    end(connection, task, "complete", of=("open",), now=now)
    return _accepted(list_of_id(connection, row_id))


def _empty(connection: Connection, row: ListRow, kind: str, bound: int, now: int) -> int:
    # Never before what the list has already: a source without times is placed by arrival.
    at = max(bound, row.newest_place)
    task, name = insert_operators_task(connection, row, kind=kind, mode="snapshot", at=at, state="complete", now=now)
    append(connection, row, Fact(kind="task", task=task, task_name=name, place=at), now=now)
    return at


def _described(
    connection: Connection,
    row: ListRow,
    command: Command,
    action: str,
    detail: dict[str, object],
    *,
    registry: bool = False,
) -> Accepted:
    append(connection, row, Fact(kind="describe", detail=detail), now=command.now)
    audit(connection, actor=command.actor, action=action, now=command.now, row=row, **detail)
    return _accepted(row, registry=registry)


def _accepted(row: ListRow, *, registry: bool = False) -> Accepted:
    return Accepted(row.id, row.account, row.name, row.shown_version, is_deleted=row.is_deleted, registry=registry)
