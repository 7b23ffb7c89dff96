"""Some records to Heap: their events, then their user properties; those it refuses are found by halving."""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque
from functools import partial
from typing import TYPE_CHECKING

import msgspec

from event_stream.delivery import Again, Delivered
from event_stream.patience import until_told
from heap_export.heap import Call

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from event_stream.delivery import Verdict
    from heap_export.ahead import Waiting
    from heap_export.buckets import Buckets
    from heap_export.heap import Heap, Told
    from heap_export.integrations import Integration
    from heap_export.lease import Lease

NOTHING_TAKEN = "nothing_taken"

# Refusals in a row, after something was taken, that are put down to the records.
_BLAMED_ON_RECORDS = 10

# Heap's program may fail over one record (500), for ever.
_TRIES_TOGETHER = 4  # of a batch, before its records are tried apart
_TRIES_ALONE = 5  # of a record, before it is to blame where others are taken
_MOST_FAILURES = 12  # in a row, of one batch: halving a full one down to two records takes as many


class Sender:
    """Sends for one app id, as long as the lease lasts.

    A 400 does not tell whether a record is to blame or the app id. So records become dead only as long as Heap takes
    others: after `_BLAMED_ON_RECORDS` refusals in a row it is `in_doubt`, and wants a small sample of records of
    different people. If none of these is taken either, all stay where they are (`Again`, with `NOTHING_TAKEN`).

    What fails again and again is tried apart: who keeps failing alone while Heap takes others is dead. While it takes
    none it is an outage, and all wait.
    """

    def __init__(self, heap: Heap, buckets: Buckets, lease: Lease) -> None:
        self._heap = heap
        self._buckets = buckets
        self._lease = lease
        self._trust = _BLAMED_ON_RECORDS
        self._failures = 0  # of batches, since one was taken whole
        self._taken = 0  # calls

    @property
    def in_doubt(self) -> bool:
        return not self._trust

    @property
    def may_send(self) -> bool:
        """Whether nobody else can deliver before a call that begins now is over."""
        return self._lease.seconds_left > self._heap.patience

    async def send(self, integration: Integration, records: Sequence[Waiting]) -> Again | None:
        """Send `records`, for which tokens are reserved, and note in each what became of it.

        Some may be as they were: then `Again` says why, or the lease ran out, or there is doubt.
        """
        for record in records:
            record.attempts += 1
        sampled = self.in_doubt
        untracked = [record for record in records if record.parcel.event is not None and not record.tracked]
        again = await self._call(integration, Call.TRACK, untracked, sampled=sampled)
        if again is not None:
            return again
        ready = [record for record in records if not record.dead and (record.tracked or record.parcel.event is None)]
        for record in ready:
            record.is_delivered = record.parcel.user is None
        with_user = [record for record in ready if not record.is_delivered]
        return await self._call(integration, Call.ADD_USER_PROPERTIES, with_user, sampled=sampled)

    async def _call(
        self, integration: Integration, call: Call, records: Sequence[Waiting], *, sampled: bool
    ) -> Again | None:
        parts = deque(_parts_of(records))
        suspects: list[Waiting] = []
        failed: Again | None = None
        failures = 0  # in a row
        while parts:
            part = parts.popleft()
            if len(part) < len(records):  # the tokens were for the first try
                await self._reserve(integration, part)
            if not self.may_send:
                return None
            people = {record.identity for record in part}
            told = await self._heap.send(integration, call, _entries_of(call, part), people=people)
            _note(call, part, told)
            if isinstance(told.verdict, Again):
                failed, failures = told.verdict, failures + 1
                if not self._goes_on_apart(failed, failures):
                    self._note_failure(part)
                    return failed
            if isinstance(told.verdict, Delivered):
                self._trust, failures = _BLAMED_ON_RECORDS, 0
                self._taken += 1
            elif len(part) > 1:
                half = len(part) // 2
                parts.extendleft((part[half:], part[:half]))
            elif not self._may_try_others(part, told.verdict, suspects if sampled else None):
                return None
        if suspects and self.in_doubt:
            return Again(NOTHING_TAKEN)
        _condemn(suspects)
        return self._left_to_try(records, failed)

    def _goes_on_apart(self, failed: Again, failures: int) -> bool:
        self._failures += 1
        return failed.because_of_some and self._failures > _TRIES_TOGETHER and failures < _MOST_FAILURES

    def _may_try_others(self, part: Sequence[Waiting], verdict: Verdict, suspects: list[Waiting] | None) -> bool:
        """Note that a record alone was not taken. `suspects`: where it goes when nobody knows what is to blame."""
        if isinstance(verdict, Again):
            self._note_failure(part)
        elif self._trust:
            self._trust -= 1
            _condemn(part)
        elif suspects is not None:
            suspects += part
        else:
            return False
        return True

    def _left_to_try(self, records: Iterable[Waiting], failed: Again | None) -> Again | None:
        if any(record.failures and not record.dead for record in records):
            return failed
        self._failures = 0
        return None

    def _note_failure(self, part: Sequence[Waiting]) -> None:
        if len(part) > 1 or self._failures <= _TRIES_TOGETHER:
            return
        [record] = part
        if not record.failures:
            record.taken_before = self._taken
        record.failures += 1
        if record.failures >= _TRIES_ALONE and self._taken > record.taken_before:
            _condemn(part)

    async def _reserve(self, integration: Integration, records: Sequence[Waiting]) -> None:
        """Wait until all of `records` may go."""
        left = Counter(record.identity for record in records)
        while left:
            reserved = await until_told(partial(self._buckets.reserve, integration, left))
            left -= Counter(reserved.granted)
            if left:
                await asyncio.sleep(max(reserved.wait, *reserved.waits.values(), 0.0))


def _parts_of(records: Sequence[Waiting]) -> list[Sequence[Waiting]]:
    """Those that failed alone go alone again, behind the others."""
    others = [record for record in records if not record.failures]
    alone: list[Sequence[Waiting]] = [[record] for record in records if record.failures]
    return [others, *alone] if others else alone


def _note(call: Call, records: Iterable[Waiting], told: Told) -> None:
    is_taken = isinstance(told.verdict, Delivered)
    for record in records:
        record.told, record.sent = told, time.time()
        record.tracked = record.tracked or is_taken
        record.is_delivered = is_taken and call is Call.ADD_USER_PROPERTIES


def _condemn(refused: Iterable[Waiting]) -> None:
    for record in refused:
        record.dead = f"http_{record.told.status}" if record.told is not None else "refused"


def _entries_of(call: Call, records: Iterable[Waiting]) -> list[bytes]:
    if call is Call.TRACK:
        return [record.parcel.event for record in records if record.parcel.event is not None]
    return _users_of(records)


def _users_of(records: Iterable[Waiting]) -> list[bytes]:
    """One entry for each person, as nobody knows in which order Heap takes two of a call."""
    of_each: dict[str, list[bytes]] = {}
    for record in records:
        if record.parcel.user is not None:
            of_each.setdefault(record.identity, []).append(record.parcel.user)
    return [users[0] if len(users) == 1 else _merged(users) for users in of_each.values()]


def _merged(users: Sequence[bytes]) -> bytes:
    """User properties of one person, the later ones over the earlier ones."""
    first, *others = (msgspec.json.decode(user) for user in users)
    for other in others:
        first["properties"] |= other["properties"]
    return msgspec.json.encode(first)
