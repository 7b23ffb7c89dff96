"""Why Heap takes nothing for an app id, told in Redis by the process that delivers, for whoever asks elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from foundation.store import Store

_KNOWN_SECONDS = 30  # without a word the deliverer is gone, or all is well


async def tell_trouble(store: Store, app_id: str, trouble: str) -> None:
    """`trouble`: a short word; nothing where all is well. Raises the store's errors."""
    if trouble:
        await store.execute_command("SET", _key(app_id), trouble, "EX", _KNOWN_SECONDS)
    else:
        await store.execute_command("UNLINK", _key(app_id))


async def read_trouble(store: Store, app_id: str) -> str | None:
    """Raises the store's errors."""
    told: bytes | None = await store.execute_command("GET", _key(app_id))
    return told.decode() if told is not None else None


def _key(app_id: str) -> str:
    return f"cg:heap:{{{app_id}}}:trouble"
