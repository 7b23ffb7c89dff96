"""Torn ends, flipped bits, foreign versions: told apart, told, and read around."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cohort_sync.journal import Journal, layout, read, verify
from cohort_sync.journal.sources import open_source
from cohort_sync.journal.walking import Gap, Record, walk
from foundation.errors import ConfigurationError
from tests.cohort_sync.journal.journals import ONE_FILE_EACH, files_of, payloads, start_and_stop, with_damage, write

if TYPE_CHECKING:
    from pathlib import Path

    from cohort_sync.journal.sources import Source

RECORDS = [b"first", b"second" * 5, b"third"]


@pytest.fixture
def _plain(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files stay unpacked."""
    monkeypatch.setattr("cohort_sync.journal.closed._WORTH_IT", 0)


def open_file_with(directory: Path, groups: list[list[bytes]]) -> Path:
    """A journal's file as a crash leaves it: each group written with one sync, no seal."""

    async def run() -> Path:
        journal = Journal.open(directory)
        for group in groups:
            await asyncio.gather(*map(journal.append, group))
        path = files_of(directory)[0]
        data = path.read_bytes()
        await journal.aclose()
        path.write_bytes(data)
        return path

    return asyncio.run(run())


@pytest.fixture
def crashed(tmp_path: Path) -> Path:
    return open_file_with(tmp_path, [[record] for record in RECORDS])


@pytest.mark.usefixtures("_plain")
def test_a_torn_last_record_at_every_byte(tmp_path: Path, crashed: Path) -> None:
    whole = crashed.read_bytes()
    last = list(read(tmp_path))[-1].offset
    for length in range(last + 1, len(whole)):
        crashed.write_bytes(whole[:length])
        assert payloads(tmp_path) == RECORDS[:2]
        [report] = verify(tmp_path)
        assert (report.records, report.torn, report.damage, report.live) == (2, 1, [], True)
        assert started(tmp_path) == (2, 1, 0)
        assert payloads(tmp_path) == RECORDS[:2]
        assert started(tmp_path) == (2, 0, 0)


def started(directory: Path) -> tuple[int, int, int]:
    """Records, torn writes and damaged places that a receiver finds when it starts."""
    status = start_and_stop(directory)
    return status.records, status.torn, status.damaged


@pytest.mark.parametrize("length", [0, 1, layout.HEADER_BYTES - 1, layout.HEADER_BYTES])
def test_a_file_that_was_hardly_begun(tmp_path: Path, crashed: Path, length: int) -> None:
    crashed.write_bytes(crashed.read_bytes()[:length])
    assert payloads(tmp_path) == []
    assert started(tmp_path)[2] == 0
    assert not crashed.exists()


@pytest.mark.parametrize("tail", [b"\0" * 5000, os.urandom(5000)], ids=["zeros", "old blocks"])
def test_a_torn_end_of_other_bytes(tmp_path: Path, crashed: Path, tail: bytes) -> None:
    """A power cut may leave the new size of a file, and not what was written."""
    crashed.write_bytes(crashed.read_bytes() + tail)
    assert payloads(tmp_path) == RECORDS
    assert started(tmp_path) == (3, 1, 0)


def test_records_go_on_behind_a_torn_end(tmp_path: Path, crashed: Path) -> None:
    crashed.write_bytes(crashed.read_bytes()[:-1])
    write(tmp_path, [b"next run"])
    assert payloads(tmp_path) == [*RECORDS[:2], b"next run"]


@pytest.mark.usefixtures("_plain")
def test_a_group_torn_in_its_middle_is_no_damage(tmp_path: Path) -> None:
    """The blocks of one group may reach the disk in any order; none of it was acknowledged."""
    group = [b"a" * 50, b"b" * 50, b"c" * 50]

    async def run() -> Path:
        journal = Journal.open(tmp_path)
        await journal.append(b"acknowledged")
        path = files_of(tmp_path)[0]
        await asyncio.gather(*map(journal.append, group))
        assert journal.status().syncs == 2
        data = path.read_bytes()
        await journal.aclose()
        path.write_bytes(data.replace(b"b" * 50, bytes(50)))
        return path

    path = asyncio.run(run())
    # Its first record came after the sync before it, and is whole; what follows the hole is left out.
    assert payloads(tmp_path) == [b"acknowledged", b"a" * 50]
    assert started(tmp_path) == (2, 1, 0)
    assert b"c" * 50 not in path.read_bytes()


@pytest.mark.usefixtures("_plain")
@pytest.mark.parametrize("sealed", [True, False])
def test_every_flipped_bit_in_the_middle_is_told_and_read_around(tmp_path: Path, crashed: Path, sealed: bool) -> None:
    if sealed:
        started(tmp_path)
    whole = crashed.read_bytes()
    [_, second, third] = [entry.offset for entry in read(tmp_path)]
    for place in range(second, third):
        crashed.write_bytes(whole[:place] + bytes([whole[place] ^ (1 << place % 8)]) + whole[place + 1 :])
        found, damage = with_damage(tmp_path)
        assert found == [RECORDS[0], RECORDS[2]]
        assert [(told.file, told.offset, told.torn) for told in damage] == [(crashed.name, second, False)]
        [report] = verify(tmp_path)
        assert (report.records, report.torn, len(report.damage)) == (2, 0, 1)
    assert started(tmp_path) == ((3, 0, 0) if sealed else (2, 0, 1))
    assert with_damage(tmp_path)[0] == [RECORDS[0], RECORDS[2]]


