"""What Heap pushes: bodies parsed into `SyncPush` and `DrainPush`, as tolerantly as Heap's contract asks for.

Heap sends each change once, so all that can be understood is taken: a bad member is skipped and counted, the page
is kept. Fields that nobody reads may hold anything whose end can be told.
"""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from cohort_sync.json_spans import NotJSONError, decode_text, is_null, read_object
from cohort_sync.members import SLICE, read_members, text_of
from foundation.errors import ActionNotAllowedError, BadRequestError

if TYPE_CHECKING:
    from collections.abc import Generator

    from foundation.turns import Turns

SYNC = "segment.users.sync"
DRAIN = "segment.users.drain"

_LONGEST_ID = 256
_LONGEST_TEXT = 64 * 1024  # bytes: what is longer is no name
_MOST_PAGES = 1_000_000
_DECIMAL = re.compile(rb"[0-9]{1,9}")


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


class _Segment(msgspec.Struct):
    id: msgspec.Raw = _NULL
    name: msgspec.Raw = _NULL


class _SyncInfo(msgspec.Struct):
    sync_task_id: msgspec.Raw = _NULL
    page_number: msgspec.Raw = _NULL
    total_pages: msgspec.Raw = _NULL


class _Data(msgspec.Struct):
    segment: _Segment | None = None
    sync_info: _SyncInfo | None = None
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
    body = body.removeprefix(codecs.BOM_UTF8)
    try:
        push = _decode(body)  # checks the whole text and finds its parts; nothing is built yet
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        push = yield from _find_parts(memoryview(body))
    yield
    action, id_token = _text(push.action_type, "action_type"), _text(push.id_token, "id_token")
    if action not in (SYNC, DRAIN):
        if action is None:
            raise BadRequestError("action_type: missing", reason="bad_shape")
        raise ActionNotAllowedError(f"action_type: only {SYNC} and {DRAIN} are known here")
    data = push.data or _Data()
    if data.segment is None:
        raise BadRequestError("data.segment: missing, or not an object", reason="bad_shape")
    segment_id = _identifier(data.segment.id, "data.segment.id")
    segment_name = _text(data.segment.name, "data.segment.name") or ""
    if action == DRAIN:
        return DrainPush(id_token, segment_id, segment_name)
    if data.sync_info is None:
        raise BadRequestError("data.sync_info: missing, or not an object", reason="bad_shape")
    task = _identifier(data.sync_info.sync_task_id, "data.sync_info.sync_task_id")
    page_number = _page_count(data.sync_info.page_number, "data.sync_info.page_number")
    total_pages = _page_count(data.sync_info.total_pages, "data.sync_info.total_pages")
    add, skipped = yield from read_members(data.add, "data.add")
    remove, also_skipped = yield from read_members(data.remove, "data.remove")
    return SyncPush(
        id_token=id_token,
        segment_id=segment_id,
        segment_name=segment_name,
        task=task,
        page_number=page_number,
        total_pages=total_pages,
        add=add,
        remove=remove,
        skipped=skipped + also_skipped,
    )


def _find_parts(body: memoryview) -> Generator[None, None, _Push]:
    """The parts of what msgspec refuses, though it may be understood."""
    push = yield from _fields(body, "the body", _Push)
    data = yield from _fields(push.pop("data", _NULL), "data", _Data)
    for name, kind in (("segment", _Segment), ("sync_info", _SyncInfo)):
        value = data.pop(name, _NULL)
        if bytes(memoryview(value)[:1]) == b"{":
            data[name] = kind(**(yield from _fields(value, f"data.{name}", kind)))
    return _Push(**push, data=_Data(**data))


def _fields(
    value: memoryview | msgspec.Raw, field: str, kind: type[msgspec.Struct]
) -> Generator[None, None, dict[str, Any]]:
    """The values of the fields that `kind` has, to be read; none of `null`."""
    if is_null(memoryview(value)):
        return {}
    try:
        found = yield from read_object(memoryview(value), kind.__struct_fields__)
    except NotJSONError as error:
        reason = "bad_json" if error.at else "bad_shape"
        raise BadRequestError(f"{field}: not a JSON object (byte {error.at})", reason=reason) from None
    return {name: msgspec.Raw(span) for name, span in found.items()}


def _text(value: msgspec.Raw, field: str) -> str | None:
    """A text, with marks for what is not UTF-8."""
    quoted = bytes(memoryview(value)[: _LONGEST_TEXT + 1])
    if quoted == b"null":
        return None
    if not quoted.startswith(b'"'):
        raise BadRequestError(f"{field}: must be a text", reason="bad_shape")
    if len(quoted) > _LONGEST_TEXT:
        raise BadRequestError(f"{field}: longer than {_LONGEST_TEXT} bytes", reason="bad_shape")
    try:
        return decode_text(quoted.decode("utf-8", "replace")).encode("utf-8", "replace").decode()
    except ValueError:
        raise BadRequestError(f"{field}: not a JSON text", reason="bad_json") from None


def _identifier(value: msgspec.Raw, field: str) -> str:
    text = text_of(value).decode()
    if not text or len(text) > _LONGEST_ID:
        raise BadRequestError(f"{field}: must be a text or a number, 1 to {_LONGEST_ID} characters", reason="bad_shape")
    return text


def _page_count(value: msgspec.Raw, field: str) -> int:
    text = text_of(value)
    if not _DECIMAL.fullmatch(text) or not 1 <= int(text) <= _MOST_PAGES:
        raise BadRequestError(f"{field}: must be a whole number from 1 to {_MOST_PAGES}", reason="bad_shape")
    return int(text)
