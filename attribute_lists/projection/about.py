"""What a set shows of itself: the fields of `about` that the projection reads, and how they are written."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from redis.exceptions import RedisError

from attribute_lists.projection.truth import Version
from foundation.wire import pack

if TYPE_CHECKING:
    from attribute_lists.projection.truth import ListHead

READ_FIELDS = ("database", "version", "erasure", "staging", "size", "beside", "active")


class Shown(NamedTuple):
    """Which version of which database a set shows, as `about` says it; nothing where a field is missing.

    `staging`: token of the staging set that is to take its place. These are the fields that guards compare.
    """

    database: bytes = b""
    version: bytes = b""
    erasure: bytes = b""
    staging: bytes = b""

    @property
    def is_nothing(self) -> bool:
        """Whether no database left its name."""
        return not self.database and not self.version

    def version_of(self, database: bytes) -> Version | None:
        """The version, where `database` may have written it."""
        return parse_version(self.version) if self.database == database else None

    @property
    def erasure_number(self) -> int:
        """The number of the erasure up to which the set is cleansed; 0 where it says none."""
        return int(self.erasure) if self.erasure.isdigit() else 0

    def text(self) -> str:
        """For people."""
        if self.is_nothing:
            return "no version"
        words = f"{self.version.decode(errors='replace')} of database {self.database.decode(errors='replace')}"
        return f"{words}, cleansed up to erasure {self.erasure_number}" if self.erasure_number else words


class Beside(NamedTuple):
    """Up to where a set that another database wrote has been given our changes, too."""

    version: Version
    erasure: int


class Found(NamedTuple):
    """One list as the store has it.

    `has_about`: False where the key holds no hash. `size`: what `about` says. `members`: how many there are; None where
    the key holds no set. `is_there`: somebody put a list there, with a version or without.
    """

    shown: Shown
    size: int | None
    beside: bytes
    has_about: bool
    members: int | None
    is_there: bool

    @property
    def is_right_size(self) -> bool:
        return self.members is not None and self.members == self.size

    @property
    def has_lost_set(self) -> bool:
        """Whether the set is gone, or most of it is, or another type stands in its place."""
        if self.members is None:
            return True
        return self.members == 0 if self.size is None else is_lost(self.members, self.size)


def is_lost(members: int, expected: int) -> bool:
    """Whether so few are left that "not in" is the wrong answer more often than not.

    A page may have put some into a set that was gone.
    """
    return 2 * members < expected


def read_commands(about: str, members: str) -> bytes:
    """Commands whose two replies are a `Found`."""
    return pack("HMGET", about, *READ_FIELDS) + pack("SCARD", members)


def found(about: Any, members: Any) -> Found:
    """The replies to `read_commands`. Raises what the store says against answering."""
    has_about = not is_wrong_type(about)
    if isinstance(members, RedisError) and not is_wrong_type(members):
        raise members
    if has_about and isinstance(about, RedisError):
        raise about
    fields = [field or b"" for field in about] if has_about else [b""] * len(READ_FIELDS)
    database, version, erasure, staging, size, beside, active = fields
    return Found(
        Shown(database, version, erasure, staging),
        int(size) if size.isdigit() else None,
        beside,
        has_about,
        None if isinstance(members, RedisError) else members,
        bool(active or members),
    )


def shown(database: bytes, head: ListHead) -> Shown:
    """What a set shows that is as `head` says."""
    return Shown(database, version_text(head.version), str(head.erasure).encode())


def about_fields(database: bytes, head: ListHead) -> list[bytes | str]:
    """All of `about` but the size, names and values in turn."""
    of_version = shown(database, head)
    fields: list[bytes | str] = ["database", of_version.database]
    fields += ["version", of_version.version, "erasure", of_version.erasure]
    for pair in head.description.items():
        fields += pair
    return fields


def beside_text(database: bytes, head: ListHead) -> bytes:
    return b" ".join((database, version_text(head.version), str(head.erasure).encode()))


def parse_beside(text: bytes, database: bytes) -> Beside | None:
    """None where another database wrote it, or nobody."""
    of, _, rest = text.partition(b" ")
    version_field, _, erasure = rest.partition(b" ")
    version = parse_version(version_field)
    return Beside(version, int(erasure)) if of == database and version is not None and erasure.isdigit() else None


def version_text(version: Version) -> bytes:
    return f"{version.number}:{version.chain.hex()}".encode()


def parse_version(text: bytes) -> Version | None:
    """None for what `version_text` did not write."""
    number, _, chain = text.partition(b":")
    try:
        return Version(int(number), bytes.fromhex(chain.decode()))
    except ValueError:
        return None


def is_wrong_type(reply: Any) -> bool:
    """Whether the key holds another type than the command is for."""
    return isinstance(reply, RedisError) and str(reply).startswith("WRONGTYPE")
