"""The webhook over real HTTP, with a real store behind it."""

from __future__ import annotations

import json
import socket
import time
from typing import TYPE_CHECKING

import pytest

from attribute_lists import keys
from cohort_sync.signature import sign
from local_stack.sample_push import build_push
from tests.support import http
from tests.support.heap import SECRET, SEGMENT_ID, Heap

if TYPE_CHECKING:
    import redis

    from tests.cohort_sync.conftest import Service
    from tests.support.processes import StoreServer

MEMBERS = keys.members("123456", "heap_premium_users")


def body_of(add: list[str]) -> bytes:
    return build_push(segment_id=SEGMENT_ID, segment_name="Premium Users", task="t", add=add, remove=[])


@pytest.mark.parametrize("age", [90_000, -3600], ids=["too old", "ahead"])
def test_a_push_refused_for_its_time_says_that_a_clock_may_be_wrong(service: Service, age: float) -> None:
    """Ours, most likely: Heap's next pushes would be lost, too."""

    def clock() -> list[str]:
        reasons = http.get(f"{service.admin_address}/readyz").json().get("reasons", [])
        return [reason for reason in reasons if reason.startswith("clock:")]

    assert service.heap.send(b"{}", header="ts:1,hmac:AAAA").status_code == 403
    assert clock() == []  # anybody can send a wrong signature
    assert service.heap.sync(["alice"], age=age).status_code == 403
    assert len(clock()) == 1
    assert service.heap.sync(["alice"]).status_code == 200
    assert clock() == []


def test_a_push_becomes_a_list(service: Service, store: redis.Redis) -> None:
    assert service.heap.sync(add=["alice", "bob", "José"]).status_code == 200
    assert store.smembers(MEMBERS) == {b"alice", b"bob", "José".encode()}
    assert service.heap.sync(remove=["bob"]).status_code == 200
    assert store.smembers(MEMBERS) == {b"alice", "José".encode()}


def test_the_list_is_described(service: Service) -> None:
    before = int(time.time() * 1000)
    service.heap.sync(add=["a", "b", "c"], remove=["x"], task="task-one", page=1, pages=2)
    described = service.described()
    assert {name: described[name] for name in ("account", "list_id", "source", "segment_id", "segment_name")} == {
        "account": "123456",
        "list_id": "heap_premium_users",
        "source": "heap",
        "segment_id": str(SEGMENT_ID),
        "segment_name": "Premium Users",
    }
    assert (described["mode"], described["active"], described["members"]) == ("delta", True, 3)
    assert (described["status"], described["task"]) == ("syncing 1/2", "task-one")
    assert (described["added"], described["removed"], described["skipped"]) == (3, 0, 0)
    assert before <= described["last_page"] <= int(time.time() * 1000)
    service.heap.sync(add=["d"], task="task-one", page=2, pages=2)
    assert service.described()["status"] == "synced"


def test_remove_wins_within_a_page(service: Service, store: redis.Redis) -> None:
    service.heap.sync(add=["both", "only_added"], remove=["both"])
    assert store.smembers(MEMBERS) == {b"only_added"}


def test_a_repeated_body_has_no_second_effect(service: Service, store: redis.Redis) -> None:
    body = body_of(["alice"])
    assert service.heap.send(body).status_code == 200
    service.heap.sync(remove=["alice"])
    assert service.heap.send(body).status_code == 200
    assert store.smembers(MEMBERS) == set()


@pytest.mark.parametrize("count", [1000, 1001, 2750])
def test_large_pages_arrive_whole_and_once(service: Service, store: redis.Redis, count: int) -> None:
    members = [f"user{number}" for number in range(count)]
    body = body_of(members)
    assert service.heap.send(body).status_code == 200
    assert store.scard(MEMBERS) == count
    assert service.heap.send(body).status_code == 200
    assert service.described()["added"] == count


