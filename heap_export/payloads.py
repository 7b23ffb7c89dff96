"""A record on its way to Heap in the stream: what Heap is sent of it is worked out when it arrives."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from event_stream.marks import MARK_BYTES, PERSON_BYTES, Mark
from event_stream.stream import Event
from heap_export.records import Exposure, PlainEvent, UserProperties
from heap_export.shapes import digest, event_of, once_of, user_of

if TYPE_CHECKING:
    from heap_export.integrations import Integration
    from heap_export.records import Record

MESSAGE_SECONDS = 86_400  # for which the id of a message is known; Heap knows it for longer

_encode = msgspec.json.encode


class Parcel(NamedTuple):
    """A record in the stream of an app id: what of it goes to `track`, and what to `add_user_properties`.

    `source` and `name` (of the flag or event) are for the delivery log, `received` is in seconds since 1970.
    """

    source: str
    name: str
    received: float
    event: bytes | None = None
    user: bytes | None = None


class _Packed(msgspec.Struct, omit_defaults=True):
    """A parcel as JSON. msgspec knows no raw value that may be null: an empty one is left out."""

    source: str
    name: str
    received: float
    event: msgspec.Raw = msgspec.Raw()
    user: msgspec.Raw = msgspec.Raw()


_unpack = msgspec.json.Decoder(_Packed).decode


def open_parcel(body: bytes) -> Parcel:
    """What `parcel_of` packed. Raises `msgspec.DecodeError`."""
    packed = _unpack(body)
    event, user = (bytes(raw) or None for raw in (packed.event, packed.user))
    return Parcel(packed.source, packed.name, packed.received, event, user)


class Addressed(NamedTuple):
    """What the stream of an app id gets: `event.to` is the identity."""

    event: Event
    mark: Mark


def parcel_of(record: Record, integration: Integration, *, received: float) -> Addressed | None:
    """`record`, which is valid, for one Heap environment; None where that wants nothing of it."""
    once = once_of(record, integration) or secrets.token_bytes(32)
    event, user = event_of(record, integration, once), user_of(record, integration)
    if event is None and user is None:
        return None
    match record:
        case Exposure(flag_key=name) | PlainEvent(name=name):
            pass
        case UserProperties():
            name = "identify"
    parts = {what: msgspec.Raw(_encode(part)) for what, part in (("event", event), ("user", user)) if part is not None}
    packed = _Packed(record.source, name, received, **parts)
    whose = person_mark(integration.app_id, record.identity)
    seconds = integration.dedupe_seconds if isinstance(record, Exposure) else MESSAGE_SECONDS
    mark = Mark(whose + once[: MARK_BYTES - PERSON_BYTES], seconds)
    return Addressed(Event(record.identity, _encode(packed)), mark)


def person_mark(app_id: str, identity: str) -> bytes:
    """The first bytes of all marks of a person."""
    return digest(app_id, identity)[:PERSON_BYTES]
