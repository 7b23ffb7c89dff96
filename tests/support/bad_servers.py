"""Servers that behave badly, each a function that is given a connection after a request has arrived on it."""

from __future__ import annotations

import contextlib
import socket
import threading
import zlib
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
            while not over.is_set() and (not reads or _read_request(peer, over)):
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


def _read_request(peer: socket.socket, over: threading.Event) -> bool:
    """Whether there was one, before the other side or the test ended."""
    received = b""
    while b"\r\n\r\n" not in received:
        try:
            chunk = peer.recv(65536)
        except TimeoutError:
            if over.is_set():
                return False
            continue
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


def _endless(head: bytes, piece: bytes) -> Behaviour:
    """`head`, then `piece` again and again, as fast as it is read."""

    def send(peer: socket.socket, over: threading.Event) -> None:
        peer.settimeout(None)
        peer.sendall(head)
        while not over.is_set():
            peer.sendall(piece)

    return send


_OK = b"HTTP/1.1 200 OK\r\nConnection: close\r\n"
_STREAM = _OK + b"Content-Type: text/event-stream\r\n\r\n"


def _gzip_bomb(head: bytes) -> Behaviour:
    """2.1 GB in 2 MB, which nobody asked for."""

    def send(peer: socket.socket, _: threading.Event) -> None:
        packer = zlib.compressobj(9, wbits=-15)
        once = packer.compress(bytes(1 << 20)) + packer.flush(zlib.Z_FULL_FLUSH)  # may stand there again and again
        peer.settimeout(None)
        peer.sendall(head + b"Content-Encoding: gzip\r\n\r\n")
        peer.sendall(b"\x1f\x8b\x08\0\0\0\0\0\0\3" + once * 2000 + packer.flush())
        peer.shutdown(socket.SHUT_RDWR)

    return send


gzip_bomb = _gzip_bomb(_OK)
compressed_events = _gzip_bomb(_STREAM.removesuffix(b"\r\n"))
endless_redirect = _endless(_OK.replace(b"200 OK", b"302 Found") + b"Location: /elsewhere\r\n\r\n", b"x" * 65536)
endless_head = _endless(_OK + b"X-Long: ", b"x" * 65536)
endless_lines = _endless(_STREAM, b"data: x\n" * 8192)
endless_line = _endless(_STREAM, b"x" * 65536)
endless = _endless(
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n",
    b"10000\r\n" + b"x" * 65536 + b"\r\n",
)
endless_hints = _endless(b"", b"HTTP/1.1 103 Early Hints\r\n\r\n" * 2000)
tiny_chunks = _endless(_OK + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n" * 10_000)


def blanks(peer: socket.socket, _: threading.Event) -> None:
    """A header that a pattern with backtracking looks at for 20 seconds before it refuses it."""
    peer.sendall(_OK + b"X-Blank:" + b" " * 64_000 + b"\0\r\n\r\n")


def blanks_of_a_chunk(peer: socket.socket, _: threading.Event) -> None:
    """The same where the length of a chunk stands."""
    peer.sendall(_OK + b"Transfer-Encoding: chunked\r\n\r\n" + b"5;" + b" " * 50_000 + b"\n \r\nhello\r\n")


def many_headers(peer: socket.socket, _: threading.Event) -> None:
    peer.sendall(_OK + b"a: b\r\n" * 40_000 + b"\r\n{}")


def page(peer: socket.socket, _: threading.Event) -> None:
    """Somebody else's."""
    peer.sendall(_OK + b"Content-Type: text/html\r\nContent-Length: 6\r\n\r\n<html>")


def dripping(text: bytes, every: float) -> Behaviour:
    """`text` byte by byte, then its last byte for ever."""

    def drip(peer: socket.socket, over: threading.Event) -> None:
        peer.settimeout(None)
        at = 0
        while not over.wait(every):
            peer.sendall(text[at : at + 1] or b"x")
            at += 1

    return drip
