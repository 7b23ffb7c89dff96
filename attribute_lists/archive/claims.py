"""The names that an archive gives its lists, taken in the store's registry."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from attribute_lists import keys
from attribute_lists.definitions import Definitions
from foundation.errors import ConflictError

if TYPE_CHECKING:
    from collections.abc import Collection

    from attribute_lists.archive.format import Definition
    from attribute_lists.work import ListName
    from foundation.store import Store

Existing = Literal["refuse", "replace", "restore"]

_MOST_NAMED = 5

# KEYS lists, segments, aliases; ARGV what to do with a list that is there, account, list id, number of segments, then
# segments and aliases, each with the list that it may be taken from. Answers the name that is not free.
_TAKE = """
local existing, account, list = ARGV[1], ARGV[2], ARGV[3]
local prefix = account .. ':'
local aliases_at = 5 + 2 * tonumber(ARGV[4])
if existing ~= 'restore' then
  if existing == 'refuse' and redis.call('SISMEMBER', KEYS[1], prefix .. list) == 1 then return list end
  local owner = redis.call('HGET', KEYS[3], prefix .. list)
  if owner and owner ~= list then return list end
  for i = 5, #ARGV, 2 do
    local names = i < aliases_at and KEYS[2] or KEYS[3]
    owner = redis.call('HGET', names, prefix .. ARGV[i])
    if owner and owner ~= list and owner ~= ARGV[i + 1] then return ARGV[i] end
    if i >= aliases_at and redis.call('SISMEMBER', KEYS[1], prefix .. ARGV[i]) == 1 and ARGV[i] ~= list then
      return ARGV[i]
    end
  end
end
for _, names in ipairs({KEYS[2], KEYS[3]}) do
  local table = redis.call('HGETALL', names)
  for i = 1, #table, 2 do
    if table[i + 1] == list and string.sub(table[i], 1, #prefix) == prefix then redis.call('HDEL', names, table[i]) end
  end
end
redis.call('HDEL', KEYS[3], prefix .. list)
redis.call('SADD', KEYS[1], prefix .. list)
for i = 5, #ARGV, 2 do redis.call('HSET', i < aliases_at and KEYS[2] or KEYS[3], prefix .. ARGV[i], list) end
return false
"""


class Claims:
    """Takes names for `lists`, those that come from the archive.

    `existing`: "refuse" lists that are there already; "replace" them, while names of lists that stay are not free;
    "restore" them, whatever stands in the way.
    """

    def __init__(self, store: Store, existing: Existing, lists: Collection[ListName]) -> None:
        self._store = store
        self._existing = existing
        self._lists = lists
        self._owners: dict[tuple[str, ListName], str] = {}

    async def check(self, definitions: Collection[Definition]) -> None:
        """Raises `ConflictError` for the names that are not free, so that nothing is begun in vain."""
        if self._existing == "restore":
            return
        lists = set(await Definitions(self._store).lists())
        there = sorted({(item.account, item.list_id) for item in definitions} & lists)
        if there and self._existing == "refuse":
            shown = ", ".join(" ".join(name) for name in there[:_MOST_NAMED]) + ", ..." * (len(there) > _MOST_NAMED)
            raise ConflictError(
                f"{len(there)} of the archive's lists are there already ({shown}): replace them, or choose others",
                reason="list_exists",
            )
        segments, aliases = await self._owned(keys.REGISTRY_SEGMENTS), await self._owned(keys.REGISTRY_ALIASES)
        for item in definitions:
            account, own = item.account, (item.account, item.list_id)
            if aliases.get(own, item.list_id) != item.list_id:
                raise _taken(own, item.list_id, aliases[own])
            for kind, names, table in (("segment", item.segments, segments), ("alias", item.aliases, aliases)):
                for name in names:
                    owner = table.get((account, name), item.list_id)
                    if owner != item.list_id and (account, owner) not in self._lists:
                        raise _taken(own, name, owner)
                    if kind == "alias" and (account, name) in lists and name != item.list_id:
                        raise _taken(own, name, name)
                    self._owners[kind, (account, name)] = owner

    async def take(self, item: Definition) -> None:
        """Make the list known by its names, and by no others. Raises `ConflictError`."""
        named: list[str] = []
        for kind, names in (("segment", item.segments), ("alias", item.aliases)):
            for name in names:
                named += [name, self._owners.get((kind, (item.account, name)), "")]
        registry = (keys.REGISTRY_LISTS, keys.REGISTRY_SEGMENTS, keys.REGISTRY_ALIASES)
        arguments: list[Any] = [self._existing, item.account, item.list_id, len(item.segments), *named]
        clash: bytes | None = await self._store.execute_command("EVAL", _TAKE, len(registry), *registry, *arguments)
        if clash is not None:
            raise _taken((item.account, item.list_id), clash.decode(), "another list, made meanwhile")

    async def _owned(self, key: str) -> dict[ListName, str]:
        table: dict[bytes, bytes] = await self._store.execute_command("HGETALL", key)
        found: dict[ListName, str] = {}
        for field, list_id in table.items():
            account, _, name = field.decode().partition(":")
            found[account, name] = list_id.decode()
        return found


def _taken(own: ListName, name: str, owner: str) -> ConflictError:
    return ConflictError(
        f"list {own[0]} {own[1]}: the name {name} means {owner} here; take it from there, or delete that list",
        reason="name_taken",
    )
