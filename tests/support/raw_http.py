"""HTTP by hand: what no client library would send, at the speed of one's choice."""

from __future__ import annotations

import contextlib
import json
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

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
    status, *fields = lines.decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (field.partition(":") for field in fields)}
    while len(body) < int(headers["content-length"]):
        chunk = _receive(peer)
        if not chunk:
            return None
        body += chunk
    return Answer(int(status.split()[1]), headers, body)


def is_closed(peer: socket.socket) -> bool:
    """Waits for the server to close. Raises `TimeoutError` where it doesn't."""
    while _receive(peer):
        pass
    return True


def _receive(peer: socket.socket) -> bytes:
    try:
        return peer.recv(65536)
    except ConnectionError:
        return b""
