"""Which accounts are connected to Heap: cohort-sync writes it, gateways read it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from foundation.store import Store

# Hash: keyed hash of an id token -> its account, one for each connection. It does not begin like the keys of lists,
# whose every change is told.
BY_ID_TOKEN = "cg:{connections}:by-id-token"  # noqa: S105 - a key of the store


async def connected_accounts(store: Store) -> frozenset[str]:
    """Raises the store's errors."""
    accounts: list[bytes] = await store.execute_command("HVALS", BY_ID_TOKEN)
    return frozenset(account.decode() for account in accounts)
