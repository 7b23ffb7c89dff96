"""Administration over the database, beside what is asked of it over HTTP."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cohort_sync import database_administration
from cohort_sync.database_administration import DatabaseAdministration
from cohort_sync.truth.erasing import erase_from_lists
from tests.cohort_sync.truth.facts_in_tests import opened

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


async def test_erasures_that_wait_for_the_store_are_searched_for_once_and_waited_for_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    searched: list[bytes] = []
    waits: list[int] = []
    is_away = True

    async def erase(database: Any, person: bytes, at: int) -> Any:
        searched.append(person)
        return await erase_from_lists(database, person, at)

    async def cleansed(number: int, seconds: float) -> bool:
        if seconds:
            waits.append(number)
        return not is_away

    monkeypatch.setattr(database_administration, "erase_from_lists", erase)
    async with opened(tmp_path) as written:
        await written.page("task", add=["a", "b", "c", "d"])
        administration = DatabaseAdministration(
            written.database,
            written.facts,
            None,  # type: ignore[arg-type] # nobody asks it
            stale_after=1.0,
            project=None,  # type: ignore[arg-type] # no page is projected
            cleansed=cleansed,
            forget_persons=lambda: None,
        )
        receipts = [await administration.erase(person, actor="tests") for person in "abc"]
        assert [(receipt["lists"], receipt["outstanding"]) for receipt in receipts] == [(1, ["store"])] * 3
        assert searched == [b"a", b"b", b"c"]
        assert waits == [1, 2, 3]
        is_away = False
        assert (await administration.erase("d", actor="tests"))["outstanding"] == []
        assert searched == [b"a", b"b", b"c", b"d"]
        assert await administration.finish_erasures() == {}
