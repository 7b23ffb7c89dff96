"""Folding: what a round takes, what it waits for, what it survives, and that a person who is erased leaves the file."""

from __future__ import annotations

import asyncio
import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from cohort_sync.truth import bases
from cohort_sync.truth.erasing import erase_from_lists
from cohort_sync.truth.folding import Folder, FoldRules
from cohort_sync.truth.folding.lists import ListFolder, lists_to_fold
from cohort_sync.truth.folding.messages import BeginRound, Damaged, DropPages, PutPartition, Sound
from cohort_sync.truth.folding.writing import drop_pages, write
from cohort_sync.truth.order import SENDER, Place
from cohort_sync.truth.state import DatabaseTruth
from tests.cohort_sync.truth.histories import Now
from tests.cohort_sync.truth.rows import ACCOUNT, ListRows, Rows, erase, finish_erasure

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from cohort_sync.truth.folding.messages import Message

DAY = 86_400_000
WINDOW = 4 * DAY
NOW = 100 * DAY
EAGER = FoldRules(least=0, share=0)


@pytest.fixture
def rows(tmp_path: Path) -> Iterator[Rows]:
    database = Rows(tmp_path / "cohort_sync.db")
    yield database
    database.close()


@pytest.fixture
def heap(rows: Rows) -> ListRows:
    return ListRows(rows)


class Writer:
    """Writes what a folder asks for, notes it, and lets a test do something between."""

    def __init__(self, rows: Rows, before: Callable[[Message], None] | None = None) -> None:
        self.told: list[Message] = []
        self.answers: list[bool] = []
        self._rows = rows
        self._before = before

    def tell(self, message: Message) -> bool:
        self.told.append(message)
        if self._before is not None:
            self._before(message)
        if isinstance(message, DropPages):
            while self._rows.write_now(lambda connection: drop_pages(connection, message.row)):
                pass
            done = True
        else:
            done = self._rows.write_now(lambda connection: write(connection, message))
        self.answers.append(done)
        return done


def fold(rows: Rows, heap: ListRows, rules: FoldRules = EAGER, *, now: int = NOW, writer: Writer | None = None) -> bool:
    return ListFolder(Now(rows), (writer or Writer(rows)).tell, rules).fold(heap.row, now)


def bodies(rows: Rows) -> int:
    return rows.number("SELECT COUNT(*) FROM facts WHERE body IS NOT NULL")


def base(rows: Rows, heap: ListRows) -> set[bytes]:
    found = rows.run("SELECT body FROM bases WHERE list = :row", row=heap.row)
    return {member for (body,) in found for member in bases.unpack(body)}  # type: ignore[arg-type] # a blob


def members(rows: Rows, heap: ListRows) -> set[bytes]:
    async def read() -> set[bytes]:
        truth = DatabaseTruth(rows)
        head = await truth.head(ACCOUNT, heap.name)
        assert head is not None
        return {member async for slice_ in truth.members(head) for member in slice_}

    return asyncio.run(read())


def people(count: int, start: int = 0) -> list[bytes]:
    return [b"person-%07d" % number for number in range(start, start + count)]


def test_tasks_beyond_the_window_are_folded_and_their_pages_dropped(rows: Rows, heap: ListRows) -> None:
    old = heap.task("old", NOW - WINDOW)
    heap.page(old, people(3))
    heap.page(old, [], people(1))
    young = heap.task("young", NOW - WINDOW + 1)
    heap.page(young, people(1))
    assert fold(rows, heap)
    assert base(rows, heap) == set(people(2, start=1))
    assert bodies(rows) == 1
    assert members(rows, heap) == set(people(3))
    assert rows.number("SELECT COUNT(*) FROM facts") == 3  # versions are known for longer


def test_a_late_page_keeps_its_whole_task_out_of_the_base(rows: Rows, heap: ListRows) -> None:
    task = heap.task("t", NOW - 2 * WINDOW)
    heap.page(task, people(3))
    heap.page(task, [], people(1), at=NOW - 2 * WINDOW + 5, now=NOW - WINDOW + 1)
    assert fold(rows, heap)
    assert not base(rows, heap)
    assert fold(rows, heap, now=NOW + 1)
    assert base(rows, heap) == set(people(2, start=1))


@pytest.mark.parametrize("state", ["open", "held"])
def test_no_fold_passes_a_snapshot_that_is_undecided(rows: Rows, heap: ListRows, state: str) -> None:
    heap.page(heap.task("before", 1), people(1))
    snapshot = heap.task("snapshot", 2, mode="snapshot")
    heap.page(snapshot, people(2, start=5))
    if state == "held":
        heap.end(snapshot, "held")
    heap.page(heap.task("behind", 3), people(1, start=1))
    assert fold(rows, heap)
    assert base(rows, heap) == set(people(1))
    assert members(rows, heap) == set(people(2))
    heap.end(snapshot, "complete" if state == "open" else "accepted")
    assert members(rows, heap) == set(people(2, start=5)) | set(people(1, start=1))
    assert fold(rows, heap)
    assert base(rows, heap) == set(people(2, start=5)) | set(people(1, start=1))


