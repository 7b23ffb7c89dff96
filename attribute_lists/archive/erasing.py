"""Keep erased persons out of what an archive brings back."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from attribute_lists.archive.contents import Progress, latest
from attribute_lists.archive.format import (
    ArchiveReader,
    ArchiveWriter,
    Body,
    Definition,
    Ends,
    Erased,
    ListBegins,
    ListEnds,
    Members,
    State,
    bad_archive,
)
from attribute_lists.bodies import Names, pack, unpack
from attribute_lists.settling import tag_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import BinaryIO

    from attribute_lists.archive.format import Record


class Sieve:
    """Leaves out members of one list of an archive. `erased`: when persons were erased (tags, ms).

    `known`: the erasures that the list had seen when its members were read. A person who is in the list after an
    erasure that it had seen was brought back by a later task, and stays.
    """

    def __init__(self, erased: Mapping[str, int], known: Mapping[str, int], tag_key: bytes) -> None:
        self._tags = {tag.encode() for tag, at in erased.items() if at > known.get(tag, -1)}
        self._tag_key = tag_key
        self.left_out = 0

    def members(self, members: list[bytes]) -> list[bytes]:
        if not self._tags:
            return members
        kept = [member for member in members if not self._stops(member)]
        self.left_out += len(members) - len(kept)
        return kept

    def body(self, packed: bytes) -> bytes:
        if not self._tags:
            return packed
        try:
            names = unpack(packed)
        except ValueError as error:
            raise bad_archive(f"a page in it can't be read: {error}") from None
        left = Names(*([member for member in part if not self._stops(member)] for part in names))
        changed = any(len(before) != len(after) for before, after in zip(names, left, strict=True))
        return pack(left) if changed else packed

    def _stops(self, member: bytes) -> bool:
        return tag_of(member, self._tag_key) in self._tags


async def erase_from_archive(
    source: BinaryIO,
    target: BinaryIO,
    erased: Mapping[bytes, int],
    *,
    tag_key: bytes,
    progress: Callable[[Progress], None] | None = None,
) -> int:
    """Copy an archive without the persons erased (`tag_of` them, and when, ms); how many memberships that took.

    The copy remembers the erasures. Syncing `target`, and putting it in the place of `source`, is up to the caller.
    Raises `BadRequestError` for an archive that isn't whole; `target` is then nothing that anybody would read.
    """
    copy = _Copy(ArchiveReader(source), ArchiveWriter(target), erased, tag_key, progress)
    return await copy.run()


class _Copy:
    def __init__(
        self,
        reader: ArchiveReader,
        writer: ArchiveWriter,
        erased: Mapping[bytes, int],
        tag_key: bytes,
        progress: Callable[[Progress], None] | None,
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._erased = {tag.decode(): at for tag, at in erased.items()}
        self._tag_key = tag_key
        self._progress = progress
        self._sieve = Sieve({}, {}, b"")
        self._lists = self._total = self._members = self._left_out = 0
        self._told = False

    async def run(self) -> int:
        async for record in self._reader.records():
            if isinstance(record, Erased | Definition | Ends) and not self._told:
                self._told = True
                await self._writer.write(Erased(list(self._erased.items())))
            if isinstance(record, Body):
                packed = await asyncio.to_thread(self._sieve.body, record.packed)
                await self._writer.write(Body(record.digest, record.expires, packed))
            else:
                await self._writer.write(self._without(record))
        await self._writer.flush()
        return self._left_out

    def _without(self, record: Record) -> Record:
        match record:
            case ListBegins():
                self._members = 0
            case State():
                self._sieve = Sieve(self._erased, record.erased, self._tag_key)
                return State(record.about, record.ledger, latest(record.erased, self._erased))
            case Members():
                kept = self._sieve.members(record.names)
                self._members += len(kept)
                self._report()
                return Members(kept)
            case ListEnds():
                self._lists += 1
                self._total += self._members
                self._left_out += self._sieve.left_out
                return ListEnds(self._members)
            case Ends():
                return Ends(self._lists, self._total)
            case _:
                pass
        return record

    def _report(self) -> None:
        if self._progress is not None:
            self._progress(Progress("erasing", self._lists, self._total + self._members, self._reader.fraction))
