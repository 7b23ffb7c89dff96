"""Read lists from an archive: each is gathered beside what is there, and takes its place in one step."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING

from attribute_lists import keys
from attribute_lists.archive.claims import Claims
from attribute_lists.archive.contents import Progress, Summary, latest, ledger_of, read_contents
from attribute_lists.archive.erasing import Sieve
from attribute_lists.archive.format import (
    ArchiveReader,
    Body,
    ListBegins,
    ListEnds,
    ListVoid,
    Marks,
    Members,
    State,
    bad_archive,
)
from attribute_lists.archive.parts import ListParts
from attribute_lists.archive.writing import RESTORED
from attribute_lists.filling import SLICE
from attribute_lists.work import Ordering
from foundation.errors import NotFoundError, UnavailableError
from foundation.store import STORE_ERRORS

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from typing import BinaryIO

    from attribute_lists.archive.claims import Existing
    from attribute_lists.archive.contents import Contents
    from attribute_lists.archive.format import Definition, Record
    from attribute_lists.work import ListName
    from foundation.store import Store

# What stands in a list's description on behalf of its ledger.
_OF_LEDGER = ("task", "task_at", "task_pages", "task_total", "held", "drained")


async def read_archive(
    store: Store,
    file: BinaryIO,
    *,
    existing: Existing = "refuse",
    only: Collection[ListName] | None = None,
    with_bookkeeping: bool = True,
    ordering: Ordering | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> Summary:
    """Bring lists of the archive (`only` these, or all) into the store; `file` must be seekable, for it is read twice.

    The whole archive is checked before anything changes. Each list appears whole, in one step, with an order of its own
    that nobody's plans fit. Persons erased here, or while the archive was written, stay out.

    `existing`: what becomes of lists that are there already. "refuse" raises `ConflictError`. "replace" puts the
    archive's in their place. "restore", for a store that was emptied, does so too and takes their names from other
    lists, but leaves alone those that were restored before, by this or another process.

    `with_bookkeeping`: take the marks and ledgers too, so that the lists go on as they were when the archive was
    written, and what the marks don't name can be applied again. Without, a list counts as what was there before all
    tasks; its marks, and the time of its drain, stay those of the store.

    Raises `BadRequestError` for an archive that isn't whole, `NotFoundError` for a list that isn't in it,
    `ConflictError` for names that mean other lists here, the store's errors, and `UnavailableError` when the store was
    emptied meanwhile, or somebody erased. After an error each list is either as it was or as in the archive.
    """
    reader = ArchiveReader(file)
    start = file.tell()
    checked = await read_contents(reader, progress)
    if existing == "restore" and not checked.summary.bookkeeping:
        raise bad_archive("a store can't be restored from it, it holds no bookkeeping")
    for name in only or ():
        if name not in checked.definitions:
            raise NotFoundError(f"the archive has no list {name[0]} {name[1]}", reason="unknown_list")
    wanted = [name for name in checked.definitions if only is None or name in only]
    skipped = [name for name in wanted if existing == "restore" and await _is_restored(store, name)]
    chosen = {name: checked.definitions[name] for name in wanted if name not in skipped}
    claims = Claims(store, existing, chosen)
    await claims.check(list(chosen.values()))
    with_bookkeeping = with_bookkeeping and checked.summary.bookkeeping
    run = _Import(store, checked, chosen, claims, ordering or Ordering(), progress, with_bookkeeping=with_bookkeeping)
    run.summary.skipped += skipped
    run.mark_restored = existing == "restore"
    file.seek(start)
    await run.read(ArchiveReader(file))
    return run.summary


async def _is_restored(store: Store, name: ListName) -> bool:
    return await store.execute_command("ZSCORE", keys.applied(*name), RESTORED) is not None


class _Import:
    """The second reading of a checked archive."""

    def __init__(
        self,
        store: Store,
        checked: Contents,
        chosen: dict[ListName, Definition],
        claims: Claims,
        ordering: Ordering,
        progress: Callable[[Progress], None] | None,
        *,
        with_bookkeeping: bool,
    ) -> None:
        self.summary = Summary(checked.summary.created, checked.summary.bookkeeping, extra=checked.summary.extra)
        self.mark_restored = False
        self._store = store
        self._checked = checked
        self._chosen = chosen
        self._claims = claims
        self._ordering = ordering
        self._progress = progress
        self._bookkeeping = with_bookkeeping
        self._erased: dict[str, int] = {}
        self._erased_here: dict[str, int] = {}
        self._members = 0
        self._parts: ListParts | None = None
        self._state = State({}, {}, {})
        self._sieve = Sieve({}, {}, b"")

    async def read(self, reader: ArchiveReader) -> None:
        self._erased_here = await self._tombstones()
        self._erased = latest(self._checked.erased, self._erased_here)
        try:
            async for record in reader.records():
                await self._take(record)
                if self._progress is not None and isinstance(record, Members):
                    self._progress(Progress("reading", len(self.summary.lists), self._members, reader.fraction))
        except BaseException:
            if self._parts is not None:
                with contextlib.suppress(*STORE_ERRORS):  # what is left has a lifetime
                    await self._parts.discard()
            raise
        if self._bookkeeping:
            await self._remember(keys.REGISTRY_ERASED, [(tag.encode(), at) for tag, at in self._checked.erased.items()])
            # Last of all: a mark must not be there without what it stands for.
            await self._remember(keys.REGISTRY_APPLIED, self._checked.marks)

    async def _take(self, record: Record) -> None:
        if isinstance(record, ListBegins) and (record.account, record.list_id) in self._chosen:
            name = (record.account, record.list_id)
            self._parts = ListParts(self._store, name, bookkeeping=self._bookkeeping)
        parts = self._parts
        if parts is None:
            return
        match record:
            case Marks() if self._bookkeeping:
                await parts.add_marks(record.marks)
            case State():
                self._state, self._sieve = record, Sieve(self._erased, record.erased, self._ordering.tag_key)
            case Members():
                await parts.add_members(self._sieve.members(record.names))
                self._members += len(record.names)
            case Body() if self._bookkeeping:
                packed = await asyncio.to_thread(self._sieve.body, record.packed)
                await parts.add_body(record.digest, record.expires, packed)
            case ListVoid():
                self._parts = None
                await parts.discard()
            case ListEnds():
                await self._finish(parts)
                self._parts = None
            case _:
                pass

    async def _finish(self, parts: ListParts) -> None:
        state, name = self._state, parts.name
        erased = latest(state.erased, self._erased)
        await parts.add_erased(erased)
        if self._bookkeeping:
            ledger = ledger_of(state, erased)
            await parts.add_ledger(state.ledger or {}, ledger, self._ordering)
            await parts.add_about(state.about)
            if self.mark_restored:
                await parts.add_marks([(RESTORED, int(time.time() * 1000))])
        else:
            drained: bytes | None = await self._store.execute_command("HGET", keys.ledger(*name), "drained")
            await parts.add_ledger({"drained": drained.decode()} if drained else {})
            await parts.add_about({field: value for field, value in state.about.items() if field not in _OF_LEDGER})
        if latest(self._erased_here, await self._tombstones()) != self._erased_here:
            raise UnavailableError("a person was erased meanwhile; read the archive again", reason="erased_meanwhile")
        if self.mark_restored and await _is_restored(self._store, name):
            self.summary.skipped.append(name)
            await parts.discard()
            return
        await self._claims.take(self._chosen[name])
        await parts.go_live()
        await self._store.execute_command("PUBLISH", keys.CHANGES, "lists")
        self.summary.lists[name] = parts.members
        self.summary.erased += self._sieve.left_out

    async def _tombstones(self) -> dict[str, int]:
        cursor, found = 0, dict[str, int]()
        while True:
            cursor, some = await self._store.execute_command("ZSCAN", keys.REGISTRY_ERASED, cursor, "COUNT", 1000)
            found |= {tag.decode(): int(at) for tag, at in some}
            if cursor == 0:
                return found

    async def _remember(self, key: str, marks: list[tuple[bytes, int]]) -> None:
        for start in range(0, len(marks), SLICE):
            pairs = [part for mark, at in marks[start : start + SLICE] for part in (at, mark)]
            await self._store.execute_command("ZADD", key, "GT", *pairs)
