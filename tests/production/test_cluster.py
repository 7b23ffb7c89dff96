"""Everything on a Redis Cluster of real servers, with slots that move and primaries that die."""

from __future__ import annotations

import asyncio
import shutil
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings

from attribute_lists import keys
from foundation.errors import ConfigurationError
from foundation.settings import ServiceSettings
from foundation.store import connect
from tests.attribute_lists.histories import histories, play
from tests.attribute_lists.test_order import SETTINGS
from tests.production.installation import ACCOUNT, LIST, ask, installed, tour
from tests.support.cluster import Cluster, running_cluster
from tests.support.persistent_sender import PersistentSender
from tests.support.ports import free_ports
from tests.support.servers import Server
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import httpx

    from tests.attribute_lists.histories import Event
    from tests.production.installation import Installation

MEMBERS = keys.members(ACCOUNT, LIST)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with running_cluster(tmp_path_factory.mktemp("cluster")) as running:
        yield running


@settings(SETTINGS, max_examples=40)
@given(events=histories())
def test_any_history_ends_as_the_model_says(cluster: Cluster, events: list[Event]) -> None:
    async def once() -> tuple[set[int], set[int]]:
        store = connect(ServiceSettings(redis_url=cluster.url, redis_cluster=True))
        try:
            return await play(store, events)
        finally:
            await store.aclose()

    held, wanted = asyncio.run(once())
    assert held == wanted


def test_everything_that_the_services_do(cluster: Cluster, tmp_path: Path) -> None:
    cluster.clear()
    with installed(tmp_path, cluster.settings) as installation:
        tour(installation)


def held(cluster: Cluster) -> set[bytes]:
    with cluster.client() as client:
        members: set[bytes] = client.smembers(MEMBERS)
        return members


def test_a_slot_that_moves_while_pages_come(cluster: Cluster, tmp_path: Path) -> None:
    """It goes to a node that was added since the services read the map of slots."""
    cluster.clear()
    with installed(tmp_path, cluster.settings) as installation:

        def check_in_between() -> None:
            # Not at once, since a busy machine may miss the gateway's deadline; but while the slot stays as it is.
            until(lambda: installation.check("member-3-19") == "in", seconds=5, what="a check of a slot that moves")

        with PersistentSender(installation.service.heap) as sender:
            sender.wait_for(5)
            target = cluster.add_primary()
            cluster.move_slot(MEMBERS, target, between=check_in_between)
            sender.wait_for(5)
        assert set(sender.answers) <= {200, 503}
        assert cluster.primary_of(MEMBERS) is target
        assert held(cluster) == sender.wanted
        check_in_between()


def test_primaries_that_die_with_writes_their_replicas_lack(tmp_path: Path) -> None:
    with (
        running_cluster(tmp_path / "nodes", replicas=3) as cluster,
        installed(tmp_path, cluster.settings) as installation,
    ):
        installation.wait_until_ready()
        with PersistentSender(installation.service.heap) as sender:
            sender.wait_for(5)
            primary = cluster.primary_of(MEMBERS)
            replica = cluster.replica_of(primary)
            replica.stop_replicating()
            sender.wait_for(5)
            primary.kill()
            sender.wait_for(5)
        assert set(sender.answers) <= {200, 503}
        assert cluster.primary_of(MEMBERS) is replica
        until(lambda: held(cluster) == sender.wanted, seconds=20, what="the lost members to be back")
        until(lambda: installation.check("member-7-19") == "in", what="the gateway to find the new primary")

        # The one that tells the gateway of aliases: its subscription must find the new primary, too.
        change_aliases(installation, "vwo:1")
        assert installation.answer("member-7-19", "vwo:1") == "in"
        primary = cluster.primary_of(keys.CHANGES)
        assert primary is not replica
        primary.kill()
        until(lambda: change_aliases(installation).status_code == 200, seconds=20, what="the cluster to be whole")
        until(lambda: installation.check("member-7-19", "vwo:1") == "unknown_list", what="the gateway to be told")


def change_aliases(installation: Installation, *aliases: str) -> httpx.Response:
    path = f"/admin/api/v1/lists/{ACCOUNT}/{LIST}"
    return installation.service.admin("PATCH", path, json={"aliases": aliases})


@pytest.mark.parametrize(
    "key", [keys.REGISTRY_LISTS, keys.members(ACCOUNT, "heap_segment_3")], ids=["registry", "list"]
)
def test_a_primary_that_comes_back_empty(cluster: Cluster, tmp_path: Path, key: str) -> None:
    cluster.clear()
    with installed(tmp_path, cluster.settings) as installation:
        heap = installation.service.heap
        for number in range(6):
            assert heap.sync(add=["ann", "bob"], segment_id=number + 1, name=f"Segment {number}").status_code == 200
        assert installation.service.admin("POST", "/admin/api/v1/checkpoint").status_code == 200
        for number in range(6):
            assert heap.sync(add=["cid"], remove=["bob"], segment_id=number + 1, name=f"Segment {number}").is_success
        primary = cluster.primary_of(key)
        primary.kill()
        shutil.rmtree(primary.directory / "appendonlydir")
        primary.join_in()

        def whole() -> bool:
            names = [f"heap_segment_{number}" for number in range(6)]
            return all(installation.check("cid", name) == "in" for name in names) and all(
                installation.members(name) == {"ann", "cid"} for name in names
            )

        until(whole, seconds=20, what="every list to be as it was")


class TestAddresses:
    """What the settings say, and what is said where they are wrong."""

    def test_one_node_of_several_may_be_away_at_the_start(self, cluster: Cluster) -> None:
        nobody = f"127.0.0.1:{free_ports(1)[0]}"
        found = cluster.url.removeprefix("redis://")
        assert ask(redis_url=f"redis://{nobody},{found}", redis_cluster=True) == "PONG"

    def test_no_node_at_all(self) -> None:
        nobody = f"redis://127.0.0.1:{free_ports(1)[0]}"
        assert ask(redis_url=nobody, redis_cluster=True) == "nobody listens at that address"

    def test_a_cluster_that_was_not_expected(self, cluster: Cluster) -> None:
        answers = {ask("GET", str(number), redis_url=cluster.url) for number in range(20)}
        assert "the store is a node of a cluster: set REDIS_CLUSTER=true" in answers

    def test_a_cluster_that_is_none(self, tmp_path: Path) -> None:
        server = Server(tmp_path / "server", free_ports(1)[0])
        server.start()
        try:
            url = f"redis://127.0.0.1:{server.port}"
            assert ask(redis_url=url, redis_cluster=True) == "the store is no cluster: leave REDIS_CLUSTER out"
        finally:
            server.kill()

    @pytest.mark.parametrize("url", ["unix:///run/store.sock", "redis://127.0.0.1/3"])
    def test_an_address_that_no_cluster_has(self, url: str) -> None:
        with pytest.raises(ConfigurationError, match="does not fit REDIS_CLUSTER=true"):
            connect(ServiceSettings(redis_url=url, redis_cluster=True))
