"""Lists as operators see and change them, where the database keeps them."""

from __future__ import annotations

import asyncio
import logging
import time
from functools import partial
from typing import TYPE_CHECKING, Any

from sqlalchemy import select, update

from attribute_lists.members import sizes
from cohort_sync.operations import RUN_TOO
from cohort_sync.truth import descriptions
from cohort_sync.truth.erasing import erase_from_lists
from cohort_sync.truth.facts.lists import list_named, unknown_list
from cohort_sync.truth.tables import ERASURES, LISTS
from foundation.errors import BadRequestError
from foundation.store import STORE_ERRORS

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from sqlalchemy import Connection

    from attribute_lists.describe import ListDescription
    from cohort_sync.truth.database import Database
    from cohort_sync.truth.facts import Accepted, Facts
    from cohort_sync.truth.order import Mode
    from cohort_sync.write_side import ListName
    from foundation.store import Store

log = logging.getLogger(__name__)

_SIZES_SECONDS = 2.0
_CLEANSED_SECONDS = 2.0  # for which an answer waits


class DatabaseAdministration:
    """`project` is awaited with what was accepted before it is answered.

    `cleansed`: whether no set in the store holds anybody who was erased up to a number, now or within so many seconds.
    `forget_persons`: called when an erasure is finished; nothing in memory may hold the ids any longer.
    """

    def __init__(
        self,
        database: Database,
        facts: Facts,
        store: Store,
        *,
        stale_after: float,
        project: Callable[[Accepted], Awaitable[bool]],
        cleansed: Callable[[int, float], Awaitable[bool]],
        forget_persons: Callable[[], None],
    ) -> None:
        self._database = database
        self._facts = facts
        self._store = store
        self._stale_after = stale_after
        self._project = project
        self._cleansed = cleansed
        self._forget_persons = forget_persons
        self._rewriting = asyncio.Lock()
        self._rewritten: dict[int, int] = {}  # erasures that wait for the store alone, and how many lists named each
        self._log_may_name_persons = True  # the last process may have ended before it was truncated

    @property
    def lost(self) -> Sequence[str]:
        return ()  # what the database has is built again

    async def describe_all(self) -> Sequence[ListDescription]:
        names = await self._database.read(_names)
        members = await self._sizes(names)
        return await self._database.read(
            lambda connection: descriptions.describe_lists(
                connection, now=_now(), stale_after=self._stale_after, sizes=members
            )
        )

    async def describe(self, name: ListName) -> ListDescription:
        members = await self._sizes([name])
        found = await self._database.read(
            lambda connection: descriptions.describe_list(
                connection, *name, now=_now(), stale_after=self._stale_after, sizes=members
            )
        )
        if found is None:
            raise unknown_list(*name)
        return found

    async def resolve(self, account: str, name: str) -> ListName:
        found = await self._database.read(lambda connection: list_named(connection, account, name))
        return account, found.name

    async def newest_changes(self, count: int) -> list[dict[str, str]]:
        return await self._database.read(lambda connection: descriptions.newest_changes(connection, count))

    async def set_active(self, name: ListName, active: bool, *, actor: str) -> None:
        await self._project(await self._facts.set_active(*name, active, actor=actor))

    async def set_aliases(self, name: ListName, aliases: list[str], *, actor: str) -> None:
        await self._project(await self._facts.set_aliases(*name, aliases, actor=actor))

    async def set_mode(self, name: ListName, mode: Mode, *, actor: str) -> None:
        await self._project(await self._facts.set_mode(*name, mode, actor=actor))

    async def accept(self, name: ListName, *, actor: str) -> None:
        await self._project(await self._facts.accept_snapshot(*name, actor=actor))

    async def drain(self, name: ListName, *, actor: str) -> int:
        before = await self._sizes([name])
        await self._project(await self._facts.drain(*name, actor=actor))
        after = await self._sizes([name])
        return max(0, before.get(name, 0) - after.get(name, 0))

    async def delete(self, name: ListName, *, actor: str) -> None:
        await self._project(await self._facts.delete(*name, actor=actor))

    async def erase(self, member: str, *, actor: str) -> dict[str, Any]:
        raw = member.encode("utf-8", "surrogatepass")
        if not raw:
            raise BadRequestError("id: the person's id as Heap sends it, not empty", reason="bad_shape")
        erasure = await self._facts.erase(raw, actor=actor)
        lists = await self.finish_erasures()
        outstanding = ["store"] if erasure.number in self._rewritten else []
        receipt = {"erasure": str(erasure.number), "at": erasure.at, "lists": lists.get(erasure.number, 0)}
        return receipt | {"outstanding": outstanding, "run_too": RUN_TOO}

    async def finish_erasures(self) -> dict[int, int]:
        """Take the persons whose erasure was accepted out of what is kept; how many lists named each.

        As long as a set in the store may hold one, the id stays: it says whom to look for. However many these are, each
        is searched for once and the store is waited for once.

        What was broken off, by a crash or a full disk, is begun again; so is what the write-ahead log still holds,
        because somebody was reading it.
        """
        async with self._rewriting:
            pending = await self._database.read(_pending_erasures)
            for number, person, at in pending:
                if number not in self._rewritten:
                    self._rewritten[number] = await self._rewrite(number, person, at)
            lists = dict(self._rewritten)
            if pending:
                await self._cleansed(max(lists), _CLEANSED_SECONDS)
            done = [number for number in lists if await self._cleansed(number, 0.0)]
            for number in done:
                await self._database.write_from_reserve(partial(_finish_erasure, number=number))
                del self._rewritten[number]
            if done:
                self._forget_persons()
                self._log_may_name_persons = True
            if self._log_may_name_persons:
                self._log_may_name_persons = not await self._database.truncate_log()
        return lists

    async def _rewrite(self, number: int, person: bytes, at: int) -> int:
        rewritten = await erase_from_lists(self._database, person, at)
        if rewritten.damaged:
            log.error("erasure %d: %d lists hold damaged rows, which stay", number, len(rewritten.damaged))
        return len(rewritten.lists)

    async def _sizes(self, names: Sequence[ListName]) -> dict[ListName, int]:
        """How many members each has in the store; none is told while it is away, or hangs."""
        try:
            async with asyncio.timeout(_SIZES_SECONDS):
                return await sizes(self._store, names)
        except STORE_ERRORS:
            return {}


def _names(connection: Connection) -> list[ListName]:
    rows = connection.execute(select(LISTS.c.account, LISTS.c.name).where(LISTS.c.is_deleted == 0))
    return [(row.account, row.name) for row in rows]


def _pending_erasures(connection: Connection) -> list[tuple[int, bytes, int]]:
    rows = connection.execute(
        select(ERASURES.c.number, ERASURES.c.person, ERASURES.c.at).where(ERASURES.c.person.is_not(None))
    )
    return [(row.number, bytes(row.person), row.at) for row in rows]


def _finish_erasure(connection: Connection, number: int) -> None:
    """The id is overwritten; what stays is its hash."""
    connection.execute(update(ERASURES).where(ERASURES.c.number == number).values(person=None, finished_at=_now()))


def _now() -> int:
    return int(time.time() * 1000)
