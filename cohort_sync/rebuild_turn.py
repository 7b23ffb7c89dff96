"""One receiver at a time builds an emptied store again.

Two at once would get in each other's way: the checkpoint that the second restores would put lists back to where they
were, when the first has them up to date and takes pushes already.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from typing import TYPE_CHECKING, Any

from attribute_lists import keys
from foundation.errors import UnavailableError
from foundation.store import STORE_ERRORS
from foundation.tasks import end

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from foundation.store import Store

_SECONDS = 5  # after which the turn of a receiver that died is over

# KEYS rebuilding; ARGV token, seconds
_KEEP = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('EXPIRE', KEYS[1], ARGV[2])
"""

# KEYS rebuilding, identity; ARGV token, whether the store gets its name. Only one that lost nothing since the turn
# began is whole.
_FINISH = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
if ARGV[2] == '1' then redis.call('SET', KEYS[2], ARGV[1], 'NX') end
return redis.call('DEL', KEYS[1])
"""


class RebuildTurn:
    """All methods may raise the store's errors."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def run(self, rebuild: Callable[[], Coroutine[Any, Any, object]]) -> bool:
        """Take the turn, rebuild, and give the store its identity; False when the turn is another receiver's.

        Raises `UnavailableError` when the store was emptied once more meanwhile: then it must be done again.
        """
        token = secrets.token_hex(8)
        if not await self._store.execute_command("SET", keys.REGISTRY_REBUILDING, token, "NX", "EX", _SECONDS):
            return False
        rebuilding = asyncio.create_task(rebuild())
        try:
            await self._watch(rebuilding, token)
        except BaseException:
            await end(rebuilding)
            with contextlib.suppress(*STORE_ERRORS):  # else it ends by itself
                await self._evaluate(_FINISH, token, "0")
            raise
        if not await self._evaluate(_FINISH, token, "1"):
            raise _emptied_again()
        return True

    async def _watch(self, rebuilding: asyncio.Task[object], token: str) -> None:
        """Keep the turn until `rebuilding` is done."""
        while not (await asyncio.wait({rebuilding}, timeout=_SECONDS / 5))[0]:
            if not await self._evaluate(_KEEP, token, _SECONDS):
                raise _emptied_again()
        await rebuilding

    async def _evaluate(self, script: str, *arguments: Any) -> Any:
        names = (keys.REGISTRY_REBUILDING, keys.REGISTRY_IDENTITY)
        return await self._store.execute_command("EVAL", script, len(names), *names, *arguments)


def _emptied_again() -> UnavailableError:
    return UnavailableError("the store was emptied while it was built again", reason="store_changed")
