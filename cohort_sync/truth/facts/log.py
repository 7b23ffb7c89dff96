"""The append-only facts of one list, with its version; and the audit of who did what.

Functions of this package that take a `Connection` run in the thread that writes, within its transaction.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import msgspec
from sqlalchemy import BigInteger, bindparam, delete, exists, func, insert, select, text, tuple_, update

from attribute_lists.projection.truth import Version
from cohort_sync.truth.database.prepared import Prepared
from cohort_sync.truth.tables import AUDIT, BASES, FACTS, INSTALLATION, LISTS, TASKS

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from cohort_sync.truth.order import Mode

Kind = Literal["page", "move", "task", "end", "describe"]

CHAIN_BYTES = 8
REMEMBERED_MS = 30 * 86_400_000  # for which pages and versions are known: longer than any signature is accepted
AUDIT_ROWS = 100_000
_FORGOTTEN_AT_ONCE = 2000

_INSERT = Prepared(insert(FACTS), *FACTS.c.keys())
_UPDATE_LIST = Prepared(
    update(LISTS)
    .where(LISTS.c.id == bindparam("row"))
    .values(
        version=bindparam("to_version"),
        chain=bindparam("to_chain"),
        segment_name=bindparam("to_segment_name"),
        mode=bindparam("to_mode"),
        is_active=bindparam("to_is_active"),
        deleted_place=bindparam("to_deleted_place"),
        newest_place=bindparam("to_newest_place"),
        last_page_at=func.coalesce(bindparam("page_at", type_=BigInteger), LISTS.c.last_page_at),
        tasks=LISTS.c.tasks + bindparam("tasks_more"),
        added=LISTS.c.added + bindparam("added_more"),
        removed=LISTS.c.removed + bindparam("removed_more"),
        skipped=LISTS.c.skipped + bindparam("skipped_more"),
    )
)
_CHANGE_REGISTRY = Prepared(update(INSTALLATION).values(registry=INSTALLATION.c.registry + 1))
_NOTE_REGISTRY = Prepared(
    text("INSERT INTO registry_changes (number, token) SELECT registry, :token FROM installation")
)
_INSERT_AUDIT = insert(AUDIT)

_encode = msgspec.msgpack.Encoder().encode


@dataclass(slots=True)
class ListRow:
    """A list as its row stands in this transaction; `append` writes it back.

    `folded_to`: the place (ms) up to which tasks are in its base. `is_deleted` is changed by `lists.set_deleted` alone.
    """

    id: int
    account: str
    name: str
    source: str
    segment_id: str
    segment_name: str
    mode: Mode
    is_active: bool
    is_deleted: bool
    deleted_place: int
    newest_place: int
    version: int
    chain: bytes
    folded_to: int

    @property
    def shown_version(self) -> Version:
        return Version(self.version, self.chain)


# In the order of the fields of `ListRow`.
LIST_ROWS = select(
    LISTS.c.id,
    LISTS.c.account,
    LISTS.c.name,
    LISTS.c.source,
    LISTS.c.segment_id,
    LISTS.c.segment_name,
    LISTS.c.mode,
    LISTS.c.is_active,
    LISTS.c.is_deleted,
    LISTS.c.deleted_place,
    LISTS.c.newest_place,
    LISTS.c.version,
    LISTS.c.chain,
    select(func.coalesce(func.max(BASES.c.at), -1)).where(BASES.c.list == LISTS.c.id).scalar_subquery(),
)


def list_row(row: Any) -> ListRow:
    found = ListRow(*row)
    found.is_active, found.is_deleted = bool(found.is_active), bool(found.is_deleted)
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """What a row of `facts` says; `task_name` and `run` stand for the task in the chain of digests."""

    kind: Kind
    task: int | None = None
    task_name: str = ""
    run: int = 0
    number: int | None = None
    place: int | None = None
    adds: int = 0
    removes: int = 0
    digest: bytes | None = None
    body: bytes | None = None
    body_digest: bytes | None = None
    detail: dict[str, Any] | None = None
    is_of_new_task: bool = False
    skipped: int = 0


def digest_of_body(body: bytes) -> bytes:
    """What is kept beside a body, so that damage is noticed."""
    return hashlib.blake2b(body, digest_size=16).digest()


def append(connection: Connection, row: ListRow, fact: Fact, *, now: int) -> Version:
    """Append a fact of the list, which gets a version by it, and write the list's row."""
    detail = None if fact.detail is None else json.dumps(fact.detail, ensure_ascii=False, sort_keys=True)
    said = (fact.kind, fact.task_name, fact.run, fact.number, fact.place, fact.digest, detail)
    row.version += 1
    row.chain = hashlib.blake2b(row.chain + _encode(said), digest_size=CHAIN_BYTES).digest()
    _INSERT.run(
        connection,
        {
            "list": row.id,
            "version": row.version,
            "chain": row.chain,
            "kind": fact.kind,
            "task": fact.task,
            "number": fact.number,
            "place": fact.place,
            "adds": fact.adds,
            "removes": fact.removes,
            "digest": fact.digest,
            "body": fact.body,
            "body_digest": fact.body_digest,
            "detail": detail,
            "accepted_at": now,
        },
    )
    is_page = fact.kind == "page"
    _UPDATE_LIST.run(
        connection,
        {
            "row": row.id,
            "to_version": row.version,
            "to_chain": row.chain,
            "to_segment_name": row.segment_name,
            "to_mode": row.mode,
            "to_is_active": int(row.is_active),
            "to_deleted_place": row.deleted_place,
            "to_newest_place": row.newest_place,
            "page_at": now if is_page else None,
            "tasks_more": int(fact.is_of_new_task),
            "added_more": fact.adds,
            "removed_more": fact.removes,
            "skipped_more": fact.skipped,
        },
    )
    return row.shown_version


