"""A small VWO over real HTTP on loopback, which fails in every way that VWO may.

It takes events. Other parts of VWO are added by whoever needs them: `routes` maps a path to what answers it.
"""

from __future__ import annotations

import contextlib
import json
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tests.support.faulty_server import (
    Answer,
    Fault,
    FaultyServer,
    Request,
    answers,
    hangs_up,
    says_nothing,
    slow,
    takes_and_hangs_up,
    times,
)
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = [
    "BATCH",
    "Answer",
    "FakeVwo",
    "Fault",
    "Request",
    "answers",
    "events_in",
    "fake_vwo",
    "hangs_up",
    "refuses",
    "says_nothing",
    "slow",
    "takes_and_hangs_up",
    "times",
]

BATCH = "/server-side/batch-events-v2"


def events_in(request: Request) -> list[dict[str, Any]]:
    """Those of a batch."""
    found: list[dict[str, Any]] = json.loads(request.body)["ev"]
    return found


@dataclass
class FakeVwo(FaultyServer):
    taken: list[tuple[Request, dict[str, Any]]] = field(default_factory=list)
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

    def _take_events(self, request: Request) -> Answer:
        with self._lock:
            self.taken += [(request, event) for event in events_in(request)]
        return Answer()


def refuses(is_bad: Callable[[dict[str, Any]], bool], status: int = 400) -> Fault:
    """A batch with any event that `is_bad`."""
    return lambda request: Answer(status) if any(is_bad(event) for event in events_in(request)) else None


@contextlib.contextmanager
def fake_vwo(port: int = 0) -> Iterator[FakeVwo]:
    vwo = FakeVwo()
    with vwo.serving(port):
        yield vwo
