"""Settle members: what the order of tasks says about each of them, from the bodies that are kept."""

from __future__ import annotations

import asyncio
import hashlib
from collections import OrderedDict
from typing import TYPE_CHECKING

from attribute_lists import keys
from attribute_lists.bodies import Names, pack, unpack

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Sequence

    from attribute_lists.order import Ledger, Task
    from foundation.store import Store

_KEPT_BYTES = 32 * 1024 * 1024
_TURN = 2000  # members: a millisecond or two, where each is looked up among erasures


class Bodies:
    """The members of pages, read from the store; those used last stay in memory, within a bound."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._kept: OrderedDict[str, tuple[Names, int]] = OrderedDict()
        self._bytes = 0

    async def get(self, account: str, list_id: str, digest: str) -> Names:
        """The page's members; none, where the store has forgotten it (it is beyond the window)."""
        key = keys.body(account, list_id, digest)
        if key in self._kept:
            self._kept.move_to_end(key)
            return self._kept[key][0]
        packed: bytes | None = await self._store.execute_command("GET", key)
        names = unpack(packed) if packed else Names([], [])
        if packed:
            self._keep(key, names)
        return names

    async def erase(self, account: str, list_id: str, digest: str, member: bytes) -> bool:
        """Take `member` out of a page that is kept; whether it was there."""
        names = await self.get(account, list_id, digest)
        if member not in names.add and member not in names.remove:
            return False
        left = Names(*([other for other in part if other != member] for part in names))
        key = keys.body(account, list_id, digest)
        self._bytes -= self._kept.pop(key)[1]
        await self._store.execute_command("SET", key, pack(left), "XX", "KEEPTTL")
        return True

    def _keep(self, key: str, names: Names) -> None:
        # A bytes object costs some 60 bytes beside its text.
        size = sum(len(member) + 60 for part in names for member in part)
        self._kept[key] = (names, size)
        self._bytes += size
        while self._bytes > _KEPT_BYTES:
            _, (_, freed) = self._kept.popitem(last=False)
            self._bytes -= freed


class Settling:
    """Decides over members of one list. `tags` hashes a member as the list's erasures do."""

    def __init__(self, name: tuple[str, str], ledger: Ledger, bodies: Bodies, tag_key: bytes) -> None:
        self._name = name
        self._ledger = ledger
        self._bodies = bodies
        self._tag_key = tag_key

    async def page(self, task: Task, names: Names, digest: str) -> Names:
        """What a page does, given all that is known: its task's other pages, later tasks, erasures.

        The common case, a page of the newest task, costs no more than its own members.
        """
        ledger = self._ledger
        if task.names_members and ledger.is_void(task):
            return Names([], [])
        later = [other for other in ledger.counting() if other.place > task.place] if task.names_members else []
        if task.resettle or later or ledger.erased:
            wanted: set[bytes] = set()
            for other_digest in task.pages if task.resettle else [digest]:
                for members in await self._names(other_digest, digest, names):
                    await _update(wanted, members)
            return await self._settle(wanted, [*later, task], digest, names)
        removed: set[bytes] = set()
        if names.add:
            await _update(removed, names.remove)
            for other_digest, note in task.pages.items():
                if note.removes and other_digest != digest:
                    await _update(removed, (await self._bodies.get(*self._name, other_digest)).remove)
        if not removed:
            return names
        add: list[bytes] = []
        async for part in in_turns(names.add):
            add += [member for member in part if member not in removed]
        return Names(add, names.remove)

    async def _settle(self, wanted: set[bytes], tasks: list[Task], digest: str, own: Names) -> Names:
        """The latest of `tasks` (newest first) that names a member decides; whom none may name is out."""
        add: list[bytes] = []
        remove: list[bytes] = []
        for task in tasks:
            added: set[bytes] = set()
            removed: set[bytes] = set()
            for other_digest in task.pages:
                names = await self._names(other_digest, digest, own)
                for found, named in ((added, names.add), (removed, names.remove)):
                    async for part in in_turns(named):
                        found.update(wanted.intersection(part))
            async for part in in_turns(list(removed)):
                decided = self.allowed(part, task)
                remove += decided
                wanted.difference_update(decided)
            async for part in in_turns(list(added)):
                decided = self.allowed([member for member in part if member not in removed], task)
                add += decided
                wanted.difference_update(decided)
        return Names(add, remove + list(wanted))

    async def _names(self, digest: str, own_digest: str, own: Names) -> Names:
        return own if digest == own_digest else await self._bodies.get(*self._name, digest)

    def allowed(self, members: Iterable[bytes], task: Task) -> list[bytes]:
        """`members` without those who were erased after the task's place."""
        if not self._ledger.erased:
            return list(members)
        return [member for member in members if not self._is_erased(member, task)]

    def _is_erased(self, member: bytes, task: Task) -> bool:
        return bool(self._ledger.erased) and self._ledger.erased.get(tag_of(member, self._tag_key), -1) >= task.at


async def in_turns(members: Sequence[bytes]) -> AsyncIterator[Sequence[bytes]]:
    """`members` in slices, with a turn of the event loop for everybody else between them."""
    for start in range(0, len(members), _TURN):
        if start:
            await asyncio.sleep(0)
        yield members[start : start + _TURN]


async def _update(collected: set[bytes], members: Sequence[bytes]) -> None:
    async for part in in_turns(members):
        collected.update(part)


def tag_of(member: bytes, key: bytes) -> bytes:
    """How an erased person is remembered: a keyed hash, which nobody without the key can try names on."""
    return hashlib.blake2b(member, key=key, digest_size=16).hexdigest().encode()
