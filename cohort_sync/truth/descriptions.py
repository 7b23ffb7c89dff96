"""Queries of the admin API and the command line: lists as operators see them, and the audit."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, select

from attribute_lists.describe import ListDescription
from cohort_sync.truth.facts.snapshots import QUIET_MS
from cohort_sync.truth.facts.tasks import DELETE, DRAIN, SYNC, is_void
from cohort_sync.truth.tables import ALIASES, AUDIT, FACTS, LISTS, TASKS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy import Connection

    Sizes = Mapping[tuple[str, str], int]


def describe_lists(connection: Connection, *, now: int, stale_after: float, sizes: Sizes) -> list[ListDescription]:
    """Every list that is not deleted, by account and id.

    `now`: Unix milliseconds. `stale_after`: seconds without a page after which a recurring list is stale. `sizes`: how
    many members each has, which the facts alone do not tell.
    """
    return _describe(connection, LISTS.c.is_deleted == 0, now=now, stale_after=stale_after, sizes=sizes)


def describe_list(
    connection: Connection, account: str, list_id: str, *, now: int, stale_after: float, sizes: Sizes
) -> ListDescription | None:
    """One list by its id; None: there is no such list."""
    is_it = and_(LISTS.c.account == account, LISTS.c.name == list_id, LISTS.c.is_deleted == 0)
    found = _describe(connection, is_it, now=now, stale_after=stale_after, sizes=sizes)
    return found[0] if found else None


def newest_changes(connection: Connection, count: int) -> list[dict[str, str]]:
    """The latest changes, newest first: `at` (Unix milliseconds), `who`, `what`, `account`, `list` and details."""
    rows = connection.execute(select(AUDIT).order_by(AUDIT.c.id.desc()).limit(count))
    return [
        {
            "id": str(row.id),
            "at": str(row.at),
            "who": row.actor,
            "what": row.action,
            "account": row.account,
            "list": row.list,
        }
        | {name: value if isinstance(value, str) else json.dumps(value) for name, value in _details(row.detail)}
        for row in rows
    ]


def _details(text: str) -> Sequence[tuple[str, Any]]:
    detail: dict[str, Any] = json.loads(text)
    return list(detail.items())


def _describe(
    connection: Connection, wanted: Any, *, now: int, stale_after: float, sizes: Sizes
) -> list[ListDescription]:
    lists = connection.execute(select(LISTS).where(wanted).order_by(LISTS.c.account, LISTS.c.name)).all()
    if not lists:
        return []
    one = lists[0].id if len(lists) == 1 else None
    aliases = _aliases(connection, one)
    newest = _newest_tasks(connection, one, (SYNC,))
    emptied = _newest_tasks(connection, one, (DRAIN, DELETE))
    held = _held(connection, one)
    return [
        ListDescription(
            account=row.account,
            list_id=row.name,
            aliases=aliases.get(row.id, []),
            source=row.source,
            segment_id=row.segment_id,
            segment_name=row.segment_name,
            mode=row.mode,
            active=bool(row.is_active),
            members=sizes.get((row.account, row.name), 0),
            status=_status(
                row,
                newest.get(row.id),
                emptied.get(row.id),
                is_held=row.id in held,
                now=now,
                stale_after_ms=int(stale_after * 1000),
            ),
            task=newest[row.id].name if row.id in newest else None,
            created=row.created_at,
            last_page=row.last_page_at,
            added=row.added,
            removed=row.removed,
            skipped=row.skipped,
            held=held.get(row.id),
        )
        for row in lists
    ]


def _aliases(connection: Connection, one: int | None) -> dict[int, list[str]]:
    wanted = select(ALIASES.c.list, ALIASES.c.alias).order_by(ALIASES.c.alias)
    found: dict[int, list[str]] = {}
    for row, alias in connection.execute(_of(wanted, ALIASES.c.list, one)):
        found.setdefault(row, []).append(alias)
    return found


def _newest_tasks(connection: Connection, one: int | None, kinds: tuple[str, ...]) -> dict[int, Any]:
    """The task of these kinds with the latest place, by list."""
    newest = (
        select(TASKS.c.id)
        .where(TASKS.c.list == LISTS.c.id, TASKS.c.kind.in_(kinds))
        .order_by(TASKS.c.at.desc(), TASKS.c.rank.desc(), TASKS.c.name.desc(), TASKS.c.run.desc())
        .limit(1)
        .correlate(LISTS)
        .scalar_subquery()
    )
    wanted = select(TASKS).join(LISTS, TASKS.c.id == newest)
    return {row.list: row for row in connection.execute(_of(wanted, LISTS.c.id, one))}


def _held(connection: Connection, one: int | None) -> dict[int, str]:
    """`<live> <staged>` members of each list where a snapshot waits for the operator, of the latest one.

    What is void waits for nobody.
    """
    is_held = and_(TASKS.c.mode == "snapshot", TASKS.c.state == "held")
    wanted = (
        select(TASKS.c.list, FACTS.c.detail)
        .join(FACTS, and_(FACTS.c.task == TASKS.c.id, FACTS.c.kind == "end"))
        .where(is_held, ~is_void())
        .order_by(TASKS.c.at, FACTS.c.version)
    )
    found = {}
    for row, text in connection.execute(_of(wanted, TASKS.c.list, one)):
        detail = json.loads(text)
        found[row] = f"{detail['live']} {detail['staged']}"
    return found


def _of(wanted: Any, column: Any, one: int | None) -> Any:
    return wanted if one is None else wanted.where(column == one)


def _status(row: Any, newest: Any | None, emptied: Any | None, *, is_held: bool, now: int, stale_after_ms: int) -> str:
    if not row.is_active or (newest is None and emptied is None):
        return "waiting"
    if newest is None or (emptied is not None and (emptied.at, emptied.rank) > (newest.at, newest.rank)):
        return "drained"
    if is_held:
        return "held"
    silence = now - newest.last_page_at
    if newest.pages < newest.total:
        return f"syncing {newest.pages}/{newest.total}" if silence <= QUIET_MS else "incomplete"
    # One-shot syncs have nothing to be late for: a second task is what shows a list to be recurring.
    recurring = row.tasks > 1
    return "stale" if recurring and now - (row.last_page_at or 0) > stale_after_ms else "synced"
