"""Write path, state and folding over one database, as the receiver runs them."""

from __future__ import annotations

import asyncio
import random
import sqlite3
from typing import TYPE_CHECKING

from attribute_lists.projection.truth import Version
from cohort_sync.truth.erasing import erase_from_lists
from cohort_sync.truth.folding import Folder, FoldRules
from cohort_sync.truth.state import DatabaseTruth

if TYPE_CHECKING:
    from attribute_lists.projection.truth import ListHead
    from tests.cohort_sync.truth.facts_in_tests import Written

AT_ONCE = FoldRules(window=-(10**13), least=0, share=0)  # however young
PEOPLE = [f"person-{number}" for number in range(5000)]


class Replica:
    """What the set in Redis would be."""

    def __init__(self, truth: DatabaseTruth, head: ListHead) -> None:
        self.members: set[bytes] = set()
        self._truth = truth
        self._name = (head.account, head.list_id)
        self._shown: tuple[Version, int] = (Version(0, b""), 0)

    async def follow(self) -> None:
        update = await self._truth.update(*self._name, *self._shown)
        assert update is not None
        if update.is_whole:
            self.members |= set(update.add)
            self.members -= set(update.remove)
        else:
            self.members = {member async for slice_ in self._truth.members(update.head) for member in slice_}
        self._shown = (update.head.version, update.head.erasure)


async def test_lists_are_folded_while_pages_are_accepted_and_persons_erased(written: Written) -> None:
    chosen = random.Random(7)  # noqa: S311 - no secret
    truth = DatabaseTruth(written.database)
    folder = Folder(written.database, AT_ONCE)
    await written.page("first", add=PEOPLE[:1])
    head = (await truth.heads())[0]
    replica = Replica(truth, head)
    expected = set(PEOPLE[:1])
    done = asyncio.Event()

    async def fold() -> int:
        partitions = 0
        while not done.is_set():
            partitions += (await folder.fold()).partitions
        return partitions

    folding = asyncio.create_task(fold())
    for number in range(1, 46):
        add, remove = set(chosen.sample(PEOPLE, 300)), set(chosen.sample(PEOPLE, 200))
        await written.page(f"task-{number}", add=add, remove=remove, at=10 * number)
        expected = (expected - remove) | (add - remove)
        if number % 15 == 0:
            person = min(expected)
            erasure = await written.facts.erase(person.encode(), actor="tests")
            expected.discard(person)
            await erase_from_lists(written.database, person.encode(), erasure.at)
            # Before the next page is signed, its sender's clock has gone on.
            written.clocks.pass_ms(10)
        if number % 3 == 0:
            await replica.follow()
            assert replica.members == {member.encode() for member in expected}
    done.set()
    assert await folding > 0
    assert not folder.damaged
    await folder.fold()
    await replica.follow()
    head = (await truth.heads())[0]
    assert replica.members == {member.encode() for member in expected}
    assert {member async for slice_ in truth.members(head) for member in slice_} == replica.members
    with sqlite3.connect(f"file:{written.database.path}?mode=ro", uri=True) as raw:
        assert raw.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert raw.execute("SELECT COUNT(*) FROM facts WHERE body IS NOT NULL").fetchone() == (0,)
        assert raw.execute("SELECT SUM(members) FROM bases").fetchone() == (len(expected),)
    raw.close()


async def test_a_page_of_a_task_that_is_folded_counts_just_above_the_base(written: Written) -> None:
    truth = DatabaseTruth(written.database)
    await written.page("a", add=["u1", "u2"], at=0, total=2)
    await written.page("b", remove=["u1"], at=100)
    await Folder(written.database, AT_ONCE).fold()
    head = (await truth.heads())[0]
    shown = head.version
    await written.page("a", add=["u3", "u1"], at=50, number=2, total=2)
    update = await truth.update(head.account, head.list_id, shown, 0)
    assert update is not None
    assert (sorted(update.add), update.remove) == ([b"u1", b"u3"], [])
    await written.page("c", remove=["u3"], at=200)
    members = {member async for slice_ in truth.members(head) for member in slice_}
    assert members == {b"u1", b"u2"}
    await Folder(written.database, AT_ONCE).fold()
    head = (await truth.heads())[0]
    assert {member async for slice_ in truth.members(head) for member in slice_} == members
    assert await truth.size_of(1) == 2


async def test_a_snapshot_is_sized_before_it_counts(written: Written) -> None:
    truth = DatabaseTruth(written.database)
    await written.page("a", add=["u1", "u2", "u3"], at=0)
    await written.page("s", add=["u1"], remove=["u9"], at=100, total=2, mode="snapshot")
    task = (await written.tasks())[-1].id
    assert (await truth.size_of(1), await truth.size_of_snapshot(task)) == (3, 1)
