"""What is kept of each integration, as operators look at it and clean it up."""

from __future__ import annotations

import datetime as dt
import hashlib
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from event_stream.letters import read_letters
from event_stream.stream import seconds_of
from heap_export.delivery_log import DeliveryLog
from heap_export.payloads import open_parcel, person_mark
from heap_export.streams import stream_of
from heap_export.trouble import read_trouble
from published.exposures import exposure_stream

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from event_stream.letters import Letter
    from event_stream.stream import Stream
    from foundation.store import Store
    from heap_export.delivery_log import Entry, Outcome
    from heap_export.integrations import Integration, Integrations
    from heap_export.settings import HeapExportSettings

VWO = "source:vwo"  # stands where names of integrations stand; none of these has a colon

ROW = r"\d{1,16}-\d{1,16}"  # the form of a row's id


class Page(NamedTuple):
    """Rows, the newest first. `next`: what `before` must be for the following ones; None: there are no more."""

    rows: list[dict[str, Any]]
    next: str | None


class Kept:
    """Of all integrations, or of the one that is named. Raises the store's errors and `NotFoundError`.

    The VWO source has dead letters as well, of exposures that it could not understand: `VWO` names it.
    """

    def __init__(self, store: Store, settings: HeapExportSettings, integrations: Integrations) -> None:
        self._store = store
        self._settings = settings
        self._integrations = integrations

    async def status(self, tell: Callable[[int], object] = lambda _: None) -> dict[str, Any]:
        """How each integration fares. `tell` hears how many dead letters were looked at since."""
        await self._integrations.load()
        return {
            "integrations": [await self._status_of(each, tell) for each in self._integrations.all],
            "sources": {"vwo": await _numbers(exposure_stream(self._store), tell)},
            "left": await self._left(),
        }

    async def dead_letters(self) -> int:
        """How many there are of all."""
        await self._integrations.load()
        return sum([(await stream.status()).dead for stream in self._streams().values()])

    async def log(
        self,
        count: int,
        *,
        integration: str | None = None,
        before: str = "",
        outcome: Outcome | None = None,
        person: str | None = None,
    ) -> dict[str, Page]:
        """The delivery log of each integration: up to `count` entries, those before the one with the id `before`.

        `outcome`, `person` (an identity): only their entries.
        """
        await self._integrations.load()
        found = {}
        for each in [self._integrations.named(integration)] if integration else self._integrations.all:
            whose = None if person is None else person_mark(each.app_id, person)
            log = DeliveryLog(self._store, each.app_id, self._settings)
            entries = await log.read(count + 1, before=before, outcome=outcome, whose=whose)
            found[each.name] = _page([_shown(entry) for entry in entries], count)
        return found

    async def dead(
        self, count: int, *, integration: str | None = None, before: str = "", reason: str = ""
    ) -> dict[str, Page]:
        """Dead letters, without the person: up to `count` of each integration, older than the one called `before`."""
        await self._integrations.load()
        found = {}
        for name, stream in self._streams(integration).items():
            letters = await read_letters(stream, count + 1, before=before, reason=reason)
            found[name] = _page([_letter(letter) for letter in letters], count)
        return found

    async def retry(
        self, reason: str = "", *, integration: str | None = None, tell: Callable[[int], object] = lambda _: None
    ) -> dict[str, dict[str, int]]:
        """Send dead letters again, behind what waits: how many of each reason, by integration."""
        await self._integrations.load()
        return {name: await stream.retry(reason, tell) for name, stream in self._streams(integration).items()}

    async def purge(
        self, reason: str = "", *, integration: str | None = None, tell: Callable[[int], object] = lambda _: None
    ) -> dict[str, dict[str, int]]:
        """Throw dead letters away: how many of each reason, by integration."""
        await self._integrations.load()
        return {name: await stream.purge_dead(reason, tell) for name, stream in self._streams(integration).items()}

    def _streams(self, integration: str | None = None) -> dict[str, Stream]:
        """Where dead letters may be."""
        if integration == VWO:
            return {VWO: exposure_stream(self._store)}
        if integration is not None:
            return {integration: self._stream(self._integrations.named(integration))}
        found = {each.name: self._stream(each) for each in self._integrations.all}
        return found | {VWO: exposure_stream(self._store)}

    def _stream(self, integration: Integration) -> Stream:
        return stream_of(integration.app_id, self._store, self._settings)

    async def _status_of(self, integration: Integration, tell: Callable[[int], object]) -> dict[str, Any]:
        letters = await read_letters(self._stream(integration), 1)
        return {
            "name": integration.name,
            "app_id": integration.app_id,
            "enabled": integration.enabled,
            **await _numbers(self._stream(integration), tell),
            "last_dead": _letter(letters[0]) if letters else None,
            "trouble": await read_trouble(self._store, integration.app_id),
            "events_per_minute": integration.events_per_minute,
            "events_per_minute_of_person": integration.events_per_minute_of_person,
        }

    async def _left(self) -> list[dict[str, Any]]:
        """App ids that no integration has any more, and for which records are kept all the same."""
        named = {each.app_id for each in self._integrations.all}
        found = []
        for app_id in sorted(self._integrations.used.keys() - named):
            status = await stream_of(app_id, self._store, self._settings).status()
            if status.waiting or status.dead:
                found.append({"app_id": app_id, "waiting": status.waiting, "dead": status.dead})
        return found


async def _numbers(stream: Stream, tell: Callable[[int], object]) -> dict[str, Any]:
    status = await stream.status()
    counts: Mapping[str, int] = status.counts
    return {
        "waiting": status.waiting,
        "oldest_seconds": round(status.oldest_seconds, 1),
        "sent": counts.get("delivered", 0),
        "known": counts.get("known", 0),
        "dead": status.dead,
        "dead_by_reason": await stream.count_dead(tell) if status.dead else {},
        "dead_dropped": counts.get("dead_dropped", 0),
    }


def _page(rows: list[dict[str, Any]], count: int) -> Page:
    """`rows` has one more than `count` where there are more."""
    return Page(rows[:count], rows[count - 1]["id"] if len(rows) > count else None)


def _shown(entry: Entry) -> dict[str, Any]:
    fields = msgspec.structs.asdict(entry)
    times = {name: _iso(fields[name]) if fields[name] else None for name in ("received", "sent")}
    return fields | times | {"who": entry.who.hex()}


def _letter(letter: Letter) -> dict[str, Any]:
    """Without what would name the person."""
    try:
        parcel = open_parcel(letter.body)
        source, name, received = parcel.source, parcel.name, _iso(parcel.received)
    except msgspec.MsgspecError:  # an exposure of the gateways, or what nobody can read
        source, name, received = "", "", None
    return {
        "id": letter.id,
        "reason": letter.reason,
        "died": _iso(seconds_of(letter.id.encode())),
        "received": received,
        "source": source,
        "name": name,
        "sha256": hashlib.sha256(letter.body).hexdigest(),
    }


def _iso(seconds: float) -> str:
    return dt.datetime.fromtimestamp(seconds, dt.UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
