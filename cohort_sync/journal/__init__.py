"""The receiver's journal: opaque records in files of its own, on disk before they are acknowledged."""

from __future__ import annotations

from cohort_sync.journal.journal import Journal, NoJournal, Status
from cohort_sync.journal.pen import Limits
from cohort_sync.journal.reading import Damage, Entry, FileReport, JournalFile, list_files, read, verify

__all__ = [
    "Damage",
    "Entry",
    "FileReport",
    "Journal",
    "JournalFile",
    "Limits",
    "NoJournal",
    "Status",
    "list_files",
    "read",
    "verify",
]
