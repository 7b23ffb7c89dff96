"""The connection of the process that folds; it can't write."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Self, TypeVar

from cohort_sync.truth.database import connect_reading

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from sqlalchemy import Connection

Result = TypeVar("Result")


class Reader:
    """Short transactions over the database at `path`: each sees it as of its first statement."""

    def __init__(self, path: str) -> None:
        self._connection = connect_reading(Path(path))

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
