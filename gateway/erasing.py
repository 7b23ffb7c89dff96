"""Everything that the gateway keeps of one person: events on their way, aliases, the map of visitor ids."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from gateway.aliases import forget_aliases
from gateway.event_queue import event_stream
from gateway.visitors import Visitors
from published.exposures import exposure_stream
from published.people import names_person
from published.visitors import VisitorMap

if TYPE_CHECKING:
    from collections.abc import Callable

    from foundation.store import Store
    from gateway.settings import GatewaySettings


class Erased(NamedTuple):
    """How many of each there were. `exposures` were on their way to heap-export."""

    events: int
    exposures: int
    aliases: int
    visitor_ids: int


async def erase_person(
    store: Store, settings: GatewaySettings, person: str, tell: Callable[[int], object] = lambda _: None
) -> Erased:
    """`person` is a user's id, of whatever account. Raises the store's errors.

    `tell` hears how many events were looked at since.
    """
    streams = event_stream(store, settings), exposure_stream(store)
    events, exposures = [await stream.erase(names_person(person), tell) for stream in streams]
    aliases = await forget_aliases(store, person)
    visitors = Visitors(store, remember=settings.visitors_remembered)
    visitor_ids = [await visitors.forget(account, person) for account in await VisitorMap(store).accounts()]
    return Erased(events, exposures, aliases, sum(visitor_ids))
