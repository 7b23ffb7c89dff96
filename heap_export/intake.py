"""Takes records of all sources: makes them valid, once each, and durable before anybody is answered."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from event_stream.stream import Appended
from foundation.errors import UnavailableError
from foundation.store import STORE_ERRORS
from foundation.store_trouble import explain
from foundation.turns import Turns
from heap_export.payloads import parcel_of
from heap_export.records import RefusedError, checked
from heap_export.streams import stream_of

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Sequence

    from event_stream.stream import Stream
    from foundation.store import Store
    from heap_export.integrations import Integration, Integrations
    from heap_export.metrics import Metrics
    from heap_export.payloads import Addressed
    from heap_export.records import Record
    from heap_export.settings import HeapExportSettings

log = logging.getLogger(__name__)


class Fate(StrEnum):
    """`UNWANTED`: no integration takes records of this source."""

    STORED = "stored"
    KNOWN = "known"
    UNWANTED = "unwanted"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Taken:
    """What became of a record. `error` and `reason` say why it was refused."""

    fate: Fate
    error: str = ""
    reason: str = ""


class Intake:
    """`turns`: for what is done with a request's worth of records before they come here, too."""

    def __init__(
        self, store: Store, settings: HeapExportSettings, integrations: Integrations, metrics: Metrics
    ) -> None:
        self._store = store
        self._settings = settings
        self._integrations = integrations
        self._metrics = metrics
        self._streams: dict[str, Stream] = {}
        self.turns = Turns()

    async def take(self, records: Sequence[Record], *, integration: str | None = None) -> list[Taken]:
        """Store `records` for the integration of that name, else for all that want them; what became of each.

        When this returns they are in Redis. The same again changes nothing. Raises `UnavailableError` (send all of it
        again) and `NotFoundError` for an unknown integration.
        """
        if not self._integrations.is_loaded:  # nobody can say yet who wants these
            try:
                await self._integrations.load()
            except STORE_ERRORS as error:
                raise _store_away() from error
        targets = [self._integrations.named(integration)] if integration else self._integrations.all
        if not targets:
            raise UnavailableError(
                "no Heap environment is set up: set HEAP_APP_ID, or POST /v1/admin/integrations/heap",
                reason="no_integration",
            )
        taken: list[Taken] = []
        valid = await self.turns.drive(_check(records, taken))
        received = time.time()
        for target in targets:
            for number, fate in await self._store_for(target, valid, received):
                if taken[number].fate is not Fate.STORED:
                    taken[number] = Taken(fate)
        for record, told in zip(records, taken, strict=True):
            self._metrics.took(record.source, told.fate, told.reason)
        return taken

    async def _store_for(
        self, target: Integration, records: Sequence[tuple[int, Record]], received: float
    ) -> list[tuple[int, Fate]]:
        parcels = await self.turns.drive(_pack(records, target, received))
        if not parcels:
            return []
        try:
            appended = await self._stream_of(target.app_id).append_new([parcel for _, parcel in parcels])
        except STORE_ERRORS as error:
            log.warning("records can't be stored: %s", explain(error))
            raise _store_away() from error
        if Appended.NO_ROOM in appended:
            log.error("records for %s find no room: HEAP_EVENTS_WAITING of them wait already", target.name)
            raise UnavailableError("too much waits for Heap already; send this again later", reason="stream_full")
        fates = {Appended.STORED: Fate.STORED, Appended.KNOWN: Fate.KNOWN}
        return [(number, fates[what]) for (number, _), what in zip(parcels, appended, strict=True)]

    def _stream_of(self, app_id: str) -> Stream:
        stream = self._streams.get(app_id)
        if stream is None:
            stream = self._streams[app_id] = stream_of(app_id, self._store, self._settings)
        return stream


def _check(records: Iterable[Record], taken: list[Taken]) -> Generator[None, None, list[tuple[int, Record]]]:
    """The valid ones, by their places; what became of each so far is put into `taken`."""
    valid = []
    for number, record in enumerate(records):
        try:
            valid.append((number, checked(record)))
            taken.append(Taken(Fate.UNWANTED))
        except RefusedError as error:
            taken.append(Taken(Fate.REFUSED, str(error), error.reason))
        yield
    return valid


def _pack(
    records: Iterable[tuple[int, Record]], target: Integration, received: float
) -> Generator[None, None, list[tuple[int, Addressed]]]:
    """Those that `target` wants."""
    parcels = []
    for number, record in records:
        if target.takes(record.source) and (parcel := parcel_of(record, target, received=received)):
            parcels.append((number, parcel))
        yield
    return parcels


def _store_away() -> UnavailableError:
    return UnavailableError("the store is away; send this again later", reason="store_away")
