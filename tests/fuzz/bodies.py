"""Bodies that a sender could think of: pushes, JSON gone wrong, and bytes."""

from __future__ import annotations

import copy
import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import random

_ODD: list[Any] = [
    *(None, True, False, 0, -1, 1.5, 1e308, 10**30, -(2**63), 2**64, float("nan"), float("inf")),
    *("", " ", "a", "0", "é", "\ud800", "\x00", "\u202e", "x" * 300, "x" * 2000, "{}", "[]", "null"),
    *([], [[]], [None], [{}], {}, {"id": {}}, {"id": []}, {"id": None}, {"": ""}, [[[[[[]]]]]]),
]
_PIECES = [
    *(b"{", b"}", b"[", b"]", b'"', b",", b":", b"\\", b"\\u", b"\\ud83d", b"\xff", b"\x00", b"\xef\xbb\xbf", b"\n"),
    *(b"null", b"1e9999", b"-", b"NaN", b'"},{"id":"', b"]},", b"/*", b"\xe2\x80\xa8", b'{"id":"a"}', b"[" * 2000),
]


def odd(chooser: random.Random) -> Any:
    """What nobody expects as a value."""
    return copy.deepcopy(chooser.choice(_ODD))  # it may be changed in turn


def push(chooser: random.Random) -> dict[str, Any]:
    """A push as Heap sends it; few segments, tasks and members, so that pushes meet."""
    segment: dict[str, Any] = {"id": chooser.randrange(5), "name": f"Segment {chooser.randrange(6)}"}
    found: dict[str, Any] = {"action_type": "segment.users.sync", "data": {"segment": segment}}
    if chooser.random() < 0.1:
        found["action_type"] = "segment.users.drain"
    else:
        pages = chooser.randrange(1, 4)
        found["data"]["sync_info"] = {
            "page_number": chooser.randrange(1, pages + 1),
            "total_pages": pages,
            "sync_task_id": f"task-{chooser.randrange(20)}",
        }
        for part in ("add", "remove"):
            if chooser.random() < 0.8:
                count = chooser.choice((0, 1, 2, 5, 50, 1500))
                found["data"][part] = [{"id": f"user{chooser.randrange(3000)}"} for _ in range(count)]
    if chooser.random() < 0.2:
        found["customer_config"] = odd(chooser)
    if chooser.random() < 0.05:
        found["id_token"] = odd(chooser)
    return found


def body(chooser: random.Random) -> bytes:
    """A body: a good push every third time."""
    return mutated(chooser, push(chooser))


def mutated(chooser: random.Random, found: dict[str, Any]) -> bytes:
    """`found` as JSON, which changes on the way: every third time only in its blanks."""
    for _ in range(chooser.choice((0, 0, 0, 1, 1, 5))):
        _change_somewhere(chooser, found)
    separators = chooser.choice(((",", ":"), (", ", ": "), (" ,\n", "\t: ")))
    text = json.dumps(found, separators=separators, ensure_ascii=chooser.random() < 0.5)
    raw = text.encode("utf-8", "surrogatepass")
    if chooser.random() < 0.05:
        raw = raw.decode("utf-8", "replace").encode(chooser.choice(("utf-16", "utf-32", "utf-8-sig", "utf-7")))
    for _ in range(chooser.choice((0, 0, 0, 0, 1, 3))):
        raw = _change_bytes(chooser, raw)
    return raw


def _change_somewhere(chooser: random.Random, value: Any) -> None:
    """Replace, remove or add something in `value`, anywhere in its depth."""
    while True:
        inside = list(value) if isinstance(value, dict) else list(range(len(value)))
        if not inside:
            if isinstance(value, list):
                value.append(odd(chooser))
            return
        key = chooser.choice(inside)
        if isinstance(value[key], dict | list) and chooser.random() < 0.7:
            value = value[key]
            continue
        match chooser.randrange(4):
            case 0:
                del value[key]
            case 1 if isinstance(value, dict):
                value[str(odd(chooser))] = value[key]
            case 2 if isinstance(value, list):
                value.insert(key, odd(chooser))
            case _:
                value[key] = odd(chooser)
        return


def _change_bytes(chooser: random.Random, raw: bytes) -> bytes:
    at = chooser.randrange(len(raw) + 1)
    until = min(len(raw), at + chooser.choice((0, 1, 2, 10, 1000)))
    match chooser.randrange(4):
        case 0:
            return raw[:at] + chooser.choice(_PIECES) + raw[at:]
        case 1:
            return raw[:at] + raw[until:]
        case 2:
            return raw[:at] + bytes(byte ^ (1 << chooser.randrange(8)) for byte in raw[at:until]) + raw[until:]
        case _:
            return raw[:at] + raw[at:until] * 2 + raw[until:]
