"""Which lists there are: made on first sight of a segment, found by segment, id or alias."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from attribute_lists import keys
from attribute_lists.names import checked_list_id, list_id_candidates
from foundation.errors import ConflictError, NotFoundError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from foundation.store import Store

# KEYS lists, segments, aliases; ARGV account prefix, segment field, segment id, candidate ids.
# The segment's own id becomes an alias, so that a rule may name the list by it.
_CLAIM = """
local known = redis.call('HGET', KEYS[2], ARGV[2])
if known then return known end
for i = 4, #ARGV do
  local field = ARGV[1] .. ':' .. ARGV[i]
  if redis.call('SISMEMBER', KEYS[1], field) == 0 and redis.call('HEXISTS', KEYS[3], field) == 0 then
    redis.call('SADD', KEYS[1], field)
    redis.call('HSET', KEYS[2], ARGV[2], ARGV[i])
    redis.call('HSETNX', KEYS[3], ARGV[1] .. ':' .. ARGV[3], ARGV[i])
    return ARGV[i]
  end
end
return false
"""

# KEYS lists, aliases; ARGV account, list id, aliases wanted. Answers the first alias that belongs to another list.
_SET_ALIASES = """
for i = 3, #ARGV do
  local field = ARGV[1] .. ':' .. ARGV[i]
  local owner = redis.call('HGET', KEYS[2], field)
  if (owner and owner ~= ARGV[2]) or redis.call('SISMEMBER', KEYS[1], field) == 1 then return ARGV[i] end
end
local table = redis.call('HGETALL', KEYS[2])
for i = 1, #table, 2 do
  if table[i + 1] == ARGV[2] and string.sub(table[i], 1, #ARGV[1] + 1) == ARGV[1] .. ':' then
    redis.call('HDEL', KEYS[2], table[i])
  end
end
for i = 3, #ARGV do redis.call('HSET', KEYS[2], ARGV[1] .. ':' .. ARGV[i], ARGV[2]) end
return false
"""

_REGISTRY = (keys.REGISTRY_LISTS, keys.REGISTRY_SEGMENTS, keys.REGISTRY_ALIASES)


class Definitions:
    """The registry of lists. Every method may raise the store's errors."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def list_of_segment(self, account: str, segment_id: str, segment_name: str, *, source: str) -> str:
        """The id of the segment's list; a segment seen for the first time gets its list here.

        A name that changed in Heap changes the label and nothing else.
        """
        segment = keys.qualified(account, segment_id)
        known: bytes | None = await self._store.execute_command("HGET", keys.REGISTRY_SEGMENTS, segment)
        list_id = known.decode() if known else await self._claim(account, segment_id, segment_name)
        about = keys.about(account, list_id)
        pipeline = self._store.pipeline(transaction=False)
        pipeline.hset(about, mapping={"source": source, "segment_id": segment_id, "segment_name": segment_name})
        for field, initial in (("mode", "delta"), ("active", "1"), ("created", str(int(time.time() * 1000)))):
            pipeline.hsetnx(about, field, initial)
        await pipeline.execute()
        return list_id

    async def _claim(self, account: str, segment_id: str, segment_name: str) -> str:
        candidates = list_id_candidates(segment_id, segment_name)
        arguments = [account, keys.qualified(account, segment_id), segment_id, *candidates]
        claimed: bytes | None = await self._store.execute_command("EVAL", _CLAIM, 3, *_REGISTRY, *arguments)
        if claimed is None:
            raise ConflictError(
                f"segment {segment_id}: the list ids {' and '.join(candidates)} are taken by other lists or aliases; "
                "remove the alias or delete that list",
                reason="list_id_taken",
            )
        await self._announce()
        return claimed.decode()

    async def resolve(self, account: str, name: str) -> str:
        """The id of the list that `name` (id or alias) means. Raises `NotFoundError`."""
        checked_list_id(name)
        field = keys.qualified(account, name)
        if await self._store.execute_command("SISMEMBER", keys.REGISTRY_LISTS, field):
            return name
        target: bytes | None = await self._store.execute_command("HGET", keys.REGISTRY_ALIASES, field)
        if target is None:
            raise NotFoundError(
                f"account {account} has no list {name}; `cohort-sync segments list` shows those there are",
                reason="unknown_list",
            )
        return target.decode()

    async def set_aliases(self, account: str, list_id: str, aliases: Sequence[str]) -> None:
        """Make `aliases` the list's aliases, all of them. Raises `ConflictError` when one names another list."""
        for alias in aliases:
            checked_list_id(alias, field="aliases")
        arguments = [account, list_id, *aliases]
        taken: bytes | None = await self._store.execute_command(
            "EVAL", _SET_ALIASES, 2, keys.REGISTRY_LISTS, keys.REGISTRY_ALIASES, *arguments
        )
        if taken is not None:
            raise ConflictError(f"aliases: {taken.decode()} already names another list", reason="alias_taken")
        await self._announce()

    async def aliases(self) -> dict[tuple[str, str], list[str]]:
        """The aliases of every list, by (account, list id), sorted."""
        table: dict[bytes, bytes] = await self._store.execute_command("HGETALL", keys.REGISTRY_ALIASES)
        found: dict[tuple[str, str], list[str]] = {}
        for name, list_id in sorted(table.items()):
            account, _, alias = name.decode().partition(":")
            found.setdefault((account, list_id.decode()), []).append(alias)
        return found

    async def lists(self) -> list[tuple[str, str]]:
        """(account, list id) of every list, sorted."""
        names: set[bytes] = await self._store.execute_command("SMEMBERS", keys.REGISTRY_LISTS)
        pairs = (name.decode().partition(":") for name in names)
        return sorted((account, list_id) for account, _, list_id in pairs)

    async def _announce(self) -> None:
        await self._store.execute_command("PUBLISH", keys.CHANGES, "lists")
