"""Events as SDKs write them: what is read of a body, and what an event needs to go out in a batch."""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import unquote

import msgspec

from foundation.errors import TooLargeError
from foundation.json import utf8
from foundation.json_outline import Items, outline
from gateway.addresses import bare_address
from gateway.decisions_requests import parse_json

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping

LARGEST_EVENT = 64 * 1024  # bytes; VWO's own have one or two thousand
MOST_EVENTS = 20_000  # of a batch; VWO takes 5,000
_LONGEST_USER_ID = 1024  # characters
_LONGEST_TEXT_OF_ID, _LONGEST_HEADER = 6 * _LONGEST_USER_ID + 2, 12 * _LONGEST_USER_ID  # bytes, each character escaped


class SdkEvent(NamedTuple):
    """One event: its name, and its JSON, `{"d": {...}}`."""

    name: str
    body: bytes


class _Named(msgspec.Struct):
    name: str


class _Data(msgspec.Struct):
    event: _Named
    visitor_ua: Any = None
    visitor_ip: Any = None


class _Event(msgspec.Struct):
    d: _Data


_decode_event = msgspec.json.Decoder(_Event).decode
_decode_text = msgspec.json.Decoder(str).decode

_LONGEST_TEXT = 255  # characters of an attribute that may be a user's id: Heap takes no longer identity
_MOST_TEXTS = 50  # attributes that are looked at
_OF_SDKS = frozenset(("vwo_fs_environment", "ip"))  # attributes that SDKs add


def read_event(body: bytes, beside: Mapping[str, str]) -> SdkEvent:
    """`beside`: the visitor's `visitor_ua` and `visitor_ip`, where a request tells them beside its body.

    A batch has no place for these but the event itself. An address goes on without its port. Raises `ValueError`, and
    `TooLargeError` for one that would not be kept.
    """
    _check_size(body)
    body = utf8(body)  # a mark has no place within a batch
    try:
        body.decode()  # what the decoder skips may hold anything, and a batch would be refused for it
        try:
            data = _decode_event(body).d
        except msgspec.DecodeError:
            data = msgspec.convert(parse_json(body), _Event).d  # half a surrogate pair goes on as it is
        changes = {name: value for name, value in beside.items() if value and not getattr(data, name)}
        told = changes.get("visitor_ip", data.visitor_ip)
        if isinstance(told, str) and (address := bare_address(told)) != told:
            changes["visitor_ip"] = address
        if changes:
            whole = parse_json(body)
            whole["d"] |= changes
            body = _encode(whole)
            _check_size(body)
    except RecursionError as error:
        raise ValueError("too many levels") from error
    return SdkEvent(data.event.name, body)


class Batch(NamedTuple):
    """The JSON of each event, and the ids of users that our own client sends beside them (docs/events.md)."""

    parts: Items
    users: list[str]


def read_batch(body: bytes) -> Generator[None, None, Batch]:
    """In short steps. Raises `ValueError`, and `TooLargeError` for more than `MOST_EVENTS`, or as many users."""
    fields = yield from outline(utf8(body), ("ev", "users"), most=MOST_EVENTS)
    parts = fields.get("ev") if isinstance(fields, dict) else None
    if not isinstance(fields, dict) or parts is None:
        raise ValueError("it has no list of events")
    users = []
    for text in fields.get("users") or ():
        if len(text) <= _LONGEST_TEXT_OF_ID:
            with contextlib.suppress(ValueError):
                users.append(_decode_text(text))
        yield
    return Batch(parts, users)


def user_in(header: str | None) -> list[str]:
    """The id in the header `X-User-Id`, percent-encoded UTF-8, where there is one."""
    try:
        return [unquote(header, errors="strict")] if header and len(header) <= _LONGEST_HEADER else []
    except UnicodeDecodeError:
        return []


def name_in(body: bytes) -> str:
    """The name of an event, read before."""
    try:
        return _decode_event(body).d.event.name
    except msgspec.DecodeError:  # half a surrogate pair
        return msgspec.convert(parse_json(body), _Event).d.event.name


def visitor_in(body: bytes) -> tuple[str, list[str]]:
    """The visitor id of an event, read before, upper case, and the texts among the visitor's attributes."""
    try:
        data = parse_json(body)["d"]
    except ValueError:  # a number beyond all, in what was skipped before
        return "", []
    visitor, about = data.get("visId"), data.get("visitor")
    props = about.get("props") if isinstance(about, dict) else None
    own = props if isinstance(props, dict) else {}
    values = [value for name, value in own.items() if name not in _OF_SDKS][:_MOST_TEXTS]
    texts = [value for value in values if isinstance(value, str) and len(value) <= _LONGEST_TEXT]
    return visitor.upper() if isinstance(visitor, str) else "", texts


def sdk_key_in(body: bytes) -> str:
    """The SDK key that an event, read before, names itself; empty where it names none."""
    try:
        props = parse_json(body)["d"]["event"].get("props")
    except ValueError:  # a number beyond all, in what was skipped before
        return ""
    key = props.get("vwo_envKey") if isinstance(props, dict) else None
    return key if isinstance(key, str) else ""


def _check_size(body: bytes) -> None:
    if len(body) > LARGEST_EVENT:
        raise TooLargeError(f"an event has more than {LARGEST_EVENT} bytes")


def _encode(value: Any) -> bytes:
    """JSON. Half a surrogate pair stays the escape that it was, as UTF-8 has nothing for it."""
    try:
        return msgspec.json.encode(value)
    except UnicodeEncodeError:
        return json.dumps(value, separators=(",", ":"), allow_nan=False).encode()
