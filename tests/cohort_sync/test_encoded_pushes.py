"""Pushes that come packed: signed as they came, unpacked within the limits once the signature is right."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING

import pytest

from attribute_lists import keys
from cohort_sync.signature import HEADER as SIGNATURE
from cohort_sync.signature import sign
from local_stack.sample_push import build_push
from tests.support import http
from tests.support.encodings import BROKEN, HEADER, READABLE, UNKNOWN, Packing, bomb
from tests.support.heap import SECRET
from tests.support.raw_http import connection, head, read_answer
from tests.support.waiting import until

if TYPE_CHECKING:
    import httpx
    import redis

    from tests.cohort_sync.conftest import Service

MEMBERS = keys.members("123456", "heap_premium_users")


def page(*members: str, task: str = "t") -> bytes:
    return build_push(segment_id=1, segment_name="Premium Users", task=task, add=list(members), remove=[])


def send(service: Service, content: bytes, packing: Packing, *, signature: str | None = None) -> httpx.Response:
    """`content`, packed and then signed."""
    packed = packing.pack(content)
    signature = signature or sign(SECRET, packed, timestamp_ms=int(time.time() * 1000))
    raw = [(SIGNATURE.encode(), signature.encode()), (HEADER.encode(), packing.encoding.encode("latin-1"))]
    return http.post(service.heap.address, content=packed, headers=raw)


def counted(service: Service, sample: str) -> float:
    text = http.get(f"{service.admin_address}/metrics").text
    return sum(float(value) for value in re.findall(rf"^cohort_sync_{sample} (\S+)$", text, re.MULTILINE))


def test_what_is_signed_as_it_came_is_applied(service: Service, store: redis.Redis) -> None:
    for number, packing in enumerate(READABLE.values()):
        answer = send(service, page(f"alice {number}", task=f"task {number}"), packing)
        assert (answer.status_code, answer.json()) == (200, {})
    assert store.scard(MEMBERS) == len(READABLE)


def test_the_same_bytes_again_are_a_repeat(service: Service) -> None:
    packed = READABLE["gzip"].pack(page("alice"))
    again = Packing("gzip", lambda _: packed)
    assert [send(service, b"", again).status_code for _ in range(3)] == [200] * 3
    assert counted(service, r'pushes_total\{outcome="applied"\}') == 1
    assert counted(service, r'pushes_total\{outcome="repeated"\}') == 2


def test_a_signature_of_the_content_is_none_of_what_came(service: Service, store: redis.Redis) -> None:
    content = page("alice")
    of_content = sign(SECRET, content, timestamp_ms=int(time.time() * 1000))
    answer = send(service, content, READABLE["gzip"], signature=of_content)
    assert (answer.status_code, answer.json()["reason"]) == (403, "bad_signature")
    assert not store.exists(MEMBERS)


def test_nothing_is_unpacked_before_its_signature_is_right(service: Service) -> None:
    """What could not be unpacked, or is a bomb, is told from what is unsigned."""
    for name, packing in [*BROKEN.items(), ("a bomb", Packing("gzip", lambda _: bomb(64_000_000)))]:
        answer = send(service, page("alice"), packing, signature="ts:1,hmac:AAAA")
        assert (answer.status_code, answer.json()["reason"]) == (403, "bad_signature"), name


@pytest.mark.parametrize("packing", BROKEN.values(), ids=BROKEN.keys())
def test_what_can_t_be_unpacked_is_a_bad_request(service: Service, store: redis.Redis, packing: Packing) -> None:
    answer = send(service, page("alice"), packing)
    assert (answer.status_code, answer.json()["reason"]) == (400, "bad_encoding")
    assert answer.json()["error"].startswith(f"{HEADER}: the body can't be unpacked as ")
    assert counted(service, r'pushes_total\{outcome="bad_encoding"\}') == 1
    assert not store.exists(MEMBERS)


def test_an_encoding_that_is_not_known_is_named(service: Service, store: redis.Redis) -> None:
    for packing in UNKNOWN.values():
        answer = send(service, page("alice"), packing)
        assert (answer.status_code, answer.json()["reason"]) == (415, "unsupported_encoding")
        assert packing.encoding.replace(", ", ",").replace("\xed", "?") in answer.json()["error"]
        assert "gzip or deflate" in answer.json()["error"]
    assert not store.exists(MEMBERS)
    assert counted(service, r'pushes_total\{outcome="unsupported_encoding"\}') == len(UNKNOWN)


class TestLimits:
    @pytest.fixture
    def settings(self, settings: dict[str, str]) -> dict[str, str]:
        return settings | {"WEBHOOK_MEMORY": str(1024 * 1024)}

    def test_a_page_is_unpacked_up_to_what_one_may_have(self, service: Service, store: redis.Redis) -> None:
        for size, status in ((2_000_000, 200), (2_000_001, 413)):
            answer = send(service, page("alice").ljust(size), READABLE["gzip"])
            assert answer.status_code == status, answer.text
        assert answer.json()["error"] == "the body has more than 2000000 bytes unpacked; MAX_WEBHOOK_BYTES allows more"
        assert store.scard(MEMBERS) == 1

    def test_no_more_is_unpacked_than_is_taken(self, service: Service) -> None:
        before = service.program.resident
        packed = Packing("gzip", lambda _: bomb(256_000_000))
        assert send(service, b"", packed).status_code == 413
        assert service.program.resident - before < 64_000_000

    def test_what_is_unpacked_needs_room(self, service: Service) -> None:
        content = page("alice").ljust(200_000)
        with connection(service.program.address) as hoarder:
            hoarder.sendall(head(heap_hash="ts:1,hmac:AAAA", content_length="1500000") + bytes(400_000))
            until(lambda: counted(service, r"body_bytes\{.*\}") >= 400_000, what="the body to be counted")
            with connection(service.program.address) as peer:
                packed = READABLE["gzip"].pack(content)
                signature = sign(SECRET, packed, timestamp_ms=int(time.time() * 1000))
                peer.sendall(head(heap_hash=signature, content_length=str(len(packed)), content_encoding="gzip"))
                peer.sendall(packed)
                answer = read_answer(peer)
            assert answer is not None
            assert (answer.status, answer.reason) == (503, "busy")
            assert int(answer.headers["retry-after"]) > 0
        until(lambda: counted(service, r"body_bytes\{.*\}") == 0, what="all room to be given back")
        assert send(service, content, READABLE["gzip"]).status_code == 200
