"""A file that is no longer written: look into it, seal it, pack it, rewrite it. Each raises `OSError`."""

from __future__ import annotations

import contextlib
import os
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import zstandard

from cohort_sync.journal import layout
from cohort_sync.journal.disk import forget_pages, replacing, write_all
from cohort_sync.journal.layout import Head, Summary
from cohort_sync.journal.sources import open_source
from cohort_sync.journal.walking import Gap, Record, walk

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from cohort_sync.journal.sources import Source

_LEVEL = 3
_SAMPLE = 1 << 18
_WORTH_IT = 0.9


@dataclass(frozen=True, slots=True)
class Found:
    """`end`: where the last record ends; `sealed`: the file was closed as it should; `gaps`: places without records."""

    summary: Summary
    end: int
    sealed: bool
    packed: bool
    gaps: list[Gap]


class _NoGainError(Exception):
    pass


def look_into(path: Path) -> Found:
    """What the file holds: at a glance when it is sealed, else by reading it.

    Raises `ConfigurationError` for an unknown version, `DamagedHeaderError`.
    """
    with open_source(path) as source:
        if source.summary is not None:
            return Found(source.summary, 0, sealed=True, packed=source.packed, gaps=[])
        times, gaps, end = [], [], layout.HEADER_BYTES
        for item in walk(source):
            if isinstance(item, Gap):
                gaps.append(item)
            else:
                times.append(item.time_ms)
                end = item.end
        return Found(summary_of(times), end, sealed=False, packed=False, gaps=gaps)


def summary_of(times: list[int], *, cut: int = 0) -> Summary:
    return Summary(len(times), min(times, default=0), max(times, default=0), cut)


def seal(path: Path, summary: Summary, end: int) -> None:
    """Cut off what stands behind `end`, and close the file for good."""
    with open_source(path) as source:
        marker = source.header.marker
    descriptor = os.open(path, os.O_WRONLY)
    try:
        os.ftruncate(descriptor, end)
        write_all(descriptor, [layout.pack_seal(marker, summary, end=end)], end)
        os.fsync(descriptor)
        forget_pages(descriptor)
    finally:
        os.close(descriptor)


def pack(path: Path) -> bool:
    """Pack a plain, sealed file, if that saves more than a tenth. What it holds is often packed already."""
    try:
        with open_source(path) as source, path.open("rb") as plain:
            if source.packed or source.summary is None:
                return False
            _demand_gain(len(zstandard.ZstdCompressor(level=_LEVEL).compress(plain.read(_SAMPLE))), plain.tell())
            plain.seek(0)
            with replacing(path) as file:
                file.write(layout.pack_prefix(source.header, source.summary))
                packer = zstandard.ZstdCompressor(level=_LEVEL, write_checksum=True)
                size, packed = packer.copy_stream(plain, file, size=os.fstat(plain.fileno()).st_size)
                _demand_gain(packed, size)
            forget_pages(plain.fileno())
            return True
    except _NoGainError:
        return False


def rewrite(path: Path, transform: Callable[[bytes], bytes | None]) -> int:
    """Replace the payloads for which `transform` returns another one; how many there were.

    Damaged places are left out of the new file (and counted in its seal): nobody can tell whom they name.
    """
    with open_source(path) as source:
        if not any(isinstance(item, Gap) or transform(item.payload) is not None for item in walk(source)):
            return 0
        changed = _copy(source, path, transform)
        packed = source.packed
    if packed:
        with contextlib.suppress(OSError):  # it was rewritten, which is what counts
            pack(path)
    return changed


def _copy(source: Source, path: Path, transform: Callable[[bytes], bytes | None]) -> int:
    marker = os.urandom(layout.MARKER_BYTES)
    offset, changed, times = layout.HEADER_BYTES, 0, []
    cut = source.summary.cut if source.summary is not None else 0
    with replacing(path) as file:
        file.write(layout.pack_header(source.header._replace(marker=marker)))
        for item in walk(source):
            if not isinstance(item, Record):
                cut += 1
                continue
            payload = transform(item.payload)
            changed += payload is not None
            payload = item.payload if payload is None else payload
            head = Head(layout.RECORD, len(payload), zlib.crc32(payload), item.time_ms, offset)
            file.write(layout.pack_head(marker, head))
            file.write(payload)
            offset += layout.HEAD_BYTES + len(payload)
            times.append(item.time_ms)
        file.write(layout.pack_seal(marker, summary_of(times, cut=cut), end=offset))
    return changed


def _demand_gain(packed: int, plain: int) -> None:
    if packed + layout.PACKED_PREFIX_BYTES > plain * _WORTH_IT:
        raise _NoGainError
