"""VWO as a source: the exposures that the gateways were sent, or sent themselves, with names for their ids."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from functools import partial
from typing import TYPE_CHECKING

from prometheus_client import Counter, Gauge

from event_stream.consumer import Consumer
from event_stream.delivery import Again, Delivered, Delivery
from event_stream.patience import any_of
from event_stream.stream import seconds_of
from foundation.background import keep_running
from foundation.errors import UnavailableError
from foundation.store import STORE_ERRORS
from foundation.store_trouble import explain
from foundation.tasks import end
from heap_export.intake import Fate
from heap_export.lease import Lease
from heap_export.records import Exposure, Source
from heap_export.vwo_names import LeftOut, Names, NotKnown
from published.exposures import exposure_stream

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from event_stream.delivery import Verdict
    from event_stream.stream import Record, Status
    from foundation.store import Store
    from heap_export.intake import Intake
    from heap_export.metrics import Metrics
    from heap_export.settings import HeapExportSettings
    from heap_export.vwo_names import Meaning

log = logging.getLogger(__name__)

_LEASE = "cg:heap:vwo-lease"  # string: who reads the exposures now, so that each person's stay in order
_LEASE_SECONDS = 5.0
_LAST_SECONDS = 2.0  # to let go of what is in hand at the end
_CLAIM_AFTER = 3.0  # seconds after which whoever has the lease takes over what a process that died had in hand
_MOST_AT_ONCE = 500
_LINGER_SECONDS = 0.1
_LONGEST_PAUSE = 5.0

# Names and users are published at most a second after they are known, so what is not known now may be soon.
_WAIT_SECONDS = 3.0
_LOOK_AGAIN_SECONDS = 0.25

_WATCH_SECONDS = 2.0
_LATE_SECONDS = 300.0
_RECENT_SECONDS = 600.0  # for which a new dead letter shows in `trouble`


class VwoSource:
    """Reads the stream of `published.exposures` while `running`; of several processes one does."""

    def __init__(self, store: Store, settings: HeapExportSettings, intake: Intake, metrics: Metrics) -> None:
        del settings  # nothing of it is to be set: without a gateway that exports exposures there are none
        self.stream = exposure_stream(store)
        self._names = Names(store)
        self._intake = intake
        self._lease = Lease(store, _LEASE, seconds=_LEASE_SECONDS)
        self._status: Status | None = None
        self._skipped = metrics.skipped
        self._events = Counter(
            "heap_export_vwo_exposures",
            "Exposures of the gateways' stream, by what became of them: delivered (to the intake, or passed over), "
            "retried, dead, repeated, dead_dropped; and the reason",
            ["what", "reason"],
            registry=metrics.registry,
        )
        self._waiting, self._lag, self._letters = (
            Gauge(f"heap_export_vwo_{name}", text, registry=metrics.registry)
            for name, text in (
                ("waiting", "Exposures of the gateways that were not looked at yet"),
                ("lag_seconds", "For how long the oldest of them has waited"),
                ("dead_letters", "Exposures whose user or flag is not known"),
            )
        )

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Read while the block runs."""
        over, has_let_go = asyncio.Event(), asyncio.Event()
        async with self._lease.wanted():
            reading = keep_running("exposures of VWO", partial(self._read, over, has_let_go))
            watching = keep_running("look at the exposures of VWO", self._watch)
            try:
                yield
            finally:
                over.set()
                await any_of(_LAST_SECONDS, has_let_go)
                await end(reading, watching)

    @property
    def trouble(self) -> list[str]:
        """What is wrong, in the words of `/readyz`."""
        if self._status is None:
            return []
        found = ["vwo_exposures_late"] if self._status.oldest_seconds > _LATE_SECONDS else []
        died = self._status.last_dead_seconds
        return [*found, "vwo_exposures_dead"] if died is not None and died < _RECENT_SECONDS else found

    async def _read(self, over: asyncio.Event, has_let_go: asyncio.Event) -> None:
        """Read whenever the lease is ours, until it is over; then wait for the end."""
        while not over.is_set():
            if self._lease.seconds_left:
                async with self._delivery().running():
                    while self._lease.seconds_left and not over.is_set():
                        await any_of(_LOOK_AGAIN_SECONDS, over)
            else:
                await any_of(_LOOK_AGAIN_SECONDS, over)
        has_let_go.set()
        await asyncio.Event().wait()

    def _delivery(self) -> Delivery:
        return Delivery(
            Consumer(self.stream, claim_after=_CLAIM_AFTER),
            self._take,
            most_at_once=_MOST_AT_ONCE,
            linger=_LINGER_SECONDS,
            count=self._count,
            longest_pause=_LONGEST_PAUSE,
        )

    async def _take(self, place: str, records: Sequence[Record]) -> Verdict:
        """Hand to the intake what can be understood. `place`: account and SDK key."""
        try:
            meanings = await self._understood(place.partition("/")[0], records)
            if not self._lease.seconds_left:
                return Again("lease_lost")
            exposures = {
                record.id: meaning
                for record, meaning in zip(records, meanings, strict=True)
                if isinstance(meaning, Exposure)
            }
            taken = await self._intake.take(list(exposures.values()))
        except STORE_ERRORS as error:
            log.debug("exposures can't be looked up: %s", explain(error))
            return Again("store_away")
        except UnavailableError as error:
            return Again(error.reason)
        refused = {id_: told.reason for id_, told in zip(exposures, taken, strict=True) if told.fate is Fate.REFUSED}
        for record, meaning in zip(records, meanings, strict=True):
            if isinstance(meaning, NotKnown):
                refused[record.id] = meaning.reason
            elif isinstance(meaning, LeftOut):
                self._skipped.labels(Source.VWO, meaning.kind).inc()
        return Delivered(refused)

    async def _understood(self, account: str, records: Sequence[Record]) -> list[Meaning]:
        """What each means; for what may become known, all wait a little, so that they stay in order."""
        while True:
            meanings = await self._names.meanings(account, records)
            youngest = max(
                (
                    seconds_of(record.id)
                    for record, meaning in zip(records, meanings, strict=True)
                    if isinstance(meaning, NotKnown) and meaning.may_become_known
                ),
                default=0.0,
            )
            if not -_WAIT_SECONDS < time.time() - youngest < _WAIT_SECONDS:  # the store's clock may be ahead
                return meanings
            await asyncio.sleep(_LOOK_AGAIN_SECONDS)

    def _count(self, what: str, number: int, reason: str = "") -> None:
        self._events.labels(what, reason).inc(number)

    async def _watch(self) -> None:
        while True:
            with contextlib.suppress(*STORE_ERRORS):
                self._status = status = await self.stream.status()
                self._waiting.set(status.waiting)
                self._lag.set(status.oldest_seconds)
                self._letters.set(status.dead)
            await asyncio.sleep(_WATCH_SECONDS)
