"""Archives of lists that lie on several servers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from redis.asyncio import RedisCluster

from attribute_lists import keys
from attribute_lists.archive import read_archive
from tests.attribute_lists.archives import GOLD, ORDERING, SILVER, everything, fill, written
from tests.support.cluster import running_cluster

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from foundation.store import Store
    from tests.support.cluster import Cluster


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    directory: Path = tmp_path_factory.mktemp("cluster")
    with running_cluster(directory) as cluster:
        yield cluster


@pytest.fixture
async def client(cluster: Cluster) -> AsyncIterator[Store]:
    cluster.clear()
    client = RedisCluster.from_url(cluster.url)
    yield client
    await client.aclose()


async def test_a_cluster_is_carried_whole(client: Store, cluster: Cluster) -> None:
    def held() -> dict[str, object]:
        found: dict[str, object] = {}
        for node in cluster.primaries:
            with node.client() as one:
                found |= everything(one)
        return found

    await fill(client)
    before = held()
    archive = await written(client)
    cluster.clear()
    summary = await read_archive(client, archive, existing="replace", ordering=ORDERING)
    assert summary.lists == {GOLD: 2999, SILVER: 20}
    assert held() == before
    assert {keys.members(*GOLD), keys.staging(*SILVER, "t3")} <= set(before)
