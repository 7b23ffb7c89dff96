"""Which lists there are: made on first sight of a segment, found by segment, id or alias."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from attribute_lists import keys
from attribute_lists.names import checked_list_id, list_id_candidates
from foundation.errors import ConflictError, NotFoundError, UnavailableError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from attribute_lists.order import Mode
    from foundation.store import Store

# KEYS lists, segments, aliases, identity; ARGV account prefix, segment field, segment id, only with an identity?,
# candidate ids. Answers an empty text where the identity is missing.
# The segment's own id becomes an alias, so that a rule may name the list by it.
_CLAIM = """
local known = redis.call('HGET', KEYS[2], ARGV[2])
if known then return known end
if ARGV[4] == '1' and redis.call('EXISTS', KEYS[4]) == 0 then return '' end
for i = 5, #ARGV do
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

_REMEMBERED_MS = 30 * 86400 * 1000

_REGISTRY = (keys.REGISTRY_LISTS, keys.REGISTRY_SEGMENTS, keys.REGISTRY_ALIASES)


class Definitions:
    """The registry of lists. Every method may raise the store's errors."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def list_of_segment(
        self,
        account: str,
        segment_id: str,
        segment_name: str,
        *,
        source: str,
        active: bool = True,
        wanted: str | None = None,
    ) -> str:
        """The id of the segment's list; a segment seen for the first time gets its list here.

        `active`: whether a new list answers from the start. `wanted`: the id that a new list shall have, where it is
        free. A name that changed in Heap changes the label and nothing else.
        """
        list_id, _, _ = await self._list_of_segment(
            account, segment_id, segment_name, source=source, active=active, wanted=wanted
        )
        return list_id

    async def whole_list_of_segment(
        self, account: str, segment_id: str, segment_name: str, *, source: str, active: bool = True
    ) -> tuple[str, Mode]:
        """As `list_of_segment`, and the mode that a task which begins now has.

        Raises `UnavailableError` while the store was emptied and is not built again: it doesn't know either then.
        """
        list_id, mode, whole = await self._list_of_segment(
            account, segment_id, segment_name, source=source, active=active, only_if_whole=True
        )
        if not whole:
            raise _emptied()
        return list_id, mode

    async def _list_of_segment(
        self,
        account: str,
        segment_id: str,
        segment_name: str,
        *,
        source: str,
        active: bool,
        wanted: str | None = None,
        only_if_whole: bool = False,
    ) -> tuple[str, Mode, bool]:
        segment = keys.qualified(account, segment_id)
        known: bytes | None = await self._store.execute_command("HGET", keys.REGISTRY_SEGMENTS, segment)
        list_id = known.decode() if known else None
        if list_id is None:
            list_id = await self._claim(account, segment_id, segment_name, wanted, only_if_whole=only_if_whole)
        about = keys.about(account, list_id)
        pipeline = self._store.pipeline(transaction=False)
        pipeline.hset(about, mapping={"source": source, "segment_id": segment_id, "segment_name": segment_name})
        initial = {"mode": "delta", "active": "1" if active else "0", "created": str(int(time.time() * 1000))}
        for field, value in initial.items():
            pipeline.hsetnx(about, field, value)
        pipeline.hget(about, "mode")
        pipeline.get(keys.REGISTRY_IDENTITY)  # the last: had the store been emptied before, the mode would be a guess
        *_, mode, identity = await pipeline.execute()
        return list_id, "snapshot" if mode == b"snapshot" else "delta", identity is not None

    async def _claim(
        self, account: str, segment_id: str, segment_name: str, wanted: str | None, *, only_if_whole: bool
    ) -> str:
        candidates = list_id_candidates(segment_id, segment_name)
        if wanted is not None:
            candidates.insert(0, wanted)
        segment = keys.qualified(account, segment_id)
        arguments = [account, segment, segment_id, "1" if only_if_whole else "0", *candidates]
        names = (*_REGISTRY, keys.REGISTRY_IDENTITY)
        claimed: bytes | None = await self._store.execute_command("EVAL", _CLAIM, len(names), *names, *arguments)
        if claimed == b"":
            raise _emptied()
        if claimed is None:
            raise ConflictError(
                f"segment {segment_id}: the list ids {' and '.join(candidates)} are taken by other lists or aliases; "
                "remove the alias or delete that list",
                reason="list_id_taken",
            )
        name = (account, claimed.decode())
        await self._carry_erasures(*name)
        # A list that was deleted left its ledger and its marks for a while; made again, it keeps them.
        for key in (keys.ledger(*name), keys.applied(*name)):
            await self._store.execute_command("PERSIST", key)
        await self._announce()
        return claimed.decode()

    async def remember_applied(self, mark: str) -> None:
        """A change that belongs to no one list was made."""
        now = int(time.time() * 1000)
        await self._store.execute_command("ZREMRANGEBYSCORE", keys.REGISTRY_APPLIED, "-inf", now - _REMEMBERED_MS)
        await self._store.execute_command("ZADD", keys.REGISTRY_APPLIED, now, mark)

    async def remember_erasure(self, tag: bytes, at: int) -> None:
        """Lists that are made from now on know of this erasure, too."""
        await self._store.execute_command("ZADD", keys.REGISTRY_ERASED, "GT", at, tag)

    async def _carry_erasures(self, account: str, list_id: str) -> None:
        erased: Any = await self._store.zrange(keys.REGISTRY_ERASED, 0, -1, withscores=True)
        if erased:
            pairs = [part for tag, at in erased for part in (int(at), tag)]
            await self._store.execute_command("ZADD", keys.erased(account, list_id), "GT", *pairs)

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

    async def check_aliases(self, account: str, list_id: str, aliases: Sequence[str]) -> None:
        """Raises `BadRequestError` for an alias of a bad form, `ConflictError` for one that names another list."""
        for alias in aliases:
            checked_list_id(alias, field="aliases")
            field = keys.qualified(account, alias)
            owner: bytes | None = await self._store.execute_command("HGET", keys.REGISTRY_ALIASES, field)
            is_list = await self._store.execute_command("SISMEMBER", keys.REGISTRY_LISTS, field)
            if is_list or (owner is not None and owner.decode() != list_id):
                raise ConflictError(f"aliases: {alias} already names another list", reason="alias_taken")

    async def set_aliases(self, account: str, list_id: str, aliases: Sequence[str]) -> None:
        """Make `aliases` the list's aliases, all of them. Raises `ConflictError` when one names another list."""
        arguments = [account, list_id, *aliases]
        taken: bytes | None = await self._store.execute_command(
            "EVAL", _SET_ALIASES, 2, keys.REGISTRY_LISTS, keys.REGISTRY_ALIASES, *arguments
        )
        if taken is not None:
            raise ConflictError(f"aliases: {taken.decode()} already names another list", reason="alias_taken")
        await self._announce()

    async def forget(self, account: str, list_id: str) -> None:
        """Take a list out of the registry, with its aliases."""
        segment: bytes | None = await self._store.execute_command("HGET", keys.about(account, list_id), "segment_id")
        await self.set_aliases(account, list_id, [])
        if segment is not None:
            field = keys.qualified(account, segment.decode())
            await self._store.execute_command("HDEL", keys.REGISTRY_SEGMENTS, field)
        await self._store.execute_command("SREM", keys.REGISTRY_LISTS, keys.qualified(account, list_id))
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


def _emptied() -> UnavailableError:
    return UnavailableError("what the store lost is being restored; send this again later", reason="restoring")
