"""The erased persons, as the database remembers them: by a keyed hash, on which nobody without the key can try ids."""

from __future__ import annotations

import functools
import threading
from typing import TYPE_CHECKING

from sqlalchemy import text

from cohort_sync.truth.database.prepared import Prepared
from cohort_sync.truth.facts.erasures import tag_of
from cohort_sync.truth.fold import Erased

if TYPE_CHECKING:
    from sqlalchemy import Connection

_INSTALLATION = Prepared(text("SELECT erasure, tag_key FROM installation"))
_ERASURES = text("SELECT tag, at, person, finished_at FROM erasures")


class ErasedPersons:
    """Read again where there is an erasure more. One that was finished since is still taken for unfinished: no harm."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: Erased | None = None

    def get(self, connection: Connection) -> Erased:
        number, tag_key = _INSTALLATION.run(connection, {}).fetchone()
        with self._lock:
            if self._known is None or self._known.number != number:
                self._known = read_erased(connection, number, tag_key)
            return self._known

    def forget(self) -> None:
        """Read them again at the next question: an erasure is finished, and its person's id shall be nowhere."""
        with self._lock:
            self._known = None


def read_erased(connection: Connection, number: int, tag_key: bytes) -> Erased:
    """All of them; `number`: that of the newest erasure."""
    tags: dict[bytes, int] = {}
    unfinished: dict[bytes, int] = {}
    unknown: dict[bytes, int] = {}
    for found in connection.execute(_ERASURES):
        _note(tags, bytes(found.tag), found.at)
        if found.person is not None:
            _note(unfinished, bytes(found.person), found.at)
        elif found.finished_at is None:
            _note(unknown, bytes(found.tag), found.at)
    return Erased(number, tags, functools.partial(tag_of, key=tag_key), unfinished, unknown)


def _note(places: dict[bytes, int], name: bytes, at: int) -> None:
    places[name] = max(at, places.get(name, -1))
