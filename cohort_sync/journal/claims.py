"""Which receiver writes which directory: `receiver-1`, `receiver-2`, ... each held by a lock on a file in it."""

from __future__ import annotations

import contextlib
import fcntl
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cohort_sync.journal.disk import make_directory, sync_directory
from foundation.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_PREFIX = "receiver-"
_LOCK = "lock"


@dataclass(frozen=True, slots=True)
class Claim:
    """A directory that nobody else writes, until `release` or the end of the process."""

    directory: Path
    _descriptor: int

    def release(self) -> None:
        os.close(self._descriptor)


def receiver_directories(directory: Path) -> list[Path]:
    """The directories of all receivers that there ever were, in the order of their numbers."""
    with contextlib.suppress(FileNotFoundError):
        found = [path for path in directory.iterdir() if _number(path) is not None and path.is_dir()]
        return sorted(found, key=lambda path: _number(path) or 0)
    return []


def claim_own(directory: Path) -> Claim:
    """The first directory that nobody holds, made if need be. Raises `ConfigurationError`."""
    number = 0
    try:
        while True:
            number += 1
            path = directory / f"{_PREFIX}{number}"
            make_directory(path)
            claim = _claim(path)
            if claim is not None:
                sync_directory(directory)  # whoever made it may not have come to that
                return claim
    except OSError as error:
        raise ConfigurationError(
            f"can't keep a journal in {directory}: {error.strerror}; make DATA_DIR writable for this user, or set"
            " JOURNAL=off, with which acknowledged pages are only as durable as Redis"
        ) from error


def claim_abandoned(directory: Path) -> Iterator[Claim]:
    """Directories of earlier receivers that nobody holds now, each held while it is the turn of this iterator."""
    for path in receiver_directories(directory):
        try:
            claim = _claim(path)
        except OSError:
            continue
        if claim is not None:
            try:
                yield claim
            finally:
                claim.release()


def _claim(path: Path) -> Claim | None:
    # Read-only, so that a lock can be had on a disk that is full or read-only.
    descriptor = os.open(path / _LOCK, os.O_RDONLY | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    except BaseException:
        os.close(descriptor)
        raise
    return Claim(path, descriptor)


def _number(path: Path) -> int | None:
    digits = path.name.removeprefix(_PREFIX)
    return int(digits) if path.name.startswith(_PREFIX) and digits.isdecimal() else None
