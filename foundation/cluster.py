"""redis-py's cluster client, mended where a node that is gone, or a slot that moves, would keep it from answering.

Found with redis-py 8.1, each with a test in tests/production/test_cluster.py:

- A pipeline that may not be tried again never learns of a failover, and a deadline that ends while the client reads
  the map of slots makes it begin anew, for ever. Here the map is read beside the commands: nobody waits for it.
- A failure closes every connection, those to healthy nodes and of other commands too.
- `ASKING` and the command that it is for go to different connections of the pool, and a redirection to a node that was
  added since is an `AttributeError`.
- Who comes while all connections to a node are taken fails, instead of waiting for one.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING, Any

from redis.asyncio import RedisCluster
from redis.asyncio.cluster import ClusterNode, ClusterPipeline, PipelineCommand
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import (
    AskError,
    ClusterDownError,
    ConnectionError,  # noqa: A004 - the store's own
    MaxConnectionsError,
    MovedError,
    RedisClusterException,
    RedisError,
    SlotNotCoveredError,
    TimeoutError,  # noqa: A004 - the store's own
    TryAgainError,
)

from foundation.pools import place_in
from foundation.tasks import end

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

log = logging.getLogger(__name__)

_REDIRECTIONS = 16
_TRY_AGAIN_SECONDS = 0.05
_BETWEEN_LOOKS_SECONDS = 0.5
# Percent of the connections to a node that may be taken at once; the others are for subscriptions and the map of slots.
_FOR_COMMANDS, _FOR_PIPELINES = 70, 15

_MAP_MAY_BE_OLD = (ConnectionError, TimeoutError, ClusterDownError, SlotNotCoveredError, OSError)


class ClusterStore(RedisCluster):
    """`retries`: how often a command is tried again, on a map of slots that was read again. Made by `connect`."""

    def __init__(self, *, retries: int, **options: Any) -> None:
        # redis-py's own retries close all connections; ours are in `tried_again`.
        super().__init__(**options, retry=Retry(NoBackoff(), 0), reinitialize_steps=0)
        self._retries = retries
        self._opening: asyncio.Task[Any] | None = None
        self._looking: asyncio.Task[None] | None = None
        self._looked = 0.0
        self._patience: float | None = options.get("socket_timeout")
        connections = self.connection_kwargs["max_connections"]  # to each node
        self._commands_at_once = -(-connections * _FOR_COMMANDS // 100)
        self._rooms: dict[str, asyncio.Semaphore] = {}  # of commands, by node
        self._pipelines = asyncio.Semaphore(-(-connections * _FOR_PIPELINES // 100))

    async def initialize(self, *_: Any, **__: Any) -> ClusterStore:
        """Read the map for the first time. A caller who is cancelled doesn't end it for the others."""
        if self._initialize:
            if self._opening is None or self._opening.done():
                self._opening = asyncio.create_task(super().initialize())
                self._opening.add_done_callback(_forget_error)
            await asyncio.shield(self._opening)
        return self

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        return await self.tried_again(lambda: super(ClusterStore, self).execute_command(*args, **options))

    def pipeline(self, transaction: Any = None, shard_hint: Any = None) -> ClusterPipeline:
        del shard_hint
        return _Pipeline(self, transaction)  # type: ignore[abstract] # redis-py declares more than it defines

    def look_again(self) -> None:
        """Read the map of slots again, beside whatever else goes on; not more often than makes sense."""
        if not self._initialize and (self._looking is None or self._looking.done()):
            self._looking = asyncio.create_task(self._look())

    async def tried_again(self, attempt: Callable[[], Awaitable[Any]]) -> Any:
        """What `attempt` gives. A failure that an old map may explain has the map read again."""
        for left in range(self._retries, -1, -1):
            try:
                return await attempt()
            except MaxConnectionsError:  # too much at once, and no fault of the map
                raise
            except _MAP_MAY_BE_OLD:
                self.look_again()
                if left == 0:
                    raise
                if self._looking is not None:
                    await asyncio.shield(self._looking)
            except asyncio.CancelledError:
                # Perhaps a deadline, passed over a node that is gone without a word.
                self.look_again()
                raise
        raise AssertionError  # the last attempt returned or raised

    async def in_turn(self, pipeline: Callable[[], Awaitable[Any]]) -> Any:
        """`tried_again` for a pipeline, which takes a connection to each of its nodes: few of them at once."""
        async with place_in(self._pipelines, seconds=self._patience):
            return await self.tried_again(pipeline)

    async def aclose(self) -> None:
        await end(*(task for task in (self._looking, self._opening) if task is not None))
        await super().aclose()

    async def _execute_command(self, target_node: ClusterNode, *args: Any, **options: Any) -> Any:
        """Send a command to a node, and on to where the cluster says that its slot is."""
        node, asking = target_node, False
        for _ in range(_REDIRECTIONS):
            try:
                async with place_in(self._room_of(node), seconds=self._patience):
                    if asking:
                        return await _ask(node, *args, **options)
                    return await node.execute_command(*args, **options)
            except MaxConnectionsError:
                raise
            except MovedError as moved:
                await self.nodes_manager.move_slot(moved)
                self.look_again()
                node, asking = self._node_at(moved), False
            except AskError as elsewhere:
                node, asking = self._node_at(elsewhere), True
            except TryAgainError:
                await asyncio.sleep(_TRY_AGAIN_SECONDS)
                node, asking = target_node, False
            except (ConnectionError, TimeoutError, OSError):
                # What else is open to this node is not to be trusted either.
                node.update_active_connections_for_reconnect()
                await node.disconnect_free_connections()
                raise
        raise ClusterDownError(f"a command was sent on {_REDIRECTIONS} times")

    def _room_of(self, node: ClusterNode) -> asyncio.Semaphore:
        room = self._rooms.get(node.name)
        if room is None:
            room = self._rooms[node.name] = asyncio.Semaphore(self._commands_at_once)
        return room

    def _node_at(self, redirection: AskError) -> ClusterNode:
        known = self.get_node(host=redirection.host, port=redirection.port)
        if known is not None:
            return known
        node = ClusterNode(redirection.host, redirection.port, "primary", **self.connection_kwargs)
        self.nodes_manager.set_nodes(self.nodes_manager.nodes_cache, {node.name: node})
        return node

    async def _look(self) -> None:
        await asyncio.sleep(self._looked + _BETWEEN_LOOKS_SECONDS - time.monotonic())
        try:
            await self.nodes_manager.initialize()
        except (RedisError, RedisClusterException, OSError) as error:
            log.warning("the cluster's map of slots can't be read (%s); the old one stays", type(error).__name__)
        finally:
            self._looked = time.monotonic()


