"""Delivers what waits for one app id: once each, in order for each person, within Heap's limits."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import Counter
from functools import partial
from typing import TYPE_CHECKING

from event_stream.patience import any_of, until_told
from event_stream.spells import Spell
from event_stream.stream import seconds_of
from foundation.pauses import Pauses
from foundation.tasks import end
from heap_export.ahead import Ahead
from heap_export.buckets import Buckets
from heap_export.delivery_log import DeliveryLog, Entry
from heap_export.heap import MOST_AT_ONCE
from heap_export.lease import Lease
from heap_export.payloads import person_mark
from heap_export.sending import NOTHING_TAKEN, Sender
from heap_export.streams import stream_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from event_stream.delivery import Again
    from foundation.store import Store
    from heap_export.ahead import Waiting
    from heap_export.heap import Heap
    from heap_export.integrations import Integration
    from heap_export.metrics import Metrics
    from heap_export.settings import HeapExportSettings

log = logging.getLogger(__name__)

_IDLE_SECONDS = 0.2  # between looks for new records
_LAST_SECONDS = 0.5  # for what is under way at the end
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 60.0
_LONGEST_WISH = 600.0  # seconds that Heap may ask us to wait
_MOST_BYTES = 1 << 20  # of the events in one call
_SAMPLE = 16
# While some are refused again and again: halving costs tokens, and many for a large call.
_FEWEST_AT_ONCE, _FEWER, _MORE = 16, 4, 1.5
_FOR_THE_OPERATOR = frozenset((NOTHING_TAKEN, "http_401", "http_403", "http_404", "http_405"))
_CHECK = "check the integration's app id and base; all waits in Redis until then"
_LEASE_MARGIN = 4.0  # seconds that the lease lasts beyond a call: it is renewed each second


class Deliverer:
    """Of all the processes that run one for an app id, one delivers at a time. `integration` may be exchanged.

    `trouble`: why Heap does not take anything at the moment, a short word; empty while it does.
    """

    def __init__(
        self, integration: Integration, *, store: Store, settings: HeapExportSettings, heap: Heap, metrics: Metrics
    ) -> None:
        self.trouble = ""
        self._integration = integration
        self._stream = stream_of(integration.app_id, store, settings)
        self._log = DeliveryLog(store, integration.app_id, settings)
        self._metrics = metrics
        self._lease = Lease(store, f"cg:heap:{{{integration.app_id}}}:lease", seconds=heap.patience + _LEASE_MARGIN)
        self._buckets = Buckets(store)
        self._sender = Sender(heap, self._buckets, self._lease)
        self._ahead = Ahead(self._stream)
        self._term = 0
        self._at_once = MOST_AT_ONCE
        self._held: dict[str, float] = {}  # until when a person's records wait for tokens
        self._all_held = 0.0
        self._pauses = Pauses(_FIRST_PAUSE, _LONGEST_PAUSE)
        self._tries = 0
        self._deaths = Spell(f"records of {integration.name} are refused and become dead letters")
        self._forgotten = Spell(f"old dead letters of {integration.name} go for new ones")
        self._is_stopping = asyncio.Event()
        self._is_changed = asyncio.Event()

    @property
    def integration(self) -> Integration:
        return self._integration

    @integration.setter
    def integration(self, changed: Integration) -> None:
        if changed != self._integration:
            self._integration = changed
            self._held.clear()
            self._all_held = 0.0
            self._is_changed.set()

    @property
    def delivers(self) -> bool:
        """Whether it is this process's turn."""
        return self._sender.may_send

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Deliver while the block runs. What is under way at its end has half a second; else it is sent again."""
        async with self._lease.wanted():
            delivering = asyncio.create_task(self._deliver_all())
            try:
                yield
            finally:
                self._is_stopping.set()
                await asyncio.wait([delivering], timeout=_LAST_SECONDS)
                await end(delivering)
                self._deaths.close()
                self._forgotten.close()

    async def _deliver_all(self) -> None:
        while not self._is_stopping.is_set():
            if not self._sender.may_send:
                await self._idle()
                continue
            if self._term != self._lease.term:  # others may have delivered meanwhile
                self._term = self._lease.term
                self._ahead.clear()
                log.info("this process delivers to %s", self._integration.name)
            try:
                await self._deliver_some()
            except Exception:
                log.exception("records of %s can't be delivered; trying again", self._integration.name)
                self.trouble = "internal"
                await any_of(self._pauses.next(), self._is_stopping)

    async def _deliver_some(self) -> None:
        await self._ahead.fill()
        await self._bury_unreadable()
        batch = await self._reserved()
        if not batch:
            await self._idle()
            return
        self._is_changed.clear()
        again = await self._sender.send(self._integration, batch)
        delivered = [record for record in batch if record.is_delivered]
        dead = [record for record in batch if record.dead]
        await self._settle(delivered, dead)
        self._at_once = self._at_once // _FEWER if dead else int(self._at_once * _MORE)
        self._at_once = min(MOST_AT_ONCE, max(_FEWEST_AT_ONCE, self._at_once))
        if again is not None:
            if delivered:
                self._recover()
            await self._pause(again, len(batch) - len(delivered) - len(dead))
        elif delivered:
            self._recover()
        if not len(self._ahead):
            await self._idle()

    async def _reserved(self) -> list[Waiting]:
        """The next records that may go now."""
        now = time.monotonic()
        if now < self._all_held:
            return []
        self._held = {identity: until for identity, until in self._held.items() if until > now}
        if self._sender.in_doubt:
            wanted = self._ahead.sample(_SAMPLE)
        else:
            wanted = self._ahead.first(self._at_once, _MOST_BYTES, but_of=self._held)
        if not wanted:
            return []
        there = await until_told(partial(self._stream.present, [record.id for record in wanted]))
        self._ahead.remove([record for record in wanted if record.id not in there])  # somebody was erased
        wanted = [record for record in wanted if record.id in there]
        numbers = Counter(record.identity for record in wanted)
        reserved = await until_told(partial(self._buckets.reserve, self._integration, numbers))
        now = time.monotonic()
        self._held |= {identity: now + seconds for identity, seconds in reserved.waits.items()}
        self._all_held = now + reserved.wait
        left = dict(reserved.granted)
        granted = []
        for record in wanted:
            if left[record.identity] > 0:
                left[record.identity] -= 1
                granted.append(record)
        return granted

    async def _settle(self, delivered: Sequence[Waiting], dead: Sequence[Waiting]) -> None:
        """Tell the log what became of them, and let the stream go of them."""
        entries = [self._entry(record) for record in (*delivered, *dead)]
        await until_told(partial(self._log.append, entries))
        if delivered:
            finished = await until_told(partial(self._stream.finish, [record.id for record in delivered]))
            self._metrics.sent.labels(self._integration.name).inc(finished)
        for reason in {record.dead for record in dead}:
            await self._bury([record.id for record in dead if record.dead == reason], reason)
        self._ahead.remove((*delivered, *dead))

    async def _bury(self, ids: Sequence[bytes], reason: str) -> None:
        died, gone = await until_told(partial(self._stream.bury, ids, reason))
        self._metrics.dead.labels(self._integration.name, reason).inc(died)
        if died:
            self._deaths.add(died, reason)
        if gone:
            self._forgotten.add(gone, "HEAP_DEAD_EVENTS")

    async def _bury_unreadable(self) -> None:
        if not self._ahead.unreadable:
            return
        entries = [
            Entry(
                source="",
                name="",
                received=seconds_of(record.id),
                sent=0,
                status=0,
                answer="",
                attempts=0,
                outcome="dead",
                reason="unreadable",
                who=person_mark(self._integration.app_id, record.to),
            )
            for record in self._ahead.unreadable
        ]
        await until_told(partial(self._log.append, entries))
        await self._bury([record.id for record in self._ahead.unreadable], "unreadable")
        self._ahead.unreadable.clear()

    def _entry(self, record: Waiting) -> Entry:
        told = record.told
        return Entry(
            source=record.parcel.source,
            name=record.parcel.name,
            received=record.parcel.received,
            sent=record.sent,
            status=told.status if told is not None else 0,
            answer=told.body if told is not None else "",
            attempts=record.attempts,
            outcome="dead" if record.dead else "delivered",
            reason=record.dead,
            who=person_mark(self._integration.app_id, record.identity),
        )

    async def _pause(self, again: Again, number: int) -> None:
        name = self._integration.name
        self._metrics.retried.labels(name, again.reason).inc(number)
        self._tries += 1
        needs_operator = again.reason in _FOR_THE_OPERATOR
        if self._tries == 1 or (needs_operator and again.reason != self.trouble):
            what = _CHECK if needs_operator else "all waits in Redis and is tried again"
            log.warning("Heap takes nothing for %s (%s); %s", name, again.reason, what)
        self.trouble = again.reason
        seconds = max(self._pauses.next(), min(again.after, _LONGEST_WISH))
        await any_of(seconds, self._is_stopping, self._is_changed)

    def _recover(self) -> None:
        if self._tries:
            log.info("Heap takes records for %s again, after %d tries", self._integration.name, self._tries)
        self._tries, self.trouble = 0, ""
        self._pauses = Pauses(_FIRST_PAUSE, _LONGEST_PAUSE)

    async def _idle(self) -> None:
        """Until there may be something to send."""
        now = time.monotonic()
        held = [until - now for until in (*self._held.values(), self._all_held) if until > now]
        await any_of(min(_IDLE_SECONDS, *held, _IDLE_SECONDS), self._is_stopping)
