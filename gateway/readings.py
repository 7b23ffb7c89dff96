"""Read the query of `/check-attribute`, which most SDKs write without encoding it.

A `&`, a `+`, a `#`, a Latin-1 byte or even `&listId=` may be part of the value, and nothing tells which SDK wrote it
(all seen on the wire). Hence a parser of our own, which takes the raw bytes, and several readings of one value.
"""

from __future__ import annotations

from typing import NamedTuple
from urllib.parse import unquote_to_bytes

_ATTRIBUTE = b"attribute="
_LIST_ID = b"listId"
_ACCOUNT = b"accountId"
_SDK_KEY = b"sdkKey"
_NAMES = frozenset((_LIST_ID, _ACCOUNT, _SDK_KEY))
_WHOSE = frozenset((_ACCOUNT, _SDK_KEY))


class Question(NamedTuple):
    """One membership check: what the value may mean (UTF-8), and whose list it is about. Absent or empty is `None`."""

    readings: list[bytes]
    list_id: str | None
    account: str | None
    sdk_key: str | None


def read_question(query: bytes) -> Question:
    """What `query` asks. It never raises: of rubbish, less is read.

    The value ends at the last `&listId=`, the genuine one; where a list id precedes `attribute=`, that one is genuine,
    since an SDK wrote it before the value began. An account or SDK key between value and list id is read as such, and
    as a part of the value too.
    """
    named: dict[bytes, bytes] = {}
    if query.startswith(_ATTRIBUTE):
        value = query[len(_ATTRIBUTE) :]
    else:
        before, _, value = query.partition(b"&" + _ATTRIBUTE)
        _read_parameters(before, named)
    if _LIST_ID not in named:
        start, found, after = value.rpartition(b"&listId=")
        if found:
            value = start
            _read_parameters(b"listId=" + after, named)
    readings = readings_of(value)
    if b"&" in value:
        shorter = _take_trailing(value, named)
        if shorter != value:
            readings = list(dict.fromkeys(readings_of(shorter) + readings))
    return Question(readings, _text(named, _LIST_ID), _text(named, _ACCOUNT), _text(named, _SDK_KEY))


def readings_of(value: bytes) -> list[bytes]:
    """Every distinct text, as UTF-8, that `value` may stand for.

    Percent-decoded, `+` kept or read as a blank; its bytes UTF-8 (where they are) or Latin-1. A `%` without two
    hexadecimal digits is itself.
    """
    if value.isascii() and b"%" not in value and b"+" not in value:
        return [value] if value else []
    decoded = [unquote_to_bytes(value)]
    if b"+" in value:
        decoded.append(unquote_to_bytes(value.replace(b"+", b" ")))
    found = dict.fromkeys(text for text in decoded if _is_utf8(text))
    found.update(dict.fromkeys(text.decode("latin-1").encode() for text in decoded))
    return list(found)


def _read_parameters(part: bytes, named: dict[bytes, bytes]) -> None:
    for parameter in part.split(b"&"):
        name, _, text = parameter.partition(b"=")
        if name in _NAMES:
            named.setdefault(name, text)


def _take_trailing(value: bytes, named: dict[bytes, bytes]) -> bytes:
    """Move what names the account from the end of `value` to `named`, unless it stands there already."""
    while True:
        start, found, parameter = value.rpartition(b"&")
        name, _, text = parameter.partition(b"=")
        if not found or name not in _WHOSE or name in named:
            return value
        named[name] = text
        value = start


def _is_utf8(text: bytes) -> bool:
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True


def _text(named: dict[bytes, bytes], name: bytes) -> str | None:
    raw = named.get(name)
    return unquote_to_bytes(raw).decode("latin-1") if raw else None
