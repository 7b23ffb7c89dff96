"""Which user stands behind a visitor id of VWO, as far as gateways learnt it.

The map is in Redis, in two hashes for each account: `new`, and the `old` one that it takes the place of when it holds
half of what may be remembered. Who is met again moves to the new one, so those who were not met for longest go first.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from foundation.scripts import run_script

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from foundation.store import Store

_AT_ONCE = 500  # pairs in one command, so that no check waits behind it
_BYTES = 16

# KEYS new, old; ARGV pairs that `new` may hold, then field and value of each. UNLINK frees memory in the background.
_PUT = """
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


class VisitorMap:
    """The map in Redis. A visitor id is VWO's: 32 hexadecimal digits. Every call may raise the store's errors."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def put(self, account: str, users: Mapping[str, str], *, most: int) -> None:
        """Remember `users` by their visitor ids. Of an account so many are kept, at the most."""
        rest = iter(users.items())
        while some := list(islice(rest, _AT_ONCE)):
            arguments = [part for visitor, user in some for part in (bytes.fromhex(visitor), user)]
            await run_script(self._store, _PUT, keys(account), [(most + 1) // 2, *arguments])

    async def users_of(self, account: str, visitors: Sequence[str]) -> list[str | None]:
        """The user's id behind each of `visitors`; None where nobody met the user, or where it is no visitor id."""
        fields = [_field(visitor) for visitor in visitors]
        wanted = list(dict.fromkeys(field for field in fields if field is not None))
        found: dict[bytes | None, str] = {}
        for start in range(0, len(wanted), _AT_ONCE):
            some = wanted[start : start + _AT_ONCE]
            for key in reversed(keys(account)):
                users = await self._store.execute_command("HMGET", key, *some)
                found |= {field: user.decode() for field, user in zip(some, users, strict=True) if user is not None}
        return [found.get(field) for field in fields]

    async def accounts(self) -> set[str]:
        """Those that there is a map of, whoever wrote it."""
        found = self._store.scan_iter(match="cg:visitors:{*}:*", count=_AT_ONCE)
        return {key.decode().partition("{")[2].partition("}")[0] async for key in found}

    async def forget(self, account: str, visitor: str) -> bool:
        """Whether there was such a visitor, who is forgotten now."""
        removed = [await self._store.execute_command("HDEL", key, bytes.fromhex(visitor)) for key in keys(account)]
        return any(removed)


def _field(visitor: str) -> bytes | None:
    try:
        field = bytes.fromhex(visitor)
    except ValueError:
        return None
    return field if len(field) == _BYTES else None
