"""One request is one request, on every port: its framing says where it ends, whatever else its head says.

What a server takes for the next request although it was a body is what a stranger may use to answer for others through
a proxy that shares its connections.
"""

from __future__ import annotations

import contextlib
import re
from typing import TYPE_CHECKING

import pytest

from tests.support.raw_http import bystander, connection, read_all, read_answer, split_answers

if TYPE_CHECKING:
    from tests.framing.ports import Port
    from tests.support.raw_http import Answer

UPGRADES = [
    (b"Connection: Upgrade", b"Upgrade: h2c"),
    (b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAEAAEAAAAIAAAABAAMAAABkAAQBAAAA"),
    (b"Connection: keep-alive, upgrade", b"Upgrade: websocket", b"Sec-WebSocket-Version: 13"),
    (b"UPGRADE: anything/1.0, h2c", b"CONNECTION: UPGRADE"),
    (b"Upgrade: h2c", b"Upgrade: websocket", b"Connection: Upgrade"),
    (b"Upgrade:", b"Connection: Upgrade"),
]
NAMES_OF_UPGRADES = ["h2c", "as Java", "websocket", "capitals", "twice", "nothing"]
HIDDEN = b"\r\n\r\n\r\nGET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
LAST = b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


def exchange(port: Port, *pieces: bytes) -> list[Answer]:
    """All answers until the server closes; each piece is read before the next one is sent."""
    with connection(port.address) as peer, bystander(port.address) as turn:
        with contextlib.suppress(ConnectionError):  # it was closed meanwhile
            for piece in pieces:
                peer.sendall(piece)
                turn()
        return split_answers(read_all(peer))


def cut(sent: bytes, size: int) -> list[bytes]:
    return [sent[at : at + size] for at in range(0, len(sent), size)]


@pytest.mark.parametrize("headers", UPGRADES, ids=NAMES_OF_UPGRADES)
@pytest.mark.parametrize("size", [1 << 20, 200, 7], ids=["one read", "a few", "many"])
def test_a_body_belongs_to_its_request_whatever_protocol_it_asks_for(
    port: Port, headers: tuple[bytes, ...], size: int
) -> None:
    """Answered as without the headers, and the next request as the next."""
    [plain, _] = exchange(port, port.post() + LAST)
    assert plain.status == 200, plain.body
    for sent in (port.post(*headers), port.chunked(*headers)):
        answers = exchange(port, *cut(sent + LAST, size))
        assert [answer.status for answer in answers] == [200, 200]
        assert _lasting(answers[0]) == _lasting(plain)


@pytest.mark.parametrize("headers", UPGRADES, ids=NAMES_OF_UPGRADES)
def test_what_looks_like_a_request_in_a_body_is_none(port: Port, headers: tuple[bytes, ...]) -> None:
    """Head and body in two reads, the body by an address that takes one and by others."""
    for target in (None, "/healthz", "/nothing-here"):
        sent = port.post(*headers, body=HIDDEN, target=target)
        answers = exchange(port, sent[: -len(HIDDEN)], HIDDEN, LAST)
        assert len(answers) == 2
        assert answers[1].status == 200


def test_a_get_that_asks_for_a_protocol_is_answered(port: Port) -> None:
    for headers in UPGRADES:
        lines = b"\r\n".join([f"GET {port.get} HTTP/1.1".encode(), b"Host: x", *headers, b"", b""])
        assert [answer.status for answer in exchange(port, lines + lines + LAST)] == [200, 200, 200]


def test_many_requests_that_ask_for_a_protocol_in_one_read(port: Port) -> None:
    sent = port.post(*UPGRADES[0])
    assert [answer.status for answer in exchange(port, sent * 10 + LAST)] == [200] * 11


@pytest.mark.parametrize(
    "head",
    [
        b"CONNECT x:80 HTTP/1.1\r\nHost: x\r\n\r\n",
        b"CONNECT x:80 HTTP/1.1\r\nHost: x\r\nContent-Length: 41\r\n\r\n",
        b"CONNECT x:80 HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"CONNECT x:80 HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n",
        b"CONNECT /healthz HTTP/1.1\r\nHost: x\r\n\r\n",
        b"CONNECT http://x/ HTTP/1.1\r\nHost: x\r\n\r\n",
        b"CONNECT x:80 HTTP/1.0\r\n\r\n",
    ],
    ids=["plain", "length", "chunks", "upgrade", "path", "address", "HTTP/1.0"],
)
def test_connect_is_refused_and_nothing_behind_it_is_read(port: Port, head: bytes) -> None:
    for pieces in ([head + HIDDEN], [head, HIDDEN], cut(head + HIDDEN, 9)):
        assert [answer.status for answer in exchange(port, *pieces)] == [400]


def test_trailers_are_no_headers(port: Port) -> None:
    """Who may ask, and what a body is, is said in front of it."""
    [refused, _] = exchange(port, port.chunked(trailers=b"X-Nothing: 1\r\n", without=_secret(port)) + LAST)
    for name, value in port.headers.items():
        trailers = f"{name}: {value}\r\nX-Membership: in\r\n".encode()
        [answer, last] = exchange(port, port.chunked(trailers=trailers, without=_secret(port)) + LAST)
        assert (answer.status, last.status) == (refused.status, 200)
    assert refused.status == (200 if _secret(port) == "" else 401 if _secret(port) == "Authorization" else 400)


def test_a_trailer_frames_nothing(port: Port) -> None:
    for trailer in (b"Connection: Upgrade\r\nUpgrade: h2c", b"Expect: 100-continue", b"Host: y"):
        answers = exchange(port, port.chunked(trailers=trailer + b"\r\n") + LAST)
        assert [answer.status for answer in answers] == [200, 200]
    for trailer in (b"Content-Length: 5", b"Transfer-Encoding: chunked"):
        answers = exchange(port, port.chunked(trailers=trailer + b"\r\n") + LAST)
        assert [answer.status for answer in answers] == [400]


def test_bytes_behind_a_whole_request_do_not_take_its_answer(port: Port) -> None:
    """Some SDKs write a header behind the body, in the same segment: the request is answered, then all ends."""
    for behind in (b"Connection: close\r\n\r\n", b"\r\nConnection: close\r\n\r\n", b"\x00\x01", b"GET\r\n\r\n", b"}"):
        answers = exchange(port, port.post() + behind)
        assert [answer.status for answer in answers] == [200]
        answers = exchange(port, port.post() * 3 + behind + HIDDEN)
        assert [answer.status for answer in answers] == [200, 200, 200]


def test_a_refused_body_does_not_take_the_answer_of_the_request_before(port: Port) -> None:
    broken = port.head(b"Transfer-Encoding: chunked") + b"zz\r\n"
    assert [answer.status for answer in exchange(port, port.post() + broken)] == [200]
    assert [answer.status for answer in exchange(port, broken)] == [400]


def test_a_request_that_was_answered_before_its_body_came_gets_no_second_answer(port: Port) -> None:
    """However its body goes on."""
    head = b"POST /nothing-here HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    for rest in (b"zz\r\n", b"5\r\nhelloXX", b"0\r\nContent-Length: 5\r\n\r\n", b"0\r\n: a\r\n\r\n"):
        with connection(port.address) as peer:
            peer.sendall(head)
            first = read_answer(peer)
            assert first is not None
            assert first.status in (401, 404, 405)
            with contextlib.suppress(ConnectionError):
                peer.sendall(rest + LAST)
            assert read_all(peer) == b""


def test_what_a_trailer_ends_is_ended(port: Port) -> None:
    sent = port.chunked(trailers=b"Connection: close\r\n") + port.post(body=HIDDEN) + LAST
    for pieces in ([sent], cut(sent, 50)):
        assert [answer.status for answer in exchange(port, *pieces)] == [200]


def test_head_is_answered_as_get_without_a_body(port: Port) -> None:
    for path in {"/healthz", port.get}:
        head, get = (f"{method} {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode() for method in ("HEAD", "GET"))
        with connection(port.address) as peer:
            peer.sendall(get)
            wanted = read_answer(peer)
            peer.sendall(head + LAST)
            received = read_all(peer)
        answer, last = split_answers(received, bodiless=[0])
        assert wanted is not None
        assert (answer.status, last.status) == (wanted.status, 200) == (200, 200)
        assert answer.headers.keys() == wanted.headers.keys()
        assert answer.headers["content-type"] == wanted.headers["content-type"]


def test_a_slash_behind_the_address_of_a_sender_changes_nothing(port: Port) -> None:
    if port.target not in ("/webhooks/heap", "/v1/events"):
        pytest.skip("no address that people copy into forms")
    assert [answer.status for answer in exchange(port, port.post(target=f"{port.target}/") + LAST)] == [200, 200]


def _secret(port: Port) -> str:
    """The header without which `port` refuses."""
    return next((name for name in port.headers if name in ("Authorization", "Heap-Hash")), "")


def _lasting(answer: Answer) -> tuple[int, bytes]:
    """What does not change from one answer to the next."""
    return answer.status, re.sub(rb"[0-9a-f-]{20,}|\d+", b"", answer.body)
