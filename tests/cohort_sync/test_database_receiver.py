"""The receiver with WRITE_SIDE=database, beside what tests/write_side asks of it."""

from __future__ import annotations

import json
import os
import signal
from typing import TYPE_CHECKING, Any

import pytest

from attribute_lists import keys
from published.connections import BY_ID_TOKEN
from tests.cohort_sync.conftest import TOKEN, Service
from tests.support.heap import SECRET, Heap
from tests.support.processes import cohort_sync, run_program, start_program
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import redis

    from tests.support.processes import StoreServer

LIST = "heap_premium_users"


@pytest.fixture
def settings(store_url: str) -> dict[str, str]:
    return {"REDIS_URL": store_url, "HEAP_WEBHOOK_SECRET": SECRET, "ADMIN_TOKEN": TOKEN, "WRITE_SIDE": "database"}


@pytest.fixture
def service(tmp_path: Path, settings: dict[str, str]) -> Iterator[Service]:
    with cohort_sync(tmp_path, settings) as program:
        yield Service(program, Heap(program.address), settings)


def environment_of(tmp_path: Path, settings: dict[str, str]) -> dict[str, str]:
    return settings | {"DATA_DIR": str(tmp_path / "data"), "ACCOUNT_ID": "123456"}


def test_a_second_receiver_on_the_same_files_waits_and_says_who_has_them(
    service: Service, tmp_path: Path, settings: dict[str, str]
) -> None:
    assert service.heap.sync(["alice"]).status_code == 200
    ports = {"COHORT_SYNC_PORT": "0", "COHORT_SYNC_ADMIN_PORT": "0"}
    second = start_program(["cohort_sync", "serve"], environment_of(tmp_path, settings) | ports, directory=tmp_path)
    try:
        second.wait_for_line(f"is used by process {service.program.pid}")
        assert service.heap.sync(["bob"]).status_code == 200
        assert service.program.stop() == 0
        second.wait_for_line("listening on")
    finally:
        second.stop()


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"HEAP_TIMESTAMP_TOLERANCE": "172801"}, "HEAP_TIMESTAMP_TOLERANCE"),
        ({"ACCOUNT_ID": "12/34"}, "ACCOUNT_ID"),
        ({"WRITE_SIDE": "files"}, "WRITE_SIDE"),
    ],
)
def test_what_can_t_be_kept_right_is_refused_at_start(
    tmp_path: Path, settings: dict[str, str], given: dict[str, str], told: str
) -> None:
    done = run_program(["cohort_sync", "serve"], environment_of(tmp_path, settings) | given, directory=tmp_path)
    assert done.returncode == 2
    assert told in done.stderr


def test_lists_are_shown_whether_a_receiver_runs_or_not(tmp_path: Path, settings: dict[str, str]) -> None:
    def shown() -> list[tuple[str, int, str]]:
        command = ["cohort_sync", "segments", "list", "--json"]
        done = run_program(command, environment_of(tmp_path, settings), directory=tmp_path)
        return [(found["list_id"], found["members"], found["status"]) for found in json.loads(done.stdout)]

    with cohort_sync(tmp_path, settings) as program:
        assert Heap(program.address).sync(["alice", "bob"]).status_code == 200
        assert shown() == [(LIST, 2, "synced")]
    assert shown() == [(LIST, 2, "synced")]


@pytest.mark.parametrize("command", ["export", "import"])
def test_commands_of_the_other_write_side_say_so(tmp_path: Path, settings: dict[str, str], command: str) -> None:
    (tmp_path / "lists.archive").touch()
    done = run_program(
        ["cohort_sync", command, "lists.archive"], environment_of(tmp_path, settings), directory=tmp_path
    )
    assert done.returncode == 2
    assert "WRITE_SIDE" in done.stderr


def test_an_erased_person_leaves_the_files_as_well(service: Service, tmp_path: Path, store: redis.Redis) -> None:
    person = "the-person-to-be-erased@example.com"
    assert service.heap.sync([person, "bob"]).status_code == 200
    receipt = service.admin("POST", "/admin/api/v1/erase", json={"id": person}).json()
    assert (receipt["lists"], receipt["outstanding"]) == (1, [])
    until(lambda: store.smembers(f"cg:{{123456:{LIST}}}:members") == {b"bob"}, what="the set without them")
    assert service.heap.sync([person], age=3600).status_code == 200  # signed before the erasure
    held = [path for path in (tmp_path / "data").iterdir() if path.name.startswith("cohort_sync.db")]
    assert held
    until(lambda: not any(person.encode() in path.read_bytes() for path in held if path.exists()), what="the files")
    assert store.smembers(f"cg:{{123456:{LIST}}}:members") == {b"bob"}


def test_what_a_killed_receiver_acknowledged_is_there_when_it_starts_again(
    tmp_path: Path, settings: dict[str, str], store_server: StoreServer, store: redis.Redis
) -> None:
    del store_server
    with cohort_sync(tmp_path, settings) as program:
        for number in range(20):
            assert Heap(program.address).sync([f"user-{number}"]).status_code == 200
        os.kill(program.pid, 9)
        program.wait()
    store.flushall()
    with cohort_sync(tmp_path, settings):
        until(lambda: store.scard(f"cg:{{123456:{LIST}}}:members") == 20, what="the list to be built again")


def test_what_another_installation_has_in_the_store_is_left_alone(
    tmp_path: Path, settings: dict[str, str], store: redis.Redis
) -> None:
    with cohort_sync(tmp_path, settings) as program:
        assert Heap(program.address).sync(["alice"]).status_code == 200
    store.hset(BY_ID_TOKEN, "tag", "654321")
    (tmp_path / "others").mkdir()
    with cohort_sync(tmp_path / "others", settings) as program:
        service = Service(program, Heap(program.address), settings)
        until(lambda: "store_ahead" in service.admin("GET", "/readyz").text, what="the store to be known as another's")
        # What the upkeep, which begins with the receiver, asks the store is answered before this.
        assert service.admin("POST", "/admin/api/v1/erase", json={"id": "nobody"}).status_code == 200
    assert store.hgetall(BY_ID_TOKEN) == {b"tag": b"654321"}


def test_a_new_list_is_found_by_its_alias_once_its_first_page_is_answered(service: Service, store: redis.Redis) -> None:
    for number in range(200):
        answer = service.heap.sync(["alice"], segment_id=1000 + number, name=f"New {number}")
        aliases = store.hgetall(keys.REGISTRY_ALIASES)
        assert answer.headers.get("X-Projection") is None
        assert f"123456:{1000 + number}".encode() in aliases


def test_readiness_and_lists_are_told_while_the_store_hangs(service: Service, store: redis.Redis) -> None:
    assert service.heap.sync(["alice"]).status_code == 200
    information: Any = store.info("server")
    os.kill(information["process_id"], signal.SIGSTOP)
    try:
        assert service.heap.sync(["bob"]).headers["X-Projection"] == "behind"
        until(lambda: "behind" in service.admin("GET", "/readyz").text, what="readiness to say it")
        assert LIST in service.admin("GET", "/admin/api/v1/lists").text
    finally:
        os.kill(information["process_id"], signal.SIGCONT)
