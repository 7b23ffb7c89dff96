"""Which accounts get keys in the store: anybody may write any `accountId` into a request."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING

from attribute_lists.names import is_account
from foundation.store import STORE_ERRORS
from foundation.store_trouble import explain
from published.connections import connected_accounts

if TYPE_CHECKING:
    from collections.abc import Iterable

    from foundation.store import Store
    from gateway.flag_settings import ServedSettings

log = logging.getLogger(__name__)

_PAUSE_SECONDS = 1.0  # between two looks at the connections


class KnownAccounts:
    """The accounts that are `configured`, those that the served settings name, and those connected to Heap.

    `deadline`: seconds that the store has to say which are connected; until it has said so, none is.
    """

    def __init__(
        self, configured: Iterable[str], served: ServedSettings, store: Store, *, deadline: float = 0.1
    ) -> None:
        self._configured = frozenset(configured)
        self._served = served
        self._store = store
        self._deadline = deadline
        self._connected: frozenset[str] = frozenset()
        self._look_again_at = 0.0
        self._looking = asyncio.Lock()
        self._fails = False
        served.when_changed.append(self._take_up_settings)
        self._take_up_settings()

    async def has(self, account: str) -> bool:
        """It never raises."""
        if account in self._known or account in self._connected:
            return True
        if not is_account(account):
            return False
        await self._served.catch_up()  # another process of the crew may have newer settings
        if account not in self._known:
            await self._look_at_connections()
        return account in self._known or account in self._connected

    def _take_up_settings(self) -> None:
        named = (account for settings in self._served.current for account in settings.accounts)
        self._known = self._configured.union(self._served.configured_accounts, named)

    async def _look_at_connections(self) -> None:
        async with self._looking:
            now = time.monotonic()
            if now < self._look_again_at:
                return
            self._look_again_at = now + _PAUSE_SECONDS
            try:
                async with asyncio.timeout(self._deadline):
                    self._connected = await connected_accounts(self._store)
                self._fails = False
            except STORE_ERRORS as error:
                if not self._fails:
                    log.warning("accounts connected to Heap can't be looked up: %s; trying again", explain(error))
                self._fails = True
