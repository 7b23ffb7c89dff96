"""Rows of the write side's database, written as its write path leaves them, and no faster than that need be."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import sqlite3
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from sqlalchemy import create_engine
from sqlalchemy.pool import NullPool

import cohort_sync.truth
from attribute_lists.bodies import Names, pack
from attribute_lists.projection.truth import Version
from cohort_sync.truth.facts.erasures import tag_of
from cohort_sync.truth.folding.reading import Reader
from cohort_sync.truth.order import OPERATOR, SENDER
from cohort_sync.truth.window import page_digest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from sqlalchemy import Connection

Result = TypeVar("Result")

SCHEMA = Path(cohort_sync.truth.__file__).parent / "schema"
TAG_KEY = b"k" * 32
ACCOUNT = "123456"


class Rows:
    """A database. `read` and `write` are what the truth and the folder ask for; both run in threads."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.writes = 0
        self._lists = itertools.count(1)
        self._raw = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        for pragma in ("journal_mode=WAL", "synchronous=OFF", "secure_delete=ON", "foreign_keys=ON"):
            self._raw.execute(f"PRAGMA {pragma}")
        for script in sorted(SCHEMA.glob("*.sql")):
            self._raw.executescript(script.read_text())
        engine = create_engine("sqlite://", creator=lambda: self._raw, poolclass=NullPool, isolation_level="AUTOCOMMIT")
        self._connection = engine.connect()
        self._reader = Reader(str(path))
        self.insert("installation", only=1, id="installation", tag_key=TAG_KEY, created_at=0)

    def close(self) -> None:
        self._reader.close()
        self._connection.close()

    async def read(self, work: Callable[[Connection], Result]) -> Result:
        return await asyncio.to_thread(self._reader.read, work)

    async def write(self, work: Callable[[Connection], Result], *, size: int = 0) -> Result:
        del size
        return await asyncio.to_thread(self.write_now, work)

    write_from_reserve = write

    def read_now(self, work: Callable[[Connection], Result]) -> Result:
        return self._reader.read(work)

    def write_now(self, work: Callable[[Connection], Result]) -> Result:
        self.writes += 1
        with self.transaction():
            return work(self._connection)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        self._connection.exec_driver_sql("BEGIN")
        try:
            yield
        except BaseException:
            self._connection.exec_driver_sql("ROLLBACK")
            raise
        self._connection.exec_driver_sql("COMMIT")

    def insert(self, table: str, **values: object) -> int:
        """Columns that are required and say nothing here get nothing."""
        for _, name, kind, required, default, key in self._raw.execute(f"PRAGMA table_info({table})"):
            if required and default is None and not key and name not in values:
                values[name] = {"TEXT": "", "BLOB": b""}.get(kind, 0)
        names = ", ".join(values)
        marks = ", ".join("?" * len(values))
        statement = f"INSERT INTO {table} ({names}) VALUES ({marks})"  # noqa: S608 - words of tests
        return self._raw.execute(statement, tuple(values.values())).lastrowid or 0

    def run(self, statement: str, **parameters: object) -> list[tuple[object, ...]]:
        return [tuple(row) for row in self._raw.execute(statement, parameters)]

    def number(self, statement: str, **parameters: object) -> int:
        value = self._raw.execute(statement, parameters).fetchone()[0]
        return 0 if value is None else int(value)


class ListRows:
    """One list's rows. Times and places are milliseconds."""

    def __init__(self, rows: Rows, name: str | None = None, *, source: str = "heap") -> None:
        self.rows = rows
        self.row = rows.insert(
            "lists", account=ACCOUNT, name="", source=source, segment_id="", segment_name="", is_active=1, created_at=0
        )
        self.name = name or f"list_{self.row}"
        rows.run("UPDATE lists SET name = :name, segment_id = :name WHERE id = :row", name=self.name, row=self.row)

    @property
    def version(self) -> Version:
        number, chain = self.rows.run("SELECT version, chain FROM lists WHERE id = :row", row=self.row)[0]
        return Version(number, chain)  # type: ignore[arg-type] # as the schema says

    @property
    def folded_to(self) -> int:
        return self.rows.number("SELECT COALESCE(MAX(at), -1) FROM bases WHERE list = :row", row=self.row)

    def task(
        self,
        name: str,
        at: int,
        *,
        mode: str = "delta",
        state: str | None = None,
        kind: str = "sync",
        now: int | None = None,
        run: int = 0,
    ) -> int:
        state = state or ("open" if mode == "snapshot" and kind in ("sync", "import") else "complete")
        row = self.rows.insert(
            "tasks",
            list=self.row,
            kind=kind,
            name=name,
            run=run,
            mode=mode,
            at=at,
            rank=SENDER if kind == "sync" else OPERATOR,
            newest=at,
            total=1,
            state=state,
            last_page_at=at if now is None else now,
        )
        if kind != "sync":
            self._fact(kind="task", task=row, place=at)
        return row

    def page(
        self,
        task: int,
        add: Iterable[bytes] = (),
        remove: Iterable[bytes] = (),
        *,
        at: int | None = None,
        now: int | None = None,
    ) -> int:
        """A page of `task`, which moves it where it is signed earlier; its version."""
        place = self.rows.number("SELECT at FROM tasks WHERE id = :task", task=task)
        signed = place if at is None else at
        self.rows.run(
            "UPDATE tasks SET at = MIN(at, :at), last_page_at = MAX(last_page_at, :now) WHERE id = :task",
            at=max(signed, self.folded_to + 1),
            now=signed if now is None else now,
            task=task,
        )
        names = Names(list(add), list(remove))
        body = pack(names)
        return self._fact(
            kind="page",
            task=task,
            number=1,
            place=signed,
            adds=len(names.add),
            removes=len(names.remove),
            body=body,
            body_digest=page_digest(body),
        )

    def move(self, task: int, at: int) -> int:
        self.rows.run("UPDATE tasks SET at = :at WHERE id = :task", at=at, task=task)
        return self._fact(kind="move", task=task, place=at)

    def end(self, task: int, state: str) -> int:
        self.rows.run("UPDATE tasks SET state = :state WHERE id = :task", state=state, task=task)
        return self._fact(kind="end", task=task, place=self.place(task))

    def place(self, task: int) -> int:
        return self.rows.number("SELECT at FROM tasks WHERE id = :task", task=task)

    def empty(self, at: int, *, kind: str = "drain", now: int | None = None) -> int:
        name = f"{self.version.number + 1:015d}"
        return self.task(name, at, mode="snapshot", kind=kind, now=now)

    def describe(self) -> int:
        return self._fact(kind="describe")

    def _fact(self, **values: object) -> int:
        number, chain = self.version
        number += 1
        chain = hashlib.blake2b(chain + repr(sorted(values.items())).encode(), digest_size=8).digest()
        self.rows.insert("facts", list=self.row, version=number, chain=chain, accepted_at=0, **values)
        self.rows.run(
            "UPDATE lists SET version = :number, chain = :chain WHERE id = :row",
            number=number,
            chain=chain,
            row=self.row,
        )
        return number


def erase(rows: Rows, person: bytes, at: int) -> int:
    """Its number."""
    rows.run("UPDATE installation SET erasure = erasure + 1")
    number = rows.number("SELECT erasure FROM installation")
    rows.insert("erasures", number=number, tag=tag_of(person, TAG_KEY), at=at, person=person, requested_at=0)
    return number


def finish_erasure(rows: Rows, number: int) -> None:
    rows.run("UPDATE erasures SET person = NULL, finished_at = 1 WHERE number = :number", number=number)
