"""The parts of one list that is being read from an archive: gathered under names of their own, then put in place."""

from __future__ import annotations

import asyncio
import secrets
import time
from typing import TYPE_CHECKING, Any

from attribute_lists import keys
from attribute_lists.archive.format import bad_archive
from attribute_lists.bodies import unpack
from attribute_lists.filling import SLICE
from attribute_lists.ledgers import fields_of
from attribute_lists.settling import tag_of
from foundation.errors import UnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from attribute_lists.bodies import Names
    from attribute_lists.order import Ledger, Task
    from attribute_lists.work import ListName, Ordering
    from foundation.store import Store

_LIFETIME = 3600  # seconds that an interrupted import leaves something behind
_EXTENDED_AFTER = 60  # seconds
_SHORTEST_BODY_MS = 3600 * 1000  # what the ledger names must be there for a rebuild that it asks for

# KEYS pairs of a gathered part and its place, then the erased gathered and in place; ARGV for each pair its least size
# and its lifetime in seconds (0: none). A part that lost something was in a store that was emptied or failed over.
_GO_LIVE = """
local sizes = {set = 'SCARD', zset = 'ZCARD', hash = 'HLEN', none = 'EXISTS'}
local last = #KEYS - 2
for i = 1, last, 2 do
  local kind = redis.call('TYPE', KEYS[i]).ok
  if redis.call(sizes[kind], KEYS[i]) < tonumber(ARGV[i]) then return 'lost' end
end
for i = 1, last, 2 do
  redis.call('UNLINK', KEYS[i + 1])
  if redis.call('EXISTS', KEYS[i]) == 1 then
    redis.call('RENAME', KEYS[i], KEYS[i + 1])
    if ARGV[i + 1] == '0' then redis.call('PERSIST', KEYS[i + 1])
    else redis.call('EXPIRE', KEYS[i + 1], ARGV[i + 1]) end
  end
end
local gathered, erased = KEYS[#KEYS - 1], KEYS[#KEYS]
if redis.call('EXISTS', gathered) == 1 then
  redis.call('ZUNIONSTORE', erased, 2, erased, gathered, 'AGGREGATE', 'MAX')
  redis.call('UNLINK', gathered)
end
return 'live'
"""


