"""What operators do: each at its place, by the senders' clock and not by ours, with its line of the audit."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from sqlalchemy import select

from cohort_sync.truth.descriptions import newest_changes
from cohort_sync.truth.facts import Rules, Segment
from cohort_sync.truth.tables import LISTS
from foundation.errors import BadRequestError, NotFoundError
from tests.cohort_sync.truth.facts_in_tests import DAY, HOUR, T0, Clocks, opened

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cohort_sync.truth.facts_in_tests import Written

NAME = ("123456", "heap_premium_users")


async def test_a_drain_voids_what_was_signed_before_it(written: Written) -> None:
    await written.page("a", add=["u1"], at=1000)
    written.clocks.pass_ms(500)
    await written.facts.drain(*NAME, actor="me")
    assert await written.places() == [1000, 1500]
    await written.page("late", add=["u2"], at=1400)
    assert await written.members() == set()
    await written.page("later", add=["u3"], at=1501)
    assert await written.members() == {"u3"}


async def test_a_wall_clock_that_is_ahead_voids_nothing(written: Written) -> None:
    await written.page("a", add=["u1"], at=0)
    written.clocks.wall += 2 * HOUR
    await written.facts.drain(*NAME, actor="me")
    await written.page("b", add=["u2"], at=HOUR)
    assert await written.members() == {"u2"}
    await written.facts.delete(*NAME, actor="me")
    await written.page("c", add=["u3"], at=HOUR + 1)
    assert await written.members() == {"u3"}


async def test_pushes_that_were_signed_long_ago_leave_the_freshest_to_tell_the_time(written: Written) -> None:
    await written.page("a", add=["u1"], at=1000)
    written.clocks.pass_ms(200)
    await written.page("old", add=["u2"], at=-HOUR)
    written.clocks.pass_ms(200)
    await written.facts.drain(*NAME, actor="me")
    assert await written.places() == [-HOUR, 1000, 1400]


async def test_the_place_of_a_command_does_not_go_back_with_a_restart(tmp_path: Path) -> None:
    async with opened(tmp_path) as written:
        await written.page("a", add=["u1"], at=1000)
        written.clocks.pass_ms(500)
        await written.facts.drain(*NAME, actor="me")
    async with opened(tmp_path, Clocks(monotonic=5.0)) as written:
        await written.facts.import_members(*NAME, [b"u2"], actor="me")
        await written.facts.drain(*NAME, actor="me")
        await written.facts.import_members(*NAME, [b"u3"], actor="me")
        assert await written.places() == [1000, 1500, 1500, 1500, 1500]
        assert await written.members() == {"u3"}


async def test_a_drain_comes_after_what_was_placed_by_arrival(written: Written) -> None:
    segment = Segment("123456", "amplitude", "c1", "Premium users")
    for _ in range(3):
        await written.page(None, add=["u1"], at=None, segment=segment)
    await written.facts.drain("123456", "c1", actor="me")
    assert await written.members(segment) == set()


async def test_modes_hold_for_tasks_that_begin_later(written: Written) -> None:
    await written.page("a", add=["u1"], total=2)
    await written.facts.set_mode(*NAME, "snapshot", actor="me")
    await written.page("a", add=["u2"], number=2, total=2)
    await written.page("b", add=["u3"], at=1)
    assert [task.mode for task in await written.tasks()] == ["delta", "snapshot"]
    await written.page("c", add=["u4"], at=2, mode="delta")
    assert await written.members() == {"u3", "u4"}
    with pytest.raises(BadRequestError):
        await written.facts.set_mode(*NAME, "both", actor="me")  # type: ignore[arg-type] # what the type forbids is refused, too


async def test_activation(tmp_path: Path) -> None:
    async with opened(tmp_path, rules=Rules(is_active=False)) as written:
        await written.page(add=["u1"])
        assert await written.rows(select(LISTS.c.is_active)) == [(0,)]
        await written.facts.set_active(*NAME, True, actor="me")
        await written.page("b", add=["u2"])
        assert await written.rows(select(LISTS.c.is_active)) == [(1,)]


async def test_an_import_adds_and_one_that_replaces_is_the_list(written: Written) -> None:
    await written.page("a", add=["u1"], at=0)
    await written.facts.import_members(*NAME, [b"u2", b"u3"], actor="me")
    assert await written.members() == {"u1", "u2", "u3"}
    await written.facts.import_members(*NAME, [b"u4"], actor="me", replace=True)
    assert await written.members() == {"u4"}
    await written.facts.import_members(*NAME, [], actor="me", replace=True)
    assert await written.members() == set()
    with pytest.raises(NotFoundError):
        await written.facts.import_members("123456", "heap_other", [b"u1"], actor="me")


async def test_an_import_may_take_the_place_of_its_export(written: Written) -> None:
    await written.page("a", add=["u1"], at=0)
    await written.page("b", add=["u2"], at=2000)
    await written.facts.import_members(*NAME, [b"u9"], actor="me", replace=True, place=T0 + 1000)
    assert await written.members() == {"u9", "u2"}
    with pytest.raises(BadRequestError):
        await written.facts.import_members(*NAME, [b"u9"], actor="me", place=written.clocks.wall + DAY + 1)


async def test_a_large_import_goes_in_pages(written: Written) -> None:
    await written.page("a", add=["u1"], at=0)
    members = [b"m%d" % number for number in range(120_000)]
    await written.facts.import_members(*NAME, members, actor="me", replace=True)
    assert await written.members() == {member.decode() for member in members}
    assert (await written.kinds()).count("page") == 4


async def test_every_command_is_audited(written: Written) -> None:
    await written.page("a", add=["u1"], at=0)
    await written.facts.set_mode(*NAME, "snapshot", actor="ann")
    await written.facts.set_active(*NAME, False, actor="ann")
    await written.facts.set_aliases(*NAME, ["vip"], actor="ann")
    await written.facts.import_members("123456", "vip", [b"u2"], actor="bob")
    await written.facts.drain(*NAME, actor="bob")
    await written.facts.erase(b"u1", actor="bob")
    await written.facts.delete(*NAME, actor="bob")
    changes = await written.database.read(lambda connection: newest_changes(connection, 100))
    assert [(change["who"], change["what"]) for change in reversed(changes)] == [
        ("ann", "mode"),
        ("ann", "activate"),
        ("ann", "aliases"),
        ("bob", "import"),
        ("bob", "drain"),
        ("bob", "erase"),
        ("bob", "delete"),
    ]
    assert {change["list"] for change in changes} == {"heap_premium_users", ""}
    assert "u1" not in str(changes)


async def test_a_command_on_a_list_that_is_none_changes_nothing(written: Written) -> None:
    await written.page("a", add=["u1"], at=DAY)
    with pytest.raises(NotFoundError):
        await written.facts.drain("123456", "heap_other", actor="me")
    with pytest.raises(BadRequestError):
        await written.facts.drain("12 34", "heap_premium_users", actor="me")
    with pytest.raises(BadRequestError):
        await written.facts.drain("123456", "a\nb", actor="me")
    assert await written.kinds() == ["page"]
