"""The state of lists as the projection asks for it, against the naive model and in its particulars."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings

from attribute_lists.projection.truth import StaleHeadError, Version
from cohort_sync.truth import bases, window
from cohort_sync.truth.bases import DamagedError
from cohort_sync.truth.erasing import erase_from_lists
from cohort_sync.truth.folding import FoldRules
from cohort_sync.truth.folding.lists import ListFolder
from cohort_sync.truth.folding.writing import write
from cohort_sync.truth.state import DatabaseTruth
from tests.cohort_sync.truth.histories import Event, Now, Player, histories
from tests.cohort_sync.truth.rows import ACCOUNT, ListRows, Rows, erase, finish_erasure

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Connection

    from attribute_lists.bodies import Names
    from attribute_lists.projection.truth import ListHead, Update


@pytest.fixture
def rows(tmp_path: Path) -> Iterator[Rows]:
    database = Rows(tmp_path / "cohort_sync.db")
    yield database
    database.close()


@pytest.fixture(autouse=True)
def small_partitions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bases, "MEMBERS", 2)
    monkeypatch.setattr(bases, "MOST_MEMBERS", 4)


def play(events: list[Event], **options: int) -> None:
    with tempfile.TemporaryDirectory() as directory:
        database = Rows(Path(directory) / "cohort_sync.db")
        try:
            asyncio.run(Player(database, DatabaseTruth(database, **options)).play(events))
        finally:
            database.close()


_settings = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@given(histories(folds=False))
@_settings
def test_any_history_ends_as_whole_tasks_one_after_the_other_leave_it(events: list[Event]) -> None:
    play(events)


@given(histories())
@_settings
def test_folding_at_any_moment_and_in_part_changes_no_answer(events: list[Event]) -> None:
    play(events)


@given(histories())
@_settings
def test_without_room_for_an_index_the_answers_are_the_same(events: list[Event]) -> None:
    play(events, view_bytes=1, partition_bytes=1, most_named=3, most_at_once=2)


YOUNG = 10**9


def people(count: int, start: int = 0) -> list[bytes]:
    return [b"person-%07d" % number for number in range(start, start + count)]


@pytest.fixture
def heap(rows: Rows) -> ListRows:
    return ListRows(rows)


@pytest.fixture
def truth(rows: Rows) -> DatabaseTruth:
    return DatabaseTruth(rows)


@pytest.fixture
def read_versions(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The versions of the pages whose bodies were read."""
    versions: list[int] = []
    read = window.read_page

    def noted(connection: Connection, row: int, version: int) -> Names:
        versions.append(version)
        return read(connection, row, version)

    monkeypatch.setattr("cohort_sync.truth.state.database_truth.read_page", noted)
    return versions


async def updated(truth: DatabaseTruth, heap: ListRows, since: Version, erasure: int = 0) -> Update:
    update = await truth.update(ACCOUNT, heap.name, since, erasure)
    assert update is not None
    return update


async def head_of(truth: DatabaseTruth, heap: ListRows) -> ListHead:
    head = await truth.head(ACCOUNT, heap.name)
    assert head is not None
    return head


async def members(truth: DatabaseTruth, head: ListHead) -> list[bytes]:
    return sorted([member async for slice_ in truth.members(head) for member in slice_])


def fold(rows: Rows, heap: ListRows) -> None:
    rules = FoldRules(window=0, least=0, share=0)
    folder = ListFolder(Now(rows), lambda message: rows.write_now(lambda connection: write(connection, message)), rules)
    assert folder.fold(heap.row, YOUNG - 1)


async def test_a_newest_page_says_itself_what_it_changes(
    truth: DatabaseTruth, heap: ListRows, read_versions: list[int]
) -> None:
    task = heap.task("t", 1)
    heap.page(heap.task("older", 0), people(5))
    for page in range(3):
        since = heap.version
        version = heap.page(task, people(2, start=2 * page), [b"gone", *people(1)])
        read_versions.clear()
        update = await updated(truth, heap, since)
        if page == 0:
            assert (sorted(update.add), sorted(update.remove)) == (people(1, start=1), [b"gone", *people(1)])
        assert update.head.version == heap.version
        if page == 0:
            assert read_versions == [version]


