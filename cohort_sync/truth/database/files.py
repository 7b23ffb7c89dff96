"""The database's files as their one writer left them: path, device, inode, size, time of the last change.

SQLite goes on saying ok when its file or its write-ahead log was removed, moved, cut, replaced or written over beside
it, and what it then acknowledges is nowhere. So both are looked at before and after each commit.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

from cohort_sync.truth.database.troubles import lost

if TYPE_CHECKING:
    from pathlib import Path


class _State(NamedTuple):
    device: int
    inode: int
    size: int
    changed: int  # nanoseconds: a copy of the same size may have been written over it


class DatabaseFiles:
    """Every method raises `UnavailableError` (`database_lost`), for good, once something was done to the files.

    Only the thread that writes may call them: between its commits nothing changes by itself.
    """

    def __init__(self, path: Path) -> None:
        self._database = os.fspath(path)
        self._log = f"{self._database}-wal"
        self._index = f"{self._database}-shm"
        self._seen: tuple[_State, _State, _State] | None = None
        self.are_lost = False

    def note(self) -> None:
        """Take them as they are now: after opening, and after a checkpoint, which writes the one and cuts the other."""
        states = self._look()
        if self._seen is not None and any(
            (new.device, new.inode) != (old.device, old.inode) for new, old in zip(states, self._seen, strict=True)
        ):
            raise self._lose()
        self._seen = states

    def check_untouched(self) -> None:
        """Before a transaction: nobody else writes, so nothing may have changed."""
        # Size and content of the index are its own affair.
        if self._seen is None or self._look()[:2] != self._seen[:2]:
            raise self._lose()

    def check_committed(self) -> None:
        """After a commit, before its answers: the log may have grown, nothing else may have happened."""
        if self._seen is None:
            raise self._lose()
        database, log, index = states = self._look()
        was_database, was_log, was_index = self._seen
        if database != was_database or log[:2] != was_log[:2] or log.size < was_log.size or index[:2] != was_index[:2]:
            raise self._lose()
        self._seen = states

    @property
    def log_size(self) -> int:
        """Bytes of the write-ahead log as of the last look."""
        return self._seen[1].size if self._seen is not None else 0

    def _look(self) -> tuple[_State, _State, _State]:
        if self.are_lost:
            raise lost()
        try:
            return _state(self._database), _state(self._log), _state(self._index)
        except OSError:
            raise self._lose() from None

    def _lose(self) -> Exception:
        self.are_lost = True
        return lost()


def _state(path: str) -> _State:
    found = os.stat(path)  # noqa: PTH116 - a Path costs more than the call
    return _State(found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)