@pytest.mark.parametrize("state", ["refused", "given_up"])
def test_a_snapshot_that_never_counts_is_passed_and_dropped(rows: Rows, heap: ListRows, state: str) -> None:
    snapshot = heap.task("snapshot", 2, mode="snapshot")
    heap.page(snapshot, people(2, start=5))
    heap.end(snapshot, state)
    heap.page(heap.task("behind", 3), people(1))
    assert fold(rows, heap)
    assert base(rows, heap) == set(people(1))
    assert bodies(rows) == 0


def test_a_drain_is_folded_once(rows: Rows, heap: ListRows) -> None:
    heap.page(heap.task("a", 1), people(3))
    assert fold(rows, heap)
    heap.empty(5)
    heap.page(heap.task("b", 6), people(1, start=7))
    assert fold(rows, heap)
    assert base(rows, heap) == set(people(1, start=7))
    heap.page(heap.task("c", 7), people(1, start=8))
    assert fold(rows, heap)
    assert base(rows, heap) == set(people(2, start=7))


def test_a_list_is_left_alone_until_its_pages_are_worth_it_or_old(rows: Rows, heap: ListRows) -> None:
    heap.page(heap.task("first", 1), people(1000))
    assert fold(rows, heap, FoldRules())  # as many as is ever asked for
    assert len(base(rows, heap)) == 1000
    rules = FoldRules(least=0)
    heap.page(heap.task("few", NOW - 10 * DAY), people(99, start=1000))
    assert fold(rows, heap, rules)
    assert len(base(rows, heap)) == 1000
    heap.page(heap.task("one more", NOW - 10 * DAY + 1), people(1, start=1099))
    assert fold(rows, heap, rules)
    assert len(base(rows, heap)) == 1100
    heap.page(heap.task("one", NOW - 10 * DAY + 2), people(1, start=2000))
    assert fold(rows, heap, rules, now=NOW + 20 * DAY + 1)
    assert len(base(rows, heap)) == 1100
    assert fold(rows, heap, rules, now=NOW + 20 * DAY + 2)  # thirty days after its arrival
    assert len(base(rows, heap)) == 1101


def test_what_is_placed_by_arrival_needs_no_window(rows: Rows) -> None:
    pushes = ListRows(rows, source="pushes")
    pushes.page(pushes.task("t", NOW), people(3))
    rules = FoldRules(least=0, by_arrival=frozenset({"pushes"}))
    assert rows.read_now(lambda connection: lists_to_fold(connection, EAGER, NOW)) == []
    assert rows.read_now(lambda connection: lists_to_fold(connection, rules, NOW)) == [pushes.row]
    assert fold(rows, pushes, rules)
    assert base(rows, pushes) == set(people(3))


def test_a_round_that_was_broken_off_goes_on_and_no_answer_changes(
    rows: Rows, heap: ListRows, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bases, "MEMBERS", 10)
    monkeypatch.setattr(bases, "MOST_MEMBERS", 20)
    heap.page(heap.task("a", 1), people(100))
    heap.page(heap.task("b", 2), people(50, start=100), people(50))
    expected = set(people(100, start=50))
    for allowed in range(3, 30, 4):
        left = allowed

        def kill(_: Message) -> None:
            nonlocal left
            left -= 1
            if left < 0:
                raise KeyboardInterrupt

        try:
            fold(rows, heap, writer=Writer(rows, kill))
        except KeyboardInterrupt:
            assert members(rows, heap) == expected
            assert rows.read_now(lambda connection: lists_to_fold(connection, EAGER, 0)) == [heap.row]
            continue
        break
    else:
        pytest.fail("it never came to its end")
    assert base(rows, heap) == members(rows, heap) == expected
    assert bodies(rows) == 0
    assert rows.number("SELECT COUNT(DISTINCT round) FROM bases") == 1
    assert rows.read_now(lambda connection: lists_to_fold(connection, EAGER, 0)) == []


def test_a_page_accepted_at_or_below_the_place_meanwhile_is_folded_in_its_order(rows: Rows, heap: ListRows) -> None:
    late = heap.task("late", 2)
    heap.page(late, people(1))
    heap.page(heap.task("newest", 3), people(1, start=1), people(1))

    def accept(message: Message) -> None:
        if isinstance(message, PutPartition) and heap.version.number == 2:
            heap.page(late, people(2, start=1))

    writer = Writer(rows, accept)
    assert fold(rows, heap, writer=writer)
    assert writer.answers[1] is False  # the first partition
    assert base(rows, heap) == set(people(2, start=1))
    assert bodies(rows) == 0