def test_a_drain_empties_the_list_once(service: Service, store: redis.Redis) -> None:
    service.heap.sync(add=["alice"])
    now = int(time.time() * 1000)
    body = json.dumps(
        {"action_type": "segment.users.drain", "data": {"segment": {"id": SEGMENT_ID, "name": "Premium Users"}}}
    ).encode()
    header = sign(SECRET, body, timestamp_ms=now)
    assert service.heap.send(body, header=header).status_code == 200
    assert service.described()["status"] == "drained"
    service.heap.sync(add=["bob"])
    assert service.heap.send(body, header=header).status_code == 200
    assert store.smembers(MEMBERS) == {b"bob"}


def test_numeric_and_text_segment_ids_are_the_same_segment(service: Service, store: redis.Redis) -> None:
    service.heap.sync(add=["a"], segment_id=SEGMENT_ID)
    service.heap.sync(add=["b"], segment_id=str(SEGMENT_ID), name="Renamed in Heap")
    assert store.smembers(MEMBERS) == {b"a", b"b"}
    assert service.described()["segment_name"] == "Renamed in Heap"


def test_a_name_that_is_taken_gets_the_segment_id_appended(service: Service) -> None:
    service.heap.sync(add=["a"], segment_id=1, name="Première  Users!")
    service.heap.sync(add=["b"], segment_id=2, name="premiere users")
    service.heap.sync(add=["c"], segment_id=3, name="顧客")
    assert [found["list_id"] for found in service.lists()] == [
        "heap_3",
        "heap_premiere_users",
        "heap_premiere_users_2",
    ]


def test_every_secret_of_a_rotation_is_accepted(service: Service) -> None:
    assert Heap(service.program.address, secret="the_next_secret").sync(add=["a"]).status_code == 200


class TestRefusals:
    """Each gets its documented answer, and no list changes."""

    @pytest.fixture(autouse=True)
    def _nothing_changes(self, service: Service, store: redis.Redis) -> object:
        yield
        assert store.keys("cg:{123456:*") == []
        assert store.exists(keys.REGISTRY_LISTS, keys.REGISTRY_SEGMENTS) == 0
        assert http.get(f"{service.program.address}/healthz").json() == {"status": "ok"}
        assert SECRET not in service.program.log()
        assert "secret_user" not in service.program.log()

    def test_a_tampered_body(self, service: Service) -> None:
        header = sign(SECRET, body_of(["secret_user"]), timestamp_ms=int(time.time() * 1000))
        answer = service.heap.send(body_of(["mallory"]), header=header)
        assert answer.status_code == 403
        assert answer.json() == {"error": "Invalid signature", "reason": "bad_signature"}

    def test_a_wrong_secret(self, service: Service) -> None:
        assert Heap(service.program.address, secret="wrong").sync(add=["secret_user"]).status_code == 403

    @pytest.mark.parametrize(("age", "reason"), [(86400 + 5, "stale_timestamp"), (-65, "future_timestamp")])
    def test_a_stale_and_a_future_timestamp(self, service: Service, age: float, reason: str) -> None:
        answer = service.heap.sync(add=["a"], age=age)
        assert (answer.status_code, answer.json()["reason"]) == (403, reason)

    def test_a_missing_header(self, service: Service) -> None:
        answer = http.post(service.heap.address, content=body_of(["a"]))
        assert (answer.status_code, answer.json()["reason"]) == (400, "missing_signature")

    def test_a_malformed_header(self, service: Service) -> None:
        assert service.heap.send(body_of(["a"]), header="sha256=abcdef").status_code == 400

    def test_a_hex_hmac(self, service: Service) -> None:
        answer = service.heap.send(body_of(["a"]), header=f"ts:{int(time.time() * 1000)},hmac:{'ab' * 32}")
        assert answer.status_code == 403

    def test_an_unknown_action(self, service: Service) -> None:
        answer = service.heap.send(b'{"action_type":"segment.users.explode","data":{}}')
        assert (answer.status_code, answer.json()["reason"]) == (405, "unknown_action")

    @pytest.mark.parametrize("body", [b"{", b"", b"[1]", b'{"action_type":"segment.users.sync"}'])
    def test_broken_json(self, service: Service, body: bytes) -> None:
        assert service.heap.send(body).status_code == 400

    def test_an_unknown_id_token(self, service: Service) -> None:
        body = json.loads(body_of(["a"])) | {"id_token": "somebody"}
        answer = service.heap.send(json.dumps(body).encode())
        assert (answer.status_code, answer.json()["error"]) == (403, "Invalid id_token")

    def test_a_huge_body_by_its_announced_length(self, service: Service) -> None:
        answer = service.heap.send(bytes(100_000_000))
        assert (answer.status_code, answer.json()["reason"]) == (413, "too_large")

    def test_a_huge_body_without_a_length(self, service: Service) -> None:
        def chunks() -> object:
            for _ in range(30):
                yield bytes(100_000)

        header = f"ts:{int(time.time() * 1000)},hmac:AAAA"
        answer = http.post(service.heap.address, content=chunks(), headers={"Heap-Hash": header})
        assert answer.status_code == 413

    def test_a_sender_that_hangs_up_half_way(self, service: Service) -> None:
        host, port = service.program.address.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port))) as connection:
            connection.sendall(
                b"POST /webhooks/heap HTTP/1.1\r\nHost: x\r\nHeap-Hash: ts:1,hmac:AAAA\r\nContent-Length: 500\r\n\r\n{"
            )
        service.program.wait_for_line("cut_short")

    @pytest.mark.parametrize("path", ["/admin/api/v1/lists", "/metrics", "/readyz", "/docs", "/"])
    def test_the_public_port_has_nothing_else(self, service: Service, path: str) -> None:
        answer = http.get(service.program.address + path)
        assert answer.status_code == 404
        assert answer.json()["reason"] == "not_found"