async def test_within_a_task_remove_wins_whichever_page_comes_first(truth: DatabaseTruth, heap: ListRows) -> None:
    task = heap.task("t", 1)
    heap.page(task, [], people(3))
    since = heap.version
    heap.page(task, people(5))
    update = await updated(truth, heap, since)
    assert (sorted(update.add), sorted(update.remove)) == (people(2, start=3), people(3))


async def test_pages_of_tasks_that_interleave_are_read_once_each(
    truth: DatabaseTruth, heap: ListRows, read_versions: list[int]
) -> None:
    tasks = [heap.task(f"t{number}", number) for number in range(5)]
    since = heap.version
    for page in range(100):
        heap.page(tasks[page % 5], people(20, start=10 * page), people(5, start=7 * page))
        since = (await updated(truth, heap, since)).head.version
    assert len(read_versions) <= 2 * 100  # once to answer, once more for the index at most


async def test_tasks_that_come_in_the_wrong_order_are_read_once_each(
    truth: DatabaseTruth, heap: ListRows, read_versions: list[int]
) -> None:
    since = heap.version
    for task in range(100):
        heap.page(heap.task(f"t{task}", 1000 - task), people(20, start=10 * task))
        since = (await updated(truth, heap, since)).head.version
    assert len(read_versions) <= 2 * 100


async def test_several_versions_are_told_in_one_update(truth: DatabaseTruth, heap: ListRows) -> None:
    since = heap.version
    heap.page(heap.task("a", 5), people(2))
    heap.page(heap.task("b", 3), [], people(1))
    heap.describe()
    heap.page(heap.task("c", 7), people(1, start=5), people(1, start=1))
    update = await updated(truth, heap, since)
    assert (sorted(update.add), sorted(update.remove)) == (people(1) + people(1, start=5), people(1, start=1))
    assert (await updated(truth, heap, heap.version)).add == []


async def test_a_task_that_moves_past_another_changes_what_both_name(truth: DatabaseTruth, heap: ListRows) -> None:
    moving = heap.task("moving", 9)
    heap.page(moving, people(3))
    heap.page(heap.task("other", 5), [], people(1))
    since = heap.version
    assert (await truth.holds(ACCOUNT, heap.name, people(3))) == [True, True, True]
    heap.move(moving, 4)
    update = await updated(truth, heap, since)
    assert (sorted(update.add), sorted(update.remove)) == (people(2, start=1), people(1))


async def test_a_task_that_moves_before_a_drain_is_void(truth: DatabaseTruth, heap: ListRows) -> None:
    moving = heap.task("moving", 9)
    heap.page(moving, people(3))
    heap.empty(5)
    since = heap.version
    heap.page(moving, people(1, start=3), at=4)
    update = await updated(truth, heap, since)
    assert (update.is_whole, update.add, sorted(update.remove)) == (True, [], people(4))


@pytest.mark.parametrize("state", ["open", "held", "refused", "given_up"])
async def test_a_snapshot_that_does_not_count_changes_nobody(truth: DatabaseTruth, heap: ListRows, state: str) -> None:
    heap.page(heap.task("t", 1), people(3))
    since = heap.version
    snapshot = heap.task("s", 5, mode="snapshot")
    heap.page(snapshot, people(1, start=7), people(1))
    if state != "open":
        heap.end(snapshot, state)
    update = await updated(truth, heap, since)
    assert (update.is_whole, update.add, update.remove) == (True, [], [])
    assert update.head.version == heap.version


async def test_what_makes_a_list_void_is_not_told_member_by_member(truth: DatabaseTruth, heap: ListRows) -> None:
    heap.page(heap.task("t", 1), people(3))
    since = heap.version
    heap.empty(5)
    assert not (await updated(truth, heap, since)).is_whole
    since = heap.version
    snapshot = heap.task("s", 7, mode="snapshot")
    heap.page(snapshot, people(2))
    heap.end(snapshot, "complete")
    assert not (await updated(truth, heap, since)).is_whole
    assert await members(truth, await head_of(truth, heap)) == people(2)
    since = heap.version
    late = heap.task("late", 6, mode="snapshot")
    heap.page(late, people(9))
    heap.end(late, "complete")  # void itself
    assert (await updated(truth, heap, since)).is_whole


