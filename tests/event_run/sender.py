"""Applications that send events to whichever gateway there is, and note what they were told of each."""

from __future__ import annotations

import itertools
import json
import random
import threading
import time
from collections import Counter
from typing import TYPE_CHECKING, Any, Self

import httpx

if TYPE_CHECKING:
    from collections.abc import Callable

ACCOUNT, KEY = "123456", "sample_sdk_key"
BAD = "bad"  # how the ids of events begin that VWO refuses
_BAD_SHARE = 0.01
_LARGEST_BATCH = 10
_PAUSE_SECONDS = 0.02


class Sender:
    """`threads` send events, `rate` requests a second in all, while the block runs.

    `told`: what became of each event by its id, as the gateway said in `X-Events`; `unanswered`: those for which no
    answer came, so that nobody was promised anything.
    """

    def __init__(self, addresses: Callable[[], list[str]], *, rate: float, threads: int, seed: int) -> None:
        self.told: dict[str, str] = {}
        self.unanswered: set[str] = set()
        self.slowest = 0.0
        self.statuses: Counter[int] = Counter()
        self._addresses = addresses
        self._pause = threads / rate
        self._seed = seed
        self._numbers = itertools.count()
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(number,)) for number in range(threads)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _run(self, number: int) -> None:
        chance = random.Random(f"{self._seed} {number}")  # noqa: S311 - to be repeated, not to be secret
        client = httpx.Client(timeout=30)
        due = time.monotonic()
        while not self._over.is_set():
            due += self._pause
            self._over.wait(max(0.0, due - time.monotonic()))
            addresses = self._addresses()
            if not addresses:
                self._over.wait(_PAUSE_SECONDS)
                continue
            events = [self._event(chance) for _ in range(chance.choice((1, 1, chance.randint(2, _LARGEST_BATCH))))]
            ids = [event["d"]["msgId"] for event in events]
            begun = time.monotonic()
            try:
                answer = self._post(client, chance.choice(addresses), events)
            except httpx.TransportError:
                self.unanswered.update(ids)
                client.close()
                client = httpx.Client(timeout=30)
            else:
                self.slowest = max(self.slowest, time.monotonic() - begun)
                self.statuses[answer.status_code] += 1
                self.told.update(dict.fromkeys(ids, answer.headers.get("X-Events", "")))
        client.close()

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
