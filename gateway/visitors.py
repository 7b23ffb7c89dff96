"""Learns which user stands behind a visitor id wherever a user's id arrives, since events hold visitor ids alone."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING

from fme_client.identity import get_uuid
from foundation.background import keep_running
from foundation.store import STORE_ERRORS
from foundation.tasks import end
from published.visitors import VisitorMap

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from foundation.store import Store

log = logging.getLogger(__name__)

_FLUSH_SECONDS = 1.0
_MOST_WAITING = 20_000  # pairs that wait for the store
_MOST_TOLD = 50_000  # pairs that are known to be there, and are not told again for a while
_TOLD_SECONDS = 3600.0
_LONGEST_USER_ID = 1024  # characters; a longer one is not learnt


class Visitors:
    """The one that writes the map. `remember`: users of each account; 0: none are learnt."""

    def __init__(self, store: Store, *, remember: int = 1_000_000) -> None:
        self._map = VisitorMap(store)
        self._remember = remember
        self._waiting: dict[str, dict[str, str]] = {}
        self._count = 0
        self._told: set[tuple[str, str]] = set()
        self._forget_told_at = 0.0
        self._fails = False

    def learn(self, account: str, user_id: str) -> None:
        """Remember the user, soon. What can't be written while the store is away is learnt at the next meeting."""
        person = (account, user_id)
        if not self._remember or person in self._told or self._count >= _MOST_WAITING:
            return
        if not account or not user_id or len(user_id) > _LONGEST_USER_ID:
            return
        self._told.add(person)
        try:
            visitor = get_uuid(user_id, account)
        except UnicodeEncodeError:  # half a surrogate pair is nobody's id
            return
        self._waiting.setdefault(account, {})[visitor] = user_id
        self._count += 1

    async def forget(self, account: str, user_id: str) -> bool:
        """Whether there was such a user, who is forgotten now. Raises the store's errors."""
        visitor = get_uuid(user_id, account)
        self._told.discard((account, user_id))
        waited = self._waiting.get(account, {}).pop(visitor, None) is not None
        return await self._map.forget(account, visitor) or waited

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Write what is learnt once a second while the block runs, and at its end."""

        async def flush_every_second() -> None:
            while True:
                await asyncio.sleep(_FLUSH_SECONDS)
                await self.flush()

        flushes = keep_running("visitor ids", flush_every_second)
        try:
            yield
        finally:
            await end(flushes)
            await self.flush()

    async def flush(self) -> None:
        """Write what was learnt since. A store that is away is told in the log, once."""
        waiting, self._waiting, self._count = self._waiting, {}, 0
        now = asyncio.get_running_loop().time()
        if len(self._told) > _MOST_TOLD or now > self._forget_told_at:
            self._told.clear()
            self._forget_told_at = now + _TOLD_SECONDS
        try:
            for account, users in waiting.items():
                await self._map.put(account, users, most=self._remember)
            self._fails = False
        except STORE_ERRORS as error:
            self._told.clear()
            if not self._fails:
                log.warning("visitor ids can't be stored: %s; users are learnt again later", type(error).__name__)
            self._fails = True
