"""What was acknowledged is there, whenever the process was killed."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

from sqlalchemy import select

from cohort_sync.truth.database import FILE_NAME, connect_reading
from cohort_sync.truth.tables import FACTS
from tests.cohort_sync.truth.facts_in_tests import members_of, opened
from tests.support.processes import ROOT

if TYPE_CHECKING:
    from pathlib import Path

_KILLS = (1, 40, 150)  # after so many acknowledgements


async def test_a_kill_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    acknowledged: set[int] = set()
    for count in _KILLS:
        first = max(acknowledged, default=-1) + 100
        acknowledged |= _numbers_until_killed(tmp_path, first, count)
        # Who only reads, with nobody writing, finds the same.
        with connect_reading(tmp_path / FILE_NAME) as connection:
            assert {f"u{number}" for number in acknowledged} <= members_of(connection)
    async with opened(tmp_path) as written:
        members = await written.members()
        assert {f"u{number}" for number in acknowledged} <= members
        versions = [version for (version,) in await written.rows(select(FACTS.c.version).order_by(FACTS.c.version))]
        assert versions == list(range(1, len(versions) + 1))
        await written.page("after", add=["after"])


def _numbers_until_killed(data_dir: Path, first: int, count: int) -> set[int]:
    command = [sys.executable, "-m", "tests.cohort_sync.truth.acknowledging_process", str(data_dir), str(first)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(count)]
        process.kill()
        lines += process.stdout.read().splitlines(keepends=True)
    return {int(line) for line in lines if line.endswith("\n")}
