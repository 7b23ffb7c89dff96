"""What the store loses comes back: from the journal, from a checkpoint, at start and while running."""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING

import pytest

from attribute_lists import keys
from cohort_sync.journal import list_files
from tests.cohort_sync.conftest import Service
from tests.cohort_sync.test_administration import run
from tests.support import http
from tests.support.heap import Heap
from tests.support.processes import cohort_sync, wait_until_recovered
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import redis

PATH = "/admin/api/v1/lists/123456/heap_premium_users"
MEMBERS = keys.members("123456", "heap_premium_users")


@contextlib.contextmanager
def started(directory: Path, settings: dict[str, str]) -> Iterator[Service]:
    with cohort_sync(directory, settings) as program:
        wait_until_recovered(program)
        yield Service(program, Heap(program.address), settings)


def test_an_emptied_store_is_built_again_at_start(tmp_path: Path, settings: dict[str, str], store: redis.Redis) -> None:
    with started(tmp_path, settings) as service:
        service.heap.sync(add=["a", "b"], task="t")
        service.heap.sync(remove=["b"])
        service.admin("PATCH", PATH, json={"aliases": ["vwo:1"], "mode": "snapshot", "active": False})
    store.flushall()
    with started(tmp_path, settings) as service:
        found = service.described("vwo:1")
        assert (found["list_id"], found["mode"], found["active"]) == ("heap_premium_users", "snapshot", False)
        assert store.smembers(MEMBERS) == {b"a"}
        assert [change["what"] for change in service.admin("GET", "/admin/api/v1/audit").json()["changes"]] == [
            "activate",
            "mode",
            "aliases",
        ]


def test_an_emptied_store_is_noticed_while_running(service: Service, store: redis.Redis) -> None:
    service.heap.sync(add=["a", "b"])
    store.flushall()
    service.program.wait_for_line("holds every change")
    assert store.smembers(MEMBERS) == {b"a", b"b"}
    assert service.described()["members"] == 2


@contextlib.contextmanager
def lost(store: redis.Redis) -> Iterator[None]:
    """What is written in the block is gone at its end."""
    before = {key: store.dump(key) for key in store.scan_iter(count=1000)}
    yield
    pipeline = store.pipeline()
    pipeline.flushdb()
    for key, value in before.items():
        pipeline.restore(key, 0, value or b"")
    pipeline.execute()


def test_lost_last_writes_are_applied_again(service: Service, store: redis.Redis) -> None:
    service.heap.sync(add=["a"])
    with lost(store):
        service.heap.sync(add=["b"])
    service.program.wait_for_line("applied again")
    assert store.smembers(MEMBERS) == {b"a", b"b"}


def test_a_task_that_was_lost_keeps_its_place_though_a_retry_of_it_comes_first(
    service: Service, store: redis.Redis
) -> None:
    service.heap.sync(add=["b"])
    with lost(store):
        service.heap.sync(add=["a"], task="one", age=3)
        service.heap.sync(remove=["a"], task="two", age=2)
    service.heap.sync(add=["a"], task="one", age=1)  # the same body, signed after task two
    service.program.wait_for_line("applied again")
    assert store.smembers(MEMBERS) == {b"b"}


def test_a_checkpoint_stands_for_the_journal_before_it(
    tmp_path: Path, settings: dict[str, str], store: redis.Redis
) -> None:
    with started(tmp_path, settings) as service:
        service.heap.sync(add=["a", "b"])
        assert service.admin("POST", "/admin/api/v1/checkpoint").status_code == 200
        service.heap.sync(remove=["a"])
        service.heap.sync(add=["c"])
        # As if it were older than JOURNAL_DAYS: the file that holds the first page goes.
    first, *_ = list_files(tmp_path / "data" / "journal")
    content = first.path.read_bytes()
    assert content
    store.flushall()
    with started(tmp_path, settings):
        assert store.smembers(MEMBERS) == {b"b", b"c"}


def test_a_list_beyond_reach_is_named(tmp_path: Path, settings: dict[str, str], store: redis.Redis) -> None:
    with started(tmp_path, settings) as service:
        service.heap.sync(add=["a"])
        service.heap.sync(add=["b"], segment_id=2, name="Others")
        # The next look takes note of the lists that are there.
        store.delete(keys.REGISTRY_IDENTITY)
        service.program.wait_for_line("built again")
    for file in list_files(tmp_path / "data" / "journal"):
        file.path.unlink()
    for archive in (tmp_path / "data" / "checkpoints").glob("*"):
        archive.unlink()
    store.flushall()
    with started(tmp_path, settings) as service:
        service.heap.sync(add=["c"], segment_id=2, name="Others")
        reasons = http.get(f"{service.admin_address}/readyz").json()["reasons"]
        assert any("123456:heap_premium_users" in reason for reason in reasons)
        assert "123456:heap_premium_users" in service.admin("GET", "/admin/api/v1/lists").json()["lost"]


def test_a_repeat_after_a_rebuild_is_still_a_repeat(
    tmp_path: Path, settings: dict[str, str], store: redis.Redis
) -> None:
    with started(tmp_path, settings) as service:
        service.heap.sync(add=["a"], task="t")
        service.heap.sync(remove=["a"])
    store.flushall()
    with started(tmp_path, settings) as service:
        assert service.heap.sync(add=["a"], task="t").status_code == 200
        assert store.smembers(MEMBERS) == set()


def test_two_receivers_each_bring_back_their_own(tmp_path: Path, settings: dict[str, str], store: redis.Redis) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    with started(tmp_path / "one", settings) as one, started(tmp_path / "two", settings) as two:
        one.heap.sync(add=["a"], task="t", page=1, pages=2)
        two.heap.sync(add=["b"], task="t", page=2, pages=2)
        store.flushall()
        for receiver in (one, two):
            receiver.program.wait_for_line("applied again|holds every change")
        until(lambda: store.smembers(MEMBERS) == {b"a", b"b"}, what="what both have taken")


def test_dangerous_settings_of_the_store_are_said_loudly(
    tmp_path: Path, settings: dict[str, str], store: redis.Redis
) -> None:
    store.config_set("maxmemory-policy", "allkeys-lru")
    try:
        with started(tmp_path, settings) as service:
            reasons = http.get(f"{service.admin_address}/readyz").json()["reasons"]
            assert any("noeviction" in reason for reason in reasons)
            service.program.wait_for_line("noeviction")
    finally:
        store.config_set("maxmemory-policy", "noeviction")


@pytest.mark.parametrize("command", ["status", "verify", "replay", "rebuild"])
def test_journal_commands(service: Service, tmp_path: Path, store: redis.Redis, command: str) -> None:
    service.heap.sync(add=["a"])
    service.heap.sync(add=["b"])
    store.delete(*store.keys("cg:{123456:*"))
    done = run(service, "journal", command, "--json", directory=tmp_path)
    assert done.returncode == 0, done.stderr
    shown = json.loads(done.stdout)
    if command in ("replay", "rebuild"):
        assert shown["read"] == 2
        assert store.smembers(MEMBERS) == {b"a", b"b"}