def test_no_answer_of_200_while_the_store_is_down(
    service: Service, store_server: StoreServer, store: redis.Redis
) -> None:
    body = body_of(["alice"])
    store_server.kill()
    try:
        refused = service.heap.send(body)
        ready = http.get(f"{service.admin_address}/readyz")
    finally:
        store_server.start()
    assert (refused.status_code, refused.json()["reason"]) == (503, "store_away")
    assert int(refused.headers["retry-after"]) > 0
    assert (ready.status_code, ready.json()["status"]) == (200, "degraded")
    assert service.heap.send(body).status_code == 200
    assert store.smembers(MEMBERS) == {b"alice"}


def test_a_list_survives_a_kill_of_the_store_and_of_the_receiver(
    service: Service, store_server: StoreServer, store: redis.Redis
) -> None:
    service.heap.sync(add=["alice"])
    service.program.kill()
    store_server.kill()
    store_server.start()
    assert store.smembers(MEMBERS) == {b"alice"}


def test_what_can_be_no_member_is_counted(service: Service, store: redis.Redis) -> None:
    odd = b'{"id":NaN},{"id":%s},{"id":%s},null' % (b"9" * 5000, b"[" * 100_000 + b"]" * 100_000)
    body = body_of(["alice", "ODD", "bob"]).replace(b'{"id":"ODD"}', odd)
    assert service.heap.send(body).status_code == 200
    assert store.smembers(MEMBERS) == {b"alice", b"bob"}
    assert service.described()["skipped"] == 4
    assert 'cohort_sync_members_total{change="skipped"} 4.0' in http.get(f"{service.admin_address}/metrics").text


def test_metrics_count_pushes_by_outcome(service: Service) -> None:
    body = body_of(["a", "b"])
    service.heap.send(body)
    service.heap.send(body)
    service.heap.send(body, header="nonsense")
    text = http.get(f"{service.admin_address}/metrics").text
    assert 'cohort_sync_pushes_total{outcome="applied"} 1.0' in text
    assert 'cohort_sync_pushes_total{outcome="repeated"} 1.0' in text
    assert 'cohort_sync_pushes_total{outcome="malformed_signature"} 1.0' in text
    assert 'cohort_sync_members_total{change="added"} 2.0' in text
