"""What a failed statement means: the disk, a neighbour, or damage, as `UnavailableError` with its reason."""

from __future__ import annotations

import contextlib
import errno
import os
import sqlite3
from typing import TYPE_CHECKING

from sqlalchemy.exc import DBAPIError

from foundation.errors import UnavailableError

if TYPE_CHECKING:
    from pathlib import Path

LOST = "database_lost"
FULL = "disk_full"

_REASONS = {
    sqlite3.SQLITE_FULL: (FULL, "the disk is full: make room in DATA_DIR"),
    sqlite3.SQLITE_READONLY: ("disk_read_only", "the database can't be written: make DATA_DIR writable"),
    sqlite3.SQLITE_IOERR: ("disk_error", "the disk fails: see the kernel's log"),
    sqlite3.SQLITE_CANTOPEN: ("disk_error", "the database can't be opened: see the permissions in DATA_DIR"),
    sqlite3.SQLITE_BUSY: ("database_busy", "another program writes the database: end it"),
    sqlite3.SQLITE_LOCKED: ("database_busy", "another program writes the database: end it"),
    sqlite3.SQLITE_CORRUPT: ("database_damaged", "the database is damaged: restore a backup, or adopt what Redis has"),
    sqlite3.SQLITE_NOTADB: ("database_damaged", "the database is damaged: restore a backup, or adopt what Redis has"),
}
_CAUSES = {
    errno.EROFS: sqlite3.SQLITE_READONLY,
    errno.EACCES: sqlite3.SQLITE_READONLY,
    errno.EPERM: sqlite3.SQLITE_READONLY,
    errno.ENOSPC: sqlite3.SQLITE_FULL,
    errno.EDQUOT: sqlite3.SQLITE_FULL,
}
_PROBE_BYTES = 64 * 1024


def trouble_of(error: Exception, path: Path) -> UnavailableError | None:
    """`error` as what senders and operators are told; None where it is a mistake of ours."""
    cause = error.orig if isinstance(error, DBAPIError) else error
    if not isinstance(cause, sqlite3.Error):
        return None
    code = getattr(cause, "sqlite_errorcode", None)
    if code is None:
        return None
    if code & 0xFF == sqlite3.SQLITE_IOERR:
        code = _cause_of_io_error(path)
    known = _REASONS.get(code & 0xFF)
    if known is None:
        return None
    return _told(*known)


def full() -> UnavailableError:
    return _told(*_REASONS[sqlite3.SQLITE_FULL])


def lost() -> UnavailableError:
    return UnavailableError(
        "the files of the database were removed, replaced, cut or written over while they were in use; nothing more is "
        "accepted: "
        "`cohort-sync backup` saves what the running receiver holds, then put the file in place and start again",
        reason=LOST,
    )


def _told(reason: str, words: str) -> UnavailableError:
    return UnavailableError(f"{words}; send this again later", reason=reason)


def _cause_of_io_error(path: Path) -> int:
    """What the disk says when it is written to: SQLite tells no more than that it was an I/O error."""
    probe = path.with_suffix(".probe")
    try:
        descriptor = os.open(probe, os.O_WRONLY | os.O_CREAT, 0o600)
        try:
            os.write(descriptor, bytes(_PROBE_BYTES))
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        return _CAUSES.get(error.errno or 0, sqlite3.SQLITE_IOERR)
    finally:
        with contextlib.suppress(OSError):
            probe.unlink()
    return sqlite3.SQLITE_IOERR
