"""Servers that behave badly, each a function that is given a connection after a request has arrived on it."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterator

Behaviour = Callable[[socket.socket, threading.Event], object]  # the event: the test is over

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"


@contextlib.contextmanager
def bad_server(behave: Behaviour, *, reads: bool = True, tls: ssl.SSLContext | None = None) -> Iterator[str]:
    """Its address. Without `reads`, `behave` gets the connection before anything was read from it.

    With `tls` it behaves badly only after the handshake.
    """
    over = threading.Event()
    threads: list[threading.Thread] = []

    def serve(connected: socket.socket) -> None:
        with contextlib.suppress(OSError), tls.wrap_socket(connected, server_side=True) if tls else connected as peer:
            peer.settimeout(0.05 if reads else None)
            while not over.is_set() and (not reads or _read_request(peer)):
                behave(peer, over)

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                peer, _ = listener.accept()
                peer.settimeout(5)
                threads.append(threading.Thread(target=serve, args=(peer,)))
                threads[-1].start()

    with socket.create_server(("127.0.0.1", 0), backlog=128) as listener:
        threads.append(threading.Thread(target=accept))
        threads[0].start()
        try:
            yield f"{'https' if tls else 'http'}://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            over.set()
            listener.shutdown(socket.SHUT_RDWR)
            for thread in threads:
                thread.join()


def _read_request(peer: socket.socket) -> bool:
    """Whether there was one, before the other side or the test ended."""
    received = b""
    while b"\r\n\r\n" not in received:
        try:
            chunk = peer.recv(65536)
        except TimeoutError:
            return False
        if not chunk:
            return False
        received += chunk
    return True


def silent(_: socket.socket, over: threading.Event) -> None:
    over.wait()


def closes(peer: socket.socket, _: threading.Event) -> None:
    peer.shutdown(socket.SHUT_RDWR)


def rubbish(peer: socket.socket, _: threading.Event) -> None:
    peer.sendall(b"\x00\xff rubbish \r\n\r\n" * 100)
    peer.shutdown(socket.SHUT_RDWR)


def half_an_answer(peer: socket.socket, over: threading.Event) -> None:
    peer.sendall(HEAD % 1000 + b"tr")
    over.wait()


def endless(peer: socket.socket, over: threading.Event) -> None:
    """An answer without an end, as fast as it is read."""
    peer.settimeout(None)
    peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n")
    while not over.is_set():
        peer.sendall(b"10000\r\n" + b"x" * 65536 + b"\r\n")


def dripping(text: bytes, every: float) -> Behaviour:
    """`text` byte by byte, then its last byte for ever."""

    def drip(peer: socket.socket, over: threading.Event) -> None:
        peer.settimeout(None)
        at = 0
        while not over.wait(every):
            peer.sendall(text[at : at + 1] or b"x")
            at += 1

    return drip
