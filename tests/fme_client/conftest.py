"""Clients, and a server that they take for the gateway."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import pytest

from fme_client import Client, init
from tests.fme_client.sample import ACCOUNT, DETAILS, LIST, SDK_KEY, sample_settings
from tests.support.recording_server import RecordingServer, recording_server

if TYPE_CHECKING:
    from collections.abc import Iterator

_DEADLINE = 20_000  # milliseconds; what is no test of deadlines waits for a busy machine


class Connect(Protocol):
    def __call__(self, address: str | None = None, /, **options: Any) -> Client: ...


@pytest.fixture
def server() -> Iterator[RecordingServer]:
    with recording_server(sample_settings()) as served:
        served.members = {LIST: {"alice", "carol"}, "beta": {"alice"}}
        served.details = DETAILS
        yield served


@pytest.fixture
def said() -> list[str]:
    """What the clients of `connect` logged: `error: message`."""
    return []


@pytest.fixture
def connect(server: RecordingServer, said: list[str]) -> Iterator[Connect]:
    """Clients of `server`, or of another address, destroyed at the end. Retries of theirs come fast enough."""
    made: list[Client] = []

    def _connect(address: str | None = None, /, **options: Any) -> Client:
        log = {"level": "TRACE", "log": lambda level, message: said.append(f"{level}: {message}")}
        ours = {
            "account_id": ACCOUNT,
            "sdk_key": SDK_KEY,
            "gateway_service": address or server.address,
            "logger": {"transport": log},
            "deadline": _DEADLINE,
        }
        made.append(init(ours | options))
        return made[-1]

    yield _connect
    for client in made:
        client.destroy(timeout=1)


@pytest.fixture
def client(connect: Connect) -> Client:
    return connect()
