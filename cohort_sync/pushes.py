"""What Heap pushes: bodies parsed into `SyncPush` and `DrainPush`, as tolerantly as Heap's contract asks for.

Heap sends each change once, so all that can be understood is taken: a bad member is skipped and counted, the page
is kept.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

import msgspec

from foundation.errors import ActionNotAllowedError, BadRequestError

SYNC = "segment.users.sync"
DRAIN = "segment.users.drain"

LONGEST_MEMBER = 1024  # bytes
_LONGEST_ID = 256
_MOST_PAGES = 1_000_000
_DECIMAL = re.compile(r"\d{1,9}")


@dataclass(frozen=True, slots=True)
class SyncPush:
    """One page of a sync task. Members are UTF-8; `skipped` counts those that can't be members."""

    id_token: str | None
    segment_id: str
    segment_name: str
    task: str
    page_number: int
    total_pages: int
    add: list[bytes]
    remove: list[bytes]
    skipped: int


@dataclass(frozen=True, slots=True)
class DrainPush:
    id_token: str | None
    segment_id: str
    segment_name: str


class _Member(msgspec.Struct, gc=False):
    id: str


class _Data(msgspec.Struct):
    segment: Any = None
    sync_info: Any = None
    add: list[_Member] | None = None
    remove: list[_Member] | None = None


class _Push(msgspec.Struct):
    action_type: Any = None
    id_token: Any = None
    data: _Data | None = None


_decode = msgspec.json.Decoder(_Push).decode


def parse_push(body: bytes) -> SyncPush | DrainPush:
    """Raises `BadRequestError` naming the field, or `ActionNotAllowedError` for another `action_type`."""
    try:
        push = _decode(body)
    except msgspec.MsgspecError:
        return _parse_unusual(body)
    if push.data is None:
        return _assemble(push.action_type, push.id_token, {}, ([], 0), ([], 0))
    data = {"segment": push.data.segment, "sync_info": push.data.sync_info}
    add = _texts([member.id for member in push.data.add or ()])
    remove = _texts([member.id for member in push.data.remove or ()])
    return _assemble(push.action_type, push.id_token, data, add, remove)


def _parse_unusual(body: bytes) -> SyncPush | DrainPush:
    """Pages with numbers for ids, bad members or lone surrogates: everything that the strict types refuse."""
    try:
        push = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise BadRequestError(f"the body is not JSON: {_position(error)}", reason="bad_json") from None
    if not isinstance(push, dict):
        raise BadRequestError("the body must be a JSON object", reason="bad_shape")
    data = push.get("data")
    if data is not None and not isinstance(data, dict):
        raise BadRequestError("data: must be an object", reason="bad_shape")
    data = data or {}
    add, remove = (_members_of(data.get(name), f"data.{name}") for name in ("add", "remove"))
    return _assemble(push.get("action_type"), push.get("id_token"), data, add, remove)


def _position(error: Exception) -> str:
    # A decoder's own message may quote the body, and that holds user ids.
    if isinstance(error, json.JSONDecodeError):
        return f"line {error.lineno} column {error.colno}"
    return "nested too deeply" if isinstance(error, RecursionError) else "not UTF-8 text"


def _members_of(value: Any, field: str) -> tuple[list[bytes], int]:
    if value is None:
        return [], 0
    if not isinstance(value, list):
        raise BadRequestError(f"{field}: must be a list of objects with an id", reason="bad_shape")
    return _texts([_text_of(member.get("id")) if isinstance(member, dict) else "" for member in value])


def _text_of(value: Any) -> str:
    """Numbers become their decimal text, as an SDK would send them; what can't be a member becomes nothing."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool) or not isinstance(value, int | float):
        return ""
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return str(int(value))
    try:
        return str(value)
    except ValueError:  # an integer beyond Python's limit of digits
        return ""


def _texts(ids: list[str]) -> tuple[list[bytes], int]:
    """The usable ids in UTF-8, and how many were not usable: empty, too long, or not text that UTF-8 can hold."""
    try:
        encoded = [member.encode() for member in ids]
    except UnicodeEncodeError:
        encoded = [member.encode("utf-8", "ignore") if _is_utf8(member) else b"" for member in ids]
    usable = [member for member in encoded if 0 < len(member) <= LONGEST_MEMBER]
    return usable, len(ids) - len(usable)


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _assemble(
    action: Any, id_token: Any, data: dict[str, Any], add: tuple[list[bytes], int], remove: tuple[list[bytes], int]
) -> SyncPush | DrainPush:
    if not isinstance(action, str):
        raise BadRequestError("action_type: missing, or not a text", reason="bad_shape")
    if action not in (SYNC, DRAIN):
        raise ActionNotAllowedError(f"action_type: only {SYNC} and {DRAIN} are known here")
    if id_token is not None and not isinstance(id_token, str):
        raise BadRequestError("id_token: must be a text", reason="bad_shape")
    segment = _object(data.get("segment"), "data.segment")
    segment_id = _identifier(segment.get("id"), "data.segment.id")
    name = segment.get("name")
    if name is not None and not isinstance(name, str):
        raise BadRequestError("data.segment.name: must be a text", reason="bad_shape")
    segment_name = (name or "").encode("utf-8", "replace").decode()
    if action == DRAIN:
        return DrainPush(id_token, segment_id, segment_name)
    sync_info = _object(data.get("sync_info"), "data.sync_info")
    return SyncPush(
        id_token=id_token,
        segment_id=segment_id,
        segment_name=segment_name,
        task=_identifier(sync_info.get("sync_task_id"), "data.sync_info.sync_task_id"),
        page_number=_page_count(sync_info.get("page_number"), "data.sync_info.page_number"),
        total_pages=_page_count(sync_info.get("total_pages"), "data.sync_info.total_pages"),
        add=add[0],
        remove=remove[0],
        skipped=add[1] + remove[1],
    )


def _object(value: Any, field: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise BadRequestError(f"{field}: missing, or not an object", reason="bad_shape")
    return value


def _identifier(value: Any, field: str) -> str:
    text = _text_of(value)
    if not text or len(text) > _LONGEST_ID or not _is_utf8(text):
        raise BadRequestError(f"{field}: must be a text or a number, 1 to {_LONGEST_ID} characters", reason="bad_shape")
    return text


def _page_count(value: Any, field: str) -> int:
    if isinstance(value, str) and _DECIMAL.fullmatch(value):
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= _MOST_PAGES:
        raise BadRequestError(f"{field}: must be a whole number from 1 to {_MOST_PAGES}", reason="bad_shape")
    return value
