"""Fakes of other people's servers: over real HTTP on loopback, and failing in every way that these may."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import parse_qsl

from tests.support.http_server import Handler, serving

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tests.support.bad_servers import Behaviour


class Request(NamedTuple):
    """`parameters` are decoded, names of `headers` lower case; `over` is set when the test is."""

    method: str
    path: str
    parameters: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes
    over: threading.Event


class Answer(NamedTuple):
    status: int = 200
    body: bytes = b"{}"
    headers: Mapping[str, str] = {}


class TakenOverError(Exception):
    """Whoever behaves like this has the connection of a request from now on."""

    def __init__(self, behave: Behaviour) -> None:
        super().__init__()
        self.behave = behave


# What goes wrong: an answer instead of the right one; None spares a request; `ConnectionAbortedError` hangs up on it,
# and `TakenOverError` leaves its connection to somebody else.
Fault = Callable[[Request], Answer | None]


@dataclass
class FaultyServer:
    """`fault` is asked first, for every request, and may be exchanged at any time. `requests` are all that came.

    `routes` maps a path to what answers it.
    """

    address: str = ""
    fault: Fault | None = None
    routes: dict[str, Callable[[Request], Answer]] = field(default_factory=dict)
    requests: list[Request] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)

    def answer(self, request: Request) -> Answer:
        self.requests.append(request)
        found = self.fault(request) if self.fault is not None else None
        if found is None:
            route = self.routes.get(request.path)
            found = Answer(404) if route is None else route(request)
        return found

    @contextlib.contextmanager
    def serving(self, port: int = 0) -> Iterator[None]:
        """Answer at `address` while the block runs."""
        server = self

        class Answering(Handler):
            def answer(self) -> None:
                path, _, query = self.path.partition("?")
                body = self.body()
                headers = {name.lower(): value for name, value in self.headers.items()}
                parameters = dict(parse_qsl(query, keep_blank_values=True))
                try:
                    answer = server.answer(Request(self.command, path, parameters, headers, body, server.over))
                except ConnectionAbortedError:
                    self.close_connection = True
                    self.connection.shutdown(socket.SHUT_RDWR)
                    return
                except TakenOverError as taken:
                    self.close_connection = True
                    with contextlib.suppress(OSError):
                        taken.behave(self.connection, server.over)
                    return
                self.send_response(answer.status)
                for name, value in {"Content-Type": "application/json", **answer.headers}.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(answer.body)))
                self.end_headers()
                self.wfile.write(answer.body)

        with serving(Answering, port=port) as self.address:
            try:
                yield
            finally:
                self.over.set()


def answers(status: int, headers: Mapping[str, str] | None = None) -> Callable[[Request], Answer]:
    return lambda _: Answer(status, b'{"error":"as the test wants"}', headers or {})


def hangs_up(_: Request) -> Answer | None:
    raise ConnectionAbortedError


def behaves(behave: Behaviour) -> Fault:
    """One of the bad servers, instead of an answer."""

    def fault(_: Request) -> Answer | None:
        raise TakenOverError(behave)

    return fault


def says_nothing(request: Request) -> Answer | None:
    request.over.wait()
    raise ConnectionAbortedError


def takes_and_hangs_up(server: FaultyServer) -> Fault:
    """The worst of all: what comes is taken, and nobody is told."""

    def fault(request: Request) -> Answer | None:
        server.routes[request.path](request)
        raise ConnectionAbortedError

    return fault


def slow(seconds: float) -> Fault:
    def fault(request: Request) -> Answer | None:
        request.over.wait(seconds)
        return None

    return fault


def times(count: int, fault: Fault) -> Fault:
    """`fault` for the next `count` requests, then none."""
    left = iter(range(count))
    return lambda request: fault(request) if next(left, None) is not None else None


def every_other(fault: Fault) -> Fault:
    """`fault` for half of the requests, in turn."""
    lock, number = threading.Lock(), 0

    def sometimes(request: Request) -> Answer | None:
        nonlocal number
        with lock:
            number += 1
            fails = number % 2
        return fault(request) if fails else None

    return sometimes