class ListParts:
    """Gathers one list. Nobody sees anything of it before `go_live`; what is forgotten expires."""

    def __init__(self, store: Store, name: ListName, *, bookkeeping: bool) -> None:
        self.name = name
        self._store = store
        self._attempt = secrets.token_hex(8)
        self._extended = time.monotonic()
        self._places = {"members": keys.members(*name), "about": keys.about(*name), "ledger": keys.ledger(*name)}
        if bookkeeping:
            self._places["applied"] = keys.applied(*name)
        self._sizes: dict[str, int] = {}
        self._lifetimes: dict[str, int] = {}
        self._digests: set[str] = set()

    @property
    def members(self) -> int:
        return self._sizes.get("members", 0)

    async def add_members(self, members: Sequence[bytes], *, part: str = "members") -> None:
        await self._add(part, "SADD", [(member,) for member in members])

    async def add_marks(self, marks: Iterable[tuple[bytes, int]]) -> None:
        await self._add("applied", "ZADD", [(at, mark) for mark, at in marks])

    async def add_erased(self, erased: dict[str, int]) -> None:
        await self._add("erased", "ZADD", [(at, tag) for tag, at in erased.items()])

    async def add_about(self, about: dict[str, str]) -> None:
        await self._add("about", "HSET", list(about.items()))

    async def add_body(self, digest: str, expires: int, packed: bytes) -> None:
        """Bodies go to their places at once: a body is what its digest says, and nobody looks for it unasked."""
        self._digests.add(digest)
        key = keys.body(*self.name, digest)
        lifetime = max(expires - int(time.time() * 1000), _SHORTEST_BODY_MS)
        if await self._store.execute_command("SET", key, packed, "PX", lifetime, "NX") is None:
            left: int = await self._store.execute_command("PTTL", key)
            if left < lifetime:
                await self._store.execute_command("PEXPIRE", key, lifetime)

    async def add_ledger(
        self, fields: dict[str, str], ledger: Ledger | None = None, ordering: Ordering | None = None
    ) -> None:
        """Take the ledger, and build from bodies what it says of snapshots that aren't live.

        It gets a version of its own, so that no step which was planned on another ledger fits it.
        """
        if ledger is not None and ordering is not None:
            for task in ledger.tasks.values():
                if task.mode == "snapshot" and not task.swapped and not ledger.is_void(task):
                    fields = fields | await self._gather(task, ledger, ordering)
        await self._add("ledger", "HSET", list((fields | {"version": secrets.token_hex(8)}).items()))

    async def _gather(self, task: Task, ledger: Ledger, ordering: Ordering) -> dict[str, str]:
        """The members of a snapshot so far; the fields of the ledger that change.

        A page whose body is gone counts as not applied, so that the snapshot never goes live without its members.
        """
        part = f"staging:{task.id}"
        self._places[part] = keys.staging(*self.name, task.id)
        self._lifetimes[part] = int(ordering.window)
        gone = [digest for digest, page in task.pages.items() if page.done and digest not in self._digests]
        for digest in gone:
            task.pages[digest].done = False
        done = [digest for digest, page in task.pages.items() if page.done]
        erased = {tag for tag, at in ledger.erased.items() if at >= task.at}
        for digest in done:
            members = (await self._names(digest)).add
            if erased:
                members = [member for member in members if tag_of(member, ordering.tag_key) not in erased]
            await self.add_members(members, part=part)
        for digest in done:
            if task.pages[digest].removes:
                await self._remove(part, (await self._names(digest)).remove)
        return {field: value for field, value in fields_of(ledger, pages=gone).items() if field.startswith("p:")}

    async def _names(self, digest: str) -> Names:
        packed: bytes | None = await self._store.execute_command("GET", keys.body(*self.name, digest))
        if packed is None:
            raise self._lost()
        try:
            return await asyncio.to_thread(unpack, packed)
        except ValueError as error:
            raise bad_archive(f"a page in it can't be read: {error}") from None

    async def _remove(self, part: str, members: Sequence[bytes]) -> None:
        for start in range(0, len(members), SLICE):
            removed: int = await self._store.execute_command("SREM", self._key(part), *members[start : start + SLICE])
            self._sizes[part] = self._sizes.get(part, 0) - removed

    async def go_live(self) -> None:
        """Everything takes its place in one step; erasures come to those that are there."""
        names: list[str] = []
        arguments: list[int] = []
        for part, place in self._places.items():
            names += [self._key(part), place]
            arguments += [self._sizes.get(part, 0), self._lifetimes.get(part, 0)]
        names += [self._key("erased"), keys.erased(*self.name)]
        answer = await self._store.execute_command("EVAL", _GO_LIVE, len(names), *names, *arguments)
        if answer == b"lost":
            raise self._lost()

    async def discard(self) -> None:
        for part in (*self._places, "erased"):
            await self._store.execute_command("UNLINK", self._key(part))

    async def _add(self, part: str, command: str, items: Sequence[tuple[Any, ...]]) -> None:
        key = self._key(part)
        for start in range(0, len(items), SLICE):
            arguments = [value for item in items[start : start + SLICE] for value in item]
            added: int = await self._store.execute_command(command, key, *arguments)
            is_new = part not in self._sizes
            self._sizes[part] = self._sizes.get(part, 0) + added
            await self._extend([part] if is_new else [])

    async def _extend(self, parts: Iterable[str]) -> None:
        """Give `parts` their lifetime, and now and then all of them, since a large list takes its time."""
        now = time.monotonic()
        if now - self._extended > _EXTENDED_AFTER:
            self._extended, parts = now, self._sizes
        for part in parts:
            await self._store.execute_command("EXPIRE", self._key(part), _LIFETIME)

    def _key(self, part: str) -> str:
        return keys.importing(*self.name, self._attempt, part)

    def _lost(self) -> UnavailableError:
        return UnavailableError(
            f"the store lost a part of list {self.name[1]} while it was read in; read the archive again",
            reason="store_changed",
        )
