"""Heap's sender: each push goes out again and again until somebody answers 200."""

from __future__ import annotations

import http.client
import threading
import time
from collections import Counter
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from cohort_sync.signature import HEADER

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    from tests.crash.pushes import Push
    from tests.crash.traffic import Traffic

_THREADS = 3
_PAUSE = 0.06  # seconds between pushes of one thread: the test is about kills, not about load
_TIMEOUT = 20.0


class Sender:
    """Threads that send what `traffic` has, each attempt to any of the addresses that `addresses` gives.

    `answers` counts by status, and connections that failed as 0.
    """

    def __init__(self, traffic: Traffic, addresses: Callable[[], list[str]], rng: random.Random) -> None:
        self.answers: Counter[int] = Counter()
        self.again = 0
        self.unexpected: list[str] = []
        self._traffic = traffic
        self._addresses = addresses
        self._rng = rng
        self._stopping = threading.Event()
        self._threads = [threading.Thread(target=self._work, daemon=True) for _ in range(_THREADS)]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join(_TIMEOUT)

    def _work(self) -> None:
        while not self._stopping.is_set():
            push = self._traffic.take()
            if push is not None and not self._deliver(push):
                self._traffic.given_up()
                return
            time.sleep(self._rng.uniform(0, 2 * _PAUSE))

    def _deliver(self, push: Push) -> bool:
        headers = [push.header]
        if push.task is not None:  # a drain signed again would be another drain
            chance = self._rng.random()
            if push.acknowledged and chance < 0.5:
                headers = [push.signed_again(self._traffic.clock)]
            elif chance < 0.05:  # the first attempt was held up on its way, and a retry overtook it
                headers.insert(0, push.signed_again(self._traffic.clock))
        self.again += push.acknowledged
        if all(self._insist(push, header) for header in headers):
            self._traffic.done(push)
            return True
        return False

    def _insist(self, push: Push, header: str) -> bool:
        """Send until somebody answers 200; False when the run is over before."""
        while not self._stopping.is_set():
            status = self._attempt(push, header)
            self.answers[status] += 1
            if status == http.HTTPStatus.OK:
                return True
            time.sleep(self._rng.uniform(0.03, 0.15))
        return False

    def _attempt(self, push: Push, header: str) -> int:
        """The status, or 0."""
        address = urlsplit(self._rng.choice(self._addresses()))
        connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=_TIMEOUT)
        try:
            headers = {HEADER: header, "Content-Type": "application/json"}
            connection.request("POST", "/webhooks/heap", push.body, headers)
            answer = connection.getresponse()
            text = answer.read()
        except (OSError, http.client.HTTPException):
            return 0
        finally:
            connection.close()
        if answer.status not in (http.HTTPStatus.OK, http.HTTPStatus.SERVICE_UNAVAILABLE):
            self.unexpected.append(f"{answer.status} {text[:200]!r}")
        return answer.status
