"""A connection to the store that many speak over at once.

What is asked while the store is at something else leaves together, in one write, when that is answered: a store that
syncs each change to its disk does so once for all of them. No write is heavier than a bound, and one is under way at a
time, since whoever asks the store on another connection waits behind it.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections import deque
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from redis.exceptions import (
    AskError,
    ClusterDownError,
    ConnectionError,  # noqa: A004 - the store's own
    MovedError,
    ReadOnlyError,
)

from foundation.wire import wire_to

if TYPE_CHECKING:
    from foundation.store import Store
    from foundation.wire import Answered, Wire

_ELSEWHERE = (AskError, ClusterDownError, MovedError, ReadOnlyError)  # this server is the wrong one by now


class _Asked(NamedTuple):
    commands: bytes
    replies: int
    weight: int
    answered: Answered


class SharedWire:
    """Made by `opened`. `most`: weight of one write; what is heavier by itself goes alone."""

    def __init__(self, wire: Wire, borrowed: contextlib.AsyncExitStack, *, most: int) -> None:
        self._wire = wire
        self._borrowed = borrowed
        self._most = most
        self._ended: Exception | None = None
        self._is_elsewhere = False
        self._under_way: list[_Asked] = []
        self._waiting: deque[_Asked] = deque()

    @classmethod
    async def opened(cls, store: Store, key: str, *, most: int) -> Self:
        """A connection to the server that has `key`. Raises the store's errors."""
        borrowed = contextlib.AsyncExitStack()
        wire = await borrowed.enter_async_context(wire_to(store, key))
        return cls(wire, borrowed, most=most)

    @property
    def is_usable(self) -> bool:
        """Whether it is open, and to a server that takes changes, as far as is known."""
        return self._ended is None and not self._is_elsewhere and self._wire.is_open

    async def ask(self, commands: bytes, replies: int, *, weight: int) -> list[Any]:
        """The replies to `commands`, packed, which leave one after the other; the store's errors among them.

        `weight` is the sender's estimate of what they cost the store. Raises redis-py's `ConnectionError` and
        `TimeoutError`; from then on, the wire is of no more use.
        """
        if self._ended is not None:
            raise self._ended
        answered: Answered = asyncio.get_running_loop().create_future()
        self._waiting.append(_Asked(commands, replies, weight, answered))
        self._send()
        return await answered

    def leave(self, _: Answered, /) -> None:
        """The store is done with a write, says the wire."""
        self._under_way = []
        self._send()

    async def aclose(self) -> None:
        """End the connection. Whoever waits hears of it."""
        self._fail(ConnectionError("the connection was given up"))
        ended = _EndedError()
        with contextlib.suppress(_EndedError):
            await self._borrowed.__aexit__(type(ended), ended, None)

    def _send(self) -> None:
        if self._under_way:
            return
        together: list[_Asked] = []
        weight = 0
        while self._waiting and (not together or weight + self._waiting[0].weight <= self._most):
            asked = self._waiting.popleft()
            if not asked.answered.done():  # somebody still wants it
                together.append(asked)
                weight += asked.weight
        if together:
            self._under_way = together
            commands = b"".join([asked.commands for asked in together])
            answered = self._wire.send(commands, sum(asked.replies for asked in together), self)
            answered.add_done_callback(functools.partial(self._answered, together))

    def _answered(self, together: list[_Asked], answered: Answered) -> None:
        error = answered.exception()
        if error is not None:
            self._fail(error)
            return
        replies, at = answered.result(), 0
        self._is_elsewhere |= any(isinstance(reply, _ELSEWHERE) for reply in replies)
        for asked in together:
            if not asked.answered.done():
                asked.answered.set_result(replies[at : at + asked.replies])
            at += asked.replies

    def _fail(self, error: BaseException) -> None:
        self._ended = self._ended or ConnectionError(f"the connection is not to be used any more ({error})")
        for asked in (*self._under_way, *self._waiting):
            if not asked.answered.done():
                asked.answered.set_exception(error)
        self._waiting.clear()


class _EndedError(Exception):
    """The connection is not to be used again."""
