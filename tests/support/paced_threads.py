"""Threads that send requests at a steady rate, each with a client and a chance of its own."""

from __future__ import annotations

import random
import threading
import time
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    import httpx


class PacedThreads(ABC):
    """`threads` send while the block runs, `rate` requests a second in all; none makes up for more than a second."""

    def __init__(self, *, rate: float, threads: int, seed: int) -> None:
        self.over = threading.Event()
        self._pause = threads / rate
        self._seed = seed
        self._threads = [threading.Thread(target=self._run, args=(number,)) for number in range(threads)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        for thread in self._threads:
            thread.join()

    @abstractmethod
    def client(self) -> httpx.Client:
        """A new client."""

    @abstractmethod
    def send(self, client: httpx.Client, chance: random.Random) -> bool:
        """Send once; whether `client` can go on."""

    def _run(self, number: int) -> None:
        chance = random.Random(f"{self._seed} {number}")  # noqa: S311 - to be repeated, not to be secret
        due = time.monotonic()
        client = self.client()
        while not self.over.is_set():
            due = max(due + self._pause, time.monotonic() - 1)
            self.over.wait(max(0.0, due - time.monotonic()))
            if not self.send(client, chance):
                client.close()
                client = self.client()
        client.close()
