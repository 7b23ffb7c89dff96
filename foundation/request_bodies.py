"""Bodies of requests: read within a size and a budget of memory, then unpacked, by one rule for every address."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from foundation.content_encoding import ENCODINGS, encoding_of, unpacked
from foundation.errors import BadRequestError, CohortGatewayError, TooLargeError, UnsupportedEncodingError
from foundation.memory import Booking

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Self

    from starlette.requests import Request

    from foundation.memory import Memory
    from foundation.turns import Turns

_AT_ONCE = 16 * 1024  # bytes: up to here watching a piece is no heavy work
_JOINED_BESIDE = 1024 * 1024  # bytes


@dataclass(frozen=True, slots=True)
class BodyLimits:
    """What some addresses take.

    `most`: bytes, as they come and unpacked; `too_large`: the error for more, `cure`: what to do about it. `encodings`:
    what it may be packed with; `refusal`: the error for another one. `drains`: a refused body is read to its end before
    the error is raised.
    """

    most: int
    cure: str
    encodings: tuple[str, ...] = ENCODINGS
    refusal: type[CohortGatewayError] = UnsupportedEncodingError
    too_large: type[TooLargeError] = TooLargeError
    drains: bool = False


class BodyReader:
    """Reads bodies within `limits`. Several readers share the `memory` and the `turns` of a process."""

    def __init__(self, memory: Memory, turns: Turns, limits: BodyLimits) -> None:
        self.memory = memory
        self.turns = turns
        self.limits = limits

    def body_of(self, request: Request) -> Body:
        """The body of `request`, of which nothing is read yet."""
        return Body(self, request)


class Body:
    """The body of one request. What it takes of the memory is given back at the end of a `with` block."""

    def __init__(self, reader: BodyReader, request: Request) -> None:
        self._turns = reader.turns
        self._limits = reader.limits
        self._request = request
        self._booking = Booking(reader.memory)
        self._encoding: str | None = None
        self._raw: bytes | None = None
        self._is_over = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._booking.release()

    async def receive(self, *, watch: Callable[[bytes], None] | None = None) -> bytes:
        """The body as it comes, which is what signatures are over. `watch` is shown each piece of it.

        Raises `TooLargeError`, `UnavailableError` without room, the `refusal` of an encoding, and `BadRequestError`
        when the sender hangs up.
        """
        try:
            headers = self._request.scope["headers"]
            self._encoding = encoding_of(headers, self._limits.encodings, refusal=self._limits.refusal)
            self._booking.announce(self._announced(headers))
            content = _Content()
            while not self._is_over:
                piece = await self._next()
                self._add(content, piece)
                if watch is not None:
                    async with self._turns.slice() if len(piece) > _AT_ONCE else contextlib.nullcontext():
                        watch(piece)
        except CohortGatewayError:
            self._booking.release()
            while self._limits.drains and not self._is_over:
                await self._next()
            raise
        self._raw = await content.joined()
        return self._raw

    async def content(self) -> bytes:
        """The body, received and unpacked, once there is room for work on it. Only the caller holds it from then on.

        Raises as `receive` does, and `BadRequestError` where it can't be unpacked.
        """
        raw = await self.receive() if self._raw is None else self._raw
        self._raw = b""
        if self._encoding is not None and raw:
            raw = await self._unpack(raw, self._encoding)
        await self._booking.work_on(len(raw))
        return raw

    async def _unpack(self, packed: bytes, encoding: str) -> bytes:
        content = _Content()
        pieces = unpacked(packed, encoding)
        while True:
            async with self._turns.slice():
                piece = next(pieces, None)
            if piece is None:
                break
            self._add(content, piece, " unpacked")
        self._booking.shrink(len(packed))
        return await content.joined()

    async def _next(self) -> bytes:
        """The next piece, as the server has it. Raises `BadRequestError` when the sender hangs up."""
        self._is_over = True  # whatever is raised: nothing more comes
        message = await self._request.receive()
        if message["type"] != "http.request":
            raise BadRequestError("the body was cut short", reason="cut_short")
        self._is_over = not message.get("more_body", False)
        piece: bytes = message.get("body", b"")
        return piece

    def _announced(self, headers: list[tuple[bytes, bytes]]) -> int:
        lengths = [value for name, value in headers if name == b"content-length"]
        announced = int(lengths[0]) if lengths else 0  # a length that is no number did not pass the server
        if announced > self._limits.most:
            raise self._too_large()
        return announced

    def _add(self, content: _Content, piece: bytes, state: str = "") -> None:
        if content.size + len(piece) > self._limits.most:
            raise self._too_large(state)
        self._booking.grow(len(piece))
        content.add(piece)

    def _too_large(self, state: str = "") -> TooLargeError:
        return self._limits.too_large(f"the body has more than {self._limits.most} bytes{state}; {self._limits.cure}")


class _Content:
    """What came so far: kept in pieces, since a buffer that grows is copied again and again, milliseconds at a time."""

    def __init__(self) -> None:
        self.size = 0
        self._pieces: list[bytes] = []

    def add(self, piece: bytes) -> None:
        self._pieces.append(piece)
        self.size += len(piece)

    async def joined(self) -> bytes:
        """All of it. What is large is copied beside the event loop: joining more than 1 MiB leaves Python to others."""
        if self.size > _JOINED_BESIDE:
            return await asyncio.to_thread(self._join)
        return self._join()

    def _join(self) -> bytes:
        whole = b"".join(self._pieces)
        self._pieces.clear()
        return whole
