"""Which user stands behind a visitor id: learnt wherever a user's id arrives, since events hold visitor ids alone.

The map is in Redis, in two hashes for each account: `new`, and the `old` one that it takes the place of when it holds
half of what may be remembered. Who is met again moves to the new one, so those who were not met for longest go first.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING, Any

from fme_client.evaluation.hashing import account_namespace, visitor_id
from foundation.store import STORE_ERRORS
from foundation.tasks import end

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

    from fme_client.evaluation import Settings
    from foundation.store import Store

log = logging.getLogger(__name__)

_FLUSH_SECONDS = 1.0
_MOST_WAITING = 20_000  # pairs that wait for the store
_MOST_TOLD = 50_000  # pairs that are known to be there, and are not told again for a while
_TOLD_SECONDS = 3600.0
_AT_ONCE = 500  # pairs in one command, so that no check waits behind it
_LONGEST_USER_ID = 1024  # characters; a longer one is not learnt

# KEYS new, old; ARGV pairs that `new` may hold, then field and value of each. UNLINK frees memory in the background.
_LEARN = """
for i = 2, #ARGV, 2 do
  if redis.call('HLEN', KEYS[1]) >= tonumber(ARGV[1]) then
    redis.call('UNLINK', KEYS[2])
    redis.call('RENAME', KEYS[1], KEYS[2])
  end
  redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1])
end
"""


def keys(account: str) -> tuple[str, str]:
    """The hashes of an account, `new` and `old`: the 16 bytes of a visitor id -> the user's id, UTF-8.

    They don't begin like the keys of lists, whose every change Redis tells the gateways.
    """
    return f"cg:visitors:{{{account}}}:new", f"cg:visitors:{{{account}}}:old"


class Visitors:
    """The one that reads and writes the map. `remember`: users of each account; 0: none are learnt."""

    def __init__(self, store: Store, *, remember: int = 1_000_000) -> None:
        self._store = store
        self._half = (remember + 1) // 2
        self._waiting: dict[str, dict[bytes, str]] = {}
        self._count = 0
        self._told: set[tuple[str, str]] = set()
        self._forget_told_at = 0.0
        self._fails = False

    def learn(self, settings: Settings, user_id: str) -> None:
        """Remember the user, soon. What can't be written while the store is away is learnt at the next meeting."""
        account = settings.account_id
        person = (account, user_id)
        if not self._half or person in self._told or self._count >= _MOST_WAITING or len(user_id) > _LONGEST_USER_ID:
            return
        self._told.add(person)
        try:
            visitor = bytes.fromhex(settings.visitor_id(user_id))
        except UnicodeEncodeError:  # half a surrogate pair is nobody's id
            return
        self._waiting.setdefault(account, {})[visitor] = user_id
        self._count += 1

    async def user_of(self, account: str, visitor: str) -> str | None:
        """The id of the user whose visitor id (32 hexadecimal digits) this is. Raises the store's errors."""
        for key in keys(account):
            found: bytes | None = await self._store.execute_command("HGET", key, bytes.fromhex(visitor))
            if found is not None:
                return found.decode()
        return None

    async def forget(self, account: str, user_id: str) -> bool:
        """Whether there was such a user, who is forgotten now. Raises the store's errors."""
        visitor = bytes.fromhex(visitor_id(account_namespace(account), user_id))
        self._told.discard((account, user_id))
        waited = self._waiting.get(account, {}).pop(visitor, None) is not None
        removed = [await self._store.execute_command("HDEL", key, visitor) for key in keys(account)]
        return waited or any(removed)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Write what is learnt once a second while the block runs, and at its end."""

        async def flush_every_second() -> None:
            while True:
                await asyncio.sleep(_FLUSH_SECONDS)
                await self.flush()

        flushes = asyncio.create_task(flush_every_second())
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
            for account, pairs in waiting.items():
                await self._write(account, pairs)
            self._fails = False
        except STORE_ERRORS as error:
            self._told.clear()
            if not self._fails:
                log.warning("visitor ids can't be stored: %s; users are learnt again later", type(error).__name__)
            self._fails = True

    async def _write(self, account: str, pairs: dict[bytes, str]) -> None:
        items = list(pairs.items())
        for start in range(0, len(items), _AT_ONCE):
            arguments: Iterable[Any] = (part for pair in items[start : start + _AT_ONCE] for part in pair)
            await self._store.execute_command("EVAL", _LEARN, 2, *keys(account), self._half, *arguments)
