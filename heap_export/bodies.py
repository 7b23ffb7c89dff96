"""Bodies of requests: read within limits, and the JSON in them."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import msgspec
from starlette.requests import ClientDisconnect

from foundation.errors import BadRequestError, TooLargeError
from foundation.json import no_json, utf8
from foundation.memory import Memory

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.requests import Request

    from foundation.memory import Booking
    from heap_export.settings import HeapExportSettings


class Bodies:
    """Reads the bodies of one process, unsigned ones too, within a budget of memory."""

    def __init__(self, settings: HeapExportSettings) -> None:
        self.memory = Memory(settings.events_memory)
        self._most = settings.max_events_bytes

    @contextlib.asynccontextmanager
    async def of(self, request: Request) -> AsyncIterator[bytes]:
        """The body, with room for work on it while the block runs.

        Raises `TooLargeError`, `UnavailableError` without room, and `BadRequestError` when the sender hangs up.
        """
        announced = request.headers.get("content-length", "")
        size = int(announced) if announced.isdecimal() else 0
        if size > self._most:
            raise self._too_large()
        with self.memory.booking(size) as booking:
            body = await self._read(request, booking)
            async with self.memory.work_on(len(body)):
                yield body

    async def _read(self, request: Request, booking: Booking) -> bytes:
        content = bytearray()
        try:
            async for chunk in request.stream():
                if len(content) + len(chunk) > self._most:
                    raise self._too_large()
                booking.grow(len(chunk))
                content += chunk
        except ClientDisconnect:
            raise BadRequestError("the sender hung up half-way", reason="cut_short") from None
        return bytes(content)

    def _too_large(self) -> TooLargeError:
        return TooLargeError(f"the body is larger than {self._most} bytes (MAX_EVENTS_BYTES); send smaller batches")


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
