"""Lists as the command line shows them: read from where the write side keeps them, whether a receiver runs or not."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from attribute_lists.describe import describe_lists
from attribute_lists.members import sizes
from cohort_sync.truth import descriptions
from cohort_sync.truth.database import FILE_NAME, connect_reading
from foundation.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from attribute_lists.describe import ListDescription
    from cohort_sync.settings import CohortSyncSettings
    from foundation.store import Store


async def described_lists(settings: CohortSyncSettings, store: Store) -> Sequence[ListDescription]:
    """Every list. Raises the store's errors, and `ConfigurationError` where there is no database yet."""
    if settings.write_side == "journal":
        return await describe_lists(store, stale_after=settings.stale_after)
    lists = await asyncio.to_thread(_read, settings.data_dir / FILE_NAME, settings.stale_after)
    members = await sizes(store, [(found.account, found.list_id) for found in lists])
    return [replace(found, members=members.get((found.account, found.list_id), 0)) for found in lists]


def _read(path: Path, stale_after: float) -> Sequence[ListDescription]:
    """How many members each has is not told."""
    try:
        with connect_reading(path) as connection:
            now = int(time.time() * 1000)
            return descriptions.describe_lists(connection, now=now, stale_after=stale_after, sizes={})
    except sqlite3.Error as error:
        raise ConfigurationError(f"DATA_DIR: {path} can't be read ({error}); `cohort-sync serve` makes it") from error
