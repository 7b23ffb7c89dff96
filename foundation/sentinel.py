"""redis-py's Sentinel client, mended where a Sentinel that is gone would hold up the others' answer."""

from __future__ import annotations

import asyncio
from typing import Any

from redis.asyncio import Redis, Sentinel
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import MasterNotFoundError
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from foundation.pools import WaitingSentinelPool
from foundation.tasks import Tasks

Address = tuple[str, int]


class SentinelStore(Redis):
    """The master that the Sentinels name, whoever that is when a connection is made."""

    sentinels: Sentinels

    async def aclose(self, close_connection_pool: bool | None = None) -> None:
        await super().aclose(close_connection_pool)
        await self.sentinels.aclose()


class Sentinels(Sentinel):
    """Asks all Sentinels at once, and takes the first good answer.

    One after the other, as redis-py does, a Sentinel that is gone without a word (it often shares the master's fate)
    takes a whole timeout, and who has a deadline never gets to the next one.
    """

    def __init__(self, addresses: list[Address], *, of_sentinels: dict[str, Any], of_store: dict[str, Any]) -> None:
        super().__init__(addresses, sentinel_kwargs=of_sentinels, **of_store)  # type: ignore[no-untyped-call] # theirs
        self._tasks = Tasks(failed=lambda _: None)  # each is awaited as far as anybody needs it
        self._discovery: asyncio.Task[Address] | None = None

    async def discover_master(self, service_name: str) -> Address:
        # Connections are often made several at a time; one question then serves them all.
        if self._discovery is None or self._discovery.done():
            self._discovery = self._tasks.begin(self._discover(service_name))
        return await asyncio.shield(self._discovery)

    async def _discover(self, service_name: str) -> Address:
        asked = [self._tasks.begin(self._ask(sentinel, service_name)) for sentinel in self.sentinels]
        complaints = []
        for answer in asyncio.as_completed(asked):
            try:
                return await answer  # the others go on, so that their connections are open the next time
            except (RedisError, OSError) as error:
                complaints.append(str(error) or type(error).__name__)
        raise MasterNotFoundError(f"no Sentinel knows a working master {service_name!r}: {'; '.join(complaints)}")

    async def aclose(self) -> None:
        await self._tasks.end()
        await super().aclose()

    async def _ask(self, sentinel: Redis, service_name: str) -> Address:
        masters: Any = await sentinel.sentinel_masters()
        state = masters.get(service_name)
        if state is None:
            raise MasterNotFoundError(f"unknown there, known are {', '.join(sorted(masters)) or 'none'}")
        if not self.check_master_state(state, service_name):
            raise MasterNotFoundError("it is down, and none was elected yet")
        return state["ip"], state["port"]


def sentinel_client(
    addresses: list[Address], master: str, *, of_sentinels: dict[str, Any], of_store: dict[str, Any]
) -> SentinelStore:
    """A client of `master`. `of_sentinels`, `of_store`: redis-py's options for connections to these and to that."""
    asking = of_sentinels | {"retry": Retry(NoBackoff(), 1)}
    sentinels = Sentinels(addresses, of_sentinels=asking, of_store=of_store)
    client: SentinelStore = sentinels.master_for(
        master, redis_class=SentinelStore, connection_pool_class=WaitingSentinelPool
    )
    client.sentinels = sentinels
    return client
