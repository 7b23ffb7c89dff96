"""HTTP by hand: what no client library would send, at the speed of one's choice."""

from __future__ import annotations

import contextlib
import functools
import json
import re
import socket
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

_DATE = re.compile(rb"\r\ndate: [^\r\n]*")


@dataclass(frozen=True)
class Answer:
    """`raw`: every byte of it, as it came."""

    status: int
    headers: dict[str, str]
    body: bytes
    raw: bytes = b""

    @property
    def reason(self) -> Any:
        return json.loads(self.body)["reason"]


@contextlib.contextmanager
def connection(address: str, *, timeout: float = 20.0) -> Iterator[socket.socket]:
    """A connection to the server at `address` (`http://host:port`)."""
    host, _, port = address.removeprefix("http://").rpartition(":")
    with socket.create_connection((host, int(port)), timeout=timeout) as peer:
        yield peer


def head(path: str = "/webhooks/heap", *, method: str = "POST", **headers: str) -> bytes:
    """A request's head; underscores in names of headers are dashes."""
    lines = [f"{method} {path} HTTP/1.1", "Host: x"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode()


def read_answer(peer: socket.socket) -> Answer | None:
    """The next answer with a Content-Length; None where the server closed instead. Raises `TimeoutError`."""
    received = b""
    while b"\r\n\r\n" not in received:
        chunk = _receive(peer)
        if not chunk:
            return None
        received += chunk
    lines, _, body = received.partition(b"\r\n\r\n")
    status, headers = read_head(lines)
    while len(body) < int(headers["content-length"]):
        chunk = _receive(peer)
        if not chunk:
            return None
        body += chunk
    return Answer(status, headers, body, lines + b"\r\n\r\n" + body)


def read_all(peer: socket.socket) -> bytes:
    """Everything that the server sends until it closes. Raises `TimeoutError` where it doesn't."""
    return b"".join(iter(lambda: _receive(peer), b""))


def split_answers(received: bytes, *, bodiless: Collection[int] = ()) -> list[Answer]:
    """The answers that `received` consists of; `bodiless` are the numbers of those to HEAD, counted from 0.

    Raises `ValueError` where it ends within an answer.
    """
    answers: list[Answer] = []
    at = 0
    while at < len(received):
        end = received.find(b"\r\n\r\n", at) + 4
        if end < 4:
            raise ValueError(f"half a head: {received[at:]!r}")
        status, headers = read_head(received[at : end - 4])
        has_body = status >= 200 and len(answers) not in bodiless
        after = end + (int(headers["content-length"]) if has_body else 0)
        if after > len(received):
            raise ValueError(f"half a body: {received[at:]!r}")
        answers.append(Answer(status, headers, received[end:after], received[at:after]))
        at = after
    return answers


def without_date(raw: bytes) -> bytes:
    """An answer's bytes but for the one header that the clock writes."""
    return _DATE.sub(b"", raw, count=1)


def hang_up(peer: socket.socket) -> None:
    """Close at once, as a client does that was killed: whatever is unread or unsent is gone, and the server told so."""
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    peer.close()


@contextlib.contextmanager
def bystander(address: str) -> Iterator[Callable[[], None]]:
    """Another client. The function returns once the server has read all that had reached it before, from anybody.

    It asks and waits for the answer: a server with one event loop reads its connections in the order in which
    something came.
    """
    with connection(address) as peer:

        def turn() -> None:
            peer.sendall(b"GET /healthz HTTP/1.1\r\nHost: bystander\r\n\r\n")
            answer = read_answer(peer)
            assert answer is not None
            assert answer.status == 200

        yield turn


def is_closed(peer: socket.socket) -> bool:
    """Waits for the server to close. Raises `TimeoutError` where it doesn't."""
    while _receive(peer):
        pass
    return True


@functools.lru_cache  # within a second equal answers have equal heads
def read_head(lines: bytes) -> tuple[int, dict[str, str]]:
    status, *fields = lines.decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (field.partition(":") for field in fields)}
    return int(status.split()[1]), headers


def _receive(peer: socket.socket) -> bytes:
    try:
        return peer.recv(65536)
    except ConnectionError:
        return b""
