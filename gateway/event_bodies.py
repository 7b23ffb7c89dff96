"""Events as SDKs write them: what is read of a body, and what an event needs to go out in a batch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

if TYPE_CHECKING:
    from collections.abc import Mapping


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


class _Batch(msgspec.Struct):
    ev: list[msgspec.Raw]


_decode_event = msgspec.json.Decoder(_Event).decode
_decode_batch = msgspec.json.Decoder(_Batch).decode


def read_event(body: bytes, beside: Mapping[str, str]) -> SdkEvent:
    """`beside`: the visitor's `visitor_ua` and `visitor_ip`, where a request tells them beside its body.

    A batch has no place for these but the event itself. Raises `ValueError`.
    """
    try:
        body.decode()  # what the decoder skips may hold anything, and a batch would be refused for it
        data = _decode_event(body).d
        missing = {name: value for name, value in beside.items() if value and not getattr(data, name)}
        if missing:
            whole = msgspec.json.decode(body)
            whole["d"] |= missing
            body = msgspec.json.encode(whole)
    except RecursionError as error:
        raise ValueError("too many levels") from error
    return SdkEvent(data.event.name, body)


def parts_of_batch(body: bytes) -> list[bytes]:
    """The JSON of each event in a batch. Raises `ValueError`."""
    try:
        return [bytes(raw) for raw in _decode_batch(body).ev]
    except RecursionError as error:
        raise ValueError("too many levels") from error


def sdk_key_in(body: bytes) -> str:
    """The SDK key that an event, read before, names itself; empty where it names none."""
    try:
        props = msgspec.json.decode(body)["d"]["event"].get("props")
    except (ValueError, RecursionError):  # a number beyond all, in what was skipped before
        return ""
    key = props.get("vwo_envKey") if isinstance(props, dict) else None
    return key if isinstance(key, str) else ""
