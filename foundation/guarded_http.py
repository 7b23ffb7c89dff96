"""An HTTP/1.1 server side for strangers: a request ends where its framing says, and nobody can wear the server out.

uvicorn bounds neither slow or endless headers nor idling or connections, takes a request that asks for another
protocol to end with its head (its body would be read as the next request), and counts trailers as headers. This class
mends that in its httptools protocol and leaves the rest alone; uvicorn is pinned, since attributes are used that it
does not document. What the protocol answers itself has the shape of our errors.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from foundation.web import RETRY_AFTER_SECONDS

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

_LARGEST_HEAD = 64 * 1024  # bytes that are no body, between two pieces of body: headers, trailers, chunk extensions
_MOST_PIPELINED = 16
_LINGER_SECONDS = 5.0
_DRAIN_SECONDS = 0.1  # in which what a client or a proxy has sent already is read, before its connection is closed
_MOST_TOLD = 2  # times as many connections as are served: beyond, nobody is told why they are closed


@dataclass(frozen=True, slots=True)
class Guard:
    """`connections`: how many are served at a time, others get 503. `head_seconds`: how long headers may take.

    `count` is told the reason of each refusal.
    """

    connections: int
    head_seconds: float
    count: Callable[[str], None]


def guarded_protocol(guard: Guard) -> type[HttpToolsProtocol]:
    """The protocol class for uvicorn's `http` option."""
    return type("Guarded", (GuardedProtocol,), {"guard": guard})


