"""Walk through the frames of one file: its records, and each place where there is none to be had."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cohort_sync.journal import layout

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cohort_sync.journal.layout import Head
    from cohort_sync.journal.sources import Source


@dataclass(frozen=True, slots=True)
class Record:
    offset: int
    time_ms: int
    payload: bytes

    @property
    def end(self) -> int:
        return self.offset + layout.HEAD_BYTES + len(self.payload)


@dataclass(frozen=True, slots=True)
class Gap:
    """A place that can't be read. `torn`: nothing shows that it was ever acknowledged, so it is a write cut short."""

    offset: int
    why: str
    torn: bool = False


class _BrokenFrameError(Exception):
    pass


class _Bytes:
    """A part of a file in memory; offsets are those of the file."""

    def __init__(self, data: bytes, start: int) -> None:
        self._data = data
        self._start = start

    def read(self, offset: int, size: int) -> bytes:
        start = offset - self._start
        return self._data[start : start + size]


def walk(source: Source) -> Iterator[Record | Gap]:
    """Every record that is whole, in order, and a gap for each place between, before or behind them that is not.

    A file may be walked while it is written: the walk then ends with the last record that was whole, or with a torn
    gap where the write is under way. Raises `OSError`.
    """
    offset, records, gaps = layout.HEADER_BYTES, 0, 0
    while True:
        try:
            found = _frame_at(source, source.header.marker, offset)
        except _BrokenFrameError:
            resumed = _resume(source, offset)
            if resumed is None:
                yield Gap(offset, "a write cut short", torn=True) if source.summary is None else _lost(offset)
                return
            if resumed > offset:
                yield Gap(offset, "damaged")
                gaps += 1
                offset = resumed
            continue
        if found is None:
            if source.summary is not None:
                yield _lost(offset)
            return
        head, payload = found
        if head.kind == layout.SEAL:
            written = layout.unpack_summary(payload).records
            if records != written and not gaps:
                yield Gap(offset, f"{records} records where {written} were written")
            return
        yield Record(offset, head.time_ms, payload)
        records += 1
        offset += layout.HEAD_BYTES + head.length


def _lost(offset: int) -> Gap:
    return Gap(offset, "damaged from here to the end of the file")


def _frame_at(source: Source | _Bytes, marker: bytes, offset: int) -> tuple[Head, bytes] | None:
    """The frame at `offset`; None where the file ends exactly there. Raises `_BrokenFrameError`."""
    start = source.read(offset, layout.HEAD_BYTES)
    if not start:
        return None
    head = layout.unpack_head(start, marker)
    if head is None:
        raise _BrokenFrameError
    payload = source.read(offset + layout.HEAD_BYTES, head.length)
    if len(payload) != head.length or zlib.crc32(payload) != head.payload_crc:
        raise _BrokenFrameError
    return head, payload


def _resume(source: Source, broken: int) -> int | None:
    """Where to go on behind a broken frame; None when nothing behind it proves that it was on disk once.

    The frame itself when it turns out whole: then the file was being written, and what proves it came after.
    """
    following = _proven_successor(source, broken)
    if following is None:
        return None
    try:
        _frame_at(source, source.header.marker, broken)
    except _BrokenFrameError:
        return following
    return broken


def _proven_successor(source: Source, broken: int) -> int | None:
    """The first whole frame behind `broken`, if it or one behind it was written when `broken` was on disk."""
    marker = source.header.marker
    rest = source.rest(broken)
    memory = _Bytes(rest, broken)
    first = None
    place = rest.find(marker, 1)
    while place >= 0:
        length = 1
        try:
            found = _frame_at(memory, marker, broken + place)
        except _BrokenFrameError:
            found = None
        if found is not None:
            head = found[0]
            first = broken + place if first is None else first
            if head.synced > broken:
                return first
            length = layout.HEAD_BYTES + head.length
        place = rest.find(marker, place + length)
    return None
