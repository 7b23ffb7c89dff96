"""Disks that are full, read-only or broken: refused, nothing half acknowledged, well again by itself."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import resource
import subprocess
from typing import TYPE_CHECKING

import pytest

from cohort_sync.journal import Journal, Limits
from foundation.errors import ConfigurationError, UnavailableError
from tests.cohort_sync.journal.journals import files_of, payloads, upkeep_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of one megabyte."""
    path = tmp_path / "disk"
    path.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", path], check=False, capture_output=True)
    if mounted.returncode:
        pytest.skip("no right to mount a file system here")
    yield path
    subprocess.run(["umount", "--lazy", path], check=True)


async def refused(journal: Journal, record: bytes) -> None:
    with pytest.raises(UnavailableError) as error:
        await journal.append(record)
    assert error.value.reason == "journal_unavailable"


def fill_up(ballast: Path) -> None:
    with ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(4096))


def remount(path: Path, mode: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{mode}", path], check=True)


@pytest.mark.parametrize("file_bytes", [64 << 20, 60_000])
async def test_a_full_disk(small_disk: Path, file_bytes: int) -> None:
    """Filled by somebody else, at a file's end and in its middle, with small and with large records."""
    ballast = small_disk / "ballast"
    acknowledged = []
    async with Journal.open(small_disk / "journal", Limits(file_bytes=file_bytes)) as journal:
        for turn in range(5):
            for number in range(10):
                record = b"%d %d" % (turn, number) + os.urandom(9_000)
                await journal.append(record)
                acknowledged.append(record)
            fill_up(ballast)
            await refused(journal, os.urandom(20_000))
            await refused(journal, os.urandom(200_000))
            assert (journal.status().failing, journal.status().last_error) == (True, "No space left on device")
            ballast.unlink()
            await journal.append(b"room again %d" % turn)
            acknowledged.append(b"room again %d" % turn)
            assert not journal.status().failing
        assert payloads(small_disk / "journal") == acknowledged
    assert payloads(small_disk / "journal") == acknowledged


async def test_a_group_that_does_not_fit_is_refused_as_a_whole(small_disk: Path) -> None:
    async with Journal.open(small_disk / "journal") as journal:
        await journal.append(b"before")
        results = await asyncio.gather(*(journal.append(os.urandom(300_000)) for _ in range(8)), return_exceptions=True)
        accepted = [result is None for result in results]
        assert not all(accepted)
        assert all(result is None or isinstance(result, UnavailableError) for result in results)
        await journal.append(b"after")
        found = payloads(small_disk / "journal")
    assert [len(record) for record in found] == [6, *[300_000] * sum(accepted), 5]


async def test_a_read_only_disk(small_disk: Path) -> None:
    async with Journal.open(small_disk / "journal") as journal:
        await journal.append(b"before")
        await journal.rotate()
        await upkeep_of(journal)
        remount(small_disk, "ro")
        await refused(journal, b"meanwhile")
        with pytest.raises(UnavailableError):
            await journal.rewrite(lambda _: b"changed")
        with pytest.raises(UnavailableError):
            await journal.drop_before(1 << 50)
        assert payloads(small_disk / "journal") == [b"before"]
        remount(small_disk, "rw")
        await journal.append(b"after")
        assert payloads(small_disk / "journal") == [b"before", b"after"]


def test_no_journal_can_be_opened_on_a_read_only_disk(small_disk: Path) -> None:
    remount(small_disk, "ro")
    with pytest.raises(ConfigurationError, match="JOURNAL=off"):
        Journal.open(small_disk / "journal")


async def test_a_write_cut_short_is_taken_back(tmp_path: Path) -> None:
    """A limit on the size of files: the first part of the group is written, then an error comes."""
    async with Journal.open(tmp_path) as journal:
        await journal.append(b"before")
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, limits[1]))
        try:
            await refused(journal, os.urandom(100_000))
            assert files_of(tmp_path)[0].stat().st_size < 1000
            await journal.append(b"small")
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        assert payloads(tmp_path) == [b"before", b"small"]
    assert len(files_of(tmp_path)) == 1


async def test_a_file_whose_sync_failed_is_never_written_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(descriptor: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO), descriptor)

    async with Journal.open(tmp_path) as journal:
        await journal.append(b"before")
        with monkeypatch.context() as patched:
            patched.setattr(os, "fdatasync", failing)
            for _ in range(3):
                await refused(journal, b"lost")
        await journal.append(b"after")
        await upkeep_of(journal)
        assert payloads(tmp_path) == [b"before", b"after"]
        assert len(files_of(tmp_path)) == 2
        assert journal.status().last_error == "Input/output error"


async def test_a_file_that_the_disk_failed_to_take_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(descriptor: int, buffers: list[bytes], offset: int) -> int:
        os.pwrite(descriptor, b"".join(buffers), offset)  # all of it, to be taken back
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    async with Journal.open(tmp_path) as journal:
        await journal.append(b"before")
        with monkeypatch.context() as patched:
            patched.setattr(os, "pwritev", failing)
            await refused(journal, b"lost")
        assert payloads(tmp_path) == [b"before"]
        await journal.append(b"after")
        await upkeep_of(journal)
        assert payloads(tmp_path) == [b"before", b"after"]
    assert len(files_of(tmp_path)) == 2


async def test_a_tail_that_cannot_be_cut_off_is_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(descriptor: int, _: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO), descriptor)

    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    async with Journal.open(tmp_path) as journal:
        await journal.append(b"before")
        with monkeypatch.context() as patched:
            patched.setattr(os, "ftruncate", failing)
            resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, limits[1]))
            try:
                await refused(journal, bytes(100_000))
            finally:
                resource.setrlimit(resource.RLIMIT_FSIZE, limits)
            await journal.append(b"after")
            await upkeep_of(journal)
        await upkeep_of(journal)  # now it can be
        assert payloads(tmp_path) == [b"before", b"after"]


async def test_a_mistake_of_ours_reaches_the_caller_and_stops_nobody_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Journal.open(tmp_path) as journal:
        with monkeypatch.context() as patched:
            patched.setattr("cohort_sync.journal.pen.sync_directory", lambda _: 1 / 0)
            with pytest.raises(ZeroDivisionError):
                await journal.append(b"x")
        await journal.append(b"y")
    assert payloads(tmp_path) == [b"y"]
