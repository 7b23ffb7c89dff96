"""Heap when our side is in trouble: it sends pages one after the other, each again until it is answered 200."""

from __future__ import annotations

import threading
import time
from collections import Counter
from typing import TYPE_CHECKING, Self

import httpx

from cohort_sync.signature import sign
from local_stack.sample_push import build_push
from tests.support.heap import SEGMENT_ID

if TYPE_CHECKING:
    from tests.support.heap import Heap

_ADDED = 20
_REMOVED = 5
_RETRY_SECONDS = 0.1  # Heap waits for longer, which tests have no time for


class PersistentSender:
    """A task a page; page n adds members and takes some of page n - 2 out again.

    `answers` counts statuses (0: no answer). `wanted`: the members, once every page that was begun is acknowledged.
    """

    def __init__(self, heap: Heap) -> None:
        self.answers: Counter[int] = Counter()
        self.acknowledged = 0
        self._heap = heap
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="persistent-sender", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, error: type[BaseException] | None, *_: object) -> None:
        if error is None:
            self.stop()
        else:  # a page that is never acknowledged would hide what went wrong
            self._stopping.set()

    def stop(self) -> None:
        """Finish the page that is under way."""
        self._stopping.set()
        self._thread.join()

    def wait_for(self, pages: int, *, seconds: float = 30.0) -> None:
        """Until so many more pages are acknowledged."""
        target, deadline = self.acknowledged + pages, time.monotonic() + seconds
        while self.acknowledged < target:
            assert time.monotonic() < deadline, f"{self.acknowledged} pages acknowledged; answers {self.answers}"
            time.sleep(0.01)

    @property
    def wanted(self) -> set[bytes]:
        members: set[str] = set()
        for number in range(self.acknowledged):
            members |= set(_added(number))
            members -= set(_removed(number))
        return {member.encode() for member in members}

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._deliver(self.acknowledged)
            self.acknowledged += 1

    def _deliver(self, number: int) -> None:
        body = build_push(
            segment_id=SEGMENT_ID,
            segment_name="Premium Users",
            task=f"task-{number:06}",
            add=_added(number),
            remove=_removed(number),
            page=1,
            pages=1,
        )
        # Signed once: Heap may send the very same request again.
        header = sign(self._heap.secret, body, timestamp_ms=int(time.time() * 1000))
        while True:
            try:
                status = self._heap.send(body, header=header).status_code
            except httpx.TransportError:
                status = 0
            self.answers[status] += 1
            if status == 200:
                return
            time.sleep(_RETRY_SECONDS)


def _added(number: int) -> list[str]:
    return [f"member-{number}-{index}" for index in range(_ADDED)]


def _removed(number: int) -> list[str]:
    return _added(number - 2)[:_REMOVED] if number >= 2 else []
