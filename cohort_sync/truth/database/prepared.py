"""Statements compiled once, for what every page runs: SQLAlchemy takes ten times as long as SQLite over small ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection
    from sqlalchemy.sql import ClauseElement


class Prepared:
    """A statement of SQLAlchemy Core, compiled for the dialect that it is first run on and run by the driver.

    Its parameters are integers, texts and bytes, which drivers take as they are. `columns`: those that an insert or an
    update sets, where the statement does not say. Errors are the driver's own.
    """

    def __init__(self, statement: ClauseElement, *columns: str) -> None:
        self._statement = statement
        self._columns: Sequence[str] | None = columns or None
        self._text: str | None = None
        self._names: list[str] = []
        self._constants: dict[str, Any] = {}

    def run(self, connection: Connection, values: dict[str, Any]) -> Any:
        """The driver's cursor."""
        if self._text is None:
            self._compile(connection)
        values = self._constants | values
        raw: Any = connection.connection.dbapi_connection
        return raw.execute(self._text, [values[name] for name in self._names])

    def _compile(self, connection: Connection) -> None:
        compiled: Any = self._statement.compile(dialect=connection.dialect, column_keys=self._columns)
        self._names = list(compiled.positiontup)
        self._constants = {name: value for name, value in compiled.params.items() if value is not None}
        self._text = str(compiled)
