"""What a failed statement means: the disk, a neighbour, or damage, as `UnavailableError` with its reason."""

from __future__ import annotations

import os
import sqlite3
from typing import TYPE_CHECKING

from sqlalchemy.exc import DBAPIError

from foundation.errors import UnavailableError

if TYPE_CHECKING:
    from pathlib import Path

LOST = "database_lost"

_REASONS = {
    sqlite3.SQLITE_FULL: ("disk_full", "the disk is full: make room in DATA_DIR"),
    sqlite3.SQLITE_READONLY: ("disk_read_only", "the database can't be written: make DATA_DIR writable"),
    sqlite3.SQLITE_IOERR: ("disk_error", "the disk fails: see the kernel's log"),
    sqlite3.SQLITE_CANTOPEN: ("disk_error", "the database can't be opened: see the permissions in DATA_DIR"),
    sqlite3.SQLITE_BUSY: ("database_busy", "another program writes the database: end it"),
    sqlite3.SQLITE_LOCKED: ("database_busy", "another program writes the database: end it"),
    sqlite3.SQLITE_CORRUPT: ("database_damaged", "the database is damaged: restore a backup, or adopt what Redis has"),
    sqlite3.SQLITE_NOTADB: ("database_damaged", "the database is damaged: restore a backup, or adopt what Redis has"),
}
_LEAST_FREE = 1024 * 1024  # bytes: a quota or a thin disk that is full shows as an I/O error


def trouble_of(error: Exception, path: Path) -> UnavailableError | None:
    """`error` as what senders and operators are told; None where it is a mistake of ours."""
    cause = error.orig if isinstance(error, DBAPIError) else error
    if not isinstance(cause, sqlite3.Error):
        return None
    code = getattr(cause, "sqlite_errorcode", None)
    if code is None:
        return None
    if code & 0xFF == sqlite3.SQLITE_IOERR and _is_full(path):
        code = sqlite3.SQLITE_FULL
    known = _REASONS.get(code & 0xFF)
    if known is None:
        return None
    reason, words = known
    return UnavailableError(f"{words}; send this again later", reason=reason)


def lost() -> UnavailableError:
    return UnavailableError(
        "the files of the database were removed, replaced or cut while they were in use; nothing more is accepted: "
        "`cohort-sync backup` saves what the running receiver holds, then put the file in place and start again",
        reason=LOST,
    )


def _is_full(path: Path) -> bool:
    try:
        disk = os.statvfs(path.parent)
    except OSError:
        return False
    return disk.f_bavail * disk.f_frsize < _LEAST_FREE
