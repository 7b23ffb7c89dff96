"""The JSON in bodies of requests."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from foundation.errors import BadRequestError
from foundation.json import no_json, utf8
from foundation.json_outline import Items, outline
from heap_export.records import RefusedError

if TYPE_CHECKING:
    from collections.abc import Generator

MOST_RECORDS = 10_000  # of a request
LARGEST_RECORD = 64 * 1024  # bytes, as an event of VWO


def items_of(body: bytes, *names: str) -> Generator[None, None, tuple[Items | list[bytes], bool]]:
    """What a body brings, as JSON texts: a bare array's items, those under one of `names`, or itself; whether itself.

    In short steps. Raises `BadRequestError`, and `TooLargeError` for too many.
    """
    try:
        body = utf8(body)
        found = yield from outline(body, names, most=MOST_RECORDS)
    except ValueError as error:
        raise BadRequestError(f"the body is {no_json(error)}; send JSON", reason="bad_json") from None
    if found is None:
        raise BadRequestError("the body must be an object or an array of objects", reason="bad_shape")
    if isinstance(found, Items):
        return found, False
    for name in names:
        if name in found:
            items = found[name]
            if items is None:
                raise BadRequestError(f"{name}: must be an array", reason="bad_shape")
            return items, False
    return [body], True


def read_item(text: bytes) -> Any:
    """Raises `RefusedError`."""
    if len(text) > LARGEST_RECORD:
        raise RefusedError(f"it has more than {LARGEST_RECORD} bytes; send fewer properties", reason="too_large")
    try:
        return msgspec.json.decode(text)
    except (ValueError, RecursionError):  # the error's own text may quote the body
        raise RefusedError("it must be JSON", reason="bad_json") from None
