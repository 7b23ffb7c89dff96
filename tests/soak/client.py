"""A client process that asks checks at a high steady rate and tells every second how they were answered.

It keeps no answers, as `tests.support.load_client` does: only how many of which kind, and how long they took. Each
question is known to be true or false.
"""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING, Any

from tests.support import client_process
from tests.support.steady_client import SteadyClient, header

if TYPE_CHECKING:
    import asyncio

_MOST_CONNECTIONS = 256
_KEPT_ANSWERS = 1000


class Client(SteadyClient):
    """`questions`: targets, and whether they are true."""

    def __init__(self, address: str, questions: list[tuple[str, bool]], rate: float) -> None:
        super().__init__(address, [target for target, _ in questions], rate, most_connections=_MOST_CONNECTIONS)
        self._expected = [b"true" if true else b"false" for _, true in questions]
        self._known: dict[bytes, tuple[str, bytes]] = {}  # answers of the same second are the same bytes
        self._told = time.monotonic()
        self._begin()

    def _begin(self) -> None:
        self._states: Counter[str] = Counter()
        self._took: list[float] = []
        self._counts = Counter(wrong=0, broken=0, behind=0)
        self._pause = 0.0  # the longest in which this process itself did nothing

    def answered(self, number: int, sent: float, answer: bytes) -> None:
        found = self._known.get(answer)
        if found is None:
            if len(self._known) >= _KEPT_ANSWERS:
                self._known.clear()
            found = self._known[answer] = _read(answer)
        state, body = found
        self._states[state] += 1
        self._counts["wrong"] += body != self._expected[number]
        self._took.append(time.monotonic() - sent)

    def broken(self, number: int, sent: float) -> None:
        del number, sent
        self._counts["broken"] += 1

    def behind(self, number: int) -> None:
        del number
        self._counts["behind"] += 1

    def ticked(self, seconds: float) -> None:
        self._pause = max(self._pause, seconds)
        if time.monotonic() >= self._told + 1:
            self._told += 1
            self._tell()

    def _tell(self) -> None:
        took = sorted(self._took) or [0.0]
        times = {"p50": took[len(took) // 2], "p99": took[len(took) * 99 // 100], "longest": took[-1]}
        client_process.tell({"states": self._states, "pause": self._pause, **self._counts, **times})
        self._begin()


def _read(answer: bytes) -> tuple[str, bytes]:
    """Its `X-Membership`, or the status where that is not 200; and the body."""
    head, _, body = answer.partition(b"\r\n\r\n")
    return (header(head, b"x-membership") if head.startswith(b"HTTP/1.1 200 ") else head[9:12].decode()), body


async def _run(job: dict[str, Any], ended: asyncio.Task[bytes]) -> None:
    await Client(**job).run(ended)


if __name__ == "__main__":
    client_process.work(_run)
