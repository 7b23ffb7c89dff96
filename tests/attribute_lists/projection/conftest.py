"""A projector over a real store and a truth in memory."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import pytest

from attribute_lists import keys
from attribute_lists.projection.about import about_fields
from attribute_lists.projection.projector import Projector
from tests.attribute_lists.projection.memory_truth import GOLD, MemoryTruth
from tests.support.processes import running_store
from tests.support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence

    from redis.asyncio import Redis

    from foundation.store import Store
    from tests.attribute_lists.projection.memory_truth import Name
    from tests.support.processes import StoreServer


class Projected:
    """A projector, its truth, and a client of its store."""

    def __init__(self, store: Store, truth: MemoryTruth, projector: Projector) -> None:
        self.store: Any = store
        self.truth = truth
        self.projector = projector

    async def is_whole(self) -> bool:
        """Whether the store has all that the truth says, and nothing else."""
        registry = await self.truth.registry()
        names = {keys.qualified(*name).encode() for name in registry.lists}
        aliases = {alias.encode(): list_id.encode() for alias, list_id in registry.aliases.items()}
        try:
            if await self.store.get(keys.REGISTRY_IDENTITY) != registry.database.encode():
                return False
            if await self.store.smembers(keys.REGISTRY_LISTS) != names:
                return False
            if await self.store.hgetall(keys.REGISTRY_ALIASES) != aliases:
                return False
            return not registry.lists or await self._have(registry.lists)
        except Exception:  # noqa: BLE001 - a key of another type
            return False

    async def has(self, name: Name = GOLD) -> bool:
        """Whether the list's keys are as the truth says."""
        return await self._have([name])

    async def _have(self, names: Sequence[Name]) -> bool:
        pipeline = self.store.pipeline(transaction=False)
        for name in names:
            pipeline.smembers(keys.members(*name))
            pipeline.hgetall(keys.about(*name))
        replies = await pipeline.execute()
        parts = zip(names, replies[::2], replies[1::2], strict=True)
        return all([await self._is_right(name, members, about) for name, members, about in parts])

    async def _is_right(self, name: Name, members: set[bytes], about: dict[bytes, bytes]) -> bool:
        head = await self.truth.head(*name)
        if head is None:
            return not members and not about
        fields = [_bytes(text) for text in about_fields(self.truth.database.encode(), head)]
        wanted = dict(zip(fields[::2], fields[1::2], strict=True)) | {b"size": str(len(members)).encode()}
        return members == self.truth.lists[name].members and about == wanted

    async def settles(self, *, seconds: float = 20.0) -> None:
        """Until `is_whole`."""
        await eventually(self.is_whole, seconds=seconds, what="the store to be as the truth says")

    async def members(self, name: Name = GOLD) -> set[bytes]:
        found: set[bytes] = await self.store.smembers(keys.members(*name))
        return found

    async def shown(self, name: Name = GOLD) -> dict[bytes, bytes]:
        found: dict[bytes, bytes] = await self.store.hgetall(keys.about(*name))
        return found


@contextlib.asynccontextmanager
async def projecting(store: Store, truth: MemoryTruth, **options: Any) -> AsyncIterator[Projected]:
    """Looks are quick here. A scrub is not where a test doesn't say otherwise: what a look finds shall not be its."""
    projector = Projector(store, truth, **({"look_seconds": 0.3, "scrub_seconds": 100_000.0} | options))
    async with projector.running():
        yield Projected(store, truth, projector)


@pytest.fixture
def truth() -> MemoryTruth:
    return MemoryTruth()


@pytest.fixture
async def projected(client: Redis, truth: MemoryTruth) -> AsyncIterator[Projected]:
    async with projecting(client, truth) as projected:
        yield projected


@pytest.fixture
def own_store() -> Iterator[StoreServer]:
    """A store that the test may kill."""
    with running_store() as server:
        yield server


def _bytes(text: bytes | str) -> bytes:
    return text if isinstance(text, bytes) else text.encode()
