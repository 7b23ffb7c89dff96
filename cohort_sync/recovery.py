"""Bring back what the store lost: from the checkpoint where it was emptied, and from the journal whatever it lacks.

Each record leaves a mark in the store, in the same transaction as its last members. A record of the journal whose mark
is missing is applied again; the order engine makes that safe at any time and in any order.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from attribute_lists import keys
from cohort_sync.journal import read
from cohort_sync.rebuild_turn import RebuildTurn
from cohort_sync.records import OperationRecord, Record, unpack_record
from foundation.store import server_ids

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from cohort_sync.applying import Applier
    from cohort_sync.checkpoints import Checkpoints
    from cohort_sync.known_lists import KnownLists
    from foundation.store import Store

log = logging.getLogger(__name__)

_BATCH = 200
_RECENT_SECONDS = 60.0  # what every look checks; everything is checked when the store has changed


@dataclass(slots=True)
class Replayed:
    """What a replay did: records read, applied again, and those that could not be read."""

    read: int = 0
    applied: int = 0
    unreadable: int = 0


class Recovery:
    """Watches over the store on behalf of one receiver. `complete`: nothing is known to be missing.

    `lost`: lists that were there once and could not be brought back.

    While it is not, pushes wait (503): a table that lacks half its rows must not refuse anybody.
    """

    def __init__(
        self, store: Store, applier: Applier, journal: Path, checkpoints: Checkpoints, known_lists: KnownLists
    ) -> None:
        self.complete = False
        self.lost: list[str] = []
        self._store = store
        self._applier = applier
        self._journal = journal
        self._checkpoints = checkpoints
        self._known_lists = known_lists
        self._turn = RebuildTurn(store)
        self._seen: tuple[str, bytes | None] = ("", None)
        self._doubted = False
        self._looked = asyncio.Event()
        self._recent: deque[tuple[float, str, str]] = deque()

    async def first_look(self, *, seconds: float) -> None:
        """Wait until the first look is over, or `seconds` are."""
        if not self._looked.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._looked.wait(), seconds)

    def doubt(self) -> None:
        """A change may be in the journal and not in the store: the next look checks them all."""
        self._doubted = True

    async def look(self) -> None:
        """One look: has the store changed, been emptied, or lost its last writes? What is missing is applied again."""
        if self._doubted:  # a doubt that comes up from here on is for the next look
            self._seen, self._doubted = ("", None), False
        seen = await server_ids(self._store)
        identity = await self._identity()
        missing = await self._known_lists.missing()
        lost = [":".join(name) for name in missing]
        if identity is None or (missing and (lost != self.lost or seen != self._seen[0])):
            self.complete = False
            if not await self._turn.run(self.rebuild):
                return
            lost = [":".join(name) for name in await self._known_lists.missing()]
            if lost:
                log.error("lost, and neither in a checkpoint nor in the journal: lists %s", ", ".join(lost))
        elif not self.complete or (seen, identity) != self._seen or not await self._has_the_recent():
            await self.replay()
        self._known_lists.update(await self._applier.definitions.lists())
        self.lost = lost
        self._seen = (seen, identity)
        if not self.complete:
            log.info("the store holds every change of this receiver's journal")
        self.complete = True
        self._looked.set()

    async def rebuild(self, progress: Callable[[Replayed], None] | None = None) -> Replayed:
        """Build everything again: the newest checkpoint, then every record that it lacks."""
        restored = await self._checkpoints.restore()
        if restored:
            log.warning("the store is empty: restored checkpoint %s", restored)
        done = await self.replay(progress)
        for name in await self._applier.definitions.lists():
            await self._applier.changes.tend(name)
        if restored or done.read:
            log.warning("the store is built again: %d of %d records applied", done.applied, done.read)
        return done

    def remember(self, record: Record) -> None:
        """A record that was just acknowledged: each look makes sure that the store still has it."""
        now = time.monotonic()
        self._recent.append((now, marks_key(record), record.mark))
        while self._recent and self._recent[0][0] < now - _RECENT_SECONDS:
            self._recent.popleft()

    async def replay(self, progress: Callable[[Replayed], None] | None = None) -> Replayed:
        """Apply every record of the journal that the store doesn't know; it is read for marks, then for bodies."""
        done = Replayed()
        missing = await self._missing(done, progress)
        if missing:
            async for records in self._read(Replayed()):
                for record in records:
                    # Each of those with one mark: a page that came twice has the place of its earlier signature.
                    if (marks_key(record), record.mark) in missing:
                        await self._applier.apply(record)
                        done.applied += 1
                        if progress is not None:
                            progress(done)
            log.warning("%d changes were missing in the store and were applied again", done.applied)
        if done.unreadable:
            log.error("%d journal records can't be read: `cohort-sync journal verify` names them", done.unreadable)
        return done

    async def _missing(self, done: Replayed, progress: Callable[[Replayed], None] | None) -> set[tuple[str, str]]:
        """The marks that the store lacks, each with its key."""
        missing: set[tuple[str, str]] = set()
        places: dict[str, int] = {}
        async for records in self._read(done):
            marks = [(marks_key(record), record.mark) for record in records]
            for record, mark, known in zip(records, marks, await self._known(marks), strict=True):
                # A page that came again, signed anew, has the same mark: that doesn't tell which of the two the store
                # knows of, and the earliest is the task's place.
                if not known or record.at != places.setdefault(record.mark, record.at):
                    missing.add(mark)
            if progress is not None:
                progress(done)
        return missing

    async def _identity(self) -> bytes | None:
        """The name that the store was given when it was last whole; another receiver may have been the first to."""
        found: bytes | None = await self._store.execute_command("GET", keys.REGISTRY_IDENTITY)
        return found

    async def _has_the_recent(self) -> bool:
        return all(await self._known([(key, mark) for _, key, mark in self._recent]))

    async def _read(self, done: Replayed) -> AsyncIterator[list[Record]]:
        """The journal's records, a bounded batch at a time, read beside the event loop."""
        entries = read(self._journal)
        while batch := await asyncio.to_thread(lambda: list(itertools.islice(entries, _BATCH))):
            records = []
            for entry in batch:
                done.read += 1
                try:
                    records.append(unpack_record(entry.payload))
                except ValueError:
                    done.unreadable += 1
            yield records

    async def _known(self, marks: list[tuple[str, str]]) -> list[bool]:
        if not marks:
            return []
        pipeline = self._store.pipeline(transaction=False)
        for key, mark in marks:
            pipeline.execute_command("ZSCORE", key, mark)
        return [score is not None for score in await pipeline.execute()]


def marks_key(record: Record) -> str:
    """Where the store remembers that the record was applied."""
    if isinstance(record, OperationRecord):
        return keys.applied(*record.name) if record.list_id else keys.REGISTRY_APPLIED
    return keys.applied(*record.origin.name)
