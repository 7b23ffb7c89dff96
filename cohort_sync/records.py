"""What the journal holds: every change of the write side, so that together they build everything again.

A record is msgpack of one of these types, told apart by `type`. `mark` is what the store remembers of a record that was
applied; the store's markers outlive the journal.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from attribute_lists.names import checked_account, checked_list_id
from attribute_lists.order import Mode  # noqa: TC001 - msgspec reads the annotations when it runs

Action = Literal["activate", "aliases", "mode", "accept", "drain", "delete", "erase", "connection"]


class ListOrigin(msgspec.Struct, frozen=True):
    """Which list a change is about, and what it takes to make that list again."""

    account: str
    list_id: str
    segment_id: str
    segment_name: str
    source: str = "heap"

    @property
    def name(self) -> tuple[str, str]:
        return (self.account, self.list_id)


class PageRecord(msgspec.Struct, tag="page", frozen=True):
    """A page of a sync task; `packed` holds its members (`attribute_lists.bodies`). Times are Unix milliseconds.

    `mode`: that of the list when the page came, which its task has if it begins with this page.
    """

    origin: ListOrigin
    task: str
    number: int
    total: int
    skipped: int
    mark: str
    signed_at: int
    packed: bytes
    mode: Mode | None = None

    @property
    def at(self) -> int:
        return self.signed_at


class DrainRecord(msgspec.Struct, tag="drain", frozen=True):
    """Heap's drain: its identity is its timestamp."""

    origin: ListOrigin
    at: int

    @property
    def mark(self) -> str:
        return f"drain:{self.at}"


class OperationRecord(msgspec.Struct, tag="operation", frozen=True):
    """What an operator did. `details` depend on the action; they hold no token and no user id in clear."""

    mark: str
    at: int
    actor: str
    action: Action
    account: str = ""
    list_id: str = ""
    details: dict[str, Any] = {}

    @property
    def name(self) -> tuple[str, str]:
        return (self.account, self.list_id)


Record = PageRecord | DrainRecord | OperationRecord

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Record).decode


def pack_record(record: Record) -> bytes:
    return _encode(record)


def unpack_record(payload: bytes) -> Record:
    """Raises `ValueError` for what `pack_record` did not write."""
    try:
        record: Record = _decode(payload)
    except msgspec.MsgspecError as error:
        raise ValueError(f"not a record of the journal: {error}") from None
    if not isinstance(record, OperationRecord):
        checked_account(record.origin.account)
        checked_list_id(record.origin.list_id)
    return record
