"""Everything that heap-export keeps of one person: what waits, dead letters, marks, the delivery log, exposures."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from foundation.errors import BadRequestError
from heap_export.delivery_log import DeliveryLog
from heap_export.payloads import MESSAGE_SECONDS, person_mark
from heap_export.streams import stream_of
from published.exposures import exposure_stream
from published.people import names_person

if TYPE_CHECKING:
    from collections.abc import Callable

    from foundation.store import Store
    from heap_export.integrations import Integrations
    from heap_export.settings import HeapExportSettings

ELSEWHERE = "the gateway and cohort-sync keep things of their own: run cohort-gateway erase and cohort-sync erase too"


class Erased(NamedTuple):
    """How many of each there were, of all app ids together. `exposures`: of the gateways, not looked at yet or dead."""

    records: int
    marks: int
    log_entries: int
    exposures: int


def checked_person(person: str) -> str:
    """Raises `BadRequestError` for what can be nobody's id."""
    try:
        person.encode()
    except UnicodeEncodeError:
        raise BadRequestError("id: holds half a surrogate pair", reason="bad_text") from None
    if not person:
        raise BadRequestError("id: the person's id as Heap has it, not empty", reason="bad_identity")
    return person


async def erase_person(
    store: Store,
    settings: HeapExportSettings,
    integrations: Integrations,
    person: str,
    tell: Callable[[int], object] = lambda _: None,
) -> Erased:
    """`person` is an identity, as Heap has it. Raises the store's errors.

    `tell` hears how many entries were looked at since. App ids whose integration is gone are looked at too. What is
    being sent at this moment may still arrive; what sources send from now on is taken as ever.
    """
    await integrations.load()
    records = marks = entries = 0
    for app_id, periods in integrations.used.items():
        whose = person_mark(app_id, person)
        stream = stream_of(app_id, store, settings)
        records += await stream.erase(lambda record: record.to == person, tell)
        marks += await stream.forget_marks(whose, {MESSAGE_SECONDS, *periods})
        entries += await DeliveryLog(store, app_id, settings).erase(whose, tell)
    exposures = await exposure_stream(store).erase(names_person(person), tell)
    return Erased(records, marks, entries, exposures)


async def entries_to_look_at(store: Store, settings: HeapExportSettings, integrations: Integrations) -> int:
    """How many `tell` hears of, about. Raises the store's errors."""
    await integrations.load()
    streams = [stream_of(app_id, store, settings) for app_id in integrations.used]
    found = [await stream.status() for stream in (*streams, exposure_stream(store))]
    logs = [await DeliveryLog(store, app_id, settings).length() for app_id in integrations.used]
    return sum(status.waiting + status.dead for status in found) + sum(logs)
