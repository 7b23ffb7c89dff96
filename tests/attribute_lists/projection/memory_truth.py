"""A truth in memory: each list a history of changes, and the set that they make."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from attribute_lists import keys
from attribute_lists.projection.truth import (
    NOTHING,
    ListHead,
    RegistryState,
    StaleHeadError,
    Update,
    Version,
)
from foundation.errors import UnavailableError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Sequence

Name = tuple[str, str]

ACCOUNT = "123456"
GOLD: Name = (ACCOUNT, "heap_gold")


@dataclass
class _Fact:
    version: Version
    named: frozenset[bytes]
    is_floor: bool = False


@dataclass
class _List:
    facts: list[_Fact] = field(default_factory=list)
    members: set[bytes] = field(default_factory=set)
    active: bool = True
    label: str = ""
    is_deleted: bool = False

    @property
    def version(self) -> Version:
        return self.facts[-1].version if self.facts else NOTHING


class MemoryTruth:
    """Changes are made by plain calls, and asked for as the projection does.

    `before_slice` is awaited before each slice of members: what happens meanwhile is the test's. `is_away`: the
    database can't be read. `damaged`: lists whose members can't be.
    """

    def __init__(self, database: str = "database-1", *, salt: str = "") -> None:
        self.database = database
        self.lists: dict[Name, _List] = {}
        self.aliases: dict[str, str] = {}
        self.number = 0
        self.tokens: dict[int, bytes] = {}  # of the registry's changes
        self.erasures: list[bytes] = []
        self.slice = 300
        self.is_away = False
        self.damaged: set[Name] = set()
        self.before_slice: Callable[[], Awaitable[object]] | None = None
        self.asked = 0  # members, by `holds` and `members`
        self._salt = salt

    # Changes.

    def add(self, name: Name = GOLD, *members: bytes | str) -> Version:
        return self.change(name, add=members)

    def remove(self, name: Name = GOLD, *members: bytes | str) -> Version:
        return self.change(name, remove=members)

    def change(
        self, name: Name = GOLD, *, add: Iterable[bytes | str] = (), remove: Iterable[bytes | str] = ()
    ) -> Version:
        made, added, removed = self._made(name), _bytes(add), _bytes(remove)
        made.members |= added
        made.members -= removed
        return self._note(made, added | removed)

    def replace(self, name: Name = GOLD, members: Iterable[bytes | str] = ()) -> Version:
        """A snapshot, or a drain."""
        made = self._made(name)
        made.members = _bytes(members)
        return self._note(made, frozenset(), is_floor=True)

    def describe(self, name: Name = GOLD, *, active: bool) -> Version:
        made = self._made(name)
        made.active = active
        return self._note(made, frozenset())

    def delete(self, name: Name = GOLD) -> Version:
        made = self._made(name)
        made.members, made.is_deleted = set(), True
        self._note_registry(name)
        return self._note(made, frozenset(), is_floor=True)

    def alias(self, alias: str, name: Name | None) -> int:
        self._note_registry((alias, str(name)))
        if name is None:
            del self.aliases[keys.qualified(ACCOUNT, alias)]
        else:
            self.aliases[keys.qualified(ACCOUNT, alias)] = name[1]
        return self.number

    def erase(self, person: bytes) -> None:
        self.erasures.append(person)
        for held in self.lists.values():
            held.members.discard(person)

    def _made(self, name: Name) -> _List:
        if name not in self.lists or self.lists[name].is_deleted:
            self._note_registry(name)
        made = self.lists.setdefault(name, _List())
        made.is_deleted = False
        return made

    def _note_registry(self, name: Name) -> None:
        said = repr((self._salt, self.tokens.get(self.number), name))
        self.number += 1
        self.tokens[self.number] = hashlib.blake2b(said.encode(), digest_size=8).digest()

    def _note(self, made: _List, named: frozenset[bytes] | set[bytes], *, is_floor: bool = False) -> Version:
        before = made.version
        told = b"\0".join(sorted(named)) + self._salt.encode() + bytes([is_floor, made.active])
        chain = hashlib.blake2b(before.chain + told, digest_size=8).digest()
        version = Version(before.number + 1, chain)
        made.facts.append(_Fact(version, frozenset(named), is_floor))
        return version

    # What the projection asks.

    async def registry(self) -> RegistryState:
        self._check()
        return RegistryState(
            self.database, self.number, self.tokens.get(self.number, b""), list(self._there()), dict(self.aliases)
        )

    async def wrote_registry(self, version: Version) -> bool:
        self._check()
        return self.tokens.get(version.number, b"") == version.chain

    async def heads(self) -> Sequence[ListHead]:
        self._check()
        return [self._head(name) for name in sorted(self._there(), key=lambda name: len(self.lists[name].members))]

    async def head(self, account: str, list_id: str) -> ListHead | None:
        self._check()
        return self._head((account, list_id)) if self._is_there((account, list_id)) else None

    async def update(self, account: str, list_id: str, since: Version, erasure: int) -> Update | None:
        self._check()
        name = (account, list_id)
        if not self._is_there(name):
            return None
        held = self.lists[name]
        versions = [NOTHING, *(fact.version for fact in held.facts)]
        if since not in versions:
            return None
        facts = held.facts[versions.index(since) :]
        if any(fact.is_floor for fact in facts):
            return Update(self._head(name), is_whole=False)
        named: set[bytes] = set().union(*(fact.named for fact in facts), self.erasures[erasure:])
        return Update(self._head(name), sorted(named & held.members), sorted(named - held.members))

    async def wrote(self, account: str, list_id: str, version: Version) -> bool:
        self._check()
        held = self.lists.get((account, list_id))
        return held is not None and any(fact.version == version for fact in held.facts)

    async def members(self, head: ListHead) -> AsyncGenerator[Sequence[bytes], None]:
        self._check_members((head.account, head.list_id))
        ordered = sorted(self.lists[head.account, head.list_id].members)
        for start in range(0, len(ordered), self.slice):
            if self.before_slice is not None:
                await self.before_slice()
            now = self.lists[head.account, head.list_id]
            if now.is_deleted or any(fact.is_floor and fact.version > head.version for fact in now.facts):
                raise StaleHeadError
            some = [member for member in ordered[start : start + self.slice] if member in now.members]
            self.asked += len(some)
            yield some

    async def holds(self, account: str, list_id: str, members: Sequence[bytes]) -> Sequence[bool]:
        self._check_members((account, list_id))
        self.asked += len(members)
        held = self.lists.get((account, list_id), _List()).members
        return [member in held for member in members]

    def _is_there(self, name: Name) -> bool:
        return name in self.lists and not self.lists[name].is_deleted

    def _there(self) -> dict[Name, _List]:
        return {name: held for name, held in self.lists.items() if not held.is_deleted}

    def _head(self, name: Name) -> ListHead:
        held = self.lists[name]
        description = {"active": "1" if held.active else "0", "mode": "delta", "segment_name": held.label}
        return ListHead(*name, held.version, len(self.erasures), description)

    def _check_members(self, name: Name) -> None:
        self._check()
        if name in self.damaged:
            raise UnavailableError("a page is damaged", reason="damaged")

    def _check(self) -> None:
        if self.is_away:
            raise UnavailableError("the database is away", reason="database_away")


def _bytes(members: Iterable[bytes | str]) -> set[bytes]:
    return {member.encode() if isinstance(member, str) else member for member in members}
