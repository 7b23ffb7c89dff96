"""A running gateway, lists put into its store by hand, and requests whose every byte is ours."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

import pytest

from attribute_lists import keys
from tests.support import processes
from tests.support.fake_vwo import FakeVwo, fake_vwo

if TYPE_CHECKING:
    from collections.abc import Iterator

    import redis

    from tests.support.processes import Program, StoreServer

ACCOUNT = "123456"


class Lists:
    """Writes lists as cohort-sync would."""

    def __init__(self, store: redis.Redis) -> None:
        self.store = store

    def put(self, list_id: str, *members: str, account: str = ACCOUNT, active: bool = True) -> None:
        self.store.sadd(keys.REGISTRY_LISTS, keys.qualified(account, list_id))
        self.store.hset(keys.about(account, list_id), "active", "1" if active else "0")
        if members:
            self.store.sadd(keys.members(account, list_id), *members)

    def alias(self, alias: str, list_id: str, account: str = ACCOUNT) -> None:
        self.store.hset(keys.REGISTRY_ALIASES, keys.qualified(account, alias), list_id)
        self.store.publish(keys.CHANGES, "lists")


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def state(self) -> str:
        return self.headers["x-membership"]


class Wire:
    """Sends requests as they are given, byte for byte."""

    def __init__(self, address: str) -> None:
        parts = urlsplit(address)
        self._address = (str(parts.hostname), int(parts.port or 0))

    def send(self, request: bytes) -> Answer:
        """The answer to one request; the server is expected to close the connection after it."""
        with socket.create_connection(self._address, timeout=30) as connection:
            connection.sendall(request)
            answer = b"".join(iter(lambda: connection.recv(65536), b""))
        head, _, body = answer.partition(b"\r\n\r\n")
        status, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        return Answer(int(status.split()[1]), headers, body)

    def get(self, target: str | bytes, *, method: str = "GET") -> Answer:
        raw = target if isinstance(target, bytes) else target.encode()
        return self.send(method.encode() + b" " + raw + b" HTTP/1.1\r\nHost: gateway\r\nConnection: close\r\n\r\n")

    def check(self, query: str | bytes) -> Answer:
        raw = query if isinstance(query, bytes) else query.encode()
        return self.get(b"/check-attribute?" + raw)


@pytest.fixture(scope="module")
def emptied_store(store_server: StoreServer) -> StoreServer:
    """What tests before left there is gone, so no gateway of the file remembers it."""
    with store_server.client() as client:
        client.flushall()
    return store_server


@pytest.fixture(scope="module")
def gateway(emptied_store: StoreServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    """A gateway that serves the sample settings; it lives as long as the tests of a file."""
    directory = tmp_path_factory.mktemp("gateway")
    with processes.gateway(directory, {"REDIS_URL": emptied_store.url}) as program:
        yield program


@pytest.fixture
def lists(store: redis.Redis) -> Lists:
    return Lists(store)


@pytest.fixture
def wire(gateway: Program) -> Wire:
    return Wire(gateway.address)


@pytest.fixture(scope="module")
def vwo_server() -> Iterator[FakeVwo]:
    with fake_vwo() as served:
        yield served


@pytest.fixture
def vwo(vwo_server: FakeVwo) -> FakeVwo:
    vwo_server.fault = None
    vwo_server.requests.clear()
    vwo_server.taken.clear()
    return vwo_server
