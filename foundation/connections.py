"""redis-py's asyncio connections, one by one: opened, borrowed, spoken over by somebody else.

Their methods have no types; outside this module nobody needs to know.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, cast

from redis.asyncio import RedisCluster
from redis.asyncio.cluster import ClusterNode
from redis.exceptions import (
    ConnectionError,  # noqa: A004 - the store's own
    SlotNotCoveredError,
)

if TYPE_CHECKING:
    import asyncio
    from collections.abc import AsyncIterator

    from redis.asyncio import Redis
    from redis.asyncio.connection import AbstractConnection

    from foundation.store import Store


async def connection_to(server: Redis | ClusterNode) -> AbstractConnection:
    """A new connection, open, of which no pool knows. Raises the store's errors."""
    if isinstance(server, ClusterNode):
        connection: Any = server.connection_class(**server.connection_kwargs)
    else:
        pool: Any = server.connection_pool
        connection = pool.make_connection()
    await connection.connect()
    return cast("AbstractConnection", connection)


@contextlib.asynccontextmanager
async def borrowed(store: Store, key: str) -> AsyncIterator[AbstractConnection]:
    """A connection of the pool to the server that has `key`, for the length of the block. Raises the store's errors."""
    if not isinstance(store, RedisCluster):
        pool: Any = store.connection_pool
        connection = await pool.get_connection()
        try:
            yield connection
        finally:
            await pool.release(connection)
        return
    await store.initialize()
    node: Any = store.get_node_from_key(key)
    if node is None:
        raise SlotNotCoveredError(f"no node has the slot of {key}")
    connection = node.acquire_connection()
    try:
        await connection.connect()
        if await connection.can_read():  # the server closed it meanwhile
            await connection.disconnect(nowait=True)
            await connection.connect()
        yield connection
    finally:
        node.release(connection)


def take_over(
    connection: AbstractConnection, protocol: asyncio.BaseProtocol
) -> tuple[asyncio.BaseProtocol, asyncio.Transport]:
    """Let `protocol` read an open connection in redis-py's place; the one in whose place it is, and the transport."""
    writer = connection._writer  # noqa: SLF001 - redis-py has no public way to its transport
    if writer is None:
        raise ConnectionError("the connection is not open")
    transport = cast("asyncio.Transport", writer.transport)
    usual = transport.get_protocol()
    transport.set_protocol(protocol)
    return usual, transport


def forget_transport(connection: AbstractConnection) -> None:
    """Let redis-py know that the connection is gone: its transport was ended in its place."""
    untyped: Any = connection
    untyped._close()  # noqa: SLF001 - the public way awaits an end that will not come
