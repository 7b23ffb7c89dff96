"""A small VWO over real HTTP on loopback, which fails in every way that VWO may.

It takes events. Other parts of VWO are added by whoever needs them: `routes` maps a path to what answers it.
"""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import parse_qsl

from tests.support.http_server import Handler, serving
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

BATCH = "/server-side/batch-events-v2"


class Request(NamedTuple):
    """`parameters` are decoded, names of `headers` lower case; `over` is set when the test is."""

    method: str
    path: str
    parameters: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes
    over: threading.Event

    @property
    def events(self) -> list[dict[str, Any]]:
        """Those of a batch."""
        found: list[dict[str, Any]] = json.loads(self.body)["ev"]
        return found


class Answer(NamedTuple):
    status: int = 200
    body: bytes = b"{}"
    headers: Mapping[str, str] = {}


# What goes wrong: an answer instead of the right one; None spares a request; `ConnectionAbortedError` hangs up on it.
Fault = Callable[[Request], Answer | None]


@dataclass
class FakeVwo:
    """`fault` is asked first, for every request, and may be exchanged at any time. `requests` are all that came."""

    address: str = ""
    fault: Fault | None = None
    routes: dict[str, Callable[[Request], Answer]] = field(default_factory=dict)
    requests: list[Request] = field(default_factory=list)
    taken: list[tuple[Request, dict[str, Any]]] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self.routes[BATCH] = self._take_events

    @property
    def messages(self) -> list[str]:
        """`msgId` of each event taken, as often as it came, in the order of their coming."""
        return [str(event["d"].get("msgId")) for _, event in list(self.taken)]

    def wait_for_events(self, count: int, *, seconds: float = 20.0) -> list[dict[str, Any]]:
        """The events taken, once there are so many."""
        until(lambda: len(self.taken) >= count, seconds=seconds, what=f"{count} events ({len(self.taken)} came)")
        return [event for _, event in list(self.taken)]

    def answer(self, request: Request) -> Answer:
        self.requests.append(request)
        found = self.fault(request) if self.fault is not None else None
        if found is None:
            route = self.routes.get(request.path)
            found = Answer(404) if route is None else route(request)
        return found

    def _take_events(self, request: Request) -> Answer:
        with self._lock:
            self.taken += [(request, event) for event in request.events]
        return Answer()


def answers(status: int, headers: Mapping[str, str] | None = None) -> Callable[[Request], Answer]:
    return lambda _: Answer(status, b'{"error":"as the test wants"}', headers or {})


def hangs_up(_: Request) -> Answer | None:
    raise ConnectionAbortedError


def says_nothing(request: Request) -> Answer | None:
    request.over.wait()
    raise ConnectionAbortedError


def takes_and_hangs_up(vwo: FakeVwo) -> Fault:
    """The worst of all: events are taken, and nobody is told."""

    def fault(request: Request) -> Answer | None:
        vwo.routes[request.path](request)
        raise ConnectionAbortedError

    return fault


def slow(seconds: float) -> Fault:
    def fault(request: Request) -> Answer | None:
        request.over.wait(seconds)
        return None

    return fault


def refuses(is_bad: Callable[[dict[str, Any]], bool], status: int = 400) -> Fault:
    """A batch with any event that `is_bad`."""
    return lambda request: Answer(status) if any(is_bad(event) for event in request.events) else None


def times(count: int, fault: Fault) -> Fault:
    """`fault` for the next `count` requests, then none."""
    left = iter(range(count))
    return lambda request: fault(request) if next(left, None) is not None else None


@contextlib.contextmanager
def fake_vwo(port: int = 0) -> Iterator[FakeVwo]:
    vwo = FakeVwo()

    class Answering(Handler):
        def answer(self) -> None:
            path, _, query = self.path.partition("?")
            body = self.body()
            headers = {name.lower(): value for name, value in self.headers.items()}
            parameters = dict(parse_qsl(query, keep_blank_values=True))
            try:
                answer = vwo.answer(Request(self.command, path, parameters, headers, body, vwo.over))
            except ConnectionAbortedError:
                self.close_connection = True
                self.connection.shutdown(socket.SHUT_RDWR)
                return
            self.send_response(answer.status)
            for name, value in {"Content-Type": "application/json", **answer.headers}.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(answer.body)))
            self.end_headers()
            self.wfile.write(answer.body)

    with serving(Answering, port=port) as vwo.address:
        try:
            yield vwo
        finally:
            vwo.over.set()