class _Pipeline(ClusterPipeline):
    """A pipeline that goes on with the cluster's old map while a new one is read."""

    def __init__(self, client: ClusterStore, transaction: Any) -> None:
        super().__init__(client, transaction)
        self._store = client
        self._commands: list[tuple[tuple[Any, ...], dict[str, Any]]] = []

    def execute_command(self, *args: Any, **options: Any) -> ClusterPipeline:
        self._commands.append((args, options))
        return self

    async def execute(self, raise_on_error: bool = True, allow_redirections: bool = True) -> list[Any]:
        commands, self._commands = self._commands, []

        async def attempt() -> list[Any]:
            for args, options in commands:
                super(_Pipeline, self).execute_command(*args, **options)
            return await super(_Pipeline, self).execute(raise_on_error, allow_redirections)

        found: list[Any] = await self._store.in_turn(attempt)
        return found


async def _ask(node: ClusterNode, *args: Any, **options: Any) -> Any:
    """Run a command on a node that is about to get its slot."""
    allowed, command = PipelineCommand(0, "ASKING"), PipelineCommand(1, *args, **options)
    await node.execute_pipeline([allowed, command])
    for done in (allowed, command):
        if isinstance(done.result, Exception):
            raise done.result
    return command.result


def _forget_error(task: asyncio.Task[Any]) -> None:
    """Whoever waited for `task` has its error; when nobody did any more, nobody needs it."""
    if not task.cancelled():
        task.exception()
