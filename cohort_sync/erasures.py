"""Erasing a person holds: what a record or a checkpoint says of them is rewritten, by every receiver that has any.

Receivers sign up in the store. An erasure is outstanding at each receiver that has not rewritten its own files yet.
"""

from __future__ import annotations

import json
import logging
import time
from typing import TYPE_CHECKING, Any

from attribute_lists.bodies import Names, pack, unpack
from attribute_lists.settling import tag_of
from cohort_sync.records import PageRecord, pack_record, unpack_record

if TYPE_CHECKING:
    from cohort_sync.checkpoints import Checkpoints
    from cohort_sync.journal import Journal, NoJournal
    from cohort_sync.records import OperationRecord
    from foundation.store import Store

log = logging.getLogger(__name__)

RECEIVERS = "cg:{registry}:receivers"  # hash: receiver -> when it was last there (ms)
ERASURES = "cg:{registry}:erasures"  # hash: erasure -> {"tag", "at", "done": [receivers]}
_GONE_MS = 30 * 86400 * 1000  # a receiver that was away for longer than any journal lives has nothing left


class Erasures:
    """This receiver's part in erasures. `receiver` names it among all that share the store."""

    def __init__(
        self, store: Store, journal: Journal | NoJournal, checkpoints: Checkpoints, *, receiver: str, tag_key: bytes
    ) -> None:
        self._store = store
        self._journal = journal
        self._checkpoints = checkpoints
        self._receiver = receiver
        self._tag_key = tag_key

    async def begin(self, record: OperationRecord) -> None:
        """Tell every receiver."""
        told = json.dumps({"tag": record.details["tag"], "at": record.at, "done": []})
        await self._store.execute_command("HSETNX", ERASURES, record.mark, told)

    async def finish(self, record: OperationRecord) -> dict[str, Any]:
        """Do this receiver's part; the receipt's lines about files, and who is outstanding."""
        await self.begin(record)
        rewritten = await self._rewrite(record.mark, record.details["tag"].encode(), record.at)
        return rewritten | {"outstanding": await self.outstanding(record.mark)}

    async def catch_up(self) -> None:
        """Sign up, and do what was asked of this receiver meanwhile."""
        now = int(time.time() * 1000)
        await self._store.execute_command("HSET", RECEIVERS, self._receiver, now)
        for mark, told in (await self._told()).items():
            if self._receiver not in told["done"] and told["at"] > now - _GONE_MS:
                await self._rewrite(mark, told["tag"].encode(), told["at"])

    async def outstanding(self, mark: str) -> list[str]:
        """The receivers that still have to rewrite their files."""
        told = (await self._told()).get(mark)
        seen: Any = await self._store.hgetall(RECEIVERS)
        since = int(time.time() * 1000) - _GONE_MS
        known = {name.decode() for name, at in seen.items() if int(at) > since}
        return sorted(known - set(told["done"] if told else []))

    async def _rewrite(self, mark: str, tag: bytes, at: int) -> dict[str, int]:
        def without_person(payload: bytes) -> bytes | None:
            return _without(payload, tag, self._tag_key)

        records = await self._journal.rewrite(without_person)
        checkpoints = await self._checkpoints.erase(tag, at)
        told = (await self._told()).get(mark)
        if told is not None:
            told["done"] = sorted({*told["done"], self._receiver})
            await self._store.execute_command("HSET", ERASURES, mark, json.dumps(told))
        log.info("an erasure: %d records and %d checkpoints were rewritten", records, checkpoints)
        return {"journal_records": records, "checkpoints": checkpoints}

    async def _told(self) -> dict[str, Any]:
        rows: Any = await self._store.hgetall(ERASURES)
        return {mark.decode(): json.loads(told) for mark, told in rows.items()}


def _without(payload: bytes, tag: bytes, tag_key: bytes) -> bytes | None:
    """The record without the person; None where it doesn't name them."""
    record = unpack_record(payload)
    if not isinstance(record, PageRecord):
        return None
    names = unpack(record.packed)
    left = Names(*([member for member in part if tag_of(member, tag_key) != tag] for part in names))
    if len(left.add) == len(names.add) and len(left.remove) == len(names.remove):
        return None
    return pack_record(_with_packed(record, pack(left)))


def _with_packed(record: PageRecord, packed: bytes) -> PageRecord:
    fields = {name: getattr(record, name) for name in record.__struct_fields__}
    return PageRecord(**(fields | {"packed": packed}))
