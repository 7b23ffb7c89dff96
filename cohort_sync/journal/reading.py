"""Read the journals of all receivers, by any process, while they are written or when nobody is there any more."""

from __future__ import annotations

import heapq
import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from cohort_sync.journal.claims import receiver_directories
from cohort_sync.journal.layout import DamagedHeaderError, NeverBegunError
from cohort_sync.journal.shelf import journal_files
from cohort_sync.journal.sources import open_source
from cohort_sync.journal.walking import Gap, walk
from foundation.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from cohort_sync.journal.sources import Source
    from cohort_sync.journal.walking import Record

log = logging.getLogger(__name__)


class Entry(NamedTuple):
    """A record and where it stands; `offset` counts in the unpacked file. `time_ms`: when it was written."""

    receiver: str
    file: str
    offset: int
    time_ms: int
    payload: bytes


class Damage(NamedTuple):
    """A place where records may be missing. `torn`: only such as were never acknowledged (a write cut short)."""

    receiver: str
    file: str
    offset: int
    why: str
    torn: bool


class JournalFile(NamedTuple):
    """`newest`: the last of its receiver, so that it may be being written."""

    receiver: str
    path: Path
    size: int
    newest: bool


@dataclass(slots=True)
class FileReport:
    """What `verify` found in one file. `live`: being written, or left by a crash; its torn end is no damage."""

    file: JournalFile
    packed: bool = False
    sealed: bool = False
    live: bool = False
    records: int = 0
    oldest_ms: int | None = None
    newest_ms: int | None = None
    torn: int = 0
    damage: list[Damage] = field(default_factory=list)

    @property
    def sound(self) -> bool:
        return not self.damage


def list_files(directory: Path) -> list[JournalFile]:
    """The files of all receivers, from the oldest to the newest of each. Raises `OSError`."""
    found = []
    for receiver in receiver_directories(directory):
        paths = journal_files(receiver)
        for path in paths:
            try:
                size = path.stat().st_size
            except FileNotFoundError:
                continue  # dropped meanwhile
            found.append(JournalFile(receiver.name, path, size, newest=path == paths[-1]))
    return found


def read(directory: Path, *, since_ms: int = 0, damaged: Callable[[Damage], None] | None = None) -> Iterator[Entry]:
    """Every record that was acknowledged before the first step of this iterator, in the order of writing.

    That order holds across receivers, as far as their clocks agree.

    Records before `since_ms` are left out, whole files unread where possible. What can't be read is told to `damaged`
    (default: the log), and reading goes on behind it; the torn end of a file that may be being written is not told.
    Raises `ConfigurationError` for a file of an unknown version, `OSError` when the directory can't be listed.
    """
    tell = damaged or _log
    files: dict[str, list[JournalFile]] = {}
    for file in list_files(directory):
        files.setdefault(file.receiver, []).append(file)
    yield from heapq.merge(*(_entries(own, since_ms, tell) for own in files.values()), key=lambda entry: entry.time_ms)


def _entries(files: list[JournalFile], since_ms: int, tell: Callable[[Damage], None]) -> Iterator[Entry]:
    for file in files:
        for item in _items(file, since_ms):
            if isinstance(item, Gap):
                if not (item.torn and file.newest):
                    tell(Damage(file.receiver, file.path.name, item.offset, item.why, item.torn))
            elif item.time_ms >= since_ms:
                yield Entry(file.receiver, file.path.name, item.offset, item.time_ms, item.payload)


def verify(directory: Path) -> Iterator[FileReport]:
    """Read every file to its end and say what is in it, one report per file of `list_files`.

    A file of an unknown version is damage here.
    """
    for file in list_files(directory):
        report = FileReport(file)
        try:
            for item in _items(file, 0, report):
                _note(report, item)
        except ConfigurationError as error:
            _note(report, Gap(0, str(error)))
        yield report


def _note(report: FileReport, item: Record | Gap) -> None:
    file = report.file
    if not isinstance(item, Gap):
        report.records += 1
        report.oldest_ms = item.time_ms if report.oldest_ms is None else min(report.oldest_ms, item.time_ms)
        report.newest_ms = item.time_ms if report.newest_ms is None else max(report.newest_ms, item.time_ms)
    elif item.torn:
        report.torn += 1
    else:
        report.damage.append(Damage(file.receiver, file.path.name, item.offset, item.why, item.torn))


def _items(file: JournalFile, since_ms: int, report: FileReport | None = None) -> Iterator[Record | Gap]:
    try:
        with open_source(file.path) as source:
            summary = source.summary
            if report is not None:
                report.packed, report.sealed = source.packed, summary is not None
                report.live = summary is None and file.newest
            if summary is not None and summary.newest_ms < since_ms:
                return
            yield from _with_cuts(source)
    except FileNotFoundError:
        return  # dropped meanwhile
    except DamagedHeaderError as error:
        yield Gap(0, str(error), torn=isinstance(error, NeverBegunError))
    except OSError as error:
        yield Gap(0, f"can't be read: {error.strerror}")


def _with_cuts(source: Source) -> Iterator[Record | Gap]:
    if source.summary is not None and source.summary.cut:
        yield Gap(0, f"{source.summary.cut} damaged places were left out when the file was rewritten")
    yield from walk(source)


def _log(damage: Damage) -> None:
    say = log.warning if damage.torn else log.error
    say("the journal file %s/%s, offset %d: %s", damage.receiver, damage.file, damage.offset, damage.why)
