"""Appending: on disk before it returns, many records with one sync."""

from __future__ import annotations

import asyncio
import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from cohort_sync.journal import Journal, Limits, NoJournal, Status, read, verify
from foundation.errors import UnavailableError
from tests.cohort_sync.journal.journals import ONE_FILE_EACH, append_apart, files_of, payloads, upkeep_of, write

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class SlowDisk:
    """`os.fdatasync` that waits to be let through; it keeps what was on disk when each sync ended."""

    def __init__(self, real: Callable[[int], None]) -> None:
        self.gate = threading.Event()
        self.begun = threading.Semaphore(0)
        self.on_disk: dict[str, bytes] = {}
        self._real = real

    def __call__(self, descriptor: int) -> None:
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        size = os.fstat(descriptor).st_size
        self.begun.release()
        assert self.gate.wait(30)
        self._real(descriptor)
        with path.open("rb") as file:
            self.on_disk[path.name] = file.read(size)

    async def sync_begun(self) -> None:
        assert await asyncio.to_thread(self.begun.acquire, timeout=30)


@pytest.fixture
def slow_disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[SlowDisk]:
    disk = SlowDisk(os.fdatasync)
    monkeypatch.setattr(os, "fdatasync", disk)
    yield disk
    disk.gate.set()


async def test_what_was_appended_is_read(tmp_path: Path) -> None:
    async with Journal.open(tmp_path / "a" / "journal") as journal:
        await journal.append(b"first")
        await journal.append(b"sec", b"", b"ond")
        await journal.append(b"")
        entries = list(read(tmp_path / "a" / "journal"))
    assert [entry.payload for entry in entries] == [b"first", b"second", b""]
    assert {entry.receiver for entry in entries} == {"receiver-1"}
    assert entries[0].offset < entries[1].offset
    assert entries[0].time_ms > 1_700_000_000_000


def test_nothing_is_read_where_nothing_was_written(tmp_path: Path) -> None:
    assert payloads(tmp_path / "nowhere") == []
    write(tmp_path, [])
    assert payloads(tmp_path) == []
    assert files_of(tmp_path) == []


async def test_an_append_waits_for_its_sync_and_those_that_come_meanwhile_share_the_next(
    tmp_path: Path, slow_disk: SlowDisk
) -> None:
    async with Journal.open(tmp_path) as journal:
        first = asyncio.create_task(journal.append(b"0"))
        await slow_disk.sync_begun()
        others = [asyncio.create_task(journal.append(b"%d" % number)) for number in range(1, 50)]
        await asyncio.sleep(0)
        assert not first.done()
        slow_disk.gate.set()
        await asyncio.gather(first, *others)
        status = journal.status()
    assert (status.written, status.syncs) == (50, 2)
    assert payloads(tmp_path) == [b"%d" % number for number in range(50)]


async def test_what_was_acknowledged_is_among_what_was_synced(tmp_path: Path, slow_disk: SlowDisk) -> None:
    """A power cut at any acknowledgement: only what a sync had covered is there, and zeros where the rest was."""
    slow_disk.gate.set()
    acknowledged: list[bytes] = []
    async with Journal.open(tmp_path / "journal", Limits(file_bytes=4000)) as journal:

        async def send(sender: int) -> None:
            for number in range(20):
                record = b"%d %d " % (sender, number) + os.urandom(100)
                await journal.append(record)
                acknowledged.append(record)
                after = tmp_path / "after" / str(len(acknowledged)) / "receiver-1"
                after.mkdir(parents=True)
                for name, data in list(slow_disk.on_disk.items()):
                    (after / name).write_bytes(data + bytes(len(acknowledged)))
                found = {entry.payload for entry in read(after.parent, damaged=lambda _: None)}
                assert found >= set(acknowledged)

        await asyncio.gather(*(send(sender) for sender in range(5)))


async def test_a_cancelled_append_harms_nobody(tmp_path: Path, slow_disk: SlowDisk) -> None:
    async with Journal.open(tmp_path) as journal:
        first = asyncio.create_task(journal.append(b"under way"))
        await slow_disk.sync_begun()
        waiting = [asyncio.create_task(journal.append(b"%d" % number)) for number in range(4)]
        await asyncio.sleep(0)
        for task in (first, waiting[1], waiting[2]):
            task.cancel()
        slow_disk.gate.set()
        results = await asyncio.gather(first, *waiting, return_exceptions=True)
        await journal.append(b"after")
    kept = [result is None for result in results]
    assert kept == [False, True, False, False, True]
    assert payloads(tmp_path) == [b"under way", b"0", b"3", b"after"]


async def test_the_event_loop_turns_while_the_disk_is_slow(tmp_path: Path, slow_disk: SlowDisk) -> None:
    async with Journal.open(tmp_path) as journal:
        task = asyncio.create_task(journal.append(b"x"))
        await slow_disk.sync_begun()
        for _ in range(100):
            await asyncio.sleep(0)
        assert not task.done()
        slow_disk.gate.set()
        await task


