"""What the gateway itself keeps in the store, on a Redis Cluster of real servers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from foundation.settings import ServiceSettings
from foundation.store import connect
from gateway.aliases import forget_aliases
from gateway.settings_copies import Copies, tag_of
from tests.gateway.test_aliases import aliases_of
from tests.support.cluster import Cluster, running_cluster

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from foundation.store import Store


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with running_cluster(tmp_path_factory.mktemp("cluster")) as running:
        yield running


@pytest.fixture
async def store(cluster: Cluster) -> AsyncIterator[Store]:
    cluster.clear()
    client = connect(ServiceSettings(redis_url=cluster.url, redis_cluster=True))
    yield client
    await client.aclose()


async def test_aliases_are_set_found_and_forgotten(cluster: Cluster, store: Store) -> None:
    async with aliases_of(ServiceSettings(redis_url=cluster.url, redis_cluster=True), remember=4) as aliases:
        for alias in "abc":
            assert await aliases.put("1", alias, "alice")
        assert await aliases.users_of("1", ["a", "c", "none"]) == ["alice", "alice", "none"]
        assert await aliases.put("1", "c", "alice")  # comes after the move of `a`
        assert await forget_aliases(store, ["1"], "alice") == 4  # one of them stood in both halves
        assert await aliases.users_of("1", ["a", "b", "c"]) == ["a", "b", "c"]


async def test_settings_are_kept(store: Store, tmp_path: Path) -> None:
    copies = Copies(store, tmp_path)
    for account in "123":
        await copies.keep(tag_of(account, "key"), account.encode(), is_configured=account != "3")
    for account in "123":
        assert await copies.in_redis(tag_of(account, "key")) == account.encode()
        await copies.keep_on(tag_of(account, "key"), b"kept", is_configured=account != "3")
        assert await copies.in_redis(tag_of(account, "key")) == account.encode()
