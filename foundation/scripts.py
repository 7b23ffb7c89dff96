"""Lua scripts in the store."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from redis.exceptions import NoScriptError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from foundation.store import Store


async def run_script(store: Store, script: str, keys: Sequence[str], arguments: Sequence[Any]) -> Any:
    """What `script` answers; its text is sent only where the store doesn't know it. Raises the store's errors."""
    sha = hashlib.sha1(script.encode(), usedforsecurity=False).hexdigest()
    try:
        return await store.execute_command("EVALSHA", sha, len(keys), *keys, *arguments)
    except NoScriptError:
        return await store.execute_command("EVAL", script, len(keys), *keys, *arguments)
