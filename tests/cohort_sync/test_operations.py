"""What operators do: modes, activation, drains, deletion, erasure, and who did it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from attribute_lists import keys
from attribute_lists.bodies import unpack
from cohort_sync.journal import read
from cohort_sync.records import PageRecord, unpack_record
from tests.cohort_sync.conftest import Service
from tests.support import http
from tests.support.heap import SEGMENT_ID, Heap
from tests.support.processes import cohort_sync

if TYPE_CHECKING:
    from pathlib import Path

    import redis

PATH = "/admin/api/v1/lists/123456/heap_premium_users"
MEMBERS = keys.members("123456", "heap_premium_users")


def all_keys(store: redis.Redis) -> list[bytes]:
    return list(store.scan_iter(count=1000))


def change(service: Service, **what: Any) -> dict[str, Any]:
    answer = service.admin("PATCH", PATH, json=what)
    assert answer.status_code == 200, answer.text
    changed: dict[str, Any] = answer.json()
    return changed


class TestSnapshots:
    @pytest.fixture(autouse=True)
    def _snapshot_list(self, service: Service) -> None:
        service.heap.sync(add=["a", "b", "c", "d"])
        assert change(service, mode="snapshot")["mode"] == "snapshot"

    def test_a_task_replaces_the_list_when_its_last_page_is_here(self, service: Service, store: redis.Redis) -> None:
        service.heap.sync(add=["c", "d"], task="s", page=2, pages=2)
        assert store.smembers(MEMBERS) == {b"a", b"b", b"c", b"d"}
        assert service.described()["status"] == "syncing 1/2"
        service.heap.sync(add=["e"], task="s", page=1, pages=2)
        assert store.smembers(MEMBERS) == {b"c", b"d", b"e"}
        assert service.described()["status"] == "synced"

    def test_one_that_shrinks_the_list_too_much_waits_for_the_operator(
        self, service: Service, store: redis.Redis
    ) -> None:
        service.heap.sync(add=["z"])
        assert store.scard(MEMBERS) == 4
        assert service.described()["held"] == "4 1"
        assert service.admin("POST", f"{PATH}/accept").status_code == 200
        assert store.smembers(MEMBERS) == {b"z"}
        assert service.described()["held"] is None
        assert service.admin("POST", f"{PATH}/accept").json()["reason"] == "nothing_held"

    def test_a_newer_task_supersedes_an_unfinished_one(self, service: Service, store: redis.Redis) -> None:
        service.heap.sync(add=["x"], task="old", page=1, pages=2)
        service.heap.sync(add=["p", "q", "r"], task="new")
        service.heap.sync(add=["y"], task="old", page=2, pages=2)
        assert store.smembers(MEMBERS) == {b"p", b"q", b"r"}

    def test_switching_the_mode_leaves_a_task_under_way_as_it_began(self, service: Service, store: redis.Redis) -> None:
        service.heap.sync(add=["p", "q"], task="s", page=1, pages=2)
        change(service, mode="delta")
        service.heap.sync(add=["r"], task="s", page=2, pages=2)
        service.heap.sync(add=["t"])
        assert store.smembers(MEMBERS) == {b"p", b"q", b"r", b"t"}


def test_an_operators_drain_voids_what_came_before(service: Service, store: redis.Redis) -> None:
    service.heap.sync(add=["a", "b"], task="t", page=1, pages=2)
    assert service.admin("POST", f"{PATH}/drain").json() == {"drained": "heap_premium_users", "removed": 2}
    assert service.described()["status"] == "drained"
    service.heap.sync(add=["late"], task="t", page=2, pages=2)
    assert store.smembers(MEMBERS) == set()
    service.heap.sync(add=["new"], age=-1)
    assert store.smembers(MEMBERS) == {b"new"}


def test_a_deleted_list_is_gone_until_its_segment_is_pushed_again(service: Service, store: redis.Redis) -> None:
    service.heap.sync(add=["a"])
    change(service, aliases=["vwo:1"])
    assert service.admin("DELETE", PATH).json() == {"deleted": "heap_premium_users", "flags": []}
    assert service.lists() == []
    assert service.admin("GET", "/admin/api/v1/lists/123456/vwo:1").status_code == 404
    service.heap.sync(add=["b"], age=-1)
    assert store.smembers(MEMBERS) == {b"b"}


def test_a_list_that_waits_for_activation_keeps_its_pages(
    tmp_path: Path, settings: dict[str, str], store: redis.Redis
) -> None:
    with cohort_sync(tmp_path, settings | {"AUTO_ACTIVATE": "false"}) as program:
        service = Service(program, Heap(program.address), settings)
        service.heap.sync(add=["a"])
        assert service.described()["status"] == "waiting"
        assert store.hget(keys.about("123456", "heap_premium_users"), "active") == b"0"
        assert change(service, active=True)["status"] == "synced"
        assert store.smembers(MEMBERS) == {b"a"}


class TestErasure:
    def test_a_person_leaves_every_list_and_stays_out(self, service: Service, store: redis.Redis) -> None:
        service.heap.sync(add=["alice", "bob"], task="t", page=1, pages=2)
        service.heap.sync(add=["alice"], segment_id=2, name="Others")
        receipt = service.admin("POST", "/admin/api/v1/erase", json={"id": "alice"}).json()
        assert (receipt["lists"], receipt["journal_records"], receipt["outstanding"]) == (2, 2, [])
        assert store.smembers(MEMBERS) == {b"bob"}
        service.heap.sync(add=["alice", "carol"], task="t", page=2, pages=2)
        assert store.smembers(MEMBERS) == {b"bob", b"carol"}
        service.heap.sync(add=["alice"], segment_id=3, name="Third", age=60)
        assert store.smembers(keys.members("123456", "heap_third")) == set()

    def test_heap_may_bring_them_back_later(self, service: Service, store: redis.Redis) -> None:
        service.heap.sync(add=["alice"])
        service.admin("POST", "/admin/api/v1/erase", json={"id": "alice"})
        service.heap.sync(add=["alice"], age=-1)
        assert store.smembers(MEMBERS) == {b"alice"}

    def test_nothing_of_them_is_left_in_files_logs_or_bookkeeping(
        self, service: Service, store: redis.Redis, tmp_path: Path
    ) -> None:
        secret = "a-person-who-wants-to-be-forgotten"
        service.heap.sync(add=[secret, "bob"])
        service.admin("POST", "/admin/api/v1/checkpoint")
        service.admin("POST", "/admin/api/v1/erase", json={"id": secret})
        service.program.stop()
        assert secret not in service.program.log()
        for key in all_keys(store):
            assert secret.encode() not in (store.dump(key) or b"")
        for entry in read(tmp_path / "data" / "journal"):
            record = unpack_record(entry.payload)
            if isinstance(record, PageRecord):
                assert unpack(record.packed).add == [b"bob"]


def test_the_audit_stream_says_who_did_what(service: Service) -> None:
    service.heap.sync(add=["a"])
    headers = {"X-Operator": "dana", "Authorization": "Bearer admin-token-of-the-tests"}
    http.request("PATCH", service.admin_address + PATH, headers=headers, json={"mode": "snapshot"})
    service.admin("POST", "/admin/api/v1/erase", json={"id": "a"})
    erasure, mode = service.admin("GET", "/admin/api/v1/audit").json()["changes"]
    assert (mode["who"], mode["what"], mode["mode"], mode["list"]) == ("dana", "mode", "snapshot", "heap_premium_users")
    assert (erasure["who"], erasure["what"]) == ("api", "erase")
    assert "tag" not in erasure


def test_members_are_listed_by_cursor_and_checked(service: Service) -> None:
    service.heap.sync(add=[f"user{number}" for number in range(1200)])
    found: set[str] = set()
    cursor = 0
    while True:
        page = service.admin("GET", f"{PATH}/members?cursor={cursor}").json()
        found |= set(page["members"])
        cursor = page["cursor"]
        if cursor == 0:
            break
    assert found == {f"user{number}" for number in range(1200)}
    question = {"id": "user7", "list": str(SEGMENT_ID)}
    assert service.admin("POST", "/admin/api/v1/check", json=question).json() == {"member": True}
    assert service.admin("POST", "/admin/api/v1/check", json=question | {"id": "x"}).json() == {"member": False}


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("PATCH", PATH, {"mode": "upside-down"}),
        ("PATCH", PATH, {"active": "perhaps"}),
        ("POST", "/admin/api/v1/erase", {"id": ""}),
        ("POST", "/admin/api/v1/erase", {}),
        ("GET", f"{PATH}/members?cursor=-1", None),
    ],
)
def test_bad_calls_name_the_field(service: Service, method: str, path: str, body: dict[str, Any] | None) -> None:
    service.heap.sync(add=["a"])
    answer = service.admin(method, path, json=body)
    assert answer.status_code == 400
    assert json.loads(answer.text)["reason"] == "bad_request"