def test_a_page_accepted_above_the_place_meanwhile_hinders_nothing(rows: Rows, heap: ListRows) -> None:
    heap.page(heap.task("old", 2), people(1))

    def accept(message: Message) -> None:
        if isinstance(message, PutPartition):
            heap.page(heap.task("new", NOW), people(1, start=1))

    writer = Writer(rows, accept)
    assert fold(rows, heap, writer=writer)
    assert all(writer.answers)
    assert base(rows, heap) == set(people(1))
    assert members(rows, heap) == set(people(2))


def test_a_person_erased_meanwhile_does_not_get_into_the_base(rows: Rows, heap: ListRows) -> None:
    heap.page(heap.task("old", 2), people(2))

    def erase_one(message: Message) -> None:
        if isinstance(message, PutPartition) and not rows.number("SELECT erasure FROM installation"):
            erase(rows, people(1)[0], NOW)

    assert fold(rows, heap, writer=Writer(rows, erase_one))
    assert base(rows, heap) == set(people(1, start=1))


def test_a_partition_rewritten_meanwhile_is_not_overwritten(rows: Rows, heap: ListRows) -> None:
    heap.page(heap.task("a", 1), people(3))
    assert fold(rows, heap)
    number = erase(rows, people(1)[0], 2)
    heap.page(heap.task("b", 3), people(1, start=5))

    def rewrite(message: Message) -> None:
        if isinstance(message, PutPartition):
            asyncio.run(erase_from_lists(rows, people(1)[0], 2))

    writer = Writer(rows, rewrite)
    assert fold(rows, heap, writer=writer)
    assert False in writer.answers
    finish_erasure(rows, number)
    assert base(rows, heap) == members(rows, heap) == {*people(2, start=1), *people(1, start=5)}


@pytest.mark.parametrize("statement", [
    "UPDATE facts SET body = x'00' WHERE list = :row AND version = 1",
    "UPDATE bases SET body = x'00' WHERE list = :row",
    "UPDATE bases SET at = at + 1 WHERE list = :row",
])  # fmt: skip
def test_damage_stops_the_folding_of_its_own_list_alone(rows: Rows, heap: ListRows, statement: str) -> None:
    other = ListRows(rows)
    for one in (heap, other):
        if "bases" in statement:
            one.page(one.task("first", 1), people(3))
            assert fold(rows, one)
        one.page(one.task("second", 5), people(1, start=3))
    rows.run(statement, row=heap.row)
    writer = Writer(rows)
    assert not fold(rows, heap, writer=writer)
    told = writer.told[-1]
    assert isinstance(told, Damaged)
    assert told.row == heap.row
    assert fold(rows, other, writer=writer)
    assert isinstance(writer.told[-1], Sound)
    assert bodies(rows) == 1


def test_partitions_are_of_bounded_size_and_so_is_what_is_read_at_once(
    rows: Rows, heap: ListRows, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bases, "MEMBERS", 50)
    monkeypatch.setattr(bases, "MOST_MEMBERS", 100)
    for task in range(10):
        heap.page(heap.task(f"t{task}", task), people(200, start=150 * task))
        assert fold(rows, heap, FoldRules(least=0, share=0, most_at_once=60))
    assert base(rows, heap) == set(people(1550))
    sizes = [size for (size,) in rows.run("SELECT members FROM bases")]
    assert sum(map(int, map(str, sizes))) == 1550
    assert max(map(int, map(str, sizes))) <= 100
    assert members(rows, heap) == set(people(1550))


def test_the_process_that_folds_writes_nothing_and_its_parent_all(rows: Rows) -> None:
    lists = [ListRows(rows) for _ in range(3)]
    for one in lists:
        task = one.task("t", 1)
        for page in range(5):
            one.page(task, people(20_000, start=20_000 * page))
    rows.run("UPDATE facts SET body = x'00' WHERE list = :row AND version = 3", row=lists[1].row)

    async def run() -> None:
        folder = Folder(rows)
        report = await folder.fold()
        assert report.named == {lists[0].row: 100_000, lists[2].row: 100_000}
        assert report.dropped == 10
        assert report.partitions == 8
        assert folder.damaged == {lists[1].row: f"page 3 of list {lists[1].row}"}
        rows.run("DELETE FROM facts WHERE list = :row", row=lists[1].row)
        await folder.fold()
        assert folder.damaged == {}

    asyncio.run(run())
    assert len(members(rows, lists[0])) == 100_000
    assert base(rows, lists[0]) == set(people(100_000))


