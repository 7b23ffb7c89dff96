"""What goes wrong with the store, and what the gateway may and must say meanwhile."""

from __future__ import annotations

import os
import shutil
import signal
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
import redis

from attribute_lists import keys
from tests.faults.sites import MEMBERS, Names, Site, a_cluster, behind_a_proxy, by_name, one_server, over_tls, start
from tests.support.proxy import Proxy
from tests.support.servers import Server
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from pathlib import Path

    from tests.write_side.sides import WriteSide

_SLOW_SECONDS = 0.15  # more than a check waits
_AGAIN_SECONDS = 30.0


@dataclass(frozen=True)
class Fault:
    """`begin` breaks something, `end` mends it and returns when the store can answer everything again.

    `says`: what `/readyz` names meanwhile; empty: all is well. `shows`: by which answers one sees that the
    fault is there; empty: it need not be seen. `once_heard`: the gateway's news of the last
    change may still be on its way when the fault begins, unless one waits for them. `times`: in a long run, how much
    longer than others it lasts.
    """

    name: str
    site: Callable[[Path, WriteSide], AbstractContextManager[Site]]
    begin: Callable[[Site], None]
    end: Callable[[Site], None]
    says: frozenset[str] = frozenset({"store_down"})
    shows: frozenset[str] = frozenset({"stale_in"})
    once_heard: bool = False
    times: int = 1


def _kill(site: Site) -> None:
    site.one_server.kill()


def _start(site: Site) -> None:
    start(site.one_server)


def _restart(site: Site) -> None:
    _kill(site)
    _start(site)


def _nothing(_: Site) -> None:
    pass


def _stop(site: Site) -> None:
    site.one_server.send_signal(signal.SIGSTOP)


def _continue(site: Site) -> None:
    site.one_server.send_signal(signal.SIGCONT)


def _slow_down(site: Site) -> None:
    site.other(Proxy).delay = _SLOW_SECONDS


def _speed_up(site: Site) -> None:
    site.other(Proxy).delay = 0.0


def _flush(site: Site) -> None:
    """Empty it, while nobody builds it again."""
    os.kill(site.cohort_sync.pid, signal.SIGSTOP)
    with site.one_server.client() as client:
        client.flushall()


def _lose_files(site: Site) -> None:
    os.kill(site.cohort_sync.pid, signal.SIGSTOP)
    _kill(site)
    shutil.rmtree(site.one_server.directory / "appendonlydir")
    _start(site)


def _rebuild(site: Site) -> None:
    os.kill(site.cohort_sync.pid, signal.SIGCONT)

    def has_a_name() -> bool:
        with site.one_server.client() as client:
            return client.get(keys.REGISTRY_IDENTITY) is not None

    until(has_a_name, seconds=_AGAIN_SECONDS, what="the store to be built again")


def _fill_up(site: Site) -> None:
    with site.one_server.client() as client:
        client.config_set("maxmemory-policy", "noeviction")
        client.config_set("maxmemory", 1)
        with pytest.raises(redis.OutOfMemoryError):
            client.set("x", "y")


def _make_room(site: Site) -> None:
    with site.one_server.client() as client:
        client.config_set("maxmemory", 0)


def _kill_primary(site: Site) -> None:
    """The one that has the list, once its replica has heard of everything."""
    assert site.cluster is not None
    primary = site.cluster.primary_of(MEMBERS)
    replica = site.cluster.replica_of(primary)

    def is_in_step() -> bool:
        with primary.client() as theirs, replica.client() as its:
            offset = its.info("replication")["slave_repl_offset"]
            return bool(offset == theirs.info("replication")["master_repl_offset"])

    until(is_in_step, what="the replica to be in step")
    site.others.append(replica)
    primary.kill()


def _wait_for_failover(site: Site) -> None:
    replica = site.other(Server)

    def serves() -> bool:
        with replica.client() as client:
            is_primary = str(client.info("replication")["role"]) == "master"
        return is_primary and bool(replica.says("cluster_state") == "ok")

    until(serves, seconds=_AGAIN_SECONDS, what="the replica to take over")


def _take_its_place(site: Site) -> None:
    _kill(site)
    start(site.other(Server))


def _give_back_its_place(site: Site) -> None:
    site.other(Server).kill()
    _start(site)


def lose_names(site: Site) -> None:
    """A name that can't be resolved any more is noticed when it is needed, for a new connection."""
    site.other(Names).go_away()
    cut_off(site)


def cut_off(site: Site) -> None:
    """End all connections to the store."""
    with site.one_server.client() as client:
        for kind in ("normal", "pubsub"):
            client.execute_command("CLIENT", "KILL", "TYPE", kind, "SKIPME", "yes")


def _find_names(site: Site) -> None:
    site.other(Names).answer()


_EMPTY = frozenset({"store_emptied"})

FAULTS = [
    Fault("killed", one_server, _kill, _start),
    Fault("restarted", one_server, _restart, _nothing, says=frozenset(), shows=frozenset()),
    Fault("paused", one_server, _stop, _continue, times=3),
    Fault("slow", behind_a_proxy, _slow_down, _speed_up, once_heard=True),
    Fault("flushed", one_server, _flush, _rebuild, says=_EMPTY),
    Fault("files lost", one_server, _lose_files, _rebuild, says=_EMPTY),
    Fault("full", one_server, _fill_up, _make_room, says=frozenset(), shows=frozenset()),
    Fault("failover", a_cluster, _kill_primary, _wait_for_failover),
    Fault("wrong certificate", over_tls, _take_its_place, _give_back_its_place),
    Fault("no DNS", by_name, lose_names, _find_names),
]
