"""Applications that send events and exposures, each again until it is answered 200, and note when that was."""

from __future__ import annotations

import itertools
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

import httpx

from tests.support.paced_threads import PacedThreads

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

POISON = "poison"  # a property of records that Heap refuses
NUMBER = "number"  # a property that names each record
_POISONED = 0.01
_LARGEST_BATCH = 10
_PEOPLE = 200
_PAUSE_SECONDS = 0.05


class Sender(PacedThreads):
    """`threads` send, `rate` requests a second in all, while the block runs.

    `taken`: when each record was answered 200, by its number; `pending`: those that were not, at the end; `poisoned`:
    which of all of them Heap refuses. `statuses` are those of all answers; 0: there was none.
    """

    def __init__(self, address: Callable[[], str], key: str, *, rate: float, threads: int, seed: int) -> None:
        self.taken: dict[int, float] = {}
        self.pending: set[int] = set()
        self.poisoned: set[int] = set()
        self.statuses: Counter[int] = Counter()
        super().__init__(rate=rate, threads=threads, seed=seed)
        self._address = address
        self._headers = {"Authorization": f"Bearer {key}"}
        self._numbers = itertools.count()

    def client(self) -> httpx.Client:
        return httpx.Client(headers=self._headers, timeout=10)

    def send(self, client: httpx.Client, chance: random.Random) -> bool:
        """Send a batch, again and again until it is taken."""
        make, path = chance.choice(((self._event, "/v1/events"), (self._exposure, "/v1/exposures")))
        batch = [make(chance) for _ in range(chance.randint(1, _LARGEST_BATCH))]
        numbers = [one["properties"][NUMBER] for one in batch]
        self.pending.update(numbers)
        self.poisoned.update(one["properties"][NUMBER] for one in batch if POISON in one["properties"])
        while not self.over.is_set():
            try:
                answer = client.post(f"{self._address()}{path}", json=batch)
                status = answer.status_code
            except httpx.TransportError:
                status = 0
            self.statuses[status] += 1
            if status == httpx.codes.OK:
                told = answer.json()
                assert told["accepted"] + told["repeated"] == len(batch), told
                self.taken.update(dict.fromkeys(numbers, time.time()))
                self.pending.difference_update(numbers)
                break
            self.over.wait(_PAUSE_SECONDS)
        return True

    def _event(self, chance: random.Random) -> dict[str, Any]:
        number = next(self._numbers)
        about = {"type": "track", "event": "bought", "userId": _person(chance), "messageId": f"message-{number}"}
        return about | {"properties": _properties(chance, number)}

    def _exposure(self, chance: random.Random) -> dict[str, Any]:
        number = next(self._numbers)
        about = {"source": "statsig", "flag_key": f"flag-{number}", "identity": _person(chance), "variation_key": "on"}
        return about | {"time": time.time(), "properties": _properties(chance, number)}


def _person(chance: random.Random) -> str:
    return f"person-{chance.randrange(_PEOPLE)}"


def _properties(chance: random.Random, number: int) -> dict[str, Any]:
    return {NUMBER: number} | ({POISON: 1} if chance.random() < _POISONED else {})
