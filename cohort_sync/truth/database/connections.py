"""Connections to the SQLite file: the one that writes, made with its schema, and those that only read."""

from __future__ import annotations

import os
import re
import secrets
import sqlite3
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from sqlalchemy import create_engine
from sqlalchemy.pool import NullPool

from foundation.errors import ConfigurationError

if TYPE_CHECKING:
    from sqlalchemy import Connection

APPLICATION_ID = 0x43475753  # "CGWS"
SCHEMA = Path(__file__).parent.parent / "schema"
_NUMBERED = re.compile(r"(\d{4})\.sql")
_BUSY_SECONDS = 2.0  # somebody looks at the database with a tool that locks it
_CACHE_KIB = 16 * 1024

_WRITING = (
    "PRAGMA journal_mode=WAL",
    "PRAGMA synchronous=FULL",
    "PRAGMA secure_delete=ON",
    "PRAGMA foreign_keys=ON",
    "PRAGMA trusted_schema=OFF",
    "PRAGMA cell_size_check=ON",
    f"PRAGMA cache_size=-{_CACHE_KIB}",
    "PRAGMA wal_autocheckpoint=0",  # the writer does it after its answers, when it has looked at the files
)


def connect_writing(path: Path) -> Connection:
    """The one connection that writes; the file and its schema are made where they are missing.

    Raises `ConfigurationError`: another program's file, one of a newer version, no right to write.
    """
    try:
        if not path.exists():
            os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
            _sync_directory(path.parent)
        raw = _connect(path, "rw")
    except (OSError, sqlite3.Error) as error:
        raise ConfigurationError(f"{path} can't be opened: {error}; make DATA_DIR writable for this user") from error
    try:
        _check(raw, path)
        for pragma in _WRITING:
            raw.execute(pragma)
        _migrate(raw)
        # The write-ahead log is there from the first transaction on.
        raw.execute("SELECT id FROM installation").fetchone()
    except sqlite3.Error as error:
        raw.close()
        raise ConfigurationError(
            f"{path} can't be used: {error}; make DATA_DIR writable and make room, or restore a backup"
        ) from error
    except BaseException:
        raw.close()
        raise
    return _core(raw)


def connect_reading(path: Path) -> Connection:
    """A connection that can't write. Raises `sqlite3.Error`."""
    raw = _connect(path, "ro")
    raw.execute("PRAGMA cell_size_check=ON")
    return _core(raw)


def _connect(path: Path, mode: str) -> sqlite3.Connection:
    return sqlite3.connect(
        f"file:{quote(os.fspath(path.absolute()))}?mode={mode}",
        uri=True,
        timeout=_BUSY_SECONDS,
        isolation_level=None,  # the driver begins nothing by itself
        check_same_thread=False,  # one thread at a time, but not always the same
        cached_statements=256,
    )


def _core(raw: sqlite3.Connection) -> Connection:
    """SQLAlchemy's connection over `raw`; transactions are begun and ended by statements alone."""
    engine = create_engine("sqlite://", creator=lambda: raw, poolclass=NullPool, isolation_level="AUTOCOMMIT")
    return engine.connect()


def _check(raw: sqlite3.Connection, path: Path) -> None:
    (application,) = raw.execute("PRAGMA application_id").fetchone()
    (tables,) = raw.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if application != APPLICATION_ID and (application or tables):
        raise ConfigurationError(f"{path} is the database of another program: set DATA_DIR to a folder of our own")
    (version,) = raw.execute("PRAGMA user_version").fetchone()
    if version > _schemas()[-1][0]:
        raise ConfigurationError(f"{path} was written by a newer version of this program: run that version")


def _migrate(raw: sqlite3.Connection) -> None:
    (version,) = raw.execute("PRAGMA user_version").fetchone()
    for number, schema in _schemas():
        if number <= version:
            continue
        # All or nothing, whenever the process ends.
        raw.executescript(
            f"BEGIN IMMEDIATE;\n{schema.read_text()}\n"
            f"PRAGMA application_id={APPLICATION_ID};\nPRAGMA user_version={number};\nCOMMIT;"
        )
    raw.execute(
        "INSERT OR IGNORE INTO installation (only, id, tag_key, created_at) VALUES (1, ?, ?, ?)",
        (str(uuid.uuid4()), secrets.token_bytes(32), int(time.time() * 1000)),
    )


def _schemas() -> list[tuple[int, Path]]:
    found = ((_NUMBERED.fullmatch(path.name), path) for path in SCHEMA.iterdir())
    return sorted((int(match[1]), path) for match, path in found if match)


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
