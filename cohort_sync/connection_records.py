"""What is known of the connection of each account, as plain records, and what follows from all of them together.

Pure. A journal may hold records and bring them back in any order, any number of times: per account the latest one
counts. What follows is computed from all of them, so it does not depend on the order either.
"""

from __future__ import annotations

import secrets
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any

from attribute_lists.names import is_account
from foundation.errors import BadRequestError

if TYPE_CHECKING:
    from collections.abc import Iterable

FORMAT = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionRecord:
    """From `at` (Unix milliseconds) on, `account` was connected to this environment, or to none.

    It holds nothing that can be used without the installation's key: `id_token_tag` is a keyed hash of the id token,
    `sealed_token` the sealed access token, both made with the key that `key_id` names. A record of a disconnection
    keeps neither; its `env_id` is the environment that it set free.
    """

    account: str
    connected: bool
    at: int
    id: str
    env_id: str
    key_id: str
    id_token_tag: str = ""
    sealed_token: str = ""
    partner_app_id: str = ""
    authorized_by: str = ""
    authorized_scope: str = ""
    authorized_at: str = ""
    format: int = FORMAT

    @property
    def place(self) -> tuple[int, str]:
        return (self.at, self.id)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def new_record_id() -> str:
    """Settles which of two records of the same millisecond counts, the same way everywhere."""
    return secrets.token_hex(8)


def record_from(data: dict[str, Any]) -> ConnectionRecord:
    """The record that `to_dict` gave. Raises `BadRequestError` for another format or shape."""
    if data.get("format") != FORMAT:
        raise BadRequestError(
            f"a connection record of format {data.get('format')!r}: this version reads format {FORMAT}; "
            "run the version that wrote it, disconnect there and connect again here",
            reason="bad_record",
        )
    known = {field.name: field.type for field in fields(ConnectionRecord)}
    kinds = {"str": str, "int": int, "bool": bool}
    wrong = [name for name, value in data.items() if type(value) is not kinds.get(str(known.get(name)))]
    if wrong or not is_account(data.get("account", "")):
        raise BadRequestError(
            f"a connection record can't be read: {', '.join(wrong) or 'account'}", reason="bad_record"
        )
    try:
        return ConnectionRecord(**data)
    except TypeError:
        raise BadRequestError("a connection record can't be read: it lacks fields", reason="bad_record") from None


def newer(records: Iterable[ConnectionRecord], known: dict[str, ConnectionRecord]) -> dict[str, ConnectionRecord]:
    """Those of `records` that change what is `known`, by account."""
    changed: dict[str, ConnectionRecord] = {}
    for record in records:
        present = changed.get(record.account) or known.get(record.account)
        if present is None or record.place > present.place:
            changed[record.account] = record
    return changed


def in_force(known: dict[str, ConnectionRecord]) -> dict[str, ConnectionRecord]:
    """The connections that count, by account: one account an environment, one account an id token.

    A new connection is refused before it clashes with another. But records from before a loss of the store may clash
    with those made after it: then the latest word on an environment counts, be it a connection or a disconnection.
    """
    found: dict[str, ConnectionRecord] = {}
    settled: set[tuple[str, str]] = set()
    for record in sorted(known.values(), key=lambda record: record.place, reverse=True):
        named = (("environment", record.env_id), ("id token", record.id_token_tag))
        claims = {(kind, value) for kind, value in named if value}
        if record.connected and not claims & settled:
            found[record.account] = record
        settled |= claims
    return found
