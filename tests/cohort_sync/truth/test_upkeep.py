"""What is dropped with time, and what must not be."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from sqlalchemy import func, insert, select, update

from cohort_sync.truth.facts import log as fact_log
from cohort_sync.truth.tables import AUDIT, BASES, FACTS, REPEATS
from tests.cohort_sync.truth.facts_in_tests import DAY, T0

if TYPE_CHECKING:
    from tests.cohort_sync.truth.facts_in_tests import Written


async def test_pages_are_known_for_thirty_days(written: Written) -> None:
    await written.page("a", add=["u1"])
    written.clocks.pass_ms(30 * DAY)
    assert await written.facts.forget() == 0
    assert (await written.page("a", add=["u1"], at=30 * DAY)).is_known
    written.clocks.pass_ms(1)
    assert await written.facts.forget() == 1
    assert not await written.rows(select(REPEATS))


def folded_to(row: int, at: int, partitions: int = 1) -> dict[str, object]:
    rest = {"rank": 0, "task": "x", "run": 0, "members": 0, "body": b"", "digest": b""}
    return {"list": row, "partition": 0, "partitions": partitions, "at": at, **rest}


@pytest.mark.parametrize("partitions", [1, 2])
async def test_a_task_goes_when_the_base_has_it_and_its_pages_are_forgotten(written: Written, partitions: int) -> None:
    for position, name in enumerate("abcd"):
        accepted = await written.page(name, add=[f"u{name}"], at=position)
    await written.drained(10)
    base = folded_to(accepted.row, T0 + 2, partitions)
    await written.database.write(lambda connection: connection.execute(insert(BASES), base))
    without_bodies = update(FACTS).where(FACTS.c.place <= T0 + 2).values(body=None)
    await written.database.write(lambda connection: connection.execute(without_bodies))
    written.clocks.pass_ms(30 * DAY + 1)
    await written.facts.forget()
    is_whole = partitions == 1
    assert [task.name for task in await written.tasks()] == ["c", "d", ""] if is_whole else ["a", "b", "c", "d", ""]
    assert len(await written.members()) == 0
    # The version of the last one is still known, and bodies that no base has stay.
    assert [version for (version,) in await written.rows(select(FACTS.c.version))] == [4, 5]
    assert await written.facts.forget() == 0


async def test_the_version_that_a_set_may_show_is_known_for_as_long_as_nothing_comes(written: Written) -> None:
    for position in range(5):
        await written.page(f"task {position}", add=["u1"], at=position)
    await written.database.write(lambda connection: connection.execute(update(FACTS).values(body=None)))
    written.clocks.pass_ms(31 * DAY)
    await written.page("new", add=["u2"], at=31 * DAY)
    await written.facts.forget()
    assert [version for (version,) in await written.rows(select(FACTS.c.version))] == [5, 6]


async def test_the_audit_keeps_its_newest_lines(written: Written, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fact_log, "AUDIT_ROWS", 3)
    await written.page("a", add=["u1"])
    for _ in range(5):
        await written.facts.drain("123456", "7", actor="me")
    await written.facts.forget()
    assert await written.rows(select(func.min(AUDIT.c.id), func.count())) == [(3, 3)]
