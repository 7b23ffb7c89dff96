"""What the gateway itself keeps in the store, on a Redis Cluster of real servers."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import pytest

from attribute_lists import keys
from foundation.settings import ServiceSettings
from foundation.store import connect
from gateway.aliases import forget_aliases
from gateway.settings_copies import Copies, tag_of
from tests.gateway.test_aliases import aliases_of
from tests.production.installation import ACCOUNT, LIST
from tests.support import http
from tests.support.cluster import Cluster, running_cluster
from tests.support.flood import check, comes_out, flood, states
from tests.support.processes import gateway

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
        assert await forget_aliases(store, "alice") == 4  # one of them stood in both halves
        assert await aliases.users_of("1", ["a", "b", "c"]) == ["a", "b", "c"]


async def test_settings_are_kept(store: Store, tmp_path: Path) -> None:
    copies = Copies(store, tmp_path)
    for account in "123":
        await copies.keep(tag_of(account, "key"), account.encode(), is_configured=account != "3")
    for account in "123":
        assert await copies.in_redis(tag_of(account, "key")) == account.encode()
        await copies.keep_on(tag_of(account, "key"), b"kept", is_configured=account != "3")
        assert await copies.in_redis(tag_of(account, "key")) == account.encode()


KEYS = {"a list": keys.members(ACCOUNT, LIST), "names": keys.REGISTRY_ALIASES, "aliases": "cg:aliases:{all}:new"}


@pytest.mark.parametrize("key", KEYS.values(), ids=KEYS.keys())
def test_a_slot_that_moves_while_many_ask(cluster: Cluster, tmp_path: Path, key: str) -> None:
    """Nobody's question is lost on its way to another node, though they are more than there are connections."""
    cluster.clear()
    numbers = itertools.count()
    with cluster.client() as client:
        client.sadd(keys.REGISTRY_LISTS, keys.qualified(ACCOUNT, LIST))
        client.hset(keys.about(ACCOUNT, LIST), "active", "1")
        client.sadd(keys.members(ACCOUNT, LIST), "alice")
        client.hset(keys.REGISTRY_ALIASES, keys.qualified(ACCOUNT, "vwo:1"), LIST)
    with gateway(tmp_path, cluster.settings) as program:
        address = program.address
        http.post(f"{address}/user-alias/setUserAlias?accountId={ACCOUNT}&userId=alice&aliasId=tmp")

        def ask() -> object:
            new = [next(numbers) for _ in range(150)]
            known = flood(address, [check(LIST, f"user-{one}") for one in new], connections=150)
            unknown = flood(address, [check(f"nowhere_{one}") for one in new], connections=150)
            aliases = flood(
                address, [f"/user-alias/getAliasUserId?accountId={ACCOUNT}&userId=tmp"] * 150, connections=150
            )
            return states(known), states(unknown), {answer.body for answer in aliases}

        wanted = (
            {(200, b"false", "not_in"): 150},
            {(200, b"false", "unknown_list"): 150},
            {b'[{"aliasId":"tmp","userId":"alice"}]'},
        )
        comes_out(ask, wanted)
        source = cluster.primary_of(key)
        target = next(node for node in cluster.primaries if node is not source)
        cluster.move_slot(key, target, between=lambda: comes_out(ask, wanted))
        comes_out(ask, wanted)
        assert http.membership(address, "alice", "vwo:1", account=ACCOUNT) == "in"
