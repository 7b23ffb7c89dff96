"""A client process that asks checks at a steady rate and writes down every answer. `tests.support.load` starts it.

A line for each: number of the question, when it was sent and answered (monotonic clock), status, body, `X-Membership`,
and how late this process itself was meanwhile (seconds).
"""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING, Any

from tests.support import client_process
from tests.support.steady_client import TICK_SECONDS, SteadyClient, header

if TYPE_CHECKING:
    import asyncio

_NOTABLE_SECONDS = 0.002  # of being late
_SLOW_SECONDS = 0.05  # an answer for which it matters
_MOST_CONNECTIONS = 2000


class Client(SteadyClient):
    def __init__(self, address: str, targets: list[str], rate: float) -> None:
        super().__init__(address, targets, rate, most_connections=_MOST_CONNECTIONS)
        self._late: deque[tuple[float, float]] = deque(maxlen=20_000)  # when, by how much

    def answered(self, number: int, sent: float, answer: bytes) -> None:
        now = time.monotonic()
        head, _, body = answer.partition(b"\r\n\r\n")
        late = sum(late for at, late in self._late if at >= sent) if now - sent > _SLOW_SECONDS else 0.0
        status, state = int(head[9:12]), header(head, b"x-membership")
        client_process.tell((number, sent, now, status, body.decode("latin-1"), state, late))

    def broken(self, number: int, sent: float) -> None:
        client_process.tell((number, sent, None, 0, "", "", 0.0))

    def behind(self, number: int) -> None:
        self.broken(number, time.monotonic())

    def ticked(self, seconds: float) -> None:
        """Where this process got no processor time, what it measured says nothing of the gateway."""
        if (late := seconds - TICK_SECONDS) > _NOTABLE_SECONDS:
            self._late.append((time.monotonic(), late))


async def _run(job: dict[str, Any], ended: asyncio.Task[bytes]) -> None:
    await Client(**job).run(ended)


if __name__ == "__main__":
    client_process.work(_run)
