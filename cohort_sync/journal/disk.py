"""Writing to the disk so that it stays written."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

_BUFFERS_AT_ONCE = 1024  # IOV_MAX
TEMPORARY = ".temporary"


def make_directory(path: Path) -> None:
    """Make `path` and what lies above it, for this user alone, entered on disk. Raises `OSError`."""
    if path.is_dir():
        return
    make_directory(path.parent)
    with contextlib.suppress(FileExistsError):
        path.mkdir(mode=0o700)
    sync_directory(path.parent)


def sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_all(descriptor: int, buffers: Sequence[bytes], offset: int) -> int:
    """Write `buffers` one after the other from `offset` on; returns where they end. Raises `OSError`."""
    for first in range(0, len(buffers), _BUFFERS_AT_ONCE):
        some: list[bytes | memoryview] = list(buffers[first : first + _BUFFERS_AT_ONCE])
        while some:
            written = os.pwritev(descriptor, some, offset)
            offset += written
            # A disk that fills up takes a part; the next call says what is wrong.
            while some and written >= len(some[0]):
                written -= len(some.pop(0))
            if some:
                some[0] = memoryview(some[0])[written:]
    return offset


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A file that takes the place of `path`, at once and for good, when the block ends; on an error nothing happens."""
    aside = path.with_suffix(TEMPORARY)
    try:
        with open(os.open(aside, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:  # noqa: PTH123
            yield file
            file.flush()
            os.fsync(file.fileno())
            forget_pages(file.fileno())
        aside.rename(path)
        sync_directory(path.parent)
    except BaseException:
        with contextlib.suppress(OSError):
            aside.unlink(missing_ok=True)
        raise


def forget_pages(descriptor: int) -> None:
    """Nobody reads this file again soon: leave the memory to Redis."""
    with contextlib.suppress(OSError):
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
