"""A write path over a database of its own, with clocks that stand still, and what its facts leave of a list."""

from __future__ import annotations

import contextlib
import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from attribute_lists.bodies import Names, unpack
from cohort_sync.truth.database import open_database
from cohort_sync.truth.facts import Drain, HeapClock, Page, Rules, Segment, open_facts
from cohort_sync.truth.tables import ERASURES, FACTS, LISTS, TASKS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable
    from pathlib import Path

    from sqlalchemy import Connection

    from cohort_sync.truth.database import Database
    from cohort_sync.truth.facts import Accepted, Facts

HOUR = 3_600_000
DAY = 24 * HOUR
T0 = 1_800_000_000_000  # Unix milliseconds: about when these senders sign

SEGMENT = Segment("123456", "heap", "7", "Premium Users")


@dataclass
class Clocks:
    """Both clocks of a machine, moved by hand; `wall` in milliseconds, which may be far off."""

    wall: int = T0
    monotonic: float = 1000.0

    def heap_clock(self, newest: int) -> HeapClock:
        return HeapClock(newest, wall=lambda: self.wall / 1000, monotonic=lambda: self.monotonic)

    def pass_ms(self, milliseconds: int) -> None:
        self.wall += milliseconds
        self.monotonic += milliseconds / 1000


@dataclass
class Written:
    """`facts` over `database`. `sizes`: what the list and its snapshots are said to have, by row id."""

    database: Database
    facts: Facts
    clocks: Clocks
    list_sizes: dict[int, int] = field(default_factory=dict)
    snapshot_sizes: dict[int, int] = field(default_factory=dict)

    async def page(
        self,
        task: str | None = "task",
        *,
        add: Iterable[str] = (),
        remove: Iterable[str] = (),
        at: int | None = 0,
        segment: Segment = SEGMENT,
        body: str | None = None,
        **options: Any,
    ) -> Accepted:
        """A page signed `at` milliseconds after `T0`, but never ahead of the clock.

        Its digest is that of its content, or of `body`.
        """
        self.clocks.wall = max(self.clocks.wall, T0 + (at or 0))
        adds, removes = sorted(add), sorted(remove)
        said = repr((task, options.get("number", 1), adds, removes)) if body is None else body
        names = Names([name.encode() for name in adds], [name.encode() for name in removes])
        return await self.facts.accept_page(
            Page(
                segment=segment,
                names=names,
                digest=hashlib.blake2b(said.encode(), digest_size=16).digest(),
                task=task,
                signed_at=None if at is None else T0 + at,
                **options,
            )
        )

    async def drained(self, at: int, segment: Segment = SEGMENT) -> Accepted:
        return await self.facts.accept_drain(Drain(segment, T0 + at))

    async def members(self, segment: Segment = SEGMENT) -> set[str]:
        return await self.database.read(lambda connection: members_of(connection, segment))

    async def rows(self, statement: Any) -> list[Any]:
        return await self.database.read(lambda connection: list(connection.execute(statement).all()))

    async def tasks(self) -> list[Any]:
        """All tasks in the order of their places."""
        return await self.rows(select(TASKS).order_by(TASKS.c.at, TASKS.c.rank, TASKS.c.name, TASKS.c.run))

    async def places(self) -> list[int]:
        """Of all tasks, in milliseconds after `T0`."""
        return [task.at - T0 for task in await self.tasks()]

    async def kinds(self) -> list[str]:
        """Of all facts, as they were accepted."""
        return [fact.kind for fact in await self.rows(select(FACTS.c.kind).order_by(FACTS.c.list, FACTS.c.version))]


def members_of(connection: Connection, segment: Segment = SEGMENT) -> set[str]:
    """Whole tasks applied one after the other, in the order of their places: what any fold must come to."""
    row = connection.execute(
        select(LISTS.c.id).where(
            LISTS.c.account == segment.account,
            LISTS.c.source == segment.source,
            LISTS.c.segment_id == segment.id,
        )
    ).scalar_one()
    tasks = connection.execute(
        select(TASKS).where(TASKS.c.list == row).order_by(TASKS.c.at, TASKS.c.rank, TASKS.c.name, TASKS.c.run)
    ).all()
    erased = [erasure.at for erasure in connection.execute(select(ERASURES.c.at))]
    assert not erased, "erased persons are the fold's"
    members: set[str] = set()
    for task in tasks:
        bodies = connection.execute(select(FACTS.c.body).where(FACTS.c.task == task.id, FACTS.c.kind == "page"))
        names = [unpack(body) for body in bodies.scalars()]
        added = {member.decode() for page in names for member in page.add}
        removed = {member.decode() for page in names for member in page.remove}
        if task.mode == "delta":
            members = (members - removed) | (added - removed)
        elif task.state in ("complete", "accepted"):
            members = added - removed
    return members


@contextlib.asynccontextmanager
async def opened(data_dir: Path, clocks: Clocks | None = None, rules: Rules | None = None) -> AsyncIterator[Written]:
    """A write path whose lists and snapshots have as many members as `Written` says; none, where it says nothing."""
    clocks = clocks or Clocks()
    async with open_database(data_dir, reserve_bytes=4096) as database:
        list_sizes: dict[int, int] = {}
        snapshot_sizes: dict[int, int] = {}

        async def size_of(row: int) -> int:
            return list_sizes.get(row, 0)

        async def size_of_snapshot(task: int) -> int:
            return snapshot_sizes.get(task, 0)

        facts = await open_facts(
            database,
            size_of=size_of,
            size_of_snapshot=size_of_snapshot,
            rules=rules,
            clock=clocks.heap_clock,
        )
        yield Written(database, facts, clocks, list_sizes, snapshot_sizes)
