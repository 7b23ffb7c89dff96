"""Acceptance of erasures: from its place on, a person is out of everything that was placed before."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import func, insert, select, update

from attribute_lists.bodies import Names
from cohort_sync.truth.database.prepared import Prepared
from cohort_sync.truth.facts.log import audit
from cohort_sync.truth.tables import ERASURES, INSTALLATION

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy import Connection

_NUMBER = Prepared(select(INSTALLATION.c.erasure))


@dataclass(frozen=True, slots=True)
class Erasure:
    """A tombstone: its number, the hash of the person, and its place (ms)."""

    number: int
    tag: bytes
    at: int


def tag_of(person: bytes, key: bytes) -> bytes:
    """How an erased person is remembered: a keyed hash, which nobody without the key can try names on."""
    return hashlib.blake2b(person, key=key, digest_size=16).digest()


def latest_erasure(connection: Connection) -> int:
    """The latest place (ms) of all; 0 where there is none."""
    return connection.execute(select(func.max(ERASURES.c.at))).scalar() or 0


def erasures_so_far(connection: Connection) -> int:
    """The number of the newest erasure, one that was accepted a moment ago in the same commit included."""
    return int(_NUMBER.run(connection, {}).fetchone()[0])


def erased_since(connection: Connection, place: int) -> dict[bytes, int]:
    """Who is erased at `place` (ms) or later, each with the latest place of it."""
    found = connection.execute(
        select(ERASURES.c.tag, func.max(ERASURES.c.at)).where(ERASURES.c.at >= place).group_by(ERASURES.c.tag)
    )
    return {row[0]: row[1] for row in found}


def erase(connection: Connection, person: bytes, tag: bytes, *, at: int, actor: str, now: int) -> Erasure:
    """The tombstone, with the person's id until all that names them is rewritten."""
    number = connection.execute(select(INSTALLATION.c.erasure)).scalar_one() + 1
    connection.execute(update(INSTALLATION).values(erasure=number))
    row = {"number": number, "tag": tag, "at": at, "person": person, "requested_at": now}
    connection.execute(insert(ERASURES), row)
    audit(connection, actor=actor, action="erase", now=now, at=at, number=number)
    return Erasure(number, tag, at)


def without(names: Names, erased: Mapping[bytes, int], key: bytes) -> Names:
    """`names` without those who are erased; itself, where none is."""
    if not erased:
        return names
    add, remove = (_left(part, erased, key) for part in names)
    return names if len(add) == len(names.add) and len(remove) == len(names.remove) else Names(add, remove)


def _left(members: Sequence[bytes], erased: Mapping[bytes, int], key: bytes) -> list[bytes]:
    return [member for member in members if tag_of(member, key) not in erased]
