"""Room on the disk that is held for the day on which it is full: erasing and dropping pages write, too."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

log = logging.getLogger(__name__)

RESERVE_BYTES = 64 * 1024 * 1024
_PIECE = 1024 * 1024


class Reserve:
    """A file of `size` bytes that nothing is in."""

    def __init__(self, path: Path, size: int = RESERVE_BYTES) -> None:
        self._path = path
        self._size = size

    def take(self) -> bool:
        """Make the file where it is missing; False where there is no room, which is no reason not to start.

        It never takes the last room: as much again stays free.
        """
        with contextlib.suppress(OSError):
            if self._path.stat().st_size == self._size:
                return True
        try:
            disk = os.statvfs(self._path.parent)
            if disk.f_bavail * disk.f_frsize < 2 * self._size:
                log.warning("no room for a reserve of %d bytes in %s", self._size, self._path.parent)
                return False
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
            try:
                _fill(descriptor, self._size)
            finally:
                os.close(descriptor)
        except OSError as error:
            log.warning("no reserve in %s: %s", self._path.parent, error.strerror)
            self.release()
            return False
        return True

    def release(self) -> bool:
        """Give the room up; False where there is none."""
        try:
            self._path.unlink()
        except OSError:
            return False
        return True


def _fill(descriptor: int, size: int) -> None:
    if sys.platform == "linux":
        os.posix_fallocate(descriptor, 0, size)
        return
    while (written := os.lseek(descriptor, 0, os.SEEK_CUR)) < size:
        os.write(descriptor, bytes(min(_PIECE, size - written)))
