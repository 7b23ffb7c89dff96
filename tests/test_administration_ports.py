"""The ports of the administrations: who has no token costs nothing, and who has one is held to limits as well."""

from __future__ import annotations

import contextlib
import gzip
import json
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from foundation.settings import MEBIBYTE
from tests.support import http, processes
from tests.support.raw_http import Answer, connection, head, is_closed, read_answer
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.processes import Program, StoreServer

TOKEN = "admin-token-of-the-tests"
RIGHT, WRONG = f"Bearer {TOKEN}", "Bearer admin-token-of-the-test"
HUGE = 400_000_000
CONNECTIONS = 6
_PIECE = bytes(MEBIBYTE)


@dataclass(frozen=True)
class Port:
    """The administration of `program`. `path` takes a body, of which `body` is a good one; its answer has `reply`."""

    program: Program
    path: str
    body: bytes
    reply: str

    @property
    def address(self) -> str:
        return self.program.addresses[1]


@pytest.fixture(scope="module", params=["cohort-sync", "heap-export"])
def port(
    request: pytest.FixtureRequest, store_server: StoreServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Port]:
    directory = tmp_path_factory.mktemp("administration")
    settings = {"REDIS_URL": store_server.url, "ADMIN_TOKEN": TOKEN}
    person = json.dumps({"id": "nobody"}).encode()
    if request.param == "cohort-sync":
        more = {"WEBHOOK_CONNECTIONS": str(CONNECTIONS), "WEBHOOK_SECONDS": "6"}
        with processes.cohort_sync(directory, settings | more) as program:
            yield Port(program, "/admin/api/v1/erase", person, "run_too")
            program.kill()
    else:
        more = {"EVENTS_CONNECTIONS": str(CONNECTIONS), "EVENTS_SECONDS": "3"}
        with processes.heap_export(directory, settings | more) as program:
            yield Port(program, "/v1/admin/erase", person, "elsewhere")
            program.kill()


@pytest.fixture(autouse=True)
def _nobody_else_is_connected(port: Port) -> None:
    """What the test before left is gone: connections are counted."""
    until(lambda: http.get(f"{port.address}/healthz").status_code == 200, what="room for a connection")


def answer_of(peer: socket.socket) -> Answer:
    answer = read_answer(peer)
    assert answer is not None
    return answer


def refused(answer: Answer) -> tuple[int, str]:
    assert set(json.loads(answer.body)) == {"error", "reason"}
    return answer.status, answer.reason


LENGTH, CHUNKS = {"Content_Length": str(HUGE)}, {"Transfer_Encoding": "chunked"}


@pytest.mark.parametrize("authorization", [None, WRONG, TOKEN, "Basic " + TOKEN], ids=["no", "wrong", "bare", "basic"])
@pytest.mark.parametrize("sent_as", [LENGTH, CHUNKS], ids=["length", "chunks"])
def test_the_token_is_asked_for_before_the_body_is_read(
    port: Port, sent_as: dict[str, str], authorization: str | None
) -> None:
    """The answer is there while hardly any of it is, and what is sent on leaves nothing behind."""
    headers = sent_as | {"Content_Type": "application/json"}
    if authorization is not None:
        headers["Authorization"] = authorization
    before = port.program.resident
    with connection(port.address) as peer:
        peer.sendall(head(port.path, **headers))
        piece = _PIECE if sent_as is LENGTH else b"%x\r\n%b\r\n" % (len(_PIECE), _PIECE)
        peer.sendall(piece)
        assert refused(answer_of(peer)) == (401, "unauthorized")
        with contextlib.suppress(ConnectionError, TimeoutError):
            for _ in range(64):
                peer.sendall(piece)
        assert port.program.resident - before < 24 * MEBIBYTE


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "GET", "OPTIONS"])
def test_no_method_and_no_path_takes_a_body_without_the_token(port: Port, method: str) -> None:
    for path in (port.path, "/docs", "/nothing", "/v1/admin", "/admin/api/v1/lists", "//healthz", "/healthz/"):
        with connection(port.address) as peer:
            peer.sendall(head(path, method=method, **LENGTH) + _PIECE)
            assert refused(answer_of(peer)) == (401, "unauthorized")


def test_nobody_is_asked_to_go_on_without_the_token(port: Port) -> None:
    with connection(port.address) as peer:
        peer.sendall(head(port.path, Expect="100-continue", **LENGTH))
        assert answer_of(peer).status == 401
    with connection(port.address) as peer:
        length = str(len(port.body))
        headers = {"Expect": "100-continue", "Content_Length": length, "Content_Type": "application/json"}
        peer.sendall(head(port.path, Authorization=RIGHT, **headers))
        assert peer.recv(25, socket.MSG_WAITALL) == b"HTTP/1.1 100 Continue\r\n\r\n"
        peer.sendall(port.body)
        assert answer_of(peer).status == 200


