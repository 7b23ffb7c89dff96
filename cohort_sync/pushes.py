"""What Heap pushes: bodies parsed into `SyncPush` and `DrainPush`, as tolerantly as Heap's contract asks for.

Heap sends each change once, so all that can be understood is taken: a bad member is skipped and counted, the page
is kept.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from cohort_sync.members import SLICE, is_utf8, members_of, read_members, text_of
from foundation.errors import ActionNotAllowedError, BadRequestError

if TYPE_CHECKING:
    from collections.abc import Generator

    from foundation.turns import Turns

SYNC = "segment.users.sync"
DRAIN = "segment.users.drain"

_LONGEST_ID = 256
_LONGEST_SMALL = 64 * 1024  # bytes of all that is not members: what is longer is no id or name
_LARGEST_UNUSUAL = 16 * 1024 * 1024
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


_NULL = msgspec.Raw(b"null")


class _Data(msgspec.Struct):
    segment: msgspec.Raw = _NULL
    sync_info: msgspec.Raw = _NULL
    add: msgspec.Raw = _NULL
    remove: msgspec.Raw = _NULL


class _Push(msgspec.Struct):
    action_type: msgspec.Raw = _NULL
    id_token: msgspec.Raw = _NULL
    data: _Data | None = None


_decode = msgspec.json.Decoder(_Push).decode


def parse_push(body: bytes) -> SyncPush | DrainPush:
    """Raises `BadRequestError` naming the field, or `ActionNotAllowedError` for another `action_type`."""
    steps = _parse(body)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            push: SyncPush | DrainPush = end.value
            return push


async def parse_push_in_turns(body: bytes, turns: Turns) -> SyncPush | DrainPush:
    """`parse_push`, each slice of the members in a turn of the event loop of its own."""
    if len(body) <= SLICE:
        return parse_push(body)
    steps = _parse(body)
    while True:
        async with turns.slice():
            try:
                next(steps)
            except StopIteration as end:
                push: SyncPush | DrainPush = end.value
                return push


def _parse(body: bytes) -> Generator[None, None, SyncPush | DrainPush]:
    try:
        push = _decode(body)  # checks the whole text and finds its parts; nothing is built yet
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return _parse_unusual(body)
    yield
    action, id_token = _small(push.action_type, "action_type"), _small(push.id_token, "id_token")
    if push.data is None:
        return _assemble(action, id_token, {}, ([], 0), ([], 0))
    data = {"segment": _small(push.data.segment, "data.segment")}
    data["sync_info"] = _small(push.data.sync_info, "data.sync_info")
    add = yield from read_members(push.data.add, "data.add")
    remove = yield from read_members(push.data.remove, "data.remove")
    return _assemble(action, id_token, data, add, remove)


def _small(raw: msgspec.Raw, field: str) -> Any:
    text = memoryview(raw)
    if len(text) > _LONGEST_SMALL:
        raise BadRequestError(f"{field}: longer than {_LONGEST_SMALL} bytes", reason="bad_shape")
    try:
        return json.loads(bytes(text))  # msgspec would make floats of integers beyond 64 bits
    except (ValueError, RecursionError):
        raise BadRequestError(f"{field}: can't be read", reason="bad_shape") from None


def _parse_unusual(body: bytes) -> SyncPush | DrainPush:
    """What msgspec refuses, though it may be understood: half surrogate pairs, above all.

    This costs many times the memory and time, in one go: so it is for pages of a usual size.
    """
    if len(body) > _LARGEST_UNUSUAL:
        raise BadRequestError("the body is not JSON", reason="bad_json")
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
    add, remove = (members_of(data.get(name), f"data.{name}") for name in ("add", "remove"))
    return _assemble(push.get("action_type"), push.get("id_token"), data, add, remove)


def _position(error: Exception) -> str:
    # A decoder's own message may quote the body, and that holds user ids.
    if isinstance(error, json.JSONDecodeError):
        return f"line {error.lineno} column {error.colno}"
    return "nested too deeply" if isinstance(error, RecursionError) else "not UTF-8 text"


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
    text = text_of(value)
    if not text or len(text) > _LONGEST_ID or not is_utf8(text):
        raise BadRequestError(f"{field}: must be a text or a number, 1 to {_LONGEST_ID} characters", reason="bad_shape")
    return text


def _page_count(value: Any, field: str) -> int:
    if isinstance(value, str) and _DECIMAL.fullmatch(value):
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= _MOST_PAGES:
        raise BadRequestError(f"{field}: must be a whole number from 1 to {_MOST_PAGES}", reason="bad_shape")
    return value
