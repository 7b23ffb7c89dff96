"""Changes of a list as guarded steps: each is one script, and happens only on the ledger that it was planned on."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from attribute_lists import keys
from foundation.scripts import run_script

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from foundation.store import Store


class ConflictingChangeError(Exception):
    """Somebody else changed the ledger since the step was planned: read it again and plan anew."""


# Takes a run of (count, that many arguments) apart. The part that every step shares: the guard, the ledger's and the
# description's fields, the mark of an applied body, the body itself. The last keys are fences (`filling`): without one
# of them, the store has lost slices that this step builds on.
_GUARD = """
local at = 1
local function take() at = at + 1; return ARGV[at - 1] end
local ledger, about, applied, erased, body = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local expected, version = take(), take()
if (redis.call('HGET', ledger, 'version') or '') ~= expected then return 'conflict' end
local fences = #KEYS - tonumber(take()) + 1
for number = fences, #KEYS do
  if redis.call('EXISTS', KEYS[number]) == 0 then return 'conflict' end
end
local function note()
  for number = fences, #KEYS do redis.call('UNLINK', KEYS[number]) end
  if version ~= expected then redis.call('HSET', ledger, 'version', version) end
  for _ = 1, tonumber(take()) do
    local name, value = take(), take()
    if value == '' then redis.call('HDEL', ledger, name) else redis.call('HSET', ledger, name, value) end
  end
  for _ = 1, tonumber(take()) do
    local name, value = take(), take()
    if value == '' then redis.call('HDEL', about, name) else redis.call('HSET', about, name, value) end
  end
  for _ = 1, tonumber(take()) do redis.call('HINCRBY', about, take(), take()) end
  local mark, now, since = take(), take(), take()
  if mark ~= '' then
    redis.call('ZREMRANGEBYSCORE', applied, '-inf', since)
    redis.call('ZADD', applied, now, mark)
  end
  for _ = 1, tonumber(take()) do
    local tag, when = take(), take()
    redis.call('ZADD', erased, 'GT', when, tag)
  end
  local packed, seconds = take(), take()
  if packed ~= '' then redis.call('SET', body, packed, 'EX', seconds) end
end
"""

# KEYS: as above, then the set to change. After the shared arguments: clear first?, lifetime of the set in seconds or 0,
# count into the description?, number of members to add, they, members to remove.
_STEP = (
    _GUARD
    + """
