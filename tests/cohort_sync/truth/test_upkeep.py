"""What is dropped with time, and what must not be."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import delete, func, select

from cohort_sync.truth.facts import log as fact_log
from cohort_sync.truth.tables import AUDIT, FACTS, REPEATS, TASKS
from tests.cohort_sync.truth.facts_in_tests import DAY

if TYPE_CHECKING:
    import pytest

    from tests.cohort_sync.truth.facts_in_tests import Written


async def test_pages_are_known_for_thirty_days(written: Written) -> None:
    await written.page("a", add=["u1"])
    written.clocks.pass_ms(30 * DAY)
    assert await written.facts.forget() == 0
    assert (await written.page("a", add=["u1"], at=30 * DAY)).is_known
    written.clocks.pass_ms(1)
    assert await written.facts.forget() == 1
    assert not await written.rows(select(REPEATS))


async def test_a_task_goes_when_its_facts_are_in_a_base_and_its_pages_forgotten(written: Written) -> None:
    await written.page("a", add=["u1"], at=0)
    await written.page("b", add=["u2"], at=1)
    await written.page("c", add=["u3"], at=2)
    await written.database.write(lambda connection: connection.execute(delete(FACTS).where(FACTS.c.task != 2)))
    written.clocks.pass_ms(30 * DAY + 1)
    await written.facts.forget()
    assert [name for (name,) in await written.rows(select(TASKS.c.name))] == ["b", "c"]


async def test_the_audit_keeps_its_newest_lines(written: Written, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fact_log, "AUDIT_ROWS", 3)
    await written.page("a", add=["u1"])
    for _ in range(5):
        await written.facts.drain("123456", "7", actor="me")
    await written.facts.forget()
    assert await written.rows(select(func.min(AUDIT.c.id), func.count())) == [(3, 3)]
