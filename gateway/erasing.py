"""Everything that the gateway keeps of one person: events on their way, aliases, the map of visitor ids."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from gateway.accounts import configured_accounts
from gateway.aliases import forget_aliases
from gateway.event_queue import event_stream
from gateway.file_settings import FileSettings
from gateway.metrics import Metrics
from gateway.visitors import Visitors
from published.exposures import exposure_stream
from published.people import names_person

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from foundation.store import Store
    from gateway.settings import GatewaySettings


class Erased(NamedTuple):
    """How many of each there were. `exposures` were on their way to heap-export."""

    events: int
    exposures: int
    aliases: int
    visitor_ids: int


def known_accounts(settings: GatewaySettings) -> set[str]:
    """The accounts that this gateway is set up for. Raises `ConfigurationError`."""
    found = {
        account.id for account in configured_accounts(settings.account_id, settings.sdk_key, settings.accounts_file)
    }
    served = FileSettings(settings.settings_file, Metrics()).account
    return {account for account in (*found, settings.account_id, served) if account}


async def erase_person(
    store: Store,
    settings: GatewaySettings,
    accounts: Iterable[str],
    person: str,
    tell: Callable[[int], object] = lambda _: None,
) -> Erased:
    """`person` is a user's id. Raises the store's errors; `tell` hears how many events were looked at since.

    Events of any account are looked at, aliases and visitor ids of `accounts`.
    """
    streams = event_stream(store, settings), exposure_stream(store)
    events, exposures = [await stream.erase(names_person(person), tell) for stream in streams]
    aliases = await forget_aliases(store, accounts, person)
    visitors = Visitors(store, remember=settings.visitors_remembered)
    visitor_ids = [await visitors.forget(account, person) for account in accounts]
    return Erased(events, exposures, aliases, sum(visitor_ids))
