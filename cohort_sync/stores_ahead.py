"""Lists whose set in the store was never written by this database: remembered until an operator decides."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from sqlalchemy import delete, insert, select

from cohort_sync.truth.tables import LISTS, STORES_AHEAD

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from cohort_sync.write_side import ListName


def lists_ahead(connection: Connection) -> dict[ListName, str]:
    """The version that the store showed of each."""
    rows = connection.execute(
        select(LISTS.c.account, LISTS.c.name, STORES_AHEAD.c.version).join(LISTS, LISTS.c.id == STORES_AHEAD.c.list)
    )
    return {(row.account, row.name): row.version for row in rows}


def note_ahead(connection: Connection, name: ListName, version: str) -> None:
    row = connection.execute(
        select(LISTS.c.id).where(LISTS.c.account == name[0], LISTS.c.name == name[1])
    ).scalar_one_or_none()
    if row is None:  # the store alone knows such a list
        return
    connection.execute(delete(STORES_AHEAD).where(STORES_AHEAD.c.list == row))
    connection.execute(insert(STORES_AHEAD), {"list": row, "version": version, "noticed_at": int(time.time() * 1000)})
