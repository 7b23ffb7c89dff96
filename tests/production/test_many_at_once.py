"""Far more at once than there are connections to the store, in every set-up of it: all of it is answered."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest

from attribute_lists import keys
from foundation.settings import ServiceSettings
from foundation.store import connect
from tests.production.installation import ACCOUNT
from tests.support import http, processes
from tests.support.cluster import running_cluster
from tests.support.flood import check, comes_out, flood, heard, states
from tests.support.ports import free_ports
from tests.support.sentinel import replicated_store
from tests.support.servers import Server
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

GET_ALIAS = "/user-alias/getAliasUserId"
NUMBERS = itertools.count()
UNKNOWN = (200, b"false", "unknown_list")


class SetUp:
    """A store: the settings that name it, and a client of it."""

    def __init__(self, settings: dict[str, str], client: Callable[[], Any]) -> None:
        self.settings = settings
        self.client = client

    def put(self, list_id: str, *members: str) -> None:
        """A list, as cohort-sync writes it, told to nobody."""
        with self.client() as client:
            client.sadd(keys.REGISTRY_LISTS, keys.qualified(ACCOUNT, list_id))
            client.hset(keys.about(ACCOUNT, list_id), "active", "1")
            client.sadd(keys.members(ACCOUNT, list_id), *members)


@contextlib.contextmanager
def on_a_socket(_: Path) -> Iterator[SetUp]:
    with processes.running_store() as server:
        yield SetUp({"REDIS_URL": server.url}, server.client)


@contextlib.contextmanager
def on_a_port(directory: Path) -> Iterator[SetUp]:
    server = Server(directory / "server", free_ports(1)[0])
    server.start()
    try:
        yield SetUp({"REDIS_HOST": "127.0.0.1", "REDIS_PORT": str(server.port)}, server.client)
    finally:
        server.kill()


@contextlib.contextmanager
def under_sentinel(directory: Path) -> Iterator[SetUp]:
    with replicated_store(directory / "servers") as replicated:
        yield SetUp(replicated.settings, replicated.client)


@contextlib.contextmanager
def as_a_cluster(directory: Path) -> Iterator[SetUp]:
    with running_cluster(directory / "nodes") as cluster:
        yield SetUp(cluster.settings, cluster.client)


SET_UPS = {"socket": on_a_socket, "port": on_a_port, "sentinel": under_sentinel, "cluster": as_a_cluster}


@pytest.fixture(scope="module", params=SET_UPS)
def set_up(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SetUp]:
    with SET_UPS[request.param](tmp_path_factory.mktemp("store")) as running:
        yield running


async def test_commands_and_pipelines_wait_for_their_turn(set_up: SetUp) -> None:
    settings: dict[str, Any] = {name.lower(): value for name, value in set_up.settings.items()}
    store = connect(ServiceSettings(**settings), timeout=60.0, retries=0)

    async def at_once() -> list[bytes]:
        pipeline: Any = store.pipeline(transaction=False)
        for number in range(9):  # of several slots
            pipeline.execute_command("SET", f"key-{number}", number)
        await pipeline.execute()
        found: bytes = await store.execute_command("GET", "key-3")
        return [found]

    try:
        assert await asyncio.gather(*(at_once() for _ in range(500))) == [[b"3"]] * 500
    finally:
        await store.aclose()


def test_unknown_lists_and_aliases(set_up: SetUp, tmp_path: Path) -> None:
    set_up.put("heap_known", "alice")
    with processes.gateway(tmp_path, set_up.settings) as program:

        def checks() -> object:
            names = [f"nowhere_{next(NUMBERS)}" for _ in range(4000)]
            return states(flood(program.address, [check(name) for name in names], connections=500))

        def alias(name: str) -> str:
            return f"accountId={ACCOUNT}&userId={name}"

        def set_aliases() -> object:
            targets = [f"/user-alias/setUserAlias?{alias(f'user-{one}')}&aliasId=tmp-{one}" for one in range(400)]
            return {answer.body for answer in flood(program.address, targets, connections=400, method="POST")}

        def look_aliases_up() -> object:
            asked = [quote(json.dumps([f"tmp-{one}"])) for one in range(400)]
            answers = flood(program.address, [f"{GET_ALIAS}?{alias(one)}" for one in asked], connections=400)
            return {json.loads(answer.body)[0]["userId"] for answer in answers}

        comes_out(checks, {UNKNOWN: 4000})
        comes_out(set_aliases, {b'{"isAliasSet":true}'})
        comes_out(look_aliases_up, {f"user-{one}" for one in range(400)})

        def state_of(name: str) -> str:
            return heard(lambda: http.membership(program.address, "alice", name, account=ACCOUNT))

        for name in [f"list_{number}" for number in range(20)]:
            assert [state_of(name) for _ in range(2)] == ["unknown_list"] * 2
            set_up.put(name, "alice")
            assert state_of(name) == "in"
        assert state_of("heap_known") == "in"
        until(lambda: http.get(f"{program.address}/readyz").json() == {"status": "ok"}, what="the gateway to be well")
