"""Optimizely Agent as far as its stream of notifications goes, over real HTTP on loopback.

Like the Agent it sends the head of an answer with the first notification, and tells nothing to who comes later.
"""

from __future__ import annotations

import contextlib
import json
import queue
import socket
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tests.support.http_server import Handler, serving
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator

_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"


def notification(user: str, flag: str, variation: str, rule: str, *, enabled: bool = True) -> dict[str, Any]:
    """A decision as the Agent tells it. Its language has no null for texts: a flag without a rule has empty ones."""
    info = {"flagKey": flag, "variationKey": variation, "ruleKey": rule, "enabled": enabled}
    more = {"variables": {}, "reasons": [], "decisionEventDispatched": True}
    return {"Type": "flag", "UserContext": {"ID": user, "Attributes": {"plan": "gold"}}, "DecisionInfo": info | more}


class Listener:
    """One connection: `say` sends bytes as they are, `hang_up` ends it."""

    def __init__(self, key: str, path: str) -> None:
        self.key = key
        self.path = path
        self.said: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()

    def say(self, chunk: bytes) -> None:
        self.said.put(chunk)

    def hang_up(self) -> None:
        self.said.put(None)


@dataclass
class FakeAgent:
    """`listeners` are connected now; `came` is how many ever were. `refuses`: a status that everybody gets instead."""

    address: str = ""
    refuses: int = 0
    listeners: list[Listener] = field(default_factory=list)
    came: int = 0
    refused: int = 0

    def tell(self, *notifications: Any) -> None:
        """Tell all who listen."""
        for told in notifications:
            self.say(b"data: " + json.dumps(told).encode() + b"\n\n")

    def say(self, chunk: bytes) -> None:
        for listener in list(self.listeners):
            listener.say(chunk)

    def hang_up(self) -> None:
        for listener in list(self.listeners):
            listener.hang_up()

    def wait_for_listeners(self, count: int = 1, *, after: int = 0) -> None:
        """Until so many listen, of whom somebody came after the first `after`."""
        until(lambda: len(self.listeners) >= count and self.came > after, what=f"{count} listeners at the Agent")


@contextlib.contextmanager
def fake_agent(port: int = 0) -> Iterator[FakeAgent]:
    agent = FakeAgent()

    class Answering(Handler):
        def answer(self) -> None:
            self.close_connection = True
            if agent.refuses:
                agent.refused += 1
                self.send_error(agent.refuses)
                return
            listener = Listener(self.headers.get("X-Optimizely-SDK-Key", ""), self.path)
            agent.listeners.append(listener)
            agent.came += 1
            try:
                self._talk(listener)
            finally:
                agent.listeners.remove(listener)

        def _talk(self, listener: Listener) -> None:
            head = _HEAD
            while (chunk := listener.said.get()) is not None:
                self.wfile.write(head + chunk)
                self.wfile.flush()
                head = b""
            with contextlib.suppress(OSError):
                self.connection.shutdown(socket.SHUT_RDWR)

    with serving(Answering, port=port) as agent.address:
        try:
            yield agent
        finally:
            agent.hang_up()
