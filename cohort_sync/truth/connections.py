"""Which account is connected to which environment of a sender: one environment an account, one account each."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sqlalchemy import delete, insert, select

from attribute_lists.names import checked_account
from cohort_sync.truth.facts.log import audit, change_registry
from cohort_sync.truth.tables import CONNECTIONS
from foundation.errors import BadRequestError, ConflictError, NotFoundError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy import Connection as DatabaseConnection

_PURPOSE = b"id token\0"


@dataclass(frozen=True, slots=True)
class Connection:
    """`id_token_tag`: keyed hash of the id token that pushes name the account by. `connected_at`: Unix milliseconds.

    `detail`: what operators are shown of it, nothing secret.
    """

    account: str
    env_id: str
    id_token_tag: bytes
    connected_at: int
    detail: Mapping[str, Any] = field(default_factory=dict)


def tag_of_id_token(id_token: str, key: bytes) -> bytes:
    return hashlib.blake2b(_PURPOSE + id_token.encode("utf-8", "surrogatepass"), key=key, digest_size=16).digest()


def put(connection: DatabaseConnection, new: Connection, *, actor: str) -> None:
    """Connect an account, or renew what is known of its connection. Raises `ConflictError`."""
    checked_account(new.account)
    if not new.env_id:
        raise BadRequestError("env_id: missing", reason="bad_shape")
    for known in connections(connection):
        if known.account == new.account:
            if known.env_id != new.env_id:
                raise ConflictError(
                    f"account {new.account} is connected to the environment {known.env_id}, and an account has one; "
                    f"disconnect it first to connect {new.env_id}",
                    reason="second_environment",
                )
        elif known.env_id == new.env_id or known.id_token_tag == new.id_token_tag:
            raise ConflictError(
                f"the environment {new.env_id} belongs to account {known.account}; disconnect that account first to "
                f"connect it to account {new.account}",
                reason="environment_taken",
            )
    connection.execute(delete(CONNECTIONS).where(CONNECTIONS.c.account == new.account))
    connection.execute(
        insert(CONNECTIONS),
        {
            "account": new.account,
            "id_token_tag": new.id_token_tag,
            "env_id": new.env_id,
            "detail": json.dumps(dict(new.detail), ensure_ascii=False, sort_keys=True),
            "connected_at": new.connected_at,
        },
    )
    change_registry(connection)
    audit(connection, actor=actor, action="connect", now=new.connected_at, account=new.account, env_id=new.env_id)


def remove(connection: DatabaseConnection, account: str, *, actor: str, now: int) -> Connection:
    """The connection that was ended. Raises `NotFoundError`."""
    known = {found.account: found for found in connections(connection)}.get(account)
    if known is None:
        raise NotFoundError(f"account {account} is not connected", reason="not_connected")
    connection.execute(delete(CONNECTIONS).where(CONNECTIONS.c.account == account))
    change_registry(connection)
    audit(connection, actor=actor, action="disconnect", now=now, account=account, env_id=known.env_id)
    return known


def connections(connection: DatabaseConnection) -> list[Connection]:
    """All of them, by account."""
    rows = connection.execute(select(CONNECTIONS).order_by(CONNECTIONS.c.account))
    return [
        Connection(row.account, row.env_id, row.id_token_tag, row.connected_at, json.loads(row.detail)) for row in rows
    ]
