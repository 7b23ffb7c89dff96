"""Write journals, and look at them as they lie on disk."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from cohort_sync.journal import Damage, Journal, Limits, Status, read

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

ONE_FILE_EACH = Limits(file_age=0.0)  # every group begins a file of its own


def write(directory: Path, records: Iterable[bytes], limits: Limits | None = None) -> None:
    """Append one after the other, and close the journal when its upkeep is done with all files."""

    async def run() -> None:
        async with Journal.open(directory, limits) as journal:
            for record in records:
                await journal.append(record)
            await journal.rotate()
            await upkeep_of(journal)

    asyncio.run(run())


async def append_apart(journal: Journal, directory: Path, count: int) -> list[int]:
    """Append `0`, `1` and so on, no two in the same millisecond. Returns when that was."""
    for number in range(count):
        await journal.append(b"%d" % number)
        await asyncio.sleep(0.002)
    return [entry.time_ms for entry in read(directory)]


def start_and_stop(directory: Path) -> Status:
    """What a receiver finds when it starts, and leaves behind when its upkeep is done."""

    async def run() -> Status:
        async with Journal.open(directory) as journal:
            status = journal.status()
            await upkeep_of(journal)
            return status

    return asyncio.run(run())


async def upkeep_of(journal: Journal) -> None:
    """Done when the upkeep has done what was asked of it before."""
    await journal.drop_before(0)


def payloads(directory: Path, **options: int) -> list[bytes]:
    """All records; there must be no damage."""
    told: list[Damage] = []
    found = [entry.payload for entry in read(directory, damaged=told.append, **options)]
    assert told == []
    return found


def with_damage(directory: Path) -> tuple[list[bytes], list[Damage]]:
    told: list[Damage] = []
    return [entry.payload for entry in read(directory, damaged=told.append)], told


def files_of(directory: Path, receiver: int = 1) -> list[Path]:
    return sorted((directory / f"receiver-{receiver}").glob("*.journal"))
