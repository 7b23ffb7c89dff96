"""Lists: their names, which are always to be had, and aliases, which hide none."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from sqlalchemy import select

from cohort_sync.truth.facts import Segment
from cohort_sync.truth.tables import ALIASES, INSTALLATION, LISTS
from foundation.errors import BadRequestError, ConflictError, NotFoundError
from tests.cohort_sync.truth.facts_in_tests import HOUR

if TYPE_CHECKING:
    from tests.cohort_sync.truth.facts_in_tests import Written


async def named(written: Written, segment_id: str, name: str, account: str = "123456", at: int = 0) -> str:
    segment = Segment(account, "heap", segment_id, name)
    accepted = await written.page(f"task {segment_id[:9]} {at}", add=["u1"], segment=segment, at=at)
    return accepted.list_id


async def aliases(written: Written) -> dict[str, str]:
    found = select(ALIASES.c.alias, LISTS.c.name).join(LISTS, LISTS.c.id == ALIASES.c.list)
    return {row.alias: row.name for row in await written.rows(found)}


async def registry(written: Written) -> int:
    [(number,)] = await written.rows(select(INSTALLATION.c.registry))
    return int(number)


async def test_a_list_is_named_after_its_segment_for_good(written: Written) -> None:
    assert await named(written, "7", "Premium Users") == "heap_premium_users"
    changes = await registry(written)
    assert await named(written, "7", "Renamed", at=1) == "heap_premium_users"
    assert await registry(written) == changes
    [label] = await written.rows(select(LISTS.c.segment_name))
    assert label == ("Renamed",)
    assert await named(written, "7", "Premium Users", account="other") == "heap_premium_users"


async def test_there_is_always_a_free_name(written: Written) -> None:
    assert await named(written, "7", "42") == "heap_42"
    assert await named(written, "42", "東京") == "heap_42_2"
    assert await named(written, "42 ", "東京") == "heap_42_"
    assert await named(written, "8", "42") == "heap_42_8"
    assert await named(written, "*", "") == "heap__"
    assert await named(written, "/", "") == "heap___2"
    assert await named(written, "東", "") == "heap___3"
    long = "x" * 256
    first, second = await named(written, long, ""), await named(written, f"{long[:-1]}y", "")
    assert len(first) <= 256
    assert len(second) <= 256
    assert first != second


async def test_the_segments_own_id_is_an_alias_where_that_is_free(written: Written) -> None:
    await named(written, "7", "One")
    await named(written, "heap_one", "Two")
    await named(written, "a b", "Three")
    assert await aliases(written) == {"7": "heap_one"}
    await named(written, "9", "Nine")
    await written.facts.set_aliases("123456", "heap_one", ["10"], actor="me")
    await named(written, "10", "Ten")
    assert await aliases(written) == {"9": "heap_nine", "10": "heap_one"}


async def test_an_alias_never_hides_a_list(written: Written) -> None:
    await named(written, "7", "Victim")
    await named(written, "heap_victim", "Attacker")
    assert "heap_victim" not in await aliases(written)
    with pytest.raises(ConflictError):
        await written.facts.set_aliases("123456", "heap_attacker", ["heap_victim"], actor="me")
    await written.facts.set_aliases("123456", "heap_attacker", ["heap_new"], actor="me")
    assert await named(written, "8", "New") == "heap_new_8"


async def test_aliases_belong_to_one_list_and_go_with_it(written: Written) -> None:
    await named(written, "1", "A")
    await named(written, "2", "B")
    await written.facts.set_aliases("123456", "heap_a", ["vwo:1", "vwo:1", "1"], actor="me")
    with pytest.raises(ConflictError):
        await written.facts.set_aliases("123456", "heap_b", ["vwo:1"], actor="me")
    assert await aliases(written) == {"vwo:1": "heap_a", "1": "heap_a", "2": "heap_b"}
    await written.facts.delete("123456", "vwo:1", actor="me")
    await written.facts.set_aliases("123456", "2", ["vwo:1"], actor="me")
    assert await aliases(written) == {"vwo:1": "heap_b"}
    with pytest.raises(BadRequestError):
        await written.facts.set_aliases("123456", "heap_b", ["a b"], actor="me")


async def test_a_deleted_list_is_made_again_by_what_is_placed_later(written: Written) -> None:
    await named(written, "7", "Premium Users", at=1000)
    deleted = await written.facts.delete("123456", "heap_premium_users", actor="me")
    assert deleted.is_deleted
    with pytest.raises(NotFoundError):
        await written.facts.set_mode("123456", "heap_premium_users", "snapshot", actor="me")
    segment = Segment("123456", "heap", "7", "Premium Users")
    replay = await written.page("task 7 1000", add=["u1"], segment=segment, at=1000)
    late = await written.page("late", add=["u2"], segment=segment, at=900)
    drained = await written.drained(5000, segment)
    assert replay.is_deleted
    assert late.is_deleted
    assert drained.is_deleted
    later = await written.page("new", add=["u3"], segment=segment, at=6000)
    assert later.list_id == "heap_premium_users"
    assert later.registry
    assert not later.is_deleted
    assert await written.members(segment) == {"u3"}
    assert await aliases(written) == {"7": "heap_premium_users"}


async def test_a_list_that_was_made_again_by_a_task_that_then_moved_is_deleted(written: Written) -> None:
    segment = Segment("123456", "heap", "7", "Premium Users")
    await written.page("a", add=["u1"], segment=segment, at=1000)
    await written.facts.delete("123456", "7", actor="me")
    again = await written.page("b", add=["u2"], segment=segment, at=2000)
    assert not again.is_deleted
    moved = await written.page("b", add=["u2"], segment=segment, at=500)
    assert moved.is_deleted
    assert moved.registry
    assert await written.members(segment) == set()


async def test_a_list_takes_its_name_back_when_it_is_made_again(written: Written) -> None:
    await named(written, "1", "A")
    await named(written, "2", "B")
    await written.facts.delete("123456", "heap_a", actor="me")
    await written.facts.set_aliases("123456", "heap_b", ["heap_a"], actor="me")
    assert await named(written, "3", "A") == "heap_a_3"
    assert await named(written, "1", "A", at=HOUR) == "heap_a"
    assert "heap_a" not in await aliases(written)
