"""Pages: which are known, which run they belong to, where their tasks are placed."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import insert, select

from attribute_lists.bodies import Names
from cohort_sync.truth.facts import Drain, Page, Segment
from cohort_sync.truth.tables import BASES, FACTS, LISTS, REPEATS
from foundation.errors import BadRequestError
from tests.cohort_sync.truth.facts_in_tests import DAY, HOUR, SEGMENT, T0, opened

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.cohort_sync.truth.facts_in_tests import Written

AMPLITUDE = Segment("123456", "amplitude", "c1", "Power users")


async def test_a_page_is_there_with_its_task_and_a_version(written: Written) -> None:
    accepted = await written.page(add=["u1", "u2"], remove=["u3"], skipped=2)
    assert (accepted.account, accepted.list_id) == ("123456", "heap_premium_users")
    assert accepted.version.number == 1
    assert len(accepted.version.chain) == 8
    assert not accepted.is_known
    assert accepted.registry
    assert await written.members() == {"u1", "u2"}
    [row] = await written.rows(select(LISTS))
    assert (row.version, row.chain) == accepted.version
    assert (row.tasks, row.added, row.removed, row.skipped) == (1, 2, 1, 2)


async def test_a_known_page_writes_nothing_however_it_is_signed_later(written: Written) -> None:
    first = await written.page(add=["u1"])
    commits = (await written.rows(select(FACTS)), await written.rows(select(REPEATS)))
    for later in range(20):
        known = await written.page(add=["u1"], at=later * HOUR)
        assert known.is_known
        assert known.version == first.version
    assert (await written.rows(select(FACTS)), await written.rows(select(REPEATS))) == commits


async def test_replays_of_a_known_page_leave_the_log_of_the_database_as_it_is(written: Written) -> None:
    await written.page(add=["u1"])
    log = written.database.path.with_name(f"{written.database.path.name}-wal")
    before = log.read_bytes()
    for _ in range(20):
        await written.page(add=["u1"])
    assert log.read_bytes() == before


async def test_a_known_page_that_is_signed_earlier_moves_its_task(written: Written) -> None:
    await written.page("a", add=["u1"], at=2 * HOUR)
    await written.page("b", remove=["u1"], at=HOUR)
    assert await written.members() == {"u1"}
    moved = await written.page("a", add=["u1"], at=0)
    assert not moved.is_known
    assert moved.version.number == 3
    assert await written.members() == set()
    assert await written.kinds() == ["page", "page", "move"]
    [detail] = await written.rows(select(FACTS.c.detail).where(FACTS.c.kind == "move"))
    assert detail == (f'{{"moved_from": {T0 + 2 * HOUR}}}',)
    assert (await written.page("a", add=["u1"], at=0)).is_known


async def test_a_page_that_is_signed_earlier_moves_its_task(written: Written) -> None:
    await written.page("a", add=["u1"], at=1000, total=2)
    await written.page("a", add=["u2"], at=500, number=2, total=2)
    await written.page("a", add=["u3"], at=1500, total=2)
    assert await written.places() == [500]
    facts = await written.rows(select(FACTS.c.place, FACTS.c.detail).order_by(FACTS.c.version))
    assert facts == [(T0 + 1000, None), (T0 + 500, f'{{"moved_from": {T0 + 1000}}}'), (T0 + 1500, None)]


async def test_a_page_that_comes_again_after_a_newer_task_has_no_effect(written: Written) -> None:
    """The store may have lost the first one: the truth has not."""
    await written.page("a", add=["w"], at=1000)
    await written.page("b", remove=["w"], at=2000)
    assert (await written.page("a", add=["w"], at=3000)).is_known
    assert await written.members() == set()


async def test_a_name_that_is_used_again_is_another_task(written: Written) -> None:
    await written.page("daily", add=["u1"])
    await written.page("daily", add=["u2"], at=DAY)
    assert await written.places() == [0, DAY]
    assert [task.run for task in await written.tasks()] == [0, 1]


async def test_a_second_body_within_the_hour_belongs_to_the_same_task(written: Written) -> None:
    await written.page("task", add=["u1"], total=2)
    await written.page("task", add=["u2"], at=HOUR, total=2)
    assert await written.places() == [0]


async def test_pages_that_add_and_pages_that_remove_may_have_the_same_number(written: Written) -> None:
    await written.page("task", add=["u1"], total=2)
    await written.page("task", remove=["u2"], at=2 * HOUR, total=2)
    await written.page("task", add=["u3"], at=2 * HOUR, number=2, total=2)
    assert await written.places() == [0]
    await written.page("task", remove=["u4"], at=4 * HOUR, number=2, total=2)
    assert await written.places() == [0, 4 * HOUR]


async def test_add_remove_add_under_one_name_on_three_days(written: Written) -> None:
    await written.page("daily", add=["u1"])
    await written.page("daily", remove=["u1"], at=DAY)
    await written.page("daily", add=["u1"], at=2 * DAY)
    assert await written.members() == {"u1"}
    assert await written.places() == [0, DAY, 2 * DAY]


async def test_a_body_of_an_earlier_run_is_known_until_an_hour_after_the_present_one(written: Written) -> None:
    await written.page("daily", add=["u1"])
    await written.page("daily", add=["u2"], at=DAY)
    assert (await written.page("daily", add=["u1"], at=DAY + HOUR)).is_known
    again = await written.page("daily", add=["u1"], at=DAY + HOUR + 1)
    assert not again.is_known
    assert await written.places() == [0, DAY, DAY + HOUR + 1]
    assert (await written.page("daily", add=["u1"], at=DAY + HOUR + 1)).is_known


async def test_a_delivery_that_comes_again_belongs_to_the_run_that_it_was_signed_in(written: Written) -> None:
    await written.page("daily", add=["u1"])
    await written.page("daily", remove=["u1"], at=DAY)
    await written.page("daily", add=["u1"], at=2 * DAY)
    assert (await written.page("daily", add=["u1"], at=0)).is_known
    assert not (await written.page("daily", add=["u1"], at=-1)).is_known
    assert (await written.page("daily", add=["u1"], at=HOUR)).is_known
    assert not (await written.page("daily", add=["u1"], at=2 * DAY - 1)).is_known
    assert await written.places() == [-1, DAY, 2 * DAY - 1]


async def test_a_body_of_an_earlier_run_begins_another_one_though_the_present_one_lacks_its_number(
    written: Written,
) -> None:
    await written.page("daily", add=["u1"], total=2)
    await written.page("daily", add=["u2"], number=2, total=2)
    await written.page("daily", add=["u3"], total=2, at=DAY)
    await written.page("daily", add=["u2"], number=2, total=2, at=DAY + 2 * HOUR)
    assert await written.places() == [0, DAY, DAY + 2 * HOUR]


async def test_a_late_page_of_an_earlier_run_does_not_move_the_present_one(written: Written) -> None:
    await written.page("daily", add=["u1"], total=2)
    await written.page("daily", add=["u3"], at=DAY, total=2)
    await written.page("daily", add=["u2"], number=2, at=1000, total=2)
    assert await written.places() == [0, DAY]
    assert [task.pages for task in await written.tasks()] == [2, 1]


async def test_a_page_is_known_by_the_name_that_its_sender_gives(written: Written) -> None:
    await written.page("computed-1", add=["u1"], name="message-1", segment=AMPLITUDE, body="one")
    known = await written.page("computed-1", add=["u1"], name="message-1", segment=AMPLITUDE, body="other bytes")
    assert known.is_known
    same_body = await written.page("computed-1", add=["u1"], name="message-2", segment=AMPLITUDE, body="one")
    assert not same_body.is_known


async def test_a_sender_that_names_nothing_has_no_memory_of_bodies(written: Written) -> None:
    for add, remove in ((["u1"], []), ([], ["u1"]), (["u1"], [])):
        accepted = await written.page(None, add=add, remove=remove, at=None, segment=AMPLITUDE)
        assert not accepted.is_known
    assert await written.members(AMPLITUDE) == {"u1"}
    assert not await written.rows(select(REPEATS))
    assert len(await written.tasks()) == 3


async def test_pages_without_times_are_placed_by_arrival_and_never_before_the_senders_clock(written: Written) -> None:
    await written.page("heap", add=["u1"], at=5000)
    written.clocks.pass_ms(700)
    await written.page(None, add=["u1"], at=None, segment=AMPLITUDE)
    await written.page(None, remove=["u1"], at=None, segment=AMPLITUDE)
    assert await written.places() == [5000, 5700, 5701]


async def test_the_first_page_of_a_session_without_times_is_its_place(written: Written) -> None:
    for number in (1, 2):
        await written.page("session", add=[f"u{number}"], at=None, number=number, total=2, segment=AMPLITUDE)
    [task] = await written.tasks()
    assert (task.pages, task.total, task.state) == (2, 2, "complete")


async def test_a_page_from_before_the_base_counts_just_above_it(written: Written) -> None:
    first = await written.page("old", add=["u1"], total=2)
    await written.database.write(lambda connection: connection.execute(insert(BASES), base(first.row, T0 + 1000)))
    late = await written.page("old", add=["u2"], number=2, total=2, at=10)
    assert not late.is_known
    await written.page("older", add=["u3"], at=-DAY)
    assert await written.places() == [0, 1001, 1001]
    assert (await written.page("old", add=["u1"], total=2, at=-5)).is_known
    await written.page("old", remove=["u2"], number=2, total=2, at=20)
    assert await written.places() == [0, 1001, 1001]
    assert await written.members() == {"u1", "u3"}


def base(row: int, at: int) -> dict[str, object]:
    rest = {"rank": 0, "task": "x", "run": 0, "members": 0, "body": b"", "digest": b""}
    return {"list": row, "partition": 0, "partitions": 1, "at": at, **rest}


async def test_versions_number_every_fact_and_tell_histories_apart(tmp_path: Path) -> None:
    chains: list[bytes] = []
    for history in (["u1", "u2"], ["u1", "u2"], ["u1", "u3"]):
        async with opened(tmp_path / str(len(chains))) as written:
            for position, member in enumerate(history):
                accepted = await written.page(member, add=[member], at=position)
            assert accepted.version.number == 2
            chains.append(accepted.version.chain)
    assert chains[0] == chains[1] != chains[2]


async def test_pages_of_many_lists_and_senders_at_once_are_all_there(written: Written) -> None:
    segments = [Segment("123456", "heap", str(number), f"Segment {number}") for number in range(5)]
    pages = [(segment, number) for number in range(40) for segment in segments]
    before = written.database.commits
    versions = await asyncio.gather(
        *(
            written.page("task", add=[f"u{number}"], number=number + 1, total=40, at=number, segment=segment)
            for segment, number in pages
        )
    )
    assert written.database.commits - before < len(pages) / 4
    for segment in segments:
        assert await written.members(segment) == {f"u{number}" for number in range(40)}
    by_list: dict[str, list[int]] = {}
    for accepted in versions:
        by_list.setdefault(accepted.list_id, []).append(accepted.version.number)
    assert all(sorted(numbers) == list(range(1, 41)) for numbers in by_list.values())


async def test_a_page_that_is_refused_takes_nobody_along(written: Written) -> None:
    long = "x" * 1025
    pages = [written.page("task", add=["u1" if number % 2 else long], number=number + 1) for number in range(20)]
    answers = await asyncio.gather(*pages, return_exceptions=True)
    assert all(isinstance(answer, BadRequestError) for answer in answers[::2])
    assert not any(isinstance(answer, BaseException) for answer in answers[1::2])
    assert len(await written.kinds()) == 10


@pytest.mark.parametrize("segment_id", ["7 0", "/", "#", "a\nb", "\x1b[0m", "\x00", "x" * 256, "東京", "'; DROP"])
async def test_a_segment_id_may_be_any_text(written: Written, segment_id: str) -> None:
    segment = Segment("123456", "heap", segment_id)
    first = await written.page("a", add=["u1"], segment=segment)
    second = await written.page("b", add=["u2"], segment=segment, at=1)
    assert first.list_id == second.list_id
    assert await written.members(segment) == {"u1", "u2"}


def test_what_can_be_no_page_is_refused_at_every_entrance() -> None:
    names = Names([b"u1"], [])
    refused: list[Callable[[], object]] = [
        lambda: Segment("12 34", "heap", "7"),
        lambda: Segment("123456", "heap", ""),
        lambda: Segment("123456", "heap", "x" * 257),
        lambda: Segment("123456", "heap", "\ud800"),
        lambda: Page(segment=SEGMENT, names=names, digest=b"d", task=""),
        lambda: Page(segment=SEGMENT, names=names, digest=b"d", number=0),
        lambda: Page(segment=SEGMENT, names=names, digest=b"d", total=1_000_001),
        lambda: Page(segment=SEGMENT, names=names, digest=b""),
        lambda: Page(segment=SEGMENT, names=names, digest=b"d", signed_at=-1),
        lambda: Drain(SEGMENT, 1 << 60),
    ]
    for make in refused:
        with pytest.raises(BadRequestError):
            make()


async def test_what_is_signed_far_ahead_is_refused_and_moves_no_clock(written: Written) -> None:
    await written.page("a", add=["u1"])
    for ahead in (
        Drain(SEGMENT, T0 + DAY + 1),
        Page(segment=SEGMENT, names=Names([], []), digest=b"d", signed_at=1 << 50),
    ):
        with pytest.raises(BadRequestError):
            await (written.facts.accept_drain(ahead) if isinstance(ahead, Drain) else written.facts.accept_page(ahead))
    assert written.facts.clock.lower_bound() == T0


async def test_drains_are_points_in_the_order_known_by_their_time(written: Written) -> None:
    await written.page("a", add=["u1"], at=0)
    await written.drained(1000)
    await written.page("b", add=["u2"], at=1000)
    await written.page("c", add=["u3"], at=999)
    assert await written.members() == {"u2"}
    assert (await written.drained(1000)).is_known
    assert (await written.drained(500)).is_known
    assert not (await written.drained(1001)).is_known
    assert await written.members() == set()
