"""However much arrives, and however slowly: memory stays bounded, nobody waits for ever, and honest pushes get in."""

from __future__ import annotations

import asyncio
import contextlib
import re
import time
from typing import TYPE_CHECKING

import pytest

from attribute_lists import keys
from foundation.errors import UnavailableError
from foundation.memory import WORKING_FACTOR, Booking, Memory
from local_stack.sample_push import build_push
from tests.support import http
from tests.support.raw_http import Answer, connection, head, is_closed, read_answer

if TYPE_CHECKING:
    import socket

    import redis

    from tests.cohort_sync.conftest import Service

MEMBERS = keys.members("123456", "heap_premium_users")
SIGNED_SOMEHOW = "ts:1,hmac:AAAA"


def page_of(size: int) -> bytes:
    """A page of some `size` bytes."""
    members = [f"user{number:016}" for number in range(size // 31)]
    return build_push(segment_id=1, segment_name="Premium Users", task="t", add=members, remove=[])


def booked(service: Service) -> float:
    text = http.get(f"{service.admin_address}/metrics").text
    return sum(float(value) for value in re.findall(r"^cohort_sync_body_bytes\{.*\} (\S+)$", text, re.MULTILINE))


def wait_until_nothing_is_booked(service: Service) -> None:
    deadline = time.monotonic() + 5
    while booked(service):
        assert time.monotonic() < deadline
        time.sleep(0.02)


class TestMemory:
    @pytest.fixture
    def settings(self, settings: dict[str, str]) -> dict[str, str]:
        return settings | {"WEBHOOK_MEMORY": str(1024 * 1024)}

    def test_a_push_that_finds_no_room_is_refused_before_its_body_is_read(self, service: Service) -> None:
        body = page_of(200_000)
        with connection(service.program.address) as hoarder, connection(service.program.address) as late:
            hoarder.sendall(head(heap_hash=SIGNED_SOMEHOW, content_length="1500000") + bytes(400_000))
            while booked(service) < 400_000:
                time.sleep(0.02)
            late.sendall(head(heap_hash=SIGNED_SOMEHOW, content_length=str(len(body))))
            answer = read_answer(late)
            assert answer is not None
            assert (answer.status, answer.reason) == (503, "busy")
            assert int(answer.headers["retry-after"]) > 0
            refused = service.heap.send(body)
            assert (refused.status_code, refused.json()["reason"]) == (503, "busy")
        wait_until_nothing_is_booked(service)  # the hoarder hung up
        assert service.heap.send(body).status_code == 200

    def test_a_body_of_unknown_length_is_cut_off_where_the_room_ends(self, service: Service) -> None:
        with connection(service.program.address) as hoarder, connection(service.program.address) as chunked:
            hoarder.sendall(head(heap_hash=SIGNED_SOMEHOW, content_length="1500000") + bytes(400_000))
            while booked(service) < 400_000:
                time.sleep(0.02)
            chunked.sendall(head(heap_hash=SIGNED_SOMEHOW, transfer_encoding="chunked"))
            chunked.sendall(b"30000\r\n" + bytes(0x30000) + b"\r\n")
            answer = read_answer(chunked)
            assert answer is not None
            assert (answer.status, answer.reason) == (503, "busy")

    def test_an_announcement_alone_keeps_nobody_out(self, service: Service) -> None:
        with connection(service.program.address) as hoarder:
            hoarder.sendall(head(heap_hash=SIGNED_SOMEHOW, content_length="1900000"))
            assert service.heap.send(page_of(200_000)).status_code == 200

    def test_the_largest_body_has_room_when_it_is_alone(self, service: Service, store: redis.Redis) -> None:
        assert service.heap.send(page_of(1_990_000)).status_code == 200
        assert store.scard(MEMBERS) == 1_990_000 // 31

    @pytest.mark.parametrize("end", ["wrong signature", "not JSON", "too large", "hangs up"])
    def test_what_was_booked_is_given_back(self, service: Service, end: str) -> None:
        if end == "hangs up":
            with connection(service.program.address) as peer:
                peer.sendall(head(heap_hash=SIGNED_SOMEHOW, content_length="400000") + bytes(100_000))
                while not booked(service):
                    time.sleep(0.02)
        elif end == "not JSON":
            assert service.heap.send(bytes(100_000)).status_code == 400
        elif end == "too large":
            with connection(service.program.address) as peer:
                peer.sendall(head(heap_hash=SIGNED_SOMEHOW, transfer_encoding="chunked"))
                peer.sendall(b"200000\r\n" + bytes(0x200000) + b"\r\n")
                answer = read_answer(peer)
                assert answer is not None
                assert answer.status == 413
        else:
            assert service.heap.send(bytes(100_000), header=SIGNED_SOMEHOW).status_code == 403
        wait_until_nothing_is_booked(service)


class TestTurns:
    """Work on bodies waits for room, first come, first served."""

    async def test_one_body_is_always_worked_on(self) -> None:
        await Booking(Memory(10)).work_on(1000)

    async def test_the_next_waits_until_there_is_room(self) -> None:
        memory = Memory(2 * WORKING_FACTOR * 10)
        order = []

        async def work(name: str, size: int, *, until: asyncio.Event | None = None) -> None:
            booking = Booking(memory)
            await booking.work_on(size)
            order.append(name)
            if until is not None:
                await until.wait()
            booking.release()

        first_may_end = asyncio.Event()
        tasks = [asyncio.create_task(work("first", 10, until=first_may_end))]
        tasks += [asyncio.create_task(work(name, size)) for name, size in (("large", 9), ("small", 1))]
        await asyncio.sleep(0.01)
        assert order == ["first"]
        tasks[1].cancel()
        await asyncio.sleep(0.01)
        assert order == ["first", "small"]
        first_may_end.set()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert (memory.working, memory.received) == (0, 0)

    def test_what_is_announced_must_fit(self) -> None:
        memory = Memory(200)
        alone = Booking(memory)
        alone.announce(1000)
        alone.grow(90)
        another = Booking(memory)
        another.announce(10)
        with pytest.raises(UnavailableError):
            another.announce(11)
        alone.grow(1000)
        alone.release()
        assert memory.received == 0


class TestSlowness:
    @pytest.fixture
    def settings(self, settings: dict[str, str]) -> dict[str, str]:
        return settings | {"WEBHOOK_SECONDS": "3"}  # half a second for the headers, and before the pace counts

    def test_a_body_that_stops_coming(self, service: Service) -> None:
        with connection(service.program.address) as peer:
            peer.sendall(head(heap_hash=SIGNED_SOMEHOW, content_length="500") + b"{")
            self.is_cut_off(peer, seconds=2)

    def test_a_body_that_trickles(self, service: Service) -> None:
        with connection(service.program.address) as peer:
            peer.sendall(head(heap_hash=SIGNED_SOMEHOW, content_length="500"))
            trickle(peer, b"x" * 500)
            self.is_cut_off(peer, seconds=2)

    def test_a_body_that_keeps_pace_but_not_the_time(self, service: Service) -> None:
        started = time.monotonic()
        with connection(service.program.address) as peer:
            peer.sendall(head(heap_hash=SIGNED_SOMEHOW, content_length="1000000"))
            trickle(peer, bytes(1_000_000), step=2000)
            self.is_cut_off(peer, seconds=2)
        assert 2.5 < time.monotonic() - started < 6

    def test_headers_that_trickle(self, service: Service) -> None:
        with connection(service.program.address) as peer:
            trickle(peer, head(heap_hash="x" * 200))
            self.is_cut_off(peer, seconds=2)
        assert 'refused_total{reason="too_slow"} 1.0' in http.get(f"{service.admin_address}/metrics").text

    @pytest.mark.parametrize("said", [b"", b"\r\n"])
    def test_a_connection_that_says_nothing(self, service: Service, said: bytes) -> None:
        with connection(service.program.address, timeout=2) as peer:
            peer.sendall(said)
            assert is_closed(peer)

    def test_a_connection_that_says_no_more(self, service: Service) -> None:
        with connection(service.program.address, timeout=2) as peer:
            peer.sendall(head("/healthz", method="GET"))
            answer = read_answer(peer)
            assert answer is not None
            assert answer.status == 200
            peer.sendall(b"\r\n")
            assert is_closed(peer)

    def test_headers_that_trickle_behind_another_request(self, service: Service) -> None:
        with connection(service.program.address) as peer:
            peer.sendall(head("/healthz", method="GET") + b"POST ")
            first = read_answer(peer)
            assert first is not None
            assert first.status == 200
            trickle(peer, b"/webhooks/heap?" + b"x" * 200)
            self.is_cut_off(peer, seconds=2)

    def is_cut_off(self, peer: socket.socket, *, seconds: float) -> None:
        peer.settimeout(seconds)
        answer = read_answer(peer)
        assert answer is not None
        assert (answer.status, answer.reason, answer.headers["connection"]) == (408, "too_slow", "close")
        assert is_closed(peer)


def trickle(peer: socket.socket, data: bytes, *, step: int = 1) -> None:
    """Send slowly, until all is sent or the other side has had enough."""
    peer.settimeout(0.05)
    for start in range(0, len(data), step):
        try:
            peer.sendall(data[start : start + step])
            if peer.recv(1, 2):  # 2 is MSG_PEEK: an answer waits
                return
        except TimeoutError:
            continue
        except ConnectionError:
            return


class TestExcess:
    def test_endless_headers(self, service: Service) -> None:
        with connection(service.program.address) as peer:
            peer.sendall(head(x=("y" * 200_000))[:-4])
            answer = read_answer(peer)
            assert answer is not None
            assert (answer.status, answer.reason) == (431, "head_too_large")
            assert is_closed(peer)

    def test_endless_trailers(self, service: Service) -> None:
        with connection(service.program.address) as peer:
            peer.sendall(head(heap_hash=SIGNED_SOMEHOW, transfer_encoding="chunked") + b"1\r\nx\r\n0\r\n")
            peer.sendall(b"a: " + b"b" * 200_000)
            assert (read_answer(peer) or Answer(431, {}, b"")).status == 431
            assert is_closed(peer)

    def test_a_body_in_tiny_chunks_is_no_excess(self, service: Service) -> None:
        with connection(service.program.address) as peer:
            peer.sendall(head(heap_hash=SIGNED_SOMEHOW, transfer_encoding="chunked"))
            peer.sendall(b"1\r\nx\r\n" * 20_000 + b"0\r\n\r\n")
            answer = read_answer(peer)
            assert answer is not None
            assert answer.status == 403

    def test_endless_pipelining(self, service: Service) -> None:
        with connection(service.program.address) as peer:
            peer.sendall(head("/healthz", method="GET") * 1000)
            assert is_closed(peer)
        assert http.get(f"{service.program.address}/healthz").status_code == 200

    def test_a_few_pipelined_requests(self, service: Service) -> None:
        with connection(service.program.address) as peer:
            peer.sendall(head("/healthz", method="GET") * 5 + head("/healthz", method="GET", connection="close"))
            received = b""
            while chunk := peer.recv(65536):
                received += chunk
            assert received.count(b"HTTP/1.1 200 ") == 6

    def test_what_is_no_http(self, service: Service) -> None:
        with connection(service.program.address) as peer:
            peer.sendall(b"\x16\x03\x01 hello\r\n\r\n")
            answer = read_answer(peer)
            assert answer is not None
            assert (answer.status, answer.reason) == (400, "bad_http")

    def test_too_many_connections(self, settings: dict[str, str], request: pytest.FixtureRequest) -> None:
        settings["WEBHOOK_CONNECTIONS"] = "2"
        service: Service = request.getfixturevalue("service")
        address = service.program.address
        with connection(address) as first, connection(address) as second, connection(address) as third:
            for peer in (first, second):
                peer.sendall(head("/healthz", method="GET"))
            third.sendall(head("/healthz", method="GET"))
            answer = read_answer(third)
            assert answer is not None
            assert (answer.status, answer.reason) == (503, "too_many_connections")
            assert int(answer.headers["retry-after"]) > 0
            assert is_closed(third)
            with contextlib.ExitStack() as others:
                beyond = [others.enter_context(connection(address, timeout=2)) for _ in range(3)]
                assert is_closed(beyond[-1])
            first.close()
            while True:
                second.sendall(head("/healthz", method="GET"))
                answer = read_answer(second)
                assert answer is not None
                if answer.status == 200:
                    break
