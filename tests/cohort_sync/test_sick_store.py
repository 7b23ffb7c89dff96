"""Whatever ails the store: pushes get 503 and Retry-After, Heap's retry makes them whole, and nobody restarts us."""

from __future__ import annotations

import contextlib
import threading
import time
from typing import TYPE_CHECKING

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from attribute_lists import keys
from local_stack.sample_push import build_push
from tests.support import http
from tests.support.heap import SEGMENT_ID
from tests.support.processes import StoreServer, running_store
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.cohort_sync.conftest import Service

MEMBERS = keys.members("123456", "heap_premium_users")
COUNT = 2750  # members: a page that takes several slices

Ailment = contextlib.AbstractContextManager[None]


@pytest.fixture
def server() -> Iterator[StoreServer]:
    """A store to make sick: it is nobody else's."""
    with running_store("--enable-debug-command", "yes") as server:
        yield server


@pytest.fixture
def settings(settings: dict[str, str], server: StoreServer) -> dict[str, str]:
    return settings | {"REDIS_URL": server.url}


def page() -> bytes:
    members = [f"user{number}" for number in range(COUNT)]
    return build_push(segment_id=SEGMENT_ID, segment_name="Premium Users", task="t", add=members, remove=["gone"])


@contextlib.contextmanager
def configured(server: StoreServer, name: str, value: str) -> Iterator[None]:
    with server.client() as client:
        before = client.config_get(name)[name]
        client.config_set(name, value)
        yield
        client.config_set(name, before)


def frozen(server: StoreServer) -> Ailment:
    return server.held_still()


def out_of_memory(server: StoreServer) -> Ailment:
    return configured(server, "maxmemory", "1")


def too_few_replicas(server: StoreServer) -> Ailment:
    return configured(server, "min-replicas-to-write", "1")


@contextlib.contextmanager
def read_only_replica(server: StoreServer) -> Iterator[None]:
    with server.client() as client:
        client.execute_command("REPLICAOF", "127.0.0.1", "1")  # of a master that is not there
        yield
        client.execute_command("REPLICAOF", "NO", "ONE")


@contextlib.contextmanager
def stale_replica(server: StoreServer) -> Iterator[None]:
    """It refuses even to read (MASTERDOWN)."""
    with configured(server, "replica-serve-stale-data", "no"), read_only_replica(server):
        yield


@contextlib.contextmanager
def failing_disk(server: StoreServer) -> Iterator[None]:
    """Snapshots fail, upon which the store refuses to write (MISCONF)."""
    obstacle = server.directory / "dump.rdb"
    obstacle.mkdir()
    with server.client() as client:
        client.config_set("save", "3600 1")
        client.set("a change", "to save")
        client.bgsave()
        until(lambda: client.info("persistence")["rdb_last_bgsave_status"] == "err", what="the snapshot to fail")
        yield
        obstacle.rmdir()
        client.bgsave()
        until(lambda: client.info("persistence")["rdb_last_bgsave_status"] == "ok", what="the snapshot to be good")


@contextlib.contextmanager
def busy_script(server: StoreServer) -> Iterator[None]:
    def client() -> redis.Redis:  # the server's own one would try again and again
        return redis.Redis.from_url(server.url, retry=Retry(NoBackoff(), 0))

    def run() -> None:
        with client() as runner, contextlib.suppress(redis.ResponseError):
            runner.eval("while true do end", 0)

    def is_busy() -> bool:
        with client() as other:
            try:
                other.ping()
            except redis.ResponseError:
                return True
            return False

    with client() as killer:
        killer.config_set("busy-reply-threshold", "10")
        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        until(is_busy, what="the script to run")
        yield
        killer.script_kill()
        thread.join()


@contextlib.contextmanager
def loading(server: StoreServer) -> Iterator[None]:
    """It starts again, and takes seconds over its data."""
    with server.client() as client:
        for number in range(300):
            client.set(f"filler:{number}", "x" * 2000)
        client.bgrewriteaof()
        until(lambda: not client.info("persistence")["aof_rewrite_in_progress"], what="the rewrite")
    server.kill()
    slow = StoreServer(server.directory, "--key-load-delay", "10000", "--loading-process-events-interval-bytes", "1024")
    thread = threading.Thread(target=slow.start, daemon=True)
    thread.start()
    until((server.directory / "s").exists, what="the socket")
    try:
        yield
        thread.join()
    finally:
        server._process = slow._process


@pytest.mark.parametrize(
    "ailment",
    [
        *(out_of_memory, read_only_replica, stale_replica, failing_disk, too_few_replicas, busy_script),
        *(loading, frozen),
    ],
)
def test_a_push_waits_until_the_store_is_well(
    service: Service, server: StoreServer, ailment: Callable[[StoreServer], Ailment]
) -> None:
    with ailment(server):
        started = time.monotonic()
        refused = service.heap.send(page())
        took = time.monotonic() - started
        assert http.get(f"{service.program.address}/healthz").status_code == 200
    assert (refused.status_code, refused.json()["reason"]) == (503, "store_away")
    assert int(refused.headers["retry-after"]) > 0
    assert took < 20
    assert service.heap.send(page()).status_code == 200
    with server.client() as client:
        assert client.scard(MEMBERS) == COUNT
    assert service.described()["members"] == COUNT


def test_an_answer_comes_in_time_and_the_work_goes_on(
    service: Service, server: StoreServer, settings: dict[str, str]
) -> None:
    assert settings["WEBHOOK_ANSWER_SECONDS"] == "0.3"
    assert service.heap.sync(add=["first"]).status_code == 200
    with server.client() as client:
        client.execute_command("CLIENT", "PAUSE", "1500", "WRITE")
        refused = service.heap.send(page())
        assert (refused.status_code, refused.json()["reason"]) == (503, "slow")
        assert int(refused.headers["retry-after"]) > 0
        until(lambda: client.scard(MEMBERS) == COUNT + 1, what="the page to be applied")
    until(lambda: service.heap.send(page()).status_code == 200, what="the retry")
    assert "is applied now" in service.program.log()


@pytest.fixture(autouse=True)
def _short_patience(request: pytest.FixtureRequest, settings: dict[str, str]) -> None:
    if request.function is test_an_answer_comes_in_time_and_the_work_goes_on:
        settings["WEBHOOK_ANSWER_SECONDS"] = "0.3"
