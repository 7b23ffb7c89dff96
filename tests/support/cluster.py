"""A Redis Cluster of the tests' own: real servers on loopback, joined without any helper program, stopped by pid."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import redis

from tests.support.ports import free_ports
from tests.support.servers import START_SECONDS, Server, client_options
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.support.certificates import Certificates

_SLOTS = 16384
_NODE_TIMEOUT_MS = 1000  # silence after which the others count a node as failed


class Node(Server):
    """One server of a cluster. `bus`: the port that the nodes talk to each other on."""

    def __init__(self, directory: Path, port: int, bus: int, tls: Certificates | None) -> None:
        super().__init__(directory, port, tls)
        self.bus = bus

    def join_in(self) -> None:
        """Start it, again perhaps, on its files."""
        options = {
            "appendonly": "yes",
            "save": "",
            "repl-diskless-sync-delay": 0,
            "cluster-enabled": "yes",
            "cluster-port": self.bus,
            "cluster-node-timeout": _NODE_TIMEOUT_MS,
            # A replica stands for election however long its link to the primary was down: tests cut it on purpose.
            "cluster-replica-validity-factor": 0,
        }
        self.start(*(text for name, value in options.items() for text in (f"--{name}", str(value))))

    @property
    def id(self) -> str:
        with self.client() as client:
            return str(client.execute_command("CLUSTER MYID").decode())

    def says(self, field: str) -> str:
        """A field of `CLUSTER INFO`."""
        with self.client() as client:
            return str(client.execute_command("CLUSTER INFO")[field])


class Cluster:
    """Three primaries that share the slots; `replicas`: how many of them have a replica."""

    def __init__(self, directory: Path, *, replicas: int = 0, tls: Certificates | None = None) -> None:
        count = 3 + replicas
        ports = free_ports(2 * count)
        self.nodes = [
            Node(directory / str(port), port, bus, tls) for port, bus in zip(ports[:count], ports[count:], strict=True)
        ]
        self.primaries, self.replicas = self.nodes[:3], self.nodes[3:]
        self._tls = tls
        self.url = f"{'redis' if tls is None else 'rediss'}://127.0.0.1:{self.nodes[0].port}"

    @property
    def settings(self) -> dict[str, str]:
        named = {"REDIS_URL": self.url, "REDIS_CLUSTER": "true"}
        return named if self._tls is None else named | {"REDIS_TLS_CA_PATH": str(self._tls.authority)}

    def start(self) -> None:
        for node in self.nodes:
            node.join_in()
        share = -(-_SLOTS // 3)
        for index, node in enumerate(self.primaries):
            with node.client() as client:
                last = min((index + 1) * share, _SLOTS) - 1
                client.execute_command("CLUSTER", "ADDSLOTSRANGE", index * share, last)
                client.execute_command("CLUSTER", "SET-CONFIG-EPOCH", index + 1)
        with self.nodes[0].client() as first:
            for node in self.nodes[1:]:
                first.execute_command("CLUSTER", "MEET", "127.0.0.1", node.port, node.bus)
        until(self._all_met, seconds=START_SECONDS, what="the nodes to meet")
        for primary, replica in zip(self.primaries, self.replicas, strict=False):
            with replica.client() as client:
                client.execute_command("CLUSTER", "REPLICATE", primary.id)
        until(self._is_whole, seconds=START_SECONDS, what="the cluster to be whole")

    def _all_met(self) -> bool:
        return all(node.says("cluster_known_nodes") == str(len(self.nodes)) for node in self.nodes)

    def _is_whole(self) -> bool:
        return all(node.says("cluster_state") == "ok" for node in self.nodes) and all(
            replica.replicates() for replica in self.replicas
        )

    def client(self) -> redis.RedisCluster:
        alive = next(node for node in self.nodes if node.is_running)
        return redis.RedisCluster("127.0.0.1", alive.port, **client_options(self._tls))

    def clear(self) -> None:
        for node in self.primaries:
            with node.client() as client:
                client.flushall()

    def primary_of(self, key: str) -> Node:
        """The primary that has `key` now, after any failover."""
        with self.client() as client:
            port = client.get_node_from_key(key).port
        return next(node for node in self.nodes if node.port == port)

    def replica_of(self, primary: Node) -> Node:
        return self.replicas[self.primaries.index(primary)]

    def add_primary(self) -> Node:
        """A new node without slots; clients hear of it when a slot moves there."""
        port, bus = free_ports(2)
        node = Node(self.nodes[0].directory.with_name(str(port)), port, bus, self._tls)
        self.nodes.append(node)
        self.primaries.append(node)
        node.join_in()
        with self.nodes[0].client() as first:
            first.execute_command("CLUSTER", "MEET", "127.0.0.1", node.port, node.bus)
        until(self._all_met, seconds=START_SECONDS, what="the nodes to meet")
        until(lambda: node.says("cluster_state") == "ok", seconds=START_SECONDS, what="the new node to join in")
        return node

    def move_slot(self, key: str, target: Node, *, between: Callable[[], None]) -> None:
        """Take the slot of `key` to another primary as `redis-cli --cluster reshard` does, key by key."""
        source = self.primary_of(key)
        with source.client() as here, target.client() as there:
            slot = here.execute_command("CLUSTER", "KEYSLOT", key)
            there.execute_command("CLUSTER", "SETSLOT", slot, "IMPORTING", source.id)
            here.execute_command("CLUSTER", "SETSLOT", slot, "MIGRATING", target.id)
            while moving := here.execute_command("CLUSTER", "GETKEYSINSLOT", slot, 1):
                here.execute_command("MIGRATE", "127.0.0.1", target.port, "", 0, 5000, "KEYS", *moving)
                between()
            for node in (target, source):
                with node.client() as client:
                    client.execute_command("CLUSTER", "SETSLOT", slot, "NODE", target.id)

    def stop(self) -> None:
        for node in self.nodes:
            node.kill()


@contextlib.contextmanager
def running_cluster(directory: Path, *, replicas: int = 0, tls: Certificates | None = None) -> Iterator[Cluster]:
    cluster = Cluster(directory, replicas=replicas, tls=tls)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()
