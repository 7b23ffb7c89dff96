"""Which lists and aliases there are, as a gateway knows it: read at the start, when told of a change, and now and then.

A store that was emptied has no registry either. What was known of it stays then: otherwise every list would be unknown
rather than lost.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from typing import TYPE_CHECKING, Any

from attribute_lists import keys
from attribute_lists.receiver_beat import ReceiverBeat
from foundation.store import STORE_ERRORS, look_again
from foundation.store_trouble import explain

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from foundation.store import Store

log = logging.getLogger(__name__)

# A subscription to a host that went silent looks like one without news, so everything is read again this often anyway.
_REFRESH_SECONDS = 10.0
_RECONNECT_SECONDS = 0.5
_NEVER_READ = object()


class Registry:
    """`changed` is called after each reading that brought something new."""

    def __init__(self, store: Store, *, changed: Callable[[], None]) -> None:
        self._store = store
        self._changed = changed
        self._identity: Any = _NEVER_READ
        self._lists: set[str] = set()
        self._aliases: dict[str, str] = {}
        self.was_emptied = False
        self.receiver = ReceiverBeat()
        self.was_read = asyncio.Event()
        self._suspected = asyncio.Event()

    def list_id(self, account: str, name: str) -> str:
        """The id of the list that `name` stands for; itself, where it is no alias."""
        return self._aliases.get(keys.qualified(account, name), name)

    def has_list(self, account: str, list_id: str) -> bool:
        """Whether there is, or was before the store lost it, such a list."""
        return keys.qualified(account, list_id) in self._lists

    def is_same_store(self, identity: bytes | None) -> bool:
        """Whether the store with this identity is the one that was read; if not, it is read again soon."""
        if identity == self._identity or self._identity is _NEVER_READ:
            return True
        self._suspected.set()
        self.was_emptied = self._identity is not None
        return not self.was_emptied

    def learn(self, account: str, alias: str, list_id: str) -> None:
        """Somebody found out that `alias` stands for that list by now."""
        name = keys.qualified(account, alias)
        if self._aliases.get(name) != list_id:
            self._aliases[name] = list_id
            self._changed()

    async def follow(self) -> None:
        """Keep up with the store until cancelled."""
        while True:
            try:
                async with self._subscription() as subscription:
                    while True:
                        await self._read()
                        self.was_read.set()
                        await self._news(subscription)
            except STORE_ERRORS as error:
                log.warning("lists and aliases can't be followed: %s; trying again", explain(error))
                look_again(self._store)
                await asyncio.sleep(_RECONNECT_SECONDS)

    async def _news(self, subscription: Any) -> None:
        """Wait until something may have changed. A store that is not whole is asked now and then until it is."""
        read_at = time.monotonic()
        patience = _RECONNECT_SECONDS if self.was_emptied else _REFRESH_SECONDS
        message = asyncio.create_task(subscription.get_message(ignore_subscribe_messages=True, timeout=patience))
        suspicion = asyncio.create_task(self._suspected.wait())
        try:
            await asyncio.wait((message, suspicion), return_when=asyncio.FIRST_COMPLETED)
            if message.done():
                message.result()
            else:
                await asyncio.sleep(read_at + _RECONNECT_SECONDS - time.monotonic())  # each check may suspect it
            self._suspected.clear()
        finally:
            for task in (message, suspicion):
                task.cancel()
            await asyncio.gather(message, suspicion, return_exceptions=True)

    @contextlib.asynccontextmanager
    async def _subscription(self) -> AsyncIterator[Any]:
        await self._store.initialize()  # on a cluster, a subscription wants to know the nodes
        subscription: Any = self._store.pubsub()
        try:
            await subscription.subscribe(keys.CHANGES)
            # Its confirmation, so that no change falls between it and the first reading.
            await subscription.get_message(timeout=_REFRESH_SECONDS)
            yield subscription
        finally:
            await subscription.aclose()

    async def _read(self) -> None:
        pipeline: Any = self._store.pipeline(transaction=False)
        pipeline.execute_command("GET", keys.REGISTRY_IDENTITY)
        pipeline.execute_command("SMEMBERS", keys.REGISTRY_LISTS)
        pipeline.execute_command("HGETALL", keys.REGISTRY_ALIASES)
        pipeline.execute_command("GET", keys.REGISTRY_IDENTITY)
        pipeline.execute_command("GET", keys.RECEIVER)
        before, lists, aliases, identity, beat = await pipeline.execute()
        self.receiver.read(beat)
        self.was_emptied = before != identity or (identity is None and self._identity not in (None, _NEVER_READ))
        if self.was_emptied:
            return  # what was known stays until it is built again
        read = (identity, {name.decode() for name in lists}, {a.decode(): b.decode() for a, b in aliases.items()})
        if read == (self._identity, self._lists, self._aliases):
            return
        self._identity, self._lists, self._aliases = read
        self._changed()
