"""The state of lists as the projection asks for it, against the naive model and in its particulars."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings

from cohort_sync.truth import bases
from cohort_sync.truth.state import DatabaseTruth
from tests.cohort_sync.truth.histories import Event, Player, histories
from tests.cohort_sync.truth.rows import Rows

if TYPE_CHECKING:
    from collections.abc import Iterator


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
