"""Who delivers: one process at a time, by a key in Redis that runs out when its holder no longer renews it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import time
from typing import TYPE_CHECKING

from foundation.background import keep_running
from foundation.scripts import run_script
from foundation.store import STORE_ERRORS
from foundation.store_trouble import explain
from foundation.tasks import end

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from foundation.store import Store

log = logging.getLogger(__name__)

_RENEW_SECONDS = 1.0

# KEYS the lease. ARGV: who asks, milliseconds. Gives whether it is theirs now. One that is lost (the store restarted
# without it) is taken anew.
_TAKE = """
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
"""

_RELEASE = "if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end"


class Lease:
    """A lease of `seconds` under `key`, renewed each second while it is `held`.

    `seconds_left` is by our own clock, from before the store was asked: never more than what the store still gives.
    A process that stood still finds that nothing is left when it goes on. `term` counts how often it was taken: while
    it stays the same, nobody else had it.
    """

    def __init__(self, store: Store, key: str, *, seconds: float) -> None:
        self._store = store
        self._key = key
        self._seconds = seconds
        self._name = secrets.token_hex(8)
        self._until = 0.0
        self.term = 0

    @property
    def seconds_left(self) -> float:
        """For how long nobody else can have it; 0: perhaps somebody has."""
        return max(0.0, self._until - time.monotonic())

    @contextlib.asynccontextmanager
    async def wanted(self) -> AsyncIterator[None]:
        """Take it as soon as it is free and keep it, while the block runs; at the end others may have it at once."""
        keeping = keep_running(f"lease {self._key}", self._keep)
        try:
            yield
        finally:
            await end(keeping)
            self._until = 0.0
            with contextlib.suppress(TimeoutError, *STORE_ERRORS):
                async with asyncio.timeout(_RENEW_SECONDS / 2):
                    await run_script(self._store, _RELEASE, [self._key], [self._name])

    async def _keep(self) -> None:
        while True:
            asked = time.monotonic()
            try:
                async with asyncio.timeout(self._seconds):
                    is_ours = await run_script(self._store, _TAKE, [self._key], [self._name, int(self._seconds * 1000)])
            except STORE_ERRORS as error:
                log.debug("the lease can't be renewed: %s", explain(error))
            except Exception:
                log.exception("the lease can't be renewed")
            else:
                if is_ours and not self.seconds_left:
                    self.term += 1
                self._until = asked + self._seconds if is_ours else 0.0
            await asyncio.sleep(_RENEW_SECONDS)