local mark = ARGV[#ARGV]
if mark ~= '' and redis.call('ZSCORE', applied, mark) then return 'repeated' end
note()
local target = KEYS[6]
local clear, lifetime, counted, count = take(), tonumber(take()), take(), tonumber(take())
local added, removed = 0, 0
if clear == '1' then
  removed = redis.call('SCARD', target)
  redis.call('UNLINK', target)
end
local last = at + count - 1
for first = at, last, 500 do
  added = added + redis.call('SADD', target, unpack(ARGV, first, math.min(first + 499, last)))
end
for first = last + 1, #ARGV - 1, 500 do
  removed = removed + redis.call('SREM', target, unpack(ARGV, first, math.min(first + 499, #ARGV - 1)))
end
if lifetime > 0 then redis.call('EXPIRE', target, lifetime) end
if counted == '1' then
  if added > 0 then redis.call('HINCRBY', about, 'added', added) end
  if removed > 0 then redis.call('HINCRBY', about, 'removed', removed) end
end
return {added, removed}
"""
)

# KEYS: as above, then live set, staging set, a name to move the old set to. Renaming over a live key would free it on
# the spot; unlinking it under another name frees it in the background.
_SWAP = (
    _GUARD
    + """
note()
local members, staging, discarded = KEYS[6], KEYS[7], KEYS[8]
local live, staged = redis.call('SCARD', members), redis.call('SCARD', staging)
if live > 0 then redis.call('RENAME', members, discarded) end
if staged > 0 then
  redis.call('RENAME', staging, members)
  redis.call('PERSIST', members)
end
redis.call('UNLINK', discarded)
if staged > live then redis.call('HINCRBY', about, 'added', staged - live) end
if live > staged then redis.call('HINCRBY', about, 'removed', live - staged) end
return {live, staged}
"""
)

# KEYS ledger, about, erased
_LOAD = """
return {redis.call('HGETALL', KEYS[1]), redis.call('HGET', KEYS[2], 'mode'),
        redis.call('ZRANGE', KEYS[3], 0, -1, 'WITHSCORES')}
"""


@dataclass(slots=True)
class Notes:
    """What a step writes beside members. An empty value deletes the field."""

    expected: str
    version: str
    ledger: Mapping[str, str] = field(default_factory=dict)
    about: Mapping[str, str] = field(default_factory=dict)
    counts: Mapping[str, int] = field(default_factory=dict)
    erased: Mapping[bytes, int] = field(default_factory=dict)
    mark: str = ""
    now: int = 0
    forget_marks_before: int = 0
    body: bytes = b""
    body_seconds: int = 1
    fences: Sequence[str] = ()

    def arguments(self) -> list[Any]:
        flat: list[Any] = [self.expected, self.version, len(self.fences)]
        fields: Mapping[str, Any]
        for fields in (self.ledger, self.about, self.counts):
            flat.append(len(fields))
            for pair in fields.items():
                flat += pair
        flat += [self.mark, self.now, self.forget_marks_before, len(self.erased)]
        for tag, at in self.erased.items():
            flat += [tag, at]
        return [*flat, self.body, self.body_seconds]


@dataclass(frozen=True, slots=True)
class Stepped:
    repeated: bool = False
    added: int = 0
    removed: int = 0


class ListScripts:
    """The scripts on the keys of one list. Every call may raise the store's errors and `ConflictingChangeError`."""

    def __init__(self, store: Store, account: str, list_id: str) -> None:
        self._store = store
        self._account = account
        self._list_id = list_id

    async def step(
        self,
        notes: Notes,
        *,
        digest: str = "",
        target: str | None = None,
        add: Sequence[bytes] = (),
        remove: Sequence[bytes] = (),
        unless_marked: str = "",
        clear: bool = False,
        lifetime: int = 0,
    ) -> Stepped:
        """Note and change in one transaction. `target`: another set than the live one (its changes aren't counted)."""
        members = keys.members(self._account, self._list_id)
        answer = await self._run(
            _STEP,
            [*self._noted(digest), target or members, *notes.fences],
            [*notes.arguments(), int(clear), lifetime, int(target is None), len(add), *add, *remove, unless_marked],
        )
        return Stepped(repeated=True) if answer == b"repeated" else Stepped(added=answer[0], removed=answer[1])

    async def swap(self, notes: Notes, *, staging: str) -> None:
        """Make `staging` the live set, in one step, whatever their sizes."""
        name = (self._account, self._list_id)
        await self._run(
            _SWAP,
            [*self._noted(""), keys.members(*name), staging, keys.discarded(*name), *notes.fences],
            notes.arguments(),
        )

    async def discard(self, staging: str) -> None:
        await self._store.execute_command("UNLINK", staging)

    async def forget(self, ledger_seconds: int, mark_seconds: int) -> None:
        """Drop the list's description; its ledger and its marks stay a while, so that what comes late stays void."""
        name = (self._account, self._list_id)
        pipeline = self._store.pipeline(transaction=False)
        pipeline.execute_command("UNLINK", keys.about(*name))
        pipeline.execute_command("EXPIRE", keys.ledger(*name), ledger_seconds)
        pipeline.execute_command("EXPIRE", keys.applied(*name), mark_seconds)
        await pipeline.execute()

    async def extend(self, staging: str, seconds: int) -> None:
        """Keep `staging` for so long: an operator may take days to decide."""
        await self._store.execute_command("EXPIRE", staging, seconds)

    async def sizes(self, staging: str) -> tuple[int, int]:
        """How many members the live set and `staging` have."""
        live: int = await self._store.execute_command("SCARD", keys.members(self._account, self._list_id))
        staged: int = await self._store.execute_command("SCARD", staging)
        return live, staged

    async def load(self) -> tuple[dict[str, str], str | None, dict[bytes, int]]:
        """The ledger's fields, the list's mode, and who was erased when (hash, ms), as of one moment."""
        name = (self._account, self._list_id)
        fields, mode, erased = await self._run(_LOAD, [keys.ledger(*name), keys.about(*name), keys.erased(*name)], [])
        return (
            {key.decode(): value.decode() for key, value in zip(fields[::2], fields[1::2], strict=True)},
            mode.decode() if mode else None,
            {tag: int(float(at)) for tag, at in zip(erased[::2], erased[1::2], strict=True)},
        )

    def _noted(self, digest: str) -> list[str]:
        name = (self._account, self._list_id)
        own = [keys.ledger(*name), keys.about(*name), keys.applied(*name), keys.erased(*name)]
        return [*own, keys.body(*name, digest)]

    async def _run(self, script: str, names: list[str], arguments: list[Any]) -> Any:
        answer = await run_script(self._store, script, names, arguments)
        if answer == b"conflict":
            raise ConflictingChangeError
        return answer
