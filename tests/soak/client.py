"""A client process that asks checks at a high steady rate and tells every second how they were answered.

Open loop, as `tests.support.load_client`, but it keeps no answers: only how many of which kind, and how long they took.
Each question is known to be true or false. The job is the first line of standard input, at whose end it stops; a line
of JSON on stdout a second.
"""

from __future__ import annotations

import asyncio
import gc
import json
import sys
import time
from collections import Counter
from typing import Any

import uvloop

_TICK_SECONDS = 0.001
_MOST_CONNECTIONS = 256
_KEPT_HEADS = 1000
_LONGEST_JOB = 16 * 1024 * 1024  # bytes


class Client:
    """`questions`: targets, and whether they are true."""

    def __init__(self, host: str, port: int, questions: list[tuple[str, bool]], rate: float) -> None:
        self.host, self.port, self.rate = host, port, rate
        self.requests = [
            (f"GET {target} HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n".encode(), b"true" if true else b"false")
            for target, true in questions
        ]
        self.idle: list[Connection] = []
        self.open = 0
        self.connecting: set[asyncio.Task[None]] = set()
        self.states: Counter[str] = Counter()
        self.wrong = self.broken = self.behind = 0
        self.pause = 0.0  # the longest in which this process itself did nothing
        self.took: list[float] = []
        self.known: dict[bytes, tuple[str, bytes]] = {}  # answers of the same second are the same bytes

    async def run(self, ended: asyncio.Task[bytes]) -> None:
        asked, told, begun, last = 0, 1.0, time.monotonic(), 0.0
        while not ended.done():
            now = time.monotonic() - begun
            self.pause, last = max(self.pause, now - last), now
            for _ in range(int(now * self.rate) - asked):
                asked += 1
                self._ask(*self.requests[asked % len(self.requests)])
            if now >= told:
                self._tell()
                told += 1
            await asyncio.sleep(_TICK_SECONDS)

    def _ask(self, request: bytes, expected: bytes) -> None:
        if self.idle:
            self.idle.pop().ask(request, expected)
        elif self.open < _MOST_CONNECTIONS:
            self.open += 1
            connecting = asyncio.create_task(self._ask_anew(request, expected))
            self.connecting.add(connecting)
            connecting.add_done_callback(self.connecting.discard)
        else:
            self.behind += 1

    async def _ask_anew(self, request: bytes, expected: bytes) -> None:
        loop = asyncio.get_running_loop()
        try:
            _, connection = await loop.create_connection(lambda: Connection(self), self.host, self.port)
        except OSError:
            self.open -= 1
            self.broken += 1
        else:
            connection.ask(request, expected)

    def answered(self, answer: bytes, expected: bytes, seconds: float) -> None:
        found = self.known.get(answer)
        if found is None:
            if len(self.known) >= _KEPT_HEADS:
                self.known.clear()
            found = self.known[answer] = _read(answer)
        state, body = found
        self.states[state] += 1
        self.wrong += body != expected
        self.took.append(seconds)

    def _tell(self) -> None:
        took = sorted(self.took) or [0.0]
        report: dict[str, Any] = {
            "states": self.states,
            "wrong": self.wrong,
            "broken": self.broken,
            "behind": self.behind,
            "p50": took[len(took) // 2],
            "p99": took[len(took) * 99 // 100],
            "longest": took[-1],
            "pause": self.pause,
        }
        sys.stdout.write(json.dumps(report) + "\n")
        self.states, self.took = Counter(), []
        self.wrong = self.broken = self.behind = 0
        self.pause = 0.0


class Connection(asyncio.Protocol):
    """One question at a time."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._received = b""
        self._expected = b""
        self._sent = 0.0

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def ask(self, request: bytes, expected: bytes) -> None:
        self._expected = expected
        self._sent = time.monotonic()
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._received += data
        if not self._received.endswith((b"\r\n\r\ntrue", b"\r\n\r\nfalse")):
            return
        self._client.answered(self._received, self._expected, time.monotonic() - self._sent)
        self._received = b""
        self._client.idle.append(self)

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self._client.open -= 1
        if self in self._client.idle:  # closed since it was not needed for a while
            self._client.idle.remove(self)
        else:
            self._client.broken += 1


def _read(answer: bytes) -> tuple[str, bytes]:
    head, _, body = answer.partition(b"\r\n\r\n")
    state = head.partition(b"\r\nx-membership: ")[2].partition(b"\r\n")[0].decode()
    return (state if head.startswith(b"HTTP/1.1 200 ") else head[9:12].decode()), body


async def _main() -> None:
    reader = asyncio.StreamReader(limit=_LONGEST_JOB)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    job = json.loads(await reader.readline())
    await Client(job["host"], job["port"], job["questions"], job["rate"]).run(asyncio.create_task(reader.read()))


if __name__ == "__main__":
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr] # it is no other kind of stream
    gc.disable()
    uvloop.run(_main())
