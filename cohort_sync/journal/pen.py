"""The file that is written: groups of records go to its end, each group on disk before the next."""

from __future__ import annotations

import errno
import logging
import os
import time
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cohort_sync.journal import layout
from cohort_sync.journal.disk import sync_directory, write_all
from cohort_sync.journal.layout import Head, Header, Summary
from cohort_sync.journal.shelf import SUFFIX, ClosedFile

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

log = logging.getLogger(__name__)

_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}  # the file is as good as before

Parts = tuple[bytes, ...]  # of one record, written one after the other


@dataclass(frozen=True, slots=True)
class Limits:
    """When a file is closed and the next one begun: by size, and by age (seconds) so that files can be dropped by days.

    `group_bytes`: how much may wait for one sync.
    """

    file_bytes: int = 64 << 20
    file_age: float = 3600.0
    group_bytes: int = 8 << 20


class _OpenFile:
    """A file of its own, on disk with its header when this is made. Raises `OSError`, then nothing is left of it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.summary = Summary(0, 0, 0)
        self.end = layout.HEADER_BYTES
        self.begun = time.monotonic()
        self.trusted = True
        self._marker = os.urandom(layout.MARKER_BYTES)
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            write_all(self._descriptor, [layout.pack_header(Header(self._marker, _now_ms()))], 0)
            os.fsync(self._descriptor)
            sync_directory(path.parent)
        except BaseException:
            self.close()
            _remove(path)
            raise

    def write(self, records: Sequence[Parts]) -> None:
        """Durable when this returns. Raises `OSError`, after which the file holds what it held before.

        `trusted` is false if that can't be had: then nothing may be written to this file again.
        """
        now = _now_ms()
        buffers: list[bytes] = []
        for parts in records:
            crc = 0
            for part in parts:
                crc = zlib.crc32(part, crc)
            head = Head(layout.RECORD, sum(map(len, parts)), crc, now, self.end)
            buffers += (layout.pack_head(self._marker, head), *parts)
        try:
            end = write_all(self._descriptor, buffers, self.end)
        except BaseException as error:
            if isinstance(error, OSError) and error.errno not in _NO_ROOM:
                self.trusted = False
            self._cut()
            raise
        try:
            os.fdatasync(self._descriptor)
        except BaseException:
            # The kernel reports a lost page once and then takes it for clean: no later sync can be believed.
            self.trusted = False
            raise
        self.end = end
        known, oldest, newest, _ = self.summary
        first, last = (min(oldest, now), max(newest, now)) if known else (now, now)
        self.summary = Summary(known + len(records), first, last)

    def close(self) -> None:
        try:
            os.close(self._descriptor)
        except OSError:
            log.debug("closing %s failed; what counts was synced before", self.path.name)

    def _cut(self) -> None:
        try:
            os.ftruncate(self._descriptor, self.end)
        except OSError:
            self.trusted = False


class Pen:
    """Writes one receiver's directory; for one thread. Closed files go to `put_away`."""

    def __init__(
        self, directory: Path, limits: Limits, newest: Path | None, put_away: Callable[[ClosedFile], None]
    ) -> None:
        self.syncs = 0
        self.written = 0
        self._directory = directory
        self._limits = limits
        self._put_away = put_away
        self._last_number = int(newest.stem) if newest is not None else 0
        self._file: _OpenFile | None = None

    def write(self, records: Sequence[Parts]) -> None:
        """Durable when this returns. Raises `OSError`: then none of `records` counts, and the next call tries anew."""
        file = self._file
        if file is not None and (
            file.end >= self._limits.file_bytes or time.monotonic() - file.begun >= self._limits.file_age
        ):
            self.rotate()
        if self._file is None:
            self._file = self._begin()
        try:
            self._file.write(records)
        except BaseException:
            if not self._file.trusted:
                self.rotate()
            raise
        self.syncs += 1
        self.written += len(records)

    def rotate(self) -> None:
        """Close the file; the next record begins another. Nothing here can fail: the sealing is `put_away`'s."""
        file = self._file
        if file is None:
            return
        file.close()
        if file.summary.records:
            self._put_away(ClosedFile(file.path, file.end, file.summary, file.end, sealed=False))
        else:
            _remove(file.path)
        self._file = None

    def open_file(self) -> ClosedFile | None:
        """What the file that is written holds now; from any thread."""
        file = self._file
        if file is None or not file.summary.records:
            return None
        return ClosedFile(file.path, file.end, file.summary, file.end, sealed=False)

    def _begin(self) -> _OpenFile:
        number = max(_now_ms(), self._last_number + 1)
        file = _OpenFile(self._directory / f"{number:015d}{SUFFIX}")
        self._last_number = number
        return file


def _remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError:
        log.debug("%s stays; it holds no record", path.name)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