class GuardedProtocol(HttpToolsProtocol):
    guard: Guard

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._own_app = self.app
        self._timer: asyncio.TimerHandle | None = None
        self._in_message = False  # from the first byte of a request to the last of its body
        self._in_head = True  # from a connection's start, or a request's first byte, to the end of its headers
        self._head_bytes = 0
        self._answering: RequestResponseCycle | None = None
        self._is_asking_to_upgrade = False
        self._is_draining = False  # the next answer is the connection's last one
        self._is_over = False  # what still comes is not read: a last answer is on its way

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        if len(self.connections) > _MOST_TOLD * self.guard.connections:
            self.guard.count("too_many_connections")
            transport.abort()
        else:
            self._wait(self.guard.head_seconds)

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        self.pipeline.clear()
        if self._answering is not None and not self._answering.response_complete:
            # uvicorn tells the newest request only; where others wait behind one, that is not the one being answered.
            self._answering.disconnected = True
            self._answering.message_event.set()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._is_over:
            return
        if not self._in_message and self._timer is None:
            self._in_head = True
            self._wait(self.guard.head_seconds)
        self._head_bytes += len(data)
        self._unset_keepalive_if_required()
        self._parse(data)
        if self._head_bytes > _LARGEST_HEAD and not self._is_over:
            self._refuse(431, f"headers beyond {_LARGEST_HEAD} bytes", "head_too_large")

    def _parse(self, data: bytes) -> None:
        while data:
            try:
                self.parser.feed_data(data)
            except httptools.HttpParserUpgrade as stopped:
                # The parser takes such a request to end with its head. Another one reads it without the header that
                # asks: the body is framed as ever, and the application never knows.
                [end_of_head] = stopped.args
                data = self._head_without_upgrade() + data[end_of_head:]
                self.parser = httptools.HttpRequestParser(self)
                self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn's own
            except httptools.HttpParserError:
                self._refuse(400, "this is no valid HTTP request", "bad_http")
                return
            else:
                return

    def _head_without_upgrade(self) -> bytes:
        """The request's head as it was parsed."""
        first = f"{self.scope['method']} ".encode() + self.url + f" HTTP/{self.scope['http_version']}\r\n".encode()
        lines = [b"%b: %b\r\n" % header for header in self.headers if header[0] != b"upgrade"]
        return b"".join([first, *lines, b"\r\n"])

    def on_message_begin(self) -> None:
        self._in_message = self._in_head = True
        self._is_asking_to_upgrade = False
        if self._timer is None:
            self._wait(self.guard.head_seconds)
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._in_head:  # else it is a trailer: nobody here knows any, and a proxy in front has not looked at it
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        if self.parser.get_method() == b"CONNECT":
            raise ValueError("nothing is connected through here")  # ends the parse: answered 400
        self._is_asking_to_upgrade = self.parser.should_upgrade()
        if self._is_asking_to_upgrade:
            self.scope["method"] = self.parser.get_method().decode()
            self.scope["http_version"] = self.parser.get_http_version()
            return
        self._stop_waiting()
        if len(self.pipeline) >= _MOST_PIPELINED:
            raise ValueError("too many pipelined requests")  # ends the parse: answered 400
        self.app = self._own_app
        if len(self.connections) > self.guard.connections:
            self.guard.count("too_many_connections")
            self.app = _too_many_connections
        super().on_headers_complete()
        self._in_head = False
        if self._is_draining or self.scope["http_version"] != "1.1":
            self.cycle.keep_alive = False

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._answering = cycle
        super()._start_asgi_task(cycle, app)

    def on_body(self, body: bytes) -> None:
        self._head_bytes = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        if self._is_asking_to_upgrade:
            return
        self._in_message = False
        self._head_bytes = 0
        self._stop_waiting()
        super().on_message_complete()
        if not self.parser.should_keep_alive():
            # A trailer may say so, too: the parser reads nothing behind it.
            self._is_over = True
            self.cycle.keep_alive = False
            if self.cycle.response_complete:
                self.transport.close()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        newest_is_answered = self.cycle is not None and self.cycle.response_complete
        if newest_is_answered and self._in_message and not self._in_head and self._timer is None:
            # Answered before the body was there, most likely refused: a sender that can't stop half-way sees the
            # answer only if somebody takes the rest. It is thrown away, for a while.
            self._wait(_LINGER_SECONDS)

    def shutdown(self) -> None:
        """Answer what has come, also what was not read yet, then close.

        A proxy takes a connection that is closed over a request for a server that is gone.
        """
        self._is_draining = True
        if self.cycle is None or self.cycle.response_complete:
            self.loop.call_later(_DRAIN_SECONDS, self._close_if_unused)
        else:
            super().shutdown()

    def _close_if_unused(self) -> None:
        if not self.transport.is_closing() and (self.cycle is None or self.cycle.response_complete):
            self.transport.close()

    def _wait(self, seconds: float) -> None:
        self._timer = self.loop.call_later(seconds, self._waited_long_enough)

    def _stop_waiting(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _waited_long_enough(self) -> None:
        self._timer = None
        if self.transport.is_closing():
            return
        if self._in_head and self.cycle is not None and not self.cycle.response_complete:
            self._wait(self.guard.head_seconds)  # the request before is being answered: it isn't read on meanwhile
        elif self._in_head and self._in_message:
            self._refuse(408, "the headers took too long", "too_slow")
        else:
            self.transport.close()

    def _refuse(self, status: int, error: str, reason: str) -> None:
        """Answer and close.

        An answer that is under way is cut off instead: two would be taken for each other. Whole requests before this
        one get their answers, and the connection ends with the last of these: a further answer would be taken for
        that of a request which is on its way.
        """
        self.guard.count(reason)
        self._is_over = True
        current = self._answering
        if current is not None and not current.response_complete and not current.more_body:
            self._stop_waiting()
            if self.pipeline and self.pipeline[0][0].more_body:
                self.pipeline.popleft()  # the one that is refused
            last = self.pipeline[0][0] if self.pipeline else current
            last.keep_alive = False
            return
        is_answered = self._in_message and not self._in_head and self.cycle.response_complete  # before its body came
        is_begun = current is not None and current.response_started and not current.response_complete
        if not is_answered and not is_begun:
            self.transport.write(_answer(status, error, reason))
        self.transport.close()


def _answer(status: int, error: str, reason: str) -> bytes:
    body = json.dumps({"error": error, "reason": reason}).encode()
    head = f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n"
    head += f"content-type: application/json\r\ncontent-length: {len(body)}\r\n"
    head += "cache-control: no-store\r\nconnection: close\r\n\r\n"
    return head.encode() + body


async def _too_many_connections(scope: Any, receive: Any, send: Any) -> None:
    del scope, receive
    body = b'{"error":"too many connections; come back later","reason":"too_many_connections"}'
    headers = [
        (b"content-type", b"application/json"),
        (b"cache-control", b"no-store"),
        (b"content-length", str(len(body)).encode()),
        (b"retry-after", str(RETRY_AFTER_SECONDS).encode()),
        (b"connection", b"close"),
    ]
    await send({"type": "http.response.start", "status": 503, "headers": headers})
    await send({"type": "http.response.body", "body": body})
