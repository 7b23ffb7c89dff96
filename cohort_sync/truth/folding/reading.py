"""A connection of another process that can't write."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING, Self, TypeVar
from urllib.parse import quote

from sqlalchemy import create_engine
from sqlalchemy.pool import NullPool

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from sqlalchemy import Connection

Result = TypeVar("Result")

_BUSY_SECONDS = 5.0


class Reader:
    """Short transactions over the SQLite file at `path`: each sees it as of its first statement."""

    def __init__(self, path: str) -> None:
        engine = create_engine(
            "sqlite://",
            creator=lambda: sqlite3.connect(
                f"file:{quote(path)}?mode=ro", uri=True, timeout=_BUSY_SECONDS, isolation_level=None,
                check_same_thread=False,
            ),
            poolclass=NullPool,
            isolation_level="AUTOCOMMIT",  # transactions are begun and ended by statements alone
        )  # fmt: skip
        self._connection = engine.connect()

    def read(self, work: Callable[[Connection], Result]) -> Result:
        self._connection.exec_driver_sql("BEGIN")
        try:
            return work(self._connection)
        finally:
            self._connection.exec_driver_sql("ROLLBACK")

    def close(self) -> None:
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
