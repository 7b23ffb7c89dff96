"""Is this store fit to keep lists? Its persistence and eviction, said loudly where they endanger what it holds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from redis.exceptions import ResponseError

from foundation.store import of_each_primary

if TYPE_CHECKING:
    from foundation.store import Store


async def dangers(store: Store, *, journal: bool) -> list[str]:
    """What may lose lists, each with its remedy. A managed server that hides its configuration gets no advice.

    On a cluster each primary is looked at, and what any of them lacks is said once.
    """
    found = await of_each_primary(store, lambda target: _dangers_of(store, target, journal=journal))
    return list(dict.fromkeys(danger for dangers_of_one in found for danger in dangers_of_one))


async def _dangers_of(store: Store, target: dict[str, Any], *, journal: bool) -> list[str]:
    found = []
    policy = await _configured(store, "maxmemory-policy", target)
    if policy is not None and policy != "noeviction":
        found.append(f"the store evicts (maxmemory-policy {policy}): lists vanish when it is full; set noeviction")
    append_only = await _configured(store, "appendonly", target)
    saves = await _configured(store, "save", target)
    if append_only == "no" and not saves:
        found.append("the store keeps nothing on disk: a restart loses every list; set appendonly yes")
    elif append_only == "no" and not journal:
        found.append("the store saves only now and then and JOURNAL is off: set appendonly yes, appendfsync always")
    elif not journal and await _configured(store, "appendfsync", target) != "always":
        found.append("JOURNAL is off and the store may lose its last second: set appendfsync always")
    return found


async def _configured(store: Store, name: str, target: dict[str, Any]) -> str | None:
    try:
        answer: Any = await store.config_get(name, **target)
    except ResponseError:
        return None
    value = answer.get(name)
    return value.decode() if isinstance(value, bytes) else value