@pytest.mark.usefixtures("_plain")
def test_a_sealed_file_never_passes_for_torn(tmp_path: Path, crashed: Path) -> None:
    started(tmp_path)
    whole = crashed.read_bytes()
    place = whole.rindex(RECORDS[2])
    crashed.write_bytes(whole[:place] + b"?" + whole[place + 1 :])
    found, damage = with_damage(tmp_path)
    assert found == RECORDS[:2]
    assert [told.torn for told in damage] == [False]


@given(data=st.data())
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
def test_nothing_is_made_up_from_a_damaged_file(tmp_path: Path, crashed: Path, data: st.DataObject) -> None:
    """Whatever happens to the bytes: only records that were written, in order, and no exception but one."""
    whole = crashed.read_bytes()
    broken = bytearray(whole)
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, max(0, len(broken) - 1)))
        match data.draw(st.sampled_from(["flip", "cut", "zero", "insert", "repeat"])):
            case "flip":
                broken[place : place + 1] = bytes(byte ^ 16 for byte in broken[place : place + 1])
            case "cut":
                del broken[place:]
            case "zero":
                broken[place : place + 30] = bytes(len(broken[place : place + 30]))
            case "insert":
                broken[place:place] = data.draw(st.binary(min_size=1, max_size=20))
            case _:
                del broken[place : place + 7]
    crashed.write_bytes(bytes(broken))
    try:
        found, _ = with_damage(tmp_path)
    except ConfigurationError:
        found = []
    assert [record for record in RECORDS if record in found] == found
    list(verify(tmp_path))
    crashed.write_bytes(whole)


class Racing:
    """A file that is written while it is read: the first look at a place finds it empty yet, the next one does not."""

    def __init__(self, source: Source, late: int) -> None:
        self.header = source.header
        self.summary = source.summary
        self.packed = source.packed
        self._source = source
        self._late = {late}

    def read(self, offset: int, size: int) -> bytes:
        data = self._source.read(offset, size)
        if offset in self._late:
            self._late.remove(offset)
            return bytes(len(data))
        return data

    def rest(self, offset: int) -> bytes:
        return self._source.rest(offset)


def test_what_was_written_while_it_was_read_is_no_damage(tmp_path: Path, crashed: Path) -> None:
    for entry in read(tmp_path):
        for late in (entry.offset, entry.offset + layout.HEAD_BYTES):
            with open_source(crashed) as source:
                found = list(walk(Racing(source, late)))
            # The last one has no successor to prove it: a reader takes it for torn, and it is, at that moment.
            expected = RECORDS if entry.payload != RECORDS[-1] else RECORDS[:-1]
            assert [item.payload for item in found if isinstance(item, Record)] == expected
            assert all(item.torn for item in found if isinstance(item, Gap))


def test_what_looks_like_a_frame_inside_a_record_is_none(tmp_path: Path) -> None:
    """Members come from anywhere: a body that holds a whole journal file, and then is damaged, makes up no record."""
    forged = open_file_with(tmp_path / "forged", [[b"forged"]]).read_bytes()
    path = open_file_with(tmp_path / "real", [[b"before" + forged + b"behind"], [b"last"]])
    path.write_bytes(path.read_bytes().replace(b"behind", b"BEHIND"))
    found, damage = with_damage(tmp_path / "real")
    assert found == [b"last"]
    assert len(damage) == 1


def test_a_damaged_header_costs_its_file_and_no_other(tmp_path: Path) -> None:
    write(tmp_path, [b"one", b"two", b"three"], ONE_FILE_EACH)
    path = files_of(tmp_path)[1]
    path.write_bytes(b"?" + path.read_bytes()[1:])
    found, damage = with_damage(tmp_path)
    assert found == [b"one", b"three"]
    assert [(told.file, told.torn) for told in damage] == [(path.name, False)]
    assert started(tmp_path) == (2, 0, 1)
    assert path.exists()


@pytest.mark.parametrize("packed", [False, True])
def test_another_version_is_refused_with_the_way_out(tmp_path: Path, packed: bool) -> None:
    write(tmp_path, [b"x" * 5000])
    [path] = files_of(tmp_path)
    data = path.read_bytes()
    if not packed:
        path = open_file_with(tmp_path / "plain", [[b"x"]])
        data = path.read_bytes()
        tmp_path = tmp_path / "plain"
    place = data.index(b"cg-jrnl\n") + 8
    path.write_bytes(data[:place] + b"\x07\x00" + data[place + 2 :])
    for attempt in (lambda: Journal.open(tmp_path), lambda: payloads(tmp_path)):
        with pytest.raises(ConfigurationError, match=r"version 7.*run the release that wrote it") as refused:
            attempt()
        assert path.name in str(refused.value)
    [report] = verify(tmp_path)
    assert not report.sound
    # Refused, it lets go of the directory: the same again, and not a second one.
    assert [path.name for path in tmp_path.iterdir() if path.is_dir() and path.name != "plain"] == ["receiver-1"]


def test_a_damaged_packed_file(tmp_path: Path) -> None:
    write(tmp_path, [b"%d " % number + bytes(1000) for number in range(100)])
    write(tmp_path, [b"next"])
    path = files_of(tmp_path)[0]
    whole = path.read_bytes()
    assert [report.packed for report in verify(tmp_path)] == [True, False]
    for place in range(layout.PACKED_PREFIX_BYTES + 20, len(whole), 17):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 4]) + whole[place + 1 :])
        found, damage = with_damage(tmp_path)
        assert found[-1] == b"next"
        assert damage or len(found) == 101
        path.write_bytes(whole[:place])
        found, damage = with_damage(tmp_path)
        assert found[-1] == b"next"
        assert damage
