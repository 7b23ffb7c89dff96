"""Applications that send events to whichever gateway there is, and note what they were told of each."""

from __future__ import annotations

import itertools
import json
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

import httpx

from tests.support.paced_threads import PacedThreads

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

ACCOUNT, KEY = "123456", "sample_sdk_key"
BAD = "bad"  # how the ids of events begin that VWO refuses
_BAD_SHARE = 0.01
_LARGEST_BATCH = 10
_PAUSE_SECONDS = 0.02


class Sender(PacedThreads):
    """`threads` send events, `rate` requests a second in all, while the block runs.

    `told`: what became of each event by its id, as the gateway said in `X-Events`; `unanswered`: those for which no
    answer came, so that nobody was promised anything.
    """

    def __init__(self, addresses: Callable[[], list[str]], *, rate: float, threads: int, seed: int) -> None:
        self.told: dict[str, str] = {}
        self.unanswered: set[str] = set()
        self.slowest = 0.0
        self.statuses: Counter[int] = Counter()
        super().__init__(rate=rate, threads=threads, seed=seed)
        self._addresses = addresses
        self._numbers = itertools.count()

    def client(self) -> httpx.Client:
        return httpx.Client(timeout=30)

    def send(self, client: httpx.Client, chance: random.Random) -> bool:
        addresses = self._addresses()
        if not addresses:
            self.over.wait(_PAUSE_SECONDS)
            return True
        events = [self._event(chance) for _ in range(chance.choice((1, 1, chance.randint(2, _LARGEST_BATCH))))]
        ids = [event["d"]["msgId"] for event in events]
        begun = time.monotonic()
        try:
            answer = self._post(client, chance.choice(addresses), events)
        except httpx.TransportError:
            self.unanswered.update(ids)
            return False
        self.slowest = max(self.slowest, time.monotonic() - begun)
        self.statuses[answer.status_code] += 1
        self.told.update(dict.fromkeys(ids, answer.headers.get("X-Events", "")))
        return True

    def _post(self, client: httpx.Client, address: str, events: list[dict[str, Any]]) -> httpx.Response:
        if len(events) == 1:
            body, path = events[0], "/events/t"
        else:
            body, path = {"ev": events}, "/server-side/batch-events-v2"
        return client.post(f"{address}{path}?a={ACCOUNT}&env={KEY}", content=json.dumps(body))

    def _event(self, chance: random.Random) -> dict[str, Any]:
        kind = BAD if chance.random() < _BAD_SHARE else "good"
        about = {"name": "vwo_variationShown", "time": 1795308506454, "props": {"id": 2, "variation": 1}}
        return {"d": {"msgId": f"{kind}-{next(self._numbers)}", "visId": "5B1A", "event": about}}
