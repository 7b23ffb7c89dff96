from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from redis.asyncio import Redis

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@pytest.fixture
async def client(store_url: str) -> AsyncIterator[Redis]:
    async with Redis.from_url(store_url) as connection:
        yield connection
