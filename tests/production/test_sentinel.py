"""Everything on a replicated store under Sentinel: failovers with unreplicated writes, hosts that go silent."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Any

import pytest

from attribute_lists import keys
from tests.production.installation import ACCOUNT, LIST, ask, installed, tour
from tests.support.persistent_sender import PersistentSender
from tests.support.ports import free_ports
from tests.support.sentinel import MASTER, Replicated, replicated_store
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MEMBERS = keys.members(ACCOUNT, LIST)


@pytest.fixture
def replicated(tmp_path: Path) -> Iterator[Replicated]:
    with replicated_store(tmp_path / "servers") as running:
        yield running


def held(replicated: Replicated) -> Any:
    with replicated.client() as client:
        return client.smembers(MEMBERS)


def test_everything_that_the_services_do(replicated: Replicated, tmp_path: Path) -> None:
    with installed(tmp_path, replicated.settings) as installation:
        tour(installation)


def test_a_master_that_dies_with_writes_its_replica_lacks(replicated: Replicated, tmp_path: Path) -> None:
    with installed(tmp_path, replicated.settings) as installation:
        installation.wait_until_ready()
        with PersistentSender(installation.service.heap) as sender:
            sender.wait_for(5)
            master, replica = replicated.stores
            replica.stop_replicating()
            sender.wait_for(5)
            master.kill()
            sender.wait_for(5)
        assert replicated.master() is replica
        assert set(sender.answers) <= {200, 503}
        until(lambda: held(replicated) == sender.wanted, seconds=20, what="the lost members to be back")
        until(lambda: installation.check("member-7-19") == "in", what="the gateway to find the new master")


def test_a_host_that_goes_silent(replicated: Replicated, tmp_path: Path) -> None:
    """The master and the Sentinel beside it answer nobody, and refuse nobody. Later they are back, out of date."""
    with installed(tmp_path, replicated.settings) as installation:
        installation.wait_until_ready()
        with PersistentSender(installation.service.heap) as sender:
            sender.wait_for(5)
            master, replica = replicated.stores
            replica.stop_replicating()
            sender.wait_for(5)
            gone = (master, replicated.sentinels[0])
            for server in gone:
                server.send_signal(signal.SIGSTOP)
            until(lambda: installation.check("member-3-19") == "in", what="the gateway to find the new master")
            sender.wait_for(5)
            for server in gone:
                server.send_signal(signal.SIGCONT)
            sender.wait_for(5)
        assert set(sender.answers) <= {200, 503}
        assert replicated.master() is replica
        until(lambda: held(replicated) == sender.wanted, seconds=20, what="the lost members to be back")


def test_settings_that_name_no_master(replicated: Replicated) -> None:
    addresses = replicated.settings["REDIS_SENTINELS"]
    advice = "no Sentinel knows a working master of that name (REDIS_SENTINELS, REDIS_SENTINEL_MASTER)"
    assert ask(redis_sentinels=addresses, redis_sentinel_master="other") == advice
    nobody = f"127.0.0.1:{free_ports(1)[0]}"
    assert ask(redis_sentinels=nobody, redis_sentinel_master=MASTER) == advice
