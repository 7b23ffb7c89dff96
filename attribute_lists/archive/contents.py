"""What an archive holds, found by reading all of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import msgspec

from attribute_lists.archive.format import (
    ArchiveReader,
    Begins,
    CommonMarks,
    Definition,
    Erased,
    Extra,
    ListBegins,
    ListEnds,
    Members,
    State,
    bad_archive,
)
from attribute_lists.ledgers import ledger_from

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import BinaryIO

    from attribute_lists.archive.format import Record
    from attribute_lists.order import Ledger
    from attribute_lists.work import ListName


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a long run is: `fraction` of 1, where an estimate will do."""

    stage: Literal["writing", "checking", "reading", "erasing"]
    lists: int
    members: int
    fraction: float


@dataclass(slots=True)
class Summary:
    """What an archive holds, or what was done with it. Times: Unix milliseconds.

    `lists`: members by (account, list id). What a file says may count a member twice; what was read into a store is
    exact. `skipped`: lists that were there already and were left alone. `erased`: members left out for good.
    """

    created: int
    bookkeeping: bool = True
    lists: dict[ListName, int] = field(default_factory=dict)
    extra: list[bytes] = field(default_factory=list)
    skipped: list[ListName] = field(default_factory=list)
    erased: int = 0

    @property
    def members(self) -> int:
        return sum(self.lists.values())


@dataclass(slots=True)
class Contents:
    """A whole archive, but for the lists themselves. `erased`: tags and times (ms)."""

    summary: Summary = field(default_factory=lambda: Summary(0))
    definitions: dict[ListName, Definition] = field(default_factory=dict)
    marks: list[tuple[bytes, int]] = field(default_factory=list)
    erased: dict[str, int] = field(default_factory=dict)
    _ended: dict[ListName, int] = field(default_factory=dict, init=False)
    _name: ListName = field(default=("", ""), init=False)

    def take(self, record: Record) -> None:
        match record:
            case Begins():
                self.summary = Summary(record.created, record.bookkeeping)
            case CommonMarks():
                self.marks += record.marks
            case Extra():
                self.summary.extra.append(record.data)
            case ListBegins():
                self._name = (record.account, record.list_id)
            case State():
                ledger_of(record)
            case ListEnds():
                self._ended[self._name] = record.members
            case Erased():
                self.erased = latest(self.erased, dict(record.tags))
            case Definition():
                name = (record.account, record.list_id)
                self.definitions[name] = record
                self.summary.lists[name] = self._ended[name]
            case _:
                pass


async def read_contents(reader: ArchiveReader, progress: Callable[[Progress], None] | None = None) -> Contents:
    """Check the whole archive. Raises `BadRequestError` for one that isn't whole."""
    contents = Contents()
    lists = members = 0
    async for record in reader.records():
        contents.take(record)
        lists += isinstance(record, ListEnds)
        if isinstance(record, Members) and progress is not None:
            members += len(record.names)
            progress(Progress("checking", lists, members, reader.fraction))
    return contents


async def inspect_archive(file: BinaryIO, *, progress: Callable[[Progress], None] | None = None) -> Summary:
    """Check the whole file, and say what it holds. Raises `BadRequestError` for one that isn't a whole archive."""
    return (await read_contents(ArchiveReader(file), progress)).summary


def ledger_of(state: State, erased: dict[str, int] | None = None) -> Ledger:
    """The ledger that stands in `state`, with other erasures than its own where they are given."""
    tags = {tag.encode(): at for tag, at in (state.erased if erased is None else erased).items()}
    try:
        return ledger_from(state.ledger or {}, state.about.get("mode"), tags)
    except (msgspec.MsgspecError, ValueError) as error:
        raise bad_archive(f"a ledger in it can't be read: {error}") from None


def latest(first: dict[str, int], second: dict[str, int]) -> dict[str, int]:
    """When each was erased last."""
    return {tag: max(first.get(tag, -1), second.get(tag, -1)) for tag in first | second}
