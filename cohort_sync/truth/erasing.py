"""Rewriting of what holds an erased person: partitions of bases and pages of windows.

An erasure counts from its acceptance on; this takes the id out of the file. It is searched over snapshots, without the
write lock, a bounded part at a time; each rewriting is a transaction of its own. What was rewritten is not found again,
so a search that was broken off begins anew.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeVar

import zstandard
from sqlalchemy import text

from attribute_lists.bodies import Names, pack
from cohort_sync.truth import bases
from cohort_sync.truth.bases import DamagedError
from cohort_sync.truth.window import open_page, page_digest, partition_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sqlalchemy import Connection, Row

Result = TypeVar("Result")

_PARTITIONS = text(
    "SELECT list, partition, partitions, at, rank, task, run, round, version, members, digest, body FROM bases "
    "WHERE list > :list AND partition = (:hash & (partitions - 1)) AND at <= :at ORDER BY list LIMIT :most"
)
_PARTITION = text(
    "SELECT list, partition, partitions, at, rank, task, run, round, version, members, digest, body FROM bases "
    "WHERE list = :list AND partition = :partition AND at <= :at"
)
_PAGES = text(
    "SELECT f.list, f.version, f.body, f.body_digest FROM facts AS f JOIN tasks AS t ON t.id = f.task "
    "WHERE f.body IS NOT NULL AND t.at <= :at AND (f.list > :list OR (f.list = :list AND f.version > :version)) "
    "ORDER BY f.list, f.version LIMIT :most"
)
_PAGE = text(
    "SELECT f.list, f.version, f.body, f.body_digest FROM facts AS f JOIN tasks AS t ON t.id = f.task "
    "WHERE f.list = :list AND f.version = :version AND f.body IS NOT NULL AND t.at <= :at"
)
_PUT_PARTITION = text(
    "UPDATE bases SET members = :members, body = :body, digest = :digest WHERE list = :list AND partition = :partition"
)
_PUT_PAGE = text("UPDATE facts SET body = :body, body_digest = :digest WHERE list = :list AND version = :version")
_CHANGED = text("UPDATE lists SET base_changes = base_changes + 1 WHERE id = :list")

_PARTITIONS_AT_ONCE = 100
_PAGES_AT_ONCE = 25
_LARGEST = 1024 * 1024 * 1024


class Database(Protocol):
    """Who runs works: `read` over a snapshot, the other in a transaction that is on the disk afterwards."""

    async def read(self, work: Callable[[Connection], Result]) -> Result: ...

    async def write_from_reserve(self, work: Callable[[Connection], Result], *, size: int = 0) -> Result: ...


class Found(NamedTuple):
    """What names the person: `(list, partition)` or `(list, version of a page)`, and the last that was looked at.

    `last` None: there was nothing left to look at. `damaged`: what can't be read, by list.
    """

    holding: list[tuple[int, int]]
    last: tuple[int, int] | None
    damaged: dict[int, str]


@dataclass(slots=True)
class Rewritten:
    """How much was rewritten, of which lists (row ids), and what could not be, by list."""

    partitions: int = 0
    pages: int = 0
    lists: set[int] = field(default_factory=set)
    damaged: dict[int, str] = field(default_factory=dict)


async def erase_from_lists(database: Database, person: bytes, at: int) -> Rewritten:
    """Take `person`, erased at place `at` (ms), out of all that is placed up to it.

    Pages that name them are meanwhile accepted without them, so one search finds all.
    """
    done = Rewritten()
    last: tuple[int, int] | None = (0, 0)
    while last is not None:
        found = await database.read(_search(find_partitions, person, at, last))
        for row, number in found.holding:
            done.partitions += await database.write_from_reserve(_rewriting(rewrite_partition, row, number, person, at))
            done.lists.add(row)
        done.damaged |= found.damaged
        last = found.last
    last = (0, 0)
    while last is not None:
        found = await database.read(_search(find_pages, person, at, last))
        for row, version in found.holding:
            done.pages += await database.write_from_reserve(_rewriting(rewrite_page, row, version, person, at))
            done.lists.add(row)
        done.damaged |= found.damaged
        last = found.last
    return done


def find_partitions(connection: Connection, person: bytes, at: int, after: tuple[int, int]) -> Found:
    """The partitions that hold `person`, in some of the lists behind `after`: one a list at most."""
    parameters = {"list": after[0], "hash": bases.hash_of(person), "at": at, "most": _PARTITIONS_AT_ONCE}
    rows = connection.execute(_PARTITIONS, parameters).all()
    last = (rows[-1].list, 0) if len(rows) == _PARTITIONS_AT_ONCE else None
    return _found(rows, last, person, lambda row: (row.partition, person in _members(row)))


def find_pages(connection: Connection, person: bytes, at: int, after: tuple[int, int]) -> Found:
    """The pages placed up to `at` that name `person`, some of those behind `after`."""
    parameters = {"list": after[0], "version": after[1], "at": at, "most": _PAGES_AT_ONCE}
    rows = connection.execute(_PAGES, parameters).all()
    last = (rows[-1].list, rows[-1].version) if len(rows) == _PAGES_AT_ONCE else None
    return _found(rows, last, person, lambda row: (row.version, _names(_page(row), person)))


def rewrite_partition(connection: Connection, row: int, number: int, person: bytes, at: int) -> bool:
    """Take `person` out of a partition; whether they were in it. Raises `DamagedError`."""
    found = connection.execute(_PARTITION, {"list": row, "partition": number, "at": at}).one_or_none()
    if found is None:
        return False  # folded since, and without them
    members = _members(found)
    if person not in members:
        return False
    partition, body = bases.seal(partition_of(found[1:-1]), [member for member in members if member != person])
    parameters = {"list": row, "partition": number, "members": partition.members}
    connection.execute(_PUT_PARTITION, parameters | {"body": body, "digest": partition.digest})
    connection.execute(_CHANGED, {"list": row})
    return True


def rewrite_page(connection: Connection, row: int, version: int, person: bytes, at: int) -> bool:
    """Take `person` out of a page; whether it named them. Raises `DamagedError`."""
    found = connection.execute(_PAGE, {"list": row, "version": version, "at": at}).one_or_none()
    if found is None:
        return False  # folded since
    names = _page(found)
    if not _names(names, person):
        return False
    body = pack(Names(*([member for member in part if member != person] for part in names)))
    connection.execute(_PUT_PAGE, {"list": row, "version": version, "body": body, "digest": page_digest(body)})
    connection.execute(_CHANGED, {"list": row})
    return True


def _search(
    find: Callable[[Connection, bytes, int, tuple[int, int]], Found], person: bytes, at: int, after: tuple[int, int]
) -> Callable[[Connection], Found]:
    return lambda connection: find(connection, person, at, after)


def _rewriting(
    rewrite: Callable[[Connection, int, int, bytes, int], bool], row: int, number: int, person: bytes, at: int
) -> Callable[[Connection], bool]:
    return lambda connection: rewrite(connection, row, number, person, at)


def _found(
    rows: Sequence[Row[Any]],
    last: tuple[int, int] | None,
    person: bytes,
    look: Callable[[Row[Any]], tuple[int, bool]],
) -> Found:
    holding: list[tuple[int, int]] = []
    damaged: dict[int, str] = {}
    for row in rows:
        try:
            if _may_name(row, person) and (looked := look(row))[1]:
                holding.append((row.list, looked[0]))
        except DamagedError as error:
            damaged[row.list] = error.what
    return Found(holding, last, damaged)


def _may_name(row: Row[Any], person: bytes) -> bool:
    """Whether the id is in the packed bytes at all: most bodies need not be decoded. A damaged one may."""
    try:
        return person in zstandard.ZstdDecompressor().decompress(row.body, max_output_size=_LARGEST)
    except zstandard.ZstdError:
        return True


def _members(row: Row[Any]) -> list[bytes]:
    return bases.unseal(row.list, partition_of(row[1:-1]), row.body)


def _page(row: Row[Any]) -> Names:
    return open_page(row.list, row.version, row.body, row.body_digest)


def _names(names: Names, person: bytes) -> bool:
    return person in names.add or person in names.remove
