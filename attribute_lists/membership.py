"""Answer membership: is this value in that list?"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from attribute_lists import keys
from attribute_lists.names import is_account, is_list_id
from foundation.store import STORE_ERRORS, look_again
from foundation.store_trouble import explain
from foundation.tasks import end

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from foundation.store import Store

log = logging.getLogger(__name__)

# A subscription to a host that went silent looks like one without news, so the table is read again this often anyway.
_ALIAS_REFRESH_SECONDS = 10.0
_RECONNECT_SECONDS = 1.0


class State(StrEnum):
    """What is known of a value: three states inside, of which the wire knows two (`true` for `IN` alone)."""

    IN = "in"
    NOT_IN = "not_in"
    UNKNOWN_LIST = "unknown_list"
    INACTIVE_LIST = "inactive_list"
    STORE_DOWN = "store_down"


@dataclass(frozen=True, slots=True)
class Answer:
    state: State

    @property
    def is_member(self) -> bool:
        return self.state is State.IN


class Membership:
    """Asks the store, one round trip a check, within a deadline (seconds). It never raises for a sick store."""

    def __init__(self, store: Store, *, deadline: float = 0.1) -> None:
        self._store = store
        self._deadline = deadline
        self._aliases: dict[str, str] = {}
        self._late: set[asyncio.Task[Answer]] = set()

    async def check(self, account: str, list_id: str, readings: Sequence[bytes]) -> Answer:
        """Whether any of `readings` (the values that the wire's text may stand for) is in the list.

        `list_id` is an id or an alias. Anything that can't name a list counts as unknown.
        """
        if not is_account(account) or not is_list_id(list_id) or not readings:
            return Answer(State.UNKNOWN_LIST)
        asking = asyncio.create_task(self._ask(account, list_id, readings))
        try:
            async with asyncio.timeout(self._deadline):
                return await asyncio.shield(asking)
        except STORE_ERRORS:
            if not asking.done():
                # It may be about to open a connection, which takes longer than a check may where TLS or Sentinels are
                # in the way. If it were given up, the next check would begin anew, and none would ever get through.
                self._late.add(asking)
                asking.add_done_callback(self._late.discard)
            return Answer(State.STORE_DOWN)

    async def _ask(self, account: str, list_id: str, readings: Sequence[bytes]) -> Answer:
        name = keys.qualified(account, list_id)
        known_alias = self._aliases.get(name)
        answer = await self._ask_list(account, known_alias or list_id, readings)
        if answer.state is not State.UNKNOWN_LIST or known_alias is not None:
            return answer
        target: bytes | None = await self._store.execute_command("HGET", keys.REGISTRY_ALIASES, name)
        if target is None:
            return answer
        self._aliases[name] = target.decode()
        return await self._ask_list(account, target.decode(), readings)

    async def _ask_list(self, account: str, list_id: str, readings: Sequence[bytes]) -> Answer:
        pipeline: Any = self._store.pipeline(transaction=False)
        pipeline.execute_command("HGET", keys.about(account, list_id), "active")
        pipeline.execute_command("SMISMEMBER", keys.members(account, list_id), *readings)
        active, found = await pipeline.execute()
        if active is None:
            return Answer(State.UNKNOWN_LIST)
        if active != b"1":
            return Answer(State.INACTIVE_LIST)
        return Answer(State.IN if any(found) else State.NOT_IN)

    @contextlib.asynccontextmanager
    async def following_aliases(self) -> AsyncIterator[None]:
        """Keep the alias table fresh while the block runs: re-read when told of a change, and now and then anyway."""
        task = asyncio.create_task(self._follow_aliases())
        try:
            yield
        finally:
            await end(task, *self._late)

    async def _follow_aliases(self) -> None:
        while True:
            try:
                async with self._subscription() as subscription:
                    while True:
                        # The first message confirms the subscription, so that no change falls between it and reading.
                        await subscription.get_message(timeout=_ALIAS_REFRESH_SECONDS)
                        await self._read_aliases()
            except STORE_ERRORS as error:
                log.warning("aliases can't be followed: %s; trying again", explain(error))
                look_again(self._store)
                await asyncio.sleep(_RECONNECT_SECONDS)

    @contextlib.asynccontextmanager
    async def _subscription(self) -> AsyncIterator[Any]:
        await self._store.initialize()  # on a cluster, a subscription wants to know the nodes
        subscription: Any = self._store.pubsub()
        try:
            await subscription.subscribe(keys.CHANGES)
            yield subscription
        finally:
            await subscription.aclose()

    async def _read_aliases(self) -> None:
        table: dict[bytes, bytes] = await self._store.execute_command("HGETALL", keys.REGISTRY_ALIASES)
        self._aliases = {name.decode(): list_id.decode() for name, list_id in table.items()}
