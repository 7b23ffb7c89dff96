"""The journal of one receiver, as its event loop sees it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self, TypeVar

from cohort_sync.journal import layout
from cohort_sync.journal.claims import Claim, claim_abandoned, claim_own
from cohort_sync.journal.groups import Groups
from cohort_sync.journal.pen import Limits, Pen
from cohort_sync.journal.shelf import ClosedFile, Shelf
from foundation.errors import ConfigurationError, UnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

log = logging.getLogger(__name__)

_T = TypeVar("_T")

_NICE = 10  # packing and erasing may take their time


@dataclass(frozen=True, slots=True)
class Status:
    """One receiver's journal. Files, bytes (on disk), records and times are of what is there now.

    `torn`, `damaged`: writes cut short, and places that can't be read, found at start. `failing`: the last group was
    refused by the disk, with `last_error`. Since then `written` records took `syncs` syncs.
    """

    receiver: str = ""
    files: int = 0
    bytes: int = 0
    records: int = 0
    oldest_ms: int | None = None
    newest_ms: int | None = None
    torn: int = 0
    damaged: int = 0
    syncs: int = 0
    written: int = 0
    failing: bool = False
    last_error: str | None = None


class Journal:
    """Made by `open`; closed by `aclose`, or as an asynchronous context manager. For one event loop.

    Everything that touches the disk runs in two threads: one appends, the other, at a lower priority, does the rest.
    """

    def __init__(self, claim: Claim, limits: Limits) -> None:
        self.receiver = claim.directory.name
        self._root = claim.directory.parent
        self._claim = claim
        self._stopping = threading.Event()
        self._shelf = Shelf(claim.directory, self._stopping)
        closed = self._shelf.files()
        self._upkeep = ThreadPoolExecutor(1, thread_name_prefix="journal-upkeep", initializer=_lower_priority)
        self._pen = Pen(claim.directory, limits, closed[-1].path if closed else None, self._put_away)
        self._groups = Groups(self._pen.write, group_bytes=limits.group_bytes)
        self._submit(self._shelf.tidy)

    @classmethod
    def open(cls, directory: Path, limits: Limits | None = None) -> Self:
        """A journal under `directory`, in a sub-directory that no other process writes; blocks while it looks around.

        Files that a crash left open are closed, a torn end cut off. Raises `ConfigurationError`.
        """
        claim = claim_own(directory)
        try:
            return cls(claim, limits or Limits())
        except BaseException as error:
            claim.release()
            if isinstance(error, OSError):
                raise ConfigurationError(f"can't read the journal in {claim.directory}: {error.strerror}") from error
            raise

    async def append(self, *parts: bytes) -> None:
        """Append one record, `parts` one after the other; it is on disk when this returns.

        Records of one caller stand in the order of its calls. Raises `UnavailableError` (`journal_unavailable`) when
        the disk refused it: then the record does not count, though a crash right then may leave it to be read. The
        record of a caller that is cancelled may be written or not. The parts must not change meanwhile.
        """
        if sum(map(len, parts)) > layout.LARGEST_PAYLOAD:
            raise ValueError("too large for a record")
        await self._groups.append(parts)

    async def rotate(self) -> None:
        """Close the file that is written, so that what was appended before lies in closed files."""
        await self._groups.run(self._pen.rotate)

    async def drop_before(self, time_ms: int) -> int:
        """Delete closed files whose newest record is older; how many. Those of receivers that are gone, too.

        Raises `UnavailableError`.
        """

        def rotate_if_old() -> None:
            file = self._pen.open_file()
            if file is not None and file.summary.newest_ms < time_ms:
                self._pen.rotate()

        await self._groups.run(rotate_if_old)
        return await self._in_all_files(lambda shelf: shelf.drop_before(time_ms))

    async def rewrite(self, transform: Callable[[bytes], bytes | None]) -> int:
        """Replace the payload of each record appended before this call for which `transform` returns another one.

        Returns how many. None leaves a record as it is. `transform` must be pure, since it may see a record twice, and
        is called in a thread. Times and order stay. Own files, and those of receivers that are gone; receivers that
        are alive rewrite theirs themselves. Each file is replaced at once or not at all; after an error or a crash,
        call it again. Raises `UnavailableError`, and what `transform` raises.
        """
        await self.rotate()
        return await self._in_all_files(lambda shelf: shelf.rewrite(transform))

    def status(self) -> Status:
        """Asks no disk."""
        writing = self._pen.open_file()
        # A file that is being rotated right now is in both.
        files = {file.path: file for file in self._shelf.files()}
        if writing is not None:
            files.setdefault(writing.path, writing)
        summaries = [file.summary for file in files.values() if file.summary.records]
        return Status(
            receiver=self.receiver,
            files=len(files),
            bytes=sum(file.size for file in files.values()),
            records=sum(summary.records for summary in summaries),
            oldest_ms=min((summary.oldest_ms for summary in summaries), default=None),
            newest_ms=max((summary.newest_ms for summary in summaries), default=None),
            torn=self._shelf.torn,
            damaged=self._shelf.damaged,
            syncs=self._pen.syncs,
            written=self._pen.written,
            failing=self._groups.failing,
            last_error=self._groups.last_error,
        )

    async def aclose(self) -> None:
        """Write what waits, close the file, and let the directory go. Then `append` is refused."""
        if self._stopping.is_set():
            return
        self._stopping.set()
        await self.rotate()
        await self._groups.aclose()
        await asyncio.to_thread(self._upkeep.shutdown)
        self._claim.release()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def _in_all_files(self, work: Callable[[Shelf], int]) -> int:
        try:
            return await asyncio.wrap_future(self._submit(lambda: work(self._shelf) + self._in_abandoned(work)))
        except OSError as error:
            raise UnavailableError(
                f"the journal's files can't be changed: {error.strerror or error}", reason="journal_unavailable"
            ) from error

    def _in_abandoned(self, work: Callable[[Shelf], int]) -> int:
        total = 0
        for claim in claim_abandoned(self._root):
            try:
                shelf = Shelf(claim.directory, self._stopping)
            except ConfigurationError as error:
                log.error("%s is left as it is: %s", claim.directory.name, error)  # noqa: TRY400 - no mistake of ours
                continue
            total += work(shelf)
        return total

    def _put_away(self, file: ClosedFile) -> None:
        self._shelf.put(file)
        self._submit(lambda: self._shelf.tidy(file.path))

    def _submit(self, work: Callable[[], _T]) -> Future[_T]:
        future = self._upkeep.submit(work)
        future.add_done_callback(_log_mistake)
        return future


class NoJournal:
    """What stands in for a journal with `JOURNAL=off`: it takes everything and keeps nothing."""

    receiver = ""

    async def append(self, *parts: bytes) -> None:
        """Nothing; the record is as durable as Redis makes it."""

    async def rotate(self) -> None:
        """Nothing."""

    async def drop_before(self, time_ms: int) -> int:
        del time_ms
        return 0

    async def rewrite(self, transform: Callable[[bytes], bytes | None]) -> int:
        del transform
        return 0

    def status(self) -> Status:
        return Status()

    async def aclose(self) -> None:
        """Nothing."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        """Nothing."""


def _log_mistake(future: Future[_T]) -> None:
    error = None if future.cancelled() else future.exception()
    if error is not None and not isinstance(error, OSError):
        log.error("the journal's upkeep met an error of the program", exc_info=error)


def _lower_priority() -> None:
    # On Linux a thread has a priority of its own.
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)
