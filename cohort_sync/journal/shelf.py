"""The closed files of one receiver: kept, packed, dropped, rewritten."""

from __future__ import annotations

import contextlib
import logging
import threading
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from cohort_sync.journal import closed
from cohort_sync.journal.disk import TEMPORARY, sync_directory
from cohort_sync.journal.layout import DamagedHeaderError, NeverBegunError, Summary

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

log = logging.getLogger(__name__)

SUFFIX = ".journal"


@dataclass(frozen=True, slots=True)
class ClosedFile:
    """`end`: where its last record ends, for a file that is to be sealed yet. `damaged`: there is no reading it."""

    path: Path
    size: int
    summary: Summary
    end: int = 0
    sealed: bool = True
    damaged: bool = False

    @property
    def name(self) -> str:
        return f"{self.path.parent.name}/{self.path.name}"


class Shelf:
    """`files` and `put` are for any thread; all other methods work on the disk and are for one thread at a time.

    `torn` and `damaged`: writes cut short, and places that can't be read, found when the directory was opened.
    """

    def __init__(self, directory: Path, stopping: threading.Event) -> None:
        """Looks into every file and closes what a crash left open. `stopping`, once set, cuts long work short.

        Raises `ConfigurationError` for a file of an unknown version, `OSError`.
        """
        self.torn = 0
        self.damaged = 0
        self._directory = directory
        self._stopping = stopping
        self._files: dict[Path, ClosedFile] = {}
        self._lock = threading.Lock()
        for left in directory.glob(f"*{TEMPORARY}"):
            with contextlib.suppress(OSError):
                left.unlink()
        for path in journal_files(directory):
            file = self._opened(path)
            if file is not None:
                self.put(file)
        self._seal_waiting()

    def files(self) -> list[ClosedFile]:
        """From the oldest to the newest."""
        with self._lock:
            return [self._files[path] for path in sorted(self._files)]

    def put(self, file: ClosedFile) -> None:
        """A file that is not written any more; it waits to be sealed."""
        with self._lock:
            self._files[file.path] = file

    def tidy(self, only: Path | None = None) -> None:
        """Seal what waits, pack the plain files (or `only` this one). What the disk refuses is tried again later."""
        self._seal_waiting()
        for path in [only] if only is not None else [file.path for file in self.files()]:
            if self._stopping.is_set():
                return
            try:
                if closed.pack(path):
                    self._measure(path)
            except (OSError, DamagedHeaderError) as error:
                log.info("the journal file %s/%s stays unpacked: %s", path.parent.name, path.name, error)

    def drop_before(self, time_ms: int) -> int:
        """Delete the files whose newest record is older; how many. Raises `OSError`."""
        self._seal_waiting()
        old = [file for file in self.files() if file.summary.newest_ms < time_ms]
        for file in old:
            file.path.unlink(missing_ok=True)
            self._forget(file)
        if old:
            sync_directory(self._directory)
        return len(old)

    def rewrite(self, transform: Callable[[bytes], bytes | None]) -> int:
        """Replace payloads in all files, see `closed.rewrite`; how many records changed.

        An error leaves the files before it rewritten and the others as they were. Raises `OSError`, `InterruptedError`
        when it is cut short.
        """
        self._seal_waiting()
        changed = 0
        for file in self.files():
            if self._stopping.is_set():
                raise InterruptedError("the journal was closed while it was rewritten")
            if file.damaged:
                log.error("the journal file %s can't be read, so nothing is erased in it; it goes by age", file.name)
                continue
            changed += closed.rewrite(file.path, transform)
            self._look_again(file)
        return changed

    def _opened(self, path: Path) -> ClosedFile | None:
        try:
            found = closed.look_into(path)
        except NeverBegunError:
            self.torn += 1
            with contextlib.suppress(OSError):
                path.unlink()
            return None
        except (DamagedHeaderError, OSError) as error:
            return self._unreadable(path, error)
        for gap in found.gaps:
            self.torn += gap.torn
            self.damaged += not gap.torn
            say = log.warning if gap.torn else log.error
            say("the journal file %s/%s, offset %d: %s", path.parent.name, path.name, gap.offset, gap.why)
        if not found.sealed and not found.summary.records and not any(not gap.torn for gap in found.gaps):
            with contextlib.suppress(OSError):
                path.unlink()
            return None
        return ClosedFile(path, path.stat().st_size, found.summary, found.end, found.sealed)

    def _unreadable(self, path: Path, error: Exception) -> ClosedFile:
        self.damaged += 1
        log.error("the journal file %s/%s can't be read: %s", path.parent.name, path.name, error)
        about = path.stat()
        changed_ms = int(about.st_mtime * 1000)
        return ClosedFile(path, about.st_size, Summary(0, changed_ms, changed_ms), damaged=True)

    def _seal_waiting(self) -> None:
        for file in self.files():
            if file.sealed:
                continue
            try:
                closed.seal(file.path, file.summary, file.end)
            except (OSError, DamagedHeaderError) as error:
                log.warning("the journal file %s is closed later: %s", file.name, error)
            else:
                self.put(replace(file, sealed=True))
                self._measure(file.path)

    def _look_again(self, file: ClosedFile) -> None:
        found = closed.look_into(file.path)
        self.put(replace(file, summary=found.summary, sealed=found.sealed, size=file.path.stat().st_size))

    def _measure(self, path: Path) -> None:
        with self._lock:
            self._files[path] = replace(self._files[path], size=path.stat().st_size)

    def _forget(self, file: ClosedFile) -> None:
        with self._lock:
            del self._files[file.path]


def journal_files(directory: Path) -> list[Path]:
    """The files of one receiver, from the oldest to the newest. Their names are times, so that none comes twice."""
    found = [path for path in directory.glob(f"*{SUFFIX}") if path.stem.isdecimal()]
    return sorted(found, key=lambda path: int(path.stem))
