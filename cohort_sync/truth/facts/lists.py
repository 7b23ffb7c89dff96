"""Which list a segment has, which list a name means, and the aliases of both.

The pair of segment and list is stable: a list that is deleted keeps its row, its name and its segment. Among names a
list comes before an alias, so no alias hides one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import bindparam, delete, insert, select, update

from attribute_lists.names import checked_account, checked_list_id, is_list_id, list_id_candidates
from cohort_sync.truth.database.prepared import Prepared
from cohort_sync.truth.facts.log import LIST_ROWS, ListRow, change_registry, list_row
from cohort_sync.truth.tables import ALIASES, LISTS
from foundation.errors import ConflictError, NotFoundError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection

    from cohort_sync.truth.facts.incoming import Segment

_LONGEST_NAME = 256
_AFTER_UNDERSCORE = chr(ord("_") + 1)

_OF_SEGMENT = Prepared(
    LIST_ROWS.where(
        LISTS.c.account == bindparam("account"),
        LISTS.c.source == bindparam("source"),
        LISTS.c.segment_id == bindparam("segment_id"),
    )
)
_OF_ID = Prepared(LIST_ROWS.where(LISTS.c.id == bindparam("row")))
_TAKEN = Prepared(
    select(LISTS.c.name)
    .where(LISTS.c.account == bindparam("account"), LISTS.c.name.between(bindparam("first"), bindparam("last")))
    .union(
        select(ALIASES.c.alias).where(
            ALIASES.c.account == bindparam("account"), ALIASES.c.alias.between(bindparam("first"), bindparam("last"))
        )
    )
)
_INSERT_LIST = Prepared(
    insert(LISTS).returning(LISTS.c.id),
    *("account", "name", "source", "segment_id", "segment_name", "mode", "is_active", "chain", "created_at"),
)
_INSERT_ALIAS = Prepared(insert(ALIASES), *ALIASES.c.keys())
_NAMED = LIST_ROWS.where(LISTS.c.account == bindparam("account"), LISTS.c.name == bindparam("name"))
_ALIASED = LIST_ROWS.join_from(LISTS, ALIASES, ALIASES.c.list == LISTS.c.id).where(
    ALIASES.c.account == bindparam("account"), ALIASES.c.alias == bindparam("name")
)


def list_of_segment(connection: Connection, segment: Segment) -> ListRow | None:
    """The segment's list, deleted or not; None: nothing was ever heard of it."""
    found = _OF_SEGMENT.run(
        connection, {"account": segment.account, "source": segment.source, "segment_id": segment.id}
    ).fetchone()
    return None if found is None else list_row(found)


def list_of_id(connection: Connection, row: int) -> ListRow:
    return list_row(_OF_ID.run(connection, {"row": row}).fetchone())


def list_named(connection: Connection, account: str, name: str) -> ListRow:
    """The list that `name`, an id or an alias, means. Raises `NotFoundError`, `BadRequestError`."""
    names = {"account": checked_account(account), "name": checked_list_id(name)}
    for statement in (_NAMED, _ALIASED):
        found = connection.execute(statement, names).first()
        if found is not None and not list_row(found).is_deleted:
            return list_row(found)
    raise unknown_list(account, name)


def unknown_list(account: str, name: str) -> NotFoundError:
    return NotFoundError(
        f"account {account} has no list {name}; `cohort-sync segments list` shows those there are",
        reason="unknown_list",
    )


def make_list(connection: Connection, segment: Segment, *, is_active: bool, now: int) -> ListRow:
    """The list of a segment that is new: its name is the first free one."""
    name = _free_name(connection, segment)
    cursor = _INSERT_LIST.run(
        connection,
        {
            "account": segment.account,
            "name": name,
            "source": segment.source,
            "segment_id": segment.id,
            "segment_name": segment.name,
            "mode": "delta",
            "is_active": int(is_active),
            "chain": b"",
            "created_at": now,
        },
    )
    row = list_of_id(connection, cursor.fetchall()[0][0])
    _alias_by_segment(connection, row)
    change_registry(connection)
    return row


def set_deleted(connection: Connection, row: ListRow, deleted: bool) -> None:
    """Take the list out of the registry with its aliases, or bring it back with the one that its segment gives it."""
    if row.is_deleted == deleted:
        return
    row.is_deleted = deleted
    connection.execute(update(LISTS).where(LISTS.c.id == row.id), {"is_deleted": int(deleted)})
    if deleted:
        connection.execute(delete(ALIASES).where(ALIASES.c.list == row.id))
    else:
        # Somebody may have used its name for an alias meanwhile.
        connection.execute(delete(ALIASES).where(ALIASES.c.account == row.account, ALIASES.c.alias == row.name))
        _alias_by_segment(connection, row)
    change_registry(connection)


def set_aliases(connection: Connection, row: ListRow, aliases: Sequence[str]) -> None:
    """Make `aliases` the list's aliases, all of them. Raises `BadRequestError`, `ConflictError`."""
    wanted = list(dict.fromkeys(checked_list_id(alias, field="aliases") for alias in aliases))
    for alias in wanted:
        is_list = connection.execute(
            select(LISTS.c.id).where(LISTS.c.account == row.account, LISTS.c.name == alias, LISTS.c.is_deleted == 0)
        ).first()
        owner = connection.execute(
            select(ALIASES.c.list).where(ALIASES.c.account == row.account, ALIASES.c.alias == alias)
        ).scalar()
        if is_list is not None or owner not in (None, row.id):
            raise ConflictError(f"aliases: {alias} already names another list", reason="alias_taken")
    connection.execute(delete(ALIASES).where(ALIASES.c.list == row.id))
    if wanted:
        connection.execute(
            insert(ALIASES), [{"account": row.account, "alias": alias, "list": row.id} for alias in wanted]
        )
    change_registry(connection)


def _alias_by_segment(connection: Connection, row: ListRow) -> None:
    """A rule may name the list by the segment's own id, where nothing else is called so."""
    if not is_list_id(row.segment_id):
        return
    if row.segment_id not in _taken(connection, row.account, row.segment_id, row.segment_id):
        _INSERT_ALIAS.run(connection, {"account": row.account, "alias": row.segment_id, "list": row.id})


def _free_name(connection: Connection, segment: Segment) -> str:
    """The first of the segment's names that neither a list, deleted or not, nor an alias has; `_2`, `_3` at last."""
    candidates = [candidate[:_LONGEST_NAME] for candidate in list_id_candidates(segment.id, segment.name)]
    for candidate in candidates:
        if candidate not in _taken(connection, segment.account, candidate, candidate):
            return candidate
    stem = candidates[-1][: _LONGEST_NAME - 8]
    taken = _taken(connection, segment.account, f"{stem}_", f"{stem}{_AFTER_UNDERSCORE}")
    number = 2
    while f"{stem}_{number}" in taken:
        number += 1
    return f"{stem}_{number}"


def _taken(connection: Connection, account: str, first: str, last: str) -> set[str]:
    """The names from `first` to `last` that stand for something in `account`."""
    return {name for (name,) in _TAKEN.run(connection, {"account": account, "first": first, "last": last})}
