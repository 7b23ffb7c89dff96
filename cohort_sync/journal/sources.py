"""Journal files opened for reading, packed or plain, as the bytes of the plain file."""

from __future__ import annotations

import contextlib
import os
import zlib
from typing import TYPE_CHECKING, Protocol

import zstandard

from cohort_sync.journal import layout

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from cohort_sync.journal.layout import Header, Summary

_SKIPPED_AT_ONCE = 1 << 20


class Source(Protocol):
    """`summary`: known without reading the file, where it was closed properly; such a file has no torn end."""

    header: Header
    summary: Summary | None
    packed: bool

    def read(self, offset: int, size: int) -> bytes:
        """Less than `size` bytes only where the file, or what can be unpacked of it, ends. Raises `OSError`."""

    def rest(self, offset: int) -> bytes:
        """All from `offset` on."""


class _Plain:
    packed = False

    def __init__(self, descriptor: int, header: Header) -> None:
        self.header = header
        self._descriptor = descriptor
        self.summary = self._sealed()

    def read(self, offset: int, size: int) -> bytes:
        return os.pread(self._descriptor, size, offset)

    def rest(self, offset: int) -> bytes:
        # The size once and not until nothing comes: the file may be growing.
        return self.read(offset, max(0, os.fstat(self._descriptor).st_size - offset))

    def _sealed(self) -> Summary | None:
        end = os.fstat(self._descriptor).st_size
        if end < layout.HEADER_BYTES + layout.SEAL_BYTES:
            return None
        data = self.read(end - layout.SEAL_BYTES, layout.SEAL_BYTES)
        head = layout.unpack_head(data[: layout.HEAD_BYTES], self.header.marker)
        payload = data[layout.HEAD_BYTES :]
        if head is None or head.kind != layout.SEAL or zlib.crc32(payload) != head.payload_crc:
            return None
        return layout.unpack_summary(payload)


class _Packed:
    packed = True

    def __init__(self, descriptor: int, header: Header, summary: Summary) -> None:
        self.header = header
        self.summary: Summary | None = summary
        self._descriptor = descriptor
        self._restart()

    def read(self, offset: int, size: int) -> bytes:
        if offset < self._position:
            self._restart()
        while self._position < offset:
            if not self._take(min(offset - self._position, _SKIPPED_AT_ONCE)):
                return b""
        parts = []
        while size > 0 and (part := self._take(size)):
            parts.append(part)
            size -= len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def rest(self, offset: int) -> bytes:
        parts = [self.read(offset, _SKIPPED_AT_ONCE)]
        while part := self._take(_SKIPPED_AT_ONCE):
            parts.append(part)
        return b"".join(parts)

    def _restart(self) -> None:
        os.lseek(self._descriptor, layout.PACKED_PREFIX_BYTES, os.SEEK_SET)
        file = os.fdopen(self._descriptor, "rb", closefd=False)
        self._stream = zstandard.ZstdDecompressor().stream_reader(file, closefd=False)
        self._position = 0

    def _take(self, size: int) -> bytes:
        try:
            part: bytes = self._stream.read(size)
        except zstandard.ZstdError:
            return b""  # the frame that is cut short here is what gets reported
        self._position += len(part)
        return part


@contextlib.contextmanager
def open_source(path: Path) -> Iterator[Source]:
    """The file for reading. Raises `OSError`, `NeverBegunError`, and what `layout.unpack_header` raises."""
    name = f"{path.parent.name}/{path.name}"
    descriptor = os.open(path, os.O_RDONLY)
    try:
        start = os.pread(descriptor, layout.PACKED_PREFIX_BYTES, 0)
        if layout.is_packed(start):
            yield _Packed(descriptor, *layout.unpack_prefix(start, name))
        else:
            yield _Plain(descriptor, _header_of(descriptor, start, name))
    finally:
        os.close(descriptor)


def _header_of(descriptor: int, start: bytes, name: str) -> Header:
    try:
        return layout.unpack_header(start, name)
    except layout.DamagedHeaderError as error:
        if os.fstat(descriptor).st_size <= layout.HEADER_BYTES:
            raise layout.NeverBegunError(str(error)) from None
        raise
