"""The database of the write side: SQLite in `DATA_DIR`, one thread that writes, a few connections that read."""

from __future__ import annotations

import asyncio
import contextlib
import queue
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from sqlalchemy import select

from cohort_sync.truth.database.connections import connect_reading, connect_writing
from cohort_sync.truth.database.files import DatabaseFiles
from cohort_sync.truth.database.reserve import RESERVE_BYTES, Reserve
from cohort_sync.truth.database.troubles import FULL, LOST, full, trouble_of
from cohort_sync.truth.database.writer import Writer, truncate_log
from cohort_sync.truth.tables import INSTALLATION
from foundation.errors import ConfigurationError, UnavailableError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from sqlalchemy import Connection

Result = TypeVar("Result")

FILE_NAME = "cohort_sync.db"
_RESERVE = "cohort_sync.reserve"
_READERS = 4


@dataclass(frozen=True, slots=True)
class Installation:
    """`id` names the database to the store; `tag_key` is the key of the hashes of persons and id tokens."""

    id: str
    tag_key: bytes


class Database:
    """Made by `open_database`. Whoever opens it holds the lock on its directory."""

    def __init__(
        self, path: Path, installation: Installation, *, writer: Writer, readers: list[Connection], reserve: Reserve
    ) -> None:
        self.path = path
        self.installation = installation
        self._writer = writer
        self._reserve = reserve
        self._is_reserve_given_up = False
        self._idle: queue.LifoQueue[Connection] = queue.LifoQueue()
        for connection in readers:
            self._idle.put(connection)
        self._threads = ThreadPoolExecutor(len(readers), thread_name_prefix="database reader")

    async def write(self, work: Callable[[Connection], Result], *, size: int = 0) -> Result:
        """Run `work` in the thread that writes, in a transaction that is on the disk when this returns.

        What `work` raises undoes what it did. `size`: bytes of bodies that it writes, about. Raises `UnavailableError`
        with the reason where the disk or the database is at fault; later works try again, unless it is lost.
        """
        if self._is_reserve_given_up and not await self.take_reserve():
            raise full()  # the room is for what must go on
        return await self._writer.write(work, size=size)

    async def write_from_reserve(self, work: Callable[[Connection], Result], *, size: int = 0) -> Result:
        """As `write`, for what must go on when the disk is full: the room that is held for that is given up for it."""
        try:
            return await self._writer.write(work, size=size)
        except UnavailableError as error:
            if error.reason != FULL or not await asyncio.to_thread(self.release_reserve):
                raise
        return await self._writer.write(work, size=size)

    async def write_outside(self, work: Callable[[Connection], Result]) -> Result:
        """As `write`, for what begins and ends its transactions itself: a checkpoint, `VACUUM INTO`."""
        return await self._writer.write(work, outside=True)

    async def truncate_log(self) -> bool:
        """Empty the write-ahead log, where what was deleted still stands; False where a reader still needs it."""
        return await self._writer.write(truncate_log, outside=True)

    async def read(self, work: Callable[[Connection], Result]) -> Result:
        """Run `work` over one snapshot of the database, in a thread of its own, with a connection that can't write.

        It must be short: the write-ahead log grows as long as somebody reads. Raises `UnavailableError`.
        """
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._read, work)

    @property
    def trouble(self) -> UnavailableError | None:
        """Why the last commit failed, or the next one will; None where nothing stands against it."""
        trouble = self._writer.trouble
        return full() if trouble is None and self._is_reserve_given_up else trouble

    @property
    def is_lost(self) -> bool:
        """Whether its files were removed, replaced or cut: nothing is accepted any more."""
        return self.trouble is not None and self.trouble.reason == LOST

    @property
    def commits(self) -> int:
        return self._writer.commits

    async def check(self) -> None:
        """Raises `UnavailableError` where nothing could be written now."""
        await self._writer.write(_touch)

    def release_reserve(self) -> bool:
        """Give up the room that is held for a full disk; whether there was any. Then `write` fails until it is back."""
        is_released = self._reserve.release()
        self._is_reserve_given_up |= is_released
        return is_released

    async def take_reserve(self) -> bool:
        """Hold that room again, once there is enough."""
        is_taken = await asyncio.to_thread(self._reserve.take)
        self._is_reserve_given_up &= not is_taken
        return is_taken

    async def aclose(self) -> None:
        await self._writer.aclose()
        await asyncio.to_thread(self._threads.shutdown)
        while not self._idle.empty():
            self._idle.get().close()

    def _read(self, work: Callable[[Connection], Result]) -> Result:
        connection = self._idle.get()
        try:
            connection.exec_driver_sql("BEGIN")
            try:
                return work(connection)
            finally:
                connection.exec_driver_sql("ROLLBACK")
        except Exception as error:
            trouble = trouble_of(error, self.path)
            if trouble is None:
                raise
            raise trouble from error
        finally:
            self._idle.put(connection)


def _touch(connection: Connection) -> None:
    """A transaction that writes, and changes nothing."""
    connection.exec_driver_sql("UPDATE installation SET only = only WHERE only = 1")


@contextlib.asynccontextmanager
async def open_database(data_dir: Path, *, reserve_bytes: int = RESERVE_BYTES) -> AsyncIterator[Database]:
    """The database in `data_dir`, made where there is none. Raises `ConfigurationError`."""
    path = data_dir / FILE_NAME

    def open_all() -> tuple[Connection, DatabaseFiles, list[Connection], Installation]:
        try:
            data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigurationError(f"can't make {data_dir}: {error.strerror}; make DATA_DIR writable") from error
        writing = connect_writing(path)
        files = DatabaseFiles(path)
        readers: list[Connection] = []
        try:
            row = writing.execute(select(INSTALLATION.c.id, INSTALLATION.c.tag_key)).one()
            readers.extend(connect_reading(path) for _ in range(_READERS))
            files.note()
        except sqlite3.Error as error:
            _close(writing, *readers)
            raise ConfigurationError(f"{path} can't be read: {error}") from error
        except BaseException:
            _close(writing, *readers)
            raise
        return writing, files, readers, Installation(row.id, row.tag_key)

    writing, files, readers, installation = await asyncio.to_thread(open_all)
    reserve = Reserve(data_dir / _RESERVE, reserve_bytes)
    await asyncio.to_thread(reserve.take)
    writer = Writer(writing, files, path)
    database = Database(path, installation, writer=writer, readers=readers, reserve=reserve)
    writer.start()
    try:
        yield database
    finally:
        await database.aclose()
        await asyncio.to_thread(_close, writing)


def _close(*connections: Connection) -> None:
    for connection in connections:
        connection.close()