def _folding_children() -> list[int]:
    """The processes of this one that fold."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            parent = int((process / "stat").read_text().rpartition(")")[2].split()[1])
            if parent == os.getpid() and b"cohort_sync.truth.folding.process" in (process / "cmdline").read_bytes():
                found.append(int(process.name))
    return found


def test_a_process_whose_parent_goes_away_ends(rows: Rows, heap: ListRows) -> None:
    heap.page(heap.task("t", 1), people(2000))
    began = asyncio.Event()

    async def never(work: object, *, size: int = 0) -> None:
        del work, size
        began.set()
        await asyncio.Event().wait()

    async def run() -> None:
        rows.write = never  # type: ignore[method-assign,assignment] # as if the disk hung
        folding = asyncio.create_task(Folder(rows).fold())
        await began.wait()
        folding.cancel()
        with pytest.raises(asyncio.CancelledError):
            await folding

    asyncio.run(run())
    assert not _folding_children()


def test_an_erased_person_leaves_bases_and_pages_and_the_file(rows: Rows) -> None:
    person = b"somebody@example.com"
    lists = [ListRows(rows) for _ in range(4)]
    lists[0].page(lists[0].task("a", 1), [person, *people(3)])
    lists[1].page(lists[1].task("a", 1), people(3))
    for one in lists[:2]:
        fold(rows, one)
    lists[2].page(lists[2].task("a", NOW), people(2), [person])
    lists[2].page(lists[2].task("b", NOW), [person, *people(2)])
    at = NOW + 5
    lists[3].page(lists[3].task("after", at + 1), [person])
    number = erase(rows, person, at)
    expected = [set(people(3)), set(people(3)), set(people(2)), {person}]
    assert [members(rows, one) for one in lists] == expected

    async def rewrite() -> None:
        done = await erase_from_lists(rows, person, at)
        assert (done.partitions, done.pages, done.lists) == (1, 2, {lists[0].row, lists[2].row})
        again = await erase_from_lists(rows, person, at)
        assert (again.partitions, again.pages, again.lists) == (0, 0, set())

    asyncio.run(rewrite())
    finish_erasure(rows, number)
    assert [members(rows, one) for one in lists] == expected
    assert base(rows, lists[0]) == set(people(3))
    rows.run("DELETE FROM facts WHERE list = :row", row=lists[3].row)
    rows.run("PRAGMA wal_checkpoint(TRUNCATE)")
    assert person not in rows.path.read_bytes()


def test_erasing_goes_on_past_what_is_damaged(rows: Rows) -> None:
    lists = [ListRows(rows) for _ in range(3)]
    for one in lists:
        one.page(one.task("a", 1), people(2))
        fold(rows, one)
        one.page(one.task("b", NOW), people(1))
    rows.run("UPDATE bases SET body = x'00' WHERE list = :row", row=lists[0].row)
    rows.run("UPDATE facts SET body = x'00' WHERE list = :row AND version = 2", row=lists[1].row)

    async def rewrite() -> None:
        done = await erase_from_lists(rows, people(1)[0], NOW)
        assert (done.partitions, done.pages) == (2, 2)
        assert done.damaged.keys() == {lists[0].row, lists[1].row}

    asyncio.run(rewrite())
    assert base(rows, lists[2]) == set(people(1, start=1))


def test_erasing_finds_a_person_in_a_list_of_many_partitions_and_among_many_lists(
    rows: Rows, heap: ListRows, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bases, "MEMBERS", 4)
    monkeypatch.setattr(bases, "MOST_MEMBERS", 8)
    heap.page(heap.task("a", 1), people(500))
    others = [ListRows(rows) for _ in range(120)]
    for one in others:
        one.page(one.task("a", 1), people(2, start=42))
        fold(rows, one)
    fold(rows, heap)

    async def rewrite() -> None:
        done = await erase_from_lists(rows, people(1, start=42)[0], 5)
        assert done.partitions == 121

    asyncio.run(rewrite())
    assert base(rows, heap) == set(people(42)) | set(people(457, start=43))
    assert all(base(rows, one) == set(people(1, start=43)) for one in others)


def test_no_writer_but_the_one_is_let_in(rows: Rows) -> None:
    """The connection of the process that folds can't write, whatever it is asked."""
    with pytest.raises(Exception, match="readonly"):
        rows.read_now(lambda connection: connection.exec_driver_sql("UPDATE lists SET version = 1"))


def test_marks_and_partitions_are_refused_once_something_belongs_below(rows: Rows, heap: ListRows) -> None:
    task = heap.task("t", 5)
    heap.page(task, people(1))
    place = Place(5, SENDER, "t", 0)
    begin = BeginRound(heap.row, 1, [task], place, version=0)
    assert not rows.write_now(lambda connection: write(connection, begin))
    assert rows.number("SELECT round FROM tasks") == 0
    begin = BeginRound(heap.row, 1, [task], place, version=1)
    assert rows.write_now(lambda connection: write(connection, begin))
    put = PutPartition(heap.row, 0, b"another", place, 1, 0, [])
    assert not rows.write_now(lambda connection: write(connection, put))
