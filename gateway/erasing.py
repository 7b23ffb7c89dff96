"""Everything that the gateway keeps of one person: events on their way to VWO, aliases, the map of visitor ids."""

from __future__ import annotations

import functools
import json
from typing import TYPE_CHECKING, NamedTuple

from fme_client.identity import get_uuid
from gateway.accounts import configured_accounts
from gateway.aliases import Aliases
from gateway.event_queue import event_stream
from gateway.file_settings import FileSettings
from gateway.metrics import Metrics
from gateway.visitors import Visitors

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from event_stream.stream import Record
    from foundation.store import Store
    from gateway.settings import GatewaySettings


class Erased(NamedTuple):
    """How many of each there were."""

    events: int
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
    events = await event_stream(store, settings).erase(names_person(person), tell)
    aliases = await Aliases(store, Metrics(), remember=settings.aliases_remembered).forget(accounts, person)
    visitors = Visitors(store, remember=settings.visitors_remembered)
    visitor_ids = [await visitors.forget(account, person) for account in accounts]
    return Erased(events, aliases, sum(visitor_ids))


def names_person(person: str) -> Callable[[Record], bool]:
    """Whether an event is about `person`: by its visitor id, or by the person's own id as a text anywhere in it."""
    texts = {json.dumps(person).encode(), json.dumps(person, ensure_ascii=False).encode("utf-8", "surrogatepass")}

    @functools.cache
    def visitor(account: str) -> bytes:
        return get_uuid(person, account).encode()

    def is_theirs(record: Record) -> bool:
        account = record.to.partition("/")[0]
        return visitor(account) in record.body or any(text in record.body for text in texts)

    return is_theirs
