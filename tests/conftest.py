"""One store for the whole run, emptied for each test that uses it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.processes import running_store

if TYPE_CHECKING:
    from collections.abc import Iterator

    import redis

    from tests.support.processes import StoreServer


@pytest.fixture(scope="session")
def store_server() -> Iterator[StoreServer]:
    with running_store() as server:
        yield server


@pytest.fixture
def store_url(store_server: StoreServer) -> str:
    with store_server.client() as client:
        client.flushall()
    return store_server.url


@pytest.fixture
def store(store_url: str, store_server: StoreServer) -> Iterator[redis.Redis]:
    del store_url  # emptied the store
    with store_server.client() as client:
        yield client
