"""redis-py's pools of connections, where who comes while all are taken waits for one instead of failing.

redis-py 8.1 has a pool that waits, but not for Sentinel, and a notice that reaches somebody who has just given up is
lost there (asyncio's conditions lose it before Python 3.13). A semaphore loses none.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

from redis.asyncio import ConnectionPool
from redis.asyncio.sentinel import SentinelConnectionPool
from redis.exceptions import MaxConnectionsError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from redis.asyncio.connection import AbstractConnection


async def enter(room: asyncio.Semaphore, *, seconds: float | None) -> None:
    """Wait for a place in `room`, first come, first served. Raises `MaxConnectionsError` after so long."""
    try:
        async with asyncio.timeout(seconds if room.locked() else None):
            await room.acquire()
    except TimeoutError:
        raise MaxConnectionsError("all connections to the store are taken") from None


@contextlib.asynccontextmanager
async def place_in(room: asyncio.Semaphore, *, seconds: float | None) -> AsyncIterator[None]:
    """A place in `room` for the length of the block."""
    await enter(room, seconds=seconds)
    try:
        yield
    finally:
        room.release()


class WaitingPool(ConnectionPool):
    """It waits for a connection as long as an answer may take (`socket_timeout`)."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._room = asyncio.Semaphore(self.max_connections)

    async def get_connection(self, *_: Any, **__: Any) -> AbstractConnection:
        await enter(self._room, seconds=self.connection_kwargs.get("socket_timeout"))
        try:
            async with self._lock:
                connection: AbstractConnection = self.get_available_connection()  # type: ignore[no-untyped-call] # theirs
        except BaseException:
            self._room.release()
            raise
        try:
            await self.ensure_connection(connection)
        except BaseException:
            await self.release(connection)
            raise
        return connection

    async def release(self, connection: AbstractConnection) -> None:
        try:
            await super().release(connection)
        finally:
            self._room.release()


class WaitingSentinelPool(WaitingPool, SentinelConnectionPool):
    """The same for the master that Sentinels name."""
