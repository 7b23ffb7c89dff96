"""Apply a record of the journal to the store: the same way when it is new and when it is replayed."""

from __future__ import annotations

from typing import TYPE_CHECKING, assert_never

from attribute_lists.bodies import Names, unpack
from attribute_lists.changes import Changes, Outcome, Page
from attribute_lists.definitions import Definitions
from cohort_sync.audit import tell
from cohort_sync.records import DrainRecord, OperationRecord, PageRecord

if TYPE_CHECKING:
    from attribute_lists.work import Ordering
    from cohort_sync.connections import Connections
    from cohort_sync.records import ListOrigin, Record
    from foundation.store import Store


class Applier:
    """Takes records to the store. All methods may raise the store's errors and `UnavailableError`.

    `active`: whether a list that comes with its first page answers from the start.
    """

    def __init__(self, store: Store, ordering: Ordering, connections: Connections, *, active: bool) -> None:
        self._store = store
        self.definitions = Definitions(store)
        self.changes = Changes(store, ordering)
        self._connections = connections
        self._active = active

    async def apply(self, record: Record, *, names: Names | None = None, member: bytes | None = None) -> Outcome:
        """What the record did. `names`: a page's members, where the caller has them unpacked already.

        `member`: the person that an erasure is about, of whom the record holds a hash only.
        """
        match record:
            case PageRecord():
                await self._ensure(record.origin)
                return await self.changes.apply_page(record.origin.name, _page(record, names))
            case DrainRecord():
                await self._ensure(record.origin)
                return await self.changes.drain(record.origin.name, at=record.at, mark=record.mark)
            case OperationRecord():
                return await self._operate(record, member)
            case _:
                assert_never(record)

    async def _ensure(self, origin: ListOrigin) -> None:
        await self.definitions.list_of_segment(
            origin.account,
            origin.segment_id,
            origin.segment_name,
            source=origin.source,
            active=self._active,
            wanted=origin.list_id,
        )

    async def _operate(self, record: OperationRecord, member: bytes | None) -> Outcome:
        """An operation that names no list is marked in the registry, after everything it did."""
        outcome = await self._carry_out(record, member)
        if not record.list_id:
            await self.definitions.remember_applied(record.mark)
        await tell(self._store, record)
        return outcome

    async def _carry_out(self, record: OperationRecord, member: bytes | None) -> Outcome:
        name, mark, details = record.name, record.mark, record.details
        match record.action:
            case "activate":
                await self.changes.describe(name, {"active": "1" if details["active"] else "0"}, mark=mark)
            case "aliases":
                await self.definitions.set_aliases(*name, details["aliases"])
                await self.changes.describe(name, {}, mark=mark)
            case "mode":
                await self.changes.set_mode(name, details["mode"], mark=mark)
            case "accept":
                return Outcome(added=int(await self.changes.accept_snapshot(name, mark=mark)))
            case "drain":
                return await self.changes.drain(name, at=details["at"], mark=mark)
            case "delete":
                await self.definitions.forget(*name)
                await self.changes.delete(name, at=details["at"], mark=mark)
            case "erase":
                return await self._erase(record, member)
            case "connection":
                await self._connections.apply_record(details)
            case _:
                assert_never(record.action)
        return Outcome()

    async def _erase(self, record: OperationRecord, member: bytes | None) -> Outcome:
        """From every list there is; how many lists they were in."""
        tag, found = record.details["tag"].encode(), 0
        await self.definitions.remember_erasure(tag, record.at)
        for name in await self.definitions.lists():
            found += await self.changes.erase(name, member, tag=tag, at=record.at, mark=record.mark)
        return Outcome(removed=found)


def _page(record: PageRecord, names: Names | None) -> Page:
    return Page(
        task=record.task,
        number=record.number,
        total=record.total,
        names=unpack(record.packed) if names is None else names,
        skipped=record.skipped,
        digest=record.mark,
        signed_at=record.signed_at,
        packed=record.packed,
        mode=record.mode,
    )
