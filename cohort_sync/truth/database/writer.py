"""The one thread that writes: what waits together shares a commit, and is answered when that is on the disk."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import queue
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from cohort_sync.truth.database.troubles import LOST, trouble_of
from foundation.errors import UnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from sqlalchemy import Connection

    from cohort_sync.truth.database.files import DatabaseFiles

log = logging.getLogger(__name__)

Result = TypeVar("Result")

MOST_PER_COMMIT = 64  # pages; a failed commit is begun again by all their senders
_CHECKPOINT_BYTES = 16 * 1024 * 1024  # written to the log: a checkpoint then brings them to the database
_COMMIT_BYTES = 32 * 1024  # about what a commit writes beside bodies
_LOG_TOO_LARGE = 256 * 1024 * 1024  # somebody read for long while it grew: its room is given back


@dataclass(slots=True)
class _Waiting:
    """A work, and whom its outcome is for; `size`: bytes of bodies that it writes; `outside` of our transactions."""

    work: Callable[[Connection], Any]
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[Any]
    size: int
    outside: bool


@dataclass(slots=True)
class _Outcome:
    future: asyncio.Future[Any]
    value: Any = None
    error: BaseException | None = None


class Writer:
    """Owns the connection that writes, from `start` to `aclose`."""

    def __init__(self, connection: Connection, files: DatabaseFiles, path: Path) -> None:
        self._connection = connection
        self._files = files
        self._path = path
        self._queue: queue.SimpleQueue[_Waiting | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="database writer", daemon=True)
        self._closing = False
        self.trouble: UnavailableError | None = None  # why the last commit failed; None when it did not
        self.commits = 0  # that wrote something
        self._uncheckpointed = 0  # bytes written since the last checkpoint, about

    def start(self) -> None:
        self._thread.start()

    async def write(self, work: Callable[[Connection], Result], *, size: int = 0, outside: bool = False) -> Result:
        """What `work` gives, when its commit is on the disk; what it raises undoes what it did, and nothing else.

        `size`: bytes of bodies that it writes. `outside`: it begins and ends its transactions itself, such as a
        checkpoint.
        A caller that goes away leaves the work to be done. Raises `UnavailableError` where the disk or the database is
        at fault.
        """
        if self._closing:
            raise UnavailableError("the service is stopping; send this again later", reason="stopping")
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Result] = loop.create_future()
        self._queue.put(_Waiting(work, loop, future, size, outside))
        return await future

    async def aclose(self) -> None:
        """Finish what waits, then end the thread."""
        self._closing = True
        if self._thread.is_alive():
            self._queue.put(None)
            await asyncio.to_thread(self._thread.join)

    def _run(self) -> None:
        held: _Waiting | None = None  # one that can't share the commit before it
        while True:
            first = held if held is not None else self._queue.get()
            held = None
            if first is None:
                return
            batch = [first]
            last = False
            while not first.outside and len(batch) < MOST_PER_COMMIT:
                try:
                    more = self._queue.get_nowait()
                except queue.Empty:
                    break
                if more is None:
                    last = True
                    break
                if more.outside:
                    held = more
                    break
                batch.append(more)
            self._answer(batch, self._outcomes(batch))
            del batch, first  # a page may be large, and the next one long in coming
            self._checkpoint_when_due()
            if last:
                return

    def _outcomes(self, batch: list[_Waiting]) -> list[_Outcome]:
        before = self._changes
        try:
            self._files.check_untouched()
            outcomes = [self._alone(batch[0])] if batch[0].outside else self._together(batch)
            if not batch[0].outside:
                self._files.check_committed()
        except Exception as error:  # noqa: BLE001 - whoever waits is told
            self._roll_back()
            told = self._told(error)
            with contextlib.suppress(UnavailableError):  # whoever comes next is told
                self._files.check_committed()  # a large transaction that failed may have made the log longer
            return [_Outcome(waiting.future, error=_copy(told)) for waiting in batch]
        # What wrote nothing says nothing of the disk.
        if self._changes != before and any(outcome.error is None for outcome in outcomes):
            self.trouble = None
            self.commits += 1
        self._uncheckpointed += _COMMIT_BYTES + sum(waiting.size for waiting in batch)
        return outcomes

    def _alone(self, waiting: _Waiting) -> _Outcome:
        value = waiting.work(self._connection)
        self._files.note()
        return _Outcome(waiting.future, value)

    def _together(self, batch: list[_Waiting]) -> list[_Outcome]:
        run = self._connection.exec_driver_sql
        run("BEGIN")
        if len(batch) == 1:
            outcome = self._done(batch[0])
            run("COMMIT" if outcome.error is None else "ROLLBACK")
            return [outcome]
        outcomes = []
        for waiting in batch:
            run("SAVEPOINT work")
            outcome = self._done(waiting)
            if outcome.error is not None:
                run("ROLLBACK TO work")
            run("RELEASE work")
            outcomes.append(outcome)
        run("COMMIT")
        return outcomes

    def _done(self, waiting: _Waiting) -> _Outcome:
        """Raises what the whole transaction fails with."""
        try:
            return _Outcome(waiting.future, waiting.work(self._connection))
        except Exception as error:
            trouble = trouble_of(error, self._path)
            if trouble is not None:
                raise trouble from error
            if not self._in_transaction:
                raise
            return _Outcome(waiting.future, error=error)

    @property
    def _driver(self) -> Any:
        return self._connection.connection.dbapi_connection

    @property
    def _in_transaction(self) -> bool:
        """False after errors with which SQLite rolled back by itself."""
        return bool(self._driver.in_transaction)

    @property
    def _changes(self) -> int:
        """Counts the rows that were written."""
        return int(self._driver.total_changes)

    def _roll_back(self) -> None:
        if self._in_transaction:
            with contextlib.suppress(Exception):
                self._connection.exec_driver_sql("ROLLBACK")

    def _told(self, error: Exception) -> Exception:
        """What those who wait are told of an error; the log is told of it once."""
        told = error if isinstance(error, UnavailableError) else trouble_of(error, self._path)
        if told is None:
            return error
        if self.trouble is None or self.trouble.reason != told.reason:
            level = logging.CRITICAL if told.reason == LOST else logging.ERROR
            cause = error.__cause__ or error
            log.log(level, "nothing can be accepted (%s): %s [%s]", told.reason, told, cause)
        self.trouble = told
        return told

    def _answer(self, batch: list[_Waiting], outcomes: list[_Outcome]) -> None:
        by_loop: dict[asyncio.AbstractEventLoop, list[_Outcome]] = {}
        for waiting, outcome in zip(batch, outcomes, strict=True):
            by_loop.setdefault(waiting.loop, []).append(outcome)
        for loop, told in by_loop.items():
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
                loop.call_soon_threadsafe(_tell, told)

    def _checkpoint_when_due(self) -> None:
        if self._uncheckpointed < _CHECKPOINT_BYTES or self._files.are_lost:
            return
        self._uncheckpointed = 0
        try:
            self._files.check_untouched()
            if self._files.log_size >= _LOG_TOO_LARGE:
                truncate_log(self._connection)  # where somebody reads, as far as that allows
            else:
                self._connection.exec_driver_sql("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
            self._files.note()
        except Exception as error:  # noqa: BLE001 - whoever comes next meets it, too
            self._told(error)


def truncate_log(connection: Connection) -> bool:
    """Write the log to the database and empty it; False where a reader still needs it. It waits for nobody."""
    run = connection.exec_driver_sql
    patience = run("PRAGMA busy_timeout").scalar_one()
    run("PRAGMA busy_timeout=0").close()
    try:
        busy, _, _ = run("PRAGMA wal_checkpoint(TRUNCATE)").one()
    finally:
        run(f"PRAGMA busy_timeout={int(patience)}").close()
    return not busy


def _copy(error: Exception) -> Exception:
    """Several who wait must not raise the same one."""
    return UnavailableError(str(error), reason=error.reason) if isinstance(error, UnavailableError) else error


def _tell(outcomes: list[_Outcome]) -> None:
    for outcome in outcomes:
        if outcome.future.done():  # whoever asked has gone
            continue
        if outcome.error is not None:
            outcome.future.set_exception(outcome.error)
        else:
            outcome.future.set_result(outcome.value)
