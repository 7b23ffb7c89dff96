"""What folding writes: each function is the work of one transaction, and changes no list's state."""

from __future__ import annotations

from typing import TYPE_CHECKING, assert_never

from sqlalchemy import bindparam, text

from cohort_sync.truth.folding.messages import BeginRound, Damaged, DropPages, PutPartition, Sound

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from cohort_sync.truth.folding.messages import Message
    from cohort_sync.truth.order import Place

_DROPPED_AT_ONCE = 50  # bodies: with secure_delete each is written once more

_SINCE = text(
    "SELECT 1 FROM facts AS f JOIN tasks AS t ON t.id = f.task "
    "WHERE f.list = :list AND f.version > :version AND (t.round > 0 OR t.at <= :at) LIMIT 1"
)
_MARK = text("UPDATE tasks SET round = :number WHERE list = :list AND round = 0 AND id IN :tasks").bindparams(
    bindparam("tasks", expanding=True)
)
_DIGEST = text("SELECT digest FROM bases WHERE list = :list AND partition = :partition")
_ERASURE = text("SELECT erasure FROM installation")
_DELETE = text("DELETE FROM bases WHERE list = :list AND partition = :partition")
_INSERT = text(
    "INSERT INTO bases (list, partition, partitions, at, rank, task, run, round, version, members, body, digest) "
    "VALUES (:list, :partition, :partitions, :at, :rank, :task, :run, :round, :version, :members, :body, :digest)"
)
_CHANGED = text("UPDATE lists SET base_changes = base_changes + 1 WHERE id = :list")
_SETTLED = text(
    "SELECT MIN(round) AS round, MIN(version) AS version, SUM(1.0 / partitions) AS part FROM bases WHERE list = :list"
)
_DROP = text(
    "UPDATE facts SET body = NULL, body_digest = NULL WHERE list = :list AND version IN "
    "(SELECT f.version FROM facts AS f JOIN tasks AS t ON t.id = f.task WHERE f.list = :list AND f.body IS NOT NULL "
    "AND f.version <= :version AND t.round > 0 AND t.round <= :round ORDER BY f.version LIMIT :most)"
)
_TASKS_MARKED = 500  # a statement


def write(connection: Connection, message: Message) -> bool:
    """Do what the process that folds asks for; whether it was done."""
    match message:
        case BeginRound():
            return _begin_round(connection, message)
        case PutPartition():
            return _put_partition(connection, message)
        case DropPages():
            return drop_pages(connection, message.row) > 0
        case Damaged() | Sound():
            return True
        case _:
            assert_never(message)


def drop_pages(connection: Connection, row: int) -> int:
    """Drop a bounded number of bodies that all partitions have; how many."""
    settled = connection.execute(_SETTLED, {"list": row}).one()
    if settled.part is None or settled.part < 1:
        return 0
    parameters = {"list": row, "version": settled.version, "round": settled.round, "most": _DROPPED_AT_ONCE}
    dropped: int = connection.execute(_DROP, parameters).rowcount
    if dropped:
        connection.execute(_CHANGED, {"list": row})
    return dropped


def _begin_round(connection: Connection, message: BeginRound) -> bool:
    if _was_accepted_since(connection, message.row, message.version, message.place):
        return False
    for start in range(0, len(message.tasks), _TASKS_MARKED):
        tasks = message.tasks[start : start + _TASKS_MARKED]
        connection.execute(_MARK, {"list": message.row, "number": message.number, "tasks": tasks})
    connection.execute(_CHANGED, {"list": message.row})
    return True


def _put_partition(connection: Connection, message: PutPartition) -> bool:
    digest = connection.execute(_DIGEST, {"list": message.row, "partition": message.number}).scalar_one_or_none()
    if bytes(digest or b"") != message.digest:
        return False
    if connection.execute(_ERASURE).scalar_one() != message.erasure:
        return False
    if _was_accepted_since(connection, message.row, message.version, message.place):
        return False
    connection.execute(_DELETE, {"list": message.row, "partition": message.number})
    for partition, body in message.parts:
        row = {
            "list": message.row,
            "partition": partition.number,
            "partitions": partition.of,
            **partition.place._asdict(),
            "round": partition.round,
            "version": partition.version,
            "members": partition.members,
            "body": body,
            "digest": partition.digest,
        }
        connection.execute(_INSERT, row)
    connection.execute(_CHANGED, {"list": message.row})
    return True


def _was_accepted_since(connection: Connection, row: int, version: int, place: Place) -> bool:
    """Whether a fact newer than `version` belongs to a task at or below `place`, or to one that was taken before."""
    return connection.execute(_SINCE, {"list": row, "version": version, "at": place.at}).first() is not None
