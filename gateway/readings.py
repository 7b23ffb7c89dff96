"""Readers of the raw queries in which most SDKs write values and ids without encoding them.

A `&`, a `+`, a `#`, a Latin-1 byte or even `&listId=` may be part of the value, and nothing tells which SDK wrote it
(all seen on the wire). Hence a parser of our own, which takes the raw bytes, and several readings of one value.
"""

from __future__ import annotations

import re
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

import msgspec

_ATTRIBUTE = b"attribute="
_LIST_ID = b"listId"
_ACCOUNT = b"accountId"
_SDK_KEY = b"sdkKey"
_NAMES = frozenset((_LIST_ID, _ACCOUNT, _SDK_KEY))
_WHOSE = frozenset((_ACCOUNT, _SDK_KEY))

# Who writes a raw `+` for itself (Node, PHP, Java, Ruby, .NET, Python) leaves `@ : / , & = ;` raw, too, and writes a
# blank as `%20` or raw; who writes it for a blank (Go: a form) escapes all of them. So either tells what a `+` is.
_OF_FORMS = re.compile(rb"%(?:2[BCF]|26|3[ABD]|40)", re.IGNORECASE)
_OF_OTHERS = re.compile(rb"[@:/,&=; ]|%20")
# Escapes of what a URL may hold as it is. Who leaves the `[` of a list raw (Node, PHP, Java, .NET) writes none of them,
# so that they are parts of an id there; Python's SDK leaves those of an id, too, but encodes the `[`.
_NEEDLESS = re.compile(rb"%(?=2[14689A-F]|3[0-9ABDF]|40|[46][1-9A-F]|[57][0-9A]|5F|7E)", re.IGNORECASE)
_END_OF_IDS = re.compile(rb"^(.*(?:\]|%5D))[^\]]*$", re.IGNORECASE | re.DOTALL)


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

    Percent-decoded, `+` kept or read as a blank, unless the value tells which; its bytes UTF-8 (where they are) or
    Latin-1. A `%` without two hexadecimal digits is itself. The likeliest comes first.
    """
    if value.isascii() and b"%" not in value and b"+" not in value:
        return [value] if value else []
    decoded = []
    if b"+" not in value:
        decoded.append(unquote_to_bytes(value))
    else:
        of_form, of_others = _OF_FORMS.search(value), _OF_OTHERS.search(value)
        if of_others or not of_form:
            decoded.append(unquote_to_bytes(value))
        if of_form or not of_others:
            decoded.append(unquote_to_bytes(value.replace(b"+", b" ")))
    found = dict.fromkeys(text for text in decoded if _is_utf8(text))
    found.update(dict.fromkeys(text.decode("latin-1").encode() for text in decoded))
    return list(found)


class AskedIds(NamedTuple):
    """Ids that are looked up, each with every text that it may stand for (the likeliest first), and whose they are.

    `is_cut`: the list has no end, since a `#` in an id ended the request's target (Node's fetch, Java, Python).
    """

    ids: list[list[str]]
    account: str | None
    sdk_key: str | None
    is_cut: bool = False


def read_ids(query: bytes, name: bytes = b"userId") -> AskedIds:
    """The ids that the parameter `name` holds: a JSON list, as SDKs send it, or one id. It never raises.

    What names the account is found in front of the ids and behind them. None, where there is no such parameter.
    """
    named: dict[bytes, bytes] = {}
    before, found, value = (b"&" + query).partition(b"&%b=" % name)
    _read_parameters(before, named)
    value = _take_trailing(value, named)
    whose = _text(named, _ACCOUNT), _text(named, _SDK_KEY)
    if not found:
        return AskedIds([], *whose)
    is_list = value[:1] == b"[" or value[:3].upper() == b"%5B"
    if is_list:
        value = _END_OF_IDS.sub(rb"\1", value)  # parameters that we don't know may follow
    texts = readings_of(value)
    if is_list and _NEEDLESS.search(value):
        to_the_letter = readings_of(_NEEDLESS.sub(b"%25", value))
        texts = to_the_letter + texts if value[:1] == b"[" else texts + to_the_letter
    listed = [_ids_in(text) for text in texts]
    lists = [
        ids for ids in listed if len(ids) == len(listed[0])
    ]  # one that reads in another way is none of its readings
    is_cut = bool(texts) and texts[0].startswith(b'["') and listed[0] == [texts[0].decode()]
    return AskedIds([list(dict.fromkeys(ids)) for ids in zip(*lists, strict=True)], *whose, is_cut)


def _ids_in(text: bytes) -> list[str]:
    if text.startswith(b"["):
        try:
            return [str(one) for one in msgspec.json.decode(text, type=list[str | int])]
        except (ValueError, RecursionError):
            pass
    return [text.decode()]


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
