"""Snapshots: when they are complete, which ones wait for an operator, and what time ends."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from sqlalchemy import select

from cohort_sync.truth.facts import Rules
from cohort_sync.truth.tables import FACTS
from foundation.errors import NotFoundError, UnavailableError
from tests.cohort_sync.truth.facts_in_tests import DAY, HOUR, opened

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

    from tests.cohort_sync.truth.facts_in_tests import Written

NAME = ("123456", "heap_premium_users")
MINUTE = 60_000


async def snapshot(written: Written, task: str, *, total: int = 1, **page: Any) -> None:
    await written.page(task, total=total, mode="snapshot", **page)


async def states(written: Written) -> list[str]:
    return [task.state for task in await written.tasks() if task.mode == "snapshot"]


async def with_members(written: Written, live: int, staged: int, **page: Any) -> None:
    """A snapshot that comes to a list of `live` members, and has `staged`."""
    accepted = await written.page("before", add=["u1", "u2"], at=0)
    written.list_sizes[accepted.row] = live
    await snapshot(written, "sync", total=2, add=["u3"], at=1000, **page)
    [task] = [task.id for task in await written.tasks() if task.name == "sync"]
    written.snapshot_sizes[task] = staged
    await snapshot(written, "sync", total=2, number=2, add=["u4"], at=1000, **page)


async def test_a_snapshot_counts_when_pages_that_add_cover_all_numbers(written: Written) -> None:
    await written.page("before", add=["u1"], at=0)
    await snapshot(written, "sync", total=2, add=["u2"], at=1)
    await snapshot(written, "sync", total=2, number=1, remove=["u3"], at=1)
    await snapshot(written, "sync", total=2, number=2, remove=["u4"], at=1)
    assert await states(written) == ["open"]
    assert await written.members() == {"u1"}
    await snapshot(written, "sync", total=2, number=2, add=["u5"], at=1)
    assert await states(written) == ["complete"]
    assert await written.members() == {"u2", "u5"}
    assert await written.kinds() == ["page"] * 5 + ["end"]


async def test_all_pages_together_count_after_a_quiet_time(written: Written) -> None:
    await snapshot(written, "sync", total=2, add=["u1"])
    await snapshot(written, "sync", total=2, number=2, remove=["u2"])
    written.clocks.pass_ms(15 * MINUTE - 1)
    assert not await written.facts.finish_quiet_snapshots()
    written.clocks.pass_ms(1)
    [ended] = await written.facts.finish_quiet_snapshots()
    assert ended.version.number == 3
    assert await states(written) == ["complete"]
    assert not await written.facts.finish_quiet_snapshots()


async def test_a_page_of_a_snapshot_that_counts_counts_at_once(written: Written) -> None:
    await snapshot(written, "sync", add=["u1"])
    await snapshot(written, "sync", number=2, add=["u2"])
    assert await written.members() == {"u1", "u2"}
    assert await states(written) == ["complete"]


async def test_one_that_would_shrink_the_list_too_much_waits(written: Written) -> None:
    await with_members(written, live=100, staged=49)
    assert await states(written) == ["held"]
    assert await written.members() == {"u1", "u2"}
    [detail] = await written.rows(select(FACTS.c.detail).where(FACTS.c.kind == "end"))
    assert detail == ('{"live": 100, "staged": 49, "state": "held"}',)
    accepted = await written.facts.accept_snapshot(*NAME, actor="me")
    assert accepted.version.number == 5
    assert await states(written) == ["accepted"]
    assert await written.members() == {"u3", "u4"}
    assert 1000 in await written.places()


async def test_one_that_shrinks_it_less_does_not(written: Written) -> None:
    await with_members(written, live=100, staged=50)
    assert await states(written) == ["complete"]


async def test_a_held_one_may_be_refused(written: Written) -> None:
    await with_members(written, live=100, staged=1)
    await written.facts.refuse_snapshot(*NAME, actor="me")
    assert await states(written) == ["refused"]
    assert await written.members() == {"u1", "u2"}
    for command in (written.facts.accept_snapshot, written.facts.refuse_snapshot):
        with pytest.raises(NotFoundError):
            await command(*NAME, actor="me")


async def test_a_held_one_is_refused_after_thirty_days(written: Written) -> None:
    await with_members(written, live=100, staged=1)
    written.clocks.pass_ms(30 * DAY - 1)
    assert not await written.facts.finish_quiet_snapshots()
    written.clocks.pass_ms(1)
    assert len(await written.facts.finish_quiet_snapshots()) == 1
    assert await states(written) == ["refused"]


async def test_one_that_is_void_is_never_held(written: Written) -> None:
    accepted = await written.page("before", add=["u1"], at=0)
    written.list_sizes[accepted.row] = 100
    await written.drained(5000)
    await snapshot(written, "sync", add=["u2"], at=1000)
    assert await states(written) == ["complete", "complete"]
    assert await written.members() == set()


async def test_one_that_became_void_waits_for_nobody(written: Written) -> None:
    await with_members(written, live=100, staged=1)
    await written.drained(5000)
    with pytest.raises(NotFoundError):
        await written.facts.accept_snapshot(*NAME, actor="me")


async def test_one_that_is_made_of_removes_alone_empties_no_list(written: Written) -> None:
    await written.page("before", add=["u1"], at=0)
    await snapshot(written, "sync", remove=["u2"], at=1)
    written.clocks.pass_ms(HOUR)
    assert not await written.facts.finish_quiet_snapshots()
    assert await written.members() == {"u1"}
    written.clocks.pass_ms(4 * DAY)
    await written.facts.finish_quiet_snapshots()
    assert await states(written) == ["given_up"]


async def test_one_that_never_ends_is_given_up(written: Written) -> None:
    await snapshot(written, "sync", total=2, add=["u1"])
    written.clocks.pass_ms(4 * DAY - 1)
    assert not await written.facts.finish_quiet_snapshots()
    written.clocks.pass_ms(1)
    assert len(await written.facts.finish_quiet_snapshots()) == 1
    assert await states(written) == ["given_up"]
    await snapshot(written, "sync", total=2, number=2, add=["u2"], at=4 * DAY)
    assert await states(written) == ["given_up", "open"]


@pytest.mark.parametrize("error", [UnavailableError("not now"), ValueError("damaged")])
async def test_whoever_can_tell_no_size_leaves_the_page_accepted_and_the_snapshot_for_later(
    written: Written, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    async def away(_: int) -> int:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(written.facts, "_size_of", away)
        accepted = await written.page("sync", add=["u1"], mode="snapshot")
        assert accepted.version.number == 1
        assert await states(written) == ["open"]
    await written.facts.finish_quiet_snapshots()
    assert await states(written) == ["complete"]


async def test_an_operator_may_allow_any_shrinking(tmp_path: Path) -> None:
    async with opened(tmp_path, rules=Rules(max_shrink=1.0)) as written:
        await with_members(written, live=100, staged=0)
        assert await states(written) == ["complete"]


async def test_a_snapshot_whose_name_is_used_again_is_another_one(written: Written) -> None:
    await snapshot(written, "daily", add=["u1", "u2"])
    await snapshot(written, "daily", add=["u2", "u3"], at=24 * HOUR)
    assert await states(written) == ["complete", "complete"]
    assert await written.members() == {"u2", "u3"}
