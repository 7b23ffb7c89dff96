"""The same on a Redis Cluster, whose servers share the lists."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from attribute_lists import keys
from foundation.settings import ServiceSettings
from foundation.store import connect
from tests.attribute_lists.projection.conftest import projecting
from tests.attribute_lists.projection.memory_truth import ACCOUNT, GOLD, MemoryTruth
from tests.support.cluster import Cluster, running_cluster

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from foundation.store import Store

LISTS = [(ACCOUNT, f"heap_{number}") for number in range(30)]
MANY = [b"member-%d" % number for number in range(3000)]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with running_cluster(tmp_path_factory.mktemp("cluster"), replicas=1) as cluster:
        yield cluster


@pytest.fixture
async def clustered(cluster: Cluster) -> AsyncIterator[Store]:
    cluster.clear()
    store = connect(ServiceSettings(redis_url=cluster.url, redis_cluster=True), timeout=2, connect_timeout=1)
    yield store
    await store.aclose()


def filled() -> MemoryTruth:
    truth = MemoryTruth()
    for number, name in enumerate(LISTS):
        truth.add(name, *MANY[: 100 * number])
    truth.alias("7", LISTS[7])
    return truth


async def test_lists_are_built_change_and_are_mended(clustered: Store) -> None:
    truth = filled()
    async with projecting(clustered, truth, scrub_seconds=2) as projected:
        await projected.settles(seconds=30)
        for number, name in enumerate(LISTS):
            truth.change(name, add=[b"new"], remove=MANY[number : number + 5])
            projected.projector.wake(name)
        truth.replace(LISTS[-1], MANY[:1500])
        truth.delete(LISTS[3])
        projected.projector.wake(LISTS[3])
        await projected.settles(seconds=30)
        for name in LISTS[10:15]:
            await clustered.delete(keys.members(*name))
            await clustered.delete(keys.about(*LISTS[-2]))
        await projected.settles(seconds=30)
        await clustered.srem(keys.members(*LISTS[-3]), MANY[100])
        await clustered.sadd(keys.members(*LISTS[-3]), b"stranger")
        await projected.settles(seconds=30)


async def test_a_server_that_loses_everything(cluster: Cluster, clustered: Store) -> None:
    truth = filled()
    truth.add(GOLD, *MANY)
    async with projecting(clustered, truth) as projected:
        await projected.settles(seconds=30)
        for key in (keys.about(*GOLD), keys.REGISTRY_LISTS):
            with cluster.primary_of(key).client() as client:
                client.flushall()
            await projected.settles(seconds=30)


async def test_a_failover_in_the_middle_of_it(cluster: Cluster, clustered: Store) -> None:
    """What the replica did not hear of is made again."""
    primary = cluster.primaries[0]
    name = next(name for name in LISTS if cluster.primary_of(keys.about(*name)) is primary)
    truth = filled()
    async with projecting(clustered, truth) as projected:
        await projected.settles(seconds=30)
        await asyncio.to_thread(cluster.replica_of(primary).stop_replicating)
        for number in range(20):
            truth.add(name, *(b"more-%d-%d" % (number, other) for other in range(2000)))
            projected.projector.wake(name)
            await asyncio.sleep(0)
        await asyncio.to_thread(primary.kill)
        await projected.settles(seconds=60)
    assert len(await clustered.smembers(keys.members(*name))) >= 40_000
