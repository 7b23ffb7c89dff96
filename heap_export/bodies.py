"""The JSON in bodies of requests."""

from __future__ import annotations

from typing import Any

import msgspec

from foundation.errors import BadRequestError
from foundation.json import no_json, utf8


def read_json(body: bytes) -> Any:
    """Raises `BadRequestError`."""
    try:
        return msgspec.json.decode(utf8(body))
    except (ValueError, RecursionError) as error:  # whose own text may quote the body
        raise BadRequestError(f"the body is {no_json(error)}; send JSON", reason="bad_json") from None


def items_of(parsed: Any, *names: str) -> tuple[list[Any], bool]:
    """What a body brings: a bare array, the array under one of `names`, or itself; whether it is a single one.

    Raises `BadRequestError`.
    """
    if isinstance(parsed, list):
        return parsed, False
    if not isinstance(parsed, dict):
        raise BadRequestError("the body must be an object or an array of objects", reason="bad_shape")
    for name in names:
        if name in parsed:
            if not isinstance(parsed[name], list):
                raise BadRequestError(f"{name}: must be an array", reason="bad_shape")
            return parsed[name], False
    return [parsed], True
