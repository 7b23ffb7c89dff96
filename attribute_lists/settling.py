"""Settle members: what the order of tasks says about each of them, from the bodies that are kept."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from typing import TYPE_CHECKING

from attribute_lists import keys
from attribute_lists.bodies import Names, pack, unpack

if TYPE_CHECKING:
    from collections.abc import Iterable

    from attribute_lists.order import Ledger, Task
    from foundation.store import Store

_KEPT_BYTES = 32 * 1024 * 1024


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
            wanted = set(names.add).union(names.remove)
            if task.resettle:
                for other_digest in task.pages:
                    wanted.update(*await self._names(other_digest, digest, names))
            return await self._settle(wanted, [*later, task], digest, names)
        removed = set(names.remove)
        if names.add:
            for other_digest, note in task.pages.items():
                if note.removes and other_digest != digest:
                    removed.update((await self._bodies.get(*self._name, other_digest)).remove)
        add = [member for member in names.add if member not in removed] if removed else names.add
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
                added.update(wanted.intersection(names.add))
                removed.update(wanted.intersection(names.remove))
            named = {member for member in added | removed if not self._is_erased(member, task)}
            remove += named & removed
            add += named - removed
            wanted -= named
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


def tag_of(member: bytes, key: bytes) -> bytes:
    """How an erased person is remembered: a keyed hash, which nobody without the key can try names on."""
    return hashlib.blake2b(member, key=key, digest_size=16).hexdigest().encode()