async def test_a_closed_journal_writes_what_waits_and_then_refuses(tmp_path: Path, slow_disk: SlowDisk) -> None:
    journal = Journal.open(tmp_path)
    tasks = [asyncio.create_task(journal.append(b"%d" % number)) for number in range(3)]
    await slow_disk.sync_begun()
    closing = asyncio.create_task(journal.aclose())
    slow_disk.gate.set()
    await asyncio.gather(closing, *tasks)
    with pytest.raises(UnavailableError) as refused:
        await journal.append(b"late")
    assert refused.value.reason == "journal_unavailable"
    await journal.aclose()
    assert payloads(tmp_path) == [b"0", b"1", b"2"]


async def test_files_are_closed_by_size_and_named_so_that_no_name_comes_twice(tmp_path: Path) -> None:
    async with Journal.open(tmp_path, Limits(file_bytes=1000)) as journal:
        for number in range(10):
            await journal.append(b"%d" % number * 400)
    assert len(files_of(tmp_path)) == 4
    names = {path.name for path in files_of(tmp_path)}
    async with Journal.open(tmp_path) as journal:
        await journal.append(b"next")
        assert await journal.drop_before(1 << 50) == 5
        await journal.append(b"again")
    assert not names & {path.name for path in files_of(tmp_path)}


async def test_files_are_closed_by_age(tmp_path: Path) -> None:
    async with Journal.open(tmp_path, ONE_FILE_EACH) as journal:
        for number in range(3):
            await journal.append(b"%d" % number)
    assert len(files_of(tmp_path)) == 3
    assert payloads(tmp_path) == [b"0", b"1", b"2"]


async def test_large_groups_are_split(tmp_path: Path) -> None:
    records = [os.urandom(50_000) for _ in range(40)] + [b"x"] * 3000
    async with Journal.open(tmp_path, Limits(group_bytes=100_000)) as journal:
        await asyncio.gather(*map(journal.append, records))
        assert journal.status().syncs >= 26
    assert payloads(tmp_path) == records


async def test_status_counts_what_is_there_and_what_was_done(tmp_path: Path) -> None:
    async with Journal.open(tmp_path) as journal:
        await journal.append(b"earlier")
    async with Journal.open(tmp_path) as journal:
        await upkeep_of(journal)
        before = journal.status()
        await asyncio.gather(*(journal.append(b"%d" % number) for number in range(5)))
        status = journal.status()
        on_disk = sum(path.stat().st_size for path in files_of(tmp_path))
        entries = list(read(tmp_path))
    assert (before.files, before.records, before.written) == (1, 1, 0)
    assert (status.receiver, status.files, status.records, status.written) == ("receiver-1", 2, 6, 5)
    assert status.bytes == on_disk
    assert (status.oldest_ms, status.newest_ms) == (entries[0].time_ms, entries[-1].time_ms)
    assert (status.torn, status.damaged, status.failing, status.last_error) == (0, 0, False, None)


def test_verify_reports_each_file(tmp_path: Path) -> None:
    write(tmp_path, [b"one", b"two"], ONE_FILE_EACH)
    write(tmp_path, [b"three"])
    reports = list(verify(tmp_path))
    assert [(report.records, report.sealed, report.sound, report.live) for report in reports] == [
        (1, True, True, False)
    ] * 3
    assert [report.file.newest for report in reports] == [False, False, True]


async def test_since_leaves_out_older_records(tmp_path: Path) -> None:
    async with Journal.open(tmp_path, ONE_FILE_EACH) as journal:
        times = await append_apart(journal, tmp_path, 3)
        assert payloads(tmp_path, since_ms=times[1]) == [b"1", b"2"]
        assert payloads(tmp_path, since_ms=times[2] + 1) == []


async def test_a_reader_follows_a_journal_that_is_written(tmp_path: Path) -> None:
    """It sees at least what was acknowledged before it began, in order, and no damage."""
    acknowledged: list[bytes] = []
    async with Journal.open(tmp_path, Limits(file_bytes=200_000)) as journal:

        async def send() -> None:
            for number in range(400):
                record = b"%d " % number + bytes(number * 10)
                await journal.append(record)
                acknowledged.append(record)

        sending = asyncio.create_task(send())
        while not sending.done():
            known = len(acknowledged)
            found = await asyncio.to_thread(payloads, tmp_path)
            assert found[:known] == acknowledged[:known]
            assert [record.partition(b" ")[0] for record in found] == [b"%d" % number for number in range(len(found))]
        await sending


async def test_no_journal_takes_everything() -> None:
    async with NoJournal() as journal:
        await journal.append(b"a", b"b")
        await journal.rotate()
        assert await journal.drop_before(1 << 50) == 0
        assert await journal.rewrite(lambda _: b"") == 0
        assert journal.status() == Status()


async def test_what_is_too_large_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cohort_sync.journal.layout.LARGEST_PAYLOAD", 10)
    async with Journal.open(tmp_path) as journal:
        with pytest.raises(ValueError, match="too large"):
            await journal.append(bytes(11))
        await journal.append(bytes(10))
