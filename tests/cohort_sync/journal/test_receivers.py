"""Several receivers under one directory, and receivers that are killed."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from typing import TYPE_CHECKING

from cohort_sync.journal import Journal, read, verify
from tests.cohort_sync.journal.journals import files_of, payloads, write
from tests.support.processes import ROOT, environment

if TYPE_CHECKING:
    from pathlib import Path


def endless_writer(directory: Path, name: str) -> subprocess.Popen[bytes]:
    program = [sys.executable, "-m", "tests.cohort_sync.journal.endless_writer", str(directory), name]
    return subprocess.Popen(program, stdout=subprocess.PIPE, cwd=ROOT, env=environment({}))


def lines_of(program: subprocess.Popen[bytes], count: int) -> list[bytes]:
    assert program.stdout is not None
    return [program.stdout.readline().strip() for _ in range(count)]


def kill(program: subprocess.Popen[bytes]) -> list[bytes]:
    """The rest of what it said."""
    assert program.stdout is not None
    program.kill()
    lines = program.stdout.readlines()
    program.wait()
    program.stdout.close()
    return [line.strip() for line in lines if line.endswith(b"\n")]


def test_every_acknowledged_record_outlives_a_kill(tmp_path: Path) -> None:
    acknowledged: list[bytes] = []
    for turn in range(4):
        program = endless_writer(tmp_path, f"run{turn}")
        acknowledged += lines_of(program, 50 + turn * 150)
        acknowledged += kill(program)
        assert program.returncode == -9
        found = [payload.partition(b" ")[0] for payload in payloads(tmp_path)]
        assert set(found) >= set(acknowledged)
        assert len(found) == len(set(found))
        # At most what was under way is there besides: one record of each sender and run.
        assert len(found) <= len(acknowledged) + 8 * (turn + 1)
    assert [path.name for path in tmp_path.iterdir()] == ["receiver-1"]
    write(tmp_path, [b"after"])
    assert all(report.sound and report.sealed and not report.torn for report in verify(tmp_path))


def test_two_receivers_write_apart(tmp_path: Path) -> None:
    programs = [endless_writer(tmp_path, name) for name in ("a", "b")]
    first_lines = [lines_of(program, 100) for program in programs]
    alive = {payload.partition(b" ")[0] for payload in payloads(tmp_path)}
    acknowledged = [lines + kill(program) for lines, program in zip(first_lines, programs, strict=True)]
    assert alive.issuperset(first_lines[0] + first_lines[1])
    by_receiver: dict[str, set[bytes]] = {}
    for entry in read(tmp_path):
        by_receiver.setdefault(entry.receiver, set()).add(entry.payload.partition(b" ")[0])
    assert set(by_receiver) == {"receiver-1", "receiver-2"}
    for lines in acknowledged:
        assert any(set(lines) <= found for found in by_receiver.values())


async def test_a_free_directory_is_taken_again(tmp_path: Path) -> None:
    first, second, third = (Journal.open(tmp_path) for _ in range(3))
    for number, journal in enumerate((first, second, third)):
        await journal.append(b"%d" % number)
    await second.aclose()
    again = Journal.open(tmp_path)
    assert [journal.receiver for journal in (first, third, again)] == ["receiver-1", "receiver-3", "receiver-2"]
    await again.append(b"again")
    for journal in (first, third, again):
        await journal.aclose()
    assert sorted(payloads(tmp_path)) == [b"0", b"1", b"2", b"again"]


async def test_files_of_receivers_that_are_gone_are_dropped_and_rewritten_too(tmp_path: Path) -> None:
    first, alive, gone = (Journal.open(tmp_path) for _ in range(3))
    for journal in (first, alive, gone):
        await journal.append(b"%s" % journal.receiver.encode())
    await gone.aclose()
    assert await first.rewrite(bytes.upper) == 2
    assert payloads(tmp_path) == [b"RECEIVER-1", b"receiver-2", b"RECEIVER-3"]
    assert await first.drop_before(1 << 50) == 2
    assert payloads(tmp_path) == [b"receiver-2"]
    await asyncio.gather(first.aclose(), alive.aclose())


def test_files_are_for_their_owner_alone(tmp_path: Path) -> None:
    umask = os.umask(0)
    try:
        write(tmp_path / "journal", [b"member " * 100])
    finally:
        os.umask(umask)
    [path] = files_of(tmp_path / "journal")
    assert (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == (0o600, 0o700)


async def test_records_are_read_in_the_order_of_writing_whoever_wrote_them(tmp_path: Path) -> None:
    async with Journal.open(tmp_path) as first, Journal.open(tmp_path) as second:
        for number in range(6):
            await (first, second)[number % 2].append(b"%d" % number)
            await asyncio.sleep(0.003)  # times count in milliseconds
        assert payloads(tmp_path) == [b"0", b"1", b"2", b"3", b"4", b"5"]