@pytest.mark.parametrize("sent_as", [LENGTH, CHUNKS], ids=["length", "chunks"])
def test_a_large_body_is_refused_with_the_token_too(port: Port, sent_as: dict[str, str]) -> None:
    before = port.program.resident
    with connection(port.address) as peer:
        peer.sendall(head(port.path, Authorization=RIGHT, Content_Type="application/json", **sent_as))
        if sent_as is CHUNKS:
            peer.sendall(b"%x\r\n%b\r\n" % (len(_PIECE), _PIECE))
        answer = answer_of(peer)
    assert refused(answer) == (413, "too_large")
    assert b"65536 bytes" in answer.body
    assert port.program.resident - before < 24 * MEBIBYTE


def test_a_body_of_a_usual_size_is_taken(port: Port) -> None:
    for body in (port.body, port.body.ljust(65536)):
        answer = http.post(
            port.address + port.path,
            content=body,
            headers={"Authorization": RIGHT, "Content-Type": "application/json"},
        )
        assert (answer.status_code, port.reply in answer.json()) == (200, True), answer.text
        assert answer.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("encoding", ["gzip", "GZIP", "deflate", "br", "identity, gzip"])
def test_a_packed_body_is_refused_by_name(port: Port, encoding: str) -> None:
    answer = http.post(
        port.address + port.path,
        content=gzip.compress(port.body),
        headers={"Authorization": RIGHT, "Content-Type": "application/json", "Content-Encoding": encoding},
    )
    assert (answer.status_code, answer.json()["reason"]) == (415, "unsupported_encoding")
    name = encoding.rpartition(" ")[2].lower()
    assert answer.json()["error"] == f"Content-Encoding: {name} is not read here; send the body as it is"


def test_half_a_head_comes_to_an_end(port: Port) -> None:
    """A second has passed then."""
    for sent in (b"", b"POST ", head(port.path, Authorization=RIGHT)[:-2], b"GET /healthz HTTP/1.1\r\nX-A: "):
        with connection(port.address, timeout=10) as peer:
            peer.sendall(sent)
            answer = read_answer(peer)
            if sent:
                assert answer is not None
                assert refused(answer) == (408, "too_slow")
                assert is_closed(peer)
            else:
                assert answer is None
    reason = 'connections_refused_total{reason="too_slow"}'
    assert reason in http.get(f"{port.address}/metrics").text


def test_a_head_without_end_is_refused(port: Port) -> None:
    with connection(port.address) as peer:
        with contextlib.suppress(ConnectionError):
            peer.sendall(head(port.path, X="y" * 400_000)[:-4])
        assert refused(answer_of(peer)) == (431, "head_too_large")
        assert is_closed(peer)


@pytest.mark.parametrize("sent_as", [{"Content_Length": "500"}, CHUNKS], ids=["length", "chunks"])
def test_a_body_that_does_not_come_is_not_waited_for(port: Port, sent_as: dict[str, str]) -> None:
    with connection(port.address, timeout=10) as peer:
        begun = b"{" if sent_as is not CHUNKS else b"1\r\n{\r\n"
        peer.sendall(head(port.path, Authorization=RIGHT, Content_Type="application/json", **sent_as) + begun)
        answer = answer_of(peer)
        assert refused(answer) == (408, "too_slow")
        assert b"_SECONDS)" in answer.body
        assert is_closed(peer)


def test_a_question_with_a_body_that_does_not_come_is_answered(port: Port) -> None:
    path = "/admin/api/v1/lists" if "api" in port.path else "/v1/admin/status"
    with connection(port.address, timeout=10) as peer:
        peer.sendall(head(path, method="GET", Authorization=RIGHT, **LENGTH))
        assert answer_of(peer).status == 200
        assert is_closed(peer)


def test_there_are_only_so_many_connections(port: Port) -> None:
    with contextlib.ExitStack() as stack:

        def take_all() -> bool:
            """False while connections of other tests are still being closed."""
            stack.close()
            peers = [stack.enter_context(connection(port.address)) for _ in range(CONNECTIONS)]
            for peer in peers:
                peer.sendall(head("/healthz", method="GET"))
            return [answer_of(peer).status for peer in peers] == [200] * CONNECTIONS

        until(take_all, what="all connections")
        with connection(port.address) as one_more:
            one_more.sendall(head("/healthz", method="GET"))
            answer = answer_of(one_more)
            assert refused(answer) == (503, "too_many_connections")
            assert int(answer.headers["retry-after"]) > 0
            assert is_closed(one_more)
        with connection(port.program.address) as public:  # another port, another count
            public.sendall(head("/healthz", method="GET"))
            assert answer_of(public).status == 200


def test_what_operations_ask_needs_no_token(port: Port) -> None:
    for path in ("/healthz", "/readyz", "/metrics"):
        answer = http.get(port.address + path)
        assert answer.status_code == 200
        assert answer.headers["Cache-Control"] == "no-store"


def test_every_route_that_is_described_needs_the_token(port: Port) -> None:
    paths = http.get(f"{port.address}/openapi.json").json()["paths"]
    routes = [(path, method) for path, methods in paths.items() for method in methods]
    found = {
        (path, method): http.request(method, port.address + path).status_code
        for path, method in routes
        if path not in ("/healthz", "/readyz", "/metrics")
    }
    assert len(found) > 5
    assert set(found.values()) == {401}
