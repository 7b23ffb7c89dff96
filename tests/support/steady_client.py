"""Checks asked at a steady rate.

Open loop: a question goes out when its time has come, however long others wait, on a connection that is free or a new
one.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Sequence

TICK_SECONDS = 0.001
_GIVE_UP_SECONDS = 30.0


class SteadyClient(ABC):
    """Asks for `targets` in turn at `address` (`http://host:port`), `rate` a second in all.

    What becomes of a question is told by its place in `targets` and when it was sent (monotonic clock).
    """

    def __init__(self, address: str, targets: Sequence[str], rate: float, *, most_connections: int) -> None:
        parts = urlsplit(address)
        self._place = (str(parts.hostname), int(parts.port or 80))
        self.idle: list[_Connection] = []
        self.connections = 0
        self._waiting = 0  # questions that are not answered yet
        self._all_settled = asyncio.Event()
        self._all_settled.set()
        self._requests = [f"GET {target} HTTP/1.1\r\nHost: {parts.netloc}\r\n\r\n".encode() for target in targets]
        self._rate = rate
        self._most_connections = most_connections
        self._connecting: set[asyncio.Task[None]] = set()

    @abstractmethod
    def answered(self, number: int, sent: float, answer: bytes) -> None: ...

    @abstractmethod
    def broken(self, number: int, sent: float) -> None:
        """There was no connection, or it ended before the answer."""

    @abstractmethod
    def behind(self, number: int) -> None:
        """It was not asked: all connections wait for answers."""

    @abstractmethod
    def ticked(self, seconds: float) -> None:
        """The client looks at the clock; last time was so long ago. Much above a tick: it got no processor time."""

    async def run(self, ended: asyncio.Task[bytes]) -> None:
        """Until `ended` is done, and what was asked is answered."""
        asked, begun = 0, time.monotonic()
        last = begun
        while not ended.done():
            now = time.monotonic()
            self.ticked(now - last)
            last = now
            for _ in range(int((now - begun) * self._rate) - asked):
                self._ask(asked % len(self._requests))
                asked += 1
            await asyncio.sleep(TICK_SECONDS)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._all_settled.wait(), _GIVE_UP_SECONDS)

    def settle(self) -> None:
        """One of the questions came to its end."""
        self._waiting -= 1
        if not self._waiting:
            self._all_settled.set()

    def _ask(self, number: int) -> None:
        if not self.idle and self.connections >= self._most_connections:
            self.behind(number)
            return
        self._waiting += 1
        self._all_settled.clear()
        if self.idle:
            self.idle.pop().ask(number, self._requests[number])
        else:
            self.connections += 1
            connecting = asyncio.create_task(self._ask_anew(number))
            self._connecting.add(connecting)
            connecting.add_done_callback(self._connecting.discard)

    async def _ask_anew(self, number: int) -> None:
        sent = time.monotonic()
        try:
            _, connection = await asyncio.get_running_loop().create_connection(lambda: _Connection(self), *self._place)
        except OSError:
            self.connections -= 1
            self.settle()
            self.broken(number, sent)
        else:
            connection.ask(number, self._requests[number])


class _Connection(asyncio.Protocol):
    """One question at a time."""

    def __init__(self, client: SteadyClient) -> None:
        self._client = client
        self._received = b""
        self._number = -1
        self._sent = 0.0

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def ask(self, number: int, request: bytes) -> None:
        self._number = number
        self._sent = time.monotonic()
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, found, body = self._received.partition(b"\r\n\r\n")
        if not found or len(body) < int(header(head, b"content-length") or 0):
            return
        answer, self._received = self._received, b""
        self._client.settle()
        self._client.idle.append(self)
        self._client.answered(self._number, self._sent, answer)

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self._client.connections -= 1
        if self in self._client.idle:  # closed since it was not needed for a while
            self._client.idle.remove(self)
        else:
            self._client.settle()
            self._client.broken(self._number, self._sent)


def header(head: bytes, name: bytes) -> str:
    """Of an answer's head; empty where it is not there."""
    return head.partition(b"\r\n" + name + b": ")[2].partition(b"\r\n")[0].decode("latin-1")
