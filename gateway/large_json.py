"""JSON of some megabytes, decoded piece by piece in a thread: msgspec lets nobody else run while it decodes a piece."""

from __future__ import annotations

from typing import Any

import msgspec

_PIECE = 64 * 1024  # bytes that are decoded in one go, in a millisecond
_DEEPEST = 6  # how deep large values are taken apart, since each level is read through once more

_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_items = msgspec.json.Decoder(list[msgspec.Raw]).decode


def decode(raw: bytes | msgspec.Raw) -> Any:
    """What `msgspec.json.decode` makes of it, and the same errors."""
    return _decode(raw, 0)


def check(raw: bytes | msgspec.Raw) -> None:
    """Raise the errors of `decode`, in no more memory than a piece takes."""
    _check(raw, 0)


def _decode(raw: bytes | msgspec.Raw, depth: int) -> Any:
    parts = _parts(raw, depth)
    if isinstance(parts, dict):
        return {name: _decode(part, depth + 1) for name, part in parts.items()}
    if isinstance(parts, list):
        return [_decode(part, depth + 1) for part in parts]
    return msgspec.json.decode(raw)


def _check(raw: bytes | msgspec.Raw, depth: int) -> None:
    parts = _parts(raw, depth)
    if parts is None:
        msgspec.json.decode(raw)
    else:
        for part in parts.values() if isinstance(parts, dict) else parts:
            _check(part, depth + 1)


def _parts(raw: bytes | msgspec.Raw, depth: int) -> dict[str, msgspec.Raw] | list[msgspec.Raw] | None:
    """What a large object or array holds; None where `raw` is decoded in one go."""
    if len(raw) <= _PIECE or depth >= _DEEPEST:
        return None
    view = memoryview(raw)
    start = bytes(view[:_PIECE]).lstrip()[:1]
    if start == b"{":
        return _fields(raw)
    return _items(raw) if start == b"[" else None
