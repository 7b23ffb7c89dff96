"""A client process that asks checks at a steady rate and writes down every answer. `tests.support.load` starts it.

Open loop: a question goes out when its time has come, however long others wait, on a connection that is free or a new
one. A line of JSON on stdout for each answer: number of the question, when it was sent and answered (monotonic clock),
status, body, `X-Membership`, and how late this process itself was meanwhile (seconds). The job is the first
line of standard input; at the input's end it stops, once what it asked is answered.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import sys
import time
from collections import deque
from dataclasses import dataclass, field
from typing import Any

import uvloop

_BEAT_SECONDS = 0.005
_NOTABLE_SECONDS = 0.002  # of being late
_MOST_CONNECTIONS = 2000
_GIVE_UP_SECONDS = 30.0
_LONGEST_JOB = 16 * 1024 * 1024  # bytes


@dataclass
class Client:
    """`targets` are asked in turn, `rate` a second in all."""

    host: str
    port: int
    targets: list[str]
    rate: float
    idle: list[Connection] = field(default_factory=list)
    open: set[Connection] = field(default_factory=set)
    connecting: set[asyncio.Task[None]] = field(default_factory=set)
    late: deque[tuple[float, float]] = field(default_factory=lambda: deque(maxlen=20_000))  # when, by how much

    async def run(self, input_: asyncio.StreamReader) -> None:
        loop = asyncio.get_running_loop()
        ended = loop.create_task(input_.read())
        beating = loop.create_task(self._beat())
        requests = [
            f"GET {target} HTTP/1.1\r\nHost: {self.host}:{self.port}\r\n\r\n".encode() for target in self.targets
        ]
        begun, number = time.monotonic(), 0
        while not ended.done():
            while begun + number / self.rate <= time.monotonic() and not ended.done():
                self._ask(number % len(requests), requests[number % len(requests)])
                number += 1
            await asyncio.wait({ended}, timeout=max(0.0, begun + number / self.rate - time.monotonic()))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_GIVE_UP_SECONDS):
                await asyncio.gather(*self.connecting)
                await asyncio.gather(*(connection.settled.wait() for connection in self.open))
        beating.cancel()
        sys.stdout.flush()

    def _ask(self, number: int, request: bytes) -> None:
        if self.idle:
            self.idle.pop().ask(number, request)
        elif len(self.open) < _MOST_CONNECTIONS:
            task = asyncio.create_task(self._ask_anew(number, request))
            self.connecting.add(task)
            task.add_done_callback(self.connecting.discard)
        else:
            _write(number, time.monotonic(), None, None, None, None, 0.0)

    async def _ask_anew(self, number: int, request: bytes) -> None:
        sent = time.monotonic()
        try:
            _, connection = await asyncio.get_running_loop().create_connection(
                lambda: Connection(self), self.host, self.port
            )
        except OSError:
            _write(number, sent, None, None, None, None, 0.0)
        else:
            connection.ask(number, request)

    async def _beat(self) -> None:
        """Notice when this process gets no processor time: what it measures then says nothing of the gateway."""
        while True:
            due = time.monotonic() + _BEAT_SECONDS
            await asyncio.sleep(_BEAT_SECONDS)
            if (late := time.monotonic() - due) > _NOTABLE_SECONDS:
                self.late.append((due + late, late))

    def late_since(self, when: float) -> float:
        return sum(late for at, late in self.late if at >= when)


class Connection(asyncio.Protocol):
    """One question at a time."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._received = b""
        self._number = -1
        self._sent = 0.0
        self.settled = asyncio.Event()
        self.settled.set()

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self._client.open.add(self)

    def ask(self, number: int, request: bytes) -> None:
        self._number, self._received = number, b""
        self.settled.clear()
        self._sent = time.monotonic()
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        now = time.monotonic()
        self._received += data
        head, found, body = self._received.partition(b"\r\n\r\n")
        length = int(_header(head, b"content-length") or 0)
        if found and len(body) >= length:
            self._tell(now, head[9:12].decode("latin-1"), body.decode("latin-1"), _header(head, b"x-membership"))
            self._client.idle.append(self)

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self._client.open.discard(self)
        if self in self._client.idle:
            self._client.idle.remove(self)
        if not self.settled.is_set():
            self._tell(time.monotonic(), None, None, None)

    def _tell(self, now: float, status: str | None, body: str | None, state: str | None) -> None:
        slow = now - self._sent > 10 * _BEAT_SECONDS
        _write(self._number, self._sent, now, status, body, state, self._client.late_since(self._sent) if slow else 0.0)
        self.settled.set()


def _header(head: bytes, name: bytes) -> str | None:
    _, found, rest = head.partition(b"\r\n" + name + b": ")
    return rest.partition(b"\r\n")[0].decode("latin-1") if found else None


def _write(number: int, sent: float, *more: float | str | None) -> None:
    sys.stdout.write(json.dumps((number, sent, *more)) + "\n")


async def _main() -> None:
    reader = asyncio.StreamReader(limit=_LONGEST_JOB)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    job = json.loads(await reader.readline())
    await Client(job["host"], job["port"], job["targets"], job["rate"]).run(reader)


if __name__ == "__main__":
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr] # it is no other kind of stream
    gc.disable()
    uvloop.run(_main())
