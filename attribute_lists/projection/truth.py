"""The truth as the projection asks for it: which lists there are, what changed in one, and whom it holds.

Whoever implements it reads a database. The projection knows none, and no order of tasks either: it sets members to what
it is told.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping, Sequence


class Version(NamedTuple):
    """Number and chained digest (8 bytes) of a list's newest fact, so that two histories never look alike."""

    number: int
    chain: bytes


NOTHING = Version(0, b"")  # of a list before its first fact


@dataclass(frozen=True, slots=True)
class ListHead:
    """A list as of one moment.

    `erasure`: number of the newest erasure that the truth knows of. `description`: what `about` shows to gateways and
    operators beside version, size and erasure.
    """

    account: str
    list_id: str
    version: Version
    erasure: int
    description: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Update:
    """How a list's set gets from an older version to `head`: each named member to what the truth says of it.

    `is_whole` False: more changed than is told member by member, so the set must be built anew from `Truth.members`.
    """

    head: ListHead
    add: Sequence[bytes] = ()
    remove: Sequence[bytes] = ()
    is_whole: bool = True


@dataclass(frozen=True, slots=True)
class RegistryState:
    """What gateways need to know beside the lists themselves.

    `database`: the database's id, which the store shows as its identity. `number` counts changes; `token`: of the
    newest, so that two histories never look alike. `lists`: those not deleted. `aliases`: by
    `keys.qualified(account, alias)`.
    """

    database: str
    number: int
    token: bytes = b""
    lists: Sequence[tuple[str, str]] = ()
    aliases: Mapping[str, str] = field(default_factory=dict)


class StaleHeadError(Exception):
    """What the list holds at a head can't be told any more: begin again with a new one."""


class Truth(Protocol):
    """All methods may raise `UnavailableError` where the database can't be read."""

    async def registry(self) -> RegistryState: ...

    async def wrote_registry(self, version: Version) -> bool:
        """Whether this database's registry ever was of that number, with that token."""

    async def heads(self) -> Sequence[ListHead]:
        """Every list that is not deleted, those with the fewest members first."""

    async def head(self, account: str, list_id: str) -> ListHead | None:
        """None: there is no such list, or none any more."""

    async def update(self, account: str, list_id: str, since: Version, erasure: int) -> Update | None:
        """From what a set shows to the newest version. None: this database never wrote `since`, or has no such list.

        `NOTHING` was always written. `erasure`: the number up to which the set is cleansed; who was erased since is
        among `remove`.
        """

    async def wrote(self, account: str, list_id: str, version: Version) -> bool:
        """Whether this database ever wrote `version` of that list, deleted since or not."""

    def members(self, head: ListHead) -> AsyncGenerator[Sequence[bytes], None]:
        """Whom the list holds, in bounded slices, each as of a moment of its own at `head` or later.

        What `update` since `head` names makes the whole right. No transaction is open between two slices: a reader may
        take an hour. Raises `StaleHeadError` where that can't be told any more.
        """

    async def holds(self, account: str, list_id: str, members: Sequence[bytes]) -> Sequence[bool]:
        """What the truth says of each of `members` now."""