async def test_more_than_can_be_told_is_not_told_member_by_member(rows: Rows, heap: ListRows) -> None:
    truth = DatabaseTruth(rows, most_named=10)
    since = heap.version
    heap.page(heap.task("t", 1), people(11))
    update = await updated(truth, heap, since)
    assert (update.is_whole, update.add) == (False, ())


async def test_a_version_that_was_never_written_is_not_told_of(truth: DatabaseTruth, heap: ListRows) -> None:
    heap.page(heap.task("t", 1), people(1))
    first = heap.version
    heap.page(heap.task("u", 2), people(1))
    for known in (Version(0, b""), first, heap.version):
        assert await truth.wrote(ACCOUNT, heap.name, known)
        assert await truth.update(ACCOUNT, heap.name, known, 0) is not None
    for number, chain in ((1, heap.version.chain), (2, first.chain), (3, b"x" * 8), (0, b"x" * 8)):
        assert not await truth.wrote(ACCOUNT, heap.name, Version(number, chain))
        assert await truth.update(ACCOUNT, heap.name, Version(number, chain), 0) is None
    assert await truth.update(ACCOUNT, "unknown", first, 0) is None


async def test_a_version_whose_facts_are_forgotten_or_folded_is_told_as_a_whole(
    truth: DatabaseTruth, rows: Rows, heap: ListRows
) -> None:
    first = heap.version
    heap.page(heap.task("t", 1), people(2))
    second = heap.version
    heap.page(heap.task("u", 2), people(1, start=2))
    third = heap.version
    fold(rows, heap)
    for since in (first, second):
        assert not (await updated(truth, heap, since)).is_whole
    assert (await updated(truth, heap, third)).is_whole
    rows.run("DELETE FROM facts WHERE version = 1")
    assert not (await updated(truth, heap, first)).is_whole
    assert await members(truth, await head_of(truth, heap)) == people(3)


async def test_an_update_takes_out_who_was_erased_since(truth: DatabaseTruth, rows: Rows, heap: ListRows) -> None:
    heap.page(heap.task("t", 1), people(3))
    number = erase(rows, people(1)[0], 5)
    update = await updated(truth, heap, heap.version, number - 1)
    assert (update.is_whole, update.add, update.remove) == (True, [], people(1))
    assert update.head.erasure == number
    assert (await updated(truth, heap, heap.version, number)).remove == []
    heap.page(heap.task("again", 6), people(1))
    update = await updated(truth, heap, Version(0, b""), number - 1)
    assert sorted(update.add) == people(3)
    finish_erasure(rows, number)
    assert not (await updated(truth, heap, heap.version, number - 1)).is_whole
    assert (await updated(truth, heap, heap.version, number)).is_whole


