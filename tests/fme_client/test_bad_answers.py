"""Whatever a server answers to a client, it takes neither more time nor more memory than there is for it."""

from __future__ import annotations

import time
import tracemalloc
from typing import TYPE_CHECKING

import pytest

from fme_client.errors import NetworkError
from fme_client.transport import SETTINGS_LIMIT, Request, Transport
from tests.support import bad_servers
from tests.support.bad_servers import HEAD, bad_server, dripping
from tests.support.faulty_server import Answer, FaultyServer

if TYPE_CHECKING:
    from tests.support.bad_servers import Behaviour

MIB = 1 << 20


def asked(address: str, request: Request, *, seconds: float = 20.0) -> str:
    """Why there was no answer."""
    transport = Transport(address, proxies=False)
    try:
        with pytest.raises(NetworkError) as caught:
            transport.fetch(request, time.monotonic() + seconds)
    finally:
        transport.close()
    return f"{caught.value.kind}: {caught.value}"


SETTINGS = Request("/server-side/v2-settings", {"a": "1"}, limit=SETTINGS_LIMIT)
EVENT = Request("/events/t", {"a": "1"}, b"{}")
BAD: list[tuple[Request, Behaviour, str]] = [
    (SETTINGS, bad_servers.gzip_bomb, "bad_answer: the server's answer is compressed, which was not asked for"),
    (SETTINGS, bad_servers.endless, "bad_answer: the server's answer has more than 16,777,216 bytes"),
    (SETTINGS, bad_servers.endless_head, "cut_off: the connection ended before the answer"),
    (EVENT, bad_servers.gzip_bomb, "bad_answer: the server's answer is compressed, which was not asked for"),
    (EVENT, bad_servers.endless, "bad_answer: the server's answer has more than 262,144 bytes"),
    (EVENT, bad_servers.endless_line, "bad_answer: the server's answer has more than 262,144 bytes"),
    (EVENT, bad_servers.many_headers, "cut_off: the connection ended before the answer"),
]


@pytest.mark.parametrize(("request_", "behave", "said"), BAD)
def test_a_bad_answer_is_given_up_and_takes_little_memory(request_: Request, behave: Behaviour, said: str) -> None:
    tracemalloc.start()
    try:
        with bad_server(behave) as address:
            assert asked(address, request_) == said
        assert tracemalloc.get_traced_memory()[1] < 80 * MIB
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("text", [HEAD % 1000, b"HTTP/1.1 200 OK\r\nX-Slow: ", b"HTTP/1.1 100 Continue\r\n\r\n" * 1000])
def test_a_dripping_answer_is_given_up_in_time(text: bytes) -> None:
    with bad_server(dripping(text, 0.01)) as address:
        assert asked(address, EVENT, seconds=0.5) == "deadline: no answer came in time"


@pytest.mark.parametrize(("wait", "seconds"), [("7", 7), ("\xb2", 0), ("soon", 0), ("-1", 0)])
def test_compression_is_not_asked_for_and_a_wish_is_a_number(wait: str, seconds: float) -> None:
    server = FaultyServer()
    server.fault = lambda _: Answer(503, b"{}", {"Retry-After": wait, "Content-Encoding": "identity"})
    with server.serving():
        transport = Transport(server.address, proxies=False)
        assert transport.fetch(EVENT, time.monotonic() + 20) == (503, b"{}", seconds)
        transport.close()
    [request] = server.requests
    assert request.headers["accept-encoding"] == "identity"
