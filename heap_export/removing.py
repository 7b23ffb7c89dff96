"""An integration that is deleted, with all that is kept for it. Nothing that a sender got a 200 for goes unasked."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, NamedTuple

from event_stream.marks import number_of_sets
from event_stream.removal import remove_stream
from foundation.errors import ConflictError
from heap_export.delivery_log import DeliveryLog
from heap_export.integrations import FOLLOWED_SECONDS
from heap_export.payloads import MESSAGE_SECONDS
from heap_export.streams import stream_of
from heap_export.trouble import tell_trouble

if TYPE_CHECKING:
    from collections.abc import Callable

    from event_stream.stream import Stream
    from foundation.store import Store
    from heap_export.integrations import Integration, Integrations
    from heap_export.settings import HeapExportSettings


class Removed(NamedTuple):
    """How many records had not been delivered, and how many dead letters there were; they are gone."""

    waiting: int
    dead: int


async def remove_integration(
    store: Store,
    settings: HeapExportSettings,
    integrations: Integrations,
    name: str,
    *,
    discard: bool = False,
    tell: Callable[[int], object] = lambda _: None,
) -> Removed:
    """It takes some seconds: first every process hears that nothing more goes there.

    Raises `ConflictError` where records or dead letters are kept, unless they are to be thrown away (`discard`);
    `NotFoundError`, and the store's errors: done again, it goes on. `tell` hears how many keys were looked at since.
    """
    await integrations.load()
    integration = integrations.named(name)
    integrations.check_removable(name)
    stream = stream_of(integration.app_id, store, settings)
    if not discard:
        await _want_nothing_in(stream)
    await integrations.change(name, {"sources": (), "enabled": False})
    await asyncio.sleep(FOLLOWED_SECONDS)
    if not discard:
        try:
            await _want_nothing_in(stream)
        except ConflictError:
            await integrations.change(name, {"sources": integration.sources, "enabled": integration.enabled})
            raise
    status = await stream.status()
    await remove_stream(stream, _kept(integrations, integration), tell)
    await DeliveryLog(store, integration.app_id, settings).clear()
    await tell_trouble(store, integration.app_id, "")
    await integrations.forget(name)
    return Removed(status.waiting, status.dead)


def keys_to_delete(integrations: Integrations, name: str) -> int:
    """How many `tell` hears of, about. Raises `NotFoundError`."""
    return sum(map(number_of_sets, _kept(integrations, integrations.named(name))))


def _kept(integrations: Integrations, integration: Integration) -> set[int]:
    return {MESSAGE_SECONDS, *integrations.used.get(integration.app_id, ())}


async def _want_nothing_in(stream: Stream) -> None:
    status = await stream.status()
    if status.waiting or status.dead:
        raise ConflictError(
            f"{status.waiting} records wait for it and {status.dead} dead letters are kept: let them be delivered "
            "(with no sources it takes nothing new) and look after the dead letters, or have all of it discarded",
            reason="records_kept",
        )
