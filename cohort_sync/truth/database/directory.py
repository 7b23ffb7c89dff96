"""`DATA_DIR` for one receiver alone, on a disk of this machine."""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from foundation.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType
    from typing import Self

log = logging.getLogger(__name__)

_LOCK = "cohort_sync.lock"
_AGAIN_SECONDS = 0.5
_MOUNTS = Path("/proc/self/mountinfo")

# Locks and shared memory of SQLite work between the processes of one machine.
_REMOTE = re.compile(r"nfs\d*|cifs|smb\d*|smbfs|ceph|glusterfs|fuse(\..*)?|9p")
_PASSING = ("tmpfs", "ramfs", "overlay")
_ESCAPED = re.compile(r"\\([0-7]{3})")


class DirectoryLock:
    """The exclusive lock on a directory; it ends with this process at the latest.

    A child that was forked would hold it on: children are exec'd, which closes it.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor: int | None = descriptor

    @classmethod
    def take(cls, directory: Path) -> DirectoryLock | None:
        """The lock, or None while another process has it. Raises `ConfigurationError`."""
        path = directory / _LOCK
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            while True:
                descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    if not _is_at(path, descriptor):  # somebody removed it: who comes next would lock another file
                        os.close(descriptor)
                        continue
                    os.ftruncate(descriptor, 0)
                    os.pwrite(descriptor, b"%d\n" % os.getpid(), 0)
                except BlockingIOError:
                    os.close(descriptor)
                    return None
                except OSError:
                    os.close(descriptor)
                    raise
                return cls(descriptor)
        except OSError as error:
            raise ConfigurationError(
                f"can't lock {path}: {error.strerror}; make DATA_DIR writable for this user"
            ) from error

    @classmethod
    async def wait(cls, directory: Path, *, held_by: Callable[[str], None] | None = None) -> DirectoryLock:
        """The lock, once it is free. `held_by` is told once who has it, as is the log. Raises `ConfigurationError`."""
        told = ""
        while (lock := cls.take(directory)) is None:
            holder = holder_of(directory)
            if holder != told:
                told = holder
                log.warning("DATA_DIR %s is used by %s: waiting until it ends", directory, holder)
                if held_by is not None:
                    held_by(holder)
            await asyncio.sleep(_AGAIN_SECONDS)
        return lock

    def release(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


def holder_of(directory: Path) -> str:
    """Who holds the lock, in words: `process 1234`."""
    try:
        pid = int((directory / _LOCK).read_text())
    except (OSError, ValueError):
        return "another process"
    return f"process {pid}"


def check_filesystem(directory: Path, *, any_filesystem: bool = False) -> None:
    """Raises `ConfigurationError` where `directory` is on a network file system, unless `any_filesystem`."""
    kind = filesystem_of(directory)
    if kind is None:
        return
    if _REMOTE.fullmatch(kind) and not any_filesystem:
        raise ConfigurationError(
            f"DATA_DIR {directory} is on {kind}, where SQLite can lose what it acknowledged: set DATA_DIR to a folder "
            "on a disk of this machine, such as /var/lib/cohort-gateway (or DATA_DIR_ANY_FILESYSTEM=true to insist)"
        )
    if _REMOTE.fullmatch(kind) or kind in _PASSING:
        log.warning("DATA_DIR %s is on %s: what is acknowledged may not outlive this container", directory, kind)


def filesystem_of(directory: Path, mounts: str | None = None) -> str | None:
    """The type of the file system that `directory` is on, or would be made on; None where that can't be told.

    `mounts`: what `/proc/self/mountinfo` says.
    """
    if mounts is None:
        try:
            mounts = _MOUNTS.read_text(errors="surrogateescape")
        except OSError:
            return None
    path = Path(directory).resolve()
    best: tuple[int, str] | None = None
    for line in mounts.splitlines():
        before, separator, after = line.partition(" - ")
        fields = before.split(" ")
        if not separator or len(fields) < 5:  # noqa: PLR2004 - see proc(5)
            continue
        point = Path(_ESCAPED.sub(lambda match: chr(int(match[1], 8)), fields[4]))
        # Of mounts on the same point the last one is what is seen.
        if path.is_relative_to(point) and (best is None or len(point.parts) >= best[0]):
            best = (len(point.parts), after.split(" ")[0])
    return best[1] if best else None


def _is_at(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False
