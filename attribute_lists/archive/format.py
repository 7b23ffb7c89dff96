"""The file that an archive is: records in checked blocks. docs/archive-format.md describes it for other readers.

The file is a zstandard file, so that the tool of that name reads it: a skippable frame with the name of the format,
then blocks, each a skippable frame with its length and a frame (with its checksum) that holds a msgpack array of
records. A block is checked before anything in it is believed.
"""

from __future__ import annotations

import asyncio
import os
import re
import struct
import zlib
from typing import TYPE_CHECKING, Literal

import msgspec
import zstandard

from attribute_lists.names import checked_account, checked_list_id
from foundation.errors import BadRequestError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from typing import BinaryIO

FORMAT = 1

_NAME_FRAME = 0x184D2A5C
_LENGTH_FRAME = 0x184D2A5B
_NAME = re.compile(rb"cohort-gateway archive (\d{1,9})\n")
_LONGEST_NAME = 64
_BLOCK = 256 * 1024  # bytes of records; small, so that nothing waits for one to be packed, read or understood
_LARGEST_BLOCK = 600 * 1024 * 1024  # a block of one record; the store's longest value is 512 MiB
_LEVEL = 3


class Begins(msgspec.Struct, array_like=True, tag="archive"):
    """The first record. `created`: when reading the lists began, Unix milliseconds."""

    created: int
    bookkeeping: bool


class CommonMarks(msgspec.Struct, array_like=True, tag="common-marks"):
    """Marks of applied changes that belong to no one list, with their times (ms)."""

    marks: list[tuple[bytes, int]]


class Extra(msgspec.Struct, array_like=True, tag="extra"):
    """What the writer's caller wanted to be kept."""

    data: bytes


class ListBegins(msgspec.Struct, array_like=True, tag="list"):
    account: str
    list_id: str


class Marks(msgspec.Struct, array_like=True, tag="marks"):
    """Marks of changes that were applied to the list, with their times (ms)."""

    marks: list[tuple[bytes, int]]


class State(msgspec.Struct, array_like=True, tag="state"):
    """The list's description, ledger (None: the archive holds no bookkeeping) and erased persons, of one moment."""

    about: dict[str, str]
    ledger: dict[str, str] | None
    erased: dict[str, int]


class Members(msgspec.Struct, array_like=True, tag="members"):
    """Some members; one may come again in another record."""

    names: list[bytes]


class Body(msgspec.Struct, array_like=True, tag="body"):
    """The members that a page names (`bodies.pack`), needed until `expires` (ms)."""

    digest: str
    expires: int
    packed: bytes


class ListEnds(msgspec.Struct, array_like=True, tag="list-end"):
    """`members`: how many the records named, those that came again included."""

    members: int


class ListVoid(msgspec.Struct, array_like=True, tag="list-void"):
    """What was said of this list since it began doesn't count; it may begin again."""


class Erased(msgspec.Struct, array_like=True, tag="erased"):
    """Persons erased everywhere (keyed hashes) and when (ms), read after all lists."""

    tags: list[tuple[str, int]]


class Definition(msgspec.Struct, array_like=True, tag="definition"):
    """The segments and aliases that mean a list, read after all lists. A list without one was deleted meanwhile."""

    account: str
    list_id: str
    segments: list[str]
    aliases: list[str]


class Ends(msgspec.Struct, array_like=True, tag="archive-end"):
    """The last record. `lists`, `members`: sums over all lists that count."""

    lists: int
    members: int


Record = (
    Begins
    | CommonMarks
    | Extra
    | ListBegins
    | Marks
    | State
    | Members
    | Body
    | ListEnds
    | ListVoid
    | Erased
    | Definition
    | Ends
)

Step = Literal["start", "common", "lists", "list", "state", "end", "ended"]

# After which steps a record may come, and the step that it is.
_STEPS: dict[type[Record], tuple[tuple[Step, ...], Step]] = {
    Begins: (("start",), "common"),
    CommonMarks: (("common",), "common"),
    Extra: (("common",), "common"),
    ListBegins: (("common", "lists"), "list"),
    Marks: (("list",), "list"),
    State: (("list",), "state"),
    Members: (("state",), "state"),
    Body: (("state",), "state"),
    ListEnds: (("state",), "lists"),
    ListVoid: (("list", "state"), "lists"),
    Erased: (("common", "lists", "end"), "end"),
    Definition: (("common", "lists", "end"), "end"),
    Ends: (("common", "lists", "end"), "ended"),
}

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[Record]).decode


def bad_archive(problem: str) -> BadRequestError:
    return BadRequestError(f"the archive can't be used: {problem}", reason="bad_archive")


