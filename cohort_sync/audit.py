"""The audit stream: who changed what, and when. It is made again from the journal, should the store lose it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cohort_sync.records import OperationRecord
    from foundation.store import Store

AUDIT = "cg:{registry}:audit"
LENGTH = 100_000  # entries; the oldest go first

# The details that an entry shows; others are hashes of persons and what a connection is made of.
_SHOWN = frozenset({"active", "aliases", "mode", "at", "env_id"})


async def tell(store: Store, record: OperationRecord) -> None:
    fields: dict[str, Any] = {
        "id": record.mark,
        "at": record.at,
        "who": record.actor,
        "what": record.action,
        "account": record.account,
        "list": record.list_id,
    }
    fields |= {name: str(value) for name, value in record.details.items() if name in _SHOWN}
    flat = [part for pair in fields.items() for part in pair]
    await store.execute_command("XADD", AUDIT, "MAXLEN", "~", LENGTH, "*", *flat)


async def restore(store: Store, changes: list[dict[str, str]]) -> None:
    """Bring back what `newest` gave, into a store that has no audit stream."""
    if changes and not await store.execute_command("EXISTS", AUDIT):
        for change in reversed(changes):
            flat = [part for pair in change.items() for part in pair]
            await store.execute_command("XADD", AUDIT, "*", *flat)


async def newest(store: Store, count: int) -> list[dict[str, str]]:
    """The latest changes, newest first: `at` (Unix milliseconds), `who`, `what`, `account`, `list` and details."""
    rows: Any = await store.xrevrange(AUDIT, count=count)
    changes = [{name.decode(): value.decode() for name, value in fields.items()} for _, fields in rows]
    # A change that recovery applied again, perhaps while it was being applied, is told again.
    once = {change.get("id", str(number)): change for number, change in enumerate(changes)}
    return sorted(once.values(), key=lambda change: int(change["at"]), reverse=True)