def change_registry(connection: Connection) -> None:
    """Lists, aliases or connections are others than before."""
    _CHANGE_REGISTRY.run(connection, {})
    _NOTE_REGISTRY.run(connection, {"token": secrets.token_bytes(CHAIN_BYTES)})


def forget_facts(connection: Connection, now: int) -> int:
    """Drop a bounded number of facts without a body that are older than `REMEMBERED_MS` as of `now`; how many.

    The last one of a list before that stays, since its set may show that version for as long as nothing comes.
    """
    before, later = now - REMEMBERED_MS, FACTS.alias("later")
    is_followed = exists().where(
        later.c.list == FACTS.c.list, later.c.version > FACTS.c.version, later.c.accepted_at < before
    )
    is_shown = exists().where(TASKS.c.id == FACTS.c.task, TASKS.c.state == "held")
    old = (
        select(FACTS.c.list, FACTS.c.version)
        .where(FACTS.c.body.is_(None), FACTS.c.accepted_at < before, is_followed, ~is_shown)
        .limit(_FORGOTTEN_AT_ONCE)
    )
    return connection.execute(delete(FACTS).where(tuple_(FACTS.c.list, FACTS.c.version).in_(old))).rowcount


def forget_audit(connection: Connection) -> int:
    """Drop a bounded number of the oldest lines beyond those that are kept; how many."""
    newest = connection.execute(select(func.max(AUDIT.c.id))).scalar() or 0
    old = select(AUDIT.c.id).where(AUDIT.c.id <= newest - AUDIT_ROWS).limit(_FORGOTTEN_AT_ONCE)
    return connection.execute(delete(AUDIT).where(AUDIT.c.id.in_(old))).rowcount


def audit(
    connection: Connection, *, actor: str, action: str, now: int, row: ListRow | None = None, **detail: Any
) -> None:
    """Note who did what; `detail` names no person."""
    connection.execute(
        _INSERT_AUDIT,
        {
            "at": now,
            "actor": actor,
            "action": action,
            "account": row.account if row else detail.pop("account", ""),
            "list": row.name if row else "",
            "detail": json.dumps(detail, ensure_ascii=False, sort_keys=True),
        },
    )