class ArchiveWriter:
    """Writes records to `file`, packed beside the event loop. Syncing the file is up to the caller."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._compressor = zstandard.ZstdCompressor(level=_LEVEL, write_checksum=True)
        self._pending: list[bytes] = []
        self._size = 0
        self._blocks = 0

    async def write(self, record: Record) -> None:
        encoded = _encode(record)
        self._pending.append(encoded)
        self._size += len(encoded)
        if self._size >= _BLOCK:
            await self.flush()

    async def flush(self) -> None:
        """Everything that was written is in the file when this returns."""
        pending, self._pending, self._size = self._pending, [], 0
        await asyncio.to_thread(self._write_block, pending)

    def _write_block(self, pending: list[bytes]) -> None:
        if self._blocks == 0:
            self._file.write(_skippable(_NAME_FRAME, b"cohort-gateway archive %d\n" % FORMAT))
        if pending:
            frame = self._compressor.compress(struct.pack(">BI", 0xDD, len(pending)) + b"".join(pending))
            self._file.write(_skippable(_LENGTH_FRAME, _checked_length(self._blocks, len(frame))))
            self._file.write(frame)
            self._blocks += 1
        self._file.flush()


def _skippable(magic: int, content: bytes) -> bytes:
    return struct.pack("<II", magic, len(content)) + content


def _checked_length(block: int, length: int) -> bytes:
    # Frames carry checksums, lengths don't. The block's number makes one that is missing or moved stand out.
    return struct.pack("<II", length, zlib.crc32(struct.pack("<QI", block, length)))


class ArchiveReader:
    """Reads `file` from where it stands. `fraction`: how much of it was read."""

    def __init__(self, file: BinaryIO) -> None:
        if not file.seekable():
            raise bad_archive("it must be a file: it is read twice, once to check all of it")
        self._file = file
        self._start = file.tell()
        self._size = max(file.seek(0, os.SEEK_END) - self._start, 1)
        file.seek(self._start)
        self._order = _Order()
        self.fraction = 0.0

    async def records(self) -> AsyncIterator[Record]:
        """All records, of which what `Ends` closes is known to be whole, in the order that the format asks for.

        Raises `BadRequestError` for a file that is not an archive, of another format, cut short or damaged.
        """
        await asyncio.to_thread(self._read_name)
        block = 0
        while (records := await asyncio.to_thread(self._read_block, block)) is not None:
            block += 1
            self.fraction = (self._file.tell() - self._start) / self._size
            for record in records:
                self._order.take(record)
                yield record
                await asyncio.sleep(0)
        self._order.check_end()

    def _read_name(self) -> None:
        magic, length = struct.unpack("<II", self._file.read(8).ljust(8, b"\0"))
        name = self._file.read(length) if magic == _NAME_FRAME and length <= _LONGEST_NAME else b""
        known = _NAME.fullmatch(name)
        if known is None:
            raise bad_archive("this is not an archive of Cohort Gateway")
        if int(known[1]) != FORMAT:
            raise BadRequestError(
                f"the archive has format {int(known[1])}, and this version reads format {FORMAT}: use the version of "
                "cohort-sync that wrote it, or export again with this one",
                reason="unknown_archive_format",
            )

    def _read_block(self, block: int) -> list[Record] | None:
        head = self._file.read(16)
        if not head:
            return None
        magic, size, length, _ = struct.unpack("<IIII", head.ljust(16, b"\0"))
        if (magic, size) != (_LENGTH_FRAME, 8) or head[8:] != _checked_length(block, length):
            raise self._damaged(len(head) == 16)  # noqa: PLR2004 - as many as were asked for
        frame = self._file.read(length)
        try:
            if len(frame) < length or zstandard.get_frame_parameters(frame).content_size > _LARGEST_BLOCK:
                raise self._damaged(len(frame) == length)
            return _decode(zstandard.ZstdDecompressor().decompress(frame))
        except (zstandard.ZstdError, msgspec.MsgspecError):
            raise self._damaged(True) from None

    def _damaged(self, complete: bool) -> BadRequestError:
        what = "it is damaged" if complete else "it is cut short"
        return bad_archive(f"{what}, {self._order.place()}")


class _Order:
    """Checks that records come as the format says, and that their counts agree."""

    def __init__(self) -> None:
        self._step: Step = "start"
        self._list: ListBegins | None = None
        self._members = 0
        self._seen: dict[tuple[str, str], int] = {}
        self._defined: set[tuple[str, str]] = set()

    def place(self) -> str:
        if self._list is None:
            return f"after {len(self._seen)} lists"
        name = f"{self._list.account} {self._list.list_id}"
        return f"in list {name} after {self._members} of its members, {len(self._seen)} lists before it"

    def take(self, record: Record) -> None:
        allowed, step = _STEPS[type(record)]
        if self._step not in allowed:
            raise bad_archive(f"its records are out of order, {self.place()}")
        self._step = step
        match record:
            case ListBegins():
                self._begin(record)
            case Members():
                self._members += len(record.names)
            case ListEnds():
                self._end(record)
            case ListVoid():
                self._list = None
            case Definition():
                self._define(record)
            case Ends() if (record.lists, record.members) != (len(self._seen), sum(self._seen.values())):
                raise bad_archive("its totals don't agree with what it holds")
            case _:
                pass

    def check_end(self) -> None:
        if self._step != "ended":
            raise bad_archive(f"it is cut short, {self.place()}")

    def _begin(self, record: ListBegins) -> None:
        # What becomes part of a key must not reach beyond it.
        name = (checked_account(record.account), checked_list_id(record.list_id))
        if name in self._seen:
            raise bad_archive(f"list {record.account} {record.list_id} is in it twice")
        self._list, self._members = record, 0

    def _end(self, record: ListEnds) -> None:
        if self._list is None or record.members != self._members:
            raise bad_archive(f"members are missing, {self.place()}")
        self._seen[self._list.account, self._list.list_id] = self._members
        self._list = None

    def _define(self, record: Definition) -> None:
        name = (record.account, record.list_id)
        if name not in self._seen or name in self._defined:
            raise bad_archive(f"it defines list {record.account} {record.list_id}, which it does not hold once")
        for alias in record.aliases:
            checked_list_id(alias, field="aliases")
        self._defined.add(name)