async def test_pages_that_come_while_a_list_is_read_make_it_no_other(
    truth: DatabaseTruth, rows: Rows, heap: ListRows, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cohort_sync.truth.state.whole_lists._MOST_PER_READ", 1)
    heap.page(heap.task("t", 1), people(40))
    fold(rows, heap)
    heap.page(heap.task("u", 2), [], people(5))
    head = await head_of(truth, heap)
    found: set[bytes] = set()
    async with contextlib.aclosing(truth.members(head)) as slices:
        async for slice_ in slices:
            if not found:
                heap.page(heap.task("v", 3, now=YOUNG), people(60, start=38), now=YOUNG)
                fold(rows, heap)  # what came before: into other partitions
            assert not found & set(slice_)
            found |= set(slice_)
    update = await updated(truth, heap, head.version)
    assert (found | set(update.add)) - set(update.remove) == set(people(93, start=5))
    assert await members(truth, update.head) == people(93, start=5)


async def test_a_list_that_is_void_meanwhile_is_not_read_to_its_end(truth: DatabaseTruth, heap: ListRows) -> None:
    heap.page(heap.task("t", 1), people(40))
    head = await head_of(truth, heap)
    heap.page(heap.task("u", 2), people(50))
    assert await members(truth, head) == people(50)  # as of a later moment
    heap.empty(5)
    with pytest.raises(StaleHeadError):
        await members(truth, head)


async def test_heads_come_the_smallest_first_and_none_of_a_deleted_list(truth: DatabaseTruth, rows: Rows) -> None:
    sizes = (30, 0, 10, 20)
    lists = [ListRows(rows, f"list_of_{size}") for size in sizes]
    for one, size in zip(lists, sizes, strict=True):
        one.page(one.task("t", 1), people(size))
    fold(rows, lists[0])
    rows.run("UPDATE lists SET is_deleted = 1 WHERE id = :row", row=lists[1].row)
    heads = await truth.heads()
    assert [head.list_id for head in heads] == ["list_of_10", "list_of_20", "list_of_30"]
    assert heads[0].version == lists[2].version
    assert heads[0].description["source"] == "heap"
    assert await truth.head(ACCOUNT, "list_of_0") is None
    assert await truth.update(ACCOUNT, "list_of_0", Version(0, b""), 0) is None
    assert await truth.wrote(ACCOUNT, "list_of_0", lists[1].version)


async def test_the_registry_names_lists_and_aliases(truth: DatabaseTruth, rows: Rows) -> None:
    one, deleted = ListRows(rows, "one"), ListRows(rows, "two")
    rows.run("UPDATE lists SET is_deleted = 1 WHERE id = :row", row=deleted.row)
    rows.insert("aliases", account=ACCOUNT, alias="seven", list=one.row)
    rows.insert("aliases", account=ACCOUNT, alias="eight", list=deleted.row)
    rows.run("UPDATE installation SET registry = 9")
    state = await truth.registry()
    assert (state.database, state.number) == ("installation", 9)
    assert list(state.lists) == [(ACCOUNT, "one")]
    assert state.aliases == {f"{ACCOUNT}:seven": "one"}


async def test_sizes_of_lists_and_of_snapshots_that_do_not_count_yet(
    truth: DatabaseTruth, rows: Rows, heap: ListRows
) -> None:
    heap.page(heap.task("t", 1), people(30))
    assert await truth.size_of(heap.row) == 30
    fold(rows, heap)
    heap.page(heap.task("u", 2), people(2, start=29), people(1))
    assert await truth.size_of(heap.row) == 30
    snapshot = heap.task("s", 3, mode="snapshot")
    heap.page(snapshot, people(20))
    heap.page(snapshot, people(20, start=10), people(1))
    assert await truth.size_of_snapshot(snapshot) == 29
    assert await truth.size_of(heap.row) == 30


async def test_damage_is_told_and_concerns_its_list_alone(truth: DatabaseTruth, rows: Rows, heap: ListRows) -> None:
    other = ListRows(rows)
    for one in (heap, other):
        one.page(one.task("t", 1), people(3))
    since = heap.version
    heap.page(heap.task("u", 2), people(3))
    rows.run("UPDATE facts SET body_digest = x'00' WHERE list = :row AND version = 2", row=heap.row)
    with pytest.raises(DamagedError, match=f"page 2 of list {heap.row} is damaged"):
        await truth.update(ACCOUNT, heap.name, since, 0)
    with pytest.raises(DamagedError):
        await members(truth, await head_of(truth, heap))
    assert await members(truth, await head_of(truth, other)) == people(3)


async def test_many_lists_are_known_within_a_bound(rows: Rows) -> None:
    truth = DatabaseTruth(rows, view_bytes=20_000)
    lists = [ListRows(rows) for _ in range(50)]
    for _ in range(2):
        for one in lists:
            since = one.version
            one.page(one.task(f"t{since.number}", 5 - since.number), people(3))
            assert (await updated(truth, one, since)).is_whole
            assert await truth.holds(ACCOUNT, one.name, people(4)) == [True, True, True, False]
    kept = truth._views._kept
    assert sum(view.size for view in kept.values()) <= 20_000
    assert 1 < len(kept) < 50


async def test_a_finished_erasure_leaves_nothing_of_the_person_in_memory(
    truth: DatabaseTruth, rows: Rows, heap: ListRows
) -> None:
    heap.page(heap.task("t", 1), people(3))
    fold(rows, heap)
    number = erase(rows, people(1)[0], 5)
    assert await truth.holds(ACCOUNT, heap.name, people(3)) == [False, True, True]
    await erase_from_lists(rows, people(1)[0], 5)
    finish_erasure(rows, number)
    truth.forget_persons()
    assert await truth.holds(ACCOUNT, heap.name, people(3)) == [False, True, True]
    assert truth._erased._known is not None
    assert not truth._erased._known.unfinished
    assert all(people(1)[0] not in kept for kept, _ in truth._views.partitions._kept.values())
