"""Closed files: packed, dropped by age, rewritten for an erasure."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

import pytest
import zstandard

from cohort_sync.journal import Journal, Limits, read, verify
from tests.cohort_sync.journal.journals import (
    ONE_FILE_EACH,
    append_apart,
    files_of,
    payloads,
    start_and_stop,
    with_damage,
    write,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_SKIPPABLE = b"\x50\x2a\x4d\x18"


def plain_bytes(path: Path) -> Iterator[bytes]:
    """The file, and what a reader of zstd that knows nothing of ours makes of it."""
    data = path.read_bytes()
    yield data
    while data.startswith(_SKIPPABLE):
        data = data[8 + int.from_bytes(data[4:8], "little") :]
        yield zstandard.ZstdDecompressor().decompressobj().decompress(data)


def left_aside(directory: Path) -> list[Path]:
    return list(directory.rglob("*.temporary"))


def without_bob(payload: bytes) -> bytes | None:
    return payload.replace(b"bob", b"---") if b"bob" in payload else None


def test_closed_files_are_packed_where_that_pays(tmp_path: Path) -> None:
    write(tmp_path, [b"member " * 1000, os.urandom(7000), b"tiny"], ONE_FILE_EACH)
    assert [report.packed for report in verify(tmp_path)] == [True, False, False]
    assert files_of(tmp_path)[0].stat().st_size < 1000
    assert [len(payload) for payload in payloads(tmp_path)] == [7000, 7000, 4]


def test_a_packed_file_is_one_that_zstd_reads(tmp_path: Path) -> None:
    write(tmp_path, [b"member " * 1000])
    *_, plain = plain_bytes(files_of(tmp_path)[0])
    assert plain.startswith(b"cg-jrnl\n")
    assert b"member " * 1000 in plain


def test_files_that_a_crash_left_plain_are_packed_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        patched.setattr("cohort_sync.journal.shelf.Shelf.tidy", lambda *_: None)
        patched.setattr("cohort_sync.journal.shelf.Shelf._seal_waiting", lambda *_: None)
        write(tmp_path, [b"member " * 1000] * 3, ONE_FILE_EACH)
    assert not any(report.packed or report.sealed for report in verify(tmp_path))
    start_and_stop(tmp_path)
    assert all(report.packed for report in verify(tmp_path))
    assert payloads(tmp_path) == [b"member " * 1000] * 3


async def test_whole_files_are_dropped_by_age(tmp_path: Path) -> None:
    async with Journal.open(tmp_path, ONE_FILE_EACH) as journal:
        times = await append_apart(journal, tmp_path, 4)
        assert await journal.drop_before(times[2]) == 2
        assert payloads(tmp_path) == [b"2", b"3"]
        assert (journal.status().files, journal.status().records) == (2, 2)
        assert await journal.drop_before(times[2]) == 0
        # The file that is written goes, too, when all of it is old.
        assert await journal.drop_before(times[3] + 1) == 2
        await journal.append(b"4")
    assert payloads(tmp_path) == [b"4"]


async def test_a_file_with_one_newer_record_is_kept(tmp_path: Path) -> None:
    async with Journal.open(tmp_path) as journal:
        await journal.append(b"old")
        await asyncio.sleep(0.002)
        await journal.append(b"new")
        assert await journal.drop_before(list(read(tmp_path))[1].time_ms) == 0
    assert payloads(tmp_path) == [b"old", b"new"]


async def test_rewrite_replaces_payloads_in_open_plain_and_packed_files(tmp_path: Path) -> None:
    records = [b"alice bob " * 500, b"bob" + os.urandom(3000), b"carol", b"carol and dave", b"bob again"]
    async with Journal.open(tmp_path, Limits(file_bytes=3000)) as journal:
        for record in records:
            await journal.append(record)
        before = list(read(tmp_path))
        untouched = files_of(tmp_path)[-1]
        assert await journal.rewrite(without_bob) == 3
        after = list(read(tmp_path))
        assert await journal.rewrite(without_bob) == 0
        await journal.append(b"and on")
    assert [entry.payload for entry in after] == [record.replace(b"bob", b"---") for record in records]
    assert [(entry.file, entry.time_ms) for entry in after] == [(entry.file, entry.time_ms) for entry in before]
    assert payloads(tmp_path)[-1] == b"and on"
    assert untouched.exists()
    assert all(report.sound and report.sealed for report in verify(tmp_path))
    assert not any(b"bob" in b"".join(plain_bytes(path)) for path in files_of(tmp_path))
    assert left_aside(tmp_path) == []


async def test_an_erasure_that_fails_leaves_whole_files(tmp_path: Path) -> None:
    seen = []

    def failing(payload: bytes) -> bytes | None:
        seen.append(payload)
        if payload == b"bob 2":
            raise KeyError(payload)
        return without_bob(payload)

    async with Journal.open(tmp_path, ONE_FILE_EACH) as journal:
        for number in range(4):
            await journal.append(b"bob %d" % number)
        with pytest.raises(KeyError):
            await journal.rewrite(failing)
        assert payloads(tmp_path) == [b"--- 0", b"--- 1", b"bob 2", b"bob 3"]
        assert await journal.rewrite(without_bob) == 2
    assert payloads(tmp_path) == [b"--- %d" % number for number in range(4)]
    assert left_aside(tmp_path) == []


async def test_an_erasure_leaves_no_damaged_place_that_may_name_the_person(tmp_path: Path) -> None:
    async with Journal.open(tmp_path) as journal:
        for number in range(3):
            await journal.append(b"bob %d" % number)
    [path] = files_of(tmp_path)
    path.write_bytes(path.read_bytes().replace(b"bob 1", b"bob ?"))
    async with Journal.open(tmp_path) as journal:
        assert await journal.rewrite(without_bob) == 2
        found, damage = with_damage(tmp_path)
        assert await journal.rewrite(without_bob) == 0
    assert found == [b"--- 0", b"--- 2"]
    assert b"bob" not in path.read_bytes()
    # Still told afterwards: a record is missing there.
    assert [told.torn for told in damage] == [False]
    assert with_damage(tmp_path)[1] == damage


async def test_appending_goes_on_during_a_rewrite(tmp_path: Path) -> None:
    async with Journal.open(tmp_path, Limits(file_bytes=2000)) as journal:
        for number in range(50):
            await journal.append(b"bob %d" % number * 20)
        rewriting = asyncio.create_task(journal.rewrite(without_bob))
        await asyncio.gather(*(journal.append(b"later bob %d" % number) for number in range(50)))
        assert await rewriting >= 50
        assert await journal.rewrite(without_bob) <= 50
    assert len(payloads(tmp_path)) == 100
    assert not any(b"bob" in payload for payload in payloads(tmp_path))
