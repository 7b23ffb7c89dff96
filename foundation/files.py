"""Files that others write: which one stands at a path now."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def file_identity(path: Path) -> tuple[int, ...]:
    """What changes when the file does, or when another one takes its place. Raises `OSError` where there is none.

    The time of modification alone is what its writer says: copies keep that of the original, builds set it to a date.
    """
    found = path.stat()
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
