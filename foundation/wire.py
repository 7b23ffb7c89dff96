"""A connection to the store spoken over directly: set up by redis-py, written and read without it.

redis-py's asyncio client spends some 100 µs of processor time on a command and its reply. Where commands come by the
thousand, that is most of what they cost. So a connection that redis-py has opened (TLS, AUTH, Sentinel, Cluster: all as
ever) is borrowed: its transport gets another protocol, and its own again when it goes back.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections import deque
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import hiredis
from redis._parsers import BaseParser
from redis.exceptions import (
    ConnectionError,  # noqa: A004 - the store's own
    InvalidResponse,
    TimeoutError,  # noqa: A004 - the store's own
)

from foundation.connections import borrowed, take_over

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from redis.asyncio.connection import AbstractConnection

    from foundation.store import Store

NOTHING = object()

_USUAL_LENGTHS = 256
_BEFORE = [b"\r\n$%d\r\n" % length for length in range(_USUAL_LENGTHS)]  # what stands before a value of that length

Answered = asyncio.Future[list[Any]]


def reply_reader() -> hiredis.Reader:
    """Reads replies as redis-py does, errors as its exceptions; `NOTHING` where no whole one is there."""
    return hiredis.Reader(protocolError=InvalidResponse, replyError=BaseParser.parse_error, notEnoughData=NOTHING)


def pack(*command: str | bytes) -> bytes:
    """A command as it is on the wire."""
    packed: bytes = hiredis.pack_command(command)  # type: ignore[arg-type] # declared for commands of one part
    return packed


def pack_many(command: str, key: str | bytes, values: Sequence[bytes]) -> bytes:
    """`command key value...` as it is on the wire."""
    lengths = list(map(len, values))
    if max(lengths, default=_USUAL_LENGTHS) >= _USUAL_LENGTHS:
        return pack(command, key, *values)
    # Joining is faster than `pack`, by far where ids have one length, such as UUIDs.
    head = b"*%d\r\n" % (len(values) + 2) + pack(command, key).partition(b"\r\n")[2][:-2]
    if len(set(lengths)) == 1:
        before = _BEFORE[lengths[0]]
        return head + before + before.join(values) + b"\r\n"
    parts = [b""] * (2 * len(values))
    parts[::2], parts[1::2] = map(_BEFORE.__getitem__, lengths), values
    return head + b"".join(parts) + b"\r\n"


class Turn:
    """Where only one may be at it at a time, whoever's wire it is.

    The next one sends in the moment in which the one before is answered: not after that one has heard of it, which
    takes turns of a busy loop in which the store would have nothing to do.
    """

    def __init__(self) -> None:
        self._current: Answered | None = None
        self._waiting: dict[Answered, Callable[[], None]] = {}

    def take(self, answered: Answered, send: Callable[[], None]) -> None:
        """`send` is called now, or when all before it have left."""
        if self._current is None:
            self._current = answered
            send()
        else:
            self._waiting[answered] = send

    def leave(self, answered: Answered) -> None:
        """It was answered, or nobody wants it any more."""
        if answered is not self._current:
            self._waiting.pop(answered, None)
            return
        self._current = None
        if self._waiting:
            following = next(iter(self._waiting))
            self.take(following, self._waiting.pop(following))


class Leaves(Protocol):
    """Who is told in the moment in which the store has answered."""

    def leave(self, answered: Answered, /) -> None: ...


class _Asked(NamedTuple):
    replies: int
    answered: Answered
    turn: Leaves | None
    timer: asyncio.TimerHandle | None


class Wire(asyncio.Protocol):
    """Commands out, replies in, matched in order. Made by `wire_to`."""

    def __init__(self, connection: AbstractConnection) -> None:
        self._patience = connection.socket_timeout
        self._replies = reply_reader()
        self._waiting: deque[_Asked] = deque()
        self._collected: list[Any] = []
        self._lost: Exception | None = None
        self._usual, self._transport = take_over(connection, self)

    async def ask(self, commands: bytes, replies: int, *, turn: Turn | None = None) -> list[Any]:
        """Send `commands`, packed, in their `turn`; their replies, the store's errors among them.

        Raises redis-py's `ConnectionError` and `TimeoutError`.
        """
        answered: Answered = asyncio.get_running_loop().create_future()
        send = functools.partial(self._send, commands, replies, answered, turn)
        if turn is None:
            send()
            return await answered
        turn.take(answered, send)
        try:
            return await answered
        finally:
            turn.leave(answered)

    @property
    def is_open(self) -> bool:
        """Whether nobody closed the connection, as far as is known."""
        return self._lost is None

    def send(self, commands: bytes, replies: int, turn: Leaves) -> Answered:
        """`ask` for those who don't await the answer at once; `turn` is told before them."""
        answered: Answered = asyncio.get_running_loop().create_future()
        self._send(commands, replies, answered, turn)
        return answered

    def _send(self, commands: bytes, replies: int, answered: Answered, turn: Leaves | None) -> None:
        if self._lost is not None:
            answered.set_exception(self._lost)
            return
        # A timer of its own: asyncio.timeout costs five times as much.
        loop = answered.get_loop()
        timer = loop.call_later(self._patience, _too_late, answered) if self._patience else None
        self._waiting.append(_Asked(replies, answered, turn, timer))
        self._transport.write(commands)

    def give_back(self) -> None:
        """redis-py reads it again."""
        if self._lost is None:
            self._transport.set_protocol(self._usual)

    def data_received(self, data: bytes) -> None:
        self._replies.feed(data)
        while (reply := self._replies.gets()) is not NOTHING:
            if not self._waiting:  # nothing was asked: what follows can't be matched any more
                self._transport.abort()
                return
            self._collected.append(reply)
            asked = self._waiting[0]
            if len(self._collected) == asked.replies:
                self._waiting.popleft()
                found, self._collected = self._collected, []
                if asked.timer is not None:
                    asked.timer.cancel()
                if not asked.answered.done():
                    asked.answered.set_result(found)
                if asked.turn is not None:
                    asked.turn.leave(asked.answered)

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost = ConnectionError(f"the store closed the connection ({exc or 'no reason given'})")
        for asked in self._waiting:
            if asked.timer is not None:
                asked.timer.cancel()
            if not asked.answered.done():
                asked.answered.set_exception(self._lost)
        self._waiting.clear()
        self._usual.connection_lost(exc)


@contextlib.asynccontextmanager
async def wire_to(store: Store, key: str) -> AsyncIterator[Wire]:
    """A wire to the server that has `key`, for the length of the block. Raises the store's errors."""
    async with borrowed(store, key) as connection:
        wire = Wire(connection)
        try:
            yield wire
        except BaseException:
            # An answer may still come, or a transaction be open: nobody can go on with this.
            wire.give_back()
            await connection.disconnect(nowait=True)
            raise
        wire.give_back()


def _too_late(answered: Answered) -> None:
    if not answered.done():
        answered.set_exception(TimeoutError("the store did not answer in time"))
