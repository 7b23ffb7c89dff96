"""SQLite as the write side uses it: opened and locked, written by one thread, read by others, watched on its disk."""

from cohort_sync.truth.database.connections import connect_reading
from cohort_sync.truth.database.database import FILE_NAME, Database, Installation, open_database
from cohort_sync.truth.database.directory import DirectoryLock, check_filesystem, holder_of

__all__ = [
    "FILE_NAME",
    "Database",
    "DirectoryLock",
    "Installation",
    "check_filesystem",
    "connect_reading",
    "holder_of",
    "open_database",
]
